//! The server among the programs of a system: its log, process number, supervisor and metrics, and
//! the files of docs/deploy.

use crate::harness::process::{Process, free_port, program, refusal};
use crate::harness::server::Folder;
use my_redis::server::{METRICS_CONNECTIONS_MAX, METRICS_REQUEST_BYTES_MAX, METRICS_TIMEOUT};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long something may take that takes no time.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + STEP_TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_log_goes_to_a_file_that_may_be_moved_away() {
    let folder = Folder::new();
    let (log, moved) = (folder.path().join("server.log"), folder.path().join("server.log.1"));
    let mut server =
        Process::start(folder.path(), &["--logfile", "server.log", "--loglevel", "debug"]);
    eventually("the log is written", || read(&log).contains("ready to accept connections"));
    assert!(server.log().is_empty(), "{}", server.log());
    fs::rename(&log, &moved).unwrap();
    let before = read(&moved);
    server.signal("HUP");
    eventually("the log is written anew", || read(&log).contains("SIGHUP is ignored"));
    assert_eq!(read(&moved), before);
    assert!(server.wire().run("PING") == b"+PONG\r\n");
}

#[test]
fn a_log_that_cannot_be_written_keeps_the_server_from_starting() {
    let folder = Folder::new();
    let text = refusal(folder.path(), &["--logfile", "nowhere/server.log", "--port", "0"]);
    assert!(text.starts_with("Can't open the log file: nowhere/server.log: "), "{text}");
}

#[test]
fn the_process_number_is_in_its_file_while_the_server_runs() {
    let folder = Folder::new();
    let file = folder.path().join("server.pid");
    let mut server = Process::start(folder.path(), &["--pidfile", "server.pid"]);
    assert_eq!(read(&file), format!("{}\n", server.id()));
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!file.exists());
    // Without one the server serves all the same.
    let mut server = Process::start(folder.path(), &["--pidfile", "nowhere/server.pid"]);
    assert!(server.log().contains("Failed to write PID file"), "{}", server.log());
}

#[test]
fn a_server_in_the_background_outlives_who_has_started_it() {
    let folder = Folder::new();
    let (port, file) = (free_port(), folder.path().join("server.pid"));
    let options = ["--daemonize", "yes", "--pidfile", "server.pid", "--logfile", "server.log"];
    let mut command = program(folder.path(), &options);
    let mut starter = command.args(["--port", &port.to_string()]).spawn().unwrap();
    assert!(starter.wait().unwrap().success());
    let log = folder.path().join("server.log");
    eventually("it serves", || read(&log).contains("ready to accept connections"));
    let number: u32 = read(&file).trim().parse().unwrap();
    assert_ne!(number, starter.id());
    let mut wire = crate::harness::wire::Wire::connect(([127, 0, 0, 1], port).into());
    wire.expect("PING", "+PONG\r\n");
    wire.send("SHUTDOWN NOSAVE").read_to_close();
    eventually("it ends", || !file.exists());
}

/// Messages to a supervisor that is this test.
struct Supervisor {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Supervisor {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
        Self { socket, heard: Vec::new() }
    }

    /// Waits for a message with this line.
    #[track_caller]
    fn wait_for(&mut self, line: &str) {
        let mut buffer = [0; 4_096];
        loop {
            let count = self.socket.recv(&mut buffer);
            let count = count.unwrap_or_else(|e| panic!("no {line}: {e}; {:?}", self.heard));
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let is_it = text.lines().any(|one| one == line);
            self.heard.push(text);
            if is_it {
                return;
            }
        }
    }
}

fn server_info(server: &Process) -> String {
    String::from_utf8(server.wire().run("INFO server")).unwrap()
}

