//! The table `redis`, and the numbers of `math.random`.

use crate::protocol::reply::Protocol;
use crate::protocol::request::ArgsBuffer;
use crate::script::arguments::{Arguments, number_of, to_integer};
use crate::script::host::LogLevel;
use crate::script::raised::{error_table, error_text, redis_error, text_error};
use crate::script::source::{LibraryFunction, ScriptFlags, ScriptId};
use crate::script::stack;
use crate::script::state::{Drand48, Mode, State, out_of_memory};
use crate::util::number::format_f64;
use crate::util::text::until_zero_byte;
use mlua::{Error, Function, Lua, MultiValue, Result, Table, Value};
use std::rc::Rc;

/// What scripts are told of the server that they run on.
const REDIS_VERSION: &str = "7.0.15";
const REDIS_VERSION_NUM: i64 = 0x0007_000f;

const REPL_NONE: i64 = 0;
const REPL_AOF: i64 = 1;
const REPL_REPLICA: i64 = 2;
const REPL_ALL: i64 = REPL_AOF | REPL_REPLICA;

/// Integers up to here print as digits in `%.17g`.
const WHOLE_MAX: i64 = 1 << 53;

/// All that `redis` may hold; the prelude picks.
///
/// # Errors
/// No memory.
pub fn table(lua: &Lua, state: &Rc<State>) -> Result<Table> {
    let table = lua.create_table()?;
    add_constants(&table)?;
    let [call, pcall] = stack::command_functions(lua, state)?;
    table.raw_set("call", call)?;
    table.raw_set("pcall", pcall)?;
    type Named = (&'static str, fn(&Lua, &State, MultiValue) -> Result<Value>);
    let functions: [Named; 10] = [
        ("log", log),
        ("setresp", set_protocol),
        ("sha1hex", sha1_hex),
        ("error_reply", error_reply),
        ("status_reply", status_reply),
        ("set_repl", set_replication),
        ("acl_check_cmd", check_acl),
        ("breakpoint", breakpoint),
        ("replicate_commands", replicate_commands),
        ("register_function", register_function),
    ];
    for (name, function) in functions {
        let state = Rc::clone(state);
        let function = lua.create_function(move |lua, values| function(lua, &state, values))?;
        table.raw_set(name, function)?;
    }
    table.raw_set("debug", lua.create_function(|_, ()| Ok(()))?)?;
    Ok(table)
}

fn add_constants(table: &Table) -> Result<()> {
    let numbers = [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", REPL_NONE),
        ("REPL_AOF", REPL_AOF),
        ("REPL_SLAVE", REPL_REPLICA),
        ("REPL_REPLICA", REPL_REPLICA),
        ("REPL_ALL", REPL_ALL),
        ("REDIS_VERSION_NUM", REDIS_VERSION_NUM),
    ];
    for (name, number) in numbers {
        table.raw_set(name, number)?;
    }
    table.raw_set("REDIS_VERSION", REDIS_VERSION)
}

/// Copies the arguments of a command; the text of what is wrong with them.
fn read_command(
    lua: &Lua,
    state: &State,
    values: &MultiValue,
    arguments: &mut ArgsBuffer,
) -> Result<Option<&'static str>> {
    arguments.clear();
    if values.is_empty() {
        return Ok(Some(stack::NO_COMMAND));
    }
    for value in values {
        let has_room = match value {
            Value::String(text) => {
                let text = text.as_bytes();
                state.check_output(arguments.bytes() + text.len())?;
                arguments.push(&text)
            }
            Value::Integer(number) if number.abs() <= WHOLE_MAX => {
                arguments.push(itoa::Buffer::new().format(*number).as_bytes())
            }
            Value::Number(number) if number.is_nan() && number.is_sign_negative() => {
                arguments.push(b"-nan")
            }
            Value::Integer(_) | Value::Number(_) => {
                arguments.push(&format_f64(number_of(lua, value).unwrap_or_default()))
            }
            _ => return Ok(Some(stack::BAD_ARGUMENT)),
        };
        if !has_room {
            return Err(out_of_memory());
        }
    }
    Ok(None)
}

fn check_running(state: &State, name: &str) -> Result<()> {
    if state.mode.get() == Mode::Running {
        return Ok(());
    }
    Err(redis_error(&format!("redis.{name} can only be called inside a script invocation")))
}

fn check_acl(lua: &Lua, state: &State, values: MultiValue) -> Result<Value> {
    check_running(state, "acl_check_cmd")?;
    let mut arguments = state.arguments.borrow_mut();
    if let Some(wrong) = read_command(lua, state, &values, &mut arguments)? {
        return Err(redis_error(wrong));
    }
    match state.host(|host| host.check_acl(arguments.args()))? {
        Some(is_allowed) => Ok(Value::Boolean(is_allowed)),
        None => Err(redis_error("Invalid command passed to redis.acl_check_cmd()")),
    }
}

