//! `[log]`, and what the line of a service's connections looks like.

use toml::de::DeValue;

use super::keys;
use super::policy::in_scope;
use super::reader::{Decoder, Value};
use crate::config::acl;
use crate::config::raw::{Located, Log, LogTarget};
use crate::config::words;
use crate::model::ConnectionLine;

impl Decoder<'_> {
    pub(super) fn log(&mut self, value: Value<'_>, key: &str) -> Option<Log> {
        let fields = self.table(value, key, &[&keys::LOG])?;
        Some(Log {
            at: value.at,
            level: self.field(fields, "level", |this, value, key| this.word(value, key, words::LEVELS)),
            connections: self.field(fields, "connections", Self::boolean),
            checks: self.field(fields, "checks", Self::boolean),
            format: self.field(fields, "format", |this, value, key| this.word(value, key, words::LOG_FORMATS)),
            targets: self.list(fields, "targets", Self::log_target),
            tag: self.field(fields, "tag", Self::string),
            host_name: self.field(fields, "host-name", Self::string),
        })
    }

    /// A place by itself, or a table.
    pub(super) fn log_target(&mut self, value: Value<'_>, key: &str) -> Option<LogTarget> {
        if let DeValue::String(_) = value.value {
            let to = Some(Located::new(self.string(value, key)?, value.at));
            return Some(LogTarget { to, ..LogTarget::empty(value.at) });
        }
        let fields = self.table(value, key, &[&keys::LOG_TARGET])?;
        Some(LogTarget {
            at: value.at,
            to: self.field(fields, "to", Self::string),
            dress: self.field(fields, "format", |this, value, key| this.word(value, key, words::LOG_DRESSES)),
            facility: self.field(fields, "facility", |this, value, key| this.word(value, key, words::FACILITIES)),
            level: self.field(fields, "level", |this, value, key| this.word(value, key, words::SEVERITIES)),
            most_severe: self.field(fields, "most-severe", |this, value, key| this.word(value, key, words::SEVERITIES)),
            length: self.field(fields, "length", Self::number),
            connections: self.field(fields, "connections", Self::boolean),
        })
    }

    /// `"connect"`, `"tcplog"`, or HAProxy's `log-format`, which has a `%`.
    pub(super) fn connection_line(&mut self, value: Value<'_>, key: &str) -> Option<ConnectionLine> {
        let text = self.string(value, key)?;
        Some(match text.as_str() {
            "connect" => ConnectionLine::Connect,
            "tcplog" => ConnectionLine::Tcp,
            other if other.contains('%') => {
                let (line, faults) = in_scope(false, |scope| acl::log_line(other, value.at, scope));
                faults.into_iter().for_each(|fault| self.error(fault.at, fault.message));
                ConnectionLine::Custom(line)
            }
            other => {
                self.error(
                    value.at,
                    format!("`{other}` is no line: \"connect\", \"tcplog\", or a text with variables such as %ci"),
                );
                return None;
            }
        })
    }
}
