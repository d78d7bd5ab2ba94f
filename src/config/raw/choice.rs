//! What pools and servers say about the choice of a server, beside the basics.

use std::path::PathBuf;
use std::time::Duration;

use super::{Located, Maybe, Timeout};
use crate::model::rule::Rule;
use crate::model::{Failback, HashType, OnError, OnMarkedUp, RefuseWith};

/// Keys of a pool: see [`model::Pool`](crate::model::Pool).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct PoolChoice {
    pub hash_type: Maybe<HashType>,
    pub hash_balance_factor: Maybe<u64>,
    pub redispatch_every: Maybe<u64>,
    /// `Timeout::None`: as when absent, the connect timeout.
    pub queue_timeout: Maybe<Timeout>,
    pub max_queue: Maybe<u64>,
    pub full_load: Maybe<u64>,
    pub persist: Maybe<bool>,
    pub rdp_cookie: Maybe<String>,
    pub abort_on_close: Maybe<bool>,
    pub failback: Maybe<Failback>,
    pub refuse_with: Maybe<RefuseWith>,
    /// For servers that say nothing else.
    pub slow_start: Maybe<Duration>,
    /// Rules in the language of [`acl`](super::super::acl).
    pub rules: Vec<Located<Rule>>,
    /// Natively 5 seconds when absent.
    pub inspect_delay: Maybe<Duration>,
    pub server_state: Maybe<PathBuf>,
}

/// Keys of a server: see [`model::Server`](crate::model::Server).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct ServerChoice {
    pub min_connections: Maybe<u64>,
    pub max_queue: Maybe<u64>,
    pub slow_start: Maybe<Duration>,
    pub non_stick: Maybe<bool>,
    /// `server` of the same pool, or `pool/server`.
    pub track: Maybe<String>,
    /// Connections are observed when this is there.
    pub error_limit: Maybe<u64>,
    pub on_error: Maybe<OnError>,
    pub on_marked_up: Maybe<OnMarkedUp>,
}
