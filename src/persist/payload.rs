//! One value on its own, as DUMP gives it and RESTORE takes it.
//!
//! ```text
//!   <type, 1 byte> <value> <version, 2 bytes> <CRC-64 of all before, 8 bytes>    little endian
//! ```
//!
//! Type and value are those of a dump's record. What is written has the plain types of an old
//! version, so that every Redis since 5.0 takes it; what is read may be of any type that a dump may
//! hold, and is read by the same code, as a dump of one record; but a small hash or sorted set of
//! plain strings, as most are, is made of them where they stand.

use crate::data::hash::PACKED_HASH_FIELDS_MAX;
use crate::data::sorted_set::PACKED_SORTED_SET_MEMBERS_MAX;
use crate::data::{Hash, SortedSet, TimedHash, Value, ValueRef};
use crate::persist::build::Builder;
use crate::persist::checksum::Checksum;
use crate::persist::format::{CHECKSUM_BYTES, MAGIC, VERSION_READ_MAX, VERSION_WRITTEN};
use crate::persist::format::{VERSION_WITH_FIELD_DEADLINES, VERSION_WITH_STREAM_2, kind, opcode};
use crate::persist::lzf::Packer;
use crate::persist::read::{Item, RdbReader, ReadOptions, Record};
use crate::persist::skim::split_length;
use crate::persist::source::split_plain_string;
use crate::persist::stream::{self, BufferSink};
use crate::persist::value::{DuplicateFinder, RdbValue};
use crate::persist::write::{self, WrittenType};
use ahash::RandomState;
use smallvec::SmallVec;
use std::fmt;
use std::io::Read;

const VERSION_BYTES: usize = 2;
/// Elements of a small value for which no memory is asked.
const SMALL_ELEMENTS: usize = 64;
/// Places of a table that always has free ones.
const PLACES: usize = 2 * PACKED_HASH_FIELDS_MAX;
const _: () = assert!(PACKED_SORTED_SET_MEMBERS_MAX <= PACKED_HASH_FIELDS_MAX);
/// Bytes of a payload beside the value: its type, the version and the checksum.
pub const FRAME_BYTES: usize = 1 + VERSION_BYTES + size_of::<u64>();

/// Why a payload is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadError {
    /// It is cut short, of a newer version, or damaged.
    Footer,
    /// Its value is none that can be kept.
    Value,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Footer => "DUMP payload version or checksum are wrong",
            Self::Value => "Bad data format",
        })
    }
}

impl std::error::Error for PayloadError {}

