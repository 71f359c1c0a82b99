//! Memory: what a key costs beyond its bytes, and what is left when all is deleted.
//!
//! `cargo bench --bench memory` fills each server with a million keys of one kind and takes the
//! growth of the process (Pss) by the number of keys, less the bytes of keys, fields, members and
//! values; a score counts as eight bytes. Of an entry of a stream all counts.
//! Then keys are deleted, one by one and all at once, and what of their growth the process still
//! has five seconds later is the second table. Memory does not depend on what else is running, so
//! one round is enough.

mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use structopt::StructOpt;
use support::options::chosen;
use support::{Common, Outcome, Record, Rounds, Server, check_programs, request};

/// For how long a server may still free something after it was filled,
const FILLED: Duration = Duration::from_secs(1);
/// and after its keys were deleted.
const DELETED: Duration = Duration::from_secs(5);
/// No key may expire in a measurement.
const DEADLINE_MS: usize = 33_000_000_000_000;
/// Elements of one filling request of a list.
const FILL_ELEMENTS: usize = 100;

/// Memory for a key of each kind, and after deleting, beside redis-server.
#[derive(StructOpt)]
struct Options {
    #[structopt(flatten)]
    common: Common,
    /// Kinds by name, for example string3,set8; also deleted [default: all]
    #[structopt(long, value_name = "LIST", require_delimiter = true)]
    kinds: Vec<String>,
    /// Keys of each kind [default: 1000000]
    #[structopt(long, value_name = "N")]
    keys: Option<usize>,
}

/// A kind of key, or of entry of a stream, to weigh.
struct Kind {
    name: &'static str,
    title: &'static str,
    command: &'static str,
    values: &'static [Sample],
}

/// A value.
enum Sample {
    /// So many bytes, all alike.
    Bytes(usize),
    /// Eight bytes, others in every place.
    Member,
    /// A number of six digits, another in every place.
    Integer,
    /// A number of up to six digits.
    Number,
    /// A word and a number.
    Name,
}

const EIGHT_OF_8: &[Sample] = &[const { Sample::Bytes(8) }; 8];
const EIGHT_MEMBERS: &[Sample] = &[const { Sample::Member }; 8];
const EIGHT_INTEGERS: &[Sample] = &[const { Sample::Integer }; 8];
const TWO_OF_8: &[Sample] = &[const { Sample::Bytes(8) }; 2];
const NUMBER_NAME_NUMBER: &[Sample] = &[Sample::Number, Sample::Name, Sample::Number];

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    Kind::new("string3", "string of 3 bytes", "SET", &[Sample::Bytes(3)]),
    Kind::new("string32", "string of 32 bytes", "SET", &[Sample::Bytes(32)]),
    Kind::new("string200", "string of 200 bytes", "SET", &[Sample::Bytes(200)]),
    Kind::new("deadline32", "string of 32 bytes, with a deadline", "SET PXAT", &[Sample::Bytes(32)]),
    Kind::new("hash8", "hash of 8 fields of 8 bytes", "HSET", EIGHT_OF_8),
    Kind::new("list8", "list of 8 items of 8 bytes", "RPUSH", EIGHT_OF_8),
    Kind::new("set8", "set of 8 members of 8 bytes", "SADD", EIGHT_MEMBERS),
    Kind::new("intset8", "set of 8 integers of 6 digits", "SADD", EIGHT_INTEGERS),
    Kind::new("zset8", "sorted set of 8 members of 8 bytes", "ZADD", EIGHT_MEMBERS),
    Kind::new("entry2", "entry of a stream, two values of 8 bytes", "XADD", TWO_OF_8),
    Kind::new("entry3", "entry of a stream, number, name and number", "XADD", NUMBER_NAME_NUMBER),
    Kind::new("entry200", "entry of a stream, a value of 200 bytes", "XADD", &[Sample::Bytes(200)]),
    Kind::new("stream1", "stream of one entry, two values of 8 bytes", "XADD 1", TWO_OF_8),
];

/// What is measured besides the kinds.
const DELETED_NAME: &str = "deleted";

impl Sample {
    /// The value at this place of the key or entry with this number.
    fn text(&self, number: usize, place: usize) -> Vec<u8> {
        let scattered = number * 7_919 % 1_000_000;
        match self {
            Self::Bytes(len) => vec![b'x'; *len],
            Self::Member => format!("member{place:02}").into_bytes(),
            Self::Integer => (100_000 + (scattered + place) % 900_000).to_string().into_bytes(),
            Self::Number => scattered.to_string().into_bytes(),
            Self::Name => format!("user:{scattered}").into_bytes(),
        }
    }
}

impl Kind {
    const fn new(
        name: &'static str,
        title: &'static str,
        command: &'static str,
        values: &'static [Sample],
    ) -> Self {
        Self { name, title, command, values }
    }

