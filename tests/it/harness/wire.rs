//! A client that hides nothing: bytes out, the exact bytes of one reply back.
//!
//! The tests compare replies byte for byte, so this client must not share code with the server it
//! checks: it encodes requests itself and knows of the protocol only where a reply ends (RESP2
//! and RESP3, nested to any depth, without recursion). A reply that is not well formed, a closed
//! connection and a reply that does not come within `REPLY_TIMEOUT` fail the test at the line
//! that asked for it.

use socket2::{Domain, Socket, Type};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a reply may take before the test fails: far above anything a healthy server needs.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// How many bytes one read from the socket asks for.
const READ_BYTES: usize = 64 * 1024;

/// How much of a long reply a failure message shows.
const SHOWN_BYTES_MAX: usize = 2_000;

/// One blocking connection to a server.
pub struct Wire {
    stream: TcpStream,
    /// What has arrived and was not yet returned: `input[start..]`.
    input: Vec<u8>,
    start: usize,
}

impl Wire {
    /// Connects; fails the test if nobody listens.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::of(TcpStream::connect(addr).unwrap_or_else(|e| panic!("connect to {addr}: {e}")))
    }

    /// Connects with a receive buffer of a few kilobytes: as large as the system would let it
    /// grow, on some machines 32 MB, it would hide that nobody reads.
    #[track_caller]
    pub fn connect_with_little_room(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect(&addr.into()).unwrap_or_else(|e| panic!("connect to {addr}: {e}"));
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(REPLY_TIMEOUT)).unwrap();
        Self { stream, input: Vec::new(), start: 0 }
    }

    /// Connects and switches to RESP3.
    #[track_caller]
    pub fn connect_resp3(addr: SocketAddr) -> Self {
        let mut wire = Self::connect(addr);
        let hello = wire.run("HELLO 3");
        assert!(hello.starts_with(b"%"), "HELLO 3 answered {}", escape(&hello));
        wire
    }

    /// The client's end of the connection, as CLIENT LIST shows it.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// The same connection once more, for sending while this one reads.
    pub fn clone_stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        if let Err(e) = self.try_raw(bytes) {
            panic!("sending {}: {e}", shown(bytes));
        }
        self
    }

    /// As `raw`, for a test that expects the server to close at any moment.
    pub fn try_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes if the server takes them all within `timeout`; else some of them may be sent.
    pub fn try_raw_for(&mut self, bytes: &[u8], timeout: Duration) -> bool {
        self.stream.set_write_timeout(Some(timeout)).unwrap();
        let sent = self.try_raw(bytes).is_ok();
        self.stream.set_write_timeout(Some(REPLY_TIMEOUT)).unwrap();
        sent
    }

    /// Sends one request given as a line (see `split`), and waits for nothing.
    #[track_caller]
    pub fn send(&mut self, line: &str) -> &mut Self {
        self.raw(encode(&split(line)))
    }

    /// Sends one request given as its arguments, and waits for nothing.
    #[track_caller]
    pub fn send_args<A: AsRef<[u8]>>(&mut self, args: &[A]) -> &mut Self {
        self.raw(encode(args))
    }

    /// Sends one request given as a line and returns its reply.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Vec<u8> {
        self.send(line).reply()
    }

    /// Sends one request given as its arguments and returns its reply.
    #[track_caller]
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        self.send_args(args).reply()
    }

    /// Sends one request and fails the test unless the reply is exactly `expected`.
    #[track_caller]
    pub fn expect(&mut self, line: &str, expected: impl AsRef<[u8]>) -> &mut Self {
        let (got, expected) = (self.run(line), expected.as_ref());
        assert!(
            got == expected,
            "{line}\n  expected {}\n  got      {}",
            shown(expected),
            shown(&got)
        );
        self
    }

    /// Fails the test unless the next reply is exactly `expected`.
    #[track_caller]
    pub fn expect_reply(&mut self, expected: impl AsRef<[u8]>) -> &mut Self {
        let (got, expected) = (self.reply(), expected.as_ref());
        assert!(got == expected, "\n  expected {}\n  got      {}", shown(expected), shown(&got));
        self
    }

    /// Sends one request and fails the test unless the reply starts with `start`.
    #[track_caller]
    pub fn expect_start(&mut self, line: &str, start: impl AsRef<[u8]>) -> &mut Self {
        let (got, start) = (self.run(line), start.as_ref());
        let fits = got.starts_with(start);
        assert!(fits, "{line}\n  expected {} ...\n  got      {}", shown(start), shown(&got));
        self
    }

    /// Waits for one whole reply and returns its bytes. An attribute counts to the reply it
    /// describes; a push message counts as a reply of its own.
    #[track_caller]
    pub fn reply(&mut self) -> Vec<u8> {
        self.try_reply().unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// As `reply`, for a test that has more to say about a failure; the error is one sentence.
    pub fn try_reply(&mut self) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        let mut frame = Frame::default();
        loop {
            let whole = frame.advance(self.pending());
            if whole.map_err(|e| format!("not a reply ({e}): {}", shown(self.pending())))? {
                return Ok(self.take(frame.end));
            }
            match self.fill(deadline) {
                Filled::Bytes => {}
                Filled::Closed => {
                    return Err(format!("closed, no reply, only {}", shown(self.pending())));
                }
                Filled::Nothing => {
                    let so_far = shown(self.pending());
                    return Err(format!("no reply within {REPLY_TIMEOUT:?}, only {so_far}"));
                }
            }
        }
    }

    /// Reads replies up to a `+PONG` or to the end of the connection; returns how many.
    #[track_caller]
    pub fn read_until_pong(&mut self) -> usize {
        let mut replies = 0;
        loop {
            match self.try_reply() {
                Ok(reply) => {
                    replies += 1;
                    if reply == b"+PONG\r\n" {
                        return replies;
                    }
                }
                Err(reason) if reason.starts_with("closed") => return replies,
                Err(reason) => panic!("{reason}"),
            }
        }
    }

    /// Returns everything the server sends until it closes the connection.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        self.try_read_to_close().unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// As `read_to_close`, for a test that has more to say about a failure.
    pub fn try_read_to_close(&mut self) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        loop {
            match self.fill(deadline) {
                Filled::Bytes => {}
                Filled::Closed => return Ok(self.take(self.input.len() - self.start)),
                Filled::Nothing => {
                    return Err(format!("still open; so far {}", shown(self.pending())));
                }
            }
        }
    }

    /// Fails the test unless the server closes the connection without sending anything more.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.read_to_close();
        assert!(rest.is_empty(), "closed, but after {}", shown(&rest));
    }

    /// Fails the test if the server sends anything, or closes, within `wait_ms`.
    #[track_caller]
    pub fn expect_silence(&mut self, wait_ms: u64) -> &mut Self {
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        if self.pending().is_empty()
            && let Filled::Closed = self.fill(deadline)
        {
            panic!("closed where silence was expected");
        }
        assert!(self.pending().is_empty(), "silence expected, got {}", shown(self.pending()));
        self
    }

    /// Tells the server, if it is still there, that no more requests come; replies can still be
    /// read.
    pub fn finish_sending(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    fn pending(&self) -> &[u8] {
        &self.input[self.start..]
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let reply = self.input[self.start..self.start + length].to_vec();
        self.start += length;
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
        reply
    }

    fn fill(&mut self, deadline: Instant) -> Filled {
        if self.start > READ_BYTES {
            self.input.drain(..self.start);
            self.start = 0;
        }
        let mut chunk = [0; READ_BYTES];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Filled::Nothing;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut chunk) {
                Ok(0) => return Filled::Closed,
                Ok(length) => {
                    self.input.extend_from_slice(&chunk[..length]);
                    return Filled::Bytes;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Filled::Nothing;
                }
                // Closing with unread input resets the connection: also an end.
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Filled::Closed,
                Err(e) => panic!("reading a reply: {e}"),
            }
        }
    }
}

