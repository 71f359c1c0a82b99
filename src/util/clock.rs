//! Time: the only file that asks the system what time it is.
//!
//! Deadlines are absolute wall-clock milliseconds, because they must survive a restart. Everything
//! else receives its `now` as an argument, so that one command has one `now` and a test moves the
//! clock instead of sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
