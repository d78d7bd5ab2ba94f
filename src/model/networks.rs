//! Sets of networks, large ones too.

use std::net::IpAddr;

use super::net::{Family, Prefix};

/// A set of networks that tells in logarithmic time whether an address is in one of them, and whether the longest of
/// those was taken in or left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    listed: Vec<Prefix>,
    /// Where the answer changes, ascending; it holds up to the next such place. Before the first it is no.
    v4: Vec<(u128, bool)>,
    v6: Vec<(u128, bool)>,
}

impl Networks {
    /// The addresses of these networks. Host bits do not count.
    #[must_use]
    pub fn new(listed: Vec<Prefix>) -> Self {
        let included = |family| listed.iter().filter(move |one| is_of(one, family)).map(|one| (*one, true)).collect();
        let (v4, v6) = (borders(included(Family::V4)), borders(included(Family::V6)));
        Self { listed, v4, v6 }
    }

    /// The addresses of `included` that are not in a longer network of `excluded`, and not in one of the same length.
    #[must_use]
    pub fn except(included: Vec<Prefix>, excluded: &[Prefix]) -> Self {
        let both = |family| {
            let included = included.iter().map(|one| (*one, true));
            included.chain(excluded.iter().map(|one| (*one, false))).filter(|(one, _)| is_of(one, family)).collect()
        };
        let (v4, v6) = (borders(both(Family::V4)), borders(both(Family::V6)));
        Self { listed: included, v4, v6 }
    }

    /// The networks as they were listed.
    #[must_use]
    pub fn listed(&self) -> &[Prefix] {
        &self.listed
    }

    /// Whether the address is in the set. An IPv4 address in an IPv6 one (`::ffff:192.0.2.1`) counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let borders = match Family::of(address) {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let after = borders.partition_point(|(start, _)| *start <= number(address));
        after.checked_sub(1).and_then(|at| borders.get(at)).is_some_and(|(_, inside)| *inside)
    }
}

fn is_of(prefix: &Prefix, family: Family) -> bool {
    Family::of(prefix.address) == family
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// First and last address of a network.
fn ends(prefix: Prefix) -> (u128, u128) {
    let host_bits = u32::from(Family::of(prefix.address).bits().saturating_sub(prefix.length));
    let hosts = 1u128.checked_shl(host_bits).map_or(u128::MAX, |count| count - 1);
    let first = number(prefix.address) & !hosts;
    (first, first | hosts)
}

/// Of networks of one family, each with its answer: where the answer of the longest network changes. Two networks are
/// nested or apart, so a stack of the open ones suffices.
fn borders(mut networks: Vec<(Prefix, bool)>) -> Vec<(u128, bool)> {
    // Of the same network, the one that is left out stands last and wins.
    networks.sort_by_key(|(prefix, inside)| (ends(*prefix).0, prefix.length, !*inside));
    let mut borders: Vec<(u128, bool)> = Vec::new();
    let mut open: Vec<(u128, bool)> = Vec::new();
    for (prefix, inside) in networks {
        let (first, last) = ends(prefix);
        close(&mut open, &mut borders, Some(first));
        set(&mut borders, first, inside);
        open.push((last, inside));
    }
    close(&mut open, &mut borders, None);
    borders
}

/// Ends the open networks that do not reach `up_to`.
fn close(open: &mut Vec<(u128, bool)>, borders: &mut Vec<(u128, bool)>, up_to: Option<u128>) {
    while let Some((last, _)) = open.last().copied().filter(|(last, _)| up_to.is_none_or(|first| *last < first)) {
        open.pop();
        let outside = open.last().is_some_and(|(_, inside)| *inside);
        if let Some(next) = last.checked_add(1) {
            set(borders, next, outside);
        }
    }
}

fn set(borders: &mut Vec<(u128, bool)>, at: u128, inside: bool) {
    match borders.last_mut() {
        Some(last) if last.0 == at => last.1 = inside,
        _ => borders.push((at, inside)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn holds(networks: &Networks, address: &str) -> bool {
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn both_families_ends_and_mapped_addresses() {
        let set = Networks::new(prefixes(&["10.1.2.3/8", "255.255.255.255", "2001:db8::/32", "0.0.0.0/32"]));
        for inside in
            ["10.0.0.0", "10.255.255.255", "255.255.255.255", "2001:db8:ffff::1", "::ffff:10.1.1.1", "0.0.0.0"]
        {
            assert!(holds(&set, inside), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "255.255.255.254", "2001:db9::", "::a00:1", "0.0.0.1", "::"] {
            assert!(!holds(&set, outside), "{outside}");
        }
        let all = Networks::new(prefixes(&["0.0.0.0/0", "::/0"]));
        assert!(holds(&all, "255.255.255.255") && holds(&all, "ffff::"));
        assert!(!holds(&Networks::default(), "10.0.0.1"));
    }

    #[test]
    fn the_longest_network_decides() {
        let set = Networks::except(prefixes(&["10.0.0.0/8", "10.1.2.0/24"]), &prefixes(&["10.1.0.0/16", "10.9.9.9"]));
        assert!(holds(&set, "10.0.0.1") && holds(&set, "10.1.2.3") && holds(&set, "10.2.0.0"));
        assert!(!holds(&set, "10.1.3.1") && !holds(&set, "10.9.9.9") && holds(&set, "10.9.9.10"));
        let equal = Networks::except(prefixes(&["10.0.0.0/8"]), &prefixes(&["10.0.0.0/8"]));
        assert!(!holds(&equal, "10.0.0.1"));
    }

    proptest! {
        /// Against the definition, over a small space in which networks meet often.
        #[test]
        fn agrees_with_the_definition(
            listed in prop::collection::vec((0u8..=255, 24u8..=32, any::<bool>()), 0..40), host in 0u8..=255
        ) {
            let prefix = |last: u8, length| Prefix { address: IpAddr::from([192, 0, 2, last]), length };
            let of = |wanted| listed.iter().filter(|one| one.2 == wanted).map(|one| prefix(one.0, one.1)).collect::<Vec<_>>();
            let set = Networks::except(of(true), &of(false));
            let covers = |one: &&(u8, u8, bool)| {
                let (first, last) = ends(prefix(one.0, one.1));
                (first..=last).contains(&number(IpAddr::from([192, 0, 2, host])))
            };
            let longest = listed.iter().filter(covers).max_by_key(|one| (one.1, !one.2));
            prop_assert_eq!(set.contains(IpAddr::from([192, 0, 2, host])), longest.is_some_and(|one| one.2));
        }
    }
}
