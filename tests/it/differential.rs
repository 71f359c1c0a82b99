//! Random requests to this server and to a real redis-server: the same bytes must come back.
//!
//! The same pipelined batches go to both over raw sockets, in RESP2 and in RESP3; every thousand
//! requests the whole keyspace is read from both. The stream follows from a seed, which is
//! printed: `MY_REDIS_SEED` repeats a run, `MY_REDIS_DIFFERENTIAL_COMMANDS` makes it longer, and
//! `MY_REDIS_DIFFERENTIAL_ONLY=SET,GET` narrows it to some commands.
//!
//! A difference is recorded with what led to it, reduced to the few requests that still show it
//! from an empty server; then both servers are emptied and the run goes on, so that one run
//! shows all that is wrong and not only what is wrong first.
//!
//! What is not sent, because 7.0.15 has another answer by design: CLIENT SETINFO (new in 7.2 and
//! sent by every client of today) and the HELP subcommands (they list what Redis has and this
//! server has not).

mod compare;
mod generate;
mod odd;
mod places;
mod scripts;
mod streams;
mod users;
mod values;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::oracle::Oracle;
use crate::harness::random::{SEED_VARIABLE, seed};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, encode, escape, shown, split};
use compare::{Node, same_reply, same_transaction, typed};
use generate::{Generator, ONLY_VARIABLE, Request};
use my_redis::config::DebugAccess;

/// Repeats or lengthens a run.
const COMMANDS_VARIABLE: &str = "MY_REDIS_DIFFERENTIAL_COMMANDS";

/// How many requests a plain run compares on many shards, and on one.
const COMMANDS: usize = 450_000;
const COMMANDS_ONE_SHARD: usize = 150_000;

/// How many of them two real servers answer, to prove the rules of `compare` sufficient.
const COMMANDS_TWIN: usize = 40_000;

/// How many are sent as users with random rights.
const COMMANDS_USERS: usize = 60_000;

/// After this many differences of different kinds the run ends.
const DIFFERENCES_MAX: usize = 25;

/// So many databases both servers have.
const DATABASES: usize = 4;
/// The last is how soon it notices that a wait is over.
const REDIS_OPTIONS: &[&str] =
    &["--databases", "4", "--enable-debug-command", "yes", "--hz", "500"];

const BATCH_MAX: usize = 64;
const SESSIONS: usize = 4;
const CHECK_EVERY: usize = 1_000;

/// How long the search for a short way to a difference may take.
const SHRINK_TIME: Duration = Duration::from_secs(5);

/// What one request was answered by both servers, `Err` where no reply came.
type Reply = Result<Vec<u8>, String>;

/// A request that the two servers answered differently.
struct Difference {
    index: usize,
    request: Request,
    ours: Reply,
    redis: Reply,
    /// Requests that lead to it on two empty servers, or the last ones before it.
    before: Vec<Request>,
    reproduced: bool,
    resp3: bool,
}

/// What both servers answered to one request.
struct Answers {
    ours: Reply,
    redis: Reply,
    alike: bool,
}

/// One connection to each server, always given the same bytes.
struct Session {
    ours: Wire,
    redis: Wire,
    resp3: bool,
    /// What waits for EXEC.
    queued: Vec<Request>,
}

impl Session {
    fn open(ours: SocketAddr, redis: SocketAddr, resp3: bool) -> Self {
        let connect = if resp3 { Wire::connect_resp3 } else { Wire::connect };
        Self { ours: connect(ours), redis: connect(redis), resp3, queued: Vec::new() }
    }

