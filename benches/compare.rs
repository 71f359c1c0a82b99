//! Throughput and processor time of single commands, this server beside redis-server in one run.
//!
//! `cargo bench --bench compare` starts the release build of this server and a redis-server, each
//! pinned to the first core, and drives them in turn with redis-benchmark on the second. Per
//! command and pipeline length it takes the requests per second and the processor time that the
//! server's threads used, divided by the requests. The servers take turns round by round and a
//! ratio is the median of the rounds' own ratios, because a machine's speed drifts by more than the
//! differences of interest. Only ratios carry over to other machines.

mod support;

use std::path::Path;
use std::process::{ExitCode, Stdio};
use structopt::StructOpt;
use support::options::{Who, chosen};
use support::{Client, Common, Outcome, Record, Rounds, Server, check_programs, pinned, request};

/// What redis-benchmark sends; it replaces `__rand_int__` by twelve digits.
#[rustfmt::skip]
const TESTS: &[(&str, &[&str])] = &[
    ("set", &["SET", "key:__rand_int__", "xxxxxxxxxxxxxxxx"]),
    ("get", &["GET", "key:__rand_int__"]),
    ("incr", &["INCR", "number:__rand_int__"]),
    ("lpush", &["LPUSH", "list:__rand_int__", "xxxxxxxx"]),
    ("lpop", &["LPOP", "list:__rand_int__"]),
    ("rpush", &["RPUSH", "list:__rand_int__", "xxxxxxxx"]),
    ("rpop", &["RPOP", "list:__rand_int__"]),
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

/// Commands of which the first look and the figures without a pipeline are.
const FEW: &[&str] = &["set", "get"];
/// Those that the targets are about.
const SIMPLE: &[&str] = &["set", "get", "incr", "lpush", "lpop", "rpush", "rpop", "hset", "hget"];
const PIPELINES: &[usize] = &[1, 16, 64];
/// The pipeline of the figures of more than [`FEW`] commands.
const MIDDLE_PIPELINE: usize = 16;

/// Throughput and server CPU of commands, beside redis-server.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Of set,get,incr,lpush,lpop,rpush,rpop,hset,hget,xadd,xreadgroup,evalsha,evalsha-all
    /// [default: set,get with pipelines of 1 and 64; all with 16]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    tests: Vec<String>,
    /// Requests sent at once [default: 1,16,64]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    pipelines: Vec<usize>,
    /// Turns of each server [default: 5]
    #[structopt(long, value_name = "N")]
    rounds: Option<usize>,
    /// Requests a turn without pipeline [default: 100000]; four times as many with one
    #[structopt(long, value_name = "N")]
    requests: Option<usize>,
    /// Keys that the requests choose from at random [default: 1000000]
    #[structopt(long, value_name = "N")]
    keys: Option<usize>,
    /// Connections
    #[structopt(long, value_name = "N", default_value = "50")]
    clients: usize,
    /// Server and client on all cores, two client threads
    #[structopt(long)]
    both: bool,
}

/// What is measured, without what is left open.
struct Plan<'a> {
    options: &'a Options,
    rounds: usize,
    requests: usize,
    keys: usize,
}

impl Plan<'_> {
    /// The core a program is bound to, if any.
    fn core(&self, core: &'static str) -> Option<&'static str> {
        (!self.options.both).then_some(core)
    }

    /// How many requests a turn has.
    fn requests_in_turn(&self, pipeline: usize) -> usize {
        self.requests * pipeline.clamp(1, 4)
    }

    /// The commands that are measured with a pipeline.
    fn tests(&self, pipeline: usize) -> Outcome<Vec<&'static str>> {
        let all: Vec<&str> = TESTS.iter().map(|(name, _)| *name).collect();
        let common = &self.options.common;
        Ok(match (self.options.tests.as_slice(), pipeline) {
            ([], MIDDLE_PIPELINE) if self.options.both => FEW.to_vec(),
            ([], MIDDLE_PIPELINE) if common.quick => SIMPLE.to_vec(),
            ([], MIDDLE_PIPELINE) => all,
            ([], _) => FEW.to_vec(),
            (asked, _) => chosen(asked, &all)?,
        })
    }
}

fn requests_of(test: &str) -> &'static [&'static str] {
    TESTS.iter().find(|(name, _)| *name == test).map_or(&[], |(_, request)| *request)
}

