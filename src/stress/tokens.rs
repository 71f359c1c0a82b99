//! What is moved between keys: is anything ever lost or doubled?
//!
//! Amounts move between accounts by transactions and by scripts, elements between lists by LMOVE,
//! members between sets by SMOVE, values between names by RENAMENX. Whoever looks at all places at
//! one moment must always count the same: not only at the end, also while things move.

use crate::protocol::response::Value;
use crate::stress::pairs::times;
use crate::stress::peer::{Answer, Peer, integer};
use crate::stress::run::{Run, Stop};
use crate::util::random::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places of each sort.
const PLACES: usize = 8;
/// What each account holds at first.
const AMOUNT: i64 = 1_000;
/// Elements, members and names that move.
const ELEMENTS: i64 = 40;
const MEMBERS: i64 = 40;
const NAMES: i64 = 4;
/// What moves at most at a time.
const MOVED_MAX: usize = 9;
const TRANSFER_SCRIPT: &[u8] = b"redis.call('DECRBY', KEYS[1], ARGV[1])
return redis.call('INCRBY', KEYS[2], ARGV[1])";

/// A sort of things that move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Accounts,
    Lists,
    Sets,
    Names,
}

const SORTS: [Sort; 4] = [Sort::Accounts, Sort::Lists, Sort::Sets, Sort::Names];

impl Sort {
    fn name(self) -> &'static str {
        match self {
            Self::Accounts => "account",
            Self::Lists => "list",
            Self::Sets => "set",
            Self::Names => "name",
        }
    }

    /// How much of it there is.
    fn total(self) -> i64 {
        match self {
            Self::Accounts => AMOUNT * PLACES as i64,
            Self::Lists => ELEMENTS,
            Self::Sets => MEMBERS,
            Self::Names => NAMES,
        }
    }

    /// What tells how much is at one place.
    fn count_command(self) -> &'static [u8] {
        match self {
            Self::Accounts => b"GET",
            Self::Lists => b"LLEN",
            Self::Sets => b"SCARD",
            Self::Names => b"EXISTS",
        }
    }
}

/// Everything that moves.
#[derive(Debug)]
pub struct Tokens {
    run: Arc<Run>,
    /// The places of each sort.
    places: [Vec<Vec<u8>>; SORTS.len()],
    moves: AtomicU64,
    totals: AtomicU64,
}

impl Tokens {
    /// Places that are not there yet.
    pub fn new(run: &Arc<Run>) -> Self {
        let places = SORTS.map(|sort| {
            (0..PLACES).map(|number| run.key(&format!("{}:{number}", sort.name()))).collect()
        });
        Self { run: Arc::clone(run), places, moves: AtomicU64::new(0), totals: AtomicU64::new(0) }
    }

    /// How often something was moved, and how often everything was counted.
    pub fn counts(&self) -> (u64, u64) {
        (self.moves.load(Ordering::Relaxed), self.totals.load(Ordering::Relaxed))
    }