    /// Sends the requests in one write to each server and returns their answers; ends at the first
    /// that did not come.
    fn exchange(&mut self, requests: &[Request]) -> Vec<Answers> {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(&request.args)).collect();
        self.redis.raw(&bytes);
        self.ours.raw(&bytes);
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let (ours, redis) = (self.ours.try_reply(), self.redis.try_reply());
            let lost = ours.is_err() || redis.is_err();
            let alike = self.are_alike(request, &ours, &redis);
            answers.push(Answers { ours, redis, alike });
            if lost {
                break;
            }
        }
        answers
    }

    fn are_alike(&mut self, request: &Request, ours: &Reply, redis: &Reply) -> bool {
        let (Ok(ours), Ok(redis)) = (ours, redis) else {
            return false;
        };
        match request.args[0].to_ascii_uppercase().as_slice() {
            b"EXEC" => {
                let queued = std::mem::take(&mut self.queued);
                let queued: Vec<&[Vec<u8>]> = queued.iter().map(|of| of.args.as_slice()).collect();
                return same_transaction(&queued, ours, redis);
            }
            b"DISCARD" | b"RESET" => self.queued.clear(),
            _ if redis == b"+QUEUED\r\n" => self.queued.push(request.clone()),
            _ => {}
        }
        same_reply(&request.args, ours, redis)
    }
}

/// One comparison of two servers.
struct Run {
    ours: SocketAddr,
    redis: SocketAddr,
    generator: Generator,
    sessions: Vec<Session>,
    /// All that both servers were sent since they were last empty.
    history: Vec<Request>,
    differences: Vec<Difference>,
    /// How often each kind of difference was seen; only the first of a kind is reported.
    kinds: HashMap<String, usize>,
    /// Per command name, how many replies were no error.
    successes: HashMap<Vec<u8>, usize>,
    /// True when all sessions but the first are those of users with random rights.
    has_users: bool,
    /// How many requests were refused for want of rights.
    denied: usize,
    index: usize,
}

impl Run {
    fn new(ours: SocketAddr, redis: SocketAddr, seed: u64) -> Self {
        let mut run = Self {
            ours,
            redis,
            generator: Generator::new(seed),
            sessions: Vec::new(),
            history: Vec::new(),
            differences: Vec::new(),
            kinds: HashMap::new(),
            successes: HashMap::new(),
            has_users: false,
            denied: 0,
            index: 0,
        };
        run.restart();
        run
    }

    /// Has all sessions but the first be those of users with random rights.
    fn with_users(mut self) -> Self {
        self.has_users = true;
        for user in 0..users::USERS {
            let made = users::set(user, true, self.generator.random());
            assert!(self.send(0, vec![made]), "{}", self.report(0));
        }
        self
    }

    /// Empties both servers and opens new connections.
    fn restart(&mut self) {
        self.history.clear();
        let (ours, redis) = (self.ours, self.redis);
        self.sessions = (0..SESSIONS).map(|n| Session::open(ours, redis, n % 2 == 1)).collect();
        let flush = Request { args: split("FLUSHALL") };
        for Answers { ours, redis, .. } in self.sessions[0].exchange(&[flush]) {
            assert_eq!((ours, redis), (Ok(b"+OK\r\n".to_vec()), Ok(b"+OK\r\n".to_vec())));
        }
    }

    fn compare(mut self, commands: usize) -> Self {
        let mut next_check = CHECK_EVERY;
        while self.index < commands && self.kinds.len() < DIFFERENCES_MAX {
            if self.generator.random().chance(2) {
                self.odd_exchange();
            } else {
                self.batch();
            }
            if self.index >= next_check {
                next_check = self.index + CHECK_EVERY;
                self.check_keyspace();
            }
        }
        self
    }

    fn batch(&mut self) {
        let mut requests = Vec::new();
        let count = self.generator.random().between(1, BATCH_MAX);
        while requests.len() < count {
            requests.extend(self.generator.next());
        }
        requests.iter_mut().for_each(Request::shorten_fields);
        let number = self.generator.random().below(SESSIONS);
        if self.has_users && self.generator.random().chance(20) {
            let user = self.generator.random().below(users::USERS);
            let changed = users::set(user, false, self.generator.random());
            if !self.send(0, vec![changed]) {
                return;
            }
        }
        if self.has_users && number > 0 {
            requests.retain(|request| !users::is_odd(&request.args));
            requests.splice(..0, users::become_one(number % users::USERS));
        }
        if self.generator.random().chance(5) {
            let resp3 = self.generator.random().chance(50);
            self.sessions[number] = Session::open(self.ours, self.redis, resp3);
        }
        self.send(number, requests);
    }

