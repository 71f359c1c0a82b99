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
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use support::{OURS, Outcome, Server, check_programs, heading, number, request, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const USAGE: &str = "\
usage: cargo bench --bench pubsub -- [OPTION...]

  --subscribers N   subscribers of the fan-out (default 1000)
  --messages N      messages of the fan-out (default 5000), and of the latency four times as many
  --bytes N         bytes of a message (default 100)
  --rounds N        rounds of each (default 3)
  --ours PROGRAM    the server to measure (default: the release build)
  --redis PROGRAM   the server to measure it against (default: redis-server)";

/// Messages that are published before the answer to the first of them is awaited.
const AHEAD: usize = 16;

struct Options {
    subscribers: usize,
    messages: usize,
    bytes: usize,
    rounds: usize,
    ours: PathBuf,
    redis: PathBuf,
}

impl Options {
    /// Reads the command line; `None` if help was asked for.
    fn parse(mut args: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self {
            subscribers: 1_000,
            messages: 5_000,
            bytes: 100,
            rounds: 3,
            ours: OURS.into(),
            redis: "redis-server".into(),
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--subscribers" => options.subscribers = number(&value()?)?,
                "--messages" => options.messages = number(&value()?)?,
                "--bytes" => options.bytes = number(&value()?)?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--ours" => options.ours = value()?.into(),
                "--redis" => options.redis = value()?.into(),
                // Cargo's own, for every bench.
                "--bench" => {}
                "-h" | "--help" => return Ok(None),
                _ => return Err(format!("unknown option {name}\n{USAGE}")),
            }
        }
        Ok(Some(options))
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
    let expected = options.messages * message_bytes(&payload);
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
    for _ in 0..options.messages / AHEAD {
        publisher.write_all(&batch).await.map_err(text)?;
        read_lines(&mut publisher, AHEAD).await?;
    }
    let rest = options.messages % AHEAD;
    publisher.write_all(&batch[..batch.len() / AHEAD * rest]).await.map_err(text)?;
    read_lines(&mut publisher, rest).await?;
    for reader in readers {
        reader.await.map_err(|e| e.to_string())??;
    }
    let deliveries = (options.subscribers * options.messages) as f64;
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
    for _ in 0..4 * options.messages {
        let began = Instant::now();
        publisher.write_all(&publish).await.map_err(text)?;
        read_bytes(&mut subscriber, length).await?;
        times.record(u64::try_from(began.elapsed().as_nanos()).unwrap()).unwrap();
        read_lines(&mut publisher, 1).await?;
    }
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    Ok((at(0.5), at(0.99)))
}

async fn run() -> Outcome<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    check_programs(&options.redis)?;
    let version = |program| Ok::<_, String>(Server::start(program, None)?.version(program));
    heading(&version(&options.ours)?, &version(&options.redis)?);
    println!(
        "{} subscribers, {} messages of {} bytes.\n\n\
         | server | deliveries/s | CPU us/delivery | latency p50 us | p99 us |\n\
         |---|--:|--:|--:|--:|",
        options.subscribers, options.messages, options.bytes
    );
    for _ in 0..options.rounds {
        for (name, program) in [("redis", &options.redis), ("ours", &options.ours)] {
            let (rate, used) = fan_out(&options, program).await?;
            let (median, p99) = latency(&options, program).await?;
            println!("| {name} | {rate:.0} | {used:.2} | {median:.1} | {p99:.1} |");
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("pubsub: {reason}");
            ExitCode::FAILURE
        }
    }
}
