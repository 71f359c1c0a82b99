//! FUNCTION: libraries of functions, which are kept with the data.
//!
//! A library is loaded, that is run once to see what it registers, while nothing is locked; then it
//! takes its place among the others in one step. FLUSHALL leaves them alone.

use crate::command::context::{Call, Context, Services};
use crate::command::dispatch::{LONG_BYTES, blocking_if};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::script_run::{LIMITS, TaskMover, log};
use crate::command::script_store::{KnownLibrary, Libraries, LibraryHead, ScriptStore};
use crate::command::scripting::is_flush_mode;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, Outcome, Run};
use crate::keyspace::Busy;
use crate::persist::functions::{self, FunctionStore};
use crate::protocol::{Args, OutputBuffer, Protocol, ReplyWriter};
use crate::script::{Host, Library, LogLevel, Stopped, load_library};
use crate::util::glob::glob_match;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A library that is loaded for longer is refused.
const LOAD_TIME_MAX: Duration = Duration::from_millis(500);

const CHANGES: Flags = Flags::NO_SCRIPT.and(Flags::WRITE);
const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "FUNCTION", group: Group::Scripting, arity: Arity::AtLeast(2),
        since: "7.0.0", cost: "Depends on subcommand.", syntax: "FUNCTION",
        summary: "A container for function commands.",
        run: Run::Container(SUBCOMMANDS), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "DELETE", group: Group::Scripting, arity: Arity::Exact(3), flags: CHANGES,
        since: "7.0.0", cost: "O(n) for n functions of the library",
        syntax: "FUNCTION DELETE library-name", summary: "Delete a function by name.",
        tips: ALL_SHARDS, run: Run::Client(delete), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DUMP", group: Group::Scripting, arity: Arity::Exact(2), flags: Flags::NO_SCRIPT,
        since: "7.0.0", cost: "O(n) for n bytes of all libraries", syntax: "FUNCTION DUMP",
        summary: "Dump all functions into a serialized binary payload.",
        run: Run::Client(dump), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FLUSH", group: Group::Scripting, arity: Arity::AtLeast(2), flags: CHANGES,
        since: "7.0.0", cost: "O(n) for n functions", syntax: "FUNCTION FLUSH [ASYNC | SYNC]",
        summary: "Deleting all functions.", tips: ALL_SHARDS,
        run: Run::Client(flush), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Scripting, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "7.0.0", cost: "O(1)", syntax: "FUNCTION HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(|_, call| { reply_help(call, HELP); Ok(()) }), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "KILL", group: Group::Scripting, arity: Arity::Exact(2),
        flags: Flags::NO_SCRIPT.and(Flags::ALLOW_BUSY),
        since: "7.0.0", cost: "O(n) for n busy functions", syntax: "FUNCTION KILL",
        summary: "Kill the function currently in execution.",
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        run: Run::Client(kill), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LIST", group: Group::Scripting, arity: Arity::AtLeast(2), flags: Flags::NO_SCRIPT,
        since: "7.0.0", cost: "O(n) for n functions",
        syntax: "FUNCTION LIST [LIBRARYNAME library-name-pattern] [WITHCODE]",
        summary: "List information about all the functions.",
        tips: &["nondeterministic_output_order"],
        run: Run::Client(list), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LOAD", group: Group::Scripting, arity: Arity::AtLeast(3),
        flags: CHANGES.and(Flags::DENY_OOM),
        since: "7.0.0", cost: "That of the library's own code",
        syntax: "FUNCTION LOAD [REPLACE] function-code",
        summary: "Create a function with the given arguments (name, code, description).",
        tips: ALL_SHARDS, run: Run::Client(load), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RESTORE", group: Group::Scripting, arity: Arity::AtLeast(3),
        flags: CHANGES.and(Flags::DENY_OOM),
        since: "7.0.0", cost: "That of loading each library",
        syntax: "FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE]",
        summary: "Restore all the functions on the given payload.", tips: ALL_SHARDS,
        run: Run::Client(restore), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "STATS", group: Group::Scripting, arity: Arity::Exact(2),
        flags: Flags::NO_SCRIPT.and(Flags::ALLOW_BUSY),
        since: "7.0.0", cost: "O(1)", syntax: "FUNCTION STATS",
        summary: "Return information about the function currently running (name, description, \
                  duration).",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        run: Run::Client(stats), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Library description",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the libraries.",
    "    * SYNC: Synchronously flush the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, can be restored using \
     FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore \
     policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, \
     replace the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of \
     failure",
    "      in case of functions name collision with another library).",
];

