//! What leads the packets back that servers send to addresses which connections to them only pretend to come from: those for
//! a transparent socket are marked (nf_tables), a rule has the marked ones look up a table of their own, and there every
//! address is this node's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::net::{InterfaceName, Prefix};
use super::routing::{Route, RouteKind, Rule};

/// The mark. The fence around the addresses uses the bit above.
pub const MARK: u32 = 1 << 27;
/// The table; numbers below 256 are people's.
pub const TABLE: u32 = 118_118;
/// Before the rules that people have.
const PRIORITY: u32 = 118;

/// The routes of the table.
#[must_use]
pub fn routes() -> Vec<Route> {
    let local = |everything| Route {
        kind: RouteKind::Local,
        interface: Some(InterfaceName::loopback()),
        table: Some(TABLE),
        ..Route::new(everything)
    };
    everything().map(local).to_vec()
}

/// The rules that lead to it.
#[must_use]
pub fn rules() -> Vec<Rule> {
    let marked = |from| Rule { from: Some(from), priority: Some(PRIORITY), mark: Some(MARK), ..Rule::new(TABLE) };
    everything().map(marked).to_vec()
}

fn everything() -> [Prefix; 2] {
    let any = |address| Prefix { address, length: 0 };
    [any(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), any(IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
}
