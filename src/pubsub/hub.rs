//! Who listens to what.
//!
//! A topic is a channel, a pattern or a shard channel with its listeners. The maps of topics are
//! split by a hash of the name, each part behind its own lock, which is held only to look a topic
//! up. A topic whose last listener leaves is closed under its own lock before it leaves the map;
//! who finds it closed looks again.

use crate::config::OutputLimits;
use crate::pubsub::{Mailbox, Message};
use crate::util::glob::glob_match;
use ahash::RandomState;
use bytes::Bytes;
use crossbeam_utils::CachePadded;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Parts of a map of topics.
const PARTS: usize = 64;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages that are published to this very name.
    Channel,
    /// Messages that are published to any channel whose name fits.
    Pattern,
    /// As a channel, in a world of its own: patterns do not see it.
    ShardChannel,
}

/// A name and those who listen to it.
#[derive(Debug)]
struct Topic {
    name: Bytes,
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    /// By the number of the client.
    mailboxes: BTreeMap<u64, Arc<Mailbox>>,
    /// True when the topic has left its map or is about to: nobody may be added.
    closed: bool,
}

impl Topic {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        // What this guards is valid after every single step.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, message: &Message<'_>, limits: OutputLimits) -> usize {
        let listeners = self.lock();
        listeners.mailboxes.values().for_each(|mailbox| mailbox.deliver(message, limits));
        listeners.mailboxes.len()
    }
}

type Part = RwLock<HashMap<Bytes, Arc<Topic>, RandomState>>;

