//! Work in the background: removing expired keys, freeing large values, saving by the rules.
//!
//! The sweeper and the dropper are threads of their own, because what they do is work and not
//! waiting. The sweeper sleeps until the earliest deadline of all, and is woken when an earlier
//! one is set.

use crate::command::context::Services;
use crate::command::dispatch::{Gate, Settle};
use crate::command::eviction::Room;
use crate::command::notify::{publish_events, tell_changes};
use crate::config::OutputLimits;
use crate::keyspace::{AfterUnlock, Garbage, Keyspace};
use crate::persist::dump::DumpOptions;
use crate::persist::planted::{self, Bug};
use crate::persist::saver::{SaveError, Saver};
use crate::stats::{Counter, Rhythm, Task};
use crate::util::allocator;
use crate::util::clock::{Stopwatch, UnixMillis};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use tokio::runtime::Handle;

/// The sweeper looks at the clock at least this often, in case the clock was set.
const SWEEP_SLEEP_MAX: Duration = Duration::from_millis(500);
/// How often the sweeper looks whether a pause of the clients has ended.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// Values of no more allocations than this are freed on the spot.
const FREE_HERE_COST_MAX: usize = 64;
/// A failed save is tried again by the rules after this long at the earliest.
const SAVE_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Background work that panicked rests this long, so that it cannot take up the machine.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// A step of making room that was shorter has done nothing.
const IDLE_STEP_NANOS: u64 = 100_000;
/// Tasks for each thread that is to wake up: one of them may take several.
const WAKING_TASKS: usize = 16;
/// The allocator gives back what has been free for so long.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);
/// In so many tenths of a second the limits of output are looked at once.
const OUTPUT_LOOKS_EVERY: u64 = 10;

/// Takes what commands leave to be done after their locks.
#[derive(Debug)]
pub struct Background {
    services: OnceLock<Arc<Services>>,
    sweeper: OnceLock<Thread>,
    /// When the sweeper wakes by itself, in unix milliseconds.
    wakes_at: AtomicI64,
    stopped: AtomicBool,
    garbage: Mutex<Option<Sender<Garbage>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    /// Background work that has not begun.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            services: OnceLock::new(),
            sweeper: OnceLock::new(),
            wakes_at: AtomicI64::new(i64::MIN),
            stopped: AtomicBool::new(false),
            garbage: Mutex::default(),
            threads: Mutex::default(),
        })
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        self: &Arc<Self>,
        keyspace: Arc<Keyspace>,
        services: Arc<Services>,
    ) -> std::io::Result<()> {
        let (sender, receiver) = mpsc::channel();
        *self.garbage.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let (of_dropper, workers) = (Arc::clone(&services), Handle::try_current().ok());
        let free = move |task: &Task| free_garbage(&receiver, &of_dropper, workers.as_ref(), task);
        let dropper = spawn("dropper", &services, free)?;
        let background = Arc::clone(self);
        let of_sweeper = Arc::clone(&services);
        let sweep = move |task: &Task| background.sweep(&keyspace, &of_sweeper, task);
        let sweeper = spawn("sweeper", &services, sweep)?;
        let _first = self.sweeper.set(sweeper.thread().clone());
        let _first = self.services.set(services);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.extend([dropper, sweeper]);
        Ok(())
    }

    /// Ends the threads and waits for them.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake_sweeper();
        drop(self.garbage.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background thread had panicked");
            }
        }
    }

    /// Makes the sweeper look at the clock now.
    pub fn wake_sweeper(&self) {
        if let Some(sweeper) = self.sweeper.get() {
            sweeper.unpark();
        }
    }

    fn sweep(&self, keyspace: &Keyspace, services: &Services, task: &Task) {
        while !self.stopped.load(Ordering::SeqCst) {
            task.beat();
            if planted::strikes(Bug::EndOfTheSweeper, &services.saver.path()) {
                return;
            }
            planted::strike(Bug::PanicInTheSweeper, &services.saver.path());
            if services.sweep_paused.load(Ordering::SeqCst) {
                thread::park_timeout(SWEEP_SLEEP_MAX);
                continue;
            }
            // Whoever sets a deadline while it is being computed how long to sleep sees this and
            // wakes us: the wake-up is kept until we sleep.
            self.wakes_at.store(i64::MAX, Ordering::SeqCst);
            let now = services.clock.now();
            if services.clients.pause.mode().is_some() {
                // Data does not change during a pause; what is due is hidden all the same.
                thread::park_timeout(SWEEP_PAUSE);
                continue;
            }
            let wanted = services.wanted_events();
            let began = Stopwatch::start();
            let swept = keyspace.sweep_expired(now, wanted, |after| {
                task.beat();
                self.settle(after, None);
            });
            if swept.removed > 0 {
                services.note_latency("expire-cycle", began.elapsed_nanos());
                services.stats.note_expire_lag(swept.lag_max_ms);
                services.stats.add(Counter::ExpiredKeys, swept.removed);
            }
            let earliest = keyspace.earliest_deadline().unwrap_or(UnixMillis::MAX);
            self.wakes_at.store(earliest.0, Ordering::SeqCst);
            let sleep = Duration::from_millis(earliest.since(services.clock.now()));
            if !sleep.is_zero() {
                thread::park_timeout(sleep.min(SWEEP_SLEEP_MAX));
            }
        }
    }
}

