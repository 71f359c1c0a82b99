//! A client of many connections on one thread, as fast as it can or at a fixed rate.
//!
//! Connections are made, and have each been answered once, before anything is measured. A
//! connection sends its requests at once and sends the next when it has all replies (closed loop);
//! or requests are due at fixed moments and go out whether or not others are still under way (open
//! loop), and the time of each counts from when it was due, so that a server that stands still is
//! charged for all that it held up. Replies are counted, not kept; an error among them is an error.

#![allow(clippy::indexing_slicing, reason = "a benchmark that meets the unexpected has to stop")]

use super::{Outcome, request, text};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use my_redis::util::random::Random;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::{Duration, Instant};

/// What is replaced by twelve digits, as redis-benchmark does.
const SLOT: &[u8] = b"__rand_int__";
const READ_BYTES_MAX: usize = 256 * 1024;
const EVENTS_MAX: usize = 1_024;

/// Requests that are sent at once, with a number at random in each of their slots.
pub struct Batch {
    bytes: Vec<u8>,
    slots: Vec<usize>,
    requests: usize,
    keys: usize,
}

impl Batch {
    /// So many times one request; its slots get numbers below `keys`.
    pub fn new(words: &[&[u8]], requests: usize, keys: usize) -> Self {
        let bytes = request(words).repeat(requests);
        let starts = 0..bytes.len().saturating_sub(SLOT.len());
        let slots = starts.filter(|start| bytes[*start..].starts_with(SLOT)).collect();
        Self { bytes, slots, requests, keys }
    }

    /// Appends the requests with new numbers.
    fn write(&self, out: &mut Vec<u8>, random: &mut Random) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for slot in &self.slots {
            let mut number = random.below(self.keys);
            for digit in out[start + slot..start + slot + SLOT.len()].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }
}

/// Counts the replies in a stream of bytes that comes in any pieces.
#[derive(Default)]
pub struct Counter {
    /// The first byte of the line that is being read.
    kind: Option<u8>,
    number: usize,
    is_negative: bool,
    /// Bytes of a string that are still to come, with its line's end.
    skip: usize,
    /// Values that the reply still lacks.
    missing: usize,
}

impl Counter {
    /// The replies that end in these bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Outcome<usize> {
        let (mut replies, mut at) = (0, 0);
        while at < bytes.len() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len() - at);
                (at, self.skip) = (at + step, self.skip - step);
                replies += usize::from(self.skip == 0 && self.end_value());
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match (self.kind, byte) {
                (None, kind) => {
                    self.missing = self.missing.max(1);
                    (self.kind, self.number, self.is_negative) = (Some(kind), 0, false);
                }
                (Some(kind), b'\n') => replies += usize::from(self.end_line(kind)?),
                (_, b'-') => self.is_negative = true,
                (_, digit @ b'0'..=b'9') => {
                    self.number = self.number.wrapping_mul(10).wrapping_add((digit - b'0').into());
                }
                _ => {}
            }
        }
        Ok(replies)
    }

    fn end_line(&mut self, kind: u8) -> Outcome<bool> {
        self.kind = None;
        match (kind, self.is_negative) {
            (b'-', _) => return Err("an error was answered".into()),
            (b'$', false) => {
                self.skip = self.number + 2;
                return Ok(false);
            }
            (b'*', false) => self.missing += self.number,
            _ => {}
        }
        Ok(self.end_value())
    }

    /// True when it was the last of its reply.
    fn end_value(&mut self) -> bool {
        self.missing -= 1;
        self.missing == 0
    }
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    counter: Counter,
    /// Replies that have not come yet.
    missing: usize,
    /// When their requests were due, in an open loop.
    due: VecDeque<Instant>,
}

impl Connection {
    /// Connects, and waits for one answer.
    fn open(port: u16) -> Outcome<Self> {
        let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.write_all(&request(&[b"PING"])).map_err(text)?;
        let (mut counter, mut chunk) = (Counter::default(), [0; 64]);
        loop {
            let length = stream.read(&mut chunk).map_err(text)?;
            match counter.feed(&chunk[..length])? {
                0 if length > 0 => {}
                1 => break,
                _ => return Err("PING is not answered".into()),
            }
        }
        stream.set_nonblocking(true).map_err(text)?;
        let stream = TcpStream::from_std(stream);
        let (out, due) = (Vec::new(), VecDeque::new());
        Ok(Self { stream, out, sent: 0, counter: Counter::default(), missing: 0, due })
    }

