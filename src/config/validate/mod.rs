//! What was written to what it means: [`raw`] to the model, all errors at once.
//!
//! A value that cannot be is replaced by its default and validation goes on, so that the next mistake is found too;
//! the model is only given away when there was no error.

mod check;
mod check_protocol;
mod command;
mod control;
mod findings;
mod group;
mod idle;
mod log;
mod names;
mod overlap;
mod page;
mod peers;
mod policy;
mod pool;
mod router;
mod routing;
mod service;
mod socket;
mod track;
mod track_server;
mod transport;
mod vrid;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;

use self::command::Commands;
use self::findings::Findings;
use self::group::Members;
use self::overlap::Overlaps;
use self::track::Trackers;
use super::diagnostic::Diagnostic;
use super::raw::{self, Located, PeerPort};
use super::source::Location;
use crate::model::{Config, Global};

/// Turns host names into addresses. The shell brings the system's resolver, tests bring a table.
pub trait Resolve {
    /// The addresses of `name`, best first.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

impl<F: Fn(&str) -> io::Result<Vec<IpAddr>>> Resolve for F {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self(name)
    }
}

/// Validates `raw`. `complete` says that all that was written could be read, so that what is absent is really absent.
/// Findings go to `diagnostics`; the model is returned when none of them is an error.
pub fn validate(
    raw: &raw::Config,
    complete: bool,
    resolve: &dyn Resolve,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Config> {
    let mut found = Vec::new();
    let config = config(raw, &mut Findings::new(&mut found, resolve, complete));
    // What a pool says of its servers' checks is validated with each of them, and said once.
    found.sort_by(|one: &Diagnostic, other| (one.at, &one.message).cmp(&(other.at, &other.message)));
    found.dedup();
    let fine = complete && !found.iter().any(Diagnostic::is_error);
    diagnostics.append(&mut found);
    Some(config).filter(|_| fine)
}

fn config(raw: &raw::Config, findings: &mut Findings<'_>) -> Config {
    let global = global(raw, findings);
    let mut overlaps = Overlaps::new();
    let stats_sockets = control::stats_sockets(&raw.stats_sockets, &mut overlaps, findings);
    let commands = Commands::new(raw);
    let notify = commands.targets(raw, findings);
    let trackers = track::trackers(raw, &commands, findings);
    let (known, members) = (Trackers::new(raw), Members::new(raw));
    let context = router::Context { commands: &commands, trackers: &known, members: &members };
    let mut routers = router::routers(&raw.routers, &context, findings);
    let groups = group::groups(&raw.groups, &routers, &commands, &known, findings);
    let owned: HashSet<IpAddr> =
        routers.iter().flat_map(|router| router.owned().map(|address| address.prefix.address)).collect();
    let tables = policy::tables(raw, findings);
    let rules = policy::Known::new(raw, &tables);
    let pages = page::pages(raw, &rules, &mut overlaps, findings);
    let services = service::services(raw, &owned, &global.log, (&rules, &mut overlaps), findings);
    let mut pools = pool::pools(raw, &services, (&rules, &commands), findings);
    peers::choose_alike(&services, &owned, &mut pools);
    pool::full_loads(&mut pools, &services, global.max_connections);
    let resolvers = names::resolvers(raw, findings);
    let peer_groups = peers::groups(raw, findings);
    peers::tables(raw, &pools, findings);
    router::fronts(&raw.routers, &mut routers, &services, findings);
    service::looping(raw, &services, &pools, &owned, findings);
    idle::cut_sessions(raw, &services, &pools, findings);
    let (routes, rules) = (routing::routes(&raw.routes, findings), routing::rules(&raw.rules, findings));
    Config {
        global,
        routers,
        groups,
        trackers,
        routes,
        rules,
        notify,
        services,
        pools,
        resolvers,
        peer_groups,
        pages,
        stats_sockets,
    }
}

fn global(raw: &raw::Config, findings: &mut Findings<'_>) -> Global {
    let default = Global::default();
    let log = raw.log.as_ref().map_or_else(|| default.log.clone(), |log| log::log(log, findings));
    let security = raw.scripts.as_ref().and_then(|scripts| scripts.security);
    let script_security = security.map_or(default.script_security, |security| security.value);
    let Some(raw) = &raw.global else { return Global { log, script_security, ..default } };
    if let Some(node) = &raw.node {
        findings.name(node, "node");
    }
    Global {
        node: raw.node.as_ref().map(|node| node.value.clone()),
        workers: findings.optional_number(&raw.workers, "workers", 1..=1024),
        max_connections: findings.optional_number(&raw.max_connections, "max-connections", 1..=u64::from(u32::MAX)),
        io_uring: raw.io_uring.map_or(default.io_uring, |wanted| wanted.value),
        stop_grace: findings.duration(&raw.stop_grace, "stop-grace", default.stop_grace),
        drain_timeout: findings.duration(&raw.drain_timeout, "drain-timeout", default.drain_timeout),
        spread_checks: findings.number(&raw.spread_checks, "spread-checks", 0..=50, default.spread_checks),
        script_security,
        peer_port: match raw.peer_port {
            None => default.peer_port,
            Some(Located { value: PeerPort::Off, .. }) => None,
            Some(Located { value: PeerPort::Port(port), at }) => {
                findings.optional_number(&Some(Located::new(port, at)), "peer-port", 1..=65_535)
            }
        },
        log,
    }
}

/// Two things with one name.
fn duplicate(findings: &mut Findings<'_>, kind: &str, name: &Located<String>, first: Location) {
    findings.push(
        Diagnostic::error(name.at, format!("there are two {kind}s called `{}`", name.value))
            .related(first, "the first is here")
            .help("rename one of the two"),
    );
}

/// Values by name.
fn by_name<'v, T>(values: &'v [T], name: impl Fn(&'v T) -> &'v str) -> HashMap<&'v str, &'v T> {
    values.iter().map(|value| (name(value), value)).collect()
}
