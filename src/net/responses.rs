//! The client's face of a connection: send requests, receive responses, in order.
//!
//! Requests are queued and leave together with the first wait for a response, while responses are
//! already read: a client that pipelines more than the sockets hold does not wait for a server
//! that waits for it.

use crate::net::connection::{Connection, Exchange, Until};
use crate::protocol::encode::encode_request;
use crate::protocol::response::{ResponseDecoder, ResponseError, Value};
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A client's connection to a server over TCP.
pub type TcpResponses = Responses<TcpStream>;

/// Requests out, responses in, over any byte stream.
#[derive(Debug)]
pub struct Responses<S> {
    connection: Connection<S>,
    decoder: ResponseDecoder,
}

/// Why no response came.
#[derive(Debug)]
pub enum ReceiveError {
    /// The server closed the connection.
    Closed,
    /// The stream failed.
    Io(io::Error),
    /// The server sent what is no RESP.
    Protocol(ResponseError),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Server closed the connection"),
            Self::Io(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReceiveError {}

impl From<io::Error> for ReceiveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ResponseError> for ReceiveError {
    fn from(error: ResponseError) -> Self {
        Self::Protocol(error)
    }
}

impl TcpResponses {
    /// Connects to `host`, a name or an address, trying each of its addresses in turn.
    ///
    /// # Errors
    /// The name is unknown, or the last of its addresses could not be connected to.
    pub async fn connect(host: &str, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Responses<S> {
    /// Wraps a connected stream.
    pub fn new(stream: S) -> Self {
        Self { connection: Connection::new(stream), decoder: ResponseDecoder::new() }
    }

    /// Queues a request; it leaves with the next [`receive`](Self::receive).
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        encode_request(arguments, self.connection.output());
    }

    /// Queues bytes that are already encoded.
    pub fn send_encoded(&mut self, bytes: bytes::Bytes) {
        self.connection.output().put_shared(bytes);
    }

    /// Bytes queued and not yet sent.
    pub fn pending_bytes(&self) -> usize {
        self.connection.output_len()
    }

    /// Takes a response that has come already, without reading from the stream.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn take_received(&mut self) -> Result<Option<Value>, ReceiveError> {
        let (used, value) = self.decoder.decode(self.connection.input())?;
        self.connection.consume(used);
        Ok(value)
    }

    /// Sends what is queued and waits for new bytes; what they hold is for
    /// [`take_received`](Self::take_received). May be dropped at any await without loss.
    ///
    /// # Errors
    /// `Closed`, `Io`.
    pub async fn exchange(&mut self) -> Result<(), ReceiveError> {
        match self.connection.exchange(Until::Received, |_| false).await? {
            Exchange::Received | Exchange::Sent | Exchange::Interrupted => Ok(()),
            Exchange::Closed => Err(ReceiveError::Closed),
        }
    }

    /// Sends what is queued and waits for the next response. May be dropped at any await without
    /// loss.
    ///
    /// # Errors
    /// `Closed`, `Io`, `Protocol`; none of them leaves a usable connection.
    pub async fn receive(&mut self) -> Result<Value, ReceiveError> {
        loop {
            if let Some(value) = self.take_received()? {
                return Ok(value);
            }
            self.exchange().await?;
        }
    }

    /// Sends one request and waits for its response.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn request<A: AsRef<[u8]>>(
        &mut self,
        arguments: &[A],
    ) -> Result<Value, ReceiveError> {
        self.send(arguments);
        self.receive().await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn requests_are_answered_in_order() {
        block_on(async {
            let (near, mut far) = duplex(64);
            let mut responses = Responses::new(near);
            let server = tokio::spawn(async move {
                let mut bytes = vec![0; 31];
                far.read_exact(&mut bytes).await.unwrap();
                assert_eq!(bytes, b"*1\r\n$4\r\nPING\r\n*1\r\n$7\r\nCOMMAND\r\n");
                for byte in b"+PONG\r\n*2\r\n:1\r\n$3\r\nabc\r\n" {
                    far.write_all(&[*byte]).await.unwrap();
                }
            });
            responses.send(&["PING"]);
            responses.send(&["COMMAND"]);
            assert_eq!(responses.receive().await.unwrap(), Value::Simple(b"PONG".to_vec()));
            let expected = vec![Value::Integer(1), Value::Bulk(b"abc".to_vec())];
            assert_eq!(responses.receive().await.unwrap(), Value::Array(expected));
            server.await.unwrap();
            assert!(matches!(responses.receive().await, Err(ReceiveError::Closed)));
        });
    }

    #[test]
    fn a_pipeline_larger_than_the_stream_holds_does_not_stall() {
        const REQUESTS: usize = 10_000;
        block_on(async {
            let (near, mut far) = duplex(512);
            let mut responses = Responses::new(near);
            // Echoes every request back at once: an array of bulks is a response as well.
            let server = tokio::spawn(async move {
                let mut buffer = [0; 300];
                loop {
                    match far.read(&mut buffer).await.unwrap() {
                        0 => return,
                        count => far.write_all(&buffer[..count]).await.unwrap(),
                    }
                }
            });
            for _ in 0..REQUESTS {
                responses.send(&["GET", "key"]);
            }
            let expected = [Value::Bulk(b"GET".to_vec()), Value::Bulk(b"key".to_vec())];
            for _ in 0..REQUESTS {
                assert_eq!(responses.receive().await.unwrap().elements(), Some(&expected[..]));
            }
            drop(responses);
            server.await.unwrap();
        });
    }

    #[test]
    fn what_is_no_resp_ends_the_connection() {
        block_on(async {
            let (near, mut far) = duplex(64);
            far.write_all(b"HTTP/1.1 400\r\n").await.unwrap();
            let mut responses = Responses::new(near);
            let error = responses.request(&["PING"]).await.unwrap_err();
            assert_eq!(error.to_string(), "Protocol error, got \"H\" as reply type byte");
        });
    }
}
