//! The stress tool: it finds nothing where there is nothing, finds each planted bug within ten
//! seconds, and tells plainly what else can be wrong.

use crate::harness::oracle::Oracle;
use crate::harness::planted::{Ended, in_own_process};
use crate::harness::process::free_port;
use crate::harness::random::seed;
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use my_redis::keyspace::planted::{Bug, plant};
use my_redis::pubsub;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Seconds of a run that must find nothing.
const GOOD_SECONDS: &str = "2";
/// Seconds in which a planted bug must be found.
const BUG_SECONDS: &str = "10";
const MIXES: [&str; 5] = ["cache", "queue", "pubsub", "counter", "mixed"];
/// Two for each core of a small machine: more threads are inside a command than there are cores.
const SERVER_THREADS: usize = 4;

fn stress(addr: SocketAddr, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_my_redis_stress"));
    command.args(["--host", "127.0.0.1", "--port", &addr.port().to_string()]).args(options);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let written = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&written).into_owned()
}

fn server() -> Server {
    Server::start_in_real_time_with(MANY_SHARDS, |options| options.threads = SERVER_THREADS)
}

/// Runs every mix, and fails unless each has checked something and found nothing.
fn nothing_is_found(test: &str, addr: SocketAddr) {
    let seed = seed(test).to_string();
    let folder = Folder::new();
    let file = folder.path().join("report.json");
    for (mix, pipeline) in MIXES.into_iter().flat_map(|mix| [(mix, "1"), (mix, "8")]) {
        let output = stress(
            addr,
            &[
                "--check",
                "--watch",
                "--mix",
                mix,
                "--seconds",
                GOOD_SECONDS,
                "--seed",
                &seed,
                "--pipeline",
                pipeline,
                "--clients",
                "12",
                "--json",
                file.to_str().unwrap(),
            ],
        );
        let told = text(&output);
        assert_eq!(output.status.code(), Some(0), "{mix}: {told}");
        let report = std::fs::read(&file).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["verdict"], "good", "{told}");
        assert_eq!(report["seed"].to_string(), seed);
        let checked = report["checked"].as_object().unwrap();
        for (name, count) in checked {
            let is_a_few = count.as_u64().unwrap() >= 20;
            assert!(is_a_few != (name == "register_windows_undecided"), "{mix} {name}: {told}");
        }
        assert!(report["requests"].as_u64().unwrap() > 1_000, "{told}");
        assert!(report["latency"]["p99_us"].as_u64().unwrap() > 0, "{told}");
        assert!(report["watched"]["resident_last_bytes"].as_u64().unwrap() > 1_000_000, "{told}");
    }
}

#[test]
fn nothing_is_found_in_redis_server() {
    let oracle = Oracle::start();
    nothing_is_found("stress of redis-server", oracle.addr());
}

#[test]
fn nothing_is_found_in_this_server_and_nothing_is_left() {
    let server = server();
    nothing_is_found("stress of this server", server.addr());
    server.wire().expect("DBSIZE", ":0\r\n");
}

/// Fails unless a run of this mix finds the bug, and says so.
fn is_found(test: &str, bug: Bug, mix: &str, says: &str) {
    is_found_when(|| plant(bug), test, mix, says);
}

fn is_found_when<P>(planted: impl FnOnce() -> P, test: &str, mix: &str, says: &str) {
    let ended = in_own_process(&format!("stress::{test}"), || {
        let _planted = planted();
        let server = server();
        let seed = seed(test).to_string();
        let began = Instant::now();
        let output = stress(
            server.addr(),
            &["--check", "--mix", mix, "--seconds", BUG_SECONDS, "--seed", &seed],
        );
        let told = text(&output);
        println!("{test} in {:.1} s:\n{told}", began.elapsed().as_secs_f64());
        assert_eq!(output.status.code(), Some(1), "{test}: not found");
        assert!(told.contains("BROKEN") && told.contains(says), "{test}: told otherwise");
    });
    if let Some(Ended { has_passed, text }) = ended {
        println!("{text}");
        assert!(has_passed, "{text}");
    }
}

#[test]
fn an_mset_in_two_halves_is_found() {
    is_found("an_mset_in_two_halves_is_found", Bug::TornWrite, "cache", "half of an MSET");
}

#[test]
fn a_lost_update_of_a_single_key_is_found() {
    let test = "a_lost_update_of_a_single_key_is_found";
    is_found(test, Bug::StaleWrite, "cache", "the longest order that can be");
}

#[test]
fn a_counter_that_loses_updates_is_found() {
    let test = "a_counter_that_loses_updates_is_found";
    is_found(test, Bug::StaleWrite, "counter", "BROKEN (co");
}

#[test]
fn an_element_that_is_handed_to_two_is_found() {
    is_found("an_element_that_is_handed_to_two_is_found", Bug::StaleWrite, "queue", "queues");
}

#[test]
fn an_element_that_is_lost_on_its_way_is_found() {
    let test = "an_element_that_is_lost_on_its_way_is_found";
    is_found(test, Bug::TakenBeforeDecided, "queue", "BROKEN (queues)");
}

#[test]
fn a_transfer_by_exec_that_is_not_one_is_found() {
    let test = "a_transfer_by_exec_that_is_not_one_is_found";
    is_found(test, Bug::ExecLetsGo, "counter", "BROKEN (conservation)");
}

#[test]
fn a_transfer_by_a_script_that_is_not_one_is_found() {
    let test = "a_transfer_by_a_script_that_is_not_one_is_found";
    is_found(test, Bug::ScriptLetsGo, "counter", "BROKEN (conservation)");
}

#[test]
fn a_message_that_overtakes_another_is_found() {
    let test = "a_message_that_overtakes_another_is_found";
    is_found_when(pubsub::planted::plant, test, "pubsub", "BROKEN (channels)");
}

#[test]
fn a_server_that_refuses_or_goes_away_is_told_apart_from_one_that_is_wrong() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let output = stress(nobody, &["--check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("FAILED: cannot connect to"), "{}", text(&output));
    let output = stress(nobody, &["--clients", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output).lines().count(), 1, "{}", text(&output));

    let server = server();
    server.wire().expect("CONFIG SET requirepass secret", "+OK\r\n");
    let output = stress(server.addr(), &["--seconds", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("NOAUTH"), "{}", text(&output));
    let output = stress(server.addr(), &["--seconds", "1", "--auth", "secret", "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));

    // Half of its connections end in the middle of the run.
    let addr = server.addr();
    let ends = std::thread::spawn(move || {
        let mut wire = crate::harness::wire::Wire::connect(addr);
        wire.expect("AUTH secret", "+OK\r\n");
        std::thread::sleep(Duration::from_millis(1_500));
        wire.run("CLIENT KILL TYPE normal SKIPME yes");
    });
    let output = stress(server.addr(), &["--seconds", "20", "--auth", "secret", "--check"]);
    ends.join().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("Server closed the connection"), "{}", text(&output));
}

#[test]
fn errors_are_counted_and_are_no_faults() {
    let oracle = Oracle::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let output = stress(oracle.addr(), &["--seconds", "1", "--check", "--mix", "cache"]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("times the answer was an error: SET: OOM command not allowed"), "{told}");
    assert!(!told.contains("BROKEN"), "{told}");
}
