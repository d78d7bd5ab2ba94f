//! What operators change while the process serves, on either kind of control socket.

use std::net::IpAddr;
use std::time::Duration;

use super::node::Node;
use super::tunings::{Place, Tune};
use crate::balance::{TableEntry, WeightChange};
use crate::control::Reply;
use crate::control::operate::{
    PortChange, ServerChange, ServerHealth, ServerState, SessionView, SourceTableView, SourceView, TableChange,
    TableEntryView, TableView, TrafficView,
};
use crate::control::server::Answer;
use crate::model::rule::SourceTable;
use crate::model::{AdminState, Key, KeyType, ServerPort};
use crate::probe::{HealthWish, Overrule};
use crate::proxy::{OperateError, Session, SessionPhase};
use crate::rules::Source;

impl Node {
    pub(super) fn set_server(&self, pool: &str, server: &str, change: ServerChange) -> Result<(), OperateError> {
        let changed = self.set_in_proxy(pool, server, change);
        // It is checked where it is, and not in maintenance.
        self.refresh_checks();
        changed
    }

    /// In the data plane only.
    pub(super) fn set_in_proxy(&self, pool: &str, server: &str, change: ServerChange) -> Result<(), OperateError> {
        match change {
            ServerChange::State { state } => self.proxy.set_server_admin(pool, server, admin(state)),
            ServerChange::Weight { value, percent } => {
                let change = if percent { WeightChange::Percent(value) } else { WeightChange::Absolute(value) };
                self.proxy.set_server_weight(pool, server, change)
            }
            ServerChange::Address { address, port } => {
                let port = port.map(|port| match port {
                    PortChange::Fixed(port) => ServerPort::Fixed(port),
                    PortChange::Offset(offset) => ServerPort::Offset(offset),
                });
                self.proxy.set_server_address(pool, server, address, port)
            }
            ServerChange::MaxConnections { value } => {
                self.proxy.set_server_limit(pool, server, value.filter(|value| *value > 0))
            }
            // Not the data plane's.
            ServerChange::Name { .. }
            | ServerChange::Health { .. }
            | ServerChange::AgentHealth { .. }
            | ServerChange::Checks { .. }
            | ServerChange::AgentChecks { .. }
            | ServerChange::CheckAt { .. }
            | ServerChange::AgentAt { .. }
            | ServerChange::AgentSend { .. } => Ok(()),
        }
    }

    pub(super) fn change_server(&mut self, pool: &str, server: &str, change: ServerChange) -> Reply {
        if let ServerChange::Name { name } = &change {
            return self.rename(pool, server, name);
        }
        let text = format!("{pool}/{server}: {}", in_words(&change));
        let stats = self.shared.registry.server(pool, server);
        let before = stats.status().admin;
        let done = match change {
            ServerChange::Health { health } => self.overrule(pool, server, Overrule::Health(wish(health))),
            ServerChange::AgentHealth { up } => self.overrule(pool, server, Overrule::Agent(up)),
            ServerChange::Checks { on } => self.overrule(pool, server, Overrule::Checks(on)),
            ServerChange::AgentChecks { on } => self.overrule(pool, server, Overrule::AgentChecks(on)),
            ServerChange::CheckAt { address, port } => self.tune(pool, server, Tune::Check(Place { address, port })),
            ServerChange::AgentAt { address, port } => self.tune(pool, server, Tune::Agent(Place { address, port })),
            ServerChange::AgentSend { text } => self.tune(pool, server, Tune::Send(text.into_bytes())),
            change => {
                let set = self.set_server(pool, server, change.clone()).map_err(|error| refusal(&error));
                set.inspect(|()| self.orders.withdraw(pool, server, &change))
            }
        };
        if let Err(refusal) = done {
            return refusal;
        }
        // Another state has lines of its own.
        if stats.status().admin == before {
            tracing::info!(target: "vipgate", "{text}, by an operator");
        }
        self.refresh_serving();
        Reply::done(text)
    }

    /// In HAProxy's words, which its users' tools know.
    fn rename(&self, pool: &str, server: &str, name: &str) -> Reply {
        match self.names.rename(pool, server, name) {
            None => Reply::Failed {
                text: "set server <b>/<s> fqdn failed because no resolution is configured.".to_owned(),
                remedy: None,
            },
            Some(former) if former == name => Reply::done("no need to change the FDQN"),
            Some(former) => {
                let text = format!("{pool}/{server} changed its FQDN from {former} to {name}");
                tracing::info!(target: "vipgate", "{text}, by an operator");
                Reply::done(text)
            }
        }
    }

    fn overrule(&self, pool: &str, server: &str, word: Overrule) -> Result<(), Reply> {
        self.prober.overrule(pool, server, word).map_err(|error| {
            Reply::failed(format!("{pool}/{server}: {error}"), "`vipgate status` shows what each server has")
        })
    }

