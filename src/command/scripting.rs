//! EVAL, EVALSHA, FCALL, their forms for reading, and SCRIPT.
//!
//! How scripts run is in `script_run`; here are the rows, and what is done with scripts that are
//! known.

use crate::command::context::{Call, Context};
use crate::command::dispatch::Gate;
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::script_store::{KnownScript, ScriptStore};
use crate::command::spec::{
    Arity, CommandSpec, Compat, Flags, Group, KeySpec, Outcome, Run, ScriptCall,
};
use crate::keyspace::Busy;
use crate::script::{ScriptId, check_script};
use std::sync::Arc;

/// What those that run something have in common; they are shown by MONITOR before what they run.
const RUNS: Flags =
    Flags::NO_SCRIPT.and(Flags::STALE).and(Flags::SKIP_MONITOR).and(Flags::NO_MANDATORY_KEYS);
const READS: Flags = RUNS.and(Flags::READONLY);
/// How the keys are used only the script knows.
const CHANGED: &[KeySpec] = &[KeySpec::counted(2, &["RW", "ACCESS", "UPDATE"])];
const READ: &[KeySpec] = &[KeySpec::counted(2, &["RO", "ACCESS"])];

/// On all nodes of a cluster.
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "EVAL", group: Group::Scripting, arity: Arity::AtLeast(3), keys: CHANGED, flags: RUNS,
        since: "2.6.0", cost: "That of the script, with the shards of its keys, or all, locked",
        syntax: "EVAL script numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a Lua script server side.",
        run: Run::Script(ScriptCall::Text), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EVAL_RO", group: Group::Scripting, arity: Arity::AtLeast(3), keys: READ, flags: READS,
        since: "7.0.0", cost: "That of the script, with the shards of its keys, or all, locked",
        syntax: "EVAL_RO script numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a read-only Lua script server side.",
        run: Run::Script(ScriptCall::Text), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EVALSHA", group: Group::Scripting, arity: Arity::AtLeast(3), keys: CHANGED,
        flags: RUNS,
        since: "2.6.0", cost: "That of the script, with the shards of its keys, or all, locked",
        syntax: "EVALSHA sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a Lua script server side.",
        run: Run::Script(ScriptCall::Sha), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EVALSHA_RO", group: Group::Scripting, arity: Arity::AtLeast(3), keys: READ,
        flags: READS,
        since: "7.0.0", cost: "That of the script, with the shards of its keys, or all, locked",
        syntax: "EVALSHA_RO sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a read-only Lua script server side.",
        run: Run::Script(ScriptCall::Sha), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FCALL", group: Group::Scripting, arity: Arity::AtLeast(3), keys: CHANGED, flags: RUNS,
        since: "7.0.0", cost: "That of the function, with the shards of its keys, or all, locked",
        syntax: "FCALL function numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Invoke a function.",
        run: Run::Script(ScriptCall::Function), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FCALL_RO", group: Group::Scripting, arity: Arity::AtLeast(3), keys: READ,
        flags: READS,
        since: "7.0.0", cost: "That of the function, with the shards of its keys, or all, locked",
        syntax: "FCALL_RO function numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Invoke a read-only function.",
        run: Run::Script(ScriptCall::Function), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SCRIPT", group: Group::Scripting, arity: Arity::AtLeast(2),
        since: "2.6.0", cost: "Depends on subcommand.", syntax: "SCRIPT",
        summary: "A container for Lua scripts management commands.",
        run: Run::Container(SUBCOMMANDS), ..CommandSpec::BASE
    },
];

