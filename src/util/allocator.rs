//! The allocator: mimalloc, with a count of the bytes in use, and asked to give memory back.
//!
//! A limit of memory needs a figure that follows every allocation at once, and costs nothing to
//! keep. What the system counts as resident does neither: it is read from a file, and free pages
//! stay in it. So every block is counted at what mimalloc reserves for its size; a block is freed
//! with the size that it was asked for, so the two always cancel out.
//!
//! Each thread counts in a cell of its own, which only it writes: no line of the cache is fought
//! for. What a cell holds goes to the total with every [`FLUSH_BYTES`], so that the total is never
//! far off ([`about_used_bytes`]); the cells added up make it exact ([`used_bytes`]).
//!
//! mimalloc keeps pages that have become free for a second, and gives them back when it is called
//! again after that. A server that has lost its data and its clients calls it no more, and would
//! keep all of its memory: [`give_back`]. And what one thread has allocated and another one freed
//! stays with the first until that looks for it, which takes long if there is much; so each thread
//! looks when it has nothing to do, and far less is in use than there was: [`rest`].

#![allow(unsafe_code, reason = "an allocator, and functions of another one")]

use crossbeam_utils::CachePadded;
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A cell that holds more than this, in either direction, is emptied into the total.
const FLUSH_BYTES: u64 = 8 << 10;
/// That less than this has been freed is not worth a look.
const FALL_BYTES_MIN: u64 = 1 << 20;
/// Threads with a cell of their own; further ones share the total, which is slow but right.
const CELLS: usize = 64;
/// mimalloc rounds what is larger than this to pages.
const CLASSES_BYTES_MAX: usize = 512 << 10;
const PAGE_BYTES: usize = 4 << 10;
/// Up to so many words of eight bytes there is a class for every two.
const PAIRED_WORDS_MAX: usize = 8;

static TOTAL: CachePadded<AtomicI64> = CachePadded::new(AtomicI64::new(0));
static PEAK: CachePadded<AtomicI64> = CachePadded::new(AtomicI64::new(0));
static CELL: [CachePadded<AtomicI64>; CELLS] =
    [const { CachePadded::new(AtomicI64::new(0)) }; CELLS];
/// A bit for each cell that has a thread.
static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The cell of this thread, once it has one and as long as the thread has not ended.
    static OWN: Cell<Option<&'static AtomicI64>> = const { Cell::new(None) };
    /// The most that was in use when this thread rested, since it last gave back.
    static HIGH: Cell<u64> = const { Cell::new(0) };
    /// Gives the cell back when the thread ends.
    static TENANCY: Tenancy = Tenancy::begin();
}

/// mimalloc, every block of it counted.
#[derive(Debug, Default, Clone, Copy)]
pub struct CountingAllocator;

// SAFETY: all is left to mimalloc, which keeps the contract; counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that mimalloc asks for.
        let block = unsafe { MiMalloc.alloc(layout) };
        if !block.is_null() {
            count(weight(layout.size()));
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe { MiMalloc.alloc_zeroed(layout) };
        if !block.is_null() {
            count(weight(layout.size()));
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(block, layout) }
        count(-weight(layout.size()));
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        let new = unsafe { MiMalloc.realloc(block, layout, new_size) };
        if !new.is_null() {
            count(weight(new_size) - weight(layout.size()));
        }
        new
    }
}

/// The bytes that mimalloc reserves for a block of this size.
#[inline]
#[must_use]
pub const fn reserved_bytes(size: usize) -> usize {
    let words = size.div_ceil(8);
    if words <= PAIRED_WORDS_MAX {
        if words <= 1 { 8 } else { words.next_multiple_of(2) * 8 }
    } else if size <= CLASSES_BYTES_MAX {
        // Four classes between one power of two and the next.
        let last = words - 1;
        let shift = last.ilog2() - 2;
        ((last >> shift) + 1) << shift << 3
    } else {
        size.next_multiple_of(PAGE_BYTES)
    }
}

/// The same as a number to count with.
#[inline]
const fn weight(size: usize) -> i64 {
    reserved_bytes(size) as i64
}

#[inline]
fn count(bytes: i64) {
    let Some(own) = OWN.get() else {
        return count_without_a_cell(bytes);
    };
    // Only this thread writes it.
    let sum = own.load(Ordering::Relaxed).wrapping_add(bytes);
    if sum.unsigned_abs() > FLUSH_BYTES {
        own.store(0, Ordering::Relaxed);
        add_to_total(sum);
    } else {
        own.store(sum, Ordering::Relaxed);
    }
}

/// Of a thread that begins, ends, or came when all cells were taken.
#[cold]
fn count_without_a_cell(bytes: i64) {
    match TENANCY.try_with(|tenancy| tenancy.cell) {
        Ok(Some(cell)) => {
            OWN.set(Some(cell));
            count(bytes);
        }
        Ok(None) | Err(_) => add_to_total(bytes),
    }
}

#[cold]
fn add_to_total(bytes: i64) {
    let total = TOTAL.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
    if total > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(total, Ordering::Relaxed);
    }
}

/// A thread's hold on its cell.
struct Tenancy {
    cell: Option<&'static AtomicI64>,
    bit: u64,
}

