//! What a script needs of the world, and what the world gets to know of it.

use crate::protocol::output::OutputBuffer;
use crate::protocol::reply::Protocol;
use crate::protocol::request::Args;

/// Bytes that one run may use, unless said otherwise.
const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The world of a running script.
pub trait Host {
    /// Runs a command of `redis.call` or `redis.pcall` and writes exactly one complete reply in
    /// `protocol`; a refusal is an error reply. `reply` is empty at the start, `args` has at least
    /// one argument.
    ///
    /// A panic in here ends the script at once and then goes on unwinding out of the run, with the
    /// interpreter of the thread thrown away.
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut OutputBuffer);

    /// `redis.acl_check_cmd`: may the user run this? `None`: there is no such command.
    fn check_acl(&mut self, args: Args<'_>) -> Option<bool>;

    /// `redis.log`, at every level.
    fn log(&mut self, level: LogLevel, message: &[u8]);

    /// Asked every so often, see [`crate::script`]; the script cannot go on after an error.
    ///
    /// # Errors
    /// The script has to end.
    fn poll(&mut self) -> Result<(), Stopped>;
}

/// Why a script has to end, as its error tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// The text, without a code.
    pub text: &'static str,
}

/// The levels of `redis.log`, in the order of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// 0
    Debug,
    /// 1
    Verbose,
    /// 2
    Notice,
    /// 3
    Warning,
}

/// What one run may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes above what the interpreter used before; also of the reply.
    pub memory_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes_max: MEMORY_BYTES_MAX }
    }
}

/// An error that answers the command which ran the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    /// The error reply, without the leading minus.
    pub text: Vec<u8>,
    /// It is the error of a command that the script called, and was counted there.
    pub is_counted: bool,
}

impl ScriptError {
    pub(super) fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), is_counted: false }
    }
}

impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl std::error::Error for ScriptError {}
