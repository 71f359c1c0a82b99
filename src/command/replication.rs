//! ROLE, REPLICAOF, FAILOVER: what a server without replicas answers; and LOLWUT.

use crate::command::args::is_word;
use crate::command::connection::REDIS_VERSION;
use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, Outcome, Run};
use crate::util::number::parse_i64;

const ADMIN: Flags = Flags::ADMIN.and(Flags::NO_SCRIPT).and(Flags::STALE);
const NO_REPLICATION: Compat = Compat::Differs("There is no replication: only NO ONE is possible.");

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ROLE", group: Group::Server, arity: Arity::Exact(1),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::NO_SCRIPT),
        since: "2.8.12", cost: "O(1)", syntax: "ROLE",
        summary: "Return the role of the instance in the context of replication.",
        categories: &["admin", "dangerous"], run: Run::Client(role), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "REPLICAOF", group: Group::Server, arity: Arity::Exact(3),
        flags: ADMIN.and(Flags::NO_ASYNC_LOADING),
        since: "5.0.0", cost: "O(1)", syntax: "REPLICAOF host port",
        summary: "Make the server a replica of another instance, or promote it as master.",
        compat: NO_REPLICATION, run: Run::Client(replica_of), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SLAVEOF", group: Group::Server, arity: Arity::Exact(3),
        flags: ADMIN.and(Flags::NO_ASYNC_LOADING),
        since: "1.0.0", cost: "O(1)", syntax: "SLAVEOF host port",
        summary: "Make the server a replica of another instance, or promote it as master.",
        compat: NO_REPLICATION, run: Run::Client(replica_of), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FAILOVER", group: Group::Server, arity: Arity::AtLeast(1), flags: ADMIN,
        since: "6.2.0", cost: "O(1)",
        syntax: "FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        summary: "Start a coordinated failover between this server and one of its replicas.",
        run: Run::Client(failover), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LOLWUT", group: Group::Server, arity: Arity::AtLeast(1),
        flags: Flags::READONLY.and(Flags::FAST),
        since: "5.0.0", cost: "O(1)", syntax: "LOLWUT [VERSION version]",
        summary: "Display some computer art and the Redis version.",
        compat: Compat::Differs("The art of old versions is not drawn."),
        run: Run::Client(lolwut), ..CommandSpec::BASE
    },
];

fn role(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.array(3);
    call.reply.bulk(b"master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(())
}

fn replica_of(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    if is_word(args.at(1), "no") && is_word(args.at(2), "one") {
        call.reply.ok();
        return Ok(());
    }
    let port = parse_i64(args.at(2)).filter(|port| (0..=65_535).contains(port));
    if port.is_none() {
        return Err(CommandError::Text("ERR Invalid master port"));
    }
    Err(CommandError::Text("ERR my_redis_server cannot follow another server"))
}

fn failover(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    if args.len() == 2 && is_word(args.at(1), "abort") {
        return Err(CommandError::Text("ERR No failover in progress."));
    }
    let (mut timeout, mut has_host, mut force) = (0, false, false);
    let number = |number| parse_i64(args.at(number)).ok_or(CommandError::NotAnInteger);
    let mut at = 1;
    while let Some(word) = args.get(at) {
        let left = args.len() - at - 1;
        if is_word(word, "timeout") && left >= 1 && timeout == 0 {
            timeout = number(at + 1)?;
            if timeout <= 0 {
                return Err(CommandError::Text("ERR FAILOVER timeout must be greater than 0"));
            }
            at += 2;
        } else if is_word(word, "to") && left >= 2 && !has_host {
            number(at + 2)?;
            has_host = true;
            at += 3;
        } else if is_word(word, "force") && !force {
            force = true;
            at += 1;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Err(CommandError::Text("ERR FAILOVER requires connected replicas."))
}

fn lolwut(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if call.args.len() >= 3 && is_word(call.args.at(1), "version") {
        parse_i64(call.args.at(2)).ok_or(CommandError::NotAnInteger)?;
    }
    call.reply.verbatim(format!("Redis ver. {REDIS_VERSION}\n").as_bytes());
    Ok(())
}
