//! Loading on several threads gives what reading the file in order gives: the same keys, or the same
//! fault at the same place. Blocks are made tiny here, so that small files have many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::data::{Stream, ValueRef};
use crate::keyspace::{Keyspace, Uses};
use crate::persist::error::RdbError;
use crate::persist::error::Reason;
use crate::persist::load::LoadError;
use crate::persist::load::LoadOptions;
use crate::persist::load::LoadProgress;
use crate::persist::load::Loaded;
use crate::persist::load::load;
use crate::persist::load::load_with;
use crate::persist::payload;
use crate::persist::read::Item;
use crate::persist::read::RdbReader;
use crate::persist::read::ReadOptions;
use crate::persist::source::BUFFER_BYTES;
use crate::persist::tests::Random;
use crate::persist::tests::Record;
use crate::persist::tests::SAMPLES;
use crate::persist::tests::file_of;
use crate::persist::tests::noise;
use crate::persist::tests::sample;
use crate::persist::tests::text;
use crate::persist::tests::value;
use crate::persist::tests::write;
use crate::persist::value::DuplicateFinder;
use crate::persist::value::Elements;
use crate::persist::value::Pairs;
use crate::persist::value::RdbValue;
use crate::persist::value::Scored;
use crate::util::clock::UnixMillis;

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

const NOW: UnixMillis = UnixMillis(1_000);
const SHARDS: usize = 4;

/// Every number of threads and size of block that makes a difference.
const WAYS: [LoadOptions; 5] = [
    way(0, BUFFER_BYTES, 1),
    way(1, 256, 1),
    way(2, 300, 100),
    way(3, 512, 1),
    way(4, 5_000, 1_000),
];

const fn way(workers_max: usize, block_bytes: usize, part_bytes: usize) -> LoadOptions {
    let uses = Uses::NONE;
    LoadOptions { workers_max, block_bytes, part_bytes, verify_checksum: true, uses }
}

/// A file that is removed at the end.
struct TestFile(PathBuf);

