//! `server` and `default-server` lines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::check_rules::protocols;
use super::proxy::{Proxy, Timeouts};
use super::resolvers::NamesSaid;
use super::{Translator, endpoint, value};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::Statement;
use crate::config::import::keywords;
use crate::config::raw::{
    Agent, AgentOptions, Check, CheckOptions, Host, Located, Maybe, Protocol, ProxyHeader, Server, ServerChoice,
    Source, StepAction, TlsChoice, TlsOptions,
};
use crate::config::source::Location;
use crate::model::{OnError, OnMarkedDown, OnMarkedUp, ProxyVersion, ServerPort};

/// HAProxy's `inter` when nothing is said.
const DEFAULT_INTER: Duration = Duration::from_secs(2);

/// HAProxy's `error-limit` when nothing is said.
const DEFAULT_ERROR_LIMIT: u64 = 10;

/// The options of a server, each as the last word about it.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerOptions {
    weight: Maybe<u64>,
    backup: Maybe<bool>,
    disabled: Maybe<bool>,
    max_connections: Maybe<u64>,
    on_marked_down: Maybe<OnMarkedDown>,
    on_marked_up: Maybe<OnMarkedUp>,
    pub(super) id: Maybe<u64>,
    max_queue: Maybe<u64>,
    min_connections: Maybe<u64>,
    slow_start: Maybe<Duration>,
    non_stick: Maybe<bool>,
    track: Maybe<String>,
    observe: Maybe<bool>,
    error_limit: Maybe<u64>,
    on_error: Maybe<OnError>,
    pub(super) check: Maybe<bool>,
    check_port: Maybe<u64>,
    check_address: Maybe<Host>,
    inter: Maybe<Duration>,
    fastinter: Maybe<Duration>,
    downinter: Maybe<Duration>,
    rise: Maybe<u64>,
    fall: Maybe<u64>,
    check_tls: Maybe<bool>,
    check_sni: Maybe<String>,
    check_alpn: Maybe<Vec<String>>,
    verify: Maybe<bool>,
    verify_host: Maybe<String>,
    ca_file: Maybe<PathBuf>,
    check_send_proxy: Maybe<bool>,
    agent: Maybe<bool>,
    agent_options: AgentOptions,
    send_proxy: Maybe<ProxyVersion>,
    source: Maybe<Source>,
    user_timeout: Maybe<Duration>,
    fast_open: Maybe<bool>,
    names: NamesSaid,
}

/// What the proxy says about the checks of its servers.
pub(super) struct Around<'p> {
    pub(super) timeouts: &'p Timeouts,
    pub(super) source: &'p Maybe<Source>,
    pub(super) protocol: Maybe<Protocol>,
    pub(super) disable_on_404: Maybe<bool>,
    /// Whether a server's certificate is verified where nothing is said.
    pub(super) verify: bool,
}

/// A server line; its options include what `default-server` had said above it.
#[derive(Debug, Clone)]
pub(super) struct ServerSaid {
    at: Location,
    name: Located<String>,
    host: Located<Host>,
    port: Maybe<ServerPort>,
    /// Its name is that of an SRV record.
    service: bool,
    /// Where the kernel takes connections to no address, of the family that is written.
    here: IpAddr,
    pub(super) options: ServerOptions,
}

