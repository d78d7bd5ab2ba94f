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

/// Disjoint ranges of ports: first port to last port and who was the first to take it.
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
                fill_gaps(ranges, (first, last), at);
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

/// Adds those ports that nobody has, so that each port is in one range only.
fn fill_gaps(ranges: &mut Ranges, (first, last): (u16, u16), at: Location) {
    let mut next = u32::from(first);
    if let Some((_, (end, _))) = ranges.range(..=first).next_back() {
        next = next.max(u32::from(*end) + 1);
    }
    let inside: Vec<(u16, u16)> = ranges.range(first..=last).map(|(begin, (end, _))| (*begin, *end)).collect();
    for (begin, end) in inside {
        if next < u32::from(begin) {
            insert(ranges, next, u32::from(begin) - 1, at);
        }
        next = next.max(u32::from(end) + 1);
    }
    if next <= u32::from(last) {
        insert(ranges, next, u32::from(last), at);
    }
}

fn insert(ranges: &mut Ranges, first: u32, last: u32, at: Location) {
    if let (Ok(first), Ok(last)) = (u16::try_from(first), u16::try_from(last)) {
        ranges.insert(first, (last, at));
    }
}
