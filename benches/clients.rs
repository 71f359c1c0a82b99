//! Connections: many and one, beside redis-server and beside the bare loop, in one run.
//!
//! The servers are on the first core, a client of this process on the second (`support/load.rs`).
//! Connections are made before a turn begins, so that what is measured is requests alone; the
//! servers take turns round by round, and CPU is that of all threads of the server. Scenes:
//!
//! * start: from the start of the process to the first PONG; processor time of ten idle seconds
//! * threads: two server threads against one, with a request that is work for the server alone
//! * limit: 50 clients, one request at a time, over a million keys; also as a multiple of the bare
//!   loop (`support/bare.rs`)
//! * many: 1,000 and 10,000 clients, and 10,000 of which 1,000 are active; memory of an idle one
//! * one: a single connection, with pipelines of 1, 64 and 1,000
//! * rate: latencies at a fixed rate, half of what Redis can do
//! * values: replies of many parts, and values of 10 KB and 1 MB

mod support;

use std::process::ExitCode;
use std::time::Duration;
use structopt::StructOpt;
use support::load::{Batch, Load};
use support::options::{Who, chosen};
use support::{
    Common, Outcome, Record, Rounds, Server, allow_connections, check_programs, median, pin_self,
    request,
};

const SCENES: &[&str] = &["start", "threads", "limit", "many", "one", "rate", "values"];
const SERVER_CORE: &str = "0";
const CLIENT_CORE: &str = "1";
const CLIENTS: usize = 50;
const MANY: usize = 10_000;
/// Files that a process may need besides a connection of each client.
const OTHER_FILES: usize = 200;
const KEY: &[u8] = b"key:__rand_int__";
const VALUE: &[u8] = b"xxxxxxxxxxxxxxxx";
const SET: &[&[u8]] = &[b"SET", KEY, VALUE];
const GET: &[&[u8]] = &[b"GET", KEY];
/// What a server does ten seconds long without a client.
const IDLE: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(1);

/// Many connections and one, large replies, latencies at a rate, and the start.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Of start,threads,limit,many,one,rate,values [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    scenes: Vec<String>,
    /// Turns of each server [default: 5]
    #[structopt(long, value_name = "N")]
    rounds: Option<usize>,
    /// Requests a turn, without a pipeline [default: 100000]
    #[structopt(long, value_name = "N")]
    requests: Option<usize>,
    /// Keys that the requests choose from at random [default: 1000000]
    #[structopt(long, value_name = "N")]
    keys: Option<usize>,
    /// Length of a turn in scene rate [default: 3]
    #[structopt(long, value_name = "N")]
    seconds: Option<usize>,
}

/// Requests that a client sends at once where the bare loop stands beside the servers.
const PIPELINES: [usize; 3] = [1, 16, 64];

/// The servers, and how much is measured.
struct Bed<'a> {
    common: &'a Common,
    rounds: usize,
    requests: usize,
    keys: usize,
    seconds: usize,
    servers: Vec<(Who, Server)>,
}

impl Bed<'_> {
    /// Starts all servers on their core, each with the keys.
    fn fill(&mut self) -> Outcome<()> {
        for (who, program) in self.common.programs() {
            let most = (MANY + OTHER_FILES).to_string();
            let server = Server::start_with(program, Some(SERVER_CORE), &["--maxclients", &most])?;
            server.fill(
                (0..self.keys).map(|number| {
                    request(&[b"SET", format!("key:{number:012}").as_bytes(), VALUE])
                }),
            )?;
            self.servers.push((who, server));
        }
        Ok(())
    }
}

/// What is asked in a turn.
struct Case {
    batch: Batch,
    batches: usize,
    /// Connections that ask.
    active: usize,
    requests: usize,
}

impl Case {
    fn new(words: &[&[u8]], pipeline: usize, keys: usize, requests: usize, active: usize) -> Self {
        let batches = (requests / pipeline).max(active);
        let batch = Batch::new(words, pipeline, keys);
        Self { batch, batches, active, requests: batches * pipeline }
    }

    /// Requests a second, and the server's microseconds for one.
    fn turn(&self, server: &Server, load: &mut Load) -> Outcome<(f64, f64)> {
        let before = server.thread_times()?;
        let took = load.run(&self.batch, self.batches, self.active)?;
        let used = server.thread_times()?.since(&before);
        let requests = self.requests as f64;
        Ok((requests / took.as_secs_f64(), used as f64 / 1e3 / requests))
    }
}

/// The two figures of a case.
struct Both {
    micros: Rounds,
    rates: Rounds,
}

impl Both {
    fn new(name: &str, title: &str) -> Self {
        let of = |what: &str| format!("clients/{what}/{name}");
        Self {
            micros: Rounds::new(of("cpu"), format!("{title}: CPU"), "µs a request"),
            rates: Rounds::more(of("rate"), format!("{title}: throughput"), "requests/s"),
        }
    }

