//! Entries that were delivered and not acknowledged: looking at them, and giving them to another
//! consumer.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::command::stream::{Ids, reply_entry, reply_id};
use crate::command::stream_args::{id, range_end, range_start};
use crate::data::stream_group::{ConsumerNumber, Group as ReaderGroup, Pending};
use crate::data::{Stream, StreamId};
use crate::keyspace::{ReadView, WriteView};
use crate::protocol::ReplyWriter;
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use crate::util::number::parse_i64;
use crate::util::text::until_zero_byte;

/// Entries that XAUTOCLAIM claims unless told otherwise.
const CLAIMED_MAX: usize = 100;
/// It looks at so many times as many.
const ATTEMPTS_FACTOR: usize = 10;
/// A higher number would not fit Redis' memory.
const CLAIMED_LIMIT: i64 = i64::MAX / 16;

const TIPS: &[&str] = &["nondeterministic_output"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "XPENDING", group: Group::Stream, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "5.0.0", cost: "O(n) for n entries or consumers",
        syntax: "XPENDING key group [[IDLE min-idle-time] start end count [consumer]]",
        summary: "Tells which entries a group has yet to acknowledge.", tips: TIPS,
        run: Run::Read(xpending), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XCLAIM", group: Group::Stream, arity: Arity::AtLeast(6),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::FAST,
        since: "5.0.0", cost: "O(log n) for each id",
        syntax: "XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] \
                 [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]",
        summary: "Gives pending entries to another consumer.", tips: TIPS,
        run: Run::Write(xclaim), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "XAUTOCLAIM", group: Group::Stream, arity: Arity::AtLeast(6),
        keys: &[KeySpec::one(&["RW", "DELETE"])], flags: Flags::FAST,
        since: "6.2.0", cost: "O(count)",
        syntax: "XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]",
        summary: "Gives entries that are pending for long to another consumer.", tips: TIPS,
        run: Run::Write(xautoclaim), ..CommandSpec::BASE
    },
];

fn no_group(call: &Call<'_>) -> CommandError {
    let mut text = b"NOGROUP No such key '".to_vec();
    text.extend_from_slice(until_zero_byte(call.args.at(1)));
    text.extend_from_slice(b"' or consumer group '");
    text.extend_from_slice(until_zero_byte(call.args.at(2)));
    text.push(b'\'');
    CommandError::Owned(text)
}

/// How long ago a pending entry was delivered, in milliseconds.
fn idle_ms(pending: &Pending, now: UnixMillis) -> i64 {
    now.0.saturating_sub(pending.delivered.0)
}

/// What the long form of XPENDING asks for.
struct PendingRange<'a> {
    from: StreamId,
    to: StreamId,
    count: usize,
    min_idle_ms: i64,
    consumer: Option<&'a [u8]>,
}

fn pending_range<'a>(call: &Call<'a>) -> Result<Option<PendingRange<'a>>, CommandError> {
    let args = call.args;
    if args.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&args.len()) {
        return Err(CommandError::Syntax);
    }
    let (mut at, mut min_idle_ms) = (3, 0);
    if is_word(args.at(3), "IDLE") {
        min_idle_ms = integer(args.at(4))?;
        if args.len() < 8 {
            return Err(CommandError::Syntax);
        }
        at = 5;
    }
    let count = usize::try_from(integer(args.at(at + 2))?).unwrap_or(0);
    let (from, to) = (range_start(args.at(at))?, range_end(args.at(at + 1))?);
    Ok(Some(PendingRange { from, to, count, min_idle_ms, consumer: args.get(at + 3) }))
}

fn xpending(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let range = pending_range(call)?;
    let group = view.stream()?.and_then(|stream| stream.group(call.args.at(2)));
    let group = group.ok_or_else(|| no_group(call))?;
    match range {
        None => reply_summary(&mut call.reply, group),
        Some(range) => reply_pending(call, group, &range),
    }
    Ok(())
}