/// A library while it is loaded: it can do nothing but register functions, and not take long.
struct LoadHost {
    began: Instant,
    time_max: Option<Duration>,
    task_mover: TaskMover,
}

impl Host for LoadHost {
    fn call(&mut self, _args: Args<'_>, protocol: Protocol, reply: &mut OutputBuffer) {
        let text = b"ERR redis.call can only be called from a script or a function";
        ReplyWriter::new(reply, protocol).error(text);
    }

    fn check_acl(&mut self, _args: Args<'_>) -> Option<bool> {
        None
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log(level, message);
    }

    fn poll(&mut self) -> Result<(), Stopped> {
        let lasted = self.began.elapsed();
        self.task_mover.note(lasted);
        match self.time_max {
            Some(time_max) if lasted > time_max => Err(Stopped { text: "FUNCTION LOAD timeout" }),
            _ => Ok(()),
        }
    }
}

/// Runs a library once to see what it registers; nothing is kept yet.
fn run_library(
    head: &LibraryHead,
    code: &[u8],
    time_max: Option<Duration>,
) -> Result<KnownLibrary, CommandError> {
    let library = Arc::new(Library::new(code, head.body_from));
    let mut host = LoadHost { began: Instant::now(), time_max, task_mover: TaskMover::new() };
    let is_long = code.len() > LONG_BYTES;
    let functions = blocking_if(is_long, || load_library(&library, &mut host, &LIMITS))?;
    if functions.is_empty() {
        return Err(CommandError::Text("ERR No functions registered"));
    }
    Ok(KnownLibrary::new(head, &library, functions))
}

/// Loads all libraries of a dump or a payload, by themselves.
fn run_libraries(codes: &[Vec<u8>]) -> Result<Libraries, CommandError> {
    let mut libraries = Libraries::default();
    for code in codes {
        let head = LibraryHead::parse(code)?;
        if libraries.has(&head.name) {
            return Err(already_exists(&head.name));
        }
        libraries.put(run_library(&head, code, None)?)?;
    }
    Ok(libraries)
}

fn already_exists(name: &[u8]) -> CommandError {
    CommandError::echoing("ERR Library '", name, "' already exists")
}

impl FunctionStore for ScriptStore {
    fn codes(&self) -> Vec<Vec<u8>> {
        self.libraries().iter().map(|library| library.library.code().to_vec()).collect()
    }

    fn replace(&self, codes: &[Vec<u8>]) -> Result<(), String> {
        let text = |error: CommandError| String::from_utf8_lossy(&error.text()).into_owned();
        let libraries = run_libraries(codes).map_err(text)?;
        *self.libraries_mut() = libraries;
        Ok(())
    }
}

fn load(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let code_at = call.args.len() - 1;
    let mut replace = false;
    for option in call.args.take(code_at).iter_from(2) {
        if !option.eq_ignore_ascii_case(b"replace") {
            return Err(CommandError::echoing("ERR Unknown option given: ", option, ""));
        }
        replace = true;
    }
    let code = call.args.at(code_at);
    let head = LibraryHead::parse(code)?;
    let store = &context.services.scripts;
    if !replace && store.libraries().has(&head.name) {
        return Err(already_exists(&head.name));
    }
    let library = run_library(&head, code, Some(LOAD_TIME_MAX))?;
    let mut libraries = store.libraries_mut();
    if !replace && libraries.has(&head.name) {
        return Err(already_exists(&head.name));
    }
    libraries.put(library)?;
    drop(libraries);
    note_change(context);
    call.reply.bulk(&head.name);
    Ok(())
}

/// Functions are saved with the data.
fn note_change(context: &Context) {
    context.services.saver.note_function_change();
}

fn delete(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if !context.services.scripts.libraries_mut().remove(call.args.at(2)) {
        return Err(CommandError::Text("ERR Library not found"));
    }
    note_change(context);
    call.reply.ok();
    Ok(())
}

fn flush(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if call.args.len() > 3 {
        return Err(CommandError::unknown_or_arity(call.args.at(1), "FUNCTION"));
    }
    if !is_flush_mode(call) {
        let text = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
        return Err(CommandError::Text(text));
    }
    let flushed = std::mem::take(&mut *context.services.scripts.libraries_mut());
    drop(flushed);
    note_change(context);
    call.reply.ok();
    Ok(())
}

