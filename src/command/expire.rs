//! Deadlines of keys. A deadline is a moment in Unix milliseconds, however it was given.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::keyspace::{ReadView, WriteView};
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "EXPIRE", group: Group::Generic, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(log n) for n keys with a deadline",
        syntax: "EXPIRE key seconds [NX | XX | GT | LT]",
        summary: "Sets the time that a key has left to live, in seconds.",
        run: Run::Write(expire), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PEXPIRE", group: Group::Generic, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::FAST,
        since: "2.6.0", cost: "O(log n) for n keys with a deadline",
        syntax: "PEXPIRE key milliseconds [NX | XX | GT | LT]",
        summary: "Sets the time that a key has left to live, in milliseconds.",
        run: Run::Write(pexpire), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EXPIREAT", group: Group::Generic, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::FAST,
        since: "1.2.0", cost: "O(log n) for n keys with a deadline",
        syntax: "EXPIREAT key unix-time-seconds [NX | XX | GT | LT]",
        summary: "Sets the moment at which a key expires, in Unix seconds.",
        run: Run::Write(expireat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PEXPIREAT", group: Group::Generic, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::FAST,
        since: "2.6.0", cost: "O(log n) for n keys with a deadline",
        syntax: "PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]",
        summary: "Sets the moment at which a key expires, in Unix milliseconds.",
        run: Run::Write(pexpireat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "TTL", group: Group::Generic, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST.and(Flags::NO_TOUCH),
        since: "1.0.0", cost: "O(1)", syntax: "TTL key",
        summary: "Returns the seconds that a key has left to live.",
        tips: &["nondeterministic_output"], run: Run::Read(ttl), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PTTL", group: Group::Generic, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST.and(Flags::NO_TOUCH),
        since: "2.6.0", cost: "O(1)", syntax: "PTTL key",
        summary: "Returns the milliseconds that a key has left to live.",
        tips: &["nondeterministic_output"], run: Run::Read(pttl), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EXPIRETIME", group: Group::Generic, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST.and(Flags::NO_TOUCH),
        since: "7.0.0", cost: "O(1)", syntax: "EXPIRETIME key",
        summary: "Returns the moment at which a key expires, in Unix seconds.",
        run: Run::Read(expiretime), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PEXPIRETIME", group: Group::Generic, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST.and(Flags::NO_TOUCH),
        since: "7.0.0", cost: "O(1)", syntax: "PEXPIRETIME key",
        summary: "Returns the moment at which a key expires, in Unix milliseconds.",
        run: Run::Read(pexpiretime), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PERSIST", group: Group::Generic, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::FAST,
        since: "2.2.0", cost: "O(1)", syntax: "PERSIST key",
        summary: "Removes the deadline of a key.", run: Run::Write(persist), ..CommandSpec::BASE
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Millis,
}

/// Which deadlines EXPIRE may replace.
#[derive(Default)]
struct Conditions {
    none_yet: bool,
    any_yet: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for word in call.args.iter_from(3) {
            let condition = match word {
                _ if is_word(word, "NX") => &mut conditions.none_yet,
                _ if is_word(word, "XX") => &mut conditions.any_yet,
                _ if is_word(word, "GT") => &mut conditions.only_later,
                _ if is_word(word, "LT") => &mut conditions.only_earlier,
                _ => {
                    return Err(CommandError::echoing("ERR Unsupported option ", word, ""));
                }
            };
            *condition = true;
        }
        let Self { none_yet, any_yet, only_later, only_earlier } = conditions;
        if none_yet && (any_yet || only_later || only_earlier) {
            return Err(CommandError::Text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if only_later && only_earlier {
            return Err(CommandError::Text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// True when `new` may take the place of `old`; to have none is to live for ever.
    fn allow(&self, old: Option<UnixMillis>, new: UnixMillis) -> bool {
        !(self.none_yet && old.is_some()
            || self.any_yet && old.is_none()
            || self.only_later && old.is_none_or(|old| new <= old)
            || self.only_earlier && old.is_some_and(|old| new >= old))
    }
}

/// EXPIRE and its kin: the number in `unit`, counted from `base`.
fn set_deadline(
    view: &mut WriteView<'_>,
    call: &mut Call<'_>,
    unit: Unit,
    base: UnixMillis,
    command: &'static str,
) -> Outcome {
    let conditions = Conditions::parse(call)?;
    let number = integer(call.args.at(2))?;
    let millis = if unit == Unit::Seconds { number.checked_mul(1_000) } else { Some(number) };
    let deadline = millis
        .and_then(|millis| millis.checked_add(base.0))
        .map(UnixMillis)
        .ok_or(CommandError::InvalidExpire(command))?;
    let allowed = view.read().deadline().is_some_and(|old| conditions.allow(old, deadline));
    if allowed && deadline <= call.now {
        view.remove();
        view.notify(EventSet::GENERIC, "del");
    } else if allowed {
        view.set_deadline(Some(deadline));
        view.notify(EventSet::GENERIC, "expire");
    }
    call.reply.flag(allowed);
    Ok(())
}

fn expire(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    set_deadline(view, call, Unit::Seconds, call.now, "expire")
}

fn pexpire(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    set_deadline(view, call, Unit::Millis, call.now, "pexpire")
}

fn expireat(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    set_deadline(view, call, Unit::Seconds, UnixMillis(0), "expireat")
}

fn pexpireat(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    set_deadline(view, call, Unit::Millis, UnixMillis(0), "pexpireat")
}

/// TTL and its kin: the deadline less `base`, in `unit`; -1 without one, -2 without the key.
fn get_deadline(view: &ReadView<'_>, call: &mut Call<'_>, unit: Unit, base: UnixMillis) -> Outcome {
    call.reply.integer(match view.deadline() {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => {
            let millis = deadline.0.saturating_sub(base.0);
            // To the nearest second, without an overflow at the end of time.
            let is_rounded_up = millis % 1_000 >= 500;
            if unit == Unit::Millis { millis } else { millis / 1_000 + i64::from(is_rounded_up) }
        }
    });
    Ok(())
}

fn ttl(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    get_deadline(view, call, Unit::Seconds, call.now)
}

fn pttl(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    get_deadline(view, call, Unit::Millis, call.now)
}

fn expiretime(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    get_deadline(view, call, Unit::Seconds, UnixMillis(0))
}

fn pexpiretime(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    get_deadline(view, call, Unit::Millis, UnixMillis(0))
}

fn persist(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let has_deadline = matches!(view.read().deadline(), Some(Some(_)));
    if has_deadline {
        view.set_deadline(None);
        view.notify(EventSet::GENERIC, "persist");
    }
    call.reply.flag(has_deadline);
    Ok(())
}
