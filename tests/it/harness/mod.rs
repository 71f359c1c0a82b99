//! What the integration tests share.

pub mod oracle;
pub mod random;
pub mod server;
pub mod wire;
