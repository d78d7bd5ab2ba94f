//! A reload: bind what is new, which may fail and changes nothing else; then serve it, which cannot fail and touches only the
//! difference.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Binding;
use super::listener::{self, BindError, BindReason, ListenKey};
use super::mailbox::Command;
use super::shared::{PoolShared, ServiceShared};
use super::{Open, Proxy, steering};
use crate::model::{ListenTuning, Pool, Prefix, Service};
use crate::os::port_owner;
use crate::os::tcp::Listener;

/// A listener that new clients are led away from stays for the handshakes that are under way there: for longer than any way
/// there and back, and than a segment takes that is lost once.
pub(super) const HANDSHAKES: Duration = Duration::from_secs(2);

/// Who has a listener, and what is particular to it.
#[derive(Debug)]
struct Claim {
    service: String,
    proxy_from: Arc<[Prefix]>,
    tuning: ListenTuning,
}

/// A configuration whose new listeners are bound, and which nothing serves yet. Dropped, it leaves no trace.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    services: Vec<Service>,
    pools: Vec<Pool>,
    bound: HashMap<ListenKey, Vec<Arc<Listener>>>,
    claims: HashMap<ListenKey, Claim>,
    ranges: Vec<steering::Range>,
}

impl Proxy {
    /// Binds what `services` listen on and is not bound yet. On failure nothing has changed, and every address that cannot be
    /// had is named.
    pub fn prepare(&mut self, services: &[Service], pools: &[Pool]) -> Result<Prepared, Vec<BindError>> {
        let prepared = self.bind(services, pools, self.steering.is_some())?;
        let Err(error) = self.stage(&prepared.ranges) else { return Ok(prepared) };
        tracing::warn!(%error, "the kernel does not steer ranges of ports: each port gets a listener and a descriptor");
        drop(prepared);
        let prepared = self.bind(services, pools, false)?;
        // To end what is steered now cannot fail.
        let _staged = self.stage(&[]);
        Ok(prepared)
    }

    fn stage(&mut self, ranges: &[steering::Range]) -> io::Result<()> {
        self.steering.as_mut().map_or(Ok(()), |steering| steering.stage(ranges))
    }

    fn bind(&self, services: &[Service], pools: &[Pool], steer: bool) -> Result<Prepared, Vec<BindError>> {
        let wanted = listener::wanted(services, steer)?;
        let mut errors = Vec::new();
        let mut bound = HashMap::new();
        let mut claims = HashMap::new();
        let mut ranges = Vec::new();
        for (key, wanted) in wanted {
            let service = wanted.service;
            if let Some(missing) = service.pools().find(|name| !pools.iter().any(|pool| pool.name == *name)) {
                let (service, reason) = (service.name.clone(), BindReason::NoPool(missing.to_owned()));
                errors.push(BindError { service, address: key.address, reason });
                continue;
            }
            if key.steered {
                errors.extend(key.taken(&wanted, |address| self.in_the_way(address), &self.owners));
            }
            if !self.listeners.contains_key(&key) {
                let ours = self.in_the_way(key.address);
                match key.open(&wanted, self.global.workers.len(), ours, &self.owners) {
                    Ok(sockets) => _ = bound.insert(key.clone(), sockets),
                    Err(error) => errors.push(error),
                }
            }
            if key.steered {
                let new = bound.get(&key).and_then(|sockets| sockets.first());
                let listener =
                    new.or_else(|| self.listeners.get(&key)?.sockets.first().map(|(_, _, listener)| listener));
                ranges.extend(listener.map(|listener| key.range(wanted.ports, listener)));
            }
            let claim = Claim {
                service: service.name.clone(),
                proxy_from: wanted.listen.proxy_from.as_slice().into(),
                tuning: wanted.listen.tuning.clone(),
            };
            claims.insert(key, claim);
        }
        if errors.is_empty() {
            Ok(Prepared { services: services.to_vec(), pools: pools.to_vec(), bound, claims, ranges })
        } else {
            errors.sort_by_key(|error| error.address);
            Err(errors)
        }
    }

    /// Serves what was prepared, touching only the difference to what is served now.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared { services, pools, bound, claims, ranges } = prepared;
        let gone = self.commit_pools_and_services(&services, &pools);
        let mut commands: Vec<Vec<Command>> = self.global.workers.iter().map(|_| Vec::new()).collect();
        self.commit_listeners(bound, claims, &ranges, &mut commands);
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

    /// Whether one of its listeners stands in the way of a new one: then no other process does, and to look for it would
    /// take long.
    fn in_the_way(&self, address: SocketAddr) -> bool {
        let leaving = self.leaving.iter().map(|(_, address)| *address);
        self.listeners.keys().map(|key| key.address).chain(leaving).any(|ours| port_owner::conflicts(ours, address))
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
        self.commit_tables(services, now);
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
                let service = ServiceShared::new(spec.clone(), pool, ruling, running, global);
                self.services.insert(spec.name.clone(), Arc::new(service));
            }
        }
        gone
    }

    fn commit_listeners(
        &mut self,
        mut bound: HashMap<ListenKey, Vec<Arc<Listener>>>,
        claims: HashMap<ListenKey, Claim>,
        ranges: &[steering::Range],
        commands: &mut [Vec<Command>],
    ) {
        let stays: HashSet<&ListenKey> = claims.keys().collect();
        let now = Instant::now();
        self.leaving.retain(|(until, _)| *until > now);
        self.listeners.retain(|key, open| {
            let stays = stays.contains(key);
            if !stays {
                let after = ranges.iter().any(|range| range.leads_away(key.address)).then_some(HANDSHAKES);
                self.leaving.extend(after.map(|after| (now + after, key.address)));
                for (worker, id, _) in &open.sockets {
                    commands[*worker].push(Command::Unlisten { id: *id, after });
                }
            }
            stays
        });
        for (key, claim) in claims {
            let Some(service) = self.services.get(&claim.service) else { continue };
            if let Some(open) = self.listeners.get_mut(&key) {
                if !Arc::ptr_eq(&open.service, service) {
                    open.service = Arc::clone(service);
                    for (worker, id, listener) in &open.sockets {
                        configure(listener, service, &claim);
                        let (service, proxy_from) = (Arc::clone(service), Arc::clone(&claim.proxy_from));
                        commands[*worker].push(Command::Serve { id: *id, service, proxy_from });
                    }
                }
                continue;
            }
            let mut open = Open { service: Arc::clone(service), sockets: Vec::new() };
            for listener in bound.remove(&key).into_iter().flatten() {
                configure(&listener, service, &claim);
                let (worker, id) = (self.next_worker % commands.len(), self.next_listener);
                self.next_worker += 1;
                self.next_listener += 1;
                let binding = Binding {
                    service: Arc::clone(service),
                    address: key.address,
                    proxy_from: Arc::clone(&claim.proxy_from),
                    steered: key.steered,
                };
                let command = Command::Listen { id, listener: Arc::clone(&listener), binding };
                commands[worker].push(command);
                open.sockets.push((worker, id, listener));
            }
            self.listeners.insert(key, open);
        }
    }
}

/// What may change while a listener is open.
fn configure(listener: &Listener, service: &ServiceShared, claim: &Claim) {
    let spec = &service.spec;
    let configured = listener
        .set_keepalive(spec.client_keepalive)
        .and_then(|()| listener.tune(&claim.tuning))
        .and_then(|()| listener.set_backlog(spec.backlog));
    if let Err(error) = configured {
        tracing::warn!(service = spec.name, %error, "cannot change the options of a listener");
    }
}
