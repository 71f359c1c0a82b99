//! Hashes.

use crate::command::args::{integer, is_word};
use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::many;
use crate::command::scan::{Collected, OwnOption, ScanOptions, cursor};
use crate::command::set::drawn_count;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::data::Hash;
use crate::keyspace::{ReadView, WriteView};
use crate::util::events::EventSet;
use crate::util::extended::Extended;
use crate::util::number::{IntegerText, parse_i64};

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "HSET", group: Group::Hash, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.0.0", cost: "O(n) for n fields", syntax: "HSET key field value [field value ...]",
        summary: "Sets fields of a hash and returns how many are new.", run: Run::Write(hset),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HMSET", group: Group::Hash, arity: Arity::AtLeast(4),
        keys: &[KeySpec::one(&["RW", "UPDATE"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.0.0", cost: "O(n) for n fields",
        syntax: "HMSET key field value [field value ...]",
        summary: "Sets fields of a hash; HSET does the same and tells more.",
        run: Run::Write(hmset), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HGET", group: Group::Hash, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(1)", syntax: "HGET key field",
        summary: "Returns the value of a field of a hash.", run: Run::Read(hget),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HMGET", group: Group::Hash, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(n) for n fields", syntax: "HMGET key field [field ...]",
        summary: "Returns the values of several fields of a hash.", run: Run::Read(hmget),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HDEL", group: Group::Hash, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RW", "DELETE"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(n) for n fields", syntax: "HDEL key field [field ...]",
        summary: "Removes fields of a hash, and the hash with its last one.",
        run: Run::Write(hdel), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HEXISTS", group: Group::Hash, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(1)", syntax: "HEXISTS key field",
        summary: "Tells whether a hash has a field.", run: Run::Read(hexists),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HGETALL", group: Group::Hash, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.0.0", cost: "O(n) for n fields of the hash", syntax: "HGETALL key",
        summary: "Returns all fields of a hash with their values.",
        tips: &["nondeterministic_output_order"], run: Run::Read(hgetall), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HKEYS", group: Group::Hash, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.0.0", cost: "O(n) for n fields of the hash", syntax: "HKEYS key",
        summary: "Returns all fields of a hash.",
        tips: &["nondeterministic_output_order"], run: Run::Read(hkeys), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HVALS", group: Group::Hash, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.0.0", cost: "O(n) for n fields of the hash", syntax: "HVALS key",
        summary: "Returns all values of a hash.",
        tips: &["nondeterministic_output_order"], run: Run::Read(hvals), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HLEN", group: Group::Hash, arity: Arity::Exact(2),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "2.0.0", cost: "O(1)", syntax: "HLEN key",
        summary: "Returns the number of fields of a hash.", run: Run::Read(hlen),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HINCRBY", group: Group::Hash, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.0.0", cost: "O(1)", syntax: "HINCRBY key field increment",
        summary: "Adds to the integer in a field of a hash; no field counts as 0.",
        run: Run::Write(hincrby), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HSCAN", group: Group::Hash, arity: Arity::AtLeast(3),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "2.8.0", cost: "O(count) for every call, O(n) for all n fields of the hash",
        syntax: "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        summary: "Iterates over the fields of a hash and their values.",
        tips: &["nondeterministic_output"], run: Run::Read(hscan), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HSETNX", group: Group::Hash, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "INSERT"])], flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.0.0", cost: "O(1)", syntax: "HSETNX key field value",
        summary: "Sets a field of a hash that doesn't exist.", run: Run::Write(hsetnx),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HSTRLEN", group: Group::Hash, arity: Arity::Exact(3),
        keys: &[KeySpec::one(&["RO"])], flags: Flags::FAST,
        since: "3.2.0", cost: "O(1)", syntax: "HSTRLEN key field",
        summary: "Returns the length of the value of a field of a hash.",
        run: Run::Read(hstrlen), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HINCRBYFLOAT", group: Group::Hash, arity: Arity::Exact(4),
        keys: &[KeySpec::one(&["RW", "ACCESS", "UPDATE"])],
        flags: Flags::DENY_OOM.and(Flags::FAST),
        since: "2.6.0", cost: "O(1)", syntax: "HINCRBYFLOAT key field increment",
        summary: "Adds to the floating point number in a field of a hash; no field counts as 0.",
        run: Run::Write(hincrbyfloat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HRANDFIELD", group: Group::Hash, arity: Arity::AtLeast(2),
        keys: &[KeySpec::one(&["RO", "ACCESS"])],
        since: "6.2.0", cost: "O(n) for n fields, or for all when a third of them is drawn",
        syntax: "HRANDFIELD key [count [WITHVALUES]]",
        summary: "Returns fields of a hash that are drawn at random.",
        tips: &["nondeterministic_output"], run: Run::Read(hrandfield), ..CommandSpec::BASE
    },
];

/// Sets the pairs of the call; returns how many fields are new.
fn set_pairs(view: &mut WriteView<'_>, call: &Call<'_>, name: &str) -> Result<usize, CommandError> {
    if !call.args.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(name.to_owned()));
    }
    let mut pairs = call.args.iter_from(2);
    let new = view.change_collection(true, |hash: &mut Hash| {
        let mut new = 0;
        while let (Some(field), Some(value)) = (pairs.next(), pairs.next()) {
            new += usize::from(hash.set(field, value));
        }
        new
    })?;
    view.note_more_changes((call.args.len() - 2) / 2 - 1);
    view.notify(EventSet::HASH, "hset");
    Ok(new.unwrap_or(0))
}

