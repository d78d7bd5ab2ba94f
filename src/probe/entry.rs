//! One server of the roster: its counter, what its agent says, and when either is asked next.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::balance::health::Counter;
use crate::model::{Agent, Check, CheckResult, OnError, Pool, Server, ServerName, ServerPort};
use crate::stats::{Health, LastCheck, Registry, ServerStats, ServerStatus};

use super::outcome::Outcome;
use super::plan::{Plan, TlsClients};
use super::recall::Memory;
use super::roster::{Change, Errand, Work};
use super::{Transition, report};

/// A server, checked or not.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pool: String,
    pub(super) server: String,
    address: IpAddr,
    port: ServerPort,
    pub(super) backup: bool,
    pub(super) weight: u16,
    disabled: bool,
    pub(super) probe: Option<Probe>,
    /// An operator says that it is down, which nobody checks.
    pub(super) held_down: bool,
    /// An operator wants no checks for now.
    pub(super) check_paused: bool,
    /// An operator wants its agent not to be asked for now.
    pub(super) agent_paused: bool,
    /// The name it is known by, and why that is not resolved, if it is not.
    name: Option<ServerName>,
    pub(super) agent: Option<Asked>,
    /// Its checks pass and ask for no new clients.
    pub(super) stopping: bool,
    /// Clients are kept by their TLS sessions: the names of its ticket keys are wanted.
    pub(super) keeps_sessions: bool,
    pub(super) stats: Arc<ServerStats>,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) plan: Arc<Plan>,
    pub(super) counter: Counter,
    /// None while a check is under way.
    due: Option<Instant>,
    last: Option<CheckResult>,
}

#[derive(Debug)]
pub(super) struct Asked {
    agent: Agent,
    /// It said so.
    pub(super) down: bool,
    /// None while it is being asked.
    due: Option<Instant>,
    last: Option<CheckResult>,
}

impl Entry {
    pub(super) fn new(
        pool: &Pool,
        server: &Server,
        registry: &Registry,
        clients: &mut TlsClients,
        now: Instant,
    ) -> Self {
        let probe = checked(server).map(|check| Probe {
            plan: Arc::new(Plan::new(check, clients)),
            counter: Counter::new(check.rise, check.fall),
            due: None,
            last: None,
        });
        let entry = Self {
            pool: pool.name.clone(),
            server: server.name.clone(),
            address: server.address,
            port: server.port,
            backup: server.backup,
            weight: server.weight,
            disabled: server.disabled,
            probe,
            held_down: false,
            check_paused: false,
            agent_paused: false,
            name: server.name_of.clone(),
            // In maintenance, too: only the agent takes back what it ordered.
            agent: server.agent.clone().map(Asked::new),
            stopping: false,
            keeps_sessions: false,
            stats: registry.server(&pool.name, &server.name),
        };
        // The health of one that tracks another is published by the data plane.
        if server.track.is_some() {
            return entry;
        }
        entry.stats.update_status(|status| {
            status.health = entry.health();
            status.counter = entry.progress();
            status.reason = entry.first_reason();
            status.since = Some(now);
            // What was found last is still told while it is in maintenance, as HAProxy does.
            if !entry.disabled {
                status.last_check = None;
            }
            (status.agent, status.certificate_expires) = (None, None);
            (status.stopping, status.agent_down) = (false, false);
            entry.show_targets(status);
        });
        entry
    }

    /// Where it is asked how it is, and whether at all.
    fn show_targets(&self, status: &mut ServerStatus) {
        let (probe, asked) = (self.probe.as_ref(), self.agent.as_ref());
        status.check_target = probe.map(|probe| probe.plan.check.target);
        status.check_paused = self.check_paused;
        status.agent_target = asked.map(|asked| asked.agent.target);
        status.agent_paused = self.agent_paused;
    }

    /// The same server, checked elsewhere now or out of maintenance: what an operator wants holds on.
    pub(super) fn stay_paused(&mut self, before: &Self) {
        (self.check_paused, self.agent_paused) = (before.check_paused, before.agent_paused);
        self.stats.update_status(|status| self.show_targets(status));
    }

