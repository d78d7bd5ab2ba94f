//! Control sockets that speak HAProxy's language, and descriptors that are inherited.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::net::Invalid;

/// A control socket that speaks HAProxy's language (its `stats socket`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsSocket {
    /// Where it listens.
    pub place: SocketPlace,
    /// Permissions of the file; as the process makes files when absent.
    pub mode: Option<u32>,
    /// Who owns the file, a name or a number; the process's user when absent.
    pub user: Option<String>,
    /// The file's group, a name or a number.
    pub group: Option<String>,
    /// What its clients may do.
    pub level: AccessLevel,
    /// A client that says nothing for so long is disconnected.
    pub timeout: Duration,
    /// Clients at a time; more wait in the listen queue.
    pub max_connections: u32,
}

impl StatsSocket {
    /// One at `place`; everything else as when nothing is configured.
    #[must_use]
    pub fn new(place: SocketPlace) -> Self {
        Self {
            place,
            mode: None,
            user: None,
            group: None,
            level: AccessLevel::Operator,
            timeout: Duration::from_secs(10),
            max_connections: 10,
        }
    }
}

/// Where a control socket listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SocketPlace {
    /// A file.
    Path(PathBuf),
    /// TCP.
    Tcp(SocketAddr),
    /// A listening socket that the process was started with.
    Inherited(Descriptor),
}

impl fmt::Display for SocketPlace {
    /// As HAProxy's `show cli sockets` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix@{}", path.display()),
            Self::Tcp(SocketAddr::V4(address)) => write!(f, "ipv4@{address}"),
            Self::Tcp(SocketAddr::V6(address)) => write!(f, "ipv6@{address}"),
            Self::Inherited(descriptor) => descriptor.fmt(f),
        }
    }
}

/// A descriptor that the process was started with: `fd@3`, `fd@${NAME}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// Its number.
    Number(i32),
    /// The environment variable that holds its number.
    Variable(String),
}

impl FromStr for Descriptor {
    type Err = Invalid;

    /// What stands after `fd@`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let braces = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = braces.or_else(|| text.strip_prefix('$')) {
            let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return if valid {
                Ok(Self::Variable(name.to_owned()))
            } else {
                Err(Invalid(format!("`{text}` does not name a variable, as in `fd@${{NAME}}`")))
            };
        }
        match text.parse() {
            Ok(number @ 3..) => Ok(Self::Number(number)),
            Ok(_) | Err(_) => {
                Err(Invalid(format!("`fd@{text}` is no inherited descriptor: a number from 3 on, or `fd@${{NAME}}`")))
            }
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "fd@{number}"),
            Self::Variable(name) => write!(f, "fd@${{{name}}}"),
        }
    }
}

/// What clients of a control socket may do; each level includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// See what is not sensitive.
    User,
    /// See everything, and change tables.
    Operator,
    /// Everything.
    Admin,
}

impl AccessLevel {
    /// HAProxy's word for it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}
