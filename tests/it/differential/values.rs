//! The templates of commands that change parts of values or whole values, and what fills them.

use super::generate::Generator;

/// How often a form is taken, and its template.
#[rustfmt::skip]
pub const FORMS: &[(usize, &str)] = &[
    // strings
    (15, "SETNX {key} {value}"),
    (12, "SETEX {key} {seconds} {value}"),
    (12, "PSETEX {key} {millis} {value}"),
    (15, "GETSET {key} {value}"),
    (20, "GETEX {key} {getex_options}"),
    (10, "GETDEL {key}"),
    (25, "GETRANGE {key} {int} {int}"),
    (10, "SUBSTR {key} {int} {int}"),
    (25, "SETRANGE {key} {offset} {value}"),
    (25, "INCRBYFLOAT {key} {float}"),
    (10, "SET {key} {float}"),
    (10, "MSETNX {key_values}"),
    (20, "LCS {key} {key} {lcs_options}"),
    // lists
    (15, "LPUSHX {key} {values}"),
    (15, "RPUSHX {key} {values}"),
    (20, "LPOS {key} {value} {lpos_options}"),
    (25, "LINSERT {key} {word:BEFORE|after|AFTER|x} {value} {value}"),
    (15, "LTRIM {key} {int} {int}"),
    (25, "LMOVE {key} {key} {word:LEFT|right|x} {word:RIGHT|left|RIGHT}"),
    (15, "RPOPLPUSH {key} {key}"),
    // hashes
    (15, "HSETNX {key} {field_value}"),
    (12, "HSTRLEN {key} {field}"),
    (25, "HINCRBYFLOAT {key} {field} {short_float}"),
    (10, "HRANDFIELD {key}"),
    (15, "HRANDFIELD {key} {word:0|1|2|5|-5|1000|x|-9223372036854775808|9223372036854775807}"),
    (15, "HRANDFIELD {key} {word:0|5|-5|1|-3|1000} {word:WITHVALUES|withvalues|x}"),
    // bitmaps
    (30, "SETBIT {key} {bit_offset} {word:0|1|1|2|x}"),
    (20, "GETBIT {key} {bit_offset}"),
    (10, "BITCOUNT {key}"),
    (20, "BITCOUNT {key} {int} {int} {bit_unit}"),
    (10, "BITPOS {key} {word:0|1|2}"),
    (15, "BITPOS {key} {word:0|1} {int}"),
    (25, "BITPOS {key} {word:0|1} {int} {int} {bit_unit}"),
    (25, "BITOP {word:AND|or|XOR|and|NOT|x} {key} {keys}"),
    (10, "BITOP NOT {key} {key}"),
    (40, "BITFIELD {key} {bit_operations}"),
    (15, "BITFIELD_RO {key} {bit_operations}"),
    (15, "BITFIELD_RO {key} GET {bit_type} {bit_offset}"),
    // HyperLogLogs
    (60, "PFADD {key} {values}"),
    (3, "PFADD {key} {many_values}"),
    (10, "PFADD {key}"),
    (25, "PFCOUNT {key}"),
    (15, "PFCOUNT {keys}"),
    (20, "PFMERGE {key} {keys}"),
    // What makes a sparse sketch dense tells those who watch the key, unlike in Redis.
    (6, "PFDEBUG {word:ENCODING|decode|DECODE|x} {key}"),
    (6, "DEL {key}; PFADD {same} {values}; PFDEBUG {word:ENCODING|TODENSE|DECODE} {same}"),
    (1, "DEL {key}; PFADD {same} {values}; PFDEBUG GETREG {same}"),
    // keys
    (20, "RENAMENX {key} {key}"),
    (25, "COPY {key} {key} {copy_options}"),
    (10, "TOUCH {keys}"),
    (5, "RANDOMKEY"),
    (20, "OBJECT ENCODING {key}"),
    (5, "OBJECT REFCOUNT {key}"),
    (5, "OBJECT FREQ {key}"),
    (3, "OBJECT {word:IDLETIME|HELP|x} {key}"),
    (12, "DEL {key}; RPUSH {same} {numbers}; SORT {same} {sort_options}"),
    (8, "DEL {key}; RPUSH {same} {values}; SORT {same} ALPHA {sort_options}"),
    (6, "DEL {key}; RPUSH {same} {values}; SORT {same} ALPHA {plain_sort_options} STORE {key}"),
    (6, "DEL {key}; RPUSH {same} {values}; SORT_RO {same} {sort_options}"),
    (6, "DEL {key}; SADD {same} {numbers}; SORT {same} {sort_options}"),
    // Redis stores a small sorted set in another way once it was sorted.
    (6, "DEL {key}; ZADD {same} 3 1 2 a 1 5; SORT {same} {sort_options}; DEL {same}"),
    (3, "DEL {key}; SET {same} v; SORT {same} {sort_options}"),
    (10, "DUMP {key}"),
    (20, "RESTORE {key} {word:0|0|0|-1|x} {payload} {restore_options}"),
    (3, "WAIT {word:0|-1|x} {word:0|1|-1|x}"),
];

