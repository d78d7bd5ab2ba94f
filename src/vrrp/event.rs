//! What a router is told.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::{Interval, VirtualRouter};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An advertisement arrived and was admitted ([`Router::admit`](super::Router::admit)).
    Advert(Heard),
    /// Its own interface and every tracked one are up.
    LinkUp,
    /// Its own interface or a tracked one went down or away.
    LinkDown,
    /// The primary source address for adverts changed, or is gone.
    LocalAddress(Option<IpAddr>),
    /// Whether the services it fronts can be served here.
    Ready(bool),
    /// Give the addresses to whoever takes them.
    Handover,
    /// Give the addresses away and end; `Left` follows within 2 s.
    Stop,
    /// Another node announced this address (gratuitous ARP, unsolicited NA). Heard while `Watch(true)` holds.
    SuccessorAnnounced(IpAddr),
    /// The configuration changed. Interface, family and VRID stay: another one is another router.
    Reconfigure(Box<VirtualRouter>),
    /// The shell woke this much later than it had asked for (a suspended machine, starvation).
    Woke {
        /// How much too late.
        late_by: Duration,
    },
}

/// An advertisement this router takes into account; only [`Router::admit`](super::Router::admit) makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub(super) source: IpAddr,
    pub(super) priority: u8,
    pub(super) interval: Interval,
    pub(super) same_addresses: bool,
}

impl Heard {
    /// Who sent it.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
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
