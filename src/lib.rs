//! my_redis: a Redis-compatible, multi-core, in-memory data structure server, and its client.
pub mod client;
pub mod net;
pub mod protocol;
pub mod util;
