//! my_redis_server: options, then the server.

use my_redis::server;
use my_redis::server::options::Stop;
use my_redis::util::allocator::CountingAllocator;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    match server::options::from_command_line() {
        Ok(options) => match server::start_log(&options.operation) {
            Ok(()) => server::run(options),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
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
