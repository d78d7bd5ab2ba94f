//! Routes and rules as written.

use std::net::IpAddr;

use super::Maybe;
use crate::config::source::Location;
use crate::model::{InterfaceName, Prefix, RouteKind, Scope};

/// A route, of a router or `[[route]]`: see [`model::Route`](crate::model::Route).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Route {
    /// All of it.
    pub at: Location,
    pub kind: Maybe<RouteKind>,
    pub destination: Maybe<Prefix>,
    pub gateway: Maybe<IpAddr>,
    pub interface: Maybe<InterfaceName>,
    pub source: Maybe<IpAddr>,
    pub metric: Maybe<u64>,
    pub table: Maybe<u64>,
    pub scope: Maybe<Scope>,
    pub on_link: Maybe<bool>,
    pub mtu: Maybe<u64>,
}

/// A rule, of a router or `[[rule]]`: see [`model::Rule`](crate::model::Rule).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Rule {
    /// All of it.
    pub at: Location,
    pub from: Maybe<Prefix>,
    pub to: Maybe<Prefix>,
    pub table: Maybe<u64>,
    pub priority: Maybe<u64>,
    pub incoming: Maybe<InterfaceName>,
    pub outgoing: Maybe<InterfaceName>,
    pub mark: Maybe<u64>,
    pub mark_mask: Maybe<u64>,
}
