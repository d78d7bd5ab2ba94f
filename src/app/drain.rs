//! `vipgate drain`: wait for the last flow, then hand over.

use std::time::{Duration, Instant};

use super::node::Node;
use crate::control::Reply;
use crate::control::server::Answer;

/// A drain under way.
pub(super) struct Drain {
    /// Who asked, and hears how it ends.
    answer: Answer,
    deadline: Instant,
    said: Option<u64>,
}

/// What a drain wants.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Go on waiting.
    Wait,
    /// Nothing is open any more.
    Empty,
    /// `drain-timeout` is over; so many connections are still open.
    Overdue(u64),
}

impl Drain {
    fn new(answer: Answer, now: Instant, timeout: Duration) -> Self {
        Self { answer, deadline: now + timeout, said: None }
    }

    /// Looks at the number of open connections, and tells whoever waits when it changed.
    fn step(&mut self, open: u64, now: Instant) -> Step {
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

impl Node {
    pub(super) fn start_drain(&mut self, answer: Answer) {
        if self.drain.is_some() {
            answer.finish(Reply::failed("a drain is under way", "wait for it, or `vipgate drain --cancel`"));
            return;
        }
        let timeout = self.shared.config().global.drain_timeout;
        tracing::info!(target: "vipgate", open = self.proxy.open_flows(), ?timeout, "draining");
        self.drain = Some(Drain::new(answer, Instant::now(), timeout));
        self.shared.set_draining(true);
        self.step_drain();
    }

    pub(super) fn cancel_drain(&mut self, answer: Answer) {
        let Some(drain) = self.drain.take() else {
            answer.finish(Reply::failed("no drain is under way", "nothing needs to be cancelled"));
            return;
        };
        self.shared.set_draining(false);
        drain.answer.finish(Reply::failed("the drain was cancelled", "the addresses stay here"));
        answer.finish(Reply::done("the drain is cancelled: the addresses stay here"));
    }

    pub(super) fn step_drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        match drain.step(self.proxy.open_flows(), Instant::now()) {
            Step::Wait => return,
            Step::Empty => tracing::info!(target: "vipgate", "drained: handing over"),
            Step::Overdue(open) => tracing::warn!(target: "vipgate", open, "drain-timeout is over: handing over"),
        }
        if let Some(Drain { answer, .. }) = self.drain.take() {
            self.shared.set_draining(false);
            self.hand_over(None, answer);
        }
    }
}
