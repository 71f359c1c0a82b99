//! Telling of what happened to keys: keyspace events, published as messages, and changes, told to
//! those who keep copies.

use crate::command::context::Services;
use crate::keyspace::KeyEvent;
use crate::util::events::EventSet;

/// Tells clients that keep copies of keys which of them have changed, all if databases were
/// `flushed`; `by` is the client that did it.
pub fn tell_changes(services: &Services, events: &[KeyEvent], flushed: bool, by: Option<u64>) {
    if !services.tracking.is_in_use() {
        return;
    }
    let limits = services.config.output_limits();
    if flushed {
        services.tracking.tell_flushed(limits);
    }
    let changes = events.iter().filter(|event| event.class == EventSet::CHANGED);
    let keys: Vec<&[u8]> = changes.map(|event| &event.key[..]).collect();
    services.tracking.tell_changed(&keys, by, limits);
}

/// Publishes the events that notify-keyspace-events asks for, in their order.
///
/// Cost: O(events) without listeners; no lock of the keyspace may be held.
pub fn publish_events(services: &Services, events: &[KeyEvent]) {
    let published = services.config.published_events();
    let limits = services.config.output_limits();
    for KeyEvent { class, name, database, key } in events {
        if !published.has(*class) {
            continue;
        }
        if published.has(EventSet::KEYSPACE) {
            let mut channel = format!("__keyspace@{database}__:").into_bytes();
            channel.extend_from_slice(key);
            services.pubsub.publish(false, &channel, name.as_bytes(), limits);
        }
        if published.has(EventSet::KEYEVENT) {
            let channel = format!("__keyevent@{database}__:{name}");
            services.pubsub.publish(false, channel.as_bytes(), key, limits);
        }
    }
}
