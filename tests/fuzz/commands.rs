//! Fuzz target: sequences of commands, as a client that knows the commands would send them. Every
//! request is answered once; whatever they have left is consistent, and a save and a load bring all
//! of it back.
//!
//! The bytes choose commands of the table, keys from a few, numbers and words that mean something
//! to a command, so that nearly every request gets far. The server is a whole one, in this process,
//! with a clock that stands still unless the input moves it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use my_redis::command::spec::{Arity, CommandSpec, Group, Run};
use my_redis::command::table;
use my_redis::config::{DebugAccess, StartOptions};
use my_redis::protocol::response::{ResponseDecoder, Value};
use my_redis::server::Server;
use my_redis::util::allocator::CountingAllocator;
use my_redis::util::clock::Clock;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Requests of one input at most.
const REQUESTS_MAX: usize = 60;
/// Arguments beyond those that a command needs.
const MORE_ARGUMENTS_MAX: u8 = 5;
const KEYS: u8 = 5;
const DATABASES: usize = 2;
/// A string, and with it any answer that a client can make longer, is no longer than this.
const STRING_LIMIT: &str = "1mb";
/// A key that is due is removed in this time, however busy the machine; less than libFuzzer's
/// timeout of `run`.
const SWEEP_WAIT_MAX: Duration = Duration::from_secs(4);

/// Groups of which nothing can end or hold up the server.
const GROUPS: [Group; 11] = [
    Group::Generic,
    Group::String,
    Group::Bitmap,
    Group::HyperLogLog,
    Group::List,
    Group::Hash,
    Group::Set,
    Group::SortedSet,
    Group::Stream,
    Group::Geo,
    Group::Transactions,
];
/// Commands of others that are worth it.
const OTHERS: [&str; 5] = ["FLUSHDB", "FLUSHALL", "DBSIZE", "SELECT", "SWAPDB"];

const WORDS: [&[u8]; 56] = [
    b"0",
    b"1",
    b"2",
    b"3",
    b"-1",
    b"-2",
    b"7",
    b"10",
    b"63",
    b"64",
    b"100",
    b"1000",
    b"4096",
    b"65535",
    b"2147483648",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"1.5",
    b"-0",
    b"0.1",
    b"1e10",
    b"inf",
    b"-inf",
    b"nan",
    b"1e400",
    b"",
    b"a",
    b"b",
    b"c",
    b"member",
    b"field",
    b"(1",
    b"(a",
    b"[a",
    b"[c",
    b"-",
    b"+",
    b"$",
    b"*",
    b">",
    b"0-0",
    b"0-1",
    b"1-1",
    b"5-*",
    b"k*",
    b"[k",
    b"u8",
    b"i64",
    b"#1",
    b"m",
    b"13.36",
    b"38.11",
    b"\x00\xff",
    b"\r\n",
    b"12345",
    b"a-text-of-more-than-sixty-four-bytes-which-no-packed-form-of-redis-takes-at-its-defaults",
];

/// A row, and the words of its syntax that mean something.
struct Known {
    spec: &'static CommandSpec,
    name: Vec<Vec<u8>>,
    least: usize,
    blocks: bool,
    options: Vec<&'static str>,
}

static COMMANDS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let all = table::numbered().iter().map(|row| (row.name().to_owned(), row.spec));
    let is_wanted = |(name, spec): &(String, &CommandSpec)| {
        GROUPS.contains(&spec.group) || OTHERS.contains(&name.to_uppercase().as_str())
    };
    let known = |(name, spec): (String, &'static CommandSpec)| {
        let is_word = |word: &&str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
        let (Arity::Exact(least) | Arity::AtLeast(least)) = spec.arity;
        Known {
            spec,
            name: name.split('|').map(|part| part.as_bytes().to_vec()).collect(),
            least: usize::try_from(least).unwrap_or(1),
            blocks: matches!(spec.run, Run::Block(..) | Run::ReadOrBlock(..)),
            options: spec.syntax.split([' ', '[', ']', '|']).filter(is_word).collect(),
        }
    };
    all.filter(is_wanted).map(known).collect()
});

/// The server, and the one connection to it.
struct Fixture {
    stream: TcpStream,
    decoder: ResponseDecoder,
    input: Vec<u8>,
    clock: Arc<AtomicI64>,
    begin: i64,
    wake: Box<dyn Fn() + Send + Sync>,
}

