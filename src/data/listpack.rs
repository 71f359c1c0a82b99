//! The elements of Redis' listpack: byte strings one behind the other, readable from both ends.
//!
//! ```text
//!   element  encoding | content | length of both, 7 bits a byte, to be read backwards
//!   encoding 0xxxxxxx number | 10xxxxxx string of x | 110xxxxx + 1 i13, high first
//!            1110xxxx + 1 string, high first | F0 + u32 string
//!            F1 i16 | F2 i24 | F3 i32 | F4 i64              all else little endian
//! ```
//!
//! A string that is how an integer is printed is stored as that integer. Dumps hold the blocks of
//! streams in this form; in memory they are denser. Nothing here can panic on bytes that are not
//! well formed: a walk just ends.

use crate::data::stream_element::Element;

const I13: u8 = 0xC0;
const STRING_12: u8 = 0xE0;
const STRING_32: u8 = 0xF0;
const I16: u8 = 0xF1;
const I24: u8 = 0xF2;
const I32: u8 = 0xF3;
const I64: u8 = 0xF4;

/// Bytes of the length that follows an element of `len` bytes. One less than full from two bytes
/// on: that is how Redis decides.
#[inline]
fn back_bytes(len: usize) -> usize {
    match len {
        0..=0x7F => 1,
        0x80..0x3FFF => 2,
        0x3FFF..0x1F_FFFF => 3,
        0x1F_FFFF..0xFFF_FFFF => 4,
        _ => 5,
    }
}

/// Bytes that an integer takes as an element.
#[inline]
#[must_use]
pub fn integer_bytes(number: i64) -> usize {
    match number {
        0..0x80 => 2,
        -0x1000..0x1000 => 3,
        -0x8000..0x8000 => 4,
        -0x80_0000..0x80_0000 => 5,
        -0x8000_0000..0x8000_0000 => 6,
        _ => 10,
    }
}

/// Appends an integer.
#[inline]
pub fn put_integer(out: &mut Vec<u8>, number: i64) {
    let [a, b, c, d, ..] = number.to_le_bytes();
    match number {
        0..0x80 => out.extend_from_slice(&[a, 1]),
        -0x1000..0x1000 => out.extend_from_slice(&[I13 | b & 0x1F, a, 2]),
        -0x8000..0x8000 => out.extend_from_slice(&[I16, a, b, 3]),
        -0x80_0000..0x80_0000 => out.extend_from_slice(&[I24, a, b, c, 4]),
        -0x8000_0000..0x8000_0000 => out.extend_from_slice(&[I32, a, b, c, d, 5]),
        _ => {
            out.push(I64);
            out.extend_from_slice(&number.to_le_bytes());
            out.push(9);
        }
    }
}

/// Bytes of a string's head.
#[inline]
fn head_bytes(len: usize) -> usize {
    match len {
        0..0x40 => 1,
        0x40..0x1000 => 2,
        _ => 5,
    }
}

/// Bytes that an element takes. Cost: O(1).
#[inline]
#[must_use]
pub fn element_bytes(element: Element<'_>) -> usize {
    match element {
        Element::Bytes(bytes) => {
            let len = head_bytes(bytes.len()) + bytes.len();
            len + back_bytes(len)
        }
        Element::Integer(number) => integer_bytes(number),
    }
}

/// Appends an element. Cost: O(bytes).
#[inline]
pub fn put(out: &mut Vec<u8>, element: Element<'_>) {
    match element {
        Element::Bytes(bytes) => put_string(out, bytes),
        Element::Integer(number) => put_integer(out, number),
    }
}

