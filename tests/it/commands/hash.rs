//! Hashes: fields, numbers in them, and walks.

use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, WRONG_TYPE};
use super::{elements, expect_alike, expect_all, expect_wrong_arity, sorted, step, walk};
use crate::harness::wire::{bulk, bulks};
use crate::it;
use std::collections::BTreeMap;

transcript!(fields_are_set_and_told, |wire| {
    wire.expect("HSET h f 1 g 2", ":2\r\n").expect("HSET h f 3 i 4 i 5", ":1\r\n");
    wire.expect("HMSET h g 6 \"\" 7", OK);
    wire.expect("HGET h f", bulk("3"))
        .expect("HGET h i", bulk("5"))
        .expect("HGET h \"\"", bulk("7"));
    wire.expect("HGET h none", NULL).expect("HGET none f", NULL).expect("HLEN h", ":4\r\n");
    wire.expect("HMGET h f none g f", "*4\r\n$1\r\n3\r\n$-1\r\n$1\r\n6\r\n$1\r\n3\r\n");
    wire.expect("HMGET none f g", "*2\r\n$-1\r\n$-1\r\n").expect("HLEN none", ":0\r\n");
    wire.expect("HEXISTS h f", ":1\r\n").expect("HEXISTS h none", ":0\r\n");
    wire.expect("HEXISTS none f", ":0\r\n");
    // A small hash keeps the order of insertion.
    wire.expect("HGETALL h", bulks(&["f", "3", "g", "6", "i", "5", "", "7"]));
    wire.expect("HKEYS h", bulks(&["f", "g", "i", ""]));
    wire.expect("HVALS h", bulks(&["3", "6", "5", "7"]));
    expect_all(&mut wire, &["HGETALL none", "HKEYS none", "HVALS none"], "*0\r\n");
});

