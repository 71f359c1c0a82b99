//! EXPIRE and its kin, TTL and its kin, PERSIST: and what all other commands make of a deadline.

use super::{NO_SUCH_KEY, NOT_AN_INTEGER, NULL, OK, expect_all, expect_wrong_arity};
use crate::harness::wire::{bulk, bulks};
use crate::it;

const FAR: i64 = 4_102_444_800;

transcript!(a_deadline_is_set_and_told_in_every_unit, |wire| {
    wire.expect("SET k v", OK).expect("TTL k", ":-1\r\n").expect("PTTL k", ":-1\r\n");
    wire.expect("EXPIRETIME k", ":-1\r\n").expect("PEXPIRETIME k", ":-1\r\n");
    wire.expect("EXPIRE k 1000", ":1\r\n").expect("TTL k", ":1000\r\n");
    wire.expect("PEXPIRE k 2000000", ":1\r\n").expect("TTL k", ":2000\r\n");
    wire.expect(&format!("EXPIREAT k {FAR}"), ":1\r\n");
    wire.expect("EXPIRETIME k", format!(":{FAR}\r\n"));
    wire.expect("PEXPIRETIME k", format!(":{FAR}000\r\n"));
    wire.expect(&format!("PEXPIREAT k {FAR}499"), ":1\r\n");
    wire.expect("PEXPIRETIME k", format!(":{FAR}499\r\n"));
    wire.expect("EXPIRETIME k", format!(":{FAR}\r\n"));
    wire.expect(&format!("PEXPIREAT k {FAR}500"), ":1\r\n");
    wire.expect("EXPIRETIME k", format!(":{}\r\n", FAR + 1));
    wire.expect("PERSIST k", ":1\r\n").expect("PERSIST k", ":0\r\n").expect("TTL k", ":-1\r\n");
    wire.expect("GET k", bulk("v"));
});

transcript!(a_missing_key_has_no_deadline_and_gets_none, |wire| {
    let setters = ["EXPIRE k 10", "PEXPIRE k 10 XX", "EXPIREAT k 1", "PEXPIREAT k 1", "PERSIST k"];
    expect_all(&mut wire, &setters, ":0\r\n");
    expect_all(&mut wire, &["TTL k", "PTTL k", "EXPIRETIME k", "PEXPIRETIME k"], ":-2\r\n");
    wire.expect("DBSIZE", ":0\r\n");
});

transcript!(conditions_decide_which_deadline_may_be_replaced, |wire| {
    wire.expect("SET k v", OK);
    wire.expect("EXPIRE k 100 XX", ":0\r\n").expect("EXPIRE k 100 GT", ":0\r\n");
    wire.expect("EXPIRE k 100 LT", ":1\r\n").expect("EXPIRE k 200 NX", ":0\r\n");
    wire.expect("EXPIRE k 200 LT", ":0\r\n").expect("EXPIRE k 50 GT", ":0\r\n");
    wire.expect("TTL k", ":100\r\n");
    wire.expect("EXPIRE k 200 gt", ":1\r\n").expect("EXPIRE k 100 XX LT", ":1\r\n");
    wire.expect("EXPIRE k 300 XX", ":1\r\n").expect("TTL k", ":300\r\n");
    wire.expect(&format!("EXPIREAT k {FAR} XX GT"), ":1\r\n");
    wire.expect(&format!("EXPIREAT k {FAR} GT"), ":0\r\n");
    wire.expect(&format!("PEXPIREAT k {FAR}000 LT"), ":0\r\n");
    wire.expect(&format!("PEXPIREAT k {FAR}001 GT"), ":1\r\n");
    wire.expect("PERSIST k", ":1\r\n").expect("EXPIRE k 10 NX NX", ":1\r\n");
    // A deadline that the condition refuses does not delete, even in the past.
    wire.expect("EXPIRE k -1 NX", ":0\r\n").expect("EXPIRE k -1 GT", ":0\r\n");
    wire.expect("EXISTS k", ":1\r\n").expect("EXPIRE k -1 LT", ":1\r\n").expect("DBSIZE", ":0\r\n");
});

transcript!(conditions_that_exclude_each_other_are_refused, |wire| {
    let with_nx =
        ["EXPIRE k 1 NX XX", "PEXPIRE k 1 gt nx", "EXPIREAT k 1 NX LT", "EXPIRE k x XX NX"];
    let text = "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n";
    expect_all(&mut wire, &with_nx, text);
    let text = "-ERR GT and LT options at the same time are not compatible\r\n";
    expect_all(&mut wire, &["PEXPIREAT k 1 GT LT", "EXPIRE k 1 LT XX GT"], text);
    wire.expect("EXPIRE k 1 bad", "-ERR Unsupported option bad\r\n");
    wire.expect("EXPIRE k x NX \"a\\r\\nb\\r\\n\"", "-ERR Unsupported option a  b\r\n");
    wire.expect("PEXPIRE k 1 \"ab\\x00cd\"", "-ERR Unsupported option ab\r\n");
    wire.expect("PEXPIRE k 1 \"\"", "-ERR Unsupported option \r\n");
});

