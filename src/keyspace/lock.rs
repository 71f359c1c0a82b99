//! The locks: the only file that names them, so that the order of locking is decided here alone.
//!
//! Every shard has a reader-writer lock. Who needs several takes them in ascending order, each
//! once; nobody takes a lock while holding one otherwise. In debug builds a second lock on the same
//! thread panics, a read lock inside a read lock included: a reader queues behind a waiting
//! writer, so even that can deadlock.
//!
//! The snapshot epoch is read here, **after** all locks of a change are held, and handed to the
//! change together with the shards: there is no other way to get it. Read before the locks, it
//! would let a change of two shards end up half in a snapshot.
//!
//! A change that panics ends the process: it may have left a shard half changed, and the next save
//! would keep that. Reading that panics has changed nothing: its locks are free again, and only its
//! client is gone.
//!
//! A script may hold shards for as long as it likes. Once it has lasted too long it gives notice,
//! and who waits for one of its shards, or comes for one, gives up (`mod waiting`). The doors of
//! commands then return `Busy`. Work in the background waits on, holding nothing.
//!
//! With the feature `shuttle` the locks and the epoch are those of a scheduler that tries
//! interleavings.

use crate::keyspace::entry::Version;
use crate::keyspace::figures::ShardFigures;
use crate::keyspace::planted::{self, Bug};
use crate::keyspace::shard::Shard;
use crossbeam_utils::CachePadded;
use smallvec::SmallVec;
use std::sync::atomic::AtomicU8 as PlainAtomicU8;
use std::sync::atomic::Ordering;

#[cfg(not(feature = "shuttle"))]
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(feature = "shuttle")]
use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
#[cfg(feature = "shuttle")]
use shuttle_parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(feature = "shuttle"))]
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

/// A shared lock on one shard.
pub type SharedGuard<'a> = RwLockReadGuard<'a, Shard>;
/// An exclusive lock on one shard.
type ExclusiveGuard<'a> = RwLockWriteGuard<'a, Shard>;

/// Keys that are looked up together ahead of time at most.
pub const LOOK_AHEAD_MAX: usize = 16;

/// Shards that a command of a few keys locks without an allocation.
pub const FEW_SHARDS: usize = 8;

/// A script that has lasted too long holds a shard that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Busy {
    /// It was sent by EVAL.
    Script = 1,
    /// It is a function.
    Function = 2,
}

/// Runs its argument once, where it does not hold up others although it may wait for long.
pub type LongWait = fn(&mut dyn FnMut());

/// The snapshot epoch as a change finds it once it holds its locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Its number; everything changed now gets it as version.
    pub number: Version,
    /// True while a snapshot of this epoch is being taken.
    pub running: bool,
    /// True while every change of a key is to be noted, for clients that keep copies.
    pub notes_changes: bool,
}

/// The bit of the word of the epoch that says that changes are to be noted.
const NOTES_CHANGES: u64 = 1 << 63;

#[derive(Debug)]
struct LockedShard {
    shard: RwLock<Shard>,
    figures: ShardFigures,
    /// The notice of the script that holds it, as a [`Busy`], or 0.
    notice: PlainAtomicU8,
}

/// All shards, each behind its lock.
#[derive(Debug)]
pub struct Shards {
    shards: Box<[CachePadded<LockedShard>]>,
    bits: u32,
    /// Twice the epoch, plus one while its snapshot runs, and the top bit while changes are noted:
    /// one word, so that no change sees one
    /// without the other.
    epoch: CachePadded<AtomicU64>,
    aside: CachePadded<AsideLimit>,
    long_wait: LongWait,
}

/// For what a snapshot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CutHolder {
    /// To be kept in a file.
    Save = 1,
    /// To be looked at by a command.
    Reader = 2,
}

/// What the one snapshot at a time may keep in memory beyond the data.
#[derive(Debug)]
struct AsideLimit {
    /// Who has a snapshot, as a [`CutHolder`] or 0, until all that it kept is freed.
    holder: AtomicU8,
    /// True when the snapshot was given up because it would have kept more than it may.
    exceeded: AtomicBool,
    bytes: AtomicU64,
    bytes_max: AtomicU64,
}

