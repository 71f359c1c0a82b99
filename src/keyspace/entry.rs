//! One key with its value, deadline and version, in as few bytes as possible.
//!
//! An entry is 16 bytes in its table: either one allocation that holds everything, or, for values
//! too large for that, a counted pointer to a record. A clone of the latter shares the record, and
//! whoever then changes it copies one pointer for each piece of the value: so the walk of a
//! snapshot takes any entry in O(1).
//!
//! ```text
//!   packed: [kind][key len][version: 4][deadline: 0, 6 or 8][key len: 4, if 255][key][value]
//!   kind:   bits 0-2 the type, bits 6-7 how the deadline is stored
//!   value:  of a string its bytes, of a collection a packed sequence
//! ```
//!
//! The version is the snapshot epoch in which the entry was created or last changed.
//!
//! Beside the pointer, which has the length of the allocation in its upper bits, there is room for
//! when the key was last used.

use crate::data::packed::PackedRef;
use crate::data::segmented::Hashed;
use crate::data::string::PACKED_STRING_BYTES_MAX;
use crate::data::{
    Collection, Form, Hash, HashRef, LargeValue, ListRef, SetRef, SortedSetRef, StringRef,
    TimedHash,
};
use crate::data::{InOwner, Value, ValueRef, ValueType};
use crate::keyspace::uses::LastUse;
use crate::util::clock::UnixMillis;
use crate::util::hash::KeyHash;
use crate::util::thin_bytes::ThinBytes;
use bytes::Bytes;
use std::sync::Arc;

const KIND_STRING: u8 = 0;
const KIND_LIST: u8 = 1;
const KIND_HASH: u8 = 2;
const KIND_SET: u8 = 3;
const KIND_SORTED_SET: u8 = 4;
/// A stream is never packed.
const KIND_STREAM: u8 = 5;
const KIND_MASK: u8 = 0x07;
/// The bits of the kind that say how the deadline is stored; both 0 when there is none.
const DEADLINE_MASK: u8 = 0xc0;
/// In six bytes, which last for 8,900 years.
const SHORT_DEADLINE: u8 = 0x40;
/// In eight bytes.
const LONG_DEADLINE: u8 = 0x80;

const LONG_KEY: u8 = u8::MAX;
const KEY_LEN_AT: usize = 1;
const VERSION_AT: usize = 2;
const FIXED_BYTES: usize = 6;
const SHORT_DEADLINE_BYTES: usize = 6;
const LONG_DEADLINE_BYTES: usize = 8;
const LONG_KEY_BYTES: usize = 4;

/// The number of a snapshot; entries remember the one in which they last changed.
pub type Version = u32;

/// One key and what belongs to it.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Everything in one allocation.
    Packed(PackedEntry, LastUse),
    /// A record with a large value.
    Large(Arc<LargeEntry>, LastUse),
}

/// Nothing: what stands in a place of a table that is free. Allocates nothing.
impl Default for Entry {
    fn default() -> Self {
        Self::Packed(PackedEntry::default(), LastUse::default())
    }
}

/// The bytes of a packed entry; see the head of the file.
#[derive(Debug, Clone, Default)]
pub struct PackedEntry(ThinBytes);

/// A key with a large value.
#[derive(Debug, Clone)]
pub struct LargeEntry {
    key: Box<[u8]>,
    deadline: Option<UnixMillis>,
    version: Version,
    value: LargeValue,
}

fn kind_of(value_type: ValueType) -> u8 {
    match value_type {
        ValueType::String => KIND_STRING,
        ValueType::List => KIND_LIST,
        ValueType::Hash => KIND_HASH,
        ValueType::Set => KIND_SET,
        ValueType::SortedSet => KIND_SORTED_SET,
        ValueType::Stream => KIND_STREAM,
    }
}

/// A deadline in the form in which a packed entry stores it.
struct StoredDeadline {
    flag: u8,
    bytes: [u8; LONG_DEADLINE_BYTES],
}

