//! What the statements of `defaults`, `frontend`, `backend` and `listen` say, with inheritance.

use std::rc::Rc;
use std::time::Duration;

use super::balance::ChoiceSaid;
use super::check::{self, CheckSaid};
use super::grammar::{Prefix, Section, Statement};
use super::keepalive::Probes;
use super::logging::LogSaid;
use super::mail::MailSaid;
use super::page::{PageSaid, StatsSaid};
use super::rules::RulesSaid;
use super::server::{ServerOptions, ServerSaid};
use super::stick::StickSaid;
use super::{Translator, bad_character, refusal, state, value};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::keywords::Status;
use crate::config::raw::{Listen, Located, Maybe, Source};
use crate::config::source::Location;
use crate::model::{Algorithm, ConnectionLine, StickAction};

/// Which of the four sections it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Defaults,
    Frontend,
    Backend,
    Listen,
}

impl Kind {
    /// Its letter in the column `places` of the keyword table.
    fn letter(self) -> char {
        match self {
            Self::Defaults => 'D',
            Self::Frontend => 'F',
            Self::Backend => 'B',
            Self::Listen => 'L',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "listen",
        }
    }
}

/// Of what proxies inherit and add to, no more than this is kept: ten thousand of them would copy it ten thousand times.
pub(super) const MOST_INHERITED: usize = 100;

/// `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    Tcp,
    Http,
}

/// The timeouts, absent when there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeouts {
    pub(super) check: Maybe<Duration>,
    pub(super) client: Maybe<Duration>,
    pub(super) client_fin: Maybe<Duration>,
    pub(super) connect: Maybe<Duration>,
    pub(super) server: Maybe<Duration>,
    pub(super) server_fin: Maybe<Duration>,
    pub(super) tunnel: Maybe<Duration>,
}

/// A `defaults` section, or a proxy that began as one.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Where the name stands.
    pub(super) at: Location,
    pub(super) mode: Maybe<Mode>,
    pub(super) disabled: bool,
    pub(super) max_connections: Maybe<u64>,
    pub(super) backlog: Maybe<u64>,
    pub(super) balance: Maybe<Algorithm>,
    pub(super) choice: ChoiceSaid,
    pub(super) retries: Maybe<u64>,
    pub(super) redispatch: Maybe<bool>,
    pub(super) all_backups: Maybe<bool>,
    pub(super) client_keepalive: Maybe<bool>,
    pub(super) server_keepalive: Maybe<bool>,
    /// What the probes towards clients and servers are like, where there are any.
    pub(super) probes: Probes,
    pub(super) linger: Maybe<bool>,
    pub(super) log_checks: Maybe<bool>,
    pub(super) timeouts: Timeouts,
    pub(super) default_server: ServerOptions,
    pub(super) default_backend: Maybe<String>,
    pub(super) source: Maybe<Source>,
    pub(super) stats: StatsSaid,
    pub(super) page: PageSaid,
    pub(super) log: LogSaid,
    pub(super) mail: MailSaid,
    /// How servers are checked.
    pub(super) checks: CheckSaid,
    pub(super) rules: RulesSaid,
    /// What cannot be ignored once a server is checked.
    pub(super) check_refusals: Rc<Vec<Diagnostic>>,
    // From here on nothing is inherited: `defaults` cannot say it.
    pub(super) listen: Vec<Listen>,
    pub(super) listen_limit: Maybe<u64>,
    pub(super) bind_lines: usize,
    pub(super) backend: Maybe<String>,
    pub(super) servers: Vec<ServerSaid>,
    pub(super) stick: StickSaid,
    /// Rules that would close part of the statistics.
    pub(super) stats_rules: Rc<Vec<Location>>,
    /// What `mode` says by the end of the section.
    pub(super) sections_mode: Mode,
    /// It is in HTTP mode and sends clients nowhere.
    pub(super) is_page: bool,
}