    /// True if all replies agree. After a difference both servers are empty.
    fn send(&mut self, number: usize, requests: Vec<Request>) -> bool {
        let answers = self.sessions[number].exchange(&requests);
        let resp3 = self.sessions[number].resp3;
        for (request, Answers { ours, redis, alike }) in requests.into_iter().zip(answers) {
            self.index += 1;
            if !alike {
                self.record(request, ours, redis, resp3);
                return false;
            }
            self.denied += usize::from(redis.as_ref().is_ok_and(|r| r.starts_with(b"-NOPERM")));
            if redis.is_ok_and(|reply| reply[0] != b'-') {
                let name = request.args[0].to_ascii_uppercase();
                *self.successes.entry(name).or_default() += 1;
            }
            self.history.push(request);
        }
        true
    }

    fn record(&mut self, request: Request, ours: Reply, redis: Reply, resp3: bool) {
        let kind = kind_of(&request, &ours, &redis);
        let seen = self.kinds.entry(kind).or_default();
        *seen += 1;
        if *seen == 1 {
            let mut before = related(&self.history, &request);
            let mut reproduced = self.shrink(&mut before, &request, resp3);
            if !reproduced {
                // A value may have come from keys that the request does not name.
                before = self.history.clone();
                reproduced = self.shrink(&mut before, &request, resp3);
            }
            if !reproduced {
                before.drain(..before.len().saturating_sub(10));
            }
            let index = self.index;
            let difference = Difference { index, request, ours, redis, before, reproduced, resp3 };
            self.differences.push(difference);
        }
        self.restart();
    }

