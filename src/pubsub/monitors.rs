//! The clients that are told of every command: MONITOR.
//!
//! Who is told is a list behind a lock; whether there is anybody costs one load, so that commands
//! pay nothing as long as there is nobody.

use crate::config::OutputLimits;
use crate::pubsub::{Mailbox, Message};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The clients that monitor.
#[derive(Debug, Default)]
pub struct Monitors {
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
    count: AtomicUsize,
}

/// A client that monitors for as long as this lives.
#[derive(Debug)]
pub struct Monitoring {
    monitors: Arc<Monitors>,
    mailbox: Arc<Mailbox>,
}

impl Monitors {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Mailbox>>> {
        // The list is valid after every single step.
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the owner of `mailbox` of everything from now on.
    #[must_use]
    pub fn add(self: &Arc<Self>, mailbox: &Arc<Mailbox>) -> Monitoring {
        self.lock().push(Arc::clone(mailbox));
        self.count.fetch_add(1, Ordering::SeqCst);
        Monitoring { monitors: Arc::clone(self), mailbox: Arc::clone(mailbox) }
    }

    /// True when somebody monitors.
    #[inline]
    #[must_use]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Sends a line to all. Cost: O(monitors); the line is shared by them.
    pub fn tell(&self, line: Bytes, limits: OutputLimits) {
        let message = Message::encoded(line);
        self.lock().iter().for_each(|mailbox| mailbox.deliver(&message, limits));
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        self.monitors.lock().retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
        self.monitors.count.fetch_sub(1, Ordering::SeqCst);
    }
}
