//! Pools, servers and their checks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::check::{self, Checked, without_check_port};
use super::command::Commands;
use super::duplicate;
use super::findings::{Findings, Unique};
use super::names;
use super::peers;
use super::policy;
use super::router::not_a_host;
use super::service::fin_timeout;
use super::socket;
use super::track_server;
use crate::config::raw::{self, Located, Maybe};
use crate::config::source::Location;
use crate::model::expression::{Expression, Origin};
use crate::model::rule::End;
use crate::model::{
    Affinity, Agent, Algorithm, Check, Failback, HashType, KeyType, NameKind, Observe, OnError, OnMarkedDown,
    OnMarkedUp, Pool, RefuseWith, Server, ServerPort, Service, Source, StickAction, StickRule, TableSpec, TlsAffinity,
};

/// The lowest and highest port that the clients of a pool connect to.
#[derive(Clone, Copy)]
struct ClientPorts {
    lowest: u16,
    highest: u16,
}

/// Nobody waits longer for a client's hello.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// All pools that can be made out.
pub(super) fn pools(
    config: &raw::Config,
    services: &[Service],
    (rules, commands): (&policy::Known<'_>, &Commands),
    findings: &mut Findings<'_>,
) -> Vec<Pool> {
    let ports = client_ports(services);
    let mut names = Unique::new();
    let mut pools = Vec::new();
    for (index, raw) in config.pools.iter().enumerate() {
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
                findings.warning(
                    name.at,
                    message,
                    "name it as the `pool` of a service (`default_backend`), or remove it",
                );
            }
        }
        let context = Context { clients, rules, commands, environment: environment(raw, index, services) };
        pools.extend(pool(raw, &context, findings));
    }
    track_server::validate(config, &pools, findings);
    pools
}

/// What the servers of a pool have in common.
struct Context<'c> {
    clients: Option<ClientPorts>,
    /// What its rules may name.
    rules: &'c policy::Known<'c>,
    commands: &'c Commands,
    /// What commands that check its servers are told.
    environment: Vec<(String, String)>,
}

