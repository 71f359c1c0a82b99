//! Forty hexadecimal digits that stand for data: equal for equal data, computed as Redis does, so
//! that what two servers hold can be compared without reading it.
//!
//! What has an order is mixed, each part with all before it; what has none is added, whatever comes
//! first.

use crate::data::{StreamId, ValueRef, ValueType};
use crate::util::number::format_f64;
use sha1::{Digest as _, Sha1};

const DIGEST_BYTES: usize = 20;

/// Redis' numbers for the types of values.
fn type_number(value_type: ValueType) -> u32 {
    match value_type {
        ValueType::String => 0,
        ValueType::List => 1,
        ValueType::Set => 2,
        ValueType::SortedSet => 3,
        ValueType::Hash => 4,
        ValueType::Stream => 6,
    }
}

/// A digest that parts are added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest([u8; DIGEST_BYTES]);

impl Digest {
    /// Adds what comes in no order.
    pub fn add(&mut self, part: &[u8]) {
        self.join(Self(Sha1::digest(part).into()));
    }

    /// Adds what comes after all that was added before.
    pub fn mix(&mut self, part: &[u8]) {
        self.add(part);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Takes in what another one holds.
    pub fn join(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
    }

    /// The digest itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a value, and whether its key has a deadline. Cost: O(n).
    pub fn add_value(&mut self, value: ValueRef<'_>, has_deadline: bool) {
        self.mix(&type_number(value.value_type()).to_be_bytes());
        match value {
            ValueRef::String(string) => self.mix(string.bytes()),
            ValueRef::List(list) => list.for_each(0, usize::MAX, |element| self.mix(element)),
            ValueRef::Set(set) => set.for_each(|member| self.add(member)),
            ValueRef::Hash(hash) => hash.for_each(|field, value| self.add_pair(field, value)),
            ValueRef::SortedSet(set) => {
                set.for_all(|member, score| self.add_pair(member, &format_f64(score)));
            }
            ValueRef::Stream(stream) => {
                for entry in stream.entries.range(StreamId::MIN, StreamId::MAX) {
                    self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    entry.for_each(|field, value| {
                        field.with_bytes(|bytes| self.mix(bytes));
                        value.with_bytes(|bytes| self.mix(bytes));
                    });
                }
            }
        }
        if has_deadline {
            self.add(b"!!expire!!");
        }
    }

    fn add_pair(&mut self, name: &[u8], value: &[u8]) {
        let mut pair = Self::default();
        pair.mix(name);
        pair.mix(value);
        self.add(pair.bytes());
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}