    fn add(&mut self, who: Who, (rate, micros): (f64, f64)) {
        self.rates.add(who, rate);
        self.micros.add(who, micros);
    }

    fn note(&self, record: &mut Record) -> Outcome<()> {
        record.note(&self.micros)?;
        record.note(&self.rates)
    }
}

fn start(bed: &Bed, record: &mut Record) -> Outcome<()> {
    let mut times = Rounds::new("clients/start", "start until the first PONG", "ms");
    for _ in 0..bed.rounds {
        for (who, program) in bed.common.programs() {
            times.add(who, Server::start(program, None)?.start_seconds * 1e3);
        }
    }
    record.note(&times)?;
    let start = |(who, program)| Ok((who, Server::start(program, None)?));
    let servers: Vec<(Who, Server)> =
        bed.common.programs().into_iter().map(start).collect::<Outcome<_>>()?;
    std::thread::sleep(SETTLE);
    let before = servers.iter().map(|(_, server)| server.thread_times());
    let before: Vec<_> = before.collect::<Outcome<_>>()?;
    std::thread::sleep(IDLE);
    let mut used = Rounds::new("clients/idle", "CPU of an idle server", "ms a second");
    for ((who, server), before) in servers.iter().zip(&before) {
        let nanos = server.thread_times()?.since(before) as f64;
        used.add(*who, nanos / 1e6 / IDLE.as_secs_f64());
    }
    record.note(&used)
}

/// BITCOUNT of a large string takes the server a hundred times as long as it takes the client.
fn threads(bed: &Bed, record: &mut Record) -> Outcome<()> {
    const BLOBS: usize = 256;
    let blob = [0x55; 128 * 1024];
    let words: &[&[u8]] = &[b"BITCOUNT", b"blob:__rand_int__"];
    let case = Case::new(words, 4, BLOBS, bed.requests / 2, 16);
    let mut servers = Vec::new();
    for threads in ["1", "2"] {
        let server = Server::start_with(&bed.common.ours, None, &["--threads", threads])?;
        server.fill(
            (0..BLOBS).map(|n| request(&[b"SET", format!("blob:{n:012}").as_bytes(), &blob])),
        )?;
        let load = Load::connect(server.port, case.active)?;
        servers.push((server, load));
    }
    let name = "clients/threads/bitcount";
    let title = "two server threads, BITCOUNT of 128 KB: throughput";
    let mut gain = Rounds::more(name, title, "x that of one");
    for _ in 0..bed.rounds {
        let rates = servers.iter_mut().map(|(server, load)| Ok(case.turn(server, load)?.0));
        let rates: Vec<f64> = rates.collect::<Outcome<_>>()?;
        let ratio = rates.iter().copied().reduce(|one, two| two / one);
        gain.add(Who::Ours, ratio.unwrap_or(f64::NAN));
    }
    record.note(&gain)
}

fn limit(bed: &Bed, record: &mut Record) -> Outcome<()> {
    let bare = Server::start_bare(Some(SERVER_CORE))?;
    let mut bare_load = Load::connect(bare.port, CLIENTS)?;
    let connect = |(_, server): &(Who, Server)| Load::connect(server.port, CLIENTS);
    let mut loads: Vec<Load> = bed.servers.iter().map(connect).collect::<Outcome<_>>()?;
    for (command, words) in [("SET", SET), ("GET", GET)] {
        let lower = command.to_lowercase();
        let mut both =
            Both::new(&format!("{CLIENTS}/{lower}"), &format!("{command}, {CLIENTS} clients"));
        let mut multiples = Vec::new();
        for pipeline in PIPELINES {
            let (name, of) = match pipeline {
                1 => (lower.clone(), String::new()),
                _ => (format!("{pipeline}/{lower}"), format!(", pipeline {pipeline}")),
            };
            let mut rounds = Rounds::new(
                format!("clients/limit/{name}"),
                format!("{command}, {CLIENTS} clients{of}: CPU by that of the bare loop"),
                "x the bare loop",
            );
            let case = Case::new(words, pipeline, bed.keys, bed.requests, CLIENTS);
            for _ in 0..bed.rounds {
                let (_, floor) = case.turn(&bare, &mut bare_load)?;
                for ((who, server), load) in bed.servers.iter().zip(&mut loads) {
                    let (rate, micros) = case.turn(server, load)?;
                    rounds.add(*who, micros / floor);
                    if pipeline == 1 {
                        both.add(*who, (rate, micros));
                    }
                }
            }
            multiples.push(rounds);
        }
        both.note(record)?;
        multiples.iter().try_for_each(|rounds| record.note(rounds))?;
    }
    Ok(())
}

