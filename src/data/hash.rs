//! Hashes: packed while small, then a table of bounded shared segments.
//!
//! The packed form lists field, value, field, value in the order of insertion, as Redis' does, and
//! changes to the table at the same sizes as Redis, so that HGETALL answers in the same order.
//! A hash some of whose fields have deadlines is one of both, and an index of deadlines beside it
//! ([`TimedHash`]).

use crate::data::hash_deadlines::{TimedHash, Waning};
use crate::data::packed::{self, Forward, PackedRef, PackedSeq, Span};
use crate::data::segmented::{Hashed, Segment, SegmentedTable};
use crate::data::{Collection, Form, InOwner, LargeValue, Value, ValueType};
use crate::util::clock::UnixMillis;
use crate::util::hash::{KeyHash, Position};
use crate::util::random::Random;
use smallvec::SmallVec;
use std::collections::HashSet;
use std::sync::Arc;

/// A hash stays packed up to this many fields (hash-max-listpack-entries).
pub const PACKED_HASH_FIELDS_MAX: usize = 512;
/// A hash stays packed while no field or value is longer (hash-max-listpack-value).
pub const PACKED_HASH_ELEMENT_BYTES_MAX: usize = 64;

/// Fields that are looked up together ahead of time at most.
pub const LOOK_AHEAD_MAX: usize = 16;

/// When more than this part of a large hash is drawn it is walked through instead.
const WALK_SHARE: usize = 3;

/// One field of a large hash: length of the field, field, value, in one allocation.
#[derive(Debug, Clone)]
pub struct FieldEntry(Box<[u8]>);

impl FieldEntry {
    fn new(field: &[u8], value: &[u8]) -> Self {
        let len = u32::try_from(field.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(4 + field.len() + value.len());
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(value);
        Self(bytes.into_boxed_slice())
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let Some((len, rest)) = self.0.split_first_chunk::<4>() else {
            return (&[], &[]);
        };
        rest.split_at_checked(u32::from_le_bytes(*len) as usize).unwrap_or((rest, &[]))
    }

    /// Sets the value: in place when it is as long as the old one.
    fn set_value(&mut self, value: &[u8]) {
        let (field, old) = self.parts();
        if old.len() != value.len() {
            *self = Self::new(field, value);
            return;
        }
        let start = self.0.len() - value.len();
        if let Some(place) = self.0.get_mut(start..) {
            place.copy_from_slice(value);
        }
    }

    fn field(&self) -> &[u8] {
        self.parts().0
    }

    fn value(&self) -> &[u8] {
        self.parts().1
    }
}

impl Hashed for FieldEntry {
    fn hash(&self) -> KeyHash {
        KeyHash::of_field(self.field())
    }

    fn heap_bytes(&self) -> usize {
        self.0.len()
    }
}

/// A large hash.
pub type FieldTable = SegmentedTable<FieldEntry, Arc<Segment<FieldEntry>>>;

/// A hash borrowed from where it is stored.
#[derive(Debug, Clone, Copy)]
pub enum HashRef<'a> {
    /// Stored beside its key.
    Packed(PackedRef<'a, Forward>),
    /// Stored in segments.
    Table(&'a FieldTable),
    /// Some fields are past their deadlines and do not count any more.
    Waning(Waning<'a>),
}

impl<'a> HashRef<'a> {
    /// Number of fields. Cost: O(1).
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(seq) => seq.count() / 2,
            Self::Table(table) => table.len(),
            Self::Waning(waning) => waning.len(),
        }
    }

    /// True when there are no fields; a stored hash always has one.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of `field`. Cost: O(1).
    #[must_use]
    pub fn get(self, field: &[u8]) -> Option<&'a [u8]> {
        match self {
            Self::Packed(seq) => {
                let mut elements = seq.iter();
                while let Some(name) = elements.next() {
                    let value = elements.next()?;
                    if name == field {
                        return Some(value);
                    }
                }
                None
            }
            Self::Table(table) => table
                .get(KeyHash::of_field(field), |entry| entry.field() == field)
                .map(FieldEntry::value),
            Self::Waning(waning) => waning.get(field),
        }
    }

