//! The library `cjson`: version 2.1.0 as Redis has it, with its settings.
//!
//! A setting holds until the end of the run: the next script is another client's.

mod decode;
mod encode;
mod number;

use crate::script::arguments::Arguments;
use crate::script::state::State;
use mlua::{Lua, MultiValue, Result, Table, Value};
use std::cell::Cell;
use std::rc::Rc;

/// Slots of Lua's stack that one function of C may use; Redis converts on that stack.
const STACK_SLOTS_MAX: usize = 8000;

const INTEGER_MAX: i64 = i32::MAX as i64;
const PRECISION_MAX: i64 = 14;

/// The settings of one library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth_max: i64,
    decode_depth_max: i64,
    /// 0: an error, 1: as they are, 2: null.
    encode_invalid_numbers: usize,
    decode_invalid_numbers: bool,
    precision: i64,
    keep_buffer: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            encode_invalid_numbers: 0,
            decode_invalid_numbers: true,
            precision: PRECISION_MAX,
            keep_buffer: true,
        }
    }
}

type Shared = Rc<Cell<Settings>>;

/// The library that all scripts share.
///
/// # Errors
/// No memory.
pub fn table(lua: &Lua, state: &Rc<State>) -> Result<Table> {
    let settings = Rc::new(Cell::new(Settings::default()));
    state.json_settings.borrow_mut().clone_from(&settings);
    library(lua, state, &settings)
}

/// A library with settings of its own.
fn library(lua: &Lua, state: &Rc<State>, settings: &Shared) -> Result<Table> {
    let table = lua.create_table()?;
    type Named = (&'static str, fn(&Lua, &State, &Shared, MultiValue) -> Result<MultiValue>);
    let functions: [Named; 9] = [
        ("encode", encode),
        ("decode", decode),
        ("encode_sparse_array", encode_sparse_array),
        ("encode_max_depth", encode_max_depth),
        ("decode_max_depth", decode_max_depth),
        ("encode_number_precision", encode_number_precision),
        ("encode_keep_buffer", encode_keep_buffer),
        ("encode_invalid_numbers", encode_invalid_numbers),
        ("decode_invalid_numbers", decode_invalid_numbers),
    ];
    for (name, function) in functions {
        let (state, settings) = (Rc::clone(state), Rc::clone(settings));
        let function =
            lua.create_function(move |lua, values| function(lua, &state, &settings, values))?;
        table.raw_set(name, function)?;
    }
    let shared = Rc::clone(state);
    let new = move |lua: &Lua, ()| library(lua, &shared, &Shared::default());
    table.raw_set("new", lua.create_function(new)?)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn one(value: Value) -> Result<MultiValue> {
    Ok(MultiValue::from_vec(vec![value]))
}

fn encode(lua: &Lua, state: &State, settings: &Shared, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    let (Some(value), 1) = (arguments.get(1), arguments.len()) else {
        return Err(arguments.bad(1, "expected 1 argument"));
    };
    let mut buffer = state.scratch.take();
    buffer.clear();
    let encoded = encode::encode(lua, state, settings.get(), value, &mut buffer);
    let text = encoded.and_then(|()| lua.create_string(&buffer));
    if buffer.capacity() <= BUFFER_BYTES_KEPT_MAX {
        state.scratch.replace(buffer);
    }
    one(Value::String(text?))
}

/// Room that is kept from one text to the next.
const BUFFER_BYTES_KEPT_MAX: usize = 64 * 1024;

fn decode(lua: &Lua, state: &State, settings: &Shared, values: MultiValue) -> Result<MultiValue> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() != 1 {
        return Err(arguments.bad(1, "expected 1 argument"));
    }
    let text = arguments.string(1)?;
    let settings = settings.get();
    one(state.unlimited(lua, || decode::decode(lua, state, settings, &text.as_bytes()))?)
}

/// Arguments of a setting, of which there may be `count_max`.
fn settings_of(lua: &Lua, values: MultiValue, count_max: usize) -> Result<Arguments<'_>> {
    let arguments = Arguments::new(lua, values);
    if arguments.len() > count_max {
        return Err(arguments.bad(count_max + 1, "found too many arguments"));
    }
    Ok(arguments)
}

fn integer_setting(
    arguments: &Arguments<'_>,
    number: usize,
    setting: &mut i64,
    (least, most): (i64, i64),
) -> Result<Value> {
    if !matches!(arguments.get(number), None | Some(Value::Nil)) {
        let value = i64::from(arguments.integer(number)? as i32);
        if !(least..=most).contains(&value) {
            let text = format!("expected integer between {least} and {most}");
            return Err(arguments.bad(1, &text));
        }
        *setting = value;
    }
    Ok(Value::Number(*setting as f64))
}