type ExclusiveGuards<'a> = SmallVec<[ExclusiveGuard<'a>; FEW_SHARDS]>;

/// Exclusive locks on several shards, in ascending order.
pub struct Locked<'a> {
    guards: ExclusiveGuards<'a>,
    numbers: &'a [usize],
    /// Which of them were lent for changing: who locks all shards changes few of them.
    lent: SmallVec<[bool; FEW_SHARDS]>,
    shards: &'a Shards,
}

/// Shared locks on several shards, in ascending order.
pub struct Shared<'a> {
    guards: SmallVec<[SharedGuard<'a>; FEW_SHARDS]>,
    numbers: &'a [usize],
}

impl Locked<'_> {
    /// True when the shard with this number is one of them. Cost: O(log n).
    #[inline]
    pub fn has(&self, number: usize) -> bool {
        index_of(self.numbers, number) != usize::MAX
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// If this bug is planted, lets go of all of them for a moment, in which others may come.
    #[inline]
    pub fn let_go_if(&mut self, bug: Bug) {
        if planted::is_on(bug) {
            self.guards.clear();
            std::thread::yield_now();
            self.guards = self.shards.patiently(|| self.shards.exclusive_all(self.numbers));
        }
    }

    /// The shard with this number, which must be one of those asked for.
    #[inline]
    pub fn shard(&mut self, number: usize) -> &mut Shard {
        let index = index_of(self.numbers, number);
        if let Some(lent) = self.lent.get_mut(index) {
            *lent = true;
        }
        #[expect(clippy::indexing_slicing, reason = "the door locked the shards of all its keys")]
        &mut self.guards[index]
    }

    /// The same for reading.
    #[inline]
    pub fn read(&self, number: usize) -> &Shard {
        let index = index_of(self.numbers, number);
        #[expect(clippy::indexing_slicing, reason = "the door locked the shards of all its keys")]
        &self.guards[index]
    }

    /// All of them in their order.
    pub fn all(&self) -> impl Iterator<Item = &Shard> {
        self.guards.iter().map(|guard| &**guard)
    }

    /// Those that are concerned, in their order, for changing; the others stay as they are.
    pub fn all_that(
        &mut self,
        is_concerned: impl Fn(&Shard) -> bool,
    ) -> impl Iterator<Item = &mut Shard> {
        self.guards.iter_mut().zip(&mut self.lent).filter_map(move |(guard, lent)| {
            let is_concerned = is_concerned(guard);
            *lent |= is_concerned;
            is_concerned.then_some(&mut **guard)
        })
    }

    /// All of them in their order, for changing.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.lent.fill(true);
        self.guards.iter_mut().map(|guard| &mut **guard)
    }
}

/// Shards for reading, under shared locks or under exclusive ones.
#[derive(Clone, Copy)]
pub enum Readable<'a, 'l> {
    /// Locked for this.
    Shared(&'a Shared<'l>),
    /// Held by a transaction.
    Locked(&'a Locked<'l>),
}

impl<'a> Readable<'a, '_> {
    /// The shard with this number, which must be one of those asked for.
    #[inline]
    pub fn shard(self, number: usize) -> &'a Shard {
        match self {
            Self::Shared(shards) => shards.shard(number),
            Self::Locked(shards) => shards.read(number),
        }
    }
}

impl Shared<'_> {
    /// The shard with this number, which must be one of those asked for.
    #[inline]
    pub fn shard(&self, number: usize) -> &Shard {
        let index = index_of(self.numbers, number);
        #[expect(clippy::indexing_slicing, reason = "the door locked the shards of all its keys")]
        &self.guards[index]
    }
}

fn index_of(numbers: &[usize], number: usize) -> usize {
    if planted::is_on(Bug::UnorderedLocks) {
        return numbers.iter().position(|n| *n == number).unwrap_or(usize::MAX);
    }
    numbers.binary_search(&number).unwrap_or(usize::MAX)
}

/// The numbers of the shards to lock: ascending, each once.
#[derive(Debug)]
pub struct LockOrder(SmallVec<[usize; FEW_SHARDS]>);

