//! When two replies to one request count as the same: byte for byte, unless the request asks for
//! something that no two servers can answer alike.
//!
//! `Rule::of` names those requests, and each rule forgives one thing only. An error is never
//! forgiven: where one of the two replies is an error, both must be the same bytes.

use super::generate::{BIG, FAR_MILLIS, FAR_SECONDS};
use crate::harness::wire::escape;

/// How far apart two servers may be in the time left to one relative deadline.
const CLOCK_TOLERANCE_MS: i64 = 3_000;

/// From here on a number is a moment.
const MOMENT_MIN: i64 = 1_000_000_000;

/// What may differ between two replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Exact,
    /// All but the kind: the time of day, ids, texts for people, tables of all commands.
    Kind,
    /// The order of an array's elements.
    AnyOrder,
    /// The order of pairs (a map, or RESP2's flat array of pairs).
    AnyPairOrder,
    /// The cursor, and with it which part is shown; a scan that is complete at once may differ
    /// in order only.
    Scan,
    /// As `Scan`, in pairs.
    PairScan,
    /// A time in seconds or in milliseconds that follows from a relative deadline.
    Deadline { unit_ms: i64 },
    /// What was drawn at random: the number of elements must be the same. Or a form of a value that
    /// is the server's own.
    Drawn,
    /// When something was delivered or somebody was heard of, or how long ago that is.
    Moments,
    /// The connection's id.
    Greeting,
    /// Which of the forms of a string it has: Redis' depends on how it came to be.
    StringEncoding,
    /// All of a command's row behind its key positions; the order of its flags.
    CommandRows,
}

impl Rule {
    /// The rule for one request.
    pub fn of(args: &[Vec<u8>]) -> Self {
        let word =
            |place: usize| args.get(place).map_or(Vec::new(), |arg| arg.to_ascii_uppercase());
        let (name, second) = (word(0), word(1));
        let orderless = args.get(1).is_some_and(|key| BIG.contains(&key.as_slice()));
        match (name.as_slice(), second.as_slice()) {
            (b"KEYS", _) => Self::AnyOrder,
            (b"SCAN", b"0") => Self::Scan,
            (b"SCAN", _) => Self::Kind,
            (b"HSCAN", _) if orderless => Self::PairScan,
            (b"HGETALL", _) if orderless => Self::AnyPairOrder,
            (b"HKEYS" | b"HVALS", _) if orderless => Self::AnyOrder,
            (b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"SPOP", _) => Self::AnyOrder,
            (b"SRANDMEMBER" | b"ZRANDMEMBER", _) => Self::Drawn,
            (b"SSCAN", _) if args.get(2).is_none_or(|cursor| cursor != b"0") => Self::Kind,
            (b"SSCAN", _) => Self::Scan,
            (b"ZSCAN", _) if orderless => Self::PairScan,
            (b"TTL" | b"EXPIRETIME", _) => Self::Deadline { unit_ms: 1_000 },
            (b"PTTL" | b"PEXPIRETIME", _) => Self::Deadline { unit_ms: 1 },
            (b"TIME" | b"INFO" | b"LASTSAVE", _) => Self::Kind,
            (b"SORT" | b"SORT_RO", _) => Self::of_sort(args),
            (b"HRANDFIELD" | b"RANDOMKEY", _) => Self::Kind,
            (b"DUMP", _) => Self::Drawn,
            (b"XADD", _) if args.iter().skip(2).any(|arg| arg == b"*") => Self::Kind,
            (b"XPENDING" | b"XINFO", _) => Self::Moments,
            (b"OBJECT", b"ENCODING") => Self::StringEncoding,
            (b"OBJECT", b"REFCOUNT" | b"IDLETIME") => Self::Kind,
            (b"CLIENT", b"ID" | b"INFO" | b"LIST") => Self::Kind,
            (b"HELLO", _) => Self::Greeting,
            (b"CONFIG", b"GET") => Self::AnyPairOrder,
            (b"COMMAND", b"INFO") if args.len() > 2 => Self::CommandRows,
            (b"COMMAND", b"LIST") if args.len() == 2 => Self::Kind,
            (b"COMMAND", b"" | b"INFO" | b"COUNT" | b"DOCS") => Self::Kind,
            _ => Self::Exact,
        }
    }

