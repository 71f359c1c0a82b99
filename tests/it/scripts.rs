//! The interpreter of scripts beside a real redis-server: the same snippets in both, replies
//! compared byte for byte in both protocols.
//!
//! Here the interpreter runs by itself, with a host that passes commands on to the redis-server, so
//! that what is compared is the interpreter: conversions, errors with their places, the sandbox,
//! and the libraries. The snippets are in tests/data/lua, between lines of two hyphens.

use crate::harness::oracle::Oracle;
use crate::harness::wire::{Wire, escape};
use my_redis::protocol::output::OutputBuffer;
use my_redis::protocol::reply::{Protocol, ReplyWriter};
use my_redis::protocol::request::{Args, ArgsBuffer};
use my_redis::script::{Host, Limits, LogLevel, Script, Stopped, run_script};
use std::path::Path;
use std::sync::Arc;

const KEYS: [&[u8]; 2] = [b"key1", b"key2"];
const ARGUMENTS: [&[u8]; 2] = [b"arg1", b"arg2"];

/// A host that passes commands on.
struct Proxy {
    resp2: Wire,
    resp3: Wire,
}

impl Proxy {
    fn new(oracle: &Oracle) -> Self {
        Self { resp2: Wire::connect(oracle.addr()), resp3: Wire::connect_resp3(oracle.addr()) }
    }
}

impl Host for Proxy {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut OutputBuffer) {
        let wire = match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        };
        let args: Vec<&[u8]> = args.iter_from(0).collect();
        reply.put(&wire.command(&args));
    }

    fn check_acl(&mut self, args: Args<'_>) -> Option<bool> {
        (args.at(0) != b"nope").then_some(true)
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn poll(&mut self) -> Result<(), Stopped> {
        Ok(())
    }
}

fn arguments(texts: &[&[u8]]) -> ArgsBuffer {
    let mut arguments = ArgsBuffer::default();
    for text in texts {
        arguments.push(text);
    }
    arguments
}

/// What the interpreter answers.
fn answer(source: &str, protocol: Protocol, host: &mut Proxy) -> Vec<u8> {
    let script = Arc::new(Script::new(source.as_bytes(), 0));
    let (keys, argv) = (arguments(&KEYS), arguments(&ARGUMENTS));
    let mut output = OutputBuffer::new();
    let mut reply = ReplyWriter::new(&mut output, protocol);
    let limits = Limits::default();
    let ended = run_script(&script, keys.args(), argv.args(), host, &limits, &mut reply);
    if let Err(error) = ended {
        reply.error(&error.text);
    }
    output.in_one_piece().to_vec()
}

/// Compares all snippets of a file; they are run in order, each on an empty server.
fn compare(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lua").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let oracle = Oracle::start_with(&["--enable-debug-command", "yes"]);
    let mut different = Vec::new();
    let mut count = 0;
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut wire = match protocol {
            Protocol::Resp2 => Wire::connect(oracle.addr()),
            Protocol::Resp3 => Wire::connect_resp3(oracle.addr()),
        };
        wire.run("DEBUG SET-DISABLE-DENY-SCRIPTS 1");
        let mut host = Proxy::new(&oracle);
        for source in text.split("\n--\n") {
            count += 1;
            wire.run("FLUSHALL");
            // What snippets set in the libraries of the redis-server goes with its interpreter.
            wire.run("SCRIPT FLUSH");
            let mut request: Vec<&[u8]> = vec![b"EVAL", source.as_bytes(), b"2"];
            request.extend(KEYS);
            request.extend(ARGUMENTS);
            let expected = wire.command(&request);
            wire.run("FLUSHALL");
            let found = answer(source, protocol, &mut host);
            if found != expected {
                different.push(format!(
                    "{protocol:?}\n{source}\n  redis: {}\n  here:  {}",
                    escape(&expected),
                    escape(&found)
                ));
            }
        }
    }
    assert!(count > 100, "the snippets are not where they were");
    assert!(different.is_empty(), "{} of {count}\n{}", different.len(), different.join("\n"));
}

#[test]
fn values_are_converted_as_by_redis() {
    compare("conversions.lua");
}

#[test]
fn errors_and_the_sandbox_are_those_of_redis() {
    compare("errors.lua");
}

#[test]
fn strings_and_tables_are_those_of_lua() {
    compare("strings.lua");
}

#[test]
fn the_libraries_are_those_of_redis() {
    compare("libraries.lua");
}
