//! What a command may see and do: one key, or several keys under joint locks.
//!
//! A view borrows locked shards, so nothing it shows can outlive the locks. It treats a key as
//! absent from its deadline on, whether or not it has been swept; a view for reading only hides
//! such a key, a view for writing removes it first.

use crate::data::segmented::Slot;
use crate::data::{Collection, HashRef, ListRef, SetRef, SortedSetRef, Stream, StringRef};
use crate::data::{Value, ValueRef, ValueType};
use crate::keyspace::Keyspace;
use crate::keyspace::after::AfterUnlock;
use crate::keyspace::database::{DatabaseNumber, Place};
use crate::keyspace::entry::Entry;
use crate::keyspace::events::KeyEvent;
use crate::keyspace::expiry::Due;
use crate::keyspace::lock::{Epoch, Locked, Readable};
use crate::keyspace::planted::{self, Bug};
use crate::keyspace::shard::Shard;
use crate::keyspace::uses::{LastUse, Uses};
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use crate::util::hash::KeyHash;
use bytes::Bytes;
use std::cell::{Cell, RefCell};

/// The key holds a value of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// How often a command found a key it looked for.
#[derive(Debug, Default)]
pub struct Tally {
    hits: Cell<u64>,
    misses: Cell<u64>,
    wants_missed: Cell<bool>,
    uses: Cell<Uses>,
    missed: RefCell<Vec<KeyEvent>>,
}

impl Tally {
    /// Hits and misses so far, which start again from 0.
    pub fn take(&self) -> (u64, u64) {
        (self.hits.take(), self.misses.take())
    }

    /// Whether keys that are not found are noted as events.
    #[inline]
    pub fn want_missed(&self, wanted: bool) {
        self.wants_missed.set(wanted);
    }

    /// How uses of keys are noted from now on.
    #[inline]
    pub fn set_uses(&self, uses: Uses) {
        self.uses.set(uses);
    }

    /// The events of keys that were not found.
    #[must_use]
    pub fn take_missed(&self) -> Vec<KeyEvent> {
        self.missed.take()
    }

    fn count(&self, found: bool, key: LocatedKey<'_>) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
        if !found && self.wants_missed.get() {
            let (class, name) = (EventSet::KEY_MISS, "keymiss");
            let (database, key) = (key.database, key.key.into());
            self.missed.borrow_mut().push(KeyEvent { class, name, database, key });
        }
    }
}

/// A key of a command with its hash and the number of its shard.
#[derive(Debug, Clone, Copy)]
pub struct LocatedKey<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its hash.
    pub hash: KeyHash,
    /// The shard it lives in.
    pub shard: usize,
    /// The database.
    pub database: DatabaseNumber,
}

impl LocatedKey<'_> {
    /// The same key in another database: in the same shard.
    #[inline]
    #[must_use]
    pub fn in_database(self, database: DatabaseNumber) -> Self {
        Self { database, ..self }
    }

    #[inline]
    pub(super) fn place(&self) -> Place {
        Place { database: self.database, hash: self.hash }
    }
}

/// Bytes that each key takes in its table.
pub const KEY_SLOT_BYTES: usize = size_of::<Entry>();
/// Bytes that each deadline takes in its heap.
pub const DEADLINE_SLOT_BYTES: usize = size_of::<Due>();

/// A key as it was while it was locked, for reading afterwards.
#[derive(Debug)]
pub struct KeptKey {
    entry: Option<Entry>,
    now: UnixMillis,
}

impl KeptKey {
    /// True when the key has not been changed since. Cost: O(1), O(bytes) when packed.
    fn is_still(&self, now: ReadView<'_>) -> bool {
        match (&self.entry, now.entry) {
            (None, None) => true,
            (Some(kept), Some(entry)) => kept.is_same(entry),
            _ => false,
        }
    }

    /// The key as it was.
    #[must_use]
    pub fn view(&self) -> ReadView<'_> {
        ReadView { entry: self.entry.as_ref(), now: self.now }
    }
}

