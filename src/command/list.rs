//! Lists.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::many;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::list::{End, ListRef};
use crate::data::{List, Value};
use crate::keyspace::{ReadView, WriteManyView, WriteView};
use crate::util::events::EventSet;
use crate::util::number::parse_i64;
use crate::util::range::{normalize_index, normalize_range};
use std::ops::ControlFlow;

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
    CommandSpec {
        name: "LPUSHX", group: Group::List, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.2.0", cost: "O(n) for n elements", syntax: "LPUSHX key element [element ...]",
        summary: "Prepends elements to a list that exists.", run: Run::Write(lpushx),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RPUSHX", group: Group::List, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.2.0", cost: "O(n) for n elements", syntax: "RPUSHX key element [element ...]",
        summary: "Appends elements to a list that exists.", run: Run::Write(rpushx),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LPOS", group: Group::List, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "6.0.6", cost: "O(n) for n elements up to the last that is found",
        syntax: "LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        summary: "Returns the indices of elements that equal the given one.",
        run: Run::Read(lpos), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LINSERT", group: Group::List, arity: Arity::Exact(5),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM,
        since: "2.2.0", cost: "O(n) for n elements before the pivot",
        syntax: "LINSERT key <BEFORE | AFTER> pivot element",
        summary: "Inserts an element before or after another one.",
        run: Run::Write(linsert), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LTRIM", group: Group::List, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "DELETE"])],
        since: "1.0.0", cost: "O(n) for n chunks; what goes is freed in the background",
        syntax: "LTRIM key start stop",
        summary: "Keeps a range of elements of a list and removes the others.",
        run: Run::Write(ltrim), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LMOVE", group: Group::List, arity: Arity::Exact(5),
        keys: &[
            KeySpec::one(&["RW", "ACCESS", "DELETE"]),
            KeySpec { first: 2, last: 0, step: 1, access: &["RW", "INSERT"] },
        ],
        flags: Flags::DENY_OOM,
        since: "6.2.0", cost: "O(1)",
        syntax: "LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        summary: "Moves an element from an end of one list to an end of another.",
        run: Run::WriteMany(lmove), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RPOPLPUSH", group: Group::List, arity: Arity::Exact(3),
        keys: &[
            KeySpec::one(&["RW", "ACCESS", "DELETE"]),
            KeySpec { first: 2, last: 0, step: 1, access: &["RW", "INSERT"] },
        ],
        flags: Flags::DENY_OOM,
        since: "1.2.0", cost: "O(1)", syntax: "RPOPLPUSH source destination",
        summary: "Moves the last element of one list to the front of another.",
        run: Run::WriteMany(rpoplpush), ..CommandSpec::BASE
    },
];

/// The event of a push.
fn pushed(end: End) -> &'static str {
    match end {
        End::Left => "lpush",
        End::Right => "rpush",
    }
}

/// The event of a pop.
pub(super) fn popped(end: End) -> &'static str {
    match end {
        End::Left => "lpop",
        End::Right => "rpop",
    }
}

fn push(view: &mut WriteView<'_>, call: &mut Call<'_>, end: End) -> Outcome {
    let args = call.args;
    let len = view.change_collection(true, |list: &mut List| {
        for element in args.iter_from(2) {
            list.push(end, element);
        }
        list.len()
    })?;
    view.note_more_changes(args.len().saturating_sub(3));
    view.notify(EventSet::LIST, pushed(end));
    call.reply.count(len.unwrap_or(0));
    Ok(())
}

fn lpush(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    push(view, call, End::Left)
}

fn rpush(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    push(view, call, End::Right)
}

fn push_if_there(view: &mut WriteView<'_>, call: &mut Call<'_>, end: End) -> Outcome {
    if view.exists() {
        return push(view, call, end);
    }
    call.reply.count(0);
    Ok(())
}

fn lpushx(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    push_if_there(view, call, End::Left)
}

fn rpushx(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    push_if_there(view, call, End::Right)
}

