//! Commands, family by family: what each does, and how it refuses a wrong number of arguments, a
//! wrong type and a bad number.
//!
//! A `transcript!` is a session that two servers must answer alike: ours, on one shard and on
//! many, and a real redis-server. So no expected reply rests on somebody's memory of Redis. What
//! needs a clock that is moved by hand, or looks inside, is an `it!` and runs on ours alone.

use crate::harness::oracle::Oracle;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, shown};
use crate::it;
use my_redis::command::bitmap as bitmap_rows;
use my_redis::command::dump_restore as dump_restore_rows;
use my_redis::command::expire as expire_rows;
use my_redis::command::generic as generic_rows;
use my_redis::command::geo as geo_rows;
use my_redis::command::hash as hash_rows;
use my_redis::command::hyperloglog as hyperloglog_rows;
use my_redis::command::list as list_rows;
use my_redis::command::list_pop as list_pop_rows;
use my_redis::command::scripting as scripting_rows;
use my_redis::command::set as set_rows;
use my_redis::command::set_algebra as set_algebra_rows;
use my_redis::command::sort as sort_rows;
use my_redis::command::sorted_set as sorted_set_rows;
use my_redis::command::sorted_set_algebra as sorted_set_algebra_rows;
use my_redis::command::sorted_set_pop as sorted_set_pop_rows;
use my_redis::command::sorted_set_range as sorted_set_range_rows;
use my_redis::command::spec::CommandSpec;
use my_redis::command::string as string_rows;

/// Expands to three tests of one session with an empty server; `resp3` before the session's
/// connection has it speak RESP3, and `several` gives the session the address of a server with 16
/// databases, for as many connections as it needs.
macro_rules! transcript {
    ($name:ident, resp3 |$wire:ident| $session:block) => {
        transcript!(@tests $name, connect_resp3, $wire, $session);
    };
    ($name:ident, |$wire:ident| $session:block) => {
        transcript!(@tests $name, connect, $wire, $session);
    };
    ($name:ident, several |$addr:ident| $session:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use crate::harness::oracle::Oracle;
            use crate::harness::server::{MANY_SHARDS, Server};

            fn session($addr: std::net::SocketAddr) $session

            #[test]
            fn on_one_shard() {
                let server = Server::start_with(1, |options| options.databases = 16);
                session(server.addr());
            }

            #[test]
            fn on_many_shards() {
                let server = Server::start_with(MANY_SHARDS, |options| options.databases = 16);
                session(server.addr());
            }

            #[test]
            fn on_redis() {
                let oracle = Oracle::start_with(&["--databases", "16"]);
                session(oracle.addr());
            }
        }
    };
    (@tests $name:ident, $connect:ident, $wire:ident, $session:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use crate::harness::oracle::Oracle;
            use crate::harness::server::{MANY_SHARDS, Server};
            use crate::harness::wire::Wire;

            fn session(mut $wire: Wire) $session

            #[test]
            fn on_one_shard() {
                let server = Server::start(1);
                session(Wire::$connect(server.addr()));
            }

            #[test]
            fn on_many_shards() {
                let server = Server::start(MANY_SHARDS);
                session(Wire::$connect(server.addr()));
            }

            #[test]
            fn on_redis() {
                let oracle = Oracle::start();
                session(Wire::$connect(oracle.addr()));
            }
        }
    };
}

mod acl;
mod bitmap;
mod blocking;
mod config;
mod connection;
mod database;
mod debug;
mod dump_restore;
mod expire;
mod functions;
mod generic;
mod geo;
mod hash;
mod hash_expire;
mod hyperloglog;
mod introspection;
mod list;
mod memory;
mod monitor;
mod object;
mod observation;
mod pause;
mod pubsub;
mod scripting;
mod server;
mod set;
mod sort;
mod sorted_set;
mod stream;
mod stream_blocking;
mod string;
mod tracking;
mod transaction;

const OK: &str = "+OK\r\n";
const NULL: &str = "$-1\r\n";
const SYNTAX_ERROR: &str = "-ERR syntax error\r\n";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
const NO_SUCH_KEY: &str = "-ERR no such key\r\n";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

/// Fails the test unless every line is refused for its number of arguments.
#[track_caller]
fn expect_wrong_arity(wire: &mut Wire, lines: &[&str]) {
    for line in lines {
        let name = line.split(' ').next().unwrap().to_ascii_lowercase();
        let error = format!("-ERR wrong number of arguments for '{name}' command\r\n");
        wire.expect(line, error);
    }
}

