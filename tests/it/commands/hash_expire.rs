//! Deadlines of fields: the answers are those of redis-server 8.2, which has these commands; the
//! reference of all other tests, 7.0, has not.

use super::debug::server_with_debug;
use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, WRONG_TYPE, expect_all, sorted, step};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, bulks};
use crate::it;
use std::time::{Duration, Instant};

const MISSING: &str = "-ERR Mandatory argument FIELDS is missing or not at the right position\r\n";
const NOT_AS_MANY: &str = "-ERR The `numfields` parameter must match the number of arguments\r\n";
const NOT_GREATER: &str = "-ERR Parameter `numFields` should be greater than 0\r\n";
const NOT_POSITIVE: &str = "-ERR Number of fields must be a positive integer\r\n";
const NEGATIVE: &str = "-ERR invalid expire time, must be >= 0\r\n";

fn codes(codes: &[i64]) -> String {
    let all: String = codes.iter().map(|code| format!(":{code}\r\n")).collect();
    format!("*{}\r\n{all}", codes.len())
}

fn values(values: &[Option<&str>]) -> String {
    let value = |value: &Option<&str>| {
        value.map_or("$-1\r\n".to_owned(), |value| format!("${}\r\n{value}\r\n", value.len()))
    };
    format!("*{}\r\n{}", values.len(), values.iter().map(value).collect::<String>())
}

/// Fills `h` with a = 1, b = 2, c = 3 and nothing else.
fn fill(wire: &mut Wire) {
    wire.run("DEL h");
    wire.expect("HSET h a 1 b 2 c 3", ":3\r\n");
}

it!(deadlines_of_fields_are_set_under_conditions, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    wire.expect("HEXPIRE h 100 FIELDS 2 a zz", codes(&[1, -2]));
    wire.expect("HEXPIRE none 100 FIELDS 2 a zz", codes(&[-2, -2]));
    wire.expect("HTTL h FIELDS 3 a b zz", codes(&[100, -1, -2]));
    wire.expect("HPTTL none FIELDS 2 a zz", codes(&[-2, -2]));
    wire.expect("HEXPIRE h 100 NX FIELDS 2 a b", codes(&[0, 1]));
    wire.expect("HEXPIRE h 200 GT FIELDS 2 a c", codes(&[1, 0]));
    wire.expect("HEXPIRE h 200 gt FIELDS 1 a", codes(&[0]));
    wire.expect("HEXPIRE h 150 LT FIELDS 3 a b c", codes(&[1, 0, 1]));
    wire.expect("HPERSIST h FIELDS 4 c c a zz", codes(&[1, -1, 1, -2]));
    wire.expect("HPEXPIRE h 100500 XX FIELDS 3 a b c", codes(&[0, 1, 0]));
    wire.expect("HTTL h FIELDS 1 b", codes(&[101])).expect("HPTTL h FIELDS 1 b", codes(&[100_500]));
    wire.expect("HPEXPIREAT h 70368744177663 FIELDS 1 a", codes(&[1]));
    wire.expect("HPEXPIRETIME h FIELDS 1 a", codes(&[70_368_744_177_663]));
    wire.expect("HEXPIRETIME h FIELDS 3 a c zz", codes(&[70_368_744_178, -1, -2]));
    wire.expect("HEXPIREAT h 70368744177 FIELDS 2 c c", codes(&[1, 1]));
    wire.expect("HPERSIST none FIELDS 1 a", codes(&[-2]));
    // What is past already goes at once.
    wire.expect("HEXPIRE h 0 FIELDS 2 a a", codes(&[2, -2]));
    wire.expect("HGETALL h", bulks(&["b", "2", "c", "3"]));
    wire.expect("HPEXPIREAT h 1 GT FIELDS 1 b", codes(&[0]));
    wire.expect("HPEXPIREAT h 1 LT FIELDS 2 b c", codes(&[2, 2])).expect("EXISTS h", ":0\r\n");
});