    /// Sets have no order, which shows where they are not sorted, or where elements count as equal
    /// that are not the same: up to a zero byte, or for want of a key to sort them by.
    fn of_sort(args: &[Vec<u8>]) -> Self {
        let has = |word: &[u8]| args.iter().any(|arg| arg.eq_ignore_ascii_case(word));
        let unsorted = args
            .windows(2)
            .any(|pair| pair[0].eq_ignore_ascii_case(b"BY") && !pair[1].contains(&b'*'));
        match (has(b"STORE"), unsorted || has(b"ALPHA"), has(b"LIMIT")) {
            (true, _, _) | (_, false, _) => Self::Exact,
            (_, _, true) => Self::Kind,
            _ => Self::AnyOrder,
        }
    }

    /// True if the two replies to one request may stand beside each other.
    pub fn accepts(self, left: &[u8], right: &[u8]) -> bool {
        if left == right {
            return true;
        }
        if self == Self::Exact || is_error(left) || is_error(right) {
            return false;
        }
        let (Some(left), Some(right)) = (Node::parse(left), Node::parse(right)) else {
            return false;
        };
        match self {
            Self::Exact => false,
            Self::Kind => left.kind == right.kind,
            Self::AnyOrder => left.kind == right.kind && left.sorted(1) == right.sorted(1),
            Self::AnyPairOrder => left.kind == right.kind && left.sorted(2) == right.sorted(2),
            Self::Scan => same_scan(&left, &right, 1),
            Self::PairScan => same_scan(&left, &right, 2),
            Self::Deadline { unit_ms } => same_deadline(&left, &right, unit_ms),
            Self::Drawn => {
                let shape = |node: &Node| (node.kind, node.is_null(), node.children.len());
                shape(&left) == shape(&right)
            }
            Self::Moments => left.without_moments() == right.without_moments(),
            Self::Greeting => left.kind == right.kind && left.without_id() == right.without_id(),
            Self::StringEncoding => {
                let forms: [&[u8]; 3] = [b"int", b"embstr", b"raw"];
                forms.contains(&left.text.as_slice()) && forms.contains(&right.text.as_slice())
            }
            Self::CommandRows => left.kind == right.kind && left.rows() == right.rows(),
        }
    }
}

/// A pair of replies that may differ although no rule says so, and why that is right.
pub struct Allowed {
    /// The command, in capitals.
    pub command: &'static str,
    /// Redis' reply.
    pub redis: &'static [u8],
    /// Ours; `None` for any that is no error.
    pub ours: Option<&'static [u8]>,
    /// Why ours is better; docs/differences.md says the same to users.
    #[expect(dead_code, reason = "for the reader")]
    pub reason: &'static str,
}

const BAD_WEIGHT: &[u8] = b"-ERR One or more scores can't be converted into double\r\n";

/// Every difference that is meant.
pub const ALLOWED: &[Allowed] = &[
    Allowed {
        command: "SORT",
        redis: BAD_WEIGHT,
        ours: None,
        reason: "Redis refuses any number after another command has met one out of range",
    },
    Allowed {
        command: "SORT_RO",
        redis: BAD_WEIGHT,
        ours: None,
        reason: "Redis refuses any number after another command has met one out of range",
    },
];

/// True if the two replies to one request may stand beside each other.
pub fn same_reply(args: &[Vec<u8>], ours: &[u8], redis: &[u8]) -> bool {
    Rule::of(args).accepts(ours, redis) || is_allowed(args, ours, redis)
}

