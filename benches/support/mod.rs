//! What the benches that run whole servers share: starting one, filling it, reading its figures.
//!
//! Every server gets a free port of loopback and a folder of its own, and ends with its value.

#![allow(dead_code, reason = "each bench uses its own part")]

pub mod probe;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What can go wrong here ends the bench with a line.
pub type Outcome<T> = Result<T, String>;

/// How long a server may take to start or to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a server is asked whether it answers yet.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// How many requests a filling connection sends before it reads the replies.
const FILL_BATCH: usize = 2_000;

/// The release build of this server.
pub const OURS: &str = env!("CARGO_BIN_EXE_my_redis_server");

/// A program, on one core only if that is asked for.
pub fn pinned(core: Option<&str>, program: &Path) -> Command {
    let Some(core) = core else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// Reads a positive number of the command line.
pub fn number(text: &str) -> Outcome<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("not a positive number: {text}")),
    }
}

/// A server under measurement.
pub struct Server {
    process: Child,
    /// Where it listens.
    pub port: u16,
    /// Where it saves.
    pub folder: PathBuf,
    owns_folder: bool,
    /// How long it took until it answered.
    pub start_seconds: f64,
}

impl Server {
    /// Starts `program` in a folder of its own, on `core` if one is named, and waits until it
    /// answers.
    pub fn start(program: &Path, core: Option<&str>) -> Outcome<Self> {
        Self::start_with(program, core, &[])
    }

    /// As [`start`](Self::start), with more arguments.
    pub fn start_with(program: &Path, core: Option<&str>, more: &[&str]) -> Outcome<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(text)?;
        let mut server = Self::launch(program, core, &folder, "dump.rdb", more)?;
        server.owns_folder = true;
        Ok(server)
    }

    /// As [`start`](Self::start), on a dump in a folder that stays; waits until it is loaded.
    pub fn start_on(
        program: &Path,
        core: Option<&str>,
        folder: &Path,
        file: &str,
    ) -> Outcome<Self> {
        Self::launch(program, core, folder, file, &[])
    }

    fn launch(
        program: &Path,
        core: Option<&str>,
        folder: &Path,
        file: &str,
        more: &[&str],
    ) -> Outcome<Self> {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
        let port = probe.local_addr().map_err(text)?.port();
        drop(probe);
        let mut command = pinned(core, program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
        // No save may fall into a measurement.
        command.args(["--dbfilename", file, "--save"]);
        command.arg(if is_redis(program) { "" } else { "off" }).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let process = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        let folder = folder.to_owned();
        let mut server = Self { process, port, folder, owns_folder: false, start_seconds: 0.0 };
        server.wait_ready(began).map_err(|e| format!("{}: {e}", program.display()))?;
        server.start_seconds = began.elapsed().as_secs_f64();
        Ok(server)
    }

    fn wait_ready(&mut self, began: Instant) -> Outcome<()> {
        while began.elapsed() < ANSWER_TIMEOUT {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("ended at once, {status}"));
            }
            let pong = Client::connect(self.port).and_then(|mut client| client.ask(&[b"PING"]));
            if pong.is_ok() {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err("does not answer".into())
    }

    /// Sends requests that are answered by one line each; an error is an error.
    pub fn fill(&self, requests: impl Iterator<Item = Vec<u8>>) -> Outcome<()> {
        self.fill_lines(requests, 1)
    }

    /// As [`fill`](Self::fill), with so many lines for an answer.
    pub fn fill_lines(&self, requests: impl Iterator<Item = Vec<u8>>, lines: usize) -> Outcome<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(text)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(text)?;
        let mut requests = requests.peekable();
        let mut chunk = vec![0; 64 * 1024];
        while requests.peek().is_some() {
            let batch: Vec<Vec<u8>> = requests.by_ref().take(FILL_BATCH).collect();
            let mut missing = batch.len() * lines;
            let mut writer = stream.try_clone().map_err(text)?;
            let writing = std::thread::spawn(move || writer.write_all(&batch.concat()));
            while missing > 0 {
                let length = stream.read(&mut chunk).map_err(text)?;
                let replies = chunk.get(..length).unwrap_or_default();
                let is_error =
                    replies.starts_with(b"-") || replies.windows(2).any(|two| two == b"\n-");
                if length == 0 || is_error {
                    return Err(format!("answered {}", String::from_utf8_lossy(replies)));
                }
                missing -= replies.iter().filter(|byte| **byte == b'\n').count().min(missing);
            }
            writing.join().map_err(|_| "the writer panicked")?.map_err(text)?;
        }
        Ok(())
    }

    /// The seconds of processor time used since the start.
    pub fn processor_seconds(&self) -> Outcome<f64> {
        let ticks: f64 =
            output_of("getconf", &["CLK_TCK"]).parse().map_err(|_| "getconf CLK_TCK")?;
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(path).map_err(text)?;
        // The name in brackets may hold blanks; user and system time are the 12th and 13th after.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let used = after_name.split_whitespace().skip(11).take(2);
        let used: Vec<f64> = used.map(|field| field.parse().unwrap_or(f64::NAN)).collect();
        Ok(used.iter().sum::<f64>() / ticks)
    }

    /// The processor time of every thread so far.
    pub fn thread_times(&self) -> Outcome<ThreadTimes> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let mut times = HashMap::new();
        for task in tasks.map_err(text)? {
            let path = task.map_err(text)?.path();
            // A thread may end while it is looked at.
            let line = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let nanos = line.split(' ').next().and_then(|nanos| nanos.parse().ok());
            times.insert(path, nanos.unwrap_or(0));
        }
        Ok(ThreadTimes(times))
    }

    /// The bytes of memory that only this process and its children use.
    pub fn memory_bytes(&self) -> Outcome<f64> {
        let own = private_bytes(self.process.id())?;
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let children = std::fs::read_to_string(children).map_err(text)?;
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        // A child may end while it is looked at.
        let of_children: f64 = pids.filter_map(|pid| private_bytes(pid).ok()).sum();
        Ok(own + of_children)
    }

    /// The version the server tells.
    pub fn version(&self, program: &Path) -> String {
        let output = Command::new(program).arg("--version").output();
        let output = output.map(|output| output.stdout).unwrap_or_default();
        let line = String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned();
        let version = line.split_whitespace().find_map(|word| word.strip_prefix("v="));
        version.map_or(line.clone(), |version| format!("Redis {version}"))
    }
}

