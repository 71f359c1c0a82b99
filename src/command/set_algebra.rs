//! Intersections, unions and differences of sets.
//!
//! All sets are read at one moment, under the locks of all keys; a result that is stored is made
//! whole before the destination is touched, which may be one of the sources.

use crate::command::args::{at_least, is_word};
use crate::command::context::Call;
use crate::command::dispatch::blocking_if;
use crate::command::error::CommandError;
use crate::command::many;
use crate::command::scan::Collected;
use crate::command::set::reply_members;
use crate::command::spec::{Arity, CommandSpec, Early, Flags, Group, KeySpec, Outcome, Run};
use crate::data::{Set, SetRef, Value};
use crate::keyspace::{ReadManyView, ReadView, WriteManyView};
use crate::util::events::EventSet;
use smallvec::SmallVec;

const SOURCES: KeySpec = KeySpec { first: 2, last: -1, step: 1, access: &["RO", "ACCESS"] };
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "SINTER", group: Group::Set, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RO", "ACCESS"])],
        since: "1.0.0", cost: "O(n*m) for m sets, the smallest of n members",
        syntax: "SINTER key [key ...]", summary: "Returns the members that all sets have.",
        tips: UNORDERED, run: Run::ReadMany(sinter), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SINTERCARD", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::counted(1, &["RO", "ACCESS"])],
        since: "7.0.0", cost: "O(n*m) for m sets, the smallest of n members",
        syntax: "SINTERCARD numkeys key [key ...] [LIMIT limit]",
        summary: "Returns how many members all sets have, counted up to a limit.",
        run: Run::ReadMany(sintercard), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SINTERSTORE", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "UPDATE"]), SOURCES], flags: Flags::DENY_OOM,
        since: "1.0.0", cost: "O(n*m) for m sets, the smallest of n members",
        syntax: "SINTERSTORE destination key [key ...]",
        summary: "Stores the members that all sets have and returns their number.",
        early: Some(Early::Make(|views, _| made(views, intersection))),
        run: Run::WriteMany(sinterstore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SUNION", group: Group::Set, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RO", "ACCESS"])],
        since: "1.0.0", cost: "O(n) for n members of all sets",
        syntax: "SUNION key [key ...]", summary: "Returns the members that any set has.",
        tips: UNORDERED, run: Run::ReadMany(sunion), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SUNIONSTORE", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["OW", "UPDATE"]), SOURCES], flags: Flags::DENY_OOM,
        since: "1.0.0", cost: "O(n) for n members of all sets",
        syntax: "SUNIONSTORE destination key [key ...]",
        summary: "Stores the members that any set has and returns their number.",
        early: Some(Early::Make(|views, _| made(views, union))),
        run: Run::WriteMany(sunionstore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SDIFF", group: Group::Set, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RO", "ACCESS"])],
        since: "1.0.0", cost: "O(n) for n members of all sets",
        syntax: "SDIFF key [key ...]",
        summary: "Returns the members of the first set that no other set has.",
        tips: UNORDERED, run: Run::ReadMany(sdiff), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SDIFFSTORE", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["OW", "UPDATE"]), SOURCES], flags: Flags::DENY_OOM,
        since: "1.0.0", cost: "O(n) for n members of all sets",
        syntax: "SDIFFSTORE destination key [key ...]",
        summary: "Stores the members of the first set that no other has and returns their number.",
        early: Some(Early::Make(|views, _| made(views, difference))),
        run: Run::WriteMany(sdiffstore), ..CommandSpec::BASE
    },
];

type Sets<'a> = SmallVec<[Option<SetRef<'a>>; 4]>;
type Views<'a> = SmallVec<[ReadView<'a>; 4]>;

/// The sets of all keys, `None` for one that is not there.
fn sets<'a>(views: impl Iterator<Item = ReadView<'a>>) -> Result<Sets<'a>, CommandError> {
    views.map(|view| view.set().map_err(CommandError::from)).collect()
}

/// The members of all sets.
fn member_count(sets: &Sets<'_>) -> usize {
    sets.iter().flatten().map(|set| set.len()).sum()
}

/// Calls `each` with every member that all sets have, until it returns false.
fn intersect(sets: Sets<'_>, mut each: impl FnMut(&[u8]) -> bool) {
    let Some(mut sets) = sets.into_iter().collect::<Option<SmallVec<[SetRef<'_>; 4]>>>() else {
        return;
    };
    sets.sort_by_key(|set| set.len());
    if let Some((smallest, others)) = sets.split_first() {
        smallest.visit(|member| {
            let is_common = others.iter().all(|set| set.contains(member));
            !is_common || each(member)
        });
    }
}

