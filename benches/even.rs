//! What other clients notice of one that asks for much: this server beside redis-server, in one
//! run.
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

mod support;

use hdrhistogram::Histogram;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use structopt::StructOpt;
use support::options::{Who, chosen};
use support::probe::Probe;
use support::{Client, Common, Outcome, Pipe, Record, Rounds, Server, check_programs, request};

const TABLE: &str = "\
| while | server | takes ms | p50 ms | p99 ms | max ms |\n|---|---|--:|--:|--:|--:|";

const SCENES: &[&str] = &["keys", "expire", "list", "hash", "set", "zset"];
/// The sizes at 100 %.
const KEYS: usize = 10_000_000;
const ELEMENTS: usize = 5_000_000;
const FIELDS: usize = 1_000_000;
/// Elements of one filling request.
const FILL_ELEMENTS: usize = 100;
/// For how long the probe is listened to at least.
const WINDOW: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 6;
/// Time until the keys expire, from when the first is set, for each million of them.
const LEAD: Duration = Duration::from_secs(12);
const GIVE_UP: Duration = Duration::from_secs(120);

/// What other clients notice of one that asks for much, beside redis-server.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Of keys,expire,list,hash,set,zset [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    scenes: Vec<String>,
    /// Of the sizes that count [default: 100, of a first look 10]
    #[structopt(long, value_name = "PERCENT")]
    scale: Option<usize>,
    /// Requests of the probe a second
    #[structopt(long, value_name = "N", default_value = "1000")]
    hz: usize,
}

impl Options {
    fn percent(&self) -> usize {
        self.common.pick(self.scale, 100, 10)
    }

    fn scaled(&self, size: usize) -> usize {
        (size * self.percent() / 100).max(FILL_ELEMENTS)
    }
}

/// A number as it is said.
fn count(number: usize) -> String {
    match number {
        n if n >= 1_000_000 && n % 1_000_000 == 0 => format!("{} million", n / 1_000_000),
        n => n.to_string(),
    }
}

/// The figures of all rows: the first server makes them, the others add theirs.
#[derive(Default)]
struct Figures(Vec<(String, Rounds)>);

impl Figures {
    fn add(&mut self, who: Who, name: &str, title: &str, value: f64) {
        let known = self.0.iter_mut().find(|(known, _)| known == name);
        match known {
            Some((_, rounds)) => rounds.add(who, value),
            None => {
                let mut rounds = Rounds::new(format!("even/{name}"), title, "ms");
                rounds.add(who, value);
                self.0.push((name.to_owned(), rounds));
            }
        }
    }

    fn keep(&self, record: &mut Record) -> Outcome<()> {
        self.0.iter().try_for_each(|(_, rounds)| record.keep(rounds).map(drop))
    }
}

/// A word for each row, without the sizes: `DEL big, 5 million elements` is `list/del-big`.
fn slug(scene: &str, what: &str) -> String {
    let head = what.split([',', '*']).next().unwrap_or_default().to_lowercase();
    let words = head.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    format!("{scene}/{}", words.join("-"))
}

/// A server under a probe.
struct Scene<'a> {
    who: Who,
    scene: &'static str,
    figures: &'a mut Figures,
    server: Server,
    pipe: Pipe,
    probe: Probe,
    hz: usize,
}

impl<'a> Scene<'a> {
    fn start(
        (who, program): (Who, &Path),
        scene: &'static str,
        options: &Options,
        figures: &'a mut Figures,
    ) -> Outcome<Self> {
        let server = Server::start(program, None)?;
        let probe_key = |n: usize| format!("probe:{}", n % 997).into_bytes();
        server.fill((0..997).map(|n| request(&[b"SET", &probe_key(n), b"value"])))?;
        let requests = (0..3 * 997).map(|n| match n % 3 {
            0 => vec![b"PING".to_vec()],
            1 => vec![b"GET".to_vec(), probe_key(n)],
            _ => vec![b"SET".to_vec(), probe_key(n), b"0123456789abcdef".to_vec()],
        });
        let probe = Probe::start(server.port, options.hz, CONNECTIONS, requests.collect())?;
        let pipe = Pipe::connect(server.port)?;
        Ok(Self { who, scene, figures, pipe, server, probe, hz: options.hz })
    }