impl StoredDeadline {
    fn of(deadline: Option<UnixMillis>) -> Self {
        let Some(UnixMillis(millis)) = deadline else {
            return Self { flag: 0, bytes: [0; LONG_DEADLINE_BYTES] };
        };
        let is_short = (0..1 << (8 * SHORT_DEADLINE_BYTES)).contains(&millis);
        let flag = if is_short { SHORT_DEADLINE } else { LONG_DEADLINE };
        Self { flag, bytes: millis.to_le_bytes() }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..deadline_bytes(self.flag)).unwrap_or_default()
    }
}

/// How many bytes the deadline of an entry of this kind takes.
#[inline]
fn deadline_bytes(kind: u8) -> usize {
    match kind & DEADLINE_MASK {
        0 => 0,
        SHORT_DEADLINE => SHORT_DEADLINE_BYTES,
        _ => LONG_DEADLINE_BYTES,
    }
}

impl PackedEntry {
    /// Writes the head and the key; the value follows.
    fn head(
        kind: u8,
        key: &[u8],
        deadline: Option<UnixMillis>,
        version: Version,
        value_bytes: usize,
    ) -> Vec<u8> {
        let short = u8::try_from(key.len()).ok().filter(|len| *len != LONG_KEY);
        let deadline = StoredDeadline::of(deadline);
        let extra = deadline.bytes().len() + if short.is_none() { LONG_KEY_BYTES } else { 0 };
        let mut bytes = Vec::with_capacity(FIXED_BYTES + extra + key.len() + value_bytes);
        bytes.push(kind | deadline.flag);
        bytes.push(short.unwrap_or(LONG_KEY));
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(deadline.bytes());
        if short.is_none() {
            let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes
    }

    #[inline]
    fn fields(&self) -> Fields<'_> {
        Fields(&self.0)
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.fields().byte(at)
    }

    #[inline]
    fn key_range(&self) -> std::ops::Range<usize> {
        self.fields().key_range()
    }

    #[inline]
    fn number<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.fields().number(at)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.fields().key()
    }

    #[inline]
    fn value_bytes(&self) -> &[u8] {
        self.fields().value_bytes()
    }

    #[inline]
    fn deadline(&self) -> Option<UnixMillis> {
        self.fields().deadline()
    }
}

/// The bytes of a packed entry, found once for several looks at them.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn byte(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// Where the key begins and ends.
    #[inline]
    fn key_range(self) -> std::ops::Range<usize> {
        let mut start = FIXED_BYTES + deadline_bytes(self.byte(0));
        let mut len = usize::from(self.byte(KEY_LEN_AT));
        if len == usize::from(LONG_KEY) {
            len = self.number(start).map_or(0, |n| u32::from_le_bytes(n) as usize);
            start += LONG_KEY_BYTES;
        }
        start..start + len
    }

    #[inline]
    fn number<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    #[inline]
    fn key(self) -> &'a [u8] {
        self.0.get(self.key_range()).unwrap_or_default()
    }

    #[inline]
    fn value_bytes(self) -> &'a [u8] {
        self.0.get(self.key_range().end..).unwrap_or_default()
    }

    #[inline]
    fn deadline(self) -> Option<UnixMillis> {
        let stored = match deadline_bytes(self.byte(0)) {
            0 => return None,
            len => self.0.get(FIXED_BYTES..FIXED_BYTES + len)?,
        };
        let mut bytes = [0; LONG_DEADLINE_BYTES];
        bytes.get_mut(..stored.len())?.copy_from_slice(stored);
        Some(UnixMillis(i64::from_le_bytes(bytes)))
    }
}

impl Entry {
    /// A string. Cost: O(key + value).
    #[must_use]
    pub fn string(
        key: &[u8],
        value: &[u8],
        deadline: Option<UnixMillis>,
        version: Version,
    ) -> Self {
        if value.len() > PACKED_STRING_BYTES_MAX {
            let value = LargeValue::String(Bytes::copy_from_slice(value));
            return Self::large(key, value, deadline, version);
        }
        let mut bytes = PackedEntry::head(KIND_STRING, key, deadline, version, value.len());
        bytes.extend_from_slice(value);
        Self::packed(bytes)
    }

