//! Routes and rules.

use super::{Keys, display, word};
use crate::config::raw::{Route, Rule};
use crate::config::words;

pub(super) fn route(raw: &Route, header: &'static str) -> Keys {
    let mut keys = Keys::new(header);
    keys.maybe("destination", &raw.destination, display);
    keys.maybe("kind", &raw.kind, |kind| word(words::ROUTE_KINDS, kind));
    keys.maybe("gateway", &raw.gateway, display);
    keys.maybe("interface", &raw.interface, display);
    keys.maybe("source", &raw.source, display);
    keys.maybe("metric", &raw.metric, u64::to_string);
    keys.maybe("table", &raw.table, u64::to_string);
    keys.maybe("scope", &raw.scope, |scope| word(words::SCOPES, scope));
    keys.maybe("on-link", &raw.on_link, bool::to_string);
    keys.maybe("mtu", &raw.mtu, u64::to_string);
    keys
}

pub(super) fn rule(raw: &Rule, header: &'static str) -> Keys {
    let mut keys = Keys::new(header);
    keys.maybe("from", &raw.from, display);
    keys.maybe("to", &raw.to, display);
    keys.maybe("table", &raw.table, u64::to_string);
    keys.maybe("priority", &raw.priority, u64::to_string);
    keys.maybe("incoming", &raw.incoming, display);
    keys.maybe("outgoing", &raw.outgoing, display);
    keys.maybe("mark", &raw.mark, u64::to_string);
    keys.maybe("mark-mask", &raw.mark_mask, u64::to_string);
    keys
}