/// The same for EXEC, whose reply has those of the commands that were queued.
pub fn same_transaction(queued: &[&[Vec<u8>]], ours: &[u8], redis: &[u8]) -> bool {
    if ours == redis {
        return true;
    }
    let (Some(ours), Some(redis)) = (elements(ours), elements(redis)) else {
        return false;
    };
    ours.len() == queued.len()
        && redis.len() == queued.len()
        && queued
            .iter()
            .zip(ours.into_iter().zip(redis))
            .all(|(args, (ours, redis))| same_reply(args, ours, redis))
}

/// The replies that an array has, `None` if it is none.
fn elements(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let end = reply.windows(2).position(|pair| pair == b"\r\n")?;
    let count: usize = std::str::from_utf8(reply[..end].strip_prefix(b"*")?).ok()?.parse().ok()?;
    let mut rest = &reply[end + 2..];
    let mut found = Vec::new();
    for _ in 0..count {
        let start = rest;
        Node::read(&mut rest)?;
        found.push(&start[..start.len() - rest.len()]);
    }
    rest.is_empty().then_some(found)
}

/// True if the difference stands in `ALLOWED`.
fn is_allowed(args: &[Vec<u8>], ours: &[u8], redis: &[u8]) -> bool {
    ALLOWED.iter().any(|allowed| {
        let same_command =
            args.first().is_some_and(|name| name.eq_ignore_ascii_case(allowed.command.as_bytes()));
        let same_ours = allowed.ours.map_or(!is_error(ours), |expected| expected == ours);
        same_command && same_ours && allowed.redis == redis
    })
}

fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), None | Some(b'-' | b'!'))
}

/// One value of a reply, for the rules that look inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    kind: u8,
    /// The text after the kind, or the bytes of a bulk string; empty for what has children.
    text: Vec<u8>,
    /// An aggregate's values; a map's are keys and values in turn.
    children: Vec<Node>,
}

impl Node {
    /// Reads one whole reply; `None` if it is not one, or has attributes.
    pub fn parse(reply: &[u8]) -> Option<Self> {
        let mut rest = reply;
        let node = Self::read(&mut rest)?;
        rest.is_empty().then_some(node)
    }

    // The depth is that of the reply, and those that come here are a few levels deep.
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let (kind, text) = (*rest.first()?, &rest[1..end]);
        *rest = &rest[end + 2..];
        let length = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        let mut node = Self { kind, text: Vec::new(), children: Vec::new() };
        match (kind, length) {
            (b'$' | b'*', Some(-1)) => node.text = b"null".to_vec(),
            (b'$' | b'=' | b'!', Some(length)) => {
                let length = usize::try_from(length).ok()?;
                node.text = rest.get(..length)?.to_vec();
                *rest = rest.get(length + 2..)?;
            }
            (b'*' | b'~' | b'>' | b'%', Some(length)) => {
                for _ in 0..if kind == b'%' { 2 * length } else { length } {
                    node.children.push(Self::read(rest)?);
                }
            }
            _ => node.text = text.to_vec(),
        }
        Some(node)
    }

    /// The children in groups of `size`, sorted; with a node that has none, the node itself.
    fn sorted(&self, size: usize) -> Vec<Vec<Node>> {
        let mut groups: Vec<Vec<Node>> = self.children.chunks(size).map(<[_]>::to_vec).collect();
        if groups.is_empty() {
            groups.push(vec![self.clone()]);
        }
        groups.sort();
        groups
    }

    fn is_null(&self) -> bool {
        self.kind == b'$' && self.text == b"null"
    }

    fn integer(&self) -> Option<i64> {
        std::str::from_utf8(&self.text).ok()?.parse().ok()
    }

    /// The same, with 0 in the place of moments, which are large numbers, and of what is idle for
    /// some time: the number behind that word, and the third part of four that begin with an id.
    fn without_moments(&self) -> Self {
        let mut node = self.clone();
        let is_pending = matches!(&node.children[..], [id, name, idle, count]
            if [id, name, idle, count].map(|part| part.kind) == *b"$$::");
        let mut was_idle = false;
        for (number, child) in node.children.iter_mut().enumerate() {
            *child = child.without_moments();
            let is_moment = child.integer().is_some_and(|n| n >= MOMENT_MIN);
            if child.kind == b':' && (is_moment || was_idle || (is_pending && number == 2)) {
                child.text = b"0".to_vec();
            }
            was_idle = child.text == b"idle";
        }
        node
    }

    fn without_id(&self) -> Vec<Node> {
        let pairs = self.children.chunks(2).filter(|pair| pair[0].text != b"id");
        pairs.flatten().cloned().collect()
    }

    /// For COMMAND INFO: per command its name, arity, flags in any order and key positions.
    fn rows(&self) -> Vec<Vec<Node>> {
        let rows = self.children.iter().map(|row| {
            let mut shown: Vec<Node> = row.children.iter().take(6).cloned().collect();
            match shown.get_mut(2) {
                Some(flags) => flags.children.sort(),
                None => shown.push(row.clone()),
            }
            shown
        });
        rows.collect()
    }

    /// The texts of the children, for those who walk through a reply.
    pub fn texts(&self) -> Vec<Vec<u8>> {
        self.children.iter().map(|child| child.text.clone()).collect()
    }

    /// The cursor and the elements of a SCAN reply.
    pub fn scan(&self) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
        match self.children.as_slice() {
            [cursor, elements] => Some((cursor.text.clone(), elements.texts())),
            _ => None,
        }
    }
}

