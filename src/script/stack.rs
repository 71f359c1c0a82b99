//! Lua's stack, used directly: the call of a script, and `redis.call` and `redis.pcall`.
//!
//! They run for every script and for every command of one, and with mlua's values in between they
//! cost more than the commands. So here, and nowhere else, Rust stands where a function in C would.
//! That is unsafe in three ways, and these are the rules:
//!
//! * Lua leaves a function by a jump when it raises an error, and whatever allocates may raise one:
//!   the limit of memory makes that a thing of every day. A jump runs no destructors. So no frame
//!   that is left in this way owns anything: what they hold needs no `Drop`, and memory belongs to
//!   [`State`]. The methods of [`Stack`] that may jump say so. Who does own something calls only
//!   the others.
//! * A panic must not get into the frames of Lua. The functions that Lua calls go at once through
//!   one that is `extern "C"`, in which a panic ends the process; there is nothing in here that
//!   panics. Panics of the host are caught before ([`State::host`]).
//! * Lua does not grow its stack by itself. It has [`ffi::LUA_MINSTACK`] slots when a function
//!   begins; who needs more, because replies nest, asks for them.

#![allow(unsafe_code, reason = "Lua's own interface; the rules are above")]

use crate::protocol::reply::ReplyWriter;
use crate::protocol::request::{Args, ArgsBuffer};
use crate::script::from_reply::{Part, Parts};
use crate::script::raised::code_and_text;
use crate::script::state::{Mode, State};
use crate::script::to_reply::{Kind, Plain};
use crate::util::number::format_f64;
use mlua::{Function, LightUserData, Lua, Result, Table, Value, ffi};
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;
use std::slice;

/// Replies within replies, at most.
const DEPTH_MAX: u32 = 64;
/// Slots that one reply needs beside those of the replies in it.
const REPLY_SLOTS: c_int = 12;
/// Elements of an array for which room is made before they have been read.
const ELEMENTS_RESERVED_MAX: usize = 1024;

/// What a call of a command without arguments is told.
pub const NO_COMMAND: &str = "Please specify at least one argument for this redis lib call";
/// What a call is told that has an argument of another type.
pub const BAD_ARGUMENT: &str = "Lua redis lib command arguments must be strings or integers";
const NOT_RUNNING: &str = "redis.call/pcall can only be called inside a script invocation";
const NO_REPLY: &str = "a command has answered with what is no reply";
const TOO_DEEP: &str = "reached lua stack limit";
const NO_MEMORY: &str = "not enough memory";
const ERR: &[u8] = b"ERR";

/// The stack of the function that Lua has called.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Stack(*mut ffi::lua_State);

/// What all of these rely on: the pointer is that of the state which called this function, or of
/// one whose errors are caught below, and lives as long as the function; indices are of values that
/// are there; there is room for what is pushed.
impl Stack {
    fn len(self) -> c_int {
        // SAFETY: as above; reads only.
        unsafe { ffi::lua_gettop(self.0) }
    }

    fn truncate(self, len: c_int) {
        // SAFETY: as above; `len` is no more than there are.
        unsafe { ffi::lua_settop(self.0, len) }
    }

    fn pop(self, count: c_int) {
        self.truncate(-count - 1);
    }

    /// The type of a value, one of `LUA_T...`.
    #[inline]
    fn kind(self, index: c_int) -> c_int {
        // SAFETY: as above; reads only.
        unsafe { ffi::lua_type(self.0, index) }
    }

    /// The bytes of a value that is a string. They stay as long as the value is on the stack.
    #[inline]
    fn bytes(&self, index: c_int) -> &[u8] {
        let mut len = 0;
        // SAFETY: as above. Of a string this converts nothing and so allocates nothing; the bytes
        // belong to the string, which does not move.
        unsafe {
            let bytes = ffi::lua_tolstring(self.0, index, &raw mut len);
            if bytes.is_null() { &[] } else { slice::from_raw_parts(bytes.cast(), len) }
        }
    }

    fn number(self, index: c_int) -> f64 {
        // SAFETY: as above; reads only.
        unsafe { ffi::lua_tonumber(self.0, index) }
    }

