//! Reading a dump that anybody may have made, or broken.
//!
//! The reader hands over one item after the other and trusts nothing: every length is held against
//! the bytes that are left in the file before memory is reserved for it, nothing recurses, and what
//! is not understood ends the reading with its place, key and kind. Nothing is left out silently,
//! but for notes about the writer and hints about access times, which are no data.
//!
//! There are two ways to read. `next_item` hands over whole values. The loader instead asks for
//! `next_record`, and then for the value part by part, so that a collection of millions is never
//! there twice; and it cuts the file into blocks of whole records for readers on other threads.
//!
//! Memory: the item or part at hand, which takes no more than the bytes it has in the file, the
//! buffer, and what packed strings unpack to (at most 88 times their bytes and 512 MB each).
//! Finding duplicates takes up to 18 bytes a member for the time of one collection.

mod stream;
mod timed_hash;

use crate::persist::compact;
use crate::persist::compact::CompactError;
use crate::persist::error::RdbError;
use crate::persist::error::Reason;
use crate::persist::format;
use crate::persist::format::kind;
use crate::persist::format::kind_name;
use crate::persist::format::length_form;
use crate::persist::format::node;
use crate::persist::format::opcode;
use crate::persist::format::string_form;
use crate::persist::lzf;
use crate::persist::skim;
use crate::persist::source::BUFFER_BYTES;
use crate::persist::source::Block;
use crate::persist::source::Source;
use crate::persist::source::split_plain_string;
use crate::persist::value::DuplicateFinder;
use crate::persist::value::Elements;
use crate::persist::value::Pairs;
use crate::persist::value::RdbValue;
use crate::persist::value::Scored;
use crate::persist::value::StoredUse;

use std::io::Empty;
use std::io::Read;

/// Scratch memory above this is given back once it is used.
const SCRATCH_KEPT_BYTES_MAX: usize = 1024 * 1024;
/// One part in so many of the buffer must be whole records to give it away.
const GIVEN_PART_MIN: usize = 8;
/// What sorted sets of the old form write in place of a length for these scores.
const SCORE_NAN: u8 = 253;
const SCORE_INFINITY: u8 = 254;
const SCORE_MINUS_INFINITY: u8 = 255;

type Result<T> = std::result::Result<T, RdbError>;

/// How strictly to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether a wrong checksum is an error. Off only where damaged files are wanted.
    pub verify_checksum: bool,
    /// Whether a field or member that is there twice is an error. Turn it off only to do the same
    /// with a [`DuplicateFinder`] on another thread.
    pub check_duplicates: bool,
    /// How many databases there are; a higher one in the file is an error.
    pub database_count: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { verify_checksum: true, check_duplicates: true, database_count: 1 }
    }
}

/// What a dump consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A note about the writer.
    Aux {
        /// Its name.
        name: Vec<u8>,
        /// Its text.
        value: Vec<u8>,
    },
    /// A library of functions.
    Function {
        /// Its text, the first line of which has its name.
        code: Vec<u8>,
    },
    /// The database of the entries that follow.
    SelectDb(u64),
    /// A hint, not to be trusted: how many entries follow and how many of them have a deadline.
    ResizeDb {
        /// Entries.
        key_count: u64,
        /// Entries with a deadline.
        deadline_count: u64,
    },
    /// A key with its value.
    Entry(Entry),
    /// A key with a collection of no elements, which old versions wrote by mistake and no Redis
    /// keeps: to be counted and left out.
    EmptyCollection {
        /// The key.
        key: Vec<u8>,
    },
    /// The end of the file, reached without a fault.
    End(ChecksumState),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where its type stands in the file: for messages.
    pub offset: u64,
    /// That type, one of [`kind`].
    pub kind: u8,
    /// The key.
    pub key: Vec<u8>,
    /// Unix milliseconds; may have passed.
    pub deadline_ms: Option<i64>,
    /// When or how often it was used, if the file tells.
    pub last_use: Option<StoredUse>,
    /// The value, never an empty collection.
    pub value: RdbValue,
}

