//! Deadlines: setting one, refreshing one for ever, sweeping what is due, and how late the release
//! server is when a thousand keys are due at one instant among a million others.
//!
//! The last is printed and not repeated: the server is filled over a socket, told when the
//! thousand keys die, and asked how many are left until none is. It says by its own clock how late
//! the latest removal was; this process sees it as late as the reply.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that meets the unexpected has to stop"
)]

use criterion::{BatchSize, Criterion, Throughput};
use my_redis::keyspace::{AfterUnlock, Keyspace, NewDeadline};
use my_redis::util::clock::{Clock, UnixMillis};
use my_redis::util::events::EventSet;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

// As in the server: a key is an allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SHARDS: usize = 64;
const NOW: UnixMillis = UnixMillis(1_000_000);
const VALUE: &[u8] = b"0123456789abcdef";
const STEP_KEYS: usize = 1_024;
const SWEPT_KEYS: usize = 100_000;

/// Keys of the figure run: those that live on, and those that die at one instant.
const OTHER_KEYS: usize = 1_000_000;
const DUE_KEYS: usize = 1_000;
/// Time until they die, from when they are set.
const LEAD_MS: i64 = 3_000;
const GIVE_UP: Duration = Duration::from_secs(60);
const FILL_BATCH: usize = 5_000;
const ROUNDS: usize = 5;

fn name(number: usize) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

fn set(keyspace: &Keyspace, key: &[u8], deadline: Option<i64>, after: &mut AfterUnlock) {
    let deadline = NewDeadline::Set(deadline.map(UnixMillis));
    keyspace
        .write(keyspace.locate(key), NOW, after, |view| view.set_string(VALUE, deadline))
        .unwrap();
}

/// A keyspace whose keys have deadlines that `deadline` chooses.
fn filled(keys: usize, deadline: impl Fn(usize) -> i64) -> Keyspace {
    let keyspace = Keyspace::new(SHARDS);
    let mut after = AfterUnlock::default();
    (0..keys).for_each(|n| set(&keyspace, &name(n), Some(deadline(n)), &mut after));
    keyspace
}

fn deadlines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deadline");
    group.throughput(Throughput::Elements(STEP_KEYS as u64));
    let names: Vec<Vec<u8>> = (0..STEP_KEYS).map(name).collect();
    let mut after = AfterUnlock::default();
    let keyspace = filled(100_000, |n| NOW.0 + 3_600_000 + n as i64);
    for (what, deadlines) in [("set without", false), ("set with", true)] {
        group.bench_function(what, |b| {
            let mut ms = NOW.0 + 1_000_000;
            b.iter(|| {
                for key in &names {
                    ms += 1;
                    set(&keyspace, key, deadlines.then_some(ms), &mut after);
                }
            });
        });
    }
    group.bench_function("refresh of one key's", |b| {
        let mut ms = NOW.0 + 1_000_000;
        b.iter(|| {
            for _ in 0..STEP_KEYS {
                ms += 1;
                let deadline = Some(UnixMillis(ms));
                keyspace
                    .write(keyspace.locate(b"key:000000000000"), NOW, &mut after, |view| {
                        view.set_deadline(deadline);
                    })
                    .unwrap();
            }
        });
    });
    group.finish();
}

fn sweep(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sweep");
    group.sample_size(10).throughput(Throughput::Elements(SWEPT_KEYS as u64));
    group.bench_function(format!("{SWEPT_KEYS} due keys"), |b| {
        b.iter_batched(
            || filled(SWEPT_KEYS, |n| NOW.0 + 1 + n as i64 % 100),
            |keyspace| {
                let settle = |after: &mut AfterUnlock| drop(after.take_garbage());
                let swept =
                    keyspace.sweep_expired(UnixMillis(NOW.0 + 1_000), EventSet::NONE, settle);
                assert_eq!(black_box(swept.removed), SWEPT_KEYS as u64);
                keyspace
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// The release server, ended with the value.
struct Server {
    process: Child,
    folder: PathBuf,
    stream: BufReader<TcpStream>,
}

impl Server {
    fn start() -> Self {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let folder = std::env::temp_dir().join(format!("bench-expiry-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_my_redis_server"))
            .args(["--port", &port.to_string(), "--save", "off", "--bind", "127.0.0.1", "--dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => break stream,
                Err(_) if began.elapsed() < GIVE_UP => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("the server does not start: {error}"),
            }
        };
        stream.set_nodelay(true).unwrap();
        Self { process, folder, stream: BufReader::new(stream) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    /// Sends inline requests that are answered by one line each; returns the last line.
    fn run(&mut self, requests: impl Iterator<Item = String>) -> String {
        let mut last = String::new();
        let mut requests = requests.peekable();
        while requests.peek().is_some() {
            let batch: Vec<String> = requests.by_ref().take(FILL_BATCH).collect();
            self.stream.get_mut().write_all(batch.concat().as_bytes()).unwrap();
            for _ in &batch {
                last = self.line();
                assert!(!last.starts_with('-'), "{last}");
            }
        }
        last
    }

    /// One figure of INFO.
    fn figure(&mut self, name: &str) -> String {
        self.stream.get_mut().write_all(b"INFO everything\r\n").unwrap();
        let length: usize = self.line().trim_start_matches('$').trim().parse().unwrap();
        let mut text = vec![0; length + 2];
        self.stream.read_exact(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("INFO has no {name}")).to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How late each of the due keys was seen to be gone, in milliseconds, in order.
fn lags_of_one_round(server: &mut Server) -> Vec<i64> {
    let due_ms = Clock::System.now().0 + LEAD_MS;
    server.run((0..DUE_KEYS).map(|n| format!("SET due:{n} x PXAT {due_ms}\r\n")));
    let wait_ms = u64::try_from(due_ms - Clock::System.now().0).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(wait_ms.saturating_sub(1)));
    let began = Instant::now();
    let mut lags = Vec::new();
    while lags.len() < DUE_KEYS && began.elapsed() < GIVE_UP {
        // DBSIZE counts keys until they are removed, whatever a reader is shown.
        let size = server.run(std::iter::once("DBSIZE\r\n".to_owned()));
        let left: usize = size.trim_start_matches(':').trim().parse().unwrap();
        let gone = (OTHER_KEYS + DUE_KEYS).saturating_sub(left);
        lags.resize(gone.max(lags.len()), Clock::System.now().0 - due_ms);
    }
    assert_eq!(lags.len(), DUE_KEYS, "keys that were due are still there after {GIVE_UP:?}");
    lags
}

/// A thousand keys that are due at one instant among a million others.
fn due_at_one_instant() {
    let mut server = Server::start();
    let far_ms = Clock::System.now().0 + 3_600_000;
    let other = |n: usize| format!("SET other:{n} x PXAT {}\r\n", far_ms + n as i64 * 3);
    server.run((0..OTHER_KEYS).map(other));
    let mut lags: Vec<i64> = Vec::new();
    for _ in 0..ROUNDS {
        lags.extend(lags_of_one_round(&mut server));
    }
    lags.sort_unstable();
    let at = |permille: usize| lags.get((lags.len() - 1) * permille / 1_000).unwrap();
    println!(
        "figure: {DUE_KEYS} keys due at one instant among {OTHER_KEYS}, {ROUNDS} times: \
         seen gone after p50 {} ms, p99 {} ms, all {} ms; the server's own longest lag {} ms",
        at(500),
        at(990),
        at(1_000),
        server.figure("my_redis_expire_lag_max_ms"),
    );
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    due_at_one_instant();
    deadlines(&mut criterion);
    sweep(&mut criterion);
    criterion.final_summary();
}
