//! What one client listens to.

use crate::pubsub::{Hub, Kind, Mailbox};
use ahash::RandomState;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Names with the order in which they came.
#[derive(Debug, Default)]
struct Names {
    order: HashMap<Bytes, u64, RandomState>,
    next: u64,
}

impl Names {
    fn insert(&mut self, name: &Bytes) -> bool {
        self.next += 1;
        let next = self.next;
        let is_new = !self.order.contains_key(name);
        if is_new {
            self.order.insert(name.clone(), next);
        }
        is_new
    }

    fn in_order(&self) -> Vec<Bytes> {
        let mut names: Vec<_> = self.order.iter().collect();
        names.sort_unstable_by_key(|(_, order)| **order);
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Everything that a client listens to. Dropping it ends that.
#[derive(Debug)]
pub struct Subscriptions {
    hub: Arc<Hub>,
    client: u64,
    mailbox: Arc<Mailbox>,
    channels: Names,
    patterns: Names,
    shard_channels: Names,
}

impl Subscriptions {
    /// Nothing yet.
    #[must_use]
    pub fn new(hub: Arc<Hub>, client: u64, mailbox: Arc<Mailbox>) -> Self {
        let (channels, patterns, shard_channels) = Default::default();
        Self { hub, client, mailbox, channels, patterns, shard_channels }
    }

    fn names(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::ShardChannel => &mut self.shard_channels,
        }
    }

    /// Listens to one more name; one that is listened to already stays so.
    pub fn subscribe(&mut self, kind: Kind, name: &[u8]) {
        let name = Bytes::copy_from_slice(name);
        if self.names(kind).insert(&name) {
            self.mailbox.set_subscriber(true);
            self.hub.add(kind, &name, self.client, &self.mailbox);
        }
    }

    /// Listens to a name no longer: messages that are published from now on do not come.
    pub fn unsubscribe(&mut self, kind: Kind, name: &[u8]) {
        if self.names(kind).order.remove(name).is_some() {
            self.hub.remove(kind, name, self.client);
            self.mailbox.set_subscriber(!self.is_empty());
        }
    }

    /// The names of a kind in the order in which they came. Cost: O(n log n).
    #[must_use]
    pub fn all(&mut self, kind: Kind) -> Vec<Bytes> {
        self.names(kind).in_order()
    }

    /// Listens to nothing any more.
    pub fn clear(&mut self) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::ShardChannel] {
            for name in std::mem::take(&mut self.names(kind).order).into_keys() {
                self.hub.remove(kind, &name, self.client);
            }
        }
        self.mailbox.set_subscriber(false);
    }

    /// True when nothing is listened to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts() == (0, 0, 0)
    }

    /// Numbers of channels, patterns and shard channels.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let [channels, patterns, shard_channels] =
            [&self.channels, &self.patterns, &self.shard_channels].map(|names| names.order.len());
        (channels, patterns, shard_channels)
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.clear();
    }
}