/// What comes next in a dump, without a value.
#[derive(Debug)]
pub(crate) enum Record {
    /// A key; its value is to be read by [`RdbReader::next_part`].
    Key(KeyHead),
    /// Everything else: never an entry or an empty collection.
    Other(Item),
}

/// What stands before a value.
#[derive(Debug)]
pub(crate) struct KeyHead {
    pub(crate) offset: u64,
    pub(crate) kind: u8,
    pub(crate) key: Vec<u8>,
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) last_use: Option<StoredUse>,
}

/// A string under its key, both as they stand in the buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainString<'a> {
    pub(crate) offset: u64,
    pub(crate) key: &'a [u8],
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) last_use: Option<StoredUse>,
    pub(crate) value: &'a [u8],
}

/// A value that is being read.
#[derive(Debug, Clone, Copy)]
struct Unread {
    offset: u64,
    kind: u8,
    /// Elements, pairs or nodes; `None` until the count was read.
    left: Option<u64>,
    /// Of a hash whose fields have deadlines, the earliest.
    base_ms: u64,
}

/// What the end of the file said about its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumState {
    /// The checksum is right.
    Verified,
    /// The file has none, or a zero in its place: damage would have gone unnoticed.
    Absent,
    /// It was not looked at, as asked for in the options.
    NotLookedAt,
}

/// Reads a dump item by item.
#[derive(Debug)]
pub struct RdbReader<R> {
    source: Source<R>,
    options: ReadOptions,
    version: u32,
    /// The deadline that belongs to the next key.
    deadline_ms: Option<i64>,
    /// The use that belongs to the next key.
    last_use: Option<StoredUse>,
    /// The value of the record that was read last, as far as it was not read.
    unread: Option<Unread>,
    /// What comes before this is read here.
    kept_until: u64,
    duplicates: DuplicateFinder,
    /// Packed strings that are longer than the buffer.
    packed: Vec<u8>,
    /// A collection in a compact encoding.
    block: Vec<u8>,
    ended: bool,
}

/// What stands before the bytes of a string.
#[derive(Debug, Clone, Copy)]
enum StringHead {
    Plain(usize),
    Integer(i64),
    Packed { packed_bytes: usize, plain_bytes: usize },
}

/// A length, or the first byte of a string in special form.
enum Length {
    Number(u64),
    Special(u8),
}

impl<R: Read> RdbReader<R> {
    /// Reads and checks the first bytes of a file that is `total_bytes` long.
    ///
    /// `reader` need not be buffered. Cost: one buffer, of 512 KB or as long as the file.
    /// Errors: not a dump, or of a version or family that this server does not read.
    pub fn new(reader: R, total_bytes: u64, options: ReadOptions) -> Result<Self> {
        Self::with_buffer(reader, total_bytes, options, BUFFER_BYTES)
    }

    /// As [`new`](Self::new), with a buffer of another size.
    pub(crate) fn with_buffer(
        reader: R,
        total_bytes: u64,
        options: ReadOptions,
        buffer_bytes: usize,
    ) -> Result<Self> {
        let with_checksum = options.verify_checksum;
        let mut source = Source::new(reader, total_bytes, with_checksum, buffer_bytes);
        let version = read_header(&mut source)?;
        Ok(Self::with_source(source, version, options))
    }

    fn with_source(source: Source<R>, version: u32, options: ReadOptions) -> Self {
        Self {
            source,
            options,
            version,
            deadline_ms: None,
            last_use: None,
            unread: None,
            kept_until: 0,
            duplicates: DuplicateFinder::new(),
            packed: Vec::new(),
            block: Vec::new(),
            ended: false,
        }
    }

