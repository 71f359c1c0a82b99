//! One peer: a byte stream with an input buffer and an output buffer.
//!
//! Generic over the stream, so that a test drives it over `tokio::io::duplex` without a port. The
//! server's loop is [`Connection::exchange`]: it writes and reads at the same time, because a peer
//! that sends a large pipeline before it reads a single reply would otherwise wait for us while we
//! wait for it. What is read while output waits has a bound, so such a peer cannot make the buffers
//! grow without one.

use crate::protocol::OutputBuffer;
use bytes::{Buf, BytesMut};
use std::future::{Future, poll_fn};
use std::io;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{self, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Room offered to one read of a connection that is not in the middle of a large request.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Room offered to one read at most, however much has come already.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Pieces of output that one write sends at most.
const PIECES_SENT_MAX: usize = 256;
/// An empty input buffer larger than this is given back.
const INPUT_KEPT_BYTES_MAX: usize = 64 * 1024;

/// A buffered connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    input: BytesMut,
    output: OutputBuffer,
}

/// What an [`exchange`](Connection::exchange) is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// New input: there is nothing else to do.
    Received,
    /// Everything pending was sent. Input is taken in meanwhile, up to so many bytes; that the
    /// peer has closed its side is no reason to end before.
    Sent {
        /// Bytes of input with which no more is read.
        input_bytes_max: usize,
    },
}

/// How an [`exchange`](Connection::exchange) ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// New input arrived.
    Received,
    /// The peer closed its side; nothing more will come.
    Closed,
    /// Everything pending was sent.
    Sent,
    /// The caller's own condition came true.
    Interrupted,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Wraps `stream`; buffers are allocated when they are first needed.
    pub fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), output: OutputBuffer::new() }
    }

    /// The stream itself.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The bytes received and not yet consumed.
    #[inline]
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Bytes of memory that the input buffer holds.
    #[must_use]
    pub fn input_capacity(&self) -> usize {
        self.input.capacity()
    }

    /// The input and the output at once, for work that reads one and fills the other.
    #[inline]
    pub fn buffers(&mut self) -> (&[u8], &mut OutputBuffer) {
        (&self.input, &mut self.output)
    }

    /// Drops the first `count` bytes of the input.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        if count == self.input.len() {
            self.input.clear();
        } else {
            self.input.advance(count);
        }
    }

    /// What waits to be sent.
    #[inline]
    pub fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    /// Sends what is pending while reading what comes, and returns as soon as what `until` names
    /// has happened.
    ///
    /// `interrupted` is told how many bytes wait to be sent, and asked whenever the task wakes and
    /// there is nothing to read; who makes it true must wake it.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn exchange(
        &mut self,
        until: Until,
        interrupted: impl Fn(usize) -> bool,
    ) -> io::Result<Exchange> {
        let mut input_bytes_max = match until {
            Until::Received => usize::MAX,
            Until::Sent { input_bytes_max } => input_bytes_max,
        };
        poll_fn(|cx| {
            if self.poll_send(cx)?.is_ready() && until != Until::Received {
                return Poll::Ready(Ok(Exchange::Sent));
            }
            while self.input.len() < input_bytes_max {
                match self.poll_fill(cx)? {
                    Poll::Pending => break,
                    Poll::Ready(0) if until == Until::Received => {
                        return Poll::Ready(Ok(Exchange::Closed));
                    }
                    // Sending goes on, and wakes the task.
                    Poll::Ready(0) => input_bytes_max = 0,
                    Poll::Ready(_) if until == Until::Received => {
                        return Poll::Ready(Ok(Exchange::Received));
                    }
                    Poll::Ready(_) => {}
                }
            }
            if interrupted(self.output.len()) {
                return Poll::Ready(Ok(Exchange::Interrupted));
            }
            Poll::Pending
        })
        .await
    }

    /// Sends what the stream takes; ready when nothing is left.
    fn poll_send(&mut self, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        while self.output.has_remaining() {
            // A plain write costs the system less than one of several pieces, and small replies
            // are always in one.
            let sent = if self.output.is_one_piece() {
                let sent = Pin::new(&mut self.stream).poll_write(cx, self.output.chunk());
                let sent = ready!(sent)?;
                self.output.advance(sent);
                sent
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES_SENT_MAX];
                let count = self.output.chunks_vectored(&mut slices);
                let slices = slices.get(..count).unwrap_or_default();
                let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
                let sent = ready!(sent)?;
                self.output.advance(sent);
                sent
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        self.output.shrink_when_empty();
        Poll::Ready(Ok(()))
    }

    /// Reads once; ready with 0 when the peer closed its side.
    fn poll_fill(&mut self, cx: &mut task::Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Offers room in proportion to what has come, never to what was announced.
    fn make_room(&mut self) {
        if self.input.is_empty() && self.input.capacity() > INPUT_KEPT_BYTES_MAX {
            self.input = BytesMut::new();
        }
        let room = self.input.len().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(room);
        }
    }
}
