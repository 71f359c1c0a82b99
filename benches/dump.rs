//! SAVE and the load at the start beside redis-server, on the same data in one run.
//!
//! `cargo bench --bench dump` fills a redis-server with one data set after the other, lets this
//! server take the data over by loading the dump, and then measures both in turn, round by round:
//! SAVE, as the client waits for it, and the start on the dump, from the start of the process to the
//! first PING that is not answered by LOADING. Each loads its own dump; in a further column this
//! server loads the one of Redis. CPU is the time of the processor, user and system, of all threads;
//! MB/s is of the server's own file. A ratio is the median of the rounds' own ratios.

mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use structopt::StructOpt;
use support::options::{Who, chosen};
use support::{Client, Common, Outcome, Record, Rounds, Server, check_programs, median, text};

const REDIS_FILE: &str = "redis.rdb";
const OUR_FILE: &str = "ours.rdb";

type Requests = Box<dyn Iterator<Item = Vec<u8>>>;

/// A data set: its name, what is in it, and the requests that make one part in so many of it.
struct Data {
    name: &'static str,
    content: &'static str,
    requests: fn(usize) -> Requests,
}

const DATA: &[Data] = &[
    Data { name: "strings", content: "2,000,000 strings of 100 bytes", requests: strings },
    Data { name: "hashes", content: "200,000 hashes of 8 fields", requests: hashes },
    Data { name: "lists", content: "100,000 lists of 50 elements", requests: lists },
    Data { name: "deadlines", content: "1,000,000 small strings that expire", requests: deadlines },
    Data { name: "large", content: "a list and a hash of 5,000,000 each", requests: large },
    Data { name: "streams", content: "100 streams of 30,000 entries", requests: streams },
];

fn strings(divisor: usize) -> Requests {
    Box::new((0..2_000_000 / divisor).map(|n| {
        // Digits in no pattern: packing them is tried and given up.
        let mut value = format!("{n}:");
        let mut state = n as u64;
        while value.len() < 100 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value.push_str(&format!("{:08x}", state >> 32));
        }
        value.truncate(100);
        request(&["SET", &format!("key:{n:012}"), &value])
    }))
}

fn hashes(divisor: usize) -> Requests {
    Box::new((0..200_000 / divisor).map(|n| {
        let mut words = vec!["HSET".to_owned(), format!("hash:{n}")];
        (0..8).for_each(|f| words.extend([format!("field:{f}"), format!("value:{n}:{f}")]));
        request(&words)
    }))
}

fn lists(divisor: usize) -> Requests {
    Box::new((0..100_000 / divisor).map(|n| {
        let mut words = vec!["RPUSH".to_owned(), format!("list:{n}")];
        words.extend((0..50).map(|i| format!("element:{n}:{i}")));
        request(&words)
    }))
}

fn deadlines(divisor: usize) -> Requests {
    Box::new((0..1_000_000 / divisor).map(|n| {
        let deadline_ms = 33_000_000_000_000_usize + n;
        let (key, value) = (format!("k:{n}"), format!("v{n}"));
        request(&["SET", &key, &value, "PXAT", &deadline_ms.to_string()])
    }))
}

fn large(divisor: usize) -> Requests {
    Box::new((0..5_000_000 / divisor).step_by(100).flat_map(|from| {
        let mut list = vec!["RPUSH".to_owned(), "list".to_owned()];
        let mut hash = vec!["HSET".to_owned(), "hash".to_owned()];
        for n in from..from + 100 {
            list.push(format!("element:{n}"));
            hash.extend([format!("field:{n}"), format!("value:{n}")]);
        }
        [request(&list), request(&hash)]
    }))
}

/// A script adds 1,000 entries at once.
fn streams(divisor: usize) -> Requests {
    let script = "for n = ARGV[1], ARGV[1] + 999 do redis.call('XADD', KEYS[1], n .. '-0', \
                  'number', n, 'name', 'user:' .. n * 7919 % 1000000, 'state', 'waiting') end \
                  return 1";
    Box::new((0..3_000 / divisor).map(move |n| {
        let from = (1_700_000_000_000 + n / 100 * 1_000).to_string();
        request(&["EVAL", script, "1", &format!("stream:{}", n % 100), &from])
    }))
}

fn request<W: AsRef<str>>(words: &[W]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_ref().as_bytes()).collect();
    support::request(&words)
}

/// SAVE and the load at the start, beside redis-server.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Of strings,hashes,lists,deadlines,large,streams [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    data: Vec<String>,
    /// Turns of each server [default: 5]
    #[structopt(long, value_name = "N")]
    rounds: Option<usize>,
    /// A data set of one part in N [default: 1]
    #[structopt(long, value_name = "N")]
    divide: Option<usize>,
    /// The processors that both servers may use, as taskset takes them
    #[structopt(long, value_name = "LIST")]
    cores: Option<String>,
    /// Leave the dumps there, and use those that are there already
    #[structopt(long, value_name = "FOLDER", parse(from_os_str))]
    keep: Option<PathBuf>,
}

/// What one turn of one server gave.
#[derive(Clone, Copy)]
struct Turn {
    seconds: f64,
    processor_seconds: f64,
}

