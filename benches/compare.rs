//! This server beside redis-server, on one machine in one run.
//!
//! `cargo bench --bench compare` starts the release build of this server and a redis-server, each
//! pinned to the first core, and drives them in turn with redis-benchmark on the second. Per
//! command and pipeline length it takes the requests per second and the processor time that the
//! server's process used (user and system, from /proc), divided by the requests. The servers take
//! turns round by round and a ratio is the median of the rounds' own ratios, because a machine's
//! speed drifts by more than the differences of interest. Only ratios carry over to other machines.
//!
//! `--memory` measures memory instead: the growth of the process for a million keys, without what
//! keys and values hold themselves.

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use support::{
    Client, OURS, Outcome, Server, check_programs, heading, median, number, pinned, request,
};

const USAGE: &str = "\
usage: cargo bench --bench compare -- [OPTION...]

  --tests LIST      of set,get,incr,lpush,lpop,hset,hget,xadd,xreadgroup,evalsha,evalsha-all
                    (default: all)
  --pipelines LIST  requests sent at once, for example 1,16,64 (default)
  --rounds N        turns of each server (default 3)
  --requests N      requests a turn without pipeline (default 300000); more with pipeline
  --keys N          keys the requests choose from at random (default 1000000)
  --clients N       connections (default 50)
  --quick           one round, 100000 requests, 100000 keys: a first look
  --both            server and client on all cores, two client threads
  --memory          bytes per key instead of speed
  --ours PROGRAM    the server to measure (default: the release build)
  --redis PROGRAM   the server to measure it against (default: redis-server)";

/// What redis-benchmark sends; it replaces `__rand_int__` by twelve digits.
#[rustfmt::skip]
const TESTS: &[(&str, &[&str])] = &[
    ("set", &["SET", "key:__rand_int__", "xxxxxxxxxxxxxxxx"]),
    ("get", &["GET", "key:__rand_int__"]),
    ("incr", &["INCR", "number:__rand_int__"]),
    ("lpush", &["LPUSH", "list:__rand_int__", "xxxxxxxx"]),
    ("lpop", &["LPOP", "list:__rand_int__"]),
    ("hset", &["HSET", "hash:__rand_int__", "field", "xxxxxxxx"]),
    ("hget", &["HGET", "hash:__rand_int__", "field"]),
    ("xadd", &["XADD", "stream", "*", "field", "xxxxxxxxxxxxxxxx", "number", "__rand_int__"]),
    (
        "xreadgroup",
        &["XREADGROUP", "GROUP", "g", "consumer", "COUNT", "1", "STREAMS", "stream", ">"],
    ),
    ("evalsha", &[
        "EVALSHA", "9ce652aba3ae6d361e3f3165d9c13d76f0d4b887", "3", "key:__rand_int__",
        "number:__rand_int__", "hash:__rand_int__", "xxxxxxxx",
    ]),
    ("evalsha-all", &[
        "EVALSHA", "91dfe3a7616f3d491a84da162355e2f6d9a0b9d3", "0", "xxxxxxxx",
        "key:__rand_int__", "number:__rand_int__", "hash:__rand_int__",
    ]),
];

/// What EVALSHA runs: five commands, of keys that are declared,
const FIVE: &str = "redis.call('set',KEYS[1],ARGV[1]) redis.call('incr',KEYS[2]) local \
    value=redis.call('get',KEYS[1]) redis.call('hset',KEYS[3],'field',value) return \
    redis.call('hget',KEYS[3],'field')";
/// and of keys that are not: here that locks all shards.
const FIVE_UNDECLARED: &str = "redis.call('set',ARGV[2],ARGV[1]) redis.call('incr',ARGV[3]) local \
    value=redis.call('get',ARGV[2]) redis.call('hset',ARGV[4],'field',value) return \
    redis.call('hget',ARGV[4],'field')";

/// The head of the table of speeds.
const SPEED_TABLE: &str = "\
| command | pipeline | Redis req/s | ours req/s | ratio | Redis CPU | ours CPU | ratio |
|---|--:|--:|--:|--:|--:|--:|--:|";

struct Options {
    tests: Vec<String>,
    pipelines: Vec<usize>,
    rounds: usize,
    requests: usize,
    keys: usize,
    clients: usize,
    both: bool,
    memory: bool,
    ours: PathBuf,
    redis: PathBuf,
}

