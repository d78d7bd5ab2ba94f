//! The data plane: accepts, chooses a server, relays. Threads of its own, one epoll descriptor each, and no runtime.
//!
//! [`Proxy`] is the control thread's handle. A reload is [`Proxy::prepare`], which binds what is new and changes nothing else,
//! then [`Proxy::commit`], which cannot fail and touches only the difference:
//!
//! - A listener that stays, by address, port and interface, keeps its sockets and what waits there, whichever service it
//!   belongs to now. One that goes is accepted dry, then closed.
//! - Open connections go on under the settings they began with, also those to a server that was removed (HAProxy's old process
//!   would keep them too). Only those of a service that is gone are reset.
//! - A pool that stays, by name, keeps its stick table; a server that stays, by name, its health, turn, clients and counters.
#![expect(clippy::disallowed_methods, reason = "shell: the clock is read here")]

mod connection;
mod ending;
mod figures;
mod greeting;
mod inspect;
mod journal;
mod listener;
mod listeners;
mod lookout;
mod mailbox;
mod operate;
mod queue;
mod rehearsal;
pub mod relay;
mod returning;
mod ruling;
mod session;
mod shared;
mod slab;
mod states;
mod steering;
mod stick;
mod timer;
mod tls_session;
mod upstream;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use journal::{Ended, Journal, Noted, OpenCounts, Phase};
pub use listener::{BindError, BindReason};
pub use lookout::Lookout;
pub use operate::{Observed, OperateError, ServerView, ServiceExplanation};
pub use rehearsal::Rehearsal;
pub use returning::Unanswered;
pub use session::{Session, SessionId, SessionPhase};
pub use steering::Steering;

use crate::balance::SharedTable;
use crate::model::{Pool, Service};
use crate::os::port_owner::PortOwner;
use crate::os::tcp::Listener;
use crate::os::uring::Ring;
use crate::rules::{Lists, Matchers};
use crate::stats::Registry;
use journal::Slot;
use listener::{ListenKey, PortOwners};
use listeners::{CalledBack, Claim, Listeners};
use mailbox::{Command, Mailbox, Report};
use ruling::{Ruling, TableShared};
use shared::{Gate, Global, PoolShared, ServiceShared};
use worker::Worker;

/// Descriptors left for everything that is neither a listener nor a connection nor a pipe.
const RESERVED_DESCRIPTORS: u64 = 256;

/// The data plane, as the control thread holds it.
#[derive(Debug)]
pub struct Proxy {
    global: Arc<Global>,
    threads: Vec<JoinHandle<()>>,
    services: BTreeMap<String, Arc<ServiceShared>>,
    pools: BTreeMap<String, Arc<PoolShared>>,
    /// Stick tables, by name: a pool's own has the pool's.
    stick_tables: BTreeMap<String, SharedTable>,
    /// Counters of sources, by name.
    tables: BTreeMap<String, Arc<TableShared>>,
    /// What rules look things up in, which can be changed.
    lists: Arc<Lists>,
    listeners: Listeners,
    max_connections: Option<u32>,
    owners: PortOwners,
    steering: Option<Steering>,
    lookout: Lookout,
}

/// A configuration whose new listeners are bound, and which nothing serves yet. Dropped, it leaves no trace.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    services: Vec<Service>,
    pools: Vec<Pool>,
    bound: HashMap<ListenKey, Vec<Arc<Listener>>>,
    called_back: CalledBack,
    claims: HashMap<ListenKey, Claim>,
}

type Bound = (Prepared, Vec<steering::Range>);

