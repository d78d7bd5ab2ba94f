//! Health checks.

use std::net::SocketAddr;
use std::time::Duration;

/// A TCP connect check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Where it connects. Of a server that is known by its name, address and port are its own where they are unspecified (and 0).
    pub target: SocketAddr,
    /// Between checks at full health.
    pub interval: Duration,
    /// Between checks in transition (HAProxy's `fastinter`).
    pub fast_interval: Duration,
    /// Between checks while down (HAProxy's `downinter`).
    pub down_interval: Duration,
    /// Longest wait for a result.
    pub timeout: Duration,
    /// Successes that make it up; at least 1.
    pub rise: u32,
    /// Failures that make it down; at least 1.
    pub fall: u32,
}

impl Check {
    /// Of a connection to `target`; everything else as when nothing is configured.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_millis(500),
            down_interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}
