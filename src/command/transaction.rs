//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: several commands as one.
//!
//! Commands are queued as they come, checked in all that can be checked without data. EXEC locks
//! the shards of all their keys at once, looks whether a watched key has changed, and runs the same
//! handlers as ever on what is locked, in their order and all at one moment. A command that fails
//! does not stop those behind it. What is left to do after the locks is done once, at the end.

use crate::acl::Place;
use crate::command::blocking::{Attempt, Tried};
use crate::command::context::{Call, Context, Deferred};
use crate::command::dispatch::{Gate, Scratch, blocking, blocking_if, first_key, keys_of};
use crate::command::error::CommandError;
use crate::command::spec::{Arity, CommandSpec, Early, Flags, Group, KeySpec, Outcome, Run};
use crate::command::sweep::Sweeper;
use crate::keyspace::planted::Bug;
use crate::keyspace::{AfterUnlock, Held, ShardSet, Tally};
use crate::protocol::{Args, OwnedArgs};

/// Bytes that the queued commands of one client may take: as many as a request may have.
pub const QUEUED_BYTES_MAX: usize = 1 << 30;

/// What these have in common.
const STEP: Flags =
    Flags::NO_SCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY);

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "MULTI", group: Group::Transactions, arity: Arity::Exact(1),
        flags: STEP.and(Flags::NOT_QUEUED), since: "1.2.0", cost: "O(1)", syntax: "MULTI",
        summary: "Mark the start of a transaction block.",
        run: Run::Client(multi), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "EXEC", group: Group::Transactions, arity: Arity::Exact(1),
        flags: Flags::NO_SCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::SKIP_SLOWLOG)
            .and(Flags::NOT_QUEUED),
        since: "1.2.0",
        cost: "That of the commands in the transaction, with the shards of all their keys locked",
        syntax: "EXEC", summary: "Execute all commands issued after MULTI.",
        run: Run::Exec, ..CommandSpec::BASE
    },
    CommandSpec {
        name: "DISCARD", group: Group::Transactions, arity: Arity::Exact(1),
        flags: STEP.and(Flags::NOT_QUEUED), since: "2.0.0",
        cost: "O(n) for n queued commands", syntax: "DISCARD",
        summary: "Discard all commands issued after MULTI.",
        run: Run::Client(discard), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "WATCH", group: Group::Transactions, arity: Arity::AtLeast(2),
        keys: &[KeySpec::all(&["RO"])], flags: STEP.and(Flags::NOT_QUEUED),
        since: "2.2.0", cost: "O(1) for every key", syntax: "WATCH key [key ...]",
        summary: "Watch the given keys to determine execution of the MULTI/EXEC block.",
        run: Run::Watch, ..CommandSpec::BASE
    },
    CommandSpec {
        name: "UNWATCH", group: Group::Transactions, arity: Arity::Exact(1), flags: STEP,
        since: "2.2.0", cost: "O(n) for n watched keys", syntax: "UNWATCH",
        summary: "Forget about all watched keys.",
        run: Run::Client(unwatch), ..CommandSpec::BASE
    },
];

/// A command that waits for EXEC.
#[derive(Debug)]
struct Queued {
    spec: &'static CommandSpec,
    args: OwnedArgs,
}

/// What came since MULTI.
#[derive(Debug, Default)]
pub struct Transaction {
    queue: Vec<Queued>,
    bytes: usize,
    /// True when a command was refused: EXEC will be, too.
    refused: bool,
}

impl Transaction {
    /// Number of queued commands, and the bytes that they take.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.queue.len(), self.bytes)
    }

    /// Notes that a command was refused, and forgets the others: none will run.
    pub(super) fn refuse(&mut self) {
        *self = Self { refused: true, ..Self::default() };
    }

    fn push(&mut self, spec: &'static CommandSpec, args: Args<'_>) -> Outcome {
        if self.refused {
            return Ok(());
        }
        let args = args.to_owned();
        self.bytes += args.memory_bytes() + size_of::<&CommandSpec>();
        if self.bytes > QUEUED_BYTES_MAX {
            self.refuse();
            return Err(CommandError::Text("ERR the transaction takes too much memory"));
        }
        self.queue.push(Queued { spec, args });
        Ok(())
    }

    pub(super) fn has(&self, is_one: impl Fn(&CommandSpec, Args<'_>) -> bool) -> bool {
        self.queue.iter().any(|queued| is_one(queued.spec, queued.args.args()))
    }
}

fn multi(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if context.transaction.is_some() {
        return Err(CommandError::Text("ERR MULTI calls can not be nested"));
    }
    context.begin_transaction();
    call.reply.ok();
    Ok(())
}

