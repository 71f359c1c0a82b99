//! Layer 1: one structure per data type. No key names, no clock, no replies, no locks.
//!
//! Every collection but the stream has a packed form, one contiguous run of bytes that its owner
//! may store inside a larger allocation. All have a large form made of bounded shared pieces:
//! cloning it copies one pointer per piece, and a later change copies only the piece that it
//! touches. So a snapshot can keep the old form of a list of millions without stalling anyone.

mod chunk;
pub mod hash;
pub mod hash_deadlines;
pub mod hyperloglog;
pub mod id_sequence;
pub mod int_seq;
pub mod list;
pub mod listpack;
pub mod member;
pub mod packed;
pub mod ranked_tree;
pub mod segmented;
pub mod set;
pub mod sorted_set;
pub mod stream;
mod stream_block;
pub mod stream_element;
pub mod stream_group;
pub mod stream_id;
mod stream_listpack;
pub mod stream_log;
pub mod string;
pub mod tagged;

pub use hash::{FieldTable, Hash, HashRef};
pub use hash_deadlines::TimedHash;
pub use list::{ChunkedList, List, ListRef};
pub use set::{MemberTable, Set, SetRef};
pub use sorted_set::{RankedMembers, SortedSet, SortedSetRef};
pub use stream::Stream;
pub use stream_id::StreamId;
pub use string::StringRef;

use bytes::Bytes;

/// The type of a value, by the name that TYPE prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A byte string.
    String,
    /// A list of byte strings.
    List,
    /// A map from field to byte string.
    Hash,
    /// A set of byte strings.
    Set,
    /// A set of byte strings in the order of their scores.
    SortedSet,
    /// A log of entries.
    Stream,
}

impl ValueType {
    /// The name that TYPE prints and SCAN TYPE takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Stream => "stream",
        }
    }
}

/// A value on its own, outside the keyspace.
#[derive(Debug, Clone)]
pub enum Value {
    /// A byte string.
    String(Bytes),
    /// A list.
    List(List),
    /// A hash.
    Hash(Hash),
    /// A set.
    Set(Set),
    /// A sorted set.
    SortedSet(SortedSet),
    /// A stream.
    Stream(Box<Stream>),
}

/// A value borrowed from where it is stored.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// A byte string.
    String(StringRef<'a>),
    /// A list.
    List(ListRef<'a>),
    /// A hash.
    Hash(HashRef<'a>),
    /// A set.
    Set(SetRef<'a>),
    /// A sorted set.
    SortedSet(SortedSetRef<'a>),
    /// A stream.
    Stream(&'a Stream),
}

impl ValueRef<'_> {
    /// The type of the value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::String(_) => ValueType::String,
            Self::List(_) => ValueType::List,
            Self::Hash(_) => ValueType::Hash,
            Self::Set(_) => ValueType::Set,
            Self::SortedSet(_) => ValueType::SortedSet,
            Self::Stream(_) => ValueType::Stream,
        }
    }
}

/// A value in its large form, as the keyspace stores it behind one pointer.
#[derive(Debug, Clone)]
pub enum LargeValue {
    /// A long string; shared with replies that are being sent.
    String(Bytes),
    /// A list of chunks.
    List(ChunkedList),
    /// A hash of segments.
    Hash(FieldTable),
    /// A hash of any size with deadlines of fields.
    TimedHash(Box<TimedHash>),
    /// A set of segments.
    Set(MemberTable),
    /// A sorted set of table and tree.
    SortedSet(RankedMembers),
    /// A stream of any size.
    Stream(Box<Stream>),
}

impl LargeValue {
    /// Number of pieces that clones share.
    #[must_use]
    pub fn pieces(&self) -> usize {
        match self {
            Self::String(_) => 1,
            Self::List(list) => list.chunk_count(),
            Self::Hash(table) => table.segment_count(),
            Self::TimedHash(hash) => hash.pieces(),
            Self::Set(table) => table.segment_count(),
            Self::SortedSet(set) => set.pieces(),
            Self::Stream(stream) => stream.pieces(),
        }
    }

    /// Roughly how many bytes it takes: some pieces stand for all. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::String(bytes) => bytes.len(),
            Self::List(list) => list.memory_bytes(),
            Self::Hash(table) => table.memory_bytes(),
            Self::TimedHash(hash) => hash.memory_bytes(),
            Self::Set(table) => table.memory_bytes(),
            Self::SortedSet(set) => set.memory_bytes(),
            Self::Stream(stream) => stream.memory_bytes(),
        }
    }
}

/// What all values made of elements have in common for whoever stores them.
pub trait Collection: Default {
    /// The type of the value.
    const TYPE: ValueType;
    /// True when there are no elements: such a value is not stored.
    fn is_empty(&self) -> bool;
    /// The value whose packed form this is.
    fn from_packed(bytes: InOwner) -> Self;
    /// Takes the value out of its place and leaves a vacant one; `None` when it is of another
    /// type. Nothing is allocated.
    fn take_large(stored: &mut LargeValue) -> Option<Self>;
    /// The value in its place, if it is of a type that has no other form and is never removed for
    /// being empty.
    fn in_place(stored: &mut LargeValue) -> Option<&mut Self> {
        let _ = stored;
        None
    }
    /// The form in which to store it. Cost: O(1).
    fn into_form(self) -> Form;
    /// The value on its own.
    fn into_value(self) -> Value;
    /// The bytes of the pieces that had to be copied before a change since the last call, because
    /// a clone of the value shared them.
    fn take_copied_bytes(&mut self) -> usize;
}

/// The bytes of a packed value in one allocation with those of its owner, which stand in front: the
/// head and the key of its entry. They travel with it while it is changed, so that nothing is
/// copied.
#[derive(Debug, Clone, Default)]
pub struct InOwner {
    /// All bytes.
    pub buffer: Vec<u8>,
    /// How many of them are the owner's.
    pub base: usize,
}

impl InOwner {
    /// The owner's bytes.
    #[must_use]
    pub fn owner(&self) -> &[u8] {
        self.buffer.get(..self.base).unwrap_or_default()
    }

    /// The bytes of the value.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.buffer.get(self.base..).unwrap_or_default()
    }
}

/// A value in the form its size calls for.
#[derive(Debug, Clone)]
pub enum Form {
    /// Bytes to store beside the key, which those of its owner may precede already.
    Packed(ValueType, InOwner),
    /// To store behind a pointer.
    Large(LargeValue),
}