fn log(lua: &Lua, state: &State, values: MultiValue) -> Result<Value> {
    let mut values = values.into_iter();
    let (Some(level), true) = (values.next(), values.len() > 0) else {
        return Err(redis_error("redis.log() requires two arguments or more."));
    };
    let Some(level) = number_of(lua, &level) else {
        return Err(redis_error("First argument must be a number (log level)."));
    };
    let level = match to_integer(level) {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        3 => LogLevel::Warning,
        _ => return Err(redis_error("Invalid debug level.")),
    };
    let mut message = Vec::new();
    for (index, value) in values.enumerate() {
        if let Some(text) = lua.coerce_string(value)? {
            if index > 0 {
                message.push(b' ');
            }
            state.check_output(message.len() + text.as_bytes().len())?;
            message.extend_from_slice(&text.as_bytes());
        }
    }
    state.host(|host| host.log(level, &message))?;
    Ok(Value::Nil)
}

fn set_protocol(lua: &Lua, state: &State, values: MultiValue) -> Result<Value> {
    check_running(state, "setresp")?;
    if values.len() != 1 {
        return Err(redis_error("redis.setresp() requires one argument."));
    }
    let number = values.front().and_then(|value| number_of(lua, value)).unwrap_or_default();
    state.protocol.set(match to_integer(number) {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(redis_error("RESP version must be 2 or 3.")),
    });
    Ok(Value::Nil)
}

fn sha1_hex(lua: &Lua, _: &State, values: MultiValue) -> Result<Value> {
    if values.len() != 1 {
        return Err(redis_error("wrong number of arguments"));
    }
    let text = values.into_iter().next().map(|value| lua.coerce_string(value)).transpose()?;
    let id = match text.flatten() {
        Some(text) => ScriptId::of(&text.as_bytes()),
        None => ScriptId::of(b""),
    };
    lua.create_string(id.as_bytes()).map(Value::String)
}

/// The only argument, which has to be a string; or the error that is returned, not raised.
fn only_string(lua: &Lua, values: &MultiValue) -> Result<std::result::Result<Vec<u8>, Value>> {
    match (values.front(), values.len()) {
        (Some(Value::String(text)), 1) => Ok(Ok(text.as_bytes().to_vec())),
        _ => error_table(lua, b"ERR wrong number or type of arguments", false).map(Err),
    }
}

fn error_reply(lua: &Lua, _: &State, values: MultiValue) -> Result<Value> {
    match only_string(lua, &values)? {
        Ok(text) => {
            let text = until_zero_byte(&text);
            let mut reply = vec![b'-'];
            reply.extend_from_slice(text.strip_prefix(b"-").unwrap_or(text));
            error_table(lua, &error_text(&reply), false)
        }
        Err(refusal) => Ok(refusal),
    }
}

fn status_reply(lua: &Lua, _: &State, values: MultiValue) -> Result<Value> {
    match only_string(lua, &values)? {
        Ok(text) => {
            let table = lua.create_table()?;
            table.raw_set("ok", lua.create_string(text)?)?;
            Ok(Value::Table(table))
        }
        Err(refusal) => Ok(refusal),
    }
}

