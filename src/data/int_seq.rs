//! Whole numbers in ascending order in one run of bytes.
//!
//! ```text
//!   [ owner's bytes ][ width: 1 byte ][ number ][ number ] ...      each of `width` bytes
//!                    ^ base
//! ```
//!
//! The width is 2, 4 or 8 bytes, that of the largest number there ever was, so that a number is
//! found by halving. As with a packed sequence, the bytes before `base` belong to the owner.

use crate::data::InOwner;
use std::ops::Range;

const WIDTHS: [usize; 3] = [2, 4, 8];

/// The least width that holds `number`.
fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

fn read_number(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        2 => bytes.first_chunk().map(|b| i64::from(i16::from_le_bytes(*b))),
        4 => bytes.first_chunk().map(|b| i64::from(i32::from_le_bytes(*b))),
        _ => bytes.first_chunk().map(|b| i64::from_le_bytes(*b)),
    }
}

/// Ascending numbers borrowed from where they are stored.
#[derive(Debug, Clone, Copy)]
pub struct IntRef<'a> {
    width: usize,
    numbers: &'a [u8],
}

impl<'a> IntRef<'a> {
    /// The numbers in these bytes; `None` when they do not begin with a width.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (width, numbers) = bytes.split_first()?;
        let width = usize::from(*width);
        WIDTHS.contains(&width).then_some(Self { width, numbers })
    }

    /// How many there are. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        self.numbers.len() / self.width
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.numbers.is_empty()
    }

    /// Number `index` in ascending order. Cost: O(1).
    #[inline]
    #[must_use]
    pub fn get(self, index: usize) -> Option<i64> {
        let start = index.checked_mul(self.width)?;
        read_number(self.numbers.get(start..start + self.width)?)
    }

    /// All in ascending order.
    pub fn iter(self) -> impl Iterator<Item = i64> + use<'a> {
        self.numbers.chunks_exact(self.width).filter_map(read_number)
    }

    /// True when `number` is there. Cost: O(log n).
    #[must_use]
    pub fn contains(self, number: i64) -> bool {
        self.find(number).is_ok()
    }

    /// The index of `number`, or the one that it would get. Cost: O(log n).
    fn find(self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle) {
                Some(found) if found == number => return Ok(middle),
                Some(found) if found < number => low = middle + 1,
                _ => high = middle,
            }
        }
        Err(low)
    }
}

/// Ascending numbers that can change; they may share their allocation with their owner's bytes.
#[derive(Debug, Clone)]
pub struct IntSeq(InOwner);

impl Default for IntSeq {
    fn default() -> Self {
        Self(InOwner { buffer: vec![2], base: 0 })
    }
}

impl IntSeq {
    /// The numbers that stand behind their owner's bytes.
    #[must_use]
    pub fn in_owner(bytes: InOwner) -> Self {
        Self(bytes)
    }

    /// Their bytes behind their owner's.
    #[must_use]
    pub fn into_owner(self) -> InOwner {
        self.0
    }

    /// The numbers for reading.
    #[must_use]
    pub fn as_ref(&self) -> IntRef<'_> {
        IntRef::parse(self.0.value()).unwrap_or(IntRef { width: 2, numbers: &[] })
    }

    /// Adds `number`; true when it is new. Cost: O(n).
    pub fn insert(&mut self, number: i64) -> bool {
        let Err(index) = self.as_ref().find(number) else {
            return false;
        };
        let width = width_of(number);
        if width > self.as_ref().width {
            self.widen(width);
        }
        let width = self.as_ref().width;
        let at = self.place(index, width).start;
        let len = self.0.buffer.len();
        self.0.buffer.reserve_exact(width);
        self.0.buffer.resize(len + width, 0);
        self.0.buffer.copy_within(at..len, at + width);
        let bytes = number.to_le_bytes();
        if let (Some(place), Some(bytes)) =
            (self.0.buffer.get_mut(at..at + width), bytes.get(..width))
        {
            place.copy_from_slice(bytes);
        }
        true
    }

    /// Removes `number`; true when it was there. Cost: O(n).
    pub fn remove(&mut self, number: i64) -> bool {
        let found = self.as_ref().find(number);
        if let Ok(index) = found {
            let place = self.place(index, self.as_ref().width);
            if place.end <= self.0.buffer.len() {
                self.0.buffer.drain(place);
            }
        }
        found.is_ok()
    }

    /// Where number `index` stands in the buffer.
    fn place(&self, index: usize, width: usize) -> Range<usize> {
        let start = self.0.base + 1 + index * width;
        start..start + width
    }

    fn widen(&mut self, width: usize) {
        let numbers: Vec<i64> = self.as_ref().iter().collect();
        self.0.buffer.truncate(self.0.base);
        self.0.buffer.reserve_exact(1 + (numbers.len() + 1) * width);
        self.0.buffer.push(width as u8);
        for number in numbers {
            self.0.buffer.extend_from_slice(number.to_le_bytes().get(..width).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn number() -> impl Strategy<Value = i64> {
        let edges = [i16::MAX.into(), i16::MIN.into(), i32::MAX.into(), i32::MIN.into()];
        prop_oneof![
            -20_i64..20,
            prop::sample::select(edges.to_vec()).prop_flat_map(|edge: i64| edge - 2..=edge + 2),
            prop::sample::select(vec![i64::MIN, i64::MAX]),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_an_ordered_set(
            changes in prop::collection::vec((number(), any::<bool>()), 0..120)
        ) {
            let mut model = BTreeSet::new();
            let mut seq = IntSeq::in_owner(InOwner { buffer: b"owner\x02".to_vec(), base: 5 });
            for (number, insert) in changes {
                if insert {
                    prop_assert_eq!(seq.insert(number), model.insert(number));
                } else {
                    prop_assert_eq!(seq.remove(number), model.remove(&number));
                }
                prop_assert_eq!(seq.as_ref().contains(number), model.contains(&number));
                prop_assert!(seq.as_ref().iter().eq(model.iter().copied()));
                prop_assert_eq!(seq.as_ref().len(), model.len());
                for (index, number) in model.iter().enumerate() {
                    prop_assert_eq!(seq.as_ref().get(index), Some(*number));
                }
            }
            prop_assert!(seq.into_owner().buffer.starts_with(b"owner"));
        }
    }
}
