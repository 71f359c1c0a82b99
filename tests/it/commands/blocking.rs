//! BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP, BZPOPMIN, BZPOPMAX, BZMPOP and LMPOP, and CLIENT
//! UNBLOCK. Sessions of several clients are run on both servers.

use super::{NOT_AN_INTEGER, NULL, OK, WRONG_TYPE, expect_alike, expect_all, expect_wrong_arity};
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, bulks};
use crate::it;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const QUEUED: &str = "+QUEUED\r\n";
const NULL_ARRAY: &str = "*-1\r\n";

/// Waits until so many clients wait in blocking commands.
#[track_caller]
pub(super) fn until_blocked(addr: SocketAddr, count: usize) {
    let (mut wire, began) = (Wire::connect(addr), Instant::now());
    let field = format!("\r\nblocked_clients:{count}\r\n");
    while !String::from_utf8(wire.run("INFO clients")).unwrap().contains(&field) {
        assert!(began.elapsed() < Duration::from_secs(10), "not {count} clients are blocked");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// New clients that each wait in one of these commands, in this order.
#[track_caller]
pub(super) fn blocked(addr: SocketAddr, lines: &[&str]) -> Vec<Wire> {
    let before = {
        let info = String::from_utf8(Wire::connect(addr).run("INFO clients")).unwrap();
        let count = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        count.unwrap().parse::<usize>().unwrap()
    };
    let mut wires = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mut wire = Wire::connect(addr);
        wire.send(line);
        until_blocked(addr, before + number + 1);
        wires.push(wire);
    }
    wires
}

transcript!(a_list_that_is_there_is_popped_at_once, |wire| {
    wire.expect("RPUSH b x y z", ":3\r\n").expect("RPUSH c q", ":1\r\n");
    wire.expect("BLPOP a b c 0", "*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    wire.expect("BRPOP a b c 0.5", "*2\r\n$1\r\nb\r\n$1\r\nz\r\n");
    wire.expect("BLMOVE b d LEFT RIGHT 0", "$1\r\ny\r\n").expect("EXISTS b", ":0\r\n");
    wire.expect("BRPOPLPUSH c d 0", "$1\r\nq\r\n").expect("LRANGE d 0 -1", bulks(&["q", "y"]));
    wire.expect("BRPOPLPUSH d d 0", "$1\r\ny\r\n").expect("LRANGE d 0 -1", bulks(&["y", "q"]));
    wire.expect("BLMOVE d d LEFT LEFT 0", "$1\r\ny\r\n")
        .expect("LRANGE d 0 -1", bulks(&["y", "q"]));
    let all = "*2\r\n$1\r\nd\r\n*2\r\n$1\r\nq\r\n$1\r\ny\r\n";
    wire.expect("BLMPOP 0 3 a b d RIGHT COUNT 5", all).expect("DBSIZE", ":0\r\n");
    wire.expect("RPUSH l 1 2 3 4", ":4\r\n");
    wire.expect("LMPOP 2 none l left", "*2\r\n$1\r\nl\r\n*1\r\n$1\r\n1\r\n");
    wire.expect("LMPOP 1 l RIGHT COUNT 2", "*2\r\n$1\r\nl\r\n*2\r\n$1\r\n4\r\n$1\r\n3\r\n");
    wire.expect("LMPOP 1 none LEFT", NULL_ARRAY).expect("LLEN l", ":1\r\n");
    wire.expect("ZADD z 1 one 2 two 3 three", ":3\r\n");
    wire.expect("BZPOPMIN a z 0", bulks(&["z", "one", "1"]));
    wire.expect("BZPOPMAX a z 0", bulks(&["z", "three", "3"]));
    let last = "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$3\r\ntwo\r\n$1\r\n2\r\n";
    wire.expect("BZMPOP 0 2 a z MIN COUNT 9", last).expect("EXISTS z", ":0\r\n");
});

transcript!(nothing_comes_and_the_wait_ends_after_its_timeout, |wire| {
    let began = Instant::now();
    for line in [
        "BLPOP a b 0.05",
        "BRPOP a 0.05",
        "BLMOVE a b LEFT LEFT 0.05",
        "BRPOPLPUSH a b 0.05",
        "BLMPOP 0.05 2 a b LEFT",
        "BZPOPMIN a 0.05",
        "BZPOPMAX a 0.05",
        "BZMPOP 0.05 1 a MAX",
    ] {
        let started = Instant::now();
        wire.expect(line, NULL_ARRAY);
        assert!(started.elapsed() >= Duration::from_millis(49), "{line}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    wire.expect("PING", "+PONG\r\n");
});

#[test]
fn what_does_not_fit_is_refused_as_by_redis() {
    let lines = [
        "BLPOP k x",
        "BLPOP k -1",
        "BLPOP k inf",
        "BLPOP k -inf",
        "BLPOP k nan",
        "BLPOP k \"\"",
        "BLPOP k 9223372036854775807",
        "BLPOP k 1 x",
        "BLPOP k 0x0.01",
        "BLPOP k 1e-3",
        "BLMOVE a b FOO RIGHT x",
        "BLMOVE a b LEFT RIGHT x",
        "BLMOVE a b LEFT FOO 1",
        "BLMPOP x 0 k LEFT",
        "BLMPOP 0.1 0 k LEFT",
        "BLMPOP 0.1 2 k LEFT",
        "BLMPOP 0.1 1 k FOO",
        "BLMPOP x 1 k LEFT",
        "BLMPOP -1 1 k LEFT",
        "BLMPOP 0.1 1 k LEFT COUNT",
        "BLMPOP 0.1 1 k LEFT COUNT 0",
        "BLMPOP 0.1 1 k LEFT COUNT 1 COUNT 2",
        "BLMPOP 0.1 x k LEFT",
        "BLMPOP 0.1 -1 k LEFT",
        "BLMPOP 0.1 1x k LEFT",
        "LMPOP 0 k LEFT",
        "LMPOP x k LEFT",
        "LMPOP 1 k LEFT COUNT x",
        "LMPOP 1 k LEFT COUNT 9223372036854775808",
        "LMPOP 2 k LEFT",
        "LMPOP 1 k LEFT x",
        "SET s v",
        "RPUSH l a",
        "ZADD z 1 m",
        "LMPOP 2 none s LEFT",
        "BLPOP none s l 0",
        "BLPOP s 0",
        "BRPOP z 0",
        "BLPOP l s 0",
        "BLMOVE s l LEFT LEFT 0",
        "RPUSH l a",
        "BLMOVE l s LEFT LEFT 0",
        "BRPOPLPUSH l z 0",
        "BLMPOP 0 2 s l LEFT",
        "BZPOPMIN l 0",
        "BZMPOP 0 1 s MIN",
        "BZMPOP 0.1 1 k LEFT",
        "BZPOPMIN k x",
        "BZPOPMAX k -1",
        "CLIENT UNBLOCK x",
        "CLIENT UNBLOCK 99999",
        "CLIENT UNBLOCK 99999 FOO",
        "CLIENT UNBLOCK 99999 error",
        "CLIENT UNBLOCK 99999 TIMEOUT",
        "CLIENT UNBLOCK 1 ERROR x",
        "CLIENT UNBLOCK",
        "CLIENT UNBLOCK -1",
        "BLPOP none 0.01",
        "COMMAND GETKEYS BLPOP a b c 0",
        "COMMAND GETKEYS BLMOVE a b LEFT LEFT 0",
        "COMMAND GETKEYS BLMPOP 0 2 a b LEFT",
        "COMMAND GETKEYS BZMPOP 0 2 a b MIN",
    ];
    expect_alike(false, &lines);
    expect_alike(true, &lines);
}

transcript!(wrong_numbers_of_arguments_are_refused, |wire| {
    expect_wrong_arity(&mut wire, &["BLPOP a", "BRPOP a", "BLMOVE a b LEFT LEFT", "LMPOP 1 a"]);
    expect_wrong_arity(
        &mut wire,
        &["BRPOPLPUSH a b", "BLMPOP 0 1 a", "BZPOPMIN a", "BZMPOP 0 1 a"],
    );
    expect_all(&mut wire, &["CLIENT UNBLOCK x"], NOT_AN_INTEGER);
});

transcript!(a_transaction_does_not_wait, |wire| {
    wire.expect("RPUSH l a b", ":2\r\n").expect("MULTI", OK);
    let lines = [
        "BLPOP none l 0",
        "BRPOP none 0",
        "BLMOVE none l LEFT LEFT 0",
        "BRPOPLPUSH none l 0",
        "BLMPOP 0 1 none LEFT",
        "BZPOPMIN none 0",
        "BZMPOP 0 1 none MIN",
        "BLPOP none x",
        "BLMOVE l m LEFT LEFT 0",
        "LRANGE m 0 -1",
    ];
    expect_all(&mut wire, &lines, QUEUED);
    let timeout = "-ERR timeout is not a float or out of range\r\n";
    wire.expect(
        "EXEC",
        format!(
            "*10\r\n*2\r\n$1\r\nl\r\n$1\r\na\r\n{NULL_ARRAY}{NULL}{NULL}{NULL_ARRAY}{NULL_ARRAY}\
         {NULL_ARRAY}{timeout}$1\r\nb\r\n*1\r\n$1\r\nb\r\n"
        ),
    );
});

transcript!(
    a_push_serves_those_who_wait_in_the_order_in_which_they_came,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting =
            blocked(addr, &["BLPOP l 0", "BRPOP l 0", "BLPOP other l 0", "BLPOP l 0"]);
        wire.expect("RPUSH l a b", ":2\r\n").expect("EXISTS l", ":0\r\n");
        waiting[0].expect_reply(bulks(&["l", "a"]));
        waiting[1].expect_reply(bulks(&["l", "b"]));
        wire.expect("RPUSH l c", ":1\r\n");
        waiting[2].expect_reply(bulks(&["l", "c"]));
        wire.expect("LPUSH l d e f", ":3\r\n").expect("LRANGE l 0 -1", bulks(&["e", "d"]));
        waiting[3].expect_reply(bulks(&["l", "f"]));
        until_blocked(addr, 0);
        // Who was served waits nowhere any more.
        wire.expect("RPUSH other x", ":1\r\n").expect("LLEN other", ":1\r\n");
        for wire in &mut waiting {
            wire.expect("PING", "+PONG\r\n");
        }
    }
);

transcript!(
    however_a_list_appears_it_serves,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("SELECT 5", OK).expect("RPUSH far 5", ":1\r\n").expect("SELECT 0", OK);
        wire.expect("RPUSH dumped v", ":1\r\n");
        let makers: [(&[&str], &[&str]); 12] = [
            (&["RPUSH k v"], &[]),
            (&["LPUSH k v"], &[]),
            (&["RPUSH temp v", "RENAME temp k"], &[]),
            (&["RPUSH temp v", "RENAMENX temp k"], &[]),
            (&["COPY dumped k"], &[]),
            (&["SORT dumped ALPHA STORE k"], &[]),
            (&["RPUSH temp v", "LMOVE temp k LEFT LEFT"], &[]),
            (&["RPUSH temp v", "RPOPLPUSH temp k"], &[]),
            (&["SET k string", "RPUSH temp v", "RENAME temp k"], &[]),
            (&["SELECT 4", "RPUSH k v", "MOVE k 0", "SELECT 0"], &[]),
            (&["SELECT 4", "RPUSH k v", "SWAPDB 0 4", "SELECT 0"], &["SWAPDB 0 4"]),
            (&["MULTI", "SET k string", "DEL k", "RPUSH k v", "EXEC"], &[]),
        ];
        for (lines, ending) in makers {
            let mut waiting = blocked(addr, &["BLPOP k 0"]);
            for line in lines {
                wire.run(line);
            }
            waiting[0].expect_reply(bulks(&["k", "v"]));
            for line in ending {
                wire.run(line);
            }
            wire.expect("EXISTS k", ":0\r\n");
        }
        let mut waiting = blocked(addr, &["BLPOP k 0"]);
        let dump = wire.run("DUMP dumped");
        let start = dump.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let restored = wire.command(&[&b"RESTORE"[..], b"k", b"0", &dump[start..dump.len() - 2]]);
        assert_eq!(restored, OK.as_bytes());
        waiting[0].expect_reply(bulks(&["k", "v"]));
        let mut waiting = blocked(addr, &["BLMOVE k m LEFT RIGHT 0", "BLPOP m 0"]);
        wire.expect("RPUSH k chained", ":1\r\n");
        waiting[0].expect_reply("$7\r\nchained\r\n");
        waiting[1].expect_reply(bulks(&["m", "chained"]));
        wire.expect("EXISTS k m", ":0\r\n");
    }
);

transcript!(
    a_chain_of_moves_ends_at_its_last_link,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let lines: Vec<String> =
            (0..20).rev().map(|n| format!("BLMOVE link:{n} link:{} LEFT LEFT 0", n + 1)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut waiting = blocked(addr, &lines);
        wire.expect("RPUSH link:0 x", ":1\r\n").expect("LRANGE link:20 0 -1", bulks(&["x"]));
        for wire in &mut waiting {
            wire.expect_reply("$1\r\nx\r\n");
        }
        wire.expect("DBSIZE", ":1\r\n");
    }
);

transcript!(
    another_type_under_the_key_serves_nobody,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting =
            blocked(addr, &["BZPOPMIN k 0", "BLPOP k 0", "BLPOP k 0", "BZPOPMAX k 0"]);
        wire.expect("SET k string", OK).expect("DEL k", ":1\r\n").expect("HSET k f v", ":1\r\n");
        wire.expect("DEL k", ":1\r\n").expect("RPUSH k a", ":1\r\n").expect("EXISTS k", ":0\r\n");
        waiting[1].expect_reply(bulks(&["k", "a"]));
        wire.expect("ZADD k 1 m 2 n", ":2\r\n").expect("EXISTS k", ":0\r\n");
        waiting[0].expect_reply(bulks(&["k", "m", "1"]));
        waiting[3].expect_reply(bulks(&["k", "n", "2"]));
        wire.expect("RPUSH k b", ":1\r\n");
        waiting[2].expect_reply(bulks(&["k", "b"]));
    }
);

transcript!(
    a_wrong_destination_is_told_when_the_wait_ends,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("SET d string", OK);
        let mut waiting =
            blocked(addr, &["BLMOVE k d LEFT LEFT 0", "BRPOPLPUSH k d 0", "BLPOP k 0"]);
        wire.expect("RPUSH k a", ":1\r\n");
        waiting[0].expect_reply(WRONG_TYPE);
        waiting[1].expect_reply(WRONG_TYPE);
        waiting[2].expect_reply(bulks(&["k", "a"]));
        wire.expect("EXISTS k", ":0\r\n");
    }
);

