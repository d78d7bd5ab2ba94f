//! Virtual routers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::command::{self, Commands};
use super::findings::{Findings, Unique};
use super::group::Members;
use super::track::{self, Trackers};
use super::transport::{self, Vmacs};
use super::vrid::Identifiers;
use super::{by_name, duplicate, routing};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Located, Maybe};
use crate::config::source::Location;
use crate::model::{
    Announce, ChecksumMode, Family, Hooks, InitialState, InterfaceName, Interval, Priority, Service, Version,
    VirtualAddress, VirtualRouter, Vrid,
};

/// What the routers refer to.
pub(super) struct Context<'c> {
    pub(super) commands: &'c Commands,
    pub(super) trackers: &'c Trackers<'c>,
    pub(super) members: &'c Members<'c>,
}

/// All routers that can be made out; `fronts` is filled in by [`fronts`], when the services are known.
pub(super) fn routers(
    raw: &[raw::VirtualRouter],
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Vec<VirtualRouter> {
    let mut names = Unique::new();
    let mut identifiers = Identifiers::default();
    let mut owners = Owners::new();
    let mut vmacs = Vmacs::new(raw);
    let mut routers = Vec::new();
    for raw in raw {
        if let Some(name) = &raw.name
            && let Some(first) = names.insert(name.value.as_str(), name.at)
        {
            duplicate(findings, "virtual router", name, first);
        }
        let Some(mut router) = router(raw, context, &mut vmacs, findings) else { continue };
        for other in identifiers.take(raw, &router, &routers, findings) {
            // Each hears its own peers only.
            routers[other].only_peers = true;
            router.only_peers = true;
        }
        shared(raw, &router.interface, routers.len(), &mut owners, findings);
        routers.push(router);
    }
    routers
}

/// Which router owns an address on an interface first, and where that is written.
type Owners = HashMap<(IpAddr, InterfaceName), (usize, Location)>;

/// An address of two routers is with whichever is master, and goes when the one that set it last gives it up: so it is
/// with keepalived, whose files are taken as they are.
fn shared(
    raw: &raw::VirtualRouter,
    own: &InterfaceName,
    router: usize,
    owners: &mut Owners,
    findings: &mut Findings<'_>,
) {
    for address in raw.addresses.iter().chain(&raw.excluded_addresses) {
        let (key, at) = (place(address, own), address.prefix.at);
        let (ip, interface) = key.clone();
        let (owner, first) = *owners.entry(key).or_insert((router, at));
        if owner != router {
            let message = format!("{ip} is owned twice on {interface}: it is gone when either router gives it up");
            let warning = Diagnostic::warning(at, message).related(first, "the first is here");
            findings.push(warning.help("remove one of the two"));
        }
    }
}

/// What tells one address from another: its length and label do not.
fn place(address: &raw::VirtualAddress, own: &InterfaceName) -> (IpAddr, InterfaceName) {
    let interface = address.interface.as_ref().map_or(own, |interface| &interface.value);
    (address.prefix.value.address, interface.clone())
}

fn router(
    raw: &raw::VirtualRouter,
    context: &Context<'_>,
    vmacs: &mut Vmacs,
    findings: &mut Findings<'_>,
) -> Option<VirtualRouter> {
    let name = findings.required(&raw.name, "name", raw.at);
    let interface = findings.required(&raw.interface, "interface", raw.at);
    findings.required(&raw.vrid, "vrid", raw.at);
    if let Some(name) = name {
        findings.name(name, "name");
    }
    if raw.addresses.is_empty() && raw.excluded_addresses.is_empty() {
        // keepalived runs such an instance, for its scripts.
        findings.warning(
            raw.at,
            "this router has no address: a master is elected, and nothing moves",
            "add addresses = [\"192.0.2.100/24\"]",
        );
    }
    let vrid = findings.optional_number(&raw.vrid, "vrid", 1..=255).and_then(|vrid| Vrid::new(vrid).ok());
    let priority = findings
        .optional_number(&raw.priority, "priority", 1..=255)
        .and_then(|priority| Priority::new(priority).ok())
        .unwrap_or(Priority::DEFAULT);
    if let Some(lowest) = raw.priority.filter(|priority| priority.value == 1) {
        findings.warning(
            lowest.at,
            "priority 1 says to the other nodes that this one is not ready",
            "write 2 or more; a vipgate that cannot serve advertises 1 by itself",
        );
    }
    let (name, interface) = (name?.value.clone(), interface?.value.clone());
    let family = family(raw);
    let version = version(raw, family, findings);
    let (addresses, excluded) = owned(raw, &interface, findings);
    same_family(&raw.addresses, family, findings);
    transport::unicast(raw, family, findings);
    preemption(raw, priority, findings);
    let vrid = vrid.or(Vrid::new(1).ok())?;
    let follows = track::Follows { router: &name, own: &interface, priority };
    let track = track::of_router(&raw.track, &follows, context.members.group_of(&name), context.trackers, findings);
    let limited = raw.peers.iter().any(|peer| peer.min_ttl.is_some() || peer.max_ttl.is_some());
    let before_master = raw.before_master.as_ref();
    let after_release = raw.after_release.as_ref();
    Some(VirtualRouter {
        version,
        priority,
        interval: interval(&raw.interval, version, findings),
        initial: raw.start.map_or(InitialState::Backup, |start| start.value),
        preempt: raw.preempt.is_none_or(|preempt| preempt.value),
        preempt_delay: findings.duration(&raw.preempt_delay, "preempt-delay", Duration::ZERO),
        password: transport::password(&raw.password, version, findings),
        hmac: transport::hmac(raw.hmac.as_ref(), version, findings),
        peers: raw.peers.iter().map(|peer| transport::peer(peer, findings)).collect(),
        only_peers: raw.only_peers.map_or(limited, |only| only.value),
        unicast_ttl: findings.number(&raw.unicast_ttl, "unicast-ttl", 1..=255, u8::MAX),
        group: transport::group(raw, family, findings),
        source: raw.source.map(|source| source.value),
        paths: transport::paths(raw, &interface, findings),
        vmac: transport::vmac(raw, family, vrid, vmacs, findings),
        missed_adverts: findings.number(&raw.missed_adverts, "missed-adverts", 1..=100, 3),
        start_delay: findings.duration(&raw.start_delay, "start-delay", Duration::ZERO),
        checksum: raw.checksum.map_or(ChecksumMode::default(), |checksum| checksum.value),
        addresses,
        excluded,
        routes: routing::routes(&raw.routes, findings),
        rules: routing::rules(&raw.rules, findings),
        track,
        announce: announce(raw.announce.as_ref(), findings),
        fight_limit: findings.number(&raw.fight_limit, "fight-limit", 0..=1000, 5),
        notify: context.commands.notify(raw.notify.as_ref(), command::Told::Router, findings),
        hooks: Hooks {
            before_master: before_master.map(|raw| context.commands.hook(raw, "a takeover", findings)),
            after_release: after_release.map(|raw| context.commands.hook(raw, "the end", findings)),
        },
        ..VirtualRouter::new(name, interface, vrid, family)
    })
}

/// Of its addresses; of those it speaks to or from when it has none.
fn family(raw: &raw::VirtualRouter) -> Family {
    let first = raw.addresses.first().map(|address| address.prefix.value.address);
    let peer = raw.peers.first().map(|peer| peer.address.value);
    let source = raw.source.as_ref().map(|source| source.value);
    first.or(peer).or(source).map_or(Family::V4, Family::of)
}

fn version(raw: &raw::VirtualRouter, family: Family, findings: &mut Findings<'_>) -> Version {
    match &raw.version {
        Some(Located { value: 2, at }) => {
            if family == Family::V6 {
                findings.error(*at, "version 2 has no IPv6", "write version = 3");
            }
            Version::V2
        }
        None | Some(Located { value: 3, .. }) => Version::V3,
        Some(Located { value, at }) => {
            findings.error(*at, format!("there is no version {value} of VRRP"), "it is 2 or 3");
            Version::V3
        }
    }
}

fn interval(raw: &Maybe<Duration>, version: Version, findings: &mut Findings<'_>) -> Interval {
    let Some(Located { value, at }) = raw else { return Interval::DEFAULT };
    let written = humantime::format_duration(*value);
    let (cause, help) = match version {
        Version::V2 if value.subsec_nanos() != 0 => (
            format!("version 2 advertises in whole seconds, not every {written}"),
            "write \"1s\" or more, or use version = 3",
        ),
        Version::V2 if !(1..=255).contains(&value.as_secs()) => {
            (format!("version 2 cannot advertise every {written}"), "write \"1s\" to \"255s\"")
        }
        Version::V3 if value.subsec_nanos() % 10_000_000 != 0 => (
            format!("version 3 advertises in hundredths of a second, not every {written}"),
            "write a multiple of \"10ms\"",
        ),
        Version::V3 if *value < Duration::from_millis(10) || *value > Duration::from_millis(40_950) => {
            (format!("version 3 cannot advertise every {written}"), "write \"10ms\" to \"40s 950ms\"")
        }
        Version::V2 | Version::V3 => {
            let centiseconds = u16::try_from(value.as_millis() / 10).ok();
            return centiseconds.and_then(|value| Interval::from_centiseconds(value).ok()).unwrap_or(Interval::DEFAULT);
        }
    };
    findings.error(*at, cause, help);
    Interval::DEFAULT
}

/// The addresses that are advertised, and the others. One that is advertised twice is so on the wire too, where
/// keepalived compares their number, and is set as it is written first.
fn owned(
    raw: &raw::VirtualRouter,
    own: &InterfaceName,
    findings: &mut Findings<'_>,
) -> (Vec<VirtualAddress>, Vec<VirtualAddress>) {
    let mut known: HashMap<_, (VirtualAddress, Location)> = HashMap::new();
    let mut read = |written: &raw::VirtualAddress| {
        let address = virtual_address(written, own, findings);
        let key = place(written, own);
        let Some((first, at)) = known.get(&key) else {
            known.insert(key, (address.clone(), written.prefix.at));
            return (address, true);
        };
        let message = format!("{} is owned twice on {}: the first is used", first.prefix.address, first.interface);
        let warning = Diagnostic::warning(written.prefix.at, message).related(*at, "the first is here");
        findings.push(warning.help("remove one of the two"));
        (first.clone(), false)
    };
    let advertised = raw.addresses.iter().map(|address| read(address).0).collect();
    let excluded = raw.excluded_addresses.iter().map(&mut read).filter(|(_, new)| *new).map(|(address, _)| address);
    (advertised, excluded.collect())
}

fn virtual_address(
    raw: &raw::VirtualAddress,
    router_interface: &InterfaceName,
    findings: &mut Findings<'_>,
) -> VirtualAddress {
    let prefix = raw.prefix.value;
    let family = Family::of(prefix.address);
    if let Some(kind) = not_a_host(prefix.address) {
        let message = format!("{} is {kind}", prefix.address);
        findings.error(raw.prefix.at, message, "write an address that one host can have");
    }
    let interface = raw.interface.as_ref().map_or(router_interface, |interface| &interface.value);
    if let Some(label) = &raw.label {
        if family == Family::V6 {
            findings.error(label.at, "an IPv6 address has no label", "remove it");
        } else if !label.value.starts_with(interface.as_str()) {
            let cause = format!("the label `{}` does not begin with `{interface}`, its interface", label.value);
            findings.warning(label.at, cause, format!("write label = \"{interface}:1\" (`label {interface}:1`)"));
        }
        if label.value.len() > 15 || label.value.contains(char::is_whitespace) {
            let cause = format!("`{}` cannot be a label", label.value);
            findings.error(label.at, cause, "a label has at most 15 bytes and no space");
        }
    }
    if let Some(broadcast) = raw.broadcast.as_ref().filter(|_| family == Family::V6) {
        findings.error(broadcast.at, "IPv6 has no broadcast address", "remove it");
    }
    VirtualAddress {
        prefix,
        interface: interface.clone(),
        label: raw.label.as_ref().map(|label| label.value.clone()),
        scope: raw.scope.map(|scope| scope.value).unwrap_or_default(),
        broadcast: raw.broadcast.map(|broadcast| broadcast.value),
    }
}

/// Why no host can have this address as its own.
pub(super) fn not_a_host(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("no address, but stands for all");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn same_family(addresses: &[raw::VirtualAddress], family: Family, findings: &mut Findings<'_>) {
    let Some(first) = addresses.first() else { return };
    for other in addresses.iter().filter(|address| Family::of(address.prefix.value.address) != family) {
        let cause = format!("this router's addresses are {family}, but this is {}", other_family(family));
        let error = Diagnostic::error(other.prefix.at, cause).related(first.prefix.at, "the first decides");
        findings.push(error.help("write it in `excluded-addresses`, or make a router of its own for it"));
    }
    // RFC 9568 section 5.2.9: the first IPv6 address must be the link-local one. It works without.
    if let IpAddr::V6(v6) = first.prefix.value.address
        && !v6.is_unicast_link_local()
    {
        findings.warning(
            first.prefix.at,
            "the first IPv6 address of a virtual router should be link-local (RFC 9568 section 5.2.9)",
            "put an address of fe80::/10 before it",
        );
    }
}

pub(super) fn other_family(family: Family) -> Family {
    match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    }
}

fn preemption(raw: &raw::VirtualRouter, priority: Priority, findings: &mut Findings<'_>) {
    let master = raw.start.filter(|start| start.value == InitialState::Master);
    let delay = raw.preempt_delay.filter(|delay| !delay.value.is_zero());
    let Some(Located { value: false, at }) = raw.preempt else { return };
    if priority == Priority::OWNER {
        let message = "priority 255 always takes over: `preempt = false` has no effect";
        findings.warning(at, message, "write a priority below 255");
    }
    if let Some(start) = master {
        let warning = Diagnostic::warning(at, "a router that starts as master takes over when it starts");
        findings.push(warning.related(start.at, "because of this").help("write start = \"backup\""));
    }
    if let Some(delay) = delay {
        let warning = Diagnostic::warning(delay.at, "`preempt-delay` has no effect");
        findings.push(warning.related(at, "this router never preempts").help("remove one of the two"));
    }
}

fn announce(raw: Option<&raw::Announce>, findings: &mut Findings<'_>) -> Announce {
    const MOST: u64 = 1000;
    let default = Announce::default();
    let Some(raw) = raw else { return default };
    Announce {
        count: findings.number(&raw.count, "count", 0..=MOST, default.count),
        repeat_after: findings.duration(&raw.repeat_after, "repeat-after", default.repeat_after),
        repeat_count: findings.number(&raw.repeat_count, "repeat-count", 0..=MOST, default.repeat_count),
        refresh: Some(findings.duration(&raw.refresh, "refresh", default.refresh.unwrap_or_default()))
            .filter(|every| !every.is_zero()),
        refresh_count: findings.number(&raw.refresh_count, "refresh-count", 1..=MOST, default.refresh_count),
        lower_priority_count: findings.number(
            &raw.lower_priority_count,
            "lower-priority-count",
            0..=MOST,
            default.lower_priority_count,
        ),
        ask: raw.ask.iter().filter_map(|address| transport::host(address, findings)).collect(),
    }
}

/// Fills in whose readiness each router depends on: the services it names, else those that listen on one of its
/// addresses.
pub(super) fn fronts(
    raw: &[raw::VirtualRouter],
    routers: &mut [VirtualRouter],
    services: &[Service],
    findings: &mut Findings<'_>,
) {
    let known = by_name(services, |service| &service.name);
    let mut listening: HashMap<IpAddr, Vec<usize>> = HashMap::new();
    for (index, service) in services.iter().enumerate() {
        for listen in &service.listen {
            let there = listening.entry(listen.address).or_default();
            if there.last() != Some(&index) {
                there.push(index);
            }
        }
    }
    let written: HashMap<&str, &raw::VirtualRouter> =
        raw.iter().filter_map(|raw| Some((raw.name.as_ref()?.value.as_str(), raw))).collect();
    for router in routers {
        let named = written.get(router.name.as_str()).and_then(|raw| raw.fronts.as_ref());
        router.fronts = match named {
            Some(named) => named
                .iter()
                .filter(|name| {
                    let exists = known.contains_key(name.value.as_str());
                    if !exists && findings.complete {
                        let error = Diagnostic::error(name.at, format!("there is no service called `{}`", name.value));
                        let error = findings.suggest(error, &name.value, services.iter().map(|s| s.name.as_str()));
                        findings.push(error.help("name one of the services; [] stands for none"));
                    }
                    exists
                })
                .map(|name| name.value.clone())
                .collect(),
            None => {
                let mut indices: Vec<usize> = router
                    .owned()
                    .filter_map(|address| listening.get(&address.prefix.address))
                    .flatten()
                    .copied()
                    .collect();
                indices.sort_unstable();
                indices.dedup();
                indices.into_iter().filter_map(|index| services.get(index)).map(|s| s.name.clone()).collect()
            }
        };
    }
}
