//! MEMORY: what a key takes, and what the whole server does.
//!
//! What is in use is counted by the allocator. Of that the overhead is computed, and the rest is
//! the data.

use crate::command::context::{Call, Context, Services};
use crate::command::dispatch::blocking;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, KeySpec, Outcome, Run};
use crate::keyspace::{DEADLINE_SLOT_BYTES, DatabaseNumber, KEY_SLOT_BYTES, ReadView};
use crate::protocol::ReplyWriter;
use crate::stats::Memory;
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
        keys: &[KeySpec { first: 2, last: 0, step: 1, access: &["RO"] }], flags: Flags::NO_TOUCH,
        since: "4.0.0", cost: "O(1)", syntax: "MEMORY USAGE key [SAMPLES count]",
        summary: "Estimate the memory usage of a key.",
        compat: Compat::Differs("The bytes are those of this server; SAMPLES has no effect."),
        run: Run::Read(usage), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "STATS", group: Group::Server, arity: Arity::Exact(2),
        since: "4.0.0", cost: "O(n) for n clients and shards", syntax: "MEMORY STATS",
        summary: "Show memory usage details.", tips: SPECIAL,
        run: Run::Client(stats), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DOCTOR", group: Group::Server, arity: Arity::Exact(2),
        since: "4.0.0", cost: "O(n) for n clients", syntax: "MEMORY DOCTOR",
        summary: "Outputs memory problems report.", tips: SPECIAL,
        compat: Compat::Differs("Its advice about fragmentation is for this server's allocator."),
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
const CLIENT_BYTES_MAX: usize = 200 << 10;
/// So many scripts are worth telling.
const SCRIPTS_MAX: usize = 1_000;
/// Memory that is lost to something is worth telling from so many bytes on,
const LOST_BYTES_MIN: u64 = 10 << 20;
/// and from so many percent of what it is compared with: all, or in one place.
const TOTAL_PERCENT_MIN: u64 = 140;
const PART_PERCENT_MIN: u64 = 110;

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
const HIGH_TOTAL: &str = "\
\x20* High total RSS: This instance has a memory fragmentation and RSS overhead greater than 1.4 \
(the resident set of the process is much larger than the sum of what is allocated). This is \
usually due to a large peak memory (check if there is a peak memory entry above in the report), or \
to values whose sizes change a lot.\n\n";
const HIGH_PAGES: &str = "\
\x20* High allocator fragmentation: This instance has an allocator external fragmentation greater \
than 1.1. This is usually due to a large peak memory (check if there is a peak memory entry above \
in the report), or to values whose sizes change a lot. You can try the MEMORY PURGE command.\n\n";
const HIGH_PROCESS: &str = "\
\x20* High process RSS overhead: This instance has non-allocator RSS memory overhead greater than \
1.1 (the resident set of the process is much larger than what the allocator holds).\n\n";
const MANY_SCRIPTS: &str = "\
\x20* Many scripts: There seem to be many cached scripts in this instance (more than 1000). This \
may be because scripts are generated and `EVAL`ed, instead of being parameterized (with KEYS and \
ARGV), `SCRIPT LOAD`ed and `EVALSHA`ed. Unless `SCRIPT FLUSH` is called periodically, the scripts' \
caches may end up consuming most of your memory.\n\n";
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

/// Where the memory is, as INFO and MEMORY STATS tell it.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    /// What the process has.
    pub memory: Memory,
    /// What it had in use before there were keys and clients.
    pub startup: u64,
    /// Buffers and records of clients.
    pub clients: u64,
    /// Interpreters, and the scripts that are kept.
    pub scripts: u64,
    /// Libraries of functions.
    pub functions: u64,
    /// Of each database that has keys, its number, and the bytes of their places and deadlines.
    pub databases: Vec<(DatabaseNumber, u64, u64)>,
    /// Keys of all databases.
    pub keys: u64,
}

