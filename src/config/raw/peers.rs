//! Nodes that share stick tables.

use std::path::PathBuf;

use super::{HostPort, Located, Maybe};
use crate::config::source::Location;

/// `[[peer-group]]`: see [`model::PeerGroup`](crate::model::PeerGroup).
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct PeerGroup {
    pub at: Location,
    pub name: Maybe<String>,
    /// The host's name when absent.
    pub local: Maybe<String>,
    /// The address of this node among the members when absent.
    pub listen: Maybe<HostPort>,
    pub members: Vec<Member>,
    /// Nothing is secret when absent; the three of them go together.
    pub certificate: Maybe<PathBuf>,
    pub key: Maybe<PathBuf>,
    pub authority: Maybe<PathBuf>,
}

/// A node of a group.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "documented in the model")]
pub struct Member {
    pub at: Location,
    pub name: Maybe<String>,
    pub address: Located<HostPort>,
}

impl PeerGroup {
    /// Without any key.
    #[must_use]
    pub fn empty(at: Location) -> Self {
        Self {
            at,
            name: None,
            local: None,
            listen: None,
            members: Vec::new(),
            certificate: None,
            key: None,
            authority: None,
        }
    }
}
