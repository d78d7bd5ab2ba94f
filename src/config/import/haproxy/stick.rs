//! `stick-table` and `stick on`.

use std::time::Duration;

use super::proxy::{Kind, Proxy};
use super::{Translator, value};
use crate::config::acl;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::Statement;
use crate::config::import::keywords;
use crate::config::raw::{Affinity, Located, Maybe, SourceTable, Table, Timeout, TlsAffinity};
use crate::config::source::Location;
use crate::config::syntax;
use crate::model::{KeyType, StickAction, StickRule};

/// The published way of keeping TLS sessions on their server: the session id of the hello.
const TLS_SESSION_ID: &str = "payload_lv(43,1)";

/// `stick-table` and `stick on` of one proxy.
#[derive(Debug, Clone, Default)]
pub(super) struct StickSaid {
    table: Option<StickTable>,
    on: Maybe<Key>,
    rules: Vec<Located<StickRule>>,
    /// The table that it is in, where that is not its own.
    elsewhere: Maybe<String>,
    /// A rule was refused, which has been told.
    refused: bool,
}

impl StickSaid {
    /// Whether it is the published way of keeping TLS sessions.
    pub(super) fn is_tls(&self) -> bool {
        self.on.is_some_and(|on| on.value == Key::TlsSession)
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.is_some()
    }
}

#[derive(Debug, Clone)]
pub(super) struct StickTable {
    at: Location,
    kind: KeyType,
    peers: Maybe<String>,
    size: Maybe<u64>,
    expire: Maybe<Duration>,
    nopurge: Maybe<bool>,
    stores: Stores,
}

impl StickTable {
    /// The same table as one of a section `peers`.
    pub(super) fn shared_by(self, group: &Word) -> Self {
        Self { peers: Some(Located::new(group.text.clone(), group.at)), ..self }
    }
}

/// The counters of a table.
#[derive(Debug, Clone, Copy, Default)]
struct Stores {
    any: bool,
    connection_period: Maybe<Duration>,
    gpc0_period: Maybe<Duration>,
    gpc1_period: Maybe<Duration>,
    session_period: Maybe<Duration>,
    bytes_in_period: Maybe<Duration>,
    bytes_out_period: Maybe<Duration>,
}

/// What entries are kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Rules,
    TlsSession,
}

