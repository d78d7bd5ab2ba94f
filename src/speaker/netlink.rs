//! Requests to the kernel about addresses, and its notifications.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::neighbour::NeighbourState;
use rtnetlink::{Handle, MulticastGroup};

use super::interfaces::{Interfaces, OUR_PROTOCOL};
use super::kernel::{Notification, Notifications, Refused};
use super::{routes, rules};
use crate::model::{Family, Prefix, Scope, VirtualAddress};
use crate::os;

/// Requests in flight at once: enough to keep the kernel busy, few enough for a socket buffer.
pub(super) const PIPELINE: usize = 64;

/// Opens the connection for requests. Within a runtime; the connection lives as long as a handle.
pub(super) fn connect() -> io::Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}

/// Subscribes to link and address notifications, on a connection of their own.
pub(super) fn subscribe() -> io::Result<Notifications> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    // The handle is kept: without one the connection would end.
    Ok(messages
        .map(move |(message, _)| {
            let _ = &handle;
            notification(message.payload)
        })
        .boxed())
}

/// Tells each time when routes or rules of ours may have been removed or displaced. On a connection of its own: a node
/// with many routes must not drown the news of links.
pub(super) fn routing_losses() -> io::Result<BoxStream<'static, ()>> {
    let groups =
        [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route, MulticastGroup::Ipv4Rule, MulticastGroup::Ipv6Rule];
    let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    let is_loss = move |message: &NetlinkMessage<RouteNetlinkMessage>| {
        let _ = &handle;
        match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) => routes::is_ours(route),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRule(rule)) => rules::is_ours(rule),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                message.header.flags & NLM_F_REPLACE != 0 && !routes::is_ours(route)
            }
            NetlinkPayload::InnerMessage(_) => false,
            _ => true,
        }
    };
    Ok(messages.filter_map(move |(message, _)| std::future::ready(is_loss(&message).then_some(()))).boxed())
}

/// What is no notification says that some were lost.
fn notification(payload: NetlinkPayload<RouteNetlinkMessage>) -> Notification {
    match payload {
        NetlinkPayload::InnerMessage(message) => Notification::Changed(message),
        _ => Notification::Lost,
    }
}

/// Reads every link and address.
pub(super) async fn dump(handle: &Handle) -> io::Result<Interfaces> {
    let mut interfaces = Interfaces::default();
    let mut links = std::pin::pin!(handle.link().get().execute());
    while let Some(link) = links.next().await {
        interfaces.apply(&RouteNetlinkMessage::NewLink(link.map_err(io::Error::other)?));
    }
    let mut addresses = std::pin::pin!(handle.address().get().execute());
    while let Some(address) = addresses.next().await {
        interfaces.apply(&RouteNetlinkMessage::NewAddress(address.map_err(io::Error::other)?));
    }
    Ok(interfaces)
}

/// Sets addresses, in this order; the results are in it too. `EEXIST`: it is there already.
pub(super) async fn set(handle: &Handle, wanted: &[(u32, VirtualAddress)]) -> Vec<Result<(), Refused>> {
    let mut results = Vec::with_capacity(wanted.len());
    for chunk in wanted.chunks(PIPELINE) {
        results.extend(join_all(chunk.iter().map(|(index, address)| add(handle, *index, address))).await);
    }
    results
}

async fn add(handle: &Handle, index: u32, address: &VirtualAddress) -> Result<(), Refused> {
    let mut request = handle.address().add(index, address.prefix.address, address.prefix.length);
    *request.message_mut() = message(index, address);
    request.execute().await.map_err(refused)
}

/// Removes addresses, in this order. One that is not there is as good as removed.
pub(super) async fn remove(handle: &Handle, unwanted: &[(u32, Prefix)]) -> Vec<Result<(), Refused>> {
    let mut results = Vec::with_capacity(unwanted.len());
    for chunk in unwanted.chunks(PIPELINE) {
        results.extend(join_all(chunk.iter().map(|(index, prefix)| remove_one(handle, *index, *prefix))).await);
    }
    results
}

