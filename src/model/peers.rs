//! Nodes that share stick tables.

use std::net::SocketAddr;
use std::sync::Arc;

/// Nodes that teach each other their stick tables by HAProxy's peers protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerGroup {
    /// Unique name, which tables say.
    pub name: String,
    /// By which of the members' names this node goes; none: the host's.
    pub local: Option<String>,
    /// Where this node listens; none: at its own member's address.
    pub listen: Option<SocketAddr>,
    /// All of them, this node included.
    pub members: Vec<Member>,
    /// None: everything is said in the open, and who connects is believed, as between HAProxys.
    pub keys: Option<PeerKeys>,
}

/// A node of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What the nodes of a group prove themselves by, in DER.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerKeys {
    /// This node's certificate and what leads to the authority. It is for this node's name.
    pub certificates: Arc<Vec<Vec<u8>>>,
    /// Its private key, PKCS #8, PKCS #1 or SEC 1.
    pub key: Arc<Vec<u8>>,
    /// Whose certificates are believed.
    pub authorities: Arc<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for PeerKeys {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerKeys").finish_non_exhaustive()
    }
}