#[rustfmt::skip]
static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "DEBUG", group: Group::Scripting, arity: Arity::Exact(3), flags: Flags::NO_SCRIPT,
        since: "3.2.0", cost: "O(1)", syntax: "SCRIPT DEBUG YES | SYNC | NO",
        summary: "Set the debug mode for executed scripts.",
        compat: Compat::Differs("There is no debugger: YES and SYNC are refused."),
        run: Run::Client(debug), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EXISTS", group: Group::Scripting, arity: Arity::AtLeast(3), flags: Flags::NO_SCRIPT,
        since: "2.6.0", cost: "O(1) for each script", syntax: "SCRIPT EXISTS sha1 [sha1 ...]",
        summary: "Check existence of scripts in the script cache.",
        tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
        run: Run::Client(exists), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "FLUSH", group: Group::Scripting, arity: Arity::AtLeast(2), flags: Flags::NO_SCRIPT,
        since: "2.6.0", cost: "O(n) for n scripts", syntax: "SCRIPT FLUSH [ASYNC | SYNC]",
        summary: "Remove all the scripts from the script cache.", tips: ALL_NODES,
        run: Run::Client(flush), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::Scripting, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0", cost: "O(1)", syntax: "SCRIPT HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(|_, call| { reply_help(call, HELP); Ok(()) }), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "KILL", group: Group::Scripting, arity: Arity::Exact(2),
        flags: Flags::NO_SCRIPT.and(Flags::ALLOW_BUSY),
        since: "2.6.0", cost: "O(n) for n busy scripts", syntax: "SCRIPT KILL",
        summary: "Kill the script currently in execution.",
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        compat: Compat::Differs(
            "Several scripts can be busy: those that have not written are killed.",
        ),
        run: Run::Client(kill), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "LOAD", group: Group::Scripting, arity: Arity::Exact(3),
        flags: Flags::NO_SCRIPT.and(Flags::STALE),
        since: "2.6.0", cost: "O(n) for n bytes of the script", syntax: "SCRIPT LOAD script",
        summary: "Load the specified Lua script into the script cache.", tips: ALL_NODES,
        run: Run::Client(load), ..CommandSpec::BASE
    },
];

const HELP: &[&str] = &[
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
];

impl ScriptStore {
    /// Checks a text and adds it. Cost: O(bytes).
    ///
    /// # Errors
    /// When it is no Lua, or its first line is wrong.
    pub(super) fn load(&self, source: &[u8]) -> Result<Arc<KnownScript>, CommandError> {
        if let Some(known) = self.script(&ScriptId::of(source)) {
            return Ok(known);
        }
        let known = KnownScript::new(source)?;
        check_script(&known.script)?;
        Ok(self.add_script(known))
    }
}

impl Gate {
    /// The script with this text, known from now on.
    pub(super) fn load_script(&self, source: &[u8]) -> Result<Arc<KnownScript>, CommandError> {
        self.services().scripts.load(source)
    }
}

fn load(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let known = context.services.scripts.load(call.args.at(2))?;
    call.reply.bulk(known.script.id().as_bytes());
    Ok(())
}

fn exists(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.array(call.args.len() - 2);
    for sha in call.args.iter_from(2) {
        let known = ScriptId::parse(sha).and_then(|id| context.services.scripts.script(&id));
        call.reply.flag(known.is_some());
    }
    Ok(())
}

fn flush(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if !is_flush_mode(call) {
        return Err(CommandError::Text("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    context.services.scripts.flush_scripts();
    call.reply.ok();
    Ok(())
}

/// True when the third argument is missing, or ASYNC or SYNC, which are the same here.
pub(super) fn is_flush_mode(call: &Call<'_>) -> bool {
    match (call.args.len(), call.args.get(2)) {
        (2, _) => true,
        (3, Some(mode)) => {
            mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async")
        }
        _ => false,
    }
}

fn kill(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    context.services.busy_scripts.kill(Busy::Script)?;
    call.reply.ok();
    Ok(())
}

fn debug(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let mode = call.args.at(2);
    if mode.eq_ignore_ascii_case(b"no") {
        call.reply.ok();
        return Ok(());
    }
    let text = match mode.eq_ignore_ascii_case(b"yes") || mode.eq_ignore_ascii_case(b"sync") {
        true => "ERR my_redis_server has no debugger for scripts",
        false => "ERR Use SCRIPT DEBUG YES/SYNC/NO",
    };
    Err(CommandError::Text(text))
}
