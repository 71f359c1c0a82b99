//! COMMAND: what the table says of itself.

use crate::acl::CATEGORIES;
use crate::command::access::{access_of, for_each_key};
use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::has_all_keys;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::command::syntax::{self, Argument};
use crate::command::table::{self, Numbered};
use crate::protocol::ReplyWriter;
use crate::util::glob::glob_match;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const OF_CONNECTION: &[&str] = &["connection"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "COMMAND", group: Group::Server, arity: Arity::AtLeast(1), flags: ANY_TIME,
        since: "2.8.13", cost: "O(n) for n commands", syntax: "COMMAND",
        summary: "Get array of Redis command details.",
        categories: OF_CONNECTION, tips: UNORDERED,
        run: Run::BareOrContainer(all, SUBCOMMANDS), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "COUNT", group: Group::Server, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "2.8.13", cost: "O(1)", syntax: "COMMAND COUNT",
        summary: "Get total number of Redis commands.",
        categories: OF_CONNECTION, run: Run::Client(count), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "INFO", group: Group::Server, arity: Arity::AtLeast(2), flags: ANY_TIME,
        since: "2.8.13", cost: "O(n) for n commands",
        syntax: "COMMAND INFO [command-name [command-name ...]]",
        summary: "Get array of specific Redis command details, or all when no argument is given.",
        categories: OF_CONNECTION, tips: UNORDERED, run: Run::Client(info), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DOCS", group: Group::Server, arity: Arity::AtLeast(2), flags: ANY_TIME,
        since: "7.0.0", cost: "O(n) for n commands",
        syntax: "COMMAND DOCS [command-name [command-name ...]]",
        summary: "Get array of specific Redis command documentation.",
        categories: OF_CONNECTION, tips: UNORDERED, run: Run::Client(docs), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LIST", group: Group::Server, arity: Arity::AtLeast(2), flags: ANY_TIME,
        since: "7.0.0", cost: "O(n) for n commands",
        syntax: "COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        summary: "Get an array of Redis command names.",
        categories: OF_CONNECTION, tips: UNORDERED, run: Run::Client(list), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETKEYS", group: Group::Server, arity: Arity::AtLeast(4), flags: ANY_TIME,
        since: "2.8.13", cost: "O(n) for n arguments",
        syntax: "COMMAND GETKEYS command [arg [arg ...]]",
        summary: "Extract keys given a full Redis command.",
        categories: OF_CONNECTION, run: Run::Client(get_keys), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETKEYSANDFLAGS", group: Group::Server, arity: Arity::AtLeast(4), flags: ANY_TIME,
        since: "7.0.0", cost: "O(n) for n arguments",
        syntax: "COMMAND GETKEYSANDFLAGS command [arg [arg ...]]",
        summary: "Extract keys and access flags given a full Redis command.",
        categories: OF_CONNECTION, run: Run::Client(get_keys_and_flags), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Server, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "5.0.0", cost: "O(1)", syntax: "COMMAND HELP",
        summary: "Show helpful text about the different subcommands.",
        categories: OF_CONNECTION, run: Run::Client(help), ..CommandSpec::BASE
    },
];

impl CommandSpec {
    /// Its flags by Redis' names, in Redis' order.
    #[must_use]
    pub fn flag_names(&self) -> Vec<&'static str> {
        let own = |flag, name| (self.flags.has(flag), name);
        let all = [
            (self.is_write(), "write"),
            (self.is_readonly(), "readonly"),
            own(Flags::DENY_OOM, "denyoom"),
            own(Flags::ADMIN, "admin"),
            own(Flags::PUBSUB, "pubsub"),
            own(Flags::NO_SCRIPT, "noscript"),
            own(Flags::BLOCKING, "blocking"),
            own(Flags::LOADING, "loading"),
            own(Flags::STALE, "stale"),
            own(Flags::SKIP_MONITOR, "skip_monitor"),
            own(Flags::SKIP_SLOWLOG, "skip_slowlog"),
            own(Flags::FAST, "fast"),
            own(Flags::NO_AUTH, "no_auth"),
            own(Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
            own(Flags::NO_ASYNC_LOADING, "no_async_loading"),
            own(Flags::NO_MULTI, "no_multi"),
            (self.keys.iter().any(KeySpec::is_found_late), "movablekeys"),
            own(Flags::ALLOW_BUSY, "allow_busy"),
        ];
        all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }

    /// Its categories for access rules, in Redis' order.
    #[must_use]
    pub fn category_names(&self) -> Vec<&'static str> {
        let of_group = match self.group {
            // A container alone does nothing that could be allowed.
            _ if matches!(self.run, Run::Container(_)) => "",
            Group::Generic if !self.categories.is_empty() => "",
            Group::Generic => "keyspace",
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::List => "list",
            Group::Hash => "hash",
            Group::Set => "set",
            Group::SortedSet => "sortedset",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::PubSub => "",
            Group::Transactions => "transaction",
            Group::Connection => "connection",
            Group::Scripting => "scripting",
            Group::Server | Group::Cluster | Group::Sentinel => "",
        };
        let admin = self.flags.has(Flags::ADMIN) || self.categories.contains(&"admin");
        let fast = self.flags.has(Flags::FAST);
        let has = |category: &str| match category {
            // What a script reads is not said by its command.
            "read" => self.is_readonly() && self.group != Group::Scripting,
            "write" => self.is_write(),
            "pubsub" => self.flags.has(Flags::PUBSUB),
            "admin" => admin,
            "fast" => fast,
            "slow" => !fast,
            "blocking" => self.flags.has(Flags::BLOCKING),
            "dangerous" => admin || self.flags.has(Flags::DANGEROUS),
            _ => category == of_group,
        };
        let extra = |category: &str| self.categories.contains(&category);
        CATEGORIES.iter().copied().filter(|category| has(category) || extra(category)).collect()
    }

    /// First and last key and the step between two, for clients that know no key specs.
    fn key_range(&self) -> (i64, i64, i64) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let last = |key: &KeySpec| match key.last {
            ..0 => key.last,
            offset => number(key.first) + offset,
        };
        let fixed: Vec<KeySpec> =
            self.keys.iter().filter(|key| !key.is_found_late()).copied().collect();
        match fixed.as_slice() {
            [] => (0, 0, 0),
            [only] => (number(only.first), last(only), number(only.step)),
            [first, .., final_one] => (number(first.first), last(final_one), 1),
        }
    }
}

fn status(reply: &mut ReplyWriter<'_>, text: &str) {
    reply.status(text);
}

fn text(reply: &mut ReplyWriter<'_>, text: &str) {
    reply.bulk(text.as_bytes());
}

/// One access flag of a key as Redis writes it: RO, RW, OW, RM in capitals, the others not.
fn access_name(access: &'static str) -> String {
    if access.len() == 2 { access.to_owned() } else { access.to_ascii_lowercase() }
}

/// What Redis notes about the keys of some commands: the command, the number of the key spec, the
/// note.
#[rustfmt::skip]
const NOTES: &[(&str, usize, &str)] = &[
    ("SET", 0, "RW and ACCESS due to the optional `GET` argument"),
    ("GETEX", 0, "RW and UPDATE because it changes the TTL"),
    ("BITFIELD", 0, "This command allows both access and modification of the key"),
    ("XADD", 0, "UPDATE instead of INSERT because of the optional trimming feature"),
    ("SORT", 1, SORT_NOTES),
    ("SORT", 2, "For the optional STORE keyword. It is marked 'unknown' because the keyword can \
                 appear anywhere in the argument array"),
    ("SORT_RO", 1, SORT_NOTES),
    ("EVAL", 0, KEYS_OF_SCRIPT),
    ("FCALL", 0, KEYS_OF_SCRIPT),
    ("EVAL_RO", 0, KEYS_READ_BY_SCRIPT),
    ("FCALL_RO", 0, KEYS_READ_BY_SCRIPT),
    ("PFCOUNT", 0, "RW because it may change the internal representation of the key, and \
                    propagate to replicas"),
];

const KEYS_OF_SCRIPT: &str =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
const KEYS_READ_BY_SCRIPT: &str =
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";
const SORT_NOTES: &str = "For the optional BY/GET keyword. It is marked 'unknown' because the key \
                          names derive from the content of the key we sort";