transcript!(
    of_several_keys_the_one_that_appeared_first_serves,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting = blocked(addr, &["BLPOP a b c 0", "BLMPOP 0 2 a b LEFT COUNT 10"]);
        wire.expect("MULTI", OK);
        expect_all(&mut wire, &["RPUSH b 1 2 3", "RPUSH a 4"], QUEUED);
        wire.expect("EXEC", "*2\r\n:3\r\n:1\r\n");
        waiting[0].expect_reply(bulks(&["b", "1"]));
        waiting[1].expect_reply("*2\r\n$1\r\nb\r\n*2\r\n$1\r\n2\r\n$1\r\n3\r\n");
        wire.expect("LRANGE a 0 -1", bulks(&["4"])).expect("EXISTS b", ":0\r\n");
        // A transaction that takes away again what it made serves nobody.
        let mut waiting = blocked(addr, &["BLPOP x 0"]);
        wire.expect("MULTI", OK);
        expect_all(&mut wire, &["RPUSH x 1", "DEL x"], QUEUED);
        wire.expect("EXEC", "*2\r\n:1\r\n:1\r\n").expect("RPUSH x 2", ":1\r\n");
        waiting[0].expect_reply(bulks(&["x", "2"]));
        let mut waiting = blocked(addr, &["BLPOP x x x 0"]);
        wire.expect("RPUSH x 1 2", ":2\r\n");
        waiting[0].expect_reply(bulks(&["x", "1"]));
        wire.expect("LLEN x", ":1\r\n");
    }
);

