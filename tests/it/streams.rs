//! Streams as a whole: they travel between the servers with everything, survive a save made under
//! load as of one moment, and under stress every entry is acknowledged once for each group.

use crate::harness::dump::redis_accepts;
use crate::harness::flag::raise_at_end;
use crate::harness::oracle::Oracle;
use crate::harness::random::{Random, seed};
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::{Wire, shown, split};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Makes streams of every kind.
fn fill(wire: &mut Wire, random: &mut Random) {
    wire.run("XADD grown 1-1 a b");
    wire.run("XADD grown 1-2 a c");
    wire.run("XGROUP CREATE grown g 0 ENTRIESREAD 0");
    wire.run("XGROUP CREATE empty g $ MKSTREAM");
    for n in 1..=300 {
        let value = "v".repeat(random.below(90));
        let other = if random.chance(20) { " other 7 more -5" } else { "" };
        wire.run(&format!("XADD s {n}-{} a {n} b \"{value}\"{other}", random.below(5)));
        wire.run(&format!("XADD simple {n} a {n}"));
    }
    for _ in 0..30 {
        let n = random.between(1, 300);
        wire.run(&format!("XDEL s {n}-0 {n}-1 {n}-2"));
    }
    wire.run("XTRIM s MAXLEN 220");
    for group in ["g", "another group", "unread"] {
        wire.run(&format!("XGROUP CREATE s \"{group}\" 0"));
    }
    for _ in 0..25 {
        let (who, count) = (random.below(4), random.between(1, 9));
        wire.run(&format!("XREADGROUP GROUP g c{who} COUNT {count} STREAMS s >"));
        wire.run(&format!("XREADGROUP GROUP \"another group\" c{who} COUNT 3 STREAMS s >"));
        let pending = String::from_utf8(wire.run("XPENDING s g - + 50")).unwrap();
        let ids: Vec<&str> = pending.split("\r\n").filter(|part| part.contains('-')).collect();
        if let Some(id) = ids.get(random.below(ids.len().max(1))) {
            wire.run(&format!("XACK s g {id}"));
            wire.run(&format!("XCLAIM s g c9 0 {id} RETRYCOUNT 300 TIME 1700000000000 FORCE"));
        }
    }
    wire.run("XGROUP CREATECONSUMER s g idle");
}

/// All that there is to know of the streams of `fill`.
fn told(wire: &mut Wire) -> Vec<(&'static str, String)> {
    let all = ["grown", "empty", "simple", "s"];
    all.map(|key| (key, shown(&wire.run(&format!("XINFO STREAM {key} FULL COUNT 0"))))).to_vec()
}

#[track_caller]
fn same(one: &[(&str, String)], other: &[(&str, String)]) {
    for ((key, one), (_, other)) in one.iter().zip(other) {
        assert!(one == other, "{key}\n{one}\n{other}");
        assert!(one.contains("last-generated-id"), "{one}");
    }
}

fn payload(wire: &mut Wire, key: &str) -> Vec<u8> {
    let reply = wire.run(&format!("DUMP {key}"));
    let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    reply[start..reply.len() - 2].to_vec()
}

#[test]
fn streams_travel_to_redis_and_back_with_everything() {
    let seed = seed("streams_travel_to_redis_and_back_with_everything");
    let server = Server::start_in_real_time(MANY_SHARDS);
    let (oracle, other) = (Oracle::start(), Oracle::start());
    let mut ours = server.wire();
    let (mut redis, mut second) = (Wire::connect(oracle.addr()), Wire::connect(other.addr()));
    for (from, to, back) in [(0, 1, 0), (1, 0, 2)] {
        let mut wires = [&mut ours, &mut redis, &mut second];
        wires.iter_mut().for_each(|wire| drop(wire.run("FLUSHALL")));
        fill(wires[from], &mut Random::new(seed));
        let before = told(wires[from]);
        let mut carry = |from: usize, to: usize| {
            for (key, _) in &before {
                let bytes = payload(wires[from], key);
                let mut args = split(&format!("RESTORE {key} 0"));
                args.push(bytes);
                args.push(b"REPLACE".to_vec());
                let reply = wires[to].command(&args);
                assert_eq!(reply, b"+OK\r\n", "{key}: {}", shown(&reply));
            }
            same(&told(wires[to]), &before);
        };
        carry(from, to);
        carry(to, back);
    }
}

