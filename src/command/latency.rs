//! LATENCY: spikes of latency, event by event, and how long each command takes.

use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::latency_report;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, Outcome, Run};
use crate::command::table::{self, Numbered};
use crate::stats::Durations;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const ADMIN: Flags = ANY_TIME.and(Flags::ADMIN).and(Flags::NO_SCRIPT);
const SPECIAL: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// The subcommands.
#[rustfmt::skip]
pub(super) static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "LATEST", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "2.8.13", cost: "O(1)", syntax: "LATENCY LATEST",
        summary: "Return the latest latency samples for all events.",
        tips: SPECIAL, run: Run::Client(latest), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HISTORY", group: Group::Server, arity: Arity::Exact(3), flags: ADMIN,
        since: "2.8.13", cost: "O(1)", syntax: "LATENCY HISTORY event",
        summary: "Return timestamp-latency samples for the event.",
        tips: SPECIAL, run: Run::Client(history), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GRAPH", group: Group::Server, arity: Arity::Exact(3), flags: ADMIN,
        since: "2.8.13", cost: "O(1)", syntax: "LATENCY GRAPH event",
        summary: "Return a latency graph for the event.",
        tips: SPECIAL, run: Run::Client(graph), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DOCTOR", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "2.8.13", cost: "O(1)", syntax: "LATENCY DOCTOR",
        summary: "Return a human readable latency analysis report.",
        tips: SPECIAL, run: Run::Client(doctor), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HISTOGRAM", group: Group::Server, arity: Arity::AtLeast(2), flags: ADMIN,
        since: "7.0.0", cost: "O(1)", syntax: "LATENCY HISTOGRAM [command [command ...]]",
        summary: "Return the cumulative distribution of latencies of a subset of commands or all.",
        tips: SPECIAL, run: Run::Client(histogram), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RESET", group: Group::Server, arity: Arity::AtLeast(2), flags: ADMIN,
        since: "2.8.13", cost: "O(1)", syntax: "LATENCY RESET [event [event ...]]",
        summary: "Reset latency data for one or more events.",
        tips: ALL_NODES, run: Run::Client(reset), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Server, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "2.8.13", cost: "O(1)", syntax: "LATENCY HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(help), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the \
     specified command names.",
    "    If no commands are specified then all histograms are replied.",
];

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn latest(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let events = context.services.stats.latency.events();
    call.reply.array(events.len());
    for (name, figures) in events {
        let last = figures.samples.back();
        call.reply.array(4);
        call.reply.bulk(name.as_bytes());
        call.reply.integer(last.map_or(0, |sample| sample.unix_seconds));
        call.reply.integer(last.map_or(0, |sample| number(sample.millis)));
        call.reply.integer(number(figures.longest_millis));
    }
    Ok(())
}

fn history(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let event = context.services.stats.latency.event(call.args.at(2));
    let samples = event.map(|(_, figures)| figures.samples).unwrap_or_default();
    call.reply.array(samples.len());
    for sample in samples {
        call.reply.array(2);
        call.reply.integer(sample.unix_seconds);
        call.reply.integer(number(sample.millis));
    }
    Ok(())
}

fn graph(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let event = call.args.at(2);
    let Some((name, figures)) = context.services.stats.latency.event(event) else {
        return Err(CommandError::echoing("ERR No samples available for event '", event, "'"));
    };
    let now_seconds = context.services.clock.now().0.div_euclid(1_000);
    let graph = latency_report::graph(name, &figures, now_seconds);
    call.reply.verbatim(graph.as_bytes());
    Ok(())
}

fn doctor(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let report = latency_report::report(&context.services);
    call.reply.verbatim(report.as_bytes());
    Ok(())
}

fn reset(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let monitor = &context.services.stats.latency;
    let count = match call.args.len() {
        2 => monitor.reset(None),
        _ => call.args.iter_from(2).map(|event| monitor.reset(Some(event))).sum(),
    };
    call.reply.count(count);
    Ok(())
}

fn histogram(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let (commands, mut durations) = (&context.services.stats.commands, Durations::default());
    let mut told = |row: &'static Numbered| {
        let was_called = commands.read_durations(row.number, &mut durations);
        was_called.then(|| (row.name(), durations.calls(), durations.cumulative()))
    };
    let found: Vec<_> = if args.len() == 2 {
        let rows = commands.used().filter_map(|number| table::numbered().get(number));
        rows.filter_map(&mut told).collect()
    } else {
        args.iter_from(2).flat_map(named).filter_map(&mut told).collect()
    };
    call.reply.map(found.len());
    for (name, calls, steps) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.map(2);
        call.reply.bulk(b"calls");
        call.reply.integer(number(calls));
        call.reply.bulk(b"histogram_usec");
        call.reply.map(steps.len());
        for (micros, calls) in steps {
            call.reply.integer(number(micros));
            call.reply.integer(number(calls));
        }
    }
    Ok(())
}

/// The command of this name, in any case, with its subcommands, or one subcommand.
fn named(name: &[u8]) -> impl Iterator<Item = &'static Numbered> {
    let mut parts = name.split(|byte| *byte == b'|');
    let top = parts.next().and_then(table::find);
    let (word, is_known) = (parts.next(), parts.next().is_none());
    let rows = top.filter(|_| is_known).map(table::numbered_of).unwrap_or_default();
    rows.iter().filter(move |row| {
        word.is_none_or(|word| {
            row.container.is_some() && row.spec.name.as_bytes().eq_ignore_ascii_case(word)
        })
    })
}

fn help(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    reply_help(call, HELP);
    Ok(())
}