    /// Calls `each` with every field and value. Cost: O(n).
    pub fn for_each(self, mut each: impl FnMut(&'a [u8], &'a [u8])) {
        match self {
            Self::Packed(seq) => {
                let mut elements = seq.iter();
                while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
                    each(field, value);
                }
            }
            Self::Table(table) => {
                for (field, value) in table.iter().map(FieldEntry::parts) {
                    each(field, value);
                }
            }
            Self::Waning(waning) => waning.for_each(&mut each),
        }
    }

    /// A field and its value drawn at random, each as likely. Cost: O(1) expected.
    #[must_use]
    pub fn draw(self, random: &mut Random) -> Option<(&'a [u8], &'a [u8])> {
        match self {
            Self::Packed(seq) => {
                let index = 2 * random.below(seq.count() / 2);
                Some((seq.get(index)?, seq.get(index + 1)?))
            }
            Self::Table(table) => table.at(table.draw(random)?).map(FieldEntry::parts),
            Self::Waning(waning) => waning.draw(random),
        }
    }

    /// Calls `each` with `count` different fields drawn at random, each choice as likely; with all
    /// when there are no more. Cost: O(count), O(n) for a small hash or more than a third of one.
    pub fn draw_distinct(
        self,
        count: usize,
        random: &mut Random,
        mut each: impl FnMut(&'a [u8], &'a [u8]),
    ) {
        if let Self::Table(table) = self
            && count < table.len() / WALK_SHARE
        {
            let mut drawn = HashSet::with_capacity(count);
            while drawn.len() < count {
                let Some(slot) = table.draw(random) else { break };
                if drawn.insert(slot)
                    && let Some((field, value)) = table.at(slot).map(FieldEntry::parts)
                {
                    each(field, value);
                }
            }
            return;
        }
        let mut chosen = random.distinct_below(count, self.len()).into_iter().peekable();
        let mut index = 0;
        self.for_each(|field, value| {
            if chosen.next_if_eq(&index).is_some() {
                each(field, value);
            }
            index += 1;
        });
    }

    /// Calls `each` with at least `count` fields from `cursor` on; returns where to go on, `None`
    /// at the end. A packed hash is returned whole.
    pub fn scan(
        self,
        cursor: Position,
        count: usize,
        mut each: impl FnMut(&'a [u8], &'a [u8]),
    ) -> Option<Position> {
        match self {
            Self::Packed(_) => {
                self.for_each(each);
                None
            }
            Self::Table(table) => {
                let next = table.scan(cursor, count, |entry| each(entry.field(), entry.value()));
                (next < table.end_position()).then_some(next)
            }
            Self::Waning(waning) => waning.scan(cursor, count, &mut each),
        }
    }
}

/// A hash that can change.
#[derive(Debug, Clone)]
pub enum Hash {
    /// Small.
    Packed(PackedSeq<Forward>),
    /// Large.
    Table(FieldTable),
    /// Of either size, with deadlines of fields.
    Timed(Box<TimedHash>),
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// An empty hash.
    #[must_use]
    pub fn new() -> Self {
        Self::Packed(PackedSeq::new())
    }

    /// An empty hash with room for fields and values of so many bytes together, as long as it is
    /// packed.
    #[must_use]
    pub fn with_room(fields: usize, bytes: usize) -> Self {
        let elements = 2 * fields.min(PACKED_HASH_FIELDS_MAX);
        let bytes = bytes.min(elements * PACKED_HASH_ELEMENT_BYTES_MAX);
        Self::Packed(PackedSeq::with_room(packed::sequence_bytes_max::<Forward>(elements, bytes)))
    }