fn same_scan(left: &Node, right: &Node, size: usize) -> bool {
    let ([left_cursor, left_part], [right_cursor, right_part]) =
        (left.children.as_slice(), right.children.as_slice())
    else {
        return false;
    };
    if (left.kind, left_cursor.kind, left_part.kind)
        != (right.kind, right_cursor.kind, right_part.kind)
    {
        return false;
    }
    let complete = left_cursor.text == b"0" && right_cursor.text == b"0";
    !complete || left_part.sorted(size) == right_part.sorted(size)
}

fn same_deadline(left: &Node, right: &Node, unit_ms: i64) -> bool {
    let (Some(left_time), Some(right_time)) = (left.integer(), right.integer()) else {
        return false;
    };
    if left.kind != right.kind || left_time < 0 || right_time < 0 {
        return false;
    }
    let far = |time: i64| {
        let of_seconds = FAR_SECONDS.iter().any(|far| far * 1_000 / unit_ms == time);
        of_seconds || FAR_MILLIS.iter().any(|far| (far + unit_ms / 2) / unit_ms == time)
    };
    let apart_ms = left_time.abs_diff(right_time).saturating_mul(unit_ms.unsigned_abs());
    apart_ms <= CLOCK_TOLERANCE_MS.unsigned_abs() && !far(left_time) && !far(right_time)
}

