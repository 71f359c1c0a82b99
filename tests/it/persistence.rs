//! Keeping data: what was acknowledged is there after the end, whatever the end was.

use crate::harness::dump::{read_dump, redis_accepts, strays};
use crate::harness::flag::raise_at_end;
use crate::harness::oracle::Oracle;
use crate::harness::process::{free_port, refusal};
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::{Wire, bulks};
use crate::it;
use my_redis::command::context::ShutdownMode;
use my_redis::data::ValueRef;
use my_redis::keyspace::planted::{Bug, plant};
use my_redis::keyspace::{Entry, Keyspace, Uses};
use my_redis::persist::load::{LoadProgress, load};
#[cfg(debug_assertions)]
use my_redis::persist::planted::{Bug as SaveBug, plant as plant_in_saving};
use my_redis::util::clock::UnixMillis;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A planted bug is of the whole process: whoever saves while others write runs alone.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fill(wire: &mut Wire) {
    let long = "x".repeat(20_000);
    for line in [
        "SET string value".to_owned(),
        "SET number -129".to_owned(),
        "SET empty \"\"".to_owned(),
        format!("SET long {long}"),
        "SET dies value PXAT 33000000000123".to_owned(),
        "RPUSH list a b c".to_owned(),
        "HSET hash f1 v1 f2 v2".to_owned(),
        "EXPIREAT hash 33000000000".to_owned(),
        "SADD numbers 3 -7 70000 5000000000".to_owned(),
        "SADD set a \"\" 17".to_owned(),
        "ZADD zset 1 a 2.5 b -inf c inf d -1e300 e".to_owned(),
        "PEXPIREAT zset 33000000000123".to_owned(),
    ] {
        let reply = wire.run(&line);
        assert!(reply[0] != b'-', "{line}: {}", String::from_utf8_lossy(&reply));
    }
    for n in 0..1_000 {
        wire.run(&format!("RPUSH biglist element:{n}"));
        wire.run(&format!("HSET bighash field:{n} value:{n}"));
        wire.run(&format!("SADD bignumbers {n}"));
        wire.run(&format!("SADD bigset member:{n}"));
        wire.run(&format!("ZADD bigzset {} member:{n}", n % 7));
    }
}

fn check(wire: &mut Wire) {
    wire.expect("DBSIZE", ":15\r\n");
    wire.expect("SMEMBERS numbers", bulks(&["-7", "3", "70000", "5000000000"]));
    wire.expect("SCARD set", ":3\r\n").expect("SMISMEMBER set a \"\"", "*2\r\n:1\r\n:1\r\n");
    let members = ["c", "-inf", "e", "-1.0000000000000001e+300", "a", "1", "b", "2.5", "d", "inf"];
    wire.expect("ZRANGE zset 0 -1 WITHSCORES", bulks(&members));
    wire.expect("PEXPIRETIME zset", ":33000000000123\r\n").expect("SCARD bignumbers", ":1000\r\n");
    wire.expect("SISMEMBER bignumbers 999", ":1\r\n").expect("SCARD bigset", ":1000\r\n");
    wire.expect("SISMEMBER bigset member:7", ":1\r\n").expect("ZCARD bigzset", ":1000\r\n");
    wire.expect("ZCOUNT bigzset 3 (4", ":143\r\n").expect("ZRANK bigzset member:6", ":936\r\n");
    wire.expect("GET string", "$5\r\nvalue\r\n").expect("GET number", "$4\r\n-129\r\n");
    wire.expect("GET empty", "$0\r\n\r\n").expect("STRLEN long", ":20000\r\n");
    wire.expect("PEXPIRETIME dies", ":33000000000123\r\n");
    wire.expect("LRANGE list 0 -1", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    wire.expect("HGET hash f2", "$2\r\nv2\r\n").expect("EXPIRETIME hash", ":33000000000\r\n");
    wire.expect("LLEN biglist", ":1000\r\n").expect("LINDEX biglist 999", "$11\r\nelement:999\r\n");
    wire.expect("HLEN bighash", ":1000\r\n").expect("HGET bighash field:7", "$7\r\nvalue:7\r\n");
    wire.expect("EXPIRETIME string", ":-1\r\n");
}

/// Another folder with the same dump: one in use starts no second server.
fn copy_of_folder(server: &Server) -> Arc<Folder> {
    let folder = Folder::new();
    fs::copy(server.dump_path(), folder.path().join("dump.my_rdb")).unwrap();
    Arc::new(folder)
}

it!(everything_is_there_after_a_save_and_a_start, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    wire.expect("SAVE", "+OK\r\n");
    redis_accepts(&server.dump_path());
    let again = Server::start_in(copy_of_folder(server), 4, |_| {});
    check(&mut again.wire());
});

