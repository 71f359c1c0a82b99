//! Answers with very many elements, which are written after the locks are released.

use crate::harness::flag::raise_at_end;
use crate::harness::oracle::Oracle;
use crate::harness::planted::{Ended, in_own_process};
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use crate::it;
use my_redis::keyspace::planted::{Bug, plant};
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
        let at_end = raise_at_end(&ended);
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
        drop(at_end);
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

it!(all_keys_are_those_of_one_moment_also_when_they_are_many, |server| {
    const OTHERS: usize = 25_000;
    const TOKENS: usize = 4;
    let mut wire = server.wire();
    for start in (0..OTHERS).step_by(500) {
        let pairs: String = (start..start + 500).map(|n| format!(" other:{n} x")).collect();
        wire.run(&format!("MSET{pairs}"));
    }
    for token in 0..TOKENS {
        wire.run(&format!("SET token:{token}:0 x"));
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for token in 0..TOKENS {
            let ended = &ended;
            scope.spawn(move || {
                let mut wire = server.wire();
                for step in 0_usize.. {
                    let (from, to) = (step, step + 1);
                    wire.expect(
                        &format!("RENAME token:{token}:{from} token:{token}:{to}"),
                        "+OK\r\n",
                    );
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let saver = scope.spawn(|| {
            let mut wire = server.wire();
            for _ in 0..5 {
                wire.expect("SAVE", "+OK\r\n");
            }
        });
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut wire = server.wire();
                    for _ in 0..15 {
                        let reply = String::from_utf8(wire.run("KEYS *")).unwrap();
                        let of = |prefix: &str| {
                            reply.lines().filter(|line| line.starts_with(prefix)).count()
                        };
                        for token in 0..TOKENS {
                            assert_eq!(of(&format!("token:{token}:")), 1);
                        }
                        assert_eq!(of("other:"), OTHERS);
                        assert_eq!(of("$"), OTHERS + TOKENS);
                    }
                })
            })
            .collect();
        let results: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        ended.store(true, Ordering::Relaxed);
        results.into_iter().chain([saver.join()]).for_each(|result| result.unwrap());
    });
});

it!(all_keys_are_looked_at_while_a_save_goes_on_or_everything_goes, |server| {
    let mut wire = server.wire();
    for start in (0..25_000).step_by(500) {
        let pairs: String = (start..start + 500).map(|n| format!(" other:{n} x")).collect();
        wire.run(&format!("MSET{pairs}"));
    }
    let snapshot = server.keyspace().begin_snapshot(u64::MAX).unwrap();
    assert!(wire.run("KEYS other:*").starts_with(b"*25000\r\n"));
    drop(snapshot);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut wire = server.wire();
            loop {
                let reply = wire.run("KEYS *");
                if reply == b"*0\r\n" {
                    return;
                }
                assert!(reply.starts_with(b"*25000\r\n"));
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(30));
        wire.expect("FLUSHALL", "+OK\r\n");
        reader.join().unwrap();
    });
});

/// Commands that store what they make of many elements.
const STORING: &[&str] = &[
    "SUNIONSTORE to set other",
    "SINTERSTORE to set other none",
    "SINTERSTORE to set other",
    "SDIFFSTORE to set other",
    "SDIFFSTORE set set other",
    "SUNIONSTORE to set zset",
    "ZUNIONSTORE to 2 zset set WEIGHTS 2 3",
    "ZINTERSTORE to 2 zset other AGGREGATE MAX",
    "ZDIFFSTORE to 2 zset other",
    "ZUNIONSTORE to 2 zset list",
    "ZUNIONSTORE to x zset",
    "ZUNIONSTORE to 1 zset WEIGHTS x",
    "ZUNIONSTORE zset 1 zset",
    "SORT zset ALPHA STORE to",
    "SORT list ALPHA DESC LIMIT 5 11000 STORE list",
    "SORT set BY nosort STORE to",
    "SORT zset BY none LIMIT 5 10500 STORE to",
    "SORT zset STORE to",
    "SORT zset ALPHA LIMIT 20 3",
    "SORT zset",
    "SORT none STORE to",
    "ZREMRANGEBYSCORE zset 100 11000",
    "ZREMRANGEBYSCORE zset x 11000",
    "ZADD zset 3 element:3",
    "ZREMRANGEBYLEX to - +",
    "ZREMRANGEBYRANK zset 0 -1",
    "ZINTERSTORE to 2 zset set",
];

