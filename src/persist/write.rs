//! Writing a dump.
//!
//! Two halves that meet in a plain byte buffer. The `encode_*` functions append to a `Vec<u8>` and
//! cannot fail, so a key can be encoded under a lock with nothing but memory work. The
//! [`ChecksumWriter`] takes such buffers in order, at any later time and on any thread, and keeps
//! the checksum that ends the file.
//!
//! A collection is written as its prefix, its length, and then so many elements: the caller counts
//! first and then encodes exactly so many.

use crate::persist::checksum::Checksum;
use crate::persist::format::CHECKSUM_BYTES;
use crate::persist::format::LZF_PLAIN_BYTES_MIN;
use crate::persist::format::MAGIC;
use crate::persist::format::REDIS_VERSION;
use crate::persist::format::kind;
use crate::persist::format::length_form;
use crate::persist::format::opcode;
use crate::persist::format::string_form;
use crate::persist::lzf::Packer;
use crate::persist::value::StoredUse;
use crate::util::clock::UnixMillis;

use std::io;
use std::io::Write;

/// A string of more digits than this is no i32.
const INTEGER_DIGITS_MAX: usize = 11;
/// A packed string must be shorter than the plain one by this, as Redis wants it.
const LZF_GAIN_BYTES_MIN: usize = 4;

/// How a value is written: in the plain types, which every reader of version 9 knows, as long as
/// they can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenType {
    /// Then follows one [`encode_string`].
    String,
    /// Then follow [`encode_length`] and so many strings, head first.
    List,
    /// Then follow [`encode_length`] and so many strings.
    Set,
    /// Then follow [`encode_length`] and so many pairs of strings, field and value.
    Hash,
    /// Then follow [`encode_field_deadline_base`], [`encode_length`] and so many times
    /// [`encode_field_deadline`] and a pair of strings, field and value.
    TimedHash,
    /// Then follow [`encode_length`] and so many pairs of a string and an [`encode_score`].
    ZSet,
    /// A stream that the older type can hold; `persist::stream` has the rest.
    PlainStream,
    /// A stream; `persist::stream` has the rest.
    Stream,
}

impl WrittenType {
    /// The byte in the file.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::String => kind::STRING,
            Self::List => kind::LIST,
            Self::Set => kind::SET,
            Self::Hash => kind::HASH,
            Self::TimedHash => kind::HASH_DEADLINES,
            Self::ZSet => kind::ZSET,
            Self::PlainStream => kind::STREAM,
            Self::Stream => kind::STREAM_2,
        }
    }
}

/// What stands before the first key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// The version of the format.
    pub version: u32,
    /// Version of this server, for the field `my-redis-ver`.
    pub server_version: &'a str,
    /// When the save began, in unix seconds.
    pub created_seconds: i64,
    /// Memory in use, for the operator who reads the file's notes.
    pub used_memory_bytes: u64,
}

/// How large a database is, for the reader's tables. A hint, that need not be exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// How many keys it has.
    pub keys: u64,
    /// How many of them have a deadline.
    pub deadlines: u64,
}

/// Appends magic, version and notes.
pub fn encode_header(out: &mut Vec<u8>, header: &Header<'_>) {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(format!("{:04}", header.version).as_bytes());
    let mut aux = |name: &str, value: &str| {
        out.push(opcode::AUX);
        encode_string(out, name.as_bytes(), None);
        encode_string(out, value.as_bytes(), None);
    };
    aux("redis-ver", REDIS_VERSION);
    aux("redis-bits", if usize::BITS == 64 { "64" } else { "32" });
    aux("ctime", &header.created_seconds.to_string());
    aux("used-mem", &header.used_memory_bytes.to_string());
    aux("my-redis-ver", header.server_version);
}

/// Appends which database the keys that follow belong to, and how large it is if that is not
/// known from before.
pub fn encode_database(out: &mut Vec<u8>, number: u64, sizes: Option<Sizes>) {
    out.push(opcode::SELECT_DB);
    encode_length(out, number);
    if let Some(Sizes { keys, deadlines }) = sizes {
        out.push(opcode::RESIZE_DB);
        encode_length(out, keys);
        encode_length(out, deadlines);
    }
}

/// Appends the deadline of the next key, if it has one.
///
/// One before 1970 is written as 1970: Redis takes the millisecond before it for "none".
pub fn encode_deadline(out: &mut Vec<u8>, deadline_ms: Option<i64>) {
    if let Some(deadline_ms) = deadline_ms {
        out.push(opcode::EXPIRE_MS);
        out.extend_from_slice(&deadline_ms.max(0).to_le_bytes());
    }
}

/// Appends when or how often the next key was used, if that is to be told.
pub fn encode_last_use(out: &mut Vec<u8>, last_use: Option<StoredUse>) {
    match last_use {
        None => {}
        Some(StoredUse::IdleSeconds(seconds)) => {
            out.push(opcode::IDLE);
            encode_length(out, seconds);
        }
        Some(StoredUse::Count(count)) => out.extend_from_slice(&[opcode::FREQUENCY, count]),
    }
}