impl Usage {
    /// Cost: O(clients + shards + scripts).
    pub fn of(services: &Services) -> Self {
        let memory = services.stats.memory();
        let mut databases: Vec<_> = services.figures.databases().collect();
        let keys = databases.iter().map(|(_, keys, _)| keys).sum();
        for (_, keys, deadlines) in &mut databases {
            *keys *= KEY_SLOT_BYTES as u64;
            *deadlines *= DEADLINE_SLOT_BYTES as u64;
        }
        let (_, script_bytes) = services.scripts.script_figures();
        Self {
            memory,
            startup: services.stats.startup_bytes().min(memory.used_bytes),
            clients: services.clients.counted_now() as u64,
            scripts: (crate::script::memory_bytes() + script_bytes) as u64,
            functions: services.scripts.function_bytes() as u64,
            databases,
            keys,
        }
    }

    /// What is in use and is no data.
    pub fn overhead(&self) -> u64 {
        let places: u64 = self.databases.iter().map(|(_, keys, deadlines)| keys + deadlines).sum();
        let sum = self.startup + self.clients + self.scripts + self.functions + places;
        sum.min(self.memory.used_bytes)
    }

    /// What is in use and is data.
    pub fn dataset(&self) -> u64 {
        self.memory.used_bytes - self.overhead()
    }

    /// By how much it has grown since the start.
    pub fn grown(&self) -> u64 {
        self.memory.used_bytes - self.startup
    }
}

/// What is lost: to holes in pages, to pages that the allocator keeps, to what the process has
/// beside the allocator's, and then all together.
pub(super) fn losses(memory: &Memory) -> [Loss; 4] {
    let Memory { used_bytes, committed_bytes, resident_bytes, .. } = *memory;
    let loss = |whole: u64, part: u64| Loss { whole, part };
    [
        loss(committed_bytes, used_bytes),
        loss(committed_bytes, committed_bytes),
        loss(resident_bytes, committed_bytes),
        loss(resident_bytes, used_bytes),
    ]
}

/// Memory of which a part is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    whole: u64,
    part: u64,
}

impl Loss {
    /// How often the part fits into the whole.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn ratio(self) -> f64 {
        self.whole as f64 / self.part.max(1) as f64
    }

    /// What is not used.
    pub fn bytes(self) -> i64 {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        signed(self.whole) - signed(self.part)
    }

    /// True when it is more than this many percent, and many bytes.
    fn is_high(self, percent: u64) -> bool {
        self.whole.saturating_mul(100) > self.part.saturating_mul(percent)
            && self.whole - self.part > LOST_BYTES_MIN
    }
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
    let usage = Usage::of(&context.services);
    let reply = &mut call.reply;
    reply.map(27 + usage.databases.len());
    field(reply, "peak.allocated", usage.memory.peak_bytes);
    field(reply, "total.allocated", usage.memory.used_bytes);
    field(reply, "startup.allocated", usage.startup);
    field(reply, "replication.backlog", 0);
    field(reply, "clients.slaves", 0);
    field(reply, "clients.normal", usage.clients);
    field(reply, "cluster.links", 0);
    field(reply, "aof.buffer", 0);
    field(reply, "lua.caches", usage.scripts);
    field(reply, "functions.caches", usage.functions);
    for (number, keys, deadlines) in &usage.databases {
        reply.bulk(format!("db.{number}").as_bytes());
        reply.map(3);
        field(reply, "overhead.hashtable.main", *keys);
        field(reply, "overhead.hashtable.expires", *deadlines);
        field(reply, "overhead.hashtable.slot-to-keys", 0);
    }
    field(reply, "overhead.total", usage.overhead());
    field(reply, "keys.count", usage.keys);
    field(reply, "keys.bytes-per-key", usage.grown().checked_div(usage.keys).unwrap_or(0));
    field(reply, "dataset.bytes", usage.dataset());
    percent(reply, "dataset.percentage", usage.dataset(), usage.grown());
    percent(reply, "peak.percentage", usage.memory.used_bytes, usage.memory.peak_bytes);
    field(reply, "allocator.allocated", usage.memory.used_bytes);
    field(reply, "allocator.active", usage.memory.committed_bytes);
    field(reply, "allocator.resident", usage.memory.committed_bytes);
    let [pages, kept, process, all] = losses(&usage.memory);
    let parts =
        [("allocator-fragmentation", pages), ("allocator-rss", kept), ("rss-overhead", process)];
    for (name, loss) in parts {
        reply.bulk(format!("{name}.ratio").as_bytes());
        reply.double(loss.ratio());
        reply.bulk(format!("{name}.bytes").as_bytes());
        reply.integer(loss.bytes());
    }
    reply.bulk(b"fragmentation");
    reply.double(all.ratio());
    reply.bulk(b"fragmentation.bytes");
    reply.integer(all.bytes());
    Ok(())
}

