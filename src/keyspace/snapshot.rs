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
use crate::keyspace::planted;
use crate::keyspace::shard::AsideTable;
use std::fmt;
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
}

impl Keyspace {
    /// Begins a snapshot: everything that happened before is in it, nothing that happens after.
    /// `None` while another one is being taken.
    ///
    /// `aside_bytes_max` limits the memory that it may need beyond the data: old forms of entries,
    /// and pieces of large values that changed. When writers would need more, they give it up.
    #[must_use]
    pub fn begin_snapshot(&self, aside_bytes_max: u64) -> Option<Snapshot<'_>> {
        let epoch = self.shards.begin_epoch(aside_bytes_max)?;
        Some(Snapshot {
            keyspace: self,
            epoch,
            shard: 0,
            flushed: Vec::new(),
            longest_hold: Duration::ZERO,
            last_hold: Duration::ZERO,
        })
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
        if !self.flushed.is_empty() {
            self.walk_flushed(encode);
        } else if self.shard < self.keyspace.shards.len() {
            self.walk_segment(encode);
        }
        self.encode_aside(encode);
        if self.keyspace.shards.aside_exceeded() {
            return Err(AsideExceeded);
        }
        Ok(self.shard < self.keyspace.shards.len() || !self.flushed.is_empty())
    }

    fn walk_segment(&mut self, encode: &mut impl FnMut(DatabaseNumber, &Entry)) {
        let naive = planted::is_on(planted::Bug::NaiveCut);
        let epoch = self.epoch;
        let mut found: Vec<(DatabaseNumber, Entry)> = Vec::with_capacity(SEGMENT_ENTRIES_MAX);
        let (hold, more) = self.keyspace.shards.read_fair(self.shard, |shard| {
            let began = Instant::now();
            let more = shard.walk(epoch, |database, entry| {
                if entry.version() < epoch || naive {
                    found.push((database, entry.clone()));
                }
            });
            (began.elapsed(), more)
        });
        self.last_hold = hold;
        self.longest_hold = self.longest_hold.max(hold);
        found.iter().for_each(|(database, entry)| encode(*database, entry));
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

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.keyspace.shards.end_epoch();
        // A writer that still saw the snapshot running holds its lock until it has put aside what
        // it wanted to, so after this nothing is left behind.
        for number in 0..self.keyspace.shards.len() {
            drop(self.keyspace.shards.write_fair(number, |shard, _| shard.take_aside()));
        }
        self.keyspace.shards.release();
    }
}
