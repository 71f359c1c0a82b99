//! A sequence of byte strings in one run of bytes, readable from both ends.
//!
//! ```text
//!   [ owner's bytes ][ count: u16 ][ element ][ element ] ...
//!                    ^ base
//!   element: [ length ][ bytes ][ length, its bytes in reverse ]
//!   length:  0xxxxxxx | 10xxxxxx xxxxxxxx | 11000000 + 4 bytes
//! ```
//!
//! Small lists and hashes live in this form inside the allocation that also holds their key: a
//! few bytes per element instead of an allocation each. The bytes before `base` belong to the
//! owner, who lends the whole allocation for a change and takes it back, so nothing is copied.
//! Nothing here can panic on bytes that are not well formed: a walk just ends.

use std::ops::Range;

const COUNT_BYTES: usize = 2;

/// Elements a packed sequence may hold; its users convert long before.
pub const PACKED_ELEMENTS_MAX: usize = u16::MAX as usize;

/// Where one element stands in its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The whole element, lengths included.
    pub whole: Range<usize>,
    /// Its bytes.
    pub data: Range<usize>,
}

/// Bytes that an element of `len` bytes takes.
#[must_use]
pub fn element_bytes(len: usize) -> usize {
    len + 2 * length_bytes(len)
}

/// The most that `elements` elements take that have `bytes` bytes together, if none is very long.
#[must_use]
pub fn sequence_bytes_max(elements: usize, bytes: usize) -> usize {
    bytes.saturating_add(elements.saturating_mul(2 * length_bytes(0x80)))
}

fn length_bytes(len: usize) -> usize {
    match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 5,
    }
}

/// The length prefix of an element and how many of the five bytes it takes.
fn length_prefix(len: usize) -> ([u8; 5], usize) {
    let [_, _, _, _, a, b, c, d] = (len as u64).to_be_bytes();
    match length_bytes(len) {
        1 => ([d, 0, 0, 0, 0], 1),
        2 => ([0x80 | c, d, 0, 0, 0], 2),
        _ => ([0xc0, a, b, c, d], 5),
    }
}

/// Reads a length from the bytes that `byte` gives in order; returns it and the bytes used.
fn read_length(byte: impl Fn(usize) -> Option<u8>) -> Option<(usize, usize)> {
    let first = byte(0)?;
    match first {
        0..0x80 => Some((usize::from(first), 1)),
        0x80..0xc0 => Some((usize::from(first & 0x3f) << 8 | usize::from(byte(1)?), 2)),
        _ => {
            let len = u32::from_be_bytes([byte(1)?, byte(2)?, byte(3)?, byte(4)?]);
            Some((usize::try_from(len).ok()?, 5))
        }
    }
}

/// Writes one element over `room`, which must have exactly [`element_bytes`] of `data`.
fn write_element(room: &mut [u8], data: &[u8]) {
    let (mut prefix, used) = length_prefix(data.len());
    let Some(prefix) = prefix.get_mut(..used) else {
        return;
    };
    let Some((head, rest)) = room.split_at_mut_checked(used) else {
        return;
    };
    let Some((body, tail)) = rest.split_at_mut_checked(data.len()) else {
        return;
    };
    if tail.len() == used {
        head.copy_from_slice(prefix);
        body.copy_from_slice(data);
        prefix.reverse();
        tail.copy_from_slice(prefix);
    }
}

/// The element that starts at `at`.
#[inline]
#[must_use]
pub fn element_at(buffer: &[u8], at: usize) -> Option<Span> {
    let rest = buffer.get(at..)?;
    let (len, used) = read_length(|i| rest.get(i).copied())?;
    let data = at + used..at + used + len;
    let whole = at..data.end + used;
    (whole.end <= buffer.len()).then_some(Span { whole, data })
}

