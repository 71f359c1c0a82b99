//! Items in the order of their stream ids, in bounded shared pieces: the blocks of a stream, and
//! the pending entries of groups and consumers.
//!
//! Nearly all items are added at the end and leave near the front, so a row of sorted pieces found
//! by halving does all that a tree would, in less memory. Pieces are shared by reference count:
//! cloning copies one pointer for each, and a later change only the piece that it touches. No
//! allocation grows with the number of items but that of the pieces' pointers.
//!
//! Invariants: no piece is empty; `from` of a piece is not above its first id, and above all ids of
//! the piece before.

use crate::data::stream_id::StreamId;
use std::collections::VecDeque;
use std::sync::Arc;

/// A piece holds about so many bytes of items at most.
const PIECE_BYTES_MAX: usize = 1024;
const PIECE_ITEMS_MIN: usize = 4;

/// Something that has a stream id.
pub trait HasId: Clone {
    /// The id.
    fn id(&self) -> StreamId;
}

impl HasId for StreamId {
    fn id(&self) -> StreamId {
        *self
    }
}

#[derive(Debug, Clone)]
struct Piece<T> {
    from: StreamId,
    items: Arc<Vec<T>>,
}

/// Where an item stands, for as long as none is added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    piece: usize,
    index: usize,
}

impl Position {
    /// Where no item stands.
    pub const NOWHERE: Self = Self { piece: usize::MAX, index: 0 };
}

/// Items in ascending order of their ids, each id once.
#[derive(Debug, Clone)]
pub struct IdSequence<T> {
    pieces: VecDeque<Piece<T>>,
    len: usize,
    /// Bytes of pieces that were copied because a clone shared them.
    copied_bytes: usize,
}

impl<T> Default for IdSequence<T> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), len: 0, copied_bytes: 0 }
    }
}

impl<T: HasId + PartialEq> PartialEq for IdSequence<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: HasId + Eq> Eq for IdSequence<T> {}

/// The items for changing; shared ones are copied and counted.
fn own<'a, T: Clone>(items: &'a mut Arc<Vec<T>>, copied_bytes: &mut usize) -> &'a mut Vec<T> {
    if Arc::strong_count(items) > 1 {
        *copied_bytes += items.len() * size_of::<T>();
    }
    Arc::make_mut(items)
}

fn find_in<T: HasId>(items: &[T], id: StreamId) -> Result<usize, usize> {
    items.binary_search_by(|item| item.id().cmp(&id))
}

impl<T: HasId> IdSequence<T> {
    const ITEMS_MAX: usize = PIECE_BYTES_MAX / size_of::<T>();