impl LockOrder {
    /// Sorts and removes duplicates. Cost: O(n log n).
    pub fn new(shards: impl Iterator<Item = usize>) -> Self {
        let mut numbers: SmallVec<[usize; FEW_SHARDS]> = shards.collect();
        if planted::is_on(Bug::UnorderedLocks) {
            let mut seen = SmallVec::<[usize; FEW_SHARDS]>::new();
            numbers.retain(|n| {
                !seen.contains(n) && {
                    seen.push(*n);
                    true
                }
            });
            return Self(numbers);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers)
    }

    /// Every shard.
    pub fn all(shards: &Shards) -> Self {
        Self((0..shards.len()).collect())
    }
}

impl Shards {
    /// `1 << bits` empty shards for so many databases.
    pub fn new(bits: u32, databases: usize) -> Self {
        let shard = |number| {
            let (shard, notice) = (RwLock::new(Shard::new(number, bits)), PlainAtomicU8::new(0));
            CachePadded::new(LockedShard { shard, figures: ShardFigures::new(databases), notice })
        };
        Self {
            shards: (0..1_usize << bits).map(shard).collect(),
            bits,
            epoch: CachePadded::new(AtomicU64::new(0)),
            aside: CachePadded::new(AsideLimit {
                holder: AtomicU8::new(0),
                exceeded: AtomicBool::new(false),
                bytes: AtomicU64::new(0),
                bytes_max: AtomicU64::new(u64::MAX),
            }),
            long_wait: |wait| wait(),
        }
    }

    /// Has those who wait for long do so by `long_wait`.
    pub fn set_long_wait(&mut self, long_wait: LongWait) {
        self.long_wait = long_wait;
    }

    /// Number of shards.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// How many bits of a hash choose the shard.
    #[inline]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The figures of a shard, readable without its lock.
    pub fn figures(&self, number: usize) -> &ShardFigures {
        &self.locked(number).figures
    }

    /// Keys of each of so many databases, and how many of them have a deadline. Cost: O(shards),
    /// and of databases those in shards with keys in others than the first.
    pub fn database_sums(&self, databases: usize) -> Vec<(u64, u64)> {
        let mut sums = vec![(0, 0); databases];
        self.all_figures().for_each(|figures| figures.add_to(&mut sums));
        sums
    }

    /// The figures of all shards.
    pub fn all_figures(&self) -> impl Iterator<Item = &ShardFigures> {
        self.shards.iter().map(|locked| &locked.figures)
    }

    #[inline]
    fn locked(&self, number: usize) -> &LockedShard {
        #[expect(clippy::indexing_slicing, reason = "shard numbers come from `bits` hash bits")]
        &self.shards[number]
    }

    /// The epoch; only a door that holds its locks may ask.
    #[inline]
    fn epoch(&self) -> Epoch {
        let word = self.epoch.load(Ordering::SeqCst);
        Epoch {
            number: (word >> 1) as Version,
            running: word & 1 != 0,
            notes_changes: word & NOTES_CHANGES != 0,
        }
    }

    /// Runs `read` with a shared lock on one shard.
    #[inline]
    pub fn read<R>(&self, number: usize, read: impl FnOnce(&Shard) -> R) -> Result<R, Busy> {
        let _nesting = nesting::enter();
        let guard = self.shared(number)?;
        Ok(read(&guard))
    }

    /// As [`read`](Self::read), for background work that comes again and again: hands the lock
    /// over to whoever waits, and waits for busy scripts.
    pub fn read_fair<R>(&self, number: usize, read: impl FnOnce(&Shard) -> R) -> R {
        let _nesting = nesting::enter();
        let guard = self.patiently(|| self.shared(number));
        let result = read(&guard);
        #[cfg(not(feature = "shuttle"))]
        RwLockReadGuard::unlock_fair(guard);
        #[cfg(feature = "shuttle")]
        drop(guard);
        result
    }

