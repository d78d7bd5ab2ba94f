//! A pool of servers as the choice sees it: who is there, who is up, who had this client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::algorithm::{Random, Turns};
use super::candidate::{Candidate, ServerId};
use super::choice::{Decision, Why};
use super::hash::Hash;
use super::maglev::KeyHash;
use super::names;
use super::queue::{Ahead, Queue, Ticket};
use super::sticky::{Bounds, Pin, SharedTable};
use super::tls::{Learnt, Offer};
use crate::model::rule::Directions;
use crate::model::{self, Affinity, Algorithm, Failback, HashType, Key, StickKeys};

/// A pool of servers, and what it remembers of clients.
#[derive(Debug)]
pub struct Pool {
    pub(super) algorithm: Algorithm,
    pub(super) affinity: Affinity,
    pub(super) alike: bool,
    pub(super) all_backups: bool,
    pub(super) hash_type: HashType,
    pub(super) hash_balance_factor: Option<u32>,
    pub(super) persist: bool,
    pub(super) failback: Failback,
    max_queue: Option<u32>,
    pub(super) full_load: Option<u32>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) positions: HashMap<ServerId, usize>,
    pub(super) turns: Turns,
    /// Only where a consistent hash chooses.
    pub(super) hash: Option<Hash>,
    pub(super) table: Option<SharedTable>,
    /// Tables it had before, of which flows still hold entries.
    former: Vec<SharedTable>,
    /// Only where clients are kept by their TLS sessions.
    pub(super) learnt: Option<Learnt>,
    pub(super) queue: Queue,
    /// The backups go on to serve although an active server is back.
    pub(super) failed_over: bool,
}

/// A connection that wants a server.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The client: the source hash is of it, and stickiness knows it by this unless there are `keys`.
    pub client: IpAddr,
    /// The name that a hash goes by: in its TLS hello, or of its RDP user, if that is known.
    pub name: Option<KeyHash>,
    /// What it brings of a TLS session; none: it does not speak TLS, or was not listened to.
    pub offer: Option<&'a Offer>,
    /// What stickiness knows it by; none: its address.
    pub keys: Option<&'a StickKeys>,
    /// Servers that failed this connection.
    pub exclude: &'a [ServerId],
    /// The entry of the stick table it holds already, from an earlier choice.
    pub held: Option<Pin>,
    /// What the rules of the pool say about its server.
    pub directions: Option<&'a Directions>,
    /// It waited for its turn: it does not stand behind those who still wait.
    pub waited: bool,
}

impl Request<'_> {
    /// The first request of a connection of this client.
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        Self { client, name: None, offer: None, keys: None, exclude: &[], held: None, directions: None, waited: false }
    }

    /// Whether its server is tried although it is down.
    pub(super) fn is_forced(&self) -> bool {
        self.directions.is_some_and(Directions::is_forced)
    }

    /// The entry that the connection holds while it lives.
    fn stored(&self) -> Option<Key> {
        match self.keys {
            None => Some(Key::from(self.client)),
            Some(keys) => keys.stores.first().cloned(),
        }
    }
}

/// The server for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its position in the configured list.
    pub position: usize,
    /// Its number.
    pub id: ServerId,
    /// Stickiness named it, not the algorithm, and it has served this client before; or a rule named it.
    pub sticky: bool,
    /// The entry of the stick table that the connection holds; to be given back with [`Pool::release`].
    pub pin: Option<Pin>,
}

/// Why there is no server for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// None is up.
    NoneUp,
    /// It must wait: for this server, or for any, which have as many connections as they may.
    Full {
        /// The one it belongs to.
        server: Option<ServerId>,
    },
    /// Those that are left were excluded.
    Excluded,
}

impl Pool {
    /// The pool as configured, every server up, nothing remembered.
    #[must_use]
    pub fn new(spec: &model::Pool, now: Instant) -> Self {
        let mut pool = Self {
            algorithm: spec.algorithm,
            affinity: Affinity::None,
            alike: spec.alike,
            all_backups: spec.all_backups,
            hash_type: spec.hash_type,
            hash_balance_factor: spec.hash_balance_factor,
            persist: spec.persist,
            failback: spec.failback,
            max_queue: spec.max_queue,
            full_load: spec.full_load,
            candidates: Vec::new(),
            positions: HashMap::new(),
            turns: Turns::default(),
            hash: None,
            table: None,
            former: Vec::new(),
            learnt: None,
            queue: Queue::default(),
            failed_over: false,
        };
        pool.reconfigure(spec, now);
        if let Some(plan) = pool.hash_plan() {
            pool.publish(plan.build());
        }
        pool
    }

    /// Draws at random as this seed has it.
    pub fn seed(&mut self, seed: u64) {
        self.turns.random = Random::seeded(seed);
    }

