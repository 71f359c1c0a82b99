//! Sudden death and ordered ends: whatever the moment, the dump is one whole generation, and what
//! was acknowledged before an ordered end is in it.

use crate::harness::dump::{read_dump, redis_accepts, strays};
use crate::harness::process::{Process, free_port, program, refusal};
use crate::harness::random::{Random, seed};
use crate::harness::server::Folder;
use crate::harness::strace::{Call, Strace, paths_of_save};
use crate::harness::wire::Wire;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A data set of which every value tells the generation.
struct Generations {
    keys: Vec<String>,
    value_bytes: usize,
}

impl Generations {
    fn new(keys: usize, value_bytes: usize) -> Self {
        Self { keys: (0..keys).map(|n| format!("key:{n}")).collect(), value_bytes }
    }

    fn value(&self, generation: u64) -> String {
        format!("{}{generation:09}", "0".repeat(self.value_bytes - 9))
    }

    /// Replaces all by those of one generation, at once; false when the server is gone.
    fn write(&self, wire: &mut Wire, generation: u64) -> bool {
        let value = self.value(generation);
        let mut request = format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * self.keys.len());
        for key in &self.keys {
            let part = format!("${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len());
            request.push_str(&part);
        }
        wire.try_raw(request.as_bytes()).is_ok()
            && wire.try_reply().is_ok_and(|reply| reply == b"+OK\r\n")
    }

    /// The one generation that the server holds; fails the test if there are several.
    #[track_caller]
    fn read(&self, wire: &mut Wire) -> u64 {
        wire.expect("DBSIZE", format!(":{}\r\n", self.keys.len()));
        let mut request = vec!["MGET"];
        request.extend(self.keys.iter().map(String::as_str));
        let reply = wire.command(&request);
        let one = wire.run(&format!("GET {}", self.keys[0]));
        let head = format!("*{}\r\n", self.keys.len());
        let rest = &reply[head.len()..];
        let whole =
            rest.len() == one.len() * self.keys.len() && rest.chunks(one.len()).all(|c| c == one);
        assert!(reply.starts_with(head.as_bytes()) && whole, "two generations are mixed");
        let text = String::from_utf8(one).unwrap();
        text.lines().nth(1).unwrap().parse().unwrap()
    }

    /// The one generation in a dump.
    #[track_caller]
    fn in_dump(&self, path: &Path) -> u64 {
        redis_accepts(path);
        let content = read_dump(path);
        assert_eq!(content.len(), self.keys.len());
        let one = content.values().next().unwrap();
        assert!(content.values().all(|value| value == one), "two generations are mixed");
        std::str::from_utf8(one).unwrap().parse().unwrap()
    }
}

fn save(wire: &mut Wire) -> bool {
    wire.try_raw(b"SAVE\r\n").is_ok() && wire.try_reply().is_ok_and(|reply| reply == b"+OK\r\n")
}

/// Kills a server `rounds` times at random moments of a loop of saves; returns how many of the
/// kills cut a save off.
fn kill_in_a_save_loop(random: &mut Random, rounds: usize) -> usize {
    let data = Generations::new(20_000, 9);
    let folder = Folder::new();
    let dump = folder.path().join("dump.my_rdb");
    let mut process = Process::start(folder.path(), &[]);
    assert!(data.write(&mut process.wire(), 1));
    let began = Instant::now();
    assert!(save(&mut process.wire()));
    let mut acknowledged = 1;
    let loop_micros = 20_000 + 4 * usize::try_from(began.elapsed().as_micros()).unwrap();
    let mut cut_off = 0;
    for round in 0..rounds {
        let mut wire = process.wire();
        let moment = Duration::from_micros(random.between(1, loop_micros) as u64);
        let stop = AtomicBool::new(false);
        acknowledged = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut saved = acknowledged;
                while !stop.load(Ordering::Relaxed)
                    && data.write(&mut wire, saved + 1)
                    && save(&mut wire)
                {
                    saved += 1;
                    // Several times, so that more time goes by in saves than in writes.
                    let _killed = (0..3).all(|_| save(&mut wire));
                }
                saved
            });
            thread::sleep(moment);
            process.kill();
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap()
        });
        let left = strays(folder.path());
        assert!(left.len() <= 1, "{left:?}");
        cut_off += left.len();
        if round % 10 == 0 {
            data.in_dump(&dump);
        }
        process = Process::start(folder.path(), &[]);
        let found = data.read(&mut process.wire());
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "round {round}: {found} is there, {acknowledged} was saved"
        );
        acknowledged = found;
        assert!(strays(folder.path()).is_empty(), "a start leaves what a crash has left");
    }
    cut_off
}

