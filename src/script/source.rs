//! Scripts and libraries as text, and the names they go by.
//!
//! The store of the server owns them by `Arc`; what a thread has compiled is kept with a `Weak` and
//! forgotten once nobody else has the text any more. So no thread needs to be told of a flush.

use sha1::{Digest, Sha1};
use std::ops::BitOr;

/// The SHA1 of a script, in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptId([u8; ScriptId::LEN]);

impl ScriptId {
    /// Digits of an id.
    pub const LEN: usize = 40;

    /// The id of a text. Cost: O(bytes).
    #[must_use]
    pub fn of(source: &[u8]) -> Self {
        let mut digits = [0; Self::LEN];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(Sha1::digest(source)) {
            for (digit, half) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = if half < 10 { b'0' + half } else { b'a' + half - 10 };
            }
        }
        Self(digits)
    }

    /// The id that `text` may name, in any case; `None` when it has another length.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut digits: [u8; Self::LEN] = text.try_into().ok()?;
        digits.make_ascii_lowercase();
        Some(Self(digits))
    }

    /// Its digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Its digits; what was parsed and is no text reads as nothing.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A script of EVAL or SCRIPT LOAD.
#[derive(Debug)]
pub struct Script {
    id: ScriptId,
    source: Box<[u8]>,
    body_from: usize,
}

impl Script {
    /// A script whose Lua text begins at `body_from`: behind the line with the flags, but with that
    /// line's end, so that the numbers of the lines fit. Cost: O(bytes).
    #[must_use]
    pub fn new(source: &[u8], body_from: usize) -> Self {
        Self { id: ScriptId::of(source), source: source.into(), body_from }
    }

    /// The name that EVALSHA knows it by.
    #[must_use]
    pub fn id(&self) -> &ScriptId {
        &self.id
    }

    /// The whole text.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    pub(super) fn body(&self) -> &[u8] {
        self.source.get(self.body_from..).unwrap_or_default()
    }
}

/// A library of FUNCTION LOAD.
#[derive(Debug)]
pub struct Library {
    code: Box<[u8]>,
    body_from: usize,
}

impl Library {
    /// A library whose Lua text begins at `body_from`, as that of a script.
    #[must_use]
    pub fn new(code: &[u8], body_from: usize) -> Self {
        Self { code: code.into(), body_from }
    }

    /// The whole text.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// The text without its first line.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.code.get(self.body_from..).unwrap_or_default()
    }
}

/// A function that a library has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryFunction {
    /// Its name, of letters, digits and underscores.
    pub name: Vec<u8>,
    /// What its author says of it.
    pub description: Option<Vec<u8>>,
    /// What it may do, and where it may run.
    pub flags: ScriptFlags,
}

/// What a script or function may do, and where it may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    /// It writes nothing.
    pub const NO_WRITES: Self = Self(1);
    /// It may run when memory is short.
    pub const ALLOW_OOM: Self = Self(2);
    /// It may run on old data.
    pub const ALLOW_STALE: Self = Self(4);
    /// It does not run in a cluster.
    pub const NO_CLUSTER: Self = Self(8);
    /// Its keys need not be of one slot.
    pub const ALLOW_CROSS_SLOT_KEYS: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::NO_WRITES, "no-writes"),
        (Self::ALLOW_OOM, "allow-oom"),
        (Self::ALLOW_STALE, "allow-stale"),
        (Self::NO_CLUSTER, "no-cluster"),
        (Self::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    ];

    /// The flag of this name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let found =
            Self::NAMES.iter().find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(flag, _)| *flag)
    }

    /// True when all flags of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of the flags that are set, in Redis' order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

impl BitOr for ScriptFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_sha1_in_lower_case_digits() {
        let id = ScriptId::of(b"return 1");
        assert_eq!(id.as_str(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(ScriptId::parse(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), Some(id));
        assert_eq!(ScriptId::parse(b"e0e1"), None);
    }

    #[test]
    fn flags_go_by_their_names() {
        let flags =
            ScriptFlags::from_name(b"ALLOW-oom").unwrap_or_default() | ScriptFlags::NO_WRITES;
        assert_eq!(flags.names().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert!(!flags.contains(ScriptFlags::ALLOW_STALE));
        assert_eq!(ScriptFlags::from_name(b"none"), None);
    }
}
