//! Decoding requests, in place and incrementally.
//!
//! A request is an array of bulk strings, or a line of words (inline). The grammar is flat, so
//! there is nothing to recurse into. The decoder notes where each argument stands in the input and
//! copies none; when the input ends in the middle of a request it remembers how far it came, and
//! goes on from there when more has arrived: no byte is looked at twice, however small the pieces.
//! What a length merely announces is never reserved.
//!
//! Several requests of a pipeline can be decoded before the first of them runs: each keeps its
//! arguments until [`RequestDecoder::forget`].

use crate::protocol::error::ProtocolError;
use crate::protocol::limits;
use crate::util::number::parse_i64;

/// Arguments for which room is kept between requests.
const ARGUMENTS_KEPT_MAX: usize = 1024;

/// Bytes of arguments for which room is kept between those that are put together.
const BUFFER_BYTES_KEPT_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    len: u32,
}

/// The arguments of one request, borrowed from the input.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a> {
    buffer: &'a [u8],
    places: &'a [Place],
}

impl<'a> Args<'a> {
    /// Number of arguments, the command's name included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True when the request has no arguments at all and is to be skipped.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Argument number `index`, `None` behind the last.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let place = self.places.get(index)?;
        let start = place.start as usize;
        self.buffer.get(start..start + place.len as usize)
    }

    /// Argument number `index`, which the command's arity guarantees; empty behind the last.
    #[inline]
    #[must_use]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// The arguments from number `from` on, as if they were a request of their own.
    #[must_use]
    pub fn skip(self, from: usize) -> Self {
        Self { places: self.places.get(from..).unwrap_or_default(), ..self }
    }

    /// The first `count` arguments, as if they were a request of their own.
    #[must_use]
    pub fn take(self, count: usize) -> Self {
        let count = count.min(self.places.len());
        Self { places: self.places.get(..count).unwrap_or_default(), ..self }
    }

    /// All arguments from number `from` on.
    pub fn iter_from(self, from: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        (from.min(self.len())..self.len()).map(move |index| self.at(index))
    }

    /// A copy that outlives the input. Cost: O(bytes).
    #[must_use]
    pub fn to_owned(self) -> OwnedArgs {
        self.to_owned_with(&[])
    }

    /// As [`to_owned`](Self::to_owned), with others in the place of some arguments, which are named
    /// by their numbers.
    #[must_use]
    pub fn to_owned_with(self, others: &[(usize, Vec<u8>)]) -> OwnedArgs {
        let bytes = self.iter_from(0).map(<[u8]>::len).sum();
        let mut buffer = Vec::with_capacity(bytes);
        let mut places = Vec::with_capacity(self.len());
        for (index, argument) in self.iter_from(0).enumerate() {
            let other = others.iter().find(|(number, _)| *number == index);
            let argument = other.map_or(argument, |(_, argument)| argument);
            // No longer than the request, in which the places are of the same type.
            let start = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
            let len = u32::try_from(argument.len()).unwrap_or(u32::MAX);
            places.push(Place { start, len });
            buffer.extend_from_slice(argument);
        }
        OwnedArgs { buffer: buffer.into_boxed_slice(), places: places.into_boxed_slice() }
    }
}

/// The arguments of a request that is kept to run later.
#[derive(Debug, Clone)]
pub struct OwnedArgs {
    buffer: Box<[u8]>,
    places: Box<[Place]>,
}

impl OwnedArgs {
    /// The arguments.
    #[must_use]
    pub fn args(&self) -> Args<'_> {
        Args { buffer: &self.buffer, places: &self.places }
    }

    /// Bytes of memory that they take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.buffer.len() + self.places.len() * size_of::<Place>() + size_of::<Self>()
    }
}

/// Arguments that are put together one by one, in room that is used again.
#[derive(Debug, Default)]
pub struct ArgsBuffer {
    buffer: Vec<u8>,
    places: Vec<Place>,
}

impl ArgsBuffer {
    /// Forgets the arguments; gives back the room of unusually long ones.
    pub fn clear(&mut self) {
        if self.buffer.capacity() > BUFFER_BYTES_KEPT_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.places.clear();
        self.places.shrink_to(ARGUMENTS_KEPT_MAX);
    }

