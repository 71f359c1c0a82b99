//! Lists: packed while small, then a deque of bounded shared chunks.
//!
//! A chunk is a run of packed elements with a gap in front, so that pushing at either end is O(1)
//! amortized. Chunks are shared by reference count: cloning a list of millions copies one pointer
//! per chunk, and a change afterwards copies only the chunk it touches. A linked list was rejected
//! for its memory and because dropping it recurses.

use crate::data::chunk::{CHUNK_BYTES_MAX, Chunk};
use crate::data::packed::{self, BothWays, PackedRef, PackedSeq};
use crate::data::{Collection, Form, InOwner, LargeValue, Value, ValueType};
use std::collections::VecDeque;
use std::hint;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A list stays packed beside its key up to this many bytes.
pub const PACKED_LIST_BYTES_MAX: usize = 1024;
/// A list stays packed beside its key up to this many elements.
pub const PACKED_LIST_ELEMENTS_MAX: usize = 128;
/// So many chunks at most stand for all when the memory is judged.
const SAMPLED_CHUNKS_MAX: usize = 16;

/// A large list.
#[derive(Debug, Default)]
pub struct ChunkedList {
    chunks: VecDeque<Arc<Chunk>>,
    len: usize,
    /// Bytes of chunks that were copied because a clone shared them.
    copied_bytes: usize,
}

impl Clone for ChunkedList {
    fn clone(&self) -> Self {
        // Counting a reference waits until its piece has come from memory, one after the other.
        // Reading waits for many at once, so they are read first.
        hint::black_box(self.chunks.iter().map(Arc::strong_count).sum::<usize>());
        Self { chunks: self.chunks.clone(), len: self.len, copied_bytes: self.copied_bytes }
    }
}

/// The chunk for changing; a shared one is copied and counted.
fn own<'a>(chunk: &'a mut Arc<Chunk>, copied_bytes: &mut usize) -> &'a mut Chunk {
    if Arc::strong_count(chunk) > 1 {
        *copied_bytes += chunk.bytes();
    }
    Arc::make_mut(chunk)
}