fn discard(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if context.transaction.is_none() {
        return Err(CommandError::Text("ERR DISCARD without MULTI"));
    }
    context.end_transaction();
    call.reply.ok();
    Ok(())
}

fn unwatch(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    context.watches.clear();
    call.reply.ok();
    Ok(())
}

impl Gate {
    /// Queues a command if it comes between MULTI and EXEC; false when it is to run now.
    pub(super) fn queue(
        context: &mut Context,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Result<bool, CommandError> {
        let Some(transaction) = &mut context.transaction else {
            return Ok(false);
        };
        if spec.flags.has(Flags::NOT_QUEUED) {
            return Ok(false);
        }
        transaction.push(spec, call.args)?;
        let (count, bytes) = transaction.size();
        context.client.set_queued(Some(count), bytes);
        call.reply.simple("QUEUED");
        Ok(true)
    }

    /// What becomes of an error of a command that did not get to run: between MULTI and EXEC it is
    /// the end of the transaction.
    pub(super) fn note_refused(
        context: &mut Context,
        args: Args<'_>,
        error: CommandError,
    ) -> CommandError {
        if args.at(0).eq_ignore_ascii_case(b"EXEC") {
            context.end_transaction();
            return discarded_because_of(&error);
        }
        if let Some(transaction) = &mut context.transaction {
            transaction.refuse();
        }
        error
    }

    pub(super) fn watch(
        &self,
        context: &mut Context,
        after: &mut AfterUnlock,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Outcome {
        if context.transaction.is_some() {
            return Err(CommandError::Text("ERR WATCH inside MULTI is not allowed"));
        }
        for key in keys_of(spec, call.args) {
            let key = self.locate(key, context.database);
            context.watches.add(key, call.now, after)?;
        }
        call.reply.ok();
        Ok(())
    }

    pub(super) fn exec(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Outcome {
        let Some(transaction) = context.transaction.take() else {
            return Err(CommandError::Text("ERR EXEC without MULTI"));
        };
        let watch = scratch.meter.watch();
        let outcome = self.check_and_execute(context, scratch, *transaction, call);
        scratch.meter.resume(spec, watch);
        context.end_transaction();
        outcome
    }

    fn check_and_execute(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        transaction: Transaction,
        call: &mut Call<'_>,
    ) -> Outcome {
        if transaction.refused {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            return Err(CommandError::Text(text));
        }
        if transaction.has(|spec, _| spec.is_write()) && self.refuses_writes() {
            return Err(discarded_because_of(&CommandError::Misconfigured));
        }
        let shards = self.shards_of(&transaction);
        let decodes = |spec: &CommandSpec| matches!(spec.early, Some(Early::Decode(_)));
        let is_slow = transaction.has(|spec, _| spec.flags.has(Flags::SLOW) || decodes(spec));
        // From here on nothing is watched: an UNWATCH among the commands has nothing to do.
        let watches = context.watches.take();
        let now = call.now;
        let execute = || {
            self.keyspace().hold(&shards, watches.as_ref(), now, |held| {
                call.reply.array(transaction.queue.len());
                for Queued { spec, args } in &transaction.queue {
                    let mut own = call.nested(args.args());
                    // Rights may have changed since it was queued.
                    if let Err(denied) = context.check_again(Place::Transaction, spec, own.args) {
                        self.reply_error(&mut own.reply, &denied.refusal_at_exec());
                        continue;
                    }
                    self.execute_held(context, scratch, held, spec, &mut own);
                    call.random = own.random;
                    call.reply.set_protocol(context.protocol);
                }
            })
        };
        let executed = blocking_if(is_slow, execute);
        if let Some(watches) = watches {
            context.watches = watches;
        }
        let executed = executed.map_err(|busy| discarded_because_of(&busy.into()))?;
        if executed.is_none() {
            call.reply.null_array();
        }
        Ok(())
    }

    /// The shards of all keys of the queued commands.
    fn shards_of(&self, transaction: &Transaction) -> ShardSet {
        let mut shards = ShardSet::default();
        for Queued { spec, args } in &transaction.queue {
            let args = args.args();
            match spec.run {
                // What is loaded may be run by a script behind it.
                Run::Client(_) if spec.group == Group::Scripting => shards.add_all(),
                Run::Script(_) => self.add_shards_of_script(spec, args, &mut shards),
                Run::Sweep(_) | Run::Choose(_) => shards.add_all(),
                _ => {}
            }
            keys_of(spec, args).for_each(|key| shards.add(self.locate(key, 0)));
            if let Run::WriteAcross(destination, _) = spec.run
                && let Ok(to) = destination(args)
            {
                shards.add(self.locate(args.at(to.key), 0));
            }
        }
        shards
    }

    /// Runs one command of a transaction or a script and writes its reply.
    pub(super) fn execute_held(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        held: &mut Held<'_, '_>,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) {
        held.let_go_if(if call.is_in_script { Bug::ScriptLetsGo } else { Bug::ExecLetsGo });
        let mark = call.reply.mark();
        if matches!(spec.run, Run::Client(_)) && !spec.flags.has(Flags::FAST) {
            // It may tell, or forget, what was counted.
            self.flush_counts(scratch);
        }
        scratch.note_uses(context, spec, call.config, call.now);
        scratch.meter.begin(spec);
        // What is read is locked already: there is no use in making anything ahead of it.
        if let Some(Early::Decode(decode)) = spec.early {
            decode(call);
        }
        if let Some(tracking) = &context.tracking {
            tracking.remember(spec, call.args);
        }
        let mut outcome = match spec.run {
            Run::Script(_) => {
                scratch.begin_command();
                self.run_script_held(context, scratch, held, spec, call)
            }
            _ => {
                let (tally, after) = scratch.begin_command();
                let outcome = self.run_held(context, held, tally, after, spec, call);
                after.add_events(tally.take_missed());
                outcome
            }
        };
        if let Some(late) = call.late.take().filter(|_| outcome.is_ok()) {
            outcome = late(&mut call.reply);
        }
        if let Some(Deferred::Sleep(duration)) = context.deferred.as_ref()
            && call.is_in_script
        {
            // DEBUG: the script sleeps, and all who need its keys wait.
            let duration = *duration;
            context.deferred = None;
            blocking(|| std::thread::sleep(duration));
            call.reply.ok();
        }
        if context.deferred.take().is_some() {
            outcome = Err(CommandError::Text("ERR Command not allowed inside a transaction"));
        }
        let failed = outcome.is_err();
        if let Err(error) = outcome {
            call.reply.truncate(mark);
            self.reply_error(&mut call.reply, &error);
        }
        self.measure(context, scratch, call.args, failed);
    }

    /// As [`Gate::run`], on shards that are held.
    fn run_held(
        &self,
        context: &mut Context,
        held: &mut Held<'_, '_>,
        tally: &Tally,
        after: &mut AfterUnlock,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Outcome {
        let (now, database) = (call.now, context.database);
        match spec.run {
            Run::Read(run) => {
                let key = self.locate(first_key(spec, call.args), database);
                held.read(key, now, tally, |view| run(view, call))?
            }
            Run::Write(run) => {
                let key = self.locate(first_key(spec, call.args), database);
                held.write(key, now, after, |view| run(view, call))?
            }
            Run::ReadMany(run) => {
                let keys = self.locate_keys(spec, call.args, database);
                held.read_many(&keys, now, tally, |view| run(view, call))?
            }
            Run::WriteMany(run) => {
                let keys = self.locate_keys(spec, call.args, database);
                held.write_many(&keys, now, after, |view| run(view, call))?
            }
            Run::WriteAcross(destination, run) => {
                let keys = self.locate_across(destination, spec, call.args, database)?;
                held.write_many(&keys, now, after, |view| run(view, call))?
            }
            Run::Block(_, run) => {
                let keys = self.locate_keys(spec, call.args, database);
                held.write_many(&keys, now, after, |view| run(view, call, Attempt::Only))?.map(drop)
            }
            Run::ReadOrBlock(_, read, _) => {
                let keys = self.locate_keys(spec, call.args, database);
                let tried = held.read_many(&keys, now, tally, |view| read(view, call))??;
                if tried != Tried::Served {
                    call.reply.null_array();
                }
                Ok(())
            }
            Run::Sweep(run) => {
                call.may_read_every_key = context.may_read_every_key(spec, call.args);
                run(&mut Sweeper::of_held(held.all()?, database, now, tally, after), call)
            }
            // It would wait for commands that cannot come.
            Run::Client(_) if spec.name == "MONITOR" => {
                Err(CommandError::Text("ERR MONITOR isn't allowed for DENY BLOCKING client"))
            }
            Run::Client(run) | Run::BareOrContainer(run, _) => run(context, call),
            Run::Choose(choose) => match choose(context, call)? {
                Some(chosen) => self.run_held(context, held, tally, after, chosen, call),
                None => Ok(()),
            },
            Run::Container(_) | Run::Exec | Run::Watch | Run::Script(_) => {
                Err(CommandError::Syntax)
            }
        }
    }
}

fn discarded_because_of(error: &CommandError) -> CommandError {
    let text = error.text();
    let text = text.strip_prefix(b"ERR ").unwrap_or(&text);
    let mut refused = b"EXECABORT Transaction discarded because of: ".to_vec();
    refused.extend_from_slice(text);
    CommandError::Owned(refused)
}
