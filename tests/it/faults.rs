//! What the system may do to a save: each time the old dump stays as it is, the server goes on and
//! says so, and the next save is as good as any.
//!
//! Most faults are made by strace at one chosen call of the save; the others are real: a full file
//! system, a limit on the size of files, a folder that is gone or may not be written.

use crate::harness::dump::{read_dump, redis_accepts, strays};
use crate::harness::flag::raise_at_end;
use crate::harness::process::{Process, free_port, program, refusal, refusal_of};
use crate::harness::server::Folder;
use crate::harness::strace::{Call, Strace, paths_of_save};
use crate::harness::wire::Wire;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OPTIONS: &[&str] = &["--rdbcompression", "no", "--save", "86400 1"];
/// Keys of a megabyte each: some writes, and a sync on the way.
const LARGE_KEYS: usize = 6;

/// A server with a good dump, and what to see of it.
struct Subject {
    process: Process,
    wire: Wire,
    /// Where this test finds the dump.
    dump: PathBuf,
    /// What was written last; in the dump are keys of an earlier number.
    number: u64,
}

impl Subject {
    fn start(folder: &Path) -> Self {
        Self::of(Process::start(folder, OPTIONS), folder, LARGE_KEYS)
    }

    fn of(process: Process, folder: &Path, large_keys: usize) -> Self {
        let dump = folder.canonicalize().unwrap().join("dump.my_rdb");
        let mut wire = process.wire();
        let large = "x".repeat(1_000_000);
        for key in 0..large_keys {
            wire.expect(&format!("SET large:{key} {large}"), "+OK\r\n");
        }
        wire.expect("SET number 0", "+OK\r\n").expect("SAVE", "+OK\r\n");
        Self { process, wire, dump, number: 0 }
    }

    fn info(&mut self, field: &str) -> String {
        let info = String::from_utf8(self.wire.run("INFO persistence")).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        line.unwrap_or_else(|| panic!("no {field} in {info}")).to_owned()
    }

    fn change(&mut self) {
        self.number += 1;
        self.wire.expect(&format!("SET number {}", self.number), "+OK\r\n");
    }