/// The element that ends at `end`, not before `start`.
#[inline]
#[must_use]
pub fn element_before(buffer: &[u8], start: usize, end: usize) -> Option<Span> {
    let rest = buffer.get(start..end)?;
    let (len, used) =
        read_length(|i| rest.len().checked_sub(i + 1).and_then(|p| rest.get(p)).copied())?;
    let data_end = end.checked_sub(used)?;
    let data = data_end.checked_sub(len)?..data_end;
    let whole = data.start.checked_sub(used)?..end;
    (whole.start >= start).then_some(Span { whole, data })
}

/// Inserts an element at `at`. Cost: O(bytes behind it).
pub fn insert_element(buffer: &mut Vec<u8>, at: usize, data: &[u8]) {
    let size = element_bytes(data.len());
    let old_len = buffer.len();
    buffer.reserve_exact(size);
    buffer.resize(old_len + size, 0);
    buffer.copy_within(at..old_len, at + size);
    if let Some(room) = buffer.get_mut(at..at + size) {
        write_element(room, data);
    }
}

/// Appends an element, which reserves no more than it takes. Cost: O(bytes of it).
#[inline]
pub fn append_element(buffer: &mut Vec<u8>, data: &[u8]) {
    append_joined(buffer, &[], data);
}

/// As [`append_element`], of a short head and what follows it.
#[inline]
fn append_joined(buffer: &mut Vec<u8>, head: &[u8], data: &[u8]) {
    let len = head.len() + data.len();
    let (prefix, used) = length_prefix(len);
    let prefix = prefix.get(..used).unwrap_or_default();
    buffer.reserve_exact(element_bytes(len));
    // For a byte or two the call that copies them costs more than they do.
    prefix.iter().for_each(|byte| buffer.push(*byte));
    head.iter().for_each(|byte| buffer.push(*byte));
    buffer.extend_from_slice(data);
    prefix.iter().rev().for_each(|byte| buffer.push(*byte));
}

/// Replaces the element at `span` by one with other bytes. Cost: O(bytes behind it).
pub fn replace_element(buffer: &mut Vec<u8>, span: &Span, data: &[u8]) {
    let (old, new) = (span.whole.len(), element_bytes(data.len()));
    let len = buffer.len();
    if new > old {
        buffer.reserve_exact(new - old);
        buffer.resize(len + new - old, 0);
        buffer.copy_within(span.whole.end..len, span.whole.start + new);
    } else if new < old {
        buffer.copy_within(span.whole.end..len, span.whole.start + new);
        buffer.truncate(len + new - old);
    }
    if let Some(room) = buffer.get_mut(span.whole.start..span.whole.start + new) {
        write_element(room, data);
    }
}

/// Writes an element so that it ends at `end`; the room must be there. For gaps at the front.
pub fn write_element_before(buffer: &mut [u8], end: usize, data: &[u8]) -> Option<usize> {
    let start = end.checked_sub(element_bytes(data.len()))?;
    write_element(buffer.get_mut(start..end)?, data);
    Some(start)
}

/// Elements of a run of bytes, from both ends.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    buffer: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Elements<'a> {
    /// The elements in `buffer[start..]`.
    #[must_use]
    pub fn new(buffer: &'a [u8], start: usize) -> Self {
        Self { buffer, start, end: buffer.len() }
    }

    /// The next element and where it stands.
    #[inline]
    pub fn next_span(&mut self) -> Option<(Span, &'a [u8])> {
        if self.start >= self.end {
            return None;
        }
        let span = element_at(self.buffer, self.start)?;
        self.start = span.whole.end;
        let data = self.buffer.get(span.data.clone())?;
        Some((span, data))
    }

    /// The next element from the back and where it stands.
    pub fn next_back_span(&mut self) -> Option<(Span, &'a [u8])> {
        if self.start >= self.end {
            return None;
        }
        let span = element_before(self.buffer, self.start, self.end)?;
        self.end = span.whole.start;
        let data = self.buffer.get(span.data.clone())?;
        Some((span, data))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.next_span().map(|(_, data)| data)
    }
}

impl DoubleEndedIterator for Elements<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_back_span().map(|(_, data)| data)
    }
}

/// A packed sequence borrowed from where it is stored: the count, then the elements.
#[derive(Debug, Clone, Copy)]
pub struct PackedRef<'a>(pub &'a [u8]);

