//! CONFIG: reading and changing the options.

use crate::acl::Acl;
use crate::command::access;
use crate::command::access::reason_of;
use crate::command::context::{Call, Context, Services};
use crate::command::dispatch::blocking;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Compat, Flags, Group, Outcome, Run};
use crate::persist::file;
use crate::protocol::Args;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

const ADMIN: Flags = Flags::ADMIN.and(Flags::NO_SCRIPT).and(Flags::LOADING).and(Flags::STALE);

/// The subcommands.
#[rustfmt::skip]
pub(super) static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "GET", group: Group::Server, arity: Arity::AtLeast(3), flags: ADMIN,
        since: "2.0.0", cost: "O(n) for n options",
        syntax: "CONFIG GET parameter [parameter ...]",
        summary: "Get the values of configuration parameters.",
        run: Run::Client(get), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SET", group: Group::Server, arity: Arity::AtLeast(4), flags: ADMIN,
        since: "2.0.0", cost: "O(n) for n options",
        syntax: "CONFIG SET parameter value [parameter value ...]",
        summary: "Set configuration parameters to the given values.",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        compat: Compat::Differs("docs/configuration.md tells which options act, and which values are refused."),
        run: Run::Client(set), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "RESETSTAT", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "2.0.0", cost: "O(1)", syntax: "CONFIG RESETSTAT",
        summary: "Reset the stats returned by INFO.",
        run: Run::Client(reset_stat), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "REWRITE", group: Group::Server, arity: Arity::Exact(2), flags: ADMIN,
        since: "2.8.0", cost: "O(1)", syntax: "CONFIG REWRITE",
        summary: "Rewrite the configuration file with the in memory configuration.",
        run: Run::Client(rewrite), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Server, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0", cost: "O(1)", syntax: "CONFIG HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(help), ..CommandSpec::BASE
    },
];

fn get(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let found = context.services.config.matching(call.args.iter_from(2));
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(&name);
        call.reply.bulk(&value);
    }
    Ok(())
}

fn set(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let pairs = (2..args.len()).step_by(2).map(|number| (args.at(number), args.at(number + 1)));
    let services = &context.services;
    let move_dump = |folder: &Path, name: &OsStr| move_dump(services, folder, name);
    let protected = services.config.start().protected_access;
    let changed = if protected.allows(context.client.address.ip()) && names_place(args) {
        if services.is_loading() {
            return Err(CommandError::Loading);
        }
        blocking(|| services.config.set_with(pairs, Some(&move_dump)))
    } else {
        services.config.set(pairs)
    };
    let changed =
        changed.map_err(|error| CommandError::Owned([b"ERR ", &error.text()[..]].concat()))?;
    if changed.contains(&"requirepass") {
        services.acl.set_default_password(|| services.config.password());
        context.refresh_access();
    }
    if changed.contains(&"maxmemory") {
        context.services.note_new_limits();
    }
    if changed.iter().any(|name| ["maxmemory", "maxmemory-clients"].contains(name)) {
        context.services.count_clients();
    }
    call.reply.ok();
    Ok(())
}

/// True when CONFIG SET is about where the dump is.
fn names_place(args: Args<'_>) -> bool {
    let is_place = |name: &[u8]| {
        [&b"dir"[..], b"dbfilename"].iter().any(|place| name.eq_ignore_ascii_case(place))
    };
    args.iter_from(2).step_by(2).any(is_place)
}

/// Has the dump kept elsewhere from now on. What is there already is replaced by the next save, and
/// what was kept before stays as it is.
fn move_dump(
    services: &Services,
    folder: &Path,
    name: &OsStr,
) -> Result<PathBuf, Cow<'static, str>> {
    let (folder, path) = file::place(folder, name).map_err(|error| reason_of(&error))?;
    services.saver.move_to(path).map_err(|error| error.to_string())?;
    Ok(folder)
}

fn reset_stat(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    context.services.stats.reset();
    context.services.eviction.reset();
    call.reply.ok();
    Ok(())
}

fn rewrite(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let services = &context.services;
    let (password, all_channels) =
        (services.config.password(), services.config.new_users_hear_all());
    let has_file = access::user_file(&services.config).is_some();
    let users = |declared: &[Vec<Vec<u8>>]| {
        let from_file = Acl::new(access::catalog());
        from_file.set_default_password(|| password.clone());
        let is_right = from_file.add_configured(declared, all_channels).is_ok();
        if has_file || (is_right && from_file.text() == services.acl.text()) {
            return None;
        }
        let all = services.acl.all();
        Some(all.iter().map(|user| user.quoted_line(services.acl.catalog())).collect())
    };
    match blocking(|| services.config.rewrite(&users)) {
        Ok(true) => {
            tracing::info!("CONFIG REWRITE executed with success");
            call.reply.ok();
            Ok(())
        }
        Ok(false) => Err(CommandError::Text("ERR The server is running without a config file")),
        Err(error) => {
            tracing::warn!("CONFIG REWRITE failed: {error}");
            let text = format!("ERR Rewriting config file: {error}");
            Err(CommandError::Owned(text.into_bytes()))
        }
    }
}

fn help(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    reply_help(call, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];