transcript!(a_deadline_in_the_past_deletes_at_once, |wire| {
    for line in [
        "EXPIRE k 0",
        "EXPIRE k -1",
        "PEXPIRE k 0",
        "PEXPIRE k -9223372036854775808",
        "EXPIRE k -9223372036854775",
        "EXPIREAT k 1",
        "EXPIREAT k 0",
        "EXPIREAT k -5",
        "PEXPIREAT k 1",
        "PEXPIREAT k -9223372036854775808",
        "EXPIRE k -1 LT",
    ] {
        wire.expect("SET k v", OK).expect(line, ":1\r\n");
        wire.expect("DBSIZE", ":0\r\n").expect("GET k", NULL);
    }
});

transcript!(a_time_that_does_not_fit_is_refused, |wire| {
    wire.expect("SET k v", OK);
    for (command, numbers) in [
        ("EXPIRE", &["9223372036854775807", "9223372036854775", "9223372036854776"][..]),
        ("EXPIRE", &["-9223372036854775808", "-9223372036854776"]),
        ("PEXPIRE", &["9223372036854775807", "9223372036854770000"]),
        ("EXPIREAT", &["9223372036854775807", "9223372036854776", "-9223372036854776"]),
    ] {
        let name = command.to_ascii_lowercase();
        let error = format!("-ERR invalid expire time in '{name}' command\r\n");
        for number in numbers {
            wire.expect(&format!("{command} k {number}"), &error);
            wire.expect(&format!("{command} none {number}"), &error);
        }
    }
    wire.expect("TTL k", ":-1\r\n");
    wire.expect("EXPIREAT k 9223372036854775", ":1\r\n");
    wire.expect("EXPIRETIME k", ":9223372036854775\r\n");
    wire.expect("PEXPIREAT k 9223372036854775807", ":1\r\n");
    wire.expect("PEXPIRETIME k", ":9223372036854775807\r\n");
    wire.expect("EXPIRETIME k", ":9223372036854776\r\n");
});

transcript!(bad_numbers, |wire| {
    wire.expect("SET k v", OK);
    for command in ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"] {
        for number in ["x", "1.5", "\"\"", "\" 1\"", "+1", "9223372036854775808"] {
            wire.expect(&format!("{command} k {number}"), NOT_AN_INTEGER);
            wire.expect(&format!("{command} none {number} NX"), NOT_AN_INTEGER);
        }
    }
});

transcript!(wrong_arity, |wire| {
    expect_wrong_arity(
        &mut wire,
        &[
            "EXPIRE",
            "EXPIRE k",
            "PEXPIRE k",
            "EXPIREAT k",
            "PEXPIREAT k",
            "TTL",
            "TTL a b",
            "PTTL",
            "PTTL a b",
            "EXPIRETIME",
            "EXPIRETIME a b",
            "PEXPIRETIME",
            "PEXPIRETIME a b",
            "PERSIST",
            "PERSIST a b",
        ],
    );
});

transcript!(every_type_can_have_a_deadline, |wire| {
    wire.expect("SET s v", OK).expect("RPUSH l a", ":1\r\n").expect("HSET h f v", ":1\r\n");
    for key in ["s", "l", "h"] {
        wire.expect(&format!("EXPIRE {key} 100"), ":1\r\n");
        wire.expect(&format!("TTL {key}"), ":100\r\n");
        wire.expect(&format!("PERSIST {key}"), ":1\r\n");
        wire.expect(&format!("EXPIRE {key} 0"), ":1\r\n");
    }
    wire.expect("DBSIZE", ":0\r\n");
});

transcript!(changing_a_value_keeps_its_deadline_and_setting_one_removes_it, |wire| {
    for (create, change) in [
        ("SET k 1", &["INCR k", "DECRBY k 100", "INCRBY k 1000000", "APPEND k 1", "GET k"][..]),
        ("SET k 1", &["SET k 2 KEEPTTL", "SET k 2345 XX KEEPTTL"]),
        ("RPUSH k a b c", &["LPUSH k z", "LSET k 0 y", "LREM k 0 a", "RPOP k", "RPUSH k d"]),
        ("HSET k f 1 g 2", &["HSET k f 2 h 3", "HINCRBY k f 1", "HDEL k g"]),
    ] {
        wire.run("DEL k");
        wire.run(create);
        wire.expect("EXPIRE k 1000", ":1\r\n");
        for line in change {
            wire.run(line);
            wire.expect("TTL k", ":1000\r\n");
        }
    }
    for line in ["SET k v", "SET k v XX", "MSET k v"] {
        wire.run("EXPIRE k 1000");
        wire.expect(line, OK).expect("TTL k", ":-1\r\n");
    }
});

