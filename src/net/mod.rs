//! Layer 2: buffered connections over any byte stream, shared by the server and the client.

mod connection;
pub mod responses;

pub use connection::Connection;
