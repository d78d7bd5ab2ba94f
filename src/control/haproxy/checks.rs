//! What is said of a server's checks and its agent: `enable` and `disable health | agent`, `set server ... health | agent |
//! check-* | agent-*`. HAProxy ends some of these sentences with a line and others without.

use std::net::IpAddr;
use std::sync::Arc;

use super::change::{Target, carry_out, target};
use super::{Shared, show};
use crate::control::operate::{ServerChange, ServerHealth};

/// Which of the two asks a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker {
    Check,
    Agent,
}

/// Whether the server is configured to have it, and whether it is asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Has {
    #[default]
    Nothing,
    Paused,
    Enabled,
}

async fn has(target: &Target, asker: Asker, shared: &Arc<Shared>) -> Has {
    let (pool, name) = (target.pool.clone(), target.server.clone());
    let found = show::see(shared, move |config, snapshot| {
        let server = config.server(&pool, &name);
        let pool = snapshot.pools.iter().find(|known| known.name == pool);
        let now = pool.and_then(|pool| pool.servers.iter().find(|known| known.name == name));
        let (configured, paused) = match asker {
            Asker::Check => (server.is_some_and(|s| s.check.is_some()), now.is_some_and(|now| now.check_paused)),
            Asker::Agent => (server.is_some_and(|s| s.agent.is_some()), now.is_some_and(|now| now.agent_paused)),
        };
        match (configured, paused) {
            (false, _) => Has::Nothing,
            (true, true) => Has::Paused,
            (true, false) => Has::Enabled,
        }
    });
    found.await
}

/// `enable` and `disable`.
pub(super) async fn switch(arguments: &[&str], asker: Asker, on: bool, shared: &Arc<Shared>) -> String {
    let target = match target(arguments.first().copied(), shared).await {
        Ok(target) => target,
        Err(text) => return text,
    };
    match (has(&target, asker, shared).await, asker) {
        (Has::Paused | Has::Enabled, Asker::Check) => carry_out(target, ServerChange::Checks { on }, shared).await,
        (Has::Paused | Has::Enabled, Asker::Agent) => carry_out(target, ServerChange::AgentChecks { on }, shared).await,
        (Has::Nothing, Asker::Check) if on => {
            "Health check was not configured on this server, cannot enable.\n".to_owned()
        }
        (Has::Nothing, Asker::Agent) if on => "Agent was not configured on this server, cannot enable.\n".to_owned(),
        (Has::Nothing, _) => String::new(),
    }
}

/// `health up | stopping | down`
pub(super) async fn health(target: Target, word: Option<&str>, shared: &Arc<Shared>) -> String {
    let health = match word {
        Some("up") => ServerHealth::Up,
        Some("stopping") => ServerHealth::Stopping,
        Some("down") => ServerHealth::Down,
        _ => return "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n".to_owned(),
    };
    let (pool, server) = (target.pool.clone(), target.server.clone());
    let tracks =
        show::see(shared, move |config, _| config.server(&pool, &server).is_some_and(|server| server.track.is_some()));
    if tracks.await {
        return "cannot change health on a tracking server.\n".to_owned();
    }
    carry_out(target, ServerChange::Health { health }, shared).await
}

/// `agent up | down`
pub(super) async fn agent(target: Target, word: Option<&str>, shared: &Arc<Shared>) -> String {
    if has(&target, Asker::Agent, shared).await != Has::Enabled {
        return "agent checks are not enabled on this server.\n".to_owned();
    }
    let up = match word {
        Some("up") => true,
        Some("down") => false,
        _ => return "'set server <srv> agent' expects 'up' or 'down'.\n".to_owned(),
    };
    carry_out(target, ServerChange::AgentHealth { up }, shared).await
}

/// `agent-send <text>`
pub(super) async fn send(target: Target, text: Option<&str>, shared: &Arc<Shared>) -> String {
    if has(&target, Asker::Agent, shared).await != Has::Enabled {
        return "agent checks are not enabled on this server.\n".to_owned();
    }
    carry_out(target, ServerChange::AgentSend { text: text.unwrap_or_default().to_owned() }, shared).await
}

/// `check-addr` and `agent-addr`: `<address> [port <port>]`
pub(super) async fn address(target: Target, asker: Asker, arguments: &[&str], shared: &Arc<Shared>) -> String {
    let verb = match asker {
        Asker::Check => "check-addr",
        Asker::Agent => "agent-addr",
    };
    let Some(text) = arguments.first() else {
        return format!("set server <b>/<s> {verb} requires an address and optionally a port.\n");
    };
    if has(&target, asker, shared).await != Has::Enabled {
        return not_enabled(asker);
    }
    let Ok(address) = text.parse::<IpAddr>() else { return format!("invalid addr '{text}'") };
    let port = match arguments {
        [_, "port", text, ..] => match port_of(text) {
            Ok(port) => Some(port),
            Err(text) => return text,
        },
        _ => None,
    };
    carry_out(target, placed(asker, Some(address), port), shared).await
}

/// `check-port` and `agent-port`
pub(super) async fn port(target: Target, asker: Asker, text: Option<&str>, shared: &Arc<Shared>) -> String {
    let verb = match asker {
        Asker::Check => "check-port",
        Asker::Agent => "agent-port",
    };
    let Some(text) = text else { return format!("set server <b>/<s> {verb} requires a port.\n") };
    if has(&target, asker, shared).await != Has::Enabled {
        return not_enabled(asker);
    }
    match port_of(text) {
        Ok(port) => carry_out(target, placed(asker, None, Some(port)), shared).await,
        Err(text) => text,
    }
}

fn not_enabled(asker: Asker) -> String {
    let what = match asker {
        Asker::Check => "health",
        Asker::Agent => "agent",
    };
    format!("{what} checks are not enabled on this server")
}

fn placed(asker: Asker, address: Option<IpAddr>, port: Option<u16>) -> ServerChange {
    match asker {
        Asker::Check => ServerChange::CheckAt { address, port },
        Asker::Agent => ServerChange::AgentAt { address, port },
    }
}

/// 0: as configured.
fn port_of(text: &str) -> Result<u16, String> {
    let number: i64 = text.parse().map_err(|_| "provided port is not an integer".to_owned())?;
    u16::try_from(number).map_err(|_| "provided port is invalid".to_owned())
}