    /// The hash for reading, fields past their deadlines included.
    #[must_use]
    pub fn as_ref(&self) -> HashRef<'_> {
        match self {
            Self::Packed(seq) => HashRef::Packed(seq.as_ref()),
            Self::Table(table) => HashRef::Table(table),
            Self::Timed(timed) => timed.fields(),
        }
    }

    /// Number of fields. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// True when there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets `field` to `value`, without a deadline; returns true when the field is new. Cost: O(1).
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Self::Packed(seq) = self {
            let short = field.len().max(value.len()) <= PACKED_HASH_ELEMENT_BYTES_MAX;
            let found = find_packed(seq, field);
            match found {
                Some((_, old)) if short => {
                    seq.replace(&old, value);
                    return false;
                }
                None if short && seq.count() < 2 * PACKED_HASH_FIELDS_MAX => {
                    seq.push_back(field);
                    seq.push_back(value);
                    return true;
                }
                _ => {}
            }
        }
        if let Self::Timed(timed) = self {
            return timed.set(field, value);
        }
        set_in_table(self.make_table(), KeyHash::of_field(field), field, value)
    }

    /// As [`set`](Self::set), but the field keeps its deadline.
    pub fn set_keeping_deadline(&mut self, field: &[u8], value: &[u8]) -> bool {
        match self {
            Self::Timed(timed) => timed.set_keeping_deadline(field, value),
            _ => self.set(field, value),
        }
    }

    /// The deadline of `field`. Cost: O(1).
    #[must_use]
    pub fn deadline(&self, field: &[u8]) -> Option<UnixMillis> {
        match self {
            Self::Timed(timed) => timed.deadline(field),
            _ => None,
        }
    }

    /// Sets or removes the deadline of `field`, which must be there. Cost: O(log n) for n fields
    /// with deadlines.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<UnixMillis>) {
        match (&mut *self, deadline) {
            (Self::Timed(timed), _) => timed.set_deadline(field, deadline),
            (_, None) => {}
            (_, Some(_)) => {
                let mut timed = TimedHash::new(std::mem::take(self));
                timed.set_deadline(field, deadline);
                *self = Self::Timed(Box::new(timed));
            }
        }
    }

    /// Removes up to `limit` fields whose deadline has come; returns how many. Cost: O(log n) for
    /// each.
    pub fn remove_due(&mut self, now: UnixMillis, limit: usize) -> usize {
        match self {
            Self::Timed(timed) => timed.remove_due(now, limit),
            _ => 0,
        }
    }

    /// Sets several fields in order, the last of them the first that is there already; returns its
    /// index.
    ///
    /// In a large hash each of them waits for memory several times; the waits of up to
    /// [`LOOK_AHEAD_MAX`] overlap. Cost: O(fields).
    pub fn set_all_new(&mut self, pairs: &[(&[u8], &[u8])]) -> Option<usize> {
        let mut index = 0;
        for group in pairs.chunks(LOOK_AHEAD_MAX) {
            let hashes: SmallVec<[KeyHash; LOOK_AHEAD_MAX]> =
                group.iter().map(|(field, _)| KeyHash::of_field(field)).collect();
            if let Self::Table(table) = self {
                look_ahead(table, &hashes);
            }
            for ((field, value), hash) in group.iter().zip(hashes) {
                let is_new = match self {
                    Self::Packed(_) | Self::Timed(_) => self.set(field, value),
                    Self::Table(table) => set_in_table(table, hash, field, value),
                };
                if !is_new {
                    return Some(index);
                }
                index += 1;
            }
        }
        None
    }

    /// Adds `field`, which the caller knows not to be there: unlike [`set`](Self::set) this does
    /// not look through a packed hash. Cost: O(1).
    pub fn push_new(&mut self, field: &[u8], value: &[u8]) {
        if let Self::Packed(seq) = self {
            let short = field.len().max(value.len()) <= PACKED_HASH_ELEMENT_BYTES_MAX;
            if short && seq.count() < 2 * PACKED_HASH_FIELDS_MAX {
                seq.push_back(field);
                seq.push_back(value);
                return;
            }
        }
        let entry = FieldEntry::new(field, value);
        self.make_table().insert_new(KeyHash::of_field(field), entry);
    }

    /// Removes `field`; returns true when it was there. Cost: O(1).
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Packed(seq) => {
                let Some((name, value)) = find_packed(seq, field) else {
                    return false;
                };
                seq.remove(name.whole.start..value.whole.end, 2);
                true
            }
            Self::Table(table) => table
                .find(KeyHash::of_field(field), |entry| entry.field() == field)
                .and_then(|slot| table.remove(slot))
                .is_some(),
            Self::Timed(timed) => timed.remove(field),
        }
    }

    fn make_table(&mut self) -> &mut FieldTable {
        if let Self::Packed(seq) = self {
            let mut table = FieldTable::new(0, 0);
            HashRef::Packed(seq.as_ref()).for_each(|field, value| {
                table.insert_new(KeyHash::of_field(field), FieldEntry::new(field, value));
            });
            *self = Self::Table(table);
        }
        match self {
            Self::Table(table) => table,
            Self::Timed(timed) => timed.fields_mut().make_table(),
            Self::Packed(_) => unreachable!("a packed hash was just replaced by a table"),
        }
    }
}

impl Collection for Hash {
    const TYPE: ValueType = ValueType::Hash;

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn from_packed(bytes: InOwner) -> Self {
        Self::Packed(PackedSeq::in_owner(bytes))
    }

