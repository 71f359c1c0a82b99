//! One block of a stream: entries one behind the other, in the form in which Redis keeps and dumps
//! them.
//!
//! ```text
//!   block:  fields | field ... | 0 | entry | entry ...            each part one listpack element
//!   entry:  flags | ms | seq | value ...                 | parts  with the fields of the block
//!           flags | ms | seq | fields | field | value ...| parts  with fields of its own
//!   flags:  1 it was deleted, 2 it has the fields of the block
//! ```
//!
//! The fields of the first entry are those of the block, and entries that have the same name none.
//! An id is told as its distance from that of the first entry. The last part of an entry says how
//! many parts it has before that one, so that a block can be walked through from either end.
//!
//! Entries are only added at the end, and a deletion changes one byte, so the place of an entry in
//! its block is its place for good. In a dump the numbers of entries and of deleted entries come
//! first, between head and end of a listpack; here they are beside the bytes.
//!
//! Ids of deleted entries need not be in order (XSETID), those of others are.

use crate::data::listpack::{self, Element, put_bytes, put_integer};
use crate::data::stream_id::StreamId;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Parts of an entry beside fields and values: flags and the two parts of the id.
const FIXED_PARTS: i64 = 3;

/// Bytes of all parts of an entry beside fields and values at most, but for long ids.
const FIXED_BYTES_MAX: usize = 24;

const BLOCK_BYTES_MIN: usize = 128;
/// Up to this the room of a block doubles when it is full; beyond it grows by a quarter.
const ROOM_DOUBLED_BYTES_MAX: usize = 2048;
/// No block begins with more room.
const ROOM_FIRST_BYTES_MAX: usize = 4096;

/// A full block may have room for so many bytes more than its own, and for such a part of these.
const SPARE_BYTES: usize = 64;
const SPARE_PART: usize = 64;

/// Head of a listpack: its bytes and the number of its elements.
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

/// A block; see the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The id from which the others are counted.
    pub(super) first: StreamId,
    /// The id of the entry that was added last.
    pub(super) last: StreamId,
    /// Entries that are there.
    pub(super) count: usize,
    /// Entries that were deleted.
    pub(super) deleted: usize,
    /// Elements of the bytes.
    elements: usize,
    /// Where the first entry begins.
    entries_at: usize,
    bytes: Vec<u8>,
}

/// One entry, borrowed from its block.
#[derive(Debug, Clone, Copy)]
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    /// How many pairs of field and value it has.
    pub pairs: usize,
    is_deleted: bool,
    has_block_fields: bool,
    bytes: &'a [u8],
    /// Where its values begin, or its fields and values.
    at: usize,
}

impl<'a> StreamEntry<'a> {
    /// Calls `each` with every field and value in order.
    #[inline]
    pub fn for_each(&self, mut each: impl FnMut(Element<'a>, Element<'a>)) {
        let mut at = self.at;
        let mut field_at = if self.has_block_fields { fields_at(self.bytes) } else { Some(at) };
        for _ in 0..self.pairs {
            let Some((field, field_end)) = field_at.and_then(|at| read(self.bytes, at)) else {
                return;
            };
            if !self.has_block_fields {
                at = field_end;
            }
            let Some((value, value_end)) = read(self.bytes, at) else { return };
            each(field, value);
            at = value_end;
            field_at = Some(if self.has_block_fields { field_end } else { at });
        }
    }
}

#[inline]
fn read(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    listpack::read(bytes, at)
}

/// Where the first field of the block begins.
#[inline]
fn fields_at(bytes: &[u8]) -> Option<usize> {
    listpack::skip(bytes, 0)
}

/// The fields and values of a new entry, in turn.
pub trait Pairs<'p>: Iterator<Item = &'p [u8]> + Clone {}

impl<'p, I: Iterator<Item = &'p [u8]> + Clone> Pairs<'p> for I {}

