//! Keys of any type.

use crate::command::args::{integer, integer_32, is_word};
use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::scan::{Collected, Pattern, ScanOptions, cursor};
use crate::command::spec::{Arity, CommandSpec, Compat, Destination, Flags, Group};
use crate::command::spec::{KeySpec, Outcome, Run};
use crate::command::sweep::Sweeper;
use crate::keyspace::planted::Bug;
use crate::keyspace::{Entry, ReadManyView, ReadView, WriteManyView, WriteView};
use crate::protocol::Args;
use crate::util::events::EventSet;
use crate::util::number::parse_i64;

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "DEL", group: Group::Generic, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RM", "DELETE"])],
        since: "1.0.0", cost: "O(n) for n keys, whatever they hold", syntax: "DEL key [key ...]",
        summary: "Deletes one or more keys.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::WriteMany(delete), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "UNLINK", group: Group::Generic, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RM", "DELETE"])], flags: Flags::FAST,
        since: "4.0.0", cost: "O(n) for n keys, whatever they hold", syntax: "UNLINK key [key ...]",
        summary: "Deletes one or more keys; as DEL, which frees in the background, too.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::WriteMany(delete), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EXISTS", group: Group::Generic, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RO"])], flags: Flags::FAST.and(Flags::NO_TOUCH),
        since: "1.0.0", cost: "O(n) for n keys", syntax: "EXISTS key [key ...]",
        summary: "Counts which of the keys exist, a repeated one each time.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::ReadMany(exists), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "TYPE", group: Group::Generic, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST.and(Flags::NO_TOUCH),
        since: "1.0.0", cost: "O(1)", syntax: "TYPE key",
        summary: "Returns the type of the value of a key.", run: Run::Read(type_of),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RENAME", group: Group::Generic, arity: Arity::Exact(3),
        keys: &[
            KeySpec::one(&["RW", "ACCESS", "DELETE"]),
            KeySpec { first: 2, last: 0, step: 1, access: &["OW", "UPDATE"] },
        ],
        since: "1.0.0", cost: "O(1)", syntax: "RENAME key newkey",
        summary: "Renames a key and overwrites the destination.", run: Run::WriteMany(rename),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "KEYS", group: Group::Generic, arity: Arity::Exact(2),
        flags: Flags::READONLY.and(Flags::DANGEROUS).and(Flags::SLOW),
        since: "1.0.0", cost: "O(n) for n keys of the server", syntax: "KEYS pattern",
        summary: "Returns all keys that match a pattern.",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        run: Run::Sweep(keys), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SCAN", group: Group::Generic, arity: Arity::AtLeast(2), flags: Flags::READONLY,
        since: "2.8.0", cost: "O(count) for every call, O(n) for all n keys of the server",
        syntax: "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]",
        summary: "Iterates over the keys of the server.",
        tips: &["nondeterministic_output", "request_policy:special"],
        run: Run::Sweep(scan), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DBSIZE", group: Group::Server, arity: Arity::Exact(1),
        flags: Flags::READONLY.and(Flags::FAST),
        since: "1.0.0", cost: "O(1)", syntax: "DBSIZE",
        summary: "Returns the number of keys.",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        categories: &["keyspace"], run: Run::Sweep(size), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FLUSHALL", group: Group::Server, arity: Arity::AtLeast(1),
        flags: Flags::WRITE.and(Flags::DANGEROUS),
        since: "1.0.0", cost: "O(1); the memory is freed in the background",
        syntax: "FLUSHALL [ASYNC | SYNC]", summary: "Removes all keys of all databases.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        categories: &["keyspace"], run: Run::Sweep(flush_all), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FLUSHDB", group: Group::Server, arity: Arity::AtLeast(1),
        flags: Flags::WRITE.and(Flags::DANGEROUS),
        since: "1.0.0", cost: "O(1); the memory is freed in the background",
        syntax: "FLUSHDB [ASYNC | SYNC]", summary: "Removes all keys of the current database.",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        categories: &["keyspace"], run: Run::Sweep(flush_selected), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RENAMENX", group: Group::Generic, arity: Arity::Exact(3),
        keys: &[
            KeySpec::one(&["RW", "ACCESS", "DELETE"]),
            KeySpec { first: 2, last: 0, step: 1, access: &["OW", "INSERT"] },
        ],
        flags: Flags::FAST,
        since: "1.0.0", cost: "O(1)", syntax: "RENAMENX key newkey",
        summary: "Renames a key unless the new name is taken.", run: Run::WriteMany(renamenx),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "COPY", group: Group::Generic, arity: Arity::AtLeast(3),
        keys: &[
            KeySpec::one(&["RO", "ACCESS"]),
            KeySpec { first: 2, last: 0, step: 1, access: &["OW", "UPDATE"] },
        ],
        flags: Flags::DENY_OOM,
        since: "6.2.0",
        cost: "O(n) for n chunks or segments, which are shared until one of the copies changes",
        syntax: "COPY source destination [DB destination-db] [REPLACE]",
        summary: "Copies the value and the deadline of a key to another key.",
        run: Run::WriteAcross(copy_destination, copy), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "TOUCH", group: Group::Generic, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RO"])], flags: Flags::FAST,
        since: "3.2.1", cost: "O(n) for n keys", syntax: "TOUCH key [key ...]",
        summary: "Counts which of the keys exist, which is a use of them.",
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        run: Run::ReadMany(exists), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RANDOMKEY", group: Group::Generic, arity: Arity::Exact(1), flags: Flags::READONLY,
        since: "1.0.0", cost: "O(1) expected, and O(n) for n shards", syntax: "RANDOMKEY",
        summary: "Returns a key that is drawn at random.",
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        run: Run::Sweep(random_key), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "WAIT", group: Group::Generic, arity: Arity::Exact(3), flags: Flags::NO_SCRIPT,
        since: "3.0.0", cost: "O(1)", syntax: "WAIT numreplicas timeout",
        summary: "Returns how many replicas have the writes of this client: none.",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        categories: &["connection"],
        compat: Compat::Differs("Answers at once: there are no replicas to wait for."),
        run: Run::Client(wait), ..CommandSpec::BASE
    },
];

