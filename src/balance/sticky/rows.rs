//! The rows of a table: found by key, and those without a live flow in the order of their last use.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use hashbrown::HashTable;

use super::NONE;
use crate::model::Key;

/// So far from where it is expected, an entry is looked for a place in the order. One that is further off takes the time of
/// the place where it was given up, so that teaching a table stays cheap in any order.
const FARTHEST: usize = 1000;

#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    /// Of the key, which may be far off in memory: to remove a row it is not asked for.
    hash: u64,
    pub(super) last_use: Instant,
    pub(super) server: u32,
    /// The first one it had.
    pub(super) home: u32,
    pub(super) flows: u32,
    older: u32,
    newer: u32,
    /// A connection was established with this server.
    pub(super) proven: bool,
    /// It is among the changes that peers are to be told.
    pub(super) changed: bool,
}

/// A slab of rows with an index and an order. The keys stand in the rows alone.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Row>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Keys come from the network: nobody can know which ones collide.
    hasher: RandomState,
    pub(super) oldest: u32,
    newest: u32,
    /// The row that was put between others last: the next one is likely to belong beside it.
    last_placed: u32,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            oldest: NONE,
            newest: NONE,
            last_placed: NONE,
        }
    }
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Rows that were ever taken.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |&row| self.rows[row as usize].key == *key).copied()
    }

    pub(super) fn row(&self, row: u32) -> &Row {
        &self.rows[row as usize]
    }

    pub(super) fn row_mut(&mut self, row: u32) -> &mut Row {
        &mut self.rows[row as usize]
    }

    pub(super) fn oldest(&self) -> Option<&Row> {
        self.rows.get(self.oldest as usize)
    }

    /// The numbers of all rows, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.index.iter().copied()
    }

    /// The numbers of those in the order, the least recently used first.
    pub(super) fn ordered(&self) -> impl Iterator<Item = u32> {
        let next = |row: u32| (row != NONE).then_some(row);
        std::iter::successors(next(self.oldest), move |&row| next(self.rows[row as usize].newer))
    }

    /// A row for a key that has none, not in the order yet. `most` bounds what is allocated beforehand.
    pub(super) fn insert(&mut self, key: Key, server: u32, now: Instant, most: usize) -> u32 {
        let hash = self.hasher.hash_one(&key);
        let (home, last_use) = (server, now);
        let (flows, older, newer, proven, changed) = (0, NONE, NONE, false, false);
        let new = Row { key, hash, last_use, server, home, flows, older, newer, proven, changed };
        let row = if let Some(row) = self.free.pop() {
            // What was to be told of it is told of the new one.
            let changed = self.rows[row as usize].changed;
            self.rows[row as usize] = Row { changed, ..new };
            row
        } else {
            if self.rows.len() == self.rows.capacity() {
                let spare = most.saturating_sub(self.rows.len()).min(self.rows.len());
                self.rows.reserve_exact(spare.max(16));
            }
            self.rows.push(new);
            self.rows.len() as u32 - 1
        };
        let Self { index, rows, .. } = self;
        index.insert_unique(hash, row, |&row| rows[row as usize].hash);
        row
    }

    /// Removes a row that is in the order.
    pub(super) fn remove(&mut self, row: u32) {
        self.unlink(row);
        let hash = self.rows[row as usize].hash;
        if let Ok(entry) = self.index.find_entry(hash, |&known| known == row) {
            entry.remove();
        }
        self.rows[row as usize].key = Key::Integer(0);
        self.rows[row as usize].server = NONE;
        self.free.push(row);
    }

    pub(super) fn link_newest(&mut self, row: u32) {
        self.link_after(row, self.newest);
    }

    /// Puts a row where its last use belongs.
    pub(super) fn link(&mut self, row: u32) {
        let wanted = self.rows[row as usize].last_use;
        let distance = |near: &u32| {
            let near = self.rows[*near as usize].last_use;
            near.saturating_duration_since(wanted).max(wanted.saturating_duration_since(near))
        };
        let starts = [self.newest, self.last_placed, self.oldest].into_iter().filter(|&row| row != NONE);
        let mut older = starts.min_by_key(distance).unwrap_or(NONE);
        let mut steps = 0;
        // Towards the newest, as long as those are older than it; then back until one is.
        while let Some(newer) = self.rows.get(older as usize).map(|row| row.newer)
            && self.rows.get(newer as usize).is_some_and(|newer| newer.last_use <= wanted)
            && steps < FARTHEST
        {
            (older, steps) = (newer, steps + 1);
        }
        while let Some(before) = self.rows.get(older as usize).filter(|before| before.last_use > wanted)
            && steps < FARTHEST
        {
            (older, steps) = (before.older, steps + 1);
        }
        if steps == FARTHEST
            && let Some(beside) = self.rows.get(older as usize)
        {
            self.rows[row as usize].last_use = beside.last_use;
        }
        self.link_after(row, older);
        self.last_placed = row;
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

    pub(super) fn unlink(&mut self, row: u32) {
        let Row { older, newer, .. } = self.rows[row as usize];
        match self.rows.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.rows.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        if self.last_placed == row {
            self.last_placed = NONE;
        }
    }
}