/// A text of any kind that a block tells apart: numbers of all widths, and strings of all lengths.
fn text(random: &mut Random) -> Vec<u8> {
    let number = (1_i64 << random.below(63)).wrapping_sub(random.below(3) as i64);
    match random.below(8) {
        0 => number.to_string().into_bytes(),
        1 => format!("-{number}").into_bytes(),
        2 => random.below(200).to_string().into_bytes(),
        3 => format!("0{number}").into_bytes(),
        4 => vec![b'v'; random.below(140)],
        5 if random.chance(10) => vec![b'v'; random.between(4_000, 20_000)],
        _ => format!("name {}", random.below(9)).into_bytes(),
    }
}

/// The next request that changes the stream `s`, whose last id is `last`.
fn change(random: &mut Random, last: &mut (u64, u64)) -> Vec<Vec<u8>> {
    let line = match random.below(40) {
        0 => format!("XTRIM s MAXLEN {}", random.between(20, 200)),
        1 => format!("XTRIM s MAXLEN ~ {}", random.between(20, 200)),
        2 => format!("CONFIG SET stream-node-max-entries {}", random.between(0, 120)),
        3 => format!("CONFIG SET stream-node-max-bytes {}", random.between(0, 5_000)),
        4..10 => format!("XDEL s {}-{}", last.0.saturating_sub(random.below(9) as u64), last.1),
        _ => {
            *last = match random.below(3) {
                0 => (last.0, last.1 + 1 + random.below(2) as u64),
                1 => (last.0 + 1 + random.below(3) as u64, 0),
                _ => (last.0 + (1 << random.below(20)), random.below(300) as u64),
            };
            let mut args = split(&format!("XADD s {}-{}", last.0, last.1));
            let (pairs, is_usual) = (random.between(1, 4), random.chance(80));
            for pair in 0..if is_usual { 2 } else { pairs } {
                let field = if is_usual { format!("field{pair}").into() } else { text(random) };
                args.extend([field, text(random)]);
            }
            return args;
        }
    };
    split(&line)
}

#[test]
fn a_dumped_stream_is_byte_for_byte_that_of_redis() {
    let seed = seed("a_dumped_stream_is_byte_for_byte_that_of_redis");
    let (server, oracle) = (Server::start(1), Oracle::start());
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    let mut random = Random::new(seed);
    for round in 0..20 {
        let mut last = (1_700_000_000_000, 0);
        let first = ["FLUSHALL", "CONFIG SET rdbcompression no", "XADD s 1-1 field0 a field1 7"];
        let mut requests: Vec<_> = first.map(split).to_vec();
        requests.extend((0..random.between(1, 700)).map(|_| change(&mut random, &mut last)));
        // Of one from which entries were taken both write the same type.
        let taken = format!("XDEL s 1-1 {}-{}", last.0, last.1);
        requests.push(split(&taken));
        for args in &requests {
            let (one, other) = (ours.command(args), redis.command(args));
            assert_eq!(shown(&one), shown(&other), "round {round}: {args:?}");
        }
        let (one, other) = (payload(&mut ours, "s"), payload(&mut redis, "s"));
        assert!(one == other, "round {round}\n{}\n{}", shown(&one), shown(&other));
        assert_eq!(one[0], 19);
    }
}

/// The type of the key in a payload of DUMP.
fn type_of(wire: &mut Wire, key: &str) -> u8 {
    payload(wire, key)[0]
}

#[test]
fn a_stream_that_only_grew_is_dumped_for_old_readers() {
    let server = Server::start(1);
    let mut wire = server.wire();
    fill(&mut wire, &mut Random::new(1));
    let types = ["simple", "grown", "empty", "s"].map(|key| type_of(&mut wire, key));
    // That the group of the empty one does not know how much it has read cannot be told either.
    assert_eq!(types, [15, 15, 19, 19]);
    wire.run("XGROUP CREATE simple g 0");
    wire.run("XREADGROUP GROUP g c COUNT 5 STREAMS simple >");
    // How much was read of it an old reader cannot find out.
    assert_eq!(type_of(&mut wire, "simple"), 19);
    wire.run("XREADGROUP GROUP g c STREAMS simple >");
    assert_eq!(type_of(&mut wire, "simple"), 15);
    wire.run("XDEL simple 300");
    assert_eq!(type_of(&mut wire, "simple"), 19);
}

