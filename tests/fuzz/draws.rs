//! Numbers by chance, the same for the same seed, and what they do to bytes.

pub(crate) struct Draws {
    state: u64,
}

impl Draws {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// xorshift64*.
    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A few bytes changed, to one of `favourites` among others, taken out or put in.
    pub(crate) fn alter(&mut self, bytes: &mut Vec<u8>, favourites: &[u8]) {
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.pick(favourites),
                2 => drop(bytes.drain(at..(at + 1 + self.below(4)).min(bytes.len()))),
                _ => bytes.insert(at, self.below(256) as u8),
            }
        }
    }
}
