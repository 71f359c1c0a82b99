//! Layer 3: the options of a running server.
//!
//! Every option is a row of the table, and its value is kept as text. Those that commands or
//! connections look at are kept a second time in the form they need, in atomics, because some are
//! read for every command.

pub mod docs;
mod file;
mod memory;
mod observation;
mod operation;
mod option;
mod table;

pub use file::{FileError, Settings, UserLines};
pub use memory::{MemoryLimits, Policy};
pub use observation::Observation;
pub use operation::{Operation, SUPERVISOR_VARIABLE, SYSLOG_FACILITIES, Supervision};
pub use option::{Change, Effect, Kind, OptionSpec, SaveRule, parse_save_rules, save_rules_text};
pub use table::{OPTIONS, find};

use crate::util::events::EventSet;
use crate::util::glob::glob_match;
use crate::util::log::{self, LogLevel};
use crate::util::number::parse_u64;
use crate::util::text::until_zero_byte;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who may use DEBUG, or change protected options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DebugAccess {
    /// Nobody.
    #[default]
    Nobody,
    /// Clients on this machine.
    Local,
    /// Every client that is authenticated.
    All,
}

impl DebugAccess {
    /// The value of enable-debug-command, or of enable-protected-configs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "no",
            Self::Local => "local",
            Self::All => "yes",
        }
    }

    /// What such a value means.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "yes" => Self::All,
            "local" => Self::Local,
            _ => Self::Nobody,
        }
    }

    /// Whether a client from there may.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Nobody => false,
            Self::Local => address.to_canonical().is_loopback(),
            Self::All => true,
        }
    }
}

/// The options as the server is started with them.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Addresses to listen on.
    pub bind: Vec<String>,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Folder of the dump.
    pub dir: PathBuf,
    /// File name of the dump.
    pub dump_file_name: String,
    /// When to save.
    pub save: Vec<SaveRule>,
    /// Whether long strings are packed in the dump.
    pub rdb_compression: bool,
    /// Whether the dump gets a checksum.
    pub rdb_checksum: bool,
    /// Bytes that a save may need beside the data; 0 for a part of the memory in use.
    pub snapshot_memory_bytes: u64,
    /// Whether writes are refused after a failed save.
    pub stop_writes_on_save_error: bool,
    /// Number of databases.
    pub databases: usize,
    /// Shards of the keyspace; 0 for a number that fits the machine.
    pub shards: usize,
    /// Worker threads; 0 for one per core.
    pub threads: usize,
    /// Clients at most.
    pub clients_max: usize,
    /// Clients that the system has descriptors for.
    pub clients_possible: usize,
    /// Seconds without a request after which a client is disconnected; 0 for never.
    pub timeout_seconds: u64,
    /// Seconds of silence after which a peer is asked for a sign of life; 0 for never.
    pub keepalive_seconds: u64,
    /// The password of the default user.
    pub password: Option<String>,
    /// Whether only clients on this machine are served as long as there is no password.
    pub protected_mode: bool,
    /// Who may use DEBUG.
    pub debug_access: DebugAccess,
    /// Who may change protected options.
    pub protected_access: DebugAccess,
    /// How much is logged; `None` leaves the log of the process as it is.
    pub log_level: Option<LogLevel>,
    /// How it lives with the system around it.
    pub operation: Operation,
    /// The configuration file, for CONFIG REWRITE.
    pub file: Option<PathBuf>,
    /// What the file says; the other fields go before it.
    pub settings: Settings,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            port: 6379,
            bind: vec!["127.0.0.1".to_owned(), "-::1".to_owned()],
            backlog: 4_096,
            dir: PathBuf::from("."),
            dump_file_name: "dump.my_rdb".to_owned(),
            save: vec![SaveRule { seconds: 300, changes: 1 }],
            rdb_compression: true,
            rdb_checksum: true,
            snapshot_memory_bytes: 0,
            stop_writes_on_save_error: true,
            databases: 1,
            shards: 0,
            threads: 0,
            clients_max: 10_000,
            clients_possible: usize::MAX,
            timeout_seconds: 0,
            keepalive_seconds: 300,
            password: None,
            protected_mode: true,
            debug_access: DebugAccess::Nobody,
            protected_access: DebugAccess::Nobody,
            log_level: None,
            operation: Operation::default(),
            file: None,
            settings: Settings::default(),
        }
    }
}

