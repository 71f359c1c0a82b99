//! Whether a script surely touches no keys but those that it was given.
//!
//! Such a script needs only the shards of its keys, and others run at the same time. Any other one
//! locks all shards: it cannot be taken back once it has written, so it must never come to a shard
//! that it does not hold. This looks at the text once, when the script is loaded or a function of a
//! library is called for the first time, and believes only what it can prove:
//!
//! * `redis` is only ever used as `redis.call(...)` and its like, or bound once to a local name
//!   that is only ever called;
//! * each call names its command by a literal, the command is known, and does not reach into the
//!   keyspace as a whole;
//! * each argument that is a key of the command is `KEYS[...]` or a local name that is never bound
//!   to anything else, or all of them are `unpack(KEYS)`;
//! * `KEYS` is only ever read;
//! * none of the means by which Lua changes what a name stands for occurs.
//!
//! It does not follow scopes: a name must be good wherever it is bound in the whole text. So it may
//! be wrong in one direction only, which costs time. Should it be wrong in the other one, the doors
//! refuse what is not held (`keyspace::held`).
//!
//! A library of functions is proved as a whole. There the first parameter of each function that is
//! registered takes the place of `KEYS`.

use crate::command::spec::{CommandSpec, Flags, KeySpec, Run};
use crate::command::table;
use crate::util::lua_tokens::{Token, tokens};
use std::collections::{HashMap, HashSet};

/// What is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A script, whose keys are in `KEYS`.
    Script,
    /// A library of functions.
    Library,
}

/// A text of more words and signs is not looked through: some rules cost their square. The largest
/// script of a well-known program has half as many.
const TOKENS_MAX: usize = 4_096;

/// True when a script surely touches no keys but those that it is given. Cost: O(bytes), and the
/// square of at most [`TOKENS_MAX`].
#[must_use]
pub fn keeps_to_its_keys(source: &[u8], kind: Kind) -> bool {
    let Some(tokens) = tokens(source).ok().filter(|tokens| tokens.len() <= TOKENS_MAX) else {
        return false;
    };
    let mut text = Text::new(&tokens);
    if kind == Kind::Script {
        text.key_tables.insert("KEYS");
    }
    // Names may be bound to what other names stand for; more steps than this nobody writes.
    for _ in 0..3 {
        text.learn(kind);
    }
    text.is_proved()
}

/// Names by which a script could change what other names stand for.
const BANNED: &[&str] = &[
    "_G",
    "debug",
    "dofile",
    "getfenv",
    "getmetatable",
    "load",
    "loadfile",
    "loadstring",
    "module",
    "newproxy",
    "package",
    "rawequal",
    "rawget",
    "rawset",
    "require",
    "setfenv",
    "setmetatable",
];

/// What may be read of `redis`, without a call of a command.
const HARMLESS: &[&str] = &[
    "error_reply",
    "status_reply",
    "sha1hex",
    "log",
    "setresp",
    "set_repl",
    "replicate_commands",
    "acl_check_cmd",
    "register_function",
    "breakpoint",
    "REDIS_VERSION",
    "REDIS_VERSION_NUM",
    "LOG_DEBUG",
    "LOG_VERBOSE",
    "LOG_NOTICE",
    "LOG_WARNING",
    "REPL_NONE",
    "REPL_ALL",
    "REPL_AOF",
    "REPL_SLAVE",
    "REPL_REPLICA",
];

/// What only reads a table that it is given.
const READERS: &[&str] = &["ipairs", "pairs", "unpack", "next"];

/// What a name is bound to somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    /// All keys.
    KeyTable,
    /// One of the keys, or nil.
    Key,
    /// `redis.call`.
    Caller,
    /// Anything.
    Other,
}

/// One argument of a call.
#[derive(Debug, PartialEq, Eq)]
enum Argument<'a> {
    Text(&'a [u8]),
    Number(&'a str),
    Key,
    KeyCount,
    AllKeys,
    /// As many values as it likes, if it is the last.
    Many,
    Other,
}

struct Text<'a> {
    tokens: &'a [Token<'a>],
    /// Of each opening bracket the place of the one that closes it.
    closings: HashMap<usize, usize>,
    /// Names that stand for all keys wherever they occur.
    key_tables: HashSet<&'a str>,
    /// Names that stand for one key.
    keys: HashSet<&'a str>,
    /// Names that stand for `redis.call`.
    callers: HashSet<&'a str>,
    /// Names that are bound anywhere.
    bound: HashMap<&'a str, Vec<Bound>>,
    /// Where names stand because they are bound there,
    binding_places: HashSet<usize>,
    /// and where what they are bound to begins, with their name.
    source_places: HashMap<usize, &'a str>,
}