    /// All keys that may be there.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.places.iter().flatten().cloned().collect()
    }

    fn places(&self, sort: Sort) -> &[Vec<u8>] {
        let index = SORTS.iter().position(|other| *other == sort);
        index.and_then(|index| self.places.get(index)).map_or(&[], Vec::as_slice)
    }

    fn draw(&self, sort: Sort, random: &mut Random) -> &[u8] {
        self.places(sort).get(random.below(PLACES)).map_or(b"", Vec::as_slice)
    }

    /// Puts everything in its place, before anybody else is there.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn prepare(&self, peer: &mut Peer) -> Result<(), Stop> {
        let amount = AMOUNT.to_string();
        for account in self.places(Sort::Accounts) {
            peer.setup(&[b"SET", account, amount.as_bytes()]).await?;
        }
        for number in 0..ELEMENTS.max(MEMBERS) {
            let text = number.to_string();
            let place = usize::try_from(number).unwrap_or(0) % PLACES;
            let at = |sort| self.places(sort).get(place).map_or(&b""[..], Vec::as_slice);
            peer.setup(&[b"RPUSH", at(Sort::Lists), text.as_bytes()]).await?;
            peer.setup(&[b"SADD", at(Sort::Sets), text.as_bytes()]).await?;
            if number < NAMES {
                peer.setup(&[b"SET", at(Sort::Names), text.as_bytes()]).await?;
            }
        }
        Ok(())
    }

    /// Moves something, or counts everything.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn turn(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        match random.below(10) {
            0 => self.count_all(peer).await,
            1 => self.count_by_one_command(peer, Sort::Accounts).await,
            2 => self.count_by_one_command(peer, Sort::Names).await,
            3 | 4 => self.transfer(peer, random).await,
            _ => self.move_several(peer, random).await,
        }
    }

    async fn transfer(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        let sort = Sort::Accounts;
        let (from, to) = (self.draw(sort, random), self.draw(sort, random));
        let moved = (1 + random.below(MOVED_MAX)).to_string();
        let requests: [&[&[u8]]; 2] =
            [&[b"DECRBY", from, moved.as_bytes()], &[b"INCRBY", to, moved.as_bytes()]];
        let answer = peer.transaction(&requests).await?;
        if answer.value.elements().is_none_or(|sums| sums.len() != 2) {
            peer.unexpected("EXEC", &answer.value)?;
        }
        self.moves.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn move_several(&self, peer: &mut Peer, random: &mut Random) -> Result<(), Stop> {
        for _ in 0..self.run.settings.pipeline {
            match random.below(4) {
                0 => {
                    let sort = Sort::Accounts;
                    let (from, to) = (self.draw(sort, random), self.draw(sort, random));
                    let moved = (1 + random.below(MOVED_MAX)).to_string();
                    let words = [b"EVAL", TRANSFER_SCRIPT, b"2", from, to, moved.as_bytes()];
                    peer.queue("EVAL", &words);
                }
                1 => {
                    let sort = Sort::Lists;
                    let (from, to) = (self.draw(sort, random), self.draw(sort, random));
                    peer.queue("LMOVE", &[b"LMOVE", from, to, b"LEFT", b"RIGHT"]);
                }
                2 => {
                    let sort = Sort::Sets;
                    let (from, to) = (self.draw(sort, random), self.draw(sort, random));
                    let member = random.below(MEMBERS as usize).to_string();
                    peer.queue("SMOVE", &[b"SMOVE", from, to, member.as_bytes()]);
                }
                _ => {
                    let sort = Sort::Names;
                    let (from, to) = (self.draw(sort, random), self.draw(sort, random));
                    peer.queue("RENAMENX", &[b"RENAMENX", from, to]);
                }
            }
        }
        let moved = peer.answers().await?.len() as u64;
        self.moves.fetch_add(moved, Ordering::Relaxed);
        Ok(())
    }

    /// Counts one sort by a command that looks at all its places.
    async fn count_by_one_command(&self, peer: &mut Peer, sort: Sort) -> Result<(), Stop> {
        let name: &'static str = if sort == Sort::Accounts { "MGET" } else { "EXISTS" };
        let places = self.places(sort).iter().map(Vec::as_slice);
        let words: Vec<&[u8]> = [name.as_bytes()].into_iter().chain(places).collect();
        let answer = peer.ask(name, &words).await?;
        let counts = match answer.value.elements() {
            Some(elements) => elements,
            None => std::slice::from_ref(&answer.value),
        };
        self.compare(peer, sort, name, counts, &answer)
    }

    /// Counts everything in one transaction.
    async fn count_all(&self, peer: &mut Peer) -> Result<(), Stop> {
        let mut requests = Vec::new();
        for sort in SORTS {
            requests.extend(self.places(sort).iter().map(|place| [sort.count_command(), place]));
        }
        let requests: Vec<&[&[u8]]> = requests.iter().map(|request| request.as_slice()).collect();
        let answer = peer.transaction(&requests).await?;
        let Some(counts) = answer.value.elements() else {
            return peer.unexpected("EXEC", &answer.value);
        };
        for (sort, counts) in SORTS.into_iter().zip(counts.chunks(PLACES)) {
            self.compare(peer, sort, "EXEC", counts, &answer)?;
        }
        Ok(())
    }

    fn compare(
        &self,
        peer: &Peer,
        sort: Sort,
        kind: &'static str,
        counts: &[Value],
        answer: &Answer,
    ) -> Result<(), Stop> {
        if counts.iter().any(Value::is_error) {
            return Ok(());
        }
        self.totals.fetch_add(1, Ordering::Relaxed);
        let numbers: Vec<Option<i64>> = counts.iter().map(integer).collect();
        let total: i64 = numbers.iter().flatten().sum();
        if total == sort.total() && numbers.iter().all(Option::is_some) {
            return Ok(());
        }
        let text = format!(
            "{kind} has counted {total} of what is moved between {}s, of which there is {}",
            sort.name(),
            sort.total()
        );
        let times = times(answer.called_ns, answer.returned_ns);
        let mut history = vec![format!("client {:>3}  {times}  {kind}", peer.client())];
        for (place, value) in self.places(sort).iter().zip(counts) {
            let value = integer(value).map_or("nothing".to_owned(), |number| number.to_string());
            history.push(format!("    {} -> {value}", place.escape_ascii()));
        }
        self.run.fault("conservation", text, history)
    }

    /// Counts everything once more when nobody moves anything.
    ///
    /// # Errors
    /// `Stop`.
    pub async fn finish(&self, peer: &mut Peer) -> Result<(), Stop> {
        self.count_all(peer).await
    }
}
