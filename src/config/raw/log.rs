//! `[log]`.

use super::Maybe;
use crate::config::source::Location;
use crate::model::{LogDress, LogFormat, LogLevel, Severity};

/// `[log]`: see [`model::Log`](crate::model::Log).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Log {
    pub at: Location,
    pub level: Maybe<LogLevel>,
    pub connections: Maybe<bool>,
    pub checks: Maybe<bool>,
    pub format: Maybe<LogFormat>,
    pub targets: Vec<LogTarget>,
    pub tag: Maybe<String>,
    /// Empty: this host's.
    pub host_name: Maybe<String>,
}

impl Log {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            level: None,
            connections: None,
            checks: None,
            format: None,
            targets: Vec::new(),
            tag: None,
            host_name: None,
        }
    }
}

/// An entry of `[log] targets`: see [`model::LogTarget`](crate::model::LogTarget).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct LogTarget {
    pub at: Location,
    /// `stdout`, `stderr`, `/dev/log`, `192.0.2.1:514`, `192.0.2.1`.
    pub to: Maybe<String>,
    pub dress: Maybe<LogDress>,
    pub facility: Maybe<u8>,
    pub level: Maybe<Severity>,
    pub most_severe: Maybe<Severity>,
    pub length: Maybe<u64>,
    pub connections: Maybe<bool>,
}

impl LogTarget {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            to: None,
            dress: None,
            facility: None,
            level: None,
            most_severe: None,
            length: None,
            connections: None,
        }
    }
}
