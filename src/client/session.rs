//! A session: the connection, what the client knows of its state, and one command at a time.
//!
//! The connection may be lost and made again; user, database and protocol are then asked for
//! again. Some commands change what the client must remember (SELECT, MULTI), some turn the
//! connection into a stream of messages (MONITOR, SUBSCRIBE), and some have a text as their
//! answer that is shown as it is (INFO).

use crate::client::Stop;
use crate::client::format::{OutputFormat, format_as_text, format_invalidation, format_value};
use crate::client::options::{ProtocolChoice, Settings};
use crate::net::responses::{ReceiveError, TcpResponses};
use crate::protocol::response::Value;
use crate::util::number::parse_i64;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// What a ctrl-c means at the moment: the end of a stream of messages, or of the client.
#[derive(Debug, Default)]
pub struct Interrupt {
    is_streaming: AtomicBool,
    stop_stream: Notify,
}

impl Interrupt {
    /// Waits for ctrl-c for ever: ends the stream if there is one, and else the process.
    pub async fn watch(self: Arc<Self>) {
        while tokio::signal::ctrl_c().await.is_ok() {
            if self.is_streaming.load(Ordering::SeqCst) {
                self.stop_stream.notify_one();
            } else {
                // The main thread may be writing to a terminal that does not take it.
                std::process::exit(1);
            }
        }
    }
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// It was answered, be it by an error.
    Answered,
    /// There is no connection, or it was lost.
    Failed,
}

