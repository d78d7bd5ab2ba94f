//! What an administrator sees of a pool and sets while it runs: states and weights of servers, entries of the stick table.

use std::time::{Duration, Instant};

use super::pool::Pool;
use super::{HashPlan, ServerId};
use crate::model::{AdminState, Key};

/// Heaviest weight, HAProxy's.
const HEAVIEST: u16 = 256;

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: ServerId,
    /// Set by an administrator.
    pub admin: AdminState,
    /// What is in force for the one that it tracks.
    pub followed: AdminState,
    /// As its checks found it; up without a check.
    pub up: bool,
    /// Its checks pass and ask for no new clients.
    pub stopping: bool,
    /// Used only when no other is usable.
    pub backup: bool,
    /// In force, 0 to 256.
    pub weight: u16,
    /// What the configuration says.
    pub configured_weight: u16,
    /// Most connections, in force.
    pub limit: Option<u32>,
    /// Whether it would get a new client now, if its turn came and it had room.
    pub eligible: bool,
    /// In a slow start: how much of its full size it has reached, in percent.
    pub throttle: Option<u8>,
    /// Connections that wait for it in particular.
    pub waiting: usize,
}

/// Another weight for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightChange {
    /// This one; 256 at most.
    Absolute(u16),
    /// So many percent of the configured one.
    Percent(u16),
}

/// An entry of a stick table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// The client.
    pub key: Key,
    /// Its server; none when that is no longer configured, or was cleared while flows held the entry.
    pub server: Option<String>,
    /// What is left of its life; none: it does not expire, as for now with a live flow.
    pub expires_in: Option<Duration>,
    /// Live flows that hold it.
    pub flows: u32,
}

/// What a server has from the one that it tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// It is up.
    pub up: bool,
    /// It is, and asks for no new clients.
    pub stopping: bool,
    /// What it may do.
    pub allowed: AdminState,
}

impl ServerState {
    /// What it may do as far as administrators are concerned.
    #[must_use]
    pub fn allowed(&self) -> AdminState {
        self.admin.max(self.followed)
    }

    /// What those have from it that track it.
    #[must_use]
    pub fn to_follow(&self) -> Followed {
        Followed { up: self.up, stopping: self.stopping, allowed: self.allowed() }
    }
}

impl WeightChange {
    fn apply(self, configured: u16) -> u16 {
        match self {
            Self::Absolute(weight) => weight.min(HEAVIEST),
            Self::Percent(percent) => {
                let weight = u32::from(configured) * u32::from(percent) / 100;
                u16::try_from(weight).unwrap_or(HEAVIEST).min(HEAVIEST)
            }
        }
    }
}

impl Pool {
    /// Every server, in the order of the configuration.
    #[must_use]
    pub fn servers(&self, now: Instant) -> Vec<ServerState> {
        let state = |candidate: &super::candidate::Candidate| ServerState {
            name: candidate.name.clone(),
            id: candidate.id,
            admin: candidate.admin,
            followed: candidate.followed,
            up: candidate.up,
            stopping: candidate.stopping,
            backup: candidate.backup,
            weight: candidate.weight,
            configured_weight: candidate.configured_weight,
            limit: candidate.limit,
            eligible: candidate.is_eligible(),
            throttle: candidate.throttle(now),
            waiting: self.waiting(Some(candidate.id)),
        };
        self.candidates.iter().map(state).collect()
    }

    /// Whether a server serves at least the clients it has; false when it is not known.
    #[must_use]
    pub fn is_in_service(&self, server: &str) -> bool {
        self.candidates.iter().any(|candidate| candidate.name == server && candidate.in_service())
    }

    /// Whether it is a backup.
    #[must_use]
    pub fn is_backup(&self, server: &str) -> bool {
        self.candidates.iter().any(|candidate| candidate.name == server && candidate.backup)
    }

    /// Sets a server's administrative state; false when it had that already, or is not known.
    pub fn set_admin(&mut self, server: &str, admin: AdminState, now: Instant) -> bool {
        self.change(server, now, |candidate| std::mem::replace(&mut candidate.admin, admin) != admin)
    }