    /// Any value in the form its size calls for. Cost: O(key + packed bytes).
    #[must_use]
    pub fn new(key: &[u8], value: Value, deadline: Option<UnixMillis>, version: Version) -> Self {
        match value {
            Value::String(bytes) if bytes.len() <= PACKED_STRING_BYTES_MAX => {
                Self::string(key, &bytes, deadline, version)
            }
            Value::String(bytes) => Self::large(key, LargeValue::String(bytes), deadline, version),
            Value::List(list) => Self::from_form(key, list.into_form(), deadline, version),
            Value::Hash(hash) => Self::from_form(key, hash.into_form(), deadline, version),
            Value::Set(set) => Self::from_form(key, set.into_form(), deadline, version),
            Value::SortedSet(set) => Self::from_form(key, set.into_form(), deadline, version),
            Value::Stream(stream) => Self::from_form(key, stream.into_form(), deadline, version),
        }
    }

    fn from_form(key: &[u8], form: Form, deadline: Option<UnixMillis>, version: Version) -> Self {
        match form {
            Form::Large(value) => Self::large(key, value, deadline, version),
            Form::Packed(value_type, bytes) => {
                let value = bytes.value();
                let kind = kind_of(value_type);
                let mut bytes = PackedEntry::head(kind, key, deadline, version, value.len());
                bytes.extend_from_slice(value);
                Self::packed(bytes)
            }
        }
    }

    fn large(
        key: &[u8],
        value: LargeValue,
        deadline: Option<UnixMillis>,
        version: Version,
    ) -> Self {
        let entry = LargeEntry { key: key.into(), deadline, version, value };
        Self::Large(Arc::new(entry), LastUse::default())
    }

    fn packed(bytes: Vec<u8>) -> Self {
        Self::Packed(PackedEntry(bytes.into_boxed_slice().into()), LastUse::default())
    }

    /// When it was last used, or how often.
    #[inline]
    #[must_use]
    pub fn last_use(&self) -> &LastUse {
        match self {
            Self::Packed(_, last_use) | Self::Large(_, last_use) => last_use,
        }
    }

    fn last_use_mut(&mut self) -> &mut LastUse {
        match self {
            Self::Packed(_, last_use) | Self::Large(_, last_use) => last_use,
        }
    }

    /// The same with other bits for its use.
    #[inline]
    #[must_use]
    pub fn with_last_use(mut self, last_use: LastUse) -> Self {
        *self.last_use_mut() = last_use;
        self
    }