/// Made by redis-server 7.0.15; the last ones are damaged.
const PAYLOADS: &[&[u8]] = &[
    b"\x00\x03abc\x0a\x00\xd9\xac0=Ar\xa2\xe2",
    b"\x00\xc190\x0a\x00\x9d\x94\xea'\x93\xfc\x08\xb9",
    b"\x12\x01\x02\x17\x17\x00\x00\x00\x05\x00\x81a\x02\x81b\x02\x01\x01\xdf\xfb\x02\xf2p\x11\x01\
      \x04\xff\x0a\x00\x9f%n\xa4U\xd5\xf4s",
    b"\x10\x14\x14\x00\x00\x00\x04\x00\x81f\x02\x01\x01\x81g\x02\x83xyz\x04\xff\x0a\x00\xc9\x1c\
      \xe3`\xe5\x04\x1b\x09",
    b"\x00\xc3\x0a@\xc8\x02aba\xe0\xba\x01\x01ab\x0a\x00$\xa6\xe8Ap\xc0\xc6\x8c",
    b"\x00\x03abd\x0a\x00\xd9\xac0=Ar\xa2\xe2",
    b"\x00\x03abc\xff\x00\xd9\xac0=Ar\xa2\xe2",
    b"",
    b"short",
];

const FLOATS: &[&str] = &[
    "0",
    "-0",
    "0.1",
    "-0.1",
    "1.5",
    "3.0",
    "1e5",
    "1e-5",
    "1e17",
    "1e18",
    "1e19",
    "123456789.123",
    "0.00000000000000001",
    "0.000000000000000005",
    "1e-18",
    "1e40",
    "-1e40",
    "1e4932",
    "1e-4940",
    "1.2e4932",
    "1e-4951",
    "inf",
    "-inf",
    "nan",
    "0x1.8p3",
    "0x",
    "0xffffffffffffffff1",
    "+1.25",
    "1.",
    ".5",
    ".",
    "1e",
    "1e+2",
    " 1",
    "1 ",
    "18446744073709551615.5",
    "99999999999999999999",
    "9007199254740993",
    "0.30000000000000004",
    "infinity",
    "",
];

const COPY_OPTIONS: &[&str] = &[
    "",
    "",
    "REPLACE",
    "replace",
    "DB 0",
    "DB 1",
    "DB 4",
    "DB x",
    "DB 0 REPLACE",
    "DB 2 REPLACE",
    "DB",
    "x",
];
const RESTORE_OPTIONS: &[&str] = &[
    "",
    "",
    "REPLACE",
    "replace",
    "REPLACE ABSTTL",
    "IDLETIME 5",
    "IDLETIME -1",
    "FREQ 5",
    "FREQ 256",
    "FREQ 1 IDLETIME 1",
    "IDLETIME",
    "x",
];
/// What is stored must be the same for sure: no elements that are equal without being the same.
const PLAIN_SORT_OPTIONS: &[&str] = &[
    "",
    "",
    "DESC",
    "LIMIT 0 2",
    "LIMIT 1 -1 DESC",
    "GET #",
    "GET * GET #",
    "BY x",
    "x",
    "LIMIT x",
];
const SORT_PATTERNS: &[&str] = &[
    "*",
    "a*",
    "h*lo",
    "{x}*",
    "*->f1",
    "*->",
    "h*->F1",
    "#",
    "nosort",
    "nothing*",
    "big:*",
    "*->f2",
    "b*->f1->f2",
    "",
];

