//! One block of a stream: entries one behind the other, denser than Redis' listpack of the same
//! entries.
//!
//! ```text
//!   block:  fields | field ... | entry | entry ...
//!   entry:  head | [ link ] | [ id ] | value ...                  with the fields of the block
//!           head | [ link ] | [ id ] | pairs | field | value ...  with fields of its own
//!   head:   bit 0 it was deleted, bit 1 it has the fields of the block, bit 2 it begins a group,
//!           5 bits step: how the id follows from the one before
//!   step:   0        the next number of the same millisecond
//!           1 .. 28  so many milliseconds later, number 0
//!           29       <milliseconds later>, number 0
//!           30       in the same millisecond, <numbers later>
//!           31       <milliseconds later>, <number>
//!   fields, link, parts of an id, pairs: 7 bits a byte, low ones first
//! ```
//!
//! The fields of the first entry are those of the block, and entries that have the same name none.
//! Every 16 entries are a group. The id of its first entry follows from that of the block, and its
//! link says how many bytes before it the group before begins: so entries are looked for, and read
//! backwards, from group to group, and only within a group one after the other from its start.
//!
//! Entries are only added at the end, and a deletion changes one bit, so the place of an entry in
//! its block is its place for good. How many bytes Redis' listpack would have is counted beside the
//! bytes, because that decides when a block is full (`stream_listpack` turns one into the other).
//!
//! Ids of deleted entries need not be in order (XSETID), those of others are. Differences between
//! ids wrap around.

use crate::data::listpack::{element_bytes, integer_bytes};
use crate::data::stream_element::{self, Element};
use crate::data::stream_id::StreamId;
use smallvec::SmallVec;

const DELETED: u8 = 1;
const SAME_FIELDS: u8 = 2;
const BEGINS_GROUP: u8 = 4;
const STEP_SHIFT: u32 = 3;

const STEP_NEXT_NUMBER: u8 = 0;
/// Up to this the step itself says how many milliseconds later.
const STEP_MS_MAX: u8 = 28;
const STEP_MS: u8 = 29;
const STEP_NUMBERS: u8 = 30;
const STEP_BOTH: u8 = 31;

const GROUP_ENTRIES: usize = 16;
/// Parts of an entry in a listpack beside fields and values: flags and the two parts of the id.
const FIXED_PARTS: usize = 3;
/// In a listpack flags take so many bytes, and so does what ends the fields of the block.
const SMALL_INTEGER_BYTES: usize = 2;
/// Head of a listpack, its bytes and the number of its elements, and its end mark.
const FRAME_BYTES: usize = 7;

/// What an entry takes before its texts at most.
const HEAD_BYTES_MAX: usize = 48;

const BLOCK_BYTES_MIN: usize = 128;
/// No block begins with more room.
const ROOM_FIRST_BYTES_MAX: usize = 4096;
/// Allocators have so many sizes up to each doubling, so room between two of them is never used.
const SIZES_PER_DOUBLING: usize = 4;

/// A block; see the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The id from which those of the groups follow.
    pub(super) first: StreamId,
    /// The id of the entry that was added last.
    pub(super) last: StreamId,
    bytes: Vec<u8>,
    /// Entries that are there.
    pub(super) count: u32,
    /// Entries that were deleted.
    pub(super) deleted: u32,
    /// What a listpack would have between its frame and its two counters.
    listpack_bytes: u32,
    /// Where the first entry begins.
    entries_at: u32,
    /// Where the last group begins.
    group_at: u32,
}

/// Where an entry begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    at: usize,
    /// The id of the entry before it, from which its own follows.
    before: StreamId,
}

/// The places of entries of a group.
pub(super) type Places = SmallVec<[Place; GROUP_ENTRIES]>;

/// One entry, borrowed from its block.
#[derive(Debug, Clone, Copy)]
pub struct StreamEntry<'a> {
    /// Its id.
    pub id: StreamId,
    /// How many pairs of field and value it has.
    pub pairs: usize,
    pub(super) is_deleted: bool,
    pub(super) has_block_fields: bool,
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

    /// How many texts are stored of it: values, and fields that are its own.
    #[inline]
    fn text_count(&self) -> usize {
        if self.has_block_fields { self.pairs } else { 2 * self.pairs }
    }

    /// Calls `each` with every text that is stored of it; returns where the next entry would begin.
    pub(super) fn for_each_text(&self, mut each: impl FnMut(Element<'a>)) -> Option<Place> {
        let mut at = self.at;
        for _ in 0..self.text_count() {
            let (text, end) = read(self.bytes, at)?;
            each(text);
            at = end;
        }
        Some(Place { at, before: self.id })
    }

    #[inline]
    fn end(&self) -> Option<usize> {
        let mut at = self.at;
        for _ in 0..self.text_count() {
            at = stream_element::skip(self.bytes, at)?;
        }
        Some(at)
    }
}

