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

/// What is remembered of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Its server.
    pub server: u32,
    /// A connection was established with it, so it is not a mere attempt.
    pub proven: bool,
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
        Some(Remembered { server: row.server, proven: row.proven })
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
        let new = Row { key, server, flows: 0, proven: false, last_use: now, older: NONE, newer: NONE };
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
        let older = std::mem::replace(&mut self.newest, row);
        self.rows[row as usize].older = older;
        self.rows[row as usize].newer = NONE;
        match self.rows.get_mut(older as usize) {
            Some(older) => older.newer = row,
            None => self.oldest = row,
        }
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
