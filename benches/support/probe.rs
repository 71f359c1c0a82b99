//! A client that sends requests at a fixed rate and notes how long each took.
//!
//! A request's time counts from the moment at which it was due, so that a server that stands still
//! is charged for every request that it held up.

#![allow(clippy::unwrap_used, reason = "a benchmark that meets the unexpected has to stop")]

use super::{Client, Outcome};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Sends requests at a fixed rate on a thread of its own.
pub struct Probe {
    times: Arc<Mutex<Histogram<u64>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome<()>>>,
}

impl Probe {
    /// Sends the requests again and again, in turn over so many connections.
    pub fn start(
        port: u16,
        hz: usize,
        connections: usize,
        requests: Vec<Vec<Vec<u8>>>,
    ) -> Outcome<Self> {
        let times = Arc::new(Mutex::new(Histogram::new(3).map_err(|e| e.to_string())?));
        let stopped = Arc::new(AtomicBool::new(false));
        let clients = (0..connections).map(|_| Client::connect(port));
        let mut clients: Vec<Client> = clients.collect::<Outcome<_>>()?;
        let every = Duration::from_secs(1) / u32::try_from(hz).unwrap();
        let (shared, end) = (Arc::clone(&times), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let mut due = Instant::now();
            for (number, request) in requests.iter().cycle().enumerate() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                due += every;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let args: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
                let turn = number % clients.len();
                clients.get_mut(turn).unwrap().ask(&args)?;
                let micros = u64::try_from(due.elapsed().as_micros()).unwrap();
                shared.lock().unwrap().record(micros).unwrap();
            }
            Ok(())
        });
        Ok(Self { times, stopped, thread: Some(thread) })
    }

    /// The times in microseconds since the last call.
    pub fn take(&self) -> Histogram<u64> {
        let mut times = self.times.lock().unwrap();
        let taken = times.clone();
        times.reset();
        taken
    }

    /// Ends it; an error if a request had one.
    pub fn stop(&mut self) -> Outcome<()> {
        self.stopped.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| "the probe panicked")?,
            None => Ok(()),
        }
    }
}
