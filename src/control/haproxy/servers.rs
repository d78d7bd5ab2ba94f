//! `show servers state` and `conn`, `get weight`; and finding the server that a command names.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::Shared;
use crate::model::{AdminState, CheckResult, Config, NameKind};
use crate::stats::csv::proxies;
use crate::stats::{Health, PoolSnapshot, ServerSnapshot, Snapshot};

/// HAProxy's sentence where a command names no server.
pub(super) const WANTED: &str = "Require 'backend/server'.\n";
pub(super) const NO_POOL: &str = "No such backend.\n";
pub(super) const NO_SERVER: &str = "No such server.\n";
const STATE_COLUMNS: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
    srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
    bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
    srv_agent_port";

/// A server by its name, `pool/server`, or by the number of either; otherwise what to say.
pub(super) fn find<'a>(
    name: Option<&str>,
    config: &Config,
    snapshot: &'a Snapshot,
) -> Result<(&'a PoolSnapshot, &'a ServerSnapshot), &'static str> {
    let (pool, server) = name.and_then(|name| name.split_once('/')).ok_or(WANTED)?;
    let numbered = |id: usize| pool.strip_prefix('#').is_some_and(|number| number.parse() == Ok(id));
    let known = proxies(snapshot, Shared::first_proxy(config))
        .filter_map(|proxy| Some((proxy.id, proxy.pool?)))
        .find(|(id, known)| known.name == pool || numbered(*id));
    let (_, known) = known.ok_or(NO_POOL)?;
    let numbered = |index: usize| server.strip_prefix('#').is_some_and(|number| number.parse() == Ok(index + 1));
    let mut servers = known.servers.iter().enumerate();
    let found = servers.find(|(index, known)| known.name == server || numbered(*index)).ok_or(NO_SERVER)?;
    Ok((known, found.1))
}

pub(super) fn weight(name: Option<&str>, config: &Config, snapshot: &Snapshot) -> String {
    match find(name, config, snapshot) {
        Ok((pool, server)) => {
            let initial = config.server(&pool.name, &server.name).map_or(server.weight, |server| server.weight);
            format!("{} (initial {initial})\n", server.weight)
        }
        Err(text) => text.to_owned(),
    }
}

/// The pools that are asked for, with their numbers; none: there is no such pool.
fn pools<'a>(only: Option<&str>, config: &Config, snapshot: &'a Snapshot) -> Option<Vec<(usize, &'a PoolSnapshot)>> {
    let chosen: Vec<_> = proxies(snapshot, Shared::first_proxy(config))
        .filter_map(|proxy| Some((proxy.id, proxy.pool?)))
        .filter(|(_, pool)| only.is_none_or(|name| pool.name == name))
        .collect();
    Some(chosen).filter(|chosen| only.is_none() || !chosen.is_empty())
}

pub(super) fn state(only: Option<&str>, config: &Config, snapshot: &Snapshot) -> String {
    let Some(pools) = pools(only, config, snapshot) else { return "Can't find backend.\n".to_owned() };
    let mut out = format!("1\n{STATE_COLUMNS}\n");
    for (id, pool) in pools {
        for (index, server) in pool.servers.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", state_line(id, index + 1, pool, server, config, snapshot));
        }
    }
    out
}

