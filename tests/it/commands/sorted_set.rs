//! ZADD, ZINCRBY, ZREM, ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZRANDMEMBER, ZSCAN, the ranges,
//! the combinations and the pops of sorted sets.

use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, WRONG_TYPE};
use super::{elements, expect_all, expect_wrong_arity, step, walk};
use crate::harness::wire::{Wire, bulk, bulks};
use crate::it;
use std::collections::{BTreeMap, BTreeSet};

const NOT_A_FLOAT: &str = "-ERR value is not a valid float\r\n";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive\r\n";
const BAD_BOUND: &str = "-ERR min or max is not a float\r\n";
const BAD_LEX: &str = "-ERR min or max not valid string range item\r\n";

/// Adds `count` members `prefix0`, `prefix1` and so on, each with a third of its number as score.
fn fill(wire: &mut Wire, key: &str, prefix: &str, count: usize) {
    for start in (0..count).step_by(100) {
        let members = (start..count.min(start + 100)).map(|n| format!(" {} {prefix}{n:05}", n / 3));
        wire.run(&format!("ZADD {key}{}", members.collect::<String>()));
    }
    wire.expect(&format!("ZCARD {key}"), format!(":{count}\r\n"));
}

transcript!(scores_are_set_and_told, |wire| {
    wire.expect("ZADD z 1 a 2.5 b 1 c", ":3\r\n").expect("ZADD z 3 a 4 d", ":1\r\n");
    wire.expect("ZADD z 4 d", ":0\r\n").expect("ZCARD z", ":4\r\n").expect("ZCARD none", ":0\r\n");
    wire.expect("ZSCORE z a", bulk("3")).expect("ZSCORE z b", bulk("2.5"));
    wire.expect("ZSCORE z x", NULL).expect("ZSCORE none a", NULL).expect("TYPE z", "+zset\r\n");
    wire.expect("ZMSCORE z a x d", "*3\r\n$1\r\n3\r\n$-1\r\n$1\r\n4\r\n");
    wire.expect("ZMSCORE none a b", "*2\r\n$-1\r\n$-1\r\n");
    wire.expect("ZRANGE z 0 -1 WITHSCORES", bulks(&["c", "1", "b", "2.5", "a", "3", "d", "4"]));
    wire.expect("ZRANK z c", ":0\r\n").expect("ZREVRANK z c", ":3\r\n").expect("ZRANK z x", NULL);
    wire.expect("ZREVRANK none x", NULL)
        .expect("ZREM z x", ":0\r\n")
        .expect("ZREM none x", ":0\r\n");
    wire.expect("ZREM z a x a d", ":2\r\n").expect("ZREM z b c", ":2\r\n");
    wire.expect("EXISTS z", ":0\r\n");
});

transcript!(every_score_is_printed_as_it_was_meant, |wire| {
    let long = "x".repeat(65);
    for (score, printed) in [
        ("inf", "inf"),
        ("-INFINITY", "-inf"),
        ("+5", "5"),
        ("1e3", "1000"),
        ("0x10", "16"),
        ("-0", "-0"),
        ("0.1", "0.10000000000000001"),
        ("-3.5e-7", "-3.4999999999999998e-07"),
        ("1e300", "1.0000000000000001e+300"),
        ("9007199254740993", "9007199254740992"),
        ("1e17", "1e+17"),
        ("5e-324", "4.9406564584124654e-324"),
    ] {
        // A small set stores whole scores as integers, so that -0 becomes 0.
        let small = if printed == "-0" { "0" } else { printed };
        wire.expect("DEL z", if score == "inf" { ":0\r\n" } else { ":1\r\n" });
        wire.expect(&format!("ZADD z {score} m"), ":1\r\n").expect("ZSCORE z m", bulk(small));
        wire.expect("ZRANGE z 0 0 WITHSCORES", bulks(&["m", small]));
        wire.expect(&format!("ZADD z 1 {long}"), ":1\r\n").expect("ZSCORE z m", bulk(small));
        wire.expect(&format!("ZADD z {score} n"), ":1\r\n").expect("ZSCORE z n", bulk(printed));
        wire.expect(&format!("ZINCRBY z {score} o"), bulk(printed));
    }
    for score in ["nan", "x", "\"\"", "\" 1\"", "\"1 \"", "1e400", "0x", "1,5"] {
        wire.expect(&format!("ZADD z {score} m"), NOT_A_FLOAT);
        wire.expect(&format!("ZADD z 1 m {score} n"), NOT_A_FLOAT);
        wire.expect(&format!("ZINCRBY z {score} m"), NOT_A_FLOAT);
    }
    wire.expect("DEL z", ":1\r\n").expect("ZADD z 1e17 a -0 b 1e18 c 0.5 d", ":4\r\n");
    let scanned = ["b", "0", "d", "0.5", "a", "100000000000000000", "c", "1000000000000000000"];
    assert_eq!(
        walk(&mut wire, "ZSCAN z", ""),
        scanned.map(|text| text.as_bytes().to_vec()).to_vec()
    );
    wire.expect(&format!("ZADD z 1 {long}"), ":1\r\n");
    let scanned = walk(&mut wire, "ZSCAN z", "MATCH a");
    assert_eq!(scanned, [b"a".to_vec(), b"1e+17".to_vec()]);
});

