//! What a router asks for.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

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
        /// The priority it has now.
        priority: u8,
    },
    /// As master it heard a router that is no better (keepalived's `notify_master_rx_lower_pri`).
    HeardLower {
        /// Who it is.
        source: IpAddr,
        /// Their priority.
        priority: u8,
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
    /// Cannot take part: no link, no address to send from, a tracker without weight failed, or a member of its group
    /// is in fault.
    Fault,
}

/// Why a router is in its role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// The master's process is dead.
    MasterDied {
        /// Where it advertised from.
        source: IpAddr,
    },
    /// The master fell below this router's priority: a check failed there.
    MasterDropped {
        /// Who it is.
        source: IpAddr,
        /// Their priority now.
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
    /// Something it follows failed.
    Failed {
        /// What.
        what: Arc<str>,
    },
    /// What it follows is well again.
    Recovered,
    /// A member of its sync group is in fault.
    GroupFault {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// No member of its sync group is in fault any more.
    GroupRecovered {
        /// The group.
        group: Arc<str>,
    },
    /// A member of its sync group became master.
    GroupMaster {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// A member of its sync group is master no more.
    GroupBackup {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
    },
    /// Asked to take over.
    TakeOver,
    /// Asked to hand over.
    Handover,
    /// Somebody on this node takes the addresses away.
    Contested,
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
            Self::MasterDied { source } => write!(f, "the process of master {source} died"),
            Self::MasterDropped { source, priority } => write!(f, "master {source} dropped to priority {priority}"),
            Self::MasterNotReady { source } => write!(f, "master {source} is not ready to serve"),
            Self::BetterMaster { source, priority } => write!(f, "better master {source} (priority {priority})"),
            Self::LinkDown => f.write_str("link down"),
            Self::LinkUp => f.write_str("link up"),
            Self::NoLocalAddress => f.write_str("no address to send from"),
            Self::LocalAddress => f.write_str("there is an address to send from again"),
            Self::Failed { what } => write!(f, "{what} failed"),
            Self::Recovered => f.write_str("what it follows is well again"),
            Self::GroupFault { group, member } => write!(f, "sync group {group}: {member} is in fault"),
            Self::GroupRecovered { group } => write!(f, "sync group {group}: nobody is in fault any more"),
            Self::GroupMaster { group, member } => write!(f, "sync group {group}: {member} became master"),
            Self::GroupBackup { group, member } => write!(f, "sync group {group}: {member} is master no more"),
            Self::TakeOver => f.write_str("asked to take over"),
            Self::Contested => f.write_str("addresses are taken away again and again"),
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
