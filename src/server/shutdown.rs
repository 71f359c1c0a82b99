//! The end, in order: no new commands, let the running ones finish, save, exit.
//!
//! A write that was acknowledged is in the dump, because no command runs between the moment at
//! which clients are paused and the cut of the last save. When saving fails the server goes on,
//! as Redis does, so that the data is not lost with it; a second signal ends it without saving.

use crate::command::context::{ShutdownMode, ShutdownOrder};
use crate::persist::dump::DumpOptions;
use crate::persist::saver::SaveError;
use crate::server::supervisor::Supervisor;
use crate::server::{Server, failed, outcome_of_loading, signal_order};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;

/// Commands that are still running then are no longer waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Replies of the last commands get this long to leave.
const LAST_REPLIES_WAIT: Duration = Duration::from_millis(20);

/// What happened to the server.
enum Event {
    Order(ShutdownOrder),
    Signal(&'static str),
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Order(_) => "SHUTDOWN",
            Self::Signal(name) => name,
        }
    }
}

async fn next_event(signals: &mut Signals, orders: &mut UnboundedReceiver<ShutdownOrder>) -> Event {
    tokio::select! {
        name = signals.next() => Event::Signal(name),
        Some(order) = orders.recv() => Event::Order(order),
    }
}

/// The signals that the server takes into its own hands.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Ends a process by default. Watched, a write beyond the limit on the size of files is an
    /// error like others.
    _file_size: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// The next signal that ends the server; SIGHUP does not, so that a closed terminal does not
    /// take a server in the background with it.
    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.hangup.recv() => tracing::info!("SIGHUP is ignored"),
            }
        }
    }
}

impl Server {
    /// Serves until a signal or SHUTDOWN ends the server.
    pub(super) async fn run_until_told(
        mut self,
        mut signals: Signals,
        supervisor: &Supervisor,
    ) -> ExitCode {
        self.introduce();
        supervisor.write_pid_file();
        let code = self.serve_until_told(&mut signals, supervisor).await;
        supervisor.remove_pid_file();
        code
    }

    async fn serve_until_told(
        &mut self,
        signals: &mut Signals,
        supervisor: &Supervisor,
    ) -> ExitCode {
        let mut first = tokio::select! {
            loaded = outcome_of_loading(&mut self.loaded) => match loaded {
                Ok(()) => None,
                Err(error) => return failed(&error),
            },
            event = next_event(signals, &mut self.orders) => Some(event),
            never = supervisor.be_patient("Loading the dump") => match never {},
        };
        if let Some(event) = &first
            && self.stop_loading().await
        {
            tracing::warn!("{} while loading: ending without saving", event.name());
            return ExitCode::SUCCESS;
        }
        for address in self.addresses() {
            tracing::info!("ready to accept connections on {address}");
        }
        loop {
            let event = match first.take() {
                Some(event) => event,
                None => {
                    supervisor.ready();
                    next_event(signals, &mut self.orders).await
                }
            };
            supervisor.stopping();
            let order = match event {
                Event::Order(order) => order,
                Event::Signal(name) => {
                    tracing::info!("{name}: ending in order; once more ends at once");
                    signal_order()
                }
            };
            let ended = tokio::select! {
                ended = self.end(&order) => ended,
                name = signals.next() => {
                    self.services.saver.remove_own_temporary();
                    supervisor.remove_pid_file();
                    tracing::warn!("{name} again: ending without saving");
                    std::process::exit(1);
                }
                never = supervisor.be_patient("Ending in order") => match never {},
            };
            if ended {
                self.stop_background();
                tracing::info!("my_redis_server has ended");
                return ExitCode::SUCCESS;
            }
            if let Some(failed) = order.failed {
                // The client may have gone meanwhile.
                let _gone = failed.send(());
            }
        }
    }

    /// Gives up loading; false when all was loaded before that, and commands may have run since.
    ///
    /// Then nothing is saved, as in Redis: the dump that is being loaded holds more than memory
    /// does.
    async fn stop_loading(&mut self) -> bool {
        self.load_cancelled.store(true, Ordering::Relaxed);
        outcome_of_loading(&mut self.loaded).await.is_err()
    }

    /// Carries out an order to end; false when the server goes on because saving failed.
    pub async fn end(&self, order: &ShutdownOrder) -> bool {
        let hold = self.services.clients.hold();
        // A busy script that has not written need not go on. One that has must not be cut off,
        // unless what it does will not be kept.
        let scripts_go_on = self.services.busy_scripts.kill_all();
        if !scripts_go_on || order.mode != ShutdownMode::NoSave {
            hold.drained(DRAIN_TIMEOUT).await;
        }
        let saves = match order.mode {
            ShutdownMode::Default => self.services.config.saves_by_rules(),
            ShutdownMode::Save => true,
            ShutdownMode::NoSave => false,
        };
        self.end_running_save().await;
        if saves && let Err(error) = self.last_save().await {
            tracing::error!("the last save failed: {error}");
            if !order.force {
                tracing::error!("not ending, because the data would be lost");
                return false;
            }
        }
        // The rules are still looked at; nothing may begin that the end would cut off.
        self.services.saver.disarm();
        self.end_running_save().await;
        tokio::time::sleep(LAST_REPLIES_WAIT).await;
        hold.for_ever();
        true
    }

    /// Makes a save that is being written end; no file of it is left.
    async fn end_running_save(&self) {
        let saver = &self.services.saver;
        while saver.is_running() {
            saver.cancel();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn last_save(&self) -> Result<(), SaveError> {
        loop {
            let options = DumpOptions::at(self.services.clock.now(), &self.services.config);
            match self.services.saver.start(options) {
                Ok(ticket) => return ticket.await.unwrap_or(Err(SaveError::Panicked)),
                // The save rules were quicker.
                Err(SaveError::AlreadyRunning) => self.end_running_save().await,
                Err(error) => return Err(error),
            }
        }
    }
}