    /// Begins with what an earlier life of the process knew of it.
    pub(super) fn recall(&mut self, memory: &mut Memory, now: Instant) {
        let Some(probe) = &mut self.probe else { return };
        let check = &probe.plan.check;
        let Some(known) = memory.take(&self.pool, &self.server, check, now) else { return };
        probe.counter = known.count(check, now);
        probe.last = Some(known.last.result);
        self.stopping = known.stopping && probe.counter.is_up();
        let health = self.health();
        self.stats.update_status(|status| {
            (status.health, status.counter, status.reason) = (health, self.progress(), known.reason);
            (status.since, status.last_check) = (Some(known.since), Some(known.last));
            status.stopping = self.stopping;
        });
    }

    /// The same of what its agent said: of a server that nobody checks, too.
    pub(super) fn recall_word(&mut self, memory: &mut Memory, now: Instant) {
        let Some(asked) = &mut self.agent else { return };
        let Some(word) = memory.take_word(&self.pool, &self.server, &asked.agent, now) else { return };
        (asked.down, asked.last) = (word.down, Some(word.last.result));
        let health = self.health();
        self.stats.update_status(|status| {
            (status.health, status.agent_down, status.agent) = (health, word.down, Some(word.last));
            if self.probe.is_none() {
                (status.reason, status.since) = (word.reason, Some(word.since));
            }
        });
    }

    /// Whether `server` is this one, to be checked at the same place: what is known of it then stays true.
    pub(super) fn continues(&self, server: &Server) -> bool {
        let wanted = checked(server).map(|check| check.target);
        let checked = self.probe.as_ref().map(|probe| probe.plan.check.target);
        self.disabled == server.disabled && self.name == server.name_of && checked == wanted
    }

    pub(super) fn is_up(&self) -> bool {
        !self.disabled
            && !self.held_down
            && self.unresolved().is_none()
            && self.probe.as_ref().is_none_or(|probe| probe.counter.is_up())
            && !self.agent.as_ref().is_some_and(|asked| asked.down)
    }

    pub(super) fn is_usable(&self) -> bool {
        self.is_up() && self.weight > 0 && !self.stopping
    }

    /// Value, rise, fall.
    pub(super) fn counter(&self) -> (u32, u32, u32) {
        self.probe
            .as_ref()
            .map_or((0, 0, 0), |probe| (probe.counter.value(), probe.plan.check.rise, probe.plan.check.fall))
    }

    /// The same of its agent, whose word counts at once.
    pub(super) fn agent_counter(&self) -> (u32, u32, u32) {
        (u32::from(!self.agent.as_ref().is_some_and(|asked| asked.down)), 1, 1)
    }

    /// Value and maximum of its counter, for statistics.
    fn progress(&self) -> Option<(u32, u32)> {
        self.probe.as_ref().map(|probe| (probe.counter.value(), probe.counter.maximum()))
    }

    pub(super) fn check_interval(&self) -> Option<Duration> {
        self.probe.as_ref().map(|probe| probe.plan.check.interval)
    }

    pub(super) fn agent_interval(&self) -> Option<Duration> {
        self.agent.as_ref().map(|asked| asked.agent.interval)
    }

    /// The time to its next check.
    pub(super) fn next_interval(&self) -> Duration {
        self.probe.as_ref().map_or(Duration::MAX, |probe| probe.counter.interval(&probe.plan.check))
    }

    pub(super) fn schedule_check(&mut self, due: Instant) {
        if let Some(probe) = &mut self.probe {
            probe.due = Some(due);
        }
    }

    pub(super) fn schedule_agent(&mut self, due: Instant) {
        if let Some(asked) = &mut self.agent {
            asked.due = Some(due);
        }
    }

    /// Its check, if that is what was to be made at `due`.
    pub(super) fn take_check(&mut self, due: Instant) -> Option<Work> {
        let sessions = self.stats.open.load(Ordering::Relaxed);
        let probe = self.probe.as_mut().filter(|probe| probe.due == Some(due))?;
        probe.due = None;
        Some(Work::Check { plan: Arc::clone(&probe.plan), state: None, sessions })
    }

    /// Its check, where that can find the names of its ticket keys, and they are wanted.
    pub(super) fn key_finder(&self) -> Option<Arc<Plan>> {
        let plan = &self.probe.as_ref().filter(|_| self.keeps_sessions)?.plan;
        plan.tls().map(|_| Arc::clone(plan))
    }

