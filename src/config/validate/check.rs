//! Health checks and agents of servers: what is written to what is done.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use regex::bytes::RegexBuilder;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::check_protocol;
use super::command::Commands;
use super::findings::Findings;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{
    self, AgentOptions, CheckOptions, ConnectOptions, Located, Maybe, ProxyHeader, Step, StepAction, TlsChoice,
};
use crate::config::source::Location;
use crate::model::{
    Action, Agent, Check, CheckKind, Connect, Conversation, HeaderPattern, HttpExpect, HttpPattern, HttpRequest,
    Pattern, ServerPort, TextPattern, Tls, Trust,
};

/// A compiled expression may take this much memory: the same as where it is used.
const REGEX_LIMIT: usize = 1 << 20;

/// Whose check it is.
pub(super) struct Checked<'c> {
    pub(super) pool: &'c raw::Pool,
    pub(super) server: &'c raw::Server,
    pub(super) name: &'c str,
    /// None: it could not be made out, which has been told.
    pub(super) address: Option<IpAddr>,
    pub(super) port: ServerPort,
    pub(super) commands: &'c Commands,
    /// What a command is told about the pool and the server.
    pub(super) environment: Vec<(String, String)>,
}

/// The check of a server, if it has one. One that has no port to go to is noted in `portless`.
pub(super) fn check(
    checked: &Checked<'_>,
    portless: &mut Vec<(String, Location)>,
    findings: &mut Findings<'_>,
) -> Option<Check> {
    let options = options(checked)?;
    let own_port = findings.optional_number(&options.port, "port", 1..=65535);
    let target_port = match (own_port, checked.port) {
        (Some(port), _) | (None, ServerPort::Fixed(port)) => Some(port),
        (None, ServerPort::Same | ServerPort::Offset(_)) => None,
    };
    let interval = findings.positive(&options.interval, "interval").unwrap_or(Duration::from_secs(2));
    let fast_interval = findings.positive(&options.fast_interval, "fast-interval");
    let down_interval = findings.positive(&options.down_interval, "down-interval");
    let timeout = findings.positive(&options.timeout, "timeout");
    let response_timeout = findings.positive(&options.response_timeout, "response-timeout");
    let rise = findings.number(&options.rise, "rise", 1..=10_000, 2);
    let fall = findings.number(&options.fall, "fall", 1..=10_000, 3);
    let target_address = target(&options.address, checked, findings);
    let kind = kind(&options, checked, findings);
    if options.address.is_none() && kind.as_ref().is_some_and(needs_address) {
        without_address("check", checked, findings);
    }
    // A command needs no port, nor does a conversation all of whose connections name theirs.
    let needs_port = kind.as_ref().is_some_and(needs_port);
    if target_port.is_none() && needs_port && options.port.is_none() {
        let at = checked.server.port.map_or(checked.server.host.at, |port| port.at);
        portless.push((checked.name.to_owned(), at));
    }
    let target_port = if needs_port { target_port? } else { target_port.unwrap_or(0) };
    Some(Check {
        target: SocketAddr::new(target_address?, target_port),
        interval,
        fast_interval: fast_interval.unwrap_or(interval.min(Duration::from_millis(500))),
        down_interval: down_interval.unwrap_or(interval),
        timeout: timeout.unwrap_or(interval),
        response_timeout,
        rise,
        fall,
        source: None,
        kind: kind?,
    })
}

/// Where a check or an agent is, unless its address says so the server's.
fn target(address: &Maybe<raw::Host>, checked: &Checked<'_>, findings: &mut Findings<'_>) -> Option<IpAddr> {
    match address {
        Some(host) => findings.address(host),
        None => checked.address,
    }
}

/// Clients say where such a server is, and a check is no client.
fn without_address(what: &str, checked: &Checked<'_>, findings: &mut Findings<'_>) {
    if checked.server.host.value == raw::Host::Destination {
        let message =
            format!("the server `{}` is wherever clients connect to: its {what} has no address", checked.name);
        let help = format!("say where to ask, as in {what} = {{ address = \"127.0.0.1\", port = 22 }}");
        findings.error(checked.server.host.at, message, help);
    }
}

fn needs_port(kind: &CheckKind) -> bool {
    connects(kind, |connect| connect.port.is_none())
}

fn needs_address(kind: &CheckKind) -> bool {
    connects(kind, |connect| connect.address.is_none())
}

/// Whether one of its connections is as `wanted` says. A command makes none that is known.
fn connects(kind: &CheckKind, wanted: impl Fn(&Connect) -> bool) -> bool {
    match kind {
        CheckKind::Conversation(conversation) => {
            conversation.steps.iter().any(|step| matches!(&step.action, Action::Connect(connect) if wanted(connect)))
        }
        CheckKind::Command(_) => false,
    }
}

