//! One database of one shard: its table, its expiry heap and how far the walk of a snapshot came.
//!
//! A database knows its number only from its place in the shard, because SWAPDB moves it. During a
//! snapshot that would put its keys into the dump under the wrong number, so a database that is
//! moved then first gets a label with the number that it had at the cut.

use crate::data::segmented::{OwnedTable, Slot};
use crate::keyspace::entry::{Entry, Version};
use crate::keyspace::expiry::{Due, ExpiryHeap};
use crate::keyspace::lock::Epoch;
use crate::keyspace::planted;
use crate::util::clock::UnixMillis;
use crate::util::hash::{KeyHash, Position};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The number of a database.
pub type DatabaseNumber = u32;

/// The table of a database in one shard.
pub type KeyTable = OwnedTable<Entry>;

/// Where a key lives inside its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The number of its database.
    pub database: DatabaseNumber,
    /// The hash of the key.
    pub hash: KeyHash,
}

impl Place {
    /// The number of the database, as an index.
    #[inline]
    pub(super) fn index(self) -> usize {
        self.database as usize
    }
}

/// How far the walker of a snapshot has come.
///
/// The walker moves it under the shared lock and writers read it under the exclusive one, so the
/// lock orders the two.
#[derive(Debug, Default)]
struct Walk {
    epoch: AtomicU32,
    until: AtomicU64,
}

/// The number that a database had at the cut of one snapshot.
#[derive(Debug, Default, Clone, Copy)]
struct Label {
    epoch: Version,
    number: DatabaseNumber,
}

/// The part of a database that lives in one shard.
#[derive(Debug)]
pub(super) struct Database {
    pub table: KeyTable,
    pub expiry: ExpiryHeap,
    /// Keys that have a deadline.
    pub with_deadline: usize,
    /// Hashes that have fields with deadlines: the heap has an item for the earliest of each.
    pub with_field_deadlines: usize,
    walk: Walk,
    label: Label,
}

/// What one step of the walk has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// There was nothing left to see.
    Nothing,
    /// A segment was seen, and there are more.
    Segment,
    /// The last segment was seen.
    LastSegment,
}

impl Database {
    pub fn new(shard: usize, shard_bits: u32) -> Self {
        Self {
            table: KeyTable::new(shard, shard_bits),
            expiry: ExpiryHeap::default(),
            with_deadline: 0,
            with_field_deadlines: 0,
            walk: Walk::default(),
            label: Label::default(),
        }
    }

    #[inline]
    pub fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Slot> {
        self.table.find(hash, |entry| entry.key() == key)
    }

    /// The entry of `key`, expired or not.
    #[inline]
    pub fn get(&self, hash: KeyHash, key: &[u8]) -> Option<&Entry> {
        self.table.get(hash, |entry| entry.key() == key)
    }

    /// The entry of the key with this hash, expired or not.
    fn get_by_hash(&self, hash: KeyHash) -> Option<&Entry> {
        self.table.get(hash, |entry| KeyHash::of_key(entry.key()) == hash)
    }

    /// Where the key with this hash stands, expired or not.
    pub fn find_by_hash(&self, hash: KeyHash) -> Option<Slot> {
        self.table.find(hash, |entry| KeyHash::of_key(entry.key()) == hash)
    }

    /// True when a key with this hash is there, expired or not.
    pub fn has(&self, hash: KeyHash) -> bool {
        self.get_by_hash(hash).is_some()
    }

    /// True when a key with this hash is there and alive.
    pub fn has_alive(&self, hash: KeyHash, now: UnixMillis) -> bool {
        self.get_by_hash(hash).is_some_and(|entry| !entry.is_expired(now))
    }

    /// The entry that an item of the heap still stands for.
    pub fn find_due(&self, due: Due) -> Option<Slot> {
        self.table.find(due.hash, |entry| is_due(entry, due))
    }

    /// Notes when a key dies, or the first of its fields.
    pub fn add_due(&mut self, due: Due) {
        let table = &self.table;
        self.expiry.push(due, self.with_deadline + self.with_field_deadlines, |due| {
            table.get(due.hash, |entry| is_due(entry, due)).is_some()
        });
    }