/// Empties the server and gives the test the keys it needs to find.
fn prepare(server: &Server, plan: &Plan, test: &str, pipeline: usize) -> Outcome<()> {
    let pops = plan.requests_in_turn(pipeline) * plan.rounds;
    let items = pops.div_ceil(plan.keys) + 2;
    server.fill(std::iter::once(request(&[b"FLUSHALL"])))?;
    let keys = 0..plan.keys;
    match test {
        "set" | "get" => server.fill(keys.map(|number| {
            request(&[b"SET", format!("key:{number:012}").as_bytes(), b"xxxxxxxxxxxxxxxx"])
        })),
        "incr" => server.fill(keys.map(|number| {
            request(&[b"SET", format!("number:{number:012}").as_bytes(), b"100000"])
        })),
        "lpop" | "rpop" => server.fill(keys.map(|number| {
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
            (0..plan.rounds).try_for_each(|_| turn(server, plan, "xadd", pipeline).map(drop))
        }
        "evalsha" | "evalsha-all" => {
            let script = if test == "evalsha" { FIVE } else { FIVE_UNDECLARED };
            server.fill(std::iter::once(request(&[b"SCRIPT", b"LOAD", script.as_bytes()])))
        }
        _ => Ok(()),
    }
}

/// Requests a second, and the server's microseconds for one.
fn turn(server: &Server, plan: &Plan, test: &str, pipeline: usize) -> Outcome<(f64, f64)> {
    let requests = plan.requests_in_turn(pipeline);
    let mut command = pinned(plan.core("1"), Path::new("redis-benchmark"));
    command.args(["-p", &server.port.to_string(), "--csv", "-n", &requests.to_string()]);
    command.args(["-c", &plan.options.clients.to_string(), "-P", &pipeline.to_string()]);
    command.args(["-r", &plan.keys.to_string()]);
    if plan.options.both {
        command.args(["--threads", "2"]);
    }
    command.args(requests_of(test)).stdin(Stdio::null());
    let before = server.thread_times()?;
    let output = command.output().map_err(|e| format!("redis-benchmark: {e}"))?;
    let used = server.thread_times()?.since(&before);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = lines.lines().rfind(|line| line.starts_with('"') && !line.starts_with("\"test\""));
    let speed = row.and_then(|row| row.split("\",\"").nth(1)?.parse().ok());
    let problem = String::from_utf8_lossy(&output.stderr);
    match speed {
        Some(per_second) if output.status.success() && !problem.contains("Error") => {
            Ok((per_second, used as f64 / 1e3 / requests as f64))
        }
        _ => Err(format!("redis-benchmark {test}: {lines}{problem}")),
    }
}

/// Both figures of a command.
fn measure(
    servers: &[(Who, Server)],
    plan: &Plan,
    test: &str,
    pipeline: usize,
    record: &mut Record,
) -> Outcome<()> {
    let place = if plan.options.both { "both" } else { "one" };
    let name = |what: &str| format!("compare/{place}/{what}/{pipeline}/{test}");
    let mut title = test.to_uppercase();
    if pipeline > 1 {
        title.push_str(&format!(", pipeline {pipeline}"));
    }
    title.push_str(if plan.options.both { ", all cores" } else { "" });
    let mut micros = Rounds::new(name("cpu"), format!("{title}: CPU"), "µs a request");
    let mut rates = Rounds::more(name("rate"), format!("{title}: throughput"), "requests/s");
    for (_, server) in servers {
        prepare(server, plan, test, pipeline)?;
    }
    for _ in 0..plan.rounds {
        for (who, server) in servers {
            let (rate, cpu) = turn(server, plan, test, pipeline)?;
            rates.add(*who, rate);
            micros.add(*who, cpu);
        }
    }
    record.note(&micros)?;
    record.note(&rates)
}

fn run(options: &Options) -> Outcome<()> {
    check_programs(&options.common)?;
    let common = &options.common;
    let plan = Plan {
        options,
        rounds: common.pick(options.rounds, 5, 1),
        requests: common.pick(options.requests, 100_000, 50_000),
        keys: common.pick(options.keys, 1_000_000, 100_000),
    };
    let mut record = Record::open(common)?;
    let place = if options.both { "all cores" } else { "one core each for server and client" };
    println!("{} clients, {} keys, {} rounds, {place}.\n", options.clients, plan.keys, plan.rounds);
    record.head();
    let start = |(who, program)| Ok((who, Server::start(program, plan.core("0"))?));
    let servers: Vec<_> = common.programs().into_iter().map(start).collect::<Outcome<_>>()?;
    let asked = &options.pipelines;
    let pipelines = if asked.is_empty() { PIPELINES } else { asked.as_slice() };
    for pipeline in pipelines {
        for test in plan.tests(*pipeline)? {
            measure(&servers, &plan, test, *pipeline, &mut record)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    support::main("compare", run)
}
