//! The ceiling of memory: which keys give way and who is refused, beside redis-server; that what is
//! in use stays below it, and what the end of a key by it means to others.

use crate::harness::flag::raise_at_end;
use crate::harness::oracle::Oracle;
use crate::harness::process::Process;
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use crate::it;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const OK: &str = "+OK\r\n";
const QUEUED: &str = "+QUEUED\r\n";
const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Room for keys above what an empty server uses, in tests that fill it.
const ROOM_BYTES: u64 = 200 << 10;

fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

/// A field of INFO.
fn field(wire: &mut Wire, name: &str) -> u64 {
    let info = text(&wire.run("INFO everything"));
    let prefix = format!("{name}:");
    let value = info.lines().find_map(|line| line.strip_prefix(&prefix));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
}

fn number(reply: &[u8]) -> i64 {
    let number = text(reply);
    let digits = number.strip_prefix(':').unwrap_or_else(|| panic!("no number: {number}"));
    digits.trim_end().parse().unwrap()
}

#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Both servers, each in a process of its own: memory is counted for a whole process.
fn on_both(session: fn(SocketAddr)) {
    let folder = Folder::new();
    for shards in ["1", "16"] {
        session(Process::start(folder.path(), &["--save", "off", "--shards", shards]).addr());
    }
    session(Oracle::start().addr());
}

fn set_limit(wire: &mut Wire, policy: &str, room_bytes: u64) -> u64 {
    wire.expect("FLUSHALL", OK).expect("CONFIG SET maxmemory 0", OK);
    // Until it is freed it is in use, and would be room for more keys.
    wait_until(|| field(wire, "lazyfree_pending_objects") == 0);
    wire.expect(&format!("CONFIG SET maxmemory-policy {policy}"), OK);
    wire.expect("CONFIG RESETSTAT", OK);
    let limit = field(wire, "used_memory") + room_bytes;
    wire.expect(&format!("CONFIG SET maxmemory {limit}"), OK);
    limit
}

#[test]
fn every_policy_keeps_below_the_limit() {
    on_both(|addr| {
        let mut wire = Wire::connect(addr);
        for policy in ["lru", "lfu", "random", "ttl"] {
            for class in ["allkeys", "volatile"] {
                if (class, policy) == ("allkeys", "ttl") {
                    continue;
                }
                let limit = set_limit(&mut wire, &format!("{class}-{policy}"), ROOM_BYTES);
                let most = (0..8_000)
                    .map(|n| {
                        wire.expect(&format!("SETEX key:{n} 10000 xxxxxxxxxxxxxxxx"), OK);
                        if n % 500 == 0 { field(&mut wire, "used_memory") } else { 0 }
                    })
                    .max();
                // Room is still being made in the background: one more may go between two answers.
                let mut counts = || {
                    let evicted = field(&mut wire, "evicted_keys");
                    (evicted, number(&wire.run("DBSIZE")) as u64)
                };
                let complete = (0..100).map(|_| counts()).find(|(gone, left)| gone + left == 8_000);
                let (evicted, left) = complete.unwrap_or_else(|| panic!("{class}-{policy}"));
                assert!(left > 200 && evicted > 1_000, "{class}-{policy}: {left} left");
                let most = most.unwrap_or(0);
                assert!(most < limit + (32 << 10), "{class}-{policy}: {most}, limit {limit}");
            }
        }
    });
}

#[test]
fn only_keys_with_a_deadline_are_volatile() {
    on_both(|addr| {
        let mut wire = Wire::connect(addr);
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            set_limit(&mut wire, policy, ROOM_BYTES);
            (0..500).for_each(|n| drop(wire.run(&format!("SET stays:{n} xxxxxxxxxxxxxxxx"))));
            for n in 0..6_000 {
                wire.expect(&format!("SETEX goes:{n} 10000 xxxxxxxxxxxxxxxx"), OK);
            }
            let stays = (0..500).filter(|n| number(&wire.run(&format!("EXISTS stays:{n}"))) == 1);
            assert_eq!(stays.count(), 500, "{policy}");
            assert!(field(&mut wire, "evicted_keys") > 1_000, "{policy}");
            // Without any, nothing can give way.
            set_limit(&mut wire, policy, ROOM_BYTES);
            let refused =
                (0..6_000).find(|n| text(&wire.run(&format!("SET stays:{n} xxxxxxxx"))) == OOM);
            assert!(refused.is_some(), "{policy}");
            assert_eq!(field(&mut wire, "evicted_keys"), 0, "{policy}");
        }
    });
}

