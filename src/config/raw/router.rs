//! Virtual routers and sync groups as written.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Command, Located, Maybe, Notify, Route, Rule, Secret, Track};
use crate::config::source::Location;
use crate::model::{ChecksumMode, InitialState, InterfaceName, Prefix, Scope};

/// `[[virtual-router]]`: see [`model::VirtualRouter`](crate::model::VirtualRouter).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct VirtualRouter {
    /// The table's header.
    pub at: Location,
    pub name: Maybe<String>,
    pub interface: Maybe<InterfaceName>,
    pub vrid: Maybe<u64>,
    pub addresses: Vec<VirtualAddress>,
    pub excluded_addresses: Vec<VirtualAddress>,
    pub priority: Maybe<u64>,
    /// 2 or 3.
    pub version: Maybe<u64>,
    pub interval: Maybe<Duration>,
    /// Natively `backup` when absent.
    pub start: Maybe<InitialState>,
    pub preempt: Maybe<bool>,
    pub preempt_delay: Maybe<Duration>,
    pub password: Maybe<Secret>,
    pub hmac: Option<Hmac>,
    pub peers: Vec<Peer>,
    pub only_peers: Maybe<bool>,
    pub unicast_ttl: Maybe<u64>,
    /// Multicast group.
    pub group: Maybe<IpAddr>,
    pub source: Maybe<IpAddr>,
    pub paths: Vec<Located<InterfaceName>>,
    pub vmac: Option<Vmac>,
    pub missed_adverts: Maybe<u64>,
    pub start_delay: Maybe<Duration>,
    pub checksum: Maybe<ChecksumMode>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    pub track: Vec<Track>,
    pub fight_limit: Maybe<u64>,
    pub notify: Option<Notify>,
    pub before_master: Option<Command>,
    pub after_release: Option<Command>,
    /// Absent: the services that listen on one of its addresses. Empty: none.
    pub fronts: Option<Vec<Located<String>>>,
    pub announce: Option<Announce>,
}

impl VirtualRouter {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            name: None,
            interface: None,
            vrid: None,
            addresses: Vec::new(),
            excluded_addresses: Vec::new(),
            priority: None,
            version: None,
            interval: None,
            start: None,
            preempt: None,
            preempt_delay: None,
            password: None,
            hmac: None,
            peers: Vec::new(),
            only_peers: None,
            unicast_ttl: None,
            group: None,
            source: None,
            paths: Vec::new(),
            vmac: None,
            missed_adverts: None,
            start_delay: None,
            checksum: None,
            routes: Vec::new(),
            rules: Vec::new(),
            track: Vec::new(),
            fight_limit: None,
            notify: None,
            before_master: None,
            after_release: None,
            fronts: None,
            announce: None,
        }
    }
}

/// One of a router's addresses: see [`model::VirtualAddress`](crate::model::VirtualAddress).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct VirtualAddress {
    /// `192.0.2.100/24`; a host address without a length.
    pub prefix: Located<Prefix>,
    /// The router's own when absent.
    pub interface: Maybe<InterfaceName>,
    pub label: Maybe<String>,
    pub scope: Maybe<Scope>,
    pub broadcast: Maybe<Ipv4Addr>,
}

/// `announce` of a router: see [`model::Announce`](crate::model::Announce).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Announce {
    pub at: Location,
    pub count: Maybe<u64>,
    pub repeat_after: Maybe<Duration>,
    pub repeat_count: Maybe<u64>,
    /// Zero: none.
    pub refresh: Maybe<Duration>,
    pub refresh_count: Maybe<u64>,
    pub lower_priority_count: Maybe<u64>,
    pub ask: Vec<Located<IpAddr>>,
}

/// One of a router's unicast peers: see [`model::Peer`](crate::model::Peer).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Peer {
    pub address: Located<IpAddr>,
    pub min_ttl: Maybe<u64>,
    pub max_ttl: Maybe<u64>,
}

/// `hmac` of a router: see [`model::HmacKey`](crate::model::HmacKey).
#[derive(Debug, Clone, PartialEq)]
pub struct Hmac {
    /// All of it.
    pub at: Location,
    /// 1 to 255.
    pub key_id: Maybe<u64>,
    /// A text, or `hex:` and digits.
    pub secret: Maybe<Secret>,
    /// A file that contains the same; its text is put in `secret` when the files have been read.
    pub secret_file: Maybe<PathBuf>,
}

/// `vmac` of a router: see [`model::Vmac`](crate::model::Vmac).
#[derive(Debug, Clone, PartialEq)]
pub struct Vmac {
    /// All of it.
    pub at: Location,
    /// `vrrp.` and the VRID when absent (IPv6: `vrrp6.`).
    pub name: Maybe<InterfaceName>,
    /// Adverts leave with the hardware address of the router's own interface.
    pub from_base: Maybe<bool>,
}

/// `[[sync-group]]`: see [`model::SyncGroup`](crate::model::SyncGroup).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct SyncGroup {
    /// The table's header.
    pub at: Location,
    pub name: Maybe<String>,
    pub routers: Vec<Located<String>>,
    pub track: Vec<Track>,
    pub member_weights: Maybe<bool>,
    pub notify: Option<Notify>,
}
