//! The rules of a `[[service]]`, and `[[source-table]]`.

use std::collections::HashMap;

use super::keys;
use super::reader::{Decoder, Fields, Value};
use crate::config::acl::{self, Fault, Scope};
use crate::config::diagnostic::Diagnostic;
use crate::config::files;
use crate::config::import::Word;
use crate::config::import::haproxy::cut;
use crate::config::raw::{Captures, Limits, Located, Policy, PoolRoute, SourceTable};
use crate::config::source::Location;
use crate::model::rule::{Action, Rule, Stage};
use crate::model::{PortRange, Prefix, StickRule};

impl Decoder<'_> {
    pub(super) fn policy(&mut self, fields: Fields<'_>) -> Policy {
        Policy {
            allow: self.list(fields, "allow", Self::network),
            deny: self.list(fields, "deny", Self::network),
            limits: self.field(fields, "limits", Self::limits),
            rules: self.list(fields, "rules", Self::service_rule),
            routes: self.list(fields, "route", Self::pool_route),
            inspect_delay: self.field(fields, "inspect-delay", Self::duration),
            routes_wait: self.field(fields, "routes-wait", Self::boolean),
            sessions_per_second: self.field(fields, "connections-per-second", Self::number),
            captures: self.field(fields, "captures", Self::captures),
        }
    }

    fn captures(&mut self, value: Value<'_>, key: &str) -> Option<Captures> {
        let fields = self.table(value, key, &[&keys::CAPTURES])?;
        Some(Captures {
            request: self.field(fields, "request", Self::number),
            response: self.field(fields, "response", Self::number),
        })
    }

    fn network(&mut self, value: Value<'_>, key: &str) -> Option<Located<Prefix>> {
        Some(Located::new(self.prefix(value, key)?, value.at))
    }

    fn limits(&mut self, value: Value<'_>, key: &str) -> Option<Limits> {
        let fields = self.table(value, key, &[&keys::LIMITS])?;
        self.require(fields, &keys::LIMITS, &["concurrent", "connections-per-second"], "add concurrent = 100");
        Some(Limits {
            connections_per_second: self.field(fields, "connections-per-second", Self::number),
            concurrent: self.field(fields, "concurrent", Self::number),
            sources: self.field(fields, "sources", Self::number),
        })
    }

    fn service_rule(&mut self, value: Value<'_>, key: &str) -> Option<Located<Rule>> {
        let rule = self.policy_rule(value, key)?;
        if rule.value.stage == Stage::Server {
            let error = Diagnostic::error(rule.at, "a service has no servers: this is a rule of a pool");
            self.diagnostics.push(error.help("write it in `server-rules`"));
        }
        Some(rule)
    }

    /// One of `server-rules`.
    pub(super) fn pool_rule(&mut self, value: Value<'_>, key: &str) -> Option<Located<Rule>> {
        let rule = self.policy_rule(value, key)?;
        if matches!(rule.value.action, Action::Capture { .. }) {
            let error = Diagnostic::error(rule.at, "captures are of services: a pool has none");
            self.diagnostics.push(error.help("write it in the `rules` of a service"));
        }
        if !matches!(rule.value.stage, Stage::Content | Stage::Server) {
            let message = "a pool cannot have this rule: it is asked when its pool is chosen";
            let error = Diagnostic::error(rule.at, message);
            self.diagnostics.push(error.help("`content`, use-server, force-persist and ignore-persist can be there; others go into the `rules` of a service"));
        }
        Some(rule)
    }

    fn policy_rule(&mut self, value: Value<'_>, key: &str) -> Option<Located<Rule>> {
        self.acl_text(value, key, false, acl::rule)
    }

    pub(super) fn stick_rule(&mut self, value: Value<'_>, key: &str) -> Option<Located<StickRule>> {
        self.acl_text(value, key, false, acl::stick_rule)
    }

    /// Something written in the language of rules.
    pub(super) fn acl_text<T>(
        &mut self,
        value: Value<'_>,
        key: &str,
        of_requests: bool,
        read: impl FnOnce(&[Word], Location, &Scope<'_>) -> Result<T, Fault>,
    ) -> Option<Located<T>> {
        let text = self.text(value, key)?;
        let words = cut(text, value.at).map_err(|message| (value.at, message));
        let read = |scope: &Scope<'_>| {
            words.and_then(|words| read(&words, value.at, scope).map_err(|fault| (fault.at, fault.message)))
        };
        match in_scope(of_requests, read) {
            Ok(read) => Some(Located::new(read, value.at)),
            Err((at, message)) => {
                self.error(at, message);
                None
            }
        }
    }

    fn pool_route(&mut self, value: Value<'_>, key: &str) -> Option<PoolRoute> {
        let fields = self.table(value, key, &[&keys::POOL_ROUTE])?;
        self.require(fields, &keys::POOL_ROUTE, &["pool"], "say where they go: pool = \"files\"");
        Some(PoolRoute {
            at: value.at,
            sni: self.list(fields, "sni", Self::located),
            ports: self.list(fields, "ports", |this, value, key| {
                Some(Located::new(this.parsed(value, key, str::parse::<PortRange>)?, value.at))
            }),
            from: self.list(fields, "from", Self::network),
            pool: self.field(fields, "pool", Self::string),
        })
    }

    pub(super) fn source_table(&mut self, value: Value<'_>, key: &str) -> Option<SourceTable> {
        let fields = self.table(value, key, &[&keys::SOURCE_TABLE])?;
        self.require(fields, &keys::SOURCE_TABLE, &["name"], "give it the name that rules use: name = \"clients\"");
        Some(SourceTable {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            size: self.field(fields, "size", Self::number),
            expire: self.field(fields, "expire", Self::timeout),
            nopurge: self.field(fields, "nopurge", Self::boolean),
            ipv6_bits: self.field(fields, "ipv6-bits", Self::number),
            connection_period: self.field(fields, "connection-period", Self::duration),
            gpc0_period: self.field(fields, "gpc0-period", Self::duration),
            gpc1_period: self.field(fields, "gpc1-period", Self::duration),
            session_period: self.field(fields, "session-period", Self::duration),
            bytes_in_period: self.field(fields, "bytes-in-period", Self::duration),
            bytes_out_period: self.field(fields, "bytes-out-period", Self::duration),
        })
    }
}

/// With nothing that a text could refer to without saying it.
pub(super) fn in_scope<T>(of_requests: bool, read: impl FnOnce(&Scope<'_>) -> T) -> T {
    let acls = HashMap::new();
    let variable = |name: &str| std::env::var(name).ok();
    let scope =
        Scope { acls: &acls, own: None, of_requests, read: &files::list, variable: &variable, initially: &|_| None };
    read(&scope)
}
