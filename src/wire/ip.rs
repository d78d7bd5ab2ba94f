//! IP headers as VRRP needs them: precedence "internetwork control".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::vrrp::{self, Envelope, Rejected};

/// Bytes of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Bytes of an IPv6 header.
pub const IPV6_LEN: usize = 40;
/// Precedence 6, internetwork control: as keepalived sends it, so that queues on the way prefer it.
pub const PRECEDENCE: u8 = 0xc0;

/// Appends the IPv4 header of a VRRP message of `length` bytes that follows. `id` is the identification field: a
/// raw socket replaces 0 by a number of the kernel's own, so count it up and leave 0 out.
pub fn emit_v4(buffer: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr, (id, ttl): (u16, u8), length: usize) {
    let mut header = [0; IPV4_LEN];
    if let Some(mut ip) = MutableIpv4Packet::new(&mut header) {
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_dscp(PRECEDENCE >> 2);
        ip.set_total_length(saturate(IPV4_LEN.saturating_add(length)));
        ip.set_identification(id);
        ip.set_ttl(ttl);
        ip.set_next_level_protocol(IpNextHeaderProtocol(vrrp::PROTOCOL));
        ip.set_source(source);
        ip.set_destination(destination);
        let checksum = ipv4::checksum(&ip.to_immutable());
        ip.set_checksum(checksum);
    }
    buffer.extend_from_slice(&header);
}

/// Appends the IPv6 header of a VRRP message of `length` bytes that follows (for a socket with IPV6_HDRINCL).
pub fn emit_v6(buffer: &mut Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, length: usize) {
    let mut header = [0; IPV6_LEN];
    if let Some(mut ip) = MutableIpv6Packet::new(&mut header) {
        ip.set_version(6);
        ip.set_traffic_class(PRECEDENCE);
        ip.set_payload_length(saturate(length));
        ip.set_next_header(IpNextHeaderProtocol(vrrp::PROTOCOL));
        ip.set_hop_limit(hop_limit);
        ip.set_source(source);
        ip.set_destination(destination);
    }
    buffer.extend_from_slice(&header);
}

/// Splits a packet as a raw IPv4 socket yields it into what its header says and the VRRP message behind it. Bytes
/// after the total length are padding and cut off.
pub fn parse_v4(packet: &[u8]) -> Result<(Envelope, &[u8]), Rejected> {
    let ip = Ipv4Packet::new(packet).ok_or(Rejected::Truncated)?;
    if ip.get_version() != 4 {
        return Err(Rejected::Destination);
    }
    let header = usize::from(ip.get_header_length()) * 4;
    let total = usize::from(ip.get_total_length());
    let whole = header >= IPV4_LEN && total >= header && total <= packet.len();
    let fragment = ip.get_fragment_offset() != 0 || ip.get_flags() & ipv4::Ipv4Flags::MoreFragments != 0;
    if !whole || fragment {
        return Err(Rejected::Truncated);
    }
    if ip.get_next_level_protocol().0 != vrrp::PROTOCOL {
        return Err(Rejected::Type);
    }
    let envelope = Envelope {
        source: IpAddr::V4(ip.get_source()),
        destination: IpAddr::V4(ip.get_destination()),
        ttl: ip.get_ttl(),
    };
    packet.get(header..total).map(|message| (envelope, message)).ok_or(Rejected::Truncated)
}

/// Source and destination of a packet with a header of [`emit_v4`] or [`emit_v6`], and where the message begins.
pub(super) fn ends(packet: &[u8]) -> Option<(IpAddr, IpAddr, usize)> {
    match packet.first()? >> 4 {
        4 => Ipv4Packet::new(packet).map(|ip| (ip.get_source().into(), ip.get_destination().into(), IPV4_LEN)),
        6 => Ipv6Packet::new(packet).map(|ip| (ip.get_source().into(), ip.get_destination().into(), IPV6_LEN)),
        _ => None,
    }
}

/// Lengths on the wire have 16 bits; what is longer is cut by the network, not by a wrong number.
fn saturate(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}
