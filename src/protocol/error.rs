//! What ends a connection: bytes that are no request.

use std::fmt;

/// Why the bytes of a peer are no request. The connection is closed after the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// The announced number of arguments is no number or too large.
    BadArgumentCount,
    /// The announced length of an argument is no number, negative or too large.
    BadBulkLength,
    /// An argument does not begin with `$` but with this byte.
    ExpectedBulk(u8),
    /// An argument is not followed by CR LF.
    ExpectedLineEnd,
    /// The line that announces the number of arguments does not end.
    ArgumentCountLineTooLong,
    /// The line that announces a length does not end.
    BulkLengthLineTooLong,
    /// An inline request does not end.
    InlineTooLong,
    /// An inline request has an open quote, or text right behind a closing one.
    UnbalancedQuotes,
    /// More arguments than are allowed before authentication.
    UnauthenticatedArgumentCount,
    /// A longer argument than is allowed before authentication.
    UnauthenticatedBulkLength,
    /// The whole request is larger than the limit.
    RequestTooLarge,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::BadArgumentCount => f.write_str("invalid multibulk length"),
            Self::BadBulkLength => f.write_str("invalid bulk length"),
            Self::ExpectedBulk(byte) => write!(f, "expected '$', got '{}'", char::from(*byte)),
            Self::ExpectedLineEnd => f.write_str("expected CR LF behind an argument"),
            Self::ArgumentCountLineTooLong => f.write_str("too big mbulk count string"),
            Self::BulkLengthLineTooLong => f.write_str("too big bulk count string"),
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::UnauthenticatedArgumentCount => f.write_str("unauthenticated multibulk length"),
            Self::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            Self::RequestTooLarge => f.write_str("request larger than the query buffer limit"),
        }
    }
}

impl std::error::Error for ProtocolError {}