impl ChunkedList {
    /// Number of elements. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Roughly how many bytes it takes, judged by some chunks. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let step = self.chunks.len().div_ceil(SAMPLED_CHUNKS_MAX).max(1);
        let sampled = self.chunks.iter().step_by(step);
        let (count, bytes) = sampled.fold((0_usize, 0_usize), |(count, bytes), chunk| {
            (count + 1, bytes + chunk.room() + size_of::<Chunk>())
        });
        bytes / count.max(1) * self.chunks.len()
    }

    /// Number of chunks, each an allocation.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    fn back(&mut self, size: usize) -> Option<&mut Chunk> {
        if !self.chunks.back().is_some_and(|chunk| chunk.accepts(size)) {
            self.chunks.push_back(Arc::default());
        }
        Some(own(self.chunks.back_mut()?, &mut self.copied_bytes))
    }

    fn front(&mut self, size: usize) -> Option<&mut Chunk> {
        if !self.chunks.front().is_some_and(|chunk| chunk.accepts(size)) {
            self.chunks.push_front(Arc::default());
        }
        Some(own(self.chunks.front_mut()?, &mut self.copied_bytes))
    }

    fn push_back(&mut self, data: &[u8]) {
        if let Some(chunk) = self.back(packed::element_bytes::<BothWays>(data.len())) {
            chunk.push_back(data);
            self.len += 1;
        }
    }

    fn push_front(&mut self, data: &[u8]) {
        if let Some(chunk) = self.front(packed::element_bytes::<BothWays>(data.len())) {
            chunk.push_front(data);
            self.len += 1;
        }
    }

    fn pop_front<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let chunk = own(self.chunks.front_mut()?, &mut self.copied_bytes);
        let taken = chunk.pop_front(take)?;
        if chunk.count == 0 {
            self.chunks.pop_front();
        }
        self.len -= 1;
        Some(taken)
    }

    fn pop_back<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let chunk = own(self.chunks.back_mut()?, &mut self.copied_bytes);
        let taken = chunk.pop_back(take)?;
        if chunk.count == 0 {
            self.chunks.pop_back();
        }
        self.len -= 1;
        Some(taken)
    }

    /// The chunk that holds element `index`, and the element's number inside it.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut before = 0;
            for (number, chunk) in self.chunks.iter().enumerate() {
                if index < before + chunk.count {
                    return Some((number, index - before));
                }
                before += chunk.count;
            }
        } else {
            let mut before = self.len;
            for (number, chunk) in self.chunks.iter().enumerate().rev() {
                before -= chunk.count;
                if index >= before {
                    return Some((number, index - before));
                }
            }
        }
        None
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let (number, inside) = self.locate(index)?;
        self.chunks.get(number)?.get(inside)
    }

    fn set(&mut self, index: usize, data: &[u8]) {
        let Some((number, inside)) = self.locate(index) else {
            return;
        };
        let Some(chunk) = self.chunks.get_mut(number) else {
            return;
        };
        let chunk = own(chunk, &mut self.copied_bytes);
        chunk.set(inside, data);
        if chunk.bytes() > 2 * CHUNK_BYTES_MAX && chunk.count > 1 {
            let second = chunk.split(chunk.count / 2);
            self.chunks.insert(number + 1, Arc::new(second));
        }
    }

    /// Puts an element in front of element number `index`: into its chunk, or else the chunk is
    /// divided there.
    fn insert(&mut self, index: usize, data: &[u8]) {
        let size = packed::element_bytes::<BothWays>(data.len());
        let Some((mut number, mut inside)) = self.locate(index) else {
            self.push_back(data);
            return;
        };
        let accepts = |list: &Self, number: usize| {
            list.chunks.get(number).is_some_and(|chunk| chunk.accepts(size))
        };
        if !accepts(self, number) {
            if inside > 0
                && let Some(chunk) = self.chunks.get_mut(number)
            {
                let second = own(chunk, &mut self.copied_bytes).split(inside);
                number += 1;
                self.chunks.insert(number, Arc::new(second));
                inside = 0;
            }
            if number > 0 && accepts(self, number - 1) {
                number -= 1;
                inside = self.chunks.get(number).map_or(0, |chunk| chunk.count);
            } else if !accepts(self, number) {
                self.chunks.insert(number, Arc::default());
            }
        }
        if let Some(chunk) = self.chunks.get_mut(number) {
            own(chunk, &mut self.copied_bytes).insert(inside, data);
            self.len += 1;
        }
    }

    /// Keeps the elements from number `first` to number `last`, which must exist; returns the rest
    /// as lists that are yet to be freed.
    fn keep(&mut self, first: usize, last: usize) -> [Self; 2] {
        let (Some((front, first_inside)), Some((back, last_inside))) =
            (self.locate(first), self.locate(last))
        else {
            return Default::default();
        };
        let behind = self.chunks.split_off((back + 1).min(self.chunks.len()));
        let kept = self.chunks.split_off(front.min(self.chunks.len()));
        let before = std::mem::replace(&mut self.chunks, kept);
        let copied_bytes = &mut self.copied_bytes;
        if let Some(chunk) = self.chunks.back_mut()
            && last_inside + 1 < chunk.count
        {
            own(chunk, copied_bytes).keep(0, last_inside);
        }
        if let Some(chunk) = self.chunks.front_mut()
            && first_inside > 0
        {
            let last = chunk.count - 1;
            own(chunk, copied_bytes).keep(first_inside, last);
        }
        self.len = last + 1 - first;
        [before, behind].map(|chunks| {
            let len = chunks.iter().map(|chunk| chunk.count).sum();
            Self { chunks, len, copied_bytes: 0 }
        })
    }

    fn iter_from(&self, start: usize) -> impl Iterator<Item = &[u8]> {
        let (number, inside) = self.locate(start).unwrap_or((self.chunks.len(), 0));
        self.chunks.range(number..).flat_map(|chunk| chunk.elements()).skip(inside)
    }

    fn contains(&self, data: &[u8], end: End) -> bool {
        let holds = |chunk: &Arc<Chunk>| chunk.elements().any(|element| element == data);
        match end {
            End::Left => self.chunks.iter().any(holds),
            End::Right => self.chunks.iter().rev().any(holds),
        }
    }

    /// The chunk numbers from the front or from the back.
    fn remove_equal(&mut self, data: &[u8], limit: usize, from_back: bool) -> usize {
        let mut left = limit;
        for step in 0..self.chunks.len() {
            let number = if from_back { self.chunks.len() - 1 - step } else { step };
            let Some(chunk) = self.chunks.get_mut(number) else {
                break;
            };
            let hits = chunk.elements().filter(|element| *element == data).count();
            if hits == 0 {
                continue;
            }
            let mut skip = if from_back { hits.saturating_sub(left) } else { 0 };
            let mut remove = hits.min(left);
            left -= remove;
            own(chunk, &mut self.copied_bytes).retain(|element| {
                if element != data {
                    return true;
                }
                if skip > 0 {
                    skip -= 1;
                    return true;
                }
                let keep = remove == 0;
                remove -= usize::from(!keep);
                keep
            });
            if left == 0 {
                break;
            }
        }
        self.chunks.retain(|chunk| chunk.count > 0);
        self.len -= limit - left;
        limit - left
    }
}

