//! A value as it comes out of a dump, before it becomes a structure of the keyspace.
//!
//! The elements of a collection stand one behind the other in a few blocks, not each in an
//! allocation of its own: reading needs no more memory than the file has bytes (packed strings
//! aside), one thread can read ahead while others build the structures, and `consume` frees each
//! block as soon as it is used up, so that a huge collection is not there twice.
//!
//! ```text
//!   block: [ length | bytes ][ length | bytes ] ...     length: 7 bits a byte, low bits first
//! ```

use crate::data::Stream;
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

/// A block is closed when the next element would take it past this.
const BLOCK_BYTES: usize = 64 * 1024;
/// An element of at least this length gets a block of its own, of exactly its size.
const ALONE_BYTES_MIN: usize = BLOCK_BYTES / 4;
/// The most bytes that a length takes.
const LENGTH_BYTES_MAX: usize = 10;
/// A guess at the length of an element, to save small collections from growing step by step.
const ELEMENT_BYTES_HINT: u64 = 16;
/// The most that is reserved by guess.
const HINT_BYTES_MAX: u64 = 2 * 1024;
/// Up to so many members are compared each with each.
const PAIRWISE_MEMBERS_MAX: usize = 8;
/// A table for more members than this is given back after use.
const TABLE_MEMBERS_KEPT_MAX: usize = 1 << 16;

/// What a dump tells of the use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredUse {
    /// Seconds since the last one.
    IdleSeconds(u64),
    /// A count of how often it is used.
    Count(u8),
}

/// A value of any type that a dump can hold.
#[derive(Debug, Clone, PartialEq)]
pub enum RdbValue {
    /// A string.
    String(Vec<u8>),
    /// A list, head first.
    List(Elements),
    /// A set.
    Set(Elements),
    /// A hash.
    Hash(Pairs),
    /// A sorted set, in the order of the file.
    ZSet(Scored),
    /// A stream.
    Stream(Box<Stream>),
}

impl RdbValue {
    /// Elements, pairs or members; 1 for a string and for a stream, which may be empty.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::String(_) | Self::Stream(_) => 1,
            Self::List(elements) | Self::Set(elements) => elements.len(),
            Self::Hash(pairs) => pairs.len(),
            Self::ZSet(scored) => scored.len(),
        }
    }

    /// Whether it is a collection with nothing in it. The reader never hands one over as a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Byte strings in a fixed order.
#[derive(Debug, Clone, Default)]
pub struct Elements {
    /// Blocks that take no more elements.
    closed: Vec<Vec<u8>>,
    /// The block that takes the next one.
    last: Vec<u8>,
    closed_bytes: usize,
    count: usize,
}

/// Where an element starts.
#[derive(Debug, Clone, Copy)]
struct Place {
    block: u32,
    /// Only a block of one element is longer than 4 GB, and that element starts at 0.
    start: u32,
}

