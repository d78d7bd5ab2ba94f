//! [`raw`](super::raw) to TOML: what `vipgate import` prints. Reading it again gives the same model.

mod check;
mod choice;
mod control;
mod names;
mod notify;
mod page;
mod peers;
mod policy;
mod router;
mod routing;
mod track;

use std::fmt::{Display, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use super::acl;
use super::raw::{
    Affinity, Config, Global, Host, HostPort, KeepAlive, Listen, Located, Maybe, PeerPort, Pool, Server, Service,
    Source, Table, Timeout,
};
use super::syntax::DESTINATION;
use super::words::{self, Words, word_for};
use crate::model::{Family, KeyType, NameKind, PortRange, ServerPort, Transparent};

/// The whole configuration as one TOML file.
#[must_use]
pub fn emit(config: &Config) -> String {
    let mut sections = Vec::new();
    sections.extend(config.global.as_ref().map(global));
    sections.extend(config.log.as_ref().map(control::log));
    sections.extend(config.stats.as_ref().map(page::stats));
    sections.extend(config.pages.iter().map(page::page));
    sections.extend(config.stats_sockets.iter().map(control::stats_socket));
    sections.extend(config.scripts.as_ref().map(notify::scripts));
    sections.extend(config.notify.as_ref().map(notify::targets));
    sections.extend(config.mail.as_ref().map(notify::mail));
    let trackers = track::names(config);
    sections.extend(config.routers.iter().map(|raw| router::router(raw, &trackers)));
    sections.extend(config.groups.iter().map(|raw| router::group(raw, &trackers)));
    sections.extend(config.trackers.iter().map(track::tracker));
    sections.extend(config.routes.iter().map(|raw| routing::route(raw, "[[route]]").lines()));
    sections.extend(config.rules.iter().map(|raw| routing::rule(raw, "[[rule]]").lines()));
    sections.extend(config.source_tables.iter().map(policy::source_table));
    sections.extend(config.services.iter().map(service));
    sections.extend(config.pools.iter().map(pool));
    sections.extend(config.resolvers.iter().map(names::resolver));
    sections.extend(config.peer_groups.iter().map(peers::group));
    sections.join("\n")
}

fn global(raw: &Global) -> String {
    let mut lines = Keys::new("[global]");
    lines.maybe("node", &raw.node, |node| quoted(node));
    lines.maybe("workers", &raw.workers, u64::to_string);
    lines.maybe("max-connections", &raw.max_connections, u64::to_string);
    lines.maybe("io-uring", &raw.io_uring, bool::to_string);
    lines.maybe("stop-grace", &raw.stop_grace, duration);
    lines.maybe("drain-timeout", &raw.drain_timeout, duration);
    lines.maybe("spread-checks", &raw.spread_checks, u64::to_string);
    lines.maybe("peer-port", &raw.peer_port, |port| match port {
        PeerPort::Off => "false".to_owned(),
        PeerPort::Port(port) => port.to_string(),
    });
    lines.lines()
}

fn service(raw: &Service) -> String {
    let mut lines = Keys::new("[[service]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.list("listen", raw.listen.iter().map(listen));
    lines.maybe("pool", &raw.pool, |pool| quoted(pool));
    lines.maybe("max-connections", &raw.max_connections, u64::to_string);
    lines.maybe("client-timeout", &raw.client_timeout, timeout);
    lines.maybe("client-fin-timeout", &raw.client_fin_timeout, timeout);
    lines.maybe("client-keepalive", &raw.client_keepalive, keepalive);
    lines.maybe("client-linger", &raw.client_linger, bool::to_string);
    lines.maybe("backlog", &raw.backlog, u64::to_string);
    lines.maybe("log", &raw.log, bool::to_string);
    lines.maybe("log-line", &raw.log_line, control::connection_line);
    lines.list("log-targets", raw.log_targets.iter().map(control::log_target));
    lines.maybe("log-empty", &raw.log_empty, bool::to_string);
    lines.maybe("log-normal", &raw.log_normal, bool::to_string);
    lines.maybe("log-errors-as", &raw.log_errors_as, |severity| word(words::SEVERITIES, severity));
    lines.maybe("log-early", &raw.log_early, bool::to_string);
    lines.maybe("log-tag", &raw.log_tag, |tag| quoted(tag));
    policy::policy(&raw.policy, &mut lines);
    lines.lines()
}

fn listen(raw: &Listen) -> String {
    let mut keys = Keys::new("");
    keys.maybe("interface", &raw.interface, display);
    keys.maybe("nonlocal", &raw.nonlocal, bool::to_string);
    keys.maybe("dual-stack", &raw.dual_stack, bool::to_string);
    keys.maybe("inherited", &raw.inherited, display);
    if !raw.proxy_from.is_empty() {
        let prefixes: Vec<String> = raw.proxy_from.iter().map(|prefix| quoted(&prefix.value.to_string())).collect();
        keys.add("proxy-from", format!("[{}]", prefixes.join(", ")));
    }
    keys.maybe("defer-accept", &raw.tuning.defer_accept, duration);
    keys.maybe("fast-open", &raw.tuning.fast_open, u64::to_string);
    keys.maybe("max-segment", &raw.tuning.max_segment, u64::to_string);
    keys.maybe("user-timeout", &raw.tuning.user_timeout, duration);
    keys.or_inline("address", with_ports(&raw.host.value, &raw.ports.value))
}

fn pool(raw: &Pool) -> String {
    let mut lines = Keys::new("[[pool]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.maybe("balance", &raw.balance, choice::balance);
    lines.maybe("affinity", &raw.affinity, affinity);
    lines.maybe("retries", &raw.retries, u64::to_string);
    lines.maybe("redispatch", &raw.redispatch, bool::to_string);
    lines.maybe("connect-timeout", &raw.connect_timeout, timeout);
    lines.maybe("server-timeout", &raw.server_timeout, timeout);
    lines.maybe("server-fin-timeout", &raw.server_fin_timeout, timeout);
    lines.maybe("tunnel-timeout", &raw.tunnel_timeout, timeout);
    lines.maybe("server-keepalive", &raw.server_keepalive, keepalive);
    lines.maybe("server-linger", &raw.server_linger, bool::to_string);
    lines.maybe("all-backups", &raw.all_backups, bool::to_string);
    check::both(&raw.check, &raw.agent, &mut lines);
    lines.maybe("on-marked-down", &raw.on_marked_down, |what| word(words::MARKED_DOWN, what));
    choice::pool(&mut lines, &raw.choice);
    let servers: String = raw.servers.iter().map(|raw| format!("    {},\n", server(raw))).collect();
    lines.add("servers", if servers.is_empty() { "[]".to_owned() } else { format!("[\n{servers}]") });
    lines.lines()
}

fn affinity(raw: &Affinity) -> String {
    match raw {
        Affinity::None => quoted("none"),
        Affinity::Source => quoted("source"),
        Affinity::Table(table) => self::table("source", table).inline(),
        Affinity::Tls(tls) => {
            let mut keys = self::table("tls", &tls.table);
            keys.maybe("wait", &tls.wait, duration);
            keys.maybe("fallback", &tls.fallback, |fallback| word(words::TLS_FALLBACK, fallback));
            keys.inline()
        }
    }
}

fn table(kind: &str, table: &Table) -> Keys {
    let mut keys = Keys::new("");
    keys.add("table", quoted(kind));
    keys.maybe("size", &table.size, u64::to_string);
    keys.maybe("expire", &table.expire, timeout);
    keys.maybe("nopurge", &table.nopurge, bool::to_string);
    keys.maybe("type", &table.kind, |kind| quoted(&key_type(*kind)));
    keys.maybe("name", &table.name, |name| quoted(name));
    keys.maybe("peers", &table.peers, |peers| quoted(peers));
    keys.list("stick", table.stick.iter().map(|rule| quoted(&acl::show_stick(&rule.value))));
    keys
}

fn key_type(kind: KeyType) -> String {
    match kind {
        KeyType::Ipv4 | KeyType::Ipv6 | KeyType::Integer => kind.name().to_owned(),
        KeyType::Text(length) | KeyType::Binary(length) => format!("{} {length}", kind.name()),
    }
}

fn server(raw: &Server) -> String {
    let address = match raw.port.as_ref().map(|port| port.value) {
        None | Some(ServerPort::Same) => host(&raw.host.value),
        Some(ServerPort::Fixed(port)) => format!("{}:{port}", bracketed(&raw.host.value)),
        Some(ServerPort::Offset(offset)) => format!("{}:{offset:+}", bracketed(&raw.host.value)),
    };
    let mut keys = Keys::new("");
    keys.maybe("name", &raw.name, |name| quoted(name));
    keys.maybe("weight", &raw.weight, u64::to_string);
    keys.maybe("backup", &raw.backup, bool::to_string);
    keys.maybe("disabled", &raw.disabled, bool::to_string);
    keys.maybe("max-connections", &raw.max_connections, u64::to_string);
    check::both(&raw.check, &raw.agent, &mut keys);
    keys.maybe("on-marked-down", &raw.on_marked_down, |what| word(words::MARKED_DOWN, what));
    keys.maybe("send-proxy", &raw.send_proxy, |version| word(words::PROXY_VERSIONS, version));
    keys.maybe("source", &raw.source, source);
    keys.maybe("user-timeout", &raw.user_timeout, duration);
    keys.maybe("fast-open", &raw.fast_open, bool::to_string);
    choice::server(&mut keys, &raw.choice);
    names::server(&mut keys, &raw.naming);
    if raw.naming.kind.is_some_and(|kind| kind.value == NameKind::Service) {
        keys.add("srv", quoted(&host(&raw.host.value)));
        return keys.inline();
    }
    keys.or_inline("address", quoted(&address))
}

fn keepalive(raw: &KeepAlive) -> String {
    let mut keys = Keys::new("");
    keys.maybe("idle", &raw.idle, duration);
    keys.maybe("interval", &raw.interval, duration);
    keys.maybe("count", &raw.count, u64::to_string);
    if raw.off || keys.is_empty() { (!raw.off).to_string() } else { keys.inline() }
}

fn source(raw: &Source) -> String {
    let mut keys = Keys::new("");
    keys.maybe("ports", &raw.ports, |ports| quoted(&ports.to_string()));
    keys.maybe("interface", &raw.interface, display);
    keys.maybe("transparent", &raw.transparent, |transparent| match transparent {
        Transparent::Client => quoted("client"),
        Transparent::ClientIp => quoted("client-ip"),
        Transparent::Address(address) if address.port() == 0 => quoted(&address.ip().to_string()),
        Transparent::Address(address) => quoted(&address.to_string()),
    });
    match &raw.address {
        Some(address) => keys.or_inline("address", quoted(&address.value.to_string())),
        None => keys.inline(),
    }
}

/// The keys of one table.
struct Keys {
    header: &'static str,
    keys: Vec<String>,
}

impl Keys {
    fn new(header: &'static str) -> Self {
        Self { header, keys: Vec::new() }
    }

    fn add(&mut self, key: &str, value: String) {
        self.keys.push(format!("{key} = {value}"));
    }

    fn maybe<T>(&mut self, key: &str, value: &Maybe<T>, write: impl Fn(&T) -> String) {
        if let Some(Located { value, .. }) = value {
            self.add(key, write(value));
        }
    }

    fn option(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A list, if it is not empty.
    fn list(&mut self, key: &str, items: impl ExactSizeIterator<Item = String>) {
        if items.len() > 0 {
            self.add(key, list(items));
        }
    }

    /// Texts, a line each, if there are any.
    fn line_each(&mut self, key: &str, texts: impl Iterator<Item = String>) {
        let lines: String = texts.map(|text| format!("    {},\n", quoted(&text))).collect();
        self.option(key, Some(format!("[\n{lines}]")).filter(|_| !lines.is_empty()));
    }

    fn lines(self) -> String {
        self.keys.into_iter().fold(format!("{}\n", self.header), |text, line| text + &line + "\n")
    }

    fn inline(self) -> String {
        if self.keys.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", self.keys.join(", ")) }
    }

    /// `value` alone when there is no other key.
    fn or_inline(mut self, key: &str, value: String) -> String {
        if self.keys.is_empty() {
            return value;
        }
        self.keys.insert(0, format!("{key} = {value}"));
        self.inline()
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn display<T: Display>(value: &T) -> String {
    quoted(&value.to_string())
}

fn word<T: PartialEq>(words: &Words<T>, meaning: &T) -> String {
    quoted(word_for(words, meaning))
}

fn duration(duration: &Duration) -> String {
    display(&humantime::format_duration(*duration))
}

fn timeout(raw: &Timeout) -> String {
    match raw {
        Timeout::None => quoted("none"),
        Timeout::After(after) => duration(after),
    }
}

fn host(raw: &Host) -> String {
    match raw {
        Host::Address(address) => address.to_string(),
        Host::Destination => DESTINATION.to_owned(),
        Host::Name(name, None) => name.clone(),
        Host::Name(name, Some(Family::V4)) => format!("ipv4@{name}"),
        Host::Name(name, Some(Family::V6)) => format!("ipv6@{name}"),
    }
}

/// A host before a colon.
fn bracketed(raw: &Host) -> String {
    match raw {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        Host::Address(IpAddr::V4(_)) | Host::Destination | Host::Name(..) => host(raw),
    }
}

fn with_ports(raw: &Host, ports: &PortRange) -> String {
    quoted(&format!("{}:{ports}", bracketed(raw)))
}

fn host_port(raw: &HostPort) -> String {
    quoted(&format!("{}:{}", bracketed(&raw.host), raw.port))
}
