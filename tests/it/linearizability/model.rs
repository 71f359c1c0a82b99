//! What the server promises, as a program for one client: the state of a few keys, what each
//! operation makes of it, and what it answers.
//!
//! Commands of several keys tie all keys together, so the state is that of all of them. Every value
//! is a number, and no two writes of a history use the same one, so that a value tells who wrote it.
//!
//! One operation has no single answer. A client that has waited with BLPOP is served from the key
//! that appeared, whatever its place among those that it named; so any of them will do. Its nil says
//! that all of them held no list at one moment at least.

use std::fmt;
use std::sync::Arc;

/// So many keys a history has.
pub const KEYS: usize = 6;
/// The first of them hold strings as a rule, the others lists.
pub const STRING_KEYS: usize = 4;
/// What the script that moves an amount takes from one key and adds to the other.
pub const AMOUNT: i64 = 7;

/// A key by its number.
pub type Key = usize;

/// What a key holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Value {
    #[default]
    Absent,
    String(i64),
    /// The left end is the last.
    List(Vec<i64>),
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Ok,
    Nil,
    NilArray,
    Integer(i64),
    /// A bulk string that is a value.
    Value(i64),
    /// A bulk string that is the name of a key.
    Name(Key),
    Array(Vec<Reply>),
    WrongType,
    NoSuchKey,
    /// What no operation answers.
    Other(String),
}

/// A script, by what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Moves the string of the first key to the second.
    Move(Key, Key),
    /// Moves the left element of the first list to the second.
    Shift(Key, Key),
    /// Takes [`AMOUNT`] from the first counter and adds it to the second.
    Transfer(Key, Key),
    /// Reads the strings of several keys, each by a call of its own.
    Look(Vec<Key>),
}

/// How a script is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Text,
    Digest,
    Function,
    /// By its text, but its keys are not declared.
    Undeclared,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Set(Key, i64),
    SetNew(Key, i64),
    Get(Key),
    Increment(Key),
    Delete(Vec<Key>),
    Rename(Key, Key),
    SetMany(Vec<(Key, i64)>),
    GetMany(Vec<Key>),
    Push(Key, Vec<i64>),
    Pop(Key),
    /// Pops from the first key that is there; outside of a transaction it waits so many
    /// milliseconds.
    PopOrWait(Vec<Key>, u32),
    Range(Key),
    Script(Script, Way),
}

/// What a client does in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Single(Command),
    /// A transaction; with a watched key and what GET answered when the watch had begun.
    Exec(Option<(Key, Reply)>, Vec<Command>),
}

/// What all keys hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    values: [Value; KEYS],
}

impl State {
    /// Runs one command by itself.
    pub fn run(&mut self, command: &Command) -> Reply {
        match command {
            Command::Set(key, value) => self.set(*key, *value),
            Command::SetNew(key, value) => {
                let is_free = self.values[*key] == Value::Absent;
                if is_free {
                    self.set(*key, *value);
                }
                Reply::Integer(is_free.into())
            }
            Command::Get(key) => self.get(*key),
            Command::Increment(key) => self.add(*key, 1),
            Command::Delete(keys) => {
                let removed = keys.iter().filter(|key| self.take(**key) != Value::Absent);
                Reply::Integer(removed.count() as i64)
            }
            Command::Rename(from, to) => match self.take(*from) {
                Value::Absent => Reply::NoSuchKey,
                value => {
                    self.values[*to] = value;
                    Reply::Ok
                }
            },
            Command::SetMany(pairs) => {
                pairs.iter().for_each(|(key, value)| drop(self.set(*key, *value)));
                Reply::Ok
            }
            Command::GetMany(keys) => self.get_many(keys),
            Command::Push(key, values) => self.push(*key, values),
            Command::Pop(key) => self.pop(*key),
            Command::PopOrWait(keys, _) => self.pop_first(keys),
            Command::Range(key) => match &self.values[*key] {
                Value::Absent => Reply::Array(Vec::new()),
                Value::String(_) => Reply::WrongType,
                Value::List(list) => {
                    Reply::Array(list.iter().rev().copied().map(Reply::Value).collect())
                }
            },
            Command::Script(script, _) => self.run_script(script),
        }
    }

