//! The validated configuration and the vocabulary every room shares. No I/O, no clock, std only.
//!
//! A [`Config`] is a plain value: two of them compare with `==`, part by part, and that comparison *is* the
//! reload. Every room keeps what it runs keyed by name and is handed the new slice; what compares equal is not
//! touched.

mod check;
mod check_presets;
mod check_result;
mod command;
mod condition;
mod control;
mod estate;
pub mod expression;
pub mod figure;
pub mod list;
mod log;
mod name;
mod net;
mod networks;
mod notify;
mod opening;
pub mod page;
pub mod page_standard;
mod peering;
mod peers;
mod pool;
pub mod returning;
mod routing;
pub mod rule;
mod server;
mod service;
mod socket;
mod source_table;
mod stick;
mod track;
pub mod value;
mod vrrp;

use std::time::Duration;

pub use check::{
    Action, Agent, Answer, Check, CheckKind, CommandCheck, Connect, Conversation, DatabaseRole, Expect, HeaderPattern,
    HttpExpect, HttpPattern, HttpRequest, Pattern, PostgresLogin, Step, TextPattern, Tls, Trust,
};
pub(crate) use check_presets::postgres_startup;
pub use check_result::CheckResult;
pub use command::{COMMAND_PATH, Command, User};
pub use control::{AccessLevel, Descriptor, SocketPlace, StatsSocket};
pub use estate::{Estate, OwnedAddress, PreparedPacket};
pub use log::{ConnectionLine, Log, LogDress, LogFormat, LogLevel, LogPlace, LogSample, LogTarget, Severity};
pub use name::{Hold, NameKind, NameServer, Resolver, ServerName, Wanted};
pub use net::{Family, InterfaceName, Invalid, ListenAddress, PortRange, Prefix};
pub use networks::Networks;
pub use notify::{Fifo, Hooks, Mail, Notify, NotifyTargets};
pub use opening::Opening;
pub use page::{Page, Statistics};
pub use peering::{PeerLink, PeerPlace, Peering};
pub use peers::{Member, PeerGroup, PeerKeys};
pub use pool::{Affinity, Algorithm, Failback, HashType, Pool, RefuseWith, TableSpec, TlsAffinity, TlsFallback};
pub use routing::{Route, RouteKind, Rule};
pub use rule::Policy;
pub use server::{AdminState, Observe, OnError, OnMarkedDown, OnMarkedUp, Server, ServerPort, ServerRef};
pub use service::Service;
pub use socket::{KeepAlive, ListenTuning, ProxyVersion, Source, Transparent};
pub use stick::{Key, KeyType, StickAction, StickKeys, StickRule};
pub use track::{
    ArgumentsMatch, FileCheck, GatewayCheck, ProbeMethod, ProcessCheck, RouteCheck, ScriptCheck, Track, TrackState,
    Tracked, Tracker, Watched,
};
pub use vrrp::{
    Announce, ChecksumMode, HmacKey, InitialState, Interval, Password, Peer, Priority, Scope, SyncGroup, Version,
    VirtualAddress, VirtualRouter, Vmac, Vrid,
};

/// Where a vipgate listens for its peers' sessions, on the address it advertises from.
pub const DEFAULT_PEER_PORT: u16 = 11_200;

/// Everything one process runs, validated: names are unique and every reference resolves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Settings of the process as a whole.
    pub global: Global,
    /// The virtual routers, by unique name.
    pub routers: Vec<VirtualRouter>,
    /// Routers that move together, by unique name.
    pub groups: Vec<SyncGroup>,
    /// What routers and groups follow, by unique name.
    pub trackers: Vec<Tracker>,
    /// Routes that are there as long as the process runs.
    pub routes: Vec<Route>,
    /// Rules that are there as long as the process runs.
    pub rules: Vec<Rule>,
    /// Where transitions are told.
    pub notify: NotifyTargets,
    /// The TCP services, by unique name.
    pub services: Vec<Service>,
    /// The server pools, by unique name.
    pub pools: Vec<Pool>,
    /// Who is asked for the names of servers, by unique name.
    pub resolvers: Vec<Resolver>,
    /// Nodes that share stick tables.
    pub peer_groups: Vec<PeerGroup>,
    /// HTTP pages that the node answers itself, by unique name; `[stats]` is one of them.
    pub pages: Vec<Page>,
    /// Control sockets that speak HAProxy's language.
    pub stats_sockets: Vec<StatsSocket>,
}

/// Settings of the process as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// The node's name in status, logs and pages; the host name when not configured.
    pub node: Option<String>,
    /// Data-plane threads; one a core when not configured. Fixed for the life of the process.
    pub workers: Option<usize>,
    /// Concurrent proxied connections over all services; bounded by the descriptor limit when not configured.
    pub max_connections: Option<u32>,
    /// A worker writes for many connections at once where the kernel permits it. Fixed for the life of the process.
    pub io_uring: bool,
    /// How long open flows may go on after TERM once the addresses are with the successor.
    pub stop_grace: Duration,
    /// How long `vipgate drain` waits for the last flow.
    pub drain_timeout: Duration,
    /// Health checks are spread by up to this many percent of their interval (HAProxy's `spread-checks`), 0 to 50.
    pub spread_checks: u8,
    /// Scripts that somebody else than root could change are not run as root (keepalived's `enable_script_security`).
    pub script_security: bool,
    /// Port of the session between the nodes by which a dead process is told from a silent one; none: no session.
    pub peer_port: Option<u16>,
    /// What is logged.
    pub log: Log,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            node: None,
            workers: None,
            max_connections: None,
            io_uring: true,
            stop_grace: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(3600),
            spread_checks: 5,
            script_security: true,
            peer_port: Some(DEFAULT_PEER_PORT),
            log: Log::default(),
        }
    }
}

impl Config {
    /// The pool called `name`.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The server `name` of the pool called `pool`.
    #[must_use]
    pub fn server(&self, pool: &str, name: &str) -> Option<&Server> {
        self.pool(pool)?.server(name)
    }

    /// The lists that its rules ask, and what they have.
    pub fn lookups(&self) -> impl Iterator<Item = (&list::Lookup, list::Kind)> {
        let of_services = self.services.iter().filter_map(|service| service.policy.as_ref());
        let of_pools = self.pools.iter().filter_map(|pool| pool.policy.as_ref());
        let sticks = self.pools.iter().flat_map(|pool| &pool.stick).flat_map(StickRule::lookups);
        let pages = self.pages.iter().flat_map(Page::conditions);
        let policies = of_services.chain(of_pools).flat_map(|policy| policy.lookups());
        let lines = self.services.iter().flat_map(|service| service.log_line.lookups());
        policies.chain(lines).chain(sticks).chain(pages.flat_map(rule::Condition::lookups))
    }

    /// Whether a server sees connections from other addresses than this node's.
    #[must_use]
    pub fn is_transparent(&self) -> bool {
        let sources = self.pools.iter().flat_map(|pool| &pool.servers).filter_map(|server| server.source.as_ref());
        sources.into_iter().any(|source| source.transparent.is_some())
    }

    /// The services whose listen addresses include one of `router`'s addresses, or that it names: those whose
    /// readiness decides whether it may be master.
    pub fn fronted<'a>(&'a self, router: &'a VirtualRouter) -> impl Iterator<Item = &'a Service> {
        self.services.iter().filter(|service| router.fronts.contains(&service.name))
    }
}