static FIXTURE: LazyLock<Mutex<Fixture>> = LazyLock::new(|| Mutex::new(Fixture::start()));

fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = base.join(format!("my-redis-fuzz-commands-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

impl Fixture {
    fn start() -> Self {
        let begin = Clock::System.now().0;
        let clock = Arc::new(AtomicI64::new(begin));
        let (sender, started) = std::sync::mpsc::channel();
        let its_clock = Clock::Manual(Arc::clone(&clock));
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let options = StartOptions {
                    port: 0,
                    dir: folder(),
                    save: Vec::new(),
                    shards: 4,
                    databases: DATABASES,
                    debug_access: DebugAccess::All,
                    ..StartOptions::default()
                };
                let mut server = Server::start(options, its_clock).await.expect("a server");
                server.wait_until_loaded().await.expect("an empty server");
                let wake = Box::new(server.waker()) as Box<dyn Fn() + Send + Sync>;
                sender.send((server.addresses()[0], wake)).expect("somebody waits");
                std::future::pending::<()>().await;
            });
        });
        let (address, wake) = started.recv().expect("a server");
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let decoder = ResponseDecoder::new();
        let mut fixture = Self { stream, decoder, input: Vec::new(), clock, begin, wake };
        fixture.ask(&["CONFIG", "SET", "proto-max-bulk-len", STRING_LIMIT]);
        fixture
    }

    fn response(&mut self) -> Value {
        let mut chunk = [0; 64 * 1024];
        loop {
            let (used, value) = self.decoder.decode(&self.input).expect("a reply");
            self.input.drain(..used);
            if let Some(value) = value {
                return value;
            }
            let read = match self.stream.read(&mut chunk) {
                // libFuzzer has an alarm.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("a reply"),
            };
            assert!(read > 0, "the connection was closed");
            self.input.extend_from_slice(&chunk[..read]);
        }
    }

    fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.stream.write_all(&encoded(args)).expect("a server");
        self.response()
    }

    fn integer(&mut self, args: &[&[u8]]) -> i64 {
        match self.ask(args) {
            Value::Integer(number) => number,
            other => panic!("{args:?} is answered {other:?}"),
        }
    }

    fn text(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let value = self.ask(args);
        value.text().unwrap_or_else(|| panic!("{args:?} is answered {value:?}")).to_vec()
    }

    /// The keys that are there, and no other is counted. One that is due is hidden from KEYS at
    /// once, and DBSIZE counts it until the sweeper, a thread of its own, has removed it.
    fn keys(&mut self) -> Vec<Value> {
        let asked = Instant::now();
        loop {
            let Value::Array(keys) = self.ask(&[&b"KEYS"[..], b"*"]) else { panic!("no keys") };
            let counted = self.integer(&[b"DBSIZE"]);
            if counted == keys.len() as i64 {
                return keys;
            }
            assert!(asked.elapsed() < SWEEP_WAIT_MAX, "DBSIZE is {counted}, and KEYS is {keys:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whatever is there is whole: every key that is listed has a type and something in it.
    fn check(&mut self) {
        for key in self.keys() {
            let key = key.text().expect("a key").to_vec();
            let kind = self.text(&[b"TYPE", &key]);
            let length: &[u8] = match kind.as_slice() {
                b"string" => b"STRLEN",
                b"list" => b"LLEN",
                b"hash" => b"HLEN",
                b"set" => b"SCARD",
                b"zset" => b"ZCARD",
                b"stream" => b"XLEN",
                other => panic!("{key:?} is of type {}", String::from_utf8_lossy(other)),
            };
            let length = self.integer(&[length, &key]);
            let may_be_empty = kind == b"string" || kind == b"stream";
            assert!(length > 0 || (length == 0 && may_be_empty), "{key:?} has {length}");
            assert!(self.integer(&[b"MEMORY", b"USAGE", &key]) > 0);
            assert!(!self.text(&[b"OBJECT", b"ENCODING", &key]).is_empty());
            let dumped = self.text(&[b"DUMP", &key]);
            let restored = self.ask(&[&b"RESTORE"[..], b"copy", b"0", &dumped, b"REPLACE"]);
            assert_eq!(restored.text(), Some(&b"OK"[..]), "{key:?} cannot be restored");
            let digests = self.ask(&[&b"DEBUG"[..], b"DIGEST-VALUE", &key, b"copy"]);
            let digests = digests.elements().expect("two digests");
            // A key's deadline is a part of its digest.
            if self.integer(&[b"PTTL", &key]) == -1 {
                assert_eq!(digests[0].text(), digests[1].text(), "{key:?} after RESTORE");
            }
            self.integer(&[b"DEL", b"copy"]);
        }
    }
}

fn encoded<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// The bytes of the input, one after the other.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn next(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    fn key(&mut self) -> Vec<u8> {
        format!("k{}", self.next().unwrap_or(0) % KEYS).into_bytes()
    }

    /// One of the words, an option of the command, a key, or some bytes of the input.
    fn word(&mut self, command: &Known) -> Vec<u8> {
        match self.next().unwrap_or(0) {
            number @ 0..112 => WORDS[usize::from(number) % WORDS.len()].to_vec(),
            number @ 112..192 => match command.options.len() {
                0 => WORDS[usize::from(number) % WORDS.len()].to_vec(),
                count => command.options[usize::from(number) % count].as_bytes().to_vec(),
            },
            192..224 => self.key(),
            number => self.0.by_ref().take(usize::from(number) % 12).copied().collect(),
        }
    }

    /// One request of the commands of the table; `None` at the end of the input.
    fn request(&mut self, is_queued: bool) -> Option<Vec<Vec<u8>>> {
        let (high, low) = (self.next()?, self.next()?);
        let number = usize::from(high) << 8 | usize::from(low);
        let command = &COMMANDS[number % COMMANDS.len()];
        if command.blocks && !is_queued {
            return Some(vec![b"PING".to_vec()]);
        }
        let mut args = command.name.clone();
        let count = command.least + usize::from(self.next()? % (MORE_ARGUMENTS_MAX + 1));
        let is_key = |at: usize| {
            command.spec.keys.first().is_some_and(|keys| {
                let last = match usize::try_from(keys.last) {
                    Ok(further) => keys.first + further,
                    Err(_) if keys.is_counted() => keys.first + 1,
                    Err(_) => usize::MAX,
                };
                (keys.first..=last).contains(&at) && (at - keys.first) % keys.step.max(1) == 0
            })
        };
        while args.len() < count {
            let argument = if is_key(args.len()) { self.key() } else { self.word(command) };
            args.push(argument);
        }
        Some(args)
    }
}

