//! Latencies in buckets 1.6 % wide.

use std::time::Duration;

/// Buckets to each doubling.
const STEPS: usize = 64;
/// Doublings from 64 ns on: the last bucket holds everything above an hour.
const DOUBLINGS: usize = 36;

/// How often which latency was seen.
#[derive(Debug, Clone)]
pub(crate) struct Histogram(Vec<u64>);

impl Histogram {
    /// Nothing seen yet.
    pub(crate) fn new() -> Self {
        Self(vec![0; STEPS * DOUBLINGS])
    }

    /// One more.
    pub(crate) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(STEPS as u64);
        let doubling = nanos.ilog2() - STEPS.ilog2();
        let step = (nanos >> doubling) as usize - STEPS;
        let bucket = (doubling as usize * STEPS + step).min(self.0.len() - 1);
        self.0[bucket] += 1;
    }

    /// All that another thread saw.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// The latency that `share` of all do not exceed.
    pub(crate) fn at(&self, share: f64) -> Duration {
        let wanted = (self.0.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_nanos(((STEPS + bucket % STEPS) as u64) << (bucket / STEPS));
            }
        }
        Duration::ZERO
    }
}
