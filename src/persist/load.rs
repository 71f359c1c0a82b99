//! Reading the dump into the keyspace at the start, on all cores.
//!
//! Only a file that is not there means an empty start. One that cannot be read whole, for whatever
//! reason, is left alone and the server does not start: starting without it would overwrite it
//! with the next save.
//!
//! ```text
//!                 blocks of whole records
//!   file -> reader =====================> worker: decode, group by shard, add
//!             |  '---- parts of a value -> worker: build, add
//!             '- decodes the few records that are neither
//! ```
//!
//! The reader sums up the checksum and finds where records end, which takes it a fraction of the
//! time that decoding takes; workers get the buffers themselves and decode them in place. A value
//! too long for a buffer is decoded by the reader and built by a worker, part by part.
//!
//! Every thread reports the fault that it meets, and the one with the smallest offset is told.
//! Workers that are at work on what comes before a fault go on to their block's end, so that this
//! is the fault that reading in order would have met first.
//!
//! Memory besides the data: for each worker two buffers and what one of them unpacks to, and
//! [`PARTS_QUEUED`] parts of a value.

use crate::keyspace::{AfterUnlock, DatabaseNumber, Entry, Keyspace, LastUse, LoadBatch, Uses};
use crate::persist::build::Builder;
use crate::persist::error::{RdbError, Reason, Shown};
use crate::persist::read::{ChecksumState, Item, RdbReader, ReadOptions};
use crate::persist::read::{KeyHead, PlainString, Record};
use crate::persist::source::{BUFFER_BYTES, Block};
use crate::persist::value::{DuplicateFinder, RdbValue, StoredUse};
use crate::util::clock::UnixMillis;
use crate::util::hash::KeyHash;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::io::Empty;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// More workers than this have nothing to do: one reader cannot feed them.
const WORKERS_MAX: usize = 16;
/// A value that is longer than this is built by a worker while the reader goes on decoding it.
const PART_BYTES: usize = 256 * 1024;
/// Parts of a value that wait for their worker.
const PARTS_QUEUED: usize = 4;
/// The reader adds its own keys when it has so many.
const OWN_KEYS_MAX: usize = 256;
/// So many empty collections are named in the log.
const EMPTY_COLLECTIONS_NAMED: u64 = 8;

/// Why the dump was not loaded.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be opened.
    Open(PathBuf, io::Error),
    /// It is not one that this server can keep.
    Refused(PathBuf, RdbError),
    /// A library of functions in it cannot be used.
    Function(PathBuf, String),
    /// Whoever asked for it does not want it any more.
    Cancelled,
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
            Self::Function(path, error) => write!(
                f,
                "cannot load a library of functions of {}: {error}. The file is left as it is",
                path.display()
            ),
            Self::Cancelled => f.write_str("loading was given up"),
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
    /// Keys left out so far because their deadline had passed.
    pub expired_keys: AtomicU64,
}

impl LoadProgress {
    fn begin(&self, total_bytes: u64) {
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        for figure in [&self.loaded_bytes, &self.loaded_keys, &self.expired_keys] {
            figure.store(0, Ordering::Relaxed);
        }
    }
}

/// A dump that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The code of the libraries of functions, which are still to be put where they belong.
    pub functions: Vec<Vec<u8>>,
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

/// Loads the dump at `path` on all cores; `None` when there is no such file.
///
/// `uses` says how uses of keys are noted at this moment. `report` is called from time to time
/// while it goes on. Once `cancelled` is set it ends as soon as the pieces at hand are done. Cost:
/// O(bytes).
///
/// # Errors
/// When the file cannot be read whole, or loading was cancelled; the keyspace then holds part of
/// it.
pub fn load(
    keyspace: &Keyspace,
    path: &Path,
    now: UnixMillis,
    uses: Uses,
    progress: &LoadProgress,
    cancelled: &AtomicBool,
    report: impl FnMut(&LoadProgress),
) -> Result<Option<Loaded>, LoadError> {
    load_with(
        LoadOptions { uses, ..LoadOptions::for_machine() },
        keyspace,
        path,
        now,
        progress,
        cancelled,
        report,
    )
}

