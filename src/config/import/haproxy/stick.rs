//! `stick-table` and `stick on`.

use std::time::Duration;

use super::proxy::Proxy;
use super::{Translator, value};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::Statement;
use crate::config::import::keywords;
use crate::config::raw::{Affinity, Located, Maybe, Table, Timeout};
use crate::config::source::Location;

/// The published way of keeping TLS sessions on their server: the session id of the hello.
const TLS_SESSION_ID: &str = "payload_lv(43,1)";

/// `stick-table` and `stick on` of one proxy.
#[derive(Debug, Clone, Default)]
pub(super) struct StickSaid {
    table: Option<StickTable>,
    on: Maybe<Key>,
}

impl StickSaid {
    /// Whether it is the published way of keeping TLS sessions.
    pub(super) fn is_tls(&self) -> bool {
        self.on.is_some_and(|on| on.value == Key::TlsSession)
    }
}

#[derive(Debug, Clone)]
struct StickTable {
    at: Location,
    kind: TableKind,
    size: Maybe<u64>,
    expire: Maybe<Duration>,
    nopurge: Maybe<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableKind {
    Ipv4,
    Ipv6,
    Other,
}

/// What entries are kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Source,
    TlsSession,
}

impl Translator<'_> {
    /// `stick-table type {ip | ipv6 | ..} size <size> [expire <expire>] [nopurge] ...`
    pub(super) fn stick_table(&mut self, statement: &Statement, arguments: &[Word], said: &mut StickSaid) {
        let mut table =
            StickTable { at: statement.at(), kind: TableKind::Other, size: None, expire: None, nopurge: None };
        let mut typed = false;
        let mut words = arguments.iter().peekable();
        while let Some(word) = words.next() {
            let Some(keyword) = keywords::haproxy().get("stick-table", word.as_str()) else {
                self.unknown("stick-table", &[word.as_str()], word.at);
                return;
            };
            let value = if keyword.places == "+" { words.next() } else { None };
            if keyword.places == "+" && value.is_none() {
                self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                return;
            }
            if !self.tell(keyword, word.at) {
                continue;
            }
            match (keyword.name, value) {
                ("type", Some(value)) => {
                    typed = true;
                    table.kind = match value.as_str() {
                        "ip" => TableKind::Ipv4,
                        "ipv6" => TableKind::Ipv6,
                        "integer" | "string" | "binary" => TableKind::Other,
                        other => {
                            self.findings.error(
                                value.at,
                                format!("`{other}` is none of the types ip, ipv6, integer, string, binary"),
                            );
                            return;
                        }
                    };
                    if words.next_if(|word| word.text == "len").is_some() {
                        words.next();
                    }
                }
                ("size", Some(value)) => table.size = self.checked(value, value::size(value.as_str())),
                ("expire", Some(value)) => table.expire = self.checked(value, value::time(value.as_str())),
                ("nopurge", _) => table.nopurge = Some(Located::new(true, word.at)),
                _ => {}
            }
        }
        if !typed || table.size.is_none() {
            self.findings.error(statement.at(), "a stick table wants `type` and `size`, as in `type ip size 10k`");
        }
        said.table = Some(table);
    }

    /// `stick on <pattern> [table <table>] [{if | unless} <condition>]`
    pub(super) fn stick_on(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let Some((pattern, rest)) = arguments.split_first() else {
            self.findings.error(statement.at(), "`stick on` wants what to stick on: `src`");
            return;
        };
        let key = match pattern.as_str() {
            "src" => Key::Source,
            TLS_SESSION_ID => Key::TlsSession,
            other => {
                self.findings.push(
                    Diagnostic::error(
                        pattern.at,
                        format!("`stick on {other}` is not there yet: clients would change servers"),
                    )
                    .help("`stick on src` keeps clients by their address"),
                );
                return;
            }
        };
        let rest = match rest {
            [table, name, rest @ ..] if table.text == "table" => {
                if name.text != proxy.name {
                    self.findings.error(name.at, "a table of another proxy cannot be used: `stick on` has its own");
                }
                rest
            }
            rest => rest,
        };
        // The idiom's condition only says that a hello has been seen.
        if let Some(condition) = rest.first().filter(|_| key == Key::Source) {
            self.findings
                .error(condition.at, "conditions are not evaluated yet, and clients would stick that should not");
        }
        if proxy.stick.on.is_some() {
            self.findings.error(statement.at(), "only one `stick on` is there yet");
        }
        if key == Key::TlsSession {
            self.findings.push(
                Diagnostic::warning(
                    statement.at(),
                    "TLS sessions are not learnt yet: clients are kept by source address",
                )
                .help("a client's sessions stay on one server all the same, as long as its address is the same"),
            );
        }
        proxy.stick.on.get_or_insert(Located::new(key, statement.at()));
    }

    /// The affinity of a pool; none when it has none.
    pub(super) fn affinity(&mut self, said: &StickSaid) -> Maybe<Affinity> {
        let (on, table) = match (said.on, &said.table) {
            (None, None) => return None,
            (None, Some(table)) => {
                self.findings.push(
                    Diagnostic::warning(table.at, "the table has no effect: nothing sticks on it")
                        .help("`stick on src` keeps clients by their address"),
                );
                return None;
            }
            (Some(on), None) => {
                self.findings.error(on.at, "`stick on` without a table: add `stick-table type ip size 10k expire 30m`");
                return None;
            }
            (Some(on), Some(table)) => (on, table),
        };
        let ipv6 = match (on.value, table.kind) {
            (Key::Source, TableKind::Ipv4) => false,
            (Key::Source, TableKind::Ipv6) | (Key::TlsSession, _) => true,
            (Key::Source, TableKind::Other) => {
                self.findings.error(table.at, "a table that keeps addresses has `type ip` or `type ipv6`");
                return None;
            }
        };
        let expire = match table.expire.filter(|expire| !expire.value.is_zero()) {
            Some(expire) => expire.map(Timeout::After),
            None => Located::new(Timeout::None, table.at),
        };
        let table = Table {
            size: table.size,
            expire: Some(expire),
            nopurge: table.nopurge,
            ipv6: Some(Located::new(ipv6, table.at)),
        };
        Some(Located::new(Affinity::Table(table), on.at))
    }
}
