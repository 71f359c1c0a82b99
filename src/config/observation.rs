//! The options that say what is observed of commands, in the form in which every command asks.

use crate::util::number::{parse_f64, parse_i64, parse_u64};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is observed of commands.
#[derive(Debug, Default)]
pub struct Observation {
    /// Negative for never.
    slower_than_micros: AtomicI64,
    slow_log_len_max: AtomicUsize,
    /// 0 for never.
    latency_threshold_ms: AtomicU64,
    /// The smallest duration at which one of the two has to look at a command.
    notable_nanos: AtomicU64,
    tracks_latency: AtomicBool,
    percentiles: Mutex<Vec<f64>>,
}

impl Observation {
    /// Takes the value of an option; others are nothing to it.
    pub(super) fn apply(&self, name: &str, value: &[u8]) {
        match name {
            "slowlog-log-slower-than" => {
                self.slower_than_micros.store(parse_i64(value).unwrap_or(-1), Ordering::Relaxed);
            }
            "slowlog-max-len" => {
                let len = parse_u64(value).and_then(|len| usize::try_from(len).ok());
                self.slow_log_len_max.store(len.unwrap_or(usize::MAX), Ordering::Relaxed);
            }
            "latency-monitor-threshold" => {
                self.latency_threshold_ms.store(parse_u64(value).unwrap_or(0), Ordering::Relaxed);
            }
            "latency-tracking" => self.tracks_latency.store(value == b"yes", Ordering::Relaxed),
            "latency-tracking-info-percentiles" => {
                let words = value.split(|byte| *byte == b' ');
                let percentiles = words.filter_map(parse_f64).collect();
                *self.percentiles.lock().unwrap_or_else(PoisonError::into_inner) = percentiles;
            }
            _ => return,
        }
        let slow = self.slow_log_nanos().unwrap_or(u64::MAX);
        let late = self.latency_nanos().unwrap_or(u64::MAX);
        self.notable_nanos.store(slow.min(late), Ordering::Relaxed);
    }

    /// The duration from which a command is in the slow log.
    #[must_use]
    pub fn slow_log_nanos(&self) -> Option<u64> {
        let micros = u64::try_from(self.slower_than_micros.load(Ordering::Relaxed)).ok()?;
        Some(micros.saturating_mul(1_000))
    }

    /// Commands that the slow log keeps.
    #[must_use]
    pub fn slow_log_len_max(&self) -> usize {
        self.slow_log_len_max.load(Ordering::Relaxed)
    }

    /// The duration from which an event is a spike.
    #[must_use]
    pub fn latency_nanos(&self) -> Option<u64> {
        let millis = self.latency_threshold_ms();
        (millis > 0).then_some(millis.saturating_mul(1_000_000))
    }

    /// The same in milliseconds; 0 for never.
    #[must_use]
    pub fn latency_threshold_ms(&self) -> u64 {
        self.latency_threshold_ms.load(Ordering::Relaxed)
    }

    /// True when a command that took this long may have to be noted somewhere.
    #[inline]
    #[must_use]
    pub fn is_notable(&self, nanos: u64) -> bool {
        nanos >= self.notable_nanos.load(Ordering::Relaxed)
    }

    /// True when the durations of commands are counted.
    #[inline]
    #[must_use]
    pub fn tracks_latency(&self) -> bool {
        self.tracks_latency.load(Ordering::Relaxed)
    }

    /// The percentiles that INFO tells.
    #[must_use]
    pub fn percentiles(&self) -> Vec<f64> {
        self.percentiles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
