//! Reading what is new in streams, for oneself or for a group, or waiting for it.
//!
//! Who reads for himself takes nothing: all who wait are served by one new entry. Who reads for a
//! group takes entries, so those of one group stand in a line of their own and are served in turn.
//! The ids from which on to read are known when the command comes: `$` is written out in the copy
//! of the request that waits.

use crate::command::args::{integer, is_word};
use crate::command::blocking::{Attempt, Tried};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Run};
use crate::command::stream::{reply_entries, reply_entry, reply_id};
use crate::command::stream_args::id;
use crate::data::stream::Delivery;
use crate::data::stream_group::{ConsumerNumber, Group as ReaderGroup};
use crate::data::{Stream, StreamId, ValueRef, ValueType};
use crate::keyspace::{Line, ReadManyView, ReadView, WriteManyView, WriteView};
use crate::protocol::{Args, Protocol, ReplyWriter};
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use crate::util::hash::KeyHash;
use crate::util::text::until_zero_byte;
use smallvec::SmallVec;
use std::time::Duration;

/// Entries that one who has waited is given at most, unless it asks for another number.
const AWAITED_ENTRIES_MAX: usize = 1_000;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "XREAD", group: Group::Stream, arity: Arity::AtLeast(4),
        keys: &[KeySpec::streams(1, &["RO", "ACCESS"])], flags: Flags::BLOCKING,
        since: "5.0.0", cost: "O(log n + m) for each key and m entries",
        syntax: "XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        summary: "Returns the entries behind an id of each stream, or waits for one.",
        run: Run::ReadOrBlock(ValueType::Stream, read_now, read_or_wait), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XREADGROUP", group: Group::Stream, arity: Arity::AtLeast(7),
        keys: &[KeySpec::streams(4, &["RO", "ACCESS"])], flags: Flags::BLOCKING,
        since: "5.0.0", cost: "O(log n + m) for each key and m entries",
        syntax: "XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] \
                 STREAMS key [key ...] id [id ...]",
        summary: "Gives a consumer entries that its group has not read, or waits for one; or \
                  returns those that it has yet to acknowledge.",
        run: Run::Block(ValueType::Stream, read_for_group), ..CommandSpec::BASE
    },
];

type Views<'a> = SmallVec<[ReadView<'a>; 4]>;
type Ids = SmallVec<[StreamId; 4]>;

/// What one asks for.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    args: Args<'a>,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    is_acknowledged: bool,
    /// How long to wait, the inner `None` for ever.
    block: Option<Option<Duration>>,
    /// Entries of each stream; 0 for all.
    count: usize,
    first_key: usize,
    keys: usize,
}

impl<'a> Request<'a> {
    /// The request of a call, which may not wait in a script.
    fn of_call(call: &Call<'a>, for_group: bool) -> Result<Self, CommandError> {
        let request = Self::parse(call.args, for_group)?;
        if call.is_in_script && request.block.is_some() {
            let text = " command is not allowed with BLOCK option from scripts";
            return Err(CommandError::echoing("ERR ", call.args.at(0), text));
        }
        Ok(request)
    }