    /// Another configuration (a reload). A server that stays, by name, keeps its number, its health, its turn and its
    /// clients, and what was set while it ran unless the configuration changes that; a new one is up. One without a check
    /// is up. The hash tables want to be built anew afterwards ([`Pool::hash_plan`]).
    pub fn reconfigure(&mut self, spec: &model::Pool, now: Instant) {
        let old = std::mem::take(&mut self.candidates);
        let mut turns = Vec::with_capacity(spec.servers.len());
        for server in &spec.servers {
            let before = old.iter().position(|candidate| candidate.name == server.name);
            turns.push(before);
            let candidate = match before {
                Some(position) => old[position].reconfigured(server),
                None => Candidate::new(names::number_of(&server.name), server),
            };
            self.candidates.push(candidate);
        }
        self.turns.round_robin.rearrange(&turns);
        self.positions = self.candidates.iter().enumerate().map(|(position, c)| (c.id, position)).collect();
        self.algorithm = spec.algorithm;
        (self.all_backups, self.alike) = (spec.all_backups, spec.alike);
        (self.hash_type, self.hash_balance_factor) = (spec.hash_type, spec.hash_balance_factor);
        (self.persist, self.failback, self.max_queue) = (spec.persist, spec.failback, spec.max_queue);
        self.full_load = spec.full_load;
        self.set_affinity(spec.affinity.clone(), now);
        let hash = self.hash.take().filter(|_| self.hashes());
        self.hash = hash.map(|mut hash| {
            hash.locate(&self.candidates);
            hash
        });
        self.look_after_change();
    }

    /// Whether a consistent hash chooses.
    pub(super) fn hashes(&self) -> bool {
        let by_table = self.alike && matches!(self.affinity, Affinity::Table(_));
        (self.algorithm.hashes() || self.affinity == Affinity::Source || by_table)
            && self.hash_type == HashType::Consistent
    }

    /// Chooses by these tables from now on.
    pub fn publish(&mut self, mut hash: Hash) {
        hash.locate(&self.candidates);
        self.hash = Some(hash);
    }

    fn set_affinity(&mut self, affinity: Affinity, now: Instant) {
        self.set_learnt(&affinity, now);
        let bounds = match &affinity {
            Affinity::None => None,
            Affinity::Source => Some(Bounds::LiveFlows),
            Affinity::Table(_) | Affinity::Tls(_) => affinity.table().cloned().map(Bounds::Stick),
        };
        let fits = matches!(
            (&self.affinity, &affinity),
            (Affinity::Source, Affinity::Source)
                | (Affinity::Table(_) | Affinity::Tls(_), Affinity::Table(_) | Affinity::Tls(_))
        );
        match (bounds, &self.table) {
            (Some(bounds), Some(table)) if fits => table.set_bounds(bounds, now),
            (Some(bounds), _) => self.replace_table(Some(SharedTable::new(bounds))),
            (None, _) => self.replace_table(None),
        }
        self.affinity = affinity;
    }

    fn set_learnt(&mut self, affinity: &Affinity, now: Instant) {
        let Affinity::Tls(spec) = affinity else {
            self.learnt = None;
            return;
        };
        let (size, life) = (spec.table.size, spec.table.expire);
        let learnt = self.learnt.get_or_insert_with(|| Learnt::new(size, life));
        learnt.set_bounds(size, life, now);
        learnt.retain(|id| self.positions.contains_key(&id));
    }

    /// Remembers clients in this table from now on, which others may use too.
    pub fn use_table(&mut self, table: &SharedTable) {
        let other = self.table.as_ref().is_none_or(|own| !own.is(table));
        if other && self.affinity.table().is_some() {
            self.replace_table(Some(table.clone()));
        }
    }

    fn replace_table(&mut self, table: Option<SharedTable>) {
        self.former.extend(std::mem::replace(&mut self.table, table));
        self.former.retain(|table| table.lock().live_flows() > 0);
    }

    /// The stick table, as far as clients are remembered beyond their flows.
    pub(super) fn stick_table(&self) -> Option<&SharedTable> {
        self.affinity.table()?;
        self.table.as_ref()
    }

    /// The table that holds an entry.
    fn table_of(&self, pin: Pin) -> Option<&SharedTable> {
        self.table.iter().chain(&self.former).find(|table| table.holds(pin))
    }

    /// Sets a server's health; false when it had that already, or is not known.
    pub fn set_up(&mut self, server: &str, up: bool, now: Instant) -> bool {
        self.change(server, now, |candidate| {
            candidate.stopping &= up;
            std::mem::replace(&mut candidate.up, up) != up
        })
    }

    /// Changes a server, which starts without savings and debts if that was a change.
    pub(super) fn change(&mut self, server: &str, now: Instant, change: impl FnOnce(&mut Candidate) -> bool) -> bool {
        let Some(position) = self.candidates.iter().position(|candidate| candidate.name == server) else {
            return false;
        };
        let candidate = &mut self.candidates[position];
        let served = candidate.in_service();
        let changed = change(candidate);
        if changed {
            if !served && candidate.in_service() {
                candidate.rise(now);
            }
            self.turns.round_robin.forget(position);
            self.look_after_change();
        }
        changed
    }