impl Generator {
    /// Fills a placeholder that only these templates have.
    pub(super) fn of_values(&mut self, name: &str, args: &mut Vec<Vec<u8>>) {
        match name {
            "float" => {
                let float = self.float();
                args.push(float);
            }
            "field_value" => self.field_value(args),
            "copy_options" => self.words_of(COPY_OPTIONS, args),
            "restore_options" => self.words_of(RESTORE_OPTIONS, args),
            "payload" => args.push(self.random.pick(PAYLOADS).to_vec()),
            "sort_options" => self.sort_options(args),
            "plain_sort_options" => self.words_of(PLAIN_SORT_OPTIONS, args),
            "numbers" => self.repeat(1, 6, args, |own, args| {
                args.push((own.random.next() as i8 % 20).to_string().into_bytes());
            }),
            "short_float" => {
                // A hash keeps its order while its values are short.
                let float = loop {
                    let float = self.float();
                    if !float.ends_with(b"e4932") {
                        break float;
                    }
                };
                args.push(float);
            }
            "bit_offset" => {
                let offset = self.bit_offset();
                args.push(offset);
            }
            "bit_type" => {
                let kind = self.bit_type();
                args.push(kind);
            }
            "bit_unit" => {
                let units = ["", "", "BIT", "bit", "BYTE", "x"];
                let unit = self.pick_bytes(&units);
                args.extend((!unit.is_empty()).then_some(unit));
            }
            "bit_operations" => self.repeat(0, 4, args, Self::bit_operation),
            "offset" => {
                let offset = match self.random.below(20) {
                    0 => self.pick_bytes(&["536870913", "536870912", "9223372036854775807", "-1"]),
                    1 => self.integer(),
                    2 => self.random.below(20_000).to_string().into_bytes(),
                    _ => self.random.below(40).to_string().into_bytes(),
                };
                args.push(offset);
            }
            "getex_options" => self.repeat(0, 2, args, Self::getex_option),
            "lpos_options" => self.repeat(0, 3, args, |own, args| {
                let word = own.pick_bytes(&["RANK", "COUNT", "MAXLEN", "rank", "count", "x"]);
                args.push(word);
                if own.random.chance(95) {
                    args.push(own.integer());
                }
            }),
            "lcs_options" => self.repeat(0, 3, args, Self::lcs_option),
            _ => self.of_streams(name, args),
        }
    }

    fn float(&mut self) -> Vec<u8> {
        let (whole, part) = (self.random.next() as i64, self.random.next());
        match self.random.below(10) {
            0..4 => self.pick_bytes(FLOATS),
            4..6 => format!("{}.{}", whole % 1_000, part % 1_000).into_bytes(),
            6 => format!("{whole}.{part}").into_bytes(),
            7 => format!("{whole}e{}", part % 40).into_bytes(),
            8 => format!("{whole}e-{}", part % 60).into_bytes(),
            _ => self.integer(),
        }
    }

    fn bit_offset(&mut self) -> Vec<u8> {
        match self.random.below(30) {
            // Below these there would be strings of hundreds of megabytes.
            0 => self.pick_bytes(&["9223372036854775807", "-9223372036854775808", "1.5", " 1"]),
            1 => self.pick_bytes(&["4294967296", "4294967303", "-1", "x", ""]),
            2 => self.random.below(100_000).to_string().into_bytes(),
            _ => self.random.below(300).to_string().into_bytes(),
        }
    }

