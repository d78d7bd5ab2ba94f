//! `server` and `default-server` lines.

use std::time::Duration;

use super::proxy::{Proxy, Timeouts};
use super::resolvers::NamesSaid;
use super::{Translator, endpoint, value};
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::Statement;
use crate::config::import::keywords;
use crate::config::raw::{Check, CheckOptions, Host, Located, Maybe, Server, ServerChoice, Source};
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
    send_proxy: Maybe<ProxyVersion>,
    source: Maybe<Source>,
    user_timeout: Maybe<Duration>,
    fast_open: Maybe<bool>,
    names: NamesSaid,
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
    pub(super) options: ServerOptions,
}

impl ServerSaid {
    pub(super) fn new(
        at: Location,
        name: Located<String>,
        endpoint: Located<(Host, Option<ServerPort>)>,
        service: bool,
        options: ServerOptions,
    ) -> Self {
        let Located { value: (host, port), at: written } = endpoint;
        let port = port.filter(|_| !service).map(|port| Located::new(port, written));
        Self { at, name, host: Located::new(host, written), port, service, options }
    }

    /// As the raw server; the timeouts decide how long a check may take.
    pub(super) fn raw(&self, timeouts: &Timeouts, source: &Maybe<Source>) -> Server {
        let options = &self.options;
        Server {
            name: Some(self.name.clone()),
            port: self.port,
            weight: options.weight,
            backup: options.backup,
            disabled: options.disabled,
            max_connections: options.max_connections,
            check: options.check.map(|check| Located::new(self.check(check.value, timeouts), check.at)),
            on_marked_down: options.on_marked_down,
            send_proxy: options.send_proxy,
            source: options.source.clone().or_else(|| source.clone()),
            user_timeout: options.user_timeout,
            fast_open: options.fast_open,
            choice: ServerChoice {
                max_queue: options.max_queue,
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
    /// `timeout check` at most the lesser of `timeout connect` and `inter` to connect, which is all it does.
    fn check(&self, on: bool, timeouts: &Timeouts) -> Check {
        if !on {
            return Check::Off;
        }
        let options = &self.options;
        let inter = options.inter.unwrap_or(Located::new(DEFAULT_INTER, self.at));
        let timeout = match (timeouts.check, timeouts.connect) {
            (Some(_), Some(connect)) if connect.value < inter.value => connect,
            (Some(_) | None, Some(_) | None) => inter,
        };
        Check::On(Box::new(CheckOptions {
            port: options.check_port,
            address: options.check_address.clone(),
            interval: Some(inter),
            fast_interval: Some(options.fastinter.unwrap_or(inter)),
            down_interval: Some(options.downinter.unwrap_or(inter)),
            timeout: Some(timeout),
            rise: options.rise,
            fall: options.fall,
        }))
    }
}

impl Translator<'_> {
    /// `server <name> <address>[:[port]] [param*]`
    pub(super) fn server(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let [name, address, words @ ..] = arguments else {
            self.findings.error(statement.at(), "`server` wants a name and an address, such as `s1 10.0.0.1:80`");
            return;
        };
        let endpoint = self.checked(address, endpoint(address.as_str()));
        let mut options = proxy.default_server.clone();
        self.server_options(words, &mut options);
        let Some(endpoint) = endpoint else { return };
        let service = address.text.starts_with('_');
        let name = Located::new(name.text.clone(), name.at);
        proxy.servers.push(ServerSaid::new(statement.at(), name, endpoint, service, options));
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
            "inter" => options.inter = self.interval(word),
            "fastinter" => options.fastinter = self.interval(word),
            "downinter" => options.downinter = self.interval(word),
            "tcp-ut" => {
                let time = self.checked(word, value::time(text));
                options.user_timeout = time.filter(|time| !time.value.is_zero());
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
        "tfo" => (&mut options.fast_open, true),
        "no-tfo" => (&mut options.fast_open, false),
        "non-stick" => (&mut options.non_stick, true),
        "stick" => (&mut options.non_stick, false),
        _ => return,
    };
    *field = Some(Located::new(on, at));
}

/// A server's address and port: none for the client's, `+N` and `-N` relative to it.
pub(super) fn endpoint(text: &str) -> Result<(Host, Option<ServerPort>), String> {
    let (family, rest) = endpoint::family(text)?;
    let (host, port) = endpoint::split_port(rest);
    if matches!(host, "" | "*" | "0.0.0.0" | "::") {
        return Err(format!("`{text}` is whatever the client connected to, which is not there: name the server"));
    }
    let host = endpoint::host(host, family)?;
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
