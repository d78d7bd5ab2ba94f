//! The listeners that are open, who has them, and those that are on their way out.
//!
//! A listener that goes while another takes its place stays for [`HANDSHAKES`]: to close it would reset the handshakes that
//! were begun with it. One that is wanted again within that time is called back, since two sockets on one port share
//! the clients that come, and one of the two would be closed.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::connection::Binding;
use super::listener::ListenKey;
use super::mailbox::{Command, Mailbox};
use super::shared::ServiceShared;
use crate::model::{ListenTuning, PortRange, Prefix};
use crate::os::port_owner;
use crate::os::tcp::Listener;

/// For longer than any way there and back, and than a segment takes that is lost once.
pub(super) const HANDSHAKES: Duration = Duration::from_secs(2);

/// Every listener of the data plane.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: HashMap<ListenKey, Open>,
    leaving: Vec<Leaving>,
    next_id: u64,
}

/// An open listener: its sockets, each with its worker and its number there.
#[derive(Debug)]
struct Open {
    /// None after it was called back: whatever it serves is told to its workers.
    service: Option<Arc<ServiceShared>>,
    ports: PortRange,
    sockets: Vec<(usize, u64, Arc<Listener>)>,
}

#[derive(Debug)]
struct Leaving {
    until: Instant,
    key: ListenKey,
    ports: PortRange,
    /// Only its workers still hold it: a socket is closed when nobody does.
    sockets: Vec<(usize, u64, Weak<Listener>)>,
    farewell: Arc<Farewell>,
}

impl Leaving {
    fn new(key: ListenKey, open: Open, now: Instant) -> Self {
        let sockets = open.sockets.iter().map(|(worker, id, listener)| (*worker, *id, Arc::downgrade(listener)));
        Self { until: now + HANDSHAKES, key, ports: open.ports, sockets: sockets.collect(), farewell: Arc::default() }
    }

    /// None when it is closed already, or about to be.
    fn call_back(&self) -> Option<Open> {
        let sockets = self.sockets.iter().map(|(worker, id, listener)| Some((*worker, *id, listener.upgrade()?)));
        let sockets = sockets.collect::<Option<_>>()?;
        self.farewell.call_back().then_some(Open { service: None, ports: self.ports, sockets })
    }
}

/// Whether a listener that leaves still can be called back. Its workers and the control thread agree on it here.
#[derive(Debug, Default)]
pub(super) struct Farewell(AtomicU8);

impl Farewell {
    const LEAVING: u8 = 0;
    const STAYS: u8 = 1;
    const GONE: u8 = 2;

    /// A worker is about to close it: whether that is still wanted.
    pub(super) fn is_final(&self) -> bool {
        self.settle(Self::GONE)
    }

    fn call_back(&self) -> bool {
        self.settle(Self::STAYS)
    }

    fn settle(&self, what: u8) -> bool {
        match self.0.compare_exchange(Self::LEAVING, what, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(settled) => settled == what,
        }
    }
}

/// Who has a listener, and what is particular to it.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) service: String,
    pub(super) ports: PortRange,
    pub(super) proxy_from: Arc<[Prefix]>,
    pub(super) tuning: ListenTuning,
}

/// Listeners that were called back for a configuration that is not in force yet. If it never is, they leave after all.
#[derive(Debug)]
pub(super) struct CalledBack {
    workers: Vec<Arc<Mailbox>>,
    open: HashMap<ListenKey, Open>,
}

impl CalledBack {
    pub(super) fn none(workers: &[Arc<Mailbox>]) -> Self {
        Self { workers: workers.to_vec(), open: HashMap::new() }
    }

    pub(super) fn first(&self, key: &ListenKey) -> Option<&Arc<Listener>> {
        self.open.get(key)?.sockets.first().map(|(_, _, listener)| listener)
    }
}

impl Drop for CalledBack {
    fn drop(&mut self) {
        for (worker, id, _) in self.open.drain().flat_map(|(_, open)| open.sockets) {
            self.workers[worker].send(vec![Command::Unlisten { id, after: Some((HANDSHAKES, Arc::default())) }]);
        }
    }
}

impl Listeners {
    /// With how many sockets a listener is open.
    pub(super) fn sockets(&self, key: &ListenKey) -> Option<usize> {
        self.open.get(key).map(|open| open.sockets.len())
    }

    /// Listening descriptors.
    pub(super) fn count(&self) -> usize {
        self.open.values().map(|open| open.sockets.len()).sum()
    }

    /// One of the sockets of an open listener.
    pub(super) fn first(&self, key: &ListenKey) -> Option<&Arc<Listener>> {
        self.open.get(key)?.sockets.first().map(|(_, _, listener)| listener)
    }

    /// Whether one of them stands in the way of a new one: then no other process does, and to look for it would take long.
    pub(super) fn in_the_way(&self, address: SocketAddr) -> bool {
        let leaving = self.leaving.iter().map(|leaving| &leaving.key);
        self.open.keys().chain(leaving).any(|ours| port_owner::conflicts(ours.address, address))
    }

