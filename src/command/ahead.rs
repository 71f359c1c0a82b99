//! The hashes of the keys of a pipeline: computed to look ahead, and used again when a command
//! runs.
//!
//! A key is recognised by where its bytes stand in the input, so what is noted holds as long as the
//! input stays as it is: until the requests that were decoded together have run.

use crate::keyspace::LOOK_AHEAD_MAX;
use crate::util::hash::KeyHash;
use smallvec::SmallVec;

/// The first keys of requests that were decoded together; see the head of the file.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    keys: SmallVec<[Key; LOOK_AHEAD_MAX]>,
    /// The first key that was not asked for yet.
    next: usize,
}

#[derive(Debug)]
struct Key {
    address: usize,
    len: usize,
    hash: KeyHash,
}

impl Ahead {
    /// Forgets all keys: their bytes change.
    #[inline]
    pub fn clear(&mut self) {
        self.keys.clear();
        self.next = 0;
    }

    /// Notes the next key and hashes it. Cost: O(n) for n bytes.
    pub fn note(&mut self, key: &[u8]) {
        let hash = KeyHash::of_key(key);
        self.keys.push(Key { address: key.as_ptr().addr(), len: key.len(), hash });
    }

    /// The hashes of all keys that are noted, one for a key that comes several times in a row.
    pub fn hashes(&self) -> SmallVec<[KeyHash; LOOK_AHEAD_MAX]> {
        let mut hashes = SmallVec::new();
        for key in &self.keys {
            if hashes.last() != Some(&key.hash) {
                hashes.push(key.hash);
            }
        }
        hashes
    }

    /// The hash of a key, noted or not. Cost: O(1) when it is the next one that was noted.
    #[inline]
    pub fn hash_of(&mut self, key: &[u8]) -> KeyHash {
        let (address, len) = (key.as_ptr().addr(), key.len());
        let left = self.keys.get(self.next..).unwrap_or_default();
        match left.iter().position(|noted| noted.address == address && noted.len == len) {
            Some(passed) => {
                self.next += passed + 1;
                left.get(passed).map_or_else(|| KeyHash::of_key(key), |noted| noted.hash)
            }
            None => KeyHash::of_key(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_hash_whether_it_was_noted_or_not() {
        let input = b"one two three two".as_slice();
        let word = |from: usize, to: usize| input.get(from..to).unwrap_or_default();
        let (one, two, three, again) = (word(0, 3), word(4, 7), word(8, 13), word(14, 17));
        let mut ahead = Ahead::default();
        [one, two, again].into_iter().for_each(|key| ahead.note(key));
        assert_eq!(ahead.hashes().as_slice(), [one, two].map(KeyHash::of_key));
        for key in [one, three, again, two, b"", b"elsewhere"] {
            assert_eq!(ahead.hash_of(key), KeyHash::of_key(key));
        }
        ahead.clear();
        assert!(ahead.hashes().is_empty());
        assert_eq!(ahead.hash_of(two), KeyHash::of_key(two));
    }
}
