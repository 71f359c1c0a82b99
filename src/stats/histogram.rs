//! How long calls of one command took: a histogram of fixed size.
//!
//! Like an HDR histogram, buckets grow with the value, so that the error is a fixed part of it:
//!
//! ```text
//!   0..32 ns     one bucket for each nanosecond
//!   32..1024 ns  32 buckets for each doubling, 3 % wide
//!   1 us..1 s    128 buckets for each doubling, 0.8 % wide: two digits, and Redis' boundaries
//! ```
//!
//! What takes longer than a second counts as a second, as in Redis. The bucket of a value is found
//! by shifts; nothing is ever resized, so threads may count at the same time.

use crate::stats::commands::bits_of;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of a value below which each value has a bucket of its own.
const FINE_BITS: u32 = 5;
/// Bits from which doublings have more buckets.
const WIDE_FROM: u32 = 10;
/// Bits that tell the bucket within a doubling, below and above that.
const NARROW_BITS: u32 = 5;
const WIDE_BITS: u32 = 7;
/// What takes longer counts as this.
const NANOS_MAX: u64 = 1_000_000_000;
/// Buckets below [`WIDE_FROM`].
const LOW_BUCKETS: usize = (1 << FINE_BITS) + ((WIDE_FROM - FINE_BITS) << NARROW_BITS) as usize;
/// The last doubling begins at this power of two.
const LAST_BITS: u32 = 29;
/// Doublings from 1024 ns to a second.
const WIDE_DOUBLINGS: usize = (LAST_BITS - WIDE_FROM + 1) as usize;
const BUCKETS: usize = LOW_BUCKETS + (WIDE_DOUBLINGS << WIDE_BITS);

/// The bucket of a duration.
#[inline]
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min(NANOS_MAX);
    let bits = nanos.max(1).ilog2();
    let part = |bits_within: u32| (nanos >> (bits - bits_within)) - (1 << bits_within);
    let number = if bits < FINE_BITS {
        nanos
    } else if bits < WIDE_FROM {
        let before = u64::from(bits - FINE_BITS) << NARROW_BITS;
        (1 << FINE_BITS) + before + part(NARROW_BITS)
    } else {
        let before = u64::from(bits - WIDE_FROM) << WIDE_BITS;
        LOW_BUCKETS as u64 + before + part(WIDE_BITS)
    };
    usize::try_from(number).unwrap_or(BUCKETS - 1)
}

/// The longest duration of a bucket, in nanoseconds.
fn longest(bucket: usize) -> u64 {
    let number = bucket as u64;
    let within = |number: u64, bits_within: u32, first_bits: u32| {
        let bits = u64::from(first_bits) + (number >> bits_within);
        let step = bits - u64::from(bits_within);
        let part = number & ((1 << bits_within) - 1);
        (((1 << bits_within) + part + 1) << step) - 1
    };
    match bucket {
        ..32 => number,
        32..LOW_BUCKETS => within(number - (1 << FINE_BITS), NARROW_BITS, FINE_BITS),
        _ => within(number - LOW_BUCKETS as u64, WIDE_BITS, WIDE_FROM),
    }
}

/// Buckets that are marked together as used, so that the many unused ones need not be looked at.
const BLOCK: usize = 64;

const _: () = assert!(BUCKETS.div_ceil(BLOCK) <= u64::BITS as usize);

/// The buckets of a block.
fn buckets_of(block: usize) -> Range<usize> {
    block * BLOCK..((block + 1) * BLOCK).min(BUCKETS)
}

/// Counts that several threads may raise.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Box<[AtomicU64]>,
    /// A bit for every block in which something was counted.
    used: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, used: AtomicU64::new(0) }
    }
}

