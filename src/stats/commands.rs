//! What every command costs: calls, time, errors and durations, for INFO and LATENCY HISTOGRAM.
//!
//! As with the other counters each thread adds to a stripe of its own. Commands are known by their
//! number in the table. A stripe is allocated when its thread first counts something, the durations
//! of a command when it first runs there: 22 KB for each command and thread in use.

use crate::stats::histogram::{Durations, Histogram};
use crate::stats::{STRIPES, stripe};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// One command on one thread.
#[derive(Debug, Default)]
struct Cell {
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    durations: OnceLock<Histogram>,
}

/// Calls of one command that were counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls that ran.
    pub calls: u64,
    /// The time they took, in nanoseconds.
    pub nanos: u64,
    /// Calls that were refused before they ran.
    pub rejected: u64,
    /// Calls that ended with an error.
    pub failed: u64,
}

/// The figures of all commands.
#[derive(Debug)]
pub struct CommandStats {
    stripes: [OnceLock<Box<[Cell]>>; STRIPES],
    commands: usize,
}

impl CommandStats {
    /// Figures for this many commands, which are numbered from 0 on.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        Self { stripes: Default::default(), commands }
    }

    #[inline]
    fn cell(&self, number: usize) -> Option<&Cell> {
        let stripe = self.stripes.get(stripe())?;
        let cells = stripe.get_or_init(|| (0..self.commands).map(|_| Cell::default()).collect());
        cells.get(number)
    }

    /// The cells of a command on all threads.
    fn cells(&self, number: usize) -> impl Iterator<Item = &Cell> {
        self.stripes.iter().filter_map(move |stripe| stripe.get()?.get(number))
    }

    /// Counts calls of a command, and how long some of them took, in nanoseconds. Cost: up to four
    /// additions in lines of this thread's own, and one for each duration.
    pub fn add(&self, number: usize, counts: CallCounts, durations: &[u64]) {
        let Some(cell) = self.cell(number) else { return };
        if !durations.is_empty() {
            let histogram = cell.durations.get_or_init(Histogram::default);
            durations.iter().for_each(|nanos| histogram.count(*nanos));
        }
        cell.calls.fetch_add(counts.calls, Ordering::Relaxed);
        cell.nanos.fetch_add(counts.nanos, Ordering::Relaxed);
        if counts.rejected > 0 {
            cell.rejected.fetch_add(counts.rejected, Ordering::Relaxed);
        }
        if counts.failed > 0 {
            cell.failed.fetch_add(counts.failed, Ordering::Relaxed);
        }
    }

    /// What was counted of a command.
    #[must_use]
    pub fn counts(&self, number: usize) -> CallCounts {
        let mut sum = CallCounts::default();
        for cell in self.cells(number) {
            sum.calls += cell.calls.load(Ordering::Relaxed);
            sum.nanos += cell.nanos.load(Ordering::Relaxed);
            sum.rejected += cell.rejected.load(Ordering::Relaxed);
            sum.failed += cell.failed.load(Ordering::Relaxed);
        }
        sum
    }

    /// Makes `sum` how long the calls of a command took; false when none was counted.
    pub fn read_durations(&self, number: usize, sum: &mut Durations) -> bool {
        sum.clear();
        self.cells(number).filter_map(|cell| cell.durations.get()).for_each(|d| sum.add(d));
        sum.calls() > 0
    }

    /// Forgets everything.
    pub fn reset(&self) {
        for cell in self.stripes.iter().filter_map(OnceLock::get).flatten() {
            if let Some(durations) = cell.durations.get() {
                durations.reset();
            }
            for count in [&cell.calls, &cell.nanos, &cell.rejected, &cell.failed] {
                if count.load(Ordering::Relaxed) > 0 {
                    count.store(0, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_add_up_and_are_forgotten_on_demand() {
        let stats = CommandStats::new(3);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let counts = CallCounts { calls: 2, nanos: 7, rejected: 1, failed: 1 };
                    stats.add(1, counts, &[1_000_000, 5]);
                });
            }
        });
        let expected = CallCounts { calls: 40, nanos: 140, rejected: 20, failed: 20 };
        assert_eq!(stats.counts(1), expected);
        let mut durations = Durations::default();
        assert!(stats.read_durations(1, &mut durations));
        assert_eq!(durations.calls(), 40);
        assert_eq!(stats.counts(0), CallCounts::default());
        assert!(!stats.read_durations(0, &mut durations));
        // A number that is none is nobody's.
        stats.add(3, expected, &[1]);
        assert_eq!(stats.counts(3), CallCounts::default());
        stats.reset();
        assert_eq!(stats.counts(1), CallCounts::default());
        assert!(!stats.read_durations(1, &mut durations));
        stats.add(1, expected, &[5]);
        assert!(stats.read_durations(1, &mut durations));
        assert_eq!(durations.cumulative(), [(1, 1)]);
    }
}
