//! The ceiling of memory: whether a command may run, and making room before it does.
//!
//! Before a command that may need memory the gate compares what is in use with maxmemory, holding
//! no lock. With too much in use keys give way, by the policy, one after the other, until there is
//! room or the time for it is up. Then the command runs all the same, and a task in the background
//! goes on: what grows the data faster than keys can go is slowed down by making room itself.
//!
//! What a running snapshot keeps beside the data is not counted, as Redis does not count the pages
//! that its child and it do not share any more: keys that give way meanwhile would free nothing.

use crate::command::context::{Context, Services};
use crate::command::dispatch::{Gate, blocking_if};
use crate::command::spec::{CommandSpec, Flags, Run};
use crate::config::{Config, Policy};
use crate::keyspace::{AfterUnlock, Among, Evicted, First, Order, Pool, Uses};
use crate::stats::Counter;
use crate::util::allocator;
use crate::util::clock::{Stopwatch, UnixMillis};
use crate::util::random::Random;
use crossbeam_utils::CachePadded;
use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Pools of candidates: so many threads make room without waiting for each other.
const POOLS: usize = 8;
/// Keys that give way between two looks at the time and at what is in use.
const KEYS_BETWEEN_LOOKS: usize = 16;
/// Values of no more allocations than this are freed without moving the thread's other tasks.
const FREE_HERE_COST_MAX: usize = 1_024;

/// How making room has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// No more is in use than may be.
    Enough,
    /// There is more to do, and it goes on in the background.
    Coming,
    /// No key may give way.
    None,
}

/// What making room needs from one time to the next.
#[derive(Debug)]
pub struct Eviction {
    pools: [CachePadded<Mutex<Pool>>; POOLS],
    began: Instant,
    /// Microseconds after `began` since when too much is in use; 0 when it is not.
    exceeded_since: AtomicU64,
    /// Microseconds for which too much was in use, up to the last time.
    exceeded: AtomicU64,
    wake: Notify,
}

impl Default for Eviction {
    fn default() -> Self {
        Self {
            pools: array::from_fn(|_| CachePadded::default()),
            began: Instant::now(),
            exceeded_since: AtomicU64::new(0),
            exceeded: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }
}

impl Eviction {
    /// Has the task in the background look whether there is something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until it was woken.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// For how many milliseconds too much was in use, all in all and since when it is now.
    #[must_use]
    pub fn exceeded_ms(&self) -> (u64, u64) {
        let now = match self.exceeded_since.load(Ordering::Relaxed) {
            0 => 0,
            since => self.micros().saturating_sub(since),
        };
        ((self.exceeded.load(Ordering::Relaxed) + now) / 1_000, now / 1_000)
    }

