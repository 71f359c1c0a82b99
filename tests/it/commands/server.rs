//! The server: INFO, saving, the end, and what an empty, unclustered server answers.

use super::{OK, expect_alike};
use crate::harness::oracle::Oracle;
use crate::harness::process::{Process, program};
use crate::harness::server::Folder;
use crate::harness::wire::Wire;
use crate::it;
use std::process::Stdio;

#[test]
fn an_empty_server_answers_as_redis_does() {
    let lines = &[
        "SAVE x",
        "BGSAVE foo",
        "BGSAVE SCHEDULE x",
        "SHUTDOWN foo",
        "SHUTDOWN ABORT",
        "SHUTDOWN ABORT NOW",
        "SHUTDOWN SAVE NOSAVE",
        "LATENCY",
        "LATENCY FOO",
        "LATENCY LATEST",
        "LATENCY LATEST x",
        "LATENCY HISTORY x",
        "LATENCY RESET",
        "LATENCY RESET a b",
        "LATENCY HISTOGRAM nosuch",
        "SLOWLOG",
        "SLOWLOG GET",
        "SLOWLOG GET a",
        "SLOWLOG GET -1",
        "SLOWLOG GET -2",
        "SLOWLOG GET 1 2",
        "SLOWLOG LEN",
        "SLOWLOG RESET",
        "SLOWLOG HELP",
        "MODULE",
        "MODULE LIST",
        "MODULE LIST x",
        "FUNCTION",
        "FUNCTION LIST",
        "FUNCTION LIST WITHCODE",
        "FUNCTION LIST WITHCODE WITHCODE",
        "FUNCTION LIST LIBRARYNAME",
        "FUNCTION LIST LIBRARYNAME a",
        "FUNCTION LIST LIBRARYNAME a LIBRARYNAME b",
        "FUNCTION LIST FOO",
        "FUNCTION FLUSH",
        "FUNCTION FLUSH sync",
        "FUNCTION FLUSH FOO",
        "FUNCTION FLUSH SYNC ASYNC",
        "CLUSTER",
        "CLUSTER INFO",
        "CLUSTER SLOTS",
        "CLUSTER FOO",
        "CLUSTER KEYSLOT",
        "CLUSTER KEYSLOT a",
        "CLUSTER HELP",
        "SENTINEL MASTERS",
        "ROLE",
        "ROLE x",
        "TIME x",
        "LASTSAVE x",
        "INFO foo",
        "INFO cluster",
        "INFO CLUSTER foo",
        "INFO keyspace",
        "INFO keyspace cluster modules",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

/// The text of INFO.
fn info(wire: &mut Wire, sections: &str) -> String {
    let reply = String::from_utf8(wire.run(&format!("INFO {sections}"))).unwrap();
    reply.split_once("\r\n").unwrap().1.to_owned()
}

/// A field of INFO.
fn value<'a>(info: &'a str, name: &str) -> &'a str {
    let value = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    value.unwrap_or_else(|| panic!("no {name} in {info}"))
}

/// Fields of Redis that need what this server does not have.
const LEFT_OUT: &[&str] =
    &["atomicvar_api", "gcc_version", "used_cpu_sys_main_thread", "used_cpu_user_main_thread"];

it!(info_has_the_sections_and_fields_of_redis_in_their_order, |server| {
    let oracle = Oracle::start();
    let names = |text: &str| -> Vec<String> {
        let names = text.lines().filter(|line| !line.is_empty());
        names.map(|line| line.split(':').next().unwrap().to_owned()).collect()
    };
    let ours = names(&info(&mut server.wire(), ""));
    let redis = names(&info(&mut Wire::connect(oracle.addr()), ""));
    let ours: Vec<&String> = ours.iter().filter(|name| !name.starts_with("my_redis_")).collect();
    let redis: Vec<&String> =
        redis.iter().filter(|name| !LEFT_OUT.contains(&name.as_str())).collect();
    assert_eq!(ours, redis);
    for all in ["all", "everything", "default", "DEFAULT"] {
        assert!(info(&mut server.wire(), all).starts_with("# Server\r\nredis_version:7.0.15\r\n"));
    }
});

it!(info_counts_what_happens, |server| {
    let mut wire = server.wire();
    for line in ["SET a 1", "GET a", "GET none", "NOSUCH", "LPUSH a x", "SET b 1 PX 100000"] {
        wire.run(line);
    }
    let text = info(&mut wire, "stats errorstats keyspace persistence clients");
    for (name, expected) in [
        ("keyspace_hits", "1"),
        ("keyspace_misses", "1"),
        ("total_error_replies", "2"),
        ("errorstat_ERR", "count=1"),
        ("errorstat_WRONGTYPE", "count=1"),
        ("db0", "keys=2,expires=1,avg_ttl=0"),
        ("rdb_changes_since_last_save", "2"),
        ("connected_clients", "1"),
        ("total_connections_received", "1"),
        ("loading", "0"),
    ] {
        assert_eq!(value(&text, name), expected, "{name}");
    }
    assert!(value(&text, "total_commands_processed").parse::<u64>().unwrap() >= 6);
    assert!(value(&text, "total_net_input_bytes").parse::<u64>().unwrap() > 100);
    wire.expect("CONFIG RESETSTAT", OK);
    let text = info(&mut wire, "stats errorstats");
    assert_eq!(value(&text, "keyspace_hits"), "0");
    assert!(!text.contains("errorstat_"));
});

