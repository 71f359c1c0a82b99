//! Sets: sorted numbers or a packed sequence while small, then a table of bounded shared segments.
//!
//! What stands beside the key begins with one byte that tells the form: 0 for a packed sequence of
//! byte strings in the order of insertion, otherwise the width of numbers in ascending order. A
//! set leaves the numbers at the same moment as in Redis (the first member that is no number, or
//! too many of them) and never comes back.

use crate::data::int_seq::{IntRef, IntSeq};
use crate::data::member::Member;
use crate::data::packed::{Forward, PackedRef, PackedSeq, Span};
use crate::data::segmented::{CompactTable, Hashed};
use crate::data::{Collection, Form, InOwner, LargeValue, Value, ValueType};
use crate::util::hash::{KeyHash, Position};
use crate::util::number::{IntegerText, parse_i64};
use crate::util::random::Random;
use std::collections::HashSet;

/// A set keeps its numbers sorted up to this many (set-max-intset-entries).
pub const INT_SET_MEMBERS_MAX: usize = 512;
/// A set of byte strings stays packed up to this many.
pub const PACKED_SET_MEMBERS_MAX: usize = 128;
/// A set of byte strings stays packed while none is longer.
pub const PACKED_SET_MEMBER_BYTES_MAX: usize = 64;

/// When more than this part of a large set is drawn it is walked through instead.
const WALK_SHARE: usize = 3;

/// The form byte of a packed sequence.
const FORM_STRINGS: u8 = 0;

impl Hashed for Member {
    #[inline]
    fn hash(&self) -> KeyHash {
        KeyHash::of_field(self.bytes())
    }

    fn heap_bytes(&self) -> usize {
        self.bytes().len()
    }
}

/// A large set.
pub type MemberTable = CompactTable<Member>;

/// A set borrowed from where it is stored.
#[derive(Debug, Clone, Copy)]
pub enum SetRef<'a> {
    /// Numbers beside their key.
    Ints(IntRef<'a>),
    /// Byte strings beside their key.
    Packed(PackedRef<'a, Forward>),
    /// Stored in segments.
    Table(&'a MemberTable),
}

impl<'a> SetRef<'a> {
    /// The set in the bytes beside its key.
    #[inline]
    #[must_use]
    pub fn packed(bytes: &'a [u8]) -> Self {
        match IntRef::parse(bytes) {
            Some(numbers) => Self::Ints(numbers),
            None => Self::Packed(PackedRef::new(bytes.get(1..).unwrap_or_default())),
        }
    }

    /// Number of members. Cost: O(1).
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Ints(numbers) => numbers.len(),
            Self::Packed(seq) => seq.count(),
            Self::Table(table) => table.len(),
        }
    }

    /// True when there are no members; a stored set always has one.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name that OBJECT ENCODING gives: of the form that Redis 7.0 would have.
    #[must_use]
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Ints(_) => "intset",
            Self::Packed(_) | Self::Table(_) => "hashtable",
        }
    }

    /// True when `member` is in the set. Cost: O(1).
    #[must_use]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            Self::Ints(numbers) => parse_i64(member).is_some_and(|n| numbers.contains(n)),
            Self::Packed(seq) => seq.iter().any(|own| own == member),
            Self::Table(table) => {
                table.get(KeyHash::of_field(member), |own| own.bytes() == member).is_some()
            }
        }
    }

    /// Calls `each` with every member until it returns false. Cost: O(n).
    pub fn visit(self, mut each: impl FnMut(&[u8]) -> bool) {
        match self {
            Self::Ints(numbers) => {
                let mut text = IntegerText::new();
                let _stopped = numbers.iter().all(|number| each(text.format_i64(number)));
            }
            Self::Packed(seq) => {
                let _stopped = seq.iter().all(each);
            }
            Self::Table(table) => {
                let _stopped = table.iter().all(|member| each(member.bytes()));
            }
        }
    }

    /// Calls `each` with every member. Cost: O(n).
    pub fn for_each(self, mut each: impl FnMut(&[u8])) {
        self.visit(|member| {
            each(member);
            true
        });
    }

    /// Calls `use_member` with a member drawn at random, each as likely. Cost: O(1) expected.
    pub fn draw<R>(self, random: &mut Random, use_member: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Self::Ints(numbers) => {
                let number = numbers.get(random.below(numbers.len()))?;
                Some(use_member(IntegerText::new().format_i64(number)))
            }
            Self::Packed(seq) => Some(use_member(seq.get(random.below(seq.count()))?)),
            Self::Table(table) => {
                let slot = table.draw(random)?;
                Some(use_member(table.at(slot)?.bytes()))
            }
        }
    }

    /// Calls `each` with `count` different members drawn at random, each choice as likely; with all
    /// when there are no more. Cost: O(count), O(n) for a small set or more than a third of one.
    pub fn draw_distinct(self, count: usize, random: &mut Random, mut each: impl FnMut(&[u8])) {
        if let Self::Table(table) = self
            && count < table.len() / WALK_SHARE
        {
            let mut drawn = HashSet::with_capacity(count);
            while drawn.len() < count {
                let Some(slot) = table.draw(random) else { break };
                if drawn.insert(slot)
                    && let Some(member) = table.at(slot)
                {
                    each(member.bytes());
                }
            }
            return;
        }
        let mut chosen = random.distinct_below(count, self.len()).into_iter().peekable();
        let mut index = 0;
        self.visit(|member| {
            if chosen.next_if_eq(&index).is_some() {
                each(member);
            }
            index += 1;
            chosen.peek().is_some()
        });
    }

    /// Calls `each` with at least `count` members from `cursor` on; returns where to go on, `None`
    /// at the end. A small set is returned whole.
    pub fn scan(
        self,
        cursor: Position,
        count: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Option<Position> {
        let Self::Table(table) = self else {
            self.for_each(each);
            return None;
        };
        let next = table.scan(cursor, count, |member| each(member.bytes()));
        (next < table.end_position()).then_some(next)
    }
}

