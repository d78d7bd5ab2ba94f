//! Virtual routers. Terms are RFC 9568's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::net::{Family, InterfaceName, Invalid, Prefix};
use super::notify::{Hooks, Notify};
use super::routing::{Route, Rule};
use super::track::{Track, Tracked};

/// Virtual router identifier, 1 to 255 (RFC 9568 section 5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vrid(u8);

impl Vrid {
    /// A VRID; 0 is refused.
    pub fn new(value: u8) -> Result<Self, Invalid> {
        if value == 0 { Err(Invalid("a VRID is a number from 1 to 255".into())) } else { Ok(Self(value)) }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A configured priority, 1 to 255; 255 is the address owner's (RFC 9568 section 5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// The default, 100.
    pub const DEFAULT: Self = Self(100);
    /// The address owner's, 255.
    pub const OWNER: Self = Self(255);
    /// The lowest a router can be configured with, 1: what one that is not ready advertises.
    pub const LOWEST: Self = Self(1);

    /// A priority; 0 is refused (it is the "I leave" of an advertisement, never a configuration).
    pub fn new(value: u8) -> Result<Self, Invalid> {
        if value == 0 { Err(Invalid("a priority is a number from 1 to 255".into())) } else { Ok(Self(value)) }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An advertisement interval: 1 to 4095 centiseconds in version 3, 1 to 255 whole seconds in version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval(u16);

impl Interval {
    /// One second.
    pub const DEFAULT: Self = Self(100);

    /// From centiseconds, 1 to 4095 (RFC 9568 section 5.2.7); version 2 reaches 25500.
    pub fn from_centiseconds(value: u16) -> Result<Self, Invalid> {
        if value == 0 || value > 25_500 {
            return Err(Invalid("an advertisement interval is 10 ms to 40.95 s (version 2: 1 s to 255 s)".into()));
        }
        Ok(Self(value))
    }

    /// In centiseconds.
    #[must_use]
    pub fn centiseconds(self) -> u16 {
        self.0
    }

    /// As a duration.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(u64::from(self.0) * 10)
    }
}

/// Protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768, IPv4 only, whole seconds, PASS authentication.
    V2,
    /// RFC 9568, IPv4 and IPv6, centiseconds.
    V3,
}

/// A version 2 PASS password: exactly 8 bytes on the wire, zero-padded (RFC 2338 section 5.3.6.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password([u8; 8]);

impl Password {
    /// From text of at most 8 bytes.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 8 {
            return Err(Invalid("a PASS password has 1 to 8 bytes".into()));
        }
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(padded))
    }

    /// The 8 bytes on the wire.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Which state a router starts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InitialState {
    /// keepalived's `state MASTER`; also the default. With priority 255 it asserts itself at once, otherwise it
    /// starts as a backup whose first wait is the same master-down interval.
    Master,
    /// keepalived's `state BACKUP`: even a priority of 255 waits and listens first.
    Backup,
}

/// How the checksum of a version 3 advertisement over IPv4 is computed when sending. Both are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChecksumMode {
    /// With the pseudo-header, as keepalived and FRR send it.
    #[default]
    PseudoHeader,
    /// Over the message only, RFC 9568 section 5.2.8.
    MessageOnly,
}

/// Address scope (ip-address(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// Valid everywhere.
    #[default]
    Global,
    /// Valid within this site (IPv6, deprecated).
    Site,
    /// Valid on this link.
    Link,
    /// Valid on this host.
    Host,
}

/// An address a router owns while it is master.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// Address and prefix length, as set on the interface.
    pub prefix: Prefix,
    /// The interface it is set on; usually the router's own.
    pub interface: InterfaceName,
    /// IPv4 label, such as `eth1:1`.
    pub label: Option<String>,
    /// Scope.
    pub scope: Scope,
    /// IPv4 broadcast address; none unless configured.
    pub broadcast: Option<Ipv4Addr>,
}

impl VirtualAddress {
    /// An address with every default.
    #[must_use]
    pub fn new(prefix: Prefix, interface: InterfaceName) -> Self {
        Self { prefix, interface, label: None, scope: Scope::Global, broadcast: None }
    }
}

/// How a new master tells the segment about its addresses (gratuitous ARP, unsolicited NA).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// Announcements of each address at once on becoming master; 5.
    pub count: u32,
    /// Pause before the second burst; 5 s. Zero: no second burst.
    pub repeat_after: Duration,
    /// Announcements of each address in the second burst; 5.
    pub repeat_count: u32,
    /// Announce again this often while master; 60 s. None: only on evidence of another master.
    pub refresh: Option<Duration>,
    /// Announcements in each refresh; 1.
    pub refresh_count: u32,
    /// After a lower-priority advertisement, announce again: count; 5. And once more after `repeat_after`.
    pub lower_priority_count: u32,
    /// After a takeover these are asked (ARP, ND) until they answer at the address's new place, beside the gateways
    /// that the routing tables name.
    pub ask: Vec<IpAddr>,
}

impl Default for Announce {
    fn default() -> Self {
        Self {
            count: 5,
            repeat_after: Duration::from_secs(5),
            repeat_count: 5,
            // A client that was cut off while the address moved, or a switch that forgot, learns it without asking.
            refresh: Some(Duration::from_secs(60)),
            refresh_count: 1,
            lower_priority_count: 5,
            ask: Vec::new(),
        }
    }
}