enum Filled {
    Bytes,
    Closed,
    Nothing,
}

/// Finds the end of one reply, resuming where the last call stopped.
struct Frame {
    /// How many values are still to be read.
    open: usize,
    /// Where the next value starts; the end of the reply once `open` is 0.
    end: usize,
}

impl Default for Frame {
    fn default() -> Self {
        Self { open: 1, end: 0 }
    }
}

impl Frame {
    /// True once `input`, which starts with the reply, holds all of it.
    fn advance(&mut self, input: &[u8]) -> Result<bool, String> {
        while self.open > 0 {
            let rest = &input[self.end.min(input.len())..];
            let Some(line_end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
                return Ok(false);
            };
            let (kind, text) = (rest[0], &rest[1.min(line_end)..line_end]);
            let mut length = line_end + 2;
            self.open -= 1;
            match kind {
                b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
                b'$' | b'!' | b'=' => {
                    if let Some(bytes) = count(text, kind == b'$')? {
                        length += bytes + 2;
                        let Some(body) = rest.get(..length) else {
                            self.open += 1;
                            return Ok(false);
                        };
                        if !body.ends_with(b"\r\n") {
                            return Err(format!("no line end after {bytes} bytes"));
                        }
                    }
                }
                b'*' | b'~' | b'>' => self.open += count(text, kind == b'*')?.unwrap_or(0),
                b'%' => self.open += 2 * count(text, false)?.unwrap_or(0),
                b'|' => self.open += 2 * count(text, false)?.unwrap_or(0) + 1,
                _ => return Err(format!("unknown type {:?}", char::from(kind))),
            }
            self.end += length;
        }
        Ok(true)
    }
}

/// A length in a reply; `None` is RESP2's -1.
fn count(text: &[u8], may_be_null: bool) -> Result<Option<usize>, String> {
    if may_be_null && text == b"-1" {
        return Ok(None);
    }
    let digits =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(format!("bad length {}", escape(text))),
    }
}