/// One key under a shared lock.
#[derive(Debug, Clone, Copy)]
pub struct ReadView<'a> {
    entry: Option<&'a Entry>,
    now: UnixMillis,
}

/// Before all deadlines: for a view of what was freed of all that is past its deadline.
const ALWAYS: UnixMillis = UnixMillis(i64::MIN);

impl<'a> ReadView<'a> {
    pub(super) fn new(
        shard: &'a Shard,
        key: LocatedKey<'_>,
        now: UnixMillis,
        tally: &Tally,
    ) -> Self {
        let entry = shard.get(key.place(), key.key).filter(|entry| !entry.is_expired(now));
        tally.count(entry.is_some(), key);
        if let Some(entry) = entry {
            entry.last_use().note(tally.uses.get());
        }
        Self { entry, now }
    }

    /// True when the key is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.entry.is_some()
    }

    /// The entry, to look at its value after the locks are released. Cost: O(bytes) when packed,
    /// else O(1).
    #[must_use]
    pub fn copy(&self) -> Option<Entry> {
        let mut entry = self.entry?.clone();
        entry.remove_due_fields(self.now);
        Some(entry)
    }

    /// The key, to be read after the locks are released. Cost: as that of [`copy`](Self::copy).
    #[must_use]
    pub fn keep(&self) -> KeptKey {
        KeptKey { entry: self.entry.cloned(), now: self.now }
    }

    /// The value, `None` when the key is absent.
    #[must_use]
    pub fn value(&self) -> Option<ValueRef<'a>> {
        self.entry.map(|entry| entry.value_at(self.now))
    }

    /// The deadline of a field of the hash. Cost: O(1).
    #[must_use]
    pub fn field_deadline(&self, field: &[u8]) -> Option<UnixMillis> {
        self.entry?.field_deadlines()?.deadline(field)
    }

    /// When it was last used, or how often; `None` when the key is absent.
    #[must_use]
    pub fn last_use(&self) -> Option<&'a LastUse> {
        self.entry.map(Entry::last_use)
    }

    /// The next moment at which the key or a field of it goes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let entry = self.entry?;
        [entry.deadline(), entry.field_deadline()].into_iter().flatten().min()
    }

    /// The deadline, the outer `None` when the key is absent.
    #[must_use]
    pub fn deadline(&self) -> Option<Option<UnixMillis>> {
        self.entry.map(Entry::deadline)
    }

    /// Roughly the bytes of memory that the key takes with its value and deadline, `None` when it
    /// is absent. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> Option<usize> {
        self.entry.map(|entry| {
            let deadline = if entry.deadline().is_some() { DEADLINE_SLOT_BYTES } else { 0 };
            KEY_SLOT_BYTES + entry.memory_bytes() + deadline
        })
    }

    /// The string.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    #[inline]
    pub fn string(&self) -> Result<Option<StringRef<'a>>, WrongType> {
        match self.value() {
            None => Ok(None),
            Some(ValueRef::String(value)) => Ok(Some(value)),
            Some(_) => Err(WrongType),
        }
    }

    /// The list.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    #[inline]
    pub fn list(&self) -> Result<Option<ListRef<'a>>, WrongType> {
        match self.value() {
            None => Ok(None),
            Some(ValueRef::List(value)) => Ok(Some(value)),
            Some(_) => Err(WrongType),
        }
    }

    /// The hash.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    #[inline]
    pub fn hash(&self) -> Result<Option<HashRef<'a>>, WrongType> {
        match self.value() {
            None => Ok(None),
            Some(ValueRef::Hash(value)) => Ok(Some(value)),
            Some(_) => Err(WrongType),
        }
    }

    /// The set.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    #[inline]
    pub fn set(&self) -> Result<Option<SetRef<'a>>, WrongType> {
        match self.value() {
            None => Ok(None),
            Some(ValueRef::Set(value)) => Ok(Some(value)),
            Some(_) => Err(WrongType),
        }
    }

    /// The sorted set.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    #[inline]
    pub fn sorted_set(&self) -> Result<Option<SortedSetRef<'a>>, WrongType> {
        match self.value() {
            None => Ok(None),
            Some(ValueRef::SortedSet(value)) => Ok(Some(value)),
            Some(_) => Err(WrongType),
        }
    }

    /// The stream.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    #[inline]
    pub fn stream(&self) -> Result<Option<&'a Stream>, WrongType> {
        match self.value() {
            None => Ok(None),
            Some(ValueRef::Stream(value)) => Ok(Some(value)),
            Some(_) => Err(WrongType),
        }
    }
}

