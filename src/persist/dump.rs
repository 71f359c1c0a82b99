//! Writing the dump: the snapshot walk.
//!
//! The walk copies a piece of the keyspace under a shard's lock; it is encoded and written when no
//! lock is held.

use crate::config::Config;
use crate::data::{HashRef, ListRef, SetRef, SortedSetRef, TimedHash, ValueRef};
use crate::keyspace::{DatabaseNumber, Entry, Keyspace, ShardFigures, Uses};
use crate::persist::file::TemporaryFile;
use crate::persist::format::{CHECKSUM_BYTES, VERSION_WITH_FUNCTIONS, VERSION_WRITTEN};
use crate::persist::functions::{self, FunctionStore};
use crate::persist::lzf::Packer;
use crate::persist::saver::SaveError;
use crate::persist::stream;
use crate::persist::value::StoredUse;
use crate::persist::write::{self, ChecksumWriter, Header, Sizes, WrittenType};
use crate::stats::used_bytes;
use crate::util::clock::UnixMillis;
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Encoded bytes are written out when there are this many.
const WRITE_BYTES: usize = 1024 * 1024;
/// The file is synced whenever this much was written, to avoid one long wait at the end.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;

/// Unless configured otherwise, a save may need this part of the memory in use beyond the data,
const ASIDE_SHARE: u64 = 4;
/// and always this much.
const ASIDE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// How a dump is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpOptions {
    /// Pack long strings (rdbcompression).
    pub compress: bool,
    /// End with a checksum (rdbchecksum).
    pub checksum: bool,
    /// The memory that the save may need beyond the data (my-redis-snapshot-memory).
    pub aside_bytes_max: u64,
    /// Of each key it is told when or how often it was used, if keys give way by that.
    pub uses: Option<Uses>,
}

impl DumpOptions {
    /// As the present options say.
    #[must_use]
    pub fn at(now: UnixMillis, config: &Config) -> Self {
        let aside_bytes_max = match config.snapshot_memory_bytes() {
            0 => (used_bytes() / ASIDE_SHARE).max(ASIDE_BYTES_MIN),
            bytes => bytes,
        };
        let memory = config.memory();
        let policy_acts = memory.policy().is_lru() || memory.policy().is_lfu();
        Self {
            compress: config.rdb_compression(),
            checksum: config.rdb_checksum(),
            aside_bytes_max,
            uses: policy_acts.then(|| Uses::at(now, memory.frequency())),
        }
    }
}

/// How far a save has come, and whether it is still wanted; others use it meanwhile.
#[derive(Debug, Default)]
pub struct SaveControl {
    /// Keys written so far.
    pub keys_done: AtomicU64,
    /// Keys that there were at the beginning.
    pub keys_total: AtomicU64,
    /// Ends the save early.
    pub cancelled: AtomicBool,
}

impl SaveControl {
    fn begin(&self, keys: u64) {
        self.keys_done.store(0, Ordering::Relaxed);
        self.keys_total.store(keys, Ordering::Relaxed);
    }
}

/// A dump that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Keys in it.
    pub keys: u64,
    /// Its length.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
    /// The longest time for which a shard was locked, in microseconds.
    pub longest_hold_micros: u64,
}

