//! Deadlines of the fields of hashes, as in Redis 7.4 and 8.
//!
//! A field is absent from its deadline on, to the millisecond, in every command; Redis may still
//! count it until it is swept.

use crate::command::args::{at_least, integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::Hash;
use crate::data::hash_deadlines::FIELD_DEADLINE_MAX;
use crate::keyspace::{ReadView, WriteView};
use crate::protocol::Args;
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use smallvec::SmallVec;

const COST: &str = "O(m*log n) for m fields";
const READ_COST: &str = "O(m) for m fields";
const UPDATES: &[KeySpec] = &[KeySpec::one(&["RW", "UPDATE"])];
const READS: &[KeySpec] = &[KeySpec::one(&["RO", "ACCESS"])];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "HEXPIRE", group: Group::Hash, arity: Arity::AtLeast(6), keys: UPDATES,
        flags: Flags::FAST, since: "7.4.0", cost: COST,
        syntax: "HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Sets the deadlines of fields, in seconds from now.",
        run: Run::Write(hexpire), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HPEXPIRE", group: Group::Hash, arity: Arity::AtLeast(6), keys: UPDATES,
        flags: Flags::FAST, since: "7.4.0", cost: COST,
        syntax: "HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Sets the deadlines of fields, in milliseconds from now.",
        run: Run::Write(hpexpire), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HEXPIREAT", group: Group::Hash, arity: Arity::AtLeast(6), keys: UPDATES,
        flags: Flags::FAST, since: "7.4.0", cost: COST,
        syntax: "HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields \
                 field [field ...]",
        summary: "Sets the deadlines of fields, in Unix seconds.",
        run: Run::Write(hexpireat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HPEXPIREAT", group: Group::Hash, arity: Arity::AtLeast(6), keys: UPDATES,
        flags: Flags::FAST, since: "7.4.0", cost: COST,
        syntax: "HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields \
                 field [field ...]",
        summary: "Sets the deadlines of fields, in Unix milliseconds.",
        run: Run::Write(hpexpireat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HTTL", group: Group::Hash, arity: Arity::AtLeast(5), keys: READS,
        flags: Flags::FAST, since: "7.4.0", cost: READ_COST,
        syntax: "HTTL key FIELDS numfields field [field ...]",
        summary: "Returns the seconds that fields have left.",
        tips: &["nondeterministic_output"], run: Run::Read(httl), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HPTTL", group: Group::Hash, arity: Arity::AtLeast(5), keys: READS,
        flags: Flags::FAST, since: "7.4.0", cost: READ_COST,
        syntax: "HPTTL key FIELDS numfields field [field ...]",
        summary: "Returns the milliseconds that fields have left.",
        tips: &["nondeterministic_output"], run: Run::Read(hpttl), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HEXPIRETIME", group: Group::Hash, arity: Arity::AtLeast(5), keys: READS,
        flags: Flags::FAST, since: "7.4.0", cost: READ_COST,
        syntax: "HEXPIRETIME key FIELDS numfields field [field ...]",
        summary: "Returns the deadlines of fields, in Unix seconds.",
        run: Run::Read(hexpiretime), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HPEXPIRETIME", group: Group::Hash, arity: Arity::AtLeast(5), keys: READS,
        flags: Flags::FAST, since: "7.4.0", cost: READ_COST,
        syntax: "HPEXPIRETIME key FIELDS numfields field [field ...]",
        summary: "Returns the deadlines of fields, in Unix milliseconds.",
        run: Run::Read(hpexpiretime), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HPERSIST", group: Group::Hash, arity: Arity::AtLeast(5), keys: UPDATES,
        flags: Flags::FAST, since: "7.4.0", cost: COST,
        syntax: "HPERSIST key FIELDS numfields field [field ...]",
        summary: "Removes the deadlines of fields.",
        run: Run::Write(hpersist), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HGETEX", group: Group::Hash, arity: Arity::AtLeast(5), keys: UPDATES,
        flags: Flags::FAST, since: "8.0.0", cost: COST,
        syntax: "HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
        summary: "Returns the values of fields and sets or removes their deadlines.",
        run: Run::Write(hgetex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HSETEX", group: Group::Hash, arity: Arity::AtLeast(6), keys: UPDATES,
        flags: Flags::DENY_OOM.and(Flags::FAST), since: "8.0.0", cost: COST,
        syntax: "HSETEX key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields \
                 field value [field value ...]",
        summary: "Sets fields with a deadline.",
        run: Run::Write(hsetex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HGETDEL", group: Group::Hash, arity: Arity::AtLeast(5),
        keys: &[KeySpec::one(&["RW", "ACCESS", "DELETE"])], flags: Flags::FAST,
        since: "8.0.0", cost: COST,
        syntax: "HGETDEL key FIELDS numfields field [field ...]",
        summary: "Returns the values of fields and removes them.",
        run: Run::Write(hgetdel), ..CommandSpec::BASE
    },
];

const SECOND_MS: i64 = 1_000;
const FIELDS_MISSING: CommandError =
    CommandError::Text("ERR Mandatory argument FIELDS is missing or not at the right position");
const NOT_AS_MANY: CommandError =
    CommandError::Text("ERR The `numfields` parameter must match the number of arguments");

/// What HEXPIRE and its kin answer for a field.
const ABSENT: i64 = -2;
const NO_DEADLINE: i64 = -1;
const REFUSED: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

type Codes = SmallVec<[i64; 8]>;

fn reply_codes(call: &mut Call<'_>, codes: &[i64]) {
    call.reply.array(codes.len());
    codes.iter().for_each(|code| call.reply.integer(*code));
}

/// The fields behind FIELDS and their number, which must be all that is left.
fn fields<'a>(
    args: Args<'a>,
    at: usize,
    bad_count: &'static str,
) -> Result<Args<'a>, CommandError> {
    if args.get(at).is_none_or(|word| !is_word(word, "FIELDS")) {
        return Err(FIELDS_MISSING);
    }
    let Some(count) = args.get(at + 1) else {
        return Err(CommandError::WrongArity("hgetex".to_owned()));
    };
    let count = at_least(count, 1, CommandError::Text(bad_count))?;
    let fields = args.skip(at + 2);
    if fields.len() == count { Ok(fields) } else { Err(NOT_AS_MANY) }
}

const NOT_GREATER: &str = "ERR Parameter `numFields` should be greater than 0";
const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// A deadline as a number of so many milliseconds from `base` on.
fn deadline(
    arg: &[u8],
    unit_ms: i64,
    base: UnixMillis,
    command: &'static str,
) -> Result<UnixMillis, CommandError> {
    let number = integer(arg)?;
    if number < 0 {
        return Err(CommandError::Text("ERR invalid expire time, must be >= 0"));
    }
    let millis = number.checked_mul(unit_ms).and_then(|millis| millis.checked_add(base.0));
    let deadline = millis.map(UnixMillis).filter(|deadline| *deadline <= FIELD_DEADLINE_MAX);
    deadline.ok_or(CommandError::InvalidExpire(command))
}

/// Which deadlines may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    NoneYet,
    AnyYet,
    Later,
    Earlier,
}