impl Proxy {
    /// Whether connections can be sent to it.
    pub(super) fn is_backend(&self) -> bool {
        !self.disabled && matches!(self.kind, Kind::Backend | Kind::Listen)
    }

    /// Whether it is there for its table only, which rules count in.
    pub(super) fn is_table(&self) -> bool {
        self.kind == Kind::Backend && self.servers.is_empty() && self.stick.has_table()
    }

    /// A rule that would close part of the statistics.
    fn stats_rule(&mut self, at: Location) {
        if self.stats_rules.len() < MOST_INHERITED {
            Rc::make_mut(&mut self.stats_rules).push(at);
        }
    }

    /// One of which nothing is said yet.
    pub(super) fn new(at: Location) -> Self {
        Self {
            kind: Kind::Defaults,
            name: String::new(),
            at,
            mode: None,
            disabled: false,
            max_connections: None,
            backlog: None,
            balance: None,
            choice: ChoiceSaid::default(),
            retries: None,
            redispatch: None,
            all_backups: None,
            client_keepalive: None,
            server_keepalive: None,
            probes: Probes::default(),
            linger: None,
            log_checks: None,
            timeouts: Timeouts::default(),
            default_server: ServerOptions::default(),
            default_backend: None,
            source: None,
            stats: StatsSaid::default(),
            page: PageSaid::default(),
            log: LogSaid::default(),
            mail: MailSaid::default(),
            checks: CheckSaid::default(),
            rules: RulesSaid::default(),
            check_refusals: Rc::default(),
            listen: Vec::new(),
            listen_limit: None,
            bind_lines: 0,
            backend: None,
            servers: Vec::new(),
            stick: StickSaid::default(),
            stats_rules: Rc::default(),
            sections_mode: Mode::Tcp,
            is_page: false,
        }
    }
}

