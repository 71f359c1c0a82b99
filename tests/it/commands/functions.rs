//! FUNCTION, FCALL and FCALL_RO.

use super::OK;
use super::scripting::expect_same;
use crate::harness::oracle::Oracle;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, shown};
use crate::it;
use my_redis::command::context::ShutdownMode;
use std::sync::Arc;

const LIBRARY: &str = "#!lua name=lib
local function set(keys, args) return redis.call('set', keys[1], args[1]) end
redis.register_function('set_it', set)
redis.register_function{
    function_name = 'get_it', callback = function(keys) return redis.call('get', keys[1]) end,
    description = 'gets it', flags = {'no-writes', 'allow-stale'}
}";
const ONE: &str = "#!lua name=one\nredis.register_function('one', function() return 1 end)";
const CLASH: &str = "#!lua name=other\nredis.register_function('one', function() return 2 end)";
const TWO: &str = "#!lua name=one\nredis.register_function('one', function() return 2 end)";

const SESSION: &[&[&str]] = &[
    &["FUNCTION", "LOAD", LIBRARY],
    &["FUNCTION", "LOAD", LIBRARY],
    &["FUNCTION", "LOAD", "REPLACE", LIBRARY],
    &["FCALL", "set_it", "1", "k", "v"],
    &["FCALL", "SET_IT", "1", "k", "w"],
    &["FCALL", "get_it", "1", "k"],
    &["FCALL_RO", "get_it", "1", "k"],
    &["FCALL_RO", "set_it", "1", "k", "x"],
    &["FCALL", "nosuch", "0"],
    &["FCALL", "get_it", "x"],
    &["FCALL", "get_it", "-1"],
    &["FCALL", "get_it", "2", "k"],
    &["FCALL", "nosuch", "x"],
    &["FCALL"],
    &["FUNCTION", "LOAD", ONE],
    &["FUNCTION", "LOAD", CLASH],
    &["FUNCTION", "LOAD", "REPLACE", TWO],
    &["FCALL", "one", "0"],
    &["FUNCTION", "LIST", "LIBRARYNAME", "o*"],
    &["FUNCTION", "LIST", "LIBRARYNAME", "ONE", "WITHCODE"],
    &["FUNCTION", "LIST", "LIBRARYNAME", "x*"],
    &["FUNCTION", "LIST", "LIBRARYNAME"],
    &["FUNCTION", "LIST", "x"],
    &["FUNCTION", "LIST", "WITHCODE", "WITHCODE"],
    &["FUNCTION", "STATS"],
    &["FUNCTION", "KILL"],
    &["FUNCTION", "DELETE", "lib"],
    &["FUNCTION", "DELETE", "lib"],
    &["FUNCTION", "DELETE", "ONE"],
    &["FCALL", "get_it", "1", "k"],
    &["FUNCTION", "DUMP"],
    &["FLUSHALL"],
    &["FUNCTION", "LIST", "WITHCODE"],
    &["FUNCTION", "FLUSH"],
    &["FUNCTION", "LIST"],
    &["FUNCTION", "DUMP"],
    &["FUNCTION", "FLUSH", "ASYNC"],
    &["FUNCTION", "FLUSH", "SYNC"],
    &["FUNCTION", "FLUSH", "x"],
    &["FUNCTION", "FLUSH", "SYNC", "x"],
    &["FUNCTION", "LOAD", "x"],
    &["FUNCTION", "LOAD", "#!lua name=a"],
    &["FUNCTION", "LOAD", "#!lua\nreturn 1"],
    &["FUNCTION", "LOAD", "#!lua name=a-b\nreturn 1"],
    &["FUNCTION", "LOAD", "#!lua name=a name=b\nreturn 1"],
    &["FUNCTION", "LOAD", "#!lua name=a x=b\nreturn 1"],
    &["FUNCTION", "LOAD", "#!lua name=\nreturn 1"],
    &["FUNCTION", "LOAD", "#!js name=a\nreturn 1"],
    &["FUNCTION", "LOAD", "#!LUA name=a\nredis.register_function('a', function() return 1 end)"],
    &["FUNCTION", "LIST"],
    &["FUNCTION", "LOAD", "#!lua name=b\nlocal x = 1"],
    &["FUNCTION", "LOAD", "#!lua name=b\nlocal x = "],
    &["FUNCTION", "LOAD", "#!lua name=b\nerror('boom')"],
    &["FUNCTION", "LOAD", "#!lua name=b\nredis.register_function('a', function() end)"],
    &["FUNCTION", "LOAD", "#!lua name=b\nredis.register_function('a b', function() end)"],
    &["FUNCTION", "LOAD", "#!lua name=b\nredis.register_function('b', 1)"],
    &["FUNCTION", "LOAD", "NOREPLACE", "#!lua name=b\nx"],
    &["FUNCTION", "LOAD"],
    &["FUNCTION", "RESTORE", "x"],
    &["FUNCTION", "RESTORE", "x", "y"],
    &["FUNCTION", "RESTORE", "x", "y", "z"],
    &["FUNCTION", "HELP"],
    &["FUNCTION", "x"],
    &["FUNCTION"],
    &["MULTI"],
    &["FUNCTION", "LOAD", ONE],
    &["FCALL", "one", "0"],
    &["FUNCTION", "LOAD", "REPLACE", TWO],
    &["FCALL", "one", "0"],
    &["FUNCTION", "DELETE", "one"],
    &["FCALL", "one", "0"],
    &["EXEC"],
];

