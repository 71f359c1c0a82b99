//! Random requests: every command of the server with all its options, and much that is wrong.
//!
//! A request comes from one row of `FORMS`, a template whose `{words}` are filled from pools of
//! edge values. Keys come from a small pool, so that types collide and keys are overwritten,
//! renamed and deleted all the time. Some requests are then spoilt: an argument too few or too
//! many, or garbage in the place of one.
//!
//! Two servers can only agree on what does not depend on the moment of execution. Hence
//! - relative deadlines are far away and never used twice, so `GT` and `LT` have one answer;
//! - a key that is created expired is read and deleted in the same breath: when a server drops
//!   it otherwise is its own affair, and DBSIZE shows it;
//! - hashes whose fields have no order (many or long fields) live in keys of their own (`BIG`);
//! - a range of members in their own order has a meaning where all scores are the same: other than
//!   in small sorted sets, it is asked for only where they are (`LEX`);
//! - members that leave a set at random would leave two servers with different sets: SPOP takes
//!   all or none.

use super::{places, scripts, streams, values};
use crate::harness::random::Random;

/// Restricts a run to the commands it names, in capitals with commas between.
pub const ONLY_VARIABLE: &str = "MY_REDIS_DIFFERENTIAL_ONLY";

/// One request of the stream.
#[derive(Clone, Debug)]
pub struct Request {
    /// The command name and its arguments.
    pub args: Vec<Vec<u8>>,
}

/// Bytes of a field, or of its value, with which a hash still has the order in which they came.
const ORDERED_BYTES_MAX: usize = 64;

impl Request {
    /// Makes fields short in keys where they have an order: what is drawn from all bytes there are
    /// may be long.
    pub fn shorten_fields(&mut self) {
        let [name, key, fields @ ..] = self.args.as_mut_slice() else { return };
        let is_of_hash = name.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'H'));
        if is_of_hash && !BIG.contains(&key.as_slice()) {
            fields.iter_mut().for_each(|field| field.truncate(ORDERED_BYTES_MAX));
        }
    }
}

/// Keys that hold what is small; a hash here keeps its fields in the order they came.
const PLAIN: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"f",
    b"h",
    b"hello",
    b"hallo",
    b"",
    b"key with blank",
    b"\x00\xff\r\n",
    b"{x}1",
    b"{x}2",
    b"*",
    b"[a]",
    b"12",
    b"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87",
    b"long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-key",
];

/// Keys that may hold hashes of many or long fields, whose order is the server's own.
pub const BIG: &[&[u8]] = &[b"big:1", b"big:2", b"big:3"];

/// Keys of sorted sets, large ones as well, whose scores are all the same.
const LEX: &[&[u8]] = &[b"lex:1", b"lex:2"];

const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"7",
    b"10",
    b"100",
    b"-100",
    b"4294967296",
    b"9223372036854775806",
    b"9223372036854775807",
    b"-9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"1e5",
    b"3.14",
    b"-0",
    b"+1",
    b"01",
    b" 1",
    b"1 ",
    b"0x10",
    b"nan",
    b"inf",
    b"abc",
    b"ABC",
    b"a\r\nb",
    b"\x00\x01\xff",
    b"hello world",
    b"forty-four bytes of text, the longest packed.",
    b"sixty-four bytes, the longest that Redis keeps in a packed hash!",
];

const FIELDS: &[&[u8]] = &[
    b"f1",
    b"f2",
    b"f3",
    b"f4",
    b"f5",
    b"f6",
    b"F1",
    b"",
    b"0",
    b"1",
    b"-1",
    b"9223372036854775807",
    b"\x00\r\n\xff",
    b"field with blank",
    b"sixty-four bytes, the longest that Redis keeps in a packed hash!",
];

const INTEGERS: &[&[u8]] = &[
    b"2147483647",
    b"2147483648",
    b"-2147483648",
    b"4294967295",
    b"4294967296",
    b"9223372036854775806",
    b"9223372036854775807",
    b"-9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551615",
    b"99999999999999999999",
];

const SCORES: &[&[u8]] = &[
    b"inf",
    b"-inf",
    b"+inf",
    b"Infinity",
    b"-0",
    b"0.0",
    b"1e308",
    b"-1e308",
    b"1.7976931348623157e308",
    b"5e-324",
    b"1e-400",
    b"1e400",
    b"nan",
    b"-nan",
    b"0x1",
    b"0x1p-3",
    b" 1",
    b"1 ",
    b"",
    b".5",
    b"5.",
    b"3.14",
    b"-3.14",
    b"0.1",
    b"0.30000000000000004",
    b"1e18",
    b"4611686018427387904",
    b"-4611686018427387904",
    b"4611686018427388928",
    b"9007199254740993",
    b"9223372036854775807",
    b"123456789012345678901234567890",
    b"127",
    b"-128",
    b"128",
    b"32767",
    b"-32769",
    b"2147483648",
    b"-2147483649",
    b"abc",
    b"1\x00x",
];

/// Garbage for any place: none of it is a number, an option or a name.
const GARBAGE: &[&[u8]] = &[
    b"",
    b"nonsense",
    b"1.5",
    b"1e3",
    b" 1",
    b"1 ",
    b"+1",
    b"01",
    b"0x1",
    b"--1",
    b"1\x00",
    b"a\r\nb",
    b"\xff\xfe",
    b"'\"\\",
];

/// Deadlines that no server accepts, whatever the time is.
const BAD_DEADLINES: &[&[u8]] =
    &[b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"abc", b"", b"1.5"];

/// Far deadlines in seconds; `compare` knows that they must be kept to the digit.
pub const FAR_SECONDS: &[i64] = &[4_102_444_800, 4_102_444_801, 32_503_680_000, 9_223_372_036_000];