/// What becomes of the deadline when a string is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewDeadline {
    /// It stays as it is.
    Keep,
    /// It is this one, or none.
    Set(Option<UnixMillis>),
}

/// One key under an exclusive lock.
#[derive(Debug)]
pub struct WriteView<'a> {
    shard: &'a mut Shard,
    key: LocatedKey<'a>,
    slot: Option<Slot>,
    epoch: Epoch,
    after: &'a mut AfterUnlock,
    /// True when the collection became empty, which was noted as an event already.
    emptied: bool,
}

impl<'a> WriteView<'a> {
    pub(super) fn new(
        shard: &'a mut Shard,
        key: LocatedKey<'a>,
        now: UnixMillis,
        epoch: Epoch,
        after: &'a mut AfterUnlock,
    ) -> Self {
        let mut slot = shard.find(key.place(), key.key);
        if let Some(found) = slot
            && let Some(entry) = shard.at(key.place(), found)
        {
            if entry.is_past_deadline(now) {
                shard.remove(found, key.place(), epoch, after);
                shard.note_changes(1, epoch);
                after.note_expired(key.database, key.key, epoch);
                slot = None;
            } else if entry.has_due_fields(now) {
                let all = usize::MAX;
                shard.remove_due_fields(found, key.place(), now, all, epoch, after);
                slot = shard.find(key.place(), key.key);
            } else {
                entry.last_use().note(after.uses());
            }
        }
        Self { shard, key, slot, epoch, after, emptied: false }
    }

    fn entry(&self) -> Option<&Entry> {
        self.slot.and_then(|slot| self.shard.at(self.key.place(), slot))
    }

