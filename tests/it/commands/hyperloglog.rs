//! PFADD, PFCOUNT, PFMERGE: not only the same replies as Redis, but the same bytes.

use super::{OK, WRONG_TYPE, expect_alike, expect_wrong_arity};
use crate::harness::oracle::Oracle;
use crate::harness::random::{Random, seed};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, shown};
use crate::it;

const NO_SKETCH: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n";
const CORRUPTED: &str = "-INVALIDOBJ Corrupted HLL object detected\r\n";

transcript!(different_elements_are_counted, |wire| {
    wire.expect("PFADD k a b c a", ":1\r\n").expect("PFADD k a b", ":0\r\n");
    wire.expect("PFCOUNT k", ":3\r\n").expect("PFCOUNT none", ":0\r\n");
    wire.expect("PFADD k2", ":1\r\n").expect("PFADD k2", ":0\r\n").expect("PFCOUNT k2", ":0\r\n");
    wire.expect("PFADD k2 c d", ":1\r\n").expect("PFCOUNT k k2 none", ":4\r\n");
    wire.expect("PFMERGE m k k2 none", OK).expect("PFCOUNT m", ":4\r\n");
    wire.expect("PFMERGE n none", OK).expect("PFCOUNT n", ":0\r\n").expect("PFMERGE o", OK);
    wire.expect("EXPIRE k 100", ":1\r\n").expect("PFADD k x", ":1\r\n").expect("TTL k", ":100\r\n");
    wire.expect("PFMERGE k k2", OK).expect("PFCOUNT k", ":5\r\n").expect("TTL k", ":100\r\n");
    wire.expect("PFDEBUG TODENSE k", ":1\r\n").expect("PFDEBUG todense k", ":0\r\n");
    wire.expect("PFADD k y", ":1\r\n").expect("PFADD k y", ":0\r\n").expect("PFCOUNT k", ":6\r\n");
    wire.expect("TTL k", ":100\r\n").expect("PFMERGE k2 k", OK);
    wire.expect("PFDEBUG ENCODING k2", "+dense\r\n").expect("PFDEBUG ENCODING m", "+sparse\r\n");
    wire.expect("TYPE k", "+string\r\n").expect("STRLEN k", ":12304\r\n");
    expect_wrong_arity(&mut wire, &["PFADD", "PFCOUNT", "PFMERGE", "PFDEBUG ENCODING"]);
});

it!(who_watches_a_sketch_is_told_that_it_became_dense, |server| {
    let (mut watcher, mut other) = (server.wire(), server.wire());
    for (word, aborts) in
        [("ENCODING", false), ("DECODE", false), ("GETREG", true), ("TODENSE", true)]
    {
        other.expect("DEL k", ":0\r\n").expect("PFADD k a", ":1\r\n");
        for aborts in [aborts, false] {
            watcher.expect("WATCH k", OK);
            other.run(&format!("PFDEBUG {word} k"));
            watcher.expect("MULTI", OK).expect("ECHO run", "+QUEUED\r\n");
            watcher.expect("EXEC", if aborts { "*-1\r\n" } else { "*1\r\n$3\r\nrun\r\n" });
        }
        other.expect("DEL k", ":1\r\n");
    }
});

transcript!(what_is_no_sketch_is_refused, |wire| {
    wire.expect("RPUSH l a", ":1\r\n").expect("SET s text", OK).expect("SET n 12", OK);
    for key in ["l", "s", "n"] {
        let error = if key == "l" { WRONG_TYPE } else { NO_SKETCH };
        for line in ["PFADD x", "PFCOUNT", "PFMERGE", "PFDEBUG ENCODING"] {
            let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
            if command == "PFDEBUG" {
                wire.expect(&format!("PFDEBUG {rest} {key}"), error);
            } else {
                wire.expect(&format!("{command} {key} {rest}"), error);
            }
        }
        wire.expect(&format!("PFCOUNT none {key}"), error);
        wire.expect(&format!("PFMERGE none {key}"), error).expect("EXISTS none", ":0\r\n");
    }
    wire.expect("PFDEBUG ENCODING none", "-ERR The specified key does not exist\r\n");
    wire.expect("PFADD k a", ":1\r\n");
    wire.expect("PFDEBUG x k", "-ERR Unknown PFDEBUG subcommand 'x'\r\n");
    // Of a dense sketch the length tells.
    wire.expect("PFDEBUG TODENSE k", ":1\r\n").expect("APPEND k x", ":12305\r\n");
    wire.expect("PFCOUNT k", NO_SKETCH).expect("PFADD k", NO_SKETCH);
    wire.expect("PFDEBUG DECODE k", NO_SKETCH);
    wire.expect("SET k \"HYLL\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\"", OK);
    wire.expect("PFADD k a", NO_SKETCH);
});

