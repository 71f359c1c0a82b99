//! The row of an option, and how its value is read.
//!
//! A value is kept as the text that CONFIG GET prints. Reading one turns what a client wrote into
//! that text, or tells, in Redis' words, why it cannot.

use crate::util::events::EventSet;
use crate::util::number::parse_i64;
use std::borrow::Cow;

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// yes or no.
    Bool,
    /// A whole number.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number of bytes, with an optional unit.
    Memory {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number of bytes, or a part of all memory.
    MemoryOrPercent,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// Any text.
    Text,
    /// When to save: pairs of seconds and changes.
    SaveRules,
    /// Classes of keyspace events.
    EventClasses,
    /// Limits of the output of each class of clients.
    BufferLimits,
    /// Percentiles of latency.
    Percentiles,
}

/// When an option may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// At any time.
    Live,
    /// Only by the command line and the file.
    AtStart,
    /// As `AtStart`, because a client could do harm with it, unless enable-protected-configs allows
    /// it at any time.
    Protected,
}

/// What an option does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What its summary says.
    Acts,
    /// Nothing; it is there because clients and tools ask for it.
    None,
    /// Nothing, and it cannot be given another value than the default, for this reason: the value
    /// would promise what is not kept.
    Fixed(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Its name, Redis' where there is one.
    pub name: &'static str,
    /// An older name, empty when there is none.
    pub alias: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value without any being given.
    pub default: &'static str,
    /// When it may change.
    pub change: Change,
    /// What it does here.
    pub effect: Effect,
    /// What it is, in one line.
    pub summary: &'static str,
}

impl OptionSpec {
    /// The names it has.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name, self.alias].into_iter().filter(|name| !name.is_empty())
    }

    /// The value that `given` means, as it is kept, when the present one is `old`.
    ///
    /// # Errors
    /// Why it is none, in Redis' words.
    pub fn read(&self, given: &[u8], old: &[u8]) -> Result<Vec<u8>, Cow<'static, str>> {
        let value = self.kind.read(given, old)?;
        match self.effect {
            Effect::Fixed(reason) if value != self.default.as_bytes() => Err(reason.into()),
            _ => Ok(value),
        }
    }
}

type Read = Result<Vec<u8>, Cow<'static, str>>;

impl Kind {
    fn read(self, given: &[u8], old: &[u8]) -> Read {
        match self {
            Self::Bool => read_bool(given),
            Self::Integer { min, max } => {
                let number =
                    parse_i64(given).ok_or("argument couldn't be parsed into an integer")?;
                between(number, min, max)
            }
            Self::Memory { min, max } => {
                let bytes = parse_memory(given).ok_or("argument must be a memory value")?;
                between(bytes, min, max)
            }
            Self::MemoryOrPercent => read_memory_or_percent(given),
            Self::Choice(words) => read_choices(&[given], words),
            Self::Choices(words) => read_choices(&split(given), words),
            Self::Text => Ok(given.to_vec()),
            Self::SaveRules => {
                let rules = parse_save_rules(given).ok_or("Invalid save parameters")?;
                Ok(save_rules_text(&rules).into_bytes())
            }
            Self::EventClasses => EventSet::from_letters(given)
                .map(EventSet::letters)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            Self::BufferLimits => read_buffer_limits(given, old),
            Self::Percentiles => read_percentiles(given),
        }
    }

    /// What values it takes, for the documentation.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Bool => "yes or no".to_owned(),
            Self::Integer { min, max: i64::MAX } => format!("integer from {min}"),
            Self::Integer { min: i64::MIN, max } => format!("integer up to {max}"),
            Self::Integer { min, max } => format!("integer from {min} to {max}"),
            Self::Memory { min, max } if max >= i64::MAX as u64 => format!("bytes from {min}"),
            Self::Memory { min, max } => format!("bytes from {min} to {max}"),
            Self::MemoryOrPercent => "bytes, or percent of memory".to_owned(),
            Self::Choice(words) => words.join(", "),
            Self::Choices(words) => format!("any of {}", words.join(", ")),
            Self::Text => "text".to_owned(),
            Self::SaveRules => "pairs of seconds and changes, or nothing".to_owned(),
            Self::EventClasses => "letters of Ag$lshzxeKEtmdn".to_owned(),
            Self::BufferLimits => "class hard-limit soft-limit soft-seconds".to_owned(),
            Self::Percentiles => "numbers from 0 to 100".to_owned(),
        }
    }
}