/// Nanoseconds of processor time by thread: finer than the clock ticks of the whole process.
pub struct ThreadTimes(HashMap<PathBuf, u64>);

impl ThreadTimes {
    /// The nanoseconds that were used since `before` by threads that have not ended.
    pub fn since(&self, before: &Self) -> u64 {
        let used = self.0.iter().map(|(thread, nanos)| {
            nanos.saturating_sub(before.0.get(thread).copied().unwrap_or(0))
        });
        used.sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if self.owns_folder {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A process' part of the memory, shared pages divided by those who share them.
fn private_bytes(pid: u32) -> Outcome<f64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(text)?;
    let line = maps.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kilobytes: f64 = kilobytes.and_then(|kb| kb.trim().parse().ok()).ok_or("no Pss")?;
    Ok(kilobytes * 1024.0)
}

/// One connection that asks and waits for each answer.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects to a server of this machine.
    pub fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(text)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends one request; gives the line of a simple reply or the bytes of a bulk one.
    pub fn ask(&mut self, args: &[&[u8]]) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&self.ask_bytes(args)?).trim_end().to_owned())
    }

    /// As [`ask`](Self::ask); gives all strings and numbers of a reply, however nested.
    pub fn ask_all(&mut self, args: &[&[u8]]) -> Outcome<Vec<String>> {
        self.0.get_mut().write_all(&request(args)).map_err(text)?;
        let (mut values, mut all) = (1, Vec::new());
        while values > 0 {
            values -= 1;
            let mut line = String::new();
            self.0.read_line(&mut line).map_err(text)?;
            let line = line.trim_end();
            match (line.get(..1), line.get(1..).and_then(|size| size.parse::<usize>().ok())) {
                (Some("*"), Some(size)) => values += size,
                (Some("$"), Some(size)) => {
                    let mut bytes = vec![0; size + 2];
                    self.0.read_exact(&mut bytes).map_err(text)?;
                    all.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
                }
                (Some("-") | None, _) => return Err(line.to_owned()),
                _ => all.push(line.get(1..).unwrap_or_default().to_owned()),
            }
        }
        Ok(all)
    }

    /// As [`ask`](Self::ask), all bytes as they come.
    pub fn ask_bytes(&mut self, args: &[&[u8]]) -> Outcome<Vec<u8>> {
        self.0.get_mut().write_all(&request(args)).map_err(text)?;
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(text)?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("-", error)) => Err(error.to_owned()),
            Some(("$", length)) => {
                let Ok(length) = length.parse::<usize>() else {
                    return Ok(Vec::new());
                };
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).map_err(text)?;
                bytes.truncate(length);
                Ok(bytes)
            }
            Some((_, rest)) => Ok(rest.as_bytes().to_owned()),
            None => Err("the connection has ended".into()),
        }
    }
}

