//! Strings: GET, SET and what counts, appends and changes a part.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::lcs::lcs;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::StringRef;
use crate::keyspace::planted::Bug;
use crate::keyspace::{NewDeadline, ReadManyView, ReadView, WriteManyView, WriteView};
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use crate::util::extended::Extended;
use crate::util::number::IntegerText;
use crate::util::range::normalize_byte_range;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "GET", group: Group::String, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "GET key",
        summary: "Returns the string value of a key.", run: Run::Read(get), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SET", group: Group::String, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE", "VARIABLE_FLAGS"])],
        flags: Flags::DENY_OOM,
        since: "1.0.0", cost: "O(1)",
        syntax: "SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | \
                 EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        summary: "Sets the string value of a key, ignoring its type. \
                  The key is created if it doesn't exist.",
        run: Run::Write(set), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "MGET", group: Group::String, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(n) for n keys", syntax: "MGET key [key ...]",
        summary: "Returns the string values of several keys at one moment.",
        tips: &["request_policy:multi_shard"], run: Run::ReadMany(mget), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "MSET", group: Group::String, arity: Arity::AtLeast(3),
        keys: &[KeySpec { first: 1, last: -1, step: 2, access: &["OW", "UPDATE"] }],
        flags: Flags::DENY_OOM,
        since: "1.0.1", cost: "O(n) for n keys", syntax: "MSET key value [key value ...]",
        summary: "Sets the string values of several keys at one moment.",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        run: Run::WriteMany(mset), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "INCR", group: Group::String, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "INCR key",
        summary: "Adds 1 to the integer value of a key; no key counts as 0.",
        run: Run::Write(incr), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DECR", group: Group::String, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "DECR key",
        summary: "Subtracts 1 from the integer value of a key; no key counts as 0.",
        run: Run::Write(decr), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "INCRBY", group: Group::String, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "INCRBY key increment",
        summary: "Adds to the integer value of a key; no key counts as 0.",
        run: Run::Write(incrby), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DECRBY", group: Group::String, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "DECRBY key decrement",
        summary: "Subtracts from the integer value of a key; no key counts as 0.",
        run: Run::Write(decrby), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "APPEND", group: Group::String, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.0.0", cost: "O(n) for n bytes, of a short string all", syntax: "APPEND key value",
        summary: "Appends to the string value of a key, which is created if it doesn't exist.",
        run: Run::Write(append), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "STRLEN", group: Group::String, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "2.2.0", cost: "O(1)", syntax: "STRLEN key",
        summary: "Returns the length of the string value of a key.", run: Run::Read(strlen),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SETNX", group: Group::String, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["OW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "SETNX key value",
        summary: "Sets the string value of a key that doesn't exist.",
        run: Run::Write(setnx), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SETEX", group: Group::String, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["OW", "UPDATE"])], flags: Flags::DENY_OOM,
        since: "2.0.0", cost: "O(1)", syntax: "SETEX key seconds value",
        summary: "Sets the string value of a key and the seconds that it has to live.",
        run: Run::Write(setex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PSETEX", group: Group::String, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["OW", "UPDATE"])], flags: Flags::DENY_OOM,
        since: "2.6.0", cost: "O(1)", syntax: "PSETEX key milliseconds value",
        summary: "Sets the string value of a key and the milliseconds that it has to live.",
        run: Run::Write(psetex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETSET", group: Group::String, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "GETSET key value",
        summary: "Sets the string value of a key and returns the one before.",
        run: Run::Write(getset), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETEX", group: Group::String, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])], flags: Flags::FAST,
        since: "6.2.0", cost: "O(1)",
        syntax: "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | PERSIST]",
        summary: "Returns the string value of a key and sets or removes its deadline.",
        run: Run::Write(getex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETDEL", group: Group::String, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "DELETE"])], flags: Flags::FAST,
        since: "6.2.0", cost: "O(1)", syntax: "GETDEL key",
        summary: "Returns the string value of a key and deletes the key.",
        run: Run::Write(getdel), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETRANGE", group: Group::String, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.4.0", cost: "O(n) for n bytes of a range below 16 KB, else O(1)",
        syntax: "GETRANGE key start end",
        summary: "Returns a part of the string value of a key.",
        run: Run::Read(getrange), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SUBSTR", group: Group::String, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.0.0", cost: "O(n) for n bytes of a range below 16 KB, else O(1)",
        syntax: "SUBSTR key start end",
        summary: "Returns a part of the string value of a key; the old name of GETRANGE.",
        run: Run::Read(getrange), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SETRANGE", group: Group::String, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM,
        since: "2.2.0",
        cost: "O(n) for n bytes of the value, and of the string where it grows or is being sent",
        syntax: "SETRANGE key offset value",
        summary: "Overwrites a part of a string; what is missing before it becomes zero bytes.",
        run: Run::Write(setrange), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "INCRBYFLOAT", group: Group::String, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.6.0", cost: "O(1)", syntax: "INCRBYFLOAT key increment",
        summary: "Adds to the floating point value of a key; no key counts as 0.",
        run: Run::Write(incrbyfloat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "MSETNX", group: Group::String, arity: Arity::AtLeast(3),
        keys: &[KeySpec { first: 1, last: -1, step: 2, access: &["OW", "INSERT"] }],
        flags: Flags::DENY_OOM,
        since: "1.0.1", cost: "O(n) for n keys", syntax: "MSETNX key value [key value ...]",
        summary: "Sets the string values of several keys, of which none may exist.",
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        run: Run::WriteMany(msetnx), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LCS", group: Group::String, arity: Arity::AtLeast(3),
        keys: &[KeySpec { first: 1, last: 1, step: 1, access: &["RO", "ACCESS"] }],
        since: "7.0.0", cost: "O(n*m) for strings of n and m bytes, while others are served",
        syntax: "LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        summary: "Finds the longest common subsequence of two strings.",
        run: Run::ReadMany(lcs), ..CommandSpec::BASE
    },
];

/// Replies with a string, or with nothing.
fn reply_string(call: &mut Call<'_>, value: Option<StringRef<'_>>) {
    match value {
        Some(StringRef::Packed(bytes)) => call.reply.bulk(bytes),
        Some(StringRef::Large(bytes)) => call.reply.bulk_shared(bytes),
        None => call.reply.null(),
    }
}

fn get(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_string(call, view.string()?);
    Ok(())
}

/// When SET sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// What the number behind EX, PX, EXAT or PXAT counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DeadlineUnit {
    Seconds,
    Millis,
    UnixSeconds,
    UnixMillis,
}

impl DeadlineUnit {
    fn of_word(word: &[u8]) -> Option<Self> {
        match word {
            _ if is_word(word, "EX") => Some(Self::Seconds),
            _ if is_word(word, "PX") => Some(Self::Millis),
            _ if is_word(word, "EXAT") => Some(Self::UnixSeconds),
            _ if is_word(word, "PXAT") => Some(Self::UnixMillis),
            _ => None,
        }
    }

    /// The deadline that `number` means at `now`; it must be positive and fit.
    fn deadline(
        self,
        number: &[u8],
        now: UnixMillis,
        command: &'static str,
    ) -> Result<UnixMillis, CommandError> {
        let number = integer(number)?;
        let scale = if matches!(self, Self::Seconds | Self::UnixSeconds) { 1_000 } else { 1 };
        let base = if matches!(self, Self::Seconds | Self::Millis) { now.0 } else { 0 };
        Some(number)
            .filter(|number| *number > 0)
            .and_then(|number| number.checked_mul(scale)?.checked_add(base))
            .map(UnixMillis)
            .ok_or(CommandError::InvalidExpire(command))
    }
}

/// What an option says of the deadline.
#[derive(Clone, Copy)]
enum DeadlineOption<'a> {
    /// Nothing: the command's default.
    Unsaid,
    /// KEEPTTL of SET, PERSIST of GETEX.
    Word,
    Set(DeadlineUnit, &'a [u8]),
}

impl<'a> DeadlineOption<'a> {
    /// Takes in one option; false when it is none, or does not fit to what was said before.
    fn take(
        &mut self,
        word: &'a [u8],
        own_word: &str,
        rest: &mut impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        let said = *self;
        if is_word(word, own_word) && !matches!(said, Self::Set(..)) {
            *self = Self::Word;
            return true;
        }
        let fits = |unit: DeadlineUnit| match said {
            Self::Unsaid => true,
            Self::Word => false,
            Self::Set(other, _) => other == unit,
        };
        if let Some(unit) = DeadlineUnit::of_word(word).filter(|unit| fits(*unit))
            && let Some(number) = rest.next()
        {
            *self = Self::Set(unit, number);
            return true;
        }
        false
    }
}

struct SetOptions<'a> {
    condition: Condition,
    get: bool,
    deadline: DeadlineOption<'a>,
}