#[test]
fn sudden_death_at_random_moments_leaves_one_whole_generation() {
    let seed = seed("sudden_death");
    let cut_off: Vec<usize> = thread::scope(|scope| {
        let halves = [seed, seed + 1]
            .map(|seed| scope.spawn(move || kill_in_a_save_loop(&mut Random::new(seed), 100)));
        halves.into_iter().map(|half| half.join().unwrap()).collect()
    });
    let cut_off: usize = cut_off.iter().sum();
    println!("{cut_off} of 200 kills cut a save off");
    assert!(cut_off >= 20, "only {cut_off} of 200 kills hit a save: the test proves little");
}

/// Three megabytes, so that a save has some writes and no two generations look alike.
fn few_and_large() -> Generations {
    Generations::new(60, 100_000)
}

const LARGE: &[&str] = &["--rdbcompression", "no", "--save", "86400 1"];

/// The calls of one whole save that have to do with its files.
fn calls_of_a_save(process: &Process, dump: &Path) -> Vec<Call> {
    let strace = Strace::attach(process, &paths_of_save(process, dump), &[]);
    process.wire().expect("SAVE", "+OK\r\n");
    strace.detach()
}

#[test]
fn a_save_is_durable_before_it_takes_the_place_of_the_dump() {
    let (data, folder) = (few_and_large(), Folder::new());
    let process = Process::start(folder.path(), LARGE);
    let dump = folder.path().canonicalize().unwrap().join("dump.my_rdb");
    assert!(data.write(&mut process.wire(), 1) && save(&mut process.wire()));
    let calls = calls_of_a_save(&process, &dump);
    let text = calls.iter().map(|call| format!("{}\n", call.text)).collect::<String>();
    let place = |what: &str, is: &dyn Fn(&Call) -> bool| {
        let place = calls.iter().position(is);
        place.unwrap_or_else(|| panic!("no {what} in\n{text}"))
    };
    let temporary = format!("dump.my_rdb.{}.temp", process.id());
    let of_file = |call: &Call| call.text.contains(&temporary);
    let create = place("creation", &|call| call.name == "openat" && of_file(call));
    let rename = place("rename", &|call| call.name.starts_with("rename"));
    let sync = place("fsync", &|call| call.name == "fsync" && of_file(call));
    let last_write = calls.iter().rposition(|call| call.name == "write" && of_file(call)).unwrap();
    let folder_sync = place("fsync of the folder", &|call| call.name == "fsync" && !of_file(call));
    assert!(create < last_write && last_write < sync, "{text}");
    assert!(sync < rename && rename < folder_sync, "{text}");
    assert!(calls[create].text.contains("O_EXCL") && calls[create].text.contains("0600"), "{text}");
    assert!(calls[folder_sync].text.contains(&format!("<{}>", folder.path().display())), "{text}");
    let writes: Vec<&Call> = calls.iter().filter(|call| call.name == "write").collect();
    assert!(writes.len() > 4 && writes.iter().all(|call| of_file(call)), "{text}");
    assert!(calls.iter().any(|call| call.name == "fdatasync"), "no sync on the way:\n{text}");
    assert!(calls.iter().all(|call| !call.text.contains("= -1")), "{text}");
}

#[test]
fn death_at_every_call_of_a_save_leaves_the_old_dump_or_the_new_one() {
    let (data, folder) = (few_and_large(), Folder::new());
    let dump = folder.path().canonicalize().unwrap().join("dump.my_rdb");
    let mut process = Process::start(folder.path(), LARGE);
    assert!(data.write(&mut process.wire(), 1) && save(&mut process.wire()));
    let calls = calls_of_a_save(&process, &dump);
    let kinds: BTreeSet<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    for kind in ["openat", "write", "fdatasync", "fsync", "rename", "close"] {
        assert!(kinds.contains(kind), "a save makes no {kind}: {kinds:?}");
    }
    let (mut saved, mut deaths) = (1, 0);
    for kind in kinds {
        let mut number = 1;
        // Until a whole save makes no further call of this kind.
        while let Some(found) = die_at(process, &data, &dump, saved, kind, number) {
            process = Process::start(folder.path(), LARGE);
            assert_eq!(data.read(&mut process.wire()), found, "{kind} {number}");
            assert!(strays(folder.path()).is_empty(), "{kind} {number}");
            (saved, number, deaths) = (found, number + 1, deaths + 1);
        }
        process = Process::start(folder.path(), LARGE);
        saved = data.read(&mut process.wire());
    }
    assert!(deaths >= 14, "only {deaths} deaths");
}