    fn boolean(self, index: c_int) -> bool {
        // SAFETY: as above; reads only.
        unsafe { ffi::lua_toboolean(self.0, index) != 0 }
    }

    fn pointer(self, index: c_int) -> *mut c_void {
        // SAFETY: as above; reads only.
        unsafe { ffi::lua_touserdata(self.0, index) }
    }

    /// Makes room for a reply; false when there is no more. It does not jump: the Lua that mlua
    /// brings catches errors in there.
    fn reserve(self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::lua_checkstack(self.0, REPLY_SLOTS) != 0 }
    }

    fn push_nil(self) {
        // SAFETY: as above; allocates nothing.
        unsafe { ffi::lua_pushnil(self.0) }
    }

    fn push_boolean(self, value: bool) {
        // SAFETY: as above; allocates nothing.
        unsafe { ffi::lua_pushboolean(self.0, c_int::from(value)) }
    }

    fn push_number(self, number: f64) {
        // SAFETY: as above; allocates nothing.
        unsafe { ffi::lua_pushnumber(self.0, number) }
    }

    fn push_pointer(self, pointer: *mut c_void) {
        // SAFETY: as above; allocates nothing, and does not look at what is there.
        unsafe { ffi::lua_pushlightuserdata(self.0, pointer) }
    }

    fn push_copy(self, index: c_int) {
        // SAFETY: as above; allocates nothing.
        unsafe { ffi::lua_pushvalue(self.0, index) }
    }

    /// Pushes what a table has at a number.
    fn push_element(self, table: c_int, number: c_int) {
        // SAFETY: as above; at `table` there is a table, and nothing is allocated.
        unsafe { ffi::lua_rawgeti_(self.0, table, number) }
    }

    /// Puts what a table has at the topmost value into its place.
    fn replace_with_field(self, table: c_int) {
        // SAFETY: as above; at `table` there is a table, and nothing is allocated.
        unsafe { ffi::lua_rawget_(self.0, table) }
    }

    /// May jump.
    #[inline]
    fn push_bytes(self, bytes: &[u8]) {
        // SAFETY: as above; who calls it owns nothing.
        unsafe { ffi::lua_pushlstring_(self.0, bytes.as_ptr().cast::<c_char>(), bytes.len()) }
    }

    /// May jump.
    #[inline]
    fn push_table(self, elements: usize, fields: c_int) {
        let elements = elements.min(ELEMENTS_RESERVED_MAX) as c_int;
        // SAFETY: as above; who calls it owns nothing.
        unsafe { ffi::lua_createtable(self.0, elements, fields) }
    }

    /// Pops the value of an element of a table, and puts it there. May jump.
    #[inline]
    fn set_element(self, table: c_int, number: c_int) {
        // SAFETY: as above; at `table` there is a table, and who calls it owns nothing.
        unsafe { ffi::lua_rawseti_(self.0, table, number) }
    }

    /// Pops the key and the value of a field of a table, and puts them there. The key is neither
    /// nil nor not a number. May jump.
    #[inline]
    fn set_field(self, table: c_int) {
        // SAFETY: as above; at `table` there is a table, and who calls it owns nothing.
        unsafe { ffi::lua_rawset(self.0, table) }
    }

    /// Makes one string of the topmost strings. May jump.
    fn join(self, count: c_int) {
        // SAFETY: as above; who calls it owns nothing.
        unsafe { ffi::lua_concat(self.0, count) }
    }

    /// Calls the function below the arguments, in whose place its only result is put. May jump.
    fn call(self, arguments: c_int) {
        // SAFETY: as above; who calls it owns nothing.
        unsafe { ffi::lua_call(self.0, arguments, 1) }
    }

    /// Raises the topmost value as an error. Jumps.
    fn raise(self) -> ! {
        // SAFETY: as above; who calls it owns nothing.
        unsafe { ffi::lua_error(self.0) }
    }
}

/// The place of a value that a function was made with, counted from 1.
const fn upvalue(number: c_int) -> c_int {
    ffi::lua_upvalueindex(number)
}

