//! TCP services: where clients connect. Terms are HAProxy's where it has one.

use std::sync::Arc;
use std::time::Duration;

use super::log::{ConnectionLine, LogTarget, Severity};
use super::net::ListenAddress;
use super::rule::Policy;
use super::socket::KeepAlive;

/// A TCP service: where clients connect, HAProxy's `frontend`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique name.
    pub name: String,
    /// Where it listens.
    pub listen: Vec<ListenAddress>,
    /// Name of the pool its connections go to, unless a rule says otherwise.
    pub pool: String,
    /// Concurrent connections; beyond it, clients wait in the listen queue.
    pub max_connections: Option<u32>,
    /// Longest silence of a client; none: for ever.
    pub client_timeout: Option<Duration>,
    /// Longest silence of a client that half-closed (HAProxy's `timeout client-fin`); none: `client_timeout`.
    pub client_fin_timeout: Option<Duration>,
    /// TCP keep-alive probes towards clients; none: they are not probed.
    pub client_keepalive: Option<KeepAlive>,
    /// Clients' connections are closed in the ordinary way; otherwise with a reset: what a client has not taken by then is lost
    /// (HAProxy's `option nolinger`).
    pub client_linger: bool,
    /// Listen queue length; the kernel's somaxconn bounds it.
    pub backlog: u32,
    /// One log line a connection.
    pub log: bool,
    /// What that line looks like.
    pub log_line: ConnectionLine,
    /// Where it goes; none: to the targets of the process.
    pub log_targets: Option<Arc<[LogTarget]>>,
    /// Also one for a connection whose client sent nothing (HAProxy's `option dontlognull` says no).
    pub log_empty: bool,
    /// Also one for a connection that went well (HAProxy's `option dontlog-normal` says no).
    pub log_normal: bool,
    /// One that did not go well is logged as so severe (HAProxy's `option log-separate-errors`).
    pub log_errors_as: Severity,
    /// The line is written once the server has accepted, not at the end (HAProxy's `option logasap`).
    pub log_early: bool,
    /// The program's name in the lines of its connections (HAProxy's `log-tag`); none: the one of the process.
    pub log_tag: Option<Arc<str>>,
    /// Who is turned away and where the others go, unless all of them go to `pool`.
    pub policy: Option<Arc<Policy>>,
}

impl Service {
    /// One whose connections go to `pool`, which listens nowhere yet; everything else as when nothing is configured.
    #[must_use]
    pub fn new(name: impl Into<String>, pool: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            listen: Vec::new(),
            pool: pool.into(),
            max_connections: None,
            client_timeout: None,
            client_fin_timeout: None,
            client_keepalive: Some(KeepAlive::default()),
            client_linger: true,
            backlog: 4096,
            log: true,
            log_line: ConnectionLine::AsLog,
            log_targets: None,
            log_empty: true,
            log_normal: true,
            log_errors_as: Severity::Info,
            log_early: false,
            log_tag: None,
            policy: None,
        }
    }

    /// Names of the pools that it may send connections to, and of those that its rules look at. Some may come twice.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.pool.as_str()).chain(self.policy.iter().flat_map(|policy| policy.pools()))
    }
}
