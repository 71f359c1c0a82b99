//! HyperLogLog: how many different elements there were, from 12 KB at most.
//!
//! A sketch is a string in Redis' own format, byte for byte, so that it can be read, copied and
//! carried in a dump between the servers:
//!
//! ```text
//!   "HYLL" [encoding][0 0 0][count: 8, little endian, its highest bit says "outdated"] registers
//!   dense:  16,384 registers of 6 bits, the first in the lowest bits
//!   sparse: runs of registers      00xxxxxx           x + 1 of them are 0
//!                                  01xxxxxx xxxxxxxx  x + 1 of them are 0
//!                                  1vvvvvxx           x + 1 of them are v + 1
//! ```
//!
//! An element chooses a register by 14 bits of its hash, and the register keeps the longest run of
//! zeros that followed. A sketch is sparse until a run is too long for it or it would be longer
//! than a limit. Anybody can write any bytes into a string, so every run is checked against the
//! end of the bytes and the number of registers.

use std::fmt::Write;
use std::ops::Range;

/// Number of registers.
pub const REGISTERS: usize = 1 << REGISTER_NUMBER_BITS;
const REGISTER_NUMBER_BITS: u32 = 14;
/// Bits of the hash behind the number of the register.
const RUN_BITS: u32 = 64 - REGISTER_NUMBER_BITS;
const REGISTER_BITS: usize = 6;
/// Registers that are looked at together for one that is not 0.
const REGISTERS_AT_ONCE: usize = 64;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
const HASH_SEED: u64 = 0xadc8_3b19;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const COUNT_AT: Range<usize> = 8..16;
const HEADER_BYTES: usize = 16;
/// Bytes of a dense sketch.
pub const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// In the last byte of the count: it is outdated.
const OUTDATED: u8 = 0x80;

/// Registers of a short run of zeros at most.
const SHORT_ZEROS_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
/// Runs that are looked at after a change, for two that can be joined.
const JOIN_RUNS: usize = 5;

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The bytes contradict themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupted;

/// How a sketch keeps its registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// In runs.
    Sparse,
}

/// How the bytes are encoded; `None` when they are no sketch. The runs are not looked at.
#[must_use]
pub fn encoding(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes.get(ENCODING_AT) {
        Some(&DENSE) if bytes.len() == DENSE_BYTES => Some(Encoding::Dense),
        Some(&SPARSE) => Some(Encoding::Sparse),
        _ => None,
    }
}

/// A sketch of nothing.
#[must_use]
pub fn empty() -> Vec<u8> {
    let mut sketch = MAGIC.to_vec();
    sketch.push(SPARSE);
    sketch.resize(HEADER_BYTES, 0);
    push_zeros(&mut sketch, REGISTERS);
    sketch
}

/// What one element does to a sketch: the register and the least that it must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    register: usize,
    value: u8,
}

impl Mark {
    /// That of this element. Cost: O(n).
    #[must_use]
    pub fn of(element: &[u8]) -> Self {
        let hash = murmur(element);
        let register = (hash & (REGISTERS as u64 - 1)) as usize;
        let run = (hash >> REGISTER_NUMBER_BITS | 1 << RUN_BITS).trailing_zeros();
        Self { register, value: run as u8 + 1 }
    }
}

