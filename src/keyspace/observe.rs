//! Who wants to hear of the keys of a shard: clients that watch them for a transaction, and clients
//! that wait for them to appear.
//!
//! All of it lives in the shard, under its lock. A shard of which nobody wants to hear anything has
//! none of this, so that a change looks at one pointer and goes on.

use crate::data::ValueType;
use crate::keyspace::database::Place;
use crate::keyspace::wait::{Line, Ticket, Waiter};
use ahash::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
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
/// A key is known by its place. That two keys have the same place is as good as impossible. It
/// would make a transaction fail that need not have, and have those who wait for the one be tried
/// when the other appears.
#[derive(Debug, Default)]
pub(super) struct Observers {
    watched: HashMap<Place, BTreeMap<WatcherId, Arc<WatchFlag>>, RandomState>,
    waited: HashMap<Wanted, BTreeMap<Line, Queue>, RandomState>,
}

/// What somebody waits for: a key with a value of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub place: Place,
    pub value_type: ValueType,
}

/// Those who wait in one line, in the order in which they came.
type Queue = BTreeMap<Ticket, Queued>;

impl Wanted {
    /// True when those who wait are to hear also that what they wait at is gone: there are readers
    /// of streams, for which it must be there.
    pub fn waits_for_its_end(self) -> bool {
        self.value_type == ValueType::Stream
    }
}

/// One who waits, and which of its keys this is.
#[derive(Debug, Clone)]
struct Queued {
    waiter: Arc<dyn Waiter>,
    number: usize,
}

impl Observers {
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty() && self.waited.is_empty()
    }

    /// Tells those who watch a key that it changes.
    #[inline]
    pub fn note_change(&mut self, place: Place) {
        if !self.watched.is_empty() {
            for flag in self.watched.remove(&place).iter().flat_map(BTreeMap::values) {
                flag.raise();
            }
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

    /// True when somebody waits for this.
    #[inline]
    pub fn is_waited_for(&self, wanted: Wanted) -> bool {
        !self.waited.is_empty() && self.waited.contains_key(&wanted)
    }

    /// What somebody waits for in one of these databases. Cost: O(all that is waited for).
    pub fn waited_in(&self, databases: &[u32]) -> Vec<Wanted> {
        let wanted = self.waited.keys().copied();
        wanted.filter(|wanted| databases.contains(&wanted.place.database)).collect()
    }

    /// Adds one who waits for a key, which is its key number `number`. Cost: O(log n) for n who do.
    pub fn wait(&mut self, place: Place, number: usize, waiter: &Arc<dyn Waiter>) {
        let wanted = Wanted { place, value_type: waiter.value_type() };
        let queue = self.waited.entry(wanted).or_default().entry(waiter.line()).or_default();
        // Of a key that is there twice the first counts.
        let queued = || Queued { waiter: Arc::clone(waiter), number };
        queue.entry(waiter.ticket()).or_insert_with(queued);
    }

    /// Removes it again. Cost: O(log n) for n who wait for the key.
    pub fn stop_waiting(&mut self, wanted: Wanted, line: Line, ticket: Ticket) {
        let Some(lines) = self.waited.get_mut(&wanted) else { return };
        if let Some(queue) = lines.get_mut(&line) {
            queue.remove(&ticket);
            if queue.is_empty() {
                lines.remove(&line);
            }
        }
        if lines.is_empty() {
            self.waited.remove(&wanted);
        }
    }

    /// True when somebody waits for this in this line.
    pub fn has_line(&self, wanted: Wanted, line: Line) -> bool {
        self.waited.get(&wanted).is_some_and(|lines| lines.contains_key(&line))
    }

    /// The lines in which somebody waits for this. Cost: O(lines).
    pub fn lines(&self, wanted: Wanted) -> Vec<Line> {
        self.waited.get(&wanted).map(|lines| lines.keys().copied().collect()).unwrap_or_default()
    }

    /// The first one behind `ticket` that waits for this in this line and has not given up, and
    /// which of its keys it is.
    pub fn next_waiter(
        &self,
        wanted: Wanted,
        line: Line,
        behind: Ticket,
    ) -> Option<(Arc<dyn Waiter>, usize)> {
        let queue = self.waited.get(&wanted)?.get(&line)?;
        let mut queue = queue.range((Bound::Excluded(behind), Bound::Unbounded));
        let (_, queued) = queue.find(|(_, queued)| queued.waiter.is_waiting())?;
        Some((Arc::clone(&queued.waiter), queued.number))
    }
}
