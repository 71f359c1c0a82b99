//! What happens to keys, noted for those who want to hear of it.
//!
//! A change notes its events under its locks, in [`AfterUnlock`](super::AfterUnlock), and they are
//! told when the locks are released. Nothing is noted that nobody has asked for.

use crate::keyspace::database::DatabaseNumber;
use crate::util::events::EventSet;

/// Something that happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// Its one class.
    pub class: EventSet,
    /// Its name, as `set` or `expired`.
    pub name: &'static str,
    /// The database of the key.
    pub database: DatabaseNumber,
    /// The key.
    pub key: Box<[u8]>,
}

/// Events of one command.
#[derive(Debug, Default)]
pub(super) struct Events {
    wanted: EventSet,
    noted: Vec<KeyEvent>,
    /// True when databases were emptied or changed their numbers: any key may have changed.
    flushed: bool,
}

impl Events {
    /// Notes only these classes from now on.
    #[inline]
    pub fn want(&mut self, wanted: EventSet) {
        self.wanted = wanted;
    }

    /// Notes an event if its class is wanted.
    #[inline]
    pub fn note(
        &mut self,
        class: EventSet,
        name: &'static str,
        database: DatabaseNumber,
        key: &[u8],
    ) {
        if self.wanted.has(class) {
            self.noted.push(KeyEvent { class, name, database, key: key.into() });
        }
    }

    /// Notes that a value or a deadline has changed, whether or not that is wanted.
    pub fn note_changed(&mut self, database: DatabaseNumber, key: &[u8]) {
        let (class, name) = (EventSet::CHANGED, "");
        self.noted.push(KeyEvent { class, name, database, key: key.into() });
    }

    /// As [`note`](Self::note), in front of an event with the name `last` that came too early.
    pub fn note_before(
        &mut self,
        last: &'static str,
        class: EventSet,
        name: &'static str,
        database: DatabaseNumber,
        key: &[u8],
    ) {
        let before = self.noted.last().map(|event| event.name);
        let count = self.noted.len();
        self.note(class, name, database, key);
        if self.noted.len() > count && before == Some(last) {
            self.noted.swap(count - 1, count);
        }
    }

    /// Notes that any key may have changed.
    pub fn note_flushed(&mut self) {
        self.flushed = true;
    }

    /// Whether any key may have changed since the last call.
    pub fn take_flushed(&mut self) -> bool {
        std::mem::take(&mut self.flushed)
    }

    /// True when nothing is noted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty() && !self.flushed
    }

    /// Adds events that were noted elsewhere.
    pub fn add(&mut self, events: Vec<KeyEvent>) {
        self.noted.extend(events);
    }

    /// The events noted so far.
    pub fn take(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.noted)
    }
}