transcript!(options_of_zadd, |wire| {
    wire.expect("ZADD z 10 a 20 b", ":2\r\n");
    wire.expect("ZADD z NX 5 a 30 c", ":1\r\n").expect("ZADD z XX 5 a 40 d", ":0\r\n");
    wire.expect("ZADD z XX CH 6 a 40 d", ":1\r\n").expect("ZADD z CH 6 a 21 b 50 e", ":2\r\n");
    wire.expect("ZADD z GT CH 1 a 25 b", ":1\r\n").expect("ZADD z LT CH 1 a 26 b", ":1\r\n");
    wire.expect("ZADD z GT 1 new", ":1\r\n").expect("ZADD z LT 1 newer", ":1\r\n");
    wire.expect("ZADD z GT XX 1 newest", ":0\r\n").expect("ZADD z ch ch nx 7 f", ":1\r\n");
    wire.expect("ZADD z INCR 5 a", bulk("6")).expect("ZADD z INCR 5 g", bulk("5"));
    wire.expect("ZADD z INCR NX 5 a", NULL).expect("ZADD z INCR XX 5 h", NULL);
    wire.expect("ZADD z INCR GT -5 a", NULL).expect("ZADD z INCR LT -5 a", bulk("1"));
    wire.expect("ZADD z INCR LT CH 0 a", NULL).expect("ZADD z INCR 0 a", bulk("1"));
    wire.expect("ZADD none XX 1 a", ":0\r\n").expect("ZADD none XX INCR 1 a", NULL);
    wire.expect("EXISTS none", ":0\r\n");
    wire.expect(
        "ZADD z NX XX 1 a",
        "-ERR XX and NX options at the same time are not compatible\r\n",
    );
    let text = "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n";
    expect_all(&mut wire, &["ZADD z GT NX 1 a", "ZADD z LT NX 1 a", "ZADD z GT LT 1 a"], text);
    wire.expect(
        "ZADD z INCR 1 a 2 b",
        "-ERR INCR option supports a single increment-element pair\r\n",
    );
    let lines =
        ["ZADD z 1 a 2", "ZADD z NX XX", "ZADD z CH NX 1", "ZINCRBY z NX a", "ZADD z a 1 b"];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
    wire.expect("ZADD z INCR a b", NOT_A_FLOAT);
});

transcript!(increments_add_up_and_never_to_nan, |wire| {
    wire.expect("ZINCRBY z 1.5 a", bulk("1.5")).expect("ZINCRBY z -2 a", bulk("-0.5"));
    wire.expect("ZINCRBY z 0.1 b", bulk("0.10000000000000001"));
    wire.expect("ZINCRBY z 0.2 b", bulk("0.30000000000000004"));
    wire.expect("ZINCRBY z inf c", bulk("inf")).expect("ZINCRBY z 1e308 c", bulk("inf"));
    wire.expect("ZINCRBY z -inf c", "-ERR resulting score is not a number (NaN)\r\n");
    wire.expect("ZADD z INCR -inf c", "-ERR resulting score is not a number (NaN)\r\n");
    wire.expect("ZINCRBY z 1.7e308 d", bulk("1.6999999999999999e+308"));
    wire.expect("ZINCRBY z 1.7e308 d", bulk("inf")).expect("ZSCORE z c", bulk("inf"));
});

