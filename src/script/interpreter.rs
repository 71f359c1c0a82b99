//! The interpreter of a thread, and one run in it.
//!
//! Each thread that runs scripts has one interpreter, made when it is first needed. It serves all
//! clients: what a run leaves behind in it is garbage, nothing that the next one could reach.
//!
//! What was compiled is found by the address of the source, of which a `Weak` is kept, so that the
//! address is not used again; from time to time those are dropped whose source is gone.

use crate::protocol::reply::ReplyWriter;
use crate::protocol::request::Args;
use crate::script::bytecode::sets_globals;
use crate::script::host::{Host, Limits, ScriptError};
use crate::script::raised::{PRELUDE_NAME, Raised, text_error, value_of};
use crate::script::redis_api;
use crate::script::source::{Library, LibraryFunction, Script};
use crate::script::stack::{Entrance, Returned, Run};
use crate::script::state::{Mode, State};
use crate::script::to_reply::{self, ErrorTable, Kind};
use crate::script::{bit_library, json, msgpack_library, string_library, struct_library};
use mlua::state::{GcIncParams, GcMode};
use mlua::{
    Error, Function, HookTriggers, Lua, LuaOptions, LuaString, MultiValue, Result, StdLib, Table,
    Value, VmState,
};
use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// What the interpreter is told before the first script.
const PRELUDE: &str = include_str!("prelude.lua");

/// Instructions between two questions whether to go on.
const INSTRUCTIONS_PER_POLL: u32 = 10_000;

/// Compiled sources before those whose text is gone are looked for.
const COMPILED_MIN: usize = 256;

/// Garbage of runs that is left where it is.
const GARBAGE_BYTES_MAX: usize = 256 * 1024;

/// How far memory may grow, in percent of what is in use, before Lua collects garbage by itself.
const PAUSE_BETWEEN_RUNS: i32 = 1000;
const PAUSE_WITHIN_RUN: i32 = 200;

/// Characters of an error that is no table, as Redis cuts it.
const BARE_ERROR_BYTES_MAX: usize = 100;

/// Bytes of all interpreters.
static MEMORY_BYTES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INTERPRETER: Cell<Option<Box<Interpreter>>> = const { Cell::new(None) };
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Bytes that the interpreters of all threads use, as of the last collection of each.
#[must_use]
pub fn memory_bytes() -> usize {
    MEMORY_BYTES.load(Ordering::Relaxed)
}

/// Compiles a script.
///
/// # Errors
/// It is not Lua; the text is that of Redis.
pub fn check_script(script: &Arc<Script>) -> std::result::Result<(), ScriptError> {
    in_interpreter(None, &Limits::default(), |interpreter| interpreter.script(script).map(|_| ()))
}

/// Runs a script and writes its reply. Cost: that of the script.
///
/// # Errors
/// The error that answers the command; nothing of a reply was written.
pub fn run_script(
    script: &Arc<Script>,
    keys: Args<'_>,
    argv: Args<'_>,
    host: &mut dyn Host,
    limits: &Limits,
    reply: &mut ReplyWriter<'_>,
) -> std::result::Result<(), ScriptError> {
    in_interpreter(Some(host), limits, |interpreter| {
        let number = interpreter.script(script)?;
        let run = Run { number, is_function: false, keys, argv };
        interpreter.run(&run, script.id().as_bytes(), reply)
    })
}

/// Runs the body of a library and returns what it has registered, in that order.
///
/// # Errors
/// It is not Lua, or its body fails; the texts are those of Redis.
pub fn load_library(
    library: &Arc<Library>,
    host: &mut dyn Host,
    limits: &Limits,
) -> std::result::Result<Vec<LibraryFunction>, ScriptError> {
    in_interpreter(Some(host), limits, |interpreter| {
        let functions = interpreter.load(library)?;
        let registered = functions.iter().map(|(function, _)| function.clone()).collect();
        interpreter.keep_library(library, functions).map_err(|error| unusable(&error))?;
        Ok(registered)
    })
}

