//! The command line of my_redis_server.

use crate::config::StartOptions;
use std::path::PathBuf;
use structopt::StructOpt;

/// A Redis-compatible, multi-core, in-memory data structure server.
#[derive(Debug, StructOpt)]
#[structopt(name = "my_redis_server")]
pub struct Options {
    /// Port to listen on.
    #[structopt(long, default_value = "6379")]
    port: u16,
    /// Folder in which the dump is kept.
    #[structopt(long, default_value = ".", parse(from_os_str))]
    dir: PathBuf,
}

impl Options {
    /// The options of the server.
    #[must_use]
    pub fn into_start_options(self) -> StartOptions {
        StartOptions { port: self.port, dir: self.dir, ..StartOptions::default() }
    }
}
