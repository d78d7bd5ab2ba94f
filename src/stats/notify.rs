//! What was told about transitions, and what could not be.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Counters of notifications, whatever router they are of.
#[derive(Debug, Default)]
pub struct NotifyStats {
    /// Script runs that ended with success.
    pub scripts_done: AtomicU64,
    /// Script runs that could not be started or ended with another code or by a signal.
    pub scripts_failed: AtomicU64,
    /// Script runs ended because they took too long.
    pub scripts_timed_out: AtomicU64,
    /// Notifications that had not run yet and gave way to a newer one of the same router or group.
    pub scripts_collapsed: AtomicU64,
    /// Notifications that the end of the process cut off.
    pub scripts_dropped: AtomicU64,
    /// Hook runs that ended with success.
    pub hooks_done: AtomicU64,
    /// Hook runs that could not be started or ended with another code or by a signal.
    pub hooks_failed: AtomicU64,
    /// Hook runs ended because they took too long.
    pub hooks_timed_out: AtomicU64,
    /// Lines written to named pipes.
    pub fifo_lines: AtomicU64,
    /// Lines for named pipes given up because nobody read them.
    pub fifo_lines_lost: AtomicU64,
    /// Events published.
    pub events: AtomicU64,
    /// Events that a subscriber was too slow for.
    pub events_lost: AtomicU64,
    /// Mails that a server accepted, for some recipient at least.
    pub mails_sent: AtomicU64,
    /// Mails tried again.
    pub mail_retries: AtomicU64,
    /// Mails given up for some recipient.
    pub mails_failed: AtomicU64,
    /// Transitions left out of the mail they belong in.
    pub mail_items_lost: AtomicU64,
}

/// [`NotifyStats`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "NotifyStats says it")]
pub struct NotifySnapshot {
    pub scripts_done: u64,
    pub scripts_failed: u64,
    pub scripts_timed_out: u64,
    pub scripts_collapsed: u64,
    pub scripts_dropped: u64,
    pub hooks_done: u64,
    pub hooks_failed: u64,
    pub hooks_timed_out: u64,
    pub fifo_lines: u64,
    pub fifo_lines_lost: u64,
    pub events: u64,
    pub events_lost: u64,
    pub mails_sent: u64,
    pub mail_retries: u64,
    pub mails_failed: u64,
    pub mail_items_lost: u64,
}

impl NotifyStats {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> NotifySnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NotifySnapshot {
            scripts_done: load(&self.scripts_done),
            scripts_failed: load(&self.scripts_failed),
            scripts_timed_out: load(&self.scripts_timed_out),
            scripts_collapsed: load(&self.scripts_collapsed),
            scripts_dropped: load(&self.scripts_dropped),
            hooks_done: load(&self.hooks_done),
            hooks_failed: load(&self.hooks_failed),
            hooks_timed_out: load(&self.hooks_timed_out),
            fifo_lines: load(&self.fifo_lines),
            fifo_lines_lost: load(&self.fifo_lines_lost),
            events: load(&self.events),
            events_lost: load(&self.events_lost),
            mails_sent: load(&self.mails_sent),
            mail_retries: load(&self.mail_retries),
            mails_failed: load(&self.mails_failed),
            mail_items_lost: load(&self.mail_items_lost),
        }
    }
}
