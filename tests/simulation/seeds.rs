//! Seeds: what chance does in a scenario, and how to see it again.

use std::time::Duration;

use super::USUAL_SEEDS;

/// Runs a scenario with many seeds, a `share`th of the number asked for, from `VIPGATE_SIM_FROM` on; says which seed
/// failed.
pub(crate) fn with_seeds(share: u64, scenario: impl Fn(u64)) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with VIPGATE_SEED={}", self.0);
            }
        }
    }
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let seeds = match number("VIPGATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("VIPGATE_SIM_FROM").unwrap_or(1);
            first..first + number("VIPGATE_SIM").unwrap_or(USUAL_SEEDS) / share
        }
    };
    println!("seeds {} to {}", seeds.start, seeds.end - 1);
    for seed in seeds {
        let _seed = Seed(seed);
        scenario(seed);
    }
}

/// xorshift64*: a stream of numbers that a seed gives again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to `end`, exclusive.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        ((self.next() >> 33) % u64::from(end)) as u32
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        most * self.below(1001) / 1000
    }
}
