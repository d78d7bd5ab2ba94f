//! Rules of services, and tables of counters.

use std::time::Duration;

use super::super::source::Location;
use super::{Located, Maybe};
use crate::model::rule::Rule;
use crate::model::{PortRange, Prefix};

/// What a service says about who is turned away and where the others go: see [`model::Policy`](crate::model::Policy).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Networks of the clients that are let in; empty: all.
    pub allow: Vec<Located<Prefix>>,
    /// Networks of the clients that are not. Of two networks that hold a client the longer decides.
    pub deny: Vec<Located<Prefix>>,
    /// What one source may have.
    pub limits: Maybe<Limits>,
    /// Rules in the language of [`acl`](super::super::acl), asked after the keys above and before `routes`.
    pub rules: Vec<Located<Rule>>,
    /// Where clients go, the first that fits.
    pub routes: Vec<PoolRoute>,
    /// Natively 5 seconds when absent.
    pub inspect_delay: Maybe<Duration>,
    /// Natively true when absent.
    pub routes_wait: Maybe<bool>,
    /// New connections a second (HAProxy's `rate-limit sessions`).
    pub sessions_per_second: Maybe<u64>,
    /// Places for captures beside those that rules fill.
    pub captures: Maybe<Captures>,
}

/// `captures` of a service: see [`model::value::CaptureSlots`](crate::model::value::CaptureSlots).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Captures {
    /// What clients say.
    pub request: Maybe<u64>,
    /// What servers say.
    pub response: Maybe<u64>,
}

/// `limits` of a service: see [`model::rule::SourceTable`](crate::model::rule::SourceTable).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Connections a second of one source.
    pub connections_per_second: Maybe<u64>,
    /// Connections of one source at a time.
    pub concurrent: Maybe<u64>,
    /// Sources that are counted; natively 100,000.
    pub sources: Maybe<u64>,
}

/// One entry of `route`; what it says has to fit all together.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolRoute {
    /// All of it.
    pub at: Location,
    /// Names in the TLS hello, `*.example.org` for all below it.
    pub sni: Vec<Located<String>>,
    /// Ports that the client connected to.
    pub ports: Vec<Located<PortRange>>,
    /// Networks of the client.
    pub from: Vec<Located<Prefix>>,
    /// The pool.
    pub pool: Maybe<String>,
}

/// `[[source-table]]`: see [`model::rule::SourceTable`](crate::model::rule::SourceTable).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct SourceTable {
    /// The table's header.
    pub at: Location,
    pub name: Maybe<String>,
    pub size: Maybe<u64>,
    pub expire: Maybe<super::Timeout>,
    pub nopurge: Maybe<bool>,
    pub ipv6_bits: Maybe<u64>,
    pub connection_period: Maybe<Duration>,
    pub gpc0_period: Maybe<Duration>,
    pub gpc1_period: Maybe<Duration>,
    pub session_period: Maybe<Duration>,
    pub bytes_in_period: Maybe<Duration>,
    pub bytes_out_period: Maybe<Duration>,
}
