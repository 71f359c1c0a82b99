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
        Err(CompactError { problem, inner_offset: self.at })
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
        self.bytes(N)?
            .try_into()
            .map_err(|_| CompactError { problem: "bad size", inner_offset: at })
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<usize> {
        self.array().map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn u32(&mut self) -> Result<usize> {
        self.array().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// Sign and all, from 2, 3, 4 or 8 bytes.
    fn integer(&mut self, count: usize) -> Result<i64> {
        let bytes = self.bytes(count)?;
        let unsigned = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
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
    if stated == walk.block.len() { Ok(()) } else { walk.fault("its size is not the one stated") }
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
                    if unsigned < 1 << 12 { unsigned } else { unsigned - (1 << 13) }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::CompactError;
    use super::read_intset;
    use super::read_listpack;
    use super::read_ziplist;
    use super::read_zipmap;
    use crate::persist::value::Elements;

    use proptest::collection::vec;
    use proptest::prelude::*;

    type Decode = fn(&[u8], &mut Elements) -> Result<(), CompactError>;

    fn decoded(decode: Decode, block: &[u8]) -> Result<Vec<Vec<u8>>, CompactError> {
        let mut elements = Elements::new();
        decode(block, &mut elements)?;
        Ok(elements.iter().map(<[u8]>::to_vec).collect())
    }

    fn problem(decode: Decode, block: &[u8]) -> &'static str {
        decoded(decode, block).expect_err("it should have been refused").problem
    }

    /// An element as the encoders of Redis see it.
    fn integer(element: &[u8]) -> Option<i64> {
        let value: i64 = std::str::from_utf8(element).ok()?.parse().ok()?;
        (value.to_string().as_bytes() == element).then_some(value)
    }

    fn fits(value: i64, bits: u32) -> bool {
        value >= -(1 << (bits - 1)) && value < 1 << (bits - 1)
    }

    fn low_bytes(value: i64, count: usize) -> Vec<u8> {
        value.to_le_bytes()[..count].to_vec()
    }

    fn ziplist_content(element: &[u8]) -> Vec<u8> {
        let coded = |code: u8, value, count| [vec![code], low_bytes(value, count)].concat();
        match integer(element) {
            Some(value @ 0..=12) => vec![0xF1 + value as u8],
            Some(value) if fits(value, 8) => coded(0xFE, value, 1),
            Some(value) if fits(value, 16) => coded(0xC0, value, 2),
            Some(value) if fits(value, 24) => coded(0xF0, value, 3),
            Some(value) if fits(value, 32) => coded(0xD0, value, 4),
            Some(value) => coded(0xE0, value, 8),
            None => {
                let length = element.len() as u32;
                let head = match length {
                    0..64 => vec![length as u8],
                    64..16_384 => (length as u16 | 0x4000).to_be_bytes().to_vec(),
                    _ => [vec![0x80], length.to_be_bytes().to_vec()].concat(),
                };
                [&head, element].concat()
            }
        }
    }

    /// `long_links` makes every back link five bytes long, as Redis may leave them.
    fn ziplist(elements: &[Vec<u8>], long_links: bool) -> Vec<u8> {
        let mut body = Vec::new();
        let (mut last_entry, mut previous) = (10, 0);
        for element in elements {
            last_entry = 10 + body.len();
            if previous < 254 && !long_links {
                body.push(previous as u8);
            } else {
                body.push(0xFE);
                body.extend_from_slice(&(previous as u32).to_le_bytes());
            }
            body.extend_from_slice(&ziplist_content(element));
            previous = 10 + body.len() - last_entry;
        }
        let size = (10 + body.len() + 1) as u32;
        let mut block = size.to_le_bytes().to_vec();
        block.extend_from_slice(&(last_entry as u32).to_le_bytes());
        block.extend_from_slice(&(elements.len() as u16).to_le_bytes());
        [block, body, vec![0xFF]].concat()
    }

    fn listpack_content(element: &[u8]) -> Vec<u8> {
        let coded = |code: u8, value, count| [vec![code], low_bytes(value, count)].concat();
        match integer(element) {
            Some(value @ 0..=127) => vec![value as u8],
            Some(value) if fits(value, 13) => {
                let bits = value as u16 & 0x1FFF;
                vec![0xC0 | (bits >> 8) as u8, bits as u8]
            }
            Some(value) if fits(value, 16) => coded(0xF1, value, 2),
            Some(value) if fits(value, 24) => coded(0xF2, value, 3),
            Some(value) if fits(value, 32) => coded(0xF3, value, 4),
            Some(value) => coded(0xF4, value, 8),
            None => {
                let length = element.len();
                let head = match length {
                    0..64 => vec![0x80 | length as u8],
                    64..4_096 => vec![0xE0 | (length >> 8) as u8, length as u8],
                    _ => [vec![0xF0], (length as u32).to_le_bytes().to_vec()].concat(),
                };
                [&head, element].concat()
            }
        }
    }

    fn listpack(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        for element in elements {
            let content = listpack_content(element);
            body.extend_from_slice(&content);
            let length = content.len();
            let width = [127, 16_382, 2_097_150, 268_435_454]
                .iter()
                .take_while(|max| length > **max)
                .count();
            for step in (0..=width).rev() {
                let mark = if step == width { 0 } else { 0x80 };
                body.push((length >> (7 * step)) as u8 & 0x7F | mark);
            }
        }
        let size = (6 + body.len() + 1) as u32;
        let count = (elements.len() as u16).to_le_bytes().to_vec();
        [size.to_le_bytes().to_vec(), count, body, vec![0xFF]].concat()
    }

    fn intset(values: &[i64], width: usize) -> Vec<u8> {
        let mut block = (width as u32).to_le_bytes().to_vec();
        block.extend_from_slice(&(values.len() as u32).to_le_bytes());
        values.iter().for_each(|value| block.extend_from_slice(&low_bytes(*value, width)));
        block
    }

    fn zipmap(pairs: &[(Vec<u8>, Vec<u8>)], unused: u8) -> Vec<u8> {
        let length = |bytes: &[u8]| match bytes.len() {
            short @ 0..254 => vec![short as u8],
            long => [vec![0xFE], (long as u32).to_le_bytes().to_vec()].concat(),
        };
        let mut block = vec![pairs.len().min(254) as u8];
        for (field, value) in pairs {
            let room = vec![0xAA; usize::from(unused)];
            block.extend([length(field), field.clone(), length(value)].concat());
            block.push(unused);
            block.extend([value.clone(), room].concat());
        }
        block.push(0xFF);
        block
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        let number = any::<i64>().prop_flat_map(|value| {
            (0..64_u32).prop_map(move |shift| (value >> shift).to_string().into_bytes())
        });
        let edges = proptest::sample::select(vec![
            61_usize, 62, 63, 64, 124, 125, 126, 127, 252, 253, 254, 255, 4_095, 4_096, 16_378,
            16_379, 16_380, 16_381, 16_382, 16_383, 16_384,
        ]);
        prop_oneof![
            3 => vec(any::<u8>(), 0..20),
            3 => number,
            2 => (edges, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn lists_are_read_as_they_were_encoded(elements in vec(element(), 0..40), long: bool) {
            prop_assert_eq!(&decoded(read_ziplist, &ziplist(&elements, long)).unwrap(), &elements);
            prop_assert_eq!(&decoded(read_listpack, &listpack(&elements)).unwrap(), &elements);
        }

        #[test]
        fn zipmaps_are_read_as_they_were_encoded(
            pairs in vec((element(), element()), 0..20),
            unused: u8,
        ) {
            let expected: Vec<Vec<u8>> =
                pairs.iter().flat_map(|(field, value)| [field.clone(), value.clone()]).collect();
            prop_assert_eq!(decoded(read_zipmap, &zipmap(&pairs, unused)).unwrap(), expected);
        }

        #[test]
        fn intsets_are_read_as_they_were_encoded(
            values in proptest::collection::btree_set(any::<i64>(), 0..40),
            width in proptest::sample::select(vec![2_usize, 4, 8]),
        ) {
            let unused_bits = 64 - 8 * width as u32;
            let values: std::collections::BTreeSet<i64> =
                values.into_iter().map(|value| value >> unused_bits).collect();
            let values: Vec<i64> = values.into_iter().collect();
            let expected: Vec<Vec<u8>> =
                values.iter().map(|value| value.to_string().into_bytes()).collect();
            prop_assert_eq!(decoded(read_intset, &intset(&values, width)).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_read_or_refused(block in vec(any::<u8>(), 0..200)) {
            for decode in [read_ziplist as Decode, read_listpack, read_intset, read_zipmap] {
                if let Err(error) = decoded(decode, &block) {
                    prop_assert!(error.inner_offset <= block.len());
                }
            }
        }

        #[test]
        fn every_cut_and_every_changed_byte_is_survived(
            elements in vec(element(), 1..12),
            byte in 1..=255_u8,
        ) {
            let pairs: Vec<_> =
                elements.iter().map(|element| (element.clone(), element.clone())).collect();
            for (decode, block) in [
                (read_ziplist as Decode, ziplist(&elements, false)),
                (read_listpack, listpack(&elements)),
                (read_zipmap, zipmap(&pairs, 3)),
            ] {
                // The bytes of long elements are not worth a look each.
                let step = block.len() / 300 + 1;
                for at in (0..block.len()).step_by(step) {
                    prop_assert!(decoded(decode, &block[..at]).is_err());
                    let mut changed = block.clone();
                    changed[at] ^= byte;
                    let _ = decoded(decode, &changed);
                }
            }
        }
    }

    #[test]
    fn a_count_that_does_not_fit_is_found_by_walking() {
        let elements: Vec<Vec<u8>> = (0..3).map(|value| vec![value]).collect();
        let mut block = ziplist(&elements, false);
        block[8..10].fill(0xFF);
        assert_eq!(decoded(read_ziplist, &block).unwrap(), elements);
        let mut block = listpack(&elements);
        block[4..6].fill(0xFF);
        assert_eq!(decoded(read_listpack, &block).unwrap(), elements);
        let many = vec![(vec![7], vec![8]); 300];
        assert_eq!(decoded(read_zipmap, &zipmap(&many, 0)).unwrap().len(), 600);
    }

    #[test]
    fn blocks_that_contradict_themselves_are_refused() {
        let elements = [b"one".to_vec(), b"2".to_vec(), b"three".to_vec()];
        let change = |block: &[u8], at: usize, byte: u8| {
            let mut block = block.to_vec();
            block[at] = byte;
            block
        };
        let good = ziplist(&elements, false);
        let list = |at, byte| problem(read_ziplist, &change(&good, at, byte));
        assert_eq!(list(0, 1), "its size is not the one stated");
        assert_eq!(list(4, 11), "the last entry is not where it is stated to be");
        assert_eq!(list(8, 2), "the number of entries is not the one stated");
        assert_eq!(list(15, 6), "a back link is not the length of the entry before");
        assert_eq!(list(16, 0xFF), "an entry has an unknown encoding");
        assert_eq!(list(11, 0xBF), "it ends in the middle of an entry");
        let good = listpack(&elements);
        let list = |at, byte| problem(read_listpack, &change(&good, at, byte));
        assert_eq!(list(1, 1), "its size is not the one stated");
        assert_eq!(list(4, 4), "the number of entries is not the one stated");
        assert_eq!(list(10, 5), "a back link is not the length of its entry");
        assert_eq!(list(11, 0xF5), "an entry has an unknown encoding");
        let mut inner_end = listpack(&elements);
        inner_end[6] = 0xFF;
        assert_eq!(
            problem(read_listpack, &inner_end),
            "the number of entries is not the one stated"
        );
        assert_eq!(
            problem(read_intset, &intset(&[1, 2, 2], 2)),
            "its numbers are not in ascending order"
        );
        assert_eq!(
            problem(read_intset, &intset(&[2, 1], 8)),
            "its numbers are not in ascending order"
        );
        assert_eq!(problem(read_intset, &intset(&[1], 3)), "its numbers have an unknown size");
        assert_eq!(problem(read_intset, &intset(&[1], 4)[..11]), "its size is not the one stated");
        let pair = [(b"f".to_vec(), b"v".to_vec())];
        let good = zipmap(&pair, 0);
        assert_eq!(problem(read_zipmap, &change(&good, 3, 0xFF)), "a value is missing");
        assert_eq!(
            problem(read_zipmap, &change(&good, 0, 2)),
            "the number of entries is not the one stated"
        );
        let trailing = [good, vec![0]].concat();
        assert_eq!(problem(read_zipmap, &trailing), "bytes follow after the end mark");
    }
}