fn reply_summary(reply: &mut ReplyWriter<'_>, group: &ReaderGroup) {
    reply.array(4);
    reply.count(group.pending().len());
    let Some((first, last)) = group.pending().ends() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first.id);
    reply_id(reply, last.id);
    let consumers = || group.consumers().filter(|consumer| !consumer.pending.is_empty());
    reply.array(consumers().count());
    for consumer in consumers() {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.bulk_integer(i64::try_from(consumer.pending.len()).unwrap_or(i64::MAX));
    }
}

fn reply_pending(call: &mut Call<'_>, group: &ReaderGroup, range: &PendingRange<'_>) {
    let now = call.now;
    let is_idle =
        |pending: &&Pending| range.min_idle_ms == 0 || idle_ms(pending, now) >= range.min_idle_ms;
    let in_range = |id: &StreamId| *id <= range.to;
    let found: Vec<&Pending> = match range.consumer.map(|name| group.find_consumer(name)) {
        Some(None) => Vec::new(),
        None => group
            .pending()
            .iter_from(range.from)
            .take_while(|pending| in_range(&pending.id))
            .filter(is_idle)
            .take(range.count)
            .collect(),
        Some(Some(number)) => group
            .consumer(number)
            .into_iter()
            .flat_map(|consumer| consumer.pending.iter_from(range.from))
            .take_while(|id| in_range(id))
            .filter_map(|id| group.pending().get(*id))
            .filter(is_idle)
            .take(range.count)
            .collect(),
    };
    call.reply.array(found.len());
    for pending in found {
        call.reply.array(4);
        reply_id(&mut call.reply, pending.id);
        let consumer = group.consumer(pending.consumer);
        call.reply.bulk(consumer.map_or(&[][..], |consumer| &consumer.name));
        call.reply.integer(idle_ms(pending, now).max(0));
        call.reply.integer(pending.deliveries as i64);
    }
}

/// How entries are claimed.
struct Claim {
    min_idle_ms: i64,
    /// When they count as delivered.
    delivered: UnixMillis,
    /// How often they count as delivered; `None` for once more.
    deliveries: Option<u64>,
    /// Whether entries that are not pending become so.
    is_forced: bool,
    /// Only the ids are returned, and no delivery is counted.
    is_just_id: bool,
    last_id: StreamId,
}

/// Reads `min-idle-time`, argument 4.
fn min_idle_ms(call: &Call<'_>, text: &'static str) -> Result<i64, CommandError> {
    let millis = parse_i64(call.args.at(4)).ok_or(CommandError::Text(text))?;
    Ok(millis.max(0))
}

/// The ids, and what follows them.
fn claim(call: &Call<'_>) -> Result<(Ids, Claim), CommandError> {
    let (args, now) = (call.args, call.now);
    let text = "ERR Invalid min-idle-time argument for XCLAIM";
    let mut claim = Claim {
        min_idle_ms: min_idle_ms(call, text)?,
        delivered: now,
        deliveries: None,
        is_forced: false,
        is_just_id: false,
        last_id: StreamId::MIN,
    };
    let ids: Ids = (5..args.len()).map_while(|at| id(args.at(at)).ok()).collect();
    let mut at = 5 + ids.len();
    while let Some(word) = args.get(at) {
        let has_more = at + 1 < args.len();
        let number = |text| parse_i64(args.at(at + 1)).ok_or(CommandError::Text(text));
        let mut width = 2;
        if is_word(word, "FORCE") {
            (claim.is_forced, width) = (true, 1);
        } else if is_word(word, "JUSTID") {
            (claim.is_just_id, width) = (true, 1);
        } else if is_word(word, "IDLE") && has_more {
            let millis = number("ERR Invalid IDLE option argument for XCLAIM")?;
            claim.delivered = UnixMillis(now.0.wrapping_sub(millis));
        } else if is_word(word, "TIME") && has_more {
            claim.delivered = UnixMillis(number("ERR Invalid TIME option argument for XCLAIM")?);
        } else if is_word(word, "RETRYCOUNT") && has_more {
            let count = number("ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
            claim.deliveries = u64::try_from(count).ok();
        } else if is_word(word, "LASTID") && has_more {
            claim.last_id = id(args.at(at + 1))?;
        } else {
            return Err(CommandError::echoing("ERR Unrecognized XCLAIM option '", word, "'"));
        }
        at += width;
    }
    if !(0..=now.0).contains(&claim.delivered.0) {
        claim.delivered = now;
    }
    Ok((ids, claim))
}

/// Claims for one consumer, who is made when the first entry is claimed.
struct Claimer<'a> {
    consumer: &'a [u8],
    number: Option<ConsumerNumber>,
    is_new: bool,
    now: UnixMillis,
}