    /// Runs an operation if the server may answer it so; else the state is of no use any more.
    pub fn fits(&mut self, operation: &Operation, reply: &Reply) -> bool {
        match operation {
            Operation::Single(Command::PopOrWait(keys, _)) => self.may_pop(keys, reply),
            Operation::Single(command) => self.run(command) == *reply,
            // Somebody has changed the watched key; it may be as it was.
            Operation::Exec(Some(_), _) if *reply == Reply::NilArray => true,
            Operation::Exec(watched, commands) => {
                let is_unchanged =
                    watched.as_ref().is_none_or(|(key, before)| self.get(*key) == *before);
                let Reply::Array(replies) = reply else { return false };
                is_unchanged
                    && commands.len() == replies.len()
                    && commands
                        .iter()
                        .zip(replies)
                        .all(|(command, reply)| self.run(command) == *reply)
            }
        }
    }

    fn may_pop(&mut self, keys: &[Key], reply: &Reply) -> bool {
        match reply {
            Reply::Array(parts) => match parts[..] {
                [Reply::Name(key), Reply::Value(value)] => {
                    keys.contains(&key) && self.pop(key) == Reply::Value(value)
                }
                _ => false,
            },
            Reply::NilArray => !keys.iter().any(|key| matches!(self.values[*key], Value::List(_))),
            reply => self.pop_first(keys) == *reply,
        }
    }

    fn run_script(&mut self, script: &Script) -> Reply {
        match script {
            Script::Move(from, to) => match self.get(*from) {
                Reply::Value(value) => {
                    self.set(*to, value);
                    self.take(*from);
                    Reply::Value(value)
                }
                other => other,
            },
            Script::Shift(from, to) => match self.pop(*from) {
                Reply::Value(value) => match self.push(*to, &[value]) {
                    Reply::Integer(_) => Reply::Value(value),
                    // What the script has done before it fails stays done.
                    error => error,
                },
                other => other,
            },
            Script::Transfer(from, to) => {
                let taken = self.add(*from, -AMOUNT);
                if taken == Reply::WrongType {
                    return taken;
                }
                match self.add(*to, AMOUNT) {
                    Reply::WrongType => Reply::WrongType,
                    given => Reply::Array(vec![taken, given]),
                }
            }
            Script::Look(keys) => self.get_many(keys),
        }
    }

    fn take(&mut self, key: Key) -> Value {
        std::mem::take(&mut self.values[key])
    }

    fn set(&mut self, key: Key, value: i64) -> Reply {
        self.values[key] = Value::String(value);
        Reply::Ok
    }

    fn get(&self, key: Key) -> Reply {
        match self.values[key] {
            Value::Absent => Reply::Nil,
            Value::String(value) => Reply::Value(value),
            Value::List(_) => Reply::WrongType,
        }
    }

    fn get_many(&self, keys: &[Key]) -> Reply {
        let string = |key: &Key| match self.get(*key) {
            Reply::WrongType => Reply::Nil,
            other => other,
        };
        Reply::Array(keys.iter().map(string).collect())
    }

    fn add(&mut self, key: Key, increment: i64) -> Reply {
        let old = match self.values[key] {
            Value::Absent => 0,
            Value::String(value) => value,
            Value::List(_) => return Reply::WrongType,
        };
        self.set(key, old + increment);
        Reply::Integer(old + increment)
    }

    fn push(&mut self, key: Key, values: &[i64]) -> Reply {
        match &mut self.values[key] {
            Value::String(_) => Reply::WrongType,
            Value::List(list) => {
                list.extend(values);
                Reply::Integer(list.len() as i64)
            }
            absent => {
                *absent = Value::List(values.to_vec());
                Reply::Integer(values.len() as i64)
            }
        }
    }

    fn pop(&mut self, key: Key) -> Reply {
        let popped = match &mut self.values[key] {
            Value::Absent => return Reply::Nil,
            Value::String(_) => return Reply::WrongType,
            Value::List(list) => list.pop(),
        };
        if self.values[key] == Value::List(Vec::new()) {
            self.take(key);
        }
        popped.map_or(Reply::Nil, Reply::Value)
    }

    fn pop_first(&mut self, keys: &[Key]) -> Reply {
        for key in keys {
            match self.pop(*key) {
                Reply::Nil => {}
                Reply::WrongType => return Reply::WrongType,
                popped => return Reply::Array(vec![Reply::Name(*key), popped]),
            }
        }
        Reply::NilArray
    }
}

