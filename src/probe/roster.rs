//! Which server is checked when, and what a result means. No socket, and no clock: `now` is a parameter.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::balance::health::Counter;
use crate::model::{Check, Pool, Server, ServerName};
use crate::stats::{CheckResult, Health, LastCheck, Registry, ServerStats};

use super::connect::Outcome;
use super::{Policy, Transition, report};

/// Every server, checked or not.
#[derive(Debug)]
pub(super) struct Roster {
    registry: Arc<Registry>,
    policy: Policy,
    entries: HashMap<u64, Entry>,
    pools: HashMap<String, Members>,
    /// When to check whom, the earliest first. What no longer agrees with its entry is skipped.
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    last_id: u64,
    random: Random,
    /// The last check found no descriptor or port on this node.
    starved: bool,
}

/// A check to be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) id: u64,
    pub(super) target: SocketAddr,
    pub(super) timeout: Duration,
}

/// What a result meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) pool: String,
    pub(super) server: String,
    pub(super) backup: bool,
    pub(super) outcome: Outcome,
    pub(super) change: Change,
    /// Value, rise, fall.
    pub(super) counter: (u32, u32, u32),
    /// Usable servers of the pool afterwards, as (active, backup).
    pub(super) usable: (usize, usize),
    /// Connections the server has.
    pub(super) sessions: u64,
}

/// What changed by a result, as far as somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Counter,
    Up,
    Down,
    /// Nothing, and the first of possibly many checks that this node had no means to make.
    Starved,
}

impl Finding {
    pub(super) fn into_transition(self) -> Option<Transition> {
        let up = match self.change {
            Change::Up => true,
            Change::Down => false,
            Change::Nothing | Change::Counter | Change::Starved => return None,
        };
        let reason = report::reason(&self.outcome);
        Some(Transition { pool: self.pool, server: self.server, up, reason, duration: self.outcome.duration })
    }
}

#[derive(Debug, Default)]
struct Members {
    servers: HashMap<String, u64>,
    active: usize,
    backup: usize,
}

#[derive(Debug)]
struct Entry {
    pool: String,
    server: String,
    backup: bool,
    weight: u16,
    disabled: bool,
    probe: Option<Probe>,
    /// Where it is, for one that is known by its name: why it has no address, if it has none.
    name: Option<ServerName>,
    stats: Arc<ServerStats>,
}

#[derive(Debug)]
struct Probe {
    check: Check,
    counter: Counter,
    /// None while a check is under way.
    due: Option<Instant>,
}

