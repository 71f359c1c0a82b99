//! Panics: before anything is changed, or in reading, they end one connection, in the middle of a
//! change the whole server, which does not save then. Work in the background begins anew, and a
//! task that does nothing any more is seen.

use crate::harness::process::Process;
use crate::harness::server::{Folder, Server};
use crate::harness::wire::Wire;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const OK: &str = "+OK\r\n";
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

fn info(wire: &mut Wire, field: &str) -> String {
    let all = String::from_utf8(wire.run("INFO stats")).unwrap();
    let value = all.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    value.unwrap_or_else(|| panic!("no {field} in {all}")).to_owned()
}

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + STEP_TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(folder: &Folder) -> Process {
    Process::start(folder.path(), &["--save", "3600 1", "--enable-debug-command", "local"])
}

#[test]
fn a_panic_before_a_change_closes_one_connection() {
    let folder = Folder::new();
    let mut server = start(&folder);
    let (mut other, mut waiting) = (server.wire(), server.wire());
    other.expect("SET key value", OK).expect("WATCH key", OK);
    waiting.send("BLPOP list 0");
    for round in 1..=20 {
        let mut wire = server.wire();
        wire.expect("SUBSCRIBE channel", "*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n");
        wire.expect("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$7\r\nchannel\r\n:0\r\n");
        wire.expect("WATCH key list", OK).expect("CLIENT TRACKING ON", OK);
        // What came before is answered or not; what comes behind is never run.
        wire.raw("DEBUG PANIC\r\nSET key other\r\n");
        wire.expect_closed();
        eventually("it is gone", || {
            let all = String::from_utf8(other.run("INFO clients")).unwrap();
            all.contains("connected_clients:2\r\n")
        });
        assert_eq!(info(&mut other, "my_redis_client_panics"), round.to_string());
    }
    other.expect("GET key", "$5\r\nvalue\r\n").expect("RPUSH list a", ":1\r\n");
    waiting.expect_reply("*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
    other.expect("MULTI", OK).expect("EXEC", "*0\r\n").expect("SAVE", OK);
    assert!(server.log().contains("DEBUG PANIC"), "{}", server.log());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_panic_in_reading_closes_one_connection_and_leaves_the_shard_to_others() {
    let folder = Folder::new();
    // One thread and one shard: all that come after it need what it had.
    let options = ["--save", "3600 1", "--enable-debug-command", "local"];
    let one = ["--threads", "1", "--shards", "1"];
    let mut server = Process::start(folder.path(), &[options, one].concat());
    let mut other = server.wire();
    other.expect("SET key value", OK);
    for round in 1..=20 {
        let (mut wire, mut pipeline) = (server.wire(), server.wire());
        pipeline.raw("INCR count\r\n".repeat(100));
        wire.raw("DEBUG PANIC key READ\r\nSET key other\r\n");
        wire.expect_closed();
        for n in 1..=100 {
            pipeline.expect_reply(format!(":{}\r\n", (round - 1) * 100 + n));
        }
        other.expect("GET key", "$5\r\nvalue\r\n");
        other.expect(&format!("SET other {round}"), OK).expect("DBSIZE", ":3\r\n");
        assert_eq!(info(&mut other, "my_redis_client_panics"), round.to_string());
    }
    let all = String::from_utf8(other.run("INFO keyspace")).unwrap();
    assert!(all.contains("db0:keys=3,"), "{all}");
    other.expect("SAVE", OK);
    assert!(server.log().contains("DEBUG PANIC while a key is read"), "{}", server.log());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_panic_in_a_change_ends_the_server_and_leaves_the_dump_as_it_is() {
    let ways: [&[&str]; 4] = [
        &["DEBUG PANIC key"],
        &["MULTI", "SET other 1", "DEBUG PANIC key", "EXEC"],
        &["BGSAVE", "DEBUG PANIC key"],
        // What came before it in the transaction has been done.
        &["MULTI", "SET other 1", "DEBUG PANIC key READ", "EXEC"],
    ];
    for way in ways {
        let folder = Folder::new();
        let mut server = start(&folder);
        let mut wire = server.wire();
        wire.expect("SET key value", OK).expect("SAVE", OK);
        let before = fs::read(folder.path().join("dump.my_rdb")).unwrap();
        if way[0] != "BGSAVE" {
            wire.expect("SET behind 1", OK);
        }
        for line in way {
            wire.send(line);
        }
        let status = server.wait();
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{status:?}");
        let log = server.log();
        assert!(log.contains("a change of the data panicked: ending without saving"), "{log}");
        let text = match way.contains(&"DEBUG PANIC key") {
            true => "DEBUG PANIC in the middle of a change",
            false => "DEBUG PANIC while a key is read",
        };
        assert!(log.contains(text), "{log}");
        // A save that was running may have ended; it has what was there before.
        let after = fs::read(folder.path().join("dump.my_rdb")).unwrap();
        if way[0] != "BGSAVE" {
            assert_eq!(before, after);
        }
        let again = start(&folder);
        let mut wire = again.wire();
        wire.expect("GET key", "$5\r\nvalue\r\n").expect("EXISTS other behind", ":0\r\n");
        let names = fs::read_dir(folder.path()).unwrap();
        let strays = names
            .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(".temp"));
        assert_eq!(strays.count(), 0);
    }
}

#[test]
fn tasks_in_the_background_are_shown() {
    let server = Server::start(1);
    let mut wire = server.wire();
    assert_eq!(info(&mut wire, "my_redis_tasks_dead"), "0");
    let all = String::from_utf8(wire.run("INFO stats")).unwrap();
    let names: Vec<&str> = all
        .lines()
        .filter_map(|line| line.strip_prefix("my_redis_task_")?.split_once(':'))
        .map(|(name, value)| {
            assert!(value.starts_with("state=alive,restarts=0"), "{name} {value}");
            name
        })
        .collect();
    for name in ["dropper", "sweeper", "accepting", "looking_after", "making_room"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(info(&mut wire, "my_redis_tasks"), names.len().to_string());
    // One that has a rhythm is heard.
    for name in ["dropper", "sweeper", "looking_after"] {
        let line = info(&mut wire, &format!("my_redis_task_{name}"));
        let (_, silence) = line.split_once("silence_ms=").unwrap();
        assert!(silence.parse::<u64>().unwrap() < 5_000, "{name} {line}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_task_that_is_dead_is_seen() {
    use my_redis::persist::planted::{Bug, plant};
    let server = Server::start(1);
    let mut wire = server.wire();
    plant(Bug::EndOfTheSweeper, &server.services().saver.path());
    eventually("it is seen", || info(&mut wire, "my_redis_tasks_dead") == "1");
    let line = info(&mut wire, "my_redis_task_sweeper");
    assert!(line.starts_with("state=ended,restarts=0"), "{line}");
    // And one that panics is alive again, with a restart.
    plant(Bug::PanicInTheRules, &server.services().saver.path());
    eventually("it began anew", || {
        info(&mut wire, "my_redis_task_looking_after").starts_with("state=alive,restarts=1")
    });
    wire.expect("SET key value", OK);
}
