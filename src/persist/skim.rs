//! Where a record ends, found without reading what is in it.
//!
//! Loading on several cores needs the boundaries of the records before it can hand them out, and
//! finding them is the one part that cannot be shared. So it must be cheap: only lengths are looked
//! at, nothing is unpacked, checked or allocated. A length is followed only as far as the bytes at
//! hand go, so a false one costs no more than they do.
//!
//! Nothing is refused here. What is not understood, or is not there as a whole, has no end as far
//! as this file is concerned; the reader then reads it byte by byte and says what is wrong.

use crate::persist::format::kind;
use crate::persist::format::length_form;
use crate::persist::format::opcode;
use crate::persist::format::string_form;
use crate::persist::source::split_plain_string;

/// Bytes of a score in binary form.
const SCORE_BYTES: usize = 8;
/// Bytes of an id of a stream as one number.
const ID_BYTES: usize = 16;
/// Bytes of a moment in a stream.
const MOMENT_BYTES: usize = 8;
/// First byte of a decimal score: from this on it stands for a whole score.
const SCORE_SPECIAL: usize = 253;

/// How many bytes from the start of `bytes` are whole records, each a key with its value and what
/// stands before it. Cost: O(strings in them).
pub(crate) fn whole_records(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(after) = after_record(rest) {
        rest = after;
    }
    bytes.len() - rest.len()
}

/// What follows the first record of `bytes`.
fn after_record(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let (&code, after) = rest.split_first()?;
        rest = match code {
            opcode::EXPIRE_MS => after.get(8..)?,
            opcode::EXPIRE_SECONDS => after.get(4..)?,
            opcode::FREQUENCY => after.get(1..)?,
            opcode::IDLE => split_length(after)?.1,
            opcode::SLOT_INFO => {
                let after = split_length(after)?.1;
                split_length(split_length(after)?.1)?.1
            }
            kind => return after_value(kind, after_string(after)?),
        };
    }
}

fn after_value(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    match kind {
        kind::STRING
        | kind::HASH_ZIPMAP
        | kind::LIST_ZIPLIST
        | kind::SET_INTSET
        | kind::ZSET_ZIPLIST
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::ZSET_LISTPACK
        | kind::SET_LISTPACK => after_string(bytes),
        kind::LIST | kind::SET | kind::LIST_QUICKLIST => after_each(bytes, after_string),
        kind::HASH => after_each(bytes, |rest| after_string(after_string(rest)?)),
        kind::ZSET => after_each(bytes, |rest| after_string(rest)?.get(SCORE_BYTES..)),
        kind::ZSET_DECIMAL => after_each(bytes, |rest| {
            let (&length, rest) = after_string(rest)?.split_first()?;
            let length = usize::from(length);
            if length < SCORE_SPECIAL { rest.get(length..) } else { Some(rest) }
        }),
        kind::LIST_QUICKLIST_2 => after_each(bytes, |rest| after_string(split_length(rest)?.1)),
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => after_stream(kind, bytes),
        _ => None,
    }
}

/// What follows a stream of this type.
fn after_stream(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    let is_plain = kind == kind::STREAM;
    let rest = after_each(bytes, |rest| after_string(after_string(rest)?))?;
    let rest = after_lengths(rest, if is_plain { 3 } else { 8 })?;
    after_each(rest, |rest| {
        let rest = after_lengths(after_string(rest)?, if is_plain { 2 } else { 3 })?;
        let rest = after_each(rest, |rest| after_lengths(rest.get(ID_BYTES + MOMENT_BYTES..)?, 1))?;
        let moments = if kind == kind::STREAM_3 { 2 } else { 1 };
        after_each(rest, |rest| {
            let rest = after_string(rest)?.get(moments * MOMENT_BYTES..)?;
            after_each(rest, |rest| rest.get(ID_BYTES..))
        })
    })
}

fn after_lengths(mut bytes: &[u8], count: usize) -> Option<&[u8]> {
    for _ in 0..count {
        bytes = split_length(bytes)?.1;
    }
    Some(bytes)
}

/// What follows a count and so many elements.
fn after_each(
    bytes: &[u8],
    after_element: impl for<'a> Fn(&'a [u8]) -> Option<&'a [u8]>,
) -> Option<&[u8]> {
    let (count, mut rest) = split_length(bytes)?;
    for _ in 0..count {
        rest = after_element(rest)?;
    }
    Some(rest)
}

#[inline]
fn after_string(bytes: &[u8]) -> Option<&[u8]> {
    if let Some((_, after)) = split_plain_string(bytes) {
        return Some(after);
    }
    let (&first, after) = bytes.split_first()?;
    match first {
        string_form::INT8 => after.get(1..),
        string_form::INT16 => after.get(2..),
        string_form::INT32 => after.get(4..),
        string_form::LZF => {
            let (packed_bytes, after) = split_length(after)?;
            let (_, after) = split_length(after)?;
            after.get(usize::try_from(packed_bytes).ok()?..)
        }
        _ => {
            let (length, after) = split_length(bytes)?;
            after.get(usize::try_from(length).ok()?..)
        }
    }
}

pub(super) fn split_length(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, after) = bytes.split_first()?;
    let low = u64::from(first & 0x3F);
    match (first >> 6, first) {
        (length_form::BITS_6, _) => Some((low, after)),
        (length_form::BITS_14, _) => {
            let (&second, after) = after.split_first()?;
            Some((low << 8 | u64::from(second), after))
        }
        (_, length_form::LENGTH_32) => {
            let (length, after) = after.split_first_chunk()?;
            Some((u32::from_be_bytes(*length).into(), after))
        }
        (_, length_form::LENGTH_64) => {
            let (length, after) = after.split_first_chunk()?;
            Some((u64::from_be_bytes(*length), after))
        }
        _ => None,
    }
}
