//! Commands that wait until one of their keys appears: what their handlers share, and the waiting.
//!
//! A handler tries to serve its request. When it cannot, a copy of the request is left in the
//! queues of its keys (see `keyspace::wait`), and the connection's task waits. Whoever makes a key
//! appear runs the same handler on the copy and leaves the reply there.
//!
//! A wait ends once: served, timed out, ended by CLIENT UNBLOCK, or with its client. One word says
//! how, and whoever changes it from "waiting" has decided. Who serves does so before it takes
//! anything, under the locks of all keys. So nothing is taken for a client that has given up, and
//! nothing that was taken is forgotten.

use crate::command::args::{at_least, is_word};
use crate::command::clients::ClientRecord;
use crate::command::context::{Call, Context, Deferred, Services};
use crate::command::dispatch::Gate;
use crate::command::error::CommandError;
use crate::command::measure::count_failure;
use crate::command::spec::{CommandSpec, Outcome, Run, key_numbers};
use crate::command::stream_read;
use crate::data::ValueType;
use crate::keyspace::planted::{self, Bug};
use crate::keyspace::{AfterUnlock, Keyspace, Line, LocatedKey};
use crate::keyspace::{Ticket, Waiter, WriteManyView, WriteView, WrongType};
use crate::protocol::{Args, OutputBuffer, OwnedArgs, Protocol, ReplyWriter};
use crate::util::number::parse_f64;
use crate::util::random::Random;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The handler of a blocking command.
type Handler =
    fn(&mut WriteManyView<'_, '_>, &mut Call<'_>, Attempt) -> Result<Tried, CommandError>;

/// A try to serve a blocking command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The command has just come.
    First,
    /// It has just come, but others wait already: it takes nothing and goes behind them.
    Behind,
    /// It has just come, and cannot wait because it is a part of a transaction.
    Only,
    /// It has waited, and its key with this number is there now.
    Woken(usize),
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// The reply is written.
    Served,
    /// There was nothing to take; the command waits for so long, `None` for ever.
    Waits(Option<Duration>),
    /// The same, with others in the place of these arguments, which are named by their numbers:
    /// what they mean depends on the moment at which the command has come.
    WaitsWith(Option<Duration>, Vec<(usize, Vec<u8>)>),
}

impl Attempt {
    fn numbers(self, keys: usize) -> Range<usize> {
        match self {
            Self::First | Self::Behind | Self::Only => 0..keys,
            Self::Woken(number) => number..number + 1,
        }
    }

