//! Keys of any type.

use super::{NO_SUCH_KEY, NOT_AN_INTEGER, NULL, OK, SYNTAX_ERROR};
use super::{elements, expect_alike, expect_all, expect_wrong_arity, sorted, step, walk};
use crate::harness::wire::{bulk, bulks};
use crate::it;
use std::collections::BTreeMap;

transcript!(del_and_unlink_count_what_was_there, |wire| {
    for command in ["DEL", "UNLINK"] {
        wire.expect("MSET a 1 b 2", OK)
            .expect("RPUSH l x", ":1\r\n")
            .expect("HSET h f v", ":1\r\n");
        wire.expect(&format!("{command} a none l h"), ":3\r\n");
        wire.expect(&format!("{command} a"), ":0\r\n");
        wire.expect(&format!("{command} b b"), ":1\r\n");
        wire.expect("DBSIZE", ":0\r\n");
    }
});

transcript!(exists_counts_a_repeated_key_each_time, |wire| {
    wire.expect("MSET a 1 b 2", OK);
    wire.expect("EXISTS a", ":1\r\n").expect("EXISTS none", ":0\r\n");
    wire.expect("EXISTS a b a none a", ":4\r\n");
});

transcript!(type_names_the_type, |wire| {
    wire.expect("SET s 1", OK).expect("RPUSH l x", ":1\r\n").expect("HSET h f v", ":1\r\n");
    wire.expect("TYPE s", "+string\r\n").expect("TYPE l", "+list\r\n");
    wire.expect("TYPE h", "+hash\r\n").expect("TYPE none", "+none\r\n");
});

transcript!(rename_moves_value_and_deadline_and_overwrites, |wire| {
    wire.expect("SET from 1 EX 1000", OK).expect("RPUSH to a b", ":2\r\n");
    wire.expect("RENAME from to", OK);
    wire.expect("GET to", bulk("1")).expect("TTL to", ":1000\r\n");
    wire.expect("EXISTS from", ":0\r\n").expect("DBSIZE", ":1\r\n");
    wire.expect("SET plain 2", OK).expect("RENAME plain to", OK);
    wire.expect("GET to", bulk("2")).expect("TTL to", ":-1\r\n");
    wire.expect("RENAME to to", OK).expect("GET to", bulk("2"));
    expect_all(&mut wire, &["RENAME none to", "RENAME none none"], NO_SUCH_KEY);
    wire.expect("GET to", bulk("2"));
});

transcript!(rename_moves_every_type_small_and_large, |wire| {
    let long = "x".repeat(20_000);
    wire.expect(&format!("SET s {long}"), OK).expect("RENAME s s2", OK);
    wire.expect("GET s2", bulk(&long));
    for number in 0..300 {
        wire.expect(&format!("RPUSH l {number}"), format!(":{}\r\n", number + 1));
        wire.expect(&format!("HSET h {number} v"), ":1\r\n");
    }
    wire.expect("RENAME l l2", OK).expect("RENAME h h2", OK);
    wire.expect("LLEN l2", ":300\r\n").expect("LINDEX l2 299", bulk("299"));
    wire.expect("HLEN h2", ":300\r\n").expect("HGET h2 299", bulk("v"));
    wire.expect("RENAME h2 l2", OK).expect("TYPE l2", "+hash\r\n");
    wire.expect("DBSIZE", ":2\r\n");
});

transcript!(keys_returns_what_matches, |wire| {
    wire.expect("MSET one 1 two 2 three 3 four 4 \"\" empty [x] 5", OK);
    for (pattern, expected) in [
        ("*", &["", "[x]", "four", "one", "three", "two"][..]),
        ("t*", &["three", "two"]),
        ("t?o", &["two"]),
        ("[ot]*e", &["one", "three"]),
        ("[^ot]*", &["[x]", "four"]),
        ("[m-p]*", &["one"]),
        ("\\[x\\]", &["[x]"]),
        ("**", &["[x]", "four", "one", "three", "two"]),
        ("none", &[]),
        ("ONE", &[]),
    ] {
        let reply = wire.command(&["KEYS", pattern]);
        assert_eq!(sorted(&reply), expected.iter().map(|k| k.as_bytes()).collect::<Vec<_>>());
    }
    wire.expect("KEYS \"\"", bulks(&[""]));
});

