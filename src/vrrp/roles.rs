//! From one role to another.

use std::time::Instant;

use super::timers::Timer;
use super::{Action, Reason, Role, Router};
use crate::model::{InitialState, Priority};

impl Router {
    /// (Re)enters the election: at start, and after a fault.
    pub(super) fn enter_election(&mut self, reason: Reason, now: Instant) {
        self.master = None;
        self.followed = None;
        self.master_interval = self.config.interval;
        let asserts = self.priority() == Priority::OWNER.get() && self.config.initial == InitialState::Master;
        let quiet = self.quiet_until.filter(|until| *until > now);
        if asserts && quiet.is_none() && !self.grouped && !self.frozen {
            return self.promote(Reason::AddressOwner, now);
        }
        self.say_owed_word();
        self.become_backup(reason, now);
        self.preempt_at = Some(now + self.config.preempt_delay);
        let begins = quiet.unwrap_or(now);
        if asserts && !self.frozen {
            self.cause = Reason::AddressOwner;
            self.timers.set(Timer::MasterDown, begins);
        } else {
            self.timers.set(Timer::MasterDown, begins + self.down_interval());
        }
    }

    /// `MasterDown` fired: it becomes master, unless it has to keep still or to ask its group.
    pub(super) fn claim(&mut self, reason: Reason, now: Instant) {
        let backup = self.role == Role::Backup;
        if backup && self.frozen {
            self.timers.set(Timer::MasterDown, now + self.down_interval());
        } else if let Some(until) = self.quiet_until.filter(|until| backup && *until > now) {
            self.timers.set(Timer::MasterDown, until);
        } else if self.grouped {
            self.candidate = Some(reason);
        } else {
            self.promote(reason, now);
        }
    }

    /// Listens. Whatever it held is released; the master it follows from now on is in `master` and
    /// `master_interval`.
    pub(super) fn become_backup(&mut self, reason: Reason, now: Instant) {
        self.rest();
        self.timers.set(Timer::MasterDown, now + self.down_interval());
        self.change(Role::Backup, reason);
    }

    /// Asserts itself: the advertisement first, so that others fall silent, then the addresses, then everybody is
    /// told.
    pub(super) fn promote(&mut self, reason: Reason, now: Instant) {
        let watching = self.leaving.take().is_some();
        self.timers.clear_all();
        self.forget_plans();
        self.master = None;
        self.followed = None;
        self.master_interval = self.config.interval;
        self.answered = None;
        self.answer_announces = false;
        self.owes_word = false;
        self.advertise(now);
        self.acquire_missing();
        self.announce(self.config.announce.count);
        self.start_repeat(self.config.announce.repeat_count, now);
        self.start_refresh(now);
        if watching {
            self.actions.push_back(Action::Watch(false));
        }
        self.change(Role::Master, reason);
    }

    /// Cannot take part. The addresses go at once: what cannot be reached must not be owned twice.
    pub(super) fn fault(&mut self, reason: Reason) {
        self.rest();
        self.master = None;
        self.followed = None;
        self.change(Role::Fault, reason);
    }

    /// Stopped for good.
    pub(super) fn end(&mut self, reason: Reason) {
        self.rest();
        self.change(Role::Initialize, reason);
        self.actions.push_back(Action::Left);
    }

    /// Sends an advertisement and counts the interval from now.
    pub(super) fn advertise(&mut self, now: Instant) {
        self.actions.push_back(Action::Send(self.advertisement(self.priority())));
        self.timers.set(Timer::Advert, now + self.config.interval.as_duration());
    }

    pub(super) fn change(&mut self, to: Role, reason: Reason) {
        let from = std::mem::replace(&mut self.role, to);
        self.reason = reason.clone();
        self.actions.push_back(Action::Changed { from, to, reason, priority: self.priority() });
    }

    /// Lets go of everything a role held: addresses, timers, plans.
    fn rest(&mut self) {
        self.timers.clear_all();
        if self.leaving.take().is_some() {
            self.actions.push_back(Action::Watch(false));
        }
        self.release(|_, _| true);
        self.forget_plans();
    }

    fn forget_plans(&mut self) {
        self.cause = Reason::MasterSilent;
        self.candidate = None;
        self.preempt_at = None;
        self.relieving = false;
        self.yielded = false;
        self.listens = false;
        self.ties.clear();
    }
}
