//! Arguments of the stream commands, read as Redis reads them: ids, ranges of ids and what trims.

use crate::command::args::{integer, is_word};
use crate::command::error::CommandError;
use crate::config::Config;
use crate::data::StreamId;
use crate::data::stream_log::{BlockLimits, Trim};
use crate::protocol::Args;
use crate::util::number::{parse_cursor, parse_i64, parse_u64};
use crate::util::text::until_zero_byte;

/// Redis reads an id through a buffer of this size.
const ID_BYTES_MAX: usize = 127;
/// Entries that trimming by blocks takes at most, unless told otherwise: those of so many blocks,
const TRIMMED_BLOCKS_MAX: u64 = 100;
/// so many where blocks have no limit,
const TRIMMED_ENTRIES: u64 = 10_000;
/// and never more than these.
const TRIMMED_ENTRIES_MAX: u64 = 1_000_000;

const INVALID_ID: CommandError =
    CommandError::Text("ERR Invalid stream ID specified as stream command argument");

/// One part of an id, for which Redis falls back on C's lenient `strtoull`.
fn part(text: &[u8]) -> Option<u64> {
    if let Some(number) = parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_blank(byte))?;
    let text = text.get(start..)?;
    parse_u64(text).or_else(|| parse_cursor(text))
}

/// An id as a client gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GivenId {
    /// The id.
    pub id: StreamId,
    /// False when the client wrote `*` for the number.
    pub has_seq: bool,
}

fn parse(arg: &[u8], missing_seq: u64, may_be_open: bool) -> Option<GivenId> {
    if arg.len() > ID_BYTES_MAX {
        return None;
    }
    let text = until_zero_byte(arg);
    let Some(dash) = text.iter().position(|byte| *byte == b'-') else {
        return Some(GivenId { id: StreamId::new(part(text)?, missing_seq), has_seq: true });
    };
    let (ms, seq) = (part(text.get(..dash)?)?, text.get(dash + 1..)?);
    if may_be_open && seq == b"*" {
        return Some(GivenId { id: StreamId::new(ms, 0), has_seq: false });
    }
    Some(GivenId { id: StreamId::new(ms, part(seq)?), has_seq: true })
}

/// A complete id, or one whose number is left to the server.
///
/// # Errors
/// Redis' text when it is none.
pub(super) fn new_id(arg: &[u8]) -> Result<GivenId, CommandError> {
    parse(arg, 0, true).ok_or(INVALID_ID)
}

/// An id, whose number may be left out and is 0 then.
///
/// # Errors
/// Redis' text when it is none; `-` and `+` are none.
pub(super) fn id(arg: &[u8]) -> Result<StreamId, CommandError> {
    strict_id(arg, 0)
}

fn strict_id(arg: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    parse(arg, missing_seq, false).map(|given| given.id).ok_or(INVALID_ID)
}

/// As [`id`], and `-` and `+` are the lowest and the highest one.
///
/// # Errors
/// Redis' text when it is none.
pub(super) fn id_or_end(arg: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    match until_zero_byte(arg) {
        b"-" if arg.len() <= ID_BYTES_MAX => Ok(StreamId::MIN),
        b"+" if arg.len() <= ID_BYTES_MAX => Ok(StreamId::MAX),
        _ => strict_id(arg, missing_seq),
    }
}

/// The first id of a range; `(` in front of it excludes it.
///
/// # Errors
/// Redis' texts when it is none, or nothing comes behind it.
pub(super) fn range_start(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let text = CommandError::Text("ERR invalid start ID for the interval");
            strict_id(rest, 0)?.next().ok_or(text)
        }
        _ => id_or_end(arg, 0),
    }
}

/// The last id of a range; `(` in front of it excludes it.
///
/// # Errors
/// Redis' texts when it is none, or nothing comes before it.
pub(super) fn range_end(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let text = CommandError::Text("ERR invalid end ID for the interval");
            strict_id(rest, u64::MAX)?.previous().ok_or(text)
        }
        _ => id_or_end(arg, u64::MAX),
    }
}

/// How large blocks become.
pub(super) fn block_limits(config: &Config) -> BlockLimits {
    BlockLimits {
        bytes: config.stream_block_bytes_max(),
        entries: config.stream_block_entries_max(),
    }
}

/// What is to be trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trimming {
    /// Which entries.
    pub trim: Trim,
    /// Only whole blocks.
    pub by_blocks: bool,
    /// How many entries at most; 0 for any number.
    pub limit: u64,
}

/// The options of XADD and XTRIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddOptions {
    /// What is trimmed.
    pub trimming: Option<Trimming>,
    /// The id of the new entry; `None` for one that the server chooses.
    pub id: Option<GivenId>,
    /// The argument number of the id, or the number of arguments.
    pub id_at: usize,
    /// False when the key must be there.
    pub creates: bool,
}

