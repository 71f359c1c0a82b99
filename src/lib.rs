//! my_redis: a Redis-compatible, multi-core, in-memory data structure server, and its client.
pub mod data;
pub mod keyspace;
pub mod net;
pub mod persist;
pub mod protocol;
pub mod util;