/// A set that can change.
#[derive(Debug, Clone)]
pub enum Set {
    /// Small, numbers.
    Ints(IntSeq),
    /// Small, byte strings; one byte of the owner is the form.
    Packed(PackedSeq<Forward>),
    /// Large.
    Table(MemberTable),
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::Ints(IntSeq::default())
    }

    /// The set for reading.
    #[must_use]
    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            Self::Ints(numbers) => SetRef::Ints(numbers.as_ref()),
            Self::Packed(seq) => SetRef::Packed(seq.as_ref()),
            Self::Table(table) => SetRef::Table(table),
        }
    }

    /// Number of members. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// True when there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `member`; true when it is new. Cost: O(1).
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if let Self::Ints(numbers) = self {
            let number = parse_i64(member);
            match number {
                Some(number) if numbers.as_ref().contains(number) => return false,
                Some(number) if numbers.as_ref().len() < INT_SET_MEMBERS_MAX => {
                    return numbers.insert(number);
                }
                _ => self.leave_numbers(member),
            }
        }
        if let Self::Packed(seq) = self {
            if seq.as_ref().iter().any(|own| own == member) {
                return false;
            }
            if fits_packed(member, seq.count()) {
                seq.push_back(member);
                return true;
            }
        }
        let mut new = false;
        self.make_table().upsert(
            KeyHash::of_field(member),
            |own| own.bytes() == member,
            |found| {
                new = found.is_none();
                new.then(|| Member::new(member))
            },
        );
        new
    }

    /// Removes `member`; true when it was there. Cost: O(1).
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Ints(numbers) => parse_i64(member).is_some_and(|n| numbers.remove(n)),
            Self::Packed(seq) => {
                let Some(span) = find_packed(seq, member) else {
                    return false;
                };
                seq.remove(span.whole, 1);
                true
            }
            Self::Table(table) => table
                .find(KeyHash::of_field(member), |own| own.bytes() == member)
                .and_then(|slot| table.remove(slot))
                .is_some(),
        }
    }

    /// Removes a member drawn at random, each as likely, after `use_member` has seen it.
    ///
    /// Cost: O(1) expected.
    pub fn pop<R>(
        &mut self,
        random: &mut Random,
        use_member: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        match self {
            Self::Ints(numbers) => {
                let number = numbers.as_ref().get(random.below(numbers.as_ref().len()))?;
                numbers.remove(number);
                Some(use_member(IntegerText::new().format_i64(number)))
            }
            Self::Packed(seq) => {
                let index = random.below(seq.count());
                let span = seq.span(index)?;
                let result = use_member(seq.as_ref().get(index)?);
                seq.remove(span.whole, 1);
                Some(result)
            }
            Self::Table(table) => {
                let slot = table.draw(random)?;
                table.remove(slot).map(|member| use_member(member.bytes()))
            }
        }
    }

    /// From numbers to byte strings, in the form that holds one more, `member`.
    fn leave_numbers(&mut self, member: &[u8]) {
        let Self::Ints(numbers) = self else {
            return;
        };
        if !fits_packed(member, numbers.as_ref().len()) {
            self.make_table();
            return;
        }
        let stored = std::mem::take(numbers).into_owner();
        let head = [stored.owner(), &[FORM_STRINGS]].concat();
        let mut seq = PackedSeq::behind(&head, 0);
        let mut text = IntegerText::new();
        for number in IntRef::parse(stored.value()).into_iter().flat_map(IntRef::iter) {
            seq.push_back(text.format_i64(number));
        }
        *self = Self::Packed(seq);
    }

    fn make_table(&mut self) -> &mut MemberTable {
        if !matches!(self, Self::Table(_)) {
            let mut table = MemberTable::new(0, 0);
            self.as_ref().for_each(|member| {
                table.insert_new(KeyHash::of_field(member), Member::new(member));
            });
            *self = Self::Table(table);
        }
        match self {
            Self::Table(table) => table,
            _ => unreachable!("a small set was just replaced by a table"),
        }
    }
}

