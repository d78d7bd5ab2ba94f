//! `acl`, `use_backend` and `tcp-request`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::Translator;
use super::bind::anybody;
use super::grammar::{Section, Statement};
use super::proxy::{Kind, Proxy};
use crate::config::acl::{self, Acl, Fault, Scope};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::keywords::{self, Status};
use crate::config::raw::{self, Listen, Located, Maybe};
use crate::config::source::Location;
use crate::model::rule::{Action, Condition, End, Rule, Stage, Term, Test};
use crate::model::value::CaptureSlots;
use crate::model::{Networks, Prefix};

/// What a proxy says about who is turned away and where the others go.
#[derive(Debug, Clone, Default)]
pub(super) struct RulesSaid {
    acls: HashMap<String, Acl>,
    /// In the order of the file, the routes among them.
    pub(super) rules: Vec<Located<Rule>>,
    /// Those of its pool, in the order of the file.
    pub(super) of_pool: Vec<Located<Rule>>,
    pub(super) inspect_delay: Maybe<std::time::Duration>,
    pub(super) sessions_per_second: Maybe<u64>,
    /// Who begins with a PROXY header, on all addresses of the section.
    pub(super) headers_from: Vec<Located<Prefix>>,
    /// A `use_backend` whose name is made takes every connection.
    pub(super) all_mapped: bool,
    /// A `use_backend` was refused, which has been told.
    pub(super) refused: bool,
    /// Places for captures, filled and unfilled ones.
    captures: CaptureSlots,
    /// Some of them are declared by themselves.
    declared: Maybe<()>,
}

impl RulesSaid {
    /// Where a section listens, with what its rules say about who begins with a PROXY header.
    pub(super) fn listen_on(&self, addresses: &[Listen]) -> Vec<Listen> {
        let mut addresses = addresses.to_vec();
        for address in &mut addresses {
            address.proxy_from.extend(self.headers_from.iter().copied());
        }
        addresses
    }

    /// The pools that connections are sent to.
    pub(super) fn pools(&self) -> impl Iterator<Item = String> {
        self.rules.iter().flat_map(|rule| match &rule.value.action {
            Action::Pool(pool) => vec![pool.clone()],
            Action::Named(naming) => naming.said(),
            _ => Vec::new(),
        })
    }

    /// The tables that rules name.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&String, Location)> {
        let rules = self.rules.iter().chain(&self.of_pool);
        rules.flat_map(|rule| rule.value.tables().map(|table| (table, rule.at)))
    }

    fn captures_raw(&self) -> raw::Captures {
        let CaptureSlots { request, response } = self.captures;
        let some = |slots: u16| {
            self.declared.filter(|_| slots > 0).map(|declared| Located::new(u64::from(slots), declared.at))
        };
        raw::Captures { request: some(request), response: some(response) }
    }

    /// Whether one of the rules asks for what clients say.
    pub(super) fn listens(rules: &[Located<Rule>]) -> bool {
        rules.iter().any(|rule| rule.value.stage >= Stage::Content && rule.value.listens())
    }
}

/// The networks that a condition asks for, if it asks for nothing else.
fn sources(condition: &Condition) -> Option<Vec<Prefix>> {
    let mut networks = Vec::new();
    for line in &condition.any {
        let [Term { negated: false, any }] = line.as_slice() else { return None };
        for test in any.iter() {
            match test {
                // Without exceptions.
                Test::Address(End::Source, listed) if *listed == Networks::new(listed.listed().to_vec()) => {
                    networks.extend_from_slice(listed.listed());
                }
                _ => return None,
            }
        }
    }
    (!condition.negated).then_some(networks)
}

