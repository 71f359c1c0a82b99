//! The log: one line for each event, with its time and level, on standard error or in a file, and
//! in the system's log if that is asked for.
//!
//! The file is opened for each line, as Redis does it: what moves the file away, as logrotate does,
//! need not tell the server, and a disk that was full or a folder that was gone is used again as
//! soon as it can be. There are few lines. A line that cannot be written to the file goes to
//! standard error.
//!
//! Under systemd standard error is the journal, which keeps time and level by itself: there a line
//! begins with the number of its level instead.

use crate::config::Operation;
use crate::config::SYSLOG_FACILITIES;
use crate::util::log;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Where the system's log listens.
const SYSLOG_SOCKET: &str = "/dev/log";
/// Set by systemd when standard error is the journal.
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// Why there is no log.
#[derive(Debug)]
pub struct LogError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Can't open the log file: {}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for LogError {}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts the log of this process; how much it shows can change at any time.
///
/// # Errors
/// When the file cannot be written.
pub fn start_log(operation: &Operation) -> Result<(), LogError> {
    let path = operation.log_file.as_path();
    let mut layers: Vec<Lines> = Vec::new();
    if !path.as_os_str().is_empty() {
        open(path).map_err(|error| LogError { path: path.to_owned(), error })?;
        let file = File(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        layers.push(shown(plain_lines().with_ansi(false).with_writer(file).boxed()));
    } else if std::env::var_os(JOURNAL_VARIABLE).is_some() && !io::stderr().is_terminal() {
        let lines = plain_lines().without_time().with_level(false).with_ansi(false);
        layers.push(shown(lines.with_writer(Journal).boxed()));
    } else {
        let lines = plain_lines().with_ansi(io::stderr().is_terminal());
        layers.push(shown(lines.with_writer(io::stderr).boxed()));
    }
    if operation.syslog_enabled {
        let facility = SYSLOG_FACILITIES.iter();
        let facility = facility.clone().find(|(name, _)| *name == operation.syslog_facility);
        let syslog = Syslog {
            ident: operation.syslog_ident.clone(),
            facility: facility.map_or(1, |(_, number)| *number),
        };
        let lines = plain_lines().without_time().with_level(false).with_ansi(false);
        layers.push(shown(lines.with_writer(syslog).boxed()));
    }
    tracing_subscriber::registry().with(layers).init();
    std::panic::set_hook(Box::new(tell_panic));
    Ok(())
}

/// A panic is told where everything else is: of a server in the background nobody sees the standard
/// error.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let current = std::thread::current();
    let thread = current.name().unwrap_or("without a name");
    let text = panic.payload_as_str().unwrap_or("without a text");
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => {
            tracing::error!("panic of the thread '{thread}' at {place}: {text}\n{trace}");
        }
        _ => tracing::error!("panic of the thread '{thread}' at {place}: {text}"),
    }
}

type PlainLines = tracing_subscriber::fmt::Layer<
    Registry,
    tracing_subscriber::fmt::format::DefaultFields,
    tracing_subscriber::fmt::format::Format<tracing_subscriber::fmt::format::Compact>,
>;

fn plain_lines() -> PlainLines {
    tracing_subscriber::fmt::layer().compact().with_target(false)
}

fn shown(lines: Lines) -> Lines {
    lines.with_filter(dynamic_filter_fn(|event, _| log::is_shown(*event.level()))).boxed()
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The number of a level in the system's log.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 5,
        Level::DEBUG => 6,
        Level::TRACE => 7,
    }
}

/// Writes lines to a file.
struct File(PathBuf);

impl<'a> MakeWriter<'a> for File {
    type Writer = Box<dyn Write>;

    fn make_writer(&'a self) -> Self::Writer {
        match open(&self.0) {
            Ok(file) => Box::new(file),
            Err(_) => Box::new(io::stderr()),
        }
    }
}

/// Writes lines to the journal.
struct Journal;

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Prefixed<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Prefixed { prefix: Vec::new(), to: io::stderr() }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        let prefix = format!("<{}>", severity(*event.level())).into_bytes();
        Prefixed { prefix, to: io::stderr() }
    }
}

/// Writes lines to the system's log.
struct Syslog {
    ident: String,
    facility: u8,
}

impl Syslog {
    fn prefixed(&self, severity: u8) -> Prefixed<Datagram> {
        let (ident, process) = (&self.ident, std::process::id());
        let prefix = format!("<{}>{ident}[{process}]: ", self.facility * 8 + severity);
        Prefixed { prefix: prefix.into_bytes(), to: Datagram }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Prefixed<Datagram>;

    fn make_writer(&'a self) -> Self::Writer {
        self.prefixed(severity(Level::INFO))
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        self.prefixed(severity(*event.level()))
    }
}

/// Sends what is written to the system's log. Nobody may listen there, and who does may be slow:
/// then the line is lost.
struct Datagram;

impl Write for Datagram {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let _lost = socket.send_to(line.trim_ascii_end(), SYSLOG_SOCKET);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line in one piece with something in front of it.
struct Prefixed<W> {
    prefix: Vec<u8>,
    to: W,
}

impl<W: Write> Write for Prefixed<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.to.write_all(&[&self.prefix, line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
