//! Clients that wait until a key appears: the doors of the blocking commands.
//!
//! A command that finds nothing is put into a queue of each of its keys, under the same locks under
//! which it found nothing. A change that makes a key appear for which somebody waits notes that,
//! and serves those who wait once its own locks are released: the one that came first is tried
//! again, with the shards of all its keys locked, then the next one, as long as the key is there.
//! Whoever is served gives up its place in all queues under these locks. Serving ends with the
//! first one that finds nothing: the next one would overtake it if the key came back just then.
//!
//! Between the change and the serving another client may come. If it is one that would wait, it
//! does not take what is there, but goes to the end of the queue and serves the queue: so nobody is
//! overtaken by one who came later and waits for the same.

use crate::data::ValueType;
use crate::keyspace::Keyspace;
use crate::keyspace::after::AfterUnlock;
use crate::keyspace::lock::LockOrder;
use crate::keyspace::observe::Wanted;
use crate::keyspace::planted::{self, Bug};
use crate::keyspace::view::{LocatedKey, WriteManyView};
use crate::util::clock::UnixMillis;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_TICKET: AtomicU64 = AtomicU64::new(1);

/// The place of one who waits in the order in which all came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// The next place.
    #[must_use]
    pub fn take() -> Self {
        Self(NEXT_TICKET.fetch_add(1, Ordering::Relaxed))
    }
}

/// In which line one waits at a key, among those who wait for the same type of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// What one of them is given is gone for the others: the one that came first is served first,
    /// and when nothing is left for it nothing is left for the others. Lines with different numbers
    /// take nothing from each other.
    InTurn(u64),
    /// Nothing is taken: everyone is served for whom there is something.
    Each,
}

/// One who waits for keys.
///
/// Whoever serves it and whoever has it give up agree by one step that only one of them can take:
/// the first one decides. No shard may be locked by what implements this.
pub trait Waiter: fmt::Debug + Send + Sync {
    /// Its place in the order of coming; no other one has the same.
    fn ticket(&self) -> Ticket;
    /// The type of value that it waits for; always the same.
    fn value_type(&self) -> ValueType;
    /// The line in which it waits; always the same.
    fn line(&self) -> Line {
        Line::InTurn(0)
    }
    /// All keys of its command: those that it waits for, then those that it needs beside them.
    fn keys(&self) -> SmallVec<[LocatedKey<'_>; 4]>;
    /// How many of the first keys it waits for.
    fn waited_count(&self) -> usize;
    /// True until it was served or has given up.
    fn is_waiting(&self) -> bool;
    /// Serves it if it still waits and key number `ready` has what it waits for, or is gone for
    /// good; the view is of all its keys.
    fn serve(&self, view: &mut WriteManyView<'_, '_>, ready: usize);
    /// Tells it that it was served; no lock is held.
    fn wake(&self);
}

/// A key that appeared, and that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyKey {
    pub(super) shard: usize,
    pub(super) wanted: Wanted,
    /// The only line that is served, if not all are.
    pub(super) line: Option<Line>,
}

impl ReadyKey {
    /// A key, for all who wait for this.
    pub(super) fn new(shard: usize, wanted: Wanted) -> Self {
        Self { shard, wanted, line: None }
    }
}

impl Keyspace {
    /// Serves those who wait for a key that has appeared, in the order in which they came, until it
    /// is gone or nobody is left. What that makes appear in turn is noted in `after`.
    ///
    /// Cost: that of the commands that are served, and O(log n) each for n who wait.
    pub fn serve_waiters(&self, ready: ReadyKey, now: UnixMillis, after: &mut AfterUnlock) {
        let lines = match ready.line {
            Some(line) => vec![line],
            None => self.shards.read_fair(ready.shard, |shard| shard.lines(ready.wanted)),
        };
        for line in lines {
            self.serve_line(ready, line, now, after);
        }
    }

    fn serve_line(&self, ready: ReadyKey, line: Line, now: UnixMillis, after: &mut AfterUnlock) {
        // Whoever comes later has seen for itself what is there.
        let last = Ticket::take();
        let mut passed = Ticket(0);
        loop {
            let next = self
                .shards
                .read_fair(ready.shard, |shard| shard.next_waiter(ready.wanted, line, passed));
            let Some((waiter, number)) = next else { return };
            if line == Line::Each && waiter.ticket() > last {
                return;
            }
            let keys = waiter.keys();
            let order = LockOrder::new(keys.iter().map(|key| key.shard));
            let has_ended = self.shards.write_many_patiently(&order, |shards, epoch| {
                waiter.serve(&mut WriteManyView { shards, keys: &keys, now, epoch, after }, number);
                let has_ended = !waiter.is_waiting();
                if has_ended {
                    for_each_wanted(&*waiter, &keys, |key, wanted| {
                        shards.shard(key.shard).stop_waiting(wanted, line, waiter.ticket());
                    });
                }
                has_ended
            });
            match (has_ended, line) {
                (true, _) => waiter.wake(),
                // The key is gone. Whoever makes it appear again begins with this one.
                (false, Line::InTurn(_)) => return,
                (false, Line::Each) => passed = waiter.ticket(),
            }
        }
    }

    /// Takes one who has given up out of all queues. Cost: O(keys), each shard locked for a moment.
    pub fn stop_waiting(&self, waiter: &dyn Waiter) {
        for_each_wanted(waiter, &waiter.keys(), |key, wanted| {
            self.shards.write_fair(key.shard, |shard, _| {
                shard.stop_waiting(wanted, waiter.line(), waiter.ticket());
            });
        });
    }
}

/// Calls `each` with each key that is waited for and what is waited for there.
fn for_each_wanted(
    waiter: &dyn Waiter,
    keys: &[LocatedKey<'_>],
    mut each: impl FnMut(&LocatedKey<'_>, Wanted),
) {
    let value_type = waiter.value_type();
    for key in keys.iter().take(waiter.waited_count()) {
        each(key, Wanted { place: key.place(), value_type });
    }
}

impl WriteManyView<'_, '_> {
    /// True when somebody waits already in this line for a value of this type in one of the first
    /// `count` keys.
    #[must_use]
    pub fn has_waiters(&self, count: usize, value_type: ValueType, line: Line) -> bool {
        self.keys.iter().take(count).any(|key| {
            let wanted = Wanted { place: key.place(), value_type };
            self.shards.read(key.shard).has_waiters(wanted, line)
        })
    }

    /// Puts `waiter`, whose keys are those of the view, into the queues of the keys it waits for.
    ///
    /// If a key is there already although it waits, because others are in front of it
    /// (`is_behind`), the queue will be served.
    pub fn wait(&mut self, waiter: &Arc<dyn Waiter>, is_behind: bool) {
        for (number, key) in self.keys.iter().enumerate().take(waiter.waited_count()) {
            let shard = self.shards.shard(key.shard);
            let is_there = shard.get(key.place(), key.key).is_some();
            let unseen = [Bug::UnseenAppearance, Bug::LateWait].into_iter().any(planted::is_on);
            if is_there && is_behind && !unseen {
                let wanted = Wanted { place: key.place(), value_type: waiter.value_type() };
                let line = Some(waiter.line());
                self.after.note_ready(ReadyKey { shard: key.shard, wanted, line });
            }
            shard.wait(key.place(), number, waiter);
        }
    }
}
