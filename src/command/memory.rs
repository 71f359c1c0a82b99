//! MEMORY: what a key takes, and what the whole server does.
//!
//! The allocator has no figures of its own here, so that memory in use is what the system counts as
//! resident, as in INFO; there is nothing to tell of fragmentation.

use crate::command::context::{Call, Context, Services};
use crate::command::dispatch::blocking;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, KeySpec, Outcome, Run};
use crate::keyspace::{
    DEADLINE_SLOT_BYTES, DatabaseNumber, KEY_SLOT_BYTES, ReadView, ShardFigures,
};
use crate::protocol::ReplyWriter;
use crate::util::allocator;
use crate::util::number::parse_i64;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const SPECIAL: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "MEMORY", group: Group::Server, arity: Arity::AtLeast(2),
        since: "4.0.0", cost: "Depends on subcommand.", syntax: "MEMORY",
        summary: "A container for memory diagnostics commands.",
        run: Run::Container(SUBCOMMANDS), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "USAGE", group: Group::Server, arity: Arity::AtLeast(3),
        keys: &[KeySpec { first: 2, last: 0, step: 1, access: &["RO"] }],
        since: "4.0.0", cost: "O(1)", syntax: "MEMORY USAGE key [SAMPLES count]",
        summary: "Estimate the memory usage of a key.",
        compat: Compat::Differs("The bytes are those of this server; SAMPLES has no effect."),
        run: Run::Read(usage), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "STATS", group: Group::Server, arity: Arity::Exact(2),
        since: "4.0.0", cost: "O(n) for n clients and shards", syntax: "MEMORY STATS",
        summary: "Show memory usage details.", tips: SPECIAL,
        compat: Compat::Differs("Memory in use is what is resident; there are no figures of the allocator."),
        run: Run::Client(stats), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DOCTOR", group: Group::Server, arity: Arity::Exact(2),
        since: "4.0.0", cost: "O(n) for n clients", syntax: "MEMORY DOCTOR",
        summary: "Outputs memory problems report.", tips: SPECIAL,
        compat: Compat::Differs("It looks at the peak and at the buffers of clients."),
        run: Run::Client(doctor), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PURGE", group: Group::Server, arity: Arity::Exact(2),
        since: "4.0.0", cost: "O(n) for n free pages", syntax: "MEMORY PURGE",
        summary: "Ask the allocator to release memory.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Client(purge), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "MALLOC-STATS", group: Group::Server, arity: Arity::Exact(2),
        since: "4.0.0", cost: "O(1)", syntax: "MEMORY MALLOC-STATS",
        summary: "Show allocator internal stats.", tips: SPECIAL,
        compat: Compat::Differs("It answers as Redis does without jemalloc: that there are none."),
        run: Run::Client(malloc_stats), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Server, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "4.0.0", cost: "O(1)", syntax: "MEMORY HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(help), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

/// With less in use there is nothing to be found out.
const DOCTOR_BYTES_MIN: u64 = 5 << 20;
/// A peak of more than so many halves of the memory in use is worth telling.
const PEAK_HALVES_MAX: u64 = 3;
/// Bytes of buffers for each client that are worth telling.
const CLIENT_BYTES_MAX: u64 = 200 << 10;

const EMPTY: &str = "\
Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used \
in these conditions. Please, leave for your mission on Earth and fill it with some data. The new \
Sam and I will be back to our programming as soon as I finished rebooting.\n";
const NO_ISSUE: &str = "\
Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on \
this base.\n";
const ISSUES: &str = "Sam, I detected a few issues in this Redis instance memory implants:\n\n";
const HIGH_PEAK: &str = "\
\x20* Peak memory: In the past this instance used more than 150% the memory that is currently \
using.\n\n";
const LARGE_BUFFERS: &str = "\
\x20* Big client buffers: The clients output buffers in this instance are greater than 200K per \
client (on average). This may result from different causes, like Pub/Sub clients subscribed to \
channels bot not receiving data fast enough, so that data piles on the Redis instance output \
buffer, or clients sending commands with large replies or very large sequences of commands in the \
same pipeline. Please use the CLIENT LIST command in order to investigate the issue if it causes \
problems in your instance, or to understand better why certain clients are using a big amount of \
memory.\n\n";
const FAREWELL: &str = "I'm here to keep you safe, Sam. I want to help you.\n";

