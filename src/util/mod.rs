//! Layer 0: small tools that know nothing of the server.

pub mod allocator;
pub mod bits;
pub mod clock;
pub mod events;
pub mod extended;
pub mod geo;
pub mod glob;
pub mod hash;
pub mod log;
pub mod long_vec;
pub mod lua_tokens;
pub mod number;
pub mod random;
pub mod range;
pub mod split;
pub mod text;
pub mod thin_bytes;
pub mod whole_file;