#[test]
fn a_supervisor_is_told_of_the_beginning_the_life_and_the_end() {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let mut supervisor = Supervisor::listen(&path);
    let mut command = program(folder.path(), &["--supervised", "systemd"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut server = Process::start_command(command);
    supervisor.wait_for("READY=1");
    supervisor.wait_for("WATCHDOG=1");
    supervisor.wait_for("WATCHDOG=1");
    assert!(server_info(&server).contains("process_supervised:systemd\r"));
    server.signal("TERM");
    supervisor.wait_for("STOPPING=1");
    assert!(server.wait().success());
    // Who does not ask for it tells nobody.
    supervisor.socket.set_nonblocking(true).unwrap();
    while supervisor.socket.recv(&mut [0; 4_096]).is_ok() {}
    let mut command = program(folder.path(), &[]);
    let server = Process::start_command({
        command.env("NOTIFY_SOCKET", &path);
        command
    });
    server.wire().expect("PING", "+PONG\r\n");
    assert!(supervisor.socket.recv(&mut [0; 16]).is_err());
    assert!(server_info(&server).contains("process_supervised:no\r"));
}

/// What a request for metrics is answered.
fn ask(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
    // Who has heard enough may close before all is sent.
    let _sent = stream.write_all(request);
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// A server with metrics, and where they are.
fn with_metrics(folder: &Folder) -> (Process, SocketAddr) {
    let port = free_port();
    let server = Process::start(folder.path(), &["--metrics-port", &port.to_string()]);
    (server, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The metrics as samples; fails unless they are what the format wants.
fn scrape(addr: SocketAddr) -> BTreeMap<String, f64> {
    let answer = ask(addr, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/openmetrics-text"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in body.lines() {
        if let Some(words) = line.strip_prefix("# TYPE ") {
            let (name, kind) = words.split_once(' ').unwrap();
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {name}");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        let ends = ["_total", "_bucket", "_sum", "_count", ""];
        let known = ends.iter().find_map(|end| kinds.get(family.strip_suffix(end)?));
        assert!(known.is_some(), "of no type: {line}");
        let value: f64 = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {name}");
    }
    samples
}

#[test]
fn metrics_are_those_of_info() {
    let folder = Folder::new();
    let (server, addr) = with_metrics(&folder);
    let mut wire = server.wire();
    for number in 0..300 {
        wire.run(&format!("SET key:{number} x"));
    }
    wire.run("EXPIRE key:1 1000");
    wire.run("GET nothing");
    wire.run("INCR key:2");
    wire.run("SET key");
    wire.run("SAVE");
    let samples = scrape(addr);
    let of = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name}: {samples:#?}"));
    assert_eq!(of("my_redis_database_keys{database=\"0\"}"), 300.0);
    assert_eq!(of("my_redis_database_expiring_keys{database=\"0\"}"), 1.0);
    let shards = samples.iter().filter(|(name, _)| name.starts_with("my_redis_shard_keys"));
    assert_eq!(shards.map(|(_, keys)| keys).sum::<f64>(), 300.0);
    assert_eq!(of("my_redis_command_calls_total{command=\"set\"}"), 300.0);
    assert_eq!(of("my_redis_command_rejected_calls_total{command=\"set\"}"), 1.0);
    assert_eq!(of("my_redis_command_failed_calls_total{command=\"incr\"}"), 1.0);
    assert_eq!(of("my_redis_errors_total{code=\"ERR\"}"), 2.0);
    assert_eq!(of("my_redis_keyspace_misses_total"), 1.0);
    assert_eq!(of("my_redis_save_last_status"), 1.0);
    assert_eq!(of("my_redis_saves_total"), 1.0);
    assert!(of("my_redis_save_dump_bytes") > 300.0);
    assert!(of("my_redis_memory_resident_bytes") > 1e6);
    assert_eq!(of("my_redis_maxmemory_bytes"), 0.0);
    // Less than what is in use: keys give way.
    wire.expect("CONFIG SET maxmemory-policy allkeys-random maxmemory 100000", "+OK\r\n");
    eventually("all keys give way", || server.wire().run("DBSIZE") == b":0\r\n");
    let later = scrape(addr);
    let stats = String::from_utf8(wire.run("INFO stats")).unwrap();
    let evicted = stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
    assert_eq!(evicted, "300");
    assert_eq!(later.get("my_redis_evicted_keys_total"), evicted.parse().ok().as_ref());
    assert_eq!(later.get("my_redis_maxmemory_bytes"), Some(&1e5));
    assert!(later.get("my_redis_memory_used_bytes").is_some_and(|used| *used > 1e5));
    assert!(of("my_redis_connected_clients") >= 1.0);
    // A histogram: buckets that grow, up to the number of all calls.
    let label = "{le=\"+Inf\",command=\"set\"}";
    let whole = of(&format!("my_redis_command_duration_seconds_bucket{label}"));
    assert_eq!(whole, 300.0);
    assert_eq!(of("my_redis_command_duration_seconds_count{command=\"set\"}"), 300.0);
    let sum = of("my_redis_command_duration_seconds_sum{command=\"set\"}");
    let buckets = samples.iter().filter_map(|(name, calls)| {
        let bounds = name.strip_prefix("my_redis_command_duration_seconds_bucket{le=\"")?;
        let (bound, command) = bounds.split_once('"')?;
        let bound = bound.replace("+Inf", "inf").parse::<f64>().unwrap();
        (command == ",command=\"set\"}").then_some((bound, *calls))
    });
    let mut buckets: Vec<(f64, f64)> = buckets.collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert_eq!(buckets.len(), 21, "{buckets:?}");
    assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{buckets:?}");
    let least = buckets.iter().scan(0.0, |before, (bound, calls)| {
        let alone = calls - std::mem::replace(before, *calls);
        Some(if bound.is_finite() { alone * bound } else { 0.0 })
    });
    assert!(least.sum::<f64>() >= sum * 0.9, "{buckets:?} {sum}");
}

#[test]
fn who_asks_for_metrics_wrongly_or_slowly_is_bounded() {
    let folder = Folder::new();
    let (server, addr) = with_metrics(&folder);
    let status = |request: &[u8]| ask(addr, request).lines().next().unwrap_or_default().to_owned();
    assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(status(b"POST /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(status(b"GET /metrics\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(status(b"*1\r\n$4\r\nPING\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(status(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK");
    let head = ask(addr, b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let endless = vec![b'x'; METRICS_REQUEST_BYTES_MAX + 1];
    assert_eq!(ask(addr, &endless), "");
    // All places are taken by those who say nothing; they are closed in time.
    let began = Instant::now();
    let mut silent: Vec<TcpStream> = (0..METRICS_CONNECTIONS_MAX)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(b"GET /met").unwrap();
            stream
        })
        .collect();
    let mut further = TcpStream::connect(addr).unwrap();
    further.set_read_timeout(Some(METRICS_TIMEOUT / 2)).unwrap();
    assert!(!further.read(&mut [0; 1]).is_ok_and(|count| count > 0));
    assert!(began.elapsed() < METRICS_TIMEOUT / 2, "the one too many waits");
    server.wire().expect("PING", "+PONG\r\n");
    for stream in &mut silent {
        stream.set_read_timeout(Some(METRICS_TIMEOUT * 2)).unwrap();
        // A reset says the same as the end.
        assert!(!stream.read(&mut [0; 1]).is_ok_and(|count| count > 0));
    }
    assert!(began.elapsed() > METRICS_TIMEOUT - Duration::from_secs(1), "closed too soon");
    scrape(addr);
}

#[test]
fn the_files_of_docs_deploy_fit_the_server() {
    let folder = Folder::new();
    let metrics = free_port();
    let conf = deploy("my_redis.conf");
    let metrics_port = metrics.to_string();
    let mut options = vec![conf.to_str().unwrap(), "--dir", "."];
    options.extend(["--metrics-port", &metrics_port, "--supervised", "no"]);
    let server = Process::start(folder.path(), &options);
    server.wire().run("SET key value");
    server.wire().run("SET key");
    let samples = scrape(SocketAddr::from(([127, 0, 0, 1], metrics)));
    let names: BTreeSet<&str> =
        samples.keys().map(|name| name.split('{').next().unwrap()).collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(&read(&deploy("grafana.json"))).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut seen = 0;
    for expression in expressions {
        let text = expression["expr"].as_str().unwrap();
        let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        for name in words.filter(|word| word.starts_with("my_redis_")) {
            assert!(names.contains(name), "the dashboard asks for {name}, which is not there");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
    let unit = read(&deploy("my_redis.service"));
    assert!(unit.contains("Type=notify") && unit.contains("--supervised systemd"), "{unit}");
}