impl Elements {
    /// No elements; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No elements, and room for about so many; a wrong count costs no more than a small block.
    pub(crate) fn with_count_hint(count: u64) -> Self {
        let hint_bytes = count.saturating_mul(ELEMENT_BYTES_HINT).min(HINT_BYTES_MAX);
        Self { last: Vec::with_capacity(hint_bytes as usize), ..Self::default() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all elements, their lengths included.
    pub(crate) fn bytes(&self) -> usize {
        self.closed_bytes + self.last.len()
    }

    /// Appends one element. Cost: its length.
    pub fn push(&mut self, element: &[u8]) {
        self.open(element.len()).extend_from_slice(element);
    }

    /// Opens the next element, of exactly `element_bytes` bytes, and lends the block to which the
    /// caller must append them.
    ///
    /// Memory is reserved only up to a block; what an element needs beyond it is the caller's to
    /// reserve. If the caller fails half-way the whole collection has to be thrown away.
    pub(crate) fn open(&mut self, element_bytes: usize) -> &mut Vec<u8> {
        let wanted = element_bytes.saturating_add(LENGTH_BYTES_MAX);
        let alone = wanted >= ALONE_BYTES_MIN;
        let full = self.last.len().saturating_add(wanted) > BLOCK_BYTES;
        if !self.last.is_empty() && (alone || full) {
            let room = if alone { wanted.min(BLOCK_BYTES) } else { BLOCK_BYTES };
            self.closed_bytes += self.last.len();
            self.closed.push(std::mem::replace(&mut self.last, Vec::with_capacity(room)));
        }
        self.count += 1;
        push_length(&mut self.last, element_bytes);
        &mut self.last
    }

    /// The elements in order.
    #[must_use]
    pub fn iter(&self) -> ElementIter<'_> {
        ElementIter { elements: self, block: 0, start: 0 }
    }

    /// Hands over every element in order and frees the memory as it goes.
    ///
    /// Errors: the first that `use_element` returns; the rest is then dropped.
    pub fn consume<E>(self, mut use_element: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        for block in self.into_blocks() {
            let mut rest = block.as_slice();
            while let Some((element, after)) = split_element(rest) {
                use_element(element)?;
                rest = after;
            }
        }
        Ok(())
    }

    fn into_blocks(self) -> impl Iterator<Item = Vec<u8>> {
        self.closed.into_iter().chain(std::iter::once(self.last))
    }

    fn block(&self, index: usize) -> Option<&Vec<u8>> {
        self.closed.get(index).or_else(|| (index == self.closed.len()).then_some(&self.last))
    }

    fn at(&self, place: Place) -> Option<&[u8]> {
        let block = self.block(place.block as usize)?;
        split_element(block.get(place.start as usize..)?).map(|(element, _)| element)
    }
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Elements {}

impl<'a> IntoIterator for &'a Elements {
    type Item = &'a [u8];
    type IntoIter = ElementIter<'a>;

    fn into_iter(self) -> ElementIter<'a> {
        self.iter()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Elements {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        let mut elements = Self::new();
        iter.into_iter().for_each(|element| elements.push(element.as_ref()));
        elements
    }
}

/// Walks over [`Elements`].
#[derive(Debug, Clone)]
pub struct ElementIter<'a> {
    elements: &'a Elements,
    block: usize,
    start: usize,
}

impl ElementIter<'_> {
    fn place(&self) -> Option<Place> {
        let block = u32::try_from(self.block).ok()?;
        Some(Place { block, start: u32::try_from(self.start).ok()? })
    }
}

impl<'a> Iterator for ElementIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let block = self.elements.block(self.block)?;
            if let Some((element, after)) = split_element(block.get(self.start..)?) {
                self.start = block.len() - after.len();
                if after.is_empty() {
                    self.block += 1;
                    self.start = 0;
                }
                return Some(element);
            }
            self.block += 1;
            self.start = 0;
        }
    }
}

fn push_length(block: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        block.push(length as u8 | 0x80);
        length >>= 7;
    }
    block.push(length as u8);
}

/// The first element of a block and what follows it; `None` at the end.
fn split_element(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    let mut shift = 0;
    let mut rest = block;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return rest.split_at_checked(length);
        }
        shift += 7;
    }
}

/// Fields with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Field, value, field, value.
    pub(crate) elements: Elements,
    /// The deadline of each field in milliseconds, 0 for none; empty when no field has one.
    pub(crate) deadlines_ms: Vec<i64>,
}

impl From<Elements> for Pairs {
    fn from(elements: Elements) -> Self {
        Self { elements, deadlines_ms: Vec::new() }
    }
}

impl Pairs {
    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len() / 2
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Appends one pair.
    pub fn push(&mut self, field: &[u8], value: &[u8]) {
        self.elements.push(field);
        self.elements.push(value);
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut elements = self.elements.iter();
        std::iter::from_fn(move || Some((elements.next()?, elements.next()?)))
    }

