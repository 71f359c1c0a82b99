//! Which clients keep copies of which keys, so that they can be told when a key changes.
//!
//! A client that reads a key is remembered for it *before* it reads: a change that comes later
//! finds it, and one that comes in between tells it once too often and never once too rarely. The
//! word goes into its mailbox, behind the reply that is being written. A key is forgotten when its
//! change was told; whoever reads it again is remembered again.
//!
//! Clients that broadcast are told of every key with one of their prefixes, and nothing is
//! remembered for them.

use crate::config::OutputLimits;
use crate::protocol::{OutputBuffer, Protocol, ReplyWriter};
use crate::pubsub::{Mailbox, Message};
use ahash::RandomState;
use bytes::{Buf, Bytes};
use crossbeam_utils::CachePadded;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Parts of the table of keys.
const PARTS: usize = 64;
/// The channel of clients that cannot be pushed to.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// One client that is told of changes.
#[derive(Debug)]
pub struct Tracker {
    /// Its number.
    pub client: u64,
    mailbox: Arc<Mailbox>,
    /// Who is told in its place.
    redirect: Option<(u64, Arc<Mailbox>)>,
    /// True when it is not told of what it changes itself.
    skips_own: bool,
    /// True once the one who is told in its place is gone.
    is_broken: AtomicBool,
}

impl Tracker {
    /// A client that is told itself, or by another one's connection.
    #[must_use]
    pub fn new(
        client: u64,
        mailbox: Arc<Mailbox>,
        redirect: Option<(u64, Arc<Mailbox>)>,
        skips_own: bool,
    ) -> Self {
        Self { client, mailbox, redirect, skips_own, is_broken: AtomicBool::new(false) }
    }

    /// The number of the client that is told in its place.
    #[must_use]
    pub fn redirect(&self) -> Option<u64> {
        self.redirect.as_ref().map(|(client, _)| *client)
    }

    /// True when it is not told of what it changes itself.
    #[must_use]
    pub fn skips_own(&self) -> bool {
        self.skips_own
    }

    /// True once the client that was told in its place is gone.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    fn tell(&self, word: &Invalidation<'_>, limits: OutputLimits) {
        let Some((redirect, mailbox)) = &self.redirect else {
            if self.mailbox.protocol() == Protocol::Resp3 {
                self.mailbox.deliver(&word.push(), limits);
            }
            return;
        };
        if mailbox.is_closed() {
            self.is_broken.store(true, Ordering::Relaxed);
            if self.mailbox.protocol() == Protocol::Resp3 {
                self.mailbox.deliver(&broken(*redirect), limits);
            }
        } else if mailbox.protocol() == Protocol::Resp3 {
            mailbox.deliver(&word.push(), limits);
        } else if mailbox.is_subscriber() {
            mailbox.deliver(&word.message(), limits);
        }
    }
}

fn encoded(protocol: Protocol, write: impl FnOnce(&mut ReplyWriter<'_>)) -> Bytes {
    let mut output = OutputBuffer::new();
    write(&mut ReplyWriter::new(&mut output, protocol));
    output.copy_to_bytes(output.remaining())
}

fn broken(redirect: u64) -> Message<'static> {
    Message::encoded(encoded(Protocol::Resp3, |reply| {
        reply.push(2);
        reply.bulk(b"tracking-redir-broken");
        reply.integer(i64::try_from(redirect).unwrap_or(i64::MAX));
    }))
}

/// What clients are told: these keys have changed, or any may have.
#[derive(Clone, Copy)]
struct Invalidation<'a> {
    keys: Option<&'a [&'a [u8]]>,
}

impl Invalidation<'_> {
    fn write(self, reply: &mut ReplyWriter<'_>) {
        match self.keys {
            None => reply.null(),
            Some(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
        }
    }

    fn push(self) -> Message<'static> {
        Message::encoded(encoded(Protocol::Resp3, |reply| {
            reply.push(2);
            reply.bulk(b"invalidate");
            self.write(reply);
        }))
    }

    fn message(self) -> Message<'static> {
        Message::encoded(encoded(Protocol::Resp2, |reply| {
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
            self.write(reply);
        }))
    }
}

type Readers = SmallVec<[u64; 2]>;
type Part = Mutex<HashMap<Box<[u8]>, Readers, RandomState>>;

/// All that clients want to be told of.
#[derive(Debug)]
pub struct Tracking {
    parts: Box<[CachePadded<Part>]>,
    hasher: RandomState,
    keys: AtomicUsize,
    items: AtomicUsize,
    trackers: RwLock<HashMap<u64, Arc<Tracker>, RandomState>>,
    prefixes: RwLock<BTreeMap<Bytes, BTreeSet<u64>>>,
    /// Number of trackers.
    clients: AtomicUsize,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| CachePadded::default()).collect(),
            hasher: RandomState::new(),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            trackers: RwLock::default(),
            prefixes: RwLock::default(),
            clients: AtomicUsize::new(0),
        }
    }
}

