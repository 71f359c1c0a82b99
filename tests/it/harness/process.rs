//! The server program in a process of its own, for what a server in this process cannot show:
//! signals, exit codes, sudden death.

use crate::harness::wire::Wire;
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io::{Read, Seek};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the program may take to start or to end.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// A running my_redis_server.
pub struct Process {
    child: Child,
    addr: SocketAddr,
    /// What it logs, in a file without a name.
    log: File,
}

/// A port that nobody listens on, and that the system gives to nobody who asks for any port: it
/// hands out those from 32768 on, to the other tests of this process among others. Other test
/// processes may look for ports at the same time: a port is this process' own as long as it holds
/// the lock on a file of that name, which is until it ends.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static CLAIMED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let claims = std::env::temp_dir().join("my_redis_test_ports");
    std::fs::create_dir_all(&claims).unwrap();
    let first = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = 21_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let claim = File::create(claims.join(port.to_string())).unwrap();
        if claim.try_lock().is_ok() && is_free(port) {
            CLAIMED.lock().unwrap().push(claim);
            return port;
        }
    }
}

/// True when nobody listens on a port. It is bound for that and never listened on: a process that
/// another test begins just now holds what is open here until it has become its program, and would
/// take the connections that are meant for the server, or keep the server from listening.
fn is_free(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).is_ok()
}

/// A file that is gone with its last handle.
fn nameless_file() -> File {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("my_redis-log-{}-{number}", std::process::id()));
    let options = File::options().read(true).append(true).create_new(true).open(&path);
    let file = options.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    std::fs::remove_file(path).unwrap();
    file
}

/// The program with these options in `folder`, not yet started.
pub fn program(folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_my_redis_server"));
    command.current_dir(folder).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Process {
    /// Starts the program in `folder` and waits until it answers.
    #[track_caller]
    pub fn start(folder: &Path, options: &[&str]) -> Self {
        Self::launch(folder, options).answering()
    }

    /// Waits until it answers.
    #[track_caller]
    fn answering(mut self) -> Self {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let mut refused = None;
            if TcpStream::connect(self.addr).is_ok() {
                match self.wire().send("PING").try_reply() {
                    Ok(reply) if reply == b"+PONG\r\n" => return self,
                    // A stranger is told so while the dump is still loaded, too.
                    Ok(reply) if reply.starts_with(b"-NOAUTH") && self.is_ready() => return self,
                    Ok(_loading) => {}
                    Err(reason) => refused = Some(reason),
                }
            }
            if refused.is_some() {
                // A server that ends closes its connections first.
                std::thread::sleep(Duration::from_millis(500));
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || refused.is_some() || Instant::now() > deadline {
                let (refused, log) = (refused.unwrap_or_default(), self.log());
                panic!("no answer from a server just started: {refused}; ended: {ended:?}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts the program without waiting.
    pub fn launch(folder: &Path, options: &[&str]) -> Self {
        Self::launch_command(program(folder, options))
    }

    /// Starts a command that becomes the program, and waits until it answers.
    #[track_caller]
    pub fn start_command(command: Command) -> Self {
        Self::launch_command(command).answering()
    }

    /// As `start_command`, with a log of which nothing is kept here.
    #[track_caller]
    pub fn start_logging_to(mut command: Command, log: Stdio) -> Self {
        let port = free_port();
        command.args(["--port", &port.to_string()]).stderr(log);
        Self::of(command, port, nameless_file()).answering()
    }

    fn launch_command(mut command: Command) -> Self {
        let port = free_port();
        command.args(["--port", &port.to_string()]);
        Self::spawn(command, port)
    }

    fn spawn(mut command: Command, port: u16) -> Self {
        let log = nameless_file();
        command.stderr(log.try_clone().unwrap());
        Self::of(command, port, log)
    }

    fn of(mut command: Command, port: u16, log: File) -> Self {
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, addr: SocketAddr::from(([127, 0, 0, 1], port)), log }
    }

    /// True once it has logged that it serves.
    fn is_ready(&mut self) -> bool {
        self.log().contains("ready to accept connections")
    }

    /// What it has logged so far.
    pub fn log(&mut self) -> String {
        let mut text = Vec::new();
        self.log.rewind().unwrap();
        self.log.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Where it listens once it does.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn wire(&self) -> Wire {
        Wire::connect(self.addr)
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as sudden death does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// How it has ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// A connection as soon as there can be one, whether or not the dump is loaded.
    #[track_caller]
    pub fn wire_when_it_listens(&self) -> Wire {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while TcpStream::connect(self.addr).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.wire()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What the program says when it does not start; it must say it in one line and exit with 1.
#[track_caller]
pub fn refusal(folder: &Path, options: &[&str]) -> String {
    refusal_of(program(folder, options))
}

/// As `refusal`, of any command.
#[track_caller]
pub fn refusal_of(mut command: Command) -> String {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // Ended also if it is not refused.
    let mut process = Process::spawn(command, 0);
    let status = process.wait();
    let text = process.log();
    assert_eq!(status.code(), Some(1), "{text}");
    let complaints: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    complaints.last().unwrap_or(&"").to_string()
}
