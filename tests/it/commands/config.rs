//! CONFIG: what it refuses as Redis does, and that what acts acts.

use super::{OK, expect_alike};
use crate::harness::oracle::Oracle;
use crate::harness::process::Process;
use crate::harness::server::{Folder, Server};
use crate::harness::wire::Wire;
use crate::it;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn values_are_read_refused_and_printed_as_redis_does() {
    let lines = &[
        "CONFIG",
        "CONFIG FOO",
        "CONFIG GET",
        "CONFIG GET nosuch",
        "CONFIG GET nosuch*",
        "CONFIG GET SAVE save Save",
        "CONFIG GET hash-max-listpack-val?e",
        "CONFIG SET a",
        "CONFIG SET a b",
        "CONFIG SET a b c",
        "CONFIG SET dir /x",
        "CONFIG SET maxclients 10 DIR /x",
        "CONFIG SET dbfilename x",
        "CONFIG SET databases 3",
        "CONFIG SET maxclients 1 maxclients 2",
        "CONFIG SET maxclients 0",
        "CONFIG SET maxclients x",
        "CONFIG SET MAXCLIENTS 9000 timeout foo",
        "CONFIG GET maxclients",
        "CONFIG SET save 1",
        "CONFIG SET save \"0 1\"",
        "CONFIG SET save \"1 -1\"",
        "CONFIG SET save \"10  1\"",
        "CONFIG SET save \"10 x\"",
        "CONFIG SET save \"+10 1\"",
        "CONFIG GET save",
        "CONFIG SET save \"3600 1 300 100\"",
        "CONFIG GET save",
        "CONFIG SET save \"\"",
        "CONFIG GET save",
        "CONFIG SET notify-keyspace-events KEA",
        "CONFIG GET notify-keyspace-events",
        "CONFIG SET notify-keyspace-events nmtKx$g",
        "CONFIG GET notify-keyspace-events",
        "CONFIG SET notify-keyspace-events Q",
        "CONFIG SET client-output-buffer-limit \"normal 1mb 2mb 10 replica 1 2 3\"",
        "CONFIG GET client-output-buffer-limit",
        "CONFIG SET client-output-buffer-limit \"foo 1mb 2mb 10\"",
        "CONFIG SET client-output-buffer-limit \"normal 1mb 2mb x\"",
        "CONFIG SET client-output-buffer-limit normal",
        "CONFIG SET latency-tracking-info-percentiles \"50 99.95 100 0.1\"",
        "CONFIG GET latency-tracking-info-percentiles",
        "CONFIG SET latency-tracking-info-percentiles \"101\"",
        "CONFIG SET shutdown-on-sigint \"save never\"",
        "CONFIG SET maxmemory-clients 101%",
        "CONFIG SET maxmemory-clients -5%",
        "CONFIG SET maxmemory -1",
        "CONFIG SET hash-max-listpack-value 1kb",
        "CONFIG GET hash-max-listpack-value",
        "CONFIG GET hash-max-ziplist-value",
        "CONFIG SET hash-max-ziplist-value 1k",
        "CONFIG GET hash-max-listpack-value",
        "CONFIG SET hash-max-listpack-value 1KiB",
        "CONFIG SET lazyfree-lazy-user-del YES",
        "CONFIG GET lazyfree-lazy-user-del",
        "CONFIG SET lazyfree-lazy-user-del maybe",
        "CONFIG SET maxmemory-policy ALLKEYS-LRU",
        "CONFIG GET maxmemory-policy",
        "CONFIG SET maxmemory-policy nosuch",
        "CONFIG SET loglevel loud",
        "CONFIG SET slowlog-log-slower-than \"-1\"",
        "CONFIG GET slowlog-log-slower-than",
        "CONFIG SET proto-max-bulk-len 1mb",
        "CONFIG GET proto-max-bulk-len",
        "CONFIG REWRITE",
        "CONFIG RESETSTAT",
        "CONFIG RESETSTAT x",
        "CONFIG HELP",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

it!(what_the_server_cannot_keep_is_refused, |server| {
    let mut wire = server.wire();
    for (name, value) in [
        ("appendonly", "yes"),
        ("activedefrag", "yes"),
        ("min-replicas-to-write", "1"),
        ("shutdown-on-sigterm", "nosave"),
        ("tls-port", "6380"),
    ] {
        let before = wire.run(&format!("CONFIG GET {name}"));
        let refused = format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - ");
        wire.expect_start(&format!("CONFIG SET {name} {value}"), refused);
        wire.expect(&format!("CONFIG GET {name}"), before);
    }
    wire.expect("CONFIG SET appendonly no maxmemory 0", OK);
});

it!(the_string_limit_acts_at_once, |server| {
    let mut wire = server.wire();
    let long = vec![b'x'; (1 << 20) + 1];
    wire.expect("CONFIG SET proto-max-bulk-len 1mb", OK);
    assert_eq!(wire.command(&[&b"SET"[..], b"k", &long[..1 << 20]]), OK.as_bytes());
    wire.expect_start("APPEND k x", "-ERR string exceeds maximum allowed size");
    // Only what announces the length: what came after it would be lost with the connection.
    wire.raw("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n");
    wire.expect_reply("-ERR Protocol error: invalid bulk length\r\n");
    server.wire().expect("CONFIG SET proto-max-bulk-len 2mb", OK);
    assert_eq!(server.wire().command(&[&b"SET"[..], b"k", &long]), OK.as_bytes());
});

#[test]
fn the_start_options_can_be_read() {
    let server = Server::start_with(16, |options| {
        options.save = my_redis::config::parse_save_rules(b"60 5").unwrap();
        options.clients_max = 77;
    });
    let mut wire = server.wire();
    let port = server.addr().port().to_string();
    let folder = server.folder().path().canonicalize().unwrap();
    for (name, value) in [
        ("save", "60 5"),
        ("maxclients", "77"),
        ("port", &port),
        ("dir", folder.to_str().unwrap()),
        ("dbfilename", "dump.my_rdb"),
        ("my-redis-shards", "16"),
        ("databases", "1"),
        ("appendonly", "no"),
    ] {
        let expected =
            format!("*2\r\n${}\r\n{name}\r\n${}\r\n{value}\r\n", name.len(), value.len());
        wire.expect(&format!("CONFIG GET {name}"), expected);
    }
}

/// Runs a session on a redis-server and on ours, in which protected options may change, with the
/// folders in which they work.
fn with_protected(access: &str, session: fn(&mut Wire, &Path, &str)) {
    let elsewhere = Folder::new();
    let oracle = Oracle::start_with(&["--enable-protected-configs", access]);
    session(&mut Wire::connect(oracle.addr()), elsewhere.path(), "redis.rdb");
    let (elsewhere, folder) = (Folder::new(), Folder::new());
    let options = ["--save", "", "--enable-protected-configs", access];
    let server = Process::start(folder.path(), &options);
    session(&mut server.wire(), elsewhere.path(), "ours.rdb");
}

fn value(wire: &mut Wire, name: &str) -> String {
    let reply = String::from_utf8(wire.run(&format!("CONFIG GET {name}"))).unwrap();
    reply.split("\r\n").nth(4).unwrap_or_else(|| panic!("{name}: {reply}")).to_owned()
}

#[test]
fn the_dump_can_be_moved_by_whom_the_option_allows_it() {
    for access in ["local", "yes"] {
        with_protected(access, |wire, elsewhere, name| {
            let folder = elsewhere.canonicalize().unwrap();
            let shown = folder.to_str().unwrap();
            let failed = |option: &str, why: &str| {
                format!(
                    "-ERR CONFIG SET failed (possibly related to argument '{option}') - {why}\r\n"
                )
            };
            wire.expect("SET key value", OK);
            let before = value(wire, "dir");
            wire.expect("CONFIG SET dir /no/such/folder", {
                failed("dir", "No such file or directory")
            });
            wire.expect("CONFIG SET dir /etc/passwd", failed("dir", "Not a directory"));
            let text = "dbfilename can't be a path, just a filename";
            wire.expect("CONFIG SET dbfilename a/b", failed("dbfilename", text));
            wire.expect("CONFIG SET dbfilename a\\b", failed("dbfilename", text));
            wire.expect(&format!("CONFIG SET dir {shown} timeout x"), {
                failed("timeout", "argument couldn't be parsed into an integer")
            });
            wire.expect("CONFIG SET dir . DIR .", failed("DIR", "duplicate parameter"));
            assert_eq!(value(wire, "dir"), before);
            wire.expect(&format!("CONFIG SET dir {shown} dbfilename {name}"), OK);
            assert_eq!((value(wire, "dir"), value(wire, "dbfilename")), {
                (shown.to_owned(), name.to_owned())
            });
            wire.expect("SAVE", OK);
            assert!(folder.join(name).is_file());
            // A path goes on from the present folder.
            fs::create_dir(folder.join("inner")).unwrap();
            wire.expect("CONFIG SET dir inner", OK).expect("SAVE", OK);
            assert!(folder.join("inner").join(name).is_file());
            assert_eq!(value(wire, "dir"), format!("{shown}/inner"));
            wire.expect("CONFIG SET dir ..", OK).expect("CONFIG SET dbfilename other.rdb", OK);
            wire.expect("SAVE", OK);
            assert!(folder.join("other.rdb").is_file());
            // What is set at the start stays so.
            wire.expect("CONFIG SET logfile x", failed("logfile", "can't set immutable config"));
            let text = "can't set immutable config";
            let name = "enable-protected-configs";
            wire.expect(&format!("CONFIG SET {name} no"), failed(name, text));
        });
    }
}

#[test]
fn a_dump_is_moved_only_to_where_no_other_server_has_its_own() {
    let (folder, other) = (Folder::new(), Folder::new());
    let options = ["--save", "", "--enable-protected-configs", "local"];
    let first = Process::start(folder.path(), &options);
    let second = Process::start(other.path(), &options);
    let mut wire = first.wire();
    wire.expect("SET key value", OK).expect("SAVE", OK);
    let theirs = other.path().canonicalize().unwrap();
    let refused = wire.run(&format!("CONFIG SET dir {}", theirs.display()));
    let refused = String::from_utf8(refused).unwrap();
    let text = "-ERR CONFIG SET failed (possibly related to argument 'dir') - another server";
    assert!(refused.starts_with(text), "{refused}");
    wire.expect("SET key changed", OK).expect("SAVE", OK);
    assert!(!theirs.join("dump.my_rdb").exists());
    // Under another name there is room, and the old place is free for others.
    let asked = format!("CONFIG SET dir {} dbfilename other.my_rdb", theirs.display());
    wire.expect(&asked, OK).expect("SAVE", OK);
    assert!(theirs.join("other.my_rdb").exists());
    let third = Process::start(folder.path(), &options);
    third.wire().expect("GET key", "$7\r\nchanged\r\n");
    let refused = wire.run("CONFIG SET dbfilename a.lock");
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.contains("'dbfilename') - names ending in .lock"), "{refused}");
    drop(second);
}

#[test]
fn a_save_that_runs_while_the_dump_is_moved_ends_where_it_began() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    fs::write(folder.path().join("my.conf"), "save \"\"\nenable-protected-configs local\n")
        .unwrap();
    let server = Process::start(folder.path(), &["my.conf"]);
    let mut wire = server.wire();
    let value = "x".repeat(1_000);
    for number in 0..50_000 {
        wire.send(&format!("SET key:{number} {value}"));
        if number % 1_000 == 999 {
            for _ in 0..1_000 {
                wire.expect_reply(OK);
            }
        }
    }
    wire.expect_start("BGSAVE", "+Background saving started");
    let path = elsewhere.path().canonicalize().unwrap();
    wire.expect(&format!("CONFIG SET dir {}", path.display()), OK);
    wire.expect("CONFIG REWRITE", OK);
    let file = fs::read_to_string(folder.path().join("my.conf")).unwrap();
    assert!(file.contains(&format!("\ndir \"{}\"\n", path.display())), "{file}");
    let saved = |wire: &mut Wire, count: &str| {
        let info = String::from_utf8(wire.run("INFO persistence")).unwrap();
        info.contains(&format!("rdb_saves:{count}\r\n"))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !saved(&mut wire, "1") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(folder.path().join("dump.my_rdb").exists() && !path.join("dump.my_rdb").exists());
    wire.expect("SAVE", OK);
    let sizes = [folder.path(), &path]
        .map(|folder| fs::metadata(folder.join("dump.my_rdb")).unwrap().len());
    assert_eq!(sizes[0], sizes[1]);
}
