//! Bugs that a test can plant in the server of one dump, to see what becomes of it.
//!
//! They exist only where debug assertions do: in a release build [`strike`] is empty and nothing
//! of this remains. A bug is planted for a path, because tests of one process save side by side.

/// A bug to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The saving thread panics in the middle of the walk.
    PanicWhileSaving,
    /// The task that looks at the save rules panics.
    PanicInTheRules,
    /// The thread that removes expired keys panics.
    PanicInTheSweeper,
    /// It ends as if there were nothing to do any more.
    EndOfTheSweeper,
}

#[cfg(debug_assertions)]
mod switch {
    use super::Bug;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    static PLANTED: Mutex<BTreeSet<(Bug, PathBuf)>> = Mutex::new(BTreeSet::new());

    /// Plants `bug` for files whose path begins with `path`; it strikes once.
    pub fn plant(bug: Bug, path: &Path) {
        let mut planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
        planted.insert((bug, path.to_owned()));
    }

    /// Panics if `bug` is planted for `path`.
    #[expect(clippy::panic, reason = "the bug is a panic")]
    pub fn strike(bug: Bug, path: &Path) {
        if strikes(bug, path) {
            panic!("planted: {bug:?}");
        }
    }

    /// True if `bug` is planted for `path`, and does not panic by itself.
    pub fn strikes(bug: Bug, path: &Path) -> bool {
        let mut planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, count) = (path.as_os_str().as_encoded_bytes(), planted.len());
        planted.retain(|(other, of)| {
            *other != bug || !path.starts_with(of.as_os_str().as_encoded_bytes())
        });
        planted.len() < count
    }
}

#[cfg(debug_assertions)]
pub use switch::{plant, strike, strikes};

/// Nothing: a release build has no planted bugs.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn strike(_bug: Bug, _path: &std::path::Path) {}

/// False: a release build has no planted bugs.
#[cfg(not(debug_assertions))]
#[inline(always)]
#[must_use]
pub const fn strikes(_bug: Bug, _path: &std::path::Path) -> bool {
    false
}
