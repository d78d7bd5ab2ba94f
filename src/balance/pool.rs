//! A pool of servers as the choice sees it: who is there, who is up, who had this client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::algorithm::{LeastConnections, RoundRobin};
use super::candidate::{Candidate, ServerId};
use super::hash::Hash;
use super::maglev::KeyHash;
use super::sticky::{Bounds, Pin, Remembered, Table};
use crate::model::{self, Affinity, Algorithm};

/// A pool of servers, and what it remembers of clients.
#[derive(Debug)]
pub struct Pool {
    algorithm: Algorithm,
    pub(super) affinity: Affinity,
    all_backups: bool,
    pub(super) candidates: Vec<Candidate>,
    pub(super) positions: HashMap<ServerId, usize>,
    next_id: ServerId,
    round_robin: RoundRobin,
    least: LeastConnections,
    /// Only where a hash chooses.
    pub(super) hash: Option<Hash>,
    pub(super) table: Option<Table>,
}

/// A connection that wants a server.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The client: what stickiness knows it by, and the source hash.
    pub client: IpAddr,
    /// Servers that failed this connection.
    pub exclude: &'a [ServerId],
    /// The entry of the stick table it holds already, from an earlier choice.
    pub held: Option<Pin>,
}

/// The server for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its position in the configured list.
    pub position: usize,
    /// Its number.
    pub id: ServerId,
    /// Stickiness named it, not the algorithm, and it has served this client before.
    pub sticky: bool,
    /// The entry of the stick table that the connection holds; to be given back with [`Pool::release`].
    pub pin: Option<Pin>,
}

/// Why there is no server for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// None is up.
    NoneUp,
    /// Those that are up have as many connections as they may.
    Full,
    /// Those that are left were excluded.
    Excluded,
}

impl Pool {
    /// The pool as configured, every server up, nothing remembered.
    #[must_use]
    pub fn new(spec: &model::Pool, now: Instant) -> Self {
        let mut pool = Self {
            algorithm: spec.algorithm,
            affinity: Affinity::None,
            all_backups: spec.all_backups,
            candidates: Vec::new(),
            positions: HashMap::new(),
            next_id: 0,
            round_robin: RoundRobin::default(),
            least: LeastConnections::default(),
            hash: None,
            table: None,
        };
        pool.reconfigure(spec, now);
        if let Some(plan) = pool.hash_plan() {
            pool.publish(plan.build());
        }
        pool
    }

    /// Another configuration (a reload). A server that stays, by name, keeps its number, its health, its turn and its
    /// clients, and what was set while it ran unless the configuration changes that; a new one is up. One without a check
    /// is up. The hash tables want to be built anew afterwards ([`Pool::hash_plan`]).
    pub fn reconfigure(&mut self, spec: &model::Pool, now: Instant) {
        let old = std::mem::take(&mut self.candidates);
        let mut turns = Vec::with_capacity(spec.servers.len());
        for server in &spec.servers {
            let before = old.iter().position(|candidate| candidate.name == server.name);
            turns.push(before);
            let candidate = match before {
                Some(position) => old[position].reconfigured(server),
                None => Candidate::new(self.new_id(), server),
            };
            self.candidates.push(candidate);
        }
        self.round_robin.rearrange(&turns);
        self.positions = self.candidates.iter().enumerate().map(|(position, c)| (c.id, position)).collect();
        self.algorithm = spec.algorithm;
        self.all_backups = spec.all_backups;
        self.set_affinity(spec.affinity.clone(), now);
        let hash = self.hash.take().filter(|_| self.hashes());
        self.hash = hash.map(|mut hash| {
            hash.locate(&self.candidates);
            hash
        });
    }

    /// Whether a hash chooses.
    pub(super) fn hashes(&self) -> bool {
        self.algorithm == Algorithm::Source || self.affinity == Affinity::Source
    }

    /// Chooses by these tables from now on.
    pub fn publish(&mut self, mut hash: Hash) {
        hash.locate(&self.candidates);
        self.hash = Some(hash);
    }

    fn new_id(&mut self) -> ServerId {
        self.next_id += 1;
        self.next_id
    }

    fn set_affinity(&mut self, affinity: Affinity, now: Instant) {
        let bounds = match &affinity {
            Affinity::None => None,
            Affinity::Source => Some(Bounds::LiveFlows),
            Affinity::Table(spec) => Some(Bounds::Stick(spec.clone())),
        };
        match (bounds, &mut self.table) {
            (Some(bounds), Some(table)) => table.set_bounds(bounds, now),
            (Some(bounds), None) => self.table = Some(Table::new(bounds)),
            // Flows still hold entries: the table goes with the last of them.
            (None, Some(table)) => table.set_bounds(Bounds::LiveFlows, now),
            (None, None) => {}
        }
        self.affinity = affinity;
    }

    /// The stick table, as far as clients are remembered beyond their flows.
    pub(super) fn table_mut(&mut self) -> Option<&mut Table> {
        match self.affinity {
            Affinity::Table(_) => self.table.as_mut(),
            Affinity::None | Affinity::Source => None,
        }
    }

