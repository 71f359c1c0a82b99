//! Sorted sets: packed while small, then a table of scores beside a tree that counts.
//!
//! The packed form has one element per member, in the order of the scores:
//!
//! ```text
//!   [ kind: 1 byte ][ score: as many bytes as the kind says ][ member ]
//! ```
//!
//! A whole score takes 1, 2, 4 or 8 bytes, any other the 8 of a double; so -0 becomes 0 there, as
//! in Redis' packed form. The set changes to the large form at the same sizes as Redis and stays.
//! The large form finds a score by its member in the table, and all about order in the tree.

use crate::data::member::Member;
use crate::data::packed::{self, BothWays, PackedRef, PackedSeq, Span};
use crate::data::ranked_tree::{RankedTree, Scored, order};
use crate::data::segmented::{CompactTable, Hashed};
use crate::data::{Collection, Form, InOwner, LargeValue, Value, ValueType};
use crate::util::hash::{KeyHash, Position};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::ops::Range;

/// A sorted set stays packed up to this many members (zset-max-listpack-entries).
pub const PACKED_SORTED_SET_MEMBERS_MAX: usize = 128;
/// A sorted set stays packed while no member is longer (zset-max-listpack-value).
pub const PACKED_SORTED_SET_MEMBER_BYTES_MAX: usize = 64;

/// The kind of a score that is a double; lower kinds are the width of a whole number.
const KIND_DOUBLE: u8 = 9;
/// Bytes of a kind and a score at most.
const SCORE_BYTES_MAX: usize = 9;
/// Whole scores up to this are stored and shown as integers, as Redis does in its packed form.
const WHOLE_SCORE_MAX: f64 = 4_611_686_018_427_387_904.0;

type ElementBytes = SmallVec<[u8; 96]>;

/// Kind and score, as they stand in front of a member.
struct Head {
    bytes: [u8; SCORE_BYTES_MAX],
    len: usize,
}

impl Head {
    #[inline]
    fn of(score: f64) -> Self {
        let (kind, width, bytes) = match whole(score) {
            Some(number) => {
                let width = match number {
                    -0x80..=0x7f => 1,
                    -0x8000..=0x7fff => 2,
                    -0x8000_0000..=0x7fff_ffff => 4,
                    _ => 8,
                };
                (width, width, number.to_le_bytes())
            }
            None => (KIND_DOUBLE, 8, score.to_le_bytes()),
        };
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { bytes: [kind, a, b, c, d, e, f, g, h], len: 1 + usize::from(width) }
    }
}

impl AsRef<[u8]> for Head {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// The score as a whole number, where it is one and not out of all bounds.
#[must_use]
pub fn whole(score: f64) -> Option<i64> {
    let number = score as i64;
    let is_whole = score.abs() <= WHOLE_SCORE_MAX && number as f64 == score;
    is_whole.then_some(number)
}

/// The score and the member of a packed element.
#[inline]
fn parse(element: &[u8]) -> (f64, &[u8]) {
    let Some((kind, rest)) = element.split_first() else {
        return (0.0, &[]);
    };
    let parsed = match kind {
        1 => rest.split_first_chunk().map(|(b, member)| (f64::from(i8::from_le_bytes(*b)), member)),
        2 => {
            rest.split_first_chunk().map(|(b, member)| (f64::from(i16::from_le_bytes(*b)), member))
        }
        4 => {
            rest.split_first_chunk().map(|(b, member)| (f64::from(i32::from_le_bytes(*b)), member))
        }
        8 => rest.split_first_chunk().map(|(b, member)| (i64::from_le_bytes(*b) as f64, member)),
        _ => rest.split_first_chunk().map(|(b, member)| (f64::from_le_bytes(*b), member)),
    };
    parsed.unwrap_or((0.0, rest))
}

impl Hashed for Scored {
    #[inline]
    fn hash(&self) -> KeyHash {
        KeyHash::of_field(self.member.bytes())
    }

    fn heap_bytes(&self) -> usize {
        self.member.bytes().len()
    }
}

/// A large sorted set.
#[derive(Debug, Clone)]
pub struct RankedMembers {
    scores: CompactTable<Scored>,
    tree: RankedTree,
}

impl RankedMembers {
    fn new() -> Self {
        Self { scores: CompactTable::new(0, 0), tree: RankedTree::default() }
    }

    /// Something to put in the place of a set while it is lent; nothing is allocated.
    fn vacant() -> Self {
        Self { scores: CompactTable::vacant(), tree: RankedTree::default() }
    }

