//! One shard: a table, its expiry heap and what the snapshot needs. Single-threaded; the lock is
//! around it, not in it.
//!
//! Every change goes through `insert`, `replace`, `change` or `remove`, and each of these first
//! puts the old form of the entry aside when a running snapshot still needs it: that is the whole
//! of the writer's part in the snapshot. Values put aside or dropped are never freed here.

use crate::data::segmented::{Owned, Segment, SegmentedTable, Slot};
use crate::keyspace::after::AfterUnlock;
use crate::keyspace::entry::{Entry, Version};
use crate::keyspace::expiry::{Due, ExpiryHeap};
use crate::keyspace::lock::Epoch;
use crate::keyspace::planted;
use crate::util::clock::UnixMillis;
use crate::util::hash::{KeyHash, Position};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The table of a shard.
pub type KeyTable = SegmentedTable<Entry, Owned<Segment<Entry>>>;

/// Old forms of entries that changed after the cut and before the walker came.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub entries: Vec<Entry>,
    /// Whole tables, with the position from which on the walker has not seen them.
    pub tables: Vec<(KeyTable, Position)>,
    /// What the snapshot keeps in memory beyond the data: old forms, pointers to shared pieces,
    /// pieces that changed since they were shared. Tables are what the data was and not counted.
    pub bytes: u64,
}

impl Aside {
    pub fn len(&self) -> usize {
        self.entries.len() + self.tables.iter().map(|(table, _)| table.len()).sum::<usize>()
    }
}

/// How far the walker of a snapshot has come in this shard.
///
/// The walker moves it under the shared lock and writers read it under the exclusive one, so the
/// lock orders the two.
#[derive(Debug, Default)]
struct Walk {
    epoch: AtomicU32,
    until: AtomicU64,
}

/// The changes that the next save would keep.
#[derive(Debug, Default)]
struct Changes {
    since_save: u64,
    since_cut: u64,
    cut: Version,
}

/// One shard of the keyspace.
#[derive(Debug)]
pub struct Shard {
    table: KeyTable,
    expiry: ExpiryHeap,
    with_deadline: usize,
    aside: Aside,
    walk: Walk,
    changes: Changes,
}

impl Shard {
    pub(super) fn new(number: usize, shard_bits: u32) -> Self {
        Self {
            table: KeyTable::new(number, shard_bits),
            expiry: ExpiryHeap::default(),
            with_deadline: 0,
            aside: Aside::default(),
            walk: Walk::default(),
            changes: Changes::default(),
        }
    }

    /// The entries.
    #[inline]
    pub(super) fn table(&self) -> &KeyTable {
        &self.table
    }

    /// Number of keys that have a deadline.
    pub(super) fn with_deadline(&self) -> usize {
        self.with_deadline
    }

    /// Items in the expiry heap, stale ones included.
    pub(super) fn expiry_items(&self) -> usize {
        self.expiry.len()
    }

    /// The earliest deadline that the heap knows.
    #[inline]
    pub(super) fn earliest_deadline(&self) -> Option<UnixMillis> {
        self.expiry.earliest().map(|due| due.deadline)
    }

    /// Changes since the last good save.
    pub(super) fn changes_since_save(&self) -> u64 {
        self.changes.since_save
    }

    /// Entries that wait to be saved in their old form.
    pub(super) fn aside_len(&self) -> usize {
        self.aside.len()
    }

    /// What they cost in memory.
    #[inline]
    pub(super) fn aside_bytes(&self) -> u64 {
        self.aside.bytes
    }

    /// Counts the bytes of pieces of a value that a change copied because a clone shared them: a
    /// running snapshot keeps the old ones.
    pub(super) fn note_copied(&mut self, bytes: usize, epoch: Epoch) {
        if epoch.running {
            self.aside.bytes += bytes as u64;
        }
    }

    #[inline]
    pub(super) fn find(&self, hash: KeyHash, key: &[u8]) -> Option<Slot> {
        self.table.find(hash, |entry| entry.key() == key)
    }

    /// The entry of `key`, expired or not.
    #[inline]
    pub(super) fn get(&self, hash: KeyHash, key: &[u8]) -> Option<&Entry> {
        self.table.get(hash, |entry| entry.key() == key)
    }

    #[inline]
    pub(super) fn at(&self, slot: Slot) -> Option<&Entry> {
        self.table.at(slot)
    }

    /// True when a running snapshot has not yet seen the entry as it was at the cut.
    #[inline]
    fn is_needed(&self, entry: &Entry, hash: KeyHash, epoch: Epoch) -> bool {
        epoch.running
            && !planted::is_on(planted::Bug::NaiveCut)
            && entry.version() < epoch.number
            && !self.walk_has_passed(hash.position(), epoch.number)
    }

    fn walk_has_passed(&self, position: Position, epoch: Version) -> bool {
        self.walk.epoch.load(Ordering::Relaxed) == epoch
            && position < self.walk.until.load(Ordering::Relaxed)
    }

    /// Notes that the walker of snapshot `epoch` has seen everything before `until`.
    pub(super) fn set_walked(&self, epoch: Version, until: Position) {
        self.walk.until.store(until, Ordering::Relaxed);
        self.walk.epoch.store(epoch, Ordering::Relaxed);
    }

    pub(super) fn take_aside(&mut self) -> Aside {
        std::mem::take(&mut self.aside)
    }

    /// Adds `count` to the changes that a save would keep.
    #[inline]
    pub(super) fn note_changes(&mut self, count: u64, epoch: Epoch) {
        if self.changes.cut != epoch.number {
            self.changes.cut = epoch.number;
            self.changes.since_cut = 0;
        }
        self.changes.since_cut += count;
        self.changes.since_save += count;
    }

