//! What an operator changes about routers while they run.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::clock::Clock;
use super::driver::Driver;
use super::wire::Wire;
use crate::model::Priority;
use crate::vrrp::{Event, Role, Router, TakeOverRefused};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// Become master now.
    TakeOver,
    /// Use this priority instead of the configured one; none: the configured one again.
    Priority(Option<Priority>),
    /// Neither take over nor give up of its own accord, for so long; none: until thawed.
    Freeze(Option<Duration>),
    /// No longer frozen.
    Thaw,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteerReport {
    /// The router.
    pub router: String,
    /// It was done, or was so already.
    pub done: bool,
    /// What happened, in words.
    pub text: String,
}

impl fmt::Display for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakeOver => f.write_str("take over"),
            Self::Priority(Some(priority)) => write!(f, "advertise priority {priority}"),
            Self::Priority(None) => f.write_str("advertise the configured priority"),
            Self::Freeze(Some(time)) => write!(f, "freeze for {time:?}"),
            Self::Freeze(None) => f.write_str("freeze"),
            Self::Thaw => f.write_str("thaw"),
        }
    }
}

impl<W: Wire, C: Clock> Driver<W, C> {
    pub(super) fn steer(
        &mut self,
        name: &str,
        steering: Steering,
        reply: oneshot::Sender<Option<SteerReport>>,
        now: Instant,
    ) {
        let report = self.position(name).map(|index| {
            let (done, text) = self.steer_at(index, steering, now);
            SteerReport { router: name.to_owned(), done, text }
        });
        let _ = reply.send(report);
    }

    fn steer_at(&mut self, index: usize, steering: Steering, now: Instant) -> (bool, String) {
        match steering {
            Steering::TakeOver => self.take_over(index, now),
            Steering::Priority(priority) => {
                self.feed(index, Event::SetPriority(priority), now);
                (true, self.describe(index, |router| format!("priority {} from now on", router.priority())))
            }
            Steering::Freeze(time) => {
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.frozen_until = time.map(|time| now + time);
                }
                self.feed(index, Event::Freeze(true), now);
                let end = time.map_or_else(|| "until thawed".to_owned(), |time| format!("for {} s", time.as_secs()));
                (true, self.describe(index, |router| format!("frozen as {} {end}", word(router.role()))))
            }
            Steering::Thaw => {
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.frozen_until = None;
                }
                self.feed(index, Event::Freeze(false), now);
                (true, self.describe(index, |router| format!("not frozen, {}", word(router.role()))))
            }
        }
    }

    fn take_over(&mut self, index: usize, now: Instant) -> (bool, String) {
        match self.with_group(index, now, |alone| alone.take_over(now)) {
            Ok(()) => {
                let text = |router: &Router| match router.priority_override() {
                    Some(priority) => format!(
                        "master now, with priority {priority} until `vipgate vrrp priority --reset {}`",
                        router.config().name
                    ),
                    None => "master now".to_owned(),
                };
                (true, self.describe(index, text))
            }
            Err(TakeOverRefused::AlreadyMaster) => (true, "is master already".to_owned()),
            Err(refused) => (false, refused.to_string()),
        }
    }

    /// Ends freezes whose time is over.
    pub(super) fn thaw(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(index) else { continue };
            if slot.frozen_until.is_some_and(|until| until <= now) {
                slot.frozen_until = None;
                tracing::info!(router = slot.name(), "no longer frozen: its time is over");
                self.feed(index, Event::Freeze(false), now);
            }
        }
    }

    fn describe(&self, index: usize, text: impl Fn(&Router) -> String) -> String {
        self.slots.get(index).map_or_else(String::new, |slot| text(&slot.router))
    }
}

fn word(role: Role) -> &'static str {
    super::slot::stats_role(role).label()
}
