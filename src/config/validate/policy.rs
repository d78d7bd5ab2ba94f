//! Rules of services, and tables of counters.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::duplicate;
use super::findings::{Findings, Unique};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Located};
use crate::config::source::Location;
use crate::model::expression::Expression;
use crate::model::figure::Figure;
use crate::model::rule::{
    Action, Condition, Counted, Counter, Denial, End, Pattern, Quantity, Rule, Slot, SourceTable, Stage, Term, Test,
    Text,
};
use crate::model::value::{CaptureSlots, MOST_CAPTURES, Scope};
use crate::model::{Networks, Policy, Prefix, Server};

/// The tables of counters, by name.
pub(super) fn tables(raw: &raw::Config, findings: &mut Findings<'_>) -> HashMap<String, SourceTable> {
    let mut names = Unique::new();
    let mut tables = HashMap::new();
    for raw in &raw.source_tables {
        let Some(name) = findings.required(&raw.name, "name", raw.at) else { continue };
        findings.name(name, "name");
        if let Some(first) = names.insert(name.value.as_str(), name.at) {
            duplicate(findings, "source-table", name, first);
        }
        let default = SourceTable::new(name.value.clone());
        let mut period = |value, key| findings.positive(value, key).unwrap_or(default.connection_period);
        let (connection_period, gpc0_period, gpc1_period) = (
            period(&raw.connection_period, "connection-period"),
            period(&raw.gpc0_period, "gpc0-period"),
            period(&raw.gpc1_period, "gpc1-period"),
        );
        let (session_period, bytes_in_period, bytes_out_period) = (
            findings.positive(&raw.session_period, "session-period"),
            findings.positive(&raw.bytes_in_period, "bytes-in-period"),
            findings.positive(&raw.bytes_out_period, "bytes-out-period"),
        );
        let table = SourceTable {
            name: name.value.clone(),
            size: findings.number(&raw.size, "size", 1..=100_000_000, default.size),
            expire: findings.timeout(&raw.expire, "expire", default.expire),
            nopurge: raw.nopurge.is_some_and(|nopurge| nopurge.value),
            ipv6_bits: findings.number(&raw.ipv6_bits, "ipv6-bits", 0..=128, default.ipv6_bits),
            connection_period,
            gpc0_period,
            gpc1_period,
            session_period,
            bytes_in_period,
            bytes_out_period,
        };
        tables.insert(name.value.clone(), table);
    }
    tables
}

/// What rules may name.
pub(super) struct Known<'k> {
    pub(super) pools: HashMap<&'k str, &'k raw::Pool>,
    tables: &'k HashMap<String, SourceTable>,
}

impl<'k> Known<'k> {
    pub(super) fn new(raw: &'k raw::Config, tables: &'k HashMap<String, SourceTable>) -> Self {
        let named = |pool: &'k raw::Pool| Some((pool.name.as_ref()?.value.as_str(), pool));
        Self { pools: raw.pools.iter().filter_map(named).collect(), tables }
    }
}

/// The rules of a pool with these servers; none when it has none.
pub(super) fn pool_policy(
    raw: &raw::Pool,
    servers: &[Server],
    known: &Known<'_>,
    findings: &mut Findings<'_>,
) -> Option<Arc<Policy>> {
    let said = &raw.choice;
    let mut policy = Policy::new();
    policy.inspect_delay = findings.duration(&said.inspect_delay, "server-inspect-delay", policy.inspect_delay);
    for rule in &said.rules {
        names(rule, known, &mut policy, findings);
        if let Action::Server(server) = &rule.value.action
            && !servers.iter().any(|known| known.name == *server)
            && findings.complete
        {
            let error = Diagnostic::error(rule.at, format!("this pool has no server called `{server}`"));
            let error = findings.suggest(error, server, servers.iter().map(|server| server.name.as_str()));
            findings.push(error.help("name one of its servers"));
        }
    }
    policy.rules.extend(said.rules.iter().map(|rule| rule.value.clone()));
    (!policy.rules.is_empty()).then(|| Arc::new(policy))
}