/// A connection that counts replies and reads no more of them than it must.
pub struct Pipe {
    stream: TcpStream,
    chunk: Vec<u8>,
    /// What has been read and not yet looked at.
    rest: Vec<u8>,
}

impl Pipe {
    /// Connects to a server of this machine.
    pub fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(text)?;
        Ok(Self { stream, chunk: vec![0; 256 * 1024], rest: Vec::new() })
    }

    /// Sends requests without waiting for a reply.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes).map_err(text)
    }

    /// Reads that many replies; an error among them is an error.
    pub fn receive(&mut self, replies: usize) -> Outcome<()> {
        let (mut values, mut skip) = (replies, 0);
        while values > 0 || skip > 0 {
            let mut at = 0;
            loop {
                let step = skip.min(self.rest.len() - at);
                at += step;
                skip -= step;
                let left = self.rest.get(at..).unwrap_or_default();
                let end = left.iter().position(|byte| *byte == b'\n');
                let (Some(end), true) = (end, skip == 0 && values > 0) else {
                    break;
                };
                let line = String::from_utf8_lossy(left.get(..end).unwrap_or_default());
                let size = line.get(1..).and_then(|size| size.trim_end().parse::<usize>().ok());
                match line.bytes().next() {
                    Some(b'-') => return Err(line.trim_end().to_owned()),
                    Some(b'$') => skip = size.map_or(0, |size| size + 2),
                    Some(b'*') => values += size.unwrap_or(0),
                    _ => {}
                }
                at += end + 1;
                values -= 1;
            }
            self.rest.drain(..at);
            if values > 0 || skip > 0 {
                let length = self.stream.read(&mut self.chunk).map_err(text)?;
                if length == 0 {
                    return Err("the connection has ended".into());
                }
                self.rest.extend_from_slice(self.chunk.get(..length).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Sends requests and meanwhile reads that many replies.
    pub fn exchange(&mut self, requests: &[u8], replies: usize) -> Outcome<()> {
        let mut writer = self.stream.try_clone().map_err(text)?;
        std::thread::scope(|scope| {
            let sending = scope.spawn(move || writer.write_all(requests).map_err(text));
            self.receive(replies)?;
            sending.join().map_err(|_| "the writer panicked")?
        })
    }
}

/// True when the program is Redis' own.
pub fn is_redis(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == "redis-server")
}

/// An error of the system as a line.
pub fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// A request as bytes.
pub fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The middle of some values.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    (upper + lower) / 2.0
}

/// Prints which servers and which machine the figures below are of.
pub fn heading(ours: &str, redis: &str) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("## {ours} beside {redis}\n");
    println!(
        "{}, {}, {cores} cores, Linux {}.",
        output_of("date", &["-u", "+%Y-%m-%d"]),
        model.unwrap_or("unknown processor").trim(),
        output_of("uname", &["-r"]),
    );
}

/// What a program prints, without blanks around it.
pub fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The programs that a measurement calls must be there.
pub fn check_programs(redis: &Path) -> Outcome<()> {
    let needed: [(&Path, &str); 3] = [
        (redis, "redis-server"),
        (Path::new("redis-benchmark"), "redis-tools"),
        (Path::new("taskset"), "util-linux"),
    ];
    for (program, package) in needed {
        Command::new(program).arg("--version").output().map_err(|e| {
            format!("{}: {e}; install the Debian package {package}", program.display())
        })?;
    }
    Ok(())
}
