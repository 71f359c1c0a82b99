//! The categories of commands, by which access rules speak of many at once.

/// Redis' categories, in Redis' order.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Some of the categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Categories(u32);

impl Categories {
    /// The category with this name in any case.
    #[must_use]
    pub fn find(name: &[u8]) -> Option<Self> {
        let number = CATEGORIES.iter().position(|own| name.eq_ignore_ascii_case(own.as_bytes()))?;
        Some(Self(1 << number))
    }

    /// Those with these names; a name that is none is left out.
    #[must_use]
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let found = names.into_iter().filter_map(|name| Self::find(name.as_bytes()));
        Self(found.fold(0, |all, one| all | one.0))
    }

    /// Each category alone, in Redis' order.
    pub fn each() -> impl Iterator<Item = Self> {
        (0..CATEGORIES.len()).map(|number| Self(1 << number))
    }

    /// The name of the first of them.
    #[must_use]
    pub fn name(self) -> &'static str {
        CATEGORIES.get(self.0.trailing_zeros() as usize).copied().unwrap_or_default()
    }

    /// True when these have one of `others`.
    #[must_use]
    pub fn has_any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}
