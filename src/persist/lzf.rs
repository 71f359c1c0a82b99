//! LZF: how Redis packs long strings.
//!
//! A packed string is a row of items. A literal run is one byte `000nnnnn` and n + 1 bytes to copy.
//! A back reference copies bytes that were already written, `distance` back from the end:
//!
//! ```text
//!   lllooooo oooooooo            length l + 2 (l from 1 to 6), distance o + 1 (at most 8,192)
//!   111ooooo llllllll oooooooo   length l + 9 (9 to 264)
//! ```
//!
//! Written here because the crate for it clears half a megabyte of table for every string, some
//! 7 us for a string of 90 bytes. This packer keeps its table: what an earlier string left in it is
//! known by its position, which never falls back. And it begins without one, to get one that fits
//! the longest string so far: clearing all of it takes longer than to pack a short string.

use std::fmt;

/// The table for short strings, and for long ones.
const TABLE_BITS_MIN: u32 = 8;
const TABLE_BITS_MAX: u32 = 14;
const DISTANCE_MAX: usize = 8_192;
const LITERALS_MAX: usize = 32;
const MATCH_BYTES_MIN: usize = 3;
const MATCH_BYTES_MAX: usize = 264;
/// From this length on an unpacked string is given no spare room.
const EXACT_BYTES_MIN: usize = 64 * 1024;
/// Positions are counted over all strings; past this the table is cleared and counting restarts.
const POSITION_MAX: usize = u32::MAX as usize;

/// Packs strings, one after the other, with one table of 64 KB at most.
pub struct Packer {
    /// Position of the latest sequence of three bytes with this hash; 0 is none.
    table: Box<[u32]>,
    /// How many bits of a hash choose the place; 0 while there is no table.
    table_bits: u32,
    /// Position of the next string's first byte.
    base: usize,
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packer(at {})", self.base)
    }
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// A packer without a table yet.
    #[must_use]
    pub fn new() -> Self {
        Self { table: Box::default(), table_bits: 0, base: 1 }
    }

    /// Has a table with two places for each byte of a string, as far as tables go.
    fn make_room(&mut self, plain_bytes: usize) {
        let bits = plain_bytes.max(1).ilog2() + 2;
        let bits = bits.clamp(TABLE_BITS_MIN, TABLE_BITS_MAX);
        if bits > self.table_bits {
            self.table = vec![0; 1 << bits].into_boxed_slice();
            self.table_bits = bits;
        }
    }

    /// Appends `plain` in packed form to `out` if that is at most `packed_bytes_max` long.
    ///
    /// Returns whether it was; if not, `out` is as before. Cost: O(length of `plain`), less when
    /// the bound is passed early.
    pub fn pack(&mut self, plain: &[u8], packed_bytes_max: usize, out: &mut Vec<u8>) -> bool {
        if plain.len() >= POSITION_MAX {
            return false;
        }
        if self.base > POSITION_MAX - plain.len() {
            self.table.fill(0);
            self.base = 1;
        }
        self.make_room(plain.len());
        let mark = out.len();
        let fits = self.pack_within(plain, mark.saturating_add(packed_bytes_max), out);
        self.base += plain.len();
        if !fits {
            out.truncate(mark);
        }
        fits
    }

    fn pack_within(&mut self, plain: &[u8], end_max: usize, out: &mut Vec<u8>) -> bool {
        let mut literals_from = 0;
        let mut at = 0;
        while let Some(earlier) = self.exchange(plain, at) {
            let length = earlier.map_or(0, |earlier| match_length(plain, earlier, at));
            let (Some(earlier), true) = (earlier, length >= MATCH_BYTES_MIN) else {
                at += 1;
                // A run of literals alone already costs this much.
                if out.len() + (at - literals_from) > end_max {
                    return false;
                }
                continue;
            };
            push_literals(plain.get(literals_from..at).unwrap_or_default(), out);
            push_reference(at - earlier - 1, length, out);
            if out.len() > end_max {
                return false;
            }
            // Two more positions inside the match keep the ratio good at little cost.
            let next = at + length;
            self.exchange(plain, next - 2);
            self.exchange(plain, next - 1);
            literals_from = next;
            at = next;
        }
        push_literals(plain.get(literals_from..).unwrap_or_default(), out);
        out.len() <= end_max
    }

    /// Notes position `at` under its three bytes. `None`: fewer than three bytes are left.
    /// `Some(Some(p))`: perhaps the same three bytes are at p, within reach of a reference.
    fn exchange(&mut self, plain: &[u8], at: usize) -> Option<Option<usize>> {
        let three = plain.get(at..)?.first_chunk::<3>()?;
        let value = u32::from_le_bytes([three[0], three[1], three[2], 0]);
        let hash = value.wrapping_mul(0x9E37_79B1) >> (u32::BITS - self.table_bits);
        let slot = self.table.get_mut(hash as usize)?;
        let earlier = *slot as usize;
        // `pack` made sure that every position of this string fits.
        *slot = (self.base + at) as u32;
        let within = earlier.checked_sub(self.base).filter(|earlier| at - earlier <= DISTANCE_MAX);
        Some(within.filter(|earlier| *earlier < at))
    }
}

