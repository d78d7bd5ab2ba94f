//! TOML to [`raw`](super::raw), with every fault at once: the parser recovers from bad syntax, and a value that
//! cannot be read is one finding and left out.

mod check;
mod choice;
mod command;
mod control;
pub mod keys;
mod log;
mod names;
mod page;
mod peers;
mod policy;
mod reader;
mod router;
mod routing;
mod service;
mod socket;
mod syntax_errors;
mod track;

use toml::de::{DeTable, DeValue};

use self::reader::{Decoder, Fields, Value};
use super::diagnostic::Diagnostic;
use super::raw::{Config, Global, PeerPort};
use super::source::{SourceId, Sources};
use super::syntax::SUGGESTIONS;

/// Reads one TOML file. Faults go to `diagnostics`; what could be read is returned.
pub fn decode(sources: &Sources, source: SourceId, diagnostics: &mut Vec<Diagnostic>) -> Config {
    let (text, syntax) = syntax_errors::collect(sources, source);
    let (root, _) = DeTable::parse_recoverable(&text);
    let mut found = Vec::new();
    let mut decoder = Decoder { source, diagnostics: &mut found, gaps: syntax.gaps, suggestions: SUGGESTIONS };
    let config = decoder.config(root.get_ref());
    // What stands on a line with a syntax error was perhaps not meant as it reads now.
    found.retain(|finding| syntax.lines.binary_search(&sources.line(finding.at)).is_err());
    diagnostics.extend(syntax.errors);
    diagnostics.append(&mut found);
    config
}

impl Decoder<'_> {
    fn config(&mut self, root: &DeTable<'_>) -> Config {
        let fields = Fields { table: root, at: self.at(0..0) };
        self.known_keys(fields, &[&keys::TOP]);
        let mut config = Config {
            global: self.field(fields, "global", Self::global).map(|located| located.value),
            log: self.field(fields, "log", Self::log).map(|located| located.value),
            stats: self.field(fields, "stats", Self::stats).map(|located| located.value),
            pages: self.tables(fields, "page", Self::page),
            stats_sockets: self.tables(fields, "stats-socket", Self::stats_socket),
            scripts: self.field(fields, "scripts", Self::scripts).map(|located| located.value),
            notify: self.field(fields, "notify", Self::notify_targets).map(|located| located.value),
            mail: self.field(fields, "mail", Self::mail).map(|located| located.value),
            routers: self.tables(fields, "virtual-router", Self::router),
            groups: self.tables(fields, "sync-group", Self::group),
            trackers: self.tables(fields, "tracker", Self::tracker),
            routes: self.tables(fields, "route", Self::route),
            rules: self.tables(fields, "rule", Self::rule),
            source_tables: self.tables(fields, "source-table", Self::source_table),
            services: Vec::new(),
            pools: self.tables(fields, "pool", Self::pool),
            resolvers: self.tables(fields, "resolver", Self::resolver),
            peer_groups: self.tables(fields, "peer-group", Self::peer_group),
        };
        for (service, pool) in self.tables(fields, "service", Self::service) {
            config.services.push(service);
            config.pools.extend(pool);
        }
        config
    }

    /// An array of tables, `[[key]]`.
    fn tables<'v, T>(
        &mut self,
        fields: Fields<'v>,
        key: &str,
        read: impl FnMut(&mut Self, Value<'v>, &str) -> Option<T>,
    ) -> Vec<T> {
        if let Some(DeValue::Table(_)) = fields.table.get(key).map(|value| value.get_ref()) {
            let at = fields.table.get(key).map_or(fields.at, |value| self.at(value.span()));
            let error = Diagnostic::error(at, format!("there can be several of `{key}`"));
            self.diagnostics.push(error.help(format!("write [[{key}]] in two brackets")));
        }
        self.list(fields, key, read)
    }

    fn global(&mut self, value: Value<'_>, key: &str) -> Option<Global> {
        let fields = self.table(value, key, &[&keys::GLOBAL])?;
        Some(Global {
            at: value.at,
            node: self.field(fields, "node", Self::string),
            workers: self.field(fields, "workers", Self::number),
            max_connections: self.field(fields, "max-connections", Self::number),
            io_uring: self.field(fields, "io-uring", Self::boolean),
            stop_grace: self.field(fields, "stop-grace", Self::duration),
            drain_timeout: self.field(fields, "drain-timeout", Self::duration),
            spread_checks: self.field(fields, "spread-checks", Self::number),
            peer_port: self.field(fields, "peer-port", |this, value, key| match value.value {
                DeValue::Boolean(false) => Some(PeerPort::Off),
                DeValue::Integer(_) => this.number(value, key).map(PeerPort::Port),
                _ => {
                    this.wrong_type(value, key, "a port, or false");
                    None
                }
            }),
        })
    }
}