    /// Number of items. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of pieces that clones share.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Roughly how many bytes they take. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let piece = size_of::<Piece<T>>() + size_of::<Vec<T>>() + 2 * size_of::<usize>();
        self.len * size_of::<T>() + self.pieces.len() * piece
    }

    /// The bytes that were copied since the last call.
    pub fn take_copied_bytes(&mut self) -> usize {
        std::mem::take(&mut self.copied_bytes)
    }

    /// The piece in which `id` is, or belongs.
    fn piece_of(&self, id: StreamId) -> usize {
        self.pieces.partition_point(|piece| piece.from <= id).saturating_sub(1)
    }

    /// The item with this id. Cost: O(log n).
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<&T> {
        let items = &self.pieces.get(self.piece_of(id))?.items;
        items.get(find_in(items, id).ok()?)
    }

    /// The item with this id for changing; the id must stay. Cost: O(log n).
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        let number = self.piece_of(id);
        let items = &mut self.pieces.get_mut(number)?.items;
        let index = find_in(items, id).ok()?;
        own(items, &mut self.copied_bytes).get_mut(index)
    }

    /// Where the last item up to `id` stands, the first one if none does. Cost: O(log n).
    #[must_use]
    pub fn position_up_to(&self, id: StreamId) -> Position {
        let piece = self.piece_of(id);
        let items = self.pieces.get(piece).map_or(&[][..], |piece| &piece.items[..]);
        match find_in(items, id) {
            Ok(index) => Position { piece, index },
            Err(0) => {
                let first = Position { piece, index: 0 };
                self.before(first).unwrap_or(first)
            }
            Err(behind) => Position { piece, index: behind - 1 },
        }
    }

    /// The item that stands there. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn at(&self, position: Position) -> Option<&T> {
        self.pieces.get(position.piece)?.items.get(position.index)
    }

    /// The item that stands there for changing; its id must stay. Cost: O(1).
    pub fn at_mut(&mut self, position: Position) -> Option<&mut T> {
        let items = &mut self.pieces.get_mut(position.piece)?.items;
        own(items, &mut self.copied_bytes).get_mut(position.index)
    }

    /// Where the next item stands, if there is one. Cost: O(1).
    #[must_use]
    pub fn behind(&self, position: Position) -> Position {
        let Position { piece, index } = position;
        let len = self.pieces.get(piece).map_or(0, |piece| piece.items.len());
        if index + 1 < len {
            Position { piece, index: index + 1 }
        } else {
            Position { piece: piece.saturating_add(1), index: 0 }
        }
    }

    /// Where the item before stands. Cost: O(1).
    #[must_use]
    pub fn before(&self, Position { piece, index }: Position) -> Option<Position> {
        if let Some(index) = index.checked_sub(1) {
            return Some(Position { piece, index });
        }
        let piece = piece.checked_sub(1)?;
        let index = self.pieces.get(piece)?.items.len().checked_sub(1)?;
        Some(Position { piece, index })
    }

    /// The last item. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.pieces.back()?.items.last()
    }

    /// The last item for changing; its id must stay. Cost: O(1).
    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut T> {
        own(&mut self.pieces.back_mut()?.items, &mut self.copied_bytes).last_mut()
    }

    /// Takes out the first item. Cost: O(1).
    pub fn pop_first(&mut self) -> Option<T> {
        let id = self.pieces.front()?.items.first()?.id();
        self.remove(id)
    }

    /// Some of the items, about `count` from everywhere, all if there are no more. Cost: O(count).
    pub fn some(&self, count: usize) -> impl Iterator<Item = &T> {
        let all = if self.len <= count { self.len } else { 0 };
        let step = self.pieces.len().div_ceil(count).max(1);
        let firsts = self.pieces.iter().step_by(step).filter_map(|piece| piece.items.first());
        self.iter().take(all).chain(firsts.take(if all == 0 { count } else { 0 }))
    }

    /// Adds an item; false when there is one with its id, which stays. Cost: O(1) amortized at the
    /// end, else O(log n), O(n) seldom.
    pub fn insert(&mut self, item: T) -> bool {
        let id = item.id();
        let number = self.piece_of(id);
        let is_last = number + 1 >= self.pieces.len();
        let Some(piece) = self.pieces.get_mut(number) else {
            self.pieces.push_back(Piece { from: id, items: Arc::new(vec![item]) });
            self.len = 1;
            return true;
        };
        let index = match piece.items.last() {
            Some(last) if last.id() < id => piece.items.len(),
            _ => match find_in(&piece.items, id) {
                Ok(_) => return false,
                Err(index) => index,
            },
        };
        self.len += 1;
        if piece.items.len() < Self::ITEMS_MAX {
            piece.from = piece.from.min(id);
            let items = own(&mut piece.items, &mut self.copied_bytes);
            if items.len() == items.capacity() {
                let wanted = (2 * items.len()).clamp(PIECE_ITEMS_MIN, Self::ITEMS_MAX);
                items.reserve_exact(wanted - items.len());
            }
            items.insert(index, item);
            return true;
        }
        if is_last && index == piece.items.len() {
            self.pieces.push_back(Piece { from: id, items: Arc::new(vec![item]) });
            return true;
        }
        piece.from = piece.from.min(id);
        let items = own(&mut piece.items, &mut self.copied_bytes);
        let mut second = items.split_off(items.len() / 2);
        match index.checked_sub(items.len()) {
            Some(index) if index > 0 => second.insert(index, item),
            _ => items.insert(index, item),
        }
        if let Some(first) = second.first() {
            let piece = Piece { from: first.id(), items: Arc::new(second) };
            self.pieces.insert(number + 1, piece);
        }
        true
    }

    /// Takes out the item with this id. Cost: O(log n), O(pieces) when one becomes empty in the
    /// middle.
    pub fn remove(&mut self, id: StreamId) -> Option<T> {
        let number = self.piece_of(id);
        let items = &mut self.pieces.get_mut(number)?.items;
        let index = find_in(items, id).ok()?;
        self.len -= 1;
        let items = own(items, &mut self.copied_bytes);
        let item = items.remove(index);
        let left = items.len();
        if left == 0 {
            self.pieces.remove(number);
        } else if left < Self::ITEMS_MAX / 4 {
            self.join(number);
        }
        Some(item)
    }

    /// Moves the few items of a piece into the piece before it, if they have room there.
    fn join(&mut self, number: usize) {
        let Some(before) = number.checked_sub(1) else { return };
        let has_room = |piece: &Piece<T>| piece.items.len() <= Self::ITEMS_MAX / 2;
        if !self.pieces.get(before).is_some_and(has_room) {
            return;
        }
        let Some(piece) = self.pieces.remove(number) else { return };
        if let Some(before) = self.pieces.get_mut(before) {
            own(&mut before.items, &mut self.copied_bytes).extend_from_slice(&piece.items);
        }
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.items.iter())
    }

    /// The items from `id` on, in order. Cost: O(log n).
    pub fn iter_from(&self, id: StreamId) -> impl Iterator<Item = &T> {
        let number = self.piece_of(id);
        let index = self.pieces.get(number).map_or(0, |piece| match find_in(&piece.items, id) {
            Ok(index) | Err(index) => index,
        });
        self.pieces
            .range(number.min(self.pieces.len())..)
            .flat_map(|piece| piece.items.iter())
            .skip(index)
    }

    /// The first and the last item.
    #[must_use]
    pub fn ends(&self) -> Option<(&T, &T)> {
        Some((self.pieces.front()?.items.first()?, self.pieces.back()?.items.last()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Item(StreamId, u64, [u64; 2]);

    impl HasId for Item {
        fn id(&self) -> StreamId {
            self.0
        }
    }

    #[derive(Debug, Clone)]
    enum Change {
        Append(usize),
        Insert(u64),
        Remove(usize, usize),
        Set(usize),
        SetAt(u64),
        SetLast,
        PopFirst(usize),
        Hold,
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (1_usize..60).prop_map(Change::Append),
            4 => (0_u64..400).prop_map(Change::Insert),
            4 => (any::<usize>(), 1_usize..40).prop_map(|(at, n)| Change::Remove(at, n)),
            2 => any::<usize>().prop_map(Change::Set),
            1 => (0_u64..400).prop_map(Change::SetAt),
            1 => Just(Change::SetLast),
            1 => (0_usize..50).prop_map(Change::PopFirst),
            1 => Just(Change::Hold),
        ]
    }

    fn item(number: u64) -> Item {
        Item(StreamId::new(number / 3, number % 3), number, [0; 2])
    }

    fn check_positions(
        sequence: &IdSequence<Item>,
        model: &BTreeMap<StreamId, Item>,
        probe: StreamId,
    ) {
        let found = sequence.position_up_to(probe);
        let expected = model.range(..=probe).next_back().or(model.first_key_value());
        assert_eq!(sequence.at(found), expected.map(|(_, item)| item));
        assert_eq!(sequence.last(), model.values().next_back());
        assert_eq!(sequence.at(Position::NOWHERE), None);
        let (mut position, mut count) = (found, 0);
        while let Some(item) = sequence.at(position) {
            let behind = sequence.behind(position);
            if sequence.at(behind).is_some() {
                assert_eq!(sequence.before(behind), Some(position));
            }
            assert!(model.get(&item.0) == Some(item));
            (position, count) = (behind, count + 1);
        }
        assert_eq!(count, expected.map_or(0, |(id, _)| model.range(id..).count()));
        let first = sequence.position_up_to(StreamId::MIN);
        assert_eq!((sequence.before(first), sequence.at(first)), (None, model.values().next()));
        let some = sequence.some(5).count();
        assert!(if model.len() <= 5 { some == model.len() } else { (1..=5).contains(&some) });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn behaves_like_an_ordered_map_and_never_changes_a_held_copy(
            changes in prop::collection::vec(change(), 0..60)
        ) {
            let mut sequence = IdSequence::default();
            let mut model = BTreeMap::new();
            let mut held = None;
            for change in changes {
                match change {
                    Change::Append(times) => for _ in 0..times {
                        let next = model.last_key_value().map_or(0, |(_, i): (_, &Item)| i.1 + 2);
                        prop_assert!(sequence.insert(item(next)));
                        model.insert(item(next).0, item(next));
                    },
                    Change::Insert(number) => {
                        let is_new = !model.contains_key(&item(number).0);
                        prop_assert_eq!(sequence.insert(item(number)), is_new);
                        model.entry(item(number).0).or_insert(item(number));
                    }
                    Change::Remove(at, times) => for _ in 0..times.min(model.len()) {
                        let id = *model.keys().nth(at % model.len()).unwrap();
                        prop_assert_eq!(sequence.remove(id), model.remove(&id));
                        prop_assert_eq!(sequence.remove(id), None);
                    },
                    Change::PopFirst(times) => for _ in 0..times {
                        let first = model.pop_first().map(|(_, item)| item);
                        prop_assert_eq!(sequence.pop_first(), first);
                    },
                    Change::SetLast => if let Some(item) = sequence.last_mut() {
                        item.2 = [8; 2];
                        model.last_entry().unwrap().get_mut().2 = [8; 2];
                    },
                    Change::SetAt(number) => {
                        let position = sequence.position_up_to(item(number).0);
                        if let Some(item) = sequence.at_mut(position) {
                            item.2 = [9; 2];
                            model.get_mut(&item.0).unwrap().2 = [9; 2];
                        }
                    }
                    Change::Set(at) => if !model.is_empty() {
                        let id = *model.keys().nth(at % model.len()).unwrap();
                        sequence.get_mut(id).unwrap().2 = [7; 2];
                        model.get_mut(&id).unwrap().2 = [7; 2];
                    },
                    Change::Hold => {
                        let items: Vec<Item> = model.values().cloned().collect();
                        held = Some((sequence.clone(), items));
                    }
                }
                prop_assert_eq!(sequence.len(), model.len());
                let probe = item(97).0;
                prop_assert_eq!(sequence.get(probe), model.get(&probe));
                check_positions(&sequence, &model, probe);
                let (tail, expected) = (sequence.iter_from(probe), model.range(probe..));
                prop_assert!(tail.eq(expected.map(|(_, item)| item)));
                let ends = model.values().next().zip(model.values().next_back());
                prop_assert_eq!(sequence.ends(), ends);
            }
            prop_assert!(sequence.iter().eq(model.values()));
            prop_assert!(sequence.pieces() <= 2 + 8 * model.len() / IdSequence::<Item>::ITEMS_MAX);
            if let Some((copy, before)) = held {
                prop_assert!(copy.iter().eq(before.iter()));
            }
        }
    }
}
