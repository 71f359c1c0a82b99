//! A few entries without gaps, each with one byte of its hash: the segment that takes the least
//! memory.
//!
//! ```text
//!   tags:     [ t0 | t1 | t2 | ... ]        one byte each, searched many at a time
//!   entries:  [ e0 | e1 | e2 | ... ]        in no order
//! ```
//!
//! A hash table of a power of two buckets is half empty half of the time, and at one and the same
//! time in all segments, because good hashes fill them evenly. Here nothing is empty but the last
//! few places, and the search compares one entry, rarely a second one.

use crate::data::segmented::{Hashed, Store};
use crate::util::hash::KeyHash;
use smallvec::SmallVec;

/// A segment with this many entries splits before it takes another.
const ENTRIES_MAX: usize = 128;
/// Room is made for so many entries at once.
const GROWTH: usize = 8;

/// Entries with their tags; see the head of the file.
#[derive(Debug, Clone)]
pub struct TaggedVec<T> {
    tags: SmallVec<[u8; ENTRIES_MAX]>,
    entries: Vec<T>,
}

impl<T> Default for TaggedVec<T> {
    fn default() -> Self {
        Self { tags: SmallVec::new(), entries: Vec::new() }
    }
}

impl<T> IntoIterator for TaggedVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// Bits that choose neither the segment nor anything else here.
#[inline]
fn tag(hash: KeyHash) -> u8 {
    hash.to_bits() as u8
}

impl<T: Hashed> Store<T> for TaggedVec<T> {
    const ENTRIES_MAX: usize = ENTRIES_MAX;
    const PLACES_MAX: usize = ENTRIES_MAX;

    fn with_capacity(entries: usize) -> Self {
        Self { tags: SmallVec::new(), entries: Vec::with_capacity(entries) }
    }

    #[inline]
    fn count(&self) -> usize {
        self.entries.len()
    }

    fn places(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn find(&self, hash: KeyHash, mut equal: impl FnMut(&T) -> bool) -> Option<usize> {
        memchr::memchr_iter(tag(hash), &self.tags)
            .find(|place| self.entries.get(*place).is_some_and(&mut equal))
    }

    #[inline]
    fn get(&self, place: usize) -> Option<&T> {
        self.entries.get(place)
    }

    #[inline]
    fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.entries.get_mut(place)
    }

    fn insert(&mut self, hash: KeyHash, entry: T) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH.max(self.entries.len() / 16));
        }
        self.tags.push(tag(hash));
        self.entries.push(entry);
    }

    fn remove(&mut self, place: usize) -> Option<T> {
        if place >= self.entries.len() {
            return None;
        }
        self.tags.swap_remove(place);
        Some(self.entries.swap_remove(place))
    }

    fn iter<'a>(&'a self) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        self.entries.iter()
    }

    fn memory_bytes(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<T>();
        let tags = if self.tags.spilled() { self.tags.capacity() } else { 0 };
        entries + tags + self.entries.iter().map(Hashed::heap_bytes).sum::<usize>()
    }

    fn shrink(&mut self) {
        if self.entries.capacity() > self.entries.len() + 4 * GROWTH {
            self.entries.shrink_to(self.entries.len() + GROWTH);
        }
    }

    #[inline]
    fn upsert(
        &mut self,
        hash: KeyHash,
        equal: impl FnMut(&T) -> bool,
        change: impl FnOnce(Option<&mut T>) -> Option<T>,
    ) -> bool {
        let found = self.find(hash, equal).and_then(|place| self.entries.get_mut(place));
        if found.is_some() {
            change(found);
            return false;
        }
        let added = change(None);
        let adds = added.is_some();
        if let Some(entry) = added {
            self.insert(hash, entry);
        }
        adds
    }
}