transcript!(
    replies_have_their_own_form_in_resp3,
    resp3 | wire | {
        wire.expect("HGETALL h", "%0\r\n")
            .expect("HGET h f", "_\r\n")
            .expect("HMGET h f", "*1\r\n_\r\n");
        wire.expect("HKEYS h", "*0\r\n")
            .expect("HVALS h", "*0\r\n")
            .expect("HSET h f 1 g 2", ":2\r\n");
        wire.expect("HGETALL h", "%2\r\n$1\r\nf\r\n$1\r\n1\r\n$1\r\ng\r\n$1\r\n2\r\n");
        wire.expect("HKEYS h", bulks(&["f", "g"])).expect("HVALS h", bulks(&["1", "2"]));
        wire.expect("HSCAN h 0 MATCH g", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\ng\r\n$1\r\n2\r\n");
    }
);

transcript!(removing_counts_and_removes_an_empty_hash, |wire| {
    wire.expect("HSET h a 1 b 2 c 3", ":3\r\n");
    wire.expect("HDEL h none", ":0\r\n").expect("HDEL none a", ":0\r\n");
    wire.expect("HDEL h a none a", ":1\r\n").expect("HGETALL h", bulks(&["b", "2", "c", "3"]));
    wire.expect("HDEL h c b", ":2\r\n").expect("EXISTS h", ":0\r\n").expect("HDEL h b", ":0\r\n");
});

transcript!(a_large_hash_behaves_as_a_small_one, |wire| {
    let mut model = BTreeMap::new();
    for number in 0..1_000 {
        let (field, value) = (format!("field:{number}"), format!("{}", number * 7));
        wire.send_args(&["HSET", "h", &field, &value]).expect_reply(":1\r\n");
        model.insert(field.into_bytes(), value.into_bytes());
    }
    wire.expect("HLEN h", ":1000\r\n").expect("HGET h field:999", bulk("6993"));
    wire.expect("HSET h field:5 other field:1000 new", ":1\r\n");
    wire.expect("HDEL h field:5 field:1000 none", ":2\r\n");
    model.remove(&b"field:5"[..]);
    let pairs = |flat: Vec<Vec<u8>>| -> BTreeMap<Vec<u8>, Vec<u8>> {
        assert_eq!(flat.len(), 2 * 999);
        flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    };
    assert_eq!(pairs(elements(&wire.run("HGETALL h"))), model);
    assert_eq!(sorted(&wire.run("HKEYS h")), model.keys().cloned().collect::<Vec<_>>());
    let mut values: Vec<_> = model.values().cloned().collect();
    values.sort();
    assert_eq!(sorted(&wire.run("HVALS h")), values);
    let keys = elements(&wire.run("HKEYS h"));
    let in_order: Vec<_> = keys.iter().map(|field| model[field].clone()).collect();
    assert_eq!(elements(&wire.run("HVALS h")), in_order, "fields and values in one order");
});

transcript!(fields_and_values_of_every_size_come_back, |wire| {
    for size in [0, 1, 63, 64, 65, 255, 256, 5_000, 70_000] {
        let text = "x".repeat(size);
        wire.send_args(&["HSET", "h", &text, &text]).expect_reply(":1\r\n");
        wire.send_args(&["HGET", "h", &text]).expect_reply(bulk(&text));
        wire.send_args(&["HSET", "one", "f", &text]).reply();
        wire.send_args(&["HGETALL", "one"]).expect_reply(bulks(&["f", &text]));
    }
    wire.expect("HLEN h", ":9\r\n");
});

transcript!(the_number_in_a_field_counts, |wire| {
    wire.expect("HINCRBY h f 5", ":5\r\n").expect("HINCRBY h f -15", ":-10\r\n");
    wire.expect("HGET h f", bulk("-10")).expect("HINCRBY h g 0", ":0\r\n");
    wire.expect("HSET h max 9223372036854775807 min -9223372036854775808", ":2\r\n");
    let error = "-ERR increment or decrement would overflow\r\n";
    wire.expect("HINCRBY h max 1", error).expect("HINCRBY h min -1", error);
    wire.expect("HINCRBY h max -9223372036854775807", ":0\r\n");
    wire.expect(
        "HGETALL h",
        bulks(&["f", "-10", "g", "0", "max", "0", "min", "-9223372036854775808"]),
    );
});

transcript!(bad_numbers, |wire| {
    wire.expect("HSET h f 1", ":1\r\n");
    for number in ["x", "\"\"", "1.5", "\" 1\"", "01", "9223372036854775808"] {
        wire.expect(&format!("HINCRBY h f {number}"), NOT_AN_INTEGER);
        wire.expect(&format!("HINCRBY none f {number}"), NOT_AN_INTEGER);
        wire.expect(
            &format!("HSET h bad {number}"),
            if number == "x" { ":1\r\n" } else { ":0\r\n" },
        );
        wire.expect("HINCRBY h bad 1", "-ERR hash value is not an integer\r\n");
    }
    wire.expect("HGET h f", bulk("1")).expect("EXISTS none", ":0\r\n");
});

transcript!(hscan_returns_every_field_and_filters, |wire| {
    wire.expect("HSET small a 1 b 2 ab 3", ":3\r\n");
    wire.expect(
        "HSCAN small 0 COUNT 1",
        "*2\r\n$1\r\n0\r\n*6\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n\
        $1\r\n2\r\n$2\r\nab\r\n$1\r\n3\r\n",
    );
    wire.expect(
        "HSCAN small 0 MATCH *b",
        "*2\r\n$1\r\n0\r\n*4\r\n$1\r\nb\r\n$1\r\n2\r\n$2\r\nab\r\n\
        $1\r\n3\r\n",
    );
    for number in 0..700 {
        wire.expect(&format!("HSET large field:{number} {number}"), ":1\r\n");
    }
    for options in ["", "COUNT 1", "COUNT 100000", "MATCH *"] {
        let mut pairs: Vec<_> =
            walk(&mut wire, "HSCAN large", options).chunks(2).map(<[_]>::to_vec).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), 700, "{options}");
        assert!(pairs.iter().all(|pair| pair[0].ends_with(&pair[1])));
    }
    assert_eq!(walk(&mut wire, "HSCAN large", "MATCH field:69? COUNT 7").len(), 20);
    wire.expect("HSCAN none 0", "*2\r\n$1\r\n0\r\n*0\r\n");
});

