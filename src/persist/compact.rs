//! Redis' in-memory encodings of small collections, as they stand in a dump.
//!
//! Redis writes a small collection as the one block of memory in which it holds it. Each decoder
//! here walks such a block from front to back by checked slices only, appends the elements to an
//! [`Elements`], and insists on everything the encoding says twice (sizes, counts, back links,
//! order): a block that contradicts itself is refused, never guessed at. All numbers are little
//! endian unless noted.
//!
//! ```text
//!   ziplist    bytes u32 | offset of last entry u32 | count u16 | entry ... | FF
//!     entry    length of the entry before: 1 byte, or FE + u32 | encoding | content
//!     encoding 00xxxxxx string of x | 01xxxxxx + 1, high first | 10...... + u32 big endian
//!              C0 i16 | D0 i32 | E0 i64 | F0 i24 | FE i8 | F1 .. FD the numbers 0 .. 12
//!   listpack   bytes u32 | count u16 | entry ... | FF
//!     entry    encoding | content | length of both, 7 bits a byte, to be read backwards
//!     encoding 0xxxxxxx number | 10xxxxxx string of x | 110xxxxx + 1 i13, high first
//!              1110xxxx + 1 string, high first | F0 + u32 string
//!              F1 i16 | F2 i24 | F3 i32 | F4 i64
//!   intset     bytes per number u32: 2, 4 or 8 | count u32 | numbers, ascending
//!   zipmap     count u8 | pair ... | FF
//!     pair     length, field | length, unused u8, value, unused bytes
//!     length   1 byte up to FD, or FE + u32
//! ```

use crate::persist::value::Elements;

/// Counts of this value mean "more than fit here; walk to find out".
const COUNT_UNKNOWN: usize = 0xFFFF;
const ZIPLIST_HEADER_BYTES: usize = 10;
const END: u8 = 0xFF;
/// A length byte that says "four bytes follow".
const LENGTH_LONG: u8 = 0xFE;

/// What is wrong with a block, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactError {
    /// What is wrong.
    pub problem: &'static str,
    /// Bytes before the spot.
    pub inner_offset: usize,
}

type Result<T> = std::result::Result<T, CompactError>;

