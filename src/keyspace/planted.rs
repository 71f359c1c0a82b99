//! Bugs that a test can switch on, to see that it would find them.
//!
//! They exist only where debug assertions do: in a release build [`is_on`] is the constant `false`
//! and nothing of this remains.

/// A bug to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Bug {
    /// The snapshot walks the shards without regard to what changes meanwhile.
    NaiveCut = 1,
    /// A writer reads the epoch before it takes its locks.
    EarlyEpoch = 2,
    /// A many-key door takes its locks in the order of the keys.
    UnorderedLocks = 4,
    /// A database that is moved during a snapshot keeps no note of the number that it had.
    UnlabelledSwap = 8,
    /// A transaction looks at its watched keys before it takes its locks.
    EarlyWatch = 16,
    /// Who serves a waiting client takes the element before it is decided that it is served.
    TakenBeforeDecided = 32,
    /// A client that goes behind others does not look whether what it waits for is there.
    UnseenAppearance = 64,
    /// A client goes into the queue of a key after it has released the locks under which it found
    /// nothing, and does not look again.
    LateWait = 128,
    /// A script locks the shard of its first key only.
    FirstKeyOnly = 256,
    /// Every script is believed to keep to its keys.
    WrongProof = 512,
    /// A command that writes several keys lets go of all shards between two of them.
    TornWrite = 1024,
    /// A script lets go of all shards before each call.
    ScriptLetsGo = 2048,
    /// EXEC lets go of all shards before each command.
    ExecLetsGo = 4096,
    /// A command that writes one key works on what it has read under a lock of its own before.
    StaleWrite = 8192,
    /// What was made before the locks is stored whatever has become of what it was made of.
    BlindResult = 16384,
}

#[cfg(debug_assertions)]
mod switch {
    use super::Bug;
    use std::sync::atomic::{AtomicU16, Ordering};

    static PLANTED: AtomicU16 = AtomicU16::new(0);

    /// True when `bug` is planted.
    pub fn is_on(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) & bug as u16 != 0
    }

    /// Plants `bug` in the whole process until the returned guard is dropped.
    #[must_use]
    pub fn plant(bug: Bug) -> Planted {
        PLANTED.fetch_or(bug as u16, Ordering::SeqCst);
        Planted(bug)
    }

    /// Removes the bug again when dropped.
    #[derive(Debug)]
    pub struct Planted(Bug);

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.fetch_and(!(self.0 as u16), Ordering::SeqCst);
        }
    }
}

#[cfg(debug_assertions)]
pub use switch::{Planted, is_on, plant};

/// False: a release build has no planted bugs.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub const fn is_on(_bug: Bug) -> bool {
    false
}
