//! The stick table: which server a client had. Bounded; every operation takes constant time.
//!
//! Entries are rows of a slab, found by key through a hash table. Those without a live flow are linked in the order of
//! their last use: the head is the exact oldest, to be purged or to expire first. An entry with a live flow is in no list:
//! it neither expires (HAProxy's does) nor is purged.

mod rows;
mod shared;

use std::time::{Duration, Instant};

use crate::model::{Key, KeyType, TableSpec};
use rows::Rows;
pub use shared::SharedTable;

const NONE: u32 = u32::MAX;

/// A table of clients and their servers.
#[derive(Debug)]
pub struct Table {
    bounds: Bounds,
    rows: Rows,
    /// Rows of which peers are to be told; none: there are no peers.
    changes: Option<Vec<u32>>,
    /// Live flows of all entries.
    flows: usize,
}

/// How long and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    /// A stick table proper.
    Stick(TableSpec),
    /// Only clients with live flows.
    LiveFlows,
}

/// An entry held by a live flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    row: u32,
    /// The table.
    table: u32,
}

/// An entry as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The client.
    pub key: Key,
    /// Its server; none when that was cleared while flows held the entry.
    pub server: Option<u32>,
    /// What is left of its life; none: it does not expire, or not for now, with a live flow.
    pub expires_in: Option<Duration>,
    /// Live flows.
    pub flows: u32,
}

