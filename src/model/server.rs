//! Servers. Terms are HAProxy's where it has one.

use std::net::IpAddr;
use std::time::Duration;

use super::check::{Agent, Check};
use super::name::ServerName;
use super::socket::{ProxyVersion, Source};

/// One server of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Name, unique in its pool.
    pub name: String,
    /// Its address; unspecified (`0.0.0.0`, `::`) for one that is known by its name, and for one that is reached at the address
    /// that the client connected to.
    pub address: IpAddr,
    /// Its name, where that is resolved while the process runs.
    pub name_of: Option<ServerName>,
    /// Its port, relative to the one the client connected to.
    pub port: ServerPort,
    /// Weight, 0 to 256; 0 gets sticky clients only.
    pub weight: u16,
    /// Used only when no other is usable.
    pub backup: bool,
    /// It starts in maintenance (HAProxy's `disabled`).
    pub disabled: bool,
    /// Concurrent connections; of a full server more wait for room, or go elsewhere where they may.
    pub max_connections: Option<u32>,
    /// Connections it takes in any case; between these and `max_connections` its limit follows the load of the pool, see
    /// [`Pool::full_load`](super::Pool::full_load) (HAProxy's `minconn`). None: `max_connections` is the limit.
    pub min_connections: Option<u32>,
    /// Connections that wait for this server (HAProxy's `maxqueue`); more go elsewhere. None: any number.
    pub max_queue: Option<u32>,
    /// After it came back, weight and `max_connections` grow to their full size over this time.
    pub slow_start: Option<Duration>,
    /// Clients that it serves are not remembered (HAProxy's `non-stick`).
    pub non_stick: bool,
    /// Its health is another server's (HAProxy's `track`).
    pub track: Option<ServerRef>,
    /// What failed connections say about its health (HAProxy's `observe layer4`).
    pub observe: Option<Observe>,
    /// Its health check; none: always considered up.
    pub check: Option<Check>,
    /// Its agent, if one is asked.
    pub agent: Option<Agent>,
    /// What happens to its connections when it goes down.
    pub on_marked_down: OnMarkedDown,
    /// It is told each client's address before the client's first byte.
    pub send_proxy: Option<ProxyVersion>,
    /// Where connections to it come from; none: the kernel's choice.
    pub source: Option<Source>,
    /// If it acknowledges nothing for so long it is gone (TCP_USER_TIMEOUT).
    pub user_timeout: Option<Duration>,
    /// The client's first bytes may go with the SYN (TCP_FASTOPEN_CONNECT).
    pub fast_open: bool,
    /// What happens to the connections of its pool's backups when it comes up.
    pub on_marked_up: OnMarkedUp,
}

impl Server {
    /// One on the client's port, without a check; everything else as when nothing is configured.
    #[must_use]
    pub fn new(name: impl Into<String>, address: IpAddr) -> Self {
        Self {
            name: name.into(),
            address,
            name_of: None,
            port: ServerPort::Same,
            weight: 1,
            backup: false,
            disabled: false,
            max_connections: None,
            min_connections: None,
            max_queue: None,
            slow_start: None,
            non_stick: false,
            track: None,
            observe: None,
            check: None,
            agent: None,
            on_marked_down: OnMarkedDown::Keep,
            send_proxy: None,
            source: None,
            user_timeout: None,
            fast_open: false,
            on_marked_up: OnMarkedUp::Keep,
        }
    }

    /// Whether it is reached at the address that the client connected to (HAProxy's `server s 0.0.0.0:80`).
    #[must_use]
    pub fn follows_clients(&self) -> bool {
        self.name_of.is_none() && self.address.is_unspecified()
    }
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

/// What an administrator lets a server do, HAProxy's administrative state: the greater, the less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum AdminState {
    /// Serve.
    #[default]
    Ready,
    /// Serve the clients that stickiness brings, and nobody new.
    Drain,
    /// Serve nobody.
    Maintenance,
}

impl AdminState {
    /// Its name in logs, pages and HAProxy's `set server ... state`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maint",
        }
    }
}

/// What happens to a server's connections when it goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnMarkedDown {
    /// They go on for as long as they can.
    Keep,
    /// They are reset (HAProxy's `on-marked-down shutdown-sessions`).
    ShutdownSessions,
}

/// What happens to the connections of the backups when a server comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnMarkedUp {
    /// They go on for as long as they can.
    Keep,
    /// They are reset (HAProxy's `on-marked-up shutdown-backup-sessions`).
    ShutdownBackupSessions,
}

/// A server, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerRef {
    /// Its pool.
    pub pool: String,
    /// Its name there.
    pub server: String,
}

/// What failed connections say about a server's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observe {
    /// So many in a row mean something; at least 1 (HAProxy's `error-limit`).
    pub error_limit: u32,
    /// What they mean.
    pub on_error: OnError,
}

/// What connections mean that failed in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnError {
    /// The next check comes soon.
    FastCheck,
    /// A failed check, and the next one comes soon.
    FailCheck,
    /// As many failed checks as leave one more until it is down, and the next one comes soon.
    SuddenDeath,
    /// It is down.
    MarkDown,
}
