//! Large arguments: they become values without a copy, or with one that no lock has to wait for.

use crate::harness::oracle::Oracle;
use crate::harness::random::{Random, seed};
use crate::harness::server::{MANY_SHARDS, Server};
use crate::harness::wire::{Wire, encode};
use crate::it;
use std::thread;

/// Around each of the sizes from which on requests and arguments are dealt with in other ways.
const SIZES: &[usize] = &[
    0, 1, 8_191, 8_192, 16_384, 32_700, 32_768, 40_000, 65_536, 131_072, 262_143, 262_144, 262_200,
    300_000, 524_288, 1_048_576, 1_500_000,
];

/// Bytes of this length that tell where they come from.
fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    let first = random.below(251);
    (0..len).map(|n| ((first + n) % 251) as u8).collect()
}

/// A request that stores, changes or returns what may be large.
fn request(random: &mut Random, number: usize) -> Vec<u8> {
    let len = SIZES[random.below(SIZES.len())];
    let value = bytes(random, len);
    let key = format!("key:{}", random.below(4)).into_bytes();
    let words = |words: &[&[u8]]| encode(words);
    match number % 16 {
        0..5 => words(&[b"SET", &key, &value]),
        5 => words(&[b"SET", &key, &value, b"KEEPTTL", b"GET"]),
        6 => words(&[b"SETEX", &key, b"1000", &value]),
        7 => words(&[b"GETSET", &key, &value]),
        8 => words(&[b"APPEND", &key, &value]),
        9 => words(&[b"SETRANGE", &key, b"7", &value]),
        10 => words(&[b"ECHO", &value]),
        11 => words(&[b"SETNX", &key, &value]),
        12 => words(&[b"MSET", &key, &value, b"key:0", b"small"]),
        13 => words(&[b"SETBIT", &key, b"9", b"1"]),
        14 => [words(&[b"MULTI"]), words(&[b"SET", &key, &value]), words(&[b"EXEC"])].concat(),
        _ => words(&[b"GET", &key]),
    }
}

/// Replies to a request of [`request`].
fn replies(number: usize) -> usize {
    if number % 16 == 14 { 3 } else { 1 }
}

#[test]
fn they_are_kept_as_they_came_however_they_are_cut() {
    let (oracle, server) = (Oracle::start(), Server::start(MANY_SHARDS));
    let mut random = Random::new(seed("large arguments"));
    let (mut theirs, mut ours) = (Wire::connect(oracle.addr()), server.wire());
    for round in 0..40 {
        let numbers: Vec<usize> = (0..1 + random.below(12)).map(|_| random.below(16)).collect();
        let input: Vec<u8> =
            numbers.iter().flat_map(|number| request(&mut random, *number)).collect();
        let pieces = [input.len().max(1), 100_003, 17_011, 299_999][round % 4];
        let expected: Vec<Vec<u8>> = thread::scope(|scope| {
            let mut sender = theirs.clone_stream();
            let sent = &input;
            scope.spawn(move || std::io::Write::write_all(&mut sender, sent).unwrap());
            numbers.iter().flat_map(|n| 0..replies(*n)).map(|_| theirs.reply()).collect()
        });
        thread::scope(|scope| {
            let mut sender = ours.clone_stream();
            let sent = &input;
            scope.spawn(move || {
                sent.chunks(pieces)
                    .for_each(|piece| std::io::Write::write_all(&mut sender, piece).unwrap());
            });
            for (number, expected) in expected.iter().enumerate() {
                assert!(ours.reply() == *expected, "reply {number} of round {round}");
            }
        });
        for key in 0..4 {
            let line = format!("GET key:{key}");
            assert!(theirs.run(&line) == ours.run(&line), "key {key} after round {round}");
        }
    }
}

it!(what_was_sent_as_a_value_does_not_change_with_the_next_request, |server| {
    let mut wire = server.wire();
    let mut random = Random::new(1);
    let values: Vec<Vec<u8>> = (0..12).map(|n| bytes(&mut random, 300_000 + n)).collect();
    for (number, value) in values.iter().enumerate() {
        wire.raw(encode(&[b"SET", format!("key:{number}").as_bytes(), value]));
        // A change of the value that has just been stored, while its request was the last input.
        wire.raw(encode(&["APPEND", &format!("key:{number}"), "tail"]));
        wire.expect_reply("+OK\r\n").expect_reply(format!(":{}\r\n", value.len() + 4));
    }
    for (number, value) in values.iter().enumerate() {
        let reply = wire.run(&format!("GET key:{number}"));
        let head = format!("${}\r\n", value.len() + 4).into_bytes();
        assert!(reply == [&head[..], value, b"tail\r\n"].concat(), "{number}");
    }
});

it!(a_line_of_words_may_be_large_too, |server| {
    let value = "x".repeat(40_000);
    let mut wire = server.wire();
    wire.raw(format!("SET key {value}\r\nSTRLEN key\r\n"));
    wire.expect_reply("+OK\r\n").expect_reply(":40000\r\n");
});

it!(a_large_request_waits_for_the_end_of_a_pause, |server| {
    let (mut wire, mut other) = (server.wire(), server.wire());
    let value = vec![b'x'; 400_000];
    other.expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
    wire.raw(encode(&[b"SET", b"key", &value[..]])).send("STRLEN key");
    wire.expect_silence(50);
    other.expect("CLIENT UNPAUSE", "+OK\r\n");
    wire.expect_reply("+OK\r\n").expect_reply(":400000\r\n");
});
