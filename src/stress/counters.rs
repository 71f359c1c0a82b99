//! Counters: does each give out every number once, and never a lower one after a higher one?
//!
//! Half of them are strings for INCR, half fields of a hash for HINCRBY. The numbers that a counter
//! gives out go into a [`Ledger`]; and a number that is given out, or read, by a request that began
//! when a higher one had been seen already would be a step back.

use crate::protocol::response::Value;
use crate::stress::ledger::Ledger;
use crate::stress::pairs::times;
use crate::stress::peer::{Answer, Peer};
use crate::stress::run::{Run, Stop};
use crate::util::random::Random;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters of each sort: few, so that clients meet.
const COUNTERS: usize = 4;

#[derive(Debug)]
struct Counter {
    key: Vec<u8>,
    is_field: bool,
    given: Mutex<Ledger>,
    /// The highest number that was seen.
    seen_max: AtomicU64,
}

/// All counters.
#[derive(Debug)]
pub struct Counters {
    run: Arc<Run>,
    counters: Vec<Counter>,
    given: AtomicU64,
}

impl Counter {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self) -> String {
        self.key.escape_ascii().to_string()
    }

    fn queue_add(&self, peer: &mut Peer) {
        match self.is_field {
            true => peer.queue("HINCRBY", &[b"HINCRBY", &self.key, b"field", b"1"]),
            false => peer.queue("INCR", &[b"INCR", &self.key]),
        }
    }

    fn queue_read(&self, peer: &mut Peer) {
        match self.is_field {
            true => peer.queue("HGET", &[b"HGET", &self.key, b"field"]),
            false => peer.queue("GET", &[b"GET", &self.key]),
        }
    }
}

impl Counters {
    /// Counters that are not there yet.
    pub fn new(run: &Arc<Run>) -> Self {
        let counter = |number: usize| Counter {
            key: run.key(&format!("counter:{number}")),
            is_field: number >= COUNTERS,
            given: Mutex::default(),
            seen_max: AtomicU64::new(0),
        };
        let counters = (0..2 * COUNTERS).map(counter).collect();
        Self { run: Arc::clone(run), counters, given: AtomicU64::new(0) }
    }

    /// Numbers that were given out.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// All keys that may be there.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.counters.iter().map(|counter| counter.key.clone()).collect()
    }

    /// Takes numbers from counters, and reads some.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn turn(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        let mut asked = Vec::new();
        for _ in 0..self.run.settings.pipeline {
            let Some(counter) = self.counters.get(random.below(self.counters.len())) else {
                continue;
            };
            let adds = random.below(4) > 0;
            match adds {
                true => counter.queue_add(peer),
                false => counter.queue_read(peer),
            }
            asked.push((counter, adds, counter.seen_max.load(Ordering::SeqCst)));
        }
        let answers = peer.answers().await?;
        for ((counter, adds, seen), answer) in asked.into_iter().zip(answers) {
            self.note(peer, counter, adds, seen, &answer)?;
        }
        Ok(())
    }

    fn note(
        &self,
        peer: &Peer,
        counter: &Counter,
        adds: bool,
        seen: u64,
        answer: &Answer,
    ) -> Result<(), Stop> {
        let number = match answer.value {
            Value::Null if !adds => Some(0),
            _ => answer.integer().and_then(|number| u64::try_from(number).ok()),
        };
        let Some(number) = number else {
            return peer.unexpected("a request of a counter", &answer.value);
        };
        let line = || {
            let what = if adds { "counts to" } else { "reads" };
            let times = times(answer.called_ns, answer.returned_ns);
            vec![format!("client {:>3}  {times}  {what} {number}", peer.client())]
        };
        if number < seen || (adds && number == seen) {
            let name = counter.name();
            let text = format!("{name} went back: {number} after {seen} had been answered");
            self.run.fault("counters", text, line())?;
        }
        counter.seen_max.fetch_max(number, Ordering::SeqCst);
        if adds {
            self.given.fetch_add(1, Ordering::Relaxed);
            if self.run.settings.check && !counter.lock().add(number, self.run.now_ns()) {
                let text = format!("{} gave out {number} twice", counter.name());
                self.run.fault("counters", text, line())?;
            }
        }
        Ok(())
    }

    /// Looks for numbers that nobody got.
    ///
    /// # Errors
    /// `Stop`.
    pub fn look(&self) -> Result<(), Stop> {
        let oldest_ns = self.run.oldest_turn_ns();
        for counter in &self.counters {
            if let Some(number) = counter.lock().lost(oldest_ns) {
                let text = format!("nobody got {number} of {}", counter.name());
                self.run.fault("counters", text, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Compares what counters hold with what they gave out, when nobody counts.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn finish(&self, peer: &mut Peer) -> Result<(), Stop> {
        if !self.run.settings.check {
            return Ok(());
        }
        self.look()?;
        for counter in &self.counters {
            counter.queue_read(peer);
        }
        let answers = peer.answers().await?;
        for (counter, answer) in self.counters.iter().zip(answers) {
            let floor = counter.lock().floor();
            let held = match answer.value {
                Value::Null => Some(0),
                _ => answer.integer().and_then(|number| u64::try_from(number).ok()),
            };
            if held != Some(floor) && !answer.value.is_error() {
                let name = counter.name();
                let held = held.map_or("no number".to_owned(), |number| number.to_string());
                let text = format!("{name} holds {held} after it gave out {floor} numbers");
                self.run.fault("counters", text, Vec::new())?;
            }
        }
        Ok(())
    }
}