#[test]
fn the_earliest_deadlines_go_first() {
    on_both(|addr| {
        let mut wire = Wire::connect(addr);
        set_limit(&mut wire, "volatile-ttl", 2 * ROOM_BYTES);
        wire.expect("CONFIG SET maxmemory-samples 10", OK);
        for n in 0..6_000 {
            wire.expect(&format!("SETEX key:{n} {} xxxxxxxxxxxxxxxx", 10_000 + n), OK);
        }
        let evicted = field(&mut wire, "evicted_keys") as i64;
        let late =
            (6_000 - 500..6_000).filter(|n| number(&wire.run(&format!("EXISTS key:{n}"))) == 1);
        assert!(evicted > 1_000 && late.count() > 480, "{evicted} evicted");
    });
}

/// Old keys, of which each third is used again and again.
const OLD_KEYS: usize = 2_700;
const USED_KEYS: usize = OLD_KEYS / 3;

/// How many of the used and of the unused keys are left when others have taken the place of a third.
fn kept_of_used(addr: SocketAddr, policy: &str) -> (usize, usize) {
    let mut wire = Wire::connect(addr);
    set_limit(&mut wire, policy, 4 * ROOM_BYTES);
    wire.expect("CONFIG SET maxmemory-samples 10", OK);
    (0..OLD_KEYS).for_each(|n| drop(wire.run(&format!("SET key:{n} xxxxxxxxxxxxxxxx"))));
    for _ in 0..3 {
        // The clock of uses has seconds.
        std::thread::sleep(Duration::from_millis(1_100));
        for _ in 0..4 {
            (0..USED_KEYS).for_each(|n| drop(wire.run(&format!("GET key:{}", n * 3))));
        }
    }
    // Room for what the server itself still needs, and few new keys: the samples would hardly have
    // any old ones beside many.
    let limit = field(&mut wire, "used_memory") + ROOM_BYTES / 4;
    wire.expect(&format!("CONFIG SET maxmemory {limit}"), OK);
    let mut next = 0;
    while field(&mut wire, "evicted_keys") < OLD_KEYS as u64 / 3 {
        for _ in 0..50 {
            wire.expect(&format!("SET new:{next} xxxxxxxxxxxxxxxx"), OK);
            next += 1;
        }
        assert!(next < 100_000);
    }
    let mut is_there = |n: usize| number(&wire.run(&format!("EXISTS key:{n}"))) == 1;
    let used = (0..USED_KEYS).filter(|n| is_there(n * 3)).count();
    (used, (0..OLD_KEYS).filter(|n| n % 3 != 0 && is_there(*n)).count())
}

#[test]
fn what_is_used_stays() {
    let folder = Folder::new();
    let process = Process::start(folder.path(), &["--save", "off", "--shards", "16"]);
    for policy in ["allkeys-lru", "allkeys-lfu"] {
        let (used, unused) = kept_of_used(process.addr(), policy);
        assert!(used > 810, "{policy}: {used} of {USED_KEYS} that are used are left");
        // By frequency those are worth no less than the ones that come.
        let are_last = policy == "allkeys-lru" && unused > 1_200;
        assert!(!are_last, "{policy}: {unused} of those that are not used are left");
    }
}

