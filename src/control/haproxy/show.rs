//! What is shown from one look at the process.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use super::Shared;
use crate::model::{Config, StatsSocket};
use crate::os::clock;
use crate::stats::Snapshot;
use crate::stats::csv::{proxies, rows};
use crate::stats::rows::{Row, RowKind, csv, json, typed};

/// Looks, and writes what is seen, on a thread that may wait.
pub(super) async fn look<F>(shared: &Arc<Shared>, write: F) -> String
where
    F: FnOnce(&Config, &Snapshot) -> String + Send + 'static,
{
    let look = Arc::clone(&shared.look);
    let text = tokio::task::spawn_blocking(move || {
        let (config, snapshot) = look();
        write(&config, &snapshot)
    });
    text.await.unwrap_or_else(|_| "Internal error\n".to_owned())
}

/// What there is to be seen for a command that goes on by it.
pub(super) async fn see<T: Default + Send + 'static>(
    shared: &Arc<Shared>,
    read: impl FnOnce(&Config, &Snapshot) -> T + Send + 'static,
) -> T {
    let look = Arc::clone(&shared.look);
    let seen = tokio::task::spawn_blocking(move || {
        let (config, snapshot) = look();
        read(&config, &snapshot)
    });
    seen.await.unwrap_or_default()
}

/// What `show stat` is asked for.
pub(super) struct Wanted {
    proxy: Option<String>,
    /// A bit each: 1 frontends, 2 backends, 4 servers.
    kinds: i64,
    server: i64,
    only_up: bool,
    no_maintenance: bool,
    /// The client may not see where servers are.
    hidden: bool,
    form: fn(&[Row]) -> String,
}

impl Wanted {
    pub(super) fn of(arguments: &[&str], hidden: bool) -> Self {
        let mut wanted =
            Self { proxy: None, kinds: -1, server: -1, only_up: false, no_maintenance: false, hidden, form: csv };
        let mut words = arguments;
        let numbers = |text: &&str| text.parse::<i64>().ok();
        if let [proxy, kinds, server, rest @ ..] = arguments
            && let (Some(kinds), Some(server)) = (numbers(kinds), numbers(server))
        {
            wanted.proxy = Some((*proxy).to_owned()).filter(|proxy| proxy != "-1");
            (wanted.kinds, wanted.server) = (kinds, server);
            words = rest;
        }
        for word in words {
            match *word {
                "typed" => wanted.form = typed,
                "json" => wanted.form = |rows| json(rows) + "\n",
                "up" => wanted.only_up = true,
                "no-maint" => wanted.no_maintenance = true,
                _ => {}
            }
        }
        wanted
    }

    fn includes(&self, row: &Row) -> bool {
        let proxy = self.proxy.as_deref();
        let status = row.get("status");
        proxy.is_none_or(|name| row.get("pxname") == name || row.get("iid") == name)
            && self.kinds & (1 << row.kind.number()) != 0
            && (self.server == -1 || row.kind != RowKind::Server || row.get("sid") == self.server.to_string())
            && !(self.only_up
                && row.kind == RowKind::Server
                && (status.starts_with("DOWN") || status.starts_with("MAINT")))
            && !(self.no_maintenance && row.kind == RowKind::Server && status.starts_with("MAINT"))
    }
}

pub(super) fn statistics(wanted: &Wanted, config: &Config, snapshot: &Snapshot) -> String {
    let mut rows = rows(snapshot, Shared::first_proxy(config));
    rows.retain(|row| wanted.includes(row));
    if wanted.hidden {
        rows.iter_mut().for_each(Row::hide_details);
    }
    (wanted.form)(&rows)
}

pub(super) fn backends(snapshot: &Snapshot) -> String {
    let names = proxies(snapshot, 1).filter_map(|proxy| proxy.pool).map(|pool| format!("{}\n", pool.name));
    format!("# name\n{}", names.collect::<String>())
}

pub(super) fn cli_sockets(sockets: &[StatsSocket]) -> String {
    let mut out = String::from("# socket lvl processes\n");
    for socket in sockets {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} {} all", socket.place, socket.level.label());
    }
    out
}

pub(super) fn environment(arguments: &[&str]) -> String {
    match arguments.first() {
        Some(name) => match std::env::var(name) {
            Ok(value) => format!("{name}={value}\n"),
            Err(_) => "Variable not found\n".to_owned(),
        },
        None => std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect(),
    }
}

/// Errors of HTTP are captured; of TCP there is nothing to capture.
pub(super) fn errors(proxy: Option<&str>, snapshot: &Snapshot) -> String {
    let known = |name: &str| {
        snapshot.services.iter().any(|service| service.name == name)
            || snapshot.pools.iter().any(|pool| pool.name == name)
    };
    // A number is some proxy's, or -1 for all.
    let numbered = |name: &str| name.parse::<i64>().is_ok();
    if proxy.is_some_and(|name| !known(name) && !numbered(name)) {
        return "No such proxy.\n".to_owned();
    }
    format!("Total events captured on [{}] : 0\n", clock::haproxy_date(SystemTime::now()))
}

pub(super) fn activity(snapshot: &Snapshot) -> String {
    let accepted: u64 = snapshot.services.iter().map(|service| service.accepted).sum();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!(
        "thread_id: 1 (1..{})\ndate_now: {}.{:06}\naccepted: {accepted}\n",
        snapshot.process.workers,
        now.as_secs(),
        now.subsec_micros()
    )
}