impl Condition {
    fn parse(word: &[u8]) -> Option<Self> {
        let words = [
            ("NX", Self::NoneYet),
            ("XX", Self::AnyYet),
            ("GT", Self::Later),
            ("LT", Self::Earlier),
        ];
        words.into_iter().find(|(name, _)| is_word(word, name)).map(|(_, condition)| condition)
    }

    /// True when `new` may take the place of `old`; to have none is to live for ever.
    fn allows(self, old: Option<UnixMillis>, new: UnixMillis) -> bool {
        match self {
            Self::Always => true,
            Self::NoneYet => old.is_none(),
            Self::AnyYet => old.is_some(),
            Self::Later => old.is_some_and(|old| new > old),
            Self::Earlier => old.is_none_or(|old| new < old),
        }
    }
}

/// HEXPIRE and its kin: the number in units of `unit_ms`, counted from `base`.
fn expire(
    view: &mut WriteView<'_>,
    call: &mut Call<'_>,
    unit_ms: i64,
    base: UnixMillis,
    command: &'static str,
) -> Outcome {
    view.read().hash()?;
    let (args, now) = (call.args, call.now);
    let new = deadline(args.at(2), unit_ms, base, command)?;
    let condition = Condition::parse(args.at(3));
    let fields = fields(args, 3 + usize::from(condition.is_some()), NOT_GREATER)?;
    let condition = condition.unwrap_or(Condition::Always);
    let decide = |is_there: bool, old: Option<UnixMillis>| match is_there {
        false => ABSENT,
        true if !condition.allows(old, new) => REFUSED,
        true if new <= now => REMOVED,
        true => DONE,
    };
    let mut codes: Codes = {
        let read = view.read();
        let hash = read.hash()?;
        let is_there = |field: &[u8]| hash.is_some_and(|hash| hash.get(field).is_some());
        let decided = |field| decide(is_there(field), read.field_deadline(field));
        fields.iter_from(0).map(decided).collect()
    };
    if codes.iter().any(|code| *code > REFUSED) {
        let changed = view.change_collection(false, |hash: &mut Hash| {
            let change = |field: &[u8]| {
                let code = decide(hash.as_ref().get(field).is_some(), hash.deadline(field));
                match code {
                    DONE => hash.set_deadline(field, Some(new)),
                    REMOVED => _ = hash.remove(field),
                    _ => {}
                }
                code
            };
            fields.iter_from(0).map(change).collect::<Codes>()
        })?;
        codes = changed.unwrap_or_default();
        let count = |wanted| codes.iter().filter(|code| **code == wanted).count();
        tell(view, count(DONE), count(REMOVED));
    }
    reply_codes(call, &codes);
    Ok(())
}

