//! The addresses a router holds: set, announced, removed, and changed by a reload.

use std::net::IpAddr;
use std::time::Instant;

use super::timers::Timer;
use super::{Action, Reason, Role, Router};
use crate::model::{Version, VirtualAddress, VirtualRouter};

impl Router {
    /// Acquires what is configured and not held; returns it.
    pub(super) fn acquire_missing(&mut self) -> Vec<VirtualAddress> {
        let mut missing = Vec::new();
        for owned in self.config.owned() {
            // One may be configured twice, to be advertised twice.
            if !self.held.contains(owned) && !missing.contains(owned) {
                missing.push(owned.clone());
            }
        }
        if !missing.is_empty() {
            self.held.extend_from_slice(&missing);
            self.actions.push_back(Action::Acquire(missing.clone()));
        }
        missing
    }

    /// Releases the addresses held for which `which` holds.
    pub(super) fn release(&mut self, which: impl Fn(&VirtualAddress, &VirtualRouter) -> bool) {
        let released: Vec<_> = self.held.extract_if(.., |address| which(address, &self.config)).collect();
        if !released.is_empty() {
            self.actions.push_back(Action::Release(released));
        }
    }

    /// Announces everything held.
    pub(super) fn announce(&mut self, count: u32) {
        if count > 0 && !self.held.is_empty() {
            self.actions.push_back(Action::Announce { addresses: self.held.clone(), count });
        }
    }

    /// Plans the second burst, unless one is planned already.
    pub(super) fn start_repeat(&mut self, count: u32, now: Instant) {
        let after = self.config.announce.repeat_after;
        if !after.is_zero() && count > 0 {
            self.repeat_count = count;
            self.timers.set_if_idle(Timer::Repeat, now + after);
        }
    }

    pub(super) fn start_refresh(&mut self, now: Instant) {
        match self.config.announce.refresh.filter(|every| !every.is_zero()) {
            Some(every) => self.timers.set(Timer::Refresh, now + every),
            None => self.timers.clear(Timer::Refresh),
        }
    }

    pub(super) fn reconfigure_master(&mut self, config: VirtualRouter, now: Instant) {
        let refresh = self.config.announce.refresh;
        if config == self.config {
            return;
        }
        self.config = config;
        self.master_interval = self.config.interval;
        self.advertise(now);
        self.release(|address, config| !config.owned().any(|owned| owned == address));
        let added = self.acquire_missing();
        if !added.is_empty() && self.config.announce.count > 0 {
            self.actions.push_back(Action::Announce { addresses: added, count: self.config.announce.count });
            self.start_repeat(self.config.announce.repeat_count, now);
        }
        if self.config.announce.refresh != refresh {
            self.start_refresh(now);
        }
    }

    pub(super) fn reconfigure_leaving(&mut self, config: VirtualRouter) {
        self.config = config;
        self.release(|address, config| !config.owned().any(|owned| owned == address));
    }

    /// Another own interface: a master stays master and says so there at once, a backup listens there anew.
    pub(super) fn move_to(&mut self, config: VirtualRouter, local: Option<IpAddr>, link_up: bool, now: Instant) {
        (self.local, self.link_up) = (local, link_up);
        if self.obstacle().is_some() || matches!(self.role, Role::Initialize | Role::Fault) {
            self.config = config;
            return self.review(Reason::LinkUp, now);
        }
        match self.role {
            Role::Master => self.reconfigure_master(config, now),
            Role::Backup => {
                self.reconfigure_backup(config, now);
                self.master = None;
                self.followed = None;
                self.master_interval = self.config.interval;
                self.timers.set(Timer::MasterDown, now + self.down_interval());
            }
            Role::Leaving => self.reconfigure_leaving(config),
            Role::Initialize | Role::Fault => {}
        }
    }

    pub(super) fn reconfigure_backup(&mut self, config: VirtualRouter, now: Instant) {
        let before = self.down_interval();
        self.config = config;
        // A shorter delay counts from now on, a running one is never prolonged.
        self.preempt_at = self.preempt_at.map(|at| at.min(now + self.config.preempt_delay));
        // Version 3 goes on with the interval of the master it follows.
        if self.config.version == Version::V2 || self.master.is_none() {
            self.master_interval = self.config.interval;
        }
        // The timer runs on: reloads that follow each other do not put a takeover off.
        self.shift_master_down(before, self.down_interval(), now);
    }
}
