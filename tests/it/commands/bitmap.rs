//! SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD, BITFIELD_RO.

use super::{NULL, OK, WRONG_TYPE, expect_alike, expect_wrong_arity};
use crate::harness::oracle::Oracle;
use crate::harness::server::Server;
use crate::harness::wire::{Wire, bulk, shown};
use crate::it;

const BAD_OFFSET: &str = "-ERR bit offset is not an integer or out of range\r\n";

transcript!(bits_are_set_and_read, |wire| {
    wire.expect("SETBIT k 7 1", ":0\r\n").expect("SETBIT k 7 1", ":1\r\n");
    wire.expect("GET k", bulk(b"\x01")).expect("SETBIT k 0 1", ":0\r\n");
    wire.expect("SETBIT k 7 0", ":1\r\n").expect("GET k", bulk(b"\x80"));
    wire.expect("SETBIT k 23 0", ":0\r\n").expect("GET k", bulk(b"\x80\0\0"));
    wire.expect("GETBIT k 0", ":1\r\n").expect("GETBIT k 1", ":0\r\n");
    wire.expect("GETBIT k 4294967295", ":0\r\n").expect("GETBIT none 3", ":0\r\n");
    wire.expect("EXPIRE k 100", ":1\r\n").expect("SETBIT k 80000 1", ":0\r\n");
    wire.expect("TTL k", ":100\r\n").expect("STRLEN k", ":10001\r\n");
    wire.expect("SETBIT k 80001 1", ":0\r\n").expect("GETRANGE k 10000 -1", bulk(b"\xc0"));
    wire.expect("SET n 12", OK).expect("SETBIT n 6 0", ":0\r\n").expect("SETBIT n 7 0", ":1\r\n");
    wire.expect("GET n", bulk("02"));
    for line in ["SETBIT k -1 1", "SETBIT k 4294967296 1", "SETBIT k x 1", "GETBIT k -1"] {
        wire.expect(line, BAD_OFFSET);
    }
    for line in ["SETBIT k 0 2", "SETBIT k 0 -1", "SETBIT k 0 x"] {
        wire.expect(line, "-ERR bit is not an integer or out of range\r\n");
    }
    wire.expect("RPUSH l a", ":1\r\n").expect("SETBIT l 0 1", WRONG_TYPE);
    wire.expect("GETBIT l 0", WRONG_TYPE).expect("BITCOUNT l", WRONG_TYPE);
    wire.expect("BITPOS l 0", WRONG_TYPE).expect("BITOP NOT k l", WRONG_TYPE);
    wire.expect("BITFIELD l", WRONG_TYPE).expect("BITFIELD l SET u1 0 1", WRONG_TYPE);
    wire.expect("BITFIELD_RO l GET u1 0", WRONG_TYPE).expect("BITOP NOT l n", ":2\r\n");
    expect_wrong_arity(
        &mut wire,
        &["SETBIT k 0", "GETBIT k", "BITCOUNT", "BITPOS k", "BITOP NOT k", "BITFIELD"],
    );
});

transcript!(a_bit_is_refused_behind_the_longest_string, |wire| {
    wire.expect("CONFIG SET proto-max-bulk-len 1mb", OK);
    wire.expect("SETBIT k 8388608 1", BAD_OFFSET).expect("EXISTS k", ":0\r\n");
    wire.expect("SETBIT k 8388607 1", ":0\r\n").expect("STRLEN k", ":1048576\r\n");
    wire.expect("BITPOS k 1", ":8388607\r\n").expect("BITCOUNT k", ":1\r\n");
    wire.expect("BITFIELD k SET u8 8388607 255", "*1\r\n:128\r\n");
    wire.expect("STRLEN k", ":1048577\r\n").expect("BITFIELD k GET u8 8388608", BAD_OFFSET);
});

it!(a_bit_of_a_string_that_is_being_sent_changes_only_for_later_readers, |server| {
    let mut wire = server.wire();
    let value = "a".repeat(1_000_000);
    wire.send_args(&["SET", "k", &value]).expect_reply(OK);
    wire.send("GET k").send("SETBIT k 6 1").send("GETRANGE k 0 1");
    wire.expect_reply(bulk(&value)).expect_reply(":0\r\n").expect_reply(bulk("ca"));
});

/// Strings with bits in many places, under one key each.
fn fill(wire: &mut Wire) {
    let mut strings: Vec<(&str, Vec<u8>)> = vec![
        ("e", Vec::new()),
        ("one", vec![0x00]),
        ("ones", vec![0xff; 3]),
        ("mid", vec![0xff, 0xf0, 0x00]),
        ("long", vec![0; 100]),
        ("full", vec![0xff; 100]),
        ("number", b"12345".to_vec()),
    ];
    strings[4].1[57] = 0x10;
    strings[5].1[80] = 0xef;
    for (key, value) in strings {
        wire.send_args(&[b"SET", key.as_bytes(), &value]).expect_reply(OK);
    }
}

