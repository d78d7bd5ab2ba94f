//! Pools: the servers behind services, and how one of them is chosen. Terms are HAProxy's where it has one.

use std::time::Duration;

use super::server::Server;

/// A pool of servers, HAProxy's `backend`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Unique name.
    pub name: String,
    /// How a server is chosen when nothing is remembered.
    pub algorithm: Algorithm,
    /// How a client stays with its server.
    pub affinity: Affinity,
    /// The servers, in the order of the file.
    pub servers: Vec<Server>,
    /// Further connection attempts after the first (HAProxy's `retries`, 3).
    pub retries: u32,
    /// Whether a retry may go to another server although stickiness named one (HAProxy's `option redispatch`).
    pub redispatch: bool,
    /// Longest wait for a server to accept; none: the kernel's.
    pub connect_timeout: Option<Duration>,
    /// Longest silence of a server; none: for ever.
    pub server_timeout: Option<Duration>,
    /// Longest silence of a server that half-closed (HAProxy's `timeout server-fin`); none: `server_timeout`.
    pub server_fin_timeout: Option<Duration>,
    /// Longest silence of an established connection in both directions; replaces `client_timeout` and
    /// `server_timeout` once the relay runs (HAProxy's `timeout tunnel`).
    pub tunnel_timeout: Option<Duration>,
    /// TCP keep-alive probes towards servers.
    pub server_keepalive: bool,
    /// Backup servers serve all together, not only the first (HAProxy's `option allbackups`).
    pub all_backups: bool,
}

impl Pool {
    /// One of these servers; everything else as when nothing is configured.
    #[must_use]
    pub fn new(name: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            algorithm: Algorithm::RoundRobin,
            affinity: Affinity::None,
            servers,
            retries: 3,
            redispatch: true,
            connect_timeout: Some(Duration::from_secs(5)),
            server_timeout: None,
            server_fin_timeout: None,
            tunnel_timeout: None,
            server_keepalive: true,
            all_backups: false,
        }
    }
}

/// How a server is chosen when nothing is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest connections relative to weight; ties in turn.
    LeastConnections,
    /// Consistent hash of the client's address (Maglev, fixed seed): the same server on every node.
    Source,
}

/// How a client stays with its server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Not at all.
    None,
    /// Deterministic: the consistent hash of the source address chooses, on every node alike; only while flows of a
    /// client live does it stay where it was although the set of servers changed.
    Source,
    /// A table keyed by source address remembers the choice (HAProxy's `stick on src`).
    Table(TableSpec),
}

/// Dimensions of a stick table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableSpec {
    /// Most entries; the oldest is purged for a new one.
    pub size: usize,
    /// An entry's life after its last use; none: until it is purged.
    pub expire: Option<Duration>,
    /// A full table refuses new entries instead (HAProxy's `nopurge`).
    pub nopurge: bool,
    /// Whether IPv6 clients are kept too: HAProxy's `type ip` cannot hold them.
    pub ipv6: bool,
}
