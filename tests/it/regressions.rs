//! One test for every bug that was found once, named after what went wrong.

use crate::harness::oracle::Oracle;
use crate::harness::process::Process;
use crate::harness::server::Folder;
use crate::harness::wire::{Wire, encode};
use crate::it;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

// A connection's turn ended with replies to send and requests left: it sent, then waited for more
// input, though the rest of the pipeline had come already.
it!(a_pipeline_of_large_replies_hung_once_all_of_it_had_arrived, |server| {
    let mut wire = server.wire();
    let value = "x".repeat(100_000);
    wire.command(&["SET", "key", &value]);
    wire.raw(encode(&["GET", "key"]).repeat(100));
    for _ in 0..100 {
        assert_eq!(wire.reply().len(), value.len() + 11);
    }
});

// Replies still to be sent were dropped when the client had said that no more requests come, and
// so were requests that had come but not run.
it!(a_client_that_finished_sending_lost_replies, |server| {
    let mut wire = server.wire();
    let value = "x".repeat(100_000);
    wire.command(&["SET", "key", &value]);
    wire.raw(encode(&["GET", "key"]).repeat(100)).finish_sending();
    let replies = wire.read_to_close();
    assert_eq!(replies.len(), 100 * (value.len() + 11));
});

// The reply of a command that waits was written without regard to CLIENT REPLY.
it!(save_answered_a_client_that_wants_no_replies, |server| {
    let mut wire = server.wire();
    wire.send("CLIENT REPLY OFF").send("SAVE").expect_silence(50);
    wire.expect("CLIENT REPLY ON", "+OK\r\n").expect("PING", "+PONG\r\n");
    wire.send("CLIENT REPLY SKIP").send("SAVE").expect("PING", "+PONG\r\n");
});

// The allocator gives pages back when it is called some time after they have become free. A server
// that had lost its data, and had no clients, called it no more.
#[test]
fn an_idle_server_kept_the_memory_of_what_was_deleted() {
    const BATCHES: usize = 100;
    const BATCH: usize = 1_000;
    let folder = Folder::new();
    let server = Process::start(folder.path(), &["--save", ""]);
    let mut wire = server.wire();
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let empty = resident();
    let value = "x".repeat(500);
    for batch in 0..BATCHES {
        let keys = batch * BATCH..(batch + 1) * BATCH;
        let requests = keys.flat_map(|key| encode(&["SET", &format!("key:{key}"), &value]));
        wire.raw(requests.collect::<Vec<u8>>());
        (0..BATCH).for_each(|_| drop(wire.reply()));
    }
    let full = resident();
    assert!(full > empty + 40_000, "{BATCHES} batches take {empty} to {full} kB");
    wire.expect("FLUSHALL", "+OK\r\n");
    let began = Instant::now();
    while resident() > empty + (full - empty) / 2 {
        assert!(began.elapsed() < Duration::from_secs(30), "{} of {full} kB", resident());
        std::thread::sleep(Duration::from_millis(100));
    }
}

// The last digit of a number of 39 digits was added without a look at whether 128 bits hold the
// sum: a panic, and in the middle of a change the end of the server.
#[test]
fn a_number_just_above_128_bits_ended_the_server() {
    let session = |addr: SocketAddr| {
        let mut wire = Wire::connect(addr);
        for digits in ["55", "56", "59"] {
            let number = format!("3402823669209384634633746074317682114{digits}");
            let sum = "$39\r\n340282366920938463463374607431768211456\r\n";
            wire.expect(&format!("SET key {number}"), "+OK\r\n").expect("INCRBYFLOAT key 0", sum);
            wire.expect("DEL key hash", if digits == "55" { ":1\r\n" } else { ":2\r\n" });
            wire.expect(&format!("INCRBYFLOAT key {number}"), sum);
            wire.expect(&format!("HINCRBYFLOAT hash field {number}"), sum);
        }
    };
    session(Oracle::start().addr());
    let folder = Folder::new();
    session(Process::start(folder.path(), &["--save", ""]).addr());
}
