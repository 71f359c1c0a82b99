//! XINFO: what is to be known of a stream, its groups and their consumers.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::command::stream::{reply_entries, reply_entry, reply_id};
use crate::command::stream_group::no_group_for;
use crate::data::stream_group::{Consumer, Group as ReaderGroup};
use crate::data::{Stream, StreamId};
use crate::keyspace::ReadView;
use crate::protocol::ReplyWriter;

/// Entries that XINFO STREAM FULL shows of everything, unless told otherwise.
const SHOWN_ENTRIES: usize = 10;
/// Bytes of the keys of Redis' radix trees of blocks.
const BLOCK_KEY_BYTES: usize = 16;

const KEY: &[KeySpec] = &[KeySpec { first: 2, last: 0, step: 1, access: &["RO", "ACCESS"] }];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "XINFO", group: Group::Stream, arity: Arity::AtLeast(2),
        since: "5.0.0", cost: "Depends on the subcommand", syntax: "XINFO",
        summary: "Tells of streams.", run: Run::Container(XINFO), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static XINFO: &[CommandSpec] = &[
    CommandSpec {
        name: "STREAM", group: Group::Stream, arity: Arity::AtLeast(3), keys: KEY,
        since: "5.0.0", cost: "O(n) for n blocks, or what FULL shows",
        syntax: "XINFO STREAM key [FULL [COUNT count]]",
        summary: "Tells of a stream, with all that is in it if wanted.", run: Run::Read(stream),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GROUPS", group: Group::Stream, arity: Arity::Exact(3), keys: KEY,
        since: "5.0.0", cost: "O(n) for n groups", syntax: "XINFO GROUPS key",
        summary: "Tells of the groups of a stream.", run: Run::Read(groups), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "CONSUMERS", group: Group::Stream, arity: Arity::Exact(4), keys: KEY,
        since: "5.0.0", cost: "O(n) for n consumers", syntax: "XINFO CONSUMERS key group",
        summary: "Tells of the consumers of a group.", tips: &["nondeterministic_output"],
        run: Run::Read(consumers), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Stream, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0", cost: "O(1)", syntax: "XINFO HELP",
        summary: "Shows helpful text about the subcommands.",
        run: Run::Client(|_, call| { reply_help(call, HELP); Ok(()) }), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
];

fn existing<'a>(view: &ReadView<'a>) -> Result<&'a Stream, CommandError> {
    view.stream()?.ok_or(CommandError::NoSuchKey)
}

fn name(reply: &mut ReplyWriter<'_>, name: &str) {
    reply.bulk(name.as_bytes());
}

fn number(reply: &mut ReplyWriter<'_>, number: usize) {
    reply.count(number);
}

/// How many nodes a radix tree has whose keys are these ids, as Redis builds it: one for each end
/// and each branching, and one for each run of bytes between these.
fn radix_nodes(ids: impl Iterator<Item = StreamId>) -> usize {
    // The depths of the branchings above the last key.
    let mut branchings: Vec<usize> = Vec::new();
    let (mut last, mut nodes): (Option<[u8; BLOCK_KEY_BYTES]>, usize) = (None, 0);
    // The parent of a node at `depth`; its own byte stands in the parent.
    let edge = |parent: Option<&usize>, depth: usize| {
        usize::from(parent.map_or(depth > 0, |parent| depth > parent + 1))
    };
    let mut leaf_depth_parent = |branchings: &mut Vec<usize>, shared: Option<usize>| {
        let mut below = BLOCK_KEY_BYTES;
        nodes += 1;
        loop {
            match branchings.last().copied() {
                Some(depth) if shared.is_none_or(|shared| depth > shared) => {
                    nodes += edge(Some(&depth), below) + 1;
                    branchings.pop();
                    below = depth;
                }
                parent => {
                    let at = shared.filter(|shared| parent != Some(*shared));
                    if let Some(at) = at {
                        branchings.push(at);
                    }
                    nodes += edge(at.or(parent).as_ref(), below);
                    return;
                }
            }
        }
    };
    for id in ids {
        let key = id.to_bytes();
        if let Some(last) = last {
            let shared = last.iter().zip(&key).take_while(|(a, b)| a == b).count();
            leaf_depth_parent(&mut branchings, Some(shared));
        }
        last = Some(key);
    }
    if last.is_some() {
        leaf_depth_parent(&mut branchings, None);
    }
    nodes.max(1)
}

fn stream(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let stream = existing(view)?;
    let wrong = || Err(CommandError::unknown_or_arity(args.at(1), "XINFO"));
    let shown = match args.len() {
        3 => None,
        4 | 6 if !is_word(args.at(3), "FULL") => return wrong(),
        4 => Some(SHOWN_ENTRIES),
        6 if !is_word(args.at(4), "COUNT") => return wrong(),
        6 => Some(usize::try_from(integer(args.at(5))?).unwrap_or(SHOWN_ENTRIES)),
        _ => return wrong(),
    };
    let reply = &mut call.reply;
    reply.map(if shown.is_some() { 9 } else { 10 });
    let figures = stream.entries.figures();
    name(reply, "length");
    reply.integer(figures.len as i64);
    name(reply, "radix-tree-keys");
    number(reply, stream.entries.block_count());
    name(reply, "radix-tree-nodes");
    number(reply, radix_nodes(stream.entries.block_ids()));
    name(reply, "last-generated-id");
    reply_id(reply, figures.last_id);
    name(reply, "max-deleted-entry-id");
    reply_id(reply, figures.max_deleted_id);
    name(reply, "entries-added");
    reply.integer(figures.entries_added as i64);
    name(reply, "recorded-first-entry-id");
    reply_id(reply, figures.first_id);
    match shown {
        None => reply_ends(reply, stream),
        Some(0) => reply_all(reply, stream, usize::MAX),
        Some(count) => reply_all(reply, stream, count),
    }
    Ok(())
}

