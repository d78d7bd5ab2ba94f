//! Routes and rules: those a router has while it is master, and those that are there as long as the process runs.

use std::net::IpAddr;

use super::net::{InterfaceName, Prefix};
use super::vrrp::Scope;

/// A route (ip-route(8)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// What happens to a packet that matches.
    pub kind: RouteKind,
    /// Destination; length 0: the default route.
    pub destination: Prefix,
    /// Next hop; none: on the link.
    pub gateway: Option<IpAddr>,
    /// Outgoing interface; found by the next hop when absent.
    pub interface: Option<InterfaceName>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Priority (`metric`).
    pub metric: Option<u32>,
    /// Routing table; main when absent.
    pub table: Option<u32>,
    /// Scope; derived from the next hop when absent.
    pub scope: Option<Scope>,
    /// The next hop is on the link although no prefix says so.
    pub on_link: bool,
    /// Path MTU.
    pub mtu: Option<u32>,
}

impl Route {
    /// An ordinary route with every default: on the link.
    #[must_use]
    pub fn new(destination: Prefix) -> Self {
        Self {
            kind: RouteKind::default(),
            destination,
            gateway: None,
            interface: None,
            source: None,
            metric: None,
            table: None,
            scope: None,
            on_link: false,
            mtu: None,
        }
    }
}

/// What happens to a packet that matches a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RouteKind {
    /// Forwarded.
    #[default]
    Unicast,
    /// Dropped in silence.
    Blackhole,
    /// Dropped; the sender is told that the host cannot be reached.
    Unreachable,
    /// Dropped; the sender is told that it is prohibited.
    Prohibit,
    /// For this node itself. Set by this program alone, see [`returning`](super::returning).
    Local,
}

/// A rule of the routing policy (ip-rule(8)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Source; every one when absent.
    pub from: Option<Prefix>,
    /// Destination; every one when absent.
    pub to: Option<Prefix>,
    /// The table looked up.
    pub table: u32,
    /// Preference: lower is looked at first. The kernel's choice when absent.
    pub priority: Option<u32>,
    /// Incoming interface.
    pub incoming: Option<InterfaceName>,
    /// Outgoing interface.
    pub outgoing: Option<InterfaceName>,
    /// Firewall mark.
    pub mark: Option<u32>,
    /// The bits of the mark that are compared; all when absent.
    pub mark_mask: Option<u32>,
}

impl Rule {
    /// A rule that has every packet look `table` up.
    #[must_use]
    pub fn new(table: u32) -> Self {
        Self {
            from: None,
            to: None,
            table,
            priority: None,
            incoming: None,
            outgoing: None,
            mark: None,
            mark_mask: None,
        }
    }
}
