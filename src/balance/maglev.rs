//! Consistent hashing by source address: a lookup table after Maglev (Eisenbud et al., NSDI 2016, section 3.4).
//!
//! The table is a pure function of the names and weights of the servers, hash and seed are fixed: every node picks the
//! same server for the same client with nothing replicated. Health does not touch the table. Where the owner of a
//! client's slot cannot be used, further slots are tried in an order that is the slot's own; so only the clients of a
//! dead server move, they spread over all others by weight, and they return when it does.

use std::net::IpAddr;

use crate::model::Key;

/// Smallest table: prime, and two hundred slots a server for three hundred servers.
const SMALLEST: usize = 65_537;
/// Slots a server at least: the share of a server is off by about 1 in this.
const SLOTS_PER_SERVER: usize = 100;
/// Slots tried before servers are taken in order.
const TRIES: u64 = 64;
/// Fixed for ever: nodes of different versions must agree.
const SEED: u64 = 0x7669_7067_6174_6531;

/// The lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maglev {
    /// The owner of each slot, as its position in the list the table was built of.
    slots: Vec<u32>,
    servers: usize,
}

/// The hash of a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Hashes an address; an IPv4 address and its IPv4-mapped IPv6 form are one client.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_bytes(&v4.octets()),
            IpAddr::V6(v6) => Self::of_bytes(&v6.octets()),
        }
    }

    /// Hashes what a stick table knows a client by; an address as such.
    #[must_use]
    pub fn of_key(key: &Key) -> Self {
        match key {
            Key::Address(address) => Self::of(*address),
            Key::Integer(number) => Self::of_bytes(&number.to_be_bytes()),
            Key::Bytes(bytes) => Self::of_bytes(bytes),
        }
    }

    /// Hashes a host name, whose case does not matter.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self::of_bytes(name.to_ascii_lowercase().as_bytes())
    }

    /// Hashes bytes, every one of which matters.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(hash(bytes, SEED))
    }

    /// The remainder of a division by `divisor`, which is not 0.
    pub(super) fn modulo(self, divisor: u64) -> u64 {
        self.0 % divisor
    }
}

impl Maglev {
    /// Builds the table of `servers`, as (name, weight); those of weight 0 own nothing.
    #[must_use]
    pub fn build(servers: &[(&str, u16)]) -> Self {
        let heaviest = servers.iter().map(|(_, weight)| u64::from(*weight)).max().unwrap_or(0);
        if heaviest == 0 {
            return Self { slots: Vec::new(), servers: servers.len() };
        }
        let size = next_prime(SMALLEST.max(servers.len() * SLOTS_PER_SERVER));
        let mut takers: Vec<Taker> = servers.iter().map(|(name, weight)| Taker::new(name, *weight, size)).collect();
        let mut slots = vec![u32::MAX; size];
        let mut free = size;
        // The order of turns must not depend on the order of the file.
        let mut order: Vec<usize> = (0..servers.len()).filter(|&index| servers[index].1 > 0).collect();
        order.sort_by_key(|&index| servers[index].0);
        while free > 0 {
            for &index in &order {
                takers[index].credit += takers[index].weight;
                // A server of half the largest weight takes every other turn.
                if takers[index].credit < heaviest || free == 0 {
                    continue;
                }
                takers[index].credit -= heaviest;
                let slot = takers[index].next_free(&slots);
                slots[slot] = u32::try_from(index).unwrap_or(u32::MAX);
                free -= 1;
            }
        }
        Self { slots, servers: servers.len() }
    }

    /// The server of a client, as its position in the list, among those that are `usable`; none when none is.
    pub fn select(&self, key: KeyHash, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let size = u64::try_from(self.slots.len()).ok().filter(|size| *size > 0)?;
        let slot = key.0 % size;
        let owner = |slot: u64| usize::try_from(slot).ok().and_then(|slot| self.slots.get(slot)).map(|&o| o as usize);
        if let Some(first) = owner(slot).filter(|&server| usable(server)) {
            return Some(first);
        }
        let mut next = slot;
        for _ in 0..TRIES {
            next = mix(next ^ SEED);
            if let Some(server) = owner(next % size).filter(|&server| usable(server)) {
                return Some(server);
            }
        }
        let start = usize::try_from(next % (self.servers as u64)).unwrap_or(0);
        (0..self.servers).map(|step| (start + step) % self.servers).find(|&server| usable(server))
    }
}

/// A server while the table is filled: its own permutation of all slots.
struct Taker {
    weight: u64,
    credit: u64,
    next: usize,
    skip: usize,
}

impl Taker {
    fn new(name: &str, weight: u16, size: usize) -> Self {
        let size = size as u64;
        let offset = hash(name.as_bytes(), SEED) % size;
        let skip = hash(name.as_bytes(), !SEED) % (size - 1) + 1;
        Self { weight: u64::from(weight), credit: 0, next: offset as usize, skip: skip as usize }
    }