/// How to load; the server has no reason to load in another way than
/// [`for_machine`](Self::for_machine), but tests have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads besides the calling one, fewer for a small file; without any, that one does it all.
    pub workers_max: usize,
    /// The size of a block; a smaller file is one block.
    pub block_bytes: usize,
    /// A value that does not fit in a block is built in parts of about this size.
    pub part_bytes: usize,
    /// As in [`ReadOptions`].
    pub verify_checksum: bool,
    /// By what the uses are kept that the dump tells of, and the moment.
    pub uses: Uses,
}

impl LoadOptions {
    /// The fastest way on this machine.
    #[must_use]
    pub fn for_machine() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            // The only core is the reader's.
            workers_max: if cores == 1 { 0 } else { cores.min(WORKERS_MAX) },
            block_bytes: BUFFER_BYTES,
            part_bytes: PART_BYTES,
            verify_checksum: true,
            uses: Uses::NONE,
        }
    }
}

/// As [`load`], in another way.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    options: LoadOptions,
    keyspace: &Keyspace,
    path: &Path,
    now: UnixMillis,
    progress: &LoadProgress,
    cancelled: &AtomicBool,
    mut report: impl FnMut(&LoadProgress),
) -> Result<Option<Loaded>, LoadError> {
    let began = Instant::now();
    let opened = |error| LoadError::Open(path.to_owned(), error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(opened)?,
    };
    let bytes = file.metadata().map_err(opened)?.len();
    progress.begin(bytes);
    let shared = Shared {
        options,
        keyspace,
        now,
        progress,
        cancelled,
        faults: Mutex::default(),
        faulty: AtomicBool::new(false),
        empty_collections: AtomicU64::new(0),
    };
    let read = read_with_workers(&shared, file, bytes, &mut report);
    if let Some(fault) = shared.into_fault(path, bytes) {
        return Err(LoadError::Refused(path.to_owned(), fault));
    }
    let Some((state, functions)) = read else {
        return Err(LoadError::Cancelled);
    };
    Ok(Some(Loaded {
        functions,
        keys: progress.loaded_keys.load(Ordering::Relaxed),
        expired: progress.expired_keys.load(Ordering::Relaxed),
        bytes,
        duration: began.elapsed(),
        unchecked: state == ChecksumState::Absent,
    }))
}

/// What the threads of one loading share.
struct Shared<'a> {
    options: LoadOptions,
    keyspace: &'a Keyspace,
    now: UnixMillis,
    progress: &'a LoadProgress,
    cancelled: &'a AtomicBool,
    faults: Mutex<Faults>,
    faulty: AtomicBool,
    empty_collections: AtomicU64,
}

/// Of each sort of fault the one with the smallest offset so far.
#[derive(Default)]
struct Faults {
    first: Option<RdbError>,
    /// A key that was there already when it was added, which says nothing about which of the two
    /// comes second in the file.
    twice: Option<RdbError>,
}

impl Shared<'_> {
    fn note(&self, error: RdbError) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match error.reason {
            Reason::DuplicateKey => &mut faults.twice,
            _ => &mut faults.first,
        };
        if place.as_ref().is_none_or(|first| error.offset < first.offset) {
            *place = Some(error);
        }
        self.faulty.store(true, Ordering::Relaxed);
    }

    /// Whether there is no need to go on reading.
    fn must_stop(&self) -> bool {
        self.faulty.load(Ordering::Relaxed) || self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether what stands at `offset` matters no more. What comes before a fault does: there may
    /// be another one in it, and the first one is told.
    fn is_past(&self, offset: u64) -> bool {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        self.cancelled.load(Ordering::Relaxed)
            || faults.first.as_ref().is_some_and(|first| first.offset < offset)
    }

    /// The fault that reading in order would have met first.
    fn into_fault(self, path: &Path, bytes: u64) -> Option<RdbError> {
        let now = self.now;
        let Faults { first, twice } =
            self.faults.into_inner().unwrap_or_else(PoisonError::into_inner);
        let database_count = self.keyspace.database_count() as u64;
        let options =
            ReadOptions { verify_checksum: false, check_duplicates: false, database_count };
        let twice = twice.map(|found| second_place(path, bytes, options, now, found));
        [first, twice].into_iter().flatten().min_by_key(|error| error.offset)
    }

    fn note_empty(&self, key: &[u8]) {
        match self.empty_collections.fetch_add(1, Ordering::Relaxed) {
            0..EMPTY_COLLECTIONS_NAMED => {
                let key = Shown(key);
                tracing::warn!("the dump holds an empty collection at {key}; left out");
            }
            EMPTY_COLLECTIONS_NAMED => {
                tracing::warn!("the dump holds more empty collections; left out");
            }
            _ => {}
        }
    }

    /// The use of a key; one of which the dump does not tell is new.
    fn last_use(&self, stored: Option<StoredUse>) -> LastUse {
        let uses = self.options.uses;
        match stored {
            Some(StoredUse::IdleSeconds(seconds)) if !uses.is_by_frequency() => {
                uses.of_idle(seconds)
            }
            Some(StoredUse::Count(count)) if uses.is_by_frequency() => uses.of_count(count),
            _ => uses.of_new(),
        }
    }

    fn is_expired(&self, deadline_ms: Option<i64>) -> bool {
        deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.now.0)
    }
}

