//! Strings as rows of bits: SETBIT, GETBIT, BITCOUNT, BITPOS and BITOP.

use crate::command::args::{integer, is_word};
use crate::command::bitfield::{bitfield, bitfield_ro};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::{StringRef, Value};
use crate::keyspace::{ReadView, WriteManyView, WriteView};
use crate::util::bits::{count_ones_between, find_bit, get_bit, set_bit};
use crate::util::events::EventSet;
use crate::util::number::parse_i64;
use bytes::Bytes;
use std::ops::RangeInclusive;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "SETBIT", group: Group::Bitmap, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])], flags: Flags::DENY_OOM,
        since: "2.2.0",
        cost: "O(1), or O(n) for n bytes of a string that grows or is being sent or saved",
        syntax: "SETBIT key offset value",
        summary: "Sets a bit of a string, which grows by zero bytes, and returns the one before.",
        run: Run::Write(setbit), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETBIT", group: Group::Bitmap, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "2.2.0", cost: "O(1)", syntax: "GETBIT key offset",
        summary: "Returns a bit of a string; behind its end all are 0.", run: Run::Read(getbit),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BITCOUNT", group: Group::Bitmap, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.6.0", cost: "O(n) for n bytes, eight at a time",
        syntax: "BITCOUNT key [start end [BYTE | BIT]]",
        summary: "Counts the bits of a string that are set.", run: Run::Read(bitcount),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BITPOS", group: Group::Bitmap, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.8.7", cost: "O(n) for n bytes, eight at a time",
        syntax: "BITPOS key bit [start [end [BYTE | BIT]]]",
        summary: "Finds the first bit of a string that is set, or that is clear.",
        run: Run::Read(bitpos), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BITOP", group: Group::Bitmap, arity: Arity::AtLeast(4),
        keys: &[
            KeySpec { first: 2, last: 0, step: 1, access: &["OW", "UPDATE"] },
            KeySpec { first: 3, last: -1, step: 1, access: &["RO", "ACCESS"] },
        ],
        flags: Flags::DENY_OOM,
        since: "2.6.0", cost: "O(n) for n bytes of all strings, several at a time",
        syntax: "BITOP operation destkey key [key ...]",
        summary: "Stores AND, OR, XOR or NOT of strings, the short ones filled with zero bytes.",
        run: Run::WriteMany(bitop), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BITFIELD", group: Group::Bitmap, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE", "VARIABLE_FLAGS"])],
        flags: Flags::DENY_OOM,
        since: "3.2.0", cost: "O(n) for n operations; where the string grows, as SETBIT",
        syntax: "BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
                 <SET encoding offset value | INCRBY encoding offset increment> [...]]",
        summary: "Reads and changes integers of any width at any bit of a string.",
        run: Run::Write(bitfield), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BITFIELD_RO", group: Group::Bitmap, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "6.0.0", cost: "O(n) for n operations",
        syntax: "BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]",
        summary: "Reads integers of any width at any bit of a string.",
        run: Run::Read(bitfield_ro), ..CommandSpec::BASE
    },
];

/// The refusal of what is no bit number.
pub(super) const BAD_OFFSET: CommandError =
    CommandError::Text("ERR bit offset is not an integer or out of range");

/// A bit number below the longest string's.
pub(super) fn checked_offset(number: i64, call: &Call<'_>) -> Result<u64, CommandError> {
    let at = u64::try_from(number).map_err(|_| BAD_OFFSET)?;
    if at / 8 >= call.string_bytes_max as u64 { Err(BAD_OFFSET) } else { Ok(at) }
}

fn offset(call: &Call<'_>) -> Result<u64, CommandError> {
    checked_offset(parse_i64(call.args.at(2)).ok_or(BAD_OFFSET)?, call)
}

fn setbit(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let at = offset(call)?;
    let on = match parse_i64(call.args.at(3)) {
        Some(bit @ (0 | 1)) => bit == 1,
        _ => return Err(CommandError::Text("ERR bit is not an integer or out of range")),
    };
    let old = view.read().string()?.map(StringRef::bytes);
    let len = usize::try_from(at / 8 + 1).map_err(|_| BAD_OFFSET)?;
    let was_on = old.is_some_and(|bytes| get_bit(bytes, at));
    // A bit that is there and stays as it is changes nothing.
    if was_on != on || old.is_none_or(|bytes| bytes.len() < len) {
        view.change_string(len, |bytes| set_bit(bytes, at, on))?;
        view.notify(EventSet::STRING, "setbit");
    }
    call.reply.flag(was_on);
    Ok(())
}

fn getbit(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let at = offset(call)?;
    call.reply.flag(view.string()?.is_some_and(|value| get_bit(value.bytes(), at)));
    Ok(())
}

