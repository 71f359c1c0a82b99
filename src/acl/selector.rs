//! A selector: commands, keys and channels that are allowed together.
//!
//! A user has one of its own and may have more; a request is allowed by one selector alone or not
//! at all. Commands are bits by their numbers. `+@all` sets a further bit, which says how the
//! selector began: from everything with exceptions, or from nothing.

use crate::acl::catalog::Catalog;
use crate::acl::category::Categories;
use crate::acl::rule::{RuleError, has_blanks};
use crate::util::glob::glob_match;
use std::collections::BTreeMap;

/// What is done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyUse(u8);

impl KeyUse {
    /// Nothing that tells or changes its value.
    pub const NONE: Self = Self(0);
    /// Its value is read.
    pub const READ: Self = Self(1);
    /// It is changed.
    pub const WRITE: Self = Self(2);
    /// Both.
    pub const ALL: Self = Self(3);

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when all of `others` are among these.
    #[must_use]
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A pattern of keys, and what may be done to those that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPattern {
    pub(super) pattern: Vec<u8>,
    pub(super) allowed: KeyUse,
}

/// One bit for each command, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandBits(Vec<u64>);

impl CommandBits {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn fill(&mut self, value: bool) {
        self.0.fill(if value { u64::MAX } else { 0 });
    }

    pub(super) fn set(&mut self, number: usize, value: bool) {
        if let Some(word) = self.0.get_mut(number / 64) {
            let bit = 1_u64 << (number % 64);
            *word = if value { *word | bit } else { *word & !bit };
        }
    }

    #[inline]
    pub(super) fn has(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// The rules of a selector.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Nothing but all commands has been allowed since.
    pub(super) all_commands: bool,
    /// It began with all commands.
    pub(super) began_with_all: bool,
    pub(super) commands: CommandBits,
    /// First arguments with which commands are allowed that are not otherwise.
    pub(super) first_arguments: BTreeMap<usize, Vec<Vec<u8>>>,
    pub(super) all_keys: bool,
    pub(super) keys: Vec<KeyPattern>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<Vec<u8>>,
}

impl Selector {
    /// Allows no command and no key, and all channels or none.
    #[must_use]
    pub fn new(catalog: &Catalog, all_channels: bool) -> Self {
        Self {
            all_commands: false,
            began_with_all: false,
            commands: CommandBits::new(catalog.len()),
            first_arguments: BTreeMap::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// True when it allows everything.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Follows one rule. Cost: O(commands), and O(patterns) for a pattern.
    ///
    /// # Errors
    /// When it is none; nothing has changed then.
    pub fn apply(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.set_all_keys(true),
            b"resetkeys" => self.set_all_keys(false),
            b"allchannels" | b"&*" => self.set_all_channels(true),
            b"resetchannels" => self.set_all_channels(false),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            _ => return self.apply_one(rule, catalog),
        }
        Ok(())
    }

    fn apply_one(&mut self, rule: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        match rule {
            [b'~', pattern @ ..] => self.add_keys(pattern, KeyUse::ALL),
            [b'%', rest @ ..] => {
                if self.all_keys {
                    return Err(RuleError::KeysAfterAll);
                }
                let (allowed, pattern) = split_use(rest)?;
                self.add_keys(pattern, allowed)
            }
            [b'&', pattern @ ..] => self.add_channels(pattern),
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                let category = Categories::find(category).ok_or(RuleError::Unknown)?;
                for number in catalog.having(category) {
                    self.set_command(number, *sign == b'+', catalog);
                }
                Ok(())
            }
            [b'+', name @ ..] => self.allow(name, catalog),
            [b'-', name @ ..] => {
                let number = catalog.find(name).ok_or(RuleError::Unknown)?;
                self.set_command(number, false, catalog);
                Ok(())
            }
            _ => Err(RuleError::Syntax),
        }
    }

    fn set_all_keys(&mut self, all: bool) {
        self.all_keys = all;
        self.keys.clear();
    }

