//! Servers that see clients' addresses: what they answer has to come back here. This node marks it and leads it to itself
//! ([`Divert`], routes and rules in the speaker's plan); that it comes at all is up to the servers' routes, so a connection
//! that was not answered is tried again from an address of our own, and if that works the operator is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::node::{Done, Node};
use crate::fence::{Divert, FenceName};
use crate::model::{Server, ServerRef, returning};
use crate::proxy::Unanswered;

/// How long a server may take to answer this node.
const PATIENCE: Duration = Duration::from_secs(2);
/// A server is tried, and spoken of, at most this often.
const PAUSE: Duration = Duration::from_secs(30);

/// What is known of the way back.
#[derive(Debug, Default)]
pub(super) struct Returning {
    divert: Option<Divert>,
    /// When a server was tried last.
    tried: HashMap<ServerRef, Instant>,
}

impl Node {
    /// Leads back what servers send to clients' addresses, if the configuration in force has such servers.
    pub(super) fn lead_back(&mut self) {
        let config = self.shared.config();
        self.returning.tried.retain(|at, _| config.pool(&at.pool).is_some());
        for pool in &config.pools {
            let is_own = |server: &&Server| server.source.as_ref().is_none_or(|source| source.transparent.is_none());
            for server in pool.servers.iter().filter(is_own) {
                let stats = self.shared.registry.server(&pool.name, &server.name);
                stats.return_path_lost.store(false, Ordering::Relaxed);
            }
        }
        match (config.is_transparent(), &self.returning.divert) {
            (false, _) => self.returning.divert = None,
            (true, Some(_)) => {}
            (true, None) => match Divert::open(&FenceName::new(&self.run.control.run_dir)) {
                Ok(divert) => self.returning.divert = Some(divert),
                Err(error) => tracing::error!(
                    target: "vipgate",
                    %error,
                    "what servers answer to clients' addresses is not led back to this node; mark it for table {} by other means",
                    returning::TABLE
                ),
            },
        }
    }

    /// A server did not answer a client's address: does it answer ours?
    pub(super) fn try_from_here(&mut self, unanswered: Unanswered) {
        let at = ServerRef { pool: unanswered.pool.clone(), server: unanswered.server.clone() };
        let now = Instant::now();
        if self.returning.tried.get(&at).is_some_and(|before| now.duration_since(*before) < PAUSE) {
            return;
        }
        self.returning.tried.insert(at, now);
        let done = self.done.clone();
        tokio::spawn(async move {
            if matches!(timeout(PATIENCE, connect(&unanswered)).await, Ok(Ok(()))) {
                // Without a receiver the process is ending.
                let _ = done.send(Done::ReturnPathLost(unanswered));
            }
        });
    }

    /// It does: its answers to clients go another way.
    pub(super) fn return_path_lost(&self, unanswered: &Unanswered) {
        let Unanswered { pool, server, address, client, .. } = unanswered;
        let config = self.shared.config();
        if config.server(pool, server).is_none() {
            return;
        }
        self.shared.registry.server(pool, server).return_path_lost.store(true, Ordering::Relaxed);
        tracing::warn!(
            "Server {pool}/{server} at {address} answers this node, but what it answers to {} does not come back through this \
             node: make this node its gateway to its clients, or end `transparent` (`usesrc`) and send it PROXY headers",
            client.ip()
        );
    }
}

/// Connects as a check does: from this node's own address.
async fn connect(to: &Unanswered) -> std::io::Result<()> {
    let socket = if to.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(interface) = &to.interface {
        socket.bind_device(Some(interface.as_str().as_bytes()))?;
    }
    if !to.source.is_unspecified() {
        socket.bind(SocketAddr::new(to.source, 0))?;
    }
    socket.connect(to.address).await.map(drop)
}
