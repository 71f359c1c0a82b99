//! The one gate: every command of every client goes through `Gate::execute`.
//!
//! In this order: lookup, arity, authentication, loading, refused writes, keys, locks, run, unlock,
//! then the after-work. An error takes back everything that the command wrote into the reply, so
//! it never half-answers.

use crate::command::ahead::Ahead;
use crate::command::blocking::Tried;
use crate::command::context::{Call, Context, Decoded, ReplyMode, Services};
use crate::command::debug;
use crate::command::error::CommandError;
use crate::command::eviction::uses_at;
use crate::command::measure::{Meter, Unfinished};
use crate::command::pause::PauseMode;
use crate::command::spec::{CommandSpec, Destination, Early, Flags, Outcome, Run, key_numbers};
use crate::command::sweep::Sweeper;
use crate::command::table;
use crate::command::transaction::Transaction;
use crate::config::Config;
use crate::keyspace::{AfterUnlock, DatabaseNumber, Keyspace, LOOK_AHEAD_MAX};
use crate::keyspace::{LocatedKey, Tally};
use crate::protocol::{Args, OutputBuffer, ReplyWriter};
use crate::stats::Counter;
use crate::util::clock::UnixMillis;
use crate::util::events::EventSet;
use crate::util::random::Random;
use smallvec::SmallVec;
use std::sync::Arc;

/// Fewer keys than this are not worth looking ahead for.
const LOOK_AHEAD_MIN: usize = 3;
/// Keys of one request that are looked for ahead, if it says how many it has.
const KEYS_AHEAD_MAX: usize = 4;

/// Takes the values that commands leave to be freed, and word of new deadlines.
pub trait Settle: Send + Sync + std::fmt::Debug {
    /// Deals with what a command of the client `by` left to do; no lock is held.
    fn settle(&self, after: &mut AfterUnlock, by: Option<u64>);
}

/// The way to the keyspace for every command.
#[derive(Debug)]
pub struct Gate {
    keyspace: Arc<Keyspace>,
    services: Arc<Services>,
    settle: Arc<dyn Settle>,
}

/// What one task carries from command to command, so that nothing is allocated for each.
#[derive(Default)]
pub struct Scratch {
    ahead: Ahead,
    tally: Tally,
    after: AfterUnlock,
    random: Random,
    last: Option<&'static CommandSpec>,
    /// The row that the client's record names.
    noted: Option<&'static CommandSpec>,
    /// Commands that ran since [`flush_counts`](Gate::flush_counts).
    commands: u64,
    /// The moment of which uses of keys are noted, whatever the command.
    uses_at: Option<UnixMillis>,
    /// What the commands cost.
    pub(super) meter: Meter,
    /// The command for which the task waits.
    pub(super) unfinished: Option<Box<Unfinished>>,
}

impl Scratch {
    /// Has uses of keys noted as is right for a command.
    #[inline]
    pub(super) fn note_uses(
        &mut self,
        context: &Context,
        spec: &CommandSpec,
        config: &Config,
        now: UnixMillis,
    ) {
        // Nearly all commands of a moment note them alike, and nothing is to be done.
        if self.uses_at != Some(now) || spec.flags.has(Flags::NO_TOUCH) {
            self.renew_uses(context, spec, config, now);
        }
    }

    #[cold]
    fn renew_uses(
        &mut self,
        context: &Context,
        spec: &CommandSpec,
        config: &Config,
        now: UnixMillis,
    ) {
        let is_quiet = context.client.no_touch();
        let looks_only = spec.flags.has(Flags::NO_TOUCH) || (is_quiet && spec.name != "TOUCH");
        let uses = uses_at(config, now).quiet_if(looks_only);
        self.tally.set_uses(uses);
        self.after.set_uses(uses);
        // What depends on the command is made anew for the next one.
        self.uses_at = Some(now).filter(|_| !is_quiet && !looks_only);
    }

    /// Counts a command that runs inside another one, and lends what it needs.
    pub(super) fn begin_command(&mut self) -> (&Tally, &mut AfterUnlock) {
        self.commands += 1;
        (&self.tally, &mut self.after)
    }
}

impl Gate {
    /// A gate to `keyspace`.
    #[must_use]
    pub fn new(keyspace: Arc<Keyspace>, services: Arc<Services>, settle: Arc<dyn Settle>) -> Self {
        Self { keyspace, services, settle }
    }

    /// The services of the server.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Runs one request and writes its reply.
    #[inline]
    pub fn execute(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        args: Args<'_>,
        now: UnixMillis,
        output: &mut OutputBuffer,
    ) {
        self.execute_decoded(context, scratch, args, None, now, output);
    }

