//! What clients notice of a save: this server beside redis-server, in one run.
//!
//! `cargo bench --bench snapshot` fills each server and saves in the background while a probe sends
//! requests at a fixed rate. A request's time counts from the moment at which it was due, so that
//! a server that stands still is charged for every request that it held up. Four scenes:
//!
//! * burst: redis-benchmark writes at full speed meanwhile, 8 connections, pipeline 8
//! * quiet: only the probe
//! * large: a list and a hash of millions, which the probe itself changes
//!
//! * holds: inside this process, for how long the walk of a save holds a shard's lock, and how
//!   long the first change of a large value takes after the cut
//!
//! Memory is the process' share with that of its children (a forked saver is one), as a multiple
//! of what it was right before the save.

#![allow(clippy::unwrap_used, reason = "a benchmark that meets the unexpected has to stop")]

mod support;

use hdrhistogram::Histogram;
use my_redis::data::list::End;
use my_redis::data::{Hash, List};
use my_redis::keyspace::{AfterUnlock, Keyspace, NewDeadline, WriteView};
use my_redis::util::clock::UnixMillis;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use structopt::StructOpt;
use support::options::{Who, chosen};
use support::probe::Probe;
use support::{Client, Common, Outcome, Record, Rounds, Server, check_programs, request};

// As in the server: a key is an allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TABLE: &str = "\
| scene | server | phase | p50 ms | p99 ms | p99.9 ms | max ms | memory | save s | file MB |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|";

const SCENES: &[&str] = &["burst", "quiet", "large", HOLDS];
/// The scene that needs no server.
const HOLDS: &str = "holds";
/// How long the probe runs before the first save.
const CALM: Duration = Duration::from_secs(3);
/// A save that takes longer ends the bench.
const SAVE_TIMEOUT: Duration = Duration::from_secs(300);
/// Elements of one filling request.
const FILL_ELEMENTS: usize = 100;
const VALUE: &[u8] = &[b'v'; 100];

/// What clients notice of a save, beside redis-server.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Of burst,quiet,large,holds [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    scenes: Vec<String>,
    /// Strings of 100 bytes in all scenes but large [default: 2000000]
    #[structopt(long, value_name = "N")]
    keys: Option<usize>,
    /// Elements of the list and of the hash in large and holds [default: 5000000]
    #[structopt(long, value_name = "N")]
    elements: Option<usize>,
    /// Saves, one after the other [default: 3]
    #[structopt(long, value_name = "N")]
    saves: Option<usize>,
    /// Requests of the probe a second
    #[structopt(long, value_name = "N", default_value = "1000")]
    hz: usize,
}

impl Options {
    fn keys(&self) -> usize {
        self.common.pick(self.keys, 2_000_000, 200_000)
    }

    fn elements(&self) -> usize {
        self.common.pick(self.elements, 5_000_000, 500_000)
    }

    fn saves(&self) -> usize {
        self.common.pick(self.saves, 3, 1)
    }
}

/// The request number `number` of the probe in a scene.
fn probe_request(scene: &str, options: &Options, number: u64) -> Vec<Vec<u8>> {
    // A multiplicative hash: every key comes, in no order.
    let random = usize::try_from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20).unwrap();
    let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let field = format!("field:{:07}", random % options.elements());
    let key = format!("key:{:012}", random % options.keys());
    match (scene, number % 6) {
        ("large", 0) => words(&["HSET", "hash", &field, "12345678"]),
        ("large", 1) => words(&["RPUSH", "list", "12345678"]),
        ("large", 2) => words(&["LPOP", "list"]),
        ("large", 3) => words(&["HGET", "hash", &field]),
        ("large", 4) => words(&["LSET", "list", "-1", "87654321"]),
        ("large", _) => words(&["PING"]),
        (_, 0..3) => words(&["GET", &key]),
        _ => vec![b"SET".to_vec(), key.into_bytes(), VALUE.to_vec()],
    }
}

/// The probe of a scene, at work.
fn start_probe(scene: &str, options: &Options, port: u16) -> Outcome<Probe> {
    let requests = (0..60_000).map(|number| probe_request(scene, options, number));
    Probe::start(port, options.hz, 1, requests.collect())
}

/// Median, 99 %, 99.9 % and most of the times since the last call, in milliseconds.
fn quantiles(probe: &Probe) -> [f64; 4] {
    let times = probe.take();
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    [at(0.5), at(0.99), at(0.999), times.max() as f64 / 1e3]
}

