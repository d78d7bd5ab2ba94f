//! Health checks: one task checks every server at its time, counts rise and fall, and reports what changed; it asks their
//! agents, too. [`roster`] decides what is due and what a result means, [`conversation`] holds a check's steps; here the
//! clock is.

#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]

mod agent;
mod answers;
mod command;
mod connection;
mod conversation;
mod entry;
mod http;
mod matching;
mod outcome;
mod overrule;
mod plan;
mod postgres;
mod recall;
mod report;
mod roster;
mod tickets;
mod tls;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::model::{OnError, Pool};
use crate::stats::Registry;

use self::outcome::Outcome;
use self::roster::{Due, Roster, Work};

pub use self::agent::Order;
pub use self::command::{Ended, Job, RunCommand};
pub use self::overrule::{HealthWish, Overrule, OverruleError};
pub use self::recall::{AgentWord, Recalled, is_believed};

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

/// What a server asks for beside its health: its agent's orders, or no new clients by an answer 404.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// What it wants.
    pub wants: Wants,
}

/// What a server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Its checks pass and ask for no new clients (HAProxy's NOLB), or do so no more.
    NoNewClients(bool),
    /// Its agent's order.
    Order(Order),
}

/// What the checks tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server went down or came up.
    Transition(Transition),
    /// A server, or its agent, asks for something.
    Wish(Wish),
    /// The name of a server's TLS ticket key was found.
    KeyName {
        /// Its pool.
        pool: String,
        /// Its name.
        server: String,
        /// The bytes that its tickets begin with.
        name: Vec<u8>,
    },
}

/// Connections of clients to a server failed in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// So many.
    pub errors: u64,
    /// What that means.
    pub on_error: OnError,
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
    events: mpsc::UnboundedSender<Event>,
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
    pub fn start(registry: Arc<Registry>, events: mpsc::UnboundedSender<Event>, run_command: RunCommand) -> Self {
        let shared = Arc::new(Shared { roster: Mutex::new(Roster::new(registry)), changed: Notify::new() });
        let task = tokio::spawn(run(Arc::clone(&shared), run_command, events.clone()));
        Self { shared, events, task }
    }

    /// Checks these servers from now on. One that is known under its pool and name, with the same target, keeps its
    /// state, its time and a check under way; a new one is up until its first check fails. What is not named is
    /// forgotten. A server whose state changes by that is reported.
    /// `node` is this node's name, as servers are told it.
    pub fn apply(&self, pools: &[Pool], policy: Policy, node: &str) {
        for transition in lock(&self.shared.roster).apply(pools, policy, node, Instant::now()) {
            // Without a receiver the process is ending.
            let _ = self.events.send(Event::Transition(transition));
        }
        self.shared.changed.notify_one();
    }

    /// What an earlier life of the process knew of servers that [`Prober::apply`] is to bring. It is believed for a while,
    /// where they are still checked at the same place; checked they are at once, as every new one.
    pub fn recall(&self, health: Vec<Recalled>, words: Vec<AgentWord>) {
        lock(&self.shared.roster).recall(health, words);
    }

    /// Takes an operator's word for what is otherwise found out.
    ///
    /// # Errors
    /// When the server is not known, or has no check or agent to be overruled.
    pub fn overrule(&self, pool: &str, server: &str, word: Overrule) -> std::result::Result<(), OverruleError> {
        let finding = lock(&self.shared.roster).overrule(pool, server, word, Instant::now())?;
        if let Some(finding) = finding {
            report::log(&finding);
            for event in finding.into_events(Vec::new()) {
                // Without a receiver the process is ending.
                let _ = self.events.send(event);
            }
        }
        Ok(())
    }

    /// Connections of clients failed in a row: that counts as the server's configuration says, and it is checked soon.
    pub fn observe(&self, observed: &Observation) {
        let finding = lock(&self.shared.roster).observe(observed, Instant::now());
        if let Some(finding) = finding {
            report::log(&finding);
            for event in finding.into_events(Vec::new()) {
                // Without a receiver the process is ending.
                let _ = self.events.send(event);
            }
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

/// What a task under way brings back.
enum Result {
    Check(Outcome),
    Agent(agent::Answer),
    Keys(Vec<Vec<u8>>),
}

async fn run(shared: Arc<Shared>, run_command: RunCommand, events: mpsc::UnboundedSender<Event>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        let next = {
            let mut roster = lock(&shared.roster);
            let now = Instant::now();
            while under_way.len() < UNDER_WAY
                && let Some(due) = roster.take_due(now)
            {
                under_way.push(work(due, &run_command));
            }
            if under_way.len() < UNDER_WAY { roster.next_due() } else { None }
        };
        tokio::select! {
            Some((id, result)) = under_way.next() => {
                if let Some(due) = settle(&shared, id, result, &events) {
                    under_way.push(work(due, &run_command));
                }
            }
            () = sleep_until(next) => {}
            () = shared.changed.notified() => {}
        }
    }
}

async fn work(due: Due, run_command: &RunCommand) -> (u64, Result) {
    let result = match due.work {
        Work::Check { plan, state, sessions } => Result::Check(match &plan.work {
            plan::Work::Conversation(steps) => conversation::hold(&plan, steps, state.as_deref()).await,
            plan::Work::Command(check) => command::run(&plan.check, check, sessions, run_command).await,
        }),
        Work::Keys(plan) => Result::Keys(tickets::key_names(&plan).await),
        Work::Agent(agent) => Result::Agent(agent::ask(&agent).await),
    };
    (due.id, result)
}

/// What is to be done at once after it.
fn settle(shared: &Shared, id: u64, result: Result, events: &mpsc::UnboundedSender<Event>) -> Option<Due> {
    let now = Instant::now();
    let mut next = None;
    let (finding, orders) = match result {
        Result::Check(outcome) => {
            let mut roster = lock(&shared.roster);
            next = roster.keys_to_find(id).filter(|_| outcome.result.passed());
            (roster.finish(id, outcome, now), Vec::new())
        }
        Result::Agent(answer) => {
            let (finding, orders) = lock(&shared.roster).heard(id, answer, now)?;
            (Some(finding), orders)
        }
        Result::Keys(names) => {
            let (pool, server) = lock(&shared.roster).name_of(id)?;
            for name in names {
                let (pool, server) = (pool.clone(), server.clone());
                let _ = events.send(Event::KeyName { pool, server, name });
            }
            return None;
        }
    };
    if let Some(finding) = finding {
        report::log(&finding);
        for event in finding.into_events(orders) {
            // Without a receiver the process is ending.
            let _ = events.send(event);
        }
    }
    next
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
