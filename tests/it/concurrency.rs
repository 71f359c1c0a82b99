//! Many clients at once: nothing is lost, nothing is seen by halves.

use crate::harness::flag::raise_at_end;
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::encode;
use crate::it;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const CLIENTS: usize = 8;

fn integer(reply: &[u8]) -> i64 {
    let text = std::str::from_utf8(reply).unwrap();
    text.trim_start_matches(':').trim_end().parse().unwrap_or_else(|_| panic!("{text:?}"))
}

it!(increments_of_many_clients_add_up, |server| {
    const ROUNDS: usize = 2_000;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut wire = server.wire();
                let mut input = Vec::new();
                for _ in 0..ROUNDS {
                    input.extend(encode(&["INCR", "counter"]));
                    input.extend(encode(&["HINCRBY", "counters", &client.to_string(), "2"]));
                    input.extend(encode(&["HINCRBY", "counters", "all", "1"]));
                }
                wire.raw(&input);
                for _ in 0..3 * ROUNDS {
                    wire.reply();
                }
            });
        }
    });
    let mut wire = server.wire();
    let total = (CLIENTS * ROUNDS).to_string();
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    wire.expect("GET counter", bulk(&total)).expect("HGET counters all", bulk(&total));
    wire.expect("HGET counters 0", bulk(&(2 * ROUNDS).to_string()));
});

it!(elements_pushed_by_some_are_popped_once_by_others, |server| {
    const ELEMENTS: usize = 4_000;
    let produced = AtomicBool::new(false);
    let mut popped: Vec<Vec<u8>> = thread::scope(|scope| {
        let producers: Vec<_> = (0..CLIENTS / 2)
            .map(|producer| {
                scope.spawn(move || {
                    let mut wire = server.wire();
                    for n in 0..ELEMENTS {
                        let side = if n % 2 == 0 { "LPUSH" } else { "RPUSH" };
                        wire.send(&format!("{side} queue {producer}:{n}")).reply();
                    }
                })
            })
            .collect();
        let consumers: Vec<_> = (0..CLIENTS / 2)
            .map(|consumer| {
                let produced = &produced;
                scope.spawn(move || {
                    let mut wire = server.wire();
                    let mut popped = Vec::new();
                    let side = if consumer % 2 == 0 { "LPOP queue" } else { "RPOP queue" };
                    loop {
                        let last = produced.load(Ordering::SeqCst);
                        let reply = wire.run(side);
                        if reply != b"$-1\r\n" {
                            popped.push(reply);
                        } else if last {
                            return popped;
                        }
                    }
                })
            })
            .collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        produced.store(true, Ordering::SeqCst);
        consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect()
    });
    assert_eq!(popped.len(), CLIENTS / 2 * ELEMENTS);
    popped.sort_unstable();
    popped.dedup();
    assert_eq!(popped.len(), CLIENTS / 2 * ELEMENTS, "an element was popped twice");
});

it!(tokens_renamed_in_a_ring_are_neither_lost_nor_doubled, |server| {
    const TOKENS: usize = 4;
    const PLACES: usize = 12;
    let mut wire = server.wire();
    for token in 0..TOKENS {
        wire.expect(&format!("SET place:{} token:{token}", token * 3), "+OK\r\n");
    }
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut wire = server.wire();
                for n in 0..1_500 {
                    let from = (client * 7 + n * 5) % PLACES;
                    // Only into a free place, so that no token is overwritten. The check and the
                    // renaming are two commands: a token that came meanwhile is put back.
                    let to = (from + 1 + n % 3) % PLACES;
                    let temporary = format!("hand:{client}");
                    let taken = wire.run(&format!("RENAME place:{from} {temporary}"));
                    if taken == b"+OK\r\n" {
                        let set = format!("EXISTS place:{to}");
                        let free = wire.run(&set) == b":0\r\n";
                        let target = if free { to } else { from };
                        let value = wire.run(&format!("GET {temporary}"));
                        let value = String::from_utf8(value).unwrap();
                        let value = value.lines().nth(1).unwrap().to_owned();
                        // A place may have been filled: try others until one takes it.
                        for step in 0.. {
                            let place = (target + step) % PLACES;
                            let set = wire.run(&format!("SET place:{place} {value} NX"));
                            if set == b"+OK\r\n" {
                                break;
                            }
                        }
                        wire.expect(&format!("DEL {temporary}"), ":1\r\n");
                    }
                }
            });
        }
    });
    let mut tokens: Vec<Vec<u8>> = (0..PLACES)
        .map(|place| wire.run(&format!("GET place:{place}")))
        .filter(|reply| reply != b"$-1\r\n")
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), TOKENS);
    wire.expect("DBSIZE", format!(":{TOKENS}\r\n"));
});

