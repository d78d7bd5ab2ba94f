//! What an operator changes while the process serves, and sees of it: the part of the protocol that both control sockets
//! share.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::stats::ServiceState;

/// A change of a server, until the next restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ServerChange {
    /// What it may do.
    State {
        /// New state.
        state: ServerState,
    },
    /// Its weight.
    Weight {
        /// 0 to 256, or percent of the configured one.
        value: u16,
        /// `value` is percent.
        #[serde(default)]
        percent: bool,
    },
    /// Where it is reached; what is absent stays.
    Address {
        /// New address.
        #[serde(default)]
        address: Option<IpAddr>,
        /// New port.
        #[serde(default)]
        port: Option<PortChange>,
    },
    /// The name that it is resolved by.
    Name {
        /// New name.
        name: String,
    },
    /// Most connections it may have.
    MaxConnections {
        /// So many; any number when absent.
        #[serde(default)]
        value: Option<u32>,
    },
    /// Its health, until its checks find out more.
    Health {
        /// New health.
        health: ServerHealth,
    },
    /// What its agent says, until it says more.
    AgentHealth {
        /// It is up.
        up: bool,
    },
    /// Whether it is checked.
    Checks {
        /// It is.
        on: bool,
    },
    /// Whether its agent is asked.
    AgentChecks {
        /// It is.
        on: bool,
    },
    /// Where it is checked; what is absent stays.
    CheckAt {
        /// New address.
        #[serde(default)]
        address: Option<IpAddr>,
        /// New port.
        #[serde(default)]
        port: Option<u16>,
    },
    /// Where its agent is asked; what is absent stays.
    AgentAt {
        /// New address.
        #[serde(default)]
        address: Option<IpAddr>,
        /// New port.
        #[serde(default)]
        port: Option<u16>,
    },
    /// What its agent is sent.
    AgentSend {
        /// New text.
        text: String,
    },
}

/// A server's health as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerHealth {
    /// It serves.
    Up,
    /// It serves, and takes no new clients.
    Stopping,
    /// It does not.
    Down,
}

/// A change of a service, until the next restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ServiceChange {
    /// Whether it listens.
    State {
        /// New state.
        state: ServiceState,
    },
    /// Most connections it may have.
    MaxConnections {
        /// So many; any number when absent.
        #[serde(default)]
        value: Option<u32>,
    },
}

/// What a server may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerState {
    /// Serve.
    Ready,
    /// Serve the clients that stickiness brings, and nobody new.
    Drain,
    /// Serve nobody.
    Maint,
}

/// A server's new port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortChange {
    /// This one.
    Fixed(u16),
    /// The client's plus this.
    Offset(i32),
}

/// A change of a stick table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TableChange {
    /// Remember a server as a client's.
    Set {
        /// The client, as its table shows it.
        key: String,
        /// The server's name.
        server: String,
    },
    /// Forget entries.
    Clear {
        /// Of this client only.
        #[serde(default)]
        key: Option<String>,
        /// Of this server only.
        #[serde(default)]
        server: Option<String>,
    },
}

/// An open connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its number, by which it can be ended.
    pub id: String,
    /// The service that accepted it.
    pub service: String,
    /// The pool that serves it.
    pub pool: String,
    /// Its server, if it has one yet.
    pub server: Option<String>,
    /// Where that is reached.
    pub server_address: Option<SocketAddr>,
    /// The client.
    pub client: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// `greeting`, `queued`, `connecting`, `established` or `closing`.
    pub phase: String,
    /// Since the client was accepted.
    pub age_seconds: f64,
    /// Since bytes were last seen from the client.
    pub client_idle_seconds: f64,
    /// Since bytes were last seen from the server.
    pub server_idle_seconds: f64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// A stick table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableView {
    /// The pool it belongs to.
    pub pool: String,
    /// Most entries.
    pub size: usize,
    /// What its keys are: `ip`, `ipv6`, `integer`, `string` or `binary`.
    pub kind: String,
    /// An entry's life after its last use; none: until it is purged.
    pub life_seconds: Option<f64>,
    /// Its entries, the least recently used without a live flow first.
    pub entries: Vec<TableEntryView>,
}

/// An entry of a stick table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableEntryView {
    /// The client: an address, a number, a text, or bytes as hexadecimal digits.
    pub key: String,
    /// Its server; none when it is no longer configured.
    pub server: Option<String>,
    /// What is left of its life; none: it does not expire, as for now with a live flow.
    pub expires_in_seconds: Option<f64>,
    /// Live flows that hold it.
    pub flows: u32,
}

/// A table that counts sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceTableView {
    /// Its name.
    pub name: String,
    /// Most sources.
    pub size: usize,
    /// IPv6 sources are counted too.
    pub ipv6: bool,
    /// The time that connections are counted over, in seconds.
    pub period_seconds: f64,
    /// The times over which sessions, and bytes brought and got, are counted, in seconds; none: they are not.
    #[serde(default)]
    pub traffic_seconds: [Option<f64>; 3],
    /// What it knows.
    pub sources: Vec<SourceView>,
}

/// A source in such a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceView {
    /// Its address, or its network's.
    pub address: IpAddr,
    /// Its connections so far.
    pub connections: u64,
    /// Its open connections.
    pub open: u64,
    /// Its connections within the period.
    pub rate: u64,
    /// `gpc0` and `gpc1`.
    pub purpose: [u64; 2],
    /// How often they were raised within their periods.
    pub purpose_rate: [u64; 2],
    /// Its sessions and bytes, where they are counted.
    #[serde(default)]
    pub traffic: Option<TrafficView>,
    /// When it is forgotten; none: never, or not as long as a connection is open.
    pub expires_in_seconds: Option<f64>,
}

/// Sessions and bytes of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficView {
    /// Connections that were let in so far.
    pub sessions: u64,
    /// Those within their period.
    pub session_rate: u64,
    /// Bytes brought and got; those of an open connection are counted every few seconds.
    pub bytes: [u64; 2],
    /// Those within their periods.
    pub byte_rates: [u64; 2],
}

/// Who is asked for names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverView {
    /// Its name; `default` is that of servers that name none.
    pub name: String,
    /// Its name servers.
    pub servers: Vec<NameServerView>,
}

/// A name server and what it was asked and said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameServerView {
    /// Its name, or its address.
    pub name: String,
    /// Questions.
    pub sent: u64,
    /// Questions that could not be sent.
    pub send_errors: u64,
    /// Answers with something in them.
    pub valid: u64,
    /// Answers that gave a server another place.
    pub updates: u64,
    /// Answers with nothing in them.
    pub empty: u64,
    /// Answers that there is no such name.
    pub no_such_name: u64,
    /// Questions without an answer in time.
    pub timeouts: u64,
    /// Answers that it does not answer us.
    pub refused: u64,
    /// Answers that it failed otherwise.
    pub other: u64,
    /// What was no answer.
    pub invalid: u64,
    /// Answers that were too long for UDP.
    pub truncated: u64,
    /// Answers to something else than was asked.
    pub outdated: u64,
}
