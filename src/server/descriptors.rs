//! How many files and connections the system lets this process have.

use crate::config::StartOptions;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are no clients': listeners, the dump, the runtime's own.
const RESERVED: u64 = 64;

/// Takes all descriptors that may be had, and lowers the number of clients when these are too few.
pub fn prepare(options: &mut StartOptions) {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!("cannot have more open files: {error}");
    }
    let Ok((allowed, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let possible = usize::try_from(allowed.saturating_sub(RESERVED).max(1)).unwrap_or(usize::MAX);
    options.clients_possible = possible;
    if options.clients_max > possible {
        tracing::warn!(
            "the system allows {allowed} open files: maxclients is {possible} instead of {}; \
             raise the limit (ulimit -n) for more",
            options.clients_max
        );
        options.clients_max = possible;
    }
}
