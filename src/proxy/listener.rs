//! Binding what a configuration listens on: all of it or nothing, and a sentence for each address that cannot be had.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::steering;
use crate::model::{Descriptor, InterfaceName, ListenAddress, PortRange, Service};
use crate::os::inherited;
use crate::os::port_owner::{self, PortOwner};
use crate::os::tcp::{ListenOptions, Listener};

/// What makes two listeners the same: a reload that names it again keeps the socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ListenKey {
    /// With the first port of a range that is steered.
    pub(super) address: SocketAddr,
    interface: Option<InterfaceName>,
    dual_stack: bool,
}

/// A listener to be opened, and who wants it.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) service: &'a Service,
    pub(super) listen: &'a ListenAddress,
    /// A whole range comes to it, see [`Steering`](super::Steering).
    pub(super) steered: bool,
    /// Its address stands inside of a range that is steered for all of them: what is its own has to be steered to it, for the
    /// kernel's own choice, which is the most specific, comes after.
    pub(super) inside: bool,
    /// Part of a range that is not steered: one socket, given to one worker, rather than a socket a worker.
    of_range: bool,
    /// The ports that come to it.
    pub(super) ports: PortRange,
}

/// Why a service cannot listen on an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service {service} cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The service.
    pub service: String,
    /// The address and port.
    pub address: SocketAddr,
    /// What is in the way.
    pub reason: BindReason,
}

/// What is in the way of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindReason {
    /// Another process has the port.
    InUse(Vec<PortOwner>),
    /// Another service of the same configuration has it.
    Twice(String),
    /// The address is on no interface of this node.
    NotLocal,
    /// The process may not bind it.
    Permission,
    /// The interface it is tied to does not exist.
    NoInterface(String),
    /// The process has no descriptor left.
    Descriptors,
    /// The pool it sends its clients to does not exist.
    NoPool(String),
    /// Anything else, in the kernel's words.
    Other(String),
}

impl fmt::Display for BindReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(owners) if owners.is_empty() => {
                f.write_str("the port is in use by a process that cannot be seen from here (`ss -ltnp` as root names it)")
            }
            Self::InUse(owners) => {
                f.write_str("the port is in use by ")?;
                for (index, owner) in owners.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{} (pid {}, on {})", owner.name, owner.pid, owner.address)?;
                }
                f.write_str("; stop it, or choose another port")
            }
            Self::Twice(service) => write!(f, "service {service} listens there too"),
            Self::NotLocal => f.write_str(
                "the address is on no interface of this node; add it, or allow addresses that are not here (`transparent`)",
            ),
            Self::Permission => {
                f.write_str("permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE, interfaces CAP_NET_RAW")
            }
            Self::NoInterface(name) => write!(f, "there is no interface {name}"),
            Self::Descriptors => f.write_str("no descriptors left; raise LimitNOFILE or listen on fewer ports"),
            Self::NoPool(pool) => write!(f, "there is no pool {pool}"),
            Self::Other(error) => f.write_str(error),
        }
    }
}

impl Wanted<'_> {
    /// Whether a program leads connections to it.
    pub(super) fn is_led(&self) -> bool {
        self.steered || self.inside
    }

    /// How many it needs.
    pub(super) fn sockets(&self, workers: usize) -> usize {
        if self.of_range { 1 } else { workers }
    }
}

/// Everything the services listen on, each address and port once; what two of them claim is an error. Ranges are one
/// listener where they are steered, or as many as they have ports. A range of which `steers` some ports already stays so,
/// however short it gets.
pub(super) fn wanted(
    services: &[Service],
    steer: bool,
    steers: impl Fn(SocketAddr, PortRange) -> bool,
) -> Result<HashMap<ListenKey, Wanted<'_>>, Vec<BindError>> {
    let mut wanted: HashMap<ListenKey, Wanted<'_>> = HashMap::new();
    let mut errors = Vec::new();
    for service in services {
        for listen in &service.listen {
            let address = SocketAddr::new(listen.address, listen.ports.first());
            let steered =
                steer && can_be_steered(listen, services) && (is_worth_it(listen) || steers(address, listen.ports));
            let of_range = !steered && listen.ports.len() > 1;
            let one = |port| PortRange::new(port, port).ok();
            let whole = steered.then_some(listen.ports);
            let single = listen.ports.iter().filter(|_| !steered).filter_map(one);
            for ports in whole.into_iter().chain(single) {
                let key = ListenKey::new(listen, ports.first());
                let new = Wanted { service, listen, steered, inside: false, of_range, ports };
                let address = key.address;
                if let Some(other) = wanted.insert(key, new) {
                    let reason = BindReason::Twice(other.service.name.clone());
                    errors.push(BindError { service: service.name.clone(), address, reason });
                }
            }
        }
    }
    errors.extend(inside_ranges(&wanted));
    lead_single_addresses(&mut wanted);
    if errors.is_empty() { Ok(wanted) } else { Err(errors) }
}