fn delete(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let mut removed = 0;
    for index in 0..view.len() {
        if let Some(mut key) = view.key(index)
            && key.remove()
        {
            key.notify(EventSet::GENERIC, "del");
            removed += 1;
        }
    }
    call.reply.count(removed);
    Ok(())
}

fn exists(view: &ReadManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(view.iter().filter(ReadView::exists).count());
    Ok(())
}

fn type_of(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    call.reply.simple(view.value().map_or("none", |value| value.value_type().name()));
    Ok(())
}

fn rename(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let same = call.args.at(1) == call.args.at(2);
    let mut from = view.key(0).ok_or(CommandError::NoSuchKey)?;
    if !same {
        let entry = from.take().ok_or(CommandError::NoSuchKey)?;
        put_renamed(view, entry);
    } else if !from.exists() {
        return Err(CommandError::NoSuchKey);
    }
    call.reply.ok();
    Ok(())
}

fn renamenx(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    if !view.key(0).is_some_and(|from| from.exists()) {
        return Err(CommandError::NoSuchKey);
    }
    // A key has its own name already.
    let is_free = view.key(1).is_some_and(|to| !to.exists());
    if is_free && let Some(entry) = view.key(0).and_then(|mut from| from.take()) {
        put_renamed(view, entry);
    }
    call.reply.flag(is_free);
    Ok(())
}

/// A key that these commands replace counts as removed and made anew.
pub(super) fn note_anew(view: &mut WriteView<'_>, replaced: bool) {
    if replaced {
        view.notify(EventSet::NEW, "new");
    }
}

/// Gives what was taken from the first key to the second.
fn put_renamed(view: &mut WriteManyView<'_, '_>, entry: Entry) {
    view.let_go_if(Bug::TornWrite);
    if let Some(mut to) = view.key(1) {
        let replaced = to.exists();
        to.put(entry);
        note_anew(&mut to, replaced);
    }
    for (index, event) in ["rename_from", "rename_to"].into_iter().enumerate() {
        if let Some(mut key) = view.key(index) {
            key.notify(EventSet::GENERIC, event);
        }
    }
}

