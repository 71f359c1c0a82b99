//! Layer 2: the keyspace, and the only doors to it.
//!
//! A door takes the locks, lends a view to a closure, and releases the locks: nothing borrowed
//! from a shard can leave it, and nobody can hold a lock across anything that waits.
//!
//! ```compile_fail
//! # use my_redis::keyspace::{Keyspace, Tally};
//! # use my_redis::util::clock::UnixMillis;
//! # let (keyspace, tally) = (Keyspace::new(1), Tally::default());
//! let key = keyspace.locate(b"key");
//! let stolen = keyspace.read(key, UnixMillis(0), &tally, |view| view.value());
//! ```
//!
//! | door | locks | what it guarantees |
//! |---|---|---|
//! | `read`, `write` | one shard | one key, atomically |
//! | `read_many`, `write_many` | the shards of all keys, ascending | all keys at one moment |
//! | `read_any`, `write_any` | the shards of some keys, or all | any key there, at one moment |
//! | `for_each_key` | all shards, each released once walked | all keys of one moment |
//! | the same of many keys | as a snapshot | the same |
//! | `flush`, `swap_databases` | all shards | everything changes at one moment |
//! | `scan`, `sweep_expired`, `evict`, snapshot steps | one shard at a time | see each |
//!
//! The doors of commands return [`Busy`], and nothing was run, when a script that has lasted too
//! long holds a shard that they need. Work in the background waits for it instead.

mod after;
mod database;
mod entry;
mod events;
mod evict;
mod expiry;
mod figures;
mod held;
mod lock;
mod observe;
pub mod planted;
mod shard;
mod snapshot;
#[cfg(all(test, not(feature = "shuttle")))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
mod uses;
mod view;
mod wait;
mod watch;

pub use after::{AfterUnlock, Garbage};
pub use database::DatabaseNumber;
pub use entry::{Entry, Version};
pub use events::KeyEvent;
pub use evict::{Among, Evicted, First, Order, Pool};
pub use expiry::STALE_ITEMS_ALLOWED;
pub use figures::ShardFigures;
pub use held::{AllHeld, Held, NotHeld, ShardSet};
pub use lock::{Busy, LongWait};
pub use snapshot::{AsideExceeded, Snapshot};
pub use uses::{LastUse, Uses};
pub use view::{
    DEADLINE_SLOT_BYTES, KEY_SLOT_BYTES, KeptKey, LocatedKey, NewDeadline, ReadAnyView,
    ReadManyView, ReadView, Tally, WriteAnyView, WriteManyView, WriteView, WrongType,
};
pub use wait::{Line, ReadyKey, Ticket, Waiter};
pub use watch::Watches;

use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use crate::util::hash::{KeyHash, POSITION_BITS, POSITION_END, Position};
use crate::util::random::Random;
use database::Place;
pub use lock::LOOK_AHEAD_MAX;
use lock::{FEW_SHARDS, LockOrder, Readable, Shards};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Entries that are loaded ahead for one key: one in six has a second that could be its own.
const CANDIDATES_MAX: usize = 2;

/// What a database of so few keys needs is near anyway: small ones fit in a core's own cache.
const NEAR_KEYS_MAX: u64 = 4_096;

/// One step of the search for several keys.
type Ahead<T> = SmallVec<[T; CANDIDATES_MAX * LOOK_AHEAD_MAX]>;

/// The most shards that a keyspace can have.
pub const SHARDS_MAX: usize = 1 << 12;
/// The most databases that a keyspace can have.
pub const DATABASES_MAX: usize = 1 << 14;

/// The sweeper holds a shard's lock for about this long at a time.
const SWEEP_HOLD_MAX: Duration = Duration::from_micros(500);
/// So many keys are walked in about a millisecond.
const FEW_KEYS: usize = 20_000;
/// Keys that are drawn until one has not expired.
const DRAWS_MAX: usize = 100;
/// Keys removed between two looks at the time.
const SWEEP_BATCH: usize = 32;

/// What one sweep of expired keys did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Keys removed.
    pub removed: u64,
    /// By how many milliseconds the latest removal was late.
    pub lag_max_ms: u64,
}

/// The figures of a keyspace for those who may not touch its keys.
#[derive(Debug, Clone)]
pub struct Figures(Arc<Keyspace>);