/// The rules of a service; none when it has none.
pub(super) fn policy(raw: &raw::Service, known: &Known<'_>, findings: &mut Findings<'_>) -> Option<Arc<Policy>> {
    let said = &raw.policy;
    let mut policy = Policy::new();
    policy.rules.extend(admission(said));
    if let Some(limits) = &said.limits {
        limit(raw, limits, &mut policy, findings);
    }
    let rules = said.rules.iter().map(|rule| self::rule(rule, raw.pool.is_some(), known, findings));
    policy.rules.extend(rules.collect::<Vec<_>>());
    policy.captures = capture_slots(&said.captures, &mut policy.rules, findings);
    for rule in &said.rules {
        names(rule, known, &mut policy, findings);
    }
    for route in &said.routes {
        policy.rules.extend(self::route(route, known, findings));
    }
    policy.inspect_delay = findings.duration(&said.inspect_delay, "inspect-delay", policy.inspect_delay);
    policy.routes_wait = said.routes_wait.is_none_or(|wait| wait.value);
    policy.sessions_per_second =
        findings.optional_number(&said.sessions_per_second, "connections-per-second", 1..=u64::from(u32::MAX));
    if policy.rules.is_empty() && policy.sessions_per_second.is_none() && policy.captures == CaptureSlots::default() {
        return None;
    }
    if raw.pool.is_none() {
        policy.rules.push(Rule { stage: Stage::Route, action: Action::Nowhere, when: None });
    }
    Some(Arc::new(policy))
}

/// Gives a place to every capture that names none, the next one, and says how many there are.
fn capture_slots(said: &raw::Maybe<raw::Captures>, rules: &mut [Rule], findings: &mut Findings<'_>) -> CaptureSlots {
    let (mut next, mut count) = (0, 0);
    for rule in rules {
        if let Action::Capture { slot, .. } = &mut rule.action {
            next = slot.get_or_insert(next).saturating_add(1);
            count = next.max(count);
        }
    }
    let said = said.as_ref().map(|said| &said.value);
    let mut least = |of: fn(&raw::Captures) -> &raw::Maybe<u64>, key| {
        said.map_or(0, |said| findings.number(of(said), key, 0..=u64::from(MOST_CAPTURES), 0))
    };
    let (request, response) = (least(|said| &said.request, "request"), least(|said| &said.response, "response"));
    CaptureSlots { request: count.max(request), response }
}

/// The first pool that a rule sends connections to: stands for a service that has none of its own.
pub(super) fn first_pool(policy: Option<&Arc<Policy>>) -> Option<String> {
    policy?.rules.iter().find_map(|rule| match &rule.action {
        Action::Pool(pool) => Some(pool.clone()),
        Action::Named(naming) => naming.known.first().cloned(),
        _ => None,
    })
}

/// A rule with the pools that are known of those that its name can be.
fn rule(rule: &Located<Rule>, has_pool: bool, known: &Known<'_>, findings: &mut Findings<'_>) -> Rule {
    let mut full = rule.value.clone();
    let Action::Named(naming) = &mut full.action else { return full };
    let mut names = naming.said();
    let is_there = |name: &String| known.pools.contains_key(name.as_str());
    for name in names.iter().filter(|name| findings.complete && !is_there(name)).collect::<BTreeSet<_>>() {
        let message = format!("the map says `{name}`, which is no pool (`backend`)");
        let whose = if has_pool { "go to the service's own pool (`default_backend`)" } else { "get no server" };
        findings.warning(rule.at, message, format!("clients of whom it is said {whose}"));
    }
    names.retain(is_there);
    let others = || known.pools.keys().filter(|name| naming.can_be(name)).map(|name| (*name).to_owned());
    if !naming.is_listed() {
        names.extend(others());
    } else if names.is_empty() && !has_pool {
        // It may be named later.
        names.extend(others().min());
    }
    names.sort_unstable();
    names.dedup();
    naming.known = names;
    full
}

/// `allow` and `deny`.
fn admission(said: &raw::Policy) -> Option<Rule> {
    let prefixes = |list: &[Located<Prefix>]| list.iter().map(|prefix| prefix.value).collect::<Vec<_>>();
    let (allow, deny) = (prefixes(&said.allow), prefixes(&said.deny));
    let (negated, networks) = match (allow.is_empty(), deny.is_empty()) {
        (true, true) => return None,
        (true, false) => (false, Networks::new(deny)),
        (false, _) => (true, Networks::except(allow, &deny)),
    };
    let outside = Term { negated, any: Arc::new([Test::Address(End::Source, networks)]) };
    Some(Rule { stage: Stage::Connection, action: Action::Reject(Denial::Rule), when: all([outside]) })
}