    fn send(&mut self, batch: &Batch, random: &mut Random) -> Outcome<()> {
        self.missing += batch.requests;
        batch.write(&mut self.out, random);
        self.flush()
    }

    fn flush(&mut self) -> Outcome<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(text(error)),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// The replies that have come.
    fn receive(&mut self, chunk: &mut [u8]) -> Outcome<usize> {
        let mut replies = 0;
        loop {
            match self.stream.read(chunk) {
                Ok(0) => return Err("the connection has ended".into()),
                Ok(length) => {
                    replies += self.counter.feed(&chunk[..length])?;
                    // What comes after a read that was not full is an event of its own.
                    if length < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(text(error)),
            }
        }
        if replies > self.missing {
            return Err("more replies than requests".into());
        }
        self.missing -= replies;
        Ok(replies)
    }
}

/// Connections of one thread.
pub struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    random: Random,
}

impl Load {
    /// Connects so many times to a server of this machine; each has been answered once.
    pub fn connect(port: u16, connections: usize) -> Outcome<Self> {
        let poll = Poll::new().map_err(text)?;
        let mut load = Self { poll, connections: Vec::new(), random: Random::new(1) };
        for number in 0..connections {
            let mut connection = Connection::open(port)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = load.poll.registry();
            registry.register(&mut connection.stream, Token(number), interest).map_err(text)?;
            load.connections.push(connection);
        }
        Ok(load)
    }

    /// Sends so many batches over the first `active` connections, one after the other on each;
    /// gives the time until all are answered.
    pub fn run(&mut self, batch: &Batch, batches: usize, active: usize) -> Outcome<Duration> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut chunk = vec![0; READ_BYTES_MAX];
        let first = batches.min(active).min(self.connections.len());
        let (mut left, mut under_way) = (batches - first, first);
        let began = Instant::now();
        for connection in &mut self.connections[..first] {
            connection.send(batch, &mut self.random)?;
        }
        while under_way > 0 {
            wait(&mut self.poll, &mut events, None)?;
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                connection.flush()?;
                if connection.receive(&mut chunk)? == 0 || connection.missing > 0 {
                    continue;
                }
                if left > 0 {
                    left -= 1;
                    connection.send(batch, &mut self.random)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(began.elapsed())
    }

    /// Sends a batch at each step of time, in turn over all connections; gives the nanoseconds from
    /// when each was due until it was answered. The processor is kept busy meanwhile: a sleep would
    /// be measured with the server.
    pub fn at_rate(
        &mut self,
        batch: &Batch,
        per_second: f64,
        length: Duration,
    ) -> Outcome<Histogram<u64>> {
        let mut times = Histogram::new(3).map_err(|error| error.to_string())?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut chunk = vec![0; READ_BYTES_MAX];
        let began = Instant::now();
        let due = |number: usize| began + Duration::from_secs_f64(number as f64 / per_second);
        let all: Range<usize> = 0..(per_second * length.as_secs_f64()) as usize;
        let (mut next, mut under_way) = (all.start, 0);
        while next < all.end || under_way > 0 {
            let now = Instant::now();
            while next < all.end && due(next) <= now {
                let turn = next % self.connections.len();
                let connection = &mut self.connections[turn];
                connection.due.push_back(due(next));
                connection.send(batch, &mut self.random)?;
                (next, under_way) = (next + 1, under_way + 1);
            }
            wait(&mut self.poll, &mut events, Some(Duration::ZERO))?;
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                connection.flush()?;
                connection.receive(&mut chunk)?;
                let now = Instant::now();
                while connection.due.len() * batch.requests >= connection.missing + batch.requests {
                    let due = connection.due.pop_front().ok_or("a reply without a request")?;
                    let nanos = u64::try_from((now - due).as_nanos()).unwrap_or(u64::MAX);
                    times.record(nanos).map_err(|error| error.to_string())?;
                    under_way -= 1;
                }
            }
        }
        Ok(times)
    }
}

fn wait(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> Outcome<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(text(error)),
        _ => Ok(()),
    }
}