transcript!(hscan_refuses_bad_cursors_and_options, |wire| {
    wire.expect("HSET h f v", ":1\r\n");
    for key in ["h", "none"] {
        for cursor in ["x", "18446744073709551616", "\" 1\""] {
            wire.expect(&format!("HSCAN {key} {cursor}"), "-ERR invalid cursor\r\n");
        }
    }
    let lines = ["HSCAN h 0 COUNT x", "HSCAN h 0 COUNT 1.5 BAD"];
    expect_all(&mut wire, &lines, NOT_AN_INTEGER);
    let lines = ["HSCAN h 0 COUNT 0", "HSCAN h 0 COUNT", "HSCAN h 0 TYPE hash", "HSCAN h 0 BAD x"];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
    // Without the key nobody looks at the options.
    expect_all(&mut wire, &["HSCAN none 0 BAD", "HSCAN none 0 COUNT x"], "*2\r\n$1\r\n0\r\n*0\r\n");
});

it!(hscan_shows_what_was_there_all_the_time_exactly_once, |server| {
    let mut wire = server.wire();
    for number in 0..2_000 {
        wire.expect(&format!("HSET h stays:{number} v goes:{number} v"), ":2\r\n");
    }
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let (mut cursor, mut steps) = ("0".to_owned(), 0);
    loop {
        let (next, found) = step(&wire.run(&format!("HSCAN h {cursor} MATCH stays:* COUNT 20")));
        for field in found.iter().step_by(2) {
            *seen.entry(field.clone()).or_default() += 1;
        }
        for number in steps * 20..(steps + 1) * 20 {
            if number < 2_000 {
                wire.expect(&format!("HDEL h goes:{number}"), ":1\r\n");
            } else {
                wire.expect(&format!("HSET h comes:{number} v"), ":1\r\n");
            }
        }
        steps += 1;
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert!(steps > 110, "the walk was too short to change the hash: {steps} steps");
    assert_eq!(seen.len(), 2_000);
    assert!(seen.values().all(|count| *count == 1), "a field was returned twice");
});

transcript!(wrong_arity, |wire| {
    expect_wrong_arity(
        &mut wire,
        &[
            "HSET",
            "HSET h",
            "HSET h f",
            "HSET h f v g",
            "HMSET h f",
            "HMSET h f v g",
            "HGET h",
            "HGET h f g",
            "HMGET h",
            "HDEL h",
            "HEXISTS h",
            "HEXISTS h f g",
            "HGETALL",
            "HGETALL h f",
            "HKEYS",
            "HKEYS h f",
            "HVALS",
            "HVALS h f",
            "HLEN",
            "HLEN h f",
            "HINCRBY h f",
            "HINCRBY h f 1 2",
            "HSCAN h",
        ],
    );
    wire.expect("DBSIZE", ":0\r\n");
});

transcript!(wrong_type, |wire| {
    wire.expect("SET s v", OK).expect("RPUSH l a", ":1\r\n");
    for key in ["s", "l"] {
        for line in [
            format!("HSET {key} f v"),
            format!("HMSET {key} f v"),
            format!("HGET {key} f"),
            format!("HMGET {key} f g"),
            format!("HDEL {key} f"),
            format!("HEXISTS {key} f"),
            format!("HGETALL {key}"),
            format!("HKEYS {key}"),
            format!("HVALS {key}"),
            format!("HLEN {key}"),
            format!("HINCRBY {key} f 1"),
            format!("HSCAN {key} 0 BAD"),
        ] {
            wire.expect(&line, WRONG_TYPE);
        }
        wire.expect(&format!("HINCRBY {key} f x"), NOT_AN_INTEGER);
        wire.expect(&format!("HSCAN {key} x"), "-ERR invalid cursor\r\n");
    }
    wire.expect("GET s", bulk("v")).expect("LLEN l", ":1\r\n");
});

transcript!(fields_are_set_once_and_measured, |wire| {
    wire.expect("HSETNX h f 12", ":1\r\n").expect("HSETNX h f 3", ":0\r\n");
    wire.expect("HGET h f", bulk("12")).expect("HSTRLEN h f", ":2\r\n");
    wire.expect("HSTRLEN h none", ":0\r\n").expect("HSTRLEN none f", ":0\r\n");
    wire.expect("SET s v", OK).expect("HSETNX s f v", WRONG_TYPE).expect("HSTRLEN s f", WRONG_TYPE);
    expect_wrong_arity(&mut wire, &["HSETNX h f", "HSTRLEN h", "HINCRBYFLOAT h f"]);
});

transcript!(floats_in_fields_are_added, |wire| {
    wire.expect("HINCRBYFLOAT h f 10.50", bulk("10.5"))
        .expect("HINCRBYFLOAT h f 0.1", bulk("10.6"));
    wire.expect("HSET h g 5.0e3 t text", ":2\r\n").expect("HINCRBYFLOAT h g 2.0e2", bulk("5200"));
    wire.expect("HGET h g", bulk("5200"));
    wire.expect("HINCRBYFLOAT h t 1", "-ERR hash value is not a float\r\n");
    wire.expect("HINCRBYFLOAT h f x", "-ERR value is not a valid float\r\n");
    wire.expect("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity\r\n");
    wire.expect("HSET h i inf", ":1\r\n");
    wire.expect("HINCRBYFLOAT h i 1", "-ERR increment would produce NaN or Infinity\r\n");
    wire.expect("SET s v", OK).expect("HINCRBYFLOAT s f 1", WRONG_TYPE);
    wire.expect("HINCRBYFLOAT s f nan", "-ERR value is not a valid float\r\n");
});

it!(a_scan_may_leave_the_values_out, |server| {
    let mut wire = server.wire();
    wire.expect("HSET h f 1 g 2", ":2\r\n");
    wire.expect("HSCAN h 0 NOVALUES", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nf\r\n$1\r\ng\r\n");
    wire.expect("HSCAN h 0 novalues MATCH f", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nf\r\n");
    wire.expect("SCAN 0 NOVALUES", SYNTAX_ERROR);
    for n in 0..1_000 {
        wire.run(&format!("HSET big f{n} v{n}"));
    }
    let fields = walk(&mut wire, "HSCAN big", "NOVALUES COUNT 7");
    assert_eq!(fields.len(), 1_000);
    assert!(fields.iter().all(|field| field.starts_with(b"f")));
});

#[test]
fn draws_are_refused_as_by_redis() {
    let lines = &[
        "HRANDFIELD none",
        "HRANDFIELD none 5",
        "HRANDFIELD none 5 WITHVALUES",
        "HRANDFIELD none x",
        "HSET h f v",
        "HRANDFIELD h",
        "HRANDFIELD h 3",
        "HRANDFIELD h 3 withvalues",
        "HRANDFIELD h -3",
        "HRANDFIELD h -2 WITHVALUES",
        "HRANDFIELD h 0",
        "HRANDFIELD h 0 WITHVALUES",
        "HRANDFIELD h 1 x",
        "HRANDFIELD h 1 WITHVALUES x",
        "HRANDFIELD h x",
        "HRANDFIELD h -9223372036854775808",
        "HRANDFIELD h -9223372036854775807 WITHVALUES",
        "HRANDFIELD h 9223372036854775807",
        "HRANDFIELD h 9223372036854775807 WITHVALUES",
        "SET s v",
        "HRANDFIELD s",
        "HRANDFIELD s 1",
        "HRANDFIELD",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

it!(fields_are_drawn_at_random, |server| {
    let mut wire = server.wire();
    for (key, fields) in [("small", 20), ("large", 1_000)] {
        for n in 0..fields {
            wire.run(&format!("HSET {key} f{n} v{n}"));
        }
        let drawn = elements(&wire.run(&format!("HRANDFIELD {key} -5000")));
        let different: std::collections::BTreeSet<_> = drawn.iter().collect();
        assert!(drawn.len() == 5_000 && different.len() > fields * 9 / 10);
        for count in [1, 3, fields - 1, fields, fields + 5] {
            let drawn = elements(&wire.run(&format!("HRANDFIELD {key} {count} WITHVALUES")));
            let pairs: BTreeMap<_, _> =
                drawn.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            assert_eq!(pairs.len(), count.min(fields));
            assert!(pairs.iter().all(|(field, value)| field[1..] == value[1..]));
        }
    }
    wire.expect("CONFIG SET proto-max-bulk-len 1mb", OK);
    wire.expect("HRANDFIELD small -9000000000000000000", TOO_LONG);
});

const TOO_LONG: &str = "-ERR the reply would exceed proto-max-bulk-len\r\n";
