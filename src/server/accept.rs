//! Listening, and letting in those who may come: clients, and those who read metrics.

use crate::command::context::Services;
use crate::command::dispatch::Gate;
use crate::config::{Config, StartOptions};
use crate::server::metrics::{self, METRICS_CONNECTIONS_MAX};
use crate::server::{StartError, connection_task, tasks};
use crate::stats::{Counter, Rhythm};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// How long accepting rests when the system has no more descriptors or memory.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
const PROTECTED: &[u8] = b"-DENIED my_redis_server is running in protected mode because protected \
mode is enabled and no password is set for the default user. In this mode connections are only \
accepted from the loopback interface. To accept clients from elsewhere, set a password with \
--requirepass, or switch the protection off with --protected-mode no.\r\n";

/// Listens on the addresses of the options at one port.
///
/// # Errors
/// When one of them cannot be had, or none.
pub(super) async fn listen(
    options: &StartOptions,
    port: u16,
) -> Result<Vec<(TcpListener, SocketAddr)>, StartError> {
    let mut listeners = Vec::new();
    for name in &options.bind {
        // As in Redis, an address after a minus sign may be unavailable.
        let (name, optional) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let name = if name == "*" { "0.0.0.0" } else { name };
        let shown = format!("{name}:{port}");
        match listen_on(name, port, options.backlog).await {
            Ok(listener) => {
                let address = listener.local_addr().map_err(|e| StartError::Listen(shown, e))?;
                listeners.push((listener, address));
            }
            Err(error) if optional && error.kind() != io::ErrorKind::AddrInUse => {
                tracing::debug!("not listening on {shown}: {error}");
            }
            Err(error) => return Err(StartError::Listen(shown, error)),
        }
    }
    if listeners.is_empty() {
        let error = io::Error::other("none of the addresses can be listened on");
        return Err(StartError::Listen(options.bind.join(" "), error));
    }
    Ok(listeners)
}

async fn listen_on(name: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let mut last = io::Error::other("the name has no address");
    for address in tokio::net::lookup_host((name, port)).await? {
        let socket = match address {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(backlog)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Lets clients in; returns where.
pub(super) fn serve_clients(
    listeners: Vec<(TcpListener, SocketAddr)>,
    gate: &Arc<Gate>,
) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for (listener, address) in listeners {
        addresses.push(address);
        let services = Arc::clone(gate.services());
        let (listener, gate) = (Arc::new(listener), Arc::clone(gate));
        let accepts = move |_| accept(Arc::clone(&listener), Arc::clone(&gate));
        let task = services.stats.tasks.add("accepting", Rhythm::None);
        tokio::spawn(tasks::supervise(task, services, accepts));
    }
    addresses
}

async fn accept(listener: Arc<TcpListener>, gate: Arc<Gate>) {
    accept_with(&listener, |stream, address| admit(stream, address, &gate)).await;
}

/// Answers those who read metrics, from now on.
pub(super) fn serve_metrics(listeners: Vec<(TcpListener, SocketAddr)>, services: &Arc<Services>) {
    for (listener, address) in listeners {
        tracing::info!("metrics at http://{address}/metrics");
        let (listener, its_services) = (Arc::new(listener), Arc::clone(services));
        let accepts = move |_| accept_metrics(Arc::clone(&listener), Arc::clone(&its_services));
        let task = services.stats.tasks.add("metrics", Rhythm::None);
        tokio::spawn(tasks::supervise(task, Arc::clone(services), accepts));
    }
}

/// Takes connections of those who read metrics.
async fn accept_metrics(listener: Arc<TcpListener>, services: Arc<Services>) {
    let places = Arc::new(Semaphore::new(METRICS_CONNECTIONS_MAX));
    accept_with(&listener, |stream, address| {
        if is_kept_out(&services, address) {
            return;
        }
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let services = Arc::clone(&services);
            tokio::spawn(async move {
                metrics::serve(stream, services).await;
                drop(place);
            });
        }
    })
    .await;
}

async fn accept_with(listener: &TcpListener, mut admit: impl FnMut(TcpStream, SocketAddr)) {
    let mut last_complaint: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => admit(stream, address),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if last_complaint.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                    last_complaint = Some(Instant::now());
                    tracing::warn!("cannot accept connections: {error}");
                }
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}