impl<'a> Claimer<'a> {
    fn new(call: &Call<'a>) -> Self {
        Self { consumer: call.args.at(3), number: None, is_new: false, now: call.now }
    }

    fn number(&mut self, group: &mut ReaderGroup) -> ConsumerNumber {
        if let Some(number) = self.number {
            return number;
        }
        let (number, is_new) = group.add_consumer(self.consumer, self.now);
        group.note_seen(number, self.now);
        (self.number, self.is_new) = (Some(number), is_new);
        number
    }

    /// Gives an entry that is there to the consumer; false when it is not pending, or not for long
    /// enough.
    fn take(&mut self, group: &mut ReaderGroup, id: StreamId, claim: &Claim) -> bool {
        let deliveries = match group.pending().get(id) {
            Some(pending) => {
                if claim.min_idle_ms > 0 && idle_ms(pending, self.now) < claim.min_idle_ms {
                    return false;
                }
                pending.deliveries
            }
            // As in Redis the entry counts as delivered before it was claimed.
            None if claim.is_forced => 1,
            None => return false,
        };
        let once_more = deliveries.wrapping_add(u64::from(!claim.is_just_id));
        let deliveries = claim.deliveries.unwrap_or(once_more);
        let (delivered, consumer) = (claim.delivered, self.number(group));
        group.deliver(Pending { id, delivered, deliveries, consumer });
        true
    }
}

/// What claiming came to.
#[derive(Default)]
struct Claimed {
    ids: Vec<StreamId>,
    /// Entries that were pending and are not in the stream any more.
    gone: Vec<StreamId>,
    /// Where to go on.
    next: StreamId,
}

fn xclaim(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let name = call.args.at(2);
    let has_group = |stream: &Stream| stream.group(name).is_some();
    if !view.read().stream()?.is_some_and(has_group) {
        return Err(no_group(call));
    }
    let (ids, claim) = claim(call)?;
    let mut claimer = Claimer::new(call);
    let (reply, mut changes) = (&mut call.reply, 0);
    view.change_readers(|stream| {
        let Stream { entries, .. } = stream;
        let is_there: Vec<bool> = ids.iter().map(|id| entries.get(*id).is_some()).collect();
        let claimed = stream.with_group(name, |group| {
            if claim.last_id > group.last_id() {
                group.set_last_id(claim.last_id);
                changes += 1;
            }
            let mut claimed = Claimed::default();
            for (id, is_there) in ids.iter().zip(is_there) {
                if !is_there {
                    changes += usize::from(group.acknowledge(*id));
                } else if claimer.take(group, *id, &claim) {
                    claimed.ids.push(*id);
                }
            }
            claimed
        });
        let claimed = claimed.unwrap_or_default();
        changes += claimed.ids.len();
        reply_claimed(reply, stream, &claimed.ids, claim.is_just_id);
    });
    note_claims(view, changes, &claimer);
    Ok(())
}

