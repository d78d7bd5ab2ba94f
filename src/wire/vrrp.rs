//! VRRP advertisements: version 2 (RFC 3768, authentication RFC 2338) and version 3 (RFC 9568).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{ChecksumMode, Interval, Version, Vrid};

/// IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// The IPv4 group adverts are sent to (RFC 9568 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The IPv6 group adverts are sent to (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// An advertisement, whichever version it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// Protocol version.
    pub version: Version,
    /// Virtual router it speaks for.
    pub vrid: Vrid,
    /// The sender's priority; 0: it gives up being master.
    pub priority: u8,
    /// Advertisement interval. Version 2 carries whole seconds: emitting rounds up.
    pub interval: Interval,
    /// Authentication, version 2 only; ignored when emitting version 3.
    pub auth: Authentication,
    /// The virtual addresses, all of the family it is sent over.
    pub addresses: Vec<IpAddr>,
}

/// Authentication of a version 2 advertisement (RFC 2338 section 5.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Type 0.
    None,
    /// Type 1: a password of 8 bytes, zero-padded.
    Password([u8; 8]),
}

/// What the IP header said about a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// A valid message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub advertisement: Advertisement,
    /// Which checksum it carried; version 2 never has a pseudo-header, IPv6 always.
    pub checksum: ChecksumMode,
}

/// Why a packet of protocol 112 was not accepted. Nothing but a counter may change because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// Shorter than its header or its address count says.
    #[error("the packet is cut off")]
    Truncated,
    /// Neither version 2 nor 3, version 2 over IPv6, or not the version this router is configured with.
    #[error("wrong VRRP version")]
    Version,
    /// Not an advertisement.
    #[error("not an advertisement")]
    Type,
    /// The checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// A multicast packet that crossed a router.
    #[error("TTL or hop limit is not 255")]
    TtlNot255,
    /// VRID 0, or not this router's.
    #[error("VRID is not configured here")]
    UnknownVrid,
    /// Unknown authentication type, or not the password configured here.
    #[error("authentication does not match")]
    Authentication,
    /// Interval 0 (RFC 9568 erratum 8301), or version 2 with another interval than configured here.
    #[error("advertisement interval does not match")]
    Interval,
    /// No address at all.
    #[error("no virtual address in it")]
    AddressCount,
    /// Multicast to a unicast router, unicast to a multicast one, another group, or another IP version.
    #[error("not sent to this router")]
    Destination,
    /// Sent by this node itself.
    #[error("our own packet came back")]
    OwnSource,
}

impl Advertisement {
    /// Appends the message to `buffer`, checksum included. `source` and `destination` are those of the IP header it
    /// travels behind; `checksum` matters in version 3 over IPv4 only. At most 255 addresses are written.
    pub fn emit(&self, buffer: &mut Vec<u8>, source: IpAddr, destination: IpAddr, checksum: ChecksumMode) {
        let _ = (buffer, source, destination, checksum);
    }

    /// Reads the message behind an IP header. Bytes after the message are tolerated (Ethernet pads short frames).
    pub fn parse(message: &[u8], envelope: &Envelope) -> Result<Received, Rejected> {
        let _ = (message, envelope);
        Err(Rejected::Truncated)
    }
}
