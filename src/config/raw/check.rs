//! Health checks as written: see [`model::Check`](crate::model::Check).

use std::path::PathBuf;
use std::time::Duration;

use super::{Command, Host, Maybe, Secret};
use crate::config::source::Location;
use crate::model::{DatabaseRole, Expect, HttpExpect, HttpRequest, ProxyVersion};

/// A health check, or its absence.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// `false`.
    Off,
    /// `true`, or a table. A server's keys stand over its pool's, key by key.
    On(Box<CheckOptions>),
}

/// The keys of a health check: see [`model::Check`](crate::model::Check).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckOptions {
    /// The server's own when absent.
    pub port: Maybe<u64>,
    /// The server's own when absent.
    pub address: Maybe<Host>,
    /// Natively 2 seconds when absent.
    pub interval: Maybe<Duration>,
    /// Natively 500 ms when absent, or `interval` if that is shorter.
    pub fast_interval: Maybe<Duration>,
    /// `interval` when absent.
    pub down_interval: Maybe<Duration>,
    /// `interval` when absent.
    pub timeout: Maybe<Duration>,
    /// `timeout` is for all of the check when absent.
    pub response_timeout: Maybe<Duration>,
    /// 2 when absent.
    pub rise: Maybe<u64>,
    /// 3 when absent.
    pub fall: Maybe<u64>,
    /// None when absent.
    pub proxy_header: Maybe<ProxyHeader>,
    /// None when absent.
    pub tls: Maybe<TlsChoice>,
    /// False when absent.
    pub disable_on_404: Maybe<bool>,
    /// Nothing, the connection is all, when absent.
    pub protocol: Maybe<Protocol>,
}

/// `proxy-header`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `false`.
    Off,
    /// `"v1"` or `"v2"`.
    On(ProxyVersion),
}

/// Whether and how TLS is spoken.
#[derive(Debug, Clone, PartialEq)]
pub enum TlsChoice {
    /// `false`.
    Off,
    /// `true`, or a table.
    On(Box<TlsOptions>),
}

/// The keys of `tls`: see [`model::Tls`](crate::model::Tls).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct TlsOptions {
    pub name: Maybe<String>,
    /// Natively true when absent.
    pub verify: Maybe<bool>,
    pub verify_name: Maybe<String>,
    /// The system's authorities when absent.
    pub ca_file: Maybe<PathBuf>,
    pub alpn: Vec<String>,
}

/// What is spoken.
#[derive(Debug, Clone, PartialEq)]
pub enum Protocol {
    /// `steps`.
    Steps(Vec<Step>),
    /// `http`.
    Http(Box<Http>),
    /// `redis`.
    Redis(Redis),
    /// `postgres`.
    Postgres(Postgres),
    /// `mysql`.
    Mysql(Mysql),
    /// `smtp`.
    Smtp(Smtp),
    /// `ldap`.
    Ldap,
    /// `ssh`.
    Ssh,
    /// `ftp`.
    Ftp,
    /// `tls-hello`.
    TlsHello,
    /// `command`.
    Command(CheckCommand),
}

/// `http`: one request and its answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Http {
    /// GET when absent.
    pub method: Maybe<String>,
    /// `/` when absent.
    pub path: Maybe<String>,
    /// The server's address when absent.
    pub host: Maybe<String>,
    /// Beside Host and Connection.
    pub headers: Vec<(String, String)>,
    /// `"200-399"` when absent.
    pub status: Maybe<Vec<std::ops::RangeInclusive<u16>>>,
    /// A text in the body.
    pub body: Maybe<String>,
    /// A regular expression over the body.
    pub body_regex: Maybe<String>,
}

/// `redis`.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Redis {
    pub user: Maybe<String>,
    pub password: Maybe<Secret>,
    pub role: Maybe<DatabaseRole>,
}