it!(fields_are_read_set_and_removed_with_deadlines, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    wire.expect("HGETEX h FIELDS 2 a zz", values(&[Some("1"), None]));
    wire.expect("HGETEX none EX 10 FIELDS 1 a", values(&[None]));
    wire.expect("HGETEX h EX 100 FIELDS 2 a zz", values(&[Some("1"), None]));
    wire.expect("HTTL h FIELDS 2 a b", codes(&[100, -1]));
    wire.expect("HGETEX h PERSIST FIELDS 2 a b", values(&[Some("1"), Some("2")]));
    wire.expect("HTTL h FIELDS 2 a b", codes(&[-1, -1]));
    wire.expect("HGETEX h EXAT 1 FIELDS 1 a", values(&[Some("1")]));
    wire.expect("HGET h a", NULL).expect("HGETEX h PX 0 FIELDS 1 b", values(&[Some("2")]));
    wire.expect("HGETALL h", bulks(&["c", "3"]));
    wire.expect("HSETEX h EX 100 FIELDS 2 a 9 b 8", ":1\r\n");
    wire.expect("HSETEX h KEEPTTL FIELDS 2 a 10 n 1", ":1\r\n");
    wire.expect("HTTL h FIELDS 4 a b c n", codes(&[100, 100, -1, -1]));
    wire.expect("HSETEX h FIELDS 1 a 11", ":1\r\n").expect("HTTL h FIELDS 1 a", codes(&[-1]));
    wire.expect("HSETEX h FNX FIELDS 2 a 1 new 1", ":0\r\n");
    wire.expect("HSETEX h FXX FIELDS 2 a 1 new 1", ":0\r\n");
    wire.expect("HSETEX h FXX FIELDS 2 a 1 b 1", ":1\r\n");
    wire.expect("HSETEX none FXX FIELDS 1 a 1", ":0\r\n").expect("EXISTS none", ":0\r\n");
    wire.expect("HSETEX new PXAT 9999999999999 FNX FIELDS 2 a 1 a 2", ":1\r\n");
    wire.expect("HGET new a", "$1\r\n2\r\n");
    wire.expect("HSETEX h EX 0 FIELDS 1 a 1", ":1\r\n").expect("HEXISTS h a", ":0\r\n");
    wire.expect("HSETEX gone EXAT 1 FIELDS 1 a 1", ":1\r\n").expect("EXISTS gone", ":0\r\n");
    wire.expect("HGETDEL h FIELDS 3 b zz b", values(&[Some("1"), None, None]));
    wire.expect("HGETDEL none FIELDS 1 b", values(&[None]));
    wire.expect("HGETDEL h FIELDS 2 c n", values(&[Some("3"), Some("1")]));
    wire.expect("EXISTS h", ":0\r\n");
});

