//! Walking all shards for a dump that is exactly one moment, while writers go on.
//!
//! Beginning a snapshot adds one to the epoch: that is the cut. From then on a writer that changes
//! an entry with an older version puts the old form aside first, unless the walker has passed it.
//! The walker takes the entries with an older version, one segment at a time under a shared lock,
//! and everything that was put aside. What is newer than the cut has the new version and is left
//! out. Nothing is encoded under the lock, for packing 8 KB strings takes a hundred times as long
//! as copying them; of large values the copy shares the pieces. docs/concurrency.md has the proof.

use crate::data::segmented::SEGMENT_ENTRIES_MAX;
use crate::keyspace::Keyspace;
use crate::keyspace::database::DatabaseNumber;
use crate::keyspace::entry::{Entry, Version};
use crate::keyspace::lock::CutHolder;
use crate::keyspace::planted;
use crate::keyspace::shard::AsideTable;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The snapshot was given up: what it had to keep beyond the data outgrew the limit, because the
/// entries were not taken as fast as others changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsideExceeded;

impl fmt::Display for AsideExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what the snapshot had to keep beyond the data outgrew its limit")
    }
}

impl std::error::Error for AsideExceeded {}

/// A snapshot being taken. Dropping it early aborts it and frees what was put aside.
#[derive(Debug)]
pub struct Snapshot<'a> {
    keyspace: &'a Keyspace,
    epoch: Version,
    shard: usize,
    /// Tables that were emptied as a whole after the cut.
    flushed: Vec<AsideTable>,
    longest_hold: Duration,
    last_hold: Duration,
    has_ended: bool,
}

/// How often who waits for the snapshot of another one looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl Keyspace {
    /// Begins a snapshot: everything that happened before is in it, nothing that happens after.
    /// `None` while one is being taken for another save; for a command's it waits.
    ///
    /// `aside_bytes_max` limits the memory that it may need beyond the data: old forms of entries,
    /// and pieces of large values that changed. When writers would need more, they give it up.
    #[must_use]
    pub fn begin_snapshot(&self, aside_bytes_max: u64) -> Option<Snapshot<'_>> {
        loop {
            match self.shards.begin_epoch(aside_bytes_max, CutHolder::Save) {
                Ok(epoch) => {
                    self.save_waits.store(false, Ordering::SeqCst);
                    return Some(self.snapshot(epoch));
                }
                Err(CutHolder::Save) => return None,
                Err(CutHolder::Reader) => {
                    self.save_waits.store(true, Ordering::SeqCst);
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        }
    }

    /// The same for a command that looks at all keys: it waits for another command's, and is
    /// `None` when there is a save or one waits. It may need any memory, for it is soon over.
    pub(super) fn begin_reading(&self) -> Option<Snapshot<'_>> {
        while !self.save_waits.load(Ordering::SeqCst) {
            match self.shards.begin_epoch(u64::MAX, CutHolder::Reader) {
                Ok(epoch) => return Some(self.snapshot(epoch)),
                Err(CutHolder::Save) => return None,
                Err(CutHolder::Reader) => std::thread::sleep(LOOK_EVERY),
            }
        }
        None
    }

    fn snapshot(&self, epoch: Version) -> Snapshot<'_> {
        Snapshot {
            keyspace: self,
            epoch,
            shard: 0,
            flushed: Vec::new(),
            longest_hold: Duration::ZERO,
            last_hold: Duration::ZERO,
            has_ended: false,
        }
    }

    /// Notes that the data is what the dump holds: no change counts as unsaved.
    pub fn forget_changes(&self) {
        for number in 0..self.shards.len() {
            self.shards.write_fair(number, |shard, _| shard.forget_changes());
        }
    }

    /// Notes that the snapshot with this epoch is safely stored: the changes that it contains no
    /// longer count as unsaved.
    pub fn forget_saved_changes(&self, epoch: Version) {
        for number in 0..self.shards.len() {
            self.shards.write_fair(number, |shard, _| shard.forget_saved_changes(epoch));
        }
    }
}

