//! The configuration file: what it sets, what is refused, and CONFIG REWRITE.

use crate::harness::process::{Process, program};
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::Wire;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

const OK: &str = "+OK\r\n";

/// Starts the program with this file, and with what the test needs of options.
fn start(folder: &Folder, text: &str, options: &[&str]) -> Process {
    fs::write(folder.path().join("my.conf"), text).unwrap();
    let options: Vec<&str> = std::iter::once(&"my.conf").chain(options).copied().collect();
    Process::start(folder.path(), &options)
}

fn value(wire: &mut Wire, name: &str) -> String {
    let reply = String::from_utf8(wire.run(&format!("CONFIG GET {name}"))).unwrap();
    reply.split("\r\n").nth(4).unwrap_or_else(|| panic!("{name}: {reply}")).to_owned()
}

fn file(folder: &Folder) -> String {
    fs::read_to_string(folder.path().join("my.conf")).unwrap()
}

#[test]
fn a_file_sets_options_and_the_command_line_goes_before_it() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("more")).unwrap();
    fs::write(folder.path().join("more/2.conf"), "timeout 9\n").unwrap();
    fs::write(folder.path().join("more/1.conf"), "timeout 8\nhz 12\n").unwrap();
    fs::write(folder.path().join("more/3.txt"), "timeout 10\n").unwrap();
    let text = "# comment\nmaxclients 50\ntimeout 7\ninclude more/*.conf\nsave 900 1\nsave 60 5\n\
                requirepass \"se cret\"\nslowlog-log-slower-than 0\ndatabases 3\nshards 7\n\
                dbfilename \"my dump\"\nhash-max-listpack-entries 9\n";
    let process = start(&folder, text, &["--maxclients", "60"]);
    let mut wire = process.wire();
    wire.expect("AUTH \"se cret\"", OK).expect("SELECT 2", OK);
    for (name, expected) in [
        ("maxclients", "60"),
        ("timeout", "9"),
        ("hz", "12"),
        ("save", "900 1 60 5"),
        ("slowlog-log-slower-than", "0"),
        ("databases", "3"),
        ("my-redis-shards", "7"),
        ("dbfilename", "my dump"),
        ("hash-max-listpack-entries", "9"),
    ] {
        assert_eq!(value(&mut wire, name), expected, "{name}");
    }
    let info = String::from_utf8(wire.run("INFO server")).unwrap();
    let path = folder.path().join("my.conf").canonicalize().unwrap();
    assert!(info.contains(&format!("config_file:{}\r\n", path.display())), "{info}");
    // What was read acts, and is not only told.
    wire.expect("SLOWLOG RESET", OK).run("PING");
    assert_ne!(wire.run("SLOWLOG LEN"), b":0\r\n");
    wire.expect("SAVE", OK);
    assert!(folder.path().join("my dump").exists());
}

