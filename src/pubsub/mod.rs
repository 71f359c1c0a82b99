//! Layer 3: publish/subscribe: who listens to what, and the mail that waits for each client.
//!
//! A message is encoded once for each protocol and shared by all who get it: a subscriber's
//! [`Mailbox`] holds a reference, and its connection's task sends the very same bytes. Publishing
//! never waits for a peer. It puts the message into mailboxes, which have limits, and wakes tasks.
//!
//! Whoever subscribes to one channel gets its messages in the same order as everybody else there:
//! a message goes to all mailboxes of a topic under the lock of that topic. Between two topics
//! there is an order only where one client publishes one message after the other.
//!
//! Locks: a map of topics, then a topic, then a mailbox; a map is not held while messages are put
//! into mailboxes.

mod hub;
mod mailbox;
mod message;
mod monitors;
pub mod planted;
mod subscriptions;
mod tracking;

pub use hub::{Hub, Kind};
pub use mailbox::Mailbox;
pub use message::Message;
pub use monitors::{Monitoring, Monitors};
pub use subscriptions::Subscriptions;
pub use tracking::{Tracker, Tracking};
