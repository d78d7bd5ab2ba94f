//! Names of servers that are resolved while the process runs. Terms of resolvers are HAProxy's.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::net::{Family, Prefix};

/// A server that is known by its name. Its address is what the name says now; until then it has none and is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName {
    /// A host's name, or that of an SRV record (`_service._tcp.name`).
    pub name: String,
    /// What is asked for.
    pub kind: NameKind,
    /// Addresses of this family are taken first, or alone.
    pub family: Wanted,
    /// Addresses in one of these are taken first (HAProxy's `resolve-net`).
    pub networks: Vec<Prefix>,
    /// Two servers of a pool may have the same address by the same name (HAProxy's `resolve-opts allow-dup-ip`).
    pub share_address: bool,
    /// The weight that an SRV record has for it is not taken.
    pub ignore_weight: bool,
    /// The [`Resolver`] that is asked; none: what the system is set up with.
    pub resolver: Option<String>,
    /// Its address until the first answer.
    pub initial: Option<IpAddr>,
    /// Why it has no address now, so that it is down. Nothing that is configured: set while the process runs.
    pub unresolved: Option<String>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameKind {
    /// A, AAAA.
    Host,
    /// SRV: targets with their ports, each for one of the servers that ask for it.
    Service,
}

/// Which of a name's addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wanted {
    /// Of this family if there is one, else of the other.
    First(Family),
    /// Of this family alone.
    Only(Family),
}

/// Who is asked for names, HAProxy's `resolvers` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Unique name.
    pub name: String,
    /// Name servers, asked in this order.
    pub servers: Vec<NameServer>,
    /// Those of the system (/etc/resolv.conf) too.
    pub system: bool,
    /// Queries until one is given up (`resolve_retries`); at least 1.
    pub retries: u32,
    /// Longest wait for the answer to one query (`timeout retry`).
    pub timeout: Duration,
    /// An answer that lives shorter is kept for so long, and after a failure it is asked again then (`timeout resolve`).
    pub least_refresh: Duration,
    /// An answer that lives longer is asked for again then (`hold valid`).
    pub most_refresh: Duration,
    /// Largest answer over UDP, bytes; larger ones come over TCP (`accepted_payload_size`).
    pub payload_size: u16,
    /// How long the last good answer stays.
    pub hold: Hold,
}

/// Somebody who is asked for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// How it is called where its answers are counted.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How long the last good answer stays in force when there is none any more (HAProxy's `hold`); none: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The name does not exist.
    pub nx: Option<Duration>,
    /// Nobody answers.
    pub timeout: Option<Duration>,
    /// The name server refuses.
    pub refused: Option<Duration>,
    /// Any other failure.
    pub other: Option<Duration>,
    /// For an address that is not among those of a good answer.
    pub obsolete: Duration,
}

impl From<SocketAddr> for NameServer {
    /// Called by its address, as HAProxy calls those of /etc/resolv.conf.
    fn from(address: SocketAddr) -> Self {
        Self { name: address.ip().to_string(), address }
    }
}

impl Wanted {
    /// When nothing is configured.
    pub const DEFAULT: Self = Self::First(Family::V4);
}

impl Resolver {
    /// The system's name servers; everything else as when nothing is configured.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            servers: Vec::new(),
            system: true,
            retries: 3,
            timeout: Duration::from_secs(1),
            least_refresh: Duration::from_secs(1),
            most_refresh: Duration::from_secs(300),
            payload_size: 1232,
            hold: Hold {
                nx: Some(Duration::from_secs(30)),
                timeout: None,
                refused: None,
                other: None,
                obsolete: Duration::ZERO,
            },
        }
    }
}

impl ServerName {
    /// A host that the system's name servers know; everything else as when nothing is configured.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: NameKind::Host,
            family: Wanted::DEFAULT,
            networks: Vec::new(),
            share_address: false,
            ignore_weight: false,
            resolver: None,
            initial: None,
            unresolved: None,
        }
    }
}
