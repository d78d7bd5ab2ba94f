//! Routes and rules.

use std::net::IpAddr;

use super::findings::Findings;
use super::router::{not_a_host, other_family};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Located};
use crate::config::source::Location;
use crate::model::{Family, Prefix, Route, RouteKind, Rule};

const U32: u64 = u32::MAX as u64;

/// All routes that can be made out.
pub(super) fn routes(raw: &[raw::Route], findings: &mut Findings<'_>) -> Vec<Route> {
    raw.iter().filter_map(|raw| route(raw, findings)).collect()
}

/// All rules that can be made out.
pub(super) fn rules(raw: &[raw::Rule], findings: &mut Findings<'_>) -> Vec<Rule> {
    raw.iter().filter_map(|raw| rule(raw, findings)).collect()
}

fn route(raw: &raw::Route, findings: &mut Findings<'_>) -> Option<Route> {
    let destination = findings.required(&raw.destination, "destination", raw.at)?;
    without_host_bits(destination, findings);
    let family = Family::of(destination.value.address);
    for address in [&raw.gateway, &raw.source].into_iter().flatten() {
        of_family(address.value, address.at, family, findings);
    }
    let kind = raw.kind.map(|kind| kind.value).unwrap_or_default();
    let way = raw.gateway.map(|gateway| gateway.at).or(raw.interface.as_ref().map(|interface| interface.at));
    match (kind, way) {
        (RouteKind::Unicast, None) => findings.missing(
            raw.at,
            format!("this route to {} leads nowhere", destination.value),
            "add `gateway` or `interface`",
        ),
        (RouteKind::Unicast, Some(_)) | (_, None) => {}
        (_, Some(at)) => {
            let message = "a route that forwards nothing has neither gateway nor interface";
            findings.error(at, message, "remove it, or `kind`");
        }
    }
    if let Some(on_link) = raw.on_link.filter(|on| on.value && (raw.gateway.is_none() || raw.interface.is_none())) {
        let message = "`on-link` says that a gateway is reached by an interface: both have to be named";
        findings.error(on_link.at, message, "add what is missing, or remove it");
    }
    Some(Route {
        kind,
        destination: destination.value,
        gateway: raw.gateway.map(|gateway| gateway.value),
        interface: raw.interface.as_ref().map(|interface| interface.value.clone()),
        source: raw.source.map(|source| source.value),
        metric: findings.optional_number(&raw.metric, "metric", 0..=U32),
        table: findings.optional_number(&raw.table, "table", 1..=U32),
        scope: raw.scope.map(|scope| scope.value),
        on_link: raw.on_link.is_some_and(|on_link| on_link.value),
        mtu: findings.optional_number(&raw.mtu, "mtu", 68..=65_535),
    })
}

fn rule(raw: &raw::Rule, findings: &mut Findings<'_>) -> Option<Rule> {
    findings.required(&raw.table, "table", raw.at);
    if let (Some(from), Some(to)) = (&raw.from, &raw.to) {
        of_family(to.value.address, to.at, Family::of(from.value.address), findings);
    }
    [&raw.from, &raw.to].into_iter().flatten().for_each(|prefix| without_host_bits(prefix, findings));
    if let Some(mask) = raw.mark_mask.filter(|_| raw.mark.is_none()) {
        findings.warning(mask.at, "`mark-mask` has no effect without `mark`", "add `mark`, or remove it");
    }
    let selects = raw.from.is_some() || raw.to.is_some() || raw.mark.is_some();
    if !selects && raw.incoming.is_none() && raw.outgoing.is_none() && findings.complete {
        findings.warning(raw.at, "this rule matches every IPv4 packet", "add `from`, `to`, `incoming` or `mark`");
    }
    Some(Rule {
        from: raw.from.map(|from| from.value),
        to: raw.to.map(|to| to.value),
        table: findings.optional_number(&raw.table, "table", 1..=U32)?,
        priority: findings.optional_number(&raw.priority, "priority", 0..=U32),
        incoming: raw.incoming.as_ref().map(|interface| interface.value.clone()),
        outgoing: raw.outgoing.as_ref().map(|interface| interface.value.clone()),
        mark: findings.optional_number(&raw.mark, "mark", 0..=U32),
        mark_mask: findings.optional_number(&raw.mark_mask, "mark-mask", 0..=U32),
    })
}

fn of_family(address: IpAddr, at: Location, family: Family, findings: &mut Findings<'_>) {
    let own = Family::of(address);
    if own != family {
        let cause = format!("this address is {}, the other one {family}", other_family(family));
        findings.error(at, cause, format!("write an {family} address"));
    } else if let Some(kind) = not_a_host(address).filter(|_| !address.is_unspecified()) {
        findings.error(at, format!("{address} is {kind}"), "write the address of a host");
    }
}

/// The kernel refuses them, and would say so only when the route is set.
fn without_host_bits(prefix: &Located<Prefix>, findings: &mut Findings<'_>) {
    let network = prefix.value.network();
    if network != prefix.value {
        let cause = format!("{} has bits behind its first {}", prefix.value.address, prefix.value.length);
        findings.push(Diagnostic::error(prefix.at, cause).help(format!("write \"{network}\"")));
    }
}
