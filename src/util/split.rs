//! Splits a line into arguments, by the rules of redis-cli and of configuration files.
//!
//! Blanks separate. Double quotes take the escapes `\n \r \t \b \a \xHH`, and `\` before any other
//! byte gives that byte; single quotes take only `\'`. A quote may open in the middle of a word,
//! but behind a closing quote only a blank may follow. Works on bytes: a line may be no UTF-8.

use std::iter::Peekable;
use std::slice::Iter;

type Bytes<'a> = Peekable<Iter<'a, u8>>;

/// Splits `line`; `None` when quotes are unbalanced or a word goes on behind a closing quote.
#[must_use]
pub fn split_arguments(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut bytes = line.iter().peekable();
    let mut arguments = Vec::new();
    loop {
        while bytes.next_if(|byte| is_blank(**byte)).is_some() {}
        if bytes.peek().is_none() {
            return Some(arguments);
        }
        arguments.push(take_word(&mut bytes)?);
    }
}

/// What C calls a space.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn take_word(bytes: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let mut word = Vec::new();
    loop {
        match bytes.next() {
            // Inside of a word a vertical tab or a form feed is a byte like any other.
            None | Some(b' ' | b'\t' | b'\n' | b'\r') => return Some(word),
            Some(b'"') => {
                take_double_quoted(bytes, &mut word)?;
                return ends_here(bytes).then_some(word);
            }
            Some(b'\'') => {
                take_single_quoted(bytes, &mut word)?;
                return ends_here(bytes).then_some(word);
            }
            Some(byte) => word.push(*byte),
        }
    }
}

fn ends_here(bytes: &mut Bytes<'_>) -> bool {
    bytes.peek().is_none_or(|byte| is_blank(**byte))
}

fn take_double_quoted(bytes: &mut Bytes<'_>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        let byte = match bytes.next()? {
            b'"' => return Some(()),
            b'\\' => match *bytes.next()? {
                b'x' => take_hexadecimal(bytes).unwrap_or(b'x'),
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'a' => 0x07,
                other => other,
            },
            other => *other,
        };
        word.push(byte);
    }
}

/// Two hexadecimal digits, or nothing at all is taken.
fn take_hexadecimal(bytes: &mut Bytes<'_>) -> Option<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut ahead = bytes.clone();
    let (high, low) = (digit(ahead.next())?, digit(ahead.next())?);
    *bytes = ahead;
    u8::try_from(high * 16 + low).ok()
}

fn take_single_quoted(bytes: &mut Bytes<'_>, word: &mut Vec<u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'\'' => return Some(()),
            b'\\' if bytes.next_if_eq(&&b'\'').is_some() => word.push(b'\''),
            other => word.push(*other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_split_as_redis_cli_splits_it() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b"  \t\r\n", &[]),
            (b"get key", &[b"get", b"key"]),
            (b"  get\tkey \n", &[b"get", b"key"]),
            (b"set k \"\"", &[b"set", b"k", b""]),
            (b"set k ''", &[b"set", b"k", b""]),
            (b"set k \"a b\"", &[b"set", b"k", b"a b"]),
            (b"set k 'a \"b'", &[b"set", b"k", b"a \"b"]),
            (br#""\x41\x0a\n\r\t\b\a\\\"\q""#, &[b"A\n\n\r\t\x08\x07\\\"q"]),
            (br#""\x4" "\xzz""#, &[b"x4", b"xzz"]),
            (br"'\n\'\\ '", &[br"\n'\\ "]),
            (b"foo\"bar baz\"", &[b"foobar baz"]),
            (b"foo'bar'", &[b"foobar"]),
            (b"a\\nb", &[b"a\\nb"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
            (b"a\0b", &[b"a"]),
            (b"\xff\xfe", &[b"\xff\xfe"]),
        ];
        for (line, expected) in cases {
            let split = split_arguments(line).unwrap();
            assert_eq!(split, *expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        let cases: &[&[u8]] = &[b"\"", b"'", b"\"a", b"'a", b"\"a\"b", b"'a'b", b"\"\\", b"a\"b"];
        for line in cases {
            assert_eq!(split_arguments(line), None, "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_arguments_come_back_when_quoted(arguments: Vec<Vec<u8>>) {
            let mut line = Vec::new();
            for argument in &arguments {
                line.push(b'"');
                for byte in argument {
                    line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                }
                line.extend_from_slice(b"\" ");
            }
            prop_assert_eq!(split_arguments(&line), Some(arguments));
        }

        #[test]
        fn no_bytes_upset_the_splitter(line in "[a \"'\\\\x0-9\n]{0,20}") {
            let _ = split_arguments(line.as_bytes());
        }
    }
}
