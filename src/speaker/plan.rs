//! What the speaker runs: the part of a configuration that is its business.

use std::collections::BTreeSet;

use super::vmac;
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
    /// The same, with each address on the interface it is set on.
    pub(super) fn placed(&self) -> Self {
        Self { routers: self.routers.iter().map(vmac::place).collect(), groups: self.groups.clone() }
    }

    /// The group that a router is in.
    pub(super) fn group_of(&self, router: &str) -> Option<&SyncGroup> {
        self.groups.iter().find(|group| group.routers.iter().any(|member| member == router))
    }
}

/// The interfaces that a router names.
pub(super) fn interfaces_of(router: &VirtualRouter) -> BTreeSet<&InterfaceName> {
    let addresses = router.owned().map(|address| &address.interface);
    router.channels().chain(router.tracked_interfaces()).chain(addresses).collect()
}
