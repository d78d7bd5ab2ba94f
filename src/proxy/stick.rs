//! Stick tables as pools share them, and what servers say that is stored in them.

use std::time::Instant;

use super::Proxy;
use super::connection::{Connection, State};
use super::relay::{Answer, Listener};
use super::tls_session::offer_of;
use crate::balance::SharedTable;
use crate::balance::sticky::Bounds;
use crate::model::{Pool, StickRule};
use crate::rules::{Facts, stick};
use crate::wire::tls::server_flight::Flight;

impl Proxy {
    /// A stick table by its name: a pool's own has the pool's.
    #[must_use]
    pub fn stick_table(&self, name: &str) -> Option<SharedTable> {
        self.stick_tables.get(name).cloned()
    }

    /// Gives every pool the table it names. What a table remembers stays as long as a pool names it.
    pub(super) fn commit_stick_tables(&mut self, pools: &[Pool], now: Instant) {
        let wanted = |pool: &Pool| {
            let spec = pool.affinity.table()?;
            Some((spec.table_name(&pool.name).to_owned(), spec.clone()))
        };
        let names: Vec<_> = pools.iter().filter_map(wanted).map(|(name, _)| name).collect();
        self.stick_tables.retain(|name, _| names.contains(name));
        for pool in pools {
            let (Some((name, spec)), Some(shared)) = (wanted(pool), self.pools.get(&pool.name)) else { continue };
            let replicated = spec.peers.is_some();
            let bounds = Bounds::Stick(spec);
            let table = self.stick_tables.entry(name).or_insert_with(|| SharedTable::new(bounds.clone()));
            table.set_bounds(bounds, now);
            table.lock().keep_changes(replicated);
            shared.lock().balance.use_table(table);
        }
    }
}

impl Connection {
    /// Who listens to what the server says first, where that can teach anything.
    pub(super) fn server_listener(&self) -> Option<Box<Listener>> {
        let stores = || self.spec.stick.iter().any(StickRule::is_of_the_answer);
        match offer_of(self.ruled.as_deref()) {
            Some(_) => Some(Box::new(Listener::Session(Flight::default()))),
            None => stores().then(|| Box::new(Listener::Answer(Answer::default()))),
        }
    }

    /// Stores what rules want of an answer, or listens on.
    pub(super) fn store_of(&mut self, answer: Answer, now: Instant) {
        let (Some(ruling), Some(rules), Some(assigned)) =
            (&self.binding.service.ruling, self.spec.stick_rules(), &self.assigned)
        else {
            return;
        };
        let facts = Facts::answered(self.client, self.destination, answer.said());
        match stick::answered(rules, &facts, ruling.matchers()) {
            Some(keys) => self.pool().lock().balance.table_store(&keys, assigned.id, now),
            None => {
                if let (State::Relay(relay), Some(listener)) = (&mut self.state, answer.go_on()) {
                    relay.listen_on(Box::new(listener));
                }
            }
        }
    }
}
