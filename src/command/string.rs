//! Strings: GET, SET and what counts and appends.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::StringRef;
use crate::keyspace::{NewDeadline, ReadManyView, ReadView, WriteManyView, WriteView};
use crate::util::clock::UnixMillis;
use crate::util::number::IntegerText;

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
    fn deadline(self, number: &[u8], now: UnixMillis) -> Result<UnixMillis, CommandError> {
        let number = integer(number)?;
        let scale = if matches!(self, Self::Seconds | Self::UnixSeconds) { 1_000 } else { 1 };
        let base = if matches!(self, Self::Seconds | Self::Millis) { now.0 } else { 0 };
        Some(number)
            .filter(|number| *number > 0)
            .and_then(|number| number.checked_mul(scale)?.checked_add(base))
            .map(UnixMillis)
            .ok_or(CommandError::InvalidExpire("set"))
    }
}

/// What SET does with the deadline.
#[derive(Clone, Copy)]
enum DeadlineOption<'a> {
    Remove,
    Keep,
    Set(DeadlineUnit, &'a [u8]),
}

impl DeadlineOption<'_> {
    /// True when EX, PX, EXAT or PXAT may follow: alone or after itself.
    fn may_become(self, new: DeadlineUnit) -> bool {
        match self {
            Self::Remove => true,
            Self::Keep => false,
            Self::Set(unit, _) => unit == new,
        }
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
            Self { condition: Condition::Always, get: false, deadline: DeadlineOption::Remove };
        let mut words = call.args.iter_from(3);
        while let Some(word) = words.next() {
            if is_word(word, "NX") && options.condition != Condition::IfPresent {
                options.condition = Condition::IfAbsent;
            } else if is_word(word, "XX") && options.condition != Condition::IfAbsent {
                options.condition = Condition::IfPresent;
            } else if is_word(word, "GET") {
                options.get = true;
            } else if is_word(word, "KEEPTTL")
                && !matches!(options.deadline, DeadlineOption::Set(..))
            {
                options.deadline = DeadlineOption::Keep;
            } else if let Some(unit) = DeadlineUnit::of_word(word)
                && options.deadline.may_become(unit)
                && let Some(number) = words.next()
            {
                options.deadline = DeadlineOption::Set(unit, number);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn set(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    if call.args.len() == 3 {
        view.set_string(call.args.at(2), NewDeadline::Set(None));
        call.reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(call)?;
    let deadline = match options.deadline {
        DeadlineOption::Remove => NewDeadline::Set(None),
        DeadlineOption::Keep => NewDeadline::Keep,
        DeadlineOption::Set(unit, number) => {
            NewDeadline::Set(Some(unit.deadline(number, call.now)?))
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
        view.set_string(call.args.at(2), deadline);
    }
    match (options.get, sets) {
        (true, _) => {}
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
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
    for index in 0..view.len() {
        if let Some(mut key) = view.key(index) {
            key.set_string(call.args.at(2 * index + 2), NewDeadline::Set(None));
        }
    }
    call.reply.ok();
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

fn append(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let tail = call.args.at(2);
    let mut len = 0;
    if let Some(value) = view.read().string()? {
        len = value.bytes().len();
        if tail.len() > call.string_bytes_max.saturating_sub(len) {
            return Err(CommandError::StringTooLong);
        }
    }
    if !tail.is_empty() || !view.exists() {
        len = view.append(tail)?;
    }
    call.reply.count(len);
    Ok(())
}

fn strlen(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(view.string()?.map_or(0, |value| value.bytes().len()));
    Ok(())
}
