//! A hash table that grows in bounded steps and can be walked while it changes.
//!
//! Extendible hashing over small tables: a directory indexed by the top bits of the hash points to
//! segments of at most [`Store::ENTRIES_MAX`] entries, and a full segment splits alone.
//! No insert ever rehashes more than one segment, where a single large table would stop the world
//! for as long as rehashing all of it takes.
//!
//! ```text
//!   directory (2^depth)  [00] [01] [10] [11]       segments in the order of positions:
//!                          \   /    |    |          a segment of depth d holds all entries
//!   segments              {0*}    {10}  {11}        that share their first d bits
//! ```
//!
//! What a segment keeps its entries in is a [`Store`]: a hashbrown table, which finds fastest, or a
//! [`TaggedVec`], which takes the least memory.
//!
//! Because every segment covers one range of [`Position`]s, a position is a cursor that stays
//! exact over splits and merges: a walk visits what was there the whole time exactly once.
//! Linear hashing was rejected because its order of splits has nothing to do with the hash order.

mod sample;

use crate::data::tagged::TaggedVec;
use crate::util::hash::{KeyHash, PLACE_BITS_MAX, POSITION_BITS, POSITION_END, Position};
use crate::util::random::Random;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hint;
use std::marker::PhantomData;
use std::sync::Arc;

/// A segment that is a hash table splits with so many entries before it takes another: 7/8 of 512
/// buckets.
pub const SEGMENT_ENTRIES_MAX: usize = 448;
/// Two neighbours merge when together they have no more than this part of what splits one.
const MERGE_DIVISOR: usize = 4;
/// The directory doubles only while it has no more places than these allow, so that entries with
/// equal hashes overfill their segment instead of filling the memory with directory.
const DIRECTORY_PLACES_MIN: usize = 1024;
const DIRECTORY_PLACES_PER_SEGMENT: usize = 32;
/// Tables with no more room than this are never shrunk.
const SHRINK_CAPACITY_MIN: usize = 28;
/// So many segments at most stand for all when the memory is judged.
const SAMPLED_SEGMENTS_MAX: usize = 4;

/// What the table stores: something with a hash that it can compute again.
pub trait Hashed: Clone {
    /// The hash by which the entry is found.
    fn hash(&self) -> KeyHash;
    /// Roughly how many bytes it takes beside its place in the table.
    fn heap_bytes(&self) -> usize;
}

/// How a segment is held: owned, or shared and copied when changed.
pub trait Hold<S: Clone>: Clone {
    /// Takes a segment in.
    fn new(segment: S) -> Self;
    /// The segment for reading.
    fn get(&self) -> &S;
    /// The segment for changing; a shared one is copied first.
    fn get_mut(&mut self) -> &mut S;
    /// True when `get_mut` would copy it.
    fn is_shared(&self) -> bool;
}

/// A segment that belongs to one table.
#[derive(Debug, Clone)]
pub struct Owned<S>(Box<S>);

impl<S: Clone> Hold<S> for Owned<S> {
    fn new(segment: S) -> Self {
        Self(Box::new(segment))
    }
    #[inline]
    fn get(&self) -> &S {
        &self.0
    }
    #[inline]
    fn get_mut(&mut self) -> &mut S {
        &mut self.0
    }
    #[inline]
    fn is_shared(&self) -> bool {
        false
    }
}

/// A segment that clones of the table share until one changes it.
impl<S: Clone> Hold<S> for Arc<S> {
    fn new(segment: S) -> Self {
        Arc::new(segment)
    }
    #[inline]
    fn get(&self) -> &S {
        self
    }
    #[inline]
    fn get_mut(&mut self) -> &mut S {
        Arc::make_mut(self)
    }
    #[inline]
    fn is_shared(&self) -> bool {
        Arc::strong_count(self) > 1
    }
}