    /// Whether some of these ports are led to one listener now.
    pub(super) fn steers(&self, address: SocketAddr, ports: PortRange) -> bool {
        let mut steered = self.open.iter().filter(|(_, open)| open.ports.len() > 1);
        steered.any(|(key, open)| key.address.ip() == address.ip() && open.ports.overlaps(ports))
    }

    /// Takes a listener back that is about to leave, if it still is there; returns the number of its sockets.
    pub(super) fn call_back(&self, key: &ListenKey, into: &mut CalledBack) -> Option<usize> {
        let open = self.leaving.iter().filter(|leaving| leaving.key == *key).find_map(Leaving::call_back)?;
        let sockets = open.sockets.len();
        into.open.insert(key.clone(), open);
        Some(sockets)
    }

    /// Opens, hands on and closes what differs from `claims`. What is to be told to the workers goes into `commands`.
    pub(super) fn commit(
        &mut self,
        mut bound: HashMap<ListenKey, Vec<Arc<Listener>>>,
        called_back: &mut CalledBack,
        claims: HashMap<ListenKey, Claim>,
        service: impl Fn(&str) -> Option<Arc<ServiceShared>>,
        commands: &mut [Vec<Command>],
    ) {
        self.open.extend(called_back.open.drain().map(|(key, open)| (key, Open { service: None, ..open })));
        let now = Instant::now();
        self.leaving.retain(|leaving| leaving.until > now && !self.open.contains_key(&leaving.key));
        self.close(&claims, now, commands);
        for (key, claim) in claims {
            let Some(service) = service(&claim.service) else { continue };
            let new = bound.remove(&key).unwrap_or_default();
            let open = self.open.entry(key.clone()).or_insert_with(|| Open::of(&service, claim.ports));
            open.serve(&service, &claim, commands);
            for listener in new {
                open.listen(&key, listener, &claim, &service, self.next_id, commands);
                self.next_id += 1;
            }
        }
    }

    /// What nobody claims is closed, at once or once its handshakes are over.
    fn close(&mut self, claims: &HashMap<ListenKey, Claim>, now: Instant, commands: &mut [Vec<Command>]) {
        let gone: HashSet<ListenKey> = self.open.keys().filter(|key| !claims.contains_key(key)).cloned().collect();
        for key in gone {
            let Some(open) = self.open.remove(&key) else { continue };
            let succeeded =
                claims.iter().any(|(new, claim)| key.is_succeeded_by(new) && open.ports.overlaps(claim.ports));
            let sockets: Vec<_> = open.sockets.iter().map(|(worker, id, _)| (*worker, *id)).collect();
            let leaving = succeeded.then(|| Leaving::new(key, open, now));
            for (worker, id) in sockets {
                let after = leaving.as_ref().map(|leaving| (HANDSHAKES, Arc::clone(&leaving.farewell)));
                commands[worker].push(Command::Unlisten { id, after });
            }
            self.leaving.extend(leaving);
        }
    }
}

impl Open {
    fn of(service: &Arc<ServiceShared>, ports: PortRange) -> Self {
        Self { service: Some(Arc::clone(service)), ports, sockets: Vec::new() }
    }

    /// Adds a socket, with the worker that has the fewest of them.
    fn listen(
        &mut self,
        key: &ListenKey,
        listener: Arc<Listener>,
        claim: &Claim,
        service: &Arc<ServiceShared>,
        id: u64,
        commands: &mut [Vec<Command>],
    ) {
        configure(&listener, service, claim);
        let (address, proxy_from) = (key.address, Arc::clone(&claim.proxy_from));
        let binding = Binding { service: Arc::clone(service), address, proxy_from };
        // Ports of a range have one socket each: their workers take turns.
        let turn = id as usize % commands.len();
        let of_worker = |worker: usize| self.sockets.iter().filter(|(of, ..)| *of == worker).count();
        let worker = (0..commands.len()).min_by_key(|worker| (of_worker(*worker), *worker != turn)).unwrap_or(0);
        commands[worker].push(Command::Listen { id, listener: Arc::clone(&listener), binding });
        self.sockets.push((worker, id, listener));
    }

    fn serve(&mut self, service: &Arc<ServiceShared>, claim: &Claim, commands: &mut [Vec<Command>]) {
        self.ports = claim.ports;
        if self.service.as_ref().is_some_and(|serving| Arc::ptr_eq(serving, service)) {
            return;
        }
        self.service = Some(Arc::clone(service));
        for (worker, id, listener) in &self.sockets {
            configure(listener, service, claim);
            let (service, proxy_from) = (Arc::clone(service), Arc::clone(&claim.proxy_from));
            commands[*worker].push(Command::Serve { id: *id, service, proxy_from });
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
