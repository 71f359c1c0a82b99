//! The server program in a process of its own, for what a server in this process cannot show:
//! signals, exit codes, sudden death.

use crate::harness::wire::Wire;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long the program may take to start or to end.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// A running my_redis_server.
pub struct Process {
    child: Child,
    addr: SocketAddr,
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
        if claim.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            CLAIMED.lock().unwrap().push(claim);
            return port;
        }
    }
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
            if TcpStream::connect(self.addr).is_ok() {
                let reply = self.wire().run("PING");
                if reply == b"+PONG\r\n" || reply.starts_with(b"-NOAUTH") {
                    return self;
                }
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server has ended: {ended:?}");
            assert!(Instant::now() < deadline, "the server does not answer");
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

    fn launch_command(mut command: Command) -> Self {
        let port = free_port();
        let child = command.args(["--port", &port.to_string()]).spawn();
        let child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
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

    /// What it has logged, once it has ended; only if it was started with a pipe for that.
    pub fn log(&mut self) -> String {
        std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap()
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
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    // Ended also if it is not refused.
    let mut process = Process { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let status = process.wait();
    let text = process.log();
    assert_eq!(status.code(), Some(1), "{text}");
    let complaints: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    complaints.last().unwrap_or(&"").to_string()
}
