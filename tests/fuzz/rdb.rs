//! Fuzz target: any bytes as a dump. They are read or refused, and loading them on several threads
//! gives what loading them in order gives.
//!
//! The checksum is not verified, else nearly every input would end there. Memory is held against the
//! bound that the loader promises, because libFuzzer's own limits see no allocation of a program
//! without sanitizers.

#![no_main]

use cap::Cap;
use libfuzzer_sys::fuzz_target;
use my_redis::keyspace::{Keyspace, Uses};
use my_redis::persist::error::{RdbError, Reason};
use my_redis::persist::load::{LoadError, LoadOptions, LoadProgress, Loaded, load_with};
use my_redis::persist::read::{RdbReader, ReadOptions};
use my_redis::util::clock::UnixMillis;
use std::alloc::System;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// More than a file of so many bytes may take, the bytes that packed strings give left aside.
const SPARE_BYTES: usize = 64 << 20;
/// LZF gives at most so many bytes for one.
const LZF_RATIO_MAX: usize = 88;

const READ: ReadOptions =
    ReadOptions { verify_checksum: false, check_duplicates: true, database_count: 16 };
const IN_ORDER: LoadOptions = LoadOptions {
    workers_max: 0,
    block_bytes: 1 << 20,
    part_bytes: 64,
    verify_checksum: false,
    uses: Uses::NONE,
};
/// With blocks so small that an input has several.
const IN_BLOCKS: LoadOptions = LoadOptions { workers_max: 2, block_bytes: 256, ..IN_ORDER };

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("my-redis-fuzz-{}.rdb", std::process::id()))
});

fn load(options: LoadOptions) -> Result<Loaded, RdbError> {
    let (keyspace, progress) = (Keyspace::new(4), LoadProgress::default());
    let cancelled = AtomicBool::new(false);
    match load_with(options, &keyspace, &FILE, UnixMillis(0), &progress, &cancelled, |_| ()) {
        Ok(loaded) => {
            let loaded = loaded.expect("the file is there");
            assert_eq!(loaded.keys, keyspace.len() as u64);
            Ok(loaded)
        }
        Err(LoadError::Refused(_, error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// Which of several faults is told depends on the order of reading when one of them is that
/// something is there twice.
fn is_told_the_same(error: &RdbError) -> bool {
    !matches!(error.reason, Reason::DuplicateKey | Reason::Duplicate(_))
}

fuzz_target!(|file: &[u8]| {
    if let Ok(mut reader) = RdbReader::new(file, file.len() as u64, READ) {
        while let Ok(Some(_)) = reader.next_item() {}
    }
    std::fs::write(&*FILE, file).expect("a file in memory");
    match (load(IN_ORDER), load(IN_BLOCKS)) {
        (Ok(in_order), Ok(in_blocks)) => {
            assert_eq!(in_order.keys, in_blocks.keys);
            assert_eq!(in_order.expired, in_blocks.expired);
        }
        (Err(in_order), Err(in_blocks)) => {
            if is_told_the_same(&in_order) && is_told_the_same(&in_blocks) {
                assert_eq!(in_order.to_string(), in_blocks.to_string());
            }
        }
        (in_order, in_blocks) => panic!("in order {in_order:?}, in blocks {in_blocks:?}"),
    }
    let bound = SPARE_BYTES + (3 + LZF_RATIO_MAX) * file.len();
    assert!(ALLOCATOR.max_allocated() < bound, "{} bytes", ALLOCATOR.max_allocated());
});