/// What a segment keeps its entries in. An entry stands in a place, a number below
/// [`places`](Self::places), until the next change.
pub trait Store<T: Hashed>: Clone + Default + IntoIterator<Item = T> {
    /// A segment with this many entries splits before it takes another.
    const ENTRIES_MAX: usize;
    /// No segment with so few entries has more places.
    const PLACES_MAX: usize;
    /// An empty one with room for `entries`.
    fn with_capacity(entries: usize) -> Self;
    /// Number of entries.
    fn count(&self) -> usize;
    /// How many places there are, taken or not.
    fn places(&self) -> usize;
    /// The place of the entry that `equal` accepts.
    fn find(&self, hash: KeyHash, equal: impl FnMut(&T) -> bool) -> Option<usize>;
    /// The entry at a place.
    fn get(&self, place: usize) -> Option<&T>;
    /// The entry at a place, to change it.
    fn get_mut(&mut self, place: usize) -> Option<&mut T>;
    /// Entries that might be the one with this hash, most likely only that one; it need not be
    /// among them. Loads the first bytes of the search, not yet an entry.
    fn candidates<'a>(&'a self, hash: KeyHash) -> impl Iterator<Item = &'a T>
    where
        T: 'a;
    /// Adds an entry that is not there; returns its place.
    fn insert(&mut self, hash: KeyHash, entry: T) -> usize;
    /// Removes the entry at a place.
    fn remove(&mut self, place: usize) -> Option<T>;
    /// All entries.
    fn iter<'a>(&'a self) -> impl Iterator<Item = &'a T>
    where
        T: 'a;
    /// Bytes of memory, those behind the entries included. Cost: O(entries).
    fn memory_bytes(&self) -> usize;
    /// Gives memory back when there is far more than the entries need.
    fn shrink(&mut self);
    /// Lends the entry that `equal` accepts to `change`, or adds what it returns for none. True
    /// when an entry was added.
    fn upsert(
        &mut self,
        hash: KeyHash,
        equal: impl FnMut(&T) -> bool,
        change: impl FnOnce(Option<&mut T>) -> Option<T>,
    ) -> bool;
}

impl<T: Hashed> Store<T> for HashTable<T> {
    const ENTRIES_MAX: usize = SEGMENT_ENTRIES_MAX;
    /// Twice what the entries need, because a table full of traces of removed ones grows once.
    const PLACES_MAX: usize = 1024;

    fn with_capacity(entries: usize) -> Self {
        Self::with_capacity(entries)
    }
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }
    fn places(&self) -> usize {
        self.num_buckets()
    }
    #[inline]
    fn find(&self, hash: KeyHash, equal: impl FnMut(&T) -> bool) -> Option<usize> {
        self.find_bucket_index(hash.in_segment(), equal)
    }
    #[inline]
    fn get(&self, place: usize) -> Option<&T> {
        if place < self.num_buckets() { self.get_bucket(place) } else { None }
    }
    #[inline]
    fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.get_bucket_mut(place)
    }
    #[inline]
    fn candidates<'a>(&'a self, hash: KeyHash) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        self.iter_hash(hash.in_segment())
    }
    #[inline]
    fn insert(&mut self, hash: KeyHash, entry: T) -> usize {
        let inserted = self.insert_unique(hash.in_segment(), entry, |e| e.hash().in_segment());
        inserted.bucket_index()
    }
    #[inline]
    fn remove(&mut self, place: usize) -> Option<T> {
        Some(self.get_bucket_entry(place).ok()?.remove().0)
    }
    fn iter<'a>(&'a self) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        self.iter()
    }
    fn memory_bytes(&self) -> usize {
        self.allocation_size() + self.iter().map(Hashed::heap_bytes).sum::<usize>()
    }
    fn shrink(&mut self) {
        let len = self.len();
        if self.capacity() > SHRINK_CAPACITY_MIN && len < self.capacity() / 8 {
            self.shrink_to(2 * len, |e| e.hash().in_segment());
        }
    }
    #[inline]
    fn upsert(
        &mut self,
        hash: KeyHash,
        equal: impl FnMut(&T) -> bool,
        change: impl FnOnce(Option<&mut T>) -> Option<T>,
    ) -> bool {
        match self.entry(hash.in_segment(), equal, |e| e.hash().in_segment()) {
            Entry::Occupied(mut occupied) => {
                change(Some(occupied.get_mut()));
                false
            }
            Entry::Vacant(vacant) => {
                let added = change(None);
                let adds = added.is_some();
                if let Some(entry) = added {
                    vacant.insert(entry);
                }
                adds
            }
        }
    }
}

/// One small table and the range of positions that it covers. Begins where a line of the
/// processor's cache does, so that the tags of a small one are in one line.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Segment<T, S = HashTable<T>> {
    table: S,
    /// Bits of the position, behind the root bits, that all entries share.
    depth: u32,
    first: Position,
    entry: PhantomData<T>,
}