    /// Forgets all changes: the data is what the dump holds.
    pub(super) fn forget_changes(&mut self) {
        self.changes = Changes::default();
    }

    /// Forgets the changes that a good save with this epoch has kept.
    pub(super) fn forget_saved_changes(&mut self, epoch: Version) {
        let newer = self.changes.cut == epoch;
        self.changes.since_save = if newer { self.changes.since_cut } else { 0 };
    }

    /// Adds an entry for a key that has none; its version must be the epoch's.
    pub(super) fn insert(&mut self, hash: KeyHash, entry: Entry, after: &mut AfterUnlock) {
        let deadline = entry.deadline();
        self.table.insert_new(hash, entry);
        if let Some(deadline) = deadline {
            self.with_deadline += 1;
            self.add_due(hash, deadline, after);
        }
    }

    /// Puts another entry for the same key in the place of an old one.
    pub(super) fn replace(
        &mut self,
        slot: Slot,
        hash: KeyHash,
        entry: Entry,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        let deadline = entry.deadline();
        let Some(place) = self.table.at_mut(slot) else {
            return;
        };
        let old = std::mem::replace(place, entry);
        let old_deadline = old.deadline();
        self.put_aside_or_discard(old, hash, epoch, after);
        self.with_deadline -= usize::from(old_deadline.is_some());
        if let Some(deadline) = deadline {
            self.with_deadline += 1;
            if old_deadline != Some(deadline) {
                self.add_due(hash, deadline, after);
            }
        }
    }

    /// The entry at `slot`, to be changed in place. Its deadline must stay.
    #[inline]
    pub(super) fn change(&mut self, slot: Slot, hash: KeyHash, epoch: Epoch) -> Option<&mut Entry> {
        if epoch.running {
            let entry = self.table.at(slot)?;
            if self.is_needed(entry, hash, epoch) {
                let old = entry.clone();
                self.aside.bytes += old.shared_bytes() as u64;
                self.aside.entries.push(old);
            }
        }
        let entry = self.table.at_mut(slot)?;
        entry.set_version(epoch.number);
        Some(entry)
    }

    pub(super) fn set_deadline(
        &mut self,
        slot: Slot,
        hash: KeyHash,
        deadline: Option<UnixMillis>,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        let Some(entry) = self.change(slot, hash, epoch) else {
            return;
        };
        let old = entry.deadline();
        if old == deadline {
            return;
        }
        entry.set_deadline(deadline);
        self.with_deadline -= usize::from(old.is_some());
        if let Some(deadline) = deadline {
            self.with_deadline += 1;
            self.add_due(hash, deadline, after);
        }
    }

    /// Removes an entry for good.
    pub(super) fn remove(
        &mut self,
        slot: Slot,
        hash: KeyHash,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        if let Some(entry) = self.table.remove(slot) {
            self.with_deadline -= usize::from(entry.deadline().is_some());
            self.put_aside_or_discard(entry, hash, epoch, after);
        }
    }

    /// Takes an entry out, to put its value elsewhere.
    pub(super) fn take(&mut self, slot: Slot, hash: KeyHash, epoch: Epoch) -> Option<Entry> {
        self.change(slot, hash, epoch)?;
        let entry = self.table.remove(slot)?;
        self.with_deadline -= usize::from(entry.deadline().is_some());
        Some(entry)
    }

    /// Removes everything. Cost: O(1); the entries are handed to the snapshot or to `after`.
    pub(super) fn clear(&mut self, empty: KeyTable, epoch: Epoch, after: &mut AfterUnlock) {
        let (first, end) = (self.table.first_position(), self.table.end_position());
        let table = std::mem::replace(&mut self.table, empty);
        let keys = table.len() as u64;
        self.note_changes(keys, epoch);
        self.expiry.clear();
        self.with_deadline = 0;
        if epoch.running && !self.walk_has_passed(end - 1, epoch.number) {
            let walked = self.walk.epoch.load(Ordering::Relaxed) == epoch.number;
            let from = if walked { self.walk.until.load(Ordering::Relaxed) } else { first };
            self.aside.tables.push((table, from));
        } else {
            after.discard_table(table);
        }
    }

    /// Removes up to `limit` keys whose deadline has come; returns how many and by how many
    /// milliseconds the latest of them was late.
    pub(super) fn remove_due(
        &mut self,
        now: UnixMillis,
        limit: usize,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) -> (usize, u64) {
        let (mut removed, mut lag_ms) = (0, 0);
        for _ in 0..limit {
            let Some(due) = self.expiry.earliest().filter(|due| due.deadline <= now) else {
                break;
            };
            self.expiry.pop();
            let slot = self.table.find(due.hash, |entry| is_due(entry, due));
            if let Some(slot) = slot {
                self.remove(slot, due.hash, epoch, after);
                self.note_changes(1, epoch);
                removed += 1;
                lag_ms = lag_ms.max(now.since(due.deadline));
            }
        }
        (removed, lag_ms)
    }

    fn add_due(&mut self, hash: KeyHash, deadline: UnixMillis, after: &mut AfterUnlock) {
        let table = &self.table;
        let due = Due { deadline, hash };
        self.expiry.push(due, self.with_deadline, |due| {
            table.get(due.hash, |entry| is_due(entry, due)).is_some()
        });
        after.note_deadline(deadline);
    }

    fn put_aside_or_discard(
        &mut self,
        old: Entry,
        hash: KeyHash,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        if self.is_needed(&old, hash, epoch) {
            self.aside.bytes += old.memory_bytes() as u64;
            self.aside.entries.push(old);
        } else {
            after.discard(old);
        }
    }
}

fn is_due(entry: &Entry, due: Due) -> bool {
    entry.deadline() == Some(due.deadline) && KeyHash::of_key(entry.key()) == due.hash
}
