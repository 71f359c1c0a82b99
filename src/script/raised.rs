//! Errors on their way through Lua.
//!
//! A function in Rust that fails returns an error; mlua carries it through Lua as userdata. Whoever
//! catches it on behalf of a script (the prelude) has it turned into the value that Redis would
//! have raised, by [`value_of`].

use crate::script::state::State;
use mlua::{Error, Lua, Result, Value};
use std::fmt;

/// The name of the prelude in positions; frames of it are passed over.
pub const PRELUDE_NAME: &str = "@prelude";

/// What was raised.
#[derive(Debug)]
pub enum Raised {
    /// A text, with its position where it has one.
    Text(Vec<u8>),
    /// A table of Redis: `err` is the text.
    Table {
        /// Code and text.
        err: Vec<u8>,
        /// A command has failed, and was counted.
        is_counted: bool,
    },
    /// A value that Lua code has raised inside of a function that Rust has called.
    Again(Value),
    /// The script has to end; [`State`] knows why.
    Over,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Table { err: text, .. } => {
                f.write_str(&String::from_utf8_lossy(text))
            }
            Self::Again(_) => f.write_str("an error of Lua code"),
            Self::Over => f.write_str("the script has to end"),
        }
    }
}

impl std::error::Error for Raised {}

impl From<Raised> for Error {
    fn from(raised: Raised) -> Self {
        Self::external(raised)
    }
}

/// An error of Redis' own: a table with the code ERR.
pub fn redis_error(text: &str) -> Error {
    Raised::Table { err: format!("ERR {text}").into_bytes(), is_counted: false }.into()
}

/// An error as C functions raise it: `text` behind the position of the caller.
pub fn text_error(lua: &Lua, text: impl AsRef<[u8]>) -> Error {
    let mut raised = position(lua);
    raised.extend_from_slice(text.as_ref());
    Raised::Text(raised).into()
}

/// An error without a position.
pub fn bare_error(text: &str) -> Error {
    Raised::Text(text.into()).into()
}

/// `chunk:line: ` of the caller, or nothing where it has no lines; the prelude is passed over.
fn position(lua: &Lua) -> Vec<u8> {
    let mut level = 1;
    loop {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let is_prelude = source.source.as_deref() == Some(PRELUDE_NAME);
            (is_prelude, source.short_src.unwrap_or_default().into_owned(), frame.current_line())
        });
        match place {
            Some((true, ..)) => level += 1,
            Some((false, chunk, Some(line))) => return format!("{chunk}:{line}: ").into_bytes(),
            _ => return Vec::new(),
        }
    }
}

/// What Lua code would have caught.
///
/// # Errors
/// No memory is left for it.
pub fn value_of(lua: &Lua, state: &State, value: Value) -> Result<Value> {
    match value {
        Value::Error(error) => value_of_error(lua, state, &error),
        other => Ok(other),
    }
}

fn value_of_error(lua: &Lua, state: &State, error: &Error) -> Result<Value> {
    let raised = match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => {
            return value_of_error(lua, state, cause);
        }
        Error::ExternalError(external) => external.downcast_ref::<Raised>(),
        Error::MemoryError(_) => return text(lua, b"not enough memory"),
        _ => None,
    };
    match raised {
        Some(Raised::Text(bytes)) => text(lua, bytes),
        Some(Raised::Table { err, is_counted }) => error_table(lua, err, *is_counted),
        Some(Raised::Again(value)) => value_of(lua, state, value.clone()),
        Some(Raised::Over) => {
            error_table(lua, format!("ERR {}", state.why_over()).as_bytes(), false)
        }
        None => text(lua, error.to_string().as_bytes()),
    }
}

fn text(lua: &Lua, bytes: &[u8]) -> Result<Value> {
    lua.create_string(bytes).map(Value::String)
}

/// The table of an error, as `redis.pcall` returns it.
///
/// # Errors
/// No memory is left for it.
pub fn error_table(lua: &Lua, err: &[u8], is_counted: bool) -> Result<Value> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(err)?)?;
    if is_counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(Value::Table(table))
}

/// The text of an error table made of what Redis' functions are given: `-CODE text`, or a text
/// without a code.
pub fn error_text(reply: &[u8]) -> Vec<u8> {
    let (code, text) = match reply.strip_prefix(b"-") {
        None => (&b"ERR"[..], without_line_ends(reply)),
        Some(line) => code_and_text(line),
    };
    [code, b" ", text].concat()
}

/// The parts of an error reply without its marker.
pub fn code_and_text(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        None => (b"ERR", without_line_ends(line)),
        Some(blank) => {
            let (code, text) = line.split_at(blank);
            (code, without_line_ends(text.get(1..).unwrap_or_default()))
        }
    }
}

fn without_line_ends(text: &[u8]) -> &[u8] {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let from = text.iter().position(|byte| !is_line_end(byte)).unwrap_or(text.len());
    let to = text.iter().rposition(|byte| !is_line_end(byte)).map_or(from, |last| last + 1);
    text.get(from..to).unwrap_or_default()
}
