//! Why a dump cannot be read: what an operator needs to find the spot, and nothing of the data
//! beyond the name of the key.

use crate::persist::lzf::UnpackError;

use std::fmt;
use std::io;

/// So much of a key is shown in a message.
const KEY_SHOWN_BYTES_MAX: usize = 64;

/// A dump that is refused: where, at which key, and why.
#[derive(Debug)]
pub struct RdbError {
    /// Bytes before the spot, from the start of the file.
    pub offset: u64,
    /// The key whose record this is, once it has been read.
    pub key: Option<Vec<u8>>,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a dump.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The file could not be read.
    Io(io::Error),
    /// The file ends where this many more bytes belong.
    Truncated {
        /// Bytes that belong here.
        wanted_bytes: u64,
        /// Bytes that are left in the file.
        remaining_bytes: u64,
    },
    /// It does not start as a dump does.
    NotADump,
    /// It is a dump of Valkey 9 or newer, another format.
    ValkeyFormat,
    /// A version that this server does not know.
    UnsupportedVersion(u32),
    /// A database that this server does not have.
    UnsupportedDatabase(u64),
    /// A value that this server cannot hold.
    UnsupportedType {
        /// The byte in the file.
        code: u8,
        /// What it stands for.
        name: &'static str,
    },
    /// A record that is not a key and that this server cannot leave out without losing something.
    UnsupportedRecord {
        /// The byte in the file.
        code: u8,
        /// What it stands for.
        name: &'static str,
    },
    /// A byte that is neither a known type nor a known record.
    UnknownCode(u8),
    /// The first byte of a length is none of the known forms.
    BadLength(u8),
    /// A string stands in a form that is not known.
    UnknownStringForm(u8),
    /// More elements are announced than the bytes left can hold.
    CountBeyondFile {
        /// Elements announced.
        count: u64,
        /// Bytes that are left in the file.
        remaining_bytes: u64,
    },
    /// A packed string claims to unpack to more than its bytes can.
    LzfTooLong {
        /// The length claimed.
        plain_bytes: u64,
        /// The length of the packed form.
        packed_bytes: u64,
    },
    /// A packed string does not unpack.
    Lzf(UnpackError),
    /// A compact encoding is not well formed.
    Compact {
        /// Which encoding.
        encoding: &'static str,
        /// What is wrong in it.
        problem: &'static str,
        /// Bytes before the spot, inside the encoding after unpacking.
        inner_offset: usize,
    },
    /// A node of a list is of no known form.
    UnknownNode(u64),
    /// A field without a value, or a member without a score.
    OddElementCount,
    /// The same field or member twice.
    Duplicate(Vec<u8>),
    /// The same key twice. The reader does not see that; whoever keeps the keys does.
    DuplicateKey,
    /// A score that is not a number.
    BadScore,
    /// The deadline of a field of a hash is no moment.
    BadFieldDeadline,
    /// The parts of a stream do not fit together.
    BadStream(&'static str),
    /// The checksum at the end is not that of the bytes before it.
    WrongChecksum {
        /// As the file states it.
        stored: u64,
        /// As it should be.
        computed: u64,
    },
    /// Bytes follow after the end.
    TrailingBytes(u64),
    /// The memory cannot be had.
    OutOfMemory {
        /// How much was asked for.
        wanted_bytes: u64,
    },
}

impl RdbError {
    pub(crate) fn new(offset: u64, reason: Reason) -> Self {
        Self { offset, key: None, reason }
    }

    pub(crate) fn at_key(mut self, key: &[u8]) -> Self {
        self.key.get_or_insert_with(|| key.to_vec());
        self
    }
}

impl std::error::Error for RdbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.offset)?;
        if let Some(key) = &self.key {
            write!(f, ", key {}", Shown(key))?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the file: {error}"),
            Self::Truncated { wanted_bytes, remaining_bytes } => write!(
                f,
                "the file is cut short: {wanted_bytes} more bytes belong here, \
                 {remaining_bytes} are left"
            ),
            Self::NotADump => f.write_str("not a dump: it does not start with REDIS and a version"),
            Self::ValkeyFormat => f.write_str(
                "a dump in the format of Valkey 9 or newer, which is not that of Redis; \
                 replicate or migrate the keys to a Redis or an older Valkey and save there",
            ),
            Self::UnsupportedVersion(version) => {
                write!(f, "format version {version} is not supported, only 1 to 12 are")
            }
            Self::UnsupportedDatabase(database) => {
                write!(f, "keys of database {database}, which this server does not have")
            }
            Self::UnsupportedType { code, name } => {
                write!(f, "type {code} ({name}) is not supported")
            }
            Self::UnsupportedRecord { code, name } => {
                write!(f, "a record of kind {code} ({name}) is not supported")
            }
            Self::UnknownCode(code) => write!(f, "unknown type or record {code}"),
            Self::BadLength(byte) => write!(f, "a length starts with the unknown byte {byte:#04x}"),
            Self::UnknownStringForm(byte) => {
                write!(f, "a string starts with the unknown byte {byte:#04x}")
            }
            other => other.fmt_content(f),
        }
    }
}

impl Reason {
    /// The second half of `Display`: what is wrong inside values and at the end.
    fn fmt_content(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CountBeyondFile { count, remaining_bytes } => {
                write!(f, "{count} elements cannot be in the {remaining_bytes} bytes left")
            }
            Self::LzfTooLong { plain_bytes, packed_bytes } => {
                write!(f, "{packed_bytes} packed bytes cannot unpack to {plain_bytes}")
            }
            Self::Lzf(error) => write!(f, "a packed string is damaged: {error}"),
            Self::Compact { encoding, problem, inner_offset } => {
                write!(f, "damaged {encoding}, at its byte {inner_offset}: {problem}")
            }
            Self::UnknownNode(form) => write!(f, "a list node of the unknown form {form}"),
            Self::OddElementCount => f.write_str("the last field or member has no partner"),
            Self::Duplicate(element) => write!(f, "{} is in it twice", Shown(element)),
            Self::DuplicateKey => f.write_str("this key is in the file twice"),
            Self::BadScore => f.write_str("a score is not a number"),
            Self::BadFieldDeadline => f.write_str("the deadline of a field is no moment"),
            Self::BadStream(problem) => write!(f, "damaged stream: {problem}"),
            Self::WrongChecksum { stored, computed } => write!(
                f,
                "the checksum of the file is {stored:016x} but its bytes give {computed:016x}"
            ),
            Self::TrailingBytes(count) => write!(f, "{count} bytes follow after the end"),
            Self::OutOfMemory { wanted_bytes } => {
                write!(f, "not enough memory for {wanted_bytes} bytes")
            }
            _ => f.write_str("damaged"),
        }
    }
}

/// A key or element in quotes, escaped, cut to a bound.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..KEY_SHOWN_BYTES_MAX).unwrap_or(self.0);
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}
