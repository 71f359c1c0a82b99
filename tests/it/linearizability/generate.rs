//! Random operations over the keys of a history.

use super::model::{Command, KEYS, Key, Operation, STRING_KEYS, Script, Way};
use crate::harness::random::Random;

/// How often a key of the other kind is taken, so that types collide.
const STRAY_PERCENT: usize = 2;
/// Clients wait so long at most; the others are done after a few milliseconds.
const WAIT_MS_MAX: usize = 3;
/// Values are so far from each other that counting does not make them meet.
const VALUE_STEP: i64 = 1_000;
/// More values than one client writes in a history.
const VALUES_MAX: i64 = 10_000;

/// What a client does next.
pub enum Next {
    Operation(Operation),
    /// WATCH and GET of this key, then, after the answer, this transaction.
    Watched(Key, Vec<Command>),
}

/// The operations of one client in one history.
pub struct Generator {
    random: Random,
    last_value: i64,
}

impl Generator {
    /// What follows from the seed; no two clients of a history write the same value.
    pub fn new(seed: u64, client: usize) -> Self {
        let last_value = (client as i64 + 1) * VALUES_MAX * VALUE_STEP;
        Self { random: Random::new(seed), last_value }
    }

    /// One more operation.
    pub fn next(&mut self) -> Next {
        match self.random.below(100) {
            0..7 => Next::Operation(Operation::Exec(None, self.commands())),
            7..11 => Next::Watched(self.string(), self.commands()),
            _ => Next::Operation(Operation::Single(self.command())),
        }
    }

    /// A command that writes each key once, for a history to begin with.
    pub fn filling(&mut self, key: Key) -> Command {
        match key {
            0..STRING_KEYS => Command::Set(key, self.value()),
            _ => Command::Push(key, vec![self.value(), self.value()]),
        }
    }

    fn commands(&mut self) -> Vec<Command> {
        (0..self.random.between(2, 4)).map(|_| self.command()).collect()
    }

    fn command(&mut self) -> Command {
        match self.random.below(100) {
            0..8 => Command::Get(self.string()),
            8..15 => Command::Set(self.string(), self.value()),
            15..19 => Command::SetNew(self.string(), self.value()),
            19..27 => Command::Increment(self.string()),
            27..31 => Command::Delete(self.several(1, 3)),
            31..41 => {
                let of_lists = self.random.chance(15);
                let (from, to) = self.pair(if of_lists { Self::list } else { Self::string });
                Command::Rename(from, to)
            }
            41..49 => {
                let keys = self.several(2, STRING_KEYS);
                Command::SetMany(keys.into_iter().map(|key| (key, self.value())).collect())
            }
            49..58 => Command::GetMany(self.several(2, KEYS)),
            58..66 => {
                let count = if self.random.chance(20) { 2 } else { 1 };
                Command::Push(self.list(), (0..count).map(|_| self.value()).collect())
            }
            66..69 => Command::Pop(self.list()),
            69..81 => {
                let (first, second) = self.pair(Self::list);
                let keys = if self.random.chance(50) { vec![first] } else { vec![first, second] };
                Command::PopOrWait(keys, self.random.between(1, WAIT_MS_MAX) as u32)
            }
            _ => {
                let ways = [Way::Text, Way::Digest, Way::Function, Way::Undeclared];
                Command::Script(self.script(), *self.random.pick(&ways))
            }
        }
    }

    fn script(&mut self) -> Script {
        let (from, to) = self.pair(Self::string);
        match self.random.below(4) {
            0 => Script::Move(from, to),
            1 => Script::Transfer(from, to),
            2 => {
                let (from, to) = self.pair(Self::list);
                Script::Shift(from, to)
            }
            _ => Script::Look(self.several(2, STRING_KEYS)),
        }
    }

    fn value(&mut self) -> i64 {
        self.last_value += VALUE_STEP;
        self.last_value
    }

    fn string(&mut self) -> Key {
        match self.random.chance(STRAY_PERCENT) {
            true => self.random.below(KEYS),
            false => self.random.below(STRING_KEYS),
        }
    }

    fn list(&mut self) -> Key {
        match self.random.chance(STRAY_PERCENT) {
            true => self.random.below(KEYS),
            false => self.random.between(STRING_KEYS, KEYS - 1),
        }
    }

    /// Two keys of a kind that are not the same.
    fn pair(&mut self, one: fn(&mut Self) -> Key) -> (Key, Key) {
        let first = one(self);
        loop {
            let second = one(self);
            if second != first {
                return (first, second);
            }
        }
    }

    /// Some keys for strings, each once.
    fn several(&mut self, least: usize, most: usize) -> Vec<Key> {
        let count = self.random.between(least, most);
        let mut keys = Vec::new();
        while keys.len() < count {
            let key = self.string();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}
