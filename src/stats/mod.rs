//! Layer 3: counters.
//!
//! A counter is bumped by every command on every core, so each thread adds to a stripe of its own,
//! padded to a cache line: no line is fought over. Reading adds up the stripes.

use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Stripes; more threads than this share some.
const STRIPES: usize = 16;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Commands that were run.
    Commands,
    /// Error replies.
    ErrorReplies,
    /// Reads that found their key.
    KeyspaceHits,
    /// Reads that did not.
    KeyspaceMisses,
    /// Bytes received.
    InputBytes,
    /// Bytes sent.
    OutputBytes,
    /// Calls that received something.
    Reads,
    /// Batches of replies that were sent.
    Writes,
    /// Keys removed because their deadline had come.
    ExpiredKeys,
    /// Connections accepted.
    Connections,
    /// Connections refused because there were too many.
    RejectedConnections,
    /// Connections closed because of bytes that were no request.
    ProtocolErrors,
}

const COUNTERS: usize = Counter::ProtocolErrors as usize + 1;

/// All counters of a server.
#[derive(Debug)]
pub struct Stats {
    stripes: [CachePadded<[AtomicU64; COUNTERS]>; STRIPES],
    started: Instant,
    /// The longest time by which an expired key was removed too late, in milliseconds.
    expire_lag_max_ms: AtomicU64,
    /// The same for the last sweep that removed keys.
    expire_lag_last_ms: AtomicU64,
    /// Values whose memory is still to be freed.
    lazyfree_pending: AtomicI64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            stripes: Default::default(),
            started: Instant::now(),
            expire_lag_max_ms: AtomicU64::new(0),
            expire_lag_last_ms: AtomicU64::new(0),
            lazyfree_pending: AtomicI64::new(0),
        }
    }
}

impl Stats {
    /// Adds `count` to a counter. Cost: one addition in a cache line of this thread's own.
    #[inline]
    pub fn add(&self, counter: Counter, count: u64) {
        if let Some(place) = self.stripes.get(stripe()).and_then(|s| s.get(counter as usize)) {
            place.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The value of a counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        let place = |stripe: &CachePadded<[AtomicU64; COUNTERS]>| {
            stripe.get(counter as usize).map_or(0, |place| place.load(Ordering::Relaxed))
        };
        self.stripes.iter().map(place).sum()
    }

    /// Sets all counters to 0 (CONFIG RESETSTAT).
    pub fn reset(&self) {
        for place in self.stripes.iter().flat_map(|stripe| stripe.iter()) {
            place.store(0, Ordering::Relaxed);
        }
        self.expire_lag_max_ms.store(0, Ordering::Relaxed);
        self.expire_lag_last_ms.store(0, Ordering::Relaxed);
    }

    /// When the server started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Notes by how much the removal of expired keys was late.
    pub fn note_expire_lag(&self, lag_ms: u64) {
        self.expire_lag_last_ms.store(lag_ms, Ordering::Relaxed);
        self.expire_lag_max_ms.fetch_max(lag_ms, Ordering::Relaxed);
    }

    /// By how many milliseconds the last removal of expired keys was late, and the worst one.
    #[must_use]
    pub fn expire_lag_ms(&self) -> (u64, u64) {
        (
            self.expire_lag_last_ms.load(Ordering::Relaxed),
            self.expire_lag_max_ms.load(Ordering::Relaxed),
        )
    }

    /// Notes values that were handed to the thread that frees them, or, negative, were freed.
    pub fn note_lazyfree_pending(&self, values: i64) {
        self.lazyfree_pending.fetch_add(values, Ordering::Relaxed);
    }

    /// Values whose memory is still to be freed.
    #[must_use]
    pub fn lazyfree_pending(&self) -> i64 {
        self.lazyfree_pending.load(Ordering::Relaxed)
    }
}

/// The stripe of this thread.
#[inline]
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        own.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_add_up() {
        let stats = Stats::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1_000).for_each(|_| stats.add(Counter::Commands, 1)));
            }
        });
        assert_eq!(stats.get(Counter::Commands), 20_000);
        stats.reset();
        assert_eq!(stats.get(Counter::Commands), 0);
    }
}