impl Tenancy {
    fn begin() -> Self {
        loop {
            let number = TAKEN.load(Ordering::Relaxed).trailing_ones();
            let Some(cell) = CELL.get(number as usize) else {
                return Self { cell: None, bit: 0 };
            };
            let bit = 1 << number;
            // That the last thread has emptied it is seen.
            if TAKEN.fetch_or(bit, Ordering::Acquire) & bit == 0 {
                return Self { cell: Some(&**cell), bit };
            }
        }
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        OWN.set(None);
        if let Some(cell) = self.cell {
            add_to_total(cell.swap(0, Ordering::Relaxed));
            TAKEN.fetch_and(!self.bit, Ordering::Release);
        }
    }
}

fn bytes(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Bytes in use, to within some kilobytes for each thread; 0 when nothing is counted.
///
/// Cost: one load.
#[inline]
#[must_use]
pub fn about_used_bytes() -> u64 {
    bytes(TOTAL.load(Ordering::Relaxed))
}

/// By how much [`about_used_bytes`] may be wrong.
#[must_use]
pub fn tolerance_bytes() -> u64 {
    u64::from(TAKEN.load(Ordering::Relaxed).count_ones()) * FLUSH_BYTES
}

/// Bytes in use; 0 when the process has another allocator. Cost: O(threads), up to 64.
#[must_use]
pub fn used_bytes() -> u64 {
    // What has no thread is empty.
    let taken = CELLS - TAKEN.load(Ordering::Relaxed).leading_zeros() as usize;
    let cells = CELL.iter().take(taken).map(|cell| cell.load(Ordering::Relaxed));
    bytes(cells.fold(TOTAL.load(Ordering::Relaxed), i64::wrapping_add))
}

/// The most that was ever in use. Cost: as that of [`used_bytes`].
#[must_use]
pub fn peak_bytes() -> u64 {
    bytes(PEAK.load(Ordering::Relaxed)).max(used_bytes())
}

/// Bytes of the pages that the allocator has from the system, in use or not.
#[must_use]
pub fn committed_bytes() -> u64 {
    let mut committed = 0;
    let none = std::ptr::null_mut();
    // SAFETY: it writes to the one place that it is given, which lives until it returns.
    unsafe {
        libmimalloc_sys::mi_process_info(
            none,
            none,
            none,
            none,
            none,
            &raw mut committed,
            none,
            none,
        );
    }
    committed as u64
}

/// Gives back the pages that are free: all of them `at_once`, or those that have been free for
/// more than a second. Of other threads' pages only those that are not theirs any more.
///
/// Cost: O(pages of this thread), and of what is free; little when there is nothing to give back.
pub fn give_back(at_once: bool) {
    // SAFETY: it may be called at any time on any thread, and touches nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(at_once) }
}

/// True when so much was freed that what is left is worth looking through.
const fn has_fallen(high_bytes: u64, used_bytes: u64) -> bool {
    used_bytes <= high_bytes / 2 && high_bytes - used_bytes >= FALL_BYTES_MIN
}

/// To be called by a thread that has nothing to do: gives back what is free of its own pages if no
/// more than half is in use of what was at another such time. True when it has.
///
/// Cost: one load, or else O(pages of this thread); memory falls by half a few times at most.
pub fn rest() -> bool {
    let (high, used) = (HIGH.get(), about_used_bytes());
    let falls = has_fallen(high, used);
    if falls || used > high {
        HIGH.set(used);
    }
    if falls {
        give_back(true);
    }
    falls
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn only_what_is_much_of_all_is_given_back() {
        let megabyte = 1 << 20;
        assert!(has_fallen(100 * megabyte, 50 * megabyte) && has_fallen(2 * megabyte, megabyte));
        assert!(!has_fallen(100 * megabyte, 51 * megabyte));
        assert!(!has_fallen(megabyte, megabyte / 2) && !has_fallen(0, 0) && !has_fallen(0, 9));
    }

    #[test]
    fn sizes_are_counted_as_mimalloc_rounds_them() {
        for size in (0..5_000).chain((5_000..2_000_000).step_by(509)) {
            // SAFETY: it only computes.
            let expected = unsafe { libmimalloc_sys::mi_good_size(size) };
            assert_eq!(reserved_bytes(size), expected, "{size}");
        }
    }

    #[test]
    fn what_one_thread_allocates_and_another_frees_cancels_out() {
        let (allocator, layout) = (CountingAllocator, Layout::new::<[u64; 100]>());
        // The count is of the whole process, in which nobody else uses this allocator.
        let before = used_bytes();
        for round in 0..100 {
            // SAFETY: the layout is not empty.
            let blocks: Vec<usize> =
                (0..100).map(|_| unsafe { allocator.alloc(layout) } as usize).collect();
            assert_eq!(used_bytes() - before, 100 * 896, "{round}");
            assert!(about_used_bytes().abs_diff(used_bytes()) <= tolerance_bytes());
            let free = move || {
                for block in black_box(blocks) {
                    // SAFETY: allocated above with the same layout.
                    let grown = unsafe { allocator.realloc(block as *mut u8, layout, 900) };
                    let layout = Layout::new::<[u8; 900]>();
                    // SAFETY: this is what it was reallocated to, but for an alignment of less.
                    unsafe { allocator.dealloc(grown, layout) };
                }
            };
            std::thread::spawn(free).join().unwrap_or_default();
            assert_eq!(used_bytes(), before, "{round}");
        }
        assert!(peak_bytes() >= before + 100 * 896);
    }
}
