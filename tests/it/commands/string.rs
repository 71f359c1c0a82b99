//! GET, SET, MGET, MSET, INCR and its kin, APPEND, STRLEN.

use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, WRONG_TYPE, expect_all, expect_wrong_arity};
use crate::harness::wire::{bulk, shown};

const OVERFLOW: &str = "-ERR increment or decrement would overflow\r\n";

transcript!(set_sets_and_get_gets, |wire| {
    wire.expect("GET k", NULL).expect("SET k v", OK).expect("GET k", bulk("v"));
    wire.expect("SET k \"\"", OK).expect("GET k", bulk(""));
    wire.expect("SET \"\" empty", OK).expect("GET \"\"", bulk("empty"));
    wire.expect("SET k \"\\x00\\r\\n\\xff\"", OK).expect("GET k", bulk(b"\x00\r\n\xff"));
    wire.expect("RPUSH l a", ":1\r\n").expect("SET l v", OK).expect("GET l", bulk("v"));
});

transcript!(strings_of_every_size_come_back, |wire| {
    for size in [0, 1, 11, 12, 44, 45, 255, 4_096, 8_191, 8_192, 20_000, 100_000, 1_000_000] {
        let value = "v".repeat(size);
        wire.send_args(&["SET", "k", &value]).expect_reply(OK);
        let reply = wire.run("GET k");
        assert!(reply == bulk(&value), "{size} bytes: {}", shown(&reply));
        wire.expect("STRLEN k", format!(":{size}\r\n"));
        wire.send_args(&["SET", "k", &value, "GET"]).expect_reply(bulk(&value));
        wire.send_args(&["MGET", "k", "k"]);
        wire.expect_reply([b"*2\r\n".to_vec(), bulk(&value), bulk(&value)].concat());
    }
});

transcript!(set_heeds_its_conditions, |wire| {
    wire.expect("SET k 1 XX", NULL).expect("SET k 1 NX", OK).expect("SET k 2 NX", NULL);
    wire.expect("GET k", bulk("1")).expect("SET k 2 XX", OK).expect("GET k", bulk("2"));
    wire.expect("SET k 3 xx xx", OK).expect("SET other 4 nx NX", OK);
    wire.expect("RPUSH l a", ":1\r\n").expect("SET l 1 NX", NULL).expect("TYPE l", "+list\r\n");
});

transcript!(set_with_get_returns_the_old_value, |wire| {
    wire.expect("SET k 1 GET", NULL).expect("SET k 2 GET", bulk("1")).expect("GET k", bulk("2"));
    wire.expect("SET k 3 NX GET", bulk("2")).expect("GET k", bulk("2"));
    wire.expect("SET k 3 XX GET", bulk("2")).expect("GET k", bulk("3"));
    wire.expect("SET new 1 GET NX", NULL).expect("GET new", bulk("1"));
    wire.expect("SET none 1 XX GET", NULL).expect("EXISTS none", ":0\r\n");
    wire.expect("SET k 4 GET GET EX 100", bulk("3")).expect("TTL k", ":100\r\n");
    wire.expect("RPUSH l a", ":1\r\n").expect("SET l v GET", WRONG_TYPE);
    wire.expect("SET l v NX GET", WRONG_TYPE).expect("TYPE l", "+list\r\n");
    wire.expect("SET l v NX GET EX 0", "-ERR invalid expire time in 'set' command\r\n");
});

transcript!(set_sets_deadlines, |wire| {
    wire.expect("SET k v EX 100", OK).expect("TTL k", ":100\r\n");
    wire.expect("SET k v px 200000", OK).expect("TTL k", ":200\r\n");
    wire.expect("SET k v EXAT 4102444800", OK).expect("EXPIRETIME k", ":4102444800\r\n");
    wire.expect("SET k v PXAT 4102444800001", OK).expect("PEXPIRETIME k", ":4102444800001\r\n");
    wire.expect("SET k w KEEPTTL", OK).expect("PEXPIRETIME k", ":4102444800001\r\n");
    wire.expect("SET k longer KEEPTTL", OK).expect("PEXPIRETIME k", ":4102444800001\r\n");
    wire.expect("SET k v KEEPTTL KEEPTTL GET", bulk("longer"));
    wire.expect("SET k v", OK).expect("TTL k", ":-1\r\n");
    wire.expect("SET new v KEEPTTL", OK).expect("TTL new", ":-1\r\n");
    wire.expect("SET k v EX 10 EX 20", OK).expect("TTL k", ":20\r\n");
    wire.expect("SET k v EXAT 1", OK).expect("GET k", NULL);
    wire.expect("SET k v PX 9000000000000000000", OK).expect("EXISTS k", ":1\r\n");
});