/// Kills a server at one call of a save and returns the generation that is in its dump; `None`
/// if the save made no such call.
fn die_at(
    mut process: Process,
    data: &Generations,
    dump: &Path,
    saved: u64,
    kind: &str,
    number: usize,
) -> Option<u64> {
    let what = format!("{kind} number {number}");
    let mut wire = process.wire();
    assert!(data.write(&mut wire, saved + 1));
    let inject = format!("inject={kind}:signal=KILL:when={number}");
    let paths = paths_of_save(&process, dump);
    let strace = Strace::attach(&process, &paths, &["-e", &inject]);
    if save(&mut wire) {
        drop(strace);
        process.kill();
        return None;
    }
    let status = process.wait();
    assert!(!status.success(), "{what}: {status}");
    let calls = strace.ended();
    let has_done = |name: &str, with: &str| {
        calls.iter().any(|call| call.name == name && call.text.contains(with) && call.succeeded())
    };
    let (begun, replaced) = (has_done("openat", "O_EXCL"), has_done("rename", ""));
    let left = strays(dump.parent().unwrap());
    assert_eq!(left.len(), usize::from(begun && !replaced), "{what}: {left:?}");
    let found = data.in_dump(dump);
    assert_eq!(found, if replaced { saved + 1 } else { saved }, "{what}");
    Some(found)
}

/// Starts the program where it is expected to be refused.
#[track_caller]
fn refused(folder: &Path, options: &[&str]) -> String {
    let port = free_port().to_string();
    refusal(folder, &[&["--port", &port], options].concat())
}

#[test]
fn the_second_server_on_a_dump_is_refused() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let mut first = Process::start(folder.path(), &[]);
    first.wire().expect("SET key value", "+OK\r\n").expect("SAVE", "+OK\r\n");
    let stray = format!("dump.my_rdb.{}.temp", first.id());
    fs::write(folder.path().join(&stray), "of the first").unwrap();
    let process = format!("process {}", first.id());
    let dump = folder.path().canonicalize().unwrap().join("dump.my_rdb");
    let refuses = |folder: &Path, options: &[&str]| {
        let text = refused(folder, options);
        let told = text.contains("another server") && text.contains(&process);
        assert!(told && text.contains(&dump.display().to_string()), "{text}");
    };
    refuses(folder.path(), &[]);
    assert_eq!(strays(folder.path()), [stray], "the first one's file is gone");
    // Other names of the same dump: a link to the file, a link to the folder, a roundabout path.
    symlink(&dump, elsewhere.path().join("dump.my_rdb")).unwrap();
    refuses(elsewhere.path(), &[]);
    symlink(folder.path(), elsewhere.path().join("folder")).unwrap();
    refuses(elsewhere.path(), &["--dir", "folder"]);
    refuses(elsewhere.path(), &["--dir", "./folder//."]);
    // Another dump in the same folder is another matter.
    let other = Process::start(folder.path(), &["--dbfilename", "other.my_rdb"]);
    other.wire().expect("DBSIZE", ":0\r\n").expect("SAVE", "+OK\r\n");
    first.wire().expect("SAVE", "+OK\r\n");
    first.kill();
    let next = Process::start(folder.path(), &[]);
    next.wire().expect("GET key", "$5\r\nvalue\r\n");
    assert!(strays(folder.path()).is_empty());
    other.wire().expect("SET key value", "+OK\r\n").expect("SAVE", "+OK\r\n");
    let text = refused(folder.path(), &["--dbfilename", "dump.my_rdb.lock"]);
    assert!(text.contains("dump.my_rdb.lock"), "{text}");
}

#[test]
fn of_many_servers_that_start_at_once_one_gets_the_dump() {
    let folder = Folder::new();
    for _ in 0..5 {
        let mut servers: Vec<Process> =
            (0..4).map(|_| Process::launch(folder.path(), &[])).collect();
        let deadline = Instant::now() + Duration::from_secs(20);
        while servers.len() > 1 {
            assert!(Instant::now() < deadline, "{} servers run on one dump", servers.len());
            thread::sleep(Duration::from_millis(5));
            servers.retain_mut(|server| {
                let ended = server.has_ended();
                assert!(ended.is_none_or(|status| status.code() == Some(1)), "{ended:?}");
                ended.is_none()
            });
        }
        assert_eq!(servers.len(), 1, "none got the dump");
        servers[0].kill();
    }
}

