//! What the workers share: limits, services, pools with their servers. Everything a connection needs is reached from its
//! listener by pointers; no name is looked up on its way.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::figures::PerSecond;
use super::journal::Slot;
use super::mailbox::Mailbox;
use super::operate::{Observed, ServerView};
use super::queue::Waiter;
use super::returning::Unanswered;
use super::ruling::Ruling;
use crate::balance::{
    self, Choice, Explanation, Followed, KeyHash, Offer, Pin, Refusal, ServerId, ServerState, Ticket,
};
use crate::model::rule::Directions;
use crate::model::{self, StickKeys};
use crate::os::tcp::ConnectOptions;
use crate::rules::{Matchers, Notes};
use crate::stats::{Health, PoolStats, Registry, ServerStats, ServiceStats};

/// The process as a whole.
pub(super) struct Global {
    pub(super) registry: Arc<Registry>,
    /// Who is told what connections found out about servers.
    pub(super) observer: OnceLock<Box<dyn Fn(Observed) + Send + Sync>>,
    /// Who is told that servers did not answer clients' addresses.
    pub(super) returns: OnceLock<Box<dyn Fn(Unanswered) + Send + Sync>>,
    pub(super) workers: Vec<Arc<Mailbox>>,
    pub(super) open: AtomicU64,
    pub(super) limit: Gate,
    pub(super) journal: Slot,
    /// The variables of the process, which rules of all connections set.
    pub(super) variables: Mutex<Notes>,
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
    /// Its rules, if it has any.
    pub(super) ruling: Option<Ruling>,
    /// What the lines of its connections ask.
    pub(super) told: Matchers,
    pub(super) global: Arc<Global>,
    /// Shared by all versions of the service: connections of an older one make room for those of a newer.
    limit: Arc<Gate>,
}

/// A pool; one value for its whole life, over reloads.
#[derive(Debug)]
pub(super) struct PoolShared {
    /// Connections that wait for a server with room.
    pub(super) waiting: AtomicU64,
    /// Connections that were sent to it.
    pub(super) sessions: PerSecond,
    pub(super) me: Weak<Self>,
    state: Mutex<PoolState>,
}

#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) spec: Arc<model::Pool>,
    pub(super) balance: balance::Pool,
    pub(super) servers: Vec<Arc<ServerShared>>,
    pub(super) stats: Arc<PoolStats>,
    pub(super) waiters: HashMap<Ticket, Waiter>,
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
    /// Its address is the one that the client connected to.
    pub(super) follows_clients: bool,
    pub(super) link: Link,
    pub(super) observe: Option<model::Observe>,
    pub(super) stats: Arc<ServerStats>,
    /// Somebody may wait for a place of it.
    limited: bool,
}

/// How connections to a server are made.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) send_proxy: Option<model::ProxyVersion>,
    pub(super) source: Option<model::Source>,
    user_timeout: Option<Duration>,
    fast_open: bool,
}

impl Link {
    fn of(server: &model::Server) -> Self {
        let model::Server { send_proxy, user_timeout, fast_open, .. } = *server;
        Self { send_proxy, source: server.source.clone(), user_timeout, fast_open }
    }

    pub(super) fn options(&self, client: SocketAddr) -> ConnectOptions<'_> {
        let Self { user_timeout, fast_open, .. } = *self;
        ConnectOptions { source: self.source.as_ref(), client: Some(client), user_timeout, fast_open }
    }
}

/// A server given to a connection; counted as open there until dropped.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) server: Arc<ServerShared>,
    pub(super) id: ServerId,
    pub(super) sticky: bool,
    /// Who is told that the place is free; only where there is a limit.
    pool: Option<Arc<PoolShared>>,
}

/// A connection that wants a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) client: IpAddr,
    /// What it names, where its pool hashes that.
    pub(super) name: Option<KeyHash>,
    /// What it brings of a TLS session.
    pub(super) offer: Option<&'a Offer>,
    /// What the stick table knows it by; none: its address.
    pub(super) keys: Option<&'a StickKeys>,
    /// What the rules of the pool say about its server.
    pub(super) directions: Option<&'a Directions>,
    /// Servers that failed it.
    pub(super) exclude: &'a [ServerId],
}