    /// Number of members. Cost: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// True when there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Number of pieces that clones share: the tree is one, since its root shares all others.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.scores.segment_count() + 1
    }

    /// Roughly how many bytes it takes. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.scores.memory_bytes() + self.tree.memory_bytes()
    }

    fn take_copied_bytes(&mut self) -> usize {
        self.scores.take_copied_bytes() + self.tree.take_copied_bytes()
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        let own = |entry: &Scored| entry.member.bytes() == member;
        self.scores.get(KeyHash::of_field(member), own).map(|entry| entry.score)
    }

    fn set(&mut self, score: f64, member: &[u8]) -> Option<f64> {
        let mut old = None;
        let mut entry = None;
        self.scores.upsert(
            KeyHash::of_field(member),
            |own| own.member.bytes() == member,
            |found| match found {
                Some(found) => {
                    old = Some(found.score);
                    found.score = score;
                    entry = Some(found.clone());
                    None
                }
                None => {
                    entry = Some(Scored { score, member: Member::new(member) });
                    entry.clone()
                }
            },
        );
        if let Some(old) = old {
            self.tree.remove(old, member);
        }
        if let Some(entry) = entry {
            self.tree.insert(entry);
        }
        old
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let own = |entry: &Scored| entry.member.bytes() == member;
        let slot = self.scores.find(KeyHash::of_field(member), own)?;
        let entry = self.scores.remove(slot)?;
        self.tree.remove(entry.score, member);
        Some(entry.score)
    }

    fn remove_rank(&mut self, rank: usize) -> Option<Scored> {
        let entry = self.tree.remove_rank(rank)?;
        let own = |other: &Scored| other.member == entry.member;
        let slot = self.scores.find(entry.hash(), own)?;
        self.scores.remove(slot)
    }
}