#[test]
fn the_folder_is_the_one_of_the_start_whatever_its_name_is_later() {
    let (folder, other) = (Folder::new(), Folder::new());
    let link = other.path().join("data");
    symlink(folder.path(), &link).unwrap();
    let mut process = Process::start_command(program(other.path(), &["--dir", "data"]));
    // The link leads elsewhere from now on.
    fs::remove_file(&link).unwrap();
    symlink(other.path(), &link).unwrap();
    process.wire().expect("SET key value", "+OK\r\n").expect("SAVE", "+OK\r\n");
    assert!(folder.path().join("dump.my_rdb").exists());
    assert!(!other.path().join("dump.my_rdb").exists());
    process.kill();
    let path = folder.path().canonicalize().unwrap().join("dump.my_rdb");
    let log = process.log();
    assert!(log.contains(&format!("dump {}", path.display())), "{log}");
}

fn number(wire: &mut Wire, key: &str) -> u64 {
    let reply = String::from_utf8(wire.run(&format!("GET {key}"))).unwrap();
    reply.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_acknowledged_write_is_in_the_dump_of_an_end_in_order() {
    const CLIENTS: usize = 8;
    let seed = seed("an_end_in_order");
    let mut random = Random::new(seed);
    let folder = Folder::new();
    let mut process = Process::start(folder.path(), &[]);
    for client in 0..CLIENTS {
        process.wire().expect(&format!("SET counter:{client} 0"), "+OK\r\n");
    }
    process.signal("TERM");
    assert!(process.wait().success());
    let mut before = [0; CLIENTS];
    for round in 0..50 {
        process = Process::start(folder.path(), &[]);
        for (client, before) in before.iter().enumerate() {
            assert_eq!(number(&mut process.wire(), &format!("counter:{client}")), *before);
        }
        let acknowledged: [AtomicU64; CLIENTS] = before.map(AtomicU64::new);
        let (signal, saving) = (*random.pick(&["INT", "TERM"]), random.chance(50));
        let moment = Duration::from_micros(random.between(1, 60_000) as u64);
        thread::scope(|scope| {
            for (client, count) in acknowledged.iter().enumerate() {
                let mut wire = process.wire();
                scope.spawn(move || {
                    let request = format!("INCR counter:{client}\r\n");
                    while wire.try_raw(request.as_bytes()).is_ok()
                        && wire.try_reply().is_ok_and(|reply| reply[0] == b':')
                    {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            let mut saver = process.wire();
            thread::sleep(moment);
            if saving {
                saver.expect("BGSAVE", "+Background saving started\r\n");
            }
            process.signal(signal);
            assert!(process.wait().success());
        });
        assert!(strays(folder.path()).is_empty());
        let dump = read_dump(&folder.path().join("dump.my_rdb"));
        for (client, count) in acknowledged.iter().enumerate() {
            let count = count.load(Ordering::SeqCst);
            let value = &dump[format!("counter:{client}").as_bytes()];
            let stored: u64 = std::str::from_utf8(value).unwrap().parse().unwrap();
            assert!((count..=count + 1).contains(&stored), "round {round}: {stored} of {count}");
            before[client] = stored;
        }
    }
    assert!(before.iter().all(|count| *count > 50), "{before:?}: there were hardly any writes");
}

#[test]
fn a_second_signal_ends_a_server_that_is_saving_at_once() {
    let folder = Folder::new();
    let mut process = Process::start(folder.path(), LARGE);
    let dump = folder.path().canonicalize().unwrap().join("dump.my_rdb");
    process.wire().expect("SET key old", "+OK\r\n").expect("SAVE", "+OK\r\n");
    let before = fs::read(&dump).unwrap();
    process.wire().expect("SET key new", "+OK\r\n");
    let paths = paths_of_save(&process, &dump);
    let strace = Strace::attach(&process, &paths, &["-e", "inject=fsync:delay_enter=60s"]);
    process.signal("INT");
    let deadline = Instant::now() + Duration::from_secs(20);
    while strays(folder.path()).is_empty() {
        assert!(Instant::now() < deadline, "no save begins");
        thread::sleep(Duration::from_millis(2));
    }
    process.signal("TERM");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !strays(folder.path()).is_empty() {
        assert!(Instant::now() < deadline, "the second signal waits for the save");
        thread::sleep(Duration::from_millis(2));
    }
    // As long as strace holds a thread back, nobody is told of the end of the process.
    drop(strace);
    assert_eq!(process.wait().code(), Some(1));
    assert_eq!(fs::read(&dump).unwrap(), before);
}

#[test]
fn a_server_whose_last_save_fails_stays_until_it_can_save() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut process = Process::start(&data, &["--save", "86400 1"]);
    process.signal("HUP");
    process.wire().expect("SET key value", "+OK\r\n");
    let away = folder.path().join("away");
    fs::rename(&data, &away).unwrap();
    process.signal("TERM");
    let info = |wire: &mut Wire| String::from_utf8(wire.run("INFO persistence")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !info(&mut process.wire()).contains("rdb_last_bgsave_status:err") {
        assert!(Instant::now() < deadline, "the last save does not fail");
        thread::sleep(Duration::from_millis(5));
    }
    process.wire().expect("GET key", "$5\r\nvalue\r\n");
    process.wire().expect_start("SHUTDOWN", "-ERR Errors trying to SHUTDOWN");
    process.wire().expect("GET key", "$5\r\nvalue\r\n");
    fs::rename(&away, &data).unwrap();
    process.signal("TERM");
    assert!(process.wait().success());
    assert_eq!(read_dump(&data.join("dump.my_rdb"))[&b"key"[..]], b"value");
}

#[test]
fn a_signal_while_the_dump_is_loaded_ends_the_server_and_leaves_the_dump() {
    let data = Generations::new(300_000, 9);
    let folder = Folder::new();
    let dump = folder.path().join("dump.my_rdb");
    let mut process = Process::start(folder.path(), &[]);
    assert!(data.write(&mut process.wire(), 1) && save(&mut process.wire()));
    process.kill();
    let before = fs::read(&dump).unwrap();
    for signal in ["TERM", "INT"] {
        let mut process = Process::launch(folder.path(), &[]);
        let mut wire = process.wire_when_it_listens();
        let reply = wire.run("GET key:1");
        assert!(reply.starts_with(b"-LOADING"), "loading is too quick for this test");
        process.signal(signal);
        let began = Instant::now();
        assert!(process.wait().success());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(fs::read(&dump).unwrap() == before, "the dump was changed");
        assert!(strays(folder.path()).is_empty());
    }
}

#[test]
fn all_kinds_of_saves_at_once_and_an_end_in_the_middle_never_hang() {
    let seed = seed("all_kinds_of_saves");
    let mut random = Random::new(seed);
    let data = Generations::new(5_000, 20);
    let folder = Folder::new();
    for round in 0..20 {
        let mut process = Process::start(folder.path(), &["--save", "1 1"]);
        assert!(data.write(&mut process.wire(), round + 1));
        // From time to time long enough for the rules to save as well.
        let longest = if round % 5 == 0 { 1_400 } else { 250 };
        let moment = Duration::from_millis(random.between(20, longest) as u64);
        let (process_ref, data) = (&process, &data);
        thread::scope(|scope| {
            for lines in [["BGSAVE", "PING"], ["SAVE", "PING"], ["BGSAVE SCHEDULE", "SET key:0 x"]]
                .into_iter()
                .chain([["SAVE", "BGSAVE"]])
            {
                let mut wire = process_ref.wire();
                scope.spawn(move || {
                    for line in lines.iter().cycle() {
                        let sent = wire.try_raw(format!("{line}\r\n").as_bytes());
                        // A reply that does not come within the time limit is a hang.
                        match sent.map_err(|e| e.to_string()).and_then(|()| wire.try_reply()) {
                            Ok(_) => {}
                            Err(reason) if reason.starts_with("no reply") => panic!("{reason}"),
                            Err(_) => break,
                        }
                    }
                });
            }
            thread::sleep(moment);
            process_ref.signal(if round % 2 == 0 { "INT" } else { "TERM" });
        });
        assert!(process.wait().success());
        assert!(strays(folder.path()).is_empty());
        redis_accepts(&folder.path().join("dump.my_rdb"));
        assert_eq!(read_dump(&folder.path().join("dump.my_rdb")).len(), data.keys.len());
    }
}