/// The variables of HAProxy's external checks that speak of the pool; those of a listener only where a service and its
/// pool are one, as in its `listen` sections.
fn environment(pool: &raw::Pool, index: usize, services: &[Service]) -> Vec<(String, String)> {
    let name = pool.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
    let service = services.iter().find(|service| service.name == name && service.pool == name);
    let listen = service.and_then(|service| service.listen.first());
    [
        ("HAPROXY_PROXY_NAME", name.to_owned()),
        ("HAPROXY_PROXY_ID", (index + 1).to_string()),
        ("HAPROXY_PROXY_ADDR", listen.map_or_else(String::new, |listen| listen.address.to_string())),
        ("HAPROXY_PROXY_PORT", listen.map_or_else(String::new, |listen| listen.ports.first().to_string())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn client_ports(services: &[Service]) -> HashMap<&str, ClientPorts> {
    let mut all: HashMap<&str, ClientPorts> = HashMap::new();
    for service in services {
        for pool in service.pools() {
            let entry = all.entry(pool).or_insert(ClientPorts { lowest: u16::MAX, highest: 1 });
            for listen in &service.listen {
                entry.lowest = entry.lowest.min(listen.ports.first());
                entry.highest = entry.highest.max(listen.ports.last());
            }
        }
    }
    all
}

fn pool(raw: &raw::Pool, context: &Context<'_>, findings: &mut Findings<'_>) -> Option<Pool> {
    if raw.servers.is_empty() && findings.complete {
        findings.warning(
            raw.name.as_ref().map_or(raw.at, |name| name.at),
            "this pool has no server: its clients are refused",
            "add servers = [\"10.0.0.11:22\"] (`server` lines)",
        );
    }
    let server_timeout = findings.timeout(&raw.server_timeout, "server-timeout", None);
    let servers = servers(raw, context, findings);
    let policy = policy::pool_policy(raw, &servers, context.rules, findings);
    let pool = Pool {
        name: raw.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        algorithm: raw.balance.map_or(Algorithm::RoundRobin, |balance| balance.value),
        affinity: affinity(&raw.affinity, findings),
        alike: false,
        stick: stick(&raw.affinity),
        servers,
        policy,
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
        server_keepalive: socket::keepalive(&raw.server_keepalive, findings),
        server_linger: raw.server_linger.is_none_or(|linger| linger.value),
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
        full_load: findings.optional_number(&raw.choice.full_load, "full-load", 1..=u64::from(u32::MAX)),
        persist: raw.choice.persist.is_some_and(|persist| persist.value),
        rdp_cookie: raw.choice.rdp_cookie.as_ref().map(|name| cookie(name, findings)),
        abort_on_close: raw.choice.abort_on_close.is_some_and(|abort| abort.value),
        failback: raw.choice.failback.map_or(Failback::New, |failback| failback.value),
        refusal: raw.choice.refuse_with.map_or(RefuseWith::Reset, |how| how.value),
        server_state: raw.choice.server_state.as_ref().map(|file| file.value.clone()),
    };
    raw.name.is_some().then_some(pool)
}

fn cookie(name: &Located<String>, findings: &mut Findings<'_>) -> String {
    if name.value.is_empty() || !name.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=') {
        findings.error(
            name.at,
            format!("`{}` cannot be the name of a cookie", name.value),
            "session brokers use \"msts\"",
        );
    }
    name.value.clone()
}

/// The rules of the pool's table; none where they say what holds without any.
fn stick(raw: &Maybe<raw::Affinity>) -> Vec<StickRule> {
    let Some(Located { value: raw::Affinity::Table(table), .. }) = raw else { return Vec::new() };
    let plain = StickRule {
        action: StickAction::On,
        key: Expression { of: Origin::Address(End::Source), then: Vec::new() },
        when: None,
    };
    let rules: Vec<_> = table.stick.iter().map(|rule| rule.value.clone()).collect();
    let addresses = table.kind.is_none_or(|kind| matches!(kind.value, KeyType::Ipv4 | KeyType::Ipv6));
    if addresses && rules == [plain] { Vec::new() } else { rules }
}

fn affinity(raw: &Maybe<raw::Affinity>, findings: &mut Findings<'_>) -> Affinity {
    let Some(raw) = raw else { return Affinity::None };
    match &raw.value {
        raw::Affinity::None => Affinity::None,
        raw::Affinity::Source => Affinity::Source,
        raw::Affinity::Table(table) => Affinity::Table(self::table(table, findings)),
        raw::Affinity::Tls(tls) => {
            let default = TlsAffinity::default();
            if let Some(wait) = tls.wait.filter(|wait| wait.value > LONGEST_WAIT) {
                let error = format!("{} s are longer than a client should wait", wait.value.as_secs());
                findings.error(wait.at, error, "write at most 1m: a client that speaks TLS says hello at once");
            }
            Affinity::Tls(TlsAffinity {
                wait: findings.positive(&tls.wait, "wait").unwrap_or(default.wait),
                fallback: tls.fallback.map_or(default.fallback, |fallback| fallback.value),
                table: self::table(&tls.table, findings),
            })
        }
    }
}

fn table(table: &raw::Table, findings: &mut Findings<'_>) -> TableSpec {
    TableSpec {
        size: findings.number(&table.size, "size", 1..=1_000_000_000, 100_000),
        expire: findings.timeout(&table.expire, "expire", Some(Duration::from_secs(1800))),
        nopurge: table.nopurge.is_some_and(|nopurge| nopurge.value),
        kind: table.kind.map_or(KeyType::Ipv6, |kind| kind.value),
        name: peers::text(&table.name),
        peers: peers::text(&table.peers),
    }
}

fn servers(raw: &raw::Pool, context: &Context<'_>, findings: &mut Findings<'_>) -> Vec<Server> {
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
            servers.extend(server(raw_server, (index, name.value), raw, context, &mut portless, findings));
        }
    }
    without_check_port(raw, &portless, findings);
    servers
}

