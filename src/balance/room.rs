//! How much more the servers of a pool take. `loads` says how many connections a server has, by its position.

use std::time::Instant;

use super::Pool;
use super::candidate::Candidate;

impl Pool {
    /// Connections more that the servers take now that share new clients; none: one of them takes any number.
    pub fn free_places(&self, loads: impl Fn(usize) -> u64, now: Instant) -> Option<u64> {
        let Some(group) = self.group() else { return Some(0) };
        let shares = |position: &usize| self.is_in(&group, *position);
        (0..self.candidates.len()).filter(shares).map(|position| self.free(position, &loads, now)).sum()
    }

    /// Connections more that this server takes now; none: any number. One that is not there takes none.
    pub fn free_places_of(&self, server: &str, loads: impl Fn(usize) -> u64, now: Instant) -> Option<u64> {
        let position = self.candidates.iter().position(|candidate| candidate.name == server);
        position.map_or(Some(0), |position| self.free(position, &loads, now))
    }

    /// Connections more that the servers take or have wait for them that are up, in reserve or not; none: any number.
    pub fn free_slots(&self, loads: impl Fn(usize) -> u64) -> Option<u64> {
        let serves = |(_, candidate): &(usize, &Candidate)| candidate.in_service();
        let slots = |(position, candidate): (usize, &Candidate)| {
            let most = u64::from(candidate.limit?) + u64::from(candidate.max_queue?);
            Some(most.saturating_sub(loads(position) + self.queue.waiting_for(candidate.id) as u64))
        };
        self.candidates.iter().enumerate().filter(serves).map(slots).sum()
    }

    /// Connections that wait for this server in particular.
    #[must_use]
    pub fn waiting_for(&self, server: &str) -> usize {
        let found = self.candidates.iter().find(|candidate| candidate.name == server);
        found.map_or(0, |candidate| self.queue.waiting_for(candidate.id))
    }

    fn free(&self, position: usize, loads: &impl Fn(usize) -> u64, now: Instant) -> Option<u64> {
        let candidate = &self.candidates[position];
        let limit = candidate.limit_under(self.pressure(candidate, false, loads), now)?;
        Some(limit.saturating_sub(loads(position)))
    }
}
