//! Taking elements of the first of several lists, or waiting for one.

use crate::command::blocking::{self, Attempt, Tried};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::list::{end_of_word, move_element, popped};
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::list::{End, ListRef};
use crate::data::{List, ValueType};
use crate::keyspace::{WriteManyView, WriteView, WrongType};
use crate::util::events::EventSet;

const BLOCKS: Flags = Flags::NO_SCRIPT.and(Flags::BLOCKING);
const TAKEN: &[&str] = &["RW", "ACCESS", "DELETE"];
const MOVED: &[KeySpec] =
    &[KeySpec::one(TAKEN), KeySpec { first: 2, last: 0, step: 1, access: &["RW", "INSERT"] }];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "LMPOP", group: Group::List, arity: Arity::AtLeast(4),
        keys: &[KeySpec::counted(1, TAKEN)],
        since: "7.0.0", cost: "O(k + n) for k keys and n elements",
        syntax: "LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        summary: "Pops elements of the first of several lists that is there.",
        run: Run::WriteMany(lmpop), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BLPOP", group: Group::List, arity: Arity::AtLeast(3),
        keys: &[KeySpec::all_but_last(TAKEN)], flags: BLOCKS,
        since: "2.0.0", cost: "O(k) for k keys", syntax: "BLPOP key [key ...] timeout",
        summary: "Pops the first element of the first list that is there, or waits for one.",
        run: Run::Block(ValueType::List, blpop), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BRPOP", group: Group::List, arity: Arity::AtLeast(3),
        keys: &[KeySpec::all_but_last(TAKEN)], flags: BLOCKS,
        since: "2.0.0", cost: "O(k) for k keys", syntax: "BRPOP key [key ...] timeout",
        summary: "Pops the last element of the first list that is there, or waits for one.",
        run: Run::Block(ValueType::List, brpop), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BLMOVE", group: Group::List, arity: Arity::Exact(6),
        keys: MOVED, flags: BLOCKS.and(Flags::DENY_OOM),
        since: "6.2.0", cost: "O(1)",
        syntax: "BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        summary: "Moves an element from one list to another, or waits for one.",
        run: Run::Block(ValueType::List, blmove), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BRPOPLPUSH", group: Group::List, arity: Arity::Exact(4),
        keys: MOVED, flags: BLOCKS.and(Flags::DENY_OOM),
        since: "2.2.0", cost: "O(1)", syntax: "BRPOPLPUSH source destination timeout",
        summary: "Moves the last element of a list to the front of another, or waits for one.",
        run: Run::Block(ValueType::List, brpoplpush), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BLMPOP", group: Group::List, arity: Arity::AtLeast(5),
        keys: &[KeySpec::counted(2, TAKEN)], flags: Flags::BLOCKING,
        since: "7.0.0", cost: "O(k + n) for k keys and n elements",
        syntax: "BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        summary: "As LMPOP, or waits for one of the keys.",
        run: Run::Block(ValueType::List, blmpop), ..CommandSpec::BASE
    },
];

/// What LMPOP and BLMPOP ask for behind the number of keys, which is argument `at`.
fn parse_many(call: &Call<'_>, at: usize) -> Result<(End, usize), CommandError> {
    let (is_first, count) = blocking::parse_many(call, at, ["LEFT", "RIGHT"])?;
    Ok((if is_first { End::Left } else { End::Right }, count))
}

/// Replies with the key and up to `count` elements; false when there is no list.
fn pop_and_reply(
    view: &mut WriteView<'_>,
    call: &mut Call<'_>,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<bool, WrongType> {
    let len = view.read().list()?.map_or(0, ListRef::len);
    let (count, reply) = (count.min(len), &mut call.reply);
    if count == 0 {
        return Ok(false);
    }
    reply.array(2);
    reply.bulk(key);
    reply.array(count);
    view.note_more_changes(count - 1);
    view.change_collection(false, |list: &mut List| {
        for _ in 0..count {
            list.pop(end, |element| reply.bulk(element));
        }
    })?;
    view.notify(EventSet::LIST, popped(end));
    Ok(true)
}

fn lmpop(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let (end, count) = parse_many(call, 1)?;
    for number in 0..view.len() {
        let key = call.args.at(2 + number);
        if let Some(mut view) = view.key(number)
            && pop_and_reply(&mut view, call, key, end, count)?
        {
            return Ok(());
        }
    }
    call.reply.null_array();
    Ok(())
}

fn blmpop(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    let (end, count) = parse_many(call, 2)?;
    let timeout = blocking::timeout(call.args.at(1))?;
    let keys = view.len();
    let is_served = attempt.take_first(view, keys, ValueType::List, |view, number| {
        let key = call.args.at(3 + number);
        pop_and_reply(view, call, key, end, count).map(|_| ())
    })?;
    Ok(attempt.ended(is_served, timeout, || call.reply.null_array()))
}

fn pop_blocking(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
    end: End,
) -> Result<Tried, CommandError> {
    let timeout = blocking::timeout(call.args.at(call.args.len() - 1))?;
    let keys = view.len();
    let is_served = attempt.take_first(view, keys, ValueType::List, |view, number| {
        let reply = &mut call.reply;
        reply.array(2);
        reply.bulk(call.args.at(1 + number));
        view.change_collection(false, |list: &mut List| {
            list.pop(end, |element| reply.bulk(element))
        })?;
        view.notify(EventSet::LIST, popped(end));
        Ok(())
    })?;
    Ok(attempt.ended(is_served, timeout, || call.reply.null_array()))
}

fn blpop(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    pop_blocking(view, call, attempt, End::Left)
}

fn brpop(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    pop_blocking(view, call, attempt, End::Right)
}

fn move_blocking(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
    timeout: &[u8],
    (from, to): (End, End),
) -> Result<Tried, CommandError> {
    let timeout = blocking::timeout(timeout)?;
    let may_take = attempt.take_first(view, 1, ValueType::List, |_, _| Ok(()))?;
    if may_take {
        move_element(view, call, from, to)?;
    }
    Ok(attempt.ended(may_take, timeout, || call.reply.null()))
}

fn blmove(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    let ends = (end_of_word(call.args.at(3))?, end_of_word(call.args.at(4))?);
    let timeout = call.args.at(5);
    move_blocking(view, call, attempt, timeout, ends)
}

fn brpoplpush(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    let timeout = call.args.at(3);
    move_blocking(view, call, attempt, timeout, (End::Right, End::Left))
}
