//! Consumer groups of streams: how far a group has read, and what its consumers have yet to
//! acknowledge.
//!
//! An entry that was delivered and not acknowledged is pending: once with all it takes in the order
//! of the group, and by its id alone in that of its consumer, whom the group's item names by a
//! number. Both are rows of shared pieces, so a clone of a group copies a pointer for each piece.

use crate::data::id_sequence::{HasId, IdSequence};
use crate::data::stream_block::Place;
use crate::data::stream_id::StreamId;
use crate::util::clock::UnixMillis;
use std::sync::Arc;

/// What a clone copies for each piece that it shares, roughly.
const PIECE_BYTES: usize = 32;

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: StreamId,
    /// When it was delivered last.
    pub delivered: UnixMillis,
    /// How often it was delivered.
    pub deliveries: u64,
    /// The number of the consumer whom it was delivered to last.
    pub consumer: ConsumerNumber,
}

impl HasId for Pending {
    fn id(&self) -> StreamId {
        self.id
    }
}

/// The number of a consumer in its group, as long as it is there.
pub type ConsumerNumber = u32;

/// One who reads for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Box<[u8]>,
    /// When it was heard of last.
    pub seen: UnixMillis,
    /// The ids of the entries that were delivered to it and not acknowledged.
    pub pending: IdSequence<StreamId>,
}

/// Where in the blocks of the stream the next entry for a group is, to save searching.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor {
    /// The first id of the block, and the place behind the entry that was delivered last.
    pub(super) place: Option<(StreamId, Place)>,
}

/// A consumer group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: Box<[u8]>,
    /// The id of the entry that was delivered last.
    last_id: StreamId,
    /// How many entries, of all that were ever added, come up to that one; `None` when unknown.
    pub entries_read: Option<i64>,
    pending: IdSequence<Pending>,
    /// By their numbers.
    consumers: Vec<Option<Arc<Consumer>>>,
    /// The numbers of the consumers in the order of their names.
    by_name: Vec<ConsumerNumber>,
    pub(super) cursor: Cursor,
    copied_bytes: usize,
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        // The numbers of consumers are no part of what a group is.
        let is_same = |(one, two): (&Pending, &Pending)| {
            let owner = |group: &Self, number| group.consumer(number).map(|c| c.name.clone());
            (one.id, one.delivered, one.deliveries) == (two.id, two.delivered, two.deliveries)
                && owner(self, one.consumer) == owner(other, two.consumer)
        };
        (&self.name, self.last_id, self.entries_read)
            == (&other.name, other.last_id, other.entries_read)
            && self.consumers().eq(other.consumers())
            && self.pending.len() == other.pending.len()
            && self.pending.iter().zip(other.pending.iter()).all(is_same)
    }
}

impl Eq for Group {}

impl Group {
    /// A group without consumers that has read up to this entry.
    #[must_use]
    pub fn new(name: &[u8], last_id: StreamId, entries_read: Option<i64>) -> Self {
        Self {
            name: name.into(),
            last_id,
            entries_read,
            pending: IdSequence::default(),
            consumers: Vec::new(),
            by_name: Vec::new(),
            cursor: Cursor::default(),
            copied_bytes: 0,
        }
    }

    /// The id of the entry that was delivered last.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// Has the group read up to another entry.
    pub fn set_last_id(&mut self, id: StreamId) {
        self.last_id = id;
        self.cursor = Cursor::default();
    }

    /// Notes that an entry was delivered, and where in its block the next one would begin.
    pub(super) fn note_delivered(&mut self, id: StreamId, cursor: Cursor) {
        self.last_id = id;
        self.cursor = cursor;
    }

    /// All pending entries.
    #[must_use]
    pub fn pending(&self) -> &IdSequence<Pending> {
        &self.pending
    }

