//! The allocator, asked to give memory back to the system.
//!
//! mimalloc keeps pages that have become free for a second, and gives them back when it is called
//! again after that. A server that has lost its data and its clients calls it no more, and would
//! keep all of its memory.

#![allow(unsafe_code, reason = "a function of the allocator")]

/// Gives back the pages that are free: all of them `at_once`, or those that have been free for
/// more than a second. Of other threads' pages only those that are not theirs any more.
///
/// Cost: O(pages of this thread), and of what is free; little when there is nothing to give back.
pub fn give_back(at_once: bool) {
    // SAFETY: it may be called at any time on any thread, and touches nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(at_once) }
}