    /// As [`execute`](Self::execute), with what was made of an argument.
    #[inline]
    pub fn execute_decoded(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        args: Args<'_>,
        decoded: Option<Decoded>,
        now: UnixMillis,
        output: &mut OutputBuffer,
    ) {
        scratch.commands += 1;
        let mark = output.mark();
        let reply_mode = context.reply_mode;
        context.skip_reply = context.reply_mode != ReplyMode::On;
        if context.reply_mode == ReplyMode::SkipNext {
            context.reply_mode = ReplyMode::On;
        }
        let reply = ReplyWriter::new(output, context.protocol);
        let config = &self.services.config;
        let string_bytes_max = config.string_bytes_max();
        let random = scratch.random;
        let mut call = Call {
            args,
            reply,
            now,
            string_bytes_max,
            random,
            config,
            is_in_script: false,
            may_read_every_key: true,
            decoded,
            late: None,
        };
        let outcome = self.check_and_run(context, scratch, &mut call);
        scratch.random = call.random;
        let failed = outcome.is_err();
        if let Err(error) = outcome {
            call.reply.truncate(mark);
            self.reply_error(&mut call.reply, &error);
            if matches!(error, CommandError::ReplyTooLong) {
                self.note_reply_too_long(context);
            }
        }
        self.measure(context, scratch, args, failed);
        if context.postponed {
            scratch.commands -= 1;
            context.reply_mode = reply_mode;
        }
        if context.skip_reply {
            output.truncate(mark);
        }
    }

    /// Closes a client that asked for more than may wait for it.
    #[cold]
    fn note_reply_too_long(&self, context: &mut Context) {
        let config = &self.services.config;
        if config.waiting_bytes_max(false) < config.string_bytes_max() {
            context.client.mailbox.overflow();
            context.close = true;
        }
    }

    /// Writes an error and counts it.
    pub(super) fn reply_error(&self, reply: &mut ReplyWriter<'_>, error: &CommandError) {
        let text = error.text();
        reply.error(&text);
        if !matches!(error, CommandError::Counted(_)) {
            self.services.stats.note_error(&text);
        }
    }