fn pop(view: &mut WriteView<'_>, call: &mut Call<'_>, end: End, name: &str) -> Outcome {
    let reply = &mut call.reply;
    match call.args.len() {
        2 => {
            let element = view.change_collection(false, |list: &mut List| {
                list.pop(end, |element| reply.bulk(element))
            })?;
            match element {
                Some(_) => view.notify(EventSet::LIST, popped(end)),
                None => reply.null(),
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
        view.notify(EventSet::LIST, popped(end));
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
    view.notify(EventSet::LIST, "lset");
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
        view.notify(EventSet::LIST, "lrem");
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
            return many::answer(view, call, count, move |view, reply| {
                if let Some(list) = view.list()? {
                    reply.array(count);
                    list.for_each(first, count, |element| reply.bulk(element));
                }
                Ok(())
            });
        }
    }
    Ok(())
}

/// The options of LPOS.
struct Search {
    rank: i64,
    /// `None` for a single position, 0 for all.
    count: Option<i64>,
    /// 0 for the whole list.
    compared_max: i64,
}

impl Search {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut search = Self { rank: 1, count: None, compared_max: 0 };
        let positive = |number: &[u8], error| {
            parse_i64(number).filter(|number| *number >= 0).ok_or(CommandError::Text(error))
        };
        let mut words = call.args.iter_from(3);
        while let Some(word) = words.next() {
            let known = ["RANK", "COUNT", "MAXLEN"].into_iter().find(|known| is_word(word, known));
            let (Some(known), Some(number)) = (known, words.next()) else {
                return Err(CommandError::Syntax);
            };
            match known {
                "RANK" => search.rank = integer(number)?,
                "COUNT" => {
                    search.count = Some(positive(number, "ERR COUNT can't be negative")?);
                }
                _ => search.compared_max = positive(number, "ERR MAXLEN can't be negative")?,
            }
            if search.rank == 0 {
                return Err(CommandError::Text(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
        }
        Ok(search)
    }

    /// The indices that are found.
    fn run(&self, list: ListRef<'_>, wanted: &[u8]) -> Vec<usize> {
        let end = if self.rank < 0 { End::Right } else { End::Left };
        // The least number has no opposite, and Redis takes the first match for it.
        let mut skip = self.rank.checked_abs().map_or(0, |rank| rank - 1);
        let limit = match self.count.map(usize::try_from) {
            None => 1,
            Some(Ok(0) | Err(_)) => usize::MAX,
            Some(Ok(count)) => count,
        };
        let compared_max = match usize::try_from(self.compared_max) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(max) => max,
        };
        let mut found = Vec::new();
        list.walk(end, |distance, element| {
            if distance >= compared_max {
                return ControlFlow::Break(());
            }
            if element == wanted {
                if skip > 0 {
                    skip -= 1;
                } else {
                    let index = if end == End::Left { distance } else { list.len() - 1 - distance };
                    found.push(index);
                }
            }
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        found
    }
}

fn lpos(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let search = Search::parse(call)?;
    let list = view.list()?;
    let found = list.map_or_else(Vec::new, |list| search.run(list, call.args.at(2)));
    match (search.count, found.first()) {
        (None, Some(index)) => call.reply.count(*index),
        (None, None) => call.reply.null(),
        (Some(_), _) => {
            call.reply.array(found.len());
            found.iter().for_each(|index| call.reply.count(*index));
        }
    }
    Ok(())
}

fn linsert(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let behind = match args.at(2) {
        word if is_word(word, "BEFORE") => 0,
        word if is_word(word, "AFTER") => 1,
        _ => return Err(CommandError::Syntax),
    };
    let Some(list) = view.read().list()? else {
        call.reply.count(0);
        return Ok(());
    };
    let Some(index) = list.position(args.at(3)) else {
        call.reply.integer(-1);
        return Ok(());
    };
    let len = list.len();
    let element = args.at(4);
    view.change_collection(false, |list: &mut List| list.insert(index + behind, element))?;
    view.notify(EventSet::LIST, "linsert");
    call.reply.count(len + 1);
    Ok(())
}

fn ltrim(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let (start, stop) = (integer(call.args.at(2))?, integer(call.args.at(3))?);
    call.reply.ok();
    let Some(len) = view.read().list()?.map(|list| list.len()) else {
        return Ok(());
    };
    let Some((first, last)) = normalize_range(start, stop, len) else {
        view.remove();
        view.note_more_changes(len - 1);
        view.notify(EventSet::LIST, "ltrim");
        view.notify(EventSet::GENERIC, "del");
        return Ok(());
    };
    let removed = len - (last + 1 - first);
    // Whoever watches the key is told even when nothing is removed, as in Redis.
    let parts = view.change_existing(|list: &mut List| list.keep(first, last))?;
    for part in parts.unwrap_or_default() {
        view.discard(Value::List(part));
    }
    view.note_more_changes(removed);
    view.notify(EventSet::LIST, "ltrim");
    Ok(())
}

/// LEFT or RIGHT.
pub(super) fn end_of_word(word: &[u8]) -> Result<End, CommandError> {
    match word {
        _ if is_word(word, "LEFT") => Ok(End::Left),
        _ if is_word(word, "RIGHT") => Ok(End::Right),
        _ => Err(CommandError::Syntax),
    }
}

/// Moves an element; with one key twice, inside its list.
pub(super) fn move_element(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    from: End,
    to: End,
) -> Outcome {
    let mut source = view.key(0).ok_or(CommandError::NoSuchKey)?;
    if source.read().list()?.is_none() {
        call.reply.null();
        return Ok(());
    }
    let reply = &mut call.reply;
    if call.args.at(1) == call.args.at(2) {
        source.change_collection(false, |list: &mut List| {
            if let Some(element) = list.pop(from, <[u8]>::to_vec) {
                reply.bulk(&element);
                list.push(to, &element);
            }
        })?;
        source.notify(EventSet::LIST, pushed(to));
        source.notify(EventSet::LIST, popped(from));
        return Ok(());
    }
    if let Some(destination) = view.key(1) {
        destination.read().list()?;
    }
    let mut source = view.key(0).ok_or(CommandError::NoSuchKey)?;
    let element = source.change_existing(|list: &mut List| list.pop(from, <[u8]>::to_vec))?;
    if let Some(element) = element.flatten()
        && let Some(mut destination) = view.key(1)
    {
        reply.bulk(&element);
        destination.change_collection(true, |list: &mut List| list.push(to, &element))?;
        destination.notify(EventSet::LIST, pushed(to));
        if let Some(mut source) = view.key(0) {
            source.notify(EventSet::LIST, popped(from));
            if !source.exists() {
                source.notify(EventSet::GENERIC, "del");
            }
        }
    }
    Ok(())
}

fn lmove(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let from = end_of_word(call.args.at(3))?;
    let to = end_of_word(call.args.at(4))?;
    move_element(view, call, from, to)
}

fn rpoplpush(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    move_element(view, call, End::Right, End::Left)
}