    /// Where it is checked, and what its agent is sent.
    fn tune(&mut self, pool: &str, server: &str, tune: Tune) -> Result<(), Reply> {
        if !self.tunings.set(&self.shared.config(), pool, server, tune) {
            let text = format!("{pool}/{server}: there is no such server, or nothing of it that could be set");
            return Err(Reply::failed(text, "`vipgate status` shows what each server has"));
        }
        self.refresh_checks();
        Ok(())
    }

    pub(super) fn list_sessions(&self, answer: Answer) {
        self.proxy.sessions(move |sessions| {
            // Nobody waits any more: nothing is lost.
            let _ = answer.finish(Reply::Sessions { sessions: sessions.iter().map(session).collect() });
        });
    }

    pub(super) fn end_session(&self, id: &str, answer: Answer) {
        let Ok(number) = id.parse() else {
            let _ = answer.finish(Reply::failed(format!("`{id}` is no session's number"), "list them to see theirs"));
            return;
        };
        let id = id.to_owned();
        self.proxy.shutdown_session(number, move |found| {
            let reply = if found {
                Reply::done(format!("session {id} is ended"))
            } else {
                Reply::failed(format!("there is no session {id}"), "it may have ended by itself")
            };
            let _ = answer.finish(reply);
        });
    }

    pub(super) fn end_sessions(&self, pool: &str, server: &str, answer: Answer) {
        // Whichever comes first takes it.
        let answer = std::sync::Arc::new(std::sync::Mutex::new(Some(answer)));
        let finish = |answer: &std::sync::Mutex<Option<Answer>>, reply| {
            let answer = answer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            let _ = answer.map(|answer| answer.finish(reply));
        };
        let ended = std::sync::Arc::clone(&answer);
        let done = self.proxy.shutdown_sessions(pool, server, move |count| {
            finish(&ended, Reply::done(format!("{count} session(s) ended")));
        });
        if let Err(error) = done {
            finish(&answer, refusal(&error));
        }
    }

    pub(super) fn tables(&self, only: Option<&str>) -> Reply {
        let config = self.shared.config();
        let pools = config.pools.iter().filter(|pool| only.is_none_or(|name| pool.name == name));
        let table = |pool: &crate::model::Pool| {
            let spec = pool.affinity.table()?;
            let entries = self.proxy.table_entries(&pool.name).ok()?;
            Some(TableView {
                pool: pool.name.clone(),
                size: spec.size,
                kind: spec.kind.name().to_owned(),
                life_seconds: spec.expire.as_ref().map(Duration::as_secs_f64),
                entries: entries.into_iter().map(|found| entry(found, spec.kind)).collect(),
            })
        };
        Reply::Tables { tables: pools.filter_map(table).collect() }
    }

    pub(super) fn change_table(&self, pool: &str, change: TableChange) -> Reply {
        let read = |text: &str| self.table_key(pool, text);
        match change {
            TableChange::Set { key, server } => {
                match read(&key).and_then(|read| self.proxy.table_set(pool, read, &server, None)) {
                    Ok(()) => Reply::done(format!("{pool}: {key} belongs to {server}")),
                    Err(error) => refusal(&error),
                }
            }
            TableChange::Clear { key, server } => match key
                .map(|key| read(&key))
                .transpose()
                .and_then(|key| self.proxy.table_clear(pool, key.as_ref(), server.as_deref()))
            {
                Ok(count) => Reply::done(format!("{pool}: {count} entries forgotten")),
                Err(error) => refusal(&error),
            },
        }
    }

    /// What somebody means by `text` in a pool's table.
    fn table_key(&self, pool: &str, text: &str) -> Result<Key, OperateError> {
        let config = self.shared.config();
        let kind = config.pool(pool).and_then(|pool| pool.affinity.table()).map(|spec| spec.kind);
        let kind = kind.ok_or_else(|| OperateError::NoTable(pool.to_owned()))?;
        kind.read(text).ok_or_else(|| OperateError::NoRoom(pool.to_owned()))
    }

    pub(super) fn sources(&self, table: Option<&str>) -> Reply {
        let source = |source: Source| SourceView {
            address: source.address,
            connections: source.count,
            open: source.open,
            rate: source.rate,
            purpose: source.purpose,
            purpose_rate: source.purpose_rate,
            traffic: source.traffic.map(|passed| TrafficView {
                sessions: passed.sessions,
                session_rate: passed.session_rate,
                bytes: passed.bytes,
                byte_rates: passed.byte_rates,
            }),
            expires_in_seconds: source.expires_in.as_ref().map(Duration::as_secs_f64),
        };
        let view = |(spec, sources): (SourceTable, Vec<Source>)| SourceTableView {
            name: spec.name,
            size: spec.size,
            ipv6: spec.ipv6_bits > 0,
            period_seconds: spec.connection_period.as_secs_f64(),
            traffic_seconds: [spec.session_period, spec.bytes_in_period, spec.bytes_out_period]
                .map(|period| period.as_ref().map(Duration::as_secs_f64)),
            sources: sources.into_iter().map(source).collect(),
        };
        Reply::Sources { sources: self.proxy.sources(table).into_iter().map(view).collect() }
    }

