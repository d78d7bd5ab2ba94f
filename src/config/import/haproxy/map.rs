//! `use_backend %[req.ssl_sni,lower,map(FILE,DEFAULT)]`: a backend's name that a file of keys and names says, as rules; and
//! `use_backend %[req.ssl_sni,lower]-https`: one that is made of what is asked, which are rules of all backends so called.

use std::path::Path;

use super::Translator;
use super::proxy::Proxy;
use crate::config::acl::{self, map};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{self, Located};
use crate::config::source::Location;
use crate::model::rule::{Action, Condition, Rule, Stage, Term, Test};

/// A name with one expression in it.
struct Expression<'t> {
    before: &'t str,
    fetch: &'t str,
    method: &'static str,
    /// The map; none: what is asked is the name.
    file: Option<&'t str>,
    default: Option<&'t str>,
    after: &'t str,
}

/// What a name can be made of, and how that compares.
const NAMING: [(&str, &str); 5] = [
    ("req.ssl_sni", "str"),
    ("req.ssl_sni,lower", "str"),
    ("req_ssl_sni", "str"),
    ("req_ssl_sni,lower", "str"),
    ("dst_port", map::NUMBER),
];

impl<'t> Expression<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let (before, rest) = text.split_once("%[")?;
        let (inside, after) = rest.split_once(']')?;
        if after.contains("%[") {
            return None;
        }
        let Some((fetch, converter)) = inside.split_once(",map") else {
            let known = NAMING.iter().find(|(fetch, _)| *fetch == inside).map(|(_, method)| *method);
            // What rules have kept is compared as text.
            let method = known.or_else(|| inside.starts_with("var(").then_some("str"))?;
            return Some(Self { before, fetch: inside, method, file: None, default: None, after });
        };
        let (suffix, arguments) = converter.strip_suffix(')')?.split_once('(')?;
        let (file, default) = match arguments.split_once(',') {
            Some((file, default)) => (file, Some(default)),
            None => (arguments, None),
        };
        let (_, method) = map::METHODS.iter().find(|(name, _)| name.strip_prefix("map") == Some(suffix))?;
        Some(Self { before, fetch, method, file: Some(file), default, after })
    }

    /// Whether some connections have nothing to look up: addresses and ports all have.
    fn may_be_missing(&self) -> bool {
        self.fetch.starts_with("var(") || !["ip", map::NUMBER].contains(&self.method)
    }

    /// The values that make these names.
    fn made_from<'n>(&self, names: &'n [String]) -> String {
        let middle = |name: &'n String| name.strip_prefix(self.before)?.strip_suffix(self.after);
        let number =
            |value: &str| self.method != map::NUMBER || value.parse::<u16>().is_ok_and(|n| n.to_string() == value);
        let values = names.iter().filter_map(middle).filter(|value| !value.is_empty() && number(value));
        values.map(|value| format!("{value} {value}\n")).collect()
    }

    fn name(&self, value: &str) -> String {
        format!("{}{value}{}", self.before, self.after)
    }

    /// The test that one of these keys is it.
    fn words(&self, keys: &[&str], at: Location) -> Vec<Word> {
        let words = [self.fetch, "-m", self.method, "--"].into_iter().chain(keys.iter().copied());
        words.map(|text| Word { text: text.to_owned(), at }).collect()
    }
}

fn is_backend(name: &str, proxies: &[Proxy]) -> bool {
    proxies.iter().any(|proxy| proxy.name == name && proxy.is_backend())
}

impl Proxy {
    /// Whether a `use_backend` names a backend; a map may have none that is there.
    pub(super) fn leads_somewhere(&self, proxies: &[Proxy]) -> bool {
        self.rules.rules.iter().any(|rule| match &rule.value.action {
            Action::Pool(name) => !self.rules.mapped.contains(&rule.at) || is_backend(name, proxies),
            _ => false,
        })
    }
}

