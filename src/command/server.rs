//! The server: INFO, CONFIG, saving, the end.

use crate::command::spec::CommandSpec;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
];
