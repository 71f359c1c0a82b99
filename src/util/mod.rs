//! Layer 0: small tools that know nothing of the server.

pub mod glob;
pub mod number;
pub mod range;
