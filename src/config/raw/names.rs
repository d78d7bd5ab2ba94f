//! How names of servers are resolved.

use std::net::IpAddr;
use std::time::Duration;

use super::{Located, Maybe, Timeout};
use crate::config::source::Location;
use crate::model::{NameKind, NameServer, Prefix, Wanted};

/// Keys of a server: see [`model::ServerName`](crate::model::ServerName).
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct ServerNaming {
    /// `srv` stands in the place of `address`. A host when absent.
    pub kind: Maybe<NameKind>,
    /// So many servers, which share the name; 1 when absent.
    pub most: Maybe<u64>,
    /// While the process runs when absent.
    pub resolve: Maybe<ResolveWhen>,
    pub resolver: Maybe<String>,
    /// IPv4 first when absent.
    pub family: Maybe<Wanted>,
    pub networks: Vec<Located<Prefix>>,
    pub share_address: Maybe<bool>,
    pub ignore_weight: Maybe<bool>,
    pub initial: Maybe<IpAddr>,
}

/// When a server's name is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolveWhen {
    /// Once, when the configuration is loaded, by the system; a failure is an error.
    AtStart,
    /// Again and again while the process runs.
    Running,
}

/// `[[resolver]]`: see [`model::Resolver`](crate::model::Resolver).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Resolver {
    pub at: Location,
    pub name: Maybe<String>,
    pub servers: Vec<Located<NameServer>>,
    /// True when absent and there is no name server.
    pub system: Maybe<bool>,
    pub retries: Maybe<u64>,
    pub timeout: Maybe<Duration>,
    pub least_refresh: Maybe<Duration>,
    pub most_refresh: Maybe<Duration>,
    pub payload_size: Maybe<u64>,
    pub hold: Hold,
}

/// `hold`: see [`model::Hold`](crate::model::Hold). `Timeout::None`: for ever.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Hold {
    pub nx: Maybe<Timeout>,
    pub timeout: Maybe<Timeout>,
    pub refused: Maybe<Timeout>,
    pub other: Maybe<Timeout>,
    pub obsolete: Maybe<Duration>,
}

impl Resolver {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            name: None,
            servers: Vec::new(),
            system: None,
            retries: None,
            timeout: None,
            least_refresh: None,
            most_refresh: None,
            payload_size: None,
            hold: Hold::default(),
        }
    }
}