    fn requests(&self, keys: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..keys).map(move |number| {
            // All entries are of one stream, or each is of one of its own.
            let key = format!("key:{:012}", if self.is_entry() { 0 } else { number });
            let command = self.command.split(' ').next().unwrap_or_default();
            let mut args = vec![command.as_bytes().to_vec(), key.into_bytes()];
            if command == "XADD" {
                args.push(format!("{}-0", 1_700_000_000_000 + number).into_bytes());
            }
            for (place, value) in self.values.iter().enumerate() {
                match command {
                    "HSET" | "XADD" => args.push(format!("field{place}").into_bytes()),
                    "ZADD" => args.push(place.to_string().into_bytes()),
                    _ => {}
                }
                args.push(value.text(number, place));
            }
            if self.command == "SET PXAT" {
                let deadline_ms = DEADLINE_MS + number * 7_919 % keys;
                args.extend([b"PXAT".to_vec(), deadline_ms.to_string().into_bytes()]);
            }
            request(&args.iter().map(Vec::as_slice).collect::<Vec<_>>())
        })
    }

    fn is_entry(&self) -> bool {
        self.command == "XADD"
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
        let beside = match self.command {
            "HSET" | "XADD 1" => "field0".len(),
            "ZADD" => size_of::<f64>(),
            _ => 0,
        };
        let values = self.values.iter().enumerate();
        let values = values.map(|(place, value)| beside + value.text(0, place).len());
        "key:".len() + 12 + values.sum::<usize>()
    }

    /// Bytes beyond those of keys and values, of each key.
    fn overhead(&self, program: &Path, keys: usize) -> Outcome<f64> {
        let server = Server::start(program, None)?;
        let before = server.memory_bytes()?;
        server.fill_lines(self.requests(keys), self.reply_lines())?;
        std::thread::sleep(FILLED);
        let grown = server.memory_bytes()? - before;
        Ok(grown / keys as f64 - self.payload_bytes() as f64)
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

/// How a server is emptied.
const WAYS: &[(&str, &str)] = &[
    ("keys", "keys of 32 bytes, DEL one by one"),
    ("flushall", "keys of 32 bytes, FLUSHALL"),
    ("list", "a list of as many elements of 100 bytes, DEL"),
];

fn fill_and_empty(server: &Server, way: &str, keys: usize) -> Outcome<f64> {
    let value = [b'x'; 32];
    match way {
        "list" => {
            let element = [b'x'; 100];
            let push: Vec<&[u8]> =
                [&b"RPUSH"[..], b"list"].into_iter().chain([&element[..]; FILL_ELEMENTS]).collect();
            server.fill((0..keys).step_by(FILL_ELEMENTS).map(|_| request(&push)))?;
        }
        _ => server.fill((0..keys).map(|n| request(&[b"SET", &key(n), &value])))?,
    }
    let filled = server.memory_bytes()?;
    match way {
        "keys" => server.fill((0..keys).map(|n| request(&[b"DEL", &key(n)])))?,
        "list" => server.fill(std::iter::once(request(&[b"DEL", b"list"])))?,
        _ => server.fill(std::iter::once(request(&[b"FLUSHALL"])))?,
    }
    std::thread::sleep(DELETED);
    Ok(filled)
}

/// The memory of an empty server, and what is left after deleting.
fn deleted(common: &Common, keys: usize, record: &mut Record) -> Outcome<()> {
    let mut empty = Rounds::new("memory/empty", "an empty server", "MB");
    let mut lefts = Vec::new();
    for (way, title) in WAYS {
        let name = format!("memory/deleted/{way}");
        let mut left = Rounds::new(name, format!("left of {title}"), "% of the growth");
        for (who, program) in common.programs() {
            let server = Server::start(program, None)?;
            let before = server.memory_bytes()?;
            empty.add(who, before / 1e6);
            let filled = fill_and_empty(&server, way, keys)?;
            left.add(who, (server.memory_bytes()? - before).max(0.0) / (filled - before) * 100.0);
        }
        lefts.push(left);
    }
    record.note(&empty)?;
    lefts.iter().try_for_each(|left| record.note(left))
}

fn run(options: &Options) -> Outcome<()> {
    let common = &options.common;
    check_programs(common)?;
    let keys = common.pick(options.keys, 1_000_000, 250_000);
    let names: Vec<&str> =
        KINDS.iter().map(|kind| kind.name).chain(std::iter::once(DELETED_NAME)).collect();
    let names = chosen(&options.kinds, &names)?;
    let mut record = Record::open(common)?;
    println!("{keys} keys of {} bytes.\n", "key:".len() + 12);
    record.head();
    let mut plain: Vec<f64> = Vec::new();
    for kind in KINDS.iter().filter(|kind| names.contains(&kind.name)) {
        let unit = if kind.is_entry() { "bytes" } else { "bytes beyond key and value" };
        let mut rounds = Rounds::new(format!("memory/{}", kind.name), kind.title, unit);
        let overheads = common.programs().into_iter().map(|(who, program)| {
            let bytes = kind.overhead(program, keys)?;
            rounds.add(who, bytes);
            Ok((who, bytes))
        });
        let overheads: Vec<_> = overheads.collect::<Outcome<_>>()?;
        record.note(&rounds)?;
        match kind.name {
            "string32" => plain = overheads.iter().map(|(_, bytes)| *bytes).collect(),
            "deadline32" if !plain.is_empty() => {
                let mut more = Rounds::new("memory/deadline", "a deadline", "bytes more");
                for ((who, bytes), plain) in overheads.iter().zip(&plain) {
                    more.add(*who, bytes - plain);
                }
                record.note(&more)?;
            }
            _ => {}
        }
    }
    if names.contains(&DELETED_NAME) {
        deleted(common, keys, &mut record)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    support::main("memory", run)
}