impl Roster {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            policy: Policy { spread_percent: 0, log_checks: false },
            entries: HashMap::new(),
            pools: HashMap::new(),
            queue: BinaryHeap::new(),
            last_id: 0,
            random: Random(RandomState::new().hash_one(0)),
            starved: false,
        }
    }

    /// Replaces the servers. Returns those that were there before and are in another state by it.
    pub(super) fn apply(&mut self, pools: &[Pool], policy: Policy, now: Instant) -> Vec<Transition> {
        self.policy = policy;
        let mut known = std::mem::take(&mut self.entries);
        let before = std::mem::take(&mut self.pools);
        let mut fresh = Vec::new();
        let mut transitions = Vec::new();
        for pool in pools {
            for server in &pool.servers {
                let id = before.get(&pool.name).and_then(|members| members.servers.get(&server.name)).copied();
                let old = id.and_then(|id| known.remove(&id).map(|entry| (id, entry)));
                let was_up = old.as_ref().map(|(_, entry)| entry.is_up());
                let (id, entry) = match old {
                    Some((id, entry)) if entry.continues(server) => (id, self.carry_over(id, entry, server, now)),
                    Some(_) | None => {
                        self.last_id += 1;
                        fresh.push(self.last_id);
                        (self.last_id, Entry::new(pool, server, &self.registry, now))
                    }
                };
                if was_up.is_some_and(|was_up| was_up != entry.is_up()) {
                    transitions.push(entry.reconfigured());
                }
                let members = self.pools.entry(pool.name.clone()).or_default();
                members.servers.insert(server.name.clone(), id);
                members.count(&entry, entry.is_usable(), false);
                self.entries.insert(id, entry);
            }
        }
        self.schedule_first(&fresh, now);
        transitions
    }

    /// The earliest check that is due, taken: it is under way until [`Roster::finish`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let Reverse((due, id)) = *self.queue.peek()?;
            if due > now {
                return None;
            }
            self.queue.pop();
            let Some(probe) = self.entries.get_mut(&id).and_then(|entry| entry.probe.as_mut()) else { continue };
            if probe.due == Some(due) {
                probe.due = None;
                return Some(Due { id, target: probe.check.target, timeout: probe.check.timeout });
            }
        }
    }

    /// When [`Roster::take_due`] may have something next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }

    /// Counts a result and schedules the next check. None when the server was forgotten meanwhile.
    pub(super) fn finish(&mut self, id: u64, outcome: Outcome, now: Instant) -> Option<Finding> {
        let entry = self.entries.get_mut(&id)?;
        let was_usable = entry.is_usable();
        let probe = entry.probe.as_mut()?;
        let before = probe.counter.value();
        let (went_up, went_down) = match outcome.result {
            CheckResult::Passed => (probe.counter.success(), false),
            CheckResult::Failed | CheckResult::TimedOut => (false, probe.counter.failure()),
            CheckResult::SocketError => (false, false),
        };
        let starved = outcome.result == CheckResult::SocketError;
        let change = match (went_up, went_down) {
            (true, _) => Change::Up,
            (_, true) => Change::Down,
            _ if starved && !self.starved => Change::Starved,
            _ if self.policy.log_checks && probe.counter.value() != before => Change::Counter,
            _ => Change::Nothing,
        };
        self.starved = starved;
        let interval = self.random.vary(probe.counter.interval(&probe.check), self.policy.spread_percent);
        let due = now + interval;
        probe.due = Some(due);
        self.queue.push(Reverse((due, id)));
        let counter = (probe.counter.value(), probe.check.rise, probe.check.fall);

        entry.record(&outcome, change, now);
        let members = self.pools.entry(entry.pool.clone()).or_default();
        members.count(entry, entry.is_usable(), was_usable);
        Some(Finding {
            pool: entry.pool.clone(),
            server: entry.server.clone(),
            backup: entry.backup,
            outcome,
            change,
            counter,
            usable: (members.active, members.backup),
            sessions: entry.stats.open.load(Ordering::Relaxed),
        })
    }

    pub(super) fn is_up(&self, pool: &str, server: &str) -> bool {
        let id = self.pools.get(pool).and_then(|members| members.servers.get(server));
        id.and_then(|id| self.entries.get(id)).is_some_and(Entry::is_up)
    }

    pub(super) fn usable(&self, pool: &str) -> (usize, usize) {
        self.pools.get(pool).map_or((0, 0), |members| (members.active, members.backup))
    }

    /// A server that stays: its state as it is, its next check no later than the new interval wants it.
    fn carry_over(&mut self, id: u64, mut entry: Entry, server: &Server, now: Instant) -> Entry {
        entry.backup = server.backup;
        entry.weight = server.weight;
        let (Some(probe), Some(check)) = (&mut entry.probe, &server.check) else { return entry };
        if probe.check == *check {
            return entry;
        }
        probe.counter = probe.counter.with_limits(check.rise, check.fall);
        probe.check = check.clone();
        if let Some(due) = probe.due {
            let latest = now + probe.counter.interval(check);
            if latest < due {
                probe.due = Some(latest);
                self.queue.push(Reverse((latest, id)));
            }
        }
        let counter = Some((probe.counter.value(), probe.counter.maximum()));
        entry.stats.update_status(|status| status.counter = counter);
        entry
    }

    /// New servers are checked one after the other over the shortest of their intervals, as HAProxy does it.
    fn schedule_first(&mut self, fresh: &[u64], now: Instant) {
        let mut probes: Vec<(u64, Duration)> = Vec::with_capacity(fresh.len());
        for id in fresh {
            if let Some(probe) = self.entries.get(id).and_then(|entry| entry.probe.as_ref()) {
                probes.push((*id, probe.check.interval));
            }
        }
        let span = probes.iter().map(|(_, interval)| *interval).min().unwrap_or_default();
        let count = u32::try_from(probes.len()).unwrap_or(u32::MAX).max(1);
        let step = span / count;
        let mut due = now;
        for (id, _) in probes {
            if let Some(probe) = self.entries.get_mut(&id).and_then(|entry| entry.probe.as_mut()) {
                probe.due = Some(due);
                self.queue.push(Reverse((due, id)));
                due += step;
            }
        }
    }
}