/// Runs a function of a library and writes its reply; loads the library into this thread before.
///
/// # Errors
/// The error that answers the command; nothing of a reply was written.
pub fn run_function(
    library: &Arc<Library>,
    function: &[u8],
    keys: Args<'_>,
    argv: Args<'_>,
    host: &mut dyn Host,
    limits: &Limits,
    reply: &mut ReplyWriter<'_>,
) -> std::result::Result<(), ScriptError> {
    in_interpreter(Some(host), limits, |interpreter| {
        let number = interpreter.function(library, function)?;
        let run = Run { number, is_function: true, keys, argv };
        interpreter.run(&run, function, reply)
    })
}

/// Does something in the interpreter of this thread, and sees that nothing of it stays behind.
fn in_interpreter<R>(
    host: Option<&mut dyn Host>,
    limits: &Limits,
    run: impl FnOnce(&mut Interpreter) -> std::result::Result<R, ScriptError>,
) -> std::result::Result<R, ScriptError> {
    if IS_RUNNING.replace(true) {
        return Err(ScriptError::new("ERR a script runs on this thread already"));
    }
    let _running = Running;
    let mut interpreter = match INTERPRETER.take() {
        Some(interpreter) => interpreter,
        None => Box::new(Interpreter::new().map_err(|error| unusable(&error))?),
    };
    interpreter.begin(limits).map_err(|error| unusable(&error))?;
    let ended = catch_unwind(AssertUnwindSafe(|| match host {
        Some(host) => State::lend(host, || run(&mut interpreter)),
        None => run(&mut interpreter),
    }));
    // After a panic the interpreter is dropped: nobody knows in what state it is.
    match ended {
        Ok(ended) => {
            if let Some(panic) = interpreter.end() {
                resume_unwind(panic);
            }
            INTERPRETER.set(Some(interpreter));
            ended
        }
        Err(panic) => resume_unwind(panic),
    }
}

fn pausing(percent: i32) -> GcMode {
    GcMode::Incremental(GcIncParams::default().pause(percent))
}

fn unusable(error: &Error) -> ScriptError {
    ScriptError::new(format!("ERR there is no interpreter: {error}"))
}

struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        IS_RUNNING.set(false);
    }
}

/// Functions of the prelude, and names of fields.
pub struct Glue {
    entrance: Entrance,
    /// The global variables of scripts.
    globals: Table,
    begin: Function,
    load_library: Function,
    /// Lua's own, whose errors are bytes.
    loadstring: Function,
    keep: Function,
    rest: Function,
    pub next: Function,
    pub names: Names,
}

/// The fields that make a table a reply of a kind.
pub struct Names {
    pub err: LuaString,
    pub ok: LuaString,
    pub double: LuaString,
    pub big_number: LuaString,
    pub verbatim_string: LuaString,
    pub map: LuaString,
    pub set: LuaString,
}

impl Names {
    fn new(lua: &Lua) -> Result<Self> {
        Ok(Self {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            double: lua.create_string("double")?,
            big_number: lua.create_string("big_number")?,
            verbatim_string: lua.create_string("verbatim_string")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
        })
    }
}

/// What was compiled from sources that others own. The functions themselves are kept in Lua, by
/// numbers: mlua has room for some thousand references only.
struct Compiled<S, C> {
    by_address: HashMap<usize, (Weak<S>, C), ahash::RandomState>,
    clean_at: usize,
}

impl<S, C> Compiled<S, C> {
    fn new() -> Self {
        Self { by_address: HashMap::default(), clean_at: COMPILED_MIN }
    }

    fn get(&self, source: &Arc<S>) -> Option<&C> {
        self.by_address.get(&Arc::as_ptr(source).addr()).map(|(_, compiled)| compiled)
    }

    /// Keeps what was compiled; returns what nobody can ask for any more.
    fn keep(&mut self, source: &Arc<S>, compiled: C) -> Vec<C> {
        let mut gone = Vec::new();
        if self.by_address.len() >= self.clean_at {
            let is_gone = |_: &usize, entry: &mut (Weak<S>, C)| entry.0.strong_count() == 0;
            gone = self.by_address.extract_if(is_gone).map(|(_, (_, old))| old).collect();
            self.clean_at = COMPILED_MIN.max(2 * self.by_address.len());
        }
        let address = Arc::as_ptr(source).addr();
        self.by_address.insert(address, (Arc::downgrade(source), compiled));
        gone
    }
}