it!(info_tells_of_the_server_and_its_memory, |server| {
    let mut wire = server.wire();
    let text = info(&mut wire, "server memory cpu");
    assert_eq!(value(&text, "tcp_port"), server.addr().port().to_string());
    assert_eq!(value(&text, "process_id"), std::process::id().to_string());
    assert_eq!(value(&text, "run_id").len(), 40);
    let shards = server.services().figures.shards().count();
    assert_eq!(value(&text, "my_redis_shards"), shards.to_string());
    assert!(value(&text, "used_memory").parse::<u64>().unwrap() > 100_000);
    assert!(value(&text, "used_memory_human").ends_with(['K', 'M']));
    assert!(value(&text, "used_cpu_user").parse::<f64>().unwrap() >= 0.0);
    assert!(!text.contains("# Clients"));
});

it!(expired_keys_and_their_lag_are_told, |server| {
    let mut wire = server.wire();
    wire.expect("SET k v PX 1000", OK);
    server.advance_ms(1_500);
    while value(&info(&mut wire, "stats"), "expired_keys") != "1" {}
    let text = info(&mut wire, "stats");
    assert_eq!(value(&text, "my_redis_expire_lag_max_ms"), "500");
});

it!(saving_is_told_of, |server| {
    let mut wire = server.wire();
    wire.expect("SET k v", OK);
    wire.expect("SAVE", OK);
    assert!(server.dump_path().exists());
    let text = info(&mut wire, "persistence");
    assert_eq!(value(&text, "rdb_saves"), "1");
    assert_eq!(value(&text, "rdb_changes_since_last_save"), "0");
    assert_eq!(value(&text, "rdb_last_bgsave_status"), "ok");
    let last = String::from_utf8(wire.run("LASTSAVE")).unwrap();
    assert_eq!(last, format!(":{}\r\n", value(&text, "rdb_last_save_time")));
    std::fs::remove_file(server.dump_path()).unwrap();
    wire.expect("BGSAVE", "+Background saving started\r\n");
    while value(&info(&mut wire, "persistence"), "rdb_saves") != "2" {}
    assert!(server.dump_path().exists());
    wire.expect("BGSAVE SCHEDULE", "+Background saving started\r\n");
});

it!(time_is_that_of_the_clock, |server| {
    let now = server.now_ms();
    let (seconds, micros) = (now / 1_000, now % 1_000 * 1_000);
    let (seconds, micros) = (seconds.to_string(), micros.to_string());
    let expected =
        format!("*2\r\n${}\r\n{seconds}\r\n${}\r\n{micros}\r\n", seconds.len(), micros.len());
    server.wire().expect("TIME", expected);
});

#[test]
fn shutdown_saves_as_it_is_told() {
    for (request, rules, saves) in [
        ("SHUTDOWN", "300 1", true),
        ("SHUTDOWN", "off", false),
        ("SHUTDOWN SAVE", "off", true),
        ("SHUTDOWN NOSAVE", "300 1", false),
        ("shutdown nosave now force", "300 1", false),
    ] {
        let folder = Folder::new();
        let mut process = Process::start(folder.path(), &["--save", rules]);
        let mut wire = process.wire();
        wire.expect("SET k v", OK);
        wire.send(request);
        wire.expect_closed();
        assert!(process.wait().success(), "{request}");
        assert_eq!(folder.path().join("dump.my_rdb").exists(), saves, "{request} {rules}");
    }
}

#[test]
fn a_shutdown_that_cannot_save_is_refused_unless_forced() {
    let folder = Folder::new();
    let mut process = Process::start(folder.path(), &["--save", "300 1"]);
    let mut wire = process.wire();
    wire.expect("SET k v", OK);
    // The folder is gone: nothing can be written there any more.
    std::fs::remove_dir_all(folder.path()).unwrap();
    wire.expect("SHUTDOWN", "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    wire.expect("GET k", "$1\r\nv\r\n");
    wire.expect("SAVE", "-ERR\r\n");
    wire.expect_start("SET k w", "-MISCONF Redis is configured to save RDB snapshots");
    wire.expect("CONFIG SET stop-writes-on-bgsave-error no", OK);
    wire.expect("SET k w", OK);
    wire.send("SHUTDOWN FORCE");
    wire.expect_closed();
    assert!(process.wait().success());
}

#[test]
fn a_wrong_command_line_is_told_in_one_line() {
    let folder = Folder::new();
    for options in [
        &["--port", "x"][..],
        &["--port", "70000"],
        &["--port"],
        &["--nonsense"],
        &["redis.conf"],
        &["--maxclients", "0"],
        &["--loglevel", "loud"],
        &["--databases", "0"],
        &["--save", "0 1"],
        &["--dir", "/nosuch/folder", "--port", "0"],
        &["--bind", "192.0.2.1", "--port", "0"],
    ] {
        let output = program(folder.path(), options).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{options:?}: {text}");
    }
    let help = program(folder.path(), &["--help"]).stdout(Stdio::piped()).output().unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("--requirepass"));
}

#[test]
fn the_log_level_decides_what_is_logged() {
    for (level, introduces) in [("notice", true), ("warning", false)] {
        let folder = Folder::new();
        let options = ["--port", "0", "--loglevel", level, "--save", "off"];
        let child = program(folder.path(), &options).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        let id = child.id().to_string();
        let killed = std::process::Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(killed.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.contains("shards, "), introduces, "{level}: {text}");
        assert!(!text.contains('\u{1b}'), "colours in a file: {text}");
    }
}