fn choice_setting(
    arguments: &Arguments<'_>,
    number: usize,
    setting: &mut usize,
    choices: &[&str],
) -> Result<Value> {
    match arguments.get(number) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *setting = usize::from(*value),
        Some(_) => {
            let text = arguments.string(number)?;
            let found = choices.iter().position(|choice| *text.as_bytes() == *choice.as_bytes());
            *setting = found.ok_or_else(|| {
                let text = String::from_utf8_lossy(&text.as_bytes()).into_owned();
                arguments.bad(number, &format!("invalid option '{text}'"))
            })?;
        }
    }
    match *setting {
        0 | 1 => Ok(Value::Boolean(*setting == 1)),
        other => {
            let name = choices.get(other).copied().unwrap_or_default();
            arguments.lua().create_string(name).map(Value::String)
        }
    }
}

fn flag_setting(arguments: &Arguments<'_>, number: usize, setting: &mut bool) -> Result<Value> {
    let mut choice = usize::from(*setting);
    let value = choice_setting(arguments, number, &mut choice, &["off", "on"])?;
    *setting = choice == 1;
    Ok(value)
}

/// Changes the settings by `change`, which gets the arguments and returns what to answer. As in C
/// a setting that was read holds although the next one is wrong.
fn change(
    lua: &Lua,
    values: MultiValue,
    count_max: usize,
    shared: &Shared,
    change: impl FnOnce(&Arguments<'_>, &mut Settings) -> Result<Vec<Value>>,
) -> Result<MultiValue> {
    let arguments = settings_of(lua, values, count_max)?;
    let mut settings = shared.get();
    let answer = change(&arguments, &mut settings);
    shared.set(settings);
    answer.map(MultiValue::from_vec)
}

fn encode_sparse_array(
    lua: &Lua,
    _: &State,
    shared: &Shared,
    values: MultiValue,
) -> Result<MultiValue> {
    change(lua, values, 3, shared, |arguments, settings| {
        Ok(vec![
            flag_setting(arguments, 1, &mut settings.sparse_convert)?,
            integer_setting(arguments, 2, &mut settings.sparse_ratio, (0, INTEGER_MAX))?,
            integer_setting(arguments, 3, &mut settings.sparse_safe, (0, INTEGER_MAX))?,
        ])
    })
}

fn encode_max_depth(
    lua: &Lua,
    _: &State,
    shared: &Shared,
    values: MultiValue,
) -> Result<MultiValue> {
    change(lua, values, 1, shared, |arguments, settings| {
        let depth = &mut settings.encode_depth_max;
        Ok(vec![integer_setting(arguments, 1, depth, (1, INTEGER_MAX))?])
    })
}

fn decode_max_depth(
    lua: &Lua,
    _: &State,
    shared: &Shared,
    values: MultiValue,
) -> Result<MultiValue> {
    change(lua, values, 1, shared, |arguments, settings| {
        let depth = &mut settings.decode_depth_max;
        Ok(vec![integer_setting(arguments, 1, depth, (1, INTEGER_MAX))?])
    })
}

fn encode_number_precision(
    lua: &Lua,
    _: &State,
    shared: &Shared,
    values: MultiValue,
) -> Result<MultiValue> {
    change(lua, values, 1, shared, |arguments, settings| {
        let precision = &mut settings.precision;
        Ok(vec![integer_setting(arguments, 1, precision, (1, PRECISION_MAX))?])
    })
}

fn encode_keep_buffer(
    lua: &Lua,
    _: &State,
    shared: &Shared,
    values: MultiValue,
) -> Result<MultiValue> {
    change(lua, values, 1, shared, |arguments, settings| {
        Ok(vec![flag_setting(arguments, 1, &mut settings.keep_buffer)?])
    })
}

fn encode_invalid_numbers(
    lua: &Lua,
    _: &State,
    shared: &Shared,
    values: MultiValue,
) -> Result<MultiValue> {
    change(lua, values, 1, shared, |arguments, settings| {
        let numbers = &mut settings.encode_invalid_numbers;
        Ok(vec![choice_setting(arguments, 1, numbers, &["off", "on", "null"])?])
    })
}

fn decode_invalid_numbers(
    lua: &Lua,
    _: &State,
    shared: &Shared,
    values: MultiValue,
) -> Result<MultiValue> {
    change(lua, values, 1, shared, |arguments, settings| {
        Ok(vec![flag_setting(arguments, 1, &mut settings.decode_invalid_numbers)?])
    })
}
