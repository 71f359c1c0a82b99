//! The shards of a transaction or a script: locked once, and lent to one command after the other.
//!
//! A command that asks for a shard that is not held gets an error, never a lock: it would come out
//! of order. A transaction never does. A script that does was wrongly taken for one that keeps to
//! its keys.
//!
//! The views are the same ones that the doors lend, so a command does not know whether it runs by
//! itself or in a transaction. All of it is one change: it reads one epoch, and is in a snapshot as
//! a whole or not at all.

use crate::keyspace::after::AfterUnlock;
use crate::keyspace::database::DatabaseNumber;
use crate::keyspace::entry::Entry;
use crate::keyspace::lock::{Busy, Epoch, FEW_SHARDS, LockOrder, Locked, Readable};
use crate::keyspace::planted::{self, Bug};
use crate::keyspace::shard::Shard;
use crate::keyspace::view::{LocatedKey, ReadManyView, ReadView, Tally, WriteManyView, WriteView};
use crate::keyspace::view::{ReadAnyView, WriteAnyView};
use crate::keyspace::watch::Watches;
use crate::keyspace::{DRAWS_MAX, Keyspace, draw_shard, first_key, scan_shards};
use crate::util::clock::UnixMillis;
use crate::util::hash::Position;
use crate::util::random::Random;
use smallvec::SmallVec;
use std::convert::Infallible;

/// Which shards a transaction needs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ShardSet {
    numbers: SmallVec<[usize; FEW_SHARDS]>,
    all: bool,
}

impl ShardSet {
    /// All shards.
    #[must_use]
    pub fn all() -> Self {
        Self { numbers: SmallVec::new(), all: true }
    }

    /// Adds the shard of a key.
    pub fn add(&mut self, key: LocatedKey<'_>) {
        if !self.all {
            self.numbers.push(key.shard);
        }
    }

    /// Adds all of another set.
    pub fn add_set(&mut self, other: &Self) {
        match other.all {
            true => self.add_all(),
            false if self.all => {}
            false => self.numbers.extend_from_slice(&other.numbers),
        }
    }

    /// Adds all shards.
    pub fn add_all(&mut self) {
        self.numbers.clear();
        self.all = true;
    }
}

/// The shards of a transaction under exclusive locks; all of them if it was said so.
pub struct Held<'a, 'l> {
    keyspace: &'a Keyspace,
    shards: &'a mut Locked<'l>,
    epoch: Epoch,
    gave_notice: bool,
}

/// A key, or the keyspace as a whole, was asked for whose shards are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotHeld;

impl Keyspace {
    /// Lends shards to several commands in turn, as one change; `None`, and nothing runs, when a
    /// watched key has changed. The commands reach the keys of these shards and no others.
    ///
    /// # Errors
    /// When one of the shards is held by a busy script; nothing runs then.
    pub fn hold<R>(
        &self,
        shards: &ShardSet,
        watches: Option<&Watches>,
        now: UnixMillis,
        run: impl FnOnce(&mut Held<'_, '_>) -> R,
    ) -> Result<Option<R>, Busy> {
        let order = match shards.all {
            true => LockOrder::all(&self.shards),
            false => LockOrder::new(shards.numbers.iter().copied()),
        };
        let is_changed = || watches.is_some_and(|watches| watches.has_changed(now));
        let early = planted::is_on(Bug::EarlyWatch).then(|| {
            let early = is_changed();
            std::thread::yield_now();
            early
        });
        self.shards.write_many(&order, |shards, epoch| {
            let is_changed = early.unwrap_or_else(is_changed);
            (!is_changed).then(|| {
                let mut held = Held { keyspace: self, shards, epoch, gave_notice: false };
                let result = run(&mut held);
                held.end_notice();
                result
            })
        })
    }
}

