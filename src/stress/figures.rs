//! What requests took: histograms of each kind of request, and of the time since the last look.
//!
//! Clients write into stripes, so that they seldom wait for each other. A histogram has a fixed
//! size, whatever it counts.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Stripes for all clients.
const STRIPES: usize = 16;
/// What takes longer counts as this: five minutes.
const LATENCY_MICROS_MAX: u64 = 300_000_000;
/// Digits that a latency is kept with.
const DIGITS: u8 = 2;
/// Different errors that are told apart.
const ERRORS_KEPT_MAX: usize = 32;

/// What a request is counted as.
pub type Kind = &'static str;

/// A part of a transaction, whose time is that of EXEC.
pub const PART: Kind = "";

/// Requests that wait for something by their nature: what they take tells nothing of the server.
const WAITING: [Kind; 4] = ["BLMOVE", "BLPOP", "BRPOP", "XREADGROUP"];

/// An empty histogram of microseconds.
pub fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "fails for bounds only, which are constants")]
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, DIGITS).expect("the bounds are fine")
}

#[derive(Debug)]
struct Stripe {
    kinds: BTreeMap<Kind, Histogram<u64>>,
    /// What does not wait, since the last look and altogether.
    lately: Histogram<u64>,
    all: Histogram<u64>,
    requests: u64,
}

/// All figures of a run.
#[derive(Debug)]
pub struct Figures {
    stripes: Vec<Mutex<Stripe>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Figures {
    /// No requests.
    pub fn new() -> Self {
        let stripe = || Stripe {
            kinds: BTreeMap::new(),
            lately: histogram(),
            all: histogram(),
            requests: 0,
        };
        let stripes = (0..STRIPES).map(|_| Mutex::new(stripe())).collect();
        Self { stripes, errors: Mutex::default() }
    }

    /// Counts what a client's requests took.
    pub fn add(&self, client: usize, took: impl Iterator<Item = (Kind, u64)>) {
        let Some(stripe) = self.stripes.get(client % STRIPES) else { return };
        let mut stripe = lock(stripe);
        for (kind, nanos) in took {
            stripe.requests += 1;
            if kind != PART {
                let micros = nanos / 1_000;
                if !WAITING.contains(&kind) {
                    stripe.lately.saturating_record(micros);
                    stripe.all.saturating_record(micros);
                }
                stripe.kinds.entry(kind).or_insert_with(histogram).saturating_record(micros);
            }
        }
    }

    /// Counts an answer that is an error.
    pub fn add_error(&self, kind: Kind, text: &[u8]) {
        let mut errors = lock(&self.errors);
        let text = format!("{kind}: {}", text.escape_ascii());
        let many = errors.len() >= ERRORS_KEPT_MAX && !errors.contains_key(&text);
        *errors.entry(if many { "others".to_owned() } else { text }).or_default() += 1;
    }

    /// All requests so far.
    pub fn requests(&self) -> u64 {
        self.stripes.iter().map(|stripe| lock(stripe).requests).sum()
    }

    /// What requests took since the last call.
    pub fn take_lately(&self) -> Histogram<u64> {
        let mut all = histogram();
        for stripe in &self.stripes {
            let mut stripe = lock(stripe);
            // All have the same bounds.
            let _added = all.add(&stripe.lately);
            stripe.lately.reset();
        }
        all
    }

    /// What all requests took that do not wait for something.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = histogram();
        for stripe in &self.stripes {
            let _same_bounds = all.add(&lock(stripe).all);
        }
        all
    }

    /// What each kind of request took.
    pub fn kinds(&self) -> BTreeMap<Kind, Histogram<u64>> {
        let mut kinds: BTreeMap<Kind, Histogram<u64>> = BTreeMap::new();
        for stripe in &self.stripes {
            for (kind, taken) in &lock(stripe).kinds {
                let _added = kinds.entry(*kind).or_insert_with(histogram).add(taken);
            }
        }
        kinds
    }

    /// The answers that were errors.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        lock(&self.errors).clone()
    }
}

/// Microseconds in milliseconds, with as many digits as they are worth.
pub fn milliseconds(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{:02}", micros / 1_000, micros % 1_000 / 10),
        10_000..100_000 => format!("{}.{}", micros / 1_000, micros % 1_000 / 100),
        _ => (micros / 1_000).to_string(),
    }
}
