//! Whether what servers send to clients' addresses comes back through this node. That it does is up to their routes, and
//! where it does not a connection fails just like one to a server that is gone: somebody has to try from an address of our own.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use super::Proxy;
use super::connection::Connection;
use super::shared::ServerShared;
use crate::model::InterfaceName;
use crate::stats::EndReason;

/// A server did not answer a connection that came from an address which is not this node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The server's pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// Where it was to be reached.
    pub address: SocketAddr,
    /// The client that it was for.
    pub client: SocketAddr,
    /// This node's own address towards it; unspecified: the kernel's choice.
    pub source: IpAddr,
    /// The interface towards it.
    pub interface: Option<InterfaceName>,
}

impl Proxy {
    /// Has `tell` told of each connection from a client's address that was not answered. Called by workers: it must not
    /// block. Only the first one is.
    pub fn doubt_returns_by(&self, tell: impl Fn(Unanswered) + Send + Sync + 'static) {
        let _first = self.global.returns.set(Box::new(tell));
    }
}

impl Connection {
    /// An attempt failed.
    pub(super) fn doubt_return_path(&self, reason: EndReason, server: &ServerShared) {
        let Some(source) = server.link.source.as_ref().filter(|source| source.transparent.is_some()) else { return };
        if reason != EndReason::ConnectTimeout {
            return;
        }
        if let (Some(tell), Some(address)) = (self.binding.service.global.returns.get(), self.server_address(server)) {
            tell(Unanswered {
                pool: self.spec.name.clone(),
                server: server.name.clone(),
                address,
                client: self.client,
                source: source.address,
                interface: source.interface.clone(),
            });
        }
    }

    /// It was answered.
    pub(super) fn trust_return_path(&self) {
        let Some(assigned) = &self.assigned else { return };
        let (link, stats) = (&assigned.server.link, &assigned.server.stats);
        let is_transparent = link.source.as_ref().is_some_and(|source| source.transparent.is_some());
        if is_transparent
            && stats.return_path_lost.load(Ordering::Relaxed)
            && stats.return_path_lost.swap(false, Ordering::Relaxed)
        {
            tracing::info!(
                "Server {}/{}: what it answers to {} comes back through this node again",
                self.spec.name,
                assigned.server.name,
                self.client.ip()
            );
        }
    }
}