    pub(super) fn forget_sources(&self, table: &str, sources: &[IpAddr]) -> Reply {
        match self.proxy.forget_sources(table, sources) {
            Some(count) => Reply::done(format!("{table}: {count} sources forgotten")),
            None => Reply::failed(format!("no table is called {table}"), "`show table` lists them"),
        }
    }

    pub(super) fn clear_counters(&self, all: bool) -> Reply {
        self.shared.registry.clear_counters(all);
        if all {
            self.names.tally().clear();
        }
        Reply::done(if all { "every counter begins again" } else { "what was the most so far is forgotten" })
    }

    pub(super) fn bound_connections(&mut self, value: Option<u32>) -> Reply {
        let value = value.or(self.shared.config().global.max_connections);
        self.proxy.set_max_connections(value);
        let limit = self.proxy.connection_limit();
        self.shared.set_connection_limit(limit);
        tracing::info!(target: "vipgate", limit, "limit of connections set by an operator");
        Reply::done(format!("at most {limit} connections are open at a time"))
    }
}

fn refusal(error: &OperateError) -> Reply {
    Reply::Failed { text: error.to_string(), remedy: None }
}

pub(super) fn admin(state: ServerState) -> AdminState {
    match state {
        ServerState::Ready => AdminState::Ready,
        ServerState::Drain => AdminState::Drain,
        ServerState::Maint => AdminState::Maintenance,
    }
}

fn wish(health: ServerHealth) -> HealthWish {
    match health {
        ServerHealth::Up => HealthWish::Up,
        ServerHealth::Stopping => HealthWish::Stopping,
        ServerHealth::Down => HealthWish::Down,
    }
}

fn in_words(change: &ServerChange) -> String {
    let at = |address: &Option<IpAddr>, port: Option<String>| {
        let address = address.map_or_else(|| "the same address".to_owned(), |address| address.to_string());
        port.map_or_else(|| format!("at {address}"), |port| format!("at {address} port {port}"))
    };
    let number = |port: &Option<u16>| port.as_ref().map(u16::to_string);
    match change {
        ServerChange::Name { name } => format!("resolved as {name}"),
        ServerChange::MaxConnections { value: Some(value @ 1..) } => format!("at most {value} connections"),
        ServerChange::MaxConnections { value: Some(0) | None } => "any number of connections".to_owned(),
        ServerChange::Health { health: ServerHealth::Up } => "said to be up".to_owned(),
        ServerChange::Health { health: ServerHealth::Stopping } => "said to take no new clients".to_owned(),
        ServerChange::Health { health: ServerHealth::Down } => "said to be down".to_owned(),
        ServerChange::AgentHealth { up } => format!("its agent is said to say {}", if *up { "up" } else { "down" }),
        ServerChange::Checks { on } => format!("{}checked", if *on { "" } else { "not " }),
        ServerChange::AgentChecks { on } => format!("its agent is {}asked", if *on { "" } else { "not " }),
        ServerChange::CheckAt { address, port } => format!("checked {}", at(address, number(port))),
        ServerChange::AgentAt { address, port } => format!("its agent is asked {}", at(address, number(port))),
        ServerChange::AgentSend { text } => format!("its agent is sent {text:?}"),
        ServerChange::State { state: ServerState::Ready } => "ready".to_owned(),
        ServerChange::State { state: ServerState::Drain } => "drains".to_owned(),
        ServerChange::State { state: ServerState::Maint } => "in maintenance".to_owned(),
        ServerChange::Weight { value, percent } => format!("weight {value}{}", if *percent { "%" } else { "" }),
        ServerChange::Address { address, port } => {
            let port = port.as_ref().map(|port| match port {
                PortChange::Fixed(port) => port.to_string(),
                PortChange::Offset(offset) => format!("{offset:+}"),
            });
            at(address, port)
        }
    }
}

fn session(session: &Session) -> SessionView {
    let phase = match session.phase {
        SessionPhase::Greeting => "greeting",
        SessionPhase::Inspecting => "inspecting",
        SessionPhase::Queued => "queued",
        SessionPhase::Connecting => "connecting",
        SessionPhase::Established => "established",
        SessionPhase::Closing => "closing",
    };
    SessionView {
        id: session.id.to_string(),
        service: session.service.clone(),
        pool: session.pool.clone(),
        server: session.server.clone(),
        server_address: session.server_address,
        client: session.client,
        destination: session.destination,
        phase: phase.to_owned(),
        age_seconds: session.age.as_secs_f64(),
        client_idle_seconds: session.idle.0.as_secs_f64(),
        server_idle_seconds: session.idle.1.as_secs_f64(),
        bytes_in: session.bytes_in,
        bytes_out: session.bytes_out,
    }
}

fn entry(entry: TableEntry, kind: KeyType) -> TableEntryView {
    TableEntryView {
        key: kind.show(&entry.key),
        server: entry.server,
        expires_in_seconds: entry.expires_in.as_ref().map(Duration::as_secs_f64),
        flows: entry.flows,
    }
}
