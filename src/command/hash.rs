//! Hashes.

use crate::command::spec::CommandSpec;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
];
