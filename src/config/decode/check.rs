//! Health checks and agents: `check`, `agent`.

use toml::de::DeValue;

use super::keys::{self, Keys};
use super::reader::{Decoder, Fields, Value};
use crate::config::check_syntax::{self, COMPARISONS, Comparison, ERRORS, SUCCESSES, TIMEOUTS};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{
    Agent, AgentOptions, Check, CheckCommand, CheckOptions, ConnectOptions, Http, Located, Maybe, Mysql, Postgres,
    Protocol, ProxyHeader, Redis, Smtp, Step, StepAction, TlsChoice, TlsOptions,
};
use crate::config::{syntax, words};
use crate::model::{Expect, HeaderPattern, HttpExpect, HttpPattern, HttpRequest, Invalid, Pattern, TextPattern};

/// The keys of which a check has one at most: what is spoken.
const PROTOCOLS: [&str; 10] =
    ["steps", "http", "redis", "postgres", "mysql", "smtp", "ldap", "ssh", "ftp", "tls-hello"];

impl Decoder<'_> {
    pub(super) fn check(&mut self, value: Value<'_>, key: &str) -> Option<Check> {
        match value.value {
            DeValue::Boolean(false) => return Some(Check::Off),
            DeValue::Boolean(true) => return Some(Check::On(Box::default())),
            DeValue::Table(_) => {}
            _ => {
                self.wrong_type(value, key, "true, false or a table such as { port = 22 }");
                return None;
            }
        }
        let fields = self.table(value, key, &[&keys::CHECK])?;
        Some(Check::On(Box::new(CheckOptions {
            port: self.field(fields, "port", Self::number),
            address: self.field(fields, "address", |this, value, key| this.parsed(value, key, syntax::host)),
            interval: self.field(fields, "interval", Self::duration),
            fast_interval: self.field(fields, "fast-interval", Self::duration),
            down_interval: self.field(fields, "down-interval", Self::duration),
            timeout: self.field(fields, "timeout", Self::duration),
            response_timeout: self.field(fields, "response-timeout", Self::duration),
            rise: self.field(fields, "rise", Self::number),
            fall: self.field(fields, "fall", Self::number),
            proxy_header: self.field(fields, "proxy-header", Self::proxy_header),
            tls: self.field(fields, "tls", Self::tls),
            disable_on_404: self.field(fields, "disable-on-404", Self::boolean),
            protocol: self.protocol(fields),
        })))
    }

    fn protocol(&mut self, fields: Fields<'_>) -> Maybe<Protocol> {
        let written: Vec<&str> =
            PROTOCOLS.into_iter().chain(["command"]).filter(|key| fields.table.contains_key(*key)).collect();
        if let [first, second, ..] = written.as_slice() {
            let at = fields.table.get(*second).map_or(fields.at, |value| self.at(value.span()));
            let error = Diagnostic::error(at, format!("a check speaks one protocol: `{first}` or `{second}`"));
            self.diagnostics.push(error.help("remove one of the two; `steps` can connect several times"));
        }
        let steps = fields.table.contains_key("steps").then(|| self.list(fields, "steps", Self::step));
        let at =
            written.first().and_then(|key| fields.table.get(*key)).map_or(fields.at, |value| self.at(value.span()));
        let simple = [
            ("ldap", Protocol::Ldap),
            ("ssh", Protocol::Ssh),
            ("ftp", Protocol::Ftp),
            ("tls-hello", Protocol::TlsHello),
        ];
        let mut found = None;
        for (key, protocol) in simple {
            let on = self.field(fields, key, Self::boolean).is_some_and(|on| on.value);
            found = found.or(on.then_some(Located::new(protocol, at)));
        }
        steps
            .map(|steps| Located::new(Protocol::Steps(steps), at))
            .or(found)
            .or_else(|| self.field(fields, "http", Self::http))
            .or_else(|| self.field(fields, "redis", Self::redis))
            .or_else(|| self.field(fields, "postgres", Self::postgres))
            .or_else(|| self.field(fields, "mysql", Self::mysql))
            .or_else(|| self.field(fields, "smtp", Self::smtp))
            .or_else(|| self.field(fields, "command", Self::check_command))
    }

    fn proxy_header(&mut self, value: Value<'_>, key: &str) -> Option<ProxyHeader> {
        match value.value {
            DeValue::Boolean(false) => Some(ProxyHeader::Off),
            _ => self.word(value, key, words::PROXY_VERSIONS).map(ProxyHeader::On),
        }
    }

    fn tls(&mut self, value: Value<'_>, key: &str) -> Option<TlsChoice> {
        match value.value {
            DeValue::Boolean(false) => return Some(TlsChoice::Off),
            DeValue::Boolean(true) => return Some(TlsChoice::On(Box::default())),
            _ => {}
        }
        let fields = self.table(value, key, &[&keys::CHECK_TLS])?;
        Some(TlsChoice::On(Box::new(TlsOptions {
            name: self.field(fields, "name", Self::string),
            verify: self.field(fields, "verify", Self::boolean),
            verify_name: self.field(fields, "verify-name", Self::string),
            ca_file: self.field(fields, "ca-file", Self::path),
            alpn: self.list(fields, "alpn", Self::string),
        })))
    }

    /// A table, or `true` for one that says nothing.
    fn fields_or_true<'v>(&mut self, value: Value<'v>, key: &str, keys: &Keys) -> Option<Option<Fields<'v>>> {
        match value.value {
            DeValue::Boolean(true) => Some(None),
            _ => self.table(value, key, &[keys]).map(Some),
        }
    }

    fn http(&mut self, value: Value<'_>, key: &str) -> Option<Protocol> {
        let Some(fields) = self.fields_or_true(value, key, &keys::CHECK_HTTP)? else {
            return Some(Protocol::Http(Box::default()));
        };
        Some(Protocol::Http(Box::new(Http {
            method: self.field(fields, "method", Self::string),
            path: self.field(fields, "path", Self::string),
            host: self.field(fields, "host", Self::string),
            headers: self.list(fields, "headers", Self::header_line),
            status: self.field(fields, "status", |this, value, key| this.parsed(value, key, check_syntax::statuses)),
            body: self.field(fields, "body", Self::string),
            body_regex: self.field(fields, "body-regex", Self::string),
        })))
    }

    /// `"Accept: text/plain"`
    fn header_line(&mut self, value: Value<'_>, key: &str) -> Option<(String, String)> {
        self.parsed(value, key, |text| {
            let (name, value) = text.split_once(':').ok_or_else(|| {
                Invalid(format!("`{text}` is not a header: a name, a colon and a text, such as `Accept: text/plain`"))
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
    }

    fn redis(&mut self, value: Value<'_>, key: &str) -> Option<Protocol> {
        let Some(fields) = self.fields_or_true(value, key, &keys::CHECK_REDIS)? else {
            return Some(Protocol::Redis(Redis::default()));
        };
        Some(Protocol::Redis(Redis {
            user: self.field(fields, "user", Self::string),
            password: self.field(fields, "password", Self::secret),
            role: self.field(fields, "role", |this, value, key| this.word(value, key, words::DATABASE_ROLES)),
        }))
    }

    fn postgres(&mut self, value: Value<'_>, key: &str) -> Option<Protocol> {
        let fields = self.table(value, key, &[&keys::CHECK_POSTGRES])?;
        Some(Protocol::Postgres(Postgres {
            user: self.field(fields, "user", Self::string),
            password: self.field(fields, "password", Self::secret),
            database: self.field(fields, "database", Self::string),
            role: self.field(fields, "role", |this, value, key| this.word(value, key, words::DATABASE_ROLES)),
            startup_only: self.field(fields, "startup-only", Self::boolean),
        }))
    }

    fn mysql(&mut self, value: Value<'_>, key: &str) -> Option<Protocol> {
        let Some(fields) = self.fields_or_true(value, key, &keys::CHECK_MYSQL)? else {
            return Some(Protocol::Mysql(Mysql::default()));
        };
        Some(Protocol::Mysql(Mysql {
            user: self.field(fields, "user", Self::string),
            before_41: self.field(fields, "before-4-1", Self::boolean),
        }))
    }

    fn smtp(&mut self, value: Value<'_>, key: &str) -> Option<Protocol> {
        let Some(fields) = self.fields_or_true(value, key, &keys::CHECK_SMTP)? else {
            return Some(Protocol::Smtp(Smtp::default()));
        };
        Some(Protocol::Smtp(Smtp {
            hello: self.field(fields, "hello", Self::string),
            domain: self.field(fields, "domain", Self::string),
        }))
    }

    fn check_command(&mut self, value: Value<'_>, key: &str) -> Option<Protocol> {
        let path = match value.value {
            DeValue::Table(_) => {
                let fields = self.table(value, key, &[&keys::CHECK_COMMAND])?;
                self.require(fields, &keys::CHECK_COMMAND, &["command"], "add command = \"/usr/local/bin/program\"");
                let path = self.field(fields, "path", Self::string);
                let words = self.field(fields, "command", Self::command_words);
                let user = self.field(fields, "user", Self::user);
                let command = crate::config::raw::Command { words: words?, user, timeout: None };
                return Some(Protocol::Command(CheckCommand { command, path }));
            }
            _ => None,
        };
        Some(Protocol::Command(CheckCommand { command: self.command(value, key)?, path }))
    }

    fn step(&mut self, value: Value<'_>, key: &str) -> Option<Step> {
        let fields = self.table(value, key, &[&keys::CHECK_STEP])?;
        let comment = self.field(fields, "comment", Self::string).map(|comment| comment.value);
        let action = self.step_action(fields);
        let mut actions = action.into_iter();
        let (first, second) = (actions.next(), actions.next());
        if second.is_some() {
            let error = Diagnostic::error(value.at, "a step does one thing");
            self.diagnostics.push(error.help("write each into a table of its own"));
        }
        match (first, &comment) {
            (Some(action), _) => Some(Step { at: value.at, action, comment }),
            (None, Some(_)) => Some(Step { at: value.at, action: StepAction::Comment, comment }),
            (None, None) => {
                if fields.table.is_empty() {
                    let error = Diagnostic::error(value.at, "this step does nothing");
                    self.diagnostics
                        .push(error.help("write for example { send = \"PING\\r\\n\" } or { expect = \"PONG\" }"));
                }
                None
            }
        }
    }

    fn step_action(&mut self, fields: Fields<'_>) -> Vec<StepAction> {
        let bytes = |text: Located<String>| text.value.into_bytes();
        let mut actions = Vec::new();
        actions.extend(self.field(fields, "connect", Self::connect).map(|connect| StepAction::Connect(connect.value)));
        actions.extend(self.field(fields, "send", Self::string).map(|text| StepAction::Send(bytes(text))));
        actions.extend(self.field(fields, "send-hex", Self::hexadecimal).map(|sent| StepAction::Send(sent.value)));
        actions.extend(self.field(fields, "request", Self::request).map(|request| StepAction::Request(request.value)));
        let negated = self.field(fields, "not", Self::boolean).is_some_and(|not| not.value);
        let least = self.field(fields, "min-received", Self::number);
        let success = self.field(fields, "on-success", |this, value, key| this.word(value, key, SUCCESSES));
        let error = self.field(fields, "on-error", |this, value, key| this.word(value, key, ERRORS));
        let timeout = self.field(fields, "on-timeout", |this, value, key| this.word(value, key, TIMEOUTS));
        let patterns = [
            self.field(fields, "expect", Self::string).map(|text| Pattern::Text(bytes(text))),
            self.field(fields, "expect-regex", Self::string).map(|text| Pattern::Regex(text.value)),
            self.field(fields, "expect-hex", Self::hexadecimal).map(|bytes| Pattern::Binary(bytes.value)),
            self.field(fields, "expect-hex-regex", Self::string).map(|text| Pattern::HexRegex(text.value)),
        ];
        for pattern in patterns.into_iter().flatten() {
            let plain = Expect::new(pattern);
            actions.push(StepAction::Expect(Expect {
                negated,
                min_received: least.map(|least| usize::try_from(least.value).unwrap_or(usize::MAX)),
                on_success: success.map_or(plain.on_success, |result| result.value),
                on_error: error.map_or(plain.on_error, |result| result.value),
                on_timeout: timeout.map_or(plain.on_timeout, |result| result.value),
                ..plain
            }));
        }
        let statuses = |this: &mut Self, value: Value<'_>, key: &str| this.parsed(value, key, check_syntax::statuses);
        let patterns = [
            self.field(fields, "expect-status", statuses).map(|ranges| HttpPattern::Status(ranges.value)),
            self.field(fields, "expect-status-regex", Self::string).map(|text| HttpPattern::StatusRegex(text.value)),
            self.field(fields, "expect-header", Self::header).map(|header| HttpPattern::Header(header.value)),
            self.field(fields, "expect-body", Self::string).map(|text| HttpPattern::Text(bytes(text))),
            self.field(fields, "expect-body-regex", Self::string).map(|text| HttpPattern::Regex(text.value)),
        ];
        for pattern in patterns.into_iter().flatten() {
            let plain = HttpExpect::new(pattern);
            actions.push(StepAction::Response(HttpExpect {
                negated,
                on_success: success.map_or(plain.on_success, |result| result.value),
                on_error: error.map(|result| result.value),
                on_timeout: timeout.map_or(plain.on_timeout, |result| result.value),
                ..plain
            }));
        }
        actions
    }

    fn connect(&mut self, value: Value<'_>, key: &str) -> Option<Box<ConnectOptions>> {
        let Some(fields) = self.fields_or_true(value, key, &keys::CHECK_CONNECT)? else { return Some(Box::default()) };
        Some(Box::new(ConnectOptions {
            port: self.field(fields, "port", Self::number),
            address: self.field(fields, "address", |this, value, key| this.parsed(value, key, syntax::host)),
            tls: self.field(fields, "tls", Self::tls),
            proxy_header: self.field(fields, "proxy-header", Self::proxy_header),
            linger: self.field(fields, "linger", Self::boolean),
        }))
    }

    fn request(&mut self, value: Value<'_>, key: &str) -> Option<Box<HttpRequest>> {
        let plain = HttpRequest::options();
        let Some(fields) = self.fields_or_true(value, key, &keys::CHECK_REQUEST)? else { return Some(Box::new(plain)) };
        let method = self.field(fields, "method", Self::string).map_or(plain.method, |method| method.value);
        let target = self.field(fields, "path", Self::string).map_or(plain.target, |target| target.value);
        let version = [("1.0", false), ("1.1", true)];
        let http11 = self.field(fields, "version", |this, value, key| this.word(value, key, &version));
        let headers = self.list(fields, "headers", Self::header_line);
        let body = self.field(fields, "body", Self::string).map(|body| body.value.into_bytes()).unwrap_or_default();
        let send_state = self.field(fields, "send-state", Self::boolean).is_some_and(|send| send.value);
        let http11 = http11.is_some_and(|http11| http11.value);
        Some(Box::new(HttpRequest { method, target, http11, headers, body, send_state }))
    }

    fn header(&mut self, value: Value<'_>, key: &str) -> Option<HeaderPattern> {
        let fields = self.table(value, key, &[&keys::CHECK_HEADER])?;
        self.require(fields, &keys::CHECK_HEADER, &["name"], "name it: name = \"content-type\"");
        let name = self.text_pattern(fields, "name", "name-match");
        let value = self.text_pattern(fields, "value", "value-match");
        let whole = self.field(fields, "whole", Self::boolean).is_some_and(|whole| whole.value);
        Some(HeaderPattern { name: name?, value, whole })
    }

    fn text_pattern(&mut self, fields: Fields<'_>, key: &str, how: &str) -> Option<TextPattern> {
        let how = self.field(fields, how, |this, value, key| this.word(value, key, COMPARISONS));
        let how = how.map_or(Comparison::Exact, |how| how.value);
        self.field(fields, key, Self::string).map(|text| how.with(text.value))
    }

    fn hexadecimal(&mut self, value: Value<'_>, key: &str) -> Option<Vec<u8>> {
        self.parsed(value, key, check_syntax::hexadecimal)
    }

    pub(super) fn agent(&mut self, value: Value<'_>, key: &str) -> Option<Agent> {
        if let DeValue::Boolean(false) = value.value {
            return Some(Agent::Off);
        }
        let fields = self.table(value, key, &[&keys::AGENT])?;
        Some(Agent::On(Box::new(AgentOptions {
            port: self.field(fields, "port", Self::number),
            address: self.field(fields, "address", |this, value, key| this.parsed(value, key, syntax::host)),
            interval: self.field(fields, "interval", Self::duration),
            timeout: self.field(fields, "timeout", Self::duration),
            send: self.field(fields, "send", Self::string),
        })))
    }
}
