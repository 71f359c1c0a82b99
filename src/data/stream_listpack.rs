//! A block of a stream as Redis' listpack, in which dumps hold it.
//!
//! ```text
//!   listpack  <u32 bytes of it all> <u16 elements> element ... FF
//!   elements  entries | deleted | fields | field ... | 0 | entry | entry ...
//!   entry     flags | ms | seq | value ... | parts                   with the fields of the block
//!             flags | ms | seq | fields | field | value ... | parts  with fields of its own
//!   flags     1 it was deleted, 2 it has the fields of the block
//! ```
//!
//! An id is told as its distance from that of the block. The last element of an entry says how many
//! come before it, so that a block can be walked through from either end.
//!
//! A listpack that this or Redis wrote comes back byte for byte. One that a stranger made, with
//! numbers that take more bytes than they need, comes back as Redis would have written it.

use crate::data::listpack::{self, put, put_integer};
use crate::data::stream_block::{Block, listpack_parts};
use crate::data::stream_element::Element;
use crate::data::stream_id::StreamId;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Its bytes and the number of its elements.
const HEAD_BYTES: usize = 6;
const LISTPACK_END: u8 = 0xFF;
/// The number of elements is not told when it does not fit.
const ELEMENTS_UNKNOWN: usize = 0xFFFF;

/// What is wrong with a block of a dump, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFault {
    /// What is wrong.
    pub problem: &'static str,
    /// Bytes before the spot.
    pub at: usize,
}

impl Block {
    /// Appends the block as Redis' listpack. Cost: O(bytes).
    pub(super) fn write_listpack(&self, out: &mut Vec<u8>) {
        out.reserve(self.listpack_bytes());
        let len = u32::try_from(self.listpack_bytes()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        let elements_at = out.len();
        out.extend_from_slice(&[0; 2]);
        put_integer(out, i64::from(self.count));
        put_integer(out, i64::from(self.deleted));
        let (count, fields) = self.fields();
        put_integer(out, count as i64);
        fields.for_each(|field| put(out, field));
        put_integer(out, 0);
        let mut elements = 4 + count;
        let mut place = self.start();
        while let Some(entry) = self.entry_at(place) {
            let deleted = if entry.is_deleted { DELETED } else { 0 };
            let same_fields = if entry.has_block_fields { SAME_FIELDS } else { 0 };
            put_integer(out, deleted | same_fields);
            put_integer(out, entry.id.ms.wrapping_sub(self.first.ms) as i64);
            put_integer(out, entry.id.seq.wrapping_sub(self.first.seq) as i64);
            if !entry.has_block_fields {
                put_integer(out, entry.pairs as i64);
            }
            let Some(next) = entry.for_each_text(|text| put(out, text)) else { break };
            let parts = listpack_parts(entry.has_block_fields, entry.pairs);
            put_integer(out, parts as i64);
            elements += parts + 1;
            place = next;
        }
        out.push(LISTPACK_END);
        if let Some(room) = out.get_mut(elements_at..elements_at + 2) {
            room.copy_from_slice(&(elements.min(ELEMENTS_UNKNOWN) as u16).to_le_bytes());
        }
    }

    /// The block that this listpack is. Cost: O(bytes).
    ///
    /// Errors: whatever does not fit together.
    pub(super) fn parse_listpack(first: StreamId, listpack: &[u8]) -> Result<Self, BlockFault> {
        Parser { bytes: listpack, at: 0, elements: 0 }.block(first)
    }
}

/// Walks through a listpack that anybody may have made.
struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    elements: usize,
}

impl<'a> Parser<'a> {
    fn fault<T>(&self, problem: &'static str) -> Result<T, BlockFault> {
        Err(BlockFault { problem, at: self.at })
    }

    #[inline]
    fn element(&mut self) -> Result<Element<'a>, BlockFault> {
        let Some((element, end)) = listpack::read(self.bytes, self.at) else {
            return self.fault("it ends in the middle of an entry");
        };
        if !listpack::is_sound(self.bytes, self.at, end) {
            return self.fault("a back link is not the length of its entry");
        }
        self.at = end;
        self.elements += 1;
        Ok(element)
    }

    #[inline]
    fn integer(&mut self) -> Result<i64, BlockFault> {
        match self.element()? {
            Element::Integer(number) => Ok(number),
            Element::Bytes(_) => self.fault("a string is where a number belongs"),
        }
    }

    /// A number that counts what follows: no more than there are bytes.
    fn count(&mut self) -> Result<usize, BlockFault> {
        let count = self.integer()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.bytes.len() => Ok(count),
            _ => self.fault("a number is out of bounds"),
        }
    }

    fn block(mut self, first: StreamId) -> Result<Block, BlockFault> {
        let head = self.bytes.first_chunk::<HEAD_BYTES>();
        let Some(&[a, b, c, d, low, high]) = head else {
            return self.fault("it ends in the middle of an entry");
        };
        if u32::from_le_bytes([a, b, c, d]) as usize != self.bytes.len() {
            return self.fault("its size is not the one stated");
        }
        let stated_elements = usize::from(u16::from_le_bytes([low, high]));
        let Some((&LISTPACK_END, inner)) = self.bytes.split_last() else {
            return self.fault("the end mark is missing");
        };
        self.bytes = inner;
        self.at = HEAD_BYTES;
        let counts = (self.count()?, self.count()?);
        let fields = self.count()?;
        // The same takes fewer bytes here.
        let mut block = Block::with_room(first, self.bytes.len(), fields);
        for _ in 0..fields {
            block.put_field(self.element()?);
        }
        if self.integer()? != 0 {
            return self.fault("the fields of the block have no end");
        }
        block.end_fields();
        self.entries(&mut block, fields)?;
        let (living, dead) = (block.count as usize, block.deleted as usize);
        if living + dead == 0 || (living, dead) != counts {
            return self.fault("the number of entries is not the one stated");
        }
        if stated_elements != ELEMENTS_UNKNOWN && stated_elements != self.elements {
            return self.fault("the number of entries is not the one stated");
        }
        block.close();
        Ok(block)
    }

    /// Walks through the entries up to the end, and adds them to the block.
    fn entries(&mut self, block: &mut Block, fields: usize) -> Result<(), BlockFault> {
        let first = block.first;
        let mut last_living = None;
        while self.at < self.bytes.len() {
            let before = self.elements;
            let at = self.at;
            let flags = self.integer()?;
            if !(0..=DELETED | SAME_FIELDS).contains(&flags)
                || self.bytes.get(at) != Some(&(flags as u8))
            {
                return self.fault("an entry has unknown flags");
            }
            let (ms, seq) = (self.integer()? as u64, self.integer()? as u64);
            let id = StreamId::new(first.ms.wrapping_add(ms), first.seq.wrapping_add(seq));
            let is_same = flags & SAME_FIELDS != 0;
            let pairs = if is_same { fields } else { self.count()? };
            let is_deleted = flags & DELETED != 0;
            block.begin(block.new_entry(id, pairs, is_same, is_deleted));
            for _ in 0..if is_same { pairs } else { 2 * pairs } {
                block.put_text(self.element()?);
            }
            let parts = self.elements - before;
            if self.count()? != parts {
                return self.fault("an entry has another number of parts than stated");
            }
            if is_deleted {
                continue;
            }
            if id < first || last_living.is_some_and(|before| before >= id) {
                return self.fault("its ids are not in ascending order");
            }
            last_living = Some(id);
        }
        Ok(())
    }
}