/// True when only the connection that was being accepted is lost.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// True when protected mode refuses who comes from this address.
fn is_kept_out(services: &Services, address: SocketAddr) -> bool {
    services.config.protected_mode()
        && services.acl.default_needs_no_password()
        && !address.ip().to_canonical().is_loopback()
}

fn admit(stream: TcpStream, address: SocketAddr, gate: &Arc<Gate>) {
    let services = gate.services();
    let refusal = if services.clients.connected() >= services.config.clients_max() {
        Some(&b"-ERR max number of clients reached\r\n"[..])
    } else if is_kept_out(services, address) {
        Some(PROTECTED)
    } else {
        None
    };
    services.stats.add(Counter::Connections, 1);
    if let Some(text) = refusal {
        services.stats.add(Counter::RejectedConnections, 1);
        crate::net::send_and_close(stream, text);
        return;
    }
    if let Err(error) = prepare(&stream, &services.config) {
        tracing::debug!("a connection ended before it was set up: {error}");
        return;
    }
    let local = stream.local_addr().unwrap_or(address);
    let record = services.clients.add(address, local, i64::from(stream.as_raw_fd()));
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        // Also when the task ends by a panic, the client is gone.
        let listed = Listed { gate: Arc::clone(&gate), id: record.id };
        connection_task::serve(gate, stream, record, listed).await;
    });
}

/// Takes a client off the list when its task ends.
struct Listed {
    gate: Arc<Gate>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let services = self.gate.services();
        if std::thread::panicking() {
            services.stats.add(Counter::ClientPanics, 1);
        }
        services.clients.remove(self.id);
    }
}

fn prepare(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nodelay(true)?;
    crate::net::set_keepalive(stream, Duration::from_secs(config.keepalive_seconds()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::server::Server;
    use crate::server::tasks::Background;
    use crate::util::clock::Clock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What a client is told that comes from `address`, before it says anything; `None` when it is
    /// let in.
    async fn told(server: &Server, address: &str) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connecting, listener.accept());
        let (mut client, (stream, _)) = (client.unwrap(), accepted.unwrap());
        let settle: Arc<Background> = Arc::clone(&server.background);
        let (keyspace, services) = (Arc::clone(&server.keyspace), Arc::clone(&server.services));
        let gate = Arc::new(Gate::new(keyspace, services, settle));
        admit(stream, SocketAddr::new(address.parse().unwrap(), 5_000), &gate);
        client.write_all(b"PING\r\n").await.unwrap();
        let mut reply = vec![0; 1_000];
        let read = client.read(&mut reply).await.unwrap();
        reply.truncate(read);
        (reply != b"+PONG\r\n").then(|| String::from_utf8(reply).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_password_only_this_machine_is_served() {
        let dir = std::env::temp_dir().join(format!("my_redis-protected-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let options = StartOptions {
            port: 0,
            dir: dir.clone(),
            save: Vec::new(),
            shards: 1,
            ..StartOptions::default()
        };
        let mut server = Server::start(options, Clock::System).await.unwrap();
        server.wait_until_loaded().await.unwrap();
        let set = |name: &'static str, value: &'static str| {
            let pairs = [(name.as_bytes(), value.as_bytes())];
            server.services.config.set(pairs.into_iter()).unwrap();
            server.services.acl.set_default_password(|| server.services.config.password());
        };
        for near in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(told(&server, near).await, None, "{near}");
        }
        let far = ["192.0.2.1", "10.0.0.1", "fd00::1", "::ffff:192.0.2.1"];
        for address in far {
            let text = told(&server, address).await.unwrap();
            assert!(text.starts_with("-DENIED "), "{address}: {text}");
            assert!(text.ends_with("--protected-mode no.\r\n"), "{address}: {text}");
        }
        assert_eq!(server.services.stats.get(Counter::RejectedConnections), 4);
        set("protected-mode", "no");
        assert_eq!(told(&server, "192.0.2.1").await, None);
        set("protected-mode", "yes");
        assert!(told(&server, "192.0.2.1").await.is_some());
        set("requirepass", "secret");
        let text = told(&server, "192.0.2.1").await.unwrap();
        assert_eq!(text, "-NOAUTH Authentication required.\r\n");
        server.stop_background();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