/// Far deadlines in milliseconds; some round up, some down.
pub const FAR_MILLIS: &[i64] =
    &[4_102_444_800_000, 4_102_444_800_499, 4_102_444_800_500, 4_102_444_801_999];

const PAST_SECONDS: &[&[u8]] = &[b"0", b"1", b"-1", b"1600000000", b"-9223372036854775"];
const PAST_MILLIS: &[&[u8]] = &[b"0", b"1", b"-1", b"1600000000000"];

const PATTERNS: &[&[u8]] = &[
    b"*",
    b"**",
    b"?",
    b"a*",
    b"*a*",
    b"h?llo",
    b"h[ae]llo",
    b"h[^e]llo",
    b"h[a-e]llo",
    b"h[e-a]llo",
    b"[^a]",
    b"[a",
    b"[",
    b"[]",
    b"[]a]",
    b"\\*",
    b"\\[a\\]",
    b"a\\",
    b"",
    b"big:*",
    b"{x}*",
    b"*\xff*",
    b"f?",
    b"nothing-fits*",
];

/// Commands that, spoilt, could turn into one that works and ends the server, ends a connection,
/// saves in the background, removes what is drawn at random or draws without end.
const NEVER_SPOILT: &[&[u8]] = &[
    b"shutdown",
    b"client",
    b"bgsave",
    b"save",
    b"spop",
    b"srandmember",
    b"zrandmember",
    // An error of a script repeats it, which is a matter of the interpreter's own tests.
    b"eval",
    b"eval_ro",
];

/// Names whose row COMMAND INFO must show as Redis does.
const NAMES: &[&[u8]] = &[
    b"get",
    b"SET",
    b"del",
    b"unlink",
    b"rename",
    b"mset",
    b"mget",
    b"lpush",
    b"lpop",
    b"lrange",
    b"hset",
    b"hgetall",
    b"hdel",
    b"keys",
    b"scan",
    b"ping",
    b"expire",
    b"incr",
    b"type",
    b"echo",
    b"flushall",
    b"dbsize",
    b"exists",
    b"ttl",
    b"hscan",
    b"append",
    b"sadd",
    b"smove",
    b"sintercard",
    b"sinterstore",
    b"zadd",
    b"zrange",
    b"zrangestore",
    b"zunion",
    b"zunionstore",
    b"zmpop",
    b"getex",
    b"lcs",
    b"lmove",
    b"hrandfield",
    b"bitfield_ro",
    b"pfcount",
    b"copy",
    b"object",
    b"sort_ro",
    b"restore",
    b"nosuch",
    b"",
];

