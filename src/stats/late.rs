//! How late a thread woke: a histogram of atomics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets, in microseconds; one more bucket has none.
const BOUNDS: [u64; 11] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000, 250_000];

/// Wakes by lateness. One thread records, any may read.
#[derive(Debug, Default)]
pub struct LateWakes {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
    max_micros: AtomicU64,
}

/// A moment of [`LateWakes`], as Prometheus counts: each bucket holds those before it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LateWakesSnapshot {
    /// Upper bound in seconds, and the wakes that were no later.
    pub buckets: Vec<(f64, u64)>,
    /// All wakes.
    pub count: u64,
    /// Lateness of all of them, in seconds.
    pub sum_seconds: f64,
    /// The latest, in seconds.
    pub max_seconds: f64,
}

impl LateWakes {
    /// Records a wake.
    pub fn record(&self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        self.max_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// How it stands.
    #[must_use]
    pub fn snapshot(&self) -> LateWakesSnapshot {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.len());
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if let Some(bound) = BOUNDS.get(index) {
                buckets.push((Duration::from_micros(*bound).as_secs_f64(), count));
            }
        }
        let seconds = |micros: &AtomicU64| Duration::from_micros(micros.load(Ordering::Relaxed)).as_secs_f64();
        LateWakesSnapshot {
            buckets,
            count,
            sum_seconds: seconds(&self.sum_micros),
            max_seconds: seconds(&self.max_micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_those_before_it_and_its_bound_belongs_to_it() {
        let wakes = LateWakes::default();
        for micros in [0, 50, 51, 20_000, 1_000_000] {
            wakes.record(Duration::from_micros(micros));
        }
        let snapshot = wakes.snapshot();
        let at = |bound: f64| snapshot.buckets.iter().find(|(known, _)| *known == bound).map(|(_, count)| *count);
        assert_eq!(
            (at(0.00005), at(0.0001), at(0.01), at(0.02), at(0.25)),
            (Some(2), Some(3), Some(3), Some(4), Some(4))
        );
        assert_eq!((snapshot.count, snapshot.max_seconds), (5, 1.0));
        assert!((snapshot.sum_seconds - 1.020_101).abs() < 1e-9);
    }
}