/// The numbers of the functions of a library, by their names.
type Functions = HashMap<Vec<u8>, u32, ahash::RandomState>;

struct Interpreter {
    glue: Glue,
    scripts: Compiled<Script, u32>,
    libraries: Compiled<Library, Functions>,
    /// What was run last: true for a function, or the body of a library.
    last_is_function: bool,
    free_numbers: Vec<u32>,
    numbers: u32,
    state: Rc<State>,
    /// Bytes of it in `MEMORY_BYTES`.
    counted_bytes: usize,
    /// Bytes in use after the last full collection.
    settled_bytes: usize,
    lua: Lua,
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        MEMORY_BYTES.fetch_sub(self.counted_bytes, Ordering::Relaxed);
    }
}

impl Interpreter {
    fn new() -> Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        // The functions of Lua itself, not those of mlua that let panics through.
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
        let state = Rc::new(State::new());
        let loadstring = lua.globals().raw_get("loadstring")?;
        let exports = Self::run_prelude(&lua, &state)?;
        // What functions in Rust have done by Lua code.
        for name in ["next", "index", "array_len", "count_shape"] {
            lua.set_named_registry_value(name, exports.raw_get::<Function>(name)?)?;
        }
        let glue = Glue {
            entrance: Entrance::new(
                &lua,
                exports.raw_get("compiled")?,
                exports.raw_get("globals")?,
                exports.raw_get("failed")?,
            )?,
            globals: exports.raw_get("globals")?,
            begin: exports.raw_get("begin")?,
            load_library: exports.raw_get("load_library")?,
            loadstring,
            keep: exports.raw_get("keep")?,
            rest: exports.raw_get("rest")?,
            next: exports.raw_get("next")?,
            names: Names::new(&lua)?,
        };
        let polled = Rc::clone(&state);
        let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_POLL);
        lua.set_global_hook(triggers, move |_, _| polled.poll().map(|()| VmState::Continue))?;
        lua.gc_collect()?;
        let settled_bytes = lua.used_memory();
        MEMORY_BYTES.fetch_add(settled_bytes, Ordering::Relaxed);
        Ok(Self {
            glue,
            scripts: Compiled::new(),
            libraries: Compiled::new(),
            last_is_function: false,
            free_numbers: Vec::new(),
            numbers: 0,
            state,
            counted_bytes: settled_bytes,
            settled_bytes,
            lua,
        })
    }

    fn run_prelude(lua: &Lua, state: &Rc<State>) -> Result<Table> {
        let native = lua.create_table()?;
        add_natives(lua, state, &native)?;
        native.raw_set("redis", redis_api::table(lua, state)?)?;
        native.raw_set("math", redis_api::math_table(lua, state)?)?;
        native.raw_set("string", string_library::table(lua, state)?)?;
        let libraries = lua.create_table()?;
        libraries.raw_set("bit", bit_library::table(lua)?)?;
        libraries.raw_set("cjson", json::table(lua, state)?)?;
        libraries.raw_set("cmsgpack", msgpack_library::table(lua, state)?)?;
        libraries.raw_set("struct", struct_library::table(lua, state)?)?;
        native.raw_set("libraries", libraries)?;
        let prelude = lua.load(PRELUDE).set_name(PRELUDE_NAME).into_function()?;
        prelude.call(native)
    }

    fn begin(&mut self, limits: &Limits) -> Result<()> {
        self.lua.set_memory_limit(0)?;
        let limit = self.lua.used_memory().saturating_add(limits.memory_bytes_max);
        self.state.memory_bytes_max.set(limit);
        self.state.output_bytes_max.set(limits.memory_bytes_max);
        Ok(())
    }

    /// Ends what `begin` began; returns the panic of the host, if it has panicked.
    fn end(&mut self) -> Option<Box<dyn Any + Send>> {
        let panic = self.state.finish();
        let used = self.lua.used_memory();
        if self.state.has_compiled.get() {
            self.step();
        }
        if used > self.settled_bytes + GARBAGE_BYTES_MAX {
            // It can only fail for want of memory, of which there is no limit now.
            let _unlikely = self.collect();
        }
        panic
    }

    /// Frees what no run can reach any more.
    ///
    /// Lua would go over all that it has whenever its memory has doubled, which for an interpreter
    /// without data of its own is every few runs. So a collection is told to let it grow tenfold;
    /// those that are needed in the middle of a run are told what Lua tells them.
    fn collect(&mut self) -> Result<()> {
        self.glue.rest.call::<()>(())?;
        self.lua.gc_set_mode(pausing(PAUSE_BETWEEN_RUNS));
        self.lua.gc_collect()?;
        self.lua.gc_set_mode(pausing(PAUSE_WITHIN_RUN));
        self.state.has_compiled.set(false);
        self.settled_bytes = self.lua.used_memory();
        MEMORY_BYTES
            .fetch_add(self.settled_bytes.wrapping_sub(self.counted_bytes), Ordering::Relaxed);
        self.counted_bytes = self.settled_bytes;
        Ok(())
    }

    /// Goes on with a collection that has begun because the collector was stopped to compile: then
    /// Lua forgets how far memory may grow, and this one is told again.
    fn step(&mut self) {
        self.lua.gc_set_mode(pausing(PAUSE_BETWEEN_RUNS));
        if self.lua.gc_step().unwrap_or(true) {
            self.lua.gc_set_mode(pausing(PAUSE_WITHIN_RUN));
            self.state.has_compiled.set(false);
        }
    }

    /// Gives a function a number.
    fn number(&mut self, function: &Function) -> Result<u32> {
        let number = self.free_numbers.pop().unwrap_or(self.numbers + 1);
        self.numbers = self.numbers.max(number);
        self.glue.keep.call::<()>((number, function))?;
        Ok(number)
    }

    fn forget(&mut self, numbers: Vec<u32>) -> Result<()> {
        for number in numbers {
            self.glue.keep.call::<()>((number, Value::Nil))?;
            self.free_numbers.push(number);
        }
        Ok(())
    }

    /// The number of the compiled script.
    fn script(&mut self, script: &Arc<Script>) -> std::result::Result<u32, ScriptError> {
        if let Some(number) = self.scripts.get(script) {
            return Ok(*number);
        }
        let prefix = "Error compiling script (new function)";
        let function = self.compile(script.body(), "@user_script", prefix)?;
        if !sets_globals(&function.dump(true)) {
            // Nothing in it can write into the real table: `_G` is its face.
            let globals = self.glue.globals.clone();
            function.set_environment(globals).map_err(|error| unusable(&error))?;
        }
        let number = self.number(&function).map_err(|error| unusable(&error))?;
        let gone = self.scripts.keep(script, number);
        self.forget(gone).map_err(|error| unusable(&error))?;
        Ok(number)
    }

    fn compile(
        &self,
        source: &[u8],
        name: &str,
        prefix: &str,
    ) -> std::result::Result<Function, ScriptError> {
        // Behind a blank the compiler takes compiled code for text, and refuses it.
        let spaced;
        let source = if source.first() == Some(&b'\x1b') {
            spaced = [b" ", source].concat();
            &spaced
        } else {
            source
        };
        // The compiler of Lua does not hold on to all that it works with.
        self.lua.gc_stop();
        let compiled: Result<(Value, Value)> = self
            .lua
            .create_string(source)
            .and_then(|source| self.limited(|| self.glue.loadstring.call((source, name))));
        self.lua.gc_restart();
        self.state.has_compiled.set(true);
        let text = match compiled {
            Ok((Value::Function(function), _)) => return Ok(function),
            Ok((_, failure)) => self.bare_text(failure),
            Err(error) => Ok(self.text_of(error)),
        };
        let text = text.unwrap_or_else(|error| self.text_of(error));
        Err(ScriptError::new([b"ERR ", prefix.as_bytes(), b": ", text.as_slice()].concat()))
    }

    fn load(
        &mut self,
        library: &Arc<Library>,
    ) -> std::result::Result<Vec<(LibraryFunction, Function)>, ScriptError> {
        let prefix = "Error compiling function";
        let body = self.compile(library.body(), "@user_function", prefix)?;
        self.state.registered.borrow_mut().clear();
        self.last_is_function = true;
        self.state.mode.set(Mode::Loading);
        let failure = self.limited(|| self.glue.load_library.call::<Value>(&body));
        self.state.mode.set(Mode::Idle);
        let registered = self.state.registered.take();
        let text = match failure {
            Ok(Value::Nil) => return Ok(registered),
            Ok(Value::Table(table)) => ErrorTable::read(&self.lua, &table).map(|error| error.text),
            Ok(other) => self.bare_text(other).map(|text| [b"ERR ", text.as_slice()].concat()),
            Err(error) => Err(error),
        };
        let text = text.unwrap_or_else(|error| self.text_of(error));
        let text = [b"ERR Error registering functions: ", text.as_slice()].concat();
        Err(ScriptError::new(text))
    }

    fn keep_library(
        &mut self,
        library: &Arc<Library>,
        functions: Vec<(LibraryFunction, Function)>,
    ) -> Result<()> {
        let mut numbers = Functions::default();
        for (about, function) in functions {
            numbers.insert(about.name, self.number(&function)?);
        }
        let gone = self.libraries.keep(library, numbers);
        self.forget(gone.into_iter().flat_map(HashMap::into_values).collect())
    }

    /// The number of a function of a library.
    fn function(
        &mut self,
        library: &Arc<Library>,
        name: &[u8],
    ) -> std::result::Result<u32, ScriptError> {
        if self.libraries.get(library).is_none() {
            let functions = self.load(library)?;
            self.keep_library(library, functions).map_err(|error| unusable(&error))?;
        }
        let number = self.libraries.get(library).and_then(|functions| functions.get(name));
        number.copied().ok_or_else(|| ScriptError::new("ERR Function not found"))
    }

    /// Calls into Lua under the limit of memory.
    fn limited<R>(&self, call: impl FnOnce() -> Result<R>) -> Result<R> {
        self.lua.set_memory_limit(self.state.memory_bytes_max.get())?;
        let ended = call();
        self.lua.set_memory_limit(0)?;
        ended
    }

    /// Runs a script or a function and writes the reply, or makes the error of it.
    fn run(
        &mut self,
        run: &Run<'_>,
        name: &[u8],
        reply: &mut ReplyWriter<'_>,
    ) -> std::result::Result<(), ScriptError> {
        if run.is_function != self.last_is_function {
            self.glue.begin.call::<()>(run.is_function).map_err(|error| unusable(&error))?;
            self.last_is_function = run.is_function;
        }
        self.state.mode.set(Mode::Running);
        let returned = self.glue.entrance.run(&self.lua, &self.state, run, reply);
        let written = returned.and_then(|returned| match returned {
            Returned::Written => Ok(None),
            Returned::Value(Value::Table(table), Kind::Failed) => {
                ErrorTable::read(&self.lua, &table).map(|error| Some(located(error, name)))
            }
            Returned::Value(other, Kind::Failed) => {
                self.bare_text(other).map(|text| Some(bare(&text, name)))
            }
            Returned::Value(value, kind) => {
                let error =
                    to_reply::write(&self.glue, &self.lua, &self.state, (value, kind), reply)?;
                Ok(error
                    .map(|error| ScriptError { text: error.text, is_counted: error.is_counted }))
            }
        });
        match written {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(error) => Err(bare(&self.text_of(error), name)),
        }
    }

    /// The text of an error that is no table.
    fn bare_text(&self, value: Value) -> Result<Vec<u8>> {
        let value = value_of(&self.lua, &self.state, value)?;
        if let Value::Table(table) = &value {
            return ErrorTable::read(&self.lua, table).map(|error| error.text);
        }
        let text = self.lua.coerce_string(value)?;
        Ok(text.map_or_else(|| b"execution failure".to_vec(), |text| text.as_bytes().to_vec()))
    }

    /// The text of an error that mlua reports.
    fn text_of(&self, error: Error) -> Vec<u8> {
        let text = self.bare_text(Value::Error(Box::new(error)));
        text.unwrap_or_else(|_| b"not enough memory".to_vec())
    }
}