transcript!(
    each_database_has_its_own_waits,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut far = Wire::connect(addr);
        far.expect("SELECT 7", OK).send("BLPOP k 0");
        until_blocked(addr, 1);
        let mut near = blocked(addr, &["BLPOP k 0"]);
        wire.expect("SELECT 7", OK).expect("RPUSH k seven", ":1\r\n");
        far.expect_reply(bulks(&["k", "seven"]));
        wire.expect("SELECT 0", OK).expect("RPUSH k zero", ":1\r\n");
        near[0].expect_reply(bulks(&["k", "zero"]));
    }
);

transcript!(
    client_unblock_ends_a_wait_as_it_is_told,
    several | addr | {
        let mut wire = Wire::connect(addr);
        for (how, reply) in [
            ("", NULL_ARRAY),
            ("TIMEOUT", NULL_ARRAY),
            ("error", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
        ] {
            let mut waiting = Wire::connect(addr);
            let id = String::from_utf8(waiting.run("CLIENT ID")).unwrap();
            let id = id.trim_start_matches(':').trim_end();
            let line = format!("CLIENT UNBLOCK {id} {how}");
            wire.expect(&line, ":0\r\n");
            waiting.send("BLPOP k l 0");
            until_blocked(addr, 1);
            wire.expect(&line, ":1\r\n").expect(&line, ":0\r\n");
            waiting.expect_reply(reply).expect("PING", "+PONG\r\n");
            wire.expect("RPUSH k a", ":1\r\n").expect("LPOP k", "$1\r\na\r\n");
        }
    }
);

transcript!(
    requests_behind_a_blocking_one_wait_for_it,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting = Wire::connect(addr);
        waiting.raw("PING\r\nBLPOP k 0\r\nSET behind 1\r\nBLPOP k 0\r\nPING\r\n");
        waiting.expect_reply("+PONG\r\n");
        until_blocked(addr, 1);
        waiting.raw("ECHO more\r\n").expect_silence(50);
        wire.expect("EXISTS behind", ":0\r\n").expect("RPUSH k a", ":1\r\n");
        waiting.expect_reply(bulks(&["k", "a"])).expect_reply(OK);
        until_blocked(addr, 1);
        wire.expect("EXISTS behind", ":1\r\n").expect("RPUSH k b", ":1\r\n");
        waiting.expect_reply(bulks(&["k", "b"])).expect_reply("+PONG\r\n");
        waiting.expect_reply("$4\r\nmore\r\n");
    }
);

