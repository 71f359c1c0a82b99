//! Fuzz target: any bytes as a script, as a reply that a script gets, as JSON, MessagePack, packed
//! values or a pattern. Whatever happens, the interpreter answers and goes on.
//!
//! The first byte says what the others are. A script may run until its host has been asked a few
//! times, and use little memory, which is held against a bound.

#![no_main]

use cap::Cap;
use libfuzzer_sys::fuzz_target;
use my_redis::protocol::output::OutputBuffer;
use my_redis::protocol::reply::{Protocol, ReplyWriter};
use my_redis::protocol::request::{Args, ArgsBuffer};
use my_redis::script::{Host, Limits, LogLevel, Script, ScriptError, Stopped, run_script};
use std::alloc::System;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const LIMITS: Limits = Limits { memory_bytes_max: 4 << 20 };
/// More than what a script may use: copies of it on its way in and out, and the interpreter.
const SPARE_BYTES: usize = 64 << 20;
const POLLS_MAX: u32 = 20;

/// What is done with `ARGV[1]`, and with `ARGV[2]`, the other half of the input.
const USES: [&str; 12] = [
    "return redis.call('x')",
    "redis.setresp(3) return redis.call('x')",
    "return {pcall(redis.call, 'x')}",
    "return cjson.decode(ARGV[1])",
    "return cjson.encode(cjson.decode(ARGV[1]))",
    "return {cmsgpack.unpack(ARGV[1])}",
    "return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))",
    "return {struct.unpack(ARGV[1], ARGV[2])}",
    "return struct.pack(ARGV[1], ARGV[2], 1, ARGV[2], -2, 0.5)",
    "return {ARGV[2]:find(ARGV[1])}",
    "return {ARGV[2]:gsub(ARGV[1], ARGV[2])}",
    "local r = {} for a, b in ARGV[2]:gmatch(ARGV[1]) do r[#r + 1] = a end return r",
];

/// Lines that make scripts which get further than any bytes would.
const LINES: [&str; 40] = [
    "local t = {}",
    "local s = 'x'",
    "s = s .. s",
    "t[#t + 1] = s",
    "t = {t, t}",
    "t.x = t",
    "t = setmetatable({}, {__index = t})",
    "for i = 1, 1e9 do",
    "while true do",
    "end",
    "local f = function(...)",
    "end f()",
    "if s then",
    "else",
    "pcall(f, t)",
    "xpcall(f, f)",
    "pcall(error, t)",
    "coroutine.wrap(f)(s)",
    "coroutine.yield(t)",
    "loadstring(s)()",
    "load(f)",
    "s = ('x'):rep(1e5)",
    "s = s:gsub('.', '%0%0')",
    "s:gsub('x', f)",
    "s:find('.-.-b')",
    "table.sort(t, f)",
    "table.insert(t, -5, s)",
    "t = {unpack(t)}",
    "s = cjson.encode(t)",
    "s = cmsgpack.pack(t)",
    "t = cjson.decode(s)",
    "redis.call(s, s)",
    "t = redis.pcall('x', s)",
    "redis.setresp(3)",
    "string.format(s, t)",
    "rawset(t, s, t)",
    "next(string).x = t",
    "collectgarbage('collect')",
    "return t",
    "return {map = t, s}",
];

/// A host that answers every command with the same bytes.
struct Echo<'a> {
    reply: &'a [u8],
    polls: u32,
}

impl Host for Echo<'_> {
    fn call(&mut self, _: Args<'_>, _: Protocol, reply: &mut OutputBuffer) {
        reply.put(self.reply);
    }

    fn check_acl(&mut self, _: Args<'_>) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn poll(&mut self) -> Result<(), Stopped> {
        self.polls += 1;
        if self.polls > POLLS_MAX { Err(Stopped { text: "enough" }) } else { Ok(()) }
    }
}

fn run(source: &[u8], input: &[u8], protocol: Protocol) -> Result<Vec<u8>, ScriptError> {
    let script = Arc::new(Script::new(source, 0));
    let (first, second) = input.split_at(input.len() / 2);
    let mut argv = ArgsBuffer::default();
    for part in [first, second] {
        argv.push(part);
    }
    let keys = ArgsBuffer::default();
    let mut host = Echo { reply: input, polls: 0 };
    let mut output = OutputBuffer::new();
    let mut reply = ReplyWriter::new(&mut output, protocol);
    run_script(&script, keys.args(), argv.args(), &mut host, &LIMITS, &mut reply)?;
    Ok(output.in_one_piece().to_vec())
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    let kind = usize::from(*kind);
    let protocol = if kind & 128 == 0 { Protocol::Resp2 } else { Protocol::Resp3 };
    let _ = match kind & 127 {
        0..40 => {
            let lines = input.iter().filter_map(|byte| LINES.get(usize::from(*byte) % 48));
            let source: Vec<&str> = lines.copied().collect();
            run(source.join("\n").as_bytes(), input, protocol)
        }
        40..60 => run(input, b":1\r\n", protocol),
        other => run(USES[other % USES.len()].as_bytes(), input, protocol),
    };
    assert_eq!(run(b"return 7", b"", Protocol::Resp2).as_deref(), Ok(&b":7\r\n"[..]));
    let used = ALLOCATOR.allocated();
    assert!(used < SPARE_BYTES, "{used} bytes after a script of {} bytes", input.len());
});