impl Options {
    /// Reads the command line; `None` if help was asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self {
            tests: TESTS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            pipelines: vec![1, 16, 64],
            rounds: 3,
            requests: 300_000,
            keys: 1_000_000,
            clients: 50,
            both: false,
            memory: false,
            ours: OURS.into(),
            redis: "redis-server".into(),
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--tests" => options.tests = value()?.split(',').map(str::to_owned).collect(),
                "--pipelines" => {
                    options.pipelines = value()?.split(',').map(number).collect::<Outcome<_>>()?;
                }
                "--rounds" => options.rounds = number(&value()?)?,
                "--requests" => options.requests = number(&value()?)?,
                "--keys" => options.keys = number(&value()?)?,
                "--clients" => options.clients = number(&value()?)?,
                "--quick" => {
                    (options.rounds, options.requests, options.keys) = (1, 100_000, 100_000);
                }
                "--both" => options.both = true,
                "--memory" => options.memory = true,
                "--ours" => options.ours = value()?.into(),
                "--redis" => options.redis = value()?.into(),
                // Cargo's own, for every bench.
                "--bench" => {}
                "-h" | "--help" => return Ok(None),
                _ => return Err(format!("unknown option {name}\n{USAGE}")),
            }
        }
        match options.tests.iter().find(|test| requests_of(test).is_none()) {
            Some(test) => Err(format!("unknown test {test}\n{USAGE}")),
            None => Ok(Some(options)),
        }
    }

    /// The core a program is bound to, if any.
    fn core(&self, core: &'static str) -> Option<&'static str> {
        (!self.both).then_some(core)
    }
}

fn requests_of(test: &str) -> Option<&'static [&'static str]> {
    TESTS.iter().find(|(name, _)| *name == test).map(|(_, request)| *request)
}

/// What one turn of one server gave.
#[derive(Clone, Copy)]
struct Turn {
    requests_per_second: f64,
    processor_micros: f64,
}

/// How many requests a turn has: enough for the clock of /proc at every speed.
fn requests_in_turn(options: &Options, pipeline: usize) -> usize {
    options.requests * pipeline.clamp(1, 10)
}

/// Empties the server and gives the test the keys it needs to find.
fn prepare(server: &Server, options: &Options, test: &str, pipeline: usize) -> Outcome<()> {
    let pops = requests_in_turn(options, pipeline) * options.rounds;
    let items = pops.div_ceil(options.keys) + 2;
    server.fill(std::iter::once(request(&[b"FLUSHALL"])))?;
    let keys = 0..options.keys;
    match test {
        "set" | "get" => server.fill(keys.map(|number| {
            request(&[b"SET", format!("key:{number:012}").as_bytes(), b"xxxxxxxxxxxxxxxx"])
        })),
        "lpop" => server.fill(keys.map(|number| {
            let key = format!("list:{number:012}");
            let mut args: Vec<&[u8]> = vec![b"RPUSH", key.as_bytes()];
            args.resize(2 + items, b"xxxxxxxx");
            request(&args)
        })),
        "hset" | "hget" => server.fill(keys.map(|number| {
            request(&[b"HSET", format!("hash:{number:012}").as_bytes(), b"field", b"xxxxxxxx"])
        })),
        // As many entries as will be read.
        "xreadgroup" => {
            let mut client = Client::connect(server.port)?;
            client.ask(&[b"XGROUP", b"CREATE", b"stream", b"g", b"$", b"MKSTREAM"])?;
            (0..options.rounds).try_for_each(|_| turn(server, options, "xadd", pipeline).map(drop))
        }
        "evalsha" | "evalsha-all" => {
            let script = if test == "evalsha" { FIVE } else { FIVE_UNDECLARED };
            server.fill(std::iter::once(request(&[b"SCRIPT", b"LOAD", script.as_bytes()])))
        }
        _ => Ok(()),
    }
}

