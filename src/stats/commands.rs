//! What every command costs: calls, time, errors and durations, for INFO and LATENCY HISTOGRAM.
//!
//! As with the other counters each thread adds to a stripe of its own. Commands are known by their
//! number in the table. A stripe is allocated when its thread first counts something, the durations
//! of a command when it first runs there: 22 KB for each command and thread in use.
//!
//! Of hundreds of commands a server sees a few, and who asks for all figures wants to look at those
//! alone: a stripe has a bit for each command of which it may have counted something.

use crate::stats::histogram::{Durations, Histogram};
use crate::stats::{STRIPES, stripe};
use smallvec::SmallVec;
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

impl Cell {
    /// True when there may be durations: calls are counted after them.
    fn was_called(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    fn reset(&self) {
        if let Some(durations) = self.durations.get().filter(|_| self.was_called()) {
            durations.reset();
        }
        for count in [&self.calls, &self.nanos, &self.rejected, &self.failed] {
            count.store(0, Ordering::Release);
        }
    }
}

/// All commands on one thread.
#[derive(Debug)]
struct Stripe {
    cells: Box<[Cell]>,
    /// A bit for each command: none for one of which nothing was counted.
    used: Box<[AtomicU64]>,
}

impl Stripe {
    fn new(commands: usize) -> Self {
        Self {
            cells: (0..commands).map(|_| Cell::default()).collect(),
            used: (0..commands.div_ceil(WORD_BITS)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Marks a command as used. Cost: one load when it is marked.
    #[inline]
    fn mark(&self, number: usize) {
        if let Some(word) = self.used.get(number / WORD_BITS) {
            let bit = 1 << (number % WORD_BITS);
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    fn is_used(&self, number: usize) -> bool {
        let word = self.used.get(number / WORD_BITS).map_or(0, |word| word.load(Ordering::Relaxed));
        word >> (number % WORD_BITS) & 1 != 0
    }

    /// Forgets everything. Cost: O(commands in use).
    fn reset(&self) {
        for (index, word) in self.used.iter().enumerate() {
            // Who counts just now and sees a figure of 0 that is stored below also sees that its
            // mark is gone, and makes it anew.
            for number in bits_of(word.swap(0, Ordering::Relaxed)) {
                if let Some(cell) = self.cells.get(index * WORD_BITS + number) {
                    cell.reset();
                }
            }
        }
    }
}

/// Bits of a word of marks.
const WORD_BITS: usize = u64::BITS as usize;

/// The numbers of the bits that are set, in ascending order.
pub(super) fn bits_of(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let number = word.trailing_zeros() as usize;
        // The lowest bit goes.
        word &= word.checked_sub(1)?;
        Some(number)
    })
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
    stripes: [OnceLock<Stripe>; STRIPES],
    commands: usize,
}

impl CommandStats {
    /// Figures for this many commands, which are numbered from 0 on.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        Self { stripes: Default::default(), commands }
    }

    fn stripes(&self) -> impl Iterator<Item = &Stripe> {
        self.stripes.iter().filter_map(OnceLock::get)
    }

    /// The cells of a command on all threads that have counted something of it.
    fn cells(&self, number: usize) -> impl Iterator<Item = &Cell> {
        let used = self.stripes().filter(move |stripe| stripe.is_used(number));
        used.filter_map(move |stripe| stripe.cells.get(number))
    }

    /// The numbers of the commands of which something may have been counted, in ascending order.
    /// Cost: O(commands / 64).
    pub fn used(&self) -> impl Iterator<Item = usize> {
        (0..self.commands.div_ceil(WORD_BITS)).flat_map(|index| {
            let words = self.stripes().filter_map(|stripe| stripe.used.get(index));
            let word = words.fold(0, |sum, word| sum | word.load(Ordering::Relaxed));
            bits_of(word).map(move |bit| index * WORD_BITS + bit)
        })
    }

    /// Counts calls of a command, and how long some of them took, in nanoseconds. Cost: up to four
    /// additions in lines of this thread's own, and one for each duration.
    pub fn add(&self, number: usize, counts: CallCounts, durations: &[u64]) {
        let Some(stripe) = self.stripes.get(stripe()) else { return };
        let stripe = stripe.get_or_init(|| Stripe::new(self.commands));
        let Some(cell) = stripe.cells.get(number) else { return };
        if !durations.is_empty() {
            let histogram = cell.durations.get_or_init(Histogram::default);
            durations.iter().for_each(|nanos| histogram.count(*nanos));
        }
        cell.calls.fetch_add(counts.calls, Ordering::Acquire);
        cell.nanos.fetch_add(counts.nanos, Ordering::Relaxed);
        if counts.rejected > 0 {
            cell.rejected.fetch_add(counts.rejected, Ordering::Acquire);
        }
        if counts.failed > 0 {
            cell.failed.fetch_add(counts.failed, Ordering::Acquire);
        }
        stripe.mark(number);
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
        let called = self.cells(number).filter(|cell| cell.was_called());
        let durations = called.filter_map(|cell| cell.durations.get());
        sum.read(&durations.collect::<SmallVec<[_; STRIPES]>>());
        sum.calls() > 0
    }

    /// Forgets everything. Cost: O(threads * commands in use).
    pub fn reset(&self) {
        self.stripes().for_each(Stripe::reset);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_counted_while_others_are_forgotten_goes_unseen() {
        for commands in [1, 64, 65, 200] {
            let stats = CommandStats::new(commands);
            let counts = CallCounts { calls: 1, nanos: 7, ..CallCounts::default() };
            std::thread::scope(|scope| {
                let resetting = scope.spawn(|| (0..5_000).for_each(|_| stats.reset()));
                let mut number = 0;
                while !resetting.is_finished() {
                    number = (number + 1) % commands;
                    stats.add(number, counts, &[5]);
                }
            });
            // What has figures has its mark.
            let cells = stats.stripes().flat_map(|stripe| stripe.cells.iter().enumerate());
            for (number, _) in cells.filter(|(_, cell)| cell.was_called()) {
                assert!(stats.used().any(|used| used == number), "{number} of {commands}");
            }
            stats.add(commands - 1, counts, &[5]);
            assert_eq!(stats.used().last(), Some(commands - 1));
        }
    }

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
        assert_eq!(stats.used().collect::<Vec<_>>(), [1]);
        // A number that is none is nobody's.
        stats.add(3, expected, &[1]);
        assert_eq!(stats.counts(3), CallCounts::default());
        stats.reset();
        assert_eq!(stats.used().count(), 0);
        assert_eq!(stats.counts(1), CallCounts::default());
        assert!(!stats.read_durations(1, &mut durations));
        stats.add(1, expected, &[5]);
        assert!(stats.read_durations(1, &mut durations));
        assert_eq!(durations.cumulative(), [(1, 1)]);
    }
}
