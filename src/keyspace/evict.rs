//! Making room: looking for keys that may go, and letting them go.
//!
//! To know which key of all was used least would take an order of all of them, changed by every
//! read. Instead a few keys are looked at, at random, and the best candidates of many such looks
//! are kept in a [`Pool`]: what goes is nearly always among the worst of all.
//!
//! Looking takes a shared lock of one shard for some nanoseconds, letting go the exclusive one of
//! another shard: whoever makes room holds no lock meanwhile. So a candidate may have been used
//! since it was looked at. It is looked at again before it goes, and spared if it was.

use crate::keyspace::Keyspace;
use crate::keyspace::after::AfterUnlock;
use crate::keyspace::database::Place;
use crate::keyspace::entry::Entry;
use crate::keyspace::lock::Epoch;
use crate::keyspace::shard::Shard;
use crate::keyspace::uses::Uses;
use crate::util::allocator::reserved_bytes;
use crate::util::hash::KeyHash;
use crate::util::random::Random;
use smallvec::SmallVec;

/// Candidates that a pool keeps.
const POOL_LEN: usize = 16;
/// Items of a heap of deadlines that are looked at for each that is wanted: some are stale.
const ITEMS_FOR_ONE: usize = 4;

/// Items of a heap that are looked at when a key with a deadline gives way, whose own is stale
/// then: so one in four is stale at most, where they would else take the room that is made.
const ITEMS_EXAMINED: usize = 4;
/// Candidates that are spared, or were gone already, until the search is given up.
const ATTEMPTS_MAX: usize = 256;

/// Which keys may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// All.
    All,
    /// Those that have a deadline.
    WithDeadline,
}

/// Which of them goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The one whose last use is longest ago.
    LongestIdle,
    /// The one that is used least often.
    LeastUsed,
    /// The one whose deadline comes first.
    EarliestDeadline,
    /// Any.
    Any,
}

/// What gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Which keys may go.
    pub among: Among,
    /// Which of them goes first.
    pub first: First,
}

/// A key that may go.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    shard: usize,
    place: Place,
    /// The higher, the sooner it goes.
    merit: u64,
}

/// The best candidates of the last looks, the best one last.
#[derive(Debug, Default)]
pub struct Pool {
    /// In which order they were looked at: the merits of another one mean nothing.
    order: Option<Order>,
    candidates: SmallVec<[Candidate; POOL_LEN]>,
}

impl Pool {
    /// Forgets what was found in another order.
    fn begin(&mut self, order: Order) {
        if self.order != Some(order) {
            *self = Self { order: Some(order), candidates: SmallVec::new() };
        }
    }

    fn wants(&self, merit: u64) -> bool {
        let worst = self.candidates.first();
        self.candidates.len() < POOL_LEN || worst.is_some_and(|worst| worst.merit < merit)
    }

    fn add(&mut self, candidate: Candidate) {
        if self.candidates.iter().any(|other| other.place == candidate.place) {
            return;
        }
        if self.candidates.len() == POOL_LEN {
            self.candidates.remove(0);
        }
        let at = self.candidates.partition_point(|other| other.merit <= candidate.merit);
        self.candidates.insert(at, candidate);
    }
}

/// How looking for a key to let go has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicted {
    /// A key is gone, and with it about so many bytes.
    Key(usize),
    /// No key may go.
    Nothing,
}

fn merit_of(entry: &Entry, order: Order, uses: Uses) -> Option<u64> {
    let deadline = entry.deadline();
    if order.among == Among::WithDeadline && deadline.is_none() {
        return None;
    }
    Some(match order.first {
        First::LongestIdle => entry.last_use().idle_seconds(uses),
        First::LeastUsed => u64::from(u8::MAX - entry.last_use().count(uses)),
        First::EarliestDeadline => {
            u64::MAX - deadline.map_or(u64::MAX, |at| u64::try_from(at.0).unwrap_or(0))
        }
        First::Any => 0,
    })
}

impl Shard {
    /// Shows `pool` about `count` keys of each database that may go.
    fn show(&self, order: Order, uses: Uses, count: usize, random: &mut Random, pool: &mut Pool) {
        for number in (0..).take(self.database_count()) {
            let Some(database) = self.database(number) else { continue };
            let mut show = |entry: &Entry| {
                let Some(merit) = merit_of(entry, order, uses) else { return };
                if pool.wants(merit) {
                    let hash = KeyHash::of_key(entry.key());
                    let place = Place { database: number, hash };
                    pool.add(Candidate { shard: self.number(), place, merit });
                }
            };
            if order.among == Among::All {
                database.table.sample(count, random, &mut show);
                continue;
            }
            let mut wanted = if database.with_deadline > 0 { count } else { 0 };
            for _ in 0..count.saturating_mul(ITEMS_FOR_ONE) {
                if wanted == 0 {
                    break;
                }
                let drawn = database.expiry.item(random.below(database.expiry.len()));
                let slot = drawn.and_then(|due| database.find_due(due));
                if let Some(entry) = slot.and_then(|slot| database.table.at(slot)) {
                    show(entry);
                    wanted -= 1;
                }
            }
        }
    }

