//! Layer 3: Lua scripts. An interpreter for each thread that runs them, what a script sees of the
//! world, and the limits that it cannot pass.
//!
//! Who runs a script lends a [`Host`], which executes the commands of the script; nothing in here
//! knows keys or clients. The interpreter is Lua 5.1, by mlua; the sandbox around it is
//! `prelude.lua`, and what takes time or memory out of all proportion to its arguments in Lua's
//! own library is written anew here.
//!
//! * `interpreter.rs`: the interpreter of a thread, what it has compiled, and one run.
//! * `bytecode.rs`: whether a script sets global variables.
//! * `host.rs`, `source.rs`: the types that callers see.
//! * `state.rs`: what a run and the functions that it calls share; limits are kept there.
//! * `raised.rs`: how errors get from Rust into Lua and back.
//! * `stack.rs`: the calls into Lua and out of it that every script makes, by Lua's own interface.
//! * `from_reply.rs`, `to_reply.rs`: replies of commands, read for Lua; Lua values into replies.
//! * `redis_api.rs`: the rest of the table `redis`, and `math.random`.
//! * `string_library.rs`, `pattern.rs`: functions of `string` that can be interrupted.
//! * `json`, `msgpack_library.rs`, `struct_library.rs`, `bit_library.rs`: Redis' libraries.
//! * `arguments.rs`: reading arguments as Lua's own functions read theirs.

mod arguments;
mod bit_library;
mod bytecode;
mod from_reply;
mod host;
mod interpreter;
mod json;
mod msgpack_library;
mod pattern;
mod raised;
mod redis_api;
mod source;
mod stack;
mod state;
mod string_library;
mod struct_library;
mod to_reply;

#[cfg(test)]
mod stack_tests;
#[cfg(test)]
mod tests;

pub use host::{Host, Limits, LogLevel, ScriptError, Stopped};
pub use interpreter::{check_script, load_library, memory_bytes, run_function, run_script};
pub use source::{Library, LibraryFunction, Script, ScriptFlags, ScriptId};
