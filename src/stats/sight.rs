//! What is wrong between the nodes, in one line with its likely cause: split brain has few causes, and each is seen
//! differently by the node that has it.

use super::human;
use super::router::Role;
use super::snapshot::{RouterSnapshot, StrangerSnapshot};

/// A rejected packet is news for so long.
const RECENT_SECONDS: f64 = 10.0;

/// What is wrong between this router and the others, if anything is.
pub(super) fn between_nodes(router: &RouterSnapshot) -> Option<String> {
    let name = &router.name;
    if router.refused {
        return Some(format!(
            "router {name}: this node's firewall refuses its advertisements, so the others hear none and become master \
             too: let IP protocol 112 out on {}",
            router.interface
        ));
    }
    if let Some(StrangerSnapshot { source, addresses, free_vrid, .. }) = &router.stranger {
        let listed: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let free = free_vrid.map_or_else(String::new, |vrid| format!(": take VRID {vrid} here, on both nodes"));
        return Some(format!(
            "router {name}: VRID {} on {} is also used by {source} for {}{free}",
            router.vrid,
            router.interface,
            listed.join(", ")
        ));
    }
    if let Some(rejected) = router.last_rejected.as_ref().filter(|rejected| rejected.ago_seconds < RECENT_SECONDS) {
        let source = rejected.source.map_or_else(|| "somebody".to_owned(), |source| source.to_string());
        return Some(format!(
            "router {name}: advertisements of {source} are rejected ({}): {}; if that is its peer, both become master",
            rejected.reason,
            cause_of_rejection(&rejected.reason)
        ));
    }
    let contested = router.contested_seconds.filter(|_| router.role == Role::Master)?;
    let other = router.master.as_ref().map_or_else(String::new, |master| {
        format!(", the other is {} at priority {}", master.address, master.priority)
    });
    Some(format!(
        "router {name}: two masters heard for {}{other}: it does not hear this node (its firewall, a link that is dead one \
         way, IGMP snooping)",
        human::duration(contested)
    ))
}

/// Why a peer's packets would be rejected so.
fn cause_of_rejection(reason: &str) -> &'static str {
    match reason {
        "version" => "the nodes are configured with different versions of VRRP",
        "authentication" => "the nodes are configured with different passwords, keys or kinds of authentication",
        "interval" => "the nodes are configured with different intervals, which version 2 does not bear",
        "destination" => "one node is configured for unicast, the other for multicast",
        "ttl" => "they crossed a router, or are forged",
        "checksum" => "they are damaged on the way, or computed in another way (see `checksum`)",
        "truncated" | "address-count" | "type" => "they are cut off, or not of a VRRP speaker",
        "unknown-peer" => "it is not one of the configured peers",
        "peer-ttl" => "it is nearer or farther than configured for this peer",
        "unsealed" | "length" => "only one of the nodes has a key (`hmac`)",
        "replayed" => "somebody sends old packets again, or the other node's clock was set back",
        _ => "the nodes are configured differently",
    }
}