fuzz_target!(|input: &[u8]| {
    let mut fixture = FIXTURE.lock().unwrap_or_else(PoisonError::into_inner);
    let fixture = &mut *fixture;
    let Some((flags, input)) = input.split_first() else { return };
    let mut choices = Choices(input.iter());
    let (mut requests, mut is_queued) = (Vec::new(), false);
    while requests.len() < REQUESTS_MAX
        && let Some(request) = choices.request(is_queued)
    {
        match request[0].to_ascii_uppercase().as_slice() {
            b"MULTI" => is_queued = true,
            b"EXEC" | b"DISCARD" => is_queued = false,
            _ => {}
        }
        requests.push(request);
    }
    fixture.clock.store(fixture.begin, Ordering::SeqCst);
    for request in [&["FLUSHALL"][..], &["SELECT", "0"], &["UNWATCH"]] {
        assert_eq!(fixture.ask(request).text(), Some(&b"OK"[..]));
    }
    // In one piece, as a pipeline, or one by one.
    let bytes = requests.iter().flat_map(|request| encoded(request)).collect::<Vec<u8>>();
    if flags & 1 == 0 {
        fixture.stream.write_all(&bytes).expect("a server");
        requests.iter().for_each(|_| drop(fixture.response()));
    } else {
        requests.iter().for_each(|request| drop(fixture.ask(request)));
    }
    fixture.ask(&["DISCARD"]);
    assert_eq!(
        fixture.ask(&["ECHO", "marker"]).text(),
        Some(&b"marker"[..]),
        "replies and requests"
    );
    if flags & 2 != 0 {
        fixture.clock.fetch_add(1_500, Ordering::SeqCst);
        (fixture.wake)();
    }
    for database in 0..DATABASES {
        fixture.ask(&["SELECT", &database.to_string()]);
        fixture.check();
    }
    let before = fixture.text(&[b"DEBUG", b"DIGEST"]);
    if flags & 12 == 0 {
        assert_eq!(fixture.text(&[b"DEBUG", b"RELOAD"]), b"OK");
        assert_eq!(fixture.text(&[b"DEBUG", b"DIGEST"]), before, "after saving and loading");
    }
});
