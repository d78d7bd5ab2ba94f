//! Connections that wait for a server with room. A place that comes free goes to who waited longest, wherever its worker
//! is: the place is taken in its name, and sent to it.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::mailbox::{Command, Mailbox};
use super::shared::{Assigned, PoolShared, PoolState};
use super::slab::Key;
use crate::balance::{Ahead, KeyHash, Offer, Pin, Request, ServerId, Ticket};
use crate::model::StickKeys;
use crate::model::rule::Directions;
use crate::stats::ServerStats;

/// A connection in the queue.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) client: IpAddr,
    pub(super) name: Option<KeyHash>,
    pub(super) offer: Option<Offer>,
    /// What the stick table knows it by; none: its address.
    pub(super) keys: Option<Arc<StickKeys>>,
    /// What the rules of its pool say about its server.
    pub(super) directions: Option<Arc<Directions>>,
    /// Servers that failed it.
    pub(super) exclude: Vec<ServerId>,
    pub(super) held: Option<Pin>,
    /// Its worker.
    pub(super) mailbox: Arc<Mailbox>,
    /// Its number there.
    pub(super) key: Key,
    /// The counters of the server it waits for; none: any.
    pub(super) wanted: Option<Arc<ServerStats>>,
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    pool: Weak<PoolShared>,
    ticket: Ticket,
}

/// A place at a server for a connection that waited. One that nobody takes goes to the next.
#[derive(Debug)]
pub(super) struct Grant {
    ticket: Ticket,
    pool: Weak<PoolShared>,
    assigned: Option<Assigned>,
    pin: Option<Pin>,
    /// The entry is held since now.
    pinned: bool,
    /// How many were served before.
    ahead: Ahead,
}

impl Waiting {
    /// How many were served before, since it began.
    pub(super) fn ahead(&self) -> Ahead {
        self.pool.upgrade().map_or_else(Ahead::default, |pool| pool.lock().balance.ahead(self.ticket))
    }

    /// Whether this is what was waited for.
    pub(super) fn is_for(&self, grant: &Grant) -> bool {
        self.ticket == grant.ticket
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.leave_queue(self.ticket);
        }
    }
}

impl Grant {
    /// How many were served before.
    pub(super) fn ahead(&self) -> Ahead {
        self.ahead
    }

    /// The server, and the entry that the connection holds from now on.
    pub(super) fn take(mut self) -> Option<(Assigned, Option<Pin>)> {
        self.pinned = false;
        self.assigned.take().map(|assigned| (assigned, self.pin))
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let (Some(pin), Some(pool), true) = (self.pin, self.pool.upgrade(), self.pinned) {
            pool.release(pin, Instant::now());
        }
    }
}

impl PoolShared {
    /// Puts a connection into the queue for `server`, or for any. None: too many wait already.
    pub(super) fn wait(&self, mut waiter: Waiter, server: Option<ServerId>, now: Instant) -> Option<Waiting> {
        let ticket = {
            let mut state = self.lock();
            let ticket = state.balance.wait(server)?;
            let wanted = server.and_then(|id| state.server(id).map(|server| Arc::clone(&server.stats)));
            for (gauge, most) in wanted.iter().map(|stats| (&stats.queued, &stats.queued_max)) {
                most.fetch_max(gauge.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            let queued = state.stats.queued.fetch_add(1, Ordering::Relaxed) + 1;
            state.stats.queued_max.fetch_max(queued, Ordering::Relaxed);
            waiter.wanted = wanted;
            state.waiters.insert(ticket, waiter);
            self.waiting.fetch_add(1, Ordering::SeqCst);
            ticket
        };
        // A place that came free before anybody was known to wait woke nobody.
        self.serve_queue(now);
        Some(Waiting { pool: self.me.clone(), ticket })
    }

    fn leave_queue(&self, ticket: Ticket) {
        let mut state = self.lock();
        if state.balance.leave_queue(ticket) {
            state.forget(ticket, self);
        }
    }

    /// Somebody gave up a place, or there is more room for another reason.
    pub(super) fn on_room(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.serve_queue(Instant::now());
        }
    }

    /// Gives out every place there is.
    pub(super) fn serve_queue(&self, now: Instant) {
        let mut granted = Vec::new();
        {
            let mut state = self.lock();
            while let Some(grant) = state.grant_next(self, now) {
                granted.push(grant);
            }
        }
        // A worker may be gone, and its place then wants the lock again.
        for (waiter, grant) in granted {
            waiter.mailbox.send(vec![Command::Granted { key: waiter.key, grant }]);
        }
    }
}

impl PoolState {
    /// The longest waiting of those for whom there is room, with its place.
    fn grant_next(&mut self, pool: &PoolShared, now: Instant) -> Option<(Waiter, Grant)> {
        let tickets = self.balance.next_in_queue();
        tickets.into_iter().find_map(|ticket| self.grant(ticket, pool, now))
    }

    fn grant(&mut self, ticket: Ticket, pool: &PoolShared, now: Instant) -> Option<(Waiter, Grant)> {
        let Self { balance, servers, waiters, .. } = self;
        let Waiter { client, name, ref offer, ref keys, ref directions, ref exclude, held, .. } =
            *waiters.get(&ticket)?;
        let load = |position: usize| servers[position].stats.open.load(Ordering::SeqCst);
        let (offer, keys, directions) = (offer.as_ref(), keys.as_deref(), directions.as_deref());
        let request = Request { client, name, offer, keys, exclude, held, directions, waited: true };
        let choice = balance.select(&request, load, now).ok()?;
        let ahead = balance.ahead(ticket);
        balance.serve(ticket);
        let waiter = self.forget(ticket, pool)?;
        let assigned = self.assign(&choice, pool);
        let pinned = held.is_none() && choice.pin.is_some();
        Some((
            waiter,
            Grant { ticket, pool: pool.me.clone(), assigned: Some(assigned), pin: choice.pin, pinned, ahead },
        ))
    }

    /// Forgets a connection that has given its ticket back.
    fn forget(&mut self, ticket: Ticket, pool: &PoolShared) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        if let Some(stats) = &waiter.wanted {
            stats.queued.fetch_sub(1, Ordering::Relaxed);
        }
        self.stats.queued.fetch_sub(1, Ordering::Relaxed);
        pool.waiting.fetch_sub(1, Ordering::SeqCst);
        Some(waiter)
    }
}