#[test]
fn what_is_stored_of_them_is_what_redis_stores() {
    let oracle = Oracle::start();
    let server = Server::start(MANY_SHARDS);
    for is_in_transaction in [false, true] {
        let (mut theirs, mut ours) = (Wire::connect(oracle.addr()), server.wire());
        for wire in [&mut theirs, &mut ours] {
            wire.run("FLUSHALL");
            fill(wire);
        }
        for line in STORING {
            let run = |wire: &mut Wire| {
                if is_in_transaction {
                    wire.expect("MULTI", "+OK\r\n").expect(line, "+QUEUED\r\n");
                }
                let reply = wire.run(if is_in_transaction { "EXEC" } else { line });
                let kinds: Vec<Vec<u8>> = ["to", "set", "zset"]
                    .iter()
                    .flat_map(|key| {
                        [wire.run(&format!("TYPE {key}")), wire.run(&format!("TTL {key}"))]
                    })
                    .collect();
                let lines = [
                    "SMEMBERS to",
                    "ZRANGE to 0 -1 WITHSCORES",
                    "LRANGE to 0 -1",
                    "LRANGE list 0 -1",
                    "SMEMBERS set",
                    "ZRANGE zset 0 -1 WITHSCORES",
                ];
                let contents = lines.map(|line| sorted(&wire.run(line)));
                (reply, kinds, contents)
            };
            assert!(run(&mut theirs) == run(&mut ours), "{line}");
        }
    }
}

/// One client empties `to` and adds to a source in one change, another one stores the union there
/// all the time: what is there afterwards was made of what was added. The number of times that it
/// was not, and that there was anything.
fn stale_results(server: &Server) -> (usize, usize) {
    let (mut writer, mut storer) = (server.wire(), server.wire());
    fill(&mut writer);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let at_end = raise_at_end(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                storer.run("SUNIONSTORE to set other");
            }
        });
        let (mut stale, mut seen) = (0, 0);
        for number in 0..400 {
            writer
                .send("MULTI")
                .send(&format!("SADD set new:{number}"))
                .send("DEL to")
                .send("EXEC");
            (0..4).for_each(|_| drop(writer.reply()));
            for _ in 0..3 {
                writer.send("MULTI").send("EXISTS to").send(&format!("SISMEMBER to new:{number}"));
                writer.send("EXEC");
                (0..3).for_each(|_| drop(writer.reply()));
                let reply = writer.reply();
                stale += usize::from(reply == b"*2\r\n:1\r\n:0\r\n");
                seen += usize::from(reply.starts_with(b"*2\r\n:1\r\n"));
            }
        }
        drop(at_end);
        (stale, seen)
    })
}

it!(what_is_stored_of_them_was_so_when_it_was_stored, |server| {
    let (stale, seen) = stale_results(server);
    assert_eq!(stale, 0);
    assert!(seen > 0, "nothing was stored in time");
});

#[test]
fn a_result_of_what_has_changed_since_would_be_noticed() {
    let path = "many::a_result_of_what_has_changed_since_would_be_noticed";
    let ended = in_own_process(path, || {
        let _planted = plant(Bug::BlindResult);
        assert_eq!(stale_results(&Server::start(MANY_SHARDS)).0, 0);
    });
    if let Some(Ended { has_passed, .. }) = ended {
        assert!(!has_passed, "the planted bug was not found");
    }
}