    /// The version of the format.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes read so far: for showing progress.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// The next item; `None` after [`Item::End`].
    ///
    /// Errors: whatever is wrong with the file. There is no going on after an error.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        let head = match self.next_record()? {
            None => return Ok(None),
            Some(Record::Other(item)) => return Ok(Some(item)),
            Some(Record::Key(head)) => head,
        };
        let KeyHead { offset, kind, key, deadline_ms, last_use } = head;
        let value = self.next_part(usize::MAX).map_err(|error| error.at_key(&key))?;
        if value.is_empty() {
            return Ok(Some(Item::EmptyCollection { key }));
        }
        if self.options.check_duplicates
            && let Some(element) = self.duplicates.find(&value)
        {
            let reason = Reason::Duplicate(element.to_vec());
            return Err(RdbError::new(offset, reason).at_key(&key));
        }
        Ok(Some(Item::Entry(Entry { offset, kind, key, deadline_ms, last_use, value })))
    }

    /// The next record; `None` after [`Item::End`]. The value of the one before must have been read
    /// by [`next_part`](Self::next_part) to its end.
    ///
    /// Errors: whatever is wrong with the file. There is no going on after an error.
    pub(crate) fn next_record(&mut self) -> Result<Option<Record>> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let offset = self.source.offset();
            let code = self.source.byte()?;
            match code {
                opcode::EXPIRE_MS => {
                    let deadline_ms = i64::from_le_bytes(self.source.array()?);
                    self.set_deadline(deadline_ms);
                }
                opcode::EXPIRE_SECONDS => {
                    let seconds = i32::from_le_bytes(self.source.array()?);
                    self.set_deadline(i64::from(seconds) * 1_000);
                }
                opcode::IDLE => {
                    self.last_use = Some(StoredUse::IdleSeconds(self.length()?));
                }
                opcode::FREQUENCY => {
                    self.last_use = Some(StoredUse::Count(self.source.byte()?));
                }
                opcode::SLOT_INFO => {
                    for _ in 0..3 {
                        self.length()?;
                    }
                }
                opcode::AUX => {
                    let name = self.string()?;
                    let value = self.string()?;
                    return Ok(Some(Record::Other(Item::Aux { name, value })));
                }
                opcode::RESIZE_DB => {
                    let key_count = self.length()?;
                    let deadline_count = self.length()?;
                    let hint = Item::ResizeDb { key_count, deadline_count };
                    return Ok(Some(Record::Other(hint)));
                }
                opcode::FUNCTION | opcode::FUNCTION_PRE_RELEASE => {
                    let code = self.function(code == opcode::FUNCTION_PRE_RELEASE)?;
                    return Ok(Some(Record::Other(Item::Function { code })));
                }
                opcode::SELECT_DB => {
                    return self.select_db(offset).map(|item| Some(Record::Other(item)));
                }
                opcode::END => return self.end().map(|item| Some(Record::Other(item))),
                _ => return self.key_head(code, offset).map(|head| Some(Record::Key(head))),
            }
        }
    }

    /// The value of the record that was read last, or the next part of it.
    ///
    /// Collections that stand in the file element by element or node by node come in parts of about
    /// `part_bytes`, pairs never torn; everything else comes as a whole. Only the first part can be
    /// empty, and then it is the only one.
    ///
    /// Errors: whatever is wrong with the value, without its key.
    pub(crate) fn next_part(&mut self, part_bytes: usize) -> Result<RdbValue> {
        let Some(mut unread) = self.unread.take() else {
            return Ok(RdbValue::List(Elements::new()));
        };
        let part = self.value_part(&mut unread, part_bytes)?;
        if unread.left.is_some_and(|left| left > 0) {
            self.unread = Some(unread);
        }
        Ok(part)
    }

    /// Whether [`next_part`](Self::next_part) has more of the same value.
    pub(crate) fn has_more_parts(&self) -> bool {
        self.unread.is_some()
    }

    /// The parts that are left of the value of the record that was read last.
    pub(crate) fn parts(&mut self, part_bytes: usize) -> impl Iterator<Item = Result<RdbValue>> {
        std::iter::from_fn(move || self.has_more_parts().then(|| self.next_part(part_bytes)))
    }

    /// The next record if it is a plain string under a plain key, no stranger than with a deadline,
    /// and as a whole in the buffer. `None` says nothing.
    ///
    /// Most records of most dumps are, and this allocates nothing.
    pub(crate) fn next_plain_string(&mut self) -> Option<PlainString<'_>> {
        if self.deadline_ms.is_some() || self.last_use.is_some() {
            return None;
        }
        let buffered = self.source.buffered();
        let mut rest = buffered;
        let mut deadline_ms = None;
        if let [opcode::EXPIRE_MS, after @ ..] = rest {
            let (bytes, after) = after.split_first_chunk()?;
            deadline_ms = deadline_of(i64::from_le_bytes(*bytes));
            rest = after;
        }
        let mut last_use = None;
        match rest {
            [opcode::FREQUENCY, count, after @ ..] => {
                last_use = Some(StoredUse::Count(*count));
                rest = after;
            }
            [opcode::IDLE, after @ ..] => {
                let (seconds, after) = skim::split_length(after)?;
                last_use = Some(StoredUse::IdleSeconds(seconds));
                rest = after;
            }
            _ => {}
        }
        let [kind::STRING, after @ ..] = rest else {
            return None;
        };
        let type_at = buffered.len() - rest.len();
        let (key, after) = split_plain_string(after)?;
        let key_end = buffered.len() - after.len();
        let (value, after) = split_plain_string(after)?;
        let value_end = buffered.len() - after.len();
        let (key_bytes, value_bytes) = (key.len(), value.len());
        let offset = self.source.offset() + type_at as u64;
        let record = self.source.take(value_end).ok()?;
        Some(PlainString {
            offset,
            key: record.get(key_end - key_bytes..key_end)?,
            deadline_ms,
            last_use,
            value: record.get(value_end - value_bytes..)?,
        })
    }

    /// Reads on and gives the buffer away with the whole records in it; `other` is the next buffer,
    /// of any length. `None` when the next record has to be read here: it is none that can be given
    /// away, or too long, or there are too few to be worth it.
    ///
    /// Cost: O(bytes) over all calls, whatever the records are, because the buffer is filled and
    /// copied only when much of it was used up.
    /// Errors: the file cannot be read.
    pub(crate) fn give_away_records(
        &mut self,
        other: impl FnOnce() -> Vec<u8>,
    ) -> Result<Option<Block>> {
        let in_between = self.deadline_ms.is_some()
            || self.last_use.is_some()
            || self.unread.is_some()
            || self.ended;
        if in_between || self.source.offset() < self.kept_until {
            return Ok(None);
        }
        if self.source.buffered().len() < self.source.buffer_bytes() / 2 {
            self.source.fill_up()?;
        }
        let record_bytes = skim::whole_records(self.source.buffered());
        if record_bytes < self.source.buffer_bytes() / GIVEN_PART_MIN {
            self.kept_until = self.source.offset() + record_bytes as u64;
            return Ok(None);
        }
        Ok(Some(self.source.give_away(record_bytes, other())))
    }

    fn set_deadline(&mut self, deadline_ms: i64) {
        self.deadline_ms = deadline_of(deadline_ms);
    }

    fn select_db(&mut self, offset: u64) -> Result<Item> {
        let database = self.length()?;
        if database >= self.options.database_count {
            return Err(RdbError::new(offset, Reason::UnsupportedDatabase(database)));
        }
        Ok(Item::SelectDb(database))
    }

    /// A library of functions; release candidates wrote its name and engine beside its code.
    fn function(&mut self, is_pre_release: bool) -> Result<Vec<u8>> {
        if !is_pre_release {
            return self.string();
        }
        let (name, engine) = (self.string()?, self.string()?);
        let _description = if self.length()? > 0 { Some(self.string()?) } else { None };
        Ok([b"#!", &engine[..], b" name=", &name, b"\n", &self.string()?[..]].concat())
    }

    fn end(&mut self) -> Result<Item> {
        let state = self.read_checksum()?;
        let trailing_bytes = self.source.remaining_bytes();
        if trailing_bytes > 0 {
            return self.source.fault(Reason::TrailingBytes(trailing_bytes));
        }
        self.ended = true;
        Ok(Item::End(state))
    }

    fn read_checksum(&mut self) -> Result<ChecksumState> {
        if self.version < format::VERSION_WITH_CHECKSUM {
            return Ok(ChecksumState::Absent);
        }
        let computed = self.source.checksum();
        let offset = self.source.offset();
        let stored = u64::from_le_bytes(self.source.array()?);
        match computed {
            _ if stored == 0 => Ok(ChecksumState::Absent),
            None => Ok(ChecksumState::NotLookedAt),
            Some(computed) if computed == stored => Ok(ChecksumState::Verified),
            Some(computed) => {
                Err(RdbError::new(offset, Reason::WrongChecksum { stored, computed }))
            }
        }
    }

    fn key_head(&mut self, code: u8, offset: u64) -> Result<KeyHead> {
        let unsupported_record =
            |name| Err(RdbError::new(offset, Reason::UnsupportedRecord { code, name }));
        match code {
            opcode::MODULE_AUX => return unsupported_record("module data"),
            _ if kind_name(code) == kind_name(u8::MAX) => {
                return Err(RdbError::new(offset, Reason::UnknownCode(code)));
            }
            _ => {}
        }
        let key = self.string()?;
        let deadline_ms = self.deadline_ms.take();
        self.unread = Some(Unread { offset, kind: code, left: None, base_ms: 0 });
        let last_use = self.last_use.take();
        Ok(KeyHead { offset, kind: code, key, deadline_ms, last_use })
    }

    fn value_part(&mut self, unread: &mut Unread, part_bytes: usize) -> Result<RdbValue> {
        let Unread { offset, kind: code, left, base_ms } = unread;
        Ok(match *code {
            kind::STRING => RdbValue::String(self.string()?),
            kind::LIST => RdbValue::List(self.elements(1, left, part_bytes)?),
            kind::SET => RdbValue::Set(self.elements(1, left, part_bytes)?),
            kind::HASH => RdbValue::Hash(self.elements(2, left, part_bytes)?.into()),
            kind::ZSET => RdbValue::ZSet(self.scored(true, left, part_bytes)?),
            kind::ZSET_DECIMAL => RdbValue::ZSet(self.scored(false, left, part_bytes)?),
            kind::HASH_ZIPMAP => self.hash("zipmap", compact::read_zipmap)?,
            kind::HASH_ZIPLIST => self.hash("ziplist", compact::read_ziplist)?,
            kind::HASH_LISTPACK => self.hash("listpack", compact::read_listpack)?,
            kind::HASH_DEADLINES => RdbValue::Hash(self.timed_hash(left, base_ms, part_bytes)?),
            kind::HASH_LISTPACK_DEADLINES => RdbValue::Hash(self.timed_listpack()?),
            kind::ZSET_ZIPLIST => self.zset("ziplist", compact::read_ziplist)?,
            kind::ZSET_LISTPACK => self.zset("listpack", compact::read_listpack)?,
            kind::LIST_ZIPLIST => RdbValue::List(self.compact("ziplist", compact::read_ziplist)?),
            kind::SET_INTSET => RdbValue::Set(self.compact("intset", compact::read_intset)?),
            kind::SET_LISTPACK => RdbValue::Set(self.compact("listpack", compact::read_listpack)?),
            kind::LIST_QUICKLIST => RdbValue::List(self.quicklist(false, left, part_bytes)?),
            kind::LIST_QUICKLIST_2 => RdbValue::List(self.quicklist(true, left, part_bytes)?),
            code @ (kind::STREAM | kind::STREAM_2 | kind::STREAM_3) => {
                RdbValue::Stream(self.stream(code)?)
            }
            code => {
                let reason = Reason::UnsupportedType { code, name: kind_name(code) };
                return Err(RdbError::new(*offset, reason));
            }
        })
    }

    /// The number of elements that are left of the value, each of at least so many bytes in the
    /// file: what was kept from the part before, or read now.
    fn count(&mut self, left: Option<u64>, element_bytes_min: u64) -> Result<u64> {
        if let Some(left) = left {
            return Ok(left);
        }
        let offset = self.source.offset();
        let count = self.length()?;
        let remaining_bytes = self.source.remaining_bytes();
        if count > remaining_bytes / element_bytes_min {
            return Err(RdbError::new(offset, Reason::CountBeyondFile { count, remaining_bytes }));
        }
        Ok(count)
    }

    /// A counted row of strings, `width` of them for each that is counted.
    fn elements(
        &mut self,
        width: u64,
        left: &mut Option<u64>,
        part_bytes: usize,
    ) -> Result<Elements> {
        let mut count = self.count(*left, width)?;
        let mut elements = Elements::with_count_hint(count * width);
        while count > 0 && elements.bytes() < part_bytes {
            for _ in 0..width {
                self.element(&mut elements)?;
            }
            count -= 1;
        }
        *left = Some(count);
        Ok(elements)
    }

    fn scored(
        &mut self,
        binary: bool,
        left: &mut Option<u64>,
        part_bytes: usize,
    ) -> Result<Scored> {
        let mut count = self.count(*left, if binary { 9 } else { 2 })?;
        let mut scored = Scored::default();
        while count > 0 && scored.members.bytes() < part_bytes {
            self.element(&mut scored.members)?;
            let offset = self.source.offset();
            let score = if binary {
                f64::from_le_bytes(self.source.array()?)
            } else {
                self.decimal_score()?
            };
            if score.is_nan() {
                return Err(RdbError::new(offset, Reason::BadScore));
            }
            scored.scores.push(score);
            count -= 1;
        }
        *left = Some(count);
        Ok(scored)
    }

    fn decimal_score(&mut self) -> Result<f64> {
        let offset = self.source.offset();
        let score = match self.source.byte()? {
            SCORE_NAN => None,
            SCORE_INFINITY => Some(f64::INFINITY),
            SCORE_MINUS_INFINITY => Some(f64::NEG_INFINITY),
            length => parse_score(self.source.take(usize::from(length))?),
        };
        score.ok_or_else(|| RdbError::new(offset, Reason::BadScore))
    }

    /// A collection in one string, as `decode` understands it.
    fn compact(&mut self, encoding: &'static str, decode: Decode) -> Result<Elements> {
        let mut elements = Elements::new();
        self.compact_into(encoding, decode, &mut elements)?;
        Ok(elements)
    }

    fn compact_into(
        &mut self,
        encoding: &'static str,
        decode: Decode,
        into: &mut Elements,
    ) -> Result<()> {
        let offset = self.source.offset();
        let head = self.string_head()?;
        self.block.clear();
        read_string_body(&mut self.source, &mut self.packed, head, &mut self.block)?;
        let decoded = decode(&self.block, into);
        give_back(&mut self.block);
        decoded.map_err(|CompactError { problem, inner_offset }| {
            RdbError::new(offset, Reason::Compact { encoding, problem, inner_offset })
        })
    }

    /// As `compact`, for an encoding that holds pairs.
    fn compact_pairs(&mut self, encoding: &'static str, decode: Decode) -> Result<Elements> {
        let offset = self.source.offset();
        let elements = self.compact(encoding, decode)?;
        if elements.len() % 2 != 0 {
            return Err(RdbError::new(offset, Reason::OddElementCount));
        }
        Ok(elements)
    }

    fn hash(&mut self, encoding: &'static str, decode: Decode) -> Result<RdbValue> {
        Ok(RdbValue::Hash(self.compact_pairs(encoding, decode)?.into()))
    }

    fn zset(&mut self, encoding: &'static str, decode: Decode) -> Result<RdbValue> {
        let offset = self.source.offset();
        let pairs = Pairs::from(self.compact_pairs(encoding, decode)?);
        let mut scored = Scored::default();
        pairs.consume(|member, score| {
            let score = parse_score(score);
            scored.push(member, score.ok_or_else(|| RdbError::new(offset, Reason::BadScore))?);
            Ok(())
        })?;
        Ok(RdbValue::ZSet(scored))
    }

    /// A list in nodes: ziplists, or since 7.0 listpacks and single elements. Nodes are small, so
    /// that a part is not much larger than asked for; and a node without elements, which no Redis
    /// writes, does not make an empty part.
    fn quicklist(
        &mut self,
        with_forms: bool,
        left: &mut Option<u64>,
        part_bytes: usize,
    ) -> Result<Elements> {
        let mut count = self.count(*left, if with_forms { 2 } else { 1 })?;
        let mut elements = Elements::new();
        while count > 0 && elements.bytes() < part_bytes {
            self.quicklist_node(with_forms, &mut elements)?;
            count -= 1;
        }
        *left = Some(count);
        Ok(elements)
    }

    fn quicklist_node(&mut self, with_forms: bool, into: &mut Elements) -> Result<()> {
        if !with_forms {
            return self.compact_into("ziplist", compact::read_ziplist, into);
        }
        let offset = self.source.offset();
        match self.length()? {
            node::PACKED => self.compact_into("listpack", compact::read_listpack, into),
            node::PLAIN => self.element(into),
            form => Err(RdbError::new(offset, Reason::UnknownNode(form))),
        }
    }

    /// Appends the next string to a collection.
    fn element(&mut self, into: &mut Elements) -> Result<()> {
        if let Some(element) = self.source.buffered_string() {
            into.push(element);
            return Ok(());
        }
        let head = self.string_head()?;
        let block = into.open(head.plain_bytes());
        read_string_body(&mut self.source, &mut self.packed, head, block)
    }

    fn string(&mut self) -> Result<Vec<u8>> {
        if let Some(string) = self.source.buffered_string() {
            return Ok(string.to_vec());
        }
        let head = self.string_head()?;
        let mut string = Vec::new();
        read_string_body(&mut self.source, &mut self.packed, head, &mut string)?;
        Ok(string)
    }

    fn string_head(&mut self) -> Result<StringHead> {
        let offset = self.source.offset();
        let form = match self.length_or_special()? {
            Length::Number(length) => return self.bounded(length).map(StringHead::Plain),
            Length::Special(form) => form,
        };
        Ok(match form {
            string_form::INT8 => {
                StringHead::Integer(i8::from_le_bytes(self.source.array()?).into())
            }
            string_form::INT16 => {
                StringHead::Integer(i16::from_le_bytes(self.source.array()?).into())
            }
            string_form::INT32 => {
                StringHead::Integer(i32::from_le_bytes(self.source.array()?).into())
            }
            string_form::LZF => {
                let packed_bytes = self.length()?;
                let plain_bytes = self.length()?;
                let packed = self.bounded(packed_bytes)?;
                let plain_bytes_max = packed_bytes.saturating_mul(format::LZF_RATIO_MAX);
                if plain_bytes > plain_bytes_max.min(format::LZF_PLAIN_BYTES_MAX) {
                    let reason = Reason::LzfTooLong { plain_bytes, packed_bytes };
                    return Err(RdbError::new(offset, reason));
                }
                StringHead::Packed { packed_bytes: packed, plain_bytes: plain_bytes as usize }
            }
            form => return Err(RdbError::new(offset, Reason::UnknownStringForm(form))),
        })
    }

    /// A length of bytes that follow: refused when the file does not have them.
    fn bounded(&self, length: u64) -> Result<usize> {
        self.source.check(length)?;
        usize::try_from(length)
            .or_else(|_| self.source.fault(Reason::OutOfMemory { wanted_bytes: length }))
    }

    fn length(&mut self) -> Result<u64> {
        let offset = self.source.offset();
        match self.length_or_special()? {
            Length::Number(length) => Ok(length),
            Length::Special(byte) => Err(RdbError::new(offset, Reason::BadLength(byte))),
        }
    }

    fn length_or_special(&mut self) -> Result<Length> {
        let offset = self.source.offset();
        let first = self.source.byte()?;
        let low = u64::from(first & 0x3F);
        Ok(match (first >> 6, first) {
            (length_form::BITS_6, _) => Length::Number(low),
            (length_form::BITS_14, _) => Length::Number(low << 8 | u64::from(self.source.byte()?)),
            (length_form::SPECIAL, form) => Length::Special(form),
            (_, length_form::LENGTH_32) => {
                Length::Number(u32::from_be_bytes(self.source.array()?).into())
            }
            (_, length_form::LENGTH_64) => Length::Number(u64::from_be_bytes(self.source.array()?)),
            (_, byte) => return Err(RdbError::new(offset, Reason::BadLength(byte))),
        })
    }
}

