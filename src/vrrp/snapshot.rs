//! All that decides what a router does from now on, without the actions it was already told to take: two routers with
//! equal snapshots and configurations behave alike. For model checking, which has to know when it has seen a state before.

use std::time::{Duration, Instant};

use super::condition::Condition;
use super::leaving::Cause;
use super::paths::Master;
use super::timers::Timers;
use super::{Reason, Role, Router};
use crate::model::{Interval, Priority, VirtualAddress};

/// Seconds and such from now: what is past or to come.
type Offset = Result<Duration, Duration>;

/// A router's state with every time relative to now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot<'a> {
    role: Role,
    condition: (&'a Condition, &'a Condition),
    links: (bool, bool),
    operator: (bool, Option<Priority>),
    group: (bool, Option<&'a Reason>, Option<&'a Reason>),
    deadlines: [Option<Offset>; Timers::COUNT],
    held: &'a [VirtualAddress],
    master: Option<&'a Master>,
    master_interval: Interval,
    cause: &'a Reason,
    times: [Option<Offset>; 3],
    flags: [bool; 5],
    leaving: Option<(Cause, bool, Option<Offset>)>,
    answered: Option<(Offset, usize)>,
    ties: Vec<(usize, Offset, Offset)>,
    repeat_count: u32,
}

impl Router {
    /// What it is like at `now`. A time that has passed and decides nothing any more is forgotten, so that what behaves
    /// alike is equal.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot<'_> {
        let offset = |at: Instant| match at.checked_duration_since(now) {
            Some(ahead) => Ok(ahead),
            None => Err(now.saturating_duration_since(at)),
        };
        let reached = |at: Instant| offset(at).map_or(Ok(Duration::ZERO), Ok);
        let patience = self.config.interval.as_duration() * 2;
        let recent = |at: Instant| now.saturating_duration_since(at) <= patience;
        Snapshot {
            role: self.role,
            condition: (&self.condition, &self.told),
            links: (self.link_up, self.can_send()),
            operator: (self.frozen, self.priority_override),
            group: (self.grouped, self.group_fault.as_ref(), self.candidate.as_ref()),
            deadlines: self.timers.all().map(|deadline| deadline.map(offset)),
            held: &self.held,
            master: self.master.as_ref(),
            master_interval: self.master_interval,
            cause: &self.cause,
            times: [
                self.quiet_until.filter(|at| *at > now).map(offset),
                self.preempt_at.map(reached),
                self.followed.filter(|_| self.grouped).map(offset),
            ],
            flags: [self.relieving, self.yielded, self.answer_announces, self.owes_word, self.listens],
            leaving: self
                .leaving
                .as_ref()
                .map(|leaving| (leaving.cause, leaving.succeeded, leaving.stop_by.map(offset))),
            answered: self.answered.filter(|(at, _)| recent(*at)).map(|(at, path)| (offset(at), path)),
            ties: self
                .ties
                .iter()
                .filter(|tie| recent(tie.last))
                .map(|tie| (tie.path, offset(tie.first), offset(tie.last)))
                .collect(),
            repeat_count: self.repeat_count,
        }
    }
}
