//! The numbers of virtual routers: one on each interface, or several routers that speak to different peers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::findings::Findings;
use crate::config::diagnostic::Diagnostic;
use crate::config::raw;
use crate::config::source::Location;
use crate::model::{Family, InterfaceName, VirtualRouter};

/// Who has which number where: an index into the routers, and where it is written.
#[derive(Default)]
pub(super) struct Identifiers(HashMap<(InterfaceName, Family, u64), Vec<(usize, Location)>>);

impl Identifiers {
    /// Takes the number of `router`, which comes after `others`, on each of its interfaces. Returns those of them that
    /// have it too and speak to other peers.
    pub(super) fn take(
        &mut self,
        raw: &raw::VirtualRouter,
        router: &VirtualRouter,
        others: &[VirtualRouter],
        findings: &mut Findings<'_>,
    ) -> BTreeSet<usize> {
        let mut apart = BTreeSet::new();
        let Some(vrid) = raw.vrid else { return apart };
        for channel in router.channels().collect::<BTreeSet<_>>() {
            let key = (channel.clone(), router.family, vrid.value);
            let holders = self.0.entry(key).or_default();
            let taken =
                holders.iter().find(|(other, _)| !others.get(*other).is_some_and(|other| differ(other, router)));
            if let Some((_, first)) = taken {
                let message = format!("VRID {} is taken on {channel} for {}", vrid.value, router.family);
                let error = Diagnostic::error(vrid.at, message).related(*first, "by this one");
                findings
                    .push(error.help("give each router of an interface its own number, 1 to 255, alike on both nodes"));
                return apart;
            }
            apart.extend(holders.iter().map(|(other, _)| *other));
            holders.push((others.len(), vrid.at));
        }
        apart
    }
}

/// Whether two routers with one number speak by unicast, and to different peers.
fn differ(one: &VirtualRouter, other: &VirtualRouter) -> bool {
    let peers = |router: &VirtualRouter| router.peers.iter().map(|peer| peer.address).collect::<HashSet<IpAddr>>();
    let (one, other) = (peers(one), peers(other));
    !one.is_empty() && !other.is_empty() && one.is_disjoint(&other)
}
