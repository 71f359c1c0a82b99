//! What the commands that walk have in common: SCAN's options and replies of unknown length.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::protocol::{OutputBuffer, ReplyWriter};
use crate::util::glob::{glob_match, matches_everything};
use crate::util::hash::Position;
use crate::util::number::parse_cursor;

/// Elements that a step visits when COUNT does not say.
const COUNT_DEFAULT: usize = 10;

/// Which names a walk shows.
#[derive(Debug, Clone, Copy)]
pub struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    /// All names.
    pub const ALL: Self = Self(None);

    /// The names that this glob pattern matches.
    #[must_use]
    pub fn new(pattern: &'a [u8]) -> Self {
        Self((!matches_everything(pattern)).then_some(pattern))
    }

    /// True when `name` is shown.
    #[inline]
    #[must_use]
    pub fn shows(self, name: &[u8]) -> bool {
        self.0.is_none_or(|pattern| glob_match(pattern, name, false))
    }
}

/// The option that only one of the commands has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnOption {
    /// TYPE of SCAN.
    Type,
    /// NOVALUES of HSCAN.
    NoValues,
}

/// The options of one step.
#[derive(Debug)]
pub struct ScanOptions<'a> {
    /// MATCH.
    pub pattern: Pattern<'a>,
    /// COUNT.
    pub count: usize,
    /// TYPE.
    pub type_name: Option<&'a [u8]>,
    /// NOVALUES.
    pub no_values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads the arguments from number `from` on; TYPE is an option only of SCAN itself.
    ///
    /// # Errors
    /// `Syntax`, and `NotAnInteger` for the count, whichever comes first.
    pub fn parse(call: &Call<'a>, from: usize, takes_type: bool) -> Result<Self, CommandError> {
        Self::parse_with(call, from, takes_type.then_some(OwnOption::Type))
    }

    /// Reads the arguments from number `from` on, with `own` as one more option.
    ///
    /// # Errors
    /// `Syntax`, and `NotAnInteger` for the count, whichever comes first.
    pub fn parse_with(
        call: &Call<'a>,
        from: usize,
        own: Option<OwnOption>,
    ) -> Result<Self, CommandError> {
        let mut options =
            Self { pattern: Pattern::ALL, count: COUNT_DEFAULT, type_name: None, no_values: false };
        let mut words = call.args.iter_from(from);
        while let Some(word) = words.next() {
            if is_word(word, "NOVALUES") && own == Some(OwnOption::NoValues) {
                options.no_values = true;
                continue;
            }
            let value = words.next().ok_or(CommandError::Syntax)?;
            if is_word(word, "COUNT") {
                let count = integer(value)?;
                options.count =
                    usize::try_from(count).ok().filter(|n| *n > 0).ok_or(CommandError::Syntax)?;
            } else if is_word(word, "MATCH") {
                options.pattern = Pattern::new(value);
            } else if is_word(word, "TYPE") && own == Some(OwnOption::Type) {
                options.type_name = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// The cursor of a walk.
///
/// # Errors
/// `InvalidCursor` when it is none.
pub fn cursor(arg: &[u8]) -> Result<Position, CommandError> {
    parse_cursor(arg).ok_or(CommandError::InvalidCursor)
}

/// Byte strings of a reply whose number is known only at its end.
#[derive(Debug, Default)]
pub struct Collected {
    output: OutputBuffer,
    count: usize,
}

impl Collected {
    /// Adds one.
    #[inline]
    pub fn add(&mut self, bytes: &[u8], call: &Call<'_>) {
        ReplyWriter::new(&mut self.output, call.reply.protocol()).bulk(bytes);
        self.count += 1;
    }

    /// Adds two that belong together.
    pub fn add_pair(&mut self, first: &[u8], second: &[u8], call: &Call<'_>) {
        let protocol = call.reply.protocol();
        self.count += ReplyWriter::new(&mut self.output, protocol).bulk_pair(first, second);
    }

    /// Bytes of the replies so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.output.len()
    }

    /// Replies with the set of them.
    pub fn reply_set(self, call: &mut Call<'_>) {
        call.reply.set(self.count);
        call.reply.append(self.output);
    }

    /// Replies with the array of them.
    pub fn reply(self, call: &mut Call<'_>) {
        call.reply.array(self.count);
        call.reply.append(self.output);
    }

    /// Replies with the cursor to go on from, if any, and the array.
    pub fn reply_with_cursor(self, next: Option<Position>, call: &mut Call<'_>) {
        let mut text = crate::util::number::IntegerText::new();
        call.reply.array(2);
        call.reply.bulk(text.format_u64(next.unwrap_or(0)));
        self.reply(call);
    }
}
