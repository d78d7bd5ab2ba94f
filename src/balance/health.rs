//! When results of health checks make a server up or down: HAProxy's rise/fall counter.
//!
//! A counter from 0 to `rise + fall - 1`; the server is up while it is at least `rise`. A failure takes one off, and below
//! `rise` all that is left; a success adds one, and from `rise` on fills it. So `fall` failures in a row take a healthy
//! server down and `rise` successes in a row bring a dead one up. It starts at `rise`: up, and one failure from being down.

use std::time::Duration;

use crate::model::Check;

/// The rise/fall counter of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    value: u32,
    rise: u32,
    fall: u32,
}

impl Counter {
    /// As at the start of the process: up, and down at the first failure. `rise` and `fall` of 0 count as 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        let rise = rise.max(1);
        Self { value: rise, rise, fall: fall.max(1) }
    }

    /// As it was kept from an earlier life of the process: what was up is, what was down is.
    #[must_use]
    pub fn recalled(rise: u32, fall: u32, value: u32, up: bool) -> Self {
        let mut new = Self::new(rise, fall);
        new.value = if up { value.clamp(new.rise, new.maximum()) } else { value.min(new.rise - 1) };
        new
    }

    /// The same state under other limits (a reload): up stays up, down stays down, full stays full.
    #[must_use]
    pub fn with_limits(self, rise: u32, fall: u32) -> Self {
        let mut new = Self::new(rise, fall);
        new.value = if !self.is_up() {
            self.value.min(new.rise - 1)
        } else if self.value == self.maximum() {
            new.maximum()
        } else {
            (new.rise + (self.value - self.rise)).min(new.maximum())
        };
        new
    }

    /// Counts a passed check. True when that made the server up.
    #[must_use]
    pub fn success(&mut self) -> bool {
        let was_up = self.is_up();
        self.value = if self.value + 1 >= self.rise { self.maximum() } else { self.value + 1 };
        !was_up && self.is_up()
    }

    /// Counts a failed check. True when that made the server down.
    #[must_use]
    pub fn failure(&mut self) -> bool {
        let was_up = self.is_up();
        self.value = if self.value > self.rise { self.value - 1 } else { 0 };
        was_up && !self.is_up()
    }

    /// One more failed check and it is down; what is down stays so.
    pub fn weaken(&mut self) {
        self.value = self.value.min(self.rise);
    }

    /// As after as many failed checks as take it down. True when that made the server down.
    #[must_use]
    pub fn fail(&mut self) -> bool {
        let was_up = self.is_up();
        self.value = 0;
        was_up
    }

    /// Whether the server is up.
    #[must_use]
    pub fn is_up(self) -> bool {
        self.value >= self.rise
    }

    /// The counter now.
    #[must_use]
    pub fn value(self) -> u32 {
        self.value
    }

    /// Its largest value, full health.
    #[must_use]
    pub fn maximum(self) -> u32 {
        self.rise.saturating_add(self.fall - 1)
    }

    /// The time from one check to the next: `inter` at full health, `downinter` at zero, `fastinter` between.
    #[must_use]
    pub fn interval(self, check: &Check) -> Duration {
        if self.value == self.maximum() {
            check.interval
        } else if self.value == 0 {
            check.down_interval
        } else {
            check.fast_interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        Check { down_interval: Duration::from_secs(10), ..Check::new(([192, 0, 2, 1], 80).into()) }
    }

    #[test]
    fn the_first_failure_after_the_start_is_down_whatever_fall_says() {
        let mut counter = Counter::new(2, 3);
        assert!(counter.is_up());
        assert_eq!(counter.interval(&check()), Duration::from_millis(500));
        assert!(counter.failure());
        assert_eq!(counter.value(), 0);
        assert_eq!(counter.interval(&check()), Duration::from_secs(10));
    }

    #[test]
    fn rise_successes_bring_up_and_fall_failures_take_down() {
        let mut counter = Counter::new(2, 3);
        assert!(counter.failure());
        assert!(!counter.success());
        assert_eq!((counter.value(), counter.interval(&check())), (1, Duration::from_millis(500)));
        assert!(counter.success());
        assert_eq!((counter.value(), counter.interval(&check())), (4, Duration::from_secs(2)));
        assert!(!counter.failure());
        assert_eq!((counter.value(), counter.interval(&check())), (3, Duration::from_millis(500)));
        assert!(!counter.failure());
        assert_eq!(counter.value(), 2);
        assert!(counter.failure());
        assert_eq!(counter.value(), 0);
    }

    #[test]
    fn one_success_restores_full_health_and_one_failure_ends_a_rise() {
        let mut counter = Counter::new(3, 3);
        assert!(!counter.success());
        assert_eq!(counter.value(), counter.maximum());
        assert!(!counter.failure());
        assert!(!counter.success());
        assert_eq!(counter.value(), counter.maximum());

        let mut rising = Counter::new(3, 3);
        assert!(rising.failure());
        assert!(!rising.success());
        assert!(!rising.success());
        assert!(!rising.failure());
        assert_eq!(rising.value(), 0);
    }

    #[test]
    fn rise_and_fall_of_one_need_no_second_opinion() {
        let mut counter = Counter::new(1, 1);
        assert_eq!((counter.value(), counter.maximum()), (1, 1));
        assert!(counter.failure());
        assert!(counter.success());
    }

    #[test]
    fn sudden_death_is_one_failure_away_from_down() {
        let mut counter = Counter::new(2, 3);
        assert!(!counter.success());
        counter.weaken();
        assert_eq!(
            (counter.value(), counter.is_up(), counter.interval(&check())),
            (2, true, Duration::from_millis(500))
        );
        assert!(counter.failure());
        counter.weaken();
        assert_eq!(counter.value(), 0);
        let mut healthy = Counter::new(2, 3);
        assert!(healthy.fail());
        assert!(!healthy.fail() && !healthy.is_up());
    }

    #[test]
    fn a_recalled_counter_is_within_the_limits_of_today() {
        for (value, up, expected) in
            [(4, true, 4), (9, true, 4), (1, true, 2), (0, false, 0), (1, false, 1), (3, false, 1)]
        {
            let counter = Counter::recalled(2, 3, value, up);
            assert_eq!((counter.value(), counter.is_up()), (expected, up), "{value} {up}");
        }
    }

    #[test]
    fn other_limits_keep_the_state() {
        let mut full = Counter::new(2, 3);
        assert!(!full.success());
        assert_eq!(full.with_limits(5, 7).value(), 11);
        let mut down = full;
        for _ in 0..3 {
            let _ = down.failure();
        }
        assert!(!down.with_limits(1, 1).is_up());
        assert!(Counter::new(2, 3).with_limits(4, 1).is_up());
    }
}