transcript!(corrupted_sketches_are_found_out, |wire| {
    let head = "HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80";
    for runs in ["", "\\x00", "\\x7f\\xff\\x00", "\\x7f\\xff\\x7f\\xff", "\\x7f\\xfe", "\\xff"] {
        wire.expect(&format!("SET k \"{head}{runs}\""), OK);
        wire.expect("PFCOUNT k", CORRUPTED).expect("PFCOUNT k none", CORRUPTED);
        wire.expect("PFMERGE d k", CORRUPTED).expect("PFDEBUG GETREG k", CORRUPTED);
        wire.expect("PFDEBUG TODENSE k", CORRUPTED).expect("EXISTS d", ":0\r\n");
    }
    wire.expect(&format!("SET k \"{head}\\x00\""), OK).expect("PFADD k a b c", CORRUPTED);
});

/// Fails unless the key holds the same bytes on both servers.
#[track_caller]
fn expect_same_bytes(ours: &mut Wire, redis: &mut Wire, key: &str) {
    let line = format!("GET {key}");
    let (got, expected) = (ours.run(&line), redis.run(&line));
    assert!(got == expected, "{key}\n  {}\n  {}", shown(&got), shown(&expected));
}

#[test]
fn sketches_have_the_bytes_of_redis() {
    let (server, oracle) = (Server::start(16), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let mut random = Random::new(seed("sketches_have_the_bytes_of_redis"));
    for round in 0..30 {
        let sparse_bytes_max = *random.pick(&[0, 40, 300, 3_000, 15_000]);
        let line = format!("CONFIG SET hll-sparse-max-bytes {sparse_bytes_max}");
        ours.expect(&line, OK);
        redis.expect(&line, OK);
        for _ in 0..random.between(1, 60) {
            let key = format!("k{}:{}", round, random.below(3));
            let mut args = vec!["PFADD".to_owned(), key.clone()];
            let count = *random.pick(&[1, 5, 100]);
            args.extend((0..count).map(|_| random.next().to_string()));
            let (got, expected) = (ours.command(&args), redis.command(&args));
            assert!(got == expected, "{args:?}");
            expect_same_bytes(&mut ours, &mut redis, &key);
            let line = format!("PFCOUNT {key}");
            if random.chance(20) {
                let expected = redis.run(&line);
                ours.expect(&line, expected);
            }
        }
        for line in [
            format!("PFMERGE m{round} k{round}:0 k{round}:1"),
            format!("PFMERGE k{round}:2 m{round}"),
            format!("PFCOUNT k{round}:0 k{round}:2"),
            format!("PFCOUNT k{round}:2"),
            format!("PFDEBUG DECODE k{round}:0"),
            format!("PFDEBUG GETREG k{round}:0"),
        ] {
            let expected = redis.run(&line);
            ours.expect(&line, expected);
        }
        for key in [format!("m{round}"), format!("k{round}:2"), format!("k{round}:0")] {
            expect_same_bytes(&mut ours, &mut redis, &key);
        }
    }
}

#[test]
fn a_damaged_sketch_upsets_nothing() {
    let server = Server::start(1);
    let mut wire = server.wire();
    let mut random = Random::new(seed("a_damaged_sketch_upsets_nothing"));
    for _ in 0..2_000 {
        wire.run("DEL k");
        for _ in 0..random.below(40) {
            wire.run(&format!("PFADD k {}", random.next()));
        }
        let length = 16 + random.below(100);
        wire.run(&format!("SETRANGE k {length} \"\\x{:02x}\"", random.below(256)));
        for line in ["PFADD k a b c d e f", "PFCOUNT k", "PFMERGE m k", "PFDEBUG DECODE k"] {
            let reply = wire.run(line);
            let fine = !reply.starts_with(b"-") || reply == CORRUPTED.as_bytes();
            assert!(fine || reply == NO_SKETCH.as_bytes(), "{line}: {}", shown(&reply));
        }
    }
    wire.expect("PING", "+PONG\r\n");
}

#[test]
fn debugging_answers_as_by_redis() {
    let lines = [
        "PFADD k a b c",
        "PFDEBUG decode k",
        "PFDEBUG encoding k",
        "PFDEBUG getreg k",
        "PFDEBUG encoding k",
        "PFDEBUG decode k",
        "GET k",
        "PFCOUNT k",
        "GET k",
    ];
    expect_alike(false, &lines);
}

it!(the_sketches_test_themselves, |server| {
    server.wire().expect("PFSELFTEST", OK);
});
