//! my_redis_server: options, then the server.

use my_redis::server;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match server::options::from_command_line() {
        Ok(options) => {
            server::start_log();
            server::run(options)
        }
        Err(code) => code,
    }
}
