//! Layer 3: counters.
//!
//! A counter is bumped by every command on every core, so each thread adds to a stripe of its own,
//! padded to a cache line: no line is fought over. Reading adds up the stripes.

mod commands;
mod histogram;
mod latency;
mod process;
mod slow_log;
mod tasks;

pub use commands::{CallCounts, CommandStats};
pub use histogram::Durations;
pub use latency::{EventFigures, LatencyMonitor, Sample};
pub use process::{Machine, Memory, ProcessorTimes, huge_page_bytes, human_bytes, used_bytes};
pub use slow_log::{SlowCall, SlowLog, shortened};
pub use tasks::{Rhythm, Task, TaskFigures, TaskState, Tasks};

use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// Connections closed because too much waited to be sent.
    OutputLimitDisconnections,
    /// Keys that gave way because memory was short.
    EvictedKeys,
    /// Clients that were disconnected because all together used too much memory.
    EvictedClients,
    /// Background work that panicked and was begun anew.
    BackgroundRestarts,
    /// Clients that were closed because their task panicked.
    ClientPanics,
}

const COUNTERS: usize = Counter::ClientPanics as usize + 1;

/// What the system says of the memory is not asked for more often.
const SYSTEM_FIGURES_AGE_MAX: Duration = Duration::from_millis(100);

/// Codes of errors that are counted; further ones are not.
const ERROR_CODES_MAX: usize = 64;
/// Bytes of such a code at most.
const ERROR_CODE_BYTES_MAX: usize = 32;

/// Samples over which what happens per second is averaged.
const RATE_SAMPLES: usize = 16;
/// What is sampled.
const RATED: [Counter; 3] = [Counter::Commands, Counter::InputBytes, Counter::OutputBytes];

/// What happens per second, from samples taken at regular times.
#[derive(Debug, Default)]
struct Rates {
    last: Option<(Instant, [u64; RATED.len()])>,
    samples: [[f64; RATED.len()]; RATE_SAMPLES],
    next: usize,
}

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
    /// Error replies by their code.
    errors: Mutex<BTreeMap<String, u64>>,
    rates: Mutex<Rates>,
    /// Bytes that the process had before there were any keys.
    startup_bytes: u64,
    memory: Mutex<(Memory, Instant)>,
    /// Where the process runs.
    pub machine: Machine,
    /// What each command costs.
    pub commands: CommandStats,
    /// The last slow commands.
    pub slow_log: SlowLog,
    /// The latest spikes of latency.
    pub latency: LatencyMonitor,
    /// The work in the background.
    pub tasks: Tasks,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is valid after every single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Stats {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Stats {
    /// Counters at 0, for this many commands, which are numbered from 0 on.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        let memory = Memory::now();
        Self {
            stripes: Default::default(),
            started: Instant::now(),
            expire_lag_max_ms: AtomicU64::new(0),
            expire_lag_last_ms: AtomicU64::new(0),
            lazyfree_pending: AtomicI64::new(0),
            errors: Mutex::default(),
            rates: Mutex::default(),
            startup_bytes: memory.used_bytes,
            memory: Mutex::new((memory, Instant::now())),
            machine: Machine::this(),
            commands: CommandStats::new(commands),
            slow_log: SlowLog::default(),
            latency: LatencyMonitor::default(),
            tasks: Tasks::default(),
        }
    }

    /// The memory of the process: what is in use now, and what the system knows of it no more than
    /// 100 ms ago, as in Redis. Cost: O(threads), and at times one read of a short file.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let mut known = lock(&self.memory);
        let (memory, asked_at) = &mut *known;
        let asks_system = asked_at.elapsed() >= SYSTEM_FIGURES_AGE_MAX;
        memory.refresh(asks_system);
        if asks_system {
            *asked_at = Instant::now();
        }
        *memory
    }

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
        lock(&self.errors).clear();
        self.commands.reset();
        *lock(&self.rates) = Rates::default();
    }

    /// Counts an error reply, whose text begins with its code.
    pub fn note_error(&self, text: &[u8]) {
        self.add(Counter::ErrorReplies, 1);
        let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let code = String::from_utf8_lossy(code.get(..ERROR_CODE_BYTES_MAX).unwrap_or(code));
        let mut errors = lock(&self.errors);
        if let Some(count) = errors.get_mut(code.as_ref()) {
            *count += 1;
        } else if errors.len() < ERROR_CODES_MAX {
            errors.insert(code.into_owned(), 1);
        }
    }

    /// Error replies by their code.
    #[must_use]
    pub fn errors(&self) -> Vec<(String, u64)> {
        lock(&self.errors).iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// Takes a sample of what is averaged per second; to be called at regular times.
    #[expect(clippy::cast_precision_loss, reason = "an average for people")]
    pub fn sample(&self) {
        let now = Instant::now();
        let counts = RATED.map(|counter| self.get(counter));
        let mut rates = lock(&self.rates);
        if let Some((then, before)) = rates.last {
            let seconds = (now - then).as_secs_f64().max(0.001);
            let mut sample = [0.0; RATED.len()];
            for ((rate, count), before) in sample.iter_mut().zip(counts).zip(before) {
                *rate = count.saturating_sub(before) as f64 / seconds;
            }
            let at = rates.next % RATE_SAMPLES;
            rates.next += 1;
            if let Some(place) = rates.samples.get_mut(at) {
                *place = sample;
            }
        }
        rates.last = Some((now, counts));
    }

    /// Commands, bytes received and bytes sent per second, averaged over the last samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a small constant")]
    pub fn per_second(&self) -> [f64; RATED.len()] {
        let rates = lock(&self.rates);
        let mut sums = [0.0; RATED.len()];
        for sample in &rates.samples {
            sums.iter_mut().zip(sample).for_each(|(sum, rate)| *sum += rate);
        }
        sums.map(|sum| sum / RATE_SAMPLES as f64)
    }

    /// Bytes that the process had before there were any keys.
    #[must_use]
    pub fn startup_bytes(&self) -> u64 {
        self.startup_bytes
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
    fn errors_are_counted_by_their_code_and_their_number_is_bounded() {
        let stats = Stats::default();
        for text in ["ERR a", "WRONGTYPE b", "ERR", "ERR c"] {
            stats.note_error(text.as_bytes());
        }
        assert_eq!(stats.errors(), [("ERR".to_owned(), 3), ("WRONGTYPE".to_owned(), 1)]);
        (0..1_000).for_each(|n| stats.note_error(format!("CODE{n} x").as_bytes()));
        assert_eq!(stats.errors().len(), ERROR_CODES_MAX);
        assert_eq!(stats.get(Counter::ErrorReplies), 1_004);
        stats.reset();
        assert!(stats.errors().is_empty());
    }

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
