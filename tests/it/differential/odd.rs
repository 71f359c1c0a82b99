//! Conversations whose replies cannot be counted: inline requests, muted replies, goodbyes and
//! bytes that are no request at all.
//!
//! Each goes over a connection of its own, after which the client says that nothing more comes;
//! the server answers what it has read and closes, so all that came back is compared at once.

use std::net::SocketAddr;
use std::time::Duration;

use super::generate::Generator;
use crate::harness::wire::{Wire, encode, split};

/// What ends a connection for being no request, as far as both servers must agree on it.
const BROKEN: &[&[u8]] = &[
    b"*1\r\n*1\r\n",
    b"*x\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*2147483648\r\n",
    b"*9223372036854775808\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n+PING\r\n",
    b"*2\r\n$4\r\nECHO\r\n:1\r\n",
    b"*1\r\n\r\n",
    b"SET a \"unbalanced\r\n",
    b"SET a 'unbalanced\r\n",
    b"SET a \"x\"y\r\n",
];

/// Lines as a person types them, and what stands between requests without being one.
const INLINE: &[&[u8]] = &[
    b"PING\r\n",
    b"PING\n",
    b"  ping  hello  \r\n",
    b"\r\n",
    b"\n",
    b"   \r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"ECHO \"a b\\x41\\n\\r\\t\\a\\b\\\\\\q\"\r\n",
    b"ECHO 'it\\'s \\n'\r\n",
    b"ECHO \"\"\r\n",
    b"ECHO\tx\r\n",
    b"SET a b\r\n",
    b"GET a\r\n",
    b"LRANGE b 0 -1\r\n",
    b"nosuch 1 2\r\n",
    b"ECHO \xff\r\n",
];

/// Requests that mute or unmute the replies.
const MUTING: &[&str] = &[
    "CLIENT REPLY OFF",
    "CLIENT REPLY SKIP",
    "CLIENT REPLY ON",
    "CLIENT REPLY x",
    "client reply skip",
];

/// The pieces of one conversation, each to be sent in a write of its own.
pub fn conversation(generator: &mut Generator) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let about = generator.random().below(4);
    for _ in 0..generator.random().between(0, 12) {
        let random = generator.random();
        pieces.push(match (about, random.chance(50)) {
            (0 | 3, true) => random.pick(INLINE).to_vec(),
            (1, true) => encode(&split(random.pick::<&str>(MUTING))),
            _ => plain_request(generator),
        });
    }
    if about == 3 {
        pieces.push(generator.random().pick(BROKEN).to_vec());
    } else if about != 0 {
        let goodbye = *generator.random().pick(&["QUIT", "quit", "QUIT now"]);
        pieces.push(encode(&split(goodbye)));
        if generator.random().chance(50) {
            let unread = pieces.pop().into_iter().chain([encode(&["PING"])]);
            let together = unread.flatten().collect();
            pieces.push(together);
        }
    }
    match generator.random().below(3) {
        0 => vec![pieces.concat()],
        1 => pieces,
        _ => cut(generator, pieces.concat()),
    }
}

/// All that the server answers until it closes.
pub fn answer(addr: SocketAddr, pieces: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut wire = Wire::connect(addr);
    for piece in pieces {
        if wire.try_raw(piece).is_err() {
            // Closed before the end of what was to be said: what it answered still counts.
            break;
        }
        if pieces.len() > 1 {
            // Long enough, mostly, for the pieces to arrive one by one; nothing depends on it.
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    wire.finish_sending();
    wire.try_read_to_close()
}

fn plain_request(generator: &mut Generator) -> Vec<u8> {
    let forms =
        ["SET {key} {value}", "GET {key}", "INCR {key}", "LLEN {key}", "ECHO {value}", "PING"];
    let form = *generator.random().pick(&forms);
    generator.fill(form).iter().flat_map(|request| encode(&request.args)).collect()
}

fn cut(generator: &mut Generator, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let length = generator.random().between(1, rest.len().min(40));
        let (piece, after) = rest.split_at(length);
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces
}
