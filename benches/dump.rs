//! SAVE and the load at the start beside redis-server, on the same data in one run.
//!
//! `cargo bench --bench dump` fills a redis-server with one data set after the other, lets this
//! server take the data over by loading the dump, and then measures both in turn, round by round:
//! SAVE, as the client waits for it, and the start on the dump, from the start of the process to the
//! first PING that is not answered by LOADING. Each loads its own dump; in a further column this
//! server loads the one of Redis. CPU is the time of the processor, user and system, of all threads;
//! MB/s is of the server's own file. A ratio is the median of the rounds' own ratios.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: cargo bench --bench dump -- [OPTION...]

  --data LIST       of strings,hashes,lists,deadlines,large (default: all)
  --rounds N        turns of each server (default 5)
  --divide N        a data set of one part in N: a first look
  --cores LIST      the processors that both servers may use, as taskset takes them
  --keep FOLDER     leave the dumps there, and use those that are there already
  --ours PROGRAM    the server to measure (default: the release build)
  --redis PROGRAM   the server to measure it against (default: redis-server)";

/// How many requests a connection sends before it reads the replies.
const FILL_BATCH: usize = 2_000;
const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(1);
const REDIS_FILE: &str = "redis.rdb";
const OUR_FILE: &str = "ours.rdb";

type Outcome<T> = Result<T, String>;
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

fn request<W: AsRef<str>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(AsRef::as_ref) {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

struct Options {
    data: Vec<String>,
    rounds: usize,
    divisor: usize,
    cores: Option<String>,
    keep: Option<PathBuf>,
    ours: PathBuf,
    redis: PathBuf,
}

impl Options {
    /// Reads the command line; `None` if help was asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self {
            data: DATA.iter().map(|data| data.name.to_owned()).collect(),
            rounds: 5,
            divisor: 1,
            cores: None,
            keep: None,
            ours: env!("CARGO_BIN_EXE_my_redis_server").into(),
            redis: "redis-server".into(),
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--data" => options.data = value()?.split(',').map(str::to_owned).collect(),
                "--rounds" => options.rounds = number(&value()?)?,
                "--divide" => options.divisor = number(&value()?)?,
                "--cores" => options.cores = Some(value()?),
                "--keep" => options.keep = Some(value()?.into()),
                "--ours" => options.ours = value()?.into(),
                "--redis" => options.redis = value()?.into(),
                // Cargo's own, for every bench.
                "--bench" => {}
                "-h" | "--help" => return Ok(None),
                _ => return Err(format!("unknown option {name}\n{USAGE}")),
            }
        }
        match options.data.iter().find(|name| DATA.iter().all(|data| data.name != **name)) {
            Some(name) => Err(format!("unknown data {name}\n{USAGE}")),
            None => Ok(Some(options)),
        }
    }
}

fn number(text: &str) -> Outcome<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("not a positive number: {text}")),
    }
}

/// What one turn of one server gave.
#[derive(Clone, Copy)]
struct Turn {
    seconds: f64,
    processor_seconds: f64,
}

/// A running server; ends with the value.
struct Server {
    process: Child,
    port: u16,
    ticks_per_second: f64,
    /// How long it took to answer.
    start: Turn,
}