fn turn(server: &Server, options: &Options, test: &str, pipeline: usize) -> Outcome<Turn> {
    let requests = requests_in_turn(options, pipeline);
    let mut command = pinned(options.core("1"), Path::new("redis-benchmark"));
    command.args(["-p", &server.port.to_string(), "--csv", "-n", &requests.to_string()]);
    command.args(["-c", &options.clients.to_string(), "-P", &pipeline.to_string()]);
    command.args(["-r", &options.keys.to_string()]);
    if options.both {
        command.args(["--threads", "2"]);
    }
    command.args(requests_of(test).unwrap_or_default()).stdin(Stdio::null());
    let before = server.processor_seconds()?;
    let output = command.output().map_err(|e| format!("redis-benchmark: {e}"))?;
    let used = server.processor_seconds()? - before;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = lines.lines().rfind(|line| line.starts_with('"') && !line.starts_with("\"test\""));
    let speed = row.and_then(|row| row.split("\",\"").nth(1)?.parse().ok());
    let problem = String::from_utf8_lossy(&output.stderr);
    match speed {
        Some(requests_per_second) if output.status.success() && !problem.contains("Error") => {
            Ok(Turn { requests_per_second, processor_micros: used * 1e6 / requests as f64 })
        }
        _ => Err(format!("redis-benchmark {test}: {lines}{problem}")),
    }
}

/// One row of the table from the rounds' turns, redis-server's and ours.
fn row(test: &str, pipeline: usize, rounds: &[(Turn, Turn)]) -> String {
    let of = |pick: fn(&Turn) -> f64| {
        let redis = median(rounds.iter().map(|(redis, _)| pick(redis)));
        let ours = median(rounds.iter().map(|(_, ours)| pick(ours)));
        (redis, ours, median(rounds.iter().map(|(redis, ours)| pick(ours) / pick(redis))))
    };
    let (redis, ours, ratio) = of(|turn| turn.requests_per_second);
    let (redis_cpu, ours_cpu, ratio_cpu) = of(|turn| turn.processor_micros);
    format!(
        "| {} | {pipeline} | {redis:.0} | {ours:.0} | {ratio:.2} \
         | {redis_cpu:.2} | {ours_cpu:.2} | {ratio_cpu:.2} |",
        test.to_uppercase()
    )
}

fn speed(options: &Options) -> Outcome<()> {
    let redis = Server::start(&options.redis, options.core("0"))?;
    let ours = Server::start(&options.ours, options.core("0"))?;
    heading(&ours.version(&options.ours), &redis.version(&options.redis));
    let place = if options.both { "all cores" } else { "one core each for server and client" };
    println!(
        "{} clients, {} keys, {} rounds, {place}; \
         CPU is the server's, in microseconds a request.\n",
        options.clients, options.keys, options.rounds
    );
    println!("{SPEED_TABLE}");
    for pipeline in &options.pipelines {
        for test in &options.tests {
            prepare(&redis, options, test, *pipeline)?;
            prepare(&ours, options, test, *pipeline)?;
            let mut rounds = Vec::with_capacity(options.rounds);
            for _ in 0..options.rounds {
                let theirs = turn(&redis, options, test, *pipeline)?;
                rounds.push((theirs, turn(&ours, options, test, *pipeline)?));
            }
            println!("{}", row(test, *pipeline, &rounds));
        }
    }
    Ok(())
}

/// A kind of key, or of entry of a stream, to weigh: its name, and the values in it.
struct Kind {
    name: &'static str,
    command: &'static str,
    values: &'static [Sample],
}

/// A value.
enum Sample {
    /// So many bytes.
    Bytes(usize),
    /// A number of up to six digits.
    Number,
    /// A word and a number.
    Name,
}

const EIGHT_OF_8: &[Sample] = &[const { Sample::Bytes(8) }; 8];
const TWO_OF_8: &[Sample] = &[const { Sample::Bytes(8) }; 2];
const NUMBER_NAME_NUMBER: &[Sample] = &[Sample::Number, Sample::Name, Sample::Number];