/// A sorted set borrowed from where it is stored.
#[derive(Debug, Clone, Copy)]
pub enum SortedSetRef<'a> {
    /// Stored beside its key.
    Packed(PackedRef<'a, BothWays>),
    /// Stored as table and tree.
    Ranked(&'a RankedMembers),
}

impl<'a> SortedSetRef<'a> {
    /// Number of members. Cost: O(1).
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(seq) => seq.count(),
            Self::Ranked(set) => set.len(),
        }
    }

    /// True when there are no members; a stored sorted set always has one.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name that OBJECT ENCODING gives: of the form that Redis 7.0 would have.
    #[must_use]
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Ranked(_) => "skiplist",
        }
    }

    /// The score of `member`. Cost: O(1).
    #[must_use]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(seq) => {
                seq.iter().map(parse).find(|(_, own)| *own == member).map(|(score, _)| score)
            }
            Self::Ranked(set) => set.score(member),
        }
    }

    /// The rank of `member`, from the lowest score. Cost: O(log n).
    #[must_use]
    pub fn rank(self, member: &[u8]) -> Option<usize> {
        match self {
            Self::Packed(seq) => seq.iter().map(parse).position(|(_, own)| own == member),
            Self::Ranked(set) => {
                let score = set.score(member)?;
                let is_before = |s: f64, m: &[u8]| order((s, m), (score, member)) == Ordering::Less;
                Some(set.tree.count_before(is_before))
            }
        }
    }

    /// The member of a rank and its score. Cost: O(log n).
    #[must_use]
    pub fn get(self, rank: usize) -> Option<(&'a [u8], f64)> {
        match self {
            Self::Packed(seq) => seq.get(rank).map(parse).map(|(score, member)| (member, score)),
            Self::Ranked(set) => set.tree.get(rank).map(|e| (e.member.bytes(), e.score)),
        }
    }

    /// The ranks from the first member that `is_below` refuses, as long as `is_above` refuses them,
    /// without the first `skip` of them, or the last when the range is read backwards.
    ///
    /// Both judge by score and member and should change their mind only once in the order of the
    /// set. If they do not, as in a range of members whose scores differ, a packed set answers
    /// what Redis does: it looks from the end where the range is to begin, and what it skips need
    /// not be in the range. Cost: O(log n).
    #[must_use]
    pub fn ranks(
        self,
        is_reverse: bool,
        skip: usize,
        is_below: impl Fn(f64, &[u8]) -> bool,
        is_above: impl Fn(f64, &[u8]) -> bool,
    ) -> Range<usize> {
        let len = self.len();
        match self {
            Self::Packed(seq) => {
                let below = |(score, member): &(f64, &[u8])| is_below(*score, member);
                let above = |(score, member): &(f64, &[u8])| is_above(*score, member);
                let members = || seq.iter().map(parse);
                if members().next().is_none_or(|first| above(&first))
                    || members().next_back().is_none_or(|last| below(&last))
                {
                    return 0..0;
                }
                if is_reverse {
                    let count = inside(|| members().rev(), skip, above, below);
                    len - count.end..len - count.start
                } else {
                    inside(members, skip, below, above)
                }
            }
            Self::Ranked(set) => {
                let start = set.tree.count_before(is_below);
                let end = set.tree.count_before(|score, member| !is_above(score, member));
                let end = end.max(start);
                let skip = skip.min(end - start);
                if is_reverse { start..end - skip } else { start + skip..end }
            }
        }
    }

    /// Calls `each` for the members of these ranks and their scores, in order or backwards.
    ///
    /// Cost: O(log n + count).
    pub fn for_each(
        self,
        ranks: Range<usize>,
        is_reverse: bool,
        mut each: impl FnMut(&'a [u8], f64),
    ) {
        let (start, count) = (ranks.start, ranks.len());
        let behind = self.len().saturating_sub(ranks.end);
        match self {
            Self::Packed(seq) => {
                let mut give = |element: &'a [u8]| {
                    let (score, member) = parse(element);
                    each(member, score);
                };
                if is_reverse {
                    seq.iter().rev().skip(behind).take(count).for_each(&mut give);
                } else {
                    seq.iter().skip(start).take(count).for_each(&mut give);
                }
            }
            Self::Ranked(set) => {
                let give = |entry: &'a Scored| each(entry.member.bytes(), entry.score);
                if is_reverse {
                    set.tree.for_each_back(behind, count, give);
                } else {
                    set.tree.for_each(start, count, give);
                }
            }
        }
    }

    /// Calls `each` for every member and its score, in order. Cost: O(n).
    pub fn for_all(self, each: impl FnMut(&'a [u8], f64)) {
        self.for_each(0..self.len(), false, each);
    }

    /// Calls `each` with at least `count` members from `cursor` on; returns where to go on, `None`
    /// at the end. A packed set is returned whole.
    pub fn scan(
        self,
        cursor: Position,
        count: usize,
        mut each: impl FnMut(&'a [u8], f64),
    ) -> Option<Position> {
        let Self::Ranked(set) = self else {
            self.for_all(each);
            return None;
        };
        let scores = &set.scores;
        let next = scores.scan(cursor, count, |entry| each(entry.member.bytes(), entry.score));
        (next < scores.end_position()).then_some(next)
    }
}

/// A sorted set that can change.
#[derive(Debug, Clone)]
pub enum SortedSet {
    /// Small.
    Packed(PackedSeq<BothWays>),
    /// Large.
    Ranked(RankedMembers),
}

impl Default for SortedSet {
    fn default() -> Self {
        Self::new()
    }
}

impl SortedSet {
    /// An empty sorted set.
    #[must_use]
    pub fn new() -> Self {
        Self::Packed(PackedSeq::new())
    }

    /// A sorted set of members that differ, in the form that fits all of them.
    ///
    /// Cost: O(n log n).
    #[must_use]
    pub fn from_entries(mut entries: Vec<Scored>) -> Self {
        entries.sort_unstable_by(|a, b| a.order(b.score, b.member.bytes()));
        if let Some(set) = Self::packed(entries.iter().map(|e| (e.score, e.member.bytes()))) {
            return set;
        }
        let mut set = RankedMembers::new();
        for entry in entries {
            set.scores.insert_new(entry.hash(), entry.clone());
            set.tree.insert(entry);
        }
        Self::Ranked(set)
    }

    /// A sorted set of members that differ and their scores, none of them NaN, if it is small.
    ///
    /// Cost: O(n log n), O(n) if they are in order, one way or the other.
    #[must_use]
    pub fn small(members: &mut [(f64, &[u8])]) -> Option<Self> {
        members.sort_unstable_by(|a, b| order(*a, *b));
        Self::packed(members.iter().copied())
    }

    /// One of members in their order, if it may be packed.
    fn packed<'m>(members: impl ExactSizeIterator<Item = (f64, &'m [u8])> + Clone) -> Option<Self> {
        let fits = members.len() <= PACKED_SORTED_SET_MEMBERS_MAX
            && members.clone().all(|(_, member)| is_short(member));
        if !fits {
            return None;
        }
        let bytes = members.clone().map(|(_, member)| SCORE_BYTES_MAX + member.len()).sum();
        let mut seq =
            PackedSeq::with_room(packed::sequence_bytes_max::<BothWays>(members.len(), bytes));
        seq.extend_joined(members.map(|(score, member)| (Head::of(score), member)));
        Some(Self::Packed(seq))
    }

    /// The sorted set for reading.
    #[must_use]
    pub fn as_ref(&self) -> SortedSetRef<'_> {
        match self {
            Self::Packed(seq) => SortedSetRef::Packed(seq.as_ref()),
            Self::Ranked(set) => SortedSetRef::Ranked(set),
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

    /// Gives `member` this score, which must not be NaN; returns the old one. Cost: O(log n).
    pub fn set(&mut self, score: f64, member: &[u8]) -> Option<f64> {
        if let Self::Packed(seq) = self {
            let found = find_packed(seq, member);
            if found.is_some() || (is_short(member) && seq.count() < PACKED_SORTED_SET_MEMBERS_MAX)
            {
                let old = found.map(|(span, old)| {
                    seq.remove(span.whole, 1);
                    old
                });
                insert_packed(seq, score, member);
                return old;
            }
        }
        self.make_ranked().set(score, member)
    }

    /// Removes `member`; returns its score. Cost: O(log n).
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(seq) => {
                let (span, score) = find_packed(seq, member)?;
                seq.remove(span.whole, 1);
                Some(score)
            }
            Self::Ranked(set) => set.remove(member),
        }
    }

    /// Removes the members of these ranks after `each` has seen them, in order or backwards.
    ///
    /// Cost: O(count log n).
    pub fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        is_reverse: bool,
        mut each: impl FnMut(&[u8], f64),
    ) {
        let ranks = ranks.start..ranks.end.min(self.len());
        let Some(last) = ranks.end.checked_sub(1).filter(|last| *last >= ranks.start) else {
            return;
        };
        match self {
            Self::Packed(seq) => {
                let set = SortedSetRef::Packed(seq.as_ref());
                set.for_each(ranks.clone(), is_reverse, &mut each);
                if let (Some(first), Some(last)) = (seq.span(ranks.start), seq.span(last)) {
                    seq.remove(first.whole.start..last.whole.end, ranks.len());
                }
            }
            Self::Ranked(set) => {
                for rank in ranks.clone().rev() {
                    let rank = if is_reverse { rank } else { ranks.start };
                    if let Some(Scored { score, member }) = set.remove_rank(rank) {
                        each(member.bytes(), score);
                    }
                }
            }
        }
    }

    fn make_ranked(&mut self) -> &mut RankedMembers {
        if let Self::Packed(seq) = self {
            let mut set = RankedMembers::new();
            SortedSetRef::Packed(seq.as_ref()).for_all(|member, score| {
                let entry = Scored { score, member: Member::new(member) };
                set.scores.insert_new(entry.hash(), entry.clone());
                set.tree.insert(entry);
            });
            *self = Self::Ranked(set);
        }
        match self {
            Self::Ranked(set) => set,
            Self::Packed(_) => unreachable!("a packed set was just replaced"),
        }
    }
}