fn match_length(plain: &[u8], earlier: usize, at: usize) -> usize {
    let old = plain.get(earlier..).unwrap_or_default();
    let new = plain.get(at..).unwrap_or_default();
    let pairs = old.iter().zip(new).take(MATCH_BYTES_MAX);
    pairs.take_while(|(old, new)| old == new).count()
}

fn push_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

/// `distance` is one less than the true one, as the format has it.
fn push_reference(distance: usize, length: usize, out: &mut Vec<u8>) {
    let high = (distance >> 8) as u8;
    let length = length - 2;
    if length < 7 {
        out.push(((length as u8) << 5) | high);
    } else {
        out.extend_from_slice(&[0b1110_0000 | high, (length - 7) as u8]);
    }
    out.push(distance as u8);
}

/// What is wrong with a packed string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnpackError {
    /// An item ends after the packed bytes do.
    CutShort,
    /// A reference goes back before the first byte.
    BadReference,
    /// More or fewer bytes come out than the file says.
    WrongLength,
    /// The memory cannot be had.
    OutOfMemory,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CutShort => "an item is cut short",
            Self::BadReference => "a reference points before the start",
            Self::WrongLength => "it does not unpack to the length stated",
            Self::OutOfMemory => "there is not enough memory to unpack it",
        })
    }
}

/// One item of a packed string.
enum Step<'a> {
    Literals(&'a [u8]),
    /// Bytes to go back, and how many to copy.
    Copy {
        distance: usize,
        length: usize,
    },
}

/// Takes the first item off `rest`; `None` at the end.
#[inline]
fn next_step<'a>(rest: &mut &'a [u8]) -> Result<Option<Step<'a>>, UnpackError> {
    let Some((&control, after)) = rest.split_first() else {
        return Ok(None);
    };
    *rest = after;
    if control < 0b0010_0000 {
        let length = usize::from(control) + 1;
        let (run, after) = rest.split_at_checked(length).ok_or(UnpackError::CutShort)?;
        *rest = after;
        return Ok(Some(Step::Literals(run)));
    }
    let mut length = usize::from(control >> 5) + 2;
    if length == 9 {
        length += usize::from(take_byte(rest)?);
    }
    let low = usize::from(take_byte(rest)?);
    let distance = (usize::from(control & 0b1_1111) << 8 | low) + 1;
    Ok(Some(Step::Copy { distance, length }))
}