fn usage(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let mut words = call.args.iter_from(3);
    while let Some(word) = words.next() {
        let count = words.next().filter(|_| word.eq_ignore_ascii_case(b"samples"));
        let count = parse_i64(count.ok_or(CommandError::Syntax)?);
        if count.ok_or(CommandError::NotAnInteger)? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    match view.memory_bytes() {
        Some(bytes) => call.reply.count(bytes),
        None => call.reply.null(),
    }
    Ok(())
}

/// Bytes that the buffers of all clients have.
fn client_bytes(services: &Services) -> u64 {
    let buffers = services.clients.all();
    let bytes = buffers.iter().map(|client| client.buffered_bytes());
    bytes.map(|(input, output)| (input + output) as u64).sum()
}

/// Keys of a database, and those with a deadline.
fn keys(services: &Services, database: DatabaseNumber) -> (u64, u64) {
    let figures = &services.figures;
    let keys = figures.sum(|shard| shard.keys_of(database));
    (keys, figures.sum(|shard| shard.with_deadline_of(database)))
}

fn field(reply: &mut ReplyWriter<'_>, name: &str, value: u64) {
    reply.bulk(name.as_bytes());
    reply.integer(i64::try_from(value).unwrap_or(i64::MAX));
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn percent(reply: &mut ReplyWriter<'_>, name: &str, part: u64, whole: u64) {
    reply.bulk(name.as_bytes());
    reply.double(part as f64 * 100.0 / whole.max(1) as f64);
}

fn stats(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let services = &context.services;
    let memory = services.stats.memory();
    let used = memory.resident_bytes;
    let startup = services.stats.startup_bytes().min(used);
    let clients = client_bytes(services);
    let numbers = (0..).take(services.figures.database_count());
    let databases: Vec<(DatabaseNumber, u64, u64)> = numbers
        .map(|number| (number, keys(services, number)))
        .filter(|(_, (keys, _))| *keys > 0)
        .map(|(number, (keys, deadlines))| {
            (number, keys * KEY_SLOT_BYTES as u64, deadlines * DEADLINE_SLOT_BYTES as u64)
        })
        .collect();
    let slots: u64 = databases.iter().map(|(_, keys, deadlines)| keys + deadlines).sum();
    let overhead = (startup + clients + slots).min(used);
    let count = services.figures.sum(ShardFigures::keys);
    let (data, grown) = (used - overhead, used - startup);
    let reply = &mut call.reply;
    reply.map(27 + databases.len());
    field(reply, "peak.allocated", memory.peak_bytes);
    field(reply, "total.allocated", used);
    field(reply, "startup.allocated", startup);
    field(reply, "replication.backlog", 0);
    field(reply, "clients.slaves", 0);
    field(reply, "clients.normal", clients);
    for name in ["cluster.links", "aof.buffer", "lua.caches", "functions.caches"] {
        field(reply, name, 0);
    }
    for (number, keys, deadlines) in databases {
        reply.bulk(format!("db.{number}").as_bytes());
        reply.map(3);
        field(reply, "overhead.hashtable.main", keys);
        field(reply, "overhead.hashtable.expires", deadlines);
        field(reply, "overhead.hashtable.slot-to-keys", 0);
    }
    field(reply, "overhead.total", overhead);
    field(reply, "keys.count", count);
    field(reply, "keys.bytes-per-key", grown.checked_div(count).unwrap_or(0));
    field(reply, "dataset.bytes", data);
    percent(reply, "dataset.percentage", data, grown);
    percent(reply, "peak.percentage", used, memory.peak_bytes);
    for name in ["allocator.allocated", "allocator.active", "allocator.resident"] {
        field(reply, name, used);
    }
    for name in ["allocator-fragmentation", "allocator-rss", "rss-overhead"] {
        reply.bulk(format!("{name}.ratio").as_bytes());
        reply.double(1.0);
        field(reply, &format!("{name}.bytes"), 0);
    }
    reply.bulk(b"fragmentation");
    reply.double(1.0);
    field(reply, "fragmentation.bytes", 0);
    Ok(())
}

/// What MEMORY DOCTOR says of these bytes.
fn diagnosis(used: u64, peak: u64, client_bytes: u64, clients: u64) -> String {
    if used < DOCTOR_BYTES_MIN {
        return EMPTY.to_owned();
    }
    let high_peak = peak.saturating_mul(2) > used.saturating_mul(PEAK_HALVES_MAX);
    let large_buffers = client_bytes / clients.max(1) > CLIENT_BYTES_MAX;
    let issues = [(high_peak, HIGH_PEAK), (large_buffers, LARGE_BUFFERS)];
    let issues: String = issues.iter().filter_map(|(is, text)| is.then_some(*text)).collect();
    match issues.as_str() {
        "" => NO_ISSUE.to_owned(),
        issues => format!("{ISSUES}{issues}{FAREWELL}"),
    }
}

fn doctor(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let (services, memory) = (&context.services, context.services.stats.memory());
    let clients = services.clients.connected() as u64;
    let bytes = client_bytes(services);
    let text = diagnosis(memory.resident_bytes, memory.peak_bytes, bytes, clients);
    call.reply.verbatim(text.as_bytes());
    Ok(())
}

fn purge(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    blocking(|| allocator::give_back(true));
    call.reply.ok();
    Ok(())
}

fn malloc_stats(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.bulk(b"Stats not supported for the current allocator");
    Ok(())
}

fn help(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    reply_help(call, HELP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_finds_a_high_peak_and_large_buffers() {
        let megabyte = 1 << 20;
        assert_eq!(diagnosis(megabyte, 100 * megabyte, 0, 1), EMPTY);
        assert_eq!(diagnosis(10 * megabyte, 15 * megabyte, 400 << 10, 2), NO_ISSUE);
        let peak = diagnosis(10 * megabyte, 16 * megabyte, 0, 0);
        assert_eq!(peak, format!("{ISSUES}{HIGH_PEAK}{FAREWELL}"));
        let both = diagnosis(10 * megabyte, 16 * megabyte, megabyte, 2);
        assert_eq!(both, format!("{ISSUES}{HIGH_PEAK}{LARGE_BUFFERS}{FAREWELL}"));
    }
}