/// What MEMORY DOCTOR says of the memory, of so many clients that take so many bytes, and of so
/// many scripts.
fn diagnosis(memory: &Memory, (clients, client_bytes): (usize, usize), scripts: usize) -> String {
    let Memory { used_bytes, peak_bytes, .. } = *memory;
    if used_bytes < DOCTOR_BYTES_MIN {
        return EMPTY.to_owned();
    }
    let high_peak = peak_bytes.saturating_mul(2) > used_bytes.saturating_mul(PEAK_HALVES_MAX);
    let [pages, _, process, all] = losses(memory);
    let issues = [
        (high_peak, HIGH_PEAK),
        (all.is_high(TOTAL_PERCENT_MIN), HIGH_TOTAL),
        (pages.is_high(PART_PERCENT_MIN), HIGH_PAGES),
        (process.is_high(PART_PERCENT_MIN), HIGH_PROCESS),
        (client_bytes / clients.max(1) > CLIENT_BYTES_MAX, LARGE_BUFFERS),
        (scripts > SCRIPTS_MAX, MANY_SCRIPTS),
    ];
    let mut told = vec![ISSUES];
    told.extend(issues.iter().filter_map(|(is, text)| is.then_some(*text)));
    if told.len() == 1 {
        return NO_ISSUE.to_owned();
    }
    told.push(FAREWELL);
    told.concat()
}

fn doctor(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let services = &context.services;
    let clients = (services.clients.connected(), services.clients.counted_now());
    let text = diagnosis(&services.stats.memory(), clients, services.scripts.script_count());
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
    fn the_doctor_finds_what_takes_memory_without_need() {
        let usage = |used: u64, peak: u64, committed: u64, resident: u64| {
            let [used_bytes, peak_bytes] = [used << 20, peak << 20];
            let [committed_bytes, resident_bytes] = [committed << 20, resident << 20];
            Memory { used_bytes, peak_bytes, committed_bytes, resident_bytes, total_bytes: 0 }
        };
        let tells = |usage: &Memory, issues: &[&str]| {
            let expected = format!("{ISSUES}{}{FAREWELL}", issues.concat());
            assert_eq!(diagnosis(usage, (1, 0), 0), expected);
        };
        assert_eq!(diagnosis(&usage(1, 100, 100, 100), (1, 0), 2_000), EMPTY);
        assert_eq!(diagnosis(&usage(10, 15, 10, 10), (1, 0), 1_000), NO_ISSUE);
        tells(&usage(10, 16, 10, 10), &[HIGH_PEAK]);
        tells(&usage(100, 100, 120, 120), &[HIGH_PAGES]);
        tells(&usage(100, 100, 100, 120), &[HIGH_PROCESS]);
        tells(&usage(100, 100, 141, 142), &[HIGH_TOTAL, HIGH_PAGES]);
        let large = format!("{ISSUES}{LARGE_BUFFERS}{FAREWELL}");
        assert_eq!(diagnosis(&usage(10, 10, 10, 10), (1, 201 << 10), 0), large);
        assert_eq!(diagnosis(&usage(10, 10, 10, 10), (2, 201 << 10), 0), NO_ISSUE);
        let scripts = format!("{ISSUES}{MANY_SCRIPTS}{FAREWELL}");
        assert_eq!(diagnosis(&usage(10, 10, 10, 10), (1, 0), 1_001), scripts);
    }
}