fn redis_with(dump: &Path) -> Oracle {
    let (folder, name) = (dump.parent().unwrap(), dump.file_name().unwrap());
    let options = ["--dir", folder.to_str().unwrap(), "--dbfilename", name.to_str().unwrap()];
    Oracle::start_with(&options)
}

#[test]
fn dumps_with_streams_are_loaded_by_both_servers() {
    let seed = seed("dumps_with_streams_are_loaded_by_both_servers");
    let server = Server::start_in_real_time(MANY_SHARDS);
    let mut ours = server.wire();
    fill(&mut ours, &mut Random::new(seed));
    let before = told(&mut ours);
    ours.expect("SAVE", "+OK\r\n");
    redis_accepts(&server.dump_path());
    let copy = Folder::new();
    let path = copy.path().join("copy.rdb");
    fs::copy(server.dump_path(), &path).unwrap();
    let oracle = redis_with(&path);
    let mut redis = Wire::connect(oracle.addr());
    same(&told(&mut redis), &before);
    redis.expect("SAVE", "+OK\r\n");
    let folder = Arc::new(Folder::new());
    fs::copy(&path, folder.path().join("dump.my_rdb")).unwrap();
    let again = Server::start_in(folder, 4, |_| {});
    same(&told(&mut again.wire()), &before);
}

#[test]
fn the_sample_of_redis_is_loaded_whole() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb");
    let sample = samples.join("redis-7.0.15-streams.rdb");
    let folder = Arc::new(Folder::new());
    fs::copy(&sample, folder.path().join("dump.my_rdb")).unwrap();
    let copy = Folder::new();
    let path = copy.path().join("copy.rdb");
    fs::copy(&sample, &path).unwrap();
    let (server, oracle) = (Server::start_in(folder, 4, |_| {}), redis_with(&path));
    let (mut ours, mut redis) = (server.wire(), Wire::connect(oracle.addr()));
    ours.expect("DBSIZE", ":4\r\n");
    for key in ["\"a stream\"", "changed", "empty"] {
        let line = format!("XINFO STREAM {key} FULL COUNT 0");
        let expected = redis.run(&line);
        ours.expect(&line, expected);
        let line = format!("XREVRANGE {key} + -");
        let expected = redis.run(&line);
        ours.expect(&line, expected);
    }
}

/// Redis writes more about each consumer since 7.2, in a form that 7.0.15 does not read: what
/// Redis 8.2.3 itself answered after loading this dump is written down here.
#[test]
fn the_sample_of_a_later_redis_is_loaded_whole() {
    const ENTRIES: &str = "*2\r\n*2\r\n$3\r\n6-6\r\n*4\r\n$5\r\nfield\r\n$6\r\nvalue6\r\n$6\r\nnumber\r\n\
        $1\r\n6\r\n*2\r\n$3\r\n7-0\r\n*4\r\n$5\r\nother\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n";
    const GROUPS: &str = "*2\r\n*12\r\n$4\r\nname\r\n$6\r\nbehind\r\n$9\r\nconsumers\r\n:0\r\n\
        $7\r\npending\r\n:0\r\n$17\r\nlast-delivered-id\r\n$3\r\n3-0\r\n$12\r\nentries-read\r\n:2\r\n\
        $3\r\nlag\r\n$-1\r\n*12\r\n$4\r\nname\r\n$1\r\ng\r\n$9\r\nconsumers\r\n:3\r\n\
        $7\r\npending\r\n:4\r\n$17\r\nlast-delivered-id\r\n$3\r\n5-5\r\n$12\r\nentries-read\r\n:5\r\n\
        $3\r\nlag\r\n:2\r\n";
    const PENDING: &str = "*4\r\n:4\r\n$3\r\n1-1\r\n$3\r\n5-5\r\n*2\r\n*2\r\n$5\r\nalice\r\n$1\r\n2\r\n\
        *2\r\n$3\r\nbob\r\n$1\r\n2\r\n";
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb");
    let folder = Arc::new(Folder::new());
    fs::copy(samples.join("redis-8.2.3-streams.rdb"), folder.path().join("dump.my_rdb")).unwrap();
    let server = Server::start_in(folder, 4, |_| {});
    let mut wire = server.wire();
    wire.expect("XLEN changed", ":5\r\n");
    wire.expect("XRANGE changed 6 +", ENTRIES);
    wire.expect("XINFO GROUPS changed", GROUPS);
    wire.expect("XPENDING changed g", PENDING);
}

