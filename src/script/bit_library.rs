//! The library `bit`: operations on 32 bits.

use crate::script::arguments::{Arguments, number_of};
use mlua::{Lua, MultiValue, Result, Table, Value};

/// Added to a double, this puts its integer part into the low bits: 2^52 + 2^51.
const INTEGER_SHIFT: f64 = 6_755_399_441_055_744.0;

/// The library.
///
/// # Errors
/// No memory.
pub fn table(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    type Fold = fn(u32, u32) -> u32;
    let folds: [(&str, Fold); 3] =
        [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, fold) in folds {
        let function = move |lua: &Lua, values: MultiValue| {
            let arguments = Arguments::new(lua, values);
            let mut bits = bits(&arguments, 1)?;
            for number in (2..=arguments.len()).rev() {
                bits = fold(bits, self::bits(&arguments, number)?);
            }
            Ok(result(bits))
        };
        table.raw_set(name, lua.create_function(function)?)?;
    }
    let shifts: [(&str, Fold); 5] = [
        ("lshift", |a, n| a << n),
        ("rshift", |a, n| a >> n),
        ("arshift", |a, n| (a.cast_signed() >> n).cast_unsigned()),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, shift) in shifts {
        let function = move |lua: &Lua, values: MultiValue| {
            let arguments = Arguments::new(lua, values);
            let shifted = bits(&arguments, 1)?;
            Ok(result(shift(shifted, bits(&arguments, 2)? & 31)))
        };
        table.raw_set(name, lua.create_function(function)?)?;
    }
    type Single = fn(u32) -> u32;
    let singles: [(&str, Single); 3] =
        [("tobit", |a| a), ("bnot", |a| !a), ("bswap", u32::swap_bytes)];
    for (name, single) in singles {
        let function = move |lua: &Lua, values: MultiValue| {
            Ok(result(single(bits(&Arguments::new(lua, values), 1)?)))
        };
        table.raw_set(name, lua.create_function(function)?)?;
    }
    table.raw_set("tohex", lua.create_function(to_hex)?)?;
    Ok(table)
}

fn bits(arguments: &Arguments<'_>, number: usize) -> Result<u32> {
    let value = arguments.get(number).and_then(|value| number_of(arguments.lua(), value));
    let bits = (value.unwrap_or(0.0) + INTEGER_SHIFT).to_bits() as u32;
    if bits == 0 && value.is_none() {
        arguments.number(number)?;
    }
    Ok(bits)
}

fn result(bits: u32) -> Value {
    Value::Number(f64::from(bits.cast_signed()))
}

/// The last digits in hexadecimal; with a negative number of them in upper case.
fn to_hex(lua: &Lua, values: MultiValue) -> Result<Value> {
    let arguments = Arguments::new(lua, values);
    let number = bits(&arguments, 1)?;
    let count = if arguments.len() < 2 { 8 } else { bits(&arguments, 2)?.cast_signed() };
    let digits = if count < 0 { format!("{number:08X}") } else { format!("{number:08x}") };
    let from = digits.len().saturating_sub(count.unsigned_abs() as usize);
    let digits = digits.get(from..).unwrap_or_default();
    lua.create_string(digits).map(Value::String)
}
