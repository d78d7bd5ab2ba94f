//! Pages: `[stats]` is one that is nothing but statistics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::duplicate;
use super::findings::{Findings, Unique};
use super::overlap::Overlaps;
use super::policy::{self, Known};
use crate::config::raw::{self, Located};
use crate::config::source::Location;
use crate::model::page::{Monitor, PageAction, PageListen, PageRule};
use crate::model::{Page, Statistics};

/// What `[stats]` is called among the pages: no other one can be.
const STATS: &str = "[stats]";
/// Each is a socket; a range here is a mistake.
const MOST_PORTS: usize = 64;

/// All pages that can be made out.
pub(super) fn pages(
    raw: &raw::Config,
    known: &Known<'_>,
    overlaps: &mut Overlaps,
    findings: &mut Findings<'_>,
) -> Vec<Page> {
    let mut names = Unique::new();
    let mut pages: Vec<Page> = raw.stats.iter().map(|raw| stats(raw, overlaps, findings)).collect();
    for raw in &raw.pages {
        let Some(name) = findings.required(&raw.name, "name", raw.at) else { continue };
        findings.name(name, "name");
        if name.value == STATS {
            findings.error(name.at, format!("`{STATS}` is the name of another page"), "choose another name");
        }
        if let Some(first) = names.insert(name.value.as_str(), name.at) {
            duplicate(findings, "page", name, first);
        }
        pages.push(page(raw, &name.value, known, overlaps, findings));
    }
    pages
}

fn stats(raw: &raw::Stats, overlaps: &mut Overlaps, findings: &mut Findings<'_>) -> Page {
    let mut listen: Vec<(SocketAddr, Location)> = Vec::new();
    for address in &raw.listen {
        let host = Located::new(address.value.host.clone(), address.at);
        listen.extend(findings.address(&host).map(|ip| (SocketAddr::new(ip, address.value.port), address.at)));
    }
    if raw.listen.is_empty() {
        listen.push((SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8404), raw.at));
    }
    let addresses: Vec<SocketAddr> = listen.iter().map(|(address, _)| *address).collect();
    let listen = listen.into_iter().map(|(address, at)| {
        // `::` takes IPv4 too, unless the same port of `0.0.0.0` is listed beside it.
        let twin = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        let dual_stack = address.is_ipv6() && address.ip().is_unspecified() && !addresses.contains(&twin);
        let listen = PageListen { dual_stack, ..PageListen::new(address) };
        overlaps.add_page(&listen, at, findings);
        listen
    });
    let listen: Vec<PageListen> = listen.collect();
    let at = raw.listen.first().map_or(raw.at, |address| address.at);
    let statistics = statistics(&raw.statistics, (at, &listen), findings);
    Page {
        listen,
        max_connections: max_connections(raw.max_connections, findings),
        statistics: Some(Statistics { alone: true, ..statistics }),
        ..Page::new(STATS)
    }
}

fn page(raw: &raw::Page, name: &str, known: &Known<'_>, overlaps: &mut Overlaps, findings: &mut Findings<'_>) -> Page {
    if raw.listen.is_empty() {
        findings.missing(raw.at, "this page listens nowhere", "add listen = \"0.0.0.0:8081\"");
    }
    let ports: usize = raw.listen.iter().map(|listen| listen.ports.value.len()).sum();
    if ports > MOST_PORTS {
        findings.error(
            raw.at,
            format!("this page would listen on {ports} ports"),
            format!("list {MOST_PORTS} at most"),
        );
    }
    let listen: Vec<PageListen> =
        raw.listen.iter().filter(|_| ports <= MOST_PORTS).flat_map(|raw| addresses(raw, overlaps, findings)).collect();
    let at = raw.listen.first().map_or(raw.at, |listen| listen.host.at);
    let answers = |rule: &&Located<PageRule>| !matches!(rule.value.action, PageAction::Allow | PageAction::Reject);
    for rule in raw.admission.iter().filter(answers) {
        let message = "`admission` answers nobody: its rules are `allow` and `reject`";
        findings.error(rule.at, message, "write it among the `rules`");
    }
    for rule in raw.admission.iter().chain(&raw.rules).chain(&raw.otherwise) {
        policy::conditions_exist(rule.value.when.iter(), rule.at, known, findings);
        for figure in rule.value.figures() {
            policy::figure_exists(figure, rule.at, known, findings);
        }
    }
    Page {
        admission: raw.admission.iter().map(|rule| rule.value.clone()).collect(),
        monitor: raw.monitor.as_ref().and_then(|raw| monitor(raw, known, findings)),
        rules: raw.rules.iter().map(|rule| rule.value.clone()).collect(),
        statistics: raw.statistics.as_ref().map(|raw| statistics(raw, (at, &listen), findings)),
        otherwise: raw.otherwise.iter().map(|rule| rule.value.clone()).collect(),
        max_connections: max_connections(raw.max_connections, findings),
        listen,
        ..Page::new(name)
    }
}

