//! Gratuitous ARP (RFC 826, RFC 5227 section 3), as keepalived sends it: a request. And the question who has an address.

use std::net::{IpAddr, Ipv4Addr};

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};

use super::{Announcement, ETHERNET_LEN, Mac};

/// Bytes of an announcement: Ethernet header and ARP message.
pub const ANNOUNCEMENT_LEN: usize = ETHERNET_LEN + 28;

const BROADCAST: Mac = [0xff; 6];

/// The Ethernet frame that tells the segment that `address` is at `mac`: sender and target are the address itself,
/// the target's hardware address is all ones.
#[must_use]
pub fn announcement(address: Ipv4Addr, mac: Mac) -> [u8; ANNOUNCEMENT_LEN] {
    emit_request(mac, address, BROADCAST, address)
}

/// The Ethernet frame that asks the segment who has `target`. `source` is the asker's address; unspecified, nobody
/// learns anything from the question (RFC 5227's probe).
#[must_use]
pub fn request(target: Ipv4Addr, source: Ipv4Addr, mac: Mac) -> [u8; ANNOUNCEMENT_LEN] {
    emit_request(mac, source, [0; 6], target)
}

fn emit_request(mac: Mac, source: Ipv4Addr, target_mac: Mac, target: Ipv4Addr) -> [u8; ANNOUNCEMENT_LEN] {
    let mut frame = [0; ANNOUNCEMENT_LEN];
    super::emit_ethernet(&mut frame, BROADCAST, mac, EtherTypes::Arp);
    if let Some(mut arp) = frame.get_mut(ETHERNET_LEN..).and_then(MutableArpPacket::new) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(ArpOperations::Request);
        arp.set_sender_hw_addr(mac.into());
        arp.set_sender_proto_addr(source);
        arp.set_target_hw_addr(target_mac.into());
        arp.set_target_proto_addr(target);
    }
    frame
}

/// Who says that they have which address: the sender of a request or a reply. A probe (RFC 5227: sender 0.0.0.0)
/// says nothing.
pub(super) fn parse(ethernet: &EthernetPacket<'_>) -> Option<Announcement> {
    let arp = ArpPacket::new(ethernet.payload())?;
    let ordinary = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && arp.get_hw_addr_len() == 6
        && arp.get_proto_addr_len() == 4;
    let operation = arp.get_operation();
    let told = operation == ArpOperations::Request || operation == ArpOperations::Reply;
    let address = arp.get_sender_proto_addr();
    if !ordinary || !told || address.is_unspecified() {
        return None;
    }
    Some(Announcement {
        address: IpAddr::V4(address),
        mac: arp.get_sender_hw_addr().octets(),
        to: IpAddr::V4(arp.get_target_proto_addr()),
    })
}