    /// Sets whether a server that is up takes new clients; false when that was so already, or it is not known.
    pub fn set_stopping(&mut self, server: &str, stopping: bool, now: Instant) -> bool {
        self.change(server, now, |candidate| {
            let stopping = stopping && candidate.up;
            std::mem::replace(&mut candidate.stopping, stopping) != stopping
        })
    }

    /// A server is as the one that it tracks; false when it was already, or is not known.
    pub fn follow(&mut self, server: &str, followed: Followed, now: Instant) -> bool {
        let Followed { up, stopping, allowed } = followed;
        self.change(server, now, |candidate| {
            let before = (candidate.up, candidate.stopping, candidate.followed);
            (candidate.up, candidate.stopping, candidate.followed) = (up, stopping && up, allowed);
            before != (candidate.up, candidate.stopping, candidate.followed)
        })
    }

    /// Sets a server's weight until a reload changes the configured one. False when it had that already, or is not known.
    /// The hash tables want to be built anew afterwards ([`Pool::hash_plan`]).
    pub fn set_weight(&mut self, server: &str, change: WeightChange, now: Instant) -> bool {
        self.change(server, now, |candidate| {
            let weight = change.apply(candidate.configured_weight);
            std::mem::replace(&mut candidate.weight, weight) != weight
        })
    }

    /// Sets the most connections of a server until a reload changes the configured number; none: any number. False when it had
    /// that already, or is not known.
    pub fn set_limit(&mut self, server: &str, limit: Option<u32>, now: Instant) -> bool {
        self.change(server, now, |candidate| std::mem::replace(&mut candidate.limit, limit) != limit)
    }

    /// What the hash tables should be built of, where a hash chooses and they are out of date.
    #[must_use]
    pub fn hash_plan(&self) -> Option<HashPlan> {
        let plan = HashPlan::of(&self.candidates);
        (self.hashes() && self.hash.as_ref().is_none_or(|hash| *hash.plan() != plan)).then_some(plan)
    }

    /// Whether clients are remembered beyond their flows.
    #[must_use]
    pub fn has_table(&self) -> bool {
        self.affinity.table().is_some()
    }

    /// The entries of the stick table, the least recently used ones without a live flow first.
    #[must_use]
    pub fn table_entries(&self, now: Instant) -> Vec<TableEntry> {
        let Some(table) = &self.table else { return Vec::new() };
        let name = |id: ServerId| self.positions.get(&id).map(|&position| self.candidates[position].name.clone());
        let entry = |entry: super::sticky::Entry| TableEntry {
            key: entry.key,
            server: entry.server.and_then(name),
            expires_in: entry.expires_in,
            flows: entry.flows,
        };
        let entries = table.lock().entries(now);
        entries.into_iter().map(entry).collect()
    }

    /// Remembers `server` as the client's. False when the server is not known, there is no table, or it cannot take the
    /// entry: wrong family, or full with nothing that may be purged.
    pub fn table_set(&mut self, key: impl Into<Key>, server: &str, life: Option<Duration>, now: Instant) -> bool {
        let id = self.candidates.iter().find(|candidate| candidate.name == server).map(|candidate| candidate.id);
        match (id, self.stick_table()) {
            (Some(id), Some(table)) => table.lock().set(key.into(), id, life, now),
            (None, _) | (_, None) => false,
        }
    }

    /// Remembers a server for further keys of a connection, as long as it is one of the pool's and its clients are remembered.
    pub fn table_store(&mut self, keys: &[Key], id: ServerId, now: Instant) {
        let sticks = self.positions.get(&id).is_some_and(|position| !self.candidates[*position].non_stick);
        let Some(table) = self.stick_table().filter(|_| sticks) else { return };
        let mut table = table.lock();
        for key in keys {
            table.set(key.clone(), id, None, now);
        }
    }

    /// Forgets entries: those of a client, of a server, of both, or all. Returns their number. Of one that a flow holds,
    /// only the server is forgotten: the entry goes with its last flow.
    pub fn table_clear(&mut self, key: Option<&Key>, server: Option<&str>, now: Instant) -> usize {
        let id = |name: &str| self.candidates.iter().find(|candidate| candidate.name == name).map(|c| c.id);
        let id = match server.map(id) {
            // A server that is not known has no entries.
            Some(None) => return 0,
            Some(id) => id,
            None => None,
        };
        self.stick_table().map_or(0, |table| table.lock().clear(key, id, now))
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
