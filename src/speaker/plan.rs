//! What the speaker runs: the part of a configuration that is its business.

use std::collections::BTreeSet;

use super::vmac;
use crate::model::returning;
use crate::model::{Config, InterfaceName, Route, Rule, SyncGroup, VirtualRouter};

/// The virtual routers, what binds them together, and what goes with them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The routers.
    pub routers: Vec<VirtualRouter>,
    /// Those that move together.
    pub groups: Vec<SyncGroup>,
    /// Routes that are there as long as the process runs.
    pub routes: Vec<Route>,
    /// Rules that are there as long as the process runs.
    pub rules: Vec<Rule>,
}

impl From<&Config> for Plan {
    fn from(config: &Config) -> Self {
        let (mut routes, mut rules) = (config.routes.clone(), config.rules.clone());
        if config.is_transparent() {
            routes.extend(returning::routes());
            rules.extend(returning::rules());
        }
        Self { routers: config.routers.clone(), groups: config.groups.clone(), routes, rules }
    }
}

impl From<Vec<VirtualRouter>> for Plan {
    fn from(routers: Vec<VirtualRouter>) -> Self {
        Self { routers, ..Self::default() }
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.routers.is_empty() && self.routes.is_empty() && self.rules.is_empty()
    }

    /// With every address where it is to be: those that name the interface of a router with a VMAC are on the VMAC.
    pub(super) fn placed(&self) -> Self {
        Self { routers: self.routers.iter().map(vmac::place).collect(), ..self.clone() }
    }

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