/// Appends what `packed` stands for to `out`, exactly `plain_bytes` bytes of it.
///
/// A long string is gone through twice: nothing is reserved for it before its items have proved
/// that they give so many bytes. Cost: O(`plain_bytes`).
/// Errors: anything not quite right; `out` then holds a part.
pub fn unpack(packed: &[u8], plain_bytes: usize, out: &mut Vec<u8>) -> Result<(), UnpackError> {
    let reserved = if plain_bytes >= EXACT_BYTES_MIN {
        check(packed, plain_bytes)?;
        // A large string gets what it needs and no more, small ones share a growing block.
        out.try_reserve_exact(plain_bytes)
    } else {
        out.try_reserve(plain_bytes)
    };
    reserved.map_err(|_| UnpackError::OutOfMemory)?;
    let start = out.len();
    let mut rest = packed;
    while let Some(step) = next_step(&mut rest)? {
        let produced = out.len() - start;
        let room = plain_bytes - produced;
        match step {
            Step::Literals(run) if run.len() <= room => out.extend_from_slice(run),
            Step::Copy { distance, .. } if distance > produced => {
                return Err(UnpackError::BadReference);
            }
            Step::Copy { distance, length } if length <= room => copy_back(distance, length, out),
            _ => return Err(UnpackError::WrongLength),
        }
    }
    if out.len() - start == plain_bytes { Ok(()) } else { Err(UnpackError::WrongLength) }
}

