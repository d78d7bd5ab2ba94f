//! The stick table: which server a client had. Bounded; every operation takes constant time.
//!
//! Entries are rows of a slab, found by address through a hash map. Those without a live flow are linked in the order of
//! their last use: the head is the exact oldest, to be purged or to expire first. An entry with a live flow is in no list:
//! it neither expires (HAProxy's does) nor is purged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::TableSpec;

const NONE: u32 = u32::MAX;

/// A table of clients and their servers.
#[derive(Debug)]
pub struct Table {
    bounds: Bounds,
    rows: Vec<Row>,
    free: Vec<u32>,
    by_key: HashMap<IpAddr, u32>,
    oldest: u32,
    newest: u32,
}

/// How long and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    /// A stick table proper.
    Stick(TableSpec),
    /// Only clients with live flows.
    LiveFlows,
}

#[derive(Debug)]
struct Row {
    key: IpAddr,
    server: u32,
    /// The first one it had.
    home: u32,
    flows: u32,
    /// A connection was established with this server.
    proven: bool,
    last_use: Instant,
    older: u32,
    newer: u32,
}

/// An entry held by a live flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(u32);

/// An entry as an administrator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The client.
    pub key: IpAddr,
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
        Self { bounds, rows: Vec::new(), free: Vec::new(), by_key: HashMap::new(), oldest: NONE, newest: NONE }
    }

    /// Its bounds.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Other bounds (a reload): entries stay, the oldest beyond the new size are purged.
    pub fn set_bounds(&mut self, bounds: Bounds, now: Instant) {
        self.bounds = bounds;
        let mut row = self.oldest;
        while row != NONE {
            let newer = self.rows[row as usize].newer;
            if !self.may_hold(self.rows[row as usize].key) || self.bounds == Bounds::LiveFlows {
                self.remove(row);
            }
            row = newer;
        }
        self.expire(now);
        while self.by_key.len() > self.size() && self.oldest != NONE {
            self.remove(self.oldest);
        }
    }

    /// Entries not expired.
    pub fn len(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.by_key.len()
    }

    /// The server of a client, if the table knows one.
    pub fn get(&mut self, key: IpAddr, now: Instant) -> Option<Remembered> {
        self.expire(now);
        let row = &self.rows[*self.by_key.get(&key.to_canonical())? as usize];
        let (server, home, proven) = (row.server, row.home, row.proven);
        (server != NONE).then_some(Remembered { server, home, proven, live: row.flows > 0 })
    }

    /// All entries: those without a live flow first, in the order of their last use.
    pub fn entries(&mut self, now: Instant) -> Vec<Entry> {
        self.expire(now);
        let mut entries = Vec::with_capacity(self.by_key.len());
        let mut next = self.oldest;
        while let Some(row) = self.rows.get(next as usize) {
            entries.push(self.entry(row, now));
            next = row.newer;
        }
        let held = self.by_key.values().map(|&row| &self.rows[row as usize]).filter(|row| row.flows > 0);
        entries.extend(held.map(|row| self.entry(row, now)));
        entries
    }

    fn entry(&self, row: &Row, now: Instant) -> Entry {
        let life = self.life().filter(|_| row.flows == 0);
        let age = now.saturating_duration_since(row.last_use);
        Entry {
            key: row.key,
            server: (row.server != NONE).then_some(row.server),
            expires_in: life.map(|life| life.saturating_sub(age)),
            flows: row.flows,
        }
    }

    /// Remembers the server of a client without a flow. With `left` the entry has only this much of its life before it, as
    /// one that was learnt earlier. False when the table cannot take it.
    pub fn set(&mut self, key: IpAddr, server: u32, left: Option<Duration>, now: Instant) -> bool {
        let key = key.to_canonical();
        self.expire(now);
        let Some(row) = self.by_key.get(&key).copied().or_else(|| self.insert(key, server, now)) else { return false };
        (self.rows[row as usize].server, self.rows[row as usize].home) = (server, server);
        self.rows[row as usize].proven = true;
        if self.rows[row as usize].flows == 0 {
            let age = self.life().zip(left).map(|(life, left)| life.saturating_sub(left)).unwrap_or_default();
            self.rows[row as usize].last_use = now.checked_sub(age).unwrap_or(now);
            self.unlink(row);
            self.link(row);
        }
        true
    }

    /// Forgets entries, of this client and of this server if given. Returns their number. Of one that flows hold only the
    /// server is forgotten.
    pub fn clear(&mut self, key: Option<IpAddr>, server: Option<u32>, now: Instant) -> usize {
        self.expire(now);
        let key = key.map(|key| key.to_canonical());
        let rows: Vec<u32> = match key {
            Some(key) => self.by_key.get(&key).copied().into_iter().collect(),
            None => self.by_key.values().copied().collect(),
        };
        let matches = |row: &u32| {
            let held_by = self.rows[*row as usize].server;
            held_by != NONE && server.is_none_or(|server| server == held_by)
        };
        let rows: Vec<u32> = rows.into_iter().filter(matches).collect();
        for &row in &rows {
            if self.rows[row as usize].flows == 0 {
                self.remove(row);
            } else {
                self.rows[row as usize].server = NONE;
                self.rows[row as usize].proven = false;
            }
        }
        rows.len()
    }

    /// Remembers the server of a client and holds the entry for a flow. None when the table cannot take it: wrong family, or
    /// full with nothing that may be purged.
    pub fn pin(&mut self, key: IpAddr, server: u32, now: Instant) -> Option<Pin> {
        let key = key.to_canonical();
        self.expire(now);
        let row = match self.by_key.get(&key) {
            Some(&row) => row,
            None => self.insert(key, server, now)?,
        };
        if self.rows[row as usize].flows == 0 {
            self.unlink(row);
        }
        self.rows[row as usize].flows += 1;
        self.rows[row as usize].last_use = now;
        self.assign(Pin(row), server);
        Some(Pin(row))
    }

    /// The client of a pinned entry has another server from now on.
    pub fn assign(&mut self, pin: Pin, server: u32) {
        let row = &mut self.rows[pin.0 as usize];
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
        let row = &mut self.rows[pin.0 as usize];
        row.proven |= row.server == server;
    }

    /// The flow has ended. An entry that never led to a connection goes with its last flow.
    pub fn release(&mut self, pin: Pin, now: Instant) {
        let row = &mut self.rows[pin.0 as usize];
        row.flows -= 1;
        row.last_use = now;
        if row.flows > 0 {
            return;
        }
        let keep = row.proven && self.bounds != Bounds::LiveFlows && self.may_hold(self.rows[pin.0 as usize].key);
        self.link_newest(pin.0);
        if !keep || self.by_key.len() > self.size() {
            self.remove(pin.0);
        }
    }

    fn insert(&mut self, key: IpAddr, server: u32, now: Instant) -> Option<u32> {
        if !self.may_hold(key) {
            return None;
        }
        if self.by_key.len() >= self.size() {
            let purge = match &self.bounds {
                Bounds::Stick(spec) => !spec.nopurge && self.oldest != NONE,
                Bounds::LiveFlows => false,
            };
            if !purge {
                return None;
            }
            self.remove(self.oldest);
        }
        let new = Row { key, server, home: server, flows: 0, proven: false, last_use: now, older: NONE, newer: NONE };
        let row = match self.free.pop() {
            Some(row) => {
                self.rows[row as usize] = new;
                row
            }
            None => {
                self.rows.push(new);
                u32::try_from(self.rows.len() - 1).ok()?
            }
        };
        self.by_key.insert(key, row);
        self.link_newest(row);
        Some(row)
    }

    fn may_hold(&self, key: IpAddr) -> bool {
        match &self.bounds {
            Bounds::Stick(spec) => spec.ipv6 || key.is_ipv4(),
            Bounds::LiveFlows => true,
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
        while let Some(oldest) = self.rows.get(self.oldest as usize) {
            if now.saturating_duration_since(oldest.last_use) < life {
                return;
            }
            self.remove(self.oldest);
        }
    }

    /// Removes an entry without flows.
    fn remove(&mut self, row: u32) {
        self.unlink(row);
        self.by_key.remove(&self.rows[row as usize].key);
        self.free.push(row);
    }

    fn link_newest(&mut self, row: u32) {
        self.link_after(row, self.newest);
    }

    /// Links an entry at the place its last use gives it, which is near the newest as a rule.
    fn link(&mut self, row: u32) {
        let last_use = self.rows[row as usize].last_use;
        let mut older = self.newest;
        while let Some(before) = self.rows.get(older as usize).filter(|before| before.last_use > last_use) {
            older = before.older;
        }
        self.link_after(row, older);
    }

    fn link_after(&mut self, row: u32, older: u32) {
        let newer = match self.rows.get_mut(older as usize) {
            Some(older) => std::mem::replace(&mut older.newer, row),
            None => std::mem::replace(&mut self.oldest, row),
        };
        match self.rows.get_mut(newer as usize) {
            Some(newer) => newer.older = row,
            None => self.newest = row,
        }
        (self.rows[row as usize].older, self.rows[row as usize].newer) = (older, newer);
    }

    fn unlink(&mut self, row: u32) {
        let Row { older, newer, .. } = self.rows[row as usize];
        match self.rows.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.rows.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
#[path = "sticky_tests.rs"]
mod tests;
