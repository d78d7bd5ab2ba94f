//! What has to hold all the time, as the kernels have it: the address is on one node of those that reach each other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::host::{Host, SLOWNESS};
use super::lan::LATENCY;
use super::world::{World, now};
use crate::stats::Role;

/// Parts a segment falls into at most.
pub(super) const PARTS: usize = 3;
/// Who gives up waits for the successor's announcements (50 ms), and for flows to be reset (100 ms).
const PARTING: Duration = Duration::from_millis(150);
/// Flows are reset by then when the data plane is well.
const RESET: Duration = Duration::from_millis(20);
/// Packets, requests and timers of a whole takeover.
const SLACK: Duration = Duration::from_millis(LATENCY.as_millis() as u64 * 4 + SLOWNESS.as_millis() as u64 * 4);

/// When what was disturbed last, and since when somebody owns the address.
pub(super) struct Law {
    /// The address that every configuration has.
    pub(super) address: IpAddr,
    interval: Duration,
    skew: Duration,
    nodes: usize,
    /// Last moment at which a node's process, link or address was not as it should be.
    disturbed: Vec<Instant>,
    /// Last moment at which a packet from one to the other was lost or late; it may be still to come.
    ways: Vec<Instant>,
    /// Last moment at which a part had an owner, or nobody who could be it.
    served: [Instant; PARTS],
    /// Since when two nodes own the address both.
    twice: Vec<Option<Instant>>,
    /// How long nobody, and how long two nodes that run, owned the address.
    without: Duration,
    shared: Duration,
    counted: Instant,
    broken: Option<String>,
}

impl Law {
    pub(super) fn new(nodes: usize, address: IpAddr) -> Self {
        let now = now();
        Self {
            address,
            interval: Duration::ZERO,
            skew: Duration::ZERO,
            nodes,
            disturbed: vec![now; nodes],
            ways: vec![now; nodes * nodes],
            served: [now; PARTS],
            twice: vec![None; nodes * nodes],
            without: Duration::ZERO,
            shared: Duration::ZERO,
            counted: now,
            broken: None,
        }
    }

    /// A configuration with this interval is in use from now on, perhaps beside others.
    pub(super) fn allow(&mut self, interval: Duration, skew: Duration) {
        self.interval = self.interval.max(interval);
        self.skew = self.skew.max(skew);
    }

    /// The longest interval.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// The longest skew time.
    pub(super) fn skew(&self) -> Duration {
        self.skew
    }

    /// The longest master-down interval.
    pub(super) fn down(&self) -> Duration {
        self.interval * 3 + self.skew
    }

    /// How long a set of routers may be without an owner.
    fn allowed_without(&self) -> Duration {
        self.down() + self.interval + SLACK
    }

    /// How long two that hear each other may own the address both.
    fn allowed_shared(&self) -> Duration {
        self.down() + PARTING + SLACK
    }

    /// What one handing over to the other may take.
    pub(super) fn parting(&self) -> Duration {
        PARTING + SLACK
    }

    /// What it may take when the successor is heard and flows are reset quickly; addresses go one after the other. Less
    /// than the 50 ms for a successor that is not heard.
    pub(super) fn quick_parting(&self) -> Duration {
        RESET + SLACK + SLOWNESS * 4
    }

    pub(super) fn slack(&self) -> Duration {
        SLACK
    }

    pub(super) fn disturbed(&self, at: usize) -> Instant {
        self.disturbed[at]
    }

    pub(super) fn disturb(&mut self, at: usize) {
        self.disturbed[at] = now();
    }

    pub(super) fn disturb_all(&mut self) {
        self.disturbed.fill(now());
    }

    pub(super) fn disturb_way(&mut self, from: usize, to: usize, until: Instant) {
        let way = &mut self.ways[from * self.nodes + to];
        *way = until.max(*way);
    }

    /// Since when two nodes hear each other and run.
    fn clear(&self, one: usize, other: usize) -> Instant {
        let ways = self.ways[one * self.nodes + other].max(self.ways[other * self.nodes + one]);
        ways.max(self.disturbed[one]).max(self.disturbed[other])
    }

    pub(super) fn break_with(&mut self, how: String) {
        self.broken.get_or_insert(how);
    }

    /// What was broken first.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// How long nobody, and how long two, owned the address since the last call.
    pub(super) fn take_counts(&mut self) -> (Duration, Duration) {
        (std::mem::take(&mut self.without), std::mem::take(&mut self.shared))
    }
}