impl Proxy {
    /// Starts the workers, which have nothing to do yet. `max_connections` bounds all services together; without, the
    /// descriptor limit does, which is raised as far as the process may. With `io_uring`, where the kernel permits it, a worker
    /// writes for many connections at once. Fails when a thread or a descriptor cannot be had.
    pub fn start(
        workers: usize,
        registry: Arc<Registry>,
        max_connections: Option<u32>,
        io_uring: bool,
    ) -> io::Result<Self> {
        let mailboxes = (0..workers.max(1)).map(|_| Mailbox::new().map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
        let global = Arc::new(Global {
            registry,
            observer: OnceLock::new(),
            returns: OnceLock::new(),
            journal: Slot::default(),
            workers: mailboxes,
            open: AtomicU64::new(0),
            limit: Gate::new(u64::MAX),
            variables: Mutex::default(),
        });
        let mut threads = Vec::new();
        let mut rings = if io_uring { rings(global.workers.len()) } else { Vec::new() }.into_iter();
        for (index, mailbox) in global.workers.iter().enumerate() {
            let (mailbox, registry) = (Arc::clone(mailbox), Arc::clone(&global.registry));
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            let (started, result) = std::sync::mpsc::sync_channel(1);
            let ring = rings.next();
            threads.push(thread.spawn(move || match Worker::new(mailbox, registry, ring) {
                Ok(worker) => {
                    let _heard = started.send(Ok(()));
                    worker.run();
                }
                Err(error) => {
                    let _heard = started.send(Err(error));
                }
            })?);
            result.recv().map_err(io::Error::other)??;
        }
        let proxy = Self {
            global,
            threads,
            services: BTreeMap::new(),
            pools: BTreeMap::new(),
            stick_tables: BTreeMap::new(),
            tables: BTreeMap::new(),
            lists: Arc::default(),
            listeners: Listeners::default(),
            max_connections,
            owners: PortOwners::default(),
            steering: None,
            lookout: Lookout::default(),
        };
        proxy.apply_limit();
        Ok(proxy)
    }

    /// Has connections told to `journal` rather than as events of the process. Once.
    pub fn keep_journal(&self, journal: Arc<dyn Journal>) {
        let _kept_before = self.global.journal.0.set(journal);
    }

    /// Has `look` tell which processes listen on an address that cannot be had.
    pub fn look_for_owners_by(&mut self, look: impl Fn(SocketAddr) -> Vec<PortOwner> + Send + 'static) {
        self.owners = PortOwners::new(look);
    }

    /// Has ranges of ports come to one listener a worker rather than one a port.
    pub fn steer_by(&mut self, steering: Steering) {
        self.steering = Some(steering);
    }

    /// Binds what `services` listen on and is not bound yet. On failure nothing has changed, and every address that cannot be
    /// had is named.
    pub fn prepare(&mut self, services: &[Service], pools: &[Pool]) -> Result<Prepared, Vec<BindError>> {
        let (prepared, ranges) = self.bind(services, pools, self.steering.is_some())?;
        let Err(error) = self.stage(&ranges) else { return Ok(prepared) };
        tracing::warn!(%error, "the kernel does not steer ranges of ports: each port gets a listener and a descriptor");
        drop(prepared);
        let (prepared, _none) = self.bind(services, pools, false)?;
        // To end what is steered now cannot fail.
        let _staged = self.stage(&[]);
        Ok(prepared)
    }

    fn stage(&mut self, ranges: &[steering::Range]) -> io::Result<()> {
        self.steering.as_mut().map_or(Ok(()), |steering| steering.stage(ranges))
    }

    /// Binds, and says which ranges of ports are to be steered to what was bound.
    fn bind(&self, services: &[Service], pools: &[Pool], steer: bool) -> Result<Bound, Vec<BindError>> {
        let stays = |address, ports| self.listeners.steers(address, ports);
        let wanted = listener::wanted(services, steer, stays)?;
        let mut errors = Vec::new();
        let mut bound = HashMap::new();
        let mut called_back = CalledBack::none(&self.global.workers);
        let mut claims = HashMap::new();
        let mut ranges = Vec::new();
        for (key, wanted) in wanted {
            let service = wanted.service;
            if let Some(missing) = service.pools().find(|name| !pools.iter().any(|pool| pool.name == *name)) {
                let (service, reason) = (service.name.clone(), BindReason::NoPool(missing.to_owned()));
                errors.push(BindError { service, address: key.address, reason });
                continue;
            }
            if wanted.steered {
                errors.extend(key.taken(&wanted, |address| self.listeners.in_the_way(address), &self.owners));
            }
            let open = self.listeners.sockets(&key).or_else(|| self.listeners.call_back(&key, &mut called_back));
            let needed = wanted.sockets(self.global.workers.len());
            if open.is_none_or(|open| open < needed) {
                let ours = self.listeners.in_the_way(key.address);
                match key.open(&wanted, needed - open.unwrap_or(0), ours, &self.owners) {
                    Ok(sockets) => _ = bound.insert(key.clone(), sockets),
                    Err(error) => errors.push(error),
                }
            }
            if wanted.is_led() {
                let new = bound.get(&key).and_then(|sockets| sockets.first());
                let listener = new.or_else(|| called_back.first(&key)).or_else(|| self.listeners.first(&key));
                ranges.extend(listener.map(|listener| key.range(wanted.ports, listener)));
            }
            let claim = Claim {
                service: service.name.clone(),
                ports: wanted.ports,
                proxy_from: wanted.listen.proxy_from.as_slice().into(),
                tuning: wanted.listen.tuning.clone(),
            };
            claims.insert(key, claim);
        }
        if errors.is_empty() {
            let (services, pools) = (services.to_vec(), pools.to_vec());
            Ok((Prepared { services, pools, bound, called_back, claims }, ranges))
        } else {
            errors.sort_by_key(|error| error.address);
            Err(errors)
        }
    }

    /// Serves what was prepared, touching only the difference to what is served now.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared { services, pools, bound, mut called_back, claims } = prepared;
        let gone = self.commit_pools_and_services(&services, &pools);
        let mut commands: Vec<Vec<Command>> = self.global.workers.iter().map(|_| Vec::new()).collect();
        let service = |name: &str| self.services.get(name).map(Arc::clone);
        self.listeners.commit(bound, &mut called_back, claims, service, &mut commands);
        for name in gone {
            let name: Arc<str> = name.into();
            for commands in &mut commands {
                commands.push(Command::ResetService { name: Arc::clone(&name) });
            }
        }
        // Before old listeners are closed: new connections come to the new ones.
        if let Some(steering) = &mut self.steering {
            steering.commit();
        }
        for (worker, commands) in self.global.workers.iter().zip(commands) {
            worker.send(commands);
        }
        self.apply_limit();
    }

