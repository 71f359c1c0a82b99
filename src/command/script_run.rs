//! Running scripts and functions: which shards they need, and what they may do.
//!
//! A script is one change, as a transaction is: its shards are locked before it begins, in
//! ascending order, all its commands run on what is held and at one moment, and what is left to do
//! is done after the locks. A script that surely keeps to its keys needs their shards
//! (`script_keys`), any other one needs all: once it has written it cannot be taken back, so it
//! must never have to wait for one more. Within EXEC it runs on what the transaction holds.
//!
//! It may run for long. Every so often the interpreter asks whether it should go on
//! ([`ScriptHost::poll`]). After some milliseconds the other tasks of the thread are moved to
//! another one. After busy-reply-threshold it gives notice: whoever needs what it holds is refused,
//! and SCRIPT KILL ends it if it has not written.

use crate::acl::Place;
use crate::command::access::check_user;
use crate::command::context::{Call, Context};
use crate::command::dispatch::{Gate, Scratch, blocking, changes};
use crate::command::error::CommandError;
use crate::command::script_busy::BusyScript;
use crate::command::script_store::{KnownFunction, KnownScript};
use crate::command::spec::{CommandSpec, Flags, Outcome, Run, ScriptCall};
use crate::command::table;
use crate::keyspace::planted::{self, Bug};
use crate::keyspace::{Busy, Held, ShardSet};
use crate::protocol::{Args, OutputBuffer, Protocol, ReplyWriter};
use crate::script::{Host, Limits, LogLevel, ScriptError, ScriptFlags, ScriptId, Stopped};
use crate::script::{run_function, run_script};
use crate::util::clock::{Stopwatch, UnixMillis};
use crate::util::number::parse_i64;
use crate::util::random::Random;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes that one run of a script may need.
pub(super) const LIMITS: Limits = Limits { memory_bytes_max: 256 << 20 };
/// A script that runs for longer has the other tasks of its thread moved to another one.
const MOVE_TASKS_AFTER: Duration = Duration::from_millis(10);
/// The other thread takes them within this time.
const MOVE_TASKS_WAIT: Duration = Duration::from_micros(500);
/// The argument number of the number of keys.
const KEY_COUNT: usize = 2;
/// The argument number of the first key.
const FIRST_KEY: usize = 3;

const KILLED: &str = "Script killed by user with SCRIPT KILL...";
const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";

/// Moves the other tasks of a thread to another one once the script that it runs takes long: for
/// each script it would cost as much as hundreds of scripts.
pub(super) struct TaskMover {
    /// When they are moved, again if they could not be.
    after: Duration,
}

impl TaskMover {
    /// For a script that begins.
    pub(super) fn new() -> Self {
        Self { after: MOVE_TASKS_AFTER }
    }

    /// The script has run for so long.
    pub(super) fn note(&mut self, lasted: Duration) {
        if lasted >= self.after {
            self.after *= 2;
            // They are moved as this begins, and it does not end before they were taken. From then
            // on this thread has no other tasks.
            blocking(|| std::thread::sleep(MOVE_TASKS_WAIT));
        }
    }
}

/// What is to be run.
enum Body {
    Script(Arc<KnownScript>),
    Function(Arc<KnownFunction>),
}

/// A script with its keys.
pub(super) struct Prepared {
    body: Body,
    key_count: usize,
    read_only: bool,
}

impl Prepared {
    fn flags(&self) -> Option<ScriptFlags> {
        match &self.body {
            Body::Script(known) => known.flags,
            Body::Function(known) => Some(known.function.flags),
        }
    }

    /// True when the script says this of itself.
    fn is_allowed(&self, what: ScriptFlags) -> bool {
        self.flags().is_some_and(|flags| flags.contains(what))
    }

    fn keeps_to_its_keys(&self) -> bool {
        match &self.body {
            Body::Script(known) => known.keeps_to_its_keys,
            Body::Function(known) => known.keeps_to_its_keys(),
        }
    }

    fn kind(&self) -> Busy {
        match self.body {
            Body::Script(_) => Busy::Script,
            Body::Function(_) => Busy::Function,
        }
    }

    /// As it is named in errors and to those who ask.
    fn name(&self) -> &[u8] {
        match &self.body {
            Body::Script(known) => known.script.id().as_bytes(),
            Body::Function(known) => &known.function.name,
        }
    }
}

