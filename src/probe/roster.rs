//! Which server is checked when, and what a result means. No socket, and no clock: `now` is a parameter.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::model::{Affinity, Agent, CheckResult, OnError, Pool, Server};
use crate::stats::Registry;

use super::agent::{self, Order};
use super::entry::Entry;
use super::outcome::{Outcome, Verdict};
use super::plan::{Plan, TlsClients};
use super::recall::{AgentWord, Memory, Recalled};
use super::{Event, Observation, Policy, Transition, Wants, Wish, report};

/// Every server, checked or not.
#[derive(Debug)]
pub(super) struct Roster {
    registry: Arc<Registry>,
    policy: Policy,
    entries: HashMap<u64, Entry>,
    pools: HashMap<String, Members>,
    /// When to check whom, the earliest first. What no longer agrees with its entry is skipped.
    queue: BinaryHeap<Reverse<(Instant, u64, Errand)>>,
    last_id: u64,
    random: Random,
    /// The last check found no descriptor or port on this node.
    starved: bool,
    /// The node's name, for requests that say how it sees a server.
    node: String,
    /// What an earlier life of the process knew.
    memory: Memory,
}

/// What there is to be done for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Errand {
    Check,
    Agent,
}

/// A check to be made now, or an agent to be asked.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) id: u64,
    pub(super) work: Work,
}

#[derive(Debug, Clone)]
pub(super) enum Work {
    Check {
        plan: Arc<Plan>,
        /// How this node sees the server, where that is sent.
        state: Option<String>,
        /// Connections the server has.
        sessions: u64,
    },
    Agent(Agent),
    /// The names of its ticket keys are to be found as this check would.
    Keys(Arc<Plan>),
}

/// What a result meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) pool: String,
    pub(super) server: String,
    pub(super) backup: bool,
    pub(super) outcome: Outcome,
    /// The agent's, not the check's.
    pub(super) by_agent: bool,
    /// It is worth a line of its own, beside that of a change.
    pub(super) logged: bool,
    pub(super) change: Change,
    /// Value, rise, fall.
    pub(super) counter: (u32, u32, u32),
    /// Usable servers of the pool afterwards, as (active, backup).
    pub(super) usable: (usize, usize),
    /// Connections the server has.
    pub(super) sessions: u64,
    /// An operator said so.
    pub(super) by_hand: bool,
    /// It was down before it was [`Change::Stopping`] or [`Change::Resumed`].
    pub(super) came_up: bool,
}

/// What changed by a result, as far as somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Up,
    Down,
    /// It asks for no new clients.
    Stopping,
    /// It takes new clients again.
    Resumed,
    /// Nothing, and the first of possibly many checks that this node had no means to make.
    Starved,
}

impl Finding {
    /// What it means for others, with what an agent ordered.
    pub(super) fn into_events(self, orders: Vec<Order>) -> Vec<Event> {
        let reason = report::reason(&self.outcome);
        let Self { pool, server, change, outcome, came_up, .. } = self;
        let wish = |wants: Wants| Event::Wish(Wish { pool: pool.clone(), server: server.clone(), wants });
        let mut events: Vec<Event> = orders.into_iter().map(|order| wish(Wants::Order(order))).collect();
        let transition = |up: bool| {
            let (pool, server, reason) = (pool.clone(), server.clone(), reason.clone());
            Event::Transition(Transition { pool, server, up, reason, duration: outcome.duration })
        };
        if came_up && change != Change::Up {
            events.push(transition(true));
        }
        match change {
            Change::Up => events.push(transition(true)),
            Change::Down => events.push(transition(false)),
            Change::Stopping => events.push(wish(Wants::NoNewClients(true))),
            Change::Resumed => events.push(wish(Wants::NoNewClients(false))),
            Change::Nothing | Change::Starved => {}
        }
        events
    }
}