it!(a_key_is_absent_from_its_deadline_on_and_not_before, |server| {
    let mut wire = server.wire();
    wire.expect("SET k v", OK).expect("PEXPIRE k 100", ":1\r\n");
    wire.expect("PEXPIRETIME k", format!(":{}\r\n", server.now_ms() + 100));
    server.advance_ms(99);
    wire.expect("GET k", bulk("v")).expect("PTTL k", ":1\r\n").expect("TTL k", ":0\r\n");
    server.advance_ms(1);
    wire.expect("GET k", NULL).expect("EXISTS k", ":0\r\n").expect("TYPE k", "+none\r\n");
    wire.expect("PTTL k", ":-2\r\n").expect("RENAME k other", NO_SUCH_KEY);
    wire.expect("MGET k", "*1\r\n$-1\r\n").expect("STRLEN k", ":0\r\n").expect("DEL k", ":0\r\n");
    wire.expect("PERSIST k", ":0\r\n").expect("EXPIRE k 10", ":0\r\n");
});

it!(a_write_to_an_expired_key_starts_afresh, |server| {
    let mut wire = server.wire();
    for (create, change, reply) in [
        ("SET k 10", "INCR k", ":1\r\n"),
        ("SET k abc", "APPEND k x", ":1\r\n"),
        ("SET k abc", "SET k v NX", OK),
        ("SET k abc", "LPUSH k x", ":1\r\n"),
        ("RPUSH k a b c", "RPUSH k x", ":1\r\n"),
        ("RPUSH k a b c", "SET k v GET", NULL),
        ("RPUSH k a b c", "HSET k f v", ":1\r\n"),
        ("HSET k f 5 g 6", "HINCRBY k f 1", ":1\r\n"),
    ] {
        wire.run(create);
        wire.expect("PEXPIRE k 50", ":1\r\n");
        server.advance_ms(50);
        wire.expect(change, reply).expect("TTL k", ":-1\r\n").expect("DEL k", ":1\r\n");
    }
    wire.expect("SET k v PX 50", OK);
    server.advance_ms(50);
    wire.expect("SET k v XX", NULL).expect("SET k v KEEPTTL", OK).expect("TTL k", ":-1\r\n");
});

it!(every_way_to_read_hides_an_expired_key_of_any_type, |server| {
    let mut wire = server.wire();
    wire.expect("RPUSH l a", ":1\r\n").expect("HSET h f v", ":1\r\n").expect("SET s v", OK);
    for key in ["l", "h", "s"] {
        wire.expect(&format!("PEXPIRE {key} 5"), ":1\r\n");
    }
    server.advance_ms(5);
    for (line, reply) in [
        ("LLEN l", ":0\r\n"),
        ("LRANGE l 0 -1", "*0\r\n"),
        ("LINDEX l 0", NULL),
        ("LPOP l", NULL),
        ("LSET l 0 x", NO_SUCH_KEY),
        ("LREM l 0 a", ":0\r\n"),
        ("HGET h f", NULL),
        ("HGETALL h", "*0\r\n"),
        ("HLEN h", ":0\r\n"),
        ("HDEL h f", ":0\r\n"),
        ("HEXISTS h f", ":0\r\n"),
        ("HSCAN h 0", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("EXISTS l h s", ":0\r\n"),
        ("UNLINK l h s", ":0\r\n"),
    ] {
        wire.expect(line, reply);
    }
});

it!(a_deadline_moves_with_its_key_and_the_old_name_has_none, |server| {
    let mut wire = server.wire();
    wire.expect("SET a 1 PX 100", OK).expect("SET b 2 PX 50", OK).expect("RENAME a b", OK);
    wire.expect("SET a 3", OK);
    server.advance_ms(50);
    wire.expect("GET b", bulk("1")).expect("GET a", bulk("3"));
    server.advance_ms(50);
    wire.expect("GET b", NULL).expect("GET a", bulk("3"));
});

it!(a_deadline_that_was_replaced_or_removed_no_longer_counts, |server| {
    let mut wire = server.wire();
    wire.expect("SET later v PX 10", OK).expect("PEXPIRE later 100", ":1\r\n");
    wire.expect("SET never v PX 10", OK).expect("PERSIST never", ":1\r\n");
    wire.expect("SET set v PX 10", OK).expect("SET set v", OK);
    wire.expect("SET again v PX 10", OK).expect("DEL again", ":1\r\n").expect("SET again v", OK);
    server.advance_ms(10);
    wire.expect("EXISTS later never set again", ":4\r\n");
    server.advance_ms(90);
    wire.expect("EXISTS later never set again", ":3\r\n").expect("EXISTS later", ":0\r\n");
    wire.expect("KEYS later", bulks::<&str>(&[]));
});
