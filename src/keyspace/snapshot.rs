//! Walking all shards for a dump that is exactly one moment, while writers go on.
//!
//! Beginning a snapshot adds one to the epoch: that is the cut. From then on a writer that changes
//! an entry with an older version puts the old form aside first, unless the walker has passed it.
//! The walker takes the entries with an older version, one segment at a time under a shared lock,
//! and everything that was put aside. What is newer than the cut has the new version and is left
//! out. Only short entries are encoded under the lock; of others the walker keeps a copy.
//! docs/concurrency.md has the proof.

use crate::keyspace::Keyspace;
use crate::keyspace::entry::{Entry, Version};
use crate::keyspace::planted;
use crate::util::hash::Position;
use std::time::{Duration, Instant};

/// A longer entry is copied under the lock and encoded after it: packing its strings takes many
/// times as long as copying them. The copy of a large value shares its pieces.
const ENCODED_UNDER_LOCK_BYTES_MAX: usize = 48;

/// A snapshot being taken. Dropping it early aborts it and frees what was put aside.
#[derive(Debug)]
pub struct Snapshot<'a> {
    keyspace: &'a Keyspace,
    epoch: Version,
    shard: usize,
    next: Position,
    longest_hold: Duration,
}

impl Keyspace {
    /// Begins a snapshot: everything that happened before is in it, nothing that happens after.
    /// `None` while another one is being taken.
    #[must_use]
    pub fn begin_snapshot(&self) -> Option<Snapshot<'_>> {
        let epoch = self.shards.begin_epoch()?;
        Some(Snapshot { keyspace: self, epoch, shard: 0, next: 0, longest_hold: Duration::ZERO })
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

    /// Gives the entries of one more piece of the keyspace to `encode`; false when all have been.
    ///
    /// Cost: O(entries of a segment and those put aside since the last step). `encode` must not
    /// block: it may run under a shard's lock.
    pub fn step(&mut self, encode: &mut impl FnMut(&Entry)) -> bool {
        if self.shard < self.keyspace.shards.len() {
            self.walk_segment(encode);
        }
        self.encode_aside(encode);
        self.shard < self.keyspace.shards.len()
    }

    fn walk_segment(&mut self, encode: &mut impl FnMut(&Entry)) {
        let naive = planted::is_on(planted::Bug::NaiveCut);
        let (epoch, from) = (self.epoch, self.next);
        let mut copies: Vec<Entry> = Vec::new();
        let (next, end, held) = self.keyspace.shards.read_fair(self.shard, |shard| {
            let began = Instant::now();
            let table = shard.table();
            let next = table.walk_segment(from.max(table.first_position()), |entry| {
                if entry.version() >= epoch && !naive {
                    return;
                }
                if entry.packed_bytes().is_some_and(|bytes| bytes <= ENCODED_UNDER_LOCK_BYTES_MAX) {
                    encode(entry);
                } else {
                    copies.push(entry.clone());
                }
            });
            shard.set_walked(epoch, next);
            (next, table.end_position(), began.elapsed())
        });
        self.longest_hold = self.longest_hold.max(held);
        copies.iter().for_each(encode);
        self.next = next;
        if next >= end {
            self.shard += 1;
        }
    }

    fn encode_aside(&mut self, encode: &mut impl FnMut(&Entry)) {
        for number in 0..self.keyspace.shards.len() {
            if self.keyspace.shards.figures(number).aside() == 0 {
                continue;
            }
            let aside = self.keyspace.shards.write_fair(number, |shard, _| shard.take_aside());
            aside.entries.iter().for_each(&mut *encode);
            for (table, from) in &aside.tables {
                let mut position = *from;
                while position < table.end_position() {
                    position = table.walk_segment(position, |entry| {
                        if entry.version() < self.epoch {
                            encode(entry);
                        }
                    });
                }
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
    }
}