    fn parse(args: Args<'a>, for_group: bool) -> Result<Self, CommandError> {
        let (group, block) = (None, None);
        let (first_key, keys, count) = (0, 0, 0);
        let is_acknowledged = false;
        let mut request = Self { args, group, is_acknowledged, block, count, first_key, keys };
        let mut at = 1;
        while request.first_key == 0 {
            let word = args.get(at).ok_or(CommandError::Syntax)?;
            let more = args.len() - at - 1;
            if is_word(word, "BLOCK") && more > 0 {
                request.block = Some(timeout(args.at(at + 1))?);
                at += 2;
            } else if is_word(word, "COUNT") && more > 0 {
                request.count = usize::try_from(integer(args.at(at + 1))?).unwrap_or(0);
                at += 2;
            } else if is_word(word, "STREAMS") && more > 0 {
                if !more.is_multiple_of(2) {
                    return Err(CommandError::Text(
                        "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' \
                         must be specified.",
                    ));
                }
                (request.first_key, request.keys) = (at + 1, more / 2);
            } else if is_word(word, "GROUP") && more > 1 {
                only_for_group(for_group, "GROUP")?;
                request.group = Some((args.at(at + 1), args.at(at + 2)));
                at += 3;
            } else if is_word(word, "NOACK") {
                only_for_group(for_group, "NOACK")?;
                request.is_acknowledged = true;
                at += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if for_group && request.group.is_none() {
            return Err(CommandError::Text("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(request)
    }

    fn key(&self, number: usize) -> &'a [u8] {
        self.args.at(self.first_key + number)
    }

    fn id(&self, number: usize) -> &'a [u8] {
        self.args.at(self.first_key + self.keys + number)
    }

    fn count_or(&self, count: usize) -> usize {
        if self.count == 0 { count } else { self.count }
    }
}

fn only_for_group(is: bool, option: &str) -> Result<(), CommandError> {
    if is {
        return Ok(());
    }
    Err(CommandError::Owned(
        format!(
            "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
        )
        .into_bytes(),
    ))
}

/// The timeout in milliseconds; 0 is for ever.
fn timeout(arg: &[u8]) -> Result<Option<Duration>, CommandError> {
    let text = CommandError::Text("ERR timeout is not an integer or out of range");
    let millis = integer(arg).map_err(|_| text)?;
    let negative = CommandError::Text("ERR timeout is negative");
    let millis = u64::try_from(millis).map_err(|_| negative)?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

/// The line in which such a command waits.
pub(super) fn line(args: Args<'_>) -> Line {
    let is_group = is_word(args.at(0), "XREADGROUP");
    match Request::parse(args, is_group).map(|request| request.group) {
        Ok(Some((group, _))) => Line::InTurn(KeyHash::of_field(group).to_bits()),
        _ => Line::Each,
    }
}

/// True when one who waits is to be served now that key number `number` has changed: there is
/// something new, or there will be nothing any more.
pub(super) fn may_serve(args: Args<'_>, view: &WriteManyView<'_, '_>, number: usize) -> bool {
    let is_group = is_word(args.at(0), "XREADGROUP");
    let Ok(request) = Request::parse(args, is_group) else { return true };
    let stream = view.reads().nth(number).and_then(|view| view.stream().ok().flatten());
    match (request.group, stream) {
        (Some((name, _)), Some(stream)) => {
            stream.group(name).is_none_or(|group| stream.entries.last_id() > group.last_id())
        }
        (Some(_), None) => true,
        (None, Some(stream)) => {
            id(request.id(number)).is_ok_and(|id| stream.entries.last_id() > id)
        }
        (None, None) => false,
    }
}

/// The head of what is new in `count` streams.
fn reply_head(reply: &mut ReplyWriter<'_>, count: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
}

/// The head of what is new in one of them.
fn reply_key(reply: &mut ReplyWriter<'_>, key: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// Where to read each stream from on.
fn resolve(request: &Request<'_>, views: &[ReadView<'_>]) -> Result<Ids, CommandError> {
    let mut ids = Ids::new();
    for (number, view) in views.iter().enumerate() {
        let stream = view.stream()?;
        ids.push(match until_zero_byte(request.id(number)) {
            b"$" => stream.map_or(StreamId::MIN, |stream| stream.entries.last_id()),
            b">" => {
                return Err(CommandError::Text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                     <group> <consumer> option.",
                ));
            }
            _ => id(request.id(number))?,
        });
    }
    Ok(ids)
}

/// Reads for oneself what is there, or says how long to wait.
fn read(call: &mut Call<'_>, views: &[ReadView<'_>]) -> Result<Tried, CommandError> {
    let request = Request::of_call(call, false)?;
    let ids = resolve(&request, views)?;
    let news: SmallVec<[(usize, &Stream, StreamId); 4]> = views
        .iter()
        .zip(&ids)
        .enumerate()
        .filter_map(|(number, (view, id))| {
            let stream = view.stream().ok()??;
            (stream.entries.last_living()? > *id).then_some((number, stream, id.next()?))
        })
        .collect();
    if !news.is_empty() {
        reply_head(&mut call.reply, news.len());
        for (number, stream, from) in news {
            reply_key(&mut call.reply, request.key(number));
            let range = stream.entries.range(from, StreamId::MAX);
            reply_entries(&mut call.reply, range, request.count_or(usize::MAX));
        }
        return Ok(Tried::Served);
    }
    let Some(timeout) = request.block else {
        call.reply.null_array();
        return Ok(Tried::Served);
    };
    let is_open = |number: &usize| until_zero_byte(request.id(*number)) == b"$";
    let others = ids
        .iter()
        .enumerate()
        .filter(|(number, _)| is_open(number))
        .map(|(number, id)| (request.first_key + request.keys + number, id.text().to_vec()));
    Ok(Tried::WaitsWith(timeout, others.collect()))
}

fn read_now(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Result<Tried, CommandError> {
    read(call, &view.iter().collect::<Views<'_>>())
}

fn read_or_wait(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    let views: Views<'_> = view.reads().collect();
    let Attempt::Woken(number) = attempt else {
        return read(call, &views);
    };
    let request = Request::of_call(call, false)?;
    let from = id(request.id(number))?.next();
    let stream = views.get(number).map(ReadView::stream).transpose()?.flatten();
    if let (Some(stream), Some(from)) = (stream, from) {
        reply_head(&mut call.reply, 1);
        reply_key(&mut call.reply, request.key(number));
        let range = stream.entries.range(from, StreamId::MAX);
        reply_entries(&mut call.reply, range, request.count_or(AWAITED_ENTRIES_MAX));
    }
    Ok(Tried::Served)
}

/// What a group is to be given of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Nothing: all was read.
    Nothing,
    /// What the group has not read.
    New,
    /// What the consumer has yet to acknowledge, behind this id.
    Pending(StreamId),
}

fn no_group(request: &Request<'_>, number: usize, group: &[u8]) -> CommandError {
    let mut text = b"NOGROUP No such key '".to_vec();
    text.extend_from_slice(until_zero_byte(request.key(number)));
    text.extend_from_slice(b"' or consumer group '");
    text.extend_from_slice(until_zero_byte(group));
    text.extend_from_slice(b"' in XREADGROUP with GROUP option");
    CommandError::Owned(text)
}

/// What there is for a group in each stream.
fn wanted(
    request: &Request<'_>,
    name: &[u8],
    view: &WriteManyView<'_, '_>,
) -> Result<SmallVec<[Wanted; 4]>, CommandError> {
    let mut all = SmallVec::new();
    for (number, view) in view.reads().enumerate() {
        let stream = view.stream()?;
        let group = stream.and_then(|stream| Some((stream, stream.group(name)?)));
        let (stream, group) = group.ok_or_else(|| no_group(request, number, name))?;
        all.push(match until_zero_byte(request.id(number)) {
            b"$" => {
                return Err(CommandError::Text(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read \
                     the history of this consumer by specifying a proper ID, or use the > ID to \
                     get new messages. The $ ID would just return an empty result set.",
                ));
            }
            b">" => new_for(stream, group),
            // The highest id means the same as `>`.
            _ => match id(request.id(number))? {
                StreamId::MAX => new_for(stream, group),
                id => Wanted::Pending(id),
            },
        });
    }
    Ok(all)
}

fn new_for(stream: &Stream, group: &ReaderGroup) -> Wanted {
    let is_new = stream.entries.last_living().is_some_and(|last| last > group.last_id());
    if is_new { Wanted::New } else { Wanted::Nothing }
}

fn read_for_group(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    attempt: Attempt,
) -> Result<Tried, CommandError> {
    let request = Request::of_call(call, true)?;
    let (name, consumer) = request.group.unwrap_or_default();
    if let Attempt::Woken(number) = attempt {
        return serve_woken(view, call, &request, number);
    }
    let wanted = wanted(&request, name, view)?;
    let is_pending = |wanted: &Wanted| matches!(wanted, Wanted::Pending(_));
    let count = wanted.iter().filter(|wanted| **wanted != Wanted::Nothing).count();
    // New entries are for those who wait already.
    let is_behind = attempt == Attempt::Behind && !wanted.iter().any(is_pending);
    match request.block {
        Some(timeout) if attempt != Attempt::Only && (count == 0 || is_behind) => {
            return Ok(Tried::Waits(timeout));
        }
        _ if count == 0 => {
            call.reply.null_array();
            return Ok(Tried::Served);
        }
        _ => {}
    }
    reply_head(&mut call.reply, count);
    for (number, wanted) in wanted.into_iter().enumerate() {
        if wanted == Wanted::Nothing {
            continue;
        }
        reply_key(&mut call.reply, request.key(number));
        if let Some(mut key) = view.key(number) {
            let count = request.count_or(usize::MAX);
            serve(&mut key, call, (name, consumer), wanted, (count, !request.is_acknowledged));
        }
    }
    Ok(Tried::Served)
}

fn serve_woken(
    view: &mut WriteManyView<'_, '_>,
    call: &mut Call<'_>,
    request: &Request<'_>,
    number: usize,
) -> Result<Tried, CommandError> {
    let (name, consumer) = request.group.unwrap_or_default();
    let key = view.key(number);
    let Some(mut key) = key.filter(|key| key.value_type() == Some(ValueType::Stream)) else {
        return Err(CommandError::Text("UNBLOCKED the stream key no longer exists"));
    };
    let has_group = matches!(
        key.read().value(), Some(ValueRef::Stream(stream)) if stream.group(name).is_some()
    );
    if !has_group {
        let text = "NOGROUP the consumer group this client was blocked on no longer exists";
        return Err(CommandError::Text(text));
    }
    reply_head(&mut call.reply, 1);
    reply_key(&mut call.reply, request.key(number));
    let count = request.count_or(AWAITED_ENTRIES_MAX);
    let options = (count, !request.is_acknowledged);
    serve(&mut key, call, (name, consumer), Wanted::New, options);
    Ok(Tried::Served)
}

/// Writes the entries that a consumer is given, and notes that it has them.
fn serve(
    view: &mut WriteView<'_>,
    call: &mut Call<'_>,
    (name, consumer): (&[u8], &[u8]),
    wanted: Wanted,
    (count, is_pending): (usize, bool),
) {
    let (now, reply) = (call.now, &mut call.reply);
    let is_new = view.change_readers(|stream| {
        let (number, is_new) = stream.with_group(name, |group| {
            let (number, is_new) = group.add_consumer(consumer, now);
            if !is_new {
                group.note_seen(number, now);
            }
            (number, is_new)
        })?;
        if let Wanted::Pending(after) = wanted {
            reply_pending(reply, stream, (name, number), after, count, now);
        } else {
            let to = Delivery { consumer: number, is_pending, count, now };
            let begin = |reply: &mut &mut ReplyWriter<'_>, count| reply.array(count);
            let mut reply = reply;
            stream.deliver(name, to, &mut reply, begin, |reply, entry| reply_entry(reply, entry));
        }
        Some(is_new)
    });
    view.note_more_changes(1);
    if is_new.flatten() == Some(true) {
        view.note_more_changes(1);
        view.notify(EventSet::STREAM, "xgroup-createconsumer");
    }
}

/// Writes the entries behind `after` that a consumer has yet to acknowledge; those that are gone
/// have no fields any more.
fn reply_pending(
    reply: &mut ReplyWriter<'_>,
    stream: &mut Stream,
    (name, number): (&[u8], ConsumerNumber),
    after: StreamId,
    count: usize,
    now: UnixMillis,
) {
    let consumer = stream.group(name).and_then(|group| group.consumer(number));
    let (Some(consumer), Some(from)) = (consumer, after.next()) else {
        reply.array(0);
        return;
    };
    let ids: Vec<StreamId> = consumer.pending.iter_from(from).take(count).copied().collect();
    reply.array(ids.len());
    let mut there = Vec::with_capacity(ids.len());
    for id in ids {
        match stream.entries.get(id) {
            Some(entry) => {
                reply_entry(reply, &entry);
                there.push(id);
            }
            None => {
                reply.array(2);
                reply_id(reply, id);
                reply.null_array();
            }
        }
    }
    stream.with_group(name, |group| {
        there.iter().for_each(|id| group.note_redelivery(*id, now));
    });
}

/// The places of the keys, as the row has them.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::streams;
    use crate::protocol::RequestDecoder;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn the_keys_are_where_the_row_says() {
        for line in [
            "XREAD COUNT 1 STREAMS a b 1 2",
            "XREADGROUP GROUP streams c NOACK BLOCK 5 streams a >",
            "XREADGROUP NOACK GROUP g c STREAMS STREAMS STREAMS 0 >",
        ] {
            let (mut decoder, line) = (RequestDecoder::new(), format!("{line}\r\n"));
            let request = decoder.decode(line.as_bytes()).unwrap().unwrap();
            let args = decoder.args(request, line.as_bytes());
            let request = Request::parse(args, line.starts_with("XREADGROUP")).unwrap();
            let keys = request.first_key..request.first_key + request.keys;
            assert_eq!(streams(args), Some(keys), "{line}");
        }
    }
}
