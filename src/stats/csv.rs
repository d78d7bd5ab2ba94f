//! HAProxy's statistics, for the tools that read them: its columns, filled with what is known here.

use super::check::LastCheckSnapshot;
use super::registry::{EndReason, Health, ServiceState};
use super::rows::{Row, RowKind, csv};
use super::snapshot::{Counter, PoolSnapshot, ServerSnapshot, ServiceSnapshot, Snapshot};
use super::times::TimesSnapshot;

/// The snapshot as HAProxy's CSV.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    csv(&rows(snapshot, 1))
}

/// Every service, server and pool. Proxies are numbered from `first` on; HAProxy's first is 2 when it has a control socket.
#[must_use]
pub fn rows(snapshot: &Snapshot, first: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for proxy in proxies(snapshot, first) {
        rows.extend(proxy.service.map(|service| frontend(service, snapshot, proxy.id)));
        if let Some(pool) = proxy.pool {
            let servers = pool.servers.iter().enumerate();
            rows.extend(servers.map(|(index, one)| server(pool, one, snapshot, (proxy.id, index + 1))));
            rows.push(backend(pool, snapshot, proxy.id));
        }
    }
    rows
}

/// A proxy as HAProxy counts them: a frontend, a backend, or both under one name.
#[derive(Debug, Clone, Copy)]
pub struct ProxyOf<'a> {
    /// Its number.
    pub id: usize,
    /// Its front half.
    pub service: Option<&'a ServiceSnapshot>,
    /// Its back half.
    pub pool: Option<&'a PoolSnapshot>,
}

/// The proxies, numbered from `first` on.
pub fn proxies(snapshot: &Snapshot, first: usize) -> impl Iterator<Item = ProxyOf<'_>> {
    let services = snapshot.services.iter().map(|service| {
        // HAProxy's `listen`: both halves under one name stand together.
        (Some(service), snapshot.pools.iter().find(|pool| pool.name == service.name))
    });
    let alone = |pool: &&PoolSnapshot| !snapshot.services.iter().any(|service| service.name == pool.name);
    let pools = snapshot.pools.iter().filter(alone).map(|pool| (None, Some(pool)));
    services.chain(pools).enumerate().map(move |(index, (service, pool))| ProxyOf { id: first + index, service, pool })
}

fn frontend(service: &ServiceSnapshot, snapshot: &Snapshot, iid: usize) -> Row {
    let mut row = Row::new(RowKind::Frontend, (&service.name, "FRONTEND"), iid, 0);
    row.set("scur", service.open);
    row.set("smax", service.open_max);
    let ended = |reason: EndReason| service.ended.get(reason.label()).copied().unwrap_or(0);
    // Sessions are the connections that rules let in.
    let refused =
        [EndReason::DeniedConnection, EndReason::SourceLimit, EndReason::DeniedSession].map(ended).iter().sum();
    row.set("slim", front_limit(service, snapshot));
    row.set("stot", service.accepted.saturating_sub(refused));
    row.set("conn_tot", service.accepted);
    row.set("bin", service.bytes_in);
    row.set("bout", service.bytes_out);
    row.set("dreq", ended(EndReason::DeniedContent));
    row.set("dcon", ended(EndReason::DeniedConnection) + ended(EndReason::SourceLimit));
    row.set("dses", ended(EndReason::DeniedSession));
    row.set(
        "status",
        match service.state {
            ServiceState::Open => "OPEN",
            ServiceState::Paused => "PAUSED",
            ServiceState::Stopped => "STOP",
        },
    );
    row.set("rate", service.rate);
    row.set("rate_max", service.rate_max);
    row.set("conn_rate", service.rate);
    row.set("conn_rate_max", service.rate_max);
    row
}

