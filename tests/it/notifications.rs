//! Keyspace events: which are published, for what, in which order, and how soon.

use crate::harness::oracle::Oracle;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, shown};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const OK: &str = "+OK\r\n";
/// All classes, on both channels.
const EVERYTHING: &str = "KEAnm";

/// A client that hears of all events, one that causes them, and one that says when that is over.
struct Pair {
    listener: Wire,
    actor: Wire,
    marker: Wire,
}

impl Pair {
    fn connect(addr: SocketAddr, classes: &str) -> Self {
        let [mut listener, mut actor, marker] = [(); 3].map(|()| Wire::connect(addr));
        actor.expect(&format!("CONFIG SET notify-keyspace-events {classes}"), OK);
        listener.send("PSUBSCRIBE *").reply();
        Self { listener, actor, marker }
    }

    /// The reply to a command, and the messages that it caused.
    fn run(&mut self, line: &str) -> (Vec<u8>, String) {
        let reply = self.actor.run(line);
        self.marker.expect("PUBLISH end x", ":1\r\n");
        let mut events = String::new();
        loop {
            let message = String::from_utf8_lossy(&self.listener.reply()).into_owned();
            if message.contains("\r\nend\r\n") {
                return (reply, events);
            }
            let parts: Vec<&str> = message.split("\r\n").skip(6).step_by(2).collect();
            events.push_str(&format!("{} {}\n", parts[0], parts[1]));
        }
    }
}

/// Commands that may write: their misses are told by Redis only (docs/differences.md).
const MISSES_UNTOLD: &[&str] = &[
    "GETEX",
    "GETDEL",
    "SORT",
    "COPY",
    "BITOP",
    "PFMERGE",
    "XREAD",
    "XREADGROUP",
    "XACK",
    "XCLAIM",
    "XAUTOCLAIM",
];