/// Keeps the state for as long as Lua knows its address.
struct Kept {
    _state: Rc<State>,
}

/// The address of the state, for functions; it is good for as long as the interpreter.
fn address_of(lua: &Lua, state: &Rc<State>) -> LightUserData {
    lua.set_app_data(Kept { _state: Rc::clone(state) });
    LightUserData(Rc::as_ptr(state).cast_mut().cast())
}

// Commands.

/// `redis.call` and `redis.pcall`.
///
/// # Errors
/// No memory.
pub fn command_functions(lua: &Lua, state: &Rc<State>) -> Result<[Function; 2]> {
    let functions: [ffi::lua_CFunction; 2] = [call, pcall];
    let [call, pcall] = functions.map(|function| {
        let upvalues = (address_of(lua, state), "ok", "OK");
        // SAFETY: the function takes three upvalues, which are these.
        unsafe { lua.exec_raw(upvalues, |lua| ffi::lua_pushcclosure(lua, function, 3)) }
    });
    Ok([call?, pcall?])
}

const STATE: c_int = upvalue(1);
const OK_FIELD: c_int = upvalue(2);
const OK_TEXT: c_int = upvalue(3);

unsafe extern "C-unwind" fn call(lua: *mut ffi::lua_State) -> c_int {
    command(Stack(lua), true)
}

unsafe extern "C-unwind" fn pcall(lua: *mut ffi::lua_State) -> c_int {
    command(Stack(lua), false)
}

/// How a command has ended.
#[derive(Clone, Copy)]
enum Ended {
    /// The reply stands in the state.
    Replied(*const [u8]),
    /// There was no command in the arguments.
    Refused(&'static str),
    /// An error of the script, whichever function it has called.
    Raised(&'static str),
    NoMemory,
}

extern "C" fn command(stack: Stack, raises: bool) -> c_int {
    // SAFETY: the function was made with the address of the state, which lives as long as Lua.
    let state = unsafe { &*stack.pointer(STATE).cast::<State>() };
    let ended = run_command(stack, state);
    stack.truncate(0);
    let raises = match ended {
        Ended::Replied(reply) => {
            // SAFETY: nothing writes into the reply before the next command, and none runs here.
            let reply = unsafe { &*reply };
            match push_whole_reply(stack, reply) {
                Ok(is_error) => {
                    state.reply.borrow_mut().clear();
                    raises && is_error
                }
                Err(text) => {
                    stack.truncate(0);
                    push_error(stack, ERR, text.as_bytes(), false);
                    true
                }
            }
        }
        Ended::Refused(text) => {
            push_error(stack, ERR, text.as_bytes(), false);
            raises
        }
        Ended::Raised(text) => {
            push_error(stack, ERR, text.as_bytes(), false);
            true
        }
        Ended::NoMemory => {
            stack.push_bytes(NO_MEMORY.as_bytes());
            true
        }
    };
    if raises {
        stack.raise();
    }
    1
}

/// Runs the command that the arguments are. Owns what it works with, so nothing in here may jump.
fn run_command(stack: Stack, state: &State) -> Ended {
    if state.mode.get() != Mode::Running {
        return Ended::Raised(NOT_RUNNING);
    }
    let mut arguments = state.arguments.borrow_mut();
    if let Some(ended) = read_command(stack, state, &mut arguments) {
        return ended;
    }
    let mut reply = state.reply.borrow_mut();
    if !reply.is_empty() {
        // Lua has jumped away from it.
        reply.clear();
    }
    let protocol = state.protocol.get();
    match state.host(|host| host.call(arguments.args(), protocol, &mut reply)) {
        Ok(()) => Ended::Replied(reply.in_one_piece()),
        Err(_) => Ended::Raised(state.why_over()),
    }
}

/// Copies the arguments of a command; how it ends if they are none.
#[inline]
fn read_command(stack: Stack, state: &State, arguments: &mut ArgsBuffer) -> Option<Ended> {
    arguments.clear();
    let count = stack.len();
    if count == 0 {
        return Some(Ended::Refused(NO_COMMAND));
    }
    let bytes_max = state.output_bytes_max.get();
    for index in 1..=count {
        let is_pushed = match stack.kind(index) {
            ffi::LUA_TSTRING => {
                let text = stack.bytes(index);
                arguments.bytes() + text.len() <= bytes_max && arguments.push(text)
            }
            ffi::LUA_TNUMBER => match stack.number(index) {
                number if number.is_nan() && number.is_sign_negative() => arguments.push(b"-nan"),
                number => arguments.push(&format_f64(number)),
            },
            _ => return Some(Ended::Refused(BAD_ARGUMENT)),
        };
        if !is_pushed {
            return Some(Ended::NoMemory);
        }
    }
    None
}

/// Pushes the reply to a command; true when it is the table of an error. May jump.
#[inline]
fn push_whole_reply(stack: Stack, reply: &[u8]) -> std::result::Result<bool, &'static str> {
    let mut parts = Parts::new(reply);
    let part = parts.next().ok_or(NO_REPLY)?;
    push_part(stack, part, &mut parts, 0)?;
    Ok(matches!(part, Part::Error(_)))
}

/// Pushes a part of a reply, with those that belong to it. May jump.
#[inline]
fn push_part<'a>(
    stack: Stack,
    part: Part<'a>,
    parts: &mut Parts<'a>,
    depth: u32,
) -> std::result::Result<(), &'static str> {
    match part {
        Part::Bulk(bytes) => stack.push_bytes(bytes),
        Part::Integer(number) => stack.push_number(number as f64),
        Part::Null => stack.push_boolean(false),
        Part::Nil => stack.push_nil(),
        Part::Boolean(value) => stack.push_boolean(value),
        Part::Status(text) => {
            stack.push_table(0, 1);
            stack.push_copy(OK_FIELD);
            match text {
                b"OK" => stack.push_copy(OK_TEXT),
                other => stack.push_bytes(other),
            }
            stack.set_field(-3);
        }
        other => return push_rare(stack, other, parts, depth),
    }
    Ok(())
}