fn server(pool: &PoolSnapshot, server: &ServerSnapshot, snapshot: &Snapshot, (iid, sid): (usize, usize)) -> Row {
    let mut row = Row::new(RowKind::Server, (&pool.name, &server.name), iid, sid);
    row.set("qcur", server.queued);
    row.set("qmax", server.queued_max);
    row.set("scur", server.open);
    row.set("smax", server.open_max);
    if let Some(limit) = server.max_connections {
        row.set("slim", limit);
    }
    row.set("stot", server.chosen);
    row.set("lbtot", server.chosen);
    row.set("connect", server.chosen + server.retries);
    row.set("bin", server.bytes_in);
    row.set("bout", server.bytes_out);
    row.set("econ", failed(server));
    row.set("wretr", server.retries);
    row.set("wredis", server.redispatches);
    row.set("status", status(server));
    row.set("weight", server.weight);
    row.set("uweight", server.weight);
    row.set("act", u8::from(!server.backup));
    row.set("bck", u8::from(server.backup));
    row.set("lastchg", whole_seconds(server.since_seconds.unwrap_or(snapshot.uptime_seconds)));
    row.set("lastsess", last_session(server.last_session_seconds));
    row.set("rate", server.rate);
    row.set("rate_max", server.rate_max);
    row.set("need_conn_est", u8::from(server.open_max > 0 || server.checks > 0));
    // HAProxy shows no sign: the port 0 is the client's.
    row.set("addr", server.address.replace(":same", ":0").replace(":+", ":"));
    set_times(&mut row, server.times);
    row.set("cli_abrt", server.client_aborts);
    row.set("srv_abrt", server.server_aborts);
    if let Some(counter) = server.counter {
        row.set("chkfail", server.checks_failed);
        row.set("chkdown", server.downs);
        row.set("downtime", whole_seconds(server.downtime_seconds));
        row.set("check_rise", counter.rise);
        row.set("check_fall", counter.fall);
        row.set("check_health", counter.now);
    }
    if let Some(check) = &server.last_check {
        set_check(&mut row, check, ["check_status", "check_code", "check_duration", "check_desc", "last_chk"]);
    }
    if let Some(said) = &server.agent {
        set_check(&mut row, said, ["agent_status", "agent_code", "agent_duration", "agent_desc", "last_agt"]);
        row.set("agent_rise", 1);
        row.set("agent_fall", 1);
        row.set("agent_health", u8::from(!server.agent_down));
    }
    row
}

/// Connections that failed with it: an attempt that is repeated, here or elsewhere, is none yet.
fn failed(server: &ServerSnapshot) -> u64 {
    server.connect_errors.saturating_sub(server.retries + server.redispatches)
}

fn backend(pool: &PoolSnapshot, snapshot: &Snapshot, iid: usize) -> Row {
    let (active, backup) = pool.usable();
    let total = |figure: fn(&ServerSnapshot) -> u64| pool.servers.iter().map(figure).sum::<u64>();
    let most = |figure: fn(&ServerSnapshot) -> u64| pool.servers.iter().map(figure).max().unwrap_or(0);
    let weight: u64 = pool
        .servers
        .iter()
        .filter(|server| server.usable() && (server.backup == (active == 0)))
        .map(|server| u64::from(server.weight))
        .sum();
    let fronts = snapshot.services.iter().filter(|service| service.pool == pool.name);
    let mut row = Row::new(RowKind::Backend, (&pool.name, "BACKEND"), iid, 0);
    row.set("qcur", pool.queued);
    row.set("qmax", pool.queued_max);
    // Who waits is there, too.
    row.set("scur", total(|server| server.open) + pool.queued);
    row.set("smax", most(|server| server.open_max));
    // HAProxy's `fullconn`: a tenth of what its frontends may bring.
    row.set("slim", fronts.map(|service| front_limit(service, snapshot)).sum::<u64>().div_ceil(10));
    // Who is moved to another server is one connection all the same, and who gets none is one, too.
    row.set("stot", total(|server| server.chosen.saturating_sub(server.redispatches)) + pool.unserved);
    row.set("lbtot", total(|server| server.chosen));
    row.set("connect", total(|server| server.chosen + server.retries));
    row.set("bin", total(|server| server.bytes_in));
    row.set("bout", total(|server| server.bytes_out));
    row.set("econ", total(failed) + pool.unserved);
    row.set("wretr", total(|server| server.retries));
    row.set("wredis", total(|server| server.redispatches));
    row.set("status", if active + backup > 0 { "UP" } else { "DOWN" });
    row.set("weight", weight);
    row.set("uweight", weight);
    row.set("act", active);
    row.set("bck", backup);
    row.set("chkdown", pool.downs);
    row.set("lastchg", whole_seconds(pool.since_seconds.unwrap_or(snapshot.uptime_seconds)));
    row.set("downtime", whole_seconds(pool.downtime_seconds));
    let last = pool.servers.iter().filter_map(|server| server.last_session_seconds).reduce(f64::min);
    row.set("lastsess", last_session(last));
    row.set("rate", total(|server| server.rate));
    row.set("rate_max", most(|server| server.rate_max));
    set_times(&mut row, TimesSnapshot::together(pool.servers.iter().map(|server| server.times)));
    row.set("cli_abrt", total(|server| server.client_aborts));
    row.set("srv_abrt", total(|server| server.server_aborts));
    row.set("algo", algorithm(&pool.algorithm));
    row
}

