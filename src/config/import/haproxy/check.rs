//! Health checks of proxies: `option tcp-check` and its like, `tcp-check`, `http-check`, `external-check`.

use std::rc::Rc;

use super::grammar::{Prefix, Statement};
use super::proxy::Proxy;
use super::{Translator, endpoint, value};
use crate::config::check_syntax::{self, Comparison, ERRORS, SUCCESSES, TIMEOUTS};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{
    CheckCommand, Command, ConnectOptions, Located, Maybe, Mysql, Postgres, Protocol, ProxyHeader, Smtp, Step,
    StepAction, TlsChoice, TlsOptions,
};
use crate::config::source::Location;
use crate::config::words::Words;
use crate::model::{CheckResult, Expect, HeaderPattern, HttpExpect, HttpPattern, HttpRequest, Pattern, ProxyVersion};

/// What a proxy says about the checks of its servers.
#[derive(Debug, Clone, Default)]
pub(super) struct CheckSaid {
    /// The last of the check options counts.
    option: Maybe<CheckOption>,
    tcp: Rules,
    http: Rules,
    disable_on_404: Maybe<bool>,
    send_state: bool,
    command: Maybe<String>,
    path: Maybe<String>,
}

/// Rules; a proxy that has some of its own does not inherit those of `defaults`.
#[derive(Debug, Clone, Default)]
struct Rules {
    steps: Rc<Vec<Step>>,
    inherited: bool,
}

/// `option tcp-check` and its like.
#[derive(Debug, Clone, PartialEq)]
enum CheckOption {
    Tcp,
    Http(Box<HttpRequest>),
    External,
    Other(Protocol),
}

impl CheckSaid {
    /// As a proxy begins with it.
    pub(super) fn inherited(&self) -> Self {
        let mut said = self.clone();
        said.tcp.inherited = true;
        said.http.inherited = true;
        said
    }
}

impl Rules {
    fn push(&mut self, step: Step) {
        if std::mem::take(&mut self.inherited) {
            self.steps = Rc::default();
        }
        Rc::make_mut(&mut self.steps).push(step);
    }
}

/// Whether a statement is about checks and treated here.
pub(super) fn is_about_checks(name: &str) -> bool {
    matches!(
        name,
        "option tcp-check"
            | "option httpchk"
            | "option external-check"
            | "option ldap-check"
            | "option mysql-check"
            | "option pgsql-check"
            | "option redis-check"
            | "option smtpchk"
            | "option ssl-hello-chk"
    ) || name.starts_with("tcp-check ")
        || name.starts_with("http-check ")
        || name.starts_with("external-check ")
}

