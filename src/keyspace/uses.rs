//! When a key was last used, or how often: 24 bits beside its entry.
//!
//! Under a policy of least recent use they are the seconds of a clock that runs around in half a
//! year. Under one of least frequent use the upper 16 are the minutes of a clock of 45 days, and
//! the lower 8 a count that grows with its logarithm: the larger it is, the less likely is it that
//! one more use adds to it. For every so many minutes without a look at it, it counts one less.
//!
//! Reads write them under a shared lock, in an atomic that orders nothing: of two uses at the same
//! time one may be lost. They write only what changes, at most once a second for most keys, so that
//! the cores do not fight for the entry of a key that all of them read.

use crate::util::clock::UnixMillis;
use crate::util::random::Random;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

const STAMP_BITS: u32 = 24;
const STAMP_MASK: u32 = (1 << STAMP_BITS) - 1;
const MINUTES_MASK: u32 = 0xffff;
const COUNT_BITS: u32 = 8;
/// The count of a key that is new: it is not the first to go.
const COUNT_OF_NEW: u8 = 5;
/// Uses count by frequency.
const BY_FREQUENCY: u32 = 1 << STAMP_BITS;
/// Looking a key up is a use of it.
const LOOKING_UP: u32 = 1 << (STAMP_BITS + 1);

/// How uses of keys are noted at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uses {
    /// The stamp of this moment, without a count, and the bits above.
    now: u32,
    /// The larger, the slower counts grow (lfu-log-factor).
    log_factor: u16,
    /// Minutes after which a count is one less, 0 for never (lfu-decay-time).
    decay_minutes: u16,
}

impl Uses {
    /// No use is noted.
    pub const NONE: Self = Self { now: 0, log_factor: 0, decay_minutes: 0 };

    /// The time of the last use is kept.
    #[inline]
    #[must_use]
    pub fn by_time(now: UnixMillis) -> Self {
        let seconds = now.0.div_euclid(1_000) as u32 & STAMP_MASK;
        Self { now: seconds | LOOKING_UP, ..Self::NONE }
    }

    /// It is counted how often keys are used.
    #[must_use]
    pub fn by_frequency(now: UnixMillis, log_factor: u16, decay_minutes: u16) -> Self {
        let minutes = now.0.div_euclid(60_000) as u32 & MINUTES_MASK;
        Self { now: minutes << COUNT_BITS | LOOKING_UP | BY_FREQUENCY, log_factor, decay_minutes }
    }

    /// By frequency with this factor and these minutes, or by time.
    #[must_use]
    pub fn at(now: UnixMillis, frequency: Option<(u16, u16)>) -> Self {
        match frequency {
            None => Self::by_time(now),
            Some((log_factor, decay_minutes)) => Self::by_frequency(now, log_factor, decay_minutes),
        }
    }

    /// The same for a command that looks at keys without using them, if `is_quiet`.
    #[inline]
    #[must_use]
    pub fn quiet_if(self, is_quiet: bool) -> Self {
        Self { now: self.now & !(u32::from(is_quiet) * LOOKING_UP), ..self }
    }

    /// Whether it is counted how often keys are used.
    #[inline]
    #[must_use]
    pub fn is_by_frequency(self) -> bool {
        self.now & BY_FREQUENCY != 0
    }

    fn stamp(self) -> u32 {
        self.now & STAMP_MASK
    }

    /// What a key gets that is new.
    #[inline]
    #[must_use]
    pub fn of_new(self) -> LastUse {
        let count = if self.is_by_frequency() { u32::from(COUNT_OF_NEW) } else { 0 };
        LastUse::new(self.stamp() | count)
    }

    /// What a key gets that was last used so many seconds ago; it is of no use by frequency.
    #[must_use]
    pub fn of_idle(self, seconds: u64) -> LastUse {
        let seconds = seconds.min(u64::from(STAMP_MASK)) as u32;
        LastUse::new(self.stamp().wrapping_sub(seconds) & STAMP_MASK)
    }

    /// What a key gets that has this count; it is of no use by time.
    #[must_use]
    pub fn of_count(self, count: u8) -> LastUse {
        LastUse::new(self.stamp() | u32::from(count))
    }
}

/// The bits of one key.
#[derive(Debug, Default)]
pub struct LastUse(AtomicU32);

impl Clone for LastUse {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl LastUse {
    fn new(stamp: u32) -> Self {
        Self(AtomicU32::new(stamp))
    }

    #[inline]
    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes a use.
    #[inline]
    pub(super) fn note(&self, uses: Uses) {
        let old = self.get();
        // Most uses are within a second of the last one.
        if old | LOOKING_UP != uses.now {
            self.note_news(old, uses);
        }
    }

