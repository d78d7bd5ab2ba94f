//! Pools: the servers behind services, and how one of them is chosen. Terms are HAProxy's where it has one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::rule::Policy;
use super::server::Server;
use super::socket::KeepAlive;
use super::stick::{KeyType, StickRule};

/// A pool of servers, HAProxy's `backend`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// Unique name.
    pub name: String,
    /// How a server is chosen when nothing is remembered.
    pub algorithm: Algorithm,
    /// How a client stays with its server.
    pub affinity: Affinity,
    /// How the table knows clients; none of them: by their addresses.
    pub stick: Vec<StickRule>,
    /// A client that the table does not know gets the server that a hash of its key says, so that every node that fronts
    /// the pool gives it the same one, rather than whose turn it is here.
    pub alike: bool,
    /// The servers, in the order of the file.
    pub servers: Vec<Server>,
    /// Further connection attempts after the first (HAProxy's `retries`, 3).
    pub retries: u32,
    /// Whether a retry may go to another server although stickiness named one (HAProxy's `option redispatch`).
    pub redispatch: bool,
    /// Every so many retries are such ones; none: only the last retry is.
    pub redispatch_every: Option<u32>,
    /// Longest wait for a server to accept; none: the kernel's.
    pub connect_timeout: Option<Duration>,
    /// Longest silence of a server; none: for ever.
    pub server_timeout: Option<Duration>,
    /// Longest silence of a server that half-closed (HAProxy's `timeout server-fin`); none: `server_timeout`.
    pub server_fin_timeout: Option<Duration>,
    /// Longest silence of an established connection in both directions; replaces `client_timeout` and
    /// `server_timeout` once the relay runs (HAProxy's `timeout tunnel`).
    pub tunnel_timeout: Option<Duration>,
    /// TCP keep-alive probes towards servers; none: they are not probed.
    pub server_keepalive: Option<KeepAlive>,
    /// Servers' connections are closed in the ordinary way; otherwise with a reset, as soon as the client has ended (HAProxy's
    /// `option nolinger`).
    pub server_linger: bool,
    /// Backup servers serve all together, not only the first (HAProxy's `option allbackups`).
    pub all_backups: bool,
    /// What a server that leaves or comes back does to the choice of a hash (HAProxy's `hash-type`).
    pub hash_type: HashType,
    /// Most connections of a server that a hash chooses, in percent of the average, above 100; more go to the next one
    /// (HAProxy's `hash-balance-factor`).
    pub hash_balance_factor: Option<u32>,
    /// Longest wait for a server with room (HAProxy's `timeout queue`); none: `connect_timeout`.
    pub queue_timeout: Option<Duration>,
    /// Most connections that wait for any server with room; more are turned away.
    pub max_queue: Option<u32>,
    /// With so many connections, open and waiting, servers with `min_connections` take `max_connections`; with fewer, in
    /// proportion less (HAProxy's `fullconn`). None: always `max_connections`.
    pub full_load: Option<u32>,
    /// A client goes to the server that is remembered for it even if that is down or in maintenance (HAProxy's `option persist`).
    pub persist: bool,
    /// The cookie in an RDP client's request that says where its session is: the routing token of a session broker, which goes
    /// before what is remembered (HAProxy's `persist rdp-cookie`).
    pub rdp_cookie: Option<String>,
    /// A client that ends its stream while it waits for a server has gone away, even if it said something before (HAProxy's
    /// `option abortonclose`). One that said nothing has in any case.
    pub abort_on_close: bool,
    /// What clients do whose first server, or whose active servers, are back.
    pub failback: Failback,
    /// How a client is turned away that gets no server.
    pub refusal: RefuseWith,
    /// Where HAProxy, or its `show servers state`, left the state of the servers; read once, at the start of the process.
    pub server_state: Option<PathBuf>,
    /// What is asked of a connection before a server is chosen: who is turned away here, and who gets which server.
    pub policy: Option<Arc<Policy>>,
}

impl Pool {
    /// One of these servers; everything else as when nothing is configured.
    #[must_use]
    pub fn new(name: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            algorithm: Algorithm::RoundRobin,
            affinity: Affinity::None,
            stick: Vec::new(),
            alike: false,
            servers,
            retries: 3,
            redispatch: true,
            redispatch_every: None,
            connect_timeout: Some(Duration::from_secs(5)),
            server_timeout: None,
            server_fin_timeout: None,
            tunnel_timeout: None,
            server_keepalive: Some(KeepAlive::default()),
            server_linger: true,
            all_backups: false,
            hash_type: HashType::Consistent,
            hash_balance_factor: None,
            queue_timeout: None,
            max_queue: None,
            full_load: None,
            persist: false,
            rdp_cookie: None,
            abort_on_close: false,
            failback: Failback::New,
            refusal: RefuseWith::Reset,
            server_state: None,
            policy: None,
        }
    }

    /// The server called `name`.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The rules by which its table knows clients, and what kind of keys it has; none where that is their address alone.
    #[must_use]
    pub fn stick_rules(&self) -> Option<(KeyType, &[StickRule])> {
        match &self.affinity {
            Affinity::Table(table) if !self.stick.is_empty() => Some((table.kind, &self.stick)),
            Affinity::Table(_) | Affinity::None | Affinity::Source | Affinity::Tls(_) => None,
        }
    }
}