async fn remove_one(handle: &Handle, index: u32, prefix: Prefix) -> Result<(), Refused> {
    match handle.address().del(os::netlink::address(index, prefix)).execute().await.map_err(refused) {
        Err(Refused(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
        result => result,
    }
}

/// Deletes the neighbours on these interfaces that have not answered: the next packet for one asks again at once.
pub(super) async fn forget_unreached(handle: &Handle, indexes: &BTreeSet<u32>) -> io::Result<()> {
    let mut unreached = Vec::new();
    let mut neighbours = std::pin::pin!(handle.neighbours().get().execute());
    while let Some(neighbour) = neighbours.next().await {
        let neighbour = neighbour.map_err(io::Error::other)?;
        let header = &neighbour.header;
        let unanswered = matches!(header.state, NeighbourState::Incomplete | NeighbourState::Failed);
        if unanswered && indexes.contains(&header.ifindex) {
            unreached.push(neighbour);
        }
    }
    for neighbour in unreached {
        // One that is gone, or has answered meanwhile, is as good as forgotten.
        let _ = handle.neighbours().del(neighbour).execute().await;
    }
    Ok(())
}

/// A request with flags of its own, beside `NLM_F_REQUEST` and `NLM_F_ACK`.
pub(super) async fn request(handle: &Handle, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refused> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut answers = handle.clone().request(request).map_err(refused)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(message) = answer.payload {
            return Err(refused(rtnetlink::Error::NetlinkError(message)));
        }
    }
    Ok(())
}

/// The bytes of a request, ready to be sent to the kernel.
pub(super) fn serialize(message: RouteNetlinkMessage) -> Vec<u8> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

pub(super) fn refused(error: rtnetlink::Error) -> Refused {
    match error {
        rtnetlink::Error::NetlinkError(message) => Refused(message.raw_code().abs()),
        _ => Refused(libc::EPROTO),
    }
}

/// The address as it is to be: no duplicate detection, for the address moves between nodes by design, and an IPv6
/// host address is never chosen as a source: connections of this node would end with it when it moves.
pub(super) fn message(index: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = os::netlink::address(index, address.prefix);
    message.header.scope = match address.scope {
        Scope::Global => AddressScope::Universe,
        Scope::Site => AddressScope::Site,
        Scope::Link => AddressScope::Link,
        Scope::Host => AddressScope::Host,
    };
    if let Some(label) = &address.label {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if let Some(broadcast) = address.broadcast.filter(|broadcast| *broadcast != Ipv4Addr::UNSPECIFIED) {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if matches!(address.prefix.address, IpAddr::V6(_)) {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        if address.prefix.length == Family::V6.bits() {
            message.attributes.push(AddressAttribute::CacheInfo(deprecated()));
        }
    }
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)));
    message
}

/// Valid for ever, preferred never.
fn deprecated() -> CacheInfo {
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_valid = u32::MAX;
    lifetimes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_address_is_no_source() {
        let lifetimes = |prefix: &str| {
            let message = message(7, &VirtualAddress::new(prefix.parse().unwrap(), "eth0".parse().unwrap()));
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::CacheInfo(lifetimes) => Some((lifetimes.ifa_preferred, lifetimes.ifa_valid)),
                _ => None,
            })
        };
        assert_eq!(lifetimes("2001:db8::9/128"), Some((0, u32::MAX)));
        assert_eq!((lifetimes("2001:db8::9/64"), lifetimes("192.0.2.9/32")), (None, None));
    }

    #[test]
    fn an_address_carries_what_is_configured_and_our_mark() {
        let address = VirtualAddress {
            prefix: "192.0.2.9/24".parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            label: Some("eth0:9".into()),
            scope: Scope::Link,
            broadcast: Some(Ipv4Addr::new(192, 0, 2, 255)),
        };
        let message = message(7, &address);
        assert_eq!((message.header.index, message.header.prefix_len), (7, 24));
        assert_eq!(message.header.scope, AddressScope::Link);
        assert!(message.attributes.contains(&AddressAttribute::Label("eth0:9".into())));
        assert!(message.attributes.contains(&AddressAttribute::Broadcast(Ipv4Addr::new(192, 0, 2, 255))));
        assert!(message.attributes.contains(&AddressAttribute::Protocol(AddressProtocol::Other(b'v'))));
    }

    #[test]
    fn no_broadcast_and_no_duplicate_detection_unless_asked() {
        let address = VirtualAddress::new("2001:db8::9/64".parse().unwrap(), "eth0".parse().unwrap());
        let message = message(7, &address);
        assert!(message.attributes.contains(&AddressAttribute::Flags(AddressFlags::Nodad)));
        assert!(!message.attributes.iter().any(|attribute| matches!(attribute, AddressAttribute::Broadcast(_))));
    }
}
