//! A bug that a test can switch on, to see that it would find it: a message overtakes the one
//! before it while both wait for a client.
//!
//! It exists only where debug assertions do: in a release build [`is_on`] is the constant `false`
//! and nothing of this remains.

#[cfg(debug_assertions)]
mod switch {
    use std::sync::atomic::{AtomicBool, Ordering};

    static PLANTED: AtomicBool = AtomicBool::new(false);

    /// True when the bug is planted.
    pub fn is_on() -> bool {
        PLANTED.load(Ordering::Relaxed)
    }

    /// Plants the bug in the whole process until the returned guard is dropped.
    #[must_use]
    pub fn plant() -> Planted {
        PLANTED.store(true, Ordering::SeqCst);
        Planted(())
    }

    /// Removes the bug again when dropped.
    #[derive(Debug)]
    pub struct Planted(());

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(debug_assertions)]
pub use switch::{Planted, is_on, plant};

/// False: a release build has no planted bug.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub const fn is_on() -> bool {
    false
}
