//! Stands in for the in-process server while this branch has none: a second redis-server.

use std::net::SocketAddr;

use super::oracle::Oracle;

/// A server to be compared with the oracle.
pub struct Server(Oracle);

impl Server {
    /// Starts it.
    pub fn start(_shards: usize) -> Self {
        Self(Oracle::start())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr()
    }
}
