//! Queues with many waiting workers: this server beside redis-server, in one run.
//!
//! `cargo bench --bench blocking` has a thousand connections wait in `BLPOP queue 0` and pushes to
//! that list. An element is the moment at which it was pushed, so a worker knows how long it was
//! on its way: from just before the push is written to when the worker has the whole reply. A
//! worker that has got one waits again. Three scenes:
//!
//! * paced: one push after the other at a fixed rate; a push's time counts from when it was due
//! * burst: one RPUSH with an element for each worker, again and again; the last one counts, too
//! * flood: some producers push without a pause, each waiting for its reply
//!
//! All workers are served by one thread on the second core; the server runs on the first, or with
//! `--both` on all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that meets the unexpected has to stop"
)]

mod support;

use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use structopt::StructOpt;
use support::options::chosen;
use support::{Client, Common, Outcome, Record, Rounds, Server};
use support::{check_programs, pin_self, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SCENES: &[&str] = &["paced", "burst", "flood"];

/// Digits of an element: nanoseconds since the bench began.
const ELEMENT_BYTES: usize = 20;
/// A worker's request, and how long its reply is.
const WAIT: &[&[u8]] = &[b"BLPOP", b"queue", b"0"];
const REPLY_BYTES: usize = "*2\r\n$5\r\nqueue\r\n$20\r\n\r\n".len() + ELEMENT_BYTES;
/// Times of what is pushed before this are not measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// Queues with many waiting workers, beside redis-server.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Of paced,burst,flood [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    scenes: Vec<String>,
    /// Connections that wait
    #[structopt(long, value_name = "N", default_value = "1000")]
    workers: usize,
    /// Pushes a second in paced
    #[structopt(long, value_name = "N", default_value = "1000")]
    hz: usize,
    /// Connections that push in flood
    #[structopt(long, value_name = "N", default_value = "8")]
    producers: usize,
    /// Length of each measurement [default: 5]
    #[structopt(long, value_name = "N")]
    seconds: Option<usize>,
    /// How often each is repeated, the servers in turn [default: 5]
    #[structopt(long, value_name = "N")]
    rounds: Option<usize>,
    /// The server on all cores, not only on the first
    #[structopt(long)]
    both: bool,
}

impl Options {
    fn seconds(&self) -> usize {
        self.common.pick(self.seconds, 5, 2)
    }
}

/// What all tasks of one measurement share.
struct Shared {
    began: Instant,
    times: RefCell<Histogram<u64>>,
    handed_over: Cell<u64>,
    /// Nanoseconds after `began` from which on times are measured.
    warm: Cell<u128>,
}

/// What is pushed at this moment.
fn element(began: Instant, at: Instant) -> String {
    let nanos = at.duration_since(began).as_nanos();
    format!("{nanos:0width$}", width = ELEMENT_BYTES)
}

impl Shared {
    /// Notes that an element has reached a worker.
    fn note(&self, reply: &[u8]) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap();
        let element = &reply[REPLY_BYTES - ELEMENT_BYTES - 2..REPLY_BYTES - 2];
        let pushed: u64 = std::str::from_utf8(element).unwrap().parse().unwrap();
        self.handed_over.set(self.handed_over.get() + 1);
        if u128::from(pushed) > self.warm.get() {
            self.times.borrow_mut().record(now.saturating_sub(pushed)).unwrap();
        }
    }
}

async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Waits for elements for as long as the server is there.
async fn work(mut stream: TcpStream, shared: Rc<Shared>) {
    let wait = request(WAIT);
    let mut reply = [0; REPLY_BYTES];
    loop {
        stream.write_all(&wait).await.unwrap();
        if stream.read_exact(&mut reply).await.is_err() {
            return;
        }
        shared.note(&reply);
    }
}

/// Pushes these elements at once and waits for the reply.
async fn push(stream: &mut TcpStream, elements: &[String]) {
    let mut args: Vec<&[u8]> = vec![b"RPUSH", b"queue"];
    args.extend(elements.iter().map(|element| element.as_bytes()));
    stream.write_all(&request(&args)).await.unwrap();
    let mut reply = [0; 64];
    let length = stream.read(&mut reply).await.unwrap();
    assert_eq!((reply[0], reply[length - 1]), (b':', b'\n'));
}