transcript!(set_refuses_options_that_do_not_fit, |wire| {
    expect_all(
        &mut wire,
        &[
            "SET k v bad",
            "SET k v \"\"",
            "SET k v NX XX",
            "SET k v XX GET NX",
            "SET k v EX",
            "SET k v PX 10 EX 10",
            "SET k v EX 10 PX 10",
            "SET k v EX 10 KEEPTTL",
            "SET k v KEEPTTL EXAT 10",
            "SET k v EXAT 10 PXAT 10",
            "SET k v EX x bad",
            "SET k v EX 0 NX XX",
            "SET k v PERSIST",
            "SET k v 10",
            "SET k v GET GE",
        ],
        SYNTAX_ERROR,
    );
    wire.expect("EXISTS k", ":0\r\n");
    // Option words end at a zero byte.
    wire.expect("SET k v \"nx\\x00rest\"", OK).expect("SET k w \"NX\\x00\"", NULL);
});

transcript!(set_refuses_bad_numbers, |wire| {
    for unit in ["EX", "PX", "EXAT", "PXAT"] {
        for number in ["x", "\"\"", "1.5", "\" 1\"", "9223372036854775808"] {
            wire.expect(&format!("SET k v {unit} {number}"), NOT_AN_INTEGER);
        }
        for number in ["0", "-1", "-9223372036854775808"] {
            let error = "-ERR invalid expire time in 'set' command\r\n";
            wire.expect(&format!("SET k v {unit} {number}"), error);
        }
    }
    let error = "-ERR invalid expire time in 'set' command\r\n";
    for option in [
        "EX 9223372036854775807",
        "EX 9223372036854776",
        "EX 9223372036854775",
        "PX 9223372036854775807",
        "EXAT 9223372036854776",
    ] {
        wire.expect(&format!("SET k v {option}"), error);
    }
    wire.expect("EXISTS k", ":0\r\n");
    wire.expect("SET k v EXAT 9223372036854775", OK);
    wire.expect("SET k v PXAT 9223372036854775807", OK);
});

transcript!(mget_answers_for_every_key, |wire| {
    wire.expect("MSET a 1 b 2", OK).expect("RPUSH l x", ":1\r\n").expect("HSET h f v", ":1\r\n");
    wire.expect(
        "MGET a none l h b a",
        "*6\r\n$1\r\n1\r\n$-1\r\n$-1\r\n$-1\r\n$1\r\n2\r\n$1\r\n1\r\n",
    );
});

transcript!(mset_sets_all_and_the_last_of_a_repeated_key, |wire| {
    wire.expect("SET a 0 EX 100", OK).expect("RPUSH l x", ":1\r\n");
    wire.expect("MSET a 1 l 2 b 3 a 4", OK);
    wire.expect("MGET a l b", "*3\r\n$1\r\n4\r\n$1\r\n2\r\n$1\r\n3\r\n").expect("TTL a", ":-1\r\n");
    wire.expect("DBSIZE", ":3\r\n");
});

transcript!(numbers_count_up_and_down, |wire| {
    wire.expect("INCR k", ":1\r\n").expect("INCR k", ":2\r\n").expect("DECR k", ":1\r\n");
    wire.expect("DECR k", ":0\r\n").expect("DECR k", ":-1\r\n").expect("GET k", bulk("-1"));
    wire.expect("INCRBY k 100", ":99\r\n").expect("INCR k", ":100\r\n").expect("DECR k", ":99\r\n");
    wire.expect("DECRBY k 109", ":-10\r\n").expect("INCR k", ":-9\r\n").expect("GET k", bulk("-9"));
    wire.expect("INCRBY k -91", ":-100\r\n").expect("DECRBY k -100", ":0\r\n");
    wire.expect("INCRBY new 5", ":5\r\n").expect("DECRBY other 5", ":-5\r\n");
    wire.expect("INCRBY zero 0", ":0\r\n").expect("GET zero", bulk("0"));
    wire.expect("APPEND k 7", ":2\r\n").expect("INCR k", NOT_AN_INTEGER);
    wire.expect("SET k 10", OK).expect("APPEND k 7", ":3\r\n").expect("INCR k", ":108\r\n");
});

