//! From what a dump holds to what the keyspace holds: the one place that knows both.
//!
//! A value arrives in one part or in several, each of which is used up before the next one is read,
//! so that a collection of millions is not in memory twice. A field that is there for the second
//! time is noticed when it is put in, at no cost; only small hashes are looked through first,
//! because in their packed form putting a field in means comparing it with all others. A small
//! sorted set is put in order first, for the same reason.

use crate::data::hash::{LOOK_AHEAD_MAX, PACKED_HASH_FIELDS_MAX};
use crate::data::list::End;
use crate::data::sorted_set::PACKED_SORTED_SET_MEMBERS_MAX;
use crate::data::{Hash, List, Set, SortedSet, Value};
use crate::persist::error::Reason;
use crate::persist::value::DuplicateFinder;
use crate::persist::value::Elements;
use crate::persist::value::Pairs;
use crate::persist::value::RdbValue;
use crate::persist::value::Scored;
use crate::util::clock::UnixMillis;
use smallvec::SmallVec;

type Result<T> = std::result::Result<T, Reason>;

/// A value of the keyspace that grows part by part.
#[derive(Debug)]
pub(crate) struct Builder {
    value: Value,
}

impl Builder {
    /// Begins with the first part of a value. Cost: O(part). Errors: as [`add`](Self::add).
    pub(crate) fn new(part: RdbValue, finder: &mut DuplicateFinder) -> Result<Self> {
        let value = match part {
            RdbValue::String(bytes) => Value::String(bytes.into()),
            RdbValue::List(elements) => {
                let mut list = List::with_room(elements.len(), elements.bytes());
                extend_list(&mut list, elements)?;
                Value::List(list)
            }
            RdbValue::Hash(pairs) if !pairs.deadlines_ms.is_empty() => {
                let mut hash = Hash::new();
                extend_timed_hash(&mut hash, pairs)?;
                Value::Hash(hash)
            }
            RdbValue::Hash(pairs) if pairs.len() <= PACKED_HASH_FIELDS_MAX => {
                Value::Hash(small_hash(pairs, finder)?)
            }
            RdbValue::Hash(pairs) => {
                let mut hash = Hash::new();
                extend_hash(&mut hash, pairs)?;
                Value::Hash(hash)
            }
            RdbValue::Set(members) => {
                let mut set = Set::new();
                extend_set(&mut set, members)?;
                Value::Set(set)
            }
            RdbValue::ZSet(scored) => Value::SortedSet(sorted_set(scored, finder)?),
            RdbValue::Stream(stream) => Value::Stream(stream),
        };
        Ok(Self { value })
    }

    /// Adds the next part of the same value. Cost: O(part).
    ///
    /// Errors: a field or member that is there already.
    pub(crate) fn add(&mut self, part: RdbValue) -> Result<()> {
        match (&mut self.value, part) {
            (Value::List(list), RdbValue::List(elements)) => extend_list(list, elements),
            (Value::Hash(hash), RdbValue::Hash(pairs)) => extend_hash(hash, pairs),
            (Value::Set(set), RdbValue::Set(members)) => extend_set(set, members),
            (Value::SortedSet(set), RdbValue::ZSet(scored)) => extend_sorted_set(set, scored),
            _ => unreachable!(
                "all parts of a value are of its type, and a string or a stream is one part"
            ),
        }
    }

    /// The whole value.
    pub(crate) fn finish(self) -> Value {
        self.value
    }
}

fn extend_list(list: &mut List, elements: Elements) -> Result<()> {
    elements.consume(|element| {
        list.push(End::Right, element);
        Ok(())
    })
}

/// Looks through a hash that is packed for every field: such hashes are few.
fn extend_timed_hash(hash: &mut Hash, pairs: Pairs) -> Result<()> {
    let Pairs { elements, deadlines_ms } = pairs;
    let mut deadlines = deadlines_ms.into_iter();
    Pairs::from(elements).consume(|field, value| {
        if !hash.set(field, value) {
            return Err(Reason::Duplicate(field.to_vec()));
        }
        let deadline = deadlines.next().filter(|deadline_ms| *deadline_ms != 0);
        hash.set_deadline(field, deadline.map(UnixMillis));
        Ok(())
    })
}

fn extend_hash(hash: &mut Hash, pairs: Pairs) -> Result<()> {
    if !pairs.deadlines_ms.is_empty() {
        return extend_timed_hash(hash, pairs);
    }
    let mut rest = pairs.iter();
    loop {
        let group: SmallVec<[_; LOOK_AHEAD_MAX]> = rest.by_ref().take(LOOK_AHEAD_MAX).collect();
        if group.is_empty() {
            return Ok(());
        }
        if let Some((field, _)) = hash.set_all_new(&group).and_then(|index| group.get(index)) {
            return Err(Reason::Duplicate(field.to_vec()));
        }
    }
}

fn extend_set(set: &mut Set, members: Elements) -> Result<()> {
    members.consume(|member| {
        if set.insert(member) { Ok(()) } else { Err(Reason::Duplicate(member.to_vec())) }
    })
}

fn extend_sorted_set(set: &mut SortedSet, scored: Scored) -> Result<()> {
    scored.consume(|member, score| match set.set(score, member) {
        None => Ok(()),
        Some(_) => Err(Reason::Duplicate(member.to_vec())),
    })
}

fn sorted_set(scored: Scored, finder: &mut DuplicateFinder) -> Result<SortedSet> {
    if scored.len() <= PACKED_SORTED_SET_MEMBERS_MAX {
        if let Some(member) = finder.find_member(&scored.members) {
            return Err(Reason::Duplicate(member.to_vec()));
        }
        let mut members: SmallVec<[(f64, &[u8]); PACKED_SORTED_SET_MEMBERS_MAX]> =
            scored.iter().map(|(member, score)| (score, member)).collect();
        if let Some(set) = SortedSet::small(&mut members) {
            return Ok(set);
        }
    }
    let mut set = SortedSet::new();
    extend_sorted_set(&mut set, scored)?;
    Ok(set)
}

fn small_hash(pairs: Pairs, finder: &mut DuplicateFinder) -> Result<Hash> {
    if let Some(field) = finder.find_field(&pairs) {
        return Err(Reason::Duplicate(field.to_vec()));
    }
    let mut hash = Hash::with_room(pairs.len(), pairs.elements.bytes());
    let pushed: Result<()> = pairs.consume(|field, value| {
        hash.push_new(field, value);
        Ok(())
    });
    pushed.map(|()| hash)
}
