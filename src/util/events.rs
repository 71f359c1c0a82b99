//! The classes of keyspace events, and the letters by which `notify-keyspace-events` names them.

/// A set of classes of events, and of the channels on which they are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventSet(u32);

impl EventSet {
    /// None.
    pub const NONE: Self = Self(0);
    /// Commands about keys of any type.
    pub const GENERIC: Self = Self(1);
    /// Commands about strings.
    pub const STRING: Self = Self(1 << 1);
    /// Commands about lists.
    pub const LIST: Self = Self(1 << 2);
    /// Commands about sets.
    pub const SET: Self = Self(1 << 3);
    /// Commands about hashes.
    pub const HASH: Self = Self(1 << 4);
    /// Commands about sorted sets.
    pub const SORTED_SET: Self = Self(1 << 5);
    /// Keys that were removed because their deadline has come.
    pub const EXPIRED: Self = Self(1 << 6);
    /// Keys that gave way to others.
    pub const EVICTED: Self = Self(1 << 7);
    /// Commands about streams.
    pub const STREAM: Self = Self(1 << 8);
    /// Modules' own.
    pub const MODULE: Self = Self(1 << 9);
    /// Keys that came into being.
    pub const NEW: Self = Self(1 << 10);
    /// The channel of the key tells the event.
    pub const KEYSPACE: Self = Self(1 << 11);
    /// The channel of the event tells the key.
    pub const KEYEVENT: Self = Self(1 << 12);
    /// Keys that were looked for and are not there.
    pub const KEY_MISS: Self = Self(1 << 13);
    /// Any change of a key's value or deadline, for those who keep copies; it has no letter.
    pub const CHANGED: Self = Self(1 << 14);

    /// What `A` stands for.
    const ALL: Self = Self(Self::NEW.0 - 1);
    /// The letters in the order in which they are printed.
    const LETTERS: &[(u8, Self)] = &[
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::SORTED_SET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
    ];

    /// The set that these letters name, `None` when one of them has no meaning.
    #[must_use]
    pub fn from_letters(letters: &[u8]) -> Option<Self> {
        letters.iter().try_fold(Self::NONE, |set, letter| {
            let class = match letter {
                b'A' => Self::ALL,
                _ => Self::LETTERS.iter().find(|(known, _)| known == letter)?.1,
            };
            Some(set.and(class))
        })
    }

    /// The letters that name it, `A` for all that it stands for.
    #[must_use]
    pub fn letters(self) -> Vec<u8> {
        let all = self.has(Self::ALL);
        let mut letters = if all { vec![b'A'] } else { Vec::new() };
        let covered = |class: Self| all && Self::ALL.has(class);
        let named = Self::LETTERS.iter().filter(|(_, class)| self.has(*class) && !covered(*class));
        letters.extend(named.map(|(letter, _)| *letter));
        letters
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when all of `other` are among these.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when any of `other` is among these.
    #[inline]
    #[must_use]
    pub const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// As a number, to be kept in an atomic.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From such a number.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn letters_name_a_set_and_are_printed_in_one_order() {
        let printed = |letters: &[u8]| EventSet::from_letters(letters).unwrap().letters();
        let cases: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"KEA", b"AKE"),
            (b"KEAn", b"AnKE"),
            (b"dtexzhsl$gE", b"AE"),
            (b"nmtKx$g", b"g$xtnKm"),
        ];
        for (given, expected) in cases {
            assert_eq!(printed(given), *expected);
        }
        assert_eq!(EventSet::from_letters(b"Kq"), None);
    }
}
