//! Health checks: one task connects to every checked server at its time, counts rise and fall, and reports what changed.
//! [`roster`] decides what is due and what a result means; here sockets and the clock are.

#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]

mod connect;
mod report;
mod roster;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::model::Pool;
use crate::stats::Registry;

use self::connect::Outcome;
use self::roster::{Due, Roster};

/// A server went down or came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// Whether it is up now.
    pub up: bool,
    /// Why, in words.
    pub reason: String,
    /// How long the deciding check took; zero where the configuration decided.
    pub duration: Duration,
}

/// How checks are made, for all servers alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Intervals vary at random by up to this many percent in both directions, 0 to 50.
    pub spread_percent: u8,
    /// One log line for each result that changes a server's counter, not only for each change of its state.
    pub log_checks: bool,
}

/// The running health checks. Dropped, they stop.
#[derive(Debug)]
pub struct Prober {
    shared: Arc<Shared>,
    transitions: mpsc::UnboundedSender<Transition>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    roster: Mutex<Roster>,
    /// Told when the roster changed under the task.
    changed: Notify,
}

/// Checks under way at a time, each a descriptor: beyond it they wait, which only happens while thousands of servers
/// time out at once.
const UNDER_WAY: usize = 2000;

impl Prober {
    /// Starts without servers; [`Prober::apply`] brings them. To be called within a tokio runtime.
    #[must_use]
    pub fn start(registry: Arc<Registry>, transitions: mpsc::UnboundedSender<Transition>) -> Self {
        let shared = Arc::new(Shared { roster: Mutex::new(Roster::new(registry)), changed: Notify::new() });
        let task = tokio::spawn(run(Arc::clone(&shared), transitions.clone()));
        Self { shared, transitions, task }
    }

    /// Checks these servers from now on. One that is known under its pool and name, with the same target, keeps its
    /// state, its time and a check under way; a new one is up until its first check fails. What is not named is
    /// forgotten. A server whose state changes by that is reported.
    pub fn apply(&self, pools: &[Pool], policy: Policy) {
        for transition in lock(&self.shared.roster).apply(pools, policy, Instant::now()) {
            // Without a receiver the process is ending.
            let _ = self.transitions.send(transition);
        }
        self.shared.changed.notify_one();
    }

    /// Whether a server is up, or has no check; false for one that is disabled or unknown.
    #[must_use]
    pub fn is_up(&self, pool: &str, server: &str) -> bool {
        lock(&self.shared.roster).is_up(pool, server)
    }

    /// Servers of a pool that new clients may be given to (up, weight above 0), as (active, backup).
    #[must_use]
    pub fn usable(&self, pool: &str) -> (usize, usize) {
        lock(&self.shared.roster).usable(pool)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: Arc<Shared>, transitions: mpsc::UnboundedSender<Transition>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        let next = {
            let mut roster = lock(&shared.roster);
            let now = Instant::now();
            while under_way.len() < UNDER_WAY
                && let Some(due) = roster.take_due(now)
            {
                under_way.push(check(due));
            }
            if under_way.len() < UNDER_WAY { roster.next_due() } else { None }
        };
        tokio::select! {
            Some((id, outcome)) = under_way.next() => settle(&shared, id, outcome, &transitions),
            () = sleep_until(next) => {}
            () = shared.changed.notified() => {}
        }
    }
}

async fn check(due: Due) -> (u64, Outcome) {
    (due.id, connect::check(due.target, due.timeout).await)
}

fn settle(shared: &Shared, id: u64, outcome: Outcome, transitions: &mpsc::UnboundedSender<Transition>) {
    let Some(finding) = lock(&shared.roster).finish(id, outcome, Instant::now()) else { return };
    report::log(&finding);
    if let Some(transition) = finding.into_transition() {
        let _ = transitions.send(transition);
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn lock(roster: &Mutex<Roster>) -> MutexGuard<'_, Roster> {
    roster.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