transcript!(
    a_wait_that_is_ended_with_an_error_is_a_failed_call,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("CONFIG RESETSTAT", OK);
        let mut waiting = blocked(addr, &["BLPOP k 0"]);
        let list = String::from_utf8(wire.run("CLIENT LIST")).unwrap();
        let line = list.lines().find(|line| line.contains(" flags=b ")).unwrap();
        let id = line.split(['=', ' ']).nth(1).unwrap();
        wire.expect(&format!("CLIENT UNBLOCK {id} ERROR"), ":1\r\n");
        waiting[0].expect_reply("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
        let text = String::from_utf8(wire.run("INFO commandstats")).unwrap();
        let line = text.lines().find(|line| line.starts_with("cmdstat_blpop:")).unwrap();
        assert!(line.contains(":calls=1,") && line.ends_with(",failed_calls=1"), "{line}");
    }
);

transcript!(
    who_is_gone_or_killed_takes_nothing,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting = blocked(addr, &["BLPOP k 0", "BLPOP k 0", "BLPOP k 0"]);
        drop(waiting.remove(0));
        until_blocked(addr, 2);
        let list = String::from_utf8(wire.run("CLIENT LIST")).unwrap();
        assert_eq!(list.matches(" flags=b ").count(), 2, "{list}");
        let address = waiting[0].local_addr();
        wire.expect(&format!("CLIENT KILL {address}"), OK);
        until_blocked(addr, 1);
        wire.expect("RPUSH k a b", ":2\r\n").expect("LRANGE k 0 -1", bulks(&["b"]));
        waiting[1].expect_reply(bulks(&["k", "a"]));
    }
);

