//! OBJECT: Redis' names at Redis' thresholds.

use super::{NULL, OK, expect_alike};
use crate::harness::wire::Wire;
use crate::it;

#[test]
fn encodings_have_the_names_of_redis() {
    let forty_four = "x".repeat(44);
    let mut lines = vec![
        "OBJECT ENCODING none".to_owned(),
        "SET k 12".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        "OBJECT REFCOUNT k".to_owned(),
        "SET k 9223372036854775807".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        "OBJECT REFCOUNT k".to_owned(),
        "SET k 9223372036854775808".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        "SET k 01".to_owned(),
        "OBJECT ENCODING k".to_owned(),
        format!("SET k {forty_four}"),
        "OBJECT ENCODING k".to_owned(),
        format!("SET k {forty_four}x"),
        "OBJECT ENCODING k".to_owned(),
        "OBJECT REFCOUNT k".to_owned(),
        "OBJECT FREQ k".to_owned(),
        "OBJECT FREQ none".to_owned(),
        "OBJECT IDLETIME none".to_owned(),
        "OBJECT IDLETIME k".to_owned(),
        "RPUSH l a".to_owned(),
        "OBJECT ENCODING l".to_owned(),
        "OBJECT REFCOUNT l".to_owned(),
        "HSET h f v".to_owned(),
        "OBJECT ENCODING h".to_owned(),
        format!("HSET h f {}", "x".repeat(64)),
        "OBJECT ENCODING h".to_owned(),
        format!("HSET h f {}", "x".repeat(65)),
        "OBJECT ENCODING h".to_owned(),
        "SADD s 1 2 3".to_owned(),
        "OBJECT ENCODING s".to_owned(),
        "SADD s x".to_owned(),
        "OBJECT ENCODING s".to_owned(),
        "ZADD z 1 a".to_owned(),
        "OBJECT ENCODING z".to_owned(),
        format!("ZADD z 1 {}", "x".repeat(65)),
        "OBJECT ENCODING z".to_owned(),
        "OBJECT".to_owned(),
        "OBJECT x".to_owned(),
        "OBJECT ENCODING".to_owned(),
        "OBJECT ENCODING k x".to_owned(),
        "OBJECT HELP".to_owned(),
        "OBJECT HELP x".to_owned(),
    ];
    for n in 0..512 {
        lines.push(format!("HSET many f{n} v"));
    }
    lines.push("OBJECT ENCODING many".to_owned());
    lines.push("HSET many f512 v".to_owned());
    lines.push("OBJECT ENCODING many".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect_alike(false, &lines);
    expect_alike(true, &lines);
}

/// What OBJECT tells of a key.
fn told(wire: &mut Wire, question: &str, key: &str) -> i64 {
    let reply = String::from_utf8(wire.run(&format!("OBJECT {question} {key}"))).unwrap();
    reply.strip_prefix(':').unwrap_or_else(|| panic!("{reply}")).trim_end().parse().unwrap()
}

it!(the_time_of_the_last_use_is_known_to_the_second, |server| {
    let mut wire = server.wire();
    for key in ["k", "l", "e", "n"] {
        wire.expect(&format!("SET {key} 5"), OK);
    }
    server.advance_ms(100_000);
    for line in [
        "EXISTS k",
        "TYPE k",
        "TTL k",
        "PTTL k",
        "EXPIRETIME k",
        "OBJECT ENCODING k",
        "OBJECT REFCOUNT k",
        "MEMORY USAGE k",
        "SCAN 0",
        "KEYS *",
        "RANDOMKEY",
        "DBSIZE",
        "TTL k",
        "EVAL \"return redis.call('EXISTS',KEYS[1])\" 1 k",
    ] {
        wire.run(line);
        assert_eq!(told(&mut wire, "IDLETIME", "k"), 100, "{line}");
    }
    wire.expect("OBJECT IDLETIME none", NULL);
    for line in [
        "GET k",
        "TOUCH k",
        "MGET x k",
        "STRLEN k",
        "APPEND k x",
        "EXPIRE k 1000",
        "PERSIST k",
        "GETRANGE k 0 1",
        "SET k w",
        "DUMP k",
        "SETEX k 1000 v",
        "EVAL \"return redis.call('GET',\
         KEYS[1])\" 1 k",
        "GETEX k",
        "COPY k c REPLACE",
        "LCS k k",
        "SORT_RO none BY k",
    ] {
        server.advance_ms(50_000);
        wire.run(line);
        let idle = told(&mut wire, "IDLETIME", "k");
        assert_eq!(idle, if line.starts_with("SORT") { 50 } else { 0 }, "{line}");
    }
    wire.expect("MULTI", OK).run("GET l");
    server.advance_ms(1_000);
    wire.run("EXEC");
    assert_eq!(told(&mut wire, "IDLETIME", "l"), 0);
    // It goes with the key, and a copy is a new key.
    server.advance_ms(7_000);
    assert_eq!(told(&mut wire, "IDLETIME", "e"), 100 + 15 * 50 + 50 + 1 + 7);
    wire.expect("CLIENT NO-TOUCH ON", OK).expect("GET l", "$1\r\n5\r\n");
    assert_eq!(told(&mut wire, "IDLETIME", "l"), 7);
    wire.expect("TOUCH l", ":1\r\n");
    assert_eq!(told(&mut wire, "IDLETIME", "l"), 0);
    server.advance_ms(3_000);
    wire.run("GET l");
    assert_eq!(told(&mut wire, "IDLETIME", "l"), 3);
    wire.expect("CLIENT NO-TOUCH OFF", OK).expect("GET l", "$1\r\n5\r\n");
    assert_eq!(told(&mut wire, "IDLETIME", "l"), 0);
    server.advance_ms(16_777_216 * 1_000);
    assert_eq!(told(&mut wire, "IDLETIME", "l"), 0, "the clock runs around");
});

transcript!(how_often_a_key_is_used_is_counted_as_by_redis, |wire| {
    wire.expect("CONFIG SET lfu-log-factor 60000", OK);
    wire.expect("CONFIG SET maxmemory-policy allkeys-lfu", OK).expect("SET k v", OK);
    assert_eq!(told(&mut wire, "FREQ", "k"), 5);
    wire.expect_start("OBJECT IDLETIME k", "-ERR An LFU maxmemory policy is selected, idle time");
    wire.expect("OBJECT IDLETIME none", NULL).expect("OBJECT FREQ none", NULL);
    // The first use above the count of what is new is certain, the next is not.
    wire.expect("GET k", "$1\r\nv\r\n");
    assert_eq!(told(&mut wire, "FREQ", "k"), 6);
    let payload = wire.run("DUMP k");
    let start = payload.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let payload = &payload[start..payload.len() - 2];
    let restore = |wire: &mut Wire, options: &[&str]| {
        let start: [&[u8]; 5] = [b"RESTORE", b"r", b"0", payload, b"REPLACE"];
        let options = options.iter().map(|option| option.as_bytes());
        wire.command(&start.into_iter().chain(options).collect::<Vec<_>>())
    };
    assert_eq!(restore(&mut wire, &["FREQ", "100"]), OK.as_bytes());
    for line in ["EXISTS r", "TYPE r", "TTL r", "OBJECT ENCODING r", "MEMORY USAGE none", "GET r"] {
        wire.run(line);
        assert_eq!(told(&mut wire, "FREQ", "r"), 100, "{line}");
    }
    wire.expect("RENAME r s", OK);
    assert_eq!(told(&mut wire, "FREQ", "s"), 100);
    wire.expect("SET s other", OK).expect("SETEX s 1000 other", OK);
    assert_eq!(told(&mut wire, "FREQ", "s"), 100);
    wire.expect("COPY s t", ":1\r\n");
    assert_eq!(told(&mut wire, "FREQ", "t"), 5);
    restore(&mut wire, &["IDLETIME", "1000"]);
    assert_eq!(told(&mut wire, "FREQ", "r"), 5);
    for options in [
        &["FREQ", "256"][..],
        &["FREQ", "-1"],
        &["FREQ", "x"],
        &["IDLETIME", "-1"],
        &["IDLETIME", "x"],
        &["FREQ", "1", "IDLETIME", "1"],
        &["IDLETIME", "1", "FREQ", "1"],
        &["FREQ"],
    ] {
        assert_eq!(restore(&mut wire, options).first(), Some(&b'-'), "{options:?}");
    }
    wire.expect("CONFIG SET maxmemory-policy volatile-lru", OK);
    wire.expect_start("OBJECT FREQ s", "-ERR An LFU maxmemory policy is not selected, access");
    restore(&mut wire, &["IDLETIME", "1000"]);
    let idle = told(&mut wire, "IDLETIME", "r");
    assert!((1_000..1_003).contains(&idle), "{idle}");
    restore(&mut wire, &["FREQ", "9"]);
    assert!(told(&mut wire, "IDLETIME", "r") < 3);
    wire.expect("CONFIG SET maxmemory 1gb", OK).expect("SET i 7", OK);
    wire.expect("OBJECT REFCOUNT i", ":1\r\n");
    wire.expect("CONFIG SET maxmemory-policy allkeys-random", OK).expect("SET i 7", OK);
    wire.expect("OBJECT REFCOUNT i", ":2147483647\r\n");
});
