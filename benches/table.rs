//! One table and one keyspace on one thread: what a key costs to add, find, miss and remove.
//!
//! `table` is the segmented table alone, `keyspace` the same behind a shard's lock with an entry
//! that holds key and value. Keys are taken in an order that has nothing to do with their places,
//! because a walk in table order would measure the cache. With a million keys nearly every step
//! waits for memory; `ahead` shows what looking up a pipeline's keys together gains.
//!
//! Before the measurements it prints the longest single insert while a table grows to a million
//! keys: the reason why the table grows one segment at a time. The machine's own interruptions
//! are in that figure, so the smallest of a few runs is printed. The same for SET while the whole
//! keyspace grows to ten million keys, by the clock of the thread as well, which stands still while
//! something else has the core.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that meets the unexpected has to stop"
)]

use criterion::{BatchSize, Criterion, Throughput};
use my_redis::data::segmented::{Hashed, OwnedTable};
use my_redis::keyspace::{AfterUnlock, Keyspace, LOOK_AHEAD_MAX, NewDeadline, Tally, WriteView};
use my_redis::util::clock::UnixMillis;
use my_redis::util::hash::KeyHash;
use std::hint::black_box;
use std::time::{Duration, Instant};

// As in the server: a key is an allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 2] = [10_000, 1_000_000];
/// Keys that one measured step touches.
const STEP_KEYS: usize = 1_024;
const SHARDS: usize = 64;
const NOW: UnixMillis = UnixMillis(1_000_000);
const VALUE: &[u8] = b"0123456789abcdef";
/// A stride that is prime to every size, to take keys out of order.
const STRIDE: usize = 7_368_787;
const GROWTH_RUNS: usize = 15;
const KEYSPACE_KEYS: usize = 10_000_000;
/// No SET is to take longer.
const LONG: Duration = Duration::from_millis(1);

#[derive(Clone, Default)]
struct Number(u64);

impl Hashed for Number {
    fn hash(&self) -> KeyHash {
        KeyHash::of_key(&self.0.to_le_bytes())
    }
    fn heap_bytes(&self) -> usize {
        0
    }
}

type Table = OwnedTable<Number>;

fn table_of(count: usize) -> Table {
    let mut table = Table::new(0, 0);
    for n in 0..count as u64 {
        table.insert_new(Number(n).hash(), Number(n));
    }
    table
}

/// Numbers below `count` without end, out of order.
fn shuffled(count: usize) -> impl FnMut() -> usize {
    let mut at = 0;
    move || {
        at = (at + STRIDE) % count;
        at
    }
}

fn longest_insert() {
    let grow = || {
        let mut table = Table::new(0, 0);
        let mut times: Vec<Duration> = Vec::with_capacity(1_000_000);
        for n in 0..1_000_000 {
            let hash = Number(n).hash();
            let began = Instant::now();
            table.insert_new(hash, Number(n));
            times.push(began.elapsed());
        }
        times.sort_unstable();
        (times[times.len() - 1], times[times.len() / 10_000 * 9_999])
    };
    let (longest, p9999) = (0..GROWTH_RUNS).map(|_| grow()).min().unwrap_or_default();
    println!(
        "figure: longest insert while growing to 1,000,000 keys: {longest:?}, p99.99 {p9999:?}"
    );
}

/// The time for which this thread had a core, system calls and page faults included.
fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

