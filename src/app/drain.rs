//! `vipgate drain`: wait for the last flow, then hand over.

use std::time::{Duration, Instant};

use crate::control::server::Answer;

/// A drain under way.
pub(super) struct Drain {
    /// Who asked, and hears how it ends.
    pub(super) answer: Answer,
    deadline: Instant,
    said: Option<u64>,
}

/// What a drain wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on waiting.
    Wait,
    /// Nothing is open any more.
    Empty,
    /// `drain-timeout` is over; so many connections are still open.
    Overdue(u64),
}

impl Drain {
    pub(super) fn new(answer: Answer, now: Instant, timeout: Duration) -> Self {
        Self { answer, deadline: now + timeout, said: None }
    }

    /// Looks at the number of open connections, and tells whoever waits when it changed.
    pub(super) fn step(&mut self, open: u64, now: Instant) -> Step {
        if open == 0 {
            return Step::Empty;
        }
        if now >= self.deadline {
            return Step::Overdue(open);
        }
        if self.said.replace(open) != Some(open) {
            self.answer.progress(format!("{open} connection(s) open"));
        }
        Step::Wait
    }
}
