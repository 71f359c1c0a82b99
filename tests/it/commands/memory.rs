//! MEMORY: what it refuses as Redis does, and that its figures follow the data.

use super::expect_alike;
use crate::harness::oracle::Oracle;
use crate::harness::wire::Wire;
use crate::it;

#[test]
fn memory_refuses_and_answers_as_redis_does() {
    let lines = &[
        "MEMORY",
        "MEMORY FOO",
        "MEMORY USAGE",
        "MEMORY USAGE nosuch",
        "MEMORY USAGE nosuch SAMPLES 0",
        "MEMORY USAGE nosuch samples 5 SAMPLES 3",
        "MEMORY USAGE nosuch SAMPLES",
        "MEMORY USAGE nosuch SAMPLES x",
        "MEMORY USAGE nosuch SAMPLES -1",
        "MEMORY USAGE nosuch FOO 1",
        "MEMORY STATS x",
        "MEMORY DOCTOR x",
        "MEMORY PURGE",
        "MEMORY PURGE x",
        "MEMORY MALLOC-STATS x",
        "MEMORY HELP",
        "MEMORY HELP x",
        "COMMAND GETKEYS MEMORY USAGE k SAMPLES 3",
        "COMMAND INFO memory|usage memory|stats memory|doctor memory|purge memory|malloc-stats",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

fn usage(wire: &mut Wire, key: &str) -> u64 {
    let reply = String::from_utf8(wire.run(&format!("MEMORY USAGE {key}"))).unwrap();
    reply[1..].trim_end().parse().unwrap()
}

it!(the_usage_of_a_key_grows_with_its_value, |server| {
    let mut wire = server.wire();
    wire.run("SET small v");
    let small = usage(&mut wire, "small");
    assert!((16 + 5 + 1..64).contains(&small), "{small}");
    wire.run("PEXPIRE small 100000");
    assert!(usage(&mut wire, "small") >= small + 16);
    for (add, key, element) in [
        ("APPEND", "string", ""),
        ("RPUSH", "list", ""),
        ("HSET", "hash", "f"),
        ("SADD", "set", ""),
        ("ZADD", "zset", "1"),
    ] {
        let mut before = 0;
        for number in 0..2_000 {
            let value = format!("{number:050}");
            let element = if element == "f" { format!("f{number}") } else { element.to_owned() };
            wire.run(&format!("{add} {key} {element} {value}"));
            if [1, 100, 500, 1_999].contains(&number) {
                let bytes = usage(&mut wire, key);
                assert!(bytes > before + 50, "{key}: {bytes} after {before} with {number}");
                assert!(bytes > number * 45 && bytes < (number + 10) * 400, "{key}: {bytes}");
                before = bytes;
            }
        }
    }
});

/// The names of a map and of the maps in it, without their values.
fn names(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let lines =
        text.split("\r\n").filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    lines.map(str::to_owned).collect()
}

it!(the_figures_have_the_names_and_forms_of_redis, |server| {
    let oracle = Oracle::start();
    for connect in [Wire::connect, Wire::connect_resp3] {
        let (mut ours, mut redis) = (connect(server.addr()), connect(oracle.addr()));
        for _ in 0..2 {
            let (got, expected) = (ours.run("MEMORY STATS"), redis.run("MEMORY STATS"));
            assert_eq!(names(&got), names(&expected));
            let head = |reply: &[u8]| {
                reply.iter().position(|b| *b == b'\r').map(|at| reply[..at].to_vec())
            };
            assert_eq!(head(&got), head(&expected));
            ours.expect("SET k v", "+OK\r\n");
            redis.expect("SET k v", "+OK\r\n");
        }
    }
});

it!(the_doctor_and_the_allocator_have_something_to_say, |server| {
    let mut wire = server.wire();
    let report = String::from_utf8(wire.run("MEMORY DOCTOR")).unwrap();
    assert!(report.contains("\nHi Sam, ") || report.contains("\nSam, I detected"), "{report}");
    wire.expect_start("MEMORY MALLOC-STATS", "$45\r\nStats not supported");
});