/// `limits`: a table of the service's own, and a rule for each limit.
fn limit(service: &raw::Service, raw: &Located<raw::Limits>, policy: &mut Policy, findings: &mut Findings<'_>) {
    // Native rules are told to leave this one alone.
    let Some(slot) = Slot::new(2) else { return };
    let taken = |rule: &&Located<Rule>| matches!(rule.value.action, Action::Track { slot: used, .. } if used == slot);
    if let Some(rule) = service.policy.rules.iter().find(taken) {
        let error = Diagnostic::error(rule.at, "`limits` counts with track-sc2 already");
        findings.push(error.related(raw.at, "the limits").help("use track-sc0 or track-sc1"));
    }
    let limits = &raw.value;
    let name = service.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
    let table = SourceTable::new(format!("limits of {name}"));
    let size = findings.number(&limits.sources, "sources", 1..=100_000_000, table.size);
    let range = 1..=u64::from(u32::MAX);
    let concurrent: Option<u32> = findings.optional_number(&limits.concurrent, "concurrent", range.clone());
    let rate: Option<u32> = findings.optional_number(&limits.connections_per_second, "connections-per-second", range);
    let when = |counter, limit: u32| {
        let quantity = Quantity::Counter { of: Counted::Tracked(slot), table: None, counter };
        all([Term { negated: false, any: Arc::new([Test::Number(quantity, vec![i64::from(limit) + 1..=i64::MAX])]) }])
    };
    let rule = |action, when| Rule { stage: Stage::Connection, action, when };
    policy.rules.push(rule(Action::Track { slot, table: table.name.clone(), mask: None }, None));
    let too_many = concurrent.map(|limit| when(Counter::Connections, limit));
    let too_fast = rate.map(|limit| when(Counter::ConnectionRate, limit));
    let denials = [too_many, too_fast].into_iter().flatten();
    policy.rules.extend(denials.map(|when| rule(Action::Reject(Denial::Limit), when)));
    policy.tables.push(SourceTable { size, ..table });
}

fn all(terms: impl IntoIterator<Item = Term>) -> Option<Condition> {
    Some(Condition { negated: false, any: vec![terms.into_iter().collect()] })
}

/// Checks that the pools, servers and tables of a rule are there, and takes in the tables.
fn names(rule: &Located<Rule>, known: &Known<'_>, policy: &mut Policy, findings: &mut Findings<'_>) {
    let early = rule.value.stage < Stage::Content;
    if early && rule.value.when.iter().flat_map(Condition::tests).any(Test::listens) {
        let message = "a rule of this stage cannot know what the client says: it is as if it said nothing";
        findings.warning(rule.at, message, "make it a `content` rule");
    }
    match &rule.value.action {
        Action::Set { variable, .. } | Action::Compose { variable, .. }
            if early && matches!(variable.scope, Scope::Transaction | Scope::Request) =>
        {
            let message = format!("`{variable}` is gone again when this stage is over: nothing reads it");
            findings.warning(rule.at, message, "keep it in `sess.`, or make it a `content` rule");
        }
        Action::Pool(pool) => pool_exists(pool, rule.at, known, findings),
        _ => {}
    }
    conditions_exist(rule.value.when.iter(), rule.at, known, findings);
    for (table, counter) in rule.value.counted() {
        let asks_in_vain = |table: &SourceTable| counter.is_some_and(|counter| !table.keeps(counter));
        if known.tables.get(table).is_some_and(asks_in_vain) {
            let message = format!("table `{table}` does not count what this asks for: it never holds");
            let remedy = "give it `session-period`, `bytes-in-period`, `bytes-out-period` (`store sess_rate(10s)`, ..)";
            findings.warning(rule.at, message, remedy);
        }
    }
    for figure in rule.value.action.values().filter_map(Expression::quantity).filter_map(Quantity::figure) {
        figure_exists(figure, rule.at, known, findings);
    }
    for table in rule.value.tables() {
        match known.tables.get(table) {
            Some(found) if policy.tables.iter().all(|there| there.name != found.name) => {
                policy.tables.push(found.clone())
            }
            Some(_) => {}
            None => {
                let message = format!("there is no table called `{table}`");
                findings.missing(
                    rule.at,
                    message,
                    format!(
                        "add a [[source-table]] (`stick-table` of a backend) with name = \"{}\"",
                        table.escape_debug()
                    ),
                );
            }
        }
    }
}