/// They, as columns of the table.
fn columns(times: &[f64; 4]) -> String {
    times.map(|millis| format!("{millis:.2}")).join(" | ")
}

/// redis-benchmark writing until it is dropped.
struct Writer(Child);

impl Writer {
    fn start(options: &Options, port: u16) -> Outcome<Self> {
        let (port, keys) = (port.to_string(), options.keys().to_string());
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port, "-n", "1000000000", "-c", "8", "-P", "8", "-r", &keys, "-q"]);
        command.args(["SET", "key:__rand_int__"]).arg("w".repeat(VALUE.len()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(|e| format!("redis-benchmark: {e}"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fill(server: &Server, scene: &str, options: &Options) -> Outcome<()> {
    if scene != "large" {
        let set = |n| request(&[b"SET", format!("key:{n:012}").as_bytes(), VALUE]);
        return server.fill((0..options.keys()).map(set));
    }
    let starts = || (0..options.elements()).step_by(FILL_ELEMENTS);
    server.fill(starts().map(|_| {
        let mut args: Vec<&[u8]> = vec![b"RPUSH", b"list"];
        args.resize(2 + FILL_ELEMENTS, b"12345678");
        request(&args)
    }))?;
    server.fill(starts().map(|start| {
        let fields: Vec<String> =
            (start..start + FILL_ELEMENTS).map(|n| format!("field:{n:07}")).collect();
        let mut args: Vec<&[u8]> = vec![b"HSET", b"hash"];
        args.extend(fields.iter().flat_map(|field| [field.as_bytes(), &b"12345678"[..]]));
        request(&args)
    }))
}

/// Waits for the end of a save; returns the most memory that was used meanwhile.
fn watch_save(server: &Server, client: &mut Client) -> Outcome<f64> {
    let began = Instant::now();
    let mut peak: f64 = 0.0;
    loop {
        peak = peak.max(server.memory_bytes()?);
        let info = client.ask(&[b"INFO", b"persistence"])?;
        if info.contains("rdb_bgsave_in_progress:0") {
            if info.contains("rdb_last_bgsave_status:ok") {
                return Ok(peak);
            }
            return Err("the save has failed".into());
        }
        if began.elapsed() > SAVE_TIMEOUT {
            return Err("the save does not end".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The figures of a scene: those of the times before the save, during it, and what it took.
struct Figures {
    before: Rounds,
    p50: Rounds,
    p99: Rounds,
    most: Rounds,
    memory: Rounds,
    seconds: Rounds,
}

impl Figures {
    fn new(scene: &str) -> Self {
        let name = |what: &str| format!("snapshot/{scene}/{what}");
        let title = |what: &str| format!("{scene}: {what}");
        Self {
            before: Rounds::new(name("before"), title("p99 without a save"), "ms"),
            p50: Rounds::new(name("p50"), title("p50 during a save"), "ms"),
            p99: Rounds::new(name("p99"), title("p99 during a save"), "ms"),
            most: Rounds::new(name("max"), title("longest during a save"), "ms"),
            memory: Rounds::new(name("memory"), title("most memory"), "x that before the save"),
            seconds: Rounds::new(name("time"), title("time of a save"), "s"),
        }
    }

    fn keep(&self, record: &mut Record) -> Outcome<()> {
        let Self { before, p50, p99, most, memory, seconds } = self;
        let all = [before, p50, p99, most, memory, seconds];
        all.into_iter().try_for_each(|rounds| record.keep(rounds).map(drop))
    }
}

fn measure(
    scene: &str,
    options: &Options,
    (who, program): (Who, &Path),
    figures: &mut Figures,
) -> Outcome<()> {
    let server = Server::start(program, None)?;
    let name = who.name();
    fill(&server, scene, options)?;
    let mut client = Client::connect(server.port)?;
    let writer = (scene == "burst").then(|| Writer::start(options, server.port)).transpose()?;
    let mut probe = start_probe(scene, options, server.port)?;
    std::thread::sleep(Duration::from_secs(1));
    probe.take();
    std::thread::sleep(CALM);
    let times = quantiles(&probe);
    figures.before.add(who, times[1]);
    println!("| {scene} | {name} | before | {} | | | |", columns(&times));
    for _ in 0..options.saves() {
        let before = server.memory_bytes()?;
        probe.take();
        let began = Instant::now();
        client.ask(&[b"BGSAVE"])?;
        let peak = watch_save(&server, &mut client)?;
        let (took, times) = (began.elapsed().as_secs_f64(), quantiles(&probe));
        let files = std::fs::read_dir(&server.folder).map_err(support::text)?;
        let bytes = files.flatten().filter_map(|file| Some(file.metadata().ok()?.len())).max();
        println!(
            "| {scene} | {name} | saving | {} | {:.2} x | {took:.2} | {:.0} |",
            columns(&times),
            peak / before,
            bytes.unwrap_or(0) as f64 / 1e6
        );
        figures.p50.add(who, times[0]);
        figures.p99.add(who, times[1]);
        figures.most.add(who, times[3]);
        figures.memory.add(who, peak / before);
        figures.seconds.add(who, took);
        std::thread::sleep(Duration::from_secs(1));
    }
    drop(writer);
    probe.stop()
}

fn run(options: &Options) -> Outcome<()> {
    check_programs(&options.common)?;
    let scenes = chosen(&options.scenes, SCENES)?;
    let mut record = Record::open(&options.common)?;
    println!(
        "{} keys; {} elements; probe {}/s.\n\n{TABLE}",
        options.keys(),
        options.elements(),
        options.hz
    );
    for scene in scenes.iter().filter(|scene| **scene != HOLDS) {
        let mut figures = Figures::new(scene);
        for program in options.common.programs() {
            measure(scene, options, program, &mut figures)?;
        }
        figures.keep(&mut record)?;
    }
    if scenes.contains(&HOLDS) {
        holds(options, &mut record)?;
    }
    Ok(())
}

/// Walks a keyspace of this process as a save does, while nobody else uses it.
fn holds(options: &Options, record: &mut Record) -> Outcome<()> {
    let keyspace = Keyspace::new(64);
    let (now, mut after) = (UnixMillis(1), AfterUnlock::default());
    for number in 0..options.keys() {
        let key = format!("key:{number:012}");
        let set = |view: &mut WriteView<'_>| view.set_string(VALUE, NewDeadline::Set(None));
        keyspace.write(keyspace.locate(key.as_bytes()), now, &mut after, set).unwrap();
    }
    let mut push = |count| {
        let push = |list: &mut List| (0..count).for_each(|_| list.push(End::Right, b"12345678"));
        let change = |view: &mut WriteView<'_>| view.change_collection(true, push).unwrap();
        let began = Instant::now();
        keyspace.write(keyspace.locate(b"list"), now, &mut after, change).unwrap();
        began.elapsed()
    };
    push(options.elements());
    let mut after = AfterUnlock::default();
    let mut set = |from: usize, count: usize| {
        let set = |hash: &mut Hash| {
            for number in from..from + count {
                hash.set(format!("field:{number:07}").as_bytes(), b"12345678");
            }
        };
        let change = |view: &mut WriteView<'_>| view.change_collection(true, set).unwrap();
        let began = Instant::now();
        keyspace.write(keyspace.locate(b"hash"), now, &mut after, change).unwrap();
        began.elapsed()
    };
    set(0, options.elements());
    println!("\n| lock held by | times | p50 us | p99 us | max us |\n|---|--:|--:|--:|--:|");
    let mut walks = Histogram::<u64>::new(3).unwrap();
    let mut changes = [walks.clone(), walks.clone()];
    let put = |times: &mut Histogram<u64>, time: Duration| {
        times.record(u64::try_from(time.as_micros()).unwrap()).unwrap();
    };
    for _ in 0..options.saves() {
        let mut snapshot = keyspace.begin_snapshot(u64::MAX).unwrap();
        let [lists, hashes] = &mut changes;
        put(lists, push(1));
        put(hashes, set(0, 1));
        while snapshot.step(&mut |_, _| ()).unwrap() {
            put(&mut walks, snapshot.last_hold());
        }
    }
    let [lists, hashes] = &changes;
    let rows = [("a step of the walk", &walks), ("the list's first change", lists)];
    for (name, times) in rows.into_iter().chain([("the hash's first change", hashes)]) {
        let at = |quantile| times.value_at_quantile(quantile);
        let (middle, high) = (at(0.5), at(0.99));
        println!("| {name} | {} | {middle} | {high} | {} |", times.len(), times.max());
        let short = name.split(' ').nth(1).unwrap_or_default().replace("'s", "");
        for (what, value) in [("p99", high), ("max", times.max())] {
            let title = format!("lock held by {name}: {what}");
            let mut rounds = Rounds::new(format!("snapshot/holds/{short}/{what}"), title, "µs");
            rounds.add(Who::Ours, value as f64);
            record.keep(&rounds)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    support::main("snapshot", run)
}
