//! The texts in a block of a stream: byte strings one behind the other, to be read forward.
//!
//! ```text
//!   element  0xxxxxxx number | 10xxxxxx string of x | 110xxxxx + 1 i13, high first
//!            1110xxxx + 1 string, high first | F0 + u32 string
//!            F1 .. F7 integer of 2 .. 8 bytes                     all else little endian
//! ```
//!
//! A string that is how an integer is printed is stored as that integer. These are the elements of
//! Redis' listpack without the lengths behind them, and with the widths of integers that it lacks:
//! a moment in milliseconds takes 7 bytes. Nothing here can panic on bytes that are not well
//! formed: a walk just ends.

use crate::util::number::parse_i64;

const I13: u8 = 0xC0;
const STRING_12: u8 = 0xE0;
const STRING_32: u8 = 0xF0;
/// An integer of `code - INTEGER` bytes.
const INTEGER: u8 = 0xEF;
const INTEGER_BYTES_MAX: u8 = 8;

/// A string of more bytes is no integer.
const INTEGER_TEXT_BYTES_MAX: usize = 20;
/// What an element takes beside the bytes of its string at most.
pub const HEAD_BYTES_MAX: usize = 5;

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// A byte string.
    Bytes(&'a [u8]),
    /// A byte string that is how this integer is printed.
    Integer(i64),
}

impl<'a> Element<'a> {
    /// The element as which a byte string is stored.
    #[inline]
    #[must_use]
    pub fn of(text: &'a [u8]) -> Self {
        let may_be_integer = text.first().is_some_and(|first| matches!(first, b'0'..=b'9' | b'-'))
            && text.len() <= INTEGER_TEXT_BYTES_MAX;
        match may_be_integer.then(|| parse_i64(text)).flatten() {
            Some(number) => Self::Integer(number),
            None => Self::Bytes(text),
        }
    }

    /// Lends the byte string to `take`.
    #[inline]
    pub fn with_bytes<R>(self, take: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Bytes(bytes) => take(bytes),
            Self::Integer(number) => take(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    /// The byte string.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }

    /// True when it is this byte string.
    #[inline]
    #[must_use]
    pub fn is(self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(own) => own == bytes,
            Self::Integer(_) => self.with_bytes(|own| own == bytes),
        }
    }

    /// Bytes that it takes here. Cost: O(1).
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Bytes(bytes) => match bytes.len() {
                len @ 0..0x40 => 1 + len,
                len @ 0x40..0x1000 => 2 + len,
                len => HEAD_BYTES_MAX + len,
            },
            Self::Integer(0..0x80) => 1,
            Self::Integer(-0x1000..0x1000) => 2,
            Self::Integer(number) => 1 + usize::from(width(number)),
        }
    }

    /// Appends it. Cost: O(bytes).
    #[inline]
    pub fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => put_string(out, bytes),
            Self::Integer(number) => put_integer(out, number),
        }
    }
}

/// How many bytes an integer needs, sign and all.
#[inline]
fn width(number: i64) -> u8 {
    // What is left once the bits are gone that only repeat the sign.
    let bits = 65 - (number ^ (number >> 63)).leading_zeros();
    bits.div_ceil(8) as u8
}

#[inline]
fn put_integer(out: &mut Vec<u8>, number: i64) {
    let bytes = number.to_le_bytes();
    let [a, b, ..] = bytes;
    match number {
        0..0x80 => out.push(a),
        -0x1000..0x1000 => out.extend_from_slice(&[I13 | b & 0x1F, a]),
        _ => {
            let width = width(number);
            out.push(INTEGER + width);
            out.extend_from_slice(bytes.get(..usize::from(width)).unwrap_or_default());
        }
    }
}

