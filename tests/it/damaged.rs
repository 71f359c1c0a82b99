//! Bad dumps and the real program: it says in one line what is wrong, exits with 1 within seconds,
//! has not asked for memory that the file does not pay for, and leaves the file as it is.

use crate::harness::dump::strays;
use crate::harness::oracle::Oracle;
use crate::harness::process::{Process, program};
use crate::harness::random::{Random, seed};
use crate::harness::server::{Folder, Server};
use crate::harness::wire::Wire;
use my_redis::persist::checksum::Checksum;
use my_redis::persist::write::encode_length;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The program must have come to an end, or have loaded the file, after this time.
const CASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Memory that the program may take besides three times the file.
const SPARE_BYTES: usize = 64 << 20;
/// The bytes of the checksum at the end of a file.
const CHECKSUM_BYTES: usize = 8;
/// Changes of one byte, over all sample files.
const CHANGES: usize = 2_000;
/// Servers at a time.
const THREADS: usize = 3;

/// What becomes of a start with some file.
#[derive(Debug, PartialEq)]
enum Outcome {
    Loaded,
    /// Exit code 1, with this as the last line.
    Refused(String),
}

/// Starts the program on `file`, and ends it if it has loaded that.
#[track_caller]
fn start_on(folder: &Path, file: &[u8]) -> Outcome {
    let (path, log) = (folder.join("dump.my_rdb"), folder.join("log"));
    fs::write(&path, file).unwrap();
    let mut command = program(folder, &["--port", "0", "--save", "off", "--threads", "1"]);
    let mut child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if fs::read_to_string(&log).unwrap().contains("ready to accept") {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        if began.elapsed() > CASE_TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs on {}", file.escape_ascii());
        }
        thread::sleep(Duration::from_micros(500));
    };
    assert!(fs::read(&path).unwrap() == file, "the file was changed: {}", file.escape_ascii());
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("panicked"), "{text}\n{}", file.escape_ascii());
    let Some(status) = status else {
        return Outcome::Loaded;
    };
    assert_eq!(status.code(), Some(1), "{text}\n{}", file.escape_ascii());
    let complaints: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
    let [complaint] = complaints[..] else {
        panic!("not one line but {complaints:?} on {}", file.escape_ascii());
    };
    let start = format!("cannot load {}: at byte ", path.canonicalize().unwrap().display());
    assert!(complaint.contains(&start), "{complaint}");
    assert!(text.ends_with(&format!("{complaint}\n")), "{text}");
    Outcome::Refused(complaint.to_owned())
}

/// Runs `check` on every case, some at a time, each thread in a folder of its own.
fn on_each<C: Sync>(cases: &[C], check: impl Fn(&Path, &C) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let folder = Folder::new();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(folder.path(), case);
                }
            });
        }
    });
}

/// Runs the rest of the test `name` in a process of its own, so that the memory of its children is
/// that of the servers it starts and of nothing else. Returns true in that process.
fn is_alone(name: &str) -> bool {
    const CHILD: &str = "MY_REDIS_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let name = format!("damaged::{name}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "the test {name} is not found: {text}");
    println!("{text}");
    false
}

/// The most memory that any process started and ended by this one has taken.
fn peak_bytes_of_children() -> usize {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    usize::try_from(usage.max_rss()).unwrap() * 1_024
}

#[track_caller]
fn assert_memory(file_bytes_max: usize) {
    let peak_bytes = peak_bytes_of_children();
    let bound_bytes = 3 * file_bytes_max + SPARE_BYTES;
    assert!(peak_bytes < bound_bytes, "{peak_bytes} bytes of at most {bound_bytes}");
}

/// A little of everything that this server writes.
fn own_sample() -> Vec<u8> {
    let server = Server::start(1);
    let mut wire = server.wire();
    fill(&mut wire);
    wire.expect("SAVE", "+OK\r\n");
    fs::read(server.dump_path()).unwrap()
}