/// Saves go on while pairs of entries are added by transactions, read and acknowledged: every dump
/// is of one moment.
#[test]
fn a_dump_made_under_load_is_one_moment_of_all_streams() {
    const KEYS: usize = 6;
    let server = Server::start_in_real_time(MANY_SHARDS);
    let (addr, done) = (server.addr(), AtomicBool::new(false));
    let mut wire = server.wire();
    (0..KEYS).for_each(|key| drop(wire.run(&format!("XGROUP CREATE s{key} g 0 MKSTREAM"))));
    std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let mut wire = Wire::connect(addr);
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                wire.raw("MULTI\r\n");
                for key in 0..KEYS {
                    wire.raw(format!("XADD s{key} {n} number {n}\r\n"));
                    wire.raw(format!("XREADGROUP GROUP g c STREAMS s{key} >\r\n"));
                    wire.raw(format!("XTRIM s{key} MAXLEN 500\r\n"));
                    if n > 50 {
                        wire.raw(format!("XACK s{key} g {}\r\n", n - 50));
                    }
                }
                wire.raw("EXEC\r\n");
                let replies = 2 + KEYS * if n > 50 { 4 } else { 3 };
                (0..replies).for_each(|_| drop(wire.reply()));
            }
        });
        let _at_end = raise_at_end(done);
        let mut wire = Wire::connect(addr);
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(60));
            wire.expect("SAVE", "+OK\r\n");
            let folder = Arc::new(Folder::new());
            fs::copy(server.dump_path(), folder.path().join("dump.my_rdb")).unwrap();
            let loaded = Server::start_in(folder, 2, |_| {});
            let mut loaded = loaded.wire();
            let mut moments = BTreeSet::new();
            for key in 0..KEYS {
                let last = loaded.run(&format!("XREVRANGE s{key} + - COUNT 1"));
                let group = loaded.run(&format!("XPENDING s{key} g"));
                let lengths = loaded.run(&format!("XLEN s{key}"));
                moments.insert((last, group, lengths));
            }
            assert_eq!(
                moments.len(),
                1,
                "{:?}",
                moments.iter().map(|m| shown(&m.0)).collect::<Vec<_>>()
            );
        }
    });
}

/// The ids in a reply; nothing else there has their form.
fn ids_in(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(reply);
    let is_id = |part: &&str| {
        let halves = part.split_once('-');
        halves.is_some_and(|(ms, seq)| ms.len() > 9 && seq.parse::<u64>().is_ok())
    };
    text.split("\r\n").filter(is_id).map(str::to_owned).collect()
}

/// What a group has seen.
#[derive(Default)]
struct Seen {
    /// Entries that were delivered as new ones.
    fresh: Mutex<BTreeMap<String, usize>>,
    /// Entries that were acknowledged, and how often that succeeded.
    acknowledged: Mutex<BTreeMap<String, usize>>,
}