/// True for BIT, false for BYTE.
fn counts_bits(word: Option<&[u8]>) -> Result<bool, CommandError> {
    match word {
        None => Ok(false),
        Some(word) if is_word(word, "BIT") => Ok(true),
        Some(word) if is_word(word, "BYTE") => Ok(false),
        Some(_) => Err(CommandError::Syntax),
    }
}

/// The bits from place `start` to place `end`, of bytes or of bits, of a string with `bytes` bytes;
/// a negative place counts from the end.
fn bit_range(start: i64, end: i64, bytes: usize, in_bits: bool) -> Option<RangeInclusive<u64>> {
    let unit = if in_bits { 1 } else { 8 };
    let total = i64::try_from(bytes).ok()?.checked_mul(8 / unit)?;
    let place = |place: i64| if place < 0 { total.saturating_add(place).max(0) } else { place };
    let (start, end) = (place(start), place(end).min(total - 1));
    if start > end {
        return None;
    }
    let first = u64::try_from(start * unit).ok()?;
    Some(first..=u64::try_from(end * unit + unit - 1).ok()?)
}

fn bitcount(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let Some(bytes) = view.string()?.map(StringRef::bytes) else {
        call.reply.count(0);
        return Ok(());
    };
    let args = call.args;
    let range = match args.len() {
        2 => bit_range(0, -1, bytes.len(), false),
        4 | 5 => {
            let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
            if start < 0 && end < 0 && start > end {
                None
            } else {
                bit_range(start, end, bytes.len(), counts_bits(args.get(4))?)
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    let count = range.map_or(0, |range| count_ones_between(bytes, range));
    call.reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

fn bitpos(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let on = match integer(args.at(2))? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err(CommandError::Text("ERR The bit argument must be 1 or 0.")),
    };
    // A key that is not there is an endless row of zeros.
    let Some(bytes) = view.string()?.map(StringRef::bytes) else {
        call.reply.integer(if on { -1 } else { 0 });
        return Ok(());
    };
    let range = match args.len() {
        3 => bit_range(0, -1, bytes.len(), false),
        4..=6 => {
            let start = integer(args.at(3))?;
            let in_bits = counts_bits(args.get(5))?;
            let end = args.get(4).map_or(Ok(-1), integer)?;
            bit_range(start, end, bytes.len(), in_bits)
        }
        _ => return Err(CommandError::Syntax),
    };
    let found = range.map(|range| match find_bit(bytes, range, on) {
        Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
        // Without an end the string goes on with zeros.
        None if !on && args.len() < 5 => i64::try_from(bytes.len()).unwrap_or(i64::MAX) * 8,
        None => -1,
    });
    call.reply.integer(found.unwrap_or(-1));
    Ok(())
}

/// What BITOP does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let operation = match call.args.at(1) {
            word if is_word(word, "AND") => Self::And,
            word if is_word(word, "OR") => Self::Or,
            word if is_word(word, "XOR") => Self::Xor,
            word if is_word(word, "NOT") => Self::Not,
            _ => return Err(CommandError::Syntax),
        };
        if operation == Self::Not && call.args.len() != 4 {
            let text = "ERR BITOP NOT must be called with a single source key.";
            return Err(CommandError::Text(text));
        }
        Ok(operation)
    }

    /// The result for all sources, as long as the longest.
    fn run(self, sources: &[Bytes]) -> Vec<u8> {
        let len = sources.iter().map(Bytes::len).max().unwrap_or(0);
        let mut result = Vec::with_capacity(len);
        let (first, others) =
            sources.split_first().map_or((&[][..], &[][..]), |(f, o)| (&f[..], o));
        result.extend_from_slice(first);
        result.resize(len, 0);
        if self == Self::Not {
            result.iter_mut().for_each(|byte| *byte = !*byte);
        }
        for other in others {
            let pairs = result.iter_mut().zip(other.iter());
            match self {
                Self::Or => pairs.for_each(|(byte, other)| *byte |= other),
                Self::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
                Self::And | Self::Not => {
                    pairs.for_each(|(byte, other)| *byte &= other);
                    result.iter_mut().skip(other.len()).for_each(|byte| *byte = 0);
                }
            }
        }
        result
    }
}

fn bitop(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let operation = Operation::parse(call)?;
    let mut sources = Vec::with_capacity(view.len().saturating_sub(1));
    for index in 1..view.len() {
        let value = match view.key(index) {
            Some(key) => key.read().string()?.map(StringRef::to_bytes),
            None => None,
        };
        sources.push(value.unwrap_or_default());
    }
    let result = operation.run(&sources);
    // Or else the destination would be shared, and copied when it changes next.
    drop(sources);
    call.reply.count(result.len());
    if let Some(mut destination) = view.key(0) {
        if !result.is_empty() {
            destination.set_value(Value::String(Bytes::from(result)), None);
            destination.notify(EventSet::STRING, "set");
        } else if destination.remove() {
            destination.notify(EventSet::GENERIC, "del");
        }
    }
    Ok(())
}
