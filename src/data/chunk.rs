//! One chunk of a large list: a run of packed elements with a gap in front, so that pushing at
//! either end is O(1) amortized.

use crate::data::packed::{self, BothWays, Elements};

/// A chunk holds at most this many bytes, unless it holds a single element.
pub(super) const CHUNK_BYTES_MAX: usize = 4096;
const CHUNK_BYTES_MIN: usize = 256;
/// A chunk with more room than this gives most of it back when it is nearly empty.
pub(super) const CHUNK_ROOM_KEPT_MAX: usize = 4 * CHUNK_BYTES_MAX;

/// A run of elements: `[ gap | element | element ... ]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    buffer: Vec<u8>,
    start: usize,
    pub(super) count: usize,
}

impl Chunk {
    pub(super) fn bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Bytes that the buffer has room for.
    pub(super) fn room(&self) -> usize {
        self.buffer.capacity()
    }

    pub(super) fn accepts(&self, size: usize) -> bool {
        self.count == 0 || self.bytes() + size <= CHUNK_BYTES_MAX
    }

    pub(super) fn elements(&self) -> Elements<'_, BothWays> {
        Elements::new(&self.buffer, self.start)
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        if index >= self.count {
            None
        } else if index <= self.count / 2 {
            self.elements().nth(index)
        } else {
            self.elements().nth_back(self.count - 1 - index)
        }
    }

    pub(super) fn push_back(&mut self, data: &[u8]) {
        let size = packed::element_bytes::<BothWays>(data.len());
        if self.buffer.capacity() < self.buffer.len() + size && 2 * self.start >= self.bytes() {
            self.close_gap();
        }
        if self.buffer.capacity() < self.buffer.len() + size {
            let larger = (2 * self.buffer.len()).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
            self.buffer.reserve_exact(larger.saturating_sub(self.buffer.len()).max(size));
        }
        packed::append_element::<BothWays>(&mut self.buffer, data);
        self.count += 1;
    }

    pub(super) fn push_front(&mut self, data: &[u8]) {
        let size = packed::element_bytes::<BothWays>(data.len());
        if self.start < size {
            let gap = size.max(self.bytes().clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX) / 2);
            let mut buffer = vec![0; gap];
            buffer.extend_from_slice(self.buffer.get(self.start..).unwrap_or_default());
            self.buffer = buffer;
            self.start = gap;
        }
        if let Some(start) =
            packed::write_element_before::<BothWays>(&mut self.buffer, self.start, data)
        {
            self.start = start;
            self.count += 1;
        }
    }

    /// Moves the elements to the start of the buffer: what elements leave behind at the front is
    /// room for new ones at the back. Cost: O(bytes), paid for by the pops that made the gap.
    fn close_gap(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
    }

    /// Gives memory back when an element that was much larger than a chunk has gone.
    fn give_back_room(&mut self) {
        let room = self.buffer.capacity();
        if room > CHUNK_ROOM_KEPT_MAX && self.bytes() < room / 4 {
            self.close_gap();
            self.buffer.shrink_to_fit();
        }
    }

    pub(super) fn pop_front<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let (span, data) = self.elements().next_span()?;
        let taken = take(data);
        self.start = span.whole.end;
        self.count -= 1;
        self.give_back_room();
        Some(taken)
    }

    pub(super) fn pop_back<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let (span, data) = self.elements().next_back_span()?;
        let taken = take(data);
        self.buffer.truncate(span.whole.start);
        self.count -= 1;
        self.give_back_room();
        Some(taken)
    }

    pub(super) fn set(&mut self, index: usize, data: &[u8]) {
        let mut elements = self.elements();
        let span = (0..=index).map_while(|_| elements.next_span()).last();
        if let Some((span, _)) = span {
            packed::replace_element::<BothWays>(&mut self.buffer, &span, data);
            self.give_back_room();
        }
    }

    /// Keeps the elements that `keep` accepts, asked in order.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let mut kept = Chunk::default();
        for data in self.elements() {
            if keep(data) {
                kept.push_back(data);
            }
        }
        *self = kept;
    }

    /// Where element number `index` starts; behind the last element for its number.
    fn offset(&self, index: usize) -> usize {
        let mut elements = self.elements();
        let before = (0..index).map_while(|_| elements.next_span()).last();
        before.map_or(self.start, |(span, _)| span.whole.end)
    }

    /// Puts an element in front of element number `index`.
    pub(super) fn insert(&mut self, index: usize, data: &[u8]) {
        let at = self.offset(index);
        packed::insert_element::<BothWays>(&mut self.buffer, at, data);
        self.count += 1;
    }

    /// Drops the elements before number `first` and those behind number `last`.
    pub(super) fn keep(&mut self, first: usize, last: usize) {
        let (start, end) = (self.offset(first), self.offset(last + 1));
        self.buffer.truncate(end);
        self.start = start;
        self.count = last + 1 - first;
        self.give_back_room();
    }

    /// Moves the elements from number `index` on into a new chunk.
    pub(super) fn split(&mut self, index: usize) -> Chunk {
        let at = self.offset(index);
        let second =
            Chunk { buffer: self.buffer.split_off(at), start: 0, count: self.count - index };
        self.count = index;
        self.give_back_room();
        second
    }
}
