//! Control sockets that speak HAProxy's language (management guide, section 9.3), for the tools that know it. A command is
//! carried out by what the control socket of our own is carried out by; only the words are others.

#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]

mod access;
mod change;
mod checks;
mod conversation;
mod fronts;
mod info;
mod lists;
mod open;
mod resolvers;
mod servers;
mod sessions;
mod show;
mod sources;
mod tables;
mod verbs;
mod words;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

pub use open::OpenError;

use super::server::Call;
use crate::model::{Config, StatsSocket};
use crate::stats::Snapshot;
use open::Opened;

/// One moment of the process; it may read files, so it is not asked for on a thread that must not wait.
pub type Look = Arc<dyn Fn() -> (Arc<Config>, Snapshot) + Send + Sync>;

/// The sockets that are open. Dropped, they are closed and their files removed.
pub struct Sockets {
    shared: Arc<Shared>,
    open: Vec<Socket>,
}

/// What the clients of all sockets share.
struct Shared {
    calls: mpsc::Sender<Call>,
    look: Look,
    /// The sockets, for `show cli sockets`.
    sockets: Mutex<Vec<StatsSocket>>,
}

struct Socket {
    spec: StatsSocket,
    task: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sockets {
    /// None is open yet. `calls` carries requests out.
    #[must_use]
    pub fn new(calls: mpsc::Sender<Call>, look: Look) -> Self {
        Self { shared: Arc::new(Shared { calls, look, sockets: Mutex::default() }), open: Vec::new() }
    }

    /// Opens what is new, closes what is gone; one that stays keeps its clients. What cannot be opened is returned, and is
    /// tried again with the next call. Within a tokio runtime.
    pub fn apply(&mut self, wanted: &[StatsSocket]) -> Vec<OpenError> {
        self.open.retain(|socket| wanted.contains(&socket.spec) && !socket.task.is_finished());
        let mut errors = Vec::new();
        for spec in wanted {
            if self.open.iter().any(|socket| socket.spec == *spec) {
                continue;
            }
            match Opened::open(spec) {
                Ok(opened) => {
                    let serving = conversation::serve(opened, spec.clone(), Arc::clone(&self.shared));
                    self.open.push(Socket { spec: spec.clone(), task: tokio::spawn(serving).abort_handle() });
                }
                Err(error) => errors.push(error),
            }
        }
        let open = self.open.iter().map(|socket| socket.spec.clone()).collect();
        *self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner) = open;
        errors
    }
}

impl Shared {
    fn sockets(&self) -> Vec<StatsSocket> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the first proxy. HAProxy counts its control sockets as one before it.
    fn first_proxy(config: &Config) -> usize {
        if config.stats_sockets.is_empty() { 1 } else { 2 }
    }
}
