//! The decision itself: who had the client, else who is next. It changes nothing but whose turn it is, so that it can be
//! asked without being meant ([`Pool::explain`]).

use std::time::Instant;

use super::algorithm::at_weight;
use super::candidate::Candidate;
use super::maglev::KeyHash;
use super::pool::{Pool, Refusal, Request};
use super::sticky::Remembered;
use crate::model::{AdminState, Affinity, Algorithm, HashType, Key};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) position: usize,
    pub(super) why: Why,
}

/// Why it is this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A rule of the pool says so.
    Rule,
    /// The client had it before; whether it has ever served it.
    Remembered {
        /// It has.
        proven: bool,
    },
    /// It knows the key of the ticket that the client brings.
    Ticket,
    /// It made the TLS session that the client brings.
    Session,
    /// Nobody is known to know the ticket that the client brings, and of this server no key is known.
    Unnamed,
    /// To see whether it knows the key of the ticket, too, as others do.
    Trial,
    /// A hash says so.
    Hash,
    /// It is next by this algorithm.
    Turn(Algorithm),
    /// Next, for this once: the server that the client belongs to is full, and as many wait for it as may.
    Elsewhere,
}

/// What may be done with a server now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be chosen.
    Usable,
    /// Its checks failed.
    Down,
    /// An administrator took it out of service.
    Maintenance,
    /// An administrator lets it serve only the clients it has.
    Draining,
    /// Its checks ask for no new clients.
    Stopping,
    /// Weight 0: only the clients it has.
    Weightless,
    /// A backup, which others make unnecessary.
    Backup,
    /// An active server that waits: the backups go on to serve.
    FailedOver,
    /// It failed this connection.
    Excluded,
    /// It has as many connections as it may.
    Full,
    /// It has more than its share, by `hash_balance_factor`.
    Overloaded,
}