/// A request as one could type it.
pub fn typed(args: &[Vec<u8>]) -> String {
    let words = args.iter().map(|arg| {
        let plain = !arg.is_empty() && arg.iter().all(|byte| byte.is_ascii_graphic());
        if plain && !arg.iter().any(|byte| b"\"'\\".contains(byte)) {
            escape(arg)
        } else {
            format!("\"{}\"", escape(arg))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Rule, same_transaction};
    use crate::harness::wire::{escape, split};

    /// A request, two replies, and whether they may stand beside each other.
    #[rustfmt::skip]
    const CASES: &[(&str, &str, &str, bool)] = &[
        ("GET a", "$1\r\nx\r\n", "$1\r\nx\r\n", true),
        ("GET a", "$1\r\nx\r\n", "$1\r\ny\r\n", false),
        ("GET a", "$-1\r\n", "_\r\n", false),
        ("LPUSH a",
            "-ERR wrong number of arguments for 'lpush' command\r\n",
            "-ERR wrong number of arguments for 'LPUSH' command\r\n", false),
        ("KEYS *", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", true),
        ("KEYS *", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\nb\r\n", false),
        ("KEYS *", "*1\r\n$1\r\na\r\n", "~1\r\n$1\r\na\r\n", false),
        ("KEYS *", "*0\r\n", "*-1\r\n", false),
        ("LRANGE a 0 -1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", false),
        ("HKEYS a", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", false),
        ("hkeys big:1", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n", true),
        ("HGETALL big:1", "%2\r\n+a\r\n+1\r\n+b\r\n+2\r\n", "%2\r\n+b\r\n+2\r\n+a\r\n+1\r\n", true),
        ("HGETALL big:1",
            "%2\r\n+a\r\n+1\r\n+b\r\n+2\r\n",
            "%2\r\n+b\r\n+1\r\n+a\r\n+2\r\n", false),
        ("HGETALL big:1", "*2\r\n+a\r\n+1\r\n", "%1\r\n+a\r\n+1\r\n", false),
        ("SCAN 0",
            "*2\r\n$1\r\n0\r\n*2\r\n+a\r\n+b\r\n",
            "*2\r\n$1\r\n0\r\n*2\r\n+b\r\n+a\r\n", true),
        ("SCAN 0", "*2\r\n$1\r\n0\r\n*2\r\n+a\r\n+b\r\n", "*2\r\n$1\r\n0\r\n*1\r\n+b\r\n", false),
        ("SCAN 0", "*2\r\n$1\r\n0\r\n*2\r\n+a\r\n+b\r\n", "*2\r\n$1\r\n9\r\n*1\r\n+b\r\n", true),
        ("SCAN 0", "*2\r\n$1\r\n0\r\n*0\r\n", "*2\r\n:0\r\n*0\r\n", false),
        ("SCAN 17", "*2\r\n$1\r\n0\r\n*1\r\n+a\r\n", "*2\r\n$1\r\n0\r\n*0\r\n", true),
        ("SCAN x", "-ERR invalid cursor\r\n", "*2\r\n$1\r\n0\r\n*0\r\n", false),
        ("TTL a", ":100\r\n", ":101\r\n", true),
        ("TTL a", ":100\r\n", ":105\r\n", false),
        ("TTL a", ":-1\r\n", ":1\r\n", false),
        ("TTL a", ":-1\r\n", ":-2\r\n", false),
        ("PTTL a", ":100000\r\n", ":101000\r\n", true),
        ("PTTL a", ":100000\r\n", ":104000\r\n", false),
        ("EXPIRETIME a", ":4102444800\r\n", ":4102444801\r\n", false),
        ("PEXPIRETIME a", ":4102444800499\r\n", ":4102444800498\r\n", false),
        ("PEXPIRETIME a", ":1800000000000\r\n", ":1800000000010\r\n", true),
        ("SMEMBERS a", "~2\r\n+a\r\n+b\r\n", "~2\r\n+b\r\n+a\r\n", true),
        ("SMEMBERS a", "~2\r\n+a\r\n+b\r\n", "~2\r\n+b\r\n+c\r\n", false),
        ("SMEMBERS a", "~1\r\n+a\r\n", "*1\r\n+a\r\n", false),
        ("SRANDMEMBER a", "$1\r\na\r\n", "$1\r\nb\r\n", true),
        ("SRANDMEMBER a", "$1\r\na\r\n", "$-1\r\n", false),
        ("ZRANDMEMBER a 2", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+b\r\n", true),
        ("ZRANDMEMBER a 2", "*2\r\n+a\r\n+b\r\n", "*1\r\n+b\r\n", false),
        ("ZRANGE a 0 -1", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", false),
        ("TIME", "*2\r\n+1\r\n+2\r\n", "*2\r\n+1\r\n+3\r\n", true),
        ("TIME x", "-ERR a\r\n", "-ERR b\r\n", false),
        ("CLIENT ID", ":1\r\n", ":2\r\n", true),
        ("CLIENT ID", ":1\r\n", "$1\r\n1\r\n", false),
        ("HELLO",
            "*4\r\n$2\r\nid\r\n:1\r\n+proto\r\n:2\r\n",
            "*4\r\n$2\r\nid\r\n:2\r\n+proto\r\n:2\r\n", true),
        ("HELLO",
            "*4\r\n$2\r\nid\r\n:1\r\n+proto\r\n:2\r\n",
            "*4\r\n$2\r\nid\r\n:1\r\n+proto\r\n:3\r\n", false),
        ("COMMAND INFO get",
            "*1\r\n*3\r\n+get\r\n:2\r\n*2\r\n+a\r\n+b\r\n",
            "*1\r\n*3\r\n+get\r\n:2\r\n*2\r\n+b\r\n+a\r\n", true),
        ("COMMAND INFO get",
            "*1\r\n*3\r\n+get\r\n:2\r\n*1\r\n+a\r\n",
            "*1\r\n*3\r\n+get\r\n:-2\r\n*1\r\n+a\r\n", false),
        ("SORT a", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", false),
        ("SORT a BY n", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", true),
        ("SORT a BY n*", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", false),
        ("SORT a ALPHA", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+c\r\n", false),
        ("XINFO CONSUMERS a g", "*2\r\n$4\r\nidle\r\n:1\r\n", "*2\r\n$4\r\nidle\r\n:2\r\n", true),
        ("XINFO CONSUMERS a g", "*2\r\n$4\r\nidla\r\n:1\r\n", "*2\r\n$4\r\nidla\r\n:2\r\n", false),
        ("XPENDING a g - + 1",
            "*1\r\n*4\r\n$1\r\n5\r\n$1\r\nc\r\n:7\r\n:1\r\n",
            "*1\r\n*4\r\n$1\r\n5\r\n$1\r\nc\r\n:9\r\n:1\r\n", true),
        ("XPENDING a g - + 1",
            "*1\r\n*4\r\n$1\r\n5\r\n$1\r\nc\r\n:7\r\n:1\r\n",
            "*1\r\n*4\r\n$1\r\n5\r\n$1\r\nc\r\n:7\r\n:2\r\n", false),
        ("XADD a * b c", "$3\r\n1-1\r\n", "$3\r\n2-1\r\n", true),
        ("XADD a 1 b c", "$3\r\n1-1\r\n", "$3\r\n2-1\r\n", false),
        ("DUMP a", "$2\r\nab\r\n", "$1\r\na\r\n", true),
        ("DUMP a", "$2\r\nab\r\n", "$-1\r\n", false),
        ("OBJECT ENCODING a", "$6\r\nembstr\r\n", "$3\r\nraw\r\n", true),
        ("OBJECT ENCODING a", "$9\r\nquicklist\r\n", "$3\r\nraw\r\n", false),
        ("COMMAND INFO get", "*1\r\n*-1\r\n", "*1\r\n*0\r\n", false),
    ];

    #[test]
    fn a_transaction_is_compared_command_by_command() {
        let queued = [split("GET a"), split("KEYS *"), split("GET b")];
        let queued: Vec<&[Vec<u8>]> = queued.iter().map(Vec::as_slice).collect();
        let reply = |keys: &str, last: &str| {
            format!("*3\r\n$1\r\nx\r\n*2\r\n{keys}{last}\r\n").into_bytes()
        };
        let one = reply("$1\r\na\r\n$1\r\nb\r\n", "$-1");
        let (other, a, b) = ("$1\r\nb\r\n$1\r\na\r\n", "$-1", ":1");
        assert!(same_transaction(&queued, &one, &reply(other, a)));
        assert!(!same_transaction(&queued, &one, &reply(other, b)));
        assert!(!same_transaction(&queued[..2], &one, &reply(other, a)));
        assert!(!same_transaction(&queued, &one, b"*-1\r\n"));
        assert!(!same_transaction(&queued, &one, b"-EXECABORT x\r\n"));
    }

    #[test]
    fn only_what_a_rule_forgives_is_forgiven() {
        for (line, left, right, same) in CASES {
            let rule = Rule::of(&split(line));
            for (one, other) in [(left, right), (right, left)] {
                let accepted = rule.accepts(one.as_bytes(), other.as_bytes());
                assert_eq!(accepted, *same, "{line}: {}", escape(one.as_bytes()));
            }
        }
    }
}
