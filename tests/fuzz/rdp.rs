//! Requests of RDP clients, altered and cut, and what has to hold of every reading.

use vipgate::wire::rdp::{Heard, hear};

use super::draws::Draws;

/// Bytes that say something somewhere.
const FAVOURITES: &[u8] = &[0, 3, 0xe0, b'\r', b'\n', b'=', b':', b' ', 255];

/// How much got how far.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) named: u64,
    pub(crate) awaited: u64,
    pub(crate) refused: u64,
}

pub(crate) struct Fuzzer {
    draws: Draws,
    pub(crate) shares: Shares,
}

impl Fuzzer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: Draws::seeded(seed), shares: Shares::default() }
    }

    /// One request: what its beginning was said to be, once that was certain, all of it is too.
    pub(crate) fn execute(&mut self) {
        let mut bytes = self.request();
        if self.draws.below(3) > 0 {
            self.draws.alter(&mut bytes, FAVOURITES);
        }
        if self.draws.below(4) == 0 {
            bytes.truncate(self.draws.below(bytes.len() + 1));
        }
        let whole = hear(&bytes);
        for end in 0..bytes.len() {
            let part = hear(&bytes[..end]);
            assert!(part == Heard::Part || part == whole, "{end} of {bytes:02x?}: {part:?}, then {whole:?}");
        }
        match whole {
            Heard::Cookie { name, value } => {
                let ends = |text: &[u8]| text.contains(&b'\r') || text.contains(&b'\n');
                assert!(name.len() + value.len() < 256 && !ends(name) && !ends(value) && !name.contains(&b'='));
                self.shares.named += 1;
            }
            Heard::Part => self.shares.awaited += 1,
            Heard::Other => self.shares.refused += 1,
        }
    }

    fn request(&mut self) -> Vec<u8> {
        let name = self.draws.pick(&["mstshash", "msts", "MSTSHASH", ""]);
        let value: String = (0..self.draws.below(40)).map(|_| self.draws.pick(&['a', 'Z', '\\', ' ', '='])).collect();
        let after = self.draws.pick(&[&b""[..], b"\x01\0\x08\0\x03\0\0\0"]);
        let line = [format!("Cookie: {name}={value}\r\n").as_bytes(), after].concat();
        let length = 11 + line.len();
        [&[3, 0, 0, length as u8, length as u8 - 5, 0xe0, 0, 0, 0, 0, 0], &line[..]].concat()
    }
}