/// As [`push_part`], for all others.
fn push_rare<'a>(
    stack: Stack,
    part: Part<'a>,
    parts: &mut Parts<'a>,
    depth: u32,
) -> std::result::Result<(), &'static str> {
    if depth == DEPTH_MAX || !stack.reserve() {
        return Err(TOO_DEEP);
    }
    match part {
        Part::Array(len) => return push_array(stack, len, parts, depth),
        Part::Error(line) => {
            let (code, text) = code_and_text(line);
            push_error(stack, code, text, true);
            return Ok(());
        }
        Part::Attributes(len) => {
            for _ in 0..len {
                push_next(stack, parts, depth)?;
                push_next(stack, parts, depth)?;
                stack.pop(2);
            }
            return push_next(stack, parts, depth);
        }
        _ => {}
    }
    stack.push_table(0, 1);
    match part {
        Part::Map(len) => {
            stack.push_bytes(b"map");
            stack.push_table(0, 0);
            for _ in 0..len {
                push_next(stack, parts, depth)?;
                push_next(stack, parts, depth)?;
                set_if_key(stack);
            }
        }
        Part::Set(len) => {
            stack.push_bytes(b"set");
            stack.push_table(0, 0);
            for _ in 0..len {
                push_next(stack, parts, depth)?;
                stack.push_boolean(true);
                set_if_key(stack);
            }
        }
        Part::Verbatim { format, text } => {
            stack.push_bytes(b"verbatim_string");
            stack.push_table(0, 2);
            for &(name, bytes) in &[(&b"string"[..], text), (b"format", format)] {
                stack.push_bytes(name);
                stack.push_bytes(bytes);
                stack.set_field(-3);
            }
        }
        Part::BigNumber(digits) => {
            stack.push_bytes(b"big_number");
            stack.push_bytes(digits);
        }
        Part::Double(number) => {
            stack.push_bytes(b"double");
            stack.push_number(number);
        }
        // They were dealt with above.
        _ => return Err(NO_REPLY),
    }
    stack.set_field(-3);
    Ok(())
}

