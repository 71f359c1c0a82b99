//! ACL: users, what they may do, and what was refused to them.
//!
//! A change acts at once: every client looks at the epoch of the users before its next requests.
//! Clients of users that are gone, and listeners whose channels were taken away, are ended here.

use crate::acl::{CATEGORIES, Categories, DEFAULT_USER, Selector, has_blanks};
use crate::command::access::{self, Denied, check_user, end_clients_of, end_listeners};
use crate::command::args::integer;
use crate::command::context::{Call, Context};
use crate::command::dispatch::blocking;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, Outcome, Run};
use crate::command::table;
use crate::protocol::ReplyWriter;
use crate::util::whole_file;
use std::path::PathBuf;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const OWN: Flags = ANY_TIME.and(Flags::NO_SCRIPT);
const ADMIN: Flags = OWN.and(Flags::ADMIN);

/// Entries that LOG tells of unless it is said.
const LOG_COUNT_DEFAULT: usize = 10;
/// Bits of a generated password unless it is said, and at most.
const PASSWORD_BITS_DEFAULT: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4_096;

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want \
to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a \
Redis configuration file set) in order to store users in the Redis configuration.";
const NOT_SAVED: &str = "ERR There was an error trying to save the ACLs. Please check the server \
logs for more information";

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "ACL", group: Group::Server, arity: Arity::AtLeast(2),
        since: "6.0.0", cost: "Depends on subcommand.", syntax: "ACL",
        summary: "A container for Access List Control commands.",
        run: Run::Container(SUBCOMMANDS), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "CAT", group: Group::Server, arity: Arity::AtLeast(2), flags: OWN,
        since: "6.0.0", cost: "O(n) for n commands", syntax: "ACL CAT [categoryname]",
        summary: "List the ACL categories or the commands inside a category.",
        run: Run::Client(cat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DELUSER", group: Group::Server, arity: Arity::AtLeast(3), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n clients", syntax: "ACL DELUSER username [username ...]",
        summary: "Remove the specified ACL users and the associated rules.",
        run: Run::Client(del_user), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DRYRUN", group: Group::Server, arity: Arity::AtLeast(4), flags: ADMIN,
        since: "7.0.0", cost: "O(n) for n patterns of the user",
        syntax: "ACL DRYRUN username command [arg [arg ...]]",
        summary: "Returns whether the user can execute the given command without executing the \
                  command.",
        run: Run::Client(dry_run), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GENPASS", group: Group::Server, arity: Arity::AtLeast(2), flags: OWN,
        since: "6.0.0", cost: "O(1)", syntax: "ACL GENPASS [bits]",
        summary: "Generate a pseudorandom secure password to use for ACL users.",
        run: Run::Client(gen_pass), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "GETUSER", group: Group::Server, arity: Arity::Exact(3), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n rules of the user", syntax: "ACL GETUSER username",
        summary: "Get the rules for a specific ACL user.",
        run: Run::Client(get_user), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Server, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "6.0.0", cost: "O(1)", syntax: "ACL HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(|_, call| { reply_help(call, HELP); Ok(()) }), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LIST", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n users", syntax: "ACL LIST",
        summary: "List the current ACL rules in ACL config file format.",
        run: Run::Client(list), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LOAD", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n users", syntax: "ACL LOAD",
        summary: "Reload the ACLs from the configured ACL file.",
        run: Run::Client(load), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LOG", group: Group::Server, arity: Arity::AtLeast(2), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n entries", syntax: "ACL LOG [count | RESET]",
        summary: "List latest events denied because of ACLs in place.",
        run: Run::Client(log), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SAVE", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n users", syntax: "ACL SAVE",
        summary: "Save the current ACL rules in the configured ACL file.",
        run: Run::Client(save), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SETUSER", group: Group::Server, arity: Arity::AtLeast(3), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n rules", syntax: "ACL SETUSER username [rule [rule ...]]",
        summary: "Modify or create the rules for a specific ACL user.",
        run: Run::Client(set_user), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "USERS", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "6.0.0", cost: "O(n) for n users", syntax: "ACL USERS",
        summary: "List the username of all the configured ACL rules.",
        run: Run::Client(users), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "WHOAMI", group: Group::Server, arity: Arity::Exact(2), flags: OWN,
        since: "6.0.0", cost: "O(1)", syntax: "ACL WHOAMI",
        summary: "Return the name of the user associated to the current connection.",
        run: Run::Client(who_am_i), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Reload users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Save the current config to the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];

