//! The saver: one save at a time, each on a thread of its own, never silently lost.
//!
//! BGSAVE, SAVE, the save rules and the end of the server all come here. A save writes a temporary
//! file in the folder of the dump, syncs it, renames it over the dump and syncs the folder, so
//! that after a crash there is the old dump or the new one. Whatever fails, the temporary file is
//! thrown away, the old dump stays as it is, and the next save begins anew: after a failed fsync a
//! second one would succeed and mean nothing.

use crate::config::Config;
use crate::keyspace::{AfterUnlock, Keyspace, Uses};
use crate::persist::dump::{self, DumpOptions, SaveControl};
use crate::persist::file::{ClaimError, DumpFile};
use crate::persist::functions::FunctionStore;
use crate::persist::load::{self, LoadError, LoadProgress, Loaded};
use crate::util::clock::UnixMillis;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// While a busy script holds shards, it is tried again after this.
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// The niceness of a thread that saves. With 10 it gets a tenth of the time that a serving thread
/// gets when there are not enough cores for both.
const SAVER_NICENESS: i32 = 10;

/// Where the end of a save is told.
pub type SaveTicket = oneshot::Receiver<Result<(), SaveError>>;

/// Why there is no new dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveError {
    /// A save is already being written.
    AlreadyRunning,
    /// The dump was not loaded yet, or the server is ending.
    NotArmed,
    /// Writing the file failed.
    Io {
        /// What was being done.
        step: &'static str,
        /// The file it was done to.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// Entries changed faster than they were written, and the old forms that had to be kept
    /// needed more memory than allowed.
    Outgrown {
        /// What is allowed.
        bytes_max: u64,
    },
    /// The server is about to end and saves anew.
    Cancelled,
    /// The thread that was saving ended without a result.
    Panicked,
}

impl SaveError {
    /// An error of the system at one step of a save.
    pub(super) fn io(step: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { step, path: path.to_owned(), reason: error.to_string() }
    }
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRunning => f.write_str("a save is already in progress"),
            Self::NotArmed => f.write_str("there is nothing to save now"),
            Self::Io { step, path, reason } => {
                write!(f, "cannot {step} {}: {reason}", path.display())
            }
            Self::Outgrown { bytes_max } => write!(
                f,
                "the data changes faster than it is written: what the save has to keep beside it \
                 would need more than {bytes_max} bytes (my-redis-snapshot-memory)"
            ),
            Self::Cancelled => f.write_str("the save was cancelled"),
            Self::Panicked => f.write_str("the saving thread ended unexpectedly"),
        }
    }
}

impl std::error::Error for SaveError {}

/// What INFO says of saving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveFigures {
    /// When the last good save ended, in unix seconds.
    pub last_save_unix: i64,
    /// How long the last save took; `None` before the first.
    pub last_duration: Option<Duration>,
    /// How long the present save has been going on.
    pub current_duration: Option<Duration>,
    /// Keys that the present save has written, and how many there were when it began; 0 without.
    pub keys: (u64, u64),
    /// Whether the last save was good.
    pub last_ok: bool,
    /// Good saves since the start.
    pub saves: u64,
    /// The longest time for which the last save held a shard's lock, in microseconds.
    pub longest_hold_micros: u64,
}

#[derive(Debug, Default)]
struct State {
    /// False until the dump was loaded: a file that could not be read is never overwritten. False
    /// again after the end.
    armed: bool,
    running_since: Option<Instant>,
    /// What the save that runs writes: the dump may be moved meanwhile.
    running_file: Option<Arc<DumpFile>>,
    last_duration: Option<Duration>,
    last_try: Option<Instant>,
    last_save: Option<Instant>,
}

/// Saves the keyspace; see the head of the file.
#[derive(Debug)]
pub struct Saver {
    keyspace: Arc<Keyspace>,
    functions: Arc<dyn FunctionStore>,
    /// Changes of the libraries of functions since the last good save.
    function_changes: AtomicU64,
    file: Mutex<Arc<DumpFile>>,
    started: Instant,
    state: Mutex<State>,
    last_ok: AtomicBool,
    last_save_unix: AtomicI64,
    saves: AtomicU64,
    longest_hold_micros: AtomicU64,
    /// Set when a save should begin as soon as the present one has ended.
    scheduled: AtomicBool,
    control: SaveControl,
}

impl Saver {
    /// A saver that writes `file`; it refuses to until [`arm`](Self::arm) is called.
    #[must_use]
    pub fn new(keyspace: Arc<Keyspace>, functions: Arc<dyn FunctionStore>, file: DumpFile) -> Self {
        Self {
            keyspace,
            functions,
            function_changes: AtomicU64::new(0),
            file: Mutex::new(Arc::new(file)),
            started: Instant::now(),
            state: Mutex::default(),
            last_ok: AtomicBool::new(true),
            last_save_unix: AtomicI64::new(unix_seconds()),
            saves: AtomicU64::new(0),
            longest_hold_micros: AtomicU64::new(0),
            scheduled: AtomicBool::new(false),
            control: SaveControl::default(),
        }
    }

