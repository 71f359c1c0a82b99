//! CLIENT PAUSE: for a time, commands wait before they run.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which commands wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Those that change data or reach other clients.
    Write,
    /// All.
    All,
}

const NONE: u8 = 0;
const WRITE: u8 = 1;
const ALL: u8 = 2;

/// A pause lasts no longer than this, which is for ever.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The pause of all clients, if there is one. Whether there is costs one load; only while there is
/// one is the clock read.
#[derive(Debug, Default)]
pub struct Pause {
    mode: AtomicU8,
    end: Mutex<Option<Instant>>,
}

impl Pause {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // The end is valid after every single step.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a pause. One that lasts is never shortened, nor made to hold fewer commands.
    pub fn begin(&self, mode: PauseMode, duration: Duration) {
        let mut end = self.lock();
        let before = end.filter(|end| *end > Instant::now());
        if before.is_none() {
            self.mode.store(NONE, Ordering::SeqCst);
        }
        let mode = match mode {
            PauseMode::Write => WRITE,
            PauseMode::All => ALL,
        };
        *end = before.max(Instant::now().checked_add(duration.min(DURATION_MAX)));
        self.mode.fetch_max(mode, Ordering::SeqCst);
    }

    /// Ends the pause.
    pub(super) fn end(&self) {
        *self.lock() = None;
        self.mode.store(NONE, Ordering::SeqCst);
    }

    /// Which commands wait now.
    #[inline]
    #[must_use]
    pub fn mode(&self) -> Option<PauseMode> {
        match self.mode.load(Ordering::Relaxed) {
            NONE => None,
            mode => self.mode_unless_over(mode),
        }
    }

    #[cold]
    fn mode_unless_over(&self, mode: u8) -> Option<PauseMode> {
        self.left()?;
        Some(if mode == ALL { PauseMode::All } else { PauseMode::Write })
    }

    /// How long the pause goes on; `None` when there is none.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let mut end = self.lock();
        let left = end.and_then(|end| end.checked_duration_since(Instant::now()));
        if left.is_none_or(|left| left.is_zero()) {
            *end = None;
            self.mode.store(NONE, Ordering::SeqCst);
            return None;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_shortened_and_ends() {
        let pause = Pause::default();
        assert_eq!((pause.mode(), pause.left()), (None, None));
        pause.begin(PauseMode::All, Duration::ZERO);
        assert_eq!(pause.mode(), None);
        pause.begin(PauseMode::Write, Duration::from_secs(1_000));
        assert_eq!(pause.mode(), Some(PauseMode::Write));
        pause.begin(PauseMode::All, Duration::from_secs(1));
        assert_eq!(pause.mode(), Some(PauseMode::All));
        pause.begin(PauseMode::Write, Duration::from_secs(1));
        assert_eq!(pause.mode(), Some(PauseMode::All));
        assert!(pause.left() > Some(Duration::from_secs(900)));
        pause.end();
        assert_eq!((pause.mode(), pause.left()), (None, None));
        pause.begin(PauseMode::Write, Duration::MAX);
        assert!(pause.left() > Some(Duration::from_secs(1 << 30)));
    }
}
