//! Sessions between nodes: whom to follow, and where to be followed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::net::InterfaceName;

/// A peer to follow, and from where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerLink {
    /// The address the peer advertises from.
    pub peer: IpAddr,
    /// The own address to connect from.
    pub local: IpAddr,
    /// The interface between them.
    pub interface: InterfaceName,
    /// Its index: an interface that was made anew is another one.
    pub index: u32,
}

/// Where peers may connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerPlace {
    /// The address adverts are sent from.
    pub local: IpAddr,
    /// The interface they leave by.
    pub interface: InterfaceName,
    /// Its index: an interface that was made anew is another one.
    pub index: u32,
    /// Who may connect (the peers of a unicast router); empty: whoever is on the link, no router in between.
    pub peers: BTreeSet<IpAddr>,
}

/// All sessions that are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peering {
    /// Where peers may connect to.
    pub listen: BTreeSet<PeerPlace>,
    /// The masters that are followed.
    pub follow: BTreeSet<PeerLink>,
}
