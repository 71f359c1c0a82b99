//! Reading streams; `persist::stream` has their form.
//!
//! Blocks are packed anew, more densely, while every part of them is looked at. Whatever else is
//! counted is read one by one, so nothing is reserved for a number that a file announces.

use crate::data::Stream;
use crate::data::StreamId;
use crate::data::stream_group::{ConsumerNumber, Group};
use crate::persist::error::{RdbError, Reason};
use crate::persist::format::kind;
use crate::persist::read::{RdbReader, Result, give_back, read_string_body};
use crate::persist::stream::READ_UNKNOWN;
use crate::util::clock::UnixMillis;
use std::io::Read;

/// A block has at least an id and the head of a listpack.
const BLOCK_BYTES_MIN: u64 = 20;
/// A group has at least a name, an id and two counts.
const GROUP_BYTES_MIN: u64 = 5;
/// A pending entry of a group: an id, a moment and a count.
const PENDING_BYTES_MIN: u64 = 25;
/// A consumer: a name, a moment and a count.
const CONSUMER_BYTES_MIN: u64 = 10;
const ID_BYTES: u64 = 16;

impl<R: Read> RdbReader<R> {
    /// A stream of the type `code`.
    pub(super) fn stream(&mut self, code: u8) -> Result<Box<Stream>> {
        let mut stream = Box::<Stream>::default();
        for _ in 0..self.count(None, BLOCK_BYTES_MIN)? {
            self.stream_block(&mut stream)?;
        }
        let offset = self.source.offset();
        let (len, last_id) = (self.length()?, self.stream_id()?);
        let rest = match code {
            kind::STREAM => None,
            _ => Some((self.stream_id()?, self.stream_id()?, self.length()?)),
        };
        let restored = stream.entries.restore_figures(len, last_id, rest);
        restored.map_err(|problem| RdbError::new(offset, Reason::BadStream(problem)))?;
        for _ in 0..self.count(None, GROUP_BYTES_MIN)? {
            let offset = self.source.offset();
            let group = self.stream_group(code, &stream)?;
            if !stream.add_group(group) {
                return Err(bad(offset, "two groups have one name"));
            }
        }
        Ok(stream)
    }

    fn stream_block(&mut self, stream: &mut Stream) -> Result<()> {
        let offset = self.source.offset();
        let first = self.string()?;
        let Ok(first) = <[u8; ID_BYTES as usize]>::try_from(&first[..]) else {
            return Err(bad(offset, "the id of a block has not 16 bytes"));
        };
        let offset = self.source.offset();
        let head = self.string_head()?;
        self.block.clear();
        read_string_body(&mut self.source, &mut self.packed, head, &mut self.block)?;
        let restored = stream.entries.restore_block(StreamId::from_bytes(first), &self.block);
        give_back(&mut self.block);
        restored.map_err(|fault| {
            let (encoding, problem, inner_offset) = ("block of a stream", fault.problem, fault.at);
            RdbError::new(offset, Reason::Compact { encoding, problem, inner_offset })
        })
    }

    fn stream_group(&mut self, code: u8, stream: &Stream) -> Result<Group> {
        let offset = self.source.offset();
        let name = self.string()?;
        let last_id = self.stream_id()?;
        let entries_read = match code {
            kind::STREAM => stream.entries.distance_from_start(last_id),
            _ => Some(self.length()?).filter(|read| *read != READ_UNKNOWN).map(|read| read as i64),
        };
        let mut group = Group::new(&name, last_id, entries_read);
        for _ in 0..self.count(None, PENDING_BYTES_MIN)? {
            let offset = self.source.offset();
            let (id, delivered) = (self.raw_id()?, self.moment()?);
            if !group.restore_pending(id, delivered, self.length()?) {
                return Err(bad(offset, "an entry is pending twice in a group"));
            }
        }
        for _ in 0..self.count(None, CONSUMER_BYTES_MIN)? {
            self.stream_consumer(code, &mut group)?;
        }
        if !group.is_whole() {
            return Err(bad(offset, "an entry is pending for no consumer"));
        }
        Ok(group)
    }

    fn stream_consumer(&mut self, code: u8, group: &mut Group) -> Result<()> {
        let offset = self.source.offset();
        let name = self.string()?;
        let seen = self.moment()?;
        if code == kind::STREAM_3 {
            let _active = self.moment()?;
        }
        let (number, is_new): (ConsumerNumber, bool) = group.add_consumer(&name, seen);
        if !is_new {
            return Err(bad(offset, "two consumers of a group have one name"));
        }
        for _ in 0..self.count(None, ID_BYTES)? {
            let offset = self.source.offset();
            if !group.restore_owner(self.raw_id()?, number) {
                return Err(bad(
                    offset,
                    "an entry is pending for a consumer, but not in its group",
                ));
            }
        }
        Ok(())
    }

    fn stream_id(&mut self) -> Result<StreamId> {
        Ok(StreamId { ms: self.length()?, seq: self.length()? })
    }

    fn raw_id(&mut self) -> Result<StreamId> {
        self.source.array().map(StreamId::from_bytes)
    }

    fn moment(&mut self) -> Result<UnixMillis> {
        self.source.array().map(|bytes| UnixMillis(i64::from_le_bytes(bytes)))
    }
}

fn bad(offset: u64, problem: &'static str) -> RdbError {
    RdbError::new(offset, Reason::BadStream(problem))
}
