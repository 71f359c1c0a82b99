//! Expiry: which key of a shard dies next.
//!
//! One min-heap of (deadline, hash) per shard. Changing a deadline pushes a new item and leaves
//! the old one, because a heap cannot find an item cheaply; a stale item is known by comparing it
//! with the entry itself. Stale items are removed a few at a time, by every change that adds one,
//! while they outnumber the live ones: refreshing one deadline for ever neither grows the heap nor
//! ever stops the shard for a rebuild. A timer wheel was rejected: deadlines span years.
//!
//! An item comes to life again when its key gets the very same deadline a second time, and then
//! stands there twice. Nothing tells which of the two is needed, so duplicates are found by sorting
//! all items, and only when a search through all of them has met few that were stale.

use crate::util::clock::UnixMillis;
use crate::util::hash::KeyHash;
use crate::util::long_vec::LongVec;

/// Stale items are left alone up to this many more than there are live ones.
pub const STALE_ITEMS_ALLOWED: usize = 1_024;
/// Items examined by each push while there are too many stale ones.
const EXAMINED_PER_PUSH: usize = 4;

/// A key that is to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub deadline: UnixMillis,
    /// Which: the hash of the key.
    pub hash: KeyHash,
}

/// A binary min-heap with removal from the middle; see the head of the file.
#[derive(Debug, Default)]
pub struct ExpiryHeap {
    items: LongVec<Due>,
    /// Where the search for stale items goes on.
    examined: usize,
    pass: Pass,
}

/// What the search for stale items has met since it began, or since it last was all around.
#[derive(Debug, Default)]
struct Pass {
    examined: usize,
    removed: usize,
}

impl ExpiryHeap {
    /// Number of items, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// An item, by its number; it may be a stale one.
    #[must_use]
    pub fn item(&self, number: usize) -> Option<Due> {
        self.items.get(number)
    }

    /// The earliest deadline; it may be a stale one.
    #[inline]
    #[must_use]
    pub fn earliest(&self) -> Option<Due> {
        self.items.get(0)
    }

    /// Adds an item. Cost: O(log n) amortized; duplicates are merged in O(n log n), once for a
    /// number of them that grows with n.
    ///
    /// `live` is the number of entries that have a deadline and `is_live` tells whether an item
    /// still stands for one of them; it is asked for a few items, and only while stale ones
    /// abound.
    pub fn push(&mut self, due: Due, live: usize, is_live: impl Fn(Due) -> bool) {
        self.items.push(due);
        self.sift_up(self.items.len() - 1);
        if self.items.len() <= 2 * live + STALE_ITEMS_ALLOWED {
            self.pass = Pass::default();
            return;
        }
        for _ in 0..EXAMINED_PER_PUSH {
            self.examine_next(&is_live);
        }
        if self.pass.examined >= self.items.len() {
            if self.pass.removed < self.pass.examined / EXAMINED_PER_PUSH {
                self.merge_duplicates();
            }
            self.pass = Pass::default();
        }
    }

    /// Looks at `count` more items and removes those that stand for nothing any more, however few
    /// they are: for keys that go before their deadline one after the other.
    pub fn examine(&mut self, count: usize, is_live: impl Fn(Due) -> bool) {
        for _ in 0..count.min(self.items.len()) {
            self.examine_next(&is_live);
        }
    }

    /// Leaves one of several equal items.
    fn merge_duplicates(&mut self) {
        let mut items: Vec<Due> = self.items.iter().collect();
        // What is sorted is a heap.
        items.sort_unstable_by_key(|due| (due.deadline, due.hash.to_bits()));
        items.dedup();
        self.items = items.into_iter().collect();
    }

