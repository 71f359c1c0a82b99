//! Users with random rights, as whom the stream is sent: what one of them may is the same on both
//! servers.
//!
//! Rules name commands, categories, keys for reading and writing, channels and selectors. What a
//! user is told to be by ACL LIST is not compared: it depends on which commands there are.

use super::generate::Request;
use crate::harness::random::Random;
use my_redis::command::spec::{KeySpec, streams};
use my_redis::command::table;
use my_redis::protocol::request::ArgsBuffer;
use my_redis::util::number::parse_i64;

/// So many users there are.
pub const USERS: usize = 3;
const PASSWORD: &str = "pw";

const KEYS: &[&str] = &[
    "~*",
    "allkeys",
    "~a*",
    "~[a-e]",
    "%R~*",
    "%W~*",
    "%RW~{x}*",
    "%R~h*",
    "%W~?",
    "~big:*",
    "resetkeys",
    "~lex:1",
    "%R~[^a-d]",
];
const COMMANDS: &[&str] = &[
    "+@all",
    "allcommands",
    "nocommands",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@string",
    "-@string",
    "+@list",
    "-@list",
    "+@hash",
    "-@hash",
    "+@set",
    "-@set",
    "+@sortedset",
    "-@sortedset",
    "+@stream",
    "-@stream",
    "+@bitmap",
    "+@geo",
    "+@hyperloglog",
    "+@fast",
    "-@fast",
    "+@slow",
    "-@slow",
    "+@dangerous",
    "-@dangerous",
    "+@keyspace",
    "-@keyspace",
    "+@admin",
    "-@admin",
    "+@connection",
    "+@transaction",
    "-@transaction",
    "+@scripting",
    "-@scripting",
    "+get",
    "-get",
    "+set",
    "-set",
    "+config|get",
    "-config|set",
    "+config",
    "+client|id",
    "-client",
    "+object|encoding",
    "-object",
    "+multi",
    "+exec",
    "+discard",
    "+eval",
    "-eval",
];
const CHANNELS: &[&str] = &["&*", "allchannels", "resetchannels", "&a*"];
const SELECTORS: &[&str] = &[
    "(+@read ~*)",
    "(+@write %W~*)",
    "(+@all ~b*)",
    "(+set +get ~c)",
    "(%R~* +@list)",
    "clearselectors",
    "(-@all +@hash ~*)",
    "(+@all -@dangerous %R~a* %W~b*)",
];

fn request(words: &[String]) -> Request {
    Request { args: words.iter().map(|word| word.as_bytes().to_vec()).collect() }
}

fn name(user: usize) -> String {
    format!("user:{user}")
}

/// Makes one user, or changes the rights of one.
pub fn set(user: usize, is_new: bool, random: &mut Random) -> Request {
    let mut words = vec!["ACL".to_owned(), "SETUSER".to_owned(), name(user)];
    if is_new || random.chance(30) {
        words.extend(["reset", "on"].map(str::to_owned));
        words.push(format!(">{PASSWORD}"));
        // Most may use much, or hardly anything would be tested.
        if random.chance(70) {
            words.extend(["+@all", "~*", "&*"].map(str::to_owned));
        }
    }
    for (pool, most) in [(KEYS, 2), (COMMANDS, 4), (CHANNELS, 1), (SELECTORS, 1)] {
        for _ in 0..random.below(most + 1) {
            words.push((*random.pick(pool)).to_owned());
        }
    }
    request(&words)
}

/// The first moment that is far away, in seconds.
const FAR_SECONDS: i64 = 4_000_000_000;

/// True when a request makes a key that is dead already: the user who made it may not be able to
/// delete it, and when a server drops it otherwise is its own affair.
fn makes_dead_key(args: &[Vec<u8>]) -> bool {
    args.windows(2).any(|pair| {
        let far = match pair[0].to_ascii_uppercase().as_slice() {
            b"EXAT" => FAR_SECONDS,
            b"PXAT" => FAR_SECONDS * 1_000,
            _ => return false,
        };
        parse_i64(&pair[1]).is_some_and(|moment| moment < far)
    })
}

/// True when the two servers find the keys of a request in different ways: one that is not well
/// formed. It is an error in any case, and which one depends on the keys. Or when they forget what
/// it does at different moments.
pub fn is_odd(args: &[Vec<u8>]) -> bool {
    // Without a source it needs the right to its destination here.
    let has_no_source = args.len() == 2 && args[0].eq_ignore_ascii_case(b"PFMERGE");
    // Its user may not be able to remove it again before its moment is seen.
    let adds_at_this_moment =
        args[0].eq_ignore_ascii_case(b"XADD") && args.iter().any(|arg| arg.ends_with(b"*"));
    // Redis unpacks a sorted set for good that is sorted, and its user may not be able to delete it.
    let sorts = [&b"SORT"[..], b"SORT_RO"].iter().any(|name| args[0].eq_ignore_ascii_case(name));
    if has_no_source || adds_at_this_moment || sorts || makes_dead_key(args) {
        return true;
    }
    let mut buffer = ArgsBuffer::default();
    args.iter().for_each(|arg| assert!(buffer.push(arg)));
    let Some(row) = table::find(&args[0]) else { return false };
    if row.keys.iter().any(KeySpec::is_half) {
        return streams(buffer.args()).is_none();
    }
    let counted = row.keys.iter().find(|keys| keys.is_counted());
    let count = counted.and_then(|keys| args.get(keys.first - 1));
    count.is_some_and(|count| !matches!(parse_i64(count), Some(1..)))
}

/// What a session sends before it goes on as one of the users.
pub fn become_one(user: usize) -> [Request; 2] {
    [
        request(&["DISCARD".to_owned()]),
        request(&["AUTH".to_owned(), name(user), PASSWORD.to_owned()]),
    ]
}
