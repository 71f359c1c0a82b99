//! The options about the limits of memory, in the form in which every command asks.

use crate::util::number::parse_u64;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};

/// Which keys give way when memory is short (maxmemory-policy).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// None does; what needs memory is refused.
    #[default]
    NoEviction,
    /// Of all keys those that were not used for the longest time.
    AllKeysLru,
    /// Of all keys those that are used least often.
    AllKeysLfu,
    /// Any of all keys.
    AllKeysRandom,
    /// Of the keys with a deadline those that were not used for the longest time.
    VolatileLru,
    /// Of the keys with a deadline those that are used least often.
    VolatileLfu,
    /// Any of the keys with a deadline.
    VolatileRandom,
    /// Of the keys with a deadline those that die first.
    VolatileTtl,
}

impl Policy {
    const ALL: [(Self, &'static str); 8] = [
        (Self::NoEviction, "noeviction"),
        (Self::AllKeysLru, "allkeys-lru"),
        (Self::AllKeysLfu, "allkeys-lfu"),
        (Self::AllKeysRandom, "allkeys-random"),
        (Self::VolatileLru, "volatile-lru"),
        (Self::VolatileLfu, "volatile-lfu"),
        (Self::VolatileRandom, "volatile-random"),
        (Self::VolatileTtl, "volatile-ttl"),
    ];

    /// Redis' name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| name)
    }

    fn of_name(name: &[u8]) -> Self {
        let found = Self::ALL.iter().find(|(_, known)| known.as_bytes() == name);
        found.map_or(Self::NoEviction, |(policy, _)| *policy)
    }

    fn of_number(number: u8) -> Self {
        let found = Self::ALL.iter().find(|(policy, _)| *policy as u8 == number);
        found.map_or(Self::NoEviction, |(policy, _)| *policy)
    }

    /// True when it is counted how often keys are used, and their last use is not known.
    #[must_use]
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::AllKeysLfu | Self::VolatileLfu)
    }

    /// True when it acts on the time of the last use.
    #[must_use]
    pub fn is_lru(self) -> bool {
        matches!(self, Self::AllKeysLru | Self::VolatileLru)
    }
}

/// The limits of memory.
#[derive(Debug, Default)]
pub struct MemoryLimits {
    bytes: AtomicU64,
    policy: AtomicU8,
    samples: AtomicUsize,
    tenacity: AtomicU8,
    log_factor: AtomicU16,
    decay_minutes: AtomicU16,
    frees_lazily: AtomicBool,
    clients_bytes: AtomicU64,
    /// Of `bytes`; 0 when the limit is given in bytes.
    clients_percent: AtomicU8,
}

impl MemoryLimits {
    /// Takes the value of an option; true when it is one of these.
    pub(super) fn apply(&self, name: &str, value: &[u8]) -> bool {
        let number = || parse_u64(value).unwrap_or(0);
        let short = || u16::try_from(number()).unwrap_or(u16::MAX);
        match name {
            "maxmemory" => self.bytes.store(number(), Ordering::Relaxed),
            "maxmemory-policy" => {
                self.policy.store(Policy::of_name(value) as u8, Ordering::Relaxed);
            }
            "maxmemory-samples" => {
                let samples = usize::try_from(number()).unwrap_or(usize::MAX);
                self.samples.store(samples, Ordering::Relaxed);
            }
            "maxmemory-eviction-tenacity" => {
                self.tenacity.store(u8::try_from(number()).unwrap_or(100), Ordering::Relaxed);
            }
            "lfu-log-factor" => self.log_factor.store(short(), Ordering::Relaxed),
            "lfu-decay-time" => self.decay_minutes.store(short(), Ordering::Relaxed),
            "lazyfree-lazy-eviction" => {
                self.frees_lazily.store(value == b"yes", Ordering::Relaxed);
            }
            "maxmemory-clients" => {
                let percent = value.strip_suffix(b"%").and_then(parse_u64);
                let bytes = if percent.is_some() { 0 } else { number() };
                let percent = percent.and_then(|percent| u8::try_from(percent).ok());
                self.clients_percent.store(percent.unwrap_or(0), Ordering::Relaxed);
                self.clients_bytes.store(bytes, Ordering::Relaxed);
            }
            _ => return false,
        }
        true
    }

    /// Bytes that may be used; 0 for all (maxmemory).
    #[inline]
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Which keys give way.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy::of_number(self.policy.load(Ordering::Relaxed))
    }

    /// Keys that are compared to find one that gives way.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples.load(Ordering::Relaxed)
    }

    /// From 0 to 100: how long a command may make room for itself.
    #[must_use]
    pub fn tenacity(&self) -> u8 {
        self.tenacity.load(Ordering::Relaxed)
    }

    /// When it is counted how often keys are used: the larger the first number, the slower the
    /// counts grow; after so many minutes as the second says they are one less, with 0 never.
    #[must_use]
    pub fn frequency(&self) -> Option<(u16, u16)> {
        let numbers = [&self.log_factor, &self.decay_minutes].map(|n| n.load(Ordering::Relaxed));
        self.policy().is_lfu().then_some((numbers[0], numbers[1]))
    }

    /// Whether large values of keys that gave way are freed in the background.
    #[must_use]
    pub fn frees_lazily(&self) -> bool {
        self.frees_lazily.load(Ordering::Relaxed)
    }

    /// Bytes that all clients together may use; 0 for all (maxmemory-clients).
    #[must_use]
    pub fn clients_bytes_max(&self) -> u64 {
        match u64::from(self.clients_percent.load(Ordering::Relaxed)) {
            0 => self.clients_bytes.load(Ordering::Relaxed),
            percent => self.bytes_max() / 100 * percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name() {
        let limits = MemoryLimits::default();
        for (policy, name) in Policy::ALL {
            assert!(limits.apply("maxmemory-policy", name.as_bytes()));
            assert_eq!((limits.policy(), policy.name()), (policy, name));
        }
    }

    #[test]
    fn the_limit_of_clients_may_be_a_part_of_that_of_all() {
        let limits = MemoryLimits::default();
        limits.apply("maxmemory", b"1000");
        for (text, bytes) in [("0", 0), ("77", 77), ("5%", 50), ("0%", 0), ("100%", 1_000)] {
            limits.apply("maxmemory-clients", text.as_bytes());
            assert_eq!(limits.clients_bytes_max(), bytes, "{text}");
        }
        assert!(!limits.apply("maxclients", b"5"));
    }
}
