//! Sums of floats with a mantissa of 64 bits, as Redis computes INCRBYFLOAT.
//!
//! Redis adds in C's `long double`, which on x86-64 is the 80-bit format of the x87: 64 bits of
//! mantissa and an exponent from -16445 to 16320, with gradual underflow and every result rounded
//! once, ties to even. Sums in `f64` would differ from Redis' in the last digits that it prints,
//! and client programs show those digits. Rust has no such type, so the three operations that are
//! needed are here: read (`strtold`), add, and print with up to 17 decimals (`%.17Lf` without the
//! zeros at its end).
//!
//! Nearly all numbers fit 128-bit integers. For the others there is [`Natural`], a plain big
//! integer; its size is bounded by the length of text that is read.

use crate::util::number::{is_infinity, parse_exponent, parse_hex_parts};

/// A text as long as this or longer is refused (MAX_LONG_DOUBLE_CHARS).
const TEXT_BYTES_MAX: usize = 5 * 1024;
/// The exponent of the lowest bit of the smallest numbers.
const EXPONENT_MIN: i64 = -16_445;
/// The exponent of the lowest bit of the largest numbers.
const EXPONENT_MAX: i64 = 16_320;
/// Ten to this power and more is too large for any mantissa.
const TENS_MAX: i64 = 4_933;
/// A number with so many zeros behind its point is nearer to zero than to the smallest number.
const TENS_MIN: i64 = -4_960;
/// The largest power of five below 2^63.
const FIVES_IN_WORD_MAX: i64 = 27;
/// Digits behind the point that are printed at most.
const DECIMALS: u32 = 17;

/// A float of 80 bits that is not NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    /// The highest bit is set unless the exponent is the lowest or the number is 0.
    mantissa: u64,
    /// The number is `mantissa * 2^exponent`; above `EXPONENT_MAX` it is infinite.
    exponent: i64,
}

impl Extended {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, mantissa: 0, exponent: EXPONENT_MIN };
    const INFINITY: Self = Self { negative: false, mantissa: 1 << 63, exponent: EXPONENT_MAX + 1 };

    /// Reads a number by the rules of Redis' `string2ld`, which are those of C's `strtold`.
    ///
    /// Takes decimal and hexadecimal forms, a sign, "inf" and "infinity" in any case. Refuses NaN,
    /// spaces, trailing bytes, the empty text, 5 KB or more, and what overflows or vanishes to
    /// zero. Cost: O(n) up to 19 digits and 27 decimals, O(n^2) beyond.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', rest @ ..] => {
                let (mantissa, exponent) = parse_hex_parts(rest)?;
                finite_or_refused(mantissa, exponent, false)?
            }
            [b'0'..=b'9' | b'.', ..] => parse_decimal(unsigned)?,
            _ if is_infinity(unsigned) => Self::INFINITY,
            _ => return None,
        };
        Some(Self { negative, ..magnitude })
    }

    /// True for plus and minus infinity.
    #[must_use]
    pub fn is_infinite(self) -> bool {
        self.exponent > EXPONENT_MAX
    }

    /// The sum, rounded once; `None` when it is infinite or not a number.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        /// Room below the mantissa for what is cut off, with one bit left above for a carry.
        const ROOM_BITS: u32 = 63;
        if self.is_infinite() || other.is_infinite() {
            return None;
        }
        let (high, low) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let upper = u128::from(high.mantissa) << ROOM_BITS;
        let lower = u128::from(low.mantissa) << ROOM_BITS;
        let shift = u32::try_from(high.exponent - low.exponent).unwrap_or(u32::MAX);
        // Bits that fall off the end leave a 1 behind: they can only decide a rounding.
        let shifted = lower.checked_shr(shift).unwrap_or(0);
        let is_cut = shifted.checked_shl(shift).unwrap_or(0) != lower;
        let lower = shifted | u128::from(is_cut);
        let (negative, sum) = match (high.negative == low.negative, upper >= lower) {
            (true, _) => (high.negative, upper + lower),
            (false, true) => (high.negative, upper - lower),
            (false, false) => (low.negative, lower - upper),
        };
        let sum = round(sum, high.exponent - i64::from(ROOM_BITS), false);
        (!sum.is_infinite()).then_some(Self { negative, ..sum })
    }

    /// Prints a finite number with at most 17 decimals and no zeros at their end.
    ///
    /// Cost: O(1) below 2^128, at most 4,933 digits beyond.
    #[must_use]
    pub fn to_text(self) -> Vec<u8> {
        let (whole, fraction) = self.split();
        let mut text = Vec::new();
        if self.negative && (!whole.is_zero() || fraction != 0) {
            text.push(b'-');
        }
        whole.print(&mut text);
        if fraction != 0 {
            let decimals = format!(".{fraction:0width$}", width = DECIMALS as usize);
            text.extend_from_slice(decimals.trim_end_matches('0').as_bytes());
        }
        text
    }

    /// The whole part and the first 17 decimals, rounded once, ties to even.
    fn split(self) -> (Natural, u64) {
        const ONE: u128 = 10_u128.pow(DECIMALS);
        let Ok(shift) = u32::try_from(-self.exponent) else {
            let mut whole = Natural::from(u128::from(self.mantissa));
            whole.shift_left(u64::try_from(self.exponent).unwrap_or(0));
            return (whole, 0);
        };
        let scaled = u128::from(self.mantissa) * ONE;
        let rounded = match scaled.checked_shr(shift) {
            None => 0,
            Some(kept) if shift == 0 => kept,
            Some(kept) => {
                let (rest, half) = (scaled & ((1 << shift) - 1), 1 << (shift - 1));
                kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
            }
        };
        (Natural::from(rounded / ONE), u64::try_from(rounded % ONE).unwrap_or(0))
    }
}

