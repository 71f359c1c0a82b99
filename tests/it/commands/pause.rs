//! CLIENT PAUSE and UNPAUSE, and what servers without replicas answer.

use super::{OK, expect_alike};
use crate::harness::wire::Wire;
use crate::it;
use std::time::{Duration, Instant};

const QUEUED: &str = "+QUEUED\r\n";

/// Waits until so many clients wait for the end of the pause.
#[track_caller]
fn wait_for_blocked(wire: &mut Wire, count: usize) {
    let expected = format!("blocked_clients:{count}\r\n");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !String::from_utf8(wire.run("INFO clients")).unwrap().contains(&expected) {
        assert!(Instant::now() < deadline, "not {count} clients are blocked");
        std::thread::sleep(Duration::from_millis(5));
    }
}

transcript!(
    writes_wait_and_reads_do_not,
    several | addr | {
        let (mut boss, mut writer, mut reader) =
            (Wire::connect(addr), Wire::connect(addr), Wire::connect(addr));
        boss.expect("CLIENT PAUSE 100000 WRITE", OK);
        reader.expect("GET k", "$-1\r\n").expect("PING", "+PONG\r\n").expect("MULTI", OK);
        reader.expect("GET k", QUEUED).expect("EXEC", "*1\r\n$-1\r\n");
        wait_for_blocked(&mut boss, 0);
        writer.expect("SET k", "-ERR wrong number of arguments for 'set' command\r\n");
        writer.send("SET k 1").send("INCR k").send("GET k");
        wait_for_blocked(&mut boss, 1);
        let list = String::from_utf8(boss.run("CLIENT LIST")).unwrap();
        assert!(list.contains(" flags=b ") && list.contains(" cmd=set "), "{list}");
        reader.expect("GET k", "$-1\r\n");
        writer.expect_silence(50);
        // What is there once the pause has ended runs in its order.
        boss.expect("CLIENT UNPAUSE", OK);
        writer.expect_reply(OK).expect_reply(":2\r\n").expect_reply("$1\r\n2\r\n");
        wait_for_blocked(&mut boss, 0);
        boss.expect("CLIENT UNPAUSE", OK);
    }
);