impl Snapshot<'_> {
    /// The number of the snapshot.
    #[must_use]
    pub fn epoch(&self) -> Version {
        self.epoch
    }

    /// The longest time for which a step held a lock.
    #[must_use]
    pub fn longest_hold(&self) -> Duration {
        self.longest_hold
    }

    /// The time for which the last step held a lock for walking.
    #[must_use]
    pub fn last_hold(&self) -> Duration {
        self.last_hold
    }

    /// Gives the entries of one more piece of the keyspace to `encode`, each with the number of its
    /// database, while no lock is held; false when all have been.
    ///
    /// Cost: O(entries of a segment and those put aside since the last step).
    ///
    /// # Errors
    /// When the snapshot was given up; what was encoded so far is of no use then.
    pub fn step(
        &mut self,
        encode: &mut impl FnMut(DatabaseNumber, &Entry),
    ) -> Result<bool, AsideExceeded> {
        if self.flushed.is_empty() {
            let mut found: Vec<(DatabaseNumber, Entry)> = Vec::with_capacity(SEGMENT_ENTRIES_MAX);
            self.walk_segment(|database, entry| found.push((database, entry.clone())));
            found.iter().for_each(|(database, entry)| encode(*database, entry));
        } else {
            self.walk_flushed(encode);
        }
        self.finish_step(encode)
    }

    /// The same, but `see` gets some entries while their shard is locked for reading: for who takes
    /// little of each.
    ///
    /// # Errors
    /// As those of [`step`](Self::step).
    pub fn step_in_place(
        &mut self,
        see: &mut impl FnMut(DatabaseNumber, &Entry),
    ) -> Result<bool, AsideExceeded> {
        if self.flushed.is_empty() {
            self.walk_segment(&mut *see);
        } else {
            self.walk_flushed(see);
        }
        self.finish_step(see)
    }

    fn finish_step(
        &mut self,
        encode: &mut impl FnMut(DatabaseNumber, &Entry),
    ) -> Result<bool, AsideExceeded> {
        self.encode_aside(encode);
        if self.keyspace.shards.aside_exceeded() {
            return Err(AsideExceeded);
        }
        Ok(self.shard < self.keyspace.shards.len() || !self.flushed.is_empty())
    }

    /// Lends the entries of one more segment under its lock.
    fn walk_segment(&mut self, mut take: impl FnMut(DatabaseNumber, &Entry)) {
        if self.shard >= self.keyspace.shards.len() {
            return;
        }
        let naive = planted::is_on(planted::Bug::NaiveCut);
        let epoch = self.epoch;
        let (hold, more) = self.keyspace.shards.read_fair(self.shard, |shard| {
            let began = Instant::now();
            let more = shard.walk(epoch, |database, entry| {
                if entry.version() < epoch || naive {
                    take(database, entry);
                }
            });
            (began.elapsed(), more)
        });
        self.last_hold = hold;
        self.longest_hold = self.longest_hold.max(hold);
        if !more {
            self.shard += 1;
        }
    }

    /// Encodes one segment of a table that only the snapshot has.
    fn walk_flushed(&mut self, encode: &mut impl FnMut(DatabaseNumber, &Entry)) {
        let Some(AsideTable { database, table, from }) = self.flushed.last_mut() else {
            return;
        };
        *from = table.walk_segment(*from, |entry| {
            if entry.version() < self.epoch {
                encode(*database, entry);
            }
        });
        if *from >= table.end_position() {
            self.flushed.pop();
        }
    }

    fn encode_aside(&mut self, encode: &mut impl FnMut(DatabaseNumber, &Entry)) {
        for number in 0..self.keyspace.shards.len() {
            let figures = self.keyspace.shards.figures(number);
            if figures.aside() > 0 || figures.aside_bytes() > 0 {
                let aside = self.keyspace.shards.write_fair(number, |shard, _| shard.take_aside());
                aside.entries.into_iter().for_each(|(database, entry)| encode(database, &entry));
                self.flushed.extend(aside.tables);
                self.keyspace.shards.note_aside_freed(aside.bytes);
            }
        }
    }
}

impl Snapshot<'_> {
    /// Ends it: nothing is put aside any more. Another one begins only when it is dropped.
    pub fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.keyspace.shards.end_epoch();
        // A writer that still saw the snapshot running holds its lock until it has put aside what
        // it wanted to, so after this nothing is left behind.
        for number in 0..self.keyspace.shards.len() {
            drop(self.keyspace.shards.write_fair(number, |shard, _| shard.take_aside()));
        }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.end();
        self.keyspace.shards.release();
    }
}