/// What the reader hands to a worker.
enum Job {
    /// Records of one database to decode and to add.
    Block(DatabaseNumber, Block),
    /// A value that comes part by part.
    Value(DatabaseNumber, KeyHead, mpsc::Receiver<RdbValue>),
}

/// Decodes blocks and builds values.
struct Worker<'a> {
    adder: Adder<'a>,
    blocks: RdbReader<Empty>,
}

impl Worker<'_> {
    /// Works until the reader has no more to do. `empties` takes back the buffers of blocks.
    fn work(mut self, jobs: &Mutex<mpsc::Receiver<Job>>, empties: &mpsc::Sender<Vec<u8>>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match job {
                Ok(Job::Block(database, block)) => {
                    self.adder.database = database;
                    let buffer = self.add_block(block);
                    // The reader may have come to its end.
                    let _unwanted = empties.send(buffer);
                }
                Ok(Job::Value(database, head, parts)) => {
                    self.adder.database = database;
                    self.add_value(head, &parts);
                }
                Err(mpsc::RecvError) => return,
            }
        }
    }

    /// Adds the records of a block; returns its buffer.
    fn add_block(&mut self, block: Block) -> Vec<u8> {
        let is_past = self.adder.shared.is_past(block.offset);
        self.blocks.begin_block(block);
        if !is_past {
            if let Err(error) = self.decode_block() {
                self.adder.shared.note(error);
            }
            self.adder.settle();
        }
        self.blocks.begin_block(Block::default())
    }

    fn decode_block(&mut self) -> Result<(), RdbError> {
        while !self.blocks.is_at_block_end() {
            if let Some(string) = self.blocks.next_plain_string() {
                self.adder.add_string(string);
            } else if let Some(Record::Key(head)) = self.blocks.next_record()? {
                let part_bytes = self.adder.shared.options.part_bytes;
                self.adder.add_value(head, self.blocks.parts(part_bytes))?;
            }
        }
        Ok(())
    }

    /// Adds a value whose parts the reader sends.
    fn add_value(&mut self, head: KeyHead, parts: &mpsc::Receiver<RdbValue>) {
        if !self.adder.shared.is_past(head.offset) {
            if let Err(error) = self.adder.add_value(head, parts.iter().map(Ok)) {
                self.adder.shared.note(error);
            }
            self.adder.settle();
        }
    }
}

/// Gathers keys that were read and adds them to the keyspace.
struct Adder<'a> {
    shared: &'a Shared<'a>,
    /// The one that the keys are of.
    database: DatabaseNumber,
    batch: LoadBatch,
    after: AfterUnlock,
    finder: DuplicateFinder,
}