/// How often a form is taken, and its template. `;` separates requests that stay together.
#[rustfmt::skip]
const FORMS: &[(usize, &str)] = &[
    // strings
    (60, "SET {key} {value} {set_options}"),
    (20, "SET {key} {value}"),
    (4, "SET {key} {value} EXAT {past}; GET {same}; DEL {same}"),
    (4, "SET {key} {value} PXAT {past_ms}; EXISTS {same}; DEL {same}"),
    (40, "GET {key}"),
    (20, "STRLEN {key}"),
    (20, "APPEND {key} {value}"),
    (20, "INCR {key}"),
    (15, "DECR {key}"),
    (25, "INCRBY {key} {int}"),
    (25, "DECRBY {key} {int}"),
    (15, "MGET {keys}"),
    (15, "MSET {key_values}"),
    // keys
    (30, "DEL {keys}"),
    (15, "UNLINK {keys}"),
    (20, "EXISTS {keys}"),
    (25, "TYPE {key}"),
    (30, "RENAME {key} {key}"),
    (10, "KEYS {pattern}"),
    (4, "DBSIZE"),
    (4, "SCAN 0 COUNT 1000000 {scan_options}"),
    (4, "SCAN 0 {scan_options} COUNT 1000000"),
    (3, "SCAN {cursor} COUNT {int}"),
    (2, "SCAN {cursor} {scan_options}"),
    (1, "FLUSHALL {flush_option}"),
    (1, "FLUSHDB {flush_option}"),
    // deadlines
    (25, "EXPIRE {key} {seconds} {expire_options}"),
    (25, "PEXPIRE {key} {millis} {expire_options}"),
    (20, "EXPIREAT {key} {at} {expire_options}"),
    (20, "PEXPIREAT {key} {at_ms} {expire_options}"),
    (20, "TTL {key}"),
    (20, "PTTL {key}"),
    (20, "EXPIRETIME {key}"),
    (20, "PEXPIRETIME {key}"),
    (20, "PERSIST {key}"),
    // lists
    (40, "LPUSH {key} {values}"),
    (40, "RPUSH {key} {values}"),
    (2, "RPUSH {key} {many_values}"),
    (20, "LPOP {key}"),
    (15, "LPOP {key} {int}"),
    (20, "RPOP {key}"),
    (15, "RPOP {key} {int}"),
    (20, "LLEN {key}"),
    (25, "LINDEX {key} {int}"),
    (25, "LSET {key} {int} {value}"),
    (25, "LREM {key} {int} {value}"),
    (35, "LRANGE {key} {int} {int}"),
    // hashes
    (45, "HSET {key} {field_values}"),
    (15, "HMSET {key} {field_values}"),
    (2, "HSET {key} {many_field_values}"),
    (30, "HGET {key} {field}"),
    (15, "HMGET {key} {fields}"),
    (20, "HEXISTS {key} {field}"),
    (25, "HDEL {key} {fields}"),
    (20, "HGETALL {key}"),
    (12, "HKEYS {key}"),
    (12, "HVALS {key}"),
    (15, "HLEN {key}"),
    (30, "HINCRBY {key} {field} {int}"),
    (8, "HSCAN {key} 0 COUNT 1000000 {hscan_options}"),
    (6, "HSCAN {plain} {cursor} {hscan_options}"),
    (4, "HSCAN {plain} {cursor} COUNT {int}"),
    // sets
    (45, "SADD {key} {members}"),
    (3, "SADD {key} {many_members}"),
    (25, "SREM {key} {members}"),
    (15, "SISMEMBER {key} {member}"),
    (10, "SMISMEMBER {key} {members}"),
    (20, "SMEMBERS {key}"),
    (12, "SCARD {key}"),
    (30, "SMOVE {key} {key} {member}"),
    (8, "SPOP {key} {word:1000000|0|-1|abc|1.5|9223372036854775808}"),
    (1, "SPOP {key} 1000000 {garbage}"),
    (10, "SRANDMEMBER {key}"),
    (10, "SRANDMEMBER {key} {word:0|1|2|5|1000000|-1|-7|abc|-9223372036854775808}"),
    (15, "SINTER {keys}"),
    (12, "SINTERCARD {counted_keys} {limit_option}"),
    (12, "SINTERSTORE {key} {keys}"),
    (15, "SUNION {keys}"),
    (12, "SUNIONSTORE {key} {keys}"),
    (15, "SDIFF {keys}"),
    (12, "SDIFFSTORE {key} {keys}"),
    (6, "SSCAN {key} 0 COUNT 1000000 {hscan_options}"),
    (4, "SSCAN {key} {cursor} {hscan_options}"),
    (3, "SSCAN {key} {cursor} COUNT {int}"),
    // sorted sets
    (60, "ZADD {key} {zadd_options} {score_members}"),
    (4, "ZADD {key} {many_score_members}"),
    (30, "ZINCRBY {key} {score} {member}"),
    (25, "ZREM {key} {members}"),
    (10, "ZCARD {key}"),
    (20, "ZSCORE {key} {member}"),
    (10, "ZMSCORE {key} {members}"),
    (15, "ZRANK {key} {member}"),
    (15, "ZREVRANK {key} {member}"),
    (20, "ZCOUNT {key} {bound} {bound}"),
    (10, "ZLEXCOUNT {plain} {lex} {lex}"),
    (25, "ZRANGE {key} {int} {int} {withscores}"),
    (6, "ZRANGE {key} {int} {int} {zrange_options}"),
    (15, "ZRANGE {key} {bound} {bound} BYSCORE {zrange_options}"),
    (10, "ZRANGE {plain} {lex} {lex} BYLEX {zrange_options}"),
    (12, "ZRANGESTORE {key} {key} {int} {int} {rev}"),
    (12, "ZRANGESTORE {key} {key} {bound} {bound} BYSCORE {zrange_options}"),
    (8, "ZRANGESTORE {plain} {plain} {lex} {lex} BYLEX {zrange_options}"),
    (12, "ZREVRANGE {key} {int} {int} {withscores}"),
    (15, "ZRANGEBYSCORE {key} {bound} {bound} {zrange_options}"),
    (15, "ZREVRANGEBYSCORE {key} {bound} {bound} {zrange_options}"),
    (10, "ZRANGEBYLEX {plain} {lex} {lex} {zrange_options}"),
    (10, "ZREVRANGEBYLEX {plain} {lex} {lex} {zrange_options}"),
    (8, "ZREMRANGEBYRANK {key} {int} {int}"),
    (8, "ZREMRANGEBYSCORE {key} {bound} {bound}"),
    (6, "ZREMRANGEBYLEX {plain} {lex} {lex}"),
    (15, "ZUNION {counted_keys} {combine_options} {withscores}"),
    (15, "ZINTER {counted_keys} {combine_options} {withscores}"),
    (12, "ZDIFF {counted_keys} {withscores}"),
    (15, "ZUNIONSTORE {key} {counted_keys} {combine_options}"),
    (15, "ZINTERSTORE {key} {counted_keys} {combine_options}"),
    (12, "ZDIFFSTORE {key} {counted_keys}"),
    (10, "ZINTERCARD {counted_keys} {limit_option}"),
    (15, "ZMPOP {counted_keys} {word:MIN|MAX|min|nonsense} {count_option}"),
    // waiting
    (12, "LMPOP {counted_keys} {word:LEFT|RIGHT|left|nonsense} {count_option}"),
    (8, "BLPOP {keys} {wait}"),
    (8, "BRPOP {keys} {wait}"),
    (8, "BLMOVE {key} {key} {word:LEFT|right} {word:LEFT|RIGHT|nonsense} {wait}"),
    (8, "BRPOPLPUSH {key} {key} {wait}"),
    (25, "BLMPOP {wait} {counted_keys} {word:LEFT|RIGHT|nonsense} {count_option}"),
    (8, "BZPOPMIN {keys} {wait}"),
    (8, "BZPOPMAX {keys} {wait}"),
    (25, "BZMPOP {wait} {counted_keys} {word:MIN|MAX|nonsense} {count_option}"),
    (15, "ZPOPMIN {key}"),
    (10, "ZPOPMIN {key} {int}"),
    (15, "ZPOPMAX {key}"),
    (10, "ZPOPMAX {key} {int}"),
    (8, "ZRANDMEMBER {key}"),
    (8, "ZRANDMEMBER {key} {word:0|1|2|5|1000000|-1|-7|abc} {withscores}"),
    (2, "ZRANDMEMBER {key} -9223372036854775808 WITHSCORES"),
    (6, "ZSCAN {key} 0 COUNT 1000000 {hscan_options}"),
    (4, "ZSCAN {plain} {cursor} {hscan_options}"),
    (3, "ZSCAN {plain} {cursor} COUNT {int}"),
    (15, "ZADD {lexkey} 0 {member}"),
    (3, "ZADD {lexkey} {many_zero_members}"),
    (6, "ZREM {lexkey} {member}"),
    (8, "ZLEXCOUNT {lexkey} {lex} {lex}"),
    (8, "ZRANGE {lexkey} {lex} {lex} BYLEX {zrange_options}"),
    (6, "ZREVRANGEBYLEX {lexkey} {lex} {lex} {zrange_options}"),
    (1, "ZREMRANGEBYLEX {lexkey} {lex} {lex}"),
    // connection
    (10, "PING"),
    (6, "PING {value}"),
    (8, "ECHO {value}"),
    (4, "SELECT {int}"),
    (6, "SELECT {word:0|0|0|1|2|3|4}"),
    (12, "MOVE {key} {word:0|1|2|3|4|-1|x}"),
    (1, "SWAPDB {word:0|1|2|3} {word:0|1|2|3|4|-1|x}"),
    // transactions; those of several commands are put together by `transaction`
    (8, "WATCH {keys}"),
    (2, "UNWATCH"),
    (1, "EXEC"),
    (1, "DISCARD"),
    (1, "MULTI; MULTI; DISCARD"),
    (1, "MULTI; WATCH {key}; EXEC"),
    (4, "HELLO {hello_options}"),
    (3, "HELLO {protocol} {hello_options}"),
    (2, "RESET"),
    (2, "AUTH {value}"),
    (2, "AUTH default {value}"),
    (2, "AUTH {value} {value}"),
    (2, "CLIENT GETNAME"),
    (3, "CLIENT SETNAME {client_name}"),
    (1, "CLIENT ID"),
    (1, "CLIENT INFO"),
    (1, "CLIENT LIST"),
    (1, "CLIENT LIST TYPE {word:normal|master|replica|pubsub|nonsense}"),
    (1, "CLIENT LIST ID {word:987654321|nonsense|0|-1}"),
    (1, "CLIENT LIST {value} {value}"),
    (2, "CLIENT NO-EVICT {word:on|OFF|nonsense|}"),
    (2, "CLIENT REPLY {word:ON|on|nonsense|}"),
    (2, "CLIENT KILL {word:127.0.0.1:1|nonsense|}"),
    (1, "CLIENT KILL ID {word:987654321|nonsense|0|-1}"),
    (1, "CLIENT KILL {word:TYPE nonsense|USER nonsense|ADDR 127.0.0.1:1|LADDR 127.0.0.1:1}"),
    (1, "CLIENT KILL ID 987654321 {word:SKIPME yes|SKIPME no|SKIPME nonsense}"),
    (1, "CLIENT KILL ID 987654321 {word:TYPE master|nonsense x}"),
    (2, "CLIENT {garbage}"),
    // server
    (2, "TIME"),
    (2, "INFO"),
    (1, "INFO {word:server|clients|memory|persistence|stats|replication|cpu|keyspace|all}"),
    (2, "LASTSAVE"),
    (1, "COMMAND {word:COUNT|LIST|DOCS get|DOCS get nosuch}"),
    (1, "COMMAND"),
    (3, "COMMAND INFO {name}"),
    (2, "COMMAND INFO {name} {name}"),
    (1, "COMMAND LIST FILTERBY {word:MODULE nosuch|nonsense x|PATTERN}"),
    (1, "COMMAND LIST FILTERBY {word:PATTERN nosuch*|ACLCAT nosuch}"),
    (3, "COMMAND GETKEYS GET {key}"),
    (3, "COMMAND GETKEYS MSET {key_values}"),
    (2, "COMMAND GETKEYS DEL {keys}"),
    (2, "COMMAND GETKEYS RENAME {key} {key}"),
    (2, "COMMAND GETKEYS SET {key} {value} {set_options}"),
    (2, "COMMAND GETKEYS {name} {values}"),
    (2, "COMMAND GETKEYS {word:ZUNION|SINTERCARD|ZMPOP} {counted_keys} {value}"),
    (2, "COMMAND GETKEYSANDFLAGS {word:ZUNIONSTORE|ZDIFFSTORE} {key} {word:1 a|2 a b|2 x1 x1}"),
    (1, "COMMAND GETKEYSANDFLAGS {word:SMOVE|SINTERSTORE|ZRANGESTORE|ZADD} {values}"),
    (2, "COMMAND GETKEYS {word:PING|nosuch|nosuch a|GET|COMMAND INFO get|CLIENT ID|KEYS *}"),
    (2, "COMMAND {garbage}"),
    (2, "CONFIG GET {option}"),
    (1, "CONFIG GET {option} {option}"),
    (2, "CONFIG SET {garbage} {value}"),
    (1, "CONFIG SET {word:timeout|timeout 0 timeout 0|timeout -1|timeout nonsense}"),
    (1, "CONFIG SET {word:timeout 0|maxmemory-policy nonsense}"),
    (2, "CONFIG {garbage}"),
    (1, "BGSAVE {word:nonsense|SCHEDULE x|x y}"),
    (1, "SAVE {garbage}"),
    (1, "SHUTDOWN {word:nonsense|NOSAVE SAVE|ABORT|ABORT SAVE|SAVE ABORT|NOSAVE nonsense}"),
    (1, "CLUSTER {word:INFO|NODES|SLOTS|MYID|SHARDS|nonsense}"),
    (1, "CLUSTER"),
    (1, "SENTINEL {word:MASTERS|nonsense|}"),
    (3, "MODULE {word:LIST|nonsense}"),
    (1, "FUNCTION {word:LIST|LIST WITHCODE|LIST LIBRARYNAME *|LIST nonsense|FLUSH|FLUSH ASYNC}"),
    (1, "FUNCTION {word:FLUSH SYNC|FLUSH nonsense|nonsense|STATS|DUMP|KILL|DELETE x|LOAD x}"),
    (3, "LATENCY {word:LATEST|LATEST x|nonsense}"),
    (3, "SLOWLOG {word:GET|GET 5|GET -1|GET -2|GET x|LEN|RESET|LEN x|nonsense}"),
    // nothing that exists
    (6, "{unknown}"),
    (6, "{unknown} {values}"),
];