    #[cold]
    fn note_news(&self, old: u32, uses: Uses) {
        if uses.now & LOOKING_UP == 0 {
            return;
        }
        let new = match uses.is_by_frequency() {
            false => uses.stamp(),
            true => uses.stamp() | u32::from(grown(self.count(uses), uses.log_factor)),
        };
        if new != old {
            self.0.store(new, Ordering::Relaxed);
        }
    }

    /// Takes over the bits of another one.
    pub(super) fn copy_from(&self, other: &Self) {
        self.0.store(other.get(), Ordering::Relaxed);
    }

    /// Seconds since the last use, by time.
    #[must_use]
    pub fn idle_seconds(&self, uses: Uses) -> u64 {
        u64::from(uses.stamp().wrapping_sub(self.get()) & STAMP_MASK)
    }

    /// How often it is used, by frequency, as of now.
    #[must_use]
    pub fn count(&self, uses: Uses) -> u8 {
        let stamp = self.get();
        let count = stamp as u8;
        let minutes = (uses.stamp() >> COUNT_BITS).wrapping_sub(stamp >> COUNT_BITS) & MINUTES_MASK;
        let periods = minutes.checked_div(u32::from(uses.decay_minutes)).unwrap_or(0);
        count.saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
    }

    /// The bits as they are, for those who look into the server.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.get()
    }
}

/// A count after one more use.
fn grown(count: u8, log_factor: u16) -> u8 {
    thread_local! {
        static CHANCE: Cell<Option<Random>> = const { Cell::new(None) };
    }
    let uses_for_one = u64::from(count.saturating_sub(COUNT_OF_NEW)) * u64::from(log_factor) + 1;
    let mut random = CHANCE.get().unwrap_or_default();
    let grows = random.below(usize::try_from(uses_for_one).unwrap_or(usize::MAX)) == 0;
    CHANCE.set(Some(random));
    count.saturating_add(u8::from(grows))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;

    #[test]
    fn the_time_of_a_use_is_kept_by_seconds() {
        let start = UnixMillis(1_700_000_000_000);
        let at = |seconds: i64| Uses::by_time(UnixMillis(start.0 + seconds * SECOND));
        let key = at(0).of_new();
        assert_eq!(key.idle_seconds(at(7)), 7);
        key.note(at(7).quiet_if(true));
        key.note(Uses::NONE);
        assert_eq!(key.idle_seconds(at(7)), 7);
        key.note(at(7));
        assert_eq!((key.idle_seconds(at(7)), key.idle_seconds(at(10))), (0, 3));
        // The clock runs around.
        let around = i64::from(STAMP_MASK) + 1;
        assert_eq!(key.idle_seconds(at(6 + around)), 16_777_215);
        assert_eq!(key.idle_seconds(at(7 + around)), 0);
        assert_eq!(at(0).of_idle(90).idle_seconds(at(10)), 100);
        assert_eq!(at(0).of_idle(u64::MAX).idle_seconds(at(0)), u64::from(STAMP_MASK));
    }

    #[test]
    fn counts_grow_with_the_logarithm_and_are_forgotten() {
        let at = |minutes: i64, decay| Uses::by_frequency(UnixMillis(minutes * MINUTE), 10, decay);
        let key = at(0, 1).of_new();
        assert_eq!(key.count(at(0, 1)), COUNT_OF_NEW);
        // As documented by Redis: after a hundred uses about 10, after a hundred thousand 142.
        for (uses, range) in [(100, 6..=15), (100_000, 110..=180), (1_000_000, 255..=255)] {
            let mut sum = 0_u32;
            for _ in 0..4 {
                let key = at(0, 1).of_new();
                (0..uses).for_each(|_| key.note(at(0, 1)));
                sum += u32::from(key.count(at(0, 1)));
            }
            assert!(range.contains(&(sum / 4)), "{uses}: {}", sum / 4);
        }
        let key = at(0, 1).of_count(100);
        assert_eq!([1, 60, 200].map(|now| key.count(at(now, 1))), [99, 40, 0]);
        assert_eq!([1, 60, 200].map(|now| key.count(at(now, 10))), [100, 94, 80]);
        assert_eq!(key.count(at(40_000, 0)), 100);
        key.note(at(60, 1).quiet_if(true));
        assert_eq!(key.count(at(60, 1)), 40);
        // A use is a look as well: from then on it is counted down from what was left.
        key.note(at(60, 1));
        assert!((29..=30).contains(&key.count(at(71, 1))), "{}", key.count(at(71, 1)));
    }
}
