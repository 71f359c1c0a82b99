//! Dumps on the disk, as the tests look at them.

use crate::harness::server::MANY_SHARDS;
use my_redis::data::ValueRef;
use my_redis::keyspace::{Entry, Keyspace, Uses};
use my_redis::persist::load::{LoadProgress, load};
use my_redis::util::clock::UnixMillis;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

/// The strings and the number of elements of collections in a dump.
#[track_caller]
pub fn read_dump(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let keyspace = Keyspace::new(MANY_SHARDS);
    let progress = LoadProgress::default();
    load(&keyspace, path, UnixMillis(0), Uses::NONE, &progress, &AtomicBool::new(false), |_| ())
        .expect("a good dump")
        .expect("a file");
    let mut content = BTreeMap::new();
    let mut add = |entry: &Entry| {
        let value = match entry.value() {
            ValueRef::String(value) => value.bytes().to_vec(),
            ValueRef::List(list) => list.len().to_string().into_bytes(),
            ValueRef::Hash(hash) => hash.len().to_string().into_bytes(),
            ValueRef::Set(set) => set.len().to_string().into_bytes(),
            ValueRef::SortedSet(set) => set.len().to_string().into_bytes(),
            ValueRef::Stream(stream) => stream.entries.len().to_string().into_bytes(),
        };
        content.insert(entry.key().to_vec(), value);
    };
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = keyspace.scan(0, from, 1_000, UnixMillis(0), &mut add).unwrap();
    }
    content
}

/// Fails the test unless Redis' own checker finds the dump good.
#[track_caller]
pub fn redis_accepts(path: &Path) {
    let output = Command::new("redis-check-rdb").arg(path).output();
    let output = output.expect("redis-check-rdb is needed: install the package redis-server");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("RDB looks OK"), "{text}");
}

/// The files in a folder that a save was writing when it was cut off.
pub fn strays(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".temp")).collect()
}