/// Counts changes beyond the first, and notes the events of deadlines that were set and of fields
/// whose deadline had passed already.
fn tell(view: &mut WriteView<'_>, set: usize, removed: usize) {
    view.note_more_changes((set + removed).saturating_sub(1));
    if set > 0 {
        view.notify(EventSet::HASH, "hexpire");
    }
    if removed > 0 {
        view.notify(EventSet::HASH, "hdel");
    }
}

fn hexpire(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    expire(view, call, SECOND_MS, call.now, "hexpire")
}

fn hpexpire(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    expire(view, call, 1, call.now, "hpexpire")
}

fn hexpireat(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    expire(view, call, SECOND_MS, UnixMillis(0), "hexpireat")
}

fn hpexpireat(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    expire(view, call, 1, UnixMillis(0), "hpexpireat")
}

/// HTTL and its kin: the deadlines less `base`, in units of `unit_ms`, rounded up.
fn remaining(view: &ReadView<'_>, call: &mut Call<'_>, unit_ms: i64, base: UnixMillis) -> Outcome {
    let hash = view.hash()?;
    let fields = fields(call.args, 2, NOT_POSITIVE)?;
    call.reply.array(fields.len());
    for field in fields.iter_from(0) {
        let is_there = hash.is_some_and(|hash| hash.get(field).is_some());
        call.reply.integer(match view.field_deadline(field) {
            _ if !is_there => ABSENT,
            None => NO_DEADLINE,
            Some(deadline) => (deadline.0 - base.0 + unit_ms - 1) / unit_ms,
        });
    }
    Ok(())
}

fn httl(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    remaining(view, call, SECOND_MS, call.now)
}

fn hpttl(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    remaining(view, call, 1, call.now)
}

fn hexpiretime(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    remaining(view, call, SECOND_MS, UnixMillis(0))
}

fn hpexpiretime(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    remaining(view, call, 1, UnixMillis(0))
}