/// A range tied to an interface is left to the kernel's own lookup, which knows about interfaces; and so is one that shares
/// ports with such a listener.
fn can_be_steered(listen: &ListenAddress, services: &[Service]) -> bool {
    let tied = |other: &ListenAddress| {
        other.interface.is_some() && other.ports.overlaps(listen.ports) && includes(listen, other.address)
    };
    let mut others = services.iter().flat_map(|service| &service.listen);
    listen.ports.len() > 1 && listen.interface.is_none() && !others.any(tied)
}

/// Whether clients of `address` would come to the listener if nobody else had it.
fn includes(listen: &ListenAddress, address: IpAddr) -> bool {
    let same_family = listen.address.is_ipv4() == address.is_ipv4();
    let both = listen.dual_stack && listen.address.is_ipv6();
    listen.address == address || (listen.address.is_unspecified() && (same_family || both))
}

/// Finds the listeners of single addresses whose connections a range for all addresses would take.
fn lead_single_addresses(wanted: &mut HashMap<ListenKey, Wanted<'_>>) {
    let steered = wanted.values().filter(|by| by.steered && by.listen.address.is_unspecified());
    let ranges: Vec<(&ListenAddress, PortRange)> = steered.map(|by| (by.listen, by.ports)).collect();
    for (key, single) in wanted.iter_mut().filter(|(key, by)| !by.steered && !key.address.ip().is_unspecified()) {
        let (address, port) = (key.address.ip(), key.address.port());
        single.inside = ranges.iter().any(|(listen, ports)| ports.contains(port) && includes(listen, address));
    }
}

fn is_worth_it(listen: &ListenAddress) -> bool {
    listen.ports.len() >= steering::SMALLEST
}

/// What a range that is steered would take away from another listener.
fn inside_ranges(wanted: &HashMap<ListenKey, Wanted<'_>>) -> Vec<BindError> {
    let mut errors = Vec::new();
    for (range, by) in wanted.iter().filter(|(_, by)| by.steered) {
        let inside = |key: &ListenKey| {
            key != range && key.address.ip() == range.address.ip() && by.ports.contains(key.address.port())
        };
        for (key, other) in wanted.iter().filter(|(key, _)| inside(key)) {
            let reason = BindReason::Twice(by.service.name.clone());
            errors.push(BindError { service: other.service.name.clone(), address: key.address, reason });
        }
    }
    errors
}

/// How many descriptors the services listen with, each of so many workers; and the ranges that are steered where the kernel
/// does that, as `20000-29999 of ftp`.
pub(super) fn plan(services: &[Service], workers: usize, steer: bool) -> (usize, Vec<String>) {
    let mut ranges = Vec::new();
    let mut sockets = 0;
    for (key, wanted) in wanted(services, steer, |_, _| false).unwrap_or_default() {
        sockets += wanted.sockets(workers);
        if wanted.steered {
            ranges.push((key.address, format!("{} of {}", wanted.ports, wanted.service.name)));
        }
    }
    ranges.sort();
    (sockets, ranges.into_iter().map(|(_, text)| text).collect())
}

/// Tells which processes listen on an address. Without root a process sees its own only: another may look for it.
pub(super) struct PortOwners(Box<dyn Fn(SocketAddr) -> Vec<PortOwner> + Send>);

impl Default for PortOwners {
    fn default() -> Self {
        Self::new(port_owner::listeners_on)
    }
}

impl fmt::Debug for PortOwners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PortOwners(..)")
    }
}

impl PortOwners {
    pub(super) fn new(look: impl Fn(SocketAddr) -> Vec<PortOwner> + Send + 'static) -> Self {
        Self(Box::new(look))
    }

    fn of(&self, address: SocketAddr) -> Vec<PortOwner> {
        (self.0)(address)
    }
}

impl ListenKey {
    fn new(listen: &ListenAddress, port: u16) -> Self {
        Self {
            address: SocketAddr::new(listen.address, port),
            interface: listen.interface.clone(),
            dual_stack: listen.dual_stack,
        }
    }

    /// Whether clients of this listener come to that one where their ports overlap.
    pub(super) fn is_succeeded_by(&self, new: &Self) -> bool {
        let (old, new) = (self.address.ip(), new.address.ip());
        old.is_unspecified() || new.is_unspecified() || old.to_canonical() == new.to_canonical()
    }

    /// The range that is to be led to `listener`.
    pub(super) fn range(&self, ports: PortRange, listener: &Arc<Listener>) -> steering::Range {
        let listener = Arc::clone(listener);
        steering::Range { address: self.address.ip(), ports, dual_stack: self.dual_stack, listener }
    }

    /// Whoever else listens on a port of a range that is to be steered would get no connections any more. `ours` tells our
    /// own listeners.
    pub(super) fn taken(
        &self,
        wanted: &Wanted<'_>,
        ours: impl Fn(SocketAddr) -> bool,
        owners: &PortOwners,
    ) -> Vec<BindError> {
        let ports = wanted.ports;
        let mut others = port_owner::listening_among(self.address.ip(), ports.first()..=ports.last());
        others.retain(|address| !ours(*address));
        let mut errors = Vec::new();
        for address in others {
            let owners = owners.of(address);
            let only_us = !owners.is_empty() && owners.iter().all(|owner| owner.pid == std::process::id());
            if !only_us {
                let reason = BindReason::InUse(owners);
                errors.push(BindError { service: wanted.service.name.clone(), address, reason });
            }
        }
        errors
    }

