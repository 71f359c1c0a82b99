//! What other clients notice of one that asks for much: this server beside redis-server, in one
//! run; and what a server costs that does nothing.
//!
//! `cargo bench --bench even` fills each server and then does what is large: it grows to ten
//! million keys, asks for all of them, drops them, reads and removes collections of millions, has
//! a million keys expire at one instant. Meanwhile a probe sends PING, GET and SET of other keys
//! over connections of its own, a thousand a second in all. A request's time counts from the
//! moment at which it was due. The figures of a row are those of the time from when the large
//! request was sent until it was answered, or half a second if that is longer: what is freed in
//! the background counts too.
//!
//! The longest SET inside the server is the upper end of the highest bucket of LATENCY HISTOGRAM.
//! Memory is the process' proportional share.

mod support;

use hdrhistogram::Histogram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::probe::Probe;
use support::{
    Client, OURS, Outcome, Pipe, Server, check_programs, heading, median, number, request,
};

const USAGE: &str = "\
usage: cargo bench --bench even -- [OPTION...]

  --scenes LIST     of idle,memory,keys,expire,list,hash,set,zset (default: all)
  --scale PERCENT   of the sizes that count (default 10: about a minute)
  --hz N            requests of the probe a second (default 1000)
  --ours PROGRAM    the server to measure (default: the release build)
  --redis PROGRAM   the server to measure it against (default: redis-server)";

const TABLE: &str = "\
| while | server | takes ms | p50 ms | p99 ms | max ms |\n|---|---|--:|--:|--:|--:|";

const SCENES: &[&str] = &["idle", "memory", "keys", "expire", "list", "hash", "set", "zset"];
/// The sizes at 100 %.
const KEYS: usize = 10_000_000;
const ELEMENTS: usize = 5_000_000;
const FIELDS: usize = 1_000_000;
/// Elements of one filling request.
const FILL_ELEMENTS: usize = 100;
/// For how long the probe is listened to at least.
const WINDOW: Duration = Duration::from_millis(500);
/// For how long freed memory may take to go back.
const SETTLE: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 6;
/// Time until the keys expire, from when the first is set, for each million of them.
const LEAD: Duration = Duration::from_secs(12);
const GIVE_UP: Duration = Duration::from_secs(120);

struct Options {
    scenes: Vec<String>,
    percent: usize,
    hz: usize,
    ours: PathBuf,
    redis: PathBuf,
}

impl Options {
    /// Reads the command line; `None` if help was asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self {
            scenes: SCENES.iter().map(|scene| (*scene).to_owned()).collect(),
            percent: 10,
            hz: 1_000,
            ours: OURS.into(),
            redis: "redis-server".into(),
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--scenes" => options.scenes = value()?.split(',').map(str::to_owned).collect(),
                "--scale" => options.percent = number(&value()?)?,
                "--hz" => options.hz = number(&value()?)?,
                "--ours" => options.ours = value()?.into(),
                "--redis" => options.redis = value()?.into(),
                // Cargo's own, for every bench.
                "--bench" => {}
                "-h" | "--help" => return Ok(None),
                _ => return Err(format!("unknown option {name}\n{USAGE}")),
            }
        }
        match options.scenes.iter().find(|scene| !SCENES.contains(&scene.as_str())) {
            Some(scene) => Err(format!("unknown scene {scene}\n{USAGE}")),
            None => Ok(Some(options)),
        }
    }

    fn scaled(&self, size: usize) -> usize {
        (size * self.percent / 100).max(FILL_ELEMENTS)
    }
}

/// A number as it is said.
fn count(number: usize) -> String {
    match number {
        n if n >= 1_000_000 && n % 1_000_000 == 0 => format!("{} million", n / 1_000_000),
        n => n.to_string(),
    }
}

/// A server under a probe.
struct Scene {
    name: &'static str,
    server: Server,
    pipe: Pipe,
    probe: Probe,
    hz: usize,
}

impl Scene {
    fn start(program: &Path, name: &'static str, options: &Options) -> Outcome<Self> {
        let server = Server::start(program, None)?;
        let probe_key = |n: usize| format!("probe:{}", n % 997).into_bytes();
        server.fill((0..997).map(|n| request(&[b"SET", &probe_key(n), b"value"])))?;
        let requests = (0..3 * 997).map(|n| match n % 3 {
            0 => vec![b"PING".to_vec()],
            1 => vec![b"GET".to_vec(), probe_key(n)],
            _ => vec![b"SET".to_vec(), probe_key(n), b"0123456789abcdef".to_vec()],
        });
        let probe = Probe::start(server.port, options.hz, CONNECTIONS, requests.collect())?;
        Ok(Self { name, pipe: Pipe::connect(server.port)?, server, probe, hz: options.hz })
    }