impl<'a> Adder<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            database: 0,
            batch: LoadBatch::new(shared.keyspace),
            after: AfterUnlock::default(),
            finder: DuplicateFinder::new(),
        }
    }

    fn add_string(&mut self, string: PlainString<'_>) {
        let PlainString { offset, key, deadline_ms, last_use, value } = string;
        if self.shared.is_expired(deadline_ms) {
            self.shared.progress.expired_keys.fetch_add(1, Ordering::Relaxed);
        } else {
            let entry = Entry::string(key, value, deadline_ms.map(UnixMillis), 0);
            let entry = entry.with_last_use(self.shared.last_use(last_use));
            self.batch.add(self.shared.keyspace, self.database, offset, entry);
        }
    }

    /// Adds a value that comes in `parts`.
    fn add_value(
        &mut self,
        head: KeyHead,
        parts: impl Iterator<Item = Result<RdbValue, RdbError>>,
    ) -> Result<(), RdbError> {
        let KeyHead { offset, key, deadline_ms, last_use, .. } = head;
        let refused = |reason| RdbError::new(offset, reason).at_key(&key);
        let mut builder = None;
        for part in parts {
            let part = part.map_err(|error| error.at_key(&key))?;
            match &mut builder {
                // It is read all the same: there is no other way to what comes after it.
                _ if self.shared.is_expired(deadline_ms) => {}
                None if part.is_empty() => {}
                None => {
                    let first = Builder::new(part, &mut self.finder).map_err(refused)?;
                    builder = Some(first);
                }
                Some(builder) => builder.add(part).map_err(refused)?,
            }
        }
        if let Some(builder) = builder {
            let deadline = deadline_ms.map(UnixMillis);
            let entry = Entry::new(&key, builder.finish(), deadline, 0);
            let entry = entry.with_last_use(self.shared.last_use(last_use));
            self.batch.add(self.shared.keyspace, self.database, offset, entry);
        } else if self.shared.is_expired(deadline_ms) {
            self.shared.progress.expired_keys.fetch_add(1, Ordering::Relaxed);
        } else {
            self.shared.note_empty(&key);
        }
        Ok(())
    }

    /// Moves what was gathered into the keyspace.
    fn settle(&mut self) {
        let shared = self.shared;
        let added = shared.keyspace.load(&mut self.batch, &mut self.after, |offset, key| {
            shared.note(RdbError::new(offset, Reason::DuplicateKey).at_key(key));
        });
        shared.progress.loaded_keys.fetch_add(added, Ordering::Relaxed);
    }
}

/// The calling thread's part: it reads the file in order.
struct Reading<'a> {
    own: Adder<'a>,
    reader: RdbReader<File>,
    /// `None` without workers.
    jobs: Option<mpsc::SyncSender<Job>>,
    /// Buffers that workers are done with.
    empties: mpsc::Receiver<Vec<u8>>,
    /// The code of the libraries so far.
    functions: Vec<Vec<u8>>,
}

/// What the end of the file said, and the code of all libraries of functions.
type FileEnd = (ChecksumState, Vec<Vec<u8>>);

/// Reads the whole file; `None` when that was given up, because of a fault that was noted or
/// because it was cancelled.
fn read_with_workers(
    shared: &Shared<'_>,
    file: File,
    bytes: u64,
    report: &mut impl FnMut(&LoadProgress),
) -> Option<FileEnd> {
    let LoadOptions { workers_max, block_bytes, verify_checksum, .. } = shared.options;
    let blocks = usize::try_from(bytes).unwrap_or(usize::MAX) / block_bytes.max(1);
    let workers = workers_max.min(blocks);
    let database_count = shared.keyspace.database_count() as u64;
    let options = ReadOptions { verify_checksum, database_count, ..ReadOptions::default() };
    thread::scope(|scope| {
        let (give_back, empties) = mpsc::channel();
        let (sender, jobs) = mpsc::sync_channel(workers);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut started = 0;
        for _ in 0..workers {
            let (jobs, give_back) = (Arc::clone(&jobs), give_back.clone());
            let work = move || {
                let blocks = RdbReader::of_blocks(bytes);
                Worker { adder: Adder::new(shared), blocks }.work(&jobs, &give_back);
            };
            // Fewer threads than cores will do as well.
            let Ok(_) = thread::Builder::new().name("loader".into()).spawn_scoped(scope, work)
            else {
                break;
            };
            started += 1;
        }
        // Only workers hold the other end, so that sending fails when none is left.
        drop(jobs);
        let reader = RdbReader::with_buffer(file, bytes, options, block_bytes);
        let state = reader.and_then(|reader| {
            let own = Adder::new(shared);
            let jobs = (started > 0).then_some(sender);
            Reading { own, reader, jobs, empties, functions: Vec::new() }.read(report)
        });
        state.unwrap_or_else(|error| {
            shared.note(error);
            None
        })
    })
}

