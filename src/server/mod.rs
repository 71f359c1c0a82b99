//! Layer 5: the server: listen, load, serve, and end in order.

mod accept;
mod connection_task;
mod descriptors;
mod huge_pages;
mod log;
mod metrics;
pub mod options;
mod reload;
mod shutdown;
mod supervisor;
mod tasks;

pub use log::{LogError, start_log};
pub use metrics::{METRICS_CONNECTIONS_MAX, METRICS_REQUEST_BYTES_MAX, METRICS_TIMEOUT};

use crate::acl::Acl;
use crate::command::access;
use crate::command::clients::Clients;
use crate::command::context::{Services, ShutdownMode, ShutdownOrder, ShutdownRequest};
use crate::command::dispatch::{Gate, blocking};
use crate::command::eviction::{Eviction, uses_at};
use crate::command::script_busy::BusyScripts;
use crate::command::script_store::ScriptStore;
use crate::command::table;
use crate::config::{Config, Effect, StartOptions};
use crate::keyspace::{Figures, Keyspace};
use crate::persist::file;
use crate::persist::file::{ClaimError, DumpFile};
use crate::persist::functions::FunctionStore;
use crate::persist::load::{self, LoadError, LoadProgress};
use crate::persist::saver::Saver;
use crate::stats::Stats;
use crate::util::allocator;
use crate::util::clock::Clock;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use supervisor::Supervisor;
use tasks::Background;
use tokio::sync::{mpsc, oneshot};

/// Shards for each core, and at least: enough that two cores rarely meet at one lock.
const SHARDS_PER_CORE: usize = 16;
const SHARDS_MIN: usize = 64;
/// How often the log tells how far loading has come.
const LOAD_REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Why the server did not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Listen(String, io::Error),
    /// The folder of the dump cannot be used.
    Folder(PathBuf, io::Error),
    /// The dump is another server's, or cannot be written.
    Dump(ClaimError),
    /// The dump cannot be loaded.
    Load(LoadError),
    /// The users that files describe are wrong: how.
    Users(String),
    /// The system refused something else.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Folder(path, error) => {
                write!(f, "cannot keep the dump in {}: {error}", path.display())
            }
            Self::Dump(error @ ClaimError::InUse { .. }) => {
                write!(f, "{error}; give this one another --dir or --dbfilename")
            }
            Self::Dump(error) => write!(f, "cannot keep the dump: {error}"),
            Self::Load(error) => error.fmt(f),
            Self::Users(text) => f.write_str(text),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A server that has begun to listen.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    keyspace: Arc<Keyspace>,
    services: Arc<Services>,
    background: Arc<Background>,
    orders: mpsc::UnboundedReceiver<ShutdownOrder>,
    loaded: LoadOutcome,
    /// Set when the server ends before the dump was loaded.
    load_cancelled: Arc<AtomicBool>,
}

