//! The keyspace as a whole, as commands may see it: KEYS, SCAN, DBSIZE, FLUSHALL, SORT.
//!
//! The walk decides how shards are locked; a command only says what it wants. SORT does not name
//! all of its keys: it finds them in the values of others. What needs a shard that a busy script
//! holds is not done, and returns [`Busy`].

use crate::keyspace::{AfterUnlock, AllHeld, Busy, DatabaseNumber, Entry, Keyspace};
use crate::keyspace::{ReadAnyView, Tally, WriteAnyView};
use crate::util::clock::UnixMillis;
use crate::util::hash::Position;
use crate::util::random::Random;

/// How a sweep comes to the shards.
enum Reach<'a, 'l> {
    /// By the doors of the keyspace.
    Doors(&'a Keyspace),
    /// A transaction holds all of them.
    Held(AllHeld<'a, 'l>),
}

/// Lends the whole keyspace to a command.
pub struct Sweeper<'a, 'l> {
    reach: Reach<'a, 'l>,
    /// The selected one.
    database: DatabaseNumber,
    now: UnixMillis,
    tally: &'a Tally,
    after: &'a mut AfterUnlock,
}

impl<'a, 'l> Sweeper<'a, 'l> {
    pub(super) fn new(
        keyspace: &'a Keyspace,
        database: DatabaseNumber,
        now: UnixMillis,
        tally: &'a Tally,
        after: &'a mut AfterUnlock,
    ) -> Self {
        Self { reach: Reach::Doors(keyspace), database, now, tally, after }
    }

    pub(super) fn of_held(
        held: AllHeld<'a, 'l>,
        database: DatabaseNumber,
        now: UnixMillis,
        tally: &'a Tally,
        after: &'a mut AfterUnlock,
    ) -> Self {
        Self { reach: Reach::Held(held), database, now, tally, after }
    }

    /// True when a transaction or a script holds all shards.
    #[must_use]
    pub fn is_of_held(&self) -> bool {
        matches!(self.reach, Reach::Held(_))
    }

    /// Lends `keys` for reading, or with `None` any key, all at one moment. For any key, every
    /// shard is locked.
    pub fn read_any<R>(
        &self,
        keys: Option<&[&[u8]]>,
        read: impl FnOnce(&ReadAnyView<'_, '_>) -> R,
    ) -> Result<R, Busy> {
        let (database, now) = (self.database, self.now);
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.read_any(database, keys, now, self.tally, read),
            Reach::Held(held) => Ok(held.read_any(database, now, self.tally, read)),
        }
    }

    /// As [`read_any`](Self::read_any), for writing.
    pub fn write_any<R>(
        &mut self,
        keys: Option<&[&[u8]]>,
        write: impl FnOnce(&mut WriteAnyView<'_, '_>) -> R,
    ) -> Result<R, Busy> {
        let (database, now) = (self.database, self.now);
        match &mut self.reach {
            Reach::Doors(keyspace) => keyspace.write_any(database, keys, now, self.after, write),
            Reach::Held(held) => Ok(held.write_any(database, now, self.after, write)),
        }
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
    pub fn for_each_key(&self, each: impl FnMut(&[u8])) -> Result<(), Busy> {
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.for_each_key(self.database, self.now, each),
            Reach::Held(held) => {
                held.for_each_key(self.database, self.now, each);
                Ok(())
            }
        }
    }

    /// Calls `each` with every entry of all databases at one moment, and the number of its
    /// database. Cost: O(keys).
    pub fn for_each_of_all(&self, each: impl FnMut(DatabaseNumber, &Entry)) -> Result<(), Busy> {
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.for_each_of_all(self.now, each),
            Reach::Held(held) => {
                held.for_each_of_all(self.now, each);
                Ok(())
            }
        }
    }

    /// Calls `each` with at least `count` entries of the selected database from `cursor` on;
    /// returns where to go on, `None` at the end. Cost: O(count + entries of a segment).
    pub fn scan(
        &self,
        cursor: Position,
        count: usize,
        each: impl FnMut(&Entry),
    ) -> Result<Option<Position>, Busy> {
        let (database, now) = (self.database, self.now);
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.scan(database, cursor, count, now, each),
            Reach::Held(held) => Ok(held.scan(database, cursor, count, now, each)),
        }
    }

    /// A key drawn at random, each as likely; `None` when there are none. Cost: O(shards) expected.
    pub fn random_key(&self, random: &mut Random) -> Result<Option<Vec<u8>>, Busy> {
        match &self.reach {
            Reach::Doors(keyspace) => keyspace.random_key(self.database, self.now, random),
            Reach::Held(held) => Ok(held.random_key(self.database, self.now, random)),
        }
    }

    /// Removes every key of the selected database at one moment. Cost: O(shards) under the locks.
    pub fn flush_selected(&mut self) -> Result<(), Busy> {
        match &mut self.reach {
            Reach::Doors(keyspace) => keyspace.flush_database(self.database, self.after)?,
            Reach::Held(held) => held.flush_database(self.database, self.after),
        }
        self.after.note_flushed();
        Ok(())
    }

    /// Removes every key of all databases at one moment. Cost: O(shards * databases) under the
    /// locks.
    pub fn flush_all(&mut self) -> Result<(), Busy> {
        match &mut self.reach {
            Reach::Doors(keyspace) => keyspace.flush(self.after)?,
            Reach::Held(held) => held.flush(self.after),
        }
        self.after.note_flushed();
        Ok(())
    }

    /// Lets two databases change their numbers at one moment; false when one of them is not there.
    /// Cost: O(shards) under the locks.
    pub fn swap(&mut self, a: i64, b: i64) -> Result<bool, Busy> {
        let number = |number| match &self.reach {
            Reach::Doors(keyspace) => keyspace.database_number(number),
            Reach::Held(held) => held.database_number(number),
        };
        let (Some(a), Some(b)) = (number(a), number(b)) else { return Ok(false) };
        match &mut self.reach {
            Reach::Doors(keyspace) => keyspace.swap_databases(a, b, self.now, self.after)?,
            Reach::Held(held) => held.swap_databases(a, b, self.now, self.after),
        }
        self.after.note_flushed();
        Ok(true)
    }
}
