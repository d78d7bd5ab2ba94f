//! What a listener's and a server's sockets do differently from the kernel's defaults.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::net::{InterfaceName, PortRange};

/// Options of a listener's TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ListenTuning {
    /// A connection is accepted when its first bytes are there, or after this long (TCP_DEFER_ACCEPT, whole seconds). Not for
    /// servers that speak first.
    pub defer_accept: Option<Duration>,
    /// Data in the SYN is taken from as many clients at a time (TCP_FASTOPEN).
    pub fast_open: Option<u32>,
    /// Largest segment towards clients, in bytes (TCP_MAXSEG).
    pub max_segment: Option<u16>,
    /// A client that acknowledges nothing for so long is gone (TCP_USER_TIMEOUT).
    pub user_timeout: Option<Duration>,
}

/// TCP's keep-alive probes, by which a peer that is gone without a word is found. None: as the kernel is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeepAlive {
    /// Silence before the first probe, whole seconds (TCP_KEEPIDLE).
    pub idle: Option<Duration>,
    /// Time between two probes, whole seconds (TCP_KEEPINTVL).
    pub interval: Option<Duration>,
    /// So many without an answer end the connection (TCP_KEEPCNT).
    pub count: Option<u32>,
}

/// The version of the PROXY protocol that a server is told its clients' addresses in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Where connections to a server come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The local address.
    pub address: IpAddr,
    /// The local ports; the kernel's choice otherwise, made for each destination apart (IP_BIND_ADDRESS_NO_PORT).
    pub ports: Option<PortRange>,
    /// They leave through this interface (SO_BINDTODEVICE).
    pub interface: Option<InterfaceName>,
    /// The server sees another address (IP_TRANSPARENT; HAProxy's `usesrc`), whose packets the server's network has to lead
    /// back to this node. Checks come from `address` all the same.
    pub transparent: Option<Transparent>,
}

impl Source {
    /// Where this node's own connections come from: those of checks.
    #[must_use]
    pub fn own(&self) -> Self {
        Self { transparent: None, ports: None, ..self.clone() }
    }
}

/// The address of somebody else that a server sees its connections come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transparent {
    /// The client's address and port.
    Client,
    /// The client's address, with a port of this node's choice.
    ClientIp,
    /// This one; port 0: of this node's choice.
    Address(SocketAddr),
}
