//! Spikes of latency: for each kind of event the last ones that took too long.
//!
//! Only what takes longer than an option allows comes here, so one lock is enough. The names of
//! events are ours, so that their number is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Samples that are kept of an event.
const SAMPLES_MAX: usize = 160;

/// The worst case of an event within one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, in seconds since 1970.
    pub unix_seconds: i64,
    /// How long it took.
    pub millis: u64,
}

/// What is known of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFigures {
    /// The last samples, the latest last.
    pub samples: VecDeque<Sample>,
    /// The longest of all times.
    pub longest_millis: u64,
}

impl EventFigures {
    fn add(&mut self, sample: Sample) {
        self.longest_millis = self.longest_millis.max(sample.millis);
        if let Some(last) = self.samples.back_mut()
            && last.unix_seconds == sample.unix_seconds
        {
            last.millis = last.millis.max(sample.millis);
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The mean of the samples.
    #[must_use]
    pub fn mean_millis(&self) -> u64 {
        let sum: u64 = self.samples.iter().map(|sample| sample.millis).sum();
        sum / (self.samples.len() as u64).max(1)
    }

    /// The mean distance of the samples from their mean.
    #[must_use]
    pub fn deviation_millis(&self) -> u64 {
        let mean = self.mean_millis();
        let sum: u64 = self.samples.iter().map(|sample| sample.millis.abs_diff(mean)).sum();
        sum / (self.samples.len() as u64).max(1)
    }
}

/// The latest spikes of each event.
#[derive(Debug, Default)]
pub struct LatencyMonitor(Mutex<BTreeMap<&'static str, EventFigures>>);

impl LatencyMonitor {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, EventFigures>> {
        // The events are valid after every single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an event took long.
    pub fn add(&self, event: &'static str, sample: Sample) {
        self.lock().entry(event).or_default().add(sample);
    }

    /// All events that have happened.
    #[must_use]
    pub fn events(&self) -> Vec<(&'static str, EventFigures)> {
        self.lock().iter().map(|(name, figures)| (*name, figures.clone())).collect()
    }

    /// One of them, by its exact name.
    #[must_use]
    pub fn event(&self, name: &[u8]) -> Option<(&'static str, EventFigures)> {
        let events = self.lock();
        let mut found = events.iter().filter(|(event, _)| event.as_bytes() == name);
        found.next().map(|(name, figures)| (*name, figures.clone()))
    }

    /// Forgets the event of this name in any case, or all; returns how many these were.
    pub fn reset(&self, name: Option<&[u8]>) -> usize {
        let mut events = self.lock();
        let before = events.len();
        events.retain(|event, _| {
            name.is_some_and(|name| !event.as_bytes().eq_ignore_ascii_case(name))
        });
        before - events.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_second_is_kept_and_samples_are_bounded() {
        let monitor = LatencyMonitor::default();
        let add = |unix_seconds, millis| monitor.add("command", Sample { unix_seconds, millis });
        add(1, 30);
        add(1, 50);
        add(1, 40);
        add(2, 10);
        let (name, figures) = monitor.event(b"command").unwrap();
        assert_eq!((name, figures.samples.len(), figures.longest_millis), ("command", 2, 50));
        assert_eq!((figures.mean_millis(), figures.deviation_millis()), (30, 20));
        (0..1_000).for_each(|second| add(10 + second, 5));
        let (_, figures) = monitor.event(b"command").unwrap();
        assert_eq!((figures.samples.len(), figures.longest_millis), (SAMPLES_MAX, 50));
        assert_eq!(figures.samples.back().map(|sample| sample.unix_seconds), Some(1_009));
        assert!(monitor.event(b"COMMAND").is_none());
        assert_eq!(monitor.reset(Some(b"nosuch")), 0);
        assert_eq!(monitor.reset(Some(b"COMMAND")), 1);
        add(1, 1);
        monitor.add("save", Sample { unix_seconds: 1, millis: 1 });
        assert_eq!(monitor.reset(None), 2);
        assert!(monitor.events().is_empty());
    }
}
