//! DUMP and RESTORE: values go from one server to the other and back.

use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, WRONG_TYPE, elements, expect_wrong_arity};
use crate::harness::oracle::Oracle;
use crate::harness::random::{Random, seed};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, bulks, shown, split};
use crate::it;

const BAD_FOOTER: &str = "-ERR DUMP payload version or checksum are wrong\r\n";
const BAD_FORMAT: &str = "-ERR Bad data format\r\n";
const BUSY: &str = "-BUSYKEY Target key name already exists.\r\n";

/// What DUMP returns.
#[track_caller]
fn payload(wire: &mut Wire, key: &str) -> Vec<u8> {
    let reply = wire.run(&format!("DUMP {key}"));
    let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert!(reply.starts_with(b"$") && reply.len() > start, "{}", shown(&reply));
    reply[start..reply.len() - 2].to_vec()
}

/// Sends RESTORE with a key and a time, a payload and options.
fn restore<'w>(wire: &'w mut Wire, start: &str, payload: &[u8], options: &str) -> &'w mut Wire {
    let mut args = split(&format!("RESTORE {start}"));
    args.push(payload.to_vec());
    args.extend(split(options));
    wire.send_args(&args)
}

transcript!(values_are_restored, |wire| {
    wire.expect("DUMP none", NULL).expect("SET s hello", OK);
    let dumped = payload(&mut wire, "s");
    restore(&mut wire, "t 0", &dumped, "").expect_reply(OK);
    wire.expect("GET t", "$5\r\nhello\r\n").expect("TTL t", ":-1\r\n");
    restore(&mut wire, "t 0", &dumped, "").expect_reply(BUSY);
    restore(&mut wire, "t -1", b"x", "").expect_reply(BUSY);
    wire.expect("RPUSH l a", ":1\r\n");
    restore(&mut wire, "l 100000", &dumped, "replace").expect_reply(OK);
    wire.expect("TTL l", ":100\r\n").expect("GET l", "$5\r\nhello\r\n");
    restore(&mut wire, "a 4102444800001", &dumped, "ABSTTL").expect_reply(OK);
    wire.expect("PEXPIRETIME a", ":4102444800001\r\n");
    // What has expired is removed and not created.
    restore(&mut wire, "a 1", &dumped, "ABSTTL REPLACE").expect_reply(OK);
    wire.expect("EXISTS a", ":0\r\n");
    restore(&mut wire, "i 0", &dumped, "IDLETIME 10").expect_reply(OK);
    restore(&mut wire, "f 0", &dumped, "FREQ 10").expect_reply(OK);
});

transcript!(what_is_no_payload_is_refused, |wire| {
    wire.expect("SET s hello", OK);
    let dumped = payload(&mut wire, "s");
    for (place, error) in [(0, BAD_FOOTER), (3, BAD_FOOTER), (dumped.len() - 1, BAD_FOOTER)] {
        let mut damaged = dumped.clone();
        damaged[place] ^= 1;
        restore(&mut wire, "k 0", &damaged, "").expect_reply(error);
    }
    wire.expect("RESTORE k 0 x", BAD_FOOTER).expect("RESTORE k 0 \"\"", BAD_FOOTER);
    wire.expect("RESTORE k x x", NOT_AN_INTEGER);
    wire.expect("RESTORE k -1 x", "-ERR Invalid TTL value, must be >= 0\r\n");
    let idle = "-ERR Invalid IDLETIME value, must be >= 0\r\n";
    let frequency = "-ERR Invalid FREQ value, must be >= 0 and <= 255\r\n";
    wire.expect("RESTORE k 0 x IDLETIME -1", idle).expect("RESTORE k 0 x FREQ 256", frequency);
    wire.expect("RESTORE k 0 x FREQ -1", frequency).expect("RESTORE k 0 x FREQ y", NOT_AN_INTEGER);
    for options in ["IDLETIME", "FREQ 1 IDLETIME 1", "IDLETIME 1 FREQ 1", "x"] {
        wire.expect(&format!("RESTORE k 0 x {options}"), SYNTAX_ERROR);
    }
    // Right in itself, but not a value.
    wire.send_args(&[
        &b"RESTORE"[..],
        b"k",
        b"0",
        b"\x15\x00\n\x00\xd5\x82\xdd\xd0\x15\xc1\xe3\x4f",
    ]);
    let reply = wire.reply();
    assert!(reply == BAD_FORMAT.as_bytes() || reply == BAD_FOOTER.as_bytes(), "{}", shown(&reply));
    wire.expect("EXISTS k", ":0\r\n").expect("SET n 1", OK).expect("LPUSH n x", WRONG_TYPE);
    expect_wrong_arity(&mut wire, &["DUMP", "DUMP a b", "RESTORE k 0"]);
});

