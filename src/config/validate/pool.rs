//! Pools, servers and their checks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::duplicate;
use super::findings::{Findings, Unique};
use super::names;
use super::router::not_a_host;
use super::service::fin_timeout;
use super::socket;
use super::track_server;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, CheckOptions, Located, Maybe};
use crate::config::source::Location;
use crate::model::{
    Affinity, Algorithm, Check, Failback, HashType, NameKind, Observe, OnError, OnMarkedDown, OnMarkedUp, Pool,
    RefuseWith, Server, ServerPort, Service, TableSpec,
};

/// The lowest and highest port that the clients of a pool connect to.
#[derive(Clone, Copy)]
struct ClientPorts {
    lowest: u16,
    highest: u16,
}

/// All pools that can be made out.
pub(super) fn pools(config: &raw::Config, services: &[Service], findings: &mut Findings<'_>) -> Vec<Pool> {
    let ports = client_ports(services);
    let mut names = Unique::new();
    let mut pools = Vec::new();
    for raw in &config.pools {
        let name = findings.required(&raw.name, "name", raw.at);
        let mut clients = None;
        if let Some(name) = name {
            findings.name(name, "name");
            if let Some(first) = names.insert(name.value.as_str(), name.at) {
                duplicate(findings, "pool", name, first);
            }
            clients = ports.get(name.value.as_str()).copied();
            if clients.is_none() && findings.complete {
                let message = format!("no service uses the pool `{}`", name.value);
                findings.warning(name.at, message, "name it as the `pool` of a service, or remove it");
            }
        }
        pools.extend(pool(raw, clients, findings));
    }
    track_server::validate(config, &pools, findings);
    pools
}

fn client_ports(services: &[Service]) -> HashMap<&str, ClientPorts> {
    let mut all: HashMap<&str, ClientPorts> = HashMap::new();
    for service in services {
        let entry = all.entry(&service.pool).or_insert(ClientPorts { lowest: u16::MAX, highest: 1 });
        for listen in &service.listen {
            entry.lowest = entry.lowest.min(listen.ports.first());
            entry.highest = entry.highest.max(listen.ports.last());
        }
    }
    all
}

fn pool(raw: &raw::Pool, clients: Option<ClientPorts>, findings: &mut Findings<'_>) -> Option<Pool> {
    if raw.servers.is_empty() && findings.complete {
        findings.warning(
            raw.name.as_ref().map_or(raw.at, |name| name.at),
            "this pool has no server: its clients are refused",
            "add servers = [\"10.0.0.11:22\"]",
        );
    }
    let server_timeout = findings.timeout(&raw.server_timeout, "server-timeout", None);
    let pool = Pool {
        name: raw.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        algorithm: raw.balance.map_or(Algorithm::RoundRobin, |balance| balance.value),
        affinity: affinity(&raw.affinity, findings),
        servers: servers(raw, clients, findings),
        retries: findings.number(&raw.retries, "retries", 0..=1000, 3),
        redispatch: raw.redispatch.is_none_or(|redispatch| redispatch.value),
        connect_timeout: findings.timeout(&raw.connect_timeout, "connect-timeout", Some(Duration::from_secs(5))),
        server_timeout,
        server_fin_timeout: findings.timeout(
            &raw.server_fin_timeout,
            "server-fin-timeout",
            Some(fin_timeout(server_timeout)),
        ),
        tunnel_timeout: findings.timeout(&raw.tunnel_timeout, "tunnel-timeout", None),
        server_keepalive: raw.server_keepalive.is_none_or(|keepalive| keepalive.value),
        all_backups: raw.all_backups.is_some_and(|all| all.value),
        redispatch_every: findings.optional_number(&raw.choice.redispatch_every, "redispatch-every", 1..=1000),
        hash_type: raw.choice.hash_type.map_or(HashType::Consistent, |kind| kind.value),
        hash_balance_factor: findings.optional_number(
            &raw.choice.hash_balance_factor,
            "hash-balance-factor",
            101..=65_535,
        ),
        queue_timeout: findings.timeout(&raw.choice.queue_timeout, "queue-timeout", None),
        max_queue: findings.optional_number(&raw.choice.max_queue, "max-queue", 0..=u64::from(u32::MAX)),
        persist: raw.choice.persist.is_some_and(|persist| persist.value),
        failback: raw.choice.failback.map_or(Failback::New, |failback| failback.value),
        refusal: raw.choice.refuse_with.map_or(RefuseWith::Reset, |how| how.value),
    };
    raw.name.is_some().then_some(pool)
}

