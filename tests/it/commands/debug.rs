//! DEBUG: who may use it, saving and loading again under load, and a server that sleeps.

use crate::harness::flag::raise_at_end;
use crate::harness::oracle::Oracle;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, shown};
use crate::it;
use my_redis::config::DebugAccess;
use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub fn server_with_debug() -> Server {
    Server::start_with(MANY_SHARDS, |options| options.debug_access = DebugAccess::Local)
}

it!(debug_is_refused_unless_the_option_allows_it, |server| {
    server.wire().expect(
        "DEBUG SLEEP 0",
        "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
         you can run it from a local connection, otherwise you need to set this option in the \
         configuration file, and then restart the server.\r\n",
    );
});

#[test]
fn wrong_subcommands_get_the_texts_of_redis() {
    let server = server_with_debug();
    let mut wire = server.wire();
    let unknown = |word: &str| {
        format!(
            "-ERR unknown subcommand or wrong number of arguments for '{word}'. Try DEBUG HELP.\r\n"
        )
    };
    wire.expect("DEBUG", "-ERR wrong number of arguments for 'debug' command\r\n")
        .expect("DEBUG foo", unknown("foo"))
        .expect("DEBUG sleep", unknown("sleep"))
        .expect("DEBUG sleep abc", "+OK\r\n")
        .expect("DEBUG error my-message", "-my-message\r\n")
        .expect("DEBUG log something", "+OK\r\n")
        .expect("DEBUG reload foo", "-ERR DEBUG RELOAD only supports the NOSAVE option here.\r\n");
}

#[test]
fn the_digest_of_the_same_data_is_that_of_redis() {
    const FILL: &[&str] = &[
        "SET text hello",
        "SET number 12345",
        "SET dying x PX 100000000",
        "RPUSH list a b a",
        "SADD numbers 3 1 2",
        "SADD set b a",
        "ZADD zset 1 a -0 b inf c 0.1 d 1e21 e 3.0000000000000004 f",
        "HSET hash f1 v1 f2 v2",
        "XADD log 1-1 a b c 7",
        "SELECT 3",
        "SET text hello",
        "SELECT 0",
    ];
    let server = Server::start_with(MANY_SHARDS, |options| {
        options.debug_access = DebugAccess::Local;
        options.databases = 16;
    });
    let oracle = Oracle::start_with(&["--enable-debug-command", "yes", "--databases", "16"]);
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let mut seen = HashSet::new();
    for line in [&["SAVE"], FILL].concat() {
        assert_eq!(ours.run(line), redis.run(line), "{line}");
        for asked in ["DEBUG DIGEST", "DEBUG DIGEST-VALUE text nosuch list set zset hash dying log"]
        {
            let digest = ours.run(asked);
            assert_eq!(shown(&digest), shown(&redis.run(asked)), "{asked} after {line}");
            if asked == "DEBUG DIGEST" && !line.starts_with("SELECT") {
                assert!(seen.insert(digest), "nothing has changed by {line}");
            }
        }
    }
    ours.run("MULTI");
    ours.run("DEBUG DIGEST");
    let digest = redis.run("DEBUG DIGEST");
    assert_eq!(ours.run("EXEC"), [b"*1\r\n", digest.as_slice()].concat());
}

#[test]
fn debug_object_tells_how_a_value_is_stored() {
    let server = server_with_debug();
    let mut wire = server.wire();
    let clock = (server.now_ms() / 1_000) & 0xff_ffff;
    let told = |encoding: &str, length: u32, idle: u32| {
        format!(
            "+Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{length} lru:{clock} \
             lru_seconds_idle:{idle}\r\n"
        )
    };
    wire.expect("SET a 12345", "+OK\r\n")
        .expect("RPUSH l a b", ":2\r\n")
        .expect("DEBUG OBJECT a", told("int", 3, 0));
    server.advance_ms(7_000);
    wire.expect("debug object l", told("quicklist", 5, 7))
        .expect("DEBUG OBJECT nosuch", "-ERR no such key\r\n");
}

