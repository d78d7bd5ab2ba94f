//! A pool of servers as the choice sees it: who is there, who is up, who had this client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::algorithm::{LeastConnections, RoundRobin};
use super::maglev::{KeyHash, Maglev};
use super::sticky::{Bounds, Pin, Table};
use crate::model::{self, Affinity, Algorithm};

/// A number that stays with a server's name for the life of the pool, over reloads.
pub type ServerId = u32;

/// A pool of servers, and what it remembers of clients.
#[derive(Debug)]
pub struct Pool {
    algorithm: Algorithm,
    affinity: Affinity,
    all_backups: bool,
    candidates: Vec<Candidate>,
    positions: HashMap<ServerId, usize>,
    next_id: ServerId,
    round_robin: RoundRobin,
    least: LeastConnections,
    /// The tables of the active servers and of the backups; only where the source address chooses.
    hashed: Option<[Maglev; 2]>,
    table: Option<Table>,
}

/// One server.
#[derive(Debug, Clone)]
struct Candidate {
    id: ServerId,
    name: String,
    weight: u16,
    backup: bool,
    disabled: bool,
    up: bool,
    limit: Option<u32>,
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
            hashed: None,
            table: None,
        };
        pool.reconfigure(spec, now);
        pool
    }

    /// Another configuration (a reload). A server that stays, by name, keeps its number, its health, its turn and its
    /// clients; a new one is up. One without a check is up.
    pub fn reconfigure(&mut self, spec: &model::Pool, now: Instant) {
        let old = std::mem::take(&mut self.candidates);
        let mut turns = Vec::with_capacity(spec.servers.len());
        for server in &spec.servers {
            let before = old.iter().position(|candidate| candidate.name == server.name);
            turns.push(before);
            let id = before.map_or_else(|| self.new_id(), |position| old[position].id);
            self.candidates.push(Candidate {
                id,
                name: server.name.clone(),
                weight: server.weight,
                backup: server.backup,
                disabled: server.disabled,
                up: server.check.is_none() || before.is_none_or(|position| old[position].up),
                limit: server.max_connections,
            });
        }
        self.round_robin.rearrange(&turns);
        self.positions = self.candidates.iter().enumerate().map(|(position, c)| (c.id, position)).collect();
        self.algorithm = spec.algorithm;
        self.all_backups = spec.all_backups;
        self.set_affinity(spec.affinity.clone(), now);
        let weighed = |candidates: &[Candidate]| -> Vec<(String, u16, bool)> {
            candidates.iter().map(|c| (c.name.clone(), c.weight, c.backup)).collect()
        };
        let hashes = self.algorithm == Algorithm::Source || self.affinity == Affinity::Source;
        if !hashes {
            self.hashed = None;
        } else if self.hashed.is_none() || weighed(&old) != weighed(&self.candidates) {
            self.hashed = Some([false, true].map(|backup| self.build_hash(backup)));
        }
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

    fn build_hash(&self, backup: bool) -> Maglev {
        let weight = |c: &Candidate| if c.backup == backup { c.weight } else { 0 };
        let servers: Vec<_> = self.candidates.iter().map(|c| (c.name.as_str(), weight(c))).collect();
        Maglev::build(&servers)
    }

    /// Sets a server's health; false when it had that already, or is not known.
    pub fn set_up(&mut self, server: &str, up: bool) -> bool {
        let Some(position) = self.candidates.iter().position(|candidate| candidate.name == server) else {
            return false;
        };
        let changed = std::mem::replace(&mut self.candidates[position].up, up) != up;
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

    /// Servers that share new clients now (HAProxy's `nbsrv`): the active ones, else all backups or the first.
    #[must_use]
    pub fn usable_servers(&self) -> usize {
        let eligible = |backup| self.candidates.iter().filter(|c| c.backup == backup && c.is_eligible()).count();
        match (eligible(false), eligible(true)) {
            (0, backups) if self.all_backups => backups,
            (0, backups) => backups.min(1),
            (active, _) => active,
        }
    }

    /// Whether a server is up; one that is not there is not.
    #[must_use]
    pub fn is_up(&self, server: &str) -> bool {
        self.candidates.iter().any(|candidate| candidate.name == server && candidate.up && !candidate.disabled)
    }

    /// Clients remembered.
    pub fn table_len(&mut self, now: Instant) -> usize {
        self.table.as_mut().map_or(0, |table| table.len(now))
    }

    /// Chooses the server for a connection of the client `key`: the one that the client had, else by algorithm.
    ///
    /// `loads` gives the open connections of the server at a position; `exclude` are servers that failed this connection;
    /// `held` is the entry it holds already, from an earlier choice.
    pub fn select(
        &mut self,
        key: IpAddr,
        loads: impl Fn(usize) -> u64,
        exclude: &[ServerId],
        held: Option<Pin>,
        now: Instant,
    ) -> Result<Choice, Refusal> {
        let mut had_is_full = false;
        if exclude.is_empty()
            && let Some(remembered) = self.remembered(key, now)
            && let Some(&position) = self.positions.get(&remembered.server)
            && self.candidates[position].in_service()
        {
            if self.candidates[position].has_room(loads(position)) {
                return Ok(self.choice(position, remembered.proven, key, held, now));
            }
            had_is_full = true;
        }
        let position = self.balance(key, loads, exclude)?;
        if had_is_full {
            // Elsewhere for this once; the client still belongs to the server that is full.
            return Ok(Choice { position, id: self.candidates[position].id, sticky: false, pin: held });
        }
        Ok(self.choice(position, false, key, held, now))
    }

    fn remembered(&mut self, key: IpAddr, now: Instant) -> Option<super::sticky::Remembered> {
        match self.affinity {
            Affinity::None => None,
            Affinity::Source | Affinity::Table(_) => self.table.as_mut()?.get(key, now),
        }
    }

    fn choice(&mut self, position: usize, sticky: bool, key: IpAddr, held: Option<Pin>, now: Instant) -> Choice {
        let id = self.candidates[position].id;
        let pin = match (&self.affinity, &mut self.table) {
            (Affinity::Source | Affinity::Table(_), Some(table)) => match held {
                Some(pin) => {
                    table.assign(pin, id);
                    Some(pin)
                }
                None => table.pin(key, id, now),
            },
            (Affinity::None, _) | (_, None) => held,
        };
        Choice { position, id, sticky, pin }
    }

    /// The algorithm's choice among the active servers; among the backups when no active one is up.
    fn balance(&mut self, key: IpAddr, loads: impl Fn(usize) -> u64, exclude: &[ServerId]) -> Result<usize, Refusal> {
        let Self { candidates, algorithm, affinity, all_backups, round_robin, least, hashed, .. } = self;
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
            eligible(position) && candidate.has_room(loads(position)) && !exclude.contains(&candidate.id)
        };
        let weight = |position: usize| if usable(position) { u64::from(candidates[position].weight) } else { 0 };
        let chosen = match (hashed, *algorithm, &*affinity) {
            (Some(tables), Algorithm::Source, _) | (Some(tables), _, Affinity::Source) => {
                tables[usize::from(backup)].select(KeyHash::of(key), usable)
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

impl Candidate {
    fn in_service(&self) -> bool {
        self.up && !self.disabled
    }

    fn is_eligible(&self) -> bool {
        self.in_service() && self.weight > 0
    }

    fn has_room(&self, load: u64) -> bool {
        self.limit.is_none_or(|limit| load < u64::from(limit))
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
