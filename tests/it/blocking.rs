//! Blocking commands under load: nothing is lost or doubled, whatever becomes of those who wait.

use crate::harness::process::Process;
use crate::harness::random::{Random, seed};
use crate::harness::server::{Folder, MANY_SHARDS, Server};
use crate::harness::wire::{Wire, bulks, encode};
use my_redis::command::blocking::Ending;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The elements in a reply of BLPOP or BLMPOP: all that is a number, as no list's name is.
fn elements_of(reply: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(reply).unwrap();
    let elements = text.split("\r\n").filter_map(|line| line.parse().ok());
    if text.starts_with("*2") { elements.collect() } else { Vec::new() }
}

/// One of many clients that wait again and again; what it got, until `done`.
///
/// Whatever it does to itself, it reads what the server still has for it: so an element that it
/// does not get is one that is lost.
fn wait_again_and_again(
    addr: SocketAddr,
    number: usize,
    mut random: Random,
    done: &AtomicBool,
) -> Vec<usize> {
    let mut got = Vec::new();
    let mut wire = Wire::connect(addr);
    while !done.load(Ordering::Relaxed) {
        let timeout = *random.pick(&["0.001", "0.002", "0.01", "0.05", "3"]);
        let leaves = number % 5 == 4;
        let line = match number % 5 {
            0 => format!("BLPOP list:0 list:1 list:2 list:3 {timeout}\r\n"),
            1 => "BRPOP list:3 list:1 0\r\n".to_owned(),
            2 => "BLPOP list:2 list:0 0.001\r\n".to_owned(),
            3 => format!("BLMPOP {timeout} 2 list:1 list:2 LEFT COUNT 3\r\n"),
            _ => "BLPOP list:1 list:1 list:3 0\r\n".to_owned(),
        };
        // It may have been killed just now: then there is no reply either.
        drop(wire.try_raw(line.as_bytes()));
        if leaves {
            std::thread::sleep(Duration::from_micros(random.below(3_000) as u64));
            wire.finish_sending();
        }
        // An error: it was killed, or it has left in time.
        let reply = wire.try_reply();
        got.extend(reply.iter().flat_map(|reply| elements_of(reply)));
        if leaves || reply.is_err() {
            wire = Wire::connect(addr);
        }
    }
    got
}

/// Kills clients that wait, and ends the waits of others; how many of each it met.
fn disturb(addr: SocketAddr, mut random: Random, done: &AtomicBool) -> [usize; 3] {
    let (mut wire, mut met) = (Wire::connect(addr), [0; 3]);
    while !done.load(Ordering::Relaxed) {
        let list = String::from_utf8(wire.run("CLIENT LIST")).unwrap();
        let waiting = list.lines().filter(|line| line.contains(" flags=b "));
        for line in waiting.filter(|_| random.chance(5)).collect::<Vec<_>>() {
            let id = line.split(['=', ' ']).nth(1).unwrap();
            let how = random.below(3);
            let line = match how {
                0 => format!("CLIENT KILL ID {id}"),
                1 => format!("CLIENT UNBLOCK {id} TIMEOUT"),
                _ => format!("CLIENT UNBLOCK {id} ERROR"),
            };
            met[how] += usize::from(wire.run(&line) == b":1\r\n");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    met
}

/// Ends waits of clients at random, without a socket between: so often that it happens just when
/// they are served.
fn end_waits(server: &Server, mut random: Random, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        for client in server.services().clients.all() {
            if random.chance(20) {
                client.unblock(Ending::TimedOut);
            }
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Pushes every second one of the elements to one of four lists, in several ways.
fn push_half(addr: SocketAddr, half: usize, elements: usize) {
    let mut wire = Wire::connect(addr);
    for element in (half..elements).step_by(2) {
        let list = element / 2 % 4;
        match element % 5 {
            0 => drop(wire.run(&format!("LPUSH list:{list} {element}"))),
            1 => {
                wire.run(&format!("RPUSH temp:{half} {element}"));
                wire.run(&format!("BLMOVE temp:{half} list:{list} LEFT RIGHT 0"));
            }
            2 => {
                wire.raw(format!("MULTI\r\nRPUSH list:{list} {element}\r\nEXEC\r\n"));
                (0..3).for_each(|_| drop(wire.reply()));
            }
            _ => drop(wire.run(&format!("RPUSH list:{list} {element}"))),
        }
    }
}

/// A hundred clients wait for elements of a few lists; some are killed, some give up, some leave,
/// the waits of some are ended. Every element reaches one client, and nobody waits while one is
/// there.
#[test]
fn every_element_reaches_one_of_a_hundred_clients() {
    const ELEMENTS: usize = 5_000;
    const CLIENTS: usize = 100;
    let seed = seed("every_element_reaches_one_of_a_hundred_clients");
    let server = Server::start(MANY_SHARDS);
    let addr = server.addr();
    let done = AtomicBool::new(false);
    let random = |number: usize| Random::new(seed.wrapping_add(number as u64));
    let (mut got, met) = std::thread::scope(|scope| {
        let done = &done;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn(move || wait_again_and_again(addr, number, random(number), done))
            })
            .collect();
        let disturber = scope.spawn(move || disturb(addr, random(CLIENTS), done));
        let ending = &server;
        scope.spawn(move || end_waits(ending, random(CLIENTS + 1), done));
        let pushers = [0, 1].map(|half| scope.spawn(move || push_half(addr, half, ELEMENTS)));
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        let (mut wire, began) = (Wire::connect(addr), Instant::now());
        while wire.run("EXISTS list:0 list:1 list:2 list:3") != b":0\r\n" {
            assert!(began.elapsed() < Duration::from_secs(20), "elements are left, {CLIENTS} wait");
            std::thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::Relaxed);
        let met = disturber.join().unwrap();
        // Some wait for ever.
        while !clients.iter().all(|client| client.is_finished()) {
            server.services().clients.all().iter().for_each(|client| {
                client.unblock(Ending::TimedOut);
            });
            std::thread::sleep(Duration::from_millis(1));
        }
        let got = clients.into_iter().flat_map(|client| client.join().unwrap());
        (got.collect::<Vec<_>>(), met)
    });
    println!("killed, unblocked, unblocked with an error while they waited: {met:?}");
    assert!(met.iter().all(|times| *times > 0), "{met:?}");
    got.sort_unstable();
    let doubled: Vec<_> = got.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    let lost: Vec<_> = (0..ELEMENTS).filter(|wanted| got.binary_search(wanted).is_err()).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    until_nobody_waits(&server);
}

#[track_caller]
fn until_nobody_waits(server: &Server) {
    let began = Instant::now();
    while server.services().clients.blocked() > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "a wait was left behind");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits that end by their timeout, many at once and again and again, leave nothing behind.
#[test]
fn waits_that_time_out_leave_nothing() {
    const WAITS: usize = 20_000;
    let server = Server::start(MANY_SHARDS);
    let addr = server.addr();
    std::thread::scope(|scope| {
        for number in 0..100 {
            scope.spawn(move || {
                let mut wire = Wire::connect(addr);
                let line = format!("BLPOP a b c:{number} 0.001\r\n");
                let waits = WAITS / 100;
                wire.raw(line.repeat(waits));
                for _ in 0..waits {
                    wire.expect_reply("*-1\r\n");
                }
            });
        }
    });
    until_nobody_waits(&server);
    let mut wire = server.wire();
    wire.expect("RPUSH a 1", ":1\r\n").expect("LLEN a", ":1\r\n");
}

/// A client that waits may send more, but not without bound; it waits for its turn.
#[test]
fn what_is_sent_behind_a_wait_is_bounded() {
    const REQUESTS: usize = 300;
    const LENGTH: usize = 1 << 20;
    let server = Server::start(MANY_SHARDS);
    let mut wire = server.wire();
    wire.send("BLPOP k 0");
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let sent = scope.spawn({
                let mut stream = wire.clone_stream();
                let request = encode(&[b"ECHO".to_vec(), vec![b'x'; LENGTH]]);
                move || (0..REQUESTS).for_each(|_| stream.write_all(&request).unwrap())
            });
            wire.expect_reply(bulks(&["k", "v"]));
            (0..REQUESTS).for_each(|_| assert_eq!(wire.reply().len(), LENGTH + 12));
            sent.join().unwrap();
        });
        let held = || {
            let clients = server.services().clients.all();
            clients.iter().map(|client| client.buffered_bytes().0).max().unwrap_or(0)
        };
        let began = Instant::now();
        while held() < 64 << 20 {
            assert!(began.elapsed() < Duration::from_secs(20), "only {} bytes are kept", held());
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
        // A buffer that grows doubles.
        assert!(held() < 144 << 20, "{} bytes are kept", held());
        server.wire().expect("RPUSH k v", ":1\r\n");
        reader.join().unwrap();
    });
}