fn longest_set() {
    let keyspace = Keyspace::new(SHARDS);
    let mut after = AfterUnlock::default();
    let (mut longest, mut longest_of_thread) = (Duration::ZERO, Duration::ZERO);
    let (mut longer, mut longer_of_thread) = (0, 0);
    for n in 0..KEYSPACE_KEYS {
        let name = format!("key:{n:012}");
        let (began, thread_began) = (Instant::now(), thread_time());
        let key = keyspace.locate(name.as_bytes());
        let set = |view: &mut WriteView<'_>| view.set_string(VALUE, NewDeadline::Set(None));
        keyspace.write(key, NOW, &mut after, set).unwrap();
        let (of_thread, took) = (thread_time() - thread_began, began.elapsed());
        longest = longest.max(took);
        longest_of_thread = longest_of_thread.max(of_thread);
        longer += usize::from(took > LONG);
        longer_of_thread += usize::from(of_thread > LONG);
    }
    println!(
        "figure: longest SET while growing to {KEYSPACE_KEYS} keys: {longest:?}, on the core \
         {longest_of_thread:?}; longer than {LONG:?}: {longer}, on the core {longer_of_thread}"
    );
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(STEP_KEYS as u64));
    for size in SIZES {
        let mut table = table_of(size);
        let mut next = shuffled(size);
        let mut find = |table: &Table, offset: u64| {
            let number = next() as u64 + offset;
            table.get(Number(number).hash(), |entry| entry.0 == number).is_some()
        };
        group.bench_function(format!("hit, {size} keys"), |b| {
            b.iter(|| (0..STEP_KEYS).for_each(|_| assert!(find(&table, 0))));
        });
        group.bench_function(format!("miss, {size} keys"), |b| {
            b.iter(|| (0..STEP_KEYS).for_each(|_| assert!(!find(&table, size as u64))));
        });
        let mut first = size as u64;
        group.bench_function(format!("insert and delete, {size} keys"), |b| {
            b.iter(|| {
                for number in first..first + STEP_KEYS as u64 {
                    table.insert_new(Number(number).hash(), Number(number));
                    let old = number - size as u64;
                    let slot = table.find(Number(old).hash(), |entry| entry.0 == old);
                    black_box(slot.and_then(|slot| table.remove(slot)));
                }
                first += STEP_KEYS as u64;
            });
        });
    }
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("grow to 100000 keys", |b| {
        b.iter_batched(|| (), |()| table_of(100_000), BatchSize::LargeInput);
    });
    group.finish();
}

fn names(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("key:{n:012}").into_bytes()).collect()
}

fn set(keyspace: &Keyspace, key: &[u8], after: &mut AfterUnlock) {
    keyspace
        .write(keyspace.locate(key), NOW, after, |view| {
            view.set_string(VALUE, NewDeadline::Set(None))
        })
        .unwrap();
}

/// Reads one key as GET does; true when it is there.
fn is_there(keyspace: &Keyspace, key: &[u8], tally: &Tally) -> bool {
    let value_len = |view: &my_redis::keyspace::ReadView<'_>| {
        view.string().ok().flatten().map(|value| black_box(value.bytes()).len())
    };
    keyspace.read(keyspace.locate(key), NOW, tally, value_len).unwrap().is_some()
}

fn keyspace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keyspace");
    group.throughput(Throughput::Elements(STEP_KEYS as u64));
    for size in SIZES {
        let keyspace = Keyspace::new(SHARDS);
        let (names, absent) = (names(size), format!("absent:{size:012}").into_bytes());
        let (mut after, tally) = (AfterUnlock::default(), Tally::default());
        names.iter().for_each(|key| set(&keyspace, key, &mut after));
        let mut next = shuffled(size);
        group.bench_function(format!("get, {size} keys"), |b| {
            b.iter(|| {
                (0..STEP_KEYS).for_each(|_| assert!(is_there(&keyspace, &names[next()], &tally)));
            });
        });
        group.bench_function(format!("get, ahead, {size} keys"), |b| {
            b.iter(|| {
                for _ in 0..STEP_KEYS / LOOK_AHEAD_MAX {
                    let batch: [usize; LOOK_AHEAD_MAX] = std::array::from_fn(|_| next());
                    keyspace.look_ahead(0, &batch.map(|n| KeyHash::of_key(&names[n])));
                    batch.iter().for_each(|n| assert!(is_there(&keyspace, &names[*n], &tally)));
                }
            });
        });
        group.bench_function(format!("get, absent, {size} keys"), |b| {
            let mut key = absent.clone();
            b.iter(|| {
                for n in 0..STEP_KEYS {
                    key[..2].copy_from_slice(&(n as u16).to_le_bytes());
                    assert!(!is_there(&keyspace, &key, &tally));
                }
            });
        });
        group.bench_function(format!("set again, {size} keys"), |b| {
            b.iter(|| (0..STEP_KEYS).for_each(|_| set(&keyspace, &names[next()], &mut after)));
        });
        group.bench_function(format!("delete and set, {size} keys"), |b| {
            b.iter(|| {
                for _ in 0..STEP_KEYS {
                    let key = &names[next()];
                    assert!(
                        keyspace
                            .write(keyspace.locate(key), NOW, &mut after, |view| view.remove())
                            .unwrap()
                    );
                    set(&keyspace, key, &mut after);
                }
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        println!("with huge pages, other than in the server: {error}");
    }
    longest_insert();
    longest_set();
    table(&mut criterion);
    keyspace(&mut criterion);
    criterion.final_summary();
}