fn state_line(
    pool_id: usize,
    server_id: usize,
    pool: &PoolSnapshot,
    server: &ServerSnapshot,
    config: &Config,
    snapshot: &Snapshot,
) -> String {
    let configured = config.server(&pool.name, &server.name);
    let (address, port) = place(server);
    let maintenance = server.health == Health::Disabled;
    let initially_disabled = configured.is_some_and(|server| server.disabled);
    let operation = match server.health {
        Health::Down | Health::Disabled => 0,
        // Stopping.
        Health::Up | Health::Unchecked if server.stopping => 3,
        Health::Up | Health::Unchecked => 2,
    };
    // Forced or inherited maintenance, maintenance by configuration, forced or inherited drain.
    let forced = |state: AdminState| u8::from(server.admin == state.label());
    let inherited = |state: AdminState| u8::from(server.follows.as_ref().is_some_and(|(_, own)| own == state.label()));
    let admin = forced(AdminState::Maintenance)
        | inherited(AdminState::Maintenance) << 1
        | u8::from(initially_disabled) << 2
        | forced(AdminState::Drain) << 3
        | inherited(AdminState::Drain) << 4;
    let check = configured.and_then(|server| server.check.as_ref());
    let (status, result) = match server.last_check.as_ref().filter(|_| check.is_some()) {
        Some(last) => check_numbers(last.result),
        None => (1, 0),
    };
    let health = match (maintenance, server.counter) {
        (true, _) => 0,
        (false, Some(counter)) => counter.now,
        (false, None) => 2,
    };
    // Configured, enabled, an agent's; paused in maintenance.
    let asked = |there: bool, paused: bool| u8::from(there) << 1 | u8::from(there && !paused) << 2;
    let check_state = asked(check.is_some(), server.check_paused) | u8::from(maintenance) << 3;
    let agent = configured.and_then(|server| server.agent.as_ref());
    let agent_state = asked(agent.is_some(), server.agent_paused) | u8::from(agent.is_some()) << 4;
    let (own_address, own_port) = (address.parse::<IpAddr>().ok(), port.parse().unwrap_or(0));
    let checked_at = server.check_target.filter(|_| check.is_some());
    let check_port = checked_at.filter(|at| at.port() != own_port).map_or(0, |at| at.port());
    let elsewhere = |at: Option<SocketAddr>| {
        let at = at.filter(|at| Some(at.ip()) != own_address);
        at.map_or_else(|| "-".to_owned(), |at| at.ip().to_string())
    };
    let check_address = elsewhere(checked_at);
    let asked_at = server.agent_target.filter(|_| agent.is_some());
    let (agent_address, agent_port) = (elsewhere(asked_at), asked_at.map_or(0, |at| at.port()));
    let of = |kind| configured.and_then(|server| server.name_of.as_ref()).filter(|name| name.kind == kind);
    let [name, service] =
        [NameKind::Host, NameKind::Service].map(|kind| of(kind).map_or("-", |name| name.name.as_str()));
    let weight = configured.map_or(server.weight, |server| server.weight);
    let since = server.since_seconds.unwrap_or(snapshot.uptime_seconds);
    format!(
        "{pool_id} {} {server_id} {} {address} {operation} {admin} {} {weight} {since:.0} {status} {result} {health} {check_state} {agent_state} 0 0 {name} {port} {service} 0 {check_port} {check_address} {agent_address} {agent_port}",
        pool.name,
        server.name,
        server.weight,
        since = since.floor(),
    )
}

/// HAProxy's numbers for how a check ended: its status, and whether it failed (2), passed (3) or passed conditionally (4).
fn check_numbers(result: CheckResult) -> (u8, u8) {
    let meaning = match result {
        CheckResult::Starved => 0,
        CheckResult::L7OkConditionally => 4,
        passed if passed.passed() => 3,
        _ => 2,
    };
    (result.number(), meaning)
}

pub(super) fn connections(only: Option<&str>, config: &Config, snapshot: &Snapshot) -> String {
    let Some(pools) = pools(only, config, snapshot) else { return "Can't find backend.\n".to_owned() };
    let threads = snapshot.process.workers;
    let mut out = format!(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim idle_cur idle_per_thr[{threads}]\n"
    );
    for (id, pool) in pools {
        for (index, server) in pool.servers.iter().enumerate() {
            let (address, port) = place(server);
            // A check is a connection too.
            let used = u64::from(server.checks > 0);
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{}/{} {id}/{} {address} {port} - 5000 {} {} {} 0 0 -1 0{}",
                pool.name,
                server.name,
                index + 1,
                server.open,
                server.open_max.max(used),
                server.open_max.max(used).min(1),
                " 0".repeat(threads)
            );
        }
    }
    out
}

/// Address and port as HAProxy prints them: the port 0 is the client's, and what is added to it looks like a port.
fn place(server: &ServerSnapshot) -> (String, String) {
    let (address, port) = server.address.rsplit_once(':').unwrap_or((&server.address, "0"));
    let port = if port == "same" { "0" } else { port.trim_start_matches('+') };
    let address = address.trim_matches(['[', ']']);
    // A name that is not resolved yet is shown as none.
    let address = if address.parse::<IpAddr>().is_ok() { address } else { "-" };
    (address.to_owned(), port.to_owned())
}