transcript!(
    protocol_3_has_its_own_nothing,
    resp3 | wire | {
        wire.expect("BLPOP none 0.01", "_\r\n").expect("BLMOVE none x LEFT LEFT 0.01", "_\r\n");
        wire.expect("BZMPOP 0.01 1 none MIN", "_\r\n").expect("LMPOP 1 none LEFT", "_\r\n");
        wire.expect("ZADD z 1.5 m 2 n", ":2\r\n");
        wire.expect("BZPOPMIN z 0", "*3\r\n$1\r\nz\r\n$1\r\nm\r\n,1.5\r\n");
        wire.expect("BZMPOP 0 1 z MAX", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nn\r\n,2\r\n");
    }
);

transcript!(
    a_served_client_gets_the_reply_of_its_own_protocol,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting = [Wire::connect(addr), Wire::connect_resp3(addr)];
        for (number, wire) in waiting.iter_mut().enumerate() {
            wire.send("BZPOPMAX z 0");
            until_blocked(addr, number + 1);
        }
        wire.expect("ZADD z 1.5 m 2.5 n", ":2\r\n");
        waiting[0].expect_reply(bulks(&["z", "n", "2.5"]));
        waiting[1].expect_reply("*3\r\n$1\r\nz\r\n$1\r\nm\r\n,1.5\r\n");
    }
);