/// What is remembered of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Its server.
    pub server: u32,
    /// The first one it had.
    pub home: u32,
    /// A connection was established with it, so it is not a mere attempt.
    pub proven: bool,
    /// A flow of it runs.
    pub live: bool,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, rows: Rows::default(), changes: None, flows: 0 }
    }

    /// Its bounds.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// What its keys are.
    #[must_use]
    pub fn kind(&self) -> KeyType {
        match &self.bounds {
            Bounds::Stick(spec) => spec.kind,
            Bounds::LiveFlows => KeyType::Ipv6,
        }
    }

    /// Live flows that hold its entries.
    #[must_use]
    pub fn live_flows(&self) -> usize {
        self.flows
    }

    /// Other bounds (a reload): entries stay, the oldest beyond the new size are purged. Keys of another type mean nothing
    /// any more: those entries go, with their last flow at the latest.
    pub fn set_bounds(&mut self, bounds: Bounds, now: Instant) {
        self.bounds = bounds;
        let rows: Vec<u32> = self.rows.ordered().collect();
        for row in rows {
            if !self.may_keep(row) {
                self.rows.remove(row);
            }
        }
        self.expire(now);
        while self.rows.len() > self.size() && self.rows.oldest != NONE {
            self.rows.remove(self.rows.oldest);
        }
    }

    /// Entries not expired.
    pub fn len(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.rows.len()
    }

    /// The server of a client, if the table knows one.
    pub fn get(&mut self, key: &Key, now: Instant) -> Option<Remembered> {
        self.expire(now);
        let row = self.rows.row(self.rows.find(key)?);
        let (server, home, proven) = (row.server, row.home, row.proven);
        (server != NONE).then_some(Remembered { server, home, proven, live: row.flows > 0 })
    }

    /// All entries: those without a live flow first, in the order of their last use.
    pub fn entries(&mut self, now: Instant) -> Vec<Entry> {
        self.expire(now);
        let held = self.rows.all().filter(|&row| self.rows.row(row).flows > 0);
        self.rows.ordered().chain(held).map(|row| self.entry(row, now)).collect()
    }

    fn entry(&self, row: u32, now: Instant) -> Entry {
        let row = self.rows.row(row);
        let life = self.life().filter(|_| row.flows == 0);
        let age = now.saturating_duration_since(row.last_use);
        Entry {
            key: row.key.clone(),
            server: (row.server != NONE).then_some(row.server),
            expires_in: life.map(|life| life.saturating_sub(age)),
            flows: row.flows,
        }
    }

    /// Remembers the server of a client without a flow. With `left` the entry has only this much of its life before it, as
    /// one that was learnt earlier. False when the table cannot take it.
    pub fn set(&mut self, key: Key, server: u32, left: Option<Duration>, now: Instant) -> bool {
        let set = self.remember(key, server, left, now);
        if let Some(row) = set {
            self.note_change(row);
        }
        set.is_some()
    }

    /// What a peer says: like [`Table::set`], but nobody is told. A client with a live flow here stays, and so does one that
    /// was here later than there: this node knows better. False when the table cannot take it.
    pub fn learn(&mut self, key: Key, server: u32, left: Option<Duration>, now: Instant) -> bool {
        let life = self.life().zip(left);
        let last_use_there = life.and_then(|(life, left)| now.checked_sub(life.saturating_sub(left)));
        let knows_better = |row: u32| {
            let row = self.rows.row(row);
            row.flows > 0 || row.proven && last_use_there.is_some_and(|there| row.last_use > there)
        };
        if self.rows.find(&key).is_some_and(knows_better) {
            return true;
        }
        self.remember(key, server, left, now).is_some()
    }

    fn remember(&mut self, key: Key, server: u32, left: Option<Duration>, now: Instant) -> Option<u32> {
        let key = self.kind().cast(key)?;
        self.expire(now);
        let (row, known) = match self.rows.find(&key) {
            Some(row) => (row, true),
            None => (self.insert(key, server, now)?, false),
        };
        let life = self.life();
        let entry = self.rows.row_mut(row);
        (entry.server, entry.home, entry.proven) = (server, server, true);
        if entry.flows == 0 {
            let age = life.zip(left).map(|(life, left)| life.saturating_sub(left)).unwrap_or_default();
            entry.last_use = now.checked_sub(age).unwrap_or(now);
            if known {
                self.rows.unlink(row);
            }
            self.rows.link(row);
        }
        Some(row)
    }

    /// Forgets entries, of this client and of this server if given. Returns their number. Of one that flows hold only the
    /// server is forgotten.
    pub fn clear(&mut self, key: Option<&Key>, server: Option<u32>, now: Instant) -> usize {
        self.expire(now);
        let matches = |row: &u32| {
            let held_by = self.rows.row(*row).server;
            held_by != NONE && server.is_none_or(|server| server == held_by)
        };
        let rows: Vec<u32> = match key {
            Some(key) => self.rows.find(key).into_iter().filter(matches).collect(),
            None => self.rows.all().filter(matches).collect(),
        };
        rows.iter().for_each(|&row| self.forget(row));
        rows.len()
    }

    /// Forgets the servers that are not there any more.
    pub fn retain(&mut self, is_there: impl Fn(u32) -> bool) {
        let gone: Vec<u32> = self.rows.all().filter(|&row| !is_there(self.rows.row(row).server)).collect();
        gone.into_iter().for_each(|row| self.forget(row));
    }

    fn forget(&mut self, row: u32) {
        let entry = self.rows.row_mut(row);
        if entry.flows == 0 {
            self.rows.remove(row);
        } else {
            (entry.server, entry.proven) = (NONE, false);
        }
    }

    /// Remembers the server of a client and holds the entry for a flow. None when the table cannot take it: wrong family, or
    /// full with nothing that may be purged.
    pub fn pin(&mut self, key: Key, server: u32, now: Instant) -> Option<Pin> {
        let key = self.kind().cast(key)?;
        self.expire(now);
        let row = match self.rows.find(&key) {
            Some(row) => {
                if self.rows.row(row).flows == 0 {
                    self.rows.unlink(row);
                }
                row
            }
            None => self.insert(key, server, now)?,
        };
        let entry = self.rows.row_mut(row);
        entry.flows += 1;
        entry.last_use = now;
        self.flows += 1;
        let pin = Pin { row, table: 0 };
        self.assign(pin, server);
        Some(pin)
    }

    /// The client of a pinned entry has another server from now on.
    pub fn assign(&mut self, pin: Pin, server: u32) {
        let row = self.rows.row_mut(pin.row);
        if row.server == NONE {
            row.home = server;
        }
        if row.server != server {
            row.server = server;
            row.proven = false;
        }
    }

    /// A connection of the flow was established with `server`.
    pub fn prove(&mut self, pin: Pin, server: u32) {
        let row = self.rows.row_mut(pin.row);
        row.proven |= row.server == server;
        if row.proven {
            self.note_change(pin.row);
        }
    }

    /// The flow has ended. An entry that never led to a connection goes with its last flow.
    pub fn release(&mut self, pin: Pin, now: Instant) {
        let row = self.rows.row_mut(pin.row);
        row.flows -= 1;
        row.last_use = now;
        let (flows, proven) = (row.flows, row.proven);
        self.flows -= 1;
        if flows > 0 {
            return;
        }
        self.rows.link_newest(pin.row);
        if !proven || !self.may_keep(pin.row) || self.rows.len() > self.size() {
            self.rows.remove(pin.row);
        } else {
            // Its life begins.
            self.note_change(pin.row);
        }
    }

    /// Whether changes are kept for [`Table::take_changes`].
    pub fn keep_changes(&mut self, keep: bool) {
        if keep != self.changes.is_some() {
            for row in self.changes.take().into_iter().flatten() {
                self.rows.row_mut(row).changed = false;
            }
            self.changes = keep.then(Vec::new);
        }
    }

    /// The entries that changed since this was asked last, each once, as they are now.
    pub fn take_changes(&mut self, now: Instant) -> Vec<Entry> {
        let changes = match &mut self.changes {
            Some(changes) if !changes.is_empty() => std::mem::take(changes),
            Some(_) | None => return Vec::new(),
        };
        self.expire(now);
        for &row in &changes {
            self.rows.row_mut(row).changed = false;
        }
        changes.into_iter().filter(|&row| self.is_worth_telling(row)).map(|row| self.entry(row, now)).collect()
    }

    /// Whether a peer is to know of it: a server has served this client. A row that is free has no server.
    fn is_worth_telling(&self, row: u32) -> bool {
        let row = self.rows.row(row);
        row.proven && row.server != NONE
    }

    fn note_change(&mut self, row: u32) {
        if let Some(changes) = &mut self.changes
            && !std::mem::replace(&mut self.rows.row_mut(row).changed, true)
        {
            changes.push(row);
        }
    }

    /// A row for a key that has none; it is in no list yet.
    fn insert(&mut self, key: Key, server: u32, now: Instant) -> Option<u32> {
        if self.rows.len() >= self.size() {
            let purge = match &self.bounds {
                Bounds::Stick(spec) => !spec.nopurge && self.rows.oldest != NONE,
                Bounds::LiveFlows => false,
            };
            if !purge {
                return None;
            }
            self.rows.remove(self.rows.oldest);
        }
        let most = self.size();
        Some(self.rows.insert(key, server, now, most))
    }

    /// Whether the table keeps this entry beyond its flows.
    fn may_keep(&self, row: u32) -> bool {
        match &self.bounds {
            Bounds::Stick(spec) => spec.kind.keeps(&self.rows.row(row).key),
            Bounds::LiveFlows => false,
        }
    }

    fn size(&self) -> usize {
        match &self.bounds {
            Bounds::Stick(spec) => spec.size,
            Bounds::LiveFlows => usize::MAX,
        }
    }

    fn life(&self) -> Option<Duration> {
        match &self.bounds {
            Bounds::Stick(spec) => spec.expire,
            Bounds::LiveFlows => None,
        }
    }

    fn expire(&mut self, now: Instant) {
        let Some(life) = self.life() else { return };
        while let Some(oldest) = self.rows.oldest() {
            if now.saturating_duration_since(oldest.last_use) < life {
                return;
            }
            self.rows.remove(self.rows.oldest);
        }
    }
}

#[cfg(test)]
mod tests;