/// A frontend without a limit of its own has the process's.
fn front_limit(service: &ServiceSnapshot, snapshot: &Snapshot) -> u64 {
    service.max_connections.map_or(snapshot.process.connection_limit, u64::from)
}

/// Averages and maxima in milliseconds. Answers are not told from other bytes here.
fn set_times(row: &mut Row, times: TimesSnapshot) {
    let millis = |seconds: f64| format!("{:.0}", (seconds * 1000.0).floor());
    for (column, seconds) in [
        ("qtime", times.queue_seconds),
        ("ctime", times.connect_seconds),
        ("rtime", 0.0),
        ("ttime", times.total_seconds),
        ("qtime_max", times.queue_seconds_max),
        ("ctime_max", times.connect_seconds_max),
        ("rtime_max", 0.0),
        ("ttime_max", times.total_seconds_max),
    ] {
        row.set(column, millis(seconds));
    }
}

/// HAProxy's word for an algorithm.
fn algorithm(name: &str) -> &str {
    match name {
        "round robin" => "roundrobin",
        "least connections" => "leastconn",
        "source hash" => "source",
        "static round robin" => "static-rr",
        "server name hash" => "hash",
        other => other,
    }
}

fn last_session(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-1".to_owned(), whole_seconds)
}

/// `UP`, `UP 2/3` on its way down, `DOWN 1/2` on its way up, as HAProxy counts it.
fn status(server: &ServerSnapshot) -> String {
    match (server.health, server.counter) {
        (Health::Disabled, _) => match &server.follows {
            Some((tracked, state)) if state == crate::model::AdminState::Maintenance.label() => {
                format!("MAINT (via {tracked})")
            }
            _ => "MAINT".to_owned(),
        },
        (Health::Down, _) if server.agent_down => "DOWN (agent)".to_owned(),
        (Health::Up | Health::Unchecked, _) if server.stopping => "NOLB".to_owned(),
        (Health::Up | Health::Unchecked, _) if server.draining => "DRAIN".to_owned(),
        (Health::Unchecked, _) => "no check".to_owned(),
        (Health::Up, _) if server.check_paused => "no check".to_owned(),
        (Health::Up, Some(Counter { now, rise, fall })) if now + 1 < rise + fall => {
            format!("UP {}/{fall}", (now + 1).saturating_sub(rise))
        }
        (Health::Up, _) => "UP".to_owned(),
        (Health::Down, Some(Counter { now, rise, fall: _ })) if now > 0 => format!("DOWN {now}/{rise}"),
        (Health::Down, _) => "DOWN".to_owned(),
    }
}

fn whole_seconds(seconds: f64) -> String {
    format!("{:.0}", seconds.floor())
}

/// A check or an agent's answer: status, code, duration in milliseconds, the status in words, and the rest.
fn set_check(row: &mut Row, check: &LastCheckSnapshot, columns: [&str; 5]) {
    let [status, code, duration, text, detail] = columns;
    row.set(status, check.result.code());
    if let Some(answer) = check.code {
        row.set(code, answer);
    }
    row.set(duration, format!("{:.0}", check.duration_seconds * 1000.0));
    row.set(text, check.result.text());
    row.set(detail, &check.detail);
}