impl Collection for Set {
    const TYPE: ValueType = ValueType::Set;

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn from_packed(InOwner { buffer, base }: InOwner) -> Self {
        match buffer.get(base) {
            Some(&FORM_STRINGS) => {
                Self::Packed(PackedSeq::in_owner(InOwner { buffer, base: base + 1 }))
            }
            _ => Self::Ints(IntSeq::in_owner(InOwner { buffer, base })),
        }
    }

    fn take_large(stored: &mut LargeValue) -> Option<Self> {
        match stored {
            LargeValue::Set(table) => {
                Some(Self::Table(std::mem::replace(table, MemberTable::vacant())))
            }
            _ => None,
        }
    }

    fn into_form(self) -> Form {
        match self {
            Self::Ints(numbers) => Form::Packed(Self::TYPE, numbers.into_owner()),
            Self::Packed(seq) => {
                let InOwner { buffer, base } = seq.into_owner();
                Form::Packed(Self::TYPE, InOwner { buffer, base: base.saturating_sub(1) })
            }
            Self::Table(table) => Form::Large(LargeValue::Set(table)),
        }
    }

    fn into_value(self) -> Value {
        Value::Set(self)
    }

    fn take_copied_bytes(&mut self) -> usize {
        match self {
            Self::Ints(_) | Self::Packed(_) => 0,
            Self::Table(table) => table.take_copied_bytes(),
        }
    }
}

/// True when `member` can join `count` packed ones.
fn fits_packed(member: &[u8], count: usize) -> bool {
    member.len() <= PACKED_SET_MEMBER_BYTES_MAX && count < PACKED_SET_MEMBERS_MAX
}

