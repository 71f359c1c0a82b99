//! OBJECT: how a value is stored, by Redis' names.
//!
//! The names tell what Redis would use for the same value at its default thresholds. None of these
//! commands is a use of the key.

use crate::command::context::Call;
use crate::command::error::CommandError;
use crate::command::eviction::uses_at;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, KeySpec, Outcome, Run};
use crate::data::{HashRef, ValueRef};
use crate::keyspace::ReadView;
use crate::util::number::parse_i64;

/// Redis keeps a string up to this many bytes beside its object.
const EMBEDDED_STRING_BYTES_MAX: usize = 44;
/// Redis has one shared object for every number below this.
const SHARED_INTEGERS: i64 = 10_000;
/// What REFCOUNT says of a shared object.
const SHARED_REFERENCES: i64 = i32::MAX as i64;

const KEY: &[KeySpec] = &[KeySpec { first: 2, last: 0, step: 1, access: &["RO"] }];
const TIPS: &[&str] = &["nondeterministic_output"];
const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "OBJECT", group: Group::Generic, arity: Arity::AtLeast(2),
    since: "2.2.3", cost: "that of the subcommand", syntax: "OBJECT",
    summary: "Tells how values are stored.", run: Run::Container(SUBCOMMANDS),
    ..CommandSpec::BASE
}];

#[rustfmt::skip]
static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ENCODING", group: Group::Generic, arity: Arity::Exact(3), keys: KEY,
        flags: Flags::NO_TOUCH,
        since: "2.2.3", cost: "O(1)", syntax: "OBJECT ENCODING key",
        summary: "Returns Redis' name for the way in which a value is stored.", tips: TIPS,
        compat: Compat::Differs("A short string that was changed in place is not told apart."),
        run: Run::Read(encoding), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FREQ", group: Group::Generic, arity: Arity::Exact(3), keys: KEY,
        flags: Flags::NO_TOUCH,
        since: "4.0.0", cost: "O(1)", syntax: "OBJECT FREQ key",
        summary: "Returns how often a key is used, by a count that grows slowly.", tips: TIPS,
        run: Run::Read(frequency), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "IDLETIME", group: Group::Generic, arity: Arity::Exact(3), keys: KEY,
        flags: Flags::NO_TOUCH,
        since: "2.2.3", cost: "O(1)", syntax: "OBJECT IDLETIME key",
        summary: "Returns for how many seconds a key was not used.", tips: TIPS,
        run: Run::Read(idle_time), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "REFCOUNT", group: Group::Generic, arity: Arity::Exact(3), keys: KEY,
        flags: Flags::NO_TOUCH,
        since: "2.2.3", cost: "O(1)", syntax: "OBJECT REFCOUNT key",
        summary: "Returns the number of references to a value in Redis.", tips: TIPS,
        run: Run::Read(references), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Generic, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "6.2.0", cost: "O(1)", syntax: "OBJECT HELP",
        summary: "Shows helpful text about the subcommands.",
        run: Run::Client(|_, call| { reply_help(call, HELP); Ok(()) }), ..CommandSpec::BASE
    },
];

/// Redis' name for the way in which it would store a value.
#[must_use]
pub fn encoding_name(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::String(string) => match string.bytes() {
            bytes if parse_i64(bytes).is_some() => "int",
            bytes if bytes.len() <= EMBEDDED_STRING_BYTES_MAX => "embstr",
            _ => "raw",
        },
        ValueRef::List(_) => "quicklist",
        ValueRef::Hash(HashRef::Packed(_)) => "listpack",
        ValueRef::Hash(HashRef::Table(_)) => "hashtable",
        ValueRef::Hash(HashRef::Waning(hash)) => encoding_name(ValueRef::Hash(hash.all())),
        ValueRef::Set(set) => set.encoding(),
        ValueRef::SortedSet(set) => set.encoding(),
        ValueRef::Stream(_) => "stream",
    }
}

/// Replies with what `tell` says of the value, or with nothing.
fn tell(view: &ReadView<'_>, call: &mut Call<'_>, tell: impl FnOnce(ValueRef<'_>, &mut Call<'_>)) {
    match view.value() {
        Some(value) => tell(value, call),
        None => call.reply.null(),
    }
}

fn encoding(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    tell(view, call, |value, call| call.reply.bulk(encoding_name(value).as_bytes()));
    Ok(())
}

const NO_FREQUENCY: CommandError = CommandError::Text(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);
const NO_IDLE_TIME: CommandError = CommandError::Text(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
     switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

fn frequency(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let uses = uses_at(call.config, call.now);
    match view.last_use() {
        None => call.reply.null(),
        Some(_) if !uses.is_by_frequency() => return Err(NO_FREQUENCY),
        Some(last_use) => call.reply.count(usize::from(last_use.count(uses))),
    }
    Ok(())
}

fn idle_time(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    let uses = uses_at(call.config, call.now);
    match view.last_use() {
        None => call.reply.null(),
        Some(_) if uses.is_by_frequency() => return Err(NO_IDLE_TIME),
        Some(last_use) => {
            let seconds = last_use.idle_seconds(uses);
            call.reply.integer(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }
    Ok(())
}

fn references(view: &ReadView<'_>, call: &mut Call<'_>) -> Outcome {
    tell(view, call, |value, call| {
        let number = match value {
            ValueRef::String(string) => parse_i64(string.bytes()),
            _ => None,
        };
        // Redis shares none whose last use it has to know.
        let limits = call.config.memory();
        let shares =
            limits.bytes_max() == 0 || !(limits.policy().is_lru() || limits.policy().is_lfu());
        let is_small = number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
        let is_shared = shares && is_small;
        call.reply.integer(if is_shared { SHARED_REFERENCES } else { 1 });
    });
    Ok(())
}
