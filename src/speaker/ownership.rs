//! Which addresses are to be on this node, as a value: what the routers want against what the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::RouterId;
use super::interfaces::{Change, Interfaces};
use crate::model::{Prefix, Priority, VirtualAddress, VirtualRouter};

/// An address on an interface, whatever its prefix length.
pub(super) type Key = (String, IpAddr);

/// What the routers want.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    configured: BTreeSet<Key>,
    wanted: BTreeMap<Key, (RouterId, VirtualAddress)>,
    releasing: BTreeMap<Key, VirtualAddress>,
}

/// What is to be done so that the kernel has what the routers want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repair {
    /// Somebody removed it: set it again and announce it.
    PutBack {
        /// Interface index.
        index: u32,
        /// The router it belongs to.
        router: RouterId,
        /// The address.
        address: VirtualAddress,
    },
    /// It is on this node and must not be.
    Remove {
        /// Interface index.
        index: u32,
        /// The address as it is set.
        prefix: Prefix,
    },
}

impl Ownership {
    /// The addresses that are ours whoever set them.
    pub(super) fn configure(&mut self, configured: BTreeSet<Key>) {
        self.configured = configured;
    }

    /// From now on `router` wants these.
    pub(super) fn acquire(&mut self, router: RouterId, addresses: &[VirtualAddress]) {
        for address in addresses {
            self.released(std::slice::from_ref(address));
            self.wanted.insert(key(address), (router, address.clone()));
        }
    }

    /// From now on `router` does not want these. They stay where they are until [`released`](Self::released).
    pub(super) fn release(&mut self, router: RouterId, addresses: &[VirtualAddress]) {
        for address in addresses {
            let key = key(address);
            if self.wanted.get(&key).is_none_or(|(owner, _)| *owner == router) {
                self.wanted.remove(&key);
                self.releasing.insert(key, address.clone());
            }
        }
    }

    /// Whether nobody wants the very same address now: a release that comes to its turn holds, even if an earlier one,
    /// called off meanwhile, ended after it was asked for.
    pub(super) fn is_unwanted(&self, address: &VirtualAddress) -> bool {
        self.wanted.get(&key(address)).is_none_or(|(_, wanted)| wanted != address)
    }

    /// Whether it is on its way out.
    fn is_releasing(&self, address: &VirtualAddress) -> bool {
        self.releasing.get(&key(address)) == Some(address)
    }

    /// The release of these is done, or called off.
    pub(super) fn released(&mut self, addresses: &[VirtualAddress]) {
        for address in addresses {
            if self.is_releasing(address) {
                self.releasing.remove(&key(address));
            }
        }
    }

    /// Whether `router` wants this address now.
    pub(super) fn is_wanted(&self, router: RouterId, address: &VirtualAddress) -> bool {
        self.wanted.get(&key(address)).is_some_and(|(owner, wanted)| *owner == router && wanted == address)
    }

    /// Whether `router` wants any address now.
    pub(super) fn wants_any(&self, router: RouterId) -> bool {
        self.wanted.values().any(|(owner, _)| *owner == router)
    }

    /// The names of the interfaces with an address that is wanted.
    pub(super) fn wanted_on(&self) -> impl Iterator<Item = &str> {
        self.wanted.keys().map(|(name, _)| name.as_str())
    }

    /// Who wants an address, and how.
    pub(super) fn owner(&self, key: &Key) -> Option<(RouterId, VirtualAddress)> {
        self.wanted.get(key).cloned()
    }

    /// Every address that is, or may be, on this node for a router.
    pub(super) fn present(&self) -> impl Iterator<Item = IpAddr> {
        self.wanted.keys().chain(self.releasing.keys()).map(|(_, address)| *address)
    }

    /// What a change calls for.
    pub(super) fn repair(&self, interfaces: &Interfaces, change: &Change) -> Vec<Repair> {
        match change {
            Change::Link { name, .. } => self.missing(interfaces).filter(|repair| repair.is_on(name)).collect(),
            Change::AddressSet { index, prefix } => self.judge(interfaces, *index, *prefix).into_iter().collect(),
            Change::AddressGone { index, prefix } => self
                .missing(interfaces)
                .filter(|repair| match repair {
                    Repair::PutBack { index: there, address, .. } => there == index && address.prefix == *prefix,
                    Repair::Remove { .. } => false,
                })
                .collect(),
        }
    }

    /// Everything that is not as it should be: after the start, and after notifications were lost.
    pub(super) fn repair_all(&self, interfaces: &Interfaces) -> Vec<Repair> {
        let unwanted = interfaces.iter().flat_map(|(index, link)| {
            link.addresses.iter().filter_map(move |address| self.judge(interfaces, index, address.prefix))
        });
        unwanted.chain(self.missing(interfaces)).collect()
    }

    /// What is wanted and not there. An interface that is down is let be: its routers are about to hear of it.
    fn missing(&self, interfaces: &Interfaces) -> impl Iterator<Item = Repair> {
        self.wanted.iter().filter_map(|((name, _), (router, address))| {
            let (index, link) = interfaces.by_name(name)?;
            let there = link.addresses.iter().any(|known| known.prefix == address.prefix);
            (link.up && !there).then(|| Repair::PutBack { index, router: *router, address: address.clone() })
        })
    }

    /// An address that is set: ours by its mark or because a router may own it, and wanted by none, has to go.
    fn judge(&self, interfaces: &Interfaces, index: u32, prefix: Prefix) -> Option<Repair> {
        let link = interfaces.by_index(index)?;
        let known = link.addresses.iter().find(|address| address.prefix == prefix)?;
        let key = (link.name.clone(), prefix.address);
        let ours = known.ours || self.configured.contains(&key);
        let expected = self.wanted.contains_key(&key) || self.releasing.contains_key(&key);
        (ours && !expected).then_some(Repair::Remove { index, prefix })
    }
}

