//! What waits for one client without having been asked for, and the bell that wakes its task.
//!
//! Anybody may put a message in, and never waits. Only the client's task takes messages out, and
//! only as many as it can send soon, so what waits is counted here. A client that does not read
//! is closed when more waits than client-output-buffer-limit allows: nothing grows without bound.
//! What its connection has taken and not sent yet counts as well, replies included; the task tells
//! how much that is.

use crate::config::{OutputLimit, OutputLimits};
use crate::protocol::{OutputBuffer, Protocol};
use crate::pubsub::Message;
use crate::pubsub::planted;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// What a waiting message costs beside its bytes: its place in the queue.
const MESSAGE_OVERHEAD_BYTES: usize = size_of::<Bytes>();
/// An empty queue with room for more messages than this is given back.
const QUEUE_KEPT_MESSAGES_MAX: usize = 1_024;
/// Bytes that wait at most for a client whose output has no limit.
pub const UNLIMITED_MAIL_BYTES_MAX: usize = 1 << 30;

/// Why a client is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closed {
    Killed,
    TooMuchOutput,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Since when more waits than the soft limit allows.
    over_soft_since: Option<Instant>,
    closed: Option<Closed>,
}

/// The mailbox of one client.
#[derive(Debug, Default)]
pub struct Mailbox {
    queue: Mutex<Queue>,
    has_mail: AtomicBool,
    closed: AtomicBool,
    /// True for RESP3.
    resp3: AtomicBool,
    /// True while the client subscribes to anything: other limits apply.
    subscriber: AtomicBool,
    /// Bytes that its connection has to send: messages that were taken, and replies.
    output_bytes: AtomicUsize,
    waker: OnceLock<Waker>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue is valid after every single step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the waker of the client's task; only the first one counts, since a task has only one.
    pub fn set_waker(&self, waker: &Waker) {
        if self.waker.get().is_none() {
            let _already_set = self.waker.set(waker.clone());
        }
    }

    /// Makes the client's task look at what has changed.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Notes the protocol in which messages are to be encoded from now on.
    pub fn set_protocol(&self, protocol: Protocol) {
        self.resp3.store(protocol == Protocol::Resp3, Ordering::Relaxed);
    }

    /// The protocol in which messages are encoded.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        if self.resp3.load(Ordering::Relaxed) { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    /// Notes whether the client subscribes to anything.
    pub fn set_subscriber(&self, subscriber: bool) {
        self.subscriber.store(subscriber, Ordering::Relaxed);
    }

    /// True while the client subscribes to anything.
    #[must_use]
    pub fn is_subscriber(&self) -> bool {
        self.subscriber.load(Ordering::Relaxed)
    }

    /// Puts a message in and wakes the task if it was the first; closes the client instead when
    /// too much would wait for it. Cost: O(1).
    pub fn deliver(&self, message: &Message<'_>, limits: OutputLimits) {
        let frame = message.frame(self.protocol());
        let mut queue = self.lock();
        if queue.closed.is_some() {
            return;
        }
        queue.bytes += frame.len() + MESSAGE_OVERHEAD_BYTES;
        if queue.is_over(self.limit(limits), self.output_bytes()) {
            drop(queue);
            self.overflow();
            return;
        }
        queue.messages.push_back(frame.clone());
        let count = queue.messages.len();
        if planted::is_on() && count > 1 {
            queue.messages.swap(count - 2, count - 1);
        }
        // Under the lock, so that it is never down while there is mail.
        let was_up = self.has_mail.swap(true, Ordering::SeqCst);
        drop(queue);
        if !was_up {
            self.wake();
        }
    }

    fn limit(&self, limits: OutputLimits) -> OutputLimit {
        if self.is_subscriber() { limits.subscriber } else { limits.normal }
    }

