//! VRRP advertisements: version 2 (RFC 3768, authentication RFC 2338) and version 3 (RFC 9568).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use super::vrrp_seal::{Seal, Stamp, TRAILER_LEN, renew as renew_seal};
use super::{checksum, ip, vrrp_seal};
use crate::model::{ChecksumMode, HmacKey, Interval, Version, Vrid};

/// IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// The IPv4 group adverts are sent to (RFC 9568 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The IPv6 group adverts are sent to (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The only message type there is (RFC 9568 section 5.2.2).
const ADVERTISEMENT: u8 = 1;
const HEADER_LEN: usize = 8;
/// The checksum is the fourth 16-bit word.
const CHECKSUM_FIELD: usize = 3;
/// Version 3's interval has 12 bits.
const MAX_CENTISECONDS: u16 = 0x0fff;
const AUTH_LEN: usize = 8;
const AUTH_NONE: u8 = 0;
const AUTH_PASSWORD: u8 = 1;

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
    /// The `auth_hmac` trailer, if there is one.
    pub seal: Option<Seal>,
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
    /// A trailer, but no key is configured here: without one, that is only too long.
    #[error("longer than its address count says")]
    Length,
    /// A key is configured here, but there is no trailer.
    #[error("no authentication trailer")]
    Unsealed,
    /// Not newer than what was accepted from this source before.
    #[error("an old packet was sent again")]
    Replayed,
    /// Adverts of configured peers alone count, and this source is none.
    #[error("not a configured peer")]
    UnknownPeer,
    /// Outside what is configured for this peer.
    #[error("TTL or hop limit is not what is configured for this peer")]
    PeerTtl,
    /// Sent by this node itself.
    #[error("our own packet came back")]
    OwnSource,
}

impl Advertisement {
    /// Bytes of the message as [`emit`](Self::emit) writes it over the IP version of `source`.
    #[must_use]
    pub fn length(&self, source: IpAddr) -> usize {
        let address = match source {
            IpAddr::V4(_) => 4,
            IpAddr::V6(_) => 16,
        };
        HEADER_LEN + self.listed(source).count() * address + trailer_len(self.version)
    }

    /// Appends the message to `buffer`, checksum included. `source` and `destination` are those of the IP header it
    /// travels behind; `checksum` matters in version 3 over IPv4 only. Addresses of the other IP version, and
    /// those after the 255th, are not written.
    pub fn emit(&self, buffer: &mut Vec<u8>, source: IpAddr, destination: IpAddr, checksum: ChecksumMode) {
        let start = buffer.len();
        self.write(buffer, source);
        let message = buffer.get_mut(start..).unwrap_or_default();
        let sum = if self.version == Version::V3 && (checksum == ChecksumMode::PseudoHeader || source.is_ipv6()) {
            checksum::with_pseudo_header(message, CHECKSUM_FIELD, source, destination, PROTOCOL)
        } else {
            checksum::plain(message, CHECKSUM_FIELD)
        };
        set_checksum(message, sum);
    }

    /// As [`emit`](Self::emit), with an `auth_hmac` trailer of [`TRAILER_LEN`] bytes behind it (version 3). No two
    /// packets from one source may have the same stamp.
    pub fn emit_sealed(
        &self,
        buffer: &mut Vec<u8>,
        source: IpAddr,
        destination: IpAddr,
        checksum: ChecksumMode,
        (key, stamp): (&HmacKey, Stamp),
    ) {
        let start = buffer.len();
        self.emit(buffer, source, destination, checksum);
        let trailer = vrrp_seal::trailer(buffer.get(start..).unwrap_or_default(), source, key, stamp);
        buffer.extend_from_slice(&trailer);
        sum_sealed(buffer.get_mut(start..).unwrap_or_default(), source, destination);
    }

    /// Appends the message with no checksum in it.
    fn write(&self, buffer: &mut Vec<u8>, source: IpAddr) {
        let count = u8::try_from(self.listed(source).count()).unwrap_or(u8::MAX);
        let version = match self.version {
            Version::V2 => 2,
            Version::V3 => 3,
        };
        buffer.extend_from_slice(&[version << 4 | ADVERTISEMENT, self.vrid.get(), self.priority, count]);
        match self.version {
            Version::V2 => {
                let seconds = self.interval.centiseconds().div_ceil(100);
                let kind = match self.auth {
                    Authentication::None => AUTH_NONE,
                    Authentication::Password(_) => AUTH_PASSWORD,
                };
                buffer.extend_from_slice(&[kind, u8::try_from(seconds).unwrap_or(u8::MAX)]);
            }
            Version::V3 => {
                let centiseconds = self.interval.centiseconds().min(MAX_CENTISECONDS);
                buffer.extend_from_slice(&centiseconds.to_be_bytes());
            }
        }
        buffer.extend_from_slice(&[0, 0]);
        for address in self.listed(source) {
            match address {
                IpAddr::V4(address) => buffer.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => buffer.extend_from_slice(&address.octets()),
            }
        }
        if self.version == Version::V2 {
            buffer.extend_from_slice(&match self.auth {
                Authentication::None => [0; AUTH_LEN],
                Authentication::Password(bytes) => bytes,
            });
        }
    }

