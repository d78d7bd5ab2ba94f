//! Adverts on their way out: which destinations, behind which IP header.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use crate::model::{Family, PreparedPacket, VirtualRouter};
use crate::os::raw::Sender;
use crate::wire::ip;
use crate::wire::vrrp::{Advertisement, GROUP_V4, GROUP_V6, Stamp};

/// The sockets adverts leave by.
#[derive(Debug)]
pub(super) struct Egress {
    v4: Sender,
    /// None where the kernel has no IPv6.
    v6: Option<Sender>,
}

impl Egress {
    /// Opens them. `PermissionDenied` without CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Self> {
        let v6 = match Sender::open(Family::V6) {
            Ok(sender) => Some(sender),
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4: Sender::open(Family::V4)?, v6 })
    }

    /// Sends a packet.
    pub(super) fn send(&self, packet: &PreparedPacket) -> io::Result<()> {
        let sender = match packet.family {
            Family::V4 => &self.v4,
            Family::V6 => self.v6.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?,
        };
        sender.send(&packet.bytes, packet.destination, packet.ifindex)
    }
}

/// Where an advert leaves from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// Its source address.
    pub(super) source: IpAddr,
    /// Index of the interface it leaves by.
    pub(super) index: u32,
    /// IPv4 identification.
    pub(super) id: u16,
    /// When it is sealed, if its router has a key.
    pub(super) stamp: Option<Stamp>,
}

/// The packets that carry `advert`: one to the group, or one to each peer.
pub(super) fn prepare(router: &VirtualRouter, advert: &Advertisement, origin: Origin) -> Vec<PreparedPacket> {
    let group = [group(router)];
    let peers: Vec<IpAddr> = router.peers.iter().map(|peer| peer.address).collect();
    let destinations = if peers.is_empty() { group.as_slice() } else { peers.as_slice() };
    destinations
        .iter()
        .filter_map(|destination| {
            let bytes = packet(router, advert, origin, *destination)?;
            let ifindex = if is_on_link(*destination) { origin.index } else { 0 };
            Some(PreparedPacket { family: router.family, ifindex, destination: *destination, bytes, seal: None })
        })
        .collect()
}

/// The group a router speaks to and listens to.
pub(super) fn group(router: &VirtualRouter) -> IpAddr {
    router.group.unwrap_or(match router.family {
        Family::V4 => IpAddr::V4(GROUP_V4),
        Family::V6 => IpAddr::V6(GROUP_V6),
    })
}

/// The header's length field wants the message first: it is written behind room for the header.
fn packet(router: &VirtualRouter, advert: &Advertisement, origin: Origin, destination: IpAddr) -> Option<Vec<u8>> {
    let Origin { source, id, stamp, .. } = origin;
    let mut message = Vec::with_capacity(64);
    match (&router.hmac, stamp) {
        (Some(key), Some(stamp)) => {
            advert.emit_sealed(&mut message, source, destination, router.checksum, (key, stamp));
        }
        (Some(_), None) | (None, _) => advert.emit(&mut message, source, destination, router.checksum),
    }
    let ttl = if destination.is_multicast() { u8::MAX } else { router.unicast_ttl };
    let mut packet = Vec::with_capacity(ip::IPV6_LEN + message.len());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ip::emit_v4(&mut packet, source, destination, (id, ttl), message.len());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ip::emit_v6(&mut packet, source, destination, ttl, message.len())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    }
    packet.extend_from_slice(&message);
    Some(packet)
}

/// Whether an address means something on one interface only; others are routed.
fn is_on_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast(),
        IpAddr::V6(address) => address.is_multicast() || Ipv6Addr::is_unicast_link_local(&address),
    }
}