    /// Calls `take` with the first of the first `keys` keys that is there, and its number; false
    /// when there is none, or this one comes behind others.
    ///
    /// # Errors
    /// `WrongType` when that key holds another type than `wanted`.
    pub fn take_first(
        self,
        view: &mut WriteManyView<'_, '_>,
        keys: usize,
        wanted: ValueType,
        mut take: impl FnMut(&mut WriteView<'_>, usize) -> Result<(), WrongType>,
    ) -> Result<bool, CommandError> {
        for number in self.numbers(keys) {
            let Some(mut key) = view.key(number) else { break };
            match key.value_type() {
                None => {}
                Some(found) if found != wanted => return Err(CommandError::WrongType),
                Some(_) if self == Self::Behind => return Ok(false),
                Some(_) => {
                    take(&mut key, number)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// What the handler returns; one that cannot wait replies with `null`.
    pub fn ended(self, is_served: bool, timeout: Option<Duration>, null: impl FnOnce()) -> Tried {
        if !is_served && self != Self::Only {
            return Tried::Waits(timeout);
        }
        if !is_served {
            null();
        }
        Tried::Served
    }
}

/// The timeout of a blocking command: seconds with fractions; 0 is for ever.
///
/// # Errors
/// Redis' texts for what is none.
pub fn timeout(arg: &[u8]) -> Result<Option<Duration>, CommandError> {
    let text = "ERR timeout is not a float or out of range";
    let seconds = parse_f64(arg).ok_or(CommandError::Text(text))?;
    let millis = (seconds * 1_000.0).ceil();
    // What does not fit into 64 bits is negative there, as in Redis.
    if millis < 0.0 || millis >= i64::MAX as f64 {
        return Err(CommandError::Text("ERR timeout is negative"));
    }
    Ok((millis > 0.0).then(|| Duration::from_millis(millis as u64)))
}

/// What LMPOP, ZMPOP and their like ask for behind the number of keys, which is argument `at`:
/// whether the first of these words, and how many.
///
/// # Errors
/// Redis' texts for what does not fit.
pub fn parse_many(
    call: &Call<'_>,
    at: usize,
    words: [&str; 2],
) -> Result<(bool, usize), CommandError> {
    let args = call.args;
    let too_few = CommandError::Text("ERR numkeys should be greater than 0");
    let keys = at_least(args.at(at), 1, too_few)?;
    let behind_keys = keys.saturating_add(at + 1);
    let word = args.get(behind_keys).ok_or(CommandError::Syntax)?;
    let [first, second] = words;
    let is_first = is_word(word, first);
    if !is_first && !is_word(word, second) {
        return Err(CommandError::Syntax);
    }
    let options = args.skip(behind_keys + 1);
    let wanted = match (options.len(), options.at(0)) {
        (0, _) => 1,
        (2.., word) if is_word(word, "COUNT") => {
            let text = CommandError::Text("ERR count should be greater than 0");
            at_least(options.at(1), 1, text)?
        }
        _ => return Err(CommandError::Syntax),
    };
    if options.len() > 2 { Err(CommandError::Syntax) } else { Ok((is_first, wanted)) }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// It has not.
    Waiting,
    /// The reply is there.
    Served,
    /// It took too long, or CLIENT UNBLOCK has it look so.
    TimedOut,
    /// CLIENT UNBLOCK has it fail.
    Unblocked,
    /// The client is gone.
    Gone,
}

/// The one word that says whether and how a wait has ended.
#[derive(Debug)]
pub struct WaitState(AtomicU8);

impl WaitState {
    fn new() -> Self {
        Self(AtomicU8::new(Ending::Waiting as u8))
    }

    /// Ends the wait; false when it had ended before.
    pub fn end(&self, ending: Ending) -> bool {
        let waiting = Ending::Waiting as u8;
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        self.0.compare_exchange(waiting, ending as u8, success, failure).is_ok()
    }

    /// How it has ended.
    #[must_use]
    pub fn ending(&self) -> Ending {
        let ending = self.0.load(Ordering::SeqCst);
        let all = [Ending::Waiting, Ending::Served, Ending::TimedOut, Ending::Unblocked];
        all.into_iter().find(|known| *known as u8 == ending).unwrap_or(Ending::Gone)
    }
}

/// A request that waits.
#[derive(Debug)]
struct Blocked {
    spec: &'static CommandSpec,
    ticket: Ticket,
    state: Arc<WaitState>,
    value_type: ValueType,
    line: Line,
    handler: Handler,
    args: OwnedArgs,
    /// The argument number of each key.
    keys: Vec<usize>,
    waited_count: usize,
    database: u32,
    protocol: Protocol,
    keyspace: Arc<Keyspace>,
    services: Arc<Services>,
    client: Arc<ClientRecord>,
    /// Filled once by who serves it, a moment after it was decided that it is served.
    reply: Mutex<Option<OutputBuffer>>,
}

impl Waiter for Blocked {
    fn ticket(&self) -> Ticket {
        self.ticket
    }

    fn value_type(&self) -> ValueType {
        self.value_type
    }

    fn line(&self) -> Line {
        self.line
    }

    fn keys(&self) -> SmallVec<[LocatedKey<'_>; 4]> {
        let args = self.args.args();
        let locate = |number: &usize| self.keyspace.locate(args.at(*number));
        self.keys.iter().map(|number| locate(number).in_database(self.database)).collect()
    }

    fn waited_count(&self) -> usize {
        self.waited_count
    }

    fn is_waiting(&self) -> bool {
        self.state.ending() == Ending::Waiting
    }

    fn serve(&self, view: &mut WriteManyView<'_, '_>, ready: usize) {
        let may_serve = match self.value_type {
            ValueType::Stream => stream_read::may_serve(self.args.args(), view, ready),
            wanted => view.key(ready).and_then(|key| key.value_type()) == Some(wanted),
        };
        let is_late = planted::is_on(Bug::TakenBeforeDecided);
        // Here it is decided: from now on the wait cannot end in another way.
        if !may_serve || !(is_late || self.state.end(Ending::Served)) {
            return;
        }
        let mut output = OutputBuffer::new();
        let mark = output.mark();
        let mut call = Call {
            args: self.args.args(),
            reply: ReplyWriter::new(&mut output, self.protocol),
            now: view.now(),
            string_bytes_max: self.services.config.string_bytes_max(),
            random: Random::new(0),
            config: &self.services.config,
            is_in_script: false,
            may_read_every_key: true,
            decoded: None,
            late: None,
        };
        if let Err(error) = (self.handler)(view, &mut call, Attempt::Woken(ready)) {
            call.reply.truncate(mark);
            let text = error.text();
            call.reply.error(&text);
            self.services.stats.note_error(&text);
            count_failure(&self.services.stats.commands, self.spec);
        }
        if is_late {
            std::thread::yield_now();
            if !self.state.end(Ending::Served) {
                return;
            }
        }
        *self.reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
    }

    fn wake(&self) {
        self.client.wake();
    }
}

/// A wait of a client; dropping it ends the wait.
#[derive(Debug)]
pub struct Wait {
    blocked: Arc<Blocked>,
    timeout: Option<Duration>,
    /// Whether it is counted among those who wait: it is in the queues.
    is_counted: bool,
}

impl Wait {
    /// The row of the command that waits.
    #[must_use]
    pub fn spec(&self) -> &'static CommandSpec {
        self.blocked.spec
    }

    /// How long to wait, `None` for ever.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Ends it in this way unless it has ended.
    pub fn end(&self, ending: Ending) {
        self.blocked.state.end(ending);
    }

    /// How it has ended.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.blocked.state.ending()
    }

    /// True when it has ended and the reply, if there is to be one, is there.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.ending() {
            Ending::Waiting => false,
            Ending::Served => self.reply().is_some(),
            Ending::TimedOut | Ending::Unblocked | Ending::Gone => true,
        }
    }

    /// What it was served.
    #[must_use]
    pub fn take_reply(&self) -> Option<OutputBuffer> {
        self.reply().take()
    }

    fn reply(&self) -> MutexGuard<'_, Option<OutputBuffer>> {
        self.blocked.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let blocked = &self.blocked;
        blocked.state.end(Ending::Gone);
        if blocked.state.ending() != Ending::Served {
            blocked.keyspace.stop_waiting(&**blocked);
        }
        blocked.client.set_waiting(None);
        if self.is_counted {
            blocked.services.clients.note_unblocked(self.timeout.is_some());
        }
    }
}