/// Appends what stands before a value: its type and its key.
pub fn encode_key_prefix(
    out: &mut Vec<u8>,
    written_type: WrittenType,
    key: &[u8],
    packer: Option<&mut Packer>,
) {
    out.push(written_type.code());
    encode_string(out, key, packer);
}

/// Appends a length, or the number of elements that follow.
pub fn encode_length(out: &mut Vec<u8>, length: u64) {
    if length < 1 << 6 {
        out.push(length as u8);
    } else if length < 1 << 14 {
        out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes());
    } else if let Ok(length) = u32::try_from(length) {
        out.push(length_form::LENGTH_32);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(length_form::LENGTH_64);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string in the shortest form: as an integer, packed, or as it is.
///
/// Without a packer it is never packed. Cost: O(length); packing takes a few ns a byte more.
pub fn encode_string(out: &mut Vec<u8>, string: &[u8], packer: Option<&mut Packer>) {
    if let Some(value) = as_integer(string) {
        encode_small_integer(out, value);
        return;
    }
    if let Some(packer) = packer
        && string.len() >= LZF_PLAIN_BYTES_MIN
        && encode_packed(out, string, packer)
    {
        return;
    }
    encode_length(out, string.len() as u64);
    out.extend_from_slice(string);
}

/// Appends an integer as a string: in integer form if it has 32 bits, else its digits.
pub fn encode_integer(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = i32::try_from(value) {
        encode_small_integer(out, value);
    } else {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        encode_length(out, digits.len() as u64);
        out.extend_from_slice(digits);
    }
}

/// Appends the earliest deadline of a field, from which the others are counted.
pub fn encode_field_deadline_base(out: &mut Vec<u8>, base: UnixMillis) {
    out.extend_from_slice(&base.0.to_le_bytes());
}

/// Appends the deadline of a field, which is not before `base`: 0 for none.
pub fn encode_field_deadline(out: &mut Vec<u8>, base: UnixMillis, deadline: Option<UnixMillis>) {
    encode_length(out, deadline.map_or(0, |deadline| deadline.since(base) + 1));
}

/// Appends the score of a member of a sorted set.
pub fn encode_score(out: &mut Vec<u8>, score: f64) {
    out.extend_from_slice(&score.to_le_bytes());
}

/// Appends the end mark. What is left is [`ChecksumWriter::finish`].
pub fn encode_end(out: &mut Vec<u8>) {
    out.push(opcode::END);
}

/// The value of a string that is exactly how an i32 is printed.
fn as_integer(string: &[u8]) -> Option<i32> {
    if string.len() > INTEGER_DIGITS_MAX {
        return None;
    }
    let (first, rest) = string.split_first()?;
    let (digits, negative) = if *first == b'-' { (rest, true) } else { (string, false) };
    let canonical = match digits.split_first()? {
        (b'0', rest) => rest.is_empty() && !negative,
        (b'1'..=b'9', rest) => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    let magnitude = digits.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    i32::try_from(if negative { -magnitude } else { magnitude }).ok()
}

fn encode_small_integer(out: &mut Vec<u8>, value: i32) {
    if let Ok(value) = i8::try_from(value) {
        out.push(string_form::INT8);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(string_form::INT16);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(string_form::INT32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends the string packed if that pays; otherwise nothing, and says so.
fn encode_packed(out: &mut Vec<u8>, string: &[u8], packer: &mut Packer) -> bool {
    let mark = out.len();
    let packed_bytes_max = string.len() - LZF_GAIN_BYTES_MIN;
    if !packer.pack(string, packed_bytes_max, out) {
        return false;
    }
    // The packed length stands before the packed bytes but is known only now.
    let packed_bytes = out.len() - mark;
    out.push(string_form::LZF);
    encode_length(out, packed_bytes as u64);
    encode_length(out, string.len() as u64);
    if let Some(from_mark) = out.get_mut(mark..) {
        from_mark.rotate_left(packed_bytes);
    }
    true
}

/// Passes bytes on to a file and keeps their checksum.
#[derive(Debug)]
pub struct ChecksumWriter<W> {
    target: W,
    /// `None` if the file is to have no checksum.
    checksum: Option<Checksum>,
    written_bytes: u64,
}

impl<W: Write> ChecksumWriter<W> {
    /// A writer at the start of the file. Without a checksum the file ends with eight zero bytes,
    /// which every reader takes for "not checked".
    pub fn new(target: W, with_checksum: bool) -> Self {
        Self { target, checksum: with_checksum.then(Checksum::new), written_bytes: 0 }
    }

    /// Writes the next bytes of the file.
    ///
    /// Errors: those of the target. Part of the bytes may then be in the file, so that only
    /// throwing the file away is left.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.target.write_all(bytes)?;
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The file beneath, for syncing it from time to time.
    pub fn target(&mut self) -> &mut W {
        &mut self.target
    }

    /// Writes the checksum, which must follow right after [`encode_end`], flushes, and returns the
    /// file, which is then complete but not yet synced.
    ///
    /// Errors: those of the target.
    pub fn finish(mut self) -> io::Result<W> {
        let value = self.checksum.as_ref().map_or(0, Checksum::value);
        let bytes: [u8; CHECKSUM_BYTES] = value.to_le_bytes();
        self.target.write_all(&bytes)?;
        self.target.flush()?;
        Ok(self.target)
    }
}