fn between<N: PartialOrd + std::fmt::Display>(number: N, min: N, max: N) -> Read {
    if number < min || number > max {
        return Err(format!("argument must be between {min} and {max} inclusive").into());
    }
    Ok(number.to_string().into_bytes())
}

fn read_bool(given: &[u8]) -> Read {
    let words = ["yes", "no"];
    let word = words.iter().find(|word| given.eq_ignore_ascii_case(word.as_bytes()));
    word.map(|word| word.as_bytes().to_vec()).ok_or("argument must be 'yes' or 'no'".into())
}

/// The parts between single blanks; none of an empty text.
fn split(given: &[u8]) -> Vec<&[u8]> {
    if given.is_empty() { Vec::new() } else { given.split(|byte| *byte == b' ').collect() }
}

fn read_choices(given: &[&[u8]], words: &'static [&'static str]) -> Read {
    let find = |given: &&[u8]| {
        words.iter().copied().find(|word| given.eq_ignore_ascii_case(word.as_bytes()))
    };
    let found: Option<Vec<&str>> = given.iter().map(find).collect();
    match found {
        Some(found) if !found.is_empty() => Ok(found.join(" ").into_bytes()),
        _ => {
            let words = words.join(", ");
            Err(format!("argument(s) must be one of the following: {words}").into())
        }
    }
}

/// A number of bytes with an optional unit, as `64`, `1k` (1000) or `1kb` (1024).
#[must_use]
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let digit = |number: u64, byte: &u8| {
        number.saturating_mul(10).saturating_add(u64::from(byte.wrapping_sub(b'0')))
    };
    Some(number.iter().fold(0, digit).saturating_mul(unit))
}

fn read_memory_or_percent(given: &[u8]) -> Read {
    if let Some(percent) = given.strip_suffix(b"%") {
        return match parse_i64(percent) {
            Some(percent @ 0..=100) => Ok(format!("{percent}%").into_bytes()),
            Some(101..) => Err("percentage argument must be less or equal to 100".into()),
            _ => Err("argument must be a memory or percent value".into()),
        };
    }
    let bytes = parse_memory(given).ok_or("argument must be a memory or percent value")?;
    Ok(bytes.to_string().into_bytes())
}

/// Save after so many seconds when there are at least so many changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveRule {
    /// Seconds since the last save.
    pub seconds: u64,
    /// Changes since the last save.
    pub changes: u64,
}

/// Reads pairs of seconds and changes; an empty text means never to save.
#[must_use]
pub fn parse_save_rules(text: &[u8]) -> Option<Vec<SaveRule>> {
    let number = |word: &[u8]| {
        let word = word.strip_prefix(b"+").unwrap_or(word);
        parse_i64(word).and_then(|number| u64::try_from(number).ok())
    };
    let pair = |pair: &[&[u8]]| match pair {
        [seconds, changes] => {
            let (seconds, changes) = (number(seconds)?, number(changes)?);
            (seconds > 0).then_some(SaveRule { seconds, changes })
        }
        _ => None,
    };
    split(text).chunks(2).map(pair).collect()
}

/// The rules as CONFIG GET save prints them.
#[must_use]
pub fn save_rules_text(rules: &[SaveRule]) -> String {
    let rule = |rule: &SaveRule| format!("{} {}", rule.seconds, rule.changes);
    rules.iter().map(rule).collect::<Vec<_>>().join(" ")
}

