//! What the integration tests share.

pub mod oracle;
pub mod process;
pub mod random;
pub mod server;
pub mod wire;