    /// Removes a candidate that is as good as it was; returns the bytes that it took.
    fn evict(
        &mut self,
        candidate: Candidate,
        order: Order,
        uses: Uses,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) -> Option<usize> {
        let place = candidate.place;
        let slot = self.database(place.database)?.find_by_hash(place.hash)?;
        let entry = self.at(place, slot)?;
        if merit_of(entry, order, uses)? < candidate.merit {
            return None;
        }
        let bytes = size_of::<Entry>() + reserved_bytes(entry.memory_bytes());
        let has_deadline = entry.deadline().is_some();
        after.note_evicted(place.database, entry.key(), epoch);
        self.remove(slot, place, epoch, after);
        if has_deadline {
            self.examine_deadlines(place.database, ITEMS_EXAMINED);
        }
        self.note_changes(1, epoch);
        Some(bytes)
    }
}

impl Keyspace {
    /// Lets one key go, the best of the candidates in `pool` after a look at `samples` more.
    ///
    /// Shards that a busy script holds are left out. Cost: O(samples) expected, and O(shards) when
    /// few keys may go.
    pub fn evict(
        &self,
        order: Order,
        uses: Uses,
        samples: usize,
        pool: &mut Pool,
        random: &mut Random,
        after: &mut AfterUnlock,
    ) -> Evicted {
        pool.begin(order);
        for _ in 0..ATTEMPTS_MAX {
            self.look(order, uses, samples, pool, random);
            let Some(best) = pool.candidates.pop() else {
                return Evicted::Nothing;
            };
            let evict = |shard: &mut Shard, epoch| shard.evict(best, order, uses, epoch, after);
            if let Ok(Some(bytes)) = self.shards.write(best.shard, evict) {
                return Evicted::Key(bytes);
            }
        }
        Evicted::Nothing
    }

    /// Shows `pool` some keys of the first shard, from one drawn at random on, that has such keys.
    fn look(&self, order: Order, uses: Uses, samples: usize, pool: &mut Pool, random: &mut Random) {
        let drawn = random.below(self.shards.len());
        for number in (drawn..self.shards.len()).chain(0..drawn) {
            let figures = self.shards.figures(number);
            let keys = match order.among {
                Among::WithDeadline => figures.with_deadline(),
                Among::All => figures.keys(),
            };
            if keys > 0 {
                let show = |shard: &Shard| shard.show(order, uses, samples, random, pool);
                // A shard that is held for long is left out.
                if self.shards.read(number, show).is_ok() && !pool.candidates.is_empty() {
                    return;
                }
            }
        }
    }