impl std::fmt::Debug for Global {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Global").field("open", &self.open).field("limit", &self.limit).finish_non_exhaustive()
    }
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

    /// Nothing panics while it holds the lock.
    pub(super) fn variables(&self) -> MutexGuard<'_, Notes> {
        self.variables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServiceShared {
    /// A service, or another version of the one that is `running` under its name.
    pub(super) fn new(
        spec: model::Service,
        pool: Arc<PoolShared>,
        (ruling, told): (Option<Ruling>, Matchers),
        running: Option<&Self>,
        global: Arc<Global>,
    ) -> Self {
        let limit = running.map_or_else(|| Arc::new(Gate::new(0)), |running| Arc::clone(&running.limit));
        limit.set(spec.max_connections.map_or(u64::MAX, u64::from));
        let stats = running.map_or_else(|| global.registry.service(&spec.name), |running| Arc::clone(&running.stats));
        Self { spec, stats, pool, ruling, told, global, limit }
    }

    /// Takes a place for one more connection, in the process and in the service. None: nothing may be accepted now, and
    /// the workers will be told when it may.
    pub(super) fn enter(&self, now: Instant) -> Option<u64> {
        if self.ruling.as_ref().is_some_and(|ruling| !ruling.has_room(now)) {
            return None;
        }
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
    pub(super) fn new(spec: &model::Pool, registry: &Registry, now: Instant) -> Arc<Self> {
        let mut balance = balance::Pool::new(spec, now);
        // Several nodes must not draw alike.
        balance.seed(RandomState::new().hash_one(&spec.name));
        let state = PoolState {
            spec: Arc::new(spec.clone()),
            balance,
            servers: Vec::new(),
            stats: registry.pool(&spec.name),
            waiters: HashMap::new(),
            places: HashMap::new(),
        };
        let (waiting, sessions) = (AtomicU64::new(0), PerSecond::default());
        let pool = Arc::new_cyclic(|me| Self { waiting, sessions, me: me.clone(), state: Mutex::new(state) });
        {
            let mut state = pool.lock();
            state.renew_servers(registry, now);
            state.close_nameless(now);
        }
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
        state.renew_servers(registry, now);
        state.close_nameless(now);
        drop(state);
        self.renew_hash();
        self.on_room();
    }

    /// Builds the hash tables anew if they are out of date, while the workers go on by the former ones.
    pub(super) fn renew_hash(&self) {
        let plan = self.lock().balance.hash_plan();
        if let Some(plan) = plan {
            let hash = plan.build();
            self.lock().balance.publish(hash);
        }
    }

    pub(super) fn views(&self, now: Instant) -> Vec<ServerView> {
        let state = self.lock();
        let view = |(state, server): (ServerState, &Arc<ServerShared>)| ServerView {
            state,
            address: server.place.address,
            port: server.place.port,
        };
        state.balance.servers(now).into_iter().zip(&state.servers).map(view).collect()
    }

    /// Changes what an administrator or a check may change of the servers; false when that is no change.
    pub(super) fn change(&self, now: Instant, change: impl FnOnce(&mut balance::Pool) -> bool) -> bool {
        let mut state = self.lock();
        let changed = change(&mut state.balance);
        state.show_states(now);
        drop(state);
        if changed {
            self.renew_hash();
            self.on_room();
        }
        changed
    }

    /// Publishes the health of a server that has it from another one. A new one is taken for up.
    pub(super) fn show_tracked(&self, server: &str, followed: Followed, tracked: &str, now: Instant) {
        let server = self.lock().servers.iter().find(|known| known.name == server).cloned();
        let Some(server) = server else { return };
        let health = if followed.up { Health::Up } else { Health::Down };
        let mut fell = false;
        server.stats.update_status(|status| {
            let before = std::mem::replace(&mut status.health, health);
            fell = health == Health::Down && before != Health::Down;
            if before != health {
                status.since = Some(now);
            }
            status.reason = format!("tracks {tracked}");
            status.tracks = Some(tracked.to_owned());
            status.stopping = followed.stopping;
        });
        server.stats.downs.fetch_add(u64::from(fell), Ordering::Relaxed);
    }

    /// New connections to a server go there from now on.
    pub(super) fn set_place(
        &self,
        server: &str,
        address: Option<IpAddr>,
        port: Option<model::ServerPort>,
        registry: &Registry,
        now: Instant,
    ) {
        let mut state = self.lock();
        let Some(before) = state.servers.iter().find(|known| known.name == server).map(|known| known.place) else {
            return;
        };
        let place = Place { address: address.unwrap_or(before.address), port: port.unwrap_or(before.port) };
        state.places.insert(server.to_owned(), place);
        state.renew_servers(registry, now);
    }

    /// Who waits may find room by that.
    pub(super) fn set_limit(&self, server: &str, limit: Option<u32>, registry: &Registry, now: Instant) {
        {
            let mut state = self.lock();
            // An agent repeats itself.
            if !state.balance.set_limit(server, limit, now) {
                return;
            }
            state.renew_servers(registry, now);
        }
        self.on_room();
    }

    pub(super) fn spec(&self) -> Arc<model::Pool> {
        Arc::clone(&self.lock().spec)
    }

    pub(super) fn is_usable(&self) -> bool {
        self.lock().balance.is_usable()
    }

    pub(super) fn is_up(&self, server: &str) -> bool {
        self.lock().balance.is_up(server)
    }

    pub(super) fn table_len(&self, now: Instant) -> usize {
        self.lock().balance.table_len(now)
    }

    /// Chooses a server for a client, and counts the connection as the server's.
    pub(super) fn select(&self, wanted: &Wanted<'_>, pin: &mut Option<Pin>, now: Instant) -> Result<Assigned, Refusal> {
        let mut state = self.lock();
        let PoolState { balance, servers, .. } = &mut *state;
        let load = |position: usize| servers[position].stats.open.load(Ordering::SeqCst);
        let choice = balance.select(&wanted.request(*pin), load, now)?;
        *pin = choice.pin;
        Ok(state.assign(&choice, self))
    }

    /// What [`PoolShared::select`] would do, without any effect.
    pub(super) fn explain(&self, wanted: &Wanted<'_>, now: Instant) -> Explanation {
        let mut state = self.lock();
        let PoolState { balance, servers, .. } = &mut *state;
        let load = |position: usize| servers[position].stats.open.load(Ordering::SeqCst);
        balance.explain(&wanted.request(None), load, now)
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

impl Wanted<'_> {
    fn request(&self, held: Option<Pin>) -> balance::Request<'_> {
        let Self { client, name, offer, keys, directions, exclude } = *self;
        balance::Request { client, name, offer, keys, exclude, held, directions, waited: false }
    }
}

impl PoolState {
    /// The server that was chosen, with one more connection.
    pub(super) fn assign(&self, choice: &Choice, pool: &PoolShared) -> Assigned {
        let server = Arc::clone(&self.servers[choice.position]);
        let open = server.stats.open.fetch_add(1, Ordering::SeqCst) + 1;
        server.stats.open_max.fetch_max(open, Ordering::Relaxed);
        server.stats.chosen.fetch_add(1, Ordering::Relaxed);
        let pool = if server.limited { pool.me.upgrade() } else { None };
        Assigned { server, id: choice.id, sticky: choice.sticky, pool }
    }

    /// A server by its number.
    pub(super) fn server(&self, id: ServerId) -> Option<&Arc<ServerShared>> {
        self.balance.position(id).and_then(|position| self.servers.get(position))
    }

    fn renew_servers(&mut self, registry: &Registry, now: Instant) {
        let hashes = self.spec.hash_balance_factor.is_some();
        let limits: Vec<Option<u32>> = self.balance.servers(now).iter().map(|state| state.limit).collect();
        let server = |(server, limit): (&model::Server, Option<u32>)| {
            let place = self.places.get(&server.name).copied().unwrap_or_else(|| Place::of(server));
            Arc::new(ServerShared {
                name: server.name.clone(),
                place,
                follows_clients: server.follows_clients() && place.address.is_unspecified(),
                link: Link::of(server),
                observe: server.observe,
                stats: registry.server(&self.spec.name, &server.name),
                limited: limit.is_some() || hashes,
            })
        };
        self.servers = self.spec.servers.iter().zip(limits).map(server).collect();
        self.show_states(now);
    }

    /// Servers whose name is not resolved yet serve nobody: to connect to no address would reach this node.
    fn close_nameless(&mut self, now: Instant) {
        for server in self.servers.iter().filter(|server| server.is_nameless()) {
            self.balance.set_up(&server.name, false, now);
        }
    }

    /// Publishes what an administrator set.
    fn show_states(&self, now: Instant) {
        for (server, state) in self.servers.iter().zip(self.balance.servers(now)) {
            server.stats.update_status(|status| {
                status.admin = Some(state.admin);
                status.followed = state.followed;
                let place = self.places.get(&server.name);
                status.place = place.map(|place| (place.address, place.port));
                status.weight = (state.weight != state.configured_weight).then_some(state.weight);
                status.limit = Some(state.limit.unwrap_or(0));
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
        self.server.stats.open.fetch_sub(1, Ordering::SeqCst);
        if let Some(pool) = &self.pool {
            pool.on_room();
        }
    }
}