/// The payload of a value, its long strings packed if `compress`; of a hash that has deadlines of
/// fields also these. Cost: O(n).
#[must_use]
pub fn encode(value: ValueRef<'_>, deadlines: Option<&TimedHash>, compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut version = VERSION_WRITTEN;
    let mut packer = compress.then(Packer::new);
    let mut string =
        |out: &mut Vec<u8>, bytes: &[u8]| write::encode_string(out, bytes, packer.as_mut());
    match value {
        ValueRef::String(bytes) => {
            out.push(WrittenType::String.code());
            string(&mut out, bytes.bytes());
        }
        ValueRef::List(list) => {
            out.push(WrittenType::List.code());
            write::encode_length(&mut out, list.len() as u64);
            list.for_each(0, usize::MAX, |element| string(&mut out, element));
        }
        ValueRef::Hash(hash) => {
            let base = deadlines.and_then(TimedHash::earliest);
            if let Some(base) = base {
                out.push(WrittenType::TimedHash.code());
                write::encode_field_deadline_base(&mut out, base);
                version = VERSION_WITH_FIELD_DEADLINES;
            } else {
                out.push(WrittenType::Hash.code());
            }
            write::encode_length(&mut out, hash.len() as u64);
            hash.for_each(|field, value| {
                if let Some(base) = base {
                    let deadline = deadlines.and_then(|hash| hash.deadline(field));
                    write::encode_field_deadline(&mut out, base, deadline);
                }
                string(&mut out, field);
                string(&mut out, value);
            });
        }
        ValueRef::Set(set) => {
            out.push(WrittenType::Set.code());
            write::encode_length(&mut out, set.len() as u64);
            set.for_each(|member| string(&mut out, member));
        }
        ValueRef::SortedSet(set) => {
            out.push(WrittenType::ZSet.code());
            write::encode_length(&mut out, set.len() as u64);
            set.for_each(0..set.len(), true, |member, score| {
                string(&mut out, member);
                write::encode_score(&mut out, score);
            });
        }
        ValueRef::Stream(_) => {}
    }
    if let ValueRef::Stream(stream) = value {
        let head = stream::written_type(stream);
        out.push(head.code());
        stream::encode(stream, head, &mut BufferSink(&mut out, packer.as_mut()));
        if head == WrittenType::Stream {
            version = VERSION_WITH_STREAM_2;
        }
    }
    out.extend_from_slice(&(version as u16).to_le_bytes());
    let checksum = checksum_of(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

fn checksum_of(bytes: &[u8]) -> u64 {
    let mut checksum = Checksum::new();
    checksum.update(bytes);
    checksum.value()
}

/// The value of a payload. Cost: O(n).
///
/// # Errors
/// `Footer`, or else `Value`: also for a collection without elements.
pub fn decode(payload: &[u8]) -> Result<Value, PayloadError> {
    let footer = |bytes: &[u8]| -> Option<bool> {
        let (summed, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        let (_, version) = summed.split_last_chunk::<VERSION_BYTES>()?;
        let is_known = u32::from(u16::from_le_bytes(*version)) <= VERSION_READ_MAX;
        Some(is_known && checksum_of(summed) == u64::from_le_bytes(*checksum))
    };
    if footer(payload) != Some(true) {
        return Err(PayloadError::Footer);
    }
    let body = payload.get(..payload.len() - VERSION_BYTES - CHECKSUM_BYTES).unwrap_or_default();
    decode_small(body).or_else(|| decode_value(body)).ok_or(PayloadError::Value)
}

/// A small hash or sorted set of plain strings, made of them where they stand. `None` says nothing:
/// what is not such a value, or has a mistake, is for [`decode_value`].
fn decode_small(body: &[u8]) -> Option<Value> {
    let (kind, rest) = body.split_first()?;
    let (count, mut rest) = split_length(rest)?;
    let count = usize::try_from(count).ok()?;
    let value = match *kind {
        kind::HASH if (1..=PACKED_HASH_FIELDS_MAX).contains(&count) => {
            let mut pairs: SmallVec<[(&[u8], &[u8]); SMALL_ELEMENTS]> = SmallVec::new();
            for _ in 0..count {
                let (field, after) = split_plain_string(rest)?;
                let (value, after) = split_plain_string(after)?;
                pairs.push((field, value));
                rest = after;
            }
            let mut hash = Hash::with_room(count, body.len());
            let differ = are_different(&pairs, |(field, _)| field);
            pairs.iter().for_each(|(field, value)| hash.push_new(field, value));
            Value::Hash(differ.then_some(hash)?)
        }
        kind::ZSET if (1..=PACKED_SORTED_SET_MEMBERS_MAX).contains(&count) => {
            let mut members: SmallVec<[(f64, &[u8]); SMALL_ELEMENTS]> = SmallVec::new();
            for _ in 0..count {
                let (member, after) = split_plain_string(rest)?;
                let (score, after) = after.split_first_chunk()?;
                let score = Some(f64::from_le_bytes(*score)).filter(|score| !score.is_nan())?;
                members.push((score, member));
                rest = after;
            }
            let differ = are_different(&members, |(_, member)| member);
            let set = differ.then(|| SortedSet::small(&mut members))?;
            Value::SortedSet(set?)
        }
        _ => return None,
    };
    rest.is_empty().then_some(value)
}

/// True when no two of a few strings are the same.
fn are_different<'a, T>(items: &'a [T], string: impl Fn(&'a T) -> &'a [u8]) -> bool {
    let hasher = RandomState::new();
    // A table without an allocation: the number of an item, from 1 on, at the place that its hash
    // says, or at the next one that is free.
    let mut places = [0_u16; PLACES];
    let mut is_new = |(number, item)| {
        let own = string(item);
        let mut at = hasher.hash_one(own) as usize;
        loop {
            let Some(place) = places.get_mut(at % PLACES) else { return false };
            let Some(index) = usize::from(*place).checked_sub(1) else {
                *place = number;
                return true;
            };
            if items.get(index).is_some_and(|other| string(other) == own) {
                return false;
            }
            at = at.wrapping_add(1);
        }
    };
    items.len() < PLACES && (1..).zip(items).all(&mut is_new)
}

/// Reads type and value as a dump of one record with an empty key and no checksum.
fn decode_value(body: &[u8]) -> Option<Value> {
    let (kind, value) = body.split_first()?;
    if *kind >= opcode::SLOT_INFO {
        return None;
    }
    let head = [&MAGIC[..], format!("{VERSION_READ_MAX:04}").as_bytes(), &[*kind, 0]].concat();
    let end = [opcode::END, 0, 0, 0, 0, 0, 0, 0, 0];
    let total_bytes = head.len() + value.len() + end.len();
    let options = ReadOptions { verify_checksum: false, ..ReadOptions::default() };
    let source = head.chain(value).chain(&end[..]);
    let mut reader = RdbReader::new(source, total_bytes as u64, options).ok()?;
    let Record::Key(_) = reader.next_record().ok()?? else {
        return None;
    };
    let part = reader.next_part(usize::MAX).ok()?;
    if part.is_empty() && !matches!(part, RdbValue::String(_)) {
        return None;
    }
    let value = Builder::new(part, &mut DuplicateFinder::new()).ok()?.finish();
    match reader.next_record().ok()?? {
        Record::Other(Item::End(_)) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::data::list::End;
    use crate::data::{List, Set, StringRef};
    use proptest::prelude::*;

    fn signed(body: &[u8]) -> Vec<u8> {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&10_u16.to_le_bytes());
        let checksum = checksum_of(&payload);
        payload.extend_from_slice(&checksum.to_le_bytes());
        payload
    }

    fn shown(value: &Value) -> String {
        match value {
            Value::String(bytes) => format!("{bytes:?}"),
            Value::List(list) => {
                let mut all = Vec::new();
                list.as_ref().for_each(0, usize::MAX, |element| all.push(element.to_vec()));
                format!("{all:?}")
            }
            Value::Hash(hash) => {
                let mut all = std::collections::BTreeMap::new();
                hash.as_ref().for_each(|field, value| {
                    assert!(all.insert(field.to_vec(), value.to_vec()).is_none());
                });
                format!("{all:?}")
            }
            Value::Set(set) => {
                let mut all = std::collections::BTreeSet::new();
                set.as_ref().for_each(|member| assert!(all.insert(member.to_vec())));
                format!("{all:?}")
            }
            Value::Stream(stream) => format!("{stream:?}"),
            Value::SortedSet(set) => {
                let mut all = Vec::new();
                let ranks = 0..set.as_ref().len();
                set.as_ref().for_each(ranks, false, |m, score| all.push((m.to_vec(), score)));
                format!("{all:?}")
            }
        }
    }

    proptest! {
        #[test]
        fn values_come_back(
            strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..60),
        ) {
            let mut list = List::new();
            let mut hash = Hash::new();
            for (index, string) in strings.iter().enumerate() {
                list.push(End::Right, string);
                hash.set(index.to_string().as_bytes(), string);
            }
            let (mut set, mut sorted) = (Set::new(), SortedSet::new());
            for (index, string) in strings.iter().enumerate() {
                set.insert(string);
                sorted.set(index as f64 / 3.0, string);
            }
            let payload = encode(ValueRef::Set(set.as_ref()), None, true);
            prop_assert_eq!(shown(&decode(&payload).unwrap()), shown(&Value::Set(set)));
            let payload = encode(ValueRef::SortedSet(sorted.as_ref()), None, true);
            prop_assert_eq!(shown(&decode(&payload).unwrap()), shown(&Value::SortedSet(sorted)));
            let (list, hash) = (Value::List(list), Value::Hash(hash));
            let Value::List(inner) = &list else { unreachable!() };
            let payload = encode(ValueRef::List(inner.as_ref()), None, true);
            prop_assert_eq!(shown(&decode(&payload).unwrap()), shown(&list));
            let Value::Hash(inner) = &hash else { unreachable!() };
            let payload = encode(ValueRef::Hash(inner.as_ref()), None, false);
            prop_assert_eq!(shown(&decode(&payload).unwrap()), shown(&hash));
            let payload = encode(ValueRef::String(StringRef::Packed(&strings[0])), None, true);
            let expected = Value::String(strings[0].clone().into());
            prop_assert_eq!(shown(&decode(&payload).unwrap()), shown(&expected));
        }

        #[test]
        fn no_bytes_upset_the_reader(body: Vec<u8>) {
            let _ = decode(&body);
            let _ = decode(&signed(&body));
        }
    }

    /// Payloads of small collections, some of them with mistakes.
    fn small_body() -> impl Strategy<Value = Vec<u8>> {
        let string = prop_oneof![
            8 => prop::collection::vec(b'a'..b'f', 0..3),
            1 => prop::collection::vec(any::<u8>(), 60..90),
        ];
        let score = prop_oneof![4 => -3.0..3.0_f64, 1 => Just(f64::NAN), 2 => Just(0.0)];
        let element = (string.clone(), string, score);
        let elements = prop::collection::vec(element, 0..20);
        (any::<bool>(), elements, -1..2_i64, any::<bool>()).prop_map(
            |(is_hash, elements, more, has_tail)| {
                let mut body = vec![if is_hash { kind::HASH } else { kind::ZSET }];
                let count = (elements.len() as i64 + if has_tail { more } else { 0 }).max(0);
                write::encode_length(&mut body, count as u64);
                for (first, second, score) in elements {
                    write::encode_string(&mut body, &first, None);
                    match is_hash {
                        true => write::encode_string(&mut body, &second, None),
                        false => write::encode_score(&mut body, score),
                    }
                }
                body
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn small_values_are_the_same_either_way(body in small_body()) {
            if let Some(small) = decode_small(&body) {
                let whole = decode_value(&body);
                prop_assert_eq!(Some(shown(&small)), whole.as_ref().map(shown), "{:?}", body);
            }
        }
    }

    #[test]
    fn small_values_are_made_where_they_stand() {
        let mut hash = Hash::new();
        hash.set(b"field", b"value");
        let payload = encode(ValueRef::Hash(hash.as_ref()), None, true);
        assert!(decode_small(&payload[..payload.len() - 10]).is_some());
        let mut set = SortedSet::new();
        set.set(1.5, b"member");
        let payload = encode(ValueRef::SortedSet(set.as_ref()), None, true);
        assert!(decode_small(&payload[..payload.len() - 10]).is_some());
    }

    #[test]
    fn a_changed_bit_is_noticed() {
        let payload = encode(ValueRef::String(StringRef::Packed(b"hello")), None, true);
        for bit in 0..8 * payload.len() {
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&damaged), Err(PayloadError::Footer)), "{bit}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for body in
            [&b""[..], b"\x00", b"\x01\x00", b"\xfa\x00\x00", b"\xff", b"\x00\x01ab", b"\x0f\x00"]
        {
            assert!(matches!(decode(&signed(body)), Err(PayloadError::Value)), "{body:?}");
        }
        for payload in [&b""[..], b"123456789", b"1234567890"] {
            assert!(matches!(decode(payload), Err(PayloadError::Footer)));
        }
    }
}