const KINDS: &[Kind] = &[
    Kind::new("string of 3 bytes", "SET", &[Sample::Bytes(3)]),
    Kind::new("string of 32 bytes", "SET", &[Sample::Bytes(32)]),
    Kind::new("string of 200 bytes", "SET", &[Sample::Bytes(200)]),
    Kind::new("hash of 8 fields of 8 bytes", "HSET", EIGHT_OF_8),
    Kind::new("list of 8 items of 8 bytes", "RPUSH", EIGHT_OF_8),
    Kind::new("entry of a stream, two values of 8 bytes", "XADD", TWO_OF_8),
    Kind::new("entry of a stream, number, name and number", "XADD", NUMBER_NAME_NUMBER),
    Kind::new("entry of a stream, a value of 200 bytes", "XADD", &[Sample::Bytes(200)]),
    Kind::new("stream of one entry, two values of 8 bytes", "XADD 1", TWO_OF_8),
];

impl Sample {
    /// The value in the key or entry with this number.
    fn text(&self, number: usize) -> Vec<u8> {
        let scattered = number * 7_919 % 1_000_000;
        match self {
            Self::Bytes(len) => vec![b'x'; *len],
            Self::Number => scattered.to_string().into_bytes(),
            Self::Name => format!("user:{scattered}").into_bytes(),
        }
    }
}

impl Kind {
    const fn new(name: &'static str, command: &'static str, values: &'static [Sample]) -> Self {
        Self { name, command, values }
    }

    fn requests(&self, keys: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
        let fields: Vec<String> =
            (0..self.values.len()).map(|field| format!("field{field}")).collect();
        (0..keys).map(move |number| {
            // All entries are of one stream, or each is of one of its own.
            let key = format!("key:{:012}", if self.is_entry() { 0 } else { number });
            let id = format!("{}-0", 1_700_000_000_000 + number);
            let command = self.command.split(' ').next().unwrap_or_default();
            let values: Vec<_> = self.values.iter().map(|value| value.text(number)).collect();
            let mut args: Vec<&[u8]> = vec![command.as_bytes(), key.as_bytes()];
            if command == "XADD" {
                args.push(id.as_bytes());
            }
            for (field, value) in fields.iter().zip(&values) {
                if self.has_fields() {
                    args.push(field.as_bytes());
                }
                args.push(value);
            }
            request(&args)
        })
    }

    fn is_entry(&self) -> bool {
        self.command == "XADD"
    }

    fn has_fields(&self) -> bool {
        self.command == "HSET" || self.command.starts_with("XADD")
    }

    /// Lines of a reply.
    fn reply_lines(&self) -> usize {
        if self.command.starts_with("XADD") { 2 } else { 1 }
    }

    /// The bytes of a key, its fields and its values; none of an entry of a stream.
    fn payload_bytes(&self) -> usize {
        if self.is_entry() {
            return 0;
        }
        let field_bytes = if self.has_fields() { "field0".len() } else { 0 };
        let values = self.values.iter().map(|value| field_bytes + value.text(0).len());
        "key:".len() + 12 + values.sum::<usize>()
    }
}

fn memory(options: &Options) -> Outcome<()> {
    let versions = (
        Server::start(&options.redis, options.core("0"))?,
        Server::start(&options.ours, options.core("0"))?,
    );
    heading(&versions.1.version(&options.ours), &versions.0.version(&options.redis));
    drop(versions);
    println!(
        "{} keys; bytes per key beyond key, fields and values, of an entry of a stream all.\n",
        options.keys
    );
    println!("| value | Redis | ours | ratio |\n|---|--:|--:|--:|");
    for kind in KINDS {
        let mut overheads = String::new();
        let mut sizes = Vec::new();
        for program in [&options.redis, &options.ours] {
            let server = Server::start(program, options.core("0"))?;
            let before = server.memory_bytes()?;
            server.fill_lines(kind.requests(options.keys), kind.reply_lines())?;
            std::thread::sleep(Duration::from_secs(1));
            let grown = server.memory_bytes()? - before;
            let overhead = grown / options.keys as f64 - kind.payload_bytes() as f64;
            sizes.push(overhead);
            let _ = write!(overheads, " {overhead:.1} |");
        }
        let ratio = sizes.iter().rev().copied().reduce(|ours, redis| ours / redis);
        println!("| {} |{overheads} {:.2} |", kind.name, ratio.unwrap_or(f64::NAN));
    }
    Ok(())
}

fn run() -> Outcome<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    check_programs(&options.redis)?;
    if options.memory { memory(&options) } else { speed(&options) }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("compare: {reason}");
            ExitCode::FAILURE
        }
    }
}
