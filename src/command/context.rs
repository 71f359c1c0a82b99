//! What a command gets beside its keys: the call, the client's own state, and the services.

use crate::acl::Acl;
use crate::command::access::Access;
use crate::command::blocking::Wait;
use crate::command::clients::{ClientRecord, Clients};
use crate::command::error::CommandError;
use crate::command::eviction::Eviction;
use crate::command::script_busy::BusyScripts;
use crate::command::script_store::ScriptStore;
use crate::command::tracking::ClientTracking;
use crate::command::transaction::Transaction;
use crate::config::Config;
use crate::data::Value;
use crate::keyspace::{DatabaseNumber, Figures, KeptKey, Watches};
use crate::persist::load::LoadProgress;
use crate::persist::saver::{SaveTicket, Saver};
use crate::protocol::{Args, Protocol, ReplyWriter};
use crate::pubsub::{Hub, Monitoring, Monitors, Subscriptions, Tracking};
use crate::stats::{Sample, Stats};
use crate::util::clock::{Clock, UnixMillis};
use crate::util::events::EventSet;
use crate::util::random::Random;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The part of a command that needs no lock any more: it writes the reply. What may last is for it
/// to run with `dispatch::blocking`.
pub type Late = Box<dyn FnOnce(&mut ReplyWriter<'_>) -> Result<(), CommandError>>;

/// What was made of an argument while no lock was held.
pub enum Decoded {
    /// A value that it describes.
    Value(Result<Value, CommandError>),
    /// The argument with this number as a string of its own, because it is large.
    Argument(usize, Bytes),
    /// What is to be stored.
    Made(Box<Made>),
}

/// A value that was made of keys before they were locked.
pub struct Made {
    /// Those keys.
    pub kept: Vec<KeptKey>,
    /// The value.
    pub value: Value,
}

/// One request being answered.
pub struct Call<'a> {
    /// The arguments, the command's name first.
    pub args: Args<'a>,
    /// Where the reply goes.
    pub reply: ReplyWriter<'a>,
    /// The one moment at which the command happens.
    pub now: UnixMillis,
    /// Bytes that one string may have (proto-max-bulk-len).
    pub string_bytes_max: usize,
    /// Chance, for commands that draw.
    pub random: Random,
    /// The options of the server.
    pub config: &'a Config,
    /// True for a command of a script.
    pub is_in_script: bool,
    /// True when it may read keys that it does not name.
    pub may_read_every_key: bool,
    /// What was made of an argument before the locks were taken.
    pub decoded: Option<Decoded>,
    /// What is left to do once the locks are released.
    pub late: Option<Late>,
}

impl Call<'_> {
    /// Bytes that a reply may have whose length is for the client to choose.
    #[must_use]
    pub fn reply_bytes_max(&self) -> usize {
        self.string_bytes_max.min(self.config.waiting_bytes_max(false))
    }

    /// An argument that was made a string of its own before the locks were taken.
    pub(super) fn take_large(&mut self, number: usize) -> Option<Bytes> {
        match self.decoded.take() {
            Some(Decoded::Argument(of, bytes)) if of == number => Some(bytes),
            decoded => {
                self.decoded = decoded;
                None
            }
        }
    }

    /// What was made before the locks were taken, of keys that still have to be looked at.
    pub(super) fn take_made(&mut self) -> Option<Made> {
        match self.decoded.take() {
            Some(Decoded::Made(made)) => Some(*made),
            decoded => {
                self.decoded = decoded;
                None
            }
        }
    }

    /// The call of another command whose reply is a part of this one's. What it draws by chance
    /// must be told to this one afterwards, or the next one would draw the same.
    pub(super) fn nested<'b>(&'b mut self, args: Args<'b>) -> Call<'b> {
        let Self { now, string_bytes_max, random, config, is_in_script, .. } = *self;
        Call {
            args,
            reply: self.reply.reborrow(),
            now,
            string_bytes_max,
            random,
            config,
            is_in_script,
            may_read_every_key: true,
            decoded: None,
            late: None,
        }
    }
}

/// Whether the replies of a client are sent: CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// All are.
    #[default]
    On,
    /// None is.
    Off,
    /// That of the next command is not.
    SkipNext,
}

