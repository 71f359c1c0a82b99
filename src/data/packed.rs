//! A sequence of byte strings in one run of bytes.
//!
//! ```text
//!   [ owner's bytes ][ count: u16 ][ element ][ element ] ...
//!                    ^ base
//!   element: [ length ][ bytes ]                                    of a Forward sequence
//!            [ length ][ bytes ][ length, its bytes in reverse ]    of one of BothWays
//!   length:  0xxxxxxx | 10xxxxxx xxxxxxxx | 11000000 + 4 bytes
//! ```
//!
//! Small collections live in this form inside the allocation that also holds their key: a few
//! bytes per element instead of an allocation each. Hashes and sets are read from the front only
//! and save the second length; lists and sorted sets are read from either end. The bytes before
//! `base` belong to the owner, who lends the whole allocation for a change and takes it back, so
//! nothing is copied. Nothing here can panic on bytes that are not well formed: a walk just ends.

use crate::data::InOwner;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Range;

const COUNT_BYTES: usize = 2;

/// Elements a packed sequence may hold; its users convert long before.
pub const PACKED_ELEMENTS_MAX: usize = u16::MAX as usize;

/// Whether the elements of a sequence can be walked from the back, too.
pub trait Direction: Debug + Clone + Copy + Default {
    /// True when an element has its length behind it a second time.
    const BACKWARD: bool;
}

/// From the front only.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forward;

impl Direction for Forward {
    const BACKWARD: bool = false;
}

/// From either end.
#[derive(Debug, Clone, Copy, Default)]
pub struct BothWays;

impl Direction for BothWays {
    const BACKWARD: bool = true;
}

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
pub fn element_bytes<D: Direction>(len: usize) -> usize {
    len + lengths::<D>() * length_bytes(len)
}

/// The most that `elements` elements take that have `bytes` bytes together, if none is very long.
#[must_use]
pub fn sequence_bytes_max<D: Direction>(elements: usize, bytes: usize) -> usize {
    bytes.saturating_add(elements.saturating_mul(lengths::<D>() * length_bytes(0x80)))
}

/// How often an element has its length.
const fn lengths<D: Direction>() -> usize {
    if D::BACKWARD { 2 } else { 1 }
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
fn write_element<D: Direction>(room: &mut [u8], data: &[u8]) {
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
    if tail.len() == (lengths::<D>() - 1) * used {
        head.copy_from_slice(prefix);
        body.copy_from_slice(data);
        if D::BACKWARD {
            prefix.reverse();
            tail.copy_from_slice(prefix);
        }
    }
}

/// The element that starts at `at`.
#[inline]
fn element_at<D: Direction>(buffer: &[u8], at: usize) -> Option<Span> {
    let rest = buffer.get(at..)?;
    let (len, used) = read_length(|i| rest.get(i).copied())?;
    let data = at + used..at + used + len;
    let whole = at..data.end + (lengths::<D>() - 1) * used;
    (whole.end <= buffer.len()).then_some(Span { whole, data })
}

/// The element that ends at `end`, not before `start`, of a sequence of both ways.
#[inline]
fn element_before(buffer: &[u8], start: usize, end: usize) -> Option<Span> {
    let rest = buffer.get(start..end)?;
    let (len, used) =
        read_length(|i| rest.len().checked_sub(i + 1).and_then(|p| rest.get(p)).copied())?;
    let data_end = end.checked_sub(used)?;
    let data = data_end.checked_sub(len)?..data_end;
    let whole = data.start.checked_sub(used)?..end;
    (whole.start >= start).then_some(Span { whole, data })
}

/// Inserts an element at `at`. Cost: O(bytes behind it).
pub fn insert_element<D: Direction>(buffer: &mut Vec<u8>, at: usize, data: &[u8]) {
    let size = element_bytes::<D>(data.len());
    let old_len = buffer.len();
    buffer.reserve_exact(size);
    buffer.resize(old_len + size, 0);
    buffer.copy_within(at..old_len, at + size);
    if let Some(room) = buffer.get_mut(at..at + size) {
        write_element::<D>(room, data);
    }
}

/// Appends an element, which reserves no more than it takes. Cost: O(bytes of it).
#[inline]
pub fn append_element<D: Direction>(buffer: &mut Vec<u8>, data: &[u8]) {
    append_joined::<D>(buffer, &[], data);
}

/// As [`append_element`], of a short head and what follows it.
#[inline]
fn append_joined<D: Direction>(buffer: &mut Vec<u8>, head: &[u8], data: &[u8]) {
    let len = head.len() + data.len();
    let (prefix, used) = length_prefix(len);
    let prefix = prefix.get(..used).unwrap_or_default();
    buffer.reserve_exact(element_bytes::<D>(len));
    // For a byte or two the call that copies them costs more than they do.
    prefix.iter().for_each(|byte| buffer.push(*byte));
    head.iter().for_each(|byte| buffer.push(*byte));
    buffer.extend_from_slice(data);
    if D::BACKWARD {
        prefix.iter().rev().for_each(|byte| buffer.push(*byte));
    }
}

/// Replaces the element at `span` by one with other bytes. Cost: O(bytes behind it).
pub fn replace_element<D: Direction>(buffer: &mut Vec<u8>, span: &Span, data: &[u8]) {
    let (old, new) = (span.whole.len(), element_bytes::<D>(data.len()));
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
        write_element::<D>(room, data);
    }
}