impl<'a> Text<'a> {
    fn new(tokens: &'a [Token<'a>]) -> Self {
        let (mut closings, mut open) = (HashMap::new(), Vec::new());
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Sign("(" | "[" | "{") => open.push(at),
                Token::Sign(")" | "]" | "}") => {
                    closings.extend(open.pop().map(|open| (open, at)));
                }
                _ => {}
            }
        }
        Self {
            tokens,
            closings,
            key_tables: HashSet::new(),
            keys: HashSet::new(),
            callers: HashSet::new(),
            bound: HashMap::new(),
            binding_places: HashSet::new(),
            source_places: HashMap::new(),
        }
    }

    fn name(&self, at: usize) -> Option<&'a str> {
        match self.tokens.get(at) {
            Some(Token::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn is_name(&self, at: usize, name: &str) -> bool {
        self.name(at) == Some(name)
    }

    fn is_sign(&self, at: usize, sign: &str) -> bool {
        matches!(self.tokens.get(at), Some(Token::Sign(found)) if *found == sign)
    }

    /// As [`is_sign`](Self::is_sign), so many tokens before `at`.
    fn is_sign_before(&self, at: usize, count: usize, sign: &str) -> bool {
        at.checked_sub(count).is_some_and(|at| self.is_sign(at, sign))
    }

    fn is_name_before(&self, at: usize, count: usize, name: &str) -> bool {
        at.checked_sub(count).is_some_and(|at| self.is_name(at, name))
    }

    /// True when the name there is a field of something else.
    fn is_field(&self, at: usize) -> bool {
        self.is_sign_before(at, 1, ".") || self.is_sign_before(at, 1, ":")
    }

    /// The place of the bracket that closes the one at `open`.
    fn closing(&self, open: usize) -> Option<usize> {
        self.closings.get(&open).copied()
    }

    /// True when no expression that ends before `at` goes on there.
    fn ends_before(&self, at: usize) -> bool {
        match self.tokens.get(at) {
            None => true,
            Some(Token::Name(name)) => !["and", "or"].contains(name),
            Some(Token::Sign(sign)) => [")", "}", "]", ";", ","].contains(sign),
            Some(Token::Text(_) | Token::Number(_)) => false,
        }
    }

    /// True when what ends before `at` is assigned to there, alone or in a list.
    fn is_assigned_at(&self, mut at: usize) -> bool {
        let mut wants_name = false;
        loop {
            match self.tokens.get(at) {
                Some(Token::Sign("=")) => return true,
                Some(Token::Sign("," | "." | ":")) => wants_name = true,
                // Two names in a row are two statements.
                Some(Token::Name(name)) if wants_name && !is_keyword(name) => wants_name = false,
                Some(Token::Text(_)) => wants_name = false,
                Some(Token::Sign("[" | "(" | "{")) => match self.closing(at) {
                    Some(closing) => (at, wants_name) = (closing, false),
                    None => return true,
                },
                _ => return false,
            }
            at += 1;
        }
    }

    fn bind(&mut self, at: usize, bound: Bound) {
        if let Some(name) = self.name(at) {
            self.bound.entry(name).or_default().push(bound);
            self.binding_places.insert(at);
        }
    }

    /// Finds what each name is bound to, as far as is known what other names stand for.
    fn learn(&mut self, kind: Kind) {
        self.bound.clear();
        self.binding_places.clear();
        self.source_places.clear();
        for at in 0..self.tokens.len() {
            match self.name(at) {
                Some("local") if !self.is_name(at + 1, "function") => self.learn_local(at + 1),
                Some("for") => self.learn_loop(at + 1),
                Some("function") => self.learn_function(at, kind),
                _ => {}
            }
        }
        for at in 0..self.tokens.len() {
            let is_bound = self.binding_places.contains(&at) || self.is_field(at);
            let is_listed = self.is_sign(at + 1, "=") || self.is_sign(at + 1, ",");
            if !is_bound && is_listed && self.name(at).is_some() && self.is_assigned_at(at + 1) {
                self.bind(at, Bound::Other);
                self.binding_places.remove(&at);
            }
        }
        let only = |wanted: Bound| {
            let names = self.bound.iter();
            names.filter(move |(_, all)| all.iter().all(|bound| *bound == wanted)).map(|(n, _)| *n)
        };
        let key_tables: HashSet<&str> = only(Bound::KeyTable).collect();
        let (keys, callers) = (only(Bound::Key).collect(), only(Bound::Caller).collect());
        (self.keys, self.callers) = (keys, callers);
        if kind == Kind::Library {
            self.key_tables.clear();
        }
        self.key_tables.extend(key_tables);
    }

    /// `local a, b = x, y`, from the first name on.
    fn learn_local(&mut self, mut at: usize) {
        let mut names = vec![at];
        while self.is_sign(at + 1, ",") {
            at += 2;
            names.push(at);
        }
        let mut value = self.is_sign(at + 1, "=").then_some(at + 2);
        for name in names {
            let (bound, end) = value.map_or((Bound::Other, None), |value| self.value_at(value));
            if let (Some(value), Some(name)) = (value, self.name(name)) {
                self.source_places.insert(value, name);
            }
            self.bind(name, bound);
            value = end.filter(|end| self.is_sign(*end, ",")).map(|end| end + 1);
        }
    }

    /// What begins there, and where it ends if that is clear.
    fn value_at(&self, at: usize) -> (Bound, Option<usize>) {
        let (bound, end) = match self.tokens.get(at) {
            Some(Token::Name("redis"))
                if self.is_call_name(at + 2) && self.is_sign(at + 1, ".") =>
            {
                (Bound::Caller, at + 3)
            }
            Some(Token::Name(name)) if self.key_tables.contains(name) => {
                match self.is_sign(at + 1, "[").then(|| self.closing(at + 1)).flatten() {
                    Some(closing) => (Bound::Key, closing + 1),
                    None => (Bound::KeyTable, at + 1),
                }
            }
            Some(Token::Name("ARGV" | "tonumber")) => match self.closing(at + 1) {
                Some(closing) => (Bound::Other, closing + 1),
                None => (Bound::Other, at + 1),
            },
            Some(Token::Number(_) | Token::Text(_)) => (Bound::Other, at + 1),
            _ => return (Bound::Other, None),
        };
        if self.ends_before(end) { (bound, Some(end)) } else { (Bound::Other, None) }
    }

    fn is_call_name(&self, at: usize) -> bool {
        matches!(self.name(at), Some("call" | "pcall"))
    }

    /// `for a, b in ipairs(KEYS) do`, or any other loop, from the first name on.
    fn learn_loop(&mut self, mut at: usize) {
        let first = at;
        self.bind(at, Bound::Other);
        while self.is_sign(at + 1, ",") {
            at += 2;
            let is_key = at == first + 2
                && self.is_name(at + 1, "in")
                && (self.is_name(at + 2, "ipairs") || self.is_name(at + 2, "pairs"))
                && self.is_sign(at + 3, "(")
                && self.name(at + 4).is_some_and(|name| self.key_tables.contains(name))
                && self.is_sign(at + 5, ")")
                && self.is_name(at + 6, "do");
            self.bind(at, if is_key { Bound::Key } else { Bound::Other });
        }
    }

    /// `function name(a, b)` or one without a name.
    fn learn_function(&mut self, function: usize, kind: Kind) {
        let mut open = function + 1;
        if self.name(open).is_some() {
            self.bind(open, Bound::Other);
        }
        while open < self.tokens.len() && !self.is_sign(open, "(") {
            open += 1;
        }
        let is_callback = kind == Kind::Library && self.is_callback(function);
        let end = self.closing(open).unwrap_or(self.tokens.len());
        for at in (open + 1..end).filter(|at| self.name(*at).is_some()).collect::<Vec<_>>() {
            let is_keys = is_callback && at == open + 1;
            self.bind(at, if is_keys { Bound::KeyTable } else { Bound::Other });
        }
    }

    /// True when only the server calls this function: it is written where it is registered, or has
    /// a name that stands nowhere else.
    fn is_callback(&self, function: usize) -> bool {
        if self.is_registered_at(function) {
            return true;
        }
        let name = match (self.name(function + 1), self.is_sign_before(function, 1, "=")) {
            (Some(_), _) if self.is_name_before(function, 1, "local") => function + 1,
            (None, true) if self.is_name_before(function, 3, "local") => function - 2,
            _ => return false,
        };
        let places = (0..self.tokens.len()).filter(|at| self.name(*at) == self.name(name));
        let mut others = places.filter(|at| *at != name).peekable();
        others.peek().is_some() && others.all(|at| self.is_registered_at(at))
    }

    /// True when what stands there is registered as a function.
    fn is_registered_at(&self, at: usize) -> bool {
        let is_second = self.is_sign_before(at, 1, ",")
            && matches!(at.checked_sub(2).and_then(|at| self.tokens.get(at)), Some(Token::Text(_)))
            && self.is_sign_before(at, 3, "(")
            && self.is_register_before(at, 4);
        is_second || (self.is_named_callback(at) && self.is_in_registration(at))
    }

    /// True when `redis.register_function` ends so many tokens before `at`.
    fn is_register_before(&self, at: usize, count: usize) -> bool {
        self.is_name_before(at, count, "register_function")
            && self.is_sign_before(at, count + 1, ".")
            && self.is_name_before(at, count + 2, "redis")
            && !self.is_field(at - count - 2)
    }

    fn is_named_callback(&self, at: usize) -> bool {
        self.is_sign_before(at, 1, "=") && self.is_name_before(at, 2, "callback")
    }

    /// True when the braces around this place are the argument of `register_function`.
    fn is_in_registration(&self, at: usize) -> bool {
        let mut depth = 0_usize;
        for open in (0..at).rev() {
            match self.tokens.get(open) {
                Some(Token::Sign(")" | "]" | "}")) => depth += 1,
                Some(Token::Sign("(" | "[" | "{")) if depth > 0 => depth -= 1,
                Some(Token::Sign("{")) => {
                    let before = if self.is_sign_before(open, 1, "(") { 2 } else { 1 };
                    return self.is_register_before(open, before);
                }
                Some(Token::Sign("(" | "[")) => return false,
                _ => {}
            }
        }
        false
    }

    fn is_proved(&self) -> bool {
        let reserved = ["redis", "KEYS"].into_iter().chain(READERS.iter().copied());
        reserved.into_iter().all(|name| !self.bound.contains_key(name))
            && (0..self.tokens.len()).all(|at| match self.name(at) {
                Some(name) if BANNED.contains(&name) => false,
                Some(name) if !self.is_field(at) => self.is_good_at(at, name),
                _ => true,
            })
    }

    /// True when this name does here nothing that could break the proof.
    fn is_good_at(&self, at: usize, name: &str) -> bool {
        if self.binding_places.contains(&at) {
            return true;
        }
        let bound_to = |names: &HashSet<&str>| {
            self.source_places.get(&at).is_some_and(|name| names.contains(name))
        };
        if name == "redis" {
            let Some(member) = self.name(at + 2).filter(|_| self.is_sign(at + 1, ".")) else {
                return false;
            };
            if HARMLESS.contains(&member) {
                return !self.is_assigned_at(at + 3);
            }
            return self.is_call_name(at + 2)
                && (bound_to(&self.callers) || self.is_good_call(at + 3));
        }
        if self.callers.contains(name) {
            return self.is_good_call(at + 1);
        }
        if self.key_tables.contains(name) {
            return bound_to(&self.key_tables) || self.is_only_read(at);
        }
        true
    }

    /// True when the table of keys that stands there is only read.
    fn is_only_read(&self, at: usize) -> bool {
        if self.is_sign(at + 1, "[") {
            let closing = self.closing(at + 1);
            return closing.is_some_and(|closing| !self.is_assigned_at(closing + 1));
        }
        let function = at.checked_sub(2).and_then(|at| self.name(at));
        let is_argument = self.is_sign_before(at, 1, "(");
        let is_reader = function.is_some_and(|name| READERS.contains(&name))
            && !at.checked_sub(2).is_some_and(|at| self.is_field(at));
        self.is_sign_before(at, 1, "#") || (is_argument && is_reader)
    }

    /// True when the call whose arguments begin there touches only keys that are given.
    fn is_good_call(&self, open: usize) -> bool {
        let Some(arguments) = self.arguments(open) else { return false };
        let Some(Argument::Text(name)) = arguments.first() else { return false };
        let Some(row) = table::find(name) else { return false };
        let spec = match (row.run, arguments.get(1)) {
            (Run::Container(_) | Run::BareOrContainer(..), Some(Argument::Text(name))) => {
                table::find_subcommand(row, name)
            }
            (Run::Container(_) | Run::BareOrContainer(..), _) => None,
            _ => Some(row),
        };
        spec.is_some_and(|spec| has_good_keys(spec, &arguments))
    }

    /// The arguments between the bracket there and the one that closes it.
    fn arguments(&self, open: usize) -> Option<Vec<Argument<'a>>> {
        if !self.is_sign(open, "(") {
            return None;
        }
        let end = self.closing(open)?;
        let (mut arguments, mut from, mut at) = (Vec::new(), open + 1, open + 1);
        while at < end {
            match self.tokens.get(at)? {
                Token::Sign("(" | "[" | "{") => at = self.closing(at)?,
                Token::Sign(",") => {
                    arguments.push(self.argument(from, at)?);
                    from = at + 1;
                }
                // There are commas in its body.
                Token::Name("function") => return None,
                _ => {}
            }
            at += 1;
        }
        arguments.push(self.argument(from, end)?);
        Some(arguments)
    }

    fn argument(&self, from: usize, end: usize) -> Option<Argument<'a>> {
        let is_table = |at: usize| self.name(at).is_some_and(|name| self.key_tables.contains(name));
        Some(match self.tokens.get(from..end)? {
            [Token::Text(text)] => Argument::Text(text),
            [Token::Number(number)] => Argument::Number(number),
            [Token::Name(name)] if self.keys.contains(name) => Argument::Key,
            [Token::Sign("#"), Token::Name(_)] if is_table(from + 1) => Argument::KeyCount,
            [Token::Name(_), Token::Sign("["), ..]
                if is_table(from) && self.closing(from + 1) == Some(end - 1) =>
            {
                Argument::Key
            }
            [Token::Name("unpack"), Token::Sign("("), Token::Name(_), ..]
                if is_table(from + 2)
                    && (self.is_sign(from + 3, ")") || self.is_sign(from + 3, ","))
                    && self.closing(from + 1) == Some(end - 1) =>
            {
                Argument::AllKeys
            }
            [.., Token::Sign(")" | "}" | "...")] | [.., _, Token::Text(_)] => Argument::Many,
            _ => Argument::Other,
        })
    }
}