/// A position in a block.
struct Walk<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn new(block: &'a [u8]) -> Self {
        Self { block, at: 0 }
    }

    fn fault<T>(&self, problem: &'static str) -> Result<T> {
        Err(CompactError {
            problem,
            inner_offset: self.at,
        })
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = self.block.get(self.at..).unwrap_or_default();
        match rest.get(..count) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => self.fault("it ends in the middle of an entry"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let at = self.at;
        self.bytes(N)?.try_into().map_err(|_| CompactError {
            problem: "bad size",
            inner_offset: at,
        })
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<usize> {
        self.array()
            .map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn u32(&mut self) -> Result<usize> {
        self.array().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// Sign and all, from 2, 3, 4 or 8 bytes.
    fn integer(&mut self, count: usize) -> Result<i64> {
        let bytes = self.bytes(count)?;
        let unsigned = bytes
            .iter()
            .rev()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let unused_bits = 64 - 8 * count as u32;
        Ok(((unsigned << unused_bits) as i64) >> unused_bits)
    }

    fn at_end_mark(&self) -> bool {
        self.block.get(self.at) == Some(&END)
    }

    /// The end mark must be here, and nothing after it.
    fn finish(mut self) -> Result<()> {
        if self.byte()? != END {
            self.at -= 1;
            return self.fault("the end mark is missing");
        }
        if self.at != self.block.len() {
            return self.fault("bytes follow after the end mark");
        }
        Ok(())
    }
}

fn push_integer(into: &mut Elements, value: i64) {
    into.push(itoa::Buffer::new().format(value).as_bytes());
}

/// The block's own size must be that of the string it came in.
fn check_size(walk: &Walk<'_>, stated: usize) -> Result<()> {
    if stated == walk.block.len() {
        Ok(())
    } else {
        walk.fault("its size is not the one stated")
    }
}

fn check_count(walk: &Walk<'_>, stated: usize, counted: usize) -> Result<()> {
    if stated == COUNT_UNKNOWN || stated == counted {
        Ok(())
    } else {
        walk.fault("the number of entries is not the one stated")
    }
}

/// Appends the entries of a ziplist. Cost: O(length of `block`).
///
/// Errors: any contradiction; `into` then holds a part.
pub fn read_ziplist(block: &[u8], into: &mut Elements) -> Result<()> {
    let mut walk = Walk::new(block);
    let size = walk.u32()?;
    check_size(&walk, size)?;
    let last_entry = walk.u32()?;
    let stated = walk.u16()?;
    let mut counted = 0;
    let mut previous_bytes = 0;
    let mut entry_start = ZIPLIST_HEADER_BYTES;
    while !walk.at_end_mark() {
        entry_start = walk.at;
        let back = match walk.byte()? {
            LENGTH_LONG => walk.u32()?,
            END => return walk.fault("an entry starts with the end mark"),
            short => usize::from(short),
        };
        if back != previous_bytes {
            return walk.fault("a back link is not the length of the entry before");
        }
        read_ziplist_content(&mut walk, into)?;
        previous_bytes = walk.at - entry_start;
        counted += 1;
    }
    check_count(&walk, stated, counted)?;
    if last_entry != entry_start {
        return walk.fault("the last entry is not where it is stated to be");
    }
    walk.finish()
}

fn read_ziplist_content(walk: &mut Walk<'_>, into: &mut Elements) -> Result<()> {
    let encoding = walk.byte()?;
    let low = usize::from(encoding & 0x3F);
    let length = match encoding {
        0x00..=0x3F => low,
        0x40..=0x7F => low << 8 | usize::from(walk.byte()?),
        0x80..=0xBF => u32::from_be_bytes(walk.array()?) as usize,
        _ => {
            let value = match encoding {
                0xC0 => walk.integer(2)?,
                0xD0 => walk.integer(4)?,
                0xE0 => walk.integer(8)?,
                0xF0 => walk.integer(3)?,
                0xFE => walk.integer(1)?,
                0xF1..=0xFD => i64::from(encoding & 0x0F) - 1,
                _ => return walk.fault("an entry has an unknown encoding"),
            };
            push_integer(into, value);
            return Ok(());
        }
    };
    into.push(walk.bytes(length)?);
    Ok(())
}

/// Appends the entries of a listpack. Cost: O(length of `block`).
///
/// Errors: any contradiction; `into` then holds a part.
pub fn read_listpack(block: &[u8], into: &mut Elements) -> Result<()> {
    let mut walk = Walk::new(block);
    let size = walk.u32()?;
    check_size(&walk, size)?;
    let stated = walk.u16()?;
    let mut counted = 0;
    while !walk.at_end_mark() {
        let start = walk.at;
        read_listpack_content(&mut walk, into)?;
        check_back_length(&mut walk, start)?;
        counted += 1;
    }
    check_count(&walk, stated, counted)?;
    walk.finish()
}

fn read_listpack_content(walk: &mut Walk<'_>, into: &mut Elements) -> Result<()> {
    let encoding = walk.byte()?;
    let length = match encoding {
        0x80..=0xBF => usize::from(encoding & 0x3F),
        0xE0..=0xEF => usize::from(encoding & 0x0F) << 8 | usize::from(walk.byte()?),
        0xF0 => walk.u32()?,
        _ => {
            let value = match encoding {
                0x00..=0x7F => i64::from(encoding),
                0xC0..=0xDF => {
                    let unsigned = i64::from(encoding & 0x1F) << 8 | i64::from(walk.byte()?);
                    if unsigned < 1 << 12 {
                        unsigned
                    } else {
                        unsigned - (1 << 13)
                    }
                }
                0xF1 => walk.integer(2)?,
                0xF2 => walk.integer(3)?,
                0xF3 => walk.integer(4)?,
                0xF4 => walk.integer(8)?,
                _ => return walk.fault("an entry has an unknown encoding"),
            };
            push_integer(into, value);
            return Ok(());
        }
    };
    into.push(walk.bytes(length)?);
    Ok(())
}

/// The length of the entry that began at `start`, repeated behind it: seven bits a byte, the high
/// ones first, every byte but the first marked.
fn check_back_length(walk: &mut Walk<'_>, start: usize) -> Result<()> {
    let entry_bytes = walk.at - start;
    // One less than full from two bytes on: that is how Redis decides.
    let width = match entry_bytes {
        0..=0x7F => 1,
        0x80..0x3FFF => 2,
        0x3FFF..0x1F_FFFF => 3,
        0x1F_FFFF..0xFFF_FFFF => 4,
        _ => 5,
    };
    let stored = walk.bytes(width)?;
    let mut shift = 7 * width as u32;
    for (index, byte) in stored.iter().enumerate() {
        shift -= 7;
        let mark = if index == 0 { 0 } else { 0x80 };
        if *byte != (entry_bytes >> shift) as u8 & 0x7F | mark {
            walk.at -= width;
            return walk.fault("a back link is not the length of its entry");
        }
    }
    Ok(())
}

/// Appends the numbers of an intset. Cost: O(length of `block`).
///
/// Errors: any contradiction, numbers out of order included; `into` then holds a part.
pub fn read_intset(block: &[u8], into: &mut Elements) -> Result<()> {
    let mut walk = Walk::new(block);
    let width = walk.u32()?;
    if !matches!(width, 2 | 4 | 8) {
        return walk.fault("its numbers have an unknown size");
    }
    let count = walk.u32()?;
    if block.len() - walk.at != count.saturating_mul(width) {
        return walk.fault("its size is not the one stated");
    }
    let mut previous = None;
    for _ in 0..count {
        let value = walk.integer(width)?;
        if previous.is_some_and(|previous| previous >= value) {
            return walk.fault("its numbers are not in ascending order");
        }
        previous = Some(value);
        push_integer(into, value);
    }
    Ok(())
}

/// Appends the fields and values of a zipmap in turn. Cost: O(length of `block`).
///
/// Errors: any contradiction; `into` then holds a part.
pub fn read_zipmap(block: &[u8], into: &mut Elements) -> Result<()> {
    let mut walk = Walk::new(block);
    let stated = usize::from(walk.byte()?);
    let mut counted = 0;
    while !walk.at_end_mark() {
        let length = zipmap_length(&mut walk)?;
        into.push(walk.bytes(length)?);
        let length = zipmap_length(&mut walk)?;
        let unused = walk.byte()?;
        into.push(walk.bytes(length)?);
        walk.bytes(usize::from(unused))?;
        counted += 1;
    }
    if stated < usize::from(LENGTH_LONG) && stated != counted {
        return walk.fault("the number of entries is not the one stated");
    }
    walk.finish()
}

fn zipmap_length(walk: &mut Walk<'_>) -> Result<usize> {
    match walk.byte()? {
        LENGTH_LONG => walk.u32(),
        END => walk.fault("a value is missing"),
        short => Ok(usize::from(short)),
    }
}