transcript!(scan_returns_every_key_once_and_filters, |wire| {
    for number in 0..500 {
        wire.expect(&format!("SET key:{number} v"), OK);
    }
    wire.expect("RPUSH list:1 x", ":1\r\n").expect("HSET hash:1 f v", ":1\r\n");
    let mut all = walk(&mut wire, "SCAN", "");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 502);
    assert_eq!(walk(&mut wire, "SCAN", "COUNT 1 MATCH key:49?").len(), 10);
    assert_eq!(walk(&mut wire, "SCAN", "match list:* count 1000"), [b"list:1"]);
    assert_eq!(walk(&mut wire, "SCAN", "TYPE HASH"), [b"hash:1"]);
    assert_eq!(walk(&mut wire, "SCAN", "TYPE list MATCH * COUNT 7"), [b"list:1"]);
    assert_eq!(walk(&mut wire, "SCAN", "COUNT 100000").len(), 502);
    expect_all(
        &mut wire,
        &["SCAN 0 COUNT 9223372036854775807 TYPE zset", "SCAN 0 TYPE none COUNT 10000"],
        "*2\r\n$1\r\n0\r\n*0\r\n",
    );
});

transcript!(scan_refuses_bad_cursors_and_options, |wire| {
    expect_all(
        &mut wire,
        &["SCAN x", "SCAN 1x MATCH", "SCAN 18446744073709551616", "SCAN 1.5", "SCAN \" 1\""],
        "-ERR invalid cursor\r\n",
    );
    expect_all(
        &mut wire,
        &["SCAN 0 COUNT x", "SCAN 0 COUNT \"\" BAD", "SCAN 0 COUNT 9223372036854775808"],
        NOT_AN_INTEGER,
    );
    expect_all(
        &mut wire,
        &["SCAN 0 COUNT 0", "SCAN 0 COUNT -1", "SCAN 0 MATCH", "SCAN 0 BAD x", "SCAN 0 x COUNT x"],
        SYNTAX_ERROR,
    );
    for cursor in ["\"\"", "-0", "+0", "000"] {
        wire.expect(&format!("SCAN {cursor}"), "*2\r\n$1\r\n0\r\n*0\r\n");
    }
});