impl Translator<'_> {
    pub(super) fn check_statement(
        &mut self,
        name: &'static str,
        statement: &Statement,
        arguments: &[Word],
        proxy: &mut Proxy,
    ) {
        let at = statement.at();
        if let Some(option) = name.strip_prefix("option ") {
            let said = match statement.prefix {
                Prefix::None => self.check_option(option, arguments),
                Prefix::No | Prefix::Default => None,
            };
            proxy.checks.option = said.map(|option| Located::new(option, at));
        } else if let Some(action) = name.strip_prefix("tcp-check ") {
            let step = self.tcp_step(action, statement, arguments);
            step.into_iter().for_each(|step| proxy.checks.tcp.push(step));
        } else if let Some(action) = name.strip_prefix("http-check ") {
            match action {
                "disable-on-404" => proxy.checks.disable_on_404 = Some(Located::new(true, at)),
                "send-state" => proxy.checks.send_state = true,
                _ => {
                    let step = self.http_step(action, statement, arguments);
                    step.into_iter().for_each(|step| proxy.checks.http.push(step));
                }
            }
        } else {
            let word = self.one(statement, arguments).map(|word| Located::new(word.text.clone(), word.at));
            match name {
                "external-check command" => proxy.checks.command = word,
                _ => proxy.checks.path = word,
            }
        }
    }

    fn check_option(&mut self, option: &str, arguments: &[Word]) -> Option<CheckOption> {
        let text = |word: &Word| Some(Located::new(word.text.clone(), word.at));
        let protocol = match option {
            "tcp-check" => return Some(CheckOption::Tcp),
            "external-check" => return Some(CheckOption::External),
            "httpchk" => return Some(CheckOption::Http(Box::new(request_line(arguments)))),
            "redis-check" => Protocol::Redis(Default::default()),
            "ldap-check" => Protocol::Ldap,
            "ssl-hello-chk" => Protocol::TlsHello,
            "smtpchk" => Protocol::Smtp(match arguments {
                [hello, domain, ..] => {
                    let known = matches!(hello.as_str(), "HELO" | "EHLO");
                    let hello = if known { hello.text.clone() } else { "HELO".to_owned() };
                    Smtp { hello: Some(Located::new(hello, domain.at)), domain: text(domain) }
                }
                _ => Smtp::default(),
            }),
            "pgsql-check" => match arguments {
                [word, user, ..] if word.text == "user" => {
                    let startup_only = Some(Located::new(true, user.at));
                    Protocol::Postgres(Postgres { user: text(user), startup_only, ..Postgres::default() })
                }
                words => {
                    let at = words.first().map(|word| word.at);
                    if let Some(at) = at {
                        self.findings.error(at, "`option pgsql-check` wants `user` and a name");
                    }
                    return None;
                }
            },
            "mysql-check" => Protocol::Mysql(match arguments {
                [word, user, rest @ ..] if word.text == "user" => {
                    let version = rest.first();
                    let before = version.filter(|word| word.text == "pre-41");
                    if let Some(word) = version.filter(|word| !matches!(word.as_str(), "pre-41" | "post-41")) {
                        self.findings.error(word.at, format!("`{}` cannot stand here: pre-41 or post-41", word.text));
                    }
                    Mysql { user: text(user), before_41: before.map(|word| Located::new(true, word.at)) }
                }
                _ => Mysql::default(),
            }),
            _ => return None,
        };
        Some(CheckOption::Other(protocol))
    }

    fn tcp_step(&mut self, action: &str, statement: &Statement, arguments: &[Word]) -> Option<Step> {
        let at = statement.at();
        let mut words = Rest::new(arguments);
        let action = match action {
            "comment" => return self.comment(statement, arguments),
            "connect" => StepAction::Connect(Box::new(self.check_connect(&mut words, at)?)),
            "send" => StepAction::Send(self.needed(&mut words, at, "a text")?.text.clone().into_bytes()),
            "send-binary" => {
                let word = self.needed(&mut words, at, "hexadecimal digits")?;
                StepAction::Send(self.hexadecimal(word)?)
            }
            "expect" => {
                let mut step = Step::new(at, StepAction::Comment);
                let head = self.expect_head(&mut words, at, &mut step)?;
                let pattern = self.needed(&mut words, at, "a pattern")?;
                let text = pattern.text.clone();
                let pattern = match head.kind.as_str() {
                    "string" => Pattern::Text(text.into_bytes()),
                    "rstring" => Pattern::Regex(text),
                    "binary" => Pattern::Binary(self.hexadecimal(pattern)?),
                    "rbinary" => Pattern::HexRegex(text),
                    _ => return self.not_a_match(&head.kind),
                };
                step.action = StepAction::Expect(Expect {
                    pattern,
                    negated: head.negated,
                    min_received: head.min_received,
                    on_success: head.success.unwrap_or(CheckResult::L7Ok),
                    on_error: head.error.unwrap_or(CheckResult::L7Response),
                    on_timeout: head.timeout.unwrap_or(CheckResult::L7Timeout),
                });
                self.trailing_comment(&mut words, &mut step);
                return Some(step);
            }
            _ => return None,
        };
        let mut step = Step::new(at, action);
        if let StepAction::Connect(_) = step.action {
            step.comment = words.comment.take();
        }
        self.trailing_comment(&mut words, &mut step);
        Some(step)
    }

    fn http_step(&mut self, action: &str, statement: &Statement, arguments: &[Word]) -> Option<Step> {
        let at = statement.at();
        let mut words = Rest::new(arguments);
        match action {
            "comment" => self.comment(statement, arguments),
            "connect" => {
                let connect = self.check_connect(&mut words, at)?;
                let comment = words.comment.take();
                Some(Step { at, action: StepAction::Connect(Box::new(connect)), comment })
            }
            "send" => self.http_send(&mut words, at),
            "expect" => {
                let mut step = Step::new(at, StepAction::Comment);
                let head = self.expect_head(&mut words, at, &mut step)?;
                let pattern = match head.kind.as_str() {
                    "hdr" | "fhdr" => self.header_pattern(&mut words, at, head.kind.text == "fhdr")?,
                    kind => {
                        let word = self.needed(&mut words, at, "a pattern")?;
                        let text = word.text.clone();
                        match kind {
                            "status" => {
                                let ranges = check_syntax::statuses(&text).map_err(|invalid| invalid.0);
                                HttpPattern::Status(self.checked(word, ranges)?.value)
                            }
                            "rstatus" => HttpPattern::StatusRegex(text),
                            "string" => HttpPattern::Text(text.into_bytes()),
                            "rstring" => HttpPattern::Regex(text),
                            _ => return self.not_a_match(&head.kind),
                        }
                    }
                };
                step.action = StepAction::Response(HttpExpect {
                    pattern,
                    negated: head.negated,
                    on_success: head.success.unwrap_or(CheckResult::L7Ok),
                    on_error: head.error,
                    on_timeout: head.timeout.unwrap_or(CheckResult::L7Timeout),
                });
                self.trailing_comment(&mut words, &mut step);
                Some(step)
            }
            _ => None,
        }
    }

    /// `meth GET uri /x ver HTTP/1.1 hdr Host www body text`. What it does not say it has from `option httpchk`.
    fn http_send(&mut self, words: &mut Rest<'_>, at: Location) -> Option<Step> {
        let mut request = HttpRequest { method: String::new(), target: String::new(), ..HttpRequest::options() };
        let mut step = Step::new(at, StepAction::Comment);
        while let Some(word) = words.next() {
            match word.as_str() {
                "meth" => request.method.clone_from(&self.needed(words, at, "a method")?.text),
                "uri" => request.target.clone_from(&self.needed(words, at, "a path")?.text),
                "ver" => request.http11 = self.needed(words, at, "a version")?.text == "HTTP/1.1",
                "hdr" => {
                    let name = self.needed(words, at, "a header's name")?;
                    let value = self.needed(words, at, "a header's value")?;
                    if value.text.contains("%[") || value.text.contains("%{") {
                        self.findings.error(value.at, "expressions in headers are not there: write a plain text");
                    }
                    request.headers.push((name.text.clone(), value.text.replace("%%", "%")));
                }
                "body" => request.body = self.needed(words, at, "a body")?.text.clone().into_bytes(),
                "comment" => step.comment = Some(self.needed(words, at, "a comment")?.text.clone()),
                "uri-lf" | "body-lf" => {
                    self.findings
                        .error(word.at, format!("`{}`: expressions are not there: write a plain text", word.text));
                    return None;
                }
                other => {
                    self.findings.error(word.at, format!("`{other}` cannot stand after `http-check send`"));
                    return None;
                }
            }
        }
        step.action = StepAction::Request(Box::new(request));
        Some(step)
    }

    fn check_connect(&mut self, words: &mut Rest<'_>, line: Location) -> Option<ConnectOptions> {
        let mut connect = ConnectOptions::default();
        let mut tls = TlsOptions::default();
        // Unless `default` says so, nothing of the server line holds but its address and port.
        let (mut inherits, mut ssl, mut header) = (false, None, None);
        while let Some(word) = words.next() {
            let at = word.at;
            match word.as_str() {
                "default" => inherits = true,
                "port" => {
                    let word = self.needed(words, at, "a port")?;
                    connect.port = self.checked(word, value::number(word.as_str(), 1..=65_535));
                }
                "addr" => {
                    let word = self.needed(words, at, "an address")?;
                    let host = endpoint::family(word.as_str()).and_then(|(family, host)| endpoint::host(host, family));
                    connect.address = self.checked(word, host);
                }
                "send-proxy" => header = Some(Located::new(ProxyHeader::On(ProxyVersion::V1), at)),
                "ssl" => ssl = Some(at),
                "sni" => {
                    let word = self.needed(words, at, "a name")?;
                    tls.name = Some(Located::new(word.text.clone(), word.at));
                }
                "alpn" => tls.alpn = protocols(self.needed(words, at, "protocols")?),
                "linger" => connect.linger = Some(Located::new(true, at)),
                "comment" => words.comment = Some(self.needed(words, at, "a comment")?.text.clone()),
                "proto" => {
                    self.needed(words, at, "a protocol")?;
                    self.findings
                        .warning(at, "`proto` has no effect here: checks speak HTTP/1 or what they are told to");
                }
                "via-socks4" => {
                    self.findings.error(at, "`via-socks4` is not there: the check would not go the way it has to");
                    return None;
                }
                other => {
                    self.findings.error(at, format!("`{other}` cannot stand after `connect`"));
                    return None;
                }
            }
        }
        connect.proxy_header = header.or((!inherits).then_some(Located::new(ProxyHeader::Off, line)));
        connect.tls = match ssl {
            Some(at) => Some(Located::new(TlsChoice::On(Box::new(tls)), at)),
            None if inherits => None,
            None => Some(Located::new(TlsChoice::Off, line)),
        };
        Some(connect)
    }

    /// What comes before the pattern of an expectation: `min-recv 5 comment x ! rstring`.
    fn expect_head(&mut self, words: &mut Rest<'_>, at: Location, step: &mut Step) -> Option<Head> {
        let mut head = Head {
            kind: Word { text: String::new(), at },
            negated: false,
            min_received: None,
            success: None,
            error: None,
            timeout: None,
        };
        loop {
            let word = self.needed(words, at, "`string`, `rstring` or another kind of pattern")?;
            match word.as_str() {
                "min-recv" => {
                    let word = self.needed(words, at, "a number")?;
                    if word.text != "-1" {
                        let least = self.checked(word, value::number(word.as_str(), 0..=16_384))?;
                        head.min_received = usize::try_from(least.value).ok();
                    }
                }
                "comment" => step.comment = Some(self.needed(words, at, "a comment")?.text.clone()),
                "ok-status" => head.success = self.status(words, at, SUCCESSES),
                "error-status" => head.error = self.status(words, at, ERRORS),
                "tout-status" => head.timeout = self.status(words, at, TIMEOUTS),
                "on-success" | "on-error" | "status-code" => {
                    self.needed(words, at, "an expression")?;
                    self.findings
                        .warning(word.at, format!("`{}` has no effect: messages are not rewritten", word.text));
                }
                "!" => head.negated = !head.negated,
                other => {
                    let kind = other.trim_start_matches('!');
                    head.negated ^= kind.len() < other.len();
                    head.kind = Word { text: kind.to_owned(), at: word.at };
                    return Some(head);
                }
            }
        }
    }

    fn status(&mut self, words: &mut Rest<'_>, at: Location, known: &Words<CheckResult>) -> Option<CheckResult> {
        let word = self.needed(words, at, "a status")?;
        let found = known.iter().find(|(name, _)| *name == word.text).map(|(_, result)| *result);
        if found.is_none() {
            let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            self.findings.error(word.at, format!("`{}` cannot stand here: {names}", word.text));
        }
        found
    }

    /// `name -m beg x-app value -m sub text`
    fn header_pattern(&mut self, words: &mut Rest<'_>, at: Location, whole: bool) -> Option<HttpPattern> {
        let mut name = None;
        let mut value = None;
        while let Some(word) =
            words.peek().filter(|word| matches!(word.as_str(), "name" | "value" | "name-lf" | "value-lf"))
        {
            words.next();
            if word.text.ends_with("-lf") {
                self.findings.error(word.at, format!("`{}`: expressions are not there: write a plain text", word.text));
                return None;
            }
            let mut how = Comparison::Exact;
            if words.peek().is_some_and(|word| word.text == "-m") {
                words.next();
                let method = self.needed(words, at, "a method")?;
                how = match method.as_str() {
                    "str" => Comparison::Exact,
                    "beg" => Comparison::Begins,
                    "end" => Comparison::Ends,
                    "sub" => Comparison::Contains,
                    "reg" => Comparison::Regex,
                    other => {
                        self.findings
                            .error(method.at, format!("`{other}` is not a method: str, beg, end, sub and reg are"));
                        return None;
                    }
                };
            }
            let text = self.needed(words, at, "a text")?.text.clone();
            let pattern = if word.text == "name" { &mut name } else { &mut value };
            *pattern = Some(how.with(text));
        }
        if name.is_none() {
            self.findings.error(at, "the header has no name: write `hdr name content-type`");
        }
        Some(HttpPattern::Header(HeaderPattern { name: name?, value, whole }))
    }

    fn not_a_match<T>(&mut self, word: &Word) -> Option<T> {
        let message = match word.text.ends_with("-lf") {
            true => format!("`{}`: expressions are not there: write a plain text", word.text),
            false => format!("`{}` is not a kind of pattern", word.text),
        };
        self.findings.error(word.at, message);
        None
    }

    fn comment(&mut self, statement: &Statement, arguments: &[Word]) -> Option<Step> {
        let comment = Some(self.one(statement, arguments)?.text.clone());
        Some(Step { at: statement.at(), action: StepAction::Comment, comment })
    }

    fn trailing_comment(&mut self, words: &mut Rest<'_>, step: &mut Step) {
        while let Some(word) = words.next() {
            match (word.as_str(), words.next()) {
                ("comment", Some(comment)) => step.comment = Some(comment.text.clone()),
                _ => return self.findings.error(word.at, format!("`{}` cannot stand here", word.text)),
            }
        }
    }

    fn hexadecimal(&mut self, word: &Word) -> Option<Vec<u8>> {
        let bytes = check_syntax::hexadecimal(word.as_str()).map_err(|invalid| invalid.0);
        self.checked(word, bytes).map(|bytes| bytes.value)
    }

    fn needed<'w>(&mut self, words: &mut Rest<'w>, at: Location, what: &str) -> Option<&'w Word> {
        let word = words.next();
        if word.is_none() {
            self.findings.error(at, format!("{what} is missing at the end of this line"));
        }
        word
    }

    /// What is spoken with the servers of `proxy`, and whether a 404 answer is a success that asks for no new clients.
    pub(super) fn protocol(&mut self, proxy: &Proxy) -> (Maybe<Protocol>, Maybe<bool>) {
        let said = &proxy.checks;
        let Some(option) = &said.option else { return (None, None) };
        let at = option.at;
        let protocol = match &option.value {
            CheckOption::Tcp if said.tcp.steps.is_empty() => return (None, None),
            CheckOption::Tcp => Protocol::Steps(said.tcp.steps.to_vec()),
            CheckOption::Http(request) => {
                return (Some(Located::new(Protocol::Steps(http_steps(said, request, at)), at)), said.disable_on_404);
            }
            CheckOption::External => {
                let Some(command) = &said.command else {
                    let error = Diagnostic::error(at, "`option external-check` has no command");
                    self.push_once(error.help("add `external-check command /usr/local/bin/check`"));
                    return (None, None);
                };
                let words = Located::new(vec![command.value.clone()], command.at);
                let command = Command { words, user: None, timeout: None };
                Protocol::Command(CheckCommand { command, path: said.path.clone() })
            }
            CheckOption::Other(protocol) => protocol.clone(),
        };
        (Some(Located::new(protocol, at)), None)
    }
}

