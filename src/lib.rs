//! my_redis: a Redis-compatible, multi-core, in-memory data structure server, its client, and
//! the tool that puts servers under stress.
pub mod acl;
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
pub mod stress;
pub mod util;
