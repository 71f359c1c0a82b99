//! Lua values into replies.
//!
//! Tables may be nested thousands of levels deep, and one table may stand in many places, so that
//! a small script can describe a reply without end. So there is no recursion but a stack of what
//! is being written, as deep as Redis' own limit, and a limit for the bytes. The length of an array
//! is known only at its end, but stands at its beginning: headers are noted and put in between when
//! everything is there.

use crate::protocol::reply::{Protocol, ReplyWriter};
use crate::script::arguments::to_integer;
use crate::script::interpreter::Glue;
use crate::script::state::State;
use crate::util::text::until_zero_byte;
use bytes::Buf;
use mlua::{Error, Lua, LuaString, Result, Table, Value};
use smallvec::SmallVec;

/// Slots of Lua's stack that one function of C may use; Redis converts on that stack.
const STACK_SLOTS_MAX: usize = 8000;
/// Slots in use before the conversion, and those that each value needs.
const STACK_SLOTS_AT_FIRST: usize = 2;
const STACK_SLOTS_NEEDED: usize = 4;
const STACK_LIMIT: &[u8] = b"ERR reached lua stack limit";

/// What a script has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is an error.
    Failed,
    /// A table without any of the fields that mean something.
    Array,
    /// A table that may have one.
    Special,
}

impl Kind {
    pub fn of_table(is_special: bool) -> Self {
        if is_special { Self::Special } else { Self::Array }
    }
}

/// A value that is no table.
#[derive(Debug, Clone, Copy)]
pub enum Plain<'a> {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(&'a [u8]),
}

impl Plain<'_> {
    /// Writes the reply that it is for a script that speaks this protocol.
    pub fn write(self, script_protocol: Protocol, reply: &mut ReplyWriter<'_>) {
        match self {
            Self::Text(text) => reply.bulk(text),
            Self::Number(number) => reply.integer(to_integer(number)),
            Self::Boolean(value) if script_protocol == Protocol::Resp3 => reply.boolean(value),
            Self::Boolean(true) => reply.integer(1),
            Self::Boolean(false) | Self::Nil => reply.null(),
        }
    }
}

/// The error that a table stands for.
pub struct ErrorTable {
    pub text: Vec<u8>,
    pub source: Option<Vec<u8>>,
    pub line: Option<Vec<u8>>,
    pub is_counted: bool,
}

impl ErrorTable {
    /// Reads the fields of an error.
    ///
    /// # Errors
    /// No memory is left.
    pub fn read(lua: &Lua, table: &Table) -> Result<Self> {
        let text = |name: &str| -> Result<Option<Vec<u8>>> {
            let text = match table.raw_get(name)? {
                Value::String(text) => Some(text),
                value @ (Value::Integer(_) | Value::Number(_)) => lua.coerce_string(value)?,
                _ => None,
            };
            Ok(text.map(|text| until_zero_byte(&text.as_bytes()).to_vec()))
        };
        Ok(Self {
            text: text("err")?.unwrap_or_else(|| b"ERR unknown error".to_vec()),
            source: text("source")?,
            line: text("line")?,
            is_counted: matches!(table.raw_get("ignore_error_stats_update")?, Value::Boolean(true)),
        })
    }
}

/// Writes the value that a script has returned; the error that it stands for, if it does.
///
/// # Errors
/// The reply is too large, no memory is left, or the script has to end.
pub fn write(
    glue: &Glue,
    lua: &Lua,
    state: &State,
    returned: (Value, Kind),
    reply: &mut ReplyWriter<'_>,
) -> Result<Option<ErrorTable>> {
    let (value, kind) = returned;
    let Value::Table(table) = value else {
        plain(&value, state.protocol.get(), reply);
        return Ok(None);
    };
    if kind == Kind::Special
        && let Value::String(_) = table.raw_get(&glue.names.err)?
    {
        return ErrorTable::read(lua, &table).map(Some);
    }
    let mut body = state.reply.take();
    body.clear();
    let mut writer = Writer {
        glue,
        lua,
        state,
        body: ReplyWriter::new(&mut body, reply.protocol()),
        headers: SmallVec::new(),
        open: SmallVec::new(),
    };
    let written = writer.all(table, kind);
    let headers = writer.headers;
    if written.is_ok() {
        assemble(body.chunk(), &headers, reply);
    }
    body.clear();
    state.reply.replace(body);
    written.map(|()| None)
}

/// Puts the headers where they belong.
fn assemble(body: &[u8], headers: &[Header], reply: &mut ReplyWriter<'_>) {
    let mut done = 0;
    for header in headers {
        reply.part(body.get(done..header.at).unwrap_or_default());
        done = header.at;
        match header.shape {
            Shape::Array => reply.array(header.len),
            Shape::Map => reply.map(header.len),
            Shape::Set => reply.set(header.len),
        }
    }
    reply.part(body.get(done..).unwrap_or_default());
}

/// What is no table.
fn plain(value: &Value, script_protocol: Protocol, reply: &mut ReplyWriter<'_>) {
    let text;
    let plain = match value {
        Value::String(string) => {
            text = string.as_bytes();
            Plain::Text(&text)
        }
        Value::Integer(number) => Plain::Number(*number as f64),
        Value::Number(number) => Plain::Number(*number),
        Value::Boolean(value) => Plain::Boolean(*value),
        _ => Plain::Nil,
    };
    plain.write(script_protocol, reply);
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Array,
    Map,
    Set,
}