    /// Bytes that a running snapshot keeps beside the data. Cost: one load.
    #[inline]
    #[must_use]
    pub fn aside_bytes(&self) -> u64 {
        self.shards.kept_aside_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::keyspace::view::{NewDeadline, Tally};
    use crate::util::clock::UnixMillis;
    use crate::util::events::EventSet;
    use std::collections::BTreeSet;

    /// So few that they are all in one segment, and every look sees all.
    const KEYS: u64 = 40;
    const NOW: UnixMillis = UnixMillis(10_000_000);

    /// Keys by number: each used a second later and once more often than the one before; those of
    /// odd numbers have deadlines, the higher number the earlier one.
    fn filled(keyspace: &Keyspace, counts: bool) -> Uses {
        for number in 0..KEYS {
            let then = UnixMillis(NOW.0 + number as i64 * 1_000);
            let mut after = AfterUnlock::default();
            after.set_uses(if counts {
                Uses::by_frequency(NOW, 10, 0)
            } else {
                Uses::by_time(then)
            });
            let deadline = UnixMillis(NOW.0 * 2 - number as i64);
            let deadline = NewDeadline::Set((number % 2 == 1).then_some(deadline));
            let key = number.to_le_bytes();
            let written = keyspace.write(keyspace.locate(&key), then, &mut after, |view| {
                view.set_string(b"v", deadline);
                view.set_frequency(number as u8);
            });
            written.unwrap();
        }
        let end = UnixMillis(NOW.0 + KEYS as i64 * 1_000);
        if counts { Uses::by_frequency(end, 10, 0) } else { Uses::by_time(end) }
    }

    /// Everything that gives way, in its order.
    fn given(keyspace: &Keyspace, order: Order, uses: Uses) -> Vec<u64> {
        let (mut pool, mut random) = (Pool::default(), Random::new(3));
        let mut after = AfterUnlock::default();
        after.want_events(EventSet::EVICTED);
        while keyspace.evict(order, uses, 100, &mut pool, &mut random, &mut after)
            != Evicted::Nothing
        {}
        let events = after.take_events();
        assert!(events.iter().all(|event| event.name == "evicted"));
        let number = |key: &[u8]| u64::from_le_bytes(key.try_into().unwrap());
        events.iter().map(|event| number(&event.key)).collect()
    }

    #[test]
    fn keys_give_way_in_the_order_of_each_policy() {
        let odd = || (0..KEYS).filter(|number| number % 2 == 1);
        let orders = [
            (Among::All, First::LongestIdle, (0..KEYS).collect()),
            (Among::All, First::LeastUsed, (0..KEYS).collect()),
            (Among::WithDeadline, First::LongestIdle, odd().collect()),
            (Among::WithDeadline, First::LeastUsed, odd().collect()),
            (Among::WithDeadline, First::EarliestDeadline, odd().rev().collect::<Vec<_>>()),
        ];
        for (among, first, expected) in orders {
            let keyspace = Keyspace::new(1);
            let uses = filled(&keyspace, first == First::LeastUsed);
            let order = Order { among, first };
            assert_eq!(given(&keyspace, order, uses), expected, "{order:?}");
        }
    }

    #[test]
    fn any_key_of_any_shard_gives_way() {
        for (among, expected) in [(Among::All, KEYS), (Among::WithDeadline, KEYS / 2)] {
            let keyspace = Keyspace::new(16);
            let uses = filled(&keyspace, false);
            let given = given(&keyspace, Order { among, first: First::Any }, uses);
            let different: BTreeSet<u64> = given.iter().copied().collect();
            assert_eq!((given.len(), different.len()), (expected as usize, expected as usize));
            assert!(!given.is_sorted());
            assert_eq!(keyspace.len() as u64, KEYS - expected);
        }
    }

    #[test]
    fn a_candidate_that_was_used_meanwhile_is_spared() {
        let keyspace = Keyspace::new(1);
        let uses = filled(&keyspace, false);
        let order = Order { among: Among::All, first: First::LongestIdle };
        let (mut pool, mut random) = (Pool::default(), Random::new(3));
        let mut after = AfterUnlock::default();
        after.want_events(EventSet::EVICTED);
        keyspace.look(order, uses, 100, &mut pool, &mut random);
        pool.order = Some(order);
        assert_eq!(pool.candidates.len(), POOL_LEN);
        let tally = Tally::default();
        tally.set_uses(uses);
        for number in [0_u64, 2] {
            let key = number.to_le_bytes();
            keyspace
                .read(keyspace.locate(&key), NOW, &tally, |view| assert!(view.exists()))
                .unwrap();
        }
        // A look at no keys: the candidates are those of the first one.
        let mut evict = || keyspace.evict(order, uses, 0, &mut pool, &mut random, &mut after);
        (0..POOL_LEN - 2).for_each(|_| assert_ne!(evict(), Evicted::Nothing));
        assert_eq!(evict(), Evicted::Nothing);
        let numbers = after.take_events();
        let numbers: Vec<u8> = numbers.iter().map(|event| event.key[0]).collect();
        assert_eq!(numbers, [1].into_iter().chain(3..POOL_LEN as u8).collect::<Vec<_>>());
    }

    #[test]
    fn what_gives_way_during_a_snapshot_is_in_it_and_takes_no_room() {
        let keyspace = Keyspace::new(4);
        let uses = filled(&keyspace, false);
        let mut snapshot = keyspace.begin_snapshot(u64::MAX).unwrap();
        assert_eq!(keyspace.aside_bytes(), 0);
        let order = Order { among: Among::All, first: First::LongestIdle };
        assert_eq!(given(&keyspace, order, uses).len() as u64, KEYS);
        assert!(keyspace.is_empty());
        assert!(keyspace.aside_bytes() >= KEYS * 8);
        let mut saved = 0;
        while snapshot.step(&mut |_, _| saved += 1).unwrap() {}
        drop(snapshot);
        assert_eq!((saved, keyspace.aside_bytes()), (KEYS, 0));
    }
}
