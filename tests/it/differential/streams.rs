//! The templates of the stream commands, and what fills them.
//!
//! Ids are explicit, since two servers have two clocks: most are the next ones of a count, so that
//! entries can be added; those that are read are of what was added not long ago. Times of delivery
//! are now or long ago, and what is asked of them has one answer.

use super::generate::Generator;

/// How often a form is taken, and its template.
#[rustfmt::skip]
pub const FORMS: &[(usize, &str)] = &[
    (110, "XADD {streamkey} {add_options} {new_id} {pairs}"),
    (4, "XADD {key} {new_id} {field} {value}"),
    (4, "DEL {streamkey}; XADD {same} * {pairs}; XADD {same} MAXLEN 1 * {pairs}; XLEN {same}; \
         DEL {same}"),
    (3, "DEL {streamkey}"),
    (10, "XLEN {streamkey}"),
    (25, "XRANGE {streamkey} {from_id} {to_id} {count_option}"),
    (15, "XRANGE {streamkey} - + {count_option}"),
    (25, "XREVRANGE {streamkey} {to_id} {from_id} {count_option}"),
    (30, "XDEL {streamkey} {ids}"),
    (20, "XTRIM {streamkey} {trim}"),
    (8, "XSETID {streamkey} {new_id} {setid_options}"),
    (25, "XREAD {read_options} STREAMS {streamkey} {read_id}"),
    (8, "XREAD {read_options} STREAMS {word:st:1 st:2|st:3 st:none} {read_id} {read_id}"),
    (40, "XREADGROUP GROUP {group} {consumer} {group_options} STREAMS {streamkey} >"),
    (25, "XREADGROUP GROUP {group} {consumer} {group_options} STREAMS {streamkey} {read_id}"),
    (8, "XREADGROUP {group_options} GROUP {group} {consumer} STREAMS {word:st:1 st:2} > {read_id}"),
    (25, "XGROUP CREATE {streamkey} {group} {group_id} {create_options}"),
    (10, "XGROUP SETID {streamkey} {group} {group_id} {read_count}"),
    (2, "XGROUP DESTROY {streamkey} {group}"),
    (8, "XGROUP CREATECONSUMER {streamkey} {group} {consumer}"),
    (4, "XGROUP DELCONSUMER {streamkey} {group} {consumer}"),
    (1, "XGROUP {word:HELP|nonsense|CREATE|create st:1}"),
    (25, "XACK {streamkey} {group} {ids}"),
    (15, "XPENDING {streamkey} {group}"),
    (25, "XPENDING {streamkey} {group} {idle} {from_id} {to_id} {word:10|100|1|0|-1|x} {whose}"),
    (25, "XCLAIM {streamkey} {group} {consumer} {min_idle} {ids} {claim_options}"),
    (20, "XAUTOCLAIM {streamkey} {group} {consumer} {min_idle} {from_id} {auto_options}"),
    (15, "XINFO STREAM {streamkey}"),
    (15, "XINFO STREAM {streamkey} FULL {count_option}"),
    (10, "XINFO GROUPS {streamkey}"),
    (10, "XINFO CONSUMERS {streamkey} {group}"),
    (1, "XINFO {word:HELP|nonsense|STREAM|nonsense st:1}"),
    (8, "COPY {streamkey} {streamkey} REPLACE"),
    (3, "RENAME {streamkey} {streamkey}"),
    (3, "TYPE {streamkey}"),
    (2, "OBJECT ENCODING {streamkey}"),
    (1, "COMMAND GETKEYS XREAD {read_options} STREAMS {word:a b 1 2|a 1}"),
    (1, "COMMAND GETKEYS XREADGROUP GROUP g c {read_options} STREAMS {word:a b 1 2|a >}"),
];

