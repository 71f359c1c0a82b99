//! What holds for whole dumps: what is written is read back, what real servers wrote is read as
//! they would read it, and what is damaged is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::data::stream_group::{Group, Pending};
use crate::data::stream_log::{BlockLimits, Trim};
use crate::data::{Stream, StreamId};
use crate::persist::checksum::Checksum;
use crate::persist::error::RdbError;
use crate::persist::error::Reason;
use crate::persist::format::VERSION_WRITTEN;
use crate::persist::format::kind;
use crate::persist::lzf::Packer;
use crate::persist::read::ChecksumState;
use crate::persist::read::Entry;
use crate::persist::read::Item;
use crate::persist::read::RdbReader;
use crate::persist::read::ReadOptions;
use crate::persist::source::BUFFER_BYTES;
use crate::persist::stream::{self, BufferSink};
use crate::persist::value::Elements;
use crate::persist::value::Pairs;
use crate::persist::value::RdbValue;
use crate::persist::value::Scored;
use crate::persist::write::ChecksumWriter;
use crate::persist::write::Header;
use crate::persist::write::Sizes;
use crate::persist::write::WrittenType;
use crate::persist::write::encode_database;
use crate::persist::write::encode_deadline;
use crate::persist::write::encode_end;
use crate::persist::write::encode_header;
use crate::persist::write::encode_integer;
use crate::persist::write::encode_key_prefix;
use crate::persist::write::encode_length;
use crate::persist::write::encode_score;
use crate::persist::write::encode_string;
use crate::util::clock::UnixMillis;

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

mod damaged;

const UNCHECKED: ReadOptions =
    ReadOptions { verify_checksum: false, check_duplicates: true, database_count: 1 };

/// Dumps by real servers; tests/data/rdb/README.md says how each was made.
pub(super) const SAMPLES: [&str; 9] = [
    "redis-2.4.18",
    "redis-2.8.24",
    "redis-3.2.13",
    "redis-6.2.14",
    "redis-7.0.15",
    "redis-7.0.15-plain",
    "redis-7.0.15-nodes",
    "redis-7.4.1",
    "valkey-8.0.1",
];

fn sample_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/rdb").join(name)
}

pub(super) fn sample(name: &str) -> Vec<u8> {
    std::fs::read(sample_path(&format!("{name}.rdb"))).unwrap()
}

fn read_from<R: Read>(
    file: R,
    total_bytes: u64,
    options: ReadOptions,
) -> Result<Vec<Item>, RdbError> {
    let mut reader = RdbReader::new(file, total_bytes, options)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    assert_eq!(reader.offset(), total_bytes);
    assert!(reader.next_item().unwrap().is_none());
    Ok(items)
}

fn read(file: &[u8], options: ReadOptions) -> Result<Vec<Item>, RdbError> {
    read_from(file, file.len() as u64, options)
}

fn entries(items: &[Item]) -> Vec<&Entry> {
    let mut entries = Vec::new();
    for item in items {
        if let Item::Entry(entry) = item {
            entries.push(entry);
        }
    }
    entries
}

fn end_state(items: &[Item]) -> ChecksumState {
    match items.last() {
        Some(Item::End(state)) => *state,
        other => panic!("no end but {other:?}"),
    }
}

fn header() -> Header<'static> {
    Header {
        version: VERSION_WRITTEN,
        server_version: "0.1.0",
        created_seconds: 1_700_000_000,
        used_memory_bytes: 123_456,
    }
}

pub(super) type Record = (Vec<u8>, Option<i64>, RdbValue);

fn encode_value(out: &mut Vec<u8>, value: &RdbValue, mut packer: Option<&mut Packer>) {
    let mut string = |out: &mut Vec<u8>, bytes: &[u8]| {
        encode_string(out, bytes, packer.as_deref_mut());
    };
    match value {
        RdbValue::String(bytes) => string(out, bytes),
        RdbValue::List(elements) | RdbValue::Set(elements) => {
            encode_length(out, elements.len() as u64);
            elements.iter().for_each(|element| string(out, element));
        }
        RdbValue::Hash(pairs) => {
            encode_length(out, pairs.len() as u64);
            for (field, value) in pairs.iter() {
                string(out, field);
                string(out, value);
            }
        }
        RdbValue::Stream(stream) => {
            stream::encode(stream, stream::written_type(stream), &mut BufferSink(out, packer));
        }
        RdbValue::ZSet(scored) => {
            encode_length(out, scored.len() as u64);
            for (member, score) in scored.iter() {
                string(out, member);
                encode_score(out, score);
            }
        }
    }
}