impl Collection for SortedSet {
    const TYPE: ValueType = ValueType::SortedSet;

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn from_packed(bytes: InOwner) -> Self {
        Self::Packed(PackedSeq::in_owner(bytes))
    }

    fn take_large(stored: &mut LargeValue) -> Option<Self> {
        match stored {
            LargeValue::SortedSet(set) => {
                Some(Self::Ranked(std::mem::replace(set, RankedMembers::vacant())))
            }
            _ => None,
        }
    }

    fn into_form(self) -> Form {
        match self {
            Self::Packed(seq) => Form::Packed(Self::TYPE, seq.into_owner()),
            Self::Ranked(set) => Form::Large(LargeValue::SortedSet(set)),
        }
    }

    fn into_value(self) -> Value {
        Value::SortedSet(self)
    }

    fn take_copied_bytes(&mut self) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Ranked(set) => set.take_copied_bytes(),
        }
    }
}

fn is_short(member: &[u8]) -> bool {
    member.len() <= PACKED_SORTED_SET_MEMBER_BYTES_MAX
}

fn find_packed(seq: &PackedSeq<BothWays>, member: &[u8]) -> Option<(Span, f64)> {
    let mut elements = seq.elements();
    while let Some((span, data)) = elements.next_span() {
        let (score, own) = parse(data);
        if own == member {
            return Some((span, score));
        }
    }
    None
}