#[inline]
fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len();
    match len {
        0..0x40 => out.push(0x80 | len as u8),
        0x40..0x1000 => {
            out.extend_from_slice(&(u16::from(STRING_12) << 8 | len as u16).to_be_bytes())
        }
        _ => {
            out.push(STRING_32);
            out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
    put_back_length(out, head_bytes(len) + len);
}

#[inline]
fn put_back_length(out: &mut Vec<u8>, len: usize) {
    let width = back_bytes(len);
    for index in 0..width {
        let part = (len >> (7 * (width - 1 - index))) as u8 & 0x7F;
        out.push(if index == 0 { part } else { part | 0x80 });
    }
}

/// Sign and all, from `N` bytes.
#[inline]
fn little_endian<const N: usize>(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.first_chunk::<N>()?;
    let unsigned = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let unused_bits = 64 - 8 * N as u32;
    Some(((unsigned << unused_bits) as i64) >> unused_bits)
}

/// Bytes of the encoding and the content of the element that begins `bytes`.
#[inline]
fn content_bytes(bytes: &[u8]) -> Option<usize> {
    Some(match *bytes.first()? {
        0x00..=0x7F => 1,
        first @ 0x80..=0xBF => 1 + usize::from(first & 0x3F),
        0xC0..=0xDF => 2,
        first @ 0xE0..=0xEF => 2 + (usize::from(first & 0x0F) << 8 | usize::from(*bytes.get(1)?)),
        STRING_32 => {
            let len = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
            5_usize.checked_add(usize::try_from(len).ok()?)?
        }
        I16 => 3,
        I24 => 4,
        I32 => 5,
        I64 => 9,
        _ => return None,
    })
}

/// The element that begins at `at`, and where it ends. Cost: O(1).
#[inline]
#[must_use]
pub fn read(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let rest = bytes.get(at..)?;
    let first = *rest.first()?;
    let len = content_bytes(rest)?;
    let end = at.checked_add(len + back_bytes(len))?;
    if end > bytes.len() {
        return None;
    }
    let content = rest.get(..len)?;
    let element = match first {
        0x00..=0x7F => Element::Integer(i64::from(first)),
        0x80..=0xBF => Element::Bytes(content.get(1..)?),
        0xC0..=0xDF => {
            let unsigned = i64::from(first & 0x1F) << 8 | i64::from(*content.get(1)?);
            Element::Integer(if unsigned < 1 << 12 { unsigned } else { unsigned - (1 << 13) })
        }
        0xE0..=0xEF => Element::Bytes(content.get(2..)?),
        STRING_32 => Element::Bytes(content.get(5..)?),
        I16 => Element::Integer(little_endian::<2>(content.get(1..)?)?),
        I24 => Element::Integer(little_endian::<3>(content.get(1..)?)?),
        I32 => Element::Integer(little_endian::<4>(content.get(1..)?)?),
        _ => Element::Integer(little_endian::<8>(content.get(1..)?)?),
    };
    Some((element, end))
}

/// Where the element that ends at `end` begins. Cost: O(1).
#[inline]
fn start_before(bytes: &[u8], end: usize) -> Option<usize> {
    let mut len = 0_usize;
    for width in 0..5 {
        let byte = *bytes.get(end.checked_sub(width + 1)?)?;
        len |= usize::from(byte & 0x7F) << (7 * width);
        if byte < 0x80 {
            return end.checked_sub(width + 1)?.checked_sub(len);
        }
    }
    None
}

/// True when the element that begins at `at` and ends at `end` repeats its length correctly.
#[must_use]
pub fn is_sound(bytes: &[u8], at: usize, end: usize) -> bool {
    // A length that takes more bytes than it must is refused, too.
    let Some(len) = bytes.get(at..).and_then(content_bytes) else { return false };
    start_before(bytes, end) == Some(at) && at + len + back_bytes(len) == end
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::data::stream_element::tests::text;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn elements_come_back_from_both_ends(
            texts in prop::collection::vec(text(), 0..30)
        ) {
            let mut bytes = Vec::new();
            let mut starts = Vec::new();
            for text in &texts {
                starts.push(bytes.len());
                put(&mut bytes, Element::of(text));
                let taken = bytes.len() - starts.last().unwrap();
                prop_assert_eq!(taken, element_bytes(Element::of(text)));
            }
            let mut at = 0;
            for (text, start) in texts.iter().zip(&starts) {
                prop_assert_eq!(at, *start);
                let (element, end) = read(&bytes, at).unwrap();
                prop_assert_eq!(&element.to_vec(), text);
                prop_assert!(is_sound(&bytes, at, end));
                prop_assert_eq!(start_before(&bytes, end), Some(at));
                if let Element::Integer(number) = element {
                    prop_assert_eq!(end - at, integer_bytes(number));
                }
                at = end;
            }
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(read(&bytes, at), None);
        }

        #[test]
        fn no_bytes_upset_a_walk(bytes: Vec<u8>, at in 0_usize..40) {
            if let Some((_, end)) = read(&bytes, at) {
                prop_assert!(end > at && end <= bytes.len());
                let _ = is_sound(&bytes, at, end);
            }
            let _ = start_before(&bytes, at);
        }
    }

    #[test]
    fn long_strings_have_long_heads() {
        for len in [16_376, 16_377, 16_378, 16_379, 16_380, 2_097_140, 2_097_150] {
            let mut bytes = Vec::new();
            let text = vec![b'x'; len];
            put(&mut bytes, Element::of(&text));
            let (element, end) = read(&bytes, 0).unwrap();
            assert_eq!((element.to_vec().len(), end), (len, bytes.len()));
            assert_eq!(start_before(&bytes, end), Some(0));
            assert!(is_sound(&bytes, 0, end));
        }
    }
}