    /// Forgets for how long too much was in use.
    pub fn reset(&self) {
        self.exceeded.store(0, Ordering::Relaxed);
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn note_exceeded(&self) {
        if self.exceeded_since.load(Ordering::Relaxed) == 0 {
            self.exceeded_since.store(self.micros(), Ordering::Relaxed);
        }
    }

    fn note_enough(&self) {
        if self.exceeded_since.load(Ordering::Relaxed) > 0 {
            let since = self.exceeded_since.swap(0, Ordering::Relaxed);
            if since > 0 {
                let lasted = self.micros().saturating_sub(since);
                self.exceeded.fetch_add(lasted, Ordering::Relaxed);
            }
        }
    }

    /// A pool that nobody uses just now.
    fn pool(&self, random: &mut Random) -> Option<MutexGuard<'_, Pool>> {
        let first = random.below(POOLS);
        (0..POOLS).find_map(|number| self.pools.get((first + number) % POOLS)?.try_lock().ok())
    }
}

/// How uses of keys are noted.
#[must_use]
pub fn uses_at(config: &Config, now: UnixMillis) -> Uses {
    Uses::at(now, config.memory().frequency())
}

/// Which keys give way; `None` when none may.
fn order_of(policy: Policy) -> Option<Order> {
    let (among, first) = match policy {
        Policy::NoEviction => return None,
        Policy::AllKeysLru => (Among::All, First::LongestIdle),
        Policy::AllKeysLfu => (Among::All, First::LeastUsed),
        Policy::AllKeysRandom => (Among::All, First::Any),
        Policy::VolatileLru => (Among::WithDeadline, First::LongestIdle),
        Policy::VolatileLfu => (Among::WithDeadline, First::LeastUsed),
        Policy::VolatileRandom => (Among::WithDeadline, First::Any),
        Policy::VolatileTtl => (Among::WithDeadline, First::EarliestDeadline),
    };
    Some(Order { among, first })
}

/// How long room is made at a time; `None` for as long as it takes. As in Redis it grows by 50
/// microseconds for each step up to 10, and by 15 % for each step above.
fn time_limit(tenacity: u8) -> Option<Duration> {
    match tenacity {
        0..=10 => Some(Duration::from_micros(50 * u64::from(tenacity))),
        11..=99 => Some(Duration::from_secs_f64(500e-6 * 1.15_f64.powi(i32::from(tenacity) - 10))),
        100.. => None,
    }
}

impl Gate {
    /// True when a command is refused because memory is short. Makes room before.
    #[cold]
    pub(super) fn lacks_memory(
        &self,
        context: &mut Context,
        spec: &CommandSpec,
        now: UnixMillis,
    ) -> bool {
        let may_grow = spec.flags.has(Flags::DENY_OOM);
        if !may_grow && !matches!(spec.run, Run::Script(_)) && context.transaction.is_none() {
            return false;
        }
        context.lacks_memory = self.make_room(now) == Room::None;
        if !context.lacks_memory {
            return false;
        }
        match &context.transaction {
            None => may_grow,
            Some(transaction) if matches!(spec.run, Run::Exec) => {
                transaction.has(|spec, _| spec.flags.has(Flags::DENY_OOM))
            }
            // What is queued takes memory, too.
            Some(_) => !["DISCARD", "QUIT", "RESET"].contains(&spec.name),
        }
    }

    /// True when memory was short as the command began of which a script is a part.
    pub(super) fn lacked_memory(&self, context: &Context) -> bool {
        context.lacks_memory && self.services().config.memory().bytes_max() > 0
    }

    /// Lets keys give way until there is room, for a limited time.
    pub fn make_room(&self, now: UnixMillis) -> Room {
        let services = self.services();
        let limits = services.config.memory();
        let excess = self.excess_bytes(limits.bytes_max());
        if excess == 0 {
            services.eviction.note_enough();
            return Room::Enough;
        }
        services.eviction.note_exceeded();
        let Some(order) = order_of(limits.policy()) else {
            return self.without_candidates();
        };
        let began = Stopwatch::start();
        let room = self.evict(order, excess, now, &began);
        services.note_latency("eviction-cycle", began.elapsed_nanos());
        match room {
            Room::Enough => services.eviction.note_enough(),
            Room::Coming => services.eviction.wake(),
            Room::None => {}
        }
        room
    }

    /// What there is without a key that may go: what is being freed in the background.
    fn without_candidates(&self) -> Room {
        match self.services().stats.lazyfree_pending() {
            1.. => Room::Coming,
            _ => Room::None,
        }
    }

    /// How many bytes more are in use than may be; 0 without a limit.
    fn excess_bytes(&self, bytes_max: u64) -> u64 {
        let is_near = || allocator::about_used_bytes() + allocator::tolerance_bytes() > bytes_max;
        if bytes_max == 0 || !is_near() {
            return 0;
        }
        let counted = allocator::used_bytes().saturating_sub(self.keyspace().aside_bytes());
        counted.saturating_sub(bytes_max)
    }

