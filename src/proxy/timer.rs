//! The deadlines of one thread's connections: one a connection, changed lazily.
//!
//! Activity does not touch this: a connection is looked at when the deadline it had comes, and then given its new one. So a
//! connection costs one insertion when it begins and one removal when it ends, however long its timeouts are.

use std::collections::BTreeSet;
use std::time::Instant;

use super::slab::Key;

/// Deadlines in order.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Key)>);

impl Timers {
    /// Changes a connection's deadline from `current` to `next`.
    pub(super) fn set(&mut self, key: Key, current: &mut Option<Instant>, next: Option<Instant>) {
        if *current == next {
            return;
        }
        if let Some(at) = *current {
            self.0.remove(&(at, key));
        }
        if let Some(at) = next {
            self.0.insert((at, key));
        }
        *current = next;
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// A connection whose deadline has come; it has none now.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, key)| key)
    }
}
