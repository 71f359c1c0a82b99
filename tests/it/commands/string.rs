//! Strings, and numbers in them.

use super::{NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR, WRONG_TYPE};
use super::{expect_alike, expect_all, expect_wrong_arity};
use crate::harness::oracle::Oracle;
use crate::harness::random::{Random, seed};
use crate::harness::server::Server;
use crate::harness::wire::{Wire, bulk, shown};

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
            "SETNX k",
            "SETEX k 1",
            "PSETEX k 1 v x",
            "GETSET k",
            "GETEX",
            "GETDEL",
            "GETRANGE k 0",
            "SUBSTR k 0 1 2",
            "SETRANGE k 0",
            "INCRBYFLOAT k",
            "MSETNX a",
            "MSETNX a 1 b",
            "LCS a",
        ],
    );
    wire.expect("EXISTS a b k", ":0\r\n");
});

transcript!(wrong_type, |wire| {
    wire.expect("RPUSH l a", ":1\r\n").expect("HSET h f v", ":1\r\n");
    for key in ["l", "h"] {
        let lines = [
            "GET",
            "SET v GET",
            "INCR",
            "DECR",
            "INCRBY 1",
            "DECRBY 1",
            "APPEND v",
            "STRLEN",
            "GETSET v",
            "GETEX EX x",
            "GETDEL",
            "GETRANGE 0 1",
            "SETRANGE 0 \"\"",
            "SETRANGE 999999999999 v",
            "INCRBYFLOAT x",
        ];
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

transcript!(what_sets_a_string_in_one_way_only, |wire| {
    wire.expect("SETNX k 1", ":1\r\n").expect("SETNX k 2", ":0\r\n").expect("GET k", bulk("1"));
    wire.expect("SETEX k 100 v", OK).expect("TTL k", ":100\r\n");
    wire.expect("PSETEX k 200000 w", OK).expect("TTL k", ":200\r\n").expect("GET k", bulk("w"));
    wire.expect("GETSET k x", bulk("w")).expect("TTL k", ":-1\r\n").expect("GETSET n y", NULL);
    wire.expect("GETDEL n", bulk("y")).expect("GETDEL n", NULL).expect("EXISTS n", ":0\r\n");
    wire.expect("MSETNX a 1 b 2 a 3", ":1\r\n").expect("MGET a b", "*2\r\n$1\r\n3\r\n$1\r\n2\r\n");
    wire.expect("MSETNX c 1 b 9", ":0\r\n").expect("EXISTS c", ":0\r\n");
    wire.expect("GET b", bulk("2")).expect("MSETNX d 1 d 2", ":1\r\n").expect("GET d", bulk("2"));
});

transcript!(getex_touches_the_deadline, |wire| {
    wire.expect("GETEX none EX x", NULL).expect("GETEX none x", SYNTAX_ERROR);
    wire.expect("SET k v", OK).expect("GETEX k", bulk("v")).expect("TTL k", ":-1\r\n");
    wire.expect("GETEX k EX 100", bulk("v")).expect("TTL k", ":100\r\n");
    wire.expect("GETEX k", bulk("v")).expect("TTL k", ":100\r\n");
    wire.expect("GETEX k PXAT 4102444800001", bulk("v"));
    wire.expect("PEXPIRETIME k", ":4102444800001\r\n");
    wire.expect("GETEX k PERSIST persist", bulk("v")).expect("TTL k", ":-1\r\n");
    wire.expect("GETEX k EX 0", "-ERR invalid expire time in 'getex' command\r\n");
    wire.expect("GETEX k EX 1.5", NOT_AN_INTEGER).expect("GETEX k EXAT 1", bulk("v"));
    wire.expect("EXISTS k", ":0\r\n");
});

transcript!(parts_of_strings_are_read_and_written, |wire| {
    wire.expect("SETRANGE k 3 \"\"", ":0\r\n").expect("EXISTS k", ":0\r\n");
    wire.expect("SETRANGE k 3 abc", ":6\r\n").expect("GET k", bulk(b"\0\0\0abc"));
    wire.expect("SETRANGE k 4 X", ":6\r\n").expect("GETRANGE k 3 -1", bulk("aXc"));
    wire.expect("SETRANGE k 2 \"\"", ":6\r\n").expect("GETRANGE k 0 -100", bulk(b"\0"));
    wire.expect("EXPIRE k 100", ":1\r\n").expect("SETRANGE k 5 cd", ":7\r\n");
    wire.expect("TTL k", ":100\r\n").expect("SUBSTR k -2 -1", bulk("cd"));
    wire.expect("SETRANGE k 20000 end", ":20003\r\n")
        .expect("GETRANGE k 19998 -1", bulk(b"\0\0end"));
    wire.expect("TTL k", ":100\r\n").expect("SETRANGE k 20000 End", ":20003\r\n");
    wire.expect("GETRANGE k 19999 20001", bulk(b"\0En")).expect("STRLEN k", ":20003\r\n");
    let error = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    wire.expect("SETRANGE k 536870912 x", error).expect("SETRANGE n 9223372036854775807 x", error);
    wire.expect("SETRANGE k -1 x", "-ERR offset is out of range\r\n").expect("EXISTS n", ":0\r\n");
    wire.expect("SETRANGE k x x", NOT_AN_INTEGER).expect("GETRANGE k 0 x", NOT_AN_INTEGER);
    wire.expect("GETRANGE none 0 -1", bulk(""));
    // A part of a large string is sent without a copy, and a change does not reach it.
    wire.send_args(&["SET", "k", &"v".repeat(100_000)]).expect_reply(OK);
    wire.send("GETRANGE k 10 80000").send("SETRANGE k 20 X").expect_reply(bulk("v".repeat(79_991)));
    wire.expect_reply(":100000\r\n").expect("GETRANGE k 19 21", bulk("vXv"));
});

transcript!(floats_are_added_with_the_digits_of_redis, |wire| {
    let error = "-ERR value is not a valid float\r\n";
    wire.expect("INCRBYFLOAT k 10.5", bulk("10.5")).expect("INCRBYFLOAT k 0.1", bulk("10.6"));
    wire.expect("SET k 3.0e3", OK).expect("INCRBYFLOAT k 200", bulk("3200"));
    wire.expect("INCRBYFLOAT k x", error).expect("INCRBYFLOAT k \" 1\"", error);
    wire.expect("SET s text", OK).expect("INCRBYFLOAT s 1", error);
    let error = "-ERR increment would produce NaN or Infinity\r\n";
    wire.expect("INCRBYFLOAT k inf", error).expect("INCRBYFLOAT none -inf", error);
    wire.expect("EXPIRE k 100", ":1\r\n").expect("INCRBYFLOAT k -3200", bulk("0"));
    wire.expect("TTL k", ":100\r\n").expect("INCRBYFLOAT k -1e-20", bulk("0"));
});

#[test]
fn sums_of_random_floats_have_the_digits_of_redis() {
    const SUMS: usize = 20_000;
    let (server, oracle) = (Server::start(1), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let mut random = Random::new(seed("sums_of_random_floats_have_the_digits_of_redis"));
    let mut float = || -> String {
        let (one, two) = (random.next(), random.next());
        let sign = if one & 1 == 0 { "" } else { "-" };
        match random.below(8) {
            0 => format!("{sign}{}.{}", one % 100_000, two % 100_000),
            1 => format!("{sign}0.{one:020}{two}"),
            2 => format!("{}", f64::from_bits(one)),
            3 => format!("{sign}{one}e-{}", two % 40),
            4 => format!("{sign}{one}{two}e{}", two % 30),
            5 => format!("{sign}{}.{one}e{}", two % 10, two as i64 % 5_000),
            6 => format!("{sign}0x{one:x}.{two:x}p{}", one as i64 % 90),
            _ => format!("{}", one as i64 % 1_000),
        }
    };
    for _ in 0..SUMS / 100 {
        let mut lines = Vec::new();
        for _ in 0..100 {
            lines.push(format!("SET k {}", float()));
            lines.push(format!("INCRBYFLOAT k {}", float()));
        }
        lines.iter().for_each(|line| {
            ours.send(line);
            redis.send(line);
        });
        for line in lines.chunks(2).flatten() {
            let (got, expected) = (ours.reply(), redis.reply());
            assert!(got == expected, "{lines:?}\n{line}: {} {}", shown(&got), shown(&expected));
        }
    }
}

#[test]
fn longest_common_subsequences_are_those_of_redis() {
    let long = (0..300).map(|n: u32| char::from(b'a' + (n * n % 7) as u8)).collect::<String>();
    let longer = (0..400).map(|n: u32| char::from(b'a' + (n * 3 % 5) as u8)).collect::<String>();
    let lines = &[
        "LCS a b",
        "MSET a ohmytext b mynewtext e \"\" f x",
        "LCS a b",
        "LCS a b LEN",
        "LCS a b IDX",
        "LCS a b IDX MINMATCHLEN 4",
        "LCS a b IDX MINMATCHLEN -4 WITHMATCHLEN",
        "LCS a b IDX minmatchlen 4 withmatchlen",
        "LCS a b IDX WITHMATCHLEN",
        "LCS a b WITHMATCHLEN MINMATCHLEN 1",
        "LCS a a IDX WITHMATCHLEN",
        "LCS a e",
        "LCS a e IDX",
        "LCS e none LEN",
        "LCS e f IDX",
        "LCS f f IDX",
        "LCS a b LEN IDX",
        "LCS a b LEN x",
        "LCS a b MINMATCHLEN",
        "LCS a b MINMATCHLEN x",
        "LCS a",
        "RPUSH l x",
        "LCS a l",
        "LCS l a x",
        &format!("MSET x {long} y {longer}"),
        "LCS x y",
        "LCS x y IDX WITHMATCHLEN",
        "LCS y x IDX MINMATCHLEN 2",
        "LCS x y LEN",
        "SETRANGE big 12000 x",
        "LCS big big LEN",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}
