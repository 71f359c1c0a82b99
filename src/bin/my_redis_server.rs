//! my_redis_server: options, then the server.

use my_redis::server;
use my_redis::server::options::Stop;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match server::options::from_command_line() {
        Ok(options) => {
            server::start_log();
            server::run(options)
        }
        Err(Stop::Print(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(Stop::File(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
        Err(Stop::Wrong(text)) => {
            eprintln!("my_redis_server: {text} (--help tells more)");
            ExitCode::FAILURE
        }
    }
}
