//! CLIENT: what the server knows of its clients, and ending them.

use crate::command::args::integer;
use crate::command::blocking::Ending;
use crate::command::clients::ClientRecord;
use crate::command::context::{Call, Context, ReplyMode};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::pause::PauseMode;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, Outcome, Run};
use crate::command::tracking;
use crate::util::number::parse_i64;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Redis' buffer of this size is filled before pieces of output are put into a list.
const FIRST_OUTPUT_BYTES: usize = 16 << 10;

const OWN: Flags = Flags::NO_SCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = OWN.and(Flags::ADMIN);

const LISTED: Compat =
    Compat::Differs("The line ends with lib-name and lib-ver, as that of Redis 7.2 does.");

/// The subcommands.
#[rustfmt::skip]
pub(super) static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ID", group: Group::Connection, arity: Arity::Exact(2), flags: OWN,
        since: "5.0.0", cost: "O(1)", syntax: "CLIENT ID",
        summary: "Returns the client ID for the current connection.",
        run: Run::Client(id), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETNAME", group: Group::Connection, arity: Arity::Exact(2), flags: OWN,
        since: "2.6.9", cost: "O(1)", syntax: "CLIENT GETNAME",
        summary: "Get the current connection name.",
        run: Run::Client(get_name), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SETNAME", group: Group::Connection, arity: Arity::Exact(3), flags: OWN,
        since: "2.6.9", cost: "O(1)", syntax: "CLIENT SETNAME connection-name",
        summary: "Set the current connection name.",
        run: Run::Client(set_name), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SETINFO", group: Group::Connection, arity: Arity::Exact(4), flags: OWN,
        since: "7.2.0", cost: "O(1)", syntax: "CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>",
        summary: "Sets information specific to the client or connection.",
        compat: Compat::Differs("Redis has it from 7.2 on."),
        run: Run::Client(set_info), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LIST", group: Group::Connection, arity: Arity::AtLeast(2), flags: ADMIN,
        since: "2.4.0", cost: "O(n) for n clients",
        syntax: "CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        summary: "Get the list of client connections.", tips: &["nondeterministic_output"],
        compat: LISTED, run: Run::Client(list), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "INFO", group: Group::Connection, arity: Arity::Exact(2), flags: OWN,
        since: "6.2.0", cost: "O(1)", syntax: "CLIENT INFO",
        summary: "Returns information about the current client connection.",
        tips: &["nondeterministic_output"],
        compat: LISTED, run: Run::Client(info), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "KILL", group: Group::Connection, arity: Arity::AtLeast(3), flags: ADMIN,
        since: "2.4.0", cost: "O(n) for n clients",
        syntax: "CLIENT KILL <ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME yes/no]> [...]>",
        summary: "Kill the connection of a client.",
        run: Run::Client(kill), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "UNBLOCK", group: Group::Connection, arity: Arity::AtLeast(3), flags: ADMIN,
        since: "5.0.0", cost: "O(log n) for n clients",
        syntax: "CLIENT UNBLOCK client-id [TIMEOUT | ERROR]",
        summary: "Unblock a client blocked in a blocking command from a different connection.",
        run: Run::Client(unblock), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "NO-EVICT", group: Group::Connection, arity: Arity::Exact(3), flags: ADMIN,
        since: "7.0.0", cost: "O(1)", syntax: "CLIENT NO-EVICT <ON | OFF>",
        summary: "Set client eviction mode for the current connection.",
        run: Run::Client(no_evict), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "NO-TOUCH", group: Group::Connection, arity: Arity::Exact(3), flags: OWN,
        since: "7.2.0", cost: "O(1)", syntax: "CLIENT NO-TOUCH <ON | OFF>",
        summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        compat: Compat::Differs("Redis has it from 7.2 on."),
        run: Run::Client(no_touch), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PAUSE", group: Group::Connection, arity: Arity::AtLeast(3), flags: ADMIN,
        since: "2.9.50", cost: "O(1)", syntax: "CLIENT PAUSE timeout [WRITE | ALL]",
        summary: "Stop processing commands from clients for some time.",
        run: Run::Client(pause), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "UNPAUSE", group: Group::Connection, arity: Arity::Exact(2), flags: ADMIN,
        since: "6.2.0", cost: "O(n) for n clients", syntax: "CLIENT UNPAUSE",
        summary: "Resume processing of clients that were paused.",
        run: Run::Client(unpause), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "REPLY", group: Group::Connection, arity: Arity::Exact(3), flags: OWN,
        since: "3.2.0", cost: "O(1)", syntax: "CLIENT REPLY <ON | OFF | SKIP>",
        summary: "Instruct the server whether to reply to commands.",
        run: Run::Client(reply), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "TRACKING", group: Group::Connection, arity: Arity::AtLeast(3), flags: OWN,
        since: "6.0.0", cost: "O(n) for n prefixes",
        syntax: "CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        summary: "Enable or disable server assisted client side caching support.",
        run: Run::Client(tracking::tracking), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "CACHING", group: Group::Connection, arity: Arity::Exact(3), flags: OWN,
        since: "6.0.0", cost: "O(1)", syntax: "CLIENT CACHING <YES | NO>",
        summary: "Instruct the server about tracking or not keys in the next request.",
        run: Run::Client(tracking::caching), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETREDIR", group: Group::Connection, arity: Arity::Exact(2), flags: OWN,
        since: "6.0.0", cost: "O(1)", syntax: "CLIENT GETREDIR",
        summary: "Get tracking notifications redirection client ID if any.",
        run: Run::Client(tracking::get_redirect), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "TRACKINGINFO", group: Group::Connection, arity: Arity::Exact(2), flags: OWN,
        since: "6.2.0", cost: "O(n) for n prefixes", syntax: "CLIENT TRACKINGINFO",
        summary: "Return information about server assisted client side caching for the current connection.",
        run: Run::Client(tracking::tracking_info), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Connection, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0", cost: "O(1)", syntax: "CLIENT HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(help), ..CommandSpec::BASE
    },
];