/// The old limits with those that are given in their place.
fn read_buffer_limits(given: &[u8], old: &[u8]) -> Read {
    let words = split(given);
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits: Vec<String> =
        split(old).iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    for limit in words.chunks(4) {
        let [class, numbers @ ..] = limit else { continue };
        let class = match class.to_ascii_lowercase().as_slice() {
            b"normal" => "normal",
            b"slave" | b"replica" => "slave",
            b"pubsub" => "pubsub",
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        let wrong = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        let at = limits.iter().position(|word| word == class).unwrap_or_default();
        for (number, word) in numbers.iter().enumerate() {
            let value = match number {
                2 => parse_i64(word).and_then(|seconds| u64::try_from(seconds).ok()),
                _ => parse_memory(word).filter(|_| !word.is_empty()),
            };
            let value = value.ok_or(wrong)?;
            if let Some(place) = limits.get_mut(at + 1 + number) {
                *place = value.to_string();
            }
        }
    }
    Ok(limits.join(" ").into_bytes())
}

fn read_percentiles(given: &[u8]) -> Read {
    let mut text: Vec<String> = Vec::new();
    for word in split(given) {
        let number = crate::util::number::parse_f64(word)
            .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&number) {
            let name = "latency-tracking-info-percentiles";
            return Err(format!("{name} parameters should sit between [0.0,100.0]").into());
        }
        text.push(number.to_string());
    }
    Ok(text.join(" ").into_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn read(kind: Kind, given: &str) -> Result<String, String> {
        let old = b"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        match kind.read(given.as_bytes(), old) {
            Ok(text) => Ok(String::from_utf8(text).unwrap()),
            Err(reason) => Err(reason.into_owned()),
        }
    }

    #[test]
    fn values_are_kept_as_redis_prints_them() {
        let memory = Kind::Memory { min: 0, max: u64::MAX };
        let any = Kind::Integer { min: i64::MIN, max: i64::MAX };
        let cases: &[(Kind, &str, &str)] = &[
            (Kind::Bool, "YES", "yes"),
            (any, "-2", "-2"),
            (memory, "1k", "1000"),
            (memory, "1Kb", "1024"),
            (memory, "", "0"),
            (memory, "5gb", "5368709120"),
            (Kind::MemoryOrPercent, "5%", "5%"),
            (Kind::Choice(&["everysec", "no"]), "NO", "no"),
            (Kind::Choices(&["save", "force"]), "save force", "save force"),
            (Kind::SaveRules, "", ""),
            (Kind::SaveRules, "+10 1 3600 0", "10 1 3600 0"),
            (Kind::EventClasses, "KEA", "AKE"),
            (Kind::EventClasses, "KEAn", "AnKE"),
            (Kind::EventClasses, "nmtKx$g", "g$xtnKm"),
            (Kind::EventClasses, "", ""),
            (
                Kind::BufferLimits,
                "normal 1mb 2mb 10 replica 1 2 3",
                "normal 1048576 2097152 10 slave 1 2 3 pubsub 33554432 8388608 60",
            ),
            (Kind::Percentiles, "50 99.95 100 0.1", "50 99.95 100 0.1"),
        ];
        for (kind, given, kept) in cases {
            assert_eq!(read(*kind, given).as_deref(), Ok(*kept), "{given}");
        }
    }

    #[test]
    fn values_that_are_none_are_refused_in_the_words_of_redis() {
        let small = Kind::Integer { min: 1, max: 10 };
        let memory = Kind::Memory { min: 8, max: 16 };
        let cases: &[(Kind, &str, &str)] = &[
            (Kind::Bool, "maybe", "argument must be 'yes' or 'no'"),
            (small, "x", "argument couldn't be parsed into an integer"),
            (small, "0", "argument must be between 1 and 10 inclusive"),
            (memory, "-1", "argument must be a memory value"),
            (memory, "1KiB", "argument must be a memory value"),
            (memory, "99999999999999999999999", "argument must be between 8 and 16 inclusive"),
            (Kind::MemoryOrPercent, "101%", "percentage argument must be less or equal to 100"),
            (Kind::MemoryOrPercent, "-5%", "argument must be a memory or percent value"),
            (Kind::Choice(&["a", "b"]), "c", "argument(s) must be one of the following: a, b"),
            (Kind::SaveRules, "1", "Invalid save parameters"),
            (Kind::SaveRules, "0 1", "Invalid save parameters"),
            (Kind::SaveRules, "1 -1", "Invalid save parameters"),
            (Kind::SaveRules, "10  1", "Invalid save parameters"),
            (
                Kind::BufferLimits,
                "normal 1 2",
                "Wrong number of arguments in buffer limit configuration.",
            ),
            (
                Kind::BufferLimits,
                "all 1 2 3",
                "Invalid client class specified in buffer limit configuration.",
            ),
            (
                Kind::BufferLimits,
                "normal 1 2 x",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
            (
                Kind::Percentiles,
                "101",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            (Kind::Percentiles, "x", "Invalid latency-tracking-info-percentiles parameters"),
        ];
        for (kind, given, reason) in cases {
            assert_eq!(read(*kind, given), Err((*reason).to_owned()), "{given}");
        }
    }
}
