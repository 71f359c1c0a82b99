//! The bytes of a dump in order: buffered, counted, and summed up.
//!
//! The length of the file is known before the first byte is read, so every length found in it is
//! held against the bytes that are left before any memory is reserved for it. The checksum covers
//! bytes in large pieces, when they leave the buffer, not one field at a time.
//!
//! The buffer can be given away: whoever has found out that whole records stand in it hands it to
//! another thread as a [`Block`], which is read there by a source of its own, and goes on with
//! another buffer. No byte of them is copied, and every place in the file stays what it was.

use crate::persist::checksum::Checksum;
use crate::persist::error::RdbError;
use crate::persist::error::Reason;

use std::io::Empty;
use std::io::ErrorKind;
use std::io::Read;

/// The size of the buffer, unless the file is smaller.
pub(crate) const BUFFER_BYTES: usize = 512 * 1024;
/// It must hold what is taken in one piece: numbers, and scores of the old form.
const BUFFER_BYTES_MIN: usize = 256;
/// Long strings are read and summed up in steps of this, while they are still in the cache.
const STEP_BYTES: usize = 512 * 1024;

type Result<T> = std::result::Result<T, RdbError>;

/// A buffer with whole records in it.
#[derive(Debug, Default)]
pub(crate) struct Block {
    buffer: Vec<u8>,
    /// The records are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// The place of the first record in the file.
    pub(crate) offset: u64,
}

#[derive(Debug)]
pub(crate) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The first byte of the buffer that the checksum does not have yet.
    unsummed: usize,
    /// The next byte to hand out.
    start: usize,
    /// The end of what was read from the file.
    end: usize,
    /// The place of `start` in the file.
    offset: u64,
    total_bytes: u64,
    checksum: Option<Checksum>,
}

impl<R: Read> Source<R> {
    /// A source that is buffered by `buffer_bytes` or as many as the file has; those are the most
    /// that `take` can lend, and never fewer than a number has.
    pub(crate) fn new(
        reader: R,
        total_bytes: u64,
        with_checksum: bool,
        buffer_bytes: usize,
    ) -> Self {
        let file_bytes = usize::try_from(total_bytes).unwrap_or(usize::MAX);
        let buffer_bytes = buffer_bytes.max(BUFFER_BYTES_MIN).min(file_bytes);
        Self {
            reader,
            buffer: vec![0; buffer_bytes],
            unsummed: 0,
            start: 0,
            end: 0,
            offset: 0,
            total_bytes,
            checksum: with_checksum.then(Checksum::new),
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn remaining_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.offset)
    }

    /// The checksum of every byte handed out, if one is kept.
    pub(crate) fn checksum(&mut self) -> Option<u64> {
        self.sum_up();
        self.checksum.as_ref().map(Checksum::value)
    }

    pub(crate) fn fault<T>(&self, reason: Reason) -> Result<T> {
        Err(RdbError::new(self.offset, reason))
    }

    /// Refuses `count` bytes that the file does not have.
    pub(crate) fn check(&self, count: u64) -> Result<()> {
        let remaining_bytes = self.remaining_bytes();
        if count <= remaining_bytes {
            return Ok(());
        }
        self.fault(Reason::Truncated { wanted_bytes: count, remaining_bytes })
    }