fn intersection(sets: Sets<'_>) -> Set {
    let mut result = Set::new();
    intersect(sets, |member| {
        result.insert(member);
        true
    });
    result
}

fn union(sets: Sets<'_>) -> Set {
    let mut result = Set::new();
    for set in sets.into_iter().flatten() {
        set.for_each(|member| {
            result.insert(member);
        });
    }
    result
}

/// Looks up every member of the first set in the others, or, if that is less work, takes the
/// members of the others out of a copy of the first.
fn difference(sets: Sets<'_>) -> Set {
    let mut result = Set::new();
    let mut sets = sets.into_iter();
    let Some(first) = sets.next().flatten() else {
        return result;
    };
    let mut others: SmallVec<[SetRef<'_>; 4]> = sets.flatten().collect();
    let all = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if first.len().saturating_mul(others.len() + 1) / 2 <= all {
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        first.for_each(|member| {
            if !others.iter().any(|set| set.contains(member)) {
                result.insert(member);
            }
        });
        return result;
    }
    first.for_each(|member| {
        result.insert(member);
    });
    for set in others {
        set.visit(|member| {
            result.remove(member);
            !result.is_empty()
        });
    }
    result
}

/// Replies with what is made of all sets.
fn show(
    views: &[ReadView<'_>],
    members: usize,
    call: &mut Call<'_>,
    combine: fn(Sets<'_>) -> Set,
) -> Outcome {
    many::answer_of_all(views, call, members, move |views, reply| {
        let result = combine(sets(views.iter().copied())?);
        reply_members(reply, Some(result.as_ref()));
        Ok(())
    })
}

fn sinter(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let views: Views<'_> = view.iter().collect();
    let sets = sets(views.iter().copied())?;
    let fewest = sets.iter().map(|set| set.map_or(0, SetRef::len)).min();
    match fewest {
        Some(fewest) if fewest > many::MANY => show(&views, fewest, call, intersection),
        _ => {
            let mut found = Collected::default();
            intersect(sets, |member| {
                found.add(member, call);
                true
            });
            found.reply_set(call);
            Ok(())
        }
    }
}

fn sunion(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let views: Views<'_> = view.iter().collect();
    let members = member_count(&sets(views.iter().copied())?);
    show(&views, members, call, union)
}

fn sdiff(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let views: Views<'_> = view.iter().collect();
    let members = member_count(&sets(views.iter().copied())?);
    show(&views, members, call, difference)
}

fn sintercard(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let too_few = CommandError::Text("ERR numkeys should be greater than 0");
    let keys = at_least(args.at(1), 1, too_few)?;
    if keys > args.len() - 2 {
        return Err(CommandError::Text("ERR Number of keys can't be greater than number of args"));
    }
    let mut limit = 0;
    let mut words = args.iter_from(2 + keys);
    while let Some(word) = words.next() {
        let value = words.next().filter(|_| is_word(word, "LIMIT")).ok_or(CommandError::Syntax)?;
        limit = at_least(value, 0, CommandError::Text("ERR LIMIT can't be negative"))?;
    }
    let mut count = 0;
    intersect(sets(view.iter())?, |_| {
        count += 1;
        limit == 0 || count < limit
    });
    call.reply.count(count);
    Ok(())
}

/// What is stored, made of the sets behind the views.
fn made(views: &[ReadView<'_>], combine: fn(Sets<'_>) -> Set) -> Option<Value> {
    Some(Value::Set(combine(sets(views.iter().copied()).ok()?)))
}

fn store(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    combine: fn(Sets<'_>) -> Set,
    event: &'static str,
) -> Outcome {
    let made = call.take_made().and_then(|made| view.accept(made.kept, made.value));
    let result = match made {
        Some(Value::Set(result)) => result,
        _ => {
            let sets = sets(view.reads().skip(1))?;
            blocking_if(member_count(&sets) > many::MANY, || combine(sets))
        }
    };
    call.reply.count(result.len());
    if let Some(mut destination) = view.key(0) {
        if !result.is_empty() {
            destination.set_value(Value::Set(result), None);
            destination.notify(EventSet::SET, event);
        } else if destination.remove() {
            destination.notify(EventSet::GENERIC, "del");
        }
    }
    Ok(())
}

fn sinterstore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    store(view, call, intersection, "sinterstore")
}

fn sunionstore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    store(view, call, union, "sunionstore")
}

fn sdiffstore(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    store(view, call, difference, "sdiffstore")
}
