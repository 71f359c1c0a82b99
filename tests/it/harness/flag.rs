//! A flag that tells the threads of a test to end, raised when the test fails, too: else the test
//! would wait for them for ever.

use std::sync::atomic::{AtomicBool, Ordering};

/// Raises the flag when it is dropped.
#[must_use]
pub struct RaisedAtEnd<'f>(&'f AtomicBool);

/// Raises `flag` when what is returned is dropped.
pub fn raise_at_end(flag: &AtomicBool) -> RaisedAtEnd<'_> {
    RaisedAtEnd(flag)
}

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
