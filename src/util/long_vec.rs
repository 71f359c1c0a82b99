//! A vector that grows and shrinks by pieces and never moves what it holds.
//!
//! A `Vec` that is full copies all of itself into another of twice the size: the push that does
//! this takes as long as all that is there, and half of the new room stays empty for a while. Here
//! a push allocates one piece at most.

/// Items of one piece.
const PIECE_ITEMS: usize = 512;

/// A vector in pieces; see the head of the file.
#[derive(Debug, Clone)]
pub struct LongVec<T> {
    /// All are full but the last, and none is empty.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for LongVec<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Copy> LongVec<T> {
    /// Number of items. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1) * PIECE_ITEMS + last
    }

    /// True when there are no items.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// An item; `None` behind the last.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.pieces.get(index / PIECE_ITEMS)?.get(index % PIECE_ITEMS).copied()
    }

    /// Puts an item in the place of another; none is added.
    #[inline]
    pub fn set(&mut self, index: usize, item: T) {
        let piece = self.pieces.get_mut(index / PIECE_ITEMS);
        if let Some(place) = piece.and_then(|piece| piece.get_mut(index % PIECE_ITEMS)) {
            *place = item;
        }
    }

    /// Exchanges two items. Cost: O(1).
    #[inline]
    pub fn swap(&mut self, a: usize, b: usize) {
        if let (Some(at_a), Some(at_b)) = (self.get(a), self.get(b)) {
            self.set(a, at_b);
            self.set(b, at_a);
        }
    }

    /// Adds an item behind the last. Cost: O(1), with at most one allocation; nothing is moved but
    /// within the first piece.
    pub fn push(&mut self, item: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE_ITEMS => last.push(item),
            None => self.pieces.push(vec![item]),
            Some(_) => {
                let mut piece = Vec::with_capacity(PIECE_ITEMS);
                piece.push(item);
                self.pieces.push(piece);
            }
        }
    }

    /// Removes the last item. Cost: O(1).
    pub fn pop(&mut self) -> Option<T> {
        let last = self.pieces.last_mut()?;
        let item = last.pop();
        if last.is_empty() {
            self.pieces.pop();
        }
        item
    }

    /// Removes an item and puts the last one in its place. Cost: O(1).
    pub fn swap_remove(&mut self, index: usize) -> Option<T> {
        let item = self.get(index)?;
        if let Some(last) = self.pop()
            && index < self.len()
        {
            self.set(index, last);
        }
        Some(item)
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.pieces.iter().flatten().copied()
    }
}

impl<T: Copy> FromIterator<T> for LongVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut all = Self::default();
        items.into_iter().for_each(|item| all.push(item));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Change {
        Push(u16, usize),
        Pop(usize),
        SwapRemove(usize),
        Swap(usize, usize),
    }

    fn changes() -> impl Strategy<Value = Change> {
        prop_oneof![
            (any::<u16>(), 1_usize..400).prop_map(|(item, count)| Change::Push(item, count)),
            (1_usize..500).prop_map(Change::Pop),
            (0_usize..3_000).prop_map(Change::SwapRemove),
            (0_usize..3_000, 0_usize..3_000).prop_map(|(a, b)| Change::Swap(a, b)),
        ]
    }

    proptest! {
        #[test]
        fn does_what_a_vec_does(changes in prop::collection::vec(changes(), 0..60)) {
            let (mut long, mut vec) = (LongVec::default(), Vec::new());
            for change in changes {
                match change {
                    Change::Push(item, count) => (0..count).for_each(|_| {
                        long.push(item);
                        vec.push(item);
                    }),
                    Change::Pop(count) => {
                        (0..count).for_each(|_| assert_eq!(long.pop(), vec.pop()));
                    }
                    Change::SwapRemove(index) => {
                        let removed = (index < vec.len()).then(|| vec.swap_remove(index));
                        prop_assert_eq!(long.swap_remove(index), removed);
                    }
                    Change::Swap(a, b) if a.max(b) < vec.len() => {
                        long.swap(a, b);
                        vec.swap(a, b);
                    }
                    Change::Swap(a, b) => long.swap(a, b.max(vec.len())),
                }
                prop_assert_eq!((long.len(), long.is_empty()), (vec.len(), vec.is_empty()));
                prop_assert_eq!(long.iter().collect::<Vec<_>>(), vec.clone());
                prop_assert_eq!(long.get(vec.len()), None);
            }
            let collected: LongVec<u16> = vec.iter().copied().collect();
            prop_assert_eq!(collected.iter().collect::<Vec<_>>(), vec);
        }
    }

    #[test]
    fn no_more_room_is_kept_than_that_of_one_piece() {
        let mut long: LongVec<u64> = (0..100_000).collect();
        let room = |long: &LongVec<u64>| long.pieces.iter().map(Vec::capacity).sum::<usize>();
        assert!(room(&long) < 100_000 + PIECE_ITEMS, "{}", room(&long));
        while long.pop().is_some() {}
        assert_eq!(room(&long), 0);
    }
}
