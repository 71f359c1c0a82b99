//! The numbers 1, 2, 3 and so on, each of which has to come exactly once.
//!
//! Whatever is handed out or handed over is numbered, and its numbers come nearly in order: it is
//! enough to keep the lowest number up to which all have come, and those above it that have come
//! too soon. These are as few as there is under way.
//!
//! A number is lost when a higher one has come and everything that was under way at that moment
//! has ended: who got the lower one had begun to ask before the higher one came.

use std::collections::BTreeSet;

/// Which numbers have come.
#[derive(Debug, Default)]
pub struct Ledger {
    /// All up to here have come.
    floor: u64,
    /// What has come of those above.
    above: BTreeSet<u64>,
    /// When it was last seen that the number behind the floor is missing.
    gap_since_ns: u64,
}

impl Ledger {
    /// Notes that `number` has come; false if it had come before.
    ///
    /// Cost: O(log of what is under way).
    #[must_use]
    pub fn add(&mut self, number: u64, now_ns: u64) -> bool {
        if number <= self.floor || !self.above.insert(number) {
            return false;
        }
        if self.above.len() == 1 || number == self.floor + 1 {
            self.gap_since_ns = now_ns;
        }
        while self.above.first() == Some(&(self.floor + 1)) {
            self.above.pop_first();
            self.floor += 1;
        }
        true
    }

    /// The number up to which all have come.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The lowest number that is missing although a higher one has come.
    #[must_use]
    pub fn missing(&self) -> Option<u64> {
        (!self.above.is_empty()).then_some(self.floor + 1)
    }

    /// The number that is lost when everything that is under way began at `oldest_ns` or later.
    #[must_use]
    pub fn lost(&self, oldest_ns: u64) -> Option<u64> {
        self.missing().filter(|_| self.gap_since_ns < oldest_ns)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_once() {
        let mut ledger = Ledger::default();
        for number in [2, 1, 5, 3] {
            assert!(ledger.add(number, 0));
        }
        assert_eq!((ledger.floor(), ledger.missing()), (3, Some(4)));
        for number in [1, 2, 3, 5] {
            assert!(!ledger.add(number, 0), "{number}");
        }
        assert!(ledger.add(4, 0));
        assert_eq!((ledger.floor(), ledger.missing()), (5, None));
    }

    #[test]
    fn a_number_is_lost_once_what_was_under_way_has_ended() {
        let mut ledger = Ledger::default();
        assert!(ledger.add(2, 100));
        assert_eq!(ledger.lost(90), None);
        assert_eq!(ledger.lost(100), None);
        assert_eq!(ledger.lost(101), Some(1));
        // Another gap is noticed later.
        assert!(ledger.add(4, 110) && ledger.add(1, 200));
        assert_eq!((ledger.lost(150), ledger.lost(201)), (None, Some(3)));
    }
}
