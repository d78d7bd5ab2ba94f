//! What a killed daemon would leave behind, ready to be undone.

use std::net::IpAddr;

use super::net::{Family, Prefix};
use super::vrrp::HmacKey;

/// The newest list of what to undo; it replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Estate {
    /// Priority-0 advertisements, sent first.
    pub adverts: Vec<PreparedPacket>,
    /// Addresses, removed in this order.
    pub addresses: Vec<OwnedAddress>,
    /// Requests of rtnetlink(7) that remove rules, routes and links, and restore what they changed; sent last, in this
    /// order.
    pub removals: Vec<Vec<u8>>,
    /// Requests to nf_tables that end the fence around the addresses; sent when everything else is done. Empty: none.
    pub netfilter: Vec<u8>,
}

/// An IP packet ready to be sent, header included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPacket {
    /// IP version.
    pub family: Family,
    /// Index of the interface it must leave by; 0: as routed.
    pub ifindex: u32,
    /// The destination in its header.
    pub destination: IpAddr,
    /// The packet.
    pub bytes: Vec<u8>,
    /// What its seal is renewed with by whoever sends it later; none: it has none, or is sent at once.
    pub seal: Option<HmacKey>,
}

/// An address set on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedAddress {
    /// The interface's index.
    pub ifindex: u32,
    /// Address and prefix length.
    pub prefix: Prefix,
}