    /// Leaves of `before` only what is needed to see the difference; false if it does not show.
    fn shrink(&self, before: &mut Vec<Request>, request: &Request, resp3: bool) -> bool {
        let started = Instant::now();
        if !self.shows(before, request, resp3) {
            return false;
        }
        let mut size = before.len().div_ceil(2);
        while size > 0 && started.elapsed() < SHRINK_TIME {
            let mut start = 0;
            while start < before.len() && started.elapsed() < SHRINK_TIME {
                let end = before.len().min(start + size);
                let shorter = [&before[..start], &before[end..]].concat();
                if self.shows(&shorter, request, resp3) {
                    *before = shorter;
                } else {
                    start = end;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        true
    }

    fn shows(&self, before: &[Request], request: &Request, resp3: bool) -> bool {
        let mut session = Session::open(self.ours, self.redis, resp3);
        session.exchange(&[Request { args: split("FLUSHALL") }]);
        for batch in before.chunks(BATCH_MAX) {
            if session.exchange(batch).len() < batch.len() {
                return false;
            }
        }
        session.exchange(std::slice::from_ref(request)).iter().any(|answers| !answers.alike)
    }

    fn odd_exchange(&mut self) {
        let bytes = odd::conversation(&mut self.generator);
        self.index += 1;
        let (ours, redis) = (odd::answer(self.ours, &bytes), odd::answer(self.redis, &bytes));
        if ours != redis {
            let request = Request { args: vec![b"raw bytes:".to_vec(), bytes.concat()] };
            self.record(request, ours, redis, false);
        }
    }

    /// Reads all keys from both servers and compares types, contents and deadlines. The digest is
    /// of all databases, the rest of that which the session has selected.
    fn check_keyspace(&mut self) {
        let number = if self.has_users { 0 } else { self.generator.random().below(SESSIONS) };
        let listing =
            ["DEBUG DIGEST", "DBSIZE", "KEYS *"].map(|line| Request { args: split(line) });
        if !self.send(number, listing.to_vec()) {
            return;
        }
        let listed = self.sessions[number].redis.run("KEYS *");
        let keys = Node::parse(&listed).expect("KEYS answers an array").texts();
        for key in &keys {
            let type_name = self.sessions[number].redis.command(&[b"TYPE", key.as_slice()]);
            let content: &[&str] = match type_name.as_slice() {
                b"+string\r\n" => &["GET"],
                b"+list\r\n" => &["LRANGE", "0", "-1"],
                b"+set\r\n" => &["SMEMBERS"],
                b"+zset\r\n" => &["ZRANGE", "0", "-1", "WITHSCORES"],
                b"+stream\r\n" => &["XRANGE", "-", "+"],
                _ => &["HGETALL"],
            };
            let asked: [&[&str]; 3] = [&["TYPE"], content, &["PEXPIRETIME"]];
            let requests = asked.map(|words| {
                let mut args: Vec<Vec<u8>> =
                    words.iter().map(|word| word.as_bytes().into()).collect();
                args.insert(1, key.clone());
                Request { args }
            });
            if !self.send(number, requests.to_vec()) {
                return;
            }
        }
        self.check_scan(number, &keys);
    }

    /// A scan in small steps of a keyspace that does not change: each key exactly once.
    fn check_scan(&mut self, number: usize, keys: &[Vec<u8>]) {
        let wire = &mut self.sessions[number].ours;
        let (mut cursor, mut found) = (b"0".to_vec(), Vec::new());
        loop {
            let reply = wire.command(&[b"SCAN", cursor.as_slice(), b"COUNT", b"3"]);
            let scan = Node::parse(&reply).and_then(|node| node.scan());
            let (next, part) = scan.unwrap_or_else(|| panic!("SCAN answered {}", shown(&reply)));
            found.extend(part);
            assert!(found.len() <= 2 * keys.len(), "SCAN does not end: cursor {}", escape(&next));
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
        let mut expected = keys.to_vec();
        expected.sort();
        found.sort();
        assert!(found == expected, "SCAN in steps found other keys than KEYS: {found:?}");
    }

    /// Fails if the stream has a command that was refused nearly every time: it tests nothing.
    fn check_coverage(&self) {
        if std::env::var_os(ONLY_VARIABLE).is_some() {
            return;
        }
        const NEVER_SUCCEED: [&str; 5] = ["SENTINEL", "CLUSTER", "SHUTDOWN", "BGSAVE", "SAVE"];
        let names = generate::all_forms().filter_map(|(_, form)| form.split([' ', ';']).next());
        for name in names.filter(|name| !name.starts_with('{') && !NEVER_SUCCEED.contains(name)) {
            let count = self.successes.get(name.as_bytes()).copied().unwrap_or(0);
            assert!(count >= self.index / 50_000, "{name} succeeded only {count} times");
        }
    }

    fn report(&self, seed: u64) -> String {
        let mut text = format!("{} kinds of difference, seed {seed}\n", self.differences.len());
        for difference in &self.differences {
            text += &difference.to_string();
            text += &format!(
                "  again: {SEED_VARIABLE}={seed} {COMMANDS_VARIABLE}={} \
                 cargo test --test it differential\n",
                difference.index
            );
        }
        text
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = if self.resp3 { "RESP3" } else { "RESP2" };
        writeln!(out, "\nrequest {} ({protocol}): {}", self.index, typed(&self.request.args))?;
        for (who, reply) in [("ours ", &self.ours), ("redis", &self.redis)] {
            match reply {
                Ok(bytes) => writeln!(out, "  {who}: {}", shown(bytes))?,
                Err(reason) => writeln!(out, "  {who}: {reason}")?,
            }
        }
        let start = if self.reproduced { "from an empty server" } else { "after, among others" };
        writeln!(out, "  {start}:")?;
        for request in &self.before {
            writeln!(out, "    {}", cut(&typed(&request.args)))?;
        }
        writeln!(out, "    {}", cut(&typed(&self.request.args)))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(400).collect()
}

/// What two differences have in common that have one cause: the command and, without their
/// numbers, the beginnings of both replies.
fn kind_of(request: &Request, ours: &Reply, redis: &Reply) -> String {
    let start = |reply: &Reply| match reply {
        Ok(bytes) => {
            let end = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
            escape(&bytes[..end.min(60)]).replace(|c: char| c.is_ascii_digit(), "")
        }
        Err(_) => "no reply".into(),
    };
    let name = escape(&request.args[0].to_ascii_uppercase());
    format!("{name} {} {}", start(ours), start(redis))
}

/// The requests before this one that name one of its arguments, or change the connection.
fn related(history: &[Request], request: &Request) -> Vec<Request> {
    let names: Vec<&Vec<u8>> = request.args.iter().skip(1).collect();
    const OF_ALL: [&[u8]; 12] = [
        b"HELLO",
        b"RESET",
        b"CLIENT",
        b"CONFIG",
        b"FLUSHALL",
        b"SELECT",
        b"SWAPDB",
        b"MULTI",
        b"EXEC",
        b"DISCARD",
        b"WATCH",
        b"UNWATCH",
    ];
    let before = history.iter().filter(|earlier| {
        let name = earlier.args[0].to_ascii_uppercase();
        OF_ALL.contains(&name.as_slice())
            || matches!(
                request.args[0].to_ascii_uppercase().as_slice(),
                b"KEYS" | b"SCAN" | b"DBSIZE"
            )
            || earlier.args.iter().skip(1).any(|arg| names.contains(&arg))
    });
    before.cloned().collect()
}

fn commands(otherwise: usize) -> usize {
    match std::env::var(COMMANDS_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{COMMANDS_VARIABLE}: {text}")),
        Err(_) => otherwise,
    }
}

#[track_caller]
fn compare_with_redis(test: &str, ours: SocketAddr, commands: usize) {
    let (oracle, seed) = (Oracle::start_with(REDIS_OPTIONS), seed(test));
    let started = Instant::now();
    let run = Run::new(ours, oracle.addr(), seed).compare(commands);
    assert!(run.differences.is_empty(), "{}", run.report(seed));
    run.check_coverage();
    println!("{test}: {} requests alike in {:?}", run.index, started.elapsed());
}

fn compare_server_with_redis(test: &str, shards: usize, commands: usize) {
    let server = Server::start_in_real_time_with(shards, |options| {
        options.databases = DATABASES;
        options.debug_access = DebugAccess::Local;
    });
    compare_with_redis(test, server.addr(), commands);
}

#[test]
fn random_requests_are_answered_as_by_redis_server_on_many_shards() {
    compare_server_with_redis("differential on many shards", 64, commands(COMMANDS));
}

#[test]
fn random_requests_are_answered_as_by_redis_server_on_one_shard() {
    compare_server_with_redis("differential on one shard", 1, commands(COMMANDS_ONE_SHARD));
}

#[test]
fn users_with_random_rights_are_answered_as_by_redis_server() {
    let server = Server::start_in_real_time_with(64, |options| {
        options.databases = DATABASES;
        options.debug_access = DebugAccess::Local;
    });
    let test = "users_with_random_rights_are_answered_as_by_redis_server";
    let (oracle, seed) = (Oracle::start_with(REDIS_OPTIONS), seed(test));
    let run = Run::new(server.addr(), oracle.addr(), seed).with_users();
    let run = run.compare(commands(COMMANDS_USERS));
    assert!(run.differences.is_empty(), "{}", run.report(seed));
    let succeeded: usize = run.successes.values().sum();
    println!("{test}: {} requests, {} denied, {succeeded} done", run.index, run.denied);
    assert!(run.denied > run.index / 10 && succeeded > run.index / 5);
}

#[test]
fn redis_server_agrees_with_itself() {
    let twin = Oracle::start_with(REDIS_OPTIONS);
    compare_with_redis("redis_server_agrees_with_itself", twin.addr(), COMMANDS_TWIN);
}

#[test]
fn a_planted_difference_is_found_and_reduced() {
    let plants: [(&[&str], &str, usize); 3] = [
        (&["--rename-command", "PERSIST", "KEEP"], "PERSIST", 0),
        (&["--databases", "2"], "SELECT", 0),
        (&["--hash-max-listpack-entries", "2"], "HGETALL", 8),
    ];
    for (options, command, before_max) in plants {
        let (oracle, planted) = (Oracle::start(), Oracle::start_with(options));
        let run = Run::new(planted.addr(), oracle.addr(), 1).compare(20_000);
        let found = run
            .differences
            .iter()
            .find(|found| found.request.args[0].eq_ignore_ascii_case(command.as_bytes()));
        let found = found.unwrap_or_else(|| panic!("{command} not found: {}", run.report(1)));
        assert!(found.reproduced && found.before.len() <= before_max, "{found}");
    }
}

#[test]
fn every_template_makes_requests() {
    let mut generator = Generator::new(seed("every_template_makes_requests"));
    for (_, form) in generate::all_forms() {
        for _ in 0..50 {
            assert!(generator.fill(form).iter().all(|request| !request.args.is_empty()), "{form}");
        }
    }
}