    /// Closes the client when more waits for it than may, or too much for too long. For clients to
    /// whom nothing new is sent meanwhile.
    pub fn enforce(&self, limits: OutputLimits) {
        let output_bytes = self.output_bytes();
        let mut queue = self.lock();
        if queue.closed.is_none() && queue.is_over(self.limit(limits), output_bytes) {
            drop(queue);
            self.overflow();
        }
    }

    /// Has the client's task close the connection because too much waits to be sent.
    #[cold]
    pub fn overflow(&self) {
        self.lock().close(Closed::TooMuchOutput);
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Notes how many bytes the connection has to send; returns how many it had. Only its task
    /// does so.
    #[inline]
    pub fn note_output(&self, bytes: usize) -> usize {
        let before = self.output_bytes.load(Ordering::Relaxed);
        if before != bytes {
            self.output_bytes.store(bytes, Ordering::Relaxed);
        }
        before
    }

    /// Bytes that the connection has to send.
    #[inline]
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.output_bytes.load(Ordering::Relaxed)
    }

    /// True when messages wait.
    #[inline]
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Relaxed)
    }

    /// Moves messages to `output`, without copying them, until that holds `output_bytes_max` or
    /// no message is left. Cost: O(messages moved).
    pub fn take_into(&self, output: &mut OutputBuffer, output_bytes_max: usize) {
        if !self.has_mail() {
            return;
        }
        let mut queue = self.lock();
        while output.len() < output_bytes_max
            && let Some(frame) = queue.messages.pop_front()
        {
            queue.bytes -= frame.len() + MESSAGE_OVERHEAD_BYTES;
            output.push_shared(frame);
        }
        self.note_output(output.len());
        if queue.messages.is_empty() {
            self.has_mail.store(false, Ordering::SeqCst);
            if queue.messages.capacity() > QUEUE_KEPT_MESSAGES_MAX {
                queue.messages = VecDeque::new();
            }
        }
    }

    /// Messages that wait, and the bytes that they take.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.messages.len(), queue.bytes)
    }

    /// Has the client's task close the connection; true when it was not to be closed before.
    pub fn close(&self) -> bool {
        self.lock().close(Closed::Killed);
        let is_new = !self.closed.swap(true, Ordering::SeqCst);
        self.wake();
        is_new
    }

    /// True when the connection is to be closed.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// True when it is to be closed because too much waited.
    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.lock().closed == Some(Closed::TooMuchOutput)
    }
}

impl Queue {
    fn close(&mut self, why: Closed) {
        if self.closed.is_none() {
            *self = Self { closed: Some(why), ..Self::default() };
        }
    }

