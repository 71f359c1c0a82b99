//! The client's decoder: bytes of a server, RESP2 or RESP3, into a [`Value`].
//!
//! The decoder takes whatever has come, keeps what it learnt and goes on there when more comes: a
//! line is searched for its end only once, a large bulk is moved out of the input piece by piece,
//! and nested collections wait on an explicit stack. A length that the server announces is only
//! ever a countdown; memory grows with the bytes that really came. Nesting is bounded, so that
//! the recursive printers and the drop of a `Value` need no care of their own.
//!
//! Attributes (`|`) are decoded and dropped: no command that answers to a client needs them.

use crate::util::number::{parse_f64, parse_i64};
use std::fmt;

/// Collections inside collections at most; a deeper reply ends the connection.
pub const RESPONSE_DEPTH_MAX: usize = 128;
/// A line (simple string, error, number or length) of at most this many bytes.
pub const RESPONSE_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room kept for the first elements of a collection before any of them has come.
const ELEMENTS_RESERVED_MAX: usize = 16;
/// Length of a verbatim string's format and the colon behind it.
const VERBATIM_HEADER_BYTES: usize = 4;

/// One decoded response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A status line such as "OK".
    Simple(Vec<u8>),
    /// An error, with its code: "ERR unknown command".
    Error(Vec<u8>),
    /// A signed integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// Nothing: RESP3's null and both nulls of RESP2.
    Null,
    /// An ordered sequence.
    Array(Vec<Value>),
    /// Pairs, in the order in which they came.
    Map(Vec<(Value, Value)>),
    /// A sequence without order.
    Set(Vec<Value>),
    /// A message that answers no request.
    Push(Vec<Value>),
    /// A float as the server wrote it; its text is a valid float.
    Double(Vec<u8>),
    /// A truth value.
    Bool(bool),
    /// An integer of any size as the server wrote it.
    BigNumber(Vec<u8>),
    /// Text to be shown as it is, such as INFO's, and its three-letter format.
    Verbatim {
        /// "txt" or "mkd".
        format: [u8; 3],
        /// The text.
        text: Vec<u8>,
    },
}

impl Value {
    /// True for an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The bytes of a string, status, error, verbatim text, double or big number.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Bulk(text)
            | Self::Double(text)
            | Self::BigNumber(text)
            | Self::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    #[must_use]
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }
}

/// What a server sent that is no RESP; the connection cannot be used any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// The first byte of a response names no type.
    UnknownType(u8),
    /// A length is no number, or negative where that means nothing.
    BadLength,
    /// An integer, double or big number that is none.
    BadNumber,
    /// A boolean other than `t` and `f`.
    BadBool,
    /// A null with something in it.
    BadNull,
    /// A line with a lone carriage return or line feed.
    BadLine,
    /// A bulk string without its closing line end.
    BadBulkEnd,
    /// A verbatim string without its format.
    BadVerbatim,
    /// A line longer than [`RESPONSE_LINE_BYTES_MAX`].
    LineTooLong,
    /// More nesting than [`RESPONSE_DEPTH_MAX`].
    TooDeep,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error, ")?;
        match self {
            Self::UnknownType(byte) => {
                write!(f, "got \"{}\" as reply type byte", byte.escape_ascii())
            }
            Self::BadLength => f.write_str("bad length"),
            Self::BadNumber => f.write_str("bad number"),
            Self::BadBool => f.write_str("bad bool value"),
            Self::BadNull => f.write_str("bad null value"),
            Self::BadLine => f.write_str("bad simple string value"),
            Self::BadBulkEnd => f.write_str("bulk string without its line end"),
            Self::BadVerbatim => f.write_str("verbatim string without its format"),
            Self::LineTooLong => f.write_str("line too long"),
            Self::TooDeep => f.write_str("too deeply nested"),
        }
    }
}

impl std::error::Error for ResponseError {}