it!(what_is_wrong_with_deadlines_of_fields_is_refused, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    wire.expect("SET s v", OK);
    let wrong = |line: &str| line.replace(" h ", " s ");
    for line in [
        "HEXPIRE h x FIELDS 1 a",
        "HTTL h FIELDS 2 a",
        "HPERSIST h X 1 a",
        "HGETDEL h FELDS 1 b",
        "HGETEX h EX x FIELDS 1 b",
        "HSETEX h FIELDS 1 a 1",
    ] {
        wire.expect(&wrong(line), WRONG_TYPE);
    }
    for name in ["HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT"] {
        let lower = name.to_lowercase();
        let arity = format!("-ERR wrong number of arguments for '{lower}' command\r\n");
        let invalid = format!("-ERR invalid expire time in '{lower}' command\r\n");
        wire.expect(&format!("{name} h 100 FIELDS 1"), &arity);
        for key in ["h", "none"] {
            let mut refused = |rest: &str, reply: &str| {
                wire.expect(&format!("{name} {key} {rest}"), reply);
            };
            refused("x FIELDS 1 a", NOT_AN_INTEGER);
            refused("-1 FIELDS 1 a", NEGATIVE);
            refused("9223372036854775807 FIELDS 1 a", &invalid);
            refused("70368744177664 FIELDS 1 a", &invalid);
            refused("100 FIELDS 0 a", NOT_GREATER);
            refused("100 FIELDS x a", NOT_GREATER);
            refused("100 FIELDS 2 a", NOT_AS_MANY);
            refused("100 FIELDS 1 a NX", NOT_AS_MANY);
            refused("100 NX XX FIELDS 1 a", MISSING);
            refused("100 YY FIELDS 1 a", MISSING);
        }
    }
    for name in ["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST", "HGETDEL", "HGETEX"] {
        wire.expect(&format!("{name} h FIELDS 0 a"), NOT_POSITIVE);
        wire.expect(&format!("{name} none FIELDS x a"), NOT_POSITIVE);
        wire.expect(&format!("{name} h FIELDS 2 a"), NOT_AS_MANY);
        wire.expect(&format!("{name} h FIELDS 1 a b"), NOT_AS_MANY);
        wire.expect(&format!("{name} h FIELD 1 a"), MISSING);
        let arity = format!("-ERR wrong number of arguments for '{}'", name.to_lowercase());
        wire.expect(&format!("{name} h FIELDS 1"), format!("{arity} command\r\n"));
    }
    let both = ["HGETEX h EX 100 PERSIST FIELDS 1 a", "HGETEX h KEEPTTL FIELDS 1 a"];
    expect_all(&mut wire, &both, MISSING);
    wire.expect("HGETEX h EX FIELDS 1 a", NOT_AN_INTEGER);
    wire.expect("HGETEX h EX -1 FIELDS 1 a", NEGATIVE);
    let invalid = "-ERR invalid expire time in 'hgetex' command\r\n";
    wire.expect("HGETEX h PX 9223372036854775807 FIELDS 1 b", invalid);
    let arity = "-ERR wrong number of arguments for 'hsetex' command\r\n";
    let lines = ["HSETEX h FIELDS 2 a 1", "HSETEX h FIELDS 1 a 1 b", "HSETEX h FIELDS 1 a 1 FNX"];
    expect_all(&mut wire, &lines, arity);
    wire.expect("HSETEX h FIELDS 0 a 1", "-ERR invalid number of fields\r\n");
    wire.expect("HSETEX h a b c d", "-ERR unknown argument: a\r\n");
    let one = "-ERR Only one of FXX or FNX arguments can be specified\r\n";
    wire.expect("HSETEX h FNX FXX FIELDS 1 a 1", one);
    let one = "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified\r\n";
    wire.expect("HSETEX h EX 100 KEEPTTL FIELDS 1 a 1", one);
    wire.expect("HGETALL h", bulks(&["a", "1", "b", "2", "c", "3"]));
    assert_ne!(wire.run("HSETEX h EX 1 PX"), SYNTAX_ERROR.as_bytes());
});