/// Whether `packed` stands for exactly `plain_bytes` bytes. Cost: O(length of `packed`).
fn check(packed: &[u8], plain_bytes: usize) -> Result<(), UnpackError> {
    let mut rest = packed;
    let mut produced = 0_usize;
    while let Some(step) = next_step(&mut rest)? {
        produced += match step {
            Step::Literals(run) => run.len(),
            Step::Copy { distance, .. } if distance > produced => {
                return Err(UnpackError::BadReference);
            }
            Step::Copy { length, .. } => length,
        };
        if produced > plain_bytes {
            return Err(UnpackError::WrongLength);
        }
    }
    if produced == plain_bytes { Ok(()) } else { Err(UnpackError::WrongLength) }
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, UnpackError> {
    let (&byte, after) = rest.split_first().ok_or(UnpackError::CutShort)?;
    *rest = after;
    Ok(byte)
}

/// Appends `length` bytes from `distance` back; the two ranges may overlap, which repeats them.
fn copy_back(distance: usize, mut length: usize, out: &mut Vec<u8>) {
    let from = out.len() - distance;
    while length > 0 {
        let step = length.min(out.len() - from);
        out.extend_from_within(from..from + step);
        length -= step;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::Packer;
    use super::UnpackError;
    use super::unpack;

    use proptest::collection::vec;
    use proptest::prelude::*;

    fn unpacked(packed: &[u8], plain_bytes: usize) -> Result<Vec<u8>, UnpackError> {
        let mut out = b"before".to_vec();
        unpack(packed, plain_bytes, &mut out)?;
        assert_eq!(&out[..6], b"before");
        Ok(out[6..].to_vec())
    }

    fn packable() -> impl Strategy<Value = Vec<u8>> {
        let word = vec(0..4_u8, 1..300);
        let far = (vec(any::<u8>(), 40), 8_100..8_300_usize)
            .prop_map(|(part, gap)| [part.clone(), vec![0; gap], part].concat());
        prop_oneof![
            3 => vec(word, 1..40).prop_map(|words| words.concat()),
            1 => far,
            1 => vec(any::<u8>(), 0..400),
            1 => (any::<u8>(), 0..3_000_usize).prop_map(|(byte, times)| vec![byte; times]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn what_one_packer_packs_is_unpacked_to_the_same_here_and_by_the_crate(
            plains in vec(packable(), 1..8),
        ) {
            let mut packer = Packer::new();
            for plain in plains {
                let mut packed = b"before".to_vec();
                prop_assert!(packer.pack(&plain, usize::MAX, &mut packed));
                let packed = &packed[6..];
                prop_assert_eq!(&unpacked(packed, plain.len()).unwrap(), &plain);
                if !plain.is_empty() {
                    prop_assert_eq!(&lzf::decompress(packed, plain.len()).unwrap(), &plain);
                }
                prop_assert!(unpacked(packed, plain.len() + 1).is_err());
                prop_assert!(plain.is_empty() || unpacked(packed, plain.len() - 1).is_err());
            }
        }

        #[test]
        fn what_the_crate_packs_is_unpacked(plain in packable()) {
            if let Ok(packed) = lzf::compress(&plain) {
                prop_assert_eq!(unpacked(&packed, plain.len()).unwrap(), plain);
            }
        }

        #[test]
        fn the_bound_is_kept(plain in packable(), bound in 0..200_usize) {
            let mut packer = Packer::new();
            let (mut free, mut bounded) = (Vec::new(), b"before".to_vec());
            packer.pack(&plain, usize::MAX, &mut free);
            if packer.pack(&plain, bound, &mut bounded) {
                prop_assert!(bounded.len() - 6 <= bound);
            } else {
                prop_assert!(free.len() > bound);
                prop_assert_eq!(&bounded, b"before");
            }
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(
            packed in vec(any::<u8>(), 0..300),
            length in prop_oneof![0..9_000_usize, 60_000..70_000_usize],
        ) {
            if let Ok(plain) = unpacked(&packed, length) {
                prop_assert_eq!(plain.len(), length);
            }
        }
    }

    #[test]
    fn repeated_bytes_pack_at_the_best_ratio_of_the_format() {
        let mut packed = Vec::new();
        assert!(Packer::new().pack(&vec![b'x'; 264_000], usize::MAX, &mut packed));
        assert!(packed.len() <= 3 * 1_000 + 8, "{}", packed.len());
    }

    #[test]
    fn positions_start_over_before_they_do_not_fit() {
        let mut packer = Packer::new();
        let plain = b"a string that is there twice, a string that is there twice";
        let mut first = Vec::new();
        packer.pack(plain, usize::MAX, &mut first);
        for base in [u32::MAX as usize - plain.len(), u32::MAX as usize - 3] {
            packer.base = base;
            let mut again = Vec::new();
            assert!(packer.pack(plain, usize::MAX, &mut again));
            assert_eq!(unpacked(&again, plain.len()).unwrap(), plain);
        }
        assert_eq!(packer.base, 1 + plain.len());
    }

    #[test]
    fn nothing_is_reserved_for_a_long_string_that_its_items_do_not_give() {
        // As much as the ratio allows, but the items give less, or more, or go back too far.
        let packed = [b"\x00a".to_vec(), b"\xE0\xFF\x00".repeat(100_000)].concat();
        let plain_bytes = 1 + 100_000 * 264;
        for (packed, claimed, error) in [
            (&packed[..packed.len() - 3], plain_bytes, UnpackError::WrongLength),
            (&packed[..packed.len() - 1], plain_bytes, UnpackError::CutShort),
            (&packed[..], plain_bytes - 1, UnpackError::WrongLength),
            (&packed[2..], plain_bytes, UnpackError::BadReference),
        ] {
            let mut out = Vec::new();
            assert_eq!(unpack(packed, claimed, &mut out), Err(error));
            assert_eq!(out.capacity(), 0);
        }
        assert_eq!(unpacked(&packed, plain_bytes).unwrap(), vec![b'a'; plain_bytes]);
    }

    #[test]
    fn damaged_items_are_refused_each_with_its_reason() {
        assert_eq!(unpacked(b"\x02ab", 3), Err(UnpackError::CutShort));
        assert_eq!(unpacked(b"\x00a\x20", 9), Err(UnpackError::CutShort));
        assert_eq!(unpacked(b"\x00a\xE0\x00", 9), Err(UnpackError::CutShort));
        assert_eq!(unpacked(b"\x00a\x20\x01", 9), Err(UnpackError::BadReference));
        assert_eq!(unpacked(b"\x20\x00", 3), Err(UnpackError::BadReference));
        assert_eq!(unpacked(b"\x00a\x20\x00", 3), Err(UnpackError::WrongLength));
        assert_eq!(unpacked(b"\x00a\x20\x00", 5), Err(UnpackError::WrongLength));
        assert_eq!(unpacked(b"\x00a\x20\x00", 4).unwrap(), b"aaaa");
        assert_eq!(unpacked(b"\x01ab\xE0\x00\x01", 11).unwrap(), b"abababababa");
    }
}