fn note_claims(view: &mut WriteView<'_>, changes: usize, claimer: &Claimer<'_>) {
    view.note_more_changes(changes + usize::from(claimer.is_new));
    if claimer.is_new {
        view.notify(EventSet::STREAM, "xgroup-createconsumer");
    }
}

fn reply_claimed(reply: &mut ReplyWriter<'_>, stream: &Stream, ids: &[StreamId], is_just_id: bool) {
    reply.array(ids.len());
    for id in ids {
        match stream.entries.get(*id) {
            Some(entry) if !is_just_id => reply_entry(reply, &entry),
            _ => reply_id(reply, *id),
        }
    }
}

/// What XAUTOCLAIM asks for: from which id on, how many, and only the ids.
fn auto_claim(call: &Call<'_>) -> Result<(StreamId, usize, Claim), CommandError> {
    let args = call.args;
    let text = "ERR Invalid min-idle-time argument for XAUTOCLAIM";
    let mut claim = Claim {
        min_idle_ms: min_idle_ms(call, text)?,
        delivered: call.now,
        deliveries: None,
        is_forced: false,
        is_just_id: false,
        last_id: StreamId::MIN,
    };
    let from = range_start(args.at(5))?;
    let (mut at, mut count) = (6, CLAIMED_MAX);
    while let Some(word) = args.get(at) {
        if is_word(word, "COUNT") && at + 1 < args.len() {
            let text = CommandError::Text("ERR COUNT must be > 0");
            let wanted = parse_i64(args.at(at + 1)).filter(|n| (1..=CLAIMED_LIMIT).contains(n));
            count = usize::try_from(wanted.ok_or(text)?).unwrap_or(usize::MAX);
            at += 1;
        } else if is_word(word, "JUSTID") {
            claim.is_just_id = true;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    Ok((from, count, claim))
}

fn xautoclaim(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let (from, count, claim) = auto_claim(call)?;
    let name = call.args.at(2);
    let has_group = |stream: &Stream| stream.group(name).is_some();
    if !view.read().stream()?.is_some_and(has_group) {
        return Err(no_group(call));
    }
    let mut claimer = Claimer::new(call);
    let (reply, mut changes) = (&mut call.reply, 0);
    view.change_readers(|stream| {
        let claimed = claim_idle(stream, name, &mut claimer, &claim, (from, count));
        changes = claimed.ids.len() + claimed.gone.len();
        reply.array(3);
        reply_id(reply, claimed.next);
        reply_claimed(reply, stream, &claimed.ids, claim.is_just_id);
        reply.array(claimed.gone.len());
        claimed.gone.iter().for_each(|id| reply_id(reply, *id));
    });
    note_claims(view, changes, &claimer);
    Ok(())
}

/// Claims what is pending for long enough from an id on, and forgets what is not there any more.
fn claim_idle(
    stream: &mut Stream,
    name: &[u8],
    claimer: &mut Claimer<'_>,
    claim: &Claim,
    (from, mut count): (StreamId, usize),
) -> Claimed {
    let mut claimed = Claimed::default();
    let now = claimer.now;
    let mut attempts = count.saturating_mul(ATTEMPTS_FACTOR);
    if let Some(group) = stream.group(name) {
        let mut pending = group.pending().iter_from(from).peekable();
        while count > 0
            && attempts > 0
            && let Some(item) = pending.next()
        {
            attempts -= 1;
            if stream.entries.get(item.id).is_none() {
                claimed.gone.push(item.id);
            } else if claim.min_idle_ms == 0 || idle_ms(item, now) >= claim.min_idle_ms {
                claimed.ids.push(item.id);
            } else {
                continue;
            }
            count -= 1;
        }
        claimed.next = pending.peek().map_or(StreamId::MIN, |item| item.id);
    }
    stream.with_group(name, |group| {
        for id in &claimed.gone {
            group.acknowledge(*id);
        }
        for id in &claimed.ids {
            claimer.take(group, *id, claim);
        }
    });
    claimed
}
