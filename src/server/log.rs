//! The log: one line for each event on standard error, with its time and level.

use crate::util::log;
use std::io::IsTerminal;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log of this process; how much it shows can change at any time.
pub fn start_log() {
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let shown = dynamic_filter_fn(|event, _| log::is_shown(*event.level()));
    tracing_subscriber::registry().with(lines.with_filter(shown)).init();
}
