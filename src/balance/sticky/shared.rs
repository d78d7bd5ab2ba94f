//! A table that several pools use, and that peers are taught from.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Bounds, Pin, Table};
use crate::model::Key;

/// The next table's number.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A table in the hands of several.
#[derive(Debug, Clone)]
pub struct SharedTable(Arc<Numbered>);

#[derive(Debug)]
struct Numbered {
    number: u32,
    table: Mutex<Table>,
}

impl SharedTable {
    /// An empty table.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Numbered { number, table: Mutex::new(Table::new(bounds)) }))
    }

    /// The table, as long as the guard lives. Nothing panics while it holds the lock.
    pub fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other bounds, if they are others: see [`Table::set_bounds`].
    pub fn set_bounds(&self, bounds: Bounds, now: Instant) {
        let mut table = self.lock();
        if *table.bounds() != bounds {
            table.set_bounds(bounds, now);
        }
    }

    /// Whether it is the same table.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// [`Table::pin`]; the pin knows its table.
    pub(in crate::balance) fn pin(&self, key: Key, server: u32, now: Instant) -> Option<Pin> {
        self.lock().pin(key, server, now).map(|pin| Pin { table: self.0.number, ..pin })
    }

    /// Whether an entry is held here.
    pub(in crate::balance) fn holds(&self, pin: Pin) -> bool {
        pin.table == self.0.number
    }
}