    /// True when the key is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.slot.is_some()
    }

    /// The entry with its value, to [`put`](Self::put) it under another key as well. Cost: O(bytes)
    /// when packed, else O(1): the pieces are shared until one of the two changes.
    #[must_use]
    pub fn copy(&self) -> Option<Entry> {
        Some(self.entry()?.clone().with_last_use(self.after.uses().of_new()))
    }

    /// The same key for reading; not counted as a hit or a miss.
    #[must_use]
    pub fn read(&self) -> ReadView<'_> {
        ReadView { entry: self.entry(), now: ALWAYS }
    }

    /// The type of the value, `None` when the key is absent.
    #[must_use]
    pub fn value_type(&self) -> Option<ValueType> {
        self.entry().map(|entry| entry.value().value_type())
    }

    /// Notes an event of this key for those who want to hear of its class. That a collection has
    /// become empty and is gone comes behind it.
    #[inline]
    pub fn notify(&mut self, class: EventSet, name: &'static str) {
        let (database, key) = (self.key.database, self.key.key);
        match self.emptied {
            false => self.after.events.note(class, name, database, key),
            true => self.after.events.note_before("del", class, name, database, key),
        }
    }

    /// Notes that the value or the deadline changes, for those who keep copies.
    #[inline]
    fn note_changed(&mut self) {
        if self.epoch.notes_changes {
            self.after.events.note_changed(self.key.database, self.key.key);
        }
    }

    /// Counts `count` more changes than the one that every change counts by itself.
    pub fn note_more_changes(&mut self, count: usize) {
        self.shard.note_changes(count as u64, self.epoch);
    }

    /// Makes the key hold this string. Cost: O(n).
    pub fn set_string(&mut self, value: &[u8], deadline: NewDeadline) {
        self.shard.note_changes(1, self.epoch);
        self.note_changed();
        let Self { shard, key, slot, epoch, after, .. } = self;
        let Some(slot) = *slot else {
            let deadline = if let NewDeadline::Set(deadline) = deadline { deadline } else { None };
            let entry = Entry::string(key.key, value, deadline, epoch.number);
            let last_use = after.uses().of_new();
            self.insert(entry.with_last_use(last_use));
            return;
        };
        let keeps = deadline == NewDeadline::Keep;
        let fits = |entry: &Entry| entry.fits_string(value.len(), keeps);
        if (keeps || deadline == NewDeadline::Set(None))
            && shard.at(key.place(), slot).is_some_and(fits)
            && let Some(entry) = shard.change(slot, key.place(), *epoch)
        {
            entry.overwrite_string(value);
            return;
        }
        let deadline = match deadline {
            NewDeadline::Keep => shard.at(key.place(), slot).and_then(Entry::deadline),
            NewDeadline::Set(deadline) => deadline,
        };
        let entry = Entry::string(key.key, value, deadline, epoch.number);
        let entry = entry.with_last_use(last_use_after(shard.at(key.place(), slot), after));
        shard.replace(slot, key.place(), entry, *epoch, after);
    }

    /// As [`set_string`](Self::set_string), of bytes that may be shared. Cost: O(1) when they are
    /// too many to be stored beside the key.
    pub fn set_shared_string(&mut self, value: Bytes, deadline: NewDeadline) {
        let deadline = match deadline {
            NewDeadline::Keep => self.entry().and_then(Entry::deadline),
            NewDeadline::Set(deadline) => deadline,
        };
        self.set_value(Value::String(value), deadline);
    }

    /// Gives `value` back if it was made of the key, which was `kept`, as it is now. Cost: O(1).
    pub fn accept(&mut self, kept: Vec<KeptKey>, value: Value) -> Option<Value> {
        let now = self.read();
        let is_true = kept.iter().all(|kept| kept.is_still(now));
        accept(self.after, kept, value, is_true)
    }

    /// Makes the key hold this value. Cost: O(packed bytes).
    pub fn set_value(&mut self, value: Value, deadline: Option<UnixMillis>) {
        self.shard.note_changes(1, self.epoch);
        let entry = Entry::new(self.key.key, value, deadline, self.epoch.number);
        let last_use = last_use_after(self.entry(), self.after);
        self.put_entry(entry.with_last_use(last_use));
    }

    /// Puts what [`take`](Self::take) gave under this key.
    pub fn put(&mut self, taken: Entry) {
        self.shard.note_changes(1, self.epoch);
        let mut entry = taken.with_key(self.key.key);
        entry.set_version(self.epoch.number);
        self.put_entry(entry);
    }

    /// Makes the key count as last used so many seconds ago, if that is kept.
    pub fn set_idle(&mut self, seconds: u64) {
        let uses = self.after.uses();
        if !uses.is_by_frequency() {
            self.set_last_use(uses.of_idle(seconds));
        }
    }

    /// Makes the key count as used this often, if that is kept.
    pub fn set_frequency(&mut self, count: u8) {
        let uses = self.after.uses();
        if uses.is_by_frequency() {
            self.set_last_use(uses.of_count(count));
        }
    }

    fn set_last_use(&mut self, last_use: LastUse) {
        if let Some(entry) = self.entry() {
            entry.last_use().copy_from(&last_use);
        }
    }

    fn put_entry(&mut self, entry: Entry) {
        self.note_changed();
        match self.slot {
            Some(slot) => {
                self.shard.replace(slot, self.key.place(), entry, self.epoch, self.after);
            }
            None => self.insert(entry),
        }
    }

    fn insert(&mut self, entry: Entry) {
        self.slot = self.shard.insert(self.key.place(), entry, self.after);
        self.after.events.note(EventSet::NEW, "new", self.key.database, self.key.key);
    }

    /// Removes the key; true when it was there. Cost: O(1), its value is freed after the locks.
    pub fn remove(&mut self) -> bool {
        let Some(slot) = self.slot.take() else {
            return false;
        };
        self.shard.remove(slot, self.key.place(), self.epoch, self.after);
        self.shard.note_changes(1, self.epoch);
        self.note_changed();
        true
    }

    /// Removes the key and gives its entry, to [`put`](Self::put) it under another key, which
    /// counts the change.
    pub fn take(&mut self) -> Option<Entry> {
        let slot = self.slot.take()?;
        self.note_changed();
        self.shard.take(slot, self.key.place(), self.epoch, self.after)
    }

    /// Sets or removes the deadline of a key that is there.
    pub fn set_deadline(&mut self, deadline: Option<UnixMillis>) {
        if let Some(slot) = self.slot {
            self.shard.note_changes(1, self.epoch);
            self.shard.set_deadline(slot, self.key.place(), deadline, self.epoch, self.after);
            self.note_changed();
        }
    }

    /// Appends to the string, which may be absent; returns its new length.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    pub fn append(&mut self, tail: &[u8]) -> Result<usize, WrongType> {
        let Some(slot) = self.slot else {
            self.set_string(tail, NewDeadline::Set(None));
            return Ok(tail.len());
        };
        self.read().string()?;
        self.shard.note_changes(1, self.epoch);
        self.note_changed();
        let entry = self.shard.change(slot, self.key.place(), self.epoch);
        entry.and_then(|entry| entry.append(tail)).ok_or(WrongType)
    }

    /// Lends the bytes of the string, made at least `len` bytes long by zero bytes, to `change`; a
    /// key that is absent gets a string of `len` bytes. Cost: as [`Entry::change_string`].
    ///
    /// # Errors
    /// `WrongType` when the key holds another type; `change` is not called then.
    pub fn change_string<R>(
        &mut self,
        len: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, WrongType> {
        self.change_string_counted(len, |bytes| (1, change(bytes)))
    }

    /// As [`change_string`](Self::change_string), with `change` saying first how many changes it
    /// counts as; with none those who watch the key, or keep a copy of it, are not told.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type; `change` is not called then.
    pub fn change_string_counted<R>(
        &mut self,
        len: usize,
        change: impl FnOnce(&mut [u8]) -> (usize, R),
    ) -> Result<R, WrongType> {
        let (changes, result) = match self.slot {
            None => {
                let (value, result) = crate::data::string::change(Bytes::new(), len, change);
                let value = Value::String(value);
                let entry = Entry::new(self.key.key, value, None, self.epoch.number);
                self.insert(entry.with_last_use(self.after.uses().of_new()));
                result
            }
            Some(slot) => {
                self.read().string()?;
                let place = self.key.place();
                let entry = self.shard.change_unseen(slot, place, self.epoch);
                let changed = entry.and_then(|entry| entry.change_string(len, change));
                let (changes, result) = changed.ok_or(WrongType)?;
                if changes > 0 {
                    self.shard.note_change_of(place);
                }
                (changes, result)
            }
        };
        if changes > 0 {
            self.note_changed();
        }
        self.shard.note_changes(changes as u64, self.epoch);
        Ok(result)
    }

    /// Lends the list or the hash to `change`; `None` when the key is absent and `create` is false.
    ///
    /// What is empty afterwards is removed with its key. Cost: that of the change.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type; `change` is not called then.
    pub fn change_collection<C: Collection, R>(
        &mut self,
        create: bool,
        change: impl FnOnce(&mut C) -> R,
    ) -> Result<Option<R>, WrongType> {
        let Some(slot) = self.slot else {
            if !create {
                return Ok(None);
            }
            let mut collection = C::default();
            let result = change(&mut collection);
            if !collection.is_empty() {
                self.set_value(collection.into_value(), None);
            }
            return Ok(Some(result));
        };
        if self.value_type() != Some(C::TYPE) {
            return Err(WrongType);
        }
        self.shard.note_changes(1, self.epoch);
        let result = self.change_uncounted(slot, change)?;
        if self.slot.is_none() {
            self.notify(EventSet::GENERIC, "del");
            self.emptied = true;
        }
        Ok(Some(result))
    }

    /// Lends the stream to `change`, which changes no more of it than who has read what: so nobody
    /// is told who watches the key or keeps a copy of it, and no change is counted yet. `None` when
    /// there is no stream.
    pub fn change_readers<R>(&mut self, change: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let slot = self.slot?;
        let entry = self.shard.change_unseen(slot, self.key.place(), self.epoch)?;
        let changed = entry.change_collection(self.key.key, |stream: &mut Box<Stream>| {
            (change(stream), stream.take_copied_bytes())
        });
        let (result, copied_bytes) = changed?;
        self.shard.note_copied(copied_bytes, self.epoch);
        Some(result)
    }

    /// Serves those who wait for more of what the key holds, or for its end.
    pub fn serve_waiters(&mut self) {
        self.shard.note_news(self.key.place(), self.after);
    }

    /// As [`change_collection`](Self::change_collection) of a key that is there, but not counted:
    /// for what the command counts by itself, and tells of after it.
    ///
    /// # Errors
    /// `WrongType` when the key holds another type.
    pub fn change_existing<C: Collection, R>(
        &mut self,
        change: impl FnOnce(&mut C) -> R,
    ) -> Result<Option<R>, WrongType> {
        match self.slot {
            None => Ok(None),
            Some(_) if self.value_type() != Some(C::TYPE) => Err(WrongType),
            Some(slot) => self.change_uncounted(slot, change).map(Some),
        }
    }

    fn change_uncounted<C: Collection, R>(
        &mut self,
        slot: Slot,
        change: impl FnOnce(&mut C) -> R,
    ) -> Result<R, WrongType> {
        self.note_changed();
        let entry = self.shard.change(slot, self.key.place(), self.epoch).ok_or(WrongType)?;
        // Only fields of hashes have deadlines.
        let field_deadline =
            |entry: &Entry| if C::TYPE == ValueType::Hash { entry.field_deadline() } else { None };
        let old_deadline = field_deadline(entry);
        let changed = entry.change_collection(self.key.key, |value: &mut C| {
            (change(value), value.is_empty(), value.take_copied_bytes())
        });
        let new_deadline = field_deadline(entry);
        let (result, empty, copied_bytes) = changed.ok_or(WrongType)?;
        let place = self.key.place();
        self.shard.note_field_deadline(place, old_deadline, new_deadline, self.after);
        self.shard.note_copied(copied_bytes, self.epoch);
        if empty {
            self.slot = None;
            self.shard.remove(slot, self.key.place(), self.epoch, self.after);
        }
        Ok(result)
    }

    /// Has a part of the value freed once the locks are released.
    pub fn discard(&mut self, part: Value) {
        self.after.discard(Entry::new(&[], part, None, self.epoch.number));
    }
}