    /// Hands over every pair in order and frees the memory as it goes.
    ///
    /// Errors: the first that `use_pair` returns; the rest is then dropped.
    pub fn consume<E>(
        self,
        mut use_pair: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut field: Option<Vec<u8>> = None;
        for block in self.elements.into_blocks() {
            let mut rest = block.as_slice();
            while let Some((first, after)) = split_element(rest) {
                rest = after;
                if let Some(field) = field.take() {
                    use_pair(&field, first)?;
                } else if let Some((second, after)) = split_element(rest) {
                    use_pair(first, second)?;
                    rest = after;
                } else {
                    // The value is in the next block: rare enough for a copy.
                    field = Some(first.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// Members with their scores.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    pub(crate) members: Elements,
    pub(crate) scores: Vec<f64>,
}

impl Scored {
    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Appends one member.
    pub fn push(&mut self, member: &[u8], score: f64) {
        self.members.push(member);
        self.scores.push(score);
    }

    /// The members with their scores, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.members.iter().zip(self.scores.iter().copied())
    }

    /// Hands over every member in order and frees the memory of the members as it goes.
    ///
    /// Errors: the first that `use_member` returns; the rest is then dropped.
    pub fn consume<E>(
        self,
        mut use_member: impl FnMut(&[u8], f64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut scores = self.scores.into_iter();
        self.members.consume(|member| match scores.next() {
            Some(score) => use_member(member, score),
            None => Ok(()),
        })
    }
}

fn find_pairwise<'a>(members: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let mut seen: SmallVec<[&[u8]; PAIRWISE_MEMBERS_MAX]> = SmallVec::new();
    for member in members {
        if seen.contains(&member) {
            return Some(member);
        }
        seen.push(member);
    }
    None
}

/// Finds a field or member that is there twice. Keeps its table from one collection to the next.
#[derive(Debug, Default)]
pub struct DuplicateFinder {
    places: HashTable<Place>,
    hasher: RandomState,
}

impl DuplicateFinder {
    /// A finder with a table that is still empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first field or member of `value` that is there for the second time, if there is one.
    ///
    /// Cost: O(members), 9 to 18 bytes of memory for each while it runs.
    pub fn find<'a>(&mut self, value: &'a RdbValue) -> Option<&'a [u8]> {
        match value {
            RdbValue::String(_) | RdbValue::List(_) | RdbValue::Stream(_) => None,
            RdbValue::Set(members) => self.find_in(members, 1),
            RdbValue::Hash(pairs) => self.find_field(pairs),
            RdbValue::ZSet(scored) => self.find_in(&scored.members, 1),
        }
    }

    /// The first member that is there for the second time. Cost: as of [`find`](Self::find).
    pub(crate) fn find_member<'a>(&mut self, members: &'a Elements) -> Option<&'a [u8]> {
        self.find_in(members, 1)
    }