#[test]
fn values_travel_between_the_servers() {
    let (server, oracle) = (Server::start(16), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let mut random = Random::new(seed("values_travel_between_the_servers"));
    for round in 0..200 {
        let (mut text, mut number) = (Random::new(round), Random::new(round));
        let mut value = |random: &mut Random| match random.below(4) {
            0 => (number.next() as i64 >> number.below(64)).to_string(),
            1 => "ab".repeat(text.below(100)),
            2 => "x".repeat(text.below(3) * 5_000),
            _ => text.next().to_string(),
        };
        let count = *random.pick(&[1, 3, 100, 600]);
        let (command, read) = match round % 6 {
            0 => ("SET", "GET k"),
            1 => ("RPUSH", "LRANGE k 0 -1"),
            2 => ("SADD", "SORT k ALPHA"),
            3 => ("SADD", "SORT k"),
            4 => ("ZADD", "ZRANGE k 0 -1 WITHSCORES"),
            _ => ("HSET", "HGETALL k"),
        };
        let mut args = vec![command.to_owned(), "k".to_owned()];
        match command {
            "SET" => args.push(value(&mut random)),
            "SADD" if round % 6 == 3 => args.extend((0..count).map(|n| (n * 7_919).to_string())),
            "RPUSH" | "SADD" => args.extend((0..count).map(|_| value(&mut random))),
            "ZADD" => (0..count).for_each(|n| {
                args.push(format!("{}", f64::from(n) / 3.0));
                args.push(format!("{n}:{}", value(&mut random)));
            }),
            _ => (0..count).for_each(|n| {
                args.push(format!("f{n}"));
                args.push(value(&mut random));
            }),
        }
        ours.expect("FLUSHALL", OK);
        redis.expect("FLUSHALL", OK);
        let (mut from, mut to) =
            if random.chance(50) { (&mut ours, &mut redis) } else { (&mut redis, &mut ours) };
        from.command(&args);
        let dumped = payload(from, "k");
        restore(to, "k 0", &dumped, "").expect_reply(OK);
        let dumped = payload(to, "k");
        std::mem::swap(&mut from, &mut to);
        restore(to, "k 0", &dumped, "REPLACE").expect_reply(OK);
        let (one, other) = (ours.run(read), redis.run(read));
        if command == "HSET" {
            let pairs = |reply: &[u8]| {
                let mut pairs: Vec<_> =
                    elements(reply).chunks(2).map(<[Vec<u8>]>::to_vec).collect();
                pairs.sort();
                pairs
            };
            assert!(pairs(&one) == pairs(&other), "round {round}");
        } else {
            assert!(one == other, "round {round}: {} {}", shown(&one), shown(&other));
        }
    }
}

it!(payloads_of_newer_servers_are_taken, |server| {
    // An intact value with the version of Redis 7.4 in the footer.
    let mut wire = server.wire();
    wire.expect("RPUSH l a b", ":2\r\n");
    let dumped = payload(&mut wire, "l");
    restore(&mut wire, "m 0", &dumped, "").expect_reply(OK);
    wire.expect("LRANGE m 0 -1", bulks(&["a", "b"]));
});
