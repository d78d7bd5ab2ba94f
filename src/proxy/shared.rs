//! What the workers share: limits, services, pools with their servers. Everything a connection needs is reached from its
//! listener by pointers; no name is looked up on its way.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::journal::Slot;
use super::mailbox::Mailbox;
use super::operate::ServerView;
use crate::balance::{self, Pin, Refusal, ServerId, ServerState, WeightChange};
use crate::model::{self, AdminState};
use crate::stats::{Registry, ServerStats, ServiceStats};

/// The process as a whole.
#[derive(Debug)]
pub(super) struct Global {
    pub(super) registry: Arc<Registry>,
    pub(super) workers: Vec<Arc<Mailbox>>,
    pub(super) open: AtomicU64,
    pub(super) limit: Gate,
    pub(super) journal: Slot,
}

/// A limit on something that is counted, and whether anybody waits for it to have room.
#[derive(Debug)]
pub(super) struct Gate {
    limit: AtomicU64,
    waiting: AtomicBool,
}

/// A service as its listeners know it.
#[derive(Debug)]
pub(super) struct ServiceShared {
    pub(super) spec: model::Service,
    pub(super) stats: Arc<ServiceStats>,
    pub(super) pool: Arc<PoolShared>,
    pub(super) global: Arc<Global>,
    /// Shared by all versions of the service: connections of an older one make room for those of a newer.
    limit: Arc<Gate>,
}

/// A pool; one value for its whole life, over reloads.
#[derive(Debug)]
pub(super) struct PoolShared {
    state: Mutex<PoolState>,
}

#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) spec: Arc<model::Pool>,
    pub(super) balance: balance::Pool,
    pub(super) servers: Vec<Arc<ServerShared>>,
    /// Addresses set while the process runs, by server.
    places: HashMap<String, Place>,
}

/// Where a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) port: model::ServerPort,
}

/// A server as configured now.
#[derive(Debug)]
pub(super) struct ServerShared {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) stats: Arc<ServerStats>,
}

/// A server given to a connection; counted as open there until dropped.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) server: Arc<ServerShared>,
    pub(super) id: ServerId,
    pub(super) sticky: bool,
}

impl Gate {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit: AtomicU64::new(limit), waiting: AtomicBool::new(false) }
    }

    pub(super) fn set(&self, limit: u64) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> u64 {
        self.limit.load(Ordering::SeqCst)
    }

    /// Counts one more, unless that would be too many; then the next [`Gate::leave`] says that somebody waits.
    fn enter(&self, open: &AtomicU64) -> Option<u64> {
        loop {
            let before = open.fetch_add(1, Ordering::SeqCst);
            if before < self.limit.load(Ordering::SeqCst) {
                return Some(before + 1);
            }
            open.fetch_sub(1, Ordering::SeqCst);
            self.waiting.store(true, Ordering::SeqCst);
            // One that left before it could see `waiting` woke nobody.
            if open.load(Ordering::SeqCst) >= self.limit.load(Ordering::SeqCst) {
                return None;
            }
        }
    }

    /// Counts one less. True when somebody waits for that.
    #[must_use]
    fn leave(&self, open: &AtomicU64) -> bool {
        open.fetch_sub(1, Ordering::SeqCst);
        self.waiting.load(Ordering::SeqCst) && self.waiting.swap(false, Ordering::SeqCst)
    }
}

impl Global {
    /// Workers whose listeners wait for room may try again.
    pub(super) fn resume(&self) {
        for worker in &self.workers {
            worker.resume();
        }
    }
}

impl ServiceShared {
    /// A service, or another version of the one that is `running` under its name.
    pub(super) fn new(
        spec: model::Service,
        pool: Arc<PoolShared>,
        running: Option<&Self>,
        global: Arc<Global>,
    ) -> Self {
        let limit = running.map_or_else(|| Arc::new(Gate::new(0)), |running| Arc::clone(&running.limit));
        limit.set(spec.max_connections.map_or(u64::MAX, u64::from));
        let stats = running.map_or_else(|| global.registry.service(&spec.name), |running| Arc::clone(&running.stats));
        Self { spec, stats, pool, global, limit }
    }

    /// Takes a place for one more connection, in the process and in the service. None: nothing may be accepted now, and
    /// the workers will be told when it may.
    pub(super) fn enter(&self) -> Option<u64> {
        self.global.limit.enter(&self.global.open)?;
        let open = self.limit.enter(&self.stats.open);
        if open.is_none() && self.global.limit.leave(&self.global.open) {
            self.global.resume();
        }
        open
    }

    /// Takes a place whatever the limits say: for what was accepted already in the name of its listener.
    pub(super) fn enter_anyway(&self) {
        self.global.open.fetch_add(1, Ordering::SeqCst);
        self.stats.open.fetch_add(1, Ordering::SeqCst);
    }

    /// Gives the place back.
    pub(super) fn leave(&self) {
        let waiting = [self.limit.leave(&self.stats.open), self.global.limit.leave(&self.global.open)];
        if waiting.contains(&true) {
            self.global.resume();
        }
    }
}

impl PoolShared {
    pub(super) fn new(spec: &model::Pool, registry: &Registry, now: Instant) -> Self {
        let state = PoolState {
            spec: Arc::new(spec.clone()),
            balance: balance::Pool::new(spec, now),
            servers: Vec::new(),
            places: HashMap::new(),
        };
        let pool = Self { state: Mutex::new(state) };
        pool.lock().renew_servers(registry);
        pool
    }

