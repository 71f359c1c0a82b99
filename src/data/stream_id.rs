//! The id of an entry of a stream: a moment in milliseconds, and a number within it.

use std::ops::Deref;

/// The id of an entry; ids are ordered by their moments, then by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds.
    pub ms: u64,
    /// The number within the millisecond.
    pub seq: u64,
}

/// The longest text of an id: two numbers of 20 digits.
const TEXT_BYTES_MAX: usize = 41;

/// The text of an id.
#[derive(Debug, Clone, Copy)]
pub struct StreamIdText {
    bytes: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl StreamIdText {
    #[inline]
    fn push(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + part.len()) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }
}

impl Deref for StreamIdText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl StreamId {
    /// The lowest id, which no entry has.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The highest id.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The id with these parts.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id behind this one; `None` behind the highest.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id before this one; `None` before the lowest.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Sixteen bytes in whose order ids are ordered.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.as_number().to_be_bytes()
    }

    /// The id of these sixteen bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self { ms: (number >> 64) as u64, seq: number as u64 }
    }

    /// The id as one number.
    #[must_use]
    pub fn as_number(self) -> u128 {
        u128::from(self.ms) << 64 | u128::from(self.seq)
    }

    /// `ms-seq`.
    #[inline]
    #[must_use]
    pub fn text(self) -> StreamIdText {
        let mut text = StreamIdText { bytes: [0; TEXT_BYTES_MAX], len: 0 };
        text.push(itoa::Buffer::new().format(self.ms).as_bytes());
        text.push(b"-");
        text.push(itoa::Buffer::new().format(self.seq).as_bytes());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_text() {
        let max = u64::MAX;
        assert_eq!(StreamId::new(5, max).next(), Some(StreamId::new(6, 0)));
        assert_eq!(StreamId::new(6, 0).previous(), Some(StreamId::new(5, max)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert_eq!(&StreamId::new(5, 7).text()[..], b"5-7");
        assert_eq!(StreamId::MAX.text().len(), 41);
        let id = StreamId::new(0x0102, 0x0304);
        assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
        assert!(StreamId::new(1, max).to_bytes() < StreamId::new(2, 0).to_bytes());
    }
}