    /// True when more waits than may, here and in the output: as much as the hard limit, or as the
    /// soft one for too long.
    fn is_over(&mut self, limit: OutputLimit, output_bytes: usize) -> bool {
        let waiting = (self.bytes + output_bytes) as u64;
        let is_over_hard = limit.hard_bytes > 0 && waiting >= limit.hard_bytes;
        if is_over_hard || self.bytes > UNLIMITED_MAIL_BYTES_MAX {
            return true;
        }
        if limit.soft_bytes == 0 || waiting < limit.soft_bytes {
            self.over_soft_since = None;
            return false;
        }
        match self.over_soft_since {
            Some(since) => since.elapsed() > Duration::from_secs(limit.soft_seconds),
            None => {
                self.over_soft_since = Some(Instant::now());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    fn limit(hard_bytes: u64, soft_bytes: u64, soft_seconds: u64) -> OutputLimits {
        let subscriber = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
        OutputLimits { normal: OutputLimit::default(), subscriber }
    }

    fn subscriber() -> Mailbox {
        let mailbox = Mailbox::default();
        mailbox.set_subscriber(true);
        mailbox
    }

    #[test]
    fn messages_come_out_in_order_and_are_not_copied() {
        let (mailbox, mut output) = (Mailbox::default(), OutputBuffer::new());
        let frame = Bytes::from_static(b">1\r\n$1\r\na\r\n");
        assert!(!mailbox.has_mail());
        mailbox.deliver(&Message::encoded(frame.clone()), limit(0, 0, 0));
        mailbox.deliver(&Message::encoded(Bytes::from_static(b"second")), limit(0, 0, 0));
        assert_eq!(mailbox.waiting().0, 2);
        mailbox.take_into(&mut output, 1);
        assert!(mailbox.has_mail());
        assert_eq!(output.chunk().as_ptr(), frame.as_ptr());
        mailbox.take_into(&mut output, usize::MAX);
        assert!(!mailbox.has_mail());
        assert_eq!(mailbox.waiting(), (0, 0));
        assert_eq!(output.copy_to_bytes(output.remaining()), ">1\r\n$1\r\na\r\nsecond");
    }

    #[test]
    fn a_client_for_whom_too_much_waits_is_closed_and_its_mail_freed() {
        let frame = || Message::encoded(Bytes::from(vec![b'x'; 1_000]));
        let mailbox = subscriber();
        for _ in 0..9 {
            mailbox.deliver(&frame(), limit(10_000, 0, 0));
        }
        assert!(!mailbox.is_closed());
        mailbox.deliver(&frame(), limit(10_000, 0, 0));
        assert!(mailbox.is_closed() && mailbox.has_overflowed());
        mailbox.deliver(&frame(), limit(10_000, 0, 0));
        assert_eq!(mailbox.waiting(), (0, 0));
    }

    #[test]
    fn the_soft_limit_counts_only_when_it_is_passed_for_long_enough() {
        let frame = || Message::encoded(Bytes::from(vec![b'x'; 1_000]));
        let (at_once, patient) = (subscriber(), subscriber());
        for _ in 0..3 {
            patient.deliver(&frame(), limit(0, 1_500, 60));
            at_once.deliver(&frame(), limit(0, 1_500, 0));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(!patient.is_closed());
        assert!(at_once.has_overflowed());
    }

    #[test]
    fn what_the_connection_has_to_send_counts_and_time_passes_without_messages() {
        let frame = || Message::encoded(Bytes::from(vec![b'x'; 1_000]));
        let mailbox = subscriber();
        assert_eq!((mailbox.note_output(9_000), mailbox.output_bytes()), (0, 9_000));
        mailbox.enforce(limit(10_000, 0, 0));
        assert!(!mailbox.is_closed());
        mailbox.deliver(&frame(), limit(10_000, 0, 0));
        assert!(mailbox.has_overflowed());
        let waiting = subscriber();
        waiting.deliver(&frame(), limit(0, 500, 0));
        std::thread::sleep(Duration::from_millis(2));
        let mut output = OutputBuffer::new();
        waiting.take_into(&mut output, usize::MAX);
        assert_eq!(waiting.output_bytes(), 1_000);
        waiting.enforce(limit(0, 2_000, 0));
        assert!(!waiting.is_closed(), "below the limit, and the time begins anew");
        waiting.enforce(limit(0, 1_000, 0));
        std::thread::sleep(Duration::from_millis(2));
        waiting.enforce(limit(0, 1_000, 0));
        assert!(waiting.has_overflowed());
    }

    #[test]
    fn a_client_without_a_limit_has_one_after_all() {
        let mailbox = Mailbox::default();
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..1_023 {
            mailbox.deliver(&Message::encoded(large.clone()), limit(1, 1, 0));
        }
        assert!(!mailbox.is_closed());
        mailbox.deliver(&Message::encoded(large.clone()), limit(1, 1, 0));
        mailbox.deliver(&Message::encoded(large), limit(1, 1, 0));
        assert!(mailbox.has_overflowed());
    }

    #[test]
    fn who_was_killed_gets_no_more_mail() {
        let mailbox = Mailbox::default();
        mailbox.close();
        mailbox.deliver(&Message::encoded(Bytes::from_static(b"x")), limit(0, 0, 0));
        assert!(mailbox.is_closed() && !mailbox.has_overflowed() && !mailbox.has_mail());
    }
}
