//! Huge pages, which this process does without unless told otherwise (`disable-thp`).
//!
//! The first touch of a huge page clears two megabytes: 4 to 14 ms in one SET of a growing server,
//! once for every thirty thousand small keys. The allocator asks for such pages where the system
//! leaves that to programs. Small pages cost the same over all SETs, and no single one notices.

use crate::config::StartOptions;

/// Does as `disable-thp` says. To be called before there is data: what is there stays as it is.
pub fn prepare(options: &StartOptions) {
    if options.settings.value("disable-thp").is_some_and(|value| value != b"yes") {
        return;
    }
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!("cannot do without huge pages, so single requests may take long: {error}");
    }
}
