//! The library `cmsgpack`: Lua values as MessagePack, with Redis' choices of forms.
//!
//! Packing nests at most 16 levels and may recurse. What is unpacked comes from anywhere and nests
//! as it likes, so there the tables that are being filled are kept in a list.

use crate::script::arguments::{Arguments, to_integer};
use crate::script::raised::{bare_error, text_error};
use crate::script::state::{State, out_of_memory};
use mlua::{Error, Function, Lua, LuaString, MultiValue, Result, Table, Value};
use std::rc::Rc;

/// Tables within tables that are packed; deeper ones become nil.
const NESTING_MAX: u32 = 16;

/// Slots of Lua's stack that one function of C may use; Redis unpacks on that stack.
const STACK_SLOTS_MAX: usize = 8000;

const NO_ROOM_FOR_ARRAY: &str = "stack overflow (in function mp_decode_to_lua_array)";
const MORE_THAN_FITS: &str = "stack overflow (too many return values at once; use unpack_one or \
                              unpack_limit instead.)";

/// The library.
///
/// # Errors
/// No memory.
pub fn table(lua: &Lua, state: &Rc<State>) -> Result<Table> {
    let table = lua.create_table()?;
    type Named = (&'static str, fn(&Lua, &State, MultiValue) -> Result<MultiValue>);
    let functions: [Named; 4] = [
        ("pack", pack),
        ("unpack", unpack),
        ("unpack_one", unpack_one),
        ("unpack_limit", unpack_limit),
    ];
    for (name, function) in functions {
        let state = Rc::clone(state);
        let function = lua.create_function(move |lua, values| function(lua, &state, values))?;
        table.raw_set(name, function)?;
    }
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn pack(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() == 0 {
        return Err(arguments.bad(0, "MessagePack pack needs input."));
    }
    let shape = lua.named_registry_value("count_shape")?;
    let mut packer = Packer { state, shape, packed: Vec::new() };
    for value in arguments.into_values() {
        packer.value(&value, 0)?;
    }
    let packed = lua.create_string(&packer.packed)?;
    Ok(MultiValue::from_vec(vec![Value::String(packed)]))
}

struct Packer<'a> {
    state: &'a State,
    /// Of the prelude: the keys of a table, and whether they are those of an array.
    shape: Function,
    packed: Vec<u8>,
}

impl Packer<'_> {
    fn value(&mut self, value: &Value, level: u32) -> Result<()> {
        self.state.spend(1)?;
        match value {
            Value::String(text) => self.string(text)?,
            Value::Boolean(value) => self.packed.push(if *value { 0xc3 } else { 0xc2 }),
            Value::Integer(number) => self.integer(*number),
            Value::Number(number) => self.number(*number),
            Value::Table(table) if level < NESTING_MAX => self.table(table, level)?,
            _ => self.packed.push(0xc0),
        }
        self.state.check_output(self.packed.len())
    }

    /// A marker for the shortest form in which `number` fits, and the number in it.
    fn head(&mut self, forms: [Option<u8>; 3], number: usize) {
        let [one, two, four] = forms;
        match (u8::try_from(number), u16::try_from(number), one) {
            (Ok(number), _, Some(marker)) => self.packed.extend_from_slice(&[marker, number]),
            (_, Ok(number), _) => {
                self.packed.push(two.unwrap_or_default());
                self.packed.extend_from_slice(&number.to_be_bytes());
            }
            _ => {
                self.packed.push(four.unwrap_or_default());
                self.packed.extend_from_slice(&(number as u32).to_be_bytes());
            }
        }
    }

    fn string(&mut self, text: &LuaString) -> Result<()> {
        let text = text.as_bytes();
        self.state.check_output(self.packed.len() + text.len())?;
        if text.len() < 32 {
            self.packed.push(0xa0 | text.len() as u8);
        } else {
            self.head([Some(0xd9), Some(0xda), Some(0xdb)], text.len());
        }
        self.packed.extend_from_slice(&text);
        Ok(())
    }

    fn number(&mut self, number: f64) {
        let whole = to_integer(number);
        if whole as f64 == number {
            self.integer(whole);
        } else if f64::from(number as f32) == number {
            self.packed.push(0xca);
            self.packed.extend_from_slice(&(number as f32).to_be_bytes());
        } else {
            self.packed.push(0xcb);
            self.packed.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn integer(&mut self, number: i64) {
        let packed = &mut self.packed;
        match number {
            0..=0x7f => packed.push(number as u8),
            0x80..=0xff => packed.extend_from_slice(&[0xcc, number as u8]),
            0x100..=0xffff => {
                packed.push(0xcd);
                packed.extend_from_slice(&(number as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                packed.push(0xce);
                packed.extend_from_slice(&(number as u32).to_be_bytes());
            }
            0x1_0000_0000.. => {
                packed.push(0xcf);
                packed.extend_from_slice(&number.to_be_bytes());
            }
            -32..=-1 => packed.push(number as u8),
            -128..=-33 => packed.extend_from_slice(&[0xd0, number as u8]),
            -0x8000..=-129 => {
                packed.push(0xd1);
                packed.extend_from_slice(&(number as i16).to_be_bytes());
            }
            -0x8000_0000..=-0x8001 => {
                packed.push(0xd2);
                packed.extend_from_slice(&(number as i32).to_be_bytes());
            }
            _ => {
                packed.push(0xd3);
                packed.extend_from_slice(&number.to_be_bytes());
            }
        }
    }

    fn table(&mut self, table: &Table, level: u32) -> Result<()> {
        let (count, is_array): (usize, bool) = self.shape.call(table)?;
        if is_array {
            if count < 16 {
                self.packed.push(0x90 | count as u8);
            } else {
                self.head([None, Some(0xdc), Some(0xdd)], count);
            }
            for index in 1..=count {
                self.value(&table.raw_get(index)?, level + 1)?;
            }
            return Ok(());
        }
        if count < 16 {
            self.packed.push(0x80 | count as u8);
        } else {
            self.head([None, Some(0xde), Some(0xdf)], count);
        }
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            self.value(&key, level + 1)?;
            self.value(&value, level + 1)?;
        }
        Ok(())
    }
}

fn unpack(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    unpack_some(&Arguments::new(lua, values), state, 0, 0)
}

fn unpack_one(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let offset = arguments.integer_or(2, 0)?;
    unpack_some(&arguments, state, 1, offset)
}

fn unpack_limit(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let limit = arguments.integer(2)?;
    let offset = arguments.integer_or(3, 0)?;
    unpack_some(&arguments, state, limit, offset)
}

/// Unpacks up to `limit` values from `offset` on, with the place behind them in front; all of
/// them, without that, when both are 0.
fn unpack_some(
    arguments: &Arguments<'_>,
    state: &State,
    limit: i64,
    offset: i64,
) -> Result<MultiValue> {
    let lua = arguments.lua();
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let (Ok(limit_count), Ok(start)) = (usize::try_from(limit), usize::try_from(offset)) else {
        // The length where the limit should be: so says Redis.
        let text = format!(
            "Invalid request to unpack with offset of {} and limit of {}.",
            offset as i32,
            text.len()
        );
        return Err(text_error(lua, text));
    };
    let Some(rest) = text.get(start..) else {
        let text =
            format!("Start offset {} greater than input length {}.", offset as i32, text.len());
        return Err(text_error(lua, text));
    };
    let takes_all = limit == 0 && offset == 0;
    let limit = if takes_all { usize::MAX } else { limit_count };
    let mut unpacker = Unpacker { lua, state, rest };
    let mut values = MultiValue::new();
    let unpacked = state.unlimited(lua, || {
        while !unpacker.rest.is_empty() && values.len() < limit {
            let value = unpacker.value(1 + values.len())?;
            values.push_back(value);
        }
        Ok(())
    });
    unpacked.map_err(|error| match error {
        // mlua ran out of room for references before Lua would have.
        Error::StackError => text_error(lua, MORE_THAN_FITS),
        other => other,
    })?;
    if !takes_all {
        let left = unpacker.rest.len();
        let next = if left == 0 { -1.0 } else { (text.len() - left) as f64 };
        values.push_front(Value::Number(next));
    }
    Ok(values)
}

/// A table that is being filled.
struct Open {
    table: Table,
    /// Values that are still to come: two for each pair of a map.
    left: usize,
    kind: Filled,
}

enum Filled {
    Array { next: usize },
    Map { key: Option<Value> },
}

impl Open {
    fn slots(&self) -> usize {
        match &self.kind {
            Filled::Map { key: None } => 1,
            _ => 2,
        }
    }

    fn add(&mut self, value: Value) -> Result<()> {
        self.left -= 1;
        match &mut self.kind {
            Filled::Array { next } => {
                let index = *next;
                *next += 1;
                self.table.raw_set(index, value)
            }
            Filled::Map { key } => match key.take() {
                None => {
                    *key = Some(value);
                    Ok(())
                }
                Some(Value::Nil) => Err(bare_error("table index is nil")),
                Some(Value::Number(number)) if number.is_nan() => {
                    Err(bare_error("table index is NaN"))
                }
                Some(key) => self.table.raw_set(key, value),
            },
        }
    }
}

enum Unpacked {
    Value(Value),
    Array(usize),
    Map(usize),
}

struct Unpacker<'a> {
    lua: &'a Lua,
    state: &'a State,
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    /// One value with all that is in it; `slots` of the stack are in use.
    fn value(&mut self, slots: usize) -> Result<Value> {
        let mut open: Vec<Open> = Vec::new();
        let mut slots = slots;
        loop {
            self.state.spend(1)?;
            let limit = self.state.memory_bytes_max.get();
            if limit > 0 && self.lua.used_memory() > limit {
                return Err(out_of_memory());
            }
            if slots >= STACK_SLOTS_MAX {
                return Err(text_error(self.lua, MORE_THAN_FITS));
            }
            let (left, kind) = match self.next()? {
                Unpacked::Value(value) => match Self::close(&mut open, &mut slots, value)? {
                    Some(whole) => return Ok(whole),
                    None => continue,
                },
                Unpacked::Array(_) if slots + 2 > STACK_SLOTS_MAX => {
                    return Err(text_error(self.lua, NO_ROOM_FOR_ARRAY));
                }
                Unpacked::Array(len) => (len, Filled::Array { next: 1 }),
                Unpacked::Map(len) => (2 * len, Filled::Map { key: None }),
            };
            let table = self.lua.create_table()?;
            if left > 0 {
                let new = Open { table, left, kind };
                slots += new.slots();
                open.push(new);
            } else if let Some(whole) = Self::close(&mut open, &mut slots, Value::Table(table))? {
                return Ok(whole);
            }
        }
    }

    /// Puts a value where it belongs, and the tables that are full with it; the outermost value.
    fn close(open: &mut Vec<Open>, slots: &mut usize, value: Value) -> Result<Option<Value>> {
        let mut value = value;
        while let Some(mut last) = open.pop() {
            *slots -= last.slots();
            last.add(value)?;
            if last.left > 0 {
                *slots += last.slots();
                open.push(last);
                return Ok(None);
            }
            value = Value::Table(last.table);
        }
        Ok(Some(value))
    }

    fn missing(&self) -> Error {
        text_error(self.lua, "Missing bytes in input.")
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.missing())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A number of up to 8 bytes.
    fn number(&mut self, bytes: usize) -> Result<u64> {
        let bytes = self.bytes(bytes)?;
        Ok(bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    fn string(&mut self, len: usize) -> Result<Unpacked> {
        let text = self.bytes(len)?;
        Ok(Unpacked::Value(Value::String(self.lua.create_string(text)?)))
    }

    fn next(&mut self) -> Result<Unpacked> {
        let marker = *self.bytes(1)?.first().unwrap_or(&0);
        let number = |number: f64| Ok(Unpacked::Value(Value::Number(number)));
        match marker {
            0x00..=0x7f => number(f64::from(marker)),
            0x80..=0x8f => Ok(Unpacked::Map(usize::from(marker & 0xf))),
            0x90..=0x9f => Ok(Unpacked::Array(usize::from(marker & 0xf))),
            0xa0..=0xbf => self.string(usize::from(marker & 0x1f)),
            0xc0 => Ok(Unpacked::Value(Value::Nil)),
            0xc2 | 0xc3 => Ok(Unpacked::Value(Value::Boolean(marker == 0xc3))),
            0xca => number(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => number(f64::from_bits(self.number(8)?)),
            0xcc => number(self.number(1)? as f64),
            0xcd => number(self.number(2)? as f64),
            0xce => number(self.number(4)? as f64),
            // As Redis: the upper half becomes negative.
            0xcf | 0xd3 => number(self.number(8)?.cast_signed() as f64),
            0xd0 => number(f64::from(self.number(1)? as i8)),
            0xd1 => number(f64::from(self.number(2)? as i16)),
            0xd2 => number(f64::from(self.number(4)? as i32)),
            0xd9 => {
                let len = self.number(1)?;
                self.string(len as usize)
            }
            0xda => {
                let len = self.number(2)?;
                self.string(len as usize)
            }
            0xdb => {
                let len = self.number(4)?;
                self.string(len as usize)
            }
            0xdc => Ok(Unpacked::Array(self.number(2)? as usize)),
            0xdd => Ok(Unpacked::Array(self.number(4)? as usize)),
            0xde => Ok(Unpacked::Map(self.number(2)? as usize)),
            0xdf => Ok(Unpacked::Map(self.number(4)? as usize)),
            0xe0..=0xff => number(f64::from(marker.cast_signed())),
            _ => Err(text_error(self.lua, "Bad data format in input.")),
        }
    }
}