    /// Whether `take` can lend so many bytes.
    pub(crate) fn can_take(&self, count: usize) -> bool {
        count <= self.buffer.len()
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The bytes that were read from the file and not handed out yet.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Hands out so many of the bytes that are buffered.
    pub(crate) fn advance(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// Makes the buffer full, or as full as the rest of the file makes it.
    pub(crate) fn fill_up(&mut self) -> Result<()> {
        let left = usize::try_from(self.remaining_bytes()).unwrap_or(usize::MAX);
        let wanted = left.min(self.buffer.len());
        if self.end - self.start < wanted { self.fill(wanted) } else { Ok(()) }
    }

    /// Gives the buffer away with the next `count` bytes, all of which are in it, and goes on with
    /// `other` as the buffer: what `block` left, or empty.
    pub(crate) fn give_away(&mut self, count: usize, mut other: Vec<u8>) -> Block {
        let (start, offset) = (self.start, self.offset);
        self.advance(count);
        self.sum_up();
        let tail = self.buffer.get(self.start..self.end).unwrap_or_default();
        other.resize(self.buffer.len(), 0);
        other.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        let buffer = std::mem::replace(&mut self.buffer, other);
        let end = self.start;
        self.end -= self.start;
        self.start = 0;
        self.unsummed = 0;
        Block { buffer, start, end, offset }
    }

    /// The next `count` bytes, no more than [can be taken](Self::can_take).
    pub(crate) fn take(&mut self, count: usize) -> Result<&[u8]> {
        self.check(count as u64)?;
        if self.end - self.start < count {
            self.fill(count)?;
        }
        let start = self.start;
        self.start += count;
        self.offset += count as u64;
        Ok(self.buffer.get(start..self.start).unwrap_or_default())
    }

    /// The next string if it is a plain one of less than 16 KB and as a whole in the buffer: most
    /// are, and this is much cheaper than taking length and bytes apart. `None` says nothing.
    #[inline]
    pub(crate) fn buffered_string(&mut self) -> Option<&[u8]> {
        let rest = self.buffer.get(self.start..self.end)?;
        let (string, after) = split_plain_string(rest)?;
        let used = rest.len() - after.len();
        self.start += used;
        self.offset += used as u64;
        Some(string)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        // Both have N bytes, or `take` has failed.
        self.take(N)?.iter().zip(&mut array).for_each(|(from, to)| *to = *from);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Appends the next `count` bytes to `out`, which reserves no more than them.
    pub(crate) fn append(&mut self, count: usize, out: &mut Vec<u8>) -> Result<()> {
        self.check(count as u64)?;
        // A large string gets what it needs and no more, small ones share a growing block.
        let reserved = if count >= BUFFER_BYTES {
            out.try_reserve_exact(count)
        } else {
            out.try_reserve(count)
        };
        if reserved.is_err() {
            return self.fault(Reason::OutOfMemory { wanted_bytes: count as u64 });
        }
        if self.can_take(count) {
            out.extend_from_slice(self.take(count)?);
            return Ok(());
        }
        let buffered = self.end - self.start;
        out.extend_from_slice(self.take(buffered)?);
        self.sum_up();
        let mut rest = count - buffered;
        while rest > 0 {
            let step = rest.min(STEP_BYTES);
            self.append_past_buffer(step, out)?;
            rest -= step;
        }
        Ok(())
    }

    /// Reads straight into `out`; the buffer is empty and summed up.
    fn append_past_buffer(&mut self, count: usize, out: &mut Vec<u8>) -> Result<()> {
        let mark = out.len();
        let read = self.reader.by_ref().take(count as u64).read_to_end(out);
        let new = out.get(mark..).unwrap_or_default();
        self.offset += new.len() as u64;
        if let Some(checksum) = &mut self.checksum {
            checksum.update(new);
        }
        match read {
            Err(error) => self.fault(Reason::Io(error)),
            Ok(got) if got < count => self.ended_early(count - got),
            Ok(_) => Ok(()),
        }
    }

    fn fill(&mut self, wanted: usize) -> Result<()> {
        self.sum_up();
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.unsummed = 0;
        while self.end < wanted {
            // Never past the length that the file had: what grows behind it is not ours.
            let left = self.remaining_bytes().saturating_sub(self.end as u64);
            let until =
                usize::try_from(left).map_or(usize::MAX, |left| self.end.saturating_add(left));
            let until = until.min(self.buffer.len());
            let room = self.buffer.get_mut(self.end..until).unwrap_or_default();
            match self.reader.read(room) {
                Ok(0) => return self.ended_early(wanted - self.end),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fault(Reason::Io(error)),
            }
        }
        Ok(())
    }

    /// The file has become shorter than it was when its length was asked for.
    fn ended_early<T>(&self, wanted: usize) -> Result<T> {
        self.fault(Reason::Truncated { wanted_bytes: wanted as u64, remaining_bytes: 0 })
    }

    fn sum_up(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(self.buffer.get(self.unsummed..self.start).unwrap_or_default());
        }
        self.unsummed = self.start;
    }
}

impl Source<Empty> {
    /// A source of nothing yet.
    pub(crate) fn idle(total_bytes: u64) -> Self {
        Self {
            reader: std::io::empty(),
            buffer: Vec::new(),
            unsummed: 0,
            start: 0,
            end: 0,
            offset: 0,
            total_bytes,
            checksum: None,
        }
    }

    /// Reads from `block` from now on; returns the buffer of the block before.
    pub(crate) fn exchange(&mut self, block: Block) -> Vec<u8> {
        self.start = block.start;
        self.unsummed = block.start;
        self.end = block.end;
        self.offset = block.offset;
        std::mem::replace(&mut self.buffer, block.buffer)
    }
}

/// A plain string of less than 16 KB at the start of `bytes`, and what follows it. `None` when
/// there is another form of string or it goes on behind `bytes`.
#[inline]
pub(crate) fn split_plain_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match bytes {
        [first @ 0..0x40, rest @ ..] => (usize::from(*first), rest),
        [first @ 0x40..0x80, second, rest @ ..] => {
            (usize::from(first & 0x3F) << 8 | usize::from(*second), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