/// MurmurHash64A.
fn murmur(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = HASH_SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

/// The count that the sketch remembers, unless it is outdated.
#[must_use]
pub fn remembered_count(sketch: &[u8]) -> Option<u64> {
    let count = u64::from_le_bytes(*sketch.get(COUNT_AT)?.first_chunk()?);
    (count >> 63 == 0).then_some(count)
}

/// Has the sketch remember a count.
pub fn remember_count(sketch: &mut [u8], count: u64) {
    if let Some(place) = sketch.get_mut(COUNT_AT) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}

/// Makes the remembered count outdated.
pub fn forget_count(sketch: &mut [u8]) {
    if let Some(last) = sketch.get_mut(COUNT_AT.end - 1) {
        *last |= OUTDATED;
    }
}

/// Two bytes of a dense sketch in which a register lies, and by how many bits it is raised there.
fn dense_window(sketch: &[u8], register: usize) -> (usize, u16, usize) {
    let bit = register * REGISTER_BITS;
    let at = HEADER_BYTES + bit / 8;
    let byte = |at: usize| u16::from(sketch.get(at).copied().unwrap_or(0));
    (at, byte(at) | byte(at + 1) << 8, bit % 8)
}

fn dense_register(sketch: &[u8], register: usize) -> u8 {
    let (_, window, shift) = dense_window(sketch, register);
    (window >> shift) as u8 & REGISTER_MAX
}

fn set_dense_register(sketch: &mut [u8], register: usize, value: u8) {
    let (at, window, shift) = dense_window(sketch, register);
    let window =
        window & !(u16::from(REGISTER_MAX) << shift) | u16::from(value & REGISTER_MAX) << shift;
    for (place, byte) in sketch.iter_mut().skip(at).zip(window.to_le_bytes()) {
        *place = byte;
    }
}

/// True when `mark` raises a register of a dense sketch.
#[must_use]
pub fn dense_is_raised_by(sketch: &[u8], mark: Mark) -> bool {
    mark.value > dense_register(sketch, mark.register)
}

/// Adds to a dense sketch; true when that raised a register. Cost: O(1).
pub fn add_to_dense(sketch: &mut [u8], mark: Mark) -> bool {
    let raised = dense_is_raised_by(sketch, mark);
    if raised {
        set_dense_register(sketch, mark.register, mark.value);
    }
    raised
}

/// Some neighbouring registers with the same value.
#[derive(Debug, Clone, Copy)]
struct Run {
    registers: usize,
    value: u8,
    bytes: usize,
}

/// The run that starts at `at`.
fn run_at(sketch: &[u8], at: usize) -> Option<Run> {
    let first = *sketch.get(at)?;
    let low = usize::from(first & 0x3f);
    Some(match first >> 6 {
        0 => Run { registers: low + 1, value: 0, bytes: 1 },
        1 => {
            // Redis reads the zero byte behind a string here, if the string ends.
            let second = usize::from(sketch.get(at + 1).copied().unwrap_or(0));
            Run { registers: (low << 8 | second) + 1, value: 0, bytes: 2 }
        }
        _ => {
            let registers = usize::from(first & 0x03) + 1;
            Run { registers, value: (first >> 2 & 0x1f) + 1, bytes: 1 }
        }
    })
}

fn value_run(value: u8, registers: usize) -> u8 {
    0x80 | (value - 1) << 2 | (registers - 1) as u8
}

fn push_zeros(runs: &mut Vec<u8>, registers: usize) {
    match registers {
        0 => {}
        1..=SHORT_ZEROS_MAX => runs.push((registers - 1) as u8),
        _ => runs.extend_from_slice(&((registers - 1) as u16 | 0x4000).to_be_bytes()),
    }
}

fn push_value(runs: &mut Vec<u8>, value: u8, registers: usize) {
    if registers > 0 {
        runs.push(value_run(value, registers));
    }
}

/// Calls `each` with the first register and every run of a sparse sketch.
fn for_each_run(sketch: &[u8], mut each: impl FnMut(usize, Run)) -> Result<(), Corrupted> {
    let (mut at, mut register) = (HEADER_BYTES, 0);
    while at < sketch.len() {
        let run = run_at(sketch, at).ok_or(Corrupted)?;
        if register + run.registers > REGISTERS {
            return Err(Corrupted);
        }
        each(register, run);
        register += run.registers;
        at += run.bytes;
    }
    if register == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// Makes a sparse sketch dense; true when it was sparse. Cost: O(registers).
///
/// # Errors
/// `Corrupted`; the sketch stays as it was.
pub fn make_dense(sketch: &mut Vec<u8>) -> Result<bool, Corrupted> {
    if encoding(sketch) == Some(Encoding::Dense) {
        return Ok(false);
    }
    let mut dense = sketch.get(..HEADER_BYTES).ok_or(Corrupted)?.to_vec();
    dense.resize(DENSE_BYTES, 0);
    if let Some(encoding) = dense.get_mut(ENCODING_AT) {
        *encoding = DENSE;
    }
    for_each_run(sketch, |first, run| {
        if run.value > 0 {
            for register in first..first + run.registers {
                set_dense_register(&mut dense, register, run.value);
            }
        }
    })?;
    *sketch = dense;
    Ok(true)
}

/// Adds to a sketch, which becomes dense if it would be longer than `sparse_bytes_max`; true when
/// that raised a register. Cost: O(n) for n runs when sparse, else O(1).
///
/// # Errors
/// `Corrupted` when the runs do not reach the register.
pub fn add(sketch: &mut Vec<u8>, mark: Mark, sparse_bytes_max: usize) -> Result<bool, Corrupted> {
    if encoding(sketch) == Some(Encoding::Dense) {
        return Ok(add_to_dense(sketch, mark));
    }
    let outcome = if mark.value > VALUE_MAX {
        Sparse::TooLarge
    } else {
        add_to_sparse(sketch, mark, sparse_bytes_max)?
    };
    match outcome {
        Sparse::Unchanged => return Ok(false),
        Sparse::Raised => {}
        Sparse::TooLarge => {
            make_dense(sketch)?;
            add_to_dense(sketch, mark);
        }
    }
    forget_count(sketch);
    Ok(true)
}

/// What became of a sparse sketch.
enum Sparse {
    Unchanged,
    Raised,
    /// Nothing: it has to be dense for that.
    TooLarge,
}

fn add_to_sparse(sketch: &mut Vec<u8>, mark: Mark, bytes_max: usize) -> Result<Sparse, Corrupted> {
    let Mark { register, value } = mark;
    let (mut at, mut first, mut before) = (HEADER_BYTES, 0, None);
    let run = loop {
        let run = run_at(sketch, at).ok_or(Corrupted)?;
        if register < first + run.registers {
            break run;
        }
        before = Some(at);
        at += run.bytes;
        first += run.registers;
    };
    if run.value >= value {
        return Ok(Sparse::Unchanged);
    }
    // The run in up to three parts: before the register, the register, behind it.
    let mut runs = Vec::with_capacity(5);
    let (left, right) = (register - first, first + run.registers - 1 - register);
    if run.value == 0 {
        push_zeros(&mut runs, left);
        push_value(&mut runs, value, 1);
        push_zeros(&mut runs, right);
    } else {
        push_value(&mut runs, run.value, left);
        push_value(&mut runs, value, 1);
        push_value(&mut runs, run.value, right);
    }
    if runs.len() > run.bytes && sketch.len() + runs.len() - run.bytes > bytes_max {
        return Ok(Sparse::TooLarge);
    }
    let cut = (at + run.bytes).saturating_sub(sketch.len());
    sketch.splice(at..at + run.bytes - cut, runs);
    sketch.truncate(sketch.len() - cut);
    join_runs(sketch, before.unwrap_or(HEADER_BYTES));
    Ok(Sparse::Raised)
}

/// Joins neighbouring runs of one value, as far as a run can hold them.
fn join_runs(sketch: &mut Vec<u8>, from: usize) {
    let mut at = from;
    for _ in 0..JOIN_RUNS {
        let Some(run) = run_at(sketch, at) else {
            return;
        };
        if run.value > 0
            && let Some(next) = run_at(sketch, at + 1).filter(|next| next.value == run.value)
            && run.registers + next.registers <= VALUE_RUN_MAX
        {
            sketch.splice(at..at + 2, [value_run(run.value, run.registers + next.registers)]);
        } else {
            at += run.bytes;
        }
    }
}

/// True when all of these registers are 0; without a jump, so that it takes few instructions.
fn is_nought(registers: &[u8; REGISTERS_AT_ONCE]) -> bool {
    registers.iter().fold(0, |all, register| all | register) == 0
}

/// The registers of one sketch, or the highest of several.
#[derive(Debug, Clone)]
pub struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl Registers {
    /// Raises every register to that of `sketch`. Cost: O(registers).
    ///
    /// # Errors
    /// `Corrupted`; some registers may be raised then.
    pub fn merge(&mut self, sketch: &[u8]) -> Result<(), Corrupted> {
        match encoding(sketch).ok_or(Corrupted)? {
            Encoding::Dense => {
                // Four registers are in three bytes.
                let (threes, _) = sketch.get(HEADER_BYTES..).ok_or(Corrupted)?.as_chunks::<3>();
                let (fours, _) = self.0.as_chunks_mut::<4>();
                for (registers, [a, b, c]) in fours.iter_mut().zip(threes) {
                    let values = [*a, a >> 6 | b << 2, b >> 4 | c << 4, c >> 2];
                    for (register, value) in registers.iter_mut().zip(values) {
                        *register = (value & REGISTER_MAX).max(*register);
                    }
                }
                Ok(())
            }
            // Most registers are in few long runs of zeros, which raise nothing.
            Encoding::Sparse => for_each_run(sketch, |first, run| {
                let registers = first..first + run.registers;
                if run.value > 0 {
                    for register in self.0.get_mut(registers).unwrap_or_default() {
                        *register = run.value.max(*register);
                    }
                }
            }),
        }
    }

    /// Raises the registers of `sketch` to these. Cost: O(registers), and for a sparse sketch
    /// O(runs) for each that is not 0.
    ///
    /// # Errors
    /// `Corrupted`; some registers may be raised then.
    pub fn raise(&self, sketch: &mut Vec<u8>, sparse_bytes_max: usize) -> Result<(), Corrupted> {
        let (eights, _) = self.0.as_chunks::<8>();
        for (number, eight) in eights.iter().enumerate() {
            if u64::from_ne_bytes(*eight) == 0 {
                continue;
            }
            for (register, value) in (number * 8..).zip(eight.iter().copied()) {
                if value > 0 {
                    add(sketch, Mark { register, value }, sparse_bytes_max)?;
                }
            }
        }
        Ok(())
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied()
    }

    /// How many different elements there were, by Otmar Ertl's estimate ("New cardinality
    /// estimation algorithms for HyperLogLog sketches"). Cost: O(registers).
    #[must_use]
    pub fn count(&self) -> u64 {
        let mut histogram = [0_u32; 1 + REGISTER_MAX as usize];
        let mut noughts = 0;
        // They are a multiple of all these numbers. Of few elements most registers are 0.
        let (blocks, _) = self.0.as_chunks::<REGISTERS_AT_ONCE>();
        for block in blocks {
            if is_nought(block) {
                noughts += REGISTERS_AT_ONCE as u32;
                continue;
            }
            let (eights, _) = block.as_chunks::<8>();
            for eight in eights {
                if u64::from_ne_bytes(*eight) == 0 {
                    noughts += 8;
                    continue;
                }
                for value in eight {
                    if let Some(bin) = histogram.get_mut(usize::from(*value)) {
                        *bin += 1;
                    }
                }
            }
        }
        if let Some(bin) = histogram.first_mut() {
            *bin += noughts;
        }
        let bin = |value: u32| f64::from(histogram.get(value as usize).copied().unwrap_or(0));
        let registers = REGISTERS as f64;
        let mut z = registers * tau((registers - bin(RUN_BITS + 1)) / registers);
        for value in (1..=RUN_BITS).rev() {
            z = (z + bin(value)) * 0.5;
        }
        z += registers * sigma(bin(0) / registers);
        (ALPHA * registers * registers / z).round() as u64
    }
}

/// The sum of `x^(2^k) * 2^(k-1)` over k, and x.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut factor, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * factor;
        factor += factor;
        if before >= sum {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut factor, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        factor *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * factor;
        if before <= sum {
            return sum / 3.0;
        }
    }
}

/// The runs of a sparse sketch for people: `Z:` and `z:` long and short runs of zeros, `v:` a value
/// and its number.
#[must_use]
pub fn describe_runs(sketch: &[u8]) -> String {
    let (mut at, mut text) = (HEADER_BYTES, String::new());
    while let Some(run) = run_at(sketch, at) {
        let blank = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _infallible = match (run.value, run.bytes) {
            (0, 1) => write!(text, "{blank}z:{}", run.registers),
            (0, _) => write!(text, "{blank}Z:{}", run.registers),
            (value, _) => write!(text, "{blank}v:{value},{}", run.registers),
        };
        at += run.bytes;
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn registers(sketch: &[u8]) -> Vec<u8> {
        let mut registers = Registers::default();
        registers.merge(sketch).unwrap();
        registers.iter().collect()
    }

    #[test]
    fn the_hash_is_murmur_64_a() {
        for (bytes, hash) in [
            (&b""[..], 0xd8df_ea65_85bc_9732),
            (&b"a"[..], 0x53d2_470a_9b43_b1a7),
            (&b"abcdefgh"[..], 0xf3a6_5df5_5991_4567),
            (&b"hello world"[..], 0xa919_bc30_51f6_24b7),
        ] {
            assert_eq!(murmur(bytes), hash);
        }
    }

    #[test]
    fn sparse_and_dense_agree_and_are_near_the_truth() {
        let (mut sparse, mut dense) = (empty(), empty());
        make_dense(&mut dense).unwrap();
        for n in 1_u64..=100_000 {
            let mark = Mark::of(&n.to_le_bytes());
            let raised = add(&mut sparse, mark, 3_000).unwrap();
            assert_eq!(raised, add(&mut dense, mark, 3_000).unwrap());
            if [1, 10, 100, 1_000, 10_000, 100_000].contains(&n) {
                assert_eq!(registers(&sparse), registers(&dense));
                let mut all = Registers::default();
                all.merge(&sparse).unwrap();
                assert!(all.count().abs_diff(n) <= n / 20, "{} of {n}", all.count());
                let is_sparse = encoding(&sparse) == Some(Encoding::Sparse);
                assert_eq!(is_sparse, n <= 1_000);
            }
        }
    }

    proptest! {
        #[test]
        fn a_sparse_sketch_holds_what_was_added(
            marks in prop::collection::vec((0_usize..400, 1_u8..40), 0..300), scale in 1_usize..41,
        ) {
            let (mut sketch, mut model) = (empty(), vec![0_u8; REGISTERS]);
            for (register, value) in marks {
                let register = register * scale;
                let raised = add(&mut sketch, Mark { register, value }, 3_000).unwrap();
                prop_assert_eq!(raised, value > model[register]);
                model[register] = value.max(model[register]);
            }
            prop_assert_eq!(registers(&sketch), model);
        }

        #[test]
        fn no_bytes_upset_a_sketch(runs: Vec<u8>, register in 0..REGISTERS, value in 1_u8..60) {
            let mut sketch = empty();
            sketch.truncate(HEADER_BYTES);
            sketch.extend_from_slice(&runs);
            let _ = add(&mut sketch, Mark { register, value }, 3_000);
            let _ = Registers::default().merge(&sketch);
            let _ = describe_runs(&sketch);
            let _ = make_dense(&mut sketch);
        }
    }
}