    /// Number of consumers.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.by_name.iter().filter_map(|number| self.consumer(*number))
    }

    /// The consumer with this number.
    #[must_use]
    pub fn consumer(&self, number: ConsumerNumber) -> Option<&Consumer> {
        self.consumers.get(number as usize)?.as_deref()
    }

    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|number| {
            let own = self.consumer(*number).map_or(&[][..], |consumer| &consumer.name);
            own.cmp(name)
        })
    }

    /// The number of the consumer with this name. Cost: O(log n) for n consumers.
    #[must_use]
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerNumber> {
        self.by_name.get(self.position(name).ok()?).copied()
    }

    /// The consumer with this name, made if there is none; its number, and whether it is new. Cost:
    /// O(log n) for n consumers, O(n) for a new one.
    pub fn add_consumer(&mut self, name: &[u8], seen: UnixMillis) -> (ConsumerNumber, bool) {
        let position = match self.position(name) {
            Ok(position) => return (self.by_name.get(position).copied().unwrap_or(0), false),
            Err(position) => position,
        };
        let consumer = Consumer { name: name.into(), seen, pending: IdSequence::default() };
        let consumer = Some(Arc::new(consumer));
        let has_free = self.by_name.len() < self.consumers.len();
        let free = has_free.then(|| self.consumers.iter().position(Option::is_none)).flatten();
        let index = free.unwrap_or(self.consumers.len());
        match self.consumers.get_mut(index) {
            Some(place) => *place = consumer,
            None => self.consumers.push(consumer),
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        self.by_name.insert(position, number);
        (number, true)
    }

    /// Notes that a consumer was heard of.
    pub fn note_seen(&mut self, number: ConsumerNumber, now: UnixMillis) {
        self.change_consumer(number, |consumer| consumer.seen = now);
    }

    /// Removes a consumer with all that is pending for it; returns how many entries that were.
    /// Cost: O(m log n) for m of n pending entries.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let position = self.position(name).ok()?;
        let number = self.by_name.remove(position);
        let consumer = self.consumers.get_mut(number as usize)?.take()?;
        for id in consumer.pending.iter() {
            self.pending.remove(*id);
        }
        Some(consumer.pending.len())
    }

    /// Lends a consumer to `change`, copied before if a clone shares it.
    fn change_consumer<R>(
        &mut self,
        number: ConsumerNumber,
        change: impl FnOnce(&mut Consumer) -> R,
    ) -> Option<R> {
        let consumer = self.consumers.get_mut(number as usize)?.as_mut()?;
        if Arc::strong_count(consumer) > 1 {
            self.copied_bytes += size_of::<Consumer>() + consumer.pending.pieces() * PIECE_BYTES;
        }
        let consumer = Arc::make_mut(consumer);
        let result = change(consumer);
        self.copied_bytes += consumer.pending.take_copied_bytes();
        Some(result)
    }

    /// Makes an entry pending for a consumer, whomever it was pending for before. Cost: O(1)
    /// amortized for the highest id, else O(log n).
    pub fn deliver(&mut self, pending: Pending) {
        let (id, consumer) = (pending.id, pending.consumer);
        if !self.pending.insert(pending.clone())
            && let Some(known) = self.pending.get_mut(id)
        {
            let before = std::mem::replace(known, pending).consumer;
            if before == consumer {
                return;
            }
            self.change_consumer(before, |before| before.pending.remove(id));
        }
        self.change_consumer(consumer, |consumer| consumer.pending.insert(id));
    }

    /// Notes that a pending entry was delivered to its consumer once more.
    pub fn note_redelivery(&mut self, id: StreamId, now: UnixMillis) {
        if let Some(pending) = self.pending.get_mut(id) {
            pending.delivered = now;
            pending.deliveries = pending.deliveries.wrapping_add(1);
        }
    }

    /// Acknowledges an entry; false when it is not pending. Cost: O(log n).
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        self.change_consumer(pending.consumer, |consumer| consumer.pending.remove(id));
        true
    }

    /// Adds a pending entry that has no consumer yet; false when it is there. For reading a dump.
    pub fn restore_pending(
        &mut self,
        id: StreamId,
        delivered: UnixMillis,
        deliveries: u64,
    ) -> bool {
        self.pending.insert(Pending { id, delivered, deliveries, consumer: ConsumerNumber::MAX })
    }

    /// Gives a pending entry that has no consumer to this one; false when there is none. For
    /// reading a dump.
    pub fn restore_owner(&mut self, id: StreamId, consumer: ConsumerNumber) -> bool {
        match self.pending.get_mut(id) {
            Some(pending) if pending.consumer == ConsumerNumber::MAX => {
                pending.consumer = consumer;
            }
            _ => return false,
        }
        self.change_consumer(consumer, |consumer| consumer.pending.insert(id)) == Some(true)
    }

    /// True when every pending entry has a consumer.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.pending.len() == self.consumers().map(|consumer| consumer.pending.len()).sum::<usize>()
    }

    pub(super) fn take_copied_bytes(&mut self) -> usize {
        self.pending.take_copied_bytes() + std::mem::take(&mut self.copied_bytes)
    }

    /// Bytes that a clone copies.
    pub(super) fn clone_bytes(&self) -> usize {
        size_of::<Self>() + self.pieces() * PIECE_BYTES
    }

    /// Number of pieces that clones share.
    pub(super) fn pieces(&self) -> usize {
        1 + self.pending.pieces() + self.consumers.len()
    }

    /// Roughly how many bytes it takes. Cost: O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        let of_ids = self.pending.len() * size_of::<StreamId>();
        let of_consumers = self.by_name.len() * (size_of::<Consumer>() + PIECE_BYTES);
        size_of::<Self>() + self.name.len() + self.pending.memory_bytes() + of_ids + of_consumers
    }
}
