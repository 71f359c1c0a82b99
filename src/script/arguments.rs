//! Reading arguments as Lua's own library reads them, with its errors.

use crate::script::raised::text_error;
use mlua::{Error, Lua, LuaString, MultiValue, Result, Value};

/// The arguments of one call.
pub struct Arguments<'a> {
    lua: &'a Lua,
    values: MultiValue,
}

impl<'a> Arguments<'a> {
    pub fn new(lua: &'a Lua, values: MultiValue) -> Self {
        Self { lua, values }
    }

    pub fn lua(&self) -> &'a Lua {
        self.lua
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Argument number `number`, counted from 1.
    pub fn get(&self, number: usize) -> Option<&Value> {
        self.values.get(number.checked_sub(1)?)
    }

    fn is_none_or_nil(&self, number: usize) -> bool {
        matches!(self.get(number), None | Some(Value::Nil))
    }

    /// "bad argument ..."
    pub fn bad(&self, number: usize, why: &str) -> Error {
        let name = self.lua.inspect_stack(0, |frame| {
            let names = frame.names();
            let is_method = names.name_what == Some("method");
            (names.name.map(|name| name.into_owned()), is_method)
        });
        let (name, is_method) = name.unwrap_or_default();
        let name = name.unwrap_or_else(|| "?".to_owned());
        let text = match (is_method, number) {
            (true, 1) => format!("calling '{name}' on bad self ({why})"),
            (true, _) => format!("bad argument #{} to '{name}' ({why})", number - 1),
            (false, _) => format!("bad argument #{number} to '{name}' ({why})"),
        };
        text_error(self.lua, text)
    }

    fn bad_type(&self, number: usize, expected: &str) -> Error {
        let got = self.get(number).map_or("no value", |value| type_name(value));
        self.bad(number, &format!("{expected} expected, got {got}"))
    }

    /// A string; a number reads as its digits.
    pub fn string(&self, number: usize) -> Result<LuaString> {
        match self.get(number) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                let text = self.lua.coerce_string(value.clone())?;
                text.ok_or_else(|| self.bad_type(number, "string"))
            }
            _ => Err(self.bad_type(number, "string")),
        }
    }

    /// A number; a string reads as the number that it spells.
    pub fn number(&self, number: usize) -> Result<f64> {
        let value = self.get(number).and_then(|value| number_of(self.lua, value));
        value.ok_or_else(|| self.bad_type(number, "number"))
    }

    /// A number without its fraction.
    pub fn integer(&self, number: usize) -> Result<i64> {
        self.number(number).map(to_integer)
    }

    pub fn integer_or(&self, number: usize, default: i64) -> Result<i64> {
        if self.is_none_or_nil(number) { Ok(default) } else { self.integer(number) }
    }

    pub fn into_values(self) -> MultiValue {
        self.values
    }
}

/// A number as C casts it to 64 bits on the machines that Redis runs on.
pub fn to_integer(number: f64) -> i64 {
    // 2^63, which a double holds.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) { number as i64 } else { i64::MIN }
}

/// The type of a value, as Lua calls it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// The number that a value is or spells.
pub fn number_of(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(_) => lua.coerce_number(value.clone()).ok().flatten(),
        _ => None,
    }
}