/// A session that asks for the impossible, whose replies the two servers must agree on.
fn refused(addr: SocketAddr) -> Vec<String> {
    let mut wire = Wire::connect(addr);
    let before = "MULTI|SET k 1|GET k|EXEC|RPUSH l a b|SET n 5|FUNCTION LOAD \
        \"#!lua name=lib\\nredis.register_function{function_name='f', flags={'allow-oom'}, \
        callback=function(k) return redis.call('SET', k[1], 'f') end}\\n\
        redis.register_function('g', function(k) return redis.call('SET', k[1], 'g') end)\\n\
        redis.register_function{function_name='h', flags={'no-writes'}, \
        callback=function(k) return redis.call('GET', k[1]) end}\"";
    let short = "SET k 2|GET k|DEL nosuch|LPUSH l x|LPOP l|INCR n|APPEND k x|EXPIRE k 100|\
        SETRANGE k 1000 x|COPY k c|RENAME k r|RENAME r k|PERSIST k|GETSET k x|MSET a 1 b 2|\
        SADD s a|SREM s a|ZADD z 1 a|HSET h f v|HDEL h f|XADD x * f v|PFADD p a|BITOP NOT d k|\
        SUNIONSTORE d k|SORT l STORE d|SORT l|GETEX k EX 100|PUBLISH c m|PING|\
        EVAL \"return redis.call('SET', KEYS[1], 'x')\" 1 k|\
        EVAL \"return redis.pcall('SET', KEYS[1], 'x')\" 1 k|\
        EVAL \"return redis.call('GET', KEYS[1])\" 1 k|\
        EVAL \"redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')\" 1 k|\
        EVAL \"#!lua\\nreturn 1\" 0|EVAL \"#!lua flags=allow-oom\\nreturn redis.call('SET', \
        KEYS[1], 'y')\" 1 k|EVAL \"#!lua flags=no-writes\\nreturn redis.call('GET', KEYS[1])\" 1 k|\
        FCALL f 1 k|FCALL g 1 k|FCALL h 1 k|FCALL_RO h 1 k|GET k|\
        FUNCTION LOAD \"#!lua name=other\\nredis.register_function('o', function() end)\"|\
        MULTI|GET k|EXEC|MULTI|SET k 1|GET k|EXEC|MULTI|DISCARD|MULTI|PING|DISCARD|\
        WATCH k|MULTI|EXEC|UNWATCH|EVAL \"return 1\" 0";
    let queued = "MULTI|SET k 9|GET k";
    let queued_reads = "MULTI|GET k|DEL l";
    let lines = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
    let mut replies = Vec::new();
    let mut run = |wire: &mut Wire, line: &str| {
        let reply = wire.command(&crate::ceiling::words(line));
        replies.push(format!("{line} -> {}", text(&reply)));
    };
    lines(before).iter().for_each(|line| run(&mut wire, line));
    wire.expect("CONFIG SET maxmemory 1", OK);
    lines(short).iter().for_each(|line| run(&mut wire, line));
    // What was queued before is looked at again.
    let mut other = Wire::connect(addr);
    for queued in [queued, queued_reads] {
        other.expect("CONFIG SET maxmemory 0", OK);
        lines(queued).iter().for_each(|line| run(&mut wire, line));
        other.expect("CONFIG SET maxmemory 1", OK);
        run(&mut wire, "EXEC");
    }
    run(&mut wire, "INFO errorstats");
    other.expect("CONFIG SET maxmemory 0", OK);
    run(&mut wire, "SET k 2");
    replies
}

/// The words of a line, of which those in double quotes have blanks and line ends.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate().flat_map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.replace("\\n", "\n")],
    });
    parts.collect()
}

#[test]
fn what_needs_memory_is_refused_as_redis_refuses_it() {
    let oracle = Oracle::start();
    let expected = refused(oracle.addr());
    for shards in [1, MANY_SHARDS] {
        let got = refused(Server::start(shards).addr());
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!(got, expected);
        }
        assert_eq!(got.len(), expected.len());
    }
}

/// What others learn of the end of keys that gave way.
fn told(addr: SocketAddr) -> Vec<String> {
    let [mut wire, mut listener, mut other] = [(); 3].map(|()| Wire::connect(addr));
    let mut tracker = Wire::connect_resp3(addr);
    wire.expect("CONFIG SET notify-keyspace-events KEe", OK);
    wire.expect("CONFIG SET maxmemory-policy allkeys-random", OK);
    wire.expect("SET watched 1", OK);
    tracker.expect("CLIENT TRACKING ON", OK);
    tracker.expect("GET watched", "$1\r\n1\r\n");
    other.expect("WATCH watched", OK);
    listener.send("PSUBSCRIBE *").reply();
    wire.expect("CONFIG SET maxmemory 1", OK);
    let mut learnt = vec![text(&listener.reply()), text(&listener.reply())];
    learnt.push(text(&tracker.reply()));
    wire.expect("DBSIZE", ":0\r\n").expect("CONFIG SET maxmemory 0", OK);
    other.expect("MULTI", OK).expect("PING", QUEUED);
    learnt.push(text(&other.run("EXEC")));
    learnt.push(field(&mut wire, "evicted_keys").to_string());
    wire.expect("CONFIG SET notify-keyspace-events \"\"", OK);
    learnt
}

#[test]
fn others_learn_that_a_key_gave_way() {
    let expected = told(Oracle::start().addr());
    for shards in [1, MANY_SHARDS] {
        assert_eq!(told(Server::start(shards).addr()), expected);
    }
}

