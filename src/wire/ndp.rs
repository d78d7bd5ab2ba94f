//! Unsolicited neighbour advertisements (RFC 4861 sections 4.4 and 7.2.6), and solicitations (4.3).

use std::net::{IpAddr, Ipv6Addr};

use pnet_packet::Packet;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOptionTypes, NeighborAdvertFlags,
    NeighborAdvertPacket,
};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::{Announcement, ETHERNET_LEN, Mac, checksum, ip};

/// Bytes of an announcement: Ethernet, IPv6, neighbour advertisement, target link-layer address option.
pub const ANNOUNCEMENT_LEN: usize = ETHERNET_LEN + ip::IPV6_LEN + MESSAGE_LEN;

const MESSAGE_LEN: usize = 24 + 8;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
/// ICMPv6's checksum is its second 16-bit word.
const CHECKSUM_FIELD: usize = 1;

/// The Ethernet frame that tells the segment that `address` is at `mac`. `router`: this node forwards, so hosts
/// that have it as a router keep it as one.
#[must_use]
pub fn announcement(address: Ipv6Addr, mac: Mac, router: bool) -> [u8; ANNOUNCEMENT_LEN] {
    let mut frame = [0; ANNOUNCEMENT_LEN];
    super::emit_ethernet(&mut frame, ALL_NODES_MAC, mac, EtherTypes::Ipv6);
    emit_header(&mut frame, address, ALL_NODES);
    if let Some(message) = frame.get_mut(ETHERNET_LEN + ip::IPV6_LEN..) {
        emit_message(message, address, mac, router);
    }
    frame
}

/// The Ethernet frame that asks the segment who has `target`, to its solicited-node group. `source` is the asker's
/// address, at `mac`.
#[must_use]
pub fn solicitation(target: Ipv6Addr, source: Ipv6Addr, mac: Mac) -> [u8; ANNOUNCEMENT_LEN] {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let mut frame = [0; ANNOUNCEMENT_LEN];
    super::emit_ethernet(&mut frame, [0x33, 0x33, 0xff, a, b, c], mac, EtherTypes::Ipv6);
    emit_header(&mut frame, source, group);
    let message = frame.get_mut(ETHERNET_LEN + ip::IPV6_LEN..).and_then(MutableNeighborSolicitPacket::new);
    if let Some(mut solicit) = message {
        solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        solicit.set_target_addr(target);
        solicit.get_options_raw_mut().copy_from_slice(&link_address(NdpOptionTypes::SourceLLAddr.0, mac));
        let (source, group) = (IpAddr::V6(source), IpAddr::V6(group));
        let protocol = IpNextHeaderProtocols::Icmpv6.0;
        let sum = checksum::with_pseudo_header(solicit.packet(), CHECKSUM_FIELD, source, group, protocol);
        solicit.set_checksum(sum);
    }
    frame
}

fn emit_header(frame: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
    if let Some(mut header) = frame.get_mut(ETHERNET_LEN..).and_then(MutableIpv6Packet::new) {
        header.set_version(6);
        header.set_payload_length(MESSAGE_LEN as u16);
        header.set_next_header(IpNextHeaderProtocols::Icmpv6);
        header.set_hop_limit(255);
        header.set_source(source);
        header.set_destination(destination);
    }
}

/// A link-layer address option; its length is in units of 8 bytes.
fn link_address(kind: u8, mac: Mac) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac;
    [kind, 1, a, b, c, d, e, f]
}

fn emit_message(message: &mut [u8], address: Ipv6Addr, mac: Mac, router: bool) {
    let protocol = IpNextHeaderProtocols::Icmpv6.0;
    let Some(mut advert) = MutableNeighborAdvertPacket::new(message) else { return };
    advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    let router = if router { NeighborAdvertFlags::Router } else { 0 };
    advert.set_flags(NeighborAdvertFlags::Override | router);
    advert.set_target_addr(address);
    advert.get_options_raw_mut().copy_from_slice(&link_address(NdpOptionTypes::TargetLLAddr.0, mac));
    let sum = checksum::with_pseudo_header(
        advert.packet(),
        CHECKSUM_FIELD,
        IpAddr::V6(address),
        IpAddr::V6(ALL_NODES),
        protocol,
    );
    advert.set_checksum(sum);
}

/// Who says that they have which address. Checked as RFC 4861 section 7.1.2 asks, so that a packet from beyond the
/// link never counts.
pub(super) fn parse(ethernet: &EthernetPacket<'_>) -> Option<Announcement> {
    let header = Ipv6Packet::new(ethernet.payload())?;
    let length = usize::from(header.get_payload_length());
    let message = ethernet.payload().get(ip::IPV6_LEN..)?.get(..length)?;
    let (source, destination) = (IpAddr::V6(header.get_source()), IpAddr::V6(header.get_destination()));
    let icmp = Icmpv6Packet::new(message)?;
    let valid = header.get_version() == 6
        && header.get_hop_limit() == 255
        && header.get_next_header() == IpNextHeaderProtocols::Icmpv6
        && icmp.get_icmpv6_type() == Icmpv6Types::NeighborAdvert
        && icmp.get_icmpv6_code() == Icmpv6Code(0)
        && checksum::is_valid_with_pseudo_header(message, source, destination, IpNextHeaderProtocols::Icmpv6.0);
    if !valid {
        return None;
    }
    let target = NeighborAdvertPacket::new(message)?.get_target_addr();
    Some(Announcement { address: IpAddr::V6(target), mac: ethernet.get_source().octets(), to: destination })
}