/// An incremental decoder; one per connection.
#[derive(Debug, Default)]
pub struct ResponseDecoder {
    /// Collections that wait for elements, the outermost first.
    open: Vec<Collection>,
    /// A bulk whose length is known and whose bytes are coming.
    bulk: Option<Bulk>,
    /// Bytes at the start of the unconsumed input that hold no line end.
    searched_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CollectionKind {
    Array,
    Map,
    Set,
    Push,
    Attribute,
}

#[derive(Debug)]
struct Collection {
    kind: CollectionKind,
    missing: u64,
    elements: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BulkKind {
    Plain,
    Error,
    Verbatim,
}

#[derive(Debug)]
struct Bulk {
    kind: BulkKind,
    /// Bytes of content that have not come yet.
    missing: u64,
    content: Vec<u8>,
}

/// What one line of input turned out to be.
enum Line {
    Value(Value),
    Bulk(Bulk),
    Open(CollectionKind, u64),
}

impl ResponseDecoder {
    /// A decoder that expects the start of a response.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True between two responses: nothing of the next one was consumed yet.
    #[must_use]
    pub fn is_between_responses(&self) -> bool {
        self.open.is_empty() && self.bulk.is_none()
    }

    /// Decodes up to one response from `input`.
    ///
    /// Returns how many bytes of `input` were used and must not be offered again, and the response
    /// if it is complete. What was not used must be offered again at the start of the next input.
    /// Cost: O(new bytes).
    ///
    /// # Errors
    /// The input is no RESP; the decoder must not be used afterwards.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Option<Value>), ResponseError> {
        let mut rest = input;
        loop {
            let value = if let Some(bulk) = &mut self.bulk {
                let Some(used) = bulk.take(rest)? else {
                    // Content goes at once; only the closing line end waits to be whole.
                    let left = bulk.take_content(rest);
                    return Ok((input.len() - left, None));
                };
                rest = rest.get(used..).unwrap_or_default();
                match self.bulk.take() {
                    Some(bulk) => bulk.into_value()?,
                    None => continue,
                }
            } else {
                let Some((line, used)) = self.next_line(rest)? else {
                    return Ok((input.len() - rest.len(), None));
                };
                rest = rest.get(used..).unwrap_or_default();
                match parse_line(line)? {
                    Line::Value(value) => value,
                    Line::Bulk(bulk) => {
                        self.bulk = Some(bulk);
                        continue;
                    }
                    Line::Open(kind, count) => match self.open(kind, count)? {
                        Some(value) => value,
                        None => continue,
                    },
                }
            };
            if let Some(value) = self.close(value) {
                return Ok((input.len() - rest.len(), Some(value)));
            }
        }
    }

    /// The next line without its end, and the bytes it takes with its end.
    fn next_line<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(&'a [u8], usize)>, ResponseError> {
        let unsearched = input.get(self.searched_bytes..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', unsearched) else {
            self.searched_bytes = input.len();
            if self.searched_bytes > RESPONSE_LINE_BYTES_MAX {
                return Err(ResponseError::LineTooLong);
            }
            return Ok(None);
        };
        let end = self.searched_bytes + at;
        self.searched_bytes = 0;
        match input.get(..end) {
            Some([line @ .., b'\r']) => Ok(Some((line, end + 1))),
            _ => Err(ResponseError::BadLine),
        }
    }

    /// Begins a collection; an empty one is complete at once.
    fn open(&mut self, kind: CollectionKind, count: u64) -> Result<Option<Value>, ResponseError> {
        if self.open.len() >= RESPONSE_DEPTH_MAX {
            return Err(ResponseError::TooDeep);
        }
        let reserved = usize::try_from(count).unwrap_or(usize::MAX).min(ELEMENTS_RESERVED_MAX);
        let elements = Vec::with_capacity(reserved);
        let collection = Collection { kind, missing: count, elements };
        if count > 0 {
            self.open.push(collection);
            return Ok(None);
        }
        Ok(collection.into_value())
    }

    /// Puts `value` where it belongs; returns it when it is a whole response.
    fn close(&mut self, mut value: Value) -> Option<Value> {
        loop {
            let Some(collection) = self.open.last_mut() else {
                return Some(value);
            };
            collection.elements.push(value);
            collection.missing -= 1;
            if collection.missing > 0 {
                return None;
            }
            value = self.open.pop()?.into_value()?;
        }
    }
}

impl Collection {
    /// The finished collection, or nothing for an attribute.
    fn into_value(self) -> Option<Value> {
        let elements = self.elements;
        match self.kind {
            CollectionKind::Array => Some(Value::Array(elements)),
            CollectionKind::Set => Some(Value::Set(elements)),
            CollectionKind::Push => Some(Value::Push(elements)),
            CollectionKind::Attribute => None,
            CollectionKind::Map => {
                let mut pairs = Vec::with_capacity(elements.len() / 2);
                let mut elements = elements.into_iter();
                while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
                    pairs.push((key, value));
                }
                Some(Value::Map(pairs))
            }
        }
    }
}

