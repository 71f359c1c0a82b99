//! Streams: adding, reading by ranges, deleting and trimming entries.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::command::stream_args::{AddOptions, add_options, block_limits, id, range_end};
use crate::command::stream_args::{Trimming, range_start};
use crate::data::stream_log::{ENTRY_BYTES_MAX, EntryLog, StreamEntry};
use crate::data::{Stream, StreamId, Value};
use crate::keyspace::{ReadView, WriteView};
use crate::protocol::ReplyWriter;
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use smallvec::SmallVec;

/// The ids of one request.
pub(super) type Ids = SmallVec<[StreamId; 8]>;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "XADD", group: Group::Stream, arity: Arity::AtLeast(5),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "5.0.0", cost: "O(1) to add, O(n) to trim n entries",
        syntax: "XADD key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] \
                 <* | id> field value [field value ...]",
        summary: "Adds an entry to a stream, which is made if it is not there.",
        tips: &["nondeterministic_output"], run: Run::Write(xadd), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XLEN", group: Group::Stream, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "5.0.0", cost: "O(1)", syntax: "XLEN key",
        summary: "Returns the number of entries of a stream.", run: Run::Read(xlen),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XRANGE", group: Group::Stream, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "5.0.0", cost: "O(log n + m) for m entries",
        syntax: "XRANGE key start end [COUNT count]",
        summary: "Returns the entries between two ids.", run: Run::Read(xrange),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XREVRANGE", group: Group::Stream, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "5.0.0", cost: "O(log n + m) for m entries",
        syntax: "XREVRANGE key end start [COUNT count]",
        summary: "Returns the entries between two ids, the last one first.",
        run: Run::Read(xrevrange), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XDEL", group: Group::Stream, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "DELETE"])], flags: Flags::FAST,
        since: "5.0.0", cost: "O(log n) for each id", syntax: "XDEL key id [id ...]",
        summary: "Deletes entries and returns how many there were.", run: Run::Write(xdel),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XTRIM", group: Group::Stream, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RW", "DELETE"])],
        since: "5.0.0", cost: "O(n) for n entries that go",
        syntax: "XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
        summary: "Deletes the first entries of a stream.", tips: &["nondeterministic_output"],
        run: Run::Write(xtrim), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XSETID", group: Group::Stream, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "5.0.0", cost: "O(1)",
        syntax: "XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        summary: "Sets the last id of a stream, for replication and the like.",
        run: Run::Write(xsetid), ..CommandSpec::BASE
    },
];

/// Writes an id.
pub(super) fn reply_id(reply: &mut ReplyWriter<'_>, id: StreamId) {
    reply.bulk(&id.text());
}

/// Writes an entry: its id, and its fields and values in turn.
#[inline]
pub(super) fn reply_entry(reply: &mut ReplyWriter<'_>, entry: &StreamEntry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(2 * entry.pairs);
    entry.for_each(|field, value| {
        field.with_bytes(|bytes| reply.bulk(bytes));
        value.with_bytes(|bytes| reply.bulk(bytes));
    });
}

/// Writes the first `count` entries of a range as an array.
pub(super) fn reply_entries<'a>(
    reply: &mut ReplyWriter<'_>,
    range: impl Iterator<Item = StreamEntry<'a>> + Clone,
    count: usize,
) {
    reply.array(range.clone().take(count).count());
    range.take(count).for_each(|entry| reply_entry(reply, &entry));
}

/// The id that a new entry gets.
fn next_id(
    entries: &EntryLog,
    options: &AddOptions,
    now: UnixMillis,
) -> Result<StreamId, CommandError> {
    let last = entries.last_id();
    let too_low = CommandError::Text(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    );
    let id = match options.id {
        Some(given) if given.has_seq || given.id.ms != last.ms => Some(given.id),
        Some(_) => last.seq.checked_add(1).map(|seq| StreamId::new(last.ms, seq)),
        None => {
            let now = StreamId::new(u64::try_from(now.0).unwrap_or(0), 0);
            if now.ms > last.ms { Some(now) } else { last.next() }
        }
    };
    id.filter(|id| *id > last).ok_or(too_low)
}