/// Whether a client may have this name: nothing that could break the lines of CLIENT LIST.
///
/// # Errors
/// When it has blanks or other special characters.
pub(super) fn check_name(name: &[u8]) -> Outcome {
    if name.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(CommandError::Text(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn id(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.integer(i64::try_from(context.client.id).unwrap_or(i64::MAX));
    Ok(())
}

fn get_name(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    match context.client.names().name.as_slice() {
        [] => call.reply.null(),
        name => call.reply.bulk(name),
    }
    Ok(())
}

fn set_name(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let name = call.args.at(2);
    check_name(name)?;
    context.client.change_names(|names| names.name = name.to_vec());
    call.reply.ok();
    Ok(())
}

fn set_info(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let (option, value) = (call.args.at(2), call.args.at(3));
    let is_name = option.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
        return Err(CommandError::echoing("ERR Unrecognized option '", option, "'"));
    }
    if !value.iter().all(u8::is_ascii_graphic) {
        return Err(CommandError::Text(if is_name {
            "ERR lib-name cannot contain spaces, newlines or special characters."
        } else {
            "ERR lib-ver cannot contain spaces, newlines or special characters."
        }));
    }
    context.client.change_names(|names| {
        let place = if is_name { &mut names.library_name } else { &mut names.library_version };
        *place = value.to_vec();
    });
    call.reply.ok();
    Ok(())
}

/// What sort of client CLIENT LIST and CLIENT KILL can ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Subscriber,
    /// One side of a replication: there are none.
    Replication,
}

impl ClientType {
    fn of(record: &ClientRecord) -> Self {
        if record.mailbox.is_subscriber() { Self::Subscriber } else { Self::Normal }
    }
}

fn client_type(name: &[u8]) -> Result<ClientType, CommandError> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(ClientType::Normal),
        b"pubsub" => Ok(ClientType::Subscriber),
        b"slave" | b"replica" | b"master" => Ok(ClientType::Replication),
        _ => Err(CommandError::echoing("ERR Unknown client type '", name, "'")),
    }
}

