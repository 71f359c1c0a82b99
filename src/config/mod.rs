//! Layer 3: the options of a running server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Save after so many seconds when there are at least so many changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveRule {
    /// Seconds since the last save.
    pub seconds: u64,
    /// Changes since the last save.
    pub changes: u64,
}

/// The options as the server is started with them.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Addresses to listen on.
    pub bind: Vec<String>,
    /// Folder of the dump.
    pub dir: PathBuf,
    /// File name of the dump.
    pub dump_file_name: String,
    /// When to save.
    pub save: Vec<SaveRule>,
    /// Shards of the keyspace; 0 for a number that fits the machine.
    pub shards: usize,
    /// Worker threads; 0 for one per core.
    pub threads: usize,
    /// Clients at most.
    pub clients_max: usize,
    /// The password of the default user.
    pub password: Option<String>,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            port: 6379,
            bind: vec!["127.0.0.1".to_owned()],
            dir: PathBuf::from("."),
            dump_file_name: "dump.my_rdb".to_owned(),
            save: vec![SaveRule { seconds: 300, changes: 1 }],
            shards: 0,
            threads: 0,
            clients_max: 10_000,
            password: None,
        }
    }
}

/// The options of a running server; some can change.
#[derive(Debug)]
pub struct Config {
    start: StartOptions,
    password: Mutex<Option<Arc<[u8]>>>,
    save: Mutex<Vec<SaveRule>>,
    string_bytes_max: AtomicUsize,
    clients_max: AtomicUsize,
    stop_writes_on_save_error: AtomicBool,
}

impl Config {
    /// The options as given at the start.
    #[must_use]
    pub fn new(start: StartOptions) -> Self {
        let password = start.password.clone().map(|text| Arc::from(text.into_bytes()));
        Self {
            password: Mutex::new(password),
            save: Mutex::new(start.save.clone()),
            string_bytes_max: AtomicUsize::new(512 * 1024 * 1024),
            clients_max: AtomicUsize::new(start.clients_max),
            stop_writes_on_save_error: AtomicBool::new(true),
            start,
        }
    }

    /// The options as given at the start.
    #[must_use]
    pub fn start(&self) -> &StartOptions {
        &self.start
    }

    /// The password of the default user.
    #[must_use]
    pub fn password(&self) -> Option<Arc<[u8]>> {
        self.password.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When to save; empty for never.
    #[must_use]
    pub fn save_rules(&self) -> Vec<SaveRule> {
        self.save.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes that one string may have (proto-max-bulk-len).
    #[inline]
    #[must_use]
    pub fn string_bytes_max(&self) -> usize {
        self.string_bytes_max.load(Ordering::Relaxed)
    }

    /// Clients at most.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.clients_max.load(Ordering::Relaxed)
    }

    /// Whether writes are refused after a failed save.
    #[must_use]
    pub fn stop_writes_on_save_error(&self) -> bool {
        self.stop_writes_on_save_error.load(Ordering::Relaxed)
    }

    /// True when only clients on this machine may connect: protected mode without a password.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.password().is_none()
    }

    /// Whether long strings are packed in the dump.
    #[must_use]
    pub fn rdb_compression(&self) -> bool {
        true
    }

    /// Whether the dump gets a checksum.
    #[must_use]
    pub fn rdb_checksum(&self) -> bool {
        true
    }
}
