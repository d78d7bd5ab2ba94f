//! Servers. Terms are HAProxy's where it has one.

use std::net::IpAddr;

use super::check::Check;

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
    /// It starts in maintenance (HAProxy's `disabled`).
    pub disabled: bool,
    /// Concurrent connections; a full server is passed over.
    pub max_connections: Option<u32>,
    /// Its health check; none: always considered up.
    pub check: Option<Check>,
    /// What happens to its connections when it goes down.
    pub on_marked_down: OnMarkedDown,
}

impl Server {
    /// One on the client's port, without a check; everything else as when nothing is configured.
    #[must_use]
    pub fn new(name: impl Into<String>, address: IpAddr) -> Self {
        Self {
            name: name.into(),
            address,
            port: ServerPort::Same,
            weight: 1,
            backup: false,
            disabled: false,
            max_connections: None,
            check: None,
            on_marked_down: OnMarkedDown::Keep,
        }
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

/// What an administrator lets a server do, HAProxy's administrative state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
