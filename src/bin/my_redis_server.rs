//! my_redis_server: options, then the server.

use my_redis::server::options::Options;
use std::process::ExitCode;
use structopt::StructOpt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::from_args();
    tracing_subscriber::fmt().with_target(false).with_writer(std::io::stderr).init();
    my_redis::server::run(options.into_start_options())
}
