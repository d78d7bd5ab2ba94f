//! Counters and states by name. Shells hold an `Arc` to their entry and never look a name up on the data path.
//! Entries outlive a reload: a service that stays keeps counting.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::check::LastCheck;
use crate::model::{AdminState, ServerPort};

use super::late::LateWakes;
use super::notify::NotifyStats;
use super::pulse::{PoolStatus, Pulse};
use super::router::RouterStats;
use super::times::Times;

/// All counters of the process.
#[derive(Debug, Default)]
pub struct Registry {
    routers: Mutex<BTreeMap<String, Arc<RouterStats>>>,
    services: Mutex<BTreeMap<String, Arc<ServiceStats>>>,
    pools: Mutex<BTreeMap<String, Arc<PoolStats>>>,
    servers: Mutex<BTreeMap<(String, String), Arc<ServerStats>>>,
    /// Of each pool, with whether a server was seen up in the last second.
    pub(super) pool_states: Mutex<BTreeMap<String, (PoolStatus, bool)>>,
    /// Connections accepted a second.
    pub pulse: Pulse,
    /// Accept calls that failed because the process or the system had no descriptor left.
    pub descriptor_shortages: AtomicU64,
    /// Packets of protocol 112 that belong to no virtual router of this node.
    pub stray_adverts: AtomicU64,
    /// How late the VRRP thread woke.
    pub late_wakes: LateWakes,
    /// Log lines dropped because nobody read them.
    pub log_lines_lost: AtomicU64,
    /// What was told about transitions.
    pub notify: NotifyStats,
}

/// Counters of one service.
#[derive(Debug, Default)]
pub struct ServiceStats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Most connections open at once.
    pub open_max: AtomicU64,
    /// Bytes from clients.
    pub bytes_in: AtomicU64,
    /// Bytes to clients.
    pub bytes_out: AtomicU64,
    /// Times a limit made it stop accepting.
    pub limited: AtomicU64,
    /// Connections accepted a second.
    pub pulse: Pulse,
    /// What an operator set.
    status: Mutex<ServiceStatus>,
    /// Ended connections by reason.
    ended: [AtomicU64; EndReason::ALL.len()],
}

/// Counters of one pool.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Connections that wait for a server with room now, for any or for one in particular.
    pub queued: AtomicU64,
    /// Most that waited at once.
    pub queued_max: AtomicU64,
    /// Connections that no server was given to.
    pub unserved: AtomicU64,
}

/// Counters and state of one server of a pool.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections given to it.
    pub chosen: AtomicU64,
    /// Connections open now (established or being established).
    pub open: AtomicU64,
    /// Most connections open at once.
    pub open_max: AtomicU64,
    /// Bytes sent to it.
    pub bytes_in: AtomicU64,
    /// Bytes received from it.
    pub bytes_out: AtomicU64,
    /// Connection attempts that failed.
    pub connect_errors: AtomicU64,
    /// Attempts repeated on it.
    pub retries: AtomicU64,
    /// Connections moved away from it after a failed attempt.
    pub redispatches: AtomicU64,
    /// Checks made.
    pub checks: AtomicU64,
    /// Checks that failed while it was up.
    pub checks_failed: AtomicU64,
    /// Times it went down.
    pub downs: AtomicU64,
    /// Connections given to it a second.
    pub pulse: Pulse,
    /// Connections that wait for this server in particular now.
    pub queued: AtomicU64,
    /// Most that waited at once.
    pub queued_max: AtomicU64,
    /// How long its connections took.
    pub times: Times,
    /// Connections that clients broke off.
    pub client_aborts: AtomicU64,
    /// Connections that it broke off.
    pub server_aborts: AtomicU64,
    /// Attempts that failed since the last one that did not.
    pub errors_in_row: AtomicU64,
    /// Connections for which every source port towards it was taken.
    pub portless: AtomicU64,
    /// It answers this node's own address, and what it sends to clients' addresses does not come back here.
    pub return_path_lost: AtomicBool,
    status: Mutex<ServerStatus>,
}

/// What an operator set of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceStatus {
    /// Whether it listens.
    pub state: ServiceState,
    /// Most connections it may have open, 0 for any number; none: what the configuration says.
    pub limit: Option<u32>,
}

/// Whether a service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// It does.
    #[default]
    Open,
    /// Not for now: open connections go on.
    Paused,
    /// Not until the next start.
    Stopped,
}