impl Pool {
    pub(super) fn decide(
        &mut self,
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Result<Decision, Refusal> {
        let mut elsewhere = false;
        if request.exclude.is_empty()
            && let Some((position, why)) = self.directed(request).or_else(|| self.home(request, loads, now))
        {
            if self.has_room(position, request, loads, now) {
                return Ok(Decision { position, why });
            }
            if let Some(refusal) = self.wait_for(position, request) {
                return Err(refusal);
            }
            elsewhere = true;
        }
        let decision = self.balance(request, loads, now)?;
        Ok(if elsewhere { Decision { why: Why::Elsewhere, ..decision } } else { decision })
    }

    /// What the table knows of a client.
    pub(super) fn known(&self, request: &Request<'_>, now: Instant) -> Option<Remembered> {
        let mut table = self.table.as_ref()?.lock();
        match request.keys {
            None => table.get(&Key::from(request.client), now),
            Some(keys) => keys.matches.iter().find_map(|key| table.get(key, now)),
        }
    }

    /// Whether a server takes the connection now: who came earlier and waits for it comes first.
    fn has_room(&self, position: usize, request: &Request<'_>, loads: &impl Fn(usize) -> u64, now: Instant) -> bool {
        let candidate = &self.candidates[position];
        let overtakes = !request.waited
            && !self.queue.is_empty()
            && candidate.limit.is_some()
            && (self.queue.waiting_for_any() > 0 || self.queue.waiting_for(candidate.id) > 0);
        !overtakes && candidate.has_room(loads(position), self.pressure(candidate, !request.waited, loads), now)
    }

    /// The load of the pool, with one more connection if `one_more`, and the full one, where a limit follows it.
    pub(super) fn pressure(
        &self,
        candidate: &Candidate,
        one_more: bool,
        loads: &impl Fn(usize) -> u64,
    ) -> Option<(u64, u64)> {
        let full = candidate.floor.and(self.full_load)?;
        let open: u64 = (0..self.candidates.len()).map(loads).sum();
        // Who waits is counted there.
        let load = open + self.queue.len() as u64 + u64::from(one_more);
        Some((load, u64::from(full)))
    }

    /// To wait for a server that is full, as long as not too many do.
    fn wait_for(&self, position: usize, request: &Request<'_>) -> Option<Refusal> {
        let Candidate { id, max_queue, .. } = self.candidates[position];
        let waiting = self.queue.waiting_for(id);
        // Who waits already is one of those.
        let may_wait = request.waited || max_queue.is_none_or(|most| waiting < most as usize);
        may_wait.then_some(Refusal::Full { server: Some(id) })
    }

    /// The choice among the active servers; among the backups when no active one is up.
    pub(super) fn balance(
        &mut self,
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Result<Decision, Refusal> {
        let group = self.group().ok_or(Refusal::NoneUp)?;
        if let Some(key) = self.hash_key(request) {
            return self.hashed(key, &group, request, loads, now);
        }
        let algorithm = match self.algorithm {
            // Nobody was named.
            Algorithm::Sni | Algorithm::RdpUser | Algorithm::Source => Algorithm::RoundRobin,
            other => other,
        };
        let slow_starts = algorithm != Algorithm::StaticRoundRobin;
        // Lent out, so that the weights may look at everything else.
        let mut turns = std::mem::take(&mut self.turns);
        let servers = self.candidates.len();
        let weight = |position: usize| {
            let candidate = &self.candidates[position];
            let usable = self.is_in(&group, position)
                && !request.exclude.contains(&candidate.id)
                && self.has_room(position, request, loads, now);
            if usable { candidate.share(now, slow_starts) } else { 0 }
        };
        let chosen = match algorithm {
            Algorithm::RoundRobin
            | Algorithm::StaticRoundRobin
            | Algorithm::Source
            | Algorithm::Sni
            | Algorithm::RdpUser => turns.round_robin.select(weight),
            Algorithm::LeastConnections => turns.least.select(servers, weight, loads),
            Algorithm::Random(draws) => turns.random.select(servers, draws, weight, loads),
            Algorithm::First => (0..servers).find(|&position| weight(position) > 0),
        };
        self.turns = turns;
        match chosen {
            Some(position) => Ok(Decision { position, why: Why::Turn(algorithm) }),
            None => Err(self.refusal(&group, request, loads, now)),
        }
    }

    /// What is hashed; none where no hash chooses.
    fn hash_key(&self, request: &Request<'_>) -> Option<KeyHash> {
        match (&self.affinity, self.algorithm) {
            (Affinity::Source, _) | (_, Algorithm::Source) => Some(KeyHash::of(request.client)),
            (_, Algorithm::Sni | Algorithm::RdpUser) => request.name,
            (Affinity::Table(_), Algorithm::RoundRobin) if self.alike => match request.keys {
                None => Some(KeyHash::of(request.client)),
                Some(keys) => keys.stores.first().map(KeyHash::of_key),
            },
            _ => None,
        }
    }

    /// The server for a key. One that is full is waited for, since it is this one on every node; where that may not be, and
    /// where it has more than its share, the next one takes the client.
    fn hashed(
        &self,
        key: KeyHash,
        group: &Group,
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Result<Decision, Refusal> {
        let bounds = self.bounds(group, loads, now);
        let eligible = |position: usize| {
            self.is_in(group, position)
                && !request.exclude.contains(&self.candidates[position].id)
                && bounds.as_ref().is_none_or(|bounds| loads(position) < bounds[position])
        };
        let usable = |position: usize| eligible(position) && self.has_room(position, request, loads, now);
        let decided = |position: usize| Decision { position, why: Why::Hash };
        // Nobody waits for a server that was never its own.
        if self.algorithm == Algorithm::RoundRobin && self.affinity != Affinity::Source {
            let chosen = self.by_hash(key, group, usable).map(decided);
            return chosen.ok_or_else(|| self.refusal(group, request, loads, now));
        }
        match self.by_hash(key, group, eligible) {
            Some(position) if self.has_room(position, request, loads, now) => Ok(decided(position)),
            Some(position) => match self.wait_for(position, request) {
                Some(refusal) => Err(refusal),
                None => match self.by_hash(key, group, usable) {
                    Some(position) => Ok(decided(position)),
                    None => Err(self.refusal(group, request, loads, now)),
                },
            },
            None => Err(self.refusal(group, request, loads, now)),
        }
    }

    fn by_hash(&self, key: KeyHash, group: &Group, usable: impl Fn(usize) -> bool) -> Option<usize> {
        match (self.hash_type, &self.hash) {
            (HashType::Consistent, Some(hash)) => hash.select(key, group.backup, usable),
            (HashType::MapBased, _) | (_, None) => {
                let weight = |position: usize| {
                    if usable(position) { u64::from(self.candidates[position].weight) } else { 0 }
                };
                let total: u64 = (0..self.candidates.len()).map(weight).sum();
                let point = if total > 0 { key.modulo(total) } else { return None };
                at_weight(point, self.candidates.len(), weight)
            }
        }
    }

    /// The most connections of each server under `hash_balance_factor`: its part, by weight, of all and of the one that
    /// comes, times the factor, rounded up ("consistent hashing with bounded loads").
    fn bounds(&self, group: &Group, loads: &impl Fn(usize) -> u64, now: Instant) -> Option<Vec<u64>> {
        let factor = u128::from(self.hash_balance_factor?);
        let share = |position: usize| {
            if self.is_in(group, position) { u128::from(self.candidates[position].share(now, true)) } else { 0 }
        };
        let positions = 0..self.candidates.len();
        let weights: u128 = positions.clone().map(share).sum();
        let open: u64 = positions.clone().filter(|&position| self.is_in(group, position)).map(loads).sum();
        let most = |position: usize| {
            let most = (u128::from(open) + 1) * factor * share(position);
            u64::try_from(most.div_ceil(100 * weights.max(1))).unwrap_or(u64::MAX)
        };
        Some(positions.map(most).collect())
    }

    fn refusal(&self, group: &Group, request: &Request<'_>, loads: &impl Fn(usize) -> u64, now: Instant) -> Refusal {
        let has_room = |&position: &usize| self.has_room(position, request, loads, now);
        if (0..self.candidates.len()).filter(|&position| self.is_in(group, position)).any(|p| has_room(&p)) {
            Refusal::Excluded
        } else {
            Refusal::Full { server: None }
        }
    }

    /// Who serves new clients now; none: nobody can.
    pub(super) fn group(&self) -> Option<Group> {
        let of = |backup: bool| self.candidates.iter().position(|c| c.is_eligible() && c.backup == backup);
        match (of(false), of(true)) {
            (Some(_), Some(backup)) if self.failed_over => Some(self.backups(backup)),
            (Some(_), _) => Some(Group { backup: false, only: None }),
            (None, Some(backup)) => Some(self.backups(backup)),
            (None, None) => None,
        }
    }

    fn backups(&self, first: usize) -> Group {
        Group { backup: true, only: Some(first).filter(|_| !self.all_backups) }
    }

    pub(super) fn is_in(&self, group: &Group, position: usize) -> bool {
        let candidate = &self.candidates[position];
        let Group { backup, only } = *group;
        candidate.is_eligible() && candidate.backup == backup && only.is_none_or(|only| only == position)
    }

    /// What may be done with the server at `position` for this connection.
    pub(super) fn standing(
        &self,
        position: usize,
        request: &Request<'_>,
        loads: &impl Fn(usize) -> u64,
        now: Instant,
    ) -> Standing {
        let candidate = &self.candidates[position];
        let group = self.group();
        let overloaded = |group: &Group| {
            let bounds = self.hash_key(request).and_then(|_| self.bounds(group, loads, now));
            bounds.is_some_and(|bounds| loads(position) >= bounds[position])
        };
        match group {
            _ if candidate.allowed() == AdminState::Maintenance => Standing::Maintenance,
            _ if !candidate.up => Standing::Down,
            _ if candidate.allowed() == AdminState::Drain => Standing::Draining,
            _ if candidate.stopping => Standing::Stopping,
            _ if candidate.weight == 0 => Standing::Weightless,
            _ if request.exclude.contains(&candidate.id) => Standing::Excluded,
            Some(group) if !self.is_in(&group, position) => {
                if candidate.backup {
                    Standing::Backup
                } else {
                    Standing::FailedOver
                }
            }
            _ if !self.has_room(position, request, loads, now) => Standing::Full,
            Some(group) if overloaded(&group) => Standing::Overloaded,
            Some(_) | None => Standing::Usable,
        }
    }
}

/// Which servers get new clients: the active ones, or backups, possibly only one of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    backup: bool,
    only: Option<usize>,
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