impl Server {
    /// Starts `program` on a file of `folder` and waits until it has loaded that.
    fn start(options: &Options, program: &Path, folder: &Path, file: &str) -> Outcome<Self> {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
        let port = probe.local_addr().map_err(text)?.port();
        drop(probe);
        let mut command = match &options.cores {
            None => Command::new(program),
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cores]).arg(program);
                command
            }
        };
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
        command.args(["--dbfilename", file, "--save"]);
        command.arg(if is_redis(program) { "" } else { "off" });
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let process = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let nothing = Turn { seconds: 0.0, processor_seconds: 0.0 };
        let ticks_per_second = ticks_per_second()?;
        let mut server = Self { process, port, ticks_per_second, start: nothing };
        while server.ask(&request(&["PING"])).as_deref() != Ok("+PONG") {
            if let Ok(Some(status)) = server.process.try_wait() {
                return Err(format!("{} ended at once, {status}", program.display()));
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(format!("{} does not answer", program.display()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        let seconds = began.elapsed().as_secs_f64();
        server.start = Turn { seconds, processor_seconds: server.processor_seconds()? };
        Ok(server)
    }

    /// The first line of the reply to one request.
    fn ask(&self, request: &[u8]) -> Outcome<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(text)?;
        stream.set_read_timeout(Some(START_TIMEOUT)).map_err(text)?;
        stream.write_all(request).map_err(text)?;
        let mut reply = vec![0; 4_096];
        let length = stream.read(&mut reply).map_err(text)?;
        let reply = String::from_utf8_lossy(reply.get(..length).unwrap_or_default()).into_owned();
        Ok(reply.lines().next().unwrap_or_default().to_owned())
    }

    /// Sends requests that are answered by one line each; an error is an error.
    fn fill(&self, requests: Requests) -> Outcome<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(text)?;
        let mut requests = requests.peekable();
        let mut chunk = vec![0; 64 * 1024];
        while requests.peek().is_some() {
            let batch: Vec<Vec<u8>> = requests.by_ref().take(FILL_BATCH).collect();
            let mut missing = batch.len();
            let mut writer = stream.try_clone().map_err(text)?;
            let writing = std::thread::spawn(move || writer.write_all(&batch.concat()));
            while missing > 0 {
                let length = stream.read(&mut chunk).map_err(text)?;
                let replies = chunk.get(..length).unwrap_or_default();
                if length == 0 || replies.contains(&b'-') {
                    return Err(format!("answered {}", String::from_utf8_lossy(replies)));
                }
                missing -= replies.iter().filter(|byte| **byte == b'\n').count().min(missing);
            }
            writing.join().map_err(|_| "the writer panicked")?.map_err(text)?;
        }
        Ok(())
    }

    fn save(&self) -> Outcome<Turn> {
        let before = self.processor_seconds()?;
        let began = Instant::now();
        let reply = self.ask(&request(&["SAVE"]))?;
        let seconds = began.elapsed().as_secs_f64();
        if reply != "+OK" {
            return Err(format!("SAVE: {reply}"));
        }
        Ok(Turn { seconds, processor_seconds: self.processor_seconds()? - before })
    }

    /// The seconds of processor time used since the start.
    fn processor_seconds(&self) -> Outcome<f64> {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(path).map_err(text)?;
        // The name in brackets may hold blanks; user and system time are the 12th and 13th after.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = ticks.map(|field| field.parse().unwrap_or(f64::NAN)).collect();
        Ok(ticks.iter().sum::<f64>() / self.ticks_per_second)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_redis(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == "redis-server")
}

fn ticks_per_second() -> Outcome<f64> {
    output_of("getconf", &["CLK_TCK"]).parse().map_err(|_| "getconf CLK_TCK".to_owned())
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    (upper + lower) / 2.0
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
fn measure(options: &Options, data: &Data, folder: &Path) -> Outcome<()> {
    let (redis_path, our_path) = (folder.join(REDIS_FILE), folder.join(OUR_FILE));
    if !redis_path.exists() {
        let redis = Server::start(options, &options.redis, folder, REDIS_FILE)?;
        redis.fill((data.requests)(options.divisor))?;
        redis.save()?;
    }
    if !our_path.exists() {
        std::fs::copy(&redis_path, &our_path).map_err(text)?;
        Server::start(options, &options.ours, folder, OUR_FILE)?.save()?;
    }
    let (mut saves, mut loads, mut taken_over) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let redis = Server::start(options, &options.redis, folder, REDIS_FILE)?;
        let their_save = redis.save()?;
        let their_load = redis.start;
        drop(redis);
        let ours = Server::start(options, &options.ours, folder, OUR_FILE)?;
        saves.push((their_save, ours.save()?));
        loads.push((their_load, ours.start));
        drop(ours);
        let ours = Server::start(options, &options.ours, folder, REDIS_FILE)?;
        taken_over.push((their_load, ours.start));
    }
    let (redis_bytes, our_bytes) = (file_bytes(&redis_path)?, file_bytes(&our_path)?);
    for (what, rounds, our_bytes) in [
        ("SAVE", saves, our_bytes),
        ("load", loads, our_bytes),
        ("load of Redis' dump", taken_over, redis_bytes),
    ] {
        let what = format!("{} | {what}", data.content);
        println!("{}", row(&what, &rounds, redis_bytes, our_bytes));
    }
    Ok(())
}

fn run() -> Outcome<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let version = output_of(&options.redis.to_string_lossy(), &["--version"]);
    if version.is_empty() {
        return Err("redis-server is needed: install the Debian package redis-server".into());
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = output_of("date", &["-u", "+%Y-%m-%d"]);
    println!("{date}, {cores} cores, {} rounds, beside {version}\n", options.rounds);
    println!(
        "| data | what | Redis ms | ours ms | ratio | Redis MB/s | ours MB/s | Redis CPU s \
         | ours CPU s | ratio |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    let unkept = std::env::temp_dir().join(format!("bench-dump-{}", std::process::id()));
    let mut outcome = Ok(());
    for data in DATA.iter().filter(|data| options.data.iter().any(|name| name == data.name)) {
        let folder = options.keep.as_ref().unwrap_or(&unkept).join(data.name);
        outcome = std::fs::create_dir_all(&folder)
            .map_err(text)
            .and_then(|()| measure(&options, data, &folder));
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
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("dump: {reason}");
            ExitCode::FAILURE
        }
    }
}
