//! A hash table that grows in bounded steps and can be walked while it changes.
//!
//! Extendible hashing over small hashbrown tables: a directory indexed by the top bits of the hash
//! points to segments of at most [`SEGMENT_ENTRIES_MAX`] entries, and a full segment splits alone.
//! No insert ever rehashes more than one segment, where a single large table would stop the world
//! for as long as rehashing all of it takes.
//!
//! ```text
//!   directory (2^depth)  [00] [01] [10] [11]       segments in the order of positions:
//!                          \   /    |    |          a segment of depth d holds all entries
//!   segments              {0*}    {10}  {11}        that share their first d bits
//! ```
//!
//! Because every segment covers one range of [`Position`]s, a position is a cursor that stays
//! exact over splits and merges: a walk visits what was there the whole time exactly once.
//! Linear hashing was rejected because its order of splits has nothing to do with the hash order.

use crate::util::hash::{KeyHash, PLACE_BITS_MAX, POSITION_BITS, POSITION_END, Position};
use crate::util::random::Random;
use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, IterHash};
use std::sync::Arc;

/// A segment with this many entries splits before it takes another: 7/8 of 512 buckets.
pub const SEGMENT_ENTRIES_MAX: usize = 448;
/// Two neighbours merge when together they have no more than this.
const MERGE_ENTRIES_MAX: usize = SEGMENT_ENTRIES_MAX / 4;
/// The directory doubles only while it has no more places than these allow, so that entries with
/// equal hashes overfill their segment instead of filling the memory with directory.
const DIRECTORY_PLACES_MIN: usize = 1024;
const DIRECTORY_PLACES_PER_SEGMENT: usize = 32;
/// Tables with no more room than this are never shrunk.
const SHRINK_CAPACITY_MIN: usize = 28;
/// So many segments at most stand for all when the memory is judged.
const SAMPLED_SEGMENTS_MAX: usize = 4;

/// Buckets of a segment that is not overfilled: twice what its entries need, because a table full
/// of traces of removed entries grows once.
const SEGMENT_BUCKETS_MAX: usize = 1024;

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
pub struct Owned<S>(S);

impl<S: Clone> Hold<S> for Owned<S> {
    fn new(segment: S) -> Self {
        Self(segment)
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

/// One small table and the range of positions that it covers.
#[derive(Debug, Clone)]
pub struct Segment<T> {
    table: HashTable<T>,
    /// Bits of the position, behind the root bits, that all entries share.
    depth: u32,
    first: Position,
}

impl<T: Hashed> Segment<T> {
    fn memory_bytes(&self) -> usize {
        let entries: usize = self.table.iter().map(Hashed::heap_bytes).sum();
        entries + self.table.allocation_size()
    }
}

/// Where an entry stands; valid until the next change of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    segment: usize,
    bucket: usize,
}

/// A table of segments; see the head of the file.
#[derive(Debug, Clone)]
pub struct SegmentedTable<T: Hashed, H: Hold<Segment<T>>> {
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
    /// No segment has more buckets; every bucket is as likely in a draw.
    buckets_max: usize,
    entry: std::marker::PhantomData<T>,
}

impl<T: Hashed, H: Hold<Segment<T>>> SegmentedTable<T, H> {
    /// An empty table for the entries whose hash begins with `root`, a number of `root_bits` bits.
    #[must_use]
    pub fn new(root: usize, root_bits: u32) -> Self {
        let first = (root as u64) << (POSITION_BITS - root_bits);
        let segment = Segment { table: HashTable::new(), depth: 0, first };
        Self {
            directory: vec![0],
            segments: vec![H::new(segment)],
            depth: 0,
            deepest: 1,
            root_bits,
            first,
            len: 0,
            copied_bytes: 0,
            buckets_max: SEGMENT_BUCKETS_MAX,
            entry: std::marker::PhantomData,
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
            buckets_max: SEGMENT_BUCKETS_MAX,
            entry: std::marker::PhantomData,
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
    fn segment(&self, index: usize) -> &Segment<T> {
        #[expect(clippy::indexing_slicing, reason = "the directory names existing segments only")]
        self.segments[index].get()
    }

    #[inline]
    fn segment_mut(&mut self, index: usize) -> &mut Segment<T> {
        #[expect(clippy::indexing_slicing, reason = "the directory names existing segments only")]
        let segment = &mut self.segments[index];
        if segment.is_shared() {
            self.copied_bytes += segment.get().memory_bytes();
        }
        segment.get_mut()
    }

    fn segment_end(&self, segment: &Segment<T>) -> Position {
        segment.first + (POSITION_END >> (self.root_bits + segment.depth))
    }

    /// Where the entry that `equal` accepts stands. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn find(&self, hash: KeyHash, equal: impl FnMut(&T) -> bool) -> Option<Slot> {
        let segment = self.segment_index(hash.position());
        let bucket = self.segment(segment).table.find_bucket_index(hash.in_segment(), equal)?;
        Some(Slot { segment, bucket })
    }

    /// The entry that `equal` accepts. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn get(&self, hash: KeyHash, equal: impl FnMut(&T) -> bool) -> Option<&T> {
        let segment = self.segment(self.segment_index(hash.position()));
        segment.table.find(hash.in_segment(), equal)
    }