impl ServerSaid {
    pub(super) fn new(
        at: Location,
        name: Located<String>,
        address: &Word,
        endpoint: Located<(Host, Option<ServerPort>)>,
        options: ServerOptions,
    ) -> Self {
        let Located { value: (host, port), at: written } = endpoint;
        let service = address.text.starts_with('_');
        let port = port.filter(|_| !service).map(|port| Located::new(port, written));
        let six = address.text.contains("::") || address.text.starts_with("ipv6@");
        let here = if six { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        Self { at, name, host: Located::new(host, written), port, service, here, options }
    }

    /// The resolvers of a server that has an address, and so never asks them.
    pub(super) fn idle_resolvers(&self) -> Option<&Located<String>> {
        self.options.names.resolvers().filter(|_| matches!(self.host.value, Host::Address(_) | Host::Destination))
    }

    /// A server that is checked over TLS, and it is not said whom to trust.
    pub(super) fn trusts_anybody(&self) -> Maybe<bool> {
        let options = &self.options;
        let tls = options.check_tls.filter(|tls| tls.value && options.check.is_some_and(|check| check.value));
        tls.filter(|_| options.verify.is_none() && options.ca_file.is_none())
    }

    /// As the raw server.
    pub(super) fn raw(&self, around: &Around<'_>) -> Server {
        let options = &self.options;
        Server {
            name: Some(self.name.clone()),
            port: self.port,
            weight: options.weight,
            backup: options.backup,
            disabled: options.disabled,
            max_connections: options.max_connections,
            check: options.check.map(|check| Located::new(self.check(check.value, around), check.at)),
            agent: options.agent.map(|agent| Located::new(self.agent(agent.value, around.timeouts), agent.at)),
            on_marked_down: options.on_marked_down,
            send_proxy: options.send_proxy,
            source: options.source.clone().or_else(|| around.source.clone()),
            user_timeout: options.user_timeout,
            fast_open: options.fast_open,
            choice: ServerChoice {
                max_queue: options.max_queue,
                min_connections: options.min_connections,
                slow_start: options.slow_start,
                non_stick: options.non_stick,
                track: options.track.clone(),
                error_limit: options
                    .observe
                    .filter(|observe| observe.value)
                    .map(|observe| options.error_limit.unwrap_or(Located::new(DEFAULT_ERROR_LIMIT, observe.at))),
                on_error: options.on_error,
                on_marked_up: options.on_marked_up,
            },
            naming: options.names.raw(&self.host, self.service),
            ..Server::new(self.at, self.host.clone())
        }
    }

    /// HAProxy: `fastinter` and `downinter` are `inter` unless said otherwise. A check may take `inter`, or with
    /// `timeout check` at most the lesser of `timeout connect` and `inter` to connect, and then as long as that says.
    fn check(&self, on: bool, around: &Around<'_>) -> Check {
        if !on {
            return Check::Off;
        }
        let options = &self.options;
        let timeouts = around.timeouts;
        let inter = options.inter.unwrap_or(Located::new(DEFAULT_INTER, self.at));
        let timeout = match (timeouts.check, timeouts.connect) {
            (Some(_), Some(connect)) if connect.value < inter.value => connect,
            (Some(_) | None, Some(_) | None) => inter,
        };
        // What clients' connections begin with, checks do too, unless they go elsewhere.
        let elsewhere = options.check_port.is_some() || options.check_address.is_some();
        let asked = options.check_send_proxy.filter(|on| on.value).map(|on| on.at);
        let served = options.send_proxy.filter(|_| !elsewhere).map(|version| version.at);
        let version = options.send_proxy.map_or(ProxyVersion::V1, |version| version.value);
        let header = asked.or(served).map(|at| Located::new(ProxyHeader::On(version), at));
        Check::On(Box::new(CheckOptions {
            port: options.check_port,
            address: options.check_address.clone().or_else(|| self.loopback()),
            interval: Some(inter),
            fast_interval: Some(options.fastinter.unwrap_or(inter)),
            down_interval: Some(options.downinter.unwrap_or(inter)),
            timeout: Some(timeout),
            response_timeout: timeouts.check,
            rise: options.rise,
            fall: options.fall,
            proxy_header: header,
            tls: options.check_tls.map(|tls| tls.map(|on| self.tls(on, around))),
            disable_on_404: around.disable_on_404,
            protocol: around.protocol.as_ref().map(|protocol| self.with_server_tls(protocol, around)),
        }))
    }

    /// A `connect ssl` of a rule verifies as the server line says.
    fn with_server_tls(&self, protocol: &Located<Protocol>, around: &Around<'_>) -> Located<Protocol> {
        let mut protocol = protocol.clone();
        if let Protocol::Steps(steps) = &mut protocol.value {
            for step in steps {
                if let StepAction::Connect(connect) = &mut step.action
                    && let Some(Located { value: TlsChoice::On(tls), .. }) = &mut connect.tls
                {
                    self.trust(tls, around);
                }
            }
        }
        protocol
    }

    fn tls(&self, on: bool, around: &Around<'_>) -> TlsChoice {
        if !on {
            return TlsChoice::Off;
        }
        let options = &self.options;
        let mut tls = TlsOptions {
            name: options.check_sni.clone(),
            alpn: options.check_alpn.as_ref().map(|alpn| alpn.value.clone()).unwrap_or_default(),
            ..TlsOptions::default()
        };
        self.trust(&mut tls, around);
        TlsChoice::On(Box::new(tls))
    }

    fn trust(&self, tls: &mut TlsOptions, around: &Around<'_>) {
        let options = &self.options;
        tls.verify = Some(options.verify.unwrap_or(Located::new(around.verify, self.at)));
        tls.verify_name.clone_from(&options.verify_host);
        tls.ca_file = options.ca_file.clone().filter(|file| file.value.as_os_str() != "@system-ca");
    }

    fn agent(&self, on: bool, timeouts: &Timeouts) -> Agent {
        if !on {
            return Agent::Off;
        }
        let options = self.options.agent_options.clone();
        let address = options.address.or_else(|| self.loopback());
        Agent::On(Box::new(AgentOptions { address, timeout: options.timeout.or(timeouts.check), ..options }))
    }

    /// Where a server that is wherever clients connect to is asked about its health: HAProxy connects to no address then, and
    /// so to this node.
    fn loopback(&self) -> Maybe<Host> {
        (self.host.value == Host::Destination).then(|| Located::new(Host::Address(self.here), self.host.at))
    }

    /// Whether something asks for its health at another place than it may be at.
    fn is_asked_here(&self) -> bool {
        let options = &self.options;
        let on = |asked: &Maybe<bool>| asked.is_some_and(|asked| asked.value);
        let checked = on(&options.check) && options.check_address.is_none();
        let agent = on(&options.agent) && options.agent_options.address.is_none();
        self.host.value == Host::Destination && (checked || agent)
    }
}

impl Translator<'_> {
    /// `server <name> <address>[:[port]] [param*]`
    pub(super) fn server(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let [name, address, words @ ..] = arguments else {
            self.findings.error(statement.at(), "`server` wants a name and an address, such as `s1 10.0.0.1:80`");
            return;
        };
        self.name(name);
        let endpoint = self.checked(address, endpoint(address.as_str()));
        let mut options = proxy.default_server.clone();
        self.server_options(words, &mut options);
        let Some(endpoint) = endpoint else { return };
        let name = Located::new(name.text.clone(), name.at);
        self.add_server(ServerSaid::new(statement.at(), name, address, endpoint, options), proxy);
    }

