//! What the system around the server is told: the process number in a file, and systemd when the
//! server is ready, when it ends, and that it is still alive.
//!
//! systemd names a socket in the environment and takes lines such as `READY=1` in datagrams. That
//! is the whole protocol, and older than the library for it. A message that cannot be sent is no
//! reason not to serve.

use crate::config::{Operation, SUPERVISOR_VARIABLE, Supervision};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

/// How many microseconds may pass between two signs of life, and of which process.
const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS_VARIABLE: &str = "WATCHDOG_PID";
/// While the dump is loaded, and while the last one is saved, systemd is asked for more time so
/// often, and for so much.
const PATIENCE_EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// Who supervises the server.
#[derive(Debug)]
pub(super) struct Supervisor {
    address: Option<OsString>,
    watchdog: Option<Duration>,
    pid_file: PathBuf,
}

impl Supervisor {
    /// The supervisor that the options and the environment name.
    pub fn new(operation: &Operation) -> Self {
        let address = operation.supervision.socket();
        if operation.supervision == Supervision::Systemd && address.is_none() {
            tracing::warn!("supervised by systemd, but {SUPERVISOR_VARIABLE} is not set");
        }
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours =
            number(WATCHDOG_PROCESS_VARIABLE).is_none_or(|id| id == u64::from(std::process::id()));
        let watchdog = number(WATCHDOG_VARIABLE).filter(|_| is_ours && address.is_some());
        Self {
            address,
            watchdog: watchdog.filter(|micros| *micros > 0).map(Duration::from_micros),
            pid_file: operation.pid_file.clone(),
        }
    }

    /// Writes the process number into its file. Without one the server serves all the same.
    pub fn write_pid_file(&self) {
        if self.pid_file.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = fs::write(&self.pid_file, format!("{}\n", std::process::id())) {
            tracing::warn!("Failed to write PID file {}: {error}", self.pid_file.display());
        }
    }

    /// Removes that file at the end, if it is still this process'.
    pub fn remove_pid_file(&self) {
        let own = format!("{}\n", std::process::id());
        if fs::read_to_string(&self.pid_file).is_ok_and(|text| text == own) {
            // It is the next server's task to write it anew.
            let _left = fs::remove_file(&self.pid_file);
        }
    }

    /// Tells that clients are served.
    pub fn ready(&self) {
        self.notify("READY=1\nSTATUS=Ready to accept connections");
    }

    /// Tells that the server ends.
    pub fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=Ending in order");
    }

    /// Asks for more time again and again, because of what `status` tells.
    pub async fn be_patient(&self, status: &str) -> Infallible {
        let mut every = tokio::time::interval(PATIENCE_EVERY);
        loop {
            every.tick().await;
            let micros = PATIENCE.as_micros();
            self.notify(&format!("EXTEND_TIMEOUT_USEC={micros}\nSTATUS={status}"));
        }
    }

    /// Gives signs of life for ever, if they are wanted.
    pub async fn keep_alive(&self) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut every = tokio::time::interval(watchdog / 2);
        loop {
            every.tick().await;
            self.notify("WATCHDOG=1");
        }
    }

    fn notify(&self, message: &str) {
        if let Some(address) = &self.address
            && let Err(error) = send(address, message)
        {
            tracing::warn!("cannot tell systemd {}: {error}", message.escape_debug());
        }
    }
}

fn send(address: &OsString, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    socket.send_to_addr(message.as_bytes(), &address).map(|_| ())
}
