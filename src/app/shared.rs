//! What threads other than control may look at: the configuration in force, readiness, and what is wrong.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::readiness::Readiness;
use crate::model::Config;
use crate::speaker::Speaker;
use crate::stats::{Registry, Snapshot, Surroundings};

/// The state that the statistics endpoint and the watchdog share with the control thread.
pub(super) struct Shared {
    pub(super) registry: Arc<Registry>,
    started: Instant,
    host_name: String,
    workers: usize,
    /// Proxied connections that may be open at a time.
    connection_limit: AtomicU64,
    state: Mutex<State>,
}

struct State {
    config: Arc<Config>,
    readiness: Readiness,
    /// Services that can be served here.
    serving: BTreeSet<String>,
    /// Threads that stand still.
    stuck: Vec<String>,
    /// Other processes that speak VRRP here.
    foreign: Vec<String>,
    draining: bool,
    /// Clients wait for others to go.
    full: bool,
    /// Of the last load, and of the last reload that failed.
    warnings: Vec<String>,
    reload_failure: Option<String>,
}

impl Shared {
    pub(super) fn new(registry: Arc<Registry>, config: Config, workers: usize, warnings: Vec<String>) -> Self {
        let host_name = nix::unistd::gethostname().map_or_else(|_| String::new(), |name| name.to_string_lossy().into());
        Self {
            registry,
            started: Instant::now(),
            host_name,
            workers,
            connection_limit: AtomicU64::new(0),
            state: Mutex::new(State {
                config: Arc::new(config),
                readiness: Readiness::default(),
                serving: BTreeSet::new(),
                stuck: Vec::new(),
                foreign: Vec::new(),
                draining: false,
                full: false,
                warnings,
                reload_failure: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn host_name(&self) -> &str {
        &self.host_name
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.state().config)
    }

    /// So many proxied connections may be open at a time.
    pub(super) fn set_connection_limit(&self, limit: u64) {
        self.connection_limit.store(limit, Ordering::Relaxed);
    }

    /// A reload was applied.
    pub(super) fn replace_config(&self, config: Config, warnings: Vec<String>) {
        let mut state = self.state();
        state.config = Arc::new(config);
        state.warnings = warnings;
        state.reload_failure = None;
    }

    /// A reload was refused; the reason stays visible until one succeeds.
    pub(super) fn reload_failed(&self, reason: String) {
        self.state().reload_failure = Some(reason);
    }

    pub(super) fn set_draining(&self, draining: bool) {
        self.state().draining = draining;
    }

    /// Says whether this is news.
    pub(super) fn set_full(&self, full: bool) -> bool {
        std::mem::replace(&mut self.state().full, full) != full
    }

    /// Says whether the list differs from the one before.
    pub(super) fn set_foreign(&self, foreign: Vec<String>) -> bool {
        let mut state = self.state();
        let changed = state.foreign != foreign;
        state.foreign = foreign;
        changed
    }

    /// Tells each router whose readiness changed, after the set of servable services did.
    pub(super) fn set_serving(&self, serving: BTreeSet<String>, speaker: &Speaker) {
        self.state().serving = serving;
        self.tell(speaker);
    }

    /// Tells each router whose readiness changed, after a thread got stuck or came back.
    pub(super) fn set_stuck(&self, stuck: &[String], speaker: &Speaker) {
        self.state().stuck = stuck.to_vec();
        self.tell(speaker);
    }

    /// Tells every router, after a reload: one that is new was told before it was there.
    pub(super) fn tell_afresh(&self, speaker: &Speaker) {
        self.state().readiness = Readiness::default();
        self.tell(speaker);
    }

    fn tell(&self, speaker: &Speaker) {
        let mut state = self.state();
        let State { config, readiness, serving, stuck, .. } = &mut *state;
        for (router, ready) in readiness.changes(config, !stuck.is_empty(), |service| serving.contains(service)) {
            speaker.set_ready(&router, ready);
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (config, surroundings) = {
            let state = self.state();
            let mut troubles: Vec<String> =
                state.stuck.iter().map(|thread| format!("thread {thread} is stuck")).collect();
            troubles.extend(state.foreign.iter().cloned());
            troubles.extend(state.reload_failure.iter().map(|reason| format!("the last reload failed: {reason}")));
            if state.full {
                troubles.push("the limit of open connections is reached, more clients wait".into());
            }
            if state.draining {
                troubles.push("draining: the addresses move when the last connection has ended".into());
            }
            let surroundings = Surroundings {
                now: Instant::now(),
                started: self.started,
                host_name: self.host_name.clone(),
                workers: self.workers,
                connection_limit: self.connection_limit.load(Ordering::Relaxed),
                troubles,
                warnings: state.warnings.clone(),
            };
            (Arc::clone(&state.config), surroundings)
        };
        Snapshot::take(&self.registry, &config, surroundings)
    }
}
