//! What is logged, how, and where to.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::expression::{Expression, LogLine};
use super::list::{Kind, Lookup};
use super::value::Variable;

/// What is logged, how, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level written.
    pub level: LogLevel,
    /// One line a proxied connection.
    pub connections: bool,
    /// One line per health check result that changes a server's counter, not only per state change
    /// (HAProxy's `option log-health-checks`).
    pub checks: bool,
    /// How lines are written to standard error.
    pub format: LogFormat,
    /// Where lines go beside standard error, in HAProxy's wording and syslog's dress.
    pub targets: Vec<LogTarget>,
    /// The program's name in syslog messages (HAProxy's `log-tag`).
    pub tag: String,
    /// The host's name in syslog messages (HAProxy's `log-send-hostname`); none: they have no such field.
    pub host_name: Option<String>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            connections: true,
            checks: false,
            format: LogFormat::Text,
            targets: Vec::new(),
            tag: "vipgate".to_owned(),
            host_name: None,
        }
    }
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How lines are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A sentence with `name=value` behind it.
    Text,
    /// A JSON object a line.
    Json,
    /// Connections in the format of their service, HAProxy's `option tcplog` where it names none.
    Haproxy,
}

/// A place that lines go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogTarget {
    /// Which.
    pub to: LogPlace,
    /// How a line is dressed.
    pub dress: LogDress,
    /// syslog's facility, 0 to 23.
    pub facility: u8,
    /// The least severe lines it gets.
    pub level: Severity,
    /// No line is sent as more severe than this.
    pub most_severe: Severity,
    /// Longer lines are cut, in bytes.
    pub length: usize,
    /// It gets the lines of connections, too; services that name their own targets aside.
    pub connections: bool,
}

impl LogTarget {
    /// One that gets everything as `local0`, as syslog messages of at most 1024 bytes.
    #[must_use]
    pub fn new(to: LogPlace) -> Self {
        Self {
            to,
            dress: LogDress::Rfc3164,
            facility: 16,
            level: Severity::Debug,
            most_severe: Severity::Emergency,
            length: 1024,
            connections: true,
        }
    }
}

/// Which place lines go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogPlace {
    /// A syslog server, by UDP.
    Udp(SocketAddr),
    /// A datagram socket of this machine, such as `/dev/log`.
    Unix(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a line is dressed, in HAProxy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogDress {
    /// RFC 3164 as HAProxy sends it: `<134>Nov 21 19:13:37 haproxy[7]: text`.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// The severity in brackets, then the text.
    Short,
    /// The text alone.
    Raw,
}

/// syslog's severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Severity {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Severity {
    /// syslog's number, 0 the most severe.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// The line that a connection of a service leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ConnectionLine {
    /// As `[log] format` says.
    #[default]
    AsLog,
    /// HAProxy's without a log format: `Connect from 192.0.2.1:4711 to 192.0.2.100:22 (sftp/TCP)`.
    Connect,
    /// HAProxy's `option tcplog`.
    Tcp,
    /// HAProxy's `log-format`.
    Custom(LogLine),
}

impl ConnectionLine {
    /// The expressions that it tells.
    pub fn samples(&self) -> impl Iterator<Item = &Expression> {
        let line = match self {
            Self::Custom(line) => Some(line),
            Self::AsLog | Self::Connect | Self::Tcp => None,
        };
        line.into_iter().flat_map(|line| line.samples.iter().map(|(_, sample)| sample))
    }

    /// Whether it tells what a variable holds.
    #[must_use]
    pub fn reads(&self, variable: &Variable) -> bool {
        self.samples().any(|sample| sample.variables().any(|read| read == variable))
    }

    /// The lists that it asks, and what they have.
    pub fn lookups(&self) -> impl Iterator<Item = (&Lookup, Kind)> {
        self.samples().flat_map(Expression::lookups)
    }
}

/// What `%[...]` in a line can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogSample {
    /// The client's address.
    Source,
    /// Its port.
    SourcePort,
    /// The address that it connected to.
    Destination,
    /// The port of that.
    DestinationPort,
    /// The service.
    Service,
    /// The pool.
    Pool,
    /// The server.
    Server,
    /// The name in its TLS hello, where that was listened for.
    ServerName,
}

impl LogSample {
    /// The one of this name, which is HAProxy's.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "src" => Self::Source,
            "src_port" => Self::SourcePort,
            "dst" => Self::Destination,
            "dst_port" => Self::DestinationPort,
            "fe_name" => Self::Service,
            "be_name" => Self::Pool,
            "srv_name" => Self::Server,
            "req.ssl_sni" | "req_ssl_sni" => Self::ServerName,
            _ => return None,
        })
    }
}
