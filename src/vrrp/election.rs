//! Who is master (RFC 9568 section 6.4): what an advertisement means to a backup and to a master.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::timers::Timer;
use super::{Action, Heard, Reason, Router};
use crate::model::{Priority, Version};

/// Another master is answered at most this often, however short the interval.
const MIN_ANSWER_GAP: Duration = Duration::from_millis(10);

impl Router {
    /// RFC 9568 section 6.4.2, the backup's side.
    pub(super) fn hear_as_backup(&mut self, heard: Heard, now: Instant) {
        if heard.priority == 0 {
            return self.master_left(heard.source, now);
        }
        self.master = Some((heard.source, heard.priority));
        if self.reconsider_master(now) {
            return;
        }
        if heard.priority < self.priority() && self.preempts(now) {
            // Discarded: the timer runs on from the last one that was accepted.
            self.cause = Reason::Preempted { source: heard.source, priority: heard.priority };
            return;
        }
        if heard.priority >= self.priority() {
            self.preempt_at = None;
            self.yielded = false;
        }
        self.follow(heard);
        self.cause = Reason::MasterSilent;
        self.timers.set(Timer::MasterDown, now + self.down_interval());
    }

    /// RFC 9568 section 6.4.3, the master's (Active) side.
    pub(super) fn hear_as_master(&mut self, heard: Heard, now: Instant) {
        if heard.priority == 0 {
            self.master = None;
            // It was master beside this one: clients may have learnt it.
            return self.answer(true, now);
        }
        self.master = Some((heard.source, heard.priority));
        let own = self.priority();
        let better = heard.priority > own || (heard.priority == own && Some(heard.source) > self.local);
        if better {
            // It may never have heard this one, which clients have learnt meanwhile: hearing a lower priority, it announces
            // the addresses again.
            self.actions.push_back(Action::Send(self.advertisement(own)));
            self.follow(heard);
            self.become_backup(Reason::BetterMaster { source: heard.source, priority: heard.priority }, now);
        } else {
            // Whoever heard the other one may have learnt its hardware address.
            self.answer(true, now);
        }
    }

    /// A version 3 backup adopts its master's interval (RFC 9568 section 6.4.2).
    pub(super) fn follow(&mut self, heard: Heard) {
        if self.config.version == Version::V3 {
            self.master_interval = heard.interval;
        }
    }

    /// Skew_Time: version 2 (RFC 3768 section 6.1) has it in seconds, whatever the interval.
    pub(super) fn skew(&self) -> Duration {
        let unit = match self.config.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.master_interval.as_duration(),
        };
        unit * (256 - u32::from(self.priority())) / 256
    }

    /// Moves the running down timer by as much as what it measures has changed.
    pub(super) fn shift_master_down(&mut self, before: Duration, after: Duration, now: Instant) {
        if let Some(deadline) = self.timers.get(Timer::MasterDown) {
            let shifted = (deadline + after).checked_sub(before).unwrap_or(now);
            self.timers.set(Timer::MasterDown, shifted);
        }
    }

    /// Waits for the skew time only if the master's priority says that it cannot serve, and ours that we can:
    /// `preempt`, its delay and an earlier hand-over are about masters that do serve.
    pub(super) fn reconsider_master(&mut self, now: Instant) -> bool {
        let lowest = Priority::LOWEST.get();
        let Some((source, _)) = self.master.filter(|(_, priority)| *priority == lowest && self.priority() > lowest)
        else {
            return false;
        };
        self.cause = Reason::MasterNotReady { source };
        self.timers.set_earlier(Timer::MasterDown, now + self.skew());
        true
    }

    /// Tells another master that this one is here: an advertisement at once, and announcements. A flood is not
    /// answered by a flood: one answer a tenth of the interval.
    pub(super) fn answer(&mut self, announce: bool, now: Instant) {
        self.answer_announces |= announce;
        let gap = (self.config.interval.as_duration() / 10).max(MIN_ANSWER_GAP);
        match self.answered.map(|answered| answered + gap).filter(|allowed| *allowed > now) {
            Some(allowed) => self.timers.set_if_idle(Timer::Answer, allowed),
            None => self.answer_now(now),
        }
    }

    pub(super) fn answer_now(&mut self, now: Instant) {
        self.timers.clear(Timer::Answer);
        self.answered = Some(now);
        self.advertise(now);
        if std::mem::take(&mut self.answer_announces) {
            let count = self.config.announce.lower_priority_count;
            self.announce(count);
            self.start_repeat(count, now);
        }
    }

    /// A master that is there is heard within this time: its next advertisement may be a fifth of the interval late.
    pub(super) fn listening_time(&self) -> Duration {
        self.master_interval.as_duration() * 6 / 5
    }

    /// After waking late: nothing is asserted before having listened.
    pub(super) fn listen_first(&mut self, now: Instant) {
        if let Some(deadline) = self.timers.get(Timer::MasterDown) {
            self.timers.set(Timer::MasterDown, deadline.max(now + self.listening_time()));
        }
    }

    /// Priority 0. From somebody else than the master followed it means nothing: that one is still there.
    fn master_left(&mut self, source: IpAddr, now: Instant) {
        if self.master.is_some_and(|(master, _)| master != source) {
            return;
        }
        self.master = None;
        self.cause = Reason::MasterLeft { source };
        self.timers.set_earlier(Timer::MasterDown, now + self.skew());
    }

    /// Whether a master of lower priority is to be preempted.
    fn preempts(&mut self, now: Instant) -> bool {
        self.config.preempt && !self.yielded && self.preempt_delay_is_over(now)
    }

    /// The delay begins with the start, else with the first advertisement of lower priority.
    fn preempt_delay_is_over(&mut self, now: Instant) -> bool {
        let delay = self.config.preempt_delay;
        now >= *self.preempt_at.get_or_insert(now + delay)
    }
}
