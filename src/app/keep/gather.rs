//! What is worth keeping now.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::format::{Agent, Configured, Entry, Health, Learnt, Ordered, Place, Pool, Server};
use crate::app::checking::in_force;
use crate::app::names::Places;
use crate::app::wishes::{Given, Orders};
use crate::balance::TableEntry;
use crate::control::operate::{PortChange, ServerState};
use crate::model::{self, AdminState, Config, KeyType, ServerPort};
use crate::proxy::Proxy;
use crate::stats::{self, LastCheckSnapshot, Registry, ServerStatus};

/// Entries kept of one table: the most recently used.
const MOST_ENTRIES: usize = 200_000;

/// Who knows what is worth keeping.
pub(in crate::app) struct Sources<'a> {
    pub(in crate::app) proxy: &'a Proxy,
    pub(in crate::app) places: &'a Places,
    pub(in crate::app) orders: &'a Orders,
    pub(in crate::app) registry: &'a Registry,
    pub(in crate::app) config: &'a Config,
}

pub(super) fn gather(sources: &Sources<'_>) -> Learnt {
    let Sources { proxy, places, orders, registry, config } = *sources;
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Instant::now();
    let mut reached = in_force(&config.pools, proxy);
    places.mark_unresolved(&mut reached);
    let pools = config.pools.iter().zip(&reached).map(|(pool, reached)| {
        let mut entries = proxy.table_entries(&pool.name).unwrap_or_default();
        entries.drain(..entries.len().saturating_sub(MOST_ENTRIES));
        let servers = pool.servers.iter().zip(&reached.servers);
        let kept = |(server, reached): (&model::Server, &model::Server)| {
            let status = registry.server(&pool.name, &server.name).status();
            keep(server, reached, &status, &orders.of(&pool.name, &server.name), now)
        };
        Pool {
            name: pool.name.clone(),
            servers: servers.filter_map(kept).collect(),
            entries: entries.into_iter().filter_map(|kept| entry(pool, kept)).collect(),
        }
    });
    let learnt = |pool: &Pool| !pool.servers.is_empty() || !pool.entries.is_empty();
    Learnt { saved: millis(since_epoch), pools: pools.filter(learnt).collect() }
}

fn entry(pool: &model::Pool, entry: TableEntry) -> Option<Entry> {
    Some((key_type(pool)?.show(&entry.key), entry.server?, entry.expires_in.map(millis)))
}

/// What a pool's stick table knows clients by; none: it has no table.
pub(super) fn key_type(pool: &model::Pool) -> Option<KeyType> {
    pool.affinity.table().map(|spec| spec.kind)
}

/// None: there is nothing to say of it.
fn keep(
    server: &model::Server,
    reached: &model::Server,
    status: &ServerStatus,
    orders: &Given,
    now: Instant,
) -> Option<Server> {
    let configured = if server.disabled { AdminState::Maintenance } else { AdminState::Ready };
    let state = status.admin.filter(|state| *state != configured).map(|state| match state {
        AdminState::Ready => ServerState::Ready,
        AdminState::Drain => ServerState::Drain,
        AdminState::Maintenance => ServerState::Maint,
    });
    // One that has a name is where that says.
    let place = status.place.filter(|_| server.name_of.is_none()).map(|(address, port)| place(address, port));
    let health = health(reached, status, now);
    let limit = status.limit.filter(|limit| *limit != server.max_connections.unwrap_or(0));
    let set = state.is_some() || status.weight.is_some() || place.is_some() || limit.is_some();
    let configured = set.then(|| configuration(server));
    let agent = agent(reached, status, orders, now);
    let said = set || health.is_some() || agent.is_some() || !status.key_names.is_empty();
    let (name, weight, key_names) = (server.name.clone(), status.weight, status.key_names.clone());
    said.then_some(Server { name, state, weight, place, limit, configured, health, agent, key_names })
}

/// What the configuration says of what an operator can change.
pub(super) fn configuration(server: &model::Server) -> Configured {
    let model::Server { disabled, weight, address, port, max_connections: limit, .. } = *server;
    Configured { disabled, weight, place: place(address, port), limit }
}

fn place(address: IpAddr, port: ServerPort) -> Place {
    let port = match port {
        ServerPort::Fixed(port) => Some(PortChange::Fixed(port)),
        ServerPort::Offset(offset) => Some(PortChange::Offset(offset)),
        ServerPort::Same => None,
    };
    Place { address, port }
}

fn health(reached: &model::Server, status: &ServerStatus, now: Instant) -> Option<Health> {
    let check = reached.check.as_ref()?;
    let (counter, _) = status.counter.filter(|_| matches!(status.health, stats::Health::Up | stats::Health::Down))?;
    let last = status.last_check.clone()?;
    Some(Health {
        target: check.target,
        counter,
        up: counter >= check.rise.max(1),
        stopping: status.stopping,
        last: LastCheckSnapshot::of(last, now),
        reason: status.reason.clone(),
        lasts: lasts(status, now),
    })
}

/// What an agent said last; in maintenance it is asked too.
fn agent(reached: &model::Server, status: &ServerStatus, orders: &Given, now: Instant) -> Option<Agent> {
    let target = reached.agent.as_ref()?.target;
    let ordered = Ordered {
        state: orders.state.is_some() && orders.state == status.admin,
        weight: orders.weight.is_some() && orders.weight == status.weight,
        limit: orders.limit.is_some() && orders.limit == status.limit,
    };
    let (reason, lasts) = (status.reason.clone(), lasts(status, now));
    let last = LastCheckSnapshot::of(status.agent.clone()?, now);
    Some(Agent { target, down: status.agent_down, ordered, last, reason, lasts })
}

fn lasts(status: &ServerStatus, now: Instant) -> u64 {
    status.since.map_or(0, |since| millis(now.saturating_duration_since(since)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
