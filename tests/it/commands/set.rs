//! SADD, SREM, SISMEMBER, SMISMEMBER, SMEMBERS, SCARD, SMOVE, SPOP, SRANDMEMBER, SINTER,
//! SINTERCARD, SINTERSTORE, SUNION, SUNIONSTORE, SDIFF, SDIFFSTORE, SSCAN.

use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, WRONG_TYPE};
use super::{elements, expect_all, expect_wrong_arity, sorted, step, walk};
use crate::harness::wire::{Wire, bulk, bulks};
use crate::it;
use std::collections::{BTreeMap, BTreeSet};

const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive\r\n";

fn texts(members: &[&str]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = members.iter().map(|member| member.as_bytes().to_vec()).collect();
    all.sort();
    all
}

/// Adds `count` members `prefix0`, `prefix1` and so on.
fn fill(wire: &mut Wire, key: &str, prefix: &str, count: usize) {
    for start in (0..count).step_by(100) {
        let members = (start..count.min(start + 100)).map(|n| format!(" {prefix}{n}"));
        wire.run(&format!("SADD {key}{}", members.collect::<String>()));
    }
    wire.expect(&format!("SCARD {key}"), format!(":{count}\r\n"));
}

transcript!(members_are_added_told_and_removed, |wire| {
    wire.expect("SADD s a b a", ":2\r\n")
        .expect("SADD s b", ":0\r\n")
        .expect("SADD s c d", ":2\r\n");
    wire.expect("SCARD s", ":4\r\n").expect("SCARD none", ":0\r\n");
    wire.expect("SISMEMBER s a", ":1\r\n").expect("SISMEMBER s x", ":0\r\n");
    wire.expect("SISMEMBER none a", ":0\r\n");
    wire.expect("SMISMEMBER s a x d a", "*4\r\n:1\r\n:0\r\n:1\r\n:1\r\n");
    wire.expect("SMISMEMBER none a b", "*2\r\n:0\r\n:0\r\n");
    assert_eq!(sorted(&wire.run("SMEMBERS s")), texts(&["a", "b", "c", "d"]));
    wire.expect("SMEMBERS none", "*0\r\n");
    wire.expect("SREM s x", ":0\r\n").expect("SREM none x", ":0\r\n");
    wire.expect("SREM s a x a b", ":2\r\n").expect("SREM s c d e", ":2\r\n");
    wire.expect("EXISTS s", ":0\r\n").expect("TYPE s", "+none\r\n");
    wire.expect("SADD s \"\"", ":1\r\n").expect("SISMEMBER s \"\"", ":1\r\n");
    wire.expect("TYPE s", "+set\r\n").expect("SMEMBERS s", bulks(&[""]));
});

transcript!(numbers_come_in_ascending_order, |wire| {
    wire.expect("SADD n 10 -5 3 70000 -70000 5000000000 -5000000000 0", ":8\r\n");
    let order = ["-5000000000", "-70000", "-5", "0", "3", "10", "70000", "5000000000"];
    wire.expect("SMEMBERS n", bulks(&order)).expect("SADD n 3 10", ":0\r\n");
    wire.expect("SISMEMBER n 3", ":1\r\n").expect("SISMEMBER n 03", ":0\r\n");
    wire.expect("SISMEMBER n +3", ":0\r\n").expect("SISMEMBER n x", ":0\r\n");
    wire.expect("SREM n 0 x 03", ":1\r\n").expect("SREM n -0", ":0\r\n");
    wire.expect("SUNION n none", bulks(&[&order[..3], &order[4..]].concat()));
    wire.expect("SADD n 9223372036854775807 -9223372036854775808", ":2\r\n");
    wire.expect("SADD n 9223372036854775808 9223372036854775808", ":1\r\n");
    let mut all = [&order[..3], &order[4..]].concat();
    all.extend(["9223372036854775807", "-9223372036854775808", "9223372036854775808"]);
    assert_eq!(sorted(&wire.run("SMEMBERS n")), texts(&all));
});

