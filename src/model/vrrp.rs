//! Virtual routers. Terms are RFC 9568's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::net::{Family, InterfaceName, Invalid, Prefix};

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
    /// IPv4 label, such as `eth1:1`; it must begin with the interface's name.
    pub label: Option<String>,
    /// Scope.
    pub scope: Scope,
    /// IPv4 broadcast address; none unless configured.
    pub broadcast: Option<Ipv4Addr>,
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
    /// Announce again this often while master; none: only on evidence of another master.
    pub refresh: Option<Duration>,
    /// Announcements in each refresh; 1.
    pub refresh_count: u32,
    /// After a lower-priority advertisement, announce again: count; 5. And once more after `repeat_after`.
    pub lower_priority_count: u32,
}

impl Default for Announce {
    fn default() -> Self {
        Self {
            count: 5,
            repeat_after: Duration::from_secs(5),
            repeat_count: 5,
            refresh: None,
            refresh_count: 1,
            lower_priority_count: 5,
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
    /// Unicast peers; empty: multicast to 224.0.0.18 / ff02::12.
    pub peers: Vec<IpAddr>,
    /// Source address of advertisements; the interface's first (IPv6: link-local) when not configured.
    pub source: Option<IpAddr>,
    /// Checksum of version 3 over IPv4.
    pub checksum: ChecksumMode,
    /// Owned while master, and listed in advertisements.
    pub addresses: Vec<VirtualAddress>,
    /// Owned while master, not listed in advertisements; may be of the other family.
    pub excluded: Vec<VirtualAddress>,
    /// Interfaces beside its own whose loss is a fault.
    pub track: Vec<InterfaceName>,
    /// Announcements.
    pub announce: Announce,
    /// Names of the services whose readiness decides whether this router may be master.
    pub fronts: Vec<String>,
}

impl VirtualRouter {
    /// Every address it owns while master, advertised or not.
    pub fn owned(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.addresses.iter().chain(&self.excluded)
    }
}