/// The line in which a command waits for a value of this type.
fn line(value_type: ValueType, args: Args<'_>) -> Line {
    match value_type {
        ValueType::Stream => stream_read::line(args),
        _ => Line::InTurn(0),
    }
}

impl Gate {
    /// Serves a blocking command, or has its client wait.
    pub(super) fn try_or_wait(
        &self,
        context: &mut Context,
        after: &mut AfterUnlock,
        spec: &'static CommandSpec,
        call: &mut Call<'_>,
    ) -> Outcome {
        let (Run::Block(value_type, handler) | Run::ReadOrBlock(value_type, _, handler)) = spec.run
        else {
            return Err(CommandError::Syntax);
        };
        let line = line(value_type, call.args);
        let keys = self.locate_keys(spec, call.args, context.database);
        let first = spec.keys.get(..1).unwrap_or_default();
        let waited_count = key_numbers(first, call.args).count();
        let mut prepared: Option<Wait> = None;
        loop {
            let now = call.now;
            let blocked = prepared.as_ref().map(|wait| Arc::clone(&wait.blocked));
            let is_late = blocked.is_some() && planted::is_on(Bug::LateWait);
            let tried = self.keyspace().write_many(&keys, now, after, |view| {
                let is_behind = view.has_waiters(waited_count, value_type, line);
                let attempt = if is_behind || is_late { Attempt::Behind } else { Attempt::First };
                let Some(blocked) = &blocked else {
                    return handler(view, call, attempt);
                };
                let tried = handler(view, &mut call.nested(blocked.args.args()), attempt)?;
                if tried != Tried::Served {
                    let waiter: Arc<dyn Waiter> = Arc::<Blocked>::clone(blocked);
                    view.wait(&waiter, is_behind);
                }
                Ok::<_, CommandError>(tried)
            })??;
            let (timeout, others) = match tried {
                Tried::Served => return Ok(()),
                Tried::Waits(timeout) => (timeout, Vec::new()),
                Tried::WaitsWith(timeout, others) => (timeout, others),
            };
            if let Some(mut wait) = prepared {
                self.services().clients.note_blocked(timeout.is_some());
                wait.is_counted = true;
                context.deferred = Some(Deferred::Block(wait));
                return Ok(());
            }
            // The request is copied while nothing is locked; then all is tried once more.
            let args = call.args.to_owned_with(&others);
            let served = (value_type, line, handler);
            prepared = Some(self.prepare_wait(context, spec, served, args, timeout));
        }
    }

    fn prepare_wait(
        &self,
        context: &Context,
        spec: &'static CommandSpec,
        (value_type, line, handler): (ValueType, Line, Handler),
        args: OwnedArgs,
        timeout: Option<Duration>,
    ) -> Wait {
        let state = Arc::new(WaitState::new());
        let first = spec.keys.get(..1).unwrap_or_default();
        let blocked = Arc::new(Blocked {
            spec,
            ticket: Ticket::take(),
            state: Arc::clone(&state),
            value_type,
            line,
            handler,
            keys: key_numbers(spec.keys, args.args()).collect(),
            waited_count: key_numbers(first, args.args()).count(),
            args,
            database: context.database,
            protocol: context.protocol,
            keyspace: Arc::clone(self.keyspace()),
            services: Arc::clone(self.services()),
            client: Arc::clone(&context.client),
            reply: Mutex::default(),
        });
        context.client.set_waiting(Some(state));
        Wait { blocked, timeout, is_counted: false }
    }
}