/// A list borrowed from where it is stored.
#[derive(Debug, Clone, Copy)]
pub enum ListRef<'a> {
    /// Stored beside its key.
    Packed(PackedRef<'a, BothWays>),
    /// Stored in chunks.
    Chunked(&'a ChunkedList),
}

impl<'a> ListRef<'a> {
    /// Number of elements. Cost: O(1).
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(seq) => seq.count(),
            Self::Chunked(list) => list.len,
        }
    }

    /// True when there are no elements; a stored list never is.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Element number `index`. Cost: O(chunks between it and the nearer end).
    #[must_use]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        match self {
            Self::Packed(seq) => seq.get(index),
            Self::Chunked(list) => list.get(index),
        }
    }

    /// True when an element equals `data`. Cost: O(elements up to it, looked for from `end`).
    #[must_use]
    pub fn contains(self, data: &[u8], end: End) -> bool {
        match self {
            Self::Packed(seq) => seq.iter().any(|element| element == data),
            Self::Chunked(list) => list.contains(data, end),
        }
    }

    /// Calls `each` with the elements from `end` on and their distance from it, until it breaks.
    /// Cost: O(elements up to there).
    pub fn walk(self, end: End, mut each: impl FnMut(usize, &'a [u8]) -> ControlFlow<()>) {
        let mut each = |(distance, element)| each(distance, element);
        // The broken walk has told its caller all there is to tell.
        let _ended = match (self, end) {
            (Self::Packed(seq), End::Left) => seq.iter().enumerate().try_for_each(&mut each),
            (Self::Packed(seq), End::Right) => seq.iter().rev().enumerate().try_for_each(&mut each),
            (Self::Chunked(list), End::Left) => list
                .chunks
                .iter()
                .flat_map(|chunk| chunk.elements())
                .enumerate()
                .try_for_each(&mut each),
            (Self::Chunked(list), End::Right) => list
                .chunks
                .iter()
                .rev()
                .flat_map(|chunk| chunk.elements().rev())
                .enumerate()
                .try_for_each(&mut each),
        };
    }

    /// The number of the first element that equals `data`. Cost: O(elements up to it).
    #[must_use]
    pub fn position(self, data: &[u8]) -> Option<usize> {
        let mut found = None;
        self.walk(End::Left, |index, element| {
            if element != data {
                return ControlFlow::Continue(());
            }
            found = Some(index);
            ControlFlow::Break(())
        });
        found
    }

    /// Calls `each` for `count` elements from number `start` on. Cost: O(s + n), s as for `get`.
    pub fn for_each(self, start: usize, count: usize, each: impl FnMut(&'a [u8])) {
        match self {
            Self::Packed(seq) => seq.iter().skip(start).take(count).for_each(each),
            Self::Chunked(list) => list.iter_from(start).take(count).for_each(each),
        }
    }
}

/// A list that can change.
#[derive(Debug, Clone)]
pub enum List {
    /// Small.
    Packed(PackedSeq<BothWays>),
    /// Large.
    Chunked(ChunkedList),
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl Collection for List {
    const TYPE: ValueType = ValueType::List;

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn from_packed(bytes: InOwner) -> Self {
        Self::Packed(PackedSeq::in_owner(bytes))
    }

    fn take_large(stored: &mut LargeValue) -> Option<Self> {
        match stored {
            LargeValue::List(list) => Some(Self::Chunked(std::mem::take(list))),
            _ => None,
        }
    }

    fn into_form(self) -> Form {
        match self {
            Self::Packed(seq) => Form::Packed(Self::TYPE, seq.into_owner()),
            Self::Chunked(list) => Form::Large(LargeValue::List(list)),
        }
    }

    fn into_value(self) -> Value {
        Value::List(self)
    }

    fn take_copied_bytes(&mut self) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Chunked(list) => std::mem::take(&mut list.copied_bytes),
        }
    }
}