impl Histogram {
    #[inline]
    pub(super) fn count(&self, nanos: u64) {
        let number = bucket(nanos);
        if let Some(count) = self.counts.get(number) {
            count.fetch_add(1, Ordering::Relaxed);
            let bit = 1 << (number / BLOCK);
            if self.used.load(Ordering::Relaxed) & bit == 0 {
                self.used.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn reset(&self) {
        // The marks stay: who counts just now may have found its block marked.
        for block in bits_of(self.used.load(Ordering::Relaxed)) {
            for count in self.counts.get(buckets_of(block)).unwrap_or_default() {
                count.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// The durations of one command's calls, as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    /// The blocks in which there is something, one behind the other.
    counts: Vec<u64>,
    /// As in the histogram.
    used: u64,
    total: u64,
}

impl Durations {
    /// Makes these the sum of `histograms`. Cost: O(blocks in use).
    pub(super) fn read(&mut self, histograms: &[&Histogram]) {
        let used = |histogram: &&Histogram| histogram.used.load(Ordering::Relaxed);
        self.used = histograms.iter().map(used).fold(0, |sum, used| sum | used);
        self.total = 0;
        self.counts.clear();
        self.counts.resize(self.used.count_ones() as usize * BLOCK, 0);
        for (block, sums) in bits_of(self.used).zip(self.counts.chunks_exact_mut(BLOCK)) {
            for histogram in histograms {
                let counts = histogram.counts.get(buckets_of(block)).unwrap_or_default();
                for (sum, count) in sums.iter_mut().zip(counts) {
                    let count = count.load(Ordering::Relaxed);
                    *sum += count;
                    self.total += count;
                }
            }
        }
    }

    /// The buckets in which there is something, and how much.
    fn counted(&self) -> impl Iterator<Item = (usize, u64)> {
        let blocks = bits_of(self.used).zip(self.counts.chunks_exact(BLOCK));
        let counts =
            blocks.flat_map(|(block, counts)| (block * BLOCK..).zip(counts.iter().copied()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Number of calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.total
    }

    /// The duration in nanoseconds that `percent` of the calls did not exceed; the shortest one
    /// for 0.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rank among fewer than 2^52 calls")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to total")]
    pub fn percentile(&self, percent: f64) -> u64 {
        let rank = (percent.clamp(0.0, 100.0) / 100.0 * self.total as f64 + 0.5) as u64;
        let rank = rank.max(1);
        let mut seen = 0;
        for (number, count) in self.counted() {
            seen += count;
            if seen >= rank {
                let shortest = number.checked_sub(1).map_or(0, |before| longest(before) + 1);
                return if percent > 0.0 { longest(number) } else { shortest };
            }
        }
        0
    }

    /// Pairs of microseconds, each twice the one before, and the number of calls that took no
    /// longer; those that add no call are left out.
    #[must_use]
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let mut seen = 0;
        // The last bucket of the present step.
        let mut ends = (WIDE_FROM..=LAST_BITS).map(|bits| bucket(1 << bits));
        let mut end = ends.next().unwrap_or(BUCKETS - 1);
        for (number, count) in self.counted() {
            while number > end {
                end = ends.next().unwrap_or(BUCKETS - 1);
            }
            seen += count;
            let micros = longest(end) / 1_000;
            match steps.last_mut() {
                Some((last, calls)) if *last == micros => *calls = seen,
                _ => steps.push((micros, seen)),
            }
        }
        steps
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_a_bucket_that_fits_it() {
        let mut nanos = 0;
        let mut before = None;
        while nanos < 2 * NANOS_MAX {
            let number = bucket(nanos);
            assert!(number < BUCKETS);
            let clamped = nanos.min(NANOS_MAX);
            assert!(longest(number) >= clamped, "{nanos}");
            assert!(longest(number) - clamped <= clamped / 32, "{nanos}");
            assert!(number == 0 || longest(number - 1) < clamped, "{nanos}");
            assert!(before <= Some(number));
            before = Some(number);
            nanos += nanos / 100 + 1;
        }
    }

    #[test]
    fn percentiles_are_those_of_the_hdr_histogram_of_redis() {
        let ours = Histogram::default();
        let mut hdr = hdrhistogram::Histogram::<u64>::new_with_bounds(1, NANOS_MAX, 2).unwrap();
        let mut nanos = 1_024_u64;
        for _ in 0..10_000 {
            nanos = nanos.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) >> 20;
            let nanos = 1_024 + nanos % (1 << (10 + nanos % 18));
            ours.count(nanos);
            hdr.record(nanos).unwrap();
        }
        let mut durations = Durations::default();
        durations.read(&[&ours]);
        assert_eq!(durations.calls(), 10_000);
        let (mut twice, other) = (Durations::default(), Histogram::default());
        other.count(7);
        twice.read(&[&ours, &other, &ours]);
        assert_eq!(twice.calls(), 20_001);
        assert_eq!(twice.percentile(100.0), durations.percentile(100.0));
        assert_eq!(twice.cumulative().last().map(|(_, calls)| *calls), Some(20_001));
        for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
            assert_eq!(durations.percentile(percent), hdr.value_at_percentile(percent));
        }
    }

    #[test]
    fn the_steps_have_the_boundaries_of_redis() {
        let histogram = Histogram::default();
        for nanos in [5, 1_000, 1_031, 1_032, 33_023, 33_024, 140_000, NANOS_MAX, u64::MAX] {
            histogram.count(nanos);
        }
        let mut durations = Durations::default();
        durations.read(&[&histogram]);
        let expected = [(1, 3), (2, 4), (33, 5), (66, 6), (264, 7), (1_073_741, 9)];
        assert_eq!(durations.cumulative(), expected);
        histogram.reset();
        let mut durations = Durations::default();
        durations.read(&[&histogram]);
        assert!(durations.cumulative().is_empty());
        assert_eq!(durations.percentile(50.0), 0);
    }
}