it!(a_lower_limit_acts_at_once_and_large_values_go_as_well, |server| {
    let mut wire = server.wire();
    for n in 0..20 {
        for element in 0..200 {
            wire.run(&format!("RPUSH list:{n} {element:050}"));
        }
    }
    wire.expect("CONFIG SET maxmemory-policy allkeys-lru", OK);
    wire.expect("CONFIG SET maxmemory 1", OK);
    wait_until(|| number(&wire.run("DBSIZE")) == 0);
    assert_eq!(field(&mut wire, "evicted_keys"), 20);
    wire.expect("SET k v", OOM);
    wait_until(|| field(&mut wire, "total_eviction_exceeded_time") > 1);
    assert!(field(&mut wire, "current_eviction_exceeded_time") > 0);
    wire.expect("CONFIG SET maxmemory 0", OK).expect("SET k v", OK);
    wire.expect("CONFIG SET maxmemory 10gb", OK).expect("SET k v", OK);
    assert_eq!(field(&mut wire, "current_eviction_exceeded_time"), 0);
});

/// Bytes of the process in physical memory.
fn resident_bytes(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024
}

#[test]
fn a_fill_at_the_ceiling_stays_below_it_while_reads_go_on() {
    const LIMIT: u64 = 256 << 20;
    const VALUE_BYTES: usize = 1_000;
    let folder = Folder::new();
    let options = ["--save", "off", "--threads", "2"];
    let process = Process::start(folder.path(), &options);
    let mut control = process.wire();
    control.expect(&format!("CONFIG SET maxmemory {LIMIT}"), OK);
    control.expect("CONFIG SET maxmemory-policy allkeys-lru", OK);
    let is_over = AtomicBool::new(false);
    let fill = |client: usize| {
        let mut wire = process.wire();
        let value = "v".repeat(VALUE_BYTES);
        for batch in 0..2_000 {
            for n in 0..100 {
                wire.send(&format!("SET key:{client}:{} {value}", batch * 100 + n));
            }
            for _ in 0..100 {
                wire.expect_reply(OK);
            }
        }
    };
    let read = || {
        let (mut wire, mut reads) = (process.wire(), 0_u64);
        while !is_over.load(Ordering::Relaxed) {
            wire.run(&format!("GET key:0:{}", reads % 10_000));
            reads += 1;
        }
        reads
    };
    std::thread::scope(|scope| {
        let at_end = raise_at_end(&is_over);
        let fillers = [0, 1].map(|client| scope.spawn(move || fill(client)));
        let reader = scope.spawn(read);
        let (mut used, mut resident) = (0, 0);
        while !fillers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            used = used.max(field(&mut control, "used_memory"));
            resident = resident.max(resident_bytes(&process));
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(at_end);
        assert!(reader.join().unwrap() > 1_000);
        assert!(used > LIMIT * 9 / 10 && used < LIMIT * 11 / 10, "{used} of {LIMIT} used");
        assert!(resident < LIMIT * 11 / 10, "{resident} of {LIMIT} resident");
    });
    assert!(field(&mut control, "evicted_keys") > 100_000);
}

/// Saves under one policy, and returns what OBJECT tells of the keys in another server that reads
/// the dump.
fn stored(policy: &str, question: &str) -> [i64; 2] {
    let folder = Folder::new();
    let mut process = Process::start(folder.path(), &["--save", "off"]);
    let mut wire = process.wire();
    let dumped = |wire: &mut Wire, key: &str| {
        let reply = wire.run(&format!("DUMP {key}"));
        let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        reply[start..reply.len() - 2].to_vec()
    };
    wire.expect(&format!("CONFIG SET maxmemory-policy {policy}"), OK);
    wire.expect("SET k v", OK).run("RPUSH l a b");
    let option: [&[u8]; 2] =
        if question == "FREQ" { [b"FREQ", b"77"] } else { [b"IDLETIME", b"5000"] };
    for key in ["k", "l"] {
        let payload = dumped(&mut wire, key);
        let start: [&[u8]; 4] = [b"RESTORE", key.as_bytes(), b"0", &payload];
        let line = [&start[..], &[&b"REPLACE"[..]], &option].concat();
        assert_eq!(text(&wire.command(&line)), OK);
    }
    let payload = dumped(&mut wire, "k");
    let start: [&[u8]; 5] = [b"RESTORE", b"k", b"100000000", &payload, b"REPLACE"];
    let line = [&start[..], &option].concat();
    assert_eq!(text(&wire.command(&line)), OK);
    wire.expect("SAVE", OK);
    process.kill();
    let path = folder.path().to_str().unwrap().to_owned();
    let options = ["--dir", &path, "--dbfilename", "dump.my_rdb", "--maxmemory-policy", policy];
    let ask = |mut wire: Wire| {
        let [k, l] = ["k", "l"].map(|key| wire.run(&format!("OBJECT {question} {key}")));
        assert!(number(&k).abs_diff(number(&l)) <= 1);
        number(&k)
    };
    let theirs = {
        let oracle = Oracle::start_with(&options);
        let wire = Wire::connect(oracle.addr());
        ask(wire)
    };
    let file = folder.path().join("my.conf");
    std::fs::write(&file, format!("maxmemory-policy {policy}\nsave \"\"\n")).unwrap();
    let process = Process::start(folder.path(), &["my.conf"]);
    [theirs, ask(process.wire())]
}