#[test]
fn samples_of_all_types_are_those_of_redis() {
    const REAL: &str = "$39\r\nSome real reply following the attribute\r\n";
    let server = server_with_debug();
    let (mut two, mut three) = (server.wire(), server.wire3());
    let mut both = |name: &str, in_two: &str, in_three: &str| {
        two.expect(&format!("DEBUG PROTOCOL {name}"), in_two);
        three.expect(&format!("debug protocol {name}"), in_three);
        if name == "push" {
            three.expect_reply("$40\r\nSome real reply following the push reply\r\n");
        }
    };
    let number = "1234567999999999999999999999999999999";
    let three_numbers = ":0\r\n:1\r\n:2\r\n";
    both("string", "$11\r\nHello World\r\n", "$11\r\nHello World\r\n");
    both("INTEGER", ":12345\r\n", ":12345\r\n");
    both("double", "$5\r\n3.141\r\n", ",3.141\r\n");
    both("bignum", &format!("$37\r\n{number}\r\n"), &format!("({number}\r\n"));
    both("null", "$-1\r\n", "_\r\n");
    both("array", &format!("*3\r\n{three_numbers}"), &format!("*3\r\n{three_numbers}"));
    both("set", &format!("*3\r\n{three_numbers}"), &format!("~3\r\n{three_numbers}"));
    both(
        "map",
        "*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n",
        "%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n",
    );
    let attributes = "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n";
    both("attrib", REAL, &format!("{attributes}{REAL}"));
    both(
        "push",
        "-ERR RESP2 is not supported by this command\r\n",
        ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n",
    );
    both(
        "verbatim",
        "$25\r\nThis is a verbatim\nstring\r\n",
        "=29\r\ntxt:This is a verbatim\nstring\r\n",
    );
    both("true", ":1\r\n", "#t\r\n");
    both("false", ":0\r\n", "#f\r\n");
    let wrong = "-ERR Wrong protocol type name. Please use one of the following: string|integer|\
                 double|bignum|null|array|set|map|attrib|push|verbatim|true|false\r\n";
    both("nosuch", wrong, wrong);
}

#[test]
fn reload_saves_and_loads_while_other_clients_wait_and_lose_nothing() {
    const CLIENTS: usize = 4;
    const RELOADS: usize = 10;
    let server = server_with_debug();
    let mut wire = server.wire();
    wire.expect("SET volatile value PX 1000000", "+OK\r\n");
    wire.expect("RPUSH list a b c", ":3\r\n").expect("HSET hash field value", ":1\r\n");
    let stopped = AtomicBool::new(false);
    let count_up = |client: usize| {
        let (mut wire, mut count) = (server.wire(), 0_u64);
        while !stopped.load(Ordering::Relaxed) {
            count += 1;
            wire.expect(&format!("INCR counter:{client}"), format!(":{count}\r\n"));
        }
        count
    };
    let counts: Vec<u64> = std::thread::scope(|scope| {
        let at_end = raise_at_end(&stopped);
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || count_up(client))).collect();
        for _ in 0..RELOADS {
            wire.expect("DEBUG RELOAD", "+OK\r\n");
        }
        drop(at_end);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    wire.expect("SAVE", "+OK\r\n").expect("DEBUG RELOAD NOSAVE", "+OK\r\n");
    assert_eq!(server.keyspace().changes_since_save(), 0);
    for (client, count) in counts.iter().enumerate() {
        let text = count.to_string();
        wire.expect(&format!("GET counter:{client}"), format!("${}\r\n{text}\r\n", text.len()));
    }
    wire.expect("PTTL volatile", ":1000000\r\n");
    wire.expect("LRANGE list 0 -1", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    wire.expect("HGETALL hash", "*2\r\n$5\r\nfield\r\n$5\r\nvalue\r\n");
    wire.expect("DBSIZE", format!(":{}\r\n", 3 + CLIENTS));
}

#[test]
fn a_dump_that_cannot_be_loaded_again_is_never_overwritten() {
    let server = server_with_debug();
    let mut wire = server.wire();
    wire.expect("SET key value", "+OK\r\n").expect("SAVE", "+OK\r\n");
    let mut bytes = fs::read(server.dump_path()).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(server.dump_path(), &bytes).unwrap();
    let refused = "-ERR Error trying to load the RDB dump, check server logs.\r\n";
    wire.expect("DEBUG RELOAD NOSAVE", refused);
    let reply = wire.run("SAVE");
    assert!(reply.starts_with(b"-ERR"), "{}", String::from_utf8_lossy(&reply));
    assert_eq!(fs::read(server.dump_path()).unwrap(), bytes);
}

#[test]
fn while_the_server_sleeps_other_clients_wait() {
    const SLEEP: Duration = Duration::from_millis(300);
    let server = server_with_debug();
    let (mut sleeping, mut waiting) = (server.wire(), server.wire());
    let began = Instant::now();
    sleeping.send("DEBUG SLEEP 0.3");
    while !server.services().clients.is_paused() {
        std::thread::sleep(Duration::from_millis(1));
    }
    waiting.expect("PING", "+PONG\r\n");
    assert!(began.elapsed() >= SLEEP, "{:?}", began.elapsed());
    sleeping.expect_reply("+OK\r\n");
}