/// Pushes an element at every step of time.
fn pace(port: u16, began: Instant, step: Duration, until: Instant) {
    let mut client = Client::connect(port).unwrap();
    let mut due = Instant::now();
    while due < until {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        client.ask(&[b"RPUSH", b"queue", element(began, due).as_bytes()]).unwrap();
        due += step;
    }
}

async fn produce(scene: &str, options: &Options, port: u16, shared: &Rc<Shared>, until: Instant) {
    let mut stream = connect(port).await;
    match scene {
        "paced" => {
            // The timer of the runtime is too coarse for such steps.
            let (began, hz) = (shared.began, u32::try_from(options.hz).unwrap());
            let pacing = move || pace(port, began, Duration::from_secs(1) / hz, until);
            tokio::task::spawn_blocking(pacing).await.unwrap();
        }
        "burst" => {
            while Instant::now() < until {
                let elements = vec![element(shared.began, Instant::now()); options.workers];
                push(&mut stream, &elements).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        _ => {
            let producers = (0..options.producers).map(|_| {
                let shared = Rc::clone(shared);
                tokio::task::spawn_local(async move {
                    let mut stream = connect(port).await;
                    while Instant::now() < until {
                        push(&mut stream, &[element(shared.began, Instant::now())]).await;
                    }
                })
            });
            for producer in producers.collect::<Vec<_>>() {
                producer.await.unwrap();
            }
        }
    }
}

/// What one measurement gave: hand-overs a second, p50, p99, maximum, CPU for each; microseconds.
type Figures = [f64; 5];

fn measure(scene: &str, options: &Options, program: &Path) -> Outcome<Figures> {
    let core = if options.both { None } else { Some("0") };
    let server = Server::start(program, core)?;
    let times = RefCell::new(Histogram::new(3).unwrap());
    let began = Instant::now();
    let shared =
        Rc::new(Shared { began, times, handed_over: Cell::new(0), warm: Cell::new(u128::MAX) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    let length = Duration::from_secs(options.seconds() as u64);
    let processor = local.block_on(&runtime, async {
        for _ in 0..options.workers {
            tokio::task::spawn_local(work(connect(server.port).await, Rc::clone(&shared)));
        }
        let mut client = Client::connect(server.port)?;
        let all = format!("blocked_clients:{}\r", options.workers);
        while !client.ask(&[b"INFO", b"clients"])?.contains(&all) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let used = server.processor_seconds()?;
        shared.warm.set((shared.began.elapsed() + WARM_UP).as_nanos());
        let until = Instant::now() + length;
        produce(scene, options, server.port, &shared, until).await;
        let used = server.processor_seconds()? - used;
        // What is still on its way.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, String>(used)
    })?;
    let times = shared.times.borrow();
    let count = shared.handed_over.get() as f64;
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
    let measured = options.seconds() as f64;
    let (middle, high, most) = (at(0.5), at(0.99), times.max() as f64 / 1_000.0);
    Ok([count / measured, middle, high, most, processor * 1e6 / count])
}

/// Measures a scene in rounds, and prints a row of each server.
fn repeat(scene: &str, options: &Options, record: &mut Record) -> Outcome<()> {
    let title = |what: &str| format!("{scene}: {what}");
    let name = |what: &str| format!("blocking/{scene}/{what}");
    let mut rounds = [
        Rounds::more(name("rate"), title("hand-overs"), "a second"),
        Rounds::new(name("p50"), title("p50"), "µs"),
        Rounds::new(name("p99"), title("p99"), "µs"),
        Rounds::new(name("max"), title("longest"), "µs"),
        Rounds::new(name("cpu"), title("CPU"), "µs a hand-over"),
    ];
    for _ in 0..options.common.pick(options.rounds, 5, 1) {
        for (who, program) in options.common.programs() {
            let figures = measure(scene, options, program)?;
            rounds.iter_mut().zip(figures).for_each(|(rounds, value)| rounds.add(who, value));
        }
    }
    rounds.iter().try_for_each(|rounds| record.note(rounds))
}

fn run(options: &Options) -> Outcome<()> {
    check_programs(&options.common)?;
    let scenes = chosen(&options.scenes, SCENES)?;
    let mut record = Record::open(&options.common)?;
    let places = if options.both { "on all cores" } else { "on one core, the workers on another" };
    println!("{} workers; the server {places}.\n", options.workers);
    record.head();
    if !options.both {
        pin_self("1");
    }
    scenes.iter().try_for_each(|scene| repeat(scene, options, &mut record))
}

fn main() -> ExitCode {
    support::main("blocking", run)
}