    /// Brings what a pipeline's next requests will need near this core; a hint, nothing more.
    pub fn look_ahead<'k>(
        &self,
        context: &Context,
        scratch: &mut Scratch,
        requests: impl Iterator<Item = Args<'k>>,
    ) {
        for args in requests {
            if let Some(row) = Self::find(scratch, args.at(0))
                && let Some(keys) = row.keys.first()
            {
                let count =
                    if keys.is_counted() { count_ahead(args.at(keys.first - 1)) } else { 1 };
                args.iter_from(keys.first).take(count).for_each(|key| scratch.ahead.note(key));
            }
        }
        let hashes = scratch.ahead.hashes();
        if hashes.len() >= LOOK_AHEAD_MIN {
            for hashes in hashes.chunks(LOOK_AHEAD_MAX) {
                self.keyspace.look_ahead(context.database, hashes);
            }
        }
    }

    /// The requests that were looked at have run, and their bytes change.
    #[inline]
    pub fn end_look_ahead(&self, scratch: &mut Scratch) {
        scratch.ahead.clear();
    }

    /// Adds the counts of `scratch` to the server's.
    #[inline]
    pub fn flush_counts(&self, scratch: &mut Scratch) {
        let (hits, misses) = scratch.tally.take();
        let counts = [
            (Counter::Commands, std::mem::take(&mut scratch.commands)),
            (Counter::KeyspaceHits, hits),
            (Counter::KeyspaceMisses, misses),
        ];
        for (counter, count) in counts {
            if count > 0 {
                self.services.stats.add(counter, count);
            }
        }
        scratch.meter.flush(&self.services.stats.commands);
    }

    /// The row of a request, found again quickly when it is the same as the last one.
    #[inline]
    fn find(scratch: &mut Scratch, name: &[u8]) -> Option<&'static CommandSpec> {
        if let Some(last) = scratch.last {
            let known = last.name.as_bytes();
            // Most clients write it as the row does.
            if known == name || known.eq_ignore_ascii_case(name) {
                return Some(last);
            }
        }
        scratch.last = table::find(name);
        scratch.last
    }

    #[inline]
    fn check_and_run(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        call: &mut Call<'_>,
    ) -> Outcome {
        let spec = match self.check(context, scratch, call.args, call.now) {
            Ok(Some(spec)) => spec,
            Ok(None) => return Ok(()),
            Err(error) => return Err(Self::note_refused(context, call.args, error)),
        };
        if let Some(mode) = self.services.clients.pause.mode()
            && self.must_wait(mode, context, spec, call.args)
        {
            context.postponed = true;
            return Ok(());
        }
        if context.transaction.is_some() && Self::queue(context, spec, call)? {
            return Ok(());
        }
        match spec.early {
            None => {}
            Some(Early::Decode(decode)) => decode(call),
            Some(Early::Make(make)) => self.make_ahead(context.database, spec, make, call),
        }
        let wanted = self.services.wanted_events();
        scratch.after.want_events(wanted);
        scratch.tally.want_missed(wanted.has(EventSet::KEY_MISS));
        scratch.note_uses(context, spec, call.config, call.now);
        if matches!(spec.run, Run::Client(_)) && !spec.flags.has(Flags::FAST) {
            // It may tell, or forget, what was counted, or change how uses are noted.
            self.flush_counts(scratch);
            scratch.uses_at = None;
        }
        if let Some(tracking) = &context.tracking {
            tracking.remember(spec, call.args);
        }
        scratch.meter.begin(spec);
        let outcome = self.run(context, scratch, spec, call);
        if let Some(tracking) = &mut context.tracking
            && context.transaction.is_none()
            && !call.args.at(0).eq_ignore_ascii_case(b"CLIENT")
        {
            tracking.end_caching();
        }
        if wanted.has(EventSet::KEY_MISS) {
            scratch.after.add_events(scratch.tally.take_missed());
        }
        if scratch.after.has_work() {
            self.settle(&mut scratch.after, call.now, Some(context.client.id));
        }
        match (outcome, call.late.take()) {
            (Ok(()), Some(late)) => late(&mut call.reply),
            (outcome, _) => outcome,
        }
    }

    /// Deals with what a command of the client `by` left to do, and serves those who wait for keys
    /// that appeared. No lock is held.
    pub(super) fn settle(&self, after: &mut AfterUnlock, now: UnixMillis, mut by: Option<u64>) {
        loop {
            self.settle.settle(after, by);
            // What is taken for those who wait is not the doing of the client that served them.
            by = None;
            let Some(ready) = after.take_ready() else {
                return;
            };
            self.keyspace.serve_waiters(ready, now, after);
        }
    }

    /// The row of a request that may run now; `None` when there is nothing to run.
    #[inline]
    fn check(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        args: Args<'_>,
        now: UnixMillis,
    ) -> Result<Option<&'static CommandSpec>, CommandError> {
        let Some(row) = Self::find(scratch, args.at(0)) else {
            // A browser was made to speak to us: not one more of its bytes is a command.
            if [&b"post"[..], b"host:"].iter().any(|word| args.at(0).eq_ignore_ascii_case(word)) {
                tracing::warn!(client = %context.client.address, "closed: this is HTTP, not RESP");
                context.close = true;
                return Ok(None);
            }
            return Err(CommandError::unknown_command(args.at(0), args.iter_from(1)));
        };
        let (container, spec) = match row.run {
            Run::Container(_) | Run::BareOrContainer(..) if args.len() > 1 => {
                let Some(spec) = table::find_subcommand(row, args.at(1)) else {
                    return Err(CommandError::UnknownSubcommand(args.at(1).to_vec(), row.name));
                };
                (Some(row), spec)
            }
            _ => (None, row),
        };
        let checked = if !spec.arity.accepts(args.len()) || matches!(spec.run, Run::Container(_)) {
            Err(CommandError::WrongArity(full_name(container, spec)))
        } else {
            self.check_state(context, container, spec, args, now)
        };
        if let Err(error) = checked {
            self.note_rejected(spec);
            return Err(error);
        }
        if !scratch.noted.is_some_and(|noted| std::ptr::eq(noted, spec)) {
            scratch.noted = Some(spec);
            context.client.note_command(container, spec);
        }
        Ok(Some(spec))
    }

    #[inline]
    fn check_state(
        &self,
        context: &mut Context,
        container: Option<&CommandSpec>,
        spec: &'static CommandSpec,
        args: Args<'_>,
        now: UnixMillis,
    ) -> Outcome {
        if spec.flags.has(Flags::PROTECTED) {
            debug::check_allowed(context)?;
        }
        if !context.access.is_unrestricted {
            context.check_access(spec, args)?;
        }
        if context.monitoring.is_some() && (spec.is_readonly() || changes(spec)) {
            return Err(CommandError::Text("ERR Replica can't interact with the keyspace"));
        }
        if self.services.is_loading() && !spec.flags.has(Flags::LOADING) {
            return Err(CommandError::Loading);
        }
        if let Some(busy) = self.services.busy_scripts.any()
            && concerns_all(spec)
            && !spec.flags.has(Flags::ALLOW_BUSY)
        {
            return Err(CommandError::Busy(busy));
        }
        if self.services.config.memory().bytes_max() > 0 && self.lacks_memory(context, spec, now) {
            return Err(CommandError::OutOfMemory);
        }
        if spec.is_write() && self.refuses_writes() {
            return Err(CommandError::Misconfigured);
        }
        if context.only_listens() && !spec.flags.has(Flags::SUBSCRIBED) {
            return Err(CommandError::OnlyListens(full_name(container, spec)));
        }
        if context.transaction.is_some() && spec.flags.has(Flags::NO_MULTI) {
            return Err(CommandError::Text("ERR Command not allowed inside a transaction"));
        }
        Ok(())
    }

    /// True when changes are refused because the last save has failed.
    #[inline]
    pub(super) fn refuses_writes(&self) -> bool {
        self.services.saver.refuses_writes(&self.services.config)
    }

    #[inline]
    fn run(
        &self,
        context: &mut Context,
        scratch: &mut Scratch,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Outcome {
        let (keyspace, now, database) = (&self.keyspace, call.now, context.database);
        match spec.run {
            Run::Exec => return self.exec(context, scratch, spec, call),
            Run::Script(_) => return self.run_script(context, scratch, spec, call),
            _ => {}
        }
        let Scratch { ahead, tally, after, .. } = scratch;
        match spec.run {
            Run::Read(run) => {
                let key = self.locate_ahead(ahead, first_key(spec, call.args), database);
                keyspace.read(key, now, tally, |view| run(view, call))?
            }
            Run::Write(run) => {
                let key = self.locate_ahead(ahead, first_key(spec, call.args), database);
                keyspace.write(key, now, after, |view| run(view, call))?
            }
            Run::ReadMany(run) => {
                let keys = self.locate_keys_ahead(spec, call.args, database);
                keyspace.read_many(&keys, now, tally, |view| run(view, call))?
            }
            Run::WriteMany(run) => {
                let keys = self.locate_keys_ahead(spec, call.args, database);
                keyspace.write_many(&keys, now, after, |view| run(view, call))?
            }
            Run::WriteAcross(destination, run) => {
                let keys = self.locate_across(destination, spec, call.args, database)?;
                keyspace.write_many(&keys, now, after, |view| run(view, call))?
            }
            Run::Sweep(run) => {
                call.may_read_every_key = context.may_read_every_key(spec, call.args);
                let sweep = || run(&mut Sweeper::new(keyspace, database, now, tally, after), call);
                let is_long = spec.flags.has(Flags::SLOW) && keyspace.len() > SLOW_KEYS_MIN;
                blocking_if(is_long, sweep)
            }
            Run::Client(run) | Run::BareOrContainer(run, _) => run(context, call),
            Run::Choose(choose) => match choose(context, call)? {
                Some(chosen) => self.run(context, scratch, chosen, call),
                None => Ok(()),
            },
            Run::Block(..) => self.try_or_wait(context, after, spec, call),
            Run::ReadOrBlock(_, read, _) => {
                let keys = self.locate_keys(spec, call.args, database);
                match keyspace.read_many(&keys, now, tally, |view| read(view, call))?? {
                    Tried::Served => Ok(()),
                    _ => self.try_or_wait(context, after, spec, call),
                }
            }
            Run::Watch => self.watch(context, after, spec, call),
            Run::Container(_) | Run::Exec | Run::Script(_) => Err(CommandError::Syntax),
        }
    }

    /// True when a command is not to run during a pause.
    fn must_wait(
        &self,
        mode: PauseMode,
        context: &Context,
        spec: &CommandSpec,
        args: Args<'_>,
    ) -> bool {
        let has_writes = |transaction: &Transaction| {
            transaction.has(|spec, args| changes(spec) && !self.is_harmless_script(spec, args))
        };
        match spec.run {
            _ if mode == PauseMode::All => true,
            Run::Exec => context.transaction.as_deref().is_some_and(has_writes),
            _ => changes(spec) && !self.is_harmless_script(spec, args),
        }
    }

    fn is_harmless_script(&self, spec: &CommandSpec, args: Args<'_>) -> bool {
        matches!(spec.run, Run::Script(_)) && self.is_script_readonly(spec, args)
    }

    /// The keyspace.
    pub(super) fn keyspace(&self) -> &Arc<Keyspace> {
        &self.keyspace
    }

    #[inline]
    pub(super) fn locate<'k>(&self, key: &'k [u8], database: DatabaseNumber) -> LocatedKey<'k> {
        self.keyspace.locate(key).in_database(database)
    }

    #[inline]
    fn locate_ahead<'k>(
        &self,
        ahead: &mut Ahead,
        key: &'k [u8],
        database: DatabaseNumber,
    ) -> LocatedKey<'k> {
        self.keyspace.locate_hashed(key, ahead.hash_of(key)).in_database(database)
    }

    pub(super) fn locate_keys<'k>(
        &self,
        spec: &'static CommandSpec,
        args: Args<'k>,
        database: DatabaseNumber,
    ) -> SmallVec<[LocatedKey<'k>; 4]> {
        let mut keys = SmallVec::with_capacity(args.len());
        keys.extend(keys_of(spec, args).map(|key| self.locate(key, database)));
        keys
    }

    /// All keys of a command that is about to lock them. If they are several they are brought near
    /// this core together, before that.
    pub(super) fn locate_keys_ahead<'k>(
        &self,
        spec: &'static CommandSpec,
        args: Args<'k>,
        database: DatabaseNumber,
    ) -> SmallVec<[LocatedKey<'k>; 4]> {
        let keys = self.locate_keys(spec, args, database);
        if keys.len() >= LOOK_AHEAD_MIN {
            for some in keys.chunks(LOOK_AHEAD_MAX) {
                let hashes: SmallVec<[_; LOOK_AHEAD_MAX]> = some.iter().map(|k| k.hash).collect();
                self.keyspace.look_ahead(database, &hashes);
            }
        }
        keys
    }

    /// The key that is read or taken, and the one that is written.
    pub(super) fn locate_across<'k>(
        &self,
        destination: fn(Args<'_>) -> Result<Destination, CommandError>,
        spec: &CommandSpec,
        args: Args<'k>,
        selected: DatabaseNumber,
    ) -> Result<[LocatedKey<'k>; 2], CommandError> {
        let to = destination(args)?;
        let database = match to.database {
            None => Some(selected),
            Some(number) => self.keyspace.database_number(number),
        };
        let database = database.ok_or(CommandError::DatabaseOutOfRange)?;
        let from = self.locate(first_key(spec, args), selected);
        Ok([from, self.locate(args.at(to.key), database)])
    }
}

