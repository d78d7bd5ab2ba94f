//! The tables by which a hash chooses: of the active servers, and of the backups.
//!
//! To build one takes a millisecond, which nobody who waits for a server should pay: [`Pool::hash_plan`] says what is
//! wanted, [`HashPlan::build`] needs no pool, [`Pool::publish`] is an assignment. Until then the former tables serve: they
//! know servers by name, and those that are gone or new are passed over.
//!
//! [`Pool::hash_plan`]: super::Pool::hash_plan
//! [`Pool::publish`]: super::Pool::publish

use super::candidate::Candidate;
use super::maglev::{KeyHash, Maglev};

/// What tables are to be built of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPlan {
    /// Name, weight, whether it is a backup.
    servers: Vec<(String, u16, bool)>,
}

/// The tables, and what they were built of.
#[derive(Debug)]
pub struct Hash {
    plan: HashPlan,
    active: Maglev,
    backups: Maglev,
    /// The position in the pool of each server of the plan.
    positions: Vec<Option<usize>>,
}

impl HashPlan {
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        Self { servers: candidates.iter().map(|c| (c.name.clone(), c.weight, c.backup)).collect() }
    }

    /// Builds the tables.
    #[must_use]
    pub fn build(self) -> Hash {
        let table = |backups: bool| {
            let weight = |weight: u16, backup: bool| if backup == backups { weight } else { 0 };
            let servers: Vec<_> = self.servers.iter().map(|(name, w, b)| (name.as_str(), weight(*w, *b))).collect();
            Maglev::build(&servers)
        };
        let (active, backups) = (table(false), table(true));
        Hash { positions: (0..self.servers.len()).map(Some).collect(), plan: self, active, backups }
    }
}

impl Hash {
    pub(super) fn plan(&self) -> &HashPlan {
        &self.plan
    }

    /// Where the servers are now.
    pub(super) fn locate(&mut self, candidates: &[Candidate]) {
        let position = |name: &String| candidates.iter().position(|candidate| candidate.name == *name);
        self.positions = self.plan.servers.iter().map(|(name, ..)| position(name)).collect();
    }

    /// The position of the server for a key, among those that are `usable`.
    pub(super) fn select(&self, key: KeyHash, backup: bool, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let table = if backup { &self.backups } else { &self.active };
        let at = |server: usize| self.positions.get(server).copied().flatten();
        table.select(key, |server| at(server).is_some_and(&usable)).and_then(at)
    }
}