    fn bit_type(&mut self) -> Vec<u8> {
        match self.random.below(20) {
            0 => self.pick_bytes(&["u64", "i65", "u0", "i", "x8", "", "U8", "u8 ", "i-1"]),
            1..4 => self.pick_bytes(&["i64", "u63", "i1", "u1"]),
            n if n % 2 == 0 => format!("i{}", self.random.between(1, 64)).into_bytes(),
            _ => format!("u{}", self.random.between(1, 63)).into_bytes(),
        }
    }

    fn bit_operation(&mut self, args: &mut Vec<Vec<u8>>) {
        let words = ["GET", "SET", "INCRBY", "get", "set", "incrby", "OVERFLOW", "OVERFLOW", "x"];
        let word = self.pick_bytes(&words);
        args.push(word.clone());
        if word == b"OVERFLOW" {
            args.push(self.pick_bytes(&["WRAP", "SAT", "sat", "FAIL", "fail", "x"]));
            return;
        }
        args.push(self.bit_type());
        let place = match self.random.below(4) {
            0 => self.pick_bytes(&["#0", "#1", "#2", "#3", "#7", "#-1", "#", "#x"]),
            _ => self.bit_offset(),
        };
        args.push(place);
        if !word.eq_ignore_ascii_case(b"GET") {
            let numbers = self.random.chance(50);
            args.push(if numbers { self.integer() } else { self.small_or_large() });
        }
    }

    /// A number whose width is as likely to be any.
    fn small_or_large(&mut self) -> Vec<u8> {
        let shift = self.random.below(64);
        (self.random.next() as i64 >> shift).to_string().into_bytes()
    }

    fn words_of(&mut self, choices: &[&str], args: &mut Vec<Vec<u8>>) {
        let choice = self.pick_bytes(choices);
        let words = choice.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        args.extend(words.map(<[u8]>::to_vec));
    }

    /// Never BY with LIMIT: there Redis sorts in a way that is not stable.
    fn sort_options(&mut self, args: &mut Vec<Vec<u8>>) {
        match self.random.below(4) {
            0 => {
                args.push(self.recased(b"LIMIT"));
                args.push(self.integer());
                args.push(self.integer());
            }
            1 | 2 => {
                args.push(self.recased(b"BY"));
                args.push(self.pick_bytes(SORT_PATTERNS));
            }
            _ => {}
        }
        for _ in 0..self.random.below(3) {
            let words = ["GET", "GET", "ASC", "DESC", "desc", "x", "ALPHA", "alpha"];
            let word = self.pick_bytes(&words);
            args.push(word.clone());
            if word == b"GET" {
                args.push(self.pick_bytes(SORT_PATTERNS));
            }
        }
    }

    fn getex_option(&mut self, args: &mut Vec<Vec<u8>>) {
        if self.random.chance(40) {
            let word = self.pick_bytes(&["PERSIST", "persist", "KEEPTTL", "nonsense"]);
            args.push(word);
            return;
        }
        let name = *self.random.pick(&["EX", "PX", "EXAT", "PXAT"]);
        args.push(self.recased(name.as_bytes()));
        let seconds = match (name, self.random.chance(10)) {
            (_, true) => {
                args.push(self.pick_bytes(&["0", "-1", "abc", "9223372036854775807", "1.5"]));
                return;
            }
            ("EX" | "PX", _) => self.fresh_seconds(),
            _ => *self.random.pick(super::generate::FAR_SECONDS),
        };
        let scale = if name.starts_with('P') { 1_000 } else { 1 };
        args.push((seconds * scale).to_string().into_bytes());
    }

    fn lcs_option(&mut self, args: &mut Vec<Vec<u8>>) {
        let word = self.pick_bytes(&["LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN", "idx", "x"]);
        let takes_number = word == b"MINMATCHLEN";
        args.push(word);
        if takes_number && self.random.chance(90) {
            args.push(self.integer());
        }
    }
}