/// Checks that the pools and servers that conditions ask for are there.
pub(super) fn conditions_exist<'c>(
    conditions: impl Iterator<Item = &'c Condition>,
    at: Location,
    known: &Known<'_>,
    findings: &mut Findings<'_>,
) {
    for condition in conditions {
        for test in condition.tests() {
            if let Test::ServerUp { pool, server } = test {
                pool_exists(pool, at, known, findings);
                server_exists(pool, server, at, known, findings);
            }
        }
        for figure in condition.quantities().filter_map(Quantity::figure) {
            figure_exists(figure, at, known, findings);
        }
    }
}

pub(super) fn figure_exists(figure: &Figure, at: Location, known: &Known<'_>, findings: &mut Findings<'_>) {
    if let Some(pool) = figure.pool() {
        pool_exists(pool, at, known, findings);
    }
    if let Figure::Server(_, of) = figure {
        server_exists(&of.pool, &of.server, at, known, findings);
    }
}

fn pool_exists(pool: &str, at: Location, known: &Known<'_>, findings: &mut Findings<'_>) {
    if !known.pools.contains_key(pool) && findings.complete {
        let error = Diagnostic::error(at, format!("there is no pool called `{pool}`"));
        let error = findings.suggest(error, pool, known.pools.keys().copied());
        findings.push(error.help(format!("add a [[pool]] (`backend`) with name = \"{}\"", pool.escape_debug())));
    }
}

fn server_exists(pool: &str, server: &str, at: Location, known: &Known<'_>, findings: &mut Findings<'_>) {
    let Some(raw) = known.pools.get(pool) else { return };
    let named = |(index, raw): (usize, &raw::Server)| match &raw.name {
        Some(name) => name.value == server,
        None => format!("s{}", index + 1) == server,
    };
    if !raw.servers.iter().enumerate().any(named) {
        findings.missing(at, format!("pool `{pool}` has no server called `{server}`"), "name one of its servers");
    }
}

/// One entry of `route`.
fn route(raw: &raw::PoolRoute, known: &Known<'_>, findings: &mut Findings<'_>) -> Option<Rule> {
    let pool = findings.required(&raw.pool, "pool", raw.at)?;
    pool_exists(&pool.value, pool.at, known, findings);
    let mut terms = Vec::new();
    if !raw.sni.is_empty() {
        let patterns = raw.sni.iter().filter_map(|name| server_name(name, findings)).collect();
        terms.push(Test::Text { of: Text::ServerName, ignore_case: true, patterns });
    }
    if !raw.ports.is_empty() {
        let range =
            |ports: &Located<crate::model::PortRange>| i64::from(ports.value.first())..=i64::from(ports.value.last());
        terms.push(Test::Number(Quantity::Port(End::Destination), raw.ports.iter().map(range).collect()));
    }
    if !raw.from.is_empty() {
        let networks = raw.from.iter().map(|prefix| prefix.value).collect();
        terms.push(Test::Address(End::Source, Networks::new(networks)));
    }
    if terms.is_empty() {
        findings.error(raw.at, "this route fits every client", "add `sni`, `ports` or `from`, or write `pool` alone");
    }
    let when = all(terms.into_iter().map(|test| Term { negated: false, any: Arc::new([test]) }));
    Some(Rule { stage: Stage::Route, action: Action::Pool(pool.value.clone()), when })
}

/// `www.example.org`, `*.example.org` (names below it), or `*` (any).
fn server_name(name: &Located<String>, findings: &mut Findings<'_>) -> Option<Pattern> {
    let text = name.value.as_str();
    if text == "*" {
        return Some(Pattern::Found);
    }
    let below = text.strip_prefix('*');
    let rest = below.unwrap_or(text);
    let well_formed = !rest.is_empty()
        && rest.len() <= 255
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && below.is_none_or(|below| below.starts_with('.') && below.len() > 1);
    if !well_formed {
        findings.error(
            name.at,
            format!("`{text}` is not a server's name"),
            "write \"www.example.org\", \"*.example.org\" or \"*\", names beyond ASCII as xn--",
        );
        return None;
    }
    let bytes = rest.to_ascii_lowercase().into_bytes();
    Some(if below.is_some() { Pattern::End(bytes) } else { Pattern::Exact(bytes) })
}