impl Figures {
    /// The figures of `keyspace`.
    #[must_use]
    pub fn new(keyspace: Arc<Keyspace>) -> Self {
        Self(keyspace)
    }

    /// Figures of every shard, read without locks.
    pub fn shards(&self) -> impl Iterator<Item = &ShardFigures> {
        self.0.figures()
    }

    /// Number of databases.
    #[must_use]
    pub fn database_count(&self) -> usize {
        self.0.database_count()
    }

    /// The databases that have keys: the number of each, its keys, and how many of them have a
    /// deadline. Cost: O(shards), more with keys in other databases than the first.
    pub fn databases(&self) -> impl Iterator<Item = (DatabaseNumber, u64, u64)> {
        let sums = self.0.shards.database_sums(self.0.databases);
        let numbered = (0..).zip(sums).map(|(number, (keys, dying))| (number, keys, dying));
        numbered.filter(|(_, keys, _)| *keys > 0)
    }

    /// The database with this number, `None` when there is none.
    #[must_use]
    pub fn database_number(&self, number: i64) -> Option<DatabaseNumber> {
        self.0.database_number(number)
    }

    /// A client's list of watched keys, empty.
    #[must_use]
    pub fn watches(&self) -> Watches {
        Watches::new(Arc::clone(&self.0))
    }

    /// Has every change of a key noted from now on, or no longer: see [`AfterUnlock`].
    pub fn note_changes(&self, on: bool) {
        self.0.shards.note_changes(on);
    }

    /// The sum of one figure over all shards.
    #[must_use]
    pub fn sum(&self, figure: impl Fn(&ShardFigures) -> u64) -> u64 {
        self.0.figures().map(figure).sum()
    }
}

/// Keys of a dump on their way into the keyspace, sorted by shard.
#[derive(Debug)]
pub struct LoadBatch {
    by_shard: Vec<Vec<LoadKey>>,
    len: usize,
}

#[derive(Debug)]
struct LoadKey {
    place: Place,
    offset: u64,
    entry: Entry,
}

impl LoadBatch {
    /// An empty batch for `keyspace`.
    #[must_use]
    pub fn new(keyspace: &Keyspace) -> Self {
        Self { by_shard: (0..keyspace.shard_count()).map(|_| Vec::new()).collect(), len: 0 }
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `entry` in for a database; `offset` is where it was read, to tell which of several keys
    /// is there twice.
    pub fn add(
        &mut self,
        keyspace: &Keyspace,
        database: DatabaseNumber,
        offset: u64,
        entry: Entry,
    ) {
        let key = keyspace.locate(entry.key()).in_database(database);
        let place = key.place();
        if let Some(keys) = self.by_shard.get_mut(key.shard) {
            keys.push(LoadKey { place, offset, entry });
            self.len += 1;
        }
    }
}

/// All keys, spread over shards by the hash of the key: a key has the same shard in every database.
#[derive(Debug)]
pub struct Keyspace {
    shards: Shards,
    databases: usize,
    /// A save waits for the snapshot of a command: no other command is to take one before it.
    save_waits: AtomicBool,
}

impl Keyspace {
    /// An empty keyspace of one database with `shards` shards, rounded up to a power of two, at
    /// most [`SHARDS_MAX`].
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self::with_databases(shards, 1)
    }

    /// As [`new`](Self::new), with so many databases, at most [`DATABASES_MAX`].
    #[must_use]
    pub fn with_databases(shards: usize, databases: usize) -> Self {
        let shards = shards.clamp(1, SHARDS_MAX).next_power_of_two();
        let databases = databases.clamp(1, DATABASES_MAX);
        let shards = Shards::new(shards.trailing_zeros(), databases);
        Self { shards, databases, save_waits: AtomicBool::new(false) }
    }

    /// The same, with `long_wait` run whenever a thread has to wait for a shard for long: it may
    /// have the thread's other work done elsewhere.
    #[must_use]
    pub fn with_long_wait(mut self, long_wait: LongWait) -> Self {
        self.shards.set_long_wait(long_wait);
        self
    }

    /// Number of databases.
    #[must_use]
    pub fn database_count(&self) -> usize {
        self.databases
    }