    /// Nothing is to be made at `due` for now: a later time.
    pub(super) fn put_off(&mut self, errand: Errand, due: Instant, now: Instant) -> Option<Instant> {
        let (paused, planned, interval) = match errand {
            Errand::Check => {
                let probe = self.probe.as_mut()?;
                (self.check_paused, &mut probe.due, probe.plan.check.interval)
            }
            Errand::Agent => {
                let asked = self.agent.as_mut()?;
                (self.agent_paused, &mut asked.due, asked.agent.interval)
            }
        };
        let later = Some(now + interval).filter(|_| paused && *planned == Some(due))?;
        *planned = Some(later);
        Some(later)
    }

    /// Its agent, if it was to be asked at `due`.
    pub(super) fn take_agent(&mut self, due: Instant) -> Option<Agent> {
        let asked = self.agent.as_mut().filter(|asked| asked.due == Some(due))?;
        asked.due = None;
        Some(asked.agent.clone())
    }

    /// Counts a result. Whether it differs from the one before, or moved the counter; none without a check.
    pub(super) fn count(&mut self, outcome: &Outcome) -> Option<bool> {
        let probe = self.probe.as_mut()?;
        let before = probe.counter.value();
        let result = outcome.result;
        // A server that is down does not come up by an answer that asks for no clients.
        let counts_as_success = result.passed() && (result != CheckResult::L7OkConditionally || probe.counter.is_up());
        if counts_as_success {
            let _ = probe.counter.success();
        } else if result != CheckResult::Starved {
            let _ = probe.counter.failure();
        }
        match result {
            CheckResult::L7OkConditionally => self.stopping = probe.counter.is_up(),
            result if result.passed() || !probe.counter.is_up() => self.stopping = false,
            // As HAProxy: one failure says nothing about it.
            _ => {}
        }
        let differs = probe.last.replace(result) != Some(result);
        Some(result != CheckResult::Starved && (differs || probe.counter.value() != before))
    }

    /// Connections of clients failed in a row: what that means for its counter. The time of its next check, which comes
    /// soon; none without a check, or where it is down anyway.
    pub(super) fn observe(&mut self, on_error: OnError, now: Instant) -> Option<Instant> {
        let probe = self.probe.as_mut().filter(|probe| probe.counter.is_up())?;
        match on_error {
            OnError::FastCheck => {}
            OnError::FailCheck => _ = probe.counter.failure(),
            OnError::SuddenDeath => probe.counter.weaken(),
            OnError::MarkDown => _ = probe.counter.fail(),
        }
        let soon = now + probe.plan.check.fast_interval;
        // One that is under way is soon enough.
        if probe.due.is_some_and(|due| soon < due) {
            probe.due = Some(soon);
        }
        Some(soon)
    }

    /// Takes what its agent said of its health. The time to the next question, and whether the answer is a new one.
    pub(super) fn listen(&mut self, outcome: &Outcome, up: Option<bool>) -> Option<(Duration, bool)> {
        let asked = self.agent.as_mut()?;
        if let Some(up) = up {
            asked.down = !up;
        }
        let differs = asked.last.replace(outcome.result) != Some(outcome.result);
        Some((asked.agent.interval, differs))
    }

    /// Another check at the same place: a time before the one that is set, if that is when it is to be made.
    pub(super) fn change_check(&mut self, server: &Server, clients: &mut TlsClients, now: Instant) -> Option<Instant> {
        let (Some(probe), Some(check)) = (&mut self.probe, &server.check) else { return None };
        if probe.plan.check == *check {
            return None;
        }
        probe.counter = probe.counter.with_limits(check.rise, check.fall);
        probe.plan = Arc::new(Plan::new(check, clients));
        let latest = now + probe.counter.interval(check);
        let earlier = probe.due.is_some_and(|due| latest < due).then_some(latest);
        if earlier.is_some() {
            probe.due = earlier;
        }
        self.stats.update_status(|status| status.counter = self.progress());
        earlier
    }

    /// Another agent, or none: when to ask it. What the one before said is forgotten where it is another one.
    pub(super) fn change_agent(&mut self, server: &Server, now: Instant) -> Option<Instant> {
        let wanted = server.agent.as_ref();
        match (&mut self.agent, wanted) {
            (Some(asked), Some(agent)) if asked.agent == *agent => return None,
            (Some(asked), Some(agent)) if asked.agent.target == agent.target => asked.agent = agent.clone(),
            (_, wanted) => {
                self.agent = wanted.cloned().map(Asked::new);
                let health = self.health();
                self.stats.update_status(|status| {
                    (status.agent, status.agent_down, status.health) = (None, false, health);
                });
            }
        }
        self.stats.update_status(|status| self.show_targets(status));
        let asked = self.agent.as_mut()?;
        // One that is being asked is scheduled when it has answered.
        let due = asked.due.map_or(now, |due| due.min(now + asked.agent.interval));
        asked.due = Some(due);
        Some(due)
    }

