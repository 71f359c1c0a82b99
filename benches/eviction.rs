//! How well keys are chosen that give way: the hit rate of a cache, beside redis-server.
//!
//! `cargo bench --bench eviction` asks for keys that are drawn from a Zipf distribution, and sets
//! each that is not there, with the memory limited. First both servers may use what each of them
//! needs for the same number of keys: then only the choice differs. Then this server may use what
//! redis-server needed: what that is worth to whoever pays for memory.
//!
//! The first half of the requests is not counted: it fills the cache. Both servers get the same
//! requests in the same order, in batches of [`BATCH`]. `best` is the rate if the most frequent
//! keys, as many as there is room for, were always there.

mod support;

use my_redis::util::random::Random;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use structopt::StructOpt;
use support::options::{Who, chosen};
use support::{Client, Common, Outcome, Record, Rounds, Server, check_programs, request, text};

/// Requests that are sent before their replies are read.
const BATCH: usize = 32;
const VALUE: [u8; 100] = [b'v'; 100];
/// How much more frequent the first keys are than the others.
const EXPONENT: f64 = 0.99;

const POLICIES: &[&str] = &["allkeys-lru", "allkeys-lfu", "allkeys-random"];

/// The hit rate of a cache beside redis-server, by policy.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Keys that are asked for
    #[structopt(long, value_name = "N", default_value = "1000000")]
    keys: usize,
    /// Keys that there is room for
    #[structopt(long, value_name = "N", default_value = "100000")]
    held: usize,
    /// Requests, of which the second half is counted [default: 1000000]
    #[structopt(long, value_name = "N")]
    requests: Option<usize>,
    /// Policies, one of allkeys-lru, allkeys-lfu and allkeys-random or several [default: all]
    #[structopt(long, value_name = "LIST", use_delimiter = true)]
    policies: Vec<String>,
}

/// Keys by their rank, drawn as often as the distribution says.
struct Zipf {
    /// The share of all keys up to each rank.
    shares: Vec<f64>,
    random: Random,
}

impl Zipf {
    fn new(keys: usize) -> Self {
        let weights = (1..=keys).map(|rank| (rank as f64).powf(-EXPONENT));
        let mut sum = 0.0;
        let mut shares: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Self { shares, random: Random::new(7) }
    }

    fn draw(&mut self) -> usize {
        let drawn = (self.random.next_bits() >> 11) as f64 / (1_u64 << 53) as f64;
        self.shares.partition_point(|share| *share < drawn).min(self.shares.len() - 1)
    }

    fn best(&self, held: usize) -> f64 {
        held.checked_sub(1).and_then(|last| self.shares.get(last)).copied().unwrap_or(0.0)
    }
}

fn key(rank: usize) -> Vec<u8> {
    format!("key:{rank:012}").into_bytes()
}

/// A connection of a cache's client.
struct Cache(BufReader<TcpStream>);

impl Cache {
    fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// True when the next reply is a string, not nothing and not an error.
    fn is_there(&mut self) -> Outcome<bool> {
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(text)?;
        match line.trim_end().split_at_checked(1) {
            Some(("$", length)) => {
                let Ok(length) = length.parse::<usize>() else { return Ok(false) };
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).map_err(text)?;
                Ok(true)
            }
            Some(("+", _)) => Ok(true),
            _ => Err(format!("unexpected: {line}")),
        }
    }

    /// Asks for these keys and sets those that are not there; returns how many were.
    fn ask(&mut self, ranks: &[usize]) -> Outcome<usize> {
        let gets: Vec<u8> = ranks.iter().flat_map(|rank| request(&[b"GET", &key(*rank)])).collect();
        self.0.get_mut().write_all(&gets).map_err(text)?;
        let mut missed = Vec::new();
        for rank in ranks {
            if !self.is_there()? {
                missed.push(*rank);
            }
        }
        let set = |rank: &usize| request(&[b"SET", &key(*rank), &VALUE]);
        let sets: Vec<u8> = missed.iter().flat_map(set).collect();
        self.0.get_mut().write_all(&sets).map_err(text)?;
        for _ in &missed {
            self.is_there()?;
        }
        Ok(ranks.len() - missed.len())
    }
}

