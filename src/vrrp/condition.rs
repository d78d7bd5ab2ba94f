//! Whether a router can take part, and with which priority: links, addresses, trackers, readiness, the operator.

use std::time::Instant;

use super::leaving::Cause;
use super::tracking::Effect;
use super::{Action, Reason, Role, Router};
use crate::model::Priority;

/// What a frozen router disregards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    /// The services it fronts can be served here.
    pub(super) ready: bool,
    /// Those of every member of its group can.
    pub(super) group_ready: bool,
    pub(super) tracked: Effect,
}

impl Condition {
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.group_ready
    }
}

impl Router {
    /// What keeps it from taking part.
    pub(super) fn obstacle(&self) -> Option<Reason> {
        self.own_obstacle().or_else(|| self.group_fault.clone())
    }

    /// What would keep it from taking part if it were in no group.
    pub(super) fn own_obstacle(&self) -> Option<Reason> {
        if !self.link_up {
            Some(Reason::LinkDown)
        } else if !self.has_address() {
            Some(Reason::NoLocalAddress)
        } else {
            self.condition.tracked.fault.clone().map(|what| Reason::Failed { what })
        }
    }

    /// Takes part, or takes part no more, if that changed. `recovered` is why it does again.
    pub(super) fn review(&mut self, recovered: Reason, now: Instant) {
        match (self.role, self.obstacle()) {
            (Role::Initialize, _) | (Role::Backup | Role::Master | Role::Leaving, None) => {}
            (Role::Fault, None) => self.enter_election(recovered, now),
            (Role::Fault, Some(reason)) => {
                self.say_owed_word();
                self.reason = reason;
            }
            (Role::Backup, Some(reason)) => self.fault(reason),
            (Role::Master, Some(reason)) => {
                // Whoever can still say that it leaves spares the others the down interval.
                if self.can_send() {
                    self.actions.push_back(Action::Send(self.advertisement(0)));
                }
                self.owes_word = !self.can_send();
                self.fault(reason);
            }
            (Role::Leaving, Some(reason)) => {
                // One that ends has said so, and serves on until its successor is there.
                if !(self.is_stopping() && self.can_send()) {
                    self.owes_word = !self.can_send();
                    self.break_off(reason);
                }
            }
        }
    }

    /// It was cut off as a master: the others need not wait for the rest of the down interval, and one that was master
    /// beside this one tells clients that they go there from now on.
    pub(super) fn say_owed_word(&mut self) {
        if self.owes_word && self.can_send() {
            self.owes_word = false;
            self.actions.push_back(Action::Send(self.advertisement(0)));
        }
    }

    /// It was told something about its condition.
    pub(super) fn tell(&mut self, change: impl FnOnce(&mut Condition), now: Instant) {
        change(&mut self.told);
        if !self.frozen {
            self.weigh(now);
        }
    }

    pub(super) fn freeze(&mut self, frozen: bool, now: Instant) {
        self.frozen = frozen;
        if !frozen {
            self.weigh(now);
        }
    }

    pub(super) fn set_priority(&mut self, priority: Option<Priority>, now: Instant) {
        let (before, skew) = (self.priority(), self.skew());
        self.priority_override = priority;
        self.priority_changed(before, skew, now);
    }

    /// The configured priority, or the operator's.
    pub(super) fn base_priority(&self) -> Priority {
        self.priority_override.unwrap_or(self.config.priority)
    }

    /// A base priority with what trackers add to it.
    pub(super) fn weighed(&self, base: Priority) -> u8 {
        if base == Priority::OWNER {
            return base.get();
        }
        let sum = i32::from(base.get()).saturating_add(self.condition.tracked.delta).clamp(1, 254);
        u8::try_from(sum).unwrap_or(base.get())
    }

    pub(super) fn can_send(&self) -> bool {
        self.link_up && self.has_address()
    }

    fn has_address(&self) -> bool {
        self.local.is_some() || self.path_addresses.iter().any(Option::is_some)
    }

    /// What it was told counts from now on.
    fn weigh(&mut self, now: Instant) {
        if self.condition == self.told {
            return;
        }
        let (role, was_ready) = (self.role, self.condition.is_ready());
        let (before, skew) = (self.priority(), self.skew());
        self.condition = self.told.clone();
        self.review(Reason::Recovered, now);
        if self.role == Role::Master && was_ready && !self.condition.is_ready() {
            return self.leave(Cause::NotReady, now);
        }
        if self.role == role {
            self.priority_changed(before, skew, now);
        }
    }

    /// Tells the others, or waits as long as the new priority says. While leaving, the priority 0 is out: what the
    /// change is worth is seen once it is backup or master again.
    fn priority_changed(&mut self, before: u8, skew: std::time::Duration, now: Instant) {
        match self.role {
            Role::Master if self.priority() != before => self.advertise(now),
            Role::Backup => {
                self.shift_master_down(skew, self.skew(), now);
                self.reconsider_master(now);
            }
            Role::Master | Role::Initialize | Role::Leaving | Role::Fault => {}
        }
    }
}