impl Bulk {
    /// Finishes the bulk if `input` holds all the rest of it; returns the bytes used.
    fn take(&mut self, input: &[u8]) -> Result<Option<usize>, ResponseError> {
        let Ok(missing) = usize::try_from(self.missing) else {
            return Ok(None);
        };
        let Some((content, end)) = input.split_at_checked(missing) else {
            return Ok(None);
        };
        match end {
            [b'\r', b'\n', ..] => {
                self.content.extend_from_slice(content);
                self.missing = 0;
                Ok(Some(missing + 2))
            }
            [] | [b'\r'] => Ok(None),
            _ => Err(ResponseError::BadBulkEnd),
        }
    }

    /// Moves the content that has come out of `input`; returns how many bytes are left there.
    fn take_content(&mut self, input: &[u8]) -> usize {
        let missing = usize::try_from(self.missing).unwrap_or(usize::MAX);
        let (content, left) = input.split_at_checked(missing).unwrap_or((input, &[]));
        self.content.extend_from_slice(content);
        self.missing -= content.len() as u64;
        left.len()
    }

    fn into_value(self) -> Result<Value, ResponseError> {
        match self.kind {
            BulkKind::Plain => Ok(Value::Bulk(self.content)),
            BulkKind::Error => Ok(Value::Error(self.content)),
            BulkKind::Verbatim => {
                let [a, b, c, b':', ..] = *self.content.as_slice() else {
                    return Err(ResponseError::BadVerbatim);
                };
                let mut text = self.content;
                text.drain(..VERBATIM_HEADER_BYTES);
                Ok(Value::Verbatim { format: [a, b, c], text })
            }
        }
    }
}

fn parse_line(line: &[u8]) -> Result<Line, ResponseError> {
    let Some((&kind, rest)) = line.split_first() else {
        return Err(ResponseError::UnknownType(b'\r'));
    };
    let value = match kind {
        b'+' => Value::Simple(simple_text(rest)?),
        b'-' => Value::Error(simple_text(rest)?),
        b':' => Value::Integer(parse_i64(rest).ok_or(ResponseError::BadNumber)?),
        b',' => Value::Double(double_text(rest)?),
        b'(' => Value::BigNumber(big_number_text(rest)?),
        b'_' if rest.is_empty() => Value::Null,
        b'_' => return Err(ResponseError::BadNull),
        b'#' => match rest {
            b"t" => Value::Bool(true),
            b"f" => Value::Bool(false),
            _ => return Err(ResponseError::BadBool),
        },
        b'$' => return bulk(BulkKind::Plain, rest),
        b'!' => return bulk(BulkKind::Error, rest),
        b'=' => return bulk(BulkKind::Verbatim, rest),
        b'*' => return collection(CollectionKind::Array, rest),
        b'~' => return collection(CollectionKind::Set, rest),
        b'>' => return collection(CollectionKind::Push, rest),
        b'%' => return collection(CollectionKind::Map, rest),
        b'|' => return collection(CollectionKind::Attribute, rest),
        _ => return Err(ResponseError::UnknownType(kind)),
    };
    Ok(Line::Value(value))
}

fn simple_text(text: &[u8]) -> Result<Vec<u8>, ResponseError> {
    if text.contains(&b'\r') {
        return Err(ResponseError::BadLine);
    }
    Ok(text.to_vec())
}

fn double_text(text: &[u8]) -> Result<Vec<u8>, ResponseError> {
    if parse_f64(text).is_none() && !matches!(text, b"nan" | b"-nan") {
        return Err(ResponseError::BadNumber);
    }
    Ok(text.to_vec())
}

fn big_number_text(text: &[u8]) -> Result<Vec<u8>, ResponseError> {
    match text {
        [b'-', digits @ ..] | digits
            if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) =>
        {
            Ok(text.to_vec())
        }
        _ => Err(ResponseError::BadNumber),
    }
}

