//! A few entries without gaps, each with one byte of its hash: the segment that takes the least
//! memory.
//!
//! ```text
//!   tags:     [ t0 .. t15 | t16 .. t31 | ... ]    one byte each, compared 16 at a time
//!   entries:  [ e0 .. e15 ] [ e16 .. e31 ] ...    in no order, a block for each group of tags
//! ```
//!
//! A hash table of a power of two buckets is half empty half of the time, and at one and the same
//! time in all segments, because good hashes fill them evenly. Here nothing is empty but the end of
//! the last block, and the search compares one entry, rarely a second one. All blocks are of one
//! size: those that a segment gives back are what the next one needs, where pieces of many sizes
//! would leave holes in the memory of the process.
//!
//! Behind the last entry there are tags that mean nothing, and entries that hold nothing.

use crate::data::segmented::{Hashed, Store};
use crate::util::hash::KeyHash;
use std::array;
use wide::u8x16;

/// Tags that are compared at a time, and entries of a block.
const GROUP: usize = 16;
/// Groups whose comparisons make one number.
const GROUPS_TOGETHER: usize = 4;

type Block<T> = Box<[T; GROUP]>;

/// Entries with their tags; see the head of the file. It splits with more than `GROUPS` groups.
#[derive(Debug, Clone)]
pub struct TaggedVec<T, const GROUPS: usize> {
    tags: [u8x16; GROUPS],
    blocks: [Option<Block<T>>; GROUPS],
    more: Option<Box<More<T>>>,
    len: u32,
}

/// Further groups, of entries that cannot be parted.
#[derive(Debug, Clone)]
struct More<T> {
    tags: Vec<u8x16>,
    blocks: Vec<Block<T>>,
}

impl<T, const GROUPS: usize> Default for TaggedVec<T, GROUPS> {
    fn default() -> Self {
        Self {
            tags: [u8x16::default(); GROUPS],
            blocks: array::from_fn(|_| None),
            more: None,
            len: 0,
        }
    }
}

impl<T, const GROUPS: usize> IntoIterator for TaggedVec<T, GROUPS> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        let len = self.len as usize;
        let more = self.more.into_iter().flat_map(|more| more.blocks);
        let blocks = self.blocks.into_iter().flatten().chain(more);
        let mut entries: Vec<T> = Vec::with_capacity(len + GROUP);
        blocks.for_each(|block| entries.extend(*block));
        entries.truncate(len);
        entries.into_iter()
    }
}

/// Bits that choose neither the segment nor anything else here.
#[inline]
fn tag(hash: KeyHash) -> u8 {
    hash.to_bits() as u8
}

/// A bit for each place of up to four groups that holds the wanted tag.
#[inline]
fn matches(groups: &[u8x16], wanted: u8x16) -> u64 {
    groups
        .iter()
        .rev()
        .fold(0, |bits, group| bits << GROUP | u64::from(group.simd_eq(wanted).to_bitmask() as u16))
}

/// The numbers of the bits that are set, from `first` on.
struct Places {
    bits: u64,
    first: usize,
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.bits == 0 {
            return None;
        }
        let place = self.first + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(place)
    }
}

impl<T, const GROUPS: usize> TaggedVec<T, GROUPS> {
    #[inline]
    fn entry(&self, place: usize) -> Option<&T> {
        if place >= self.len as usize {
            return None;
        }
        let block = match self.blocks.get(place / GROUP) {
            Some(block) => block.as_ref()?,
            None => self.more.as_ref()?.blocks.get(place / GROUP - GROUPS)?,
        };
        block.get(place % GROUP)
    }

    #[inline]
    fn entry_mut(&mut self, place: usize) -> Option<&mut T> {
        if place >= self.len as usize {
            return None;
        }
        let block = match self.blocks.get_mut(place / GROUP) {
            Some(block) => block.as_mut()?,
            None => self.more.as_mut()?.blocks.get_mut(place / GROUP - GROUPS)?,
        };
        block.get_mut(place % GROUP)
    }

    #[inline]
    fn tag_mut(&mut self, place: usize) -> Option<&mut u8> {
        let group = match self.tags.get_mut(place / GROUP) {
            Some(group) => group,
            None => self.more.as_mut()?.tags.get_mut(place / GROUP - GROUPS)?,
        };
        group.as_mut_array().get_mut(place % GROUP)
    }

