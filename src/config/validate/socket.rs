//! Options of sockets.

use std::net::IpAddr;

use super::findings::Findings;
use crate::config::raw;
use crate::model::{Family, ListenTuning, Source};

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
    let address = raw.address.value;
    if let Some(to) = to.filter(|to| Family::of(*to) != Family::of(address)) {
        findings.error(
            raw.address.at,
            format!("{address} is not an {} address, as that of the server is", Family::of(to)),
            "write a local address of the server's family",
        );
        return None;
    }
    let ports = raw.ports.map(|ports| ports.value);
    let interface = raw.interface.as_ref().map(|interface| interface.value.clone());
    Some(Source { address, ports, interface })
}