#[test]
fn functions_answer_as_those_of_redis() {
    expect_same(false, SESSION);
}

#[test]
fn functions_answer_a_client_of_resp3_as_those_of_redis() {
    expect_same(true, SESSION);
}

/// The payload in a reply of FUNCTION DUMP.
fn payload(wire: &mut Wire) -> Vec<u8> {
    let reply = wire.run("FUNCTION DUMP");
    let head = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    reply[head..reply.len() - 2].to_vec()
}

#[test]
fn payloads_of_redis_are_restored_here_and_ours_there() {
    let (server, oracle) = (Server::start(MANY_SHARDS), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    for (from, to) in [(0, 1), (1, 0)] {
        let mut wires = [&mut ours, &mut redis];
        for wire in &mut wires {
            wire.expect("FUNCTION FLUSH", OK);
        }
        wires[from].command(&["FUNCTION", "LOAD", LIBRARY]);
        wires[from].command(&["FUNCTION", "LOAD", ONE]);
        let payload = payload(wires[from]);
        let restore = |wire: &mut Wire, policy: &str| {
            let request = [&b"FUNCTION"[..], b"RESTORE", &payload, policy.as_bytes()];
            shown(&wire.command(&request))
        };
        assert_eq!(restore(wires[to], "APPEND"), shown(OK.as_bytes()));
        assert!(restore(wires[to], "APPEND").contains("already exists"));
        assert_eq!(restore(wires[to], "REPLACE"), shown(OK.as_bytes()));
        wires[to].command(&["FUNCTION", "LOAD", "REPLACE", TWO]);
        wires[to].expect("FCALL one 0", ":2\r\n");
        assert_eq!(restore(wires[to], "FLUSH"), shown(OK.as_bytes()));
        wires[to].expect("FCALL one 0", ":1\r\n").expect("FCALL set_it 1 k v", OK);
        wires[to].command(&["FUNCTION", "DELETE", "one"]);
        wires[to].command(&["FUNCTION", "LOAD", CLASH]);
        assert!(restore(wires[to], "REPLACE").contains("Function one already exists"));
        wires[to].expect("FCALL one 0", ":2\r\n");
    }
}

#[test]
fn functions_are_there_again_after_a_restart() {
    let server = Server::start(MANY_SHARDS);
    let mut wire = server.wire();
    wire.command(&["FUNCTION", "LOAD", LIBRARY]);
    wire.expect("FCALL set_it 1 k v", OK);
    let listed = wire.run("FUNCTION LIST WITHCODE");
    let folder = Arc::clone(server.folder());
    assert!(server.shut_down(ShutdownMode::Save));
    drop(server);
    let dump = std::fs::read(folder.path().join("dump.my_rdb")).unwrap();
    assert!(dump.starts_with(b"REDIS0010"), "a dump with functions says so in its version");
    let server = Server::start_in(folder, 1, |_| {});
    let mut wire = server.wire();
    assert_eq!(shown(&wire.run("FUNCTION LIST WITHCODE")), shown(&listed));
    wire.expect("FCALL get_it 1 k", "$1\r\nv\r\n");
}

it!(functions_survive_a_reload_and_count_as_changes, |server| {
    let mut wire = server.wire();
    let changes = |wire: &mut Wire| {
        let info = String::from_utf8(wire.run("INFO persistence")).unwrap();
        let field = info.split("rdb_changes_since_last_save:").nth(1).unwrap().to_owned();
        field.split("\r\n").next().unwrap().parse::<u64>().unwrap()
    };
    wire.command(&["FUNCTION", "LOAD", LIBRARY]);
    assert_eq!(changes(&mut wire), 1);
    wire.expect("SAVE", OK);
    assert_eq!(changes(&mut wire), 0);
    wire.command(&["FUNCTION", "LOAD", ONE]);
    wire.command(&["FUNCTION", "DELETE", "one"]);
    assert_eq!(changes(&mut wire), 2);
    wire.expect("FLUSHALL", OK).expect("FCALL set_it 1 k v", OK);
});

it!(a_library_that_takes_long_to_load_is_refused, |server| {
    let mut wire = server.wire();
    let reply = wire.command(&["FUNCTION", "LOAD", "#!lua name=a\nwhile true do end"]);
    let text = String::from_utf8(reply).unwrap();
    assert!(text.contains("FUNCTION LOAD timeout"), "{text}");
    wire.expect("FUNCTION LIST", "*0\r\n");
});
