//! The stress tool: reads the options and runs the library's stress module.

use my_redis::stress;
use my_redis::stress::options::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Settings::from_command_line() {
        Ok(settings) => stress::run(settings),
        Err(code) => code,
    }
}