fn written_type(value: &RdbValue) -> WrittenType {
    match value {
        RdbValue::String(_) => WrittenType::String,
        RdbValue::List(_) => WrittenType::List,
        RdbValue::Set(_) => WrittenType::Set,
        RdbValue::Hash(_) => WrittenType::Hash,
        RdbValue::ZSet(_) => WrittenType::ZSet,
        RdbValue::Stream(stream) => stream::written_type(stream),
    }
}

pub(super) fn write(records: &[Record], packed: bool, with_checksum: bool) -> Vec<u8> {
    let mut writer = ChecksumWriter::new(Vec::new(), with_checksum);
    let mut packer = packed.then(Packer::new);
    let mut out = Vec::new();
    encode_header(&mut out, &header());
    encode_database(&mut out, 0, Some(Sizes { keys: 70_000, deadlines: 3 }));
    for (key, deadline_ms, value) in records {
        encode_deadline(&mut out, *deadline_ms);
        encode_key_prefix(&mut out, written_type(value), key, packer.as_mut());
        encode_value(&mut out, value, packer.as_mut());
        writer.write_all(&out).unwrap();
        out.clear();
    }
    encode_end(&mut out);
    writer.write_all(&out).unwrap();
    let written_bytes = writer.written_bytes();
    let file = writer.finish().unwrap();
    assert_eq!(file.len() as u64, written_bytes + 8);
    file
}

/// Bytes after the header of a dump, closed with an end mark and the right checksum.
pub(super) fn file_of(body: &[u8]) -> Vec<u8> {
    let mut file = b"REDIS0010".to_vec();
    file.extend_from_slice(body);
    file.push(0xFF);
    let mut checksum = Checksum::new();
    checksum.update(&file);
    file.extend_from_slice(&checksum.value().to_le_bytes());
    file
}

fn refusal(body: &[u8]) -> RdbError {
    let file = file_of(body);
    let error = read(&file, ReadOptions::default()).expect_err("it should have been refused");
    assert!(error.offset <= file.len() as u64);
    error
}

fn integer_text() -> impl Strategy<Value = Vec<u8>> {
    let edges = proptest::sample::select(vec![
        0,
        -1,
        12,
        13,
        127,
        128,
        -128,
        -129,
        4095,
        4096,
        -4096,
        -4097,
        32767,
        32768,
        -32768,
        -32769,
        8_388_607,
        -8_388_608,
        8_388_608,
        -8_388_609,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::from(i32::MIN),
        i64::from(i32::MIN) - 1,
        i64::MAX,
        i64::MIN,
    ]);
    prop_oneof![edges, any::<i64>(), any::<i32>().prop_map(i64::from)]
        .prop_map(|value| value.to_string().into_bytes())
}