/// Fails the test unless every line has this reply.
#[track_caller]
fn expect_all(wire: &mut Wire, lines: &[&str], reply: &str) {
    for line in lines {
        wire.expect(line, reply);
    }
}

/// Fails the test unless one of our servers and a real redis-server answer every line alike.
#[track_caller]
fn expect_alike(resp3: bool, lines: &[&str]) {
    let (server, oracle) = (Server::start(MANY_SHARDS), Oracle::start());
    let connect = if resp3 { Wire::connect_resp3 } else { Wire::connect };
    let (mut ours, mut redis) = (connect(server.addr()), connect(oracle.addr()));
    for line in lines {
        let expected = redis.run(line);
        ours.expect(line, expected);
    }
}

/// The byte strings of a flat array.
#[track_caller]
pub fn elements(reply: &[u8]) -> Vec<Vec<u8>> {
    let (head, mut rest) = line(reply);
    assert_eq!(head.first(), Some(&b'*'), "no array: {}", shown(reply));
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = line(rest);
        assert_eq!(head.first(), Some(&b'$'), "no byte string: {}", shown(rest));
        let len: usize = std::str::from_utf8(&head[1..]).unwrap().parse().unwrap();
        all.push(tail[..len].to_vec());
        rest = &tail[len + 2..];
    }
    assert_eq!(head[1..], *all.len().to_string().as_bytes(), "{}", shown(reply));
    all
}

/// The byte strings of a flat array in ascending order, for replies that have none.
#[track_caller]
fn sorted(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut all = elements(reply);
    all.sort();
    all
}

fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
    (&bytes[..end], &bytes[end + 2..])
}

/// Splits the reply of SCAN or HSCAN into the cursor and the array.
#[track_caller]
fn step(reply: &[u8]) -> (String, Vec<Vec<u8>>) {
    let rest = reply.strip_prefix(b"*2\r\n$").unwrap_or_else(|| panic!("{}", shown(reply)));
    let (_, rest) = line(rest);
    let (cursor, array) = line(rest);
    (String::from_utf8(cursor.to_vec()).unwrap(), elements(array))
}

/// Everything that a walk from cursor 0 on returns.
#[track_caller]
fn walk(wire: &mut Wire, command: &str, options: &str) -> Vec<Vec<u8>> {
    let (mut all, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let (next, found) = step(&wire.run(&format!("{command} {cursor} {options}")));
        all.extend(found);
        if next == "0" {
            return all;
        }
        cursor = next;
    }
}