/// Something that a command asks its connection's task to wait for.
#[derive(Debug)]
pub enum Deferred {
    /// The end of a save, after which the client gets its reply.
    Save(SaveTicket),
    /// Word that the server does not end after all; the client is answered only then.
    Shutdown(oneshot::Receiver<()>),
    /// The data is replaced by what the dump holds, after it was saved.
    Reload {
        /// Whether to save before.
        saves: bool,
    },
    /// Nobody is served for this long.
    Sleep(Duration),
    /// A key appears, or the wait for it ends in another way.
    Block(Wait),
}

impl Deferred {
    /// True when what is waited for is the command's own work, and counts to its time.
    #[must_use]
    pub fn is_work(&self) -> bool {
        matches!(self, Self::Save(_) | Self::Reload { .. } | Self::Sleep(_))
    }
}

/// Roughly what a channel takes, with its name: at the client, and at those who publish.
const SUBSCRIPTION_BYTES: usize = 192;

/// The state of one client that only its own commands touch.
#[derive(Debug)]
pub struct Context {
    /// The services of the server.
    pub services: Arc<Services>,
    /// What others may see of this client.
    pub client: Arc<ClientRecord>,
    /// The database that its commands are about.
    pub database: DatabaseNumber,
    /// The protocol that the client speaks.
    pub protocol: Protocol,
    /// True when the client has given a password, or came while none was needed.
    pub authenticated: bool,
    /// What its user may do.
    pub(super) access: Access,
    /// Whether replies are sent, from the next command on.
    pub reply_mode: ReplyMode,
    /// True when the reply of the present command is not sent.
    pub skip_reply: bool,
    /// True when the connection is to be closed once the replies so far are sent.
    pub close: bool,
    /// True when the present command did not run because of a pause: it is to be run again.
    pub postponed: bool,
    /// What to wait for before the next command.
    pub deferred: Option<Deferred>,
    /// Set while the client is told of every command.
    pub monitoring: Option<Monitoring>,
    /// What came since MULTI.
    pub transaction: Option<Box<Transaction>>,
    /// The keys that the client watches.
    pub watches: Watches,
    /// The channels and patterns that the client listens to.
    pub subscriptions: Subscriptions,
    /// True while that is any: every command asks.
    listens: bool,
    /// True while the commands are those of a script.
    pub is_in_script: bool,
    /// True when memory was short, and none could be freed, before the present command.
    pub lacks_memory: bool,
    /// How the client is told of changes of the keys that it has read.
    pub tracking: Option<Box<ClientTracking>>,
}

impl Context {
    /// The state of a client that has just connected.
    #[must_use]
    pub fn new(services: Arc<Services>, client: Arc<ClientRecord>) -> Self {
        let (access, authenticated) = Access::new(&services.acl);
        let watches = services.figures.watches();
        let (hub, mailbox) = (Arc::clone(&services.pubsub), Arc::clone(&client.mailbox));
        let subscriptions = Subscriptions::new(hub, client.id, mailbox);
        Self {
            services,
            client,
            database: 0,
            protocol: Protocol::default(),
            authenticated,
            access,
            reply_mode: ReplyMode::default(),
            skip_reply: false,
            close: false,
            postponed: false,
            deferred: None,
            monitoring: None,
            transaction: None,
            watches,
            subscriptions,
            listens: false,
            is_in_script: false,
            lacks_memory: false,
            tracking: None,
        }
    }

    /// True when the client may use more than AUTH and HELLO now: it has given a password, or none
    /// is needed any more.
    #[inline]
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.access.is_trusted
    }

    /// True when the client speaks RESP2 and listens to channels: what it gets may be a message at
    /// any time, so it may ask for hardly anything.
    #[inline]
    #[must_use]
    pub fn only_listens(&self) -> bool {
        self.listens && self.protocol == Protocol::Resp2
    }

    /// Notes what the client listens to now, where others and every command of it look for it.
    pub(super) fn note_subscriptions(&mut self) {
        let (channels, patterns, shard_channels) = self.subscriptions.counts();
        self.client.set_subscriptions(channels, patterns, shard_channels);
        self.listens = !self.subscriptions.is_empty();
    }

    /// Bytes of what the client has in the server beside its buffers: watched keys, channels, and
    /// prefixes that it is told of.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let (channels, patterns, shard_channels) = self.subscriptions.counts();
        let names = channels + patterns + shard_channels;
        let prefixes = self.tracking.as_ref().map_or(0, |tracking| tracking.prefix_bytes());
        self.watches.memory_bytes() + names * SUBSCRIPTION_BYTES + prefixes
    }

    /// Chooses the database, from the next command on.
    pub fn select(&mut self, database: DatabaseNumber) {
        self.database = database;
        self.client.set_database(database);
    }

    /// Has the commands that follow queued.
    pub(super) fn begin_transaction(&mut self) {
        self.transaction = Some(Box::default());
        self.client.set_queued(Some(0), 0);
    }

    /// Forgets queued commands and watched keys.
    pub(super) fn end_transaction(&mut self) {
        self.transaction = None;
        self.watches.clear();
        self.client.set_queued(None, 0);
    }

    /// Switches the protocol, from the reply being written on.
    pub fn set_protocol(&mut self, protocol: Protocol, call: &mut Call<'_>) {
        self.protocol = protocol;
        self.client.set_protocol(protocol);
        call.reply.set_protocol(protocol);
    }
}