    /// Sets a server's health; false when it had that already, or is not known.
    pub fn set_up(&mut self, server: &str, up: bool) -> bool {
        self.change(server, |candidate| std::mem::replace(&mut candidate.up, up) != up)
    }

    /// Changes a server, which starts without savings and debts if that was a change.
    pub(super) fn change(&mut self, server: &str, change: impl FnOnce(&mut Candidate) -> bool) -> bool {
        let Some(position) = self.candidates.iter().position(|candidate| candidate.name == server) else {
            return false;
        };
        let changed = change(&mut self.candidates[position]);
        if changed {
            self.round_robin.forget(position);
        }
        changed
    }

    /// Whether any server can get a new client now, however full.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.candidates.iter().any(Candidate::is_eligible)
    }

    /// Clients remembered.
    pub fn table_len(&mut self, now: Instant) -> usize {
        self.table.as_mut().map_or(0, |table| table.len(now))
    }

    /// Chooses the server for a connection: the one that its client had, else by algorithm. `loads` gives the open
    /// connections of the server at a position.
    pub fn select(
        &mut self,
        request: &Request<'_>,
        loads: impl Fn(usize) -> u64,
        now: Instant,
    ) -> Result<Choice, Refusal> {
        let mut had_is_full = false;
        if request.exclude.is_empty()
            && let Some(remembered) = self.remembered(request.client, now)
            && let Some(&position) = self.positions.get(&remembered.server)
            && self.candidates[position].in_service()
        {
            if self.candidates[position].has_room(loads(position)) {
                return Ok(self.choice(position, remembered.proven, request, now));
            }
            had_is_full = true;
        }
        let position = self.balance(request, loads)?;
        if had_is_full {
            // Elsewhere for this once; the client still belongs to the server that is full.
            return Ok(Choice { position, id: self.candidates[position].id, sticky: false, pin: request.held });
        }
        Ok(self.choice(position, false, request, now))
    }

    fn remembered(&mut self, key: IpAddr, now: Instant) -> Option<Remembered> {
        match self.affinity {
            Affinity::None => None,
            Affinity::Source | Affinity::Table(_) => self.table.as_mut()?.get(key, now),
        }
    }

    fn choice(&mut self, position: usize, sticky: bool, request: &Request<'_>, now: Instant) -> Choice {
        let id = self.candidates[position].id;
        let pin = match (&self.affinity, &mut self.table) {
            (Affinity::Source | Affinity::Table(_), Some(table)) => match request.held {
                Some(pin) => {
                    table.assign(pin, id);
                    Some(pin)
                }
                None => table.pin(request.client, id, now),
            },
            (Affinity::None, _) | (_, None) => request.held,
        };
        Choice { position, id, sticky, pin }
    }

    /// The algorithm's choice among the active servers; among the backups when no active one is up.
    fn balance(&mut self, request: &Request<'_>, loads: impl Fn(usize) -> u64) -> Result<usize, Refusal> {
        let Self { candidates, algorithm, affinity, all_backups, round_robin, least, hash, .. } = self;
        let backup = !candidates.iter().any(|c| c.is_eligible() && !c.backup);
        let only = if backup && !*all_backups {
            Some(candidates.iter().position(Candidate::is_eligible).ok_or(Refusal::NoneUp)?)
        } else {
            None
        };
        let eligible = |position: usize| {
            let candidate = &candidates[position];
            candidate.is_eligible() && candidate.backup == backup && only.is_none_or(|only| only == position)
        };
        let usable = |position: usize| {
            let candidate = &candidates[position];
            eligible(position) && candidate.has_room(loads(position)) && !request.exclude.contains(&candidate.id)
        };
        let weight = |position: usize| if usable(position) { u64::from(candidates[position].weight) } else { 0 };
        let chosen = match (hash, *algorithm, &*affinity) {
            (Some(hash), Algorithm::Source, _) | (Some(hash), _, Affinity::Source) => {
                hash.select(KeyHash::of(request.client), backup, usable)
            }
            (_, Algorithm::LeastConnections, _) => least.select(candidates.len(), weight, &loads),
            (_, Algorithm::RoundRobin | Algorithm::Source, _) => round_robin.select(weight),
        };
        chosen.ok_or_else(|| {
            let has_room = |position| eligible(position) && candidates[position].has_room(loads(position));
            if (0..candidates.len()).any(has_room) {
                Refusal::Excluded
            } else if (0..candidates.len()).any(eligible) {
                Refusal::Full
            } else {
                Refusal::NoneUp
            }
        })
    }

    /// A connection that holds `pin` was established with the server `id`.
    pub fn prove(&mut self, pin: Pin, id: ServerId) {
        if let Some(table) = &mut self.table {
            table.prove(pin, id);
        }
    }

    /// A connection that holds `pin` has ended.
    pub fn release(&mut self, pin: Pin, now: Instant) {
        if let Some(table) = &mut self.table {
            table.release(pin, now);
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