transcript!(sums_that_do_not_fit_change_nothing, |wire| {
    wire.expect("SET max 9223372036854775806", OK).expect("INCR max", ":9223372036854775807\r\n");
    wire.expect("SET min -9223372036854775807", OK).expect("DECR min", ":-9223372036854775808\r\n");
    let lines = ["INCR max", "INCRBY max 1", "DECRBY max -1", "INCRBY max 9223372036854775807"];
    expect_all(&mut wire, &lines, OVERFLOW);
    let lines = ["DECR min", "DECRBY min 1", "INCRBY min -9223372036854775808"];
    expect_all(&mut wire, &lines, OVERFLOW);
    wire.expect("DECRBY max -9223372036854775808", "-ERR decrement would overflow\r\n");
    wire.expect("DECRBY none -9223372036854775808", "-ERR decrement would overflow\r\n");
    wire.expect("GET max", bulk("9223372036854775807"));
    wire.expect("GET min", bulk("-9223372036854775808"));
    wire.expect("INCRBY max -9223372036854775808", ":-1\r\n");
});

transcript!(what_is_no_integer_cannot_be_counted, |wire| {
    for value in ["\"\"", "x", "1.0", "\" 1\"", "\"1 \"", "01", "+1", "-0", "9223372036854775808"] {
        wire.expect(&format!("SET k {value}"), OK);
        expect_all(&mut wire, &["INCR k", "DECR k", "INCRBY k 1", "DECRBY k 1"], NOT_AN_INTEGER);
        wire.expect(&format!("INCRBY none {value}"), NOT_AN_INTEGER);
        wire.expect(&format!("DECRBY none {value}"), NOT_AN_INTEGER);
    }
    let digits = "1".repeat(20_000);
    wire.send_args(&["SET", "k", &digits]).expect_reply(OK).expect("INCR k", NOT_AN_INTEGER);
    wire.expect("EXISTS none", ":0\r\n");
});

transcript!(append_appends, |wire| {
    wire.expect("APPEND k abc", ":3\r\n").expect("APPEND k \"\"", ":3\r\n");
    wire.expect("APPEND k de", ":5\r\n").expect("GET k", bulk("abcde"));
    wire.expect("APPEND empty \"\"", ":0\r\n").expect("EXISTS empty", ":1\r\n");
    let (long, mut whole) = ("x".repeat(5_000), String::new());
    for round in 1..=5 {
        whole.push_str(&long);
        wire.send_args(&["APPEND", "long", &long]).expect_reply(format!(":{}\r\n", round * 5_000));
        wire.expect("GET long", bulk(&whole));
    }
    wire.expect("STRLEN long", ":25000\r\n").expect("STRLEN none", ":0\r\n");
});

transcript!(append_refuses_a_string_longer_than_the_limit, |wire| {
    wire.expect("CONFIG SET proto-max-bulk-len 1mb", OK);
    let (most, error) =
        ("x".repeat(1 << 20), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    wire.send_args(&["APPEND", "k", &most]).expect_reply(":1048576\r\n");
    wire.expect("APPEND k x", error).expect("APPEND k \"\"", ":1048576\r\n");
    wire.send_args(&["SET", "k", &most[1..]]).expect_reply(OK).expect("APPEND k xy", error);
    wire.expect("APPEND k x", ":1048576\r\n").expect("STRLEN k", ":1048576\r\n");
});

transcript!(wrong_arity, |wire| {
    expect_wrong_arity(
        &mut wire,
        &[
            "GET",
            "GET a b",
            "SET",
            "SET k",
            "MGET",
            "MSET",
            "MSET k",
            "MSET a 1 b",
            "INCR",
            "INCR k 1",
            "DECR",
            "DECR k 1",
            "INCRBY k",
            "INCRBY k 1 2",
            "DECRBY k",
            "DECRBY k 1 2",
            "APPEND k",
            "APPEND k a b",
            "STRLEN",
            "STRLEN a b",
        ],
    );
    wire.expect("EXISTS a b k", ":0\r\n");
});

transcript!(wrong_type, |wire| {
    wire.expect("RPUSH l a", ":1\r\n").expect("HSET h f v", ":1\r\n");
    for key in ["l", "h"] {
        let lines =
            ["GET", "SET v GET", "INCR", "DECR", "INCRBY 1", "DECRBY 1", "APPEND v", "STRLEN"];
        for line in lines {
            let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
            wire.expect(&format!("{command} {key} {rest}"), WRONG_TYPE);
        }
        wire.expect(&format!("INCRBY {key} x"), NOT_AN_INTEGER);
        let error = "-ERR decrement would overflow\r\n";
        wire.expect(&format!("DECRBY {key} -9223372036854775808"), error);
    }
    wire.expect("LLEN l", ":1\r\n").expect("HLEN h", ":1\r\n");
});

transcript!(
    nothing_has_its_own_form_in_resp3,
    resp3 | wire | {
        wire.expect("GET k", "_\r\n").expect("MGET k k", "*2\r\n_\r\n_\r\n");
        wire.expect("SET k v XX", "_\r\n")
            .expect("SET k v GET", "_\r\n")
            .expect("GET k", bulk("v"));
    }
);