    /// Saves in the background and waits for the end.
    fn save(&mut self) {
        self.wire.run("BGSAVE");
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.info("rdb_bgsave_in_progress") != "0" {
            assert!(Instant::now() < deadline, "the save does not end");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A save that fails; all else goes on, but writes are refused.
    #[track_caller]
    fn save_fails(&mut self, what: &str) {
        let saves = self.info("rdb_saves");
        self.save();
        let number = format!("${}\r\n{}\r\n", self.number.to_string().len(), self.number);
        self.wire.expect("PING", "+PONG\r\n").expect("GET number", number);
        assert_eq!(self.info("rdb_last_bgsave_status"), "err", "{what}");
        assert_eq!(self.info("rdb_saves"), saves, "{what}");
        assert_ne!(self.info("rdb_changes_since_last_save"), "0", "{what}");
        self.wire.expect_start("SET number 0", "-MISCONF ");
        self.wire.expect("GET large:none", "$-1\r\n");
    }

    /// As `save_fails`, and the dump is what it was.
    #[track_caller]
    fn save_fails_and_leaves_the_dump(&mut self, what: &str) {
        self.change();
        let before = fs::read(&self.dump).unwrap();
        self.save_fails(what);
        assert!(fs::read(&self.dump).unwrap() == before, "{what}: the dump was changed");
        let left = strays(self.dump.parent().unwrap());
        assert!(left.is_empty(), "{what}: {left:?}");
    }

    /// The next save after the fault is gone.
    #[track_caller]
    fn save_succeeds(&mut self, what: &str) {
        self.save();
        assert_eq!(self.info("rdb_last_bgsave_status"), "ok", "{what}");
        assert_eq!(self.info("rdb_changes_since_last_save"), "0", "{what}");
        let number = self.number.to_string();
        assert_eq!(read_dump(&self.dump)[&b"number"[..]], number.as_bytes(), "{what}");
        assert!(strays(self.dump.parent().unwrap()).is_empty(), "{what}");
        self.wire.expect(&format!("SET number {number}"), "+OK\r\n");
    }

    /// Runs something while strace answers in the system's place; wants it to have done so.
    #[track_caller]
    fn with_fault<T>(&mut self, inject: &str, work: impl FnOnce(&mut Self) -> T) -> (T, Vec<Call>) {
        let paths = paths_of_save(&self.process, &self.dump);
        let strace = Strace::attach(&self.process, &paths, &["-e", &format!("inject={inject}")]);
        let done = work(self);
        (done, strace.detach())
    }
}

/// Fails the test unless exactly one call was answered by strace, one to a file of the save.
#[track_caller]
fn one_was_injected(what: &str, calls: &[Call]) {
    let injected: Vec<&Call> = calls.iter().filter(|call| call.is_injected()).collect();
    let of_the_save = |call: &&Call| call.text.contains("my_redis-test-");
    assert!(injected.len() == 1 && injected.iter().all(of_the_save), "{what}: {injected:?}");
}

#[test]
fn an_error_at_any_call_of_a_save_leaves_the_old_dump() {
    let folder = Folder::new();
    let mut subject = Subject::start(folder.path());
    let paths = paths_of_save(&subject.process, &subject.dump);
    let strace = Strace::attach(&subject.process, &paths, &[]);
    subject.save_succeeds("without a fault");
    let calls = strace.detach();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &calls {
        *counts.entry(&call.name).or_default() += 1;
    }
    let errors: &[(&str, &[&str])] = &[
        ("openat", &["EMFILE", "EACCES", "ENOSPC", "EROFS", "ENOENT"]),
        ("write", &["ENOSPC", "EIO", "EDQUOT"]),
        ("fdatasync", &["EIO", "ENOSPC"]),
        ("rename", &["EIO", "EXDEV", "EACCES", "ENOSPC"]),
        ("statx", &["EIO", "EACCES"]),
    ];
    for (name, errors) in errors {
        let count = counts.get(name).copied().unwrap_or(0);
        assert!(count > 0, "a save makes no {name}: {counts:?}");
        for (number, error) in (1..=count).flat_map(|n| errors.iter().map(move |e| (n, e))) {
            let what = format!("{error} at {name} number {number}");
            let inject = format!("{name}:error={error}:when={number}");
            let ((), calls) = subject
                .with_fault(&inject, |subject| subject.save_fails_and_leaves_the_dump(&what));
            one_was_injected(&what, &calls);
            subject.save_succeeds(&what);
        }
    }
    println!("calls of a save: {counts:?}");
}

#[test]
fn a_failed_sync_is_never_asked_again() {
    let folder = Folder::new();
    let mut subject = Subject::start(folder.path());
    let ((), calls) = subject.with_fault("fsync:error=EIO:when=1", |subject| {
        subject.save_fails_and_leaves_the_dump("EIO at fsync");
    });
    one_was_injected("EIO at fsync", &calls);
    let syncs = calls.iter().filter(|call| call.name == "fsync").count();
    let renames = calls.iter().filter(|call| call.name == "rename").count();
    assert_eq!((syncs, renames), (1, 0), "{calls:?}");
    subject.save_succeeds("EIO at fsync");
    // The folder: the new dump is in its place and whole, but may be gone after a power failure.
    subject.change();
    let ((), calls) = subject.with_fault("fsync:error=EIO:when=2", |subject| {
        subject.save_fails("EIO at the fsync of the folder");
    });
    one_was_injected("EIO at the fsync of the folder", &calls);
    redis_accepts(&subject.dump);
    assert!(strays(folder.path()).is_empty());
    subject.save_succeeds("EIO at the fsync of the folder");
}

#[test]
fn a_write_that_is_interrupted_goes_on_and_one_that_writes_nothing_is_an_error() {
    let folder = Folder::new();
    let mut subject = Subject::start(folder.path());
    for number in 1..=3 {
        subject.change();
        let inject = format!("write:error=EINTR:when={number}");
        let ((), calls) = subject.with_fault(&inject, |subject| subject.save_succeeds("EINTR"));
        one_was_injected("EINTR", &calls);
        let inject = format!("write:retval=0:when={number}");
        let ((), calls) = subject
            .with_fault(&inject, |subject| subject.save_fails_and_leaves_the_dump("no progress"));
        one_was_injected("no progress", &calls);
        subject.save_succeeds("no progress");
    }
}

#[test]
fn without_a_thread_to_save_the_save_fails_and_the_server_goes_on() {
    let folder = Folder::new();
    let mut subject = Subject::start(folder.path());
    subject.change();
    let before = fs::read(&subject.dump).unwrap();
    let inject = ["-e", "inject=clone3,clone:error=EAGAIN"];
    let strace = Strace::attach(&subject.process, &[], &inject);
    subject.wire.expect_start("BGSAVE", "-ERR").expect_start("SAVE", "-ERR");
    subject.save_fails("no thread");
    assert!(strace.detach().iter().any(Call::is_injected));
    assert!(fs::read(&subject.dump).unwrap() == before);
    subject.save_succeeds("no thread");
}

/// The program in a mount namespace of its own, with a small file system on `folder`.
fn on_a_small_file_system(folder: &Path, bytes: usize) -> Process {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]);
    let script = "mount -t tmpfs -o size=\"$2\" my_redis-test-small \"$1\" && cd \"$1\" && \
                  shift 2 && exec \"$@\" 2>log";
    command.args(["sh", "-c", script, "sh"]).arg(folder).arg(bytes.to_string());
    command.arg(env!("CARGO_BIN_EXE_my_redis_server")).args(OPTIONS).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mounts = Command::new("unshare").args(["--mount", "--", "true"]).output();
    let mounts = mounts.is_ok_and(|output| output.status.success());
    assert!(mounts, "this test mounts a small file system: it needs unshare, and to run as root");
    Process::start_command(command)
}

