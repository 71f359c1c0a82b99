//! What a change leaves to do once its locks are released.
//!
//! Freeing a list of millions, waking a thread: under a lock such work would stall everyone, so a
//! change only notes it here, and whoever released the locks settles it.

use crate::keyspace::database::DatabaseNumber;
use crate::keyspace::database::KeyTable;
use crate::keyspace::entry::Entry;
use crate::keyspace::events::{Events, KeyEvent};
use crate::keyspace::lock::Epoch;
use crate::keyspace::uses::Uses;
use crate::keyspace::wait::ReadyKey;
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use std::collections::VecDeque;

/// Notes of one command, settled after its locks are released.
#[derive(Debug, Default)]
pub struct AfterUnlock {
    garbage: Garbage,
    earliest_deadline: Option<UnixMillis>,
    expired: u64,
    ready: VecDeque<ReadyKey>,
    uses: Uses,
    pub(super) events: Events,
}

/// Values that nobody can reach any more, still to be freed.
#[derive(Debug, Default)]
pub struct Garbage {
    entries: Vec<Entry>,
    tables: Vec<KeyTable>,
}

impl Garbage {
    /// True when there is nothing to free.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.tables.is_empty()
    }

    /// Roughly how many allocations are to be freed.
    #[must_use]
    pub fn cost(&self) -> usize {
        let entries: usize = self.entries.iter().map(Entry::free_cost).sum();
        entries + self.tables.iter().map(KeyTable::len).sum::<usize>()
    }
}

impl AfterUnlock {
    /// Gets rid of an entry: at once if that is one allocation, else after the locks.
    #[inline]
    pub(super) fn discard(&mut self, entry: Entry) {
        if entry.is_large() {
            self.garbage.entries.push(entry);
        }
    }

    /// Gets rid of a whole table.
    pub(super) fn discard_table(&mut self, table: KeyTable) {
        if !table.is_empty() {
            self.garbage.tables.push(table);
        }
    }

    /// Notes that a key now dies at `deadline`, so that the sweeper can be woken for it.
    #[inline]
    pub(super) fn note_deadline(&mut self, deadline: UnixMillis) {
        self.earliest_deadline =
            Some(self.earliest_deadline.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// Notes that a key appeared for which somebody waits.
    pub(super) fn note_ready(&mut self, key: ReadyKey) {
        if self.ready.back() != Some(&key) {
            self.ready.push_back(key);
        }
    }

    /// Notes that a key was found dead and removed.
    pub(super) fn note_expired(&mut self, database: DatabaseNumber, key: &[u8], epoch: Epoch) {
        self.expired += 1;
        self.note_death(database, key, epoch);
    }

    /// Notes that a key was removed because its deadline has come.
    pub(super) fn note_death(&mut self, database: DatabaseNumber, key: &[u8], epoch: Epoch) {
        if epoch.notes_changes {
            self.events.note_changed(database, key);
        }
        self.events.note(EventSet::EXPIRED, "expired", database, key);
    }

    /// Notes that fields of a hash were removed because their deadline has come, and maybe the key
    /// with them.
    pub(super) fn note_field_deaths(
        &mut self,
        database: DatabaseNumber,
        key: &[u8],
        is_gone: bool,
        epoch: Epoch,
    ) {
        if epoch.notes_changes {
            self.events.note_changed(database, key);
        }
        self.events.note(EventSet::HASH, "hexpired", database, key);
        if is_gone {
            self.events.note(EventSet::GENERIC, "del", database, key);
        }
    }

    /// Notes that whole databases have changed.
    pub fn note_flushed(&mut self) {
        self.events.note_flushed();
    }

    /// Adds events that were noted elsewhere.
    pub fn add_events(&mut self, events: Vec<KeyEvent>) {
        self.events.add(events);
    }

    /// How uses of keys are noted from now on.
    #[inline]
    pub fn set_uses(&mut self, uses: Uses) {
        self.uses = uses;
    }

    /// How uses of keys are noted.
    #[inline]
    pub(super) fn uses(&self) -> Uses {
        self.uses
    }

    /// Notes that a key was removed to make room.
    pub(super) fn note_evicted(&mut self, database: DatabaseNumber, key: &[u8], epoch: Epoch) {
        if epoch.notes_changes {
            self.events.note_changed(database, key);
        }
        self.events.note(EventSet::EVICTED, "evicted", database, key);
    }

    /// Has only these classes of events noted from now on.
    #[inline]
    pub fn want_events(&mut self, wanted: EventSet) {
        self.events.want(wanted);
    }

    /// The events of keys in the order in which they happened.
    #[must_use]
    pub fn take_events(&mut self) -> Vec<KeyEvent> {
        self.events.take()
    }

    /// True once when any key may have changed, since whole databases did.
    #[must_use]
    pub fn take_flushed(&mut self) -> bool {
        self.events.take_flushed()
    }

    /// The values to free. What is taken is the caller's to drop, holding no lock.
    #[must_use]
    pub fn take_garbage(&mut self) -> Garbage {
        std::mem::take(&mut self.garbage)
    }

    /// True when there is anything to settle.
    #[inline]
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.earliest_deadline.is_some()
            || self.expired > 0
            || !self.garbage.is_empty()
            || !self.ready.is_empty()
            || !self.events.is_empty()
    }

    /// The earliest deadline that was set.
    #[inline]
    pub fn take_earliest_deadline(&mut self) -> Option<UnixMillis> {
        self.earliest_deadline.take()
    }

    /// The next key that appeared and for which somebody waits, to
    /// [serve](crate::keyspace::Keyspace::serve_waiters) those who do.
    pub fn take_ready(&mut self) -> Option<ReadyKey> {
        self.ready.pop_front()
    }

    /// Keys that were found expired and removed.
    #[inline]
    pub fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }
}