    /// Runs `read` with shared locks on those of the shards that nobody is changing just now.
    ///
    /// Waits for no lock, so that the order in which they are taken does not matter.
    pub fn try_read_several<R>(
        &self,
        numbers: &[usize],
        read: impl FnOnce(&[Option<SharedGuard<'_>>]) -> R,
    ) -> R {
        let _nesting = nesting::enter();
        let guards: SmallVec<[Option<SharedGuard<'_>>; LOOK_AHEAD_MAX]> =
            numbers.iter().map(|number| self.locked(*number).shard.try_read()).collect();
        read(&guards)
    }

    /// Runs `write` with an exclusive lock on one shard.
    #[inline]
    pub fn write<R>(
        &self,
        number: usize,
        write: impl FnOnce(&mut Shard, Epoch) -> R,
    ) -> Result<R, Busy> {
        let _nesting = nesting::enter();
        let early = planted::is_on(Bug::EarlyEpoch).then(|| self.epoch());
        let locked = self.locked(number);
        let mut guard = self.exclusive(number)?;
        let epoch = early.unwrap_or_else(|| self.epoch());
        let changing = Changing::begin();
        let result = write(&mut guard, epoch);
        drop(changing);
        self.note(locked, &mut guard, epoch);
        Ok(result)
    }

    /// As [`write`](Self::write), for background work that comes again and again: as
    /// [`read_fair`](Self::read_fair).
    pub fn write_fair<R>(&self, number: usize, write: impl FnOnce(&mut Shard, Epoch) -> R) -> R {
        let _nesting = nesting::enter();
        let locked = self.locked(number);
        let mut guard = self.patiently(|| self.exclusive(number));
        let changing = Changing::begin();
        let epoch = self.epoch();
        let result = write(&mut guard, epoch);
        drop(changing);
        self.note(locked, &mut guard, epoch);
        #[cfg(not(feature = "shuttle"))]
        RwLockWriteGuard::unlock_fair(guard);
        #[cfg(feature = "shuttle")]
        drop(guard);
        result
    }

    /// Runs `read` with shared locks on all shards of `order`.
    pub fn read_many<R>(
        &self,
        order: &LockOrder,
        read: impl FnOnce(&Shared<'_>) -> R,
    ) -> Result<R, Busy> {
        let _nesting = nesting::enter();
        let guards = order.0.iter().map(|number| self.shared(*number)).collect::<Result<_, _>>()?;
        Ok(read(&Shared { guards, numbers: &order.0 }))
    }

    /// Runs `write` with exclusive locks on all shards of `order`.
    pub fn write_many<R>(
        &self,
        order: &LockOrder,
        write: impl FnOnce(&mut Locked<'_>, Epoch) -> R,
    ) -> Result<R, Busy> {
        let _nesting = nesting::enter();
        let early = planted::is_on(Bug::EarlyEpoch).then(|| self.epoch());
        let guards = self.exclusive_all(&order.0)?;
        Ok(self.change(order, guards, early, write))
    }

    /// As [`write_many`](Self::write_many), for background work: waits for busy scripts, holding
    /// nothing.
    pub fn write_many_patiently<R>(
        &self,
        order: &LockOrder,
        write: impl FnOnce(&mut Locked<'_>, Epoch) -> R,
    ) -> R {
        let _nesting = nesting::enter();
        let guards = self.patiently(|| self.exclusive_all(&order.0));
        self.change(order, guards, None, write)
    }

    fn exclusive_all(&self, numbers: &[usize]) -> Result<ExclusiveGuards<'_>, Busy> {
        numbers.iter().map(|number| self.exclusive(*number)).collect()
    }

    fn change<'s, R>(
        &'s self,
        order: &'s LockOrder,
        guards: ExclusiveGuards<'s>,
        early: Option<Epoch>,
        write: impl FnOnce(&mut Locked<'_>, Epoch) -> R,
    ) -> R {
        let lent = SmallVec::from_elem(false, guards.len());
        let mut locked = Locked { guards, numbers: &order.0, lent, shards: self };
        let epoch = early.unwrap_or_else(|| self.epoch());
        let changing = Changing::begin();
        let result = write(&mut locked, epoch);
        drop(changing);
        let Locked { guards, lent, .. } = &mut locked;
        let lent = order.0.iter().zip(guards).zip(lent).filter(|(_, lent)| **lent);
        lent.for_each(|((number, guard), _)| self.note(self.locked(*number), guard, epoch));
        result
    }

    /// Runs `read` on every shard with shared locks taken on all of them first, in order; each is
    /// released as soon as it was read. All calls see one moment.
    pub fn read_all(&self, mut read: impl FnMut(&Shard)) -> Result<(), Busy> {
        let _nesting = nesting::enter();
        let guards = (0..self.len()).map(|number| self.shared(number));
        for guard in guards.collect::<Result<Vec<_>, _>>()? {
            read(&guard);
        }
        Ok(())
    }

    /// Runs `write` on every shard with exclusive locks on all of them.
    pub fn write_all(&self, write: impl FnMut(&mut Shard, Epoch)) -> Result<(), Busy> {
        self.write_all_that(|_| true, write)
    }

    /// Runs `write` on every shard that is concerned, with exclusive locks on all of them.
    pub fn write_all_that(
        &self,
        is_concerned: impl Fn(&Shard) -> bool,
        mut write: impl FnMut(&mut Shard, Epoch),
    ) -> Result<(), Busy> {
        self.write_many(&LockOrder::all(self), |locked, epoch| {
            locked.all_that(is_concerned).for_each(|shard| write(shard, epoch));
        })
    }

    /// Has whoever waits for one of these shards, or comes for one, give up; with `None` no
    /// longer. To be called by who holds them.
    pub fn set_notice(&self, held: &Locked<'_>, notice: Option<Busy>) {
        for number in held.numbers {
            let notice = notice.map_or(0, |busy| busy as u8);
            self.locked(*number).notice.store(notice, Ordering::SeqCst);
        }
    }

    /// Notes what a change has left, while its lock is still held.
    #[inline]
    fn note(&self, locked: &LockedShard, shard: &mut Shard, epoch: Epoch) {
        if epoch.running {
            let kept = shard.aside_bytes().saturating_sub(locked.figures.aside_bytes());
            if kept > 0 {
                self.note_aside(kept);
            }
        }
        locked.figures.store(shard);
    }

    /// Gives the snapshot up when it would keep too much. Nobody waits for it then: the changes go
    /// on, and put nothing more aside.
    fn note_aside(&self, kept: u64) {
        let bytes = self.aside.bytes.fetch_add(kept, Ordering::Relaxed) + kept;
        if bytes > self.aside.bytes_max.load(Ordering::Relaxed) {
            // The walker must see this before it can meet an entry that was not put aside, so it
            // is said first.
            self.aside.exceeded.store(true, Ordering::SeqCst);
            self.end_epoch();
        }
    }

    /// Notes that so many bytes that were put aside are free again.
    pub fn note_aside_freed(&self, bytes: u64) {
        self.aside.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes that a snapshot which is being taken keeps beside the data.
    #[inline]
    pub fn kept_aside_bytes(&self) -> u64 {
        match self.aside.holder.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.aside.bytes.load(Ordering::Relaxed),
        }
    }

    /// True when the snapshot that is being taken was given up because of its memory.
    pub fn aside_exceeded(&self) -> bool {
        self.aside.exceeded.load(Ordering::SeqCst)
    }

    /// Begins a snapshot: this is its cut. Until [`release`](Self::release) was called for the one
    /// before, tells who has that.
    pub fn begin_epoch(
        &self,
        aside_bytes_max: u64,
        holder: CutHolder,
    ) -> Result<Version, CutHolder> {
        let (free, taken) = (0, holder as u8);
        let order = Ordering::SeqCst;
        match self.aside.holder.compare_exchange(free, taken, order, order) {
            Ok(_) => {}
            Err(other) if other == CutHolder::Reader as u8 => return Err(CutHolder::Reader),
            Err(_) => return Err(CutHolder::Save),
        }
        self.aside.bytes_max.store(aside_bytes_max, Ordering::SeqCst);
        self.aside.bytes.store(0, Ordering::SeqCst);
        self.aside.exceeded.store(false, Ordering::SeqCst);
        let old = self.epoch.fetch_add(3, Ordering::SeqCst);
        Ok(((old + 3) >> 1) as Version)
    }

    /// Has every change of a key noted from now on, or no longer. Who reads a key after this can
    /// be sure of it: a change that locks the shard later finds it said.
    pub fn note_changes(&self, on: bool) {
        match on {
            true => self.epoch.fetch_or(NOTES_CHANGES, Ordering::SeqCst),
            false => self.epoch.fetch_and(!NOTES_CHANGES, Ordering::SeqCst),
        };
    }

    /// Ends the snapshot that [`begin_epoch`](Self::begin_epoch) began; its number stays used up.
    pub fn end_epoch(&self) {
        self.epoch.fetch_and(!1, Ordering::SeqCst);
    }

    /// Lets the next snapshot begin: all that the last one had put aside was taken.
    pub fn release(&self) {
        self.aside.holder.store(0, Ordering::SeqCst);
    }
}

/// How a shard is waited for: the fast path is one step, as if nobody could ever give up.
#[cfg(not(feature = "shuttle"))]
mod waiting {
    use super::{Busy, ExclusiveGuard, LockedShard, Shards, SharedGuard};
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    /// Who waits no longer than this keeps its thread.
    const SHORT_WAIT: Duration = Duration::from_millis(20);
    /// Who waits longer looks for a notice this often.
    const LOOK_EVERY: Duration = Duration::from_millis(20);

    impl Shards {
        /// A shared lock, unless a script that holds the shard has given notice.
        #[inline]
        pub(super) fn shared(&self, number: usize) -> Result<SharedGuard<'_>, Busy> {
            let locked = self.locked(number);
            match locked.shard.try_read() {
                Some(guard) => Ok(guard),
                None => self.wait(locked, |limit| locked.shard.try_read_for(limit)),
            }
        }

        /// The same for an exclusive lock.
        #[inline]
        pub(super) fn exclusive(&self, number: usize) -> Result<ExclusiveGuard<'_>, Busy> {
            let locked = self.locked(number);
            match locked.shard.try_write() {
                Some(guard) => Ok(guard),
                None => self.wait(locked, |limit| locked.shard.try_write_for(limit)),
            }
        }

        #[cold]
        fn wait<Guard>(
            &self,
            locked: &LockedShard,
            try_for: impl Fn(Duration) -> Option<Guard>,
        ) -> Result<Guard, Busy> {
            let try_once = |limit| match locked.notice() {
                Some(busy) => Some(Err(busy)),
                None => try_for(limit).map(Ok),
            };
            let mut outcome = try_once(SHORT_WAIT);
            loop {
                if let Some(outcome) = outcome {
                    return outcome;
                }
                (self.long_wait)(&mut || {
                    while outcome.is_none() {
                        outcome = try_once(LOOK_EVERY);
                    }
                });
            }
        }

        /// Tries until no busy script is in the way; between two tries nothing is held.
        #[inline]
        pub(super) fn patiently<Guards>(
            &self,
            attempt: impl Fn() -> Result<Guards, Busy>,
        ) -> Guards {
            loop {
                if let Ok(guards) = attempt() {
                    return guards;
                }
                (self.long_wait)(&mut || std::thread::sleep(LOOK_EVERY));
            }
        }
    }

    impl LockedShard {
        fn notice(&self) -> Option<Busy> {
            let notice = self.notice.load(Ordering::SeqCst);
            [Busy::Script, Busy::Function].into_iter().find(|busy| *busy as u8 == notice)
        }
    }
}

/// Under the scheduler of interleavings nobody gives up: there is no time.
#[cfg(feature = "shuttle")]
mod waiting {
    use super::{Busy, ExclusiveGuard, Shards, SharedGuard};

    impl Shards {
        pub(super) fn shared(&self, number: usize) -> Result<SharedGuard<'_>, Busy> {
            Ok(self.locked(number).shard.read())
        }

        pub(super) fn exclusive(&self, number: usize) -> Result<ExclusiveGuard<'_>, Busy> {
            Ok(self.locked(number).shard.write())
        }

        pub(super) fn patiently<G>(&self, attempt: impl Fn() -> Result<G, Busy>) -> G {
            loop {
                if let Ok(guards) = attempt() {
                    return guards;
                }
            }
        }
    }
}

/// Ends the process when it is dropped by a panic that began after it.
struct Changing {
    panicked_before: bool,
}

impl Changing {
    #[inline]
    fn begin() -> Self {
        Self { panicked_before: std::thread::panicking() }
    }
}

impl Drop for Changing {
    #[inline]
    fn drop(&mut self) {
        // Under the scheduler of interleavings a panic is what a test looks for.
        if std::thread::panicking() && !self.panicked_before && !cfg!(feature = "shuttle") {
            tracing::error!("a change of the data panicked: ending without saving");
            std::process::abort();
        }
    }
}

/// Debug builds refuse a second lock on one thread.
#[cfg(all(debug_assertions, not(feature = "shuttle")))]
mod nesting {
    use std::cell::Cell;

