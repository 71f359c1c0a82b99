//! Text of clients as Redis repeats it in its messages.

/// The bytes up to the first zero byte, at which a C string ends.
#[must_use]
pub fn until_zero_byte(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_its_first_zero_byte() {
        assert_eq!(until_zero_byte(b"ab\0c\0d"), b"ab");
        assert_eq!(until_zero_byte(b"abc"), b"abc");
        assert_eq!(until_zero_byte(b""), b"");
    }
}
