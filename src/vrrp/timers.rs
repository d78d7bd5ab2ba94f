//! The timers of a router: a table of absolute deadlines.

use std::time::Instant;

/// What a deadline is for. Of several at the same instant, the earlier named fires first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The master is silent (RFC 9568: Active_Down_Timer); while leaving: nobody took over.
    MasterDown,
    /// The next advertisement (RFC 9568: Adver_Timer).
    Advert,
    /// An answer to another master, held back so that its flood is not answered by ours.
    Answer,
    /// The second burst of announcements.
    Repeat,
    /// The regular announcements.
    Refresh,
    /// While leaving: whatever is still held is released.
    Release,
}

impl Timer {
    const ALL: [Self; 6] = [Self::MasterDown, Self::Advert, Self::Answer, Self::Repeat, Self::Refresh, Self::Release];
}

/// Every timer's deadline; none: not running.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers([Option<Instant>; Timers::COUNT]);

impl Timers {
    /// How many there are.
    pub(super) const COUNT: usize = Timer::ALL.len();

    /// Starts a timer, or moves it.
    pub(super) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.0[timer as usize] = Some(deadline);
    }

    /// Starts a timer, or moves it to an earlier deadline; never to a later one.
    pub(super) fn set_earlier(&mut self, timer: Timer, deadline: Instant) {
        let deadline = self.get(timer).map_or(deadline, |running| running.min(deadline));
        self.set(timer, deadline);
    }

    /// Starts a timer unless it runs.
    pub(super) fn set_if_idle(&mut self, timer: Timer, deadline: Instant) {
        self.0[timer as usize].get_or_insert(deadline);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn clear_all(&mut self) {
        self.0 = Default::default();
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    /// Every deadline, by timer.
    pub(super) fn all(&self) -> [Option<Instant>; Self::COUNT] {
        self.0
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Stops and returns the timer that was due first, if any is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let due = |timer: Timer| self.get(timer).filter(|deadline| *deadline <= now).map(|deadline| (timer, deadline));
        let (timer, deadline) = Timer::ALL.into_iter().filter_map(due).min_by_key(|(_, deadline)| *deadline)?;
        self.clear(timer);
        Some((timer, deadline))
    }
}