    /// Notes that the libraries of functions have changed.
    pub fn note_function_change(&self) {
        self.function_changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Changes since the last good save. Cost: O(shards), no locks.
    #[must_use]
    pub fn changes_since_save(&self) -> u64 {
        self.keyspace.changes_since_save() + self.function_changes.load(Ordering::SeqCst)
    }

    fn file(&self) -> Arc<DumpFile> {
        Arc::clone(&self.file.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The file that is written.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.file().path().to_owned()
    }

    /// Has the dump written to another place from the next save on; another server may have the old
    /// one as soon as no save writes to it.
    ///
    /// # Errors
    /// When another server has it, or the folder cannot be written; nothing has changed then.
    pub fn move_to(&self, path: PathBuf) -> Result<(), ClaimError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.path() != path {
            *file = Arc::new(DumpFile::claim(path)?);
            tracing::info!("the dump is {} from now on", file.path().display());
        }
        Ok(())
    }

    /// Allows saving: whatever the dump held is in the keyspace now.
    pub fn arm(&self) {
        self.state().armed = true;
    }

    /// Lets no further save begin. One that is running goes on.
    pub fn disarm(&self) {
        self.state().armed = false;
    }

    /// Lets another server have the dump. No save may be running or begin any more.
    pub fn release(&self) {
        self.file().release();
    }

    /// Removes the file that is being written, when the process must end in the middle of a save.
    pub fn remove_own_temporary(&self) {
        let running = self.state().running_file.clone();
        running.unwrap_or_else(|| self.file()).remove_own_temporary();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while a save is being written.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state().running_since.is_some()
    }

    /// Asks for a save as soon as the present one has ended.
    pub fn schedule(&self) {
        self.scheduled.store(true, Ordering::Relaxed);
    }

    /// True when a save was asked for and none runs; the question takes the request back.
    #[must_use]
    pub fn take_scheduled(&self) -> bool {
        !self.is_running() && self.scheduled.swap(false, Ordering::Relaxed)
    }

    /// True when a save was asked for that has not begun.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        self.scheduled.load(Ordering::Relaxed)
    }

    /// Makes a running save end early; the next one is not affected.
    pub fn cancel(&self) {
        self.control.cancelled.store(true, Ordering::Relaxed);
    }

    /// True while writes are refused because the last save failed.
    #[inline]
    #[must_use]
    pub fn refuses_writes(&self, config: &Config) -> bool {
        !self.last_ok.load(Ordering::Relaxed)
            && config.stop_writes_on_save_error()
            && config.saves_by_rules()
    }

    /// Time since the last save was begun, good or not; `None` before the first.
    #[must_use]
    pub fn since_last_try(&self) -> Option<Duration> {
        self.state().last_try.map(|at| at.elapsed())
    }

    /// Time since the last good save ended, or since the start.
    #[must_use]
    pub fn since_last_save(&self) -> Duration {
        self.state().last_save.map_or(self.started.elapsed(), |at| at.elapsed())
    }

    /// The figures for INFO.
    #[must_use]
    pub fn figures(&self) -> SaveFigures {
        let state = self.state();
        let keys = match state.running_since {
            None => (0, 0),
            Some(_) => (
                self.control.keys_done.load(Ordering::Relaxed),
                self.control.keys_total.load(Ordering::Relaxed),
            ),
        };
        SaveFigures {
            keys,
            last_save_unix: self.last_save_unix.load(Ordering::Relaxed),
            last_duration: state.last_duration,
            current_duration: state.running_since.map(|since| since.elapsed()),
            last_ok: self.last_ok.load(Ordering::Relaxed),
            saves: self.saves.load(Ordering::Relaxed),
            longest_hold_micros: self.longest_hold_micros.load(Ordering::Relaxed),
        }
    }

    /// Begins a save on a thread of its own; the moment of this call is what it will contain.
    ///
    /// # Errors
    /// `AlreadyRunning` while another one is being written, `NotArmed` before the dump was loaded,
    /// `Io` when no thread can be had.
    pub fn start(self: &Arc<Self>, options: DumpOptions) -> Result<SaveTicket, SaveError> {
        let file = self.file();
        {
            let mut state = self.state();
            if !state.armed {
                return Err(SaveError::NotArmed);
            }
            if state.running_since.is_some() {
                return Err(SaveError::AlreadyRunning);
            }
            state.running_since = Some(Instant::now());
            state.running_file = Some(Arc::clone(&file));
            state.last_try = state.running_since;
            self.control.cancelled.store(false, Ordering::Relaxed);
        }
        let (sender, ticket) = oneshot::channel();
        let saver = Arc::clone(self);
        let thread = std::thread::Builder::new().name("saver".to_owned());
        let spawned = thread.spawn(move || {
            let ending =
                Ending { saver: &saver, result: Err(SaveError::Panicked), sender: Some(sender) };
            ending.run(&file, &options);
        });
        if let Err(error) = spawned {
            let error = SaveError::io("start a thread to save", &self.path(), &error);
            self.end(&Err(error.clone()), 0);
            return Err(error);
        }
        Ok(ticket)
    }

