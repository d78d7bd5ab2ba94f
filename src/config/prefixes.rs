//! What a file alone cannot tell: whether its addresses belong on the interfaces of this machine.

use std::net::IpAddr;

use crate::model::{Config, Family, InterfaceName, Prefix, VirtualAddress, VirtualRouter};

/// A line for each virtual address that no prefix of its interface contains: neighbours would ask their router for it,
/// not this link. `there` are the machine's addresses; an interface that is not among them is left out.
#[must_use]
pub fn outside_prefixes(config: &Config, there: &[(InterfaceName, Prefix)]) -> Vec<String> {
    let owned: Vec<Prefix> =
        config.routers.iter().flat_map(VirtualRouter::owned).map(|address| address.prefix).collect();
    // What a former run left behind says nothing about the link.
    let native = |prefix: &Prefix| !owned.iter().any(|own| own.address == prefix.address);
    let outside = |address: &&VirtualAddress| {
        let mut own = there.iter().filter(|(name, _)| *name == address.interface).peekable();
        own.peek().is_some() && !own.any(|(_, prefix)| native(prefix) && contains(*prefix, address.prefix.address))
    };
    let lines = config.routers.iter().flat_map(|router| {
        router.owned().filter(outside).map(|address| {
            let VirtualAddress { prefix, interface, .. } = address;
            format!(
                "virtual router {}: {} is in no prefix of {interface}: its neighbours there will not ask for it",
                router.name, prefix.address
            )
        })
    });
    lines.collect()
}

fn contains(prefix: Prefix, address: IpAddr) -> bool {
    let network = |address| super::validate::network(Prefix { address, ..prefix });
    Family::of(prefix.address) == Family::of(address) && network(prefix.address) == network(address)
}
