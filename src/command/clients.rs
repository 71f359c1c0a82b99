//! The connected clients, as CLIENT LIST shows them and CLIENT KILL ends them.
//!
//! A connection's task writes its own record, in atomics that nobody else writes; others read.
//! Ending a client sets a flag and wakes its task: no connection is ever closed from outside.

use crate::acl::DEFAULT_USER;
use crate::command::blocking::{Ending, WaitState};
use crate::command::pause::Pause;
use crate::command::spec::CommandSpec;
use crate::keyspace::DatabaseNumber;
use crate::protocol::Protocol;
use crate::pubsub::Mailbox;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that a client takes that has sent nothing: its record, its task and what they point to.
const CLIENT_BYTES: usize = 2 << 10;

/// What is known of one client.
#[derive(Debug)]
pub struct ClientRecord {
    /// Its number; never used again.
    pub id: u64,
    /// The peer's address.
    pub address: SocketAddr,
    /// Our address.
    pub local_address: SocketAddr,
    /// The descriptor of its socket.
    pub descriptor: i64,
    /// When it connected.
    pub connected: Instant,
    names: Mutex<ClientNames>,
    /// Milliseconds after `connected` at which it last sent something.
    active_ms: AtomicU64,
    last_command: Mutex<Option<LastCommand>>,
    database: AtomicU32,
    /// Commands that wait for EXEC, -1 outside a transaction, and the bytes that they take.
    queued: AtomicI64,
    queued_bytes: AtomicUsize,
    /// What it waits for in a blocking command.
    waiting: Mutex<Option<Arc<WaitState>>>,
    no_evict: AtomicBool,
    no_touch: AtomicBool,
    monitoring: AtomicBool,
    /// True while a command of it waits for the end of a pause.
    postponed: AtomicBool,
    /// True while its last command has to be waited for, though it does not block.
    awaited: AtomicBool,
    input_bytes: AtomicUsize,
    /// Of these, what came and has not been carried out.
    unread_bytes: AtomicUsize,
    /// What it has beside its buffers: watched keys, channels and the like.
    held_bytes: AtomicUsize,
    /// Of its memory, what is in the sum of all clients.
    counted_bytes: AtomicUsize,
    /// Numbers of channels, patterns and shard channels that it listens to.
    subscriptions: [AtomicUsize; 3],
    /// Who is told of changes of the keys that it reads: -1 for nobody, 0 for itself.
    tracking_redirect: AtomicI64,
    /// Letters of CLIENT LIST about that.
    tracking_flags: Mutex<&'static str>,
    /// What waits for it, and the way to wake its task.
    pub mailbox: Arc<Mailbox>,
    /// True while the client's commands may be running.
    busy: AtomicBool,
    user: Mutex<UserTag>,
}

/// Whose client it is.
#[derive(Debug, Clone)]
struct UserTag {
    id: u64,
    name: Arc<[u8]>,
}

/// The last command of a client: its row and, inside a container, the container's.
#[derive(Debug, Clone, Copy)]
pub struct LastCommand {
    container: Option<&'static str>,
    name: &'static str,
}

