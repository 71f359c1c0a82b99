//! Taking the members with the lowest or the highest scores.

use crate::command::args::count;
use crate::command::blocking::{self, Attempt, Tried};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::{SortedSet, SortedSetRef, ValueType};
use crate::keyspace::{WriteManyView, WriteView, WrongType};
use crate::protocol::{Protocol, ReplyWriter};
use crate::util::events::EventSet;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ZPOPMIN", group: Group::SortedSet, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "DELETE"])], flags: Flags::FAST,
        since: "5.0.0", cost: "O(m*log n) for m members", syntax: "ZPOPMIN key [count]",
        summary: "Removes and returns the members with the lowest scores.",
        run: Run::Write(zpopmin), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZPOPMAX", group: Group::SortedSet, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "DELETE"])], flags: Flags::FAST,
        since: "5.0.0", cost: "O(m*log n) for m members", syntax: "ZPOPMAX key [count]",
        summary: "Removes and returns the members with the highest scores.",
        run: Run::Write(zpopmax), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ZMPOP", group: Group::SortedSet, arity: Arity::AtLeast(4),
        keys: &[KeySpec::counted(1, &["RW", "ACCESS", "DELETE"])],
        since: "7.0.0", cost: "O(k + m*log n) for k keys and m members",
        syntax: "ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]",
        summary: "Removes and returns members of the first of several sorted sets that is there.",
        run: Run::WriteMany(zmpop), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BZPOPMIN", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: BLOCKING_KEYS, flags: BLOCKS.and(Flags::FAST),
        since: "5.0.0", cost: "O(k + log n) for k keys", syntax: "BZPOPMIN key [key ...] timeout",
        summary: "As ZPOPMIN of the first key that is there, or waits for one.",
        run: Run::Block(ValueType::SortedSet, bzpopmin), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BZPOPMAX", group: Group::SortedSet, arity: Arity::AtLeast(3),
        keys: BLOCKING_KEYS, flags: BLOCKS.and(Flags::FAST),
        since: "5.0.0", cost: "O(k + log n) for k keys", syntax: "BZPOPMAX key [key ...] timeout",
        summary: "As ZPOPMAX of the first key that is there, or waits for one.",
        run: Run::Block(ValueType::SortedSet, bzpopmax), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BZMPOP", group: Group::SortedSet, arity: Arity::AtLeast(5),
        keys: &[KeySpec::counted(2, &["RW", "ACCESS", "DELETE"])], flags: Flags::BLOCKING,
        since: "7.0.0", cost: "O(k + m*log n) for k keys and m members",
        syntax: "BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        summary: "As ZMPOP, or waits for one of the keys.",
        run: Run::Block(ValueType::SortedSet, bzmpop), ..CommandSpec::BASE
    },
];

const BLOCKS: Flags = Flags::NO_SCRIPT.and(Flags::BLOCKING);
const BLOCKING_KEYS: &[KeySpec] = &[KeySpec::all_but_last(&["RW", "ACCESS", "DELETE"])];

/// Which members are taken first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extreme {
    /// Those with the lowest scores.
    Lowest,
    /// Those with the highest scores.
    Highest,
}

/// Removes up to `count` members after `begin` was told how many and `each` has seen them;
/// returns how many, 0 when there are none.
///
/// # Errors
/// `WrongType` when the key holds another type; nothing is called then.
pub fn pop<T>(
    view: &mut WriteView<'_>,
    from: Extreme,
    count: usize,
    target: &mut T,
    begin: impl FnOnce(&mut T, usize),
    mut each: impl FnMut(&mut T, &[u8], f64),
) -> Result<usize, WrongType> {
    let len = view.read().sorted_set()?.map_or(0, SortedSetRef::len);
    let count = count.min(len);
    begin(target, count);
    if count > 0 {
        let is_reverse = from == Extreme::Highest;
        let ranks = if is_reverse { len - count..len } else { 0..count };
        view.note_more_changes(count - 1);
        view.change_collection(false, |set: &mut SortedSet| {
            set.remove_ranks(ranks, is_reverse, |member, score| each(target, member, score));
        })?;
        view.notify(EventSet::SORTED_SET, if is_reverse { "zpopmax" } else { "zpopmin" });
    }
    Ok(count)
}

