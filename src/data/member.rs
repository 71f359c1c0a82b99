//! The bytes of a member of a set: sixteen bytes where it is stored, most often with nothing else.
//!
//! A sorted set holds each member in two structures, and a set of millions is mostly members, so
//! they must be small: up to [`INLINE_BYTES_MAX`] bytes stand in place, longer ones in an
//! allocation that all copies share. A pointer to a slice would take sixteen bytes by itself;
//! arrays of a few fixed sizes need only eight, and their length goes into the room that is left.

use std::cmp::Ordering;
use std::sync::Arc;

/// Members up to this length need no allocation.
pub const INLINE_BYTES_MAX: usize = 14;

/// A byte string that is cheap to clone.
#[derive(Debug, Clone)]
pub struct Member(Place);

#[derive(Debug, Clone)]
enum Place {
    Inline(u8, [u8; INLINE_BYTES_MAX]),
    Upto24(u8, Arc<[u8; 24]>),
    Upto32(u8, Arc<[u8; 32]>),
    Upto48(u8, Arc<[u8; 48]>),
    Upto64(u8, Arc<[u8; 64]>),
    Longer(Arc<Box<[u8]>>),
}

/// The empty one, which needs no allocation.
impl Default for Member {
    fn default() -> Self {
        Self(Place::Inline(0, [0; INLINE_BYTES_MAX]))
    }
}

/// The bytes at the start of an array with room for more.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    if let Some(place) = array.get_mut(..bytes.len()) {
        place.copy_from_slice(bytes);
    }
    array
}

impl Member {
    /// A member with these bytes. Cost: O(n).
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        // Only read where it fits a byte.
        let len = bytes.len() as u8;
        Self(match bytes.len() {
            ..=INLINE_BYTES_MAX => Place::Inline(len, padded(bytes)),
            15..=24 => Place::Upto24(len, Arc::new(padded(bytes))),
            25..=32 => Place::Upto32(len, Arc::new(padded(bytes))),
            33..=48 => Place::Upto48(len, Arc::new(padded(bytes))),
            49..=64 => Place::Upto64(len, Arc::new(padded(bytes))),
            _ => Place::Longer(Arc::new(bytes.into())),
        })
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let (len, array): (&u8, &[u8]) = match &self.0 {
            Place::Inline(len, array) => (len, array),
            Place::Upto24(len, array) => (len, array.as_slice()),
            Place::Upto32(len, array) => (len, array.as_slice()),
            Place::Upto48(len, array) => (len, array.as_slice()),
            Place::Upto64(len, array) => (len, array.as_slice()),
            Place::Longer(bytes) => return bytes,
        };
        array.get(..usize::from(*len)).unwrap_or_default()
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Member {}

impl PartialOrd for Member {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Member {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back_from_sixteen_bytes() {
        assert_eq!(std::mem::size_of::<Member>(), 16);
        let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        for len in (0..300).chain([69_999]) {
            let member = Member::new(&bytes[..len]);
            assert_eq!(member.bytes(), &bytes[..len]);
            assert_eq!(member.clone(), member);
        }
        assert!(Member::new(b"a") < Member::new(b"a\0"));
    }
}
