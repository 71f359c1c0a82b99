//! The keys that a client watches: WATCH.
//!
//! Every change of a key, its removal by expiry included, raises the flags of those who watch it,
//! under the lock of its shard. So a transaction that finds its flag down once it holds its own
//! locks comes, as a whole, before any change of a watched key that is not seen yet: who makes such
//! a change can have seen nothing of what the transaction locks and changes.
//!
//! A key whose deadline, or that of a field, passed since it was watched counts as changed,
//! whether or not it has been removed. A change of the deadline is a change of the key, so the
//! deadline of that time tells.

use crate::keyspace::Keyspace;
use crate::keyspace::after::AfterUnlock;
use crate::keyspace::database::Place;
use crate::keyspace::lock::Busy;
use crate::keyspace::observe::{WatchFlag, WatcherId};
use crate::keyspace::view::{LocatedKey, WriteView};
use crate::util::clock::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Roughly what a watched key takes: in the list of the client, and at the key.
const WATCHED_KEY_BYTES: usize = 128;

#[derive(Debug)]
struct WatchedKey {
    shard: usize,
    place: Place,
    deadline: Option<UnixMillis>,
}

/// The keys that one client watches. Dropping it watches none any more.
#[derive(Debug)]
pub struct Watches {
    keyspace: Arc<Keyspace>,
    id: WatcherId,
    keys: Vec<WatchedKey>,
    /// Made when it is first needed.
    flag: Option<Arc<WatchFlag>>,
    /// What is not watched any more, but was left in shards that a busy script held: with the
    /// number and the flag of then, so that it says nothing of what is watched now.
    stale: Vec<(usize, Place, WatcherId)>,
}

impl Watches {
    /// No keys of `keyspace`.
    #[must_use]
    pub fn new(keyspace: Arc<Keyspace>) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self { keyspace, id, keys: Vec::new(), flag: None, stale: Vec::new() }
    }

    /// Hands the watched keys to another list, and watches none any more; `None` when no key is
    /// watched. Cost: O(1).
    #[must_use]
    pub fn take(&mut self) -> Option<Self> {
        if self.is_empty() {
            return None;
        }
        let fresh = Self::new(Arc::clone(&self.keyspace));
        Some(std::mem::replace(self, fresh))
    }

    /// True when no key is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Roughly the bytes that the list takes, here and at the keys. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        (self.keys.len() + self.stale.len()) * WATCHED_KEY_BYTES
    }

    /// Watches one more key; one that is watched already stays so.
    ///
    /// A key whose deadline has passed is removed first: that it goes is no change any more.
    ///
    /// # Errors
    /// When its shard is held by a busy script; it is not watched then.
    pub fn add(
        &mut self,
        key: LocatedKey<'_>,
        now: UnixMillis,
        after: &mut AfterUnlock,
    ) -> Result<(), Busy> {
        let (place, id) = (key.place(), self.id);
        let flag = self.flag.get_or_insert_default();
        let deadline = self.keyspace.shards.write(key.shard, |shard, epoch| {
            let view = WriteView::new(shard, key, now, epoch, after);
            let deadline = view.read().next_deadline();
            shard.watch(place, id, flag);
            deadline
        })?;
        self.keys.push(WatchedKey { shard: key.shard, place, deadline });
        Ok(())
    }

    /// True when a watched key has changed, or its deadline passed, since it was watched.
    #[must_use]
    pub fn has_changed(&self, now: UnixMillis) -> bool {
        self.flag.as_ref().is_some_and(|flag| flag.is_raised())
            || self.keys.iter().any(|key| key.deadline.is_some_and(|deadline| deadline <= now))
    }

    /// Watches nothing any more. Waits for no busy script. Cost: O(watched keys), each shard locked
    /// for a moment.
    pub fn clear(&mut self) {
        if self.keys.is_empty() && self.stale.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut self.keys);
        let keys = keys.into_iter().map(|key| (key.shard, key.place, self.id));
        let all: Vec<_> = keys.chain(std::mem::take(&mut self.stale)).collect();
        let shards = &self.keyspace.shards;
        let is_left = |(shard, place, id): &(usize, Place, WatcherId)| {
            shards.write(*shard, |shard, _| shard.unwatch(*place, *id)).is_err()
        };
        self.stale = all.into_iter().filter(is_left).collect();
        if !self.stale.is_empty() {
            (self.id, self.flag) = (NEXT_ID.fetch_add(1, Ordering::Relaxed), None);
        } else if let Some(flag) = &self.flag {
            flag.lower();
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.clear();
        for (shard, place, id) in &self.stale {
            self.keyspace.shards.write_fair(*shard, |shard, _| shard.unwatch(*place, *id));
        }
    }
}