fn set_replication(lua: &Lua, state: &State, values: MultiValue) -> Result<Value> {
    check_running(state, "set_repl")?;
    if values.len() != 1 {
        return Err(redis_error("redis.set_repl() requires two arguments."));
    }
    let flags = values.front().and_then(|value| number_of(lua, value)).unwrap_or_default();
    if to_integer(flags) & !REPL_ALL != 0 {
        return Err(redis_error(
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    Ok(Value::Nil)
}

fn breakpoint(_: &Lua, _: &State, _: MultiValue) -> Result<Value> {
    Ok(Value::Boolean(false))
}

fn replicate_commands(_: &Lua, _: &State, _: MultiValue) -> Result<Value> {
    Ok(Value::Boolean(true))
}

fn register_function(lua: &Lua, state: &State, values: MultiValue) -> Result<Value> {
    if state.mode.get() != Mode::Loading {
        return Err(redis_error(
            "redis.register_function can only be called on FUNCTION LOAD command",
        ));
    }
    let values = Vec::from(values);
    let read = match values.as_slice() {
        [named] => read_named(lua, named)?,
        [name, callback] => read_positional(lua, name, callback)?,
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    let (function, callback) = read.map_err(redis_error)?;
    let is_name = !function.name.is_empty()
        && function.name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if !is_name {
        return Err(redis_error(
            "Library names can only contain letters, numbers, or underscores(_) and must be at \
             least one character long",
        ));
    }
    let mut registered = state.registered.borrow_mut();
    if registered.iter().any(|(known, _)| known.name == function.name) {
        return Err(redis_error("Function already exists in the library"));
    }
    registered.push((function, callback));
    Ok(Value::Nil)
}

type Registered = std::result::Result<(LibraryFunction, Function), &'static str>;

fn read_positional(lua: &Lua, name: &Value, callback: &Value) -> Result<Registered> {
    let Some(name) = lua.coerce_string(name.clone())? else {
        return Ok(Err("first argument to redis.register_function must be a string"));
    };
    let Value::Function(callback) = callback else {
        return Ok(Err("second argument to redis.register_function must be a function"));
    };
    let name = name.as_bytes().to_vec();
    let function = LibraryFunction { name, description: None, flags: ScriptFlags::default() };
    Ok(Ok((function, callback.clone())))
}

fn read_named(lua: &Lua, named: &Value) -> Result<Registered> {
    let Value::Table(named) = named else {
        return Ok(Err(
            "calling redis.register_function with a single argument is only applicable \
                       to Lua table (representing named arguments).",
        ));
    };
    let (mut name, mut description, mut callback) = (None, None, None);
    let mut flags = ScriptFlags::default();
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Some(key) = lua.coerce_string(key)? else {
            return Ok(Err("named argument key given to redis.register_function is not a string"));
        };
        let key = until_zero_byte(&key.as_bytes()).to_ascii_lowercase();
        match key.as_slice() {
            b"function_name" => match lua.coerce_string(value)? {
                Some(text) => name = Some(text.as_bytes().to_vec()),
                None => {
                    return Ok(Err(
                        "function_name argument given to redis.register_function must \
                                   be a string",
                    ));
                }
            },
            b"description" => match lua.coerce_string(value)? {
                Some(text) => description = Some(text.as_bytes().to_vec()),
                None => {
                    return Ok(Err(
                        "description argument given to redis.register_function must be \
                                   a string",
                    ));
                }
            },
            b"callback" => match value {
                Value::Function(function) => callback = Some(function),
                _ => {
                    return Ok(Err(
                        "callback argument given to redis.register_function must be a \
                                   function",
                    ));
                }
            },
            b"flags" => match read_flags(lua, &value)? {
                Ok(read) => flags = read,
                Err(wrong) => return Ok(Err(wrong)),
            },
            _ => return Ok(Err("unknown argument given to redis.register_function")),
        }
    }
    let Some(name) = name else {
        return Ok(Err("redis.register_function must get a function name argument"));
    };
    let Some(callback) = callback else {
        return Ok(Err("redis.register_function must get a callback argument"));
    };
    Ok(Ok((LibraryFunction { name, description, flags }, callback)))
}

fn read_flags(lua: &Lua, flags: &Value) -> Result<std::result::Result<ScriptFlags, &'static str>> {
    let Value::Table(names) = flags else {
        return Ok(Err("flags argument to redis.register_function must be a table representing \
                       function flags"));
    };
    let mut flags = ScriptFlags::default();
    for name in names.sequence_values::<Value>() {
        let name = lua.coerce_string(name?)?;
        let flag = name.and_then(|name| ScriptFlags::from_name(until_zero_byte(&name.as_bytes())));
        match flag {
            Some(flag) => flags = flags | flag,
            None => return Ok(Err("unknown flag given")),
        }
    }
    Ok(Ok(flags))
}

/// `math.random` and `math.randomseed`.
///
/// # Errors
/// No memory.
pub fn math_table(lua: &Lua, state: &Rc<State>) -> Result<Table> {
    let table = lua.create_table()?;
    let shared = Rc::clone(state);
    let random = move |lua: &Lua, values| random(&Arguments::new(lua, values), &shared);
    table.raw_set("random", lua.create_function(random)?)?;
    let shared = Rc::clone(state);
    let seed = move |lua: &Lua, values| {
        let arguments = Arguments::new(lua, values);
        check_random(&arguments, &shared, "math.randomseed")?;
        shared.random.borrow_mut().seed(arguments.integer(1)? as i32);
        Ok(())
    };
    table.raw_set("randomseed", lua.create_function(seed)?)?;
    Ok(table)
}

fn check_random(arguments: &Arguments<'_>, state: &State, name: &str) -> Result<()> {
    if state.mode.get() == Mode::Running {
        return Ok(());
    }
    let text = format!("{name} can only be called inside a script invocation");
    Err(text_error(arguments.lua(), text))
}

fn random(arguments: &Arguments<'_>, state: &State) -> Result<Value> {
    check_random(arguments, state, "math.random")?;
    let drawn = state.random.borrow_mut().draw() % Drand48::LIMIT;
    let part = f64::from(drawn) / f64::from(Drand48::LIMIT);
    let bound = |number| arguments.integer(number).map(|bound| f64::from(bound as i32));
    let empty = |number: usize| -> Error { arguments.bad(number, "interval is empty") };
    let number = match arguments.len() {
        0 => part,
        1 => {
            let upper = bound(1)?;
            if upper < 1.0 {
                return Err(empty(1));
            }
            (part * upper).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (bound(1)?, bound(2)?);
            if lower > upper {
                return Err(empty(2));
            }
            (part * (upper - lower + 1.0)).floor() + lower
        }
        _ => return Err(text_error(arguments.lua(), "wrong number of arguments")),
    };
    Ok(Value::Number(number))
}
