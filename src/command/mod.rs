//! Layer 4: the commands. One family per file, one table row per command, one gate.

pub mod args;
pub mod client;
pub mod clients;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod context;
pub mod database;
pub mod debug;
pub mod dispatch;
pub mod docs;
pub mod error;
pub mod expire;
pub mod generic;
pub mod hash;
pub mod help;
pub mod info;
pub mod introspection;
pub mod list;
pub mod scan;
pub mod server;
pub mod spec;
pub mod string;
pub mod sweep;
pub mod syntax;
pub mod table;
