//! Lists: what is pushed, popped, found, changed and moved.

use super::{NO_SUCH_KEY, NOT_AN_INTEGER, NULL, OK, WRONG_TYPE, expect_all, expect_wrong_arity};
use crate::harness::wire::{Wire, bulk, bulks};

const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive\r\n";

#[track_caller]
fn expect_list(wire: &mut Wire, elements: &[&str]) {
    wire.expect("LRANGE l 0 -1", bulks(elements));
}

transcript!(pushing_adds_at_either_end, |wire| {
    wire.expect("LPUSH l a", ":1\r\n").expect("RPUSH l b", ":2\r\n");
    wire.expect("LPUSH l x y z", ":5\r\n").expect("RPUSH l 1 2 \"\"", ":8\r\n");
    expect_list(&mut wire, &["z", "y", "x", "a", "b", "1", "2", ""]);
    wire.expect("LLEN l", ":8\r\n").expect("LLEN none", ":0\r\n");
});

transcript!(popping_takes_from_either_end_and_removes_an_empty_list, |wire| {
    wire.expect("RPUSH l a b c", ":3\r\n");
    wire.expect("LPOP l", bulk("a")).expect("RPOP l", bulk("c")).expect("LPOP l", bulk("b"));
    wire.expect("EXISTS l", ":0\r\n").expect("LPOP l", NULL).expect("RPOP l", NULL);
});

transcript!(popping_with_a_count_takes_that_many, |wire| {
    wire.expect("RPUSH l a b c d e f", ":6\r\n");
    wire.expect("LPOP l 2", bulks(&["a", "b"])).expect("RPOP l 2", bulks(&["f", "e"]));
    wire.expect("LPOP l 0", "*0\r\n").expect("RPOP l 0", "*0\r\n").expect("LLEN l", ":2\r\n");
    wire.expect("LPOP l 1", bulks(&["c"])).expect("RPOP l 100", bulks(&["d"]));
    wire.expect("EXISTS l", ":0\r\n");
    expect_all(&mut wire, &["LPOP l 1", "LPOP l 0", "RPOP l 9223372036854775807"], "*-1\r\n");
    wire.expect("RPUSH l a b", ":2\r\n");
    wire.expect("LPOP l 9223372036854775807", bulks(&["a", "b"]));
});

transcript!(
    popping_has_its_own_nothing_in_resp3,
    resp3 | wire | {
        expect_all(&mut wire, &["LPOP l", "LPOP l 1", "RPOP l 0", "LINDEX l 0"], "_\r\n");
        wire.expect("LRANGE l 0 -1", "*0\r\n")
            .expect("RPUSH l a", ":1\r\n")
            .expect("LPOP l 0", "*0\r\n");
        wire.expect("LPOP l 1", bulks(&["a"]));
    }
);

transcript!(an_index_counts_from_either_end, |wire| {
    wire.expect("RPUSH l a b c", ":3\r\n");
    for (index, element) in [("0", "a"), ("2", "c"), ("-1", "c"), ("-3", "a")] {
        wire.expect(&format!("LINDEX l {index}"), bulk(element));
    }
    for index in ["3", "-4", "9223372036854775807", "-9223372036854775808"] {
        wire.expect(&format!("LINDEX l {index}"), NULL);
        wire.expect(&format!("LSET l {index} x"), "-ERR index out of range\r\n");
    }
    wire.expect("LSET l 0 A", OK).expect("LSET l -1 longer", OK).expect("LSET l 1 \"\"", OK);
    expect_list(&mut wire, &["A", "", "longer"]);
    wire.expect("LINDEX none 0", NULL).expect("LSET none 0 x", NO_SUCH_KEY);
});

transcript!(a_range_is_clamped_to_the_list, |wire| {
    wire.expect("RPUSH l a b c d e", ":5\r\n");
    for (range, elements) in [
        ("0 -1", &["a", "b", "c", "d", "e"][..]),
        ("1 3", &["b", "c", "d"]),
        ("-2 -1", &["d", "e"]),
        ("-100 100", &["a", "b", "c", "d", "e"]),
        ("-9223372036854775808 9223372036854775807", &["a", "b", "c", "d", "e"]),
        ("4 4", &["e"]),
        ("5 10", &[]),
        ("3 1", &[]),
        ("0 -6", &[]),
        ("-1 -2", &[]),
        ("9223372036854775807 -9223372036854775808", &[]),
    ] {
        wire.expect(&format!("LRANGE l {range}"), bulks(elements));
    }
    wire.expect("LRANGE none 0 -1", "*0\r\n");
});