/// Encodes one request as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// A bulk string as a reply carries it, for building expected replies.
pub fn bulk(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// An array of bulk strings as a reply carries it, for building expected replies.
pub fn bulks<A: AsRef<[u8]>>(values: &[A]) -> Vec<u8> {
    encode(values)
}

/// Splits a line into arguments at blanks. `"..."` keeps blanks and knows `\n \r \t \a \b \\ \"`
/// and `\xHH`; `'...'` keeps everything but `\'`.
#[track_caller]
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let mut args = Vec::new();
    let mut rest = line.bytes().peekable();
    while let Some(first) = rest.next() {
        let mut arg = Vec::new();
        match first {
            b' ' => continue,
            b'"' => loop {
                match rest.next() {
                    Some(b'"') => break,
                    Some(b'\\') => arg.push(unescape(&mut rest, line)),
                    Some(byte) => arg.push(byte),
                    None => panic!("unbalanced quotes in {line}"),
                }
            },
            b'\'' => loop {
                match rest.next() {
                    Some(b'\'') => break,
                    Some(b'\\') if rest.peek() == Some(&b'\'') => arg.extend(rest.next()),
                    Some(byte) => arg.push(byte),
                    None => panic!("unbalanced quotes in {line}"),
                }
            },
            byte => {
                arg.push(byte);
                while let Some(byte) = rest.next_if(|byte| *byte != b' ') {
                    arg.push(byte);
                }
            }
        }
        args.push(arg);
    }
    args
}

#[track_caller]
fn unescape(rest: &mut impl Iterator<Item = u8>, line: &str) -> u8 {
    match rest.next() {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'a') => 7,
        Some(b'b') => 8,
        Some(b'x') => {
            let digits: Vec<u8> = rest.take(2).collect();
            let text = std::str::from_utf8(&digits).unwrap();
            u8::from_str_radix(text, 16).unwrap_or_else(|_| panic!("bad \\x{text} in {line}"))
        }
        Some(byte) => byte,
        None => panic!("unbalanced quotes in {line}"),
    }
}

/// Bytes as a person can read them: printable ASCII as it is, the rest escaped.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    text
}

/// As `escape`, quoted and cut to what a failure message can show.
pub fn shown(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN_BYTES_MAX) {
        Some(head) => format!("\"{}\" ... ({} bytes)", escape(head), bytes.len()),
        None => format!("\"{}\"", escape(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{Frame, Wire, encode, escape, split};

    const REPLIES: &[&[u8]] = &[
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-9223372036854775808\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$5\r\na\r\nb$\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*-1\r\n$-1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(123456789012345678901234567890\r\n",
        b"!3\r\nERR\r\n",
        b"=7\r\ntxt:a\r\n\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n~2\r\n:1\r\n:2\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*1\r\n+x\r\n",
        b">2\r\n+message\r\n%0\r\n",
    ];

    #[test]
    fn a_reply_ends_where_it_ends_however_it_is_cut() {
        for reply in REPLIES {
            let followed = [*reply, b"+next\r\n"].concat();
            let mut whole = Frame::default();
            assert_eq!(whole.advance(&followed), Ok(true), "{}", escape(reply));
            assert_eq!(whole.end, reply.len(), "{}", escape(reply));
            let mut grown = Frame::default();
            for length in 0..reply.len() {
                assert_eq!(grown.advance(&reply[..length]), Ok(false), "{}", escape(reply));
            }
            assert_eq!(grown.advance(reply), Ok(true));
            assert_eq!(grown.end, reply.len());
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bad in [&b"OK\r\n"[..], b"$x\r\n", b"*-2\r\n", b"%-1\r\n", b"$1\r\nabc\r\n", b"\r\n"] {
            assert!(Frame::default().advance(bad).is_err(), "{}", escape(bad));
        }
    }

    #[test]
    fn a_line_splits_as_in_a_shell() {
        let cases: &[(&str, &[&[u8]])] = &[
            ("SET k v", &[b"SET", b"k", b"v"]),
            ("  GET   k ", &[b"GET", b"k"]),
            (r#"SET k """#, &[b"SET", b"k", b""]),
            (r#"SET k "a \"b\"\r\n\x00\xff""#, &[b"SET", b"k", b"a \"b\"\r\n\x00\xff"]),
            (r"SET k 'it\'s \n'", &[b"SET", b"k", b"it's \\n"]),
        ];
        for (line, expected) in cases {
            assert_eq!(split(line), *expected, "{line}");
        }
        assert_eq!(encode(&split("GET k")), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }

    #[test]
    fn silence_a_reply_and_a_close_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::connect(listener.local_addr().unwrap());
        let (mut server, _) = listener.accept().unwrap();
        wire.expect_silence(20);
        server.write_all(b"+a\r\n+b\r\n+left").unwrap();
        wire.expect_reply("+a\r\n");
        let wrong = catch_unwind(AssertUnwindSafe(|| wire.expect_silence(0).local_addr()));
        assert!(wrong.is_err(), "a waiting reply passed for silence");
        wire.expect_reply("+b\r\n");
        drop(server);
        let wrong = catch_unwind(AssertUnwindSafe(|| wire.expect_closed()));
        assert!(wrong.is_err(), "half a reply passed for a clean close");
        wire.expect_closed();
    }
}