/// `postgres`: see [`model::PostgresLogin`](crate::model::PostgresLogin).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Postgres {
    pub user: Maybe<String>,
    pub password: Maybe<Secret>,
    /// The user's name when absent.
    pub database: Maybe<String>,
    pub role: Maybe<DatabaseRole>,
    /// Only a startup message, no login (HAProxy's `option pgsql-check`); false when absent.
    pub startup_only: Maybe<bool>,
}

/// `mysql`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mysql {
    /// Only the greeting when absent.
    pub user: Maybe<String>,
    /// As clients before version 4.1; false when absent.
    pub before_41: Maybe<bool>,
}

/// `smtp`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Smtp {
    /// HELO when absent.
    pub hello: Maybe<String>,
    /// `localhost` when absent.
    pub domain: Maybe<String>,
}

/// `command`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckCommand {
    /// The command.
    pub command: Command,
    /// Its PATH.
    pub path: Maybe<String>,
}

/// One of `steps`: see [`model::Step`](crate::model::Step).
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// All of it.
    pub at: Location,
    /// What is done.
    pub action: StepAction,
    /// What the operator says about it.
    pub comment: Option<String>,
}

/// What a step does: see [`model::Action`](crate::model::Action).
#[derive(Debug, Clone, PartialEq)]
pub enum StepAction {
    /// Opens a connection.
    Connect(Box<ConnectOptions>),
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits for bytes.
    Expect(Expect),
    /// Sends a request.
    Request(Box<HttpRequest>),
    /// Judges the answer.
    Response(HttpExpect),
    /// Nothing: its comment is about the next one.
    Comment,
}

/// The keys of a `connect` step: see [`model::Connect`](crate::model::Connect).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectOptions {
    /// The check's when absent.
    pub port: Maybe<u64>,
    /// The check's when absent.
    pub address: Maybe<Host>,
    /// The check's when absent.
    pub tls: Maybe<TlsChoice>,
    /// The check's when absent.
    pub proxy_header: Maybe<ProxyHeader>,
    /// False when absent.
    pub linger: Maybe<bool>,
}

/// An agent, or its absence.
#[derive(Debug, Clone, PartialEq)]
pub enum Agent {
    /// `false`.
    Off,
    /// A table.
    On(Box<AgentOptions>),
}

/// The keys of `agent`: see [`model::Agent`](crate::model::Agent).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct AgentOptions {
    pub port: Maybe<u64>,
    /// The server's when absent.
    pub address: Maybe<Host>,
    /// 2 seconds when absent.
    pub interval: Maybe<Duration>,
    /// `interval` when absent.
    pub timeout: Maybe<Duration>,
    /// Nothing when absent.
    pub send: Maybe<String>,
}

impl Step {
    /// Without a comment.
    #[must_use]
    pub fn new(at: Location, action: StepAction) -> Self {
        Self { at, action, comment: None }
    }
}

impl CheckOptions {
    /// These keys, and for those that are absent those of `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            port: self.port.or(other.port),
            address: or(&self.address, &other.address),
            interval: self.interval.or(other.interval),
            fast_interval: self.fast_interval.or(other.fast_interval),
            down_interval: self.down_interval.or(other.down_interval),
            timeout: self.timeout.or(other.timeout),
            response_timeout: self.response_timeout.or(other.response_timeout),
            rise: self.rise.or(other.rise),
            fall: self.fall.or(other.fall),
            proxy_header: self.proxy_header.or(other.proxy_header),
            tls: or(&self.tls, &other.tls),
            disable_on_404: self.disable_on_404.or(other.disable_on_404),
            protocol: or(&self.protocol, &other.protocol),
        }
    }
}

impl AgentOptions {
    /// These keys, and for those that are absent those of `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            port: self.port.or(other.port),
            address: or(&self.address, &other.address),
            interval: self.interval.or(other.interval),
            timeout: self.timeout.or(other.timeout),
            send: or(&self.send, &other.send),
        }
    }
}

fn or<T: Clone>(first: &Maybe<T>, second: &Maybe<T>) -> Maybe<T> {
    first.clone().or_else(|| second.clone())
}
