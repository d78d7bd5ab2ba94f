//! What a router asks for.

use std::fmt;
use std::net::IpAddr;

use crate::model::VirtualAddress;
use crate::wire::vrrp::Advertisement;

/// Something to do, in this order.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Action {
    /// Send this advertisement now, from the local address, to the group or to every peer.
    Send(Advertisement),
    /// Set these addresses.
    Acquire(Vec<VirtualAddress>),
    /// Remove these addresses (make before break: reset their flows first).
    Release(Vec<VirtualAddress>),
    /// Announce these addresses `count` times each, once they are set.
    Announce {
        /// The addresses, each on its interface.
        addresses: Vec<VirtualAddress>,
        /// Announcements of each.
        count: u32,
    },
    /// Begin or stop to listen for announcements of the addresses by others.
    Watch(bool),
    /// The role changed.
    Changed {
        /// Role before.
        from: Role,
        /// Role now.
        to: Role,
        /// Why.
        reason: Reason,
    },
    /// After `Stop`: every address is released, the shell may end.
    Left,
}

/// A virtual router's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not started, or stopped.
    Initialize,
    /// Listening.
    Backup,
    /// Owns the addresses.
    Master,
    /// Gave up being master, serves on until the successor has announced itself.
    Leaving,
    /// Cannot take part: a link is down or there is no address to send from.
    Fault,
}

/// Why a router is in its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was just started.
    Started,
    /// Priority 255 and told to start as master.
    AddressOwner,
    /// No master was heard for the master-down interval.
    MasterSilent,
    /// The master said priority 0.
    MasterLeft {
        /// Who left.
        source: IpAddr,
    },
    /// A master of lower priority was heard and preemption is on.
    Preempted {
        /// Whom it preempts.
        source: IpAddr,
        /// Their priority.
        priority: u8,
    },
    /// The master is not ready to serve (priority 1).
    MasterNotReady {
        /// Who said so.
        source: IpAddr,
    },
    /// A better master was heard: higher priority, or the same and a greater address.
    BetterMaster {
        /// Who it is.
        source: IpAddr,
        /// Their priority.
        priority: u8,
    },
    /// A link is down.
    LinkDown,
    /// The link is up again.
    LinkUp,
    /// There is no address to send from.
    NoLocalAddress,
    /// There is an address to send from again.
    LocalAddress,
    /// Asked to hand over.
    Handover,
    /// The services it fronts cannot be served here.
    NotReady,
    /// Asked to stop.
    Stopped,
    /// The successor announced every address.
    SuccessorAnnounced,
    /// The successor advertises, but its announcements were not heard in time.
    SuccessorSilent,
    /// A hand-over that nobody took: it goes on as master.
    NoSuccessor,
    /// The process was stopped for longer than the master-down interval and listens first.
    Overslept,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::AddressOwner => f.write_str("priority 255 owns the addresses"),
            Self::MasterSilent => f.write_str("no master heard"),
            Self::MasterLeft { source } => write!(f, "master {source} left"),
            Self::Preempted { source, priority } => write!(f, "preempted {source} (priority {priority})"),
            Self::MasterNotReady { source } => write!(f, "master {source} is not ready to serve"),
            Self::BetterMaster { source, priority } => write!(f, "better master {source} (priority {priority})"),
            Self::LinkDown => f.write_str("link down"),
            Self::LinkUp => f.write_str("link up"),
            Self::NoLocalAddress => f.write_str("no address to send from"),
            Self::LocalAddress => f.write_str("there is an address to send from again"),
            Self::Handover => f.write_str("asked to hand over"),
            Self::NotReady => f.write_str("the services it fronts cannot be served here"),
            Self::Stopped => f.write_str("asked to stop"),
            Self::SuccessorAnnounced => f.write_str("the successor announced every address"),
            Self::SuccessorSilent => f.write_str("the successor advertises but announced nothing"),
            Self::NoSuccessor => f.write_str("nobody took over"),
            Self::Overslept => f.write_str("slept through the master-down interval, listening first"),
        }
    }
}
