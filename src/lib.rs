//! my_redis: a Redis-compatible, multi-core, in-memory data structure server, and its client.
pub mod client;
pub mod command;
pub mod config;
pub mod data;
pub mod keyspace;
pub mod net;
pub mod persist;
pub mod protocol;
pub mod pubsub;
pub mod script;
pub mod server;
pub mod stats;
pub mod util;