/// Writes an element so that it ends at `end`; the room must be there. For gaps at the front.
pub fn write_element_before<D: Direction>(
    buffer: &mut [u8],
    end: usize,
    data: &[u8],
) -> Option<usize> {
    let start = end.checked_sub(element_bytes::<D>(data.len()))?;
    write_element::<D>(buffer.get_mut(start..end)?, data);
    Some(start)
}

/// Elements of a run of bytes.
#[derive(Debug, Clone)]
pub struct Elements<'a, D> {
    buffer: &'a [u8],
    start: usize,
    end: usize,
    direction: PhantomData<D>,
}

impl<'a, D: Direction> Elements<'a, D> {
    /// The elements in `buffer[start..]`.
    #[must_use]
    pub fn new(buffer: &'a [u8], start: usize) -> Self {
        Self { buffer, start, end: buffer.len(), direction: PhantomData }
    }

    /// The next element and where it stands.
    #[inline]
    pub fn next_span(&mut self) -> Option<(Span, &'a [u8])> {
        if self.start >= self.end {
            return None;
        }
        let span = element_at::<D>(self.buffer, self.start)?;
        self.start = span.whole.end;
        let data = self.buffer.get(span.data.clone())?;
        Some((span, data))
    }

    /// Element number `index` of `count` that are left. Cost: O(distance to the nearer end that
    /// can be walked from).
    fn number(mut self, index: usize, count: usize) -> Option<(Span, &'a [u8])> {
        if index >= count {
            return None;
        }
        if D::BACKWARD && index > count / 2 {
            let mut back = Elements::<BothWays> {
                buffer: self.buffer,
                start: self.start,
                end: self.end,
                direction: PhantomData,
            };
            return (0..count - index).map_while(|_| back.next_back_span()).last();
        }
        (0..=index).map_while(|_| self.next_span()).last()
    }
}

impl<'a> Elements<'a, BothWays> {
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

impl<'a, D: Direction> Iterator for Elements<'a, D> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.next_span().map(|(_, data)| data)
    }
}

impl DoubleEndedIterator for Elements<'_, BothWays> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_back_span().map(|(_, data)| data)
    }
}

/// A packed sequence borrowed from where it is stored: the count, then the elements.
#[derive(Debug, Clone, Copy)]
pub struct PackedRef<'a, D>(&'a [u8], PhantomData<D>);

impl<'a, D: Direction> PackedRef<'a, D> {
    /// The sequence in these bytes.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes, PhantomData)
    }

    /// Number of elements. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn count(self) -> usize {
        self.0.first_chunk().map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
    }

    /// The elements in order.
    #[inline]
    #[must_use]
    pub fn iter(self) -> Elements<'a, D> {
        Elements::new(self.0, COUNT_BYTES)
    }

    /// The element with number `index`. Cost: O(distance to the nearer end that can be walked
    /// from).
    #[must_use]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.iter().number(index, self.count()).map(|(_, data)| data)
    }
}