/// Timeouts of blocking commands: short ones, and some that are refused.
const WAITS: &[&str] = &["0.001", "0.001", "0.002", "1e-3", "0.0001", "-1", "x", "inf"];

/// The templates of all families.
pub fn all_forms() -> impl Iterator<Item = &'static (usize, &'static str)> {
    let families = [values::FORMS, places::FORMS, streams::FORMS, scripts::FORMS];
    FORMS.iter().chain(families.into_iter().flatten())
}

/// Makes the stream; the same seed makes the same stream.
pub struct Generator {
    pub(super) random: Random,
    forms: Vec<&'static (usize, &'static str)>,
    weights_sum: usize,
    /// How many relative deadlines were handed out: none is used twice.
    deadlines: i64,
    /// The moment of the last new id of a stream.
    number: u64,
    /// The pool of keys for the request being made.
    keys: &'static [&'static [u8]],
}

impl Generator {
    /// A generator whose stream follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut forms: Vec<_> = all_forms().collect();
        if let Ok(names) = std::env::var(ONLY_VARIABLE) {
            let names: Vec<&str> = names.split(',').collect();
            forms.retain(|(_, form)| names.contains(&form.split(' ').next().unwrap_or(form)));
            assert!(!forms.is_empty(), "{ONLY_VARIABLE} leaves no command");
        }
        let weights_sum = forms.iter().map(|(weight, _)| weight).sum();
        Self { random: Random::new(seed), forms, weights_sum, deadlines: 0, number: 0, keys: PLAIN }
    }

    /// The generator's own source of chance.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The next request, or the next few that must stay together.
    pub fn next(&mut self) -> Vec<Request> {
        if self.random.chance(3) { self.transaction() } else { self.one() }
    }

    /// Some requests between MULTI and EXEC.
    fn transaction(&mut self) -> Vec<Request> {
        let mut requests = vec![Request { args: vec![self.recased(b"MULTI")] }];
        for _ in 0..self.random.between(0, 12) {
            // Those of transactions have forms of their own.
            let outside: [&[u8]; 4] = [b"MULTI", b"EXEC", b"DISCARD", b"RESET"];
            let inside = self.one();
            let name = |of: &Request| of.args[0].to_ascii_uppercase();
            if !inside.iter().any(|of| outside.contains(&name(of).as_slice())) {
                requests.extend(inside);
            }
        }
        let end = if self.random.chance(95) { b"EXEC".as_slice() } else { b"DISCARD" };
        requests.push(Request { args: vec![self.recased(end)] });
        requests
    }

    fn one(&mut self) -> Vec<Request> {
        let mut at = self.random.below(self.weights_sum);
        let form = self.forms.iter().find(|(weight, _)| {
            let found = at < *weight;
            at = at.wrapping_sub(*weight);
            found
        });
        self.fill(form.expect("the weights add up").1)
    }

    /// The requests of one template.
    pub fn fill(&mut self, form: &str) -> Vec<Request> {
        // What is spoilt could give one of these another score.
        let lexical = form.contains("{lexkey}");
        // One of these could rename or copy what is big to a key of a stream.
        let streams = form.contains("{streamkey}");
        let big = lexical || (self.random.chance(15) && !streams);
        self.keys = if big { BIG } else { PLAIN };
        let mut requests: Vec<Request> = Vec::new();
        for template in form.split("; ") {
            let same = requests.last().and_then(|request| request.args.get(1).cloned());
            requests.push(Request { args: self.fill_one(template, same.as_deref()) });
        }
        if let [request] = requests.as_mut_slice() {
            self.spoil(&mut request.args, big);
        }
        requests.retain(|request| {
            !is_guessed(&request.args)
                && !waits_long(&request.args)
                && !is_undefined(&request.args)
                && !streams::is_unlike(&request.args)
        });
        requests
    }

    /// One request, with its keys from the present pool; `{same}` stands for `same`.
    pub(super) fn fill_one(&mut self, template: &str, same: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut args: Vec<Vec<u8>> = Vec::new();
        for word in words(template) {
            match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                Some("same") => args.extend(same.map(<[u8]>::to_vec)),
                Some(name) => self.placeholder(name, &mut args),
                None => args.push(self.recased(word.as_bytes())),
            }
        }
        args
    }

    fn spoil(&mut self, args: &mut Vec<Vec<u8>>, big: bool) {
        let name = args[0].to_ascii_lowercase();
        if NEVER_SPOILT.contains(&name.as_slice()) {
            return;
        }
        match self.random.below(60) {
            0 => {
                let keep = self.random.between(1, args.len());
                args.truncate(keep);
            }
            1 => {
                let extra = self.garbage();
                args.push(extra);
            }
            // A long member would make a small sorted set of it a large one.
            2 if name != b"sadd" => {
                let extra = self.value();
                args.push(extra);
            }
            // A garbage key would bring what is big among what is plain.
            3 if !big && args.len() > 1 => {
                let place = self.random.between(1, args.len() - 1);
                args[place] = self.garbage();
            }
            _ => {}
        }
    }

    fn placeholder(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        if let Some(choices) = name.strip_prefix("word:") {
            let choices: Vec<&str> = choices.split('|').collect();
            let choice = *self.random.pick(&choices);
            args.extend(choice.split(' ').map(|word| word.as_bytes().to_vec()));
            return;
        }
        let one = match name {
            "key" => self.key(),
            "plain" => self.random.pick(PLAIN).to_vec(),
            "lexkey" => self.random.pick(LEX).to_vec(),
            "member" => self.member(),
            "score" => self.score(),
            "bound" => self.bound(),
            "lex" => self.lex_bound(),
            "value" => self.value(),
            "field" => self.field(),
            "int" => self.integer(),
            "garbage" => self.garbage(),
            "unknown" => self.unknown(),
            "pattern" => self.random.pick(PATTERNS).to_vec(),
            "name" => self.random.pick(NAMES).to_vec(),
            "past" => self.random.pick(&PAST_SECONDS[1..2]).to_vec(),
            "past_ms" => self.random.pick(&PAST_MILLIS[1..2]).to_vec(),
            "seconds" => self.relative(1),
            "millis" => self.relative(1_000),
            "at" => self.absolute(FAR_SECONDS, PAST_SECONDS),
            "at_ms" => self.absolute(FAR_MILLIS, PAST_MILLIS),
            "cursor" => {
                self.pick_bytes(&["0", "0", "1", "17", "abc", "-1", "1.5", "0x0", " 0", ""])
            }
            "client_name" => self.pick_bytes(&["n", "worker-1", "", "a b", "a\nb", "\u{e9}", "~"]),
            "protocol" => self.pick_bytes(&["2", "3", "2", "3", "1", "4", "-1", "abc", "", "2.0"]),
            "option" => self.pick_bytes(&[
                "save",
                "appendonly",
                "maxmemory",
                "maxmemory-policy",
                "timeout",
                "databases",
                "maxmemory-samples",
                "nosuch",
                "",
                "APPENDONLY",
            ]),
            _ => return self.several(name, args),
        };
        args.push(one);
    }

    fn several(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        match name {
            "members" => self.repeat(1, 4, args, |own, args| args.push(own.member())),
            "many_members" => {
                let count = if self.is_big() { 700 } else { 6 };
                self.repeat(1, count, args, |own, args| args.push(own.member()));
            }
            "score_members" => self.repeat(1, 3, args, Self::score_member),
            "many_score_members" => {
                let count = if self.is_big() { 200 } else { 6 };
                self.repeat(1, count, args, |own, args| {
                    let score = own.random.next() as i16 % 50;
                    args.push(score.to_string().into_bytes());
                    args.push(own.member());
                });
            }
            "many_zero_members" => self.repeat(1, 200, args, |own, args| {
                args.push(b"0".to_vec());
                args.push(own.member());
            }),
            "zadd_options" => self.zadd_options(args),
            "zrange_options" => self.repeat(0, 2, args, Self::zrange_option),
            "rev" => args.extend(self.random.chance(50).then(|| b"REV".to_vec())),
            "withscores" => args.extend(self.random.chance(50).then(|| b"WITHSCORES".to_vec())),
            "counted_keys" => self.counted_keys(args),
            "combine_options" => self.combine_options(args),
            "limit_option" => self.count_option("LIMIT", args),
            "count_option" => self.count_option("COUNT", args),
            "wait" => args.push(self.pick_bytes(WAITS)),
            "keys" => self.repeat(1, 4, args, |own, args| args.push(own.key())),
            "values" => self.repeat(1, 4, args, |own, args| args.push(own.value())),
            "fields" => self.repeat(1, 4, args, |own, args| args.push(own.field())),
            "many_values" => self.repeat(200, 700, args, |own, args| args.push(own.value())),
            "key_values" => self.repeat(1, 4, args, |own, args| {
                args.push(own.key());
                args.push(own.value());
            }),
            "field_values" => self.repeat(1, 4, args, Self::field_value),
            "many_field_values" => {
                let count = if self.is_big() { 300 } else { 6 };
                self.repeat(1, count, args, Self::field_value);
            }
            "set_options" => self.repeat(0, 3, args, Self::set_option),
            "expire_options" => {
                if self.random.chance(50) {
                    let options = ["NX", "XX", "GT", "LT", "gt", "nonsense"];
                    self.repeat(1, 2, args, |own, args| args.push(own.pick_bytes(&options)));
                }
            }
            "scan_options" => self.repeat(0, 2, args, Self::scan_option),
            "hscan_options" => {
                if self.random.chance(50) {
                    args.push(b"MATCH".to_vec());
                    args.push(self.random.pick(PATTERNS).to_vec());
                }
            }
            "hello_options" => self.hello_options(args),
            "flush_option" => {
                let option = *self.random.pick(&["", "", "ASYNC", "sync", "nonsense"]);
                args.extend((!option.is_empty()).then(|| option.into()));
            }
            _ => self.of_values(name, args),
        }
    }

    pub(super) fn repeat(
        &mut self,
        low: usize,
        high: usize,
        args: &mut Vec<Vec<u8>>,
        each: impl Fn(&mut Self, &mut Vec<Vec<u8>>),
    ) {
        for _ in 0..self.random.between(low, high) {
            each(self, args);
        }
    }

    pub(super) fn is_big(&self) -> bool {
        self.keys == BIG
    }

    pub(super) fn key(&mut self) -> Vec<u8> {
        self.random.pick(self.keys).to_vec()
    }

    pub(super) fn value(&mut self) -> Vec<u8> {
        match self.random.below(20) {
            0..14 => self.random.pick(VALUES).to_vec(),
            14..18 => (self.random.next() as i32 % 1_000).to_string().into_bytes(),
            18 => self.bytes(300),
            _ if self.is_big() => self.bytes(20_000),
            _ => self.bytes(60),
        }
    }

    /// A field, or a field's value: short where the hash must keep its order.
    fn short(&mut self, length_max: usize) -> Vec<u8> {
        match self.random.below(20) {
            0 => self.bytes(length_max),
            1..8 => (self.random.next() as i32 % 1_000).to_string().into_bytes(),
            _ => self.random.pick(VALUES).to_vec(),
        }
    }

    pub(super) fn field(&mut self) -> Vec<u8> {
        if self.is_big() && self.random.chance(70) {
            return match self.random.below(3) {
                0 => self.bytes(100),
                _ => format!("field:{}", self.random.below(1_000)).into_bytes(),
            };
        }
        self.random.pick(FIELDS).to_vec()
    }

    pub(super) fn field_value(&mut self, args: &mut Vec<Vec<u8>>) {
        args.push(self.field());
        let length_max = if self.is_big() { 200 } else { 64 };
        args.push(self.short(length_max));
    }

    /// A member: one of few, and short, where the set must stay small.
    pub(super) fn member(&mut self) -> Vec<u8> {
        if self.is_big() {
            return match self.random.below(12) {
                0 => self.bytes(90),
                1 => self.random.pick(FIELDS).to_vec(),
                2..4 => self.random.below(2_000).to_string().into_bytes(),
                _ => format!("m:{}", self.random.below(1_000)).into_bytes(),
            };
        }
        match self.random.below(10) {
            0..4 => self.random.below(20).to_string().into_bytes(),
            4..7 => self.random.pick(FIELDS).to_vec(),
            _ => self.random.pick(VALUES).to_vec(),
        }
    }

    fn score(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0..5 => (self.random.below(14) as i64 - 5).to_string().into_bytes(),
            5 => format!("{:.3}", self.random.next() as i32 as f64 / 1e6).into_bytes(),
            6 => format!("{:e}", f64::from_bits(self.random.next())).into_bytes(),
            _ => self.random.pick(SCORES).to_vec(),
        }
    }

    pub(super) fn score_member(&mut self, args: &mut Vec<Vec<u8>>) {
        args.push(self.score());
        args.push(self.member());
    }

    fn bound(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => b"-inf".to_vec(),
            1 => b"+inf".to_vec(),
            2 => b"(".iter().copied().chain(self.score()).collect(),
            _ => self.score(),
        }
    }

    fn lex_bound(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0..3 => b"-".to_vec(),
            3..6 => b"+".to_vec(),
            6..8 => b"(".iter().copied().chain(self.member()).collect(),
            8..11 => b"[".iter().copied().chain(self.member()).collect(),
            _ => self.pick_bytes(&["(", "[", "", "a", "++", "+\0", "-\0x", "-x"]),
        }
    }

    fn zadd_options(&mut self, args: &mut Vec<Vec<u8>>) {
        if self.random.chance(50) {
            self.repeat(1, 3, args, |own, args| {
                let name = *own.random.pick(&["NX", "XX", "GT", "LT", "CH", "CH", "INCR", "INCR"]);
                args.push(own.recased(name.as_bytes()));
            });
        }
    }

    fn zrange_option(&mut self, args: &mut Vec<Vec<u8>>) {
        match self.random.below(10) {
            0..4 => args.push(b"WITHSCORES".to_vec()),
            4..7 => {
                args.push(self.recased(b"LIMIT"));
                args.push(self.integer());
                args.push(self.integer());
            }
            7..9 => args.push(self.recased(b"REV")),
            _ => args.push(self.pick_bytes(&["LIMIT", "BYSCORE", "BYLEX", "nonsense", ""])),
        }
    }

    /// Keys behind their number, which is sometimes wrong.
    fn counted_keys(&mut self, args: &mut Vec<Vec<u8>>) {
        let count = self.random.between(1, 4);
        args.push(match self.random.below(12) {
            0 => self.integer(),
            _ => count.to_string().into_bytes(),
        });
        self.repeat(count, count, args, |own, args| args.push(own.key()));
    }

    fn combine_options(&mut self, args: &mut Vec<Vec<u8>>) {
        if self.random.chance(30) {
            // As many as there are keys, most often.
            let keys = args.iter().rev().position(|arg| arg.len() == 1 && arg[0].is_ascii_digit());
            args.push(self.recased(b"WEIGHTS"));
            let count = keys.unwrap_or(2);
            self.repeat(count, count, args, |own, args| args.push(own.score()));
        }
        if self.random.chance(30) {
            args.push(self.recased(b"AGGREGATE"));
            args.push(self.pick_bytes(&["SUM", "min", "MAX", "Min", "nonsense"]));
        }
    }

    fn count_option(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        if self.random.chance(50) {
            args.push(self.recased(name.as_bytes()));
            args.push(self.integer());
        }
    }

    pub(super) fn bytes(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.random.between(0, length_max);
        (0..length).map(|_| self.random.next() as u8).collect()
    }

    pub(super) fn integer(&mut self) -> Vec<u8> {
        match self.random.below(20) {
            0..14 => (self.random.below(14) as i64 - 5).to_string().into_bytes(),
            14 => (self.random.next() as i32 % 1_000).to_string().into_bytes(),
            15..19 => self.random.pick(INTEGERS).to_vec(),
            _ => self.garbage(),
        }
    }

    pub(super) fn garbage(&mut self) -> Vec<u8> {
        self.random.pick(GARBAGE).to_vec()
    }

    fn unknown(&mut self) -> Vec<u8> {
        match self.random.below(4) {
            0 => [b"NOSUCH".to_vec(), self.bytes(10)].concat(),
            1 => [b"nosuch".to_vec(), vec![b'x'; self.random.below(300)]].concat(),
            2 => self.garbage(),
            _ => self.pick_bytes(&["GETT", "get ", " get", "set\r\n", "my_redis", "HGETALLL"]),
        }
    }

    pub(super) fn pick_bytes(&mut self, choices: &[&str]) -> Vec<u8> {
        self.random.pick(choices).as_bytes().to_vec()
    }

    /// A deadline from now: far away and new, or past, or one that is always refused.
    fn relative(&mut self, per_second: i64) -> Vec<u8> {
        match self.random.below(10) {
            0 => self.pick_bytes(&["0", "-1", "-1000"]),
            1 => self.random.pick(BAD_DEADLINES).to_vec(),
            _ => (self.fresh_seconds() * per_second).to_string().into_bytes(),
        }
    }

    /// Whole thousands of seconds in an order that goes up and down, each only once.
    pub(super) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub(super) fn last_number(&self) -> u64 {
        self.number
    }

    pub(super) fn fresh_seconds(&mut self) -> i64 {
        self.deadlines += 1;
        1_000 * (1 + self.deadlines * 7_919 % 1_000_003)
    }

    fn absolute(&mut self, far: &[i64], past: &[&[u8]]) -> Vec<u8> {
        match self.random.below(10) {
            0..2 => self.random.pick(past).to_vec(),
            2 => self.random.pick(BAD_DEADLINES).to_vec(),
            _ => self.random.pick(far).to_string().into_bytes(),
        }
    }

    fn set_option(&mut self, args: &mut Vec<Vec<u8>>) {
        let name = *self.random.pick(&["EX", "PX", "EXAT", "PXAT", "NX", "XX", "GET", "KEEPTTL"]);
        args.push(self.recased(name.as_bytes()));
        // What is refused must not be a past deadline, which makes an expired key.
        let refused = self.random.chance(10);
        let number = match name {
            "EX" | "PX" | "EXAT" | "PXAT" if refused => {
                self.pick_bytes(&["0", "-1", "abc", "", "9223372036854775807", "1.5", "NX"])
            }
            "EX" => self.fresh_seconds().to_string().into_bytes(),
            "PX" => (self.fresh_seconds() * 1_000).to_string().into_bytes(),
            "EXAT" => self.random.pick(FAR_SECONDS).to_string().into_bytes(),
            "PXAT" => self.random.pick(FAR_MILLIS).to_string().into_bytes(),
            _ => return,
        };
        args.push(number);
    }

    fn scan_option(&mut self, args: &mut Vec<Vec<u8>>) {
        let (name, value) = match self.random.below(8) {
            0..4 => ("MATCH", self.random.pick(PATTERNS).to_vec()),
            4..7 => ("TYPE", self.pick_bytes(&["string", "list", "hash", "HASH", "set", "nosuch"])),
            _ => ("nonsense", b"x".to_vec()),
        };
        args.push(self.recased(name.as_bytes()));
        args.push(value);
    }

    fn hello_options(&mut self, args: &mut Vec<Vec<u8>>) {
        let options = *self.random.pick(&[
            "",
            "",
            "2",
            "3",
            "SETNAME n",
            "SETNAME",
            "AUTH default x",
            "AUTH nobody x",
            "AUTH x",
            "nonsense",
            "SETNAME a\nb",
            "AUTH default x SETNAME m",
            "SETNAME m AUTH nobody x",
        ]);
        args.extend(options.split(' ').filter(|word| !word.is_empty()).map(|word| word.into()));
    }

    /// The same word in capitals, in small letters or mixed.
    pub(super) fn recased(&mut self, word: &[u8]) -> Vec<u8> {
        match self.random.below(4) {
            0 => word.to_ascii_lowercase(),
            1 => {
                let bits = self.random.next();
                let mixed = word.iter().enumerate().map(|(place, byte)| {
                    if bits >> (place % 64) & 1 == 0 { byte.to_ascii_lowercase() } else { *byte }
                });
                mixed.collect()
            }
            _ => word.to_vec(),
        }
    }
}

