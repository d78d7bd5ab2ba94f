//! Two sockets cannot listen on one address and port. One for all addresses beside one for a single address can: the kernel
//! leads a connection to the most specific, as long as both share the port (SO_REUSEPORT), and so does the program that
//! steers ranges.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::findings::Findings;
use crate::config::diagnostic::Diagnostic;
use crate::config::source::Location;
use crate::model::page::PageListen;
use crate::model::{Family, InterfaceName, ListenAddress};

/// Who listens where, and what was found to overlap.
///
/// A socket bound to no interface overlaps those of any, and a wildcard address that is [`Claim::strict`] every address of
/// its family. Each range is therefore filed several times, under its own address or any, and under its own interface or
/// any; a lookup then is a few searches, however many there are.
pub(super) struct Overlaps {
    taken: HashMap<(AddressKey, InterfaceKey), Ranges>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AddressKey {
    Exactly(IpAddr),
    AnyOf(Family),
    /// Those that suffer nobody beside them.
    StrictAt(IpAddr),
    StrictOf(Family),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum InterfaceKey {
    /// Bound to this one, or to none.
    Exactly(Option<InterfaceName>),
    Any,
}

/// Disjoint ranges of ports: first port to last port and who took them last.
type Ranges = BTreeMap<u16, (u16, Location)>;

/// Ports of an address.
struct Claim<'a> {
    address: IpAddr,
    ports: (u16, u16),
    interface: Option<&'a InterfaceName>,
    /// A wildcard and a single address do not go together: the socket does not share its port.
    strict: bool,
    /// The address that was written.
    written: IpAddr,
    at: Location,
}

impl Overlaps {
    pub(super) fn new() -> Self {
        Self { taken: HashMap::new() }
    }

    /// Takes one port on all interfaces, with a socket that does not share it.
    pub(super) fn add_port(&mut self, address: IpAddr, port: u16, at: Location, findings: &mut Findings<'_>) {
        let claim = Claim { address, ports: (port, port), interface: None, strict: true, written: address, at };
        self.add(&claim, findings);
    }

    /// Takes what a service listens on.
    pub(super) fn add_listen(&mut self, listen: &ListenAddress, at: Location, findings: &mut Findings<'_>) {
        let claim = Claim {
            address: listen.address,
            ports: (listen.ports.first(), listen.ports.last()),
            interface: listen.interface.as_ref(),
            strict: false,
            written: listen.address,
            at,
        };
        self.add_families(&claim, listen.dual_stack, findings);
    }

    /// Takes what a page listens on, with a socket that does not share it.
    pub(super) fn add_page(&mut self, listen: &PageListen, at: Location, findings: &mut Findings<'_>) {
        let (address, port) = (listen.address.ip(), listen.address.port());
        let interface = listen.interface.as_ref();
        let claim = Claim { address, ports: (port, port), interface, strict: true, written: address, at };
        self.add_families(&claim, listen.dual_stack, findings);
    }

    fn add_families(&mut self, claim: &Claim<'_>, dual_stack: bool, findings: &mut Findings<'_>) {
        let free = self.add(claim, findings);
        if dual_stack && claim.address.is_unspecified() && claim.address.is_ipv6() {
            let v4 = Claim { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), ..*claim };
            // One finding a listener.
            if free {
                self.add(&v4, findings);
            } else {
                self.file(&v4);
            }
        }
    }

    /// Whether nobody had it.
    fn add(&mut self, claim: &Claim<'_>, findings: &mut Findings<'_>) -> bool {
        let taken = self.find(claim);
        if let Some((port, other)) = taken {
            findings.push(claim.refusal(port).related(other, "also here"));
        }
        self.file(claim);
        taken.is_none()
    }

    fn file(&mut self, claim: &Claim<'_>) {
        let Claim { address, ports, at, .. } = *claim;
        let family = Family::of(address);
        let strict = [AddressKey::StrictAt(address), AddressKey::StrictOf(family)];
        let addresses = [AddressKey::Exactly(address), AddressKey::AnyOf(family)];
        for interface in [InterfaceKey::Exactly(claim.interface.cloned()), InterfaceKey::Any] {
            for key in addresses.into_iter().chain(strict.into_iter().filter(|_| claim.strict)) {
                take(self.taken.entry((key, interface.clone())).or_default(), ports, at);
            }
        }
    }

    fn find(&self, claim: &Claim<'_>) -> Option<(u16, Location)> {
        let family = Family::of(claim.address);
        let wildcard = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let other = match (claim.address.is_unspecified(), claim.strict) {
            (true, true) => AddressKey::AnyOf(family),
            (true, false) => AddressKey::StrictOf(family),
            (false, true) => AddressKey::Exactly(wildcard),
            (false, false) => AddressKey::StrictAt(wildcard),
        };
        let interfaces = match claim.interface {
            None => vec![InterfaceKey::Any],
            Some(name) => vec![InterfaceKey::Exactly(Some(name.clone())), InterfaceKey::Exactly(None)],
        };
        [AddressKey::Exactly(claim.address), other].into_iter().find_map(|address| {
            interfaces.iter().find_map(|interface| overlap(self.taken.get(&(address, interface.clone()))?, claim.ports))
        })
    }
}

impl Claim<'_> {
    fn refusal(&self, port: u16) -> Diagnostic {
        let dual_stack = self.written != self.address;
        let why = if dual_stack { ", for IPv4, which it includes" } else { "" };
        let message = format!("port {port} of {} is listened on twice{why}", self.written);
        Diagnostic::error(self.at, message).help(if dual_stack {
            "leave one of the two out, or let this one take IPv6 alone"
        } else {
            "leave one of the two out, or give it other ports"
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
        // Of one for all addresses and one for a single one, each has its own.
        let both = one.address.is_unspecified() && other.address.is_unspecified();
        let address = family && (both || one.address == other.address);
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
    fn a_single_address_goes_beside_all_of_them() {
        let port = (443, 443);
        let all = [
            listen("0.0.0.0", port, None, false),
            listen("10.0.0.1", port, None, false),
            listen("::", port, None, false),
            listen("::1", port, None, false),
            listen("10.0.0.2", (400, 500), None, false),
            listen("::", port, None, true),
        ];
        assert_eq!(found(&all), [false, false, false, false, false, true]);
        let range = [listen("::", (400, 500), None, true), listen("10.0.0.1", port, None, false)];
        assert_eq!(found(&range), [false, false]);
    }

    #[test]
    fn a_socket_that_does_not_share_its_port_is_alone() {
        let at = Location::new(Sources::new().add("x", "x"), 0..1);
        let resolve: &dyn Resolve = &|_: &str| Ok(Vec::new());
        let (mut overlaps, mut diagnostics) = (Overlaps::new(), Vec::new());
        let mut findings = Findings::new(&mut diagnostics, resolve, true);
        overlaps.add_port("127.0.0.1".parse().unwrap(), 443, at, &mut findings);
        overlaps.add_listen(&listen("::", (443, 443), None, true), at, &mut findings);
        overlaps.add_port("10.0.0.1".parse().unwrap(), 443, at, &mut findings);
        let said: Vec<&str> = diagnostics.iter().map(|finding| finding.message.as_str()).collect();
        let expected = [
            "port 443 of :: is listened on twice, for IPv4, which it includes",
            "port 443 of 10.0.0.1 is listened on twice",
        ];
        assert_eq!(said, expected);
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
