//! Answers with very many elements, which are written after the locks are released.

use crate::harness::oracle::Oracle;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use crate::it;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// More than are answered at once under the locks.
const MANY: usize = 12_000;

/// Fills a list, a hash, a set and a sorted set, each with many elements, and a second set.
fn fill(wire: &mut Wire) {
    for start in (0..MANY).step_by(500) {
        for (command, has_score, has_value) in [
            ("RPUSH list", false, false),
            ("HSET hash", false, true),
            ("SADD set", false, false),
            ("ZADD zset", true, false),
        ] {
            let mut line = command.to_owned();
            for n in start..start + 500 {
                let score = if has_score { format!(" {n}") } else { String::new() };
                let value = if has_value { format!(" value:{n}") } else { String::new() };
                line.push_str(&format!("{score} element:{n}{value}"));
            }
            wire.run(&line);
        }
        let others: String =
            (start..start + 500).map(|n| format!(" element:{}", n + MANY / 2)).collect();
        wire.run(&format!("SADD other{others}"));
    }
}

/// The lines of a reply in an order of their own, but for the first, which says how many they are.
fn sorted(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[1..].sort_unstable();
    lines
}

const ORDERED: &[&str] = &[
    "LRANGE list 0 -1",
    "LRANGE list 1 -1",
    "LRANGE list 500 11999",
    "LRANGE list -99999 99999",
    "ZRANGE zset 0 -1",
    "ZRANGE zset 0 -1 REV WITHSCORES",
    "ZRANGEBYSCORE zset (5 +inf WITHSCORES",
    "ZREVRANGEBYLEX zset + - LIMIT 3 11000",
    "ZUNION 2 zset zset WITHSCORES",
];

const UNORDERED: &[&str] = &[
    "HGETALL hash",
    "HKEYS hash",
    "HVALS hash",
    "SMEMBERS set",
    "SUNION set other none",
    "SINTER set set",
    "SINTER set other",
    "SDIFF set other",
    "SDIFF set none",
];

#[test]
fn they_are_those_of_redis_wherever_they_are_asked_for() {
    let oracle = Oracle::start();
    let server = Server::start(MANY_SHARDS);
    for is_resp3 in [false, true] {
        let connect = |addr| if is_resp3 { Wire::connect_resp3(addr) } else { Wire::connect(addr) };
        let (mut theirs, mut ours) = (connect(oracle.addr()), connect(server.addr()));
        theirs.run("FLUSHALL");
        ours.run("FLUSHALL");
        fill(&mut theirs);
        fill(&mut ours);
        for line in ORDERED {
            assert!(theirs.run(line) == ours.run(line), "{line}");
        }
        for line in UNORDERED {
            assert!(sorted(&theirs.run(line)) == sorted(&ours.run(line)), "{line}");
        }
        for line in ORDERED.iter().chain(UNORDERED) {
            let run = |wire: &mut Wire| {
                wire.expect("MULTI", "+OK\r\n").expect(line, "+QUEUED\r\n");
                wire.expect("SET after 1", "+QUEUED\r\n");
                let executed = wire.run("EXEC");
                let script = format!(
                    "local t = redis.call(unpack(ARGV)) table.sort(t) return {{#t, t[1], t[#t]}} \
                     -- {line}"
                );
                let words: Vec<&str> = line.split(' ').collect();
                let called =
                    wire.command(&[&["EVAL", script.as_str(), "0"], words.as_slice()].concat());
                (sorted(&executed), called)
            };
            assert!(run(&mut theirs) == run(&mut ours), "{line}");
        }
    }
}

it!(what_is_behind_them_in_a_pipeline_comes_behind_them, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    wire.send("LRANGE list 0 -1").send("DEL list").send("LRANGE list 0 -1").send("PING");
    assert_eq!(wire.reply().split(|byte| *byte == b'\n').count(), 2 * MANY + 2);
    wire.expect_reply(":1\r\n").expect_reply("*0\r\n").expect_reply("+PONG\r\n");
    wire.send("SMEMBERS hash").send("CLIENT REPLY SKIP").send("SMEMBERS set").send("PING");
    assert!(wire.reply().starts_with(b"-WRONGTYPE"));
    wire.expect_reply("+PONG\r\n");
});

it!(they_are_of_one_moment, |server| {
    let (mut writer, mut reader) = (server.wire(), server.wire());
    fill(&mut writer);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !ended.load(Ordering::Relaxed) {
                number += 1;
                // One change: the first and the last of both are alike.
                writer.run(&format!("HSET hash one same:{number} two same:{number}"));
                writer.run(&format!("RPUSH list same:{number} same:{number}"));
                writer.expect(
                    "RPOP list 2",
                    format!(
                        "*2\r\n${0}\r\nsame:{number}\r\n${0}\r\nsame:{number}\r\n",
                        format!("same:{number}").len()
                    ),
                );
            }
        });
        let mut seen = 0;
        for _ in 0..60 {
            for line in ["HGETALL hash", "LRANGE list 0 -1"] {
                let reply = String::from_utf8(reader.run(line)).unwrap();
                let same: Vec<&str> =
                    reply.lines().filter(|line| line.starts_with("same:")).collect();
                assert!(same.is_empty() || (same.len() == 2 && same[0] == same[1]), "{same:?}");
                let announced: usize = reply.lines().next().unwrap()[1..].parse().unwrap();
                let values = reply.lines().filter(|line| line.starts_with('$')).count();
                assert_eq!(announced, values);
                seen += same.len();
            }
        }
        ended.store(true, Ordering::Relaxed);
        assert!(seen > 0, "the writer was never seen");
    });
});

it!(fields_whose_time_has_come_are_not_among_them, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    wire.expect("HPEXPIRE hash 100 FIELDS 2 element:0 element:1", "*2\r\n:1\r\n:1\r\n");
    assert!(wire.run("HKEYS hash").starts_with(b"*12000\r\n"));
    server.advance_ms(101);
    let reply = String::from_utf8(wire.run("HKEYS hash")).unwrap();
    assert!(reply.starts_with("*11998\r\n"));
    assert!(!reply.contains("\r\nelement:0\r\n") && !reply.contains("\r\nelement:1\r\n"));
});
