//! Byte strings: short ones are stored beside their key, long ones are shared `Bytes`.
//!
//! A long string is sent to clients without being copied, so it must not change while a reply
//! holds it: appending changes it in place only while nobody else does.

use bytes::{Bytes, BytesMut};

/// A string longer than this is stored on its own and shared with the replies that carry it.
pub const PACKED_STRING_BYTES_MAX: usize = 8 * 1024 - 1;

/// A string borrowed from where it is stored.
#[derive(Debug, Clone, Copy)]
pub enum StringRef<'a> {
    /// Stored beside its key.
    Packed(&'a [u8]),
    /// Stored on its own.
    Large(&'a Bytes),
}

impl<'a> StringRef<'a> {
    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Packed(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }

    /// A handle that outlives the borrow. Cost: O(n) when packed, else O(1).
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        match self {
            Self::Packed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Large(bytes) => bytes.clone(),
        }
    }
}

/// `whole` followed by `tail`. Cost: O(tail) amortized while nobody shares `whole`.
#[must_use]
pub fn append(whole: Bytes, tail: &[u8]) -> Bytes {
    let mut bytes = whole.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    bytes.extend_from_slice(tail);
    bytes.freeze()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn appending_never_changes_what_somebody_holds() {
        let held = append(Bytes::from(vec![b'a'; 100]), b"b");
        let grown = append(held.clone(), b"c");
        assert_eq!(held.len(), 101);
        assert_eq!(&grown[100..], b"bc");
    }

    #[test]
    fn appending_to_an_unshared_string_does_not_copy_it_each_time() {
        let mut bytes = append(Bytes::new(), &[b'a'; 1024]);
        let mut moves = 0;
        for _ in 0..100_000 {
            let before = bytes.as_ptr();
            bytes = append(bytes, b"b");
            moves += usize::from(before != bytes.as_ptr());
        }
        assert!(moves < 40, "{moves} moves");
    }
}