    /// `UP 2/3; address=...`, as HAProxy says it.
    pub(super) fn state_header(&self, node: &str, pool_weight: u32, pool_sessions: u64) -> String {
        let (value, rise, fall) = self.counter();
        let state = match (self.is_up(), self.stopping) {
            (true, true) => "NOLB".to_owned(),
            (true, false) if value + 1 < rise + fall => format!("UP {}/{fall}", (value + 1).saturating_sub(rise)),
            (true, false) => "UP".to_owned(),
            (false, _) if value > 0 => format!("DOWN {value}/{rise}"),
            (false, _) => "DOWN".to_owned(),
        };
        let port = match self.port {
            ServerPort::Fixed(port) => port.to_string(),
            ServerPort::Same => "0".to_owned(),
            ServerPort::Offset(offset) => format!("{offset:+}"),
        };
        let sessions = self.stats.open.load(Ordering::Relaxed);
        format!(
            "{state}; address={}; port={port}; name={}/{}; node={node}; weight={}/{pool_weight}; \
             scur={sessions}/{pool_sessions}; qcur=0",
            self.address, self.pool, self.server, self.weight
        )
    }

    fn health(&self) -> Health {
        match (&self.probe, &self.agent) {
            _ if self.disabled => Health::Disabled,
            _ if !self.is_up() => Health::Down,
            (None, None) => Health::Unchecked,
            (Some(_), _) | (_, Some(_)) => Health::Up,
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

    pub(super) fn reconfigured(&self) -> Transition {
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

    /// For statistics: a check's result.
    pub(super) fn record(&self, outcome: &Outcome, change: Change, now: Instant) {
        self.stats.checks.fetch_add(1, Ordering::Relaxed);
        // As HAProxy counts them: that a server which is down fails on is no news.
        let was_up = change == Change::Down || self.is_up();
        if was_up && !outcome.result.passed() && outcome.result != CheckResult::Starved {
            self.stats.checks_failed.fetch_add(1, Ordering::Relaxed);
        }
        self.record_change(change, now);
        self.stats.update_status(|status| {
            status.counter = self.progress();
            status.reason = report::reason(outcome);
            status.last_check = Some(last(outcome, now));
            status.stopping = self.stopping;
            // A check that did not get that far does not make a certificate unknown.
            status.certificate_expires = outcome.certificate_expires.or(status.certificate_expires);
        });
    }

    /// For statistics: what the agent said.
    pub(super) fn record_agent(&self, outcome: &Outcome, change: Change, now: Instant) {
        self.record_change(change, now);
        self.stats.update_status(|status| {
            if change != Change::Nothing {
                status.reason = report::reason(outcome);
            }
            status.agent = Some(last(outcome, now));
            status.agent_down = self.agent.as_ref().is_some_and(|asked| asked.down);
        });
    }

    /// For statistics: an operator's word.
    pub(super) fn record_word(&self, change: Change, now: Instant) {
        self.record_change(change, now);
        self.stats.update_status(|status| {
            status.counter = self.progress();
            if change != Change::Nothing {
                "an operator says so".clone_into(&mut status.reason);
            }
            status.stopping = self.stopping;
            status.agent_down = self.agent.as_ref().is_some_and(|asked| asked.down);
            self.show_targets(status);
        });
    }

    fn record_change(&self, change: Change, now: Instant) {
        if change == Change::Down {
            self.stats.downs.fetch_add(1, Ordering::Relaxed);
        }
        self.stats.update_status(|status| {
            if matches!(change, Change::Up | Change::Down) {
                status.since = Some(now);
            }
            status.health = self.health();
        });
    }
}

impl Asked {
    fn new(agent: Agent) -> Self {
        Self { agent, down: false, due: None, last: None }
    }
}

fn last(outcome: &Outcome, now: Instant) -> LastCheck {
    LastCheck {
        result: outcome.result,
        code: outcome.code,
        detail: outcome.info.clone(),
        duration: outcome.duration,
        at: now,
    }
}

/// The check of a server that can be checked.
fn checked(server: &Server) -> Option<&Check> {
    let resolved = server.name_of.as_ref().is_none_or(|name| name.unresolved.is_none());
    server.check.as_ref().filter(|_| !server.disabled && resolved)
}