impl Block {
    /// A block for an entry with these pairs, which is yet to be added; it will have about as many
    /// bytes as the one `before`.
    pub(super) fn new<'p>(id: StreamId, pairs: impl Pairs<'p>, before: Option<&Self>) -> Self {
        let likely = before.map_or(0, |before| before.bytes.len() + before.spare_bytes());
        let room = likely.clamp(BLOCK_BYTES_MIN, ROOM_FIRST_BYTES_MAX);
        let mut bytes = Vec::with_capacity(room);
        let fields = pairs.clone().count() / 2;
        put_integer(&mut bytes, fields as i64);
        pairs.step_by(2).for_each(|field| put_bytes(&mut bytes, field));
        put_integer(&mut bytes, 0);
        let (elements, entries_at) = (fields + 2, bytes.len());
        Self { first: id, last: id, count: 0, deleted: 0, elements, entries_at, bytes }
    }

    /// Bytes that Redis' listpack of this block has.
    pub(super) fn listpack_bytes(&self) -> usize {
        let counts = [self.count, self.deleted].map(|n| listpack::integer_bytes(n as i64));
        HEAD_BYTES + counts.iter().sum::<usize>() + self.bytes.len() + 1
    }

    /// Bytes of memory that it has room for.
    pub(super) fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes of its entries.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// True when `pairs` have the fields of the block, in their order.
    fn has_fields<'p>(&self, pairs: impl Pairs<'p>) -> bool {
        let Some((fields, mut at)) = listpack::read_integer(&self.bytes, 0) else { return false };
        let mut left = fields;
        for field in pairs.step_by(2) {
            match read(&self.bytes, at) {
                Some((own, end)) if left > 0 && own.is(field) => at = end,
                _ => return false,
            }
            left -= 1;
        }
        left == 0
    }

    /// Adds an entry at the end. Cost: O(bytes) amortized.
    pub(super) fn push<'p>(&mut self, id: StreamId, pairs: impl Pairs<'p>) {
        let is_same = self.has_fields(pairs.clone());
        let (mut count, mut len) = (0_usize, FIXED_BYTES_MAX);
        for text in pairs.clone() {
            count += 1;
            len += listpack::text_bytes_max(text.len());
        }
        self.reserve(len);
        let fields = count / 2;
        let bytes = &mut self.bytes;
        put_integer(bytes, if is_same { SAME_FIELDS } else { 0 });
        put_integer(bytes, id.ms.wrapping_sub(self.first.ms) as i64);
        put_integer(bytes, id.seq.wrapping_sub(self.first.seq) as i64);
        let parts = if is_same {
            pairs.skip(1).step_by(2).for_each(|value| put_bytes(bytes, value));
            FIXED_PARTS + fields as i64
        } else {
            put_integer(bytes, fields as i64);
            pairs.for_each(|text| put_bytes(bytes, text));
            FIXED_PARTS + 1 + 2 * fields as i64
        };
        put_integer(bytes, parts);
        self.elements += parts as usize + 1;
        self.count += 1;
        self.last = id;
    }

    /// Makes room for so many bytes: twice as much as there is while the block is small.
    fn reserve(&mut self, additional: usize) {
        let wanted = self.bytes.len() + additional;
        let room = self.bytes.capacity();
        if wanted > room {
            let larger = match room {
                ..ROOM_DOUBLED_BYTES_MAX => 2 * room,
                _ => room + room / 4,
            };
            self.bytes.reserve_exact(wanted.max(larger) - self.bytes.len());
        }
    }

    /// Bytes of room beyond its own that a full block may keep.
    fn spare_bytes(&self) -> usize {
        SPARE_BYTES + self.bytes.len() / SPARE_PART
    }

    /// Gives back the room for more entries: the block takes no more. Cost: O(bytes).
    pub(super) fn close(&mut self) {
        if self.bytes.capacity() - self.bytes.len() > self.spare_bytes() {
            // Shrunk in its place it would keep the room, up to twice of what it needs.
            self.bytes = Vec::from(self.bytes.as_slice());
        }
    }

    /// Where the first entry begins.
    #[inline]
    pub(super) fn start(&self) -> usize {
        self.entries_at
    }

    /// Where the last entry ends.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// The entry that begins at `at`, and where it ends; `None` at the end. Cost: O(fields).
    #[inline]
    pub(super) fn entry(&self, at: usize) -> Option<(StreamEntry<'_>, usize)> {
        let bytes = &self.bytes[..];
        if at >= bytes.len() {
            return None;
        }
        let (flags, at) = listpack::read_integer(bytes, at)?;
        let (ms, at) = listpack::read_integer(bytes, at)?;
        let (seq, at) = listpack::read_integer(bytes, at)?;
        let has_block_fields = flags & SAME_FIELDS != 0;
        let (pairs, at) = match has_block_fields {
            true => (listpack::read_integer(bytes, 0)?.0, at),
            false => listpack::read_integer(bytes, at)?,
        };
        let pairs = usize::try_from(pairs).ok()?;
        let id = StreamId {
            ms: self.first.ms.wrapping_add(ms as u64),
            seq: self.first.seq.wrapping_add(seq as u64),
        };
        let is_deleted = flags & DELETED != 0;
        let entry = StreamEntry { id, pairs, is_deleted, has_block_fields, bytes, at };
        let mut end = at;
        for _ in 0..if has_block_fields { pairs } else { 2 * pairs } {
            end = listpack::skip(bytes, end)?;
        }
        Some((entry, listpack::skip(bytes, end)?))
    }

    /// Where the entry begins that ends at `end`; `None` at the start. Cost: O(fields).
    #[inline]
    pub(super) fn entry_before(&self, end: usize) -> Option<usize> {
        if end <= self.entries_at {
            return None;
        }
        let mut at = listpack::start_before(&self.bytes, end)?;
        for _ in 0..listpack::read_integer(&self.bytes, at)?.0 {
            at = listpack::start_before(&self.bytes, at)?;
        }
        Some(at)
    }

    /// Where an entry begins such that no living one from `id` on is before it, and no living one
    /// before `id` behind it: the end when there is none. Cost: O(distance from the nearer end),
    /// judged by the ids.
    pub(super) fn find(&self, id: StreamId) -> usize {
        if id <= self.first {
            return self.start();
        }
        let span = self.last.as_number().saturating_sub(self.first.as_number());
        let distance = id.as_number() - self.first.as_number();
        if distance > span / 2 { self.find_from_end(id) } else { self.find_from_start(id) }
    }

    fn find_from_start(&self, id: StreamId) -> usize {
        let mut at = self.start();
        while let Some((entry, end)) = self.entry(at) {
            if entry.id >= id && !entry.is_deleted {
                return at;
            }
            at = end;
        }
        self.end()
    }

    fn find_from_end(&self, id: StreamId) -> usize {
        let mut end = self.end();
        while let Some(at) = self.entry_before(end) {
            match self.entry(at) {
                Some((entry, _)) if entry.is_deleted || entry.id >= id => end = at,
                _ => return end,
            }
        }
        end
    }

    /// The first entry that is there from `at` on, and where it ends.
    #[inline]
    pub(super) fn living(&self, mut at: usize) -> Option<(StreamEntry<'_>, usize)> {
        loop {
            let (entry, end) = self.entry(at)?;
            if !entry.is_deleted {
                return Some((entry, end));
            }
            at = end;
        }
    }

    /// The last entry that is there up to `end`, and where it begins.
    #[inline]
    pub(super) fn living_before(&self, mut end: usize) -> Option<(StreamEntry<'_>, usize)> {
        loop {
            let at = self.entry_before(end)?;
            let (entry, _) = self.entry(at)?;
            if !entry.is_deleted {
                return Some((entry, at));
            }
            end = at;
        }
    }

    /// The entry with this id, and where it begins.
    pub(super) fn get(&self, id: StreamId) -> Option<(StreamEntry<'_>, usize)> {
        let mut at = self.find(id);
        while let Some((entry, end)) = self.entry(at) {
            match entry.is_deleted {
                true => at = end,
                false if entry.id == id => return Some((entry, at)),
                false => return None,
            }
        }
        None
    }

    /// Marks the entry that begins at `at`, which is there, as deleted.
    pub(super) fn delete(&mut self, at: usize) {
        // Flags are one byte.
        if let Some(flags) = self.bytes.get_mut(at) {
            *flags |= DELETED as u8;
            self.count -= 1;
            self.deleted += 1;
        }
    }

    /// Marks entries from the first one on as deleted while `goes` says so of their ids; returns
    /// how many were there.
    pub(super) fn delete_front(&mut self, mut goes: impl FnMut(StreamId, usize) -> bool) -> usize {
        let (mut at, mut gone) = (self.start(), 0);
        loop {
            let Some((entry, end)) = self.entry(at) else { return gone };
            let (id, is_deleted) = (entry.id, entry.is_deleted);
            if !goes(id, gone) {
                return gone;
            }
            if !is_deleted {
                self.delete(at);
                gone += 1;
            }
            at = end;
        }
    }

    /// Appends the block as Redis' listpack.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let len = u32::try_from(self.listpack_bytes()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        let elements = (self.elements + 2).min(ELEMENTS_UNKNOWN);
        out.extend_from_slice(&(elements as u16).to_le_bytes());
        put_integer(out, self.count as i64);
        put_integer(out, self.deleted as i64);
        out.extend_from_slice(&self.bytes);
        out.push(LISTPACK_END);
    }

    /// The block that this listpack is. Cost: O(bytes), nothing is copied.
    ///
    /// Errors: whatever does not fit together.
    pub(super) fn parse(first: StreamId, listpack: Vec<u8>) -> Result<Self, BlockFault> {
        Parser { bytes: &listpack, at: 0, elements: 0 }.block(first).map(|(block, from)| {
            let mut bytes = listpack;
            bytes.pop();
            bytes.drain(..from);
            bytes.shrink_to_fit();
            Self { bytes, ..block }
        })
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

    fn element(&mut self) -> Result<Element<'a>, BlockFault> {
        let Some((element, end)) = read(self.bytes, self.at) else {
            return self.fault("it ends in the middle of an entry");
        };
        if !listpack::is_sound(self.bytes, self.at, end) {
            return self.fault("a back link is not the length of its entry");
        }
        self.at = end;
        self.elements += 1;
        Ok(element)
    }

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

    /// The block without its bytes, and where these begin.
    fn block(mut self, first: StreamId) -> Result<(Block, usize), BlockFault> {
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
        let (count, deleted) = (self.count()?, self.count()?);
        let from = self.at;
        let elements_before = self.elements;
        let fields = self.count()?;
        for _ in 0..fields {
            self.element()?;
        }
        if self.integer()? != 0 {
            return self.fault("the fields of the block have no end");
        }
        let entries_at = self.at - from;
        let last = self.entries(first, fields, (count, deleted))?;
        if stated_elements != ELEMENTS_UNKNOWN && stated_elements != self.elements {
            return self.fault("the number of entries is not the one stated");
        }
        let elements = self.elements - elements_before;
        let bytes = Vec::new();
        Ok((Block { first, last, count, deleted, elements, entries_at, bytes }, from))
    }

    /// Walks through the entries up to the end; returns the id of the last one.
    fn entries(
        &mut self,
        first: StreamId,
        fields: usize,
        (count, deleted): (usize, usize),
    ) -> Result<StreamId, BlockFault> {
        let (mut living, mut dead) = (0, 0);
        let (mut last, mut last_living) = (first, None);
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
            last = StreamId { ms: first.ms.wrapping_add(ms), seq: first.seq.wrapping_add(seq) };
            let texts = match flags & SAME_FIELDS != 0 {
                true => fields,
                false => 2 * self.count()?,
            };
            for _ in 0..texts {
                self.element()?;
            }
            let parts = self.elements - before;
            if self.count()? != parts {
                return self.fault("an entry has another number of parts than stated");
            }
            if flags & DELETED != 0 {
                dead += 1;
                continue;
            }
            if last < first || last_living.is_some_and(|before| before >= last) {
                return self.fault("its ids are not in ascending order");
            }
            last_living = Some(last);
            living += 1;
        }
        if living + dead == 0 || (living, dead) != (count, deleted) {
            return self.fault("the number of entries is not the one stated");
        }
        Ok(last)
    }
}
