//! One moment of the process as a plain value: what every page, the metrics and `vipgate status` show.
//! Durations are seconds, sizes are bytes.

mod router;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::model::{AdminState, Affinity, Algorithm, Config, ListenAddress, Pool, Server, ServerPort, Service};

use super::check::{LastCheckSnapshot, unix_seconds};
use super::notify::NotifySnapshot;
use super::process::ProcessSnapshot;
use super::registry::{EndReason, Health, Registry, ServiceState};
use super::times::TimesSnapshot;
use super::verdict::Verdict;
pub use router::{MasterSnapshot, RejectedSnapshot, RouterSnapshot, StrangerSnapshot};

/// One moment of the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The node's name; none where it is not to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The program's version; none where it is not to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Since the process started.
    pub uptime_seconds: f64,
    /// All in one word.
    pub verdict: Verdict,
    /// Why the verdict is not better, the worst first; one line each.
    pub causes: Vec<String>,
    /// What the operator should know and that changes no verdict.
    pub warnings: Vec<String>,
    /// Virtual routers, in the order of the configuration.
    pub routers: Vec<RouterSnapshot>,
    /// Services, in the order of the configuration.
    pub services: Vec<ServiceSnapshot>,
    /// Pools, in the order of the configuration.
    pub pools: Vec<PoolSnapshot>,
    /// What was told about transitions.
    #[serde(default)]
    pub notify: NotifySnapshot,
    /// The process.
    pub process: ProcessSnapshot,
}

