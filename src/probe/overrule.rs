//! What an operator overrules: health and agents' words as they were found, and whether anybody looks.

use std::time::{Duration, Instant};

use crate::balance::health::Counter;
use crate::model::CheckResult;

use super::entry::Entry;
use super::outcome::Verdict;
use super::roster::{Change, Finding, Roster};

/// What an operator says of a server. The next check, or the agent's next answer, counts from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overrule {
    /// It is up or down, or up and takes no new clients.
    Health(HealthWish),
    /// Its agent says that it is up, or down.
    Agent(bool),
    /// Whether it is checked.
    Checks(bool),
    /// Whether its agent is asked.
    AgentChecks(bool),
}

/// Health as an operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthWish {
    /// As after as many checks as bring it up for good.
    Up,
    /// Up, and takes no new clients.
    Stopping,
    /// As after as many failed checks as take it down.
    Down,
}

/// Why nothing was overruled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverruleError {
    /// No such server.
    #[error("there is no such server")]
    NoServer,
    /// Nobody asks an agent of it.
    #[error("the server has no agent")]
    NoAgent,
}

impl Roster {
    /// Takes an operator's word. None: it changed no state.
    pub(super) fn overrule(
        &mut self,
        pool: &str,
        server: &str,
        word: Overrule,
        now: Instant,
    ) -> Result<Option<Finding>, OverruleError> {
        let (id, entry) = self.find(pool, server).ok_or(OverruleError::NoServer)?;
        let (was_up, was_usable, was_stopping) = (entry.is_up(), entry.is_usable(), entry.stopping);
        entry.overrule(word)?;
        let change = match (was_up, entry.is_up()) {
            (true, false) => Change::Down,
            (_, true) if entry.stopping && !was_stopping => Change::Stopping,
            (_, true) if was_stopping && !entry.stopping => Change::Resumed,
            (false, true) => Change::Up,
            (true, true) | (false, false) => Change::Nothing,
        };
        entry.record_word(change, now);
        if change == Change::Nothing {
            return Ok(None);
        }
        let outcome = Verdict::saying(CheckResult::L4Ok, "an operator says so").after(Duration::ZERO);
        let by_agent = matches!(word, Overrule::Agent(_));
        let finding = self.finding(id, outcome, change, was_usable, false, by_agent);
        // It was down and comes up to take no new clients: both are told.
        Ok(finding.map(|finding| Finding { by_hand: true, came_up: !was_up && change != Change::Down, ..finding }))
    }
}

impl Entry {
    fn overrule(&mut self, word: Overrule) -> Result<(), OverruleError> {
        match word {
            Overrule::Health(wish) => {
                let up = wish != HealthWish::Down;
                self.stopping = wish == HealthWish::Stopping;
                match &mut self.probe {
                    Some(probe) => {
                        let check = &probe.plan.check;
                        let value = if up { u32::MAX } else { 0 };
                        probe.counter = Counter::recalled(check.rise, check.fall, value, up);
                    }
                    None => self.held_down = !up,
                }
            }
            Overrule::Agent(up) => self.agent.as_mut().ok_or(OverruleError::NoAgent)?.down = !up,
            Overrule::Checks(on) => self.check_paused = !on,
            Overrule::AgentChecks(on) => self.agent_paused = !on,
        }
        Ok(())
    }
}
