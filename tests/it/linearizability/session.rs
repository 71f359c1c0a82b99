//! A client of a history: sends operations, reads what is answered, notes when.

use super::generate::{Generator, Next};
use super::history::Event;
use super::model::{Command, KEYS, Key, Operation, Reply, Script, Step, Way};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, encode, escape};
use sha1::{Digest, Sha1};
use std::sync::Arc;
use std::time::Instant;

/// The scripts; `KEYS` stands for where they find the names of their keys.
const MOVE: &str = "local value = redis.call('get', KEYS[1]) if value then \
    redis.call('set', KEYS[2], value) redis.call('del', KEYS[1]) end return value";
const SHIFT: &str = "local value = redis.call('lpop', KEYS[1]) if value then \
    redis.call('lpush', KEYS[2], value) end return value";
const TRANSFER: &str = "local taken = redis.call('decrby', KEYS[1], 7) \
    local given = redis.call('incrby', KEYS[2], 7) return {taken, given}";
const LOOK: &str = "local values = {} for number, key in ipairs(KEYS) do \
    values[number] = redis.call('mget', key)[1] end return values";
const SCRIPTS: [(&str, &str); 4] =
    [("move", MOVE), ("shift", SHIFT), ("transfer", TRANSFER), ("look", LOOK)];

/// The names that the keys of a history have on the server.
pub type Names = [String; KEYS];

/// Names for a fresh history; no two of them in one shard, if there is more than one shard.
pub fn names(server: &Server, history: usize) -> Names {
    let mut taken = Vec::new();
    let mut numbers = 0..;
    std::array::from_fn(|_| {
        loop {
            let name = format!("{history}:{}", numbers.next().unwrap_or(0));
            let shard = server.keyspace().locate(name.as_bytes()).shard;
            if server.keyspace().shard_count() == 1 || !taken.contains(&shard) {
                taken.push(shard);
                break name;
            }
        }
    })
}

/// Loads what EVALSHA and FCALL run.
pub fn load_scripts(wire: &mut Wire) {
    let mut library = String::from("#!lua name=linearizability\n");
    for (name, source) in SCRIPTS {
        let loaded = wire.command(&["SCRIPT", "LOAD", source]);
        assert_eq!(loaded, format!("$40\r\n{}\r\n", digest(source)).into_bytes());
        let body = source.replace("KEYS", "keys");
        let flags = if name == "look" { "'no-writes'" } else { "" };
        library.push_str(&format!(
            "redis.register_function{{function_name='{name}', flags={{{flags}}}, \
             callback=function(keys) {body} end}}\n"
        ));
    }
    let loaded = wire.command(&["FUNCTION", "LOAD", "REPLACE", &library]);
    assert_eq!(loaded, b"$15\r\nlinearizability\r\n", "{}", escape(&loaded));
}

/// A request that runs each of the scripts by each way in which its keys are declared, on the first
/// two keys.
pub fn declaring_scripts() -> Vec<Command> {
    let ways = [Way::Text, Way::Digest, Way::Function];
    let scripts = [Script::Move(0, 1), Script::Shift(0, 1), Script::Transfer(0, 1)];
    let all = scripts.into_iter().chain([Script::Look(vec![0, 1])]);
    all.flat_map(|script| ways.map(|way| Command::Script(script.clone(), way))).collect()
}

/// One connection, with the clock that all clients share.
pub struct Session {
    wire: Wire,
    client: usize,
    began: Instant,
}

impl Session {
    pub fn new(server: &Server, client: usize, began: Instant) -> Self {
        Self { wire: server.wire(), client, began }
    }

    /// Does as many operations as it was told to and returns them with the answers.
    pub fn run(&mut self, generator: &mut Generator, names: &Names, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count + 1);
        while events.len() < count {
            match generator.next() {
                Next::Operation(operation) => events.push(self.perform(operation, names)),
                Next::Watched(key, commands) => {
                    let watch = encode(&["WATCH", &names[key]]);
                    let get = Operation::Single(Command::Get(key));
                    let seen = self.perform_behind(watch, get, names);
                    let before = seen.step.reply.clone();
                    events.push(seen);
                    let operation = Operation::Exec(Some((key, before)), commands);
                    events.push(self.perform(operation, names));
                }
            }
        }
        events
    }

    /// Does one operation.
    pub fn perform(&mut self, operation: Operation, names: &Names) -> Event {
        self.perform_behind(Vec::new(), operation, names)
    }

    /// As `perform`, in one write with a request before it that is answered by OK.
    fn perform_behind(
        &mut self,
        mut requests: Vec<u8>,
        operation: Operation,
        names: &Names,
    ) -> Event {
        let mut expected = Vec::new();
        if !requests.is_empty() {
            expected.push(&b"+OK\r\n"[..]);
        }
        match &operation {
            Operation::Single(command) => requests.extend(encode(&arguments(command, names))),
            Operation::Exec(_, commands) => {
                requests.extend(encode(&["MULTI"]));
                expected.push(b"+OK\r\n");
                for command in commands {
                    requests.extend(encode(&arguments(command, names)));
                    expected.push(b"+QUEUED\r\n");
                }
                requests.extend(encode(&["EXEC"]));
            }
        }
        let called_ns = self.nanoseconds();
        self.wire.raw(&requests);
        let mut odd = None;
        for expected in expected {
            let got = self.wire.reply();
            if got != expected {
                odd = odd.or(Some(Reply::Other(escape(&got))));
            }
        }
        let reply = parse(&self.wire.reply(), names);
        let returned_ns = self.nanoseconds();
        let step = Step { operation, reply: odd.unwrap_or(reply), has_happened: true };
        Event { client: self.client, called_ns, returned_ns, step: Arc::new(step) }
    }

    fn nanoseconds(&self) -> i64 {
        self.began.elapsed().as_nanos() as i64
    }
}