#[inline]
fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        len @ 0..0x40 => out.push(0x80 | len as u8),
        len @ 0x40..0x1000 => {
            out.extend_from_slice(&(u16::from(STRING_12) << 8 | len as u16).to_be_bytes());
        }
        len => {
            out.push(STRING_32);
            out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// Where the content of a string begins, and how long it is, or of how many bytes an integer is.
enum Head {
    String(usize, usize),
    Small(i64, usize),
    Wide(usize),
}

#[inline]
fn head(rest: &[u8]) -> Option<Head> {
    let first = *rest.first()?;
    Some(match first {
        0x00..=0x7F => Head::Small(i64::from(first), 1),
        0x80..=0xBF => Head::String(1, usize::from(first & 0x3F)),
        0xC0..=0xDF => {
            let unsigned = i64::from(first & 0x1F) << 8 | i64::from(*rest.get(1)?);
            Head::Small(if unsigned < 0x1000 { unsigned } else { unsigned - 0x2000 }, 2)
        }
        0xE0..=0xEF => Head::String(2, usize::from(first & 0x0F) << 8 | usize::from(*rest.get(1)?)),
        STRING_32 => {
            let len = u32::from_le_bytes(*rest.get(1..)?.first_chunk()?);
            Head::String(HEAD_BYTES_MAX, usize::try_from(len).ok()?)
        }
        _ if first - INTEGER <= INTEGER_BYTES_MAX => Head::Wide(usize::from(first - INTEGER)),
        _ => return None,
    })
}

/// Sign and all.
#[inline]
fn little_endian(bytes: &[u8]) -> i64 {
    let unsigned = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let unused_bits = 64 - 8 * bytes.len().min(8) as u32;
    if unused_bits == 64 { 0 } else { ((unsigned << unused_bits) as i64) >> unused_bits }
}

/// The element that begins at `at`, and where it ends. Cost: O(1).
#[inline]
#[must_use]
pub fn read(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let rest = bytes.get(at..)?;
    Some(match head(rest)? {
        Head::String(from, len) => (Element::Bytes(rest.get(from..)?.get(..len)?), at + from + len),
        Head::Small(number, len) => (Element::Integer(number), at + len),
        Head::Wide(len) => {
            (Element::Integer(little_endian(rest.get(1..)?.get(..len)?)), at + 1 + len)
        }
    })
}

/// Where the element that begins at `at` ends. Cost: O(1).
#[inline]
#[must_use]
pub fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let end = match head(bytes.get(at..)?)? {
        Head::String(from, len) => at.checked_add(from + len)?,
        Head::Small(_, len) => at + len,
        Head::Wide(len) => at + 1 + len,
    };
    (end <= bytes.len()).then_some(end)
}

#[cfg(test)]
#[allow(clippy::panic, clippy::indexing_slicing)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts of all kinds, many of them next to where a kind ends.
    pub fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            3 => (0_u32..64, any::<bool>(), -1_i64..2).prop_map(|(bits, is_negative, by)| {
                let power = (1_i64 << bits.min(62)) + by;
                (if is_negative { -power } else { power }).to_string().into_bytes()
            }),
            3 => (-300_i64..300).prop_map(|n| n.to_string().into_bytes()),
            3 => prop::collection::vec(any::<u8>(), 0..80),
            1 => prop::collection::vec(any::<u8>(), 4_080..4_110),
            1 => prop::sample::select(vec![
                "-0", "007", "+1", "9223372036854775807", "9223372036854775808",
                "-9223372036854775808", "-9223372036854775809", "4095", "-4097", "", "-", "0",
            ]).prop_map(|text| text.as_bytes().to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn texts_come_back(texts in prop::collection::vec(text(), 0..30)) {
            let mut bytes = Vec::new();
            for text in &texts {
                let element = Element::of(text);
                let before = bytes.len();
                element.put(&mut bytes);
                prop_assert_eq!(bytes.len() - before, element.bytes());
                prop_assert!(element.bytes() <= text.len() + HEAD_BYTES_MAX);
            }
            let mut at = 0;
            for text in &texts {
                let end = skip(&bytes, at);
                let Some((element, read_end)) = read(&bytes, at) else {
                    panic!("no element at {at}")
                };
                prop_assert_eq!(&element.to_vec(), text);
                prop_assert_eq!(element, Element::of(text));
                prop_assert!(element.is(text) && !element.is(b"other"));
                prop_assert_eq!(end, Some(read_end));
                // Nothing is taken for whole that is cut off.
                prop_assert_eq!(read(&bytes[..read_end - 1], at), None);
                prop_assert_eq!(skip(&bytes[..read_end - 1], at), None);
                at = read_end;
            }
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(read(&bytes, at), None);
        }

        #[test]
        fn no_bytes_upset_a_walk(bytes: Vec<u8>, at in 0_usize..40) {
            let end = read(&bytes, at).map(|(_, end)| end);
            prop_assert_eq!(skip(&bytes, at), end);
            prop_assert!(end.is_none_or(|end| end > at && end <= bytes.len()));
        }
    }

    #[test]
    fn integers_take_no_more_bytes_than_they_need() {
        let of = |number: i64| Element::Integer(number).bytes();
        assert_eq!([of(0), of(127), of(128), of(-1), of(4095), of(-4096)], [1, 1, 2, 2, 2, 2]);
        assert_eq!([of(4096), of(32_767), of(-32_768), of(32_768)], [3, 3, 3, 4]);
        assert_eq!([of(1_700_000_000_000), of(i64::MAX), of(i64::MIN)], [7, 9, 9]);
    }

    #[test]
    fn only_what_is_printed_alike_is_an_integer() {
        for text in ["-0", "007", "+1", "", "-", " 1", "9223372036854775808"] {
            assert_eq!(Element::of(text.as_bytes()), Element::Bytes(text.as_bytes()), "{text}");
        }
        assert_eq!(Element::of(b"-9223372036854775808"), Element::Integer(i64::MIN));
    }
}