fn set_user(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let (name, services) = (call.args.at(2), &context.services);
    if has_blanks(name) {
        let text = "ERR Usernames can't contain spaces or null characters";
        return Err(CommandError::Text(text));
    }
    let rules: Vec<&[u8]> = call.args.iter_from(3).collect();
    let changed = services.acl.set_user(name, &rules, services.config.new_users_hear_all());
    let changed = changed.map_err(|text| CommandError::Owned([b"ERR ", &text[..]].concat()))?;
    if changed.has_lost_channels() {
        end_listeners(context, &changed.new);
    }
    context.refresh_access();
    call.reply.ok();
    Ok(())
}

fn del_user(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if call.args.iter_from(2).any(|name| name == DEFAULT_USER) {
        return Err(CommandError::Text("ERR The 'default' user cannot be removed"));
    }
    let removed = context.services.acl.remove(call.args.iter_from(2));
    end_clients_of(context, &removed);
    context.refresh_access();
    call.reply.count(removed.len());
    Ok(())
}

/// The commands, keys and channels of a selector: three fields of a map.
fn describe(reply: &mut ReplyWriter<'_>, context: &Context, selector: &Selector) {
    let commands = selector.command_rules(context.services.acl.catalog());
    let fields: [(&[u8], Vec<u8>); 3] = [
        (b"commands", commands),
        (b"keys", selector.key_rules()),
        (b"channels", selector.channel_rules()),
    ];
    for (name, value) in fields {
        reply.bulk(name);
        reply.bulk(&value);
    }
}

fn get_user(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let Some(user) = context.services.acl.find(call.args.at(2)) else {
        call.reply.null();
        return Ok(());
    };
    let Some((own, further)) = user.selectors().split_first() else { return Ok(()) };
    let reply = &mut call.reply;
    reply.map(6);
    reply.bulk(b"flags");
    let flags = user.flag_names();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().iter().for_each(|hash| reply.bulk(hash.as_bytes()));
    describe(reply, context, own);
    reply.bulk(b"selectors");
    reply.array(further.len());
    for selector in further {
        reply.map(3);
        describe(reply, context, selector);
    }
    Ok(())
}

fn list(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let acl = &context.services.acl;
    let all = acl.all();
    call.reply.array(all.len());
    all.iter().for_each(|user| call.reply.bulk(user.line(acl.catalog())));
    Ok(())
}

fn users(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let all = context.services.acl.all();
    call.reply.array(all.len());
    all.iter().for_each(|user| call.reply.bulk(&user.name));
    Ok(())
}

fn who_am_i(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.bulk(&context.access.user.name);
    Ok(())
}

fn cat(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let catalog = context.services.acl.catalog();
    match (call.args.len(), call.args.get(2)) {
        (2, _) => {
            call.reply.array(CATEGORIES.len());
            CATEGORIES.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
        }
        (3, Some(name)) => {
            let shown = name.get(..128).unwrap_or(name);
            let unknown = || CommandError::echoing("ERR Unknown category '", shown, "'");
            let category = Categories::find(name).ok_or_else(unknown)?;
            let names = catalog.having(category).filter_map(|number| catalog.get(number));
            let names: Vec<&str> = names.map(|command| command.name.as_str()).collect();
            call.reply.array(names.len());
            names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
        }
        _ => return Err(CommandError::unknown_or_arity(call.args.at(1), "ACL")),
    }
    Ok(())
}

