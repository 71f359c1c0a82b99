//! Lua values as JSON.
//!
//! Tables that are being written are kept in a list: the allowed depth is a setting of the script.

use crate::script::arguments::type_name;
use crate::script::json::number::push_general;
use crate::script::json::{STACK_SLOTS_MAX, Settings};
use crate::script::raised::text_error;
use crate::script::state::State;
use mlua::{Error, Function, Lua, Result, Table, Value};

/// Slots that have to be free for a table.
const SLOTS_FREE: usize = 3;

/// A table of which a part has been written.
enum Open {
    Array { table: Table, next: i64, len: i64 },
    Object { table: Table, key: Value },
}

struct Encoder<'a> {
    lua: &'a Lua,
    state: &'a State,
    settings: Settings,
    text: &'a mut Vec<u8>,
    open: Vec<Open>,
    /// Slots of the stack in use: one for each array, two for each object.
    slots: usize,
    /// Of the prelude: the length that a table would have as an array.
    array_len: Function,
    next: Function,
}

/// Appends `value` as JSON.
///
/// # Errors
/// There is something that JSON has no form for, or it is too deep or too large.
pub fn encode(
    lua: &Lua,
    state: &State,
    settings: Settings,
    value: &Value,
    text: &mut Vec<u8>,
) -> Result<()> {
    let array_len = lua.named_registry_value("array_len")?;
    let next = lua.named_registry_value("next")?;
    let open = Vec::new();
    let mut encoder = Encoder { lua, state, settings, text, open, slots: 1, array_len, next };
    encoder.value(value)?;
    while let Some(last) = encoder.open.pop() {
        encoder.step(last)?;
    }
    Ok(())
}

impl Encoder<'_> {
    fn refuse(&self, value: &Value, why: &str) -> Error {
        text_error(self.lua, format!("Cannot serialise {}: {why}", type_name(value)))
    }

    /// Writes the next element of a table, or closes it.
    fn step(&mut self, last: Open) -> Result<()> {
        self.state.spend(1)?;
        self.state.check_output(self.text.len())?;
        match last {
            Open::Array { table, next, len } => {
                if next > len {
                    self.text.push(b']');
                    self.slots -= 1;
                    return Ok(());
                }
                if next > 1 {
                    self.text.push(b',');
                }
                let value: Value = table.raw_get(next)?;
                self.open.push(Open::Array { table, next: next + 1, len });
                self.value(&value)
            }
            Open::Object { table, key } => {
                let (next_key, value): (Value, Value) = self.next.call((&table, &key))?;
                if next_key.is_nil() {
                    self.text.push(b'}');
                    self.slots -= 2;
                    return Ok(());
                }
                if !key.is_nil() {
                    self.text.push(b',');
                }
                self.key(&next_key)?;
                self.open.push(Open::Object { table, key: next_key });
                self.value(&value)
            }
        }
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        match key {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Integer(_) | Value::Number(_) => {
                self.text.push(b'"');
                self.number(key)?;
                self.text.push(b'"');
            }
            other => return Err(self.refuse(other, "table key must be a number or string")),
        }
        self.text.push(b':');
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Integer(_) | Value::Number(_) => self.number(value)?,
            Value::Boolean(true) => self.text.extend_from_slice(b"true"),
            Value::Boolean(false) => self.text.extend_from_slice(b"false"),
            Value::Table(table) => self.table(table)?,
            Value::Nil => self.text.extend_from_slice(b"null"),
            null if *null == Value::NULL => self.text.extend_from_slice(b"null"),
            other => return Err(self.refuse(other, "type not supported")),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let depth = self.open.len() + 1;
        let is_too_deep = i64::try_from(depth).unwrap_or(i64::MAX) > self.settings.encode_depth_max;
        if is_too_deep || self.slots + SLOTS_FREE > STACK_SLOTS_MAX {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(text_error(self.lua, text));
        }
        let (max, items): (i64, i64) = self.array_len.call(table)?;
        let settings = &self.settings;
        let is_sparse = settings.sparse_ratio > 0
            && max > items.saturating_mul(settings.sparse_ratio)
            && max > settings.sparse_safe;
        if is_sparse && !settings.sparse_convert {
            return Err(self.refuse(&Value::Table(table.clone()), "excessively sparse array"));
        }
        let table = table.clone();
        if max > 0 && !is_sparse {
            self.text.push(b'[');
            self.slots += 1;
            self.open.push(Open::Array { table, next: 1, len: max });
        } else {
            self.text.push(b'{');
            self.slots += 2;
            self.open.push(Open::Object { table, key: Value::Nil });
        }
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<()> {
        let number = match value {
            Value::Integer(number) => *number as f64,
            Value::Number(number) => *number,
            _ => 0.0,
        };
        if !number.is_finite() {
            match self.settings.encode_invalid_numbers {
                0 => return Err(self.refuse(value, "must not be NaN or Inf")),
                1 if number.is_nan() => self.text.extend_from_slice(b"nan"),
                1 => push_general(self.text, number, 1),
                _ => self.text.extend_from_slice(b"null"),
            }
            return Ok(());
        }
        push_general(self.text, number, usize::try_from(self.settings.precision).unwrap_or(14));
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<()> {
        self.state.check_output(self.text.len() + bytes.len())?;
        self.text.push(b'"');
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| is_escaped(*byte)) {
            let (plain, escaped) = rest.split_at(at);
            self.text.extend_from_slice(plain);
            if let Some((byte, behind)) = escaped.split_first() {
                self.escape(*byte);
                rest = behind;
            }
        }
        self.text.extend_from_slice(rest);
        self.text.push(b'"');
        Ok(())
    }

    fn escape(&mut self, byte: u8) {
        let letter = match byte {
            b'"' | b'\\' | b'/' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            other => {
                self.text.extend_from_slice(format!("\\u{other:04x}").as_bytes());
                return;
            }
        };
        self.text.extend_from_slice(&[b'\\', letter]);
    }
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'/' | 0x7f)
}
