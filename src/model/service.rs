//! TCP services and the pools of servers behind them. Terms are HAProxy's where it has one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::net::ListenAddress;

/// A TCP service: where clients connect, HAProxy's `frontend`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique name.
    pub name: String,
    /// Where it listens.
    pub listen: Vec<ListenAddress>,
    /// Name of the pool its connections go to.
    pub pool: String,
    /// Concurrent connections; beyond it, clients wait in the listen queue.
    pub max_connections: Option<u32>,
    /// Longest silence of a client; none: for ever.
    pub client_timeout: Option<Duration>,
    /// Longest silence of a client that half-closed (HAProxy's `timeout client-fin`); none: `client_timeout`.
    pub client_fin_timeout: Option<Duration>,
    /// TCP keep-alive probes towards clients.
    pub client_keepalive: bool,
    /// Listen queue length; the kernel's somaxconn bounds it.
    pub backlog: u32,
    /// One log line a connection.
    pub log: bool,
}

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

/// One server of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Name, unique in its pool.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port, relative to the one the client connected to.
    pub port: ServerPort,
    /// Weight, 0 to 256; 0 gets sticky clients only.
    pub weight: u16,
    /// Used only when no other is usable.
    pub backup: bool,
    /// Configured out of use (HAProxy's `disabled`).
    pub disabled: bool,
    /// Concurrent connections; a full server is passed over.
    pub max_connections: Option<u32>,
    /// Its health check; none: always considered up.
    pub check: Option<Check>,
    /// What happens to its connections when it goes down.
    pub on_marked_down: OnMarkedDown,
}

/// The port a server is reached on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerPort {
    /// The client's destination port.
    Same,
    /// Always this one.
    Fixed(u16),
    /// The client's destination port plus this.
    Offset(i32),
}

impl ServerPort {
    /// The port for a client that connected to `client_port`; none when an offset leaves 1 to 65535.
    #[must_use]
    pub fn resolve(self, client_port: u16) -> Option<u16> {
        match self {
            Self::Same => Some(client_port),
            Self::Fixed(port) => Some(port),
            Self::Offset(offset) => {
                u16::try_from(i32::from(client_port).checked_add(offset)?).ok().filter(|port| *port != 0)
            }
        }
    }
}

/// A TCP connect check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where it connects.
    pub target: SocketAddr,
    /// Between checks at full health.
    pub interval: Duration,
    /// Between checks in transition (HAProxy's `fastinter`).
    pub fast_interval: Duration,
    /// Between checks while down (HAProxy's `downinter`).
    pub down_interval: Duration,
    /// Longest wait for a result.
    pub timeout: Duration,
    /// Successes that make it up; at least 1.
    pub rise: u32,
    /// Failures that make it down; at least 1.
    pub fall: u32,
}

/// What happens to a server's connections when it goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnMarkedDown {
    /// They go on for as long as they can.
    Keep,
    /// They are reset (HAProxy's `on-marked-down shutdown-sessions`).
    ShutdownSessions,
}
