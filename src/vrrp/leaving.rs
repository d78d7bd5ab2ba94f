//! Make before break: a master that gives up says so once, then neither announces nor contests, and keeps each
//! address until the successor has announced it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::timers::Timer;
use super::{Action, Heard, Reason, Role, Router};

/// A successor whose announcements are not heard has had time to announce after this.
const GRACE: Duration = Duration::from_millis(50);
/// A stop waits for a successor no longer than this: the whole takes less than 2 s.
const STOP_WAIT: Duration = Duration::from_millis(1500);

/// How a master leaves.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    pub(super) cause: Cause,
    /// Somebody took over: whom `master` names.
    pub(super) succeeded: bool,
    /// When a stop releases what is left.
    pub(super) stop_by: Option<Instant>,
}

/// Why a master leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// Asked to hand over.
    Handover,
    /// Its addresses are taken away by somebody on this node.
    Contested,
    /// A member of its group is master no more.
    Group,
    /// What it fronts cannot be served.
    NotReady,
    /// It ends.
    Stop,
    /// It was stopped for longer than the down interval: somebody else may long be master.
    Overslept,
}

impl Router {
    /// Begins to leave.
    pub(super) fn leave(&mut self, cause: Cause, now: Instant) {
        let reason = match cause {
            Cause::Handover => Reason::Handover,
            Cause::Contested => Reason::Contested,
            Cause::NotReady => Reason::NotReady,
            Cause::Stop => Reason::Stopped,
            Cause::Overslept => Reason::Overslept,
            Cause::Group => self.reason(),
        };
        self.leave_for(cause, reason, now);
    }

    /// Begins to leave, and says why in other words.
    pub(super) fn leave_for(&mut self, cause: Cause, reason: Reason, now: Instant) {
        self.timers.clear_all();
        let stop_by = (cause == Cause::Stop).then_some(now + STOP_WAIT);
        // A quick successor announces within a fraction of a millisecond.
        self.actions.push_back(Action::Watch(true));
        match cause {
            Cause::Handover | Cause::Contested | Cause::Group | Cause::NotReady | Cause::Stop => {
                self.actions.push_back(Action::Send(self.advertisement(0)));
            }
            // It listens, no more.
            Cause::Overslept => {}
        }
        match cause {
            Cause::Handover | Cause::Contested | Cause::Group | Cause::NotReady => {
                self.timers.set(Timer::MasterDown, now + self.down_interval());
            }
            Cause::Overslept => self.timers.set(Timer::MasterDown, now + self.listening_time()),
            Cause::Stop => {}
        }
        if let Some(stop_by) = stop_by {
            self.timers.set(Timer::Release, stop_by);
        }
        self.leaving = Some(Leaving { cause, succeeded: false, stop_by });
        self.master = None;
        self.followed = None;
        self.change(Role::Leaving, reason);
    }

    /// Another advertisement while leaving: the successor is there, or has left again.
    pub(super) fn hear_while_leaving(&mut self, heard: Heard, now: Instant) {
        if heard.priority == 0 {
            return self.successor_died(heard.source, now);
        }
        let Some(leaving) = &mut self.leaving else { return };
        let grace = match leaving.cause {
            Cause::Handover | Cause::Contested | Cause::Group | Cause::NotReady | Cause::Stop => GRACE,
            // That one has been master for long, and announced.
            Cause::Overslept => Duration::ZERO,
        };
        if !std::mem::replace(&mut leaving.succeeded, true) {
            self.timers.clear(Timer::MasterDown);
            self.timers.set_earlier(Timer::Release, now + grace);
        }
        self.note_master(heard);
        self.follow(heard, now);
        if self.held.is_empty() || grace.is_zero() {
            self.timers.clear(Timer::Release);
            self.finish(Reason::BetterMaster { source: heard.source, priority: heard.priority }, now);
        }
    }

    /// The successor (or anybody else: whoever says so, clients now go there) announced this address.
    pub(super) fn successor_announced(&mut self, address: IpAddr, now: Instant) {
        self.release(|held, _| held.prefix.address == address);
        if self.held.is_empty() {
            self.finish(Reason::SuccessorAnnounced, now);
        }
    }

    /// A stop while leaving for another reason: from now on there is no way back.
    pub(super) fn stop_leaving(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.cause == Cause::Stop {
            return;
        }
        leaving.cause = Cause::Stop;
        leaving.stop_by = Some(now + STOP_WAIT);
        self.timers.clear(Timer::MasterDown);
        self.timers.set_earlier(Timer::Release, now + STOP_WAIT);
    }

    /// The link or the source address went while leaving.
    pub(super) fn break_off(&mut self, reason: Reason) {
        match self.leaving.as_ref().map(|leaving| leaving.cause) {
            Some(Cause::Stop) => self.end(reason),
            Some(Cause::Handover | Cause::Contested | Cause::Group | Cause::NotReady | Cause::Overslept) | None => {
                self.fault(reason)
            }
        }
    }

    /// Whether it ends.
    pub(super) fn is_stopping(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.cause == Cause::Stop)
    }

    /// It took over and gave up again, or died.
    pub(super) fn successor_died(&mut self, source: IpAddr, now: Instant) {
        let succeeded = self.leaving.as_ref().is_some_and(|leaving| leaving.succeeded);
        if succeeded && self.master.as_ref().is_some_and(|master| master.has(source)) {
            self.successor_left(now);
        }
    }

    /// `Release` fired.
    pub(super) fn release_time_is_up(&mut self, now: Instant) {
        let succeeded = self.leaving.as_ref().is_some_and(|leaving| leaving.succeeded);
        self.finish(if succeeded { Reason::SuccessorSilent } else { Reason::Stopped }, now);
    }

    /// Nobody is there until the next one is heard.
    fn successor_left(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.succeeded = false;
        self.master = None;
        self.followed = None;
        self.timers.clear(Timer::Release);
        match leaving.stop_by {
            Some(stop_by) => self.timers.set(Timer::Release, stop_by),
            None => self.timers.set(Timer::MasterDown, now + self.skew()),
        }
    }

    /// Releases what is left and goes where the cause leads.
    fn finish(&mut self, reason: Reason, now: Instant) {
        let Some(leaving) = &self.leaving else { return };
        if leaving.succeeded && !self.held.is_empty() {
            // That one may have been master all the time, on the other side of a partition: it announces when it hears
            // this.
            self.actions.push_back(Action::Send(self.advertisement(0)));
        }
        match leaving.cause {
            Cause::Stop => self.end(reason),
            Cause::NotReady | Cause::Overslept | Cause::Group => self.become_backup(reason, now),
            Cause::Handover | Cause::Contested => {
                self.become_backup(reason, now);
                self.yielded = true;
            }
        }
    }
}