    /// Number of shards.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The database with this number, `None` when there is none.
    #[must_use]
    pub fn database_number(&self, number: i64) -> Option<DatabaseNumber> {
        let number = DatabaseNumber::try_from(number).ok()?;
        ((number as usize) < self.databases).then_some(number)
    }

    /// Figures of every shard, read without locks: together they are of no single moment.
    pub fn figures(&self) -> impl Iterator<Item = &ShardFigures> {
        self.shards.all_figures()
    }

    /// Number of keys of one database. Cost: O(shards), no locks.
    #[must_use]
    pub fn database_len(&self, database: DatabaseNumber) -> usize {
        let keys: u64 = self.figures().map(|shard| shard.keys_of(database)).sum();
        usize::try_from(keys).unwrap_or(usize::MAX)
    }

    /// Number of keys of all databases. Cost: O(shards), no locks.
    #[must_use]
    pub fn len(&self) -> usize {
        let keys: u64 = self.figures().map(ShardFigures::keys).sum();
        usize::try_from(keys).unwrap_or(usize::MAX)
    }

    /// True when there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes since the last good save. Cost: O(shards), no locks.
    #[must_use]
    pub fn changes_since_save(&self) -> u64 {
        self.figures().map(ShardFigures::changes_since_save).sum()
    }

