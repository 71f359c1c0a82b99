//! BITFIELD: integers of 1 to 64 bits anywhere in a string.
//!
//! All operations are read before the first is run. What overflows wraps around, stops at the
//! limit or fails, as OVERFLOW says for the operations behind it. Redis decides about overflow in
//! wrapping 64-bit arithmetic, and for increments and values near the ends of that range the
//! result shows it; so the same steps are done here.

use crate::command::args::{integer, is_word};
use crate::command::bitmap::{BAD_OFFSET, checked_offset};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::spec::Outcome;
use crate::data::StringRef;
use crate::keyspace::{ReadView, WriteView};
use crate::protocol::{Args, ReplyWriter};
use crate::util::bits::{get_field, set_field};
use crate::util::events::EventSet;
use crate::util::number::parse_i64;
use crate::util::text::until_zero_byte;

/// What becomes of a result that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// In which direction a result does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    Above,
    Below,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

/// One operation on one field.
#[derive(Debug, Clone, Copy)]
struct Operation {
    action: Action,
    is_signed: bool,
    bits: u32,
    at: u64,
    overflow: Overflow,
}

impl Operation {
    /// The bytes that a string must have for it.
    fn end_byte(&self) -> u64 {
        (self.at + u64::from(self.bits) - 1) / 8 + 1
    }

    fn read(&self, bytes: &[u8]) -> i64 {
        let field = get_field(bytes, self.at, self.bits);
        let unused = u64::BITS - self.bits;
        // Shifted up and down again, the highest bit becomes the sign.
        if self.is_signed { (field << unused) as i64 >> unused } else { field as i64 }
    }

    /// Runs it on the bytes of a string; returns the reply, `None` when it failed, and whether it
    /// changed anything.
    fn run(&self, bytes: &mut [u8]) -> (Option<i64>, bool) {
        let old = self.read(bytes);
        let (value, increment) = match self.action {
            Action::Get => return (Some(old), false),
            Action::Set(value) => (value, 0),
            Action::Increment(increment) => (old, increment),
        };
        let sum = value.wrapping_add(increment);
        let new = match (self.excess(value, increment), self.overflow) {
            (None, _) => sum,
            (Some(_), Overflow::Fail) => return (None, false),
            (Some(excess), Overflow::Saturate) => self.limit(excess),
            (Some(_), Overflow::Wrap) => self.wrapped(sum),
        };
        set_field(bytes, self.at, self.bits, new as u64);
        let is_set = matches!(self.action, Action::Set(_));
        (Some(if is_set { old } else { new }), old != new)
    }

    fn limit(&self, excess: Excess) -> i64 {
        let unused = u64::BITS - self.bits;
        match (self.is_signed, excess) {
            (true, Excess::Above) => i64::MAX >> unused,
            (true, Excess::Below) => i64::MIN >> unused,
            (false, Excess::Above) => (u64::MAX >> unused) as i64,
            (false, Excess::Below) => 0,
        }
    }

    fn wrapped(&self, sum: i64) -> i64 {
        let unused = u64::BITS - self.bits;
        if self.is_signed {
            sum << unused >> unused
        } else {
            ((sum as u64) << unused >> unused) as i64
        }
    }

    /// Redis' test of whether `value + increment` fits.
    fn excess(&self, value: i64, increment: i64) -> Option<Excess> {
        let (above, below) = if self.is_signed {
            let (max, min) = (self.limit(Excess::Above), self.limit(Excess::Below));
            let (room_above, room_below) = (max.wrapping_sub(value), min.wrapping_sub(value));
            let narrow = self.bits < u64::BITS;
            let above = value > max
                || (narrow && increment > room_above)
                || (value >= 0 && increment > 0 && increment > room_above);
            let below = value < min
                || (narrow && increment < room_below)
                || (value < 0 && increment < 0 && increment < room_below);
            (above, below)
        } else {
            let (value, max) = (value as u64, self.limit(Excess::Above) as u64);
            let room_above = max.wrapping_sub(value) as i64;
            let room_below = value.wrapping_neg() as i64;
            let above = value > max || (increment > 0 && increment > room_above);
            (above, increment < 0 && increment < room_below)
        };
        match (above, below) {
            (true, _) => Some(Excess::Above),
            (false, true) => Some(Excess::Below),
            (false, false) => None,
        }
    }
}

