//! Chance: small, fast numbers for drawing members and keys. Not for secrets.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A splitmix64 generator.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    state: u64,
}

impl Default for Random {
    fn default() -> Self {
        Self::seeded()
    }
}

impl Random {
    /// A generator whose whole sequence follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator that starts anywhere.
    #[must_use]
    pub fn seeded() -> Self {
        Self::new(RandomState::new().hash_one(0))
    }

    /// Any 64 bits.
    #[inline]
    pub fn next_bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, each as likely as any other; 0 when `limit` is 0.
    #[inline]
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = limit as u64;
        // The top half of a product of 128 bits; the lowest products are drawn again, because
        // there is one too many of them for some numbers.
        let surplus = if limit == 0 { 0 } else { limit.wrapping_neg() % limit };
        loop {
            let product = u128::from(self.next_bits()) * u128::from(limit);
            if product as u64 >= surplus {
                return (product >> 64) as usize;
            }
        }
    }

    /// `count` different numbers below `limit` in ascending order, each choice as likely; all of
    /// them when there are no more. Cost: O(count log count).
    pub fn distinct_below(&mut self, count: usize, limit: usize) -> Vec<usize> {
        if count >= limit {
            return (0..limit).collect();
        }
        let mut chosen = HashSet::with_capacity(count);
        for last in limit - count..limit {
            let drawn = self.below(last + 1);
            if !chosen.insert(drawn) {
                chosen.insert(last);
            }
        }
        let mut chosen: Vec<usize> = chosen.into_iter().collect();
        chosen.sort_unstable();
        chosen
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_limit_is_as_likely() {
        let mut random = Random::new(7);
        assert_eq!((random.below(0), random.below(1)), (0, 0));
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        // Each of the ten pairs of five numbers.
        let mut pairs = std::collections::BTreeMap::<Vec<usize>, u32>::new();
        for _ in 0..10_000 {
            *pairs.entry(random.distinct_below(2, 5)).or_default() += 1;
        }
        assert_eq!(pairs.len(), 10);
        assert!(pairs.values().all(|count| (850..1_150).contains(count)), "{pairs:?}");
        assert_eq!(random.distinct_below(9, 3), [0, 1, 2]);
        // Above half of all numbers, a plain remainder would give the low ones twice as often.
        let limit = 3 * (usize::MAX / 4);
        let low = (0..10_000).filter(|_| random.below(limit) < limit / 3).count();
        assert!((3_100..3_560).contains(&low), "{low}");
    }
}
