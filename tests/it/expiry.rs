//! Deadlines: exact for whoever looks, soon for who only counts, and free of charge.

use crate::harness::server::{MANY_SHARDS, Server};
use crate::it;
use my_redis::config::DebugAccess;
use std::time::{Duration, Instant};

it!(a_key_is_gone_at_its_deadline_and_not_before, |server| {
    let mut wire = server.wire();
    wire.expect("SET key value PX 100", "+OK\r\n").expect("PTTL key", ":100\r\n");
    server.advance_ms(99);
    wire.expect("GET key", "$5\r\nvalue\r\n").expect("PTTL key", ":1\r\n");
    server.advance_ms(1);
    wire.expect("GET key", "$-1\r\n").expect("EXISTS key", ":0\r\n").expect("TTL key", ":-2\r\n");
    wire.expect("TYPE key", "+none\r\n").expect("KEYS *", "*0\r\n");
});

it!(a_write_finds_an_expired_key_absent, |server| {
    let mut wire = server.wire();
    for (before, write, reply) in [
        ("SET k 5 PX 10", "INCR k", ":1\r\n"),
        ("SET k abc PX 10", "APPEND k d", ":1\r\n"),
        ("SET k abc PX 10", "SET k new XX", "$-1\r\n"),
        ("SET k abc PX 10", "SET k new NX", "+OK\r\n"),
        ("SET k abc PX 10", "LPUSH k element", ":1\r\n"),
        ("SET k abc PX 10", "HSET k field value", ":1\r\n"),
        ("SET k abc PX 10", "DEL k", ":0\r\n"),
        ("SET k abc PX 10", "RENAME k other", "-ERR no such key\r\n"),
        ("SET k abc PX 10", "PERSIST k", ":0\r\n"),
        ("SET k abc PX 10", "EXPIRE k 100", ":0\r\n"),
    ] {
        wire.run("DEL k");
        wire.expect(before, "+OK\r\n");
        server.advance_ms(10);
        wire.expect(write, reply);
    }
});

it!(an_expired_key_is_swept_though_nobody_asks_for_it, |server| {
    let mut wire = server.wire();
    for n in 0..1_000 {
        wire.send(&format!("SET key:{n} value PX {}", 1 + n));
    }
    for _ in 0..1_000 {
        wire.expect_reply("+OK\r\n");
    }
    wire.expect("SET stays value", "+OK\r\n").expect("DBSIZE", ":1001\r\n");
    server.advance_ms(500);
    wait_for_keys(server, 501);
    server.advance_ms(500);
    wait_for_keys(server, 1);
});

fn wait_for_keys(server: &Server, keys: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.keyspace().len() != keys {
        assert!(Instant::now() < deadline, "{} keys, not {keys}", server.keyspace().len());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn while_the_sweeper_is_paused_expired_keys_stay_and_are_absent_all_the_same() {
    let server = Server::start_with(MANY_SHARDS, |options| {
        options.debug_access = DebugAccess::Local;
    });
    let mut wire = server.wire();
    wire.expect("DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n").expect("SET k v PX 10", "+OK\r\n");
    server.advance_ms(10);
    std::thread::sleep(Duration::from_millis(100));
    wire.expect("DBSIZE", ":1\r\n").expect("GET k", "$-1\r\n");
    wire.expect("EXPIRE k 100", ":0\r\n").expect("EXISTS k", ":0\r\n");
    wire.expect("SET k v PX 10", "+OK\r\n");
    server.advance_ms(10);
    wire.expect("DEBUG SET-ACTIVE-EXPIRE 1", "+OK\r\n");
    wait_for_keys(&server, 0);
}

it!(a_new_value_does_not_die_by_the_old_deadline, |server| {
    let mut wire = server.wire();
    for renewal in ["SET k new", "PERSIST k", "EXPIRE k 1000", "SET k new EX 1000"] {
        wire.expect("SET k old PX 50", "+OK\r\n");
        wire.run(renewal);
        server.advance_ms(60);
        std::thread::sleep(Duration::from_millis(20));
        wire.expect("EXISTS k", ":1\r\n");
    }
    wire.expect("SET k old PX 50", "+OK\r\n").expect("SET k new KEEPTTL", "+OK\r\n");
    server.advance_ms(60);
    wire.expect("EXISTS k", ":0\r\n");
});

it!(an_earlier_deadline_wakes_the_sweeper, |server| {
    let mut wire = server.wire();
    wire.expect("SET late value EX 1000", "+OK\r\n").expect("SET soon value PX 5", "+OK\r\n");
    server.advance_ms(5);
    wait_for_keys(server, 1);
});

it!(a_deadline_travels_with_a_renamed_key, |server| {
    let mut wire = server.wire();
    wire.expect("SET a 1 PX 100", "+OK\r\n").expect("SET b 2", "+OK\r\n");
    wire.expect("RENAME a b", "+OK\r\n").expect("PTTL b", ":100\r\n");
    server.advance_ms(100);
    wait_for_keys(server, 0);
});

it!(refreshing_one_deadline_does_not_grow_the_heap, |server| {
    let mut wire = server.wire();
    wire.expect("SET session value", "+OK\r\n");
    for batch in 0..100 {
        for n in 0..1_000 {
            wire.send(&format!("PEXPIRE session {}", 100_000 + batch * 1_000 + n));
        }
        for _ in 0..1_000 {
            wire.expect_reply(":1\r\n");
        }
    }
    let items: u64 = server.keyspace().figures().map(|shard| shard.expiry_items()).sum();
    let allowed = my_redis::keyspace::STALE_ITEMS_ALLOWED as u64 + 10;
    assert!(items <= allowed, "{items} items for one deadline");
});

#[test]
fn among_many_other_deadlines_a_thousand_due_at_once_are_gone_in_time() {
    let server = Server::start_in_real_time(MANY_SHARDS);
    let mut wire = server.wire();
    const OTHERS: usize = 100_000;
    for n in 0..OTHERS {
        wire.send(&format!("SET other:{n} value EX 3600"));
        if n % 1_000 == 999 {
            for _ in 0..1_000 {
                wire.expect_reply("+OK\r\n");
            }
        }
    }
    let due = server.now_ms() + 500;
    for n in 0..1_000 {
        wire.send(&format!("SET due:{n} value PXAT {due}"));
    }
    for _ in 0..1_000 {
        wire.expect_reply("+OK\r\n");
    }
    assert!(server.now_ms() < due, "the machine is too slow for this test");
    while server.now_ms() < due {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The bound is generous: the figure that matters is measured in benches, not here.
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(server.keyspace().len(), OTHERS);
}