transcript!(removing_heeds_the_direction_and_the_count, |wire| {
    let cases: &[(&str, usize, &[&str])] = &[
        ("0", 3, &["b", "c", "b"]),
        ("1", 1, &["b", "a", "c", "a", "b"]),
        ("2", 2, &["b", "c", "a", "b"]),
        ("-1", 1, &["a", "b", "a", "c", "b"]),
        ("-2", 2, &["a", "b", "c", "b"]),
        ("100", 3, &["b", "c", "b"]),
        ("-9223372036854775807", 3, &["b", "c", "b"]),
        ("-9223372036854775808", 3, &["b", "c", "b"]),
        ("9223372036854775807", 3, &["b", "c", "b"]),
    ];
    for (count, removed, rest) in cases {
        wire.run("DEL l");
        wire.expect("RPUSH l a b a c a b", ":6\r\n");
        wire.expect(&format!("LREM l {count} a"), format!(":{removed}\r\n"));
        expect_list(&mut wire, rest);
    }
    wire.expect("LREM l 0 none", ":0\r\n").expect("LREM none 0 a", ":0\r\n");
    wire.expect("LREM l 0 b", ":2\r\n").expect("LREM l 0 c", ":1\r\n").expect("EXISTS l", ":0\r\n");
});

transcript!(a_long_list_behaves_as_a_short_one, |wire| {
    let names: Vec<String> = (0..2_000).map(|number| format!("element:{}", number % 500)).collect();
    let mut request = vec!["RPUSH", "l"];
    request.extend(names.iter().map(String::as_str));
    wire.send_args(&request).expect_reply(":2000\r\n");
    wire.expect("LRANGE l 0 -1", bulks(&names));
    wire.expect("LRANGE l 700 1499", bulks(&names[700..1_500]));
    wire.expect("LRANGE l -3 -2", bulks(&names[1_997..1_999]));
    wire.expect("LINDEX l 1234", bulk(&names[1_234])).expect("LINDEX l -1234", bulk(&names[766]));
    wire.expect("LSET l 1234 other", OK).expect("LINDEX l 1234", bulk("other"));
    wire.expect("LREM l -3 element:7", ":3\r\n").expect("LINDEX l 7", bulk("element:7"));
    wire.expect("LREM l 0 element:8", ":4\r\n").expect("LLEN l", ":1993\r\n");
    wire.expect("LPOP l 5", bulks(&names[..5])).expect("RPOP l", bulk("element:499"));
    wire.expect("LLEN l", ":1987\r\n");
    let reply = wire.run("RPOP l 100000");
    assert!(reply.starts_with(b"*1987\r\n$11\r\nelement:498\r\n"));
    wire.expect("EXISTS l", ":0\r\n");
});

transcript!(elements_of_every_size_come_back, |wire| {
    let elements: Vec<String> =
        [0, 1, 63, 64, 127, 128, 1_000, 4_090, 5_000, 16_383, 16_384, 70_000, 3]
            .iter()
            .map(|size| "e".repeat(*size))
            .collect();
    for (number, element) in elements.iter().enumerate() {
        wire.send_args(&["RPUSH", "l", element]).expect_reply(format!(":{}\r\n", number + 1));
        wire.expect("LRANGE l 0 -1", bulks(&elements[..=number]));
    }
    for (number, element) in elements.iter().enumerate() {
        wire.expect(&format!("LINDEX l {number}"), bulk(element));
        wire.send_args(&["LSET", "l", &number.to_string(), &elements[12 - number]]);
        wire.expect_reply(OK);
    }
    for element in &elements {
        wire.expect("RPOP l", bulk(element));
    }
});

transcript!(bad_numbers, |wire| {
    wire.expect("RPUSH l a", ":1\r\n");
    for number in ["x", "\"\"", "1.5", "\" 1\"", "9223372036854775808"] {
        for line in [
            format!("LINDEX l {number}"),
            format!("LSET l {number} x"),
            format!("LREM l {number} a"),
            format!("LREM none {number} a"),
            format!("LRANGE l {number} 0"),
            format!("LRANGE none 0 {number}"),
        ] {
            wire.expect(&line, NOT_AN_INTEGER);
        }
        wire.expect(&format!("LPOP l {number}"), NOT_POSITIVE);
        wire.expect(&format!("RPOP none {number}"), NOT_POSITIVE);
        // These two look at the key first.
        wire.expect(&format!("LINDEX none {number}"), NULL);
        wire.expect(&format!("LSET none {number} x"), NO_SUCH_KEY);
    }
    expect_all(&mut wire, &["LPOP l -1", "RPOP l -9223372036854775808"], NOT_POSITIVE);
    expect_list(&mut wire, &["a"]);
});