/// Writes the keyspace as it is now to `path`, replacing what is there only when all is safe.
///
/// The libraries of functions are those of a moment just after that: what a function has done is
/// not in a dump without it.
///
/// Cost: O(keys), one segment of a shard locked at a time.
///
/// # Errors
/// Any error of the system, or `Cancelled` once that was asked for; the file at `path` is then the
/// old one and no other file is left.
pub fn save(
    keyspace: &Keyspace,
    functions: &dyn FunctionStore,
    path: &Path,
    options: &DumpOptions,
    control: &SaveControl,
) -> Result<Saved, SaveError> {
    let began = Instant::now();
    let temporary = TemporaryFile::create(path)?;
    let mut encoder =
        Encoder::new(options, Output::new(&temporary, options.checksum, &control.cancelled));
    let begun = keyspace.begin_snapshot(options.aside_bytes_max);
    let mut snapshot = begun.ok_or(SaveError::AlreadyRunning)?;
    control.begin(keyspace.figures().map(ShardFigures::keys).sum());
    encoder.libraries(&functions.codes());
    let sizes = |number| Sizes {
        keys: keyspace.figures().map(|shard| shard.keys_of(number)).sum(),
        deadlines: keyspace.figures().map(|shard| shard.with_deadline_of(number)).sum(),
    };
    encoder.database(0, &sizes);
    let mut more = true;
    while more {
        let stepped = snapshot.step(&mut |database, entry| {
            encoder.database(database, &sizes);
            encoder.entry(entry);
        });
        more = stepped.map_err(|_| SaveError::Outgrown { bytes_max: options.aside_bytes_max })?;
        encoder.output.check()?;
        control.keys_done.store(encoder.keys, Ordering::Relaxed);
    }
    let (keys, bytes) = (encoder.keys, encoder.output.finish()?);
    let epoch = snapshot.epoch();
    let longest_hold = snapshot.longest_hold();
    snapshot.end();
    temporary.replace(path)?;
    // Changes are counted from the last cut on, so no other one may come before this.
    keyspace.forget_saved_changes(epoch);
    drop(snapshot);
    Ok(Saved {
        keys,
        bytes,
        duration: began.elapsed(),
        longest_hold_micros: u64::try_from(longest_hold.as_micros()).unwrap_or(u64::MAX),
    })
}

/// The file being written: gathers encoded bytes, and writes, sums up and syncs in large steps.
///
/// A value may be much larger than a step, so the bytes leave in the middle of values as well.
/// What goes wrong there is kept until [`check`](Self::check), and nothing is written after it.
struct Output<'a> {
    bytes: Vec<u8>,
    temporary: &'a TemporaryFile,
    writer: ChecksumWriter<&'a TemporaryFile>,
    synced_bytes: u64,
    cancelled: &'a AtomicBool,
    failed: Option<SaveError>,
}

impl<'a> Output<'a> {
    fn new(temporary: &'a TemporaryFile, checksum: bool, cancelled: &'a AtomicBool) -> Self {
        let writer = ChecksumWriter::new(temporary, checksum);
        Self { bytes: Vec::new(), temporary, writer, synced_bytes: 0, cancelled, failed: None }
    }

    /// Writes out what has gathered once that is much.
    #[inline]
    fn relieve(&mut self) {
        if self.bytes.len() >= WRITE_BYTES {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        if self.failed.is_none() {
            self.failed = self.try_write_out().err();
        }
        self.bytes.clear();
    }

    fn try_write_out(&mut self) -> Result<(), SaveError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(SaveError::Cancelled);
        }
        let failed = |step, error| SaveError::io(step, self.temporary.path(), &error);
        self.writer.write_all(&self.bytes).map_err(|e| failed("write", e))?;
        if self.writer.written_bytes() - self.synced_bytes >= SYNC_BYTES {
            self.synced_bytes = self.writer.written_bytes();
            self.temporary.sync_data().map_err(|e| failed("sync", e))?;
        }
        Ok(())
    }

    /// Tells what went wrong since the last call, and whether the save was cancelled.
    fn check(&mut self) -> Result<(), SaveError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(SaveError::Cancelled);
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Writes the rest, the end mark and the checksum; returns the length of the file.
    fn finish(mut self) -> Result<u64, SaveError> {
        write::encode_end(&mut self.bytes);
        self.write_out();
        self.check()?;
        let bytes = self.writer.written_bytes() + CHECKSUM_BYTES as u64;
        let finished = self.writer.finish();
        finished.map_err(|e| SaveError::io("write", self.temporary.path(), &e))?;
        Ok(bytes)
    }
}

fn header(version: u32) -> Header<'static> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Header {
        version,
        server_version: env!("CARGO_PKG_VERSION"),
        created_seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        used_memory_bytes: used_bytes(),
    }
}

/// Encodes entries.
struct Encoder<'a> {
    output: Output<'a>,
    packer: Option<Packer>,
    uses: Option<Uses>,
    keys: u64,
    database: Option<DatabaseNumber>,
    /// The databases that the dump has named.
    named: HashSet<DatabaseNumber>,
}

impl stream::Sink for Encoder<'_> {
    fn target(&mut self) -> (&mut Vec<u8>, Option<&mut Packer>) {
        (&mut self.output.bytes, self.packer.as_mut())
    }

    fn relieve(&mut self) {
        self.output.relieve();
    }
}