/// Strings of every length class, numbers, and what packs well.
pub(super) fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..40),
        3 => integer_text(),
        2 => (vec(any::<u8>(), 1..9), 1_usize..60).prop_map(|(part, times)| part.repeat(times)),
        1 => (proptest::sample::select(vec![62, 63, 64, 65, 16_383, 16_384, 70_000]), any::<u8>())
            .prop_map(|(length, salt)| noise(length, u64::from(salt))),
        1 => proptest::sample::select(vec!["+1", "-0", "007", "-", " 1", "1 ", "2147483648"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

pub(super) fn value() -> impl Strategy<Value = RdbValue> {
    let unique = || proptest::collection::btree_set(text(), 1..24);
    let score = any::<f64>().prop_filter("scores are numbers", |score| !score.is_nan());
    prop_oneof![
        text().prop_map(RdbValue::String),
        any_stream().prop_map(RdbValue::Stream),
        vec(text(), 1..24).prop_map(|list| RdbValue::List(list.iter().collect())),
        unique().prop_map(|set| RdbValue::Set(set.iter().collect())),
        (unique(), vec(text(), 24)).prop_map(|(fields, values)| {
            let mut pairs = Pairs::default();
            fields.iter().zip(&values).for_each(|(field, value)| pairs.push(field, value));
            RdbValue::Hash(pairs)
        }),
        (unique(), vec(score, 24)).prop_map(|(members, scores)| {
            let mut scored = Scored::default();
            members.iter().zip(scores).for_each(|(member, score)| scored.push(member, score));
            RdbValue::ZSet(scored)
        }),
    ]
}

/// Streams with all that there can be in them: entries with fields of their own, deleted and trimmed
/// ones, groups with and without counters, consumers, and pending entries.
pub(super) fn any_stream() -> impl Strategy<Value = Box<Stream>> {
    let pairs = prop_oneof![
        4 => Just(vec![b"field".to_vec(), b"value".to_vec()]),
        1 => vec(text(), 1..4).prop_map(|texts| [texts.clone(), texts].concat()),
    ];
    let entries = vec((0_u64..4, 0_u64..300, pairs), 0..40);
    let groups = vec((text(), 0_usize..50, any::<bool>(), vec((text(), 0_usize..50), 0..5)), 0..4);
    (entries, vec(0_usize..50, 0..8), 0_u64..60, groups).prop_map(|(entries, gone, len, groups)| {
        let mut stream = Box::<Stream>::default();
        let mut ids = vec![StreamId::MIN];
        for (ms, seq, pairs) in entries {
            let last = stream.entries.last_id();
            let seq = if ms == 0 { last.seq + 1 + seq } else { seq };
            ids.push(StreamId::new(last.ms + 1_000 * ms, seq));
            let pairs = pairs.chunks(2).map(|pair| (&pair[0][..], &pair[1][..]));
            let limits = BlockLimits { bytes: 0, entries: 7 };
            stream.entries.append(*ids.last().unwrap(), pairs, limits);
        }
        let id = |index: usize| ids[index % ids.len()];
        stream.entries.trim(Trim::Length(len), false, 0);
        stream.entries.delete(gone.into_iter().map(id));
        for (name, read, is_known, pending) in groups {
            let last = id(read);
            let count = stream.entries.distance_from_start(last);
            let mut group = Group::new(&name, last, count.or(is_known.then_some(read as i64)));
            for (consumer, index) in pending {
                let seen = UnixMillis(1_700_000_000_000 + index as i64);
                let (consumer, _) = group.add_consumer(&consumer, seen);
                let deliveries = index as u64;
                group.deliver(Pending { id: id(index), delivered: seen, deliveries, consumer });
            }
            stream.add_group(group);
        }
        stream
    })
}

pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// SplitMix64: enough for choosing spots and bytes, and the same on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = std::env::var("MY_REDIS_SEED")
            .map_or(now.as_nanos() as u64, |text| text.parse().expect("MY_REDIS_SEED is a number"));
        println!("MY_REDIS_SEED={seed}");
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Hands over its bytes in small odd pieces, interrupted now and then.
struct Trickle<'a> {
    rest: &'a [u8],
    calls: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(5) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let count = (self.calls % 7 + 1).min(buffer.len());
        self.rest.read(&mut buffer[..count])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_back(
        records in vec((text(), proptest::option::of(0..i64::MAX), value()), 0..12),
        packed: bool,
        with_checksum: bool,
    ) {
        let file = write(&records, packed, with_checksum);
        let items = read(&file, ReadOptions::default()).unwrap();
        let read_records: Vec<Record> = entries(&items)
            .into_iter()
            .map(|entry| (entry.key.clone(), entry.deadline_ms, entry.value.clone()))
            .collect();
        prop_assert_eq!(&read_records, &records);
        let state =
            if with_checksum { ChecksumState::Verified } else { ChecksumState::Absent };
        prop_assert_eq!(end_state(&items), state);
        let trickle = Trickle { rest: &file, calls: 0 };
        let trickled = read_from(trickle, file.len() as u64, ReadOptions::default()).unwrap();
        prop_assert_eq!(trickled, items);
    }

    #[test]
    fn every_length_is_read_back_from_its_shortest_form(
        length in prop_oneof![0..70_u64, 16_000..17_000_u64, any::<u32>().prop_map(u64::from),
            any::<u64>(), proptest::sample::select(vec![u64::from(u32::MAX),
            u64::from(u32::MAX) + 1, u64::MAX])],
    ) {
        let mut body = vec![0xFB];
        encode_length(&mut body, length);
        let shortest = match length {
            0..64 => 1,
            64..16_384 => 2,
            16_384..0x1_0000_0000 => 5,
            _ => 9,
        };
        prop_assert_eq!(body.len() - 1, shortest);
        encode_length(&mut body, 7);
        let items = read(&file_of(&body), ReadOptions::default()).unwrap();
        let hint = Item::ResizeDb { key_count: length, deadline_count: 7 };
        prop_assert_eq!(&items[0], &hint);
    }

    #[test]
    fn an_integer_is_written_as_its_digits_are(value: i64, short: i16) {
        for value in [value, i64::from(value as i32), i64::from(short), i64::from(short as i8)] {
            let (mut as_integer, mut as_string) = (Vec::new(), Vec::new());
            encode_integer(&mut as_integer, value);
            encode_string(&mut as_string, value.to_string().as_bytes(), None);
            prop_assert_eq!(as_integer, as_string);
        }
    }
}

#[test]
fn strings_take_the_same_forms_as_in_redis() {
    let form = |text: &str| {
        let mut out = Vec::new();
        encode_string(&mut out, text.as_bytes(), None);
        out
    };
    assert_eq!(form("-1"), [0xC0, 0xFF]);
    assert_eq!(form("127"), [0xC0, 0x7F]);
    assert_eq!(form("-128"), [0xC0, 0x80]);
    assert_eq!(form("128"), [0xC1, 0x80, 0x00]);
    assert_eq!(form("-129"), [0xC1, 0x7F, 0xFF]);
    assert_eq!(form("32768"), [0xC2, 0x00, 0x80, 0x00, 0x00]);
    assert_eq!(form("-2147483648"), [0xC2, 0x00, 0x00, 0x00, 0x80]);
    assert_eq!(form("2147483648"), b"\x0a2147483648");
    for text in ["", "-", "-0", "+1", "01", "1a", "-2147483649", "99999999999"] {
        assert_eq!(form(text)[0] as usize, text.len(), "{text:?} is no integer");
    }
}

#[test]
fn a_deadline_before_1970_is_not_mistaken_for_none() {
    let records = [(b"k".to_vec(), Some(-1), RdbValue::String(b"v".to_vec()))];
    let items = read(&write(&records, false, true), ReadOptions::default()).unwrap();
    assert_eq!(entries(&items)[0].deadline_ms, Some(0));
}

#[test]
fn the_header_tells_version_notes_database_and_sizes() {
    let file = write(&[], true, true);
    assert_eq!(&file[..9], b"REDIS0009");
    let items = read(&file, ReadOptions::default()).unwrap();
    let aux = |name: &str, value: &str| Item::Aux { name: name.into(), value: value.into() };
    let expected = [
        aux("redis-ver", "7.0.15"),
        aux("redis-bits", "64"),
        aux("ctime", "1700000000"),
        aux("used-mem", "123456"),
        aux("my-redis-ver", "0.1.0"),
        Item::SelectDb(0),
        Item::ResizeDb { key_count: 70_000, deadline_count: 3 },
        Item::End(ChecksumState::Verified),
    ];
    assert_eq!(items, expected);
}

/// The form of tests/data/rdb/make.py; unordered types sorted.
fn transcript_line(entry: &Entry) -> String {
    let token = |bytes: &[u8]| {
        if bytes.is_empty() {
            return "%-".to_owned();
        }
        if bytes.len() > 16 && bytes.iter().all(|byte| *byte == bytes[0]) {
            return format!("={}x{:02X}", bytes.len(), bytes[0]);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:+-".contains(&byte);
        let shown = |byte: &u8| match *byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        bytes.iter().map(shown).collect()
    };
    let (name, words) = match &entry.value {
        RdbValue::String(bytes) => ("string", vec![token(bytes)]),
        RdbValue::List(elements) => ("list", elements.iter().map(token).collect()),
        RdbValue::Set(elements) => {
            let members: BTreeSet<&[u8]> = elements.iter().collect();
            ("set", members.into_iter().map(token).collect())
        }
        RdbValue::Hash(pairs) => {
            let pairs: BTreeSet<(&[u8], &[u8])> = pairs.iter().collect();
            (
                "hash",
                pairs.into_iter().flat_map(|(field, value)| [token(field), token(value)]).collect(),
            )
        }
        RdbValue::Stream(stream) => {
            let mut words = Vec::new();
            for entry in stream.entries.range(StreamId::MIN, StreamId::MAX) {
                words.push(token(&entry.id.text()));
                entry.for_each(|field, value| {
                    words.extend([field, value].map(|text| token(&text.to_vec())));
                });
            }
            ("stream", words)
        }
        RdbValue::ZSet(scored) => {
            let mut members: Vec<(&[u8], f64)> = scored.iter().collect();
            members.sort_by(|one, other| one.1.total_cmp(&other.1).then(one.0.cmp(other.0)));
            let words = |(member, score): (&[u8], f64)| [token(member), score.to_string()];
            ("zset", members.into_iter().flat_map(words).collect())
        }
    };
    let deadline = entry.deadline_ms.map_or("-".to_owned(), |deadline| deadline.to_string());
    format!("{name} {deadline} {} {}", token(&entry.key), words.join(" "))
}

/// Scores are printed differently by different versions.
fn with_scores_reprinted(line: &str) -> String {
    if !line.starts_with("zset ") {
        return line.to_owned();
    }
    let words = line.split(' ').enumerate().map(|(index, word)| {
        let is_score = index >= 4 && index % 2 == 0;
        if is_score { word.parse::<f64>().unwrap().to_string() } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn dumps_of_real_servers_hold_what_those_servers_held() {
    let mut kinds = BTreeSet::new();
    for name in SAMPLES {
        let items = read(&sample(name), ReadOptions::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        kinds.extend(entries(&items).iter().map(|entry| entry.kind));
        let mut lines: Vec<String> = entries(&items).into_iter().map(transcript_line).collect();
        let transcript = std::fs::read_to_string(sample_path(&format!("{name}.txt"))).unwrap();
        let mut expected: Vec<String> = transcript.lines().map(with_scores_reprinted).collect();
        lines.sort();
        expected.sort();
        assert!(expected.len() > 2, "{name} is not empty");
        assert_eq!(lines, expected, "{name}");
        let without = name == "redis-2.4.18" || name == "redis-7.0.15-plain";
        let state = if without { ChecksumState::Absent } else { ChecksumState::Verified };
        assert_eq!(end_state(&items), state, "{name}");
    }
    let expected = [
        kind::STRING,
        kind::LIST,
        kind::SET,
        kind::ZSET_DECIMAL,
        kind::HASH,
        kind::ZSET,
        kind::HASH_ZIPMAP,
        kind::LIST_ZIPLIST,
        kind::SET_INTSET,
        kind::ZSET_ZIPLIST,
        kind::HASH_ZIPLIST,
        kind::LIST_QUICKLIST,
        kind::HASH_LISTPACK,
        kind::ZSET_LISTPACK,
        kind::LIST_QUICKLIST_2,
        kind::SET_LISTPACK,
    ];
    assert_eq!(kinds, expected.into_iter().collect(), "the samples cover every encoding");
}

#[test]
fn a_library_of_functions_of_redis_is_read() {
    let items = read(&sample("function"), ReadOptions::default()).unwrap();
    let code = items.iter().find_map(|item| match item {
        Item::Function { code } => Some(String::from_utf8(code.clone()).unwrap()),
        _ => None,
    });
    assert!(code.unwrap().starts_with("#!lua name="));
}

#[test]
fn dumps_with_what_is_not_supported_are_refused_by_name() {
    for (name, message) in [
        ("refused-database", "keys of database 3, which this server does not have"),
        ("refused-valkey-9.1.2", "at byte 0: a dump in the format of Valkey 9 or newer"),
    ] {
        let error = read(&sample(name), ReadOptions::default()).expect_err(name).to_string();
        assert!(error.contains(message), "{name}: {error}");
        assert!(error.starts_with("at byte "), "{name}: {error}");
    }
}

#[test]
fn streams_of_redis_are_read_whole_and_come_back() {
    let bytes = sample("redis-7.0.15-streams");
    let mut reader = RdbReader::new(&bytes[..], bytes.len() as u64, UNCHECKED).unwrap();
    let mut found = BTreeMap::new();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Entry(Entry { key, value: RdbValue::Stream(stream), .. }) = item {
            found.insert(key, stream);
        }
    }
    let shown = found.values().map(|stream| {
        let pending: usize = stream.groups().map(|group| group.pending().len()).sum();
        let consumers: usize = stream.groups().map(Group::consumer_count).sum();
        (stream.entries.len(), stream.groups().len(), consumers, pending)
    });
    assert_eq!(shown.collect::<Vec<_>>(), [(1, 0, 0, 0), (32, 2, 4, 21), (0, 1, 0, 0)]);
    let records: Vec<Record> =
        found.into_iter().map(|(key, stream)| (key, None, RdbValue::Stream(stream))).collect();
    for packed in [false, true] {
        let file = write(&records, packed, true);
        let mut reader =
            RdbReader::new(&file[..], file.len() as u64, ReadOptions::default()).unwrap();
        let mut again = Vec::new();
        while let Some(item) = reader.next_item().unwrap() {
            if let Item::Entry(Entry { key, value, .. }) = item {
                again.push((key, None, value));
            }
        }
        assert_eq!(again, records);
    }
}

/// The listpack of a block with the entry `a b`.
const LISTPACK: &[u8] =
    b"\x20\0\0\0\x0A\0\x01\x01\0\x01\x01\x01\x81a\x02\0\x01\x02\x01\0\x01\0\x01\x81b\x02\
                          \x04\x01\xFF";

#[test]
fn streams_that_contradict_themselves_are_refused() {
    let mut listpack = LISTPACK.to_vec();
    listpack[0] = listpack.len() as u8;
    let id = StreamId::new(1, 1).to_bytes();
    let head = [&b"\x0F\x01k\x01\x10"[..], &id, &[listpack.len() as u8], &listpack].concat();
    let body = |rest: &[u8]| [&head[..], rest].concat();
    let group = |rest: &[u8]| [&head[..], b"\x01\x01\x01\x01\x01g\x01\x01", rest].concat();
    let pending = [&id[..], &[0; 8], &[1]].concat();
    let good = group(&[&b"\x01"[..], &pending, b"\x01\x01c", &[0; 8], b"\x01", &id].concat());
    let outcome = read(&file_of(&good), UNCHECKED);
    assert!(outcome.is_ok(), "{:?}", outcome.err());
    let cases: [(&str, Vec<u8>); 9] = [
        ("the number of entries is not the one stated", body(b"\x02\x01\x01\0")),
        ("the last id is below that of an entry", body(b"\x01\x01\0\0")),
        ("an entry is pending for no consumer", group(&[&b"\x01"[..], &pending, b"\0"].concat())),
        ("an entry is pending twice", group(&[&b"\x02"[..], &pending, &pending, b"\0"].concat())),
        ("but not in its group", group(&[&b"\0\x01\x01c"[..], &[0; 8], b"\x01", &id].concat())),
        (
            "two consumers of a group have one name",
            group(&[&b"\0\x02\x01c"[..], &[0; 8], b"\0\x01c", &[0; 8], b"\0"].concat()),
        ),
        (
            "two groups have one name",
            [&head[..], b"\x01\x01\x01\x02\x01g\0\0\0\0\x01g\0\0\0\0"].concat(),
        ),
        ("the id of a block has not 16 bytes", b"\x0F\x01k\x01\x01x\x01y0123456789012345".to_vec()),
        ("elements cannot be in", b"\x0F\x01k\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF".to_vec()),
    ];
    for (message, body) in cases {
        let error = refusal(&body).to_string();
        assert!(error.contains(", key \"k\": ") && error.contains(message), "{error}");
    }
    for at in 0..listpack.len() {
        for byte in [0, 1, 0x7F, 0x80, 0xC0, 0xF0, 0xF4, 0xFF, listpack[at] ^ 1] {
            let mut changed = good.clone();
            changed[head.len() - listpack.len() + at] = byte;
            drop(read(&file_of(&changed), UNCHECKED));
        }
    }
}

#[test]
fn deadlines_of_fields_are_read_in_both_forms() {
    let mut found = BTreeMap::new();
    for name in ["redis-7.4.1-fields", "redis-8.2.3-fields"] {
        let items = read(&sample(name), ReadOptions::default()).unwrap();
        for entry in entries(&items) {
            if let RdbValue::Hash(pairs) = &entry.value {
                let deadlines = pairs.deadlines_ms.iter().copied();
                let fields =
                    pairs.iter().zip(deadlines).map(|((field, _), ms)| (field.to_vec(), ms));
                found.insert((entry.kind, entry.key.clone()), fields.collect::<BTreeMap<_, _>>());
            }
        }
    }
    let of = |kind: u8, key: &str| &found[&(kind, key.as_bytes().to_vec())];
    let small = of(kind::HASH_LISTPACK_DEADLINES, "small");
    let field = |name: &str| name.as_bytes().to_vec();
    assert_eq!(small[&field("a")], 4_000_000_000_001);
    assert_eq!((small[&field("b")], small[&field("c")]), (0, 4_000_000_000_500));
    let large = of(kind::HASH_DEADLINES, "large");
    assert_eq!((large.len(), large[&field("f1")]), (600, 0));
    assert_eq!(large[&field("f598")], 4_000_000_000_000);
    assert_eq!(large[&field("f599")], 4_100_000_000_000);
    assert!(found.keys().any(|(_, key)| key == b"a hash"));
}

#[test]
fn another_database_is_read_where_there_is_one() {
    let options = ReadOptions { database_count: 4, ..ReadOptions::default() };
    let items = read(&sample("refused-database"), options).unwrap();
    assert!(items.contains(&Item::SelectDb(3)));
    assert_eq!(entries(&items).len(), 2);
}

/// The bytes of the example in docs/dump-format.md.
fn documented_dump() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/dump-format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let example = text.split("```").nth(1).unwrap();
    let is_byte = |word: &&str| {
        word.len() == 2 && word.bytes().all(|c| matches!(c, b'0'..=b'9' | b'A'..=b'F'))
    };
    let bytes = example.lines().flat_map(|line| line.split(' ').take_while(is_byte));
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_documented_dump_is_what_is_written_and_read() {
    let mut bytes = Vec::new();
    let mut packer = Packer::new();
    encode_header(&mut bytes, &Header { used_memory_bytes: 0, ..header() });
    encode_database(&mut bytes, 0, Some(Sizes { keys: 4, deadlines: 1 }));
    let prefix = |bytes: &mut Vec<u8>, kind, deadline_ms, key: &str| {
        encode_deadline(bytes, deadline_ms);
        encode_key_prefix(bytes, kind, key.as_bytes(), None);
    };
    prefix(&mut bytes, WrittenType::String, None, "key");
    encode_string(&mut bytes, b"value", None);
    prefix(&mut bytes, WrittenType::String, Some(1_699_000_000_512), "n");
    encode_string(&mut bytes, b"12345", None);
    prefix(&mut bytes, WrittenType::List, None, "list");
    encode_length(&mut bytes, 2);
    encode_string(&mut bytes, b"a", None);
    encode_string(&mut bytes, b"7", None);
    prefix(&mut bytes, WrittenType::Hash, None, "hash");
    encode_length(&mut bytes, 1);
    encode_string(&mut bytes, b"field", None);
    encode_string(&mut bytes, &[b'x'; 100], Some(&mut packer));
    encode_end(&mut bytes);
    let mut writer = ChecksumWriter::new(Vec::new(), true);
    writer.write_all(&bytes).unwrap();
    let written = writer.finish().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(" ");
    assert_eq!(hex(&documented_dump()), hex(&written));
    let options = ReadOptions::default();
    let mut reader = RdbReader::new(&written[..], written.len() as u64, options).unwrap();
    let mut keys = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Entry(entry) = item {
            keys.push((entry.key, entry.deadline_ms));
        }
    }
    let expected = [("key", None), ("n", Some(1_699_000_000_512)), ("list", None), ("hash", None)];
    assert_eq!(keys, expected.map(|(key, ms)| (key.as_bytes().to_vec(), ms)));
}