    /// Looks at `count` items of the heap, and removes those that stand for nothing any more.
    pub fn examine_deadlines(&mut self, count: usize) {
        let table = &self.table;
        self.expiry.examine(count, |due| table.get(due.hash, |entry| is_due(entry, due)).is_some());
    }

    /// The earliest deadline that the heap knows.
    #[inline]
    pub fn earliest_deadline(&self) -> UnixMillis {
        self.expiry.earliest().map_or(UnixMillis::MAX, |due| due.deadline)
    }

    /// Takes everything out: the table, and the position from which on the walk of snapshot `epoch`
    /// has not seen it, `None` when it has seen all or does not run.
    pub fn clear(&mut self, empty: KeyTable, epoch: Epoch) -> (KeyTable, Option<Position>) {
        let (first, end) = (self.table.first_position(), self.table.end_position());
        let table = std::mem::replace(&mut self.table, empty);
        self.expiry.clear();
        self.with_deadline = 0;
        self.with_field_deadlines = 0;
        let from = self.walked_until(epoch.number).unwrap_or(first);
        (table, (epoch.running && from < end).then_some(from))
    }

    /// True when a running snapshot has not yet seen the entry as it was at the cut.
    #[inline]
    pub fn is_needed(&self, entry: &Entry, hash: KeyHash, epoch: Epoch) -> bool {
        epoch.running
            && !planted::is_on(planted::Bug::NaiveCut)
            && entry.version() < epoch.number
            && self.walked_until(epoch.number).is_none_or(|until| hash.position() >= until)
    }

    /// The position up to which the walker of snapshot `epoch` has come, `None` before it began.
    #[inline]
    fn walked_until(&self, epoch: Version) -> Option<Position> {
        let is_current = self.walk.epoch.load(Ordering::Relaxed) == epoch;
        is_current.then(|| self.walk.until.load(Ordering::Relaxed))
    }

    fn set_walked(&self, epoch: Version, until: Position) {
        self.walk.until.store(until, Ordering::Relaxed);
        self.walk.epoch.store(epoch, Ordering::Relaxed);
    }

    /// The number that this database, which now has `number`, had at the cut of snapshot `epoch`.
    #[inline]
    pub fn number_at_cut(&self, number: DatabaseNumber, epoch: Version) -> DatabaseNumber {
        let moved = self.label.epoch == epoch && !planted::is_on(planted::Bug::UnlabelledSwap);
        if moved { self.label.number } else { number }
    }

    /// Keeps the number for the snapshot that is running, before it changes.
    pub fn keep_number(&mut self, number: DatabaseNumber, epoch: Epoch) {
        if epoch.running && self.label.epoch != epoch.number {
            self.label = Label { epoch: epoch.number, number };
        }
    }

    /// True when the walker of snapshot `epoch` has seen everything, or there is nothing to see.
    pub fn is_walked(&self, epoch: Version) -> bool {
        let end = self.table.end_position();
        self.table.is_empty() || self.walked_until(epoch).is_some_and(|until| until >= end)
    }

    /// Lends the walker of snapshot `epoch` the next segment.
    pub fn walk(&self, epoch: Version, each: impl FnMut(&Entry)) -> Walked {
        let end = self.table.end_position();
        let from = self.walked_until(epoch).unwrap_or(self.table.first_position());
        if from >= end {
            return Walked::Nothing;
        }
        if self.table.is_empty() {
            self.set_walked(epoch, end);
            return Walked::Nothing;
        }
        // The entries are all over the memory. Touched one behind the other, with nothing in
        // between, they come together; see `Keyspace::look_ahead`.
        let mut ends = 0;
        self.table.walk_segment(from, |entry| ends ^= entry.ends());
        std::hint::black_box(ends);
        let until = self.table.walk_segment(from, each);
        self.set_walked(epoch, until);
        if until < end { Walked::Segment } else { Walked::LastSegment }
    }
}

fn is_due(entry: &Entry, due: Due) -> bool {
    let deadline = Some(due.deadline);
    (entry.deadline() == deadline || entry.field_deadline() == deadline)
        && KeyHash::of_key(entry.key()) == due.hash
}