/// What a snapshot needs beside the counters and the configuration; `app` knows it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Now.
    pub now: Instant,
    /// When the process started.
    pub started: Instant,
    /// The node's name where the configuration has none: the host's.
    pub host_name: String,
    /// Data-plane threads.
    pub workers: usize,
    /// Proxied connections that may be open at a time.
    pub connection_limit: u64,
    /// Troubles only `app` knows, such as `keepalived (pid 123) also speaks VRRP here`; each makes the verdict
    /// at least degraded.
    pub troubles: Vec<String>,
    /// Warnings that change no verdict.
    pub warnings: Vec<String>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// Its name.
    pub name: String,
    /// Where it listens, as `address:port` or `address:first-last`.
    pub listen: Vec<String>,
    /// The pool its connections go to.
    pub pool: String,
    /// Whether a new connection would find a server.
    pub ready: bool,
    /// Whether it listens.
    #[serde(default)]
    pub state: ServiceState,
    /// Connections open now.
    pub open: u64,
    /// Most connections open at once.
    pub open_max: u64,
    /// Most connections it may have open.
    pub max_connections: Option<u32>,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections ended, by reason; every reason is there.
    pub ended: BTreeMap<String, u64>,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Times a limit made it stop accepting.
    pub limited: u64,
    /// Connections accepted in the last second.
    #[serde(default)]
    pub rate: u64,
    /// Connections accepted in the best second.
    #[serde(default)]
    pub rate_max: u64,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolSnapshot {
    /// Its name.
    pub name: String,
    /// How a server is chosen when nothing is remembered.
    pub algorithm: String,
    /// How a client stays with its server.
    pub affinity: String,
    /// For how long it has had a server, or none; none: since the start.
    #[serde(default)]
    pub since_seconds: Option<f64>,
    /// How often its last server went down.
    #[serde(default)]
    pub downs: u64,
    /// Time without a server.
    #[serde(default)]
    pub downtime_seconds: f64,
    /// Connections that wait for a server with room.
    #[serde(default)]
    pub queued: u64,
    /// Most that waited at once.
    #[serde(default)]
    pub queued_max: u64,
    /// Connections that no server was given to.
    #[serde(default)]
    pub unserved: u64,
    /// Servers, in the order of the configuration.
    pub servers: Vec<ServerSnapshot>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerSnapshot {
    /// Its name.
    pub name: String,
    /// The names of its TLS ticket keys as far as learnt, in hexadecimal, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_names: Vec<String>,
    /// Its address and port, as `192.0.2.1:same`, `192.0.2.1:80` or `192.0.2.1:+1000`; its name in the place of an address
    /// that is not known yet.
    pub address: String,
    /// Weight in force, 0 to 256.
    pub weight: u16,
    /// Used only when no other is usable.
    pub backup: bool,
    /// Serves only the clients that stickiness brings.
    #[serde(default)]
    pub draining: bool,
    /// Health.
    pub health: Health,
    /// Where its rise/fall counter stands; none without a check.
    pub counter: Option<Counter>,
    /// Last check's result in words.
    pub reason: String,
    /// For how long it has been in that health.
    pub since_seconds: Option<f64>,
    /// The last check made.
    pub last_check: Option<LastCheckSnapshot>,
    /// Its checks pass and ask for no new clients.
    #[serde(default)]
    pub stopping: bool,
    /// What an administrator set it to: `ready`, `drain`, `maint`.
    #[serde(default)]
    pub admin: String,
    /// The server that it tracks, as `pool/server`, and what is in force for that, where it is not `ready`.
    #[serde(default)]
    pub follows: Option<(String, String)>,
    /// What its agent said last.
    #[serde(default)]
    pub agent: Option<LastCheckSnapshot>,
    /// It is down because its agent says so.
    #[serde(default)]
    pub agent_down: bool,
    /// When the certificate it showed to the last check expires, in seconds since 1970.
    #[serde(default)]
    pub certificate_expires: Option<u64>,
    /// It answers this node's own address, and what it sends to clients' addresses does not come back here.
    #[serde(default)]
    pub return_path_lost: bool,
    /// Local ports that its `source` allows; none: those of the kernel, see [`ProcessSnapshot::local_ports`].
    #[serde(default)]
    pub source_ports: Option<u64>,
    /// Connections for which every source port towards it was taken.
    #[serde(default)]
    pub portless: u64,
    /// How long ago that was so last.
    #[serde(default)]
    pub portless_seconds: Option<f64>,
    /// Most connections it may have open.
    pub max_connections: Option<u32>,
    /// Where it is checked.
    #[serde(default)]
    pub check_target: Option<SocketAddr>,
    /// Its checks are not made for now.
    #[serde(default)]
    pub check_paused: bool,
    /// Where its agent is asked.
    #[serde(default)]
    pub agent_target: Option<SocketAddr>,
    /// Its agent is not asked for now.
    #[serde(default)]
    pub agent_paused: bool,
    /// Connections open now.
    pub open: u64,
    /// Most connections open at once.
    pub open_max: u64,
    /// Connections given to it.
    pub chosen: u64,
    /// Bytes sent to it.
    pub bytes_in: u64,
    /// Bytes received from it.
    pub bytes_out: u64,
    /// Connection attempts that failed.
    pub connect_errors: u64,
    /// Attempts repeated on it.
    pub retries: u64,
    /// Connections moved away from it after a failed attempt.
    pub redispatches: u64,
    /// Checks made.
    pub checks: u64,
    /// Checks that failed while it was up.
    pub checks_failed: u64,
    /// Times it went down.
    pub downs: u64,
    /// Time it has been down.
    #[serde(default)]
    pub downtime_seconds: f64,
    /// Connections given to it in the last second.
    #[serde(default)]
    pub rate: u64,
    /// Connections given to it in the best second.
    #[serde(default)]
    pub rate_max: u64,
    /// How long ago it was given the last one.
    #[serde(default)]
    pub last_session_seconds: Option<f64>,
    /// How long its last connections took.
    #[serde(default)]
    pub times: TimesSnapshot,
    /// Connections that clients broke off.
    #[serde(default)]
    pub client_aborts: u64,
    /// Connections that it broke off.
    #[serde(default)]
    pub server_aborts: u64,
    /// Connections that wait for this server in particular.
    #[serde(default)]
    pub queued: u64,
    /// Most that waited at once.
    #[serde(default)]
    pub queued_max: u64,
}

/// A rise/fall counter: 0 to rise + fall - 1, up from `rise` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Where it stands.
    pub now: u32,
    /// Successes that make the server up.
    pub rise: u32,
    /// Failures that make it down.
    pub fall: u32,
}

