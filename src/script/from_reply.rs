//! Replies of commands, read for Lua.
//!
//! The bytes are read where they stand, part by part, without a tree in between; `stack.rs` puts
//! the parts onto Lua's stack. Nothing here allocates: Lua may leave that code by a jump.

use crate::util::number::{parse_f64, parse_i64};
use memchr::memchr;

/// One reply, or the head of one that holds others: as many as it says follow it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part<'a> {
    Nil,
    /// The null of the older protocol, of a bulk string or of an array.
    Null,
    Boolean(bool),
    Integer(i64),
    Bulk(&'a [u8]),
    Status(&'a [u8]),
    /// Without its marker.
    Error(&'a [u8]),
    Double(f64),
    BigNumber(&'a [u8]),
    Verbatim {
        format: &'a [u8],
        text: &'a [u8],
    },
    Array(usize),
    /// The number of pairs.
    Map(usize),
    Set(usize),
    /// The number of pairs; what they belong to follows.
    Attributes(usize),
}

/// What is left of a reply.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub fn new(reply: &'a [u8]) -> Self {
        Self { rest: reply }
    }

    /// The next part; `None` when the bytes are no reply.
    #[inline]
    pub fn next(&mut self) -> Option<Part<'a>> {
        let (marker, rest) = self.rest.split_first()?;
        if let Some((number, rest)) = short_number(rest) {
            // So are nearly all lengths and most numbers.
            self.rest = rest;
            match marker {
                b'$' => return self.bytes(number).map(Part::Bulk),
                b':' => return Some(Part::Integer(number as i64)),
                b'*' => return Some(Part::Array(number)),
                _ => {}
            }
        }
        let (line, rest) = rest.split_at_checked(memchr(b'\r', rest)?)?;
        self.rest = rest.get(2..)?;
        Some(match marker {
            b'$' => match count(line)? {
                Some(len) => Part::Bulk(self.bytes(len)?),
                None => Part::Null,
            },
            b':' => Part::Integer(parse_i64(line)?),
            b'+' => Part::Status(line),
            b'*' => count(line)?.map_or(Part::Null, Part::Array),
            b'-' => Part::Error(line),
            b'_' => Part::Nil,
            b'#' => Part::Boolean(line == b"t"),
            b',' => Part::Double(double(line)?),
            b'(' => Part::BigNumber(line),
            b'=' => {
                let (format, text) = self.bytes(count(line)??)?.split_at_checked(4)?;
                Part::Verbatim { format: format.get(..3)?, text }
            }
            b'%' => Part::Map(count(line)??),
            b'~' => Part::Set(count(line)??),
            b'|' => Part::Attributes(count(line)??),
            _ => return None,
        })
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest.get(2..)?;
        Some(bytes)
    }
}

/// A number of up to four digits, and what stands behind its line.
#[inline]
fn short_number(line: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0;
    for (index, byte) in line.iter().take(5).enumerate() {
        match byte {
            b'0'..=b'9' if index < 4 => number = 10 * number + usize::from(byte - b'0'),
            b'\r' if index > 0 => return line.get(index + 2..).map(|rest| (number, rest)),
            _ => return None,
        }
    }
    None
}

/// A length; `Some(None)` for -1.
#[inline]
fn count(line: &[u8]) -> Option<Option<usize>> {
    match parse_i64(line)? {
        -1 => Some(None),
        len => usize::try_from(len).ok().map(Some),
    }
}

fn double(line: &[u8]) -> Option<f64> {
    match line {
        b"nan" | b"-nan" => Some(f64::NAN),
        _ => parse_f64(line),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_one_after_the_other() {
        let reply = b"*3\r\n$2\r\na\r\r\n:-5\r\n%1\r\n+OK\r\n$-1\r\n=5\r\ntxt:x\r\n,-inf\r\n";
        let mut parts = Parts::new(reply);
        let expected = [
            Part::Array(3),
            Part::Bulk(b"a\r"),
            Part::Integer(-5),
            Part::Map(1),
            Part::Status(b"OK"),
            Part::Null,
            Part::Verbatim { format: b"txt", text: b"x" },
            Part::Double(f64::NEG_INFINITY),
        ];
        for part in expected {
            assert_eq!(parts.next(), Some(part));
        }
        assert_eq!(parts.next(), None);
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let replies: [&[u8]; 11] = [
            b"",
            b"$",
            b"$3\r\nab",
            b"$3\r\nabc",
            b"$-2\r\n",
            b":x\r\n",
            b"%-1\r\n",
            b"=3\r\nabc\r\n",
            b"!1\r\n",
            b"*x\r\n",
            b",x\r\n",
        ];
        for reply in replies {
            assert_eq!(Parts::new(reply).next(), None, "{}", reply.escape_ascii());
        }
    }
}
