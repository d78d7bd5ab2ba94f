//! What an earlier life of the process found out about servers: believed for a while, and until a check says better.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::balance::health::Counter;
use crate::model::{Agent, Check};
use crate::stats::LastCheck;

/// How long after a check was due its server's health is still believed.
const BELIEVED: Duration = Duration::from_secs(300);

/// A server's health as an earlier life of the process knew it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// Where it was checked: somewhere else, nothing is known.
    pub target: SocketAddr,
    /// The rise/fall counter.
    pub counter: u32,
    /// Whether it was up by that.
    pub up: bool,
    /// Its checks passed and asked for no new clients.
    pub stopping: bool,
    /// The last check.
    pub last: LastCheck,
    /// What it came to, in words.
    pub reason: String,
    /// Since when it was up or down.
    pub since: Instant,
}

/// What a server's agent said last, as an earlier life of the process knew it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentWord {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// Where the agent was asked: somewhere else, nothing is known.
    pub target: SocketAddr,
    /// The server is down.
    pub down: bool,
    /// The last answer.
    pub last: LastCheck,
    /// Why the server was up or down, in words.
    pub reason: String,
    /// Since when it was.
    pub since: Instant,
}

/// What nobody has taken up yet, by pool and server.
#[derive(Debug, Default)]
pub(super) struct Memory {
    health: HashMap<(String, String), Recalled>,
    words: HashMap<(String, String), AgentWord>,
}

/// Whether what is so old still holds, where it would have been looked at again after `interval`.
#[must_use]
pub fn is_believed(age: Duration, interval: Duration) -> bool {
    age <= interval.saturating_add(BELIEVED)
}

impl Memory {
    pub(super) fn of(health: Vec<Recalled>, words: Vec<AgentWord>) -> Self {
        let health = health.into_iter().map(|health| ((health.pool.clone(), health.server.clone()), health));
        let words = words.into_iter().map(|word| ((word.pool.clone(), word.server.clone()), word));
        Self { health: health.collect(), words: words.collect() }
    }

    /// What the agent of a server said that is about to be asked, if it can be believed. Asked for once.
    pub(super) fn take_word(&mut self, pool: &str, server: &str, agent: &Agent, now: Instant) -> Option<AgentWord> {
        if self.words.is_empty() {
            return None;
        }
        let word = self.words.remove(&(pool.to_owned(), server.to_owned()))?;
        let believed = is_believed(now.saturating_duration_since(word.last.at), agent.interval);
        Some(word).filter(|word| believed && word.target == agent.target)
    }

    /// What is known of a server that is about to be checked, if it can be believed. Asked for once.
    pub(super) fn take(&mut self, pool: &str, server: &str, check: &Check, now: Instant) -> Option<Recalled> {
        if self.health.is_empty() {
            return None;
        }
        let recalled = self.health.remove(&(pool.to_owned(), server.to_owned()))?;
        let interval = recalled.count(check, now).interval(check);
        let believed = is_believed(recalled.age(now), interval);
        Some(recalled).filter(|recalled| believed && recalled.target == check.target)
    }
}

impl Recalled {
    /// Since its last check.
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last.at)
    }

    /// The counter it begins with. When more than one check was missed, one that was up begins as every server does: one
    /// failure from being down.
    pub(super) fn count(&self, check: &Check, now: Instant) -> Counter {
        let as_it_was = Counter::recalled(check.rise, check.fall, self.counter, self.up);
        let fresh = self.age(now) <= as_it_was.interval(check).saturating_mul(2);
        if self.up && !fresh { Counter::new(check.rise, check.fall) } else { as_it_was }
    }
}