transcript!(
    replies_have_their_own_form_in_resp3,
    resp3
        | wire
        | {
            wire.expect("ZADD z 1 a 2.5 b inf c -inf d", ":4\r\n").expect("ZSCORE z b", ",2.5\r\n");
            wire.expect("ZSCORE z c", ",inf\r\n").expect("ZSCORE z x", "_\r\n");
            wire.expect("ZINCRBY z 1 a", ",2\r\n").expect("ZADD z XX INCR 1 x", "_\r\n");
            wire.expect("ZMSCORE z a x", "*2\r\n,2\r\n_\r\n").expect("ZRANK z x", "_\r\n");
            let pairs = "*4\r\n*2\r\n$1\r\nd\r\n,-inf\r\n*2\r\n$1\r\na\r\n,2\r\n*2\r\n$1\r\nb\r\n,2.5\r\n\
                     *2\r\n$1\r\nc\r\n,inf\r\n";
            wire.expect("ZRANGE z 0 -1 WITHSCORES", pairs).expect("ZUNION 1 z WITHSCORES", pairs);
            wire.expect("ZRANGEBYSCORE z -inf inf WITHSCORES", pairs);
            wire.expect("ZDIFF 2 z none WITHSCORES", pairs).expect("ZINTER 1 z WITHSCORES", pairs);
            wire.expect("ZRANGE z 0 0", bulks(&["d"]))
                .expect("ZRANGE none 0 0 WITHSCORES", "*0\r\n");
            wire.expect("ZSCAN z 0 MATCH a", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n2\r\n");
            wire.expect("ZPOPMIN z", "*2\r\n$1\r\nd\r\n,-inf\r\n");
            wire.expect("ZPOPMAX z 1", "*1\r\n*2\r\n$1\r\nc\r\n,inf\r\n");
            wire.expect("ZPOPMAX none", "*0\r\n").expect("ZPOPMAX none 5", "*0\r\n");
            wire.expect("ZPOPMAX z 0", "*0\r\n");
            wire.expect("ZMPOP 2 none z MIN", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n,2\r\n");
            wire.expect("ZMPOP 1 none MIN", "_\r\n");
            wire.expect("ZRANDMEMBER z", bulk("b")).expect("ZRANDMEMBER none", "_\r\n");
            wire.expect("ZRANDMEMBER z -2", bulks(&["b", "b"]));
            wire.expect("ZRANDMEMBER z 5 WITHSCORES", "*1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n");
            wire.expect(
                "ZRANDMEMBER z -2 WITHSCORES",
                "*2\r\n*2\r\n$1\r\nb\r\n,2.5\r\n*2\r\n$1\r\nb\r\n,2.5\r\n",
            );
        }
);

transcript!(a_large_sorted_set_behaves_as_a_small_one, |wire| {
    for (count, prefix) in [(60, "m:".to_owned()), (3_000, "m:".to_owned()), (500, "l".repeat(70))]
    {
        wire.expect("FLUSHALL", OK);
        fill(&mut wire, "z", &prefix, count);
        let name = |n: usize| format!("{prefix}{n:05}");
        for n in (0..count).step_by(7) {
            wire.expect(&format!("ZRANK z {}", name(n)), format!(":{n}\r\n"));
            wire.expect(&format!("ZREVRANK z {}", name(n)), format!(":{}\r\n", count - 1 - n));
            wire.expect(&format!("ZSCORE z {}", name(n)), bulk((n / 3).to_string()));
            wire.expect(&format!("ZRANGE z {n} {n}"), bulks(&[&name(n)]));
            wire.expect(&format!("ZREVRANGE z {n} {n}"), bulks(&[&name(count - 1 - n)]));
            wire.expect(&format!("ZCOUNT z -inf ({}", n / 3), format!(":{}\r\n", n / 3 * 3));
        }
        // Half of them move behind the others, in the opposite order.
        for n in (0..count).step_by(2) {
            wire.expect(&format!("ZADD z CH {} {}", 1_000_000 - n, name(n)), ":1\r\n");
        }
        let odd = (1..count).step_by(2);
        let moved = (0..count).step_by(2).rev();
        let order: Vec<String> = odd.chain(moved).map(name).collect();
        let order: Vec<&str> = order.iter().map(String::as_str).collect();
        wire.expect("ZRANGE z 0 -1", bulks(&order));
        wire.expect("ZREMRANGEBYRANK z 10 -11", format!(":{}\r\n", count - 20));
        let left = [&order[..10], &order[count - 10..]].concat();
        wire.expect("ZRANGE z 0 -1", bulks(&left));
        for member in left {
            wire.expect(&format!("ZREM z {member}"), ":1\r\n");
        }
        wire.expect("EXISTS z", ":0\r\n");
    }
});

transcript!(ranges_by_rank, |wire| {
    wire.expect("ZADD z 1 a 2 b 3 c 4 d", ":4\r\n");
    wire.expect("ZRANGE z 0 -1", bulks(&["a", "b", "c", "d"]))
        .expect("ZRANGE z 1 1", bulks(&["b"]));
    wire.expect("ZRANGE z -2 100 WITHSCORES", bulks(&["c", "3", "d", "4"]));
    wire.expect("ZRANGE z 0 1 REV", bulks(&["d", "c"])).expect("ZREVRANGE z -1 -1", bulks(&["a"]));
    wire.expect("ZREVRANGE z 0 0 WITHSCORES WITHSCORES", bulks(&["d", "4"]));
    let lines = ["ZRANGE z 2 1", "ZRANGE z 4 9", "ZRANGE z 0 -5", "ZREVRANGE none 0 -1"];
    expect_all(&mut wire, &lines, "*0\r\n");
    wire.expect("ZRANGE z 1 2 LIMIT 5 -1", bulks(&["b", "c"]));
    let text = "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                BYLEX\r\n";
    expect_all(&mut wire, &["ZRANGE z 0 1 LIMIT 0 1", "ZREVRANGE z 0 1 LIMIT 0 0"], text);
    let lines = ["ZRANGE z a 1", "ZRANGE z 0 1.5", "ZRANGE z 0 1 LIMIT x 1", "ZREVRANGE none (1 2"];
    expect_all(&mut wire, &lines, NOT_AN_INTEGER);
    let lines = ["ZRANGE z 0 1 BAD", "ZRANGE z 0 1 LIMIT 0", "ZREVRANGE z 0 1 REV"];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
});

transcript!(ranges_by_score, |wire| {
    wire.expect("ZADD z -inf a 1 b 1 c 2.5 d inf e", ":5\r\n");
    for (range, expected) in [
        ("-inf +inf", &["a", "b", "c", "d", "e"][..]),
        ("(-inf (inf", &["b", "c", "d"]),
        ("1 1", &["b", "c"]),
        ("(1 2.5", &["d"]),
        ("1 (1", &[]),
        ("(1 1", &[]),
        ("2 1", &[]),
        ("3 1e400", &["e"]),
        ("\"\" 0x1", &["b", "c"]),
        ("\"( 1\" 9", &["d"]),
        ("( 1", &["b", "c"]),
    ] {
        let mut back = expected.to_vec();
        back.reverse();
        let words: Vec<&str> = if range.starts_with('"') {
            range.splitn(2, if range.contains("( 1\"") { "\" " } else { " " }).collect()
        } else {
            range.split(' ').collect()
        };
        let closing = if range.contains("( 1\"") { "\"" } else { "" };
        let reversed = format!("{} {}{closing}", words[1], words[0]);
        wire.expect(&format!("ZRANGEBYSCORE z {range}"), bulks(expected));
        wire.expect(&format!("ZRANGE z {range} BYSCORE"), bulks(expected));
        wire.expect(&format!("ZREVRANGEBYSCORE z {reversed}"), bulks(&back));
        wire.expect(&format!("ZRANGE z {reversed} REV BYSCORE"), bulks(&back));
        wire.expect(&format!("ZCOUNT z {range}"), format!(":{}\r\n", expected.len()));
    }
    wire.expect("ZRANGEBYSCORE z 1 9 WITHSCORES LIMIT 1 2", bulks(&["c", "1", "d", "2.5"]));
    wire.expect("ZREVRANGEBYSCORE z 9 1 LIMIT 1 1 WITHSCORES", bulks(&["c", "1"]));
    wire.expect("ZRANGEBYSCORE z -inf inf LIMIT 3 -1", bulks(&["d", "e"]));
    wire.expect("ZRANGEBYSCORE z -inf inf LIMIT 1 -9", bulks(&["b", "c", "d", "e"]));
    let lines = [
        "ZRANGEBYSCORE z -inf inf LIMIT 5 1",
        "ZRANGEBYSCORE z -inf inf LIMIT -1 1",
        "ZRANGEBYSCORE z -inf inf LIMIT 0 0",
        "ZRANGEBYSCORE none 0 1",
    ];
    expect_all(&mut wire, &lines, "*0\r\n");
    let lines =
        ["ZRANGEBYSCORE z x 1", "ZCOUNT z 1 nan", "ZRANGE z 1 \" \" BYSCORE", "ZCOUNT n (( 1"];
    expect_all(&mut wire, &lines, BAD_BOUND);
    wire.expect("ZRANGEBYSCORE z 0 1 LIMIT 0 x", NOT_AN_INTEGER);
    let lines =
        ["ZRANGEBYSCORE z 0 1 REV", "ZRANGEBYSCORE z 0 1 BYLEX", "ZRANGEBYSCORE z 0 1 LIMIT 0"];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
});

transcript!(ranges_by_member, |wire| {
    for count in [6, 300] {
        wire.expect("FLUSHALL", OK);
        for n in 6..count {
            wire.expect(&format!("ZADD z 0 zz{n}"), ":1\r\n");
        }
        wire.expect("ZADD z 0 a 0 b 0 c 0 d 0 e 0 \"\"", ":6\r\n");
        for (min, max, expected) in [
            ("-", "(z", &["", "a", "b", "c", "d", "e"][..]),
            ("[b", "[d", &["b", "c", "d"]),
            ("(b", "(d", &["c"]),
            ("[", "(a", &[""]),
            ("(", "[a", &["a"]),
            ("[d", "[b", &[]),
            ("(b", "[b", &[]),
            ("+", "+", &[]),
            ("-", "-", &[]),
            ("+", "-", &[]),
            ("[bb", "[cc", &["c"]),
        ] {
            let mut back = expected.to_vec();
            back.reverse();
            wire.expect(&format!("ZRANGEBYLEX z {min} {max}"), bulks(expected));
            wire.expect(&format!("ZRANGE z {min} {max} BYLEX"), bulks(expected));
            wire.expect(&format!("ZREVRANGEBYLEX z {max} {min}"), bulks(&back));
            wire.expect(&format!("ZRANGE z {max} {min} BYLEX REV"), bulks(&back));
            wire.expect(&format!("ZLEXCOUNT z {min} {max}"), format!(":{}\r\n", expected.len()));
        }
        wire.expect("ZLEXCOUNT z - +", format!(":{count}\r\n"));
        wire.expect("ZRANGEBYLEX z - (z LIMIT 1 2", bulks(&["a", "b"]));
        wire.expect("ZREVRANGEBYLEX z (z - LIMIT 1 2", bulks(&["d", "c"]));
        wire.expect("ZREMRANGEBYLEX z [b (d", ":2\r\n").expect("ZREMRANGEBYLEX z [b (d", ":0\r\n");
        wire.expect("ZRANGEBYLEX z - (z", bulks(&["", "a", "d", "e"]));
    }
    let lines =
        ["ZRANGEBYLEX z a +", "ZLEXCOUNT z - \"\"", "ZRANGE z ++ - BYLEX", "ZLEXCOUNT n 1 2"];
    expect_all(&mut wire, &lines, BAD_LEX);
    let text = "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n";
    expect_all(&mut wire, &["ZRANGEBYLEX z - + WITHSCORES", "ZRANGE z - + BYLEX WITHSCORES"], text);
    wire.expect("ZREMRANGEBYLEX z x +", BAD_LEX).expect("ZREMRANGEBYLEX none - +", ":0\r\n");
});

transcript!(ranges_are_stored, |wire| {
    wire.expect("ZADD z 1 a 2 b 3 c 4 d", ":4\r\n").expect("SET to v EX 100", OK);
    wire.expect("ZRANGESTORE to z 1 2", ":2\r\n").expect("TTL to", ":-1\r\n");
    wire.expect("ZRANGE to 0 -1 WITHSCORES", bulks(&["b", "2", "c", "3"]));
    wire.expect("ZRANGESTORE to z 0 1 REV", ":2\r\n").expect("ZRANGE to 0 -1", bulks(&["c", "d"]));
    wire.expect("ZRANGESTORE to z (3 -inf BYSCORE REV LIMIT 0 1", ":1\r\n");
    wire.expect("ZRANGE to 0 -1", bulks(&["b"])).expect("ZRANGESTORE to z - [b BYLEX", ":2\r\n");
    wire.expect("ZRANGESTORE z z 0 0", ":1\r\n").expect("ZRANGE z 0 -1", bulks(&["a"]));
    wire.expect("ZRANGESTORE to z 5 9", ":0\r\n").expect("EXISTS to", ":0\r\n");
    wire.expect("ZRANGESTORE z none 0 -1", ":0\r\n").expect("EXISTS z", ":0\r\n");
    fill(&mut wire, "z", "m", 500);
    wire.expect("ZRANGESTORE to z 10 -10", ":481\r\n").expect("ZRANK to m00010", ":0\r\n");
    wire.expect("ZRANGESTORE to z 0 1 WITHSCORES", SYNTAX_ERROR);
    wire.expect("ZRANGESTORE to z a 1", NOT_AN_INTEGER).expect("SET s v", OK);
    wire.expect("ZRANGESTORE to s 0 1", WRONG_TYPE).expect("ZRANGESTORE s z 0 1", ":2\r\n");
});

transcript!(ranges_are_removed, |wire| {
    for count in [100, 1_000] {
        fill(&mut wire, "z", "m", count);
        wire.expect("ZREMRANGEBYSCORE z 1 (3", ":6\r\n").expect("ZREMRANGEBYSCORE z 1 2", ":0\r\n");
        wire.expect("ZREMRANGEBYRANK z 0 2", ":3\r\n").expect("ZREMRANGEBYRANK z 5 4", ":0\r\n");
        wire.expect("ZRANGE z 0 0", bulks(&["m00009"]));
        wire.expect("ZREMRANGEBYRANK z -2 -1", ":2\r\n");
        wire.expect("ZREMRANGEBYSCORE z -inf +inf", format!(":{}\r\n", count - 11));
        wire.expect("EXISTS z", ":0\r\n");
    }
    wire.expect("ZREMRANGEBYRANK z 0 -1", ":0\r\n").expect("ZREMRANGEBYSCORE z 0 1", ":0\r\n");
    wire.expect("ZREMRANGEBYSCORE z x 1", BAD_BOUND)
        .expect("ZREMRANGEBYRANK z 0 x", NOT_AN_INTEGER);
});

transcript!(sorted_sets_are_combined, |wire| {
    wire.expect("ZADD a 1 x 2 y 3 z", ":3\r\n").expect("ZADD b 10 y 20 z 30 w", ":3\r\n");
    wire.expect("SADD s x z 7", ":3\r\n");
    for (request, expected) in [
        ("UNION 2 a b", &["x", "1", "y", "12", "z", "23", "w", "30"][..]),
        ("UNION 2 a b WEIGHTS 2 0.5", &["x", "2", "y", "9", "w", "15", "z", "16"]),
        ("UNION 2 a b AGGREGATE MIN", &["x", "1", "y", "2", "z", "3", "w", "30"]),
        ("UNION 2 a b AGGREGATE max WEIGHTS 1 -1", &["w", "-30", "x", "1", "y", "2", "z", "3"]),
        ("UNION 2 a s", &["7", "1", "x", "2", "y", "2", "z", "4"]),
        ("UNION 1 none", &[]),
        ("UNION 3 a none a", &["x", "2", "y", "4", "z", "6"]),
        ("INTER 2 a b", &["y", "12", "z", "23"]),
        ("INTER 3 a b s WEIGHTS 1 1 100", &["z", "123"]),
        ("INTER 2 a a AGGREGATE SUM", &["x", "2", "y", "4", "z", "6"]),
        ("INTER 2 a none", &[]),
        ("UNION 1 a WEIGHTS inf", &["x", "inf", "y", "inf", "z", "inf"]),
        ("UNION 2 a a WEIGHTS inf -inf", &["x", "0", "y", "0", "z", "0"]),
        ("DIFF 2 a b", &["x", "1"]),
        ("DIFF 2 a s", &["y", "2"]),
        ("DIFF 3 b a s", &["w", "30"]),
        ("DIFF 1 a", &["x", "1", "y", "2", "z", "3"]),
        ("DIFF 2 a a", &[]),
        ("DIFF 2 none a", &[]),
    ] {
        let members: Vec<&str> = expected.iter().step_by(2).copied().collect();
        wire.expect(&format!("Z{request} WITHSCORES"), bulks(expected));
        wire.expect(&format!("Z{request}"), bulks(&members));
        let (operation, rest) = request.split_once(' ').unwrap();
        wire.run("SET to v EX 100");
        let count = format!(":{}\r\n", members.len());
        wire.expect(&format!("Z{operation}STORE to {rest}"), &count);
        wire.expect("ZRANGE to 0 -1 WITHSCORES", bulks(expected));
        wire.expect("TTL to", if members.is_empty() { ":-2\r\n" } else { ":-1\r\n" });
    }
    wire.expect("ZINTERCARD 2 a b", ":2\r\n").expect("ZINTERCARD 2 a b LIMIT 1", ":1\r\n");
    wire.expect("ZINTERCARD 2 a s LIMIT 0", ":2\r\n").expect("ZINTERCARD 2 a none", ":0\r\n");
    wire.expect("ZUNIONSTORE a 2 a b", ":4\r\n").expect("ZDIFFSTORE a 2 a a", ":0\r\n");
    wire.expect("EXISTS a", ":0\r\n");
    fill(&mut wire, "p", "m", 1_000);
    fill(&mut wire, "q", "m", 700);
    wire.expect("ZUNIONSTORE to 2 p q", ":1000\r\n").expect("ZSCORE to m00500", bulk("332"));
    wire.expect("ZINTERSTORE to 2 p q WEIGHTS 1 0", ":700\r\n")
        .expect("ZSCORE to m00600", bulk("200"));
    wire.expect("ZDIFFSTORE to 2 p q", ":300\r\n").expect("ZRANK to m00700", ":0\r\n");
    wire.expect("ZINTERCARD 2 p q LIMIT 300", ":300\r\n").expect("ZINTERCARD 2 q p", ":700\r\n");
});

transcript!(combinations_refuse_what_does_not_fit, |wire| {
    wire.expect("ZADD z 1 a", ":1\r\n").expect("SET s v", OK);
    let names = ["ZUNION", "ZINTER", "ZDIFF", "ZUNIONSTORE to", "ZINTERSTORE to", "ZDIFFSTORE to"];
    for name in names.iter().chain(&["ZINTERCARD"]) {
        let word = name.split(' ').next().unwrap().to_lowercase();
        let few = format!("-ERR at least 1 input key is needed for '{word}' command\r\n");
        wire.expect(&format!("{name} 0 z"), &few).expect(&format!("{name} -5 z"), &few);
        wire.expect(&format!("{name} x z"), NOT_AN_INTEGER);
        wire.expect(&format!("{name} 01 z"), NOT_AN_INTEGER);
        wire.expect(&format!("{name} 2 z"), SYNTAX_ERROR);
        wire.expect(&format!("{name} 9223372036854775807 z"), SYNTAX_ERROR);
        wire.expect(&format!("{name} 1 z BAD"), SYNTAX_ERROR);
        wire.expect(&format!("{name} 2 z s BAD"), WRONG_TYPE);
        wire.expect(&format!("{name} 2 none s"), WRONG_TYPE);
    }
    for name in ["ZUNION", "ZINTERSTORE to"] {
        let lines = ["WEIGHTS", "AGGREGATE", "AGGREGATE avg", "WEIGHTS 1 AGGREGATE", "LIMIT 1"];
        let lines = lines.map(|options| format!("{name} 1 z {options}"));
        expect_all(&mut wire, &lines.each_ref().map(String::as_str), SYNTAX_ERROR);
        wire.expect(&format!("{name} 1 z WEIGHTS x"), "-ERR weight value is not a float\r\n");
        wire.expect(&format!("{name} 1 z WEIGHTS nan"), "-ERR weight value is not a float\r\n");
        wire.expect(&format!("{name} 2 z z WEIGHTS 1"), SYNTAX_ERROR);
    }
    let lines = [
        "ZDIFF 1 z WEIGHTS 1",
        "ZUNIONSTORE to 1 z WITHSCORES",
        "ZINTERCARD 1 z WITHSCORES",
        "ZINTERCARD 1 z WEIGHTS 1",
        "ZINTERCARD 1 z LIMIT",
    ];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
    let lines = ["ZINTERCARD 1 z LIMIT -1", "ZINTERCARD 1 z LIMIT x"];
    expect_all(&mut wire, &lines, "-ERR LIMIT can't be negative\r\n");
    wire.expect("EXISTS to", ":0\r\n");
});

transcript!(the_lowest_and_the_highest_are_popped, |wire| {
    wire.expect("ZADD z 1 a 2 b 2 c 3 d 4 e", ":5\r\n");
    wire.expect("ZPOPMIN z", bulks(&["a", "1"])).expect("ZPOPMAX z", bulks(&["e", "4"]));
    wire.expect("ZPOPMAX z 2", bulks(&["d", "3", "c", "2"])).expect("ZPOPMIN z 0", "*0\r\n");
    wire.expect("ZPOPMIN z 9", bulks(&["b", "2"])).expect("EXISTS z", ":0\r\n");
    expect_all(&mut wire, &["ZPOPMIN z", "ZPOPMAX z 3", "ZPOPMAX z 0"], "*0\r\n");
    expect_all(&mut wire, &["ZPOPMIN z -1", "ZPOPMIN z x", "ZPOPMAX none 1.5"], NOT_POSITIVE);
    expect_all(&mut wire, &["ZPOPMIN z 1 2", "ZPOPMAX none x y"], SYNTAX_ERROR);
    fill(&mut wire, "large", "m", 500);
    for n in 0..100 {
        let (low, high) = (format!("m{n:05}"), format!("m{:05}", 499 - n));
        let (low_score, high_score) = ((n / 3).to_string(), ((499 - n) / 3).to_string());
        wire.expect("ZPOPMIN large", bulks(&[&low, &low_score]));
        wire.expect("ZPOPMAX large", bulks(&[&high, &high_score]));
    }
    wire.expect("ZCARD large", ":300\r\n").expect("ZPOPMIN large 0", "*0\r\n");
    assert_eq!(elements(&wire.run("ZPOPMAX large 1000")).len(), 600);
    wire.expect("EXISTS large", ":0\r\n");
});

transcript!(zmpop_takes_from_the_first_that_is_there, |wire| {
    wire.expect("ZADD a 1 x 2 y", ":2\r\n").expect("ZADD b 3 z", ":1\r\n").expect("SET s v", OK);
    wire.expect("ZMPOP 2 none b MIN", "*2\r\n$1\r\nb\r\n*1\r\n*2\r\n$1\r\nz\r\n$1\r\n3\r\n");
    wire.expect("ZMPOP 2 b a max count 1", "*2\r\n$1\r\na\r\n*1\r\n*2\r\n$1\r\ny\r\n$1\r\n2\r\n");
    wire.expect("ZMPOP 2 a s MIN COUNT 9", "*2\r\n$1\r\na\r\n*1\r\n*2\r\n$1\r\nx\r\n$1\r\n1\r\n");
    wire.expect("ZMPOP 2 a s MIN", WRONG_TYPE).expect("ZMPOP 2 a b MIN", "*-1\r\n");
    wire.expect("EXISTS a b", ":0\r\n");
    let lines = ["ZMPOP 0 a MIN", "ZMPOP x a MIN", "ZMPOP -1 a MIN"];
    expect_all(&mut wire, &lines, "-ERR numkeys should be greater than 0\r\n");
    let lines = ["ZMPOP 1 a MIN COUNT 0", "ZMPOP 1 a MIN COUNT x", "ZMPOP 1 a MIN COUNT -1"];
    expect_all(&mut wire, &lines, "-ERR count should be greater than 0\r\n");
    let lines = [
        "ZMPOP 2 a MIN",
        "ZMPOP 9 a MIN",
        "ZMPOP 9223372036854775807 a MIN",
        "ZMPOP 1 a BAD",
        "ZMPOP 1 a MIN COUNT",
        "ZMPOP 1 a MIN BAD 1",
        "ZMPOP 1 a MIN COUNT 1 COUNT 2",
        "ZMPOP 1 a MIN MAX",
    ];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
});

transcript!(members_are_drawn, |wire| {
    for count in [90, 1_500] {
        fill(&mut wire, "z", "m", count);
        let all: BTreeSet<_> = (0..count).map(|n| format!("m{n:05}").into_bytes()).collect();
        for share in [1, 2, count / 5, count / 2, count - 1, count, count + 1] {
            let drawn = elements(&wire.run(&format!("ZRANDMEMBER z {share} WITHSCORES")));
            assert_eq!(drawn.len(), 2 * share.min(count));
            let members: BTreeSet<_> = drawn.iter().step_by(2).cloned().collect();
            assert!(members.len() == share.min(count) && members.is_subset(&all), "{share}");
            for pair in drawn.chunks(2) {
                let number: usize = std::str::from_utf8(&pair[0][1..]).unwrap().parse().unwrap();
                assert_eq!(pair[1], (number / 3).to_string().as_bytes());
            }
        }
        let drawn = elements(&wire.run(&format!("ZRANDMEMBER z -{}", 20 * count)));
        assert_eq!(drawn.len(), 20 * count);
        let drawn = BTreeSet::from_iter(drawn);
        assert!(drawn.is_subset(&all));
        let missed = count - drawn.len();
        // redis-server draws a few members far more rarely than the others.
        assert!(missed <= count / 100, "{missed} of {count} were never drawn");
        wire.expect("ZCARD z", format!(":{count}\r\n")).expect("DEL z", ":1\r\n");
    }
    wire.expect("ZADD z 5 a", ":1\r\n").expect("ZRANDMEMBER z", bulk("a"));
    wire.expect("ZRANDMEMBER z -2 WITHSCORES", bulks(&["a", "5", "a", "5"]));
    wire.expect("ZRANDMEMBER z 0", "*0\r\n").expect("ZRANDMEMBER none -3", "*0\r\n");
    wire.expect("ZRANDMEMBER none", NULL).expect("ZRANDMEMBER z x", NOT_AN_INTEGER);
    let lines = ["ZRANDMEMBER z 1 BAD", "ZRANDMEMBER z 1 WITHSCORES x"];
    expect_all(&mut wire, &lines, SYNTAX_ERROR);
    wire.expect(
        "ZRANDMEMBER z -9223372036854775808",
        "-ERR value is out of range, value must between -9223372036854775807 and \
         9223372036854775807\r\n",
    );
    let lines = [
        "ZRANDMEMBER z -4611686018427387904 WITHSCORES",
        "ZRANDMEMBER z 9223372036854775807 WITHSCORES",
    ];
    expect_all(&mut wire, &lines, "-ERR value is out of range\r\n");
});

it!(a_draw_that_would_not_end_is_refused, |server| {
    let mut wire = server.wire();
    wire.expect("CONFIG SET proto-max-bulk-len 1mb", OK)
        .expect("ZADD z 1 abcdefghijklmn", ":1\r\n");
    for options in ["", " WITHSCORES"] {
        wire.expect(
            &format!("ZRANDMEMBER z -4611686018427387903{options}"),
            "-ERR the reply would exceed proto-max-bulk-len\r\n",
        );
    }
    assert_eq!(elements(&wire.run("ZRANDMEMBER z -40000")).len(), 40_000);
});

transcript!(zscan_returns_every_member_and_filters, |wire| {
    wire.expect("ZADD small 3 c 1 a 2 b", ":3\r\n");
    wire.expect("ZSCAN small 0 COUNT 1 MATCH b", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n");
    let all = walk(&mut wire, "ZSCAN small", "");
    assert_eq!(all, ["a", "1", "b", "2", "c", "3"].map(|text| text.as_bytes().to_vec()));
    fill(&mut wire, "large", "m", 700);
    for options in ["", "COUNT 1", "COUNT 100000", "MATCH *"] {
        let mut pairs: Vec<_> =
            walk(&mut wire, "ZSCAN large", options).chunks(2).map(<[_]>::to_vec).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), 700, "{options}");
    }
    assert_eq!(walk(&mut wire, "ZSCAN large", "MATCH m0069? COUNT 7").len(), 20);
    wire.expect("ZSCAN none 0 BAD", "*2\r\n$1\r\n0\r\n*0\r\n");
    wire.expect("ZSCAN small x", "-ERR invalid cursor\r\n");
    wire.expect("ZSCAN small 0 COUNT x", NOT_AN_INTEGER).expect("ZSCAN small 0 BAD", SYNTAX_ERROR);
});

it!(zscan_shows_what_was_there_all_the_time_exactly_once, |server| {
    let mut wire = server.wire();
    fill(&mut wire, "z", "stays:", 2_000);
    fill(&mut wire, "goes", "goes:", 2_000);
    wire.expect("ZUNIONSTORE z 2 z goes", ":4000\r\n");
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let (mut cursor, mut steps) = ("0".to_owned(), 0);
    loop {
        let (next, found) = step(&wire.run(&format!("ZSCAN z {cursor} MATCH stays:* COUNT 20")));
        for member in found.iter().step_by(2) {
            *seen.entry(member.clone()).or_default() += 1;
        }
        for n in steps * 20..(steps + 1) * 20 {
            if n < 2_000 {
                wire.expect(&format!("ZREM z goes:{n:05}"), ":1\r\n");
                // A member that moves in the order of the scores stays all the same.
                wire.expect(&format!("ZADD z {} stays:{n:05}", n % 7 * 1_000), ":0\r\n");
            } else {
                wire.expect(&format!("ZADD z {n} comes:{n}"), ":1\r\n");
            }
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

transcript!(keys_behind_their_number_are_found, |wire| {
    wire.expect("COMMAND GETKEYS ZUNION 2 a b WEIGHTS 1 2", bulks(&["a", "b"]));
    wire.expect("COMMAND GETKEYS ZUNIONSTORE to 1 a b", bulks(&["to", "a"]));
    wire.expect("COMMAND GETKEYS ZMPOP 1 a MIN", bulks(&["a"]));
    let invalid = "-ERR Invalid arguments specified for command\r\n";
    let lines = ["COMMAND GETKEYS ZUNION 3 a b", "COMMAND GETKEYS SINTERCARD 0 a"];
    expect_all(&mut wire, &lines, invalid);
    wire.expect(
        "COMMAND GETKEYSANDFLAGS ZINTERSTORE to 1 a",
        "*2\r\n*2\r\n$2\r\nto\r\n*2\r\n+OW\r\n+update\r\n\
         *2\r\n$1\r\na\r\n*2\r\n+RO\r\n+access\r\n",
    );
});

transcript!(wrong_arity, |wire| {
    expect_wrong_arity(
        &mut wire,
        &[
            "ZADD z",
            "ZADD z 1",
            "ZINCRBY z 1",
            "ZINCRBY z 1 a b",
            "ZREM z",
            "ZCARD",
            "ZCARD z a",
            "ZSCORE z",
            "ZSCORE z a b",
            "ZMSCORE z",
            "ZRANK z",
            "ZRANK z a b",
            "ZREVRANK z",
            "ZCOUNT z 1",
            "ZCOUNT z 1 2 3",
            "ZLEXCOUNT z -",
            "ZRANGE z 0",
            "ZREVRANGE z 0",
            "ZRANGESTORE a z 0",
            "ZRANGEBYSCORE z 0",
            "ZREVRANGEBYSCORE z 0",
            "ZRANGEBYLEX z -",
            "ZREVRANGEBYLEX z -",
            "ZREMRANGEBYRANK z 0",
            "ZREMRANGEBYSCORE z 0 1 2",
            "ZREMRANGEBYLEX z -",
            "ZUNION 1",
            "ZINTER 1",
            "ZDIFF 1",
            "ZUNIONSTORE to 1",
            "ZINTERSTORE to 1",
            "ZDIFFSTORE to 1",
            "ZINTERCARD 1",
            "ZMPOP 1 z",
            "ZPOPMIN",
            "ZPOPMAX",
            "ZRANDMEMBER",
            "ZSCAN z",
        ],
    );
    wire.expect("DBSIZE", ":0\r\n");
});

transcript!(wrong_type, |wire| {
    wire.expect("SET s v", OK).expect("SADD set a", ":1\r\n").expect("ZADD z 1 a", ":1\r\n");
    for key in ["s", "set"] {
        for line in [
            format!("ZADD {key} 1 a"),
            format!("ZADD {key} XX 1 a"),
            format!("ZINCRBY {key} 1 a"),
            format!("ZREM {key} a"),
            format!("ZCARD {key}"),
            format!("ZSCORE {key} a"),
            format!("ZMSCORE {key} a b"),
            format!("ZRANK {key} a"),
            format!("ZREVRANK {key} a"),
            format!("ZCOUNT {key} 0 1"),
            format!("ZLEXCOUNT {key} - +"),
            format!("ZRANGE {key} 0 1"),
            format!("ZREVRANGE {key} 0 1"),
            format!("ZRANGEBYSCORE {key} 0 1"),
            format!("ZREVRANGEBYLEX {key} + -"),
            format!("ZRANGESTORE z {key} 0 1"),
            format!("ZREMRANGEBYRANK {key} 9 1"),
            format!("ZREMRANGEBYSCORE {key} 0 1"),
            format!("ZREMRANGEBYLEX {key} - +"),
            format!("ZPOPMIN {key}"),
            format!("ZPOPMAX {key} 0"),
            format!("ZMPOP 2 none {key} MIN"),
            format!("ZRANDMEMBER {key}"),
            format!("ZRANDMEMBER {key} 0"),
            format!("ZSCAN {key} 0 BAD"),
        ] {
            wire.expect(&line, WRONG_TYPE);
        }
        wire.expect(&format!("ZADD {key} x a"), NOT_A_FLOAT);
        wire.expect(
            &format!("ZADD {key} NX XX 1 a"),
            "-ERR XX and NX options at the same time are not compatible\r\n",
        );
    }
    expect_all(
        &mut wire,
        &["SADD z a", "SMEMBERS z", "SUNION set z", "GET z", "LLEN z"],
        WRONG_TYPE,
    );
});