    thread_local! {
        static HELD: Cell<bool> = const { Cell::new(false) };
    }

    pub struct Entered;

    pub fn enter() -> Entered {
        assert!(!HELD.replace(true), "a shard lock was asked for by a thread that holds one");
        Entered
    }

    impl Drop for Entered {
        fn drop(&mut self) {
            HELD.set(false);
        }
    }
}

#[cfg(any(not(debug_assertions), feature = "shuttle"))]
mod nesting {
    #[inline(always)]
    pub const fn enter() {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn lock_order_is_ascending_without_duplicates() {
        assert_eq!(LockOrder::new([3, 1, 3, 2, 1].into_iter()).0.as_slice(), &[1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "by a thread that holds one")]
    #[cfg(debug_assertions)]
    fn a_nested_lock_is_refused_in_debug_builds() {
        let shards = Shards::new(2, 1);
        shards.read(0, |_| shards.read(1, |_| ())).unwrap().unwrap();
    }

    #[test]
    #[cfg(not(feature = "shuttle"))]
    fn a_panic_in_a_change_left_a_half_changed_shard_to_the_next_save() {
        use std::os::unix::process::ExitStatusExt;
        const CHILD: &str = "MY_REDIS_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            let change = || Shards::new(0, 1).write(0, |_, _| panic!("in the middle of a change"));
            let _not_reached = std::panic::catch_unwind(change);
            return;
        }
        let name = "a_panic_in_a_change_left_a_half_changed_shard_to_the_next_save";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .arg(name)
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    }

    #[test]
    #[cfg(not(feature = "shuttle"))]
    fn a_panic_in_reading_lets_go_of_what_was_locked() {
        use std::panic::{AssertUnwindSafe, catch_unwind};
        let (shards, order) = (Shards::new(2, 1), LockOrder::new([1, 3].into_iter()));
        let readings: [&dyn Fn(); 5] = [
            &|| shards.read(1, |_| panic!("in reading")).unwrap(),
            &|| shards.read_fair(1, |_| panic!("in reading")),
            &|| shards.read_many(&order, |_| panic!("in reading")).unwrap(),
            &|| shards.read_all(|_| panic!("in reading")).unwrap(),
            &|| shards.try_read_several(&[1, 3], |_| panic!("in reading")),
        ];
        for read in readings {
            assert!(catch_unwind(AssertUnwindSafe(read)).is_err());
            let are_free = shards.shards.iter().all(|locked| locked.shard.try_write().is_some());
            assert!(are_free);
            // Nor does this thread count as one that holds a lock.
            shards.write_all(|_, _| ()).unwrap();
        }
    }

    #[test]
    fn an_aborted_snapshot_uses_up_its_epoch() {
        let shards = Shards::new(0, 1);
        for expected in 1..=300 {
            assert_eq!(shards.begin_epoch(0, CutHolder::Save), Ok(expected));
            assert_eq!(shards.begin_epoch(0, CutHolder::Reader), Err(CutHolder::Save));
            shards.end_epoch();
            assert_eq!(shards.begin_epoch(0, CutHolder::Save), Err(CutHolder::Save));
            shards.release();
        }
    }
}