/// What a key gets whose value is replaced: counts go on, and the time is that of now.
fn last_use_after(old: Option<&Entry>, after: &AfterUnlock) -> LastUse {
    match old {
        Some(old) if after.uses().is_by_frequency() => old.last_use().clone(),
        _ => after.uses().of_new(),
    }
}

/// Several keys under shared locks, all at one moment.
pub struct ReadManyView<'a, 'l> {
    pub(super) shards: Readable<'a, 'l>,
    pub(super) keys: &'a [LocatedKey<'a>],
    pub(super) now: UnixMillis,
    pub(super) tally: &'a Tally,
}

impl ReadManyView<'_, '_> {
    /// Number of keys, repeated ones counted each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The views of all keys in the order of the command.
    pub fn iter(&self) -> impl Iterator<Item = ReadView<'_>> {
        let view = |key: &LocatedKey<'_>| {
            ReadView::new(self.shards.shard(key.shard), *key, self.now, self.tally)
        };
        self.keys.iter().map(view)
    }
}

/// Several keys under exclusive locks.
pub struct WriteManyView<'a, 'l> {
    pub(super) shards: &'a mut Locked<'l>,
    pub(super) keys: &'a [LocatedKey<'a>],
    pub(super) now: UnixMillis,
    pub(super) epoch: Epoch,
    pub(super) after: &'a mut AfterUnlock,
}

