//! COMMAND and what it tells of the table.

use crate::command::spec::CommandSpec;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
];