impl Translator<'_> {
    /// Rules for every value of the map, then for what it does not have.
    pub(super) fn mapped_backend(
        &mut self,
        name: &Word,
        when: Option<&Condition>,
        at: Location,
        proxy: &mut Proxy,
    ) -> Result<(), Box<Diagnostic>> {
        let Some(expression) = Expression::of(&name.text) else {
            let error = Diagnostic::error(name.at, "a backend's name cannot be made from the connection so yet");
            return Err(error.help(
                "`%[req.ssl_sni,lower]` and `%[dst_port]` can be part of it, and a map can say it: `%[req.ssl_sni,lower,map(/etc/haproxy/names.map,default)]`; else write a `use_backend` line for each backend",
            ).into());
        };
        let text = match expression.file.map(|file| (file, self.around.read(Path::new(file)))) {
            None => expression.made_from(&self.backends),
            Some((_, Ok(text))) => text,
            Some((file, Err(error))) => {
                return Err(Diagnostic::error(name.at, format!("the map {file} cannot be read: {error}")).into());
            }
        };
        if when.is_some_and(|when| when.negated && when.any.len() > 1) {
            let message = "`unless` with `||` does not go with a map yet: write it with `if` and `!`";
            return Err(Diagnostic::error(at, message).into());
        }
        let mut entries = map::entries(&text);
        let capital = |(key, _): &(&str, &str)| key.contains(|c: char| c.is_ascii_uppercase());
        if expression.fetch.ends_with(",lower") && expression.method != "reg" {
            if let Some((key, _)) = entries.iter().find(|entry| capital(entry)) {
                let what = if expression.file.is_some() { "of the map" } else { "of a backend's name" };
                let message = format!("`{key}` {what} never matches: it has a capital letter, and `lower` leaves none");
                self.push_once(Diagnostic::warning(name.at, message));
            }
            entries.retain(|entry| !capital(entry));
        }
        let mut rules = Vec::new();
        for (value, keys) in map::groups(expression.method, entries) {
            let words = expression.words(&keys, name.at);
            let tests = self.in_scope(proxy, |scope| acl::tests(name.at, &words, scope));
            let tests = tests.map_err(Diagnostic::from)?;
            rules.push((expression.name(value), Some(both(when, tests))));
        }
        let default = expression.default.map_or_else(String::new, |default| expression.name(default));
        if expression.default.is_some() && expression.may_be_missing() {
            // As in HAProxy, the map says nothing of what is not there.
            let words = [expression.fetch, "-m", "found"].map(|text| Word { text: text.to_owned(), at: name.at });
            let found = self.in_scope(proxy, |scope| acl::tests(name.at, &words, scope)).map_err(Diagnostic::from)?;
            rules.push((default, Some(both(when, found))));
            rules.push((String::new(), when.cloned()));
        } else {
            rules.push((default, when.cloned()));
        }
        let rule = |(pool, when)| Located::new(Rule { stage: Stage::Route, action: Action::Pool(pool), when }, at);
        proxy.rules.rules.extend(rules.into_iter().map(rule));
        proxy.rules.mapped.push(at);
        proxy.rules.all_mapped |= when.is_none();
        Ok(())
    }

    /// Where maps lead to no backend, connections go to the default one, if there is any.
    pub(super) fn resolve_maps(
        &mut self,
        proxy: &Proxy,
        proxies: &[Proxy],
        pool: Option<&str>,
        policy: &mut raw::Policy,
    ) {
        if proxy.rules.mapped.is_empty() {
            return;
        }
        for rule in policy.rules.iter_mut().filter(|rule| proxy.rules.mapped.contains(&rule.at)) {
            let Action::Pool(name) = &rule.value.action else { continue };
            if is_backend(name, proxies) {
                continue;
            }
            if !name.is_empty() {
                let message = format!("the map says `{name}`, which is no backend: its clients go to the default one");
                self.push_once(Diagnostic::warning(rule.at, message));
            }
            rule.value.action = pool.map_or(Action::Nowhere, |pool| Action::Pool(pool.to_owned()));
        }
    }
}

/// Both of them hold.
fn both(when: Option<&Condition>, tests: Vec<Test>) -> Condition {
    let term = Term { negated: false, any: tests.into() };
    let any = match when {
        None => vec![vec![term]],
        Some(when) if when.negated => {
            // Not all of the line: one of its terms does not hold.
            let turned = when.any.iter().flatten().map(|term| Term { negated: !term.negated, any: term.any.clone() });
            turned.map(|other| vec![other, term.clone()]).collect()
        }
        Some(when) => {
            let with = |line: &Vec<Term>| line.iter().chain([&term]).cloned().collect();
            when.any.iter().map(with).collect()
        }
    };
    Condition { negated: false, any }
}