    /// Adds a copy of one argument. False: all together would be too long to be noted.
    #[inline]
    pub fn push(&mut self, argument: &[u8]) -> bool {
        let start = u32::try_from(self.buffer.len());
        let (Ok(start), Ok(len)) = (start, u32::try_from(argument.len())) else { return false };
        self.places.push(Place { start, len });
        self.buffer.extend_from_slice(argument);
        true
    }

    /// Bytes of the arguments.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The arguments.
    #[inline]
    #[must_use]
    pub fn args(&self) -> Args<'_> {
        Args { buffer: &self.buffer, places: &self.places }
    }
}

/// One decoded request, until its decoder forgets it.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Bytes that it takes in the input.
    pub length: usize,
    first: usize,
    end: usize,
    is_inline: bool,
}

impl Request {
    /// True when it is a line of words; its arguments are no parts of the input then.
    #[inline]
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }
}

/// Where the decoder is inside a request.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Before the first byte.
    Start,
    /// Inside an inline request; the bytes before `searched` have no line end.
    Inline { searched: usize },
    /// In the line that announces the number of arguments.
    Count,
    /// Before the line that announces a length.
    Length { left: u32 },
    /// In front of the bytes of an argument.
    Bulk { left: u32, len: u32 },
}

/// An incremental decoder; see the head of the file.
#[derive(Debug)]
pub struct RequestDecoder {
    state: State,
    /// How far the input is decoded, counted from the start of the request.
    at: usize,
    /// How much of an unfinished line was searched for its end.
    searched: usize,
    /// The arguments of the requests that are kept, and of the one being decoded.
    places: Vec<Place>,
    /// Where the arguments of the request being decoded begin.
    first: usize,
    /// The unquoted words of inline requests.
    inline: Vec<u8>,
    authenticated: bool,
    bulk_bytes_max: i64,
    request_bytes_max: usize,
}

impl Default for RequestDecoder {
    fn default() -> Self {
        Self {
            state: State::Start,
            at: 0,
            searched: 0,
            places: Vec::new(),
            first: 0,
            inline: Vec::new(),
            authenticated: true,
            bulk_bytes_max: limits::BULK_BYTES_MAX,
            request_bytes_max: limits::REQUEST_BYTES_MAX,
        }
    }
}