/// A packed sequence that can change; it may share its allocation with its owner's bytes.
#[derive(Debug, Clone, Default)]
pub struct PackedSeq<D> {
    bytes: InOwner,
    direction: PhantomData<D>,
}

impl<D: Direction> PackedSeq<D> {
    /// An empty sequence with an allocation of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(0)
    }

    /// An empty sequence with room for `bytes` of elements, their lengths included.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self::behind(&[], bytes)
    }

    /// An empty sequence behind a copy of the owner's bytes, with room for `bytes` of elements.
    #[must_use]
    pub fn behind(owner: &[u8], bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(owner.len() + COUNT_BYTES + bytes);
        buffer.extend_from_slice(owner);
        buffer.resize(owner.len() + COUNT_BYTES, 0);
        Self::in_owner(InOwner { buffer, base: owner.len() })
    }

    /// The sequence that stands behind its owner's bytes.
    #[must_use]
    pub fn in_owner(bytes: InOwner) -> Self {
        Self { bytes, direction: PhantomData }
    }

    /// Its bytes behind its owner's.
    #[must_use]
    pub fn into_owner(self) -> InOwner {
        self.bytes
    }

    /// The sequence for reading.
    #[must_use]
    pub fn as_ref(&self) -> PackedRef<'_, D> {
        PackedRef::new(self.bytes.value())
    }

    /// Number of elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.as_ref().count()
    }

    /// Bytes that the sequence takes, without the owner's.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.end() - self.bytes.base
    }

    /// A walk over the elements with their places; see [`replace`](Self::replace).
    #[must_use]
    pub fn elements(&self) -> Elements<'_, D> {
        Elements::new(&self.bytes.buffer, self.first())
    }

    /// Where element number `index` stands. Cost: O(distance to the nearer end that can be walked
    /// from).
    #[must_use]
    pub fn span(&self, index: usize) -> Option<Span> {
        self.elements().number(index, self.count()).map(|(span, _)| span)
    }

    /// Appends an element at the end.
    pub fn push_back(&mut self, data: &[u8]) {
        append_element::<D>(&mut self.bytes.buffer, data);
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
            append_joined::<D>(&mut self.bytes.buffer, head.as_ref(), data);
            added += 1;
        }
        self.add_to_count(added);
    }

    /// Puts an element in front. Cost: O(bytes).
    pub fn push_front(&mut self, data: &[u8]) {
        self.insert(self.first(), data);
    }

    /// Puts an element where another one starts, in front of it. Cost: O(bytes behind it).
    pub fn insert(&mut self, at: usize, data: &[u8]) {
        insert_element::<D>(&mut self.bytes.buffer, at, data);
        self.add_to_count(1);
    }

    /// Where the first element starts.
    #[must_use]
    pub fn first(&self) -> usize {
        self.bytes.base + COUNT_BYTES
    }

    /// Where the last element ends.
    #[must_use]
    pub fn end(&self) -> usize {
        self.bytes.buffer.len()
    }

    /// Replaces the element at `span`. Cost: O(bytes behind it).
    pub fn replace(&mut self, span: &Span, data: &[u8]) {
        replace_element::<D>(&mut self.bytes.buffer, span, data);
    }

    /// Removes `elements` elements that stand together in `range`. Cost: O(bytes behind them).
    pub fn remove(&mut self, range: Range<usize>, elements: usize) {
        if range.start <= range.end && range.end <= self.end() {
            self.bytes.buffer.drain(range);
            self.add_to_count(-i32::try_from(elements).unwrap_or(i32::MAX));
        }
    }

    fn add_to_count(&mut self, change: i32) {
        let count = i32::try_from(self.count()).unwrap_or(0).saturating_add(change);
        let count = u16::try_from(count.max(0)).unwrap_or(u16::MAX);
        let base = self.bytes.base;
        if let Some(place) = self.bytes.buffer.get_mut(base..base + COUNT_BYTES) {
            place.copy_from_slice(&count.to_le_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contents<D: Direction>(seq: &PackedSeq<D>) -> Vec<Vec<u8>> {
        seq.as_ref().iter().map(<[u8]>::to_vec).collect()
    }

    fn contents_from_the_back(seq: &PackedSeq<BothWays>) -> Vec<Vec<u8>> {
        let mut all: Vec<_> = seq.as_ref().iter().rev().map(<[u8]>::to_vec).collect();
        all.reverse();
        all
    }

    fn lengths_come_back<D: Direction>() {
        for len in [0, 1, 127, 128, 129, 0x3fff, 0x4000, 70_000] {
            let mut seq = PackedSeq::<D>::behind(b"key", 0);
            seq.push_back(&vec![b'x'; len]);
            let bytes = seq.packed_bytes();
            assert_eq!(bytes, COUNT_BYTES + element_bytes::<D>(len));
            seq.push_front(b"front");
            seq.push_back(b"back");
            assert_eq!(seq.as_ref().get(1).unwrap().len(), len);
            assert_eq!(seq.as_ref().get(2).unwrap(), b"back");
            seq.remove(seq.span(2).unwrap().whole, 1);
            seq.remove(seq.span(0).unwrap().whole, 1);
            assert_eq!(seq.packed_bytes(), bytes);
            assert_eq!(&seq.into_owner().buffer[..3], b"key");
        }
    }

    #[test]
    fn lengths_around_every_class_come_back() {
        lengths_come_back::<Forward>();
        lengths_come_back::<BothWays>();
    }

    #[test]
    fn a_sequence_that_is_read_forward_only_has_each_length_once() {
        let bytes = |len| (element_bytes::<Forward>(len), element_bytes::<BothWays>(len));
        assert_eq!([bytes(3), bytes(200), bytes(20_000)], [(4, 5), (202, 204), (20_005, 20_010)]);
    }

    #[test]
    fn malformed_bytes_end_the_walk() {
        for bytes in [&[9, 0, 0xff][..], &[9, 0, 0x85, 1, 2], &[9, 0, 5, b'a'], &[9], &[]] {
            assert_eq!(PackedRef::<Forward>::new(bytes).iter().count(), 0);
            assert_eq!(PackedRef::<BothWays>::new(bytes).iter().count(), 0);
            assert_eq!(PackedRef::<BothWays>::new(bytes).iter().rev().count(), 0);
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

    fn apply<D: Direction>(change: &Change, seq: &mut PackedSeq<D>, model: &mut Vec<Vec<u8>>) {
        match change {
            Change::Front(data) => {
                seq.push_front(data);
                model.insert(0, data.clone());
            }
            Change::Back(data) => {
                seq.push_back(data);
                model.push(data.clone());
            }
            Change::Replace(at, data) if !model.is_empty() => {
                let at = at % model.len();
                seq.replace(&seq.span(at).unwrap(), data);
                model[at].clone_from(data);
            }
            Change::Remove(at, n) if !model.is_empty() => {
                let at = at % model.len();
                let end = (at + n).min(model.len());
                let range = seq.span(at).unwrap().whole.start..seq.span(end - 1).unwrap().whole.end;
                seq.remove(range, end - at);
                model.drain(at..end);
            }
            Change::Replace(..) | Change::Remove(..) => {}
        }
        assert_eq!(&contents(seq), model);
        assert_eq!(seq.count(), model.len());
        for (index, data) in model.iter().enumerate() {
            assert_eq!(seq.as_ref().get(index).unwrap(), &data[..]);
        }
        assert_eq!(seq.as_ref().get(model.len()), None);
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(changes in prop::collection::vec(change(), 0..60)) {
            let (mut of_forward, mut of_both) = (Vec::new(), Vec::new());
            let mut forward = PackedSeq::<Forward>::behind(b"owner", 0);
            let mut both = PackedSeq::<BothWays>::behind(b"owner", 0);
            for change in changes {
                apply(&change, &mut forward, &mut of_forward);
                apply(&change, &mut both, &mut of_both);
                prop_assert_eq!(&contents_from_the_back(&both), &of_both);
            }
            prop_assert!(forward.into_owner().buffer.starts_with(b"owner"));
            prop_assert!(both.into_owner().buffer.starts_with(b"owner"));
        }
    }
}