/// `mantissa * 2^exponent`, and a little more if `is_cut`, rounded to 64 bits, ties to even.
fn round(mantissa: u128, exponent: i64, is_cut: bool) -> Extended {
    if mantissa == 0 {
        return Extended::ZERO;
    }
    let width = i64::from(u128::BITS - mantissa.leading_zeros());
    let cut = (width - 64).max(EXPONENT_MIN - exponent);
    if cut <= 0 {
        // The bits are all kept; the highest goes to its place as far as the exponent allows.
        let raise = (64 - width).min(exponent - EXPONENT_MIN);
        let mantissa = u64::try_from(mantissa << raise).unwrap_or(u64::MAX);
        return finished(mantissa, exponent - raise);
    }
    let Some(half) = 1_u128.checked_shl(u32::try_from(cut - 1).unwrap_or(u32::MAX)) else {
        return Extended::ZERO;
    };
    let rest = mantissa & (half | (half - 1));
    let kept = u64::try_from((mantissa >> (cut - 1)) >> 1).unwrap_or(u64::MAX);
    let up = rest > half || (rest == half && (is_cut || kept & 1 == 1));
    match kept.checked_add(u64::from(up)) {
        Some(kept) => finished(kept, exponent + cut),
        None => finished(1 << 63, exponent + cut + 1),
    }
}

fn finished(mantissa: u64, exponent: i64) -> Extended {
    match (mantissa, exponent) {
        (0, _) => Extended::ZERO,
        (_, exponent) if exponent > EXPONENT_MAX => Extended::INFINITY,
        _ => Extended { negative: false, mantissa, exponent },
    }
}

/// As [`round`]; `None` when the number overflows or vanishes, which is an error in what is read.
fn finite_or_refused(mantissa: u128, exponent: i64, is_cut: bool) -> Option<Extended> {
    let number = round(mantissa, exponent, is_cut);
    let vanished = number.mantissa == 0 && mantissa != 0;
    (!number.is_infinite() && !vanished).then_some(number)
}

/// Digits with at most one point, then an optional exponent of ten.
fn parse_decimal(text: &[u8]) -> Option<Extended> {
    let end = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, power) = text.split_at_checked(end)?;
    let mut tens = match power {
        [] => 0,
        [_, power @ ..] => parse_exponent(power)?,
    };
    let mut parts = mantissa.splitn(2, |byte| *byte == b'.');
    let (whole, decimals) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    if !whole.iter().chain(decimals).all(is_digit) || whole.len() + decimals.len() == 0 {
        return None;
    }
    tens -= i64::try_from(decimals.len()).ok()?;
    let mut digits: Vec<u8> = whole.iter().chain(decimals).map(|byte| byte - b'0').collect();
    while digits.last() == Some(&0) {
        digits.pop();
        tens += 1;
    }
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(zeros..).unwrap_or_default();
    let magnitude = i64::try_from(digits.len()).ok()?.saturating_add(tens);
    if digits.is_empty() {
        return Some(Extended::ZERO);
    }
    if !(TENS_MIN..=TENS_MAX).contains(&magnitude) {
        return None;
    }
    scale_by_power_of_ten(digits, tens)
}

