//! What the client's attempts amount to: how long it heard nothing, and what failed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::PERIOD;
use crate::report::ms;

/// One attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub start: Instant,
    /// How long it took.
    pub took: Duration,
    /// Which address it went to, as an index into the addresses in the order given.
    pub address: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The echo came; by which server, as an index of [`Report::servers`].
    Echoed(usize),
    /// Connection refused.
    Refused,
    /// Reset after the connection stood.
    Reset,
    /// Closed before the echo was complete.
    Closed,
    /// Host or network unreachable.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// Another error, such as no descriptor or port left here.
    Other,
}

/// What happened between two instants.
#[derive(Debug, Clone)]
pub struct Report {
    /// Attempts in order of their start.
    pub attempts: Vec<Attempt>,
    /// Names of the servers that answered.
    pub servers: Vec<String>,
    /// The longest span without a successful attempt to one address, and with at least one failed, less the pace and
    /// less the pauses of the client itself.
    pub silence: Duration,
    /// When that span began.
    pub since: Option<Instant>,
    /// The longest span in which the client itself attempted nothing: lateness of this machine, not of the subject.
    pub pause: Duration,
    /// The slowest successful echo.
    pub slowest: Duration,
    /// Failures by kind.
    pub failures: BTreeMap<Outcome, usize>,
}

impl Attempt {
    /// Whether the echo came in time.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Echoed(_))
    }
}

impl Report {
    pub(super) fn new(mut attempts: Vec<Attempt>, servers: Vec<String>) -> Self {
        attempts.sort_by_key(|attempt| attempt.start);
        let mut report = Self {
            silence: Duration::ZERO,
            since: None,
            pause: Duration::ZERO,
            slowest: Duration::ZERO,
            failures: BTreeMap::new(),
            attempts,
            servers,
        };
        for pair in report.attempts.windows(2) {
            report.pause = report.pause.max((pair[1].start - pair[0].start).saturating_sub(PERIOD));
        }
        for attempt in &report.attempts {
            if attempt.succeeded() {
                report.slowest = report.slowest.max(attempt.took);
            } else {
                *report.failures.entry(attempt.outcome).or_default() += 1;
            }
        }
        let addresses = report.attempts.iter().map(|attempt| attempt.address + 1).max().unwrap_or(0);
        for address in 0..addresses {
            report.listen_to(address, addresses);
        }
        report
    }

    /// Finds the longest silence of one of so many addresses.
    fn listen_to(&mut self, address: usize, addresses: usize) {
        let pace = PERIOD * u32::try_from(addresses).unwrap_or(1);
        let attempts: Vec<Attempt> =
            self.attempts.iter().copied().filter(|attempt| attempt.address == address).collect();
        let Some(first) = attempts.first() else { return };
        let (mut good, mut last, mut failed, mut watched) = (first.start, first.start, false, Duration::ZERO);
        for attempt in &attempts {
            // What nobody attempted, nobody missed: a pause of the client's own is not silence.
            watched += (attempt.start - last).min(pace * 4);
            last = attempt.start;
            failed |= !attempt.succeeded();
            let span = watched.saturating_sub(pace);
            if failed && span >= self.silence {
                (self.silence, self.since) = (span, Some(good));
            }
            if attempt.succeeded() {
                (good, failed, watched) = (attempt.start, false, Duration::ZERO);
            }
        }
    }

    /// How many attempts failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// Answers by server.
    #[must_use]
    pub fn by_server(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for attempt in &self.attempts {
            if let Outcome::Echoed(server) = attempt.outcome {
                *counts.entry(self.servers[server].as_str()).or_default() += 1;
            }
        }
        counts
    }

    /// Failures in words.
    #[must_use]
    pub fn failures_text(&self) -> String {
        if self.failures.is_empty() {
            return "none".to_owned();
        }
        let kinds = self.failures.iter().map(|(kind, count)| format!("{count} {}", kind.label()));
        kinds.collect::<Vec<_>>().join(", ")
    }

    /// One line with everything.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "silence {}, {} attempts, failed: {}; slowest echo {}, own pause {}",
            ms(self.silence),
            self.attempts.len(),
            self.failures_text(),
            ms(self.slowest),
            ms(self.pause)
        )
    }
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Echoed(_) => "echoed",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}
