//! The integration tests, one binary: real sockets against a server in this process.
//!
//! One binary because every further file in `tests/` is linked again with the whole library.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected has to fail loudly"
)]

mod blocking;
mod ceiling;
mod client;
mod commands;
mod concurrency;
mod config_file;
mod crash;
mod damaged;
mod differential;
mod expiry;
mod faults;
mod harness;
mod large;
mod limits;
mod linearizability;
mod many;
mod notifications;
mod operation;
mod panics;
mod persistence;
mod protocol;
mod regressions;
mod samples;
mod script_locks;
mod scripts;
mod storms;
mod streams;
mod stress;

use my_redis::util::allocator::CountingAllocator;

/// That of the server: limits of memory are about what it counts.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