#[derive(Debug, Default)]
struct Members {
    servers: HashMap<String, u64>,
    active: usize,
    backup: usize,
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
            node: String::new(),
            memory: Memory::default(),
        }
    }

    /// What an earlier life of the process knew of servers that are still to come.
    pub(super) fn recall(&mut self, health: Vec<Recalled>, words: Vec<AgentWord>) {
        self.memory = Memory::of(health, words);
    }

    /// Replaces the servers. Returns those that were there before and are in another state by it.
    pub(super) fn apply(&mut self, pools: &[Pool], policy: Policy, node: &str, now: Instant) -> Vec<Transition> {
        self.policy = policy;
        node.clone_into(&mut self.node);
        let mut clients = TlsClients::default();
        let mut known = std::mem::take(&mut self.entries);
        let before = std::mem::take(&mut self.pools);
        let mut fresh = Vec::new();
        let mut transitions = Vec::new();
        for pool in pools {
            for server in &pool.servers {
                let id = before.get(&pool.name).and_then(|members| members.servers.get(&server.name)).copied();
                let old = id.and_then(|id| known.remove(&id).map(|entry| (id, entry)));
                let was_up = old.as_ref().map(|(_, entry)| entry.is_up());
                let (id, mut entry) = match old {
                    Some((id, entry)) if entry.continues(server) => {
                        (id, self.carry_over(id, entry, server, &mut clients, now))
                    }
                    old => {
                        self.last_id += 1;
                        fresh.push(self.last_id);
                        let mut entry = Entry::new(pool, server, &self.registry, &mut clients, now);
                        entry.recall(&mut self.memory, now);
                        entry.recall_word(&mut self.memory, now);
                        if let Some((_, before)) = old {
                            entry.stay_paused(&before);
                        }
                        (self.last_id, entry)
                    }
                };
                entry.keeps_sessions = matches!(pool.affinity, Affinity::Tls(_));
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

    /// The earliest check that is due, taken: it is under way until [`Roster::finish`] or [`Roster::heard`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let Reverse((due, id, errand)) = *self.queue.peek()?;
            if due > now {
                return None;
            }
            self.queue.pop();
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if let Some(later) = entry.put_off(errand, due, now) {
                self.queue.push(Reverse((later, id, errand)));
                continue;
            }
            let work = match errand {
                Errand::Check => entry.take_check(due),
                Errand::Agent => entry.take_agent(due).map(Work::Agent),
            };
            let Some(mut work) = work else { continue };
            if let Work::Check { plan, state, .. } = &mut work
                && plan.sends_state()
            {
                *state = Some(self.state_header(id));
            }
            return Some(Due { id, work });
        }
    }

    /// When [`Roster::take_due`] may have something next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((due, ..))| *due)
    }

    /// Counts a result and schedules the next check. None when the server was forgotten meanwhile.
    pub(super) fn finish(&mut self, id: u64, outcome: Outcome, now: Instant) -> Option<Finding> {
        let entry = self.entries.get_mut(&id)?;
        let (was_up, was_usable, was_stopping) = (entry.is_up(), entry.is_usable(), entry.stopping);
        let counted = entry.count(&outcome)?;
        let starved = outcome.result == CheckResult::Starved;
        let change = match (was_up, entry.is_up()) {
            (false, true) => Change::Up,
            (true, false) => Change::Down,
            (true, true) if entry.stopping && !was_stopping => Change::Stopping,
            (true, true) if was_stopping && !entry.stopping => Change::Resumed,
            _ if starved && !self.starved => Change::Starved,
            _ => Change::Nothing,
        };
        self.starved = starved;
        let due = now + self.random.vary(entry.next_interval(), self.policy.spread_percent);
        entry.schedule_check(due);
        self.queue.push(Reverse((due, id, Errand::Check)));
        entry.record(&outcome, change, now);
        let logged = self.policy.log_checks && counted;
        self.finding(id, outcome, change, was_usable, logged, false)
    }

    /// After a check that passed: the names of the server's ticket keys, where they are wanted.
    pub(super) fn keys_to_find(&self, id: u64) -> Option<Due> {
        let plan = self.entries.get(&id)?.key_finder()?;
        Some(Due { id, work: Work::Keys(plan) })
    }

    /// The pool and the name of a server, unless it was forgotten meanwhile.
    pub(super) fn name_of(&self, id: u64) -> Option<(String, String)> {
        self.entries.get(&id).map(|entry| (entry.pool.clone(), entry.server.clone()))
    }

    /// Takes an agent's answer and schedules the next question. None when the server was forgotten meanwhile, or has no
    /// agent any more.
    pub(super) fn heard(&mut self, id: u64, answer: agent::Answer, now: Instant) -> Option<(Finding, Vec<Order>)> {
        let entry = self.entries.get_mut(&id)?;
        let (was_up, was_usable) = (entry.is_up(), entry.is_usable());
        let agent::Answer { outcome, up, orders } = answer;
        let (interval, turned) = entry.listen(&outcome, up)?;
        let change = match (was_up, entry.is_up()) {
            (false, true) => Change::Up,
            (true, false) => Change::Down,
            _ => Change::Nothing,
        };
        let due = now + self.random.vary(interval, self.policy.spread_percent);
        entry.schedule_agent(due);
        self.queue.push(Reverse((due, id, Errand::Agent)));
        entry.record_agent(&outcome, change, now);
        let logged = self.policy.log_checks && turned;
        Some((self.finding(id, outcome, change, was_usable, logged, true)?, orders))
    }

    /// Connections of clients failed, so many in a row. None where that means nothing: the server is not checked, or is
    /// down anyway.
    pub(super) fn observe(&mut self, observed: &Observation, now: Instant) -> Option<Finding> {
        let id = *self.pools.get(&observed.pool)?.servers.get(&observed.server)?;
        let entry = self.entries.get_mut(&id)?;
        let (was_up, was_usable) = (entry.is_up(), entry.is_usable());
        let soon = entry.observe(observed.on_error, now)?;
        self.queue.push(Reverse((soon, id, Errand::Check)));
        let change = if was_up && !entry.is_up() { Change::Down } else { Change::Nothing };
        let cause =
            format!("Detected {} consecutive errors, last one was: L4 unsuccessful connection", observed.errors);
        let outcome = Verdict::saying(CheckResult::Observed, cause).after(Duration::ZERO);
        entry.record(&outcome, change, now);
        let logged = self.policy.log_checks && observed.on_error != OnError::FastCheck;
        self.finding(id, outcome, change, was_usable, logged, false)
    }

    /// A server by its names.
    pub(super) fn find(&mut self, pool: &str, server: &str) -> Option<(u64, &mut Entry)> {
        let id = *self.pools.get(pool)?.servers.get(server)?;
        self.entries.get_mut(&id).map(|entry| (id, entry))
    }

    pub(super) fn finding(
        &mut self,
        id: u64,
        outcome: Outcome,
        change: Change,
        was_usable: bool,
        logged: bool,
        by_agent: bool,
    ) -> Option<Finding> {
        let entry = self.entries.get(&id)?;
        let members = self.pools.entry(entry.pool.clone()).or_default();
        members.count(entry, entry.is_usable(), was_usable);
        Some(Finding {
            pool: entry.pool.clone(),
            server: entry.server.clone(),
            backup: entry.backup,
            outcome,
            by_agent,
            logged,
            change,
            counter: if by_agent { entry.agent_counter() } else { entry.counter() },
            usable: (members.active, members.backup),
            sessions: entry.stats.open.load(Ordering::Relaxed),
            by_hand: false,
            came_up: false,
        })
    }

    /// What `http-check send-state` sends: `UP; address=10.0.0.1; port=80; name=b/s1; node=n1; weight=1/2; ...`.
    fn state_header(&self, id: u64) -> String {
        let Some(entry) = self.entries.get(&id) else { return String::new() };
        let others = self.pools.get(&entry.pool).into_iter().flat_map(|members| members.servers.values());
        let (mut weight, mut sessions) = (0, 0);
        for other in others.filter_map(|id| self.entries.get(id)) {
            weight += if other.is_usable() { u32::from(other.weight) } else { 0 };
            sessions += other.stats.open.load(Ordering::Relaxed);
        }
        entry.state_header(&self.node, weight, sessions)
    }

    pub(super) fn is_up(&self, pool: &str, server: &str) -> bool {
        let id = self.pools.get(pool).and_then(|members| members.servers.get(server));
        id.and_then(|id| self.entries.get(id)).is_some_and(Entry::is_up)
    }

    pub(super) fn usable(&self, pool: &str) -> (usize, usize) {
        self.pools.get(pool).map_or((0, 0), |members| (members.active, members.backup))
    }

    /// A server that stays: its state as it is, its next check no later than the new interval wants it.
    fn carry_over(
        &mut self,
        id: u64,
        mut entry: Entry,
        server: &Server,
        clients: &mut TlsClients,
        now: Instant,
    ) -> Entry {
        entry.backup = server.backup;
        entry.weight = server.weight;
        if let Some(earlier) = entry.change_check(server, clients, now) {
            self.queue.push(Reverse((earlier, id, Errand::Check)));
        }
        if let Some(at_once) = entry.change_agent(server, now) {
            self.queue.push(Reverse((at_once, id, Errand::Agent)));
        }
        entry
    }

    /// New servers are checked one after the other over the shortest of their intervals, as HAProxy does it; so are their
    /// agents.
    fn schedule_first(&mut self, fresh: &[u64], now: Instant) {
        for errand in [Errand::Check, Errand::Agent] {
            let interval = |entry: &Entry| match errand {
                Errand::Check => entry.check_interval(),
                Errand::Agent => entry.agent_interval(),
            };
            let all: Vec<(u64, Duration)> =
                fresh.iter().filter_map(|id| Some((*id, interval(self.entries.get(id)?)?))).collect();
            let span = all.iter().map(|(_, interval)| *interval).min().unwrap_or_default();
            let count = u32::try_from(all.len()).unwrap_or(u32::MAX).max(1);
            let step = span / count;
            let mut due = now;
            for (id, _) in all {
                if let Some(entry) = self.entries.get_mut(&id) {
                    match errand {
                        Errand::Check => entry.schedule_check(due),
                        Errand::Agent => entry.schedule_agent(due),
                    }
                    self.queue.push(Reverse((due, id, errand)));
                    due += step;
                }
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
