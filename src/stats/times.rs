//! How long things took, on average over the last connections. Written by several threads without a lock: a sample may be
//! lost to another one that comes at the same moment, which an average bears.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An average is over so many connections at most, HAProxy's number.
const SAMPLES: u64 = 1024;

/// Times of the connections of a server.
#[derive(Debug, Default)]
pub struct Times {
    samples: AtomicU64,
    queue: Time,
    connect: Time,
    total: Time,
}

/// In microseconds.
#[derive(Debug, Default)]
struct Time {
    sum: AtomicU64,
    most: AtomicU64,
}

/// Averages and maxima, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TimesSnapshot {
    /// Connections that the averages are over.
    pub samples: u64,
    /// From the client to the first attempt at a server: rules, and waiting for a server with room.
    pub queue_seconds: f64,
    /// The longest.
    pub queue_seconds_max: f64,
    /// From there until it was established, attempts that failed included.
    pub connect_seconds: f64,
    /// The longest.
    pub connect_seconds_max: f64,
    /// From the client to the end.
    pub total_seconds: f64,
    /// The longest.
    pub total_seconds_max: f64,
}

impl Times {
    /// A connection has ended.
    pub fn add(&self, queue: Duration, connect: Duration, total: Duration) {
        let samples = self.samples.load(Ordering::Relaxed);
        self.samples.store((samples + 1).min(SAMPLES), Ordering::Relaxed);
        self.queue.add(queue, samples);
        self.connect.add(connect, samples);
        self.total.add(total, samples);
    }

    pub(super) fn snapshot(&self) -> TimesSnapshot {
        let samples = self.samples.load(Ordering::Relaxed);
        let (average, most) = (|time: &Time| time.average(samples), |time: &Time| time.most());
        TimesSnapshot {
            samples,
            queue_seconds: average(&self.queue),
            queue_seconds_max: most(&self.queue),
            connect_seconds: average(&self.connect),
            connect_seconds_max: most(&self.connect),
            total_seconds: average(&self.total),
            total_seconds_max: most(&self.total),
        }
    }

    /// Other connections may be the longest.
    pub(super) fn forget_most(&self) {
        for time in [&self.queue, &self.connect, &self.total] {
            time.most.store(0, Ordering::Relaxed);
        }
    }

    /// Averages begin again.
    pub(super) fn forget(&self) {
        self.samples.store(0, Ordering::Relaxed);
        for time in [&self.queue, &self.connect, &self.total] {
            time.sum.store(0, Ordering::Relaxed);
        }
    }
}

impl Time {
    fn add(&self, time: Duration, samples: u64) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 11);
        let sum = self.sum.load(Ordering::Relaxed);
        // The window is full: an average one goes.
        let rest = if samples >= SAMPLES { sum - sum / SAMPLES } else { sum };
        self.sum.store(rest.saturating_add(time), Ordering::Relaxed);
        if time > self.most.load(Ordering::Relaxed) {
            self.most.store(time, Ordering::Relaxed);
        }
    }

    fn average(&self, samples: u64) -> f64 {
        seconds(self.sum.load(Ordering::Relaxed).checked_div(samples).unwrap_or(0))
    }

    fn most(&self) -> f64 {
        seconds(self.most.load(Ordering::Relaxed))
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

impl TimesSnapshot {
    /// Those of several servers together.
    pub(super) fn together(all: impl Iterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for one in all {
            let (had, has) = (sum.samples as f64, one.samples as f64);
            let mean = |before: f64, new: f64| (before * had + new * has) / (had + has).max(1.0);
            sum = Self {
                samples: sum.samples + one.samples,
                queue_seconds: mean(sum.queue_seconds, one.queue_seconds),
                queue_seconds_max: sum.queue_seconds_max.max(one.queue_seconds_max),
                connect_seconds: mean(sum.connect_seconds, one.connect_seconds),
                connect_seconds_max: sum.connect_seconds_max.max(one.connect_seconds_max),
                total_seconds: mean(sum.total_seconds, one.total_seconds),
                total_seconds_max: sum.total_seconds_max.max(one.total_seconds_max),
            };
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_average_is_over_the_connections_there_were_and_then_over_the_last_ones() {
        let times = Times::default();
        assert_eq!(times.snapshot(), TimesSnapshot::default());
        times.add(Duration::ZERO, MS, 10 * MS);
        times.add(4 * MS, 3 * MS, 30 * MS);
        let two = times.snapshot();
        assert_eq!((two.samples, two.queue_seconds, two.queue_seconds_max), (2, 0.002, 0.004));
        assert_eq!((two.connect_seconds, two.total_seconds, two.total_seconds_max), (0.002, 0.02, 0.03));
        for _ in 0..20 * SAMPLES {
            times.add(Duration::ZERO, MS, 50 * MS);
        }
        let many = times.snapshot();
        assert_eq!((many.samples, many.queue_seconds_max), (SAMPLES, 0.004));
        assert!((many.total_seconds - 0.05).abs() < 0.0001, "{many:?}");
        times.forget_most();
        assert_eq!(times.snapshot().queue_seconds_max, 0.0);
    }

    #[test]
    fn servers_count_by_their_connections() {
        let of =
            |samples: u64, total_seconds: f64| TimesSnapshot { samples, total_seconds, ..TimesSnapshot::default() };
        let together = TimesSnapshot::together([of(1, 4.0), of(0, 9.0), of(3, 8.0)].into_iter());
        assert_eq!((together.samples, together.total_seconds), (4, 7.0));
    }
}