    fn next_free(&mut self, slots: &[u32]) -> usize {
        loop {
            let slot = self.next;
            self.next = (self.next + self.skip) % slots.len();
            if slots[slot] == u32::MAX {
                return slot;
            }
        }
    }
}

/// 64-bit FNV-1a, finished by [`mix`]: short keys, any platform, no state.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    mix(bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// The finishing step of SplitMix64: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn next_prime(from: usize) -> usize {
    let prime = |n: usize| n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (from..).find(|&n| prime(n)).unwrap_or(SMALLEST)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;

    fn clients() -> impl Iterator<Item = IpAddr> {
        (0..20_000_u32).map(|n| Ipv4Addr::from(0x0a00_0000 + n).into())
    }

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("s{n}")).collect()
    }

    fn table(names: &[String]) -> Maglev {
        Maglev::build(&names.iter().map(|name| (name.as_str(), 100)).collect::<Vec<_>>())
    }

    #[test]
    fn the_choice_is_fixed_for_ever() {
        // Nodes of different versions share clients: these may never change.
        let maglev = table(&names(5));
        let choice = |address: &str| maglev.select(KeyHash::of(address.parse().unwrap()), |_| true).unwrap();
        let choices = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"].map(choice);
        assert_eq!(choices, FIXED);
        assert_eq!(choice("::ffff:192.0.2.1"), choice("192.0.2.1"));
    }
    const FIXED: [usize; 5] = [0, 2, 4, 2, 0];

    #[test]
    fn only_the_clients_of_dead_servers_move_and_they_return() {
        let maglev = table(&names(7));
        let all = |client| maglev.select(KeyHash::of(client), |_| true).unwrap();
        for client in clients() {
            let without_2 = maglev.select(KeyHash::of(client), |server| server != 2).unwrap();
            let without_2_and_5 = maglev.select(KeyHash::of(client), |server| server != 2 && server != 5).unwrap();
            assert_ne!(without_2, 2);
            if all(client) != 2 {
                assert_eq!(without_2, all(client));
            }
            if without_2 != 5 {
                assert_eq!(without_2_and_5, without_2);
            }
        }
    }

    #[test]
    fn the_clients_of_a_dead_server_spread_over_all_others() {
        let maglev = table(&names(5));
        let mut moved = BTreeMap::<usize, u32>::new();
        for client in clients().filter(|&client| maglev.select(KeyHash::of(client), |_| true) == Some(0)) {
            *moved.entry(maglev.select(KeyHash::of(client), |server| server != 0).unwrap()).or_default() += 1;
        }
        assert_eq!(moved.len(), 4);
        assert!(moved.values().all(|&count| (800..1200).contains(&count)), "{moved:?}");
    }

    #[test]
    fn shares_follow_weights() {
        let maglev = Maglev::build(&[("a", 100), ("b", 50), ("c", 0), ("d", 50)]);
        let mut owned = BTreeMap::<u32, usize>::new();
        for slot in &maglev.slots {
            *owned.entry(*slot).or_default() += 1;
        }
        assert_eq!(owned.keys().copied().collect::<Vec<_>>(), [0, 1, 3]);
        assert!(owned[&0].abs_diff(SMALLEST / 2) < 10, "{owned:?}");
        assert!(owned[&1].abs_diff(SMALLEST / 4) < 10, "{owned:?}");
    }

    #[test]
    fn the_order_of_the_file_does_not_matter() {
        let one = Maglev::build(&[("a", 1), ("b", 1), ("c", 2)]);
        let other = Maglev::build(&[("c", 2), ("a", 1), ("b", 1)]);
        for client in clients() {
            let one = ["a", "b", "c"][one.select(KeyHash::of(client), |_| true).unwrap()];
            assert_eq!(one, ["c", "a", "b"][other.select(KeyHash::of(client), |_| true).unwrap()]);
        }
    }

    #[test]
    fn a_removed_server_moves_few_clients_of_others() {
        let before = table(&names(10));
        let after = table(&names(9));
        let choice = |maglev: &Maglev, client| maglev.select(KeyHash::of(client), |_| true).unwrap();
        let moved = clients().filter(|&c| choice(&before, c) != 9 && choice(&before, c) != choice(&after, c)).count();
        assert!(moved < 20_000 / 20, "{moved}");
    }

    #[test]
    fn none_usable_is_no_choice() {
        assert_eq!(table(&names(3)).select(KeyHash::of(Ipv4Addr::LOCALHOST.into()), |_| false), None);
        assert_eq!(Maglev::build(&[]).select(KeyHash::of(Ipv4Addr::LOCALHOST.into()), |_| true), None);
        assert_eq!(Maglev::build(&[("a", 0)]).select(KeyHash::of(Ipv4Addr::LOCALHOST.into()), |_| true), None);
    }

    #[test]
    fn many_servers_get_a_larger_table() {
        let names = names(1000);
        assert_eq!(table(&names).slots.len(), 100_003);
    }
}
