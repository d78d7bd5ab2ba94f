//! Resolvers, and servers that are known by their names.

use std::time::Duration;

use super::duplicate;
use super::findings::{Findings, Unique};
use crate::config::raw::{self, Host, Located, Maybe, ResolveWhen, Timeout};
use crate::model::{Hold, NameKind, Resolver, ServerName, Wanted};

/// Servers that one name may have.
const MOST: u64 = 1000;

/// All resolvers that can be made out.
pub(super) fn resolvers(config: &raw::Config, findings: &mut Findings<'_>) -> Vec<Resolver> {
    let mut names = Unique::new();
    let mut resolvers = Vec::new();
    for raw in &config.resolvers {
        let Some(name) = findings.required(&raw.name, "name", raw.at) else { continue };
        findings.name(name, "name");
        if let Some(first) = names.insert(name.value.as_str(), name.at) {
            duplicate(findings, "resolver", name, first);
        }
        resolvers.push(resolver(raw, name.value.clone(), findings));
    }
    for pool in &config.pools {
        for wanted in pool.servers.iter().filter_map(|server| server.naming.resolver.as_ref()) {
            let known = |raw: &raw::Resolver| raw.name.as_ref().is_some_and(|name| name.value == wanted.value);
            if !config.resolvers.iter().any(known) {
                let message = format!("there is no resolver `{}`", wanted.value);
                findings.missing(wanted.at, message, "add a [[resolver]] of this name, or remove this key");
            }
        }
    }
    resolvers
}

fn resolver(raw: &raw::Resolver, name: String, findings: &mut Findings<'_>) -> Resolver {
    let default = Resolver::new("");
    let system = raw.system.map_or(raw.servers.is_empty(), |system| system.value);
    if !system && raw.servers.is_empty() {
        findings.error(
            raw.system.map_or(raw.at, |system| system.at),
            "this resolver has nobody to ask",
            "add servers = [\"192.0.2.53:53\"]",
        );
    }
    let least_refresh = findings.positive(&raw.least_refresh, "least-refresh").unwrap_or(default.least_refresh);
    let most_refresh = findings.positive(&raw.most_refresh, "most-refresh").unwrap_or(default.most_refresh);
    Resolver {
        name,
        servers: raw.servers.iter().map(|server| server.value.clone()).collect(),
        system,
        retries: findings.number(&raw.retries, "retries", 1..=100, default.retries),
        timeout: findings.positive(&raw.timeout, "timeout").unwrap_or(default.timeout),
        least_refresh,
        most_refresh: most_refresh.max(least_refresh),
        payload_size: findings.number(&raw.payload_size, "payload-size", 512..=65_535, default.payload_size),
        hold: Hold {
            nx: hold(&raw.hold.nx, default.hold.nx),
            timeout: hold(&raw.hold.timeout, default.hold.timeout),
            refused: hold(&raw.hold.refused, default.hold.refused),
            other: hold(&raw.hold.other, default.hold.other),
            obsolete: findings.duration(&raw.hold.obsolete, "obsolete", default.hold.obsolete),
        },
    }
}

/// Zero is no time at all: what fails is gone at once.
fn hold(raw: &Maybe<Timeout>, default: Option<Duration>) -> Option<Duration> {
    match raw.as_ref().map(|located| located.value) {
        None => default,
        Some(Timeout::None) => None,
        Some(Timeout::After(time)) => Some(time.min(super::findings::LONGEST)),
    }
}

/// The name of a server whose name is resolved while the process runs.
pub(super) fn server_name(raw: &raw::Server, findings: &mut Findings<'_>) -> Option<ServerName> {
    let naming = &raw.naming;
    let kind = naming.kind.map_or(NameKind::Host, |kind| kind.value);
    let running = naming.resolve.is_none_or(|when| when.value == ResolveWhen::Running);
    let (name, family) = match &raw.host.value {
        Host::Name(name, family) if running => (name, *family),
        Host::Name(..) if kind == NameKind::Host && is_plain(naming) => return None,
        Host::Name(..) => {
            let at = naming.resolve.map_or(raw.at, |when| when.at);
            let help = "remove `resolve = \"at-start\"`, or the other keys about the name";
            findings.error(at, "a name that is resolved once has nothing to say about how", help);
            return None;
        }
        Host::Address(_) | Host::Destination => {
            if naming.resolve.is_some() || !is_plain(naming) {
                let message = "this server has an address: there is no name to resolve";
                findings.error(raw.host.at, message, "write its name, or remove the keys about resolving");
            }
            return None;
        }
    };
    if name.is_empty() || name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        findings.error(raw.host.at, format!("`{name}` is not a name that DNS can have"), "write a name or an address");
    }
    Some(ServerName {
        name: name.clone(),
        kind,
        family: family.map(Wanted::Only).or(naming.family.map(|family| family.value)).unwrap_or(Wanted::DEFAULT),
        networks: naming.networks.iter().map(|network| network.value).collect(),
        share_address: naming.share_address.is_some_and(|share| share.value),
        ignore_weight: naming.ignore_weight.is_some_and(|ignore| ignore.value),
        resolver: naming.resolver.as_ref().map(|resolver| resolver.value.clone()),
        initial: naming.initial.map(|initial| initial.value),
        unresolved: None,
    })
}

/// It says nothing about how a name is resolved while the process runs.
fn is_plain(naming: &raw::ServerNaming) -> bool {
    let raw::ServerNaming { kind, most, resolver, family, networks, share_address, ignore_weight, initial, resolve: _ } =
        naming;
    kind.is_none()
        && most.is_none()
        && resolver.is_none()
        && family.is_none()
        && networks.is_empty()
        && share_address.is_none()
        && ignore_weight.is_none()
        && initial.is_none()
}

/// The names of the servers that `raw` stands for: one, or `most` with numbers.
pub(super) fn numbered(raw: &raw::Server, name: Located<String>, findings: &mut Findings<'_>) -> Vec<Located<String>> {
    if raw.naming.most.is_none() {
        return vec![name];
    }
    let most: u64 = findings.number(&raw.naming.most, "most", 1..=MOST, 1);
    let prefix = if raw.name.is_some() { name.value } else { format!("{}-", name.value) };
    (1..=most).map(|number| Located::new(format!("{prefix}{number}"), name.at)).collect()
}