/// What the program says that does not start.
fn refusal(folder: &Folder, text: &str) -> String {
    fs::write(folder.path().join("my.conf"), text).unwrap();
    let options = ["my.conf", "--port", "0"];
    let output = program(folder.path(), &options).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_wrong_file_is_refused_with_the_line() {
    let folder = Folder::new();
    for (text, number, line, reason) in [
        ("hz 10\nnosuch 1\n", 2, "nosuch 1", "Bad directive or wrong number of arguments"),
        ("user", 1, "user", "Bad directive or wrong number of arguments"),
        ("\n\n timeout x", 3, "timeout x", "argument couldn't be parsed into an integer"),
        ("appendonly yes", 1, "appendonly yes", "my_redis_server keeps no append only file"),
        ("replicaof a 1", 1, "replicaof a 1", "my_redis_server cannot follow another server"),
        ("include my.conf", 1, "include my.conf", "too many files include each other"),
    ] {
        let told = refusal(&folder, text);
        let expected = format!(
            "*** FATAL CONFIG FILE ERROR (my_redis_server {}) ***\n\
             Reading the configuration file, at line {number}\n>>> '{line}'\n{reason}\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(told.trim_start_matches('\n'), expected);
    }
    let told = refusal(&folder, "include nosuch.conf\n");
    assert!(told.starts_with("Fatal error, can't open config file 'nosuch.conf': "), "{told}");
}

/// The file that Redis comes with, as far as it is a file of settings.
const USUAL: &str = "\
bind 127.0.0.1 -::1\nprotected-mode yes\ntcp-backlog 511\ntimeout 0\ntcp-keepalive 300\n\
daemonize no\npidfile redis_6379.pid\nloglevel notice\nlogfile \"\"\ndatabases 16\n\
always-show-logo no\nset-proc-title yes\n\
proc-title-template \"{title} {listen-addr} {server-mode}\"\nstop-writes-on-bgsave-error yes\n\
rdbcompression yes\nrdbchecksum yes\ndbfilename dump.rdb\nrdb-del-sync-files no\ndir ./\n\
replica-serve-stale-data yes\nreplica-read-only yes\nrepl-diskless-sync yes\n\
repl-diskless-sync-delay 5\nrepl-diskless-sync-max-replicas 0\nrepl-diskless-load disabled\n\
repl-disable-tcp-nodelay no\nreplica-priority 100\nacllog-max-len 128\nlazyfree-lazy-eviction no\n\
lazyfree-lazy-expire no\nlazyfree-lazy-server-del no\nreplica-lazy-flush no\n\
lazyfree-lazy-user-del no\nlazyfree-lazy-user-flush no\noom-score-adj no\n\
oom-score-adj-values 0 200 800\ndisable-thp yes\nappendonly no\nappendfilename \"appendonly.aof\"\n\
appenddirname \"appendonlydir\"\nappendfsync everysec\nno-appendfsync-on-rewrite no\n\
auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 64mb\naof-load-truncated yes\n\
aof-use-rdb-preamble yes\naof-timestamp-enabled no\nslowlog-log-slower-than 10000\n\
slowlog-max-len 128\nlatency-monitor-threshold 0\nnotify-keyspace-events \"\"\n\
hash-max-listpack-entries 512\nhash-max-listpack-value 64\nlist-max-listpack-size -2\n\
list-compress-depth 0\nset-max-intset-entries 512\nzset-max-listpack-entries 128\n\
zset-max-listpack-value 64\nhll-sparse-max-bytes 3000\nstream-node-max-bytes 4096\n\
stream-node-max-entries 100\nactiverehashing yes\nclient-output-buffer-limit normal 0 0 0\n\
client-output-buffer-limit replica 256mb 64mb 60\nclient-output-buffer-limit pubsub 32mb 8mb 60\n\
hz 10\ndynamic-hz yes\naof-rewrite-incremental-fsync yes\nrdb-save-incremental-fsync yes\n\
jemalloc-bg-thread yes\n";

#[test]
fn the_file_that_redis_comes_with_is_understood() {
    let folder = Folder::new();
    let process = start(&folder, USUAL, &[]);
    let mut wire = process.wire();
    wire.expect("SELECT 15", OK);
    assert_eq!(value(&mut wire, "tcp-backlog"), "511");
}

#[test]
fn rewriting_keeps_comments_and_order_and_is_read_again() {
    let folder = Folder::new();
    let text = "# head\n\ntimeout   5\nsave 900 1\n# between\nsave 60 5\nmaxclients 50\n# foot\n";
    let path = folder.path().join("my.conf");
    {
        let process = start(&folder, text, &["--dir", "."]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut wire = process.wire();
        wire.expect("CONFIG SET timeout 6 save \"1 2 3 4\" requirepass \"a b\"", OK);
        wire.expect("CONFIG SET proto-max-bulk-len 2mb slowlog-log-slower-than -1", OK);
        wire.expect("CONFIG REWRITE", OK);
    }
    let rewritten = file(&folder);
    let start_of = "# head\n\ntimeout 6\nsave 1 2\nsave 3 4\n# between\nmaxclients 50\n# foot\n\
                    # Generated by CONFIG REWRITE\n";
    assert!(rewritten.starts_with(start_of), "{rewritten}");
    for line in ["requirepass \"a b\"", "proto-max-bulk-len 2mb", "slowlog-log-slower-than -1"] {
        assert_eq!(rewritten.matches(&format!("\n{line}\n")).count(), 1, "{line}: {rewritten}");
    }
    assert!(!rewritten.contains("hz "), "{rewritten}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let leftovers = fs::read_dir(folder.path()).unwrap().flatten();
    let names: Vec<_> = leftovers.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
    let process = Process::start(folder.path(), &["my.conf"]);
    let mut wire = process.wire();
    wire.expect("AUTH \"a b\"", OK);
    assert_eq!(value(&mut wire, "save"), "1 2 3 4");
    assert_eq!(value(&mut wire, "proto-max-bulk-len"), "2097152");
    // Nothing has changed, so that nothing is written.
    wire.expect("CONFIG REWRITE", OK);
    let before = file(&folder);
    wire.expect("CONFIG REWRITE", OK);
    assert_eq!(file(&folder), before);
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_stays() {
    let folder = Folder::new();
    let process = start(&folder, "timeout 5\n", &[]);
    let mut wire = process.wire();
    wire.expect("CONFIG SET timeout 6", OK);
    fs::write(folder.path().join("my.conf"), "no such option\n").unwrap();
    wire.expect_start("CONFIG REWRITE", "-ERR Rewriting config file: ");
    assert_eq!(file(&folder), "no such option\n");
    fs::remove_file(folder.path().join("my.conf")).unwrap();
    wire.expect("CONFIG REWRITE", OK);
    assert!(file(&folder).contains("\ntimeout 6\n"), "{}", file(&folder));
    fs::remove_file(folder.path().join("my.conf")).unwrap();
    fs::create_dir(folder.path().join("my.conf")).unwrap();
    wire.expect_start("CONFIG REWRITE", "-ERR Rewriting config file: ");
    assert!(Path::new(&folder.path().join("my.conf")).is_dir());
}

#[test]
fn without_a_file_there_is_nothing_to_rewrite() {
    let server = Server::start(MANY_SHARDS);
    let text = "-ERR The server is running without a config file\r\n";
    server.wire().expect("CONFIG REWRITE", text);
}

#[test]
fn huge_pages_are_done_without_unless_they_are_wanted() {
    // Only this flag of the process: whether the machine has such pages is its own affair.
    let wanted = |process: &Process| {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("THP_enabled:"));
        line.expect("the system does not tell").ends_with('1')
    };
    let folder = Folder::new();
    assert!(!wanted(&start(&folder, "", &[])));
    let folder = Folder::new();
    assert!(wanted(&start(&folder, "disable-thp no\n", &[])));
}
