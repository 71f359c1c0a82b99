//! Byte strings as rows of bits: bit 0 is the highest bit of the first byte.
//!
//! Long rows are counted and searched a word at a time. A field is a whole number of 1 to 64 bits
//! that may start at any bit; it touches at most nine bytes, which are read as one number.

use std::ops::RangeInclusive;

const WORD_BYTES: usize = size_of::<u64>();
/// The most bytes that a field of 64 bits touches.
const FIELD_BYTES_MAX: usize = 9;

/// Bit number `at`; behind the end all bits are 0.
#[must_use]
pub fn get_bit(bytes: &[u8], at: u64) -> bool {
    let byte = usize::try_from(at / 8).ok().and_then(|index| bytes.get(index));
    byte.is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// Sets bit number `at`, which must be there.
pub fn set_bit(bytes: &mut [u8], at: u64, on: bool) {
    let mask = 1 << (7 - at % 8);
    if let Some(byte) = usize::try_from(at / 8).ok().and_then(|index| bytes.get_mut(index)) {
        *byte = if on { *byte | mask } else { *byte & !mask };
    }
}

/// How many bits are 1. Cost: O(n), eight bytes at a time.
#[must_use]
pub fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    let whole: u64 = words.iter().map(|w| u64::from(u64::from_ne_bytes(*w).count_ones())).sum();
    whole + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// How many bits of a range are 1; its ends must be inside.
#[must_use]
pub fn count_ones_between(bytes: &[u8], range: RangeInclusive<u64>) -> u64 {
    let Some((inner, first, last)) = parts(bytes, &range) else {
        return 0;
    };
    let ones = |byte: u8, mask: u8| u64::from((byte & mask).count_ones());
    match inner {
        [] => 0,
        [only] => ones(*only, first & last),
        [start, middle @ .., end] => ones(*start, first) + count_ones(middle) + ones(*end, last),
    }
}

/// The number of the first bit of a range that is `on`; its ends must be inside. Cost: O(n), eight
/// bytes at a time.
#[must_use]
pub fn find_bit(bytes: &[u8], range: RangeInclusive<u64>, on: bool) -> Option<u64> {
    let (inner, first, last) = parts(bytes, &range)?;
    // From here on a 1 is looked for.
    let sought = |byte: u8| if on { byte } else { !byte };
    let base = range.start() / 8 * 8;
    let at = |index: usize, byte: u8| base + 8 * index as u64 + u64::from(byte.leading_zeros());
    let (start, rest) = inner.split_first()?;
    let masked = sought(*start) & if rest.is_empty() { first & last } else { first };
    if masked != 0 {
        return Some(at(0, masked));
    }
    let (end, middle) = rest.split_last()?;
    let skipped = if on { 0 } else { u64::MAX };
    let (words, _) = middle.as_chunks::<WORD_BYTES>();
    let empty_words = words.iter().take_while(|word| u64::from_ne_bytes(**word) == skipped).count();
    let from = empty_words * WORD_BYTES;
    let found = middle.get(from..)?.iter().position(|byte| sought(*byte) != 0);
    if let Some(index) = found {
        let index = from + index;
        return Some(at(index + 1, sought(middle.get(index).copied()?)));
    }
    let masked = sought(*end) & last;
    (masked != 0).then(|| at(inner.len() - 1, masked))
}

/// The bytes that a range touches, and which bits of the first and of the last belong to it.
fn parts<'a>(bytes: &'a [u8], range: &RangeInclusive<u64>) -> Option<(&'a [u8], u8, u8)> {
    let start = usize::try_from(range.start() / 8).ok()?;
    let end = usize::try_from(range.end() / 8).ok()?;
    let inner = bytes.get(start..=end)?;
    Some((inner, 0xff >> (range.start() % 8), 0xff << (7 - range.end() % 8)))
}

/// The field of `bits` bits that starts at bit number `at`; behind the end all bits are 0.
#[must_use]
pub fn get_field(bytes: &[u8], at: u64, bits: u32) -> u64 {
    let (window, shift) = (window(bytes, at), shift(at, bits));
    (window >> shift) as u64 & field_mask(bits)
}