#[test]
fn a_dump_tells_when_and_how_often_keys_were_used() {
    let [theirs, ours] = stored("allkeys-lfu", "FREQ");
    assert_eq!((theirs, ours), (77, 77));
    for idle in stored("volatile-lru", "IDLETIME") {
        assert!((5_000..5_030).contains(&idle), "{idle}");
    }
    // Without such a policy there is no use in telling.
    for idle in stored("noeviction", "IDLETIME") {
        assert!(idle < 30, "{idle}");
    }
}

/// True while the server has a client of this name.
fn is_connected(control: &mut Wire, name: &str) -> bool {
    text(&control.run("CLIENT LIST")).contains(&format!("name={name} "))
}

/// A client that does something until it is disconnected for it.
fn greedy(addr: SocketAddr, name: &str, mut act: impl FnMut(&mut Wire, usize) -> bool) {
    let mut control = Wire::connect(addr);
    control.expect("CLIENT NO-EVICT ON", OK).expect("CONFIG RESETSTAT", OK);
    control.expect("CONFIG SET maxmemory-clients 300000", OK);
    let mut modest = Wire::connect(addr);
    modest.expect("CLIENT SETNAME modest", OK);
    let mut wire = Wire::connect(addr);
    wire.expect(&format!("CLIENT SETNAME {name}"), OK);
    assert!(is_connected(&mut control, name));
    let most = (0..20_000).find(|n| !act(&mut wire, *n));
    wait_until(|| !is_connected(&mut control, name));
    assert!(most.is_none_or(|most| most > 0), "{name}: disconnected at once");
    assert!(is_connected(&mut control, "modest"), "{name}");
    assert_eq!(field(&mut control, "evicted_clients"), 1, "{name}");
    control.expect("CONFIG SET maxmemory-clients 0", OK);
}

#[test]
fn the_client_that_uses_most_memory_is_disconnected() {
    on_both(|addr| {
        let large = "v".repeat(100_000);
        let run = |wire: &mut Wire, line: &str| {
            wire.try_raw(&encoded(line)).is_ok() && wire.try_reply().is_ok()
        };
        greedy(addr, "queues", |wire, n| {
            let line = if n == 0 { "MULTI".to_owned() } else { format!("SET k {large}") };
            run(wire, &line)
        });
        greedy(addr, "watches", |wire, n| run(wire, &format!("WATCH key:{n}")));
        greedy(addr, "listens", |wire, n| run(wire, &format!("SUBSCRIBE channel:{n}")));
        greedy(addr, "is-told", |wire, n| {
            run(wire, &format!("CLIENT TRACKING ON BCAST PREFIX {n:012}"))
        });
        greedy(addr, "asks", |wire, n| {
            let request = format!("*2\r\n$3\r\nGET\r\n$400000\r\n{large}");
            wire.try_raw(if n == 0 { request.as_bytes() } else { large.as_bytes() }).is_ok()
                && n < 5
        });
        Wire::connect(addr).expect(&format!("SET large {large}"), OK);
        // It takes some megabytes until the system takes no more for it.
        greedy(addr, "never-reads", |wire, n| {
            wire.try_raw(&encoded("GET large")).is_ok() && n < 300
        });
    });
}

fn encoded(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let word = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    let body: String = words.iter().map(word).collect();
    format!("*{}\r\n{body}", words.len()).into_bytes()
}

#[test]
fn who_asked_not_to_be_disconnected_is_not() {
    on_both(|addr| {
        let [mut control, mut wire] = [(); 2].map(|()| Wire::connect(addr));
        control.expect("CLIENT NO-EVICT ON", OK);
        control.expect("CONFIG SET maxmemory-clients 300000", OK);
        wire.expect("CLIENT SETNAME stays", OK).expect("CLIENT NO-EVICT ON", OK);
        let large = "v".repeat(500_000);
        wire.expect("MULTI", OK).expect(&format!("SET k {large}"), QUEUED);
        wire.expect("EXEC", "*1\r\n+OK\r\n");
        assert!(is_connected(&mut control, "stays"));
        assert_eq!(field(&mut control, "evicted_clients"), 0);
        control.expect("CONFIG SET maxmemory-clients 0", OK);
    });
}