/// `digits * 10^tens`, rounded once.
fn scale_by_power_of_ten(digits: &[u8], tens: i64) -> Option<Extended> {
    let fold = |sum: u128, digit: &u8| sum.checked_mul(10)?.checked_add(u128::from(*digit));
    let small = digits.iter().try_fold(0, fold).filter(|n| u64::try_from(*n).is_ok());
    if let Some(mantissa) = small
        && (-FIVES_IN_WORD_MAX..=0).contains(&tens)
    {
        // 10^-n is 5^-n * 2^-n; with its highest bit in front the quotient has at least 65 bits.
        let fives = 5_u128.pow(u32::try_from(-tens).ok()?);
        let raise = mantissa.leading_zeros();
        let raised = mantissa << raise;
        let exponent = tens - i64::from(raise);
        return finite_or_refused(raised / fives, exponent, raised % fives != 0);
    }
    let mut numerator = Natural::from(0);
    for digit in digits {
        numerator.multiply_add(10, u64::from(*digit));
    }
    let mut fives = Natural::from(1);
    for _ in 0..tens.unsigned_abs() {
        fives.multiply_add(5, 0);
    }
    if tens >= 0 {
        numerator = numerator.times(&fives);
        let (mantissa, cut, is_cut) = numerator.top_bits();
        return finite_or_refused(mantissa, tens + i64::try_from(cut).ok()?, is_cut);
    }
    let (mantissa, exponent, is_cut) = numerator.divide(&fives);
    finite_or_refused(mantissa, tens + exponent, is_cut)
}

/// A whole number of any size: 64-bit limbs, the lowest first, the last one not 0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Natural(Vec<u64>);

impl From<u128> for Natural {
    fn from(number: u128) -> Self {
        let mut natural = Self(vec![number as u64, (number >> 64) as u64]);
        natural.trim();
        natural
    }
}