impl RequestDecoder {
    /// A decoder at the start of a request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses between the limits for strangers and for authenticated peers.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
    }

    /// Sets the largest argument (proto-max-bulk-len).
    pub fn set_bulk_bytes_max(&mut self, bytes: i64) {
        self.bulk_bytes_max = bytes;
    }

    /// Sets how long a whole request may be, from the next one on
    /// (client-query-buffer-limit).
    #[inline]
    pub fn set_request_bytes_max(&mut self, bytes: usize) {
        self.request_bytes_max = bytes.min(limits::REQUEST_BYTES_MAX);
    }

    /// True in the middle of a request.
    #[must_use]
    pub fn is_inside_request(&self) -> bool {
        !matches!(self.state, State::Start)
    }

    /// With how many bytes of input the argument that is coming is complete, counted from the start
    /// of its request; 0 when none was announced.
    #[must_use]
    pub fn wanted_bytes(&self) -> usize {
        match self.state {
            State::Bulk { len, .. } => self.at + len as usize + 2,
            _ => 0,
        }
    }

    /// Decodes one request. `input` begins at its first byte; while it is incomplete, the next
    /// call gets the same bytes and more.
    ///
    /// Returns the request, whose arguments [`args`](Self::args) gives, or `None` when more input
    /// is needed. Cost: O(new bytes).
    ///
    /// # Errors
    /// When the bytes are no request; the decoder must not be used any more.
    #[inline]
    pub fn decode(&mut self, input: &[u8]) -> Result<Option<Request>, ProtocolError> {
        if matches!(self.state, State::Start) {
            if let Some(request) = self.short_request(input) {
                return Ok(Some(request));
            }
            self.places.truncate(self.first);
        }
        loop {
            match self.state {
                State::Start => match input.first() {
                    None => return Ok(None),
                    Some(b'*') => self.begin(State::Count),
                    Some(_) => self.begin(State::Inline { searched: 0 }),
                },
                State::Inline { searched } => return self.inline(input, searched),
                State::Count => {
                    let Some((number, next)) = number_at(input, 1, &mut self.searched) else {
                        let too_long = ProtocolError::ArgumentCountLineTooLong;
                        return unfinished_line(input.len(), too_long);
                    };
                    let count = self.argument_count(number)?;
                    self.at = next;
                    if count == 0 {
                        return Ok(Some(self.request(next, false)));
                    }
                    self.state = State::Length { left: count };
                }
                State::Length { left } => {
                    if let Some(byte) = input.get(self.at).filter(|byte| **byte != b'$') {
                        return Err(ProtocolError::ExpectedBulk(*byte));
                    }
                    let line = number_at(input, self.at + 1, &mut self.searched);
                    let Some((number, next)) = line else {
                        let too_long = ProtocolError::BulkLengthLineTooLong;
                        return unfinished_line(input.len() - self.at, too_long);
                    };
                    let len = self.bulk_len(number)?;
                    self.at = next;
                    self.state = State::Bulk { left, len };
                }
                State::Bulk { left, len } => {
                    let end = self.at + len as usize;
                    if end + 2 > self.request_bytes_max {
                        return Err(ProtocolError::RequestTooLarge);
                    }
                    match input.get(end..end + 2) {
                        None => return Ok(None),
                        Some(b"\r\n") => {}
                        Some(_) => return Err(ProtocolError::ExpectedLineEnd),
                    }
                    // The whole request is shorter than 4 GiB, so the cast keeps the number.
                    self.places.push(Place { start: self.at as u32, len });
                    self.at = end + 2;
                    if left == 1 {
                        return Ok(Some(self.request(self.at, false)));
                    }
                    self.state = State::Length { left: left - 1 };
                }
            }
        }
    }

    /// A whole request of few and short arguments, as nearly all are, in one go; `None` for any
    /// other, of which some arguments may have been noted. No limit can be met here.
    #[inline]
    fn short_request(&mut self, input: &[u8]) -> Option<Request> {
        let [b'*', count @ b'1'..=b'9', b'\r', b'\n', rest @ ..] = input else {
            return None;
        };
        let mut rest = rest;
        for _ in b'0'..*count {
            let (len, behind) = short_length(rest)?;
            let (_, next) = behind.split_at_checked(len as usize)?;
            let [b'\r', b'\n', next @ ..] = next else {
                return None;
            };
            // Nine short arguments stand behind each other, so the cast keeps the number.
            self.places.push(Place { start: (input.len() - behind.len()) as u32, len });
            rest = next;
        }
        Some(self.request(input.len() - rest.len(), false))
    }

    /// The arguments of a request that was decoded from `input`.
    #[inline]
    #[must_use]
    pub fn args<'a>(&'a self, request: Request, input: &'a [u8]) -> Args<'a> {
        Args {
            buffer: if request.is_inline { &self.inline } else { input },
            places: self.places.get(request.first..request.end).unwrap_or_default(),
        }
    }

    /// Drops the arguments of all requests that were decoded; one in the middle is not affected.
    pub fn forget(&mut self) {
        self.places.drain(..self.first);
        self.first = 0;
        // The words of an inline request come all at once, so none is in the middle here.
        self.inline.clear();
        if self.places.is_empty() && self.places.capacity() > ARGUMENTS_KEPT_MAX {
            self.places = Vec::new();
        }
    }

    /// Forgets everything, to decode again what was decoded but has not run.
    pub fn restart(&mut self) {
        self.state = State::Start;
        self.searched = 0;
        self.first = self.places.len();
        self.forget();
    }

    #[inline]
    fn request(&mut self, length: usize, is_inline: bool) -> Request {
        self.state = State::Start;
        let first = std::mem::replace(&mut self.first, self.places.len());
        Request { length, first, end: self.places.len(), is_inline }
    }

    #[inline]
    fn begin(&mut self, state: State) {
        self.state = state;
        self.at = 0;
    }

    #[inline]
    fn argument_count(&self, number: Option<i64>) -> Result<u32, ProtocolError> {
        let count = number.ok_or(ProtocolError::BadArgumentCount)?;
        if count > limits::ARGUMENTS_MAX {
            return Err(ProtocolError::BadArgumentCount);
        }
        if count > limits::UNAUTHENTICATED_ARGUMENTS_MAX && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedArgumentCount);
        }
        // An array of no or of a negative number of arguments is an empty request.
        Ok(u32::try_from(count).unwrap_or(0))
    }

    #[inline]
    fn bulk_len(&self, number: Option<i64>) -> Result<u32, ProtocolError> {
        let len = number.ok_or(ProtocolError::BadBulkLength)?;
        if len > self.bulk_bytes_max {
            return Err(ProtocolError::BadBulkLength);
        }
        if len > limits::UNAUTHENTICATED_BULK_BYTES_MAX && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        u32::try_from(len).map_err(|_| ProtocolError::BadBulkLength)
    }

    fn inline(&mut self, input: &[u8], searched: usize) -> Result<Option<Request>, ProtocolError> {
        let rest = input.get(searched..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', rest) else {
            self.state = State::Inline { searched: input.len() };
            return unfinished_line(input.len(), ProtocolError::InlineTooLong);
        };
        let end = searched + found;
        let line = input.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        split_words(line, &mut self.inline, &mut self.places)?;
        Ok(Some(self.request(end + 1, true)))
    }
}