it!(scan_shows_what_was_there_all_the_time_exactly_once, |server| {
    let mut wire = server.wire();
    for number in 0..3_000 {
        wire.expect(&format!("SET stays:{number} v"), OK);
    }
    for number in 0..3_000 {
        wire.expect(&format!("SET goes:{number} v"), OK);
    }
    let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let (mut cursor, mut steps) = ("0".to_owned(), 0);
    loop {
        let (next, found) = step(&wire.run(&format!("SCAN {cursor} MATCH stays:* COUNT 20")));
        for key in found {
            *seen.entry(key).or_default() += 1;
        }
        // The table shrinks during the first half of the walk and grows during the second.
        for number in steps * 20..(steps + 1) * 20 {
            if number < 3_000 {
                wire.expect(&format!("DEL goes:{number}"), ":1\r\n");
            } else {
                wire.expect(&format!("SET comes:{number} v"), OK);
            }
        }
        steps += 1;
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert!(steps > 160, "the walk was too short to change the table: {steps} steps");
    assert_eq!(seen.len(), 3_000);
    assert!(seen.values().all(|count| *count == 1), "a key was returned twice");
});

it!(cursors_that_no_scan_returned_are_harmless, |server| {
    let mut wire = server.wire();
    wire.expect("MSET a 1 b 2 c 3", OK);
    for cursor in ["-1", "18446744073709551615", "281474976710656", "281474976710655", "1"] {
        let (_, found) = step(&wire.run(&format!("SCAN {cursor} COUNT 100")));
        assert!(found.len() <= 3);
    }
});

it!(a_walk_or_a_list_of_all_keys_leaves_out_expired_ones, |server| {
    let mut wire = server.wire();
    wire.expect("SET stays v", OK).expect("SET goes v PX 100", OK);
    assert_eq!(elements(&wire.run("KEYS *")).len(), 2);
    server.advance_ms(100);
    wire.expect("KEYS *", bulks(&["stays"])).expect("KEYS goes", "*0\r\n");
    assert_eq!(walk(&mut wire, "SCAN", ""), [b"stays"]);
});

transcript!(flushing_removes_everything, |wire| {
    let lines = ["FLUSHALL", "FLUSHALL ASYNC", "flushall sync", "FLUSHDB", "FLUSHDB async"];
    for line in lines {
        wire.expect("MSET a 1 b 2 c 3", OK).expect("DBSIZE", ":3\r\n");
        wire.expect(line, OK);
        wire.expect("DBSIZE", ":0\r\n").expect("GET a", NULL);
    }
    wire.expect("SET a 1", OK);
    let bad = ["FLUSHALL now", "FLUSHALL ASYNC SYNC", "FLUSHDB \"\"", "FLUSHDB SYNC SYNC"];
    expect_all(&mut wire, &bad, SYNTAX_ERROR);
    wire.expect("DBSIZE", ":1\r\n");
});

transcript!(wrong_arity, |wire| {
    expect_wrong_arity(
        &mut wire,
        &[
            "DEL",
            "UNLINK",
            "EXISTS",
            "TYPE",
            "TYPE a b",
            "RENAME",
            "RENAME a",
            "RENAME a b c",
            "KEYS",
            "KEYS a b",
            "SCAN",
            "DBSIZE 0",
        ],
    );
});

it!(many_keys_in_one_command_are_one_step, |server| {
    let mut wire = server.wire();
    let keys: Vec<String> = (0..2_000).map(|number| format!("key:{number}")).collect();
    let mut request = vec!["MSET"];
    for key in &keys {
        request.extend([key.as_str(), "v"]);
    }
    assert_eq!(wire.command(&request), OK.as_bytes());
    for (command, reply) in [("EXISTS", ":2000\r\n"), ("DEL", ":2000\r\n"), ("EXISTS", ":0\r\n")] {
        let mut request = vec![command];
        request.extend(keys.iter().map(String::as_str));
        wire.send_args(&request).expect_reply(reply);
    }
});

transcript!(a_key_is_renamed_to_a_free_name, |wire| {
    wire.expect("RENAMENX none k", NO_SUCH_KEY).expect("SET a 1 EX 100", OK);
    wire.expect("RENAMENX a b", ":1\r\n").expect("EXISTS a", ":0\r\n").expect("TTL b", ":100\r\n");
    wire.expect("SET a 2", OK).expect("RENAMENX a b", ":0\r\n").expect("GET b", bulk("1"));
    wire.expect("RENAMENX a a", ":0\r\n").expect("RENAMENX none none", NO_SUCH_KEY);
    expect_wrong_arity(&mut wire, &["RENAMENX a", "RENAMENX a b c", "COPY a", "TOUCH"]);
});

transcript!(keys_are_copied, |wire| {
    wire.expect("COPY none k", ":0\r\n").expect("SET a 1 EX 100", OK);
    wire.expect("COPY a b", ":1\r\n").expect("GET b", bulk("1")).expect("TTL b", ":100\r\n");
    wire.expect("SET a 2", OK).expect("COPY a b", ":0\r\n").expect("COPY a b REPLACE", ":1\r\n");
    wire.expect("GET b", bulk("2")).expect("TTL b", ":-1\r\n");
    wire.expect("COPY a b DB 0 REPLACE", ":1\r\n");
    wire.expect("COPY a b DB 5", "-ERR DB index is out of range\r\n");
    wire.expect("COPY a b DB -1", "-ERR DB index is out of range\r\n");
    wire.expect("COPY a b DB x", "-ERR value is not an integer or out of range\r\n");
    let error = "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n";
    wire.expect("COPY a b DB 4294967296", error);
    wire.expect("COPY a b DB", "-ERR syntax error\r\n")
        .expect("COPY a b x", "-ERR syntax error\r\n");
    wire.expect("COPY a a", "-ERR source and destination objects are the same\r\n");
    wire.expect("COPY none none REPLACE", "-ERR source and destination objects are the same\r\n");
    // The copies are apart.
    let mut request = vec!["RPUSH".to_owned(), "l".to_owned()];
    request.extend((0..3_000).map(|n| n.to_string()));
    wire.send_args(&request).expect_reply(":3000\r\n").expect("COPY l m", ":1\r\n");
    wire.expect("LSET l 1500 x", OK).expect("LINDEX m 1500", bulk("1500"));
    wire.expect("RPUSH m y", ":3001\r\n").expect("LLEN l", ":3000\r\n");
    wire.expect("TOUCH a b none a", ":3\r\n").expect("TOUCH none", ":0\r\n");
});

#[test]
fn waiting_for_replicas_is_refused_as_by_redis() {
    expect_alike(
        false,
        &["WAIT 0 0", "WAIT -1 100", "WAIT x 0", "WAIT 0 x", "WAIT 0 -1", "WAIT 0", "WAIT 1 1"],
    );
}

it!(keys_are_drawn_at_random, |server| {
    let mut wire = server.wire();
    wire.expect("RANDOMKEY", NULL);
    for n in 0..20 {
        wire.expect(&format!("SET k{n} v"), "+OK\r\n");
    }
    let drawn: std::collections::BTreeSet<Vec<u8>> =
        (0..1_000).map(|_| wire.run("RANDOMKEY")).collect();
    assert_eq!(drawn.len(), 20);
    // What has expired is not drawn, even when it is all there is but one.
    for n in 1..20 {
        wire.expect(&format!("PEXPIREAT k{n} 32503680000000"), ":1\r\n");
    }
    server.advance_ms(32_503_680_000_000 - server.now_ms());
    for _ in 0..50 {
        wire.expect("RANDOMKEY", bulk("k0"));
    }
    wire.expect("DEL k0", ":1\r\n").expect("RANDOMKEY", NULL);
});
