//! Saving and loading again while clients wait, and a server that sleeps: DEBUG RELOAD and SLEEP.

use crate::command::context::Services;
use crate::command::eviction::uses_at;
use crate::persist::dump::DumpOptions;
use crate::persist::saver::SaveError;
use std::time::Duration;

/// Commands that are still running then are no longer waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

const NOT_SAVED: &str = "ERR Error trying to save the RDB dump, check server logs.";
const NOT_LOADED: &str = "ERR Error trying to load the RDB dump, check server logs.";
const STILL_BUSY: &str = "ERR a command of another client does not end.";

/// Replaces the data by what the dump holds, after it was saved if `saves`. Other clients' commands
/// wait meanwhile.
///
/// # Errors
/// The reply. When loading fails the data is what was loaded until then, as in Redis, and nothing
/// is saved any more: the dump stays as it is.
pub(super) async fn reload(services: &Services, saves: bool) -> Result<(), &'static str> {
    let hold = services.clients.hold();
    if !hold.drained(DRAIN_TIMEOUT).await {
        return Err(STILL_BUSY);
    }
    if saves {
        save(services).await.map_err(|_| NOT_SAVED)?;
    }
    let now = services.clock.now();
    match services.saver.reload(now, uses_at(&services.config, now)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(NOT_LOADED),
    }
}

/// Saves, in the place of a save that may be running.
async fn save(services: &Services) -> Result<(), SaveError> {
    loop {
        match services.saver.start(DumpOptions::at(services.clock.now(), &services.config)) {
            Ok(ticket) => return ticket.await.unwrap_or(Err(SaveError::Panicked)),
            Err(SaveError::AlreadyRunning) => {
                services.saver.cancel();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Lets no client go on for this long.
pub(super) async fn sleep(services: &Services, duration: Duration) {
    let _hold = services.clients.hold();
    tokio::time::sleep(duration).await;
}