impl Gate {
    /// Runs a script on shards of its own.
    pub(super) fn run_script(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Outcome {
        if self.services().monitors.any() {
            self.tell_monitors(context, spec, call.args);
        }
        let prepared = self.prepare_script(spec, call.args)?;
        self.check_memory(context, &prepared)?;
        let shards = self.shards_of_script(&prepared, call.args);
        let now = call.now;
        let ran = self.keyspace().hold(&shards, None, now, |held| {
            self.run_prepared(context, scratch, held, spec, &prepared, call)
        })?;
        // Without watched keys there is no reason not to run.
        ran.unwrap_or(Ok(()))
    }

    /// Runs a script on what a transaction holds.
    pub(super) fn run_script_held(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        held: &mut Held<'_, '_>,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Outcome {
        if self.services().monitors.any() {
            self.tell_monitors(context, spec, call.args);
        }
        let prepared = self.prepare_script(spec, call.args)?;
        self.check_memory(context, &prepared)?;
        if !held.has(&self.shards_of_script(&prepared, call.args)) {
            let text = "ERR the function was replaced while the transaction began";
            return Err(CommandError::Text(text));
        }
        self.run_prepared(context, scratch, held, spec, &prepared, call)
    }

    /// Adds the shards that a script of a transaction will need.
    pub(super) fn add_shards_of_script(
        &self,
        spec: &'static CommandSpec,
        args: Args<'_>,
        shards: &mut ShardSet,
    ) {
        // One that is not known is not loaded for this: the transaction may be refused yet.
        let is_known = self.known_body(spec, args).is_some();
        match is_known.then(|| self.prepare_script(spec, args)) {
            Some(Ok(prepared)) => shards.add_set(&self.shards_of_script(&prepared, args)),
            // It may be loaded by then.
            None | Some(Err(_)) => shards.add_all(),
        }
    }

    /// True when a script does not write, by its command or by what it says of itself.
    pub(super) fn is_script_readonly(&self, spec: &CommandSpec, args: Args<'_>) -> bool {
        let flags = || match self.find_body(spec, args).ok()? {
            Body::Script(known) => known.flags,
            Body::Function(known) => Some(known.function.flags),
        };
        spec.flags.has(Flags::READONLY)
            || flags().is_some_and(|flags| flags.contains(ScriptFlags::NO_WRITES))
    }

    /// What is to be run, if it is loaded.
    fn known_body(&self, spec: &CommandSpec, args: Args<'_>) -> Option<Body> {
        let (store, name) = (&self.services().scripts, args.at(1));
        match spec.run {
            Run::Script(ScriptCall::Function) => store.function(name).map(Body::Function),
            Run::Script(ScriptCall::Sha) => {
                ScriptId::parse(name).and_then(|id| store.script(&id)).map(Body::Script)
            }
            _ => store.script(&ScriptId::of(name)).map(Body::Script),
        }
    }

    fn shards_of_script(&self, prepared: &Prepared, args: Args<'_>) -> ShardSet {
        if !prepared.keeps_to_its_keys() && !planted::is_on(Bug::WrongProof) {
            return ShardSet::all();
        }
        let mut shards = ShardSet::default();
        let count = if planted::is_on(Bug::FirstKeyOnly) { 1 } else { prepared.key_count };
        let keys = args.iter_from(FIRST_KEY).take(count);
        keys.for_each(|key| shards.add(self.locate(key, 0)));
        shards
    }

    fn find_body(&self, spec: &CommandSpec, args: Args<'_>) -> Result<Body, CommandError> {
        if let Some(known) = self.known_body(spec, args) {
            return Ok(known);
        }
        match spec.run {
            Run::Script(ScriptCall::Function) => Err(CommandError::Text("ERR Function not found")),
            Run::Script(ScriptCall::Sha) => {
                Err(CommandError::Text("NOSCRIPT No matching script. Please use EVAL."))
            }
            _ => self.load_script(args.at(1)).map(Body::Script),
        }
    }

    fn prepare_script(
        &self,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) -> Result<Prepared, CommandError> {
        let count = parse_i64(args.at(KEY_COUNT));
        let key_count = |refusal: CommandError| match usize::try_from(count.ok_or(refusal)?) {
            Ok(count) if count <= args.len() - FIRST_KEY => Ok(count),
            Ok(_) => {
                let text = "ERR Number of keys can't be greater than number of args";
                Err(CommandError::Text(text))
            }
            Err(_) => Err(CommandError::Text("ERR Number of keys can't be negative")),
        };
        let (body, key_count) = if matches!(spec.run, Run::Script(ScriptCall::Function)) {
            let body = self.find_body(spec, args)?;
            (body, key_count(CommandError::Text("ERR Bad number of keys provided"))?)
        } else {
            let key_count = key_count(CommandError::NotAnInteger);
            if matches!(spec.run, Run::Script(ScriptCall::Sha)) && args.at(1).len() != 40 {
                self.find_body(spec, args)?;
            }
            let key_count = key_count?;
            (self.find_body(spec, args)?, key_count)
        };
        let mut prepared = Prepared { body, key_count, read_only: spec.flags.has(Flags::READONLY) };
        if let Some(flags) = prepared.flags() {
            if flags.contains(ScriptFlags::NO_WRITES) {
                prepared.read_only = true;
            } else if self.refuses_writes() {
                return Err(CommandError::Misconfigured);
            } else if prepared.read_only {
                let text = "ERR Can not execute a script with write flag using *_ro command.";
                return Err(CommandError::Text(text));
            }
        }
        Ok(prepared)
    }

    /// Refuses a script that says what it needs, and not that it may run when memory is short.
    fn check_memory(&self, context: &Context, prepared: &Prepared) -> Outcome {
        let spares = [ScriptFlags::ALLOW_OOM, ScriptFlags::NO_WRITES];
        if prepared.flags().is_none()
            || spares.iter().any(|flag| prepared.is_allowed(*flag))
            || !self.lacked_memory(context)
        {
            return Ok(());
        }
        Err(CommandError::OutOfMemory)
    }

    fn run_prepared(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        held: &mut Held<'_, '_>,
        spec: &'static CommandSpec,
        prepared: &Prepared,
        call: &mut Call<'_>,
    ) -> Outcome {
        let watch = scratch.meter.watch();
        // Without the time for which it has waited for its shards.
        let mut own_watch = watch.clone();
        own_watch.restart();
        let (database, protocol) = (context.database, context.protocol);
        context.is_in_script = true;
        let Call { args, reply, now, random, .. } = call;
        let keys = args.skip(FIRST_KEY).take(prepared.key_count);
        let rest = args.skip(FIRST_KEY + prepared.key_count);
        let mut host = ScriptHost {
            gate: self,
            context,
            scratch,
            held,
            prepared,
            args: *args,
            now: *now,
            random,
            watch: own_watch,
            task_mover: TaskMover::new(),
            lasts: false,
            wrote: false,
            busy: None,
        };
        let ran = match &prepared.body {
            Body::Script(known) => run_script(&known.script, keys, rest, &mut host, &LIMITS, reply),
            Body::Function(known) => {
                let name = &known.function.name;
                run_function(&known.library, name, keys, rest, &mut host, &LIMITS, reply)
            }
        };
        drop(host);
        context.is_in_script = false;
        context.protocol = protocol;
        if context.database != database {
            context.select(database);
        }
        scratch.meter.resume(spec, watch);
        ran.map_err(CommandError::from)
    }
}

impl From<ScriptError> for CommandError {
    fn from(error: ScriptError) -> Self {
        match error.is_counted {
            true => Self::Counted(error.text),
            false => Self::Owned(error.text),
        }
    }
}

/// The server, as a running script sees it.
struct ScriptHost<'a, 'k, 'l> {
    gate: &'a Gate,
    context: &'a mut Context,
    scratch: &'a mut Scratch,
    held: &'a mut Held<'k, 'l>,
    prepared: &'a Prepared,
    /// The request that runs it.
    args: Args<'a>,
    now: UnixMillis,
    random: &'a mut Random,
    watch: Stopwatch,
    task_mover: TaskMover,
    /// True when it has computed for long since its last command.
    lasts: bool,
    wrote: bool,
    busy: Option<Arc<BusyScript>>,
}

impl ScriptHost<'_, '_, '_> {
    /// The row of a command that may be run now; with the error, that of one that may not.
    fn check(
        &mut self,
        args: Args<'_>,
    ) -> Result<&'static CommandSpec, (Option<&'static CommandSpec>, CommandError)> {
        let Some(spec) = table::find_request(args) else {
            let text = "ERR Unknown Redis command called from script";
            return Err((None, CommandError::Text(text)));
        };
        let refused = |text| Err((Some(spec), CommandError::Text(text)));
        if !spec.arity.accepts(args.len()) || matches!(spec.run, Run::Container(_)) {
            return refused("ERR Wrong number of args calling Redis command from script");
        }
        let may_debug = &self.gate.services().scripts_may_debug;
        if spec.flags.has(Flags::NO_SCRIPT)
            && !(spec.name == "DEBUG" && may_debug.load(Ordering::Relaxed))
        {
            return refused(NOT_ALLOWED);
        }
        if let Err(denied) = self.context.check_again(Place::Script, spec, args) {
            return Err((Some(spec), denied.refusal_in_script()));
        }
        if self.prepared.read_only && changes(spec) {
            return refused(READ_ONLY);
        }
        if spec.flags.has(Flags::DENY_OOM)
            && !self.wrote
            && !self.prepared.is_allowed(ScriptFlags::ALLOW_OOM)
            && self.gate.lacked_memory(self.context)
        {
            return Err((Some(spec), CommandError::OutOfMemory));
        }
        if spec.is_write() {
            if !self.wrote && self.gate.refuses_writes() {
                return Err((Some(spec), CommandError::Misconfigured));
            }
            if self.busy.as_ref().is_some_and(|busy| !busy.begin_writing()) {
                return refused("ERR Script killed by user with SCRIPT KILL...");
            }
            self.wrote = true;
        }
        Ok(spec)
    }

    fn lasted(&self) -> Duration {
        Duration::from_nanos(self.watch.elapsed_nanos())
    }

    /// From now on whoever needs what it holds is refused.
    fn become_busy(&mut self) {
        let kind = self.prepared.kind();
        let name = self.prepared.name().to_vec();
        let lasted = self.lasted();
        let kill = if kind == Busy::Script { "SCRIPT KILL" } else { "FUNCTION KILL" };
        tracing::warn!(
            "Slow script detected: still in execution after {} milliseconds. You can try killing \
             the script using the {kill} command. Script name is: {}.",
            lasted.as_millis(),
            String::from_utf8_lossy(&name)
        );
        let command = self.args.iter_from(0).map(<[u8]>::to_vec).collect();
        let now = Instant::now();
        let began = now.checked_sub(lasted).unwrap_or(now);
        let busy = Arc::new(BusyScript::new(kind, name, command, began, self.wrote));
        self.gate.services().busy_scripts.add(&busy);
        self.busy = Some(busy);
        self.held.give_notice(kind);
    }
}