impl Tracking {
    fn trackers(&self) -> RwLockReadGuard<'_, HashMap<u64, Arc<Tracker>, RandomState>> {
        // What these locks guard is valid after every single step.
        self.trackers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn prefixes_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Bytes, BTreeSet<u64>>> {
        self.prefixes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, key: &[u8]) -> Option<&Part> {
        let hash = self.hasher.hash_one(key);
        usize::try_from(hash % PARTS as u64).ok().and_then(|at| self.parts.get(at)).map(|p| &**p)
    }

    fn lock(part: &Part) -> MutexGuard<'_, HashMap<Box<[u8]>, Readers, RandomState>> {
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when any client wants to be told of anything.
    #[inline]
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.clients.load(Ordering::Relaxed) > 0
    }

    /// Numbers of clients, of keys, of clients over all keys, and of prefixes.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        let count = |place: &AtomicUsize| place.load(Ordering::Relaxed);
        let prefixes = self.prefixes.read().unwrap_or_else(PoisonError::into_inner).len();
        [count(&self.clients), count(&self.keys), count(&self.items), prefixes]
    }

    /// Adds a client, or changes how it is told. Before the first one is added, `switch` is called
    /// with true: changes must be noted from then on.
    pub fn add(&self, tracker: Arc<Tracker>, switch: impl FnOnce(bool)) {
        let mut trackers = self.trackers.write().unwrap_or_else(PoisonError::into_inner);
        if trackers.is_empty() {
            switch(true);
        }
        trackers.insert(tracker.client, tracker);
        self.clients.store(trackers.len(), Ordering::SeqCst);
    }

    /// Tells a client of every key with this prefix.
    pub fn add_prefix(&self, prefix: &[u8], client: u64) {
        let prefix = Bytes::copy_from_slice(prefix);
        self.prefixes_mut().entry(prefix).or_default().insert(client);
    }

    /// Tells a client nothing any more; after the last one `switch` is called with false. The keys
    /// it has read are forgotten when they change, or with the last client.
    pub fn remove(&self, client: u64, prefixes: &BTreeSet<Bytes>, switch: impl FnOnce(bool)) {
        let mut trackers = self.trackers.write().unwrap_or_else(PoisonError::into_inner);
        let was_there = trackers.remove(&client).is_some();
        self.clients.store(trackers.len(), Ordering::SeqCst);
        if was_there && trackers.is_empty() {
            switch(false);
            self.forget_all();
        }
        drop(trackers);
        let mut all = self.prefixes_mut();
        for prefix in prefixes {
            if let Some(clients) = all.get_mut(prefix) {
                clients.remove(&client);
                if clients.is_empty() {
                    all.remove(prefix);
                }
            }
        }
    }

    /// Remembers that a client is about to read a key. With more than `keys_max` keys (0 for no
    /// limit) another one is forgotten, and those who have read it are told so.
    ///
    /// Cost: O(clients that have read the key).
    pub fn remember(&self, key: &[u8], client: u64, keys_max: usize, limits: OutputLimits) {
        let Some(part) = self.part(key) else {
            return;
        };
        let mut keys = Self::lock(part);
        let readers = match keys.get_mut(key) {
            Some(readers) => readers,
            None => {
                self.keys.fetch_add(1, Ordering::Relaxed);
                keys.entry(key.into()).or_default()
            }
        };
        if !readers.contains(&client) {
            readers.push(client);
            self.items.fetch_add(1, Ordering::Relaxed);
        }
        if keys_max == 0 || self.keys.load(Ordering::Relaxed) <= keys_max {
            return;
        }
        let other = keys.keys().find(|other| other[..] != *key).cloned();
        drop(keys);
        let other = other.or_else(|| self.any_key_but(key));
        if let Some(other) = other {
            self.tell_readers(&other, None, limits);
        }
    }

    fn any_key_but(&self, key: &[u8]) -> Option<Box<[u8]>> {
        self.parts
            .iter()
            .find_map(|part| Self::lock(part).keys().find(|other| other[..] != *key).cloned())
    }

    /// Tells those who have read one of these keys, or asked for it by a prefix, that it has
    /// changed. `by` is the client that has changed them. No lock of the keyspace may be held.
    ///
    /// Cost: O(keys * (readers + prefixes)).
    pub fn tell_changed(&self, keys: &[&[u8]], by: Option<u64>, limits: OutputLimits) {
        keys.iter().for_each(|key| self.tell_readers(key, by, limits));
        let prefixes = self.prefixes.read().unwrap_or_else(PoisonError::into_inner);
        for (prefix, clients) in &*prefixes {
            let mut changed: SmallVec<[&[u8]; 4]> = SmallVec::new();
            for key in keys {
                if key.starts_with(prefix) && !changed.contains(key) {
                    changed.push(key);
                }
            }
            if !changed.is_empty() {
                let word = Invalidation { keys: Some(&changed) };
                clients.iter().for_each(|client| self.tell(*client, &word, by, limits));
            }
        }
    }

    fn tell_readers(&self, key: &[u8], by: Option<u64>, limits: OutputLimits) {
        if self.keys.load(Ordering::Relaxed) == 0 {
            return;
        }
        let readers = self.part(key).and_then(|part| Self::lock(part).remove(key));
        let Some(readers) = readers else {
            return;
        };
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.items.fetch_sub(readers.len(), Ordering::Relaxed);
        let keys = [key];
        let word = Invalidation { keys: Some(&keys) };
        readers.iter().for_each(|client| self.tell(*client, &word, by, limits));
    }

    fn tell(&self, client: u64, word: &Invalidation<'_>, by: Option<u64>, limits: OutputLimits) {
        let tracker = self.trackers().get(&client).cloned();
        if let Some(tracker) = tracker
            && !(tracker.skips_own && by == Some(client))
        {
            tracker.tell(word, limits);
        }
    }

    fn forget_all(&self) {
        for part in &self.parts {
            let keys = std::mem::take(&mut *Self::lock(part));
            self.keys.fetch_sub(keys.len(), Ordering::Relaxed);
            self.items.fetch_sub(keys.values().map(SmallVec::len).sum(), Ordering::Relaxed);
        }
    }

    /// Tells all clients that any key may have changed, and forgets all keys.
    pub fn tell_flushed(&self, limits: OutputLimits) {
        self.forget_all();
        let trackers: Vec<Arc<Tracker>> = self.trackers().values().cloned().collect();
        let word = Invalidation { keys: None };
        trackers.iter().for_each(|tracker| tracker.tell(&word, limits));
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    const NO_LIMITS: OutputLimits = OutputLimits::NONE;

    fn tracker(tracking: &Tracking, client: u64, skips_own: bool) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        mailbox.set_protocol(Protocol::Resp3);
        let tracker = Tracker::new(client, Arc::clone(&mailbox), None, skips_own);
        tracking.add(Arc::new(tracker), |_| ());
        mailbox
    }

    fn read(mailbox: &Mailbox) -> String {
        let mut output = OutputBuffer::new();
        mailbox.take_into(&mut output, usize::MAX);
        String::from_utf8_lossy(&output.copy_to_bytes(output.remaining())).into_owned()
    }

    #[test]
    fn who_has_read_a_key_is_told_of_its_next_change_only() {
        let tracking = Tracking::default();
        let (a, b) = (tracker(&tracking, 1, false), tracker(&tracking, 2, true));
        for client in [1, 2, 2] {
            tracking.remember(b"k", client, 0, NO_LIMITS);
        }
        assert_eq!(tracking.counts(), [2, 1, 2, 0]);
        tracking.tell_changed(&[b"other", b"k"], Some(2), NO_LIMITS);
        assert_eq!(read(&a), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        assert_eq!(read(&b), "", "changed it itself");
        tracking.tell_changed(&[b"k"], None, NO_LIMITS);
        assert_eq!((read(&a).as_str(), tracking.counts()), ("", [2, 0, 0, 0]));
        tracking.remember(b"k", 2, 0, NO_LIMITS);
        tracking.tell_flushed(NO_LIMITS);
        assert_eq!(read(&b), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
        assert_eq!(tracking.counts(), [2, 0, 0, 0]);
        tracking.remember(b"k", 2, 0, NO_LIMITS);
        let mut switched = None;
        tracking.remove(2, &BTreeSet::new(), |on| switched = Some(on));
        assert_eq!((tracking.counts(), switched), ([1, 1, 1, 0], None));
        tracking.remove(1, &BTreeSet::new(), |on| switched = Some(on));
        assert_eq!((tracking.counts(), switched), ([0, 0, 0, 0], Some(false)));
    }

    #[test]
    fn with_too_many_keys_others_are_given_up() {
        let tracking = Tracking::default();
        let mailbox = tracker(&tracking, 1, false);
        for n in 0..1_000 {
            tracking.remember(format!("key:{n}").as_bytes(), 1, 100, NO_LIMITS);
        }
        assert_eq!(tracking.counts(), [1, 100, 100, 0]);
        assert_eq!(read(&mailbox).matches("invalidate").count(), 900);
    }

    #[test]
    fn prefixes_are_told_at_once() {
        let tracking = Tracking::default();
        let mailbox = tracker(&tracking, 1, false);
        tracking.add_prefix(b"user:", 1);
        tracking.tell_changed(&[b"user:1", b"x", b"user:1", b"user:2"], None, NO_LIMITS);
        let both = ">2\r\n$10\r\ninvalidate\r\n*2\r\n$6\r\nuser:1\r\n$6\r\nuser:2\r\n";
        assert_eq!(read(&mailbox), both);
        tracking.remove(1, &BTreeSet::from([Bytes::from_static(b"user:")]), |_| ());
        assert_eq!(tracking.counts(), [0; 4]);
    }
}
