//! The log of what was refused for want of rights: ACL LOG.
//!
//! Refusals of the same kind within a minute are one entry with a count, so that a client which
//! tries again and again does not push all others out. The size of an entry is that of a name of
//! the client's, cut to a limit: a refused key may have hundreds of megabytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Refusals further apart than this are two entries.
const GROUPED_WITHIN_MS: i64 = 60_000;
/// So many of the latest entries are looked through for one of the same kind.
const GROUPED_AMONG: usize = 10;
/// Bytes of a key, a channel or a name that an entry keeps.
const OBJECT_BYTES_MAX: usize = 1_024;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// A password.
    Auth,
}

impl Reason {
    /// Its name in ACL LOG.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Auth => "auth",
        }
    }
}

/// Where it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A request by itself.
    TopLevel,
    /// A transaction.
    Transaction,
    /// A script.
    Script,
}

impl Place {
    /// Its name in ACL LOG.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Transaction => "multi",
            Self::Script => "lua",
        }
    }
}

/// What was refused, to whom, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub reason: Reason,
    /// Where.
    pub place: Place,
    /// The command, the key or the channel; of a password the command that it was given to.
    pub object: Vec<u8>,
    /// The user.
    pub user: Vec<u8>,
}

impl Refusal {
    /// A refusal of which names are cut to what an entry keeps.
    #[must_use]
    pub fn new(reason: Reason, place: Place, object: &[u8], user: &[u8]) -> Self {
        let cut = |name: &[u8]| name.get(..OBJECT_BYTES_MAX).unwrap_or(name).to_vec();
        Self { reason, place, object: cut(object), user: cut(user) }
    }
}

/// One entry.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// What it is about.
    pub refusal: Refusal,
    /// How often it has happened.
    pub count: u64,
    /// When it happened last, in milliseconds since 1970.
    pub at_ms: i64,
    /// The client to which it happened last, as CLIENT LIST tells of it.
    pub client: Vec<u8>,
}

/// The log, the latest entry first.
#[derive(Debug, Default)]
pub struct AclLog(Mutex<VecDeque<Arc<LogEntry>>>);

impl AclLog {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<LogEntry>>> {
        // The entries are valid after every single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a refusal, and keeps no more than `len_max` entries.
    pub fn add(&self, refusal: Refusal, client: Vec<u8>, at_ms: i64, len_max: usize) {
        let mut entries = self.lock();
        let is_same = |entry: &Arc<LogEntry>| {
            entry.refusal == refusal && at_ms.abs_diff(entry.at_ms) <= GROUPED_WITHIN_MS as u64
        };
        let same = entries.iter().take(GROUPED_AMONG).position(is_same);
        let count = same.and_then(|at| entries.remove(at)).map_or(0, |entry| entry.count);
        let entry = LogEntry { refusal, count: count.saturating_add(1), at_ms, client };
        entries.push_front(Arc::new(entry));
        // As in Redis a log that may have no entry keeps the one that is counted up.
        if count == 0 {
            entries.truncate(len_max);
        }
    }

    /// The latest `count` entries.
    #[must_use]
    pub fn latest(&self, count: usize) -> Vec<Arc<LogEntry>> {
        self.lock().iter().take(count).cloned().collect()
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn refusal(object: &str) -> Refusal {
        Refusal::new(Reason::Key, Place::TopLevel, object.as_bytes(), b"u")
    }

    #[test]
    fn the_same_within_a_minute_is_one_entry() {
        let log = AclLog::default();
        log.add(refusal("a"), b"1".to_vec(), 0, 128);
        log.add(refusal("b"), b"2".to_vec(), 10, 128);
        log.add(refusal("a"), b"3".to_vec(), 60_000, 128);
        let latest = log.latest(10);
        assert_eq!(latest.len(), 2);
        assert_eq!(
            (latest[0].count, latest[0].at_ms, &latest[0].client[..]),
            (2, 60_000, &b"3"[..])
        );
        log.add(refusal("b"), b"4".to_vec(), 60_011, 128);
        assert_eq!(log.latest(10).len(), 3);
        assert_eq!(log.latest(1)[0].count, 1);
        log.reset();
        assert!(log.latest(10).is_empty());
    }

    #[test]
    fn it_keeps_the_latest_and_not_more_than_a_part_of_a_long_name() {
        let log = AclLog::default();
        (0..20).for_each(|n| log.add(refusal(&n.to_string()), Vec::new(), n, 3));
        let objects: Vec<_> = log.latest(9).iter().map(|e| e.refusal.object.clone()).collect();
        assert_eq!(objects, [b"19", b"18", b"17"]);
        log.add(refusal(&"x".repeat(1 << 20)), Vec::new(), 0, 1);
        assert_eq!(log.latest(9)[0].refusal.object.len(), OBJECT_BYTES_MAX);
    }
}
