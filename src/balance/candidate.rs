//! One server as the choice sees it.

use crate::model::{self, AdminState};

/// A number that stays with a server's name for the life of the pool, over reloads.
pub type ServerId = u32;

/// One server of a pool.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: ServerId,
    pub(super) name: String,
    pub(super) backup: bool,
    /// Most connections.
    pub(super) limit: Option<u32>,
    /// As its checks found it.
    pub(super) up: bool,
    pub(super) admin: AdminState,
    /// In force now.
    pub(super) weight: u16,
    /// What the configuration says; what is in force may differ until the next reload that changes it.
    pub(super) configured_weight: u16,
    configured_disabled: bool,
}

impl Candidate {
    pub(super) fn new(id: ServerId, spec: &model::Server) -> Self {
        Self {
            id,
            name: spec.name.clone(),
            backup: spec.backup,
            limit: spec.max_connections,
            up: true,
            admin: if spec.disabled { AdminState::Maintenance } else { AdminState::Ready },
            weight: spec.weight,
            configured_weight: spec.weight,
            configured_disabled: spec.disabled,
        }
    }

    /// The same server under another configuration. What was set while it ran holds on unless the configuration now says
    /// something else than it did. Without a check it is up.
    pub(super) fn reconfigured(&self, spec: &model::Server) -> Self {
        let mut new = Self::new(self.id, spec);
        new.up = spec.check.is_none() || self.up;
        if self.configured_disabled == spec.disabled {
            new.admin = self.admin;
        }
        if self.configured_weight == spec.weight {
            new.weight = self.weight;
        }
        new
    }

    /// Whether it serves the clients it has.
    pub(super) fn in_service(&self) -> bool {
        self.up && self.admin != AdminState::Maintenance
    }

    /// Whether it may get new clients.
    pub(super) fn is_eligible(&self) -> bool {
        self.up && self.admin == AdminState::Ready && self.weight > 0
    }

    pub(super) fn has_room(&self, load: u64) -> bool {
        self.limit.is_none_or(|limit| load < u64::from(limit))
    }
}
