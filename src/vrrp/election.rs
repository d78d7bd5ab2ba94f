//! Who is master (RFC 9568 section 6.4): what an advertisement means to a backup and to a master.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::paths::Master;
use super::timers::Timer;
use super::{Action, Heard, Reason, Router};
use crate::model::{Priority, Version};

/// Another master is answered at most this often, however short the interval.
const MIN_ANSWER_GAP: Duration = Duration::from_millis(10);

impl Router {
    /// RFC 9568 section 6.4.2, the backup's side.
    pub(super) fn hear_as_backup(&mut self, heard: Heard, now: Instant) {
        if heard.priority == 0 {
            return self.master_left(heard, now);
        }
        if self.is_outdone(heard, now) {
            return;
        }
        let before = self.note_master(heard);
        self.relieving &= before.is_some();
        if self.reconsider_master(now) {
            return;
        }
        let own = self.priority();
        if heard.priority >= own {
            self.preempt_at = None;
            self.relieving = false;
            self.yielded = false;
        } else if self.relieves(before, own) {
            return self.relieve(heard, now);
        } else if self.preempts(now) {
            // Discarded: the timer runs on from the last one that was accepted.
            self.cause = Reason::Preempted { source: heard.source, priority: heard.priority };
            return;
        }
        self.follow(heard, now);
        self.cause = Reason::MasterSilent;
        self.timers.set(Timer::MasterDown, now + self.down_interval());
    }

    /// Whether the master that was just heard is better, and will silence this one, or has: what it says while it gives
    /// way is no reason to preempt or to relieve it.
    fn is_outdone(&self, heard: Heard, now: Instant) -> bool {
        let recent = self.followed.is_some_and(|at| now.saturating_duration_since(at) <= self.listening_time());
        let better = |master: &Master| !master.has(heard.source) && master.priority > heard.priority;
        recent && heard.priority < self.priority() && self.master.as_ref().is_some_and(better)
    }

    /// RFC 9568 section 6.4.3, the master's (Active) side.
    pub(super) fn hear_as_master(&mut self, heard: Heard, now: Instant) {
        if heard.priority == 0 {
            self.master = None;
            // It was master beside this one: clients may have learnt it.
            return self.answer(heard.path, true, now);
        }
        self.note_master(heard);
        let own = self.priority();
        if heard.priority > own || (heard.priority == own && self.loses_tie(heard, now)) {
            // It may never have heard this one, which clients have learnt meanwhile: hearing a lower priority, it announces
            // the addresses again.
            self.actions.push_back(Action::Send(self.advertisement(own)));
            self.become_backup(Reason::BetterMaster { source: heard.source, priority: heard.priority }, now);
            self.follow(heard, now);
            self.timers.set(Timer::MasterDown, now + self.down_interval());
        } else {
            self.actions.push_back(Action::HeardLower { source: heard.source, priority: heard.priority });
            // Whoever heard the other one may have learnt its hardware address.
            self.answer(heard.path, true, now);
        }
    }

    /// A version 3 backup adopts its master's interval (RFC 9568 section 6.4.2).
    pub(super) fn follow(&mut self, heard: Heard, now: Instant) {
        self.followed = Some(now);
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
        self.reconsider_vacancy(now);
        let lowest = Priority::LOWEST.get();
        let unready = self.master().filter(|(_, priority)| *priority == lowest && self.priority() > lowest);
        let Some((source, _)) = unready else { return false };
        self.cause = Reason::MasterNotReady { source };
        self.timers.set_earlier(Timer::MasterDown, now + self.skew());
        true
    }

    /// Tells another master that this one is here: an advertisement at once, and announcements. A flood is not
    /// answered by a flood: one answer a tenth of the interval. Answers go out on every path: what comes on another one
    /// meanwhile is the same again.
    pub(super) fn answer(&mut self, path: usize, announce: bool, now: Instant) {
        let gap = (self.config.interval.as_duration() / 10).max(MIN_ANSWER_GAP);
        let answered = self.answered.filter(|(answered, _)| *answered + gap > now);
        if answered.is_some_and(|(_, answered)| answered != path) {
            return;
        }
        self.answer_announces |= announce;
        match answered {
            Some((answered, _)) => self.timers.set_if_idle(Timer::Answer, answered + gap),
            None => {
                self.answered = Some((now, path));
                self.answer_now(now);
            }
        }
    }

    pub(super) fn answer_now(&mut self, now: Instant) {
        self.timers.clear(Timer::Answer);
        self.answered = self.answered.map(|(_, path)| (now, path));
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

    /// After waking late: what was said meanwhile may be lost, as when a hypervisor stops the machine. Nothing is asserted
    /// before having listened; once a silence, so that a machine that is always late takes over all the same, unless it
    /// slept through a whole down interval.
    pub(super) fn listen_first(&mut self, late_by: Duration, now: Instant) {
        let missed_some = late_by >= self.master_interval.as_duration() / 2;
        let missed_all = late_by > self.down_interval();
        if !missed_all && (!missed_some || self.listens) {
            return;
        }
        self.listens = true;
        if let Some(deadline) = self.timers.get(Timer::MasterDown) {
            self.timers.set(Timer::MasterDown, deadline.max(now + self.listening_time()));
        }
    }

    /// The process of a master is dead: there is nothing to wait for but a better backup.
    pub(super) fn master_died(&mut self, source: IpAddr, now: Instant) {
        if self.master.as_ref().is_some_and(|master| master.has(source)) {
            self.master_is_gone(Reason::MasterDied { source }, now);
        }
    }

    /// Priority 0. From somebody else than the master followed it means nothing: that one is still there.
    fn master_left(&mut self, heard: Heard, now: Instant) {
        // It may come once more, on another path.
        let again =
            self.master.is_none() && matches!(self.cause, Reason::MasterLeft { .. } | Reason::MasterDied { .. });
        if !again && self.master.as_ref().is_none_or(|master| master.has(heard.source)) {
            self.master_is_gone(Reason::MasterLeft { source: heard.source }, now);
            if !self.condition.is_ready() {
                // Who yields because it cannot serve says the same as who stops, and is back after its down interval
                // if nobody could do better: somebody who cannot serve either lets it.
                let patience = self.down_interval() + self.master_interval.as_duration();
                self.timers.set(Timer::MasterDown, now + patience);
            }
        }
    }

    /// Ready now, while nobody is master: what was left to the old one is over.
    fn reconsider_vacancy(&mut self, now: Instant) {
        if self.master.is_none() && matches!(self.cause, Reason::MasterLeft { .. }) && self.condition.is_ready() {
            self.timers.set_earlier(Timer::MasterDown, now + self.skew());
        }
    }

    fn master_is_gone(&mut self, cause: Reason, now: Instant) {
        self.master = None;
        self.followed = None;
        self.relieving = false;
        self.cause = cause;
        self.timers.set_earlier(Timer::MasterDown, now + self.skew());
    }

    /// Whether the master followed fell from this router's priority, or above it, to below: a check failed there, and
    /// a failed check always yields, with `preempt` off too. `preempt_delay` holds, and so does a hand-over.
    fn relieves(&self, before: Option<u8>, own: u8) -> bool {
        let fell = before.is_some_and(|before| before >= own || self.relieving);
        let held_back = self.yielded || self.config.preempt && !self.config.preempt_delay.is_zero();
        fell && !held_back
    }

    fn relieve(&mut self, heard: Heard, now: Instant) {
        let Heard { source, priority, .. } = heard;
        self.relieving = true;
        self.cause = if self.config.preempt {
            Reason::Preempted { source, priority }
        } else {
            Reason::MasterDropped { source, priority }
        };
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