impl Command {
    /// The keys that it may touch.
    fn keys(&self) -> Vec<Key> {
        match self {
            Self::Set(key, _) | Self::SetNew(key, _) | Self::Push(key, _) => vec![*key],
            Self::Get(key) | Self::Increment(key) | Self::Pop(key) | Self::Range(key) => vec![*key],
            Self::Rename(from, to) => vec![*from, *to],
            Self::SetMany(pairs) => pairs.iter().map(|(key, _)| *key).collect(),
            Self::Delete(keys) | Self::GetMany(keys) | Self::PopOrWait(keys, _) => keys.clone(),
            Self::Script(script, _) => script.keys(),
        }
    }

    /// True when it certainly changed nothing, as its answer tells.
    fn changed_nothing(&self, reply: &Reply) -> bool {
        match self {
            Self::Get(_) | Self::GetMany(_) | Self::Range(_) => true,
            Self::Script(Script::Look(_), _) => true,
            // They may have failed half way.
            Self::Script(Script::Shift(..) | Script::Transfer(..), _) => *reply == Reply::Nil,
            Self::SetNew(..) | Self::Delete(_) => *reply == Reply::Integer(0),
            _ => {
                let nothing = [Reply::Nil, Reply::NilArray, Reply::WrongType, Reply::NoSuchKey];
                nothing.contains(reply)
            }
        }
    }
}

/// An operation and what the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub operation: Operation,
    pub reply: Reply,
    /// False when it is not known whether it has happened by the end of the history.
    pub has_happened: bool,
}

impl Step {
    /// True when it certainly changed nothing, as its answer tells.
    pub fn changed_nothing(&self) -> bool {
        match (&self.operation, &self.reply) {
            (Operation::Single(command), reply) => command.changed_nothing(reply),
            (Operation::Exec(..), Reply::NilArray) => true,
            (Operation::Exec(_, commands), Reply::Array(replies)) => {
                commands.iter().zip(replies).all(|(command, reply)| command.changed_nothing(reply))
            }
            (Operation::Exec(..), _) => false,
        }
    }
}

impl Step {
    /// What it does and answers, one thing after the other; all of it is done at one moment.
    pub fn parts(&self) -> Vec<Self> {
        let has_happened = self.has_happened;
        let part = |command: Command, reply: &Reply| Self {
            operation: Operation::Single(command),
            reply: reply.clone(),
            has_happened,
        };
        match (&self.operation, &self.reply) {
            (Operation::Exec(watched, commands), Reply::Array(replies)) => {
                let seen = watched.iter().map(|(key, before)| part(Command::Get(*key), before));
                let done = commands.iter().zip(replies);
                let done = done.flat_map(|(command, reply)| part(command.clone(), reply).parts());
                seen.chain(done).collect()
            }
            (Operation::Single(Command::SetMany(pairs)), reply) => {
                pairs.iter().map(|(key, value)| part(Command::Set(*key, *value), reply)).collect()
            }
            (
                Operation::Single(Command::GetMany(keys) | Command::Script(Script::Look(keys), _)),
                Reply::Array(replies),
            ) => {
                let get = |(key, reply): (&Key, &Reply)| {
                    part(Command::GetMany(vec![*key]), &Reply::Array(vec![reply.clone()]))
                };
                keys.iter().zip(replies).map(get).collect()
            }
            _ => vec![self.clone()],
        }
    }

    /// What does all these things at one moment; `None` if there are none.
    pub fn of_parts(mut parts: Vec<Self>) -> Option<Self> {
        if parts.len() < 2 {
            return parts.pop();
        }
        let has_happened = parts.iter().all(|part| part.has_happened);
        let done = parts.into_iter().filter_map(|part| match part.operation {
            Operation::Single(command) => Some((command, part.reply)),
            Operation::Exec(..) => None,
        });
        let (commands, replies) = done.unzip();
        Some(Self {
            operation: Operation::Exec(None, commands),
            reply: Reply::Array(replies),
            has_happened,
        })
    }
}

/// The model that the checker asks.
#[derive(Debug, Clone)]
pub struct Sequential;

impl porcupine_rs::Model for Sequential {
    type State = State;
    type Op = Arc<Step>;
    type Metadata = ();

    fn init() -> State {
        State::default()
    }

    fn step(state: &State, step: &Arc<Step>) -> (bool, State) {
        let mut next = state.clone();
        match next.fits(&step.operation, &step.reply) {
            true => (true, next),
            // Where it does not fit it has not happened; that is found where it may come last.
            false => (!step.has_happened, state.clone()),
        }
    }
}

