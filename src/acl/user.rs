//! A user: whether it may come in, its passwords, and its selectors.
//!
//! A user is never changed in place. Who changes it makes a new one and puts it where the old one
//! was, so that a client which is being checked sees one or the other and never a half.

use crate::acl::catalog::Catalog;
use crate::acl::rule::RuleError;
use crate::acl::selector::Selector;
use crate::util::split::split_arguments;
use crate::util::text::push_quoted;
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use subtle::{Choice, ConstantTimeEq};

/// Hexadecimal digits of the hash of a password.
const HASH_DIGITS: usize = 64;

/// The SHA-256 of a password in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordHash([u8; HASH_DIGITS]);

impl PasswordHash {
    /// The hash of a password. Cost: O(bytes).
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        let hash = Sha256::digest(password);
        let digit = |value: u8| b"0123456789abcdef".get(usize::from(value)).copied().unwrap_or(0);
        let mut digits = [0; HASH_DIGITS];
        for (place, byte) in digits.chunks_exact_mut(2).zip(hash.iter()) {
            place.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(digits)
    }

    fn parse(text: &[u8]) -> Result<Self, RuleError> {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let digits = text.try_into().map_err(|_| RuleError::BadHash)?;
        if text.iter().all(is_digit) { Ok(Self(digits)) } else { Err(RuleError::BadHash) }
    }

    /// Its digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether what the user gives to RESTORE is to be looked through. It always is here; the rule is
/// kept and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sanitize {
    #[default]
    Unsaid,
    Yes,
    No,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// Never used again: tells it from one that had the same name before.
    pub id: u64,
    /// Its name.
    pub name: Arc<[u8]>,
    is_on: bool,
    needs_no_password: bool,
    sanitize: Sanitize,
    passwords: Vec<PasswordHash>,
    /// The first is the user's own.
    selectors: Vec<Selector>,
    /// Its line, once it was asked for: the rules for commands take long to find.
    line: OnceLock<Vec<u8>>,
}

/// The words of a line, those with quotes in them in quotes, so that they are read as they are.
fn quoted(line: &[u8]) -> Vec<u8> {
    let word = |word: &[u8]| {
        let mut quoted = Vec::new();
        match word.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            true => push_quoted(&mut quoted, word),
            false => quoted.extend_from_slice(word),
        }
        quoted
    };
    line.split(|byte| *byte == b' ').map(word).collect::<Vec<_>>().join(&b' ')
}

impl User {
    /// A user that may do nothing, off and without a password.
    #[must_use]
    pub fn new(id: u64, name: &[u8], catalog: &Catalog, all_channels: bool) -> Self {
        Self {
            id,
            name: Arc::from(name),
            is_on: false,
            needs_no_password: false,
            sanitize: Sanitize::Unsaid,
            passwords: Vec::new(),
            selectors: vec![Selector::new(catalog, all_channels)],
            line: OnceLock::new(),
        }
    }

    /// The same user with another number.
    #[must_use]
    pub fn renumbered(self, id: u64) -> Self {
        Self { id, ..self }
    }

    /// The user of clients that have said nothing: it may do everything, without a password.
    #[must_use]
    pub fn new_default(id: u64, catalog: &Catalog) -> Self {
        let mut user = Self::new(id, b"default", catalog, true);
        (user.is_on, user.needs_no_password) = (true, true);
        for rule in [&b"+@all"[..], b"~*"] {
            for selector in &mut user.selectors {
                // They are rules of ours.
                let _known = selector.apply(rule, catalog);
            }
        }
        user
    }

