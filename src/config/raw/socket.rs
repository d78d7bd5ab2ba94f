//! Options of sockets as written.

use std::net::IpAddr;
use std::time::Duration;

use super::Maybe;
use crate::model::{InterfaceName, PortRange, Transparent};

/// See [`model::ListenTuning`](crate::model::ListenTuning).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct ListenTuning {
    pub defer_accept: Maybe<Duration>,
    pub fast_open: Maybe<u64>,
    pub max_segment: Maybe<u64>,
    pub user_timeout: Maybe<Duration>,
}

/// See [`model::KeepAlive`](crate::model::KeepAlive).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct KeepAlive {
    /// There are no probes.
    pub off: bool,
    pub idle: Maybe<Duration>,
    pub interval: Maybe<Duration>,
    pub count: Maybe<u64>,
}

/// See [`model::Source`](crate::model::Source).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Source {
    pub address: Maybe<IpAddr>,
    pub ports: Maybe<PortRange>,
    pub interface: Maybe<InterfaceName>,
    pub transparent: Maybe<Transparent>,
}