fn many(bed: &Bed, record: &mut Record) -> Outcome<()> {
    for (all, active) in [(MANY / 10, MANY / 10), (MANY, MANY), (MANY, MANY / 10)] {
        let mut cases = Vec::new();
        for (command, words) in [("SET", SET), ("GET", GET)] {
            let (name, of) = match all == active {
                true => (format!("{all}"), String::new()),
                false => (format!("{all}-{active}"), format!(", {active} of them active")),
            };
            let name = format!("{name}/{}", command.to_lowercase());
            let both = Both::new(&name, &format!("{command}, {all} clients{of}"));
            cases.push((Case::new(words, 1, bed.keys, bed.requests, active), both));
        }
        // The connections of all servers at once would be more than a process may have.
        for _ in 0..bed.rounds {
            for (who, server) in &bed.servers {
                let mut load = Load::connect(server.port, all)?;
                for (case, both) in &mut cases {
                    both.add(*who, case.turn(server, &mut load)?);
                }
            }
        }
        cases.iter().try_for_each(|(_, both)| both.note(record))?;
    }
    idle_clients(bed, record)
}

/// Of new servers: what connections leave behind, later ones do not take anew.
fn idle_clients(bed: &Bed, record: &mut Record) -> Outcome<()> {
    let mut idle = Rounds::new("clients/memory", "an idle client: memory", "bytes");
    for (who, program) in bed.common.programs() {
        let most = (MANY + OTHER_FILES).to_string();
        let server = Server::start_with(program, Some(SERVER_CORE), &["--maxclients", &most])?;
        let before = server.memory_bytes()?;
        let _load = Load::connect(server.port, MANY)?;
        std::thread::sleep(SETTLE);
        idle.add(who, (server.memory_bytes()? - before) / MANY as f64);
    }
    record.note(&idle)
}

fn one(bed: &Bed, record: &mut Record) -> Outcome<()> {
    let connect = |(_, server): &(Who, Server)| Load::connect(server.port, 1);
    let mut loads: Vec<Load> = bed.servers.iter().map(connect).collect::<Outcome<_>>()?;
    for pipeline in [1_usize, 64, 1_000] {
        for (command, words) in [("SET", SET), ("GET", GET)] {
            let requests = bed.requests / 4 * pipeline.min(10);
            let case = Case::new(words, pipeline, bed.keys, requests, 1);
            let name = format!("one-{pipeline}/{}", command.to_lowercase());
            let mut both =
                Both::new(&name, &format!("{command}, one connection, pipeline {pipeline}"));
            for _ in 0..bed.rounds {
                for ((who, server), load) in bed.servers.iter().zip(&mut loads) {
                    both.add(*who, case.turn(server, load)?);
                }
            }
            both.note(record)?;
        }
    }
    Ok(())
}

/// The quantiles that are noted: their names and how to say them.
const QUANTILES: &[(&str, &str, f64)] =
    &[("p50", "p50", 0.5), ("p99", "p99", 0.99), ("p999", "p99.9", 0.999)];

fn rate(bed: &Bed, record: &mut Record) -> Outcome<()> {
    let connect = |(_, server): &(Who, Server)| Load::connect(server.port, CLIENTS);
    let mut loads: Vec<Load> = bed.servers.iter().map(connect).collect::<Outcome<_>>()?;
    let length = Duration::from_secs(bed.seconds as u64);
    for (command, words) in [("SET", SET), ("GET", GET)] {
        let case = Case::new(words, 1, bed.keys, bed.requests, CLIENTS);
        let (_, redis) = bed.servers.first().ok_or("no server")?;
        let load = loads.first_mut().ok_or("no server")?;
        let most = (0..3).map(|_| Ok(case.turn(redis, load)?.0));
        let half = median(most.collect::<Outcome<Vec<f64>>>()?.into_iter()) / 2.0;
        let mut rows: Vec<Rounds> = Vec::new();
        for (name, title, _) in QUANTILES {
            let name = format!("clients/half/{}/{name}", command.to_lowercase());
            let title = format!("{command} at half of Redis' throughput: {title}");
            rows.push(Rounds::new(name, title, "µs"));
        }
        for _ in 0..bed.rounds {
            for ((who, _), load) in bed.servers.iter().zip(&mut loads) {
                let times = load.at_rate(&case.batch, half, length)?;
                for (row, (_, _, quantile)) in rows.iter_mut().zip(QUANTILES) {
                    row.add(*who, times.value_at_quantile(*quantile) as f64 / 1e3);
                }
            }
        }
        rows.iter().try_for_each(|row| record.note(row))?;
    }
    Ok(())
}