/// A server that has loaded `file`, and how long that took.
fn started(
    program: &Path,
    options: &Options,
    folder: &Path,
    file: &str,
) -> Outcome<(Server, Turn)> {
    let server = Server::start_on(program, options.cores.as_deref(), folder, file)?;
    let (seconds, processor_seconds) = (server.start_seconds, server.processor_seconds()?);
    Ok((server, Turn { seconds, processor_seconds }))
}

fn save(server: &Server) -> Outcome<Turn> {
    let mut client = Client::connect(server.port)?;
    let before = server.processor_seconds()?;
    let began = Instant::now();
    client.ask(&[b"SAVE"])?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Turn { seconds, processor_seconds: server.processor_seconds()? - before })
}

/// One row of the table: what it is, and the rounds of Redis and ours.
fn row(what: &str, rounds: &[(Turn, Turn)], redis_bytes: f64, our_bytes: f64) -> String {
    let of = |pick: fn(&Turn) -> f64| {
        let redis = median(rounds.iter().map(|(redis, _)| pick(redis)));
        let ours = median(rounds.iter().map(|(_, ours)| pick(ours)));
        (redis, ours, median(rounds.iter().map(|(redis, ours)| pick(redis) / pick(ours))))
    };
    let (redis, ours, ratio) = of(|turn| turn.seconds);
    let (redis_cpu, ours_cpu, cpu_ratio) = of(|turn| turn.processor_seconds);
    format!(
        "| {what} | {:.0} | {:.0} | {ratio:.2} | {:.0} | {:.0} | {redis_cpu:.2} | {ours_cpu:.2} \
         | {cpu_ratio:.2} |",
        redis * 1e3,
        ours * 1e3,
        redis_bytes / redis / 1e6,
        our_bytes / ours / 1e6,
    )
}

fn file_bytes(path: &Path) -> Outcome<f64> {
    Ok(std::fs::metadata(path).map_err(text)?.len() as f64)
}

/// Measures one data set and prints its rows.
fn measure(options: &Options, data: &Data, folder: &Path, record: &mut Record) -> Outcome<()> {
    let (redis_path, our_path) = (folder.join(REDIS_FILE), folder.join(OUR_FILE));
    if !redis_path.exists() {
        let (redis, _) = started(&options.common.redis, options, folder, REDIS_FILE)?;
        redis.fill((data.requests)(options.common.pick(options.divide, 1, 20)))?;
        save(&redis)?;
    }
    if !our_path.exists() {
        std::fs::copy(&redis_path, &our_path).map_err(text)?;
        save(&started(&options.common.ours, options, folder, OUR_FILE)?.0)?;
    }
    let (mut saves, mut loads, mut taken_over) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.common.pick(options.rounds, 5, 2) {
        let (redis, their_load) = started(&options.common.redis, options, folder, REDIS_FILE)?;
        let their_save = save(&redis)?;
        drop(redis);
        let (ours, our_load) = started(&options.common.ours, options, folder, OUR_FILE)?;
        saves.push((their_save, save(&ours)?));
        loads.push((their_load, our_load));
        drop(ours);
        let (_ours, our_load) = started(&options.common.ours, options, folder, REDIS_FILE)?;
        taken_over.push((their_load, our_load));
    }
    let (redis_bytes, our_bytes) = (file_bytes(&redis_path)?, file_bytes(&our_path)?);
    for (name, what, rounds, our_bytes) in [
        ("save", "SAVE", saves, our_bytes),
        ("load", "load", loads, our_bytes),
        ("take-over", "load of Redis' dump", taken_over, redis_bytes),
    ] {
        let title = format!("{} | {what}", data.content);
        println!("{}", row(&title, &rounds, redis_bytes, our_bytes));
        let title = format!("{}: {what}", data.content);
        let mut times = Rounds::new(format!("dump/{}/{name}", data.name), title, "ms");
        for (redis, ours) in rounds {
            times.add(Who::Redis, redis.seconds * 1e3);
            times.add(Who::Ours, ours.seconds * 1e3);
        }
        record.keep(&times)?;
    }
    Ok(())
}

fn run(options: &Options) -> Outcome<()> {
    check_programs(&options.common)?;
    let names: Vec<&str> = DATA.iter().map(|data| data.name).collect();
    let names = chosen(&options.data, &names)?;
    let mut record = Record::open(&options.common)?;
    println!(
        "| data | what | Redis ms | ours ms | ratio | Redis MB/s | ours MB/s | Redis CPU s \
         | ours CPU s | ratio |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let unkept = std::env::temp_dir().join(format!("bench-dump-{}", std::process::id()));
    let mut outcome = Ok(());
    for data in DATA.iter().filter(|data| names.contains(&data.name)) {
        let folder = options.keep.as_ref().unwrap_or(&unkept).join(data.name);
        outcome = std::fs::create_dir_all(&folder)
            .map_err(text)
            .and_then(|()| measure(options, data, &folder, &mut record));
        if outcome.is_err() {
            break;
        }
    }
    if options.keep.is_none() {
        let _ = std::fs::remove_dir_all(&unkept);
    }
    outcome
}

fn main() -> ExitCode {
    support::main("dump", run)
}
