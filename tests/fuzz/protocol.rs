//! Fuzz target: any bytes as requests, whole, in single bytes, and cut in two at every place. The
//! decoder gives the same requests and the same error however they come, and those of a reference
//! that reads the whole input at once, as plainly as the grammar is written down.
//!
//! The first byte says whether the peer is a stranger, and how many requests are decoded before
//! the first is looked at.

#![no_main]

use libfuzzer_sys::fuzz_target;
use my_redis::protocol::limits;
use my_redis::protocol::{ProtocolError, Request, RequestDecoder};
use my_redis::util::split::split_arguments;

/// Of longer inputs only so much is used: they are decoded once for every byte.
const INPUT_BYTES_MAX: usize = 600;

type Requests = Vec<Vec<Vec<u8>>>;
type Decoded = (Requests, Option<ProtocolError>);

/// What the decoder makes of the input when it comes in pieces that end at `cuts`.
fn decoded(input: &[u8], cuts: &[usize], is_known: bool, kept: usize) -> Decoded {
    let mut decoder = RequestDecoder::new();
    let (mut requests, mut ahead, mut start) = (Vec::new(), Vec::new(), 0);
    let take = |decoder: &mut RequestDecoder,
                ahead: &mut Vec<(usize, Request)>,
                requests: &mut Requests| {
        for (start, request) in ahead.drain(..) {
            let args = decoder.args(request, &input[start..]);
            if !args.is_empty() {
                requests.push(args.iter_from(0).map(<[u8]>::to_vec).collect());
            }
        }
        decoder.forget();
    };
    for end in cuts.iter().copied().chain([input.len()]) {
        loop {
            decoder.set_authenticated(is_known);
            match decoder.decode(&input[start..end.max(start)]) {
                Ok(Some(request)) => {
                    ahead.push((start, request));
                    start += request.length;
                    if ahead.len() >= kept {
                        take(&mut decoder, &mut ahead, &mut requests);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    take(&mut decoder, &mut ahead, &mut requests);
                    return (requests, Some(error));
                }
            }
        }
        // The server looks at what it has before it waits for more.
        take(&mut decoder, &mut ahead, &mut requests);
    }
    (requests, None)
}

/// A line that ends at CR and one more byte, as a number in the form in which it is printed.
fn number(rest: &[u8]) -> Option<(Option<i64>, usize)> {
    let len = rest.iter().position(|byte| *byte == b'\r')?;
    rest.get(len + 1)?;
    let text = std::str::from_utf8(&rest[..len]).ok();
    let number = text.and_then(|text| text.parse::<i64>().ok().filter(|n| n.to_string() == text));
    Some((number, len + 2))
}

/// One request at the start of the input and its length; `None` when it is not whole.
fn request(input: &[u8], is_known: bool) -> Result<Option<(Vec<Vec<u8>>, usize)>, ProtocolError> {
    if input[0] != b'*' {
        let Some(len) = input.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = input[..len].strip_suffix(b"\r").unwrap_or(&input[..len]);
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        let words = split_arguments(line).ok_or(ProtocolError::UnbalancedQuotes)?;
        return Ok(Some((words, len + 1)));
    }
    let Some((count, used)) = number(&input[1..]) else { return Ok(None) };
    let count = count.ok_or(ProtocolError::BadArgumentCount)?;
    if count > limits::ARGUMENTS_MAX {
        return Err(ProtocolError::BadArgumentCount);
    }
    if !is_known && count > limits::UNAUTHENTICATED_ARGUMENTS_MAX {
        return Err(ProtocolError::UnauthenticatedArgumentCount);
    }
    let (mut at, mut args) = (1 + used, Vec::new());
    for _ in 0..count {
        match input.get(at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(byte) => return Err(ProtocolError::ExpectedBulk(*byte)),
        }
        let Some((len, used)) = number(&input[at + 1..]) else { return Ok(None) };
        let len = len.ok_or(ProtocolError::BadBulkLength)?;
        if len > limits::BULK_BYTES_MAX || len < 0 {
            return Err(ProtocolError::BadBulkLength);
        }
        if !is_known && len > limits::UNAUTHENTICATED_BULK_BYTES_MAX {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        at += 1 + used;
        let end = at + len as usize;
        match input.get(end..end + 2) {
            None => return Ok(None),
            Some(b"\r\n") => args.push(input[at..end].to_vec()),
            Some(_) => return Err(ProtocolError::ExpectedLineEnd),
        }
        at = end + 2;
    }
    Ok(Some((args, at)))
}

fn expected(mut input: &[u8], is_known: bool) -> Decoded {
    let mut requests = Vec::new();
    while !input.is_empty() {
        match request(input, is_known) {
            Ok(Some((args, used))) => {
                if !args.is_empty() {
                    requests.push(args);
                }
                input = &input[used..];
            }
            Ok(None) => break,
            Err(error) => return (requests, Some(error)),
        }
    }
    (requests, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((flags, input)) = input.split_first() else { return };
    let input = &input[..input.len().min(INPUT_BYTES_MAX)];
    let (is_known, kept) = (flags & 1 == 0, 1 + usize::from(flags >> 1) % 17);
    let expected = expected(input, is_known);
    assert_eq!(decoded(input, &[], is_known, kept), expected, "whole");
    let every: Vec<usize> = (0..input.len()).collect();
    assert_eq!(decoded(input, &every, is_known, kept), expected, "in single bytes");
    for cut in 0..input.len() {
        assert_eq!(decoded(input, &[cut], is_known, kept), expected, "cut at {cut}");
    }
});
