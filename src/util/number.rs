//! Numbers as text, exactly as Redis reads and writes them.
//!
//! Redis is strict where Rust is lenient and the other way round: an integer may not carry a plus
//! sign, a leading zero or a space, because a string that looks like an integer is stored as one
//! and must come back byte for byte; a float may be hexadecimal, because it is read by C's
//! `strtod`; a float is printed with 17 significant digits (`%.17g`), which is exact but rarely
//! the shortest form. The tables of cases in the tests below were compared with redis-server.

use atoi::FromRadix10SignedChecked;
use smallvec::SmallVec;
use std::fmt::{self, Write};

/// Bytes of the longest integer; what is longer need not be read to be refused.
const INTEGER_BYTES_MAX: usize = 20;
/// Significant digits of a printed float: enough to tell any two floats apart.
const FLOAT_DIGITS: usize = 17;
/// Whole floats below this are printed through the integer printer: they are exact.
const WHOLE_FLOAT_MAX: f64 = 4_503_599_627_370_496.0;
/// Bits of a hexadecimal mantissa that are kept: more than any float has.
const HEX_MANTISSA_BITS_MAX: u32 = 124;
/// Beyond this any exponent over- or underflows, so it is not counted further.
const EXPONENT_MAX: i64 = 1_000_000_000_000;

/// A printed float; it never needs the heap.
pub type FloatText = SmallVec<[u8; 32]>;

/// Reads an integer by the rules of Redis' `string2ll`.
///
/// Refuses a plus sign, leading zeros, "-0", spaces, the empty text and what does not fit.
#[inline]
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    if text.len() > INTEGER_BYTES_MAX {
        return None;
    }
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..] => {
            match i64::from_radix_10_signed_checked(text) {
                (number, used) if used == text.len() => number,
                _ => None,
            }
        }
        _ => None,
    }
}

/// Reads the number at the start of a text by the rules of C's `atoi`: leading blanks and a sign
/// are taken, whatever follows the digits ends it, and no digits mean 0. What does not fit is as
/// large as can be.
#[must_use]
pub fn parse_prefix(text: &[u8]) -> i64 {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let number = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum: i64, byte| sum.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    if is_negative { -number } else { number }
}

/// A blank of C's `isspace`.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Reads an unsigned integer, as strictly as [`parse_i64`].
#[inline]
#[must_use]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => match u64::from_radix_10_signed_checked(text) {
            (number, used) if used == text.len() => number,
            _ => None,
        },
        _ => None,
    }
}

/// Reads a SCAN cursor, for which Redis uses C's lenient `strtoul`.
///
/// A sign and leading zeros are taken, "-1" wraps around, the empty text is 0 and a zero byte ends
/// the text; a leading space, other trailing bytes and what does not fit are refused.
#[must_use]
pub fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for &byte in digits {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(if negative { number.wrapping_neg() } else { number })
}

/// Reads a float by the rules of Redis' `string2d`, which are those of C's `strtod`.
///
/// Takes decimal and hexadecimal forms, a sign, "inf" and "infinity" in any case. Refuses NaN,
/// spaces, trailing bytes, the empty text, and what overflows or vanishes to zero.
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let magnitude = parse_magnitude(unsigned)?;
    let fits = (magnitude.is_finite() || is_infinity(unsigned))
        && (magnitude != 0.0 || is_zero_written(unsigned));
    fits.then_some(if negative { -magnitude } else { magnitude })
}

/// Reads the bound of a range of scores, for which Redis uses C's lenient `strtod`.
///
/// More than [`parse_f64`] takes: leading blanks, what overflows to infinity or vanishes to zero,
/// the empty text as 0, and a zero byte ends the text.
#[must_use]
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|byte| !is_blank(*byte))?;
    let (negative, unsigned) = match text.get(start..)? {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let magnitude = parse_magnitude(unsigned)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// A number without a sign; what overflows is infinite, what vanishes is 0.
fn parse_magnitude(unsigned: &[u8]) -> Option<f64> {
    match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => {
            let (mantissa, exponent) = parse_hex_parts(rest)?;
            let (mantissa, cut) = keep_top_bits(mantissa);
            Some(scale_by_power_of_two(mantissa, exponent + i64::from(cut)))
        }
        [b'0'..=b'9' | b'.', ..] => std::str::from_utf8(unsigned).ok()?.parse().ok(),
        _ => is_infinity(unsigned).then_some(f64::INFINITY),
    }
}

/// True when all digits in front of the exponent are zeros.
fn is_zero_written(unsigned: &[u8]) -> bool {
    let (digits, exponent) = match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => (rest, b'p'),
        _ => (unsigned, b'e'),
    };
    let mantissa = digits.split(|byte| byte.to_ascii_lowercase() == exponent).next();
    mantissa.unwrap_or_default().iter().all(|byte| matches!(byte, b'0' | b'.'))
}

