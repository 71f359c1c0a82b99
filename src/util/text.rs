//! Text of clients as Redis repeats it in its messages.

/// The bytes up to the first zero byte, at which a C string ends.
#[must_use]
pub fn until_zero_byte(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