impl<'a> PackedRef<'a> {
    /// Number of elements. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn count(self) -> usize {
        self.0.first_chunk().map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
    }

    /// The elements in order, from both ends.
    #[inline]
    #[must_use]
    pub fn iter(self) -> Elements<'a> {
        Elements::new(self.0, COUNT_BYTES)
    }

    /// The element with number `index`. Cost: O(distance to the nearer end).
    #[must_use]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        let count = self.count();
        if index >= count {
            None
        } else if index <= count / 2 {
            self.iter().nth(index)
        } else {
            self.iter().nth_back(count - 1 - index)
        }
    }
}

/// A packed sequence that can change; it may share its allocation with its owner's bytes.
#[derive(Debug, Clone, Default)]
pub struct PackedSeq {
    buffer: Vec<u8>,
    base: usize,
}

impl PackedSeq {
    /// An empty sequence with an allocation of its own.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; COUNT_BYTES], base: 0 }
    }

    /// An empty sequence with room for `bytes` of elements, their lengths included.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(COUNT_BYTES + bytes);
        buffer.resize(COUNT_BYTES, 0);
        Self { buffer, base: 0 }
    }

    /// The sequence that stands in `buffer` behind `base` bytes of the owner.
    #[must_use]
    pub fn in_owner(buffer: Vec<u8>, base: usize) -> Self {
        Self { buffer, base }
    }

    /// The allocation with the owner's bytes, and their number.
    #[must_use]
    pub fn into_owner(self) -> (Vec<u8>, usize) {
        (self.buffer, self.base)
    }

    /// The sequence for reading.
    #[must_use]
    pub fn as_ref(&self) -> PackedRef<'_> {
        PackedRef(self.buffer.get(self.base..).unwrap_or_default())
    }

    /// Number of elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.as_ref().count()
    }

    /// Bytes that the sequence takes, without the owner's.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.buffer.len() - self.base
    }

    /// A walk over the elements with their places; see [`replace`](Self::replace).
    #[must_use]
    pub fn elements(&self) -> Elements<'_> {
        Elements::new(&self.buffer, self.base + COUNT_BYTES)
    }

    /// Where element number `index` stands. Cost: O(distance to the nearer end).
    #[must_use]
    pub fn span(&self, index: usize) -> Option<Span> {
        let count = self.count();
        let mut elements = self.elements();
        if index >= count {
            return None;
        }
        if index <= count / 2 {
            (0..=index).map_while(|_| elements.next_span()).last().map(|(span, _)| span)
        } else {
            (0..count - index).map_while(|_| elements.next_back_span()).last().map(|(span, _)| span)
        }
    }

    /// Appends an element at the end.
    pub fn push_back(&mut self, data: &[u8]) {
        append_element(&mut self.buffer, data);
        self.add_to_count(1);
    }

    /// Appends elements, each of a short head and what follows it.
    #[inline]
    pub fn extend_joined<'d, H: AsRef<[u8]>>(
        &mut self,
        elements: impl Iterator<Item = (H, &'d [u8])>,
    ) {
        let mut added = 0;
        for (head, data) in elements {
            append_joined(&mut self.buffer, head.as_ref(), data);
            added += 1;
        }
        self.add_to_count(added);
    }

    /// Puts an element in front. Cost: O(bytes).
    pub fn push_front(&mut self, data: &[u8]) {
        insert_element(&mut self.buffer, self.base + COUNT_BYTES, data);
        self.add_to_count(1);
    }

    /// Puts an element where another one starts, in front of it. Cost: O(bytes behind it).
    pub fn insert(&mut self, at: usize, data: &[u8]) {
        insert_element(&mut self.buffer, at, data);
        self.add_to_count(1);
    }

    /// Where the first element starts.
    #[must_use]
    pub fn first(&self) -> usize {
        self.base + COUNT_BYTES
    }

    /// Where the last element ends.
    #[must_use]
    pub fn end(&self) -> usize {
        self.buffer.len()
    }

    /// Replaces the element at `span`. Cost: O(bytes behind it).
    pub fn replace(&mut self, span: &Span, data: &[u8]) {
        replace_element(&mut self.buffer, span, data);
    }

    /// Removes `elements` elements that stand together in `range`. Cost: O(bytes behind them).
    pub fn remove(&mut self, range: Range<usize>, elements: usize) {
        if range.start <= range.end && range.end <= self.buffer.len() {
            self.buffer.drain(range);
            self.add_to_count(-i32::try_from(elements).unwrap_or(i32::MAX));
        }
    }

    fn add_to_count(&mut self, change: i32) {
        let count = i32::try_from(self.count()).unwrap_or(0).saturating_add(change);
        let count = u16::try_from(count.max(0)).unwrap_or(u16::MAX);
        if let Some(place) = self.buffer.get_mut(self.base..self.base + COUNT_BYTES) {
            place.copy_from_slice(&count.to_le_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contents(seq: &PackedSeq) -> Vec<Vec<u8>> {
        seq.as_ref().iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn lengths_around_every_class_come_back() {
        for len in [0, 1, 127, 128, 129, 0x3fff, 0x4000, 70_000] {
            let mut seq = PackedSeq::in_owner(b"key..".to_vec(), 3);
            seq.push_back(&vec![b'x'; len]);
            seq.push_front(b"front");
            seq.push_back(b"back");
            assert_eq!(seq.as_ref().get(1).unwrap().len(), len);
            assert_eq!(seq.as_ref().iter().nth_back(1).unwrap().len(), len);
            assert_eq!(&seq.into_owner().0[..3], b"key");
        }
    }

    #[test]
    fn malformed_bytes_end_the_walk() {
        for bytes in [&[9, 0, 0xff][..], &[9, 0, 0x85, 1, 2], &[9, 0, 5, b'a'], &[9], &[]] {
            assert_eq!(PackedRef(bytes).iter().count(), 0);
            assert_eq!(PackedRef(bytes).iter().rev().count(), 0);
        }
    }

    #[derive(Debug, Clone)]
    enum Change {
        Front(Vec<u8>),
        Back(Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize, usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        let data = || prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            data().prop_map(Change::Front),
            data().prop_map(Change::Back),
            (any::<usize>(), data()).prop_map(|(i, d)| Change::Replace(i, d)),
            (any::<usize>(), 1_usize..4).prop_map(|(i, n)| Change::Remove(i, n)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(changes in prop::collection::vec(change(), 0..60)) {
            let mut model: Vec<Vec<u8>> = Vec::new();
            let mut seq = PackedSeq::in_owner(b"owner\0\0".to_vec(), 5);
            for change in changes {
                match change {
                    Change::Front(data) => { seq.push_front(&data); model.insert(0, data); }
                    Change::Back(data) => { seq.push_back(&data); model.push(data); }
                    Change::Replace(at, data) if !model.is_empty() => {
                        let at = at % model.len();
                        seq.replace(&seq.span(at).unwrap(), &data);
                        model[at] = data;
                    }
                    Change::Remove(at, n) if !model.is_empty() => {
                        let at = at % model.len();
                        let end = (at + n).min(model.len());
                        let range = seq.span(at).unwrap().whole.start
                            ..seq.span(end - 1).unwrap().whole.end;
                        seq.remove(range, end - at);
                        model.drain(at..end);
                    }
                    Change::Replace(..) | Change::Remove(..) => {}
                }
                prop_assert_eq!(&contents(&seq), &model);
                prop_assert_eq!(seq.count(), model.len());
                let mut back: Vec<_> = seq.as_ref().iter().rev().map(<[u8]>::to_vec).collect();
                back.reverse();
                prop_assert_eq!(&back, &model);
                for (index, data) in model.iter().enumerate() {
                    prop_assert_eq!(seq.as_ref().get(index).unwrap(), &data[..]);
                }
            }
            prop_assert_eq!(&seq.into_owner().0[..5], b"owner");
        }
    }
}
