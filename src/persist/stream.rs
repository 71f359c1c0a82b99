//! Writing streams, in Redis' own forms.
//!
//! ```text
//!   blocks | block ... | entries | last id | [ first id | deleted id | added ]
//!             groups | group ...
//!   block     <string of 16 bytes, its first id, high bytes first> <string, a listpack>
//!   id        <length ms> <length number>
//!   group     <string name> <last id> [ <length read> ]
//!             <length pending> then so many <16 bytes id> <8 bytes ms> <length deliveries>
//!             <length consumers> then so many consumers
//!   consumer  <string name> <8 bytes ms, seen> <length pending> then so many <16 bytes id>
//! ```
//!
//! What is in brackets came with type 19, which Redis 7.0 and newer read. A stream of which that
//! says nothing new, because it follows from the rest, is written as type 15, which Redis 5.0
//! reads.

use crate::data::Stream;
use crate::data::StreamId;
use crate::data::stream_group::Group;
use crate::persist::lzf::Packer;
use crate::persist::write::{WrittenType, encode_length, encode_string};
use crate::util::clock::UnixMillis;

/// In the place of the number of entries that a group has read: it is not known.
pub(crate) const READ_UNKNOWN: u64 = u64::MAX;

/// Where a stream is written to.
pub(crate) trait Sink {
    /// The bytes, and what packs strings.
    fn target(&mut self) -> (&mut Vec<u8>, Option<&mut Packer>);
    /// Gives bytes away, if there are many. Called between any two parts.
    fn relieve(&mut self);
}

/// Bytes that are kept, and what packs strings.
pub(crate) struct BufferSink<'a>(pub(crate) &'a mut Vec<u8>, pub(crate) Option<&'a mut Packer>);

impl Sink for BufferSink<'_> {
    fn target(&mut self) -> (&mut Vec<u8>, Option<&mut Packer>) {
        (self.0, self.1.as_deref_mut())
    }

    fn relieve(&mut self) {}
}

/// As what a stream is written. Cost: O(groups + log n).
pub(crate) fn written_type(stream: &Stream) -> WrittenType {
    let figures = stream.entries.figures();
    let first_id = stream.entries.first_living().unwrap_or(StreamId::MIN);
    let is_untouched = figures.entries_added == figures.len
        && figures.max_deleted_id == StreamId::MIN
        && figures.first_id == first_id;
    let follows =
        |group: &Group| group.entries_read == stream.entries.distance_from_start(group.last_id());
    if is_untouched && stream.groups().all(follows) {
        WrittenType::PlainStream
    } else {
        WrittenType::Stream
    }
}

/// Writes a stream behind its type and key. Cost: O(n).
pub(crate) fn encode(stream: &Stream, written_type: WrittenType, sink: &mut impl Sink) {
    let is_plain = written_type == WrittenType::PlainStream;
    length(sink, stream.entries.block_count() as u64);
    let mut listpack = Vec::new();
    stream.entries.for_each_block(|first, write| {
        listpack.clear();
        write(&mut listpack);
        string(sink, &first.to_bytes());
        string(sink, &listpack);
        sink.relieve();
    });
    let figures = stream.entries.figures();
    length(sink, figures.len);
    id(sink, figures.last_id);
    if !is_plain {
        id(sink, figures.first_id);
        id(sink, figures.max_deleted_id);
        length(sink, figures.entries_added);
    }
    length(sink, stream.groups().len() as u64);
    for of_stream in stream.groups() {
        group(sink, of_stream, is_plain);
    }
}

fn group(sink: &mut impl Sink, group: &Group, is_plain: bool) {
    string(sink, &group.name);
    id(sink, group.last_id());
    if !is_plain {
        length(sink, group.entries_read.map_or(READ_UNKNOWN, |read| read as u64));
    }
    length(sink, group.pending().len() as u64);
    for pending in group.pending().iter() {
        raw(sink, &pending.id.to_bytes());
        moment(sink, pending.delivered);
        length(sink, pending.deliveries);
        sink.relieve();
    }
    length(sink, group.consumer_count() as u64);
    for consumer in group.consumers() {
        string(sink, &consumer.name);
        moment(sink, consumer.seen);
        length(sink, consumer.pending.len() as u64);
        for pending in consumer.pending.iter() {
            raw(sink, &pending.to_bytes());
            sink.relieve();
        }
    }
}

fn raw(sink: &mut impl Sink, bytes: &[u8]) {
    sink.target().0.extend_from_slice(bytes);
}

fn moment(sink: &mut impl Sink, moment: UnixMillis) {
    raw(sink, &moment.0.to_le_bytes());
}

fn length(sink: &mut impl Sink, number: u64) {
    encode_length(sink.target().0, number);
}

fn id(sink: &mut impl Sink, id: StreamId) {
    length(sink, id.ms);
    length(sink, id.seq);
}

fn string(sink: &mut impl Sink, bytes: &[u8]) {
    let (out, packer) = sink.target();
    encode_string(out, bytes, packer);
}
