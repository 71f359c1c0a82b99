//! Sets.

use crate::command::args::{count, integer};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::many;
use crate::command::scan::{Collected, ScanOptions, cursor};
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::{Set, SetRef, Value};
use crate::keyspace::{ReadView, WriteManyView, WriteView};
use crate::protocol::ReplyWriter;
use crate::util::events::EventSet;

/// When more than this many times the members that stay are popped, those that stay are drawn.
const POP_SHARE: usize = 5;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "SADD", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "1.0.0", cost: "O(n) for n members", syntax: "SADD key member [member ...]",
        summary: "Adds members to a set and returns how many are new.",
        run: Run::Write(sadd), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SREM", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "DELETE"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(n) for n members", syntax: "SREM key member [member ...]",
        summary: "Removes members of a set, and the set with its last one.",
        run: Run::Write(srem), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SISMEMBER", group: Group::Set, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "SISMEMBER key member",
        summary: "Tells whether a set has a member.", run: Run::Read(sismember),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SMISMEMBER", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "6.2.0", cost: "O(n) for n members", syntax: "SMISMEMBER key member [member ...]",
        summary: "Tells of each of several members whether a set has it.",
        run: Run::Read(smismember), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SMEMBERS", group: Group::Set, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.0.0", cost: "O(n) for n members of the set", syntax: "SMEMBERS key",
        summary: "Returns all members of a set.", tips: &["nondeterministic_output_order"],
        run: Run::Read(smembers), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SCARD", group: Group::Set, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "SCARD key",
        summary: "Returns the number of members of a set.", run: Run::Read(scard),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SMOVE", group: Group::Set, arity: Arity::Exact(4),
        keys: &[
            KeySpec::one(&["RW", "ACCESS", "DELETE"]),
            KeySpec { first: 2, last: 0, step: 1, access: &["RW", "INSERT"] },
        ],
        flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "SMOVE source destination member",
        summary: "Moves a member from one set to another.", run: Run::WriteMany(smove),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SPOP", group: Group::Set, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "DELETE"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(n) for n members", syntax: "SPOP key [count]",
        summary: "Removes and returns members of a set that are drawn at random.",
        tips: &["nondeterministic_output"], run: Run::Write(spop), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SRANDMEMBER", group: Group::Set, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "1.0.0", cost: "O(n) for n members, O(m) for more than a third of m",
        syntax: "SRANDMEMBER key [count]",
        summary: "Returns members of a set that are drawn at random.",
        tips: &["nondeterministic_output"], run: Run::Read(srandmember), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SSCAN", group: Group::Set, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.8.0", cost: "O(count) for every call, O(n) for all n members of the set",
        syntax: "SSCAN key cursor [MATCH pattern] [COUNT count]",
        summary: "Iterates over the members of a set.",
        tips: &["nondeterministic_output"], run: Run::Read(sscan), ..CommandSpec::BASE
    },
];

fn sadd(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let mut added = 0;
    let is_new = |set: SetRef<'_>| args.iter_from(2).any(|member| !set.contains(member));
    if view.read().set()?.is_none_or(is_new) {
        let changed = view.change_collection(true, |set: &mut Set| {
            args.iter_from(2).filter(|member| set.insert(member)).count()
        })?;
        added = changed.unwrap_or(0);
        view.note_more_changes(added.saturating_sub(1));
        view.notify(EventSet::SET, "sadd");
    }
    call.reply.count(added);
    Ok(())
}

fn srem(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let mut removed = 0;
    if let Some(set) = view.read().set()?
        && args.iter_from(2).any(|member| set.contains(member))
    {
        let changed = view.change_collection(false, |set: &mut Set| {
            args.iter_from(2).filter(|member| set.remove(member)).count()
        })?;
        removed = changed.unwrap_or(0);
        view.note_more_changes(removed.saturating_sub(1));
        view.notify(EventSet::SET, "srem");
    }
    call.reply.count(removed);
    Ok(())
}

fn sismember(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let member = call.args.at(2);
    call.reply.flag(view.set()?.is_some_and(|set| set.contains(member)));
    Ok(())
}

fn smismember(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let set = view.set()?;
    let members = call.args.iter_from(2);
    call.reply.array(members.len());
    for member in members {
        call.reply.flag(set.is_some_and(|set| set.contains(member)));
    }
    Ok(())
}

/// Replies with the members of a set, or with none.
pub fn reply_members(reply: &mut ReplyWriter<'_>, set: Option<SetRef<'_>>) {
    reply.set(set.map_or(0, SetRef::len));
    if let Some(set) = set {
        set.for_each(|member| reply.bulk(member));
    }
}

fn smembers(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let members = view.set()?.map_or(0, SetRef::len);
    many::answer(view, call, members, |view, reply| {
        reply_members(reply, view.set()?);
        Ok(())
    })
}

