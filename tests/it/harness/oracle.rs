//! A real redis-server beside the tests: the reference for every reply.
//!
//! It listens on a free port of 127.0.0.1, works in a folder of its own and ends with the value
//! that started it. Without the program, or with one of another version line, the test fails and
//! says what to install: a comparison that is skipped proves nothing.

use crate::harness::process::free_port;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The version line whose replies are the reference.
const VERSION: &str = "v=7.0.";

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running redis-server.
pub struct Oracle {
    process: Child,
    addr: SocketAddr,
    folder: PathBuf,
}

impl Oracle {
    /// Starts an empty server that saves nothing, has one database and logs nothing as slow.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As `start`, with further options.
    pub fn start_with(options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        check_version();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("my_redis_oracle_{}_{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for _ in 0..5 {
            std::fs::create_dir_all(&folder).unwrap();
            // Another process may take the port meanwhile: hence the attempts.
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let process = Command::new("redis-server")
                .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--databases", "1"])
                .args(["--slowlog-log-slower-than", "-1"])
                .args(options)
                .current_dir(&folder)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut oracle = Self { process, addr, folder: folder.clone() };
            if oracle.listens() {
                return oracle;
            }
        }
        panic!("redis-server {options:?} does not start");
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
            if TcpStream::connect(self.addr).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn check_version() {
    let output = Command::new("redis-server").arg("--version").output().unwrap_or_else(|e| {
        panic!(
            "this test compares with a real redis-server 7.0, and none can be run ({e}): \
             install the Debian packages redis-server and redis-tools"
        )
    });
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(version.contains(VERSION), "this test needs redis-server 7.0, found: {version}");
}
