//! Writing replies. The one place that knows how RESP2 and RESP3 differ.
//!
//! A handler says what its reply is, a map or a double or nothing, and never asks which protocol
//! the client speaks. Errors are made safe here: a CR or LF in a text becomes a blank, so that no
//! bytes of a client can forge a reply.

use crate::protocol::output::{Mark, OutputBuffer, SHARED_BYTES_MIN};
use crate::util::number::format_f64;
use bytes::Bytes;

/// What stands around a short byte string: a marker, two digits and two line ends.
const SHORT_FRAME_BYTES: usize = 7;

/// Which version of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP2, with which every connection begins.
    #[default]
    Resp2,
    /// RESP3, after HELLO 3.
    Resp3,
}

impl Protocol {
    /// Its number, as HELLO takes and CLIENT LIST prints it.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Writes replies of one client into its output.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    output: &'a mut OutputBuffer,
    protocol: Protocol,
}

impl<'a> ReplyWriter<'a> {
    /// A writer at the end of `output`.
    #[inline]
    pub fn new(output: &'a mut OutputBuffer, protocol: Protocol) -> Self {
        Self { output, protocol }
    }

    /// The same writer, lent for a part of the reply.
    #[inline]
    pub fn reborrow(&mut self) -> ReplyWriter<'_> {
        ReplyWriter { output: self.output, protocol: self.protocol }
    }

    /// The protocol of the client.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What follows is written in another protocol; for HELLO.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The present end of the output.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.output.mark()
    }

    /// Bytes of the output so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// True when there is no output.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    /// Takes back all replies since `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.output.truncate(mark);
    }

    /// A marker, a number and the line end.
    #[inline]
    fn head(&mut self, marker: u8, number: i64) {
        match u8::try_from(number) {
            Ok(digit @ 0..10) => self.output.put(&[marker, b'0' + digit, b'\r', b'\n']),
            Ok(number @ 10..100) => {
                let (tens, ones) = (b'0' + number / 10, b'0' + number % 10);
                self.output.put(&[marker, tens, ones, b'\r', b'\n']);
            }
            _ => self.long_head(marker, number),
        }
    }

    fn long_head(&mut self, marker: u8, number: i64) {
        let mut text = itoa::Buffer::new();
        let digits = text.format(number).as_bytes();
        self.output.reserve(digits.len() + 3);
        self.output.put(&[marker]);
        self.output.put(digits);
        self.output.put(b"\r\n");
    }

    #[inline]
    fn head_len(&mut self, marker: u8, len: usize) {
        self.head(marker, i64::try_from(len).unwrap_or(i64::MAX));
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.output.put(b"+OK\r\n");
    }

    /// A status line of our own.
    #[inline]
    pub fn simple(&mut self, text: &'static str) {
        self.output.put(b"+");
        self.output.put(text.as_bytes());
        self.output.put(b"\r\n");
    }

    /// A status line with a text that was put together here; it must be free of CR and LF.
    pub fn status(&mut self, text: &str) {
        self.output.put(b"+");
        self.output.put(text.as_bytes());
        self.output.put(b"\r\n");
    }

    /// A status line with a text from outside; CR and LF become blanks.
    pub fn status_bytes(&mut self, text: &[u8]) {
        self.output.put(b"+");
        for byte in text {
            self.output.put(&[if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }]);
        }
        self.output.put(b"\r\n");
    }

    /// An error line; CR and LF at the end of the text are dropped, others become blanks.
    pub fn error(&mut self, text: &[u8]) {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let len = text.iter().rposition(|byte| !is_line_end(byte)).map_or(0, |last| last + 1);
        let text = text.get(..len).unwrap_or(text);
        let mut line = Vec::with_capacity(text.len() + 3);
        line.push(b'-');
        line.extend(text.iter().map(|byte| if is_line_end(byte) { b' ' } else { *byte }));
        line.extend_from_slice(b"\r\n");
        self.output.put(&line);
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, number: i64) {
        self.head(b':', number);
    }

    /// A count.
    #[inline]
    pub fn count(&mut self, count: usize) {
        self.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// 1 or 0.
    #[inline]
    pub fn flag(&mut self, flag: bool) {
        self.integer(i64::from(flag));
    }

    /// A byte string, copied.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.output.reserve(bytes.len() + SHORT_FRAME_BYTES);
        self.head_len(b'$', bytes.len());
        self.output.put(bytes);
        self.output.put(b"\r\n");
    }

    /// A byte string; a large one is shared instead of copied.
    pub fn bulk_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.bulk(bytes);
            return;
        }
        self.head_len(b'$', bytes.len());
        self.output.put_shared(bytes.clone());
        self.output.put(b"\r\n");
    }

    /// A number as a byte string.
    pub fn bulk_integer(&mut self, number: i64) {
        let mut text = itoa::Buffer::new();
        self.bulk(text.format(number).as_bytes());
    }

    /// Nothing, where a byte string could be.
    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.output.put(b"$-1\r\n"),
            Protocol::Resp3 => self.output.put(b"_\r\n"),
        }
    }

    /// Nothing, where an array could be.
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.output.put(b"*-1\r\n"),
            Protocol::Resp3 => self.output.put(b"_\r\n"),
        }
    }

    /// The head of an array of `len` replies, which follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.head_len(b'*', len);
    }

    /// The head of a map of `len` pairs, which follow.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head_len(b'*', 2 * len),
            Protocol::Resp3 => self.head_len(b'%', len),
        }
    }

    /// Two byte strings that belong together, inside an array; returns the elements that they are.
    pub fn bulk_pair(&mut self, first: &[u8], second: &[u8]) -> usize {
        let elements = match self.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => {
                self.array(2);
                1
            }
        };
        self.bulk(first);
        self.bulk(second);
        elements
    }

    /// The head of a set of `len` replies, which follow.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head_len(b'*', len),
            Protocol::Resp3 => self.head_len(b'~', len),
        }
    }

    /// The head of an out-of-band message of `len` replies, which follow.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head_len(b'*', len),
            Protocol::Resp3 => self.head_len(b'>', len),
        }
    }

    /// A floating point number.
    pub fn double(&mut self, number: f64) {
        self.double_text(&format_f64(number));
    }

    /// A floating point number with digits of the family's own.
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.output.put(b",");
                self.output.put(text);
                self.output.put(b"\r\n");
            }
        }
    }

    /// A truth value.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp2, _) => self.flag(value),
            (Protocol::Resp3, true) => self.output.put(b"#t\r\n"),
            (Protocol::Resp3, false) => self.output.put(b"#f\r\n"),
        }
    }

    /// A number of any length, written in digits.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => {
                self.output.put(b"(");
                self.output.put(digits);
                self.output.put(b"\r\n");
            }
        }
    }

    /// The head of `len` attributes of the reply that follows them, each a name and a value.
    /// False: the protocol has none, and nothing of them may be written.
    pub fn attributes(&mut self, len: usize) -> bool {
        let has_them = self.protocol == Protocol::Resp3;
        if has_them {
            self.head_len(b'|', len);
        }
        has_them
    }

    /// Text for people, as INFO and CLIENT LIST give it.
    pub fn verbatim(&mut self, text: &[u8]) {
        self.verbatim_in(*b"txt", text);
    }

    /// Text for people in a format of three letters.
    pub fn verbatim_in(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.head_len(b'=', text.len() + 4);
                self.output.put(&format);
                self.output.put(b":");
                self.output.put(text);
                self.output.put(b"\r\n");
            }
        }
    }

    /// A part of replies that were written elsewhere, of the same protocol.
    pub fn part(&mut self, bytes: &[u8]) {
        self.output.put(bytes);
    }

    /// Replies that were written elsewhere, of the same protocol.
    pub fn append(&mut self, replies: OutputBuffer) {
        self.output.append(replies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    fn written(protocol: Protocol, write: impl FnOnce(&mut ReplyWriter<'_>)) -> String {
        let mut output = OutputBuffer::new();
        write(&mut ReplyWriter::new(&mut output, protocol));
        let bytes = output.copy_to_bytes(output.remaining());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn each_reply_has_its_form_in_both_protocols() {
        type Write = fn(&mut ReplyWriter<'_>);
        let cases: &[(Write, &str, &str)] = &[
            (|w| w.ok(), "+OK\r\n", "+OK\r\n"),
            (|w| w.simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (|w| w.integer(-42), ":-42\r\n", ":-42\r\n"),
            (|w| w.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|w| w.bulk(b"ab"), "$2\r\nab\r\n", "$2\r\nab\r\n"),
            (|w| w.null(), "$-1\r\n", "_\r\n"),
            (|w| w.null_array(), "*-1\r\n", "_\r\n"),
            (|w| w.array(3), "*3\r\n", "*3\r\n"),
            (|w| w.map(2), "*4\r\n", "%2\r\n"),
            (|w| w.set(2), "*2\r\n", "~2\r\n"),
            (|w| w.push(2), "*2\r\n", ">2\r\n"),
            (|w| w.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|w| w.double_text(b"1.50"), "$4\r\n1.50\r\n", ",1.50\r\n"),
            (|w| w.boolean(true), ":1\r\n", "#t\r\n"),
            (|w| w.boolean(false), ":0\r\n", "#f\r\n"),
            (|w| w.verbatim(b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|w| w.error(b"ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (|w| w.error(b"ERR a\n\r\n"), "-ERR a\r\n", "-ERR a\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(Protocol::Resp2, write), *resp2);
            assert_eq!(written(Protocol::Resp3, write), *resp3);
        }
    }
}
