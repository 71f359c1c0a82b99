//! DEBUG: what test suites and drills need and nobody else should, so it is refused unless the
//! option enable-debug-command allows it.

use crate::command::context::{Call, Context, Deferred};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, Outcome, Run};
use crate::config::DebugAccess;
use crate::util::number::parse_f64;
use std::time::Duration;

const REFUSED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set \
to \"local\", you can run it from a local connection, otherwise you need to set this option in the \
configuration file, and then restart the server.";
const RELOAD_OPTIONS: &str = "ERR DEBUG RELOAD only supports the NOSAVE option here.";
/// A server that is made to sleep wakes after this long at the latest.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "DEBUG", group: Group::Server, arity: Arity::AtLeast(2),
        flags: Flags::ADMIN.and(Flags::NO_SCRIPT).and(Flags::LOADING).and(Flags::STALE),
        since: "1.0.0", cost: "Depends on subcommand.", syntax: "DEBUG",
        summary: "A container for debugging commands.",
        compat: Compat::Differs("ERROR, HELP, LOG, RELOAD [NOSAVE] and SLEEP only."),
        run: Run::Client(debug), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "RELOAD [option ...]",
    "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
    "    * NOSAVE: the database will be loaded from an existing RDB file.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
];

fn is_allowed(context: &Context) -> bool {
    match context.services.config.start().debug_access {
        DebugAccess::Nobody => false,
        DebugAccess::Local => context.client.address.ip().to_canonical().is_loopback(),
        DebugAccess::All => true,
    }
}

fn debug(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if !is_allowed(context) {
        return Err(CommandError::Text(REFUSED));
    }
    let args = call.args;
    let name = args.at(1).to_ascii_lowercase();
    match (name.as_slice(), args.len()) {
        (b"help", 2) => reply_help(call, HELP),
        (b"error", 3) => call.reply.error(args.at(2)),
        (b"log", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(2)));
            call.reply.ok();
        }
        (b"sleep", 3) => {
            let seconds = parse_f64(args.at(2)).unwrap_or(0.0).clamp(0.0, SLEEP_MAX.as_secs_f64());
            context.deferred = Some(Deferred::Sleep(Duration::from_secs_f64(seconds)));
        }
        (b"reload", _) => {
            let mut options = args.iter_from(2);
            if options.any(|option| !option.eq_ignore_ascii_case(b"nosave")) {
                return Err(CommandError::Text(RELOAD_OPTIONS));
            }
            context.deferred = Some(Deferred::Reload { saves: args.len() == 2 });
        }
        _ => return Err(CommandError::unknown_or_arity(args.at(1), "DEBUG")),
    }
    Ok(())
}