/// An error with its place: `text script: name, on source:line.`
fn located(error: ErrorTable, name: &[u8]) -> ScriptError {
    let mut text = error.text;
    if let (Some(source), Some(line)) = (error.source, error.line) {
        for part in [b" script: ", name, b", on ", &source, b":", &line, b"."] {
            text.extend_from_slice(part);
        }
    }
    ScriptError { text, is_counted: error.is_counted }
}

fn bare(text: &[u8], name: &[u8]) -> ScriptError {
    let text = text.get(..BARE_ERROR_BYTES_MAX).unwrap_or(text);
    let mut all = b"ERR Error running script ".to_vec();
    for part in [name, b", ", text] {
        all.extend_from_slice(part);
    }
    ScriptError::new(all)
}

/// What the prelude needs that Lua code cannot do, or not without the debug library.
fn add_natives(lua: &Lua, state: &Rc<State>, native: &Table) -> Result<()> {
    let shared = Rc::clone(state);
    // The value of an error, and whether the script has to end.
    let caught_value = move |lua: &Lua, value: Value| {
        let value = value_of(lua, &shared, value)?;
        Ok((value, shared.is_over()))
    };
    native.raw_set("caught_value", lua.create_function(caught_value)?)?;
    let shared = Rc::clone(state);
    let caught = move |lua: &Lua, value: Value| match shared.is_over() {
        true => Err(Raised::Over.into()),
        false => value_of(lua, &shared, value),
    };
    native.raw_set("caught", lua.create_function(caught)?)?;
    let shared = Rc::clone(state);
    let compiled = move |_: &Lua, ()| {
        shared.has_compiled.set(true);
        Ok(())
    };
    native.raw_set("has_compiled", lua.create_function(compiled)?)?;
    let is_native = |_: &Lua, function: Function| Ok(function.info().what == "C");
    native.raw_set("is_native", lua.create_function(is_native)?)?;
    native.raw_set("bad_argument", lua.create_function(bad_argument)?)?;
    native.raw_set("raised_at", lua.create_function(raised_at)?)?;
    // A number as C casts it to 32 bits.
    let integer = |_: &Lua, number: f64| Ok(f64::from(number as i32));
    native.raw_set("integer", lua.create_function(integer)?)
}

