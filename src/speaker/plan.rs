//! What the speaker runs: the part of a configuration that is its business.

use std::collections::BTreeSet;

use crate::model::{Config, InterfaceName, SyncGroup, VirtualRouter};

/// The virtual routers and what binds them together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The routers.
    pub routers: Vec<VirtualRouter>,
    /// Those that move together.
    pub groups: Vec<SyncGroup>,
}

impl From<&Config> for Plan {
    fn from(config: &Config) -> Self {
        Self { routers: config.routers.clone(), groups: config.groups.clone() }
    }
}

impl From<Vec<VirtualRouter>> for Plan {
    fn from(routers: Vec<VirtualRouter>) -> Self {
        Self { routers, ..Self::default() }
    }
}

impl Plan {
    /// The group that a router is in.
    pub(super) fn group_of(&self, router: &str) -> Option<&SyncGroup> {
        self.groups.iter().find(|group| group.routers.iter().any(|member| member == router))
    }
}

/// The interfaces that have to be there for a router.
pub(super) fn interfaces_of(router: &VirtualRouter) -> BTreeSet<&InterfaceName> {
    let vmac = router.vmac.as_ref().map(|vmac| &vmac.name);
    let addresses = router.owned().map(|address| &address.interface).filter(|name| Some(*name) != vmac);
    router.channels().chain(router.tracked_interfaces()).chain(addresses).collect()
}