fn reply_ends(reply: &mut ReplyWriter<'_>, stream: &Stream) {
    let (from, to) = (StreamId::MIN, StreamId::MAX);
    name(reply, "groups");
    number(reply, stream.groups().len());
    name(reply, "first-entry");
    match stream.entries.range(from, to).next() {
        Some(entry) => reply_entry(reply, &entry),
        None => reply.null(),
    }
    name(reply, "last-entry");
    match stream.entries.range_back(from, to).next() {
        Some(entry) => reply_entry(reply, &entry),
        None => reply.null(),
    }
}

/// Everything, at most `count` of the entries and of what is pending.
fn reply_all(reply: &mut ReplyWriter<'_>, stream: &Stream, count: usize) {
    name(reply, "entries");
    reply_entries(reply, stream.entries.range(StreamId::MIN, StreamId::MAX), count);
    name(reply, "groups");
    reply.array(stream.groups().len());
    for group in stream.groups() {
        reply.map(7);
        name(reply, "name");
        reply.bulk(&group.name);
        reply_progress(reply, stream, group);
        name(reply, "pel-count");
        number(reply, group.pending().len());
        name(reply, "pending");
        reply.array(group.pending().len().min(count));
        for pending in group.pending().iter().take(count) {
            reply.array(4);
            reply_id(reply, pending.id);
            let consumer = group.consumer(pending.consumer);
            reply.bulk(consumer.map_or(&[][..], |consumer| &consumer.name));
            reply.integer(pending.delivered.0);
            reply.integer(pending.deliveries as i64);
        }
        name(reply, "consumers");
        reply.array(group.consumer_count());
        group.consumers().for_each(|consumer| reply_consumer(reply, group, consumer, count));
    }
}

fn reply_consumer(
    reply: &mut ReplyWriter<'_>,
    group: &ReaderGroup,
    consumer: &Consumer,
    count: usize,
) {
    reply.map(4);
    name(reply, "name");
    reply.bulk(&consumer.name);
    name(reply, "seen-time");
    reply.integer(consumer.seen.0);
    name(reply, "pel-count");
    number(reply, consumer.pending.len());
    name(reply, "pending");
    reply.array(consumer.pending.len().min(count));
    for id in consumer.pending.iter().take(count) {
        let pending = group.pending().get(*id);
        reply.array(3);
        reply_id(reply, *id);
        reply.integer(pending.map_or(0, |pending| pending.delivered.0));
        reply.integer(pending.map_or(0, |pending| pending.deliveries as i64));
    }
}

/// How far a group has read.
fn reply_progress(reply: &mut ReplyWriter<'_>, stream: &Stream, group: &ReaderGroup) {
    name(reply, "last-delivered-id");
    reply_id(reply, group.last_id());
    for (what, value) in [("entries-read", group.entries_read), ("lag", stream.lag(group))] {
        name(reply, what);
        match value {
            Some(value) => reply.integer(value),
            None => reply.null(),
        }
    }
}

fn groups(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let stream = existing(view)?;
    let reply = &mut call.reply;
    reply.array(stream.groups().len());
    for group in stream.groups() {
        reply.map(6);
        name(reply, "name");
        reply.bulk(&group.name);
        name(reply, "consumers");
        number(reply, group.consumer_count());
        name(reply, "pending");
        number(reply, group.pending().len());
        reply_progress(reply, stream, group);
    }
    Ok(())
}

fn consumers(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let (key, group) = (call.args.at(2), call.args.at(3));
    let stream = existing(view)?;
    let group = stream.group(group).ok_or_else(|| no_group_for(group, key))?;
    let (now, reply) = (call.now, &mut call.reply);
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(3);
        name(reply, "name");
        reply.bulk(&consumer.name);
        name(reply, "pending");
        number(reply, consumer.pending.len());
        name(reply, "idle");
        reply.integer(now.0.saturating_sub(consumer.seen.0).max(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_as_in_a_radix_tree() {
        let nodes =
            |ids: &[(u64, u64)]| radix_nodes(ids.iter().map(|(ms, seq)| StreamId::new(*ms, *seq)));
        assert_eq!(nodes(&[]), 1);
        // A run of sixteen bytes and its end.
        assert_eq!(nodes(&[(1, 0)]), 2);
        // The run they share, the branching, and of each a run and its end.
        assert_eq!(nodes(&[(1, 0), (2, 0)]), 6);
        // They differ in the last byte alone.
        assert_eq!(nodes(&[(1, 0), (1, 1)]), 4);
        assert_eq!(nodes(&[(1, 0), (1, 1), (1, 2)]), 5);
        assert_eq!(nodes(&[(1, 0), (1, 1), (2, 0)]), 8);
        assert_eq!(nodes(&[(1, 0), (1 << 56, 0)]), 5);
    }
}