/// Reads all operations of a request.
fn parse(call: &Call<'_>) -> Result<Vec<Operation>, CommandError> {
    let args = call.args;
    let (mut operations, mut overflow, mut next) = (Vec::new(), Overflow::Wrap, 2);
    while next < args.len() {
        let (word, left) = (args.at(next), args.len() - next - 1);
        if is_word(word, "OVERFLOW") && left >= 1 {
            overflow = match args.at(next + 1) {
                word if is_word(word, "WRAP") => Overflow::Wrap,
                word if is_word(word, "SAT") => Overflow::Saturate,
                word if is_word(word, "FAIL") => Overflow::Fail,
                _ => return Err(CommandError::Text("ERR Invalid OVERFLOW type specified")),
            };
            next += 2;
            continue;
        }
        let words = match word {
            word if is_word(word, "GET") && left >= 2 => 3,
            word if is_word(word, "SET") && left >= 3 => 4,
            word if is_word(word, "INCRBY") && left >= 3 => 4,
            _ => return Err(CommandError::Syntax),
        };
        let (is_signed, bits) = field_type(args.at(next + 1))?;
        let at = field_offset(args, next + 2, bits, call)?;
        let action = match words {
            3 => Action::Get,
            _ if is_word(word, "SET") => Action::Set(integer(args.at(next + 3))?),
            _ => Action::Increment(integer(args.at(next + 3))?),
        };
        operations.push(Operation { action, is_signed, bits, at, overflow });
        next += words;
    }
    Ok(operations)
}

/// `i` or `u` and a number of bits.
fn field_type(text: &[u8]) -> Result<(bool, u32), CommandError> {
    let parsed = match until_zero_byte(text) {
        [b'i', bits @ ..] => parse_i64(bits).map(|bits| (true, bits)),
        [b'u', bits @ ..] => parse_i64(bits).map(|bits| (false, bits)),
        _ => None,
    };
    match parsed {
        Some((true, bits @ 1..=64)) => Ok((true, bits as u32)),
        Some((false, bits @ 1..=63)) => Ok((false, bits as u32)),
        _ => Err(CommandError::Text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is.",
        )),
    }
}

/// A bit number, or `#` and the number of a field of this width.
fn field_offset(
    args: Args<'_>,
    index: usize,
    bits: u32,
    call: &Call<'_>,
) -> Result<u64, CommandError> {
    let number = match args.at(index) {
        [b'#', number @ ..] => parse_i64(number).map(|n| n.wrapping_mul(i64::from(bits))),
        number => parse_i64(number),
    };
    checked_offset(number.ok_or(BAD_OFFSET)?, call)
}

fn reply_reads(operations: &[Operation], bytes: &[u8], reply: &mut ReplyWriter<'_>) {
    reply.array(operations.len());
    for operation in operations {
        reply.integer(operation.read(bytes));
    }
}

pub(super) fn bitfield(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let operations = parse(call)?;
    let old = view.read().string()?.map(StringRef::bytes).unwrap_or_default();
    let writes = operations.iter().filter(|operation| operation.action != Action::Get);
    let Some(end) = writes.map(Operation::end_byte).max() else {
        reply_reads(&operations, old, &mut call.reply);
        return Ok(());
    };
    let end = usize::try_from(end).map_err(|_| BAD_OFFSET)?;
    let grows = old.len() < end;
    let reply = &mut call.reply;
    reply.array(operations.len());
    let changes = view.change_string_counted(end, |bytes| {
        let mut changes = 0;
        for operation in &operations {
            let (result, changed) = operation.run(bytes);
            match result {
                Some(number) => reply.integer(number),
                None => reply.null(),
            }
            let is_write = operation.action != Action::Get;
            changes += usize::from(result.is_some() && is_write && (grows || changed));
        }
        (changes, changes)
    })?;
    if changes > 0 {
        view.notify(EventSet::STRING, "setbit");
    }
    Ok(())
}

pub(super) fn bitfield_ro(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let operations = parse(call)?;
    if operations.iter().any(|operation| operation.action != Action::Get) {
        return Err(CommandError::Text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let bytes = view.string()?.map(StringRef::bytes).unwrap_or_default();
    reply_reads(&operations, bytes, &mut call.reply);
    Ok(())
}
