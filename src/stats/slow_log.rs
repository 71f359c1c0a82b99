//! The slow log: the last commands that took longer than an option allows.
//!
//! Only slow commands come here, so one lock is enough. An entry has a bounded size, however large
//! its request was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Arguments that an entry keeps at most; the last one then tells how many more there were.
const ARGUMENTS_MAX: usize = 32;
/// Bytes that it keeps of one argument.
const ARGUMENT_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCall {
    /// When it ended, in seconds since 1970.
    pub unix_seconds: i64,
    /// How long it took.
    pub micros: u64,
    /// Its arguments, shortened.
    pub arguments: Vec<Vec<u8>>,
    /// The address of the client.
    pub address: String,
    /// The name that the client gave itself.
    pub client_name: Vec<u8>,
}

/// The arguments of a request as an entry keeps them.
#[must_use]
pub fn shortened<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = arguments.len();
    let kept = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    let mut all: Vec<Vec<u8>> = arguments
        .take(kept)
        .map(|argument| match argument.split_at_checked(ARGUMENT_BYTES_MAX) {
            Some((start, rest)) if !rest.is_empty() => {
                [start, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
            }
            _ => argument.to_vec(),
        })
        .collect();
    if count > kept {
        all.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    all
}

#[derive(Debug, Default)]
struct Entries {
    /// The latest first, with their numbers.
    calls: VecDeque<(u64, Arc<SlowCall>)>,
    next: u64,
}

/// The last slow commands.
#[derive(Debug, Default)]
pub struct SlowLog(Mutex<Entries>);

impl SlowLog {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // The entries are valid after every single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command, and keeps no more than `len_max`.
    pub fn push(&self, call: SlowCall, len_max: usize) {
        let mut entries = self.lock();
        let number = entries.next;
        entries.next += 1;
        entries.calls.push_front((number, Arc::new(call)));
        entries.calls.truncate(len_max);
    }

    /// Keeps no more than `len_max`.
    pub fn shorten(&self, len_max: usize) {
        self.lock().calls.truncate(len_max);
    }

    /// The latest `count` commands with their numbers, the latest first.
    #[must_use]
    pub fn latest(&self, count: usize) -> Vec<(u64, Arc<SlowCall>)> {
        self.lock().calls.iter().take(count).cloned().collect()
    }

    /// Number of commands in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().calls.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all; numbers are not used again.
    pub fn reset(&self) {
        self.lock().calls.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_shortened_as_in_redis() {
        let words: Vec<Vec<u8>> = (0..40).map(|n| n.to_string().into_bytes()).collect();
        let short = |count: usize| shortened(words.iter().take(count).map(Vec::as_slice));
        assert_eq!(short(32).len(), 32);
        assert_eq!(short(33).len(), 32);
        assert_eq!(short(33).last().map(Vec::as_slice), Some(&b"... (2 more arguments)"[..]));
        let long = [b'a'; 130];
        let of =
            |len: usize| shortened(long.chunks(130).map(|bytes| bytes.get(..len).unwrap_or(bytes)));
        assert_eq!(of(128), [long.get(..128).unwrap_or_default()]);
        let expected = [&[b'a'; 128][..], b"... (2 more bytes)"].concat();
        assert_eq!(of(130), [expected]);
    }

    #[test]
    fn the_log_keeps_the_latest_and_never_uses_a_number_twice() {
        let log = SlowLog::default();
        let call = |micros| SlowCall {
            unix_seconds: 0,
            micros,
            arguments: Vec::new(),
            address: String::new(),
            client_name: Vec::new(),
        };
        (0..10).for_each(|micros| log.push(call(micros), 3));
        let numbers = |count| log.latest(count).iter().map(|(n, _)| *n).collect::<Vec<_>>();
        assert_eq!(numbers(10), [9, 8, 7]);
        assert_eq!(numbers(1), [9]);
        log.shorten(2);
        assert_eq!(log.len(), 2);
        log.reset();
        assert!(log.is_empty());
        log.push(call(1), 3);
        assert_eq!(numbers(5), [10]);
    }
}