/// True when a command changes data, or what others see, or is a script that may.
pub(super) fn changes(spec: &CommandSpec) -> bool {
    spec.is_write()
        || ["PFCOUNT", "PUBLISH", "SPUBLISH"].contains(&spec.name)
        || (matches!(spec.run, Run::Script(_)) && !spec.flags.has(Flags::READONLY))
}

/// True when a command names no keys by itself: while a script is busy it is refused, as all are by
/// Redis.
fn concerns_all(spec: &CommandSpec) -> bool {
    !spec.has_keys() && !matches!(spec.run, Run::Exec)
}

/// How many keys of a request are looked for ahead, by the argument that says how many there are.
#[inline]
fn count_ahead(count: &[u8]) -> usize {
    match count {
        [digit @ b'0'..=b'9'] => usize::from(digit - b'0').min(KEYS_AHEAD_MAX),
        _ => KEYS_AHEAD_MAX,
    }
}

/// Runs what may take long, letting other tasks of this thread move to another one.
pub fn blocking<R>(run: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        _ => run(),
    }
}

/// A command that looks at all keys lasts if there are more than this.
const SLOW_KEYS_MIN: usize = 2_000;

/// What has more bytes than this takes long to encode or to decode.
pub const LONG_BYTES: usize = 32 << 10;

/// As [`blocking`] if it `is_long`: to move the tasks costs as much as thousands of bytes of work.
pub fn blocking_if<R>(is_long: bool, run: impl FnOnce() -> R) -> R {
    if is_long { blocking(run) } else { run() }
}

#[inline]
pub(super) fn first_key<'k>(spec: &CommandSpec, args: Args<'k>) -> &'k [u8] {
    args.at(spec.keys.first().map_or(1, |key| key.first))
}

/// All keys of a request, in the order of the row.
pub(super) fn keys_of<'k>(
    spec: &'static CommandSpec,
    args: Args<'k>,
) -> impl Iterator<Item = &'k [u8]> {
    key_numbers(spec.keys, args).map(move |number| args.at(number))
}

/// `get`, or `client|setname` for a subcommand.
fn full_name(container: Option<&CommandSpec>, spec: &CommandSpec) -> String {
    match container {
        None => spec.name.to_ascii_lowercase(),
        Some(container) => format!("{}|{}", container.name, spec.name).to_ascii_lowercase(),
    }
}
