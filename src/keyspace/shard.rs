//! One shard: its part of every database, and what the snapshot needs. Single-threaded; the lock is
//! around it, not in it.
//!
//! Every change goes through `insert`, `replace`, `change`, `remove`, `take`, `clear` or `swap`,
//! and each of these first puts the old form of the entry aside when a running snapshot still needs
//! it: that is the whole of the writer's part in the snapshot. Values put aside or dropped are
//! never freed here.
//!
//! A database comes into being with its first key: with one that was never used, the shard ends
//! before it.

use crate::data::segmented::Slot;
use crate::data::{Collection, Hash, ValueType};
use crate::keyspace::after::AfterUnlock;
use crate::keyspace::database::{Database, DatabaseNumber, KeyTable, Place, Walked};
use crate::keyspace::entry::{Entry, Version};
use crate::keyspace::expiry::Due;
use crate::keyspace::lock::Epoch;
use crate::keyspace::observe::{Observers, Wanted, WatchFlag, WatcherId};
use crate::keyspace::wait::{Line, ReadyKey, Ticket, Waiter};
use crate::util::clock::UnixMillis;
use crate::util::hash::{KeyHash, POSITION_BITS, Position};
use crate::util::random::Random;
use smallvec::SmallVec;
use std::sync::Arc;

/// Old forms of entries that changed after the cut and before the walker came.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// With the number that the database had at the cut.
    pub entries: Vec<(DatabaseNumber, Entry)>,
    pub tables: Vec<AsideTable>,
    /// What the snapshot keeps in memory beyond the data: old forms, pointers to shared pieces,
    /// pieces that changed since they were shared. Tables are what the data was and not counted.
    pub bytes: u64,
}

/// A whole table that was emptied after the cut.
#[derive(Debug)]
pub(super) struct AsideTable {
    /// The number that the database had at the cut.
    pub database: DatabaseNumber,
    pub table: KeyTable,
    /// The position from which on the walker has not seen it.
    pub from: Position,
}

impl Aside {
    pub fn len(&self) -> usize {
        self.entries.len() + self.tables.iter().map(|aside| aside.table.len()).sum::<usize>()
    }
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
    number: usize,
    bits: u32,
    databases: SmallVec<[Database; 1]>,
    /// Databases other than the first whose figures have changed since they were stored.
    touched: SmallVec<[DatabaseNumber; 2]>,
    /// No key of the shard dies before this; it may be that none dies then.
    earliest: UnixMillis,
    aside: Aside,
    changes: Changes,
    /// `None` as long as nobody wants to hear of any key.
    observers: Option<Box<Observers>>,
}

impl Shard {
    pub(super) fn new(number: usize, bits: u32) -> Self {
        Self {
            number,
            bits,
            databases: SmallVec::from_buf([Database::new(number, bits)]),
            touched: SmallVec::new(),
            earliest: UnixMillis::MAX,
            aside: Aside::default(),
            changes: Changes::default(),
            observers: None,
        }
    }

    /// A database, `None` when it never had a key.
    #[inline]
    pub(super) fn database(&self, number: DatabaseNumber) -> Option<&Database> {
        self.databases.get(number as usize)
    }

    /// True when there are keys in a database, expired or not.
    pub(super) fn has_keys(&self, number: DatabaseNumber) -> bool {
        self.database(number).is_some_and(|database| !database.table.is_empty())
    }

    /// As [`Database::examine_deadlines`].
    pub(super) fn examine_deadlines(&mut self, number: DatabaseNumber, count: usize) {
        if let Some(database) = self.databases.get_mut(number as usize) {
            database.examine_deadlines(count);
        }
    }

    /// How many databases ever had a key.
    pub(super) fn database_count(&self) -> usize {
        self.databases.len()
    }

    /// Its number.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The database of a key that is to be inserted.
    #[inline]
    fn database_or_new(&mut self, number: DatabaseNumber) -> Option<&mut Database> {
        self.create_up_to(number);
        self.databases.get_mut(number as usize)
    }

