//! Which addresses are to be on this node, as a value: what the routers want against what the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::RouterId;
use super::interfaces::{Change, Interfaces};
use crate::model::{Prefix, VirtualAddress};

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
    /// The addresses any router may ever own.
    pub(super) fn configure(&mut self, configured: impl IntoIterator<Item = Key>) {
        self.configured = configured.into_iter().collect();
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

    /// Whether a release still holds: nobody wanted the very same address again meanwhile.
    pub(super) fn is_releasing(&self, address: &VirtualAddress) -> bool {
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

pub(super) fn key(address: &VirtualAddress) -> Key {
    (address.interface.as_str().to_owned(), address.prefix.address)
}
