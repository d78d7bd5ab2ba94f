//! Routes and rules: of a router, `[[route]]` and `[[rule]]`.

use super::keys;
use super::reader::{Decoder, Value};
use crate::config::raw::{Route, Rule};
use crate::config::words;

impl Decoder<'_> {
    pub(super) fn route(&mut self, value: Value<'_>, key: &str) -> Option<Route> {
        let fields = self.table(value, key, &[&keys::ROUTE])?;
        self.require(fields, &keys::ROUTE, &["destination"], "add destination = \"0.0.0.0/0\" for the default route");
        Some(Route {
            at: value.at,
            kind: self.field(fields, "kind", |this, value, key| this.word(value, key, words::ROUTE_KINDS)),
            destination: self.field(fields, "destination", Self::prefix),
            gateway: self.field(fields, "gateway", Self::ip_address),
            interface: self.field(fields, "interface", Self::interface),
            source: self.field(fields, "source", Self::ip_address),
            metric: self.field(fields, "metric", Self::number),
            table: self.field(fields, "table", Self::number),
            scope: self.field(fields, "scope", |this, value, key| this.word(value, key, words::SCOPES)),
            on_link: self.field(fields, "on-link", Self::boolean),
            mtu: self.field(fields, "mtu", Self::number),
        })
    }

    pub(super) fn rule(&mut self, value: Value<'_>, key: &str) -> Option<Rule> {
        let fields = self.table(value, key, &[&keys::RULE])?;
        self.require(fields, &keys::RULE, &["table"], "say which table is looked up: table = 100");
        Some(Rule {
            at: value.at,
            from: self.field(fields, "from", Self::prefix),
            to: self.field(fields, "to", Self::prefix),
            table: self.field(fields, "table", Self::number),
            priority: self.field(fields, "priority", Self::number),
            incoming: self.field(fields, "incoming", Self::interface),
            outgoing: self.field(fields, "outgoing", Self::interface),
            mark: self.field(fields, "mark", Self::number),
            mark_mask: self.field(fields, "mark-mask", Self::number),
        })
    }
}
