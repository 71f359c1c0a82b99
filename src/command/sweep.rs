//! The keyspace as a whole, as commands may see it: KEYS, SCAN, DBSIZE, FLUSHALL.
//!
//! The walk decides how shards are locked; a command only says what it wants.

use crate::keyspace::{AfterUnlock, Entry, Keyspace};
use crate::util::clock::UnixMillis;
use crate::util::hash::Position;

/// Lends the whole keyspace to a command.
#[derive(Debug)]
pub struct Sweeper<'a> {
    keyspace: &'a Keyspace,
    now: UnixMillis,
    after: &'a mut AfterUnlock,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(keyspace: &'a Keyspace, now: UnixMillis, after: &'a mut AfterUnlock) -> Self {
        Self { keyspace, now, after }
    }

    /// Number of keys, expired ones included until they are swept. Cost: O(shards).
    #[must_use]
    pub fn len(&self) -> usize {
        self.keyspace.len()
    }

    /// True when there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keyspace.is_empty()
    }

    /// Calls `each` with every key of one moment. Cost: O(keys).
    pub fn for_each_key(&self, each: impl FnMut(&[u8])) {
        self.keyspace.for_each_key(self.now, each);
    }

    /// Calls `each` with at least `count` entries from `cursor` on; returns where to go on, `None`
    /// at the end. Cost: O(count + entries of a segment).
    pub fn scan(
        &self,
        cursor: Position,
        count: usize,
        each: impl FnMut(&Entry),
    ) -> Option<Position> {
        self.keyspace.scan(cursor, count, self.now, each)
    }

    /// Removes every key at one moment. Cost: O(shards) under the locks.
    pub fn flush(&mut self) {
        self.keyspace.flush(self.after);
    }
}
