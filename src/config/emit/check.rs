//! Health checks and agents.

use data_encoding::HEXLOWER;

use super::{Keys, duration, host, list, quoted, word};
use crate::config::check_syntax::{ERRORS, SUCCESSES, TIMEOUTS, comparison, statuses_text};
use crate::config::raw::{
    Agent, AgentOptions, Check, CheckOptions, ConnectOptions, Http, Maybe, Protocol, ProxyHeader, Step, StepAction,
    TlsChoice,
};
use crate::config::words;
use crate::model::{CheckResult, Expect, HeaderPattern, HttpExpect, HttpPattern, HttpRequest, Pattern, TextPattern};

pub(super) fn check(raw: &Check) -> String {
    match raw {
        Check::Off => "false".to_owned(),
        Check::On(options) if **options == CheckOptions::default() => "true".to_owned(),
        Check::On(options) => {
            let mut keys = Keys::new("");
            keys.maybe("address", &options.address, |address| quoted(&host(address)));
            keys.maybe("port", &options.port, u64::to_string);
            keys.maybe("interval", &options.interval, duration);
            keys.maybe("fast-interval", &options.fast_interval, duration);
            keys.maybe("down-interval", &options.down_interval, duration);
            keys.maybe("timeout", &options.timeout, duration);
            keys.maybe("response-timeout", &options.response_timeout, duration);
            keys.maybe("rise", &options.rise, u64::to_string);
            keys.maybe("fall", &options.fall, u64::to_string);
            keys.maybe("proxy-header", &options.proxy_header, proxy_header);
            keys.maybe("tls", &options.tls, tls);
            keys.maybe("disable-on-404", &options.disable_on_404, bool::to_string);
            if let Some(located) = &options.protocol {
                let (key, value) = protocol(&located.value);
                keys.add(key, value);
            }
            keys.inline()
        }
    }
}

pub(super) fn agent(raw: &Agent) -> String {
    match raw {
        Agent::Off => "false".to_owned(),
        Agent::On(options) => {
            let AgentOptions { port, address, interval, timeout, send } = &**options;
            let mut keys = Keys::new("");
            keys.maybe("address", address, |address| quoted(&host(address)));
            keys.maybe("port", port, u64::to_string);
            keys.maybe("interval", interval, duration);
            keys.maybe("timeout", timeout, duration);
            keys.maybe("send", send, |text| quoted(text));
            keys.inline()
        }
    }
}

fn proxy_header(header: &ProxyHeader) -> String {
    match header {
        ProxyHeader::Off => "false".to_owned(),
        ProxyHeader::On(version) => word(words::PROXY_VERSIONS, version),
    }
}

fn tls(raw: &TlsChoice) -> String {
    match raw {
        TlsChoice::Off => "false".to_owned(),
        TlsChoice::On(options) => {
            let mut keys = Keys::new("");
            keys.maybe("name", &options.name, |name| quoted(name));
            keys.maybe("verify", &options.verify, bool::to_string);
            keys.maybe("verify-name", &options.verify_name, |name| quoted(name));
            keys.maybe("ca-file", &options.ca_file, |file| quoted(&file.to_string_lossy()));
            keys.list("alpn", options.alpn.iter().map(|protocol| quoted(protocol)));
            or_true(keys)
        }
    }
}

/// The key of a protocol, and its value.
fn protocol(raw: &Protocol) -> (&'static str, String) {
    let mut keys = Keys::new("");
    let text = |value: &String| quoted(value);
    match raw {
        Protocol::Steps(steps) => ("steps", list(steps.iter().map(step))),
        Protocol::Http(http) => ("http", self::http(http)),
        Protocol::Redis(redis) => {
            keys.maybe("user", &redis.user, text);
            keys.maybe("password", &redis.password, |password| quoted(&password.0));
            keys.maybe("role", &redis.role, |role| word(words::DATABASE_ROLES, role));
            ("redis", or_true(keys))
        }
        Protocol::Postgres(postgres) => {
            keys.maybe("user", &postgres.user, text);
            keys.maybe("password", &postgres.password, |password| quoted(&password.0));
            keys.maybe("database", &postgres.database, text);
            keys.maybe("role", &postgres.role, |role| word(words::DATABASE_ROLES, role));
            keys.maybe("startup-only", &postgres.startup_only, bool::to_string);
            ("postgres", keys.inline())
        }
        Protocol::Mysql(mysql) => {
            keys.maybe("user", &mysql.user, text);
            keys.maybe("before-4-1", &mysql.before_41, bool::to_string);
            ("mysql", or_true(keys))
        }
        Protocol::Smtp(smtp) => {
            keys.maybe("hello", &smtp.hello, text);
            keys.maybe("domain", &smtp.domain, text);
            ("smtp", or_true(keys))
        }
        Protocol::Ldap => ("ldap", "true".to_owned()),
        Protocol::Ssh => ("ssh", "true".to_owned()),
        Protocol::Ftp => ("ftp", "true".to_owned()),
        Protocol::TlsHello => ("tls-hello", "true".to_owned()),
        Protocol::Command(command) => {
            keys.add("command", list(command.command.words.value.iter().map(|word| quoted(word))));
            keys.maybe("user", &command.command.user, super::notify::user);
            keys.maybe("path", &command.path, text);
            ("command", keys.inline())
        }
    }
}