impl<'a> SetOptions<'a> {
    fn parse(call: &Call<'a>) -> Result<Self, CommandError> {
        let mut options =
            Self { condition: Condition::Always, get: false, deadline: DeadlineOption::Unsaid };
        let mut words = call.args.iter_from(3);
        while let Some(word) = words.next() {
            if is_word(word, "NX") && options.condition != Condition::IfPresent {
                options.condition = Condition::IfAbsent;
            } else if is_word(word, "XX") && options.condition != Condition::IfAbsent {
                options.condition = Condition::IfPresent;
            } else if is_word(word, "GET") {
                options.get = true;
            } else if !options.deadline.take(word, "KEEPTTL", &mut words) {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// Makes the key hold an argument. A large one has become a string of its own before the lock.
#[inline]
fn store(view: &mut WriteView<'_>, call: &mut Call<'_>, number: usize, deadline: NewDeadline) {
    match call.decoded {
        None => view.set_string(call.args.at(number), deadline),
        Some(_) => match call.take_large(number) {
            None => view.set_string(call.args.at(number), deadline),
            Some(bytes) => view.set_shared_string(bytes, deadline),
        },
    }
}

fn set(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    if call.args.len() == 3 {
        store(view, call, 2, NewDeadline::Set(None));
        view.notify(EventSet::STRING, "set");
        call.reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(call)?;
    let deadline = match options.deadline {
        DeadlineOption::Unsaid => NewDeadline::Set(None),
        DeadlineOption::Word => NewDeadline::Keep,
        DeadlineOption::Set(unit, number) => {
            NewDeadline::Set(Some(unit.deadline(number, call.now, "set")?))
        }
    };
    if options.get {
        reply_string(call, view.read().string()?);
    }
    let sets = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => !view.exists(),
        Condition::IfPresent => view.exists(),
    };
    if sets {
        store(view, call, 2, deadline);
        view.notify(EventSet::STRING, "set");
        if matches!(deadline, NewDeadline::Set(Some(_))) {
            view.notify(EventSet::GENERIC, "expire");
        }
    }
    match (options.get, sets) {
        (true, _) => {}
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    Ok(())
}

fn setnx(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let sets = !view.exists();
    if sets {
        store(view, call, 2, NewDeadline::Set(None));
        view.notify(EventSet::STRING, "set");
    }
    call.reply.flag(sets);
    Ok(())
}

fn setex(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    set_with_deadline(view, call, DeadlineUnit::Seconds, "setex")
}

fn psetex(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    set_with_deadline(view, call, DeadlineUnit::Millis, "psetex")
}

fn set_with_deadline(
    view: &mut WriteView<'_>,
    call: &mut Call<'_>,
    unit: DeadlineUnit,
    name: &'static str,
) -> Outcome {
    let deadline = unit.deadline(call.args.at(2), call.now, name)?;
    store(view, call, 3, NewDeadline::Set(Some(deadline)));
    view.notify(EventSet::STRING, "set");
    view.notify(EventSet::GENERIC, "expire");
    call.reply.ok();
    Ok(())
}

fn getset(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_string(call, view.read().string()?);
    store(view, call, 2, NewDeadline::Set(None));
    view.notify(EventSet::STRING, "set");
    Ok(())
}

fn getex(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let mut option = DeadlineOption::Unsaid;
    let mut words = call.args.iter_from(2);
    while let Some(word) = words.next() {
        if !option.take(word, "PERSIST", &mut words) {
            return Err(CommandError::Syntax);
        }
    }
    reply_string(call, view.read().string()?);
    if !view.exists() {
        return Ok(());
    }
    match option {
        DeadlineOption::Unsaid => {}
        DeadlineOption::Word => {
            if view.read().deadline().flatten().is_some() {
                view.set_deadline(None);
                view.notify(EventSet::GENERIC, "persist");
            }
        }
        DeadlineOption::Set(unit, number) => {
            let deadline = unit.deadline(number, call.now, "getex")?;
            if deadline <= call.now {
                view.remove();
                view.notify(EventSet::GENERIC, "del");
            } else {
                view.set_deadline(Some(deadline));
                view.notify(EventSet::GENERIC, "expire");
            }
        }
    }
    Ok(())
}

fn getdel(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_string(call, view.read().string()?);
    if view.remove() {
        view.notify(EventSet::GENERIC, "del");
    }
    Ok(())
}

fn getrange(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let (start, end) = (integer(call.args.at(2))?, integer(call.args.at(3))?);
    let value = view.string()?;
    let range = value.and_then(|value| normalize_byte_range(start, end, value.bytes().len()));
    match (value, range) {
        (Some(StringRef::Packed(bytes)), Some((first, last))) => {
            call.reply.bulk(bytes.get(first..=last).unwrap_or_default());
        }
        (Some(StringRef::Large(bytes)), Some((first, last))) => {
            call.reply.bulk_shared(&bytes.slice(first..=last));
        }
        _ => call.reply.bulk(b""),
    }
    Ok(())
}

fn setrange(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let offset = usize::try_from(integer(call.args.at(2))?)
        .map_err(|_| CommandError::Text("ERR offset is out of range"))?;
    let part = call.args.at(3);
    let len = view.read().string()?.map_or(0, |value| value.bytes().len());
    if part.is_empty() {
        call.reply.count(len);
        return Ok(());
    }
    let end = offset.saturating_add(part.len());
    if end > call.string_bytes_max {
        return Err(CommandError::StringTooLong);
    }
    view.change_string(end, |bytes| {
        if let Some(place) = bytes.get_mut(offset..end) {
            place.copy_from_slice(part);
        }
    })?;
    view.notify(EventSet::STRING, "setrange");
    call.reply.count(len.max(end));
    Ok(())
}

fn mget(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    call.reply.array(view.len());
    for key in view.iter() {
        reply_string(call, key.string().unwrap_or(None));
    }
    Ok(())
}

fn mset(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    if call.args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity("mset".to_owned()));
    }
    set_pairs(view, call);
    call.reply.ok();
    Ok(())
}

fn set_pairs(view: &mut WriteManyView<'_, '_>, call: &Call<'_>) {
    for index in 0..view.len() {
        view.let_go_if(Bug::TornWrite);
        if let Some(mut key) = view.key(index) {
            key.set_string(call.args.at(2 * index + 2), NewDeadline::Set(None));
            key.notify(EventSet::STRING, "set");
        }
    }
}

fn msetnx(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    if call.args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity("msetnx".to_owned()));
    }
    let found = (0..view.len()).any(|index| view.key(index).is_some_and(|key| key.exists()));
    if !found {
        set_pairs(view, call);
    }
    call.reply.flag(!found);
    Ok(())
}

/// INCR and its kin. The deadline stays; a sum with as many digits is written in place.
fn add(view: &mut WriteView<'_>, call: &mut Call<'_>, increment: i64) -> Outcome {
    let old = match view.read().string()? {
        None => 0,
        Some(value) => integer(value.bytes())?,
    };
    let new = old.checked_add(increment).ok_or(CommandError::Overflow)?;
    let mut text = IntegerText::new();
    view.set_string(text.format_i64(new), NewDeadline::Keep);
    view.notify(EventSet::STRING, "incrby");
    call.reply.integer(new);
    Ok(())
}

fn incr(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    add(view, call, 1)
}

fn decr(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    add(view, call, -1)
}

fn incrby(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let increment = integer(call.args.at(2))?;
    add(view, call, increment)
}

fn decrby(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let decrement = integer(call.args.at(2))?;
    add(view, call, decrement.checked_neg().ok_or(CommandError::DecrementOverflow)?)
}

/// The deadline stays, as with INCR.
fn incrbyfloat(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let old = match view.read().string()? {
        None => Extended::ZERO,
        Some(value) => Extended::parse(value.bytes()).ok_or(CommandError::NotAFloat)?,
    };
    let increment = Extended::parse(call.args.at(2)).ok_or(CommandError::NotAFloat)?;
    let new = old.checked_add(increment).ok_or(CommandError::NotFinite)?.to_text();
    view.set_string(&new, NewDeadline::Keep);
    view.notify(EventSet::STRING, "incrbyfloat");
    call.reply.bulk(&new);
    Ok(())
}

fn append(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let tail = call.args.at(2);
    if let Some(value) = view.read().string()?
        && tail.len() > call.string_bytes_max.saturating_sub(value.bytes().len())
    {
        return Err(CommandError::StringTooLong);
    }
    let len = view.append(tail)?;
    view.notify(EventSet::STRING, "append");
    call.reply.count(len);
    Ok(())
}

fn strlen(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(view.string()?.map_or(0, |value| value.bytes().len()));
    Ok(())
}