#[inline]
fn read(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    stream_element::read(bytes, at)
}

#[inline]
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn read_number(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for (index, byte) in bytes.get(at..)?.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7F) << (7 * index);
        if *byte < 0x80 {
            return Some((number, at + index + 1));
        }
    }
    None
}

/// Where the first field of the block begins.
#[inline]
fn fields_at(bytes: &[u8]) -> Option<usize> {
    read_number(bytes, 0).map(|(_, end)| end)
}

/// How `id` follows from `before`: the step, and what is written of it.
#[inline]
fn step(before: StreamId, id: StreamId) -> (u8, Option<u64>, Option<u64>) {
    let ms = id.ms.wrapping_sub(before.ms);
    match (ms, id.seq, id.seq.wrapping_sub(before.seq)) {
        (0, _, 1) => (STEP_NEXT_NUMBER, None, None),
        (0, _, numbers) => (STEP_NUMBERS, Some(numbers), None),
        (1.., 0, _) if ms <= u64::from(STEP_MS_MAX) => (ms as u8, None, None),
        (_, 0, _) => (STEP_MS, Some(ms), None),
        (_, seq, _) => (STEP_BOTH, Some(ms), Some(seq)),
    }
}

/// The id that follows from `before` by the step, of which the rest is at `at`; and where that
/// ends.
#[inline]
fn read_id(bytes: &[u8], at: usize, step: u8, before: StreamId) -> Option<(StreamId, usize)> {
    let later = |ms: u64| before.ms.wrapping_add(ms);
    Some(match step {
        STEP_NEXT_NUMBER => (StreamId::new(before.ms, before.seq.wrapping_add(1)), at),
        1..=STEP_MS_MAX => (StreamId::new(later(u64::from(step)), 0), at),
        STEP_MS => {
            let (ms, at) = read_number(bytes, at)?;
            (StreamId::new(later(ms), 0), at)
        }
        STEP_NUMBERS => {
            let (numbers, at) = read_number(bytes, at)?;
            (StreamId::new(before.ms, before.seq.wrapping_add(numbers)), at)
        }
        _ => {
            let (ms, at) = read_number(bytes, at)?;
            let (seq, at) = read_number(bytes, at)?;
            (StreamId::new(later(ms), seq), at)
        }
    })
}

/// The least of the allocators' sizes for so many bytes.
fn allocated_bytes(bytes: usize) -> usize {
    let unit = (bytes.next_power_of_two() / 2 / SIZES_PER_DOUBLING).max(16);
    bytes.next_multiple_of(unit)
}

/// The fields and values of a new entry.
pub trait Pairs<'p>: Iterator<Item = (&'p [u8], &'p [u8])> + Clone {}

impl<'p, I: Iterator<Item = (&'p [u8], &'p [u8])> + Clone> Pairs<'p> for I {}