/// True for C's words for infinity, without a sign.
pub(crate) fn is_infinity(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity")
}

/// Reads what follows "0x": hexadecimal digits with at most one point, then an optional `p` and a
/// decimal exponent of two: the mantissa, whose lowest bit says whether more was cut off, and the
/// power of two by which to multiply it.
pub(crate) fn parse_hex_parts(text: &[u8]) -> Option<(u128, i64)> {
    let mut mantissa: u128 = 0;
    let mut exponent: i64 = 0;
    let mut has_digits = false;
    let mut in_fraction = false;
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        if *byte == b'.' && !in_fraction {
            in_fraction = true;
        } else if let Some(digit) = char::from(*byte).to_digit(16) {
            has_digits = true;
            if mantissa >> (HEX_MANTISSA_BITS_MAX - 4) == 0 {
                mantissa = mantissa << 4 | u128::from(digit);
                exponent -= if in_fraction { 4 } else { 0 };
            } else {
                // The digit is beyond any rounding; what matters is only whether it is zero.
                mantissa |= u128::from(digit != 0);
                exponent += if in_fraction { 0 } else { 4 };
            }
        } else {
            break;
        }
        rest = tail;
    }
    if !has_digits {
        return None;
    }
    match rest {
        [] => {}
        [b'p' | b'P', power @ ..] => exponent += parse_exponent(power)?,
        _ => return None,
    }
    Some((mantissa, exponent))
}

/// The highest 64 bits and how many were cut off below; the lowest bit says whether one was set.
fn keep_top_bits(mantissa: u128) -> (u64, u32) {
    let cut = u64::BITS.saturating_sub(mantissa.leading_zeros());
    let kept = u64::try_from(mantissa >> cut).unwrap_or(u64::MAX);
    (kept | u64::from(mantissa & ((1 << cut) - 1) != 0), cut)
}

/// Reads a decimal exponent with its sign; a large one is cut to one that is as good.
pub(crate) fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let power = digits.iter().fold(0, |sum: i64, byte| {
        sum.saturating_mul(10).saturating_add(i64::from(byte - b'0')).min(EXPONENT_MAX)
    });
    Some(if negative { -power } else { power })
}

/// `mantissa * 2^exponent`, rounded once to the nearest float, ties to even.
fn scale_by_power_of_two(mantissa: u64, exponent: i64) -> f64 {
    const FRACTION_BITS: i64 = 52;
    const EXPONENT_OF_SMALLEST: i64 = -1074;
    const EXPONENT_OF_LARGEST: i64 = 971;
    if mantissa == 0 {
        return 0.0;
    }
    let width = i64::from(u64::BITS - mantissa.leading_zeros());
    // Cut to 53 bits, or fewer where the result is subnormal.
    let cut = (width - FRACTION_BITS - 1).max(EXPONENT_OF_SMALLEST - exponent);
    let (kept, exponent) = if cut <= 0 {
        (mantissa, exponent)
    } else if cut > width {
        return 0.0;
    } else {
        let half = 1_u128 << (cut - 1);
        let whole = u128::from(mantissa);
        let low = whole & ((half << 1) - 1);
        let mut kept = mantissa.checked_shr(u32::try_from(cut).unwrap_or(u32::MAX)).unwrap_or(0);
        if low > half || (low == half && kept & 1 == 1) {
            kept += 1;
        }
        (kept, exponent + cut)
    };
    if kept == 0 {
        return 0.0;
    }
    let width = i64::from(u64::BITS - kept.leading_zeros());
    if width - 1 + exponent > EXPONENT_OF_LARGEST + FRACTION_BITS {
        return f64::INFINITY;
    }
    // Both steps are exact: the bits were cut to what the result can hold.
    let mut number = kept as f64;
    let mut left = exponent;
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        number *= 2_f64.powi(i32::try_from(step).unwrap_or(0));
        left -= step;
    }
    number
}

/// Prints a float as Redis does in replies: `%.17g`.
#[must_use]
pub fn format_f64(number: f64) -> FloatText {
    let mut text = FloatText::new();
    if number.is_nan() {
        text.extend_from_slice(b"nan");
    } else if number.is_infinite() {
        text.extend_from_slice(if number > 0.0 { b"inf" } else { b"-inf" });
    } else if number == 0.0 {
        text.extend_from_slice(if number.is_sign_negative() { b"-0" } else { b"0" });
    } else if number.abs() < WHOLE_FLOAT_MAX && number.fract() == 0.0 {
        text.extend_from_slice(IntegerText::new().format_i64(number as i64));
    } else {
        format_general(number, &mut text);
    }
    text
}

