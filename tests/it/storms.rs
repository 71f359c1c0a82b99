//! Many clients that misbehave, and limits of the system that are reached while the server runs:
//! it lives, its memory is bounded, others are served in time, and afterwards it is as before.
//!
//! Each runs against the program in a process of its own, beside a client that asks all the time
//! and notes how long it waits. The figures of docs/testing.md are those of the release build, on
//! the full scale: see there.

use crate::harness::process::Process;
use crate::harness::server::{Folder, Server};
use crate::harness::wire::Wire;
use socket2::SockRef;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The program to be tested, if it is not the one that was built with the tests.
const PROGRAM_VARIABLE: &str = "MY_REDIS_STORM_SERVER";
/// How many times as much as usual is done.
const SCALE_VARIABLE: &str = "MY_REDIS_STORM_SCALE";
/// Others wait no longer than this in 99 of 100 cases, in the build that is meant for use.
const P99_MAX: Duration = Duration::from_millis(20);
/// The same beside other tests, unoptimized.
const BUSY_P99_MAX: Duration = Duration::from_millis(200);
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Memory that a storm may leave: the allocator keeps some of what is freed for a while.
const LEFT_BYTES_MAX: u64 = 48 << 20;

fn scale() -> usize {
    std::env::var(SCALE_VARIABLE).map_or(1, |text| text.parse().expect("a number"))
}

/// The server, and what it was before the storm.
struct Subject {
    server: Process,
    _folder: Folder,
    name: &'static str,
    resident_bytes: u64,
    descriptors: usize,
    peak_bytes: u64,
}

