//! Proxies in HTTP mode that send clients nowhere: what they answer themselves. `stats`, `monitor-uri`, `monitor fail`,
//! `http-request`, `redirect`.

use std::rc::Rc;
use std::time::Duration;

use super::grammar::{Section, Statement};
use super::proxy::{Kind, MOST_INHERITED, Mode, Proxy};
use super::{Translator, value};
use crate::config::acl;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::keywords::{self, Status};
use crate::config::raw::{Located, Maybe, Monitor, Page, Secret, Statistics, User};
use crate::config::source::Location;
use crate::model::page::{PageAction, PageRule};
use crate::model::rule::{Action, Condition, Rule, Stage};

/// Where HAProxy serves the page unless it is told otherwise.
const DEFAULT_URI: &str = "/haproxy?stats";

/// Proxies that add to an inherited list copy it.
const MOST_USERS: usize = 100;
/// More connections at a time than any page has.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// What sends clients to servers: a proxy that says one of them is no page.
const LEADING: [&str; 5] = ["server", "server-template", "use_backend", "default_backend", "dispatch"];

/// What a page answers beside statistics.
#[derive(Debug, Clone, Default)]
pub(super) struct PageSaid {
    admission: Vec<Located<PageRule>>,
    /// Of which stage its rules are.
    admitting: Option<Stage>,
    monitor: Maybe<String>,
    fail: Vec<Located<Condition>>,
    /// `http-request`.
    rules: Vec<Located<PageRule>>,
    /// `redirect`, which HAProxy asks after the statistics.
    redirects: Vec<Located<PageRule>>,
    /// `http-request` of `defaults`: read where it is inherited.
    inherited: Rc<Vec<Statement>>,
}

/// What `stats` statements say.
#[derive(Debug, Clone, Default)]
pub(super) struct StatsSaid {
    /// Where the first of them stands: each of them enables the page.
    pub(super) enabled: Option<Location>,
    uri: Maybe<String>,
    users: Rc<Vec<User>>,
    refresh: Maybe<Duration>,
    hide_version: Maybe<bool>,
    show_node: Maybe<bool>,
}