    /// The place of the entry that `equal` accepts if one of these groups, of which the first has
    /// number `first`, holds its tag. The tags of four groups are compared without a branch.
    #[inline]
    fn find_among(
        &self,
        groups: &[u8x16],
        first: usize,
        hash: KeyHash,
        equal: &mut impl FnMut(&T) -> bool,
    ) -> Option<usize> {
        let wanted = u8x16::splat(tag(hash));
        groups.chunks(GROUPS_TOGETHER).zip((first..).step_by(GROUPS_TOGETHER)).find_map(
            |(groups, number)| {
                let mut places = Places { bits: matches(groups, wanted), first: number * GROUP };
                places.find(|place| self.entry(*place).is_some_and(&mut *equal))
            },
        )
    }
}

impl<T: Default, const GROUPS: usize> TaggedVec<T, GROUPS> {
    /// Adds a group of places that are free.
    fn add_group(&mut self) {
        let block = Box::new(array::from_fn(|_| T::default()));
        match self.blocks.get_mut(self.len as usize / GROUP) {
            Some(place) => *place = Some(block),
            None => {
                let new = || Box::new(More { tags: Vec::new(), blocks: Vec::new() });
                let more = self.more.get_or_insert_with(new);
                more.tags.push(u8x16::default());
                more.blocks.push(block);
            }
        }
    }

    /// Takes back what `add_group` did last.
    fn remove_group(&mut self) {
        if let Some(place) = self.blocks.get_mut(self.len as usize / GROUP) {
            *place = None;
            self.more = None;
        } else if let Some(more) = &mut self.more {
            more.tags.pop();
            more.blocks.pop();
        }
    }
}

impl<T: Hashed + Default, const GROUPS: usize> Store<T> for TaggedVec<T, GROUPS> {
    const ENTRIES_MAX: usize = GROUPS * GROUP;
    const PLACES_MAX: usize = GROUPS * GROUP;

    fn with_capacity(_entries: usize) -> Self {
        Self::default()
    }

    #[inline]
    fn count(&self) -> usize {
        self.len as usize
    }

    fn places(&self) -> usize {
        self.len as usize
    }

    #[inline]
    fn find(&self, hash: KeyHash, mut equal: impl FnMut(&T) -> bool) -> Option<usize> {
        let found = self.find_among(&self.tags, 0, hash, &mut equal);
        match &self.more {
            Some(more) if found.is_none() => self.find_among(&more.tags, GROUPS, hash, &mut equal),
            _ => found,
        }
    }

    #[inline]
    fn candidates<'a>(&'a self, hash: KeyHash) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        let groups = self.tags.get(..GROUPS_TOGETHER).unwrap_or(&self.tags);
        let places = Places { bits: matches(groups, u8x16::splat(tag(hash))), first: 0 };
        places.filter_map(|place| self.entry(place))
    }

    #[inline]
    fn get(&self, place: usize) -> Option<&T> {
        self.entry(place)
    }

    #[inline]
    fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.entry_mut(place)
    }

    fn insert(&mut self, hash: KeyHash, entry: T) -> usize {
        let place = self.len as usize;
        if place.is_multiple_of(GROUP) {
            self.add_group();
        }
        self.len += 1;
        if let Some(free) = self.entry_mut(place) {
            *free = entry;
        }
        if let Some(free) = self.tag_mut(place) {
            *free = tag(hash);
        }
        place
    }

    fn remove(&mut self, place: usize) -> Option<T> {
        let last = (self.len as usize).checked_sub(1).filter(|last| place <= *last)?;
        let last_tag = *self.tag_mut(last)?;
        let mut removed = std::mem::take(self.entry_mut(last)?);
        if place != last {
            std::mem::swap(self.entry_mut(place)?, &mut removed);
            *self.tag_mut(place)? = last_tag;
        }
        self.len -= 1;
        if last.is_multiple_of(GROUP) {
            self.remove_group();
        }
        Some(removed)
    }

    fn iter<'a>(&'a self) -> impl Iterator<Item = &'a T>
    where
        T: 'a,
    {
        let more = self.more.iter().flat_map(|more| &more.blocks);
        let blocks = self.blocks.iter().flatten().chain(more);
        blocks.flat_map(|block| block.iter()).take(self.len as usize)
    }

    fn memory_bytes(&self) -> usize {
        let groups = (self.len as usize).div_ceil(GROUP);
        groups * GROUP * size_of::<T>() + self.iter().map(Hashed::heap_bytes).sum::<usize>()
    }

    /// Blocks that hold nothing are given back at once.
    fn shrink(&mut self) {}

    #[inline]
    fn upsert(
        &mut self,
        hash: KeyHash,
        equal: impl FnMut(&T) -> bool,
        change: impl FnOnce(Option<&mut T>) -> Option<T>,
    ) -> bool {
        if let Some(place) = self.find(hash, equal) {
            change(self.entry_mut(place));
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
