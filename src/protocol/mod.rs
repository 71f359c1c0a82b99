//! Layer 1: the Redis serialization protocol, both directions, without sockets and without keys.
//!
//! The server decodes requests and writes replies; the client encodes requests and decodes
//! responses. RESP2 and RESP3 differ in one place only, the reply writer.

pub mod encode;
pub mod output;
pub mod response;

pub use output::OutputBuffer;