/// How a server is chosen when nothing is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Smooth weighted round robin.
    RoundRobin,
    /// The same, without slow start (HAProxy's `static-rr`).
    StaticRoundRobin,
    /// Fewest connections relative to weight; ties in turn.
    LeastConnections,
    /// The first in the order of the file that has room: the others may sleep.
    First,
    /// Of so many drawn at random by weight, the one with the fewest connections relative to weight; at least 1.
    Random(u32),
    /// Hash of the client's address: the same server on every node.
    Source,
    /// Hash of the name in the client's TLS hello; without one in turn.
    Sni,
    /// Hash of the user that the cookie in an RDP client's request names (HAProxy's `rdp-cookie(mstshash)`); without one in
    /// turn.
    RdpUser,
}

impl Algorithm {
    /// Whether a hash chooses.
    #[must_use]
    pub fn hashes(self) -> bool {
        matches!(self, Self::Source | Self::Sni | Self::RdpUser)
    }
}

/// What a server that leaves or comes back does to the choice of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashType {
    /// Only its own clients move (Maglev, fixed seed).
    Consistent,
    /// The hash modulo the weights of those that serve: shares are exact, and most clients move.
    MapBased,
}

/// What clients do whose first server, or whose active servers, are back. Flows that run go on in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failback {
    /// Backups that serve go on to until none of them can; the active servers wait.
    Never,
    /// New clients go to the active servers; those that a table remembers stay where they went.
    New,
    /// Those too return to their first server, with their next connection once no flow of theirs runs.
    Drain,
}

/// How a client is turned away that gets no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefuseWith {
    /// A reset: it learns at once that nobody serves.
    Reset,
    /// An end of stream, as HAProxy does it.
    Close,
}

/// How a client stays with its server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Not at all.
    None,
    /// Deterministic: the consistent hash of the source address chooses, on every node alike; only while flows of a
    /// client live does it stay where it was although the set of servers changed.
    Source,
    /// A table remembers the choice (HAProxy's `stick on src`); by the source address, unless the pool says else.
    Table(TableSpec),
    /// By its TLS session: it goes to the server that can resume it.
    Tls(TlsAffinity),
}

impl Affinity {
    /// The table that remembers the servers of source addresses, if there is one.
    #[must_use]
    pub fn table(&self) -> Option<&TableSpec> {
        match self {
            Self::Table(spec) => Some(spec),
            Self::Tls(tls) => Some(&tls.table).filter(|_| tls.fallback == TlsFallback::Source),
            Self::None | Self::Source => None,
        }
    }
}

/// How clients are kept by their TLS sessions, which are not terminated here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsAffinity {
    /// How long a client may take to say hello, or to show that it does not speak TLS.
    pub wait: Duration,
    /// Who brings nothing that is known: a session of an unknown server, or no TLS at all. A client without a session is
    /// new, and goes where the algorithm sends it.
    pub fallback: TlsFallback,
    /// Dimensions of the table of sessions that are remembered one by one, and of the one of sources.
    pub table: TableSpec,
}

/// Where clients go whose TLS session nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFallback {
    /// Where the algorithm sends them.
    None,
    /// To the server that their source address had last.
    Source,
}

impl Default for TlsAffinity {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(1),
            fallback: TlsFallback::Source,
            table: TableSpec { expire: Some(Duration::from_secs(1800)), ..TableSpec::new(KeyType::Ipv6, 100_000) },
        }
    }
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
    /// What clients are known by: HAProxy's `type ip` cannot hold IPv6 ones.
    pub kind: KeyType,
    /// Pools that say the same name share one table, whose dimensions are the same; none: the pool's own.
    pub name: Option<String>,
    /// The group of peers that share it.
    pub peers: Option<String>,
}

impl TableSpec {
    /// A table of this type for so many clients, for ever; the pool's own, and no peer's.
    #[must_use]
    pub fn new(kind: KeyType, size: usize) -> Self {
        Self { size, expire: None, nopurge: false, kind, name: None, peers: None }
    }

    /// The table's name, for this pool: its own name, where it says none.
    #[must_use]
    pub fn table_name<'n>(&'n self, pool: &'n str) -> &'n str {
        self.name.as_deref().unwrap_or(pool)
    }
}