impl Server {
    /// Listens, and begins to load the dump; clients are answered with LOADING until it is done.
    ///
    /// # Errors
    /// When an address or the folder cannot be used.
    pub async fn start(mut options: StartOptions, clock: Clock) -> Result<Self, StartError> {
        let path = dump_path(&mut options)?;
        let file = DumpFile::claim(path.clone()).map_err(StartError::Dump)?;
        let listeners = accept::listen(&options, options.port).await?;
        let metrics = match options.operation.metrics_port {
            0 => Vec::new(),
            port => accept::listen(&options, port).await?,
        };
        if let Some((_, address)) = listeners.first() {
            options.port = address.port();
        }
        let shards = match options.shards {
            0 => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                (cores * SHARDS_PER_CORE).max(SHARDS_MIN)
            }
            shards => shards,
        };
        let keyspace = Keyspace::with_databases(shards, options.databases);
        let keyspace = Arc::new(keyspace.with_long_wait(|wait| blocking(wait)));
        let scripts = Arc::<ScriptStore>::default();
        let functions: Arc<dyn FunctionStore> = Arc::<ScriptStore>::clone(&scripts);
        let (sender, orders) = mpsc::unbounded_channel();
        let config = Config::new(options);
        let acl = users(&config)?;
        let services = Arc::new(Services {
            config,
            acl,
            monitors: Arc::default(),
            stats: Stats::new(table::numbered().len()),
            clients: Clients::default(),
            pubsub: Arc::default(),
            tracking: Default::default(),
            figures: Figures::new(Arc::clone(&keyspace)),
            saver: Arc::new(Saver::new(Arc::clone(&keyspace), functions, file)),
            eviction: Eviction::default(),
            scripts,
            busy_scripts: BusyScripts::default(),
            clock,
            shutdown: ShutdownRequest(sender),
            loading: AtomicBool::new(true),
            scripts_may_debug: AtomicBool::new(false),
            sweep_paused: AtomicBool::new(false),
            load_progress: LoadProgress::default(),
            run_id: run_id(),
        });
        let background = Background::new();
        background
            .start(Arc::clone(&keyspace), Arc::clone(&services))
            .map_err(|e| StartError::System("start a thread", e))?;
        let load_cancelled = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&load_cancelled);
        let loaded = start_loading(Arc::clone(&keyspace), Arc::clone(&services), path, cancelled)?;
        let settle: Arc<Background> = Arc::clone(&background);
        let gate = Arc::new(Gate::new(Arc::clone(&keyspace), Arc::clone(&services), settle));
        let addresses = accept::serve_clients(listeners, &gate);
        accept::serve_metrics(metrics, &services);
        tasks::begin(gate);
        Ok(Self { addresses, keyspace, services, background, orders, loaded, load_cancelled })
    }

    /// The addresses it listens on.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells the log what runs here and with what.
    fn introduce(&self) {
        let start = self.services.config.start();
        let threads = match start.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        tracing::info!(
            "my_redis_server {}: port {}, {} shards, {threads} threads, dump {}, pid {}",
            env!("CARGO_PKG_VERSION"),
            start.port,
            self.keyspace.shard_count(),
            self.services.saver.path().display(),
            std::process::id()
        );
        for (option, value) in start.settings.iter() {
            if option.effect == Effect::None && value != option.default.as_bytes() {
                tracing::warn!("{} of the configuration file has no effect here", option.name);
            }
        }
    }

    /// The services of the server.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// The keyspace.
    #[must_use]
    pub fn keyspace(&self) -> &Arc<Keyspace> {
        &self.keyspace
    }

    /// Makes the sweeper look at the clock now; for a clock that was moved by hand.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let background = Arc::clone(&self.background);
        move || background.wake_sweeper()
    }

    /// Ends the background threads, after [`end`](Self::end), and frees the dump for another
    /// server.
    pub fn stop_background(&self) {
        self.services.saver.release();
        self.background.stop();
    }

    /// Waits until the dump is loaded.
    ///
    /// # Errors
    /// When it cannot be.
    pub async fn wait_until_loaded(&mut self) -> Result<(), StartError> {
        outcome_of_loading(&mut self.loaded).await
    }
}

/// The users of the configuration, or of the file that it names.
fn users(config: &Config) -> Result<Acl, StartError> {
    let acl = Acl::new(access::catalog());
    acl.set_default_password(|| config.password());
    let declared = config.start().settings.users();
    let Some(file) = access::user_file(config) else {
        acl.add_configured(declared, config.new_users_hear_all()).map_err(StartError::Users)?;
        for user in acl.all().iter().filter(|user| !user.is_on()) {
            let name = String::from_utf8_lossy(&user.name);
            tracing::info!("the user '{name}' is off: its description has no 'on'");
        }
        return Ok(acl);
    };
    if !declared.is_empty() {
        let text = "users are described in the configuration file and by the option aclfile: \
                    choose one of the two";
        return Err(StartError::Users(text.to_owned()));
    }
    access::load_users(&acl, config, &file).map_err(|errors| {
        let errors = String::from_utf8_lossy(&errors).into_owned();
        StartError::Users(format!("Aborting Redis startup because of ACL errors: {errors}"))
    })?;
    Ok(acl)
}

type LoadOutcome = oneshot::Receiver<Result<(), LoadError>>;

async fn outcome_of_loading(loaded: &mut LoadOutcome) -> Result<(), StartError> {
    match loaded.await {
        Ok(loaded) => loaded.map_err(StartError::Load),
        Err(_) => {
            let error = io::Error::other("the loading thread ended unexpectedly");
            Err(StartError::System("load the dump", error))
        }
    }
}