impl WriteManyView<'_, '_> {
    /// Number of keys, repeated ones counted each time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The moment at which the command happens.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// True when all keys are one key of one database.
    #[must_use]
    pub fn is_one_key(&self) -> bool {
        self.keys.windows(2).all(|keys| match keys {
            [a, b] => a.key == b.key && a.database == b.database,
            _ => true,
        })
    }

    /// If this bug is planted, others may come between what was done so far and what follows.
    #[inline]
    pub fn let_go_if(&mut self, bug: Bug) {
        self.shards.let_go_if(bug);
    }

    /// The view of key number `index` in the order of the command; `None` behind the last.
    pub fn key(&mut self, index: usize) -> Option<WriteView<'_>> {
        let key = *self.keys.get(index)?;
        let shard = self.shards.shard(key.shard);
        Some(WriteView::new(shard, key, self.now, self.epoch, self.after))
    }

    /// Gives `value` back if it was made of the last keys, which are those that were `kept`, as
    /// they are now. Cost: O(keys).
    pub fn accept(&mut self, kept: Vec<KeptKey>, value: Value) -> Option<Value> {
        let first = self.keys.len().saturating_sub(kept.len());
        let is_true = self.reads().skip(first).zip(&kept).all(|(now, kept)| kept.is_still(now));
        accept(self.after, kept, value, is_true)
    }

    /// All keys for reading, in the order of the command, at one moment; not counted as hits or
    /// misses.
    pub fn reads(&self) -> impl Iterator<Item = ReadView<'_>> {
        self.keys.iter().map(|key| {
            let entry = self.shards.read(key.shard).get(key.place(), key.key);
            let entry = entry.filter(|entry| !entry.is_expired(self.now));
            if let Some(entry) = entry {
                entry.last_use().note(self.after.uses());
            }
            ReadView { entry, now: self.now }
        })
    }
}

