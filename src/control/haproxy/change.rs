//! Commands that change a server, counters or limits. What HAProxy says to a wrong one is said here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::checks::{self, Asker};
use super::servers;
use super::{Shared, show};
use crate::control::operate::{PortChange, ServerChange, ServerState};
use crate::control::server;
use crate::control::{Reply, Request};

const USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | check-addr | check-port | \
     fqdn | health | ssl | state | weight\n";

/// Has a request carried out; empty when it was.
pub(super) async fn request(shared: &Shared, request: Request) -> String {
    let reply = server::call(&shared.calls, request).await;
    if let Reply::Failed { text, .. } = reply { format!("{text}\n") } else { String::new() }
}

/// A server that is there, as the names of its pool and itself, and what the status shows of its address.
pub(super) struct Target {
    pub(super) pool: String,
    pub(super) server: String,
    address: String,
}

pub(super) async fn target(name: Option<&str>, shared: &Arc<Shared>) -> Result<Target, String> {
    let name = name.map(str::to_owned);
    let found = show::look(shared, move |config, snapshot| match servers::find(name.as_deref(), config, snapshot) {
        Ok((pool, server)) => format!("{}\u{0}{}\u{0}{}", pool.name, server.name, server.address),
        Err(text) => text.to_owned(),
    });
    let found = found.await;
    let mut parts = found.split('\u{0}').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(pool), Some(server), Some(address)) => Ok(Target { pool, server, address }),
        _ => Err(found),
    }
}

/// `set server <b>/<s> ...`
pub(super) async fn server(arguments: &[&str], shared: &Arc<Shared>) -> String {
    let target = match target(arguments.first().copied(), shared).await {
        Ok(target) => target,
        Err(text) => return text,
    };
    let rest = arguments.get(2..).unwrap_or_default();
    let value = rest.first().copied();
    let change = match arguments.get(1).copied() {
        Some("state") => state_of(arguments.get(2).copied().unwrap_or_default())
            .ok_or_else(|| "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n".to_owned()),
        Some("weight") => weight_of(arguments.get(2).copied()),
        Some("addr") => return address(&target, rest, shared).await,
        Some("health") => return checks::health(target, value, shared).await,
        Some("agent") => return checks::agent(target, value, shared).await,
        Some("agent-send") => return checks::send(target, value, shared).await,
        Some("agent-addr") => return checks::address(target, Asker::Agent, rest, shared).await,
        Some("check-addr") => return checks::address(target, Asker::Check, rest, shared).await,
        Some("agent-port") => return checks::port(target, Asker::Agent, value, shared).await,
        Some("check-port") => return checks::port(target, Asker::Check, value, shared).await,
        Some("fqdn") if value.is_none() => Err("set server <b>/<s> fqdn requires a FQDN.\n".to_owned()),
        Some("fqdn") => return name(target, value.unwrap_or_default(), shared).await,
        Some("ssl") => {
            Err("'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n".to_owned())
        }
        Some(_) | None => Err(USAGE.to_owned()),
    };
    match change {
        Ok(change) => carry_out(target, change, shared).await,
        Err(text) => text,
    }
}

/// `set server <b>/<s> fqdn <name>`
async fn name(target: Target, name: &str, shared: &Shared) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > 255 || !name.chars().all(allowed) {
        return format!("invalid fqdn '{name}' by 'stats socket command'\n");
    }
    let change = ServerChange::Name { name: name.to_owned() };
    let request = Request::Server { pool: target.pool, server: target.server, change };
    match server::call(&shared.calls, request).await {
        Reply::Done { text } => format!("{text} by 'stats socket command'\n"),
        Reply::Failed { text, .. } => format!("{text}\n"),
        _ => String::new(),
    }
}

pub(super) async fn carry_out(target: Target, change: ServerChange, shared: &Shared) -> String {
    request(shared, Request::Server { pool: target.pool, server: target.server, change }).await
}

fn state_of(word: &str) -> Option<ServerChange> {
    let state = match word {
        "ready" => ServerState::Ready,
        "drain" => ServerState::Drain,
        "maint" => ServerState::Maint,
        _ => return None,
    };
    Some(ServerChange::State { state })
}

/// `5`, or `50%`.
fn weight_of(text: Option<&str>) -> Result<ServerChange, String> {
    let text = text.ok_or("Require <weight> or <weight%>.\n")?;
    let (digits, percent) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    match digits.parse() {
        Ok(value @ 0..=256) if !percent => Ok(ServerChange::Weight { value, percent }),
        Ok(value @ 0..=25_600) if percent => Ok(ServerChange::Weight { value, percent }),
        Ok(_) if percent => Err("Relative weight can only be between 0 and 25600% inclusive.\n".to_owned()),
        Ok(_) => Err("Absolute weight can only be between 0 and 256 inclusive.\n".to_owned()),
        // HAProxy ends this sentence without a line.
        Err(_) => Err("Empty weight string empty or preceded by garbage".to_owned()),
    }
}