/// Reads the options of XADD up to the id, or all of XTRIM.
///
/// # Errors
/// Redis' texts for what does not fit.
pub(super) fn add_options(
    args: Args<'_>,
    is_add: bool,
    config: &Config,
) -> Result<AddOptions, CommandError> {
    let mut options = AddOptions { trimming: None, id: None, id_at: args.len(), creates: true };
    let mut limit = None;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let has_more = at + 1 < args.len();
        if is_add && until_zero_byte(word) == b"*" {
            options.id_at = at;
            break;
        } else if (is_word(word, "MAXLEN") || is_word(word, "MINID")) && has_more {
            if options.trimming.is_some() {
                return Err(CommandError::Text(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not \
                     compatible",
                ));
            }
            at = read_trim(args, at, is_word(word, "MAXLEN"), &mut options)?;
        } else if is_word(word, "LIMIT") && has_more {
            at += 1;
            let text = CommandError::Text("ERR The LIMIT argument must be >= 0.");
            limit = Some(u64::try_from(integer(args.at(at))?).map_err(|_| text)?);
        } else if is_add && is_word(word, "NOMKSTREAM") {
            options.creates = false;
        } else if is_add {
            options.id = Some(new_id(word)?);
            options.id_at = at;
            break;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    check_limit(&mut options, limit, is_add, config)?;
    Ok(options)
}

/// Reads `[= | ~] threshold` behind argument `at`; returns the number of the last one read.
fn read_trim(
    args: Args<'_>,
    mut at: usize,
    is_length: bool,
    options: &mut AddOptions,
) -> Result<usize, CommandError> {
    let sign = until_zero_byte(args.at(at + 1));
    let has_sign = at + 2 < args.len() && matches!(sign, b"~" | b"=");
    at += if has_sign { 2 } else { 1 };
    let trim = if is_length {
        let text = CommandError::Text("ERR The MAXLEN argument must be >= 0.");
        Trim::Length(u64::try_from(integer(args.at(at))?).map_err(|_| text)?)
    } else {
        Trim::Below(id(args.at(at))?)
    };
    options.trimming = Some(Trimming { trim, by_blocks: has_sign && sign == b"~", limit: 0 });
    Ok(at)
}

fn check_limit(
    options: &mut AddOptions,
    limit: Option<u64>,
    is_add: bool,
    config: &Config,
) -> Result<(), CommandError> {
    let is_approximate = options.trimming.is_some_and(|trimming| trimming.by_blocks);
    match limit {
        Some(1..) if options.trimming.is_none() => Err(CommandError::Text(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        )),
        _ if !is_add && options.trimming.is_none() => Err(CommandError::Text(
            "ERR syntax error, XTRIM must be called with a trimming strategy",
        )),
        Some(_) if !is_approximate => Err(CommandError::Text(
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        )),
        _ => {
            let usual = match config.stream_block_entries_max() {
                0 => TRIMMED_ENTRIES,
                entries => entries.saturating_mul(TRIMMED_BLOCKS_MAX).min(TRIMMED_ENTRIES_MAX),
            };
            if let Some(trimming) = &mut options.trimming
                && is_approximate
            {
                trimming.limit = limit.unwrap_or(usual);
            }
            Ok(())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_does() {
        let max = u64::MAX;
        let cases: &[(&str, Option<(u64, u64)>)] = &[
            ("5", Some((5, 0))),
            ("5-7", Some((5, 7))),
            ("0-0", Some((0, 0))),
            ("18446744073709551615-18446744073709551615", Some((max, max))),
            ("5-007", Some((5, 7))),
            (" 5-+7", Some((5, 7))),
            ("5-7\0x", Some((5, 7))),
            ("5- -7", Some((5, max - 6))),
            ("5--7", None),
            ("5-*", None),
            ("5-", None),
            ("-5", None),
            ("-", None),
            ("+", None),
            ("", None),
            ("x", None),
            ("5-7x", None),
            ("18446744073709551616", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(ms, seq)| StreamId::new(ms, seq));
            assert_eq!(id(text.as_bytes()).ok(), expected, "{text}");
        }
        assert!(id(&[b'1'; 128]).is_err());
        assert!(!new_id(b"5-*").unwrap().has_seq);
    }

    #[test]
    fn ranges_have_ends() {
        assert_eq!(range_start(b"-"), Ok(StreamId::MIN));
        assert_eq!(range_end(b"+"), Ok(StreamId::MAX));
        assert_eq!(range_start(b"(5"), Ok(StreamId::new(5, 1)));
        assert_eq!(range_end(b"5"), Ok(StreamId::new(5, u64::MAX)));
        assert_eq!(range_end(b"(5-0"), Ok(StreamId::new(4, u64::MAX)));
        for bad in [&b"("[..], b"(-", b"(+", b"((5"] {
            assert!(range_start(bad).is_err(), "{bad:?}");
        }
        let max = b"(18446744073709551615-18446744073709551615";
        assert!(range_start(max).is_err() && range_end(b"(0-0").is_err());
    }
}
