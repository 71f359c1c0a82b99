//! The library `struct`: values into bytes by a format, and back.

use crate::script::arguments::{Arguments, number_of, to_integer};
use crate::script::raised::text_error;
use crate::script::state::State;
use crate::util::text::until_zero_byte;
use mlua::{Lua, MultiValue, Result, Table, Value};
use std::rc::Rc;

const INTEGER_BYTES_MAX: usize = 32;
const ALIGNMENT_MAX: usize = 8;
/// Results of one call, at most: Lua's stack has no more room.
const RESULTS_MAX: usize = 7_990;

/// The library.
///
/// # Errors
/// No memory.
pub fn table(lua: &Lua, state: &Rc<State>) -> Result<Table> {
    let table = lua.create_table()?;
    type Named = (&'static str, fn(&Lua, &State, MultiValue) -> Result<MultiValue>);
    let functions: [Named; 3] = [("pack", pack), ("unpack", unpack), ("size", size)];
    for (name, function) in functions {
        let state = Rc::clone(state);
        let function = lua.create_function(move |lua, values| function(lua, &state, values))?;
        table.raw_set(name, function)?;
    }
    Ok(table)
}

/// The rest of a format, and what its control letters have said.
struct Format<'a> {
    arguments: &'a Arguments<'a>,
    rest: &'a [u8],
    is_big_endian: bool,
    alignment: usize,
}

/// One letter of a format with its size in bytes, 0 where it has none of its own.
struct Item {
    letter: u8,
    bytes: usize,
}

impl<'a> Format<'a> {
    fn new(arguments: &'a Arguments<'a>, text: &'a [u8]) -> Self {
        Self { arguments, rest: until_zero_byte(text), is_big_endian: false, alignment: 1 }
    }

    fn next(&mut self) -> Result<Option<Item>> {
        let Some((&letter, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let bytes = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'f' => 4,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let bytes = self.number(4)?;
                if bytes > INTEGER_BYTES_MAX {
                    let text = format!(
                        "integral size {bytes} is larger than limit of {INTEGER_BYTES_MAX}"
                    );
                    return Err(text_error(self.arguments.lua(), text));
                }
                bytes
            }
            _ => 0,
        };
        Ok(Some(Item { letter, bytes }))
    }

    fn number(&mut self, default: usize) -> Result<usize> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(digits).unwrap_or_default();
        if digits.is_empty() {
            return Ok(default);
        }
        self.rest = rest;
        let mut number: i32 = 0;
        for digit in digits {
            let next = number.checked_mul(10);
            let next = next.and_then(|next| next.checked_add(i32::from(digit - b'0')));
            number =
                next.ok_or_else(|| text_error(self.arguments.lua(), "integral size overflow"))?;
        }
        Ok(usize::try_from(number).unwrap_or(0))
    }

    /// Bytes in front of an item that begins at `at`.
    fn padding(&self, at: usize, item: &Item) -> usize {
        if item.bytes == 0 || item.letter == b'c' {
            return 0;
        }
        let bytes = item.bytes.min(self.alignment);
        bytes.wrapping_sub(at & (bytes - 1)) & (bytes - 1)
    }

    /// A letter that is no item.
    fn control(&mut self, letter: u8) -> Result<()> {
        match letter {
            b' ' => {}
            b'>' => self.is_big_endian = true,
            b'<' => self.is_big_endian = false,
            b'!' => {
                let alignment = self.number(ALIGNMENT_MAX)?;
                if !alignment.is_power_of_two() {
                    let text = format!("alignment {alignment} is not a power of 2");
                    return Err(text_error(self.arguments.lua(), text));
                }
                self.alignment = alignment;
            }
            other => {
                let text = format!("invalid format option '{}'", char::from(other));
                return Err(self.arguments.bad(1, &text));
            }
        }
        Ok(())
    }

    /// Bytes in this order, from or to the order of the machine.
    fn ordered<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.is_big_endian {
            bytes.reverse();
        }
        bytes
    }
}

fn is_integer(letter: u8) -> bool {
    b"bBhHlLTiI".contains(&letter)
}

fn pack(lua: &Lua, state: &State, mut values: MultiValue) -> Result<MultiValue> {
    if !values.is_empty() {
        // In C a nil stands behind the arguments: what is missing is called so.
        values.push_back(Value::Nil);
    }
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&arguments, &text);
    let mut packed = Vec::new();
    let mut argument = 2;
    while let Some(item) = format.next()? {
        packed.resize(packed.len() + format.padding(packed.len(), &item), 0);
        match item.letter {
            letter if is_integer(letter) => {
                push_integer(&mut packed, arguments.number(argument)?, &item, &format);
                argument += 1;
            }
            b'x' => packed.push(0),
            b'f' => {
                let number = arguments.number(argument)? as f32;
                packed.extend_from_slice(&format.ordered(number.to_le_bytes()));
                argument += 1;
            }
            b'd' => {
                let number = arguments.number(argument)?;
                packed.extend_from_slice(&format.ordered(number.to_le_bytes()));
                argument += 1;
            }
            b'c' | b's' => {
                let text = arguments.string(argument)?;
                let text = text.as_bytes();
                argument += 1;
                let bytes = if item.bytes == 0 { text.len() } else { item.bytes };
                let Some(part) = text.get(..bytes) else {
                    return Err(arguments.bad(argument, "string too short"));
                };
                state.check_output(packed.len() + part.len())?;
                packed.extend_from_slice(part);
                if item.letter == b's' {
                    packed.push(0);
                }
            }
            other => format.control(other)?,
        }
        state.spend(1)?;
        state.check_output(packed.len())?;
    }
    let packed = lua.create_string(packed)?;
    Ok(MultiValue::from_vec(vec![Value::String(packed)]))
}

