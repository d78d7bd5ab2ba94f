//! Options of sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::findings::Findings;
use crate::config::raw::{self, Maybe};
use crate::model::{Family, KeepAlive, ListenTuning, Source, Transparent};

/// The kernel's longest time before a keep-alive probe, in seconds.
const LONGEST_PROBE: u64 = 32_767;

pub(super) fn listen_tuning(raw: &raw::ListenTuning, findings: &mut Findings<'_>) -> ListenTuning {
    ListenTuning {
        defer_accept: findings.positive(&raw.defer_accept, "defer-accept"),
        fast_open: findings.optional_number(&raw.fast_open, "fast-open", 1..=u64::from(u32::MAX)),
        // The kernel takes no less and no more (tcp(7)).
        max_segment: findings.optional_number(&raw.max_segment, "max-segment", 88..=32_767),
        user_timeout: findings.positive(&raw.user_timeout, "user-timeout"),
    }
}

/// Keep-alive probes; none: there are none.
pub(super) fn keepalive(raw: &Maybe<raw::KeepAlive>, findings: &mut Findings<'_>) -> Option<KeepAlive> {
    let said = raw.as_ref().map_or_else(raw::KeepAlive::default, |said| said.value);
    let mut seconds = |value: &Maybe<Duration>, key| {
        let value = value.as_ref()?;
        let whole = value.value.subsec_nanos() == 0 && (1..=LONGEST_PROBE).contains(&value.value.as_secs());
        if !whole {
            let message = format!("`{key}` of keep-alive probes is a whole number of seconds, 1 to {LONGEST_PROBE}");
            findings.error(value.at, message, "the kernel takes nothing else (tcp(7))");
        }
        whole.then_some(value.value)
    };
    let (idle, interval) = (seconds(&said.idle, "idle"), seconds(&said.interval, "interval"));
    let count = findings.optional_number(&said.count, "count", 1..=127);
    (!said.off).then_some(KeepAlive { idle, interval, count })
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