impl Host {
    /// Whether it answers for the address.
    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.is_on_segment() && self.prefixes().any(|prefix| prefix.address == address)
    }

    /// Whether its process sends and hears.
    fn runs(&self) -> bool {
        self.standing.alive && !self.standing.starved && self.is_on_segment()
    }

    /// Whether its process means to own what it owns.
    pub(super) fn is_owner_by_role(&self) -> bool {
        let role = self.registry.router(super::ROUTER).status().role;
        self.standing.alive && matches!(role, Role::Master | Role::Leaving)
    }

    /// Whether its process is master.
    pub(super) fn is_master(&self) -> bool {
        self.standing.alive && self.registry.router(super::ROUTER).status().role == Role::Master
    }

    /// Whether it could become an owner.
    fn is_candidate(&self) -> bool {
        self.runs() && !self.standing.stopping && self.has_source()
    }
}

impl World {
    /// Judges the time from the last change until now.
    pub(super) fn judge(&mut self) {
        let now = now();
        let address = self.law.address;
        let owners: Vec<usize> = (0..self.hosts.len()).filter(|at| self.hosts[*at].owns(address)).collect();
        for part in 0..PARTS {
            if owners.iter().any(|at| self.lan.parts[*at] == part) {
                self.law.served[part] = now;
            } else {
                self.judge_without(part, now);
            }
        }
        for (number, one) in owners.iter().enumerate() {
            for other in &owners[number + 1..] {
                self.judge_shared(*one, *other, now);
            }
        }
        let passed = now - self.law.counted;
        let running = |at: &&usize| self.hosts[**at].standing.alive && !self.hosts[**at].standing.starved;
        match (owners.len(), owners.iter().filter(running).count()) {
            (0, _) => self.law.without += passed,
            (_, 0 | 1) => {}
            _ => self.law.shared += passed,
        }
        self.law.counted = now;
    }

    fn judge_without(&mut self, part: usize, now: Instant) {
        let is_candidate = |at: &usize| self.lan.parts[*at] == part && self.hosts[*at].is_candidate();
        let candidates: Vec<usize> = (0..self.hosts.len()).filter(is_candidate).collect();
        // One that promotes itself and whose addresses cannot be set keeps the others quiet.
        if candidates.is_empty() || candidates.iter().any(|at| self.hosts[*at].standing.blocked) {
            self.law.served[part] = now;
            return;
        }
        let mut since = self.law.served[part];
        for one in &candidates {
            // What others said before they went may still arrive.
            for from in 0..self.hosts.len() {
                since = since.max(self.law.ways[from * self.law.nodes + one]);
            }
            since = since.max(self.law.disturbed[*one]);
        }
        let without = now.saturating_duration_since(since);
        if without > self.law.allowed_without() {
            let allowed = self.law.allowed_without();
            self.law.break_with(format!("nodes {candidates:?} without an owner for {without:?}, allowed {allowed:?}"));
        }
    }

    fn judge_shared(&mut self, one: usize, other: usize, now: Instant) {
        let fit = |at: usize| self.hosts[at].runs() && !self.hosts[at].standing.blocked && !self.hosts[at].abandoned;
        let Some(since) = self.law.twice[one * self.law.nodes + other] else { return };
        if self.lan.parts[one] != self.lan.parts[other] || !fit(one) || !fit(other) {
            return;
        }
        let shared = now.saturating_duration_since(since.max(self.law.clear(one, other)));
        if shared > self.law.allowed_shared() {
            let allowed = self.law.allowed_shared();
            self.law.break_with(format!("nodes {one} and {other} own the address for {shared:?}, allowed {allowed:?}"));
        }
    }

    /// A node falls silent: if it is master, the others have waited for it until now, whether or not its kernel had set
    /// the address already.
    pub(super) fn fall_silent(&mut self, at: usize) {
        if self.hosts[at].is_owner_by_role() {
            self.law.served[self.lan.parts[at]] = now();
        }
    }

    /// Notes who owns the address from now on.
    pub(super) fn note(&mut self) {
        let (now, address, nodes) = (now(), self.law.address, self.hosts.len());
        let owns: Vec<bool> = self.hosts.iter().map(|host| host.owns(address)).collect();
        for one in 0..nodes {
            for other in one + 1..nodes {
                let twice = &mut self.law.twice[one * nodes + other];
                if owns[one] && owns[other] {
                    twice.get_or_insert(now);
                } else {
                    *twice = None;
                }
            }
        }
    }
}
