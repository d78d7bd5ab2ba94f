//! `[[service]]` and `[[pool]]`.

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Fields, Value};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{Affinity, Listen, Located, Maybe, Pool, Server, Service, Table, TlsAffinity};

use crate::config::{syntax, words};
use crate::model::{KeyType, ServerPort};

/// An affinity that says no more than its kind.
#[derive(Clone, Copy)]
enum AffinityWord {
    None,
    Source,
    Tls,
}

impl Decoder<'_> {
    /// A service, and the pool that is written inside it.
    pub(super) fn service(&mut self, value: Value<'_>, key: &str) -> Option<(Service, Option<Pool>)> {
        let fields = self.table(value, key, &[&keys::SERVICE, &keys::POOL])?;
        self.require(fields, &keys::SERVICE, &["name"], "give it a name of your own: name = \"sftp\"");
        self.require(fields, &keys::SERVICE, &["listen"], "say where clients connect: listen = \"192.0.2.100:22\"");
        let mut service = Service {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            listen: self.list(fields, "listen", Self::listen),
            pool: self.field(fields, "pool", Self::string),
            max_connections: self.field(fields, "max-connections", Self::number),
            client_timeout: self.field(fields, "client-timeout", Self::timeout),
            client_fin_timeout: self.field(fields, "client-fin-timeout", Self::timeout),
            client_keepalive: self.field(fields, "client-keepalive", Self::keepalive),
            client_linger: self.field(fields, "client-linger", Self::boolean),
            backlog: self.field(fields, "backlog", Self::number),
            log: self.field(fields, "log", Self::boolean),
            log_line: self.field(fields, "log-line", Self::connection_line),
            log_targets: self.list(fields, "log-targets", Self::log_target),
            log_empty: self.field(fields, "log-empty", Self::boolean),
            log_normal: self.field(fields, "log-normal", Self::boolean),
            log_errors_as: self
                .field(fields, "log-errors-as", |this, value, key| this.word(value, key, words::SEVERITIES)),
            log_early: self.field(fields, "log-early", Self::boolean),
            log_tag: self.field(fields, "log-tag", Self::string),
            policy: self.policy(fields),
        };
        let inside = keys::POOL
            .keys
            .iter()
            .filter(|key| **key != "name")
            .find_map(|key| fields.table.get_key_value(*key).map(|(key, _)| self.at(key.span())));
        let pool = match (fields.table.contains_key("pool"), inside) {
            (true, Some(at)) => {
                let error = Diagnostic::error(at, "a service names a pool or contains its keys, not both");
                self.diagnostics.push(error.help("move this key to the [[pool]], or remove `pool`"));
                None
            }
            (true, None) => None,
            (false, Some(_)) => {
                self.require(fields, &keys::SERVICE, &["servers"], SERVERS_REMEDY);
                service.pool.clone_from(&service.name);
                Some(self.pool_fields(fields, service.name.clone()))
            }
            (false, None) => {
                // Routes and rules may say it for some clients, and there is none for the others.
                if service.policy.routes.is_empty() && service.policy.rules.is_empty() {
                    self.require(fields, &keys::SERVICE, &["pool"], "name a [[pool]], or write its `servers` here");
                }
                None
            }
        };
        Some((service, pool))
    }

    pub(super) fn pool(&mut self, value: Value<'_>, key: &str) -> Option<Pool> {
        let fields = self.table(value, key, &[&keys::POOL])?;
        self.require(fields, &keys::POOL, &["name"], "give it the name that services use: name = \"files\"");
        self.require(fields, &keys::POOL, &["servers"], SERVERS_REMEDY);
        let name = self.field(fields, "name", Self::string);
        Some(self.pool_fields(fields, name))
    }

    fn pool_fields(&mut self, fields: Fields<'_>, name: Maybe<String>) -> Pool {
        Pool {
            at: fields.at,
            name,
            balance: self.field(fields, "balance", Self::balance),
            affinity: self.field(fields, "affinity", Self::affinity),
            retries: self.field(fields, "retries", Self::number),
            redispatch: self.field(fields, "redispatch", Self::boolean),
            connect_timeout: self.field(fields, "connect-timeout", Self::timeout),
            server_timeout: self.field(fields, "server-timeout", Self::timeout),
            server_fin_timeout: self.field(fields, "server-fin-timeout", Self::timeout),
            tunnel_timeout: self.field(fields, "tunnel-timeout", Self::timeout),
            server_keepalive: self.field(fields, "server-keepalive", Self::keepalive),
            server_linger: self.field(fields, "server-linger", Self::boolean),
            all_backups: self.field(fields, "all-backups", Self::boolean),
            check: self.field(fields, "check", Self::check),
            agent: self.field(fields, "agent", Self::agent),
            on_marked_down: self
                .field(fields, "on-marked-down", |this, value, key| this.word(value, key, words::MARKED_DOWN)),
            choice: self.pool_choice(fields),
            servers: self.list(fields, "servers", Self::server),
        }
    }

    pub(super) fn listen(&mut self, value: Value<'_>, key: &str) -> Option<Listen> {
        if !matches!(value.value, DeValue::Table(_)) {
            let (host, ports) = self.parsed(value, key, syntax::listen)?;
            let (host, ports) = (Located::new(host, value.at), Located::new(ports, value.at));
            return Some(Listen::new(host, ports));
        }
        let fields = self.table(value, key, &[&keys::LISTEN])?;
        self.require(fields, &keys::LISTEN, &["address"], "add address = \"192.0.2.100:22\"");
        let address = self.field(fields, "address", |this, value, key| this.parsed(value, key, syntax::listen));
        let interface = self.field(fields, "interface", Self::interface);
        let nonlocal = self.field(fields, "nonlocal", Self::boolean);
        let dual_stack = self.field(fields, "dual-stack", Self::boolean);
        let proxy_from =
            self.list(fields, "proxy-from", |this, value, key| Some(Located::new(this.prefix(value, key)?, value.at)));
        let tuning = self.listen_tuning(fields);
        let inherited = self.field(fields, "inherited", |this, value, key| {
            this.parsed(value, key, |text| text.strip_prefix("fd@").unwrap_or(text).parse())
        });
        let Located { value: (host, ports), at } = address?;
        let (host, ports) = (Located::new(host, at), Located::new(ports, at));
        Some(Listen { host, ports, interface, nonlocal, dual_stack, proxy_from, tuning, inherited })
    }

    fn affinity(&mut self, value: Value<'_>, key: &str) -> Option<Affinity> {
        if !matches!(value.value, DeValue::Table(_)) {
            let words = [("none", AffinityWord::None), ("source", AffinityWord::Source), ("tls", AffinityWord::Tls)];
            return self.word(value, key, &words).map(|word| match word {
                AffinityWord::None => Affinity::None,
                AffinityWord::Source => Affinity::Source,
                AffinityWord::Tls => Affinity::Tls(Box::default()),
            });
        }
        let fields = self.table(value, key, &[&keys::TABLE])?;
        self.require(fields, &keys::TABLE, &["table"], "say what it is keyed by: table = \"source\"");
        let kinds = [("source", false), ("tls", true)];
        let tls = self.field(fields, "table", |this, value, key| this.word(value, key, &kinds))?.value;
        let table = Box::new(Table {
            size: self.field(fields, "size", Self::number),
            expire: self.field(fields, "expire", Self::timeout),
            nopurge: self.field(fields, "nopurge", Self::boolean),
            kind: self.key_type(fields),
            name: self.field(fields, "name", Self::string),
            peers: self.field(fields, "peers", Self::string),
            stick: self.list(fields, "stick", Self::stick_rule),
        });
        let wait = self.field(fields, "wait", Self::duration);
        let fallback = self.field(fields, "fallback", |this, value, key| this.word(value, key, words::TLS_FALLBACK));
        if tls {
            let of_sources = [table.name.as_ref().map(|name| name.at), table.peers.as_ref().map(|peers| peers.at)];
            for at in of_sources.into_iter().flatten().chain(table.stick.iter().map(|rule| rule.at)) {
                let error = Diagnostic::error(at, "what is learnt about TLS sessions is the pool's own");
                self.diagnostics.push(error.help("write table = \"source\", or remove this"));
            }
            return Some(Affinity::Tls(Box::new(TlsAffinity { wait, fallback, table: *table })));
        }
        for at in [wait.map(|wait| wait.at), fallback.map(|fallback| fallback.at)].into_iter().flatten() {
            let error = Diagnostic::error(at, "a table of sources waits for no TLS session");
            self.diagnostics.push(error.help("write table = \"tls\", or remove this"));
        }
        Some(Affinity::Table(table))
    }

    /// `type`, or `ipv6` for whether IPv6 clients are kept.
    fn key_type(&mut self, fields: Fields<'_>) -> Maybe<KeyType> {
        let kind = self.field(fields, "type", |this, value, key| this.parsed(value, key, syntax::key_type));
        let ipv6 = self.field(fields, "ipv6", Self::boolean);
        let family = |ipv6: bool| if ipv6 { KeyType::Ipv6 } else { KeyType::Ipv4 };
        kind.or(ipv6.map(|ipv6| ipv6.map(family)))
    }

    fn server(&mut self, value: Value<'_>, key: &str) -> Option<Server> {
        if !matches!(value.value, DeValue::Table(_)) {
            let (host, port) = self.parsed(value, key, syntax::server)?;
            let port = port.map(|port| Located::new(port, value.at));
            return Some(Server { port, ..Server::new(value.at, Located::new(host, value.at)) });
        }
        let fields = self.table(value, key, &[&keys::SERVER])?;
        self.require(fields, &keys::SERVER, &["address", "srv"], "add address = \"10.0.0.11\"");
        let mut naming = self.server_naming(fields);
        let address = match self.service_name(fields, &mut naming) {
            None => self.field(fields, "address", |this, value, key| this.parsed(value, key, syntax::server)),
            service => service,
        };
        let port = self.field(fields, "port", Self::server_port);
        let name = self.field(fields, "name", Self::string);
        let weight = self.field(fields, "weight", Self::number);
        let backup = self.field(fields, "backup", Self::boolean);
        let disabled = self.field(fields, "disabled", Self::boolean);
        let max_connections = self.field(fields, "max-connections", Self::number);
        let check = self.field(fields, "check", Self::check);
        let agent = self.field(fields, "agent", Self::agent);
        let on_marked_down =
            self.field(fields, "on-marked-down", |this, value, key| this.word(value, key, words::MARKED_DOWN));
        let send_proxy =
            self.field(fields, "send-proxy", |this, value, key| this.word(value, key, words::PROXY_VERSIONS));
        let source = self.field(fields, "source", Self::source);
        let user_timeout = self.field(fields, "user-timeout", Self::duration);
        let fast_open = self.field(fields, "fast-open", Self::boolean);
        let choice = self.server_choice(fields);
        let Located { value: (host, in_address), at } = address?;
        Some(Server {
            at: value.at,
            name,
            host: Located::new(host, at),
            port: self.one_port(in_address.map(|port| Located::new(port, at)), port),
            weight,
            backup,
            disabled,
            max_connections,
            check,
            agent,
            on_marked_down,
            send_proxy,
            source,
            user_timeout,
            fast_open,
            choice,
            naming,
        })
    }

    /// A number, or a text that is a number or an offset. TOML reads a bare `+1000` as the number 1000, which is
    /// not what was meant.
    fn server_port(&mut self, value: Value<'_>, key: &str) -> Option<ServerPort> {
        match value.value {
            DeValue::Integer(integer) if integer.as_str().starts_with(['+', '-']) => {
                let error = Diagnostic::error(value.at, "an offset to the client's port must be in quotes");
                self.diagnostics.push(error.help(format!("write {key} = \"{}\"", integer.as_str())));
                None
            }
            DeValue::Integer(_) => {
                let number = self.number(value, key)?;
                match syntax::server_port(&number.to_string()) {
                    Ok(port) => Some(port),
                    Err(invalid) => {
                        self.error(value.at, invalid.0);
                        None
                    }
                }
            }
            _ => self.parsed(value, key, syntax::server_port),
        }
    }

    fn one_port(&mut self, in_address: Maybe<ServerPort>, own: Maybe<ServerPort>) -> Maybe<ServerPort> {
        if let (Some(first), Some(second)) = (&in_address, &own) {
            let error = Diagnostic::error(second.at, "the server's port is given twice");
            self.diagnostics.push(error.related(first.at, "also here").help("keep one of the two"));
        }
        own.or(in_address)
    }
}

const SERVERS_REMEDY: &str = "say who serves: servers = [\"10.0.0.11:22\", \"10.0.0.12:22\"]";