    /// The key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Packed(entry, _) => entry.key(),
            Self::Large(entry, _) => &entry.key,
        }
    }

    /// The moment from which the key counts as absent.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMillis> {
        match self {
            Self::Packed(entry, _) => entry.deadline(),
            Self::Large(entry, _) => entry.deadline,
        }
    }

    /// True when the key counts as absent at `now`: from its deadline on, or from the last one of
    /// its fields on when all have one.
    #[inline]
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.is_past_deadline(now) || self.field_deadlines().is_some_and(|hash| hash.is_gone(now))
    }

    /// True from the deadline of the key on.
    #[inline]
    #[must_use]
    pub fn is_past_deadline(&self, now: UnixMillis) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The hash, if fields of it have deadlines.
    #[inline]
    #[must_use]
    pub fn field_deadlines(&self) -> Option<&TimedHash> {
        match self {
            Self::Packed(_, _) => None,
            Self::Large(entry, _) => match &entry.value {
                LargeValue::TimedHash(hash) => Some(hash),
                _ => None,
            },
        }
    }

    /// The earliest deadline of a field.
    #[inline]
    #[must_use]
    pub fn field_deadline(&self) -> Option<UnixMillis> {
        self.field_deadlines().and_then(TimedHash::earliest)
    }

    /// True when there are fields whose deadline has come.
    #[inline]
    #[must_use]
    pub fn has_due_fields(&self, now: UnixMillis) -> bool {
        self.field_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The epoch of the last change.
    #[inline]
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            Self::Packed(entry, _) => entry.number(VERSION_AT).map_or(0, u32::from_le_bytes),
            Self::Large(entry, _) => entry.version,
        }
    }

    /// Notes the epoch of a change.
    #[inline]
    pub fn set_version(&mut self, version: Version) {
        match self {
            Self::Packed(entry, _) => {
                if let Some(place) = entry.0.get_mut(VERSION_AT..VERSION_AT + 4) {
                    place.copy_from_slice(&version.to_le_bytes());
                }
            }
            Self::Large(entry, _) => Arc::make_mut(entry).version = version,
        }
    }

    /// Removes the fields of a hash whose deadline has come. Cost: O(log n) for each.
    pub fn remove_due_fields(&mut self, now: UnixMillis) {
        if self.has_due_fields(now) {
            let key = self.key().to_vec();
            self.change_collection(&key, |hash: &mut Hash| hash.remove_due(now, usize::MAX));
        }
    }

    /// The value as it is at `now`: without the fields of a hash whose deadline has come.
    #[inline]
    #[must_use]
    pub fn value_at(&self, now: UnixMillis) -> ValueRef<'_> {
        match self.field_deadlines() {
            Some(hash) => ValueRef::Hash(hash.alive(now)),
            None => self.value(),
        }
    }

    /// The value for reading, as it is stored.
    #[inline]
    #[must_use]
    pub fn value(&self) -> ValueRef<'_> {
        match self {
            Self::Packed(entry, _) => {
                let fields = entry.fields();
                let bytes = fields.value_bytes();
                match fields.byte(0) & KIND_MASK {
                    KIND_STRING => ValueRef::String(StringRef::Packed(bytes)),
                    KIND_LIST => ValueRef::List(ListRef::Packed(PackedRef::new(bytes))),
                    KIND_SET => ValueRef::Set(SetRef::packed(bytes)),
                    KIND_SORTED_SET => {
                        ValueRef::SortedSet(SortedSetRef::Packed(PackedRef::new(bytes)))
                    }
                    _ => ValueRef::Hash(HashRef::Packed(PackedRef::new(bytes))),
                }
            }
            Self::Large(entry, _) => match &entry.value {
                LargeValue::String(bytes) => ValueRef::String(StringRef::Large(bytes)),
                LargeValue::List(list) => ValueRef::List(ListRef::Chunked(list)),
                LargeValue::Hash(table) => ValueRef::Hash(HashRef::Table(table)),
                LargeValue::TimedHash(hash) => ValueRef::Hash(hash.fields()),
                LargeValue::Set(table) => ValueRef::Set(SetRef::Table(table)),
                LargeValue::SortedSet(set) => ValueRef::SortedSet(SortedSetRef::Ranked(set)),
                LargeValue::Stream(stream) => ValueRef::Stream(stream),
            },
        }
    }

    /// True when this is a clone of `other`, and neither has been changed since it was made.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            // A change of one would have made another allocation of it.
            (Self::Large(own, _), Self::Large(other, _)) => Arc::ptr_eq(own, other),
            (Self::Packed(own, _), Self::Packed(other, _)) => *own.0 == *other.0,
            _ => false,
        }
    }

    /// True when freeing the entry may take long: it is more than one allocation.
    #[must_use]
    pub fn is_large(&self) -> bool {
        matches!(self, Self::Large(_, _))
    }

    /// Made of the first and the last byte of the allocation behind the entry, so that a short one
    /// is near when it is needed.
    #[inline]
    #[must_use]
    pub fn ends(&self) -> u8 {
        match self {
            Self::Packed(entry, _) => {
                let Fields(bytes) = entry.fields();
                bytes.first().copied().unwrap_or(0) ^ bytes.last().copied().unwrap_or(0)
            }
            Self::Large(entry, _) => u8::from(entry.deadline.is_some()),
        }
    }

    /// Roughly how many allocations freeing it takes.
    #[must_use]
    pub fn free_cost(&self) -> usize {
        match self {
            Self::Packed(_, _) => 1,
            Self::Large(entry, _) => match &entry.value {
                LargeValue::Hash(table) => table.len(),
                LargeValue::TimedHash(hash) => hash.free_cost(),
                LargeValue::Set(table) => table.len(),
                LargeValue::SortedSet(set) => set.len(),
                value => value.pieces(),
            },
        }
    }

    /// Roughly how many bytes it takes. Cost: O(1).
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed(entry, _) => entry.0.len(),
            Self::Large(entry, _) => entry.key.len() + entry.value.memory_bytes(),
        }
    }

    /// How many bytes a change copies at once if the entry is shared: all of a string, one pointer
    /// for each piece of a collection.
    #[must_use]
    pub fn shared_bytes(&self) -> usize {
        match self {
            Self::Packed(entry, _) => entry.0.len(),
            Self::Large(entry, _) => match &entry.value {
                LargeValue::String(bytes) => bytes.len(),
                LargeValue::TimedHash(hash) => {
                    hash.packed_bytes() + hash.pieces() * size_of::<usize>()
                }
                value => value.pieces() * size_of::<usize>(),
            },
        }
    }

    /// True when a string of `len` bytes can take the place of the packed string that is there.
    #[inline]
    #[must_use]
    pub fn fits_string(&self, len: usize, keeps_deadline: bool) -> bool {
        let Self::Packed(entry, _) = self else {
            return false;
        };
        let fields = entry.fields();
        let kind = fields.byte(0);
        kind & KIND_MASK == KIND_STRING
            && (kind & DEADLINE_MASK == 0 || keeps_deadline)
            && fields.value_bytes().len() == len
    }

    /// Overwrites a packed string by one that [fits](Self::fits_string).
    #[inline]
    pub fn overwrite_string(&mut self, value: &[u8]) {
        let Self::Packed(entry, _) = self else {
            return;
        };
        let start = entry.key_range().end;
        if let Some(place) = entry.0.get_mut(start..)
            && place.len() == value.len()
        {
            place.copy_from_slice(value);
        }
    }

    /// Sets or removes the deadline. Cost: O(1), or O(bytes) when a packed entry changes its size.
    pub fn set_deadline(&mut self, deadline: Option<UnixMillis>) {
        let entry = match self {
            Self::Large(entry, _) => {
                Arc::make_mut(entry).deadline = deadline;
                return;
            }
            Self::Packed(entry, _) => entry,
        };
        let kind = entry.byte(0);
        let stored = StoredDeadline::of(deadline);
        let place = FIXED_BYTES..FIXED_BYTES + deadline_bytes(kind);
        if kind & DEADLINE_MASK != stored.flag {
            entry.resize(place, stored.bytes(), stored.flag);
        } else if let Some(place) = entry.0.get_mut(place) {
            place.copy_from_slice(stored.bytes());
        }
    }

    /// The same value under another key. Cost: O(bytes) when packed, else O(1).
    #[must_use]
    pub fn with_key(self, key: &[u8]) -> Self {
        match self {
            Self::Large(mut entry, last_use) => {
                Arc::make_mut(&mut entry).key = key.into();
                Self::Large(entry, last_use)
            }
            Self::Packed(entry, last_use) => {
                let value = entry.value_bytes();
                let kind = entry.byte(0) & KIND_MASK;
                let version = entry.number(VERSION_AT).map_or(0, u32::from_le_bytes);
                let deadline = entry.deadline();
                let mut bytes = PackedEntry::head(kind, key, deadline, version, value.len());
                bytes.extend_from_slice(value);
                Self::packed(bytes).with_last_use(last_use)
            }
        }
    }

    /// Puts another one in its place, of which the use is the same.
    fn become_entry(&mut self, other: Self) {
        let last_use = self.last_use().clone();
        *self = other.with_last_use(last_use);
    }

    /// Lends the collection at `key`, its own, to `change`; `None` when the value is of another
    /// type.
    ///
    /// Cost: that of the change.
    pub fn change_collection<C: Collection, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut C) -> R,
    ) -> Option<R> {
        let (deadline, version) = (self.deadline(), self.version());
        let mut collection = match self {
            Self::Packed(entry, _) if entry.byte(0) & KIND_MASK == kind_of(C::TYPE) => {
                C::from_packed(entry.lend())
            }
            Self::Packed(_, _) => return None,
            Self::Large(entry, _) => {
                let stored = &mut Arc::make_mut(entry).value;
                if let Some(collection) = C::in_place(stored) {
                    return Some(change(collection));
                }
                C::take_large(stored)?
            }
        };
        let result = change(&mut collection);
        self.put_back(key, collection.into_form(), deadline, version);
        Some(result)
    }

    /// Appends to a string; returns its new length, `None` when the value is no string.
    ///
    /// Cost: O(value) while packed, O(tail) amortized when large.
    pub fn append(&mut self, tail: &[u8]) -> Option<usize> {
        match self {
            Self::Large(entry, _) => match &mut Arc::make_mut(entry).value {
                LargeValue::String(bytes) => {
                    *bytes = crate::data::string::append(std::mem::take(bytes), tail);
                    Some(bytes.len())
                }
                _ => None,
            },
            Self::Packed(entry, _) => {
                if entry.byte(0) & KIND_MASK != KIND_STRING {
                    return None;
                }
                let len = entry.value_bytes().len() + tail.len();
                if len > PACKED_STRING_BYTES_MAX {
                    let value = Bytes::copy_from_slice(entry.value_bytes());
                    let value = LargeValue::String(crate::data::string::append(value, tail));
                    let (deadline, version) = (self.deadline(), self.version());
                    self.become_entry(Self::large(self.key(), value, deadline, version));
                } else {
                    let end = entry.0.len();
                    entry.resize(end..end, tail, entry.byte(0) & DEADLINE_MASK);
                }
                Some(len)
            }
        }
    }

    /// Lends the bytes of a string, made at least `len` bytes long by zero bytes, to `change`;
    /// `None` when the value is no string.
    ///
    /// Cost: that of the change; O(value) when it grows while packed or is shared with a reply.
    pub fn change_string<R>(
        &mut self,
        len: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        let entry = match self {
            Self::Large(entry, _) => {
                let LargeValue::String(bytes) = &mut Arc::make_mut(entry).value else {
                    return None;
                };
                let (changed, result) =
                    crate::data::string::change(std::mem::take(bytes), len, change);
                *bytes = changed;
                return Some(result);
            }
            Self::Packed(entry, _) => entry,
        };
        if entry.byte(0) & KIND_MASK != KIND_STRING {
            return None;
        }
        if len > PACKED_STRING_BYTES_MAX {
            let value = Bytes::copy_from_slice(entry.value_bytes());
            let (value, result) = crate::data::string::change(value, len, change);
            let value = LargeValue::String(value);
            let (deadline, version) = (self.deadline(), self.version());
            self.become_entry(Self::large(self.key(), value, deadline, version));
            return Some(result);
        }
        let missing = len.saturating_sub(entry.value_bytes().len());
        if missing > 0 {
            let end = entry.0.len();
            entry.resize(end..end, &vec![0; missing], entry.byte(0) & DEADLINE_MASK);
        }
        let start = entry.key_range().end;
        entry.0.get_mut(start..).map(change)
    }

    /// Stores a collection that was lent. A packed one still travels with its head and key.
    fn put_back(&mut self, key: &[u8], form: Form, deadline: Option<UnixMillis>, version: Version) {
        match (form, &mut *self) {
            (Form::Packed(_, bytes), Self::Packed(entry, _)) => {
                entry.0 = bytes.buffer.into_boxed_slice().into();
            }
            (Form::Large(value), Self::Large(entry, _)) => Arc::make_mut(entry).value = value,
            (form, _) => self.become_entry(Self::from_form(key, form, deadline, version)),
        }
    }
}

