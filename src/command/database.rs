//! The databases: choosing one, and moving keys from one to another.

use crate::command::args::integer_32;
use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Destination, Flags, Group, KeySpec, Outcome, Run};
use crate::command::sweep::Sweeper;
use crate::keyspace::WriteManyView;
use crate::protocol::Args;
use crate::util::events::EventSet;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "SELECT", group: Group::Connection, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "SELECT index",
        summary: "Change the selected database for the current connection.",
        run: Run::Client(select), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "MOVE", group: Group::Generic, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])], flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "MOVE key db",
        summary: "Move a key to another database.",
        run: Run::WriteAcross(move_destination, move_key), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SWAPDB", group: Group::Server, arity: Arity::Exact(3),
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::DANGEROUS),
        since: "4.0.0", cost: "O(1), with every shard locked for a moment",
        syntax: "SWAPDB index1 index2", summary: "Swaps two Redis databases.",
        categories: &["keyspace"], run: Run::Sweep(swap), ..CommandSpec::BASE
    },
];

fn select(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let number = integer_32(call.args.at(1))?;
    let number = context.services.figures.database_number(number);
    context.select(number.ok_or(CommandError::DatabaseOutOfRange)?);
    call.reply.ok();
    Ok(())
}

fn move_destination(args: Args<'_>) -> Result<Destination, CommandError> {
    Ok(Destination { key: 1, database: Some(integer_32(args.at(2))?) })
}

fn move_key(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    if view.is_one_key() {
        return Err(CommandError::Text("ERR source and destination objects are the same"));
    }
    let from_exists = view.key(0).is_some_and(|from| from.exists());
    let moves = from_exists && view.key(1).is_some_and(|to| !to.exists());
    if moves
        && let Some(entry) = view.key(0).and_then(|mut from| from.take())
        && let Some(mut to) = view.key(1)
    {
        to.put(entry);
        if let Some(mut from) = view.key(0) {
            from.notify(EventSet::GENERIC, "move_from");
        }
        if let Some(mut to) = view.key(1) {
            to.notify(EventSet::GENERIC, "move_to");
        }
    }
    call.reply.integer(i64::from(moves));
    Ok(())
}

fn swap(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let number = |at, text| integer_32(call.args.at(at)).map_err(|_| CommandError::Text(text));
    let a = number(1, "ERR invalid first DB index")?;
    let b = number(2, "ERR invalid second DB index")?;
    if !sweeper.swap(a, b)? {
        return Err(CommandError::DatabaseOutOfRange);
    }
    call.reply.ok();
    Ok(())
}
