//! How much of the log is shown. Levels carry Redis' names.
//!
//! The level can change while the server runs, so whoever filters events asks here for each one.
//! It belongs to the process, as the log does.

use std::sync::atomic::{AtomicU8, Ordering};
use tracing::Level;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Much, but not every detail.
    Verbose,
    /// What an operator wants to know.
    #[default]
    Notice,
    /// Only what is wrong.
    Warning,
}

/// The names of the levels, from the most to the least.
pub const LEVEL_NAMES: &[&str] = &["debug", "verbose", "notice", "warning"];

static SHOWN: AtomicU8 = AtomicU8::new(LogLevel::Notice as u8);

impl LogLevel {
    /// The level with this name in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let levels = [Self::Debug, Self::Verbose, Self::Notice, Self::Warning];
        levels.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Verbose => "verbose",
            Self::Notice => "notice",
            Self::Warning => "warning",
        }
    }
}

/// Chooses how much of the log is shown from now on.
pub fn show(level: LogLevel) {
    SHOWN.store(level as u8, Ordering::Relaxed);
}

/// True when events of this level are shown.
#[must_use]
pub fn is_shown(level: Level) -> bool {
    let least = match SHOWN.load(Ordering::Relaxed) {
        0 => Level::TRACE,
        1 => Level::DEBUG,
        2 => Level::INFO,
        _ => Level::WARN,
    };
    level <= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_found_by_its_name() {
        for name in LEVEL_NAMES {
            let level = LogLevel::from_name(&name.to_ascii_uppercase());
            assert_eq!(level.map(LogLevel::name), Some(*name));
        }
        assert_eq!(LogLevel::from_name("loud"), None);
    }
}