/// True when a request, because it was spoilt, could wait for more than a moment, or asks where the
/// keys of one are that is not well formed: docs/differences.md.
pub fn is_unlike(args: &[Vec<u8>]) -> bool {
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    let is_read = |arg: &Vec<u8>| is(arg, "XREAD") || is(arg, "XREADGROUP");
    if is(&args[0], "COMMAND") {
        return args.get(2).is_some_and(is_read) && !is_well_formed(&args[3..]);
    }
    let waits_long =
        |pair: &[Vec<u8>]| is(&pair[0], "BLOCK") && !matches!(&pair[1][..], b"1" | b"x" | b"-1");
    is_read(&args[0]) && args.windows(2).any(waits_long)
}

/// True when these are the options of a read, then keys, and as many ids.
fn is_well_formed(args: &[Vec<u8>]) -> bool {
    let mut at = 0;
    while let Some(word) = args.get(at) {
        at += match word.to_ascii_uppercase().as_slice() {
            b"BLOCK" | b"COUNT" => 2,
            b"GROUP" => 3,
            b"NOACK" => 1,
            b"STREAMS" => {
                let behind = args.len() - at - 1;
                return behind > 0 && behind.is_multiple_of(2);
            }
            _ => return false,
        };
    }
    false
}

impl Generator {
    /// Fills a placeholder that only these templates have.
    pub(super) fn of_streams(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        let one = match name {
            "streamkey" => match self.random.below(40) {
                0 => self.key(),
                1 => b"st:none".to_vec(),
                _ => self.pick_bytes(&["st:1", "st:2", "st:3"]),
            },
            "new_id" => self.new_id(),
            "read_id" => match self.random.below(8) {
                0 => b"$".to_vec(),
                1 | 2 => b"0".to_vec(),
                3 => self.pick_bytes(&[
                    ">",
                    "-",
                    "+",
                    "x",
                    "18446744073709551615-18446744073709551615",
                ]),
                _ => self.known_id(),
            },
            "group_id" => match self.random.below(4) {
                0 => b"$".to_vec(),
                1 | 2 => b"0".to_vec(),
                _ => self.known_id(),
            },
            "from_id" | "to_id" => self.end_id(name == "from_id"),
            "group" => self.pick_bytes(&["g", "g", "g", "h", "none", ""]),
            "consumer" => self.pick_bytes(&["alice", "bob", "carol", ""]),
            "min_idle" => self.pick_bytes(&["0", "0", "0", "1000000000", "-1", "x"]),
            _ => return self.stream_options(name, args),
        };
        args.push(one);
    }

    fn stream_options(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        match name {
            "pairs" => {
                let same = self.random.chance(70);
                let fields: &[&str] = if same { &["one", "two"] } else { &["two", "one", "1", ""] };
                for field in &fields[..2 + 2 * usize::from(!same && self.random.chance(50))] {
                    args.push(field.as_bytes().to_vec());
                    args.push(self.value());
                }
            }
            "ids" => self.repeat(1, 4, args, |own, args| args.push(own.known_id())),
            "add_options" => {
                args.extend(self.random.chance(5).then(|| b"NOMKSTREAM".to_vec()));
                if self.random.chance(15) {
                    self.trim(args);
                }
            }
            "trim" => self.trim(args),
            "setid_options" => self.repeat(0, 2, args, |own, args| {
                if own.random.chance(50) {
                    args.push(own.recased(b"ENTRIESADDED"));
                    args.push(own.pick_bytes(&["0", "5", "100", "1000", "-1", "x"]));
                } else {
                    args.push(own.recased(b"MAXDELETEDID"));
                    args.push(own.known_id());
                }
            }),
            "read_options" | "group_options" => self.repeat(0, 2, args, |own, args| {
                match own.random.below(if name == "read_options" { 9 } else { 12 }) {
                    0..6 => {
                        args.push(own.recased(b"COUNT"));
                        args.push(own.pick_bytes(&["1", "2", "5", "100", "0", "-1", "x"]));
                    }
                    6..9 => {
                        args.push(own.recased(b"BLOCK"));
                        args.push(own.pick_bytes(&["1", "1", "1", "1", "-1", "x"]));
                    }
                    _ => args.push(own.recased(b"NOACK")),
                }
            }),
            "create_options" => {
                args.extend(self.random.chance(50).then(|| b"MKSTREAM".to_vec()));
                self.stream_options("read_count", args);
            }
            "read_count" => {
                if self.random.chance(20) {
                    args.push(self.recased(b"ENTRIESREAD"));
                    args.push(self.pick_bytes(&["0", "1", "7", "100", "-1", "-2", "x"]));
                }
            }
            "idle" => {
                if self.random.chance(30) {
                    args.push(self.recased(b"IDLE"));
                    args.push(self.pick_bytes(&["0", "0", "1000000000", "-1", "x"]));
                }
            }
            "whose" => {
                if self.random.chance(30) {
                    args.push(self.pick_bytes(&["alice", "bob", "none"]));
                }
            }
            "claim_options" => self.repeat(0, 3, args, Self::claim_option),
            "auto_options" => {
                if self.random.chance(50) {
                    args.push(self.recased(b"COUNT"));
                    args.push(self.pick_bytes(&["1", "2", "10", "0", "x"]));
                }
                args.extend(self.random.chance(30).then(|| b"JUSTID".to_vec()));
            }
            _ => self.of_places(name, args),
        }
    }