impl TestFile {
    fn new(content: &[u8]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("load-test-{}-{number}.rdb", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(content);
        file
    }

    fn write(&self, content: &[u8]) {
        std::fs::write(&self.0, content).unwrap();
    }

    fn load(&self, options: LoadOptions) -> (Keyspace, Result<Loaded, RdbError>) {
        let keyspace = Keyspace::new(SHARDS);
        let (progress, cancelled) = (LoadProgress::default(), AtomicBool::new(false));
        let loaded = load_with(options, &keyspace, &self.0, NOW, &progress, &cancelled, |_| ());
        let loaded = match loaded {
            Ok(loaded) => Ok(loaded.expect("the file is there")),
            Err(LoadError::Refused(_, error)) => Err(error),
            Err(other) => panic!("{other}"),
        };
        (keyspace, loaded)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// A key with its deadline, and its value as a list of strings, those of hashes sorted.
type Content = BTreeMap<Vec<u8>, (Option<i64>, Vec<Vec<u8>>)>;

fn content(keyspace: &Keyspace) -> Content {
    let mut content = Content::new();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = keyspace
            .scan(0, from, 1_000, NOW, |entry| {
                let value = match entry.value() {
                    ValueRef::String(string) => vec![string.bytes().to_vec()],
                    ValueRef::List(list) => {
                        let mut elements = Vec::new();
                        list.for_each(0, usize::MAX, |element| elements.push(element.to_vec()));
                        elements
                    }
                    ValueRef::Hash(hash) => {
                        let mut pairs = Vec::new();
                        hash.for_each(|field, value| pairs.push((field.to_vec(), value.to_vec())));
                        sorted(pairs)
                    }
                    ValueRef::Set(set) => {
                        let mut members = Vec::new();
                        set.for_each(|member| members.push((member.to_vec(), Vec::new())));
                        sorted(members)
                    }
                    ValueRef::Stream(stream) => vec![dumped(stream)],
                    ValueRef::SortedSet(set) => {
                        let mut members = Vec::new();
                        set.for_all(|member, score| {
                            members.push((member.to_vec(), bytes_of(score)));
                        });
                        sorted(members)
                    }
                };
                let deadline_ms = entry.deadline().map(|deadline| deadline.0);
                assert!(content.insert(entry.key().to_vec(), (deadline_ms, value)).is_none());
            })
            .unwrap();
    }
    content
}

/// All that is in a stream.
fn dumped(stream: &Stream) -> Vec<u8> {
    payload::encode(ValueRef::Stream(stream), None, false)
}

/// -0 and 0 are the same score.
fn bytes_of(score: f64) -> Vec<u8> {
    (score + 0.0).to_le_bytes().to_vec()
}

fn sorted(mut pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Vec<u8>> {
    pairs.sort_unstable();
    pairs.into_iter().flat_map(|(field, value)| [field, value]).collect()
}

/// What the file holds, read item by item.
fn read_in_order(file: &[u8]) -> Result<Content, RdbError> {
    // As in loading, a value that is left out is not looked at.
    let options = ReadOptions { check_duplicates: false, ..ReadOptions::default() };
    let mut reader = RdbReader::new(file, file.len() as u64, options)?;
    let mut content = Content::new();
    while let Some(item) = reader.next_item()? {
        let Item::Entry(entry) = item else {
            continue;
        };
        if entry.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= NOW.0) {
            continue;
        }
        let fault =
            |reason| Err(RdbError { offset: entry.offset, key: Some(entry.key.clone()), reason });
        if let Some(element) = DuplicateFinder::new().find(&entry.value) {
            return fault(Reason::Duplicate(element.to_vec()));
        }
        let value = match &entry.value {
            RdbValue::String(bytes) => vec![bytes.clone()],
            RdbValue::List(elements) => elements.iter().map(<[u8]>::to_vec).collect(),
            RdbValue::Hash(pairs) => sorted(
                pairs.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect(),
            ),
            RdbValue::Set(members) => {
                sorted(members.iter().map(|member| (member.to_vec(), Vec::new())).collect())
            }
            RdbValue::Stream(stream) => vec![dumped(stream)],
            RdbValue::ZSet(scored) => {
                let pair = |(member, score): (&[u8], f64)| (member.to_vec(), bytes_of(score));
                sorted(scored.iter().map(pair).collect())
            }
        };
        if content.insert(entry.key.clone(), (entry.deadline_ms, value)).is_some() {
            return fault(Reason::DuplicateKey);
        }
    }
    Ok(content)
}

/// Holds loading in every way against reading in order; returns whether the file was good.
fn compare(path: &TestFile, file: &[u8], ways: &[LoadOptions]) -> bool {
    path.write(file);
    let expected = read_in_order(file);
    for way in ways {
        let (keyspace, loaded) = path.load(*way);
        match (&expected, loaded) {
            (Ok(expected), Ok(loaded)) => {
                assert_eq!(&content(&keyspace), expected, "{way:?}");
                assert_eq!(loaded.keys, expected.len() as u64, "{way:?}");
            }
            (Err(expected), Err(error)) => {
                // Of a long value the parts are put in before the rest turns out to be damaged.
                let is_found_earlier = matches!(error.reason, Reason::Duplicate(_))
                    && error.key == expected.key
                    && error.offset < expected.offset;
                if !is_found_earlier {
                    assert_eq!(error.to_string(), expected.to_string(), "{way:?}");
                }
            }
            (expected, loaded) => panic!("{way:?}: {expected:?} but {loaded:?}"),
        }
    }
    expected.is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_way_of_loading_gives_what_reading_in_order_gives(
        records in vec((text(), proptest::option::of(0..5_000_i64), value()), 0..60),
        packed: bool,
    ) {
        // Keys are often there twice.
        let file = write(&records, packed, true);
        compare(&TestFile::new(&[]), &file, &WAYS);
    }

    #[test]
    fn a_value_longer_than_a_block_is_put_together_from_its_parts(
        list in vec(text(), 100..1_500),
        fields in proptest::collection::btree_set(text(), 30..900),
        small in vec((text(), text()), 0..20),
    ) {
        let mut scored = Scored::default();
        fields.iter().zip(0..).for_each(|(member, n)| scored.push(member, f64::from(n % 50)));
        let mut pairs = Pairs::default();
        fields.iter().for_each(|field| pairs.push(field, b"value"));
        let mut records: Vec<Record> = vec![
            (b"a list".to_vec(), None, RdbValue::List(list.iter().collect())),
            (b"a hash".to_vec(), Some(2_000), RdbValue::Hash(pairs.clone())),
            (b"a set".to_vec(), None, RdbValue::Set(fields.iter().collect())),
            (b"a sorted set".to_vec(), None, RdbValue::ZSet(scored)),
            (b"gone".to_vec(), Some(500), RdbValue::Hash(pairs)),
        ];
        let small: BTreeMap<_, _> = small.into_iter().collect();
        records.extend(small.into_iter().map(|(k, v)| (k, None, RdbValue::String(v))));
        prop_assert!(compare(&TestFile::new(&[]), &write(&records, true, true), &WAYS));
    }
}

/// Some hundred records of every kind that is stored, each of its own form.
fn mixed_file() -> Vec<u8> {
    let mut records: Vec<Record> = Vec::new();
    for n in 0..100_u64 {
        let key = format!("key:{n}").into_bytes();
        let value = match n % 7 {
            0 => RdbValue::String(n.to_string().into_bytes()),
            1 => RdbValue::String(noise(10 + 3 * n as usize, n)),
            2 => RdbValue::String(b"packed well ".repeat(n as usize)),
            3 => RdbValue::Set((0..n + 1).map(|i| format!("member {}", i * i)).collect()),
            4 => {
                let mut scored = Scored::default();
                (0..n).for_each(|i| scored.push(format!("m{i}").as_bytes(), 0.5 * i as f64));
                RdbValue::ZSet(scored)
            }
            5 => RdbValue::List((0..n).map(|i| format!("element {i}")).collect()),
            _ => {
                let mut pairs = Pairs::default();
                (0..n / 5 + 1).for_each(|i| pairs.push(format!("f{i}").as_bytes(), b"some value"));
                RdbValue::Hash(pairs)
            }
        };
        records.push((key, (n % 3 == 0).then_some(5_000 + n as i64), value));
    }
    write(&records, true, true)
}

#[test]
fn a_damaged_file_has_the_same_fault_however_it_is_loaded() {
    let file = mixed_file();
    let mut random = Random::seeded();
    let path = TestFile::new(&[]);
    assert!(compare(&path, &file, &WAYS));
    let ways = &WAYS[1..4];
    for _ in 0..200 {
        let mut changed = file.clone();
        // Two changes: the first one in the file must be the one that is told.
        for _ in 0..2 {
            let at = random.below(file.len() as u64) as usize;
            changed[at] = random.below(256) as u8;
        }
        compare(&path, &changed, ways);
        let cut = random.below(file.len() as u64) as usize;
        assert!(!compare(&path, &file[..cut], ways));
    }
}

#[test]
fn the_samples_of_real_servers_load_the_same_in_every_way() {
    let path = TestFile::new(&[]);
    for name in SAMPLES {
        assert!(compare(&path, &sample(name), &WAYS), "{name}");
    }
}

#[test]
fn of_a_key_that_is_there_twice_the_second_place_is_told() {
    let mut records: Vec<Record> = (0..2_000)
        .map(|n| (format!("key:{n}").into_bytes(), None, RdbValue::String(noise(20, n))))
        .collect();
    // One that has expired does not count as the first.
    records[10] = (b"key:1234".to_vec(), Some(1), RdbValue::String(b"expired".to_vec()));
    records[1_999].0 = b"key:17".to_vec();
    let file = write(&records, false, true);
    let path = TestFile::new(&file);
    for _ in 0..20 {
        let error = path.load(way(4, 300, 100)).1.unwrap_err();
        assert!(matches!(error.reason, Reason::DuplicateKey), "{error}");
        assert_eq!(error.key.as_deref(), Some(&b"key:17"[..]));
        assert_eq!(error.offset, (file.len() - 9 - 1 - 7 - 21) as u64);
    }
}

#[test]
fn a_field_that_is_twice_in_a_value_of_many_parts_is_refused() {
    let mut pairs = Pairs::default();
    (0..3_000).for_each(|n| pairs.push(format!("field {n}").as_bytes(), b"value"));
    pairs.push(b"field 3", b"other");
    let mut records: Vec<Record> = vec![(b"k".to_vec(), None, RdbValue::Hash(pairs))];
    records.extend(
        (0..500)
            .map(|n| (format!("later:{n}").into_bytes(), None, RdbValue::String(noise(100, n)))),
    );
    let path = TestFile::new(&write(&records, false, true));
    for way in WAYS {
        let error = path.load(way).1.unwrap_err();
        assert!(matches!(&error.reason, Reason::Duplicate(field) if field == b"field 3"));
        assert_eq!(error.key.as_deref(), Some(&b"k"[..]));
    }
}

#[test]
fn records_that_cannot_be_given_away_take_no_more_than_linear_time() {
    // A database is chosen before every key, so that no two of them stand together.
    let mut body = Vec::new();
    for n in 0..200_000_u32 {
        body.extend_from_slice(b"\xFE\x00\x00\x04");
        body.extend_from_slice(&n.to_be_bytes());
        body.extend_from_slice(b"\x01v");
    }
    let path = TestFile::new(&file_of(&body));
    let began = std::time::Instant::now();
    let options = LoadOptions { workers_max: 2, ..LoadOptions::for_machine() };
    assert_eq!(path.load(options).1.unwrap().keys, 200_000);
    // It takes a tenth of a second; with a copy of the buffer for every record, a minute.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn progress_is_told_and_a_cancelled_load_ends_before_the_file_does() {
    let records: Vec<Record> = (0..40_000)
        .map(|n| (format!("key:{n}").into_bytes(), None, RdbValue::String(noise(100, n))))
        .collect();
    let path = TestFile::new(&write(&records, false, true));
    for workers_max in [0, 2] {
        let options = LoadOptions { workers_max, ..LoadOptions::for_machine() };
        let (keyspace, progress) = (Keyspace::new(SHARDS), LoadProgress::default());
        let cancelled = AtomicBool::new(false);
        let mut last_bytes = 0;
        let loaded =
            load_with(options, &keyspace, &path.0, NOW, &progress, &cancelled, |progress| {
                let loaded_bytes = progress.loaded_bytes.load(Ordering::Relaxed);
                assert!(loaded_bytes >= last_bytes);
                last_bytes = loaded_bytes;
                if loaded_bytes > progress.total_bytes.load(Ordering::Relaxed) / 4 {
                    cancelled.store(true, Ordering::Relaxed);
                }
            });
        assert!(matches!(loaded, Err(LoadError::Cancelled)), "{loaded:?}");
        let total_bytes = progress.total_bytes.load(Ordering::Relaxed);
        assert!(last_bytes < total_bytes * 3 / 4, "{last_bytes} of {total_bytes}");
        assert!(keyspace.len() < 40_000);
    }
    let (keyspace, progress) = (Keyspace::new(SHARDS), LoadProgress::default());
    let cancelled = AtomicBool::new(false);
    let loaded = load(&keyspace, &path.0, NOW, Uses::NONE, &progress, &cancelled, |_| ());
    let loaded = loaded.unwrap().unwrap();
    assert_eq!((loaded.keys, keyspace.len()), (40_000, 40_000));
    assert_eq!(progress.loaded_bytes.load(Ordering::Relaxed), loaded.bytes);
    assert_eq!(progress.loaded_keys.load(Ordering::Relaxed), 40_000);
}

#[test]
fn a_long_value_that_is_cut_or_damaged_is_refused_with_its_key() {
    let list: Elements = (0..5_000).map(|n| format!("element {n}")).collect();
    let file = write(&[(b"long".to_vec(), None, RdbValue::List(list))], false, true);
    let path = TestFile::new(&[]);
    for way in &WAYS[1..] {
        path.write(&file[..file.len() / 2]);
        let error = path.load(*way).1.unwrap_err();
        assert!(matches!(error.reason, Reason::Truncated { .. }), "{error}");
        assert_eq!(error.key.as_deref(), Some(&b"long"[..]));
    }
}