impl RdbReader<Empty> {
    /// A reader of blocks that one of a file of `total_bytes` gives away.
    pub(crate) fn of_blocks(total_bytes: u64) -> Self {
        // Whoever makes a structure of the elements notices a duplicate anyway.
        let options = ReadOptions { check_duplicates: false, ..ReadOptions::default() };
        Self::with_source(Source::idle(total_bytes), 0, options)
    }

    /// Reads the records of `block` from now on; returns the buffer of the block before.
    pub(crate) fn begin_block(&mut self, block: Block) -> Vec<u8> {
        self.deadline_ms = None;
        self.unread = None;
        self.source.exchange(block)
    }

    /// Whether all records of the block were read.
    pub(crate) fn is_at_block_end(&self) -> bool {
        self.source.buffered().is_empty()
    }
}

/// Redis takes -1 for "no deadline".
fn deadline_of(deadline_ms: i64) -> Option<i64> {
    (deadline_ms != -1).then_some(deadline_ms)
}

/// A decoder of `compact`.
type Decode = fn(&[u8], &mut Elements) -> std::result::Result<(), CompactError>;

impl StringHead {
    /// The length of the string itself.
    fn plain_bytes(self) -> usize {
        match self {
            Self::Plain(length) => length,
            Self::Packed { plain_bytes, .. } => plain_bytes,
            Self::Integer(value) => itoa::Buffer::new().format(value).len(),
        }
    }
}