/// The places of the members that neither `before` nor `behind` accepts, `skip` passed over.
fn inside<'a, I: Iterator<Item = (f64, &'a [u8])>>(
    members: impl Fn() -> I,
    skip: usize,
    before: impl Fn(&I::Item) -> bool,
    behind: impl Fn(&I::Item) -> bool,
) -> Range<usize> {
    let start = members().take_while(before).count();
    if members().nth(start).is_none_or(|first| behind(&first)) {
        return start..start;
    }
    let start = start.saturating_add(skip).min(members().count());
    start..start + members().skip(start).take_while(|entry| !behind(entry)).count()
}

/// Inserts a member that is not there at its place in the order.
fn insert_packed(seq: &mut PackedSeq<BothWays>, score: f64, member: &[u8]) {
    let head = Head::of(score);
    let mut elements = seq.elements();
    while let Some((span, data)) = elements.next_span() {
        if order(parse(data), (score, member)) == Ordering::Greater {
            let mut element = ElementBytes::from_slice(head.as_ref());
            element.extend_from_slice(member);
            seq.insert(span.whole.start, &element);
            return;
        }
    }
    seq.extend_joined(std::iter::once((head, member)));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, f64>;

    fn in_order(model: &Model) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> =
            model.iter().map(|(member, score)| (member.clone(), *score)).collect();
        all.sort_by(|a, b| order((a.1, &a.0), (b.1, &b.0)));
        all
    }

    fn contents(set: SortedSetRef<'_>) -> Vec<(Vec<u8>, f64)> {
        let mut all = Vec::new();
        set.for_all(|member, score| all.push((member.to_vec(), score)));
        all
    }

    #[test]
    fn stays_packed_up_to_the_thresholds() {
        let mut set = SortedSet::new();
        for n in 0..PACKED_SORTED_SET_MEMBERS_MAX {
            let width = PACKED_SORTED_SET_MEMBER_BYTES_MAX;
            set.set(n as f64, format!("{n:0>width$}").as_bytes());
        }
        assert_eq!(set.as_ref().encoding(), "listpack");
        let mut longer = SortedSet::new();
        longer.set(1.0, &[b'x'; PACKED_SORTED_SET_MEMBER_BYTES_MAX + 1]);
        assert_eq!(longer.as_ref().encoding(), "skiplist");
        set.set(1.0, b"one more");
        assert_eq!(set.as_ref().encoding(), "skiplist");
        assert_eq!(set.len(), PACKED_SORTED_SET_MEMBERS_MAX + 1);
    }

    #[test]
    fn every_score_comes_back_from_both_forms() {
        let edges = [
            0.0,
            1.0,
            -1.0,
            127.0,
            128.0,
            -128.0,
            -129.0,
            32_767.0,
            32_768.0,
            2_147_483_648.0,
            -2_147_483_649.0,
            9_007_199_254_740_993.0,
            4.6e18,
            -4.7e18,
            1e300,
            -1e308,
            0.1,
            -2.5,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        for score in edges {
            let mut set = SortedSet::new();
            set.set(score, b"m");
            assert_eq!(set.as_ref().score(b"m").unwrap().to_bits(), score.to_bits(), "{score}");
            set.set(1.0, &[b'x'; 100]);
            assert_eq!(set.as_ref().score(b"m").unwrap().to_bits(), score.to_bits(), "{score}");
        }
        let mut set = SortedSet::new();
        set.set(-0.0, b"m");
        assert_eq!(set.as_ref().score(b"m").unwrap().to_bits(), 0.0_f64.to_bits());
        let long = Scored { score: 1.0, member: Member::new(&[b'x'; 100]) };
        let zero = Scored { score: -0.0, member: Member::new(b"m") };
        let set = SortedSet::from_entries(vec![long, zero]);
        assert_eq!(set.as_ref().score(b"m").unwrap().to_bits(), (-0.0_f64).to_bits());
    }

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-5_i32..5).prop_map(f64::from),
            2 => any::<i64>().prop_map(|n| n as f64),
            1 => any::<f64>().prop_filter("a score", |score| !score.is_nan()),
            1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 0.0]),
        ]
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            20 => (0_u16..300).prop_map(|n| n.to_string().into_bytes()),
            5 => prop::collection::vec(any::<u8>(), 0..20),
            1 => prop::collection::vec(any::<u8>(), 50..90),
        ]
    }

    #[derive(Debug, Clone)]
    enum Change {
        Set(f64, Vec<u8>),
        Remove(Vec<u8>),
        RemoveRanks(usize, usize, bool),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            12 => (score(), member()).prop_map(|(score, member)| Change::Set(score, member)),
            4 => member().prop_map(Change::Remove),
            1 => (0_usize..300, 0_usize..9, any::<bool>())
                .prop_map(|(start, count, back)| Change::RemoveRanks(start, count, back)),
        ]
    }

    fn apply(set: &mut SortedSet, model: &mut Model, change: Change) {
        match change {
            Change::Set(score, member) => {
                let score = if score == 0.0 { 0.0 } else { score };
                assert_eq!(set.set(score, &member), model.insert(member.clone(), score));
                assert_eq!(set.as_ref().score(&member), Some(score));
                let rank = in_order(model).iter().position(|(m, _)| *m == member);
                assert_eq!(set.as_ref().rank(&member), rank);
                let entry = set.as_ref().get(rank.unwrap()).unwrap();
                assert_eq!(entry, (member.as_slice(), score));
            }
            Change::Remove(member) => {
                assert_eq!(set.remove(&member), model.remove(&member));
                assert_eq!((set.as_ref().score(&member), set.as_ref().rank(&member)), (None, None));
            }
            Change::RemoveRanks(start, count, back) => {
                let mut gone: Vec<_> =
                    in_order(model).into_iter().skip(start).take(count).collect();
                gone.iter().for_each(|(member, _)| {
                    model.remove(member);
                });
                if back {
                    gone.reverse();
                }
                let mut seen = Vec::new();
                set.remove_ranks(start..start + count, back, |member, score| {
                    seen.push((member.to_vec(), score));
                });
                assert_eq!(seen, gone);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn behaves_like_a_map_in_order_of_score(
            changes in prop::collection::vec(change(), 0..700),
            bounds in (score(), score()),
        ) {
            let mut model = Model::new();
            let mut set = SortedSet::new();
            let mut held = Vec::new();
            for (step, change) in changes.into_iter().enumerate() {
                if step % 150 == 100 {
                    held.push((set.clone(), model.clone()));
                }
                apply(&mut set, &mut model, change);
            }
            held.push((set.clone(), model.clone()));
            for (copy, before) in held {
                let all = in_order(&before);
                prop_assert_eq!(contents(copy.as_ref()), all.clone());
                let (min, max) = bounds;
                let inside: Vec<_> =
                    all.iter().filter(|(_, s)| min <= *s && *s <= max).cloned().collect();
                let find = |is_reverse, skip| {
                    copy.as_ref().ranks(is_reverse, skip, |s, _| s < min, |s, _| s > max)
                };
                let ranks = find(false, 0);
                for skip in [0, 1, 5, inside.len(), usize::MAX] {
                    let skipped = skip.min(inside.len());
                    prop_assert_eq!(find(false, skip).len(), inside.len() - skipped);
                    prop_assert_eq!(find(true, skip).len(), inside.len() - skipped);
                    if skipped < inside.len() {
                        prop_assert_eq!(find(false, skip), ranks.start + skipped..ranks.end);
                        prop_assert_eq!(find(true, skip), ranks.start..ranks.end - skipped);
                    }
                }
                prop_assert_eq!(ranks.len(), inside.len());
                let (mut forward, mut back) = (Vec::new(), Vec::new());
                copy.as_ref().for_each(ranks.clone(), false, |m, s| forward.push((m.to_vec(), s)));
                copy.as_ref().for_each(ranks, true, |m, s| back.push((m.to_vec(), s)));
                back.reverse();
                prop_assert_eq!(&forward, &inside);
                prop_assert_eq!(&back, &inside);
                let entries = all.iter().rev().map(|(member, score)| {
                    Scored { score: *score, member: Member::new(member) }
                });
                let built = SortedSet::from_entries(entries.collect());
                prop_assert_eq!(contents(built.as_ref()), all.clone());
                let mut scanned = Model::new();
                let mut cursor = Some(0);
                while let Some(from) = cursor {
                    cursor = copy.as_ref().scan(from, 10, |member, score| {
                        assert!(scanned.insert(member.to_vec(), score).is_none());
                    });
                }
                prop_assert_eq!(scanned, before);
            }
        }
    }
}