/// The members of all sets in an entry, with their scores.
fn members(entry: &Entry) -> Vec<(Vec<u8>, f64)> {
    let mut all = Vec::new();
    match entry.value() {
        ValueRef::Set(set) => set.for_each(|member| all.push((member.to_vec(), 0.0))),
        ValueRef::SortedSet(set) => set.for_all(|member, score| all.push((member.to_vec(), score))),
        _ => {}
    }
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all
}

it!(sets_that_change_during_a_snapshot_are_in_it_as_they_were, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    let mut snapshot = server.keyspace().begin_snapshot(u64::MAX).unwrap();
    for line in [
        "SADD numbers 1 x",
        "SREM set a",
        "ZADD zset 9 a 1 f",
        "SPOP bignumbers 700",
        "SMOVE bigset set member:5",
        "SUNIONSTORE bigset bigset bignumbers",
        "ZREMRANGEBYSCORE bigzset 2 5",
        "ZPOPMAX bigzset 50",
        "ZUNIONSTORE bigzset 2 bigzset zset WEIGHTS 3 3",
        "DEL zset",
    ] {
        let reply = wire.run(line);
        assert!(reply[0] != b'-' && reply != b":0\r\n", "{line}");
    }
    for n in 0..1_000 {
        wire.run(&format!("ZINCRBY bigzset 2.5 member:{n}"));
        wire.run(&format!("SADD bigset new:{n}"));
    }
    let mut saved = BTreeMap::new();
    let mut save = |_: u32, entry: &Entry| {
        assert!(saved.insert(entry.key().to_vec(), members(entry)).is_none());
    };
    while snapshot.step(&mut save).unwrap() {}
    let pairs = |pairs: &[(&str, f64)]| -> Vec<(Vec<u8>, f64)> {
        pairs.iter().map(|(member, score)| (member.as_bytes().to_vec(), *score)).collect()
    };
    assert_eq!(saved[&b"set"[..]], pairs(&[("", 0.0), ("17", 0.0), ("a", 0.0)]));
    let numbers = [("-7", 0.0), ("3", 0.0), ("5000000000", 0.0), ("70000", 0.0)];
    assert_eq!(saved[&b"numbers"[..]], pairs(&numbers));
    let infinite = f64::INFINITY;
    let scores = [("a", 1.0), ("b", 2.5), ("c", -infinite), ("d", infinite), ("e", -1e300)];
    assert_eq!(saved[&b"zset"[..]], pairs(&scores));
    let name = |key: &str, n: usize| match key {
        "bignumbers" => n.to_string().into_bytes(),
        _ => format!("member:{n}").into_bytes(),
    };
    for (key, modulus) in [("bignumbers", 1), ("bigset", 1), ("bigzset", 7)] {
        let mut all: Vec<_> = (0..1_000).map(|n| (name(key, n), (n % modulus) as f64)).collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        assert!(saved[key.as_bytes()] == all, "{key} is not as it was");
    }
});

it!(the_end_saves_when_saving_is_configured, |server| {
    fill(&mut server.wire());
    assert!(server.shut_down(ShutdownMode::Save));
    let again = Server::start_in(Arc::clone(server.folder()), 1, |_| {});
    check(&mut again.wire());
});

it!(a_key_whose_deadline_passed_meanwhile_is_not_loaded, |server| {
    let mut wire = server.wire();
    let soon = server.now_ms() + 1_000;
    wire.expect(&format!("SET dies value PXAT {soon}"), "+OK\r\n");
    wire.expect("SET stays value", "+OK\r\n").expect("SAVE", "+OK\r\n");
    thread::sleep(Duration::from_millis(1_100));
    let again = Server::start_in(copy_of_folder(server), 1, |_| {});
    again.wire().expect("KEYS *", "*1\r\n$5\r\nstays\r\n");
});