/// The options of COPY, up to the first that is wrong.
struct CopyOptions {
    replace: bool,
    database: Option<i64>,
    fault: Option<CommandError>,
}

impl CopyOptions {
    fn parse(args: Args<'_>) -> Self {
        let mut options = Self { replace: false, database: None, fault: None };
        let mut words = args.iter_from(3);
        while let Some(word) = words.next() {
            if is_word(word, "REPLACE") {
                options.replace = true;
            } else if is_word(word, "DB")
                && let Some(number) = words.next()
            {
                match integer_32(number) {
                    Ok(number) => options.database = Some(number),
                    Err(fault) => options.fault = Some(fault),
                }
            } else {
                options.fault = Some(CommandError::Syntax);
            }
            if options.fault.is_some() {
                break;
            }
        }
        options
    }
}

/// A database that is not there is refused before what is wrong behind it.
fn copy_destination(args: Args<'_>) -> Result<Destination, CommandError> {
    Ok(Destination { key: 2, database: CopyOptions::parse(args).database })
}

fn copy(view: &mut WriteManyView<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let options = CopyOptions::parse(call.args);
    if let Some(fault) = options.fault {
        return Err(fault);
    }
    if view.is_one_key() {
        return Err(CommandError::Text("ERR source and destination objects are the same"));
    }
    let source = view.key(0).and_then(|from| from.copy());
    let copied = match (source, view.key(1)) {
        (Some(entry), Some(mut to)) if options.replace || !to.exists() => {
            let replaced = to.exists();
            to.put(entry);
            note_anew(&mut to, replaced);
            to.notify(EventSet::GENERIC, "copy_to");
            true
        }
        _ => false,
    };
    call.reply.flag(copied);
    Ok(())
}

fn random_key(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    match sweeper.random_key(&mut call.random)? {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(())
}

fn wait(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    integer(call.args.at(1))?;
    match parse_i64(call.args.at(2)) {
        Some(0..) => {}
        Some(_) => return Err(CommandError::Text("ERR timeout is negative")),
        None => {
            return Err(CommandError::Text("ERR timeout is not an integer or out of range"));
        }
    }
    call.reply.count(0);
    Ok(())
}

fn keys(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let pattern = Pattern::new(call.args.at(1));
    let mut found = Collected::default();
    sweeper.for_each_key(|key| {
        if pattern.shows(key) {
            found.add(key, call);
        }
    })?;
    found.reply(call);
    Ok(())
}

fn scan(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    let cursor = cursor(call.args.at(1))?;
    let options = ScanOptions::parse(call, 2, true)?;
    let mut found = Collected::default();
    let next = sweeper.scan(cursor, options.count, |entry| {
        let has_type = |name| is_word(name, entry.value().value_type().name());
        if options.pattern.shows(entry.key()) && options.type_name.is_none_or(has_type) {
            found.add(entry.key(), call);
        }
    })?;
    found.reply_with_cursor(next, call);
    Ok(())
}

fn size(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(sweeper.len());
    Ok(())
}

/// ASYNC and SYNC are the same here: memory is always freed after the locks are released.
fn check_flush(call: &Call<'_>) -> Outcome {
    let known = match call.args.len() {
        1 => true,
        2 => ["ASYNC", "SYNC"].iter().any(|word| is_word(call.args.at(1), word)),
        _ => false,
    };
    if known { Ok(()) } else { Err(CommandError::Syntax) }
}

fn flush_all(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    check_flush(call)?;
    sweeper.flush_all()?;
    call.reply.ok();
    Ok(())
}

fn flush_selected(sweeper: &mut Sweeper<'_, '_>, call: &mut Call<'_>) -> Outcome {
    check_flush(call)?;
    sweeper.flush_selected()?;
    call.reply.ok();
    Ok(())
}