/// One virtual router (RFC 9568), keepalived's `vrrp_instance`.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualRouter {
    /// Unique name.
    pub name: String,
    /// The interface advertisements are sent and heard on.
    pub interface: InterfaceName,
    /// Virtual router identifier; unique per interface and family.
    pub vrid: Vrid,
    /// Protocol version.
    pub version: Version,
    /// IP version of the advertisements and of `addresses`.
    pub family: Family,
    /// Priority.
    pub priority: Priority,
    /// Advertisement interval.
    pub interval: Interval,
    /// State at start.
    pub initial: InitialState,
    /// Take over from a master of lower priority.
    pub preempt: bool,
    /// How long a better router waits before it preempts; also applies after start.
    pub preempt_delay: Duration,
    /// PASS password (version 2).
    pub password: Option<Password>,
    /// Key of the `auth_hmac` trailer (version 3).
    pub hmac: Option<HmacKey>,
    /// Unicast peers; empty: multicast to `group`.
    pub peers: Vec<Peer>,
    /// Adverts of nobody but `peers` count (keepalived's `vrrp_check_unicast_src`).
    pub only_peers: bool,
    /// TTL or hop limit of unicast advertisements; 255.
    pub unicast_ttl: u8,
    /// Multicast group; 224.0.0.18 or ff02::12 when absent.
    pub group: Option<IpAddr>,
    /// Source address of advertisements; the interface's first (IPv6: link-local) when not configured.
    pub source: Option<IpAddr>,
    /// Further interfaces on which the very same advertisements are sent and heard, such as a link between the nodes.
    /// Its own interface is the first path; it is deaf only when all of them are down.
    pub paths: Vec<InterfaceName>,
    /// A hardware address of its own (RFC 9568 section 7.3); the interface's when absent.
    pub vmac: Option<Vmac>,
    /// Advertisements missed before the master counts as silent; 3.
    pub missed_adverts: u8,
    /// After the start of the process, nothing is asserted for this long (keepalived's `vrrp_startup_delay`).
    pub start_delay: Duration,
    /// Checksum of version 3 over IPv4.
    pub checksum: ChecksumMode,
    /// Owned while master, and listed in advertisements.
    pub addresses: Vec<VirtualAddress>,
    /// Owned while master, not listed in advertisements; may be of the other family.
    pub excluded: Vec<VirtualAddress>,
    /// Set while master, after the addresses.
    pub routes: Vec<Route>,
    /// Set while master, after the routes.
    pub rules: Vec<Rule>,
    /// What it follows. Its own interface is followed anyway, as a fault.
    pub track: Vec<Track>,
    /// Announcements.
    pub announce: Announce,
    /// After its addresses were taken away by somebody else this often within a minute it yields; 0: never. 5.
    pub fight_limit: u32,
    /// Whom it tells.
    pub notify: Notify,
    /// What must be done around a change of ownership.
    pub hooks: Hooks,
    /// Names of the services whose readiness decides whether this router may be master.
    pub fronts: Vec<String>,
}

/// The key of keepalived 2.4's `auth_hmac` trailer.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey {
    /// Which key it is, told on the wire.
    pub id: u8,
    /// The shared secret.
    pub secret: Vec<u8>,
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HmacKey({}, ..)", self.id)
    }
}

/// A unicast peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its adverts have at least this TTL; 0.
    pub min_ttl: u8,
    /// Its adverts have at most this TTL; 255.
    pub max_ttl: u8,
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self { address, min_ttl: 0, max_ttl: u8::MAX }
    }
}

/// A virtual hardware address, 00-00-5E-00-01-VRID (IPv6: 00-00-5E-00-02-VRID), on an interface made for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vmac {
    /// The macvlan interface; the virtual addresses that name the router's interface are set on it.
    pub name: InterfaceName,
    /// Advertisements leave with the hardware address of the router's own interface (keepalived's `vmac_xmit_base`).
    pub from_base: bool,
}

/// Routers that are master together or not at all (keepalived's `vrrp_sync_group`).
#[derive(Debug, Clone, PartialEq)]
pub struct SyncGroup {
    /// Unique name.
    pub name: String,
    /// Names of its routers; each is in one group at most.
    pub routers: Vec<String>,
    /// What all its members follow.
    pub track: Vec<Track>,
    /// Its members follow their own trackers' weights too (keepalived's `sync_group_tracking_weight`).
    pub member_weights: bool,
    /// Whom it tells.
    pub notify: Notify,
}

impl VirtualRouter {
    /// A router with every default: version 3, a backup at the start, with neither address nor peer.
    #[must_use]
    pub fn new(name: impl Into<String>, interface: InterfaceName, vrid: Vrid, family: Family) -> Self {
        Self {
            name: name.into(),
            interface,
            vrid,
            version: Version::V3,
            family,
            priority: Priority::DEFAULT,
            interval: Interval::DEFAULT,
            initial: InitialState::Backup,
            preempt: true,
            preempt_delay: Duration::ZERO,
            password: None,
            hmac: None,
            peers: Vec::new(),
            only_peers: false,
            unicast_ttl: u8::MAX,
            group: None,
            source: None,
            paths: Vec::new(),
            vmac: None,
            missed_adverts: 3,
            start_delay: Duration::ZERO,
            checksum: ChecksumMode::default(),
            addresses: Vec::new(),
            excluded: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            track: Vec::new(),
            announce: Announce::default(),
            fight_limit: 5,
            fronts: Vec::new(),
            notify: Notify::default(),
            hooks: Hooks::default(),
        }
    }

    /// The interfaces it sends and hears on, its own first.
    pub fn channels(&self) -> impl Iterator<Item = &InterfaceName> {
        std::iter::once(&self.interface).chain(&self.paths)
    }

    /// The interfaces it follows.
    pub fn tracked_interfaces(&self) -> impl Iterator<Item = &InterfaceName> {
        self.track.iter().filter_map(|track| match &track.what {
            Tracked::Interface(name) => Some(name),
            Tracked::Tracker(_) => None,
        })
    }

    /// Every address it owns while master, advertised or not.
    pub fn owned(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.addresses.iter().chain(&self.excluded)
    }
}