impl Translator<'_> {
    /// All ACLs of a section: a later line of the same name adds to it, whoever used it before.
    pub(super) fn acls(&mut self, section: &Section, proxy: &mut Proxy) {
        let mut lines: HashMap<&str, Acl> = HashMap::new();
        let statements = section.statements.iter().filter(|statement| statement.keyword().text == "acl");
        for statement in statements {
            let Some((name, test)) = statement.arguments().split_first().filter(|(_, test)| !test.is_empty()) else {
                self.findings.error(statement.at(), "`acl` wants a name and a test, as in `acl local src 10.0.0.0/8`");
                continue;
            };
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
            if !name.text.chars().all(allowed) || matches!(name.as_str(), "or") {
                self.findings.error(name.at, format!("`{}` cannot be an ACL's name", name.text));
                continue;
            }
            let tests = self.in_scope(proxy, |scope| acl::tests(statement.at(), test, scope));
            let acl = match (lines.remove(name.as_str()), tests) {
                (Some(Err(fault)), _) | (_, Err(fault)) => Err(fault),
                (Some(Ok(before)), Ok(tests)) => Ok(before.iter().cloned().chain(tests).collect()),
                (None, Ok(tests)) => Ok(tests.into()),
            };
            lines.insert(name.as_str(), acl);
        }
        proxy.rules.acls.extend(lines.into_iter().map(|(name, acl)| (name.to_owned(), acl)));
    }

    /// What cannot be evaluated matters only where it is used: then it has been an error.
    pub(super) fn unused_acls(&mut self, proxy: &Proxy) {
        let faults: HashSet<(Location, &str)> = proxy
            .rules
            .acls
            .values()
            .filter_map(|acl| acl.as_ref().err())
            .map(|fault| (fault.at, fault.message.as_str()))
            .collect();
        for (at, message) in faults {
            if !self.told.contains(&(at, message.to_owned())) {
                let warning = Diagnostic::warning(at, message);
                self.push_once(warning.help("no rule that is evaluated uses this ACL: one that did would be refused"));
            }
        }
    }

    pub(super) fn in_scope<T>(&self, proxy: &Proxy, read: impl FnOnce(&Scope<'_>) -> T) -> T {
        let around = self.around;
        let own = Some(proxy.name.as_str()).filter(|name| !name.is_empty());
        let scope = Scope {
            acls: &proxy.rules.acls,
            own,
            of_requests: proxy.is_page,
            read: &|path: &Path| around.read(path),
            variable: &|name: &str| around.variable(name),
            initially: &|variable| self.constants.get(variable).cloned(),
        };
        read(&scope)
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.push_once(fault.into());
    }

    /// `use_backend NAME [{if | unless} CONDITION]`
    pub(super) fn use_backend(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        if let Err(refusal) = self.route(statement, arguments, proxy) {
            proxy.rules.refused = true;
            self.push_once(*refusal);
        }
    }

    fn route(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) -> Result<(), Box<Diagnostic>> {
        let Some((name, rest)) = arguments.split_first() else {
            return Err(Diagnostic::error(statement.at(), "`use_backend` wants the name of a backend").into());
        };
        let (before, when) = self.in_scope(proxy, |scope| acl::split(rest, scope)).map_err(Diagnostic::from)?;
        if let Some(more) = before.first() {
            let message = format!("`{}` cannot stand here: `if` or `unless` can", more.text);
            return Err(Diagnostic::error(more.at, message).into());
        }
        if proxy.backend.is_some() || proxy.rules.all_mapped {
            let warning =
                Diagnostic::warning(statement.at(), "this is never reached: the one before takes every connection");
            self.findings.push(warning);
            return Ok(());
        }
        if name.text.contains("%[") {
            return self.named_backend(name, when, statement.at(), proxy);
        }
        match when {
            None => proxy.backend = Some(Located::new(name.text.clone(), name.at)),
            Some(when) => {
                let rule = Rule { stage: Stage::Route, action: Action::Pool(name.text.clone()), when: Some(when) };
                proxy.rules.rules.push(Located::new(rule, statement.at()));
            }
        }
        Ok(())
    }

    /// `tcp-request connection accept` and its like: an action from the context named like the keyword.
    pub(super) fn rule(&mut self, name: &'static str, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let Some(word) = arguments.first() else {
            self.findings.error(statement.at(), format!("`{name}` wants an action after it"));
            return;
        };
        let action = word.text.split('(').next().unwrap_or_default();
        let Some(keyword) = keywords::haproxy().get(name, action) else {
            self.unknown(name, &[action], word.at);
            return;
        };
        let at = Location { end: word.at.end, ..statement.at() };
        let stage = match name {
            "tcp-request connection" => Stage::Connection,
            "tcp-request session" => Stage::Session,
            "tcp-request content" => Stage::Content,
            _ => {
                self.tell(keyword, at);
                return;
            }
        };
        if keyword.status != Status::Implemented {
            self.tell(keyword, at);
            return;
        }
        if keyword.name == "expect-proxy" {
            return self.expect_proxy(statement, &arguments[1..], proxy);
        }
        let arguments = Self::taken_at_once(&self.without_ttl(arguments));
        match self.in_scope(proxy, |scope| acl::staged(stage, statement.at(), &arguments, scope)) {
            Ok(rule) if proxy.kind == Kind::Backend && matches!(rule.action, Action::Capture { .. }) => {
                let error = Diagnostic::error(statement.at(), "captures are of frontends: a backend has none");
                self.findings.push(error.help("write it in the `frontend`"));
            }
            Ok(rule) if proxy.is_page => self.admission(rule, statement.at(), proxy),
            // Asked once the pool has been chosen.
            Ok(rule) if proxy.kind == Kind::Backend => {
                proxy.rules.of_pool.push(Located::new(rule, statement.at()));
            }
            Ok(mut rule) => {
                if let Action::Capture { slot, .. } = &mut rule.action {
                    *slot = Some(proxy.rules.captures.request);
                    proxy.rules.captures.request += 1;
                }
                proxy.rules.rules.push(Located::new(rule, statement.at()));
            }
            Err(fault) => self.fault(fault),
        }
    }

    /// `expect-proxy layer4 [if { src 192.0.2.0/24 }]`: who begins with a PROXY header, on all addresses of the section.
    fn expect_proxy(&mut self, statement: &Statement, arguments: &[Word], proxy: &mut Proxy) {
        let when = match self.in_scope(proxy, |scope| acl::split(arguments, scope)) {
            Ok(([layer], when)) if layer.text == "layer4" => when,
            Ok(_) => {
                self.findings.error(statement.at(), "`expect-proxy` wants `layer4` after it, and then perhaps `if ..`");
                return;
            }
            Err(fault) => return self.fault(fault),
        };
        let accepts =
            |rule: &Located<Rule>| rule.value.stage == Stage::Connection && rule.value.action == Action::Accept;
        if let Some(before) = proxy.rules.rules.iter().find(|rule| accepts(rule)) {
            let message =
                "`expect-proxy` after an `accept` is not there: who was accepted would have to begin with a header";
            self.findings.push(Diagnostic::error(statement.at(), message).related(before.at, "this one"));
            return;
        }
        match when.map_or_else(|| Some(anybody().to_vec()), |when| sources(&when)) {
            Some(networks) => {
                proxy
                    .rules
                    .headers_from
                    .extend(networks.into_iter().map(|network| Located::new(network, statement.at())));
            }
            None => {
                let message = "who begins with a PROXY header is told by `if { src .. }` here, and by nothing else";
                self.findings.error(statement.at(), message);
            }
        }
    }

    /// The rules of a service.
    pub(super) fn policy(&mut self, proxy: &Proxy) -> raw::Policy {
        let said = &proxy.rules;
        if said.rules.is_empty() && said.sessions_per_second.is_none() && said.declared.is_none() {
            return raw::Policy::default();
        }
        let at = said.rules.first().map_or(proxy.at, |rule| rule.at);
        if RulesSaid::listens(&said.rules) && said.inspect_delay.is_none() {
            let message = "rules ask for what clients say, but none of them waits for it";
            self.push_once(Diagnostic::warning(at, message).help("add `tcp-request inspect-delay 5s`"));
        }
        // HAProxy does not wait unless it is told to; natively rules do.
        let no_delay = Located::new(std::time::Duration::ZERO, at);
        // Neither does `use_backend`, ever.
        let listens = |rule: &Located<Rule>| rule.value.stage == Stage::Route && rule.value.listens();
        let has_listening_routes = said.rules.iter().any(listens);
        raw::Policy {
            rules: said.rules.clone(),
            routes_wait: has_listening_routes.then_some(Located::new(false, at)),
            inspect_delay: Some(said.inspect_delay.unwrap_or(no_delay)),
            sessions_per_second: said.sessions_per_second,
            captures: said.declared.map(|declared| declared.map(|()| said.captures_raw())),
            ..raw::Policy::default()
        }
    }

    /// HAProxy's `set-var` waits for nothing, nor does `set-var-fmt`, whose text is that of a log line.
    fn taken_at_once(arguments: &[Word]) -> Vec<Word> {
        let mut arguments = arguments.to_vec();
        let Some((first, rest)) = arguments.split_first_mut() else { return arguments };
        if let Some(variable) = first.text.strip_prefix("set-var(") {
            first.text = format!("set-var-now({variable}");
        } else if let Some(variable) = first.text.strip_prefix("set-var-fmt(") {
            first.text = format!("set-var-fmt-now({variable}");
            if let Some(text) = rest.first_mut() {
                text.text = Self::with_expressions(&text.text);
            }
        }
        arguments
    }

    /// The ends of a connection by the short names that log lines have for them.
    fn with_expressions(text: &str) -> String {
        const SHORT: [(&str, &str); 4] = [("%ci", "src"), ("%cp", "src_port"), ("%fi", "dst"), ("%fp", "dst_port")];
        SHORT.iter().fold(text.to_owned(), |text, (short, long)| text.replace(short, &format!("%[{long}]")))
    }

    /// `declare capture request len 40`: a place that nothing fills in TCP mode, but that counts and is written.
    pub(super) fn declare_capture(&mut self, statement: &Statement, arguments: &[Word], said: &mut RulesSaid) {
        let [direction, len, length, rest @ ..] = arguments else {
            self.findings.error(statement.at(), "`declare capture` wants a direction and a length: `request len 40`");
            return;
        };
        let slots = match direction.as_str() {
            "request" => &mut said.captures.request,
            "response" => &mut said.captures.response,
            _ => {
                let message = format!("`{}` is neither `request` nor `response`", direction.text);
                self.findings.error(direction.at, message);
                return;
            }
        };
        if len.text != "len" || length.text.parse::<u16>().map_or(true, |length| length == 0) {
            self.findings.error(length.at, "`declare capture` wants a length above 0: `len 40`");
            return;
        }
        *slots += 1;
        said.declared = Some(Located::new((), statement.at()));
        if let Some(more) = rest.first() {
            self.findings.warning(more.at, format!("`{}` has no effect here", more.text));
        }
    }

    /// `silent-drop rst-ttl 3 if ..` is `silent-drop if ..`: nothing is sent, however far it would come.
    fn without_ttl(&mut self, arguments: &[Word]) -> Vec<Word> {
        match arguments {
            [drop, ttl, _, rest @ ..] if drop.as_str() == "silent-drop" && ttl.as_str() == "rst-ttl" => {
                self.findings.warning(ttl.at, "`rst-ttl` has no effect: no reset is sent at all");
                [std::slice::from_ref(drop), rest].concat()
            }
            all => all.to_vec(),
        }
    }
}