/// Sets the field of `bits` bits that starts at bit number `at`, all of which must be there, to the
/// low bits of `value`.
pub fn set_field(bytes: &mut [u8], at: u64, bits: u32, value: u64) {
    let shift = shift(at, bits);
    let mask = u128::from(field_mask(bits)) << shift;
    let value = window(bytes, at) & !mask | (u128::from(value) << shift) & mask;
    let start = usize::try_from(at / 8).unwrap_or(usize::MAX);
    let window_bytes = value.to_be_bytes();
    let new = window_bytes.iter().skip(size_of::<u128>() - FIELD_BYTES_MAX);
    for (place, byte) in bytes.iter_mut().skip(start).zip(new) {
        *place = *byte;
    }
}

/// Nine bytes as one number, from the byte that has bit number `at` on.
fn window(bytes: &[u8], at: u64) -> u128 {
    let start = usize::try_from(at / 8).unwrap_or(usize::MAX);
    let rest = bytes.get(start..).unwrap_or_default();
    let padded = rest.iter().chain(std::iter::repeat(&0)).take(FIELD_BYTES_MAX);
    padded.fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// How far from the end of its window a field ends.
fn shift(at: u64, bits: u32) -> u32 {
    (8 * FIELD_BYTES_MAX as u32).saturating_sub((at % 8) as u32 + bits)
}

fn field_mask(bits: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> (7 - bit) & 1 == 1)).collect()
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..60),
            prop::collection::vec(prop_oneof![9 => Just(0_u8), 1 => any::<u8>()], 1..60),
            prop::collection::vec(prop_oneof![9 => Just(0xff_u8), 1 => any::<u8>()], 1..60),
        ]
    }

    proptest! {
        #[test]
        fn ranges_are_counted_and_searched_as_bit_by_bit(
            bytes in bytes(), one: prop::sample::Index, other: prop::sample::Index, on: bool,
        ) {
            let row = row(&bytes);
            let (one, other) = (one.index(row.len()), other.index(row.len()));
            let (first, last) = (one.min(other), one.max(other));
            let range = first as u64..=last as u64;
            let ones = row[first..=last].iter().filter(|bit| **bit).count() as u64;
            prop_assert_eq!(count_ones_between(&bytes, range.clone()), ones);
            prop_assert_eq!(count_ones(&bytes), row.iter().filter(|bit| **bit).count() as u64);
            let found = (first..=last).find(|at| row[*at] == on).map(|at| at as u64);
            prop_assert_eq!(find_bit(&bytes, range, on), found);
            prop_assert_eq!(get_bit(&bytes, first as u64), row[first]);
        }

        #[test]
        fn fields_are_read_and_written_as_bit_by_bit(
            bytes in bytes(), at in 0_u64..500, bits in 1_u32..=64, value: u64,
        ) {
            let mut row = row(&bytes);
            let bit = |row: &[bool], at: u64| row.get(at as usize).copied().unwrap_or(false);
            let read = (0..u64::from(bits))
                .fold(0, |sum, n| sum << 1 | u64::from(bit(&row, at + n)));
            prop_assert_eq!(get_field(&bytes, at, bits), read);
            let mut changed = bytes.clone();
            let len = (at + u64::from(bits)).div_ceil(8) as usize;
            changed.resize(len.max(bytes.len()), 0);
            row.resize(8 * changed.len(), false);
            set_field(&mut changed, at, bits, value);
            for n in 0..bits {
                row[at as usize + n as usize] = value >> (bits - 1 - n) & 1 == 1;
            }
            prop_assert_eq!(self::row(&changed), row);
        }

        #[test]
        fn a_bit_is_set_alone(bytes in bytes(), at: prop::sample::Index, on: bool) {
            let mut row = row(&bytes);
            let at = at.index(row.len());
            let mut changed = bytes.clone();
            set_bit(&mut changed, at as u64, on);
            row[at] = on;
            prop_assert_eq!(self::row(&changed), row);
        }
    }

    #[test]
    fn behind_the_end_all_bits_are_zero() {
        assert!(!get_bit(b"\xff", 8) && !get_bit(b"", u64::MAX));
        assert_eq!(get_field(b"\xff", 4, 8), 0xf0);
        assert_eq!(get_field(b"\xff", u64::MAX - 7, 8), 0);
        assert_eq!(count_ones_between(b"\xff", 0..=8), 0);
        assert_eq!(find_bit(b"\xff", 0..=8, true), None);
    }
}