transcript!(
    a_stored_result_serves_those_who_wait_for_its_type,
    several | addr | {
        let mut wire = Wire::connect(addr);
        wire.expect("ZADD from 1 a 2 b 3 c", ":3\r\n");
        for (maker, first, last) in [
            ("ZUNIONSTORE k 1 from", "1", "3"),
            ("ZRANGESTORE k from 0 -1", "1", "3"),
            ("ZINTERSTORE k 2 from from", "2", "6"),
        ] {
            let mut waiting = blocked(addr, &["BLPOP k 0", "BZPOPMIN other k 0", "BZPOPMAX k 0"]);
            wire.expect(maker, ":3\r\n");
            waiting[1].expect_reply(bulks(&["k", "a", first]));
            waiting[2].expect_reply(bulks(&["k", "c", last]));
            wire.expect("ZRANGE k 0 -1", bulks(&["b"])).expect("DEL k", ":1\r\n");
            wire.expect("RPUSH k x", ":1\r\n");
            waiting[0].expect_reply(bulks(&["k", "x"]));
        }
    }
);

transcript!(
    a_wait_is_told_of_and_can_be_ended_inside_a_transaction,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting = Wire::connect(addr);
        let id = String::from_utf8(waiting.run("CLIENT ID")).unwrap();
        let id = id.trim_start_matches(':').trim_end().to_owned();
        waiting.send("BRPOP a b 100");
        until_blocked(addr, 1);
        let info = String::from_utf8(wire.run("INFO clients")).unwrap();
        assert!(info.contains("\r\nclients_in_timeout_table:1\r\n"), "{info}");
        let list = String::from_utf8(wire.run(&format!("CLIENT LIST ID {id}"))).unwrap();
        assert!(list.contains(" flags=b ") && list.contains(" cmd=brpop "), "{list}");
        wire.expect("MULTI", OK);
        let unblock = format!("CLIENT UNBLOCK {id}");
        expect_all(&mut wire, &["RPUSH b 1", &unblock, &unblock, "LLEN b"], QUEUED);
        wire.expect("EXEC", "*4\r\n:1\r\n:1\r\n:0\r\n:1\r\n");
        waiting.expect_reply(NULL_ARRAY).expect("LLEN b", ":1\r\n");
        until_blocked(addr, 0);
        let info = String::from_utf8(wire.run("INFO clients")).unwrap();
        assert!(info.contains("\r\nclients_in_timeout_table:0\r\n"), "{info}");
    }
);

// Redis forgets those who wait.
it!(a_result_that_replaces_another_type_serves_those_who_wait, |server| {
    let mut wire = server.wire();
    wire.expect("ZADD from 1 a", ":1\r\n");
    let mut waiting = blocked(server.addr(), &["BLPOP k 0", "BZPOPMIN k 0"]);
    wire.expect("SET k string", OK).expect("ZUNIONSTORE k 1 from", ":1\r\n");
    waiting[1].expect_reply(bulks(&["k", "a", "1"]));
    wire.expect("RPUSH k x", ":1\r\n");
    waiting[0].expect_reply(bulks(&["k", "x"]));
});

transcript!(
    messages_come_while_a_client_waits,
    several | addr | {
        let mut wire = Wire::connect(addr);
        let mut waiting = Wire::connect_resp3(addr);
        waiting.expect("SUBSCRIBE news", ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
        waiting.send("BLPOP k 0");
        until_blocked(addr, 1);
        wire.expect("PUBLISH news hot", ":1\r\n");
        waiting.expect_reply(">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\nhot\r\n");
        wire.expect("RPUSH k a", ":1\r\n");
        waiting.expect_reply(bulks(&["k", "a"])).expect("PING", "+PONG\r\n");
    }
);

it!(a_reply_that_is_not_wanted_is_not_sent, |server| {
    let (mut wire, mut other) = (server.wire(), server.wire());
    wire.raw("CLIENT REPLY SKIP\r\nBLPOP k 0\r\nPING\r\n");
    until_blocked(server.addr(), 1);
    other.expect("RPUSH k a", ":1\r\n").expect("EXISTS k", ":0\r\n");
    wire.expect_reply("+PONG\r\n");
});

#[test]
fn a_wait_is_no_silence() {
    let server = Server::start_with(MANY_SHARDS, |options| options.timeout_seconds = 1);
    let mut waiting = blocked(server.addr(), &["BLPOP k 0"]);
    std::thread::sleep(Duration::from_millis(2_500));
    server.wire().expect("RPUSH k a", ":1\r\n");
    waiting[0].expect_reply(bulks(&["k", "a"]));
}