/// Fails unless both servers answer every line alike on the strings of `fill`.
#[track_caller]
fn expect_alike_on_strings(lines: impl Iterator<Item = String>) {
    let (server, oracle) = (Server::start(16), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    fill(&mut ours);
    fill(&mut redis);
    for line in lines {
        let (got, expected) = (ours.run(&line), redis.run(&line));
        assert!(got == expected, "{line}\n  {}\n  {}", shown(&got), shown(&expected));
    }
}

const KEYS: [&str; 8] = ["e", "one", "ones", "mid", "long", "full", "number", "none"];
const PLACES: [i64; 14] = [0, 1, 2, 7, 8, 9, 63, 99, 100, -1, -2, -9, -100, -9_000];

#[test]
fn bits_are_counted_and_found_in_any_range() {
    let ranges = PLACES.iter().flat_map(|start| PLACES.map(|end| format!("{start} {end}")));
    let ranges =
        ranges.flat_map(|range| ["", " BIT", " byte"].map(|unit| format!("{range}{unit}")));
    let ranges: Vec<String> =
        ranges.chain(PLACES.map(|place| place.to_string())).chain(["".to_owned()]).collect();
    let lines = KEYS.iter().flat_map(|key| {
        ranges.iter().flat_map(move |range| {
            let count = format!("BITCOUNT {key} {range}");
            [count, format!("BITPOS {key} 0 {range}"), format!("BITPOS {key} 1 {range}")]
        })
    });
    expect_alike_on_strings(lines);
}

#[test]
fn ranges_of_bits_are_refused_as_by_redis() {
    let lines = [
        "BITCOUNT k x",
        "SET k v",
        "BITCOUNT k 0",
        "BITCOUNT k 0 1 BITS",
        "BITCOUNT k 0 1 BIT x",
        "BITCOUNT k -1 -2 BITS",
        "BITCOUNT k x 1",
        "BITCOUNT k 0 x",
        "BITCOUNT none 0 x",
        "BITPOS k 2",
        "BITPOS k x",
        "BITPOS none 2",
        "BITPOS none 0 x",
        "BITPOS k 0 x",
        "BITPOS k 0 0 x",
        "BITPOS k 0 0 x BITS",
        "BITPOS k 0 0 1 BITS",
        "BITPOS k 0 0 1 BIT x",
        "BITPOS k 0 9223372036854775807 -9223372036854775808",
        "BITPOS k 1 -9223372036854775808 9223372036854775807 BIT",
        "BITCOUNT k -9223372036854775808 9223372036854775807 BIT",
    ];
    expect_alike(false, &lines);
}

#[test]
fn strings_are_combined_bit_by_bit() {
    let pairs = KEYS.iter().flat_map(|one| KEYS.map(|other| format!("{one} {other}")));
    let lines = pairs.flat_map(|pair| {
        let three = ["AND", "or", "XOR"].map(|name| format!("BITOP {name} d {pair} mid"));
        let two = ["AND", "OR", "XOR"].map(|name| format!("BITOP {name} d {pair}"));
        two.into_iter().chain(three).flat_map(|line| [line, "GET d".to_owned()])
    });
    let others = [
        "BITOP NOT d long",
        "GET d",
        "BITOP NOT d one two",
        "BITOP NOT d",
        "BITOP nand d one",
        "BITOP NOT d none",
        "EXISTS d",
        "SET d v EX 100",
        "BITOP OR d d ones",
        "TTL d",
        "GET d",
        "RPUSH l x",
        "BITOP OR d one l",
        "BITOP OR l one",
        "TYPE l",
        "BITOP AND l none none",
        "EXISTS l",
    ];
    expect_alike_on_strings(lines.chain(others.map(str::to_owned)));
}

#[test]
fn fields_are_read_and_changed_as_by_redis() {
    const VALUES: [&str; 13] = [
        "0",
        "1",
        "-1",
        "127",
        "128",
        "-128",
        "-129",
        "255",
        "256",
        "9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775807",
        "4611686018427387904",
    ];
    let types = ["u1", "i1", "u8", "i8", "u7", "i13", "u32", "i33", "u63", "i63", "i64"];
    let lines = types.into_iter().flat_map(|kind| {
        VALUES.into_iter().flat_map(move |value| {
            ["WRAP", "sat", "FAIL"].map(|overflow| {
                format!(
                    "BITFIELD k OVERFLOW {overflow} INCRBY {kind} 5 {value} GET {kind} 5 \
                     SET {kind} #1 {value} GET {kind} #1 INCRBY {kind} #1 {value} GET i9 3"
                )
            })
        })
    });
    expect_alike_on_strings(lines.chain(["GET k".to_owned()]));
    let lines = [
        "BITFIELD none GET u8 0 GET i64 1000",
        "EXISTS none",
        "BITFIELD none",
        "BITFIELD k OVERFLOW FAIL SET u8 100 256",
        "STRLEN k",
        "BITFIELD k GET u64 0",
        "BITFIELD k GET i65 0",
        "BITFIELD k GET i0 0",
        "BITFIELD k GET x8 0",
        "BITFIELD k GET \"u8\\x00x\" 0",
        "BITFIELD k GET u8 -1",
        "BITFIELD k GET u8 #-1",
        "BITFIELD k GET u8 #",
        "BITFIELD k GET u8 #9223372036854775807",
        "BITFIELD k GET u8 4294967296",
        "BITFIELD k GET u8",
        "BITFIELD k SET u8 0",
        "BITFIELD k SET u8 0 x",
        "BITFIELD k INCRBY u8 0 x",
        "BITFIELD k OVERFLOW x",
        "BITFIELD k OVERFLOW",
        "BITFIELD k OVERFLOW WRAP",
        "BITFIELD k FOO u8 0",
        "BITFIELD_RO k SET u8 0 1",
        "BITFIELD_RO k GET u8 0 INCRBY u8 0 1",
        "BITFIELD_RO k GET u8 0 GET i5 3",
        "BITFIELD_RO none GET u8 0",
        "BITFIELD_RO k",
    ];
    expect_alike(false, &lines);
    expect_alike(true, &lines);
}

transcript!(a_failed_field_is_nothing, |wire| {
    let line = "BITFIELD k OVERFLOW FAIL INCRBY u2 0 3 INCRBY u2 0 1 GET u2 0";
    wire.expect(line, format!("*3\r\n:3\r\n{NULL}:3\r\n"));
});