impl Reading<'_> {
    fn read(mut self, report: &mut impl FnMut(&LoadProgress)) -> Result<Option<FileEnd>, RdbError> {
        let shared = self.own.shared;
        let mut state = None;
        let mut read = Ok(());
        while state.is_none() && read.is_ok() && !shared.must_stop() {
            read = self.step(&mut state, report);
            shared.progress.loaded_bytes.store(self.reader.offset(), Ordering::Relaxed);
            report(shared.progress);
        }
        self.own.settle();
        read.map(|()| state.map(|state| (state, self.functions)))
    }

    /// Hands out one block or reads one record.
    fn step(
        &mut self,
        state: &mut Option<ChecksumState>,
        report: &mut impl FnMut(&LoadProgress),
    ) -> Result<(), RdbError> {
        let empties = &self.empties;
        let other = || empties.try_recv().unwrap_or_default();
        if let Some(jobs) = &self.jobs
            && let Some(block) = self.reader.give_away_records(other)?
        {
            // It fails when every worker has panicked, which the end of their scope passes on.
            let _no_workers = jobs.send(Job::Block(self.own.database, block));
            return Ok(());
        }
        if let Some(string) = self.reader.next_plain_string() {
            self.own.add_string(string);
        } else {
            match self.reader.next_record()? {
                Some(Record::Key(head)) => self.read_value(head, report)?,
                Some(Record::Other(Item::End(found))) => *state = Some(found),
                Some(Record::Other(Item::SelectDb(number))) => {
                    // The reader refuses numbers that are not there.
                    self.own.database = DatabaseNumber::try_from(number).unwrap_or(0);
                }
                Some(Record::Other(Item::Function { code })) => self.functions.push(code),
                Some(Record::Other(_)) | None => {}
            }
        }
        if self.own.batch.len() >= OWN_KEYS_MAX {
            self.own.settle();
        }
        Ok(())
    }

    /// Reads a value and adds it, or lets a worker do so if it is long.
    fn read_value(
        &mut self,
        head: KeyHead,
        report: &mut impl FnMut(&LoadProgress),
    ) -> Result<(), RdbError> {
        let (shared, reader) = (self.own.shared, &mut self.reader);
        let mut next_part = || {
            if !reader.has_more_parts() || shared.must_stop() {
                return None;
            }
            let part = reader.next_part(shared.options.part_bytes);
            shared.progress.loaded_bytes.store(reader.offset(), Ordering::Relaxed);
            report(shared.progress);
            Some((part, reader.has_more_parts()))
        };
        let Some(jobs) = &self.jobs else {
            let parts = std::iter::from_fn(next_part).map(|(part, _)| part);
            return self.own.add_value(head, parts);
        };
        let first = next_part();
        let Some((Ok(first), true)) = first else {
            return self.own.add_value(head, first.into_iter().map(|(part, _)| part));
        };
        let key = head.key.clone();
        let (sender, receiver) = mpsc::sync_channel(PARTS_QUEUED);
        let job = Job::Value(self.own.database, head, receiver);
        let mut sent = jobs.send(job).is_ok() && sender.send(first).is_ok();
        while sent && let Some((part, _)) = next_part() {
            // It fails when the worker has noted a fault.
            sent = sender.send(part.map_err(|error| error.at_key(&key))?).is_ok();
        }
        Ok(())
    }
}

/// Where in a file in which `found` is true, a key that is there twice, the first such key comes
/// for the second time; or what keeps from reading that far.
///
/// Cost: reading up to there, and up to 18 bytes of memory for each key.
fn second_place(
    path: &Path,
    bytes: u64,
    options: ReadOptions,
    now: UnixMillis,
    found: RdbError,
) -> RdbError {
    let again = || -> Result<Option<RdbError>, RdbError> {
        let file = File::open(path).map_err(|e| RdbError::new(0, Reason::Io(e)))?;
        let mut reader = RdbReader::new(file, bytes, options)?;
        let mut seen: HashSet<(u64, u64)> = HashSet::new();
        let mut database = 0;
        while let Some(item) = reader.next_item()? {
            if let Item::SelectDb(number) = item {
                database = number;
            } else if let Item::Entry(entry) = item
                && entry.deadline_ms.is_none_or(|deadline_ms| deadline_ms > now.0)
                && !seen.insert((database, KeyHash::of_key(&entry.key).to_bits()))
            {
                let twice = RdbError::new(entry.offset, Reason::DuplicateKey);
                return Ok(Some(twice.at_key(&entry.key)));
            }
        }
        Ok(None)
    };
    match again() {
        Ok(None) => found,
        Ok(Some(first)) | Err(first) => first,
    }
}
