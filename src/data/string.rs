//! Byte strings: short ones are stored beside their key, long ones are shared `Bytes`.
//!
//! A long string is sent to clients without being copied, so it must not change while a reply or a
//! snapshot holds it: it is changed in place only while nobody else does, and copied once else.

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

/// `whole` made at least `len` bytes long by zero bytes, and changed by `change`.
///
/// Cost: that of the change, and O(growth) amortized while nobody shares `whole`, else O(n).
pub fn change<R>(whole: Bytes, len: usize, change: impl FnOnce(&mut [u8]) -> R) -> (Bytes, R) {
    if len / 2 >= whole.len() {
        // The system gives zeroed memory without touching it.
        let mut grown = vec![0; len];
        if let Some(start) = grown.get_mut(..whole.len()) {
            start.copy_from_slice(&whole);
        }
        let result = change(&mut grown);
        return (Bytes::from(grown), result);
    }
    let mut bytes = whole.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
    let result = change(&mut bytes);
    (bytes.freeze(), result)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_change_in_place_copies_only_what_somebody_holds() {
        let mut bytes = Bytes::from(vec![b'a'; 100_000]);
        let before = bytes.as_ptr();
        for at in 0..1_000 {
            bytes = change(bytes, 0, |bytes| bytes[at] = b'b').0;
        }
        assert_eq!(bytes.as_ptr(), before);
        let held = bytes.clone();
        bytes = change(bytes, 0, |bytes| bytes[0] = b'c').0;
        assert_eq!((held[0], bytes[0]), (b'b', b'c'));
        let before = bytes.as_ptr();
        bytes = change(bytes, 0, |bytes| bytes[1] = b'd').0;
        assert_eq!(bytes.as_ptr(), before);
    }

    #[test]
    fn growing_by_a_byte_does_not_copy_each_time() {
        let (mut bytes, mut moves) = (Bytes::from(vec![b'a'; 1_024]), 0);
        for len in 1_025..100_000 {
            let before = bytes.as_ptr();
            bytes = change(bytes, len, |bytes| bytes[len - 1] = b'b').0;
            moves += usize::from(before != bytes.as_ptr());
        }
        assert!(moves < 40, "{moves} moves");
        let (grown, ()) = change(bytes, 1_000_000, |_| ());
        assert_eq!((grown.len(), grown[1_024], grown[999_999]), (1_000_000, b'b', 0));
    }

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