/// The name of a key in what is printed.
pub fn letter(key: Key) -> char {
    char::from(b'a' + key as u8)
}

fn words<T>(items: &[T], word: impl Fn(&T) -> String) -> String {
    items.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn letters(keys: &[Key]) -> String {
    words(keys, |key| letter(*key).to_string())
}

impl Script {
    /// Its name on the server.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Move(..) => "move",
            Self::Shift(..) => "shift",
            Self::Transfer(..) => "transfer",
            Self::Look(_) => "look",
        }
    }

    /// What it is given, in order.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Move(from, to) | Self::Shift(from, to) | Self::Transfer(from, to) => {
                vec![*from, *to]
            }
            Self::Look(keys) => keys.clone(),
        }
    }
}

impl Operation {
    /// What is done, without the keys.
    pub fn name(&self) -> String {
        match self {
            Self::Single(Command::Script(script, way)) => format!("{way} {}", script.name()),
            Self::Single(command) => {
                let text = command.to_string();
                text.split(' ').next().unwrap_or_default().to_owned()
            }
            Self::Exec(None, _) => "EXEC".to_owned(),
            Self::Exec(Some(_), _) => "WATCH and EXEC".to_owned(),
        }
    }

    /// The keys that it may touch.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Single(command) => command.keys(),
            Self::Exec(watched, commands) => {
                let watched = watched.iter().map(|(key, _)| *key);
                watched.chain(commands.iter().flat_map(Command::keys)).collect()
            }
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "EVAL",
            Self::Digest => "EVALSHA",
            Self::Function => "FCALL",
            Self::Undeclared => "EVAL, nothing declared,",
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(key, value) => write!(f, "SET {} {value}", letter(*key)),
            Self::SetNew(key, value) => write!(f, "SETNX {} {value}", letter(*key)),
            Self::Get(key) => write!(f, "GET {}", letter(*key)),
            Self::Increment(key) => write!(f, "INCR {}", letter(*key)),
            Self::Delete(keys) => write!(f, "DEL {}", letters(keys)),
            Self::Rename(from, to) => write!(f, "RENAME {} {}", letter(*from), letter(*to)),
            Self::SetMany(pairs) => {
                let pairs = words(pairs, |(key, value)| format!("{} {value}", letter(*key)));
                write!(f, "MSET {pairs}")
            }
            Self::GetMany(keys) => write!(f, "MGET {}", letters(keys)),
            Self::Push(key, values) => {
                write!(f, "LPUSH {} {}", letter(*key), words(values, i64::to_string))
            }
            Self::Pop(key) => write!(f, "LPOP {}", letter(*key)),
            Self::PopOrWait(keys, wait_ms) => {
                write!(f, "BLPOP {} ({wait_ms} ms)", letters(keys))
            }
            Self::Range(key) => write!(f, "LRANGE {}", letter(*key)),
            Self::Script(script, way) => {
                write!(f, "{way} {} {}", script.name(), letters(&script.keys()))
            }
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(command) => command.fmt(f),
            Self::Exec(watched, commands) => {
                if let Some((key, before)) = watched {
                    write!(f, "WATCH {} at {before}, ", letter(*key))?;
                }
                let commands: Vec<_> = commands.iter().map(Command::to_string).collect();
                write!(f, "EXEC {{ {} }}", commands.join("; "))
            }
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Nil | Self::NilArray => f.write_str("nil"),
            Self::Integer(number) | Self::Value(number) => number.fmt(f),
            Self::Name(key) => letter(*key).fmt(f),
            Self::Array(parts) => write!(f, "[{}]", words(parts, Reply::to_string)),
            Self::WrongType => f.write_str("WRONGTYPE"),
            Self::NoSuchKey => f.write_str("no such key"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Value| match value {
            Value::Absent => None,
            Value::String(value) => Some(value.to_string()),
            Value::List(list) => Some(format!("{:?}", list.iter().rev().collect::<Vec<_>>())),
        };
        let held = self
            .values
            .iter()
            .enumerate()
            .filter_map(|(key, held)| Some(format!("{}={}", letter(key), value(held)?)));
        let held: Vec<_> = held.collect();
        write!(f, "{{ {} }}", held.join(", "))
    }
}
