//! The figures of a shard that are read without its lock.
//!
//! Who changes a shard stores them as it unlocks, so that INFO, the sweeper and the rules for
//! saving wait for nobody. Most servers have keys in the first database alone: its figures stand by
//! themselves, and one sum says whether the others need to be looked at.

use crate::keyspace::database::{Database, DatabaseNumber};
use crate::keyspace::shard::Shard;
use crate::util::clock::UnixMillis;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Figures of a database in one shard.
#[derive(Debug, Default)]
struct DatabaseFigures {
    keys: AtomicU64,
    with_deadline: AtomicU64,
    expiry_items: AtomicU64,
}

impl DatabaseFigures {
    #[inline]
    fn store(&self, database: &Database) {
        self.keys.store(database.table.len() as u64, Ordering::Relaxed);
        self.with_deadline.store(database.with_deadline as u64, Ordering::Relaxed);
        self.expiry_items.store(database.expiry.len() as u64, Ordering::Relaxed);
    }
}

/// Figures of a shard that are read without its lock; stored whenever a change unlocks it.
#[derive(Debug)]
pub struct ShardFigures {
    /// Those of database 0, which are stored at every unlocking,
    first: DatabaseFigures,
    /// and those of the others, when they have changed.
    others: Box<[DatabaseFigures]>,
    /// Keys of the others together: mostly there are none, and nobody looks at them.
    others_keys: AtomicU64,
    /// The highest number of a database that ever had keys: those above it are not looked at.
    highest: AtomicU32,
    changes: AtomicU64,
    aside: AtomicU64,
    aside_bytes: AtomicU64,
    /// A moment before which no key dies, `i64::MAX` when none does.
    earliest_deadline: AtomicI64,
}

impl ShardFigures {
    pub(super) fn new(databases: usize) -> Self {
        Self {
            first: DatabaseFigures::default(),
            others: (1..databases).map(|_| DatabaseFigures::default()).collect(),
            others_keys: AtomicU64::new(0),
            highest: AtomicU32::new(0),
            changes: AtomicU64::new(0),
            aside: AtomicU64::new(0),
            aside_bytes: AtomicU64::new(0),
            earliest_deadline: AtomicI64::new(UnixMillis::MAX.0),
        }
    }

    #[inline]
    pub(super) fn store(&self, shard: &mut Shard) {
        if let Some(database) = shard.database(0) {
            self.first.store(database);
        }
        for number in shard.take_touched() {
            if let (Some(of), Some(database)) = (self.of(number), shard.database(number)) {
                let before = of.keys.load(Ordering::Relaxed);
                of.store(database);
                let others = self.others_keys.load(Ordering::Relaxed).wrapping_sub(before);
                let keys = database.table.len() as u64;
                self.others_keys.store(others.wrapping_add(keys), Ordering::Relaxed);
                // Nobody else stores it: the shard is locked.
                if keys > 0 && number > self.highest.load(Ordering::Relaxed) {
                    self.highest.store(number, Ordering::Relaxed);
                }
            }
        }
        let figures = [
            (&self.changes, shard.changes_since_save()),
            (&self.aside, shard.aside_len() as u64),
            (&self.aside_bytes, shard.aside_bytes()),
        ];
        for (place, value) in figures {
            place.store(value, Ordering::Relaxed);
        }
        self.earliest_deadline.store(shard.earliest_deadline().0, Ordering::Relaxed);
    }

    #[inline]
    fn of(&self, database: DatabaseNumber) -> Option<&DatabaseFigures> {
        match (database as usize).checked_sub(1) {
            None => Some(&self.first),
            Some(index) => self.others.get(index),
        }
    }

    fn all(&self) -> impl Iterator<Item = &DatabaseFigures> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Number of keys of all databases, expired ones included until they are swept. Cost: O(1).
    pub fn keys(&self) -> u64 {
        let others = self.others_keys.load(Ordering::Relaxed);
        self.first.keys.load(Ordering::Relaxed).wrapping_add(others)
    }

    /// Adds the numbers of keys, and of those that have a deadline, of every database to `sums`.
    /// Cost: O(1) when there are keys in the first one alone, otherwise O(n) for the databases up
    /// to the last one that ever had keys.
    pub(super) fn add_to(&self, sums: &mut [(u64, u64)]) {
        let others: &[DatabaseFigures] = match self.others_keys.load(Ordering::Relaxed) {
            0 => &[],
            _ => {
                let count = self.highest.load(Ordering::Relaxed) as usize;
                self.others.get(..count).unwrap_or(&self.others)
            }
        };
        let figures = std::iter::once(&self.first).chain(others);
        for ((keys, with_deadline), of) in sums.iter_mut().zip(figures) {
            *keys += of.keys.load(Ordering::Relaxed);
            *with_deadline += of.with_deadline.load(Ordering::Relaxed);
        }
    }

    /// Number of keys with a deadline in all databases.
    pub fn with_deadline(&self) -> u64 {
        self.all().map(|of| of.with_deadline.load(Ordering::Relaxed)).sum()
    }

    /// Number of keys of one database, expired ones included until they are swept.
    pub fn keys_of(&self, database: DatabaseNumber) -> u64 {
        self.of(database).map_or(0, |of| of.keys.load(Ordering::Relaxed))
    }

    /// Number of keys of one database that have a deadline.
    pub fn with_deadline_of(&self, database: DatabaseNumber) -> u64 {
        self.of(database).map_or(0, |of| of.with_deadline.load(Ordering::Relaxed))
    }

    /// Changes since the last good save.
    pub fn changes_since_save(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Entries kept in their old form for a running snapshot.
    pub fn aside(&self) -> u64 {
        self.aside.load(Ordering::Relaxed)
    }

    /// Bytes that these and shared pieces of values cost in memory.
    pub fn aside_bytes(&self) -> u64 {
        self.aside_bytes.load(Ordering::Relaxed)
    }

    /// Items in the expiry heaps, stale ones included.
    pub fn expiry_items(&self) -> u64 {
        self.all().map(|of| of.expiry_items.load(Ordering::Relaxed)).sum()
    }

    /// A moment before which no key dies.
    pub fn earliest_deadline(&self) -> UnixMillis {
        UnixMillis(self.earliest_deadline.load(Ordering::Relaxed))
    }
}
