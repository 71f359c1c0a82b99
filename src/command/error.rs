//! Every error that a command can answer with, and its exact text.

use crate::keyspace::{Busy, NotHeld, WrongType};
use crate::util::text::until_zero_byte;
use std::fmt;

/// Bytes of a client that an error text repeats at most.
pub const ECHOED_BYTES_MAX: usize = 128;

/// Why a command was refused. The text is the reply without its leading `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The key holds another type.
    WrongType,
    /// Too few or too many arguments for the command with this full name.
    WrongArity(String),
    /// No such command; the request, quoted and cut.
    UnknownCommand(Vec<u8>),
    /// No such subcommand; the word as given and the container.
    UnknownSubcommand(Vec<u8>, &'static str),
    /// The options do not fit the syntax.
    Syntax,
    /// An argument or a value is no integer, or too large for one.
    NotAnInteger,
    /// A value is no float.
    NotAFloat,
    /// The sum is no finite number.
    NotFinite,
    /// The field of a hash holds no integer.
    HashValueNotAnInteger,
    /// The result does not fit an integer.
    Overflow,
    /// The decrement cannot be negated.
    DecrementOverflow,
    /// A count must not be negative.
    NotPositive,
    /// An index is outside the list.
    IndexOutOfRange,
    /// The key must be there.
    NoSuchKey,
    /// The deadline is out of bounds for the command with this name.
    InvalidExpire(&'static str),
    /// The string would become longer than is allowed.
    StringTooLong,
    /// A cursor is no number.
    InvalidCursor,
    /// There is no database with this number.
    DatabaseOutOfRange,
    /// The client must authenticate first.
    NoAuth,
    /// The dump is still being loaded.
    Loading,
    /// A script has run for too long, and what it holds is needed.
    Busy(Busy),
    /// Saving failed, so writes are refused.
    Misconfigured,
    /// More memory is in use than may be.
    OutOfMemory,
    /// A client of RESP2 that listens to channels may not use the command with this full name.
    OnlyListens(String),
    /// The HELLO version is not one that is spoken.
    NoProto,
    /// The password, or the user, is wrong.
    WrongPass,
    /// A reply would be longer than a string may be.
    ReplyTooLong,
    /// A text of the family's own, beginning with its code.
    Text(&'static str),
    /// A text made for the occasion, beginning with its code.
    Owned(Vec<u8>),
    /// The same, of an error that was counted where it happened: inside a script.
    Counted(Vec<u8>),
}

impl CommandError {
    /// The reply without its leading `-`; CR and LF are made harmless by the reply writer.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::UnknownCommand(text) => text.clone(),
            Self::Owned(text) | Self::Counted(text) => text.clone(),
            Self::UnknownSubcommand(word, container) => {
                let mut text = b"ERR unknown subcommand '".to_vec();
                let word = until_zero_byte(word);
                text.extend_from_slice(word.get(..ECHOED_BYTES_MAX).unwrap_or(word));
                text.extend_from_slice(b"'. Try ");
                text.extend_from_slice(container.as_bytes());
                text.extend_from_slice(b" HELP.");
                text
            }
            other => other.to_string().into_bytes(),
        }
    }

    /// The text of a subcommand that takes fewer arguments than it was given.
    #[must_use]
    pub fn unknown_or_arity(word: &[u8], container: &str) -> Self {
        let word = word.get(..ECHOED_BYTES_MAX).unwrap_or(word);
        let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
        text.extend_from_slice(word);
        text.extend_from_slice(format!("'. Try {container} HELP.").as_bytes());
        Self::Owned(text)
    }

    /// A text that repeats an argument between two of our own, up to its first zero byte as Redis
    /// does.
    #[must_use]
    pub fn echoing(before: &str, argument: &[u8], after: &str) -> Self {
        let argument = until_zero_byte(argument);
        Self::Owned([before.as_bytes(), argument, after.as_bytes()].concat())
    }

    /// The text for a command that is not there: its name and the beginning of its arguments.
    #[must_use]
    pub fn unknown_command<'a>(name: &[u8], args: impl Iterator<Item = &'a [u8]>) -> Self {
        let cut = |bytes: &[u8], max: usize| {
            let text = until_zero_byte(bytes);
            text.get(..max).unwrap_or(text).to_vec()
        };
        let mut echoed: Vec<u8> = Vec::new();
        for arg in args {
            if echoed.len() >= ECHOED_BYTES_MAX {
                break;
            }
            let room = ECHOED_BYTES_MAX - echoed.len();
            echoed.push(b'\'');
            echoed.extend_from_slice(&cut(arg, room));
            echoed.extend_from_slice(b"' ");
        }
        let mut text = b"ERR unknown command '".to_vec();
        text.extend_from_slice(&cut(name, ECHOED_BYTES_MAX));
        text.extend_from_slice(b"', with args beginning with: ");
        text.extend_from_slice(&echoed);
        Self::UnknownCommand(text)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::WrongArity(name) => {
                return write!(f, "ERR wrong number of arguments for '{name}' command");
            }
            Self::Syntax => "ERR syntax error",
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::NotAFloat => "ERR value is not a valid float",
            Self::NotFinite => "ERR increment would produce NaN or Infinity",
            Self::HashValueNotAnInteger => "ERR hash value is not an integer",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::DecrementOverflow => "ERR decrement would overflow",
            Self::NotPositive => "ERR value is out of range, must be positive",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::NoSuchKey => "ERR no such key",
            Self::InvalidExpire(name) => {
                return write!(f, "ERR invalid expire time in '{name}' command");
            }
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::ReplyTooLong => "ERR the reply would exceed proto-max-bulk-len",
            Self::InvalidCursor => "ERR invalid cursor",
            Self::DatabaseOutOfRange => "ERR DB index is out of range",
            Self::NoAuth => "NOAUTH Authentication required.",
            Self::Busy(Busy::Script) => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                 NOSAVE."
            }
            Self::Busy(Busy::Function) => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN \
                 NOSAVE."
            }
            Self::Loading => "LOADING Redis is loading the dataset in memory",
            Self::OnlyListens(name) => {
                return write!(
                    f,
                    "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                     QUIT / RESET are allowed in this context"
                );
            }
            Self::Misconfigured => {
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
                 persist to disk. Commands that may modify the data set are disabled, because \
                 this instance is configured to report errors during writes if RDB snapshotting \
                 fails (stop-writes-on-bgsave-error option). Please check the Redis logs for \
                 details about the RDB error."
            }
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::NoProto => "NOPROTO unsupported protocol version",
            Self::WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
            Self::Text(text) => text,
            Self::Owned(_)
            | Self::Counted(_)
            | Self::UnknownCommand(_)
            | Self::UnknownSubcommand(..) => {
                return write!(f, "{}", String::from_utf8_lossy(&self.text()));
            }
        };
        f.write_str(text)
    }
}

impl std::error::Error for CommandError {}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        Self::WrongType
    }
}

impl From<Busy> for CommandError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

impl From<NotHeld> for CommandError {
    fn from(_: NotHeld) -> Self {
        Self::Text("ERR a key was asked for whose shard is not locked")
    }
}