/// Requests and by how much each raises the number of changes since the last save.
const CHANGES: &[(&str, u64)] = &[
    ("SET s 1", 1),
    ("SET s 1 NX", 0),
    ("SET s 1 XX GET", 1),
    ("SET none 1 XX", 0),
    ("GET s", 0),
    ("MSET a 1 b 2 c 3", 3),
    ("INCR s", 1),
    ("INCR nan 1", 0),
    ("APPEND s 5", 1),
    ("EXPIRE s 1000", 1),
    ("EXPIRE s 500 GT", 0),
    ("EXPIRE none 1000", 0),
    ("PERSIST s", 1),
    ("PERSIST s", 0),
    ("RPUSH l a b a b c", 5),
    ("RPUSH s a", 0),
    ("LPUSH l z", 1),
    ("LSET l 0 y", 1),
    ("LSET l 100 y", 0),
    ("LPOP l 0", 0),
    ("LPOP l", 1),
    ("LPOP none", 0),
    ("LPOP none 3", 0),
    ("LREM l 0 none", 0),
    ("LREM none 0 a", 0),
    ("LREM l 0 a", 2),
    ("RPOP l 10", 3),
    ("HSET h f 1 g 2", 2),
    ("HSET s f 1", 0),
    ("HMSET h i 1 j 2", 2),
    ("HINCRBY h f 1", 1),
    ("HINCRBY h f x", 0),
    ("HDEL h none", 0),
    ("HDEL none f", 0),
    ("HDEL h f i none", 2),
    ("RENAME h k", 1),
    ("RENAME k k", 0),
    ("RENAME none k", 0),
    ("RENAME k a", 1),
    ("DEL a b none", 2),
    ("UNLINK none", 0),
    ("EXPIREAT c 1", 1),
    ("SADD t a b c b", 3),
    ("SADD t a b", 0),
    ("SADD t a d", 1),
    ("SREM t x", 0),
    ("SREM none x", 0),
    ("SREM t a b x", 2),
    ("SMOVE t u none", 0),
    ("SMOVE none u c", 0),
    ("SMOVE t u c", 2),
    ("SADD t c", 1),
    ("SMOVE t u c", 1),
    ("SMOVE t t d", 0),
    ("SADD u 1 2 3 4 5 6 7 8 9", 9),
    ("SPOP u", 1),
    ("SPOP u 0", 0),
    ("SPOP u 2", 2),
    ("SPOP u 6", 6),
    ("SPOP u 6", 1),
    ("SPOP none", 0),
    ("SPOP none 2", 0),
    ("SINTERSTORE v t none", 0),
    ("SINTERSTORE v t t", 1),
    ("SUNIONSTORE v t u", 1),
    ("SDIFFSTORE v t t", 1),
    ("SDIFFSTORE v t t", 0),
    ("ZADD z 1 a 2 b 1 a", 2),
    ("ZADD z 1 a 2 b", 0),
    ("ZADD z NX 5 a 6 c", 1),
    ("ZADD z XX 5 a 5 d", 1),
    ("ZADD z GT 1 a", 0),
    ("ZADD z 7 a 8 a 8 a", 2),
    ("ZADD none XX 1 a", 0),
    ("ZADD z NX XX 1 a", 0),
    ("ZINCRBY z 1 a", 1),
    ("ZINCRBY z 0 a", 0),
    ("ZINCRBY z x a", 0),
    ("ZREM z none", 0),
    ("ZREM none a", 0),
    ("ZREM z a b none", 2),
    ("ZADD z 1 a 2 b 3 d 4 e 5 f 6 g 7 h 8 i", 8),
    ("ZREMRANGEBYRANK z 0 1", 2),
    ("ZREMRANGEBYSCORE z 100 200", 0),
    ("ZREMRANGEBYSCORE z 3 4", 2),
    ("ZPOPMIN z", 1),
    ("ZPOPMIN z 0", 0),
    ("ZPOPMAX z 2", 2),
    ("ZPOPMAX none 2", 0),
    ("ZMPOP 2 none z MIN COUNT 5", 2),
    ("ZMPOP 1 none MIN", 0),
    ("ZADD z 1 a 1 b 1 c", 3),
    ("ZREMRANGEBYLEX z [a (c", 2),
    ("ZRANGESTORE w z 0 -1", 1),
    ("ZRANGESTORE w z 5 9", 1),
    ("ZRANGESTORE w z 5 9", 0),
    ("ZUNIONSTORE w 1 z", 1),
    ("ZINTERSTORE w 2 z none", 1),
    ("ZDIFFSTORE w 2 z z", 0),
    ("RPUSH l a b c d e f", 6),
    ("LMPOP 2 none l LEFT COUNT 2", 2),
    ("LMPOP 1 none LEFT", 0),
    ("BLPOP none l 0", 1),
    ("BLMOVE l m LEFT RIGHT 0", 1),
    ("BRPOPLPUSH m m 0", 1),
    ("BLMPOP 0 1 l LEFT COUNT 5", 2),
    ("BRPOP m 0", 1),
    ("BLPOP none 0.001", 0),
    ("ZADD z 1 a 2 b 3 c 4 d", 4),
    ("BZPOPMIN z 0", 1),
    ("XADD x 1 a b", 1),
    ("XADD x 1 a b", 0),
    ("XADD x MAXLEN 1 2 a b", 1),
    ("XADD x 3 a b", 1),
    ("XADD x 4 a b", 1),
    ("XTRIM x MAXLEN 9", 0),
    ("XTRIM x MAXLEN ~ 1", 0),
    ("XTRIM x MAXLEN 1", 2),
    ("XDEL x 2 3", 0),
    ("XADD x 5 a b", 1),
    ("XGROUP CREATE x g 0", 1),
    ("XGROUP CREATE x g 0", 0),
    ("XGROUP CREATE y g 0 MKSTREAM", 1),
    ("XREADGROUP GROUP g c STREAMS x >", 2),
    ("XREADGROUP GROUP g c STREAMS x >", 0),
    ("XREADGROUP GROUP g c STREAMS x 0", 1),
    ("XREADGROUP GROUP g d STREAMS x 0", 2),
    ("XCLAIM x g e 0 4 5", 3),
    ("XCLAIM x g e 1000000 4 5", 0),
    ("XAUTOCLAIM x g f 0 0 COUNT 1", 2),
    ("XACK x g 4 9", 1),
    ("XACK x g 4 9", 0),
    ("XGROUP CREATECONSUMER x g h", 1),
    ("XGROUP CREATECONSUMER x g h", 0),
    ("XGROUP DELCONSUMER x g h", 1),
    ("XGROUP DELCONSUMER x g h", 0),
    ("XGROUP SETID x g 0", 1),
    ("XGROUP DESTROY x g", 1),
    ("XGROUP DESTROY x g", 0),
    ("XSETID x 9", 1),
    ("XSETID x 1", 0),
    ("XDEL x 4 5 6", 2),
    ("BZPOPMAX none z 0", 1),
    ("BZMPOP 0 1 z MIN COUNT 9", 2),
    ("SETNX s2 1", 1),
    ("SETNX s2 1", 0),
    ("SETEX s2 100 v", 1),
    ("GETSET s2 1", 1),
    ("GETEX s2", 0),
    ("GETEX s2 EX 100", 1),
    ("GETEX s2 PERSIST", 1),
    ("GETEX s2 PERSIST", 0),
    ("GETEX s2 EXAT 1", 1),
    ("GETDEL s2", 0),
    ("SET s2 v", 1),
    ("GETDEL s2", 1),
    ("SETRANGE s2 0 \"\"", 0),
    ("SETRANGE s2 2 abc", 1),
    ("INCRBYFLOAT f 1.5", 1),
    ("INCRBYFLOAT f x", 0),
    ("MSETNX m1 1 m2 2", 2),
    ("MSETNX m1 1 m3 2", 0),
    ("LPUSHX none a", 0),
    ("RPUSH q a b c d e f g", 7),
    ("RPUSHX q x y", 2),
    ("LINSERT q BEFORE none x", 0),
    ("LINSERT q AFTER b x", 1),
    ("LTRIM q 0 -1", 0),
    ("LTRIM q 1 -2", 2),
    ("LMOVE q q LEFT LEFT", 1),
    ("LMOVE q q2 LEFT LEFT", 1),
    ("LMOVE none q2 LEFT LEFT", 0),
    ("RPOPLPUSH q q2", 1),
    ("LTRIM q 5 0", 6),
    ("HSETNX h3 f 1", 1),
    ("HSETNX h3 f 1", 0),
    ("HINCRBYFLOAT h3 f 1.5", 1),
    ("HINCRBYFLOAT h3 f x", 0),
    ("SETBIT bits 7 1", 1),
    ("SETBIT bits 7 1", 0),
    ("SETBIT bits 8 0", 1),
    ("SETBIT bits 7 0", 1),
    ("BITOP NOT bits2 bits", 1),
    ("BITOP AND none none2", 0),
    ("BITOP OR bits2 none", 1),
    ("BITFIELD bits GET u8 0", 0),
    ("BITFIELD bits SET u8 0 5", 1),
    ("BITFIELD bits SET u8 0 5", 0),
    ("BITFIELD bits SET u8 0 6 INCRBY u8 8 1 INCRBY u8 8 0", 2),
    ("BITFIELD bits SET u8 #8 0 SET u8 0 6", 2),
    ("BITFIELD bits3 OVERFLOW FAIL SET u8 0 1000", 0),
    ("PFADD hll a b c", 4),
    ("PFADD hll a b c", 0),
    ("PFCOUNT hll", 1),
    ("PFCOUNT hll", 0),
    ("PFCOUNT hll none", 0),
    ("PFMERGE hll2 hll", 1),
    ("PFDEBUG TODENSE hll", 1),
    ("PFADD hll d e", 2),
    ("RENAMENX hll hll2", 0),
    ("RENAMENX hll hll3", 1),
    ("COPY hll3 hll2", 0),
    ("COPY hll3 hll2 REPLACE", 1),
    ("COPY none hll2 REPLACE", 0),
    ("TOUCH hll3", 0),
    ("RPUSH numbers 3 1 2", 3),
    ("SORT numbers", 0),
    ("SORT numbers STORE sorted", 3),
    ("SORT none STORE sorted", 1),
    ("SORT none STORE sorted", 0),
    ("RESTORE numbers 0 x", 0),
    ("DUMP numbers", 0),
];