/// SHUTDOWN and a signal end the server though clients wait.
#[test]
fn clients_that_wait_do_not_keep_the_server_from_ending() {
    for by_signal in [false, true] {
        let folder = Folder::new();
        let mut process = Process::start(folder.path(), &[]);
        let mut waiting = [process.wire(), process.wire()];
        waiting[0].send("BLPOP k 0");
        waiting[1].send("BZPOPMIN k 100");
        let (mut wire, began) = (process.wire(), Instant::now());
        while !String::from_utf8(wire.run("INFO clients")).unwrap().contains("blocked_clients:2\r")
        {
            assert!(began.elapsed() < Duration::from_secs(20), "they do not wait");
            std::thread::sleep(Duration::from_millis(1));
        }
        if by_signal {
            process.signal("INT");
        } else {
            wire.send("SHUTDOWN");
        }
        assert!(process.wait().success());
        waiting.iter_mut().for_each(Wire::expect_closed);
    }
}

/// A worker moves jobs from a queue to a list of its own and removes them there, as reliable queues
/// do: nothing is lost, and each job is done once.
#[test]
fn a_reliable_queue_does_every_job_once() {
    const JOBS: usize = 5_000;
    const WORKERS: usize = 8;
    let server = Server::start(MANY_SHARDS);
    let addr = server.addr();
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                scope.spawn(move || {
                    let (mut wire, mut jobs) = (Wire::connect(addr), Vec::new());
                    loop {
                        let line = format!("BLMOVE queue working:{number} RIGHT LEFT 0");
                        let reply = String::from_utf8(wire.run(&line)).unwrap();
                        let job = reply.trim_end().rsplit("\r\n").next().unwrap().to_owned();
                        wire.expect(&format!("LREM working:{number} 1 {job}"), ":1\r\n");
                        if job == "end" {
                            return jobs;
                        }
                        jobs.push(job.parse::<usize>().unwrap());
                    }
                })
            })
            .collect();
        let mut wire = Wire::connect(addr);
        for job in 0..JOBS {
            wire.run(&format!("LPUSH queue {job}"));
        }
        for _ in 0..WORKERS {
            wire.run("LPUSH queue end");
        }
        let jobs = workers.into_iter().flat_map(|worker| worker.join().unwrap());
        let mut jobs: Vec<usize> = jobs.collect();
        jobs.sort_unstable();
        jobs
    });
    assert_eq!(done, (0..JOBS).collect::<Vec<_>>());
    server.wire().expect("DBSIZE", ":0\r\n");
}
