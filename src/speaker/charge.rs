//! What the thread `addresses` needs to know of a router's configuration.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::{Priority, VirtualRouter};

/// A router, as the thread knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Charge {
    /// Its name.
    pub(super) name: String,
    /// It yields when one of its addresses was put back more often than this within a minute; 0: never.
    pub(super) fight_limit: u32,
    /// Addresses that others need when this process is dead: never fenced.
    pub(super) unfenced: BTreeSet<IpAddr>,
    /// Who is asked after a takeover, beside the gateways.
    pub(super) ask: Vec<IpAddr>,
    /// How long its `before_master` may take, if it has one.
    pub(super) before_master: Option<Duration>,
}

impl Charge {
    /// What there is to know of it.
    pub(super) fn of(router: &VirtualRouter) -> Self {
        // The owner of an address may have no other.
        let owned = router.owned().filter(|_| router.priority == Priority::OWNER);
        Self {
            name: router.name.clone(),
            fight_limit: router.fight_limit,
            unfenced: owned.map(|address| address.prefix.address).chain(router.source).collect(),
            ask: router.announce.ask.clone(),
            before_master: router.hooks.before_master.as_ref().map(|command| command.timeout),
        }
    }
}