    /// Returns the services that are gone.
    fn commit_pools_and_services(&mut self, services: &[Service], pools: &[Pool]) -> Vec<String> {
        let now = Instant::now();
        let registry = Arc::clone(&self.global.registry);
        self.pools.retain(|name, _| pools.iter().any(|pool| pool.name == *name));
        for spec in pools {
            match self.pools.get(&spec.name) {
                Some(pool) => pool.reconfigure(spec, &registry, now),
                None => _ = self.pools.insert(spec.name.clone(), PoolShared::new(spec, &registry, now)),
            }
        }
        self.lookout.see(&self.pools);
        self.commit_stick_tables(pools, now);
        self.commit_tables(services, pools, now);
        self.follow_tracked();
        let mut gone = Vec::new();
        self.services.retain(|name, _| {
            let stays = services.iter().any(|service| service.name == *name);
            if !stays {
                gone.push(name.clone());
            }
            stays
        });
        for spec in services {
            let Some(pool) = self.pools.get(&spec.pool) else { continue };
            let ruling = self.ruling_of(spec, now);
            let same = |running: &Arc<ServiceShared>| {
                let wired = match (&running.ruling, &ruling) {
                    (Some(running), Some(new)) => running.is_wired_as(new),
                    (None, None) => true,
                    _ => false,
                };
                running.spec == *spec && Arc::ptr_eq(&running.pool, pool) && wired
            };
            if !self.services.get(&spec.name).is_some_and(same) {
                let running = self.services.get(&spec.name).map(Arc::as_ref);
                let (pool, global) = (Arc::clone(pool), Arc::clone(&self.global));
                let mut told = Matchers::default();
                told.ask(spec.log_line.lookups(), &self.lists);
                let service = ServiceShared::new(spec.clone(), pool, (ruling, told), running, global);
                self.services.insert(spec.name.clone(), Arc::new(service));
            }
        }
        gone
    }

    /// Bounds all services together; none: as many as there are descriptors for.
    pub fn set_max_connections(&mut self, max_connections: Option<u32>) {
        self.max_connections = max_connections;
        self.apply_limit();
    }

    fn apply_limit(&self) {
        let descriptors = descriptor_limit();
        // Who finds no descriptor for a pipe copies: few are kept for them.
        let pipes = (2 * relay::MOST_PIPES * self.global.workers.len()) as u64;
        let taken = RESERVED_DESCRIPTORS + pipes.min(descriptors / 32) + self.listeners() as u64;
        let spare = descriptors.saturating_sub(taken);
        // A connection has two.
        let possible = (spare / 2).max(1);
        let limit = match self.max_connections.map(u64::from) {
            Some(wanted) if wanted > possible => {
                tracing::warn!(
                    wanted,
                    possible,
                    descriptors,
                    "max-connections exceeds what the descriptor limit allows: raise LimitNOFILE"
                );
                possible
            }
            Some(wanted) => wanted,
            None => possible,
        };
        self.global.limit.set(limit);
        self.global.resume();
    }