/// What is written for a server's check: its own keys, then its pool's. None when it is not checked.
fn options(checked: &Checked<'_>) -> Option<CheckOptions> {
    let own = checked.server.check.as_ref().map(|check| &check.value);
    let inherited = checked.pool.check.as_ref().map(|check| &check.value);
    match (own, inherited) {
        (Some(raw::Check::Off), _) | (None, Some(raw::Check::Off) | None) => None,
        (None, Some(raw::Check::On(options))) | (Some(raw::Check::On(options)), Some(raw::Check::Off) | None) => {
            Some(CheckOptions::clone(options))
        }
        (Some(raw::Check::On(own)), Some(raw::Check::On(inherited))) => Some(own.or(inherited)),
    }
}

/// The agent of a server, if it has one.
pub(super) fn agent(checked: &Checked<'_>, findings: &mut Findings<'_>) -> Option<Agent> {
    let own = checked.server.agent.as_ref();
    let inherited = checked.pool.agent.as_ref();
    let at = own.or(inherited)?.at;
    let options = match (own.map(|agent| &agent.value), inherited.map(|agent| &agent.value)) {
        (Some(raw::Agent::Off), _) | (None, Some(raw::Agent::Off) | None) => return None,
        (None, Some(raw::Agent::On(options))) | (Some(raw::Agent::On(options)), Some(raw::Agent::Off) | None) => {
            AgentOptions::clone(options)
        }
        (Some(raw::Agent::On(own)), Some(raw::Agent::On(inherited))) => own.or(inherited),
    };
    findings.required(&options.port, "port", at);
    let port = findings.optional_number(&options.port, "port", 1..=65535);
    let interval = findings.positive(&options.interval, "interval").unwrap_or(Duration::from_secs(2));
    let timeout = findings.positive(&options.timeout, "timeout").unwrap_or(interval);
    let address = target(&options.address, checked, findings);
    if options.address.is_none() {
        without_address("agent", checked, findings);
    }
    let send = options.send.map(|send| send.value.into_bytes()).unwrap_or_default();
    Some(Agent { target: SocketAddr::new(address?, port?), interval, timeout, send, source: None })
}

fn kind(options: &CheckOptions, checked: &Checked<'_>, findings: &mut Findings<'_>) -> Option<CheckKind> {
    let connect = connect(&ConnectOptions::default(), options, findings);
    let Some(protocol) = &options.protocol else {
        without_answer(options, findings);
        return Some(CheckKind::Conversation(Conversation::of(vec![Action::Connect(connect?)])));
    };
    let (at, protocol) = (protocol.at, &protocol.value);
    if let raw::Protocol::Command(command) = protocol {
        let ignored = options.tls.as_ref().map(|tls| tls.at).or(options.proxy_header.map(|header| header.at));
        if let Some(at) = ignored {
            findings.warning(at, "a command connects by itself: this has no effect", "remove it");
        }
        return Some(CheckKind::Command(check_protocol::command(command, checked, findings)));
    }
    if let raw::Protocol::Steps(written) = protocol {
        return steps(written, at, options, findings).map(CheckKind::Conversation);
    }
    let mut conversation = check_protocol::conversation(protocol, at, connect?, checked.address?, findings)?;
    conversation.disable_on_404 = disables(options, matches!(protocol, raw::Protocol::Http(_)), findings);
    Some(CheckKind::Conversation(conversation))
}

/// Nothing is asked, so nothing can be answered.
fn without_answer(options: &CheckOptions, findings: &mut Findings<'_>) {
    disables(options, false, findings);
}

fn disables(options: &CheckOptions, http: bool, findings: &mut Findings<'_>) -> bool {
    let Some(wanted) = options.disable_on_404.filter(|wanted| wanted.value) else { return false };
    if !http {
        findings.warning(wanted.at, "there is no HTTP request in this check: this has no effect", "remove it");
    }
    http
}