    fn take_large(stored: &mut LargeValue) -> Option<Self> {
        match stored {
            LargeValue::Hash(table) => {
                Some(Self::Table(std::mem::replace(table, FieldTable::vacant())))
            }
            LargeValue::TimedHash(_) => {
                let vacant = LargeValue::Hash(FieldTable::vacant());
                match std::mem::replace(stored, vacant) {
                    LargeValue::TimedHash(timed) => Some(Self::Timed(timed)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn into_form(self) -> Form {
        match self {
            Self::Packed(seq) => Form::Packed(Self::TYPE, seq.into_owner()),
            Self::Table(table) => Form::Large(LargeValue::Hash(table)),
            Self::Timed(timed) if timed.has_deadlines() => {
                Form::Large(LargeValue::TimedHash(timed))
            }
            Self::Timed(timed) => timed.into_fields().into_form(),
        }
    }

    fn into_value(self) -> Value {
        Value::Hash(self)
    }

    fn take_copied_bytes(&mut self) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Table(table) => table.take_copied_bytes(),
            Self::Timed(timed) => timed.take_copied_bytes(),
        }
    }
}

fn set_in_table(table: &mut FieldTable, hash: KeyHash, field: &[u8], value: &[u8]) -> bool {
    let mut new = true;
    table.upsert(
        hash,
        |entry| entry.field() == field,
        |found| match found {
            Some(entry) => {
                new = false;
                entry.set_value(value);
                None
            }
            None => Some(FieldEntry::new(field, value)),
        },
    );
    new
}

/// Loads what finding these fields will need.
fn look_ahead(table: &FieldTable, hashes: &[KeyHash]) {
    let mut candidates: SmallVec<[_; LOOK_AHEAD_MAX]> =
        hashes.iter().map(|hash| table.segment_of(*hash).candidates(*hash)).collect();
    let found = candidates.iter_mut().filter_map(Iterator::next).count();
    // It is not needed, only that it was looked for.
    std::hint::black_box(found);
}

fn find_packed(seq: &PackedSeq<Forward>, field: &[u8]) -> Option<(Span, Span)> {
    let mut elements = seq.elements();
    while let Some((name, data)) = elements.next_span() {
        let (value, _) = elements.next_span()?;
        if data == field {
            return Some((name, value));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn contents(hash: HashRef<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = BTreeMap::new();
        hash.for_each(|field, value| {
            assert!(all.insert(field.to_vec(), value.to_vec()).is_none());
        });
        all
    }

    #[test]
    fn stays_packed_up_to_the_thresholds() {
        let mut hash = Hash::new();
        for n in 0..PACKED_HASH_FIELDS_MAX {
            hash.set(format!("f{n}").as_bytes(), &[b'v'; PACKED_HASH_ELEMENT_BYTES_MAX]);
        }
        assert!(matches!(hash, Hash::Packed(_)));
        let mut longer = hash.clone();
        longer.set(b"f0", &[b'v'; PACKED_HASH_ELEMENT_BYTES_MAX + 1]);
        assert!(matches!(longer, Hash::Table(_)));
        hash.set(b"one more", b"v");
        assert!(matches!(hash, Hash::Table(_)));
        assert_eq!(hash.len(), PACKED_HASH_FIELDS_MAX + 1);
    }

    #[test]
    fn every_choice_of_fields_is_as_likely() {
        let mut random = Random::new(3);
        for fields in [6, 1_200] {
            let mut hash = Hash::new();
            (0..fields).for_each(|n: usize| _ = hash.set(n.to_string().as_bytes(), b"v"));
            let mut counts = vec![0_u32; fields];
            let mut add = |field: &[u8]| {
                let field: usize = std::str::from_utf8(field).unwrap().parse().unwrap();
                *counts.get_mut(field).unwrap() += 1;
            };
            for _ in 0..fields * 100 {
                add(hash.as_ref().draw(&mut random).unwrap().0);
                let mut drawn = 0;
                hash.as_ref().draw_distinct(2, &mut random, |field, _| {
                    drawn += 1;
                    add(field);
                });
                assert_eq!(drawn, 2);
            }
            assert!(counts.iter().all(|count| (200..400).contains(count)), "{counts:?}");
            let mut all = 0;
            hash.as_ref().draw_distinct(fields + 1, &mut random, |_, _| all += 1);
            assert_eq!(all, fields);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn behaves_like_a_map(
            changes in prop::collection::vec((0_u16..400, 0_usize..80, any::<bool>()), 0..1_500)
        ) {
            let mut model = BTreeMap::new();
            let mut hash = Hash::new();
            let mut held = None;
            for (step, (name, len, set)) in changes.into_iter().enumerate() {
                let field = name.to_string().into_bytes();
                let value = vec![b'a' + (step % 26) as u8; len];
                if step == 700 {
                    held = Some((hash.clone(), contents(hash.as_ref())));
                }
                if set || step % 3 == 0 {
                    let new = model.insert(field.clone(), value.clone()).is_none();
                    if step % 2 == 0 {
                        prop_assert_eq!(hash.set(&field, &value), new);
                    } else {
                        let pairs = [(&field[..], &value[..]), (&field[..], &value[..])];
                        prop_assert_eq!(hash.set_all_new(&pairs), Some(usize::from(new)));
                    }
                } else {
                    prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                }
                prop_assert_eq!(hash.as_ref().get(&field), model.get(&field).map(|v| &v[..]));
            }
            prop_assert_eq!(contents(hash.as_ref()), model);
            if let Some((copy, before)) = held {
                prop_assert_eq!(contents(copy.as_ref()), before);
            }
        }
    }
}
