//! Lists.

use crate::command::args::integer;
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::List;
use crate::data::list::End;
use crate::keyspace::{ReadView, WriteView};
use crate::util::number::parse_i64;
use crate::util::range::{normalize_index, normalize_range};

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "LPUSH", group: Group::List, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(n) for n elements", syntax: "LPUSH key element [element ...]",
        summary: "Prepends elements to a list, which is created if it doesn't exist.",
        run: Run::Write(lpush), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RPUSH", group: Group::List, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(n) for n elements", syntax: "RPUSH key element [element ...]",
        summary: "Appends elements to a list, which is created if it doesn't exist.",
        run: Run::Write(rpush), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LPOP", group: Group::List, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "DELETE"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(n) for n elements", syntax: "LPOP key [count]",
        summary: "Removes and returns the first elements of a list.", run: Run::Write(lpop),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RPOP", group: Group::List, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "DELETE"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(n) for n elements", syntax: "RPOP key [count]",
        summary: "Removes and returns the last elements of a list.", run: Run::Write(rpop),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LLEN", group: Group::List, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "LLEN key",
        summary: "Returns the length of a list.", run: Run::Read(llen), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LINDEX", group: Group::List, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.0.0", cost: "O(n) for n chunks between the element and the nearer end",
        syntax: "LINDEX key index", summary: "Returns an element of a list by its index.",
        run: Run::Read(lindex), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LSET", group: Group::List, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM,
        since: "1.0.0", cost: "O(n) for n chunks between the element and the nearer end",
        syntax: "LSET key index element", summary: "Sets an element of a list by its index.",
        run: Run::Write(lset), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LREM", group: Group::List, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "DELETE"])],
        since: "1.0.0", cost: "O(n) for n elements of the list", syntax: "LREM key count element",
        summary: "Removes elements that equal the given one from a list.", run: Run::Write(lrem),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LRANGE", group: Group::List, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.0.0",
        cost: "O(s+n) for n elements after s chunks between the first and the nearer end",
        syntax: "LRANGE key start stop", summary: "Returns a range of elements of a list.",
        run: Run::Read(lrange), ..CommandSpec::BASE
    },
];

fn push(view: &mut WriteView<'_>, call: &mut Call<'_>, end: End) -> Outcome {
    let args = call.args;
    let len = view.change_collection(true, |list: &mut List| {
        for element in args.iter_from(2) {
            list.push(end, element);
        }
        list.len()
    })?;
    view.note_more_changes(args.len().saturating_sub(3));
    call.reply.count(len.unwrap_or(0));
    Ok(())
}

fn lpush(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    push(view, call, End::Left)
}

fn rpush(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    push(view, call, End::Right)
}

fn pop(view: &mut WriteView<'_>, call: &mut Call<'_>, end: End, name: &str) -> Outcome {
    let reply = &mut call.reply;
    match call.args.len() {
        2 => {
            let popped = view.change_collection(false, |list: &mut List| {
                list.pop(end, |element| reply.bulk(element))
            })?;
            if popped.is_none() {
                reply.null();
            }
            Ok(())
        }
        3 => {
            let count = parse_i64(call.args.at(2)).and_then(|count| usize::try_from(count).ok());
            pop_many(view, call, end, count.ok_or(CommandError::NotPositive)?)
        }
        _ => Err(CommandError::WrongArity(name.to_owned())),
    }
}

fn pop_many(view: &mut WriteView<'_>, call: &mut Call<'_>, end: End, count: usize) -> Outcome {
    let reply = &mut call.reply;
    let Some(len) = view.read().list()?.map(|list| list.len()) else {
        reply.null_array();
        return Ok(());
    };
    let count = count.min(len);
    reply.array(count);
    if count > 0 {
        view.change_collection(false, |list: &mut List| {
            for _ in 0..count {
                list.pop(end, |element| reply.bulk(element));
            }
        })?;
        view.note_more_changes(count - 1);
    }
    Ok(())
}

fn lpop(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    pop(view, call, End::Left, "lpop")
}

fn rpop(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    pop(view, call, End::Right, "rpop")
}

fn llen(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(view.list()?.map_or(0, |list| list.len()));
    Ok(())
}

fn lindex(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let element = match view.list()? {
        None => None,
        Some(list) => {
            let index = integer(call.args.at(2))?;
            normalize_index(index, list.len()).and_then(|index| list.get(index))
        }
    };
    match element {
        Some(element) => call.reply.bulk(element),
        None => call.reply.null(),
    }
    Ok(())
}

fn lset(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let len = view.read().list()?.ok_or(CommandError::NoSuchKey)?.len();
    let index = integer(call.args.at(2))?;
    let index = normalize_index(index, len).ok_or(CommandError::IndexOutOfRange)?;
    let element = call.args.at(3);
    view.change_collection(false, |list: &mut List| list.set(index, element))?;
    call.reply.ok();
    Ok(())
}

fn lrem(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let count = integer(call.args.at(2))?;
    let (limit, end) = match usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) {
        0 => (usize::MAX, End::Left),
        limit => (limit, if count < 0 { End::Right } else { End::Left }),
    };
    let element = call.args.at(3);
    let found = view.read().list()?.is_some_and(|list| list.contains(element, end));
    let mut removed = 0;
    if found {
        let changed = view
            .change_collection(false, |list: &mut List| list.remove_equal(element, limit, end))?;
        removed = changed.unwrap_or(0);
        view.note_more_changes(removed.saturating_sub(1));
    }
    call.reply.count(removed);
    Ok(())
}

fn lrange(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let (start, stop) = (integer(call.args.at(2))?, integer(call.args.at(3))?);
    let Some(list) = view.list()? else {
        call.reply.array(0);
        return Ok(());
    };
    match normalize_range(start, stop, list.len()) {
        None => call.reply.array(0),
        Some((first, last)) => {
            let count = last - first + 1;
            call.reply.array(count);
            list.for_each(first, count, |element| call.reply.bulk(element));
        }
    }
    Ok(())
}
