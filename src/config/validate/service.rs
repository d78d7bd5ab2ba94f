//! Services.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::findings::{Findings, Unique};
use super::overlap::Overlaps;
use super::{by_name, duplicate, policy, socket};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw;
use crate::model::{ListenAddress, Log, Pool, ServerPort, Service, Severity};

/// How long a half-closed connection may be silent, unless configured.
pub(super) const FIN_TIMEOUT: Duration = Duration::from_secs(300);

/// All services that can be made out. `owned` are the virtual addresses of this run.
pub(super) fn services(
    raw: &raw::Config,
    owned: &HashSet<IpAddr>,
    log: &Log,
    (known, overlaps): (&policy::Known<'_>, &mut Overlaps),
    findings: &mut Findings<'_>,
) -> Vec<Service> {
    let mut names = Unique::new();
    let pools = &known.pools;
    let mut services = Vec::new();
    for raw_service in &raw.services {
        if let Some(name) = findings.required(&raw_service.name, "name", raw_service.at) {
            findings.name(name, "name");
            if let Some(first) = names.insert(name.value.as_str(), name.at) {
                duplicate(findings, "service", name, first);
            }
        }
        let policy = policy::policy(raw_service, known, findings);
        let routed = policy::first_pool(policy.as_ref());
        if routed.is_none() {
            findings.required(&raw_service.pool, "pool", raw_service.at);
        }
        if let Some(pool) = &raw_service.pool
            && !pools.contains_key(pool.value.as_str())
            && findings.complete
        {
            let error = Diagnostic::error(pool.at, format!("there is no pool called `{}`", pool.value));
            let error = findings.suggest(error, &pool.value, pools.keys().copied());
            findings
                .push(error.help(format!("add a [[pool]] (`backend`) with name = \"{}\"", pool.value.escape_debug())));
        }
        let service = service(raw_service, owned, log, overlaps, findings);
        services.extend(service.map(|service| Service {
            pool: raw_service.pool.as_ref().map(|pool| pool.value.clone()).or(routed).unwrap_or_default(),
            policy,
            ..service
        }));
    }
    services
}

fn service(
    raw: &raw::Service,
    owned: &HashSet<IpAddr>,
    log: &Log,
    overlaps: &mut Overlaps,
    findings: &mut Findings<'_>,
) -> Option<Service> {
    if raw.listen.is_empty() {
        findings.missing(raw.at, "this service listens nowhere", "add listen = \"192.0.2.100:22\"");
    }
    let listen = raw.listen.iter().filter_map(|raw| listen(raw, owned, overlaps, findings)).collect();
    let client_timeout = findings.timeout(&raw.client_timeout, "client-timeout", None);
    let service = Service {
        name: raw.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        listen,
        pool: String::new(),
        policy: None,
        max_connections: findings.optional_number(&raw.max_connections, "max-connections", 1..=u64::from(u32::MAX)),
        client_timeout,
        client_fin_timeout: findings.timeout(
            &raw.client_fin_timeout,
            "client-fin-timeout",
            Some(fin_timeout(client_timeout)),
        ),
        client_keepalive: socket::keepalive(&raw.client_keepalive, findings),
        client_linger: raw.client_linger.is_none_or(|linger| linger.value),
        backlog: findings.number(&raw.backlog, "backlog", 1..=1_000_000, 4096),
        log: raw.log.map_or(log.connections, |log| log.value),
        log_line: raw.log_line.as_ref().map(|line| line.value.clone()).unwrap_or_default(),
        log_targets: super::log::own_targets(&raw.log_targets, findings),
        log_empty: raw.log_empty.is_none_or(|empty| empty.value),
        log_normal: raw.log_normal.is_none_or(|normal| normal.value),
        log_errors_as: raw.log_errors_as.map_or(Severity::Info, |severity| severity.value),
        log_early: raw.log_early.is_some_and(|early| early.value),
        log_tag: raw.log_tag.as_ref().map(|tag| super::log::one_word(tag, "log-tag", findings).value.as_str().into()),
    };
    raw.name.is_some().then_some(service)
}

/// The default where nothing is configured: not longer than an open connection may be silent.
pub(super) fn fin_timeout(open: Option<Duration>) -> Duration {
    open.map_or(FIN_TIMEOUT, |open| open.min(FIN_TIMEOUT))
}

fn listen(
    raw: &raw::Listen,
    owned: &HashSet<IpAddr>,
    overlaps: &mut Overlaps,
    findings: &mut Findings<'_>,
) -> Option<ListenAddress> {
    let address = findings.address(&raw.host)?;
    if address.is_multicast() {
        findings.error(
            raw.host.at,
            format!("{address} is a multicast address"),
            "TCP has none: write a host's address",
        );
    }
    if let Some(dual_stack) =
        raw.dual_stack.filter(|dual| dual.value && !(address.is_ipv6() && address.is_unspecified()))
    {
        findings.error(dual_stack.at, format!("{address} cannot be dual-stack"), "only [::] includes IPv4");
    }
    let listen = ListenAddress {
        address,
        ports: raw.ports.value,
        nonlocal: raw.nonlocal.is_none_or(|nonlocal| nonlocal.value) || owned.contains(&address),
        interface: raw.interface.as_ref().map(|interface| interface.value.clone()),
        dual_stack: raw.dual_stack.is_some_and(|dual| dual.value),
        proxy_from: raw.proxy_from.iter().map(|prefix| prefix.value).collect(),
        tuning: socket::listen_tuning(&raw.tuning, findings),
        inherited: raw.inherited.as_ref().map(|inherited| inherited.value.clone()),
    };
    if let Some(inherited) = raw.inherited.as_ref().filter(|_| listen.ports.len() > 1) {
        findings.error(inherited.at, "an inherited socket has one port", "write the port it listens on");
    }
    overlaps.add_listen(&listen, raw.host.at, findings);
    Some(listen)
}

/// Services with a server that is their own listener: each connection would open the next.
pub(super) fn looping(
    raw: &raw::Config,
    services: &[Service],
    pools: &[Pool],
    owned: &HashSet<IpAddr>,
    findings: &mut Findings<'_>,
) {
    let listening: HashSet<IpAddr> =
        services.iter().flat_map(|service| &service.listen).map(|listen| listen.address).collect();
    let here = |address: IpAddr| owned.contains(&address) || listening.contains(&address) || address.is_loopback();
    let pools: HashMap<&str, &Pool> = by_name(pools, |pool| &pool.name);
    let written: HashMap<&str, &raw::Pool> =
        raw.pools.iter().filter_map(|pool| Some((pool.name.as_ref()?.value.as_str(), pool))).collect();
    let named = raw.services.iter().filter(|raw| raw.name.is_some());
    for (raw_service, service) in named.zip(services) {
        let (Some(pool), Some(raw_pool)) = (pools.get(service.pool.as_str()), written.get(service.pool.as_str()))
        else {
            continue;
        };
        // Otherwise something written has been left out, and the rest does not line up.
        if pool.servers.len() != raw_pool.servers.len() || service.listen.len() != raw_service.listen.len() {
            continue;
        }
        for (server, raw_server) in pool.servers.iter().zip(&raw_pool.servers) {
            let reaches = |listen: &ListenAddress| {
                let any = listen.address.is_unspecified()
                    && (listen.address.is_ipv4() == server.address.is_ipv4() || listen.dual_stack);
                let same = server.follows_clients() || listen.address == server.address || any && here(server.address);
                server.name_of.is_none() && same && reached(listen, server.port)
            };
            let listen = service.listen.iter().zip(&raw_service.listen).find(|(listen, _)| reaches(listen));
            if let Some((_, listen)) = listen {
                let message = format!("the server `{}` is the service `{}` itself", server.name, service.name);
                let warning =
                    Diagnostic::warning(raw_server.host.at, message).related(listen.host.at, "it listens here");
                findings
                    .push(warning.help("its connections would go round in a circle: write the server's own address"));
            }
        }
    }
}

/// Whether a client of one of the ports is led to one of the ports.
fn reached(listen: &ListenAddress, port: ServerPort) -> bool {
    let (first, last) = (i32::from(listen.ports.first()), i32::from(listen.ports.last()));
    match port {
        ServerPort::Same => true,
        ServerPort::Fixed(port) => listen.ports.contains(port),
        ServerPort::Offset(offset) => first + offset <= last && last + offset >= first,
    }
}