#[test]
fn a_full_disk_leaves_the_old_dump_and_a_save_succeeds_once_there_is_room() {
    let folder = Folder::new();
    let process = on_a_small_file_system(folder.path(), 4_000_000);
    let seen = PathBuf::from(format!("/proc/{}/root{}", process.id(), folder.path().display()));
    let mut subject = Subject::of(process, folder.path(), 2);
    subject.dump = seen.join("dump.my_rdb");
    // Two dumps of two megabytes have no room here; a short write tells so first.
    for round in 0..3 {
        subject.save_fails_and_leaves_the_dump("a full disk");
        // Not a byte is left: the log goes to this disk, too.
        let filler = "y".repeat(4_000_000);
        let _full = fs::write(seen.join("filler"), filler);
        subject.save_fails("not a byte left");
        subject.wire.expect("PING", "+PONG\r\n");
        assert_eq!(read_dump(&subject.dump)[&b"number"[..]], b"0", "round {round}");
        fs::remove_file(seen.join("filler")).unwrap();
        // Deletions are refused as all writes are, until somebody says otherwise.
        subject.wire.expect("CONFIG SET stop-writes-on-bgsave-error no", "+OK\r\n");
        subject.wire.expect("DEL large:1", ":1\r\n");
        subject.wire.expect("CONFIG SET stop-writes-on-bgsave-error yes", "+OK\r\n");
        subject.save_succeeds("there is room again");
        subject.wire.expect(&format!("SET large:1 {}", "x".repeat(1_000_000)), "+OK\r\n");
        subject.number = 0;
        subject.wire.expect("SET number 0", "+OK\r\n");
        let log = fs::read_to_string(seen.join("log")).unwrap();
        assert!(log.contains("No space left on device"), "{log}");
        if round < 2 {
            // Makes a dump of the full size again, from an empty disk.
            fs::remove_file(&subject.dump).unwrap();
            subject.save_succeeds("from an empty disk");
        }
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_the_end() {
    let folder = Folder::new();
    let mut subject = Subject::start(folder.path());
    let process = subject.process.id().to_string();
    let limit = |bytes: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &process, &format!("--fsize={bytes}:unlimited")]);
        assert!(command.status().expect("prlimit is needed: install util-linux").success());
    };
    let paths = paths_of_save(&subject.process, &subject.dump);
    let strace = Strace::attach(&subject.process, &paths, &["-e", "trace=write"]);
    limit("1500000");
    subject.save_fails_and_leaves_the_dump("a limit on the size of files");
    let calls = strace.detach();
    // The write that meets the limit is a short one; only the next gets the error.
    let [.., short, failed] = calls.as_slice() else { panic!("{calls:?}") };
    assert!(failed.text.contains("= -1 EFBIG") && short.succeeded(), "{calls:?}");
    limit("unlimited");
    subject.save_succeeds("a limit on the size of files");
}

