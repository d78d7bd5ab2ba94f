//! Client hellos, altered and cut, and what has to hold of every reading.

use vipgate::wire::tls::client_hello::{Heard, hear};

use super::draws::Draws;

/// Bytes that say something somewhere.
const FAVOURITES: &[u8] = &[0, 1, 3, 22, 127, 255];

/// How much got how far.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) read: u64,
    pub(crate) awaited: u64,
    pub(crate) refused: u64,
}

pub(crate) struct Fuzzer {
    draws: Draws,
    /// Made once: to make them would take longer than to hear them.
    messages: Vec<Vec<u8>>,
    pub(crate) shares: Shares,
}

impl Fuzzer {
    pub(crate) fn new(seed: u64) -> Self {
        let mut fuzzer = Self { draws: Draws::seeded(seed), messages: Vec::new(), shares: Shares::default() };
        for size in [16_384, 200].into_iter().cycle().take(200) {
            let message = fuzzer.message();
            let records = message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat());
            fuzzer.messages.push(records.collect());
        }
        fuzzer
    }

    /// One hello: what its beginning was said to be, once that was certain, all of it is too.
    pub(crate) fn execute(&mut self) {
        let mut message = self.message();
        if self.draws.below(3) > 0 {
            self.draws.alter(&mut message, FAVOURITES);
        }
        let size = [1, 3, 4, 5, 100, 16_384][self.draws.below(6)];
        let mut bytes: Vec<u8> =
            message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat()).collect();
        if self.draws.below(4) == 0 {
            self.draws.alter(&mut bytes, FAVOURITES);
        }
        if self.draws.below(4) == 0 {
            bytes.truncate(self.draws.below(bytes.len() + 1));
        }
        let whole = hear(&bytes);
        for _ in 0..4 {
            let end = self.draws.below(bytes.len() + 1);
            let part = hear(&bytes[..end]);
            assert!(part == Heard::Part || part == whole, "{end} of {bytes:02x?}: {part:?}, then {whole:?}");
        }
        if let Heard::Hello(hello) = &whole {
            assert!(hello.identities.len() <= 8);
            let openings = hello.identities.iter().chain(&hello.ticket).chain(&hello.session_id);
            assert!(openings.into_iter().all(|opening| (1..=32).contains(&opening.len())));
            let name = hello.server_name.as_deref().unwrap_or("a");
            assert!(!name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        match whole {
            Heard::Hello(_) => self.shares.read += 1,
            Heard::Part => self.shares.awaited += 1,
            Heard::Other => self.shares.refused += 1,
        }
    }

    /// One hello of one message or a few, heard whole and in one cut: cheap enough for millions.
    pub(crate) fn execute_quickly(&mut self) {
        let chosen = self.draws.below(self.messages.len());
        let mut bytes = self.messages[chosen].clone();
        for _ in 0..self.draws.below(4) {
            self.draws.alter(&mut bytes, FAVOURITES);
        }
        let whole = hear(&bytes);
        let end = self.draws.below(bytes.len() + 1);
        let part = hear(&bytes[..end]);
        assert!(part == Heard::Part || part == whole, "{end} of {bytes:02x?}: {part:?}, then {whole:?}");
        match whole {
            Heard::Hello(_) => self.shares.read += 1,
            Heard::Part => self.shares.awaited += 1,
            Heard::Other => self.shares.refused += 1,
        }
    }

    fn message(&mut self) -> Vec<u8> {
        let name = &b"a.very.long.name.of.a.server.example.org"[..self.draws.below(41)];
        let names = vector16(&[&[0][..], &vector16(name)].concat());
        let share = self.draws.below(1300);
        let identity = [&vector16(&vec![8; self.draws.below(200)])[..], &[1, 2, 3, 4]].concat();
        let identities = identity.repeat(self.draws.below(12));
        let extensions = [
            extension(0x1a1a, &[]),
            extension(51, &vec![7; share]),
            extension(0, &names),
            extension(16, &vector16(&[vector8(b"h2"), vector8(b"http/1.1")].concat())),
            extension(43, &vector8(&[0x2a, 0x2a, 3, 4, 3, 3])),
            extension(35, &vec![6; self.draws.below(3) * 90]),
            extension(0xfe0d, &[0, 0, 1]),
            extension(41, &[vector16(&identities), vector16(&vector8(&[0; 32]))].concat()),
        ];
        let session = vec![5; self.draws.below(34)];
        let body = [
            &[3, 3][..],
            &[9; 32],
            &vector8(&session),
            &vector16(&[0x13, 1]),
            &vector8(&[0]),
            &vector16(&extensions.concat()),
        ]
        .concat();
        [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat()
    }
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}
