//! Layer 2: buffered connections over any byte stream, shared by the server and the client.

mod connection;
pub mod responses;
mod spare;

pub use connection::{Connection, Exchange, Until};

use socket2::SockRef;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Makes the system notice when the peer of a connection that was silent for so long has vanished;
/// zero for never.
///
/// # Errors
/// Those of the system.
pub fn set_keepalive(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    if silence.is_zero() {
        return Ok(());
    }
    // The system takes whole seconds, at least one.
    let interval = (silence / 3).max(Duration::from_secs(1));
    let keepalive = socket2::TcpKeepalive::new().with_time(silence).with_interval(interval);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Sends what the system takes at once, and closes: however many come that are refused, none of
/// them has a descriptor for longer than this takes.
pub fn send_and_close(stream: TcpStream, text: &[u8]) {
    // Whoever has gone already, or takes nothing, is told nothing.
    let _not_sent = SockRef::from(&stream).send(text);
}