transcript!(
    replies_have_their_own_form_in_resp3,
    resp3 | wire | {
        wire.expect("SMEMBERS s", "~0\r\n").expect("SPOP s", "_\r\n").expect("SPOP s 3", "~0\r\n");
        wire.expect("SRANDMEMBER s", "_\r\n").expect("SRANDMEMBER s 3", "*0\r\n");
        wire.expect("SADD s 1 2", ":2\r\n").expect("SMEMBERS s", "~2\r\n$1\r\n1\r\n$1\r\n2\r\n");
        wire.expect("SINTER s s", "~2\r\n$1\r\n1\r\n$1\r\n2\r\n").expect("SINTER s x", "~0\r\n");
        wire.expect("SUNION s x", "~2\r\n$1\r\n1\r\n$1\r\n2\r\n").expect("SUNION x y", "~0\r\n");
        wire.expect("SDIFF s x", "~2\r\n$1\r\n1\r\n$1\r\n2\r\n").expect("SDIFF x s", "~0\r\n");
        wire.expect("SRANDMEMBER s 2", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
        wire.expect("SSCAN s 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
        wire.expect("SMISMEMBER s 1 3", "*2\r\n:1\r\n:0\r\n").expect("SISMEMBER s 1", ":1\r\n");
        wire.expect("SPOP s 0", "~0\r\n").expect("SPOP s 2", "~2\r\n$1\r\n1\r\n$1\r\n2\r\n");
        wire.expect("EXISTS s", ":0\r\n");
    }
);

transcript!(a_large_set_behaves_as_a_small_one, |wire| {
    for (key, prefix) in [("n", ""), ("m", "member:"), ("l", &"long".repeat(30))] {
        fill(&mut wire, key, prefix, 2_000);
        let mut model: BTreeSet<Vec<u8>> =
            (0..2_000).map(|n| format!("{prefix}{n}").into_bytes()).collect();
        assert_eq!(sorted(&wire.run(&format!("SMEMBERS {key}"))), Vec::from_iter(model.clone()));
        for n in (0..2_000).step_by(3) {
            let member = format!("{prefix}{n}");
            wire.send_args(&["SREM", key, &member, "x"]).expect_reply(":1\r\n");
            wire.send_args(&["SISMEMBER", key, &member]).expect_reply(":0\r\n");
            model.remove(member.as_bytes());
        }
        assert_eq!(sorted(&wire.run(&format!("SMEMBERS {key}"))), Vec::from_iter(model.clone()));
        assert_eq!(sorted(&wire.run(&format!("SUNION {key} x {key}"))).len(), model.len());
    }
});

transcript!(members_move, |wire| {
    wire.expect("SADD a 1 2 x", ":3\r\n").expect("SADD b 3", ":1\r\n");
    wire.expect("SMOVE a b 1", ":1\r\n").expect("SMOVE a b 1", ":0\r\n");
    wire.expect("SMOVE a b none", ":0\r\n").expect("SMEMBERS b", bulks(&["1", "3"]));
    wire.expect("SMOVE a b x", ":1\r\n").expect("SADD a 3", ":1\r\n");
    wire.expect("SMOVE a b 3", ":1\r\n").expect("SCARD b", ":3\r\n");
    wire.expect("SMOVE a a 2", ":1\r\n").expect("SMOVE a a 9", ":0\r\n");
    wire.expect("SMOVE a new 2", ":1\r\n").expect("EXISTS a", ":0\r\n");
    wire.expect("SMEMBERS new", bulks(&["2"])).expect("SMOVE none new 2", ":0\r\n");
    wire.expect("SET s v", OK).expect("SMOVE none s 2", ":0\r\n");
    expect_all(&mut wire, &["SMOVE new s 2", "SMOVE s new 2", "SMOVE s s 2"], WRONG_TYPE);
    wire.expect("SMOVE new s nothing", WRONG_TYPE).expect("SMEMBERS new", bulks(&["2"]));
});

transcript!(members_are_popped_until_none_is_left, |wire| {
    for (prefix, count) in [("", 300), ("m", 90), ("m", 1_500)] {
        let all: BTreeSet<_> = (0..count).map(|n| format!("{prefix}{n}").into_bytes()).collect();
        for share in [1, 7, count / 2, count - 1, count] {
            fill(&mut wire, "s", prefix, count);
            let mut seen = BTreeSet::new();
            while wire.run("EXISTS s") == b":1\r\n" {
                let popped = elements(&wire.run(&format!("SPOP s {share}")));
                let left = count - seen.len();
                assert_eq!(popped.len(), share.min(left));
                for member in popped {
                    wire.send_args(&[&b"SISMEMBER"[..], b"s", &member]).expect_reply(":0\r\n");
                    assert!(all.contains(&member) && seen.insert(member), "popped twice");
                }
            }
            assert_eq!(seen, all);
        }
    }
    wire.expect("SADD s a", ":1\r\n").expect("SPOP s", bulk("a")).expect("EXISTS s", ":0\r\n");
    wire.expect("SPOP s", NULL).expect("SPOP s 0", "*0\r\n").expect("SPOP s 9", "*0\r\n");
    // The deadline stays as long as the set.
    fill(&mut wire, "s", "m", 500);
    wire.expect("EXPIREAT s 33000000000", ":1\r\n");
    elements(&wire.run("SPOP s 499"));
    wire.expect("EXPIRETIME s", ":33000000000\r\n").expect("SCARD s", ":1\r\n");
});

transcript!(members_are_drawn, |wire| {
    for (prefix, count) in [("", 300), ("m", 90), ("m", 1_500)] {
        fill(&mut wire, "s", prefix, count);
        let all: BTreeSet<_> = (0..count).map(|n| format!("{prefix}{n}").into_bytes()).collect();
        for share in [1, 2, count / 5, count / 2, count - 1, count, count + 1] {
            let drawn = elements(&wire.run(&format!("SRANDMEMBER s {share}")));
            assert_eq!(drawn.len(), share.min(count));
            let different: BTreeSet<_> = drawn.iter().cloned().collect();
            assert!(different.len() == drawn.len() && different.is_subset(&all), "{share}");
        }
        let drawn = elements(&wire.run(&format!("SRANDMEMBER s -{}", 20 * count)));
        assert_eq!(drawn.len(), 20 * count);
        // Redis draws some of a large set more rarely than others.
        let missed = count - BTreeSet::from_iter(drawn).len();
        assert!(missed <= count / 100, "{missed} of {count} were never drawn");
        wire.expect("SCARD s", format!(":{count}\r\n")).expect("DEL s", ":1\r\n");
    }
    wire.expect("SADD s a", ":1\r\n").expect("SRANDMEMBER s", bulk("a"));
    wire.expect("SRANDMEMBER s -3", bulks(&["a", "a", "a"])).expect("SRANDMEMBER s 0", "*0\r\n");
    wire.expect("SRANDMEMBER none", NULL).expect("SRANDMEMBER none -3", "*0\r\n");
});

it!(a_draw_that_would_not_end_is_refused, |server| {
    let mut wire = server.wire();
    wire.expect("CONFIG SET proto-max-bulk-len 1mb", OK)
        .expect("SADD s abcdefghijklmnop", ":1\r\n");
    wire.expect(
        "SRANDMEMBER s -9223372036854775807",
        "-ERR the reply would exceed proto-max-bulk-len\r\n",
    );
    assert_eq!(elements(&wire.run("SRANDMEMBER s -40000")).len(), 40_000);
});

transcript!(bad_counts, |wire| {
    wire.expect("SADD s a", ":1\r\n");
    let lines = ["SPOP s -1", "SPOP s x", "SPOP none -1", "SPOP s 9223372036854775808"];
    expect_all(&mut wire, &lines, NOT_POSITIVE);
    expect_all(&mut wire, &["SRANDMEMBER s x", "SRANDMEMBER none 1.5"], NOT_AN_INTEGER);
    wire.expect(
        "SRANDMEMBER s -9223372036854775808",
        "-ERR value is out of range, value must between -9223372036854775807 and \
         9223372036854775807\r\n",
    );
    expect_all(&mut wire, &["SPOP s 1 2", "SRANDMEMBER s 1 2"], SYNTAX_ERROR);
    wire.expect("SCARD s", ":1\r\n");
});

/// Requests about the sets `small`, `large` and `numbers`, and which of 0..1000 they answer.
type Algebra = (&'static str, fn(i64) -> bool);

const ALGEBRA: &[Algebra] = &[
    ("INTER large twos", |n| n % 2 == 0),
    ("INTER twos large threes", |n| n % 6 == 0),
    ("INTER threes threes", |n| n % 3 == 0),
    ("INTER threes none twos", |_| false),
    ("UNION twos threes", |n| n % 2 == 0 || n % 3 == 0),
    ("UNION none twos none", |n| n % 2 == 0),
    ("UNION none none", |_| false),
    ("DIFF large twos", |n| n % 2 == 1),
    ("DIFF large twos threes none", |n| n % 2 == 1 && n % 3 != 0),
    ("DIFF large few few few few few few few few", |n| n >= 5),
    ("DIFF twos large", |_| false),
    ("DIFF twos twos", |_| false),
    ("DIFF none twos", |_| false),
    ("DIFF twos", |n| n % 2 == 0),
];

transcript!(sets_are_combined, |wire| {
    for prefix in ["", "m"] {
        wire.expect("FLUSHALL", OK);
        for n in 0..1_000 {
            for (key, is_in) in
                [("large", true), ("twos", n % 2 == 0), ("threes", n % 3 == 0), ("few", n < 5)]
            {
                if is_in {
                    wire.expect(&format!("SADD {key} {prefix}{n}"), ":1\r\n");
                }
            }
        }
        for (request, is_in) in ALGEBRA {
            let mut expected: Vec<Vec<u8>> = (0..1_000)
                .filter(|n| is_in(*n))
                .map(|n| format!("{prefix}{n}").into_bytes())
                .collect();
            expected.sort();
            let (operation, keys) = request.split_once(' ').unwrap();
            assert_eq!(sorted(&wire.run(&format!("S{request}"))), expected, "{request}");
            let count = format!(":{}\r\n", expected.len());
            wire.run("SET result v EX 100");
            wire.expect(&format!("S{operation}STORE result {keys}"), &count);
            assert_eq!(sorted(&wire.run("SMEMBERS result")), expected, "{request}");
            let ttl = if expected.is_empty() { ":-2\r\n" } else { ":-1\r\n" };
            wire.expect("TTL result", ttl);
            if operation == "INTER" {
                let number = keys.split(' ').count();
                wire.expect(&format!("SINTERCARD {number} {keys}"), &count);
                wire.expect(&format!("SINTERCARD {number} {keys} LIMIT 0"), &count);
                let limited = format!(":{}\r\n", expected.len().min(7));
                wire.expect(&format!("SINTERCARD {number} {keys} LIMIT 7"), limited);
            }
        }
        // The destination may be one of the sources.
        wire.expect("SDIFFSTORE large large twos", ":500\r\n").expect("SCARD large", ":500\r\n");
        wire.expect("SUNIONSTORE twos large twos", ":1000\r\n");
        wire.expect("SINTERSTORE few none few", ":0\r\n").expect("EXISTS few", ":0\r\n");
    }
});

transcript!(sintercard_refuses_what_does_not_fit, |wire| {
    wire.expect("SADD a 1", ":1\r\n");
    let lines = ["SINTERCARD 0 a", "SINTERCARD -1 a", "SINTERCARD x a", "SINTERCARD \"\" a"];
    expect_all(&mut wire, &lines, "-ERR numkeys should be greater than 0\r\n");
    let lines = ["SINTERCARD 2 a", "SINTERCARD 9223372036854775807 a"];
    expect_all(&mut wire, &lines, "-ERR Number of keys can't be greater than number of args\r\n");
    let lines = ["SINTERCARD 1 a LIMIT -1", "SINTERCARD 1 a LIMIT x", "SINTERCARD 1 a limit 1.5"];
    expect_all(&mut wire, &lines, "-ERR LIMIT can't be negative\r\n");
    let lines = ["SINTERCARD 1 a b", "SINTERCARD 1 a LIMIT", "SINTERCARD 1 a LIMIT 1 x"];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
    wire.expect("SINTERCARD 1 a LIMIT 5 LIMIT 1", ":1\r\n");
    wire.expect("SINTERCARD 2 a LIMIT", ":0\r\n").expect("SET s v", OK);
    wire.expect("SINTERCARD 2 a s LIMIT x", "-ERR LIMIT can't be negative\r\n");
});

transcript!(sscan_returns_every_member_and_filters, |wire| {
    wire.expect("SADD small 3 1 2", ":3\r\n");
    wire.expect(
        "SSCAN small 0 COUNT 1",
        "*2\r\n$1\r\n0\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n",
    );
    wire.expect("SSCAN small 0 MATCH 2*", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\n2\r\n");
    fill(&mut wire, "large", "m:", 700);
    for options in ["", "COUNT 1", "COUNT 100000", "MATCH *"] {
        let mut all = walk(&mut wire, "SSCAN large", options);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 700, "{options}");
    }
    assert_eq!(walk(&mut wire, "SSCAN large", "MATCH m:69? COUNT 7").len(), 10);
    wire.expect("SSCAN none 0 BAD", "*2\r\n$1\r\n0\r\n*0\r\n");
    for cursor in ["x", "18446744073709551616", "\" 1\""] {
        wire.expect(&format!("SSCAN small {cursor}"), "-ERR invalid cursor\r\n");
    }
    expect_all(&mut wire, &["SSCAN small 0 COUNT x"], NOT_AN_INTEGER);
    let lines = ["SSCAN small 0 COUNT 0", "SSCAN small 0 COUNT", "SSCAN small 0 TYPE set"];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
});

it!(sscan_shows_what_was_there_all_the_time_exactly_once, |server| {
    let mut wire = server.wire();
    fill(&mut wire, "s", "stays:", 2_000);
    for n in 0..2_000 {
        wire.expect(&format!("SADD s goes:{n}"), ":1\r\n");
    }
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let (mut cursor, mut steps) = ("0".to_owned(), 0);
    loop {
        let (next, found) = step(&wire.run(&format!("SSCAN s {cursor} MATCH stays:* COUNT 20")));
        for member in found {
            *seen.entry(member).or_default() += 1;
        }
        for n in steps * 20..(steps + 1) * 20 {
            let change = if n < 2_000 { "SREM s goes" } else { "SADD s comes" };
            wire.expect(&format!("{change}:{n}"), ":1\r\n");
        }
        steps += 1;
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert!(steps > 110, "the walk was too short to change the set: {steps} steps");
    assert_eq!(seen.len(), 2_000);
    assert!(seen.values().all(|count| *count == 1), "a member was returned twice");
});

transcript!(wrong_arity, |wire| {
    expect_wrong_arity(
        &mut wire,
        &[
            "SADD",
            "SADD s",
            "SREM s",
            "SISMEMBER s",
            "SISMEMBER s a b",
            "SMISMEMBER s",
            "SMEMBERS",
            "SMEMBERS s a",
            "SCARD",
            "SCARD s a",
            "SMOVE a b",
            "SMOVE a b c d",
            "SPOP",
            "SRANDMEMBER",
            "SINTER",
            "SINTERCARD",
            "SINTERCARD 1",
            "SINTERSTORE a",
            "SUNION",
            "SUNIONSTORE a",
            "SDIFF",
            "SDIFFSTORE a",
            "SSCAN s",
        ],
    );
    wire.expect("DBSIZE", ":0\r\n");
});

transcript!(wrong_type, |wire| {
    wire.expect("SET s v", OK).expect("RPUSH l a", ":1\r\n").expect("SADD set a", ":1\r\n");
    for key in ["s", "l"] {
        for line in [
            format!("SADD {key} a"),
            format!("SREM {key} a"),
            format!("SISMEMBER {key} a"),
            format!("SMISMEMBER {key} a b"),
            format!("SMEMBERS {key}"),
            format!("SCARD {key}"),
            format!("SPOP {key}"),
            format!("SPOP {key} 0"),
            format!("SPOP {key} 2"),
            format!("SRANDMEMBER {key}"),
            format!("SRANDMEMBER {key} 0"),
            format!("SINTER set {key}"),
            format!("SINTER none {key}"),
            format!("SINTERCARD 2 none {key}"),
            format!("SINTERSTORE set none {key}"),
            format!("SUNION set {key}"),
            format!("SUNIONSTORE set {key}"),
            format!("SDIFF none {key}"),
            format!("SDIFFSTORE set set {key}"),
            format!("SSCAN {key} 0 BAD"),
        ] {
            wire.expect(&line, WRONG_TYPE);
        }
    }
    expect_all(&mut wire, &["LLEN set", "GET set", "HGET set f", "INCR set"], WRONG_TYPE);
    // A destination may be of any type.
    wire.expect("SUNIONSTORE l set", ":1\r\n").expect("TYPE l", "+set\r\n");
    wire.expect("SINTERSTORE s none", ":0\r\n").expect("EXISTS s", ":0\r\n");
    wire.expect("SMEMBERS set", bulks(&["a"]));
});