fn http(raw: &Http) -> String {
    let mut keys = Keys::new("");
    keys.maybe("method", &raw.method, |text| quoted(text));
    keys.maybe("path", &raw.path, |text| quoted(text));
    keys.maybe("host", &raw.host, |text| quoted(text));
    headers(&raw.headers, &mut keys);
    keys.maybe("status", &raw.status, |ranges| quoted(&statuses_text(ranges)));
    keys.maybe("body", &raw.body, |text| quoted(text));
    keys.maybe("body-regex", &raw.body_regex, |text| quoted(text));
    or_true(keys)
}

fn headers(headers: &[(String, String)], keys: &mut Keys) {
    keys.list("headers", headers.iter().map(|(name, value)| quoted(&format!("{name}: {value}"))));
}

fn step(raw: &Step) -> String {
    let mut keys = Keys::new("");
    match &raw.action {
        StepAction::Connect(options) => keys.add("connect", connect(options)),
        StepAction::Send(bytes) => text_or_hex(bytes, "send", "send-hex", &mut keys),
        StepAction::Expect(expect) => self::expect(expect, &mut keys),
        StepAction::Request(request) => keys.add("request", self::request(request)),
        StepAction::Response(expect) => response(expect, &mut keys),
        StepAction::Comment => {}
    }
    keys.option("comment", raw.comment.as_ref().map(|comment| quoted(comment)));
    keys.inline()
}

fn connect(raw: &ConnectOptions) -> String {
    let mut keys = Keys::new("");
    keys.maybe("address", &raw.address, |address| quoted(&host(address)));
    keys.maybe("port", &raw.port, u64::to_string);
    keys.maybe("tls", &raw.tls, tls);
    keys.maybe("proxy-header", &raw.proxy_header, proxy_header);
    keys.maybe("linger", &raw.linger, bool::to_string);
    or_true(keys)
}

fn text_or_hex(bytes: &[u8], text_key: &str, hex_key: &str, keys: &mut Keys) {
    match std::str::from_utf8(bytes) {
        Ok(text) => keys.add(text_key, quoted(text)),
        Err(_) => keys.add(hex_key, quoted(&HEXLOWER.encode(bytes))),
    }
}

fn expect(raw: &Expect, keys: &mut Keys) {
    match &raw.pattern {
        Pattern::Text(bytes) => text_or_hex(bytes, "expect", "expect-hex", keys),
        Pattern::Regex(text) => keys.add("expect-regex", quoted(text)),
        Pattern::Binary(bytes) => keys.add("expect-hex", quoted(&HEXLOWER.encode(bytes))),
        Pattern::HexRegex(text) => keys.add("expect-hex-regex", quoted(text)),
        // Nobody writes it as a step.
        Pattern::Answer(_) => {}
    }
    keys.option("not", raw.negated.then(|| "true".to_owned()));
    keys.option("min-received", raw.min_received.map(|least| least.to_string()));
    let plain = Expect::new(raw.pattern.clone());
    results(raw.on_success, (raw.on_error != plain.on_error).then_some(raw.on_error), raw.on_timeout, keys);
}

fn results(success: CheckResult, error: Option<CheckResult>, timeout: CheckResult, keys: &mut Keys) {
    keys.option("on-success", (success != CheckResult::L7Ok).then(|| word(SUCCESSES, &success)));
    keys.option("on-error", error.map(|error| word(ERRORS, &error)));
    keys.option("on-timeout", (timeout != CheckResult::L7Timeout).then(|| word(TIMEOUTS, &timeout)));
}

fn request(raw: &HttpRequest) -> String {
    let plain = HttpRequest::options();
    let mut keys = Keys::new("");
    keys.option("method", (raw.method != plain.method).then(|| quoted(&raw.method)));
    keys.option("path", (raw.target != plain.target).then(|| quoted(&raw.target)));
    keys.option("version", raw.http11.then(|| quoted("1.1")));
    headers(&raw.headers, &mut keys);
    keys.option("body", (!raw.body.is_empty()).then(|| quoted(&String::from_utf8_lossy(&raw.body))));
    keys.option("send-state", raw.send_state.then(|| "true".to_owned()));
    or_true(keys)
}

fn response(raw: &HttpExpect, keys: &mut Keys) {
    match &raw.pattern {
        HttpPattern::Status(ranges) => keys.add("expect-status", quoted(&statuses_text(ranges))),
        HttpPattern::StatusRegex(text) => keys.add("expect-status-regex", quoted(text)),
        HttpPattern::Header(pattern) => keys.add("expect-header", header(pattern)),
        HttpPattern::Text(bytes) => keys.add("expect-body", quoted(&String::from_utf8_lossy(bytes))),
        HttpPattern::Regex(text) => keys.add("expect-body-regex", quoted(text)),
    }
    keys.option("not", raw.negated.then(|| "true".to_owned()));
    results(raw.on_success, raw.on_error, raw.on_timeout, keys);
}

fn header(raw: &HeaderPattern) -> String {
    let mut keys = Keys::new("");
    let mut text = |pattern: &TextPattern, key: &str, how: &str| {
        let (text, comparison) = comparison(pattern);
        keys.add(key, quoted(text));
        keys.option(how, (comparison != "exact").then(|| quoted(comparison)));
    };
    text(&raw.name, "name", "name-match");
    if let Some(value) = &raw.value {
        text(value, "value", "value-match");
    }
    keys.option("whole", raw.whole.then(|| "true".to_owned()));
    keys.inline()
}

/// `true` for a table that says nothing.
fn or_true(keys: Keys) -> String {
    if keys.is_empty() { "true".to_owned() } else { keys.inline() }
}

/// The checks of a pool or a server.
pub(super) fn both(check: &Maybe<Check>, agent: &Maybe<Agent>, keys: &mut Keys) {
    keys.maybe("check", check, self::check);
    keys.maybe("agent", agent, self::agent);
}