it!(a_failed_save_leaves_the_old_dump_and_is_told, |server| {
    let mut wire = server.wire();
    wire.expect("SET key old", "+OK\r\n").expect("SAVE", "+OK\r\n");
    let before = fs::read(server.dump_path()).unwrap();
    // A folder in the place of the temporary file: creating it fails.
    let temporary = format!("dump.my_rdb.{}.temp", std::process::id());
    let temporary = server.folder().path().join(temporary);
    fs::create_dir(&temporary).unwrap();
    wire.expect("SET key new", "+OK\r\n");
    let reply = wire.run("SAVE");
    assert!(reply.starts_with(b"-ERR"), "{}", String::from_utf8_lossy(&reply));
    let info = String::from_utf8(wire.run("INFO persistence")).unwrap();
    assert!(info.contains("rdb_last_bgsave_status:err"), "{info}");
    assert_eq!(fs::read(server.dump_path()).unwrap(), before);
    wire.expect("GET key", "$3\r\nnew\r\n");
    fs::remove_dir(&temporary).unwrap();
    wire.expect("SAVE", "+OK\r\n");
    let info = String::from_utf8(wire.run("INFO persistence")).unwrap();
    assert!(info.contains("rdb_last_bgsave_status:ok"), "{info}");
    assert_eq!(read_dump(&server.dump_path())[&b"key"[..]], b"new");
});

#[test]
fn a_save_by_the_rules_keeps_changes_made_during_it_as_unsaved() {
    let server = Server::start(MANY_SHARDS);
    let mut wire = server.wire();
    wire.expect("SET a 1", "+OK\r\n").expect("SET b 1", "+OK\r\n");
    assert_eq!(server.keyspace().changes_since_save(), 2);
    wire.expect("SAVE", "+OK\r\n");
    assert_eq!(server.keyspace().changes_since_save(), 0);
    wire.expect("SET c 1", "+OK\r\n");
    let mut snapshot = server.keyspace().begin_snapshot(u64::MAX).unwrap();
    let epoch = snapshot.epoch();
    wire.expect("SET d 1", "+OK\r\n");
    while snapshot.step(&mut |_, _| ()).unwrap() {}
    drop(snapshot);
    server.keyspace().forget_saved_changes(epoch);
    assert_eq!(server.keyspace().changes_since_save(), 1, "d came after the cut");
}

/// A field of INFO.
fn info(wire: &mut Wire, field: &str) -> String {
    let info = String::from_utf8(wire.run("INFO everything")).unwrap();
    let value = info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    value.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
}