/// `set weight <b>/<s> <weight>`
pub(super) async fn weight(arguments: &[&str], shared: &Arc<Shared>) -> String {
    match target(arguments.first().copied(), shared).await {
        Ok(target) => match weight_of(arguments.get(1).copied()) {
            Ok(change) => carry_out(target, change, shared).await,
            Err(text) => text,
        },
        Err(text) => text,
    }
}

/// `enable server`, `disable server`.
pub(super) async fn switch(arguments: &[&str], state: &str, shared: &Arc<Shared>) -> String {
    match (target(arguments.first().copied(), shared).await, state_of(state)) {
        (Ok(target), Some(change)) => carry_out(target, change, shared).await,
        (Err(text), _) => text,
        (Ok(_), None) => String::new(),
    }
}

/// `addr <address> [port <port>]`, with HAProxy's report of what it came to.
async fn address(target: &Target, arguments: &[&str], shared: &Shared) -> String {
    let Some(text) = arguments.first() else {
        return "set server <b>/<s> addr requires an address and optionally a port.\n".to_owned();
    };
    let by = "by 'stats socket command'";
    let Ok(new) = text.parse::<IpAddr>() else { return format!("Invalid addr '{text}' {by}\n") };
    let (old, old_port) = target.address.rsplit_once(':').unwrap_or((&target.address, "same"));
    let old = old.trim_matches(['[', ']']);
    let mut said = Vec::new();
    let address = (new.to_string() != old).then_some(new);
    said.push(match address {
        Some(new) => format!("IP changed from '{old}' to '{new}'"),
        None => "no need to change the addr".to_owned(),
    });
    let mut port = None;
    if let [_, "port", text, ..] = arguments {
        let old = if old_port == "same" { "+0" } else { old_port };
        match port_of(text) {
            Some(_) if *text == old => said.push("no need to change the port".to_owned()),
            Some(new) => {
                port = Some(new);
                said.push(format!("port changed from '{old}' to '{text}'"));
            }
            None => return format!("{}, problem converting port '{text}' to an int {by}\n", said.join(", ")),
        }
    }
    let change = ServerChange::Address { address, port };
    let failed = match (address, port) {
        (None, None) => String::new(),
        _ => {
            let (pool, server) = (target.pool.clone(), target.server.clone());
            request(shared, Request::Server { pool, server, change }).await
        }
    };
    if failed.is_empty() { format!("{} {by}\n", said.join(", ")) } else { failed }
}

fn port_of(text: &str) -> Option<PortChange> {
    if text.starts_with(['+', '-']) {
        return text.parse().ok().map(PortChange::Offset);
    }
    text.parse().ok().filter(|port| *port > 0).map(PortChange::Fixed)
}

pub(super) async fn clear_counters(all: bool, shared: &Shared) -> String {
    request(shared, Request::ClearCounters { all }).await
}

/// `set maxconn global <value>`
pub(super) async fn max_connections(arguments: &[&str], shared: &Shared) -> String {
    let Some(text) = arguments.first() else { return "Expects an integer value.\n".to_owned() };
    match text.parse::<u32>() {
        // 0: as configured.
        Ok(value) => request(shared, Request::MaxConnections { value: Some(value).filter(|value| *value > 0) }).await,
        Err(_) => "Expects an integer value.\n".to_owned(),
    }
}

/// `set maxconn server <b>/<s> <value>`; 0: no limit.
pub(super) async fn server_limit(arguments: &[&str], shared: &Arc<Shared>) -> String {
    let target = match target(arguments.first().copied(), shared).await {
        Ok(target) => target,
        Err(text) => return text,
    };
    let Some(text) = arguments.get(1) else { return "Require <maxconn>.\n".to_owned() };
    match text.parse::<u32>() {
        Ok(value) => {
            let value = Some(value).filter(|value| *value > 0);
            carry_out(target, ServerChange::MaxConnections { value }, shared).await
        }
        // HAProxy ends this sentence without a line.
        Err(_) => "maxconn string empty or preceded by garbage".to_owned(),
    }
}

/// `set timeout cli <delay>`: seconds unless a unit says otherwise.
pub(super) fn timeout(arguments: &[&str]) -> Result<Duration, String> {
    match arguments {
        ["cli", text, ..] => {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (digits, unit) = text.split_at(end);
            let unit = match unit {
                "" | "s" => 1000,
                "ms" => 1,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => 0,
            };
            let millis = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
            let valid = millis.filter(|millis| (1..=u64::from(u32::MAX >> 1)).contains(millis));
            valid.map(Duration::from_millis).ok_or_else(|| "Invalid timeout value.\n".to_owned())
        }
        ["cli"] => Err("Expects an integer value.\n".to_owned()),
        _ => Err("'set timeout' only supports 'cli'.\n".to_owned()),
    }
}

/// The names of a server, where only names are wanted.
pub(super) async fn names(name: Option<&str>, shared: &Arc<Shared>) -> Result<(String, String), String> {
    let found = target(name, shared).await?;
    Ok((found.pool, found.server))
}