    fn claim_option(&mut self, args: &mut Vec<Vec<u8>>) {
        let words = ["FORCE", "JUSTID", "IDLE", "TIME", "RETRYCOUNT", "LASTID", "nonsense"];
        let word = self.pick_bytes(&words);
        let value = match &word[..] {
            b"IDLE" => Some(self.pick_bytes(&["0", "2000000000", "-5", "x"])),
            b"TIME" => Some(self.pick_bytes(&["1000", "-5", "x", "9223372036854775807"])),
            b"RETRYCOUNT" => Some(self.pick_bytes(&["0", "7", "-1", "x"])),
            b"LASTID" => Some(self.known_id()),
            _ => None,
        };
        args.push(self.recased(&word));
        args.extend(value);
    }

    fn trim(&mut self, args: &mut Vec<Vec<u8>>) {
        let by_length = self.random.chance(60);
        args.push(self.recased(if by_length { b"MAXLEN" } else { b"MINID" }));
        let sign = self.pick_bytes(&["", "~", "~", "="]);
        let is_approximate = sign == b"~";
        args.extend((!sign.is_empty()).then_some(sign));
        args.push(match by_length {
            true => self.pick_bytes(&["0", "1", "3", "10", "50", "100", "150", "-1", "x"]),
            false => self.known_id(),
        });
        if self.random.chance(if is_approximate { 30 } else { 3 }) {
            args.push(self.recased(b"LIMIT"));
            args.push(self.pick_bytes(&["0", "10", "100", "101", "1000", "-1", "x"]));
        }
    }

    fn new_id(&mut self) -> Vec<u8> {
        let next = self.next_number();
        let text = match self.random.below(40) {
            0 => return self.pick_bytes(&["0-0", "0-1", "1-*", "x", "+", "5-5-5", "-", "1-01"]),
            1..10 => format!("{next}"),
            10..20 => format!("{next}-*"),
            20..30 => format!("{}-*", next / 8),
            _ => format!("{next}-{}", self.random.below(3)),
        };
        text.into_bytes()
    }

    fn known_id(&mut self) -> Vec<u8> {
        let last = self.last_number();
        let ms = last.saturating_sub(self.random.below(1 + last.min(600) as usize) as u64);
        match self.random.below(30) {
            0 => self.pick_bytes(&[
                "0-0",
                "x",
                "18446744073709551615",
                "5-x",
                "18446744073709551616",
            ]),
            1..10 => format!("{ms}").into_bytes(),
            10..20 => format!("{}-{}", ms / 8, self.random.below(9)).into_bytes(),
            _ => format!("{ms}-{}", self.random.below(3)).into_bytes(),
        }
    }

    fn end_id(&mut self, is_first: bool) -> Vec<u8> {
        match self.random.below(6) {
            0 => {
                if is_first {
                    b"-".to_vec()
                } else {
                    b"+".to_vec()
                }
            }
            1 => [b"(".to_vec(), self.known_id()].concat(),
            2 => self.pick_bytes(&["-", "+", "(", "(0", "(-"]),
            _ => self.known_id(),
        }
    }
}
