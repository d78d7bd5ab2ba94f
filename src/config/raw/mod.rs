//! The configuration as written: the mirror of the TOML schema, every value with the place it came from.
//!
//! Two kinds of authors build it, the TOML decoder and the importers of foreign formats; one reader,
//! [`validate`](super::validate), turns it into the model. So nothing here is checked beyond its syntax: numbers are
//! as wide as they can be written, names may not resolve, and an absent key is `None`. Natively absent means the
//! native default; an importer whose format has another default sets the key.

mod check;
mod choice;
mod control;
mod log;
mod names;
mod notify;
mod page;
mod peers;
mod policy;
mod router;
mod routing;
mod socket;
mod track;

use std::net::IpAddr;
use std::time::Duration;

use super::source::Location;
use crate::model::{
    Algorithm, ConnectionLine, Descriptor, Family, InterfaceName, KeyType, OnMarkedDown, PortRange, Prefix,
    ProxyVersion, ServerPort, Severity, StickRule, TlsFallback,
};

pub use check::{
    Agent, AgentOptions, Check, CheckCommand, CheckOptions, ConnectOptions, Http, Mysql, Postgres, Protocol,
    ProxyHeader, Redis, Smtp, Step, StepAction, TlsChoice, TlsOptions,
};
pub use choice::{PoolChoice, ServerChoice};
pub use control::StatsSocket;
pub use log::{Log, LogTarget};
pub use names::{Hold, ResolveWhen, Resolver, ServerNaming};
pub use notify::{Command, Fifo, Mail, MailServer, Notify, NotifyTargets, Scripts};
pub use page::{Monitor, Page, Statistics, Stats, User};
pub use peers::{Member, PeerGroup};
pub use policy::{Captures, Limits, Policy, PoolRoute, SourceTable};
pub use router::{Announce, Hmac, Peer, SyncGroup, VirtualAddress, VirtualRouter, Vmac};
pub use routing::{Route, Rule};
pub use socket::{KeepAlive, ListenTuning, Source};
pub use track::{GatewayCheck, ProcessCheck, RouteCheck, Track, Tracked, Tracker, Watched};

/// A value and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub at: Location,
}

/// A key that may be absent.
pub type Maybe<T> = Option<Located<T>>;

impl<T> Located<T> {
    /// `value`, written at `at`.
    pub fn new(value: T, at: Location) -> Self {
        Self { value, at }
    }

    /// Another value at the same place.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), at: self.at }
    }
}

/// All of a configuration; of several files, when they were merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// `[global]`.
    pub global: Option<Global>,
    /// `[log]`.
    pub log: Option<Log>,
    /// `[stats]`.
    pub stats: Option<Stats>,
    /// `[[page]]`.
    pub pages: Vec<Page>,
    /// `[[stats-socket]]`.
    pub stats_sockets: Vec<StatsSocket>,
    /// `[scripts]`.
    pub scripts: Option<Scripts>,
    /// `[notify]`.
    pub notify: Option<NotifyTargets>,
    /// `[mail]`.
    pub mail: Option<Mail>,
    /// `[[virtual-router]]`.
    pub routers: Vec<VirtualRouter>,
    /// `[[sync-group]]`.
    pub groups: Vec<SyncGroup>,
    /// `[[tracker]]`.
    pub trackers: Vec<Tracker>,
    /// `[[route]]`.
    pub routes: Vec<Route>,
    /// `[[rule]]`.
    pub rules: Vec<Rule>,
    /// `[[service]]`.
    pub services: Vec<Service>,
    /// `[[pool]]`, and the pools written inside a service, which are named like it.
    pub pools: Vec<Pool>,
    /// `[[resolver]]`.
    pub resolvers: Vec<Resolver>,
    /// `[[peer-group]]`.
    pub peer_groups: Vec<PeerGroup>,
    /// `[[source-table]]`.
    pub source_tables: Vec<SourceTable>,
}

/// `[global]`: see [`model::Global`](crate::model::Global) for the meaning of each key.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Global {
    pub at: Location,
    pub node: Maybe<String>,
    pub workers: Maybe<u64>,
    pub max_connections: Maybe<u64>,
    pub io_uring: Maybe<bool>,
    pub stop_grace: Maybe<Duration>,
    pub drain_timeout: Maybe<Duration>,
    /// Percent.
    pub spread_checks: Maybe<u64>,
    pub peer_port: Maybe<PeerPort>,
}