/// Removes the deadlines of fields; returns what became of each.
fn persist(view: &mut WriteView<'_>, fields: Args<'_>) -> Result<Codes, CommandError> {
    let decide = |is_there: bool, old: Option<UnixMillis>| match (is_there, old) {
        (false, _) => ABSENT,
        (true, None) => NO_DEADLINE,
        (true, Some(_)) => DONE,
    };
    let codes: Codes = {
        let read = view.read();
        let hash = read.hash()?;
        let is_there = |field: &[u8]| hash.is_some_and(|hash| hash.get(field).is_some());
        let decided = |field| decide(is_there(field), read.field_deadline(field));
        fields.iter_from(0).map(decided).collect()
    };
    if !codes.contains(&DONE) {
        return Ok(codes);
    }
    let changed = view.change_collection(false, |hash: &mut Hash| {
        let change = |field: &[u8]| {
            let code = decide(hash.as_ref().get(field).is_some(), hash.deadline(field));
            hash.set_deadline(field, None);
            code
        };
        fields.iter_from(0).map(change).collect::<Codes>()
    })?;
    let codes = changed.unwrap_or_default();
    let count = codes.iter().filter(|code| **code == DONE).count();
    view.note_more_changes(count.saturating_sub(1));
    view.notify(EventSet::HASH, "hpersist");
    Ok(codes)
}

fn hpersist(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    view.read().hash()?;
    let fields = fields(call.args, 2, NOT_POSITIVE)?;
    let codes = persist(view, fields)?;
    reply_codes(call, &codes);
    Ok(())
}

/// The unit and the base of a deadline that is given behind `word`.
fn timing(word: &[u8], now: UnixMillis) -> Option<(i64, UnixMillis)> {
    let words = [
        ("EX", SECOND_MS, now),
        ("PX", 1, now),
        ("EXAT", SECOND_MS, UnixMillis(0)),
        ("PXAT", 1, UnixMillis(0)),
    ];
    let found = words.into_iter().find(|(name, ..)| is_word(word, name));
    found.map(|(_, unit_ms, base)| (unit_ms, base))
}