/// Runs a server until it is told to end. The process should exit with what is returned.
#[must_use]
pub fn run(mut options: StartOptions) -> ExitCode {
    descriptors::prepare(&mut options);
    // Before there is a second thread.
    if options.operation.daemonize
        && let Err(error) = nix::unistd::daemon(true, false)
    {
        return failed(&StartError::System("go into the background", error.into()));
    }
    huge_pages::prepare(&options);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if options.threads > 0 {
        builder.worker_threads(options.threads);
    }
    builder.on_thread_park(|| {
        allocator::rest();
    });
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&StartError::System("start the runtime", error)),
    };
    let code = runtime.block_on(async {
        // Before anything else: a signal that comes while the server starts ends it in order, too.
        let signals = match shutdown::Signals::new() {
            Ok(signals) => signals,
            Err(error) => return failed(&StartError::System("watch for signals", error)),
        };
        let supervisor = Arc::new(Supervisor::new(&options.operation));
        let alive = Arc::clone(&supervisor);
        tokio::spawn(async move { alive.keep_alive().await });
        match Server::start(options, Clock::System).await {
            Ok(server) => server.run_until_told(signals, &supervisor).await,
            Err(error) => failed(&error),
        }
    });
    runtime.shutdown_background();
    code
}

fn failed(error: &StartError) -> ExitCode {
    tracing::error!("{error}");
    ExitCode::FAILURE
}

/// The absolute path of the dump; from then on the folder is an absolute one as well.
fn dump_path(options: &mut StartOptions) -> Result<PathBuf, StartError> {
    let (folder, name) = (&options.dir, options.dump_file_name.as_ref());
    let place = file::place(folder, name);
    let (folder, path) = place.map_err(|e| StartError::Folder(folder.join(name), e))?;
    options.dir = folder;
    Ok(path)
}

fn start_loading(
    keyspace: Arc<Keyspace>,
    services: Arc<Services>,
    path: PathBuf,
    cancelled: Arc<AtomicBool>,
) -> Result<LoadOutcome, StartError> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("loader".to_owned());
    let spawned = thread.spawn(move || {
        let loaded = load_dump(&keyspace, &services, &path, &cancelled);
        if loaded.is_ok() {
            services.saver.arm();
            services.loading.store(false, Ordering::SeqCst);
        }
        // The server may have been told to end meanwhile.
        let _ended = sender.send(loaded);
    });
    spawned.map_err(|e| StartError::System("start a thread", e))?;
    Ok(receiver)
}

fn load_dump(
    keyspace: &Keyspace,
    services: &Services,
    path: &Path,
    cancelled: &AtomicBool,
) -> Result<(), LoadError> {
    let mut reported = Instant::now();
    let report = |progress: &LoadProgress| {
        if reported.elapsed() >= LOAD_REPORT_INTERVAL {
            reported = Instant::now();
            let total = progress.total_bytes.load(Ordering::Relaxed).max(1);
            let loaded = progress.loaded_bytes.load(Ordering::Relaxed);
            let keys = progress.loaded_keys.load(Ordering::Relaxed);
            tracing::info!("loading {}: {} %, {keys} keys", path.display(), loaded * 100 / total);
        }
    };
    let progress = &services.load_progress;
    let now = services.clock.now();
    let uses = uses_at(&services.config, now);
    let loaded = load::load(keyspace, path, now, uses, progress, cancelled, report)?;
    match services.saver.replace_functions(path, loaded)? {
        None => tracing::info!("no dump at {}: starting empty", path.display()),
        Some(loaded) => {
            if loaded.unchecked {
                tracing::warn!("{} has no checksum: damage would go unnoticed", path.display());
            }
            tracing::info!(
                "loaded {}: {} keys, {} expired ones left out, {:.3} s",
                path.display(),
                loaded.keys,
                loaded.expired,
                loaded.duration.as_secs_f64()
            );
        }
    }
    Ok(())
}

/// 40 hexadecimal digits that no other run has.
fn run_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let digits: String =
        (0..3_u8).map(|n| format!("{:016x}", RandomState::new().hash_one(n))).collect();
    digits.chars().take(40).collect()
}

/// What the end of the server needs of an order; a signal is one as well.
fn signal_order() -> ShutdownOrder {
    ShutdownOrder { mode: ShutdownMode::Default, force: false, failed: None }
}