/// State of one server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerStatus {
    /// Health.
    pub health: Health,
    /// The rise/fall counter, as (now, maximum); none without a check.
    pub counter: Option<(u32, u32)>,
    /// Last check's result in words, such as `connection refused in 0.2 ms`.
    pub reason: String,
    /// When health last changed.
    pub since: Option<Instant>,
    /// How long it has been down, all times together.
    pub downtime: Duration,
    /// The last check made.
    pub last_check: Option<LastCheck>,
    /// Its checks pass and ask for no new clients (HAProxy's NOLB).
    pub stopping: bool,
    /// When every source port towards it was taken last.
    pub portless_at: Option<Instant>,
    /// The names of its TLS ticket keys as far as learnt, in hexadecimal, the newest first.
    pub key_names: Vec<String>,
    /// What its agent said last.
    pub agent: Option<LastCheck>,
    /// It is down because its agent says so.
    pub agent_down: bool,
    /// When the certificate it showed to the last check expires.
    pub certificate_expires: Option<SystemTime>,
    /// What an administrator lets it do; none: what the configuration says.
    pub admin: Option<AdminState>,
    /// What is in force for the server that it tracks.
    pub followed: AdminState,
    /// That server, as `pool/server`.
    pub tracks: Option<String>,
    /// Weight set while it runs; none: the configured one.
    pub weight: Option<u16>,
    /// Most connections it may have open, 0 for any number; none: what the configuration says.
    pub limit: Option<u32>,
    /// Where it is checked.
    pub check_target: Option<SocketAddr>,
    /// Its checks are not made for now.
    pub check_paused: bool,
    /// Where its agent is asked.
    pub agent_target: Option<SocketAddr>,
    /// Its agent is not asked for now.
    pub agent_paused: bool,
    /// Where it is reached since it was set while it runs; none: where the configuration says.
    pub place: Option<(IpAddr, ServerPort)>,
}

/// A server's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Without a check: taken for up.
    #[default]
    Unchecked,
    /// Passed its checks.
    Up,
    /// Failed its checks.
    Down,
    /// Configured out of use.
    Disabled,
}

/// Why a connection ended; the labels are the reasons in its log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the labels say it")]
pub enum EndReason {
    Complete,
    ClientAborted,
    ServerAborted,
    ClientTimeout,
    ServerTimeout,
    ConnectRefused,
    ConnectTimeout,
    ConnectFailed,
    NoServer,
    ServerDown,
    Moved,
    Stopped,
    Removed,
    Resources,
    Killed,
    BadProxyHeader,
    QueueTimeout,
    QueueFull,
    FailedBack,
    DeniedConnection,
    DeniedSession,
    DeniedContent,
    SourceLimit,
}

impl EndReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 23] = [
        Self::Complete,
        Self::ClientAborted,
        Self::ServerAborted,
        Self::ClientTimeout,
        Self::ServerTimeout,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::NoServer,
        Self::ServerDown,
        Self::Moved,
        Self::Stopped,
        Self::Removed,
        Self::Resources,
        Self::Killed,
        Self::BadProxyHeader,
        Self::QueueTimeout,
        Self::QueueFull,
        Self::FailedBack,
        Self::DeniedConnection,
        Self::DeniedSession,
        Self::DeniedContent,
        Self::SourceLimit,
    ];

    /// HAProxy's letter for who ended it (configuration manual, section 8.5); `-` for an end in good order.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Complete => '-',
            Self::ClientAborted => 'C',
            Self::ServerAborted | Self::ConnectRefused | Self::ConnectFailed | Self::NoServer => 'S',
            Self::ClientTimeout => 'c',
            Self::ServerTimeout | Self::ConnectTimeout => 's',
            Self::Resources => 'R',
            Self::ServerDown => 'D',
            Self::BadProxyHeader
            | Self::DeniedConnection
            | Self::DeniedSession
            | Self::DeniedContent
            | Self::SourceLimit => 'P',
            Self::QueueTimeout | Self::QueueFull => 's',
            Self::Killed | Self::FailedBack | Self::Moved | Self::Stopped | Self::Removed => 'K',
        }
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientAborted => "client-aborted",
            Self::ServerAborted => "server-aborted",
            Self::ClientTimeout => "client-timeout",
            Self::ServerTimeout => "server-timeout",
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::ConnectFailed => "connect-failed",
            Self::NoServer => "no-server",
            Self::ServerDown => "server-down",
            Self::Moved => "address-moved",
            Self::Stopped => "stopped",
            Self::Removed => "service-removed",
            Self::Resources => "out-of-resources",
            Self::Killed => "killed",
            Self::BadProxyHeader => "bad-proxy-header",
            Self::QueueTimeout => "queue-timeout",
            Self::QueueFull => "queue-full",
            Self::FailedBack => "failed-back",
            Self::DeniedConnection => "denied-connection",
            Self::DeniedSession => "denied-session",
            Self::DeniedContent => "denied-content",
            Self::SourceLimit => "source-limit",
        }
    }
}

impl Health {
    /// Its name in logs, pages and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unchecked => "no check",
            Self::Up => "up",
            Self::Down => "down",
            Self::Disabled => "disabled",
        }
    }
}

