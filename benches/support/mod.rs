//! What the benches that run whole servers share: starting one, filling it, loading it, reading its
//! figures, and noting them down.

#![allow(dead_code, unused_imports, reason = "each bench uses its own part")]

pub mod bare;
pub mod client;
pub mod figure;
pub mod load;
pub mod options;
pub mod probe;
pub mod record;
pub mod server;

pub use client::{Client, Pipe};
pub use options::{Common, main};
pub use record::{Record, Rounds};
pub use server::{Server, pinned};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::Path;
use std::process::Command;

/// What can go wrong here ends the bench with a line.
pub type Outcome<T> = Result<T, String>;

/// The release build of this server.
pub const OURS: &str = env!("CARGO_BIN_EXE_my_redis_server");

/// Reads a positive number of the command line.
pub fn number(text: &str) -> Outcome<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("not a positive number: {text}")),
    }
}

/// An error of the system as a line.
pub fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// A request as bytes.
pub fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The middle of some values.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    (upper + lower) / 2.0
}

/// Binds this process, and what it starts, to a core.
pub fn pin_self(core: &str) {
    output_of("taskset", &["-p", "-c", core, &std::process::id().to_string()]);
}

/// Lets this process, and the servers that it starts, open as many files as the system allows.
pub fn allow_connections(connections: usize) -> Outcome<()> {
    let failed = |error: nix::Error| format!("limit of open files: {error}");
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if most < connections as u64 {
        return Err(format!("{most} files may be open, {connections} are needed: ulimit -Hn"));
    }
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(failed)
}

/// What a program prints, without blanks around it.
pub fn output_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The programs that a measurement calls must be there.
pub fn check_programs(common: &Common) -> Outcome<()> {
    let mut needed = vec![
        (common.redis.as_path(), "redis-server"),
        (Path::new("redis-benchmark"), "redis-tools"),
        (Path::new("taskset"), "util-linux"),
    ];
    needed.extend(common.redis8.as_deref().map(|program| (program, "redis-server")));
    for (program, package) in needed {
        Command::new(program).arg("--version").output().map_err(|e| {
            format!("{}: {e}; install the Debian package {package}", program.display())
        })?;
    }
    Ok(())
}
