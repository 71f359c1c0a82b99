//! The command line client: reads the options and runs the library's client.

use my_redis::client;
use my_redis::client::options::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    client::run(Settings::from_environment())
}