impl Seen {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

/// Reads for a group until `done`; now and then it leaves in the middle of a request, and takes
/// over what others have left.
fn consume(
    addr: SocketAddr,
    group: &str,
    number: usize,
    mut random: Random,
    seen: &Seen,
    done: &AtomicBool,
) {
    let mut wire = Wire::connect(addr);
    while !done.load(Ordering::Relaxed) {
        let claims = random.chance(10);
        let line = if claims {
            format!("XAUTOCLAIM s {group} c{number} 40 0 COUNT 20 JUSTID\r\n")
        } else {
            let (count, wait) = (random.between(1, 6), random.pick(&["1", "5", "30", "0"]));
            format!("XREADGROUP GROUP {group} c{number} COUNT {count} BLOCK {wait} STREAMS s >\r\n")
        };
        if wire.try_raw(line.as_bytes()).is_err() || random.chance(4) {
            // What was delivered meanwhile is left to the others.
            std::thread::sleep(Duration::from_micros(random.below(2_000) as u64));
            wire = Wire::connect(addr);
            continue;
        }
        let Ok(reply) = wire.try_reply() else {
            // It was killed.
            wire = Wire::connect(addr);
            continue;
        };
        for id in ids_in(&reply) {
            if !claims {
                *seen.fresh.lock().unwrap().entry(id.clone()).or_default() += 1;
            }
            if wire.try_raw(format!("XACK s {group} {id}\r\n").as_bytes()).is_err() {
                break;
            }
            // The answer of one that was killed is lost: it may have succeeded.
            match wire.try_reply() {
                Ok(reply) if reply == b":1\r\n" => {
                    *seen.acknowledged.lock().unwrap().entry(id).or_default() += 1;
                }
                Ok(_) => {}
                Err(_) => {
                    seen.acknowledged.lock().unwrap().entry(id).or_default();
                    break;
                }
            }
        }
    }
}

fn kill_some(addr: SocketAddr, mut random: Random, done: &AtomicBool, killed: &AtomicUsize) {
    let mut wire = Wire::connect(addr);
    while !done.load(Ordering::Relaxed) {
        let list = String::from_utf8(wire.run("CLIENT LIST")).unwrap();
        let readers = list.lines().filter(|line| line.contains("cmd=xreadgroup"));
        for line in readers.filter(|_| random.chance(10)).collect::<Vec<_>>() {
            let id = line.split(['=', ' ']).nth(1).unwrap();
            let reply = wire.run(&format!("CLIENT KILL ID {id}"));
            killed.fetch_add(usize::from(reply == b":1\r\n"), Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Eight producers, two groups of eight consumers, who are killed or leave on the way: each group
/// is given every entry once, and every entry is acknowledged in the end.
#[test]
fn every_entry_is_delivered_once_to_each_group() {
    const PRODUCERS: usize = 8;
    const ENTRIES: usize = 400;
    let seed = seed("every_entry_is_delivered_once_to_each_group");
    let server = Server::start_in_real_time(MANY_SHARDS);
    let (addr, done, killed) = (server.addr(), AtomicBool::new(false), AtomicUsize::new(0));
    let groups = [("one", Seen::default()), ("two", Seen::default())];
    let mut wire = server.wire();
    for (group, _) in &groups {
        wire.expect(&format!("XGROUP CREATE s {group} $ MKSTREAM"), "+OK\r\n");
    }
    std::thread::scope(|scope| {
        let (done, killed) = (&done, &killed);
        for (place, (group, seen)) in groups.iter().enumerate() {
            for number in 0..8 {
                let random = Random::new(seed.wrapping_add((place * 8 + number) as u64));
                scope.spawn(move || consume(addr, group, number, random, seen, done));
            }
        }
        scope.spawn(move || kill_some(addr, Random::new(seed ^ 1), done, killed));
        for producer in 0..PRODUCERS {
            scope.spawn(move || {
                let mut wire = Wire::connect(addr);
                for n in 0..ENTRIES {
                    wire.run(&format!("XADD s * producer {producer} number {n}"));
                    if n % 7 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        let (mut wire, began) = (Wire::connect(addr), Instant::now());
        let all = PRODUCERS * ENTRIES;
        loop {
            let pending = groups.iter().any(|(group, _)| {
                !wire.run(&format!("XPENDING s {group}")).starts_with(b"*4\r\n:0\r\n")
            });
            if !pending && groups.iter().all(|(_, seen)| seen.count() == all) {
                break;
            }
            let counts = groups.each_ref().map(|(_, seen)| seen.count());
            if began.elapsed() > Duration::from_secs(60) {
                done.store(true, Ordering::Relaxed);
                panic!("{counts:?} of {all} entries were acknowledged");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::Relaxed);
        // Those who wait for ever are woken.
        wire.run("XGROUP DESTROY s one");
        wire.run("XGROUP DESTROY s two");
    });
    for (group, seen) in &groups {
        let fresh = seen.fresh.lock().unwrap();
        assert!(fresh.values().all(|count| *count == 1), "{group} was given an entry twice");
        assert!(fresh.len() > PRODUCERS * ENTRIES / 2, "{group}: {} were read", fresh.len());
        let acknowledged = seen.acknowledged.lock().unwrap();
        assert!(acknowledged.values().all(|count| *count <= 1), "{group} acknowledged twice");
    }
    assert!(killed.load(Ordering::Relaxed) > 10, "hardly anybody was killed");
}