impl Settle for Background {
    fn settle(&self, after: &mut AfterUnlock, by: Option<u64>) {
        if let Some(deadline) = after.take_earliest_deadline()
            && deadline.0 < self.wakes_at.load(Ordering::SeqCst)
        {
            self.wake_sweeper();
        }
        let expired = after.take_expired();
        let services = self.services.get();
        if expired > 0
            && let Some(services) = services
        {
            services.stats.add(Counter::ExpiredKeys, expired);
        }
        let (events, flushed) = (after.take_events(), after.take_flushed());
        if (flushed || !events.is_empty())
            && let Some(services) = services
        {
            tell_changes(services, &events, flushed, by);
            publish_events(services, &events);
        }
        let garbage = after.take_garbage();
        let cost = garbage.cost();
        if cost <= FREE_HERE_COST_MAX {
            return;
        }
        let sender = self.garbage.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(sender), Some(services)) = (&*sender, services) {
            services.stats.note_lazyfree_pending(i64::try_from(cost).unwrap_or(i64::MAX));
            // Without the dropper the value is freed right here.
            let _freed_here = sender.send(garbage);
        }
    }
}

/// Frees what is large, and sees to it that free memory does not stay with a server that is idle.
fn free_garbage(
    receiver: &Receiver<Garbage>,
    services: &Services,
    workers: Option<&Handle>,
    task: &Task,
) {
    loop {
        task.beat();
        match receiver.recv_timeout(GIVE_BACK_EVERY) {
            Ok(garbage) => {
                let cost = i64::try_from(garbage.cost()).unwrap_or(i64::MAX);
                drop(garbage);
                services.stats.note_lazyfree_pending(-cost);
            }
            Err(RecvTimeoutError::Timeout) => match allocator::rest() {
                true => workers.into_iter().for_each(wake_workers),
                false => allocator::give_back(false),
            },
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Has the threads that serve clients do something, and rest again: what they have allocated and
/// others have freed is theirs until then.
fn wake_workers(workers: &Handle) {
    for _ in 0..WAKING_TASKS * workers.metrics().num_workers() {
        workers.spawn(tokio::task::yield_now());
    }
}

/// Runs `work` on a thread of its own, and again when it panics.
fn spawn(
    name: &'static str,
    services: &Arc<Services>,
    work: impl Fn(&Task) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let services = Arc::clone(services);
    let task = services.stats.tasks.add(name, Rhythm::Steady);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Whatever is left half done is behind locks that do not mind, or ends the process.
        while catch_unwind(AssertUnwindSafe(|| work(&task))).is_err() {
            tell_restart(&task, &services);
            thread::sleep(RESTART_DELAY);
        }
        task.note_end();
    })
}

/// Runs a task for ever: one that panics is begun anew.
pub(super) async fn supervise<Work>(
    task: Arc<Task>,
    services: Arc<Services>,
    work: impl Fn(Arc<Task>) -> Work + Send + 'static,
) where
    Work: Future<Output = ()> + Send + 'static,
{
    while let Err(end) = tokio::spawn(work(Arc::clone(&task))).await
        && end.is_panic()
    {
        tell_restart(&task, &services);
        tokio::time::sleep(RESTART_DELAY).await;
    }
    task.note_end();
}

/// Begins what is done again and again beside the clients.
pub fn begin(gate: Arc<Gate>) {
    let services = Arc::clone(gate.services());
    let looked_after = Arc::clone(&services);
    let work = move |task| look_after(Arc::clone(&looked_after), task);
    let task = services.stats.tasks.add("looking_after", Rhythm::Steady);
    tokio::spawn(supervise(task, Arc::clone(&services), work));
    let task = services.stats.tasks.add("making_room", Rhythm::None);
    tokio::spawn(supervise(task, services, move |_| make_room(Arc::clone(&gate))));
}

fn tell_restart(task: &Task, services: &Services) {
    services.stats.add(Counter::BackgroundRestarts, 1);
    task.note_restart();
    tracing::error!("the task '{}' has panicked and begins anew", task.name());
}

/// Does what is due ten times a second, for ever: saves by the rules, ends connections that are
/// silent for too long, and takes the figures for what happens per second.
async fn look_after(services: Arc<Services>, task: Arc<Task>) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut saves, mut ticks) = (0, 0_u64);
    loop {
        every.tick().await;
        task.beat();
        services.stats.sample();
        end_silent_clients(&services);
        services.count_clients();
        ticks += 1;
        if ticks.is_multiple_of(OUTPUT_LOOKS_EVERY) {
            enforce_output_limits(&services);
        }
        if services.config.memory().bytes_max() > 0 {
            // Buffers grow without a command that makes room.
            services.eviction.wake();
        }
        let saved = services.saver.figures();
        if saved.saves != saves {
            saves = saved.saves;
            let nanos = saved.longest_hold_micros.saturating_mul(1_000);
            services.note_latency("save-hold", nanos);
        }
        let saver = &services.saver;
        planted::strike(Bug::PanicInTheRules, &saver.path());
        if saver.take_scheduled() || is_due(&services, saver) {
            match saver.start(DumpOptions::at(services.clock.now(), &services.config)) {
                Ok(_ticket) => {}
                Err(error @ (SaveError::AlreadyRunning | SaveError::NotArmed)) => {
                    tracing::debug!("no save by the rules: {error}");
                }
                Err(error) => tracing::error!("no save by the rules: {error}"),
            }
        }
    }
}