fn steps(written: &[Step], at: Location, options: &CheckOptions, findings: &mut Findings<'_>) -> Option<Conversation> {
    let http = written.iter().any(|step| matches!(step.action, StepAction::Request(_) | StepAction::Response(_)));
    let mut steps = Vec::with_capacity(written.len() + 1);
    let starts = written.iter().find(|step| !matches!(step.action, StepAction::Comment));
    if !starts.is_some_and(|step| matches!(step.action, StepAction::Connect(_))) {
        let connect = connect(&ConnectOptions::default(), options, findings)?;
        steps.push(crate::model::Step { action: Action::Connect(connect), number: 0, comment: None });
    }
    if written.is_empty() {
        findings.error(at, "there is no step", "write for example steps = [{ expect = \"SSH-\" }]");
        return None;
    }
    let mut comment: Option<String> = None;
    let mut complete = true;
    let mut asked = false;
    for (index, step) in written.iter().enumerate() {
        let action = match &step.action {
            StepAction::Comment => {
                comment.clone_from(&step.comment);
                continue;
            }
            StepAction::Connect(written) => connect(written, options, findings).map(Action::Connect),
            StepAction::Send(bytes) => Some(Action::Send(bytes.clone())),
            StepAction::Expect(expect) => {
                pattern(&expect.pattern, step.at, findings);
                Some(Action::Expect(expect.clone()))
            }
            StepAction::Request(written) => {
                request(written, step.at, findings);
                asked = true;
                Some(Action::Request(HttpRequest::clone(written)))
            }
            StepAction::Response(expect) => {
                if !asked {
                    findings.error(step.at, "nothing was asked before this answer", "add { request = true } before it");
                }
                http_pattern(&expect.pattern, step.at, findings);
                Some(Action::Response(expect.clone()))
            }
        };
        if http && matches!(step.action, StepAction::Send(_) | StepAction::Expect(_)) {
            findings.error(
                step.at,
                "bytes and HTTP requests cannot be mixed in one check",
                "use `request` and `expect-status` throughout, or `send` and `expect`",
            );
        }
        let comment = step.comment.clone().or(comment.take());
        let number = u16::try_from(index + 1).unwrap_or(u16::MAX);
        match action {
            Some(action) => steps.push(crate::model::Step { action, number, comment }),
            None => complete = false,
        }
    }
    if http {
        judge_unjudged(&mut steps);
    }
    let disable_on_404 = disables(options, http, findings);
    complete.then_some(Conversation { steps, scripted: !http, disable_on_404 })
}

/// As HAProxy: an answer that nobody judges must have a status of 2xx or 3xx.
fn judge_unjudged(steps: &mut Vec<crate::model::Step>) {
    let mut at = steps.len();
    let mut judged = false;
    while at > 0 {
        at -= 1;
        match &steps[at].action {
            Action::Response(_) => judged = true,
            Action::Request(_) if !judged => {
                let action = Action::Response(HttpExpect::fine());
                steps.insert(at + 1, crate::model::Step { action, number: 0, comment: None });
            }
            Action::Request(_) => judged = false,
            _ => {}
        }
    }
}

/// A connection: what its step says, then what the check says.
fn connect(own: &ConnectOptions, options: &CheckOptions, findings: &mut Findings<'_>) -> Option<Connect> {
    let port = findings.optional_number(&own.port, "port", 1..=65535);
    let address = match &own.address {
        Some(host) => Some(findings.address(host)?),
        None => None,
    };
    let header = own.proxy_header.or(options.proxy_header).map(|header| header.value);
    let proxy_header = match header {
        Some(ProxyHeader::On(version)) => Some(version),
        Some(ProxyHeader::Off) | None => None,
    };
    let tls = match own.tls.as_ref().or(options.tls.as_ref()).map(|tls| &tls.value) {
        Some(TlsChoice::On(options)) => Some(tls(options, findings)?),
        Some(TlsChoice::Off) | None => None,
    };
    Some(Connect { port, address, tls, proxy_header, linger: own.linger.is_some_and(|linger| linger.value) })
}

fn tls(raw: &raw::TlsOptions, findings: &mut Findings<'_>) -> Option<Tls> {
    for name in [&raw.name, &raw.verify_name].into_iter().flatten() {
        if rustls::pki_types::ServerName::try_from(name.value.as_str()).is_err() {
            findings.error(name.at, format!("`{}` is not a host name", name.value), "write it as \"www.example.org\"");
        }
    }
    let verify = raw.verify.is_none_or(|verify| verify.value);
    let trust = match (&raw.ca_file, verify) {
        (_, false) => None,
        (None, true) => Some(Trust::System),
        (Some(file), true) => Some(authorities(file, findings)?),
    };
    Some(Tls {
        server_name: raw.name.as_ref().map(|name| name.value.clone()),
        trust,
        verify_name: raw.verify_name.as_ref().map(|name| name.value.clone()),
        alpn: raw.alpn.clone(),
    })
}