impl Global {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            node: None,
            workers: None,
            max_connections: None,
            io_uring: None,
            stop_grace: None,
            drain_timeout: None,
            spread_checks: None,
            peer_port: None,
        }
    }
}

/// The port of the session between the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerPort {
    /// `false`: no session.
    Off,
    /// A number.
    Port(u64),
}

/// Text that never reaches a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `[[service]]`: see [`model::Service`](crate::model::Service).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Service {
    /// The table's header.
    pub at: Location,
    pub name: Maybe<String>,
    pub listen: Vec<Listen>,
    /// Also set when the pool's keys stand inside the service: then to the service's own name.
    pub pool: Maybe<String>,
    pub max_connections: Maybe<u64>,
    pub client_timeout: Maybe<Timeout>,
    /// Natively 5 minutes when absent; `Timeout::None`: `client_timeout` goes on.
    pub client_fin_timeout: Maybe<Timeout>,
    /// Natively on when absent.
    pub client_keepalive: Maybe<KeepAlive>,
    pub client_linger: Maybe<bool>,
    pub backlog: Maybe<u64>,
    /// `[log] connections` when absent.
    pub log: Maybe<bool>,
    pub log_line: Maybe<ConnectionLine>,
    /// None: those of `[log]`.
    pub log_targets: Vec<LogTarget>,
    /// Natively true when absent.
    pub log_empty: Maybe<bool>,
    /// Natively true when absent.
    pub log_normal: Maybe<bool>,
    pub log_errors_as: Maybe<Severity>,
    pub log_early: Maybe<bool>,
    pub log_tag: Maybe<String>,
    pub policy: Policy,
}

impl Service {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            name: None,
            listen: Vec::new(),
            pool: None,
            max_connections: None,
            client_timeout: None,
            client_fin_timeout: None,
            client_keepalive: None,
            client_linger: None,
            backlog: None,
            log: None,
            log_line: None,
            log_targets: Vec::new(),
            log_empty: None,
            log_normal: None,
            log_errors_as: None,
            log_early: None,
            log_tag: None,
            policy: Policy::default(),
        }
    }
}

/// Where a service listens: see [`model::ListenAddress`](crate::model::ListenAddress).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Listen {
    pub host: Located<Host>,
    pub ports: Located<PortRange>,
    pub interface: Maybe<InterfaceName>,
    /// Natively true when absent. False only matters for an address that is not a virtual one of the same run.
    pub nonlocal: Maybe<bool>,
    /// For `::`; false when absent.
    pub dual_stack: Maybe<bool>,
    pub proxy_from: Vec<Located<Prefix>>,
    pub tuning: ListenTuning,
    pub inherited: Maybe<Descriptor>,
}

impl Listen {
    /// Without any further key.
    #[must_use]
    pub fn new(host: Located<Host>, ports: Located<PortRange>) -> Self {
        Self {
            host,
            ports,
            interface: None,
            nonlocal: None,
            dual_stack: None,
            proxy_from: Vec::new(),
            tuning: ListenTuning::default(),
            inherited: None,
        }
    }
}

/// An address, or a name: resolved when the configuration is loaded, a server's also while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address. `*` is `0.0.0.0`.
    Address(IpAddr),
    /// Where the client connected to (`@destination`): servers only.
    Destination,
    /// A name, and the family that is wanted of it (`ipv4@name`, `ipv6@name`).
    Name(String, Option<Family>),
}

/// A host and one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// A limit in time that can also be absent on purpose, where absence of the key means a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// `"none"`.
    None,
    /// After this long.
    After(Duration),
}

