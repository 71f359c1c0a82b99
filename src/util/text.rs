//! Text as Redis repeats it: of clients in messages, of values in configuration files.

/// The bytes up to the first zero byte, at which a C string ends.
#[must_use]
pub fn until_zero_byte(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Appends `bytes` between double quotes, with escapes for what is not printable.
pub fn push_quoted(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b'"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            0x07 => text.extend_from_slice(b"\\a"),
            0x08 => text.extend_from_slice(b"\\b"),
            b' '..=b'~' => text.push(*byte),
            _ => text.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_printable() {
        let mut text = b"x ".to_vec();
        push_quoted(&mut text, b"a \"b\\\r\n\t\x07\x08\0\x7f\xff~");
        assert_eq!(text, br#"x "a \"b\\\r\n\t\a\b\x00\x7f\xff~""#);
    }

    #[test]
    fn text_ends_at_its_first_zero_byte() {
        assert_eq!(until_zero_byte(b"ab\0c\0d"), b"ab");
        assert_eq!(until_zero_byte(b"abc"), b"abc");
        assert_eq!(until_zero_byte(b""), b"");
    }
}
