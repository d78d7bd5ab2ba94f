//! Reload: read and validate off the loop, then apply the difference between two models in the process. Whatever can
//! fail comes first; once something has changed, nothing can fail any more.

use super::failure::Failure;
use super::load::{self, Loaded};
use super::node::{Done, Node};
use crate::control::Reply;
use crate::control::server::Answer;
use crate::model::{Config, Page};
use crate::probe::Policy;
use crate::proxy::{self, BindError};
use crate::speaker::Plan;
use std::sync::Arc;

/// Files read at a time. One that does not end (a pipe nobody writes to, a lost network file system) must keep neither
/// the next reload waiting nor every thread.
const READS: usize = 4;

/// The readings of files that are under way.
#[derive(Debug, Default)]
pub(super) struct Reads {
    started: u64,
    /// The youngest one that has ended: what began before it is out of date.
    ended: u64,
    under_way: usize,
    /// A signal came while there was no thread for it.
    again: bool,
}

/// The files as one reload found them.
pub(super) struct Read {
    number: u64,
    found: Result<Loaded, Failure>,
    /// Who waits for the outcome.
    answer: Option<Answer>,
}

impl Node {
    /// Reads the files on a thread of its own: a name may take seconds to resolve.
    pub(super) fn start_reload(&mut self, answer: Option<Answer>) {
        if self.stopping.is_some() {
            if let Some(answer) = answer {
                answer.finish(Reply::failed("the process is ending", "reload the one that is started next"));
            }
            return;
        }
        if self.reads.under_way >= READS {
            let text = format!("{READS} reloads are under way, which wait for a file or a name");
            tracing::warn!(target: "vipgate", "{text}");
            // Until one of them ends and succeeds.
            self.shared.reload_failed(text.clone());
            match answer {
                Some(answer) => _ = answer.finish(Reply::failed(text, "look at what the configuration is read from")),
                None => self.reads.again = true,
            }
            return;
        }
        tracing::info!(target: "vipgate", "reloading");
        self.reads.started += 1;
        self.reads.under_way += 1;
        let number = self.reads.started;
        let (files, done) = (self.run.files.clone(), self.done.clone());
        tokio::task::spawn_blocking(move || {
            let _ = done.send(Done::Read(Box::new(Read { number, found: load::load(&files), answer })));
        });
    }

    /// Applies what was read, or says why not.
    pub(super) fn finish_reload(&mut self, read: Read) {
        let Read { number, found, answer } = read;
        self.reads.under_way -= 1;
        let overtaken = number < self.reads.ended;
        self.reads.ended = self.reads.ended.max(number);
        let reply = if overtaken {
            let text = "overtaken by a later reload: what this one read is out of date";
            tracing::info!(target: "vipgate", "{text}");
            Reply::failed(text, "`vipgate status` says what the later one came to")
        } else {
            self.apply_read(found)
        };
        if let Some(answer) = answer {
            answer.finish(reply);
        }
        if std::mem::take(&mut self.reads.again) {
            self.start_reload(None);
        }
    }

    fn apply_read(&mut self, found: Result<Loaded, Failure>) -> Reply {
        if self.stopping.is_some() {
            return Reply::failed("the process is ending", "reload the one that is started next");
        }
        match found.and_then(|loaded| self.apply(loaded)) {
            Ok(text) => {
                tracing::info!(target: "vipgate", "{text}");
                Reply::done(text)
            }
            Err(failure) => {
                let text = failure.to_string();
                tracing::error!(target: "vipgate", "reload refused, nothing has changed:\n{text}");
                self.shared.reload_failed(failure.headline().to_owned());
                Reply::failed(format!("reload refused, nothing has changed:\n{text}"), "correct it and reload again")
            }
        }
    }

