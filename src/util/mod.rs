//! Layer 0: small tools that know nothing of the server.

pub mod clock;
pub mod hash;
