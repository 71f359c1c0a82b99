//! SLOWLOG: the commands that took longer than an option allows.

use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, Outcome, Run};
use crate::stats::SlowLog;
use crate::util::number::parse_i64;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const ADMIN: Flags = ANY_TIME.and(Flags::ADMIN);
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// The subcommands.
#[rustfmt::skip]
pub(super) static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "GET", group: Group::Server, arity: Arity::AtLeast(2), flags: ADMIN,
        since: "2.2.12", cost: "O(1)", syntax: "SLOWLOG GET [count]",
        summary: "Get the slow log's entries.",
        tips: &["request_policy:all_nodes", "nondeterministic_output"], run: Run::Client(get), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LEN", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "2.2.12", cost: "O(1)", syntax: "SLOWLOG LEN",
        summary: "Get the slow log's length.",
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        run: Run::Client(len), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RESET", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "2.2.12", cost: "O(1)", syntax: "SLOWLOG RESET",
        summary: "Clear all entries from the slow log.",
        tips: ALL_NODES, run: Run::Client(reset), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Server, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "6.2.0", cost: "O(1)", syntax: "SLOWLOG HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(help), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

/// How many commands GET tells of unless it is said.
const COUNT_DEFAULT: usize = 10;

/// The log, no longer than the option allows now.
fn log(context: &Context) -> &SlowLog {
    let services = &context.services;
    services.stats.slow_log.shorten(services.config.observation().slow_log_len_max());
    &services.stats.slow_log
}

fn get(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if call.args.len() > 3 {
        return Err(CommandError::unknown_or_arity(call.args.at(1), "SLOWLOG"));
    }
    let count = match call.args.get(2).map(parse_i64) {
        None => COUNT_DEFAULT,
        Some(Some(-1)) => usize::MAX,
        Some(Some(count @ 0..)) => usize::try_from(count).unwrap_or(usize::MAX),
        Some(_) => {
            let text = "ERR count should be greater than or equal to -1";
            return Err(CommandError::Text(text));
        }
    };
    let entries = log(context).latest(count);
    call.reply.array(entries.len());
    for (number, entry) in entries {
        call.reply.array(6);
        call.reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
        call.reply.integer(entry.unix_seconds);
        call.reply.integer(i64::try_from(entry.micros).unwrap_or(i64::MAX));
        call.reply.array(entry.arguments.len());
        entry.arguments.iter().for_each(|argument| call.reply.bulk(argument));
        call.reply.bulk(entry.address.as_bytes());
        call.reply.bulk(&entry.client_name);
    }
    Ok(())
}

fn len(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.count(log(context).len());
    Ok(())
}

fn reset(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    context.services.stats.slow_log.reset();
    call.reply.ok();
    Ok(())
}

fn help(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    reply_help(call, HELP);
    Ok(())
}