/// Names that a client gave itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientNames {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data behind these locks is valid after every single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientRecord {
    /// The names it gave itself.
    #[must_use]
    pub fn names(&self) -> ClientNames {
        lock(&self.names).clone()
    }

    /// Changes the names.
    pub fn change_names(&self, change: impl FnOnce(&mut ClientNames)) {
        change(&mut lock(&self.names));
    }

    /// Notes whose client it is.
    pub(super) fn set_user(&self, id: u64, name: Arc<[u8]>) {
        *lock(&self.user) = UserTag { id, name };
    }

    /// The number of its user.
    #[must_use]
    pub fn user_id(&self) -> u64 {
        lock(&self.user).id
    }

    /// The name of its user.
    #[must_use]
    pub fn user_name(&self) -> Arc<[u8]> {
        Arc::clone(&lock(&self.user).name)
    }

    /// Notes which command it runs.
    pub fn note_command(
        &self,
        container: Option<&'static CommandSpec>,
        spec: &'static CommandSpec,
    ) {
        let container = container.map(|spec| spec.name);
        *lock(&self.last_command) = Some(LastCommand { container, name: spec.name });
    }

    /// The last command in lower case, `client|list` for a subcommand, `NULL` before the first.
    #[must_use]
    pub fn last_command(&self) -> String {
        match *lock(&self.last_command) {
            None => "NULL".to_owned(),
            Some(LastCommand { container: None, name }) => name.to_ascii_lowercase(),
            Some(LastCommand { container: Some(container), name }) => {
                format!("{container}|{name}").to_ascii_lowercase()
            }
        }
    }

    /// Notes that something arrived, and how large its buffers are.
    pub fn note_activity(&self, input_bytes: usize, output_bytes: usize) {
        self.note_alive();
        self.input_bytes.store(input_bytes, Ordering::Relaxed);
        self.mailbox.note_output(output_bytes);
    }

    /// Notes that the client is not silent: it has sent something, taken a part of a long answer,
    /// or was told the end of what it waited for.
    pub fn note_alive(&self) {
        let elapsed = u64::try_from(self.connected.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.active_ms.store(elapsed, Ordering::SeqCst);
    }

    /// Notes how much there is to be sent to it. That it takes something is a sign of life.
    #[inline]
    pub fn note_output(&self, bytes: usize) {
        let before = self.mailbox.note_output(bytes);
        if bytes < before {
            self.note_alive();
        }
    }

    /// Notes how large its buffers are, and what it has beside them.
    pub fn note_memory(&self, input_bytes: usize, output_bytes: usize, held_bytes: usize) {
        self.input_bytes.store(input_bytes, Ordering::Relaxed);
        self.mailbox.note_output(output_bytes);
        self.held_bytes.store(held_bytes, Ordering::Relaxed);
    }

    /// Bytes of memory that are there because of this client.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let (input, output) = self.buffered_bytes();
        let ((_, queued), (_, mail)) = (self.queued(), self.mailbox.waiting());
        let held = self.held_bytes.load(Ordering::Relaxed);
        CLIENT_BYTES + input + output + queued + mail + held
    }

    /// Notes how much of what arrived has not been carried out.
    #[inline]
    pub fn note_unread(&self, bytes: usize) {
        self.unread_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that arrived and have not been carried out.
    #[must_use]
    pub fn unread_bytes(&self) -> usize {
        self.unread_bytes.load(Ordering::Relaxed)
    }

    /// Seconds since it last sent something.
    #[must_use]
    pub fn idle_seconds(&self) -> u64 {
        let now = u64::try_from(self.connected.elapsed().as_millis()).unwrap_or(u64::MAX);
        now.saturating_sub(self.active_ms.load(Ordering::SeqCst)) / 1_000
    }

    /// Bytes in its input buffer and in its output buffer.
    #[must_use]
    pub fn buffered_bytes(&self) -> (usize, usize) {
        (self.input_bytes.load(Ordering::Relaxed), self.mailbox.output_bytes())
    }

    /// Notes the protocol it speaks.
    pub fn set_protocol(&self, protocol: Protocol) {
        self.mailbox.set_protocol(protocol);
    }

    /// Notes who is told of changes of the keys that it reads.
    pub fn set_tracking(&self, redirect: i64, flags: &'static str) {
        self.tracking_redirect.store(redirect, Ordering::Relaxed);
        *lock(&self.tracking_flags) = flags;
    }

    /// Who is told of changes of the keys that it reads (-1 for nobody, 0 for itself), and the
    /// letters of CLIENT LIST about it.
    #[must_use]
    pub fn tracking(&self) -> (i64, &'static str) {
        (self.tracking_redirect.load(Ordering::Relaxed), *lock(&self.tracking_flags))
    }

    /// Notes how many channels, patterns and shard channels it listens to.
    pub fn set_subscriptions(&self, channels: usize, patterns: usize, shard_channels: usize) {
        for (place, count) in self.subscriptions.iter().zip([channels, patterns, shard_channels]) {
            place.store(count, Ordering::Relaxed);
        }
    }

    /// How many channels, patterns and shard channels it listens to.
    #[must_use]
    pub fn subscriptions(&self) -> [usize; 3] {
        self.subscriptions.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Notes the database it has selected.
    pub fn set_database(&self, database: DatabaseNumber) {
        self.database.store(database, Ordering::Relaxed);
    }

    /// Notes how many commands wait for EXEC, `None` outside a transaction.
    pub fn set_queued(&self, count: Option<usize>, bytes: usize) {
        let count = count.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        self.queued.store(count, Ordering::Relaxed);
        self.queued_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How many commands wait for EXEC, -1 outside a transaction, and the bytes that they take.
    #[must_use]
    pub fn queued(&self) -> (i64, usize) {
        (self.queued.load(Ordering::Relaxed), self.queued_bytes.load(Ordering::Relaxed))
    }

    /// Notes that it waits in a blocking command, or no longer.
    pub(super) fn set_waiting(&self, waiting: Option<Arc<WaitState>>) {
        *lock(&self.waiting) = waiting;
    }

    /// True while it waits in a blocking command.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        lock(&self.waiting).is_some()
    }

    /// Ends its wait in a blocking command in this way; false when it does not wait.
    pub fn unblock(&self, ending: Ending) -> bool {
        let ended = lock(&self.waiting).as_ref().is_some_and(|waiting| waiting.end(ending));
        if ended {
            self.wake();
        }
        ended
    }

    /// The database it has selected.
    #[must_use]
    pub fn database(&self) -> DatabaseNumber {
        self.database.load(Ordering::Relaxed)
    }

    /// CLIENT NO-EVICT.
    pub fn set_no_evict(&self, on: bool) {
        self.no_evict.store(on, Ordering::Relaxed);
    }

    /// True after CLIENT NO-EVICT ON.
    #[must_use]
    pub fn no_evict(&self) -> bool {
        self.no_evict.load(Ordering::Relaxed)
    }

    /// CLIENT NO-TOUCH.
    pub fn set_no_touch(&self, on: bool) {
        self.no_touch.store(on, Ordering::Relaxed);
    }

    /// True after CLIENT NO-TOUCH ON.
    #[must_use]
    pub fn no_touch(&self) -> bool {
        self.no_touch.load(Ordering::Relaxed)
    }

    /// Notes whether it is told of every command.
    pub fn set_monitoring(&self, monitoring: bool) {
        self.monitoring.store(monitoring, Ordering::Relaxed);
    }

    /// True while it is told of every command.
    #[must_use]
    pub fn is_monitoring(&self) -> bool {
        self.monitoring.load(Ordering::Relaxed)
    }

    /// Notes that a command of it waits for the end of a pause, or no longer.
    pub fn set_postponed(&self, postponed: bool) {
        self.postponed.store(postponed, Ordering::SeqCst);
    }

    /// True while a command of it waits for the end of a pause.
    #[must_use]
    pub fn is_postponed(&self) -> bool {
        self.postponed.load(Ordering::SeqCst)
    }

    /// Notes that its last command has to be waited for, a save say, or no longer.
    pub fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Ordering::SeqCst);
    }

    /// True while nothing can be expected of it: it waits for the server, or only listens.
    #[must_use]
    pub fn may_be_silent(&self) -> bool {
        let is_listening = self.mailbox.is_subscriber() || self.is_monitoring();
        let is_awaited = self.awaited.load(Ordering::SeqCst);
        is_listening || is_awaited || self.is_postponed() || self.is_blocked()
    }

    /// True while commands of it may be running.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Asks its task to close the connection; true when none had asked before.
    pub fn kill(&self) -> bool {
        let is_new = self.mailbox.close();
        self.unblock(Ending::Gone);
        is_new
    }

    /// True when it is to be closed.
    #[inline]
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.mailbox.is_closed()
    }

    /// Makes its task look at its flags.
    pub fn wake(&self) {
        self.mailbox.wake();
    }

    /// Notes that commands of this client may now be running, or no longer.
    #[inline]
    pub fn set_busy(&self, busy: bool) {
        // In one order with the flag that stops all clients: see `Clients::hold`.
        self.busy.store(busy, Ordering::SeqCst);
    }
}

