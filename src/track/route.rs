//! A route that has to be in the kernel's main table, and be usable.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteType, RouteVia,
};
use rtnetlink::{Handle, MulticastGroup};
use tokio::time::{sleep, timeout};

use super::{Finding, Seen, Sight};
use crate::model::{InterfaceName, RouteCheck};

/// Changes come in groups; they are looked at together.
const SETTLE: Duration = Duration::from_millis(20);
/// The table is read this often even if no change was told: the kernel tells of no IPv4 route that goes with its interface,
/// and a notification may be lost.
const REREAD: Duration = Duration::from_secs(5);
/// After the kernel refused to tell.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn watch(check: RouteCheck, sight: Sight) {
    loop {
        if let Err(error) = follow(&check, &sight).await {
            tracing::debug!(target: "vipgate::track", %error, "the routing table cannot be followed; trying again");
        }
        sleep(RETRY).await;
    }
}

/// Reads the table at every change of routes, addresses and links. Ends with an error only.
async fn follow(check: &RouteCheck, sight: &Sight) -> io::Result<()> {
    let route_group = match check.destination.address {
        IpAddr::V4(_) => MulticastGroup::Ipv4Route,
        IpAddr::V6(_) => MulticastGroup::Ipv6Route,
    };
    // Subscribed before the first reading: nothing is missed between the two.
    let (connection, _subscription, mut changes) =
        rtnetlink::new_multicast_connection(&[route_group, MulticastGroup::Link])?;
    tokio::spawn(connection);
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    loop {
        let found = is_there(check, &handle).await.map_err(io::Error::other)?;
        let destination = check.destination;
        let reason = format!("route to {destination} {}", if found { "is there" } else { "is not there" });
        let _ = sight.send(Seen { what: Finding::Well(found), reason });
        match timeout(REREAD, changes.next()).await {
            Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Some(_)) => {
                sleep(SETTLE).await;
                while let Ok(Some(_)) = timeout(Duration::ZERO, changes.next()).await {}
            }
            Err(_) => {}
        }
    }
}

async fn is_there(check: &RouteCheck, handle: &Handle) -> Result<bool, rtnetlink::Error> {
    let index =
        check.interface.as_ref().map(InterfaceName::as_str).map(|name| nix::net::if_::if_nametoindex(name).ok());
    // Out of an interface that is not there leads nothing.
    let Some(index) = index.map_or(Some(None), |index| index.map(Some)) else { return Ok(false) };
    let mut request = RouteMessage::default();
    request.header.address_family = match check.destination.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let mut found = false;
    let mut routes = std::pin::pin!(handle.route().get(request).execute());
    // To the end: the rest of an answer would be taken for notifications.
    while let Some(route) = routes.next().await {
        found |= is_wanted(&route?, check, index);
    }
    Ok(found)
}

fn is_wanted(route: &RouteMessage, check: &RouteCheck, index: Option<u32>) -> bool {
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    table.unwrap_or_else(|| route.header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
        && route.header.kind == RouteType::Unicast
        && route.header.destination_prefix_length == check.destination.length
        && destination(route)
            .map_or(check.destination.length == 0, |address| address == check.destination.network().address)
        && leads_there(route, check, index)
}

/// Whether one of its ways is usable and the one that is asked for.
fn leads_there(route: &RouteMessage, check: &RouteCheck, index: Option<u32>) -> bool {
    let fits = |attributes: &[RouteAttribute], out: Option<u32>| {
        let by =
            check.gateway.is_none_or(|wanted| attributes.iter().filter_map(gateway).any(|gateway| gateway == wanted));
        by && index.is_none_or(|wanted| out == Some(wanted))
    };
    let several = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    match several {
        Some(hops) => hops.iter().any(|hop| {
            !hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown)
                && fits(&hop.attributes, Some(hop.interface_index))
        }),
        None => {
            let out = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
            !route.header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown) && fits(&route.attributes, out)
        }
    }
}

fn destination(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    })
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteNextHop;

    use super::*;
    use crate::model::Prefix;

    fn route(destination: &str, gateway: Option<&str>, out: u32) -> RouteMessage {
        let destination: Prefix = destination.parse().unwrap();
        let mut route = RouteMessage::default();
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.kind = RouteType::Unicast;
        route.header.destination_prefix_length = destination.length;
        if destination.length > 0 {
            route.attributes.push(RouteAttribute::Destination(destination.address.into()));
        }
        route.attributes.push(RouteAttribute::Oif(out));
        route.attributes.extend(gateway.map(|by| RouteAttribute::Gateway(by.parse::<IpAddr>().unwrap().into())));
        route
    }

    fn check(destination: &str, gateway: Option<&str>) -> RouteCheck {
        let gateway = gateway.map(|by| by.parse().unwrap());
        RouteCheck { destination: destination.parse().unwrap(), gateway, interface: None }
    }

    #[test]
    fn only_the_route_that_is_meant_counts() {
        let default = route("0.0.0.0/0", Some("192.0.2.254"), 2);
        for (wanted, by, out, expected) in [
            ("0.0.0.0/0", None, None, true),
            ("0.0.0.0/0", Some("192.0.2.254"), Some(2), true),
            ("0.0.0.0/0", Some("192.0.2.1"), None, false),
            ("0.0.0.0/0", None, Some(3), false),
            ("0.0.0.0/1", None, None, false),
        ] {
            assert_eq!(is_wanted(&default, &check(wanted, by), out), expected, "{wanted} {by:?} {out:?}");
        }
        let inner = route("10.1.0.0/16", None, 2);
        assert!(is_wanted(&inner, &check("10.1.2.3/16", None), None), "host bits do not matter");
        assert!(!is_wanted(&inner, &check("10.2.0.0/16", None), None));
        assert!(!is_wanted(&inner, &check("10.1.0.0/24", None), None));
        let six = route("2001:db8::/32", Some("fe80::1"), 2);
        assert!(is_wanted(&six, &check("2001:db8::/32", Some("fe80::1")), None));
    }

    #[test]
    fn dead_ways_other_tables_and_refusals_do_not_count() {
        let check = check("0.0.0.0/0", None);
        let good = route("0.0.0.0/0", Some("192.0.2.254"), 2);
        let mut down = good.clone();
        down.header.flags = RouteFlags::Linkdown;
        let mut elsewhere = good.clone();
        elsewhere.attributes.push(RouteAttribute::Table(100));
        let mut refused = good.clone();
        refused.header.kind = RouteType::Unreachable;
        for route in [down, elsewhere, refused] {
            assert!(!is_wanted(&route, &check, None), "{route:?}");
        }
    }

    #[test]
    fn one_usable_way_of_several_is_enough() {
        let hop = |index, flags, by: &str| {
            let mut hop = RouteNextHop::default();
            (hop.interface_index, hop.flags) = (index, flags);
            hop.attributes = vec![RouteAttribute::Gateway(by.parse::<IpAddr>().unwrap().into())];
            hop
        };
        let mut route = route("0.0.0.0/0", None, 0);
        let dead = hop(2, RouteNextHopFlags::Dead, "192.0.2.1");
        let alive = hop(3, RouteNextHopFlags::empty(), "198.51.100.1");
        route.attributes = vec![RouteAttribute::MultiPath(vec![dead, alive])];
        for (by, out, expected) in [
            (None, None, true),
            (Some("198.51.100.1"), Some(3), true),
            (Some("198.51.100.1"), Some(2), false),
            (Some("192.0.2.1"), None, false),
        ] {
            assert_eq!(is_wanted(&route, &check("0.0.0.0/0", by), out), expected, "{by:?} {out:?}");
        }
    }
}
