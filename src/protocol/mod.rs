//! Layer 1: the Redis serialization protocol, both directions, without sockets and without keys.
//!
//! The server decodes requests and writes replies; the client encodes requests and decodes
//! responses. RESP2 and RESP3 differ in one place only, the reply writer.

pub mod encode;
pub mod error;
pub mod limits;
pub mod output;
pub mod reply;
pub mod request;
pub mod response;

pub use error::ProtocolError;
pub use output::OutputBuffer;
pub use reply::{Protocol, ReplyWriter};
pub use request::{Args, OwnedArgs, Request, RequestDecoder};