fn xadd(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let options = add_options(args, true, call.config)?;
    let pairs_at = options.id_at + 1;
    if args.len() < pairs_at + 2 || (args.len() - pairs_at) % 2 == 1 {
        return Err(CommandError::WrongArity("xadd".to_owned()));
    }
    if options.id.is_some_and(|given| given.has_seq && given.id == StreamId::MIN) {
        let text = "ERR The ID specified in XADD must be greater than 0-0";
        return Err(CommandError::Text(text));
    }
    let id = {
        let read = view.read();
        let stream = match read.stream()? {
            None if !options.creates => {
                call.reply.null();
                return Ok(());
            }
            stream => stream,
        };
        if stream.is_some_and(|stream| stream.entries.last_id() == StreamId::MAX) {
            return Err(CommandError::Text(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        let empty = EntryLog::default();
        next_id(stream.map_or(&empty, |stream| &stream.entries), &options, call.now)?
    };
    let pairs = (0..(args.len() - pairs_at) / 2)
        .map(|pair| (args.at(pairs_at + 2 * pair), args.at(pairs_at + 2 * pair + 1)));
    let bytes = pairs.clone().map(|(field, value)| field.len() + value.len());
    if bytes.sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(CommandError::Text("ERR Elements are too large to be stored"));
    }
    let limits = block_limits(call.config);
    let trimmed = view.change_collection(true, |stream: &mut Box<Stream>| {
        stream.entries.append(id, pairs, limits);
        options
            .trimming
            .map(|Trimming { trim, by_blocks, limit }| stream.entries.trim(trim, by_blocks, limit))
    })?;
    view.notify(EventSet::STREAM, "xadd");
    if let Some((1.., garbage)) = trimmed.flatten() {
        discard(view, garbage);
        view.notify(EventSet::STREAM, "xtrim");
    }
    view.serve_waiters();
    reply_id(&mut call.reply, id);
    Ok(())
}

/// Has blocks freed once the locks are released.
fn discard(view: &mut WriteView<'_>, entries: EntryLog) {
    if entries.block_count() > 1 {
        view.discard(Value::Stream(Box::new(entries.into())));
    }
}

fn xlen(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let len = view.stream()?.map_or(0, |stream| stream.entries.len());
    call.reply.integer(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(())
}

fn reply_range(view: &ReadView<'_>, call: &mut Call<'_>, is_reverse: bool) -> Outcome {
    let args = call.args;
    let (from, to) = if is_reverse { (3, 2) } else { (2, 3) };
    let (from, to) = (range_start(args.at(from))?, range_end(args.at(to))?);
    let mut count = usize::MAX;
    let mut at = 4;
    while let Some(word) = args.get(at) {
        if !is_word(word, "COUNT") || at + 1 >= args.len() {
            return Err(CommandError::Syntax);
        }
        count = usize::try_from(integer(args.at(at + 1))?).unwrap_or(0);
        at += 2;
    }
    let Some(stream) = view.stream()? else {
        call.reply.array(0);
        return Ok(());
    };
    match (count, is_reverse) {
        (0, _) => call.reply.null_array(),
        (_, false) => reply_entries(&mut call.reply, stream.entries.range(from, to), count),
        (_, true) => reply_entries(&mut call.reply, stream.entries.range_back(from, to), count),
    }
    Ok(())
}

fn xrange(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_range(view, call, false)
}

fn xrevrange(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_range(view, call, true)
}

/// The ids from argument `from` up to argument `end`.
pub(super) fn ids(call: &Call<'_>, from: usize, end: usize) -> Result<Ids, CommandError> {
    (from..end).map(|number| id(call.args.at(number))).collect()
}

fn xdel(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let ids = {
        let read = view.read();
        let Some(stream) = read.stream()? else {
            call.reply.integer(0);
            return Ok(());
        };
        let ids = ids(call, 2, call.args.len())?;
        if !ids.iter().any(|id| stream.entries.get(*id).is_some()) {
            call.reply.integer(0);
            return Ok(());
        }
        ids
    };
    let deleted = view.change_collection(false, |stream: &mut Box<Stream>| {
        stream.entries.delete(ids.iter().copied())
    })?;
    let deleted = deleted.unwrap_or(0);
    view.note_more_changes(deleted.saturating_sub(1));
    view.notify(EventSet::STREAM, "xdel");
    call.reply.count(deleted);
    Ok(())
}

fn xtrim(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let options = add_options(call.args, false, call.config)?;
    let Trimming { trim, by_blocks, limit } = options.trimming.ok_or(CommandError::Syntax)?;
    let trims = |stream: &Stream| stream.entries.trims(trim, by_blocks, limit);
    if !view.read().stream()?.is_some_and(trims) {
        call.reply.integer(0);
        return Ok(());
    }
    let trimmed = view.change_collection(false, |stream: &mut Box<Stream>| {
        stream.entries.trim(trim, by_blocks, limit)
    })?;
    let Some((deleted, garbage)) = trimmed else { return Ok(()) };
    if deleted > 0 {
        discard(view, garbage);
        view.note_more_changes((deleted - 1) as usize);
        view.notify(EventSet::STREAM, "xtrim");
    }
    call.reply.integer(i64::try_from(deleted).unwrap_or(i64::MAX));
    Ok(())
}

fn xsetid(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let last_id = id(args.at(2))?;
    let (mut entries_added, mut max_deleted_id) = (None, None);
    let mut at = 3;
    while let Some(word) = args.get(at) {
        let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
        if is_word(word, "ENTRIESADDED") {
            let text = CommandError::Text("ERR entries_added must be positive");
            entries_added = Some(u64::try_from(integer(value)?).map_err(|_| text)?);
        } else if is_word(word, "MAXDELETEDID") {
            let deleted = id(value)?;
            if last_id < deleted {
                return Err(CommandError::Text(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
            max_deleted_id = Some(deleted).filter(|id| *id != StreamId::MIN);
        } else {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    check_figures(view, last_id, entries_added)?;
    view.change_readers(|stream| stream.set_figures(last_id, entries_added, max_deleted_id));
    view.note_more_changes(1);
    view.notify(EventSet::STREAM, "xsetid");
    call.reply.ok();
    Ok(())
}

fn check_figures(
    view: &WriteView<'_>,
    last_id: StreamId,
    entries_added: Option<u64>,
) -> Result<(), CommandError> {
    let read = view.read();
    let stream = read.stream()?.ok_or(CommandError::NoSuchKey)?;
    if stream.entries.last_living().is_some_and(|last| last_id < last) {
        return Err(CommandError::Text(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if entries_added.is_some_and(|added| stream.entries.len() > added) {
        return Err(CommandError::Text(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    Ok(())
}