/// The value if it `is_true`; what is not needed any more may be large, and is freed behind the
/// locks.
fn accept(
    after: &mut AfterUnlock,
    kept: Vec<KeptKey>,
    value: Value,
    is_true: bool,
) -> Option<Value> {
    kept.into_iter().filter_map(|kept| kept.entry).for_each(|entry| after.discard(entry));
    if is_true || planted::is_on(Bug::BlindResult) {
        return Some(value);
    }
    after.discard(Entry::new(b"", value, None, 0));
    None
}

/// Keys that a command finds out while it runs, under shared locks, all at one moment.
pub struct ReadAnyView<'a, 'l> {
    pub(super) shards: Readable<'a, 'l>,
    pub(super) keyspace: &'a Keyspace,
    pub(super) database: DatabaseNumber,
    pub(super) now: UnixMillis,
    pub(super) tally: &'a Tally,
}

impl ReadAnyView<'_, '_> {
    /// The view of a key whose shard is locked.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> ReadView<'_> {
        let located = self.keyspace.locate(key).in_database(self.database);
        ReadView::new(self.shards.shard(located.shard), located, self.now, self.tally)
    }
}

/// Keys that a command finds out while it runs, under exclusive locks.
pub struct WriteAnyView<'a, 'l> {
    pub(super) shards: &'a mut Locked<'l>,
    pub(super) keyspace: &'a Keyspace,
    pub(super) database: DatabaseNumber,
    pub(super) now: UnixMillis,
    pub(super) epoch: Epoch,
    pub(super) after: &'a mut AfterUnlock,
}

impl WriteAnyView<'_, '_> {
    /// The view of a key whose shard is locked.
    pub fn key<'v>(&'v mut self, key: &'v [u8]) -> WriteView<'v> {
        let located = self.keyspace.locate(key).in_database(self.database);
        WriteView::new(self.shards.shard(located.shard), located, self.now, self.epoch, self.after)
    }
}
