//! Routes in the kernel: set, removed, found again. Ours carry our number as their protocol (rtm_protocol).

use std::net::IpAddr;

use futures_util::StreamExt;
use futures_util::future::join_all;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::Handle;

use super::interfaces::OUR_PROTOCOL;
use super::kernel::Refused;
use super::netlink::{PIPELINE, refused, request, serialize};
use crate::model::{Route, RouteKind, Scope};

/// A route and the index of the interface it names, if it names one.
pub(super) type Placed = (Route, Option<u32>);

/// Sets routes, in this order; the results are in it too. `EEXIST`: the very same is there already. Somebody else's of
/// the same destination and metric stays, behind ours (IPv4), as with `ip route prepend`.
pub(super) async fn set(handle: &Handle, wanted: &[Placed]) -> Vec<Result<(), Refused>> {
    let mut results = Vec::with_capacity(wanted.len());
    for chunk in wanted.chunks(PIPELINE) {
        results.extend(join_all(chunk.iter().map(|placed| set_one(handle, placed))).await);
    }
    results
}

async fn set_one(handle: &Handle, (route, index): &Placed) -> Result<(), Refused> {
    // Neither NLM_F_EXCL nor NLM_F_REPLACE, one of which `handle.route().add()` always sets.
    request(handle, RouteNetlinkMessage::NewRoute(message(route, *index)), NLM_F_CREATE).await
}

/// Removes routes of ours, in this order. One that is not there, or is somebody else's, is as good as removed.
pub(super) async fn remove(handle: &Handle, unwanted: &[Placed]) -> Vec<Result<(), Refused>> {
    let messages: Vec<_> = unwanted.iter().map(|(route, index)| message(route, *index)).collect();
    remove_messages(handle, messages).await
}

/// Every route of ours, as the kernel tells it: what this run set, or what an earlier one left behind.
pub(super) async fn ours(handle: &Handle) -> Result<Vec<RouteMessage>, rtnetlink::Error> {
    matching(handle, is_ours).await
}

/// The next hops of the default routes of the main table, each with the index of its interface.
pub(super) async fn gateways(handle: &Handle) -> Result<Vec<(u32, IpAddr)>, rtnetlink::Error> {
    let is_default = |route: &RouteMessage| {
        route.header.table == RouteHeader::RT_TABLE_MAIN && route.header.destination_prefix_length == 0
    };
    Ok(matching(handle, is_default).await?.iter().flat_map(next_hops).collect())
}

/// The routes of both families that are meant.
async fn matching(
    handle: &Handle,
    is_meant: impl Fn(&RouteMessage) -> bool,
) -> Result<Vec<RouteMessage>, rtnetlink::Error> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        let mut routes = std::pin::pin!(handle.route().get(all).execute());
        while let Some(route) = routes.next().await {
            found.extend(Some(route?).filter(&is_meant));
        }
    }
    Ok(found)
}

fn next_hops(route: &RouteMessage) -> Vec<(u32, IpAddr)> {
    let gateway = |attributes: &[RouteAttribute]| {
        attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) | RouteAttribute::Via(RouteVia::Inet(address)) => {
                Some(IpAddr::V4(*address))
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) | RouteAttribute::Via(RouteVia::Inet6(address)) => {
                Some(IpAddr::V6(*address))
            }
            _ => None,
        })
    };
    let mut hops = Vec::new();
    let index = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    hops.extend(index.zip(gateway(&route.attributes)));
    for attribute in &route.attributes {
        if let RouteAttribute::MultiPath(paths) = attribute {
            hops.extend(paths.iter().filter_map(|hop| Some((hop.interface_index, gateway(&hop.attributes)?))));
        }
    }
    hops
}

/// Removes routes as the kernel told them. One that is gone meanwhile is as good as removed.
pub(super) async fn remove_messages(
    handle: &Handle,
    unwanted: impl IntoIterator<Item = RouteMessage>,
) -> Vec<Result<(), Refused>> {
    let mut unwanted = unwanted.into_iter().peekable();
    let mut results = Vec::new();
    while unwanted.peek().is_some() {
        let chunk: Vec<RouteMessage> = unwanted.by_ref().take(PIPELINE).collect();
        results.extend(join_all(chunk.into_iter().map(|message| remove_one(handle, message))).await);
    }
    results
}

async fn remove_one(handle: &Handle, message: RouteMessage) -> Result<(), Refused> {
    match handle.route().del(message).execute().await.map_err(refused) {
        // IPv4 has no such route, IPv6 has none, the interface is gone.
        Err(Refused(libc::ESRCH | libc::ENOENT | libc::ENODEV)) => Ok(()),
        result => result,
    }
}

/// Whether this program set it.
pub(super) fn is_ours(message: &RouteMessage) -> bool {
    message.header.protocol == RouteProtocol::Other(OUR_PROTOCOL)
}

/// A request to remove the route, ready to be sent to the kernel.
pub(super) fn removal(route: &Route, index: Option<u32>) -> Vec<u8> {
    serialize(RouteNetlinkMessage::DelRoute(message(route, index)))
}

/// The route as it is to be; the same message removes it, and none but ours.
fn message(route: &Route, index: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    // The kernel refuses host bits.
    let destination = route.destination.network().address;
    message.header = RouteHeader {
        address_family: match destination {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        destination_prefix_length: route.destination.length,
        protocol: RouteProtocol::Other(OUR_PROTOCOL),
        scope: scope(route),
        kind: match route.kind {
            RouteKind::Unicast => RouteType::Unicast,
            RouteKind::Blackhole => RouteType::BlackHole,
            RouteKind::Unreachable => RouteType::Unreachable,
            RouteKind::Prohibit => RouteType::Prohibit,
            RouteKind::Local => RouteType::Local,
        },
        flags: if route.on_link { RouteFlags::Onlink } else { RouteFlags::empty() },
        ..RouteHeader::default()
    };
    match route.table.map(u8::try_from) {
        None => message.header.table = RouteHeader::RT_TABLE_MAIN,
        Some(Ok(table)) => message.header.table = table,
        Some(Err(_)) => message.attributes.extend(route.table.map(RouteAttribute::Table)),
    }
    if route.destination.length > 0 {
        message.attributes.push(RouteAttribute::Destination(address(destination)));
    }
    message.attributes.extend(route.gateway.map(|gateway| match (destination, gateway) {
        (IpAddr::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (_, gateway) => RouteAttribute::Gateway(address(gateway)),
    }));
    message.attributes.extend(index.map(RouteAttribute::Oif));
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(address(source))));
    message.attributes.extend(route.metric.map(RouteAttribute::Priority));
    message.attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    message
}

/// As ip-route(8) derives it: what is reached directly is on the link.
fn scope(route: &Route) -> RouteScope {
    match route.scope {
        Some(Scope::Global) => RouteScope::Universe,
        Some(Scope::Site) => RouteScope::Site,
        Some(Scope::Link) => RouteScope::Link,
        Some(Scope::Host) => RouteScope::Host,
        None if route.kind == RouteKind::Local => RouteScope::Host,
        None if route.kind == RouteKind::Unicast && route.gateway.is_none() => RouteScope::Link,
        None => RouteScope::Universe,
    }
}

fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}
