//! The server: INFO, the time, saving, the end, and what an unclustered server without modules and
//! scripts answers about these.

use crate::command::context::{Call, Context, Deferred, ShutdownMode};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, Outcome, Run};
use crate::command::{cluster, config, info, latency, slow_log};
use crate::persist::dump::DumpOptions;
use crate::persist::saver::SaveError;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const QUICK: Flags = ANY_TIME.and(Flags::FAST);
const ADMIN: Flags = ANY_TIME.and(Flags::ADMIN);
const ADMIN_NO_SCRIPT: Flags = ADMIN.and(Flags::NO_SCRIPT);
const SAVES: Flags = Flags::ADMIN.and(Flags::NO_SCRIPT).and(Flags::NO_ASYNC_LOADING);
const ENDS: Flags = ADMIN_NO_SCRIPT.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY);

const UNSTEADY: &[&str] = &["nondeterministic_output"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "INFO", group: Group::Server, arity: Arity::AtLeast(1),
        flags: ANY_TIME.and(Flags::DANGEROUS),
        since: "1.0.0", cost: "O(n) for n shards and clients",
        syntax: "INFO [section [section ...]]",
        summary: "Get information and statistics about the server.",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        compat: Compat::Differs("Own fields begin with my_redis_."),
        run: Run::Client(info::info), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "TIME", group: Group::Server, arity: Arity::Exact(1), flags: QUICK,
        since: "2.6.0", cost: "O(1)", syntax: "TIME",
        summary: "Return the current server time.", tips: UNSTEADY,
        run: Run::Client(time), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LASTSAVE", group: Group::Server, arity: Arity::Exact(1), flags: QUICK,
        since: "1.0.0", cost: "O(1)", syntax: "LASTSAVE",
        summary: "Get the UNIX time stamp of the last successful save to disk.",
        categories: &["admin", "dangerous"], tips: UNSTEADY,
        run: Run::Client(last_save), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SAVE", group: Group::Server, arity: Arity::Exact(1),
        flags: SAVES.and(Flags::NO_MULTI),
        since: "1.0.0", cost: "O(n) for n keys", syntax: "SAVE",
        summary: "Synchronously save the dataset to disk.",
        compat: Compat::Differs("Only the client that asked waits; others are served meanwhile."),
        run: Run::Client(save), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "BGSAVE", group: Group::Server, arity: Arity::AtLeast(1), flags: SAVES,
        since: "1.0.0", cost: "O(1), and O(n) for n keys in the background",
        syntax: "BGSAVE [SCHEDULE]",
        summary: "Asynchronously save the dataset to disk.",
        run: Run::Client(background_save), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SHUTDOWN", group: Group::Server, arity: Arity::AtLeast(1), flags: ENDS,
        since: "1.0.0", cost: "O(n) for n keys when saving, otherwise O(1)",
        syntax: "SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        summary: "Synchronously save the dataset to disk and then shut down the server.",
        run: Run::Client(shutdown), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "MONITOR", group: Group::Server, arity: Arity::Exact(1), flags: ADMIN_NO_SCRIPT,
        since: "1.0.0", cost: "O(1), and O(n) for n monitors with every command", syntax: "MONITOR",
        summary: "Listen for all requests received by the server in real time.",
        run: Run::Client(monitor), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "CONFIG", group: Group::Server, arity: Arity::AtLeast(2),
        since: "2.0.0", cost: "Depends on subcommand.", syntax: "CONFIG",
        summary: "A container for server configuration commands.",
        run: Run::Container(config::SUBCOMMANDS), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LATENCY", group: Group::Server, arity: Arity::AtLeast(2),
        since: "2.8.13", cost: "Depends on subcommand.", syntax: "LATENCY",
        summary: "A container for latency diagnostics commands.",
        run: Run::Container(latency::SUBCOMMANDS), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SLOWLOG", group: Group::Server, arity: Arity::AtLeast(2),
        since: "2.2.12", cost: "Depends on subcommand.", syntax: "SLOWLOG",
        summary: "A container for slow log commands.",
        run: Run::Container(slow_log::SUBCOMMANDS), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "MODULE", group: Group::Server, arity: Arity::AtLeast(2),
        since: "4.0.0", cost: "Depends on subcommand.", syntax: "MODULE",
        summary: "A container for module commands.",
        run: Run::Container(MODULE), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "CLUSTER", group: Group::Cluster, arity: Arity::AtLeast(2),
        since: "3.0.0", cost: "Depends on subcommand.", syntax: "CLUSTER",
        summary: "A container for cluster commands.",
        compat: Compat::Differs("Every subcommand answers as that of a server outside a cluster."),
        run: Run::Container(cluster::SUBCOMMANDS), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static MODULE: &[CommandSpec] = &[
    CommandSpec {
        name: "LIST", group: Group::Server, arity: Arity::Exact(2),
        flags: Flags::ADMIN.and(Flags::NO_SCRIPT),
        since: "4.0.0", cost: "O(1)", syntax: "MODULE LIST",
        summary: "List all modules loaded by the server.",
        tips: &["nondeterministic_output_order"],
        compat: Compat::Differs("There are no modules."),
        run: Run::Client(empty_array), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Server, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "5.0.0", cost: "O(1)", syntax: "MODULE HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(|_, call| { reply_help(call, MODULE_HELP); Ok(()) }), ..CommandSpec::BASE
    },
];

const MODULE_HELP: &[&str] = &[
    "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LIST",
    "    Return a list of loaded modules.",
];

fn empty_array(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.array(0);
    Ok(())
}

fn monitor(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if context.monitoring.is_none() {
        context.monitoring = Some(context.services.monitors.add(&context.client.mailbox));
        context.client.set_monitoring(true);
        call.reply.ok();
    }
    Ok(())
}

fn time(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let micros = context.services.clock.now_micros();
    call.reply.array(2);
    for part in [micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000)] {
        call.reply.bulk_integer(i64::try_from(part).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn last_save(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.integer(context.services.saver.figures().last_save_unix);
    Ok(())
}

const SAVE_RUNS: CommandError = CommandError::Text("ERR Background save already in progress");
/// Redis says no more than this; the reason is in the log.
const SAVE_FAILED: CommandError = CommandError::Text("ERR");

fn start_save(context: &Context) -> Result<crate::persist::saver::SaveTicket, CommandError> {
    let services = &context.services;
    services.saver.start(DumpOptions::at(services.clock.now(), &services.config)).map_err(|error| {
        match error {
            SaveError::AlreadyRunning | SaveError::NotArmed => SAVE_RUNS,
            error => {
                tracing::error!("saving failed: {error}");
                SAVE_FAILED
            }
        }
    })
}

fn save(context: &mut Context, _call: &mut Call<'_>) -> Outcome {
    context.deferred = Some(Deferred::Save(start_save(context)?));
    Ok(())
}

fn background_save(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    // SCHEDULE is for servers with other work in the background that stands in the way of a save.
    let schedules = call.args.at(1).eq_ignore_ascii_case(b"schedule");
    if call.args.len() > 2 || (call.args.len() == 2 && !schedules) {
        return Err(CommandError::Syntax);
    }
    let _ends_by_itself = start_save(context)?;
    call.reply.simple("Background saving started");
    Ok(())
}

fn shutdown(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let (mut save, mut no_save, mut now, mut force, mut abort) =
        (false, false, false, false, false);
    for word in call.args.iter_from(1) {
        let flag = match word.to_ascii_lowercase().as_slice() {
            b"save" => &mut save,
            b"nosave" => &mut no_save,
            b"now" => &mut now,
            b"force" => &mut force,
            b"abort" => &mut abort,
            _ => return Err(CommandError::Syntax),
        };
        *flag = true;
    }
    if (save && no_save) || (abort && (save || no_save || now || force)) {
        return Err(CommandError::Syntax);
    }
    if abort {
        return Err(CommandError::Text("ERR No shutdown in progress."));
    }
    let mode = match (save, no_save) {
        (true, _) => ShutdownMode::Save,
        (_, true) => ShutdownMode::NoSave,
        _ => ShutdownMode::Default,
    };
    if let Some(busy) = context.services.busy_scripts.any()
        && mode != ShutdownMode::NoSave
    {
        return Err(CommandError::Busy(busy));
    }
    tracing::info!("{} asks for the end of the server", context.client.address);
    context.deferred = Some(Deferred::Shutdown(context.services.shutdown.send(mode, force)));
    Ok(())
}