impl PackedEntry {
    fn take_bytes(&mut self) -> Vec<u8> {
        let bytes: Box<[u8]> = std::mem::take(&mut self.0).into();
        bytes.into_vec()
    }

    /// Lends the packed value; head and key travel with it until it is put back.
    fn lend(&mut self) -> InOwner {
        let base = self.key_range().end;
        InOwner { buffer: self.take_bytes(), base }
    }

    /// Replaces the bytes in `range` and the deadline flag.
    fn resize(&mut self, range: std::ops::Range<usize>, by: &[u8], deadline_flag: u8) {
        let mut bytes = self.take_bytes();
        bytes.reserve_exact(by.len().saturating_sub(range.len()));
        if range.end <= bytes.len() {
            bytes.splice(range, by.iter().copied());
        }
        if let Some(kind) = bytes.first_mut() {
            *kind = (*kind & !DEADLINE_MASK) | deadline_flag;
        }
        self.0 = bytes.into_boxed_slice().into();
    }
}

impl Hashed for Entry {
    #[inline]
    fn hash(&self) -> KeyHash {
        KeyHash::of_key(self.key())
    }

    fn heap_bytes(&self) -> usize {
        self.memory_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::data::List;
    use crate::data::list::End;
    use proptest::prelude::*;

    fn string_of(entry: &Entry) -> Vec<u8> {
        match entry.value() {
            ValueRef::String(value) => value.bytes().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_takes_sixteen_bytes_in_its_table() {
        assert_eq!(std::mem::size_of::<Entry>(), 16);
    }

    #[test]
    fn a_list_grows_from_packed_to_large_with_its_head_kept() {
        let mut entry = Entry::new(b"k", Value::List(List::new()), Some(UnixMillis(7)), 3);
        for n in 0..1_000 {
            let data = n.to_string();
            entry
                .change_collection(b"k", |list: &mut List| list.push(End::Right, data.as_bytes()))
                .unwrap();
            assert_eq!((entry.key(), entry.version()), (&b"k"[..], 3));
            assert_eq!(entry.deadline(), Some(UnixMillis(7)));
        }
        assert!(entry.is_large());
        assert!(entry.change_collection(b"k", |_: &mut Hash| ()).is_none());
    }

    proptest! {
        #[test]
        fn every_change_keeps_the_rest(
            key_len in prop_oneof![0_usize..40, 250_usize..260, 70_000_usize..70_002],
            value_len in prop_oneof![0_usize..40, 8_180_usize..8_200],
            deadlines in prop::collection::vec(
                prop::option::of(prop_oneof![any::<i64>(), 0..2_i64 << 48, -3..3_i64]), 0..6
            ),
            tails in prop::collection::vec(0_usize..300, 0..6),
        ) {
            let key = vec![b'k'; key_len];
            let mut value = vec![b'v'; value_len];
            let mut entry = Entry::string(&key, &value, None, 9);
            for deadline in deadlines {
                let deadline = deadline.map(UnixMillis);
                entry.set_deadline(deadline);
                prop_assert_eq!(entry.deadline(), deadline);
                prop_assert_eq!(entry.key(), &key[..]);
                prop_assert_eq!(string_of(&entry), value.clone());
            }
            for tail in tails {
                let deadline = entry.deadline();
                value.resize(value.len() + tail, b't');
                prop_assert_eq!(entry.append(&vec![b't'; tail]), Some(value.len()));
                prop_assert_eq!(string_of(&entry), value.clone());
                prop_assert_eq!((entry.deadline(), entry.version()), (deadline, 9));
            }
            let renamed = entry.clone().with_key(b"other");
            prop_assert_eq!(renamed.key(), b"other");
            prop_assert_eq!(renamed.deadline(), entry.deadline());
            prop_assert_eq!(string_of(&renamed), value);
        }
    }
}