it!(changes_are_counted_as_redis_counts_them, |server| {
    let mut wire = server.wire();
    for (request, changes) in CHANGES {
        let before = server.keyspace().changes_since_save();
        wire.run(request);
        let counted = server.keyspace().changes_since_save() - before;
        assert_eq!(counted, *changes, "{request}");
    }
});

#[test]
fn changes_are_counted_so_by_redis() {
    let oracle = Oracle::start();
    let mut wire = Wire::connect(oracle.addr());
    let count = |wire: &mut Wire| -> u64 {
        let info = String::from_utf8(wire.run("INFO persistence")).unwrap();
        let field = info.split("rdb_changes_since_last_save:").nth(1).unwrap();
        field.split("\r\n").next().unwrap().parse().unwrap()
    };
    for (request, changes) in CHANGES {
        let before = count(&mut wire);
        wire.run(request);
        assert_eq!(count(&mut wire) - before, *changes, "{request}");
    }
}

it!(a_refused_write_creates_no_key, |server| {
    let mut wire = server.wire();
    for line in [
        "SET k v XX",
        "SET k v EX 0",
        "INCRBY k abc",
        "DECRBY k -9223372036854775808",
        "MSET k v other",
        "LSET k 0 v",
        "LREM k 0 v",
        "LPOP k",
        "LPOP k 5",
        "HSET k f v g",
        "HINCRBY k f abc",
        "HDEL k f",
        "RENAME k other",
        "EXPIRE k 100",
        "PERSIST k",
        "APPEND k",
        "SREM k m",
        "SPOP k",
        "SPOP k 3",
        "SMOVE k other m",
        "SINTERSTORE k none other",
        "SINTERCARD 0 k",
        "ZADD k x m",
        "ZADD k XX 1 m",
        "ZINCRBY k x m",
        "ZREM k m",
        "ZPOPMIN k",
        "ZMPOP 1 k MIN",
        "ZREMRANGEBYRANK k 0 -1",
        "ZRANGESTORE k none 0 -1",
        "ZUNIONSTORE k 1 none",
        "ZUNIONSTORE k 2 none",
        "LMPOP 1 k LEFT",
        "BLPOP k 0.001",
        "BLMOVE k other LEFT LEFT 0.001",
        "BZMPOP 0.001 1 k MIN",
        "SETEX k 0 v",
        "GETEX k EX 10",
        "GETDEL k",
        "SETRANGE k 5 \"\"",
        "SETRANGE k 999999999999 v",
        "INCRBYFLOAT k inf",
        "MSETNX k v other",
        "LPUSHX k a",
        "LINSERT k BEFORE a b",
        "LTRIM k 0 1",
        "LMOVE none k LEFT LEFT",
        "LMOVE k other LEFT up",
        "HSETNX k f",
        "HINCRBYFLOAT k f x",
        "SETBIT k 0 2",
        "SETBIT k 4294967296 1",
        "BITOP AND k a b",
        "BITFIELD k GET u8 0",
        "BITFIELD k SET u8 0 x",
        "RENAMENX k other",
        "COPY k other",
        "SORT k STORE other",
        "RESTORE k 0 x",
    ] {
        wire.run(line);
        wire.expect("DBSIZE", ":0\r\n");
        assert_eq!(server.keyspace().changes_since_save(), 0, "{line}");
    }
});

#[test]
fn every_row_says_what_redis_says_of_the_command() {
    let (server, oracle) = (Server::start(1), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let families = [
        generic_rows::COMMANDS,
        sort_rows::COMMANDS,
        dump_restore_rows::COMMANDS,
        expire_rows::COMMANDS,
        string_rows::COMMANDS,
        bitmap_rows::COMMANDS,
        hyperloglog_rows::COMMANDS,
        list_rows::COMMANDS,
        list_pop_rows::COMMANDS,
        hash_rows::COMMANDS,
        set_rows::COMMANDS,
        set_algebra_rows::COMMANDS,
        sorted_set_rows::COMMANDS,
        sorted_set_range_rows::COMMANDS,
        sorted_set_algebra_rows::COMMANDS,
        sorted_set_pop_rows::COMMANDS,
        geo_rows::COMMANDS,
        scripting_rows::COMMANDS,
    ];
    // The subcommands of a container come in no order.
    let is_container = |spec: &&CommandSpec| !spec.subcommands().is_empty();
    for spec in families.into_iter().flatten().filter(|spec| !is_container(spec)) {
        let request = format!("COMMAND INFO {}", spec.name);
        let expected = redis.run(&request);
        ours.expect(&request, expected);
    }
}
