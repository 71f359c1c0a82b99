//! The connection: PING, ECHO, who the client is and which protocol it speaks.

use crate::acl::{DEFAULT_USER, Place, Reason, Refusal};
use crate::command::client;
use crate::command::context::{Call, Context, ReplyMode};
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, Outcome, Run};
use crate::command::tracking;
use crate::protocol::{Args, Protocol};
use crate::util::number::parse_i64;

/// The version of Redis whose behaviour this is.
pub const REDIS_VERSION: &str = "7.0.15";

/// What every command has that may come before authentication.
const HANDSHAKE: Flags = Flags::NO_SCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::FAST)
    .and(Flags::NO_AUTH)
    .and(Flags::ALLOW_BUSY);
const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST);

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "PING", group: Group::Connection, arity: Arity::AtLeast(1),
        flags: Flags::FAST.and(Flags::SUBSCRIBED), since: "1.0.0", cost: "O(1)",
        syntax: "PING [message]",
        summary: "Ping the server.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: Run::Client(ping), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "ECHO", group: Group::Connection, arity: Arity::Exact(2),
        flags: ANY_TIME, since: "1.0.0", cost: "O(1)", syntax: "ECHO message",
        summary: "Echo the given string.", run: Run::Client(echo), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "QUIT", group: Group::Connection, arity: Arity::AtLeast(1),
        flags: HANDSHAKE.and(Flags::NOT_QUEUED).and(Flags::SUBSCRIBED), since: "1.0.0",
        cost: "O(1)", syntax: "QUIT",
        summary: "Close the connection.", run: Run::Client(quit), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RESET", group: Group::Connection, arity: Arity::Exact(1),
        flags: HANDSHAKE.and(Flags::NOT_QUEUED).and(Flags::SUBSCRIBED), since: "6.2.0",
        cost: "O(1)", syntax: "RESET",
        summary: "Reset the connection.", run: Run::Client(reset), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "AUTH", group: Group::Connection, arity: Arity::AtLeast(2),
        flags: HANDSHAKE, since: "1.0.0", cost: "O(1)", syntax: "AUTH [username] password",
        summary: "Authenticate to the server.",
        run: Run::Client(auth), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELLO", group: Group::Connection, arity: Arity::AtLeast(1),
        flags: HANDSHAKE, since: "6.0.0", cost: "O(1)",
        syntax: "HELLO [protover [AUTH username password] [SETNAME clientname]]",
        summary: "Handshake with Redis.", run: Run::Client(hello), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "CLIENT", group: Group::Connection, arity: Arity::AtLeast(2),
        since: "2.4.0", cost: "Depends on subcommand.", syntax: "CLIENT",
        summary: "A container for client connection commands.",
        run: Run::Container(client::SUBCOMMANDS), ..CommandSpec::BASE
    },
];

fn ping(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    match call.args.len() {
        1 | 2 if context.only_listens() => {
            // In the form of a message, which is all that such a client expects.
            call.reply.array(2);
            call.reply.bulk(b"pong");
            call.reply.bulk(call.args.at(1));
        }
        1 => call.reply.simple("PONG"),
        2 => call.reply.bulk(call.args.at(1)),
        _ => return Err(CommandError::WrongArity("ping".to_owned())),
    }
    Ok(())
}

fn echo(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.bulk(call.args.at(1));
    Ok(())
}

fn quit(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.ok();
    context.close = true;
    Ok(())
}

fn reset(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    context.set_protocol(Protocol::Resp2, call);
    context.client.change_names(|names| names.name.clear());
    context.log_out();
    context.end_transaction();
    tracking::disable(context);
    context.subscriptions.clear();
    context.note_subscriptions();
    context.select(0);
    context.reply_mode = ReplyMode::On;
    context.client.set_no_touch(false);
    context.monitoring = None;
    context.client.set_monitoring(false);
    context.skip_reply = false;
    call.reply.simple("RESET");
    Ok(())
}

fn auth(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    if args.len() == 2 && context.services.acl.default_needs_no_password() {
        return Err(CommandError::Text(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ));
    }
    let (user, password) = match args.len() {
        2 => (DEFAULT_USER, args.at(1)),
        _ => (args.at(1), args.at(2)),
    };
    authenticate(context, args, user, password)?;
    call.reply.ok();
    Ok(())
}

/// Lets the client in when user and password are right.
///
/// # Errors
/// `WrongPass`, in a time that does not depend on how much of the password is right.
fn authenticate(context: &mut Context, args: Args<'_>, user: &[u8], password: &[u8]) -> Outcome {
    let Some(user) = context.services.acl.authenticate(user, password) else {
        let place = match context.transaction {
            Some(_) => Place::Transaction,
            None => Place::TopLevel,
        };
        context.log_refusal(Refusal::new(Reason::Auth, place, args.at(0), user));
        return Err(CommandError::WrongPass);
    };
    context.log_in(user);
    Ok(())
}

/// Reads the protocol that HELLO asks for and carries out its options one by one: those before a
/// wrong one hold, as in Redis.
fn shake_hands(context: &mut Context, args: Args<'_>) -> Result<Option<Protocol>, CommandError> {
    let Some(version) = args.get(1) else { return Ok(None) };
    let not_a_number = "ERR Protocol version is not an integer or out of range";
    let protocol = match parse_i64(version).ok_or(CommandError::Text(not_a_number))? {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(CommandError::NoProto),
    };
    let mut at = 2;
    while let Some(option) = args.get(at) {
        let left = args.len() - at - 1;
        if option.eq_ignore_ascii_case(b"AUTH") && left >= 2 {
            authenticate(context, args, args.at(at + 1), args.at(at + 2))?;
            at += 3;
        } else if option.eq_ignore_ascii_case(b"SETNAME") && left >= 1 {
            let name = args.at(at + 1);
            client::check_name(name)?;
            context.client.change_names(|names| names.name = name.to_vec());
            at += 2;
        } else {
            return Err(CommandError::echoing("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    Ok(Some(protocol))
}

fn hello(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let protocol = shake_hands(context, call.args)?;
    if !context.authenticated {
        return Err(CommandError::Text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO AUTH <user> <pass> option can be used to authenticate the client and select \
             the RESP protocol version at the same time",
        ));
    }
    if let Some(protocol) = protocol {
        context.set_protocol(protocol, call);
    }
    call.reply.map(7);
    let texts = [("server", "redis"), ("version", REDIS_VERSION)];
    for (name, value) in texts {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    call.reply.bulk(b"proto");
    call.reply.integer(context.protocol.number());
    call.reply.bulk(b"id");
    call.reply.integer(i64::try_from(context.client.id).unwrap_or(i64::MAX));
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    call.reply.bulk(b"modules");
    call.reply.array(0);
    Ok(())
}
