//! Hashes some of whose fields have deadlines.
//!
//! The fields are a hash like any other; beside it stands an index of those that have a deadline,
//! which is a sorted set: the deadline, in whole milliseconds, is the score. So the next field to
//! go is the one with the lowest rank, and clones share all but what changes. A hash without
//! deadlines has none of this and costs nothing more.
//!
//! Invariants: the fields are never such a hash themselves, and every member of the index is a
//! field.
//!
//! From its deadline on a field does not count, whether it was removed or not. Who reads a hash in
//! which such fields are left gets a [`Waning`] one, which leaves them out.

use crate::data::hash::{Hash, HashRef};
use crate::data::{Collection, SortedSet};
use crate::util::clock::UnixMillis;
use crate::util::hash::Position;
use crate::util::random::Random;

/// The last moment that may be a deadline: as in Redis, of 46 bits. A double holds it exactly.
pub const FIELD_DEADLINE_MAX: UnixMillis = UnixMillis((1 << 46) - 1);

/// Fields that are drawn in vain before all are walked through.
const DRAWS_MAX: usize = 32;

/// Fields and the index of deadlines; see the head of the file.
#[derive(Debug, Clone)]
pub struct TimedHash {
    fields: Hash,
    deadlines: SortedSet,
}

fn moment(score: f64) -> UnixMillis {
    UnixMillis(score as i64)
}

impl TimedHash {
    /// These fields, without a deadline yet.
    #[must_use]
    pub fn new(fields: Hash) -> Self {
        Self { fields, deadlines: SortedSet::new() }
    }

    /// The fields, those past their deadlines included.
    #[must_use]
    pub fn fields(&self) -> HashRef<'_> {
        self.fields.as_ref()
    }

    /// The fields that are alive at `now`. Cost: O(log n).
    #[must_use]
    pub fn alive(&self, now: UnixMillis) -> HashRef<'_> {
        match self.earliest() {
            Some(earliest) if earliest <= now => HashRef::Waning(Waning { hash: self, now }),
            _ => self.fields(),
        }
    }

    pub(super) fn fields_mut(&mut self) -> &mut Hash {
        &mut self.fields
    }

    pub(super) fn into_fields(self) -> Hash {
        self.fields
    }

    /// True when a field has a deadline.
    #[must_use]
    pub fn has_deadlines(&self) -> bool {
        !self.deadlines.is_empty()
    }

    /// The deadline of a field. Cost: O(1).
    #[must_use]
    pub fn deadline(&self, field: &[u8]) -> Option<UnixMillis> {
        self.deadlines.as_ref().score(field).map(moment)
    }

    /// The earliest deadline of a field. Cost: O(log n).
    #[must_use]
    pub fn earliest(&self) -> Option<UnixMillis> {
        self.deadlines.as_ref().get(0).map(|(_, score)| moment(score))
    }

    /// True when no field is alive at `now`. Cost: O(log n).
    #[must_use]
    pub fn is_gone(&self, now: UnixMillis) -> bool {
        let count = self.deadlines.len();
        count == self.fields.len()
            && count
                .checked_sub(1)
                .and_then(|last| self.deadlines.as_ref().get(last))
                .is_none_or(|(_, score)| moment(score) <= now)
    }

    fn due_count(&self, now: UnixMillis) -> usize {
        let is_later = |score: f64, _: &[u8]| moment(score) > now;
        self.deadlines.as_ref().ranks(false, 0, |_, _| false, is_later).len()
    }

    pub(super) fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.deadlines.remove(field);
        self.fields.set(field, value)
    }

    pub(super) fn set_keeping_deadline(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.fields.set(field, value)
    }

    pub(super) fn remove(&mut self, field: &[u8]) -> bool {
        self.deadlines.remove(field);
        self.fields.remove(field)
    }

    pub(super) fn set_deadline(&mut self, field: &[u8], deadline: Option<UnixMillis>) {
        match deadline {
            Some(deadline) => {
                let score = deadline.clamp(UnixMillis(0), FIELD_DEADLINE_MAX).0 as f64;
                self.deadlines.set(score, field);
            }
            None => _ = self.deadlines.remove(field),
        }
    }

    pub(super) fn remove_due(&mut self, now: UnixMillis, limit: usize) -> usize {
        let count = self.due_count(now).min(limit);
        let fields = &mut self.fields;
        self.deadlines.remove_ranks(0..count, false, |field, _| _ = fields.remove(field));
        count
    }

    pub(super) fn take_copied_bytes(&mut self) -> usize {
        self.fields.take_copied_bytes() + self.deadlines.take_copied_bytes()
    }

    /// Number of pieces that clones share.
    #[must_use]
    pub fn pieces(&self) -> usize {
        let of_fields = match &self.fields {
            Hash::Table(table) => table.segment_count(),
            _ => 1,
        };
        let of_deadlines = match &self.deadlines {
            SortedSet::Ranked(set) => set.pieces(),
            SortedSet::Packed(_) => 1,
        };
        of_fields + of_deadlines
    }

    /// Bytes of the parts that a clone does not share.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        let of_fields = if let Hash::Packed(seq) = &self.fields { seq.packed_bytes() } else { 0 };
        let of_deadlines =
            if let SortedSet::Packed(seq) = &self.deadlines { seq.packed_bytes() } else { 0 };
        of_fields + of_deadlines
    }

    /// Roughly how many bytes it takes. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_fields =
            if let Hash::Table(table) = &self.fields { table.memory_bytes() } else { 0 };
        let of_deadlines =
            if let SortedSet::Ranked(set) = &self.deadlines { set.memory_bytes() } else { 0 };
        self.packed_bytes() + of_fields + of_deadlines
    }

    /// Roughly how many allocations freeing it takes.
    #[must_use]
    pub fn free_cost(&self) -> usize {
        self.fields.len() + self.deadlines.len()
    }
}