fn affinity(raw: &Maybe<raw::Affinity>, findings: &mut Findings<'_>) -> Affinity {
    let Some(raw) = raw else { return Affinity::None };
    match &raw.value {
        raw::Affinity::None => Affinity::None,
        raw::Affinity::Source => Affinity::Source,
        raw::Affinity::Table(table) => Affinity::Table(TableSpec {
            size: findings.number(&table.size, "size", 1..=1_000_000_000, 100_000),
            expire: findings.timeout(&table.expire, "expire", Some(Duration::from_secs(1800))),
            nopurge: table.nopurge.is_some_and(|nopurge| nopurge.value),
            ipv6: table.ipv6.is_none_or(|ipv6| ipv6.value),
        }),
    }
}

fn servers(raw: &raw::Pool, clients: Option<ClientPorts>, findings: &mut Findings<'_>) -> Vec<Server> {
    let mut unique: Unique<String> = Unique::new();
    let mut portless = Vec::new();
    let mut servers = Vec::new();
    for (index, raw_server) in raw.servers.iter().enumerate() {
        let name = match &raw_server.name {
            Some(name) => {
                findings.name(name, "name");
                name.clone()
            }
            None => Located::new(format!("s{}", index + 1), raw_server.at),
        };
        for name in names::numbered(raw_server, name, findings) {
            if let Some(first) = unique.insert(name.value.clone(), name.at) {
                duplicate(findings, "server", &name, first);
            }
            servers.extend(server(raw_server, name.value, raw, clients, &mut portless, findings));
        }
    }
    without_check_port(raw, &portless, findings);
    servers
}

fn server(
    raw: &raw::Server,
    name: String,
    pool: &raw::Pool,
    clients: Option<ClientPorts>,
    portless: &mut Vec<(String, Location)>,
    findings: &mut Findings<'_>,
) -> Option<Server> {
    let name_of = names::server_name(raw, findings);
    let port = match &name_of {
        // An SRV record says it.
        Some(name) if name.kind == NameKind::Service => ServerPort::Fixed(0),
        Some(_) | None => raw.port.map_or(ServerPort::Same, |port| port.value),
    };
    if let (Some(located), Some(clients)) = (&raw.port, clients) {
        offset_in_range(located, clients, findings);
    }
    let address = match &name_of {
        Some(_) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        None => findings.address(&raw.host),
    };
    let known = address.filter(|_| name_of.is_none());
    if let Some(kind) = known.and_then(not_a_host) {
        findings.error(raw.host.at, format!("this is {kind}"), "write the server's own address");
    }
    let check = check(raw, (&name, address, port), pool, portless, findings);
    let on_marked_down =
        raw.on_marked_down.or(pool.on_marked_down).map_or(OnMarkedDown::Keep, |on_marked_down| on_marked_down.value);
    let weight = findings.number(&raw.weight, "weight", 0..=256, 1);
    let max_connections = findings.optional_number(&raw.max_connections, "max-connections", 1..=u64::from(u32::MAX));
    let source = raw.source.as_ref().and_then(|source| socket::source(&source.value, known, findings));
    let user_timeout = findings.positive(&raw.user_timeout, "user-timeout");
    let choice = &raw.choice;
    if let (Some(track), Some(_)) = (&choice.track, &check) {
        findings.error(track.at, "a server has its own check or tracks another one, not both", "remove one of the two");
    }
    let limit = findings.optional_number(&choice.error_limit, "error-limit", 1..=u64::from(u32::MAX));
    if let (Some(limit), None) = (&choice.error_limit, &check) {
        let message = "connections that fail mean nothing for the health of a server without a check";
        findings.warning(limit.at, message, "give it a check, which finds it up again");
    }
    let on_error = choice.on_error.map_or(OnError::FailCheck, |what| what.value);
    let max_queue = findings.optional_number(&choice.max_queue, "max-queue", 0..=u64::from(u32::MAX));
    let slow_start = choice.slow_start.or(pool.choice.slow_start);
    Some(Server {
        max_queue,
        slow_start: findings.positive(&slow_start, "slow-start"),
        non_stick: choice.non_stick.is_some_and(|non_stick| non_stick.value),
        track: choice
            .track
            .as_ref()
            .map(|track| track_server::reference(track, pool.name.as_ref().map_or("", |name| name.value.as_str()))),
        observe: limit.map(|error_limit| Observe { error_limit, on_error }).filter(|_| check.is_some()),
        on_marked_up: choice.on_marked_up.map_or(OnMarkedUp::Keep, |what| what.value),
        name,
        name_of,
        address: address?,
        port,
        weight,
        backup: raw.backup.is_some_and(|backup| backup.value),
        disabled: raw.disabled.is_some_and(|disabled| disabled.value),
        max_connections,
        check,
        on_marked_down,
        send_proxy: raw.send_proxy.map(|version| version.value),
        source,
        user_timeout,
        fast_open: raw.fast_open.is_some_and(|fast| fast.value),
    })
}