#[test]
fn a_folder_that_is_gone_and_one_that_is_made_anew() {
    let folder = Folder::new();
    let (data, away) = (folder.path().join("data"), folder.path().join("away"));
    fs::create_dir(&data).unwrap();
    let mut subject = Subject::start(&data);
    subject.change();
    let before = fs::read(&subject.dump).unwrap();
    fs::rename(&data, &away).unwrap();
    subject.save_fails("the folder is gone");
    assert!(fs::read(away.join("dump.my_rdb")).unwrap() == before);
    fs::rename(&away, &data).unwrap();
    subject.save_succeeds("the folder is back");
    subject.change();
    fs::remove_dir_all(&data).unwrap();
    subject.save_fails("the folder was removed");
    fs::create_dir(&data).unwrap();
    subject.save_succeeds("the folder was made anew");
    // The lock was made anew as well.
    let text = refusal(&data, &["--port", &free_port().to_string()]);
    assert!(text.contains("another server"), "{text}");
}

/// A user without rights; permissions mean nothing to root.
const NOBODY: &str = "65534";

/// The program as a user to whom permissions apply, from a place that this user can reach.
fn as_nobody(folder: &Path) -> Command {
    let program_path = folder.join("my_redis_server");
    if !program_path.exists() {
        fs::copy(env!("CARGO_BIN_EXE_my_redis_server"), &program_path).unwrap();
    }
    let is_root = fs::metadata("/proc/self").unwrap();
    let is_root = std::os::unix::fs::MetadataExt::uid(&is_root) == 0;
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        command.args([&user, &group, "--clear-groups", "--"]);
    }
    command.arg(program_path);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn a_folder_that_may_not_be_written_any_more() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let allow = |mode| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o777);
    let mut command = as_nobody(folder.path());
    command.args(OPTIONS).arg("--dir").arg(&data);
    let mut subject = Subject::of(Process::start_command(command), &data, 1);
    allow(0o555);
    subject.save_fails_and_leaves_the_dump("a folder that may only be read");
    allow(0o777);
    subject.save_succeeds("a folder that may be written again");
    // From the start on: one line, and the end.
    subject.process.kill();
    allow(0o555);
    let mut command = as_nobody(folder.path());
    command.args(["--port", &free_port().to_string(), "--dir"]).arg(&data);
    let text = refusal_of(command);
    assert!(text.contains("cannot keep the dump") && text.contains("Permission denied"), "{text}");
}

#[test]
fn a_file_system_without_locks_is_used_with_a_warning() {
    let folder = Folder::new();
    let traced = |error: &str| {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("inject=flock:error={error}"));
        command.arg(env!("CARGO_BIN_EXE_my_redis_server")).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let mut process = Process::start_command(traced("ENOLCK"));
    process.wire().expect("SET key value", "+OK\r\n").expect("SAVE", "+OK\r\n");
    process.wire().send("SHUTDOWN NOSAVE");
    assert!(process.wait().success());
    let log = process.log();
    assert!(log.contains("WARN") && log.contains("cannot be locked"), "{log}");
    // An error that says nothing about locks in general is not passed over.
    let mut command = traced("EIO");
    command.args(["--port", &free_port().to_string()]);
    let text = refusal_of(command);
    assert!(text.contains("cannot lock"), "{text}");
}

#[test]
fn a_slow_disk_keeps_no_writer_waiting() {
    let folder = Folder::new();
    let mut subject = Subject::start(folder.path());
    for (inject, least) in [
        ("fsync:delay_enter=3s:when=1", Duration::from_secs(3)),
        ("write:delay_enter=400ms", Duration::from_secs(2)),
    ] {
        subject.change();
        let mut writer = subject.process.wire();
        let (stop, began) = (AtomicBool::new(false), Instant::now());
        let (longest, sets) = thread::scope(|scope| {
            let at_end = raise_at_end(&stop);
            let stop = &stop;
            let writes = scope.spawn(move || {
                let (mut longest, mut sets) = (Duration::ZERO, 0_u64);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    writer.expect(&format!("SET key:{} {sets}", sets % 1_000), "+OK\r\n");
                    longest = longest.max(began.elapsed());
                    sets += 1;
                }
                (longest, sets)
            });
            subject.with_fault(inject, Subject::save);
            drop(at_end);
            writes.join().unwrap()
        });
        let took = began.elapsed();
        println!("{inject}: save {took:?}, {sets} SETs, the longest {longest:?}");
        assert!(took >= least, "{inject}: the save took only {took:?}");
        assert!(longest < Duration::from_millis(500), "{inject}: a SET took {longest:?}");
        assert_eq!(subject.info("rdb_last_bgsave_status"), "ok");
        redis_accepts(&subject.dump);
    }
}