    /// What the probe notices of something, as a row.
    fn row(&mut self, what: &str, act: impl FnOnce(&mut Self) -> Outcome<()>) -> Outcome<()> {
        std::thread::sleep(WINDOW);
        let mut times: Histogram<u64> = self.probe.take();
        times.reset();
        let began = Instant::now();
        act(self)?;
        let took = began.elapsed();
        std::thread::sleep(WINDOW.saturating_sub(took));
        // Those that were due in this time may still be under way.
        let due = (began.elapsed().as_secs_f64() * self.hz as f64) as u64;
        while times.len() < due && began.elapsed() < took + GIVE_UP {
            std::thread::sleep(Duration::from_millis(2));
            times += self.probe.take();
        }
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        println!(
            "| {what} | {} | {:.1} | {:.2} | {:.2} | {:.2} |",
            self.name,
            took.as_secs_f64() * 1e3,
            at(0.5),
            at(0.99),
            times.max() as f64 / 1e3
        );
        Ok(())
    }

    /// As [`row`](Self::row) for one request, by which it is named.
    fn request_row(&mut self, line: &str, of: &str) -> Outcome<()> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let bytes = request(&words);
        self.row(&format!("{line}, {of}"), |scene| scene.pipe.exchange(&bytes, 1))
    }

    /// Sends a request with this head for every hundred elements, of which each is some words.
    fn fill(
        &self,
        head: &[&str],
        elements: usize,
        words: impl Fn(usize) -> Vec<String>,
    ) -> Outcome<()> {
        self.server.fill((0..elements).step_by(FILL_ELEMENTS).map(|start| {
            let elements = start..(start + FILL_ELEMENTS).min(elements);
            let words: Vec<String> = elements.flat_map(&words).collect();
            let all = head.iter().copied().chain(words.iter().map(String::as_str));
            request(&all.map(str::as_bytes).collect::<Vec<_>>())
        }))
    }

    fn set_keys(&self, keys: std::ops::Range<usize>) -> Outcome<()> {
        self.server.fill(
            keys.map(|n| {
                request(&[b"SET", format!("key:{n:012}").as_bytes(), b"0123456789abcdef"])
            }),
        )
    }
}

/// The probe during the SETs of some keys, and the longest of these SETs.
fn grow(scene: &mut Scene, what: &str, keys: std::ops::Range<usize>) -> Outcome<()> {
    let mut client = Client::connect(scene.server.port)?;
    client.ask(&[b"CONFIG", b"RESETSTAT"])?;
    scene.row(&format!("SET of {what} keys"), |scene| scene.set_keys(keys))?;
    let words = client.ask_all(&[b"LATENCY", b"HISTOGRAM", b"set"])?;
    let micros = words.get(words.len().saturating_sub(2)).and_then(|micros| micros.parse().ok());
    let millis: f64 = micros.unwrap_or(f64::NAN) / 1e3;
    println!("| the longest of these SETs, inside | {} | {millis:.1} | | | |", scene.name);
    Ok(())
}

fn keys(scene: &mut Scene, options: &Options) -> Outcome<()> {
    let all = options.scaled(KEYS);
    let half = count(all / 2);
    grow(scene, &format!("the first {half}"), 0..all / 2)?;
    scene.request_row("KEYS *", &format!("{half} keys"))?;
    grow(scene, &format!("{half} more"), all / 2..all)?;
    scene.request_row("FLUSHALL", &format!("{} keys", count(all)))
}

