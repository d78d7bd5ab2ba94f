//! One virtual router at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{ago, load, seconds};
use crate::model::{Config, Version, VirtualRouter};
use crate::stats::registry::Registry;
use crate::stats::router::{RejectReason, Role};

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterSnapshot {
    /// Its name.
    pub name: String,
    /// Its role now.
    pub role: Role,
    /// Why it is in that role.
    pub reason: String,
    /// For how long it has been in that role.
    pub since_seconds: Option<f64>,
    /// The interface it speaks on.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Protocol version, 2 or 3.
    pub protocol: u8,
    /// Advertisement interval.
    pub interval_seconds: f64,
    /// Priority it advertises or would advertise.
    pub priority: u8,
    /// Priority it is configured with.
    pub configured_priority: u8,
    /// Whether the services it fronts can be served here.
    pub ready: bool,
    /// The master last heard.
    pub master: Option<MasterSnapshot>,
    /// How long ago an acceptable advertisement of another router was heard.
    pub heard_seconds: Option<f64>,
    /// What it owns while master, as address/prefix length.
    pub addresses: Vec<String>,
    /// The services it fronts.
    pub fronts: Vec<String>,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements accepted.
    pub received: u64,
    /// Sends that failed.
    pub send_errors: u64,
    /// Sends that this node's firewall refused.
    pub send_refused: u64,
    /// Priority-0 advertisements sent.
    pub zero_sent: u64,
    /// Priority-0 advertisements received.
    pub zero_received: u64,
    /// Times it became master.
    pub became_master: u64,
    /// Gratuitous ARP and NA messages sent.
    pub announcements: u64,
    /// Packets not accepted, by reason; every reason is there.
    pub rejected: BTreeMap<String, u64>,
    /// Times it became master because nobody was heard.
    pub none_heard: u64,
    /// Times another master was heard beside this one.
    pub two_masters: u64,
    /// How long two masters were heard, in all.
    pub two_masters_seconds: f64,
    /// Times somebody else took an address away.
    pub addresses_taken: u64,
    /// Programs on this node that may have taken them.
    #[serde(default)]
    pub suspects: Option<String>,
    /// Times somebody else announced an address of this master.
    #[serde(default)]
    pub two_announcers: u64,
    /// The packet that was not accepted last.
    pub last_rejected: Option<RejectedSnapshot>,
    /// Two masters are heard, for how long.
    pub contested_seconds: Option<f64>,
    /// The firewall of this node refuses its advertisements now.
    pub refused: bool,
    /// Somebody else uses its VRID for other addresses.
    pub stranger: Option<StrangerSnapshot>,
    /// An operator froze it.
    pub frozen: bool,
    /// The priority an operator set instead of the configured one.
    pub priority_override: Option<u8>,
    /// What it follows and how that is.
    pub tracks: Vec<String>,
    /// How its session with the master is, where one was tried.
    pub session: Option<String>,
    /// The sync group it is in.
    pub group: Option<String>,
}

/// A master that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterSnapshot {
    /// Where its advertisements come from.
    pub address: IpAddr,
    /// The priority it advertises.
    pub priority: u8,
}

/// A packet that was not accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RejectedSnapshot {
    /// Why, as the counters name it.
    pub reason: String,
    /// Who sent it, as its header says.
    pub source: Option<IpAddr>,
    /// How long ago.
    pub ago_seconds: f64,
}

/// Somebody else's virtual router of the same number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrangerSnapshot {
    /// Who sends its advertisements.
    pub source: IpAddr,
    /// The addresses it lists.
    pub addresses: Vec<IpAddr>,
    /// A VRID that was not heard on this interface.
    pub free_vrid: Option<u8>,
    /// How long ago it was heard.
    pub ago_seconds: f64,
}

impl RouterSnapshot {
    pub(super) fn take(registry: &Registry, config: &Config, router: &VirtualRouter, now: Instant) -> Self {
        let stats = registry.router(&router.name);
        let status = stats.status();
        let rejected = RejectReason::ALL.iter().map(|why| (why.label().to_owned(), stats.rejected(*why))).collect();
        Self {
            name: router.name.clone(),
            role: status.role,
            reason: status.reason,
            since_seconds: status.since.map(|since| ago(since, now)),
            interface: router.interface.to_string(),
            vrid: router.vrid.get(),
            protocol: match router.version {
                Version::V2 => 2,
                Version::V3 => 3,
            },
            interval_seconds: seconds(router.interval.as_duration()),
            priority: status.priority,
            configured_priority: router.priority.get(),
            ready: status.ready,
            master: status.master.map(|(address, priority)| MasterSnapshot { address, priority }),
            heard_seconds: status.heard.map(|heard| ago(heard, now)),
            addresses: router.owned().map(|address| address.prefix.to_string()).collect(),
            fronts: config.fronted(router).map(|service| service.name.clone()).collect(),
            sent: load(&stats.sent),
            received: load(&stats.received),
            send_errors: load(&stats.send_errors),
            zero_sent: load(&stats.zero_sent),
            zero_received: load(&stats.zero_received),
            became_master: load(&stats.became_master),
            announcements: load(&stats.announcements),
            rejected,
            send_refused: load(&stats.send_refused),
            none_heard: load(&stats.none_heard),
            two_masters: load(&stats.two_masters),
            two_masters_seconds: seconds(Duration::from_micros(load(&stats.two_masters_micros))),
            addresses_taken: load(&stats.addresses_taken),
            suspects: status.suspects,
            two_announcers: load(&stats.two_announcers),
            last_rejected: status.rejected.map(|packet| RejectedSnapshot {
                reason: packet.reason.label().to_owned(),
                source: packet.source,
                ago_seconds: ago(packet.at, now),
            }),
            contested_seconds: status.contested.map(|since| ago(since, now)),
            refused: status.refused,
            stranger: status.stranger.map(|stranger| StrangerSnapshot {
                source: stranger.source,
                addresses: stranger.addresses,
                free_vrid: stranger.free_vrid,
                ago_seconds: ago(stranger.at, now),
            }),
            frozen: status.frozen,
            priority_override: status.priority_override,
            tracks: status.tracks,
            session: status.session,
            group: config
                .groups
                .iter()
                .find(|group| group.routers.contains(&router.name))
                .map(|group| group.name.clone()),
        }
    }
}