/// A file is read when the configuration is: what is not there is told then, and a reload sees what changed in it.
fn authorities(file: &Located<std::path::PathBuf>, findings: &mut Findings<'_>) -> Option<Trust> {
    let path: &Path = &file.value;
    super::command::absolute(file, findings);
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| error.to_string())
        .and_then(|certificates| match certificates.is_empty() {
            true => Err("there is no certificate in it".to_owned()),
            false => Ok(certificates),
        });
    match certificates {
        Ok(certificates) => Some(Trust::File {
            path: path.to_owned(),
            certificates: Arc::new(certificates.into_iter().map(|der| der.to_vec()).collect()),
        }),
        Err(cause) => {
            let message = format!("`{}` cannot be used: {cause}", path.display());
            findings.error(file.at, message, "name a file of certificates in PEM form");
            None
        }
    }
}

fn pattern(pattern: &Pattern, at: Location, findings: &mut Findings<'_>) {
    match pattern {
        Pattern::Text(bytes) | Pattern::Binary(bytes) if bytes.is_empty() => {
            findings.error(at, "nothing is expected here", "write what the server must answer");
        }
        Pattern::Regex(text) | Pattern::HexRegex(text) => regex(text, at, findings),
        Pattern::Text(_) | Pattern::Binary(_) | Pattern::Answer(_) => {}
    }
}

fn http_pattern(pattern: &HttpPattern, at: Location, findings: &mut Findings<'_>) {
    let text = |pattern: &TextPattern, findings: &mut Findings<'_>| {
        if let TextPattern::Regex(text) = pattern {
            regex(text, at, findings);
        }
    };
    match pattern {
        HttpPattern::StatusRegex(text) | HttpPattern::Regex(text) => regex(text, at, findings),
        HttpPattern::Header(HeaderPattern { name, value, .. }) => {
            text(name, findings);
            if let Some(value) = value {
                text(value, findings);
            }
        }
        HttpPattern::Status(_) | HttpPattern::Text(_) => {}
    }
}

/// An expression that can be compiled, within bounds.
pub(super) fn regex(text: &str, at: Location, findings: &mut Findings<'_>) {
    let Err(error) = RegexBuilder::new(text).unicode(false).size_limit(REGEX_LIMIT).build() else { return };
    let (cause, remedy) = match error {
        regex::Error::CompiledTooBig(_) => {
            ("it would take too much memory".to_owned(), "write smaller numbers of repetitions")
        }
        error => {
            let text = error.to_string();
            let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            (cause, "look-around and back-references, which PCRE has, are not there")
        }
    };
    findings.error(at, format!("this regular expression cannot be used: {cause}"), remedy);
}

/// What cannot be in a request is told.
pub(super) fn request(request: &HttpRequest, at: Location, findings: &mut Findings<'_>) {
    if hyper::Method::from_bytes(request.method.as_bytes()).is_err() {
        findings.error(at, format!("`{}` is not an HTTP method", request.method), "write GET, HEAD or OPTIONS");
    }
    let target: Result<hyper::Uri, _> = request.target.parse();
    if target.is_err() || !request.target.starts_with(['/', '*', 'h']) {
        findings.error(
            at,
            format!("`{}` is not a path", request.target),
            "begin it with `/`, and write a space as `%20`",
        );
    }
    for (name, value) in &request.headers {
        if HeaderName::try_from(name.as_str()).is_err() || HeaderValue::try_from(value.as_str()).is_err() {
            findings.error(
                at,
                format!("`{name}: {value}` cannot be a header"),
                "write a name and a text without line ends",
            );
        }
    }
}

/// One error a pool: a hundred servers without a port are one mistake.
pub(super) fn without_check_port(pool: &raw::Pool, portless: &[(String, Location)], findings: &mut Findings<'_>) {
    let Some((name, at)) = portless.first() else { return };
    let others = match portless.len() - 1 {
        0 => String::new(),
        1 => " (and one more)".to_owned(),
        more => format!(" (and {more} more)"),
    };
    let error = Diagnostic::error(*at, format!("the server `{name}`{others} is checked, but on no port of its own"));
    let error =
        error.help("say where the check connects: check = { port = 22 }; or give the server a port, or check = false");
    findings.push(match &pool.check {
        Some(check) => error.related(check.at, "checked because of this"),
        None => error,
    });
}

/// Something that must be there.
pub(super) fn text<'v>(
    value: &'v Maybe<String>,
    key: &str,
    at: Location,
    findings: &mut Findings<'_>,
) -> Option<&'v str> {
    let value = findings.required(value, key, at)?;
    if value.value.is_empty() || value.value.contains(char::is_control) {
        findings.error(value.at, format!("this `{key}` is empty or has a control character"), "write a short text");
        return None;
    }
    Some(&value.value)
}