impl Translator<'_> {
    /// `defaults [name] [from other]`.
    pub(super) fn defaults(&mut self, section: &Section) {
        let (name, from) = self.header(section);
        let mut defaults = match from {
            Some(from) => self.inherited(from),
            None => Proxy::new(section.kind.at),
        };
        defaults.kind = Kind::Defaults;
        defaults.at = section.kind.at;
        self.statements(section, &mut defaults);
        if let Some(name) = name
            && let Some(first) = self.named_defaults.insert(name.text.clone(), defaults.clone())
        {
            self.ambiguous_defaults.entry(name.text.clone()).or_insert(first.at);
        }
        self.defaults = defaults;
    }

    /// `frontend name [from defaults]` and its like.
    pub(super) fn proxy(&mut self, section: &Section, kind: Kind) {
        let (name, from) = self.header(section);
        let Some(name) = name else {
            self.findings.error(section.kind.at, format!("a `{}` wants a name", kind.name()));
            return;
        };
        let mut proxy = match from {
            Some(from) => self.inherited(from),
            None => self.defaults.clone(),
        };
        proxy.kind = kind;
        proxy.name.clone_from(&name.text);
        proxy.at = name.at;
        proxy.checks = proxy.checks.inherited();
        self.statements(section, &mut proxy);
        self.proxies.push(proxy);
    }

    fn header<'s>(&mut self, section: &'s Section) -> (Option<&'s Word>, Option<&'s Word>) {
        let (name, rest) = match section.arguments.as_slice() {
            [] => (None, [].as_slice()),
            [from, ..] if from.text == "from" && section.arguments.len() > 1 => (None, section.arguments.as_slice()),
            [name, rest @ ..] => (Some(name), rest),
        };
        if let Some(name) = name {
            self.name(name);
        }
        match rest {
            [] => (name, None),
            [from, of] if from.text == "from" => (name, Some(of)),
            [from] if from.text == "from" => {
                self.findings.error(from.at, "`from` wants the name of a `defaults` section");
                (name, None)
            }
            // As HAProxy: an address where there used to be one is an error, other words are passed over.
            [word, ..] if matches!(section.kind.as_str(), "frontend" | "listen") => {
                self.findings
                    .error(word.at, format!("`{}` cannot stand here: addresses go on `bind` lines", word.text));
                (name, None)
            }
            [word, ..] => {
                self.findings.warning(word.at, format!("`{}` has no effect here", word.text));
                (name, None)
            }
        }
    }

    /// A section's or a server's name.
    pub(super) fn name(&mut self, name: &Word) {
        if let Some(bad) = bad_character(name.as_str()) {
            let message = format!("`{bad}` cannot be in a name: letters, digits, `-`, `_`, `.` and `:` can");
            self.findings.error(name.at, message);
        }
    }

    fn inherited(&mut self, from: &Word) -> Proxy {
        if let Some(defaults) = self.named_defaults.get(from.as_str()) {
            if let Some(first) = self.ambiguous_defaults.get(from.as_str()) {
                let error = Diagnostic::error(from.at, format!("there are several `defaults {}` above", from.text));
                self.findings.push(error.related(*first, "the first").help("give each a name of its own"));
            }
            return defaults.clone();
        }
        self.findings.error(from.at, format!("there is no `defaults {}` above", from.text));
        Proxy::new(from.at)
    }

    fn statements(&mut self, section: &Section, proxy: &mut Proxy) {
        proxy.sections_mode = Self::mode_of(section, proxy);
        proxy.is_page = Self::is_page(section, proxy);
        self.acls(section, proxy);
        if proxy.kind != Kind::Defaults {
            self.inherited_requests(proxy);
        }
        for statement in &section.statements {
            self.statement(statement, proxy);
        }
        self.unused_acls(proxy);
    }

    fn statement(&mut self, statement: &Statement, proxy: &mut Proxy) {
        let Some((keyword, arguments)) = self.keyword("proxy", statement) else { return };
        let name = keyword.name;
        if !keyword.places.contains(proxy.kind.letter()) {
            self.misplaced(name, statement, proxy.kind);
            return;
        }
        if statement.prefix != Prefix::None {
            let negatable = name.starts_with("option ") || name == "log";
            if !negatable {
                self.findings.error(statement.at(), format!("`no` and `default` go with options, not with `{name}`"));
                return;
            }
        }
        if name.starts_with("stats ") && statement.prefix == Prefix::None {
            proxy.stats.enabled.get_or_insert(statement.at());
        }
        match (keyword.status, statement.prefix) {
            // Not to do what is not done is done.
            (Status::Warned | Status::Refused, Prefix::No | Prefix::Default) => {}
            (Status::Implemented, _) => self.implemented(name, statement, arguments, proxy),
            (Status::Refused, Prefix::None) if concerns_checks(name) => {
                if proxy.check_refusals.len() < MOST_INHERITED {
                    Rc::make_mut(&mut proxy.check_refusals).push(refusal(keyword, statement.at()));
                }
            }
            // Told where there is a page; a TCP proxy has none.
            (Status::Refused, Prefix::None) if name == "stats http-request" => proxy.stats_rule(statement.at()),
            (Status::Warned | Status::Refused, Prefix::None) => {
                self.tell(keyword, statement.at());
            }
        }
    }

    fn misplaced(&mut self, name: &str, statement: &Statement, kind: Kind) {
        let message = format!("`{name}` has no place in a `{}` section", kind.name());
        // As HAProxy: what would change where connections go is an error, the rest is ignored.
        if kind == Kind::Defaults || matches!(name, "server" | "server-template") {
            self.findings.error(statement.at(), message);
        } else {
            self.findings.warning(statement.at(), format!("{message}: ignored"));
        }
    }

    fn implemented(&mut self, name: &'static str, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        if check::is_about_checks(name) {
            self.check_statement(name, statement, arguments, proxy);
        } else if let Some(option) = name.strip_prefix("option ") {
            self.option(option, statement, arguments, proxy);
        } else if let Some(which) = name.strip_prefix("timeout ") {
            self.timeout(which, statement, arguments, proxy);
        } else if let Some(what) = name.strip_prefix("stats ") {
            self.stats_statement(what, statement, arguments, &mut proxy.stats);
        } else if name == "tcp-request inspect-delay" {
            let word = self.one(statement, arguments);
            proxy.rules.inspect_delay = word.and_then(|word| self.checked(word, value::time(word.as_str())));
        } else if let Some(what) = name.strip_prefix("email-alert ") {
            self.email_alert(what, statement, arguments, &mut proxy.mail);
        } else if let Some((side, what)) = name.split_once("tcpka-") {
            self.probe(side, what, statement, arguments, &mut proxy.probes);
        } else if name.starts_with("tcp-") {
            self.rule(name, statement, arguments, proxy);
        } else {
            match name {
                "log" => self.proxy_log(statement, arguments, &mut proxy.log),
                "log-tag" => {
                    let tag = self.one(statement, arguments);
                    proxy.log.tag = tag.map(|word| Located::new(word.text.clone(), word.at)).or(proxy.log.tag.take());
                    if proxy.kind == Kind::Backend {
                        let warning = Diagnostic::warning(statement.at(), "`log-tag` has no effect in a backend yet");
                        self.findings.push(warning.help("lines about servers have the tag of `global`"));
                    }
                }
                "log-format" => self.log_format(statement, arguments, proxy),
                "declare capture" => self.declare_capture(statement, arguments, &mut proxy.rules),
                "mode" => self.mode(statement, arguments, proxy),
                "disabled" => proxy.disabled = true,
                "enabled" => proxy.disabled = false,
                "maxconn" => proxy.max_connections = self.number(statement, arguments, 0..=u64::from(u32::MAX)),
                "fullconn" => {
                    proxy.choice.full_load = self.number(statement, arguments, 0..=u64::from(u32::MAX));
                }
                // 0 is the default, as in HAProxy.
                "backlog" => {
                    let backlog = self.number(statement, arguments, 0..=u64::from(u32::MAX));
                    proxy.backlog = backlog.filter(|backlog| backlog.value > 0);
                }
                "retries" => proxy.retries = self.number(statement, arguments, 0..=u64::from(u32::MAX)),
                "balance" => self.balance(statement, arguments, proxy),
                name if state::KEYWORDS.contains(&name) => self.state_said(name, statement, arguments, proxy),
                "hash-type" => self.hash_type(statement, arguments, &mut proxy.choice),
                "hash-balance-factor" => self.hash_balance_factor(statement, arguments, &mut proxy.choice),
                "bind" => self.bind(statement, arguments, proxy),
                "server" => self.server(statement, arguments, proxy),
                "server-template" => self.server_template(statement, arguments, proxy),
                "default-server" => self.server_options(arguments, &mut proxy.default_server),
                "source" => match arguments.split_first() {
                    Some((address, words)) => {
                        let mut words = words.iter().peekable();
                        proxy.source = self.source(address, &mut words);
                        if let Some(more) = words.next() {
                            self.findings.error(more.at, format!("`{}` cannot stand after `source`", more.text));
                        }
                    }
                    None => self.findings.error(statement.at(), "`source` wants an address after it"),
                },
                "default_backend" => {
                    proxy.default_backend =
                        self.one(statement, arguments).map(|word| Located::new(word.text.clone(), word.at));
                }
                "monitor-uri" | "monitor fail" | "http-request" | "redirect" => {
                    self.request_statement(name, statement, arguments, proxy);
                }
                "persist rdp-cookie" => self.persist_rdp_cookie(statement, proxy),
                "use_backend" => self.use_backend(statement, arguments, proxy),
                "use-server" | "force-persist" | "ignore-persist" => self.server_rule(statement, arguments, proxy),
                "rate-limit sessions" => {
                    let limit = self.number(statement, arguments, 0..=u64::from(u32::MAX));
                    proxy.rules.sessions_per_second = limit.filter(|limit| limit.value > 0);
                }
                "stick-table" => self.stick_table(statement, arguments, &mut proxy.stick),
                "stick on" => self.stick(StickAction::On, statement, arguments, proxy),
                "stick match" => self.stick(StickAction::Match, statement, arguments, proxy),
                "stick store-request" => self.stick(StickAction::Store, statement, arguments, proxy),
                "stick store-response" => self.stick_store_response(statement, arguments, proxy),
                // `id`, `guid`, `description`: of no consequence.
                _ => {}
            }
        }
    }

    fn option(&mut self, option: &str, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let at = statement.at();
        let value = match statement.prefix {
            Prefix::None => Some(Located::new(true, at)),
            Prefix::No => Some(Located::new(false, at)),
            Prefix::Default => None,
        };
        match option {
            "allbackups" => proxy.all_backups = value,
            "redispatch" => self.redispatch(statement, arguments, proxy),
            "persist" => proxy.choice.persist = value,
            "abortonclose" => proxy.choice.abort_on_close = value,
            "clitcpka" => proxy.client_keepalive = value,
            "srvtcpka" => proxy.server_keepalive = value,
            "tcpka" => {
                proxy.client_keepalive = value;
                proxy.server_keepalive = value;
            }
            "log-health-checks" => proxy.log_checks = value,
            // In TCP mode the one for HTTP falls back to the one for TCP.
            "tcplog" | "httplog" => proxy.log.line = value.map(|on| on.map(|_| ConnectionLine::Tcp)),
            "dontlognull" => proxy.log.empty = value.map(|on| on.map(|on| !on)),
            "dontlog-normal" => proxy.log.normal = value.map(|on| on.map(|on| !on)),
            "log-separate-errors" => proxy.log.errors_apart = value,
            "logasap" => proxy.log.early = value,
            "nolinger" => proxy.linger = value.map(|on| on.map(|on| !on)),
            // The others ask for what is done anyway.
            _ => {}
        }
    }

    fn timeout(&mut self, which: &str, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let Some(word) = arguments.first() else {
            self.findings.error(statement.at(), format!("`timeout {which}` wants a time after it"));
            return;
        };
        if let Some(more) = arguments.get(1) {
            self.findings.error(more.at, format!("`{}` cannot stand here: one time is wanted", more.text));
        }
        // Zero is none, as in HAProxy.
        let time = self.timeout_value(word).filter(|time| !time.value.is_zero());
        let timeouts = &mut proxy.timeouts;
        match which {
            "check" => timeouts.check = time,
            "client" => timeouts.client = time,
            "client-fin" => timeouts.client_fin = time,
            "connect" => timeouts.connect = time,
            "queue" => proxy.choice.queue_timeout = time,
            "server" => timeouts.server = time,
            "server-fin" => timeouts.server_fin = time,
            "tunnel" => timeouts.tunnel = time,
            _ => {}
        }
    }

    /// As HAProxy, which takes the first part of `1m30s` and warns.
    fn timeout_value(&mut self, word: &Word) -> Maybe<Duration> {
        let time = value::time(word.as_str());
        match value::leading_time(word.as_str()).filter(|_| time.is_err()) {
            Some((leading, rest)) => {
                let message =
                    format!("`{}` is {leading:?}: `{rest}` does not count, as a time has one unit", word.text);
                self.findings.push(Diagnostic::warning(word.at, message).help("write `90s` for a minute and a half"));
                Some(Located::new(leading, word.at))
            }
            None => self.checked(word, time),
        }
    }
}

/// Refused only where a server is checked.
fn concerns_checks(name: &str) -> bool {
    name.starts_with("tcp-check ") || name.starts_with("http-check ")
}