    fn set_all_channels(&mut self, all: bool) {
        self.all_channels = all;
        self.channels.clear();
    }

    fn set_all_commands(&mut self, all: bool) {
        self.all_commands = all;
        self.began_with_all = all;
        self.commands.fill(all);
        self.first_arguments.clear();
    }

    fn add_keys(&mut self, pattern: &[u8], allowed: KeyUse) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAfterAll);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|own| own.pattern == pattern) {
            Some(own) => own.allowed = own.allowed.and(allowed),
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), allowed }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAfterAll);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|own| own == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `+name`, and with a first argument `+name|argument`.
    fn allow(&mut self, name: &[u8], catalog: &Catalog) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let number = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(number, true, catalog);
            return Ok(());
        };
        let (command, argument) = name.split_at_checked(bar).unwrap_or((name, &[]));
        let argument = argument.get(1..).unwrap_or_default();
        let number = catalog.find(command).ok_or(RuleError::Unknown)?;
        if catalog.get(number).is_some_and(|command| command.is_subcommand) {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if !catalog.subcommands(number).is_empty() {
            let number = catalog.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(number, true, catalog);
            return Ok(());
        }
        let known = self.first_arguments.entry(number).or_default();
        if !known.iter().any(|own| own.eq_ignore_ascii_case(argument)) {
            known.push(argument.to_vec());
        }
        Ok(())
    }

    /// Allows or forbids a command with its subcommands.
    pub(super) fn set_command(&mut self, number: usize, allowed: bool, catalog: &Catalog) {
        self.first_arguments.remove(&number);
        for number in std::iter::once(number).chain(catalog.subcommands(number)) {
            self.commands.set(number, allowed);
        }
        self.all_commands &= allowed;
    }

    /// True when a command may be run; `first_argument` is the one behind its name.
    #[must_use]
    pub fn allows_command(&self, number: usize, first_argument: Option<&[u8]>) -> bool {
        if self.all_commands || self.commands.has(number) {
            return true;
        }
        let (Some(known), Some(argument)) = (self.first_arguments.get(&number), first_argument)
        else {
            return false;
        };
        known.iter().any(|own| own.eq_ignore_ascii_case(argument))
    }

    /// True when this may be done to a key. Cost: O(patterns).
    #[must_use]
    pub fn allows_key(&self, key: &[u8], used: KeyUse) -> bool {
        let fits = |own: &KeyPattern| own.allowed.has(used) && glob_match(&own.pattern, key, false);
        self.all_keys || self.keys.iter().any(fits)
    }

    /// True when this may be done to every key.
    #[must_use]
    pub fn allows_every_key(&self, used: KeyUse) -> bool {
        let is_every = |own: &KeyPattern| own.allowed.has(used) && own.pattern == b"*";
        self.all_keys || self.keys.iter().any(is_every)
    }

    /// True when a channel may be used. A pattern is allowed only literally.
    #[must_use]
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let fits = |own: &Vec<u8>| match is_pattern {
            true => own == channel,
            false => glob_match(own, channel, false),
        };
        self.all_channels || self.channels.iter().any(fits)
    }
}

/// `R~a`, `W~a` or `RW~a`: what is allowed, and the pattern.
fn split_use(mut rest: &[u8]) -> Result<(KeyUse, &[u8]), RuleError> {
    let mut allowed = KeyUse::NONE;
    while let [letter, tail @ ..] = rest {
        rest = tail;
        let one = match letter {
            b'~' => break,
            b'R' | b'r' => KeyUse::READ,
            b'W' | b'w' => KeyUse::WRITE,
            _ => return Err(RuleError::Syntax),
        };
        if allowed.has(one) {
            return Err(RuleError::Syntax);
        }
        allowed = allowed.and(one);
    }
    // Redis 7.0 takes a pattern for nothing, and crashes when it is to show it.
    if allowed == KeyUse::NONE { Err(RuleError::Syntax) } else { Ok((allowed, rest)) }
}
