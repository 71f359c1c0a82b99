//! Replies of commands into Lua values.
//!
//! The bytes are read where they stand, without a tree in between. They come from the server itself
//! and nest as deep as its commands nest them; a limit stands against what nobody has thought of.

use crate::script::raised::{error_table, error_text, redis_error};
use crate::util::number::{parse_f64, parse_i64};
use bstr::BStr;
use memchr::memchr;
use mlua::{Either, Error, Lua, LuaString, Result, Table, Value};

/// Bytes for Lua's stack. mlua puts text there directly, and other bytes by way of a reference.
#[inline]
pub fn lua_bytes(bytes: &[u8]) -> Either<&str, &BStr> {
    std::str::from_utf8(bytes).map_or_else(|_| Either::Right(BStr::new(bytes)), Either::Left)
}

/// Replies within replies, at most.
const DEPTH_MAX: u32 = 64;

/// Elements of an array for which room is made before they have been read.
const ELEMENTS_RESERVED_MAX: usize = 1024;

/// Strings that many replies need.
pub struct Words {
    ok: LuaString,
    /// The text of the most frequent status.
    ok_text: LuaString,
}

impl Words {
    pub fn new(lua: &Lua) -> Result<Self> {
        Ok(Self { ok: lua.create_string("ok")?, ok_text: lua.create_string("OK")? })
    }
}

/// The reply to a command, as Lua sees it.
pub enum Converted {
    Value(Value),
    /// An error reply: the text that its table would have.
    Error(Vec<u8>),
}

/// Converts one whole reply.
///
/// # Errors
/// It is not a reply, nests too deeply, or there is not enough memory.
pub fn convert(lua: &Lua, words: &Words, reply: &[u8]) -> Result<Converted> {
    if let Some((b'-', line, _)) = split(reply) {
        return Ok(Converted::Error(error_of(line)));
    }
    let mut reader = Reader { lua, words, rest: reply };
    reader.value(0).map(Converted::Value)
}

fn error_of(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len() + 1);
    text.push(b'-');
    text.extend_from_slice(line);
    error_text(&text)
}

/// Marker, line and what follows it.
#[inline]
fn split(reply: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (marker, rest) = reply.split_first()?;
    let end = memchr(b'\r', rest)?;
    let (line, rest) = rest.split_at_checked(end)?;
    Some((*marker, line, rest.get(2..)?))
}

struct Reader<'a> {
    lua: &'a Lua,
    words: &'a Words,
    rest: &'a [u8],
}

fn malformed() -> Error {
    redis_error("a command has answered with what is no reply")
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: u32) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(redis_error("reached lua stack limit"));
        }
        let (marker, line, rest) = split(self.rest).ok_or_else(malformed)?;
        self.rest = rest;
        match marker {
            b'$' => self.bulk(line),
            b':' => Ok(Value::Number(parse_i64(line).ok_or_else(malformed)? as f64)),
            b'+' => self.status(line),
            b'*' => self.array(line, depth),
            b'_' => Ok(Value::Nil),
            b'#' => Ok(Value::Boolean(line == b"t")),
            b',' => self.field("double", Value::Number(double(line).ok_or_else(malformed)?)),
            b'(' => self.field("big_number", Value::String(self.lua.create_string(line)?)),
            b'-' => error_table(self.lua, &error_of(line), true),
            b'%' => self.map(line, depth),
            b'~' => self.set(line, depth),
            b'=' => self.verbatim(line),
            b'|' => {
                for _ in 0..2 * count(line)?.unwrap_or(0) {
                    self.value(depth + 1)?;
                }
                self.value(depth + 1)
            }
            _ => Err(malformed()),
        }
    }

    fn status(&self, line: &[u8]) -> Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        if line == b"OK" {
            table.raw_set(&self.words.ok, &self.words.ok_text)?;
        } else {
            table.raw_set(&self.words.ok, self.lua.create_string(line)?)?;
        }
        Ok(Value::Table(table))
    }

    fn field(&self, name: &str, value: Value) -> Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    }

    /// The bytes that `line` announces.
    #[inline]
    fn bytes(&mut self, line: &[u8]) -> Result<Option<&'a [u8]>> {
        let Some(len) = count(line)? else { return Ok(None) };
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(malformed)?;
        self.rest = rest.get(2..).ok_or_else(malformed)?;
        Ok(Some(bytes))
    }

    #[inline]
    fn bulk(&mut self, line: &[u8]) -> Result<Value> {
        match self.bytes(line)? {
            Some(bytes) => Ok(Value::String(self.lua.create_string(bytes)?)),
            None => Ok(Value::Boolean(false)),
        }
    }

    fn verbatim(&mut self, line: &[u8]) -> Result<Value> {
        let bytes = self.bytes(line)?.ok_or_else(malformed)?;
        let (format, text) = bytes.split_at_checked(4).ok_or_else(malformed)?;
        let table = self.lua.create_table()?;
        table.raw_set("string", BStr::new(text))?;
        table.raw_set("format", BStr::new(format.get(..3).unwrap_or_default()))?;
        self.field("verbatim_string", Value::Table(table))
    }

    fn array(&mut self, line: &[u8], depth: u32) -> Result<Value> {
        let Some(len) = count(line)? else { return Ok(Value::Boolean(false)) };
        let table = self.lua.create_table_with_capacity(len.min(ELEMENTS_RESERVED_MAX), 0)?;
        for index in 1..=len {
            self.element(&table, index, depth)?;
        }
        Ok(Value::Table(table))
    }

    #[inline]
    fn element(&mut self, table: &Table, index: usize, depth: u32) -> Result<()> {
        // Without a value in between for what most arrays are made of.
        if let Some((b'$', line, rest)) = split(self.rest)
            && let Some(len) = count(line)?
        {
            let (bytes, rest) = rest.split_at_checked(len).ok_or_else(malformed)?;
            self.rest = rest.get(2..).ok_or_else(malformed)?;
            return table.raw_set(index, lua_bytes(bytes));
        }
        let value = self.value(depth + 1)?;
        table.raw_set(index, value)
    }

    fn map(&mut self, line: &[u8], depth: u32) -> Result<Value> {
        let len = count(line)?.ok_or_else(malformed)?;
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            set(&table, key, value)?;
        }
        self.field("map", Value::Table(table))
    }

    fn set(&mut self, line: &[u8], depth: u32) -> Result<Value> {
        let len = count(line)?.ok_or_else(malformed)?;
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            set(&table, key, Value::Boolean(true))?;
        }
        self.field("set", Value::Table(table))
    }
}

/// What cannot be a key is left out.
fn set(table: &Table, key: Value, value: Value) -> Result<()> {
    match key {
        Value::Nil => Ok(()),
        Value::Number(number) if number.is_nan() => Ok(()),
        key => table.raw_set(key, value),
    }
}

/// A length; `None` for -1.
#[inline]
fn count(line: &[u8]) -> Result<Option<usize>> {
    match parse_i64(line) {
        Some(-1) => Ok(None),
        Some(len) => usize::try_from(len).map(Some).map_err(|_| malformed()),
        None => Err(malformed()),
    }
}

fn double(line: &[u8]) -> Option<f64> {
    match line {
        b"nan" | b"-nan" => Some(f64::NAN),
        _ => parse_f64(line),
    }
}