impl Snapshot {
    /// The moment `around.now`, as `registry` and `config` tell it.
    #[must_use]
    pub fn take(registry: &Registry, config: &Config, around: Surroundings) -> Self {
        let now = around.now;
        let pools: Vec<PoolSnapshot> =
            config.pools.iter().map(|pool| PoolSnapshot::take(registry, pool, now)).collect();
        let services = config.services.iter().map(|service| ServiceSnapshot::take(registry, service, &pools)).collect();
        let mut process = ProcessSnapshot::measure(around.workers);
        process.descriptor_shortages = load(&registry.descriptor_shortages);
        process.connection_limit = around.connection_limit;
        process.rate = registry.pulse.rate();
        process.rate_max = registry.pulse.rate_max();
        process.log_lines_lost = load(&registry.log_lines_lost);
        process.stray_adverts = load(&registry.stray_adverts);
        process.late_wakes = registry.late_wakes.snapshot();
        let mut snapshot = Self {
            node: Some(config.global.node.clone().unwrap_or(around.host_name)),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            uptime_seconds: seconds(now.saturating_duration_since(around.started)),
            verdict: Verdict::Ok,
            causes: Vec::new(),
            warnings: around.warnings,
            routers: config.routers.iter().map(|router| RouterSnapshot::take(registry, config, router, now)).collect(),
            services,
            pools,
            notify: registry.notify.snapshot(),
            process,
        };
        snapshot.judge(around.troubles);
        snapshot
    }

    /// As `/stats.json` and `vipgate status --json` show it.
    ///
    /// # Errors
    /// None that a snapshot can cause.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

impl ServiceSnapshot {
    fn take(registry: &Registry, service: &Service, pools: &[PoolSnapshot]) -> Self {
        let stats = registry.service(&service.name);
        let status = stats.status();
        let ended = EndReason::ALL.iter().map(|why| (why.label().to_owned(), stats.ended(*why))).collect();
        Self {
            name: service.name.clone(),
            listen: service.listen.iter().map(listen_text).collect(),
            pool: service.pool.clone(),
            ready: pools
                .iter()
                .filter(|pool| service.pools().any(|name| *name == pool.name))
                .any(|pool| pool.servers.iter().any(ServerSnapshot::usable)),
            open: load(&stats.open),
            open_max: load(&stats.open_max),
            state: status.state,
            max_connections: in_force(status.limit, service.max_connections),
            accepted: load(&stats.accepted),
            ended,
            bytes_in: load(&stats.bytes_in),
            bytes_out: load(&stats.bytes_out),
            limited: load(&stats.limited),
            rate: stats.pulse.rate(),
            rate_max: stats.pulse.rate_max(),
        }
    }
}

impl PoolSnapshot {
    fn take(registry: &Registry, pool: &Pool, now: Instant) -> Self {
        let (status, stats) = (registry.pool_status(&pool.name), registry.pool(&pool.name));
        Self {
            name: pool.name.clone(),
            algorithm: match pool.algorithm {
                Algorithm::RoundRobin => "round robin",
                Algorithm::StaticRoundRobin => "static round robin",
                Algorithm::LeastConnections => "least connections",
                Algorithm::First => "first",
                Algorithm::Random(_) => "random",
                Algorithm::Source => "source hash",
                Algorithm::Sni => "server name hash",
                Algorithm::RdpUser => "RDP user hash",
            }
            .to_owned(),
            affinity: match pool.affinity {
                Affinity::None => "none",
                Affinity::Source => "source hash",
                Affinity::Table(_) => "source table",
                Affinity::Tls(_) => "TLS session",
            }
            .to_owned(),
            since_seconds: status.since.map(|since| ago(since, now)),
            downs: status.downs,
            downtime_seconds: seconds(status.downtime),
            queued: load(&stats.queued),
            queued_max: load(&stats.queued_max),
            unserved: load(&stats.unserved),
            servers: pool.servers.iter().map(|server| ServerSnapshot::take(registry, pool, server, now)).collect(),
        }
    }

