//! A few entries at random, at the price of finding one.

use super::{Hashed, Hold, Segment, SegmentedTable, Slot, Store};
use crate::util::random::Random;

impl<T: Hashed, H: Hold<Segment<T, S>>, S: Store<T>> SegmentedTable<T, H, S> {
    /// Calls `each` with up to `count` entries: one that is drawn at random, each as likely, and
    /// those that stand behind it in its segment and then in front of it. Neighbours have nothing
    /// in common but the beginning of their hashes.
    ///
    /// Cost: O(count) expected, O(places of a segment) at most.
    pub fn sample<'a>(&'a self, count: usize, random: &mut Random, mut each: impl FnMut(&'a T)) {
        let Some(Slot { segment, place: first }) = self.draw(random) else {
            return;
        };
        let table = &self.segment(segment).table;
        let places = (first..table.places()).chain(0..first);
        places.filter_map(|place| table.get(place)).take(count).for_each(&mut each);
    }
}

#[cfg(test)]
mod tests {
    use crate::data::segmented::{Hashed, OwnedTable};
    use crate::util::hash::KeyHash;
    use crate::util::random::Random;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, Default)]
    struct Number(u64);

    impl Hashed for Number {
        fn hash(&self) -> KeyHash {
            KeyHash::of_key(&self.0.to_le_bytes())
        }

        fn heap_bytes(&self) -> usize {
            0
        }
    }

    #[test]
    fn every_entry_comes_up_and_none_twice_at_a_time() {
        let mut random = Random::new(11);
        for entries in [0_u64, 1, 3, 40, 2_000] {
            let mut table = OwnedTable::<Number>::new(0, 0);
            for number in 0..entries {
                table.insert_new(Number(number).hash(), Number(number));
            }
            let mut seen = BTreeMap::<u64, u32>::new();
            let rounds = 40 * entries.max(1);
            for _ in 0..rounds {
                let mut now = Vec::new();
                table.sample(5, &mut random, |number| now.push(number.0));
                assert!(now.len() <= 5 && (now.len() == 5 || entries <= 40));
                now.iter().for_each(|number| *seen.entry(*number).or_default() += 1);
                now.sort_unstable();
                now.dedup();
                assert!(now.len() as u64 >= entries.min(1));
            }
            assert_eq!(seen.len() as u64, entries);
            let each = (rounds * 5.min(entries)) as u32 / entries.max(1) as u32;
            assert!(seen.values().all(|times| (each / 4..each * 3).contains(times)), "{seen:?}");
        }
    }
}