/// The error for a wrong argument of a function of the prelude, which calls this. It goes by the
/// name that the script has called it by; `name` is for calls that have left no trace.
fn bad_argument(lua: &Lua, (name, number, why): (String, i64, String)) -> Result<()> {
    let called_as = lua.inspect_stack(1, |frame| frame.names().name.map(|name| name.into_owned()));
    let caller = lua.inspect_stack(2, |frame| frame.source().what);
    let name = match (called_as.flatten(), caller) {
        (Some(name), _) => name,
        (None, Some("tail")) => name,
        (None, _) => "?".to_owned(),
    };
    Err(text_error(lua, format!("bad argument #{number} to '{name}' ({why})")))
}

/// Where the error happened that the caller of this function handles: source and line of the
/// function that raised it, or of its caller if that is in C, passing over the prelude.
fn raised_at(lua: &Lua, (): ()) -> Result<MultiValue> {
    // This function is level 0, the handler level 1.
    let mut level = 2;
    let mut has_passed_c = false;
    loop {
        let place = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let name = source.source.map(|name| name.into_owned()).unwrap_or_default();
            (source.what, name, frame.current_line())
        });
        let Some((what, source, line)) = place else { return Ok(MultiValue::new()) };
        level += 1;
        if what == "C" && !has_passed_c {
            has_passed_c = true;
            continue;
        }
        if source == PRELUDE_NAME || what == "tail" {
            continue;
        }
        let source = Value::String(lua.create_string(source)?);
        let line = line.map_or(Value::Integer(-1), |line| Value::Integer(line as i64));
        return Ok(MultiValue::from_vec(vec![source, line]));
    }
}