impl Repair {
    fn is_on(&self, interface: &str) -> bool {
        match self {
            Self::PutBack { address, .. } => address.interface.as_str() == interface,
            Self::Remove { .. } => false,
        }
    }
}

/// The addresses that are ours whoever set them. Not those of an address owner: it may have no other, and must not lose
/// it for being a backup; only our mark makes them ours.
pub(super) fn reclaimable(routers: &[VirtualRouter]) -> BTreeSet<Key> {
    let others = routers.iter().filter(|router| router.priority != Priority::OWNER);
    others.flat_map(VirtualRouter::owned).map(key).collect()
}

/// What an address is known by.
pub(super) fn key(address: &VirtualAddress) -> Key {
    (address.interface.as_str().to_owned(), address.prefix.address)
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::address::{AddressAttribute, AddressProtocol};
    use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

    use super::super::interfaces::OUR_PROTOCOL;
    use super::*;
    use crate::os;

    const VIP: &str = "192.0.2.100/24";

    fn virtual_address(prefix: &str) -> VirtualAddress {
        VirtualAddress::new(prefix.parse().unwrap(), "eth0".parse().unwrap())
    }

    /// eth0, index 2, with these addresses; marked or not.
    fn interfaces(addresses: &[(&str, bool)]) -> Interfaces {
        let mut interfaces = Interfaces::default();
        let mut link = LinkMessage::default();
        link.header.index = 2;
        link.header.flags = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
        link.attributes.push(LinkAttribute::IfName("eth0".into()));
        interfaces.apply(&RouteNetlinkMessage::NewLink(link));
        for (prefix, ours) in addresses {
            let mut message = os::netlink::address(2, prefix.parse().unwrap());
            if *ours {
                message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)));
            }
            interfaces.apply(&RouteNetlinkMessage::NewAddress(message));
        }
        interfaces
    }

    fn ownership() -> Ownership {
        let mut ownership = Ownership::default();
        ownership.configure(BTreeSet::from([key(&virtual_address(VIP))]));
        ownership
    }

    fn removal(prefix: &str) -> Repair {
        Repair::Remove { index: 2, prefix: prefix.parse().unwrap() }
    }

    #[test]
    fn a_backup_has_no_virtual_address_whatever_its_prefix_length() {
        let found = ownership().repair_all(&interfaces(&[("192.0.2.1/24", false), ("192.0.2.100/32", false)]));
        assert_eq!(found, [removal("192.0.2.100/32")]);
    }

    #[test]
    fn an_address_with_our_mark_that_no_file_names_is_removed_and_others_are_not() {
        let found = ownership().repair_all(&interfaces(&[("192.0.2.7/24", true), ("192.0.2.8/24", false)]));
        assert_eq!(found, [removal("192.0.2.7/24")]);
    }

    #[test]
    fn what_a_master_lost_is_put_back() {
        let mut ownership = ownership();
        ownership.acquire(1, &[virtual_address(VIP)]);
        assert_eq!(ownership.repair_all(&interfaces(&[(VIP, true)])), []);
        let gone = Change::AddressGone { index: 2, prefix: VIP.parse().unwrap() };
        let back = Repair::PutBack { index: 2, router: 1, address: virtual_address(VIP) };
        assert_eq!(ownership.repair(&interfaces(&[]), &gone), [back]);
        // Another of its addresses went: nothing of ours.
        let other = Change::AddressGone { index: 2, prefix: "192.0.2.1/24".parse().unwrap() };
        assert_eq!(ownership.repair(&interfaces(&[(VIP, true)]), &other), []);
    }

    #[test]
    fn an_address_being_released_is_neither_put_back_nor_removed_too_early() {
        let mut ownership = ownership();
        ownership.acquire(1, &[virtual_address(VIP)]);
        ownership.release(1, &[virtual_address(VIP)]);
        assert!(ownership.is_releasing(&virtual_address(VIP)));
        assert_eq!(ownership.repair_all(&interfaces(&[(VIP, true)])), []);
        ownership.released(&[virtual_address(VIP)]);
        assert_eq!(ownership.repair_all(&interfaces(&[(VIP, true)])), [removal(VIP)]);
    }

    #[test]
    fn a_release_called_off_does_not_take_a_later_one_with_it() {
        let mut ownership = ownership();
        let address = [virtual_address(VIP)];
        ownership.acquire(1, &address);
        ownership.release(1, &address);
        ownership.acquire(1, &address);
        assert!(!ownership.is_unwanted(&address[0]), "the first is called off");
        ownership.release(1, &address);
        // The first ends only now.
        ownership.released(&address);
        assert!(ownership.is_unwanted(&address[0]));
    }

    #[test]
    fn the_newest_wish_wins() {
        let mut ownership = ownership();
        ownership.acquire(1, &[virtual_address(VIP)]);
        ownership.release(1, &[virtual_address(VIP)]);
        ownership.acquire(2, &[virtual_address(VIP)]);
        assert!(!ownership.is_releasing(&virtual_address(VIP)));
        // The first router's late release does not take it from the second.
        ownership.release(1, &[virtual_address(VIP)]);
        assert!(ownership.is_wanted(2, &virtual_address(VIP)));
        // Another label is another address: the old one goes first.
        let labelled = VirtualAddress { label: Some("eth0:1".into()), ..virtual_address(VIP) };
        ownership.release(2, &[virtual_address(VIP)]);
        ownership.acquire(2, &[labelled]);
        assert!(ownership.is_releasing(&virtual_address(VIP)));
    }
}