const LIST_ITEMS: usize = 600;
const HASH_FIELDS: usize = 100;
const MANY_KEYS: usize = 100;
/// Keys of the large values: as many bytes as of the small ones.
const BLOBS_10K: usize = 1_000;
const BLOBS_1M: usize = 20;

/// What scene values asks for.
fn value_cases(bed: &Bed) -> Vec<(&'static str, &'static str, Case)> {
    let (large, huge) = (vec![b'x'; 10_000], vec![b'x'; 1 << 20]);
    let blob: &[u8] = b"blob10k:__rand_int__";
    let huge_blob: &[u8] = b"blob1m:__rand_int__";
    let mut mget: Vec<&[u8]> = vec![b"MGET"];
    mget.resize(1 + MANY_KEYS, KEY);
    let many = bed.requests;
    let case = |words: &[&[u8]], keys, share| Case::new(words, 1, keys, many / share, CLIENTS);
    let few = |words: &[&[u8]]| Case::new(words, 1, BLOBS_1M, many / 100, CLIENTS / 5);
    vec![
        ("lrange600", "LRANGE of 600 items", case(&[b"LRANGE", b"list", b"0", b"599"], 1, 5)),
        ("hgetall100", "HGETALL of 100 fields", case(&[b"HGETALL", b"hash"], 1, 5)),
        ("mget100", "MGET of 100 keys", case(&mget, bed.keys, 5)),
        ("set10k", "SET of 10 KB", case(&[b"SET", blob, &large], BLOBS_10K, 2)),
        ("get10k", "GET of 10 KB", case(&[b"GET", blob], BLOBS_10K, 2)),
        ("set1m", "SET of 1 MB", few(&[b"SET", huge_blob, &huge])),
        ("get1m", "GET of 1 MB", few(&[b"GET", huge_blob])),
    ]
}

fn values(bed: &Bed, record: &mut Record) -> Outcome<()> {
    let names = |what: &str, count: usize| -> Vec<String> {
        (0..count).map(|number| format!("{what}:{number:012}")).collect()
    };
    for (_, server) in &bed.servers {
        let items = names("item", LIST_ITEMS);
        let fields = names("field", HASH_FIELDS);
        let push = std::iter::once("list").chain(items.iter().map(String::as_str));
        let set = std::iter::once("hash").chain(fields.iter().flat_map(|field| [field, "value"]));
        for (command, args) in
            [("RPUSH", push.collect::<Vec<_>>()), ("HSET", set.collect::<Vec<_>>())]
        {
            let words = std::iter::once(command).chain(args).map(str::as_bytes);
            server.fill(std::iter::once(request(&words.collect::<Vec<_>>())))?;
        }
        for (what, count, bytes) in
            [("blob10k", BLOBS_10K, 10_000), ("blob1m", BLOBS_1M, 1_usize << 20)]
        {
            let value = vec![b'x'; bytes];
            let keys = names(what, count).into_iter();
            server.fill(keys.map(|key| request(&[b"SET", key.as_bytes(), &value])))?;
        }
    }
    let connect = |(_, server): &(Who, Server)| Load::connect(server.port, CLIENTS);
    let mut loads: Vec<Load> = bed.servers.iter().map(connect).collect::<Outcome<_>>()?;
    for (name, title, case) in value_cases(bed) {
        let mut both = Both::new(name, title);
        for _ in 0..bed.rounds {
            for ((who, server), load) in bed.servers.iter().zip(&mut loads) {
                both.add(*who, case.turn(server, load)?);
            }
        }
        both.note(record)?;
    }
    Ok(())
}

fn run(options: &Options) -> Outcome<()> {
    let common = &options.common;
    check_programs(common)?;
    let scenes = chosen(&options.scenes, SCENES)?;
    let mut bed = Bed {
        common,
        rounds: common.pick(options.rounds, 5, 1),
        requests: common.pick(options.requests, 100_000, 20_000),
        keys: common.pick(options.keys, 1_000_000, 100_000),
        seconds: common.pick(options.seconds, 3, 1),
        servers: Vec::new(),
    };
    let mut record = Record::open(common)?;
    println!("{} keys, {} rounds.\n", bed.keys, bed.rounds);
    record.head();
    for scene in scenes {
        let act: fn(&Bed, &mut Record) -> Outcome<()> = match scene {
            "start" => start,
            "threads" => threads,
            "limit" => limit,
            "many" => many,
            "one" => one,
            "rate" => rate,
            _ => values,
        };
        // A server that has no core of its own inherits that of this process.
        if !["start", "threads"].contains(&scene) && bed.servers.is_empty() {
            allow_connections(MANY + OTHER_FILES)?;
            bed.fill()?;
            pin_self(CLIENT_CORE);
        }
        act(&bed, &mut record).map_err(|e| format!("{scene}: {e}"))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    support::main("clients", run)
}
