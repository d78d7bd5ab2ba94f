//! Rules of services, and tables of counters.

use super::{Keys, display, duration, list, quoted, timeout};
use crate::config::acl;
use crate::config::raw::{Captures, Limits, Located, Policy, PoolRoute, SourceTable};
use crate::model::rule::Rule;

pub(super) fn policy(raw: &Policy, lines: &mut Keys) {
    lines.list("allow", raw.allow.iter().map(|prefix| display(&prefix.value)));
    lines.list("deny", raw.deny.iter().map(|prefix| display(&prefix.value)));
    lines.maybe("limits", &raw.limits, limits);
    rules("rules", &raw.rules, lines);
    let routes: String = raw.routes.iter().map(|raw| format!("    {},\n", route(raw))).collect();
    lines.option("route", Some(format!("[\n{routes}]")).filter(|_| !routes.is_empty()));
    lines.maybe("inspect-delay", &raw.inspect_delay, duration);
    lines.maybe("routes-wait", &raw.routes_wait, bool::to_string);
    lines.maybe("connections-per-second", &raw.sessions_per_second, u64::to_string);
    lines.maybe("captures", &raw.captures, captures);
}

fn captures(raw: &Captures) -> String {
    let mut keys = Keys::new("");
    keys.maybe("request", &raw.request, u64::to_string);
    keys.maybe("response", &raw.response, u64::to_string);
    keys.inline()
}

/// Rules, a line each.
pub(super) fn rules(key: &str, rules: &[Located<Rule>], lines: &mut Keys) {
    lines.line_each(key, rules.iter().map(|rule| acl::show(&rule.value)));
}

fn limits(raw: &Limits) -> String {
    let mut keys = Keys::new("");
    keys.maybe("connections-per-second", &raw.connections_per_second, u64::to_string);
    keys.maybe("concurrent", &raw.concurrent, u64::to_string);
    keys.maybe("sources", &raw.sources, u64::to_string);
    keys.inline()
}

fn route(raw: &PoolRoute) -> String {
    fn texts<T>(values: &[Located<T>], show: impl Fn(&T) -> String) -> Option<String> {
        (!values.is_empty()).then(|| list(values.iter().map(|value| show(&value.value))))
    }
    let mut keys = Keys::new("");
    keys.option("sni", texts(&raw.sni, |name| quoted(name)));
    keys.option("ports", texts(&raw.ports, display));
    keys.option("from", texts(&raw.from, display));
    keys.maybe("pool", &raw.pool, |pool| quoted(pool));
    keys.inline()
}

pub(super) fn source_table(raw: &SourceTable) -> String {
    let mut lines = Keys::new("[[source-table]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.maybe("size", &raw.size, u64::to_string);
    lines.maybe("expire", &raw.expire, timeout);
    lines.maybe("nopurge", &raw.nopurge, bool::to_string);
    lines.maybe("ipv6-bits", &raw.ipv6_bits, u64::to_string);
    lines.maybe("connection-period", &raw.connection_period, duration);
    lines.maybe("gpc0-period", &raw.gpc0_period, duration);
    lines.maybe("gpc1-period", &raw.gpc1_period, duration);
    lines.maybe("session-period", &raw.session_period, duration);
    lines.maybe("bytes-in-period", &raw.bytes_in_period, duration);
    lines.maybe("bytes-out-period", &raw.bytes_out_period, duration);
    lines.lines()
}
