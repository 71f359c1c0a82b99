//! The connection: PING, ECHO, HELLO, AUTH, CLIENT.

use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, Outcome, Run};

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "PING", group: Group::Connection, arity: Arity::AtLeast(1),
        flags: Flags::FAST, since: "1.0.0", cost: "O(1)", syntax: "PING [message]",
        summary: "Returns the server's liveliness response.", run: Run::Client(ping),
        ..CommandSpec::BASE
    },
];

fn ping(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    match call.args.len() {
        1 => call.reply.simple("PONG"),
        2 => call.reply.bulk(call.args.at(1)),
        _ => return Err(CommandError::WrongArity("ping".to_owned())),
    }
    Ok(())
}
