//! Random numbers for tests: small, fast, and the same for the same seed on every machine.
//!
//! A random test prints its seed with `seed`, so that a failure can be repeated with
//! `MY_REDIS_SEED`.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

/// The variable that repeats a random test.
pub const SEED_VARIABLE: &str = "MY_REDIS_SEED";

/// The variable whose text gives each test another seed, and the same text the same seeds:
/// `tests/run` sets it to the commit, so that a commit passes always or never.
const SOURCE_VARIABLE: &str = "MY_REDIS_SEED_SOURCE";

/// The seed of this run: from the environment, otherwise a fresh one. Prints it.
pub fn seed(test: &str) -> u64 {
    let seed = match (std::env::var(SEED_VARIABLE), std::env::var(SOURCE_VARIABLE)) {
        (Ok(text), _) => {
            text.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE} is no number: {text}"))
        }
        (Err(_), Ok(source)) => {
            let mut hasher = DefaultHasher::new();
            (source, test).hash(&mut hasher);
            hasher.finish() >> 16
        }
        (Err(_), Err(_)) => RandomState::new().hash_one(test) >> 16,
    };
    println!("{test}: {SEED_VARIABLE}={seed}");
    seed
}

/// A splitmix64 generator.
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose whole sequence follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any 64 bits.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