    pub(super) fn add_server(&mut self, server: ServerSaid, proxy: &mut Proxy) {
        if server.is_asked_here() {
            let here = server.here;
            let message = format!("this server is wherever clients connect to, but asked about its health at {here}");
            let help = "as in HAProxy; write `addr`, or `agent-addr`, and the address that is to be asked";
            self.push_once(Diagnostic::warning(server.host.at, message).help(help));
        }
        proxy.servers.push(server);
    }

    pub(super) fn server_options(&mut self, words: &[Word], options: &mut ServerOptions) {
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(keyword) = keywords::haproxy().get("server", word.as_str()) else {
                self.unknown("server", &[word.as_str()], word.at);
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
            match value {
                Some(value) if keyword.name == "source" => options.source = self.source(value, &mut words),
                Some(value) => self.server_value(keyword.name, value, options),
                None => switch(keyword.name, word.at, options),
            }
        }
    }

    fn server_value(&mut self, name: &str, word: &Word, options: &mut ServerOptions) {
        const ANY: std::ops::RangeInclusive<u64> = 1..=u32::MAX as u64;
        let text = word.as_str();
        match name {
            "weight" => options.weight = self.checked(word, value::number(text, 0..=256)),
            "port" => options.check_port = self.checked(word, value::number(text, 1..=65_535)),
            "rise" => options.rise = self.checked(word, value::number(text, ANY)),
            "fall" => options.fall = self.checked(word, value::number(text, ANY)),
            // 0 is no limit, as in HAProxy.
            "maxconn" => {
                let limit = self.checked(word, value::number(text, 0..=u64::from(u32::MAX)));
                options.max_connections = limit.filter(|limit| limit.value > 0);
            }
            "check-sni" => options.check_sni = Some(Located::new(word.text.clone(), word.at)),
            "check-alpn" => options.check_alpn = Some(Located::new(protocols(word), word.at)),
            "verifyhost" => options.verify_host = Some(Located::new(word.text.clone(), word.at)),
            "ca-file" => options.ca_file = Some(Located::new(PathBuf::from(text), word.at)),
            "verify" => {
                let verify = match text {
                    "none" => Ok(false),
                    "required" => Ok(true),
                    other => Err(format!("`{other}` cannot stand here: none or required")),
                };
                options.verify = self.checked(word, verify);
            }
            "agent-port" => options.agent_options.port = self.checked(word, value::number(text, 1..=65_535)),
            "agent-inter" => options.agent_options.interval = self.interval(word),
            "agent-send" => options.agent_options.send = Some(Located::new(word.text.clone(), word.at)),
            "agent-addr" => {
                let host = endpoint::family(text).and_then(|(family, host)| endpoint::host(host, family));
                options.agent_options.address = self.checked(word, host);
            }
            "inter" => options.inter = self.interval(word),
            "fastinter" => options.fastinter = self.interval(word),
            "downinter" => options.downinter = self.interval(word),
            "tcp-ut" => {
                let time = self.checked(word, value::time(text));
                options.user_timeout = time.filter(|time| !time.value.is_zero());
            }
            "minconn" => {
                let least = self.checked(word, value::number(text, 0..=u64::from(u32::MAX)));
                options.min_connections = least.filter(|least| least.value > 0);
            }
            "maxqueue" => {
                let most = self.checked(word, value::number(text, 0..=u64::from(u32::MAX)));
                options.max_queue = most.filter(|most| most.value > 0);
            }
            "id" => options.id = self.checked(word, value::number(text, ANY)),
            "slowstart" => {
                options.slow_start = self.checked(word, value::time(text)).filter(|time| !time.value.is_zero());
            }
            "track" => options.track = Some(Located::new(text.to_owned(), word.at)),
            "observe" => {
                options.observe = self.checked(
                    word,
                    match text {
                        "layer4" => Ok(true),
                        "layer7" => Err("`observe layer7` wants HTTP mode: `layer4` observes connections".to_owned()),
                        other => Err(format!("`{other}` cannot be observed: `layer4` can")),
                    },
                );
            }
            "error-limit" => options.error_limit = self.checked(word, value::number(text, ANY)),
            "on-error" => {
                options.on_error = self.checked(
                    word,
                    match text {
                        "fastinter" => Ok(OnError::FastCheck),
                        "fail-check" => Ok(OnError::FailCheck),
                        "sudden-death" => Ok(OnError::SuddenDeath),
                        "mark-down" => Ok(OnError::MarkDown),
                        other => Err(format!("`{other}` is none of fastinter, fail-check, sudden-death and mark-down")),
                    },
                );
            }
            "on-marked-up" => {
                options.on_marked_up = self.checked(
                    word,
                    match text {
                        "shutdown-backup-sessions" => Ok(OnMarkedUp::ShutdownBackupSessions),
                        other => Err(format!("`{other}` is not an action: `shutdown-backup-sessions` is")),
                    },
                );
            }
            "addr" => {
                let host = endpoint::family(text).and_then(|(family, host)| endpoint::host(host, family));
                options.check_address = self.checked(word, host);
            }
            "on-marked-down" => {
                options.on_marked_down = self.checked(
                    word,
                    match text {
                        "shutdown-sessions" => Ok(OnMarkedDown::ShutdownSessions),
                        other => Err(format!("`{other}` is not an action: `shutdown-sessions` is")),
                    },
                );
            }
            // What is not about names is of no consequence.
            other => self.names_option(other, word, &mut options.names),
        }
    }