/// Appends the string after its head. Apart from the reader, so that `out` may be a part of it.
fn read_string_body<R: Read>(
    source: &mut Source<R>,
    scratch: &mut Vec<u8>,
    head: StringHead,
    out: &mut Vec<u8>,
) -> Result<()> {
    match head {
        StringHead::Plain(length) => source.append(length, out),
        StringHead::Integer(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            Ok(())
        }
        StringHead::Packed { packed_bytes, plain_bytes } => {
            let offset = source.offset();
            let unpacked = if source.can_take(packed_bytes) {
                lzf::unpack(source.take(packed_bytes)?, plain_bytes, out)
            } else {
                scratch.clear();
                source.append(packed_bytes, scratch)?;
                let unpacked = lzf::unpack(scratch, plain_bytes, out);
                give_back(scratch);
                unpacked
            };
            unpacked.map_err(|error| RdbError::new(offset, Reason::Lzf(error)))
        }
    }
}

fn give_back(scratch: &mut Vec<u8>) {
    if scratch.capacity() > SCRATCH_KEPT_BYTES_MAX {
        *scratch = Vec::new();
    }
}

fn parse_score(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}

fn read_header<R: Read>(source: &mut Source<R>) -> Result<u32> {
    let not_a_dump = || RdbError::new(0, Reason::NotADump);
    if source.remaining_bytes() < format::HEADER_BYTES as u64 {
        source.check(format::HEADER_BYTES as u64)?;
    }
    let header: [u8; format::HEADER_BYTES] = source.array()?;
    if header.starts_with(format::MAGIC_VALKEY) {
        return Err(RdbError::new(0, Reason::ValkeyFormat));
    }
    let digits = header.strip_prefix(format::MAGIC).ok_or_else(not_a_dump)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(not_a_dump());
    }
    let version = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    if (1..=format::VERSION_READ_MAX).contains(&version) {
        Ok(version)
    } else {
        let offset = format::MAGIC.len() as u64;
        Err(RdbError::new(offset, Reason::UnsupportedVersion(version)))
    }
}