fn digest(source: &str) -> String {
    Sha1::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The request for one command.
pub fn arguments(command: &Command, names: &Names) -> Vec<String> {
    let mut request = Vec::new();
    let mut add = |word: &str| request.push(word.to_owned());
    match command {
        Command::Set(key, value) => {
            ["SET", &names[*key], &value.to_string()].into_iter().for_each(add);
        }
        Command::SetNew(key, value) => {
            ["SETNX", &names[*key], &value.to_string()].into_iter().for_each(add);
        }
        Command::Get(key) => ["GET", &names[*key]].into_iter().for_each(add),
        Command::Increment(key) => ["INCR", &names[*key]].into_iter().for_each(add),
        Command::Pop(key) => ["LPOP", &names[*key]].into_iter().for_each(add),
        Command::Range(key) => {
            ["LRANGE", &names[*key], "0", "-1"].into_iter().for_each(add);
        }
        Command::Rename(from, to) => {
            ["RENAME", &names[*from], &names[*to]].into_iter().for_each(add);
        }
        Command::Delete(keys) => {
            add("DEL");
            keys.iter().for_each(|key| add(&names[*key]));
        }
        Command::GetMany(keys) => {
            add("MGET");
            keys.iter().for_each(|key| add(&names[*key]));
        }
        Command::SetMany(pairs) => {
            add("MSET");
            for (key, value) in pairs {
                add(&names[*key]);
                add(&value.to_string());
            }
        }
        Command::Push(key, values) => {
            add("LPUSH");
            add(&names[*key]);
            values.iter().for_each(|value| add(&value.to_string()));
        }
        Command::PopOrWait(keys, wait_ms) => {
            add("BLPOP");
            keys.iter().for_each(|key| add(&names[*key]));
            add(&format!("0.{wait_ms:03}"));
        }
        Command::Script(script, way) => return script_arguments(script, *way, names),
    }
    request
}

fn script_arguments(script: &Script, way: Way, names: &Names) -> Vec<String> {
    let (name, keys) = (script.name(), script.keys());
    let (_, source) = SCRIPTS.iter().find(|(known, _)| *known == name).unwrap();
    let (command, what) = match way {
        Way::Text => ("EVAL", (*source).to_owned()),
        Way::Digest => ("EVALSHA", digest(source)),
        Way::Function => ("FCALL", name.to_owned()),
        Way::Undeclared => ("EVAL", source.replace("KEYS", "ARGV")),
    };
    let only_reads = matches!(script, Script::Look(_));
    let command = if only_reads { format!("{command}_RO") } else { command.to_owned() };
    let declared = if way == Way::Undeclared { 0 } else { keys.len() };
    let names = keys.into_iter().map(|key| names[key].clone());
    [command, what, declared.to_string()].into_iter().chain(names).collect()
}

/// What a reply says, in the words of the model.
pub fn parse(reply: &[u8], names: &Names) -> Reply {
    let mut rest = reply;
    let parsed = parse_next(&mut rest, names);
    match parsed {
        Some(parsed) if rest.is_empty() => parsed,
        _ => Reply::Other(escape(reply)),
    }
}

fn parse_next(rest: &mut &[u8], names: &Names) -> Option<Reply> {
    let text = line(rest)?;
    let number = |text: &str| text.parse::<i64>().ok();
    Some(match text.split_at_checked(1)? {
        ("+", "OK") => Reply::Ok,
        (":", digits) => Reply::Integer(number(digits)?),
        ("$", "-1") => Reply::Nil,
        ("*", "-1") => Reply::NilArray,
        ("$", _) => {
            let body = line(rest)?;
            let name = || names.iter().position(|name| name == body).map(Reply::Name);
            number(body).map(Reply::Value).or_else(name)?
        }
        ("*", count) => {
            let parts = (0..number(count)?).map(|_| parse_next(rest, names));
            Reply::Array(parts.collect::<Option<_>>()?)
        }
        ("-", error) if error.starts_with("WRONGTYPE ") => Reply::WrongType,
        ("-", "ERR no such key") => Reply::NoSuchKey,
        (_, other) => Reply::Other(other.to_owned()),
    })
}

/// Takes a line from what is left; values and names have no line ends in them.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, behind) = (&rest[..end], &rest[end + 2..]);
    *rest = behind;
    std::str::from_utf8(line).ok()
}

/// All keys, read at one moment: what a history ends with.
pub fn reading_all() -> Operation {
    let keys: Vec<Key> = (0..KEYS).collect();
    let ranges = keys.iter().map(|key| Command::Range(*key));
    let commands = [Command::GetMany(keys.clone())].into_iter().chain(ranges).collect();
    Operation::Exec(None, commands)
}