    fn interval(&mut self, word: &Word) -> Maybe<Duration> {
        let time = value::time(word.as_str()).and_then(|time| {
            if time.is_zero() { Err("an interval of 0 would check without pause".to_owned()) } else { Ok(time) }
        });
        self.checked(word, time)
    }
}

fn switch(name: &str, at: Location, options: &mut ServerOptions) {
    match name {
        "send-proxy" => options.send_proxy = Some(Located::new(ProxyVersion::V1, at)),
        "send-proxy-v2" => options.send_proxy = Some(Located::new(ProxyVersion::V2, at)),
        "no-send-proxy" | "no-send-proxy-v2" => options.send_proxy = None,
        _ => {}
    }
    let (field, on) = match name {
        "backup" => (&mut options.backup, true),
        "no-backup" => (&mut options.backup, false),
        "check" => (&mut options.check, true),
        "no-check" => (&mut options.check, false),
        "disabled" => (&mut options.disabled, true),
        "enabled" => (&mut options.disabled, false),
        "check-ssl" => (&mut options.check_tls, true),
        "no-check-ssl" => (&mut options.check_tls, false),
        "check-send-proxy" => (&mut options.check_send_proxy, true),
        "no-check-send-proxy" => (&mut options.check_send_proxy, false),
        "agent-check" => (&mut options.agent, true),
        "no-agent-check" => (&mut options.agent, false),
        "tfo" => (&mut options.fast_open, true),
        "no-tfo" => (&mut options.fast_open, false),
        "non-stick" => (&mut options.non_stick, true),
        "stick" => (&mut options.non_stick, false),
        _ => return,
    };
    *field = Some(Located::new(on, at));
}