/// A table whose clones share its segments and which takes little memory. Its segments are not as
/// small as they could be, because a clone counts each.
pub type CompactTable<T> = SegmentedTable<T, Arc<Segment<T, TaggedVec<T, 8>>>, TaggedVec<T, 8>>;

/// A table of its own that takes little memory and finds fast.
pub type OwnedTable<T> = SegmentedTable<T, Owned<Segment<T, TaggedVec<T, 4>>>, TaggedVec<T, 4>>;

impl<T: Hashed, S: Store<T>> Segment<T, S> {
    /// Entries that might be the one with this hash, most likely only that one; it need not be
    /// among them. Loads the first bytes of the search, not yet an entry.
    #[inline]
    pub fn candidates(&self, hash: KeyHash) -> impl Iterator<Item = &T> {
        self.table.candidates(hash)
    }

    fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }
}

/// Where an entry stands; valid until the next change of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    segment: usize,
    place: usize,
}

/// A table of segments; see the head of the file.
#[derive(Debug)]
pub struct SegmentedTable<T: Hashed, H: Hold<Segment<T, S>>, S: Store<T> = HashTable<T>> {
    directory: Vec<u32>,
    segments: Vec<H>,
    depth: u32,
    /// Segments whose depth equals the directory's; at 0 the directory halves.
    deepest: usize,
    /// Leading bits that all entries share because they chose this table (the shard's number).
    root_bits: u32,
    first: Position,
    len: usize,
    /// Bytes of segments that were copied because a clone of the table shared them.
    copied_bytes: usize,
    /// No segment has more places; every place is as likely in a draw.
    places_max: usize,
    entry: PhantomData<(T, S)>,
}

impl<T: Hashed, H: Hold<Segment<T, S>>, S: Store<T>> Clone for SegmentedTable<T, H, S> {
    fn clone(&self) -> Self {
        // Counting a reference waits until its piece has come from memory, one after the other.
        // Reading waits for many at once, so they are read first.
        hint::black_box(self.segments.iter().filter(|segment| segment.is_shared()).count());
        Self {
            directory: self.directory.clone(),
            segments: self.segments.clone(),
            entry: PhantomData,
            ..*self
        }
    }
}

impl<T: Hashed, H: Hold<Segment<T, S>>, S: Store<T>> SegmentedTable<T, H, S> {
    /// An empty table for the entries whose hash begins with `root`, a number of `root_bits` bits.
    #[must_use]
    pub fn new(root: usize, root_bits: u32) -> Self {
        let first = (root as u64) << (POSITION_BITS - root_bits);
        let segment = Segment { table: S::default(), depth: 0, first, entry: PhantomData };
        Self {
            directory: vec![0],
            segments: vec![H::new(segment)],
            depth: 0,
            deepest: 1,
            root_bits,
            first,
            len: 0,
            copied_bytes: 0,
            places_max: S::PLACES_MAX,
            entry: PhantomData,
        }
    }

    /// Something to put in the place of a table while it is lent; it may only be replaced again.
    ///
    /// Nothing is allocated.
    #[must_use]
    pub fn vacant() -> Self {
        Self {
            directory: Vec::new(),
            segments: Vec::new(),
            depth: 0,
            deepest: 0,
            root_bits: 0,
            first: 0,
            len: 0,
            copied_bytes: 0,
            places_max: S::PLACES_MAX,
            entry: PhantomData,
        }
    }

    /// Number of entries. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of the segments that were copied because a clone of the table shared them, since
    /// the last call.
    pub fn take_copied_bytes(&mut self) -> usize {
        std::mem::take(&mut self.copied_bytes)
    }

