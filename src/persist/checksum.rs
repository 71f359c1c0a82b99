//! The checksum of a dump: CRC-64 with the polynomial of Jones, as Redis computes it.
//!
//! Behind a type of its own so that no other file knows which crate does the work. The table of
//! 16 x 256 entries is made at compile time; it is four times as fast as a single one.

use crc::{CRC_64_REDIS, Crc, Digest, Table};

static TABLE: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// A running checksum.
pub struct Checksum {
    digest: Digest<'static, u64, Table<16>>,
}

impl Checksum {
    /// The checksum of no bytes at all.
    #[must_use]
    pub fn new() -> Self {
        Self { digest: TABLE.digest() }
    }

    /// Takes in the next bytes. Cost: about 0.6 ns a byte; more for pieces below 64 bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The checksum of everything taken in so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.digest.clone().finalize()
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

    #[test]
    fn the_checksum_has_the_check_value_of_redis() {
        let mut checksum = Checksum::new();
        checksum.update(b"1234");
        checksum.update(b"56789");
        assert_eq!(checksum.value(), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Checksum::new().value(), 0);
    }
}