/// All connected clients.
#[derive(Debug)]
pub struct Clients {
    /// The name of the user of those that have said nothing.
    default_user: Arc<[u8]>,
    records: Mutex<BTreeMap<u64, Arc<ClientRecord>>>,
    next_id: AtomicU64,
    connected: AtomicI64,
    blocked: AtomicI64,
    /// Those of the blocked ones that wait for a limited time.
    timed: AtomicI64,
    holds: AtomicUsize,
    /// Bytes of memory of all that may be disconnected because of them.
    bytes: AtomicUsize,
    /// CLIENT PAUSE.
    pub pause: Pause,
}

/// While it lives no client begins a command.
#[derive(Debug)]
pub struct Hold<'a>(&'a Clients);

impl Hold<'_> {
    /// Waits until no command runs any more; false when some still do after `timeout`.
    pub async fn drained(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        while self.0.busy() > 0 {
            if began.elapsed() > timeout {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// Lets no client go on for as long as the process lives.
    pub fn for_ever(self) {
        std::mem::forget(self);
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::SeqCst);
        self.0.all().iter().for_each(|record| record.wake());
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            default_user: Arc::from(DEFAULT_USER),
            records: Mutex::default(),
            next_id: AtomicU64::new(0),
            connected: AtomicI64::new(0),
            blocked: AtomicI64::new(0),
            timed: AtomicI64::new(0),
            holds: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            pause: Pause::default(),
        }
    }
}