/// The length of a bulk string that `input` begins with, if it has up to three digits, and what
/// stands behind its line.
#[inline]
fn short_length(input: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |byte: &u8| u32::from(byte - b'0');
    match input {
        [b'$', a @ b'0'..=b'9', b'\r', b'\n', rest @ ..] => Some((digit(a), rest)),
        [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', rest @ ..] => {
            Some((10 * digit(a) + digit(b), rest))
        }
        [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', b'\n', rest @ ..] => {
            Some((100 * digit(a) + 10 * digit(b) + digit(c), rest))
        }
        _ => None,
    }
}

/// The number in the line that begins at `start`, an inner `None` if it is none, and where the next
/// line begins. While the line is not complete, `searched` keeps how much of it has no CR.
#[inline]
fn number_at(input: &[u8], start: usize, searched: &mut usize) -> Option<(Option<i64>, usize)> {
    let (line, next) = line_at(input, start, searched)?;
    Some((parse_i64(line), next))
}

/// The bytes from `start` to the next CR, and where the next line begins. While the line is not
/// complete, `searched` keeps how much of it has no CR.
fn line_at<'a>(input: &'a [u8], start: usize, searched: &mut usize) -> Option<(&'a [u8], usize)> {
    let rest = input.get(start..)?;
    // Lengths are short: a byte loop finds their end sooner than a search in blocks.
    let found = rest.get(*searched..)?.iter().position(|byte| *byte == b'\r');
    let Some(len) = found.map(|found| *searched + found).filter(|len| len + 1 < rest.len()) else {
        *searched = found.map_or(rest.len(), |found| *searched + found);
        return None;
    };
    *searched = 0;
    Some((rest.get(..len)?, start + len + 2))
}

fn unfinished_line(len: usize, error: ProtocolError) -> Result<Option<Request>, ProtocolError> {
    if len > limits::INLINE_BYTES_MAX { Err(error) } else { Ok(None) }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Splits a line into words as Redis does: blanks part them, double quotes with escapes and single
/// quotes hold them together.
fn split_words(
    line: &[u8],
    words: &mut Vec<u8>,
    places: &mut Vec<Place>,
) -> Result<(), ProtocolError> {
    // The C original ends at a zero byte.
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let mut rest = line;
    loop {
        while let Some((_, tail)) = rest.split_first().filter(|(byte, _)| blank(byte)) {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = words.len();
        rest = take_word(rest, words, &blank)?;
        // A line is at most 64 KiB long and few are kept.
        places.push(Place { start: start as u32, len: (words.len() - start) as u32 });
    }
}

/// Appends one word to `words`; returns what stands behind it.
fn take_word<'a>(
    mut rest: &'a [u8],
    words: &mut Vec<u8>,
    blank: &impl Fn(&u8) -> bool,
) -> Result<&'a [u8], ProtocolError> {
    while let Some((byte, tail)) = rest.split_first() {
        match byte {
            b'"' => return closing(take_double_quoted(tail, words)?, blank),
            b'\'' => return closing(take_single_quoted(tail, words)?, blank),
            // Of the blanks that may stand before a word these alone end one, as in Redis.
            b' ' | b'\t' | b'\n' | b'\r' => return Ok(rest),
            byte => words.push(*byte),
        }
        rest = tail;
    }
    Ok(rest)
}