/// Waits until the saving thread gets no further: its first write is being delayed. A save that is
/// given up before that has nothing to keep any more.
fn wait_for_its_first_write(subject: &mut Subject) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut before = None;
    while Instant::now() < deadline {
        let processed = subject.info("current_save_keys_processed");
        if processed != "0" && before.as_ref() == Some(&processed) {
            return;
        }
        before = Some(processed);
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the save does not come to its first write");
}

#[test]
fn a_save_that_would_need_too_much_memory_is_given_up_and_no_writer_waits() {
    const KEYS: usize = 20_000;
    let folder = Folder::new();
    let mut subject = Subject::start(folder.path());
    let value = "v".repeat(400);
    let write_all = |wire: &mut Wire| {
        let mut longest = Duration::ZERO;
        for from in (0..KEYS).step_by(100) {
            let pairs: String =
                (from..from + 100).map(|key| format!(" key:{key} {value}")).collect();
            let began = Instant::now();
            wire.expect(&format!("MSET{pairs}"), "+OK\r\n");
            longest = longest.max(began.elapsed());
        }
        longest
    };
    write_all(&mut subject.wire);
    subject.save();
    subject.wire.expect("CONFIG SET my-redis-snapshot-memory 1mb", "+OK\r\n");
    // Packed, so little would be written that the save could be faster than the writer.
    subject.wire.expect("CONFIG SET rdbcompression no", "+OK\r\n");
    subject.wire.expect("CONFIG SET stop-writes-on-bgsave-error no", "+OK\r\n");
    let before = fs::read(&subject.dump).unwrap();
    let (longest, _) = subject.with_fault("write:delay_enter=3s", |subject| {
        subject.wire.run("BGSAVE");
        wait_for_its_first_write(subject);
        let longest = write_all(&mut subject.wire);
        let mut count = |field: &str| subject.info(field).parse::<usize>().unwrap();
        let (total, processed) =
            (count("current_save_keys_total"), count("current_save_keys_processed"));
        assert!(processed < KEYS && KEYS < total, "{processed} of {total} keys, not slowed down");
        let bytes: u64 = subject.info("my_redis_snapshot_aside_bytes").parse().unwrap();
        assert!((1 << 20..1 << 21).contains(&bytes), "{bytes} bytes are kept");
        subject.save();
        longest
    });
    println!("the longest MSET took {longest:?}");
    assert!(longest < Duration::from_millis(500), "an MSET took {longest:?}");
    assert_eq!(subject.info("rdb_last_bgsave_status"), "err");
    assert_eq!(subject.info("my_redis_snapshot_aside_bytes"), "0");
    assert!(fs::read(&subject.dump).unwrap() == before, "the dump was changed");
    subject.wire.expect("CONFIG SET my-redis-snapshot-memory 0", "+OK\r\n");
    subject.save_succeeds("with room again");
}

#[test]
fn a_log_that_cannot_be_written_harms_nothing() {
    let folder = Folder::new();
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let unread = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for (what, log) in [("full", full()), ("closed", unread())] {
        let process = Process::start_logging_to(program(folder.path(), OPTIONS), log);
        let mut subject = Subject::of(process, folder.path(), 1);
        let ((), calls) = subject.with_fault("fsync:error=EIO:when=1", |subject| {
            subject.save_fails_and_leaves_the_dump(what);
        });
        one_was_injected(what, &calls);
        subject.save_succeeds(what);
        subject.process.signal("TERM");
        assert!(subject.process.wait().success(), "{what}");
        fs::remove_file(&subject.dump).unwrap();
    }
}
