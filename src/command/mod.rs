//! Layer 4: the commands. One family per file, one table row per command, one gate.

pub mod args;
pub mod clients;
pub mod connection;
pub mod context;
pub mod dispatch;
pub mod error;
pub mod expire;
pub mod generic;
pub mod hash;
pub mod introspection;
pub mod list;
pub mod scan;
pub mod server;
pub mod spec;
pub mod string;
pub mod sweep;
pub mod table;
