//! Health checks of proxies: `option tcp-check` and its like, `tcp-check`, `http-check`, `external-check`.

use std::rc::Rc;

use super::Translator;
use super::check_rules::is_http11;
use super::grammar::{Prefix, Statement};
use super::proxy::Proxy;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{CheckCommand, Command, Located, Maybe, Mysql, Postgres, Protocol, Smtp, Step, StepAction};
use crate::config::source::Location;
use crate::model::HttpRequest;

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
    Other(Box<Protocol>),
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
    /// A first connection, and there have been steps that need one.
    fn is_late(&self, step: &Step) -> bool {
        let connects = |step: &Step| matches!(step.action, StepAction::Connect(_));
        let before = self.steps.iter().filter(|_| !self.inherited);
        connects(step)
            && !before.clone().any(connects)
            && before.clone().any(|step| !matches!(step.action, StepAction::Comment))
    }

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
                Prefix::None => self.check_option(option, arguments, at),
                Prefix::No | Prefix::Default => None,
            };
            proxy.checks.option = said.map(|option| Located::new(option, at));
        } else if let Some(action) = name.strip_prefix("tcp-check ") {
            let step = self.tcp_step(action, statement, arguments);
            self.late_connect(name, step.as_ref(), &proxy.checks.tcp);
            step.into_iter().for_each(|step| proxy.checks.tcp.push(step));
        } else if let Some(action) = name.strip_prefix("http-check ") {
            match action {
                "disable-on-404" => proxy.checks.disable_on_404 = Some(Located::new(true, at)),
                "send-state" => proxy.checks.send_state = true,
                _ => {
                    let step = self.http_step(action, statement, arguments);
                    self.late_connect(name, step.as_ref(), &proxy.checks.http);
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

    /// The first step connects, where any does.
    fn late_connect(&mut self, name: &str, step: Option<&Step>, rules: &Rules) {
        if let Some(step) = step.filter(|step| rules.is_late(step)) {
            let error = Diagnostic::error(step.at, format!("`{name}` comes too late: the steps above have connected"));
            self.findings.push(error.help(format!("begin with a `{name}`")));
        }
    }

    fn check_option(&mut self, option: &str, arguments: &[Word], at: Location) -> Option<CheckOption> {
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
                    let at = words.first().map_or(at, |word| word.at);
                    self.findings.error(at, "`option pgsql-check` wants `user` and a name");
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
                [word, ..] => {
                    self.findings.error(word.at, "`option mysql-check` wants `user` and a name, or nothing");
                    return None;
                }
                [] => Mysql::default(),
            }),
            _ => return None,
        };
        Some(CheckOption::Other(Box::new(protocol)))
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
            CheckOption::Other(protocol) => Protocol::clone(protocol),
        };
        (Some(Located::new(protocol, at)), None)
    }
}

/// `[method] uri [version]`; the old trick puts headers, and a body, behind the version.
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
        let (head, body) = version.text.split_once("\r\n\r\n").unwrap_or((&version.text, ""));
        request.body = body.as_bytes().to_vec();
        let mut lines = head.split("\r\n");
        request.http11 = lines.next().is_some_and(is_http11);
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
            if first.body.is_empty() {
                first.body.clone_from(&request.body);
            }
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
