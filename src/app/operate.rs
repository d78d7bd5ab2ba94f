//! What operators change while the process serves, on either kind of control socket.

use std::time::Duration;

use super::node::Node;
use crate::balance::{TableEntry, WeightChange};
use crate::control::Reply;
use crate::control::operate::{
    PortChange, ServerChange, ServerState, SessionView, TableChange, TableEntryView, TableView,
};
use crate::control::server::Answer;
use crate::model::{AdminState, Affinity, Key, KeyType, ServerPort};
use crate::proxy::{OperateError, Session, SessionPhase};

impl Node {
    pub(super) fn set_server(&self, pool: &str, server: &str, change: ServerChange) -> Result<(), OperateError> {
        let changed = match change {
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
        };
        // It is checked where it is, and not in maintenance.
        self.refresh_checks();
        changed
    }

    pub(super) fn change_server(&self, pool: &str, server: &str, change: ServerChange) -> Reply {
        if let Err(error) = self.set_server(pool, server, change) {
            return refusal(&error);
        }
        let text = format!("{pool}/{server}: {}", in_words(change));
        tracing::info!(target: "vipgate", "{text}, by an operator");
        self.refresh_serving();
        Reply::done(text)
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
            let Affinity::Table(spec) = &pool.affinity else { return None };
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
        let kind = config.pool(pool).and_then(|pool| match &pool.affinity {
            Affinity::Table(spec) => Some(spec.kind),
            Affinity::None | Affinity::Source => None,
        });
        let kind = kind.ok_or_else(|| OperateError::NoTable(pool.to_owned()))?;
        kind.read(text).ok_or_else(|| OperateError::NoRoom(pool.to_owned()))
    }

    pub(super) fn clear_counters(&self, all: bool) -> Reply {
        self.shared.registry.clear_counters(all);
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

fn admin(state: ServerState) -> AdminState {
    match state {
        ServerState::Ready => AdminState::Ready,
        ServerState::Drain => AdminState::Drain,
        ServerState::Maint => AdminState::Maintenance,
    }
}

fn in_words(change: ServerChange) -> String {
    match change {
        ServerChange::State { state: ServerState::Ready } => "ready".to_owned(),
        ServerChange::State { state: ServerState::Drain } => "drains".to_owned(),
        ServerChange::State { state: ServerState::Maint } => "in maintenance".to_owned(),
        ServerChange::Weight { value, percent } => format!("weight {value}{}", if percent { "%" } else { "" }),
        ServerChange::Address { address, port } => {
            let address = address.map_or_else(|| "the same address".to_owned(), |address| address.to_string());
            match port {
                Some(PortChange::Fixed(port)) => format!("at {address} port {port}"),
                Some(PortChange::Offset(offset)) => format!("at {address} port {offset:+}"),
                None => format!("at {address}"),
            }
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