/// A hash as it is at a moment at which some of its fields are past their deadlines.
#[derive(Debug, Clone, Copy)]
pub struct Waning<'a> {
    hash: &'a TimedHash,
    now: UnixMillis,
}

impl<'a> Waning<'a> {
    /// The fields, those that do not count included.
    #[must_use]
    pub fn all(self) -> HashRef<'a> {
        self.hash.fields()
    }

    fn is_alive(self, field: &[u8]) -> bool {
        self.hash.deadline(field).is_none_or(|deadline| deadline > self.now)
    }

    pub(super) fn len(self) -> usize {
        self.hash.fields.len() - self.hash.due_count(self.now)
    }

    pub(super) fn get(self, field: &[u8]) -> Option<&'a [u8]> {
        self.all().get(field).filter(|_| self.is_alive(field))
    }

    pub(super) fn for_each(self, each: &mut dyn FnMut(&'a [u8], &'a [u8])) {
        self.all().for_each(|field, value| {
            if self.is_alive(field) {
                each(field, value);
            }
        });
    }

    pub(super) fn scan(
        self,
        cursor: Position,
        count: usize,
        each: &mut dyn FnMut(&'a [u8], &'a [u8]),
    ) -> Option<Position> {
        self.all().scan(cursor, count, |field, value| {
            if self.is_alive(field) {
                each(field, value);
            }
        })
    }

    pub(super) fn draw(self, random: &mut Random) -> Option<(&'a [u8], &'a [u8])> {
        for _ in 0..DRAWS_MAX {
            let (field, value) = self.all().draw(random)?;
            if self.is_alive(field) {
                return Some((field, value));
            }
        }
        let mut left = self.len().checked_sub(1).map(|last| random.below(last + 1))?;
        let mut drawn = None;
        self.for_each(&mut |field, value| {
            if left == 0 && drawn.is_none() {
                drawn = Some((field, value));
            }
            left = left.saturating_sub(1);
        });
        drawn
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

    fn alive(hash: &Hash, now: i64) -> HashRef<'_> {
        match hash {
            Hash::Timed(timed) => timed.alive(UnixMillis(now)),
            _ => hash.as_ref(),
        }
    }

    fn contents(hash: HashRef<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = BTreeMap::new();
        hash.for_each(|field, value| {
            assert!(all.insert(field.to_vec(), value.to_vec()).is_none());
        });
        all
    }

    fn contents_of(model: &Model, now: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let is_alive = |deadline: &Option<i64>| deadline.is_none_or(|deadline| deadline > now);
        let fields = model.iter().filter(|(_, (_, deadline))| is_alive(deadline));
        fields.map(|(field, (value, _))| (field.clone(), value.clone())).collect()
    }

    /// Stores it and takes it out again, as the keyspace does.
    fn stored(hash: Hash) -> Hash {
        match hash.into_form() {
            crate::data::Form::Packed(_, bytes) => Hash::from_packed(bytes),
            crate::data::Form::Large(mut value) => Hash::take_large(&mut value).unwrap(),
        }
    }

    #[test]
    fn a_hash_without_deadlines_is_a_plain_one_again() {
        let mut hash = Hash::new();
        for n in 0..3_u8 {
            hash.set(&[n], b"v");
            hash.set_deadline(&[n], Some(UnixMillis(5)));
        }
        assert!(matches!(hash, Hash::Timed(_)));
        hash.set_deadline(&[0], None);
        hash.set(&[1], b"w");
        hash.remove(&[2]);
        let hash = stored(hash);
        assert!(matches!(hash, Hash::Packed(_)));
        assert_eq!(hash.len(), 2);
    }

    #[test]
    fn only_fields_that_are_alive_are_drawn() {
        let mut random = Random::new(7);
        for fields in [3_u32, 2_000] {
            let mut hash = Hash::new();
            for n in 0..fields {
                hash.set(&n.to_le_bytes(), b"v");
                hash.set_deadline(&n.to_le_bytes(), (n > 1).then_some(UnixMillis(10)));
            }
            let mut drawn = std::collections::BTreeSet::new();
            for _ in 0..100 {
                drawn.insert(alive(&hash, 10).draw(&mut random).unwrap().0.to_vec());
            }
            assert_eq!(drawn.len(), 2);
            let mut count = 0;
            alive(&hash, 10).draw_distinct(5, &mut random, |_, _| count += 1);
            assert_eq!((count, alive(&hash, 9).len()), (2, fields as usize));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn behaves_like_a_map_with_a_clock(
            changes in prop::collection::vec((0_u16..300, 0_u8..8, 0_i64..400), 0..1_500),
            value_bytes in 1_usize..70,
        ) {
            let mut model = Model::new();
            let mut hash = Hash::new();
            let mut held = None;
            let mut now = 0_i64;
            for (step, (name, kind, number)) in changes.into_iter().enumerate() {
                // As a write in the keyspace does: what is due goes first.
                hash.remove_due(UnixMillis(now), usize::MAX);
                model.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
                let field = name.to_string().into_bytes();
                let value = vec![b'a' + (step % 26) as u8; value_bytes];
                let deadline = UnixMillis(now + 1 + number);
                match kind {
                    0 | 1 => {
                        let new = model.insert(field.clone(), (value.clone(), None)).is_none();
                        prop_assert_eq!(hash.set(&field, &value), new);
                    }
                    2 => {
                        hash.set_keeping_deadline(&field, &value);
                        model.entry(field).or_default().0 = value;
                    }
                    3 => prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
                    4..7 => {
                        if let Some((_, old)) = model.get_mut(&field) {
                            *old = (kind < 6).then_some(deadline.0);
                            hash.set_deadline(&field, old.map(UnixMillis));
                        }
                        let expected = model.get(&field).and_then(|(_, deadline)| *deadline);
                        prop_assert_eq!(hash.deadline(&field), expected.map(UnixMillis));
                    }
                    _ => now += number / 4,
                }
                if step == 700 {
                    held = Some((hash.clone(), now, contents_of(&model, now)));
                }
                hash = stored(hash);
                if step % 16 == 0 {
                    let then = now + number / 4;
                    let expected = contents_of(&model, then);
                    prop_assert_eq!(alive(&hash, then).len(), expected.len());
                    let is_gone = match &hash {
                        Hash::Timed(timed) => timed.is_gone(UnixMillis(then)),
                        _ => hash.is_empty(),
                    };
                    prop_assert_eq!(is_gone, expected.is_empty());
                    prop_assert_eq!(contents(alive(&hash, then)), expected);
                }
            }
            prop_assert_eq!(contents(alive(&hash, now)), contents_of(&model, now));
            if let Some((copy, then, before)) = held {
                prop_assert_eq!(contents(alive(&copy, then)), before);
            }
        }
    }
}