fn expire(scene: &mut Scene, options: &Options) -> Outcome<()> {
    let keys = options.scaled(FIELDS);
    let lead = LEAD.mul_f64(keys as f64 / 1e6).max(Duration::from_secs(1));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    let due = now + lead;
    let due_text = due.as_millis().to_string();
    scene.server.fill((0..keys).map(|n| {
        let key = format!("key:{n:012}");
        request(&[b"SET", key.as_bytes(), b"value", b"PXAT", due_text.as_bytes()])
    }))?;
    let mut client = Client::connect(scene.server.port)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    let left = due.checked_sub(now).ok_or("the keys were due before all were set")?;
    std::thread::sleep(left.saturating_sub(WINDOW));
    scene.row(&format!("{} keys expire at one instant", count(keys)), |_| {
        let began = Instant::now();
        while client.ask(&[b"DBSIZE"])? != "997" {
            if began.elapsed() > GIVE_UP {
                return Err("the keys do not go".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    })
}

fn list(scene: &mut Scene, options: &Options) -> Outcome<()> {
    let elements = options.scaled(ELEMENTS);
    let of = format!("{} elements", count(elements));
    let fill = |scene: &Scene| scene.fill(&["RPUSH", "big"], elements, |n| vec![format!("e:{n}")]);
    fill(scene)?;
    scene.request_row("LRANGE big 0 -1", &of)?;
    scene.request_row("DEL big", &of)?;
    fill(scene)?;
    scene.request_row("UNLINK big", &of)?;
    fill(scene)?;
    scene.request_row("SET big value", &of)
}

fn hash(scene: &mut Scene, options: &Options) -> Outcome<()> {
    let fields = options.scaled(FIELDS);
    let of = format!("{} fields", count(fields));
    scene.fill(&["HSET", "big"], fields, |n| vec![format!("field:{n}"), format!("value:{n}")])?;
    scene.request_row("HGETALL big", &of)?;
    scene.request_row("HKEYS big", &of)?;
    scene.request_row("DEL big", &of)
}

fn set(scene: &mut Scene, options: &Options) -> Outcome<()> {
    let members = options.scaled(FIELDS);
    let of = format!("{} members each", count(members));
    scene.fill(&["SADD", "one"], members, |n| vec![format!("member:{n}")])?;
    scene.fill(&["SADD", "two"], members, |n| vec![format!("member:{}", n + members / 2)])?;
    scene.request_row("SMEMBERS one", &of)?;
    scene.request_row("SUNION one two", &of)?;
    scene.request_row("SINTER one two", &of)?;
    scene.request_row("SUNIONSTORE all one two", &of)?;
    scene.request_row("DEL all", &of)
}

fn zset(scene: &mut Scene, options: &Options) -> Outcome<()> {
    let members = options.scaled(FIELDS);
    let of = format!("{} members", count(members));
    scene.fill(&["ZADD", "big"], members, |n| vec![n.to_string(), format!("member:{n}")])?;
    scene.request_row("ZRANGE big 0 -1 WITHSCORES", &of)?;
    scene.request_row("SORT big BY nosort LIMIT 0 1", &of)?;
    scene.request_row("SORT big ALPHA STORE sorted", &of)?;
    scene.request_row("ZUNIONSTORE all 1 big", &of)?;
    scene.request_row("ZREMRANGEBYRANK big 0 -1", &of)?;
    scene.request_row("DEL all", &of)
}

/// Rows without a probe: a start, doing nothing.
fn idle(programs: [(&'static str, &Path); 2]) -> Outcome<()> {
    println!("\n| server | start ms | CPU of 5 s idle, ms |\n|---|--:|--:|");
    for (name, program) in programs {
        let starts = (0..5).map(|_| Ok(Server::start(program, None)?.start_seconds * 1e3));
        let starts: Vec<f64> = starts.collect::<Outcome<_>>()?;
        let server = Server::start(program, None)?;
        std::thread::sleep(Duration::from_secs(1));
        let before = server.thread_times()?;
        std::thread::sleep(Duration::from_secs(5));
        let used = server.thread_times()?.since(&before) as f64 / 1e6;
        println!("| {name} | {:.1} | {used:.1} |", median(starts.into_iter()));
    }
    Ok(())
}

/// What is left of the memory when everything has been deleted.
fn memory(programs: [(&'static str, &Path); 2], options: &Options) -> Outcome<()> {
    let keys = options.scaled(FIELDS);
    println!(
        "\n| server | empty MB | with {} keys | deleted | with a list | deleted |\n\
         |---|--:|--:|--:|--:|--:|",
        count(keys)
    );
    for (name, program) in programs {
        let server = Server::start(program, None)?;
        let key = |n: usize| format!("key:{n:012}");
        let mut row = vec![server.memory_bytes()?];
        let value = [b'x'; 32];
        server.fill((0..keys).map(|n| request(&[b"SET", key(n).as_bytes(), &value])))?;
        row.push(server.memory_bytes()?);
        server.fill((0..keys).map(|n| request(&[b"DEL", key(n).as_bytes()])))?;
        std::thread::sleep(SETTLE);
        row.push(server.memory_bytes()?);
        let element = [b'x'; 100];
        let push: Vec<&[u8]> =
            [&b"RPUSH"[..], b"list"].into_iter().chain([&element[..]; 100]).collect();
        server.fill((0..keys).step_by(100).map(|_| request(&push)))?;
        row.push(server.memory_bytes()?);
        server.fill(std::iter::once(request(&[b"DEL", b"list"])))?;
        std::thread::sleep(SETTLE);
        row.push(server.memory_bytes()?);
        let row: Vec<String> = row.iter().map(|bytes| format!("{:.1}", bytes / 1e6)).collect();
        println!("| {name} | {} |", row.join(" | "));
    }
    Ok(())
}

fn run() -> Outcome<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    check_programs(&options.redis)?;
    let version = |program| Ok::<_, String>(Server::start(program, None)?.version(program));
    heading(&version(&options.ours)?, &version(&options.redis)?);
    println!("{} % of the full sizes; probe {}/s.\n", options.percent, options.hz);
    let programs = [("Redis", options.redis.as_path()), ("ours", options.ours.as_path())];
    println!("{TABLE}");
    for name in &options.scenes {
        let act: fn(&mut Scene, &Options) -> Outcome<()> = match name.as_str() {
            "keys" => keys,
            "expire" => expire,
            "list" => list,
            "hash" => hash,
            "set" => set,
            "zset" => zset,
            _ => continue,
        };
        for (name, program) in programs {
            let mut scene = Scene::start(program, name, &options)?;
            act(&mut scene, &options)?;
            scene.probe.stop()?;
        }
    }
    if options.scenes.iter().any(|scene| scene == "idle") {
        idle(programs)?;
    }
    if options.scenes.iter().any(|scene| scene == "memory") {
        memory(programs, &options)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("even: {reason}");
            ExitCode::FAILURE
        }
    }
}