/// True when redis-server guesses where keys are, because their count is no plain number:
/// docs/differences.md.
fn is_guessed(args: &[Vec<u8>]) -> bool {
    let word = |at: usize| args.get(at).map_or(Vec::new(), |arg| arg.to_ascii_uppercase());
    let count_at = match word(2).as_slice() {
        b"ZUNION" | b"ZINTER" | b"ZDIFF" | b"ZMPOP" | b"SINTERCARD" | b"ZINTERCARD" => 3,
        b"ZUNIONSTORE" | b"ZINTERSTORE" | b"ZDIFFSTORE" => 4,
        _ => return false,
    };
    let text = word(count_at);
    let count = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<usize>().ok());
    let plain = |count: &usize| count.to_string().as_bytes() == text && *count > 0;
    word(0) == b"COMMAND"
        && word(1).starts_with(b"GETKEYS")
        && count.filter(plain).is_none_or(|count| count > args.len() - count_at - 1)
}

/// True when Redis does what C does not define: it negates this rank, and counts on.
fn is_undefined(args: &[Vec<u8>]) -> bool {
    args[0].eq_ignore_ascii_case(b"LPOS") && args.iter().any(|arg| arg == b"-9223372036854775808")
}

/// True when a request, because it was spoilt, could wait for more than a moment.
fn waits_long(args: &[Vec<u8>]) -> bool {
    let timeout = match args[0].to_ascii_uppercase().as_slice() {
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => args.last(),
        b"BLMPOP" | b"BZMPOP" => args.get(1),
        _ => return false,
    };
    timeout.is_some_and(|timeout| WAITS.iter().all(|wait| wait.as_bytes() != timeout))
}

/// The blank-separated words of a template; a placeholder may hold blanks.
fn words(template: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = template.trim_start();
    while !rest.is_empty() {
        let end =
            if rest.starts_with('{') { rest.find('}').map(|at| at + 1) } else { rest.find(' ') };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word);
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{BIG, Generator, all_forms};

    /// A hash without an order would otherwise be read from a key whose replies are compared in
    /// order.
    #[test]
    fn what_is_big_is_renamed_and_copied_among_its_own_keys_only() {
        let mut generator = Generator::new(0);
        let mut moved = 0;
        for (_, form) in (0..200).flat_map(|_| all_forms()) {
            for request in generator.fill(form) {
                let name = request.args[0].to_ascii_uppercase();
                if !matches!(name.as_slice(), b"RENAME" | b"RENAMENX" | b"COPY") {
                    continue;
                }
                let [_, from, to, ..] = &request.args[..] else { continue };
                let is_big = |key: &Vec<u8>| BIG.contains(&key.as_slice());
                assert_eq!(is_big(from), is_big(to), "{form}: {:?}", request.args);
                moved += usize::from(is_big(from));
            }
        }
        assert!(moved > 0, "nothing big was moved");
    }
}