fn offset_in_range(port: &Located<ServerPort>, clients: ClientPorts, findings: &mut Findings<'_>) {
    let Some(client) =
        [clients.lowest, clients.highest].into_iter().find(|client| port.value.resolve(*client).is_none())
    else {
        return;
    };
    let ServerPort::Offset(offset) = port.value else { return };
    findings.error(
        port.at,
        format!(
            "port {client} of a service, moved by {offset:+}, is {}: there is no such port",
            i32::from(client) + offset
        ),
        "write an offset that keeps every port of the services within 1 to 65535",
    );
}

/// The check of a server at `address`, if it has one. One that has no port to go to is noted in `portless`.
fn check(
    server: &raw::Server,
    (name, address, port): (&str, Option<IpAddr>, ServerPort),
    pool: &raw::Pool,
    portless: &mut Vec<(String, Location)>,
    findings: &mut Findings<'_>,
) -> Option<Check> {
    let options = check_options(server, pool)?;
    let target_port = match (findings.optional_number(&options.port, "port", 1..=65535), port) {
        (Some(port), _) | (None, ServerPort::Fixed(port)) => Some(port),
        (None, ServerPort::Same | ServerPort::Offset(_)) => {
            if options.port.is_none() {
                portless.push((name.to_owned(), server.port.map_or(server.host.at, |port| port.at)));
            }
            None
        }
    };
    let interval = findings.positive(&options.interval, "interval").unwrap_or(Duration::from_secs(2));
    let fast_interval = findings.positive(&options.fast_interval, "fast-interval");
    let down_interval = findings.positive(&options.down_interval, "down-interval");
    let timeout = findings.positive(&options.timeout, "timeout");
    let rise = findings.number(&options.rise, "rise", 1..=10_000, 2);
    let fall = findings.number(&options.fall, "fall", 1..=10_000, 3);
    let target_address = match &options.address {
        Some(host) => findings.address(host),
        None => address,
    };
    Some(Check {
        target: SocketAddr::new(target_address?, target_port?),
        interval,
        fast_interval: fast_interval.unwrap_or(interval.min(Duration::from_millis(500))),
        down_interval: down_interval.unwrap_or(interval),
        timeout: timeout.unwrap_or(interval),
        rise,
        fall,
    })
}

/// What is written for a server's check: its own keys, then its pool's. None when it is not checked.
fn check_options(server: &raw::Server, pool: &raw::Pool) -> Option<CheckOptions> {
    let own = server.check.as_ref().map(|check| &check.value);
    let inherited = pool.check.as_ref().map(|check| &check.value);
    match (own, inherited) {
        (Some(raw::Check::Off), _) | (None, Some(raw::Check::Off) | None) => None,
        (None, Some(raw::Check::On(options))) | (Some(raw::Check::On(options)), Some(raw::Check::Off) | None) => {
            Some(CheckOptions::clone(options))
        }
        (Some(raw::Check::On(own)), Some(raw::Check::On(inherited))) => Some(CheckOptions {
            port: own.port.or(inherited.port),
            address: own.address.clone().or_else(|| inherited.address.clone()),
            interval: own.interval.or(inherited.interval),
            fast_interval: own.fast_interval.or(inherited.fast_interval),
            down_interval: own.down_interval.or(inherited.down_interval),
            timeout: own.timeout.or(inherited.timeout),
            rise: own.rise.or(inherited.rise),
            fall: own.fall.or(inherited.fall),
        }),
    }
}

/// One error a pool: a hundred servers without a port are one mistake.
fn without_check_port(pool: &raw::Pool, portless: &[(String, Location)], findings: &mut Findings<'_>) {
    let Some((name, at)) = portless.first() else { return };
    let others = match portless.len() - 1 {
        0 => String::new(),
        1 => " (and one more)".to_owned(),
        more => format!(" (and {more} more)"),
    };
    let error = Diagnostic::error(*at, format!("the server `{name}`{others} is checked, but on no port of its own"));
    let error =
        error.help("say where the check connects: check = { port = 22 }; or give the server a port, or check = false");
    findings.push(match &pool.check {
        Some(check) => error.related(check.at, "checked because of this"),
        None => error,
    });
}
