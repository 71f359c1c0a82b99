//! Numbers as C prints and reads them: `%.14g` and `strtod`.

use crate::util::number::parse_bound;

/// Appends a number as `%.{precision}g` prints it.
pub fn push_general(text: &mut Vec<u8>, number: f64, precision: usize) {
    if number.is_nan() {
        text.extend_from_slice(if number.is_sign_negative() { b"-nan" } else { b"nan" });
        return;
    }
    if number.is_infinite() {
        text.extend_from_slice(if number < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    // Whole numbers of few digits are by far the most frequent.
    if number.fract() == 0.0 && number.abs() < 10_f64.powi(precision as i32) {
        if number == 0.0 && number.is_sign_negative() {
            text.push(b'-');
        }
        text.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
        return;
    }
    let scientific = format!("{:.*e}", precision.saturating_sub(1), number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let len = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    let digits = digits.get(..len).unwrap_or(&digits);
    if number < 0.0 {
        text.push(b'-');
    }
    match usize::try_from(exponent) {
        Ok(whole) if whole < precision => push_pointed(text, digits, whole + 1),
        Err(_) if exponent >= -4 => {
            text.extend_from_slice(b"0.");
            text.extend((exponent + 1..0).map(|_| b'0'));
            text.extend_from_slice(digits);
        }
        _ => {
            push_pointed(text, digits, 1);
            let sign = if exponent < 0 { '-' } else { '+' };
            text.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
        }
    }
}

/// Digits with a point behind the first `whole` of them.
fn push_pointed(text: &mut Vec<u8>, digits: &[u8], whole: usize) {
    match digits.split_at_checked(whole) {
        Some((before, after)) => {
            text.extend_from_slice(before);
            if !after.is_empty() {
                text.push(b'.');
                text.extend_from_slice(after);
            }
        }
        None => {
            text.extend_from_slice(digits);
            text.extend((digits.len()..whole).map(|_| b'0'));
        }
    }
}

/// Reads the longest number that `text` begins with, as `strtod`; the number and its length.
pub fn read(text: &[u8]) -> Option<(f64, usize)> {
    let (is_negative, sign) = match text.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let rest = text.get(sign..).unwrap_or_default();
    let starts =
        |word: &[u8]| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if starts(b"nan") {
        let number = if is_negative { -f64::NAN } else { f64::NAN };
        return Some((number, sign + 3 + nan_payload(rest.get(3..).unwrap_or_default())));
    }
    let len = if starts(b"infinity") {
        8
    } else if starts(b"inf") {
        3
    } else {
        number_len(rest)?
    };
    let number = parse_bound(rest.get(..len)?)?;
    Some((if is_negative { -number } else { number }, sign + len))
}

/// The length of `(letters)` behind a NaN, or 0.
fn nan_payload(text: &[u8]) -> usize {
    let Some(rest) = text.strip_prefix(b"(") else { return 0 };
    let letters = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
    let letters = letters.count();
    if rest.get(letters) == Some(&b')') { letters + 2 } else { 0 }
}

fn number_len(text: &[u8]) -> Option<usize> {
    let hexadecimal = match text {
        [b'0', b'x' | b'X', rest @ ..] => digits_len(rest, u8::is_ascii_hexdigit, b'p'),
        _ => None,
    };
    match hexadecimal {
        Some(len) => Some(len + 2),
        None => digits_len(text, u8::is_ascii_digit, b'e'),
    }
}

/// The length of digits with a point and an exponent.
fn digits_len(text: &[u8], is_digit: fn(&u8) -> bool, exponent: u8) -> Option<usize> {
    let count = |from: usize, is: fn(&u8) -> bool| {
        text.get(from..).unwrap_or_default().iter().take_while(|byte| is(byte)).count()
    };
    let whole = count(0, is_digit);
    let mut len = whole;
    if text.get(len) == Some(&b'.') {
        let fraction = count(len + 1, is_digit);
        if whole + fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    } else if whole == 0 {
        return None;
    }
    if text.get(len).is_some_and(|byte| byte.eq_ignore_ascii_case(&exponent)) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        let digits = count(len + 1 + sign, u8::is_ascii_digit);
        if digits > 0 {
            len += 1 + sign + digits;
        }
    }
    Some(len)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_print_as_in_c() {
        let cases: &[(f64, &str)] = &[
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e15, "1e+15"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (123_456.789, "123456.789"),
            (1e-5, "1e-05"),
            (0.000_123_4, "0.0001234"),
            (1.0 / 3.0, "0.33333333333333"),
            (1e300, "1e+300"),
            (f64::INFINITY, "inf"),
        ];
        for (number, expected) in cases {
            let mut text = Vec::new();
            push_general(&mut text, *number, 14);
            assert_eq!(String::from_utf8(text).unwrap(), *expected);
        }
        let mut text = Vec::new();
        push_general(&mut text, 123_456.0, 3);
        assert_eq!(text, b"1.23e+05");
    }

    #[test]
    fn the_longest_number_is_read() {
        let cases: &[(&str, Option<(f64, usize)>)] = &[
            ("12,", Some((12.0, 2))),
            ("-1.5e3]", Some((-1500.0, 6))),
            ("1e", Some((1.0, 1))),
            ("1e+", Some((1.0, 1))),
            ("0x1F", Some((31.0, 4))),
            ("0x", Some((0.0, 1))),
            ("0xg", Some((0.0, 1))),
            (".5", Some((0.5, 2))),
            (".", None),
            ("-", None),
            ("Infinityx", Some((f64::INFINITY, 8))),
            ("infi", Some((f64::INFINITY, 3))),
            ("1e999", Some((f64::INFINITY, 5))),
            ("01", Some((1.0, 2))),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text.as_bytes()), *expected, "{text}");
        }
        assert!(read(b"nan(12_a)x").is_some_and(|(number, len)| number.is_nan() && len == 9));
    }

    proptest! {
        #[test]
        fn what_was_printed_is_read(number in proptest::num::f64::NORMAL) {
            let mut text = Vec::new();
            push_general(&mut text, number, 17);
            prop_assert_eq!(read(&text), Some((number, text.len())));
        }
    }
}