impl Block {
    /// A block for an entry with these pairs, which is yet to be added; it will have about as many
    /// bytes as the one `before`.
    pub(super) fn new<'p>(id: StreamId, pairs: impl Pairs<'p>, before: Option<&Self>) -> Self {
        let likely = before.map_or(0, |before| before.bytes.len());
        let room = allocated_bytes(likely.clamp(BLOCK_BYTES_MIN, ROOM_FIRST_BYTES_MAX));
        let fields = pairs.map(|(field, _)| Element::of(field));
        let mut block = Self::with_room(id, room, fields.clone().count());
        fields.for_each(|field| block.put_field(field));
        block.end_fields();
        block
    }

    /// A block without entries that will have so many fields, which are to be put now.
    pub(super) fn with_room(first: StreamId, room: usize, fields: usize) -> Self {
        let mut bytes = Vec::with_capacity(room);
        put_number(&mut bytes, fields as u64);
        let listpack_bytes = integer_bytes(fields as i64) as u32;
        let (count, deleted, entries_at, group_at) = (0, 0, 0, 0);
        Self { first, last: first, bytes, count, deleted, listpack_bytes, entries_at, group_at }
    }

    /// Adds a field of the block.
    pub(super) fn put_field(&mut self, field: Element<'_>) {
        field.put(&mut self.bytes);
        self.count_listpack(element_bytes(field));
    }

    /// Entries follow.
    pub(super) fn end_fields(&mut self) {
        self.count_listpack(SMALL_INTEGER_BYTES);
        self.entries_at = self.bytes.len() as u32;
        self.group_at = self.entries_at;
    }

    fn count_listpack(&mut self, bytes: usize) {
        self.listpack_bytes = self.listpack_bytes.saturating_add(bytes as u32);
    }

    /// Bytes that Redis' listpack of this block has.
    pub(super) fn listpack_bytes(&self) -> usize {
        let counts = [self.count, self.deleted].map(|n| integer_bytes(i64::from(n)));
        FRAME_BYTES + counts.iter().sum::<usize>() + self.listpack_bytes as usize
    }

    /// Bytes of memory that it has room for.
    pub(super) fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes of its entries.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The number of its fields, and these.
    pub(super) fn fields(&self) -> (usize, impl Iterator<Item = Element<'_>>) {
        let (count, mut at) = read_number(&self.bytes, 0).unwrap_or_default();
        let fields = (0..count).map_while(move |_| {
            let (field, end) = read(&self.bytes, at)?;
            at = end;
            Some(field)
        });
        (count as usize, fields)
    }

    /// True when `pairs` have the fields of the block, in their order.
    #[inline]
    fn has_fields<'p>(&self, pairs: impl Pairs<'p>) -> bool {
        let Some((mut left, mut at)) = read_number(&self.bytes, 0) else { return false };
        for (field, _) in pairs {
            match read(&self.bytes, at) {
                Some((own, end)) if left > 0 && own.is(field) => at = end,
                _ => return false,
            }
            left -= 1;
        }
        left == 0
    }

    /// Adds an entry with so many pairs, which have so many bytes together, at the end. Cost:
    /// O(bytes) amortized.
    pub(super) fn push<'p>(
        &mut self,
        id: StreamId,
        pairs: impl Pairs<'p>,
        (count, bytes): (usize, usize),
    ) {
        let is_same = self.has_fields(pairs.clone());
        let entry = self.new_entry(id, count, is_same, false);
        let most = HEAD_BYTES_MAX + 2 * count * stream_element::HEAD_BYTES_MAX + bytes;
        if most > self.bytes.capacity() - self.bytes.len() {
            self.make_room(entry, pairs.clone());
        }
        self.begin(entry);
        let mut listpack_bytes = 0;
        let mut put = |text| {
            let element = Element::of(text);
            element.put(&mut self.bytes);
            listpack_bytes += element_bytes(element);
        };
        for (field, value) in pairs {
            if !is_same {
                put(field);
            }
            put(value);
        }
        self.count_listpack(listpack_bytes);
    }

    /// An entry to be added.
    #[inline]
    pub(super) fn new_entry(
        &self,
        id: StreamId,
        pairs: usize,
        is_same: bool,
        is_deleted: bool,
    ) -> NewEntry {
        let begins_group = ((self.count + self.deleted) as usize).is_multiple_of(GROUP_ENTRIES);
        let before = if begins_group { self.first } else { self.last };
        NewEntry { id, pairs, is_same, is_deleted, begins_group, before }
    }

    /// Adds an entry, whose texts are to be put now.
    #[inline]
    pub(super) fn begin(&mut self, entry: NewEntry) {
        let (at, group) = (self.bytes.len(), self.last_group());
        entry.put(&mut self.bytes, at - group);
        if entry.begins_group {
            self.group_at = at as u32;
        }
        let own_fields = if entry.is_same { 0 } else { integer_bytes(entry.pairs as i64) };
        let ms_bytes = integer_bytes(entry.id.ms.wrapping_sub(self.first.ms) as i64);
        let seq_bytes = integer_bytes(entry.id.seq.wrapping_sub(self.first.seq) as i64);
        let parts_bytes = integer_bytes(listpack_parts(entry.is_same, entry.pairs) as i64);
        let bytes = SMALL_INTEGER_BYTES + ms_bytes + seq_bytes + own_fields + parts_bytes;
        self.count_listpack(bytes);
        *(if entry.is_deleted { &mut self.deleted } else { &mut self.count }) += 1;
        self.last = entry.id;
    }

    /// Adds a text to the entry that was begun.
    #[inline]
    pub(super) fn put_text(&mut self, text: Element<'_>) {
        text.put(&mut self.bytes);
        self.count_listpack(element_bytes(text));
    }

    /// Makes room for an entry: half as much again as there is while the block is small, a quarter
    /// beyond.
    #[cold]
    fn make_room<'p>(&mut self, entry: NewEntry, pairs: impl Pairs<'p>) {
        let mut head = Vec::new();
        entry.put(&mut head, self.bytes.len() - self.last_group());
        let bytes = |text| Element::of(text).bytes();
        let texts =
            pairs.map(|(field, value)| bytes(value) + if entry.is_same { 0 } else { bytes(field) });
        let wanted = self.bytes.len() + head.len() + texts.sum::<usize>();
        let room = self.bytes.capacity();
        if wanted > room {
            let larger = room + if room < ROOM_FIRST_BYTES_MAX / 2 { room / 2 } else { room / 4 };
            self.bytes.reserve_exact(allocated_bytes(wanted.max(larger)) - self.bytes.len());
        }
    }

    /// Gives back the room for more entries: the block takes no more. Cost: O(bytes).
    pub(super) fn close(&mut self) {
        if allocated_bytes(self.bytes.len()) < allocated_bytes(self.bytes.capacity()) {
            // Shrunk in its place it would keep the room, up to twice of what it needs.
            self.bytes = Vec::from(self.bytes.as_slice());
        }
    }

    #[inline]
    fn start_at(&self) -> usize {
        self.entries_at as usize
    }

    /// Where the first entry begins.
    #[inline]
    pub(super) fn start(&self) -> Place {
        Place { at: self.start_at(), before: self.first }
    }

    /// Where the last entry ends.
    #[inline]
    pub(super) fn end(&self) -> Place {
        Place { at: self.bytes.len(), before: self.last }
    }

    /// The entry that begins there; `None` at the end. Cost: O(1).
    #[inline]
    pub(super) fn entry_at(&self, place: Place) -> Option<StreamEntry<'_>> {
        let bytes = &self.bytes[..];
        let head = *bytes.get(place.at)?;
        let (mut at, mut before) = (place.at + 1, place.before);
        if head & BEGINS_GROUP != 0 {
            (_, at) = read_number(bytes, at)?;
            before = self.first;
        }
        let (id, at) = read_id(bytes, at, head >> STEP_SHIFT, before)?;
        let has_block_fields = head & SAME_FIELDS != 0;
        let (pairs, at) = match has_block_fields {
            true => (read_number(bytes, 0)?.0, at),
            false => read_number(bytes, at)?,
        };
        let (pairs, is_deleted) = (usize::try_from(pairs).ok()?, head & DELETED != 0);
        Some(StreamEntry { id, pairs, is_deleted, has_block_fields, bytes, at })
    }

    /// The entry that begins there, and where the next one would; `None` at the end. Cost:
    /// O(fields).
    #[inline]
    pub(super) fn entry(&self, place: Place) -> Option<(StreamEntry<'_>, Place)> {
        let entry = self.entry_at(place)?;
        Some((entry, Place { at: entry.end()?, before: entry.id }))
    }

    /// Where the last group begins.
    pub(super) fn last_group(&self) -> usize {
        self.group_at as usize
    }

    /// Where the group before the one that begins at `group` begins. Cost: O(1).
    pub(super) fn group_before(&self, group: usize) -> Option<usize> {
        let head = self.bytes.get(group)?;
        let (link, _) = read_number(&self.bytes, group + 1)?;
        if head & BEGINS_GROUP == 0 {
            return None;
        }
        group.checked_sub(usize::try_from(link).ok()?)
    }

    /// The entries that are there of the group that begins at `group`, and before `end`.
    pub(super) fn living_places(&self, group: usize, end: usize) -> Places {
        let mut places = Places::new();
        let mut place = Place { at: group, before: self.first };
        while place.at < end
            && let Some((entry, next)) = self.entry(place)
        {
            if !entry.is_deleted {
                places.push(place);
            }
            place = next;
        }
        places
    }

    /// The last group that begins before `end`, the first one if none does; and which of its
    /// entries are there before `end`.
    pub(super) fn group_up_to(&self, end: Place) -> (usize, Places) {
        let mut group = self.last_group();
        while group >= end.at
            && let Some(before) = self.group_before(group)
        {
            group = before;
        }
        (group, self.living_places(group, end.at))
    }

    /// The id of the last entry that is there.
    pub(super) fn last_living(&self) -> Option<StreamId> {
        let (mut group, mut places) = self.group_up_to(self.end());
        loop {
            if let Some(place) = places.last() {
                return self.entry_at(*place).map(|entry| entry.id);
            }
            let before = self.group_before(group)?;
            places = self.living_places(before, group);
            group = before;
        }
    }

    /// Where an entry begins such that no living one from `id` on is before it, and no living one
    /// before `id` behind it: the end when there is none. Cost: O(groups).
    pub(super) fn find(&self, id: StreamId) -> Place {
        if id <= self.first {
            return self.start();
        }
        if id > self.last && self.deleted == 0 {
            return self.end();
        }
        let (mut group, mut end) = (self.last_group(), self.bytes.len());
        while !self.group_begins_up_to(id, group, end)
            && let Some(before) = self.group_before(group)
        {
            (group, end) = (before, group);
        }
        let mut place = Place { at: group, before: self.first };
        while let Some((entry, next)) = self.entry(place) {
            if entry.id >= id && !entry.is_deleted {
                return place;
            }
            place = next;
        }
        self.end()
    }

    /// True when the first entry that is there in the group has an id up to `id`: the ids of
    /// deleted ones say nothing.
    fn group_begins_up_to(&self, id: StreamId, group: usize, end: usize) -> bool {
        let mut place = Place { at: group, before: self.first };
        while place.at < end
            && let Some(entry) = self.entry_at(place)
        {
            if !entry.is_deleted {
                return entry.id <= id;
            }
            let Some(at) = entry.end() else { return false };
            place = Place { at, before: entry.id };
        }
        false
    }

    /// The first entry that is there from `place` on, and where it ends.
    #[inline]
    pub(super) fn living(&self, mut place: Place) -> Option<(StreamEntry<'_>, Place)> {
        loop {
            let (entry, end) = self.entry(place)?;
            if !entry.is_deleted {
                return Some((entry, end));
            }
            place = end;
        }
    }

    /// The entry with this id, and where it begins.
    pub(super) fn get(&self, id: StreamId) -> Option<(StreamEntry<'_>, Place)> {
        // Before the entry may be deleted ones.
        let mut place = self.find(id);
        loop {
            let (entry, end) = self.entry(place)?;
            match entry.is_deleted {
                true => place = end,
                false if entry.id == id => return Some((entry, place)),
                false => return None,
            }
        }
    }

    /// Marks the entry that begins there, which is there, as deleted.
    pub(super) fn delete(&mut self, place: Place) {
        if let Some(head) = self.bytes.get_mut(place.at) {
            *head |= DELETED;
            self.count -= 1;
            self.deleted += 1;
        }
    }

    /// Marks entries from the first one on as deleted while `goes` says so of their ids; returns
    /// how many were there.
    pub(super) fn delete_front(&mut self, mut goes: impl FnMut(StreamId, usize) -> bool) -> usize {
        let (mut place, mut gone) = (self.start(), 0);
        loop {
            let Some((entry, end)) = self.entry(place) else { return gone };
            let (id, is_deleted) = (entry.id, entry.is_deleted);
            if !goes(id, gone) {
                return gone;
            }
            if !is_deleted {
                self.delete(place);
                gone += 1;
            }
            place = end;
        }
    }
}

