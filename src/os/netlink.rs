//! Address messages of rtnetlink(7), for whoever sends them.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::model::Prefix;

/// The message part that names an address on an interface: enough to remove it.
#[must_use]
pub fn address(ifindex: u32, prefix: Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = ifindex;
    message.header.prefix_len = prefix.length;
    message.header.family = match prefix.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes.push(AddressAttribute::Local(prefix.address));
    message.attributes.push(AddressAttribute::Address(prefix.address));
    message
}

/// The bytes of a request to remove an address, ready to be sent to the kernel.
#[must_use]
pub fn removal(ifindex: u32, prefix: Prefix) -> Vec<u8> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::DelAddress(address(ifindex, prefix)));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}
