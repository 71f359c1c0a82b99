//! Writing the dump: the snapshot walk.
//!
//! The walk copies a piece of the keyspace under a shard's lock; it is encoded and written when no
//! lock is held.

use crate::config::Config;
use crate::data::{HashRef, ListRef, ValueRef};
use crate::keyspace::{Entry, Keyspace, ShardFigures};
use crate::persist::file::TemporaryFile;
use crate::persist::format::CHECKSUM_BYTES;
use crate::persist::lzf::Packer;
use crate::persist::saver::SaveError;
use crate::persist::write::{self, ChecksumWriter, Header, WrittenType};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Encoded bytes are written out when there are this many.
const WRITE_BYTES: usize = 1024 * 1024;
/// The file is synced whenever this much was written, to avoid one long wait at the end.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;

/// How a dump is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpOptions {
    /// Pack long strings (rdbcompression).
    pub compress: bool,
    /// End with a checksum (rdbchecksum).
    pub checksum: bool,
}

impl From<&Config> for DumpOptions {
    /// As the present options say.
    fn from(config: &Config) -> Self {
        Self { compress: config.rdb_compression(), checksum: config.rdb_checksum() }
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
/// Cost: O(keys), one segment of a shard locked at a time.
///
/// # Errors
/// Any error of the system, or `Cancelled` once `cancelled` is true; the file at `path` is then the
/// old one and no other file is left.
pub fn save(
    keyspace: &Keyspace,
    path: &Path,
    options: &DumpOptions,
    cancelled: &AtomicBool,
) -> Result<Saved, SaveError> {
    let began = Instant::now();
    let temporary = TemporaryFile::create(path)?;
    let failed = |step, error| SaveError::io(step, temporary.path(), &error);
    let mut output = ChecksumWriter::new(&temporary, options.checksum);
    let mut snapshot = keyspace.begin_snapshot().ok_or(SaveError::AlreadyRunning)?;
    let mut encoder = Encoder::new(options.compress);
    write::encode_header(&mut encoder.bytes, &header(keyspace));
    let mut synced = 0;
    let mut more = true;
    while more {
        if cancelled.load(Ordering::Relaxed) {
            return Err(SaveError::Cancelled);
        }
        more = snapshot.step(&mut |entry| encoder.entry(entry));
        if encoder.bytes.len() >= WRITE_BYTES || !more {
            output.write_all(&encoder.bytes).map_err(|e| failed("write", e))?;
            encoder.bytes.clear();
        }
        if output.written_bytes() - synced >= SYNC_BYTES {
            synced = output.written_bytes();
            temporary.sync_data().map_err(|e| failed("sync", e))?;
        }
    }
    let mut end = Vec::new();
    write::encode_end(&mut end);
    output.write_all(&end).map_err(|e| failed("write", e))?;
    let bytes = output.written_bytes() + CHECKSUM_BYTES as u64;
    output.finish().and_then(|mut file| file.flush()).map_err(|e| failed("write", e))?;
    let epoch = snapshot.epoch();
    let longest_hold = snapshot.longest_hold();
    drop(snapshot);
    temporary.replace(path)?;
    keyspace.forget_saved_changes(epoch);
    Ok(Saved {
        keys: encoder.keys,
        bytes,
        duration: began.elapsed(),
        longest_hold_micros: u64::try_from(longest_hold.as_micros()).unwrap_or(u64::MAX),
    })
}

fn header(keyspace: &Keyspace) -> Header<'static> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Header {
        server_version: env!("CARGO_PKG_VERSION"),
        created_seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        used_memory_bytes: 0,
        key_count: keyspace.figures().map(ShardFigures::keys).sum(),
        deadline_count: keyspace.figures().map(ShardFigures::with_deadline).sum(),
    }
}

/// Encodes entries into memory.
struct Encoder {
    bytes: Vec<u8>,
    packer: Option<Packer>,
    keys: u64,
}

impl Encoder {
    fn new(compress: bool) -> Self {
        Self { bytes: Vec::new(), packer: compress.then(Packer::new), keys: 0 }
    }

    fn entry(&mut self, entry: &Entry) {
        self.keys += 1;
        let deadline_ms = entry.deadline().map(|deadline| deadline.0);
        let value = entry.value();
        let head = match value {
            ValueRef::String(_) => WrittenType::String,
            ValueRef::List(_) => WrittenType::List,
            ValueRef::Hash(_) => WrittenType::Hash,
        };
        write::encode_key_prefix(
            &mut self.bytes,
            head,
            deadline_ms,
            entry.key(),
            self.packer.as_mut(),
        );
        match value {
            ValueRef::String(string) => self.string(string.bytes()),
            ValueRef::List(list) => self.list(list),
            ValueRef::Hash(hash) => self.hash(hash),
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        write::encode_string(&mut self.bytes, bytes, self.packer.as_mut());
    }

    fn list(&mut self, list: ListRef<'_>) {
        write::encode_length(&mut self.bytes, list.len() as u64);
        list.for_each(0, usize::MAX, |element| self.string(element));
    }

    fn hash(&mut self, hash: HashRef<'_>) {
        write::encode_length(&mut self.bytes, hash.len() as u64);
        hash.for_each(|field, value| {
            self.string(field);
            self.string(value);
        });
    }
}