    fn apply(&mut self, loaded: Loaded) -> Result<String, Failure> {
        let before = self.shared.config();
        let warnings = loaded.warning_lines();
        let Loaded { config, .. } = loaded;
        self.speaker.check(&Plan::from(&config)).map_err(|error| Failure::Fatal(error.to_string()))?;
        let pages = self.pages.prepare(&config.pages).map_err(|error| Failure::Fatal(error.to_string()))?;
        let prepared = self
            .proxy
            .prepare(&self.fronts.in_force(&config.services), &config.pools)
            .map_err(|errors| Failure::Fatal(bind_errors(&errors)))?;
        // From here on nothing fails.
        for warning in &warnings {
            tracing::warn!(target: "vipgate", "{warning}");
        }
        if config.global.workers != before.global.workers {
            tracing::warn!(target: "vipgate", "the number of workers is fixed for the life of the process: restart to change it");
        }
        if config.global.io_uring != before.global.io_uring {
            tracing::warn!(target: "vipgate", "`io-uring` is fixed for the life of the process: restart to change it");
        }
        let text = summary(&before, &config);
        self.log.configure(&config.global.log);
        self.commands.set_secure(config.global.script_security);
        let peer_port = config.global.peer_port.filter(|_| !config.routers.is_empty());
        if peer_port != before.global.peer_port.filter(|_| !before.routers.is_empty()) {
            self.restart_peers(peer_port);
        }
        self.tell_as_configured(&before, &config);
        self.proxy.set_max_connections(config.global.max_connections);
        self.shared.replace_config(config, warnings);
        self.commit(prepared);
        self.pages.commit(pages);
        self.say_where_pages_are(&before.pages);
        self.refresh_replicas();
        self.open_stats_sockets();
        let config = self.shared.config();
        let (speaker, shared, plan) = (Arc::clone(&self.speaker), Arc::clone(&self.shared), Plan::from(&*config));
        tokio::spawn(async move {
            match speaker.apply(plan).await {
                Ok(()) => shared.tell_afresh(&speaker),
                Err(error) => {
                    tracing::error!(target: "vipgate", %error, "the virtual routers stay as they were");
                }
            }
        });
        self.shared.registry.retain(
            |router| config.routers.iter().any(|known| known.name == router),
            |service| config.services.iter().any(|known| known.name == service),
            |pool, server| config.server(pool, server).is_some(),
        );
        Ok(text)
    }

    /// Serves and checks what the configuration in force says. The first start is a reload from nothing.
    pub(super) fn commit(&mut self, prepared: proxy::Prepared) {
        let config = self.shared.config();
        self.lead_back();
        for list in self.proxy.lists().load(config.lookups()) {
            tracing::info!(target: "vipgate", "list {list} is as the configuration has it now");
        }
        self.proxy.commit(prepared);
        self.places.retain(&config);
        self.fronts.retain(&config.services, &self.shared.registry);
        self.tunings.retain(&config);
        self.orders.retain(&config);
        self.refresh_checks();
        self.names.apply(&config.pools, &config.resolvers);
        self.trackers.apply(&config.trackers);
        self.refresh_serving();
    }

    /// Opens and closes the control sockets that speak HAProxy's language. One that cannot be had is no reason not to serve:
    /// it is said, and tried again with the next reload.
    pub(super) fn open_stats_sockets(&mut self) {
        for error in self.sockets.apply(&self.shared.config().stats_sockets) {
            tracing::error!(target: "vipgate", "{error}");
        }
    }

    /// Says where pages are that `before` does not know as they are now.
    pub(super) fn say_where_pages_are(&self, before: &[Page]) {
        for (address, page) in self.pages.addresses().filter(|(_, page)| !before.contains(page)) {
            match &page.statistics {
                Some(statistics) => {
                    tracing::info!(target: "vipgate", "statistics are served on http://{address}{}", statistics.path);
                }
                None => tracing::info!(target: "vipgate", "page {} is served on http://{address}", page.name),
            }
        }
    }
}

pub(super) fn policy(config: &Config) -> Policy {
    Policy { spread_percent: config.global.spread_checks, log_checks: config.global.log.checks }
}

/// One sentence a line; of a whole range that is taken, the first ones.
pub(super) fn bind_errors(errors: &[BindError]) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = errors.iter().take(SHOWN).map(ToString::to_string).collect();
    if errors.len() > SHOWN {
        lines.push(format!("and {} more addresses", errors.len() - SHOWN));
    }
    lines.join("\n")
}

/// What a reload changed, in one line.
fn summary(before: &Config, after: &Config) -> String {
    if before == after {
        return "reloaded: nothing changed".into();
    }
    let parts = [
        difference("virtual router", &before.routers, &after.routers, |router| &router.name),
        difference("sync group", &before.groups, &after.groups, |group| &group.name),
        difference("tracker", &before.trackers, &after.trackers, |tracker| &tracker.name),
        difference("service", &before.services, &after.services, |service| &service.name),
        difference("pool", &before.pools, &after.pools, |pool| &pool.name),
        difference("page", &before.pages, &after.pages, |page| &page.name),
        (before.routes != after.routes || before.rules != after.rules)
            .then(|| "static routes and rules changed".to_owned()),
        (before.global != after.global).then(|| "global settings changed".to_owned()),
    ];
    format!("reloaded: {}", parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn difference<T: PartialEq>(what: &str, before: &[T], after: &[T], name: impl Fn(&T) -> &String) -> Option<String> {
    let find = |list: &[T], wanted: &str| list.iter().position(|item| name(item) == wanted);
    let mut changes = Vec::new();
    for item in after {
        match find(before, name(item)) {
            None => changes.push(format!("{what} {} added", name(item))),
            Some(index) if before[index] != *item => changes.push(format!("{what} {} changed", name(item))),
            Some(_) => {}
        }
    }
    changes.extend(
        before
            .iter()
            .filter(|item| find(after, name(item)).is_none())
            .map(|item| format!("{what} {} removed", name(item))),
    );
    (!changes.is_empty()).then(|| changes.join("; "))
}