/// Its addresses, a port each.
fn addresses(raw: &raw::Listen, overlaps: &mut Overlaps, findings: &mut Findings<'_>) -> Vec<PageListen> {
    let Some(ip) = findings.address(&raw.host) else { return Vec::new() };
    let refused = [
        ("proxy-from", raw.proxy_from.first().map(|prefix| prefix.at)),
        ("inherited", raw.inherited.as_ref().map(|inherited| inherited.at)),
    ];
    for (key, at) in refused.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        let message = format!("`{key}` is not there for pages yet: clients would not be understood");
        findings.error(at, message, "serve it on an address of its own, without it");
    }
    let tuning = &raw.tuning;
    let ignored = [
        ("defer-accept", tuning.defer_accept.map(|value| value.at)),
        ("fast-open", tuning.fast_open.map(|value| value.at)),
        ("max-segment", tuning.max_segment.map(|value| value.at)),
        ("user-timeout", tuning.user_timeout.map(|value| value.at)),
    ];
    for (key, at) in ignored.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        findings.warning(at, format!("`{key}` has no effect on a page"), "leave it out");
    }
    if let Some(dual) = raw.dual_stack.filter(|dual| dual.value && !(ip.is_ipv6() && ip.is_unspecified())) {
        findings.error(dual.at, format!("{ip} cannot be dual-stack"), "only [::] includes IPv4");
    }
    let one = |port| PageListen {
        address: SocketAddr::new(ip, port),
        dual_stack: raw.dual_stack.is_some_and(|dual| dual.value),
        interface: raw.interface.as_ref().map(|interface| interface.value.clone()),
    };
    let listen: Vec<PageListen> = raw.ports.value.iter().map(one).collect();
    for listen in &listen {
        overlaps.add_page(listen, raw.host.at, findings);
    }
    listen
}

fn monitor(raw: &raw::Monitor, known: &Known<'_>, findings: &mut Findings<'_>) -> Option<Monitor> {
    for condition in &raw.fail {
        policy::conditions_exist(std::iter::once(&condition.value), condition.at, known, findings);
    }
    let path = findings.required(&raw.path, "path", raw.at)?;
    is_path(path, "#", findings);
    let fail = raw.fail.iter().map(|condition| condition.value.clone()).collect();
    Some(Monitor { path: path.value.clone(), fail })
}

fn statistics(
    raw: &raw::Statistics,
    (at, listen): (Location, &[PageListen]),
    findings: &mut Findings<'_>,
) -> Statistics {
    let open = listen.iter().find(|listen| !listen.address.ip().is_loopback()).filter(|_| raw.users.is_empty());
    if let Some(PageListen { address, .. }) = open {
        findings.warning(
            at,
            format!("anybody who reaches {address} can read the statistics"),
            "add users = { name = \"password\" } (`stats auth`), or listen on 127.0.0.1",
        );
    }
    let path = raw.path.as_ref().map_or("/", |path| &path.value);
    if let Some(path) = &raw.path {
        is_path(path, "#;", findings);
    }
    Statistics {
        users: users(&raw.users, findings),
        refresh: findings.positive(&raw.refresh, "refresh"),
        hide_version: raw.hide_version.is_some_and(|hide| hide.value),
        show_node: raw.show_node.is_some_and(|show| show.value),
        ..Statistics::new(path)
    }
}

/// `never`: characters that it cannot have, beside white space.
fn is_path(path: &Located<String>, never: &str, findings: &mut Findings<'_>) {
    let bad = |c: char| c.is_whitespace() || c.is_control() || never.contains(c);
    if !path.value.starts_with('/') || path.value.contains(bad) {
        let message = format!("`{}` is not the path of a page", path.value);
        findings.error(path.at, message, "it begins with `/`, as in \"/stats\"");
    }
}

fn max_connections(raw: raw::Maybe<u64>, findings: &mut Findings<'_>) -> u32 {
    findings.number(&raw, "max-connections", 1..=1_000_000, 100)
}

fn users(raw: &[raw::User], findings: &mut Findings<'_>) -> Vec<(String, String)> {
    let mut unique = Unique::new();
    for raw::User { name, .. } in raw {
        findings.name(name, "user");
        if name.value.contains(':') {
            findings.error(name.at, "a user's name cannot contain `:`", "HTTP separates name and password with it");
        }
        if let Some(first) = unique.insert(name.value.as_str(), name.at) {
            duplicate(findings, "user", name, first);
        }
    }
    raw.iter().map(|user| (user.name.value.clone(), user.password.value.0.clone())).collect()
}