/// Waits until a field of INFO has a value.
#[track_caller]
fn wait_for(wire: &mut Wire, field: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let value = info(wire, field);
        if value == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{field} stays {value}, not {expected}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_rules_save_when_one_of_them_says_so_whatever_the_clock_does() {
    let server = Server::start(MANY_SHARDS);
    let mut wire = server.wire();
    wire.expect("SET a 1", "+OK\r\n").expect("SET b 1", "+OK\r\n");
    // There are too few changes for the quick rule, and the slow one takes its time.
    wire.expect("CONFIG SET save \"1 3 3600 1\"", "+OK\r\n");
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(info(&mut wire, "rdb_saves"), "0");
    // An hour back: what has passed since the last save has passed.
    server.advance_ms(-3_600_000);
    wire.expect("SET c 1", "+OK\r\n");
    wait_for(&mut wire, "rdb_saves", "1");
    assert_eq!(info(&mut wire, "rdb_changes_since_last_save"), "0");
    assert_eq!(read_dump(&server.dump_path()).len(), 3);
    // Nothing has changed: nothing is saved. Without rules nothing is saved either.
    wire.expect("CONFIG SET save \"1 1\"", "+OK\r\n");
    thread::sleep(Duration::from_millis(1_300));
    assert_eq!(info(&mut wire, "rdb_saves"), "1");
    wire.expect("CONFIG SET save \"\"", "+OK\r\n").expect("SET d 1", "+OK\r\n");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(info(&mut wire, "rdb_saves"), "1");
    wire.expect("CONFIG SET save \"1 1\"", "+OK\r\n");
    wait_for(&mut wire, "rdb_saves", "2");
    let last = info(&mut wire, "rdb_last_save_time");
    wire.expect("LASTSAVE", format!(":{last}\r\n"));
}

#[cfg(debug_assertions)]
it!(a_panic_of_the_saving_thread_is_a_failed_save, |server| {
    let mut wire = server.wire();
    fill(&mut wire);
    wire.expect("SAVE", "+OK\r\n").expect("CONFIG SET save \"86400 1\"", "+OK\r\n");
    let before = fs::read(server.dump_path()).unwrap();
    for asks in ["SAVE", "BGSAVE"] {
        wire.expect("SET number 1", "+OK\r\n");
        plant_in_saving(SaveBug::PanicWhileSaving, &server.services().saver.path());
        let reply = wire.run(asks);
        assert!(reply == b"-ERR\r\n" || reply.starts_with(b"+Background"), "{reply:?}");
        wait_for(&mut wire, "rdb_bgsave_in_progress", "0");
        wait_for(&mut wire, "rdb_last_bgsave_status", "err");
        wire.expect_start("SET number 2", "-MISCONF ").expect("GET number", "$1\r\n1\r\n");
        assert_eq!(fs::read(server.dump_path()).unwrap(), before);
        assert!(strays(server.folder().path()).is_empty());
        // What was put aside for the save that broke off is gone, and a new one is whole.
        assert_eq!(info(&mut wire, "my_redis_snapshot_aside_keys"), "0");
        wire.expect("SAVE", "+OK\r\n").expect("SET number -129", "+OK\r\n");
        wait_for(&mut wire, "rdb_last_bgsave_status", "ok");
        wire.expect("SAVE", "+OK\r\n");
        redis_accepts(&server.dump_path());
        let again = Server::start_in(copy_of_folder(server), 4, |_| {});
        check(&mut again.wire());
        fs::write(server.dump_path(), &before).unwrap();
    }
});

#[cfg(debug_assertions)]
#[test]
fn a_panic_of_the_task_behind_the_rules_is_counted_and_the_rules_go_on() {
    let server = Server::start(1);
    let mut wire = server.wire();
    assert_eq!(info(&mut wire, "my_redis_background_restarts"), "0");
    plant_in_saving(SaveBug::PanicInTheRules, &server.services().saver.path());
    wait_for(&mut wire, "my_redis_background_restarts", "1");
    wire.expect("SET key value", "+OK\r\n").expect("CONFIG SET save \"1 1\"", "+OK\r\n");
    wait_for(&mut wire, "rdb_saves", "1");
    assert_eq!(info(&mut wire, "my_redis_background_restarts"), "1");
    // The sweeper as well: keys go on to expire.
    plant_in_saving(SaveBug::PanicInTheSweeper, &server.services().saver.path());
    wire.expect("SET dies value PX 100", "+OK\r\n");
    server.advance_ms(1_000);
    wait_for(&mut wire, "my_redis_background_restarts", "2");
    wait_for(&mut wire, "expired_keys", "1");
}

#[test]
fn info_persistence_has_the_fields_of_redis_in_their_order() {
    let server = Server::start(1);
    let oracle = Oracle::start();
    let fields = |mut wire: Wire| -> Vec<String> {
        wire.expect("SET key value", "+OK\r\n").expect("SAVE", "+OK\r\n");
        let info = String::from_utf8(wire.run("INFO persistence")).unwrap();
        let fields = info.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned()));
        fields.filter(|field| !field.starts_with("my_redis_")).collect()
    };
    let (ours, theirs) = (fields(server.wire()), fields(Wire::connect(oracle.addr())));
    assert!(theirs.len() > 20 && ours == theirs, "{ours:?}\n{theirs:?}");
}