fn key_spec(reply: &mut ReplyWriter<'_>, key: &KeySpec, notes: Option<&str>) {
    reply.map(3 + usize::from(notes.is_some()));
    if let Some(notes) = notes {
        text(reply, "notes");
        text(reply, notes);
    }
    text(reply, "flags");
    reply.set(key.access.len());
    for access in key.access {
        status(reply, &access_name(access));
    }
    if key.is_unknown() {
        for part in ["begin_search", "find_keys"] {
            text(reply, part);
            reply.map(2);
            text(reply, "type");
            text(reply, "unknown");
            text(reply, "spec");
            reply.map(0);
        }
        return;
    }
    text(reply, "begin_search");
    reply.map(2);
    text(reply, "type");
    if let Some(keyword) = key.keyword() {
        text(reply, "keyword");
        text(reply, "spec");
        reply.map(2);
        text(reply, "keyword");
        text(reply, keyword);
        text(reply, "startfrom");
        reply.count(key.first);
    } else {
        text(reply, "index");
        text(reply, "spec");
        reply.map(1);
        text(reply, "index");
        reply.count(if key.is_counted() { key.first - 1 } else { key.first });
    }
    text(reply, "find_keys");
    reply.map(2);
    text(reply, "type");
    if key.is_counted() {
        text(reply, "keynum");
        text(reply, "spec");
        reply.map(3);
        for (name, number) in [("keynumidx", 0), ("firstkey", 1), ("keystep", key.step)] {
            text(reply, name);
            reply.count(number);
        }
        return;
    }
    text(reply, "range");
    text(reply, "spec");
    reply.map(3);
    text(reply, "lastkey");
    reply.integer(match key.keyword() {
        Some(_) => -i64::from(key.is_half()),
        None => key.last,
    });
    text(reply, "keystep");
    reply.count(key.step);
    text(reply, "limit");
    reply.integer(if key.is_half() { 2 } else { 0 });
}

/// The commands without their subcommands.
fn commands() -> impl Iterator<Item = &'static Numbered> {
    table::numbered().iter().filter(|row| row.container.is_none())
}

/// The ten parts of what COMMAND INFO says of a command.
fn describe(reply: &mut ReplyWriter<'_>, row: &Numbered) {
    let spec = row.spec;
    reply.array(10);
    text(reply, row.name());
    reply.integer(spec.arity.number());
    let flags = spec.flag_names();
    reply.set(flags.len());
    flags.iter().for_each(|flag| status(reply, flag));
    let (first, last, step) = spec.key_range();
    for number in [first, last, step] {
        reply.integer(number);
    }
    let categories = spec.category_names();
    reply.set(categories.len());
    categories.iter().for_each(|category| status(reply, &format!("@{category}")));
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| text(reply, tip));
    reply.set(spec.keys.len());
    for (number, key) in spec.keys.iter().enumerate() {
        let note = NOTES.iter().find(|(name, of, _)| *name == spec.name && *of == number);
        key_spec(reply, key, note.map(|(_, _, text)| *text));
    }
    let subcommands = row.subcommands();
    if subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(subcommands.len());
        subcommands.iter().for_each(|subcommand| describe(reply, subcommand));
    }
}

fn describe_all(call: &mut Call<'_>) {
    call.reply.array(table::all().count());
    commands().for_each(|row| describe(&mut call.reply, row));
}

fn all(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    describe_all(call);
    Ok(())
}

fn count(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.count(table::all().count());
    Ok(())
}