/// The topics of one kind.
#[derive(Debug)]
struct Topics {
    parts: Box<[CachePadded<Part>]>,
    hasher: RandomState,
    count: AtomicUsize,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| CachePadded::default()).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Topics {
    fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn part(&self, name: &[u8]) -> Option<&Part> {
        let hash = self.hasher.hash_one(name);
        usize::try_from(hash % PARTS as u64).ok().and_then(|at| self.parts.get(at)).map(|p| &**p)
    }

    fn find(&self, name: &[u8]) -> Option<Arc<Topic>> {
        if self.len() == 0 {
            return None;
        }
        let part = self.part(name)?.read().unwrap_or_else(PoisonError::into_inner);
        part.get(name).cloned()
    }

    fn find_or_create(&self, name: &Bytes) -> Option<Arc<Topic>> {
        if let Some(topic) = self.find(name) {
            return Some(topic);
        }
        let mut part = self.part(name)?.write().unwrap_or_else(PoisonError::into_inner);
        let topic = part.entry(name.clone()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::SeqCst);
            Arc::new(Topic { name: name.clone(), listeners: Mutex::default() })
        });
        Some(Arc::clone(topic))
    }

    fn add(&self, name: &Bytes, client: u64, mailbox: &Arc<Mailbox>) {
        while let Some(topic) = self.find_or_create(name) {
            let mut listeners = topic.lock();
            if !listeners.closed {
                listeners.mailboxes.insert(client, Arc::clone(mailbox));
                return;
            }
            drop(listeners);
            self.forget(&topic);
        }
    }

    fn remove(&self, name: &[u8], client: u64) {
        let Some(topic) = self.find(name) else {
            return;
        };
        let mut listeners = topic.lock();
        listeners.mailboxes.remove(&client);
        if listeners.mailboxes.is_empty() && !listeners.closed {
            listeners.closed = true;
            drop(listeners);
            self.forget(&topic);
        }
    }

    /// Takes a closed topic out of its map.
    fn forget(&self, topic: &Arc<Topic>) {
        let Some(part) = self.part(&topic.name) else {
            return;
        };
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        if part.get(&topic.name).is_some_and(|present| Arc::ptr_eq(present, topic)) {
            part.remove(&topic.name);
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn listeners(&self, name: &[u8]) -> usize {
        self.find(name).map_or(0, |topic| topic.lock().mailboxes.len())
    }

    /// The topics whose name `fits`. Cost: O(topics).
    fn filter(&self, fits: impl Fn(&[u8]) -> bool) -> SmallVec<[Arc<Topic>; 4]> {
        let mut found = SmallVec::new();
        if self.len() == 0 {
            return found;
        }
        for part in &self.parts {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            found.extend(part.values().filter(|topic| fits(&topic.name)).cloned());
        }
        found
    }
}

/// All topics of a server.
#[derive(Debug, Default)]
pub struct Hub {
    channels: Topics,
    patterns: Topics,
    shard_channels: Topics,
}

impl Hub {
    fn topics(&self, kind: Kind) -> &Topics {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::ShardChannel => &self.shard_channels,
        }
    }

    /// Adds a listener. Cost: O(log n) for n listeners.
    pub(super) fn add(&self, kind: Kind, name: &Bytes, client: u64, mailbox: &Arc<Mailbox>) {
        self.topics(kind).add(name, client, mailbox);
    }

    /// Removes a listener. Cost: O(log n) for n listeners.
    pub(super) fn remove(&self, kind: Kind, name: &[u8], client: u64) {
        self.topics(kind).remove(name, client);
    }

    /// Puts a message into the mailboxes of all who listen to `channel` and, unless it is a shard
    /// channel, to a pattern that fits; returns their number, a client counted for each.
    ///
    /// Cost: O(1) without listeners, else O(listeners + patterns).
    pub fn publish(
        &self,
        is_shard_channel: bool,
        channel: &[u8],
        payload: &[u8],
        limits: OutputLimits,
    ) -> usize {
        let (topics, word): (_, &[u8]) = match is_shard_channel {
            true => (&self.shard_channels, b"smessage"),
            false => (&self.channels, b"message"),
        };
        let mut receivers = topics
            .find(channel)
            .map_or(0, |topic| topic.deliver(&Message::new(&[word, channel, payload]), limits));
        if !is_shard_channel {
            for topic in self.patterns.filter(|pattern| glob_match(pattern, channel, false)) {
                let message = [&b"pmessage"[..], &topic.name, channel, payload];
                receivers += topic.deliver(&Message::new(&message), limits);
            }
        }
        receivers
    }

    /// True when nobody listens to any channel or pattern.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.channels.len() == 0 && self.patterns.len() == 0
    }

    /// Number of topics of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.topics(kind).len()
    }

    /// Number of those who listen to this very name.
    #[must_use]
    pub fn listeners(&self, kind: Kind, name: &[u8]) -> usize {
        self.topics(kind).listeners(name)
    }

    /// The clients that listen to a name which fits, each once for every such name.
    /// Cost: O(topics + listeners).
    #[must_use]
    pub fn clients_that_hear(&self, kind: Kind, fits: impl Fn(&[u8]) -> bool) -> Vec<u64> {
        let topics = self.topics(kind).filter(fits);
        let clients = |topic: &Arc<Topic>| topic.lock().mailboxes.keys().copied().collect();
        topics.iter().flat_map(|topic| -> Vec<u64> { clients(topic) }).collect()
    }

    /// The names of a kind that somebody listens to and that fit a pattern, all without one.
    /// Cost: O(topics).
    #[must_use]
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let fits = |name: &[u8]| pattern.is_none_or(|pattern| glob_match(pattern, name, false));
        self.topics(kind).filter(fits).iter().map(|topic| topic.name.clone()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::OutputBuffer;
    use bytes::Buf;

    const NO_LIMITS: OutputLimits = OutputLimits::NONE;

    fn read(mailbox: &Mailbox) -> String {
        let mut output = OutputBuffer::new();
        mailbox.take_into(&mut output, usize::MAX);
        String::from_utf8_lossy(&output.copy_to_bytes(output.remaining())).into_owned()
    }

    #[test]
    fn a_message_reaches_who_listens_and_nobody_else() {
        let hub = Hub::default();
        let [a, b] = [(); 2].map(|()| Arc::new(Mailbox::default()));
        hub.add(Kind::Channel, &Bytes::from_static(b"news"), 1, &a);
        hub.add(Kind::Pattern, &Bytes::from_static(b"n*"), 1, &a);
        hub.add(Kind::ShardChannel, &Bytes::from_static(b"news"), 2, &b);
        assert_eq!(hub.publish(false, b"other", b"x", NO_LIMITS), 0);
        assert_eq!(hub.publish(false, b"news", b"x", NO_LIMITS), 2);
        let both = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n\
                    *4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\nx\r\n";
        assert_eq!((read(&a).as_str(), read(&b).as_str()), (both, ""));
        assert_eq!(hub.publish(true, b"news", b"x", NO_LIMITS), 1);
        let shard = "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n";
        assert_eq!((read(&a).as_str(), read(&b).as_str()), ("", shard));
        hub.remove(Kind::Channel, b"news", 1);
        hub.remove(Kind::Pattern, b"n*", 1);
        assert!(hub.is_silent());
        assert_eq!(hub.publish(false, b"news", b"x", NO_LIMITS), 0);
    }

    /// Two publish to one channel at full speed; all listeners must have seen the same order.
    #[test]
    fn everybody_sees_the_messages_of_a_channel_in_one_order() {
        let hub = Hub::default();
        let mailboxes: Vec<_> = (0..8).map(|_| Arc::new(Mailbox::default())).collect();
        for (client, mailbox) in (0..).zip(&mailboxes) {
            hub.add(Kind::Channel, &Bytes::from_static(b"c"), client, mailbox);
        }
        std::thread::scope(|scope| {
            for publisher in 0..4 {
                let hub = &hub;
                scope.spawn(move || {
                    for n in 0..500 {
                        let payload = format!("{publisher}-{n}");
                        hub.publish(false, b"c", payload.as_bytes(), NO_LIMITS);
                    }
                });
            }
        });
        let first = read(mailboxes.first().unwrap());
        assert!(first.contains("3-499"));
        assert!(mailboxes.iter().skip(1).all(|mailbox| read(mailbox) == first));
    }

    /// Listeners come and go while a topic is made and closed again and again: none is lost.
    #[test]
    fn a_topic_that_closes_takes_no_listener_with_it() {
        let hub = Hub::default();
        std::thread::scope(|scope| {
            for client in 0..3 {
                let hub = &hub;
                scope.spawn(move || {
                    let name = Bytes::from_static(b"c");
                    let mailbox = Arc::new(Mailbox::default());
                    for _ in 0..20_000 {
                        hub.add(Kind::Channel, &name, client, &mailbox);
                        assert!(hub.publish(false, b"c", b"x", NO_LIMITS) > 0);
                        assert!(mailbox.has_mail(), "what was published did not come");
                        read(&mailbox);
                        hub.remove(Kind::Channel, &name, client);
                        read(&mailbox);
                    }
                });
            }
        });
        assert!(hub.is_silent());
        assert!(hub.channels.filter(|_| true).is_empty());
    }
}