fn reply_values(view: &WriteView<'_>, call: &mut Call<'_>, fields: Args<'_>) -> Outcome {
    let read = view.read();
    let hash = read.hash()?;
    call.reply.array(fields.len());
    for field in fields.iter_from(0) {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => call.reply.bulk(value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn hgetex(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    view.read().hash()?;
    let (args, now) = (call.args, call.now);
    let (mut at, mut new) = (2, None);
    if let Some((unit_ms, base)) = timing(args.at(2), now) {
        new = Some(deadline(args.at(3), unit_ms, base, "hgetex")?);
        at = 4;
    }
    let persists = at == 2 && is_word(args.at(2), "PERSIST");
    let fields = fields(args, at + usize::from(persists), NOT_POSITIVE)?;
    if new.is_some_and(|new| new <= now) {
        return take(view, call, fields);
    }
    reply_values(view, call, fields)?;
    if persists {
        persist(view, fields)?;
    }
    if new.is_some()
        && let Some(hash) = view.read().hash()?
        && fields.iter_from(0).any(|field| hash.get(field).is_some())
    {
        let changed = view.change_collection(false, |hash: &mut Hash| {
            let set = |field: &&[u8]| {
                let is_there = hash.as_ref().get(field).is_some();
                if is_there {
                    hash.set_deadline(field, new);
                }
                is_there
            };
            fields.iter_from(0).filter(set).count()
        })?;
        tell(view, changed.unwrap_or(0), 0);
    }
    Ok(())
}

/// What HSETEX is asked for.
#[derive(Debug, Default)]
struct SetOptions<'a> {
    is_new_only: bool,
    is_old_only: bool,
    keeps: bool,
    deadline: Option<UnixMillis>,
    /// Fields and values.
    pairs: Option<Args<'a>>,
}

impl<'a> SetOptions<'a> {
    fn parse(call: &Call<'a>) -> Result<Self, CommandError> {
        let args = call.args;
        let mut options = Self::default();
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let timing = timing(word, call.now);
            if is_word(word, "FNX") || is_word(word, "FXX") {
                if options.is_new_only || options.is_old_only {
                    let text = "ERR Only one of FXX or FNX arguments can be specified";
                    return Err(CommandError::Text(text));
                }
                options.is_new_only = is_word(word, "FNX");
                options.is_old_only = !options.is_new_only;
            } else if timing.is_some() || is_word(word, "KEEPTTL") {
                if options.deadline.is_some() || options.keeps {
                    return Err(CommandError::Text(
                        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                    ));
                }
                options.keeps = timing.is_none();
                if let Some((unit_ms, base)) = timing {
                    at += 1;
                    let number = args.get(at).ok_or(CommandError::Syntax)?;
                    options.deadline = Some(deadline(number, unit_ms, base, "hsetex")?);
                }
            } else if is_word(word, "FIELDS") {
                let bad_count = CommandError::Text("ERR invalid number of fields");
                let count = at_least(args.get(at + 1).unwrap_or(b""), 1, bad_count)?;
                let pairs = args.skip(at + 2);
                if count.checked_mul(2) != Some(pairs.len()) {
                    return Err(CommandError::WrongArity("hsetex".to_owned()));
                }
                options.pairs = Some(pairs);
                return Ok(options);
            } else {
                return Err(CommandError::echoing("ERR unknown argument: ", word, ""));
            }
            at += 1;
        }
        Err(CommandError::WrongArity("hsetex".to_owned()))
    }
}

fn hsetex(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let options = SetOptions::parse(call)?;
    let Some(pairs) = options.pairs else { return Err(CommandError::Syntax) };
    let now = call.now;
    let fields = || pairs.iter_from(0).step_by(2);
    let is_allowed = {
        let read = view.read();
        let hash = read.hash()?;
        let is_there = |field: &[u8]| hash.is_some_and(|hash| hash.get(field).is_some());
        !(options.is_new_only && fields().any(is_there))
            && (!options.is_old_only || fields().all(is_there))
    };
    call.reply.flag(is_allowed);
    if !is_allowed {
        return Ok(());
    }
    let is_past = options.deadline.is_some_and(|deadline| deadline <= now);
    view.change_collection(true, |hash: &mut Hash| {
        for (field, value) in fields().zip(pairs.iter_from(1).step_by(2)) {
            if options.keeps {
                hash.set_keeping_deadline(field, value);
            } else {
                hash.set(field, value);
            }
            if options.deadline.is_some() {
                hash.set_deadline(field, options.deadline);
            }
        }
        if is_past {
            fields().for_each(|field| _ = hash.remove(field));
        }
    })?;
    view.note_more_changes(pairs.len() / 2 - 1);
    view.notify(EventSet::HASH, "hset");
    if is_past {
        view.notify(EventSet::HASH, "hdel");
    } else if options.deadline.is_some() {
        view.notify(EventSet::HASH, "hexpire");
    }
    Ok(())
}

/// Removes fields and replies with their values; a field that is named twice is there once.
fn take(view: &mut WriteView<'_>, call: &mut Call<'_>, fields: Args<'_>) -> Outcome {
    let mut found: SmallVec<[Option<Vec<u8>>; 4]> = SmallVec::new();
    let is_any = {
        let read = view.read();
        let hash = read.hash()?;
        fields.iter_from(0).any(|field| hash.is_some_and(|hash| hash.get(field).is_some()))
    };
    if is_any {
        view.change_collection(false, |hash: &mut Hash| {
            for field in fields.iter_from(0) {
                found.push(hash.as_ref().get(field).map(<[u8]>::to_vec));
                hash.remove(field);
            }
        })?;
        let removed = found.iter().filter(|value| value.is_some()).count();
        tell(view, 0, removed);
    } else {
        found.resize(fields.len(), None);
    }
    call.reply.array(found.len());
    for value in found {
        match value {
            Some(value) => call.reply.bulk(&value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn hgetdel(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    view.read().hash()?;
    let fields = fields(call.args, 2, NOT_POSITIVE)?;
    take(view, call, fields)
}