fn hset(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let new = set_pairs(view, call, "hset")?;
    call.reply.count(new);
    Ok(())
}

fn hmset(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    set_pairs(view, call, "hmset")?;
    call.reply.ok();
    Ok(())
}

fn reply_value(call: &mut Call<'_>, value: Option<&[u8]>) {
    match value {
        Some(value) => call.reply.bulk(value),
        None => call.reply.null(),
    }
}

fn hget(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let field = call.args.at(2);
    reply_value(call, view.hash()?.and_then(|hash| hash.get(field)));
    Ok(())
}

fn hmget(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let hash = view.hash()?;
    let fields = call.args.iter_from(2);
    call.reply.array(fields.len());
    for field in fields {
        reply_value(call, hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

fn hdel(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let mut removed = 0;
    if let Some(hash) = view.read().hash()?
        && args.iter_from(2).any(|field| hash.get(field).is_some())
    {
        let changed = view.change_collection(false, |hash: &mut Hash| {
            args.iter_from(2).filter(|field| hash.remove(field)).count()
        })?;
        removed = changed.unwrap_or(0);
        view.note_more_changes(removed.saturating_sub(1));
        view.notify(EventSet::HASH, "hdel");
    }
    call.reply.count(removed);
    Ok(())
}

fn hexists(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let field = call.args.at(2);
    call.reply.flag(view.hash()?.is_some_and(|hash| hash.get(field).is_some()));
    Ok(())
}

fn hgetall(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let Some(hash) = view.hash()? else {
        call.reply.map(0);
        return Ok(());
    };
    many::answer(view, call, hash.len(), |view, reply| {
        if let Some(hash) = view.hash()? {
            reply.map(hash.len());
            hash.for_each(|field, value| {
                reply.bulk(field);
                reply.bulk(value);
            });
        }
        Ok(())
    })
}

/// Replies with one part of every field.
fn reply_parts(
    view: &ReadView<'_>,
    call: &mut Call<'_>,
    part: for<'a> fn(&'a [u8], &'a [u8]) -> &'a [u8],
) -> Outcome {
    let Some(hash) = view.hash()? else {
        call.reply.array(0);
        return Ok(());
    };
    many::answer(view, call, hash.len(), move |view, reply| {
        if let Some(hash) = view.hash()? {
            reply.array(hash.len());
            hash.for_each(|field, value| reply.bulk(part(field, value)));
        }
        Ok(())
    })
}

fn hkeys(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_parts(view, call, |field, _| field)
}

fn hvals(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    reply_parts(view, call, |_, value| value)
}

fn hlen(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    call.reply.count(view.hash()?.map_or(0, |hash| hash.len()));
    Ok(())
}

fn hincrby(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let field = call.args.at(2);
    let increment = integer(call.args.at(3))?;
    let old = match view.read().hash()?.and_then(|hash| hash.get(field)) {
        None => 0,
        Some(value) => parse_i64(value).ok_or(CommandError::HashValueNotAnInteger)?,
    };
    let new = old.checked_add(increment).ok_or(CommandError::Overflow)?;
    let mut text = IntegerText::new();
    view.change_collection(true, |hash: &mut Hash| {
        hash.set_keeping_deadline(field, text.format_i64(new))
    })?;
    view.notify(EventSet::HASH, "hincrby");
    call.reply.integer(new);
    Ok(())
}

fn hsetnx(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let (field, value) = (call.args.at(2), call.args.at(3));
    let is_new = view.read().hash()?.is_none_or(|hash| hash.get(field).is_none());
    if is_new {
        view.change_collection(true, |hash: &mut Hash| hash.set(field, value))?;
        view.notify(EventSet::HASH, "hset");
    }
    call.reply.flag(is_new);
    Ok(())
}

fn hstrlen(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let field = call.args.at(2);
    call.reply.count(view.hash()?.and_then(|hash| hash.get(field)).map_or(0, <[u8]>::len));
    Ok(())
}

fn hincrbyfloat(view: &mut WriteView<'_>, call: &mut Call<'_>) -> Outcome {
    let field = call.args.at(2);
    let increment = Extended::parse(call.args.at(3)).ok_or(CommandError::NotAFloat)?;
    if increment.is_infinite() {
        return Err(CommandError::Text("ERR value is NaN or Infinity"));
    }
    let old = match view.read().hash()?.and_then(|hash| hash.get(field)) {
        None => Extended::ZERO,
        Some(value) => {
            Extended::parse(value).ok_or(CommandError::Text("ERR hash value is not a float"))?
        }
    };
    let new = old.checked_add(increment).ok_or(CommandError::NotFinite)?.to_text();
    view.change_collection(true, |hash: &mut Hash| hash.set_keeping_deadline(field, &new))?;
    view.notify(EventSet::HASH, "hincrbyfloat");
    call.reply.bulk(&new);
    Ok(())
}

fn hrandfield(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    if call.args.len() == 2 {
        let field = view.hash()?.and_then(|hash| hash.draw(&mut call.random));
        reply_value(call, field.map(|(field, _)| field));
        return Ok(());
    }
    let count = drawn_count(call.args.at(2))?;
    let with_values = match (call.args.len(), call.args.get(3)) {
        (3, _) => false,
        (4, Some(word)) if is_word(word, "WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_values && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::Text("ERR value is out of range"));
    }
    let Some(hash) = view.hash()? else {
        call.reply.array(0);
        return Ok(());
    };
    let mut found = Collected::default();
    let mut random = call.random;
    let add = |found: &mut Collected, field: &[u8], value: &[u8]| {
        if with_values {
            found.add_pair(field, value, call);
        } else {
            found.add(field, call);
        }
    };
    if count > 0 {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        hash.draw_distinct(count, &mut random, |field, value| add(&mut found, field, value));
    } else {
        let bytes_max = call.reply_bytes_max();
        for _ in 0..count.unsigned_abs() {
            if let Some((field, value)) = hash.draw(&mut random) {
                add(&mut found, field, value);
            }
            if found.bytes() > bytes_max {
                return Err(CommandError::ReplyTooLong);
            }
        }
    }
    call.random = random;
    found.reply(call);
    Ok(())
}

fn hscan(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let cursor = cursor(call.args.at(2))?;
    let Some(hash) = view.hash()? else {
        Collected::default().reply_with_cursor(None, call);
        return Ok(());
    };
    let options = ScanOptions::parse_with(call, 3, Some(OwnOption::NoValues))?;
    let mut found = Collected::default();
    let next = hash.scan(cursor, options.count, |field, value| {
        if options.pattern.shows(field) {
            found.add(field, call);
            if !options.no_values {
                found.add(value, call);
            }
        }
    });
    found.reply_with_cursor(next, call);
    Ok(())
}
