//! `stats ...` statements, and the proxies that are nothing but a statistics page.

use std::time::Duration;

use super::proxy::Proxy;
use super::{Translator, value};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::import::haproxy::grammar::Statement;
use crate::config::raw::{HostPort, Listen, Located, Maybe, Secret, Stats, User};
use crate::config::source::Location;

/// Where HAProxy serves the page unless it is told otherwise.
const DEFAULT_URI: &str = "/haproxy?stats";

/// Every proxy inherits a copy of the list.
const MOST_USERS: usize = 100;
/// Each is a socket; a range here is a mistake.
const MOST_PORTS: usize = 64;

/// What `stats` statements say.
#[derive(Debug, Clone, Default)]
pub(super) struct StatsSaid {
    /// Where the first of them stands: each of them enables the page.
    pub(super) enabled: Option<Location>,
    uri: Maybe<String>,
    users: Vec<User>,
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
                    Some((name, password)) => said.users.push(User {
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

    /// The statistics endpoint that `proxy` is.
    pub(super) fn stats_endpoint(&mut self, proxy: &Proxy) {
        let said = &proxy.stats;
        if let Some(first) = &self.config.stats {
            self.findings.push(
                Diagnostic::error(proxy.at, "there is one statistics page, and this would be a second")
                    .related(first.at, "the first")
                    .help("give the first all the `bind` lines"),
            );
            return;
        }
        for rule in &proxy.http_rules {
            self.findings
                .error(*rule, "HTTP rules are not there yet: the statistics page would be open to more clients");
        }
        let ports = |listen: &Listen| usize::from(listen.ports.value.last() - listen.ports.value.first()) + 1;
        if proxy.listen.iter().map(ports).sum::<usize>() > MOST_PORTS {
            self.findings.error(proxy.at, format!("the statistics page would listen on more than {MOST_PORTS} ports"));
            return;
        }
        let listen = proxy.listen.iter().flat_map(|listen| {
            let host = listen.host.value.clone();
            let at = listen.host.at;
            listen.ports.value.iter().map(move |port| Located::new(HostPort { host: host.clone(), port }, at))
        });
        self.config.stats = Some(Stats {
            at: proxy.at,
            listen: listen.collect(),
            path: Some(said.uri.clone().unwrap_or_else(|| Located::new(DEFAULT_URI.to_owned(), proxy.at))),
            users: said.users.clone(),
            refresh: said.refresh,
            hide_version: said.hide_version,
            show_node: said.show_node,
            max_connections: proxy.max_connections,
        });
    }
}
