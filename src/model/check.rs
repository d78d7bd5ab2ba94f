//! Health checks: when, where and how a server is asked whether it is well. Terms are HAProxy's where it has one.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::check_result::CheckResult;
use super::command::Command;
use super::socket::{ProxyVersion, Source};

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where it connects. Of a server that is known by its name, address and port are its own where they are unspecified (and 0).
    pub target: SocketAddr,
    /// Between checks at full health.
    pub interval: Duration,
    /// Between checks in transition (HAProxy's `fastinter`).
    pub fast_interval: Duration,
    /// Between checks while down (HAProxy's `downinter`).
    pub down_interval: Duration,
    /// Longest wait for the connection; for the whole check where there is no `response_timeout`.
    pub timeout: Duration,
    /// Longest wait for everything after the connection (HAProxy's `timeout check`).
    pub response_timeout: Option<Duration>,
    /// Successes that make it up; at least 1.
    pub rise: u32,
    /// Failures that make it down; at least 1.
    pub fall: u32,
    /// Where its connections come from, never transparent; none: the kernel's choice.
    pub source: Option<Source>,
    /// What is done.
    pub kind: CheckKind,
}

impl Check {
    /// Of a connection to `target`; everything else as when nothing is configured.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_millis(500),
            down_interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            response_timeout: None,
            rise: 2,
            fall: 3,
            source: None,
            kind: CheckKind::Conversation(Conversation::connection()),
        }
    }
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// It connects, and may then send and expect.
    Conversation(Conversation),
    /// It runs a command, whose exit status is the result (HAProxy's `option external-check`).
    Command(CommandCheck),
}

/// Steps, one after the other; the first one connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The steps.
    pub steps: Vec<Step>,
    /// They were written one by one (`tcp-check`): messages name them.
    pub scripted: bool,
    /// A 404 answer takes the server out for new clients and keeps it up (HAProxy's `http-check disable-on-404`).
    pub disable_on_404: bool,
}

impl Conversation {
    /// A connection, and nothing more.
    #[must_use]
    pub fn connection() -> Self {
        Self::of(vec![Action::Connect(Connect::default())])
    }

    /// These actions, which nobody wrote one by one.
    #[must_use]
    pub fn of(actions: Vec<Action>) -> Self {
        let steps = actions.into_iter().map(|action| Step { action, number: 0, comment: None }).collect();
        Self { steps, scripted: false, disable_on_404: false }
    }
}

/// One step of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// Its number as written, from 1; 0: it is implied.
    pub number: u16,
    /// What the operator says about it.
    pub comment: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Opens a connection; the one before it ends.
    Connect(Connect),
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits for bytes. What was received stays for the next one that waits, until something is sent.
    Expect(Expect),
    /// Sends an HTTP request and waits for the answer.
    Request(HttpRequest),
    /// Judges the answer to the last request.
    Response(HttpExpect),
    /// Logs in to a PostgreSQL server and asks for its role.
    Postgres(PostgresLogin),
}

/// How a connection is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    /// Another port than the check's.
    pub port: Option<u16>,
    /// Another address than the check's.
    pub address: Option<IpAddr>,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// A PROXY protocol header goes first.
    pub proxy_header: Option<ProxyVersion>,
    /// It is closed cleanly, not by a reset.
    pub linger: bool,
}

/// How TLS is spoken with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The name that is asked for (SNI).
    pub server_name: Option<String>,
    /// Whom to believe; none: everybody (HAProxy's `verify none`).
    pub trust: Option<Trust>,
    /// The name its certificate must have; none: any (HAProxy's `verifyhost`, or else the SNI).
    pub verify_name: Option<String>,
    /// Protocols offered by ALPN, the most wanted first.
    pub alpn: Vec<String>,
}

/// Certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those of the operating system.
    System,
    /// Those of a PEM file, read when the configuration was.
    File {
        /// Where they were.
        path: PathBuf,
        /// Each in DER.
        certificates: Arc<Vec<Vec<u8>>>,
    },
}

/// What an answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// What is looked for.
    pub pattern: Pattern,
    /// It must not be there.
    pub negated: bool,
    /// Bytes to wait for before anything is judged; 0: the first bytes decide (HAProxy's `min-recv`).
    pub min_received: Option<usize>,
    /// The result when this was the last step (HAProxy's `ok-status`).
    pub on_success: CheckResult,
    /// The result when it is not met (HAProxy's `error-status`).
    pub on_error: CheckResult,
    /// The result when it is not met in time (HAProxy's `tout-status`).
    pub on_timeout: CheckResult,
}

impl Expect {
    /// `pattern` is to be there.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            negated: false,
            min_received: None,
            on_success: CheckResult::L7Ok,
            on_error: CheckResult::L7Response,
            on_timeout: CheckResult::L7Timeout,
        }
    }
}

/// What is looked for in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// These bytes, anywhere; written as text.
    Text(Vec<u8>),
    /// A regular expression over the bytes.
    Regex(String),
    /// These bytes, anywhere; written as hexadecimal digits.
    Binary(Vec<u8>),
    /// A regular expression over the hexadecimal digits of the bytes, in upper case.
    HexRegex(String),
    /// A protocol's own answer.
    Answer(Answer),
}

