//! Publish/subscribe beside redis-server, in one run.
//!
//! `cargo bench --bench pubsub` connects subscribers to one channel and publishes to it. Two
//! scenes:
//!
//! * fan-out: one publisher sends messages as fast as they are taken, a bounded number ahead, to
//!   many subscribers; counted are deliveries a second and the server's processor time for each
//! * latency: one subscriber, one message at a time; the time from before PUBLISH is sent until
//!   the subscriber has the message
//!
//! The subscribers are tasks of this process, which shares the machine with the server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that meets the unexpected has to stop"
)]

mod support;

use hdrhistogram::Histogram;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use structopt::StructOpt;
use support::{Common, Outcome, Record, Rounds, Server, check_programs, request, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Messages that are published before the answer to the first of them is awaited.
const AHEAD: usize = 16;

/// Publish/subscribe beside redis-server: fan-out and latency.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Subscribers of the fan-out
    #[structopt(long, value_name = "N", default_value = "1000")]
    subscribers: usize,
    /// Messages of the fan-out [default: 5000], and of the latency four times as many
    #[structopt(long, value_name = "N")]
    messages: Option<usize>,
    /// Bytes of a message
    #[structopt(long, value_name = "N", default_value = "100")]
    bytes: usize,
    /// Rounds of each [default: 3]
    #[structopt(long, value_name = "N")]
    rounds: Option<usize>,
}

impl Options {
    fn messages(&self) -> usize {
        self.common.pick(self.messages, 5_000, 1_000)
    }
}

async fn connect(port: u16) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    Ok(stream)
}

/// Connects and subscribes; the answer has been read.
async fn subscribe(port: u16) -> Outcome<TcpStream> {
    let mut stream = connect(port).await?;
    stream.write_all(&request(&[b"SUBSCRIBE", b"channel"])).await.map_err(text)?;
    let expected = "*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n";
    read_bytes(&mut stream, expected.len()).await?;
    Ok(stream)
}

async fn read_bytes(stream: &mut TcpStream, mut missing: usize) -> Outcome<()> {
    let mut chunk = vec![0; 64 * 1024];
    while missing > 0 {
        let length = chunk.len().min(missing);
        match stream.read(&mut chunk[..length]).await.map_err(text)? {
            0 => return Err("closed by the server".into()),
            read => missing -= read,
        }
    }
    Ok(())
}

/// Reads so many lines.
async fn read_lines(stream: &mut TcpStream, mut missing: usize) -> Outcome<()> {
    let mut chunk = [0; 4 * 1024];
    while missing > 0 {
        let length = stream.read(&mut chunk).await.map_err(text)?;
        if length == 0 || chunk[..length].contains(&b'-') {
            return Err(format!("answered {}", String::from_utf8_lossy(&chunk[..length])));
        }
        missing -= chunk[..length].iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(())
}

fn message_bytes(payload: &[u8]) -> usize {
    request(&[b"message", b"channel", payload]).len()
}

/// Deliveries a second, and the server's microseconds for each.
async fn fan_out(options: &Options, program: &Path) -> Outcome<(f64, f64)> {
    let server = Server::start(program, None)?;
    let payload = vec![b'm'; options.bytes];
    let expected = options.messages() * message_bytes(&payload);
    let mut subscribers = Vec::new();
    for _ in 0..options.subscribers {
        subscribers.push(subscribe(server.port).await?);
    }
    let mut publisher = connect(server.port).await?;
    let used = server.processor_seconds()?;
    let began = Instant::now();
    let readers: Vec<_> = subscribers
        .into_iter()
        .map(|mut stream| tokio::spawn(async move { read_bytes(&mut stream, expected).await }))
        .collect();
    let batch = request(&[b"PUBLISH", b"channel", &payload]).repeat(AHEAD);
    for _ in 0..options.messages() / AHEAD {
        publisher.write_all(&batch).await.map_err(text)?;
        read_lines(&mut publisher, AHEAD).await?;
    }
    let rest = options.messages() % AHEAD;
    publisher.write_all(&batch[..batch.len() / AHEAD * rest]).await.map_err(text)?;
    read_lines(&mut publisher, rest).await?;
    for reader in readers {
        reader.await.map_err(|e| e.to_string())??;
    }
    let deliveries = (options.subscribers * options.messages()) as f64;
    let rate = deliveries / began.elapsed().as_secs_f64();
    Ok((rate, (server.processor_seconds()? - used) * 1e6 / deliveries))
}

/// Median and 99th percentile of the microseconds from PUBLISH to the subscriber.
async fn latency(options: &Options, program: &Path) -> Outcome<(f64, f64)> {
    let server = Server::start(program, None)?;
    let payload = vec![b'm'; options.bytes];
    let length = message_bytes(&payload);
    let (mut subscriber, mut publisher) =
        (subscribe(server.port).await?, connect(server.port).await?);
    let publish = request(&[b"PUBLISH", b"channel", &payload]);
    let mut times = Histogram::<u64>::new(3).unwrap();
    for _ in 0..4 * options.messages() {
        let began = Instant::now();
        publisher.write_all(&publish).await.map_err(text)?;
        read_bytes(&mut subscriber, length).await?;
        times.record(u64::try_from(began.elapsed().as_nanos()).unwrap()).unwrap();
        read_lines(&mut publisher, 1).await?;
    }
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    Ok((at(0.5), at(0.99)))
}

/// The figures of all rounds.
struct Figures {
    rate: Rounds,
    used: Rounds,
    median: Rounds,
    p99: Rounds,
}

fn run(options: &Options) -> Outcome<()> {
    check_programs(&options.common)?;
    let mut record = Record::open(&options.common)?;
    let (subscribers, messages) = (options.subscribers, options.messages());
    println!("{subscribers} subscribers, {messages} messages of {} bytes.\n", options.bytes);
    record.head();
    let fan = format!("fan-out to {subscribers} subscribers");
    let mut figures = Figures {
        rate: Rounds::more("pubsub/fan/rate", format!("{fan}: throughput"), "deliveries/s"),
        used: Rounds::new("pubsub/fan/cpu", format!("{fan}: CPU"), "µs a delivery"),
        median: Rounds::new("pubsub/latency/p50", "publish to receive: p50", "µs"),
        p99: Rounds::new("pubsub/latency/p99", "publish to receive: p99", "µs"),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(text)?;
    for _ in 0..options.common.pick(options.rounds, 3, 1) {
        for (who, program) in options.common.programs() {
            let (rate, used) = runtime.block_on(fan_out(options, program))?;
            let (median, p99) = runtime.block_on(latency(options, program))?;
            figures.rate.add(who, rate);
            figures.used.add(who, used);
            figures.median.add(who, median);
            figures.p99.add(who, p99);
        }
    }
    let Figures { rate, used, median, p99 } = figures;
    [rate, used, median, p99].iter().try_for_each(|rounds| record.note(rounds))
}

fn main() -> ExitCode {
    support::main("pubsub", run)
}