/// True when every argument that is a key of this command is one that is given.
fn has_good_keys(spec: &CommandSpec, arguments: &[Argument<'_>]) -> bool {
    let last = arguments.len() - 1;
    let ends_openly = arguments.get(last) == Some(&Argument::Many);
    let ends_with_keys = arguments.get(last) == Some(&Argument::AllKeys);
    // What is missing is no key. Only the last argument can be several.
    let is_key = |number: usize| match arguments.get(number) {
        Some(Argument::Key | Argument::AllKeys) => true,
        Some(_) => false,
        None => !ends_openly,
    };
    let is_good = |keys: &KeySpec| {
        if keys.access == KeySpec::NOT_A_KEY {
            return true;
        }
        if keys.is_unknown() || keys.keyword().is_some() {
            return false;
        }
        if keys.is_counted() {
            let count = match arguments.get(keys.first - 1) {
                Some(Argument::Number(count)) => count.parse::<usize>().ok(),
                Some(Argument::Text(count)) => {
                    std::str::from_utf8(count).ok().and_then(|count| count.parse().ok())
                }
                Some(Argument::KeyCount) => {
                    return ends_with_keys && last == keys.first;
                }
                _ => None,
            };
            let end = count.map(|count| keys.first.saturating_add(count).min(last + 2));
            return end.is_some_and(|end| (keys.first..end).all(is_key));
        }
        match usize::try_from(keys.last) {
            Ok(offset) => (keys.first..=keys.first + offset).step_by(keys.step).all(is_key),
            Err(_) if ends_openly => false,
            Err(_) => {
                let behind = usize::try_from(-1 - keys.last).unwrap_or(0);
                let behind = if ends_with_keys { 0 } else { behind };
                (keys.first..(last + 1).saturating_sub(behind)).step_by(keys.step).all(is_key)
            }
        }
    };
    let is_whole_keyspace =
        matches!(spec.run, Run::Sweep(_) | Run::Choose(_)) || spec.flags.has(Flags::NO_SCRIPT);
    !is_whole_keyspace && spec.keys.iter().all(is_good)
}

fn is_keyword(name: &str) -> bool {
    [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in",
        "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ]
    .contains(&name)
}

#[cfg(test)]
mod tests;
