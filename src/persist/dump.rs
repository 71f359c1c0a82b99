//! Writing the dump: the snapshot walk on one side, a file that survives a crash on the other.
//!
//! The walk copies a piece of the keyspace under a shard's lock; it is encoded and written when no
//! lock is held.

use crate::config::Config;
use crate::data::{HashRef, ListRef, SetRef, SortedSetRef, ValueRef};
use crate::keyspace::{Entry, Keyspace, ShardFigures};
use crate::persist::format::CHECKSUM_BYTES;
use crate::persist::lzf::Packer;
use crate::persist::saver::SaveError;
use crate::persist::write::{self, ChecksumWriter, Header, WrittenType};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
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
    let failed = |step, error| SaveError::io(step, &temporary.path, &error);
    let file = temporary.file.try_clone().map_err(|e| failed("write", e))?;
    let mut output = ChecksumWriter::new(file, options.checksum);
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
            temporary.file.sync_data().map_err(|e| failed("sync", e))?;
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
            ValueRef::Set(_) => WrittenType::Set,
            ValueRef::SortedSet(_) => WrittenType::ZSet,
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
            ValueRef::Set(set) => self.set(set),
            ValueRef::SortedSet(set) => self.sorted_set(set),
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

    fn set(&mut self, set: SetRef<'_>) {
        write::encode_length(&mut self.bytes, set.len() as u64);
        set.for_each(|member| self.string(member));
    }

    /// From the highest score down, as Redis writes them.
    fn sorted_set(&mut self, set: SortedSetRef<'_>) {
        write::encode_length(&mut self.bytes, set.len() as u64);
        set.for_each(0..set.len(), true, |member, score| {
            self.string(member);
            write::encode_score(&mut self.bytes, score);
        });
    }
}

/// The prefix of temporary files, in the folder of the dump.
const TEMPORARY_PREFIX: &str = "temp-";
const TEMPORARY_SUFFIX: &str = ".my_rdb";

/// A file that is removed again unless it takes the place of the dump.
struct TemporaryFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl TemporaryFile {
    /// Creates it in the folder of `target`, for nobody else to read.
    fn create(target: &Path) -> Result<Self, SaveError> {
        let path = temporary_path(target);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(|e| SaveError::io("create", &path, &e))?;
        Ok(Self { path, file, kept: false })
    }

    /// Makes it durable and puts it in the place of `target`.
    fn replace(mut self, target: &Path) -> Result<(), SaveError> {
        self.file.sync_all().map_err(|e| SaveError::io("sync", &self.path, &e))?;
        std::fs::rename(&self.path, target).map_err(|e| SaveError::io("rename", &self.path, &e))?;
        self.kept = true;
        let folder = folder_of(target);
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| SaveError::io("sync the folder", &folder, &e))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Finds out whether a dump at `target` could be written, by creating its temporary file.
///
/// # Errors
/// Those of the system.
pub fn check_writable(target: &Path) -> std::io::Result<()> {
    let path = temporary_path(target);
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)
}

/// Removes the temporary file of this process, when it must end in the middle of a save.
pub fn remove_own_temporary(target: &Path) {
    // It is there only while a save is running.
    let _absent = std::fs::remove_file(temporary_path(target));
}

fn temporary_path(target: &Path) -> PathBuf {
    let name = format!("{TEMPORARY_PREFIX}{}{TEMPORARY_SUFFIX}", std::process::id());
    folder_of(target).join(name)
}

/// Removes temporary files that servers which are gone have left beside `target`.
pub fn remove_stale_temporaries(target: &Path) {
    let Ok(files) = std::fs::read_dir(folder_of(target)) else { return };
    for file in files.flatten() {
        let name = file.file_name();
        let pid = name.to_str().and_then(|name| {
            name.strip_prefix(TEMPORARY_PREFIX)?.strip_suffix(TEMPORARY_SUFFIX)?.parse::<u32>().ok()
        });
        let Some(pid) = pid else { continue };
        let alive = pid != std::process::id() && Path::new(&format!("/proc/{pid}")).exists();
        if !alive {
            match std::fs::remove_file(file.path()) {
                Ok(()) => tracing::info!("removed {}, left by a crash", file.path().display()),
                Err(e) => tracing::warn!("cannot remove {}: {e}", file.path().display()),
            }
        }
    }
}
