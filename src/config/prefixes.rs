//! What a file alone cannot tell: whether its addresses belong on the interfaces of this machine.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::model::{Config, Family, InterfaceName, Prefix, Priority, VirtualAddress, VirtualRouter};

/// An address that does not belong on its interface.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit<'c> {
    /// The router that owns it.
    pub router: &'c str,
    /// The address.
    pub address: IpAddr,
    /// What is to be said.
    pub message: String,
}

/// Each virtual address that no prefix of its interface contains: neighbours would ask their router for it, not this
/// link. `there` are the machine's addresses; an interface with none of its own is left out.
#[must_use]
pub fn outside_prefixes<'c>(config: &'c Config, there: &[(InterfaceName, Prefix)]) -> Vec<Misfit<'c>> {
    // What a master has, or a former run left behind, says nothing about the link; what an address owner has does.
    let others = config.routers.iter().filter(|router| router.priority != Priority::OWNER);
    let owned: HashSet<IpAddr> = others.flat_map(VirtualRouter::owned).map(|address| address.prefix.address).collect();
    let mut links: HashMap<&InterfaceName, Vec<Prefix>> = HashMap::new();
    for (name, prefix) in there.iter().filter(|(_, prefix)| !owned.contains(&prefix.address)) {
        links.entry(name).or_default().push(*prefix);
    }
    let outside = |address: &&VirtualAddress| {
        links
            .get(&address.interface)
            .is_some_and(|link| !link.iter().any(|prefix| contains(*prefix, address.prefix.address)))
    };
    let misfits = config.routers.iter().flat_map(|router| {
        router.owned().filter(outside).map(|address| {
            let VirtualAddress { prefix, interface, .. } = address;
            let message = format!(
                "virtual router {}: {} is in no prefix of {interface}: its neighbours there will not ask for it",
                router.name, prefix.address
            );
            Misfit { router: &router.name, address: prefix.address, message }
        })
    });
    misfits.collect()
}

fn contains(prefix: Prefix, address: IpAddr) -> bool {
    Family::of(prefix.address) == Family::of(address) && prefix.network() == Prefix { address, ..prefix }.network()
}
