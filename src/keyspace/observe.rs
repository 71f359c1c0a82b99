//! Who wants to hear of the keys of a shard: clients that watch them for a transaction.
//!
//! All of it lives in the shard, under its lock. A shard of which nobody wants to hear anything has
//! none of this, so that a change looks at one pointer and goes on.

use crate::keyspace::database::Place;
use ahash::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a key that a client watches has changed.
#[derive(Debug, Default)]
pub(super) struct WatchFlag(AtomicBool);

impl WatchFlag {
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn lower(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A client that watches keys; its number is never used again.
pub(super) type WatcherId = u64;

/// Those who want to hear of keys of one shard.
///
/// A key is known by its place. That two keys have the same place is as good as impossible, and
/// would only make a transaction fail that need not have.
#[derive(Debug, Default)]
pub(super) struct Observers {
    watched: HashMap<Place, BTreeMap<WatcherId, Arc<WatchFlag>>, RandomState>,
}

impl Observers {
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Tells those who watch a key that it changes.
    pub fn note_change(&mut self, place: Place) {
        for flag in self.watched.remove(&place).iter().flat_map(BTreeMap::values) {
            flag.raise();
        }
    }

    /// The places in one of these databases that somebody watches. Cost: O(watched keys).
    pub fn watched_in(&self, databases: &[u32]) -> Vec<Place> {
        let places = self.watched.keys().copied();
        places.filter(|place| databases.contains(&place.database)).collect()
    }

    /// Adds one who watches a key. Cost: O(log n) for n who do.
    pub fn watch(&mut self, place: Place, id: WatcherId, flag: &Arc<WatchFlag>) {
        self.watched.entry(place).or_default().insert(id, Arc::clone(flag));
    }

    /// Removes it again. Cost: O(log n) for n who watch the key.
    pub fn unwatch(&mut self, place: Place, id: WatcherId) {
        if let Some(watchers) = self.watched.get_mut(&place) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.watched.remove(&place);
            }
        }
    }
}