/// The answers of protocols that have a check of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A line of SMTP or FTP that does not end a reply: `250-...`, or its last one, with a code from 200 to 299.
    Smtp,
    /// Redis: `+PONG`.
    RedisPong,
    /// Redis: `+OK`, to AUTH.
    RedisOk,
    /// Redis: the answer to ROLE from a primary.
    RedisPrimary,
    /// Redis: the answer to ROLE from a replica whose link is up.
    RedisReplica,
    /// MySQL's greeting.
    MysqlGreeting,
    /// MySQL's answer to a login.
    MysqlLogin,
    /// PostgreSQL's first answer to a startup message.
    PostgresStartup,
    /// LDAP's answer to a bind.
    LdapBind,
    /// A TLS server's answer to a hello: a handshake or an alert.
    TlsHello,
    /// An SSH server's identification.
    Ssh,
    /// An FTP server's greeting, code 220.
    Ftp,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `HEAD`, `OPTIONS`, ...
    pub method: String,
    /// The request target: `/health?full`.
    pub target: String,
    /// HTTP/1.1 rather than HTTP/1.0.
    pub http11: bool,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body; empty: none.
    pub body: Vec<u8>,
    /// With the header `X-Haproxy-Server-State` (HAProxy's `http-check send-state`).
    pub send_state: bool,
}

impl HttpRequest {
    /// HAProxy's own: `OPTIONS / HTTP/1.0`.
    #[must_use]
    pub fn options() -> Self {
        Self {
            method: "OPTIONS".to_owned(),
            target: "/".to_owned(),
            http11: false,
            headers: Vec::new(),
            body: Vec::new(),
            send_state: false,
        }
    }
}

/// What an HTTP answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpExpect {
    /// What is looked for.
    pub pattern: HttpPattern,
    /// It must not be there.
    pub negated: bool,
    /// The result when this was the last step.
    pub on_success: CheckResult,
    /// The result when it is not met; none: a wrong status, or an invalid response.
    pub on_error: Option<CheckResult>,
    /// The result when there is no answer in time.
    pub on_timeout: CheckResult,
}

impl HttpExpect {
    /// `pattern` is to be there.
    #[must_use]
    pub fn new(pattern: HttpPattern) -> Self {
        Self {
            pattern,
            negated: false,
            on_success: CheckResult::L7Ok,
            on_error: None,
            on_timeout: CheckResult::L7Timeout,
        }
    }

    /// A status from 200 to 399, as where nothing is said.
    #[must_use]
    pub fn fine() -> Self {
        Self::new(HttpPattern::Status(vec![200..=399]))
    }
}

/// What is looked for in an HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpPattern {
    /// A status in one of these ranges.
    Status(Vec<RangeInclusive<u16>>),
    /// A regular expression over the three digits of the status.
    StatusRegex(String),
    /// A header, and perhaps its value.
    Header(HeaderPattern),
    /// These bytes, anywhere in the body.
    Text(Vec<u8>),
    /// A regular expression over the body.
    Regex(String),
}

/// A header that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPattern {
    /// Its name, whatever its case.
    pub name: TextPattern,
    /// Its value; none: it is there.
    pub value: Option<TextPattern>,
    /// The value is taken whole, not as a list with commas (HAProxy's `fhdr`).
    pub whole: bool,
}

/// How a text is compared, HAProxy's `-m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPattern {
    /// `str`.
    Exactly(String),
    /// `beg`.
    Begins(String),
    /// `end`.
    Ends(String),
    /// `sub`.
    Contains(String),
    /// `reg`.
    Regex(String),
}

/// A login to a PostgreSQL server.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresLogin {
    /// Who.
    pub user: String,
    /// The password, where the server asks for one.
    pub password: Option<String>,
    /// The database.
    pub database: String,
    /// What the server must be; none: either.
    pub role: Option<DatabaseRole>,
}

impl std::fmt::Debug for PostgresLogin {
    /// The password stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, password: _, database, role } = self;
        let mut text = f.debug_struct("PostgresLogin");
        text.field("user", user).field("database", database).field("role", role).finish_non_exhaustive()
    }
}

/// What a server of a replicated database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatabaseRole {
    /// It takes writes.
    Primary,
    /// It follows another one.
    Replica,
}

/// A check that is a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCheck {
    /// The command. After its own arguments come HAProxy's: `<proxy_address> <proxy_port> <server_address> <server_port>`.
    pub command: Command,
    /// Its environment: HAPROXY_SERVER_NAME and its like.
    pub environment: Vec<(String, String)>,
}

/// An agent on or beside a server, which says how it is (HAProxy's `agent-check`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Where it listens.
    pub target: SocketAddr,
    /// From one question to the next.
    pub interval: Duration,
    /// Longest wait for its answer.
    pub timeout: Duration,
    /// What it is sent first.
    pub send: Vec<u8>,
    /// Where the connection comes from, never transparent; none: the kernel's choice.
    pub source: Option<Source>,
}

impl Agent {
    /// One that is sent nothing; everything else as when nothing is configured.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        let two = Duration::from_secs(2);
        Self { target, interval: two, timeout: two, send: Vec::new(), source: None }
    }
}
