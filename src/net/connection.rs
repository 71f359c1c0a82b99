//! One peer: a byte stream with an input buffer and an output buffer.
//!
//! Generic over the stream, so that a test drives it over `tokio::io::duplex` without a port. The
//! server's loop is [`Connection::exchange`]: it writes and reads at the same time, because a peer
//! that sends a large pipeline before it reads a single reply would otherwise wait for us while we
//! wait for it. What is read while output waits has a bound, so such a peer cannot make the buffers
//! grow without one. Buffers are those of the thread, borrowed while there is something in them.

use crate::net::spare::{KEPT_BYTES_MAX, Use};
use crate::protocol::OutputBuffer;
use bytes::{Buf, Bytes, BytesMut};
use std::future::{Future, poll_fn};
use std::io;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{self, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Room offered to one read of a connection that is not in the middle of a large request.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Room offered to one read at most, however much has come already.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A buffer that is too small becomes larger by so many times what is in it, so that little of a
/// large request is copied on the way.
const GROWTH: usize = 3;
/// For what is missing it may become larger by so many times: a request is a little longer than its
/// argument, and would be copied once more for its last bytes.
const LAST_GROWTH: usize = 4;
/// Pieces of output that one write sends at most.
const PIECES_SENT_MAX: usize = 256;

/// A buffered connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    input: BytesMut,
    /// Bytes of the buffer in front of the input at most.
    passed_bytes: usize,
    /// Bytes of input with which the argument that is coming is complete.
    input_bytes_wanted: usize,
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
    /// Wraps `stream`; it has buffers only while they are needed.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            passed_bytes: 0,
            input_bytes_wanted: 0,
            output: OutputBuffer::new(),
        }
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
        self.output.room_from(|| Use::Output.borrow());
        (&self.input, &mut self.output)
    }

    /// Drops the first `count` bytes of the input.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        if count == self.input.len() {
            self.input.clear();
        } else {
            self.input.advance(count);
            self.passed_bytes += count;
        }
    }

    /// Takes all input out, to be shared without a copy, and tells how many bytes the buffer has;
    /// [`put_back`](Self::put_back) has to follow.
    #[must_use]
    pub fn take_input(&mut self) -> (Bytes, usize) {
        let buffer_bytes = std::mem::take(&mut self.passed_bytes) + self.input.capacity();
        (std::mem::take(&mut self.input).freeze(), buffer_bytes)
    }

    /// Puts the input back but for its first `count` bytes. If somebody keeps a part of it, what is
    /// left is copied.
    pub fn put_back(&mut self, input: Bytes, count: usize) {
        self.input = match input.try_into_mut() {
            Ok(input) => input,
            Err(kept) => {
                self.input.extend_from_slice(kept.get(count..).unwrap_or_default());
                return;
            }
        };
        self.consume(count);
    }

    /// Says with how many bytes of input the argument that is coming will be complete, 0 if that is
    /// not known: no more room is made than for that.
    #[inline]
    pub fn want(&mut self, input_bytes: usize) {
        self.input_bytes_wanted = input_bytes;
    }

    /// What waits to be sent, for writing to it.
    #[inline]
    pub fn output(&mut self) -> &mut OutputBuffer {
        self.output.room_from(|| Use::Output.borrow());
        &mut self.output
    }

    /// Bytes that wait to be sent.
    #[inline]
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.output.len()
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
        if let Some(room) = self.output.take_room() {
            Use::Output.give_back(room);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; ready with 0 when the peer closed its side.
    fn poll_fill(&mut self, cx: &mut task::Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let filled = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if self.input.is_empty() {
            Use::Input.give_back(std::mem::take(&mut self.input));
        }
        filled
    }

    /// Offers room in proportion to what has come, never to what was announced.
    fn make_room(&mut self) {
        if self.input.capacity() == 0 {
            self.input = Use::Input.borrow();
            self.passed_bytes = 0;
        }
        let (len, room) = (self.input.len(), self.input.capacity() - self.input.len());
        let missing = self.input_bytes_wanted.saturating_sub(len);
        let enough = if missing == 0 { READ_BYTES_MIN } else { missing.min(READ_BYTES_MIN) };
        if room < enough {
            let more = (len * GROWTH).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            let last = missing.max(READ_BYTES_MIN);
            if missing == 0 || last > more.max((len * LAST_GROWTH).min(READ_BYTES_MAX)) {
                self.input.reserve(more);
            } else if len + last > KEPT_BYTES_MAX {
                self.make_exact_room(len + last);
            } else {
                self.input.reserve(last);
            }
        }
    }

    /// Changes to a buffer of this size: a large argument may become a value together with the
    /// buffer in which it stands, and has nothing to spare then.
    fn make_exact_room(&mut self, capacity: usize) {
        let mut larger = BytesMut::with_capacity(capacity);
        larger.extend_from_slice(&self.input);
        self.passed_bytes = 0;
        Use::Input.give_back(std::mem::replace(&mut self.input, larger));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_power_of_two_with_a_few_bytes_more_is_not_copied_for_them() {
        const WANTED: usize = (1 << 20) + 44;
        let (stream, mut peer) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::new(stream);
        connection.want(WANTED);
        let sender = tokio::spawn(async move { peer.write_all(&vec![b'x'; WANTED]).await });
        let mut rooms = Vec::new();
        while connection.input().len() < WANTED {
            connection.exchange(Until::Received, |_| false).await.unwrap();
            rooms.push(connection.input_capacity());
        }
        rooms.dedup();
        assert!(rooms.len() <= 5 && rooms.last() == Some(&WANTED), "{rooms:?}");
        sender.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn input_that_was_taken_out_goes_on_where_it_was_or_leaves_what_is_kept() {
        let (stream, mut peer) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::new(stream);
        peer.write_all(b"request and more").await.unwrap();
        connection.exchange(Until::Received, |_| false).await.unwrap();
        let place = connection.input().as_ptr();
        let (taken, _) = connection.take_input();
        assert!(connection.input().is_empty());
        connection.put_back(taken, 8);
        assert_eq!(connection.input(), b"and more");
        assert_eq!(connection.input().as_ptr(), place.wrapping_add(8));
        let (taken, _) = connection.take_input();
        let kept = taken.slice(..3);
        connection.put_back(taken, 4);
        assert_eq!((&kept[..], connection.input()), (&b"and"[..], &b"more"[..]));
        peer.write_all(b" of it").await.unwrap();
        connection.exchange(Until::Received, |_| false).await.unwrap();
        assert_eq!((&kept[..], connection.input()), (&b"and"[..], &b"more of it"[..]));
    }

    #[tokio::test]
    async fn room_grows_with_what_has_come_and_ends_with_what_is_wanted() {
        const WANTED: usize = 8_000_000;
        let (stream, mut peer) = tokio::io::duplex(4_096);
        let mut connection = Connection::new(stream);
        connection.want(WANTED);
        let sender = tokio::spawn(async move {
            peer.write_all(&vec![b'x'; WANTED]).await.unwrap();
            peer
        });
        let (mut room, mut growths) = (0, 0);
        while connection.input().len() < WANTED {
            let before = connection.input().len();
            connection.exchange(Until::Received, |_| false).await.unwrap();
            growths += usize::from(connection.input_capacity() != room);
            room = connection.input_capacity();
            let paid = (before * (LAST_GROWTH + 1)).max(2 * READ_BYTES_MIN);
            assert!(room <= paid, "{room} bytes after {before}");
        }
        assert!(growths <= 7, "{growths}");
        assert!(room <= 2 * WANTED, "{room}");
        drop(sender.await.unwrap());
    }
}
