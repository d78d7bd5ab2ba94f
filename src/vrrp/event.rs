//! What a router is told.

use std::net::IpAddr;
use std::time::Duration;

use super::tracking::Effect;
use crate::model::{Interval, Priority, VirtualRouter};
use crate::wire::vrrp::Stamp;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An advertisement arrived and was admitted ([`Router::admit`](super::Router::admit)).
    Advert(Heard),
    /// One of its paths is up.
    LinkUp,
    /// All its paths are down or gone.
    LinkDown,
    /// The primary source address for adverts on its own interface changed, or is gone.
    LocalAddress(Option<IpAddr>),
    /// The source addresses on its further paths, in the order of [`VirtualRouter::paths`]; none where there is none.
    PathAddresses(Vec<Option<IpAddr>>),
    /// Whether the services it fronts can be served here.
    Ready(bool),
    /// What the trackers it follows amount to.
    Tracked(Effect),
    /// Give the addresses to whoever takes them.
    Handover,
    /// Give the addresses away and end; `Left` follows within 2 s.
    Stop,
    /// Another node announced this address (gratuitous ARP, unsolicited NA). Heard while `Watch(true)` holds.
    SuccessorAnnounced(IpAddr),
    /// Somebody on this node takes the addresses away again and again.
    Contested,
    /// The process that advertised from this address is known to be dead.
    PeerDied(IpAddr),
    /// Neither take over nor give up of its own accord, or do so again.
    Freeze(bool),
    /// Use this priority instead of the configured one; none: the configured one again.
    SetPriority(Option<Priority>),
    /// It is a member of a sync group from now on, or of none.
    Grouped(bool),
    /// The configuration changed. Interface, family and VRID stay.
    Reconfigure(Box<VirtualRouter>),
    /// The configuration changed, its own interface included; family and VRID stay.
    Move {
        /// The configuration now.
        config: Box<VirtualRouter>,
        /// The source address for adverts there.
        local: Option<IpAddr>,
        /// Whether one of its paths is up.
        link_up: bool,
    },
    /// The shell woke this much later than it had to, for [`next_deadline`](super::Router::next_deadline) or
    /// [`pulse`](super::Router::pulse) (a suspended machine, starvation).
    Woke {
        /// How much too late.
        late_by: Duration,
    },
}

/// An advertisement this router takes into account; only [`Router::admit`](super::Router::admit) makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub(super) source: IpAddr,
    /// 0: its own interface, then the further ones.
    pub(super) path: usize,
    pub(super) priority: u8,
    pub(super) interval: Interval,
    pub(super) same_addresses: bool,
    /// When its sender sealed it, where there is a key.
    pub(super) stamp: Option<Stamp>,
}

impl Heard {
    /// Who sent it.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Which path it came on; 0: the router's own interface.
    #[must_use]
    pub fn path(&self) -> usize {
        self.path
    }

    /// The sender's priority; 0: it gives up being master.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Whether it lists the addresses configured here, in any order. A difference is worth a warning, no more.
    #[must_use]
    pub fn same_addresses(&self) -> bool {
        self.same_addresses
    }
}
