//! What the integration tests share.

pub mod dump;
pub mod flag;
pub mod oracle;
pub mod planted;
pub mod process;
pub mod random;
pub mod server;
pub mod strace;
pub mod wire;