    /// Roughly how many bytes it takes, judged by some segments. Cost: O(entries of a segment).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let step = self.segments.len().div_ceil(SAMPLED_SEGMENTS_MAX).max(1);
        let sampled = self.segments.iter().step_by(step);
        let (count, bytes) = sampled.fold((0_usize, 0_usize), |(count, bytes), segment| {
            (count + 1, bytes + segment.get().memory_bytes())
        });
        bytes / count.max(1) * self.segments.len()
    }

    /// Number of segments.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The first position that the table covers.
    #[must_use]
    pub fn first_position(&self) -> Position {
        self.first
    }

    /// The position behind the last one that the table covers.
    #[must_use]
    pub fn end_position(&self) -> Position {
        self.first + (POSITION_END >> self.root_bits)
    }

    #[inline]
    fn directory_index(&self, position: Position) -> usize {
        let place = position - self.first;
        usize::try_from(place >> (POSITION_BITS - self.root_bits - self.depth)).unwrap_or(0)
    }

    #[inline]
    fn segment_index(&self, position: Position) -> usize {
        self.directory.get(self.directory_index(position)).map_or(0, |index| *index as usize)
    }

    #[inline]
    fn segment(&self, index: usize) -> &Segment<T, S> {
        #[expect(clippy::indexing_slicing, reason = "the directory names existing segments only")]
        self.segments[index].get()
    }

    #[inline]
    fn segment_mut(&mut self, index: usize) -> &mut Segment<T, S> {
        #[expect(clippy::indexing_slicing, reason = "the directory names existing segments only")]
        let segment = &mut self.segments[index];
        if segment.is_shared() {
            self.copied_bytes += segment.get().memory_bytes();
        }
        segment.get_mut()
    }

    fn segment_end(&self, segment: &Segment<T, S>) -> Position {
        segment.first + (POSITION_END >> (self.root_bits + segment.depth))
    }

    /// The segment in which an entry with this hash would be. Loads nothing of it.
    #[inline]
    #[must_use]
    pub fn segment_of(&self, hash: KeyHash) -> &Segment<T, S> {
        self.segment(self.segment_index(hash.position()))
    }

    /// Where the entry that `equal` accepts stands. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn find(&self, hash: KeyHash, equal: impl FnMut(&T) -> bool) -> Option<Slot> {
        let segment = self.segment_index(hash.position());
        let place = self.segment(segment).table.find(hash, equal)?;
        Some(Slot { segment, place })
    }

    /// The entry that `equal` accepts. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn get(&self, hash: KeyHash, equal: impl FnMut(&T) -> bool) -> Option<&T> {
        let table = &self.segment(self.segment_index(hash.position())).table;
        table.get(table.find(hash, equal)?)
    }

    /// The entry at `slot`.
    #[inline]
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<&T> {
        self.segment(slot.segment).table.get(slot.place)
    }

    /// The entry at `slot`, to change it in place; its hash must stay.
    #[inline]
    #[must_use]
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.segment_mut(slot.segment).table.get_mut(slot.place)
    }

    /// Adds an entry whose key is not there yet; returns where it stands.
    ///
    /// Cost: O(1), with at most one segment split or grown.
    pub fn insert_new(&mut self, hash: KeyHash, entry: T) -> Slot {
        let mut index = self.segment_index(hash.position());
        while self.segment(index).table.count() >= S::ENTRIES_MAX && self.split(index) {
            index = self.segment_index(hash.position());
        }
        let table = &mut self.segment_mut(index).table;
        let place = table.insert(hash, entry);
        let (entries, places) = (table.count(), table.places());
        if entries > S::ENTRIES_MAX {
            self.places_max = self.places_max.max(places);
        }
        self.len += 1;
        Slot { segment: index, place }
    }

    /// Where an entry stands that is drawn at random, each as likely; `None` when there are none.
    ///
    /// Draws a place until one is taken. Cost: O(1) expected.
    pub fn draw(&self, random: &mut Random) -> Option<Slot> {
        if self.len == 0 {
            return None;
        }
        loop {
            let drawn = random.below(self.segments.len() * self.places_max);
            let slot = Slot { segment: drawn / self.places_max, place: drawn % self.places_max };
            if self.at(slot).is_some() {
                return Some(slot);
            }
        }
    }

    /// Removes the entry at `slot`. Cost: O(1), with at most two segments merged.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let table = &mut self.segment_mut(slot.segment).table;
        let entry = table.remove(slot.place)?;
        self.len -= 1;
        self.shrink(slot.segment);
        Some(entry)
    }

    /// Splits a segment in two; false when its entries share more bits than may choose a segment.
    fn split(&mut self, index: usize) -> bool {
        let (depth, first) = (self.segment(index).depth, self.segment(index).first);
        if self.root_bits + depth >= PLACE_BITS_MAX {
            return false;
        }
        let places_max = DIRECTORY_PLACES_MIN + DIRECTORY_PLACES_PER_SEGMENT * self.segments.len();
        if depth == self.depth && self.directory.len() >= places_max {
            return false;
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&i| [i, i]).collect();
            self.depth += 1;
            self.deepest = 0;
        }
        let middle = first + (POSITION_END >> (self.root_bits + depth + 1));
        let old = std::mem::take(&mut self.segment_mut(index).table);
        let upper_count = old.iter().filter(|e| e.hash().position() >= middle).count();
        let mut lower = S::with_capacity(old.count() - upper_count);
        let mut upper = S::with_capacity(upper_count);
        for entry in old {
            let hash = entry.hash();
            let half = if hash.position() >= middle { &mut upper } else { &mut lower };
            half.insert(hash, entry);
        }
        let segment = self.segment_mut(index);
        segment.table = lower;
        segment.depth = depth + 1;
        let number = self.segments.len();
        let upper = Segment { table: upper, depth: depth + 1, first: middle, entry: PhantomData };
        self.segments.push(H::new(upper));
        self.point_directory(number);
        if depth + 1 == self.depth {
            self.deepest += 2;
        }
        true
    }

    /// Makes every directory place of segment `number` point to it.
    fn point_directory(&mut self, number: usize) {
        let segment = self.segment(number);
        let start = self.directory_index(segment.first);
        let places = 1_usize << (self.depth - segment.depth);
        let value = u32::try_from(number).unwrap_or(u32::MAX);
        if let Some(range) = self.directory.get_mut(start..start + places) {
            range.fill(value);
        }
    }

    /// Gives memory back after a removal: merges with the neighbour or shrinks the table.
    fn shrink(&mut self, index: usize) {
        let segment = self.segment(index);
        let is_sparse = segment.table.count() <= S::ENTRIES_MAX / MERGE_DIVISOR / 2;
        if is_sparse && segment.depth > 0 && self.merge(index) {
            return;
        }
        self.segment_mut(index).table.shrink();
    }

    fn merge(&mut self, index: usize) -> bool {
        let (depth, first) = (self.segment(index).depth, self.segment(index).first);
        let span = POSITION_END >> (self.root_bits + depth);
        let buddy = self.segment_index(self.first + ((first - self.first) ^ span));
        let (ours, other) = (self.segment(index), self.segment(buddy));
        let together = ours.table.count() + other.table.count();
        if other.depth != depth || together > S::ENTRIES_MAX / MERGE_DIVISOR {
            return false;
        }
        let (keep, gone) = if first & span == 0 { (index, buddy) } else { (buddy, index) };
        let moved = std::mem::take(&mut self.segment_mut(gone).table);
        let target = self.segment_mut(keep);
        for entry in moved {
            target.table.insert(entry.hash(), entry);
        }
        target.depth = depth - 1;
        if depth == self.depth {
            self.deepest -= 2;
        }
        self.point_directory(keep);
        self.segments.swap_remove(gone);
        if gone < self.segments.len() {
            self.point_directory(gone);
        }
        self.halve_directory();
        true
    }

    fn halve_directory(&mut self) {
        while self.depth > 0 && self.deepest == 0 {
            self.directory = self.directory.iter().copied().step_by(2).collect();
            self.directory.shrink_to_fit();
            self.depth -= 1;
            let depth = self.depth;
            self.deepest = self.segments.iter().filter(|s| s.get().depth == depth).count();
        }
    }

    /// Calls `each` for the entries of the segment that covers `from`, those before `from` left
    /// out, in no order; returns the position at which the next segment begins.
    ///
    /// Cost: O(entries of a segment).
    pub fn walk_segment<'a>(&'a self, from: Position, mut each: impl FnMut(&'a T)) -> Position {
        let segment = self.segment(self.segment_index(from));
        let all = from <= segment.first;
        for entry in segment.table.iter() {
            if all || entry.hash().position() >= from {
                each(entry);
            }
        }
        self.segment_end(segment)
    }

    /// Calls `each` for at least `count` entries from `from` on in the order of positions, fewer
    /// only at the end; returns where to go on.
    ///
    /// Entries with equal positions are never parted, so that the cursor loses none.
    /// Cost: O(count + entries of a segment).
    pub fn scan<'a>(
        &'a self,
        from: Position,
        count: usize,
        mut each: impl FnMut(&'a T),
    ) -> Position {
        let mut from = from.max(self.first);
        let mut left = count.max(1);
        while from < self.end_position() {
            let mut found: Vec<(Position, &'a T)> = Vec::new();
            let end = self.walk_segment(from, |entry| found.push((entry.hash().position(), entry)));
            found.sort_unstable_by_key(|(position, _)| *position);
            for (number, (position, entry)) in found.iter().enumerate() {
                if number >= left && found.get(number - 1).is_some_and(|(p, _)| p != position) {
                    return *position;
                }
                each(entry);
            }
            from = end;
            if found.len() >= left {
                break;
            }
            left -= found.len();
        }
        from
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flat_map(|segment| segment.get().table.iter())
    }

    /// Finds an entry by key for changing it, or gives it its place.
    pub fn upsert(
        &mut self,
        hash: KeyHash,
        mut equal: impl FnMut(&T) -> bool,
        change: impl FnOnce(Option<&mut T>) -> Option<T>,
    ) {
        let index = self.segment_index(hash.position());
        if self.segment(index).table.count() >= S::ENTRIES_MAX {
            let found = self.find(hash, &mut equal);
            let added = change(found.and_then(|slot| self.at_mut(slot)));
            if let Some(entry) = added {
                self.insert_new(hash, entry);
            }
            return;
        }
        if self.segment_mut(index).table.upsert(hash, equal, change) {
            self.len += 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Number(u64, u32);

    impl Hashed for Number {
        fn hash(&self) -> KeyHash {
            hash_of(self.0)
        }
        fn heap_bytes(&self) -> usize {
            0
        }
    }

    fn hash_of(n: u64) -> KeyHash {
        KeyHash::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    type Table = SegmentedTable<Number, Owned<Segment<Number>>>;
    type Compact = CompactTable<Number>;

    fn put<H, S>(table: &mut SegmentedTable<Number, H, S>, n: u64, value: u32)
    where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        table.upsert(
            hash_of(n),
            |e| e.0 == n,
            |found| match found {
                Some(entry) => {
                    entry.1 = value;
                    None
                }
                None => Some(Number(n, value)),
            },
        );
    }

    fn take<H, S>(table: &mut SegmentedTable<Number, H, S>, n: u64) -> Option<Number>
    where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        let slot = table.find(hash_of(n), |e| e.0 == n)?;
        table.remove(slot)
    }

    fn check<H, S>(table: &SegmentedTable<Number, H, S>)
    where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        let mut covered = table.first_position();
        let mut seen = 0;
        while covered < table.end_position() {
            covered = table.walk_segment(covered, |_| seen += 1);
        }
        assert_eq!(seen, table.len());
        assert_eq!(table.directory.len(), 1 << table.depth);
        let deepest = table.segments.iter().filter(|s| s.get().depth == table.depth).count();
        assert_eq!(deepest, table.deepest);
        for (number, segment) in table.segments.iter().enumerate() {
            let segment = segment.get();
            assert_eq!(table.segment_index(segment.first), number);
            assert_eq!(table.segment_index(table.segment_end(segment) - 1), number);
            assert!(segment.table.count() <= S::ENTRIES_MAX);
        }
    }

    #[test]
    fn grows_to_many_entries_and_shrinks_back_to_one_segment() {
        grows_and_shrinks(Table::new(0, 0));
        grows_and_shrinks(Compact::new(0, 0));
        grows_and_shrinks(OwnedTable::new(0, 0));
    }

    fn grows_and_shrinks<H, S>(mut table: SegmentedTable<Number, H, S>)
    where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        for n in 0..100_000 {
            put(&mut table, n, 1);
        }
        check(&table);
        assert!(table.segment_count() > 200);
        for n in 0..100_000 {
            assert!(take(&mut table, n).is_some(), "{n}");
        }
        check(&table);
        assert_eq!((table.segment_count(), table.directory.len()), (1, 1));
    }

    #[test]
    fn entries_with_one_hash_do_not_split_for_ever() {
        do_not_split_for_ever(Table::new(0, 0));
        do_not_split_for_ever(Compact::new(0, 0));
        do_not_split_for_ever(OwnedTable::new(0, 0));
    }

    fn do_not_split_for_ever<H, S>(mut table: SegmentedTable<Number, H, S>)
    where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        for value in 0..2_000 {
            table.insert_new(hash_of(7), Number(7, value));
        }
        assert_eq!(table.len(), 2_000);
        assert!(table.segment_count() <= 33);
        let mut seen = 0;
        let next = table.scan(0, 1, |_| seen += 1);
        assert_eq!((seen, table.scan(next, 10, |_| seen += 1)), (2_000, POSITION_END));
    }

    #[test]
    fn a_draw_is_as_likely_to_hit_an_overfilled_segment_as_any_other_entry() {
        draws_evenly(Table::new(0, 0));
        draws_evenly(Compact::new(0, 0));
        draws_evenly(OwnedTable::new(0, 0));
    }

    fn draws_evenly<H, S>(mut table: SegmentedTable<Number, H, S>)
    where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        for value in 0..1_500 {
            table.insert_new(hash_of(7), Number(7, value));
            let other = 1_000 + u64::from(value);
            table.insert_new(hash_of(other), Number(other, value));
        }
        assert!(table.places_max > S::PLACES_MAX);
        let mut random = Random::new(1);
        let drawn = |_| table.at(table.draw(&mut random).unwrap()).unwrap().0;
        let alike = (0..40_000).map(drawn).filter(|n| *n == 7).count();
        assert!((19_500..20_500).contains(&alike), "{alike}");
        assert!(Table::new(0, 0).draw(&mut random).is_none());
    }

    #[test]
    fn a_shared_table_is_not_changed_by_its_clone() {
        is_not_changed_by_its_clone(SegmentedTable::<Number, Arc<Segment<Number>>>::new(0, 0));
        is_not_changed_by_its_clone(Compact::new(0, 0));
        is_not_changed_by_its_clone(OwnedTable::new(0, 0));
    }

    fn is_not_changed_by_its_clone<H, S>(mut table: SegmentedTable<Number, H, S>)
    where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        for n in 0..5_000 {
            table.insert_new(hash_of(n), Number(n, 1));
        }
        let held = table.clone();
        for n in 0..5_000 {
            let slot = table.find(hash_of(n), |e| e.0 == n).unwrap();
            table.at_mut(slot).unwrap().1 = 2;
        }
        assert!(held.iter().all(|e| e.1 == 1));
        assert!(table.iter().all(|e| e.1 == 2));
    }

    /// Scans while the table changes; what stays must come exactly once.
    fn scan_beside_changes<H, S>(
        mut table: SegmentedTable<Number, H, S>,
        count: usize,
        changes: Vec<(u64, bool)>,
    ) where
        H: Hold<Segment<Number, S>>,
        S: Store<Number>,
    {
        let root = table.first_position() / (POSITION_END / 4);
        let in_root = |n: &u64| hash_of(*n).shard(2) as u64 == root;
        let mut model = BTreeMap::new();
        for n in (0..6_000).filter(in_root) {
            put(&mut table, n, 0);
            model.insert(n, 0);
        }
        let mut stays: Vec<u64> = model.keys().copied().collect();
        let mut seen = Vec::new();
        let mut cursor = table.first_position();
        let mut changes = changes.into_iter().filter(|(n, _)| in_root(n));
        while cursor < table.end_position() {
            cursor = table.scan(cursor, count, |e| seen.push(e.0));
            for (n, add) in changes.by_ref().take(100) {
                if add {
                    put(&mut table, n, 1);
                } else if take(&mut table, n).is_some() {
                    model.remove(&n);
                    stays.retain(|stay| *stay != n);
                }
            }
            check(&table);
        }
        seen.sort_unstable();
        let twice = seen.windows(2).find(|pair| pair[0] == pair[1] && stays.contains(&pair[0]));
        assert_eq!(twice, None);
        for n in stays {
            assert!(seen.binary_search(&n).is_ok(), "{n} lost");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_scan_returns_what_stays_exactly_once(
            count in 1_usize..700,
            root in 0_usize..4,
            changes in prop::collection::vec((0_u64..12_000, any::<bool>()), 0..8_000),
        ) {
            scan_beside_changes(Table::new(root, 2), count, changes.clone());
            scan_beside_changes(OwnedTable::new(root, 2), count, changes);
        }
    }
}