transcript!(wrong_arity, |wire| {
    expect_wrong_arity(
        &mut wire,
        &[
            "LPUSH",
            "LPUSH l",
            "RPUSH",
            "RPUSH l",
            "LPOP",
            "LPOP l 1 2",
            "LPOP none x y",
            "RPOP",
            "RPOP l 1 2",
            "LLEN",
            "LLEN a b",
            "LINDEX l",
            "LINDEX l 0 1",
            "LSET l 0",
            "LSET l 0 a b",
            "LREM l 0",
            "LREM l 0 a b",
            "LRANGE l 0",
            "LRANGE l 0 1 2",
        ],
    );
    wire.expect("DBSIZE", ":0\r\n");
});

transcript!(wrong_type, |wire| {
    wire.expect("SET s v", OK).expect("HSET h f v", ":1\r\n");
    for key in ["s", "h"] {
        for line in [
            format!("LPUSH {key} a"),
            format!("RPUSH {key} a"),
            format!("LPOP {key}"),
            format!("LPOP {key} 0"),
            format!("RPOP {key} 5"),
            format!("LLEN {key}"),
            format!("LINDEX {key} x"),
            format!("LSET {key} x a"),
            format!("LREM {key} 0 a"),
            format!("LRANGE {key} 0 -1"),
        ] {
            wire.expect(&line, WRONG_TYPE);
        }
        wire.expect(&format!("LPOP {key} x"), NOT_POSITIVE);
        wire.expect(&format!("LREM {key} x a"), NOT_AN_INTEGER);
        wire.expect(&format!("LRANGE {key} 0 x"), NOT_AN_INTEGER);
    }
    wire.expect("GET s", bulk("v")).expect("HGET h f", bulk("v"));
});

const RANK_ERROR: &str = "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
    second ... or use negative to start from the end of the list\r\n";

transcript!(elements_are_pushed_only_to_what_is_there, |wire| {
    wire.expect("LPUSHX l a", ":0\r\n").expect("RPUSHX l a", ":0\r\n").expect("EXISTS l", ":0\r\n");
    wire.expect("RPUSH l b", ":1\r\n")
        .expect("LPUSHX l a z", ":3\r\n")
        .expect("RPUSHX l c", ":4\r\n");
    wire.expect("LRANGE l 0 -1", bulks(&["z", "a", "b", "c"]));
    wire.expect("SET s v", OK).expect("LPUSHX s a", WRONG_TYPE).expect("RPUSHX s a", WRONG_TYPE);
});

transcript!(positions_are_found_from_both_ends, |wire| {
    wire.expect("RPUSH l a b c 1 2 3 c c", ":8\r\n").expect("LPOS l c", ":2\r\n");
    wire.expect("LPOS l c RANK 2", ":6\r\n").expect("LPOS l c RANK -1", ":7\r\n");
    wire.expect("LPOS l c RANK 4", NULL).expect("LPOS l none", NULL).expect("LPOS none c", NULL);
    wire.expect("LPOS l c COUNT 2", "*2\r\n:2\r\n:6\r\n").expect("LPOS none c COUNT 0", "*0\r\n");
    wire.expect("LPOS l c COUNT 0 RANK -2", "*2\r\n:6\r\n:2\r\n");
    wire.expect("LPOS l c COUNT 0 MAXLEN 7", "*2\r\n:2\r\n:6\r\n");
    wire.expect("LPOS l c MAXLEN 2", NULL).expect("LPOS l c COUNT 5 MAXLEN 2", "*0\r\n");
    wire.expect("LPOS l c RANK -1 MAXLEN 1", ":7\r\n").expect("LPOS l c RANK 0", RANK_ERROR);
    for (line, error) in [
        ("LPOS l c RANK x", NOT_AN_INTEGER),
        ("LPOS l c COUNT -1", "-ERR COUNT can't be negative\r\n"),
        ("LPOS l c COUNT x", "-ERR COUNT can't be negative\r\n"),
        ("LPOS l c MAXLEN -1", "-ERR MAXLEN can't be negative\r\n"),
        ("LPOS l c MAXLEN", "-ERR syntax error\r\n"),
        ("LPOS l c NONE 1", "-ERR syntax error\r\n"),
        ("LPOS l", "-ERR wrong number of arguments for 'lpos' command\r\n"),
    ] {
        wire.expect(line, error);
    }
    wire.expect("SET s v", OK).expect("LPOS s c", WRONG_TYPE).expect("LPOS s c RANK 0", RANK_ERROR);
});

