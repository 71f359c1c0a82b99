//! One hash per key and command, and which of its bits decide what.
//!
//! ```text
//!   bit 63 ........................ 32 31 ......... 25 24 ............ 0
//!       [ shard | place in the shard ]  [ 7 tag bits ]  [ bucket bits ]
//!       '------ position: top 48 bits -------------'
//! ```
//!
//! The shard and the segment inside it are chosen by the top 32 bits, the tag and the bucket inside
//! a segment by the low 32. With the same bits for both, every key of a segment would share its
//! tag and probing would degrade sharply. The position orders all keys; one cursor in that order
//! serves SCAN, the snapshot and everything else that walks.
//!
//! The two seeds are drawn from the operating system once per process, one for keys and one for
//! the fields inside values, and never leave the process: who cannot guess them cannot make keys
//! collide.

use ahash::RandomState;
use std::sync::OnceLock;

static KEY_SEED: OnceLock<RandomState> = OnceLock::new();
static FIELD_SEED: OnceLock<RandomState> = OnceLock::new();

/// How many of the top bits may choose the shard and the segment together.
pub const PLACE_BITS_MAX: u32 = 32;

/// Bits of a [`Position`]: few enough that a cursor is exact in a double and in an i64.
pub const POSITION_BITS: u32 = 48;

/// A place in the order in which every walk visits keys: 48 bits, shard first.
///
/// Keys with equal positions are always visited together.
pub type Position = u64;

/// The exclusive end of all positions.
pub const POSITION_END: Position = 1 << POSITION_BITS;

/// The hash of a key or of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Hashes a key of the keyspace. Cost: O(n) for n bytes.
    #[inline]
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(KEY_SEED.get_or_init(RandomState::new).hash_one(key))
    }

    /// Hashes a field or member inside a value. Cost: O(n) for n bytes.
    #[inline]
    #[must_use]
    pub fn of_field(field: &[u8]) -> Self {
        Self(FIELD_SEED.get_or_init(RandomState::new).hash_one(field))
    }

    /// Which of `1 << shard_bits` shards the key lives in.
    #[inline]
    #[must_use]
    pub fn shard(self, shard_bits: u32) -> usize {
        // Two shifts, because a shift by all 64 bits is not defined.
        usize::try_from((self.0 >> 1) >> (63 - shard_bits.min(63))).unwrap_or(0)
    }

    /// The place in the order of walking.
    #[inline]
    #[must_use]
    pub fn position(self) -> Position {
        self.0 >> (64 - POSITION_BITS)
    }

    /// The whole hash as a number, to recognise the same hash again.
    #[inline]
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// A hash with chosen bits; for tests and for values kept from [`to_bits`](Self::to_bits).
    #[inline]
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What a segment's table gets: tag and bucket from the low half only.
    #[inline]
    #[must_use]
    pub fn in_segment(self) -> u64 {
        (self.0 << 32) | (self.0 & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_and_segment_bits_never_reach_the_table() {
        let place_only = KeyHash(0xffff_ffff_0000_0000);
        assert_eq!(place_only.in_segment(), 0);
        assert_eq!(KeyHash(u64::MAX).shard(0), 0);
        assert_eq!(KeyHash(u64::MAX).shard(6), 63);
        assert_eq!(KeyHash(1 << 63).shard(1), 1);
        assert_eq!(KeyHash(u64::MAX).position(), POSITION_END - 1);
    }

    #[test]
    fn attack_like_keys_spread_evenly_over_shards() {
        let mut counts = [0_usize; 16];
        for n in 0..160_000 {
            let key = format!("session:0000000000000000000{n}");
            if let Some(count) = counts.get_mut(KeyHash::of_key(key.as_bytes()).shard(4)) {
                *count += 1;
            }
        }
        assert!(counts.iter().all(|c| (9_000..11_000).contains(c)), "{counts:?}");
    }
}
