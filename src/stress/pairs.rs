//! Pairs of keys that are always set together: are they always read together?
//!
//! Every MSET gives both keys of a pair the same number, which no other MSET has; who reads both at
//! one moment must never see two numbers. The names of the two keys have nothing in common, so that
//! a server with several shards has most pairs in two of them.

use crate::protocol::response::Value;
use crate::stress::peer::{Answer, Peer, integer, is_ok};
use crate::stress::run::{Run, Stop};
use crate::util::random::Random;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Pairs: few, so that readers and writers meet.
const PAIRS: usize = 6;
/// Writes of a pair that are remembered, to show them.
const WRITES_KEPT_MAX: usize = 256;
/// Reads both keys in a script.
const READ_SCRIPT: &[u8] = b"return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}";

#[derive(Debug, Clone, Copy)]
struct Write {
    client: usize,
    number: i64,
    called_ns: u64,
    returned_ns: u64,
}

#[derive(Debug)]
struct Pair {
    keys: [Vec<u8>; 2],
    writes: Mutex<VecDeque<Write>>,
}

/// All pairs.
#[derive(Debug)]
pub struct Pairs {
    run: Arc<Run>,
    pairs: Vec<Pair>,
    next: AtomicI64,
    reads: AtomicU64,
}

/// What a turn has asked for.
enum Asked {
    Write(i64),
    Read(&'static str),
}

impl Pairs {
    /// Pairs that are not there yet.
    pub fn new(run: &Arc<Run>) -> Self {
        let pair = |number: usize| Pair {
            keys: [run.key(&format!("pair:{number}")), run.key(&format!("other:{number}"))],
            writes: Mutex::default(),
        };
        Self {
            run: Arc::clone(run),
            pairs: (0..PAIRS).map(pair).collect(),
            next: AtomicI64::new(1),
            reads: AtomicU64::new(0),
        }
    }

    /// How often a pair was read.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// All keys that may be there.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.pairs.iter().flat_map(|pair| pair.keys.clone()).collect()
    }

    /// Writes or reads a pair, several times.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn turn(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        let Some(pair) = self.pairs.get(random.below(PAIRS)) else { return Ok(()) };
        let [one, other] = &pair.keys;
        if random.below(8) == 0 {
            let requests: [&[&[u8]]; 2] = [&[b"GET", one], &[b"GET", other]];
            let answer = peer.transaction(&requests).await?;
            return self.read(peer, pair, "EXEC", &answer);
        }
        let mut asked = Vec::new();
        for _ in 0..self.run.settings.pipeline {
            asked.push(match random.below(16) {
                0..8 => {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let text = number.to_string();
                    peer.queue("MSET", &[b"MSET", one, text.as_bytes(), other, text.as_bytes()]);
                    Asked::Write(number)
                }
                8 => {
                    peer.queue("EVAL", &[b"EVAL", READ_SCRIPT, b"2", one, other]);
                    Asked::Read("EVAL")
                }
                _ => {
                    peer.queue("MGET", &[b"MGET", one, other]);
                    Asked::Read("MGET")
                }
            });
        }
        let answers = peer.answers().await?;
        for (asked, answer) in asked.into_iter().zip(answers) {
            match asked {
                Asked::Read(kind) => self.read(peer, pair, kind, &answer)?,
                Asked::Write(number) if is_ok(&answer.value) => {
                    self.written(peer.client(), pair, number, &answer);
                }
                Asked::Write(_) => peer.unexpected("MSET", &answer.value)?,
            }
        }
        Ok(())
    }

    fn written(&self, client: usize, pair: &Pair, number: i64, answer: &Answer) {
        let Answer { called_ns, returned_ns, .. } = *answer;
        let mut writes = pair.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if writes.len() == WRITES_KEPT_MAX {
            writes.pop_front();
        }
        writes.push_back(Write { client, number, called_ns, returned_ns });
    }

    fn read(
        &self,
        peer: &Peer,
        pair: &Pair,
        kind: &'static str,
        answer: &Answer,
    ) -> Result<(), Stop> {
        let Some([one, other]) = answer.value.elements() else {
            return peer.unexpected(kind, &answer.value);
        };
        if one.is_error() || other.is_error() {
            return Ok(());
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        if one == other {
            return Ok(());
        }
        let names = pair.keys.iter().map(|key| key.escape_ascii().to_string());
        let names = names.collect::<Vec<_>>().join(" and ");
        let text = format!("{kind} of {names} has seen half of an MSET");
        let mut history = pair.history([integer(one), integer(other)], answer.called_ns);
        let shown = |value: &Value| integer(value).map_or("nothing".to_owned(), |n| n.to_string());
        history.push(format!(
            "client {:>3}  {}  {kind} -> {}, {}",
            peer.client(),
            times(answer.called_ns, answer.returned_ns),
            shown(one),
            shown(other)
        ));
        self.run.fault("pairs", text, history)
    }
}

impl Pair {
    /// The writes of the numbers that were read; those that have been answered.
    fn history(&self, numbers: [Option<i64>; 2], read_ns: u64) -> Vec<String> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for number in numbers.into_iter().flatten() {
            lines.push(match writes.iter().find(|write| write.number == number) {
                Some(write) => format!(
                    "client {:>3}  {}  MSET of {number}",
                    write.client,
                    times(write.called_ns, write.returned_ns)
                ),
                None => format!("MSET of {number}: not answered by {} us", read_ns / 1_000),
            });
        }
        lines
    }
}

/// When a request was sent and answered, for a person.
pub fn times(called_ns: u64, returned_ns: u64) -> String {
    format!("{:>12} to {:>12} us", called_ns / 1_000, returned_ns / 1_000)
}