/// One of the two ends of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The front, where LPUSH pushes.
    Left,
    /// The back, where RPUSH pushes.
    Right,
}

impl List {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::Packed(PackedSeq::new())
    }

    /// An empty list with room for elements of so many bytes together, as long as it is packed.
    #[must_use]
    pub fn with_room(elements: usize, bytes: usize) -> Self {
        let bytes = packed::sequence_bytes_max::<BothWays>(elements, bytes);
        Self::Packed(PackedSeq::with_room(bytes.min(PACKED_LIST_BYTES_MAX)))
    }

    /// The list for reading.
    #[must_use]
    pub fn as_ref(&self) -> ListRef<'_> {
        match self {
            Self::Packed(seq) => ListRef::Packed(seq.as_ref()),
            Self::Chunked(list) => ListRef::Chunked(list),
        }
    }

    /// Number of elements. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// True when there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pushes one element. Cost: O(1) amortized.
    pub fn push(&mut self, end: End, data: &[u8]) {
        if let Self::Packed(seq) = self {
            let bytes = seq.packed_bytes() + packed::element_bytes::<BothWays>(data.len());
            if bytes <= PACKED_LIST_BYTES_MAX && seq.count() < PACKED_LIST_ELEMENTS_MAX {
                match end {
                    End::Left => seq.push_front(data),
                    End::Right => seq.push_back(data),
                }
                return;
            }
        }
        let list = self.make_chunked();
        match end {
            End::Left => list.push_front(data),
            End::Right => list.push_back(data),
        }
    }

    /// Removes one element and gives its bytes to `take`. Cost: O(1).
    pub fn pop<R>(&mut self, end: End, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Self::Packed(seq) => {
                let mut elements = seq.elements();
                let (span, data) = match end {
                    End::Left => elements.next_span()?,
                    End::Right => elements.next_back_span()?,
                };
                let taken = take(data);
                seq.remove(span.whole, 1);
                Some(taken)
            }
            Self::Chunked(list) => match end {
                End::Left => list.pop_front(take),
                End::Right => list.pop_back(take),
            },
        }
    }

    /// Replaces element number `index`, which must exist. Cost: as for `get`.
    pub fn set(&mut self, index: usize, data: &[u8]) {
        if let Self::Packed(seq) = self {
            let Some(span) = seq.span(index) else { return };
            let bytes = seq.packed_bytes() + packed::element_bytes::<BothWays>(data.len());
            if bytes - span.whole.len() <= PACKED_LIST_BYTES_MAX {
                seq.replace(&span, data);
                return;
            }
        }
        self.make_chunked().set(index, data);
    }

    /// Puts an element in front of element number `index`, which must exist or be the next one.
    /// Cost: as for `get`.
    pub fn insert(&mut self, index: usize, data: &[u8]) {
        if index == self.len() {
            self.push(End::Right, data);
            return;
        }
        if let Self::Packed(seq) = self {
            let bytes = seq.packed_bytes() + packed::element_bytes::<BothWays>(data.len());
            if bytes <= PACKED_LIST_BYTES_MAX && seq.count() < PACKED_LIST_ELEMENTS_MAX {
                let Some(span) = seq.span(index) else { return };
                seq.insert(span.whole.start, data);
                return;
            }
        }
        self.make_chunked().insert(index, data);
    }

    /// Keeps the elements from number `first` to number `last`, which must exist; returns large
    /// parts that are yet to be freed. Cost: O(chunks).
    pub fn keep(&mut self, first: usize, last: usize) -> Vec<List> {
        match self {
            Self::Packed(seq) => {
                let (Some(from), Some(to)) = (seq.span(first), seq.span(last)) else {
                    return Vec::new();
                };
                let (count, end) = (seq.count(), seq.end());
                seq.remove(to.whole.end..end, count - 1 - last);
                seq.remove(seq.first()..from.whole.start, first);
                Vec::new()
            }
            Self::Chunked(list) => list
                .keep(first, last)
                .into_iter()
                .filter(|part| !part.is_empty())
                .map(Self::Chunked)
                .collect(),
        }
    }

    /// Removes up to `limit` elements equal to `data`, from the front or from the back; returns
    /// how many. Cost: O(n).
    pub fn remove_equal(&mut self, data: &[u8], limit: usize, end: End) -> usize {
        match self {
            Self::Packed(seq) => {
                let mut removed = 0;
                let mut elements = seq.elements();
                let mut spans = Vec::new();
                while removed < limit {
                    let next = match end {
                        End::Left => elements.next_span(),
                        End::Right => elements.next_back_span(),
                    };
                    let Some((span, element)) = next else { break };
                    if element == data {
                        spans.push(span.whole);
                        removed += 1;
                    }
                }
                spans.sort_unstable_by_key(|whole| whole.start);
                for whole in spans.into_iter().rev() {
                    seq.remove(whole, 1);
                }
                removed
            }
            Self::Chunked(list) => list.remove_equal(data, limit, end == End::Right),
        }
    }

    fn make_chunked(&mut self) -> &mut ChunkedList {
        if let Self::Packed(seq) = self {
            let mut list = ChunkedList::default();
            for data in seq.as_ref().iter() {
                list.push_back(data);
            }
            *self = Self::Chunked(list);
        }
        match self {
            Self::Chunked(list) => list,
            Self::Packed(_) => unreachable!("a packed list was just replaced by a chunked one"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::data::chunk::CHUNK_ROOM_KEPT_MAX;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Change {
        Push(End, Vec<u8>, usize),
        Pop(End, usize),
        Set(usize, Vec<u8>),
        Remove(Vec<u8>, usize, End),
        Insert(usize, Vec<u8>, usize),
        Keep(usize, usize),
        Hold,
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![Just(End::Left), Just(End::Right)]
    }

    fn data() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => prop::collection::vec(0_u8..3, 0..2),
            2 => prop::collection::vec(any::<u8>(), 0..200),
            1 => prop::collection::vec(any::<u8>(), 4000..9000),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            6 => (end(), data(), 1_usize..60).prop_map(|(e, d, n)| Change::Push(e, d, n)),
            3 => (end(), 1_usize..40).prop_map(|(e, n)| Change::Pop(e, n)),
            2 => (any::<usize>(), data()).prop_map(|(i, d)| Change::Set(i, d)),
            2 => (prop::collection::vec(0_u8..3, 0..2), 1_usize..50, end())
                .prop_map(|(d, n, e)| Change::Remove(d, n, e)),
            3 => (any::<usize>(), data(), 1_usize..40)
                .prop_map(|(i, d, n)| Change::Insert(i, d, n)),
            1 => (0_usize..60, 0_usize..60).prop_map(|(f, l)| Change::Keep(f, l)),
            1 => Just(Change::Hold),
        ]
    }

    fn contents(list: ListRef<'_>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        list.for_each(0, usize::MAX, |data| all.push(data.to_vec()));
        all
    }

    fn apply(change: &Change, list: &mut List, model: &mut VecDeque<Vec<u8>>) {
        match change {
            Change::Push(end, data, times) => {
                for _ in 0..*times {
                    list.push(*end, data);
                    match end {
                        End::Left => model.push_front(data.clone()),
                        End::Right => model.push_back(data.clone()),
                    }
                }
            }
            Change::Pop(end, times) => {
                for _ in 0..*times {
                    let expected = match end {
                        End::Left => model.pop_front(),
                        End::Right => model.pop_back(),
                    };
                    assert_eq!(list.pop(*end, <[u8]>::to_vec), expected);
                }
            }
            Change::Set(index, data) if !model.is_empty() => {
                let index = index % model.len();
                list.set(index, data);
                model[index].clone_from(data);
            }
            Change::Remove(data, limit, end) => {
                let mut hits: Vec<usize> =
                    (0..model.len()).filter(|i| model[*i] == *data).collect();
                if *end == End::Right {
                    hits.reverse();
                }
                hits.truncate(*limit);
                assert_eq!(list.remove_equal(data, *limit, *end), hits.len());
                hits.sort_unstable();
                for index in hits.into_iter().rev() {
                    model.remove(index);
                }
            }
            Change::Insert(index, data, times) => {
                let index = index % (model.len() + 1);
                for _ in 0..*times {
                    list.insert(index, data);
                    model.insert(index, data.clone());
                }
            }
            Change::Keep(first, cut) if first + cut < model.len() => {
                let dropped = list.keep(*first, model.len() - 1 - cut);
                assert!(dropped.iter().map(List::len).sum::<usize>() <= first + cut);
                model.drain(..first);
                model.truncate(model.len() - cut);
            }
            Change::Set(..) | Change::Keep(..) | Change::Hold => {}
        }
    }

    #[test]
    fn inserting_in_one_place_keeps_chunks_small_and_full() {
        for step in [0, 1] {
            let mut list = List::new();
            (0..1_000).for_each(|_| list.push(End::Right, b"0123456789"));
            for n in 0..10_000 {
                list.insert(500 + n * step, b"0123456789");
            }
            let List::Chunked(list) = list else { panic!("11,000 elements are not packed") };
            assert!(list.chunks.iter().all(|chunk| chunk.bytes() <= CHUNK_BYTES_MAX));
            assert!(list.chunk_count() < 70, "{}", list.chunk_count());
        }
    }

    #[test]
    fn a_queue_kept_the_room_of_everything_that_had_passed_through_it() {
        for (push, pop) in [(End::Right, End::Left), (End::Left, End::Right)] {
            let mut list = List::new();
            for _ in 0..200 {
                list.push(push, b"0123456789");
            }
            for _ in 0..100_000 {
                list.push(push, b"0123456789");
                list.pop(pop, |_| ()).unwrap();
            }
            let List::Chunked(list) = list else { panic!("200 elements are not packed") };
            let room: usize = list.chunks.iter().map(|chunk| chunk.room()).sum();
            assert!(room <= 3 * CHUNK_BYTES_MAX, "{room} bytes for {} elements", list.len());
        }
    }

    #[test]
    fn a_chunk_kept_the_room_of_an_element_that_had_become_small() {
        let mut list = List::new();
        (0..200).for_each(|_| list.push(End::Right, b"0123456789"));
        for index in 0..200 {
            list.set(index, &vec![b'x'; 100_000]);
            list.set(index, b"0123456789");
        }
        let List::Chunked(list) = list else { panic!("200 elements are not packed") };
        let room: usize = list.chunks.iter().map(|chunk| chunk.room()).sum();
        assert!(room <= 200 * CHUNK_ROOM_KEPT_MAX / 10, "{room} bytes");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn behaves_like_a_deque_and_never_changes_a_held_copy(
            changes in prop::collection::vec(change(), 0..40)
        ) {
            let mut model = VecDeque::new();
            let mut list = List::new();
            let mut held: Option<(List, Vec<Vec<u8>>)> = None;
            for change in &changes {
                if matches!(change, Change::Hold) {
                    held = Some((list.clone(), contents(list.as_ref())));
                }
                apply(change, &mut list, &mut model);
                prop_assert_eq!(list.len(), model.len());
                let probe = model.len() / 3;
                prop_assert_eq!(list.as_ref().get(probe), model.get(probe).map(|d| &d[..]));
            }
            prop_assert_eq!(contents(list.as_ref()), Vec::from(model.clone()));
            for (index, data) in model.iter().enumerate() {
                prop_assert_eq!(list.as_ref().get(index).unwrap(), &data[..]);
            }
            if let Some((copy, before)) = held {
                prop_assert_eq!(contents(copy.as_ref()), before);
            }
        }
    }
}
