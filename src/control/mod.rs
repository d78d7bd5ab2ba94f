//! The control socket: what `vipgate status`, `handover`, `drain` and a reload by hand say to the running process.
//! One JSON request a line, one JSON reply a line; [`Reply::Progress`] lines may come before the last one.

pub mod client;
pub mod explain;
pub mod haproxy;
pub mod listing;
pub mod lists;
pub mod operate;
pub mod routers;
pub mod server;
pub mod table;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::stats::Snapshot;
use lists::{ListAction, ListEntryView, ListFound, ListView};
use operate::{ResolverView, ServerChange, ServiceChange, SessionView, SourceTableView, TableChange, TableView};

/// The socket's name in the run directory.
pub const SOCKET_NAME: &str = "control.sock";

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Does it answer?
    Ping,
    /// How is it?
    Status,
    /// Give the addresses to the peer now.
    Handover {
        /// Of this virtual router only.
        #[serde(default)]
        router: Option<String>,
    },
    /// Keep the addresses until the last flow ended, then give them away.
    Drain {
        /// End a drain that is under way instead.
        #[serde(default)]
        cancel: bool,
    },
    /// Read the configuration again.
    Reload,
    /// Change what virtual routers do, until the next restart.
    Vrrp {
        /// What to do.
        action: VrrpAction,
        /// Only this virtual router; all when absent.
        #[serde(default)]
        router: Option<String>,
    },
    /// Change what a server does, until the next restart.
    Server {
        /// Its pool.
        pool: String,
        /// Its name.
        server: String,
        /// What to change.
        change: ServerChange,
    },
    /// Change what a service does, until the next restart.
    Service {
        /// Its name.
        service: String,
        /// What to change.
        change: ServiceChange,
    },
    /// The open connections.
    Sessions,
    /// End a connection.
    EndSession {
        /// Its number, as [`Request::Sessions`] shows it.
        id: String,
    },
    /// End the connections to a server.
    EndSessions {
        /// Its pool.
        pool: String,
        /// Its name.
        server: String,
    },
    /// The stick tables with their entries.
    Tables {
        /// Of this pool only.
        #[serde(default)]
        pool: Option<String>,
    },
    /// The nodes that share stick tables, as text.
    Peers,
    /// Who is asked for names, and what they said so far.
    Resolvers,
    /// Change a stick table.
    Table {
        /// Its pool.
        pool: String,
        /// What to do.
        change: TableChange,
    },
    /// The tables that count sources.
    Sources {
        /// This one only.
        #[serde(default)]
        table: Option<String>,
    },
    /// Forget sources that have no open connection.
    ForgetSources {
        /// In this table.
        table: String,
        /// These.
        sources: Vec<IpAddr>,
    },
    /// The lists that rules look something up in.
    Lists {
        /// Those with values, not those without.
        maps: bool,
    },
    /// Do something with one of them.
    List {
        /// It has values.
        maps: bool,
        /// Its file, or its number: `#3`.
        name: String,
        /// What to do.
        action: ListAction,
    },
    /// Set counters back: what was the most so far, or all of them.
    ClearCounters {
        /// Not only what was the most.
        #[serde(default)]
        all: bool,
    },
    /// Bound the open connections of all services together, until the next reload.
    MaxConnections {
        /// So many; as configured when absent.
        #[serde(default)]
        value: Option<u32>,
    },
    /// Which server would a connection get, and why?
    Explain {
        /// Of this service.
        service: String,
        /// The client: an address, with or without a port.
        from: String,
        /// The name in its TLS hello.
        #[serde(default)]
        sni: Option<String>,
    },
    /// Tell every transition from now on, an [`Event`](Reply::Event) each, until the client hangs up.
    Events,
}

/// What can be done to virtual routers at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum VrrpAction {
    /// Become master now, whatever priority the present one has.
    Takeover,
    /// Advertise this priority instead of the configured one.
    Priority {
        /// 1 to 254; the configured one again when absent.
        #[serde(default)]
        value: Option<u8>,
    },
    /// Neither take over nor give up of its own accord.
    Freeze {
        /// For so long; until thawed when absent.
        #[serde(default)]
        seconds: Option<u64>,
    },
    /// No longer frozen.
    Thaw,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status {
        /// The state of everything.
        snapshot: Box<Snapshot>,
    },
    /// To [`Request::Sessions`].
    Sessions {
        /// The open connections.
        sessions: Vec<SessionView>,
    },
    /// To [`Request::Tables`].
    Tables {
        /// The tables.
        tables: Vec<TableView>,
    },
    /// To [`Request::Sources`].
    Sources {
        /// The tables.
        sources: Vec<SourceTableView>,
    },
    /// To [`Request::Lists`].
    Lists {
        /// The lists.
        lists: Vec<ListView>,
    },
    /// To [`Request::List`]: what it has.
    ListEntries {
        /// The entries.
        entries: Vec<ListEntryView>,
    },
    /// To [`Request::List`]: what a key finds.
    ListFound {
        /// In each way in which rules ask it.
        found: Vec<ListFound>,
    },
    /// To [`Request::Resolvers`].
    Resolvers {
        /// Each with its name servers.
        resolvers: Vec<ResolverView>,
    },
    /// To [`Request::Explain`].
    Explained {
        /// The answer.
        explained: Box<explain::Explained>,
    },
    /// It is done.
    Done {
        /// What was done.
        text: String,
    },
    /// It is under way; another line follows.
    Progress {
        /// How far it is.
        text: String,
    },
    /// Something happened; more follow.
    Event {
        /// What; see `vipgate events` in the README.
        event: serde_json::Value,
    },
    /// It was not done.
    Failed {
        /// Why.
        text: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remedy: Option<String>,
    },
}

impl Reply {
    /// A success.
    pub fn done(text: impl Into<String>) -> Self {
        Self::Done { text: text.into() }
    }

    /// A failure and its remedy.
    pub fn failed(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { text: text.into(), remedy: Some(remedy.into()) }
    }
}

#[cfg(test)]
mod tests;