/// C's `%.17g` for a finite number that is not zero.
fn format_general(number: f64, text: &mut FloatText) {
    // Always of the form d.dddddddddddddddde[-]x, so that the parts are found by their place.
    let mut scientific = TextWriter(FloatText::new());
    let _infallible = write!(scientific, "{:.*e}", FLOAT_DIGITS - 1, number.abs());
    let mut parts = scientific.0.splitn(2, |&byte| byte == b'e');
    let mantissa = parts.next().unwrap_or_default();
    let exponent = parts.next().and_then(parse_i64).unwrap_or(0);
    let mut digits: SmallVec<[u8; FLOAT_DIGITS]> =
        mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if number < 0.0 {
        text.push(b'-');
    }
    match usize::try_from(exponent) {
        Ok(whole) if whole < FLOAT_DIGITS => {
            while digits.len() <= whole {
                digits.push(b'0');
            }
            push_with_point(text, &digits, whole + 1);
        }
        Err(_) if exponent >= -4 => {
            text.extend_from_slice(b"0.");
            text.extend((exponent + 1..0).map(|_| b'0'));
            text.extend_from_slice(&digits);
        }
        _ => {
            push_with_point(text, &digits, 1);
            text.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.unsigned_abs() < 10 {
                text.push(b'0');
            }
            text.extend_from_slice(IntegerText::new().format_u64(exponent.unsigned_abs()));
        }
    }
}

struct TextWriter(FloatText);

impl Write for TextWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn push_with_point(text: &mut FloatText, digits: &[u8], whole: usize) {
    let (before, after) = digits.split_at_checked(whole).unwrap_or((digits, &[]));
    text.extend_from_slice(before);
    if !after.is_empty() {
        text.push(b'.');
        text.extend_from_slice(after);
    }
}

/// Room to print integers in, without the heap; one can be used again and again.
#[derive(Clone, Default)]
pub struct IntegerText {
    buffer: itoa::Buffer,
}

impl IntegerText {
    /// Empty room.
    #[inline]
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: itoa::Buffer::new() }
    }

    /// Prints `number`; the text lives until the next use.
    #[inline]
    pub fn format_i64(&mut self, number: i64) -> &[u8] {
        self.buffer.format(number).as_bytes()
    }

    /// Prints `number`; the text lives until the next use.
    #[inline]
    pub fn format_u64(&mut self, number: u64) -> &[u8] {
        self.buffer.format(number).as_bytes()
    }

    /// Prints `number`; the text lives until the next use.
    #[inline]
    pub fn format_usize(&mut self, number: usize) -> &[u8] {
        self.buffer.format(number).as_bytes()
    }
}