it!(opposite_renames_never_wait_for_each_other, |server| {
    server.wire().expect("SET a token", "+OK\r\n");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut wire = server.wire();
                let line = if client % 2 == 0 { "RENAME a b" } else { "RENAME b a" };
                for _ in 0..2_000 {
                    wire.run(line);
                }
            });
        }
    });
    let both = integer(&server.wire().run("EXISTS a b"));
    assert_eq!(both, 1);
});

it!(keys_set_together_are_read_together, |server| {
    let stop = AtomicBool::new(false);
    server.wire().expect("MSET x 0 y 0 z 0", "+OK\r\n");
    thread::scope(|scope| {
        for client in 0..CLIENTS / 2 {
            let stop = &stop;
            scope.spawn(move || {
                let mut wire = server.wire();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let value = format!("{client}:{n}");
                    wire.expect(&format!("MSET x {value} y {value} z {value}"), "+OK\r\n");
                }
            });
        }
        let readers: Vec<_> = (0..CLIENTS / 2)
            .map(|_| {
                scope.spawn(move || {
                    let mut wire = server.wire();
                    for _ in 0..3_000 {
                        let reply = wire.run("MGET x y z");
                        let parts: Vec<&[u8]> = reply.split(|byte| *byte == b'\n').collect();
                        assert!(
                            parts[2] == parts[4] && parts[4] == parts[6],
                            "half of an MSET: {}",
                            String::from_utf8_lossy(&reply)
                        );
                    }
                })
            })
            .collect();
        let failed = readers.into_iter().filter_map(|reader| reader.join().err()).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0);
    });
});

it!(deleting_several_keys_is_seen_by_none_as_a_part, |server| {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let at_end = raise_at_end(&stop);
        let writer = scope.spawn(|| {
            let mut wire = server.wire();
            while !stop.load(Ordering::Relaxed) {
                wire.expect("MSET one 1 two 2 three 3", "+OK\r\n");
                wire.expect("DEL one two three", ":3\r\n");
            }
        });
        let mut wire = server.wire();
        for _ in 0..3_000 {
            let there = integer(&wire.run("EXISTS one two three"));
            assert!(there == 0 || there == 3, "{there} of 3 keys");
        }
        drop(at_end);
        writer.join().unwrap();
    });
});

#[test]
fn keys_and_flushall_see_one_moment() {
    let server = Server::start(MANY_SHARDS);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let at_end = raise_at_end(&stop);
        let writer = scope.spawn(|| {
            let mut wire = server.wire();
            while !stop.load(Ordering::Relaxed) {
                wire.expect("MSET a 1 b 1 c 1 d 1 e 1 f 1", "+OK\r\n");
                wire.expect("FLUSHALL", "+OK\r\n");
            }
        });
        let mut wire = server.wire();
        for _ in 0..2_000 {
            let reply = wire.run("KEYS *");
            assert!(reply.starts_with(b"*0\r\n") || reply.starts_with(b"*6\r\n"), "{reply:?}");
        }
        drop(at_end);
        writer.join().unwrap();
    });
}
