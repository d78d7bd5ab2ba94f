//! From what the proxies say to services, pools and pages.

use std::collections::HashSet;
use std::time::Duration;

use super::Translator;
use super::proxy::{Kind, Mode, Proxy};
use super::server::{self, Around};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{Located, Log, Maybe, Pool, Service, Timeout};
use crate::config::source::Location;
use crate::model::{Algorithm, ConnectionLine, Severity};

impl Translator<'_> {
    pub(super) fn assemble(&mut self, proxies: &[Proxy]) {
        let mut wanted = HashSet::new();
        for proxy in proxies.iter().filter(|proxy| !proxy.disabled) {
            match proxy.kind {
                Kind::Frontend | Kind::Listen => self.frontend(proxy, proxies, &mut wanted),
                Kind::Defaults | Kind::Backend => {}
            }
        }
        for proxy in proxies.iter().filter(|proxy| !proxy.disabled && proxy.kind == Kind::Backend) {
            match mode(proxy) {
                Mode::Tcp if proxy.is_table() && !wanted.contains(&(Mode::Tcp, proxy.name.clone())) => {}
                Mode::Tcp => self.pool(proxy, proxies),
                Mode::Http if wanted.contains(&(Mode::Tcp, proxy.name.clone())) => self.http_refused(proxy),
                // Its frontend has been refused.
                Mode::Http if wanted.contains(&(Mode::Http, proxy.name.clone())) => {}
                Mode::Http => self.findings.push(
                    Diagnostic::warning(
                        proxy.at,
                        format!("backend `{}` is in HTTP mode, which is not there yet: left out", proxy.name),
                    )
                    .help("nothing sends connections to it"),
                ),
            }
        }
        self.source_tables(proxies);
        self.log_checks(proxies);
    }

    fn frontend(&mut self, proxy: &Proxy, proxies: &[Proxy], wanted: &mut HashSet<(Mode, String)>) {
        if proxy.listen.is_empty() {
            // Bind lines that could not be read have been told.
            if proxy.bind_lines == 0 {
                self.without_bind(proxy);
            }
            return;
        }
        let backend = proxy.backend.as_ref().or(proxy.default_backend.as_ref());
        wanted.extend(backend.map(|backend| (mode(proxy), backend.value.clone())));
        wanted.extend(proxy.rules.pools().map(|backend| (mode(proxy), backend)));
        match mode(proxy) {
            Mode::Http if proxy.is_page => self.page(proxy),
            Mode::Http => self.http_refused(proxy),
            Mode::Tcp => {
                if let Some(at) = proxy.stats.enabled.filter(|_| self.told.insert((proxy.at, "stats".into()))) {
                    self.push_once(Diagnostic::warning(at, "`stats` needs `mode http`: ignored in a TCP proxy"));
                }
                self.service(proxy, proxies, backend);
            }
        }
    }

    /// A frontend, or the front half of a `listen`.
    fn service(&mut self, proxy: &Proxy, proxies: &[Proxy], backend: Option<&Located<String>>) {
        let pool = match (backend, proxy.kind) {
            (Some(backend), _) => Some(backend.clone()),
            (None, Kind::Listen) => Some(Located::new(proxy.name.clone(), proxy.at)),
            (None, _) if proxy.leads_somewhere(proxies) => None,
            (None, _) if proxy.rules.refused => return,
            (None, Kind::Frontend | Kind::Backend | Kind::Defaults) => {
                self.findings.push(
                    Diagnostic::warning(
                        proxy.at,
                        format!("`{}` has no backend, so that its connections would go nowhere: left out", proxy.name),
                    )
                    .help("add `default_backend`"),
                );
                return;
            }
        };
        if let Some(own) = backend.filter(|backend| proxy.kind == Kind::Listen && backend.value == proxy.name) {
            let message = format!("`{}` is its own backend: HAProxy takes this for a loop", proxy.name);
            self.findings.push(Diagnostic::warning(own.at, message).help("leave the line out"));
        }
        let policy = self.policy(proxy);
        self.config.services.push(Service {
            name: Some(Located::new(proxy.name.clone(), proxy.at)),
            listen: proxy.rules.listen_on(&proxy.listen),
            pool,
            max_connections: limit(proxy.max_connections).or(proxy.listen_limit),
            client_timeout: proxy.timeouts.client.map(after),
            client_fin_timeout: Some(or_none(proxy.timeouts.client_fin, proxy.at)),
            client_keepalive: Some(proxy.probes.client(proxy.client_keepalive, proxy.at)),
            client_linger: proxy.linger,
            backlog: proxy.backlog,
            log: self.logs(proxy),
            log_line: Some(proxy.log.line.clone().unwrap_or(Located::new(ConnectionLine::Connect, proxy.at))),
            log_targets: self.own_targets(proxy),
            log_empty: proxy.log.empty,
            log_normal: proxy.log.normal,
            log_errors_as: proxy
                .log
                .errors_apart
                .map(|on| on.map(|on| if on { Severity::Error } else { Severity::Info })),
            log_early: proxy.log.early,
            log_tag: proxy.log.tag.clone(),
            policy,
            ..Service::empty(proxy.at)
        });
        if proxy.kind == Kind::Listen && (backend.is_none() || !proxy.servers.is_empty()) {
            self.pool(proxy, proxies);
        }
    }

    /// A backend, or the back half of a `listen`. Where HAProxy's default differs from the native one, it is set.
    fn pool(&mut self, proxy: &Proxy, proxies: &[Proxy]) {
        let at = proxy.at;
        let checked = proxy.servers.iter().any(|server| server.options.check.is_some_and(|check| check.value));
        if checked {
            for refusal in proxy.check_refusals.iter() {
                self.push_once(refusal.clone());
            }
        }
        self.unsaid_trust(proxy);
        let affinity = self.affinity(proxy);
        let (protocol, disable_on_404) = if checked { self.protocol(proxy) } else { (None, None) };
        let around = Around {
            timeouts: &proxy.timeouts,
            source: &proxy.source,
            protocol,
            disable_on_404,
            verify: self.verify_servers,
        };
        let mut servers: Vec<_> = proxy.servers.iter().enumerate().collect();
        if proxy.balance.is_some_and(|balance| balance.value == Algorithm::First) {
            // In the order of their numbers, which are their places unless said otherwise.
            servers.sort_by_key(|(index, server)| server.options.id.map_or(*index as u64 + 1, |id| id.value));
        }
        let servers = servers.into_iter().map(|(_, server)| server.raw(&around)).collect();
        let choice = self.pool_choice(proxy, proxies);
        self.config.pools.push(Pool {
            name: Some(Located::new(proxy.name.clone(), at)),
            balance: proxy.balance,
            affinity,
            retries: proxy.retries,
            // Clients of the TLS idiom lose nothing by another server: their sessions are made anew.
            redispatch: Some(proxy.redispatch.unwrap_or(Located::new(proxy.stick.is_tls(), at))),
            connect_timeout: Some(or_none(proxy.timeouts.connect, at)),
            server_timeout: proxy.timeouts.server.map(after),
            server_fin_timeout: Some(or_none(proxy.timeouts.server_fin, at)),
            tunnel_timeout: proxy.timeouts.tunnel.map(after),
            server_keepalive: Some(proxy.probes.server(proxy.server_keepalive, at)),
            server_linger: proxy.linger,
            all_backups: proxy.all_backups,
            choice,
            servers,
            ..Pool::empty(at)
        });
    }

    /// HAProxy refuses to guess whom to trust.
    fn unsaid_trust(&mut self, proxy: &Proxy) {
        let checked = proxy.servers.iter().filter_map(server::ServerSaid::trusts_anybody);
        for tls in checked.filter(|_| self.verify_servers).collect::<Vec<_>>() {
            let message =
                "certificates are verified by the authorities that the system trusts, as nothing else is said";
            let warning = Diagnostic::warning(tls.at, message);
            self.push_once(warning.help("HAProxy wants `ca-file`, `verify none` or `ssl-server-verify none`"));
        }
    }

    fn http_refused(&mut self, proxy: &Proxy) {
        let at = proxy.mode.map_or(proxy.at, |mode| mode.at);
        self.findings.push(
            Diagnostic::error(at, format!("HTTP mode is not there yet: `{}` cannot be served", proxy.name))
                .related(proxy.at, "this proxy is in HTTP mode")
                .help("`mode tcp` passes HTTP through, without cookies and HTTP rules"),
        );
    }

    fn log_checks(&mut self, proxies: &[Proxy]) {
        let wanted = proxies.iter().filter_map(|proxy| proxy.log_checks).find(|on| on.value);
        if let Some(checks) = wanted {
            self.config.log.get_or_insert(Log::empty(checks.at)).checks = Some(checks);
        }
    }
}

/// HAProxy's default is TCP.
fn mode(proxy: &Proxy) -> Mode {
    proxy.mode.map_or(Mode::Tcp, |mode| mode.value)
}

/// 0 is no limit, as in HAProxy.
fn limit(limit: Maybe<u64>) -> Maybe<u64> {
    limit.filter(|limit| limit.value > 0)
}

fn after(time: Located<Duration>) -> Located<Timeout> {
    time.map(Timeout::After)
}

fn or_none(time: Maybe<Duration>, at: Location) -> Located<Timeout> {
    time.map_or(Located::new(Timeout::None, at), after)
}
