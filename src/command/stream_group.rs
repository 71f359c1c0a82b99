//! Consumer groups: making and ending them and their consumers, and acknowledging.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::command::stream::ids;
use crate::command::stream_args::{id, id_or_end};
use crate::data::stream_group::Group as ReaderGroup;
use crate::data::{Stream, StreamId, Value};
use crate::keyspace::WriteView;
use crate::util::events::EventSet;
use crate::util::text::until_zero_byte;

const INSERTED: &[KeySpec] = &[KeySpec { first: 2, last: 0, step: 1, access: &["RW", "INSERT"] }];
const UPDATED: &[KeySpec] = &[KeySpec { first: 2, last: 0, step: 1, access: &["RW", "UPDATE"] }];
const DELETED: &[KeySpec] = &[KeySpec { first: 2, last: 0, step: 1, access: &["RW", "DELETE"] }];

/// Arguments of CREATE at most.
const CREATE_ARGUMENTS_MAX: usize = 8;
/// Arguments of SETID without and with a counter.
const SETID_ARGUMENTS: [usize; 2] = [5, 7];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "XGROUP", group: Group::Stream, arity: Arity::AtLeast(2),
        since: "5.0.0", cost: "Depends on the subcommand", syntax: "XGROUP",
        summary: "Makes and ends groups that read streams.", run: Run::Container(XGROUP),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XACK", group: Group::Stream, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::FAST,
        since: "5.0.0", cost: "O(log n) for each id", syntax: "XACK key group id [id ...]",
        summary: "Acknowledges entries that a group was given, and returns how many were pending.",
        run: Run::Write(xack), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static XGROUP: &[CommandSpec] = &[
    CommandSpec {
        name: "CREATE", group: Group::Stream, arity: Arity::AtLeast(5), keys: INSERTED,
        flags: Flags::DENY_OOM, since: "5.0.0", cost: "O(n) for n groups",
        syntax: "XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
        summary: "Makes a group that reads a stream behind an id.", run: Run::Write(create),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SETID", group: Group::Stream, arity: Arity::AtLeast(5), keys: UPDATED,
        since: "5.0.0", cost: "O(log n) for n groups",
        syntax: "XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]",
        summary: "Has a group go on reading behind another id.", run: Run::Write(set_id),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DESTROY", group: Group::Stream, arity: Arity::Exact(4), keys: DELETED,
        since: "5.0.0", cost: "O(n) for n groups", syntax: "XGROUP DESTROY key group",
        summary: "Ends a group with all that is pending for it.", run: Run::Write(destroy),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "CREATECONSUMER", group: Group::Stream, arity: Arity::Exact(5), keys: INSERTED,
        flags: Flags::DENY_OOM, since: "6.2.0", cost: "O(n) for n consumers",
        syntax: "XGROUP CREATECONSUMER key group consumer",
        summary: "Makes a consumer of a group.", run: Run::Write(create_consumer),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DELCONSUMER", group: Group::Stream, arity: Arity::Exact(5), keys: DELETED,
        since: "5.0.0", cost: "O(n + m log k) for n consumers and m of k pending entries",
        syntax: "XGROUP DELCONSUMER key group consumer",
        summary: "Ends a consumer and returns how many entries were pending for it.",
        run: Run::Write(delete_consumer), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Stream, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0", cost: "O(1)", syntax: "XGROUP HELP",
        summary: "Shows helpful text about the subcommands.",
        run: Run::Client(|_, call| { reply_help(call, HELP); Ok(()) }), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
];

/// The text for a group that a stream does not have.
pub(super) fn no_group_for(group: &[u8], key: &[u8]) -> CommandError {
    let mut text = b"NOGROUP No such consumer group '".to_vec();
    text.extend_from_slice(until_zero_byte(group));
    text.extend_from_slice(b"' for key name '");
    text.extend_from_slice(until_zero_byte(key));
    text.push(b'\'');
    CommandError::Owned(text)
}

/// What CREATE and SETID take behind the id.
#[derive(Debug, Default)]
struct Options {
    creates_stream: bool,
    entries_read: Option<i64>,
}

fn options(call: &Call<'_>, may_create: bool) -> Result<Options, CommandError> {
    let args = call.args;
    let mut options = Options::default();
    let mut at = 5;
    while let Some(word) = args.get(at) {
        if may_create && is_word(word, "MKSTREAM") {
            options.creates_stream = true;
            at += 1;
        } else if is_word(word, "ENTRIESREAD") && at + 1 < args.len() {
            let read = integer(args.at(at + 1))?;
            if read < -1 {
                let text = "ERR value for ENTRIESREAD must be positive or -1";
                return Err(CommandError::Text(text));
            }
            options.entries_read = Some(read).filter(|read| *read != -1);
            at += 2;
        } else {
            return Err(CommandError::unknown_or_arity(args.at(1), "XGROUP"));
        }
    }
    Ok(options)
}

/// The last id of the stream, `None` when it is not there and may be made.
fn last_id(view: &WriteView<'_>, may_miss: bool) -> Result<Option<StreamId>, CommandError> {
    match view.read().stream()? {
        Some(stream) => Ok(Some(stream.entries.last_id())),
        None if may_miss => Ok(None),
        None => Err(CommandError::Text(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may \
             want to use the MKSTREAM option to create an empty stream automatically.",
        )),
    }
}

/// Refuses a key without this group.
fn check_group(view: &WriteView<'_>, call: &Call<'_>) -> Result<(), CommandError> {
    let (key, group) = (call.args.at(2), call.args.at(3));
    let read = view.read();
    let has_group = read.stream()?.is_some_and(|stream| stream.group(group).is_some());
    if has_group { Ok(()) } else { Err(no_group_for(group, key)) }
}

fn create(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let options = options(call, true)?;
    let last = last_id(view, options.creates_stream)?;
    if args.len() > CREATE_ARGUMENTS_MAX {
        return Err(CommandError::unknown_or_arity(args.at(1), "XGROUP"));
    }
    let from = match until_zero_byte(args.at(4)) {
        b"$" => last.unwrap_or_default(),
        _ => id(args.at(4))?,
    };
    let group = ReaderGroup::new(args.at(3), from, options.entries_read);
    let is_new = match last {
        Some(_) => view.change_readers(|stream| stream.add_group(group)),
        None => view.change_collection(true, |stream: &mut Box<Stream>| stream.add_group(group))?,
    };
    if is_new != Some(true) {
        return Err(CommandError::Text("BUSYGROUP Consumer Group name already exists"));
    }
    if last.is_some() {
        view.note_more_changes(1);
    }
    view.notify(EventSet::STREAM, "xgroup-create");
    call.reply.ok();
    Ok(())
}

fn set_id(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let options = options(call, false)?;
    let last = last_id(view, false)?;
    check_group(view, call)?;
    if !SETID_ARGUMENTS.contains(&args.len()) {
        return Err(CommandError::unknown_or_arity(args.at(1), "XGROUP"));
    }
    let id = match until_zero_byte(args.at(4)) {
        b"$" => last.unwrap_or_default(),
        _ => id_or_end(args.at(4), 0)?,
    };
    view.change_readers(|stream| {
        stream.with_group(args.at(3), |group| {
            group.set_last_id(id);
            group.entries_read = options.entries_read;
        })
    });
    view.note_more_changes(1);
    view.notify(EventSet::STREAM, "xgroup-setid");
    call.reply.ok();
    Ok(())
}

fn destroy(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    last_id(view, false)?;
    let name = call.args.at(3);
    let has_group = |stream: &Stream| stream.group(name).is_some();
    let is_there = view.read().stream()?.is_some_and(has_group);
    if is_there {
        if let Some(garbage) = view.change_readers(|stream| stream.remove_group(name)).flatten() {
            view.discard(Value::Stream(garbage));
        }
        view.note_more_changes(1);
        view.notify(EventSet::STREAM, "xgroup-destroy");
        // Those who wait for the group are told.
        view.serve_waiters();
    }
    call.reply.flag(is_there);
    Ok(())
}

fn create_consumer(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    last_id(view, false)?;
    check_group(view, call)?;
    let (group, name, now) = (call.args.at(3), call.args.at(4), call.now);
    let added = view
        .change_readers(|stream| stream.with_group(group, |group| group.add_consumer(name, now).1));
    let is_new = added.flatten() == Some(true);
    if is_new {
        view.note_more_changes(1);
        view.notify(EventSet::STREAM, "xgroup-createconsumer");
    }
    call.reply.flag(is_new);
    Ok(())
}

fn delete_consumer(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    last_id(view, false)?;
    check_group(view, call)?;
    let (group, name) = (call.args.at(3), call.args.at(4));
    let removed = view.change_readers(|stream| {
        stream.with_group(group, |group| group.remove_consumer(name)).flatten()
    });
    let removed = removed.flatten();
    if removed.is_some() {
        view.note_more_changes(1);
        view.notify(EventSet::STREAM, "xgroup-delconsumer");
    }
    call.reply.count(removed.unwrap_or(0));
    Ok(())
}

fn xack(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let name = call.args.at(2);
    let has_group = |stream: &Stream| stream.group(name).is_some();
    if !view.read().stream()?.is_some_and(has_group) {
        call.reply.integer(0);
        return Ok(());
    }
    let ids = ids(call, 3, call.args.len())?;
    let acknowledged = view.change_readers(|stream| {
        stream.with_group(name, |group| ids.iter().filter(|id| group.acknowledge(**id)).count())
    });
    let acknowledged = acknowledged.flatten().unwrap_or(0);
    view.note_more_changes(acknowledged);
    call.reply.count(acknowledged);
    Ok(())
}