    /// Puts the libraries of functions of a dump in the place of all that there are.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn replace_functions(
        &self,
        path: &Path,
        loaded: Option<Loaded>,
    ) -> Result<Option<Loaded>, LoadError> {
        let codes = loaded.as_ref().map_or(&[][..], |loaded| &loaded.functions);
        let refused = |error| LoadError::Function(path.to_owned(), error);
        self.functions.replace(codes).map_err(refused)?;
        Ok(loaded)
    }

    /// Replaces the data by what the dump holds, on a thread of its own; the caller keeps
    /// commands away meanwhile. When it fails nothing can be saved any more, so that the dump
    /// stays as it is.
    #[must_use]
    pub fn reload(
        self: &Arc<Self>,
        now: UnixMillis,
        uses: Uses,
    ) -> oneshot::Receiver<Result<(), LoadError>> {
        let (sender, receiver) = oneshot::channel();
        let saver = Arc::clone(self);
        let thread = std::thread::Builder::new().name("loader".to_owned());
        let spawned = thread.spawn(move || {
            saver.disarm();
            let mut after = AfterUnlock::default();
            while saver.keyspace.flush(&mut after).is_err() {
                std::thread::sleep(BUSY_RETRY);
            }
            drop(after);
            let progress = LoadProgress::default();
            let (path, cancelled) = (saver.path(), AtomicBool::new(false));
            let loaded =
                load::load(&saver.keyspace, &path, now, uses, &progress, &cancelled, |_| ())
                    .and_then(|loaded| saver.replace_functions(&path, loaded));
            match &loaded {
                Ok(loaded) => {
                    let keys = loaded.as_ref().map_or(0, |loaded| loaded.keys);
                    tracing::info!(keys, "loaded again");
                    saver.function_changes.store(0, Ordering::SeqCst);
                    saver.keyspace.forget_changes();
                    saver.arm();
                }
                Err(error) => tracing::error!("{error}"),
            }
            // Nobody may be waiting any more.
            let _nobody = sender.send(loaded.map(|_| ()));
        });
        if let Err(error) = spawned {
            tracing::error!("cannot start a thread to load the dump: {error}");
        }
        receiver
    }

    fn end(&self, result: &Result<(), SaveError>, hold_micros: u64) {
        let mut state = self.state();
        state.last_duration = state.running_since.take().map(|since| since.elapsed());
        state.running_file = None;
        if *result != Err(SaveError::Cancelled) {
            self.last_ok.store(result.is_ok(), Ordering::Relaxed);
        }
        if result.is_ok() {
            state.last_save = Some(Instant::now());
            self.last_save_unix.store(unix_seconds(), Ordering::Relaxed);
            self.saves.fetch_add(1, Ordering::Relaxed);
            self.longest_hold_micros.store(hold_micros, Ordering::Relaxed);
        }
    }
}

/// Tells the end of a save also when the thread panics.
struct Ending<'a> {
    saver: &'a Saver,
    result: Result<(), SaveError>,
    sender: Option<oneshot::Sender<Result<(), SaveError>>>,
}

impl Ending<'_> {
    fn run(mut self, file: &DumpFile, options: &DumpOptions) {
        give_way_to_clients();
        let saver = self.saver;
        let function_changes = saver.function_changes.load(Ordering::SeqCst);
        let (keyspace, functions) = (&saver.keyspace, &*saver.functions);
        let written = file
            .keep()
            .and_then(|()| dump::save(keyspace, functions, file.path(), options, &saver.control));
        if written.is_ok() {
            saver.function_changes.fetch_sub(function_changes, Ordering::SeqCst);
        }
        match &written {
            Ok(saved) => tracing::info!(
                keys = saved.keys,
                bytes = saved.bytes,
                millis = u64::try_from(saved.duration.as_millis()).unwrap_or(u64::MAX),
                "saved {}",
                file.path().display()
            ),
            Err(SaveError::Cancelled) => tracing::info!("the save was given up"),
            Err(error) => tracing::error!("saving failed: {error}"),
        }
        let hold = written.as_ref().map_or(0, |saved| saved.longest_hold_micros);
        self.result = written.map(|_| ());
        self.saver.end(&self.result, hold);
        self.tell();
    }

    fn tell(&mut self) {
        if let Some(sender) = self.sender.take() {
            // Nobody may be waiting any more.
            let _nobody = sender.send(self.result.clone());
        }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.sender.is_some() {
            tracing::error!("saving failed: {}", SaveError::Panicked);
            self.saver.end(&self.result, 0);
            self.tell();
        }
    }
}

/// Lowers the priority of this thread: while all cores are taken, a save costs clients little.
fn give_way_to_clients() {
    if let Err(error) = setpriority_process(Some(gettid()), SAVER_NICENESS) {
        tracing::debug!("the saver keeps its priority: {error}");
    }
}

fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