fn list(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let (mut pattern, mut with_code) = (None, false);
    let mut words = call.args.iter_from(2);
    while let Some(word) = words.next() {
        if !with_code && word.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && word.eq_ignore_ascii_case(b"libraryname") {
            let text = "ERR library name argument was not given";
            pattern = Some(words.next().ok_or(CommandError::Text(text))?);
        } else {
            return Err(CommandError::echoing("ERR Unknown argument ", word, ""));
        }
    }
    let libraries = context.services.scripts.libraries();
    let is_wanted = |library: &&KnownLibrary| {
        pattern.is_none_or(|pattern| glob_match(pattern, &library.name, true))
    };
    let wanted: Vec<&KnownLibrary> = libraries.iter().filter(is_wanted).collect();
    call.reply.array(wanted.len());
    for library in wanted {
        call.reply.map(if with_code { 4 } else { 3 });
        reply_pair(call, b"library_name", &library.name);
        reply_pair(call, b"engine", b"LUA");
        call.reply.bulk(b"functions");
        call.reply.array(library.functions.len());
        for known in &library.functions {
            call.reply.map(3);
            reply_pair(call, b"name", &known.function.name);
            call.reply.bulk(b"description");
            match &known.function.description {
                Some(description) => call.reply.bulk(description),
                None => call.reply.null(),
            }
            call.reply.bulk(b"flags");
            call.reply.set(known.function.flags.names().count());
            known.function.flags.names().for_each(|name| call.reply.status(name));
        }
        if with_code {
            reply_pair(call, b"library_code", library.library.code());
        }
    }
    Ok(())
}

fn reply_pair(call: &mut Call<'_>, name: &[u8], value: &[u8]) {
    call.reply.bulk(name);
    call.reply.bulk(value);
}

fn dump(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let codes = context.services.scripts.codes();
    call.reply.bulk(&functions::encode(&codes, call.config.rdb_compression()));
    Ok(())
}

fn restore(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if call.args.len() > 4 {
        return Err(CommandError::unknown_or_arity(call.args.at(1), "FUNCTION"));
    }
    let policy = call.args.get(3).unwrap_or(b"append").to_ascii_lowercase();
    if ![&b"append"[..], b"replace", b"flush"].contains(&&policy[..]) {
        return Err(CommandError::Text(
            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        ));
    }
    let codes = functions::decode(call.args.at(2))
        .map_err(|error| CommandError::Owned(format!("ERR {error}").into_bytes()))?;
    let new = run_libraries(&codes)?;
    let mut libraries = context.services.scripts.libraries_mut();
    if policy == b"flush" {
        *libraries = new;
    } else {
        *libraries = joined(&libraries, &new, policy == b"replace")?;
    }
    drop(libraries);
    note_change(context);
    call.reply.ok();
    Ok(())
}

/// All libraries of both, those of `new` in the place of old ones if `replace`.
fn joined(old: &Libraries, new: &Libraries, replace: bool) -> Result<Libraries, CommandError> {
    let mut all = old.clone();
    for library in new.iter() {
        if all.remove(&library.name) && !replace {
            return Err(CommandError::echoing("ERR Library ", &library.name, " already exists"));
        }
    }
    for library in new.iter() {
        all.put(library.clone())?;
    }
    Ok(all)
}

fn kill(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    context.services.busy_scripts.kill(Busy::Function)?;
    call.reply.ok();
    Ok(())
}

fn stats(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let Services { scripts, busy_scripts, .. } = &*context.services;
    let running = busy_scripts.first(Busy::Function);
    if running.is_none() && busy_scripts.any().is_some() {
        return Err(CommandError::Busy(Busy::Script));
    }
    call.reply.map(2);
    call.reply.bulk(b"running_script");
    match running {
        None => call.reply.null(),
        Some(running) => {
            call.reply.map(3);
            reply_pair(call, b"name", &running.name);
            call.reply.bulk(b"command");
            call.reply.array(running.command.len());
            running.command.iter().for_each(|argument| call.reply.bulk(argument));
            call.reply.bulk(b"duration_ms");
            let millis = running.duration().as_millis();
            call.reply.integer(i64::try_from(millis).unwrap_or(i64::MAX));
        }
    }
    let (libraries, functions) = scripts.libraries().counts();
    call.reply.bulk(b"engines");
    call.reply.map(1);
    call.reply.bulk(b"LUA");
    call.reply.map(2);
    call.reply.bulk(b"libraries_count");
    call.reply.count(libraries);
    call.reply.bulk(b"functions_count");
    call.reply.count(functions);
    Ok(())
}