fn without_misses(events: &str) -> String {
    events
        .lines()
        .filter(|line| !line.contains("keymiss"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Fails the test unless every command causes the same events here and in a redis-server.
#[track_caller]
fn expect_the_same_events(lines: &[&str]) {
    let server = Server::start_with(MANY_SHARDS, |options| options.databases = 16);
    let oracle = Oracle::start_with(&["--databases", "16"]);
    let mut ours = Pair::connect(server.addr(), EVERYTHING);
    let mut redis = Pair::connect(oracle.addr(), EVERYTHING);
    let mut caused = 0;
    for line in lines {
        let ((got, mut got_events), (reply, mut events)) = (ours.run(line), redis.run(line));
        if MISSES_UNTOLD.iter().any(|name| line.starts_with(name)) {
            got_events = without_misses(&got_events);
            events = without_misses(&events);
        }
        let is_random = line.starts_with("SPOP");
        assert!(is_random || got == reply, "{line}: {} instead of {}", shown(&got), shown(&reply));
        assert!(got_events == events, "{line}:\n{got_events}instead of\n{events}");
        caused += events.lines().count();
    }
    assert!(caused > lines.len(), "{caused} events are too few to say anything");
}

#[test]
fn blocking_commands_tell_what_they_take() {
    expect_the_same_events(&[
        "RPUSH l a b c d e f g h",
        "LMPOP 1 l LEFT COUNT 2",
        "BLPOP none l 0",
        "BRPOP l 0",
        "BLMOVE l m LEFT RIGHT 0",
        "BRPOPLPUSH l l 0",
        "BLMPOP 0 1 l RIGHT COUNT 9",
        "BLMOVE m n LEFT LEFT 0",
        "BLPOP n 0",
        "BLPOP none 0.01",
        "ZADD z 1 a 2 b 3 c",
        "BZPOPMIN z 0",
        "BZPOPMAX z 0",
        "BZMPOP 0 1 z MIN",
        "ZMPOP 1 z MIN",
    ]);
}

/// What a push causes that serves who waits.
#[test]
fn who_is_served_tells_as_in_redis() {
    let events_of = |addr| {
        let mut pair = Pair::connect(addr, EVERYTHING);
        let mut all = String::new();
        for (waiting, push) in [
            ("BLPOP k 0", "RPUSH k a"),
            ("BRPOP k 0", "LPUSH k a b"),
            ("BLMPOP 0 1 k LEFT COUNT 5", "LPUSH k a b"),
            ("BLMOVE k d LEFT RIGHT 0", "RPUSH k a"),
            ("BRPOPLPUSH k d 0", "RPUSH k a b"),
            ("BZPOPMIN z 0", "ZADD z 1 a"),
            ("BZMPOP 0 1 z MAX COUNT 5", "ZADD z 1 a 2 b"),
        ] {
            let mut wire = Wire::connect(addr);
            wire.send(waiting);
            let is_waiting = "\r\nblocked_clients:1\r\n";
            while !String::from_utf8(pair.marker.run("INFO clients")).unwrap().contains(is_waiting)
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            let (_, events) = pair.run(push);
            wire.reply();
            all += &format!("{waiting}, {push}:\n{events}");
            pair.run("FLUSHALL");
        }
        all
    };
    let (server, oracle) = (Server::start(MANY_SHARDS), Oracle::start());
    let (ours, redis) = (events_of(server.addr()), events_of(oracle.addr()));
    assert!(ours == redis, "{ours}instead of\n{redis}");
    assert!(ours.contains("lpop"), "{ours}");
}

#[test]
fn sets_tell_what_happens_to_them() {
    expect_the_same_events(&[
        "SADD s a b c",
        "SADD s a",
        "SADD s a d",
        "SREM s x",
        "SREM s a b",
        "SREM s c d",
        "SREM s c",
        "SADD s a b",
        "SMOVE s t a",
        "SMOVE s t b",
        "SMOVE s t x",
        "SMOVE none t a",
        "SADD s a",
        "SMOVE s t a",
        "SADD s a b c d e f",
        "SPOP s",
        "SPOP s 2",
        "SPOP s 100",
        "SPOP s",
        "SPOP s 3",
        "SADD s a b",
        "SADD t c",
        "SUNIONSTORE u s t",
        "SINTERSTORE u s t",
        "SINTERSTORE u s t",
        "SDIFFSTORE u s t",
        "SINTERCARD 2 s t",
        "SMEMBERS none",
        "SCARD none",
        "SADD one m",
        "SPOP one",
        "SADD one m",
        "SPOP one 1",
    ]);
}

#[test]
fn geo_commands_tell_what_happens_to_sorted_sets() {
    expect_the_same_events(&[
        "GEOADD g 13 38 a 15 37 b",
        "GEOADD g 13 38 a",
        "GEOADD g XX 14 38 a",
        "GEODIST g a b",
        "GEOSEARCH g FROMMEMBER a BYRADIUS 900 km",
        "GEOSEARCHSTORE d g FROMMEMBER a BYRADIUS 900 km",
        "GEOSEARCHSTORE d g FROMLONLAT 0 0 BYRADIUS 1 m",
        "GEOSEARCHSTORE d g FROMLONLAT 0 0 BYRADIUS 1 m",
        "GEORADIUS g 14 38 900 km STORE d",
        "GEORADIUS g 14 38 900 km STOREDIST d",
        "GEORADIUS g 0 0 1 m STORE d",
        "GEORADIUSBYMEMBER g a 900 km STORE d",
        "GEORADIUSBYMEMBER g a 900 km",
        "GEORADIUSBYMEMBER g a 900 km STORE d",
    ]);
}

#[test]
fn sorted_sets_tell_what_happens_to_them() {
    expect_the_same_events(&[
        "ZADD z 1 a 2 b 3 c",
        "ZADD z 1 a",
        "ZADD z XX 5 x",
        "ZADD z 4 a 5 d",
        "ZINCRBY z 1 a",
        "ZADD z INCR 1 a",
        "ZADD z NX INCR 1 a",
        "ZREM z x",
        "ZREM z a",
        "ZPOPMIN z",
        "ZPOPMAX z 5",
        "ZPOPMIN z",
        "ZADD z 1 a 2 b 3 c 4 d 5 e 6 f",
        "ZREMRANGEBYRANK z 0 0",
        "ZREMRANGEBYSCORE z 2 3",
        "ZADD y 0 a 0 b 0 c",
        "ZREMRANGEBYLEX y [a [b",
        "ZREMRANGEBYLEX y - +",
        "ZREMRANGEBYRANK z 0 -1",
        "ZREMRANGEBYRANK z 0 -1",
        "ZADD z 1 a 2 b",
        "ZADD y 1 b 2 c",
        "ZUNIONSTORE x 2 z y",
        "ZINTERSTORE x 2 z y",
        "ZDIFFSTORE x 2 z y",
        "ZDIFFSTORE x 2 y y",
        "ZDIFFSTORE x 2 y y",
        "ZRANGESTORE x z 0 0",
        "ZRANGESTORE x z 5 6",
        "ZMPOP 2 none z MIN",
        "ZMPOP 1 z MAX COUNT 9",
        "ZSCORE none a",
        "ZRANGE none 0 -1",
    ]);
}

#[test]
fn streams_tell_what_happens_to_them() {
    expect_the_same_events(&[
        "XADD s 1 a b",
        "XADD s 1 a b",
        "XADD s MAXLEN 1 2 a b",
        "XADD s MAXLEN 5 3 a b",
        "XTRIM s MAXLEN 5",
        "XTRIM s MAXLEN 1",
        "XADD s 4 a b",
        "XDEL s 9",
        "XDEL s 3 9",
        "XDEL none 3",
        "XSETID s 5",
        "XSETID none 5",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE new g 0 MKSTREAM",
        "XGROUP SETID s g 0",
        "XGROUP CREATECONSUMER s g c",
        "XGROUP CREATECONSUMER s g c",
        "XREADGROUP GROUP g c STREAMS s >",
        "XREADGROUP GROUP g d STREAMS s >",
        "XREADGROUP GROUP g e STREAMS s 0",
        "XCLAIM s g f 0 4",
        "XAUTOCLAIM s g h 0 0",
        "XREAD STREAMS none 0",
        "XACK s g 4",
        "XACK none g 4",
        "XGROUP DELCONSUMER s g c",
        "XGROUP DELCONSUMER s g c",
        "XGROUP DESTROY s g",
        "XGROUP DESTROY s g",
        "XLEN none",
        "XRANGE none - +",
        "XPENDING none g",
        "XINFO STREAM none",
        "COPY s t",
        "RENAME s u",
        "DEL u t",
    ]);
}

#[test]
fn strings_tell_what_happens_to_them() {
    expect_the_same_events(&[
        "SET k a",
        "SET k b EX 100",
        "SET k c KEEPTTL",
        "SET k d NX",
        "SET k d XX",
        "SET n d XX",
        "SET k e GET",
        "GET none",
        "SETNX k a",
        "SETNX l a",
        "SETEX k 100 a",
        "PSETEX k 100000 a",
        "GETSET k b",
        "GETEX k",
        "GETEX k EX 50",
        "GETEX k PERSIST",
        "GETEX k PERSIST",
        "GETEX k PXAT 1",
        "GETEX k PXAT 1",
        "GETDEL l",
        "GETDEL l",
        "SETRANGE k 2 ab",
        "SETRANGE k 0 \"\"",
        "MSET a 1 b 2",
        "MSETNX a 1 c 3",
        "MSETNX d 1 e 3",
        "INCR a",
        "DECR a",
        "INCRBY a 5",
        "DECRBY a 5",
        "INCRBYFLOAT a 1.5",
        "INCR x",
        "APPEND k more",
        "APPEND k \"\"",
        "APPEND new x",
        "STRLEN none",
        "SETBIT bits 7 1",
        "SETBIT bits 7 1",
        "BITOP OR bits2 bits k",
        "BITOP AND bits2 none1 none2",
        "BITOP AND bits2 none1 none2",
        "BITFIELD bits SET u8 0 5",
        "BITFIELD bits SET u8 0 5 GET u8 0",
        "BITFIELD bits INCRBY u8 8 1",
        "BITFIELD bits GET u8 0",
        "PFADD h a b",
        "PFADD h a",
        "PFMERGE h2 h",
        "GETRANGE none 0 1",
        "MGET none1 k none2",
        "SUBSTR none 0 1",
    ]);
}

#[test]
fn lists_tell_what_happens_to_them() {
    expect_the_same_events(&[
        "RPUSH l a b c",
        "LPUSH l x",
        "LPUSHX l y",
        "RPUSHX none y",
        "LPOP l",
        "RPOP l",
        "LPOP l 2",
        "LPOP l 9",
        "LPOP l",
        "RPUSH l a b c d a",
        "LSET l 0 z",
        "LINSERT l BEFORE b y",
        "LINSERT l AFTER none y",
        "LREM l 0 none",
        "LREM l 1 a",
        "LTRIM l 1 -2",
        "LTRIM l 0 -1",
        "LTRIM l 5 9",
        "LTRIM l 5 9",
        "RPUSH l a b",
        "LMOVE l m LEFT RIGHT",
        "LMOVE l m LEFT LEFT",
        "LMOVE l m LEFT LEFT",
        "RPOPLPUSH m m",
        "RPOPLPUSH m l",
        "LREM l 0 a",
        "LREM l 0 b",
        "RPUSH l a a",
        "LREM l 0 a",
        "LRANGE none 0 1",
        "LINDEX none 0",
        "RPUSH l 3 1 2",
        "SORT l STORE sorted",
        "SORT none STORE sorted",
        "SORT none STORE sorted",
        "RPOP l 3",
    ]);
}

#[test]
fn hashes_tell_what_happens_to_them() {
    expect_the_same_events(&[
        "HSET h a 1 b 2",
        "HSET h a 1",
        "HMSET h c 3",
        "HSETNX h a 1",
        "HSETNX h d 1",
        "HINCRBY h a 5",
        "HINCRBYFLOAT h a 1.5",
        "HDEL h x",
        "HDEL h a b",
        "HDEL h c d",
        "HINCRBY new a 1",
        "HGET none a",
        "HGETALL none",
        "HLEN none",
    ]);
}

#[test]
fn keys_tell_what_happens_to_them() {
    expect_the_same_events(&[
        "SET a 1",
        "RPUSH l 1",
        "DEL a none l",
        "SET a 1",
        "UNLINK a",
        "SET a 1",
        "RENAME a b",
        "SET a 2",
        "RENAME a b",
        "RENAME b b",
        "RENAMENX b a",
        "SET b 1",
        "RENAMENX a b",
        "COPY a c",
        "COPY a c",
        "COPY a c REPLACE",
        "COPY a c DB 1",
        "EXISTS none a",
        "TOUCH none",
        "RESTORE d 0 \"\\x00\\xc0\\x01\\x0a\\x00\\x26\\x78\\xe7\\xb6\\xd1\\x01\\x11\\xfc\"",
        "RESTORE d 9 \"\\x00\\xc0\\x01\\x0a\\x00\\x26\\x78\\xe7\\xb6\\xd1\\x01\\x11\\xfc\" REPLACE",
        "OBJECT ENCODING a",
    ]);
}

#[test]
fn deadlines_and_moves_tell_what_happens_to_keys() {
    expect_the_same_events(&[
        "SADD k a",
        "EXPIRE k 100",
        "EXPIRE k 50 NX",
        "PERSIST k",
        "PERSIST k",
        "EXPIRE none 1",
        "PEXPIRE k 100000",
        "PEXPIREAT k 1",
        "SADD k a",
        "EXPIREAT k 1",
        "SADD k a",
        "MOVE k 1",
        "MOVE k 1",
        "SELECT 1",
        "SCARD k",
        "EXPIRE k -1",
        "EXISTS k",
        "TTL k",
        "TYPE k",
        "SADD k a b",
        "FLUSHDB",
        "SADD k a b",
        "SWAPDB 0 1",
        "FLUSHALL",
        "SADD k a",
    ]);
}

#[test]
fn only_what_was_asked_for_is_published() {
    for classes in ["Ks", "Es", "KEg", "K", "E", "s", "A", "Kx", "En", "KEm"] {
        let (server, oracle) = (Server::start(MANY_SHARDS), Oracle::start());
        let mut ours = Pair::connect(server.addr(), classes);
        let mut redis = Pair::connect(oracle.addr(), classes);
        for line in ["SADD s a", "SREM s a", "SCARD none", "SADD s a", "EXPIRE s 100"] {
            assert_eq!(ours.run(line), redis.run(line), "{line} with {classes}");
        }
    }
}

#[test]
fn events_of_a_transaction_come_in_order() {
    let (server, oracle) = (Server::start(MANY_SHARDS), Oracle::start());
    let mut ours = Pair::connect(server.addr(), EVERYTHING);
    let mut redis = Pair::connect(oracle.addr(), EVERYTHING);
    let lines = ["MULTI", "SADD a 1", "SADD b 2", "SREM a 1", "SCARD none", "SADD a 1", "EXEC"];
    for line in lines {
        let (got, expected) = (ours.run(line), redis.run(line));
        assert_eq!(got.1, expected.1, "{line}");
    }
}

#[test]
fn a_key_is_announced_within_ten_milliseconds_of_its_deadline() {
    let server = Server::start_in_real_time(MANY_SHARDS);
    let mut pair = Pair::connect(server.addr(), "Ex");
    // Others with deadlines far away must not matter.
    for n in 0..20_000 {
        pair.actor.send(&format!("SET far:{n} x EX 100000"));
    }
    for _ in 0..20_000 {
        pair.actor.expect_reply(OK);
    }
    let mut late = Vec::new();
    for n in 0..50 {
        let began = Instant::now();
        pair.actor.expect(&format!("SET key:{n} x PX 20"), OK);
        let message = pair.listener.reply();
        let elapsed = began.elapsed();
        let key = format!("key:{n}");
        let expected = format!("\r\n__keyevent@0__:expired\r\n${}\r\n{key}\r\n", key.len());
        assert!(String::from_utf8_lossy(&message).contains(&expected), "{}", shown(&message));
        assert!(elapsed >= Duration::from_millis(19), "announced after {elapsed:?}");
        late.push(elapsed.saturating_sub(Duration::from_millis(20)));
    }
    late.sort();
    // The median: single times are at the mercy of the machine.
    assert!(late[25] < Duration::from_millis(10), "late by {:?}", late[25]);
}

#[test]
fn a_dead_key_that_a_command_finds_is_announced_once() {
    let server = Server::start(1);
    let mut pair = Pair::connect(server.addr(), "KEA");
    pair.actor.expect("SADD k a", ":1\r\n").expect("PEXPIRE k 30", ":1\r\n");
    pair.run("PING");
    server.advance_ms(30);
    let mut events = pair.run("SREM k a").1;
    std::thread::sleep(Duration::from_millis(50));
    events += &pair.run("SREM k a").1;
    assert_eq!(events, "__keyspace@0__:k expired\n__keyevent@0__:expired k\n");
}
