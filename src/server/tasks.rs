//! Work in the background: removing expired keys, freeing large values, saving by the rules.
//!
//! The sweeper and the dropper are threads of their own, because what they do is work and not
//! waiting. The sweeper sleeps until the earliest deadline of all, and is woken when an earlier
//! one is set.

use crate::command::context::Services;
use crate::command::dispatch::Settle;
use crate::command::notify::{publish_events, tell_changes};
use crate::keyspace::{AfterUnlock, Garbage, Keyspace};
use crate::persist::dump::DumpOptions;
use crate::persist::planted::{self, Bug};
use crate::persist::saver::{SaveError, Saver};
use crate::stats::{Counter, Sample};
use crate::util::allocator;
use crate::util::clock::{Stopwatch, UnixMillis};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

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
/// The allocator gives back what has been free for so long.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);

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
        let of_dropper = Arc::clone(&services);
        let dropper = spawn("dropper", &services, move || free_garbage(&receiver, &of_dropper))?;
        let background = Arc::clone(self);
        let of_sweeper = Arc::clone(&services);
        let sweeper =
            spawn("sweeper", &services, move || background.sweep(&keyspace, &of_sweeper))?;
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

    fn sweep(&self, keyspace: &Keyspace, services: &Services) {
        while !self.stopped.load(Ordering::SeqCst) {
            planted::strike(Bug::PanicInTheSweeper, services.saver.path());
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
            let swept = keyspace.sweep_expired(now, wanted, |after| self.settle(after, None));
            if swept.removed > 0 {
                note_latency(services, "expire-cycle", began.elapsed_nanos());
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

/// Notes an event among the spikes of latency if it took long.
fn note_latency(services: &Services, event: &'static str, nanos: u64) {
    if services.config.observation().latency_nanos().is_some_and(|least| nanos >= least) {
        let unix_seconds = services.clock.now().0.div_euclid(1_000);
        services.stats.latency.add(event, Sample { unix_seconds, millis: nanos / 1_000_000 });
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
fn free_garbage(receiver: &Receiver<Garbage>, services: &Services) {
    loop {
        match receiver.recv_timeout(GIVE_BACK_EVERY) {
            Ok(garbage) => {
                let cost = i64::try_from(garbage.cost()).unwrap_or(i64::MAX);
                drop(garbage);
                services.stats.note_lazyfree_pending(-cost);
            }
            Err(RecvTimeoutError::Timeout) => allocator::give_back(false),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Runs `work` on a thread of its own, and again when it panics.
fn spawn(
    name: &'static str,
    services: &Arc<Services>,
    work: impl Fn() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let services = Arc::clone(services);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Whatever is left half done is behind locks that do not mind, or ends the process.
        while catch_unwind(AssertUnwindSafe(&work)).is_err() {
            tell_restart(name, &services);
            thread::sleep(RESTART_DELAY);
        }
    })
}

/// Runs a task for ever: one that panics is begun anew.
pub async fn supervise<Work>(
    name: &'static str,
    services: Arc<Services>,
    work: impl Fn() -> Work + Send + 'static,
) where
    Work: Future<Output = ()> + Send + 'static,
{
    while let Err(end) = tokio::spawn(work()).await
        && end.is_panic()
    {
        tell_restart(name, &services);
        tokio::time::sleep(RESTART_DELAY).await;
    }
}

fn tell_restart(name: &str, services: &Services) {
    services.stats.add(Counter::BackgroundRestarts, 1);
    tracing::error!("{name} has panicked and begins anew");
}

/// Does what is due ten times a second, for ever: saves by the rules, ends connections that are
/// silent for too long, and takes the figures for what happens per second.
pub async fn look_after(services: Arc<Services>) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut saves = 0;
    loop {
        every.tick().await;
        services.stats.sample();
        end_silent_clients(&services);
        let saved = services.saver.figures();
        if saved.saves != saves {
            saves = saved.saves;
            let nanos = saved.longest_hold_micros.saturating_mul(1_000);
            note_latency(&services, "save-hold", nanos);
        }
        let saver = &services.saver;
        planted::strike(Bug::PanicInTheRules, saver.path());
        if saver.take_scheduled() || is_due(&services, saver) {
            match saver.start(DumpOptions::from(&services.config)) {
                Ok(_ticket) => {}
                Err(error @ (SaveError::AlreadyRunning | SaveError::NotArmed)) => {
                    tracing::debug!("no save by the rules: {error}");
                }
                Err(error) => tracing::error!("no save by the rules: {error}"),
            }
        }
    }
}

fn end_silent_clients(services: &Services) {
    let timeout = services.config.timeout_seconds();
    if timeout == 0 {
        return;
    }
    for client in services.clients.all() {
        // A subscriber has nothing to say, and who waits must not.
        let may_be_silent = client.mailbox.is_subscriber() || client.is_blocked();
        if client.idle_seconds() > timeout && !may_be_silent {
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