    /// Appends a whole IP packet, header and message. `id` is IPv4's identification; see [`ip::emit_v4`].
    pub fn emit_packet(&self, buffer: &mut Vec<u8>, source: IpAddr, destination: IpAddr, id: u16, sum: ChecksumMode) {
        let length = self.length(source);
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ip::emit_v4(buffer, source, destination, (id, u8::MAX), length)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => ip::emit_v6(buffer, source, destination, u8::MAX, length),
            // There is no such packet.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return,
        }
        self.emit(buffer, source, destination, sum);
    }

    /// Reads the message behind an IP header. Bytes after the message are tolerated (Ethernet pads short frames), unless
    /// they are an `auth_hmac` trailer.
    pub fn parse(message: &[u8], envelope: &Envelope) -> Result<Received, Rejected> {
        let &[kind, vrid, priority, count, fifth, sixth, _, _] = message.first_chunk().ok_or(Rejected::Truncated)?;
        let version = match (kind >> 4, envelope.source) {
            (2, IpAddr::V4(_)) => Version::V2,
            (3, IpAddr::V4(_) | IpAddr::V6(_)) => Version::V3,
            _ => return Err(Rejected::Version),
        };
        if kind & 0x0f != ADVERTISEMENT {
            return Err(Rejected::Type);
        }
        if envelope.destination.is_multicast() && envelope.ttl != 255 {
            return Err(Rejected::TtlNot255);
        }
        let body = Body::split(message, version, count, envelope.source)?;
        let seal = match version {
            Version::V2 => None,
            Version::V3 => Seal::read(body.message, body.rest, envelope.source),
        };
        let summed = if seal.is_some() && envelope.source.is_ipv6() { message } else { body.message };
        let checksum = verify(summed, version, envelope)?;
        let vrid = Vrid::new(vrid).map_err(|_| Rejected::UnknownVrid)?;
        if count == 0 {
            return Err(Rejected::AddressCount);
        }
        let (auth, centiseconds) = match version {
            Version::V2 => (authentication(fifth, body.trailer)?, u16::from(sixth) * 100),
            // The upper four bits are reserved and ignored (RFC 9568 section 5.2.6).
            Version::V3 => (Authentication::None, u16::from_be_bytes([fifth, sixth]) & MAX_CENTISECONDS),
        };
        let interval = Interval::from_centiseconds(centiseconds).map_err(|_| Rejected::Interval)?;
        let addresses = addresses(body.addresses, envelope.source);
        let advertisement = Self { version, vrid, priority, interval, auth, addresses };
        Ok(Received { advertisement, checksum, seal })
    }

    /// The addresses written when sent from `source`.
    fn listed(&self, source: IpAddr) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter().filter(move |address| address.is_ipv4() == source.is_ipv4()).take(usize::from(u8::MAX))
    }
}

/// The checksum of a message that is new only in its trailer. Over IPv6 it is the kernel's, which knows of no trailer: all
/// of it counts.
pub(super) fn sum_sealed(message: &mut [u8], source: IpAddr, destination: IpAddr) {
    if source.is_ipv6() {
        let sum = checksum::with_pseudo_header(message, CHECKSUM_FIELD, source, destination, PROTOCOL);
        set_checksum(message, sum);
    }
}

fn set_checksum(message: &mut [u8], sum: u16) {
    if let Some(field) = message.get_mut(CHECKSUM_FIELD * 2..HEADER_LEN) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The parts of a message.
struct Body<'a> {
    message: &'a [u8],
    addresses: &'a [u8],
    trailer: &'a [u8],
    /// What follows the message.
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn split(message: &'a [u8], version: Version, count: u8, source: IpAddr) -> Result<Self, Rejected> {
        let address = if source.is_ipv4() { 4 } else { 16 };
        let trailer_at = HEADER_LEN + usize::from(count) * address;
        let length = trailer_at + trailer_len(version);
        let (message, rest) = message.split_at_checked(length).ok_or(Rejected::Truncated)?;
        let (head, trailer) = message.split_at_checked(trailer_at).ok_or(Rejected::Truncated)?;
        let addresses = head.get(HEADER_LEN..).ok_or(Rejected::Truncated)?;
        Ok(Self { message, addresses, trailer, rest })
    }
}

/// Which checksum a message carries. Version 3 over IPv4 is accepted with either: RFC 9568 section 5.2.8 sums the
/// message alone, keepalived and FRR add the pseudo-header.
fn verify(message: &[u8], version: Version, envelope: &Envelope) -> Result<ChecksumMode, Rejected> {
    let pseudo = || checksum::is_valid_with_pseudo_header(message, envelope.source, envelope.destination, PROTOCOL);
    let plain = || checksum::is_valid(message);
    match (version, envelope.source) {
        (Version::V2, _) if plain() => Ok(ChecksumMode::MessageOnly),
        (Version::V3, _) if pseudo() => Ok(ChecksumMode::PseudoHeader),
        (Version::V3, IpAddr::V4(_)) if plain() => Ok(ChecksumMode::MessageOnly),
        (Version::V2 | Version::V3, _) => Err(Rejected::Checksum),
    }
}

fn authentication(kind: u8, trailer: &[u8]) -> Result<Authentication, Rejected> {
    match kind {
        AUTH_NONE => Ok(Authentication::None),
        AUTH_PASSWORD => trailer.first_chunk().map(|bytes| Authentication::Password(*bytes)).ok_or(Rejected::Truncated),
        _ => Err(Rejected::Authentication),
    }
}

fn addresses(bytes: &[u8], source: IpAddr) -> Vec<IpAddr> {
    match source {
        IpAddr::V4(_) => bytes.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets)).collect(),
        IpAddr::V6(_) => bytes.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(*octets)).collect(),
    }
}

/// Version 2 always ends with 8 bytes of authentication data, whatever its type (RFC 3768 section 5.3.10).
fn trailer_len(version: Version) -> usize {
    match version {
        Version::V2 => AUTH_LEN,
        Version::V3 => 0,
    }
}