fn push_integer(packed: &mut Vec<u8>, number: f64, item: &Item, format: &Format<'_>) {
    let value = if number < 0.0 { to_integer(number).cast_unsigned() } else { number as u64 };
    let mut bytes = [0; INTEGER_BYTES_MAX];
    for (place, byte) in bytes.iter_mut().zip(value.to_le_bytes()) {
        *place = byte;
    }
    let bytes = bytes.get_mut(..item.bytes).unwrap_or_default();
    if format.is_big_endian {
        bytes.reverse();
    }
    packed.extend_from_slice(bytes);
}

fn integer(bytes: &[u8], is_signed: bool, is_big_endian: bool) -> f64 {
    let shift = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
    let value =
        if is_big_endian { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) };
    if !is_signed {
        return value as f64;
    }
    // As the machine shifts: by the number modulo 64.
    let sign_at = (bytes.len() as u32 * 8).wrapping_sub(1);
    let mask = u64::MAX.wrapping_shl(sign_at);
    let value = if value & mask == 0 { value } else { value | mask };
    value.cast_signed() as f64
}

fn unpack(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let (text, data) = (arguments.string(1)?, arguments.string(2)?);
    let (text, data) = (text.as_bytes(), data.as_bytes());
    // Negative positions are far behind the end, as in C.
    let start = arguments.integer_or(3, 1)?.cast_unsigned() as usize;
    let too_short = || arguments.bad(2, "data string too short");
    let Some(mut at) = start.checked_sub(1) else {
        return Err(arguments.bad(3, "offset must be 1 or greater"));
    };
    let mut format = Format::new(&arguments, &text);
    let mut results = MultiValue::new();
    while let Some(mut item) = format.next()? {
        at = at.saturating_add(format.padding(at, &item));
        let rest = data.get(at..).ok_or_else(too_short)?;
        let bytes = rest.get(..item.bytes).ok_or_else(too_short)?;
        if results.len() >= RESULTS_MAX {
            return Err(text_error(lua, "stack overflow (too many results)"));
        }
        match item.letter {
            letter if is_integer(letter) => {
                let number = integer(bytes, letter.is_ascii_lowercase(), format.is_big_endian);
                results.push_back(Value::Number(number));
            }
            b'x' => {}
            b'f' => {
                let bytes = bytes.try_into().unwrap_or_default();
                let number = f32::from_le_bytes(format.ordered(bytes));
                results.push_back(Value::Number(f64::from(number)));
            }
            b'd' => {
                let bytes = bytes.try_into().unwrap_or_default();
                let number = f64::from_le_bytes(format.ordered(bytes));
                results.push_back(Value::Number(number));
            }
            b'c' => {
                if item.bytes == 0 {
                    let size = results.pop_back().and_then(|value| number_of(lua, &value));
                    let Some(size) = size else {
                        return Err(text_error(lua, "format 'c0' needs a previous size"));
                    };
                    item.bytes = to_integer(size).cast_unsigned() as usize;
                }
                let part = rest.get(..item.bytes).ok_or_else(too_short)?;
                results.push_back(Value::String(lua.create_string(part)?));
            }
            b's' => {
                let Some(end) = rest.iter().position(|byte| *byte == 0) else {
                    return Err(text_error(lua, "unfinished string in data"));
                };
                let part = rest.get(..end).unwrap_or_default();
                results.push_back(Value::String(lua.create_string(part)?));
                item.bytes = end + 1;
            }
            other => format.control(other)?,
        }
        at += item.bytes;
        state.spend(1)?;
    }
    results.push_back(Value::Number((at + 1) as f64));
    Ok(results)
}

fn size(lua: &Lua, state: &State, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&arguments, &text);
    let mut at = 0_usize;
    while let Some(item) = format.next()? {
        at = at.saturating_add(format.padding(at, &item));
        match item.letter {
            b's' => return Err(arguments.bad(1, "option 's' has no fixed size")),
            b'c' if item.bytes == 0 => {
                return Err(arguments.bad(1, "option 'c0' has no fixed size"));
            }
            letter if !letter.is_ascii_alphanumeric() => format.control(letter)?,
            _ => {}
        }
        at = at.saturating_add(item.bytes);
        state.spend(1)?;
    }
    Ok(MultiValue::from_vec(vec![Value::Number(at as f64)]))
}