    /// Who serves has changed.
    fn look_after_change(&mut self) {
        let eligible = |backup: bool| self.candidates.iter().any(|c| c.is_eligible() && c.backup == backup);
        let (active, backups) = (eligible(false), eligible(true));
        self.failed_over = self.failback == Failback::Never && backups && (self.failed_over || !active);
        let Self { queue, positions, candidates, .. } = self;
        queue.give_up_on(|id| positions.get(&id).is_none_or(|&position| !candidates[position].in_service()));
    }

    /// The active servers serve again, if they can, although the pool is not to fail back by itself.
    pub fn fail_back(&mut self) {
        self.failed_over = false;
    }

    /// Where the server of this number is.
    #[must_use]
    pub fn position(&self, id: ServerId) -> Option<usize> {
        self.positions.get(&id).copied()
    }

    /// Whether any server can get a new client now, however full.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.candidates.iter().any(Candidate::is_eligible)
    }

    /// Servers that share new clients now (HAProxy's `nbsrv`): the active ones, else all backups or the first.
    #[must_use]
    pub fn usable_servers(&self) -> usize {
        let eligible = |backup| self.candidates.iter().filter(|c| c.backup == backup && c.is_eligible()).count();
        match (eligible(false), eligible(true)) {
            (0, backups) if self.all_backups => backups,
            (0, backups) => backups.min(1),
            (active, _) => active,
        }
    }

    /// Whether a server is up; one that is not there is not.
    #[must_use]
    pub fn is_up(&self, server: &str) -> bool {
        self.candidates.iter().any(|candidate| candidate.name == server && candidate.in_service())
    }

    /// Clients remembered.
    #[must_use]
    pub fn table_len(&self, now: Instant) -> usize {
        self.table.as_ref().map_or(0, |table| table.lock().len(now))
    }

    /// Chooses the server for a connection: the one that its client had, else by algorithm. `loads` gives the open
    /// connections of the server at a position.
    pub fn select(
        &mut self,
        request: &Request<'_>,
        loads: impl Fn(usize) -> u64,
        now: Instant,
    ) -> Result<Choice, Refusal> {
        let decision = self.decide(request, &loads, now)?;
        Ok(self.remember(decision, request, now))
    }

    fn remember(&mut self, decision: Decision, request: &Request<'_>, now: Instant) -> Choice {
        let Decision { position, why } = decision;
        let Candidate { id, non_stick, .. } = self.candidates[position];
        let sticky = matches!(why, Why::Rule | Why::Remembered { proven: true });
        // The client still belongs to the server that is full.
        let forgets = non_stick || why == Why::Elsewhere;
        if let (Why::Trial, Some(offer), Some(learnt)) = (why, request.offer, &mut self.learnt) {
            learnt.try_at(offer, id);
        }
        let pin = match &self.table {
            Some(table) if !forgets => match request.held.filter(|pin| table.holds(*pin)) {
                Some(pin) => {
                    table.lock().assign(pin, id);
                    Some(pin)
                }
                // What it holds in a former table stays its own; there is one entry a connection.
                None if request.held.is_some() => request.held,
                None => request.stored().and_then(|key| table.pin(key, id, now)),
            },
            Some(_) | None => request.held,
        };
        Choice { position, id, sticky, pin }
    }

    /// Takes a ticket: for this server, or for any. None: too many wait already.
    pub fn wait(&mut self, server: Option<ServerId>) -> Option<Ticket> {
        let full = server.is_none() && self.max_queue.is_some_and(|most| self.queue.waiting_for_any() >= most as usize);
        (!full).then(|| self.queue.enter(server))
    }

    /// Gives a ticket back; false when nobody had it.
    pub fn leave_queue(&mut self, ticket: Ticket) -> bool {
        self.queue.leave(ticket)
    }

    /// How many were served before this one, since it came.
    #[must_use]
    pub fn ahead(&self, ticket: Ticket) -> Ahead {
        self.queue.ahead(ticket)
    }

    /// Takes the ticket of one that is served now; false when nobody had it.
    pub fn serve(&mut self, ticket: Ticket) -> bool {
        self.queue.serve(ticket)
    }

    /// Who may be asked next whether there is room for it, the longest waiting first.
    #[must_use]
    pub fn next_in_queue(&self) -> Vec<Ticket> {
        self.queue.heads()
    }

    /// Those who wait for this server in particular; none: for any.
    #[must_use]
    pub fn waiting(&self, server: Option<ServerId>) -> usize {
        match server {
            Some(server) => self.queue.waiting_for(server),
            None => self.queue.waiting_for_any(),
        }
    }

    /// A connection that holds `pin` was established with the server `id`.
    pub fn prove(&mut self, pin: Pin, id: ServerId) {
        if let Some(table) = self.table_of(pin) {
            table.lock().prove(pin, id);
        }
    }

    /// A connection that holds `pin` has ended.
    pub fn release(&mut self, pin: Pin, now: Instant) {
        if let Some(table) = self.table_of(pin) {
            table.lock().release(pin, now);
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