impl Clients {
    /// Adds a client.
    pub fn add(
        &self,
        address: SocketAddr,
        local_address: SocketAddr,
        descriptor: i64,
    ) -> Arc<ClientRecord> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let record = Arc::new(ClientRecord {
            id,
            address,
            local_address,
            descriptor,
            connected: Instant::now(),
            names: Mutex::default(),
            active_ms: AtomicU64::new(0),
            last_command: Mutex::default(),
            database: AtomicU32::new(0),
            queued: AtomicI64::new(-1),
            queued_bytes: AtomicUsize::new(0),
            waiting: Mutex::default(),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            monitoring: AtomicBool::new(false),
            postponed: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            input_bytes: AtomicUsize::new(0),
            unread_bytes: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            counted_bytes: AtomicUsize::new(0),
            subscriptions: Default::default(),
            tracking_redirect: AtomicI64::new(-1),
            tracking_flags: Mutex::default(),
            mailbox: Arc::default(),
            busy: AtomicBool::new(false),
            user: Mutex::new(UserTag { id: 0, name: Arc::clone(&self.default_user) }),
        });
        lock(&self.records).insert(id, Arc::clone(&record));
        self.connected.fetch_add(1, Ordering::Relaxed);
        record
    }

    /// Removes a client that is gone: nothing is sent to it any more.
    pub fn remove(&self, id: u64) {
        if let Some(record) = lock(&self.records).remove(&id) {
            self.count_memory(&record, 0);
            record.mailbox.close();
            self.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Has a client's memory counted in the sum of all.
    pub fn note_memory(&self, record: &ClientRecord) {
        let is_counted = !record.no_evict() && !record.is_killed();
        self.count_memory(record, if is_counted { record.memory_bytes() } else { 0 });
    }

    fn count_memory(&self, record: &ClientRecord, bytes: usize) {
        let before = record.counted_bytes.swap(bytes, Ordering::Relaxed);
        // What one of the two takes away was added before.
        self.bytes.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Bytes of memory of all clients that may be disconnected because of them, as of when each was
    /// noted last.
    #[inline]
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Disconnects those that have most until no more than this is left; returns them.
    ///
    /// Cost: O(n log n) for n clients.
    pub fn evict(&self, bytes_max: usize) -> Vec<Arc<ClientRecord>> {
        let counted = |record: &ClientRecord| record.counted_bytes.load(Ordering::Relaxed);
        let mut largest = self.all();
        largest.retain(|record| counted(record) > 0 && !record.no_evict());
        largest.sort_by_key(|record| std::cmp::Reverse(counted(record)));
        let mut evicted = Vec::new();
        for record in largest {
            if self.memory_bytes() <= bytes_max {
                break;
            }
            // Killed first: from then on `note_memory` counts nothing of it. Of two threads that
            // found the same client, one disconnects it.
            let is_new = record.kill();
            self.count_memory(&record, 0);
            if is_new {
                evicted.push(record);
            }
        }
        evicted
    }

    /// All clients in the order of their numbers.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ClientRecord>> {
        lock(&self.records).values().cloned().collect()
    }

    /// Bytes that all clients take, each as it is counted now. Cost: O(n).
    #[must_use]
    pub fn counted_now(&self) -> usize {
        lock(&self.records).values().map(|record| record.memory_bytes()).sum()
    }

    /// The client with this number.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Arc<ClientRecord>> {
        lock(&self.records).get(&id).cloned()
    }

    /// Number of connected clients.
    #[must_use]
    pub fn connected(&self) -> usize {
        usize::try_from(self.connected.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn note_blocked(&self, is_timed: bool) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
        self.timed.fetch_add(i64::from(is_timed), Ordering::Relaxed);
    }

    pub(super) fn note_unblocked(&self, is_timed: bool) {
        self.blocked.fetch_sub(1, Ordering::Relaxed);
        self.timed.fetch_sub(i64::from(is_timed), Ordering::Relaxed);
    }

    /// Number of clients that wait in blocking commands.
    #[must_use]
    pub fn blocked(&self) -> usize {
        usize::try_from(self.blocked.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Number of those that wait for a limited time.
    #[must_use]
    pub fn blocked_with_timeout(&self) -> usize {
        usize::try_from(self.timed.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Stops all clients from beginning further commands until every such hold has ended.
    ///
    /// A task marks its client busy and then looks for holds; who holds counts itself and then
    /// looks for busy clients. In one order of all these steps, no command can slip through.
    #[must_use]
    pub fn hold(&self) -> Hold<'_> {
        self.holds.fetch_add(1, Ordering::SeqCst);
        self.all().iter().for_each(|record| record.wake());
        Hold(self)
    }

    /// True while no client may begin a command.
    #[inline]
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }

    /// Ends a pause, so that what was postponed goes on.
    pub fn unpause(&self) {
        self.pause.end();
        self.all().iter().for_each(|record| record.wake());
    }

    /// Number of clients of which a command waits for the end of a pause.
    #[must_use]
    pub fn postponed(&self) -> usize {
        self.all().iter().filter(|record| record.is_postponed()).count()
    }

    /// Number of clients whose commands may be running.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.all().iter().filter(|record| record.is_busy()).count()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn a_client_is_evicted_once_by_threads_that_evict_together() {
        const THREADS: usize = 4;
        for _ in 0..500 {
            let clients = Clients::default();
            let records: Vec<_> = (0..8).map(|_| clients.add(address(), address(), 0)).collect();
            records.iter().for_each(|record| clients.note_memory(record));
            let barrier = Barrier::new(THREADS);
            let evict = || {
                barrier.wait();
                clients.evict(0).len()
            };
            let evicted: usize = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(evict)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
            });
            assert_eq!((evicted, clients.memory_bytes()), (records.len(), 0));
        }
    }

    #[test]
    fn an_evicted_client_that_is_still_counted_is_not_evicted_again() {
        let clients = Clients::default();
        let record = clients.add(address(), address(), 0);
        clients.note_memory(&record);
        assert_eq!(clients.evict(0).len(), 1);
        // As its own task does that looked at it just before it was killed.
        clients.count_memory(&record, record.memory_bytes());
        assert!(clients.memory_bytes() > 0);
        assert_eq!((clients.evict(0).len(), clients.memory_bytes()), (0, 0));
    }
}