fn find_packed(seq: &PackedSeq<Forward>, member: &[u8]) -> Option<Span> {
    let mut elements = seq.elements();
    while let Some((span, data)) = elements.next_span() {
        if data == member {
            return Some(span);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn contents(set: SetRef<'_>) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::new();
        set.for_each(|member| assert!(all.insert(member.to_vec()), "a member came twice"));
        all
    }

    /// The set as it is stored beside a key and taken out again.
    fn stored(set: Set) -> Set {
        match set.into_form() {
            Form::Packed(_, bytes) => {
                let buffer = [b"the key", bytes.value()].concat();
                Set::from_packed(InOwner { buffer, base: 7 })
            }
            Form::Large(mut large) => Set::take_large(&mut large).unwrap(),
        }
    }

    fn numbers(count: usize) -> Set {
        let mut set = Set::new();
        for n in (0..count).rev() {
            assert!(set.insert(n.to_string().as_bytes()));
        }
        set
    }

    #[test]
    fn numbers_stay_sorted_until_one_is_none_or_they_are_too_many() {
        let mut set = numbers(INT_SET_MEMBERS_MAX);
        assert_eq!(set.as_ref().encoding(), "intset");
        let mut order = Vec::new();
        set.as_ref().for_each(|member| order.push(parse_i64(member).unwrap()));
        assert!(order.is_sorted());
        assert!(!set.insert(b"7"));
        assert_eq!(set.as_ref().encoding(), "intset");
        assert!(set.insert(b"512"));
        assert!(matches!(set, Set::Table(_)));
        assert_eq!((set.as_ref().encoding(), set.len()), ("hashtable", 513));
        for stranger in [&b"x"[..], b"01", b"+1", b"9223372036854775808", &[b'x'; 65]] {
            let mut set = numbers(3);
            assert!(set.insert(stranger) && set.remove(stranger));
            assert_eq!((set.as_ref().encoding(), set.len()), ("hashtable", 3));
            set = stored(set);
            assert_eq!(set.as_ref().encoding(), "hashtable", "it never comes back");
        }
    }

    #[test]
    fn strings_stay_packed_up_to_the_thresholds() {
        let mut set = Set::new();
        for n in 0..PACKED_SET_MEMBERS_MAX {
            set.insert(format!("{n:0>width$}", width = PACKED_SET_MEMBER_BYTES_MAX).as_bytes());
        }
        assert!(matches!(set, Set::Packed(_)));
        let mut longer = Set::new();
        longer.insert(&[b'x'; PACKED_SET_MEMBER_BYTES_MAX + 1]);
        assert!(matches!(longer, Set::Table(_)));
        set.insert(b"one more");
        assert!(matches!(set, Set::Table(_)));
        assert_eq!(set.len(), PACKED_SET_MEMBERS_MAX + 1);
    }

    #[test]
    fn every_member_is_as_likely_to_be_drawn() {
        let mut random = Random::new(3);
        for count in [7_usize, 100, 600] {
            for prefix in ["", "m"] {
                let mut set = Set::new();
                for n in 0..count {
                    set.insert(format!("{prefix}{n}").as_bytes());
                }
                let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
                for _ in 0..400 * count {
                    let drawn = set.as_ref().draw(&mut random, <[u8]>::to_vec).unwrap();
                    *counts.entry(drawn).or_default() += 1;
                }
                assert_eq!(counts.len(), count);
                // Six standard deviations.
                assert!(counts.values().all(|n| (280..520).contains(n)), "{counts:?}");
                for share in [0, 1, count / 4, count / 2, count, count + 1] {
                    let mut drawn = BTreeSet::new();
                    set.as_ref().draw_distinct(share, &mut random, |member| {
                        assert!(drawn.insert(member.to_vec()) && counts.contains_key(member));
                    });
                    assert_eq!(drawn.len(), share.min(count));
                }
                while let Some(popped) = set.pop(&mut random, <[u8]>::to_vec) {
                    assert!(counts.remove(&popped).is_some());
                }
                assert!(set.is_empty() && counts.is_empty());
            }
        }
    }

    fn member(number: u16, step: usize) -> Vec<u8> {
        match number % 5 {
            0 if step > 60 => format!("m{number}").into_bytes(),
            1 if step > 200 && number.is_multiple_of(7) => vec![b'x'; usize::from(number % 90)],
            _ => number.to_string().into_bytes(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn behaves_like_a_set(
            changes in prop::collection::vec((0_u16..900, any::<u8>()), 0..2_500)
        ) {
            let mut model = BTreeSet::new();
            let mut set = Set::new();
            let mut held = Vec::new();
            for (step, (number, change)) in changes.into_iter().enumerate() {
                let member = member(number, step);
                if step % 500 == 100 {
                    set = stored(set);
                    held.push((set.clone(), model.clone()));
                }
                if change % 4 == 0 {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                } else {
                    prop_assert_eq!(set.insert(&member), model.insert(member.clone()));
                }
                prop_assert_eq!(set.as_ref().contains(&member), model.contains(&member));
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert_eq!(contents(set.as_ref()), model);
            for (copy, before) in held {
                prop_assert_eq!(contents(copy.as_ref()), before);
            }
        }
    }
}