/// `[[pool]]`: see [`model::Pool`](crate::model::Pool).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Pool {
    /// The table's header; the service's for a pool inside it.
    pub at: Location,
    pub name: Maybe<String>,
    pub balance: Maybe<Algorithm>,
    pub affinity: Maybe<Affinity>,
    pub retries: Maybe<u64>,
    /// Natively true when absent.
    pub redispatch: Maybe<bool>,
    /// Natively 5 seconds when absent.
    pub connect_timeout: Maybe<Timeout>,
    pub server_timeout: Maybe<Timeout>,
    /// Natively 5 minutes when absent; `Timeout::None`: `server_timeout` goes on.
    pub server_fin_timeout: Maybe<Timeout>,
    pub tunnel_timeout: Maybe<Timeout>,
    /// Natively on when absent.
    pub server_keepalive: Maybe<KeepAlive>,
    pub server_linger: Maybe<bool>,
    pub all_backups: Maybe<bool>,
    /// For servers that say nothing else.
    pub check: Maybe<Check>,
    /// For servers that say nothing else.
    pub agent: Maybe<Agent>,
    /// For servers that say nothing else.
    pub on_marked_down: Maybe<OnMarkedDown>,
    pub choice: PoolChoice,
    pub servers: Vec<Server>,
}

impl Pool {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            name: None,
            balance: None,
            affinity: None,
            retries: None,
            redispatch: None,
            connect_timeout: None,
            server_timeout: None,
            server_fin_timeout: None,
            tunnel_timeout: None,
            server_keepalive: None,
            server_linger: None,
            all_backups: None,
            check: None,
            agent: None,
            on_marked_down: None,
            choice: PoolChoice::default(),
            servers: Vec::new(),
        }
    }
}

/// How a client stays with its server: see [`model::Affinity`](crate::model::Affinity).
#[derive(Debug, Clone, PartialEq)]
pub enum Affinity {
    /// `"none"`.
    None,
    /// `"source"`.
    Source,
    /// `{ table = "source", .. }`.
    Table(Box<Table>),
    /// `"tls"`, or `{ table = "tls", .. }`.
    Tls(Box<TlsAffinity>),
}

/// See [`model::TlsAffinity`](crate::model::TlsAffinity).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TlsAffinity {
    /// Natively 1 second when absent.
    pub wait: Maybe<Duration>,
    /// Natively by source when absent.
    pub fallback: Maybe<TlsFallback>,
    /// Entries and their life.
    pub table: Table,
}

/// A stick table: see [`model::TableSpec`](crate::model::TableSpec).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Table {
    /// Entries; natively 100,000 when absent.
    pub size: Maybe<u64>,
    /// Natively 30 minutes when absent.
    pub expire: Maybe<Timeout>,
    pub nopurge: Maybe<bool>,
    /// Addresses of both families natively when absent.
    pub kind: Maybe<KeyType>,
    /// The pool's when absent.
    pub name: Maybe<String>,
    pub peers: Maybe<String>,
    /// `on src` when absent.
    pub stick: Vec<Located<StickRule>>,
}

/// One server: see [`model::Server`](crate::model::Server).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Server {
    /// All of it.
    pub at: Location,
    /// `s1`, `s2`, .. by its place in the pool when absent.
    pub name: Maybe<String>,
    pub host: Located<Host>,
    /// The client's when absent.
    pub port: Maybe<ServerPort>,
    pub weight: Maybe<u64>,
    pub backup: Maybe<bool>,
    pub disabled: Maybe<bool>,
    pub max_connections: Maybe<u64>,
    /// The pool's when absent.
    pub check: Maybe<Check>,
    /// The pool's when absent.
    pub agent: Maybe<Agent>,
    /// The pool's when absent.
    pub on_marked_down: Maybe<OnMarkedDown>,
    pub send_proxy: Maybe<ProxyVersion>,
    pub source: Maybe<Source>,
    pub user_timeout: Maybe<Duration>,
    pub fast_open: Maybe<bool>,
    pub choice: ServerChoice,
    pub naming: ServerNaming,
}

impl Server {
    /// Without any further key.
    #[must_use]
    pub fn new(at: Location, host: Located<Host>) -> Self {
        Self {
            at,
            name: None,
            host,
            port: None,
            weight: None,
            backup: None,
            disabled: None,
            max_connections: None,
            check: None,
            agent: None,
            on_marked_down: None,
            send_proxy: None,
            source: None,
            user_timeout: None,
            fast_open: None,
            choice: ServerChoice::default(),
            naming: ServerNaming::default(),
        }
    }
}
