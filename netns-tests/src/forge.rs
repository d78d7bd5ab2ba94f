//! Advertisements with exactly one fault: everything else about them, the checksum too, is right.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
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
    /// The password of version 2, not the right one; none for version 3.
    password: Option<[u8; 8]>,
}

/// What is wrong with an advertisement; the labels are vipgate's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Cut off in the middle of its first address.
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
    /// Without any address.
    AddressCount,
    /// Sent to the node itself instead of to the group.
    Destination,
    /// With a wrong password: version 2 alone has any.
    Authentication,
}

/// An advertisement behind its IP header, ready to be sent.
struct Prepared {
    bytes: Vec<u8>,
    to: SocketAddrV4,
}

impl Fault {
    /// Every fault of version 3.
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
            Self::Authentication => "authentication",
        }
    }
}

impl Forger {
    /// A forger on `node` with the address `source`, for the version-3 router `vrid` of `vip`.
    #[track_caller]
    pub fn new(node: &Node, source: Ipv4Addr, vrid: u8, vip: Ipv4Addr, centiseconds: u16) -> Self {
        let socket = node.exec_in(|| {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(VRRP))))?;
            socket.set_header_included_v4(true)?;
            socket.set_multicast_if_v4(&source)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
            Ok::<_, io::Error>(socket)
        });
        Self { socket: socket.expect("a raw socket"), source, vrid, vip, interval: centiseconds, password: None }
    }

    /// The same for a version-2 router with an interval in seconds and a PASS password, which is another one.
    #[must_use]
    pub fn version2(self, seconds: u16, password: [u8; 8]) -> Self {
        Self { interval: seconds, password: Some(password), ..self }
    }

    /// Sends faulty advertisements, of `faults` in turn, `rate` a second for `span`; fewer if that cannot be reached.
    /// Says how many.
    #[must_use]
    pub fn flood(&self, faults: &[Fault], nodes: &[Ipv4Addr], rate: u32, span: Duration) -> usize {
        /// Shorter bursts cost more than they even out.
        const BURST: Duration = Duration::from_micros(500);
        /// The kernel takes so many at once.
        const BATCH: usize = 64;
        let ways = || nodes.iter().flat_map(|&node| faults.iter().map(move |&fault| (fault, node)));
        let packets: Vec<Prepared> = ways().map(|(fault, node)| self.prepare(fault, node)).collect();
        // As many as a batch that begins anywhere goes through.
        let round = || packets.iter().cycle().take(packets.len() + BATCH);
        let bytes: Vec<[IoSlice<'_>; 1]> = round().map(|packet| [IoSlice::new(&packet.bytes)]).collect();
        let to: Vec<Option<SockaddrIn>> = round().map(|packet| Some(packet.to.into())).collect();
        let mut headers = MultiHeaders::preallocate(BATCH, None);
        act_as_another_machine();
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < span {
            // Absolute pace: a late round is followed by a longer one.
            let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as usize;
            while sent < due && begun.elapsed() < span {
                let first = sent % packets.len();
                let batch = first..first + BATCH.min(due - sent);
                let (bytes, to) = (&bytes[batch.clone()], &to[batch]);
                match sendmmsg(self.socket.as_raw_fd(), &mut headers, bytes, to, [], MsgFlags::empty()) {
                    Ok(taken) => sent += taken.count(),
                    Err(_) => break,
                }
            }
            std::thread::sleep(BURST);
        }
        sent
    }

    /// Sends one faulty advertisement of priority 254, which would win an election; `node` is where [`Fault::Destination`] goes.
    pub fn send(&self, fault: Fault, node: Ipv4Addr) -> io::Result<()> {
        let packet = self.prepare(fault, node);
        self.socket.send_to(&packet.bytes, &SocketAddr::V4(packet.to).into())?;
        Ok(())
    }

    fn prepare(&self, fault: Fault, node: Ipv4Addr) -> Prepared {
        let to = if fault == Fault::Destination { node } else { GROUP };
        let ttl = if fault == Fault::TtlNot255 { 64 } else { 255 };
        let message = self.packet(fault, to);
        // The kernel fills in length, identification and checksum (raw(7)).
        let mut bytes = vec![0x45, 0xc0, 0, 0, 0, 0, 0, 0, ttl, VRRP, 0, 0];
        bytes.extend(self.source.octets());
        bytes.extend(to.octets());
        bytes.extend(message);
        Prepared { bytes, to: SocketAddrV4::new(to, 0) }
    }

    fn packet(&self, fault: Fault, to: Ipv4Addr) -> Vec<u8> {
        let version = if self.password.is_some() { 0x20 } else { 0x30 };
        let kind = match fault {
            Fault::Version => 0x51,
            Fault::Type => version | 2,
            _ => version | 1,
        };
        let vrid = if fault == Fault::UnknownVrid { self.vrid + 100 } else { self.vrid };
        let interval = if fault == Fault::Interval { 0 } else { self.interval };
        let addresses: &[Ipv4Addr] = if fault == Fault::AddressCount { &[] } else { &[self.vip] };
        let mut packet = vec![kind, vrid, 254, u8::try_from(addresses.len()).unwrap_or(u8::MAX)];
        // Version 2: authentication type 1, then the interval's one byte.
        let field = if self.password.is_some() { 0x0100 | interval } else { interval };
        packet.extend(field.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(addresses.iter().flat_map(Ipv4Addr::octets));
        packet.extend(self.password.into_iter().flatten());
        if fault == Fault::Truncated {
            packet.truncate(10);
            return packet;
        }
        let pseudo_header = self.password.is_none().then_some((self.source, to));
        let mut sum = checksum(&packet, pseudo_header);
        if fault == Fault::Checksum {
            sum ^= 0x5555;
        }
        packet[6..8].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

/// Who floods waits for hardly any program of this machine; those that keep time go before it all the same.
fn act_as_another_machine() {
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("renice").args(["-n", "-10", "-p", &thread]).output();
}

/// The Internet checksum over the message, in version 3 with a pseudo-header before it (RFC 9568 5.2.8, as keepalived
/// sends it).
fn checksum(message: &[u8], pseudo_header: Option<(Ipv4Addr, Ipv4Addr)>) -> u16 {
    let mut bytes: Vec<u8> = Vec::new();
    if let Some((source, destination)) = pseudo_header {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.extend([0, VRRP]);
        bytes.extend(length.to_be_bytes());
    }
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