impl Translator<'_> {
    /// `stick-table type {ip | ipv6 | ..} size <size> [expire <expire>] [nopurge] ...`
    pub(super) fn stick_table(&mut self, statement: &Statement, arguments: &[Word], said: &mut StickSaid) {
        said.table = self.table_said(statement, arguments).or(said.table.take());
    }

    /// `type {ip | ipv6 | ..} size <size> ...`
    pub(super) fn table_said(&mut self, statement: &Statement, arguments: &[Word]) -> Option<StickTable> {
        let mut table = StickTable {
            at: statement.at(),
            kind: KeyType::Ipv4,
            peers: None,
            size: None,
            expire: None,
            nopurge: None,
            stores: Stores::default(),
        };
        let mut typed = false;
        let mut words = arguments.iter().peekable();
        while let Some(word) = words.next() {
            let Some(keyword) = keywords::haproxy().get("stick-table", word.as_str()) else {
                self.unknown("stick-table", &[word.as_str()], word.at);
                return None;
            };
            let value = if keyword.places == "+" { words.next() } else { None };
            if keyword.places == "+" && value.is_none() {
                self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                return None;
            }
            if !self.tell(keyword, word.at) {
                continue;
            }
            match (keyword.name, value) {
                ("type", Some(value)) => {
                    typed = true;
                    let length = words.next_if(|word| word.text == "len").and_then(|_| words.next());
                    let text = length.map_or(value.text.clone(), |length| format!("{} {}", value.text, length.text));
                    match syntax::key_type(&text) {
                        Ok(kind) => table.kind = kind,
                        Err(reason) => {
                            self.findings.error(length.unwrap_or(value).at, reason.to_string());
                            return None;
                        }
                    }
                }
                ("size", Some(value)) => table.size = self.checked(value, value::size(value.as_str())),
                ("expire", Some(value)) => table.expire = self.checked(value, value::time(value.as_str())),
                ("store", Some(value)) => self.stores(value, &mut table),
                ("peers", Some(value)) => table.peers = Some(Located::new(value.text.clone(), value.at)),
                ("nopurge", _) => table.nopurge = Some(Located::new(true, word.at)),
                _ => {}
            }
        }
        let sized = arguments.iter().any(|word| word.text == "size");
        if !typed || !sized {
            self.findings.error(statement.at(), "a stick table wants `type` and `size`, as in `type ip size 10k`");
        }
        Some(table)
    }

    /// `stick on <pattern> [table <table>] [{if | unless} <condition>]`, and `stick match` and `stick store-request` alike.
    pub(super) fn stick(&mut self, action: StickAction, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        if arguments.first().is_some_and(|pattern| pattern.text == TLS_SESSION_ID) {
            return self.stick_on_sessions(statement, arguments, proxy);
        }
        let mut words = arguments.to_vec();
        if let Some(place) = words.iter().position(|word| word.text == "table")
            && let Some(name) = words.get(place + 1).cloned()
        {
            words.drain(place..place + 2);
            let other = proxy.stick.elsewhere.as_ref().is_some_and(|known| known.value != name.text);
            let own = proxy.stick.elsewhere.is_none() && !proxy.stick.rules.is_empty();
            if other || own && name.text != proxy.name {
                self.findings.error(name.at, "the stick rules of one proxy use one table: more are not there yet");
            }
            if name.text != proxy.name {
                proxy.stick.elsewhere = Some(Located::new(name.text, name.at));
            }
        }
        if proxy.stick.on.is_some_and(|on| on.value == Key::TlsSession) {
            self.findings.error(statement.at(), "beside TLS sessions, clients cannot be known by anything else yet");
        }
        match self.in_scope(proxy, |scope| acl::stick(action, &words, statement.at(), scope)) {
            Ok(rule) => {
                proxy.stick.on.get_or_insert(Located::new(Key::Rules, statement.at()));
                proxy.stick.rules.push(Located::new(rule, statement.at()));
            }
            Err(fault) => {
                proxy.stick.refused = true;
                self.fault(fault);
            }
        }
    }

    /// The published way of keeping TLS sessions.
    fn stick_on_sessions(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        // The idiom's condition only says that a hello has been seen.
        if let [_, table, name, ..] = arguments
            && table.text == "table"
            && name.text != proxy.name
        {
            self.findings.error(name.at, "a table of another proxy cannot be used: `stick on` has its own");
        }
        if proxy.stick.on.is_some() {
            self.findings.error(statement.at(), "beside TLS sessions, clients cannot be known by anything else yet");
        }
        self.findings.push(
            Diagnostic::info(statement.at(), "done as affinity by TLS sessions: ids, and tickets of TLS 1.2 and 1.3").help(
                "as written, it would learn nothing from servers, and make an entry that nobody finds again of each connection of TLS 1.3",
            ),
        );
        proxy.stick.on.get_or_insert(Located::new(Key::TlsSession, statement.at()));
    }

    /// `stick store-response <pattern> [table <table>] [{if | unless} <condition>]`. The half of the TLS idiom is told with the
    /// other.
    pub(super) fn stick_store_response(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        if arguments.first().is_some_and(|pattern| pattern.text != TLS_SESSION_ID) {
            self.stick(StickAction::StoreAnswer, statement, arguments, proxy);
        }
    }

    /// The counters that a table keeps: `conn_rate(10s),conn_cur,gpc0`.
    fn stores(&mut self, word: &Word, table: &mut StickTable) {
        for kind in word.text.split(',') {
            let (name, period) = match kind.strip_suffix(')').and_then(|kind| kind.split_once('(')) {
                Some((name, period)) => (name, Some(period)),
                None => (kind, None),
            };
            let period_of = match name {
                "conn_rate" => &mut table.stores.connection_period,
                "gpc0_rate" => &mut table.stores.gpc0_period,
                "gpc1_rate" => &mut table.stores.gpc1_period,
                "sess_rate" => &mut table.stores.session_period,
                "bytes_in_rate" => &mut table.stores.bytes_in_period,
                "bytes_out_rate" => &mut table.stores.bytes_out_period,
                "sess_cnt" | "bytes_in_cnt" | "bytes_out_cnt" if period.is_none() => {
                    let kept = match name {
                        "sess_cnt" => &mut table.stores.session_period,
                        "bytes_in_cnt" => &mut table.stores.bytes_in_period,
                        _ => &mut table.stores.bytes_out_period,
                    };
                    // Rates are counted beside, over any time.
                    kept.get_or_insert(Located::new(Duration::from_secs(1), word.at));
                    table.stores.any = true;
                    continue;
                }
                "conn_cnt" | "conn_cur" | "gpc0" | "gpc1" if period.is_none() => {
                    table.stores.any = true;
                    continue;
                }
                other => {
                    // Rules that ask for it are refused by its name.
                    let warning = Diagnostic::warning(word.at, format!("`{other}` is not kept in tables yet"));
                    self.findings.push(warning.help("conn_cnt, conn_cur, conn_rate, sess_cnt, bytes_in_cnt, bytes_out_cnt, gpc0, gpc1 and their rates are"));
                    continue;
                }
            };
            table.stores.any = true;
            match period.map(value::time) {
                Some(Ok(period)) if !period.is_zero() => *period_of = Some(Located::new(period, word.at)),
                _ => {
                    self.findings.error(word.at, format!("`{name}` wants the time it counts over, as in `{name}(10s)`"))
                }
            }
        }
    }

    /// Every table by its name: its proxy's, or that of a section `peers` and its own.
    pub(super) fn gather_tables(&mut self, proxies: &[Proxy]) {
        let tables = proxies.iter().filter_map(|proxy| Some((proxy.name.clone(), proxy.stick.table.clone()?)));
        self.tables.extend(tables);
    }

    /// The tables that rules count in.
    pub(super) fn source_tables(&mut self, proxies: &[Proxy]) {
        let named: Vec<(&String, Location)> = proxies
            .iter()
            .filter(|proxy| !proxy.disabled && proxy.kind != Kind::Defaults)
            .flat_map(|proxy| proxy.rules.tables())
            .collect();
        for proxy in proxies {
            let Some((_, at)) = named.iter().find(|(name, _)| **name == proxy.name) else { continue };
            let Some(table) = &proxy.stick.table else { continue };
            let ipv6_bits = match table.kind {
                KeyType::Ipv4 => 0,
                KeyType::Ipv6 => 128,
                KeyType::Integer | KeyType::Text(_) | KeyType::Binary(_) => {
                    let error = Diagnostic::error(table.at, "a table that counts sources has `type ip` or `type ipv6`");
                    self.push_once(error.related(*at, "it is named here"));
                    continue;
                }
            };
            let no_expiry = Located::new(Timeout::None, table.at);
            self.config.source_tables.push(SourceTable {
                at: table.at,
                name: Some(Located::new(proxy.name.clone(), proxy.at)),
                size: table.size,
                expire: Some(
                    table
                        .expire
                        .filter(|time| !time.value.is_zero())
                        .map_or(no_expiry, |time| time.map(Timeout::After)),
                ),
                nopurge: table.nopurge,
                ipv6_bits: Some(Located::new(ipv6_bits, table.at)),
                connection_period: table.stores.connection_period,
                gpc0_period: table.stores.gpc0_period,
                gpc1_period: table.stores.gpc1_period,
                session_period: table.stores.session_period,
                bytes_in_period: table.stores.bytes_in_period,
                bytes_out_period: table.stores.bytes_out_period,
            });
        }
    }

    /// The affinity of a pool; none when it has none.
    pub(super) fn affinity(&mut self, proxy: &Proxy) -> Maybe<Affinity> {
        let said = &proxy.stick;
        let elsewhere = said.elsewhere.as_ref().map(|name| (name, self.tables.get(&name.value).cloned()));
        if let Some((name, None)) = &elsewhere {
            self.findings.error(name.at, format!("there is no table `{}`", name.value));
            return None;
        }
        let named = elsewhere.and_then(|(name, table)| Some((name.clone(), table?)));
        let (name, table) = match named {
            Some((name, table)) => (Some(name), Some(table)),
            None => (None, said.table.clone()),
        };
        let (on, table) = match (said.on, &table) {
            (None, None) => return None,
            (None, Some(table)) if table.stores.any || said.refused => return None,
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
        let kind = match (on.value, table.kind) {
            (Key::Rules, kind) => kind,
            (Key::TlsSession, _) => KeyType::Ipv6,
        };
        let expire = match table.expire.filter(|expire| !expire.value.is_zero()) {
            Some(expire) => expire.map(Timeout::After),
            None => Located::new(Timeout::None, table.at),
        };
        let table = Table {
            size: table.size,
            expire: Some(expire),
            nopurge: table.nopurge,
            kind: Some(Located::new(kind, table.at)),
            name,
            // What is known by TLS sessions there is known by addresses here.
            peers: table.peers.clone().filter(|_| on.value == Key::Rules),
            stick: said.rules.clone(),
        };
        Some(on.map(|key| match key {
            Key::Rules => Affinity::Table(Box::new(table)),
            Key::TlsSession => {
                // A table of addresses too, which may be of either family.
                let wait = proxy.rules.inspect_delay.filter(|delay| !delay.value.is_zero());
                let table = Table { kind: None, name: None, stick: Vec::new(), ..table };
                Affinity::Tls(Box::new(TlsAffinity { wait, fallback: None, table }))
            }
        }))
    }
}
