//! The file of the dump: whose it is, and how it is replaced so that after a crash at any moment
//! the old one or the new one is there.
//!
//! ```text
//!   dump.my_rdb             the dump
//!   dump.my_rdb.lock        locked as long as a server uses the dump
//!   dump.my_rdb.4711.temp   the next dump, while process 4711 writes it
//! ```
//!
//! The lock is of the system, so it ends with the process however that ends. The lock file stays
//! when the server ends: to remove it would let two servers lock two files of one name. Whoever
//! holds the lock knows that every other temporary file of the dump was left by a crash; a number
//! of a process says nothing, because the system uses it again and containers have their own.

use crate::persist::planted::{self, Bug};
use crate::persist::saver::SaveError;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a server adds to the dump's name for its lock file.
const LOCK_SUFFIX: &str = ".lock";
/// The end of the names of temporary files.
const TEMPORARY_SUFFIX: &str = ".temp";
/// Only the owner may read what the server writes.
const MODE: u32 = 0o600;
/// The system follows no more links than this either.
const LINKS_MAX: usize = 40;
/// The lock file may be taken away while it is being locked; more often than this nobody does.
const LOCK_TRIES_MAX: usize = 10;

/// The folder's absolute path, and that of the dump of this name in it.
///
/// # Errors
/// When there is no such folder, or the name cannot be a dump's.
pub fn place(folder: &Path, name: &OsStr) -> io::Result<(PathBuf, PathBuf)> {
    let folder = folder.canonicalize()?;
    if !folder.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    let path = target_of(folder.join(name));
    if path.is_dir() {
        return Err(io::Error::other("the dump's name is a folder's"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if is_reserved(&name) {
        let error = "names ending in .lock and .temp are for the server's own files";
        return Err(io::Error::other(error));
    }
    Ok((folder, path))
}

/// Where a link leads: a save would put a file in the place of the link, but the file that it
/// points to is meant, even when that one is not there yet.
fn target_of(mut path: PathBuf) -> PathBuf {
    for _ in 0..LINKS_MAX {
        let Ok(target) = path.read_link() else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
            && let Ok(folder) = folder.canonicalize()
        {
            path = folder.join(name);
        }
    }
    path
}

/// True if a dump of this name could be taken for another dump's lock or temporary file.
fn is_reserved(name: &str) -> bool {
    name.ends_with(LOCK_SUFFIX) || name.ends_with(TEMPORARY_SUFFIX)
}

/// Why a dump cannot be used.
#[derive(Debug)]
pub enum ClaimError {
    /// Another server uses it.
    InUse {
        /// The dump.
        path: PathBuf,
        /// That server's process, as its lock file says.
        process: Option<u32>,
    },
    /// The system refused something.
    Io {
        /// What was being done.
        step: &'static str,
        /// The file it was done to.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, process } => {
                write!(f, "another server")?;
                if let Some(process) = process {
                    write!(f, " (process {process})")?;
                }
                write!(f, " uses the dump {}", path.display())
            }
            Self::Io { step, path, error } => {
                write!(f, "cannot {step} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ClaimError {}

/// A dump that this server alone may write.
#[derive(Debug)]
pub struct DumpFile {
    path: PathBuf,
    /// `None` where the file system has no locks, and after the end.
    lock: Mutex<Option<File>>,
}

impl DumpFile {
    /// Takes the dump at `path`, an absolute path without links, for this server; removes what a
    /// crash has left, and finds out whether files can be created beside it.
    ///
    /// # Errors
    /// When another server has it, or the folder cannot be written.
    pub fn claim(path: PathBuf) -> Result<Self, ClaimError> {
        let lock = lock(&path)?;
        if lock.is_some() {
            remove_stale_temporaries(&path);
        }
        let temporary = temporary_path(&path);
        let created = create_temporary(&temporary).and_then(|_| std::fs::remove_file(&temporary));
        created.map_err(|error| ClaimError::Io { step: "create", path: temporary, error })?;
        Ok(Self { path, lock: Mutex::new(lock) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn held(&self) -> MutexGuard<'_, Option<File>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the lock is still the one that others meet: somebody may have removed the
    /// lock file, or the whole folder and made it anew.
    ///
    /// # Errors
    /// When another server took the dump meanwhile, or the lock file cannot be made.
    pub(super) fn keep(&self) -> Result<(), SaveError> {
        let mut held = self.held();
        let Some(file) = held.as_ref() else { return Ok(()) };
        let path = lock_path(&self.path);
        match is_at(file, &path) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SaveError::io("look at", &path, &error)),
        }
        match lock(&self.path) {
            Ok(lock) => *held = lock,
            Err(ClaimError::Io { step, path, error }) => {
                return Err(SaveError::io(step, &path, &error));
            }
            Err(error) => {
                let error = io::Error::other(error.to_string());
                return Err(SaveError::io("lock", &path, &error));
            }
        }
        tracing::warn!("{} was gone; made anew", path.display());
        Ok(())
    }

    /// Lets another server have the dump.
    pub fn release(&self) {
        drop(self.held().take());
    }

    /// Removes the temporary file of this process, when it must end in the middle of a save.
    pub fn remove_own_temporary(&self) {
        // It is there only while a save is running.
        let _absent = std::fs::remove_file(temporary_path(&self.path));
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

fn lock_path(path: &Path) -> PathBuf {
    beside(path, LOCK_SUFFIX)
}

fn temporary_path(path: &Path) -> PathBuf {
    beside(path, &format!(".{}{TEMPORARY_SUFFIX}", std::process::id()))
}

/// True if `name` is that of a temporary file of the dump `dump`, whichever process made it.
fn is_temporary_of(dump: &OsStr, name: &OsStr) -> bool {
    let (dump, name) = (dump.as_encoded_bytes(), name.as_encoded_bytes());
    let process = name
        .strip_prefix(dump)
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX.as_bytes()));
    process.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (held, there) = (file.metadata()?, std::fs::symlink_metadata(path)?);
    Ok((held.dev(), held.ino()) == (there.dev(), there.ino()))
}

/// The locked lock file of a dump; `None`, with a warning, where the file system has no locks.
fn lock(dump: &Path) -> Result<Option<File>, ClaimError> {
    let path = lock_path(dump);
    let failed = |error| ClaimError::Io { step: "lock", path: path.clone(), error };
    let mut options = OpenOptions::new();
    // Whoever can write to the folder must not lead us to another file by a link.
    options.read(true).write(true).create(true).mode(MODE).custom_flags(libc::O_NOFOLLOW);
    for _ in 0..LOCK_TRIES_MAX {
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = io::read_to_string(&file).unwrap_or_default().trim().parse().ok();
                return Err(ClaimError::InUse { path: dump.to_owned(), process });
            }
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                tracing::warn!(
                    "{} cannot be locked ({error}): nothing keeps a second server off the dump",
                    path.display()
                );
                return Ok(None);
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if is_at(&file, &path).unwrap_or(false) {
            // For people and for the message above; the lock does not depend on it.
            let _on_a_full_disk_empty = note_process(&file);
            return Ok(Some(file));
        }
    }
    Err(failed(io::Error::other("it is removed again and again")))
}

fn has_no_locks(error: &io::Error) -> bool {
    let without = [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|number| without.contains(&number))
}

fn note_process(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// Removes temporary files that servers which are gone have left.
fn remove_stale_temporaries(dump: &Path) {
    let own: OsString = dump.file_name().map(OsStr::to_owned).unwrap_or_default();
    let Ok(files) = std::fs::read_dir(folder_of(dump)) else { return };
    for file in files.flatten().filter(|file| is_temporary_of(&own, &file.file_name())) {
        match std::fs::remove_file(file.path()) {
            Ok(()) => tracing::info!("removed {}, left by a crash", file.path().display()),
            Err(e) => tracing::warn!("cannot remove {}: {e}", file.path().display()),
        }
    }
}

fn create_temporary(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(MODE);
    options.open(path).or_else(|error| match error.kind() {
        // An earlier save could not remove its own.
        io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            options.open(path)
        }
        _ => Err(error),
    })
}

/// A file that is removed again unless it takes the place of the dump.
pub(super) struct TemporaryFile {
    path: PathBuf,
    file: File,
    /// Opened before anything is written: there must be nothing left to open after the rename.
    folder: File,
    kept: bool,
}

impl TemporaryFile {
    /// Creates it in the folder of `target`, for nobody else to read.
    pub fn create(target: &Path) -> Result<Self, SaveError> {
        let folder = folder_of(target);
        let folder = File::open(folder).map_err(|e| SaveError::io("open", folder, &e))?;
        let path = temporary_path(target);
        let file = create_temporary(&path).map_err(|e| SaveError::io("create", &path, &e))?;
        Ok(Self { path, file, folder, kept: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was written so far durable.
    pub fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Makes it durable and puts it in the place of `target`.
    pub fn replace(mut self, target: &Path) -> Result<(), SaveError> {
        self.file.sync_all().map_err(|e| SaveError::io("sync", &self.path, &e))?;
        std::fs::rename(&self.path, target).map_err(|e| SaveError::io("rename", &self.path, &e))?;
        self.kept = true;
        let folder = folder_of(target);
        self.folder.sync_all().map_err(|e| SaveError::io("sync the folder", folder, &e))
    }
}

impl Write for &TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        planted::strike(Bug::PanicWhileSaving, &self.path);
        (&self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_are_known_by_the_dump_they_belong_to() {
        let of = |dump: &str, name: &str| is_temporary_of(OsStr::new(dump), OsStr::new(name));
        assert!(of("dump.my_rdb", "dump.my_rdb.1.temp"));
        assert!(of("dump.my_rdb", "dump.my_rdb.4294967295.temp"));
        for other in [
            "dump.my_rdb",
            "dump.my_rdb.lock",
            "dump.my_rdb.temp",
            "dump.my_rdb..temp",
            "dump.my_rdb.1",
            "dump.my_rdb.1x.temp",
            "dump.my_rdb.2.1.temp",
            "dump.my_rdb2.1.temp",
            "other.1.temp",
        ] {
            assert!(!of("dump.my_rdb", other), "{other}");
        }
        assert!(of("dump.my_rdb.2", "dump.my_rdb.2.1.temp"));
        assert!(is_reserved("a.1.temp") && is_reserved("a.lock") && !is_reserved("a.rdb"));
    }

    #[test]
    fn a_dump_is_claimed_once_and_free_after_release() {
        let folder = std::env::temp_dir().join(format!("my_redis-claim-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("dump.my_rdb");
        let stale = folder.join("dump.my_rdb.1.temp");
        let foreign = folder.join("other.1.temp");
        std::fs::write(&stale, "x").unwrap();
        std::fs::write(&foreign, "x").unwrap();
        let first = DumpFile::claim(path.clone()).unwrap();
        assert!(!stale.exists() && foreign.exists());
        std::fs::write(&stale, "x").unwrap();
        let text = DumpFile::claim(path.clone()).unwrap_err().to_string();
        let process = format!("process {}", std::process::id());
        assert!(text.contains(&process) && text.contains("dump.my_rdb"), "{text}");
        assert!(stale.exists(), "the one that was refused touched the other's files");
        DumpFile::claim(folder.join("other")).unwrap();
        // Somebody removes the lock file: the next save locks a new one.
        std::fs::remove_file(lock_path(&path)).unwrap();
        first.keep().unwrap();
        assert!(DumpFile::claim(path.clone()).is_err());
        // Somebody removes it and starts another server: the first saves no more.
        std::fs::remove_file(lock_path(&path)).unwrap();
        let second = DumpFile::claim(path.clone()).unwrap();
        assert!(first.keep().is_err());
        second.release();
        first.keep().unwrap();
        first.release();
        DumpFile::claim(path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