impl Natural {
    /// Bits of a quotient: enough for a mantissa and the bit that decides its rounding.
    const QUOTIENT_BITS: u64 = 66;

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> u64 {
        match self.0.last() {
            Some(top) => self.0.len() as u64 * 64 - u64::from(top.leading_zeros()),
            None => 0,
        }
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in &mut self.0 {
            let product = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            *limb = product as u64;
            carry = (product >> 64) as u64;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn times(&self, other: &Self) -> Self {
        let mut product = Self(vec![0; self.0.len() + other.0.len()]);
        for (place, factor) in self.0.iter().enumerate() {
            let mut carry = 0_u128;
            let places = product.0.iter_mut().skip(place);
            for (limb, other) in places.zip(other.0.iter().chain(std::iter::repeat(&0))) {
                let sum = u128::from(*factor) * u128::from(*other) + u128::from(*limb) + carry;
                *limb = sum as u64;
                carry = sum >> 64;
            }
        }
        product.trim();
        product
    }

    fn shift_left(&mut self, bits: u64) {
        if self.is_zero() {
            return;
        }
        self.multiply_add(1 << (bits % 64), 0);
        let limbs = usize::try_from(bits / 64).unwrap_or(0);
        self.0.splice(0..0, std::iter::repeat_n(0, limbs));
    }

    /// The highest 128 bits, how many bits are below them, and whether one of those is set.
    fn top_bits(&self) -> (u128, u64, bool) {
        let cut = self.bits().saturating_sub(128);
        let (limbs, inside) = (usize::try_from(cut / 64).unwrap_or(0), cut % 64);
        let limb = |at: usize| u128::from(self.0.get(limbs + at).copied().unwrap_or(0));
        let top = match inside {
            0 => limb(1) << 64 | limb(0),
            _ => limb(2) << (128 - inside) | limb(1) << (64 - inside) | limb(0) >> inside,
        };
        let below = self.0.iter().take(limbs).any(|limb| *limb != 0);
        (top, cut, below || limb(0) & ((1 << inside) - 1) != 0)
    }

    /// The quotient to 66 bits or more: its bits, the power of two that belongs to them, and
    /// whether something is left over. Cost: O(limbs) for every bit.
    fn divide(mut self, divisor: &Self) -> (u128, i64, bool) {
        let raise = (divisor.bits() + Self::QUOTIENT_BITS).saturating_sub(self.bits());
        self.shift_left(raise);
        let mut exponent = -i64::try_from(raise).unwrap_or(i64::MAX);
        // A quotient of more bits than are wanted: the divisor is raised instead, which is exact.
        let mut divisor = divisor.clone();
        let spare = self.bits() - divisor.bits();
        divisor.shift_left(spare - Self::QUOTIENT_BITS);
        exponent += i64::try_from(spare - Self::QUOTIENT_BITS).unwrap_or(i64::MAX);
        divisor.shift_left(Self::QUOTIENT_BITS);
        let mut quotient = 0_u128;
        for _ in 0..=Self::QUOTIENT_BITS {
            quotient <<= 1;
            if self.subtract_if_fits(&divisor) {
                quotient |= 1;
            }
            divisor.halve();
        }
        (quotient, exponent, !self.is_zero())
    }

    fn subtract_if_fits(&mut self, other: &Self) -> bool {
        let order = self.0.len().cmp(&other.0.len());
        if order.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_lt() {
            return false;
        }
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(other.0.iter().chain(std::iter::repeat(&0))) {
            let (difference, first) = limb.overflowing_sub(*other);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *limb = difference;
            borrow = first || second;
        }
        self.trim();
        true
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb & 1;
            *limb = *limb >> 1 | carry << 63;
            carry = low;
        }
        self.trim();
    }

    /// Appends the decimal digits.
    fn print(mut self, text: &mut Vec<u8>) {
        const GROUP: u64 = 10_u64.pow(19);
        let mut groups = Vec::new();
        while !self.is_zero() {
            let mut rest = 0_u128;
            for limb in self.0.iter_mut().rev() {
                let number = rest << 64 | u128::from(*limb);
                *limb = (number / u128::from(GROUP)) as u64;
                rest = number % u128::from(GROUP);
            }
            self.trim();
            groups.push(rest);
        }
        let first = groups.pop().unwrap_or(0);
        text.extend_from_slice(first.to_string().as_bytes());
        for group in groups.into_iter().rev() {
            text.extend_from_slice(format!("{group:019}").as_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(one: &str, other: &str) -> Option<String> {
        let one = Extended::parse(one.as_bytes()).unwrap();
        let sum = one.checked_add(Extended::parse(other.as_bytes()).unwrap())?;
        Some(String::from_utf8(sum.to_text()).unwrap())
    }

    #[test]
    fn sums_have_the_digits_that_redis_prints() {
        for (one, other, expected) in [
            ("0", "0", "0"),
            ("0.1", "0.2", "0.3"),
            ("3.0", "1.000000000000000005", "4.00000000000000001"),
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("-0", "0", "0"),
            ("-1e-20", "0", "0"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e17", "0.1", "100000000000000000.1015625"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("18446744073709551616", "3", "18446744073709551620"),
            ("0x1.8p1", "0xf", "18"),
            // The whole digits of 2^128 and more are too many for 128 bits by the last one alone.
            (
                "340282366920938463463374607431768211455",
                "0",
                "340282366920938463463374607431768211456",
            ),
            (
                "340282366920938463463374607431768211456",
                "0",
                "340282366920938463463374607431768211456",
            ),
            (
                "340282366920938463463374607431768211459",
                "0",
                "340282366920938463463374607431768211456",
            ),
            ("1e40", "0", "9999999999999999999783686092270256259072"),
            ("-1e40", "1e40", "0"),
        ] {
            assert_eq!(sum(one, other).as_deref(), Some(expected), "{one} + {other}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("-INFINITY", "inf"), None);
        assert_eq!(sum("1.1e4932", "1.1e4932"), None);
        assert_eq!(sum("1e4932", "0").unwrap().len(), 4933);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(TEXT_BYTES_MAX);
        for text in ["", " 1", "1 ", "nan", "1e", "e1", ".", "0x", "1.2.3", "--1", "1\0", &long] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        for text in [
            "1.2e4932",
            "1e99999999999999999999",
            "1e-4951",
            "1.8225997659412373012e-4951",
            "0x1p-16446",
            "0x1p16384",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        for text in [
            "1.1e4932",
            "4e-4951",
            "1.8225997659412373013e-4951",
            "0x1p-16445",
            "0e99999999999",
            "1.",
            ".5",
            "+1",
        ] {
            assert!(Extended::parse(text.as_bytes()).is_some(), "{text}");
        }
    }

    proptest! {
        /// Digits that fit a word go the short way; with zeros in front of their exponent the
        /// long one.
        #[test]
        fn both_ways_of_reading_agree(digits in 1_u64.., tens in -27_i64..1) {
            let short = scale_by_power_of_ten(digits.to_string().as_bytes()
                .iter().map(|byte| byte - b'0').collect::<Vec<_>>().as_slice(), tens);
            let mut fives = Natural::from(1);
            (0..-tens).for_each(|_| fives.multiply_add(5, 0));
            let (mantissa, exponent, is_cut) = Natural::from(u128::from(digits)).divide(&fives);
            prop_assert_eq!(short, finite_or_refused(mantissa, tens + exponent, is_cut));
        }

        /// Every float of 64 bits is one of 80.
        #[test]
        fn sums_that_f64_has_exactly_are_the_same(one in -1_i64 << 52..1 << 52, other: i32) {
            let expected = (one as f64 + f64::from(other)) / 1024.0;
            let text = |n: i64| format!("{}", n as f64 / 1024.0);
            let sum = sum(&text(one), &text(i64::from(other))).unwrap();
            prop_assert_eq!(sum.parse::<f64>().unwrap(), expected);
        }

        #[test]
        fn no_bytes_upset_the_reader(text: Vec<u8>) {
            let _ = Extended::parse(&text);
        }

        #[test]
        fn any_exponent_is_read(digits in "[0-9]{1,40}", tens in -6_000_i64..6_000) {
            let _ = Extended::parse(format!("{digits}e{tens}").as_bytes());
        }
    }
}