/// The kind of an expectation, and what stands before it.
struct Head {
    kind: Word,
    negated: bool,
    min_received: Option<usize>,
    success: Option<CheckResult>,
    error: Option<CheckResult>,
    timeout: Option<CheckResult>,
}

/// The words of a rule, one after the other.
struct Rest<'w> {
    rest: &'w [Word],
    /// A comment that stood among them.
    comment: Option<String>,
}

impl<'w> Rest<'w> {
    fn new(rest: &'w [Word]) -> Self {
        Self { rest, comment: None }
    }

    fn peek(&self) -> Option<&'w Word> {
        self.rest.first()
    }

    fn next(&mut self) -> Option<&'w Word> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }
}

/// `[method] uri [version]`; the old trick puts headers behind the version.
fn request_line(arguments: &[Word]) -> HttpRequest {
    let mut request = HttpRequest::options();
    let (method, target, version) = match arguments {
        [] => return request,
        [target] => (None, target, None),
        [method, target, version @ ..] => (Some(method), target, version.first()),
    };
    if let Some(method) = method {
        request.method.clone_from(&method.text);
    }
    request.target.clone_from(&target.text);
    if let Some(version) = version {
        let mut lines = version.text.split("\r\n");
        request.http11 = lines.next() == Some("HTTP/1.1");
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    request
}

/// The rules of `http-check` with the request of `option httpchk`, which is sent where no rule sends one.
fn http_steps(said: &CheckSaid, request: &HttpRequest, at: Location) -> Vec<Step> {
    let mut steps = said.http.steps.to_vec();
    let first = steps.iter_mut().find_map(|step| match &mut step.action {
        StepAction::Request(request) => Some(request),
        _ => None,
    });
    match first {
        Some(first) => {
            // The line says what the first rule leaves open.
            if first.method.is_empty() {
                first.method.clone_from(&request.method);
            }
            if first.target.is_empty() {
                first.target.clone_from(&request.target);
            }
            first.http11 |= request.http11;
            first.headers.splice(0..0, request.headers.iter().cloned());
        }
        None => {
            let place =
                steps.iter().position(|step| matches!(step.action, StepAction::Response(_))).unwrap_or(steps.len());
            steps.insert(place, Step::new(at, StepAction::Request(Box::new(request.clone()))));
        }
    }
    let plain = HttpRequest::options();
    for step in &mut steps {
        if let StepAction::Request(request) = &mut step.action {
            if request.method.is_empty() {
                request.method.clone_from(&plain.method);
            }
            if request.target.is_empty() {
                request.target.clone_from(&plain.target);
            }
            request.send_state = said.send_state;
        }
    }
    steps
}

/// `http/1.1,h2`
pub(super) fn protocols(word: &Word) -> Vec<String> {
    word.text.split(',').map(|protocol| protocol.trim().to_owned()).filter(|protocol| !protocol.is_empty()).collect()
}