    pub(super) fn reconfigure(&self, spec: &model::Pool, registry: &Registry, now: Instant) {
        let mut state = self.lock();
        if *state.spec == *spec {
            return;
        }
        state.balance.reconfigure(spec, now);
        // What the configuration says anew holds; what it says still may have been changed since.
        let before = std::mem::replace(&mut state.spec, Arc::new(spec.clone()));
        state.places.retain(|name, _| {
            let find = |servers: &[model::Server]| servers.iter().find(|s| s.name == *name).map(Place::of);
            find(&spec.servers).is_some_and(|place| find(&before.servers) == Some(place))
        });
        state.renew_servers(registry);
        drop(state);
        self.renew_hash();
    }

    /// Builds the hash tables anew if they are out of date, while the workers go on by the former ones.
    pub(super) fn renew_hash(&self) {
        let plan = self.lock().balance.hash_plan();
        if let Some(plan) = plan {
            let hash = plan.build();
            self.lock().balance.publish(hash);
        }
    }

    pub(super) fn views(&self) -> Vec<ServerView> {
        let state = self.lock();
        let view = |(state, server): (ServerState, &Arc<ServerShared>)| ServerView {
            state,
            address: server.place.address,
            port: server.place.port,
        };
        state.balance.servers().into_iter().zip(&state.servers).map(view).collect()
    }

    /// Sets what a server may do; false when that is no change.
    pub(super) fn set_admin(&self, server: &str, admin: AdminState) -> bool {
        let mut state = self.lock();
        let changed = state.balance.set_admin(server, admin);
        state.show_states();
        changed
    }

    pub(super) fn set_weight(&self, server: &str, weight: WeightChange) {
        let mut state = self.lock();
        state.balance.set_weight(server, weight);
        state.show_states();
        drop(state);
        self.renew_hash();
    }

    /// New connections to a server go there from now on.
    pub(super) fn set_place(
        &self,
        server: &str,
        address: Option<IpAddr>,
        port: Option<model::ServerPort>,
        registry: &Registry,
    ) {
        let mut state = self.lock();
        let Some(now) = state.servers.iter().find(|known| known.name == server).map(|known| known.place) else {
            return;
        };
        let place = Place { address: address.unwrap_or(now.address), port: port.unwrap_or(now.port) };
        state.places.insert(server.to_owned(), place);
        state.renew_servers(registry);
    }

    /// Connections open to its servers.
    pub(super) fn open(&self) -> u64 {
        self.lock().servers.iter().map(|server| server.stats.open.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn spec(&self) -> Arc<model::Pool> {
        Arc::clone(&self.lock().spec)
    }

    pub(super) fn is_usable(&self) -> bool {
        self.lock().balance.is_usable()
    }

    pub(super) fn table_len(&self, now: Instant) -> usize {
        self.lock().balance.table_len(now)
    }

    /// Chooses a server for a client, and counts the connection as the server's.
    pub(super) fn select(
        &self,
        client: SocketAddr,
        exclude: &[ServerId],
        pin: &mut Option<Pin>,
        now: Instant,
    ) -> Result<Assigned, Refusal> {
        let mut state = self.lock();
        let PoolState { balance, servers, .. } = &mut *state;
        let load = |position: usize| servers[position].stats.open.load(Ordering::Relaxed);
        let request = balance::Request { client: client.ip(), exclude, held: *pin };
        let choice = balance.select(&request, load, now)?;
        *pin = choice.pin;
        let server = Arc::clone(&servers[choice.position]);
        let open = server.stats.open.fetch_add(1, Ordering::Relaxed) + 1;
        server.stats.open_max.fetch_max(open, Ordering::Relaxed);
        server.stats.chosen.fetch_add(1, Ordering::Relaxed);
        Ok(Assigned { server, id: choice.id, sticky: choice.sticky })
    }

    /// A connection that holds `pin` was established.
    pub(super) fn prove(&self, pin: Pin, id: ServerId) {
        self.lock().balance.prove(pin, id);
    }

    /// A connection that holds `pin` has ended.
    pub(super) fn release(&self, pin: Pin, now: Instant) {
        self.lock().balance.release(pin, now);
    }

    /// Nothing panics while it holds the lock, and no step leaves the state half-changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    fn renew_servers(&mut self, registry: &Registry) {
        let server = |server: &model::Server| {
            Arc::new(ServerShared {
                name: server.name.clone(),
                place: self.places.get(&server.name).copied().unwrap_or_else(|| Place::of(server)),
                stats: registry.server(&self.spec.name, &server.name),
            })
        };
        self.servers = self.spec.servers.iter().map(server).collect();
        self.show_states();
    }

    /// Publishes what an administrator set.
    fn show_states(&self) {
        for (server, state) in self.servers.iter().zip(self.balance.servers()) {
            server.stats.update_status(|status| {
                status.admin = Some(state.admin);
                let place = self.places.get(&server.name);
                status.place = place.map(|place| (place.address, place.port));
                status.weight = (state.weight != state.configured_weight).then_some(state.weight);
            });
        }
    }
}

impl Place {
    fn of(server: &model::Server) -> Self {
        Self { address: server.address, port: server.port }
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.server.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}
