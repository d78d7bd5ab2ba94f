//! Options of sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::findings::Findings;
use crate::config::raw;
use crate::model::{Family, ListenTuning, Source, Transparent};

pub(super) fn listen_tuning(raw: &raw::ListenTuning, findings: &mut Findings<'_>) -> ListenTuning {
    ListenTuning {
        defer_accept: findings.positive(&raw.defer_accept, "defer-accept"),
        fast_open: findings.optional_number(&raw.fast_open, "fast-open", 1..=u64::from(u32::MAX)),
        // The kernel takes no less and no more (tcp(7)).
        max_segment: findings.optional_number(&raw.max_segment, "max-segment", 88..=32_767),
        user_timeout: findings.positive(&raw.user_timeout, "user-timeout"),
    }
}

/// Where connections to a server at `to` come from.
pub(super) fn source(raw: &raw::Source, to: Option<IpAddr>, findings: &mut Findings<'_>) -> Option<Source> {
    let own = raw.address.as_ref().map(|address| (address.value, address.at));
    let shown = raw.transparent.as_ref().and_then(|transparent| match transparent.value {
        Transparent::Address(address) => Some((address.ip(), transparent.at)),
        Transparent::Client | Transparent::ClientIp => None,
    });
    for (address, at) in own.into_iter().chain(shown) {
        if let Some(to) = to.filter(|to| Family::of(*to) != Family::of(address)) {
            findings.error(
                at,
                format!("{address} is not an {} address, as that of the server is", Family::of(to)),
                "write a local address of the server's family",
            );
            return None;
        }
    }
    let transparent = raw.transparent.map(|transparent| transparent.value);
    if let (Some(ports), Some(Transparent::Client)) = (&raw.ports, transparent) {
        findings.error(
            ports.at,
            "the port is the client's: there is none to choose",
            "write transparent = \"client-ip\"",
        );
    }
    let unspecified = if to.is_some_and(|to| to.is_ipv6()) {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let address = own.map_or(unspecified, |(address, _)| address);
    let ports = raw.ports.map(|ports| ports.value);
    let interface = raw.interface.as_ref().map(|interface| interface.value.clone());
    Some(Source { address, ports, interface, transparent })
}
