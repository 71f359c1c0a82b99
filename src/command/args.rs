//! Arguments, read as Redis reads them.
//!
//! Redis compares option words as C strings: in any case, and only up to the first zero byte.

use crate::command::error::CommandError;
use crate::util::number::parse_i64;

/// True when `arg` is this option word.
#[inline]
#[must_use]
pub fn is_word(arg: &[u8], word: &str) -> bool {
    let Some((start, rest)) = arg.split_at_checked(word.len()) else { return false };
    start.eq_ignore_ascii_case(word.as_bytes()) && matches!(rest.first(), None | Some(0))
}

/// An integer.
///
/// # Errors
/// `NotAnInteger` when `arg` is none or does not fit.
#[inline]
pub fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::NotAnInteger)
}

/// An integer that is not negative.
///
/// # Errors
/// `NotPositive` when `arg` is none.
#[inline]
pub fn count(arg: &[u8]) -> Result<usize, CommandError> {
    at_least(arg, 0, CommandError::NotPositive)
}

/// An integer of at least `least`.
///
/// # Errors
/// `refusal` when `arg` is none.
pub fn at_least(arg: &[u8], least: i64, refusal: CommandError) -> Result<usize, CommandError> {
    let number = parse_i64(arg).filter(|number| *number >= least);
    number.and_then(|number| usize::try_from(number).ok()).ok_or(refusal)
}

/// An integer of 32 bits, as Redis reads the number of a database.
///
/// # Errors
/// `NotAnInteger`, or the text that names the bounds.
pub fn integer_32(arg: &[u8]) -> Result<i64, CommandError> {
    let number = integer(arg)?;
    if i32::try_from(number).is_err() {
        let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
        return Err(CommandError::Text(text));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_compared_as_a_c_string_in_any_case() {
        for arg in [&b"NX"[..], b"nx", b"nX", b"nx\0", b"nx\0more"] {
            assert!(is_word(arg, "NX"), "{arg:?}");
        }
        for arg in [&b""[..], b"N", b"NXX", b"\0NX", b"N\0X", b"XN"] {
            assert!(!is_word(arg, "NX"), "{arg:?}");
        }
    }
}
