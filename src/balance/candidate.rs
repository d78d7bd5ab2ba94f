//! One server as the choice sees it.

use std::time::{Duration, Instant};

use crate::model::{self, AdminState};

/// Weights are multiplied by this, so that a growing one has steps.
const SCALE: u64 = 16;

/// A number that stays with a server's name for the life of the process, in whichever pool.
pub type ServerId = u32;

/// One server of a pool.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: ServerId,
    pub(super) name: String,
    pub(super) backup: bool,
    /// Most connections, in force now.
    pub(super) limit: Option<u32>,
    /// What the configuration says.
    configured_limit: Option<u32>,
    /// Below the full load of the pool the limit is less, though never less than this.
    pub(super) floor: Option<u32>,
    /// As its checks found it.
    pub(super) up: bool,
    /// Its checks pass and ask for no new clients.
    pub(super) stopping: bool,
    pub(super) admin: AdminState,
    /// What is in force for the one that it tracks.
    pub(super) followed: AdminState,
    /// In force now.
    pub(super) weight: u16,
    /// What the configuration says; what is in force may differ until the next reload that changes it.
    pub(super) configured_weight: u16,
    configured_disabled: bool,
    /// Somebody finds out whether it is up.
    judged: bool,
    /// Connections that may wait for it.
    pub(super) max_queue: Option<u32>,
    pub(super) non_stick: bool,
    slow_start: Option<Duration>,
    /// When it came back into service, as far as that matters to a slow start.
    risen: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(id: ServerId, spec: &model::Server) -> Self {
        Self {
            id,
            name: spec.name.clone(),
            backup: spec.backup,
            limit: spec.max_connections,
            configured_limit: spec.max_connections,
            floor: spec.min_connections,
            up: true,
            stopping: false,
            followed: AdminState::Ready,
            admin: if spec.disabled { AdminState::Maintenance } else { AdminState::Ready },
            weight: spec.weight,
            configured_weight: spec.weight,
            configured_disabled: spec.disabled,
            judged: spec.check.is_some() || spec.agent.is_some() || spec.track.is_some(),
            max_queue: spec.max_queue,
            non_stick: spec.non_stick,
            slow_start: spec.slow_start,
            risen: None,
        }
    }

    /// The same server under another configuration. What was set while it ran holds on unless the configuration now says
    /// something else than it did. Without a check or an agent it is up.
    pub(super) fn reconfigured(&self, spec: &model::Server) -> Self {
        let mut new = Self::new(self.id, spec);
        new.up = self.up || self.judged && !new.judged;
        new.stopping = self.stopping && new.judged;
        new.followed = if spec.track.is_some() { self.followed } else { AdminState::Ready };
        new.risen = self.risen;
        if self.configured_disabled == spec.disabled {
            new.admin = self.admin;
        }
        if self.configured_weight == spec.weight {
            new.weight = self.weight;
        }
        if self.configured_limit == spec.max_connections {
            new.limit = self.limit;
        }
        new
    }

    /// What it may do as far as administrators are concerned.
    pub(super) fn allowed(&self) -> AdminState {
        self.admin.max(self.followed)
    }

    /// Whether it serves the clients it has.
    pub(super) fn in_service(&self) -> bool {
        self.up && self.allowed() != AdminState::Maintenance
    }

    /// Whether it may get new clients.
    pub(super) fn is_eligible(&self) -> bool {
        self.up && !self.stopping && self.allowed() == AdminState::Ready && self.weight > 0
    }

    /// It came back into service.
    pub(super) fn rise(&mut self, now: Instant) {
        self.risen = Some(now).filter(|_| self.slow_start.is_some());
    }

    /// How much of its full size it has reached after it came back, in percent; none: all of it.
    pub(super) fn throttle(&self, now: Instant) -> Option<u8> {
        let (slow_start, risen) = self.slow_start.zip(self.risen)?;
        let since = now.saturating_duration_since(risen);
        if since >= slow_start {
            return None;
        }
        u8::try_from(since.as_micros() * 100 / slow_start.as_micros().max(1)).ok()
    }

    /// Its weight for one who looks now, times a constant; more than 0 unless its weight is 0.
    pub(super) fn share(&self, now: Instant, slow_starts: bool) -> u64 {
        let full = u64::from(self.weight) * SCALE;
        match self.throttle(now).filter(|_| slow_starts) {
            Some(percent) => (full * u64::from(percent) / 100).max(full.min(1)),
            None => full,
        }
    }

    /// Whether it takes one more beside `load`. `pressure` is the load of its pool and the full one, where that matters.
    pub(super) fn has_room(&self, load: u64, pressure: Option<(u64, u64)>, now: Instant) -> bool {
        self.limit_under(pressure, now).is_none_or(|limit| load < limit)
    }

    /// Most connections that it takes now, if there is a limit.
    pub(super) fn limit_under(&self, pressure: Option<(u64, u64)>, now: Instant) -> Option<u64> {
        let limit = self.ramp(u64::from(self.limit?), pressure);
        Some(self.throttle(now).map_or(limit, |percent| (limit * u64::from(percent)).div_ceil(100).max(1)))
    }

    /// As HAProxy's `minconn`: in proportion to the load of the pool.
    fn ramp(&self, limit: u64, pressure: Option<(u64, u64)>) -> u64 {
        match (self.floor, pressure) {
            (Some(floor), Some((load, full))) if load < full => {
                (limit * load / full.max(1)).max(u64::from(floor)).min(limit)
            }
            (Some(_) | None, Some(_) | None) => limit,
        }
    }
}
