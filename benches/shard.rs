//! Threads on shards: operations a second through the doors of the keyspace, without a network.
//!
//! One and two threads (or as many as there are cores) take random keys on 1, 16 and 64 shards,
//! with 0, 50, 90 and 100 % of reads. What is measured is the time in which all threads together
//! have done their share, so the throughput is that of the machine and not of a thread.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that meets the unexpected has to stop"
)]

use criterion::{Criterion, Throughput};
use my_redis::keyspace::{AfterUnlock, Keyspace, NewDeadline, ReadView, Tally};
use my_redis::util::clock::UnixMillis;
use my_redis::util::random::Random;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

// As in the server: a key is an allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 100_000;
const SHARDS: [usize; 3] = [1, 16, 64];
const READ_PERCENTS: [u64; 4] = [0, 50, 90, 100];
/// Operations of each thread in one iteration.
const OPERATIONS: u64 = 10_000;
const NOW: UnixMillis = UnixMillis(1_000_000);
const VALUE: &[u8] = b"0123456789abcdef";

fn value_len(view: &ReadView<'_>) -> usize {
    view.string().unwrap().map_or(0, |value| black_box(value.bytes()).len())
}

fn work(keyspace: &Keyspace, names: &[Vec<u8>], read_percent: u64, operations: u64, seed: u64) {
    let mut random = Random::new(seed);
    let (mut after, tally) = (AfterUnlock::default(), Tally::default());
    for _ in 0..operations {
        let number = random.next_bits();
        let key = &names[(number >> 32) as usize % KEYS];
        if number % 100 < read_percent {
            black_box(keyspace.read(keyspace.locate(key), NOW, &tally, value_len)).unwrap();
        } else {
            keyspace
                .write(keyspace.locate(key), NOW, &mut after, |view| {
                    view.set_string(VALUE, NewDeadline::Set(None));
                })
                .unwrap();
        }
    }
}

/// The time in which `threads` threads do `iterations` times their share.
fn together(
    keyspace: &Keyspace,
    names: &[Vec<u8>],
    threads: usize,
    read_percent: u64,
    iterations: u64,
) -> Duration {
    let start = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads as u64)
            .map(|number| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    work(keyspace, names, read_percent, OPERATIONS * iterations, number);
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        began.elapsed()
    })
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let names: Vec<Vec<u8>> = (0..KEYS).map(|n| format!("key:{n:012}").into_bytes()).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1];
    threads.extend((cores > 1).then_some(cores));
    for shards in SHARDS {
        let keyspace = Keyspace::new(shards);
        work(&keyspace, &names, 0, 20 * KEYS as u64, 1);
        let mut group = criterion.benchmark_group(format!("{shards} shards"));
        for &threads in &threads {
            group.throughput(Throughput::Elements(OPERATIONS * threads as u64));
            for percent in READ_PERCENTS {
                group.bench_function(format!("{threads} threads, {percent} % reads"), |b| {
                    b.iter_custom(|iterations| {
                        together(&keyspace, &names, threads, percent, iterations)
                    });
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}
