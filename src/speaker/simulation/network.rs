//! What is configured: the nodes' own addresses, the virtual ones, and the routers.

use std::time::Duration;

use super::ROUTER;
use super::host::INTERFACE;
use super::seeds::Random;
use crate::model::{
    Announce, Family, InitialState, Interval, Peer, Prefix, Priority, Scope, Version, VirtualAddress, VirtualRouter,
    Vrid,
};

const VIRTUAL_V4: [&str; 4] = ["10.0.0.101/24", "10.0.0.102/32", "10.9.0.1/24", "10.9.0.2/24"];
const VIRTUAL_V6: [&str; 3] = ["fe80::101/64", "2001:db8::101/64", "2001:db8::102/64"];

/// What all nodes have in common.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) nodes: usize,
    pub(super) family: Family,
    version: Version,
    unicast: bool,
    pub(super) interval: Interval,
    /// The address every configuration has.
    pub(super) constant: Prefix,
    /// Some may be address owners: what somebody else sets on those is theirs.
    pub(super) owners: bool,
    /// Some preempt late.
    pub(super) preempt_delay: Duration,
}

impl Network {
    pub(super) fn any(random: &mut Random) -> Self {
        let family = random.pick(&[Family::V4, Family::V4, Family::V4, Family::V6]);
        let version = if family == Family::V4 && random.chance(20) { Version::V2 } else { Version::V3 };
        let centiseconds = match version {
            Version::V2 => 100,
            Version::V3 => random.pick(&[5, 10, 20, 100]),
        };
        Self {
            nodes: 2 + random.below(4) as usize,
            family,
            version,
            unicast: random.chance(20),
            interval: Interval::from_centiseconds(centiseconds).unwrap(),
            constant: prefix(random.pick(pool(family))),
            owners: random.chance(25),
            preempt_delay: Duration::from_millis(random.pick(&[0, 0, 0, 500])),
        }
    }

    /// The address of a node itself.
    pub(super) fn own(&self, at: usize) -> Prefix {
        match self.family {
            Family::V4 => prefix(&format!("10.0.0.{}/24", 1 + at)),
            Family::V6 => prefix(&format!("fe80::{}/64", 1 + at)),
        }
    }

    /// Another one for it.
    pub(super) fn renumbered(&self, at: usize, random: &mut Random) -> Option<Prefix> {
        let (host, net) = (1 + at, 1 + random.below(90));
        match self.family {
            // Peers know each other by address.
            _ if self.unicast => None,
            Family::V4 => Some(prefix(&format!("10.0.0.{}/24", host as u32 * 10 + net % 10))),
            Family::V6 => Some(prefix(&format!("fe80::{net}:{host}/64"))),
        }
    }

    /// Every address that may ever be virtual.
    pub(super) fn virtual_prefixes(&self) -> impl Iterator<Item = Prefix> {
        pool(self.family).iter().map(|text| prefix(text))
    }

    /// The skew time, at most.
    pub(super) fn skew(&self, interval: Interval) -> Duration {
        match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => interval.as_duration(),
        }
    }

    /// The virtual addresses of one configuration.
    pub(super) fn any_addresses(&self, random: &mut Random) -> Vec<VirtualAddress> {
        let mut chosen: Vec<Prefix> =
            self.virtual_prefixes().filter(|prefix| *prefix == self.constant || random.chance(50)).collect();
        let turn = random.below(chosen.len() as u32) as usize;
        chosen.rotate_left(turn);
        chosen.into_iter().map(virtual_address).collect()
    }

    /// Another interval, for all.
    pub(super) fn another_interval(&mut self, random: &mut Random) {
        if self.version == Version::V3 {
            self.interval = Interval::from_centiseconds(random.pick(&[5, 10, 20, 100])).unwrap();
        }
    }

    /// A router of one node.
    pub(super) fn router(&self, at: usize, addresses: &[VirtualAddress], random: &mut Random) -> VirtualRouter {
        let highest = if self.owners { 255 } else { 253 };
        let others = (0..self.nodes).filter(|other| *other != at && self.unicast);
        VirtualRouter {
            version: self.version,
            priority: Priority::new(random.pick(&[1, 50, 100, 100, 101, 150, 254, highest])).unwrap(),
            interval: self.interval,
            initial: random.pick(&[InitialState::Master, InitialState::Backup]),
            preempt: random.chance(70),
            preempt_delay: self.preempt_delay,
            peers: others.map(|other| Peer::from(self.own(other).address)).collect(),
            addresses: addresses.to_vec(),
            announce: Announce {
                refresh: random.pick(&[None, None, Some(Duration::from_secs(1))]),
                ..Announce::default()
            },
            ..VirtualRouter::new(ROUTER, INTERFACE.parse().unwrap(), Vrid::new(51).unwrap(), self.family)
        }
    }
}

fn pool(family: Family) -> &'static [&'static str] {
    match family {
        Family::V4 => &VIRTUAL_V4,
        Family::V6 => &VIRTUAL_V6,
    }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn virtual_address(prefix: Prefix) -> VirtualAddress {
    VirtualAddress { prefix, interface: INTERFACE.parse().unwrap(), label: None, scope: Scope::Global, broadcast: None }
}
