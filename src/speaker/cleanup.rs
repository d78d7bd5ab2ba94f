//! Removing what a run left behind that nobody undid.

use std::fmt;
use std::io;

use rtnetlink::Handle;

use super::{netlink, routes, rules, vmac};
use crate::model::{Prefix, VirtualAddress};

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Addresses, with their interface.
    pub addresses: Vec<(String, Prefix)>,
    /// How many routes.
    pub routes: usize,
    /// How many rules.
    pub rules: usize,
    /// Interfaces with a virtual hardware address.
    pub links: Vec<String>,
}

impl Removed {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let addresses = self.addresses.iter().map(|(interface, prefix)| format!("{prefix} from {interface}"));
        let links = self.links.iter().map(|link| format!("interface {link}"));
        let rest = count(self.routes, "route").into_iter().chain(count(self.rules, "rule")).chain(links);
        f.write_str(&addresses.chain(rest).collect::<Vec<_>>().join(", "))
    }
}

/// Removes every address, route, rule and interface of this network namespace that carries this program's mark, and the
/// `configured` addresses on their interfaces, whoever set them. For `vipgate cleanup` and ExecStopPost.
///
/// Fails when the kernel refuses, such as without CAP_NET_ADMIN; what could be removed is removed.
pub fn cleanup(configured: &[VirtualAddress]) -> io::Result<Removed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let handle = netlink::connect()?;
        let addresses = remove_addresses(&handle, configured).await;
        let rest = remove_routing_and_links(&handle).await?;
        Ok(Removed { addresses: addresses?, ..rest })
    })
}

async fn remove_addresses(handle: &Handle, configured: &[VirtualAddress]) -> io::Result<Vec<(String, Prefix)>> {
    let interfaces = netlink::dump(handle).await?;
    let mut ours: Vec<(u32, String, Prefix)> = Vec::new();
    for (index, link) in interfaces.iter() {
        let is_configured = |prefix: Prefix| {
            configured
                .iter()
                .any(|address| address.interface.as_str() == link.name && address.prefix.address == prefix.address)
        };
        // Last set, first removed: an IPv4 address takes those of its subnet with it that were set after it.
        let here = link.addresses.iter().rev().filter(|address| address.ours || is_configured(address.prefix));
        ours.extend(here.map(|address| (index, link.name.clone(), address.prefix)));
    }
    let removals: Vec<(u32, Prefix)> = ours.iter().map(|(index, _, prefix)| (*index, *prefix)).collect();
    let results = netlink::remove(handle, &removals).await;
    if let Some(refused) = results.iter().find_map(|result| result.err()) {
        return Err(refused.into());
    }
    Ok(ours.into_iter().map(|(_, interface, prefix)| (interface, prefix)).collect())
}

/// Removes every rule, route and interface of ours. What could be removed is removed when the kernel refuses.
pub(super) async fn remove_routing_and_links(handle: &Handle) -> io::Result<Removed> {
    let mut results = Vec::new();
    let found = rules::ours(handle).await.map_err(io::Error::other)?;
    let mut removed = Removed { rules: found.len(), ..Removed::default() };
    for rule in found {
        results.push(rules::remove_message(handle, rule).await);
    }
    let found = routes::ours(handle).await.map_err(io::Error::other)?;
    removed.routes = found.len();
    results.extend(routes::remove_messages(handle, found).await);
    for link in vmac::ours(handle).await.map_err(io::Error::other)? {
        results.push(vmac::remove(handle, &link).await);
        removed.links.push(link.wanted.name);
    }
    results.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(removed)
}