    fn evict(&self, order: Order, excess: u64, now: UnixMillis, began: &Stopwatch) -> Room {
        let services = self.services();
        let limits = services.config.memory();
        let (uses, samples) = (uses_at(&services.config, now), limits.samples());
        let time_limit = time_limit(limits.tenacity());
        let mut random = Random::seeded();
        let mut own_pool = None;
        let mut shared_pool = services.eviction.pool(&mut random);
        let pool = match &mut shared_pool {
            Some(pool) => &mut **pool,
            None => own_pool.insert(Pool::default()),
        };
        let mut after = AfterUnlock::default();
        after.want_events(services.wanted_events());
        let (mut freed, mut keys) = (0_u64, 0);
        let room = loop {
            if freed >= excess {
                break Room::Enough;
            }
            if keys > 0 && keys % KEYS_BETWEEN_LOOKS == 0 {
                if self.excess_bytes(limits.bytes_max()) == 0 {
                    break Room::Enough;
                }
                let elapsed = Duration::from_nanos(began.elapsed_nanos());
                if time_limit.is_some_and(|limit| elapsed > limit) {
                    break Room::Coming;
                }
            }
            let watch = Stopwatch::start();
            let evicted =
                self.keyspace().evict(order, uses, samples, pool, &mut random, &mut after);
            match evicted {
                Evicted::Key(bytes) => {
                    (freed, keys) = (freed + bytes as u64, keys + 1);
                    self.settle_evicted(&mut after, now);
                    services.note_latency("eviction-del", watch.elapsed_nanos());
                }
                Evicted::Nothing => break self.without_candidates(),
            }
        };
        services.stats.add(Counter::EvictedKeys, keys as u64);
        room
    }

    /// Frees what has given way, and tells of it. It is freed here unless that is not wanted: only
    /// then is it known whether there is room.
    fn settle_evicted(&self, after: &mut AfterUnlock, now: UnixMillis) {
        if !after.has_work() {
            return;
        }
        if !self.services().config.memory().frees_lazily() {
            let garbage = after.take_garbage();
            blocking_if(garbage.cost() > FREE_HERE_COST_MAX, || drop(garbage));
        }
        self.settle(after, now, None);
    }
}

impl Services {
    /// Counts what all clients use, those included whose messages wait while their tasks do
    /// nothing, and disconnects those that use most if it is too much. Cost: O(clients), nothing
    /// without a limit.
    pub fn count_clients(&self) {
        if self.config.memory().clients_bytes_max() > 0 {
            self.clients.all().iter().for_each(|client| self.clients.note_memory(client));
            self.limit_clients();
        }
    }

    /// Disconnects the clients that use most memory while all together use more than they may
    /// (maxmemory-clients). Cost: one load while they do not.
    #[inline]
    pub fn limit_clients(&self) {
        let bytes_max = self.config.memory().clients_bytes_max();
        if bytes_max > 0 && self.clients.memory_bytes() as u64 > bytes_max {
            self.evict_clients(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        }
    }

    #[cold]
    fn evict_clients(&self, bytes_max: usize) {
        let evicted = self.clients.evict(bytes_max);
        self.stats.add(Counter::EvictedClients, evicted.len() as u64);
        for client in evicted {
            tracing::info!(
                "closed {}: all clients together use more memory than they may, and this one most \
                 ({} bytes)",
                client.address,
                client.memory_bytes()
            );
        }
    }

    /// Warns when more is in use than may be from now on, and has keys give way in the background.
    pub fn note_new_limits(&self) {
        let (used, bytes_max) = (allocator::used_bytes(), self.config.memory().bytes_max());
        if bytes_max == 0 {
            self.eviction.note_enough();
        } else if used > bytes_max {
            tracing::warn!(
                "the new maxmemory of {bytes_max} bytes is less than the {used} bytes in use: keys \
                 give way, or new data is refused, by the maxmemory-policy"
            );
            self.eviction.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_making_room_is_that_of_redis() {
        let micros = |tenacity| time_limit(tenacity).map(|limit| limit.as_micros());
        assert_eq!([0, 1, 10].map(micros), [Some(0), Some(50), Some(500)]);
        assert_eq!([11, 20].map(micros), [Some(575), Some(2_022)]);
        assert!(micros(99).is_some_and(|micros| (125_000_000..130_000_000).contains(&micros)));
        assert_eq!(time_limit(100), None);
    }
}