fn gen_pass(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let bits = match call.args.len() {
        2 => PASSWORD_BITS_DEFAULT,
        3 => integer(call.args.at(2))?,
        _ => return Err(CommandError::unknown_or_arity(call.args.at(1), "ACL")),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(CommandError::Text(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to 4096",
        ));
    }
    let digits = usize::try_from(bits).unwrap_or(0).div_ceil(4);
    let mut chance = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut chance).map_err(|error| {
        tracing::warn!("the system gives no random bytes: {error}");
        CommandError::Text("ERR the system gives no random bytes")
    })?;
    let password: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
    call.reply.bulk(password.as_bytes().get(..digits).unwrap_or_default());
    Ok(())
}

fn log(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let log = &context.services.acl.log;
    let count = match (call.args.len(), call.args.at(2)) {
        (2, _) => LOG_COUNT_DEFAULT,
        (3, word) if word.eq_ignore_ascii_case(b"reset") => {
            log.reset();
            call.reply.ok();
            return Ok(());
        }
        (3, word) => usize::try_from(integer(word)?).unwrap_or(0),
        _ => return Err(CommandError::unknown_or_arity(call.args.at(1), "ACL")),
    };
    let entries = log.latest(count);
    let reply = &mut call.reply;
    reply.array(entries.len());
    for entry in entries {
        let refusal = &entry.refusal;
        reply.map(7);
        reply.bulk(b"count");
        reply.integer(i64::try_from(entry.count).unwrap_or(i64::MAX));
        let texts: [(&[u8], &[u8]); 4] = [
            (b"reason", refusal.reason.name().as_bytes()),
            (b"context", refusal.place.name().as_bytes()),
            (b"object", &refusal.object),
            (b"username", &refusal.user),
        ];
        for (name, value) in texts {
            reply.bulk(name);
            reply.bulk(value);
        }
        reply.bulk(b"age-seconds");
        reply.double(call.now.0.saturating_sub(entry.at_ms) as f64 / 1_000.0);
        reply.bulk(b"client-info");
        reply.bulk(&entry.client);
    }
    Ok(())
}

fn dry_run(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let user = context.services.acl.find(call.args.at(2));
    let unknown = || CommandError::echoing("ERR User '", call.args.at(2), "' not found");
    let (user, args) = (user.ok_or_else(unknown)?, call.args.skip(3));
    let unknown = || CommandError::echoing("ERR Command '", args.at(0), "' not found");
    let spec = table::find_request(args).ok_or_else(unknown)?;
    if !spec.arity.accepts(args.len()) {
        return Err(CommandError::WrongArity(context.full_name(spec).to_owned()));
    }
    let text = match check_user(&user, spec, args) {
        Ok(()) => {
            call.reply.ok();
            return Ok(());
        }
        Err(Denied::Command) => {
            let name = context.full_name(spec);
            format!("This user has no permissions to run the '{name}' command").into_bytes()
        }
        Err(Denied::Key(number)) => no_access(args.at(number), b"' key"),
        Err(Denied::Channel(number)) => no_access(args.at(number), b"' channel"),
    };
    call.reply.bulk(&text);
    Ok(())
}

fn no_access(name: &[u8], what: &[u8]) -> Vec<u8> {
    [b"This user has no permissions to access the '", name, what].concat()
}

fn file(context: &Context) -> Result<PathBuf, CommandError> {
    access::user_file(&context.services.config).ok_or(CommandError::Text(NO_FILE))
}

fn load(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let (file, services) = (file(context)?, &context.services);
    let loaded = blocking(|| access::load_users(&services.acl, &services.config, &file));
    let loaded = loaded.map_err(|text| CommandError::Owned([b"ERR ", &text[..]].concat()))?;
    end_clients_of(context, &loaded.removed);
    if loaded.default.has_lost_channels() {
        end_listeners(context, &loaded.default.new);
    }
    context.refresh_access();
    call.reply.ok();
    Ok(())
}

fn save(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let file = file(context)?;
    let text = context.services.acl.text();
    blocking(|| whole_file::replace(&file, &text)).map_err(|error| {
        tracing::warn!("Writing ACL file for ACL SAVE: {error}");
        CommandError::Text(NOT_SAVED)
    })?;
    call.reply.ok();
    Ok(())
}