    /// True when it may come in.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// True when every password is right.
    #[must_use]
    pub fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// True when one selector allows everything.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_unrestricted)
    }

    /// The hashes of its passwords.
    #[must_use]
    pub fn passwords(&self) -> &[PasswordHash] {
        &self.passwords
    }

    /// Its selectors, its own first.
    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// True when a password with this hash is right. The time it takes does not depend on which.
    #[must_use]
    pub fn accepts(&self, password: &PasswordHash) -> bool {
        let is_one = |found: Choice, own: &PasswordHash| found | own.0.ct_eq(&password.0);
        let is_right = bool::from(self.passwords.iter().fold(Choice::from(0), is_one));
        self.is_on && (self.needs_no_password || is_right)
    }

    /// Sets its only password, or that it needs none.
    pub fn set_password(&mut self, password: Option<&[u8]>) {
        self.line.take();
        self.passwords = password.map(PasswordHash::of).into_iter().collect();
        self.needs_no_password = password.is_none();
    }

    /// Follows one rule; `all_channels` is whether a new selector has all channels.
    ///
    /// # Errors
    /// When it is none; nothing has changed then.
    pub fn apply(
        &mut self,
        rule: &[u8],
        catalog: &Catalog,
        all_channels: bool,
    ) -> Result<(), RuleError> {
        self.line.take();
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"skip-sanitize-payload" => self.sanitize = Sanitize::No,
            b"sanitize-payload" => self.sanitize = Sanitize::Yes,
            b"nopass" => self.set_password(None),
            b"resetpass" => {
                self.needs_no_password = false;
                self.passwords.clear();
            }
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => {
                *self = Self {
                    id: self.id,
                    name: Arc::clone(&self.name),
                    sanitize: Sanitize::Yes,
                    ..Self::new(self.id, b"", catalog, all_channels)
                };
            }
            _ => return self.apply_one(rule, catalog, all_channels),
        }
        Ok(())
    }

    fn apply_one(
        &mut self,
        rule: &[u8],
        catalog: &Catalog,
        all_channels: bool,
    ) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(PasswordHash::of(password)),
            [b'#', hash @ ..] => self.add_password(PasswordHash::parse(hash)?),
            [b'<', password @ ..] => return self.remove_password(&PasswordHash::of(password)),
            [b'!', hash @ ..] => return self.remove_password(&PasswordHash::parse(hash)?),
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(catalog, all_channels);
                // As in Redis, quotes that do not fit leave no rule at all.
                for rule in split_arguments(rules).unwrap_or_default() {
                    selector.apply(&rule, catalog)?;
                }
                self.selectors.push(selector);
            }
            _ => {
                let own = self.selectors.first_mut().ok_or(RuleError::Syntax)?;
                return own.apply(rule, catalog);
            }
        }
        Ok(())
    }

    fn add_password(&mut self, hash: PasswordHash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.needs_no_password = false;
    }

    fn remove_password(&mut self, hash: &PasswordHash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|own| own == hash);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Its flags by Redis' names.
    #[must_use]
    pub fn flag_names(&self) -> Vec<&'static str> {
        let all = [
            (self.is_on, "on"),
            (!self.is_on, "off"),
            (self.needs_no_password, "nopass"),
            (self.sanitize == Sanitize::No, "skip-sanitize-payload"),
            (self.sanitize == Sanitize::Yes, "sanitize-payload"),
        ];
        all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }

    /// The rules that give this user again, in one line without `user` and its name.
    #[must_use]
    pub fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        parts.extend(self.flag_names().iter().map(|name| name.as_bytes().to_vec()));
        parts.extend(self.passwords.iter().map(|hash| [b"#", hash.as_bytes()].concat()));
        for (number, selector) in self.selectors.iter().enumerate() {
            let rules = selector.describe(catalog);
            parts.push(if number == 0 {
                rules
            } else {
                [b"(", &quoted(&rules)[..], b")"].concat()
            });
        }
        parts.join(&b' ')
    }

    /// As [`line`](Self::line), for a file whose words may be in quotes.
    #[must_use]
    pub fn quoted_line(&self, catalog: &Catalog) -> Vec<u8> {
        quoted(self.line(catalog))
    }

    /// As [`describe`](Self::describe), with `user` and its name. Cost: O(1) but the first time.
    #[must_use]
    pub fn line(&self, catalog: &Catalog) -> &[u8] {
        let describe = || [b"user ", &self.name[..], b" ", &self.describe(catalog)].concat();
        self.line.get_or_init(describe)
    }

    /// True when one of its selectors allows a channel.
    #[must_use]
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.allows_channel(channel, is_pattern))
    }

    /// True when it may listen to whatever `old` may listen to, as far as the rules tell.
    #[must_use]
    pub fn hears_as_much_as(&self, old: &Self) -> bool {
        if self.selectors.iter().any(|selector| selector.all_channels) {
            return true;
        }
        let has = |channel: &Vec<u8>| {
            self.selectors.iter().any(|selector| selector.channels.contains(channel))
        };
        let keeps =
            |selector: &Selector| !selector.all_channels && selector.channels.iter().all(has);
        old.selectors.iter().all(keeps)
    }
}
