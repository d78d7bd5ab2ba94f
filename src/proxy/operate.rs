//! What an administrator looks at and changes while the proxy runs. All of it survives a reload, by name, unless the new
//! configuration says something else about the same thing than the former one did.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailbox::{Command, Report};
use super::session::{Session, SessionId};
use super::shared::{PoolShared, Wanted};
use super::{Proxy, Rehearsal};
use crate::balance::{Explanation, KeyHash, Offer, ServerState, TableEntry, WeightChange};
use crate::model::Algorithm;
use crate::model::rule::SourceTable;
use crate::model::{Key, OnError, ServerPort};
use crate::rules::Source;
use crate::stats::{EndReason, ServerStats};

/// Why something could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// No such pool.
    #[error("no pool is called {0}: `vipgate status` lists them")]
    NoPool(String),
    /// No such server.
    #[error("pool {pool} has no server called {server}: `vipgate status` lists them")]
    NoServer {
        /// The pool.
        pool: String,
        /// What was asked for.
        server: String,
    },
    /// The pool remembers nobody.
    #[error("pool {0} has no stick table: give it `affinity` with a table")]
    NoTable(String),
    /// The table cannot take the entry.
    #[error("the stick table of {0} takes no entry for this client: it is full, or cannot hold such a key")]
    NoRoom(String),
}

/// A server as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// As the choice sees it.
    pub state: ServerState,
    /// Where it is reached now.
    pub address: IpAddr,
    /// Its port, relative to the client's.
    pub port: ServerPort,
}

/// What connections found out about a server: so many in a row failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub server: String,
    /// Connections that failed.
    pub errors: u64,
    /// What that means for its health.
    pub on_error: OnError,
}

/// Where a connection to a service would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceExplanation {
    /// What came before the choice of a server, in words.
    pub steps: Vec<String>,
    /// The pool that serves it; none: it is turned away before.
    pub pool: Option<String>,
    /// The choice there.
    pub choice: Option<Explanation>,
}

impl Proxy {
    /// Has `tell` told what connections find out about servers that are observed. Called by workers: it must not block.
    /// Only the first one is.
    pub fn observe_by(&self, tell: impl Fn(Observed) + Send + Sync + 'static) {
        let _first = self.global.observer.set(Box::new(tell));
    }

    /// Which server a connection of `client` to this service would get, and why, answered without any effect by the code
    /// that decides; none when the service is not known.
    #[must_use]
    pub fn explain(&self, service: &str, client: SocketAddr, sni: Option<&str>) -> Option<ServiceExplanation> {
        let listen = self.services.get(service)?.spec.listen.first()?;
        let destination = SocketAddr::new(listen.address, listen.ports.first());
        let Rehearsal { steps, pool, directions, keys } = self.rehearse(service, client, destination, sni)?;
        // A client that sends a hello has no session, as far as can be told from its name.
        let offer = sni.map(|_| Offer::default());
        let shared = pool.as_ref().and_then(|pool| self.pools.get(pool));
        let (offer, keys) = (offer.as_ref(), keys.as_ref());
        let hashes = shared.is_some_and(|pool| pool.spec().algorithm == Algorithm::Sni);
        let (name, directions) = (sni.filter(|_| hashes).map(KeyHash::of_name), directions.as_ref());
        let wanted = Wanted { client: client.ip(), name, offer, keys, directions, exclude: &[] };
        let choice = shared.map(|shared| shared.explain(&wanted, Instant::now()));
        Some(ServiceExplanation { steps, pool, choice })
    }

    /// The servers of a pool in the order of the configuration; none when it is not known.
    #[must_use]
    pub fn servers(&self, pool: &str) -> Option<Vec<ServerView>> {
        self.pools.get(pool).map(|pool| pool.views(Instant::now()))
    }

    /// Sets a server's weight.
    pub fn set_server_weight(&self, pool: &str, server: &str, weight: WeightChange) -> Result<(), OperateError> {
        let (shared, _) = self.find(pool, server)?;
        let now = Instant::now();
        shared.change(now, |balance| balance.set_weight(server, weight, now));
        Ok(())
    }

    /// A check found the name of a server's TLS ticket key. Nothing changes where clients are not kept by their sessions.
    pub fn set_key_name(&self, pool: &str, server: &str, name: &[u8]) {
        if let Some(shared) = self.pools.get(pool) {
            shared.set_key_name(server, name);
        }
    }

    /// Sets how many connections a server may have at a time; none: any number.
    pub fn set_server_limit(&self, pool: &str, server: &str, limit: Option<u32>) -> Result<(), OperateError> {
        let (shared, _) = self.find(pool, server)?;
        shared.set_limit(server, limit, &self.global.registry, Instant::now());
        Ok(())
    }

