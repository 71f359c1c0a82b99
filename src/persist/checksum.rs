//! The checksum of a dump: CRC-64 with the polynomial of Jones, as Redis computes it.
//!
//! Behind a type of its own so that no other file knows which crate does the work. It multiplies
//! without carries where the processor can, and looks tables up where it cannot. That pays for
//! large pieces only, which is why reader and writer sum up whole buffers.

use crc_fast::{CrcAlgorithm, Digest};

/// A running checksum.
pub struct Checksum {
    digest: Digest,
}

impl Checksum {
    /// The checksum of no bytes at all.
    #[must_use]
    pub fn new() -> Self {
        Self { digest: Digest::new(CrcAlgorithm::Crc64Redis) }
    }

    /// Takes in the next bytes. Cost: about 0.02 ns a byte; 0.5 ns in pieces below 256 bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The checksum of everything taken in so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.digest.finalize()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:016x})", self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    use crc::{CRC_64_REDIS, Crc};
    use proptest::collection::vec;
    use proptest::prelude::*;

    static TABLE: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

    #[test]
    fn the_checksum_has_the_check_value_of_redis() {
        let mut checksum = Checksum::new();
        checksum.update(b"1234");
        checksum.update(b"56789");
        assert_eq!(checksum.value(), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Checksum::new().value(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Pieces on both sides of every length at which the crate changes its method.
        #[test]
        fn it_is_that_of_a_plain_table_however_the_bytes_are_cut(
            pieces in vec(vec(any::<u8>(), 0..700), 0..8),
        ) {
            let (mut checksum, mut expected) = (Checksum::new(), TABLE.digest());
            for piece in &pieces {
                checksum.update(piece);
                expected.update(piece);
                prop_assert_eq!(checksum.value(), expected.clone().finalize());
            }
        }
    }
}
