//! Stick tables as pools share them.

use std::time::Instant;

use super::Proxy;
use crate::balance::SharedTable;
use crate::balance::sticky::Bounds;
use crate::model::Pool;

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