/// The same in the encodings of Redis 7.0.
fn redis_sample() -> Vec<u8> {
    let folder = Folder::new();
    let oracle = Oracle::start_with(&["--dir", folder.path().to_str().unwrap()]);
    let mut wire = Wire::connect(oracle.addr());
    fill(&mut wire);
    wire.expect("SAVE", "+OK\r\n");
    fs::read(folder.path().join("dump.rdb")).unwrap()
}

fn fill(wire: &mut Wire) {
    let packable = "packable ".repeat(30);
    for line in [
        "SET string value".to_owned(),
        "SET number -129".to_owned(),
        "SET dies value PXAT 33000000000123".to_owned(),
        format!("SET packed \"{packable}\""),
        "RPUSH list a -1 300 70000 3000000000 \"\"".to_owned(),
        "HSET hash f1 v1 f2 2 f3 -5000".to_owned(),
        format!("HSET table field \"{packable}\" other value"),
        "PEXPIREAT hash 33000000000456".to_owned(),
    ] {
        let reply = wire.run(&line);
        assert!(reply[0] != b'-', "{line}: {}", String::from_utf8_lossy(&reply));
    }
}

/// The same file without a checksum, so that damage is found by what it does, or not at all.
fn unchecked(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - CHECKSUM_BYTES;
    file[end..].fill(0);
    file
}

#[test]
fn every_cut_and_every_change_of_sample_dumps_is_refused_or_harmless() {
    if !is_alone("every_cut_and_every_change_of_sample_dumps_is_refused_or_harmless") {
        return;
    }
    let nodes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb/redis-7.0.15-nodes.rdb");
    let samples = [own_sample(), redis_sample(), fs::read(nodes).unwrap()];
    let mut random = Random::new(seed("damaged"));
    let mut cuts = Vec::new();
    let mut changed = Vec::new();
    let mut changed_unchecked = Vec::new();
    for sample in &samples {
        assert_eq!(start_on(Folder::new().path(), sample), Outcome::Loaded);
        cuts.extend((0..sample.len()).map(|length| sample[..length].to_vec()));
        for number in 0..CHANGES.div_ceil(samples.len()) {
            let mut file = sample.clone();
            // A quarter with the checksum, which finds them all; the others go past it.
            if number % 4 != 0 {
                file = unchecked(file);
            }
            let at = random.below(file.len() - CHECKSUM_BYTES);
            file[at] ^= 1 << random.below(8);
            if random.chance(50) {
                file[at] = random.next() as u8;
            }
            let list = if number % 4 == 0 { &mut changed } else { &mut changed_unchecked };
            if file[..file.len() - CHECKSUM_BYTES] != sample[..file.len() - CHECKSUM_BYTES] {
                list.push(file);
            }
        }
    }
    let refused = |folder: &Path, file: &Vec<u8>| {
        let outcome = start_on(folder, file);
        assert_ne!(outcome, Outcome::Loaded, "{}", file.escape_ascii());
    };
    on_each(&cuts, refused);
    on_each(&changed, refused);
    let loaded = AtomicUsize::new(0);
    on_each(&changed_unchecked, |folder, file| {
        let is_loaded = start_on(folder, file) == Outcome::Loaded;
        loaded.fetch_add(usize::from(is_loaded), Ordering::Relaxed);
    });
    // Else the check of either half would be one of nothing: many changes only alter a text.
    let (loaded, all) = (loaded.into_inner(), changed_unchecked.len());
    assert!(loaded > all / 10 && loaded < all * 9 / 10, "{loaded} of {all} were loaded");
    assert_memory(samples.iter().map(Vec::len).max().unwrap());
}

/// A dump of these records, with a checksum that is right.
fn dump_of(records: &[u8]) -> Vec<u8> {
    let mut file = [b"REDIS0011", records, b"\xFF"].concat();
    let mut checksum = Checksum::new();
    checksum.update(&file);
    file.extend_from_slice(&checksum.value().to_le_bytes());
    file
}