/// One line about a client, in the format of Redis 7.0 with the library at its end.
pub(super) fn describe(line: &mut Vec<u8>, record: &ClientRecord) {
    let names = record.names();
    let (input, output) = record.buffered_bytes();
    let unread = record.unread_bytes();
    let (queued, queued_bytes) = record.queued();
    let [channels, patterns, shard_channels] = record.subscriptions();
    let (messages, message_bytes) = record.mailbox.waiting();
    // As if there were Redis' buffer of a fixed size, which comes before the list of pieces.
    let first = output.min(FIRST_OUTPUT_BYTES);
    let further = output - first + message_bytes;
    let (redirect, tracked) = record.tracking();
    let is_subscriber = record.mailbox.is_subscriber();
    let flags = [
        (record.is_monitoring(), "O"),
        (is_subscriber, "P"),
        (queued >= 0, "x"),
        (record.is_blocked() || record.is_postponed(), "b"),
        (true, tracked),
        (record.no_evict(), "e"),
        (record.no_touch(), "T"),
    ];
    let flags: String = flags.iter().filter_map(|(is_set, name)| is_set.then_some(*name)).collect();
    let flags = if flags.is_empty() { "N" } else { &flags };
    // Writing to a Vec cannot fail.
    let _infallible = write!(
        line,
        "id={} addr={} laddr={} fd={} name=",
        record.id, record.address, record.local_address, record.descriptor
    );
    line.extend_from_slice(&names.name);
    let _infallible = write!(
        line,
        " age={} idle={} flags={flags} db={} sub={channels} psub={patterns} \
         ssub={shard_channels} multi={queued} qbuf={unread} qbuf-free={} argv-mem=0 \
         multi-mem={queued_bytes} rbs={output} rbp={output} obl={first} oll={messages} \
         omem={further} tot-mem={} events=r cmd={} user=",
        record.connected.elapsed().as_secs(),
        record.idle_seconds(),
        record.database(),
        input.saturating_sub(unread),
        record.memory_bytes(),
        record.last_command()
    );
    line.extend_from_slice(&record.user_name());
    let protocol = record.mailbox.protocol().number();
    let _infallible = write!(line, " redir={redirect} resp={protocol} lib-name=");
    line.extend_from_slice(&names.library_name);
    line.extend_from_slice(b" lib-ver=");
    line.extend_from_slice(&names.library_version);
    line.push(b'\n');
}

/// The clients that are still served; one that was killed ends a moment later.
fn served(context: &Context) -> Vec<Arc<ClientRecord>> {
    context.services.clients.all().into_iter().filter(|record| !record.is_killed()).collect()
}

fn list(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let option = args.at(2).to_ascii_lowercase();
    let all = served(context);
    let mut lines = Vec::new();
    if args.len() == 4 && option == b"type" {
        let kind = client_type(args.at(3))?;
        let asked_for = all.iter().filter(|record| ClientType::of(record) == kind);
        asked_for.for_each(|record| describe(&mut lines, record));
    } else if args.len() > 3 && option == b"id" {
        for id in args.iter_from(3) {
            let id = parse_i64(id).ok_or(CommandError::Text("ERR Invalid client ID"))?;
            let record = all.iter().find(|record| i64::try_from(record.id) == Ok(id));
            if let Some(record) = record {
                describe(&mut lines, record);
            }
        }
    } else if args.len() == 2 {
        all.iter().for_each(|record| describe(&mut lines, record));
    } else {
        return Err(CommandError::Syntax);
    }
    call.reply.verbatim(&lines);
    Ok(())
}

fn info(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let mut line = Vec::new();
    describe(&mut line, &context.client);
    call.reply.verbatim(&line);
    Ok(())
}

