//! Reading the dump into the keyspace at the start.
//!
//! Only a file that is not there means an empty start. One that cannot be read whole, for whatever
//! reason, is left alone and the server does not start: starting without it would overwrite it
//! with the next save.

use crate::data::list::End;
use crate::data::{Hash, List, Value};
use crate::keyspace::{AfterUnlock, DatabaseNumber, Keyspace};
use crate::persist::error::{RdbError, Reason};
use crate::persist::format::kind_name;
use crate::persist::read::{ChecksumState, Entry, Item, RdbReader, ReadOptions};
use crate::persist::value::RdbValue;
use crate::util::clock::UnixMillis;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why the dump was not loaded.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be opened.
    Open(PathBuf, io::Error),
    /// It is not one that this server can keep.
    Refused(PathBuf, RdbError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(path, error) => write!(f, "cannot open {}: {error}", path.display()),
            Self::Refused(path, error) => write!(
                f,
                "cannot load {}: {error}. The file is left as it is; move it away to start empty",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LoadError {}

/// How far loading has come; others read it meanwhile.
#[derive(Debug, Default)]
pub struct LoadProgress {
    /// Length of the file.
    pub total_bytes: AtomicU64,
    /// Bytes read so far.
    pub loaded_bytes: AtomicU64,
    /// Keys so far.
    pub loaded_keys: AtomicU64,
    /// Keys left out because their deadline had passed; known at the end.
    pub expired_keys: AtomicU64,
}

/// A dump that was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that are now in the keyspace.
    pub keys: u64,
    /// Keys that were left out because their deadline had passed.
    pub expired: u64,
    /// Length of the file.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
    /// True when the file has no checksum: damage would have gone unnoticed.
    pub unchecked: bool,
}

/// Keys between two looks at the progress.
const PROGRESS_KEYS: u64 = 1_024;

/// Loads the dump at `path`; `None` when there is no such file.
///
/// `report` is called from time to time while it goes on. Cost: O(bytes).
///
/// # Errors
/// When the file cannot be read whole; the keyspace then holds part of it.
pub fn load(
    keyspace: &Keyspace,
    path: &Path,
    now: UnixMillis,
    progress: &LoadProgress,
    mut report: impl FnMut(&LoadProgress),
) -> Result<Option<Loaded>, LoadError> {
    let began = Instant::now();
    let opened = |error| LoadError::Open(path.to_owned(), error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(opened)?,
    };
    let bytes = file.metadata().map_err(opened)?.len();
    progress.total_bytes.store(bytes, Ordering::Relaxed);
    let refused = |error| LoadError::Refused(path.to_owned(), error);
    let database_count = keyspace.database_count() as u64;
    let options = ReadOptions { database_count, ..ReadOptions::default() };
    let mut reader = RdbReader::new(file, bytes, options).map_err(refused)?;
    let mut after = AfterUnlock::default();
    let (mut keys, mut expired, mut unchecked) = (0, 0, false);
    let mut database = 0;
    while let Some(item) = reader.next_item().map_err(refused)? {
        match item {
            Item::Entry(entry) if entry.deadline_ms.is_some_and(|ms| ms <= now.0) => expired += 1,
            Item::Entry(entry) => {
                add(keyspace, database, entry, &mut after).map_err(refused)?;
                keys += 1;
                if keys % PROGRESS_KEYS == 0 {
                    progress.loaded_bytes.store(reader.offset(), Ordering::Relaxed);
                    progress.loaded_keys.store(keys, Ordering::Relaxed);
                    report(progress);
                }
            }
            Item::EmptyCollection { key } => {
                let key = String::from_utf8_lossy(&key).into_owned();
                tracing::warn!("the dump holds an empty collection at {key:?}; left out");
            }
            Item::End(state) => unchecked = state == ChecksumState::Absent,
            // The reader has refused a number that there is not.
            Item::SelectDb(number) => database = DatabaseNumber::try_from(number).unwrap_or(0),
            Item::Aux { .. } | Item::ResizeDb { .. } => {}
        }
    }
    progress.loaded_bytes.store(bytes, Ordering::Relaxed);
    progress.loaded_keys.store(keys, Ordering::Relaxed);
    progress.expired_keys.store(expired, Ordering::Relaxed);
    Ok(Some(Loaded { keys, expired, bytes, duration: began.elapsed(), unchecked }))
}

fn add(
    keyspace: &Keyspace,
    database: DatabaseNumber,
    entry: Entry,
    after: &mut AfterUnlock,
) -> Result<(), RdbError> {
    let Entry { offset, kind, key, deadline_ms, value } = entry;
    let value = match value {
        RdbValue::String(bytes) => Value::String(bytes.into()),
        RdbValue::List(elements) => {
            let mut list = List::new();
            let pushed: Result<(), RdbError> = elements.consume(|element| {
                list.push(End::Right, element);
                Ok(())
            });
            pushed?;
            Value::List(list)
        }
        RdbValue::Hash(pairs) => {
            let mut hash = Hash::new();
            let set: Result<(), RdbError> = pairs.consume(|field, value| {
                hash.set(field, value);
                Ok(())
            });
            set?;
            Value::Hash(hash)
        }
        RdbValue::Set(_) | RdbValue::ZSet(_) => {
            let reason = Reason::UnsupportedType { code: kind, name: kind_name(kind) };
            return Err(RdbError { offset, key: Some(key), reason });
        }
    };
    let deadline = deadline_ms.map(UnixMillis);
    keyspace.load(database, &key, value, deadline, after).map_err(|_| RdbError {
        offset,
        key: Some(key),
        reason: Reason::DuplicateKey,
    })
}
