//! Pure codecs: bytes to values and back. No clock, no socket; every parser takes what the network gave it, indexes
//! nothing unchecked and never panics.

pub mod arp;
pub mod checksum;
pub mod http_request;
pub mod icmp;
pub mod ip;
pub mod ndp;
pub mod nft;
pub mod peers;
pub mod proxy_header;
pub mod rdp;
pub mod sk_lookup;
pub mod tls;
pub mod vrrp;
mod vrrp_seal;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};

/// A link-layer address.
pub type Mac = [u8; 6];

/// Bytes of an Ethernet header without VLAN tag.
const ETHERNET_LEN: usize = 14;

/// Somebody says on the segment that an address is theirs (ARP, or a neighbour advertisement).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// The address.
    pub address: IpAddr,
    /// Who says so.
    pub mac: Mac,
    /// Whom it is told: the target of an ARP message, the destination of an advertisement.
    pub to: IpAddr,
}

impl Announcement {
    /// The announcement in an Ethernet frame, if it is one.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame)?;
        match ethernet.get_ethertype() {
            EtherTypes::Arp => arp::parse(&ethernet),
            EtherTypes::Ipv6 => ndp::parse(&ethernet),
            _ => None,
        }
    }
}

/// Writes an Ethernet header to the beginning of `frame`, which has room for it.
fn emit_ethernet(frame: &mut [u8], destination: Mac, source: Mac, ethertype: pnet_packet::ethernet::EtherType) {
    if let Some(mut ethernet) = MutableEthernetPacket::new(frame) {
        ethernet.set_destination(destination.into());
        ethernet.set_source(source.into());
        ethernet.set_ethertype(ethertype);
    }
}