impl fmt::Debug for IntegerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegerText")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_as_strictly_as_redis_reads_them() {
        let cases: &[(&str, Option<i64>)] = &[
            ("0", Some(0)),
            ("1", Some(1)),
            ("-1", Some(-1)),
            ("10", Some(10)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
            ("99999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("+", None),
            ("+1", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("-01", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
            ("1e1", None),
            ("0x1", None),
            ("--1", None),
            ("1\0", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_i64(text.as_bytes()), *expected, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        for text in ["18446744073709551616", "-1", "+1", "00", "01", "", "1a"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn cursors_are_read_as_leniently_as_redis_reads_them() {
        let cases: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("", Some(0)),
            ("007", Some(7)),
            ("+5", Some(5)),
            ("-1", Some(u64::MAX)),
            ("5\0x", Some(5)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            (" 1", None),
            ("1 ", None),
            ("x", None),
            ("-", None),
            ("+", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_cursor(text.as_bytes()), *expected, "{text:?}");
        }
    }

    #[test]
    fn floats_are_read_as_strtod_reads_them() {
        let cases: &[(&str, Option<f64>)] = &[
            ("0", Some(0.0)),
            ("0.0e9", Some(0.0)),
            ("1", Some(1.0)),
            ("+1", Some(1.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("3.0e3", Some(3000.0)),
            ("1E2", Some(100.0)),
            ("inf", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("+iNf", Some(f64::INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("4e-324", Some(5e-324)),
            ("0x10", Some(16.0)),
            ("0X1P3", Some(8.0)),
            ("0x1p-2", Some(0.25)),
            ("-0x1.8p1", Some(-3.0)),
            ("0x.8", Some(0.5)),
            ("0x8.", Some(8.0)),
            ("0x0p99999999999999999999", Some(0.0)),
            ("0x1.fffffffffffffp1023", Some(f64::MAX)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1.8p-1075", Some(5e-324)),
            ("0x1p-1075", None),
            ("0x1p1024", None),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1.00000000000008p0", Some(1.0)),
            ("0x1.000000000000081p0", Some(1.000_000_000_000_000_2)),
            ("0x1000000000000000000000", Some(19_342_813_113_834_066_795_298_816.0)),
            ("0x1p99999999999999999999", None),
            ("0x1p-99999999999999999999", None),
            ("1e400", None),
            ("-1e400", None),
            ("1e-400", None),
            ("nan", None),
            ("-nan", None),
            ("nan(1)", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1e", None),
            ("e5", None),
            (".", None),
            ("0x", None),
            ("0x.", None),
            ("0x1p", None),
            ("0x1p+", None),
            ("0x1.2.3", None),
            ("1d", None),
            ("1_0", None),
            ("--1", None),
            ("+-1", None),
            ("infinit", None),
            ("1\0", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_f64(text.as_bytes()), *expected, "{text:?}");
        }
        assert!(parse_f64(b"-0").unwrap().is_sign_negative());
        assert_eq!(parse_f64(&[0xff, b'1']), None);
        assert_eq!(parse_f64(&[b'1', 0xff]), None);
    }

    #[test]
    fn floats_are_printed_with_17_digits() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3000.0, "-3000"),
            (0.1, "0.10000000000000001"),
            (-0.5, "-0.5"),
            (1e-4, "0.0001"),
            (1e-5, "1.0000000000000001e-05"),
            (std::f64::consts::PI, "3.1415926535897931"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (12_345_678_901_234_567.0, "12345678901234568"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1e21, "1e+21"),
            (1e300, "1.0000000000000001e+300"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (4_503_599_627_370_496.0, "4503599627370496"),
            (4_503_599_627_370_495.5, "4503599627370495.5"),
            (99_999_999_999_999_990.0, "99999999999999984"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (number, expected) in cases {
            let text = format_f64(*number);
            assert_eq!(std::str::from_utf8(&text).unwrap(), *expected);
        }
    }

    proptest! {
        #[test]
        fn a_printed_integer_reads_back(number: i64) {
            let mut text = IntegerText::new();
            prop_assert_eq!(parse_i64(text.format_i64(number)), Some(number));
            let number = number.unsigned_abs();
            prop_assert_eq!(parse_u64(text.format_u64(number)), Some(number));
        }

        #[test]
        fn only_what_would_be_printed_alike_is_an_integer(text in "[-+ ]?[0-9]{0,20}") {
            let printed = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), printed);
        }

        #[test]
        fn a_printed_float_reads_back(bits: u64) {
            let number = f64::from_bits(bits);
            let text = format_f64(number);
            prop_assert!(!text.spilled());
            if !number.is_nan() {
                prop_assert_eq!(parse_f64(&text), Some(number));
            }
        }

        #[test]
        fn a_hexadecimal_float_reads_as_its_bits(bits in 1_u64..0x7ff0_0000_0000_0000) {
            let exponent = i64::try_from(bits >> 52).unwrap();
            let fraction = bits & ((1 << 52) - 1);
            let text = match exponent {
                0 => format!("0x0.{fraction:013x}p-1022"),
                _ => format!("0x1.{fraction:013x}p{}", exponent - 1023),
            };
            prop_assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn no_bytes_upset_the_readers(text: Vec<u8>) {
            let _ = (parse_i64(&text), parse_u64(&text), parse_cursor(&text), parse_f64(&text));
        }
    }

    #[test]
    fn a_prefix_is_read_as_far_as_it_is_a_number() {
        let cases: [(&[u8], i64); 9] = [
            (b"12", 12),
            (b" \x0b+012x", 12),
            (b"-3", -3),
            (b"- 3", 0),
            (b"", 0),
            (b"x1", 0),
            (b"1.5", 1),
            (b"99999999999999999999", i64::MAX),
            (b"-99999999999999999999", -i64::MAX),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_prefix(text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_bound_is_read_leniently() {
        let cases: &[(&[u8], Option<f64>)] = &[
            (b"", Some(0.0)),
            (b"1", Some(1.0)),
            (b" \t\n\x0b1", Some(1.0)),
            (b" ", None),
            (b"1 ", None),
            (b"+1.5", Some(1.5)),
            (b"- 1", None),
            (b"-0x10", Some(-16.0)),
            (b"0x", None),
            (b"0x1p-2000", Some(0.0)),
            (b"0x1p2000", Some(f64::INFINITY)),
            (b"1e400", Some(f64::INFINITY)),
            (b"-1e400", Some(f64::NEG_INFINITY)),
            (b"1e-400", Some(0.0)),
            (b"inf", Some(f64::INFINITY)),
            (b"-INFINITY", Some(f64::NEG_INFINITY)),
            (b"nan", None),
            (b"1\0x", Some(1.0)),
            (b"\0x", Some(0.0)),
            (b"abc", None),
            (b"1x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bound(text), *expected, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(parse_f64(b"0x1p2000"), None);
        assert_eq!(parse_f64(b"0x1p-2000"), None);
        assert_eq!(parse_f64(b"0x0.0p9"), Some(0.0));
    }
}