    #[inline]
    fn create_up_to(&mut self, number: DatabaseNumber) {
        let (shard, bits, count) = (self.number, self.bits, number as usize + 1);
        if self.databases.len() < count {
            self.databases.resize_with(count, || Database::new(shard, bits));
        }
    }

    /// Notes that figures of a database have changed.
    #[inline]
    fn touch(&mut self, number: DatabaseNumber) {
        if number != 0 && self.touched.last() != Some(&number) {
            self.touched.push(number);
        }
    }

    /// The databases whose figures are to be stored, beside those of the first one.
    #[inline]
    pub(super) fn take_touched(&mut self) -> SmallVec<[DatabaseNumber; 2]> {
        // Nearly always there are none, and making sure of that is cheaper than taking them.
        if self.touched.is_empty() { SmallVec::new() } else { std::mem::take(&mut self.touched) }
    }

    /// A moment before which no key of the shard dies.
    #[inline]
    pub(super) fn earliest_deadline(&self) -> UnixMillis {
        self.earliest
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
    pub(super) fn find(&self, place: Place, key: &[u8]) -> Option<Slot> {
        self.databases.get(place.index())?.find(place.hash, key)
    }

    /// The entry of `key`, expired or not.
    #[inline]
    pub(super) fn get(&self, place: Place, key: &[u8]) -> Option<&Entry> {
        self.databases.get(place.index())?.get(place.hash, key)
    }

    #[inline]
    pub(super) fn at(&self, place: Place, slot: Slot) -> Option<&Entry> {
        self.databases.get(place.index())?.table.at(slot)
    }

    /// Calls `each` with the entries of a database that are alive.
    pub(super) fn for_each_entry(
        &self,
        number: DatabaseNumber,
        now: UnixMillis,
        each: impl FnMut(&Entry),
    ) {
        let entries = self.database(number).into_iter().flat_map(|of| of.table.iter());
        entries.filter(|entry| !entry.is_expired(now)).for_each(each);
    }

    /// The same for all databases.
    pub(super) fn for_each_of_all(
        &self,
        now: UnixMillis,
        mut each: impl FnMut(DatabaseNumber, &Entry),
    ) {
        for number in 0..self.databases.len() {
            let number = number as DatabaseNumber;
            self.for_each_entry(number, now, |entry| each(number, entry));
        }
    }

    /// Calls `each` with the living ones of the next entries of a database from position `from` on,
    /// at least as many entries as are `left`, fewer only at the end of the shard; returns where to
    /// go on, and counts them off.
    pub(super) fn scan(
        &self,
        number: DatabaseNumber,
        from: Position,
        left: &mut usize,
        now: UnixMillis,
        mut each: impl FnMut(&Entry),
    ) -> Position {
        let Some(database) = self.database(number) else {
            return (self.number as Position + 1) << (POSITION_BITS - self.bits);
        };
        database.table.scan(from, *left, |entry| {
            *left = left.saturating_sub(1);
            if !entry.is_expired(now) {
                each(entry);
            }
        })
    }

    /// A key of a database drawn at random, each as likely; `None` when there are none, or when the
    /// one that was drawn has expired. Cost: O(1) expected.
    pub(super) fn random_key(
        &self,
        number: DatabaseNumber,
        now: UnixMillis,
        random: &mut Random,
    ) -> Option<Vec<u8>> {
        let table = &self.database(number)?.table;
        let entry = table.at(table.draw(random)?)?;
        (!entry.is_expired(now)).then(|| entry.key().to_vec())
    }

    /// Tells those who want to hear of it that a key changes.
    #[inline]
    pub(super) fn note_change_of(&mut self, place: Place) {
        if let Some(observers) = &mut self.observers {
            observers.note_change(place);
        }
    }

    /// Raises `flag` at the next change of a key.
    pub(super) fn watch(&mut self, place: Place, id: WatcherId, flag: &Arc<WatchFlag>) {
        self.observers.get_or_insert_default().watch(place, id, flag);
    }

    /// Takes back what [`watch`](Self::watch) did.
    pub(super) fn unwatch(&mut self, place: Place, id: WatcherId) {
        if let Some(observers) = &mut self.observers {
            observers.unwatch(place, id);
            if observers.is_empty() {
                self.observers = None;
            }
        }
    }

    /// Notes that a key has this entry from now on, if somebody waits for that.
    #[inline]
    fn note_appearance(&self, place: Place, entry: &Entry, after: &mut AfterUnlock) {
        if let Some(observers) = &self.observers {
            let wanted = Wanted { place, value_type: entry.value().value_type() };
            if observers.is_waited_for(wanted) {
                after.note_ready(ReadyKey::new(self.number, wanted));
            }
        }
    }

    /// Notes that a key has more than before, or is gone, if somebody waits for that.
    #[inline]
    pub(super) fn note_news(&self, place: Place, after: &mut AfterUnlock) {
        if let Some(observers) = &self.observers {
            let wanted = Wanted { place, value_type: ValueType::Stream };
            if observers.is_waited_for(wanted) {
                after.note_ready(ReadyKey::new(self.number, wanted));
            }
        }
    }

    /// True when somebody waits for this in this line.
    pub(super) fn has_waiters(&self, wanted: Wanted, line: Line) -> bool {
        self.observers.as_ref().is_some_and(|observers| observers.has_line(wanted, line))
    }

    /// The lines in which somebody waits for this.
    pub(super) fn lines(&self, wanted: Wanted) -> Vec<Line> {
        self.observers.as_ref().map(|observers| observers.lines(wanted)).unwrap_or_default()
    }

    /// Puts one who waits into the queue of a key, which is its key number `number`.
    pub(super) fn wait(&mut self, place: Place, number: usize, waiter: &Arc<dyn Waiter>) {
        self.observers.get_or_insert_default().wait(place, number, waiter);
    }

    /// Takes one out of a queue.
    pub(super) fn stop_waiting(&mut self, wanted: Wanted, line: Line, ticket: Ticket) {
        if let Some(observers) = &mut self.observers {
            observers.stop_waiting(wanted, line, ticket);
            if observers.is_empty() {
                self.observers = None;
            }
        }
    }

    /// The first one in a line behind `ticket` that has not given up, and which of its keys that
    /// is; `None` when the key is not there, unless it is that for which one waits.
    pub(super) fn next_waiter(
        &self,
        wanted: Wanted,
        line: Line,
        behind: Ticket,
    ) -> Option<(Arc<dyn Waiter>, usize)> {
        let observers = self.observers.as_ref()?;
        let Place { database, hash } = wanted.place;
        let is_there = || self.database(database).is_some_and(|database| database.has(hash));
        let may_serve = (wanted.waits_for_its_end() && line != Line::Each) || is_there();
        may_serve.then(|| observers.next_waiter(wanted, line, behind))?
    }

    /// Lends the walker of snapshot `epoch` at most one segment that it has not seen, each entry
    /// with the number that its database had at the cut; false when it has seen all.
    pub(super) fn walk(
        &self,
        epoch: Version,
        mut each: impl FnMut(DatabaseNumber, &Entry),
    ) -> bool {
        let mut walked = false;
        for (number, database) in (0..).zip(&self.databases) {
            if walked && !database.is_walked(epoch) {
                return true;
            }
            let at_cut = database.number_at_cut(number, epoch);
            match database.walk(epoch, |entry| each(at_cut, entry)) {
                Walked::Nothing => {}
                Walked::Segment => return true,
                Walked::LastSegment => walked = true,
            }
        }
        false
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
    pub(super) fn insert(
        &mut self,
        place: Place,
        entry: Entry,
        after: &mut AfterUnlock,
    ) -> Option<Slot> {
        let (deadline, field_deadline) = (entry.deadline(), entry.field_deadline());
        self.touch(place.database);
        self.note_change_of(place);
        self.note_appearance(place, &entry, after);
        let database = self.database_or_new(place.database)?;
        let slot = database.table.insert_new(place.hash, entry);
        if let Some(deadline) = deadline {
            database.with_deadline += 1;
            self.add_due(place, deadline, after);
        }
        self.note_field_deadline(place, None, field_deadline, after);
        Some(slot)
    }

    /// Notes that the earliest deadline of a field of a key has become `new`.
    #[inline]
    pub(super) fn note_field_deadline(
        &mut self,
        place: Place,
        old: Option<UnixMillis>,
        new: Option<UnixMillis>,
        after: &mut AfterUnlock,
    ) {
        if old == new {
            return;
        }
        if let Some(database) = self.databases.get_mut(place.index()) {
            database.with_field_deadlines -= usize::from(old.is_some());
            database.with_field_deadlines += usize::from(new.is_some());
        }
        if let Some(deadline) = new {
            self.add_due(place, deadline, after);
        }
    }

    /// Puts another entry for the same key in the place of an old one.
    pub(super) fn replace(
        &mut self,
        slot: Slot,
        place: Place,
        entry: Entry,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        let (deadline, field_deadline) = (entry.deadline(), entry.field_deadline());
        self.note_appearance(place, &entry, after);
        self.note_news(place, after);
        let Some(database) = self.databases.get_mut(place.index()) else {
            return;
        };
        let Some(stored) = database.table.at_mut(slot) else {
            return;
        };
        let old = std::mem::replace(stored, entry);
        let (old_deadline, old_field_deadline) = (old.deadline(), old.field_deadline());
        if old_deadline.is_some() != deadline.is_some() {
            database.with_deadline -= usize::from(old_deadline.is_some());
            database.with_deadline += usize::from(deadline.is_some());
            self.touch(place.database);
        }
        self.note_change_of(place);
        self.put_aside_or_discard(old, place, epoch, after);
        if let Some(deadline) = deadline
            && old_deadline != Some(deadline)
        {
            self.add_due(place, deadline, after);
        }
        self.note_field_deadline(place, old_field_deadline, field_deadline, after);
    }

    /// The entry at `slot`, to be changed in place. Its deadline must stay.
    #[inline]
    pub(super) fn change(&mut self, slot: Slot, place: Place, epoch: Epoch) -> Option<&mut Entry> {
        self.note_change_of(place);
        self.change_unseen(slot, place, epoch)
    }

    /// As [`change`](Self::change), of which those who watch the key are not told.
    #[inline]
    pub(super) fn change_unseen(
        &mut self,
        slot: Slot,
        place: Place,
        epoch: Epoch,
    ) -> Option<&mut Entry> {
        let database = self.databases.get_mut(place.index())?;
        if epoch.running {
            let entry = database.table.at(slot)?;
            if database.is_needed(entry, place.hash, epoch) {
                let old = entry.clone();
                self.aside.bytes += old.shared_bytes() as u64;
                let number = database.number_at_cut(place.database, epoch.number);
                self.aside.entries.push((number, old));
            }
        }
        let entry = database.table.at_mut(slot)?;
        entry.set_version(epoch.number);
        Some(entry)
    }

    pub(super) fn set_deadline(
        &mut self,
        slot: Slot,
        place: Place,
        deadline: Option<UnixMillis>,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        let Some(entry) = self.change(slot, place, epoch) else {
            return;
        };
        let old = entry.deadline();
        if old == deadline {
            return;
        }
        entry.set_deadline(deadline);
        self.touch(place.database);
        if let Some(database) = self.databases.get_mut(place.index()) {
            database.with_deadline -= usize::from(old.is_some());
            database.with_deadline += usize::from(deadline.is_some());
        }
        if let Some(deadline) = deadline {
            self.add_due(place, deadline, after);
        }
    }

    /// Removes an entry for good.
    pub(super) fn remove(
        &mut self,
        slot: Slot,
        place: Place,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        if let Some(entry) = self.remove_entry(slot, place, after) {
            self.put_aside_or_discard(entry, place, epoch, after);
        }
    }

    /// Takes an entry out, to put its value elsewhere.
    pub(super) fn take(
        &mut self,
        slot: Slot,
        place: Place,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) -> Option<Entry> {
        self.change(slot, place, epoch)?;
        self.remove_entry(slot, place, after)
    }

    fn remove_entry(&mut self, slot: Slot, place: Place, after: &mut AfterUnlock) -> Option<Entry> {
        self.touch(place.database);
        self.note_change_of(place);
        self.note_news(place, after);
        let database = self.databases.get_mut(place.index())?;
        let entry = database.table.remove(slot)?;
        database.with_deadline -= usize::from(entry.deadline().is_some());
        database.with_field_deadlines -= usize::from(entry.field_deadline().is_some());
        Some(entry)
    }

    /// Empties a database. Cost: O(1); the entries are handed to the snapshot or to `after`.
    pub(super) fn clear(&mut self, number: DatabaseNumber, epoch: Epoch, after: &mut AfterUnlock) {
        self.note_changes_of_databases(&[number], |database, hash| database.has(hash));
        let Some(database) = self.databases.get_mut(number as usize) else {
            return;
        };
        if database.table.is_empty() {
            return;
        }
        let at_cut = database.number_at_cut(number, epoch.number);
        let (table, needed_from) = database.clear(KeyTable::new(self.number, self.bits), epoch);
        let keys = table.len() as u64;
        match needed_from {
            Some(from) => self.aside.tables.push(AsideTable { database: at_cut, table, from }),
            None => after.discard_table(table),
        }
        self.note_changes(keys, epoch);
        self.touch(number);
        self.find_earliest();
        let waited = self.observers.as_ref().map(|observers| observers.waited_in(&[number]));
        for wanted in waited.unwrap_or_default() {
            if wanted.waits_for_its_end() {
                after.note_ready(ReadyKey::new(self.number, wanted));
            }
        }
    }

    /// Empties all databases. Cost: O(databases).
    pub(super) fn clear_all(&mut self, epoch: Epoch, after: &mut AfterUnlock) {
        for number in (0..).take(self.databases.len()) {
            self.clear(number, epoch, after);
        }
    }

    /// Lets two databases change their numbers.
    pub(super) fn swap(
        &mut self,
        a: DatabaseNumber,
        b: DatabaseNumber,
        now: UnixMillis,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        let higher = a.max(b);
        if a == b || self.databases.len() <= a.min(b) as usize {
            return;
        }
        self.create_up_to(higher);
        for number in [a, b] {
            if let Some(database) = self.databases.get_mut(number as usize) {
                database.keep_number(number, epoch);
            }
            self.touch(number);
        }
        // What goes from under a number has changed, whether it is still alive or not, and so has
        // what comes, if it is alive.
        self.note_changes_of_databases(&[a, b], |database, hash| database.has(hash));
        self.databases.swap(a as usize, b as usize);
        self.note_changes_of_databases(&[a, b], |database, hash| database.has_alive(hash, now));
        let waited = self.observers.as_ref().map(|observers| observers.waited_in(&[a, b]));
        for wanted in waited.unwrap_or_default() {
            let Place { database, hash } = wanted.place;
            let is_there = |database: &Database| database.has_alive(hash, now);
            if wanted.waits_for_its_end() || self.database(database).is_some_and(is_there) {
                after.note_ready(ReadyKey::new(self.number, wanted));
            }
        }
    }

    /// Tells those who watch keys of these databases that they change, if `changes` says so.
    fn note_changes_of_databases(
        &mut self,
        numbers: &[DatabaseNumber],
        changes: impl Fn(&Database, KeyHash) -> bool,
    ) {
        let Some(observers) = &mut self.observers else {
            return;
        };
        for place in observers.watched_in(numbers) {
            let database = self.databases.get(place.index());
            if database.is_some_and(|database| changes(database, place.hash)) {
                observers.note_change(place);
            }
        }
    }

    /// Removes up to `limit` fields of a hash whose deadline has come, and the key with its last
    /// one; returns how many fields.
    pub(super) fn remove_due_fields(
        &mut self,
        slot: Slot,
        place: Place,
        now: UnixMillis,
        limit: usize,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) -> usize {
        let Some(entry) = self.change(slot, place, epoch) else {
            return 0;
        };
        let (key, old) = (entry.key().to_vec(), entry.field_deadline());
        let changed = entry.change_collection(&key, |hash: &mut Hash| {
            (hash.remove_due(now, limit), hash.is_empty(), hash.take_copied_bytes())
        });
        let new = entry.field_deadline();
        let Some((removed, is_empty, copied_bytes)) = changed else {
            return 0;
        };
        self.note_copied(copied_bytes, epoch);
        self.note_changes(removed as u64, epoch);
        self.note_field_deadline(place, old, new, after);
        if let Some(deadline) = new.filter(|_| new == old) {
            // More are due than may go now, and their item was taken from the heap.
            self.add_due(place, deadline, after);
        }
        after.note_field_deaths(place.database, &key, is_empty, epoch);
        if is_empty {
            self.remove(slot, place, epoch, after);
        }
        removed
    }

    /// Removes up to `limit` keys, and fields of hashes, whose deadline has come; returns how many
    /// keys that were, and by how many milliseconds the latest was late.
    pub(super) fn remove_due(
        &mut self,
        now: UnixMillis,
        limit: usize,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) -> (usize, u64) {
        let (mut examined, mut removed, mut lag_ms) = (0, 0, 0);
        for number in (0..).take(self.databases.len()) {
            while examined < limit
                && let Some(database) = self.databases.get_mut(number as usize)
                && let Some(due) = database.expiry.earliest().filter(|due| due.deadline <= now)
            {
                examined += 1;
                database.expiry.pop();
                let Some(slot) = database.find_due(due) else { continue };
                let place = Place { database: number, hash: due.hash };
                let Some(entry) = self.at(place, slot) else { continue };
                lag_ms = lag_ms.max(now.since(due.deadline));
                if entry.is_past_deadline(now) {
                    after.note_death(number, entry.key(), epoch);
                    self.remove(slot, place, epoch, after);
                    self.note_changes(1, epoch);
                    removed += 1;
                } else {
                    let room = limit - examined + 1;
                    examined += self.remove_due_fields(slot, place, now, room, epoch, after);
                }
            }
        }
        self.find_earliest();
        (removed, lag_ms)
    }

    fn find_earliest(&mut self) {
        let deadlines = self.databases.iter().map(Database::earliest_deadline);
        self.earliest = deadlines.min().unwrap_or(UnixMillis::MAX);
    }

    fn add_due(&mut self, place: Place, deadline: UnixMillis, after: &mut AfterUnlock) {
        self.touch(place.database);
        if let Some(database) = self.databases.get_mut(place.index()) {
            database.add_due(Due { deadline, hash: place.hash });
        }
        self.earliest = self.earliest.min(deadline);
        after.note_deadline(deadline);
    }

    fn put_aside_or_discard(
        &mut self,
        old: Entry,
        place: Place,
        epoch: Epoch,
        after: &mut AfterUnlock,
    ) {
        match self.databases.get(place.index()) {
            Some(database) if database.is_needed(&old, place.hash, epoch) => {
                self.aside.bytes += old.memory_bytes() as u64;
                let number = database.number_at_cut(place.database, epoch.number);
                self.aside.entries.push((number, old));
            }
            _ => after.discard(old),
        }
    }
}
