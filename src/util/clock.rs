//! Time: the only file that asks the system what time it is.
//!
//! Deadlines are absolute wall-clock milliseconds, because they must survive a restart. Everything
//! else receives its `now` as an argument, so that one command has one `now` and a test moves the
//! clock instead of sleeping.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in milliseconds since 1970, before it when negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The latest moment that can be expressed.
    pub const MAX: Self = Self(i64::MAX);

    /// Milliseconds from `earlier` to `self`, 0 if `self` is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// Tells the time: the system's, or one that a test moves by hand.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's wall clock.
    #[default]
    System,
    /// Milliseconds since 1970 as last stored by the owner.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The present moment.
    #[inline]
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => UnixMillis(i64::try_from(unix_micros() / 1_000).unwrap_or(i64::MAX)),
            Self::Manual(millis) => UnixMillis(millis.load(Ordering::Relaxed)),
        }
    }

    /// Microseconds since 1970, for TIME.
    #[must_use]
    pub fn now_micros(&self) -> i128 {
        match self {
            Self::System => unix_micros(),
            Self::Manual(millis) => i128::from(millis.load(Ordering::Relaxed)) * 1_000,
        }
    }
}

fn unix_micros() -> i128 {
    let micros = |d: std::time::Duration| i128::try_from(d.as_micros()).unwrap_or(i128::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => -micros(before.duration()),
    }
}

/// Made once: making it asks the processor what it is, which takes a virtual machine tens of
/// microseconds.
static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// Measures how long things take, by a clock that only goes forward.
///
/// Every command reads it, hence not `std::time::Instant`: where the processor has a steady
/// counter, quanta reads it directly, in less than half the time.
#[derive(Debug, Clone)]
pub struct Stopwatch {
    clock: quanta::Clock,
    since: u64,
}

impl Stopwatch {
    /// A clock that measures from now on.
    #[must_use]
    pub fn start() -> Self {
        let clock = COUNTER.clone();
        let since = clock.raw();
        Self { clock, since }
    }

    /// Measures from now on.
    #[inline]
    pub fn restart(&mut self) {
        self.since = self.clock.raw();
    }

    /// Nanoseconds since the start or the last lap; the next one begins.
    #[inline]
    pub fn lap_nanos(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.since, self.clock.raw());
        // A thread that moved to another core may find its counter a little behind.
        if self.since > before { self.clock.delta_as_nanos(before, self.since) } else { 0 }
    }

    /// Nanoseconds since the start or the last lap, which goes on.
    #[must_use]
    pub fn elapsed_nanos(&self) -> u64 {
        self.clone().lap_nanos()
    }
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::start()
    }
}