impl Translator<'_> {
    pub(super) fn stats_statement(
        &mut self,
        what: &str,
        statement: &Statement,
        arguments: &[Word],
        said: &mut StatsSaid,
    ) {
        let at = statement.at();
        let mut value = || match arguments.first() {
            Some(word) => Some(word),
            None => {
                self.findings.error(at, format!("`stats {what}` wants a value after it"));
                None
            }
        };
        match what {
            "uri" => said.uri = value().map(|word| Located::new(word.text.clone(), word.at)).or(said.uri.take()),
            "auth" => {
                let Some(word) = value() else { return };
                match word.text.split_once(':') {
                    Some(_) if said.users.len() >= MOST_USERS => {
                        self.findings.error(word.at, format!("more than {MOST_USERS} users of the statistics page"));
                    }
                    Some((name, password)) => Rc::make_mut(&mut said.users).push(User {
                        name: Located::new(name.to_owned(), word.at),
                        password: Located::new(Secret(password.to_owned()), word.at),
                    }),
                    None => {
                        self.findings.error(word.at, "`stats auth` wants a user and a password, as in `admin:secret`")
                    }
                }
            }
            "refresh" => {
                let Some(word) = value() else { return };
                said.refresh = self.checked(word, value::time_in_seconds(word.as_str()));
            }
            "hide-version" => said.hide_version = Some(Located::new(true, at)),
            "show-node" => said.show_node = Some(Located::new(true, at)),
            // `enable`: said by standing here.
            _ => {}
        }
    }

    /// `mode tcp`
    pub(super) fn mode(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let Some(word) = self.one(statement, arguments) else { return };
        let mode = match word.as_str() {
            "tcp" => Mode::Tcp,
            "http" => Mode::Http,
            "health" | "log" | "spop" | "haterm" => {
                self.findings.error(word.at, format!("`mode {}` is not there: `tcp` and `http` are", word.text));
                return;
            }
            other => {
                self.findings.error(word.at, format!("`{other}` is not a mode: `tcp` and `http` are"));
                return;
            }
        };
        // The whole statement: it is what a refusal of HTTP mode points at.
        proxy.mode = Some(Located::new(mode, statement.at()));
    }

    /// What a section's mode is, wherever in it that is said.
    pub(super) fn mode_of(section: &Section, inherited: &Proxy) -> Mode {
        let said = section.statements.iter().rev().find(|statement| statement.keyword().text == "mode");
        match said.and_then(|statement| statement.arguments().first()).map(Word::as_str) {
            Some("http") => Mode::Http,
            Some(_) => Mode::Tcp,
            None => inherited.mode.map_or(Mode::Tcp, |mode| mode.value),
        }
    }

    /// Whether a section answers its clients itself.
    pub(super) fn is_page(section: &Section, inherited: &Proxy) -> bool {
        let leads = |statement: &Statement| LEADING.contains(&statement.keyword().as_str());
        matches!(inherited.kind, Kind::Frontend | Kind::Listen)
            && Self::mode_of(section, inherited) == Mode::Http
            && inherited.default_backend.is_none()
            && !section.statements.iter().any(leads)
    }

    /// What `defaults` say of requests.
    pub(super) fn inherited_requests(&mut self, proxy: &mut Proxy) {
        for statement in Rc::clone(&proxy.page.inherited).iter() {
            self.request_statement("http-request", statement, statement.arguments(), proxy);
        }
    }

    /// `monitor-uri`, `monitor fail`, `http-request`, `redirect`.
    pub(super) fn request_statement(
        &mut self,
        name: &'static str,
        statement: &Statement,
        arguments: &[Word],
        proxy: &mut Proxy,
    ) {
        match name {
            "monitor-uri" if proxy.is_page || proxy.kind == Kind::Defaults => {
                let path = self.one(statement, arguments).map(|word| Located::new(word.text.clone(), word.at));
                proxy.page.monitor = path.or(proxy.page.monitor.take());
            }
            "http-request" if proxy.kind == Kind::Defaults => {
                if proxy.page.inherited.len() < MOST_INHERITED {
                    Rc::make_mut(&mut proxy.page.inherited).push(statement.clone());
                } else {
                    let message = format!("more than {MOST_INHERITED} `http-request` in one `defaults`");
                    self.findings.error(statement.at(), message);
                }
            }
            _ if !proxy.is_page => {
                // The others are refused as a whole, or nothing comes to them.
                if proxy.sections_mode == Mode::Tcp {
                    let message = format!("`{name}` needs `mode http`: ignored in a TCP proxy");
                    self.push_once(Diagnostic::warning(statement.at(), message));
                }
            }
            "monitor fail" => {
                let read = self.in_scope(proxy, |scope| acl::only_condition(arguments, statement.at(), scope));
                match read {
                    Ok(condition) => proxy.page.fail.push(Located::new(condition, statement.at())),
                    Err(fault) => self.fault(fault),
                }
            }
            "redirect" => {
                // `http-request redirect` says the same.
                let words = statement.words.as_slice();
                let rule = self.in_scope(proxy, |scope| acl::page_rule(words, statement.at(), scope));
                match rule {
                    Ok(rule) => proxy.page.redirects.push(Located::new(rule, statement.at())),
                    Err(fault) => self.fault(fault),
                }
            }
            _ => self.request_rule(statement, arguments, proxy),
        }
    }

    /// `tcp-request connection reject` and its like.
    pub(super) fn admission(&mut self, rule: Rule, at: Location, proxy: &mut Proxy) {
        let action = match rule.action {
            Action::Accept => PageAction::Allow,
            Action::Reject(_) => PageAction::Reject,
            _ => {
                let message = "sources are not counted on a page: `tcp-request` can accept and reject there";
                self.findings.error(at, message);
                return;
            }
        };
        let page = &mut proxy.page;
        let stage = *page.admitting.get_or_insert(rule.stage);
        let ends = |action: &PageAction| *action == PageAction::Allow;
        if stage != rule.stage && (ends(&action) || page.admission.iter().any(|rule| ends(&rule.value.action))) {
            let message = "`accept` ends its own stage only, which is not there on a page with rules of two stages";
            self.findings.push(Diagnostic::error(at, message).help("write all of them as `tcp-request connection`"));
            return;
        }
        page.admission.push(Located::new(PageRule { action, when: rule.when }, at));
    }

    fn request_rule(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let Some(word) = arguments.first() else {
            self.findings.error(statement.at(), "`http-request` wants an action after it");
            return;
        };
        let action = word.text.split(['(', '.']).next().unwrap_or_default();
        let Some(keyword) = keywords::haproxy().get("http-request", action) else {
            self.unknown("http-request", &[action], word.at);
            return;
        };
        if keyword.status != Status::Implemented {
            self.tell(keyword, Location { end: word.at.end, ..statement.at() });
            return;
        }
        match self.in_scope(proxy, |scope| acl::page_rule(arguments, statement.at(), scope)) {
            Ok(rule) => proxy.page.rules.push(Located::new(rule, statement.at())),
            Err(fault) => self.fault(fault),
        }
    }

    /// The page that `proxy` is.
    pub(super) fn page(&mut self, proxy: &Proxy) {
        let said = &proxy.stats;
        for rule in proxy.stats_rules.iter() {
            let message = "`stats http-request` is not there yet: the statistics would be open to more clients";
            let error = Diagnostic::error(*rule, message);
            self.findings.push(error.help("`http-request deny` asks before the statistics"));
        }
        if let Some(rate) = proxy.rules.sessions_per_second {
            let warning = Diagnostic::warning(rate.at, "`rate-limit sessions` has no effect on a page");
            self.findings.push(warning.help("`maxconn` bounds its connections; beyond it the oldest makes room"));
        }
        let monitor = proxy.page.monitor.as_ref().map(|path| Monitor {
            at: path.at,
            path: Some(path.clone()),
            fail: proxy.page.fail.clone(),
        });
        if let Some(fail) = proxy.page.fail.first().filter(|_| monitor.is_none()) {
            self.findings.warning(fail.at, "`monitor fail` has no effect without `monitor-uri`");
        }
        let statistics = said.enabled.map(|at| Statistics {
            at,
            path: Some(said.uri.clone().unwrap_or_else(|| Located::new(DEFAULT_URI.to_owned(), proxy.at))),
            users: said.users.to_vec(),
            refresh: said.refresh,
            hide_version: said.hide_version,
            show_node: said.show_node,
        });
        let limit = proxy.max_connections.filter(|limit| limit.value > 0).or(proxy.listen_limit);
        self.config.pages.push(Page {
            at: proxy.at,
            name: Some(Located::new(proxy.name.clone(), proxy.at)),
            listen: proxy.rules.listen_on(&proxy.listen),
            max_connections: limit.map(|limit| limit.map(|limit| limit.min(MOST_CONNECTIONS))),
            admission: proxy.page.admission.clone(),
            monitor,
            rules: proxy.page.rules.clone(),
            statistics,
            otherwise: proxy.page.redirects.clone(),
        });
    }
}
