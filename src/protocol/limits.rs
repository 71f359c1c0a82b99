//! Every cap on what a peer may send, in one place.

/// Arguments of one request at most.
pub const ARGUMENTS_MAX: i64 = i32::MAX as i64;
/// Bytes of one argument at most (proto-max-bulk-len).
pub const BULK_BYTES_MAX: i64 = 512 * 1024 * 1024;
/// Bytes of an inline request, and of the line that announces a length.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a whole request at most, whatever client-query-buffer-limit says.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes of replies that wait for a peer which has not authenticated: with them no request of it is
/// run before they are sent.
pub const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 1_024;
/// Arguments of one request before the peer has authenticated.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: i64 = 10;
/// Bytes of one argument before the peer has authenticated.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16 * 1024;
