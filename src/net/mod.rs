//! Layer 2: buffered connections over any byte stream, shared by the server and the client.

mod connection;
pub mod responses;

pub use connection::{Connection, Exchange};

use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Silence after which a peer is asked whether it is still there (tcp-keepalive).
const KEEPALIVE: Duration = Duration::from_secs(300);

/// Makes the system notice when the peer of a silent connection has vanished.
///
/// # Errors
/// Those of the system.
pub fn set_keepalive(stream: &TcpStream) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