/// Writes a popped member and its score as an array of two.
pub fn reply_pair(reply: &mut ReplyWriter<'_>, member: &[u8], score: f64) {
    reply.array(2);
    reply.bulk(member);
    reply.double(score);
}

fn pop_one_key(view: &mut WriteView<'_>, call: &mut Call<'_>, from: Extreme) -> Outcome {
    let args = call.args;
    let wanted = match args.len() {
        2 => None,
        3 => Some(count(args.at(2))?),
        _ => return Err(CommandError::Syntax),
    };
    let is_nested = wanted.is_some() && call.reply.protocol() == Protocol::Resp3;
    let head = |reply: &mut ReplyWriter<'_>, count| {
        reply.array(if is_nested { count } else { 2 * count });
    };
    pop(view, from, wanted.unwrap_or(1), &mut call.reply, head, |reply, member, score| {
        if is_nested {
            reply_pair(reply, member, score);
        } else {
            reply.bulk(member);
            reply.double(score);
        }
    })?;
    Ok(())
}

fn zpopmin(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    pop_one_key(view, call, Extreme::Lowest)
}

fn zpopmax(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    pop_one_key(view, call, Extreme::Highest)
}

/// What ZMPOP and BZMPOP ask for behind the number of keys, which is argument `at`.
///
/// # Errors
/// Redis' texts for what does not fit.
pub fn parse_many(call: &Call<'_>, at: usize) -> Result<(Extreme, usize), CommandError> {
    let (is_first, wanted) = blocking::parse_many(call, at, ["MIN", "MAX"])?;
    Ok((if is_first { Extreme::Lowest } else { Extreme::Highest }, wanted))
}

/// Pops from this key as ZMPOP does; false when nothing is there and nothing was answered.
///
/// # Errors
/// `WrongType` when the key holds another type.
pub fn pop_and_reply(
    view: &mut WriteView<'_>,
    call: &mut Call<'_>,
    key: &[u8],
    from: Extreme,
    count: usize,
) -> Result<bool, WrongType> {
    let begin = |reply: &mut ReplyWriter<'_>, count| {
        if count > 0 {
            reply.array(2);
            reply.bulk(key);
            reply.array(count);
        }
    };
    let popped = pop(view, from, count, &mut call.reply, begin, |reply, member, score| {
        reply_pair(reply, member, score);
    })?;
    Ok(popped > 0)
}

fn zmpop(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let (from, count) = parse_many(call, 1)?;
    for index in 0..view.len() {
        let key = call.args.at(2 + index);
        if let Some(mut view) = view.key(index)
            && pop_and_reply(&mut view, call, key, from, count)?
        {
            return Ok(());
        }
    }
    call.reply.null_array();
    Ok(())
}

fn pop_blocking(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
    from: Extreme,
) -> Result<Tried, CommandError> {
    let timeout = blocking::timeout(call.args.at(call.args.len() - 1))?;
    let keys = view.len();
    let is_served = attempt.take_first(view, keys, ValueType::SortedSet, |view, number| {
        let key = call.args.at(1 + number);
        let begin = |reply: &mut ReplyWriter<'_>, _| {
            reply.array(3);
            reply.bulk(key);
        };
        pop(view, from, 1, &mut call.reply, begin, |reply, member, score| {
            reply.bulk(member);
            reply.double(score);
        })?;
        Ok(())
    })?;
    Ok(attempt.ended(is_served, timeout, || call.reply.null_array()))
}

fn bzpopmin(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    pop_blocking(view, call, attempt, Extreme::Lowest)
}

fn bzpopmax(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    pop_blocking(view, call, attempt, Extreme::Highest)
}

fn bzmpop(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    let (from, count) = parse_many(call, 2)?;
    let timeout = blocking::timeout(call.args.at(1))?;
    let keys = view.len();
    let is_served = attempt.take_first(view, keys, ValueType::SortedSet, |view, number| {
        let key = call.args.at(3 + number);
        pop_and_reply(view, call, key, from, count).map(|_| ())
    })?;
    Ok(attempt.ended(is_served, timeout, || call.reply.null_array()))
}
