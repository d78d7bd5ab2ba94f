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
#[derive(Debug)]
pub(super) struct Leaving {
    cause: Cause,
    /// The router that took over.
    successor: Option<IpAddr>,
    /// When a stop releases what is left.
    stop_by: Option<Instant>,
}

/// Why a master leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Asked to hand over.
    Handover,
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
        self.timers.clear_all();
        let (reason, stop_by) = match cause {
            Cause::Handover => (Reason::Handover, None),
            Cause::NotReady => (Reason::NotReady, None),
            Cause::Stop => (Reason::Stopped, Some(now + STOP_WAIT)),
            Cause::Overslept => (Reason::Overslept, None),
        };
        // A quick successor announces within a fraction of a millisecond.
        self.actions.push_back(Action::Watch(true));
        match cause {
            Cause::Handover | Cause::NotReady | Cause::Stop => {
                self.actions.push_back(Action::Send(self.advertisement(0)));
            }
            // It listens, no more.
            Cause::Overslept => {}
        }
        match cause {
            Cause::Handover | Cause::NotReady => self.timers.set(Timer::MasterDown, now + self.down_interval()),
            Cause::Overslept => self.timers.set(Timer::MasterDown, now + self.listening_time()),
            Cause::Stop => {}
        }
        if let Some(stop_by) = stop_by {
            self.timers.set(Timer::Release, stop_by);
        }
        self.leaving = Some(Leaving { cause, successor: None, stop_by });
        self.master = None;
        self.change(Role::Leaving, reason);
    }

    /// Another advertisement while leaving: the successor is there, or has left again.
    pub(super) fn hear_while_leaving(&mut self, heard: Heard, now: Instant) {
        let Some(leaving) = &mut self.leaving else { return };
        if heard.priority == 0 {
            if leaving.successor == Some(heard.source) {
                self.successor_left(now);
            }
            return;
        }
        let grace = match leaving.cause {
            Cause::Handover | Cause::NotReady | Cause::Stop => GRACE,
            // That one has been master for long, and announced.
            Cause::Overslept => Duration::ZERO,
        };
        if leaving.successor.is_none() {
            leaving.successor = Some(heard.source);
            self.timers.clear(Timer::MasterDown);
            self.timers.set_earlier(Timer::Release, now + grace);
        }
        self.master = Some((heard.source, heard.priority));
        self.follow(heard);
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
            Some(Cause::Handover | Cause::NotReady | Cause::Overslept) | None => self.fault(reason),
        }
    }

    /// `Release` fired.
    pub(super) fn release_time_is_up(&mut self, now: Instant) {
        let successor = self.leaving.as_ref().and_then(|leaving| leaving.successor);
        self.finish(if successor.is_some() { Reason::SuccessorSilent } else { Reason::Stopped }, now);
    }

    /// It took over and gave up again: nobody is there until the next one is heard.
    fn successor_left(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else { return };
        leaving.successor = None;
        self.master = None;
        self.timers.clear(Timer::Release);
        match leaving.stop_by {
            Some(stop_by) => self.timers.set(Timer::Release, stop_by),
            None => self.timers.set(Timer::MasterDown, now + self.skew()),
        }
    }

    /// Releases what is left and goes where the cause leads.
    fn finish(&mut self, reason: Reason, now: Instant) {
        let Some(leaving) = &self.leaving else { return };
        if leaving.successor.is_some() && !self.held.is_empty() {
            // That one may have been master all the time, on the other side of a partition: it announces when it hears
            // this.
            self.actions.push_back(Action::Send(self.advertisement(0)));
        }
        match leaving.cause {
            Cause::Stop => self.end(reason),
            Cause::NotReady | Cause::Overslept => self.become_backup(reason, now),
            Cause::Handover => {
                self.become_backup(reason, now);
                self.yielded = true;
            }
        }
    }
}