impl Members {
    fn count(&mut self, entry: &Entry, usable: bool, was_usable: bool) {
        let tally = if entry.backup { &mut self.backup } else { &mut self.active };
        match (was_usable, usable) {
            (false, true) => *tally += 1,
            (true, false) => *tally = tally.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
    }
}

impl Entry {
    fn new(pool: &Pool, server: &Server, registry: &Registry, now: Instant) -> Self {
        let probe = checked(server).map(|check| Probe {
            check: check.clone(),
            counter: Counter::new(check.rise, check.fall),
            due: None,
        });
        let entry = Self {
            pool: pool.name.clone(),
            server: server.name.clone(),
            backup: server.backup,
            weight: server.weight,
            disabled: server.disabled,
            probe,
            name: server.name_of.clone(),
            stats: registry.server(&pool.name, &server.name),
        };
        entry.stats.update_status(|status| {
            status.health = entry.health();
            status.counter = entry.probe.as_ref().map(|probe| (probe.counter.value(), probe.counter.maximum()));
            status.reason = entry.first_reason();
            status.since = Some(now);
            status.last_check = None;
        });
        entry
    }

    /// Whether `server` is this one, to be checked at the same place: what is known of it then stays true.
    fn continues(&self, server: &Server) -> bool {
        let wanted = checked(server).map(|check| check.target);
        self.disabled == server.disabled
            && self.name == server.name_of
            && self.probe.as_ref().map(|probe| probe.check.target) == wanted
    }

    fn is_up(&self) -> bool {
        !self.disabled && self.unresolved().is_none() && self.probe.as_ref().is_none_or(|probe| probe.counter.is_up())
    }

    fn is_usable(&self) -> bool {
        self.is_up() && self.weight > 0
    }

    fn health(&self) -> Health {
        match &self.probe {
            _ if self.disabled => Health::Disabled,
            _ if self.unresolved().is_some() => Health::Down,
            None => Health::Unchecked,
            Some(probe) if probe.counter.is_up() => Health::Up,
            Some(_) => Health::Down,
        }
    }

    /// Why it has no address.
    fn unresolved(&self) -> Option<&str> {
        self.name.as_ref().and_then(|name| name.unresolved.as_deref())
    }

    fn first_reason(&self) -> String {
        match (&self.probe, self.unresolved()) {
            _ if self.disabled => "disabled in the configuration".to_owned(),
            (_, Some(reason)) => format!("name not resolved: {reason}"),
            (None, None) => "without a check".to_owned(),
            (Some(_), None) => "not checked yet".to_owned(),
        }
    }

    fn reconfigured(&self) -> Transition {
        Transition {
            pool: self.pool.clone(),
            server: self.server.clone(),
            up: self.is_up(),
            reason: match &self.name {
                Some(ServerName { unresolved: None, name, .. }) => format!("{name} is resolved"),
                Some(_) => self.first_reason(),
                None => format!("the configuration changed: {}", self.first_reason()),
            },
            duration: Duration::ZERO,
        }
    }

    fn record(&self, outcome: &Outcome, change: Change, now: Instant) {
        self.stats.checks.fetch_add(1, Ordering::Relaxed);
        if matches!(outcome.result, CheckResult::Failed | CheckResult::TimedOut) {
            self.stats.checks_failed.fetch_add(1, Ordering::Relaxed);
        }
        if change == Change::Down {
            self.stats.downs.fetch_add(1, Ordering::Relaxed);
        }
        self.stats.update_status(|status| {
            if matches!(change, Change::Up | Change::Down) {
                status.since = Some(now);
            }
            status.health = self.health();
            status.counter = self.probe.as_ref().map(|probe| (probe.counter.value(), probe.counter.maximum()));
            status.reason = report::reason(outcome);
            status.last_check = Some(LastCheck {
                result: outcome.result,
                detail: outcome.detail.clone(),
                duration: outcome.duration,
                at: now,
            });
        });
    }
}

/// The check of a server that can be checked.
fn checked(server: &Server) -> Option<&Check> {
    let resolved = server.name_of.as_ref().is_none_or(|name| name.unresolved.is_none());
    server.check.as_ref().filter(|_| !server.disabled && resolved)
}

/// Enough chance to keep checks apart (splitmix64); nothing secret depends on it.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// `interval`, give or take up to `percent`.
    fn vary(&mut self, interval: Duration, percent: u8) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let span = interval * u32::from(percent.min(50)) / 100;
        let width = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4).saturating_mul(2);
        interval - span + Duration::from_nanos(bits % width.saturating_add(1))
    }
}
