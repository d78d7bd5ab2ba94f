//! Advertisements with exactly one fault: everything else about them, the checksum too, is right.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

use crate::adverts::VRRP;
use crate::node::Node;

/// Where advertisements go.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// A sender of protocol-112 packets on a node.
#[derive(Debug)]
pub struct Forger {
    socket: Socket,
    source: Ipv4Addr,
    /// The virtual router that is talked to.
    vrid: u8,
    /// Its address.
    vip: Ipv4Addr,
    /// Its interval, in centiseconds (version 3) or seconds (version 2).
    interval: u16,
}

/// What is wrong with an advertisement; the labels are vipgate's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Cut off in the middle.
    Truncated,
    /// Of no version there is.
    Version,
    /// Not of type 1.
    Type,
    /// With a wrong checksum.
    Checksum,
    /// From further away than the link.
    TtlNot255,
    /// Of another virtual router.
    UnknownVrid,
    /// Interval zero.
    Interval,
    /// With more addresses announced than present.
    AddressCount,
    /// Sent to the node itself instead of to the group.
    Destination,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 9] = [
        Self::Truncated,
        Self::Version,
        Self::Type,
        Self::Checksum,
        Self::TtlNot255,
        Self::UnknownVrid,
        Self::Interval,
        Self::AddressCount,
        Self::Destination,
    ];

    /// The counter it should reach.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Version => "version",
            Self::Type => "type",
            Self::Checksum => "checksum",
            Self::TtlNot255 => "ttl",
            Self::UnknownVrid => "unknown-vrid",
            Self::Interval => "interval",
            Self::AddressCount => "address-count",
            Self::Destination => "destination",
        }
    }
}

impl Forger {
    /// A forger on `node` with the address `source`, for the version-3 router `vrid` of `vip`.
    #[track_caller]
    pub fn new(node: &Node, source: Ipv4Addr, vrid: u8, vip: Ipv4Addr, centiseconds: u16) -> Self {
        let socket = node.exec_in(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(VRRP))))?;
            socket.set_multicast_if_v4(&source)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
            Ok::<_, io::Error>(socket)
        });
        Self { socket: socket.expect("a raw socket"), source, vrid, vip, interval: centiseconds }
    }

    /// Sends one faulty advertisement of priority 254, which would win an election; `node` is where [`Fault::Destination`] goes.
    pub fn send(&self, fault: Fault, node: Ipv4Addr) -> io::Result<()> {
        let to = if fault == Fault::Destination { node } else { GROUP };
        let ttl = if fault == Fault::TtlNot255 { 64 } else { 255 };
        self.socket.set_multicast_ttl_v4(ttl)?;
        self.socket.set_ttl_v4(ttl)?;
        let packet = self.packet(fault, to);
        self.socket.send_to(&packet, &SocketAddr::V4(SocketAddrV4::new(to, 0)).into())?;
        Ok(())
    }

    fn packet(&self, fault: Fault, to: Ipv4Addr) -> Vec<u8> {
        let kind = match fault {
            Fault::Version => 0x51,
            Fault::Type => 0x32,
            _ => 0x31,
        };
        let vrid = if fault == Fault::UnknownVrid { self.vrid + 100 } else { self.vrid };
        let interval = if fault == Fault::Interval { 0 } else { self.interval };
        let count = if fault == Fault::AddressCount { 7 } else { 1 };
        let mut packet = vec![kind, vrid, 254, count];
        packet.extend(interval.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(self.vip.octets());
        if fault == Fault::Truncated {
            packet.truncate(6);
            return packet;
        }
        let mut sum = checksum(&packet, self.source, to);
        if fault == Fault::Checksum {
            sum ^= 0x5555;
        }
        packet[6..8].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

/// The Internet checksum over pseudo-header and message (RFC 9568 5.2.8, as keepalived sends it).
fn checksum(message: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> u16 {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes: Vec<u8> = Vec::new();
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend([0, VRRP]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// The address as IPv4.
#[must_use]
#[track_caller]
pub fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is no IPv4 address"),
    }
}