impl ServiceStats {
    /// What an operator set.
    #[must_use]
    pub fn status(&self) -> ServiceStatus {
        *lock(&self.status)
    }

    /// An operator set something.
    pub fn set_status(&self, status: ServiceStatus) {
        *lock(&self.status) = status;
    }

    /// Counts an ended connection.
    pub fn count_end(&self, reason: EndReason) {
        self.ended[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Ended connections of one reason.
    #[must_use]
    pub fn ended(&self, reason: EndReason) -> u64 {
        self.ended[reason as usize].load(Ordering::Relaxed)
    }
}

impl ServerStats {
    /// Its state.
    #[must_use]
    pub fn status(&self) -> ServerStatus {
        lock(&self.status).clone()
    }

    /// Changes its state.
    pub fn update_status(&self, change: impl FnOnce(&mut ServerStatus)) {
        change(&mut lock(&self.status));
    }
}

impl Registry {
    /// The router called `name`, made if new.
    #[must_use]
    pub fn router(&self, name: &str) -> Arc<RouterStats> {
        Arc::clone(lock(&self.routers).entry(name.to_owned()).or_default())
    }

    /// The service called `name`, made if new.
    #[must_use]
    pub fn service(&self, name: &str) -> Arc<ServiceStats> {
        Arc::clone(lock(&self.services).entry(name.to_owned()).or_default())
    }

    /// The pool called `name`, made if new.
    #[must_use]
    pub fn pool(&self, name: &str) -> Arc<PoolStats> {
        Arc::clone(lock(&self.pools).entry(name.to_owned()).or_default())
    }

    /// The server called `server` of `pool`, made if new.
    #[must_use]
    pub fn server(&self, pool: &str, server: &str) -> Arc<ServerStats> {
        Arc::clone(lock(&self.servers).entry((pool.to_owned(), server.to_owned())).or_default())
    }

    /// Every service.
    pub(super) fn all_services(&self) -> Vec<Arc<ServiceStats>> {
        lock(&self.services).values().cloned().collect()
    }

    /// Every server, with the names of its pool and itself.
    pub(super) fn all_servers(&self) -> Vec<((String, String), Arc<ServerStats>)> {
        lock(&self.servers).iter().map(|(name, server)| (name.clone(), Arc::clone(server))).collect()
    }

    /// Sets the counters of services and servers back: what was the most so far, or, with `all`, everything that is not a
    /// state (HAProxy's `clear counters`).
    pub fn clear_counters(&self, all: bool) {
        for service in self.all_services() {
            let open = service.open.load(Ordering::Relaxed);
            service.open_max.store(open, Ordering::Relaxed);
            service.pulse.forget_most();
            if all {
                let ServiceStats { accepted, bytes_in, bytes_out, limited, ended, .. } = &*service;
                zero([accepted, bytes_in, bytes_out, limited].into_iter().chain(ended));
                service.pulse.forget();
            }
        }
        for pool in lock(&self.pools).values().filter(|_| all) {
            pool.unserved.store(0, Ordering::Relaxed);
        }
        for (_, server) in self.all_servers() {
            let open = server.open.load(Ordering::Relaxed);
            server.open_max.store(open, Ordering::Relaxed);
            server.pulse.forget_most();
            server.times.forget_most();
            if all {
                zero([&server.client_aborts, &server.server_aborts].into_iter());
                server.times.forget();
                let ServerStats { chosen, bytes_in, bytes_out, connect_errors, retries, .. } = &*server;
                zero([chosen, bytes_in, bytes_out, connect_errors, retries].into_iter());
                zero(
                    [&server.portless, &server.redispatches, &server.checks, &server.checks_failed, &server.downs]
                        .into_iter(),
                );
                server.update_status(|status| status.downtime = Duration::ZERO);
                server.pulse.forget();
            }
        }
    }

    /// Forgets what the configuration no longer names.
    pub fn retain(
        &self,
        router: impl Fn(&str) -> bool,
        service: impl Fn(&str) -> bool,
        server: impl Fn(&str, &str) -> bool,
    ) {
        lock(&self.routers).retain(|name, _| router(name));
        lock(&self.services).retain(|name, _| service(name));
        let mut servers = lock(&self.servers);
        servers.retain(|(pool, name), _| server(pool, name));
        lock(&self.pool_states).retain(|pool, _| servers.keys().any(|(known, _)| known == pool));
        lock(&self.pools).retain(|name, _| servers.keys().any(|(pool, _)| pool == name));
    }
}

fn zero<'a>(counters: impl Iterator<Item = &'a AtomicU64>) {
    for counter in counters {
        counter.store(0, Ordering::Relaxed);
    }
}

/// A counter is never left half-changed, so a poisoned lock is as good as any.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