/// What all commands share. The keyspace is not here: its doors are the gate's.
#[derive(Debug)]
pub struct Services {
    /// The options.
    pub config: Config,
    /// The users.
    pub acl: Acl,
    /// The clients that are told of every command.
    pub monitors: Arc<Monitors>,
    /// The counters.
    pub stats: Stats,
    /// The connected clients.
    pub clients: Clients,
    /// Who listens to what.
    pub pubsub: Arc<Hub>,
    /// Who keeps copies of which keys.
    pub tracking: Tracking,
    /// Making room when memory is short.
    pub eviction: Eviction,
    /// The scripts and functions that are known.
    pub scripts: Arc<ScriptStore>,
    /// The scripts that have lasted too long.
    pub busy_scripts: BusyScripts,
    /// The figures of the keyspace.
    pub figures: Figures,
    /// The dump.
    pub saver: Arc<Saver>,
    /// The time.
    pub clock: Clock,
    /// The end of the server.
    pub shutdown: ShutdownRequest,
    /// True until the dump is loaded.
    pub loading: AtomicBool,
    /// True while scripts may use DEBUG.
    pub scripts_may_debug: AtomicBool,
    /// True while keys whose deadline has come are left until somebody comes upon them.
    pub sweep_paused: AtomicBool,
    /// How far loading has come.
    pub load_progress: LoadProgress,
    /// The name of this run: 40 hexadecimal digits.
    pub run_id: String,
}

impl Services {
    /// The classes of events of keys that anybody wants to hear of.
    #[inline]
    #[must_use]
    pub fn wanted_events(&self) -> EventSet {
        let published = self.config.published_events();
        let channels = EventSet::KEYSPACE.and(EventSet::KEYEVENT);
        if !published.has_any(channels) || self.pubsub.is_silent() {
            return EventSet::NONE;
        }
        published
    }

    /// Notes an event among the spikes of latency if it took long.
    pub fn note_latency(&self, event: &'static str, nanos: u64) {
        if self.config.observation().latency_nanos().is_some_and(|least| nanos >= least) {
            let unix_seconds = self.clock.now().0.div_euclid(1_000);
            self.stats.latency.add(event, Sample { unix_seconds, millis: nanos / 1_000_000 });
        }
    }

    /// True until the dump is loaded.
    #[inline]
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Relaxed)
    }
}

/// How a client asks the server to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Save when saving is configured.
    Default,
    /// Save in any case.
    Save,
    /// Do not save.
    NoSave,
}

/// Where requests to end the server go.
#[derive(Debug, Clone)]
pub struct ShutdownRequest(pub mpsc::UnboundedSender<ShutdownOrder>);

/// One request to end the server.
#[derive(Debug)]
pub struct ShutdownOrder {
    /// Whether to save.
    pub mode: ShutdownMode,
    /// End even when saving fails.
    pub force: bool,
    /// Told when the server stays because saving failed; dropped when the server ends.
    pub failed: Option<oneshot::Sender<()>>,
}

impl ShutdownRequest {
    /// Asks for the end of the server; the receiver hears only if it does not come.
    #[must_use]
    pub fn send(&self, mode: ShutdownMode, force: bool) -> oneshot::Receiver<()> {
        let (failed, receiver) = oneshot::channel();
        // The receiver of orders lives as long as the server.
        let _ended = self.0.send(ShutdownOrder { mode, force, failed: Some(failed) });
        receiver
    }
}
