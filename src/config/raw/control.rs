//! `[[stats-socket]]`.

use std::time::Duration;

use super::Maybe;
use crate::config::source::Location;
use crate::model::AccessLevel;

/// `[[stats-socket]]`: see [`model::StatsSocket`](crate::model::StatsSocket) for the meaning of each key.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct StatsSocket {
    pub at: Location,
    /// `/path`, `unix@/path`, `127.0.0.1:9999`, `ipv6@[::1]:9999`, `fd@3`, `fd@${NAME}`.
    pub address: Maybe<String>,
    /// Octal.
    pub mode: Maybe<String>,
    pub user: Maybe<String>,
    pub group: Maybe<String>,
    pub level: Maybe<AccessLevel>,
    pub timeout: Maybe<Duration>,
    pub max_connections: Maybe<u64>,
}

impl StatsSocket {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            address: None,
            mode: None,
            user: None,
            group: None,
            level: None,
            timeout: None,
            max_connections: None,
        }
    }
}