/// A client's session with one server after the other.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    connection: Option<TcpResponses>,
    /// The database that the server has selected for this connection.
    database: i64,
    /// The database to come back to when a transaction is given up.
    database_before_multi: i64,
    in_multi: bool,
    is_interactive: bool,
    /// Grows whenever another server, or the same one to another user, may answer otherwise.
    generation: u64,
    interrupt: Arc<Interrupt>,
}

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(settings: Settings, is_interactive: bool) -> Self {
        Self {
            settings,
            connection: None,
            database: 0,
            database_before_multi: 0,
            in_multi: false,
            is_interactive,
            generation: 0,
            interrupt: Arc::default(),
        }
    }

    /// What ctrl-c should tell.
    #[must_use]
    pub fn interrupt(&self) -> Arc<Interrupt> {
        Arc::clone(&self.interrupt)
    }

    /// What the command line asked for.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A number that changes with the connection and with its user.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Gives the connection away, if there is one.
    pub fn take_connection(&mut self) -> Option<TcpResponses> {
        self.connection.take()
    }

    /// The prompt: address, database if it is not 0, and whether a transaction is open.
    #[must_use]
    pub fn prompt(&self) -> String {
        if self.connection.is_none() {
            return "not connected> ".to_owned();
        }
        let Settings { host, port, .. } = &self.settings;
        let mut prompt =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        if self.database != 0 {
            prompt.push_str(&format!("[{}]", self.database));
        }
        if self.in_multi {
            prompt.push_str("(TX)");
        }
        prompt.push_str("> ");
        prompt
    }

    /// Changes the server and connects to it.
    pub async fn connect_to(&mut self, host: String, port: u16) {
        self.settings.host = host;
        self.settings.port = port;
        self.connect(false).await;
    }

    /// Makes a new connection and prepares it: password, database, protocol.
    ///
    /// Says on standard error what went wrong; with `quiet`, not that there is no server. Returns
    /// whether all went well; a connection may exist even if not.
    pub async fn connect(&mut self, quiet: bool) -> bool {
        self.connection = None;
        self.database = 0;
        self.in_multi = false;
        self.generation += 1;
        let Settings { host, port, .. } = &self.settings;
        match TcpResponses::connect(host, *port).await {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                if !quiet {
                    let reason = io_reason(&error);
                    eprintln!("Could not connect to Redis at {host}:{port}: {reason}");
                }
                return false;
            }
        }
        self.authenticate().await && self.select().await && self.choose_protocol().await
    }

    async fn authenticate(&mut self) -> bool {
        let Some(password) = self.settings.password.clone() else { return true };
        let request = match self.settings.username.clone() {
            Some(username) => vec!["AUTH".to_owned(), username, password],
            None => vec!["AUTH".to_owned(), password],
        };
        self.prepare(&request, "AUTH failed").await
    }

    async fn select(&mut self) -> bool {
        let wanted = self.settings.database;
        if wanted == self.database {
            return true;
        }
        let request = ["SELECT".to_owned(), wanted.to_string()];
        let done = self.prepare(&request, &format!("SELECT {wanted} failed")).await;
        if done {
            self.database = wanted;
        }
        done
    }

    async fn choose_protocol(&mut self) -> bool {
        match self.settings.protocol {
            ProtocolChoice::Resp2 => true,
            ProtocolChoice::Resp3 => self.prepare(&["HELLO", "3"], "HELLO 3 failed").await,
            ProtocolChoice::PreferResp3 => {
                self.prepare(&["HELLO", "3"], "HELLO 3 failed").await;
                self.connection.is_some()
            }
        }
    }

    /// Sends a request of the client's own; says so if it fails.
    async fn prepare<A: AsRef<[u8]>>(&mut self, request: &[A], failure: &str) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        match connection.request(request).await {
            Ok(Value::Error(text)) => {
                eprintln!("{failure}: {}", String::from_utf8_lossy(&text));
                false
            }
            Ok(_) => true,
            Err(error) => {
                eprintln!("Error: {}", reason(&error));
                self.connection = None;
                false
            }
        }
    }

    /// Asks the server something on the client's own behalf; `None` if there is no answer.
    pub async fn ask(&mut self, request: &[&str]) -> Option<Value> {
        if self.in_multi {
            return None;
        }
        let connection = self.connection.as_mut()?;
        match connection.request(request).await {
            Ok(value) => Some(value),
            Err(_) => {
                self.connection = None;
                None
            }
        }
    }

    /// Sends a command `repeat` times (for ever, if negative) and shows each response.
    ///
    /// Connects first if there is no connection.
    ///
    /// # Errors
    /// The client must stop: standard output is gone, or the server where nothing else is wanted.
    pub async fn issue(&mut self, command: &[Vec<u8>], repeat: i64) -> Result<Issued, Stop> {
        if self.connection.is_none() && !self.connect(false).await {
            return Ok(Issued::Failed);
        }
        let mut left = repeat;
        while left != 0 {
            left -= i64::from(left > 0);
            match self.issue_once(command).await {
                Ok(()) => {}
                Err(CommandFailure::Stop(stop)) => return Err(stop),
                Err(CommandFailure::Lost(error)) => {
                    self.connection = None;
                    if is_word(command.first(), "shutdown") {
                        return Ok(Issued::Answered);
                    }
                    eprintln!("Error: {}", reason(&error));
                    return Ok(Issued::Failed);
                }
            }
            if !self.settings.interval.is_zero() {
                tokio::time::sleep(self.settings.interval).await;
            }
        }
        Ok(Issued::Answered)
    }

    async fn issue_once(&mut self, command: &[Vec<u8>]) -> Result<(), CommandFailure> {
        let as_text = answers_with_text(command);
        let streams = is_stream(command);
        let connection = self.connection.as_mut().ok_or(ReceiveError::Closed)?;
        connection.send(command);
        if streams {
            return self.stream(command, as_text).await;
        }
        let response = loop {
            match connection.receive().await? {
                Value::Push(message) => show_push(message, &self.settings)?,
                response => break response,
            }
        };
        self.show(&response, as_text)?;
        self.remember(command, &response).await;
        Ok(())
    }

    /// Shows messages until the server refuses, goes away, or the user interrupts.
    async fn stream(&mut self, command: &[Vec<u8>], as_text: bool) -> Result<(), CommandFailure> {
        if !is_word(command.first(), "monitor") && self.settings.format != OutputFormat::Raw {
            print(b"Reading messages... (press Ctrl-C to quit)\n")?;
        }
        let interrupt = self.interrupt();
        interrupt.is_streaming.store(true, Ordering::SeqCst);
        let ended = loop {
            let Some(connection) = &mut self.connection else { break Ok(true) };
            let received = tokio::select! {
                received = connection.receive() => received,
                () = interrupt.stop_stream.notified() => break Ok(true),
            };
            match received {
                Ok(message) => {
                    self.show(&message, as_text)?;
                    if message.is_error() {
                        break Ok(false);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        interrupt.is_streaming.store(false, Ordering::SeqCst);
        match ended {
            Ok(interrupted) => {
                if interrupted {
                    self.connect(false).await;
                }
                Ok(())
            }
            Err(error) => {
                eprintln!("Error: {}", reason(&error));
                Err(CommandFailure::Stop(Stop::Code(1)))
            }
        }
    }

    fn show(&self, response: &Value, as_text: bool) -> Result<(), Stop> {
        let Settings { format, delimiters, .. } = &self.settings;
        match response {
            Value::Error(text) if self.settings.fail_on_error && !self.is_interactive => {
                eprintln!("{}", String::from_utf8_lossy(text));
                Err(Stop::Code(1))
            }
            _ if as_text => print(&format_as_text(response, delimiters)),
            _ => print(&format_value(response, *format, delimiters)),
        }
    }

    /// Keeps what a command that went through changed about the connection.
    async fn remember(&mut self, command: &[Vec<u8>], response: &Value) {
        let done = !response.is_error();
        let Some((name, arguments)) = command.split_first() else { return };
        match (name.to_ascii_lowercase().as_slice(), arguments) {
            (b"select", [number]) if done => {
                self.set_database(parse_i64(number).unwrap_or(0));
            }
            (b"auth", [_] | [_, _]) => {
                self.generation += 1;
                self.select().await;
            }
            (b"hello", _) if done => self.generation += 1,
            (b"multi", []) if done => {
                self.in_multi = true;
                self.database_before_multi = self.database;
            }
            (b"exec", []) if self.in_multi => {
                self.in_multi = false;
                if !done || *response == Value::Null {
                    self.set_database(self.database_before_multi);
                }
            }
            (b"discard", []) if done => {
                self.in_multi = false;
                self.set_database(self.database_before_multi);
            }
            (b"reset", []) if done => {
                self.in_multi = false;
                self.set_database(0);
                self.settings.protocol = ProtocolChoice::Resp2;
            }
            _ => {}
        }
    }

    fn set_database(&mut self, database: i64) {
        self.database = database;
        self.settings.database = database;
    }
}

/// Why a command has no response to show.
enum CommandFailure {
    Lost(ReceiveError),
    Stop(Stop),
}

impl From<ReceiveError> for CommandFailure {
    fn from(error: ReceiveError) -> Self {
        Self::Lost(error)
    }
}

impl From<Stop> for CommandFailure {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Writes to standard output at once.
///
/// # Errors
/// Nobody reads standard output any more.
pub fn print(bytes: &[u8]) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Stop::Output)
}

fn show_push(message: Vec<Value>, settings: &Settings) -> Result<(), Stop> {
    if !settings.show_pushes {
        return Ok(());
    }
    let invalidation = format_invalidation(&message);
    match invalidation.filter(|_| settings.format == OutputFormat::Terminal) {
        Some(line) => print(&line),
        None => {
            let message = Value::Push(message);
            print(&format_value(&message, settings.format, &settings.delimiters))
        }
    }
}

/// What went wrong, in the words of the system, without Rust's additions.
fn io_reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    text.split(" (os error").next().unwrap_or(text).to_owned()
}

fn reason(error: &ReceiveError) -> String {
    match error {
        ReceiveError::Io(error) => io_reason(error),
        error => error.to_string(),
    }
}

fn is_word(argument: Option<&Vec<u8>>, word: &str) -> bool {
    argument.is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
}

/// True if the server answers `command` with one message after the other.
fn is_stream(command: &[Vec<u8>]) -> bool {
    ["monitor", "subscribe", "psubscribe", "ssubscribe"]
        .iter()
        .any(|word| is_word(command.first(), word))
}

/// True if the answer to `command` is a text for a reader, which is shown without quotes.
fn answers_with_text(command: &[Vec<u8>]) -> bool {
    let is = |first: &str, seconds: &[&str]| {
        is_word(command.first(), first)
            && seconds.iter().any(|second| is_word(command.get(1), second))
    };
    let count = command.len();
    is_word(command.first(), "info")
        || is_word(command.first(), "lolwut")
        || is("debug", &["htstats", "htstats-key", "client-eviction"])
        || is("memory", &["malloc-stats", "doctor"])
        || (count == 2 && is("cluster", &["nodes", "info"]))
        || is("client", &["list", "info"])
        || (count == 3 && is("latency", &["graph"]))
        || (count == 2 && is("latency", &["doctor"]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::util::split::split_arguments;

    fn words(line: &str) -> Vec<Vec<u8>> {
        split_arguments(line.as_bytes()).unwrap()
    }

    #[test]
    fn texts_for_readers_are_known() {
        for line in ["INFO", "info server", "client LIST", "memory doctor", "latency graph x"] {
            assert!(answers_with_text(&words(line)), "{line}");
        }
        for line in ["get info", "client id", "latency graph", "cluster info x", "memory"] {
            assert!(!answers_with_text(&words(line)), "{line}");
        }
    }

    #[test]
    fn reasons_carry_no_numbers_of_the_system() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(io_reason(&refused), "Connection refused");
        assert_eq!(reason(&ReceiveError::Closed), "Server closed the connection");
    }
}