/// Moves tokens, writes pairs and numbers in order while dumps are made; returns how many of
/// `dumps` dumps are of no single moment.
fn torn_dumps(server: &Server, dumps: usize) -> usize {
    const TOKENS: usize = 8;
    const PLACES: usize = 64;
    let mut wire = server.wire();
    for n in 0..20_000 {
        wire.send(&format!("SET filler:{n} 0123456789"));
    }
    for _ in 0..20_000 {
        wire.reply();
    }
    wire.expect("MSET left 0 right 0 first 0 second 0", "+OK\r\n");
    let stop = AtomicBool::new(false);
    let running = || !stop.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let at_end = raise_at_end(&stop);
        for token in 0..TOKENS {
            wire.expect(&format!("SET token:{token}:0 {token}"), "+OK\r\n");
            scope.spawn(move || {
                let mut wire = server.wire();
                let mut place = 0;
                for n in 1_usize.. {
                    if !running() {
                        break;
                    }
                    let next = (place + 1 + n % 7) % PLACES;
                    if next != place {
                        let line = format!("RENAME token:{token}:{place} token:{token}:{next}");
                        wire.expect(&line, "+OK\r\n");
                        place = next;
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut wire = server.wire();
            for n in (1..).take_while(|_| running()) {
                wire.expect(&format!("MSET left {n} right {n}"), "+OK\r\n");
            }
        });
        scope.spawn(|| {
            let mut wire = server.wire();
            for n in (1..).take_while(|_| running()) {
                wire.expect(&format!("SET first {n}"), "+OK\r\n");
                wire.expect(&format!("SET second {n}"), "+OK\r\n");
            }
        });
        let mut torn = 0;
        for number in 0..dumps {
            wire.expect("SAVE", "+OK\r\n");
            if number % 10 == 0 {
                redis_accepts(&server.dump_path());
            }
            torn += usize::from(is_torn(&server.dump_path(), TOKENS));
        }
        drop(at_end);
        torn
    })
}

fn is_torn(path: &Path, tokens: usize) -> bool {
    // A key that is in the dump twice is refused by the loader.
    let keyspace = Keyspace::new(1);
    if load(
        &keyspace,
        path,
        UnixMillis(0),
        Uses::NONE,
        &LoadProgress::default(),
        &AtomicBool::new(false),
        |_| (),
    )
    .is_err()
    {
        return true;
    }
    let dump = read_dump(path);
    let number =
        |key: &str| -> u64 { std::str::from_utf8(&dump[key.as_bytes()]).unwrap().parse().unwrap() };
    let places = |token: usize| {
        let prefix = format!("token:{token}:");
        dump.keys().filter(|key| key.starts_with(prefix.as_bytes())).count()
    };
    let fillers = dump.keys().filter(|key| key.starts_with(b"filler:")).count();
    number("left") != number("right")
        || number("second") > number("first")
        || number("first") > number("second") + 1
        || fillers != 20_000
        || (0..tokens).any(|token| places(token) != 1)
}

#[test]
fn every_dump_under_load_is_one_moment_and_a_naive_walk_would_be_found() {
    let _alone = alone();
    let server = Server::start(64);
    assert_eq!(torn_dumps(&server, 60), 0);
    let _bug = plant(Bug::NaiveCut);
    let server = Server::start(64);
    assert!(torn_dumps(&server, 5) > 0, "a naive walk was not found within 5 dumps");
}

#[test]
fn a_dump_that_cannot_be_kept_whole_stops_the_start_and_is_left_alone() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb");
    let server = Server::start(1);
    fill(&mut server.wire());
    server.wire().expect("SAVE", "+OK\r\n");
    let good = fs::read(server.dump_path()).unwrap();
    let mut wrong_checksum = good.clone();
    *wrong_checksum.last_mut().unwrap() ^= 1;
    let other_database = fs::read(samples.join("refused-database.rdb")).unwrap();
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "at byte 0"),
        ("cut", &good[..good.len() / 2], "at byte"),
        ("no dump", b"hello, this is no dump at all", "at byte 0"),
        ("wrong checksum", &wrong_checksum, "checksum"),
        ("a database that is not there", &other_database, "database 3"),
    ];
    for (name, bytes, said) in cases {
        let folder = Folder::new();
        let path = folder.path().join("dump.my_rdb");
        fs::write(&path, bytes).unwrap();
        let port = free_port().to_string();
        let text = refusal(folder.path(), &["--port", &port]);
        assert!(text.contains("dump.my_rdb") && text.contains(said), "{name}: {text}");
        assert_eq!(fs::read(&path).unwrap(), *bytes, "{name}: the file was changed");
    }
    let folder = Folder::new();
    fs::create_dir(folder.path().join("dump.my_rdb")).unwrap();
    let text = refusal(folder.path(), &["--port", &free_port().to_string()]);
    assert!(text.contains("dump.my_rdb"), "{text}");
}