/// Makes room whenever a command could not wait until there was enough, for ever.
async fn make_room(gate: Arc<Gate>) {
    loop {
        gate.services().eviction.woken().await;
        loop {
            let began = Stopwatch::start();
            if gate.make_room(gate.services().clock.now()) != Room::Coming {
                break;
            }
            if began.elapsed_nanos() < IDLE_STEP_NANOS {
                // There was nothing to do but to wait for what others free.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Closes clients for whom too much waits while nothing new is sent to them.
fn enforce_output_limits(services: &Services) {
    let limits = services.config.output_limits();
    if limits != OutputLimits::NONE {
        services.clients.all().iter().for_each(|client| client.mailbox.enforce(limits));
    }
}

fn end_silent_clients(services: &Services) {
    let timeout = services.config.timeout_seconds();
    if timeout == 0 {
        return;
    }
    for client in services.clients.all() {
        if client.is_busy() {
            client.note_alive();
            continue;
        }
        // In this order: whoever ends a wait notes a sign of life before.
        if !client.may_be_silent() && client.idle_seconds() > timeout {
            tracing::debug!("closing {}: silent for {timeout} s", client.address);
            client.kill();
        }
    }
}

fn is_due(services: &Services, saver: &Saver) -> bool {
    let figures = saver.figures();
    if figures.current_duration.is_some() || services.is_loading() {
        return false;
    }
    let retry_allowed =
        figures.last_ok || saver.since_last_try().is_none_or(|since| since > SAVE_RETRY_DELAY);
    let changes = saver.changes_since_save();
    let since_save = saver.since_last_save();
    retry_allowed
        && services
            .config
            .save_rules()
            .iter()
            .any(|rule| changes >= rule.changes && since_save > Duration::from_secs(rule.seconds))
}
