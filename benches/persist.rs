//! Saving and loading: how fast values are encoded, a million keys are saved and loaded again, and
//! how long the walk of a save holds a lock.
//!
//! The dump goes to the folder of temporary files, so the disk below it is part of `save`; what is
//! written is synced, as always. The walker's longest hold is printed for small strings, and for
//! strings of 8 KB, the largest that live beside their key and the most that a segment can hold.

#![allow(clippy::unwrap_used, reason = "a benchmark that meets the unexpected has to stop")]

use criterion::{BatchSize, Criterion, Throughput};
use my_redis::keyspace::{AfterUnlock, Keyspace, NewDeadline, Uses};
use my_redis::persist::dump::{self, DumpOptions, SaveControl, Saved};
use my_redis::persist::functions::NoFunctions;
use my_redis::persist::load::{self, LoadProgress};
use my_redis::persist::lzf::Packer;
use my_redis::persist::write;
use my_redis::util::clock::UnixMillis;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

// As in the server: a key is an allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 1_000_000;
const LARGE_KEYS: usize = 50_000;
const LARGE_VALUE_BYTES: usize = 8_000;
const ENCODED_VALUES: usize = 1_000;
const SHARDS: usize = 64;
const NOW: UnixMillis = UnixMillis(1_000_000);
const PACKED: DumpOptions =
    DumpOptions { compress: true, checksum: true, aside_bytes_max: u64::MAX, uses: None };
const PLAIN: DumpOptions =
    DumpOptions { compress: false, checksum: true, aside_bytes_max: u64::MAX, uses: None };

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bench-persist-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _kept_by_the_system = std::fs::remove_dir_all(&self.0);
    }
}

/// Text that packs about as well as JSON does.
fn text(bytes: usize, seed: usize) -> Vec<u8> {
    let words = (seed..).map(|n| format!("{{\"id\":{},\"name\":\"user\"}}", n * 7919));
    words.flat_map(String::into_bytes).take(bytes).collect()
}

fn filled(keys: usize, value: impl Fn(usize) -> Vec<u8>) -> Keyspace {
    let keyspace = Keyspace::new(SHARDS);
    let mut after = AfterUnlock::default();
    for n in 0..keys {
        let (key, value) = (format!("key:{n:012}"), value(n));
        keyspace
            .write(keyspace.locate(key.as_bytes()), NOW, &mut after, |view| {
                view.set_string(&value, NewDeadline::Set(None));
            })
            .unwrap();
    }
    keyspace
}

fn save(keyspace: &Keyspace, path: &Path, options: &DumpOptions) -> Saved {
    dump::save(keyspace, &NoFunctions, path, options, &SaveControl::default()).unwrap()
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for bytes in [16, 100, 1_000, 8_000] {
        let values: Vec<Vec<u8>> = (0..ENCODED_VALUES).map(|n| text(bytes, n)).collect();
        group.throughput(Throughput::Bytes((bytes * ENCODED_VALUES) as u64));
        for (name, packs) in [("plain", false), ("packed", true)] {
            let mut packer = packs.then(Packer::new);
            let mut out = Vec::new();
            group.bench_function(format!("{name}, {bytes} bytes"), |b| {
                b.iter(|| {
                    out.clear();
                    for value in &values {
                        write::encode_string(&mut out, black_box(value), packer.as_mut());
                    }
                });
            });
        }
    }
    group.finish();
}

fn save_and_load(criterion: &mut Criterion, folder: &Path) {
    let path = folder.join("dump.my_rdb");
    let keyspace = filled(KEYS, |n| text(100, n));
    let mut group = criterion.benchmark_group("1000000 keys");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(KEYS as u64));
    for (name, options) in [("save, plain", PLAIN), ("save, packed", PACKED)] {
        group.bench_function(name, |b| b.iter(|| black_box(save(&keyspace, &path, &options))));
    }
    group.bench_function("load, packed", |b| {
        b.iter_batched(
            || Keyspace::new(SHARDS),
            |keyspace| {
                let progress = LoadProgress::default();
                let loaded = load::load(
                    &keyspace,
                    &path,
                    NOW,
                    Uses::NONE,
                    &progress,
                    &AtomicBool::new(false),
                    |_| (),
                )
                .unwrap();
                assert_eq!(loaded.map(|loaded| loaded.keys), Some(KEYS as u64));
                keyspace
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn longest_holds(folder: &Path) {
    let path = folder.join("hold.my_rdb");
    let kinds: [(&str, Keyspace); 2] = [
        ("1,000,000 strings of 100 bytes", filled(KEYS, |n| text(100, n))),
        ("50,000 strings of 8,000 bytes", filled(LARGE_KEYS, |n| text(LARGE_VALUE_BYTES, n))),
    ];
    for (name, keyspace) in &kinds {
        for (how, options) in [("plain", PLAIN), ("packed", PACKED)] {
            let saves = (0..3).map(|_| save(keyspace, &path, &options));
            let hold = saves.map(|saved| saved.longest_hold_micros).min().unwrap();
            println!("figure: longest hold of the walker, {name}, {how}: {hold} us");
        }
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let folder = Folder::new();
    longest_holds(&folder.0);
    encode(&mut criterion);
    save_and_load(&mut criterion, &folder.0);
    criterion.final_summary();
}