    /// Resets the connections whose clients reached one of `addresses`, which are about to leave this node. `done` gets their
    /// number once all are reset; it is called on any thread and must not block.
    pub fn reset_local(&self, addresses: &[IpAddr], done: impl FnOnce(u64) + Send + 'static) {
        let report = Arc::new(Report::new(Box::new(done)));
        let addresses: Arc<[IpAddr]> = addresses.into();
        for worker in &self.global.workers {
            let (addresses, report) = (Arc::clone(&addresses), Arc::clone(&report));
            worker.send(vec![Command::ResetLocal { addresses, report }]);
        }
    }

    /// Connections open now.
    #[must_use]
    pub fn open_flows(&self) -> u64 {
        self.global.open.load(Ordering::Relaxed)
    }

    /// So many may be open at a time; more clients wait.
    #[must_use]
    pub fn connection_limit(&self) -> u64 {
        self.global.limit.get()
    }

    /// Counters that the workers' loops bump at least ten times a second.
    #[must_use]
    pub fn heartbeats(&self) -> Vec<Arc<AtomicU64>> {
        self.global.workers.iter().map(|worker| Arc::clone(&worker.heartbeat)).collect()
    }

    /// Whether a service can be served here: it listens, and a server is up, of its pool or of one that its rules name.
    #[must_use]
    pub fn ready(&self, service: &str) -> bool {
        let of_rules =
            |service: &ServiceShared| service.ruling.iter().flat_map(Ruling::pools).any(|pool| pool.is_usable());
        self.services.get(service).is_some_and(|service| service.pool.is_usable() || of_rules(service))
    }

    /// Sources that a table of counters knows.
    #[must_use]
    pub fn counted_sources(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, |table| table.len(Instant::now()))
    }

    /// Clients that a pool's stick table remembers.
    #[must_use]
    pub fn table_len(&self, pool: &str) -> usize {
        self.pools.get(pool).map_or(0, |pool| pool.table_len(Instant::now()))
    }

    /// Listening descriptors.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.count()
    }

    /// Stops accepting, gives open connections `grace` to end, resets the rest. Blocks until that is done.
    pub fn stop(mut self, grace: Duration) {
        self.listeners = Listeners::default();
        let deadline = Instant::now() + grace;
        for worker in &self.global.workers {
            worker.send(vec![Command::Stop { deadline }]);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

impl Drop for Proxy {
    /// Without [`Proxy::stop`], connections get no time to end.
    fn drop(&mut self) {
        for worker in &self.global.workers {
            worker.send(vec![Command::Stop { deadline: Instant::now() }]);
        }
    }
}

/// How `services` would be listened for by so many workers, in words: the number of descriptors, and what becomes of ranges
/// of ports. `steering` is whether the kernel can be told about those, or why not.
#[must_use]
pub fn listening_plan(services: &[Service], workers: usize, steering: &io::Result<Steering>) -> String {
    let (descriptors, ranges) = listener::plan(services, workers, true);
    let ranges = ranges.join(", ");
    match steering {
        _ if ranges.is_empty() => format!("listening: {descriptors} descriptors"),
        Ok(_) => format!("listening: {descriptors} descriptors; one a thread, which the kernel leads to, for {ranges}"),
        Err(error) => {
            let (descriptors, _) = listener::plan(services, workers, false);
            format!(
                "listening: {descriptors} descriptors; one a port for {ranges}: the kernel leads no range here ({error})"
            )
        }
    }
}

/// One for each worker, or none.
fn rings(workers: usize) -> Vec<Ring> {
    let rings: io::Result<_> = (0..workers).map(|_| Ring::new()).collect();
    rings.unwrap_or_else(|error| {
        tracing::info!(%error, "io_uring cannot be had here: connections are written to one by one, which costs more time");
        Vec::new()
    })
}

/// The descriptor limit, raised as far as the process may.
fn descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}
