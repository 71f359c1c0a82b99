//! The interpreter with a host that only remembers what it is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::protocol::output::OutputBuffer;
use crate::protocol::reply::{Protocol, ReplyWriter};
use crate::protocol::request::{Args, ArgsBuffer};
use std::sync::Arc;

/// A host that answers commands with what a test says.
#[derive(Default)]
struct Mock {
    polls: usize,
    polls_max: Option<usize>,
    log: Vec<(LogLevel, Vec<u8>)>,
    panics: bool,
}

impl Host for Mock {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut OutputBuffer) {
        assert!(!self.panics, "planted");
        let mut writer = ReplyWriter::new(reply, protocol);
        match args.at(0) {
            b"echo" => writer.bulk(args.at(1)),
            b"raw" => reply.put(args.at(1)),
            b"ok" => writer.ok(),
            b"count" => writer.count(args.len()),
            b"null" => writer.null(),
            _ => writer.error(b"ERR Unknown Redis command called from script"),
        }
    }

    fn check_acl(&mut self, args: Args<'_>) -> Option<bool> {
        (args.at(0) != b"none").then_some(args.at(0) == b"echo")
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.log.push((level, message.to_vec()));
    }

    fn poll(&mut self) -> Result<(), Stopped> {
        self.polls += 1;
        match self.polls_max {
            Some(max) if self.polls > max => Err(Stopped { text: "Script killed by user" }),
            _ => Ok(()),
        }
    }
}

fn run_with(host: &mut Mock, limits: &Limits, protocol: Protocol, source: &str) -> String {
    let script = Arc::new(Script::new(source.as_bytes(), 0));
    let mut output = OutputBuffer::new();
    let (mut keys, mut argv) = (ArgsBuffer::default(), ArgsBuffer::default());
    keys.push(b"key1");
    argv.push(b"arg1");
    argv.push(b"arg2");
    let mut reply = ReplyWriter::new(&mut output, protocol);
    match run_script(&script, keys.args(), argv.args(), host, limits, &mut reply) {
        Ok(()) => String::from_utf8_lossy(output.in_one_piece()).into_owned(),
        Err(error) => format!("-{error}").replace(script.id().as_str(), "SHA"),
    }
}

fn run(source: &str) -> String {
    run_with(&mut Mock::default(), &Limits::default(), Protocol::Resp2, source)
}

#[test]
fn values_become_replies() {
    let cases = [
        ("return 1.9", ":1\r\n"),
        ("return 'a'", "$1\r\na\r\n"),
        ("return true", ":1\r\n"),
        ("return false", "$-1\r\n"),
        ("return {1, 'a', nil, 3}", "*2\r\n:1\r\n$1\r\na\r\n"),
        ("return {ok='fine'}", "+fine\r\n"),
        ("return {{err='ERR x'}, {1}}", "*2\r\n-ERR x\r\n*1\r\n:1\r\n"),
        ("return {KEYS[1], ARGV[2]}", "*2\r\n$4\r\nkey1\r\n$4\r\narg2\r\n"),
        ("return redis.call('echo', 12.5)", "$4\r\n12.5\r\n"),
        ("return redis.call('ok')", "+OK\r\n"),
        ("return redis.call('null')", "$-1\r\n"),
        (
            "return redis.pcall('nope').err",
            "$44\r\nERR Unknown Redis command called from script\r\n",
        ),
    ];
    for (source, reply) in cases {
        assert_eq!(run(source), reply, "{source}");
    }
}

#[test]
fn errors_tell_where() {
    let cases = [
        (
            "return redis.call('nope')",
            "-ERR Unknown Redis command called from script script: SHA, on @user_script:1.",
        ),
        ("\nerror('x')", "-ERR user_script:2: x script: SHA, on @user_script:2."),
        (
            "x = 1",
            "-ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1.",
        ),
        (
            "return y",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'y' script: SHA, on @user_script:1.",
        ),
        ("return redis.error_reply('My Err')", "-My Err"),
        ("return {err='Own text'}", "-Own text"),
    ];
    for (source, reply) in cases {
        assert_eq!(run(source), reply, "{source}");
    }
}

#[test]
fn a_script_that_does_not_end_is_ended() {
    let sources = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function(e) return e end) end",
        "local f = coroutine.wrap(function() while true do end end) while true do pcall(f) end",
        "repeat until false",
        "return load(function() while true do end end)",
    ];
    for source in sources {
        let mut host = Mock { polls_max: Some(3), ..Mock::default() };
        let reply = run_with(&mut host, &Limits::default(), Protocol::Resp2, source);
        assert!(reply.starts_with("-ERR Script killed by user script: SHA"), "{source}: {reply}");
    }
    assert_eq!(run("return 1"), ":1\r\n");
}

#[test]
fn memory_has_an_end() {
    let limits = Limits { memory_bytes_max: 4 << 20 };
    let sources = [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = {i} end",
    ];
    for source in sources {
        let reply = run_with(&mut Mock::default(), &limits, Protocol::Resp2, source);
        assert_eq!(reply, "-ERR Error running script SHA, not enough memory", "{source}");
    }
    assert_eq!(run("return 1"), ":1\r\n");
}
