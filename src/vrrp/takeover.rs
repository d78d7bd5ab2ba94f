//! An operator's wish that this router be master now.

use std::time::Instant;

use super::{Reason, Role, Router};
use crate::model::Priority;

/// Why a router cannot take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakeOverRefused {
    /// It is master already.
    #[error("it is master already")]
    AlreadyMaster,
    /// It is in fault, or stopped.
    #[error("it cannot take part: see its reason in the status")]
    Fault,
    /// It is giving its addresses away.
    #[error("it is just giving its addresses away: ask again when that has ended")]
    Leaving,
    /// The services it fronts cannot be served here.
    #[error("the services it fronts cannot be served here")]
    NotReady,
    /// No priority it can have beats the master's.
    #[error("the master has priority {master}, which none of this router's beats: let the master hand over")]
    Outranked {
        /// The master's priority.
        master: u8,
    },
}

impl Router {
    /// Becomes master now. Where its priority is not above the master's, it gets one that is, until
    /// [`Event::SetPriority`](super::Event::SetPriority) clears it; trackers count on.
    pub fn take_over(&mut self, now: Instant) -> Result<(), TakeOverRefused> {
        let priority = self.takeover_priority()?;
        self.take_over_with(priority, Reason::TakeOver, now);
        Ok(())
    }

    pub(super) fn take_over_with(&mut self, priority: Priority, reason: Reason, now: Instant) {
        if priority != self.base_priority() {
            self.priority_override = Some(priority);
        }
        self.promote(reason, now);
    }

    /// The base priority it needs to be master.
    pub(super) fn takeover_priority(&self) -> Result<Priority, TakeOverRefused> {
        match self.role {
            Role::Backup => {}
            Role::Master => return Err(TakeOverRefused::AlreadyMaster),
            Role::Leaving => return Err(TakeOverRefused::Leaving),
            Role::Initialize | Role::Fault => return Err(TakeOverRefused::Fault),
        }
        if !self.condition.is_ready() {
            return Err(TakeOverRefused::NotReady);
        }
        let own = self.base_priority();
        let Some(master) = self.master.as_ref().map(|master| master.priority) else { return Ok(own) };
        if self.weighed(own) > master {
            return Ok(own);
        }
        let needed = (i32::from(master) + 1).saturating_sub(self.condition.tracked.delta).clamp(1, 254);
        u8::try_from(needed)
            .ok()
            .and_then(|needed| Priority::new(needed).ok())
            .filter(|needed| self.weighed(*needed) > master)
            .ok_or(TakeOverRefused::Outranked { master })
    }
}