/// Pushes the next part, which is in a reply of this depth. May jump.
#[inline]
fn push_next(
    stack: Stack,
    parts: &mut Parts<'_>,
    depth: u32,
) -> std::result::Result<(), &'static str> {
    let part = parts.next().ok_or(NO_REPLY)?;
    push_part(stack, part, parts, depth + 1)
}

/// May jump.
fn push_array(
    stack: Stack,
    len: usize,
    parts: &mut Parts<'_>,
    depth: u32,
) -> std::result::Result<(), &'static str> {
    let len = c_int::try_from(len).map_err(|_| NO_REPLY)?;
    stack.push_table(len as usize, 0);
    for number in 1..=len {
        push_next(stack, parts, depth)?;
        stack.set_element(-2, number);
    }
    Ok(())
}

/// Puts the topmost value into the table below its key; what cannot be a key is left out. May jump.
fn set_if_key(stack: Stack) {
    match stack.kind(-2) {
        ffi::LUA_TNIL => stack.pop(2),
        ffi::LUA_TNUMBER if stack.number(-2).is_nan() => stack.pop(2),
        _ => stack.set_field(-3),
    }
}

/// Pushes the table of an error. May jump.
fn push_error(stack: Stack, code: &[u8], text: &[u8], is_counted: bool) {
    stack.push_table(0, 2);
    stack.push_bytes(b"err");
    for part in &[code, b" ", text] {
        stack.push_bytes(part);
    }
    stack.join(3);
    stack.set_field(-3);
    if is_counted {
        stack.push_bytes(b"ignore_error_stats_update");
        stack.push_boolean(true);
        stack.set_field(-3);
    }
}

// Scripts.

/// What is called, and with what.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Of the compiled script or function.
    pub number: u32,
    /// A script finds its keys and arguments in global tables; a function is given them.
    pub is_function: bool,
    pub keys: Args<'a>,
    pub argv: Args<'a>,
}

/// What a run has ended with.
pub enum Returned {
    /// It is no table, and its reply is written.
    Written,
    /// A value, and what it is.
    Value(Value, Kind),
}

/// The way into Lua: what a run needs there, by its numbers in the registry.
pub struct Entrance {
    enter: c_int,
    handler: c_int,
}

/// The fields that make a table a reply of a kind.
const FIELDS: [&str; 7] = ["err", "ok", "double", "big_number", "verbatim_string", "map", "set"];

const COMPILED: c_int = upvalue(1);
const GLOBALS: c_int = upvalue(2);
const KEYS: c_int = upvalue(3);
const ARGV: c_int = upvalue(4);
const FIRST_FIELD: c_int = 5;
const UPVALUES: c_int = FIRST_FIELD - 1 + FIELDS.len() as c_int;

impl Entrance {
    /// An entrance for what is in `compiled`, by its numbers, with the globals of scripts, and with
    /// the function that is given errors where they happen.
    ///
    /// # Errors
    /// No memory.
    pub fn new(lua: &Lua, compiled: Table, globals: Table, handler: Function) -> Result<Self> {
        let mut entrance = Self { enter: 0, handler: 0 };
        let upvalues = (compiled, globals, "KEYS", "ARGV", mlua::Variadic::from_iter(FIELDS));
        // SAFETY: the function takes as many upvalues, which are these; `luaL_ref` pops a value.
        unsafe {
            lua.exec_raw::<()>(upvalues, |lua| {
                ffi::lua_pushcclosure(lua, enter, UPVALUES);
                entrance.enter = ffi::luaL_ref(lua, ffi::LUA_REGISTRYINDEX);
            })?;
            lua.exec_raw::<()>(handler, |lua| {
                entrance.handler = ffi::luaL_ref(lua, ffi::LUA_REGISTRYINDEX);
            })?;
        }
        Ok(entrance)
    }