/// A closing quote must be followed by a blank or by the end.
fn closing<'a>(rest: &'a [u8], blank: &impl Fn(&u8) -> bool) -> Result<&'a [u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !blank(byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    words: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte| hex_digit(byte).unwrap_or(0);
                words.push(digit(*high) << 4 | digit(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                words.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                words.push(*byte);
                rest = tail;
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    words: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                words.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                words.push(*byte);
                rest = tail;
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `input` in pieces that end at `cuts`; returns the requests and the error, if any.
    fn decode_all(
        input: &[u8],
        cuts: &[usize],
        authenticated: bool,
    ) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let mut decoder = RequestDecoder::new();
        decoder.set_authenticated(authenticated);
        let mut requests = Vec::new();
        let mut decoded: Vec<(Request, usize)> = Vec::new();
        let mut start = 0;
        // How many requests are decoded before the first is looked at.
        let keep = 1 + input.len() % 7;
        let take = |decoder: &mut RequestDecoder,
                    decoded: &mut Vec<(Request, usize)>,
                    requests: &mut Vec<Vec<Vec<u8>>>| {
            for (request, start) in decoded.drain(..) {
                let args = decoder.args(request, &input[start..]);
                if !args.is_empty() {
                    requests.push(args.iter_from(0).map(<[u8]>::to_vec).collect());
                }
            }
            decoder.forget();
        };
        for end in cuts.iter().copied().chain([input.len()]) {
            loop {
                match decoder.decode(&input[start..end.max(start)]) {
                    Ok(Some(request)) => {
                        decoded.push((request, start));
                        start += request.length;
                        if decoded.len() >= keep {
                            take(&mut decoder, &mut decoded, &mut requests);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        take(&mut decoder, &mut decoded, &mut requests);
                        return (requests, Some(error));
                    }
                }
            }
        }
        take(&mut decoder, &mut decoded, &mut requests);
        (requests, None)
    }

    fn words(line: &str) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let (requests, error) = decode_all(format!("{line}\r\n").as_bytes(), &[], true);
        error.map_or(Ok(requests.into_iter().next().unwrap_or_default()), Err)
    }

    #[test]
    fn inline_words_are_split_as_redis_splits_them() {
        type Words = Result<&'static [&'static [u8]], ProtocolError>;
        let cases: &[(&str, Words)] = &[
            ("PING", Ok(&[b"PING"])),
            ("  SET  k   v ", Ok(&[b"SET", b"k", b"v"])),
            (r#"SET "a b" 'c d'"#, Ok(&[b"SET", b"a b", b"c d"])),
            (r#"a "\x41\n\r\t\b\a\q\"" "#, Ok(&[b"a", b"A\n\r\t\x08\x07q\""])),
            (r#"a "\xzz""#, Ok(&[b"a", b"xzz"])),
            (r"a 'it\'s \n'", Ok(&[b"a", br"it's \n"])),
            (r#"a pre"fix""#, Ok(&[b"a", b"prefix"])),
            ("a\x0bb\x0cc \x0b d", Ok(&[b"a\x0bb\x0cc", b"d"])),
            (r#"a "" ''"#, Ok(&[b"a", b"", b""])),
            (r#"a "open"#, Err(ProtocolError::UnbalancedQuotes)),
            (r"a 'open", Err(ProtocolError::UnbalancedQuotes)),
            (r#"a "b"c"#, Err(ProtocolError::UnbalancedQuotes)),
            ("", Ok(&[])),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|w| w.iter().map(|w| w.to_vec()).collect::<Vec<_>>());
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn limits_hold_before_and_after_authentication() {
        let error = |input: &[u8], authenticated| decode_all(input, &[], authenticated).1;
        assert_eq!(error(b"*11\r\n", false), Some(ProtocolError::UnauthenticatedArgumentCount));
        assert_eq!(error(b"*10\r\n", false), None);
        assert_eq!(error(b"*11\r\n", true), None);
        let bulk = b"*1\r\n$16385\r\n";
        assert_eq!(error(bulk, false), Some(ProtocolError::UnauthenticatedBulkLength));
        assert_eq!(error(b"*1\r\n$16384\r\n", false), None);
        assert_eq!(error(bulk, true), None);
        assert_eq!(error(b"*2147483647\r\n", true), None);
        assert_eq!(error(b"*2147483648\r\n", true), Some(ProtocolError::BadArgumentCount));
        assert_eq!(error(b"*1\r\n$536870912\r\n", true), None);
        assert_eq!(error(b"*1\r\n$536870913\r\n", true), Some(ProtocolError::BadBulkLength));
        for bad in ["*+1", "*01", "*", "*1a", "*99999999999999999999"] {
            let input = format!("{bad}\r\n");
            assert_eq!(error(input.as_bytes(), true), Some(ProtocolError::BadArgumentCount));
        }
        for bad in ["$-1", "$", "$+1", "$01", "$x"] {
            let input = format!("*1\r\n{bad}\r\n");
            assert_eq!(error(input.as_bytes(), true), Some(ProtocolError::BadBulkLength));
        }
        assert_eq!(error(b"*1\r\n*1\r\n", true), Some(ProtocolError::ExpectedBulk(b'*')));
        assert_eq!(error(b"*1\r\n$1\r\nab\r\n", true), Some(ProtocolError::ExpectedLineEnd));
        let long = vec![b'1'; limits::INLINE_BYTES_MAX + 2];
        assert_eq!(error(&long, true), Some(ProtocolError::InlineTooLong));
        let mut count = b"*".to_vec();
        count.extend_from_slice(&long);
        assert_eq!(error(&count, true), Some(ProtocolError::ArgumentCountLineTooLong));
        let mut length = b"*1\r\n$".to_vec();
        length.extend_from_slice(&long);
        assert_eq!(error(&length, true), Some(ProtocolError::BulkLengthLineTooLong));
    }

    #[test]
    fn empty_requests_are_skipped_and_the_next_one_is_whole() {
        let input = b"*0\r\n*-1\r\n\r\n\n*1\r\n$4\r\nPING\r\n*0\r\nECHO x\r\n";
        let (requests, error) = decode_all(input, &[], true);
        assert_eq!(error, None);
        assert_eq!(requests, vec![vec![b"PING".to_vec()], vec![b"ECHO".to_vec(), b"x".to_vec()]]);
    }

    #[test]
    fn a_large_request_in_single_bytes_takes_linear_time() {
        let mut input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n".to_vec();
        input.resize(input.len() + 1_000_000, b'v');
        input.extend_from_slice(b"\r\n");
        let mut decoder = RequestDecoder::new();
        let mut decoded = None;
        for end in 1..=input.len() {
            assert!(decoded.is_none());
            decoded = decoder.decode(&input[..end]).unwrap();
        }
        let request = decoded.unwrap();
        assert_eq!(request.length, input.len());
        assert_eq!(decoder.args(request, &input).at(2).len(), 1_000_000);
    }

    proptest! {
        #[test]
        fn any_split_decodes_the_same(
            requests in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6), 1..6),
            cuts in prop::collection::vec(0_usize..400, 0..20),
        ) {
            let mut input = Vec::new();
            for request in &requests {
                input.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
                for arg in request {
                    input.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                    input.extend_from_slice(arg);
                    input.extend_from_slice(b"\r\n");
                }
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(input.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(decode_all(&input, &cuts, true), (requests, None));
        }

        #[test]
        fn any_bytes_decode_the_same_whole_and_in_pieces(
            input in prop::collection::vec(
                prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'),
                    Just(b'"'), Just(b'\\'), any::<u8>()], 0..60)
        ) {
            let whole = decode_all(&input, &[], true);
            let every: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(decode_all(&input, &every, true), whole);
        }
    }
}