impl<'l> Held<'_, 'l> {
    /// As [`Keyspace::read`].
    pub fn read<R>(
        &self,
        key: LocatedKey<'_>,
        now: UnixMillis,
        tally: &Tally,
        read: impl FnOnce(&ReadView<'_>) -> R,
    ) -> Result<R, NotHeld> {
        self.must_have(&[key])?;
        Ok(read(&ReadView::new(self.shards.read(key.shard), key, now, tally)))
    }

    /// As [`Keyspace::write`].
    pub fn write<R>(
        &mut self,
        key: LocatedKey<'_>,
        now: UnixMillis,
        after: &mut AfterUnlock,
        write: impl FnOnce(&mut WriteView<'_>) -> R,
    ) -> Result<R, NotHeld> {
        self.must_have(&[key])?;
        let shard = self.shards.shard(key.shard);
        Ok(write(&mut WriteView::new(shard, key, now, self.epoch, after)))
    }

    /// As [`Keyspace::read_many`].
    pub fn read_many<R>(
        &self,
        keys: &[LocatedKey<'_>],
        now: UnixMillis,
        tally: &Tally,
        read: impl FnOnce(&ReadManyView<'_, '_>) -> R,
    ) -> Result<R, NotHeld> {
        self.must_have(keys)?;
        Ok(read(&ReadManyView { shards: Readable::Locked(self.shards), keys, now, tally }))
    }

    /// As [`Keyspace::write_many`].
    pub fn write_many<R>(
        &mut self,
        keys: &[LocatedKey<'_>],
        now: UnixMillis,
        after: &mut AfterUnlock,
        write: impl FnOnce(&mut WriteManyView<'_, '_>) -> R,
    ) -> Result<R, NotHeld> {
        self.must_have(keys)?;
        let epoch = self.epoch;
        Ok(write(&mut WriteManyView { shards: self.shards, keys, now, epoch, after }))
    }

    /// All shards of the keyspace together.
    ///
    /// # Errors
    /// When only some are held.
    pub fn all(&mut self) -> Result<AllHeld<'_, 'l>, NotHeld> {
        if !self.has_all() {
            return Err(NotHeld);
        }
        Ok(AllHeld { keyspace: self.keyspace, shards: self.shards, epoch: self.epoch })
    }

    /// If this bug is planted, others may come between what was done so far and what follows.
    #[inline]
    pub fn let_go_if(&mut self, bug: Bug) {
        self.shards.let_go_if(bug);
    }

    /// True when all these shards are held.
    #[must_use]
    pub fn has(&self, shards: &ShardSet) -> bool {
        match shards.all {
            true => self.has_all(),
            false => shards.numbers.iter().all(|number| self.shards.has(*number)),
        }
    }

    fn has_all(&self) -> bool {
        self.shards.len() == self.keyspace.shards.len()
    }

    #[inline]
    fn must_have(&self, keys: &[LocatedKey<'_>]) -> Result<(), NotHeld> {
        keys.iter().all(|key| self.shards.has(key.shard)).then_some(()).ok_or(NotHeld)
    }

    /// From now on until they are released, whoever needs one of the shards gives up at once.
    pub fn give_notice(&mut self, busy: Busy) {
        self.gave_notice = true;
        self.keyspace.shards.set_notice(self.shards, Some(busy));
    }

    fn end_notice(&self) {
        if self.gave_notice {
            self.keyspace.shards.set_notice(self.shards, None);
        }
    }
}

/// The whole keyspace, held by a transaction.
pub struct AllHeld<'a, 'l> {
    keyspace: &'a Keyspace,
    shards: &'a mut Locked<'l>,
    epoch: Epoch,
}

impl AllHeld<'_, '_> {
    /// As [`Keyspace::database_number`].
    #[must_use]
    pub fn database_number(&self, number: i64) -> Option<DatabaseNumber> {
        self.keyspace.database_number(number)
    }

    /// Number of keys of one database, expired ones included.
    #[must_use]
    pub fn database_len(&self, database: DatabaseNumber) -> usize {
        let databases = self.shards.all().filter_map(|shard| shard.database(database));
        databases.map(|database| database.table.len()).sum()
    }

    /// As [`Keyspace::for_each_key`].
    pub fn for_each_key(
        &self,
        database: DatabaseNumber,
        now: UnixMillis,
        mut each: impl FnMut(&[u8]),
    ) {
        let mut each = |entry: &Entry| each(entry.key());
        self.shards.all().for_each(|shard| shard.for_each_entry(database, now, &mut each));
    }

    /// As [`Keyspace::for_each_of_all`].
    pub fn for_each_of_all(&self, now: UnixMillis, mut each: impl FnMut(DatabaseNumber, &Entry)) {
        self.shards.all().for_each(|shard| shard.for_each_of_all(now, &mut each));
    }

    /// As [`Keyspace::scan`].
    pub fn scan(
        &self,
        database: DatabaseNumber,
        cursor: Position,
        count: usize,
        now: UnixMillis,
        mut each: impl FnMut(&Entry),
    ) -> Option<Position> {
        let bits = self.keyspace.shards.bits();
        let Ok(next) = scan_shards(bits, cursor, count, |number, position, left| {
            Ok::<_, Infallible>(
                self.shards.read(number).scan(database, position, left, now, &mut each),
            )
        });
        next
    }

    /// As [`Keyspace::random_key`].
    pub fn random_key(
        &self,
        database: DatabaseNumber,
        now: UnixMillis,
        random: &mut Random,
    ) -> Option<Vec<u8>> {
        let len = |shard: &Shard| {
            shard.database(database).map_or(0, |database| database.table.len() as u64)
        };
        for _ in 0..DRAWS_MAX {
            let number = draw_shard(self.shards.all().map(len), random)?;
            if let Some(key) = self.shards.read(number).random_key(database, now, random) {
                return Some(key);
            }
        }
        let scan = |cursor, each: &mut dyn FnMut(&Entry)| {
            Ok::<_, Infallible>(self.scan(database, cursor, 1, now, each))
        };
        let Ok(first) = first_key(scan);
        first
    }

    /// As [`Keyspace::read_any`].
    pub fn read_any<R>(
        &self,
        database: DatabaseNumber,
        now: UnixMillis,
        tally: &Tally,
        read: impl FnOnce(&ReadAnyView<'_, '_>) -> R,
    ) -> R {
        let shards = Readable::Locked(self.shards);
        read(&ReadAnyView { shards, keyspace: self.keyspace, database, now, tally })
    }

    /// As [`Keyspace::write_any`].
    pub fn write_any<R>(
        &mut self,
        database: DatabaseNumber,
        now: UnixMillis,
        after: &mut AfterUnlock,
        write: impl FnOnce(&mut WriteAnyView<'_, '_>) -> R,
    ) -> R {
        let (keyspace, epoch) = (self.keyspace, self.epoch);
        write(&mut WriteAnyView { shards: self.shards, keyspace, database, now, epoch, after })
    }

    /// As [`Keyspace::flush`].
    pub fn flush(&mut self, after: &mut AfterUnlock) {
        self.shards.all_mut().for_each(|shard| shard.clear_all(self.epoch, after));
    }

    /// As [`Keyspace::flush_database`].
    pub fn flush_database(&mut self, database: DatabaseNumber, after: &mut AfterUnlock) {
        let shards = self.shards.all_that(|shard| shard.has_keys(database));
        shards.for_each(|shard| shard.clear(database, self.epoch, after));
    }

    /// As [`Keyspace::swap_databases`].
    pub fn swap_databases(
        &mut self,
        a: DatabaseNumber,
        b: DatabaseNumber,
        now: UnixMillis,
        after: &mut AfterUnlock,
    ) {
        self.shards.shard(0).note_changes(1, self.epoch);
        let shards = self.shards.all_that(|shard| shard.has_keys(a) || shard.has_keys(b));
        shards.for_each(|shard| shard.swap(a, b, now, self.epoch, after));
    }
}