transcript!(elements_are_inserted_beside_others, |wire| {
    wire.expect("LINSERT none BEFORE a b", ":0\r\n").expect("EXISTS none", ":0\r\n");
    wire.expect("RPUSH l a c c", ":3\r\n").expect("LINSERT l before c b", ":4\r\n");
    wire.expect("LINSERT l AFTER c d", ":5\r\n").expect("LINSERT l AFTER none x", ":-1\r\n");
    wire.expect("LRANGE l 0 -1", bulks(&["a", "b", "c", "d", "c"]));
    wire.expect("LINSERT l beside c d", "-ERR syntax error\r\n");
    wire.expect("SET s v", OK).expect("LINSERT s BEFORE c d", WRONG_TYPE);
    // In a list of many chunks.
    for n in 0..3_000 {
        wire.send(&format!("RPUSH big {n}"));
    }
    for n in 0..3_000 {
        wire.expect_reply(format!(":{}\r\n", n + 1));
    }
    for n in (0..3_000).step_by(7) {
        wire.send(&format!("LINSERT big AFTER {n} after:{n}"));
    }
    for n in 0..3_000_usize.div_ceil(7) {
        wire.expect_reply(format!(":{}\r\n", 3_001 + n));
    }
    let expected: Vec<String> = (0..3_000)
        .flat_map(|n| [Some(n.to_string()), (n % 7 == 0).then(|| format!("after:{n}"))])
        .flatten()
        .collect();
    wire.expect("LRANGE big 0 -1", bulks(&expected));
});

transcript!(lists_are_trimmed, |wire| {
    for (line, left) in [
        ("LTRIM l 1 -2", &["b", "c", "d"][..]),
        ("LTRIM l 0 0", &["a"]),
        ("LTRIM l 1 -1", &["b", "c", "d", "e"]),
        ("LTRIM l -3 3", &["c", "d"]),
        ("LTRIM l -100 100", &["a", "b", "c", "d", "e"]),
        ("LTRIM l 5 10", &[]),
        ("LTRIM l 3 2", &[]),
        ("LTRIM l -1 -3", &[]),
    ] {
        wire.run("DEL l");
        wire.expect("RPUSH l a b c d e", ":5\r\n").expect(line, OK);
        wire.expect("LRANGE l 0 -1", bulks(left));
        wire.expect("EXISTS l", format!(":{}\r\n", usize::from(!left.is_empty())));
    }
    wire.expect("LTRIM none 0 1", OK).expect("LTRIM l x 1", NOT_AN_INTEGER);
    wire.expect("SET s v", OK).expect("LTRIM s 0 1", WRONG_TYPE);
    let all: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
    let mut request = vec!["RPUSH".to_owned(), "big".to_owned()];
    request.extend(all.clone());
    wire.send_args(&request).expect_reply(":5000\r\n").expect("LTRIM big 700 -901", OK);
    wire.expect("LRANGE big 0 -1", bulks(&all[700..4_100])).expect("LLEN big", ":3400\r\n");
    wire.expect("LTRIM big 10 12", OK).expect("LRANGE big 0 -1", bulks(&all[710..713]));
    wire.expect("RPUSH big x", ":4\r\n").expect("LPOP big", bulk("710"));
});

transcript!(elements_are_moved, |wire| {
    wire.expect("LMOVE none l LEFT LEFT", NULL).expect("RPOPLPUSH none l", NULL);
    wire.expect("RPUSH l a b c", ":3\r\n").expect("LMOVE l m LEFT RIGHT", bulk("a"));
    wire.expect("LMOVE l m right left", bulk("c")).expect("LRANGE m 0 -1", bulks(&["c", "a"]));
    wire.expect("EXPIRE m 100", ":1\r\n").expect("RPOPLPUSH l m", bulk("b"));
    wire.expect("EXISTS l", ":0\r\n").expect("LRANGE m 0 -1", bulks(&["b", "c", "a"]));
    wire.expect("TTL m", ":100\r\n").expect("LMOVE m m LEFT RIGHT", bulk("b"));
    wire.expect("LRANGE m 0 -1", bulks(&["c", "a", "b"])).expect("RPOPLPUSH m m", bulk("b"));
    wire.expect("LMOVE m m LEFT LEFT", bulk("b")).expect("LTRIM m 0 0", OK);
    wire.expect("LMOVE m m LEFT RIGHT", bulk("b")).expect("TTL m", ":100\r\n");
    wire.expect("SET s v", OK).expect("LMOVE m s LEFT LEFT", WRONG_TYPE).expect("LLEN m", ":1\r\n");
    wire.expect("LMOVE s m LEFT LEFT", WRONG_TYPE).expect("RPOPLPUSH s s", WRONG_TYPE);
    wire.expect("LMOVE none s LEFT LEFT", NULL);
    wire.expect("LMOVE m m up LEFT", "-ERR syntax error\r\n");
    wire.expect("LMOVE s m LEFT up", "-ERR syntax error\r\n");
});
