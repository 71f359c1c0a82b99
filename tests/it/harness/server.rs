//! A server in this process, on a port of its own, with a clock that the test moves.

use crate::harness::wire::Wire;
use my_redis::command::context::{Services, ShutdownMode, ShutdownOrder};
use my_redis::config::StartOptions;
use my_redis::keyspace::Keyspace;
use my_redis::server::Server as Running;
use my_redis::util::clock::Clock;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// "Many" shards in tests that run on one and on many.
pub const MANY_SHARDS: usize = 16;

/// Expands to one test on a single shard and one on many.
#[macro_export]
macro_rules! it {
    ($(#[$attribute:meta])* $name:ident, |$server:ident| $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn proof($server: &$crate::harness::server::Server) $body

            $(#[$attribute])*
            #[test]
            fn on_one_shard() {
                proof(&$crate::harness::server::Server::start(1));
            }

            $(#[$attribute])*
            #[test]
            fn on_many_shards() {
                proof(&$crate::harness::server::Server::start(
                    $crate::harness::server::MANY_SHARDS,
                ));
            }
        }
    };
}

/// A folder that is removed at the end of the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("my_redis-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _kept_by_the_system = std::fs::remove_dir_all(&self.0);
    }
}

type End = (ShutdownOrder, oneshot::Sender<bool>);

/// A running server.
pub struct Server {
    addr: SocketAddr,
    clock: Option<Arc<AtomicI64>>,
    keyspace: Arc<Keyspace>,
    services: Arc<Services>,
    wake: Box<dyn Fn() + Send + Sync>,
    end: mpsc::UnboundedSender<End>,
    thread: Option<JoinHandle<()>>,
    folder: Arc<Folder>,
}

impl Server {
    /// An empty server whose clock stands still until it is moved. It saves only when told to.
    pub fn start(shards: usize) -> Self {
        Self::start_in(Arc::new(Folder::new()), shards, |_| {})
    }

    /// As [`start`](Self::start), with other options.
    pub fn start_with(shards: usize, change: impl FnOnce(&mut StartOptions)) -> Self {
        Self::start_in(Arc::new(Folder::new()), shards, change)
    }

    /// As [`start`](Self::start), in a folder that may hold a dump.
    pub fn start_in(
        folder: Arc<Folder>,
        shards: usize,
        change: impl FnOnce(&mut StartOptions),
    ) -> Self {
        let now = Arc::new(AtomicI64::new(Clock::System.now().0));
        Self::launch(folder, shards, Clock::Manual(Arc::clone(&now)), Some(now), change)
    }

    /// An empty server with the system's clock, for comparison with another server.
    pub fn start_in_real_time(shards: usize) -> Self {
        Self::start_in_real_time_with(shards, |_| {})
    }

    /// As [`start_in_real_time`](Self::start_in_real_time), with other options.
    pub fn start_in_real_time_with(shards: usize, change: impl FnOnce(&mut StartOptions)) -> Self {
        Self::launch(Arc::new(Folder::new()), shards, Clock::System, None, change)
    }

    fn launch(
        folder: Arc<Folder>,
        shards: usize,
        clock: Clock,
        manual: Option<Arc<AtomicI64>>,
        change: impl FnOnce(&mut StartOptions),
    ) -> Self {
        let mut options = StartOptions {
            port: 0,
            dir: folder.path().to_owned(),
            save: Vec::new(),
            shards,
            ..StartOptions::default()
        };
        change(&mut options);
        let threads = if options.threads == 0 { 2 } else { options.threads };
        let (ready, started) = std::sync::mpsc::channel();
        let (end, mut ends) = mpsc::unbounded_channel::<End>();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(threads).enable_all().build().unwrap();
            runtime.block_on(async {
                let mut server = Running::start(options, clock).await.unwrap();
                server.wait_until_loaded().await.unwrap();
                let addr = server.addresses()[0];
                let parts = (
                    addr,
                    Arc::clone(server.keyspace()),
                    Arc::clone(server.services()),
                    Box::new(server.waker()) as Box<dyn Fn() + Send + Sync>,
                );
                ready.send(parts).unwrap();
                while let Some((order, ended)) = ends.recv().await {
                    let has_ended = server.end(&order).await;
                    if has_ended {
                        server.stop_background();
                    }
                    let _nobody_waits = ended.send(has_ended);
                    if has_ended {
                        break;
                    }
                }
            });
            runtime.shutdown_background();
        });
        let (addr, keyspace, services, wake) = started.recv().expect("the server starts");
        // On a busy machine any command may be slow: as with the oracle, none is logged.
        let never = [(&b"slowlog-log-slower-than"[..], &b"-1"[..])];
        services.config.set(never.into_iter()).unwrap();
        Self { addr, clock: manual, keyspace, services, wake, end, thread: Some(thread), folder }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A new RESP2 connection.
    pub fn wire(&self) -> Wire {
        Wire::connect(self.addr)
    }

    /// A new RESP3 connection.
    pub fn wire3(&self) -> Wire {
        Wire::connect_resp3(self.addr)
    }

    pub fn keyspace(&self) -> &Arc<Keyspace> {
        &self.keyspace
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    pub fn dump_path(&self) -> PathBuf {
        self.folder.path().join("dump.my_rdb")
    }

    /// Milliseconds since 1970 by the server's clock.
    pub fn now_ms(&self) -> i64 {
        self.services.clock.now().0
    }

    /// Moves the clock. What is due is hidden from then on and swept soon after.
    pub fn advance_ms(&self, millis: i64) {
        let clock = self.clock.as_ref().expect("a server with a clock of its own");
        clock.fetch_add(millis, Ordering::SeqCst);
        (self.wake)();
    }

    /// Ends the server in order; false when it goes on because saving failed.
    pub fn shut_down(&self, mode: ShutdownMode) -> bool {
        let (sender, ended) = oneshot::channel();
        let order = ShutdownOrder { mode, force: false, failed: None };
        self.end.send((order, sender)).unwrap();
        ended.blocking_recv().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (sender, _ended) = oneshot::channel();
        let order = ShutdownOrder { mode: ShutdownMode::NoSave, force: true, failed: None };
        let _already_ended = self.end.send((order, sender));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server ends without a panic");
            }
        }
    }
}
