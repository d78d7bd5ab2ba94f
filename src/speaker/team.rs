//! Sync groups at work: after each event of one member all of them are made to agree.

use std::time::Instant;

use super::Notice;
use super::clock::Clock;
use super::driver::Driver;
use super::slot::Slot;
use super::wire::Wire;
use crate::model::SyncGroup;
use crate::stats;
use crate::vrrp::{Group, Role, Router, TakeOverRefused};

/// A sync group, and how it was told last.
#[derive(Debug)]
pub(super) struct Team {
    pub(super) config: SyncGroup,
    pub(super) group: Group,
    told: Option<stats::Role>,
}

impl Team {
    pub(super) fn new(config: &SyncGroup) -> Self {
        Self { config: config.clone(), group: Group::new(&config.name), told: None }
    }

    fn has(&self, slot: &Slot) -> bool {
        !slot.ending && self.config.routers.iter().any(|name| name == slot.name())
    }

    /// Its members, and where they are in `slots`.
    fn members<'s>(&self, slots: &'s mut [Slot]) -> (Vec<usize>, Vec<&'s mut Router>) {
        let members = slots.iter_mut().enumerate().filter(|(_, slot)| self.has(slot));
        members.map(|(index, slot)| (index, &mut slot.router)).unzip()
    }
}

impl<W: Wire, C: Clock> Driver<W, C> {
    /// Makes the group of this router agree. The indexes of all who may have something to do now, itself included.
    pub(super) fn settle(&mut self, index: usize, now: Instant) -> Vec<usize> {
        let Some(slot) = self.slots.get(index) else { return Vec::new() };
        let Some(team) = self.teams.iter_mut().find(|team| team.has(slot)) else { return vec![index] };
        let (indexes, mut members) = team.members(&mut self.slots);
        team.group.settle(&mut members, now);
        indexes
    }

    /// Takes over, alone or with the whole group.
    pub(super) fn with_group(
        &mut self,
        index: usize,
        now: Instant,
        alone: impl FnOnce(&mut Router) -> Result<(), TakeOverRefused>,
    ) -> Result<(), TakeOverRefused> {
        let Some(slot) = self.slots.get_mut(index) else { return Err(TakeOverRefused::Fault) };
        let Some(team) = self.teams.iter_mut().find(|team| team.has(slot)) else {
            let result = alone(&mut slot.router);
            self.drain(index, now);
            return result;
        };
        let (indexes, mut members) = team.members(&mut self.slots);
        let result = team.group.take_over(&mut members, now);
        for index in indexes {
            self.drain(index, now);
        }
        result
    }

    /// Tells what became of the groups since the last turn.
    pub(super) fn tell_groups(&mut self) {
        for team in &mut self.teams {
            let members = || self.slots.iter().filter(|slot| team.has(slot)).map(|slot| slot.router.role());
            let role = if members().next().is_none() {
                continue;
            } else if team.group.is_master() {
                stats::Role::Master
            } else if members().any(|role| role == Role::Fault) {
                stats::Role::Fault
            } else if members().any(|role| role == Role::Leaving) {
                continue;
            } else {
                stats::Role::Backup
            };
            if team.told.replace(role) != Some(role) {
                let group = team.config.name.clone();
                tracing::info!(group, role = role.label(), "sync group changed");
                let _ = self.setup.notices.send(Notice::GroupChanged { group, role });
            }
        }
    }

    /// The groups are these from now on.
    pub(super) fn apply_groups(&mut self, groups: &[SyncGroup]) {
        self.teams.retain(|team| groups.iter().any(|group| group.name == team.config.name));
        for group in groups {
            match self.teams.iter_mut().find(|team| team.config.name == group.name) {
                Some(team) => team.config = group.clone(),
                None => self.teams.push(Team::new(group)),
            }
        }
    }
}