impl StartOptions {
    /// The values that differ from the table's defaults, or may.
    fn values(&self) -> Vec<(&'static str, String)> {
        let yes_no = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        let mut values = vec![
            ("port", self.port.to_string()),
            ("bind", self.bind.join(" ")),
            ("tcp-backlog", self.backlog.to_string()),
            ("protected-mode", yes_no(self.protected_mode)),
            ("requirepass", self.password.clone().unwrap_or_default()),
            ("maxclients", self.clients_max.to_string()),
            ("timeout", self.timeout_seconds.to_string()),
            ("tcp-keepalive", self.keepalive_seconds.to_string()),
            ("dir", self.dir.display().to_string()),
            ("dbfilename", self.dump_file_name.clone()),
            ("save", save_rules_text(&self.save)),
            ("stop-writes-on-bgsave-error", yes_no(self.stop_writes_on_save_error)),
            ("rdbcompression", yes_no(self.rdb_compression)),
            ("rdbchecksum", yes_no(self.rdb_checksum)),
            ("my-redis-snapshot-memory", self.snapshot_memory_bytes.to_string()),
            ("enable-debug-command", self.debug_access.name().to_owned()),
            ("enable-protected-configs", self.protected_access.name().to_owned()),
            ("loglevel", self.log_level.unwrap_or_default().name().to_owned()),
            ("databases", self.databases.to_string()),
            ("my-redis-shards", self.shards.to_string()),
            ("my-redis-threads", self.threads.to_string()),
        ];
        values.extend(self.operation.values());
        values
    }
}

/// Why CONFIG SET changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// There is no option of this name.
    Unknown(Vec<u8>),
    /// An option cannot have the value.
    Refused {
        /// The option as it was named.
        name: Vec<u8>,
        /// Why.
        reason: Cow<'static, str>,
    },
}

impl SetError {
    /// The reply without its code, with the name byte for byte as the client sent it.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let (before, name, after) = match self {
            Self::Unknown(name) => {
                ("Unknown option or number of arguments for CONFIG SET - '", name, "'".to_owned())
            }
            Self::Refused { name, reason } => (
                "CONFIG SET failed (possibly related to argument '",
                name,
                format!("') - {reason}"),
            ),
        };
        [before.as_bytes(), until_zero_byte(name), after.as_bytes()].concat()
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl std::error::Error for SetError {}

/// The options of a running server; some can change.
#[derive(Debug)]
pub struct Config {
    start: StartOptions,
    /// The value of every option, in the order of the table.
    values: Mutex<Vec<Vec<u8>>>,
    acl_log_len_max: AtomicUsize,
    new_users_hear_all: AtomicBool,
    saves_by_rules: AtomicBool,
    save: Mutex<Vec<SaveRule>>,
    string_bytes_max: AtomicUsize,
    request_bytes_max: AtomicUsize,
    hyperloglog_sparse_bytes_max: AtomicUsize,
    stream_block_bytes_max: AtomicU64,
    stream_block_entries_max: AtomicU64,
    busy_reply_threshold_ms: AtomicU64,
    clients_max: AtomicUsize,
    timeout_seconds: AtomicU64,
    keepalive_seconds: AtomicU64,
    protected_mode: AtomicBool,
    rdb_compression: AtomicBool,
    snapshot_memory_bytes: AtomicU64,
    stop_writes_on_save_error: AtomicBool,
    output_limits: [AtomicU64; OUTPUT_LIMIT_NUMBERS],
    tracked_keys_max: AtomicUsize,
    /// The bits of an [`EventSet`].
    published_events: AtomicU32,
    memory: MemoryLimits,
    observation: Observation,
}

/// The numbers of the limits for normal clients and for subscribers.
const OUTPUT_LIMIT_NUMBERS: usize = 6;

/// What may wait to be sent to a client (client-output-buffer-limit); 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes with which the client is closed at once.
    pub hard_bytes: u64,
    /// Bytes with which it is closed when it stays above them for too long.
    pub soft_bytes: u64,
    /// How long that is, in seconds.
    pub soft_seconds: u64,
}

/// What may wait to be sent to the clients of each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputLimits {
    /// Those that subscribe to nothing.
    pub normal: OutputLimit,
    /// Those that subscribe to something.
    pub subscriber: OutputLimit,
}

