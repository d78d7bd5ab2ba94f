//! Removing what a run left behind that nobody undid.

use std::io;

use super::netlink;
use crate::model::{Prefix, VirtualAddress};

/// Removes every address of this network namespace that carries this program's mark, and the `configured` ones on their
/// interfaces, whoever set them. Returns those removed, with their interface. For `vipgate cleanup` and ExecStopPost.
///
/// Fails when the kernel refuses, such as without CAP_NET_ADMIN; what could be removed is removed.
pub fn cleanup(configured: &[VirtualAddress]) -> io::Result<Vec<(String, Prefix)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(remove_ours(configured))
}

async fn remove_ours(configured: &[VirtualAddress]) -> io::Result<Vec<(String, Prefix)>> {
    let handle = netlink::connect()?;
    let interfaces = netlink::dump(&handle).await?;
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
    let results = netlink::remove(&handle, &removals).await;
    if let Some(refused) = results.iter().find_map(|result| result.err()) {
        return Err(refused.into());
    }
    Ok(ours.into_iter().map(|(_, interface, prefix)| (interface, prefix)).collect())
}