    /// Opens so many sockets of it. `ours`: a listener of this process has the port.
    pub(super) fn open(
        &self,
        wanted: &Wanted<'_>,
        sockets: usize,
        ours: bool,
        owners: &PortOwners,
    ) -> Result<Vec<Arc<Listener>>, BindError> {
        let options = ListenOptions {
            address: self.address,
            interface: self.interface.as_ref().map(InterfaceName::as_str),
            nonlocal: wanted.listen.nonlocal,
            dual_stack: self.dual_stack,
            shared: true,
            backlog: wanted.service.backlog,
        };
        if let Some(descriptor) = &wanted.listen.inherited {
            return self.adopt(descriptor, wanted, sockets);
        }
        self.probe(options, ours, owners)
            .and_then(|()| (0..sockets).map(|_| Listener::open(options).map(Arc::new)).collect::<io::Result<_>>())
            .map_err(|error| BindError {
                service: wanted.service.name.clone(),
                address: self.address,
                reason: self.reason(&error, owners),
            })
    }

    /// A socket that the process was started with: every worker waits at it.
    fn adopt(
        &self,
        descriptor: &Descriptor,
        wanted: &Wanted<'_>,
        sockets: usize,
    ) -> Result<Vec<Arc<Listener>>, BindError> {
        let take = || {
            let listener = Listener::adopt(inherited::socket(descriptor)?, wanted.service.backlog)?;
            let address = listener.local_addr()?;
            if address != self.address {
                return Err(io::Error::other(format!("{descriptor} listens on {address}")));
            }
            Ok(Arc::new(listener))
        };
        (0..sockets).map(|_| take()).collect::<io::Result<_>>().map_err(|error| BindError {
            service: wanted.service.name.clone(),
            address: self.address,
            reason: BindReason::Other(error.to_string()),
        })
    }

    /// A port that only this process has, on another address, is no obstacle: all our sockets share.
    fn probe(&self, options: ListenOptions<'_>, ours: bool, owners: &PortOwners) -> io::Result<()> {
        match Listener::probe(options) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && ours => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let owners = owners.of(self.address);
                let only_us = !owners.is_empty() && owners.iter().all(|owner| owner.pid == std::process::id());
                if only_us { Ok(()) } else { Err(error) }
            }
            other => other,
        }
    }

    fn reason(&self, error: &io::Error, owners: &PortOwners) -> BindReason {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::AddrInUse, _) => {
                let mut owners = owners.of(self.address);
                owners.retain(|owner| owner.pid != std::process::id());
                BindReason::InUse(owners)
            }
            (io::ErrorKind::AddrNotAvailable, _) => BindReason::NotLocal,
            (io::ErrorKind::PermissionDenied, _) => BindReason::Permission,
            (_, Some(libc::ENODEV)) => {
                BindReason::NoInterface(self.interface.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            (_, Some(libc::EMFILE | libc::ENFILE)) => BindReason::Descriptors,
            _ => BindReason::Other(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, address: &str, ports: (u16, u16), interface: Option<&str>) -> Service {
        let listen = ListenAddress {
            interface: interface.map(|name| name.parse().unwrap()),
            ..ListenAddress::new(address.parse().unwrap(), PortRange::new(ports.0, ports.1).unwrap())
        };
        Service { listen: vec![listen], ..Service::new(name, "p") }
    }

    /// Who is steered and who is led inside of a range, by name.
    fn led(services: &[Service]) -> (Vec<&str>, Vec<&str>) {
        let wanted = wanted(services, true, |_, _| false).unwrap();
        let names = |which: fn(&Wanted<'_>) -> bool| {
            let mut names: Vec<&str> =
                wanted.values().filter(|by| which(by)).map(|by| by.service.name.as_str()).collect();
            names.sort_unstable();
            names
        };
        (names(|by| by.steered), names(|by| by.inside))
    }

    #[test]
    fn single_addresses_inside_of_a_steered_range_are_led_too() {
        let all = service("all", "0.0.0.0", (10_000, 20_000), None);
        let one = service("one", "192.0.2.1", (15_000, 15_001), None);
        let beside = service("beside", "192.0.2.1", (20_001, 20_001), None);
        let other = service("other", "::1", (15_000, 15_000), None);
        let range = service("range", "192.0.2.2", (10_000, 10_100), None);
        let both = [all.clone(), one.clone(), beside, other, range];
        assert_eq!(led(&both), (vec!["all", "range"], vec!["one", "one"]));
        // An interface is the kernel's business.
        let tied = service("tied", "192.0.2.1", (15_000, 15_000), Some("lo"));
        assert_eq!(led(&[all, tied]), (vec![], vec![]));
        let v6 = service("all", "::", (10_000, 20_000), None);
        assert_eq!(led(&[v6.clone(), one.clone()]), (vec!["all"], vec![]));
        let mut dual = v6;
        dual.listen[0].dual_stack = true;
        assert_eq!(led(&[dual, one]), (vec!["all"], vec!["one", "one"]));
    }
}