it!(a_field_is_gone_at_its_deadline_and_not_before, |server| {
    let mut wire = server.wire();
    // A small hash and a large one, of which all but one field go.
    for (key, fields) in [("small", 3_usize), ("large", 1_500)] {
        let all: Vec<String> = (0..fields).map(|n| format!("f{n}")).collect();
        let pairs: Vec<String> = all.iter().map(|field| format!("{field} {field}")).collect();
        wire.expect(&format!("HSET {key} {}", pairs.join(" ")), format!(":{fields}\r\n"));
        let dying = all[1..].join(" ");
        let reply = codes(&vec![1; fields - 1]);
        wire.expect(&format!("HPEXPIRE {key} 100 FIELDS {} {dying}", fields - 1), reply);
        server.advance_ms(99);
        wire.expect(&format!("HLEN {key}"), format!(":{fields}\r\n"));
        wire.expect(&format!("HGET {key} f1"), "$2\r\nf1\r\n");
        wire.expect(&format!("HPTTL {key} FIELDS 1 f1"), codes(&[1]));
        server.advance_ms(1);
        let mut found = |command: &str, reply: &str| {
            wire.expect(&command.replace("{}", key), reply);
        };
        found("HGET {} f1", NULL);
        found("HLEN {}", ":1\r\n");
        found("HGETALL {}", "*2\r\n$2\r\nf0\r\n$2\r\nf0\r\n");
        found("HKEYS {}", "*1\r\n$2\r\nf0\r\n");
        found("HVALS {}", "*1\r\n$2\r\nf0\r\n");
        found("HMGET {} f0 f1", "*2\r\n$2\r\nf0\r\n$-1\r\n");
        found("HEXISTS {} f1", ":0\r\n");
        found("HSTRLEN {} f1", ":0\r\n");
        found("HRANDFIELD {}", "$2\r\nf0\r\n");
        found("HRANDFIELD {} 5", "*1\r\n$2\r\nf0\r\n");
        found("HTTL {} FIELDS 2 f0 f1", &codes(&[-1, -2]));
        found("HDEL {} f1", ":0\r\n");
        found("HINCRBY {} f1 5", ":5\r\n");
        found("HSETNX {} f2 new", ":1\r\n");
        found("HLEN {}", ":3\r\n");
        found("HTTL {} FIELDS 2 f1 f2", &codes(&[-1, -1]));
    }
    wire.run("DEL scanned");
    wire.run("HSET scanned a 1 b 2");
    wire.run("HPEXPIRE scanned 10 FIELDS 1 a");
    server.advance_ms(10);
    assert_eq!(step(&wire.run("HSCAN scanned 0")).1, [b"b".to_vec(), b"2".to_vec()]);
});

it!(the_key_goes_with_its_last_field, |server| {
    let mut wire = server.wire();
    wire.run("HSET h a 1 b 2").len();
    wire.expect("HPEXPIRE h 10 FIELDS 1 a", codes(&[1]));
    wire.expect("HPEXPIRE h 20 FIELDS 1 b", codes(&[1]));
    server.advance_ms(20);
    for line in ["EXISTS h", "HLEN h", "TOUCH h"] {
        wire.expect(line, ":0\r\n");
    }
    wire.expect("TYPE h", "+none\r\n").expect("KEYS *", "*0\r\n").expect("TTL h", ":-2\r\n");
    wire.expect("SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n").expect("RANDOMKEY", NULL);
    wire.expect("DUMP h", NULL).expect("COPY h other", ":0\r\n");
    wire.expect("LPUSH h element", ":1\r\n").expect("TYPE h", "+list\r\n");
});

it!(due_fields_are_swept_though_nobody_asks_for_them, |server| {
    let mut wire = server.wire();
    for n in 0..200 {
        wire.run(&format!("HSET h{n} a 1 b 2"));
        wire.run(&format!("HPEXPIRE h{n} {} FIELDS 2 a b", 10 + n));
    }
    wire.run("HSET stays a 1 b 2");
    wire.run("HPEXPIRE stays 50 FIELDS 1 a");
    server.advance_ms(1_000);
    wait_for_keys(server, 1);
    wire.expect("HGETALL stays", bulks(&["b", "2"]));
});

fn wait_for_keys(server: &Server, keys: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    while server.keyspace().len() != keys {
        assert!(Instant::now() < until, "{} keys, not {keys}", server.keyspace().len());
        std::thread::sleep(Duration::from_millis(1));
    }
}

