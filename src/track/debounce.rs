//! When single results change what a tracker says: `rise` and `fall` in a row, then up or down for as long as the delay
//! asks. Pure: `now` is a parameter.

use std::time::{Duration, Instant};

use crate::model::{TrackState, Tracker, Watched};

/// The state of one tracker, and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Debounce {
    rise: u32,
    fall: u32,
    up_delay: Duration,
    down_delay: Duration,
    /// None: nothing is known yet.
    up: Option<bool>,
    /// Results in a row that contradict `up`.
    streak: u32,
    /// They were enough; the change takes effect then, unless it is contradicted before.
    due: Option<Instant>,
}

impl Debounce {
    /// With the tracker's counts and delays, beginning with what an earlier one of its name said. Trackers that hear of
    /// changes only, and not again and again, count to one.
    pub(super) fn new(tracker: &Tracker, before: Option<bool>) -> Self {
        let once = matches!(tracker.watched, Watched::Service(_) | Watched::Route(_));
        let (rise, fall) = if once { (1, 1) } else { (tracker.rise.max(1), tracker.fall.max(1)) };
        let starts_down = matches!(&tracker.watched, Watched::Script(script) if script.starts_down);
        Self {
            rise,
            fall,
            up_delay: tracker.up_delay,
            down_delay: tracker.down_delay,
            up: before.or(starts_down.then_some(false)),
            streak: 0,
            due: None,
        }
    }

    /// What the tracker says now.
    pub(super) fn state(&self) -> TrackState {
        match self.up {
            None => TrackState::Unknown,
            Some(true) => TrackState::Up,
            Some(false) => TrackState::Down,
        }
    }

    /// Takes a result. Whether the state changed: the first result decides alone, for not to know is worse.
    pub(super) fn observe(&mut self, up: bool, now: Instant) -> bool {
        let Some(current) = self.up else {
            self.up = Some(up);
            return true;
        };
        if up == current {
            self.streak = 0;
            self.due = None;
            return false;
        }
        self.streak = self.streak.saturating_add(1);
        let (needed, delay) = if up { (self.rise, self.up_delay) } else { (self.fall, self.down_delay) };
        if self.streak >= needed && self.due.is_none() {
            self.due = Some(now + delay);
        }
        self.expire(now)
    }

    /// When [`expire`](Self::expire) has to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Lets a change take effect that is due. Whether the state changed.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let Some(up) = self.up.filter(|_| self.due.is_some_and(|due| due <= now)) else { return false };
        self.up = Some(!up);
        self.streak = 0;
        self.due = None;
        true
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs an instant to count from")]
mod tests {
    use super::*;
    use crate::model::FileCheck;

    const SECOND: Duration = Duration::from_secs(1);

    fn tracker(rise: u32, fall: u32, up_delay: Duration, down_delay: Duration) -> Tracker {
        let watched = Watched::File(FileCheck { path: "/x".into(), initial: 0 });
        Tracker { name: "t".into(), watched, rise, fall, up_delay, down_delay }
    }

    /// The states after each result of a string: `+` good, `-` bad, one a second; `.` none.
    fn states(tracker: &Tracker, before: Option<bool>, results: &str) -> String {
        let mut debounce = Debounce::new(tracker, before);
        let mut now = Instant::now();
        let mut states = String::new();
        for result in results.chars() {
            now += SECOND;
            let old = debounce.state();
            let changed = match result {
                '.' => debounce.expire(now),
                result => debounce.observe(result == '+', now),
            };
            assert_eq!(changed, old != debounce.state());
            states.push(match debounce.state() {
                TrackState::Up => 'U',
                TrackState::Down => 'D',
                TrackState::Unknown | TrackState::Number(_) => '?',
            });
        }
        states
    }

    #[test]
    fn rise_and_fall_count_in_a_row() {
        let plain = tracker(1, 1, Duration::ZERO, Duration::ZERO);
        let slow = tracker(3, 2, Duration::ZERO, Duration::ZERO);
        for (tracker, before, results, expected) in [
            (&plain, None, "+-+", "UDU"),
            (&plain, None, "..-", "??D"),
            (&slow, None, "+-+--", "UUUUD"),
            (&slow, None, "-++-+++", "DDDDDDU"),
            (&slow, Some(true), "--", "UD"),
            (&slow, Some(false), "+++", "DDU"),
        ] {
            assert_eq!(states(tracker, before, results), expected, "{results}");
        }
    }

    #[test]
    fn delays_begin_when_the_count_is_full_and_end_with_a_contradiction() {
        let delayed = tracker(2, 1, 2 * SECOND, 3 * SECOND);
        for (before, results, expected) in [
            (Some(true), "-...", "UUUD"),
            (Some(true), "----", "UUUD"),
            (Some(true), "--+.-..", "UUUUUUU"),
            (Some(false), "++..", "DDDU"),
            (Some(false), "++-..", "DDDDD"),
            (None, "+", "U"),
        ] {
            assert_eq!(states(&delayed, before, results), expected, "{results}");
        }
    }
}
