//! What waits to be sent to one peer.
//!
//! Small replies are copied one behind the other into one growing tail. A large value is queued as
//! a shared `Bytes` instead, so that it leaves by a vectored write and is never copied on its way
//! out. Reading the buffer through `bytes::Buf` gives the pieces in order.
//!
//! ```text
//!   sealed: [ tail so far | shared value | tail so far | shared value ]   tail: being written
//!             ^ sent first
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// A value of at least this many bytes is shared with the buffer instead of copied into it.
pub const SHARED_BYTES_MIN: usize = 8 * 1024;

/// An ordered queue of bytes to send: one growing tail plus shared large pieces.
#[derive(Debug, Default)]
pub struct OutputBuffer {
    sealed: VecDeque<Bytes>,
    sealed_bytes: usize,
    tail: BytesMut,
    /// The tail is the rest of a buffer of which pieces were sealed.
    tail_is_rest: bool,
}

/// A position in an [`OutputBuffer`] that can be returned to as long as nothing was sent since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    total_bytes: usize,
}

impl OutputBuffer {
    /// An empty buffer; nothing is allocated before the first write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes waiting to be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed_bytes + self.tail.len()
    }

    /// True when nothing waits to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when all that waits is one piece, so that one plain write can send it.
    #[must_use]
    pub fn is_one_piece(&self) -> bool {
        self.sealed.is_empty() || (self.sealed.len() == 1 && self.tail.is_empty())
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Makes room for `additional` bytes in the tail, so that the next `put`s do not grow it.
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        self.tail.reserve(additional);
    }

    /// Appends `bytes` without copying them if they are large.
    pub fn put_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.put(&bytes);
            return;
        }
        self.push_shared(bytes);
    }

    /// Appends `bytes` without copying them, however small.
    pub fn push_shared(&mut self, bytes: Bytes) {
        self.seal_tail();
        self.sealed_bytes += bytes.len();
        self.sealed.push_back(bytes);
    }

    /// Appends everything that `other` holds, in order.
    pub fn append(&mut self, mut other: OutputBuffer) {
        for piece in other.sealed.drain(..) {
            self.put_shared(piece);
        }
        self.put_shared(other.tail.split().freeze());
    }

    /// Remembers the present end.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { total_bytes: self.len() }
    }

    /// Takes back everything that was written since `mark`.
    ///
    /// Nothing may have been sent in between. Cost: O(pieces taken back).
    pub fn truncate(&mut self, mark: Mark) {
        if mark.total_bytes >= self.sealed_bytes {
            self.tail.truncate(mark.total_bytes - self.sealed_bytes);
            return;
        }
        self.tail.clear();
        while let Some(mut piece) = self.sealed.pop_back() {
            self.sealed_bytes -= piece.len();
            if self.sealed_bytes <= mark.total_bytes {
                piece.truncate(mark.total_bytes - self.sealed_bytes);
                self.sealed_bytes += piece.len();
                if !piece.is_empty() {
                    self.sealed.push_back(piece);
                }
                return;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sealed.clear();
        self.sealed_bytes = 0;
        self.tail.clear();
    }

    /// Everything that waits, in one piece. Cost: O(bytes) if it is in several.
    pub fn in_one_piece(&mut self) -> &[u8] {
        if !self.sealed.is_empty() {
            let all = self.copy_to_bytes(self.len());
            self.clear();
            self.tail = BytesMut::from(all);
        }
        &self.tail
    }

    /// Has `room` give a buffer to write to if there is none. It must be empty.
    #[inline]
    pub fn room_from(&mut self, room: impl FnOnce() -> BytesMut) {
        if self.tail.capacity() == 0 {
            self.tail = room();
        }
    }

    /// The buffer that was written to, once everything is sent; none if pieces of it may be held
    /// elsewhere.
    #[inline]
    pub fn take_room(&mut self) -> Option<BytesMut> {
        if !self.is_empty() {
            return None;
        }
        let room = std::mem::take(&mut self.tail);
        (!std::mem::take(&mut self.tail_is_rest)).then_some(room)
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let piece = self.tail.split().freeze();
            self.tail_is_rest = true;
            self.sealed_bytes += piece.len();
            self.sealed.push_back(piece);
        }
    }
}

impl Buf for OutputBuffer {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.sealed.front().map_or(&self.tail, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail: &[u8] = &self.tail;
        let tail = Some(tail).filter(|t| !t.is_empty());
        let mut used = 0;
        let pieces = self.sealed.iter().map(|piece| &piece[..]).chain(tail);
        for (slot, piece) in slices.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.sealed.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                self.sealed_bytes -= count;
                return;
            }
            count -= piece.len();
            self.sealed_bytes -= piece.len();
            self.sealed.pop_front();
        }
        if count == self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(count);
        }
    }
}

impl std::io::Write for OutputBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.tail.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn drain(mut buffer: OutputBuffer) -> Vec<u8> {
        buffer.copy_to_bytes(buffer.remaining()).to_vec()
    }

    #[test]
    fn pieces_leave_in_the_order_they_came() {
        let mut buffer = OutputBuffer::new();
        let large = Bytes::from(vec![b'x'; SHARED_BYTES_MIN]);
        buffer.put(b"a");
        buffer.put_shared(large.clone());
        buffer.put(b"b");
        buffer.put_shared(Bytes::from_static(b"small"));
        let mut expected = b"a".to_vec();
        expected.extend_from_slice(&large);
        expected.extend_from_slice(b"bsmall");
        assert_eq!(drain(buffer), expected);
    }

    #[test]
    fn truncate_returns_to_any_mark() {
        let large = Bytes::from(vec![b'x'; SHARED_BYTES_MIN]);
        for cut in 0..4 {
            let mut buffer = OutputBuffer::new();
            let mut marks = vec![(buffer.mark(), 0)];
            buffer.put(b"ab");
            marks.push((buffer.mark(), buffer.len()));
            buffer.put_shared(large.clone());
            marks.push((buffer.mark(), buffer.len()));
            buffer.put(b"cd");
            marks.push((buffer.mark(), buffer.len()));
            buffer.put_shared(large.clone());
            let (mark, len) = marks[cut];
            buffer.truncate(mark);
            assert_eq!(buffer.len(), len);
            assert_eq!(drain(buffer).len(), len);
        }
    }

    #[test]
    fn a_partial_write_keeps_the_rest() {
        let mut buffer = OutputBuffer::new();
        buffer.put(b"abc");
        buffer.put_shared(Bytes::from(vec![b'x'; SHARED_BYTES_MIN]));
        buffer.put(b"def");
        buffer.advance(2);
        buffer.advance(SHARED_BYTES_MIN);
        assert_eq!(buffer.len(), 4);
        assert_eq!(drain(buffer), b"xdef");
    }
}