impl OutputLimits {
    /// No limits.
    pub const NONE: Self = {
        let none = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 };
        Self { normal: none, subscriber: none }
    };
}

/// Has the dump kept under this name in this folder from now on; returns the folder's absolute
/// path, or why that cannot be.
pub type MoveDump<'a> = dyn Fn(&Path, &OsStr) -> Result<PathBuf, Cow<'static, str>> + 'a;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is valid after every single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Config {
    /// The options as given at the start.
    #[must_use]
    pub fn new(start: StartOptions) -> Self {
        let given = start.values();
        let value = |option: &OptionSpec| {
            let given = given.iter().find(|(name, _)| *name == option.name);
            let given = given.map(|(_, text)| text.as_bytes());
            let value = given.or_else(|| start.settings.value(option.name));
            value.unwrap_or(option.default.as_bytes()).to_vec()
        };
        let values: Vec<Vec<u8>> = OPTIONS.iter().map(value).collect();
        let config = Self {
            values: Mutex::new(values.clone()),
            acl_log_len_max: AtomicUsize::new(0),
            new_users_hear_all: AtomicBool::new(false),
            saves_by_rules: AtomicBool::new(false),
            save: Mutex::default(),
            string_bytes_max: AtomicUsize::new(0),
            request_bytes_max: AtomicUsize::new(0),
            hyperloglog_sparse_bytes_max: AtomicUsize::new(0),
            stream_block_bytes_max: AtomicU64::new(0),
            stream_block_entries_max: AtomicU64::new(0),
            busy_reply_threshold_ms: AtomicU64::new(0),
            clients_max: AtomicUsize::new(0),
            timeout_seconds: AtomicU64::new(0),
            keepalive_seconds: AtomicU64::new(0),
            protected_mode: AtomicBool::new(true),
            rdb_compression: AtomicBool::new(true),
            snapshot_memory_bytes: AtomicU64::new(0),
            stop_writes_on_save_error: AtomicBool::new(true),
            output_limits: Default::default(),
            tracked_keys_max: AtomicUsize::new(0),
            published_events: AtomicU32::new(0),
            memory: MemoryLimits::default(),
            observation: Observation::default(),
            start,
        };
        for (option, value) in OPTIONS.iter().zip(&values) {
            if option.name != "loglevel" || config.start.log_level.is_some() {
                config.apply(option.name, value);
            }
        }
        config
    }

    /// Puts a value where those who need it look for it.
    fn apply(&self, name: &str, value: &[u8]) {
        let number = || parse_u64(value).unwrap_or(0);
        let size = || usize::try_from(number()).unwrap_or(usize::MAX);
        let flag = value == b"yes";
        match name {
            "acllog-max-len" => self.acl_log_len_max.store(size(), Ordering::Relaxed),
            "acl-pubsub-default" => {
                self.new_users_hear_all.store(value == b"allchannels", Ordering::Relaxed);
            }
            "save" => {
                let rules = parse_save_rules(value).unwrap_or_default();
                self.saves_by_rules.store(!rules.is_empty(), Ordering::Relaxed);
                *lock(&self.save) = rules;
            }
            "loglevel" => {
                if let Some(level) = std::str::from_utf8(value).ok().and_then(LogLevel::from_name) {
                    log::show(level);
                }
            }
            "proto-max-bulk-len" => self.string_bytes_max.store(size(), Ordering::Relaxed),
            "client-query-buffer-limit" => {
                self.request_bytes_max.store(size(), Ordering::Relaxed);
            }
            "hll-sparse-max-bytes" => {
                self.hyperloglog_sparse_bytes_max.store(size(), Ordering::Relaxed);
            }
            "stream-node-max-bytes" => {
                self.stream_block_bytes_max.store(number(), Ordering::Relaxed);
            }
            "stream-node-max-entries" => {
                self.stream_block_entries_max.store(number(), Ordering::Relaxed);
            }
            "busy-reply-threshold" => {
                self.busy_reply_threshold_ms.store(number(), Ordering::Relaxed);
            }
            "maxclients" => self.clients_max.store(size(), Ordering::Relaxed),
            "timeout" => self.timeout_seconds.store(number(), Ordering::Relaxed),
            "tcp-keepalive" => self.keepalive_seconds.store(number(), Ordering::Relaxed),
            "protected-mode" => self.protected_mode.store(flag, Ordering::Relaxed),
            "rdbcompression" => self.rdb_compression.store(flag, Ordering::Relaxed),
            "my-redis-snapshot-memory" => {
                self.snapshot_memory_bytes.store(number(), Ordering::Relaxed);
            }
            "stop-writes-on-bgsave-error" => {
                self.stop_writes_on_save_error.store(flag, Ordering::Relaxed);
            }
            "notify-keyspace-events" => {
                let events = EventSet::from_letters(value).unwrap_or_default();
                self.published_events.store(events.bits(), Ordering::Relaxed);
            }
            "tracking-table-max-keys" => self.tracked_keys_max.store(size(), Ordering::Relaxed),
            "client-output-buffer-limit" => self.apply_output_limits(value),
            _ if self.memory.apply(name, value) => {}
            _ => self.observation.apply(name, value),
        }
    }

    /// Stores the limits from their text, which has four words for each class.
    fn apply_output_limits(&self, text: &[u8]) {
        let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
        for class in words.chunks_exact(4) {
            let at = match class.first() {
                Some(&b"normal") => 0,
                Some(&b"pubsub") => 3,
                _ => continue,
            };
            let places = self.output_limits.iter().skip(at);
            for (place, word) in places.zip(class.iter().skip(1)) {
                place.store(parse_u64(word).unwrap_or(0), Ordering::Relaxed);
            }
        }
    }

    /// Keys at most that are remembered for clients that keep copies; 0 for no limit.
    #[must_use]
    pub fn tracked_keys_max(&self) -> usize {
        self.tracked_keys_max.load(Ordering::Relaxed)
    }

    /// The events of keys that are published, and on which channels.
    #[inline]
    #[must_use]
    pub fn published_events(&self) -> EventSet {
        EventSet::from_bits(self.published_events.load(Ordering::Relaxed))
    }

    /// What may wait to be sent to clients.
    #[must_use]
    pub fn output_limits(&self) -> OutputLimits {
        let numbers = self.output_limits.each_ref().map(|place| place.load(Ordering::Relaxed));
        let [hard, soft, seconds, sub_hard, sub_soft, sub_seconds] = numbers;
        let limit = |hard_bytes, soft_bytes, soft_seconds| OutputLimit {
            hard_bytes,
            soft_bytes,
            soft_seconds,
        };
        OutputLimits {
            normal: limit(hard, soft, seconds),
            subscriber: limit(sub_hard, sub_soft, sub_seconds),
        }
    }

    /// Bytes with which a client is closed for which they wait to be sent, and no number of them
    /// without a limit.
    #[inline]
    #[must_use]
    pub fn waiting_bytes_max(&self, is_subscriber: bool) -> usize {
        let [normal, _, _, subscriber, ..] = &self.output_limits;
        let limit = if is_subscriber { subscriber } else { normal };
        match limit.load(Ordering::Relaxed) {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// The options that any of `patterns` names, with their values. A name without special
    /// characters is given back as it was written.
    #[must_use]
    pub fn matching<'a>(
        &self,
        patterns: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<(Cow<'a, [u8]>, Vec<u8>)> {
        let values = lock(&self.values);
        let mut found: Vec<(Cow<'a, [u8]>, Vec<u8>)> = Vec::new();
        let mut add = |name: Cow<'a, [u8]>, number: usize| {
            if !found.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
                found.push((name, values.get(number).cloned().unwrap_or_default()));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
                if let Some(number) = find(pattern) {
                    add(Cow::Borrowed(pattern), number);
                }
                continue;
            }
            for (number, option) in OPTIONS.iter().enumerate() {
                for name in option.names() {
                    if glob_match(pattern, name.as_bytes(), true) {
                        add(Cow::Borrowed(name.as_bytes()), number);
                    }
                }
            }
        }
        found
    }

    /// Changes all of these options, or none; returns the names of those that have another value
    /// now.
    ///
    /// # Errors
    /// When one of them is unknown, may not change, or cannot have its value.
    pub fn set<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Vec<&'static str>, SetError> {
        self.set_with(pairs, None)
    }

    /// As [`set`](Self::set), with protected options among them if the dump can be moved.
    ///
    /// # Errors
    /// Those of `set`, and those of moving the dump.
    pub fn set_with<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        move_dump: Option<&MoveDump<'_>>,
    ) -> Result<Vec<&'static str>, SetError> {
        let pairs: Vec<(&[u8], &[u8])> = pairs.collect();
        if let Some((unknown, _)) = pairs.iter().find(|(name, _)| find(name).is_none()) {
            return Err(SetError::Unknown(unknown.to_vec()));
        }
        let mut values = lock(&self.values);
        let mut changes: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut numbers: Vec<usize> = Vec::new();
        let found = pairs.iter().filter_map(|pair| Some((find(pair.0)?, pair)));
        for (number, (name, _)) in found.clone() {
            let refused = |reason: &'static str| {
                Err(SetError::Refused { name: name.to_vec(), reason: reason.into() })
            };
            match OPTIONS.get(number).map(|option| option.change) {
                Some(Change::AtStart) => return refused("can't set immutable config"),
                Some(Change::Protected) if move_dump.is_none() => {
                    return refused("can't set protected config");
                }
                _ if numbers.contains(&number) => return refused("duplicate parameter"),
                _ => numbers.push(number),
            }
        }
        for (number, (_, given)) in found {
            let (Some(option), Some(old)) = (OPTIONS.get(number), values.get(number)) else {
                continue;
            };
            let read = option.read(given, old).map_err(|reason| SetError::Refused {
                name: option.name.as_bytes().to_vec(),
                reason,
            })?;
            self.check_possible(option, &read)?;
            changes.push((number, read));
        }
        if let Some(move_dump) = move_dump {
            Self::place_dump(&values, &mut changes, move_dump)?;
        }
        let mut changed = Vec::new();
        for (number, value) in changes {
            if let (Some(option), Some(place)) = (OPTIONS.get(number), values.get_mut(number)) {
                self.apply(option.name, &value);
                if *place != value {
                    changed.push(option.name);
                }
                *place = value;
            }
        }
        Ok(changed)
    }

    /// Moves the dump if the changes say so, and puts the folder's absolute path into them.
    fn place_dump(
        values: &[Vec<u8>],
        changes: &mut [(usize, Vec<u8>)],
        move_dump: &MoveDump<'_>,
    ) -> Result<(), SetError> {
        let (Some(dir), Some(name)) = (find(b"dir"), find(b"dbfilename")) else { return Ok(()) };
        let is_changed = |option| changes.iter().any(|(number, _)| *number == option);
        if !is_changed(dir) && !is_changed(name) {
            return Ok(());
        }
        let option = if is_changed(dir) { "dir" } else { "dbfilename" };
        let text = |option| {
            let changed = changes.iter().find(|(number, _)| *number == option);
            let value = changed.map(|(_, value)| value).or_else(|| values.get(option));
            OsStr::from_bytes(value.map_or(&[][..], Vec::as_slice)).to_owned()
        };
        let refused =
            |option: &str, reason| SetError::Refused { name: option.as_bytes().to_vec(), reason };
        let file_name = text(name);
        if file_name.as_bytes().iter().any(|byte| b"/\\".contains(byte)) {
            let reason = "dbfilename can't be a path, just a filename";
            return Err(refused("dbfilename", reason.into()));
        }
        // A relative path goes on from the present folder, as that of a process does.
        let present = values.get(dir).map_or(&[][..], Vec::as_slice);
        let folder = Path::new(OsStr::from_bytes(present)).join(text(dir));
        let folder = move_dump(&folder, &file_name).map_err(|reason| refused(option, reason))?;
        if let Some((_, place)) = changes.iter_mut().find(|(number, _)| *number == dir) {
            *place = folder.into_os_string().into_vec();
        }
        Ok(())
    }

    /// Writes the present values into the configuration file, and what is to be said of users in
    /// the place of those that it describes; false when there is none.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn rewrite(&self, users: &UserLines<'_>) -> io::Result<bool> {
        let Some(path) = &self.start.file else { return Ok(false) };
        // Two at the same time would write the same temporary file.
        let values = lock(&self.values);
        file::rewrite(path, &values, users)?;
        Ok(true)
    }

    /// Refuses what the system cannot give.
    fn check_possible(&self, option: &OptionSpec, value: &[u8]) -> Result<(), SetError> {
        let possible = self.start.clients_possible;
        let asked = parse_u64(value).and_then(|number| usize::try_from(number).ok());
        if option.name != "maxclients" || asked.is_some_and(|asked| asked <= possible) {
            return Ok(());
        }
        Err(SetError::Refused {
            name: option.name.as_bytes().to_vec(),
            reason: format!(
                "The operating system is not able to handle the specified number of clients, try \
                 with {possible}"
            )
            .into(),
        })
    }

    /// The present value of an option, as CONFIG GET prints it; empty when there is none.
    #[must_use]
    pub fn value(&self, name: &str) -> String {
        let value =
            find(name.as_bytes()).and_then(|number| lock(&self.values).get(number).cloned());
        String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
    }

    /// The options as given at the start.
    #[must_use]
    pub fn start(&self) -> &StartOptions {
        &self.start
    }

    /// The password that the default user was given (requirepass).
    #[must_use]
    pub fn password(&self) -> Option<Vec<u8>> {
        let number = find(b"requirepass")?;
        lock(&self.values).get(number).filter(|password| !password.is_empty()).cloned()
    }

    /// Entries of ACL LOG at most (acllog-max-len).
    #[must_use]
    pub fn acl_log_len_max(&self) -> usize {
        self.acl_log_len_max.load(Ordering::Relaxed)
    }

    /// Whether a new user may use all channels (acl-pubsub-default).
    #[must_use]
    pub fn new_users_hear_all(&self) -> bool {
        self.new_users_hear_all.load(Ordering::Relaxed)
    }

    /// When to save; empty for never.
    #[must_use]
    pub fn save_rules(&self) -> Vec<SaveRule> {
        lock(&self.save).clone()
    }

    /// True when there is a rule by which to save.
    #[inline]
    #[must_use]
    pub fn saves_by_rules(&self) -> bool {
        self.saves_by_rules.load(Ordering::Relaxed)
    }

    /// Bytes that one string may have (proto-max-bulk-len).
    #[inline]
    #[must_use]
    pub fn string_bytes_max(&self) -> usize {
        self.string_bytes_max.load(Ordering::Relaxed)
    }

    /// Bytes that one request may have (client-query-buffer-limit).
    #[inline]
    #[must_use]
    pub fn request_bytes_max(&self) -> usize {
        self.request_bytes_max.load(Ordering::Relaxed)
    }

    /// The time after which a script is busy; `None` for never (busy-reply-threshold).
    #[must_use]
    pub fn busy_reply_threshold(&self) -> Option<Duration> {
        match self.busy_reply_threshold_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    /// Bytes up to which a HyperLogLog stays sparse (hll-sparse-max-bytes).
    #[must_use]
    pub fn hyperloglog_sparse_bytes_max(&self) -> usize {
        self.hyperloglog_sparse_bytes_max.load(Ordering::Relaxed)
    }

    /// Bytes of a block of a stream (stream-node-max-bytes); 0 for no limit.
    #[must_use]
    pub fn stream_block_bytes_max(&self) -> u64 {
        self.stream_block_bytes_max.load(Ordering::Relaxed)
    }

    /// Entries of a block of a stream (stream-node-max-entries); 0 for no limit.
    #[must_use]
    pub fn stream_block_entries_max(&self) -> u64 {
        self.stream_block_entries_max.load(Ordering::Relaxed)
    }

    /// The limits of memory.
    #[inline]
    #[must_use]
    pub fn memory(&self) -> &MemoryLimits {
        &self.memory
    }

    /// What is observed of commands.
    #[inline]
    #[must_use]
    pub fn observation(&self) -> &Observation {
        &self.observation
    }

    /// Clients at most.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.clients_max.load(Ordering::Relaxed)
    }

    /// Seconds without a request after which a client is disconnected; 0 for never.
    #[must_use]
    pub fn timeout_seconds(&self) -> u64 {
        self.timeout_seconds.load(Ordering::Relaxed)
    }

    /// Seconds of silence after which a peer is asked for a sign of life; 0 for never.
    #[must_use]
    pub fn keepalive_seconds(&self) -> u64 {
        self.keepalive_seconds.load(Ordering::Relaxed)
    }

    /// Whether writes are refused after a failed save.
    #[must_use]
    pub fn stop_writes_on_save_error(&self) -> bool {
        self.stop_writes_on_save_error.load(Ordering::Relaxed)
    }

    /// Whether only clients on this machine may connect as long as no password is needed.
    #[must_use]
    pub fn protected_mode(&self) -> bool {
        self.protected_mode.load(Ordering::Relaxed)
    }

    /// Whether long strings are packed in the dump.
    #[must_use]
    pub fn rdb_compression(&self) -> bool {
        self.rdb_compression.load(Ordering::Relaxed)
    }

    /// Bytes that a save may need beside the data; 0 for a part of the memory in use.
    #[must_use]
    pub fn snapshot_memory_bytes(&self) -> u64 {
        self.snapshot_memory_bytes.load(Ordering::Relaxed)
    }

    /// Whether the dump gets a checksum.
    #[must_use]
    pub fn rdb_checksum(&self) -> bool {
        self.start.rdb_checksum
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<(), String> {
        let pairs = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        config.set(pairs).map(drop).map_err(|error| error.to_string())
    }

    fn get(config: &Config, patterns: &[&str]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = config.matching(patterns.iter().map(|pattern| pattern.as_bytes()));
        found.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn start_options_and_the_table_agree_about_defaults() {
        let start = StartOptions::default();
        for (name, value) in start.values() {
            let option = OPTIONS.iter().find(|option| option.name == name).unwrap();
            assert_eq!(value, option.default, "{name}");
        }
        let config = Config::new(start.clone());
        assert_eq!(config.save_rules(), start.save);
        assert_eq!(config.clients_max(), start.clients_max);
        assert_eq!(config.string_bytes_max(), 512 * 1024 * 1024);
        assert!(config.password().is_none() && config.protected_mode() && config.saves_by_rules());
    }

    #[test]
    fn all_pairs_are_set_or_none() {
        let config = Config::new(StartOptions::default());
        assert_eq!(set(&config, &[("maxclients", "7"), ("TIMEOUT", "5"), ("save", "")]), Ok(()));
        assert_eq!((config.clients_max(), config.timeout_seconds()), (7, 5));
        assert!(!config.saves_by_rules() && config.save_rules().is_empty());
        let refused = set(&config, &[("maxclients", "8"), ("timeout", "x")]);
        let text = "CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't \
                    be parsed into an integer";
        assert_eq!(refused, Err(text.to_owned()));
        assert_eq!(config.clients_max(), 7);
        assert!(set(&config, &[("maxclients", "8"), ("MAXCLIENTS", "9")]).is_err());
        assert!(set(&config, &[("maxclients", "8"), ("nosuch", "9")]).is_err());
        assert!(set(&config, &[("maxclients", "8"), ("dir", "/")]).is_err());
        assert!(set(&config, &[("maxclients", "8"), ("port", "1")]).is_err());
        assert_eq!(config.clients_max(), 7);
    }

    #[test]
    fn there_cannot_be_more_clients_than_descriptors() {
        let start = StartOptions { clients_possible: 100, ..StartOptions::default() };
        let config = Config::new(start);
        assert_eq!(set(&config, &[("maxclients", "100")]), Ok(()));
        let refused = set(&config, &[("maxclients", "101")]).unwrap_err();
        assert!(refused.ends_with("clients, try with 100"), "{refused}");
    }

    #[test]
    fn what_would_promise_too_much_is_refused() {
        let config = Config::new(StartOptions::default());
        for (name, value) in [("appendonly", "yes"), ("activedefrag", "yes"), ("tls-port", "1")] {
            assert!(set(&config, &[(name, value)]).is_err(), "{name}");
            let same = config.value(name);
            assert_eq!(set(&config, &[(name, &same)]), Ok(()), "{name}");
        }
    }

    #[test]
    fn patterns_find_names_and_older_names() {
        let config = Config::new(StartOptions::default());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(get(&config, &["SAVE", "save"]), [pair("SAVE", "300 1")]);
        assert_eq!(get(&config, &["nosuch"]), []);
        let both = [pair("hash-max-listpack-value", "64"), pair("hash-max-ziplist-value", "64")];
        assert_eq!(get(&config, &["hash-max-*-value", "hash*value"]), both);
        set(&config, &[("hash-max-ziplist-value", "1kb")]).unwrap();
        assert_eq!(config.value("hash-max-listpack-value"), "1024");
        assert_eq!(get(&config, &["*"]).len(), OPTIONS.iter().flat_map(OptionSpec::names).count());
    }

    #[test]
    fn a_password_can_come_and_go() {
        let config = Config::new(StartOptions::default());
        set(&config, &[("requirepass", "secret")]).unwrap();
        assert_eq!(config.password().as_deref(), Some(&b"secret"[..]));
        set(&config, &[("requirepass", "")]).unwrap();
        assert!(config.password().is_none());
    }
}