fn info(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if call.args.len() == 2 {
        describe_all(call);
        return Ok(());
    }
    call.reply.array(call.args.len() - 2);
    for name in call.args.iter_from(2) {
        match Numbered::find(name) {
            Some(row) => describe(&mut call.reply, row),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn docs(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let asked: Vec<&Numbered> = if call.args.len() == 2 {
        commands().collect()
    } else {
        call.args.iter_from(2).filter_map(Numbered::find).collect()
    };
    call.reply.map(asked.len());
    for row in asked {
        document(&mut call.reply, row);
    }
    Ok(())
}

/// A command's name and what COMMAND DOCS says of it.
fn document(reply: &mut ReplyWriter<'_>, row: &Numbered) {
    let spec = row.spec;
    let name_words = 1 + usize::from(row.container.is_some());
    let arguments = syntax::arguments(spec.syntax, name_words);
    let subcommands = row.subcommands();
    text(reply, row.name());
    reply.map(4 + usize::from(!arguments.is_empty()) + usize::from(!subcommands.is_empty()));
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.cost),
    ];
    for (name, value) in texts {
        text(reply, name);
        text(reply, value);
    }
    if !arguments.is_empty() {
        text(reply, "arguments");
        document_arguments(reply, spec, &arguments, &mut 0);
    }
    if !subcommands.is_empty() {
        text(reply, "subcommands");
        reply.map(subcommands.len());
        subcommands.iter().for_each(|subcommand| document(reply, subcommand));
    }
}

/// `keys` counts the keys that were met: each belongs to a key spec, the last to all behind it.
fn document_arguments(
    reply: &mut ReplyWriter<'_>,
    spec: &CommandSpec,
    arguments: &[Argument],
    keys: &mut usize,
) {
    reply.array(arguments.len());
    for argument in arguments {
        let is_key = argument.kind == syntax::Kind::Key && spec.has_keys();
        let flags = [(argument.optional, "optional"), (argument.multiple, "multiple")];
        let flags: Vec<_> = flags.into_iter().filter(|(has, _)| *has).collect();
        let extra =
            [is_key, argument.token.is_some(), !flags.is_empty(), !argument.parts().is_empty()];
        reply.map(2 + extra.iter().filter(|has| **has).count());
        text(reply, "name");
        text(reply, &argument.name);
        text(reply, "type");
        // What names a key without being one, as in CLUSTER KEYSLOT, is a text like any other.
        let names_key = argument.kind == syntax::Kind::Key && !is_key;
        text(reply, if names_key { "string" } else { argument.type_name() });
        if is_key {
            text(reply, "key_spec_index");
            reply.count((*keys).min(spec.keys.len() - 1));
            *keys += 1;
        }
        if let Some(token) = &argument.token {
            text(reply, "token");
            text(reply, token);
        }
        if !flags.is_empty() {
            text(reply, "flags");
            reply.set(flags.len());
            flags.iter().for_each(|(_, flag)| status(reply, flag));
        }
        if !argument.parts().is_empty() {
            text(reply, "arguments");
            document_arguments(reply, spec, argument.parts(), keys);
        }
    }
}

fn list(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let by = args.at(3).to_ascii_lowercase();
    let wanted = args.at(4);
    let every = table::numbered();
    let names: Vec<&str> = match (args.len(), by.as_slice()) {
        (2, _) => every.iter().map(Numbered::name).collect(),
        (5, _) if !args.at(2).eq_ignore_ascii_case(b"filterby") => {
            return Err(CommandError::Syntax);
        }
        (5, b"module") => Vec::new(),
        (5, b"aclcat") => {
            let is = |category: &&str| category.as_bytes().eq_ignore_ascii_case(wanted);
            let has = |row: &&Numbered| row.spec.category_names().iter().any(is);
            every.iter().filter(has).map(Numbered::name).collect()
        }
        (5, b"pattern") => every
            .iter()
            .map(Numbered::name)
            .filter(|name| glob_match(wanted, name.as_bytes(), true))
            .collect(),
        _ => return Err(CommandError::Syntax),
    };
    call.reply.array(names.len());
    names.iter().for_each(|name| text(&mut call.reply, name));
    Ok(())
}

/// The row of the request that stands in the arguments from number 2 on.
fn request_row(call: &Call<'_>) -> Result<&'static CommandSpec, CommandError> {
    let args = call.args;
    let invalid = CommandError::Text("ERR Invalid command specified");
    let top = table::find(args.at(2)).ok_or_else(|| invalid.clone())?;
    let spec = match top.subcommands() {
        [] => top,
        _ => table::find_subcommand(top, args.at(3)).ok_or(invalid)?,
    };
    if !spec.has_keys() {
        return Err(CommandError::Text("ERR The command has no key arguments"));
    }
    if !spec.arity.accepts(args.len() - 2) {
        return Err(CommandError::Text("ERR Invalid number of arguments specified for command"));
    }
    if !spec.flags.has(Flags::NO_MANDATORY_KEYS) && !has_all_keys(spec.keys, args.skip(2)) {
        return Err(CommandError::Text("ERR Invalid arguments specified for command"));
    }
    Ok(spec)
}

fn get_keys(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let spec = request_row(call)?;
    let args = call.args.skip(2);
    let mut keys = Vec::new();
    for_each_key(spec, args, |number, _| keys.push(args.at(number)));
    call.reply.array(keys.len());
    keys.into_iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

fn get_keys_and_flags(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let spec = request_row(call)?;
    let args = call.args.skip(2);
    let mut count = 0;
    for_each_key(spec, args, |_, _| count += 1);
    call.reply.array(count);
    for_each_key(spec, args, |number, key| {
        let access = access_of(spec, key, args);
        call.reply.array(2);
        call.reply.bulk(args.at(number));
        call.reply.set(access.len());
        for access in access {
            status(&mut call.reply, &access_name(access));
        }
    });
    Ok(())
}

fn help(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    reply_help(call, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];