/// Which clients to end; what is not asked for fits all.
struct Filter<'a> {
    id: Option<i64>,
    kind: Option<ClientType>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    /// The number of a user.
    user: Option<u64>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    fn parse(context: &Context, call: &Call<'a>) -> Result<Self, CommandError> {
        let args = call.args;
        let (id, kind, address, local_address, user) = Default::default();
        let mut filter = Self { id, kind, address, local_address, user, skip_me: true };
        if args.len() == 3 {
            return Ok(Self { address: Some(args.at(2)), skip_me: false, ..filter });
        }
        let mut at = 2;
        while let Some(option) = args.get(at) {
            let value = args.get(at + 1).ok_or(CommandError::Syntax)?;
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_i64(value)
                        .filter(|id| *id > 0)
                        .ok_or(CommandError::Text("ERR client-id should be greater than 0"))?;
                    filter.id = Some(id);
                }
                b"type" => filter.kind = Some(client_type(value)?),
                b"addr" => filter.address = Some(value),
                b"laddr" => filter.local_address = Some(value),
                b"user" => {
                    let user = context.services.acl.find(value);
                    let unknown = || CommandError::echoing("ERR No such user '", value, "'");
                    filter.user = Some(user.ok_or_else(unknown)?.id);
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = false,
                _ => return Err(CommandError::Syntax),
            }
            at += 2;
        }
        Ok(filter)
    }

    fn fits(&self, record: &ClientRecord) -> bool {
        let is = |wanted: Option<&[u8]>, address: std::net::SocketAddr| {
            wanted.is_none_or(|wanted| wanted == address.to_string().as_bytes())
        };
        self.id.is_none_or(|id| i64::try_from(record.id) == Ok(id))
            && self.kind.is_none_or(|kind| kind == ClientType::of(record))
            && is(self.address, record.address)
            && is(self.local_address, record.local_address)
            && self.user.is_none_or(|user| user == record.user_id())
    }
}

fn kill(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let filter = Filter::parse(context, call)?;
    let mut killed = 0;
    for record in served(context) {
        if !filter.fits(&record) {
            continue;
        }
        if record.id != context.client.id {
            record.kill();
        } else if filter.skip_me {
            continue;
        } else {
            // The reply still has to leave.
            context.close = true;
        }
        killed += 1;
    }
    match (call.args.len(), killed) {
        (3, 0) => return Err(CommandError::Text("ERR No such client")),
        (3, _) => call.reply.ok(),
        _ => call.reply.integer(killed),
    }
    Ok(())
}

fn unblock(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let ending = match args.at(3).to_ascii_lowercase().as_slice() {
        _ if args.len() > 4 => return Err(CommandError::unknown_or_arity(args.at(1), "CLIENT")),
        b"" if args.len() == 3 => Ending::TimedOut,
        b"timeout" => Ending::TimedOut,
        b"error" => Ending::Unblocked,
        _ => {
            let text = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
            return Err(CommandError::Text(text));
        }
    };
    let id = integer(args.at(2))?;
    let client = u64::try_from(id).ok().and_then(|id| context.services.clients.find(id));
    call.reply.integer(i64::from(client.is_some_and(|client| client.unblock(ending))));
    Ok(())
}

fn no_evict(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let on = call.args.at(2).eq_ignore_ascii_case(b"on");
    if !on && !call.args.at(2).eq_ignore_ascii_case(b"off") {
        return Err(CommandError::Syntax);
    }
    context.client.set_no_evict(on);
    call.reply.ok();
    Ok(())
}

fn no_touch(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let on = call.args.at(2).eq_ignore_ascii_case(b"on");
    if !on && !call.args.at(2).eq_ignore_ascii_case(b"off") {
        return Err(CommandError::Syntax);
    }
    context.client.set_no_touch(on);
    call.reply.ok();
    Ok(())
}

fn pause(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    if args.len() > 4 {
        return Err(CommandError::unknown_or_arity(args.at(1), "CLIENT"));
    }
    let mode = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        Some(b"write") => PauseMode::Write,
        None | Some(b"all") => PauseMode::All,
        Some(_) => return Err(CommandError::Text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let not_a_number = CommandError::Text("ERR timeout is not an integer or out of range");
    let millis = parse_i64(args.at(2)).ok_or(not_a_number)?;
    let negative = CommandError::Text("ERR timeout is negative");
    let millis = u64::try_from(millis).map_err(|_| negative)?;
    context.services.clients.pause.begin(mode, Duration::from_millis(millis));
    call.reply.ok();
    Ok(())
}

fn unpause(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    context.services.clients.unpause();
    call.reply.ok();
    Ok(())
}

fn reply(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    match call.args.at(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            context.reply_mode = ReplyMode::On;
            context.skip_reply = false;
            call.reply.ok();
        }
        b"off" => context.reply_mode = ReplyMode::Off,
        b"skip" if context.reply_mode == ReplyMode::Off => {}
        b"skip" => context.reply_mode = ReplyMode::SkipNext,
        _ => return Err(CommandError::Syntax),
    }
    Ok(())
}

fn help(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    reply_help(call, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on.",
];