impl Drop for ScriptHost<'_, '_, '_> {
    fn drop(&mut self) {
        if let Some(busy) = &self.busy {
            self.gate.services().busy_scripts.remove(busy);
        }
    }
}

impl Host for ScriptHost<'_, '_, '_> {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, output: &mut OutputBuffer) {
        if std::mem::take(&mut self.lasts) {
            // What the script has computed is not the command's.
            self.scratch.meter.start();
        }
        let mut reply = ReplyWriter::new(output, protocol);
        let spec = match self.check(args) {
            Ok(spec) => spec,
            Err((spec, error)) => {
                let text = error.text();
                reply.error(&text);
                self.gate.services().stats.note_error(&text);
                spec.into_iter().for_each(|spec| self.gate.note_rejected(spec));
                return;
            }
        };
        self.context.protocol = protocol;
        let config = &self.gate.services().config;
        let mut call = Call {
            args,
            reply,
            now: self.now,
            string_bytes_max: config.string_bytes_max(),
            random: *self.random,
            config,
            is_in_script: true,
            may_read_every_key: true,
            decoded: None,
            late: None,
        };
        self.gate.execute_held(self.context, self.scratch, self.held, spec, &mut call);
        *self.random = call.random;
    }

    fn check_acl(&mut self, args: Args<'_>) -> Option<bool> {
        let user = &self.context.access.user;
        table::find_request(args).map(|spec| check_user(user, spec, args).is_ok())
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log(level, message);
    }

    fn poll(&mut self) -> Result<(), Stopped> {
        self.lasts = true;
        let lasted = self.lasted();
        self.task_mover.note(lasted);
        let threshold = self.gate.services().config.busy_reply_threshold();
        if self.busy.is_none() && threshold.is_some_and(|threshold| lasted >= threshold) {
            self.become_busy();
        }
        if self.busy.as_ref().is_some_and(|busy| busy.is_killed()) {
            let kill = if self.prepared.kind() == Busy::Script { "SCRIPT" } else { "FUNCTION" };
            tracing::warn!("Lua script killed by user with {kill} KILL.");
            return Err(Stopped { text: KILLED });
        }
        Ok(())
    }
}

/// Says in the log what a script wants to be there.
pub(super) fn log(level: LogLevel, message: &[u8]) {
    let message = String::from_utf8_lossy(message);
    match level {
        LogLevel::Debug => tracing::trace!("{message}"),
        LogLevel::Verbose => tracing::debug!("{message}"),
        LogLevel::Notice => tracing::info!("{message}"),
        LogLevel::Warning => tracing::warn!("{message}"),
    }
}