    /// The hash of a key of database 0, and its shard.
    #[inline]
    #[must_use]
    pub fn locate<'k>(&self, key: &'k [u8]) -> LocatedKey<'k> {
        self.locate_hashed(key, KeyHash::of_key(key))
    }

    /// As [`locate`](Self::locate), of a key whose hash is known.
    #[inline]
    #[must_use]
    pub fn locate_hashed<'k>(&self, key: &'k [u8], hash: KeyHash) -> LocatedKey<'k> {
        LocatedKey { key, hash, shard: hash.shard(self.shards.bits()), database: 0 }
    }

    /// Brings the entries of several keys near the core that will need them soon.
    ///
    /// Finding one entry waits for memory several times in a row: the tags, the block, the
    /// entry. Asked for together, the waits of up to [`LOOK_AHEAD_MAX`] keys overlap. Nothing
    /// depends on it; shards that are being changed are left out. Does nothing while there are few
    /// keys, as it seems by the shard of the first. Cost: O(keys).
    pub fn look_ahead(&self, database: DatabaseNumber, hashes: &[KeyHash]) {
        let bits = self.shards.bits();
        let Some(first) = hashes.first() else { return };
        if self.shards.figures(first.shard(bits)).keys_of(database) << bits <= NEAR_KEYS_MAX {
            return;
        }
        let shards: Ahead<usize> = hashes.iter().map(|hash| hash.shard(bits)).collect();
        self.shards.try_read_several(&shards, |guards| {
            // One step of all keys after the other: a loop of few instructions is far ahead of the
            // loads that it waits for.
            let segments: Ahead<_> = guards
                .iter()
                .zip(hashes)
                .filter_map(|(shard, hash)| {
                    Some((shard.as_ref()?.database(database)?.table.segment_of(*hash), *hash))
                })
                .collect();
            let mut entries: Ahead<&Entry> = SmallVec::new();
            for (segment, hash) in &segments {
                for entry in segment.candidates(*hash).take(CANDIDATES_MAX) {
                    entries.push(entry);
                }
            }
            let large = entries.iter().fold(false, |any, entry| any | entry.is_large());
            // What is loaded is not needed, only that it was loaded.
            std::hint::black_box(large);
            let ends = entries.iter().fold(0, |sum, entry| sum ^ entry.ends());
            std::hint::black_box(ends);
        });
    }

    /// Lends one key for reading.
    #[inline]
    pub fn read<R>(
        &self,
        key: LocatedKey<'_>,
        now: UnixMillis,
        tally: &Tally,
        read: impl FnOnce(&ReadView<'_>) -> R,
    ) -> Result<R, Busy> {
        self.shards.read(key.shard, |shard| read(&ReadView::new(shard, key, now, tally)))
    }

    /// Lends one key for writing.
    #[inline]
    pub fn write<R>(
        &self,
        key: LocatedKey<'_>,
        now: UnixMillis,
        after: &mut AfterUnlock,
        write: impl FnOnce(&mut WriteView<'_>) -> R,
    ) -> Result<R, Busy> {
        let stale = planted::is_on(planted::Bug::StaleWrite).then(|| self.copy_alone(key, now));
        self.shards.write(key.shard, |shard, epoch| {
            let mut view = WriteView::new(shard, key, now, epoch, after);
            match stale {
                None => {}
                Some(Some(entry)) => view.put(entry),
                Some(None) => drop(view.remove()),
            }
            write(&mut view)
        })
    }

    /// What a key holds, and a moment for others to change it.
    fn copy_alone(&self, key: LocatedKey<'_>, now: UnixMillis) -> Option<Entry> {
        let copied = self.read(key, now, &Tally::default(), |view| view.copy());
        std::thread::yield_now();
        copied.unwrap_or(None)
    }

    /// Lends several keys for reading, all at one moment.
    pub fn read_many<R>(
        &self,
        keys: &[LocatedKey<'_>],
        now: UnixMillis,
        tally: &Tally,
        read: impl FnOnce(&ReadManyView<'_, '_>) -> R,
    ) -> Result<R, Busy> {
        let order = LockOrder::new(keys.iter().map(|key| key.shard));
        self.shards.read_many(&order, |shards| {
            read(&ReadManyView { shards: Readable::Shared(shards), keys, now, tally })
        })
    }

    /// Lends several keys for writing.
    pub fn write_many<R>(
        &self,
        keys: &[LocatedKey<'_>],
        now: UnixMillis,
        after: &mut AfterUnlock,
        write: impl FnOnce(&mut WriteManyView<'_, '_>) -> R,
    ) -> Result<R, Busy> {
        let order = LockOrder::new(keys.iter().map(|key| key.shard));
        self.shards.write_many(&order, |shards, epoch| {
            write(&mut WriteManyView { shards, keys, now, epoch, after })
        })
    }

    /// The shards of `keys`, or all.
    fn order_of(&self, keys: Option<&[&[u8]]>) -> LockOrder {
        match keys {
            Some(keys) => LockOrder::new(keys.iter().map(|key| self.locate(key).shard)),
            None => LockOrder::all(&self.shards),
        }
    }

    /// Lends keys of a database for reading that are known only while it goes on, all at one
    /// moment: `keys`, or with `None` any. Then every shard is locked.
    pub fn read_any<R>(
        &self,
        database: DatabaseNumber,
        keys: Option<&[&[u8]]>,
        now: UnixMillis,
        tally: &Tally,
        read: impl FnOnce(&ReadAnyView<'_, '_>) -> R,
    ) -> Result<R, Busy> {
        let order = self.order_of(keys);
        self.shards.read_many(&order, |shards| {
            let shards = Readable::Shared(shards);
            read(&ReadAnyView { shards, keyspace: self, database, now, tally })
        })
    }

    /// As [`read_any`](Self::read_any), for writing.
    pub fn write_any<R>(
        &self,
        database: DatabaseNumber,
        keys: Option<&[&[u8]]>,
        now: UnixMillis,
        after: &mut AfterUnlock,
        write: impl FnOnce(&mut WriteAnyView<'_, '_>) -> R,
    ) -> Result<R, Busy> {
        let order = self.order_of(keys);
        self.shards.write_many(&order, |shards, epoch| {
            write(&mut WriteAnyView { shards, keyspace: self, database, now, epoch, after })
        })
    }

    /// Calls `each` with every key of a database that is there at one moment. Cost: O(keys).
    ///
    /// Few keys are walked under the locks of all shards, each released once it was walked. Many
    /// are walked as a save does it, so that nobody waits for more than a segment; then it also
    /// waits for a script that lasts too long. While there is a save, all are walked as few are.
    pub fn for_each_key(
        &self,
        database: DatabaseNumber,
        now: UnixMillis,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Busy> {
        let many = self.database_len(database) > FEW_KEYS;
        if let Some(mut snapshot) = many.then(|| self.begin_reading()).flatten() {
            let (mut keys, mut ends) = (Vec::new(), Vec::new());
            let mut more = true;
            while more {
                keys.clear();
                ends.clear();
                let mut see = |of: DatabaseNumber, entry: &Entry| {
                    if of == database && !entry.is_expired(now) {
                        keys.extend_from_slice(entry.key());
                        ends.push(keys.len());
                    }
                };
                // It is never given up: it may need any memory.
                more = snapshot.step_in_place(&mut see) == Ok(true);
                let mut start = 0;
                for end in &ends {
                    each(keys.get(start..*end).unwrap_or_default());
                    start = *end;
                }
            }
            return Ok(());
        }
        let mut each = |entry: &Entry| each(entry.key());
        self.shards.read_all(|shard| shard.for_each_entry(database, now, &mut each))
    }

    /// Calls `each` with every entry of all databases that is there at one moment, and the number
    /// of its database. All shards are locked for reading first, and each is released once it was
    /// walked. Cost: O(keys).
    ///
    /// # Errors
    /// When a busy script holds one of the shards.
    pub fn for_each_of_all(
        &self,
        now: UnixMillis,
        mut each: impl FnMut(DatabaseNumber, &Entry),
    ) -> Result<(), Busy> {
        self.shards.read_all(|shard| shard.for_each_of_all(now, &mut each))
    }

    /// Calls `each` with at least `count` entries of a database from `cursor` on, fewer only at the
    /// end; returns where to go on, `None` at the end.
    ///
    /// What is there from the first call to the last is seen exactly once. Expired entries are
    /// counted but not shown. Cost: O(count + entries of a segment + shards).
    pub fn scan(
        &self,
        database: DatabaseNumber,
        cursor: Position,
        count: usize,
        now: UnixMillis,
        mut each: impl FnMut(&Entry),
    ) -> Result<Option<Position>, Busy> {
        scan_shards(self.shards.bits(), cursor, count, |number, from, left| {
            self.shards.read(number, |shard| shard.scan(database, from, left, now, &mut each))
        })
    }

    /// A key of a database drawn at random, each as likely; `None` when there are none.
    ///
    /// What has expired is drawn again, a bounded number of times; then the first key of the walk
    /// is taken that has not. Cost: O(shards) expected.
    pub fn random_key(
        &self,
        database: DatabaseNumber,
        now: UnixMillis,
        random: &mut Random,
    ) -> Result<Option<Vec<u8>>, Busy> {
        for _ in 0..DRAWS_MAX {
            let lens = self.figures().map(|shard| shard.keys_of(database));
            let Some(number) = draw_shard(lens, random) else { return Ok(None) };
            let draw = |shard: &shard::Shard| shard.random_key(database, now, random);
            if let Some(key) = self.shards.read(number, draw)? {
                return Ok(Some(key));
            }
        }
        first_key(|cursor, each| self.scan(database, cursor, 1, now, each))
    }

    /// Removes every key of all databases at one moment. Cost: O(shards * databases) under the
    /// locks; the values are freed by whoever takes them from `after`.
    pub fn flush(&self, after: &mut AfterUnlock) -> Result<(), Busy> {
        self.shards.write_all(|shard, epoch| shard.clear_all(epoch, after))
    }

    /// Removes every key of one database at one moment. Cost: O(shards) under the locks; the values
    /// are freed by whoever takes them from `after`.
    pub fn flush_database(
        &self,
        database: DatabaseNumber,
        after: &mut AfterUnlock,
    ) -> Result<(), Busy> {
        let has_keys = |shard: &shard::Shard| shard.has_keys(database);
        self.shards.write_all_that(has_keys, |shard, epoch| shard.clear(database, epoch, after))
    }

    /// Lets two databases change their numbers at one moment. Cost: O(shards) under the locks.
    pub fn swap_databases(
        &self,
        a: DatabaseNumber,
        b: DatabaseNumber,
        now: UnixMillis,
        after: &mut AfterUnlock,
    ) -> Result<(), Busy> {
        self.shards.write_many(&LockOrder::all(&self.shards), |locked, epoch| {
            locked.shard(0).note_changes(1, epoch);
            let has_keys = |shard: &shard::Shard| shard.has_keys(a) || shard.has_keys(b);
            locked.all_that(has_keys).for_each(|shard| shard.swap(a, b, now, epoch, after));
        })
    }

    /// The earliest deadline of all shards; `None` when no key has one. Cost: O(shards), no locks.
    #[must_use]
    pub fn earliest_deadline(&self) -> Option<UnixMillis> {
        let earliest = self.figures().map(ShardFigures::earliest_deadline).min()?;
        (earliest != UnixMillis::MAX).then_some(earliest)
    }

    /// Removes the keys whose deadline has come, holding no lock for longer than about half a
    /// millisecond; what is to be freed, and the events of `wanted` classes, go to `settle`, while
    /// no lock is held.
    pub fn sweep_expired(
        &self,
        now: UnixMillis,
        wanted: EventSet,
        mut settle: impl FnMut(&mut AfterUnlock),
    ) -> Swept {
        let mut swept = Swept::default();
        let mut after = AfterUnlock::default();
        after.want_events(wanted);
        for number in 0..self.shards.len() {
            while self.shards.figures(number).earliest_deadline() <= now {
                let (removed, lag_ms) = self.shards.write_fair(number, |shard, epoch| {
                    let began = Instant::now();
                    let (mut removed, mut lag_max_ms) = (0, 0);
                    while began.elapsed() < SWEEP_HOLD_MAX && shard.earliest_deadline() <= now {
                        let (count, lag_ms) = shard.remove_due(now, SWEEP_BATCH, epoch, &mut after);
                        removed += count;
                        lag_max_ms = lag_ms.max(lag_max_ms);
                    }
                    (removed, lag_max_ms)
                });
                swept.removed += removed as u64;
                swept.lag_max_ms = swept.lag_max_ms.max(lag_ms);
                settle(&mut after);
                while let Some(ready) = after.take_ready() {
                    self.serve_waiters(ready, now, &mut after);
                    settle(&mut after);
                }
            }
        }
        swept
    }

    /// Adds the keys of `batch`, which were read from a dump, and empties it; they do not count as
    /// changes. Returns how many were added; `duplicate` is called for those that are there
    /// already.
    ///
    /// Each shard is locked once. Cost: O(keys + shards).
    pub fn load(
        &self,
        batch: &mut LoadBatch,
        after: &mut AfterUnlock,
        mut duplicate: impl FnMut(u64, &[u8]),
    ) -> u64 {
        let mut added = 0;
        batch.len = 0;
        for (number, keys) in batch.by_shard.iter_mut().enumerate() {
            if keys.is_empty() {
                continue;
            }
            self.shards.write_fair(number, |shard, epoch| {
                for LoadKey { place, offset, mut entry } in keys.drain(..) {
                    if shard.find(place, entry.key()).is_some() {
                        duplicate(offset, entry.key());
                        continue;
                    }
                    entry.set_version(epoch.number);
                    shard.insert(place, entry, after);
                    added += 1;
                }
            });
        }
        added
    }
}

/// The number of the shard that has a key drawn at random, each as likely, by how many keys each
/// shard has; `None` when there are none.
fn draw_shard(lens: impl Iterator<Item = u64>, random: &mut Random) -> Option<usize> {
    // They may be those of other moments when read again.
    let lens: SmallVec<[u64; FEW_SHARDS]> = lens.collect();
    let sum: u64 = lens.iter().sum();
    let mut place = random.below(usize::try_from(sum).unwrap_or(usize::MAX)) as u64;
    lens.iter().position(|len| {
        let is_here = place < *len;
        place = place.saturating_sub(*len);
        is_here
    })
}

/// The first key that a walk by `scan` shows.
fn first_key<E>(
    scan: impl Fn(Position, &mut dyn FnMut(&Entry)) -> Result<Option<Position>, E>,
) -> Result<Option<Vec<u8>>, E> {
    let (mut cursor, mut first) = (Some(0), None);
    while let Some(position) = cursor.filter(|_| first.is_none()) {
        cursor = scan(position, &mut |entry| {
            first.get_or_insert_with(|| entry.key().to_vec());
        })?;
    }
    Ok(first)
}

/// Walks shard after shard with `step`, which gets the number of a shard, the position to go on
/// from and how many entries are left to see, until none is; returns where to go on.
fn scan_shards<E>(
    bits: u32,
    cursor: Position,
    count: usize,
    mut step: impl FnMut(usize, Position, &mut usize) -> Result<Position, E>,
) -> Result<Option<Position>, E> {
    let mut position = cursor;
    let mut left = count.max(1);
    while position < POSITION_END && left > 0 {
        let hash = KeyHash::from_bits(position << (64 - POSITION_BITS));
        position = step(hash.shard(bits), position, &mut left)?;
    }
    Ok((position < POSITION_END).then_some(position))
}
