//! The lines of `virtual_routes`, `static_routes`, `virtual_rules` and `static_rules`: words of ip-route(8) and ip-rule(8).

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use super::Translator;
use super::grammar::Node;
use super::line::integer;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::keywords::{self, Status};
use crate::config::raw::{Located, Maybe, Route, Rule};
use crate::model::{Family, Prefix, RouteKind};

impl Translator<'_> {
    pub(super) fn routes(&mut self, block: &Node) -> Vec<Route> {
        self.lines(block).iter().filter_map(|line| self.route(line)).collect()
    }

    pub(super) fn rules(&mut self, block: &Node) -> Vec<Rule> {
        self.lines(block).iter().filter_map(|line| self.rule(line)).collect()
    }

    fn route(&mut self, line: &Node) -> Option<Route> {
        let mut route = Route {
            at: line.at(),
            kind: None,
            destination: None,
            gateway: None,
            interface: None,
            source: None,
            metric: None,
            table: None,
            scope: None,
            on_link: None,
            mtu: None,
        };
        let mut default = None;
        let mut six = false;
        // The only one of a route is its gateway.
        let only_hop = line.words.iter().filter(|word| word.as_str() == "nexthop").count() == 1;
        let mut words = line.words.iter().peekable();
        while let Some(word) = words.next() {
            let led = words.peek().is_some_and(|next| next.as_str() == "via");
            if word.as_str() == "nexthop" && only_hop && led && route.gateway.is_none() {
                continue;
            }
            let Some(keyword) = keywords::keepalived().get("route", word.as_str()) else {
                route.destination = Some(self.network(word)?);
                continue;
            };
            if !self.option(word, &keyword, &mut words)? {
                continue;
            }
            match keyword.name {
                "unicast" => route.kind = Some(Located::new(RouteKind::Unicast, word.at)),
                "blackhole" => route.kind = Some(Located::new(RouteKind::Blackhole, word.at)),
                "unreachable" => route.kind = Some(Located::new(RouteKind::Unreachable, word.at)),
                "prohibit" => route.kind = Some(Located::new(RouteKind::Prohibit, word.at)),
                "default" => default = Some(word.at),
                "default6" => (default, six) = (Some(word.at), true),
                "inet6" => six = true,
                "onlink" => route.on_link = Some(Located::new(true, word.at)),
                // Only there for whoever reads it; what was removed is set again anyway.
                "inet" | "to" | "no_track" => {}
                name => {
                    let value = match words.next() {
                        // `via inet6 ADDRESS`, `mtu lock NUMBER`.
                        Some(value) if matches!(value.as_str(), "inet" | "inet6" | "lock") => words.next(),
                        value => value,
                    };
                    let Some(value) = value else {
                        self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                        return None;
                    };
                    match name {
                        "via" | "gw" => route.gateway = Some(self.ip_address(value)?),
                        "src" => route.source = Some(self.ip_address(value)?),
                        "dev" | "oif" => route.interface = Some(self.interface_name(value)?),
                        "table" => route.table = Some(self.table(value)?),
                        "metric" | "priority" | "preference" => route.metric = Some(self.unsigned(value)?),
                        "scope" => route.scope = self.scope(value),
                        "mtu" => route.mtu = Some(self.unsigned(value)?),
                        _ => {}
                    }
                }
            }
        }
        if let Some(at) = default.filter(|_| route.destination.is_none()) {
            let gateway = route.gateway.map(|gateway| Family::of(gateway.value));
            let six = six || gateway == Some(Family::V6);
            route.destination = Some(Located::new(everything(six), at));
        }
        if route.destination.is_none() {
            self.findings.error(line.at(), "the destination of a route was expected on this line");
            return None;
        }
        Some(route)
    }

    fn rule(&mut self, line: &Node) -> Option<Rule> {
        let mut rule = Rule {
            at: line.at(),
            from: None,
            to: None,
            table: None,
            priority: None,
            incoming: None,
            outgoing: None,
            mark: None,
            mark_mask: None,
        };
        let mut six = None;
        let mut words = line.words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(keyword) = keywords::keepalived().get("rule", word.as_str()) else {
                self.findings.error(word.at, format!("`{}` is not part of a rule", word.text));
                return None;
            };
            if !self.option(word, &keyword, &mut words)? {
                continue;
            }
            match keyword.name {
                "inet6" => six = Some(word.at),
                "inet" | "no_track" => {}
                name => {
                    let Some(value) = words.next() else {
                        self.findings.error(word.at, format!("`{}` wants a value after it", word.text));
                        return None;
                    };
                    let all = matches!(value.as_str(), "all" | "any" | "default");
                    match name {
                        "from" => rule.from = if all { None } else { Some(self.network(value)?) },
                        "to" => rule.to = if all { None } else { Some(self.network(value)?) },
                        "table" | "lookup" => rule.table = Some(self.table(value)?),
                        "priority" | "preference" | "order" => rule.priority = Some(self.unsigned(value)?),
                        "iif" | "dev" => rule.incoming = Some(self.interface_name(value)?),
                        "oif" => rule.outgoing = Some(self.interface_name(value)?),
                        "fwmark" => (rule.mark, rule.mark_mask) = self.mark(value)?,
                        _ => {}
                    }
                }
            }
        }
        if let Some(at) = six.filter(|_| rule.from.is_none() && rule.to.is_none()) {
            rule.from = Some(Located::new(everything(true), at));
        }
        if rule.table.is_none() {
            self.findings.error(line.at(), "the table of a rule was expected on this line");
            return None;
        }
        if rule.priority.is_none() {
            // keepalived counts down from here, the newest first.
            let preference = self.preference;
            self.preference -= 1;
            rule.priority = Some(Located::new(preference, line.at()));
            let message = format!("a rule without a preference: {preference} is used, as in keepalived");
            self.findings.warning(line.at(), message);
        }
        Some(rule)
    }

    /// Whether `word` is to be translated. What is warned about is skipped with its value; what is refused is an error
    /// and `None`.
    fn option<'n>(
        &mut self,
        word: &Word,
        keyword: &keywords::Keyword,
        words: &mut impl Iterator<Item = &'n Word>,
    ) -> Option<bool> {
        match keyword.status {
            Status::Implemented => Some(true),
            Status::Warned => {
                let warning = Diagnostic::warning(word.at, format!("`{}` has no effect yet", word.text));
                self.findings.push(warning.help(keyword.reason));
                if !keyword.example.is_empty() {
                    words.next();
                }
                Some(false)
            }
            Status::Refused => {
                let error = Diagnostic::error(word.at, format!("`{}` cannot be ignored safely", word.text));
                self.findings.push(error.help(keyword.reason));
                None
            }
        }
    }

    fn network(&mut self, word: &Word) -> Option<Located<Prefix>> {
        match word.text.parse() {
            Ok(prefix) => Some(Located::new(prefix, word.at)),
            Err(error) => {
                self.findings.error(word.at, format!("{error}"));
                None
            }
        }
    }

    fn unsigned(&mut self, word: &Word) -> Option<Located<u64>> {
        match integer(word.as_str()).ok().and_then(|number| u64::try_from(number).ok()) {
            Some(number) => Some(Located::new(number, word.at)),
            None => {
                self.findings.error(word.at, format!("`{}` is not a whole number", word.text));
                None
            }
        }
    }

    /// `MARK[/MASK]`
    fn mark(&mut self, word: &Word) -> Option<(Maybe<u64>, Maybe<u64>)> {
        let part = |text: &str| Word { text: text.to_owned(), at: word.at };
        let Some((mark, mask)) = word.text.split_once('/') else { return Some((Some(self.unsigned(word)?), None)) };
        Some((Some(self.unsigned(&part(mark))?), Some(self.unsigned(&part(mask))?)))
    }

    /// A number, or a name of /etc/iproute2/rt_tables.
    fn table(&mut self, word: &Word) -> Option<Located<u64>> {
        let known = match word.as_str() {
            "local" => Some(255),
            "main" => Some(254),
            "default" => Some(253),
            text => integer(text).ok().and_then(|number| u64::try_from(number).ok()),
        };
        let table = known.or_else(|| {
            let named = self.around.read(Path::new("/etc/iproute2/rt_tables")).ok()?;
            let lines = named.lines().map(|line| line.split('#').next().unwrap_or_default());
            let mut entries = lines.filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                Some((words.next()?, words.next()?))
            });
            entries.find(|(_, name)| *name == word.as_str()).and_then(|(number, _)| number.parse().ok())
        });
        if table.is_none() {
            let error = Diagnostic::error(word.at, format!("there is no table called `{}`", word.text));
            self.findings.push(error.help("write its number, or name it in /etc/iproute2/rt_tables"));
        }
        table.map(|table: u64| Located::new(table, word.at))
    }
}

/// The prefix that contains everything.
fn everything(six: bool) -> Prefix {
    let address = if six { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::from([0, 0, 0, 0]) };
    Prefix { address, length: 0 }
}

/// An address or nothing of the family, for keys that have one.
pub(super) fn of(address: Maybe<IpAddr>, family: Family) -> Maybe<IpAddr> {
    address.filter(|address| Family::of(address.value) == family)
}
