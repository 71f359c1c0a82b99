//! SELECT, MOVE, SWAPDB and what each database keeps for itself.

use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, expect_alike, expect_all, expect_wrong_arity};
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use crate::it;
use my_redis::command::context::ShutdownMode;
use std::sync::Arc;

const OUT_OF_RANGE: &str = "-ERR DB index is out of range\r\n";

transcript!(
    a_key_lives_in_the_database_that_was_selected,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("SET k zero", OK).expect("SELECT 3", OK).expect("GET k", NULL);
        wire.expect("SET k three", OK).expect("SET other x", OK).expect("DBSIZE", ":2\r\n");
        wire.expect("SELECT 0", OK).expect("GET k", "$4\r\nzero\r\n").expect("DBSIZE", ":1\r\n");
        wire.expect("KEYS *", "*1\r\n$1\r\nk\r\n").expect("EXISTS k other", ":1\r\n");
        wire.expect("SCAN 0 COUNT 100", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
        wire.expect("MSET a 1 b 2", OK).expect("SELECT 15", OK);
        wire.expect("MGET a b", "*2\r\n$-1\r\n$-1\r\n").expect("KEYS *", "*0\r\n");
        // Other clients begin in database 0, and a reset goes back to it.
        Wire::connect(addr).expect("MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
        wire.expect("RESET", "+RESET\r\n").expect("GET a", "$1\r\n1\r\n");
        for line in ["SELECT 16", "SELECT -1", "SELECT 2147483647"] {
            wire.expect(line, OUT_OF_RANGE);
        }
        wire.expect("SELECT x", NOT_AN_INTEGER).expect("GET a", "$1\r\n1\r\n");
    }
);

transcript!(
    a_flush_empties_one_database_or_all,
    several | addr | {
        let mut wire = Wire::connect(addr);
        for number in [0, 1, 7] {
            wire.expect(&format!("SELECT {number}"), OK).expect("MSET a 1 b 2", OK);
        }
        wire.expect("SELECT 1", OK).expect("FLUSHDB", OK).expect("DBSIZE", ":0\r\n");
        wire.expect("SELECT 0", OK).expect("DBSIZE", ":2\r\n").expect("SELECT 7", OK);
        wire.expect("DBSIZE", ":2\r\n").expect("FLUSHDB x", SYNTAX_ERROR);
        wire.expect("FLUSHALL ASYNC", OK).expect("DBSIZE", ":0\r\n");
        wire.expect("SELECT 0", OK).expect("DBSIZE", ":0\r\n");
    }
);

transcript!(
    move_takes_a_key_with_its_deadline,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("SET k v PXAT 33000000000123", OK).expect("RPUSH l a b", ":2\r\n");
        wire.expect("MOVE k 5", ":1\r\n").expect("MOVE k 5", ":0\r\n").expect("GET k", NULL);
        wire.expect("MOVE l 5", ":1\r\n").expect("DBSIZE", ":0\r\n").expect("SET k here", OK);
        wire.expect("MOVE k 5", ":0\r\n").expect("GET k", "$4\r\nhere\r\n").expect("SELECT 5", OK);
        wire.expect("GET k", "$1\r\nv\r\n").expect("PEXPIRETIME k", ":33000000000123\r\n");
        wire.expect("LRANGE l 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        let same = "-ERR source and destination objects are the same\r\n";
        wire.expect("MOVE k 5", same).expect("MOVE none 5", same);
        expect_all(&mut wire, &["MOVE k 16", "MOVE k -1"], OUT_OF_RANGE);
        expect_all(&mut wire, &["MOVE k x", "MOVE k 1.0"], NOT_AN_INTEGER);
        wire.expect("PEXPIREAT k 1", ":1\r\n").expect("MOVE k 6", ":0\r\n");
    }
);

transcript!(
    swapdb_changes_the_numbers_of_two_databases,
    several | addr | {
        let (mut wire, mut other) = (Wire::connect(addr), Wire::connect(addr));
        other.expect("SELECT 9", OK);
        wire.expect("MSET a 1 b 2", OK).expect("SWAPDB 0 9", OK).expect("DBSIZE", ":0\r\n");
        other.expect("MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n").expect("SET c 3", OK);
        wire.expect("SET only here", OK).expect("SWAPDB 9 0", OK).expect("DBSIZE", ":3\r\n");
        other.expect("GET only", "$4\r\nhere\r\n").expect("DBSIZE", ":1\r\n");
        wire.expect("SWAPDB 3 3", OK).expect("SWAPDB 3 4", OK).expect("DBSIZE", ":3\r\n");
        expect_all(&mut wire, &["SWAPDB 0 16", "SWAPDB -1 0"], OUT_OF_RANGE);
        wire.expect("SWAPDB x 1", "-ERR invalid first DB index\r\n");
        wire.expect("SWAPDB 1 x", "-ERR invalid second DB index\r\n");
        expect_wrong_arity(&mut wire, &["SWAPDB 1", "SWAPDB 1 2 3", "MOVE k", "SELECT"]);
    }
);

#[test]
fn with_one_database_the_others_are_refused_as_by_redis() {
    let lines = [
        "SELECT 0",
        "SELECT 1",
        "SET k v",
        "MOVE k 1",
        "MOVE k 0",
        "SWAPDB 0 1",
        "SWAPDB 0 0",
        "SWAPDB 1 1",
        "COMMAND GETKEYS MOVE k 1",
    ];
    expect_alike(false, &lines);
}

#[test]
fn info_and_client_list_tell_the_databases() {
    let server = Server::start_with(MANY_SHARDS, |options| options.databases = 16);
    let mut wire = server.wire();
    wire.expect("SET k v", OK).expect("SELECT 12", OK).expect("MSET a 1 b 2 c 3", OK);
    wire.expect("EXPIRE a 100", ":1\r\n").expect("EXPIRE b 100", ":1\r\n");
    let info = String::from_utf8(wire.run("INFO keyspace")).unwrap();
    assert!(info.contains("\r\ndb0:keys=1,expires=0,"), "{info}");
    assert!(info.contains("\r\ndb12:keys=3,expires=2,"), "{info}");
    assert_eq!(info.matches("\r\ndb").count(), 2, "{info}");
    wire.expect("SWAPDB 12 1", OK);
    let info = String::from_utf8(wire.run("INFO keyspace")).unwrap();
    assert!(info.contains("\r\ndb1:keys=3,expires=2,"), "{info}");
    let client = String::from_utf8(wire.run("CLIENT INFO")).unwrap();
    assert!(client.contains(" db=12 "), "{client}");
}

it!(keys_of_every_database_die_at_their_deadline, |one| {
    let shards = one.keyspace().shard_count();
    let server = Server::start_with(shards, |options| options.databases = 16);
    let mut wire = server.wire();
    for number in 0..16 {
        wire.expect(&format!("SELECT {number}"), OK);
        wire.expect(&format!("SET dies v PX {}", 1_000 + number), OK).expect("SET stays v", OK);
    }
    wire.expect("SWAPDB 0 15", OK);
    server.advance_ms(2_000);
    let swept = std::time::Instant::now();
    while server.keyspace().len() != 16 {
        assert!(swept.elapsed().as_secs() < 10, "{} keys are left", server.keyspace().len());
        std::thread::yield_now();
    }
    let with_deadline: u64 = server.keyspace().figures().map(|of| of.with_deadline()).sum();
    assert_eq!(with_deadline, 0);
});

it!(every_database_is_there_after_a_save_and_a_start, |one| {
    let shards = one.keyspace().shard_count();
    let server = Server::start_with(shards, |options| options.databases = 16);
    let mut wire = server.wire();
    for number in [0, 1, 15] {
        wire.expect(&format!("SELECT {number}"), OK);
        for key in 0..50 {
            wire.expect(&format!("SET key:{key} {number}:{key}"), OK);
        }
    }
    assert!(server.shut_down(ShutdownMode::Save));
    let again = Server::start_in(Arc::clone(server.folder()), 4, |options| options.databases = 16);
    let mut wire = again.wire();
    for (number, keys) in [(0, 50), (1, 50), (2, 0), (15, 50)] {
        wire.expect(&format!("SELECT {number}"), OK).expect("DBSIZE", format!(":{keys}\r\n"));
        for key in 0..keys {
            let value = format!("{number}:{key}");
            let value = format!("${}\r\n{value}\r\n", value.len());
            wire.expect(&format!("GET key:{key}"), value);
        }
    }
});
