//! Servers under measurement: their start, their figures, their end.
//!
//! Every server gets a free port of loopback and a folder of its own, and ends with its value. What
//! it uses is read from /proc, so any program will do.

use super::bare;
use super::client::Client;
use super::{Outcome, output_of, text};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to start or to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a server is asked whether it answers yet.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// How many requests a filling connection sends before it reads the replies.
const FILL_BATCH: usize = 2_000;

/// A program, on one core only if that is asked for.
pub fn pinned(core: Option<&str>, program: &Path) -> Command {
    let Some(core) = core else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
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
        let folder = new_folder()?;
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

    /// Starts the bare loop.
    pub fn start_bare(core: Option<&str>) -> Outcome<Self> {
        let (program, port) = (std::env::current_exe().map_err(text)?, free_port()?);
        let mut command = pinned(core, &program);
        command.args([bare::FLAG, &port.to_string()]);
        let mut server = Self::spawn(command, &program, port, &new_folder()?)?;
        server.owns_folder = true;
        Ok(server)
    }

    fn launch(
        program: &Path,
        core: Option<&str>,
        folder: &Path,
        file: &str,
        more: &[&str],
    ) -> Outcome<Self> {
        let port = free_port()?;
        let mut command = pinned(core, program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
        // No save may fall into a measurement.
        command.args(["--dbfilename", file, "--save"]);
        command.arg(if is_redis(program) { "" } else { "off" }).args(more);
        Self::spawn(command, program, port, folder)
    }

    fn spawn(mut command: Command, program: &Path, port: u16, folder: &Path) -> Outcome<Self> {
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
}

/// True when the program is Redis' own.
fn is_redis(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == "redis-server")
}

/// A port of loopback that nobody listens to.
fn free_port() -> Outcome<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    Ok(probe.local_addr().map_err(text)?.port())
}

fn new_folder() -> Outcome<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("bench-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(text)?;
    Ok(folder)
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