    /// The first field that is there for the second time. Cost: as of [`find`](Self::find).
    pub(crate) fn find_field<'a>(&mut self, pairs: &'a Pairs) -> Option<&'a [u8]> {
        self.find_in(&pairs.elements, 2)
    }

    /// Looks at every `step`-th element.
    fn find_in<'a>(&mut self, elements: &'a Elements, step: usize) -> Option<&'a [u8]> {
        if elements.len() / step <= PAIRWISE_MEMBERS_MAX {
            return find_pairwise(elements.iter().step_by(step));
        }
        let found = self.find_by_table(elements, step);
        self.places.clear();
        if self.places.capacity() > TABLE_MEMBERS_KEPT_MAX {
            self.places = HashTable::new();
        }
        found
    }

    fn find_by_table<'a>(&mut self, elements: &'a Elements, step: usize) -> Option<&'a [u8]> {
        let hash = |member: &[u8]| self.hasher.hash_one(member);
        // They are all there already, so this is paid for.
        let rehash = |place: &Place| hash(elements.at(*place).unwrap_or_default());
        self.places.reserve(elements.len() / step, rehash);
        let mut members = elements.iter();
        loop {
            let place = members.place()?;
            let member = members.next()?;
            let same = |other: &Place| elements.at(*other) == Some(member);
            match self.places.entry(hash(member), same, rehash) {
                Entry::Occupied(_) => return Some(member),
                Entry::Vacant(free) => free.insert(place),
            };
            if step == 2 {
                members.next();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::ALONE_BYTES_MIN;
    use super::BLOCK_BYTES;
    use super::DuplicateFinder;
    use super::Elements;
    use super::Pairs;
    use super::RdbValue;
    use super::Scored;

    use proptest::collection::vec;
    use proptest::prelude::*;

    fn element() -> impl Strategy<Value = Vec<u8>> {
        let lengths = prop_oneof![
            4 => 0..40_usize,
            2 => 100..9_000_usize,
            1 => proptest::sample::select(vec![127, 128, 16_383, 16_384, ALONE_BYTES_MIN - 11,
                ALONE_BYTES_MIN, BLOCK_BYTES - 10, BLOCK_BYTES, 3 * BLOCK_BYTES]),
        ];
        (lengths, any::<u8>()).prop_map(|(length, byte)| vec![byte; length])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn elements_come_out_as_they_went_in(list in vec(element(), 0..60)) {
            let elements: Elements = list.iter().collect();
            prop_assert_eq!(elements.len(), list.len());
            prop_assert!(elements.iter().eq(list.iter().map(Vec::as_slice)));
            let mut used = Vec::new();
            let mut use_element = |element: &[u8]| {
                used.push(element.to_vec());
                Ok::<(), ()>(())
            };
            elements.consume(&mut use_element).unwrap();
            prop_assert_eq!(&used, &list);

            let mut pairs = Pairs::default();
            let mut scored = Scored::default();
            for (index, two) in list.chunks_exact(2).enumerate() {
                pairs.push(&two[0], &two[1]);
                scored.push(&two[0], index as f64);
            }
            let expected: Vec<_> =
                list.chunks_exact(2).map(|two| (two[0].clone(), two[1].clone())).collect();
            prop_assert_eq!(pairs.len(), expected.len());
            let mut used = Vec::new();
            let mut use_pair = |field: &[u8], value: &[u8]| {
                used.push((field.to_vec(), value.to_vec()));
                Ok::<(), ()>(())
            };
            pairs.consume(&mut use_pair).unwrap();
            prop_assert_eq!(&used, &expected);
            let mut used = Vec::new();
            let mut use_member = |member: &[u8], score| {
                used.push((member.to_vec(), score));
                Ok::<(), ()>(())
            };
            scored.consume(&mut use_member).unwrap();
            for (index, (member, score)) in used.into_iter().enumerate() {
                prop_assert_eq!(&member, &expected[index].0);
                prop_assert_eq!(score, index as f64);
            }
        }

        #[test]
        fn a_duplicate_is_found_if_there_is_one(list in vec(vec(0..4_u8, 0..5), 0..40)) {
            let distinct: std::collections::HashSet<&Vec<u8>> = list.iter().collect();
            let mut finder = DuplicateFinder::new();
            for _ in 0..2 {
                let found = distinct.len() < list.len();
                let set = RdbValue::Set(list.iter().collect());
                prop_assert_eq!(finder.find(&set).is_some(), found);
                let mut pairs = Pairs::default();
                list.iter().for_each(|field| pairs.push(field, b"the same"));
                prop_assert_eq!(finder.find(&RdbValue::Hash(pairs)).is_some(), found);
            }
        }
    }

    #[test]
    fn the_first_error_ends_the_walk() {
        let elements: Elements = ["a", "b", "c"].iter().collect();
        let mut seen = 0;
        let stop = elements.consume(|element| {
            seen += 1;
            if element == b"b" { Err("stop") } else { Ok(()) }
        });
        assert_eq!((stop, seen), (Err("stop"), 2));
    }

    #[test]
    fn small_elements_take_little_more_memory_than_their_bytes() {
        let elements: Elements = std::iter::repeat_n(b"1234567", 1_000_000).collect();
        let blocks = elements.closed.iter().chain([&elements.last]);
        let reserved_bytes: usize = blocks.map(Vec::capacity).sum();
        assert!(reserved_bytes < 8_000_000 + 3 * BLOCK_BYTES, "{reserved_bytes}");
    }
}
