//! Figures of the last second: rates, the last session, time spent down. They are taken from the counters once a second, so
//! that the data plane does nothing for them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::registry::{Health, Registry, lock};

/// The rate of one counter.
#[derive(Debug, Default)]
pub struct Pulse {
    total: AtomicU64,
    rate: AtomicU64,
    rate_max: AtomicU64,
    last: Mutex<Option<Instant>>,
}

/// Whether a pool has a server, over time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PoolStatus {
    /// None of its servers is up.
    pub down: bool,
    /// Since when that, or the contrary, holds; none: since the start.
    pub since: Option<Instant>,
    /// How often the last server went down.
    pub downs: u64,
    /// Time without a server.
    pub downtime: Duration,
}

impl Pulse {
    /// Takes the counter's value, once a second.
    fn beat(&self, total: u64, now: Instant) {
        let fresh = total.saturating_sub(self.total.swap(total, Ordering::Relaxed));
        self.rate.store(fresh, Ordering::Relaxed);
        self.rate_max.fetch_max(fresh, Ordering::Relaxed);
        if fresh > 0 {
            *lock(&self.last) = Some(now);
        }
    }

    /// In the last second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// In the best second.
    #[must_use]
    pub fn rate_max(&self) -> u64 {
        self.rate_max.load(Ordering::Relaxed)
    }

    /// When the counter advanced last.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        *lock(&self.last)
    }

    /// The counter begins again from zero.
    pub(super) fn forget(&self) {
        self.total.store(0, Ordering::Relaxed);
    }

    /// Other seconds may be the best.
    pub(super) fn forget_most(&self) {
        self.rate_max.store(0, Ordering::Relaxed);
    }
}

impl Registry {
    /// Takes the figures of the second that ends now.
    pub fn take_second(&self, now: Instant, second: Duration) {
        let services = self.all_services();
        let mut accepted = 0;
        for service in services {
            let total = service.accepted.load(Ordering::Relaxed);
            accepted += total;
            service.pulse.beat(total, now);
        }
        self.pulse.beat(accepted, now);
        let mut pools = lock(&self.pool_states);
        for status in pools.values_mut() {
            status.1 = false;
        }
        for ((pool, _), server) in self.all_servers() {
            server.pulse.beat(server.chosen.load(Ordering::Relaxed), now);
            let mut usable = true;
            server.update_status(|status| match status.health {
                Health::Down => {
                    status.downtime += second;
                    usable = false;
                }
                Health::Disabled => usable = false,
                Health::Up | Health::Unchecked => {}
            });
            pools.entry(pool).or_default().1 |= usable;
        }
        for (status, usable) in pools.values_mut() {
            if status.down == *usable {
                status.down = !*usable;
                status.since = Some(now);
                status.downs += u64::from(status.down);
            }
            if status.down {
                status.downtime += second;
            }
        }
    }

    /// A pool's state over time.
    #[must_use]
    pub fn pool_status(&self, pool: &str) -> PoolStatus {
        lock(&self.pool_states).get(pool).map_or_else(PoolStatus::default, |(status, _)| *status)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_what_came_within_it() {
        let registry = Registry::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let service = registry.service("web");
        service.accepted.store(7, Ordering::Relaxed);
        registry.take_second(start, second);
        assert_eq!((service.pulse.rate(), service.pulse.rate_max()), (7, 7));
        service.accepted.store(9, Ordering::Relaxed);
        registry.take_second(start + second, second);
        assert_eq!(
            (service.pulse.rate(), service.pulse.rate_max(), service.pulse.last()),
            (2, 7, Some(start + second))
        );
        registry.take_second(start + 2 * second, second);
        assert_eq!((service.pulse.rate(), service.pulse.last()), (0, Some(start + second)));
    }

    #[test]
    fn a_pool_is_down_with_its_last_server() {
        let registry = Registry::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (one, two) = (registry.server("files", "one"), registry.server("files", "two"));
        one.update_status(|status| status.health = Health::Down);
        two.update_status(|status| status.health = Health::Up);
        registry.take_second(start, second);
        assert_eq!(registry.pool_status("files"), PoolStatus::default());
        assert_eq!(one.status().downtime, second);
        two.update_status(|status| status.health = Health::Down);
        registry.take_second(start + second, second);
        let down = PoolStatus { down: true, since: Some(start + second), downs: 1, downtime: second };
        assert_eq!(registry.pool_status("files"), down);
        two.update_status(|status| status.health = Health::Up);
        registry.take_second(start + 2 * second, second);
        let up = PoolStatus { down: false, since: Some(start + 2 * second), ..down };
        assert_eq!(registry.pool_status("files"), up);
    }
}
