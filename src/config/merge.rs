//! Several files as one configuration.

use super::diagnostic::Diagnostic;
use super::raw::{Config, Global, Log, Mail, NotifyTargets, Scripts};
use super::source::Location;

/// What a second table of those that stand once, such as `[global]`, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    /// A mistake: somebody would look for a key in the wrong file.
    OnceOnly,
    /// Both hold, key by key; the first to set a key keeps it. (keepalived.conf and haproxy.cfg both name the node.)
    Join,
}

/// Adds `other` to `config`.
pub(super) fn merge(config: &mut Config, other: Config, tables: Tables, diagnostics: &mut Vec<Diagnostic>) {
    let Config {
        global,
        log,
        stats,
        pages,
        stats_sockets,
        scripts,
        notify,
        mail,
        routers,
        groups,
        trackers,
        routes,
        rules,
        services,
        pools,
        resolvers,
        peer_groups,
        source_tables,
    } = other;
    let mut join = |table: &str, first: Option<Location>, second: Option<Location>| {
        if let (Some(first), Some(second), Tables::OnceOnly) = (first, second, tables) {
            let error = Diagnostic::error(second, format!("[{table}] is given twice"));
            diagnostics.push(error.related(first, "the first is here").help("write its keys in one file"));
        }
    };
    join("global", config.global.as_ref().map(|table| table.at), global.as_ref().map(|table| table.at));
    join("log", config.log.as_ref().map(|table| table.at), log.as_ref().map(|table| table.at));
    join("stats", config.stats.as_ref().map(|table| table.at), stats.as_ref().map(|table| table.at));
    join("scripts", config.scripts.as_ref().map(|table| table.at), scripts.as_ref().map(|table| table.at));
    join("notify", config.notify.as_ref().map(|table| table.at), notify.as_ref().map(|table| table.at));
    join("mail", config.mail.as_ref().map(|table| table.at), mail.as_ref().map(|table| table.at));
    config.global = both(config.global.take(), global, join_global);
    config.log = both(config.log.take(), log, join_log);
    // No foreign format has this table: what HAProxy has is a page.
    config.stats = config.stats.take().or(stats);
    config.scripts = both(config.scripts.take(), scripts, join_scripts);
    config.notify = both(config.notify.take(), notify, join_notify);
    config.mail = both(config.mail.take(), mail, join_mail);
    config.pages.extend(pages);
    config.stats_sockets.extend(stats_sockets);
    config.routers.extend(routers);
    config.groups.extend(groups);
    config.trackers.extend(trackers);
    config.routes.extend(routes);
    config.rules.extend(rules);
    config.services.extend(services);
    config.pools.extend(pools);
    config.resolvers.extend(resolvers);
    config.peer_groups.extend(peer_groups);
    config.source_tables.extend(source_tables);
}

fn both<T>(first: Option<T>, second: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    match (first, second) {
        (Some(first), Some(second)) => Some(join(first, second)),
        (first, second) => first.or(second),
    }
}

fn join_global(first: Global, second: Global) -> Global {
    Global {
        at: first.at,
        node: first.node.or(second.node),
        workers: first.workers.or(second.workers),
        max_connections: first.max_connections.or(second.max_connections),
        io_uring: first.io_uring.or(second.io_uring),
        stop_grace: first.stop_grace.or(second.stop_grace),
        drain_timeout: first.drain_timeout.or(second.drain_timeout),
        spread_checks: first.spread_checks.or(second.spread_checks),
        peer_port: first.peer_port.or(second.peer_port),
    }
}

fn join_scripts(first: Scripts, second: Scripts) -> Scripts {
    Scripts { at: first.at, user: first.user.or(second.user), security: first.security.or(second.security) }
}

fn join_notify(first: NotifyTargets, second: NotifyTargets) -> NotifyTargets {
    NotifyTargets { at: first.at, fifos: first.fifos.into_iter().chain(second.fifos).collect() }
}

/// Server, sender and recipients belong together: the first keeps them. Servers are spoken of where either says so.
fn join_mail(first: Mail, second: Mail) -> Mail {
    let servers = second.servers.filter(|servers| servers.value).or(first.servers);
    Mail { servers, ..first }
}

fn join_log(first: Log, second: Log) -> Log {
    Log {
        at: first.at,
        level: first.level.or(second.level),
        connections: first.connections.or(second.connections),
        checks: first.checks.or(second.checks),
        format: first.format.or(second.format),
        targets: first.targets.into_iter().chain(second.targets).collect(),
        tag: first.tag.or(second.tag),
        host_name: first.host_name.or(second.host_name),
    }
}