    /// Runs a script or a function under the limit of memory of `state`, and writes the reply if
    /// it has returned something simple.
    ///
    /// # Errors
    /// No room on the stack.
    pub fn run(
        &self,
        lua: &Lua,
        state: &State,
        run: &Run<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<Returned> {
        lua.exec_raw_lua(|raw| {
            let stack = Stack(raw.state());
            if !stack.reserve() {
                return Err(mlua::Error::StackError);
            }
            let bottom = stack.len();
            stack.push_element(ffi::LUA_REGISTRYINDEX, self.handler);
            stack.push_element(ffi::LUA_REGISTRYINDEX, self.enter);
            stack.push_pointer((&raw const *run).cast_mut().cast());
            lua.set_memory_limit(state.memory_bytes_max.get())?;
            // SAFETY: function and argument were pushed, and the handler stands below them. Errors
            // are caught in there, so that this frame may own something.
            let status = unsafe { ffi::lua_pcall(stack.0, 1, 2, bottom + 1) };
            lua.set_memory_limit(0)?;
            let returned = if status == ffi::LUA_OK {
                let kind = Kind::of_table(stack.boolean(-1));
                stack.pop(1);
                match plain(&stack, -1) {
                    Some(plain) => {
                        plain.write(state.protocol.get(), reply);
                        Ok(Returned::Written)
                    }
                    // SAFETY: there is a value on the stack.
                    None => unsafe { raw.pop() }.map(|value| Returned::Value(value, kind)),
                }
            } else {
                // SAFETY: there is a value on the stack.
                unsafe { raw.pop() }.map(|value| Returned::Value(value, Kind::Failed))
            };
            stack.truncate(bottom);
            returned
        })
    }
}

/// A value that is no table.
fn plain(stack: &Stack, index: c_int) -> Option<Plain<'_>> {
    Some(match stack.kind(index) {
        ffi::LUA_TTABLE => return None,
        ffi::LUA_TSTRING => Plain::Text(stack.bytes(index)),
        ffi::LUA_TNUMBER => Plain::Number(stack.number(index)),
        ffi::LUA_TBOOLEAN => Plain::Boolean(stack.boolean(index)),
        _ => Plain::Nil,
    })
}

unsafe extern "C-unwind" fn enter(lua: *mut ffi::lua_State) -> c_int {
    enter_run(Stack(lua))
}

/// Calls what is to be run. Returns its value, and whether that is a table that has a field which
/// means something.
extern "C" fn enter_run(stack: Stack) -> c_int {
    // SAFETY: the only argument is the address of a run, which waits for this to return.
    let run = unsafe { *stack.pointer(1).cast::<Run<'_>>() };
    stack.truncate(0);
    // What is not there cannot be called either.
    stack.push_element(COMPILED, c_int::try_from(run.number).unwrap_or(0));
    if run.is_function {
        push_strings(stack, run.keys);
        push_strings(stack, run.argv);
        stack.call(2);
    } else {
        for &(name, args) in &[(KEYS, run.keys), (ARGV, run.argv)] {
            stack.push_copy(name);
            push_strings(stack, args);
            stack.set_field(GLOBALS);
        }
        stack.call(0);
    }
    let is_special = stack.kind(1) == ffi::LUA_TTABLE && has_field(stack);
    stack.push_boolean(is_special);
    2
}

/// True when the table at the bottom of the stack has one of the fields that mean something.
fn has_field(stack: Stack) -> bool {
    (FIRST_FIELD..=UPVALUES).any(|number| {
        stack.push_copy(upvalue(number));
        stack.replace_with_field(1);
        let is_there = stack.kind(-1) != ffi::LUA_TNIL;
        stack.pop(1);
        is_there
    })
}

/// Pushes a table of strings. May jump.
fn push_strings(stack: Stack, strings: Args<'_>) {
    // The allocator has to align blocks whose size is no power of two.
    let room = if strings.is_empty() { 0 } else { strings.len().next_power_of_two() };
    stack.push_table(room, 0);
    // A request has fewer arguments than that.
    for (number, text) in (1..c_int::MAX).zip(strings.iter_from(0)) {
        stack.push_bytes(text);
        stack.set_element(-2, number);
    }
}
