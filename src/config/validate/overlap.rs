//! Two sockets cannot listen on one port: ranges are compared as Linux compares them when binding.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use super::findings::Findings;
use crate::config::diagnostic::Diagnostic;
use crate::config::source::Location;
use crate::model::{Family, InterfaceName, ListenAddress};

/// Who listens where, and what was found to overlap.
///
/// A wildcard address overlaps every address of its family, and a socket bound to no interface overlaps those of any.
/// Each range is therefore filed four times, under its own address or any, and under its own interface or any; a
/// lookup then is a few searches, however many there are.
pub(super) struct Overlaps {
    taken: HashMap<(AddressKey, InterfaceKey), Ranges>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AddressKey {
    Exactly(IpAddr),
    AnyOf(Family),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum InterfaceKey {
    /// Bound to this one, or to none.
    Exactly(Option<InterfaceName>),
    Any,
}

/// Disjoint ranges of ports: first port to last port and who took them last.
type Ranges = BTreeMap<u16, (u16, Location)>;

impl Overlaps {
    pub(super) fn new() -> Self {
        Self { taken: HashMap::new() }
    }

    /// Takes one port on all interfaces.
    pub(super) fn add_port(&mut self, address: IpAddr, port: u16, at: Location, findings: &mut Findings<'_>) {
        self.add(address, (port, port), None, at, findings);
    }

    /// Takes what a service listens on.
    pub(super) fn add_listen(&mut self, listen: &ListenAddress, at: Location, findings: &mut Findings<'_>) {
        let ports = (listen.ports.first(), listen.ports.last());
        self.add(listen.address, ports, listen.interface.as_ref(), at, findings);
        if listen.dual_stack && listen.address.is_unspecified() && listen.address.is_ipv6() {
            self.add(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports, listen.interface.as_ref(), at, findings);
        }
    }

    fn add(
        &mut self,
        address: IpAddr,
        (first, last): (u16, u16),
        interface: Option<&InterfaceName>,
        at: Location,
        findings: &mut Findings<'_>,
    ) {
        let family = Family::of(address);
        if let Some((port, other)) = self.find(address, (first, last), interface) {
            let error = Diagnostic::error(at, format!("port {port} of {address} is listened on twice"));
            findings.push(error.related(other, "also here").help(if address.is_unspecified() {
                "an address for all interfaces includes each single one: leave one of the two out"
            } else {
                "leave one of the two out, or give it other ports"
            }));
        }
        let exact = InterfaceKey::Exactly(interface.cloned());
        for interface in [exact, InterfaceKey::Any] {
            for address in [AddressKey::Exactly(address), AddressKey::AnyOf(family)] {
                let ranges = self.taken.entry((address, interface.clone())).or_default();
                take(ranges, (first, last), at);
            }
        }
    }

    fn find(&self, address: IpAddr, ports: (u16, u16), interface: Option<&InterfaceName>) -> Option<(u16, Location)> {
        let family = Family::of(address);
        let wildcard = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let addresses = if address.is_unspecified() {
            vec![AddressKey::AnyOf(family)]
        } else {
            vec![AddressKey::Exactly(address), AddressKey::Exactly(wildcard)]
        };
        let interfaces = match interface {
            None => vec![InterfaceKey::Any],
            Some(name) => vec![InterfaceKey::Exactly(Some(name.clone())), InterfaceKey::Exactly(None)],
        };
        addresses.into_iter().find_map(|address| {
            interfaces.iter().find_map(|interface| overlap(self.taken.get(&(address, interface.clone()))?, ports))
        })
    }
}

/// The first port of `first..=last` that is taken, and by whom.
fn overlap(ranges: &Ranges, (first, last): (u16, u16)) -> Option<(u16, Location)> {
    let before = ranges.range(..=first).next_back().filter(|(_, (end, _))| *end >= first);
    let (begin, (_, at)) = before.or_else(|| ranges.range(first..=last).next())?;
    Some(((*begin).max(first), *at))
}

/// Gives `first..=last` to `at`: what others have of it is cut away, so that each port is in one range only and a
/// range costs no more than the ranges it replaces.
fn take(ranges: &mut Ranges, (first, last): (u16, u16), at: Location) {
    let before = ranges.range(..first).next_back().map(|(begin, (end, other))| (*begin, *end, *other));
    if let Some((begin, end, other)) = before.filter(|(_, end, _)| *end >= first) {
        ranges.insert(begin, (first - 1, other));
        if end > last {
            ranges.insert(last + 1, (end, other));
        }
    }
    while let Some(begin) = ranges.range(first..=last).next().map(|(begin, _)| *begin) {
        if let Some((end, other)) = ranges.remove(&begin).filter(|(end, _)| *end > last) {
            ranges.insert(last + 1, (end, other));
        }
    }
    ranges.insert(first, (last, at));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Sources;
    use crate::config::validate::Resolve;
    use crate::model::PortRange;

    fn listen(address: &str, ports: (u16, u16), interface: Option<&str>, dual_stack: bool) -> ListenAddress {
        ListenAddress {
            interface: interface.map(|name| name.parse().unwrap()),
            dual_stack,
            ..ListenAddress::new(address.parse().unwrap(), PortRange::new(ports.0, ports.1).unwrap())
        }
    }

    /// For each of the addresses whether it was found to overlap an earlier one.
    fn found(all: &[ListenAddress]) -> Vec<bool> {
        let at = Location::new(Sources::new().add("x", "x"), 0..1);
        let resolve: &dyn Resolve = &|_: &str| Ok(Vec::new());
        let mut overlaps = Overlaps::new();
        all.iter()
            .map(|listen| {
                let mut diagnostics = Vec::new();
                overlaps.add_listen(listen, at, &mut Findings::new(&mut diagnostics, resolve, true));
                !diagnostics.is_empty()
            })
            .collect()
    }

    /// What Linux says of two sockets, port by port.
    fn conflict(one: &ListenAddress, other: &ListenAddress) -> bool {
        let families = |listen: &ListenAddress| {
            let own = Family::of(listen.address);
            let both = own == Family::V6 && listen.dual_stack && listen.address.is_unspecified();
            [Some(own), both.then_some(Family::V4)]
        };
        let family = families(one).iter().flatten().any(|family| families(other).contains(&Some(*family)));
        let wild = one.address.is_unspecified() || other.address.is_unspecified();
        let address = family && (wild || one.address == other.address);
        let interface = one.interface.is_none() || other.interface.is_none() || one.interface == other.interface;
        address && interface && one.ports.iter().any(|port| other.ports.contains(port))
    }

    #[test]
    fn every_overlap_is_found_and_no_other() {
        let addresses = ["0.0.0.0", "::", "10.0.0.1", "10.0.0.2", "::1"];
        let interfaces = [None, None, Some("eth0"), Some("eth1")];
        let mut state: u64 = 7;
        let mut random = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 40).unwrap() % limit
        };
        for _ in 0..2000 {
            let all: Vec<ListenAddress> = (0..8)
                .map(|_| {
                    let first = u16::try_from(1 + random(40)).unwrap();
                    let last = first + u16::try_from(random(12)).unwrap();
                    listen(addresses[random(5)], (first, last), interfaces[random(4)], random(2) == 0)
                })
                .collect();
            let expected: Vec<bool> =
                (0..all.len()).map(|index| all[..index].iter().any(|earlier| conflict(&all[index], earlier))).collect();
            assert_eq!(found(&all), expected, "{all:?}");
        }
    }

    #[test]
    fn the_last_port_is_a_port() {
        let all = [
            listen("10.0.0.1", (1, 65535), None, false),
            listen("10.0.0.2", (65535, 65535), None, false),
            listen("10.0.0.2", (65535, 65535), None, false),
        ];
        assert_eq!(found(&all), [false, false, true]);
    }
}