impl Subject {
    fn start(name: &'static str, options: &[&str]) -> Self {
        let folder = Folder::new();
        let program = std::env::var_os(PROGRAM_VARIABLE)
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_my_redis_server")), PathBuf::from);
        let mut command = Command::new(program);
        command.current_dir(folder.path()).args(["--save", "off"]).args(options);
        let server = Process::start_command(command);
        let mut subject = Self {
            server,
            _folder: folder,
            name,
            resident_bytes: 0,
            descriptors: 0,
            peak_bytes: 0,
        };
        subject.eventually("no other client", |subject| subject.clients() == 1);
        subject.resident_bytes = subject.resident();
        subject.descriptors = subject.open_descriptors();
        subject
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.server.id()))
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024
    }

    fn open_descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count()
    }

    fn note_peak(&mut self) {
        self.peak_bytes = self.peak_bytes.max(self.resident());
    }

    /// Time on processors so far.
    fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    fn clients(&self) -> usize {
        let info = self.server.wire().run("INFO clients");
        let info = String::from_utf8(info).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[track_caller]
    fn eventually(&mut self, what: &str, is_so: impl Fn(&mut Self) -> bool) {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{}: {what}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails unless the server is as it was before, and others were served in time.
    #[track_caller]
    fn expect_as_before(mut self, others: Bystander, peak_bytes_max: u64) {
        let waits = others.end();
        self.eventually("clients are left", |subject| subject.clients() == 1);
        let before = self.descriptors;
        self.eventually("descriptors are left", |subject| subject.open_descriptors() <= before);
        let grown = |bytes: u64| bytes.saturating_sub(self.resident_bytes);
        let (peak, left) = (grown(self.peak_bytes), grown(self.resident()));
        println!(
            "{}: {} answers to others, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; memory +{:.1} MB \
             at most, +{:.1} MB at last; descriptors {before} before, {} after",
            self.name,
            waits.len(),
            quantile(&waits, 0.5).as_secs_f64() * 1e3,
            quantile(&waits, 0.99).as_secs_f64() * 1e3,
            quantile(&waits, 1.0).as_secs_f64() * 1e3,
            peak as f64 / 1e6,
            left as f64 / 1e6,
            self.open_descriptors()
        );
        let p99_max = match std::env::var_os(PROGRAM_VARIABLE) {
            Some(_) => P99_MAX,
            None => BUSY_P99_MAX,
        };
        assert!(quantile(&waits, 0.99) <= p99_max, "{}: others waited", self.name);
        assert!(peak <= peak_bytes_max, "{}: {peak} bytes of memory", self.name);
        assert!(left <= LEFT_BYTES_MAX, "{}: {left} bytes are left", self.name);
    }
}

fn quantile(waits: &[Duration], quantile: f64) -> Duration {
    waits[((waits.len() - 1) as f64 * quantile) as usize]
}

/// A client that asks all the time.
struct Bystander {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    fn begin(addr: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut wire = Wire::connect(addr);
            let mut waits = Vec::new();
            while !ends.load(Ordering::SeqCst) || waits.len() < 100 {
                let began = Instant::now();
                wire.expect("INCR bystander", format!(":{}\r\n", waits.len() + 1));
                waits.push(began.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
            waits
        });
        Self { over, thread }
    }

    /// How long it waited each time, in ascending order.
    fn end(self) -> Vec<Duration> {
        self.over.store(true, Ordering::SeqCst);
        let mut waits = self.thread.join().unwrap();
        waits.sort_unstable();
        waits
    }
}

/// A connection that ends by a reset.
fn resetting(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    stream
}

#[test]
fn clients_that_reset_in_the_middle_of_a_request_leave_nothing() {
    let mut subject = Subject::start("resets in mid-request", &[]);
    let others = Bystander::begin(subject.server.addr());
    let requests: [&[u8]; 5] = [
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000\r\nabc",
        b"*2\r\n$4\r\nBLPOP",
        b"*3\r\n$5\r\nBLPOP\r\n$7\r\nnothing\r\n$1\r\n0\r\n",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI",
        b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n",
    ];
    let count = 5_000 * scale();
    for number in 0..count {
        let mut stream = resetting(subject.server.addr());
        stream.write_all(requests[number % requests.len()]).unwrap();
        drop(stream);
        if number % 500 == 0 {
            subject.note_peak();
        }
    }
    println!("{count} clients");
    subject.expect_as_before(others, 64 << 20);
}

#[test]
fn announced_bytes_take_no_memory() {
    let mut subject = Subject::start("1,000 clients that announce 512 MB", &[]);
    let others = Bystander::begin(subject.server.addr());
    let clients: Vec<TcpStream> = (0..1_000)
        .map(|_| {
            let mut stream = resetting(subject.server.addr());
            stream.write_all(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$536870912\r\n").unwrap();
            stream.write_all(&[b'x'; 1_000]).unwrap();
            stream
        })
        .collect();
    subject.eventually("all are there", |subject| subject.clients() >= 1_000);
    for _ in 0..20 * scale() {
        subject.note_peak();
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(clients);
    subject.expect_as_before(others, 96 << 20);
}

#[test]
fn clients_that_send_a_byte_at_a_time_hold_up_nobody() {
    let mut subject = Subject::start("slow-loris of 1,000 clients", &["--timeout", "2"]);
    let others = Bystander::begin(subject.server.addr());
    let request = b"*2\r\n$4\r\nECHO\r\n$100\r\n";
    let mut clients: Vec<TcpStream> =
        (0..1_000).map(|_| resetting(subject.server.addr())).collect();
    for round in 0..10 * scale() {
        let byte = request.get(round).copied().unwrap_or(b'x');
        for client in &mut clients {
            // Who says too little for too long has been closed.
            let _closed = client.write_all(&[byte]);
        }
        subject.note_peak();
        std::thread::sleep(Duration::from_millis(100));
    }
    // Without another byte they are closed, while those who ask are not.
    subject.eventually("silent clients are closed", |subject| subject.clients() <= 2);
    subject.expect_as_before(others, 64 << 20);
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_before_memory_is_short() {
    let mut subject = Subject::start("a stuck subscriber", &[]);
    let others = Bystander::begin(subject.server.addr());
    let mut stuck = TcpStream::connect(subject.server.addr()).unwrap();
    stuck.write_all(b"SUBSCRIBE channel\r\n").unwrap();
    let mut publisher = subject.server.wire();
    publisher.run("PING");
    let message = vec![b'x'; 100_000];
    // One gigabyte at full scale.
    let count = 500 * scale();
    let mut reached = 0;
    for number in 0..count {
        let reply = publisher.command(&[&b"PUBLISH"[..], b"channel", &message]);
        reached += usize::from(reply == b":1\r\n");
        if number % 20 == 0 {
            subject.note_peak();
        }
    }
    drop(publisher);
    println!("{} MB published, {reached} of {count} messages before it was closed", count / 10);
    assert!((1..count).contains(&reached), "it was not closed");
    stuck.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
    let mut bytes = Vec::new();
    let _reset = stuck.read_to_end(&mut bytes);
    // The limit is 32 MB, and the system has buffers of its own.
    subject.expect_as_before(others, 96 << 20);
}

/// Changes a limit of the running process.
fn limit(server: &Process, limit: &str) {
    let id = server.id().to_string();
    let status = Command::new("prlimit").args(["--pid", &id, limit]).status().unwrap();
    assert!(status.success());
}

#[test]
fn without_descriptors_it_waits_without_haste_and_goes_on_when_there_are_some() {
    let mut subject = Subject::start("no descriptors for accept", &[]);
    let others = Bystander::begin(subject.server.addr());
    let mut witness = subject.server.wire();
    witness.run("PING");
    // Lowered while it runs: there is room for ten more, and a hundred come.
    let room_for_ten = subject.open_descriptors() + 10;
    limit(&subject.server, &format!("--nofile={room_for_ten}:20000"));
    let mut clients: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(subject.server.addr()).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let (began, before) = (Instant::now(), subject.processor_time());
    while began.elapsed() < Duration::from_secs(2) {
        witness.expect("PING", "+PONG\r\n");
        std::thread::sleep(Duration::from_millis(10));
    }
    let busy = (subject.processor_time() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("{:.1} % of a processor while nothing can be accepted", busy * 100.0);
    assert!(busy < 0.2, "it is in a hurry");
    let log = subject.server.log();
    assert!(log.contains("cannot accept connections"), "{log}");
    let complaints = log.matches("cannot accept connections").count();
    assert!(complaints <= 5, "{complaints} lines in two seconds");
    // Those that were let in leave, and the next ones are let in.
    let asked = Instant::now();
    let last = clients.pop().unwrap();
    limit(&subject.server, "--nofile=20000:20000");
    last.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
    (&last).write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    (&last).read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    println!("the last of 100 was answered {} ms later", asked.elapsed().as_millis());
    assert!(asked.elapsed() < Duration::from_secs(5));
    drop((clients, last, witness));
    subject.note_peak();
    subject.expect_as_before(others, 32 << 20);
}

#[test]
fn without_memory_the_process_ends_and_the_last_dump_is_whole() {
    let folder = Folder::new();
    let mut server = Process::start(folder.path(), &["--save", "off"]);
    let mut wire = server.wire();
    (0..1_000).for_each(|number| drop(wire.run(&format!("SET key:{number} {number}"))));
    wire.expect("SAVE", "+OK\r\n");
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size_kb: u64 = size.split_whitespace().next().unwrap().parse().unwrap();
    limit(&server, &format!("--as={}", size_kb * 1_024 + (64 << 20)));
    let mut writer = TcpStream::connect(server.addr()).unwrap();
    let value = vec![b'x'; 1 << 20];
    // What was announced and never comes would be no memory; these values come.
    let ended = (0..4_096).any(|number| {
        let head = format!("*3\r\n$3\r\nSET\r\n$4\r\n{number:04}\r\n${}\r\n", value.len());
        let sent = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&value));
        sent.and_then(|()| writer.write_all(b"\r\n")).is_err()
    });
    assert!(ended, "four gigabytes found room in 64 MB");
    assert!(!server.wait().success());
    let server = Process::start(folder.path(), &["--save", "off"]);
    server.wire().expect("DBSIZE", ":1000\r\n").expect("GET key:999", "$3\r\n999\r\n");
}

#[test]
fn a_clock_that_jumps_by_an_hour_kills_only_what_its_deadline_says() {
    let server = Server::start_with(16, |options| options.timeout_seconds = 600);
    let mut wire = server.wire();
    let mut waiting = server.wire();
    waiting.send("BLPOP list 30");
    wire.expect("SET short x EX 1800", "+OK\r\n").expect("SET long x EX 7200", "+OK\r\n");
    wire.expect("SET for-ever x", "+OK\r\n");
    const HOUR_MS: i64 = 3_600_000;
    server.advance_ms(HOUR_MS);
    wire.expect("EXISTS short long for-ever", ":2\r\n");
    wire.expect("TTL long", ":3600\r\n");
    let deadline = Instant::now() + STEP_TIMEOUT;
    while wire.run("DBSIZE") != b":2\r\n" {
        assert!(Instant::now() < deadline, "the dead key is still there");
    }
    server.advance_ms(-HOUR_MS);
    // What is gone does not come back, and nothing else has changed.
    wire.expect("EXISTS short long for-ever", ":2\r\n").expect("TTL long", ":7200\r\n");
    server.advance_ms(-HOUR_MS);
    wire.expect("TTL long", ":10800\r\n").expect("SET soon x PX 100", "+OK\r\n");
    server.advance_ms(101);
    wire.expect("EXISTS soon", ":0\r\n");
    // Who waits does so by a clock that does not jump, and so do those who are silent.
    wire.expect("RPUSH list element", ":1\r\n");
    waiting.expect_reply("*2\r\n$4\r\nlist\r\n$7\r\nelement\r\n");
    wire.expect("SAVE", "+OK\r\n").expect("DBSIZE", ":2\r\n");
}