fn length(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_length(&mut bytes, number);
    bytes
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [length(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A string of type `kind` under the key "k" that claims to unpack from `items` to so many bytes.
fn packed(kind: u8, items: &[u8], plain_bytes: u64) -> Vec<u8> {
    let head = [&[kind][..], b"\x01k\xC3", &length(items.len() as u64), &length(plain_bytes)];
    [&head.concat(), items].concat()
}

/// Records that promise more than they have, and what is said about each.
fn promises() -> Vec<(Vec<u8>, &'static str)> {
    let huge = [1 << 20, 1 << 30, u64::from(u32::MAX), 1 << 40, u64::MAX];
    let mut cases = Vec::new();
    for number in huge {
        cases.push(([b"\x00", &length(number)[..]].concat(), "the file is cut short"));
        cases.push(([b"\x00\x01k", &length(number)[..]].concat(), "the file is cut short"));
        for kind in [1, 2, 3, 4, 5, 14, 18] {
            let record = [&[kind][..], b"\x01k", &length(number), b"\x01a\x01b"].concat();
            cases.push((record, "elements cannot be in"));
        }
        cases.push((packed(0, b"\x00aaaa", number), "packed bytes cannot unpack to"));
        let node = [b"\x12\x01k\x01\x02", &length(number)[..]].concat();
        cases.push((node, "the file is cut short"));
        let form = [b"\x12\x01k\x01", &length(number)[..], b"\x01a"].concat();
        cases.push((form, "list node of the unknown form"));
    }
    // As much as the ratio of the format allows, from items that give less, or give nonsense.
    let items = [b"\x00a".to_vec(), b"\xE0\xFF\x00".repeat(300_000)].concat();
    let claimed = 88 * 900_000;
    cases.push((packed(0, &items, claimed), "does not unpack to the length stated"));
    cases.push((packed(0, &items[2..], claimed), "points before the start"));
    cases.push((packed(10, &items[..items.len() - 1], claimed), "an item is cut short"));
    // Compact encodings whose own counts and sizes are far off.
    let far = u32::MAX.to_le_bytes();
    let ziplist = |size: [u8; 4], count: [u8; 2]| {
        [&size[..], b"\x0A\0\0\0", &count, b"\x00\x01a\xFF"].concat()
    };
    cases.push(([b"\x0A\x01k", &string(&ziplist(far, [1, 0]))[..]].concat(), "its size is not"));
    let counted = ziplist([14, 0, 0, 0], [0xFE, 0xFF]);
    cases.push(([b"\x0A\x01k", &string(&counted)[..]].concat(), "the number of entries is not"));
    let long = [&[20, 0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0x80][..], &far, b"a\xFF\0\0"].concat();
    cases.push(([b"\x0A\x01k", &string(&long)[..]].concat(), "it ends in the middle of an entry"));
    let listpack = [&far[..], b"\x01\x00\x81a\x02\xFF"].concat();
    cases.push(([b"\x10\x01k", &string(&listpack)[..]].concat(), "its size is not"));
    let long = [&[14, 0, 0, 0, 1, 0, 0xF0][..], &far, b"a\x06\xFF"].concat();
    cases.push(([b"\x10\x01k", &string(&long)[..]].concat(), "it ends in the middle of an entry"));
    let intset = [b"\x08\0\0\0", &far[..], b"\0\0\0\0\0\0\0\0"].concat();
    cases.push(([b"\x0B\x01k", &string(&intset)[..]].concat(), "its size is not"));
    let zipmap = [b"\x01\xFE", &far[..], b"a\xFF"].concat();
    cases
        .push(([b"\x09\x01k", &string(&zipmap)[..]].concat(), "it ends in the middle of an entry"));
    cases
}

#[test]
fn promises_that_a_file_does_not_keep_cost_no_memory() {
    if !is_alone("promises_that_a_file_does_not_keep_cost_no_memory") {
        return;
    }
    let cases = promises();
    on_each(&cases, |folder, (record, said)| {
        let records = [b"\x00\x06before\x01v", &record[..]].concat();
        let Outcome::Refused(line) = start_on(folder, &dump_of(&records)) else {
            panic!("loaded, though {said:?}");
        };
        assert!(line.contains(said), "{line}, but not {said:?}");
    });
    // Sizes of tables are a hint, from which nothing is reserved.
    let most = length(u64::MAX);
    let hint = [b"\xFB", &most[..], &most, b"\x00\x01k\x01v"].concat();
    assert_eq!(start_on(Folder::new().path(), &dump_of(&hint)), Outcome::Loaded);
    assert_memory(cases.iter().map(|(record, _)| record.len()).max().unwrap());
}

#[test]
fn a_large_dump_that_is_cut_at_its_end_takes_no_more_memory_than_a_good_one() {
    if !is_alone("a_large_dump_that_is_cut_at_its_end_takes_no_more_memory_than_a_good_one") {
        return;
    }
    let mut records = Vec::new();
    for n in 0..150_000_u64 {
        records.push(0);
        records.extend(string(format!("key:{n}").as_bytes()));
        records.extend(string(&n.to_le_bytes().repeat(12)));
    }
    let count = 300_000;
    records.extend([b"\x04\x04hash", &length(count)[..]].concat());
    for n in 0..count {
        records.extend(string(format!("field:{n}").as_bytes()));
        records.extend(string(&n.to_le_bytes()));
    }
    let file = dump_of(&records);
    let folder = Folder::new();
    assert_eq!(start_on(folder.path(), &file), Outcome::Loaded);
    for cut in [1, CHECKSUM_BYTES + 1, CHECKSUM_BYTES + 3] {
        let Outcome::Refused(line) = start_on(folder.path(), &file[..file.len() - cut]) else {
            panic!("it was loaded");
        };
        assert!(line.contains("the file is cut short"), "{line}");
    }
    assert_memory(file.len());
}

/// A dump that takes long to load and no room on the disk: a list of very many empty strings.
fn write_endless_dump(path: &Path) {
    let count = 1 << 30;
    let mut file = fs::File::create(path).unwrap();
    file.write_all(b"REDIS0009\x01\x04list").unwrap();
    file.write_all(&length(count)).unwrap();
    file.set_len(count + 100).unwrap();
}

#[test]
fn shutdown_and_signals_end_a_server_that_is_loading() {
    type End = fn(&Process);
    let ends: [(&str, End); 4] = [
        ("SHUTDOWN", |process| {
            process.wire().send("SHUTDOWN").expect_closed();
        }),
        ("SHUTDOWN NOSAVE", |process| {
            process.wire().send("SHUTDOWN NOSAVE").expect_closed();
        }),
        ("SIGTERM", |process| process.signal("TERM")),
        ("SIGINT", |process| process.signal("INT")),
    ];
    for (name, end) in ends {
        let folder = Folder::new();
        let path = folder.path().join("dump.my_rdb");
        write_endless_dump(&path);
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        let mut process = Process::launch(folder.path(), &[]);
        let deadline = Instant::now() + CASE_TIMEOUT;
        while std::net::TcpStream::connect(process.addr()).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        let reply = process.wire().run("GET key");
        assert!(reply.starts_with(b"-LOADING"), "{}", String::from_utf8_lossy(&reply));
        let began = Instant::now();
        end(&process);
        assert!(process.wait().success(), "{name}");
        // Loading takes many times as long.
        assert!(began.elapsed() < Duration::from_secs(2), "{name}: {:?}", began.elapsed());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        assert!(strays(folder.path()).is_empty(), "{name}: a file was left");
    }
}