/// A server's address and port: none for the client's, `+N` and `-N` relative to it. No address is the one that the client
/// connected to, of whichever family.
pub(super) fn endpoint(text: &str) -> Result<(Host, Option<ServerPort>), String> {
    let (family, rest) = endpoint::family(text)?;
    let (host, port) = endpoint::split_port(rest);
    let host = match host {
        "" | "*" | "0.0.0.0" | "::" => Host::Destination,
        host => endpoint::host(host, family)?,
    };
    let port = match port {
        None => None,
        Some(port) => Some(server_port(port)?),
    };
    Ok((host, port))
}

fn server_port(text: &str) -> Result<ServerPort, String> {
    let offset = |digits: &str| value::number(digits, 0..=65_535).map(|offset| offset as i32);
    if let Some(digits) = text.strip_prefix('+') {
        return Ok(ServerPort::Offset(offset(digits)?));
    }
    if let Some(digits) = text.strip_prefix('-') {
        return Ok(ServerPort::Offset(-offset(digits)?));
    }
    if text.contains('-') {
        return Err(format!("`{text}` is a range: a server has one port, or none for the client's"));
    }
    value::number(text, 0..=65_535).map(|port| match port as u16 {
        // Port 0 is no port, as in HAProxy: the client's.
        0 => ServerPort::Same,
        port => ServerPort::Fixed(port),
    })
}