    /// The entries that might be the one with this hash, most likely only that one. Loads the
    /// first bytes of the search, not yet an entry.
    #[inline]
    pub fn candidates(&self, hash: KeyHash) -> IterHash<'_, T> {
        self.segment(self.segment_index(hash.position())).table.iter_hash(hash.in_segment())
    }

    /// The entry at `slot`.
    #[inline]
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<&T> {
        self.segment(slot.segment).table.get_bucket(slot.bucket)
    }

    /// The entry at `slot`, to change it in place; its hash must stay.
    #[inline]
    #[must_use]
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.segment_mut(slot.segment).table.get_bucket_mut(slot.bucket)
    }

    /// Adds an entry whose key is not there yet.
    ///
    /// Cost: O(1), with at most one segment split or grown.
    pub fn insert_new(&mut self, hash: KeyHash, entry: T) {
        let mut index = self.segment_index(hash.position());
        while self.segment(index).table.len() >= SEGMENT_ENTRIES_MAX && self.split(index) {
            index = self.segment_index(hash.position());
        }
        let table = &mut self.segment_mut(index).table;
        table.insert_unique(hash.in_segment(), entry, |e| e.hash().in_segment());
        let (entries, buckets) = (table.len(), table.num_buckets());
        if entries > SEGMENT_ENTRIES_MAX {
            self.buckets_max = self.buckets_max.max(buckets);
        }
        self.len += 1;
    }

    /// Where an entry stands that is drawn at random, each as likely; `None` when there are none.
    ///
    /// Draws a bucket until one is taken. Cost: O(1) expected.
    pub fn draw(&self, random: &mut Random) -> Option<Slot> {
        if self.len == 0 {
            return None;
        }
        loop {
            let place = random.below(self.segments.len() * self.buckets_max);
            let slot = Slot { segment: place / self.buckets_max, bucket: place % self.buckets_max };
            let table = &self.segment(slot.segment).table;
            if slot.bucket < table.num_buckets() && table.get_bucket(slot.bucket).is_some() {
                return Some(slot);
            }
        }
    }

    /// Removes the entry at `slot`. Cost: O(1), with at most two segments merged.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let table = &mut self.segment_mut(slot.segment).table;
        let (entry, _) = table.get_bucket_entry(slot.bucket).ok()?.remove();
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
        let mut lower = HashTable::with_capacity(old.len() - upper_count);
        let mut upper = HashTable::with_capacity(upper_count);
        for entry in old {
            let hash = entry.hash();
            let half = if hash.position() >= middle { &mut upper } else { &mut lower };
            half.insert_unique(hash.in_segment(), entry, |e| e.hash().in_segment());
        }
        let segment = self.segment_mut(index);
        segment.table = lower;
        segment.depth = depth + 1;
        let number = self.segments.len();
        self.segments.push(H::new(Segment { table: upper, depth: depth + 1, first: middle }));
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
        let (len, capacity) = (segment.table.len(), segment.table.capacity());
        if len <= MERGE_ENTRIES_MAX / 2 && segment.depth > 0 && self.merge(index) {
            return;
        }
        if capacity > SHRINK_CAPACITY_MIN && len < capacity / 8 {
            let table = &mut self.segment_mut(index).table;
            table.shrink_to(2 * len, |e| e.hash().in_segment());
        }
    }

    fn merge(&mut self, index: usize) -> bool {
        let (depth, first) = (self.segment(index).depth, self.segment(index).first);
        let span = POSITION_END >> (self.root_bits + depth);
        let buddy = self.segment_index(self.first + ((first - self.first) ^ span));
        let (ours, other) = (self.segment(index), self.segment(buddy));
        if other.depth != depth || ours.table.len() + other.table.len() > MERGE_ENTRIES_MAX {
            return false;
        }
        let (keep, gone) = if first & span == 0 { (index, buddy) } else { (buddy, index) };
        let moved = std::mem::take(&mut self.segment_mut(gone).table);
        let target = self.segment_mut(keep);
        for entry in moved {
            let hash = entry.hash().in_segment();
            target.table.insert_unique(hash, entry, |e| e.hash().in_segment());
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
        for entry in &segment.table {
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
        if self.segment(index).table.len() >= SEGMENT_ENTRIES_MAX {
            let found = self.find(hash, &mut equal);
            let added = change(found.and_then(|slot| self.at_mut(slot)));
            if let Some(entry) = added {
                self.insert_new(hash, entry);
            }
            return;
        }
        let table = &mut self.segment_mut(index).table;
        match table.entry(hash.in_segment(), equal, |e| e.hash().in_segment()) {
            Entry::Occupied(mut occupied) => {
                change(Some(occupied.get_mut()));
            }
            Entry::Vacant(vacant) => {
                if let Some(entry) = change(None) {
                    vacant.insert(entry);
                    self.len += 1;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, PartialEq)]
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

    fn put(table: &mut Table, n: u64, value: u32) {
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

    fn take(table: &mut Table, n: u64) -> Option<Number> {
        let slot = table.find(hash_of(n), |e| e.0 == n)?;
        table.remove(slot)
    }

    fn check(table: &Table) {
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
            assert!(segment.table.len() <= SEGMENT_ENTRIES_MAX);
        }
    }

    #[test]
    fn grows_to_many_entries_and_shrinks_back_to_one_segment() {
        let mut table = Table::new(0, 0);
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
        let mut table = SegmentedTable::<Number, Owned<Segment<Number>>>::new(0, 0);
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
        let mut table = SegmentedTable::<Number, Owned<Segment<Number>>>::new(0, 0);
        for value in 0..1_500 {
            table.insert_new(hash_of(7), Number(7, value));
            let other = 1_000 + u64::from(value);
            table.insert_new(hash_of(other), Number(other, value));
        }
        assert!(table.buckets_max > SEGMENT_BUCKETS_MAX);
        let mut random = Random::new(1);
        let drawn = |_| table.at(table.draw(&mut random).unwrap()).unwrap().0;
        let alike = (0..40_000).map(drawn).filter(|n| *n == 7).count();
        assert!((19_500..20_500).contains(&alike), "{alike}");
        assert!(Table::new(0, 0).draw(&mut random).is_none());
    }

    #[test]
    fn a_shared_table_is_not_changed_by_its_clone() {
        let mut table = SegmentedTable::<Number, Arc<Segment<Number>>>::new(0, 0);
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn a_scan_returns_what_stays_exactly_once(
            count in 1_usize..700,
            root in 0_usize..4,
            changes in prop::collection::vec((0_u64..12_000, any::<bool>()), 0..8_000),
        ) {
            let in_root = |n: &u64| hash_of(*n).shard(2) == root;
            let mut table = Table::new(root, 2);
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
            prop_assert_eq!(twice, None);
            for n in stays {
                prop_assert!(seen.binary_search(&n).is_ok(), "{} lost", n);
            }
        }
    }
}