    /// Sets where a server is reached; what is not given stays. Open connections go on.
    pub fn set_server_address(
        &self,
        pool: &str,
        server: &str,
        address: Option<IpAddr>,
        port: Option<ServerPort>,
    ) -> Result<(), OperateError> {
        let (shared, _) = self.find(pool, server)?;
        shared.set_place(server, address, port, &self.global.registry, Instant::now());
        Ok(())
    }

    /// The entries of a pool's stick table.
    pub fn table_entries(&self, pool: &str) -> Result<Vec<TableEntry>, OperateError> {
        let shared = self.find_pool(pool)?;
        Ok(shared.lock().balance.table_entries(Instant::now()))
    }

    /// Remembers `server` as the client's. With `left` the entry has only this much of its life before it, as one that was
    /// learnt earlier: those restored in order of `left` take constant time each.
    pub fn table_set(&self, pool: &str, key: Key, server: &str, left: Option<Duration>) -> Result<(), OperateError> {
        let (shared, _) = self.find(pool, server)?;
        let mut state = shared.lock();
        if !state.balance.has_table() {
            return Err(OperateError::NoTable(pool.to_owned()));
        }
        let taken = state.balance.table_set(key, server, left, Instant::now());
        if taken { Ok(()) } else { Err(OperateError::NoRoom(pool.to_owned())) }
    }

    /// Forgets entries of a stick table: those of a client, of a server, of both, or all. Returns their number.
    pub fn table_clear(&self, pool: &str, key: Option<&Key>, server: Option<&str>) -> Result<usize, OperateError> {
        let shared = self.find_pool(pool)?;
        if let Some(server) = server {
            let _known = self.find(pool, server)?;
        }
        Ok(shared.lock().balance.table_clear(key, server, Instant::now()))
    }

    /// The tables that count sources, with what they know; only the one of this name, or all of them.
    #[must_use]
    pub fn sources(&self, table: Option<&str>) -> Vec<(SourceTable, Vec<Source>)> {
        let now = Instant::now();
        let wanted = self.tables.iter().filter(|(name, _)| table.is_none_or(|table| *name == table));
        wanted.map(|(_, table)| table.sources(now)).collect()
    }

    /// Forgets sources of a table, except those with an open connection. Returns their number; none: no such table.
    #[must_use]
    pub fn forget_sources(&self, table: &str, sources: &[IpAddr]) -> Option<usize> {
        self.tables.get(table).map(|table| table.forget(sources))
    }

    /// Resets the connections to a server. `done` gets their number once all are reset; it is called on any thread and must
    /// not block.
    pub fn shutdown_sessions(
        &self,
        pool: &str,
        server: &str,
        done: impl FnOnce(u64) + Send + 'static,
    ) -> Result<(), OperateError> {
        let (_, stats) = self.find(pool, server)?;
        self.reset_server(&stats, EndReason::Killed, done);
        Ok(())
    }

    /// Resets one connection. `done` is told whether it was there.
    pub fn shutdown_session(&self, id: SessionId, done: impl FnOnce(bool) + Send + 'static) {
        let report = Arc::new(Report::new(Box::new(move |count: u64| done(count > 0))));
        if let Some(worker) = self.global.workers.get(usize::from(id.worker)) {
            worker.send(vec![Command::ResetSession { key: id.key, report }]);
        }
    }

    /// Lists the open connections. `done` is called on any thread and must not block.
    pub fn sessions(&self, done: impl FnOnce(Vec<Session>) + Send + 'static) {
        let report = Arc::new(Report::new(Box::new(done)));
        for (number, worker) in self.global.workers.iter().enumerate() {
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            worker.send(vec![Command::List { worker: number, report: Arc::clone(&report) }]);
        }
    }

    pub(super) fn reset_server(
        &self,
        stats: &Arc<ServerStats>,
        reason: EndReason,
        done: impl FnOnce(u64) + Send + 'static,
    ) {
        let report = Arc::new(Report::new(Box::new(done)));
        for worker in &self.global.workers {
            let (stats, report) = (Arc::clone(stats), Arc::clone(&report));
            worker.send(vec![Command::ResetServer { stats, reason, report }]);
        }
    }

    fn find_pool(&self, pool: &str) -> Result<&Arc<PoolShared>, OperateError> {
        self.pools.get(pool).ok_or_else(|| OperateError::NoPool(pool.to_owned()))
    }

    pub(super) fn find(&self, pool: &str, server: &str) -> Result<(&Arc<PoolShared>, Arc<ServerStats>), OperateError> {
        let shared = self.find_pool(pool)?;
        let found =
            shared.lock().servers.iter().find(|known| known.name == server).map(|known| Arc::clone(&known.stats));
        let missing = || OperateError::NoServer { pool: pool.to_owned(), server: server.to_owned() };
        Ok((shared, found.ok_or_else(missing)?))
    }
}
