//! How the node is, in one word and with its causes: for the page, `/readyz` and `vipgate status`.

use serde::{Deserialize, Serialize};

use super::registry::Health;
use super::router::Role;
use super::sight::between_nodes;
use super::snapshot::{PoolSnapshot, RouterSnapshot, ServerSnapshot, Snapshot};

/// How the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything does what it is configured for.
    Ok,
    /// It serves, but something needs a look.
    Degraded,
    /// It serves nothing: no service has a server, or every router is in fault.
    Down,
}

impl Verdict {
    /// Its name on pages and in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl Snapshot {
    /// Fills in verdict and causes; `troubles` are causes from outside.
    pub(super) fn judge(&mut self, troubles: Vec<String>) {
        let mut causes: Vec<String> = self.routers.iter().filter_map(router_trouble).collect();
        causes.extend(self.routers.iter().filter_map(between_nodes));
        causes.extend(self.routers.iter().filter_map(operators_wish));
        causes.extend(self.pools.iter().filter_map(pool_trouble));
        causes.extend(self.pools.iter().filter_map(return_trouble));
        causes.extend(self.pools.iter().filter_map(port_trouble));
        causes.extend(troubles);
        causes.extend(self.descriptor_trouble());
        self.verdict = if self.serves_nothing() {
            Verdict::Down
        } else if causes.is_empty() {
            Verdict::Ok
        } else {
            Verdict::Degraded
        };
        self.causes = causes;
    }

    /// Why `/readyz` says no, one line each; empty: ready.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let services = self
            .services
            .iter()
            .filter(|service| !service.ready)
            .map(|service| format!("service {}: no server up in pool {}", service.name, service.pool));
        let routers = self
            .routers
            .iter()
            .filter(|router| router.role == Role::Fault)
            .map(|router| format!("router {}: fault{}", router.name, because(&router.reason)));
        services.chain(routers).collect()
    }

    fn serves_nothing(&self) -> bool {
        let no_service = !self.services.is_empty() && self.services.iter().all(|service| !service.ready);
        let no_router = !self.routers.is_empty() && self.routers.iter().all(|router| router.role == Role::Fault);
        no_service || no_router
    }

    fn descriptor_trouble(&self) -> Option<String> {
        let (open, limit) = (self.process.open_descriptors, self.process.descriptor_limit);
        (limit > 0 && open >= limit / 10 * 9).then(|| format!("{open} of {limit} file descriptors are in use"))
    }
}

fn router_trouble(router: &RouterSnapshot) -> Option<String> {
    let name = &router.name;
    let reason = because(&router.reason);
    match router.role {
        Role::Fault => Some(format!("router {name}: fault{reason}")),
        Role::Initialize => Some(format!("router {name}: not started{reason}")),
        Role::Backup | Role::Master | Role::Leaving => (!router.ready && !router.fronts.is_empty())
            .then(|| format!("router {name}: what it fronts cannot be served here ({})", router.fronts.join(", "))),
    }
}

/// What an operator changed at run time: easily forgotten.
fn operators_wish(router: &RouterSnapshot) -> Option<String> {
    let frozen = router.frozen.then(|| "frozen (`vipgate vrrp thaw` ends it)".to_owned());
    let priority = router
        .priority_override
        .map(|value| format!("priority set to {value} (`vipgate vrrp priority --reset` ends it)"));
    let wishes: Vec<String> = frozen.into_iter().chain(priority).collect();
    (!wishes.is_empty()).then(|| format!("router {}: {}", router.name, wishes.join(", ")))
}

fn pool_trouble(pool: &PoolSnapshot) -> Option<String> {
    let down: Vec<&str> =
        pool.servers.iter().filter(|server| server.health == Health::Down).map(|server| server.name.as_str()).collect();
    match pool.usable() {
        (0, 0) => Some(format!("no server up in pool {}", pool.name)),
        (0, backups) if !down.is_empty() => {
            Some(format!("pool {} runs on backup ({backups} up); down: {}", pool.name, few(&down)))
        }
        _ if down.is_empty() => None,
        _ => Some(format!("pool {}: {} of {} servers down: {}", pool.name, down.len(), pool.servers.len(), few(&down))),
    }
}

/// Servers that see clients' addresses and do not have this node as their way to them.
fn return_trouble(pool: &PoolSnapshot) -> Option<String> {
    let lost = those(pool, |server| server.return_path_lost)?;
    Some(format!(
        "pool {}: what is answered to clients' addresses does not come back through this node: {lost}; route it here",
        pool.name
    ))
}

/// Servers towards which every source port was taken within the last minute.
fn port_trouble(pool: &PoolSnapshot) -> Option<String> {
    const RECENT_SECONDS: f64 = 60.0;
    let short = those(pool, |server| server.portless_seconds.is_some_and(|ago| ago < RECENT_SECONDS))?;
    Some(format!(
        "pool {}: every source port towards {short} was taken: widen net.ipv4.ip_local_port_range, or add servers or sources",
        pool.name
    ))
}

/// The servers of which something is so, if there are any.
fn those(pool: &PoolSnapshot, is_so: impl Fn(&ServerSnapshot) -> bool) -> Option<String> {
    let names: Vec<&str> =
        pool.servers.iter().filter(|server| is_so(server)).map(|server| server.name.as_str()).collect();
    (!names.is_empty()).then(|| few(&names))
}

/// A cause stays one line, however many servers went down.
fn few(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(", {reason}") }
}
