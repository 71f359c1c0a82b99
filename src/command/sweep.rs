//! The keyspace as a whole, as commands may see it: KEYS, SCAN, DBSIZE, FLUSHALL.
//!
//! The walk decides how shards are locked; a command only says what it wants.

use crate::keyspace::{AfterUnlock, AllHeld, DatabaseNumber, Entry, Keyspace};
use crate::util::clock::UnixMillis;
use crate::util::hash::Position;

/// How a sweep comes to the shards.
enum Reach<'a> {
    /// By the doors of the keyspace.
    Doors(&'a Keyspace),
    /// A transaction holds all of them.
    Held(AllHeld<'a>),
}

/// Lends the whole keyspace to a command.
pub struct Sweeper<'a> {
    reach: Reach<'a>,
    /// The selected one.
    database: DatabaseNumber,
    now: UnixMillis,
    after: &'a mut AfterUnlock,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(
        keyspace: &'a Keyspace,
        database: DatabaseNumber,
        now: UnixMillis,
        after: &'a mut AfterUnlock,
    ) -> Self {
        Self { reach: Reach::Doors(keyspace), database, now, after }
    }

    pub(super) fn of_held(
        held: AllHeld<'a>,
        database: DatabaseNumber,
        now: UnixMillis,
        after: &'a mut AfterUnlock,
    ) -> Self {
        Self { reach: Reach::Held(held), database, now, after }
    }

    /// Number of keys of the selected database, expired ones included until they are swept.
    /// Cost: O(shards).
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.database_len(self.database),
            Reach::Held(held) => held.database_len(self.database),
        }
    }

    /// True when the selected database has no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `each` with every key of the selected database at one moment. Cost: O(keys).
    pub fn for_each_key(&self, each: impl FnMut(&[u8])) {
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.for_each_key(self.database, self.now, each),
            Reach::Held(held) => held.for_each_key(self.database, self.now, each),
        }
    }

    /// Calls `each` with at least `count` entries of the selected database from `cursor` on;
    /// returns where to go on, `None` at the end. Cost: O(count + entries of a segment).
    pub fn scan(
        &self,
        cursor: Position,
        count: usize,
        each: impl FnMut(&Entry),
    ) -> Option<Position> {
        let (database, now) = (self.database, self.now);
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.scan(database, cursor, count, now, each),
            Reach::Held(held) => held.scan(database, cursor, count, now, each),
        }
    }

    /// Removes every key of the selected database at one moment. Cost: O(shards) under the locks.
    pub fn flush_selected(&mut self) {
        match &mut self.reach {
            Reach::Doors(keyspace) => keyspace.flush_database(self.database, self.after),
            Reach::Held(held) => held.flush_database(self.database, self.after),
        }
    }

    /// Removes every key of all databases at one moment. Cost: O(shards * databases) under the
    /// locks.
    pub fn flush_all(&mut self) {
        match &mut self.reach {
            Reach::Doors(keyspace) => keyspace.flush(self.after),
            Reach::Held(held) => held.flush(self.after),
        }
    }

    /// Lets two databases change their numbers at one moment; false when one of them is not there.
    /// Cost: O(shards) under the locks.
    pub fn swap(&mut self, a: i64, b: i64) -> bool {
        let number = |number| match &self.reach {
            Reach::Doors(keyspace) => keyspace.database_number(number),
            Reach::Held(held) => held.database_number(number),
        };
        let (Some(a), Some(b)) = (number(a), number(b)) else { return false };
        match &mut self.reach {
            Reach::Doors(keyspace) => keyspace.swap_databases(a, b, self.now),
            Reach::Held(held) => held.swap_databases(a, b, self.now),
        }
        true
    }
}
