//! What an earlier life of the process found out about servers: believed for a while, and until a check says better.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::balance::health::Counter;
use crate::model::Check;
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
    /// Its agent said that it is down.
    pub agent_down: bool,
    /// The last check.
    pub last: LastCheck,
    /// What it came to, in words.
    pub reason: String,
    /// Since when it was up or down.
    pub since: Instant,
}

/// Health that nobody has taken up yet, by pool and server.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<(String, String), Recalled>);

impl Memory {
    pub(super) fn of(recalled: Vec<Recalled>) -> Self {
        Self(recalled.into_iter().map(|health| ((health.pool.clone(), health.server.clone()), health)).collect())
    }

    /// What is known of a server that is about to be checked, if it can be believed. Asked for once.
    pub(super) fn take(&mut self, pool: &str, server: &str, check: &Check, now: Instant) -> Option<Recalled> {
        if self.0.is_empty() {
            return None;
        }
        let recalled = self.0.remove(&(pool.to_owned(), server.to_owned()))?;
        let interval = recalled.count(check, now).interval(check);
        let believed = recalled.age(now) <= interval.saturating_add(BELIEVED);
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