/// A field of INFO.
fn info(client: &mut Client, name: &str) -> Outcome<u64> {
    let text = client.ask(&[b"INFO"])?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).ok_or(format!("INFO has no {name}"))
}

/// What a server needs for so many keys.
fn needed(program: &Path, held: usize) -> Outcome<u64> {
    let server = Server::start(program, None)?;
    server.fill((0..held).map(|rank| request(&[b"SET", &key(rank), &VALUE])))?;
    info(&mut Client::connect(server.port)?, "used_memory")
}

/// Prints the row of one run; returns the hit rate in percent, and what a request cost the server
/// in microseconds.
fn row(
    (who, program): (Who, &Path),
    policy: &str,
    limit: u64,
    options: &Options,
) -> Outcome<(f64, f64)> {
    let server = Server::start(program, None)?;
    let mut client = Client::connect(server.port)?;
    let set = |client: &mut Client, name: &str, value: &str| {
        client.ask(&[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()]).map(drop)
    };
    set(&mut client, "maxmemory-policy", policy)?;
    set(&mut client, "maxmemory", &limit.to_string())?;
    let (mut zipf, mut cache) = (Zipf::new(options.keys), Cache::connect(server.port)?);
    let batches = options.common.pick(options.requests, 1_000_000, 300_000) / BATCH;
    let (began, before) = (Instant::now(), server.thread_times()?);
    let mut hits = 0;
    for batch in 0..batches {
        let ranks: Vec<usize> = (0..BATCH).map(|_| zipf.draw()).collect();
        let found = cache.ask(&ranks)?;
        hits += if batch >= batches / 2 { found } else { 0 };
    }
    let seconds = began.elapsed().as_secs_f64();
    let micros = server.thread_times()?.since(&before) as f64 / 1e3 / (batches * BATCH) as f64;
    let asked = (batches - batches / 2) * BATCH;
    let held = client.ask(&[b"DBSIZE"])?.parse::<usize>().unwrap_or(0);
    let percent = hits as f64 * 100.0 / asked as f64;
    println!(
        "| {policy} | {} | {:.1} | {held} | {percent:.2} | {:.2} | {} | {seconds:.0} | {micros:.2} |",
        who.name(),
        limit as f64 / f64::from(1 << 20),
        zipf.best(held) * 100.0,
        info(&mut client, "evicted_keys")?,
    );
    Ok((percent, micros))
}

fn run(options: &Options) -> Outcome<()> {
    check_programs(&options.common)?;
    let mut record = Record::open(&options.common)?;
    println!(
        "{} keys, Zipf {EXPONENT}, values of {} bytes, room for {} keys.\n",
        options.keys,
        VALUE.len(),
        options.held,
    );
    println!(
        "| policy | server | limit MB | keys held | hit rate % | best % | gave way | s | µs CPU |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|");
    let servers = options.common.programs();
    let theirs = needed(&options.common.redis, options.held)?;
    for policy in chosen(&options.policies, POLICIES)? {
        let same_keys = format!("eviction/{policy}/same-keys");
        let same_memory = format!("eviction/{policy}/same-memory");
        let mut by_keys = Rounds::more(same_keys, format!("{policy}, room for the same keys"), "%");
        let mut by_memory = Rounds::more(same_memory, format!("{policy}, the same memory"), "%");
        let mut cost = Rounds::new(
            format!("eviction/{policy}/cpu"),
            format!("{policy}, room for the same keys: CPU"),
            "µs a request",
        );
        for &(who, program) in &servers {
            // What a server needs differs by some bytes from start to start.
            let limit = match who {
                Who::Redis => theirs,
                _ => needed(program, options.held)?,
            };
            let (percent, micros) = row((who, program), policy, limit, options)?;
            by_keys.add(who, percent);
            cost.add(who, micros);
            let percent = match limit == theirs {
                true => percent,
                false => row((who, program), policy, theirs, options)?.0,
            };
            by_memory.add(who, percent);
        }
        record.keep(&by_keys)?;
        record.keep(&by_memory)?;
        record.keep(&cost)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    support::main("eviction", run)
}