it!(deadlines_of_fields_stay_where_the_field_stays, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    let ttl = |wire: &mut Wire, key: &str, expected: &[i64]| {
        wire.expect(&format!("HTTL {key} FIELDS 3 a b c"), codes(expected));
    };
    wire.run("HEXPIRE h 100 FIELDS 2 a b");
    wire.expect("HINCRBY h a 1", ":2\r\n").expect("HINCRBYFLOAT h b 0.5", "$3\r\n2.5\r\n");
    wire.expect("HSETNX h a 5", ":0\r\n").expect("HSET h c 4", ":0\r\n");
    ttl(&mut wire, "h", &[100, 100, -1]);
    wire.expect("COPY h copy", ":1\r\n").expect("RENAME h renamed", OK);
    ttl(&mut wire, "copy", &[100, 100, -1]);
    ttl(&mut wire, "renamed", &[100, 100, -1]);
    wire.expect("HSET renamed a 7", ":0\r\n");
    ttl(&mut wire, "renamed", &[-1, 100, -1]);
    ttl(&mut wire, "copy", &[100, 100, -1]);
    let payload = wire.run("DUMP copy");
    let payload = &payload[payload.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    let payload = payload[..payload.len() - 2].to_vec();
    let restore = [b"RESTORE".to_vec(), b"restored".to_vec(), b"0".to_vec(), payload];
    wire.send_args(&restore).expect_reply(OK);
    ttl(&mut wire, "restored", &[100, 100, -1]);
    wire.expect("HDEL copy a b", ":2\r\n").expect("HSET copy a 1", ":1\r\n");
    ttl(&mut wire, "copy", &[-1, -2, -1]);
    server.advance_ms(100_000);
    assert_eq!(sorted(&wire.run("HKEYS restored")), [b"c".to_vec()]);
    assert_eq!(sorted(&wire.run("HKEYS renamed")), [b"a".to_vec(), b"c".to_vec()]);
});

it!(a_watched_hash_changes_when_a_field_goes, |server| {
    let (mut wire, mut other) = (server.wire(), server.wire());
    fill(&mut wire);
    wire.run("HPEXPIRE h 100 FIELDS 1 a");
    for (ms, reply) in [(50, "*1\r\n+PONG\r\n"), (50, "*-1\r\n")] {
        wire.expect("WATCH h", OK);
        server.advance_ms(ms);
        wire.expect("MULTI", OK).expect("PING", "+QUEUED\r\n").expect("EXEC", reply);
    }
    wire.expect("WATCH h", OK);
    other.expect("HEXPIRE h 100 XX FIELDS 1 b", codes(&[0]));
    wire.expect("MULTI", OK).expect("HLEN h", "+QUEUED\r\n").expect("EXEC", "*1\r\n:2\r\n");
    wire.expect("WATCH h", OK);
    other.expect("HEXPIRE h 100 FIELDS 1 b", codes(&[1]));
    wire.expect("MULTI", OK).expect("HLEN h", "+QUEUED\r\n").expect("EXEC", "*-1\r\n");
});

#[test]
fn deadlines_of_fields_survive_a_reload() {
    let server = server_with_debug();
    let mut wire = server.wire();
    let pairs: Vec<String> = (0..2_000).map(|n| format!("f{n} {n}")).collect();
    wire.run(&format!("HSET large {}", pairs.join(" ")));
    let fields: Vec<String> = (0..2_000).step_by(2).map(|n| format!("f{n}")).collect();
    wire.run(&format!("HEXPIRE large 100 FIELDS 1000 {}", fields.join(" ")));
    fill(&mut wire);
    wire.run("HEXPIRE h 50 FIELDS 1 a");
    wire.run("HPEXPIRE h 60001 FIELDS 1 b");
    wire.expect("DEBUG RELOAD", OK);
    wire.expect("HPTTL h FIELDS 3 a b c", codes(&[50_000, 60_001, -1]));
    wire.expect("HTTL large FIELDS 3 f0 f1 f1998", codes(&[100, -1, 100]));
    server.advance_ms(100_000);
    wire.expect("HLEN large", ":1000\r\n").expect("HGETALL h", bulks(&["c", "3"]));
}