/// The head of an array, a map or a set, which stands at `at` in the body.
struct Header {
    at: usize,
    shape: Shape,
    len: usize,
}

/// A table of which a part has been written.
struct Open {
    table: Table,
    /// The last key; of an array, the next index is one more than the header's length.
    key: Value,
    /// The value of the key, when the key has been written and it has not.
    value: Option<Value>,
    header: usize,
    /// Slots of the stack in use for its elements.
    slots: usize,
}

struct Writer<'a> {
    glue: &'a Glue,
    lua: &'a Lua,
    state: &'a State,
    body: ReplyWriter<'a>,
    headers: SmallVec<[Header; 4]>,
    open: SmallVec<[Open; 4]>,
}

impl Writer<'_> {
    fn all(&mut self, table: Table, kind: Kind) -> Result<()> {
        match kind {
            Kind::Array => self.begin(Shape::Array, table, STACK_SLOTS_AT_FIRST),
            _ => self.table(table, STACK_SLOTS_AT_FIRST)?,
        }
        while let Some(mut last) = self.open.pop() {
            self.state.spend(1)?;
            // Empty tables are headers and nothing else.
            self.state.check_output(self.body.len() + self.headers.len() * size_of::<Header>())?;
            match last.value.take() {
                Some(value) => {
                    let slots = last.slots;
                    self.open.push(last);
                    self.value(value, slots + 2)?;
                }
                None => self.step(last)?,
            }
        }
        Ok(())
    }

    /// Writes the next element of a table, or closes it.
    fn step(&mut self, mut last: Open) -> Result<()> {
        let Some(header) = self.headers.get_mut(last.header) else { return Ok(()) };
        let slots = last.slots;
        let (element, slots) = match header.shape {
            Shape::Array => {
                let element: Value = match last.table.raw_get(header.len + 1) {
                    // mlua ran out of room for references a little before Lua would have.
                    Err(Error::StackError) => {
                        header.len += 1;
                        self.body.error(STACK_LIMIT);
                        return Ok(());
                    }
                    element => element?,
                };
                if element.is_nil() {
                    return Ok(());
                }
                (element, slots)
            }
            shape => {
                let (key, value): (Value, Value) = self.glue.next.call((&last.table, &last.key))?;
                if key.is_nil() {
                    return Ok(());
                }
                last.key = key.clone();
                match shape {
                    Shape::Map => {
                        last.value = Some(value);
                        (key, slots + 3)
                    }
                    _ => (key, slots + 2),
                }
            }
        };
        header.len += 1;
        self.open.push(last);
        self.value(element, slots)
    }

    fn value(&mut self, value: Value, slots: usize) -> Result<()> {
        if slots + STACK_SLOTS_NEEDED > STACK_SLOTS_MAX {
            self.body.error(STACK_LIMIT);
            return Ok(());
        }
        match value {
            Value::Table(table) => self.table(table, slots),
            other => {
                plain(&other, self.state.protocol.get(), &mut self.body);
                Ok(())
            }
        }
    }

    /// Writes a table by the first of the fields that mean something.
    fn table(&mut self, table: Table, slots: usize) -> Result<()> {
        let names = &self.glue.names;
        if let Value::String(_) = table.raw_get(&names.err)? {
            let error = ErrorTable::read(self.lua, &table)?;
            self.body.error(&error.text);
        } else if let Value::String(text) = table.raw_get(&names.ok)? {
            self.body.status_bytes(until_zero_byte(&text.as_bytes()));
        } else if let Some(number) = as_number(table.raw_get(&names.double)?) {
            self.body.double(number);
        } else if let Value::String(digits) = table.raw_get(&names.big_number)? {
            self.body.big_number(&without_line_ends(&digits));
        } else if let Some((format, text)) = self.verbatim(&table)? {
            self.body.verbatim_in(format, &text.as_bytes());
        } else if let Value::Table(map) = table.raw_get(&names.map)? {
            self.begin(Shape::Map, map, slots);
        } else if let Value::Table(set) = table.raw_get(&names.set)? {
            self.begin(Shape::Set, set, slots);
        } else {
            self.begin(Shape::Array, table, slots);
        }
        Ok(())
    }

    fn verbatim(&self, table: &Table) -> Result<Option<([u8; 3], LuaString)>> {
        let Value::Table(parts) = table.raw_get(&self.glue.names.verbatim_string)? else {
            return Ok(None);
        };
        let (Value::String(format), Value::String(text)) =
            (parts.raw_get("format")?, parts.raw_get("string")?)
        else {
            return Ok(None);
        };
        let mut letters = [b' '; 3];
        let format = format.as_bytes();
        for (letter, byte) in letters.iter_mut().zip(until_zero_byte(&format)) {
            *letter = *byte;
        }
        Ok(Some((letters, text)))
    }

    fn begin(&mut self, shape: Shape, table: Table, slots: usize) {
        let header = self.headers.len();
        self.headers.push(Header { at: self.body.len(), shape, len: 0 });
        self.open.push(Open { table, key: Value::Nil, value: None, header, slots: slots + 1 });
    }
}

fn as_number(value: Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(number as f64),
        Value::Number(number) => Some(number),
        _ => None,
    }
}

fn without_line_ends(text: &LuaString) -> Vec<u8> {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    text.as_bytes().iter().map(|byte| if is_line_end(byte) { b' ' } else { *byte }).collect()
}