/// Reads an announced length; `None` is RESP2's null.
fn announced(text: &[u8]) -> Result<Option<u64>, ResponseError> {
    match parse_i64(text) {
        Some(-1) => Ok(None),
        Some(length) => u64::try_from(length).map(Some).map_err(|_| ResponseError::BadLength),
        None => Err(ResponseError::BadLength),
    }
}

fn bulk(kind: BulkKind, length: &[u8]) -> Result<Line, ResponseError> {
    Ok(match announced(length)? {
        Some(missing) => Line::Bulk(Bulk { kind, missing, content: Vec::new() }),
        None => Line::Value(Value::Null),
    })
}

fn collection(kind: CollectionKind, length: &[u8]) -> Result<Line, ResponseError> {
    let pairs = matches!(kind, CollectionKind::Map | CollectionKind::Attribute);
    Ok(match announced(length)? {
        Some(count) if pairs => {
            Line::Open(kind, count.checked_mul(2).ok_or(ResponseError::BadLength)?)
        }
        Some(count) => Line::Open(kind, count),
        None => Line::Value(Value::Null),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    /// Decodes everything in `pieces`, which arrive one after the other.
    fn decode_pieces(pieces: &[&[u8]]) -> Result<(Vec<Value>, usize), ResponseError> {
        let mut decoder = ResponseDecoder::new();
        let mut input: Vec<u8> = Vec::new();
        let mut values = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                let (used, value) = decoder.decode(&input)?;
                assert!(used <= input.len());
                input.drain(..used);
                match value {
                    Some(value) => {
                        assert!(decoder.is_between_responses());
                        values.push(value);
                    }
                    None => break,
                }
            }
        }
        Ok((values, input.len()))
    }

    fn cases() -> Vec<(&'static [u8], Value)> {
        vec![
            (b"+OK\r\n", Value::Simple(b"OK".to_vec())),
            (b"+\r\n", Value::Simple(Vec::new())),
            (b"-ERR no\r\n", Value::Error(b"ERR no".to_vec())),
            (b":-42\r\n", Value::Integer(-42)),
            (b"$5\r\na\r\nbc\r\n", bulk("a\r\nbc")),
            (b"$0\r\n\r\n", bulk("")),
            (b"$-1\r\n", Value::Null),
            (b"*-1\r\n", Value::Null),
            (b"_\r\n", Value::Null),
            (b"*0\r\n", Value::Array(Vec::new())),
            (b"*2\r\n:1\r\n$1\r\nx\r\n", Value::Array(vec![Value::Integer(1), bulk("x")])),
            (
                b"*2\r\n*1\r\n*0\r\n$-1\r\n",
                Value::Array(vec![Value::Array(vec![Value::Array(vec![])]), Value::Null]),
            ),
            (
                b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n#t\r\n",
                Value::Map(vec![
                    (Value::Simple(b"a".to_vec()), Value::Integer(1)),
                    (Value::Simple(b"b".to_vec()), Value::Array(vec![Value::Bool(true)])),
                ]),
            ),
            (b"%0\r\n", Value::Map(Vec::new())),
            (b"~1\r\n:1\r\n", Value::Set(vec![Value::Integer(1)])),
            (b">1\r\n$1\r\nm\r\n", Value::Push(vec![bulk("m")])),
            (b",3.25\r\n", Value::Double(b"3.25".to_vec())),
            (b",-inf\r\n", Value::Double(b"-inf".to_vec())),
            (b",nan\r\n", Value::Double(b"nan".to_vec())),
            (b"#f\r\n", Value::Bool(false)),
            (b"(-123456789012345678901\r\n", Value::BigNumber(b"-123456789012345678901".to_vec())),
            (b"!5\r\nE a\r\n\r\n", Value::Error(b"E a\r\n".to_vec())),
            (
                b"=8\r\ntxt:a\r\nb\r\n",
                Value::Verbatim { format: *b"txt", text: b"a\r\nb".to_vec() },
            ),
            (b"|1\r\n+ttl\r\n:3\r\n:7\r\n", Value::Integer(7)),
            (
                b"*2\r\n|1\r\n+k\r\n*1\r\n:0\r\n:1\r\n:2\r\n",
                Value::Array(vec![Value::Integer(1), Value::Integer(2)]),
            ),
        ]
    }

    #[test]
    fn every_type_is_decoded_whole_and_split_at_every_position() {
        for (bytes, expected) in cases() {
            let shown = bytes.escape_ascii();
            for cut in 0..=bytes.len() {
                let (values, left) = decode_pieces(&[&bytes[..cut], &bytes[cut..]]).unwrap();
                assert_eq!(values, std::slice::from_ref(&expected), "{shown} cut at {cut}");
                assert_eq!(left, 0, "{shown}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(decode_pieces(&singles).unwrap().0, [expected], "{shown} byte by byte");
        }
    }

    #[test]
    fn responses_behind_each_other_are_told_apart() {
        let all: Vec<u8> = cases().iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
        let expected: Vec<Value> = cases().into_iter().map(|(_, value)| value).collect();
        for cut in 0..=all.len() {
            let (values, _) = decode_pieces(&[&all[..cut], &all[cut..]]).unwrap();
            assert_eq!(values, expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_incomplete_response_yields_nothing() {
        for (bytes, _) in cases() {
            for cut in 0..bytes.len() {
                let (values, _) = decode_pieces(&[&bytes[..cut]]).unwrap();
                assert_eq!(values, [], "{}", bytes[..cut].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_resp_is_refused() {
        let cases: &[(&[u8], ResponseError)] = &[
            (b"hello\r\n", ResponseError::UnknownType(b'h')),
            (b"\r\n", ResponseError::UnknownType(b'\r')),
            (b":x\r\n", ResponseError::BadNumber),
            (b":\r\n", ResponseError::BadNumber),
            (b",x\r\n", ResponseError::BadNumber),
            (b",\r\n", ResponseError::BadNumber),
            (b"(1x\r\n", ResponseError::BadNumber),
            (b"(-\r\n", ResponseError::BadNumber),
            (b"#x\r\n", ResponseError::BadBool),
            (b"_x\r\n", ResponseError::BadNull),
            (b"$x\r\n", ResponseError::BadLength),
            (b"$-2\r\n", ResponseError::BadLength),
            (b"*?\r\n", ResponseError::BadLength),
            (b"$1\r\nabc", ResponseError::BadBulkEnd),
            (b"$1\r\na\rb", ResponseError::BadBulkEnd),
            (b"+a\rb\r\n", ResponseError::BadLine),
            (b"+a\n", ResponseError::BadLine),
            (b"=3\r\ntxt\r\n", ResponseError::BadVerbatim),
        ];
        for (bytes, expected) in cases {
            let result = decode_pieces(&[bytes]);
            assert_eq!(result, Err(*expected), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert_eq!(decode_pieces(&[&deep(RESPONSE_DEPTH_MAX)]).unwrap().0.len(), 1);
        let result = decode_pieces(&[&deep(RESPONSE_DEPTH_MAX + 1)]);
        assert_eq!(result, Err(ResponseError::TooDeep));
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut decoder = ResponseDecoder::new();
        let (used, value) = decoder.decode(b"*1000000000\r\n$9000000000000000000\r\nab").unwrap();
        assert_eq!((used, value), (37, None));
        assert!(decoder.open[0].elements.capacity() <= ELEMENTS_RESERVED_MAX);
        assert!(decoder.bulk.unwrap().content.capacity() < 64);
        let pairs = decode_pieces(&[b"%9223372036854775807\r\n"]).unwrap();
        assert_eq!(pairs, (Vec::new(), 0));
    }

    #[test]
    fn a_large_bulk_leaves_the_input_as_it_comes() {
        let mut decoder = ResponseDecoder::new();
        assert_eq!(decoder.decode(b"$6\r\nabc").unwrap(), (7, None));
        assert_eq!(decoder.decode(b"de").unwrap(), (2, None));
        assert_eq!(decoder.decode(b"f\r").unwrap(), (1, None));
        assert_eq!(decoder.decode(b"\r\n:1").unwrap(), (2, Some(bulk("abcdef"))));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decoder(
            bytes in "[-+:$*%~>|!=,#_(0-3a\r\n]{0,40}", cut in 0_usize..40,
        ) {
            let bytes = bytes.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = decode_pieces(&[bytes]);
            let split = decode_pieces(&[&bytes[..cut], &bytes[cut..]]);
            match (whole, split) {
                (Ok((whole, _)), Ok((split, _))) => prop_assert_eq!(whole, split),
                (whole, split) => prop_assert_eq!(whole.is_err(), split.is_err()),
            }
        }
    }
}