    /// What the probe notices of something, as a row; `name` is that of its figures.
    fn row(
        &mut self,
        what: &str,
        name: &str,
        act: impl FnOnce(&mut Self) -> Outcome<()>,
    ) -> Outcome<()> {
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
            self.who.name(),
            took.as_secs_f64() * 1e3,
            at(0.5),
            at(0.99),
            times.max() as f64 / 1e3
        );
        let (p99, most) = (at(0.99), times.max() as f64 / 1e3);
        let figures = [("p99", "others' p99", p99), ("max", "others' longest", most)];
        for (short, of, value) in figures {
            let title = format!("{what}: {of}");
            self.figures.add(self.who, &format!("{short}/{name}"), &title, value);
        }
        let title = format!("{what}: takes");
        self.figures.add(self.who, &format!("takes/{name}"), &title, took.as_secs_f64() * 1e3);
        Ok(())
    }

    /// As [`row`](Self::row) for one request, by which it is named.
    fn request_row(&mut self, line: &str, of: &str) -> Outcome<()> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let bytes = request(&words);
        let name = slug(self.scene, line);
        self.row(&format!("{line}, {of}"), &name, |scene| scene.pipe.drain(&bytes))
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
fn grow(
    scene: &mut Scene<'_>,
    what: &str,
    name: &str,
    keys: std::ops::Range<usize>,
) -> Outcome<()> {
    let mut client = Client::connect(scene.server.port)?;
    client.ask(&[b"CONFIG", b"RESETSTAT"])?;
    let figure = format!("keys/{name}");
    scene.row(&format!("SET of {what} keys"), &figure, |scene| scene.set_keys(keys))?;
    let words = client.ask_all(&[b"LATENCY", b"HISTOGRAM", b"set"])?;
    let micros = words.get(words.len().saturating_sub(2)).and_then(|micros| micros.parse().ok());
    let millis: f64 = micros.unwrap_or(f64::NAN) / 1e3;
    println!("| the longest of these SETs, inside | {} | {millis:.1} | | | |", scene.who.name());
    let title = format!("SET of {what} keys: the longest inside");
    scene.figures.add(scene.who, &format!("inside/{name}"), &title, millis);
    Ok(())
}

fn keys(scene: &mut Scene<'_>, options: &Options) -> Outcome<()> {
    let all = options.scaled(KEYS);
    let half = count(all / 2);
    grow(scene, &format!("the first {half}"), "first", 0..all / 2)?;
    scene.request_row("KEYS *", &format!("{half} keys"))?;
    grow(scene, &format!("{half} more"), "more", all / 2..all)?;
    scene.request_row("FLUSHALL", &format!("{} keys", count(all)))
}

fn expire(scene: &mut Scene<'_>, options: &Options) -> Outcome<()> {
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
    scene.row(&format!("{} keys expire at one instant", count(keys)), "expire", |_| {
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

fn list(scene: &mut Scene<'_>, options: &Options) -> Outcome<()> {
    let elements = options.scaled(ELEMENTS);
    let of = format!("{} elements", count(elements));
    let fill =
        |scene: &Scene<'_>| scene.fill(&["RPUSH", "big"], elements, |n| vec![format!("e:{n}")]);
    fill(scene)?;
    scene.request_row("LRANGE big 0 -1", &of)?;
    scene.request_row("DEL big", &of)?;
    fill(scene)?;
    scene.request_row("UNLINK big", &of)?;
    fill(scene)?;
    scene.request_row("SET big value", &of)
}

fn hash(scene: &mut Scene<'_>, options: &Options) -> Outcome<()> {
    let fields = options.scaled(FIELDS);
    let of = format!("{} fields", count(fields));
    scene.fill(&["HSET", "big"], fields, |n| vec![format!("field:{n}"), format!("value:{n}")])?;
    scene.request_row("HGETALL big", &of)?;
    scene.request_row("HKEYS big", &of)?;
    scene.request_row("DEL big", &of)
}

fn set(scene: &mut Scene<'_>, options: &Options) -> Outcome<()> {
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

fn zset(scene: &mut Scene<'_>, options: &Options) -> Outcome<()> {
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

fn run(options: &Options) -> Outcome<()> {
    check_programs(&options.common)?;
    let scenes = chosen(&options.scenes, SCENES)?;
    let mut record = Record::open(&options.common)?;
    println!("{} % of the full sizes; probe {}/s.\n", options.percent(), options.hz);
    println!("{TABLE}");
    for name in scenes {
        let act: fn(&mut Scene<'_>, &Options) -> Outcome<()> = match name {
            "keys" => keys,
            "expire" => expire,
            "list" => list,
            "hash" => hash,
            "set" => set,
            _ => zset,
        };
        let mut figures = Figures::default();
        for program in options.common.programs() {
            let mut scene = Scene::start(program, name, options, &mut figures)?;
            act(&mut scene, options)?;
            scene.probe.stop()?;
        }
        figures.keep(&mut record)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    support::main("even", run)
}
