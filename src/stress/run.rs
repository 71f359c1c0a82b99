//! What all tasks of a run share: the settings, the clock, the figures, and how it ends.

use crate::stress::figures::Figures;
use crate::stress::options::Settings;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// A promise that the server has broken.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which kind of promise.
    pub check: &'static str,
    /// What is wrong, in one line.
    pub text: String,
    /// What happened, a line for each.
    pub history: Vec<String>,
}

/// Why a run ends before its time.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The server has broken a promise.
    Fault(Fault),
    /// It is not reached, or does not speak the protocol: this.
    Failure(String),
}

/// The run is over; why, is kept in [`Run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// A run.
#[derive(Debug)]
pub struct Run {
    /// What was asked for.
    pub settings: Settings,
    /// What requests took.
    pub figures: Figures,
    began: Instant,
    is_over: AtomicBool,
    over: Notify,
    ending: Mutex<Option<Ending>>,
    /// When each client began what it does; the greatest number while it does nothing.
    turns: Vec<AtomicU64>,
}

impl Run {
    /// A run that begins now.
    pub fn new(settings: Settings) -> Self {
        Self {
            figures: Figures::new(),
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            over: Notify::new(),
            ending: Mutex::new(None),
            turns: (0..settings.clients).map(|_| AtomicU64::new(u64::MAX)).collect(),
            settings,
        }
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A key of this run.
    pub fn key(&self, name: &str) -> Vec<u8> {
        format!("stress:{}:{name}", self.settings.seed).into_bytes()
    }

    /// Ends the run; the first reason is kept.
    pub fn end(&self, ending: Option<Ending>) -> Stop {
        let mut kept = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = ending;
        }
        drop(kept);
        self.is_over.store(true, Ordering::SeqCst);
        self.over.notify_waiters();
        Stop
    }

    /// Ends the run because the server cannot be used.
    pub fn fail(&self, text: String) -> Stop {
        self.end(Some(Ending::Failure(text)))
    }

    /// Notes a promise that was broken, if promises are checked, and ends the run.
    ///
    /// # Errors
    /// `Stop`, if they are.
    pub fn fault(
        &self,
        check: &'static str,
        text: String,
        history: Vec<String>,
    ) -> Result<(), Stop> {
        if !self.settings.check {
            return Ok(());
        }
        Err(self.end(Some(Ending::Fault(Fault { check, text, history }))))
    }

    /// True when nothing is to be begun any more.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Waits until the run is over.
    pub async fn wait_until_over(&self) {
        let over = self.over.notified();
        if !self.is_over() {
            over.await;
        }
    }

    /// Why the run has ended, if not by its time. What is found afterwards can be noted then.
    pub fn take_ending(&self) -> Option<Ending> {
        self.is_over.store(false, Ordering::SeqCst);
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes that a client begins to do something.
    pub fn begin_turn(&self, client: usize) {
        if let Some(turn) = self.turns.get(client) {
            turn.store(self.now_ns(), Ordering::SeqCst);
        }
    }

    /// Notes that a client has seen all that it asked for.
    pub fn end_turn(&self, client: usize) {
        if let Some(turn) = self.turns.get(client) {
            turn.store(u64::MAX, Ordering::SeqCst);
        }
    }

    /// Everything that was begun before has been seen.
    pub fn oldest_turn_ns(&self) -> u64 {
        let turns = self.turns.iter().map(|turn| turn.load(Ordering::SeqCst));
        turns.min().unwrap_or(u64::MAX)
    }
}