#[test]
fn a_link_to_a_dump_that_is_not_there_yet_stays_a_link() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let target = elsewhere.path().join("kept.my_rdb");
    std::os::unix::fs::symlink(&target, folder.path().join("dump.my_rdb")).unwrap();
    let server = Server::start_in(Arc::new(folder), 1, |_| {});
    server.wire().expect("SET key value", "+OK\r\n").expect("SAVE", "+OK\r\n");
    assert!(fs::symlink_metadata(server.dump_path()).unwrap().is_symlink());
    assert_eq!(read_dump(&target)[&b"key"[..]], b"value");
}

#[test]
fn an_end_without_saving_in_the_middle_of_a_save_leaves_no_temporary_file() {
    let server = Server::start(MANY_SHARDS);
    let mut wire = server.wire();
    for batch in 0..200 {
        let values = (0..1_000).map(|n| format!(" key:{}:{n} 0123456789012345678901234", batch));
        wire.expect(&format!("MSET{}", values.collect::<String>()), "+OK\r\n");
    }
    wire.expect("BGSAVE", "+Background saving started\r\n");
    assert!(server.shut_down(ShutdownMode::NoSave));
    assert!(!server.services().saver.is_running());
    assert!(strays(server.folder().path()).is_empty());
}

#[test]
fn what_cannot_be_used_at_the_start_is_said_in_a_line() {
    let folder = Folder::new();
    let server = Server::start(1);
    let busy = server.addr().port().to_string();
    assert!(refusal(folder.path(), &["--port", &busy]).contains(&busy));
    assert!(refusal(folder.path(), &["--port", "99999"]).contains("port"));
    assert!(refusal(folder.path(), &["--no-such-option"]).contains("--no-such-option"));
    let port = free_port().to_string();
    let absent = ["--port", &port, "--dir", "no/such/folder"];
    assert!(refusal(folder.path(), &absent).contains("no/such/folder"));
}

#[test]
fn a_dump_of_redis_is_loaded_and_one_of_ours_is_loaded_by_redis() {
    let folder = Arc::new(Folder::new());
    let in_databases = |wire: &mut Wire, each: fn(&mut Wire)| {
        for number in [0, 3, 15] {
            wire.expect(&format!("SELECT {number}"), "+OK\r\n");
            each(wire);
        }
    };
    let ours = Server::start_in(Arc::clone(&folder), MANY_SHARDS, |of| of.databases = 16);
    in_databases(&mut ours.wire(), fill);
    ours.wire().expect("SWAPDB 3 9", "+OK\r\n").expect("SWAPDB 9 3", "+OK\r\n");
    ours.wire().expect("SAVE", "+OK\r\n");
    drop(ours);
    let mut redis = RedisServer::start(folder.path(), "dump.my_rdb");
    in_databases(&mut redis.wire(), check);
    let ours = fs::read(folder.path().join("dump.my_rdb")).unwrap();
    redis.wire().expect("SAVE", "+OK\r\n");
    redis.end();
    assert_ne!(fs::read(folder.path().join("dump.my_rdb")).unwrap(), ours, "Redis has saved");
    let again = Server::start_in(folder, 1, |of| of.databases = 16);
    in_databases(&mut again.wire(), check);
}

/// A real redis-server on a dump.
struct RedisServer {
    child: std::process::Child,
    port: u16,
}

impl RedisServer {
    fn start(folder: &Path, file: &str) -> Self {
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--save", "", "--dbfilename", file, "--dir"]);
        command.arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server is needed: install its package");
        let server = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not start on our dump");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn wire(&self) -> Wire {
        Wire::connect(([127, 0, 0, 1], self.port).into())
    }

    fn end(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.end();
    }
}