fn scard(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(view.set()?.map_or(0, SetRef::len));
    Ok(())
}

fn smove(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let member = args.at(3);
    let (moves, arrives) = {
        let mut views = view.reads();
        let source = views.next().map(|view| (view.exists(), view.set()));
        let target = views.next().map(|view| view.set()).transpose();
        match source {
            Some((true, source)) => {
                let is_there = |set: Option<SetRef<'_>>| set.is_some_and(|s| s.contains(member));
                let (source, target) = (source?, target?.flatten());
                (is_there(source), !is_there(target))
            }
            _ => (false, false),
        }
    };
    if moves && args.at(1) != args.at(2) {
        if let Some(mut source) = view.key(0) {
            source.change_collection(false, |set: &mut Set| set.remove(member))?;
            source.notify(EventSet::SET, "srem");
        }
        if let Some(mut target) = view.key(1)
            && arrives
        {
            target.change_collection(true, |set: &mut Set| set.insert(member))?;
            target.notify(EventSet::SET, "sadd");
        }
    }
    call.reply.flag(moves);
    Ok(())
}

fn spop(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let Call { args, reply, random, .. } = call;
    match args.len() {
        2 => {
            let popped = view.change_collection(false, |set: &mut Set| {
                set.pop(random, |member| reply.bulk(member))
            })?;
            match popped {
                Some(_) => view.notify(EventSet::SET, "spop"),
                None => reply.null(),
            }
            Ok(())
        }
        3 => {
            let count = count(args.at(2))?;
            pop_many(view, call, count)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn pop_many(view: &mut WriteView<'_>, call: &mut Call<'_>, count: usize) -> Outcome {
    let read = view.read();
    let deadline = read.deadline().flatten();
    let (set, len) = match read.set()? {
        Some(set) if count > 0 => (set, set.len()),
        _ => {
            call.reply.set(0);
            return Ok(());
        }
    };
    let stay = len.saturating_sub(count);
    if stay == 0 {
        reply_members(&mut call.reply, Some(set));
        view.notify(EventSet::SET, "spop");
        view.remove();
        view.notify(EventSet::GENERIC, "del");
    } else if stay.saturating_mul(POP_SHARE) > count {
        let Call { reply, random, .. } = call;
        reply.set(count);
        view.change_collection(false, |set: &mut Set| {
            for _ in 0..count {
                set.pop(random, |member| reply.bulk(member));
            }
        })?;
        view.notify(EventSet::SET, "spop");
    } else {
        let mut kept = Set::new();
        set.draw_distinct(stay, &mut call.random, |member| {
            kept.insert(member);
        });
        call.reply.set(count);
        set.for_each(|member| {
            if !kept.as_ref().contains(member) {
                call.reply.bulk(member);
            }
        });
        view.set_value(Value::Set(kept), deadline);
        view.notify(EventSet::SET, "spop");
    }
    view.note_more_changes(count.min(len) - 1);
    Ok(())
}

fn srandmember(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    if call.args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    if call.args.len() == 2 {
        let Call { reply, random, .. } = call;
        let set = view.set()?;
        if set.and_then(|set| set.draw(random, |member| reply.bulk(member))).is_none() {
            reply.null();
        }
        return Ok(());
    }
    let count = drawn_count(call.args.at(2))?;
    let Some(set) = view.set()? else {
        call.reply.array(0);
        return Ok(());
    };
    let mut found = Collected::default();
    let mut random = call.random;
    if count > 0 {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        set.draw_distinct(count, &mut random, |member| found.add(member, call));
    } else {
        let bytes_max = call.reply_bytes_max();
        for _ in 0..count.unsigned_abs() {
            set.draw(&mut random, |member| found.add(member, call));
            if found.bytes() > bytes_max {
                return Err(CommandError::ReplyTooLong);
            }
        }
    }
    call.random = random;
    found.reply(call);
    Ok(())
}

/// How many members to draw, negative when one may be drawn more than once.
///
/// # Errors
/// `NotAnInteger`, and the text for the one number that cannot be negated.
pub fn drawn_count(arg: &[u8]) -> Result<i64, CommandError> {
    match integer(arg)? {
        i64::MIN => Err(CommandError::Text(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        )),
        count => Ok(count),
    }
}

fn sscan(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let cursor = cursor(call.args.at(2))?;
    let Some(set) = view.set()? else {
        Collected::default().reply_with_cursor(None, call);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3, false)?;
    let mut found = Collected::default();
    let next = set.scan(cursor, options.count, |member| {
        if options.pattern.shows(member) {
            found.add(member, call);
        }
    });
    found.reply_with_cursor(next, call);
    Ok(())
}