    /// Usable servers, as (active, backup).
    #[must_use]
    pub fn usable(&self) -> (usize, usize) {
        let backup = self.servers.iter().filter(|server| server.usable() && server.backup).count();
        let all = self.servers.iter().filter(|server| server.usable()).count();
        (all - backup, backup)
    }
}

impl ServerSnapshot {
    fn take(registry: &Registry, pool: &Pool, server: &Server, now: Instant) -> Self {
        let stats = registry.server(&pool.name, &server.name);
        let status = stats.status();
        // The configuration says whether it is checked at all; before its first check a server is taken for up.
        let configured = if server.disabled { AdminState::Maintenance } else { AdminState::Ready };
        let own = status.admin.unwrap_or(configured);
        let admin = own.max(status.followed);
        let judged = server.check.is_some() || server.agent.is_some() || server.track.is_some();
        let health = match (admin == AdminState::Maintenance, judged, status.health) {
            (true, _, _) => Health::Disabled,
            (false, false, Health::Up | Health::Unchecked | Health::Disabled) => Health::Unchecked,
            (false, _, Health::Down) => Health::Down,
            (false, true, Health::Up | Health::Unchecked | Health::Disabled) => Health::Up,
        };
        Self {
            name: server.name.clone(),
            key_names: status.key_names.clone(),
            address: match (status.place, &server.name_of) {
                (None, Some(name)) if server.address.is_unspecified() => place_text(name.name.clone(), server.port),
                (place, _) => {
                    let (address, port) = place.unwrap_or((server.address, server.port));
                    place_text(host(address), port)
                }
            },
            weight: status.weight.unwrap_or(server.weight),
            backup: server.backup,
            draining: admin == AdminState::Drain,
            health,
            counter: server.check.as_ref().map(|check| Counter {
                now: status.counter.map_or(check.rise, |(now, _)| now),
                rise: check.rise,
                fall: check.fall,
            }),
            reason: status.reason,
            since_seconds: status.since.map(|since| ago(since, now)),
            last_check: status.last_check.map(|check| LastCheckSnapshot::of(check, now)),
            stopping: status.stopping,
            admin: own.label().to_owned(),
            follows: (status.tracks.filter(|_| status.followed > AdminState::Ready))
                .map(|tracked| (tracked, status.followed.label().to_owned())),
            agent: status.agent.map(|said| LastCheckSnapshot::of(said, now)),
            agent_down: status.agent_down,
            certificate_expires: status.certificate_expires.map(unix_seconds),
            return_path_lost: stats.return_path_lost.load(Ordering::Relaxed),
            source_ports: server.source.as_ref().and_then(|source| source.ports).map(|ports| ports.len() as u64),
            portless: load(&stats.portless),
            portless_seconds: status.portless_at.map(|at| ago(at, now)),
            max_connections: in_force(status.limit, server.max_connections),
            check_target: status.check_target,
            check_paused: status.check_paused,
            agent_target: status.agent_target,
            agent_paused: status.agent_paused,
            open: load(&stats.open),
            open_max: load(&stats.open_max),
            chosen: load(&stats.chosen),
            bytes_in: load(&stats.bytes_in),
            bytes_out: load(&stats.bytes_out),
            connect_errors: load(&stats.connect_errors),
            retries: load(&stats.retries),
            redispatches: load(&stats.redispatches),
            checks: load(&stats.checks),
            checks_failed: load(&stats.checks_failed),
            downs: load(&stats.downs),
            downtime_seconds: seconds(status.downtime),
            rate: stats.pulse.rate(),
            rate_max: stats.pulse.rate_max(),
            last_session_seconds: stats.pulse.last().map(|last| ago(last, now)),
            times: stats.times.snapshot(),
            client_aborts: load(&stats.client_aborts),
            server_aborts: load(&stats.server_aborts),
            queued: load(&stats.queued),
            queued_max: load(&stats.queued_max),
        }
    }

    /// Whether a new client may be given to it. Weight 0 keeps only the clients it has.
    #[must_use]
    pub fn usable(&self) -> bool {
        match self.health {
            Health::Up | Health::Unchecked => self.weight > 0 && !self.draining && !self.stopping,
            Health::Down | Health::Disabled => false,
        }
    }
}

/// What was set while it runs (0 for no limit), else what the configuration says.
fn in_force(set: Option<u32>, configured: Option<u32>) -> Option<u32> {
    match set {
        Some(limit) => Some(limit).filter(|limit| *limit > 0),
        None => configured,
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) fn ago(then: Instant, now: Instant) -> f64 {
    seconds(now.saturating_duration_since(then))
}

/// To the microsecond: more digits say nothing and make the JSON long.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

fn listen_text(listen: &ListenAddress) -> String {
    let text = format!("{}:{}", host(listen.address), listen.ports);
    listen.interface.as_ref().map_or(text.clone(), |interface| format!("{text}%{interface}"))
}

fn place_text(address: String, port: ServerPort) -> String {
    match port {
        ServerPort::Same => format!("{address}:same"),
        ServerPort::Fixed(port) => format!("{address}:{port}"),
        ServerPort::Offset(offset) => format!("{address}:{offset:+}"),
    }
}

fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