fn server(
    raw: &raw::Server,
    (index, name): (usize, String),
    pool: &raw::Pool,
    context: &Context<'_>,
    portless: &mut Vec<(String, Location)>,
    findings: &mut Findings<'_>,
) -> Option<Server> {
    let name_of = names::server_name(raw, findings);
    let port = match &name_of {
        // An SRV record says it.
        Some(name) if name.kind == NameKind::Service => ServerPort::Fixed(0),
        Some(_) | None => raw.port.map_or(ServerPort::Same, |port| port.value),
    };
    if let (Some(located), Some(clients)) = (&raw.port, context.clients) {
        offset_in_range(located, clients, findings);
    }
    let address = match &name_of {
        Some(_) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        None => findings.address(&raw.host),
    };
    let known = address.filter(|_| name_of.is_none() && raw.host.value != raw::Host::Destination);
    if let Some(kind) = known.and_then(not_a_host) {
        findings.error(raw.host.at, format!("this is {kind}"), "write the server's own address");
    }
    let mut environment = context.environment.clone();
    environment.push(("HAPROXY_SERVER_ID".to_owned(), (index + 1).to_string()));
    let checked = Checked { pool, server: raw, name: &name, address, port, commands: context.commands, environment };
    let check = check::check(&checked, portless, findings);
    let agent = check::agent(&checked, findings);
    let on_marked_down =
        raw.on_marked_down.or(pool.on_marked_down).map_or(OnMarkedDown::Keep, |on_marked_down| on_marked_down.value);
    let weight = findings.number(&raw.weight, "weight", 0..=256, 1);
    let max_connections = findings.optional_number(&raw.max_connections, "max-connections", 1..=u64::from(u32::MAX));
    let source = raw.source.as_ref().and_then(|source| socket::source(&source.value, known, findings));
    let own = source.as_ref().map(Source::own);
    let check = check.map(|check| Check { source: own.clone(), ..check });
    let agent = agent.map(|agent| Agent { source: own, ..agent });
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
    let (min_connections, max_connections) = connections(raw, max_connections, findings);
    let slow_start = choice.slow_start.or(pool.choice.slow_start);
    Some(Server {
        min_connections,
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
        agent,
        on_marked_down,
        send_proxy: raw.send_proxy.map(|version| version.value),
        source,
        user_timeout,
        fast_open: raw.fast_open.is_some_and(|fast| fast.value),
    })
}

/// The least and the most limit of a server. As in HAProxy, one that has only the least has that.
fn connections(raw: &raw::Server, most: Option<u32>, findings: &mut Findings<'_>) -> (Option<u32>, Option<u32>) {
    let said = &raw.choice.min_connections;
    let least = findings.optional_number(said, "min-connections", 1..=u64::from(u32::MAX));
    if let (Some(said), Some(least)) = (said, least)
        && most.is_none_or(|most| least >= most)
    {
        let message = format!("the limit of this server is always {least}: it cannot follow the load");
        findings.warning(said.at, message, "write max-connections too, above min-connections");
        return (None, Some(least));
    }
    (least, most)
}

/// Where limits follow the load and nothing says when it is full: as in HAProxy, with a tenth of what the services that it
/// serves may have open.
pub(super) fn full_loads(pools: &mut [Pool], services: &[Service], process: Option<u32>) {
    for pool in pools.iter_mut().filter(|pool| pool.full_load.is_none()) {
        if pool.servers.iter().all(|server| server.min_connections.is_none()) {
            continue;
        }
        let brings = services.iter().filter(|service| service.pools().any(|name| name == pool.name));
        let most = brings.map(|service| service.max_connections.or(process).map(u64::from));
        // One without any bound may bring any number.
        let full = most.sum::<Option<u64>>().map(|sum| sum.div_ceil(10).max(1));
        pool.full_load = full.and_then(|full| u32::try_from(full).ok());
    }
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
