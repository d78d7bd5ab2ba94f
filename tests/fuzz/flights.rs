//! First flights of servers, altered and cut, and what has to hold of every reading.

use vipgate::wire::tls::server_flight::{Flight, Said};

use super::draws::Draws;

/// How much got how far.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) said: u64,
    pub(crate) awaited: u64,
    pub(crate) refused: u64,
}

pub(crate) struct Fuzzer {
    draws: Draws,
    /// Made once: to make them would take longer than to hear them.
    flights: Vec<Vec<u8>>,
    pub(crate) shares: Shares,
}

impl Fuzzer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: Draws::seeded(seed), flights: flights(), shares: Shares::default() }
    }

    /// One flight: what is heard does not depend on how it is cut, and what was certain stays.
    pub(crate) fn execute(&mut self) {
        let chosen = self.draws.below(self.flights.len());
        let mut bytes = self.flights[chosen].clone();
        for _ in 0..self.draws.below(4) {
            let at = self.draws.below(bytes.len().min(160));
            match self.draws.below(3) {
                0 => bytes[at] ^= 1 << self.draws.below(8),
                1 => bytes[at] = [0, 1, 2, 3, 4, 20, 22, 255][self.draws.below(8)],
                _ => bytes.insert(at, self.draws.below(256) as u8),
            }
        }
        if self.draws.below(4) == 0 {
            bytes.truncate(self.draws.below(bytes.len() + 1));
        }
        let (over, said) = hear(&[&bytes]);
        let cut = self.draws.below(bytes.len() + 1);
        let (start, end) = bytes.split_at(cut);
        let again = hear(&[start, end]);
        assert!(again == (over, said.clone()), "cut at {cut}: {bytes:02x?}: {again:?}, then {said:?}");
        if let Some(said) = &said {
            assert!(said.session_id.iter().chain(&said.ticket).all(|opening| (1..=32).contains(&opening.len())));
        }
        match (over, said) {
            (true, Some(_)) => self.shares.said += 1,
            (true, None) => self.shares.refused += 1,
            (false, _) => self.shares.awaited += 1,
        }
    }
}

fn hear(parts: &[&[u8]]) -> (bool, Option<Said>) {
    let mut flight = Flight::default();
    parts.iter().for_each(|part| flight.hear(part));
    (flight.is_over(), flight.into_said())
}

fn flights() -> Vec<Vec<u8>> {
    let version: &[u8] = &[0, 43, 0, 2, 3, 4];
    let key: &[u8] = &[0, 41, 0, 2, 0, 0];
    let ticket: &[u8] = &[0, 35, 0, 0];
    let retry: Vec<u8> =
        [0xcf21_ad74_u32, 0xe59a_6111, 0xbe1d_8c02, 0x1e65_b891, 0xc2a2_1116, 0x7abb_8c5e, 0x079e_09e2]
            .iter()
            .chain(&[0xc8a8_339c])
            .flat_map(|word| word.to_be_bytes())
            .collect();
    let new_ticket = message(4, &[&[0, 0, 1, 44][..], &vector16(&[7; 120])].concat());
    let certificate = message(11, &[1; 300]);
    let change = record(20, &[1]);
    let mut flights = Vec::new();
    for size in [3, 50, 16_384] {
        let records = |bytes: &[u8]| bytes.chunks(size).flat_map(|part| record(22, part)).collect::<Vec<u8>>();
        let accepted = records(&hello(&[9; 32], &[5; 32], &[version, key].concat()));
        flights.push([&accepted[..], &change, &record(23, &[0; 50])].concat());
        let asks = records(&hello(&retry, &[5; 32], version));
        flights.push([&asks[..], &change, &accepted].concat());
        let made = [hello(&[9; 32], &[5; 32], &[]), certificate.clone(), message(14, &[])].concat();
        flights.push(records(&made));
        let issues = [hello(&[9; 32], &[], ticket), certificate.clone(), message(14, &[])].concat();
        flights.push([records(&issues), records(&new_ticket), change.clone()].concat());
        flights.push([records(&hello(&[9; 32], &[5; 32], &[])), change.clone()].concat());
    }
    flights
}

fn hello(random: &[u8], session: &[u8], extensions: &[u8]) -> Vec<u8> {
    let session = [&[session.len() as u8], session].concat();
    message(2, &[&[3, 3][..], random, &session, &[0x13, 1, 0], &vector16(extensions)].concat())
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &(content.len() as u32).to_be_bytes()[1..], content].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &vector16(content)].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}