    /// Removes the earliest item. Cost: O(log n).
    pub fn pop(&mut self) -> Option<Due> {
        let due = self.earliest()?;
        self.remove(0);
        Some(due)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn examine_next(&mut self, is_live: &impl Fn(Due) -> bool) {
        if self.examined >= self.items.len() {
            self.examined = 0;
        }
        self.pass.examined += 1;
        match self.items.get(self.examined) {
            Some(due) if !is_live(due) => {
                self.remove(self.examined);
                self.pass.removed += 1;
            }
            _ => self.examined += 1,
        }
    }

    fn remove(&mut self, index: usize) {
        if index < self.items.len() {
            self.items.swap_remove(index);
            if index < self.items.len() {
                self.sift_down(index);
                self.sift_up(index);
            }
        }
    }

    fn deadline(&self, index: usize) -> Option<UnixMillis> {
        self.items.get(index).map(|due| due.deadline)
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.deadline(parent) <= self.deadline(index) {
                break;
            }
            self.items.swap(parent, index);
            index = parent;
        }
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let left = 2 * index + 1;
            let Some(mut least) = self.deadline(left) else {
                break;
            };
            let mut child = left;
            if let Some(right) = self.deadline(left + 1)
                && right < least
            {
                (child, least) = (left + 1, right);
            }
            if self.deadline(index) <= Some(least) {
                break;
            }
            self.items.swap(child, index);
            index = child;
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn due(deadline: i64, key: u64) -> Due {
        Due { deadline: UnixMillis(deadline), hash: KeyHash::from_bits(key) }
    }

    #[test]
    fn ten_million_refreshes_of_few_deadlines_do_not_grow_the_heap() {
        for keys in [1_u64, 100, 10_000] {
            let mut heap = ExpiryHeap::default();
            let mut deadlines = vec![0; keys as usize];
            let refreshes = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
            let mut longest = 0;
            for n in 0..refreshes {
                let key = n % keys;
                deadlines[key as usize] = n as i64;
                let live = |item: Due| deadlines[item.hash.to_bits() as usize] == item.deadline.0;
                heap.push(due(n as i64, key), keys as usize, live);
                longest = longest.max(heap.len());
            }
            assert!(longest <= 2 * keys as usize + STALE_ITEMS_ALLOWED + 8, "{keys}: {longest}");
        }
    }

    #[test]
    fn a_deadline_that_came_back_again_and_again_grew_the_heap() {
        for keys in [1_u64, 100, 10_000] {
            let mut heap = ExpiryHeap::default();
            let mut longest = 0;
            for n in 0..1_000_000 {
                heap.push(due((n % keys) as i64, n % keys), keys as usize, |_| true);
                longest = longest.max(heap.len());
            }
            let allowed = 4 * (2 * keys as usize + STALE_ITEMS_ALLOWED) / 3 + 8;
            assert!(longest <= allowed, "{keys}: {longest}");
            let mut popped: Vec<_> = std::iter::from_fn(|| heap.pop()).collect();
            assert!(popped.is_sorted_by_key(|due| due.deadline));
            popped.dedup();
            assert_eq!(popped.len(), keys as usize);
        }
    }

    #[test]
    fn a_push_examines_a_bounded_number_of_items() {
        let mut heap = ExpiryHeap::default();
        for n in 0..100_000 {
            heap.push(due(n, 0), 100_000, |_| true);
        }
        let asked = Cell::new(0);
        heap.push(due(0, 0), 0, |_| {
            asked.set(asked.get() + 1);
            false
        });
        assert_eq!(asked.get(), EXAMINED_PER_PUSH);
    }

    proptest! {
        #[test]
        fn pops_in_order_whatever_was_removed(
            deadlines in prop::collection::vec(0_i64..500, 0..3_000), live in 0_usize..100
        ) {
            let mut heap = ExpiryHeap::default();
            let mut kept = Vec::new();
            for (n, deadline) in deadlines.iter().enumerate() {
                heap.push(due(*deadline, n as u64), live, |item| item.deadline.0 % 3 == 0);
                if deadline % 3 == 0 {
                    kept.push(*deadline);
                }
            }
            let mut popped = Vec::new();
            while let Some(item) = heap.pop() {
                popped.push(item.deadline.0);
            }
            prop_assert!(popped.is_sorted());
            kept.sort_unstable();
            popped.retain(|deadline| deadline % 3 == 0);
            prop_assert_eq!(popped, kept);
        }
    }
}
