//! The time, as the driver lives in it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::os::sched;

/// What tells the time and wakes on time.
pub(super) trait Clock {
    /// Now. It stands still while the machine is suspended.
    fn now(&self) -> Instant;

    /// The time of day, since the beginning of 1970: for seals, that others compare.
    fn since_epoch(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// How long the machine was suspended in its life.
    fn suspended(&self) -> Duration;

    /// Returns at `until`; nothing else is done meanwhile.
    fn rest(&self, until: Instant);

    /// Completes at `deadline`.
    async fn sleep_until(&self, deadline: Instant);
}

/// The machine's: CLOCK_MONOTONIC and the runtime's timers.
#[derive(Debug)]
pub(super) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn suspended(&self) -> Duration {
        sched::suspended()
    }

    fn rest(&self, until: Instant) {
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    async fn sleep_until(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