/// An entry that is to be added, but for its texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewEntry {
    id: StreamId,
    pairs: usize,
    /// It has the fields of the block.
    is_same: bool,
    is_deleted: bool,
    begins_group: bool,
    /// The id from which its own follows.
    before: StreamId,
}

impl NewEntry {
    /// Appends what stands before its texts; the last group began so many bytes before, the one
    /// that it begins itself included.
    #[inline]
    fn put(&self, out: &mut Vec<u8>, group_distance: usize) {
        let (step, one, two) = step(self.before, self.id);
        let mut head = step << STEP_SHIFT;
        head |= if self.is_deleted { DELETED } else { 0 };
        head |= if self.is_same { SAME_FIELDS } else { 0 };
        if self.begins_group && group_distance > 0 {
            out.push(head | BEGINS_GROUP);
            put_number(out, group_distance as u64);
        } else {
            out.push(head);
        }
        if let Some(one) = one {
            put_number(out, one);
        }
        if let Some(two) = two {
            put_number(out, two);
        }
        if !self.is_same {
            put_number(out, self.pairs as u64);
        }
    }
}

/// Parts that an entry has in a listpack before the one that counts them.
#[inline]
pub(super) fn listpack_parts(is_same: bool, pairs: usize) -> usize {
    FIXED_PARTS + if is_same { pairs } else { 1 + 2 * pairs }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