transcript!(
    a_transaction_that_writes_waits_as_a_whole,
    several | addr | {
        let (mut boss, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        wire.expect("MULTI", OK).expect("SET k 1", QUEUED);
        boss.expect("CLIENT PAUSE 100000 WRITE", OK);
        wire.send("EXEC");
        wait_for_blocked(&mut boss, 1);
        boss.expect("CLIENT UNPAUSE", OK);
        wire.expect_reply("*1\r\n+OK\r\n");
        wire.expect("MULTI", OK).expect("SET a 1", QUEUED);
        wire.expect("CLIENT PAUSE 100000 WRITE", QUEUED).expect("SET b 1", QUEUED);
        wire.expect("EXEC", "*3\r\n+OK\r\n+OK\r\n+OK\r\n");
        wire.expect("EXISTS a b", ":2\r\n").send("SET c 1");
        wait_for_blocked(&mut boss, 1);
        boss.expect("CLIENT UNPAUSE", OK);
        wire.expect_reply(OK);
    }
);

transcript!(
    a_pause_of_everything_ends_by_itself,
    several | addr | {
        let (mut boss, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        wire.expect("PING", "+PONG\r\n");
        let began = Instant::now();
        boss.expect("CLIENT PAUSE 300", OK).expect("PING", "+PONG\r\n");
        wire.expect("GET k", "$-1\r\n");
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        boss.expect("CLIENT PAUSE 0", OK).expect("PING", "+PONG\r\n");
    }
);

transcript!(
    a_pause_is_never_shortened,
    several | addr | {
        let (mut boss, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        boss.expect("CLIENT PAUSE 400 WRITE", OK);
        let began = Instant::now();
        boss.expect("CLIENT PAUSE 1 WRITE", OK);
        wire.expect("SET k 1", OK);
        assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    }
);

transcript!(
    who_leaves_during_a_pause_has_changed_nothing,
    several | addr | {
        let (mut boss, mut gone) = (Wire::connect(addr), Wire::connect(addr));
        boss.expect("CLIENT PAUSE 100000 WRITE", OK);
        gone.send("SET k 1");
        wait_for_blocked(&mut boss, 1);
        drop(gone);
        wait_for_blocked(&mut boss, 0);
        let mut killed = Wire::connect(addr);
        killed.expect("CLIENT SETNAME victim", OK).send("SET k 1");
        wait_for_blocked(&mut boss, 1);
        boss.expect(&format!("CLIENT KILL {}", killed.local_addr()), OK);
        killed.expect_closed();
        boss.expect("CLIENT UNPAUSE", OK).expect("EXISTS k", ":0\r\n");
    }
);

transcript!(
    a_skipped_reply_is_that_of_the_postponed_command,
    several | addr | {
        let (mut boss, mut wire) = (Wire::connect(addr), Wire::connect(addr));
        boss.expect("CLIENT PAUSE 100000 WRITE", OK);
        wire.send("CLIENT REPLY SKIP").send("INCR k").send("INCR k");
        wait_for_blocked(&mut boss, 1);
        boss.expect("CLIENT UNPAUSE", OK);
        wire.expect_reply(":2\r\n");
    }
);

it!(nothing_expires_visibly_twice_and_no_key_is_removed_during_a_pause, |server| {
    let (mut boss, mut wire) = (server.wire(), server.wire());
    boss.expect("SET k v PX 1000", OK).expect("CLIENT PAUSE 100000 WRITE", OK);
    server.advance_ms(2_000);
    wire.expect("GET k", "$-1\r\n");
    std::thread::sleep(Duration::from_millis(100));
    wire.expect("DBSIZE", ":1\r\n");
    boss.expect("CLIENT UNPAUSE", OK);
    let deadline = Instant::now() + Duration::from_secs(10);
    while wire.run("DBSIZE") != b":0\r\n" {
        assert!(Instant::now() < deadline, "the key is still there");
    }
});

it!(more_than_a_pause_can_hold_is_not_read, |server| {
    let (mut boss, mut wire) = (server.wire(), server.wire());
    boss.expect("CLIENT PAUSE 100000 WRITE", OK);
    let request = [&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n"[..], &[b'x'; 1_000_000], b"\r\n"];
    let request = request.concat();
    // The socket and 64 MB of the server take in what they can; then nothing more is read.
    let mut sent = 0;
    while sent < 200 && wire.try_raw_for(&request, Duration::from_millis(500)) {
        sent += 1;
    }
    assert!((60..150).contains(&sent), "{sent} MB were taken in");
    boss.expect("CLIENT UNPAUSE", OK);
});

#[test]
fn wrong_pauses_and_replication_are_answered_as_by_redis() {
    let lines = &[
        "CLIENT PAUSE",
        "CLIENT PAUSE x",
        "CLIENT PAUSE -1",
        "CLIENT PAUSE 1 FOO",
        "CLIENT PAUSE x FOO",
        "CLIENT PAUSE 1 WRITE x",
        "CLIENT PAUSE 1 write",
        "CLIENT UNPAUSE x",
        "CLIENT UNPAUSE",
        "CLIENT NO-EVICT foo",
        "CLIENT NO-EVICT on",
        "CLIENT NO-EVICT off",
        "ROLE",
        "REPLICAOF no ONE",
        "SLAVEOF NO one",
        "REPLICAOF host x",
        "REPLICAOF host 65536",
        "REPLICAOF host",
        "FAILOVER",
        "FAILOVER ABORT",
        "FAILOVER ABORT x",
        "FAILOVER FORCE",
        "FAILOVER FORCE FORCE",
        "FAILOVER TO host 1",
        "FAILOVER TO host",
        "FAILOVER TO host x",
        "FAILOVER TO host 1 TO host 1",
        "FAILOVER TIMEOUT 0",
        "FAILOVER TIMEOUT x",
        "FAILOVER TIMEOUT 5 FORCE",
        "FAILOVER x",
        "LOLWUT",
        "LOLWUT VERSION 7",
        "LOLWUT VERSION x",
        "LOLWUT 5",
        "COMMAND INFO replicaof slaveof failover lolwut role client|pause client|unpause",
    ];
    expect_alike(false, lines);
    expect_alike(true, lines);
}

it!(another_server_cannot_be_followed, |server| {
    let mut wire = server.wire();
    wire.expect_start("REPLICAOF 127.0.0.1 6379", "-ERR ")
        .expect_start("ROLE", "*3\r\n$6\r\nmaster");
    wire.expect("CLIENT NO-TOUCH on", OK).expect("CLIENT NO-TOUCH x", "-ERR syntax error\r\n");
    let info = String::from_utf8(wire.run("CLIENT INFO")).unwrap();
    assert!(info.contains(" flags=T "), "{info}");
    wire.expect("RESET", "+RESET\r\n");
    let info = String::from_utf8(wire.run("CLIENT INFO")).unwrap();
    assert!(info.contains(" flags=N "), "{info}");
});