impl<'a> Encoder<'a> {
    fn new(options: &DumpOptions, output: Output<'a>) -> Self {
        let packer = options.compress.then(Packer::new);
        let uses = options.uses;
        Self { output, packer, uses, keys: 0, database: None, named: HashSet::new() }
    }

    /// Begins the file with its header and all libraries of functions.
    fn libraries(&mut self, codes: &[Vec<u8>]) {
        let version = if codes.is_empty() { VERSION_WRITTEN } else { VERSION_WITH_FUNCTIONS };
        write::encode_header(&mut self.output.bytes, &header(version));
        for code in codes {
            functions::encode_library(&mut self.output.bytes, code, self.packer.as_mut());
            self.output.relieve();
        }
    }

    /// Says which database the next entries are of, and at its first time how large it is.
    #[inline]
    fn database(&mut self, number: DatabaseNumber, sizes: &impl Fn(DatabaseNumber) -> Sizes) {
        if self.database != Some(number) {
            self.database = Some(number);
            let sizes = self.named.insert(number).then(|| sizes(number));
            write::encode_database(&mut self.output.bytes, u64::from(number), sizes);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.keys += 1;
        let deadline_ms = entry.deadline().map(|deadline| deadline.0);
        let value = entry.value();
        let head = match value {
            ValueRef::String(_) => WrittenType::String,
            ValueRef::List(_) => WrittenType::List,
            ValueRef::Hash(_) if entry.field_deadlines().is_some() => WrittenType::TimedHash,
            ValueRef::Hash(_) => WrittenType::Hash,
            ValueRef::Set(_) => WrittenType::Set,
            ValueRef::SortedSet(_) => WrittenType::ZSet,
            ValueRef::Stream(stream) => stream::written_type(stream),
        };
        let last_use = self.uses.map(|uses| match uses.is_by_frequency() {
            false => StoredUse::IdleSeconds(entry.last_use().idle_seconds(uses)),
            true => StoredUse::Count(entry.last_use().count(uses)),
        });
        let out = &mut self.output.bytes;
        write::encode_deadline(out, deadline_ms);
        write::encode_last_use(out, last_use);
        write::encode_key_prefix(out, head, entry.key(), self.packer.as_mut());
        match value {
            ValueRef::String(string) => self.string(string.bytes()),
            ValueRef::List(list) => self.list(list),
            ValueRef::Hash(hash) => match entry.field_deadlines() {
                Some(timed) => self.timed_hash(timed),
                None => self.hash(hash),
            },
            ValueRef::Set(set) => self.set(set),
            ValueRef::SortedSet(set) => self.sorted_set(set),
            ValueRef::Stream(stream) => stream::encode(stream, head, self),
        }
        self.output.relieve();
    }

    fn string(&mut self, bytes: &[u8]) {
        write::encode_string(&mut self.output.bytes, bytes, self.packer.as_mut());
    }

    fn element(&mut self, bytes: &[u8]) {
        self.string(bytes);
        self.output.relieve();
    }

    fn list(&mut self, list: ListRef<'_>) {
        write::encode_length(&mut self.output.bytes, list.len() as u64);
        list.for_each(0, usize::MAX, |element| self.element(element));
    }

    fn hash(&mut self, hash: HashRef<'_>) {
        write::encode_length(&mut self.output.bytes, hash.len() as u64);
        hash.for_each(|field, value| {
            self.string(field);
            self.element(value);
        });
    }

    fn timed_hash(&mut self, hash: &TimedHash) {
        let base = hash.earliest().unwrap_or(UnixMillis(0));
        write::encode_field_deadline_base(&mut self.output.bytes, base);
        write::encode_length(&mut self.output.bytes, hash.fields().len() as u64);
        hash.fields().for_each(|field, value| {
            let deadline = hash.deadline(field);
            write::encode_field_deadline(&mut self.output.bytes, base, deadline);
            self.string(field);
            self.element(value);
        });
    }

    fn set(&mut self, set: SetRef<'_>) {
        write::encode_length(&mut self.output.bytes, set.len() as u64);
        set.for_each(|member| self.element(member));
    }

    /// From the highest score down, as Redis writes them.
    fn sorted_set(&mut self, set: SortedSetRef<'_>) {
        write::encode_length(&mut self.output.bytes, set.len() as u64);
        set.for_each(0..set.len(), true, |member, score| {
            self.string(member);
            write::encode_score(&mut self.output.bytes, score);
            self.output.relieve();
        });
    }
}
